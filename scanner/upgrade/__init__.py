"""What comes before TLS: the way through a proxy, as conversations without I/O."""
