"""One interface for everything that opens a connection; deadlines and error mapping live only behind it."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from scanner.model.exchange import Ending

Conversation = Generator[bytes, bytes, bytes | None]
"""Sans-IO: ``next`` yields the first bytes to send; ``send(received)`` yields more to send (``b""``: none).

It is sent pieces of at most 16,384 bytes, and ``b""`` when the peer closes. It returns when it has what it wants: last
bytes to send, or None.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLog:
    """What one connection did."""

    sent: bytes
    """Bytes handed to the kernel."""
    received: bytes
    """Bytes read."""
    ending: Ending
    """How it ended."""
    os_error: str | None
    """Name of the operating system's error, such as ``ECONNRESET``."""
    elapsed_s: float
    """Seconds from the begin of connect to the end."""


class Network(Protocol):
    """Opens connections and steps conversations over them."""

    async def drive(
        self, conversation: Conversation, *, address: str, port: int, deadline_s: float, max_bytes: int
    ) -> WireLog:
        """Connect, step the conversation until it returns or the connection or deadline ends; never raises for trouble.

        Cancellation closes the connection and is passed on.
        """

    async def close(self) -> None:
        """Give back what the network holds, once no conversation is under way."""


_REFUSED = frozenset({errno.ECONNREFUSED})
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_RESET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})


def ending_of_error(number: int, *, is_connected: bool) -> Ending:
    """Return what an errno says: of the peer, or, where it says nothing of the peer, that we failed."""
    if number in _RESET:
        # Also where we had not yet noticed the connection: RST in answer to SYN is ECONNREFUSED, and a server that
        # accepts and resets at once is not one that does not listen.
        return Ending.PEER_RESET
    if number in _REFUSED:
        return Ending.PEER_RESET if is_connected else Ending.REFUSED
    if number in _UNREACHABLE:
        return Ending.TIMED_OUT_READ if is_connected else Ending.UNREACHABLE
    if number == errno.ETIMEDOUT:
        return Ending.TIMED_OUT_READ if is_connected else Ending.TIMED_OUT_CONNECT
    return Ending.LOCAL_FAILURE


def error_name(number: int) -> str:
    """Return ``ECONNRESET`` for its number."""
    return errno.errorcode.get(number, f"errno {number}")


def has_epoll(kind: str) -> bool:
    """Return whether a kind of network (see open_network) is one on epoll here."""
    return kind == "epoll" or (kind == "auto" and sys.platform == "linux")


def open_network(kind: str = "auto") -> Network:
    """Return a network: ``epoll`` (Linux, the fast one), ``asyncio`` (anywhere), or ``auto`` (the best there is).

    Raises ValueError for another kind, or for epoll where the system has none. Call it inside the running event loop.
    """
    if kind == "auto":
        kind = "epoll" if has_epoll(kind) else "asyncio"
    if kind == "epoll":
        if not hasattr(select, "epoll"):
            raise ValueError(f"there is no epoll on {os.name}; use asyncio")
        from scanner.net.epoll import EpollNetwork  # noqa: PLC0415  # importable only where epoll exists

        return EpollNetwork()
    if kind == "asyncio":
        from scanner.net.sockets import AsyncioNetwork  # noqa: PLC0415  # only what is used is loaded

        return AsyncioNetwork()
    raise ValueError(f"no network is called {kind!r}; there are auto, epoll and asyncio")
