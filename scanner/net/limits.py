"""How fast and how many: one dispatcher for the rate, bounds by address and by endpoint.

asyncio-throttle polls, so thousands of waiters on one Throttler burn a core; here a single dispatcher task takes from
it and hands out permits in order of arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Protocol

from asyncio_throttle.throttler import Throttler

_BATCH_S = 0.1
"""Longest burst, as seconds of the rate asked for."""
_YIELD_EVERY = 128


class Clock(Protocol):
    """A deadline that can stand still: what waits for its turn is not late by its own fault."""

    def begin_waiting(self) -> None:
        """Stop."""

    def end_waiting(self) -> None:
        """Go on."""


class Dispatcher:
    """Hands out permits to connect at a rate. rate: connections a second; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._has_waiting = asyncio.Event()

    async def permit(self, clock: Clock | None = None) -> None:
        """Wait for a turn, with the clock stopped."""
        if self._rate <= 0:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._has_waiting.set()
        if clock is None:
            await turn
            return
        clock.begin_waiting()
        try:
            await turn
        finally:
            clock.end_waiting()

    async def run(self) -> None:
        """Hand out permits until cancelled."""
        if self._rate <= 0:
            return
        count = max(1, round(self._rate * _BATCH_S))
        period = count / self._rate
        throttler = Throttler(count, period=period, retry_interval=min(0.01, max(0.001, period / 50)))
        handed_out = 0
        while True:
            await self._has_waiting.wait()
            while self._waiting:
                await throttler.acquire()  # type: ignore[no-untyped-call]  # the library is not annotated
                while self._waiting:
                    turn = self._waiting.popleft()
                    if not turn.done():  # who was cancelled while waiting costs the others nothing
                        turn.set_result(None)
                        break
                handed_out += 1
                if handed_out % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            self._has_waiting.clear()


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
