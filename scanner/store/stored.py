"""What the store takes and hands back, and how it fails. Cheap to import: no database library here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scanner.model.runs import HostRecord, Run


class StoreError(Exception):
    """The store can't do what was asked; the message is one for the user and never holds a password."""


class KeepBytes(StrEnum):
    """Which bytes of the replies are kept."""

    ALL = "all"
    """Everything that came."""
    DISPUTED = "disputed"
    """Everything of hosts with a verdict that is unknown or disputed; of the others what was read to judge them."""
    NONE = "none"
    """As disputed, but of hosts that are clear nothing: their judgement is kept instead, and can't be made again."""


class Kept(IntEnum):
    """Which bytes a blob has; the numbers are stored."""

    WHOLE = 0
    """All of them."""
    BOUNDED = 1
    """Replies only as far as they were read."""
    NOTHING = 2
    """No exchanges at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedHost:
    """A host as the store takes it; made by scanner.store.packing in any process, and cheap to send to another."""

    position: int
    """Its place in the run."""
    host: str
    """The host's name or address."""
    blob: bytes
    """Everything that was learned, packed."""
    certificates: tuple[bytes, ...] = ()
    """The different certificates (DER) the host sent, in the order seen; the blob points into it."""
    parts: tuple[bytes, ...] = ()
    """What the blob refers to and many hosts share; kept once."""
    has_forms: bool = False
    """Whether the blob refers to the forms of this program's hellos (hello_forms.current_forms)."""
    judged: bytes | None = None
    """Its judgement as one JSON line, where that is to be kept."""
    is_final: bool = True
    """False for a host that was interrupted: it is shown, and replaced when the run is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHost:
    """A host as it was stored."""

    position: int
    """Its place in the run."""
    record: HostRecord
    """What was learned; without exchanges where has_bytes is False."""
    has_bytes: bool
    """False where its exchanges were not kept (KeepBytes.NONE): it can't be judged again; judged is what there is."""
    judged: bytes | None
    """Its judgement as one JSON line, where that was kept."""
    is_final: bool
    """False for a host that was interrupted."""


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
    """Range addresses where nothing listened, by reason: ``(("REFUSED", 250),)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a run needs to go on from where it was last stored."""

    run: Run
    """The run."""
    plan: str
    """The plan that begin_run was given."""
    options: str
    """The options that begin_run was given."""
    progress: bytes | None
    """What the last append_packed gave as checkpoint; None where none did."""
    counts: Mapping[str, int]
    """Range addresses where nothing listened, by reason, as of that checkpoint."""
    done_positions: frozenset[int]
    """Positions of the hosts that are stored and final."""
