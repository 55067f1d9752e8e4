"""Finds listeners for the lane by raw SYNs: one packet an address, and no socket until there is an answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable

from scanner.net.syn import SynProber
from scanner.sweep.host import LaneHost

_TURN_S = 0.1
_RETRY_S = 0.002
"""Until a SYN is tried again for which the socket's buffer had no room."""

OnFound = Callable[[LaneHost, "bool | None"], None]
"""Is told of a host: True its port is open, False closed, None nothing came in time."""


class SynFinder:
    """Sends SYNs for hosts and matches the answers. Raises what SynProber raises where the capability is missing."""

    def __init__(self, on_found: OnFound) -> None:
        self._on_found = on_found
        self._asked: dict[tuple[int, int, int], LaneHost] = {}
        self._due: deque[tuple[float, tuple[int, int, int], LaneHost]] = deque()
        self._blocked: deque[tuple[LaneHost, float]] = deque()
        self._straight: deque[LaneHost] = deque()
        """Hosts for which no SYN can tell: connecting has to."""
        self._loop = asyncio.get_running_loop()
        self._prober = SynProber(self._on_answer, secret=secrets.token_bytes(32))
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """How many hosts are waited for."""
        return len(self._asked) + len(self._blocked) + len(self._straight)

    @property
    def lost_count(self) -> int:
        """Answers that this machine dropped because they were read too late: those addresses look silent."""
        return self._prober.lost_count

    def look(self, host: LaneHost, wait_s: float) -> None:
        """Send a SYN to the host's port; on_found is told once, at the answer or after wait_s."""
        host.started = now = time.monotonic()
        host.started_us = time.time_ns() // 1000
        place = host.place
        key = place.number, place.version, host.port
        if key in self._asked:  # the same port under another server name: an answer would be taken for one of the two
            self._connect_instead(host)
            return
        try:
            self._prober.send(*key)
        except BlockingIOError:
            self._blocked.append((host, wait_s))
            if self._retry is None:
                self._retry = self._loop.call_later(_RETRY_S, self._send_blocked)
            return
        except OSError:
            # No route, or the local firewall: connecting will say which, and be told of as ever.
            self._connect_instead(host)
            return
        self._asked[key] = host
        self._due.append((now + wait_s, key, host))
        if self._timer is None:
            self._timer = self._loop.call_later(_TURN_S, self._turn)

    def cut(self) -> list[LaneHost]:
        """Forget all that is waited for, and return it."""
        hosts = [*self._asked.values(), *(host for host, _ in self._blocked), *self._straight]
        self._asked.clear()
        self._blocked.clear()
        self._straight.clear()
        return hosts

    def close(self) -> None:
        """Give back what the finder holds."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        self._prober.close()

    def _connect_instead(self, host: LaneHost) -> None:
        # Not at once: whoever asked is not done yet with asking.
        self._straight.append(host)
        self._loop.call_soon(self._tell_straight)

    def _tell_straight(self) -> None:
        if self._straight:  # else cut meanwhile
            self._on_found(self._straight.popleft(), True)  # noqa: FBT003  # let the connection decide

    def _on_answer(self, number: int, version: int, port: int, is_open: bool) -> None:  # noqa: FBT001  # its shape
        host = self._asked.pop((number, version, port), None)
        if host is not None:  # else answered twice, or too late
            self._on_found(host, is_open)

    def _send_blocked(self) -> None:
        self._retry = None
        waiting, self._blocked = self._blocked, deque()
        for host, wait_s in waiting:
            if self._blocked:  # full again
                self._blocked.append((host, wait_s))
            else:
                self.look(host, wait_s)
        if self._blocked and self._retry is None:
            self._retry = self._loop.call_later(_RETRY_S, self._send_blocked)

    def _turn(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, key, host = self._due.popleft()
            if self._asked.get(key) is host:
                del self._asked[key]
                self._on_found(host, None)
        if self._due:
            self._timer = self._loop.call_later(_TURN_S, self._turn)
