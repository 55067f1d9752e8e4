from __future__ import annotations

import pytest

from scanner.listener.identity import make_identity


@pytest.fixture(scope="session")
def listener_identity():
    """An authority and its leaves, for all tests."""
    return make_identity(addresses=("127.0.0.1",))
