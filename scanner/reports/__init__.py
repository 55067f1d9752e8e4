"""Reporters: one file a format. Each takes a RunResult and returns text; where it goes is the caller's business."""
