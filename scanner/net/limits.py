"""How fast and how many: one dispatcher for the rate, bounds by address and by endpoint.

asyncio-throttle polls, so thousands of waiters on one Throttler burn a core; here a single dispatcher task takes from
it and hands out permits in order of arrival.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from asyncio_throttle.throttler import Throttler

_BATCH_S = 0.1
"""Longest burst, as seconds of the rate asked for."""
_YIELD_EVERY = 128


class Dispatcher:
    """Hands out permits to connect at a rate. rate: connections a second; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._has_waiting = asyncio.Event()

    async def permit(self) -> None:
        """Wait for a turn."""
        if self._rate <= 0:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._has_waiting.set()
        await turn

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
                turn = self._waiting.popleft()
                if not turn.done():  # cancelled while waiting
                    turn.set_result(None)
                handed_out += 1
                if handed_out % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            self._has_waiting.clear()


class KeyedLimit:
    """Bounds how many may hold one key at a time: connections to one address, ladders at one endpoint."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._semaphores: dict[Hashable, asyncio.Semaphore] = {}
        self._users: Counter[Hashable] = Counter()

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for one of the key's places and hold it."""
        semaphore = self._semaphores.get(key)
        if semaphore is None:
            semaphore = self._semaphores[key] = asyncio.Semaphore(self._count)
        self._users[key] += 1
        try:
            async with semaphore:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:  # a sweep must not remember every address it passed
                del self._users[key], self._semaphores[key]
