"""What the store hands back, and how it fails. Cheap to import: no database library here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scanner.model.runs import HostRecord, Run


class StoreError(Exception):
    """The store can't do what was asked; the message is one for the user and never holds a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of the list of runs."""

    run: Run
    """The run."""
    host_count: int
    """Hosts stored for it so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as it was stored."""

    run: Run
    """The run."""
    hosts: tuple[HostRecord, ...]
    """What was learned, by position."""
    no_listener_counts: tuple[tuple[str, int], ...]
    """Range addresses where nothing listened, by reason: ``(("REFUSED", 250),)``; empty until the run is finished."""
