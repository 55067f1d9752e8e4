"""Ranges of addresses: which there are, in which order they are visited, and how far that has come."""
