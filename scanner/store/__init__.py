"""Runs, kept: SQLAlchemy models and migrations."""
