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
_TICKS = 50
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
        "was_sent",
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
        self.was_sent: bool
        """Whether the kernel took what was to be sent, or a part of it."""
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
        call.was_sent = False
        call.key = None
        call.reader = None
        call.unsent = b""
        call.started = started = time.monotonic()
        call.started_us = time.time_ns() // 1000
        call.due = started + timeout_s
        try:
            call.sock = sock = _open_socket(call.family, _STREAM)
            number = sock.connect_ex((call.address, call.port))
            fd = sock.fileno()
            if number in _IN_PROGRESS:
                self._epoll.register(fd, _EVENTS)
        except OSError as error:  # no descriptor left, no room in epoll's table, an address that is none
            number = error.errno or errno.EINVAL
        if number not in _IN_PROGRESS:
            self._fail(call, number)
            return
        call.fd = fd
        self._calls[fd] = call
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
        self._step()
        self._on_idle()

    def _step(self) -> int:
        """Go on with those that are ready, 512 at most; return how many they were."""
        calls = self._calls
        ready = self._epoll.poll(0, _MOST_EVENTS)
        now = time.monotonic()
        for fd, events in ready:
            call = calls.get(fd)
            if call is None:
                continue
            sock = call.sock
            assert sock is not None  # noqa: S101  # for the type checker: it is in the table
            if call.is_connected:
                if call.unsent:
                    self._send(call, call.unsent)
                if call.sock is sock:  # else it has ended, and may have been begun anew
                    self._read(call)
            elif events & _ERRORS:
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._fail(call, number or errno.ECONNRESET)
            else:
                call.is_connected = True
                if call.due <= now:  # we were held up: the peer has its time yet to come
                    call.due = now + call.due - call.started
                try:
                    hello = self._hello_of(call)
                except Exception as error:  # noqa: BLE001  # a bug must cost one call, and the others no event
                    self._blame(call, error)
                    continue
                self._send(call, hello)
                # A reply that is there already tells of itself by no edge of its own where it came with this one.
                if events & select.EPOLLIN and call.sock is sock:
                    self._read(call)
        return len(ready)

    def _send(self, call: Call, data: bytes) -> None:
        assert call.sock is not None  # noqa: S101  # for the type checker
        try:
            count = call.sock.send(data)
        except OSError as error:
            if error.errno in _AGAIN:
                call.unsent = data
            else:
                self._fail(call, error.errno or 0)
            return
        call.was_sent = True
        call.unsent = data[count:]

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
                try:
                    call.key = self._is_decided(piece)
                    if not call.key:
                        call.reader = self._reader_of(call)
                        next(call.reader)
                except Exception as error:  # noqa: BLE001  # as above
                    self._blame(call, error)
                    return
                if call.key:
                    self._end(call, Ending.COMPLETE)
                    return
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
            except Exception as error:  # noqa: BLE001  # as above
                self._blame(call, error)
                return

    def _blame(self, call: Call, error: Exception) -> None:
        call.os_error = f"{type(error).__name__}: {error}"
        self._end(call, Ending.LOCAL_FAILURE)

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
        # First at what is ready: where the loop was held up, answers wait, and their connections are not silent.
        for _ in range(len(self._calls) // _MOST_EVENTS + 2):
            if self._step() < _MOST_EVENTS:
                break
        now = time.monotonic()
        until = int(now * _TICKS)
        for tick in range(self._turned + 1, until + 1):
            for call in self._wheel.pop(tick, ()):
                if call.fd < 0 or call.tick != tick:
                    continue  # cut meanwhile, or begun anew
                if call.is_connected and call.due > now:
                    call.tick = later = max(int(call.due * _TICKS), until) + 1
                    self._wheel.setdefault(later, set()).add(call)
                else:
                    self._end(call, Ending.TIMED_OUT_READ if call.is_connected else Ending.TIMED_OUT_CONNECT)
        self._turned = until
        if self._wheel and self._timer is None:  # a call that was begun anew has set it
            self._timer = self._loop.call_later(_TICK_S, self._turn)
        self._on_idle()
