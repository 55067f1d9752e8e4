"""Serves scripted peers, each on its own loopback address and port, from one background thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from scanner.model.evidence import State
from scanner.model.versions import TlsVersion
from tests.hostile import wire
from tests.hostile.honest import After, Reply

HOLD_S = 45.0
"""Longest that a peer keeps an idle connection: longer than any host deadline of the tests."""
LINGER_RESET = struct.pack("ii", 1, 0)


class Listening(Enum):
    """What becomes of connections before any behaviour sees them."""

    ACCEPTS = auto()
    SERIAL = auto()
    """Takes the next connection only when the one before is over, as openssl s_server does."""
    NEVER_ACCEPTS = auto()
    """The kernel completes the handshake of TCP; nobody reads."""
    QUEUE_FULL = auto()
    """The accept queue is full and stays so: SYNs are dropped."""


class Connection:
    """One accepted connection, with full say in how it ends."""

    def __init__(self, sock: socket.socket, state: PeerState) -> None:
        self.sock = sock
        self.state = state
        self.loop = asyncio.get_running_loop()
        self.index = state.connection_count
        """1 for the peer's first connection."""

    async def read_hello(self) -> wire.ClientHello | None:
        """Return the next hello; None where the client leaves or sends something else first."""
        data = b""
        while chunk := await self.loop.sock_recv(self.sock, 65536):
            data += chunk
            try:
                hello = wire.decode_hello(data)
            except wire.NotAHelloError:
                self.state.unparsed.append(data)
                return None
            if hello is not None:
                self.state.hellos.append(data)
                return hello
        if data:
            self.state.unparsed.append(data)
        return None

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def send_in_pieces(self, data: bytes, *, size: int, pause_s: float = 0.0) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin in range(0, len(data), size):
            await self.send(data[begin : begin + size])
            await asyncio.sleep(pause_s)

    async def give(self, reply: Reply) -> None:
        """Send a reply and do what it says comes after."""
        if reply.data:
            await self.send(reply.data)
        await self.end(reply.after)

    async def end(self, after: After) -> None:
        if after is After.RESET:
            self.reset()
            return
        if after is After.FIN:
            self.sock.shutdown(socket.SHUT_WR)
        # Also after FIN: closing with unread bytes would turn it into a reset.
        await self.hold()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self.sock.close()

    async def hold(self) -> None:
        """Read and forget until the client closes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                while await self.loop.sock_recv(self.sock, 65536):
                    pass


Behaviour = Callable[[Connection, "PeerState"], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A scripted server and the truth about it."""

    name: str
    description: str
    behaviour: Behaviour
    truth: Mapping[TlsVersion, frozenset[State]]
    """States that are not wrong, by version."""
    ideal: Mapping[TlsVersion, State]
    """The best state that a scanner can hope for; where truth allows nothing else, the ideal is due."""
    is_ordinary: bool = False
    """Whether it answers like the servers of every day: the limit of 12 connections holds."""
    server_name: str | None = None
    """What to send as SNI."""
    gap: str | None = None
    """Gap reason that must be among those reported."""
    is_disputed: frozenset[TlsVersion] = frozenset()
    """Versions that must be shown as disputed where they are called ENABLED."""
    listening: Listening = Listening.ACCEPTS


@dataclass(slots=True)
class PeerState:
    """What one running peer remembers; the tests read it afterwards."""

    peer: Peer
    listener: socket.socket
    address: str
    """Its own in 127.0.0.0/8: politeness bounds connections by address, and no peer shall wait for another."""
    port: int
    connection_count: int = 0
    open_count: int = 0
    max_open_count: int = 0
    """Most connections open at once, as seen from the peer: it may learn of a close late."""
    hellos: list[bytes] = field(default_factory=list)
    unparsed: list[bytes] = field(default_factory=list)
    """What came that was no hello."""
    errors: list[Exception] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    """The behaviour's own."""
    is_listening: bool = True
    held: list[socket.socket] = field(default_factory=list)

    def stop_listening(self) -> None:
        """Refuse connections from now on. The port stays bound, so that no other program gets it."""
        if not self.is_listening:
            return
        self.is_listening = False
        asyncio.get_running_loop().remove_reader(self.listener)
        self.listener.close()
        holder = socket.socket()
        self.held.append(holder)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((self.address, self.port))
        except OSError as error:
            # Not an OSError any more: those are taken for the client's.
            raise RuntimeError(f"port {self.port} was lost") from error


class _Service:
    """The background loop."""

    def __init__(self, peers: Sequence[Peer], *, network: str = "127.77", has_one_port: bool = False) -> None:
        self.states: dict[str, PeerState] = {}
        port = 0
        for number, peer in enumerate(peers):
            state = self.states[peer.name] = _open_peer(peer, f"{network}.{number // 250}.{number % 250 + 1}", port)
            port = state.port if has_one_port else 0
        self.ready = threading.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.sockets: set[socket.socket] = set()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stopping: asyncio.Event | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self.serve())
        except BaseException as error:  # noqa: BLE001 - a thread's exception would be lost; the test thread raises it
            self.failure = error
        finally:
            self.ready.set()

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        for state in self.states.values():
            if state.peer.listening in {Listening.ACCEPTS, Listening.SERIAL}:
                self.loop.add_reader(state.listener, self.accept, state)
        self.ready.set()
        try:
            await self.stopping.wait()
        finally:
            for state in self.states.values():
                if state.is_listening:
                    self.loop.remove_reader(state.listener)
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def accept(self, state: PeerState) -> None:
        # Called by the loop when the listener is readable. Not loop.sock_accept: cancelling that can lose a socket.
        assert self.loop is not None
        try:
            sock, _ = state.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock.settimeout(0)
        if state.peer.listening is Listening.SERIAL:
            self.loop.remove_reader(state.listener)
        self.sockets.add(sock)
        state.connection_count += 1
        state.open_count += 1
        state.max_open_count = max(state.max_open_count, state.open_count)
        task = self.loop.create_task(self.handle(Connection(sock, state), state))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def handle(self, connection: Connection, state: PeerState) -> None:
        try:
            await state.peer.behaviour(connection, state)
        except OSError:
            pass  # The client went away: its right.
        except Exception as error:  # noqa: BLE001 - a peer's bug must fail the test, not vanish in a task
            state.errors.append(error)
        finally:
            connection.sock.close()
            self.sockets.discard(connection.sock)
            state.open_count -= 1
            if state.peer.listening is Listening.SERIAL and state.is_listening and not self.is_stopping:
                asyncio.get_running_loop().add_reader(state.listener, self.accept, state)

    @property
    def is_stopping(self) -> bool:
        return self.stopping is None or self.stopping.is_set()

    def stop(self) -> None:
        if self.loop is not None and self.stopping is not None and self.failure is None:
            self.loop.call_soon_threadsafe(self.stopping.set)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        for state in self.states.values():
            for sock in (state.listener, *state.held):
                sock.close()


def _open_peer(peer: Peer, address: str, port: int) -> PeerState:
    listener = socket.socket()
    # Needed by stop_listening: without it the accepted connections keep the port from being bound again.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    # The kernel takes one connection more than the backlog says.
    listener.listen(0 if peer.listening is Listening.QUEUE_FULL else 128)
    listener.settimeout(0)
    state = PeerState(peer=peer, listener=listener, address=address, port=listener.getsockname()[1])
    if peer.listening is Listening.QUEUE_FULL:
        filler = socket.create_connection((address, state.port), timeout=5)
        state.held.append(filler)
    return state


@contextlib.contextmanager
def running(
    peers: Sequence[Peer], *, network: str = "127.77", has_one_port: bool = False
) -> Iterator[Mapping[str, PeerState]]:
    """Serve peers while the body runs; yields their states by name. Raises what a behaviour did wrong.

    network: how their addresses begin; has_one_port: whether all listen on the same port, so that they can be swept as
    one range.
    """
    if len({peer.name for peer in peers}) != len(peers):
        raise ValueError("two peers have one name")
    service = _Service(peers, network=network, has_one_port=has_one_port)
    thread = threading.Thread(target=service.run, name="hostile-peers")
    thread.start()
    try:
        service.ready.wait(30)
        if service.failure is not None:
            raise RuntimeError("the peers' loop did not start") from service.failure
        yield service.states
    finally:
        service.stop()
        thread.join(30)
        service.close()
    errors = [error for state in service.states.values() for error in state.errors]
    if service.failure is not None or thread.is_alive():
        raise RuntimeError("the peers' loop did not end well") from service.failure
    if errors:
        raise ExceptionGroup("peers failed", errors)


def wait_until(condition: Callable[[], bool], *, limit_s: float = 5.0) -> bool:
    """Return whether condition became true within limit_s; for what the peers' thread does in its own time."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
