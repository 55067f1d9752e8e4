"""Scripted hostile TLS peers, and what the scanner must make of them (issue 2)."""
