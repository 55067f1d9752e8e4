"""One question after another on many sockets, by callbacks: the hot path of a sweep (Linux).

A connection here costs no task, no future and no generator: a ``Call`` is begun, and the reactor tells when it has
ended. Its epoll object is nested in asyncio's loop, as EpollNetwork's is. bench/ measures it beside a client in C.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import time
from collections.abc import Callable, Generator
from typing import cast

from scanner.model.exchange import Ending
from scanner.net.network import ending_of_error, error_name

_PIECE_BYTES = 16_384
_MOST_EVENTS = 512
_TICKS = 10
"""Deadlines are looked at so often a second."""
_TICK_S = 1 / _TICKS
_ERRORS = select.EPOLLERR | select.EPOLLHUP
# Edge-triggered, for both at once: no second call into the kernel when the connection is there and we begin to read.
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_IN_PROGRESS = frozenset({0, errno.EINPROGRESS})
_AGAIN = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
# The C type: what socket.socket adds in Python costs a microsecond a connection.
_open_socket = cast("type[socket.socket]", socket.SocketType)


class Call:
    """One connection at a time, over and over: where to, what is sent, what came. The lane's hosts are such calls."""

    __slots__ = (
        "address",
        "due",
        "ending",
        "family",
        "fd",
        "is_connected",
        "key",
        "os_error",
        "port",
        "reader",
        "received",
        "sock",
        "started",
        "started_us",
        "tick",
        "unsent",
    )

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        """IPv4 or IPv6 address."""
        self.port = port
        """TCP port."""
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.key: object | None = None
        """What is_decided made of the answer, where it could tell; see Reactor."""
        # What follows is set by Reactor.begin, time and again: a sweep makes millions of calls.
        self.sock: socket.socket | None
        """Open while the call is under way."""
        self.fd: int
        self.is_connected: bool
        """Whether the connection was established."""
        self.started: float
        """When it was begun, by time.monotonic."""
        self.started_us: int
        """When it was begun: microseconds since 1970 (UTC)."""
        self.due: float
        """When it is given up, by time.monotonic."""
        self.tick: int
        self.received: bytes
        """What came."""
        self.unsent: bytes
        self.reader: Generator[None, bytes, object] | None
        self.ending: Ending
        """How it ended."""
        self.os_error: str | None
        """As in Exchange."""


class Reactor:
    """Steps calls. Make it inside the running event loop.

    hello_of: returns what to send, asked once connected. is_decided: returns something true where the bytes are a whole
    answer, which is then the call's key; where it can't tell, reader_of gives a generator that is sent each piece and
    returns once it has what it wants. on_end: is told of each call that has ended, and may begin it anew at once.
    on_idle: is called after each round of events.
    """

    def __init__(
        self,
        *,
        hello_of: Callable[[Call], bytes],
        is_decided: Callable[[bytes], object],
        reader_of: Callable[[Call], Generator[None, bytes, object]],
        on_end: Callable[[Call], None],
        on_idle: Callable[[], None],
        max_bytes: int,
    ) -> None:
        self._hello_of = hello_of
        self._is_decided = is_decided
        self._reader_of = reader_of
        self._on_end = on_end
        self._on_idle = on_idle
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._calls: dict[int, Call] = {}
        self._wheel: dict[int, set[Call]] = {}
        """Calls by the tick at which their deadline is looked at."""
        self._turned = int(time.monotonic() * _TICKS)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return len(self._calls)

    def begin(self, call: Call, connect_s: float, timeout_s: float) -> None:
        """Connect, send, read. connect_s: for the connection to come about; timeout_s: for all of it.

        The call's end may be told before this returns: no descriptor left, an address without a route.
        """
        call.sock = None
        call.fd = -1
        call.received = b""
        call.os_error = None
        call.is_connected = False
        call.key = None
        call.reader = None
        call.unsent = b""
        call.started = started = time.monotonic()
        call.started_us = time.time_ns() // 1000
        call.due = started + timeout_s
        try:
            call.sock = sock = _open_socket(call.family, _STREAM)
            number = sock.connect_ex((call.address, call.port))
        except OSError as error:
            number = error.errno or errno.EINVAL
        if number not in _IN_PROGRESS:
            self._fail(call, number)
            return
        call.fd = fd = sock.fileno()
        self._calls[fd] = call
        self._epoll.register(fd, _EVENTS)
        call.tick = tick = int((started + min(connect_s, timeout_s)) * _TICKS) + 1
        calls = self._wheel.get(tick)
        if calls is None:
            self._wheel[tick] = {call}
            if self._timer is None:
                self._timer = self._loop.call_later(_TICK_S, self._turn)
        else:
            calls.add(call)

    def cut(self) -> list[Call]:
        """End all calls under way as cancelled, without telling on_end, and return them."""
        cut = list(self._calls.values())
        for call in cut:
            self._close(call)
            call.ending = Ending.CANCELLED
        return cut

    def close(self) -> None:
        """Give back what the reactor holds."""
        if self._is_closed:
            return
        self._is_closed = True
        self.cut()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _on_ready(self) -> None:
        calls = self._calls
        for fd, events in self._epoll.poll(0, _MOST_EVENTS):
            call = calls.get(fd)
            if call is None:
                continue
            if call.is_connected:
                if call.unsent:
                    self._flush(call)
                if call.sock is not None:
                    self._read(call)
            elif events & _ERRORS:
                assert call.sock is not None  # noqa: S101  # for the type checker: it is in the table
                number = call.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._fail(call, number or errno.ECONNRESET)
            else:
                call.is_connected = True
                hello = self._hello_of(call)
                assert call.sock is not None  # noqa: S101  # the same
                try:
                    count = call.sock.send(hello)
                except OSError as error:
                    count = 0
                    if error.errno not in _AGAIN:
                        self._fail(call, error.errno or 0)
                        continue
                if count < len(hello):
                    call.unsent = hello[count:]
                # A reply that is there already tells of itself by no edge of its own where it came with this one.
                if events & select.EPOLLIN and call.sock is not None:
                    self._read(call)
        self._on_idle()

    def _flush(self, call: Call) -> None:
        assert call.sock is not None  # noqa: S101  # for the type checker
        try:
            count = call.sock.send(call.unsent)
        except OSError as error:
            if error.errno not in _AGAIN:
                self._fail(call, error.errno or 0)
            return
        call.unsent = call.unsent[count:]

    def _read(self, call: Call) -> None:
        sock = call.sock
        assert sock is not None  # noqa: S101  # for the type checker
        while True:
            try:
                piece = sock.recv(_PIECE_BYTES)
            except OSError as error:
                if error.errno not in _AGAIN:
                    self._fail(call, error.errno or 0)
                return
            if not piece:
                self._end(call, Ending.PEER_CLOSED)
                return
            if call.reader is None and not call.received:
                call.received = piece
                call.key = self._is_decided(piece)
                if call.key:
                    self._end(call, Ending.COMPLETE)
                    return
                call.reader = self._reader_of(call)
                next(call.reader)
            else:
                call.received += piece
            if len(call.received) > self._max_bytes:
                call.received = call.received[: self._max_bytes]
                self._end(call, Ending.OVERSIZE)
                return
            assert call.reader is not None  # noqa: S101  # for the type checker
            try:
                call.reader.send(piece)
            except StopIteration:
                self._end(call, Ending.COMPLETE)
                return

    def _fail(self, call: Call, number: int) -> None:
        call.os_error = error_name(number)
        self._end(call, ending_of_error(number, is_connected=call.is_connected))

    def _end(self, call: Call, ending: Ending) -> None:
        self._close(call)
        call.ending = ending
        self._on_end(call)

    def _close(self, call: Call) -> None:
        if call.fd >= 0:
            del self._calls[call.fd]
            call.fd = -1
            calls = self._wheel.get(call.tick)
            if calls is not None:  # else its deadline is being looked at
                calls.discard(call)
        if call.sock is not None:
            call.sock.close()
            call.sock = None
        call.reader = None

    def _turn(self) -> None:
        """Look at the deadlines that have come."""
        self._timer = None
        now = time.monotonic()
        until = int(now * _TICKS)
        for tick in range(self._turned + 1, until + 1):
            for call in self._wheel.pop(tick, ()):
                if call.fd < 0:
                    continue  # cut meanwhile
                if call.is_connected and call.due > now:
                    call.tick = later = max(int(call.due * _TICKS), until) + 1
                    self._wheel.setdefault(later, set()).add(call)
                else:
                    self._end(call, Ending.TIMED_OUT_READ if call.is_connected else Ending.TIMED_OUT_CONNECT)
        self._turned = until
        if self._wheel:
            self._timer = self._loop.call_later(_TICK_S, self._turn)
        self._on_idle()
