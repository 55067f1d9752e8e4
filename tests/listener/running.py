"""A listener on loopback for one test, and clients as rough as the network's."""

import asyncio
import contextlib
import functools
import os
import signal
import socket
import ssl
import struct

from scanner.listener.identity import make_identity
from scanner.listener.limits import ListenerLimits
from scanner.listener.server import Listener
from scanner.model.exchange import EngineReport

SECRET = b"a secret for tests"


@functools.cache
def identity():
    """One for all tests: its keys take a second."""
    return make_identity(addresses=("127.0.0.1", "::1"))


class StubAnswer:
    """Answers with text where engines would speak TLS; what it does is in the server name or given."""

    def __init__(self, log=None, reply=b"HELLO", *, needs=0):
        self.log = [] if log is None else log
        self.reply = reply
        self.needs = needs
        self.http_path = None
        self.is_completed = False
        self.error = "peer closed"

    def converse(self, first):
        self.log.append(first)
        if not self.needs:
            self.is_completed, self.error = True, None
            return self.reply
        received = yield self.reply
        got = b""
        while received and len(got) < self.needs:
            got += received
            self.log.append(received)
            if len(got) >= self.needs:
                break
            received = yield b""
        self.is_completed = bool(received)
        self.error = None if self.is_completed else "peer closed"
        return b"BYE" if self.is_completed else b""

    def report(self):
        return EngineReport(engine="stub", completed=self.is_completed, error=self.error)


class Running:
    """What a test sees of a listener."""

    def __init__(self, listener, exchanges):
        self.listener = listener
        self.exchanges = exchanges

    @property
    def port(self):
        return self.listener.addresses[0][1]

    @property
    def counters(self):
        return self.listener.counters

    async def until(self, is_true, seconds=10.0):
        """Wait for a condition; fail where it does not come."""
        async with asyncio.timeout(seconds):
            while not is_true():  # noqa: ASYNC110  # the listener has counters for people, not events for tests
                await asyncio.sleep(0.01)

    async def closed(self, seconds=10.0):
        await self.until(lambda: self.counters.accepted and not self.counters.open, seconds)

    async def connect(self, host="127.0.0.1", source=None):
        local = None if source is None else (source, 0)
        return await asyncio.open_connection(host, self.port, local_addr=local)

    async def say(self, data, *, host="127.0.0.1", source=None, reads=True):
        """Send bytes, read to the end, and return what came."""
        reader, writer = await self.connect(host, source)
        writer.write(data)
        got = b""
        with contextlib.suppress(ConnectionError):
            got = await reader.read(-1) if reads else b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return got

    def socket(self):
        """A blocking client for those who must control each packet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


def reset(sock):
    """Close with RST (SO_LINGER with no time)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.asynccontextmanager
async def listening(*, binds=(("127.0.0.1", 0),), secret=None, open_answer=None, suffix="l.example", **limits):
    exchanges = []
    listener = Listener(
        binds,
        identity(),
        on_exchange=exchanges.append,
        secret=secret,
        limits=ListenerLimits(**limits),
        name_suffix=suffix,
        open_answer=open_answer,
    )
    await listener.start()
    try:
        yield Running(listener, exchanges)
    finally:
        await listener.stop()
        counters = listener.counters
        assert (counters.open, counters.answering, counters.waiting) == (0, 0, 0)
        ended = counters.hellos + counters.other + counters.silent + counters.over_limit + counters.api
        assert counters.accepted == ended
        assert not listener._queue
        assert not listener._by_place
        assert not listener._answering_by_place


def stub(**how):
    """An opener of stub answers that all do the same, and the list of what they were sent."""
    log = []
    return (lambda *_: StubAnswer(log, **how)), log


def tls_client(port, name, *, least=ssl.TLSVersion.TLSv1_2, most=ssl.TLSVersion.TLSv1_3, path="/", host="127.0.0.1"):
    """Python's own client: handshake and one request; returns (version, response). Blocking."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity().ca_pem)
    context.minimum_version, context.maximum_version = least, most
    with (
        socket.create_connection((host, port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        got = b""
        while piece := tls.recv(65_536):
            got += piece
        return tls.version(), got


async def run_program(*command, data=b""):
    """Run a client program to its end, at most 20 s; return its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(20):
            return (await process.communicate(data))[0]
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
