"""A lab of real TLS servers on loopback; their own configuration says which versions they accept."""
