"""What to ask: one file a probe."""
