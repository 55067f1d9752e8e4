"""Measurements against peers on loopback; see docs/performance.md. Not part of the installed program."""
