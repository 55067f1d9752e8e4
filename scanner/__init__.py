"""Entra TLS Scanner: which TLS versions does each host accept, with evidence."""

__version__ = "0.1.0"
