"""A hello and its answer as the lane of a sweep notes them: the facts of an Exchange, and nothing that can be derived.

An Exchange takes several microseconds to build and most are never looked at; ``scanner.store.packing`` makes one from a
row where it is.
"""

from __future__ import annotations

from typing import NamedTuple

from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import TlsVersion


class HelloRow(NamedTuple):
    """One hello (Probe.HELLO) and what came back."""

    endpoint: int
    """Ordinal among the record's endpoints."""
    request_id: int
    """As in ProbeRequest."""
    version: TlsVersion
    """The version asked for."""
    variant: HelloVariant
    """The form of hello."""
    started_us: int
    """When the connection was begun: microseconds since 1970 (UTC)."""
    elapsed_us: int
    """Microseconds from the begin of connect to the end."""
    ending: Ending
    """How it ended."""
    os_error: str | None
    """As in Exchange."""
    random: bytes
    """The RANDOM_BYTES that ``scanner.tls.hello.encode_hello`` was given: with version, variant and server name they
    are the hello. Empty where nothing was sent, as the connection was not established."""
    received: bytes
    """As in Exchange."""
