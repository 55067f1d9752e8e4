"""What the listener allows itself and others: bounds in time, bytes and counts, and the counts so far. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """Bounds. Memory is at most some 6 KB times connections, 192 KB times answers, and recent_bytes."""

    connections: int = 10_500
    """Open at a time; while there are so many, the newest wait in the kernel's backlog."""
    per_address: int = 1_000
    """Open at a time from one address; those over it are closed at once."""
    answers: int = 512
    """Hellos being answered at a time; the others are recorded and keep their place."""
    answers_per_address: int = 128
    """Of them, for one address: who begins handshakes and leaves them does not keep the others waiting."""
    api_sessions: int = 32
    """Connections to the API at a time; those over it are closed."""
    hello_s: float = 10.0
    """Seconds for the whole hello to arrive."""
    whole_s: float = 20.0
    """Seconds for the whole connection."""
    linger_s: float = 1.0
    """Seconds given to the peer, after our last byte, to close: it may still say why."""
    api_s: float = 60.0
    """Most seconds that a connection to the API may take."""
    bytes_each_way: int = 65_536
    """Most bytes taken from a peer, and most sent to it."""
    backlog: int = 4_096
    """Connections that may wait in the kernel (the kernel has a bound of its own, net.core.somaxconn)."""
    clients: int = 10_000
    """Clients for whom it is remembered which versions were tried."""
    recent_count: int = 20_000
    """Exchanges with probe tokens that are kept for collection."""
    recent_bytes: int = 64 * 2**20
    """Bytes of them."""
    other_per_address: int = 20
    """Connections without a whole hello that are recorded from one address in ``other_window_s``."""
    other_window_s: float = 60.0
    """Seconds; see other_per_address."""
    other_bytes: int = 1_024
    """Most bytes recorded of a connection that did not begin with a hello."""


@dataclass(slots=True)
class Counters:
    """Counts since the start, for a live view. Each accepted connection ends up in exactly one of the lower group."""

    accepted: int = 0
    """Connections accepted."""
    open: int = 0
    """Connections open now."""
    answering: int = 0
    """Hellos being answered now."""
    waiting: int = 0
    """Hellos that wait for their answer now."""
    completed: int = 0
    """Handshakes that ran to their end."""
    paused: int = 0
    """How often accepting was stopped: too many connections, or no descriptor left."""
    failed: int = 0
    """Answers that failed by a fault of ours, and exchanges that could not be handed out."""

    hellos: int = 0
    """Whole hellos; each became one exchange, or will when its connection ends."""
    answered: int = 0
    """Of them, those that were answered with a version (a part of hellos, not a group of its own)."""
    other: int = 0
    """Something else than a hello, or only a part of one."""
    silent: int = 0
    """Closed or timed out without a byte."""
    over_limit: int = 0
    """Closed because of a limit: too many from one address, or too many sessions of the API."""
    api: int = 0
    """Connections to the API."""


class OtherBudget:
    """How many connections without a whole hello are still recorded: garbage must not fill the store."""

    _MOST_PLACES = 10_000

    def __init__(self, limits: ListenerLimits) -> None:
        self._limits = limits
        self._counts: dict[str, int] = {}
        self._since_s = 0.0

    def may_record(self, place: str, *, now_s: float) -> bool:
        """Count one from this place (see ``place_of``); return whether it is within the bound."""
        if now_s - self._since_s > self._limits.other_window_s:
            self._counts.clear()
            self._since_s = now_s
        if place not in self._counts and len(self._counts) >= self._MOST_PLACES:
            return False
        self._counts[place] = self._counts.get(place, 0) + 1
        return self._counts[place] <= self._limits.other_per_address


def place_of(address: str) -> str:
    """Return what connections are counted by: an IPv4 address, or the /64 of an IPv6 one, which is one host's."""
    return str(IPv6Network((address, 64), strict=False)) if ":" in address else address
