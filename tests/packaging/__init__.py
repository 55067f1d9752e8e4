"""Tests of what is shipped and how it is built: wheel, container image, lock files, Makefile."""
