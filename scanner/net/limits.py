"""How fast and how many: one dispatcher for the rate, bounds by address and by endpoint.

asyncio-throttle polls, so thousands of waiters on one Throttler burn a core; here a single dispatcher task takes from
it and hands out permits: to futures in order of arrival, then to the sweep's callback. Polling also comes late each
time, and a busy loop later still, which would cost some per cent of the rate: so permits fall due evenly, by the clock,
and lateness is made up within bounds. The library keeps the bound that no lateness may break: how many in any window.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from asyncio_throttle.throttler import Throttler

_BURST_S = 0.1
"""Longest burst, as seconds of the rate asked for."""
_WINDOW = 0.8
"""A burst's worth may pass in this part of its time: with little to spare, what came late could never be made up.

(With 0.98, an event loop that comes up to 30 ms late each time holds 91 % of the rate; with 0.8, all of it.)
"""
_SLICE_S = 0.005
"""Shortest sleep: at a high rate permits go out in slices of this time, not one by one."""
_LONGEST_SLEEP_S = 0.1
"""A changed rate is seen within this time."""
_EARLY_S = 1e-6
"""A timer fires this much early at most."""
_YIELD_EVERY = 128


class Clock(Protocol):
    """A deadline that can stand still: what waits for its turn is not late by its own fault."""

    def begin_waiting(self) -> None:
        """Stop."""

    def end_waiting(self) -> None:
        """Go on."""


class Dispatcher:
    """Hands out permits to connect at a rate. rate: connections a second; 0 is no limit.

    In any t seconds at most rate x (t + 0.1) + 1 permits, and in any 0.08 s no more than 0.1 s worth (one more after
    a pause, where it had been held back). While somebody wants them, as many as the rate says in the long run, however
    late the event loop comes round, up to 30 ms each time.
    """

    def __init__(self, rate: float) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pull: Callable[[], bool] | None = None
        self._may_pull = False
        self._has_demand = asyncio.Event()
        self._throttler = Throttler(1)
        self._handed_out = 0
        self._due = time.monotonic()
        self._spacing_s = 0.0
        self._most_late_s = 0.0
        self._rate = 0.0
        self.set_rate(rate)

    @property
    def rate(self) -> float:
        """Connections a second that are asked for now; 0 is no limit."""
        return self._rate

    @property
    def achieved(self) -> int:
        """How many permits were handed out so far."""
        return self._handed_out

    def set_rate(self, rate: float) -> None:
        """Change the rate, also while running; it holds from the next permit on (within 0.1 s)."""
        self._rate = max(0.0, rate)
        if self._rate > 0:
            count = max(1, round(self._rate * _BURST_S))
            self._spacing_s = 1 / self._rate
            # A burst less the one that is due; where that is none, part of a turn, or every delay would be lost.
            self._most_late_s = max((count - 1) * self._spacing_s, min(0.5 * self._spacing_s, _BURST_S))
            self._due = min(self._due, time.monotonic() + self._spacing_s)
            period_s = count * self._spacing_s * _WINDOW
            self._throttler.rate_limit = count
            self._throttler.period = period_s
            self._throttler.retry_interval = min(0.01, max(0.001, period_s / 50))
            self._may_pull = self._pull is not None
        self._has_demand.set()

    def attach(self, pull: Callable[[], bool]) -> None:
        """Have pull called for each permit that no future waits for.

        pull starts one connection and returns True, or returns False: it has nothing to start until ``wake``. The
        permit is then held back, and no more than 0.1 s worth is saved up. Not called where there is no limit.
        """
        self._pull = pull
        self.wake()

    def wake(self) -> None:
        """Say that pull may have something to start again. Cheap; may be called from within pull."""
        if self._rate > 0 and self._pull is not None:
            self._may_pull = True
            self._has_demand.set()

    def try_take(self) -> bool:
        """Take a permit at once where there is no limit. False where there is one: pull is called when its turn is."""
        if self._rate > 0:
            return False
        self._handed_out += 1
        return True

    async def permit(self, clock: Clock | None = None) -> None:
        """Wait for a turn, with the clock stopped. Served before the sweep: hosts under way finish first."""
        if self._rate <= 0:
            self._handed_out += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._has_demand.set()
        if clock is None:
            await turn
            return
        clock.begin_waiting()
        try:
            await turn
        finally:
            clock.end_waiting()

    async def run(self) -> None:
        """Hand out permits until cancelled. Ends with what pull raises."""
        has_slot = False  # one taken from the throttler that nobody wanted: kept, or a lane that comes and goes starves
        while True:
            await self._has_demand.wait()
            if self._rate <= 0:
                while self._hand_out():
                    self._handed_out += 1
                self._has_demand.clear()
                continue
            ahead_s = self._due - time.monotonic()
            if ahead_s > _EARLY_S:
                await asyncio.sleep(min(max(ahead_s, _SLICE_S), _LONGEST_SLEEP_S))
                continue
            if not has_slot:
                await self._throttler.acquire()  # type: ignore[no-untyped-call]  # the library is not annotated
                has_slot = True
            if not self._hand_out():
                if not (self._waiting or self._may_pull):
                    self._has_demand.clear()
                await asyncio.sleep(0)
                continue
            has_slot = False
            self._due = max(self._due, time.monotonic() - self._most_late_s) + self._spacing_s
            self._handed_out += 1
            if self._handed_out % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _hand_out(self) -> bool:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled while waiting costs the others nothing
                turn.set_result(None)
                return True
        if self._may_pull and self._rate > 0 and self._pull is not None:
            self._may_pull = False  # before the call: pull may wake us
            if self._pull():
                self._may_pull = True
                return True
        return False


class KeyedLimit:
    """Bounds how many may hold one key at a time: connections to one address, ladders at one endpoint."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._places: dict[Hashable, _Place] = {}

    def hold(self, key: Hashable, clock: Clock | None = None) -> _Hold:
        """Return an asynchronous context that waits for a place, with the clock stopped, and holds it."""
        return _Hold(self, key, clock)

    async def enter(self, key: Hashable, clock: Clock | None = None) -> None:
        """Wait for a place; every enter that returns needs a leave."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(self._count)
        if place.free_count > 0:
            place.free_count -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        place.waiting.append(turn)
        if clock is not None:
            clock.begin_waiting()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given a place and cancelled at once: hand it on
                self.leave(key)
            raise
        finally:
            if clock is not None:
                clock.end_waiting()

    def try_enter(self, key: Hashable) -> bool:
        """Take a place if one is free at once, for callers without tasks; every True needs a leave."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(self._count)
        if place.free_count == 0:
            return False
        place.free_count -= 1
        return True

    def leave(self, key: Hashable) -> None:
        """Give a place back, to the one who waits longest."""
        place = self._places[key]
        while place.waiting:
            turn = place.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        place.free_count += 1
        if place.free_count == self._count:  # a sweep must not remember every address it passed
            del self._places[key]


class _Place:
    # Not asyncio.Semaphore: nearly always a place is free, and then this costs a fifth.
    __slots__ = ("free_count", "waiting")

    def __init__(self, free_count: int) -> None:
        self.free_count = free_count
        self.waiting: deque[asyncio.Future[None]] = deque()


class _Hold:
    # A class and not contextlib's generator: this runs for every connection, and costs a third.
    __slots__ = ("_clock", "_key", "_limit")

    def __init__(self, limit: KeyedLimit, key: Hashable, clock: Clock | None) -> None:
        self._limit = limit
        self._key = key
        self._clock = clock

    async def __aenter__(self) -> None:
        await self._limit.enter(self._key, self._clock)

    async def __aexit__(self, *_: object) -> None:
        self._limit.leave(self._key)
