"""Tests; a package, so that tests import the lab as ``tests.lab``."""
