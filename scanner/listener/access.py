"""How a scan gets at what a listener saw: in this process here, elsewhere over the API (scanner.listener.remote)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from scanner.model.exchange import Exchange

if TYPE_CHECKING:
    from scanner.listener.server import Listener

_EXCHANGE_BYTES = 1_500
"""Memory of an exchange besides its bytes."""


class ListenerAccess(Protocol):
    """A listener, seen from a scan."""

    @property
    def name_suffix(self) -> str:
        """What ends the names that lead to it (scanner.outbound.tokens)."""
        ...

    @property
    def destination(self) -> str:
        """What a proxy is asked for: ``listener.example.com:443``, ``[2001:db8::1]:443``."""
        ...

    async def collect(self, nonces: Sequence[str], *, wait_s: float) -> list[Exchange]:
        """Return the exchanges that came with these nonces, oldest first.

        Returns as soon as each nonce has at least one and no connection with one of them is still open, or after
        wait_s seconds with what there is. Raises OSError where the listener can't be reached.
        """
        ...

    async def close(self) -> None:
        """Let go of the listener; does not stop it."""
        ...


class RecentExchanges:
    """The newest exchanges by nonce, bounded in number and bytes; the oldest goes first."""

    def __init__(self, most_count: int = 20_000, most_bytes: int = 64 * 2**20) -> None:
        """most_count: exchanges; most_bytes: of them."""
        self._most_count = most_count
        self._most_bytes = most_bytes
        self._by_nonce: dict[str, deque[Exchange]] = {}
        self._order: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._open: dict[str, int] = {}
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def note_open(self, nonce: str) -> None:
        """Remember that a connection with this nonce began."""
        self._open[nonce] = self._open.get(nonce, 0) + 1

    def note_closed(self, nonce: str) -> None:
        """Forget a connection that note_open was told of."""
        count = self._open.pop(nonce, 0) - 1
        if count > 0:
            self._open[nonce] = count
        self._wake(nonce)

    def add(self, nonce: str, exchange: Exchange) -> None:
        """Keep an exchange."""
        size_bytes = _size(exchange)
        self._by_nonce.setdefault(nonce, deque()).append(exchange)
        self._order.append((nonce, size_bytes))
        self._bytes += size_bytes
        while self._order and (len(self._order) > self._most_count or self._bytes > self._most_bytes):
            oldest, freed_bytes = self._order.popleft()
            self._bytes -= freed_bytes
            kept = self._by_nonce[oldest]
            kept.popleft()
            if not kept:
                del self._by_nonce[oldest]
        self._wake(nonce)

    def found(self, nonces: Iterable[str]) -> list[Exchange]:
        """Return what is kept for these nonces, oldest first."""
        exchanges = [exchange for nonce in dict.fromkeys(nonces) for exchange in self._by_nonce.get(nonce, ())]
        return sorted(exchanges, key=lambda exchange: exchange.request.id)

    async def collect(self, nonces: Sequence[str], *, wait_s: float) -> list[Exchange]:
        """See ListenerAccess.collect; never raises OSError."""
        wanted = set(nonces)
        arrived = asyncio.Event()
        for nonce in wanted:
            self._waiters.setdefault(nonce, set()).add(arrived)
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                while any(nonce not in self._by_nonce or nonce in self._open for nonce in wanted):
                    arrived.clear()
                    await arrived.wait()
        except TimeoutError:
            pass
        finally:
            for nonce in wanted:
                waiting = self._waiters[nonce]
                waiting.discard(arrived)
                if not waiting:
                    del self._waiters[nonce]
        return self.found(nonces)

    def _wake(self, nonce: str) -> None:
        for event in self._waiters.get(nonce, ()):
            event.set()


def _size(exchange: Exchange) -> int:
    chain_bytes = sum(map(len, exchange.engine.chain_der)) if exchange.engine else 0
    return _EXCHANGE_BYTES + len(exchange.sent) + len(exchange.received) + chain_bytes


class LocalAccess:
    """A listener that runs in this process."""

    def __init__(self, listener: Listener, destination: str | None = None) -> None:
        """destination: what proxies are to be asked for; None: the first address it listens on."""
        self._listener = listener
        self._destination = destination

    @property
    def name_suffix(self) -> str:
        """See ListenerAccess."""
        return self._listener.name_suffix

    @property
    def destination(self) -> str:
        """See ListenerAccess; raises RuntimeError where the listener has not been started."""
        if self._destination is not None:
            return self._destination
        if not self._listener.addresses:
            raise RuntimeError("the listener has not been started")
        return render_destination(*self._listener.addresses[0])

    async def collect(self, nonces: Sequence[str], *, wait_s: float) -> list[Exchange]:
        """See ListenerAccess."""
        return await self._listener.recent.collect(nonces, wait_s=wait_s)

    async def close(self) -> None:
        """See ListenerAccess."""


def render_destination(host: str, port: int) -> str:
    """Return ``192.0.2.7:443``, ``[2001:db8::1]:443`` or ``listener.example.com:443``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
