"""Proxies in network namespaces: where there are none, tests are left out loudly, with CI=true they fail."""

import functools

from tests.left_out import LeftOut
from tests.net import namespaces

_NETWORKS = LeftOut("networks", "proxies in network namespaces of their own", functools.cache(namespaces.absent))


def pytest_configure(config):
    config.addinivalue_line("markers", "networks: puts real proxies into network namespaces (root, nftables)")


def pytest_collection_modifyitems(config, items):
    _NETWORKS.deselect(config, items)


def pytest_terminal_summary(terminalreporter):
    _NETWORKS.tell(terminalreporter)
