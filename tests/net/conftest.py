"""Network namespaces for raw sockets: where there are none, tests are left out loudly, with CI=true they fail."""

import functools

import pytest

from tests.left_out import LeftOut
from tests.net import namespaces

_PAIR = LeftOut("raw", "raw sockets in network namespaces", functools.cache(namespaces.absent))


def pytest_configure(config):
    config.addinivalue_line("markers", "raw: sends by raw sockets, mostly in network namespaces (root, nftables)")


def pytest_collection_modifyitems(config, items):
    _PAIR.deselect(config, items)


def pytest_terminal_summary(terminalreporter):
    _PAIR.tell(terminalreporter)


@pytest.fixture(scope="session")
def namespace_ends():
    """The scanner's end and the peer's end of a network of its own."""
    _PAIR.demand()
    with namespaces.namespace_pair() as ends:
        yield ends
