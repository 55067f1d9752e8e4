"""Sweeps of a network that loses packets, whose truth is known: nothing missed, nothing wrong, nothing done twice."""
