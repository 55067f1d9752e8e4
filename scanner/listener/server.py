"""Accepts what hosts open to us: records each hello, has it answered with one version, and hands out the exchange.

One task per address accepts, one timer for all keeps the deadlines; a connection that does nothing has neither. What a
peer sends is read into one buffer for all and kept only after it was looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from scanner import __version__
from scanner.listener.access import RecentExchanges
from scanner.listener.connection import Connection, Stage
from scanner.listener.ladder import Ladder
from scanner.listener.limits import Counters, ListenerLimits, OtherBudget, place_of
from scanner.model.exchange import Ending, Exchange
from scanner.outbound.tokens import NO_NAME_SUFFIX

if TYPE_CHECKING:
    import ssl

    from scanner.listener.answering import Answer
    from scanner.listener.api import ApiService, ApiSession
    from scanner.listener.identity import Identity, Leaf
    from scanner.model.versions import TlsVersion
    from scanner.tls.client_hello import ClientHello

OpenAnswer = Callable[["ClientHello", "TlsVersion", str], "Answer"]
"""Takes a hello, the version, and our address that the client connected to."""

_READ_BYTES = 16_384  # as scanner.net.network.Conversation has it
_ACCEPTS_AT_ONCE = 64  # then others have a turn
_TICK_S = 0.1


class Listener:
    """A TLS server that wants to learn, not to serve."""

    def __init__(
        self,
        binds: Sequence[tuple[str, int]],
        identity: Identity,
        *,
        on_exchange: Callable[[Exchange], None],
        secret: bytes | None = None,
        limits: ListenerLimits | None = None,
        name_suffix: str = NO_NAME_SUFFIX,
        open_answer: OpenAnswer | None = None,
    ) -> None:
        """Listen on nothing yet.

        binds: address (start raises ValueError for a name) and port, 0 for any. on_exchange: is given each exchange
        when its connection ends; it must be quick. secret: what trigger tokens and the API are proven with; None: no
        API, and tokens count as they are. name_suffix: what names that lead here end in. open_answer: the engines;
        None: those of answering.
        """
        self.limits = limits or ListenerLimits()
        self.secret = secret
        self.name_suffix = name_suffix
        self.identity = identity
        self.counters = Counters()
        self.ladder = Ladder(self.limits.clients)
        self.recent = RecentExchanges(self.limits.recent_count, self.limits.recent_bytes)
        self.buffer = memoryview(bytearray(_READ_BYTES))
        self._binds = tuple(binds)
        self._on_exchange = on_exchange
        self.open_answer: OpenAnswer = open_answer or _engines(identity)
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._opening: set[asyncio.Task[object]] = set()
        self._serving: dict[Connection, asyncio.Task[None]] = {}
        self._has_room = asyncio.Event()
        # In the order accepted, so that those out of time are always the first.
        self._open: dict[Connection, None] = {}
        self._without_hello: dict[Connection, None] = {}
        self._api: dict[Connection, None] = {}
        self._lingering: dict[Connection, float] = {}
        self._by_place: dict[str, int] = {}
        self._queue: deque[Connection] = deque()
        self._parked: dict[str, deque[Connection]] = {}
        self._answering_by_place: dict[str, int] = {}
        self._others = OtherBudget(self.limits)
        self._is_pumping = False
        self._is_stopping = False
        self._tick: asyncio.TimerHandle | None = None
        self._last_id = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all_closed = asyncio.Event()
        self._service: ApiService | None = None
        self._api_context: tuple[Leaf, ssl.SSLContext] | None = None

    # Life

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each socket that listens; empty before the start."""
        return tuple((name[0], name[1]) for name in (sock.getsockname() for sock in self._sockets))

    async def start(self) -> None:
        """Listen; raises OSError where an address can't be had, and then listens on none."""
        self._loop = asyncio.get_running_loop()
        if self.secret is not None:
            from scanner.listener.api import ApiService  # noqa: PLC0415  # heavy; few listeners need it

            self._service = ApiService(self.secret, self.recent, self._about)
        try:
            for host, port in self._binds:
                self._sockets.append(_open_socket(host, port, self.limits.backlog))
        except OSError:
            self._close_sockets()
            raise
        self._has_room.set()
        self._accepting = [self._loop.create_task(self._accept_all(sock)) for sock in self._sockets]

    async def stop(self) -> None:
        """Stop listening and close all connections; what they were is handed out before this returns."""
        self._is_stopping = True
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, *self._opening, return_exceptions=True)
        self._close_sockets()
        self._queue.clear()
        self._parked.clear()
        for connection in list(self._open):
            connection.abort(Ending.CANCELLED)
        while self._open:
            self._all_closed.clear()
            await self._all_closed.wait()
        if self._tick is not None:
            self._tick.cancel()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    # Accepting

    async def _accept_all(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        port = listening.getsockname()[1]
        while True:
            await self._has_room.wait()
            try:
                self._admit(*await loop.sock_accept(listening), port)
                for _ in range(_ACCEPTS_AT_ONCE):
                    if not self._has_room.is_set():
                        break
                    self._admit(*listening.accept(), port)
            except (BlockingIOError, ConnectionError):
                pass  # none is left; or one was reset before we came to it
            except OSError:
                # Out of descriptors or memory. What waits in the backlog is served when connections have ended.
                self.counters.paused += 1
                await asyncio.sleep(_TICK_S)
            await asyncio.sleep(0)

    def _admit(self, sock: socket.socket, address: tuple[str, int], port: int) -> None:
        self.counters.accepted += 1
        peer = address[0].partition("%")[0]
        place = place_of(peer)
        count = self._by_place.get(place, 0)
        if count >= self.limits.per_address:
            self.counters.over_limit += 1
            sock.close()
            return
        loop = asyncio.get_running_loop()
        connection = Connection(self, peer, place, port, loop.time())
        self._by_place[place] = count + 1
        self._open[connection] = None
        self._without_hello[connection] = None
        self.counters.open += 1
        if self.counters.open >= self.limits.connections:
            self.counters.paused += 1
            self._has_room.clear()
        if self._tick is None:
            self._tick = loop.call_later(_TICK_S, self._end_those_out_of_time)
        sock.setblocking(False)  # noqa: FBT003  # the standard library's signature
        task = loop.create_task(self._attach(connection, sock))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _attach(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            sock.close()
            connection.connection_lost(error)

    def now_s(self) -> float:
        """Return the loop's time."""
        return 0.0 if self._loop is None else self._loop.time()

    def _end_those_out_of_time(self) -> None:
        now_s = self.now_s()
        for connection in _begun_before(self._without_hello, now_s - self.limits.hello_s):
            self._without_hello.pop(connection, None)
            connection.abort(Ending.TIMED_OUT_READ)
        for connection in _begun_before(self._open, now_s - self.limits.whole_s):
            if connection.stage is Stage.WAITING:
                connection.abort(Ending.LOCAL_FAILURE)  # it was we who did not come to it
            elif connection.stage is not Stage.API:
                connection.abort(Ending.TIMED_OUT_READ)
        for connection in _begun_before(self._api, now_s - self.limits.api_s):
            connection.abort(Ending.TIMED_OUT_READ)
        for connection, due_s in list(self._lingering.items()):
            if due_s > now_s:
                break
            del self._lingering[connection]
            connection.abort(Ending.COMPLETE)
        loop = self._loop if self._open else None
        self._tick = loop.call_later(_TICK_S, self._end_those_out_of_time) if loop else None

    # What connections tell

    def note_hello(self, connection: Connection, *, is_api: bool) -> None:
        """Count a whole hello."""
        self._without_hello.pop(connection, None)
        if is_api:
            self._api[connection] = None
            self.counters.api += 1
        else:
            self.counters.hellos += 1

    def note_lingering(self, connection: Connection) -> None:
        """Give a connection its last moment."""
        self._lingering[connection] = self.now_s() + self.limits.linger_s

    def note_finished(self, connection: Connection, was: Stage) -> None:
        """Take a connection, whose stage was this, out of the ways to an answer."""
        self._without_hello.pop(connection, None)
        if was is Stage.ANSWERING:
            self.counters.answering -= 1
            left = self._answering_by_place[connection.place] - 1
            if left:
                self._answering_by_place[connection.place] = left
            else:
                del self._answering_by_place[connection.place]
            parked = self._parked.get(connection.place)
            if parked:
                # It had its turn before: it is the next.
                self._queue.appendleft(parked.popleft())
                if not parked:
                    del self._parked[connection.place]
            self._pump_soon()
        elif was is Stage.WAITING:
            self.counters.waiting -= 1

    def hand_out(self, connection: Connection, exchange: Exchange | None) -> None:
        """Hand out what a connection has become; None where it said nothing."""
        if exchange is None:
            self.counters.silent += 1
            return
        if connection.hello is None:
            self.counters.other += 1
            if not self._others.may_record(connection.place, now_s=self.now_s()):
                return
        nonce = connection.nonce
        if nonce is not None:
            self.recent.add(nonce, exchange)
        try:
            self._on_exchange(exchange)
        except Exception as error:  # noqa: BLE001  # a fault of one receiver must not end the connections of all
            self.counters.failed += 1
            asyncio.get_running_loop().call_exception_handler(
                {"message": "an exchange could not be handed out", "exception": error}
            )

    def forget(self, connection: Connection, was: Stage) -> None:
        """Let go of a connection that is closed and whose stage was this."""
        self._open.pop(connection, None)
        self._api.pop(connection, None)
        self._lingering.pop(connection, None)
        self.note_finished(connection, was)
        serving = self._serving.pop(connection, None)
        if serving is not None:
            serving.cancel()
        left = self._by_place[connection.place] - 1
        if left:
            self._by_place[connection.place] = left
        else:
            del self._by_place[connection.place]
        self.counters.open -= 1
        if self.counters.open < self.limits.connections:
            self._has_room.set()
        if not self._open:
            self._all_closed.set()

    # Answering

    def queue(self, connection: Connection) -> None:
        """Have a hello answered as soon as there is room."""
        self.counters.waiting += 1
        self._queue.append(connection)
        self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._is_pumping and self._queue and not self._is_stopping and self._loop is not None:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        # One at a time: between two handshakes the loop reads hellos and accepts.
        self._is_pumping = False
        while self._queue and self.counters.answering < self.limits.answers:
            connection = self._queue.popleft()
            if connection.stage is not Stage.WAITING:
                continue
            count = self._answering_by_place.get(connection.place, 0)
            if count >= self.limits.answers_per_address:
                self._parked.setdefault(connection.place, deque()).append(connection)
                continue
            self._answering_by_place[connection.place] = count + 1
            self.counters.waiting -= 1
            self.counters.answering += 1
            self.counters.answered += 1
            connection.begin_answer()
            break
        if self.counters.answering < self.limits.answers:
            self._pump_soon()

    # The API

    @property
    def has_api(self) -> bool:
        """Whether a secret is set, and so there is an API."""
        return self._service is not None

    def maybe_session(self) -> ApiSession | None:
        """Return a new session of the API; None where there are too many."""
        from scanner.listener.api import ApiSession, open_api_context  # noqa: PLC0415  # heavy; few listeners need it

        if len(self._api) >= self.limits.api_sessions:
            self.counters.over_limit += 1
            return None
        leaves = self.identity.leaves_for(None)
        leaf = next((leaf for leaf in leaves if not leaf.is_rsa), leaves[0])
        if self._api_context is None or self._api_context[0] is not leaf:
            self._api_context = (leaf, open_api_context(leaf))
        return ApiSession(self._api_context[1], hashlib.sha256(leaf.chain_der[0]).hexdigest())

    def serve_api(self, connection: Connection, session: ApiSession) -> None:
        """Answer a session's request; the connection may end meanwhile."""
        self._serving[connection] = asyncio.get_running_loop().create_task(self._serve(connection, session))

    async def _serve(self, connection: Connection, session: ApiSession) -> None:
        if self._service is None or session.request is None:
            return
        response = await self._service.answer(session.request, session.leaf_sha256)
        self._serving.pop(connection, None)
        connection.send_api(session.respond(response), is_last=True)

    def _about(self) -> dict[str, str]:
        return {"suffix": self.name_suffix, "ca_sha256": self.identity.fingerprint, "version": __version__}

    def next_id(self) -> int:
        """Return the next exchange's number, from 1."""
        self._last_id += 1
        return self._last_id


def _engines(identity: Identity) -> OpenAnswer:
    def answer(hello: ClientHello, version: TlsVersion, address: str) -> Answer:
        from scanner.listener.answering import open_answer  # noqa: PLC0415  # loads TLS engines

        return open_answer(hello, version, identity, address=address)

    return answer


def _begun_before(connections: dict[Connection, None], begun_s: float) -> list[Connection]:
    """Return those that were accepted before that time; they are the first."""
    return list(itertools.takewhile(lambda connection: connection.started_s <= begun_s, connections))


def _open_socket(host: str, port: int, backlog: int) -> socket.socket:
    address = ip_address(host)
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two programs have the same port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            # 0.0.0.0 and :: are two binds, and no peer is called ::ffff:192.0.2.7.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(address), port))
        sock.listen(backlog)
        sock.setblocking(False)  # noqa: FBT003  # the standard library's signature
    except OSError:
        sock.close()
        raise
    return sock
