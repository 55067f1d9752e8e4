"""Politeness by network: connections a second into each /24 or /64, and less where they start to be refused.

No clock and no tasks here: whoever asks says what time it is (seconds of any clock that never goes back).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

PAUSE_S = 5.0
"""How long a network is left alone when it starts to refuse."""
RECOVERY_S = 30.0
"""After so long without trouble a lowered rate is doubled; trouble older than this is forgotten."""
LOWEST_RATE = 1.0
"""Connections a second that are left to a network at least, where its budget was not lower."""

# When is it trouble enough? Single resets are everyday (a worker restarts, a NAT forgets): five of ten outcomes that
# contradict what the host had said before are not. Three hosts, or all that were heard: one bad host must not slow its
# neighbours, and a host that is alone in its network slows nobody else.
_OUTCOMES = 10
_TROUBLES = 5
_HOSTS = 3
# In front of us, not of them: so many networks at once do not fail by chance. A sweep in random order meets each
# network too seldom for a cluster in it, so half of the last 64 outcomes count too, if they are of as many networks.
_NETWORKS = 5
_NETWORKS_WITHIN_S = 10.0
_HISTORY = 64
_HISTORY_TROUBLES = 32
_LOWEST_FACTOR = 1 / 64

_CLOSE_S = 1e-9
_V6 = 1 << 64
_COUNTED_S = 1.0
_SWEPT_AT_ONCE = 64
_MOST_TOLD = 1_000


def network_key(number: int, version: int) -> int:
    """Return the key of an address's network: its /24 (version 4) or /64 (version 6)."""
    return number >> 8 if version == 4 else number >> 64 | _V6


def network_text(key: int) -> str:
    """Return a network's key as text: 192.0.2.0/24 or 2001:db8::/64."""
    return str(IPv6Network(((key ^ _V6) << 64, 64)) if key & _V6 else IPv4Network((key << 8, 24)))


class Budgets:
    """Connections a second into each network. per_second: 0 is no budget; burst_s: seconds of it that may go at once.

    In any t seconds at most per_second x (t + burst_s) + 1 connections are let into a network. What a network did not
    use is not saved up, so one that was idle for a burst's time is forgotten: memory holds the networks of the last
    seconds (of the last 2 / per_second seconds, where that is longer), never a whole range.
    """

    def __init__(self, per_second: float, *, burst_s: float = 0.1) -> None:
        self._per_second = max(0.0, per_second)
        self._spacing_s = 1 / per_second if per_second > 0 else 0.0
        self._early_s = max(0, round(per_second * burst_s) - 1) * self._spacing_s
        # Two generations: who is in neither has not gone for so long that nothing of its budget is used.
        self._keep_s = max(1.0, self._early_s + self._spacing_s)
        self._due: dict[int, float] = {}
        self._due_before: dict[int, float] = {}
        self._keep_until = float("-inf")
        # How many went lately, for the rate that is halved.
        self._counts: dict[int, int] = {}
        self._counts_before: dict[int, int] = {}
        self._counting_since = self._counted_since = float("-inf")
        self._sweep_at = float("-inf")
        self._slowed: dict[int, _Slowed] = {}

    @property
    def slowed_count(self) -> int:
        """How many networks are slowed down now (those that recovered may be counted for some seconds)."""
        return len(self._slowed)

    def delay(self, key: int, now: float) -> float:
        """Return 0.0: one connection into this network may go now, and is counted. Else the seconds until it may."""
        if now >= self._sweep_at:
            self._sweep(now)
        if self._slowed and (slowed := self._current(key, now)) is not None:
            wait_s = slowed.due - now
            if wait_s > _CLOSE_S:
                return wait_s
            slowed.due = max(slowed.due, now) + 1 / slowed.rate
        elif self._spacing_s:
            due = self._due.get(key) or self._due_before.get(key, now)
            wait_s = due - self._early_s - now
            if wait_s > _CLOSE_S:
                return wait_s
            self._due[key] = max(due, now) + self._spacing_s
        self._counts[key] = self._counts.get(key, 0) + 1
        return 0.0

    def rate(self, key: int, now: float) -> float:
        """Return the connections a second that are let into a network now; 0.0 is no bound."""
        slowed = self._current(key, now)
        return self._per_second if slowed is None else slowed.rate

    def observed(self, key: int, now: float) -> float:
        """Return the connections a second that went into a network in the last one to two seconds."""
        if now >= self._sweep_at:
            self._sweep(now)
        count = self._counts.get(key, 0) + self._counts_before.get(key, 0)
        return count / max(_COUNTED_S, now - self._counted_since)

    def is_paused(self, key: int, now: float) -> bool:
        """Whether a network is left alone just now because it was slowed down."""
        slowed = self._slowed.get(key)
        return slowed is not None and now < slowed.paused_until

    def slow_down(self, key: int, now: float) -> tuple[float, float]:
        """Leave a network alone for PAUSE_S, then let half of what went into it; return both rates.

        Half of the lower of its budget and what was observed: half of a budget that was not used would slow nothing.
        """
        bound, observed = self.rate(key, now), max(self.observed(key, now), LOWEST_RATE)
        before = min(bound, observed) if bound else observed
        rate = min(max(before / 2, LOWEST_RATE), before)
        slowed = self._slowed.get(key)
        if slowed is None:
            due = self._due.get(key) or self._due_before.get(key, now)
            slowed = self._slowed[key] = _Slowed(full=self._per_second or max(before, 2 * LOWEST_RATE), due=due)
        slowed.rate = rate
        slowed.paused_until = now + PAUSE_S
        slowed.due = max(slowed.due, slowed.paused_until)
        slowed.recovers_at = slowed.paused_until + RECOVERY_S
        return before, rate

    def note_trouble(self, key: int, now: float) -> None:
        """Put a slowed network's recovery off."""
        slowed = self._current(key, now)
        if slowed is not None:
            slowed.recovers_at = max(slowed.recovers_at, now + RECOVERY_S)

    def _current(self, key: int, now: float) -> _Slowed | None:
        slowed = self._slowed.get(key)
        if slowed is None:
            return None
        while now >= slowed.recovers_at and slowed.rate < slowed.full:
            slowed.rate *= 2
            slowed.recovers_at += RECOVERY_S
        if slowed.rate < slowed.full or now < slowed.paused_until:
            return slowed
        del self._slowed[key]
        if self._spacing_s:  # what went last still counts
            self._due[key] = min(slowed.due, now + self._spacing_s)
        return None

    def _sweep(self, now: float) -> None:
        if now >= self._keep_until:
            self._due_before = self._due if now < self._keep_until + self._keep_s else {}
            self._due = {}
            self._keep_until = now + self._keep_s
        if now >= self._counting_since + _COUNTED_S:
            was_idle = now >= self._counting_since + 2 * _COUNTED_S
            self._counts_before = {} if was_idle else self._counts
            self._counted_since = now - _COUNTED_S if was_idle else self._counting_since
            self._counts = {}
            self._counting_since = now
        # Those that nobody asks for any more recover too; a few at a time, in turn.
        for key in list(islice(self._slowed, _SWEPT_AT_ONCE)):
            slowed = self._current(key, now)
            if slowed is not None:
                self._slowed[key] = self._slowed.pop(key)
        self._sweep_at = min(self._keep_until, self._counting_since + _COUNTED_S)


class _Slowed:
    # One network that was slowed down: its rate, where it recovers to, when the next may go.
    __slots__ = ("due", "full", "paused_until", "rate", "recovers_at")

    def __init__(self, *, full: float, due: float) -> None:
        self.full = full
        self.due = due
        self.rate = full
        self.paused_until = self.recovers_at = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowedNetwork:
    """A network that was slowed down in this run."""

    network: str
    """192.0.2.0/24 or 2001:db8::/64."""
    first_at_s: float
    """When first, on the clock that was given."""
    last_at_s: float
    """When last."""
    count: int
    """How often."""
    rate_before: float
    """Connections a second before the first time."""
    lowest_rate: float
    """Connections a second that were left to it at the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffReport:
    """What was slowed down, for the live view and the report."""

    networks: tuple[SlowedNetwork, ...]
    """In order of the first time; the first thousand."""
    untold_count: int
    """How often a network beyond those was slowed down."""
    slowed_count: int
    """How many networks are slowed down now."""
    factor: float
    """Part of the rate asked for that is used now: 1.0, 0.5, 0.25 and so on."""
    halved_at_s: tuple[float, ...]
    """When the whole rate was halved, on the clock that was given; the last thousand."""


class Backoff:
    """Notes how hosts that had answered go on, and slows down where that goes wrong.

    on_factor: called with the part of the rate asked for that is to be used, when that changes (1.0 is all of it).
    """

    def __init__(self, budgets: Budgets, on_factor: Callable[[float], None] | None = None) -> None:
        self._budgets = budgets
        self._on_factor = on_factor
        self._outcomes: dict[int, deque[tuple[float, int, bool]]] = {}
        self._history = 0
        self._troubled: deque[tuple[float, int]] = deque(maxlen=_HISTORY_TROUBLES)
        self._clusters: deque[tuple[float, int]] = deque(maxlen=_NETWORKS * 4)
        self._factor = 1.0
        self._factor_recovers_at = float("inf")
        self._is_deaf_until = float("-inf")
        self._told: dict[int, SlowedNetwork] = {}
        self._untold_count = 0
        self._halved_at: deque[float] = deque(maxlen=_MOST_TOLD)

    @property
    def factor(self) -> float:
        """Part of the rate asked for that is to be used now."""
        return self._factor

    def note(self, key: int, host: int, now: float, *, is_trouble: bool) -> None:
        """Take in how a question ended at a host that had answered before. key: its network's; host: its number."""
        self._history = (self._history << 1 | is_trouble) & (1 << _HISTORY) - 1
        if now >= self._factor_recovers_at:
            self.tick(now)
        if not is_trouble and key not in self._outcomes:
            return  # nearly always: what comes before the first trouble can't change what five of ten are
        if is_trouble:
            self._troubled.append((now, key))
            self._budgets.note_trouble(key, now)
        if not self._budgets.is_paused(key, now):  # what was under way then still ends, and says nothing new
            self._note_in_network(key, host, now, is_trouble=is_trouble)
        if is_trouble and now >= self._is_deaf_until and self._is_everywhere(now):
            self._halve(now)

    def tick(self, now: float) -> None:
        """Let the whole rate recover; to be called about once a second."""
        if now < self._factor_recovers_at:
            return
        self._factor = min(1.0, self._factor * 2)
        self._factor_recovers_at = now + RECOVERY_S if self._factor < 1 else float("inf")
        if self._on_factor is not None:
            self._on_factor(self._factor)

    def describe(self) -> BackoffReport:
        """Return what was slowed down so far."""
        return BackoffReport(
            networks=tuple(self._told.values()),
            untold_count=self._untold_count,
            slowed_count=self._budgets.slowed_count,
            factor=self._factor,
            halved_at_s=tuple(self._halved_at),
        )

    def _note_in_network(self, key: int, host: int, now: float, *, is_trouble: bool) -> None:
        outcomes = self._outcomes.pop(key, None)
        if outcomes is None:
            outcomes = deque(maxlen=_OUTCOMES)
            self._forget_oldest(now)
        outcomes.append((now, host, is_trouble))
        while outcomes[0][0] <= now - RECOVERY_S:
            outcomes.popleft()
        troubled = [each for _, each, was_trouble in outcomes if was_trouble]
        if not troubled:
            return
        hosts = set(troubled)
        is_cluster = len(troubled) >= _TROUBLES and (len(hosts) >= _HOSTS or hosts >= {each for _, each, _ in outcomes})
        if not is_cluster:
            self._outcomes[key] = outcomes  # at the end: the first is the one that was quiet the longest
            return
        self._tell(key, now, *self._budgets.slow_down(key, now))
        self._clusters.append((now, key))

    def _forget_oldest(self, now: float) -> None:
        # Two for each that comes: in the long run none is left that was quiet for the time of a recovery.
        for key in list(islice(self._outcomes, 2)):
            if self._outcomes[key][-1][0] <= now - RECOVERY_S:
                del self._outcomes[key]

    def _is_everywhere(self, now: float) -> bool:
        clustered = {key for at, key in self._clusters if at > now - _NETWORKS_WITHIN_S}
        if len(clustered) >= _NETWORKS:
            return True
        if self._history.bit_count() < _HISTORY_TROUBLES:
            return False
        return len({key for at, key in self._troubled if at > now - RECOVERY_S}) >= _NETWORKS

    def _halve(self, now: float) -> None:
        self._history = 0
        self._troubled.clear()
        self._clusters.clear()
        self._is_deaf_until = now + PAUSE_S
        self._factor_recovers_at = now + PAUSE_S + RECOVERY_S
        if self._factor <= _LOWEST_FACTOR:
            return
        self._factor /= 2
        self._halved_at.append(now)
        if self._on_factor is not None:
            self._on_factor(self._factor)

    def _tell(self, key: int, now: float, before: float, rate: float) -> None:
        told = self._told.get(key)
        if told is None and len(self._told) >= _MOST_TOLD:
            self._untold_count += 1
            return
        self._told[key] = SlowedNetwork(
            network=network_text(key),
            first_at_s=now if told is None else told.first_at_s,
            last_at_s=now,
            count=1 if told is None else told.count + 1,
            rate_before=before if told is None else told.rate_before,
            lowest_rate=rate if told is None else min(told.lowest_rate, rate),
        )
