"""Leaving out tests that a machine can't run: loudly here, and never where CI=true."""

import os

import pytest


class LeftOut:
    """Two pytest hooks for the tests of one marker; give them to a conftest."""

    def __init__(self, marker, what, absent):
        """Say what the tests need; absent() returns the reasons why it is not there, none where it is."""
        self._marker = marker
        self._what = what
        self._absent = absent
        self._count = 0

    def deselect(self, config, items):
        """Take the marked tests out, as pytest_collection_modifyitems does."""
        if os.environ.get("CI", "").lower() == "true" or not self._absent():
            return
        left_out = [item for item in items if item.get_closest_marker(self._marker)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        self._count = len(left_out)

    def tell(self, terminalreporter):
        """Print what was left out, as pytest_terminal_summary does."""
        if self._count:
            terminalreporter.section(f"LEFT OUT: {self._what}", sep="!", red=True, bold=True)
            reasons = ", ".join(self._absent())
            terminalreporter.write_line(f"{self._count} {self._marker} tests did not run: {reasons}", red=True)

    def demand(self):
        """Fail where it is not there after all, which is only reached with CI=true."""
        if reasons := self._absent():
            pytest.fail(f"CI=true, and {self._what} is not there: " + ", ".join(reasons))
