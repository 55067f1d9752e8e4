"""Hosts of the lane that wait: for their network's budget, for a second pass, or for this machine to recover.

A network's hosts wait in one queue with one entry in the heap: thousands may, and all would be due at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from scanner.net.budgets import Budgets
from scanner.sweep.host import LaneHost


class Waiting:
    """Says who may go. Times are those of the clock that budgets is asked with."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._heap: list[tuple[float, int, LaneHost | None, int]] = []
        """(when, a number that no other entry has, the host or None for a network's first one, network)."""
        self._queues: dict[int, deque[LaneHost]] = {}
        self._number = 0
        self._count = 0

    def __len__(self) -> int:
        """How many hosts wait."""
        return self._count

    def __iter__(self) -> Iterator[LaneHost]:
        """Yield the hosts that wait."""
        for _, _, host, _ in self._heap:
            if host is not None:
                yield host
        for queue in self._queues.values():
            yield from queue

    @property
    def next_at(self) -> float | None:
        """When to ask for the next one; None where nobody waits."""
        return self._heap[0][0] if self._heap else None

    def add(self, host: LaneHost, at: float) -> None:
        """Have a host wait for a time."""
        self._count += 1
        self._push(at, host, host.network)

    def may_go(self, host: LaneHost, now: float) -> bool:
        """Return whether a host's network has a connection for it, which is counted; else the host waits."""
        queue = self._queues.get(host.network)
        if queue is not None:  # others came first
            queue.append(host)
            self._count += 1
            return False
        delay_s = self._budgets.delay(host.network, now)
        if delay_s <= 0:
            return True
        self._queues[host.network] = deque((host,))
        self._count += 1
        self._push(now + delay_s, None, host.network)
        return False

    def maybe_next(self, now: float) -> LaneHost | None:
        """Return a host that may go now, its connection counted; None where none may."""
        while self._heap and self._heap[0][0] <= now:
            _, _, host, network = heappop(self._heap)
            if host is not None:
                self._count -= 1
                if self.may_go(host, now):
                    return host
                continue
            delay_s = self._budgets.delay(network, now)
            if delay_s > 0:
                self._push(now + delay_s, None, network)
                continue
            queue = self._queues[network]
            host = queue.popleft()
            self._count -= 1
            if queue:
                self._push(now, None, network)
            else:
                del self._queues[network]
            return host
        return None

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        self._queues.clear()
        self._count = 0

    def _push(self, at: float, host: LaneHost | None, network: int) -> None:
        self._number += 1
        heappush(self._heap, (at, self._number, host, network))
