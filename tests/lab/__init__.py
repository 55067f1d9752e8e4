"""A lab of real TLS servers on loopback; their own configuration says which versions they accept.

A test takes the session's fixture ``lab`` (tests/conftest.py): a list of LabServer, each with its truth in ``enabled``.
test_truth.py holds every cell of that truth against independent clients. A new server is a ServerFactory (model.py),
listed in one of the files below; what it needs installed is a line in requirements.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.openssl_family import OPENSSL_FAMILY
from tests.lab.other_stacks import OTHER_STACKS

if TYPE_CHECKING:
    from tests.lab.model import ServerFactory

FACTORIES: tuple[ServerFactory, ...] = (*OPENSSL_FAMILY, *OTHER_STACKS)
"""Every listener there is; one line here registers a file of them."""


def present_factories() -> tuple[ServerFactory, ...]:
    """Return the factories whose requirements are met on this machine."""
    return tuple(factory for factory in FACTORIES if all(need.is_met() for need in factory.requires))


def absent_factories() -> tuple[ServerFactory, ...]:
    """Return the factories that this machine cannot start."""
    present = present_factories()
    return tuple(factory for factory in FACTORIES if factory not in present)
