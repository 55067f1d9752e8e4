"""Tests of the types."""
