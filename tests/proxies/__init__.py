"""A lab of real forward and reverse proxies on loopback; what each does to TLS is known from independent tools.

A test takes ``PROXIES`` and starts one with ``running(kind, certificates=...)`` (model.py).
test_proxies_truth.py holds every kind's ``expected`` against version-limited origins and independent clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.proxies.forward import FORWARD
from tests.proxies.model import Credentials, Expected, OpensAt, ProxyKind, RunningProxy, Side, running
from tests.proxies.reverse import REVERSE

if TYPE_CHECKING:
    from tests.lab.requirements import Requirement

__all__ = [
    "PROXIES",
    "Credentials",
    "Expected",
    "OpensAt",
    "ProxyKind",
    "RunningProxy",
    "Side",
    "missing",
    "present_proxies",
    "running",
]

PROXIES: tuple[ProxyKind, ...] = (*FORWARD, *REVERSE)
"""Every configuration there is."""


def missing(kind: ProxyKind) -> tuple[Requirement, ...]:
    """Return what this machine lacks to start it."""
    return tuple(need for need in kind.requires if not need.is_met())


def present_proxies() -> tuple[ProxyKind, ...]:
    """Return the kinds that this machine can start."""
    return tuple(kind for kind in PROXIES if not missing(kind))
