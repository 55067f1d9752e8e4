"""Real TLS clients, each pinned by its own options to the versions that it may use.

What a client is pinned to is the truth that the listener's verdicts are held to; test_clients_truth.py holds the pins
themselves against servers of one version each. A new client is a ClientKind (model.py), listed in one of the files
below; what it needs installed is a line in tests/lab/requirements.py.
"""

from __future__ import annotations

from tests.clients.model import ClientKind, Outcome, Run, run
from tests.clients.openssl_clients import OPENSSL_CLIENTS
from tests.clients.other_clients import OTHER_CLIENTS

__all__ = ["CLIENTS", "ClientKind", "Outcome", "Run", "present_clients", "run"]

CLIENTS: tuple[ClientKind, ...] = (*OPENSSL_CLIENTS, *OTHER_CLIENTS)
"""Every pinned client there is."""


def present_clients() -> tuple[ClientKind, ...]:
    """Return the clients whose requirements are met on this machine."""
    return tuple(kind for kind in CLIENTS if all(need.is_met() for need in kind.requires))
