"""The fast network: an epoll object of our own, nested in asyncio's loop by its file descriptor (Linux).

asyncio's per-socket bookkeeping costs as much again as the kernel's work for a short connection; here one reader
callback serves all sockets that are ready. Measured in bench/ against asyncio's own sockets.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import select
import socket
import time
from collections.abc import Callable

from scanner.model.exchange import Ending
from scanner.net.network import Conversation, WireLog, ending_of_error, error_name

_PIECE_BYTES = 16_384
_MOST_EVENTS = 512
_SPARE_DEADLINES = 1_000
_STEPS_BEFORE_DEADLINES = 4
_ERRORS = select.EPOLLERR | select.EPOLLHUP
_IN_PROGRESS = frozenset({0, errno.EINPROGRESS})
_AGAIN = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})


class EpollNetwork:
    """Network (scanner.net.network) on a nested epoll. Make it inside the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._talks: dict[int, _Talk] = {}
        self._deadlines: list[tuple[float, int, _Talk]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    async def drive(
        self, conversation: Conversation, *, address: str, port: int, deadline_s: float, max_bytes: int
    ) -> WireLog:
        """See Network.drive."""
        talk = _Talk(conversation, max_bytes, deadline_s, self._loop.create_future(), self._forget)
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            talk.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            number = talk.sock.connect_ex((address, port))
        except OSError as error:  # no descriptor left, or an address that is none
            number = error.errno or errno.EINVAL
        if number not in _IN_PROGRESS:
            talk.fail(number)
        else:
            self._watch(talk)
        try:
            return await talk.future
        finally:
            talk.finish()  # cancelled: nobody else will

    def _watch(self, talk: _Talk) -> None:
        assert talk.sock is not None  # noqa: S101  # for the type checker: drive has just set it
        talk.fd = talk.sock.fileno()
        self._talks[talk.fd] = talk
        self._epoll.register(talk.fd, select.EPOLLOUT)
        if len(self._deadlines) > 2 * len(self._talks) + _SPARE_DEADLINES:
            # Answered long before they were due: without this, seconds of finished talks and their bytes are kept.
            self._deadlines = [item for item in self._deadlines if not item[2].is_done]
            heapq.heapify(self._deadlines)
        self._push(talk)
        if self._timer is None or self._timer.when() > talk.due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(talk.due, self._on_deadline)

    def _push(self, talk: _Talk) -> None:
        self._count += 1
        heapq.heappush(self._deadlines, (talk.due, self._count, talk))

    def _on_ready(self) -> None:
        self._step()

    def _step(self) -> int:
        """Go on with those that are ready, 512 at most; return how many they were."""
        ready = self._epoll.poll(0, _MOST_EVENTS)
        for fd, events in ready:
            talk = self._talks.get(fd)
            if talk is None:
                continue
            if talk.is_connected and not talk.unsent:
                talk.on_readable()
            else:
                talk.on_writable(has_error=bool(events & _ERRORS))
            wanted = select.EPOLLOUT if talk.unsent or not talk.is_connected else select.EPOLLIN
            if wanted != talk.watched and not talk.is_done:
                talk.watched = wanted
                self._epoll.modify(fd, wanted)
        return len(ready)

    def _on_deadline(self) -> None:
        self._timer = None
        # First at what is ready: where the loop was held up, answers wait, and their connections are not silent. A talk
        # may take several steps, but one that never ends must not keep the others' deadlines from coming.
        for _ in range(len(self._talks) // _MOST_EVENTS + _STEPS_BEFORE_DEADLINES):
            if not self._step():
                break
        now = self._loop.time()
        while self._deadlines:
            due, _, talk = self._deadlines[0]
            if talk.is_done:
                heapq.heappop(self._deadlines)
            elif due <= now:
                heapq.heappop(self._deadlines)
                if talk.due > now:
                    self._push(talk)
                    continue
                talk.end(Ending.TIMED_OUT_READ if talk.is_connected else Ending.TIMED_OUT_CONNECT)
            else:
                self._timer = self._loop.call_at(due, self._on_deadline)
                return

    def _forget(self, fd: int) -> None:
        # Closing the descriptor takes it out of the epoll set; only our table needs cleaning.
        self._talks.pop(fd, None)

    async def close(self) -> None:
        """See Network.close."""
        if self._epoll.closed:
            return
        for talk in tuple(self._talks.values()):
            talk.end(Ending.CANCELLED)
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


class _Talk:
    """One connection under way."""

    __slots__ = (
        "conversation",
        "deadline_s",
        "due",
        "fd",
        "forget",
        "future",
        "is_connected",
        "is_done",
        "is_over",
        "max_bytes",
        "received",
        "sent",
        "sock",
        "started",
        "unsent",
        "watched",
    )

    def __init__(
        self,
        conversation: Conversation,
        max_bytes: int,
        deadline_s: float,
        future: asyncio.Future[WireLog],
        forget: Callable[[int], None],
    ) -> None:
        self.conversation = conversation
        self.max_bytes = max_bytes
        self.future = future
        self.forget = forget
        self.sock: socket.socket | None = None
        self.fd = -1
        self.started = time.monotonic()
        self.deadline_s = deadline_s
        self.due = self.started + deadline_s
        self.is_connected = False
        self.is_over = False
        self.is_done = False
        self.sent = b""
        self.received = b""
        self.unsent = b""
        self.watched = select.EPOLLOUT

    def on_writable(self, *, has_error: bool) -> None:
        """Go on after connect, or with bytes the kernel did not take at once."""
        assert self.sock is not None  # noqa: S101  # for the type checker
        if not self.is_connected:
            if has_error:
                self.fail(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                return
            self.is_connected = True
            now = time.monotonic()
            if self.due <= now:  # we were held up: the peer has its time yet to come
                self.due = now + self.deadline_s
            self._step(None)
        else:
            self._flush()

    def on_readable(self) -> None:
        """Take one piece from the kernel and hand it to the conversation."""
        assert self.sock is not None  # noqa: S101  # for the type checker
        try:
            piece = self.sock.recv(_PIECE_BYTES)
        except OSError as error:
            if error.errno not in _AGAIN:
                self.fail(error.errno or 0)
            return
        if not piece:
            self._step(b"", after=Ending.PEER_CLOSED)
            return
        self.received += piece
        if len(self.received) > self.max_bytes:
            self.received = self.received[: self.max_bytes]
            self.end(Ending.OVERSIZE)
            return
        self._step(piece)

    def _step(self, piece: bytes | None, *, after: Ending | None = None) -> None:
        try:
            out = next(self.conversation) if piece is None else self.conversation.send(piece)
        except StopIteration as stop:
            if after is not None or not stop.value:
                self.end(after or Ending.COMPLETE)
                return
            self.is_over = True
            self.unsent = stop.value
            self._flush()
            return
        except Exception as error:  # noqa: BLE001  # a bug in a conversation must cost one probe, not the scan
            self.end(Ending.LOCAL_FAILURE, f"{type(error).__name__}: {error}")
            return
        if after is not None:
            self.end(after)
        elif out:
            self.unsent = out
            self._flush()

    def _flush(self) -> None:
        assert self.sock is not None  # noqa: S101  # for the type checker
        try:
            count = self.sock.send(self.unsent)
        except OSError as error:
            if error.errno not in _AGAIN:
                self.fail(error.errno or 0)
            return
        self.sent += self.unsent[:count]
        self.unsent = self.unsent[count:]
        if self.is_over and not self.unsent:
            self.end(Ending.COMPLETE)

    def fail(self, number: int) -> None:
        """End with what an errno says."""
        self.end(ending_of_error(number, is_connected=self.is_connected), error_name(number))

    def end(self, ending: Ending, os_error: str | None = None) -> None:
        """End the connection and hand out the log."""
        if self.is_done:
            return
        log = WireLog(
            sent=self.sent,
            received=self.received,
            ending=ending,
            os_error=os_error,
            elapsed_s=time.monotonic() - self.started,
        )
        self.finish()
        if not self.future.done():
            self.future.set_result(log)

    def finish(self) -> None:
        """Give back socket and conversation; may be called twice."""
        if self.is_done:
            return
        self.is_done = True
        self.conversation.close()
        self.forget(self.fd)
        if self.sock is not None:
            self.sock.close()
