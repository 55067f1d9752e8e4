"""A PostgreSQL server for the tests that are marked so, or their leaving out."""

import pytest

from tests.left_out import LeftOut
from tests.store.postgresql import absent, start_postgresql

_POSTGRESQL = LeftOut("postgresql", "PostgreSQL", absent)


def pytest_configure(config):
    config.addinivalue_line("markers", "postgresql: starts a PostgreSQL server on a Unix socket")


def pytest_collection_modifyitems(config, items):
    _POSTGRESQL.deselect(config, items)


def pytest_terminal_summary(terminalreporter):
    _POSTGRESQL.tell(terminalreporter)


@pytest.fixture(scope="session")
def make_database(tmp_path_factory):
    """Make a PostgreSQL database and return its URL: ``make_database(name)``."""
    _POSTGRESQL.demand()
    with start_postgresql(tmp_path_factory.mktemp("postgresql")) as make:
        yield make
