"""Types only: this package imports nothing of ours but itself, and does no I/O."""
