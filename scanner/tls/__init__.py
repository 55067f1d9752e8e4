"""Sans-IO TLS: bytes in, decoded messages out. No socket, clock or randomness in here."""
