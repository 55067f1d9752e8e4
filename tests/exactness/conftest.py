"""The world, built once; where it can't be, its tests are left out loudly, and with CI=true they fail."""

import functools

import pytest

from tests.exactness import world as network
from tests.left_out import LeftOut

SEED = 20261123
_WORLD = LeftOut("netns", "the network namespaces", functools.cache(network.absent))


def pytest_configure(config):
    config.addinivalue_line("markers", "netns: sweeps a /16 in network namespaces (root, nftables)")


def pytest_collection_modifyitems(config, items):
    _WORLD.deselect(config, items)


def pytest_terminal_summary(terminalreporter):
    _WORLD.tell(terminalreporter)


@pytest.fixture(scope="session")
def world(tmp_path_factory, lab_certificates):
    """The block with its servers, resets, silence and loss."""
    _WORLD.demand()
    with network.running_world(tmp_path_factory.mktemp("world"), lab_certificates, seed=SEED) as running:
        yield running
