"""One connection that a host opened to us, from its first byte to the exchange it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

from scanner.listener.ladder import ClientKey
from scanner.listener.messages import ALPN
from scanner.model.exchange import Ending, EngineReport, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion
from scanner.net.network import ending_of_error, error_name
from scanner.outbound.tokens import ProbeToken, TriggerToken, is_authentic, read_name, read_path
from scanner.tls.client_hello import ClientHello, HelloReader, NotClientHello

if TYPE_CHECKING:
    from scanner.listener.answering import Answer
    from scanner.listener.api import ApiSession
    from scanner.listener.server import Listener

_API_ALPN = ALPN.encode()
_LARGEST_RECORD_VERSION = 0x0303


class Stage(IntEnum):
    """Where a connection stands; it only goes up."""

    HELLO = 0
    """Its hello has not come, or not whole."""
    WAITING = 1
    """Its hello is recorded and waits for an answer."""
    ANSWERING = 2
    """It is being answered."""
    API = 3
    """It asked for the API."""
    LINGERING = 4
    """We have said all; the peer may still say something."""
    CLOSED = 5
    """Over."""


class Connection(asyncio.BufferedProtocol):
    """A connection's state. Everything but its place in the listener's books begins with its first byte."""

    __slots__ = (
        "_answer",
        "_ending",
        "_key",
        "_listener",
        "_nonce",
        "_os_error",
        "_reader",
        "_received",
        "_report",
        "_sent",
        "_session",
        "_talk",
        "_token",
        "_transport",
        "_version",
        "hello",
        "is_eof",
        "peer",
        "place",
        "port",
        "stage",
        "started_s",
    )

    def __init__(self, listener: Listener, peer: str, place: str, port: int, started_s: float) -> None:
        """place: what connections are counted by (see Listener); started_s: the loop's time."""
        self._listener = listener
        self.peer = peer
        self.place = place
        self.port = port
        self.started_s = started_s
        self.stage = Stage.HELLO
        self.is_eof = False
        self.hello: ClientHello | None = None
        self._transport: asyncio.Transport | None = None
        self._reader: HelloReader | None = None
        self._received: bytearray | None = None
        self._sent: bytearray | None = None
        self._answer: Answer | None = None
        self._talk: Generator[bytes, bytes, bytes | None] | None = None
        self._report: EngineReport | None = None
        self._session: ApiSession | None = None
        self._version: TlsVersion | None = None
        self._token: ProbeToken | TriggerToken | None = None
        self._key: ClientKey | None = None
        self._nonce: str | None = None
        self._ending: Ending | None = None
        self._os_error: str | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for mypy; asyncio's signature is wider
        self._transport = transport
        if self.stage is Stage.CLOSED:  # stopped meanwhile
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """See asyncio.BufferedProtocol: one buffer for all connections, looked at before the next is read."""
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        piece = bytes(self._listener.buffer[:nbytes])
        if self.stage is Stage.HELLO:
            self._read_hello(piece)
        elif self.stage is Stage.API:
            self._feed_api(piece)
        elif self.stage is not Stage.CLOSED:
            is_over = self._keep_received(piece)
            if self.stage is Stage.ANSWERING:
                self._step(piece)
            if is_over and self.stage in {Stage.WAITING, Stage.ANSWERING}:
                self.finish(Ending.OVERSIZE)

    def eof_received(self) -> bool:
        """See asyncio.BaseProtocol; True: we close ourselves, since there may be an answer to send."""
        self.is_eof = True
        if self.stage is Stage.HELLO:
            self.finish(Ending.PEER_CLOSED)
        elif self.stage is Stage.ANSWERING:
            self._step(b"")
            if self.stage is Stage.ANSWERING:
                self.finish(Ending.PEER_CLOSED)
        elif self.stage is Stage.API:
            self._feed_api(b"")
        elif self.stage is Stage.LINGERING:
            self._close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BaseProtocol. The one place from which an exchange is handed out."""
        if self._ending is None:
            number = exc.errno if isinstance(exc, OSError) else None
            if self.stage is Stage.ANSWERING:
                self._step(b"")
            if self._ending is None or number is not None:
                self._ending = Ending.PEER_CLOSED if number is None else ending_of_error(number, is_connected=True)
                self._os_error = None if number is None else error_name(number)
        was = self.stage
        self._end_answer()
        self.stage = Stage.CLOSED
        self._transport = None
        if was is not Stage.API:
            self._listener.hand_out(self, self._exchange() if self._has_bytes() else None)
        self._session = None
        if self._nonce is not None:
            self._listener.recent.note_closed(self._nonce)
        self._listener.forget(self, was)

    # What the listener calls

    @property
    def nonce(self) -> str | None:
        """The nonce of the question this connection belongs to, in its server name or its HTTP path."""
        if self._nonce is None and self._answer is not None:
            token = read_path(self._answer.http_path)
            return token.nonce if isinstance(token, ProbeToken) else None
        return self._nonce

    def begin_answer(self) -> None:
        """Answer the hello that waits."""
        hello, version = self.hello, self._version
        transport, received = self._transport, self._received
        if self.stage is not Stage.WAITING or not (hello and version and transport and received):
            return
        self.stage = Stage.ANSWERING
        try:
            address = transport.get_extra_info("sockname")[0].partition("%")[0]
            self._answer = self._listener.open_answer(hello, version, address)
            self._talk = self._answer.converse(bytes(received))
            out = next(self._talk)
        except StopIteration as stop:
            self._send(stop.value)
            self.finish(Ending.COMPLETE)
        except Exception as error:  # noqa: BLE001  # whatever an engine does, the hello is kept and the listener lives
            self._fail(error)
        else:
            self._send(out)
            if self.is_eof and self.stage is Stage.ANSWERING:
                self.eof_received()

    def finish(self, ending: Ending) -> None:
        """Say no more: close our side, and give the peer a moment to close its own."""
        if self.stage >= Stage.LINGERING:
            return
        was = self.stage
        self._ending = ending
        self._end_answer()
        self.stage = Stage.LINGERING
        self._listener.note_finished(self, was)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._sent and not self.is_eof and ending is Ending.COMPLETE and transport.can_write_eof():
            transport.write_eof()
            self._listener.note_lingering(self)
        else:
            self._close()

    def abort(self, ending: Ending) -> None:
        """Close at once, whatever is under way."""
        if self._ending is None:
            self._ending = ending
        if self._transport is None:
            self.stage = Stage.CLOSED
        else:
            self._transport.abort()

    def send_api(self, data: bytes, *, is_last: bool) -> None:
        """Send bytes of the API's session."""
        if self.stage is Stage.API and self._transport is not None:
            if data:
                self._transport.write(data)
            if is_last:
                self._ending = Ending.COMPLETE
                self._close()

    # Steps

    def _read_hello(self, piece: bytes) -> None:
        if self._reader is None:
            self._reader = HelloReader()
        found = self._reader.feed(piece)
        if isinstance(found, ClientHello):
            self._received = bytearray(self._reader.received)
            self._reader = None
            self._take_hello(found)
        elif isinstance(found, NotClientHello):
            self.finish(Ending.COMPLETE)

    def _take_hello(self, hello: ClientHello) -> None:
        listener = self._listener
        self.hello = hello
        if _API_ALPN in hello.alpn and listener.has_api:
            first, self._received = bytes(self._received or b""), None
            self.stage = Stage.API
            try:
                self._session = listener.maybe_session()
            except Exception:  # noqa: BLE001  # no descriptor for the certificate, say: the listener lives
                listener.counters.failed += 1
                listener.note_hello(self, is_api=True)
            else:
                if self._session is not None:
                    listener.note_hello(self, is_api=True)
            if self._session is None:
                self.abort(Ending.COMPLETE)
            else:
                self._feed_api(first)
            return
        self._token = read_name(hello.server_name)
        if isinstance(self._token, ProbeToken):
            self._nonce = self._token.nonce
            listener.recent.note_open(self._nonce)
        self._key = (self.peer, (hello.server_name or "").lower(), hello.is_ssl2_format)
        decision = listener.ladder.decide(
            self._key, hello, self._token if isinstance(self._token, ProbeToken) else None
        )
        self._version = decision.version
        listener.note_hello(self, is_api=False)
        if decision.version is None:
            self._send(_alert_record(hello, decision.alert or 0))
            self.finish(Ending.COMPLETE)
        else:
            self.stage = Stage.WAITING
            listener.queue(self)

    def _step(self, piece: bytes) -> None:
        if self._talk is None:
            return
        try:
            out = self._talk.send(piece)
        except StopIteration as stop:
            self._send(stop.value)
            self.finish(self._end_of_talk())
        except Exception as error:  # noqa: BLE001  # as in begin_answer
            self._fail(error)
        else:
            self._send(out)

    def _end_of_talk(self) -> Ending:
        is_completed = self._answer is not None and self._answer.report().completed
        return Ending.PEER_CLOSED if self.is_eof and not is_completed else Ending.COMPLETE

    def _fail(self, error: Exception) -> None:
        self._listener.counters.failed += 1
        self._talk = None
        self._answer = None
        text = f"internal error: {type(error).__name__}: {error}"
        self._report = EngineReport(engine="none", completed=False, error=text)
        self.finish(Ending.LOCAL_FAILURE)

    def _end_answer(self) -> None:
        """Let go of the engine; keep its report."""
        if self._talk is not None:
            self._talk.close()
            self._talk = None
        if self._answer is not None and self._report is None:
            self._report = self._answer.report()
            if self._report.completed and self._key is not None and self._version is not None:
                self._listener.counters.completed += 1
                self._listener.ladder.note_accepted(self._key, self._version)

    def _feed_api(self, piece: bytes) -> None:
        session = self._session
        if session is None:
            return
        if session.request is not None:
            if not piece:
                self.abort(Ending.PEER_CLOSED)  # nobody waits for the response any more
            return  # one request a connection; what follows it is not read
        self.send_api(session.feed(piece), is_last=False)
        if session.is_over:
            self.send_api(b"", is_last=True)
        elif session.request is not None:
            self._listener.serve_api(self, session)

    def _keep_received(self, piece: bytes) -> bool:
        """Keep what came; return True where it is more than may be."""
        received = self._received if self._received is not None else bytearray()
        room = self._listener.limits.bytes_each_way - len(received)
        received += piece[: max(0, room)]
        return len(piece) > room

    def _send(self, data: bytes | None) -> None:
        transport = self._transport
        if not data or transport is None or transport.is_closing():
            return
        if self._sent is None:
            self._sent = bytearray()
        if len(self._sent) + len(data) > self._listener.limits.bytes_each_way:
            self.finish(Ending.OVERSIZE)
            return
        self._sent += data
        transport.write(data)

    def _close(self) -> None:
        # What was written is still sent; the deadline for the whole ends it where the peer does not read.
        if self._transport is not None:
            self._transport.close()

    # The exchange

    def _has_bytes(self) -> bool:
        return bool(self._received) or (self._reader is not None and bool(self._reader.received))

    def _exchange(self) -> Exchange:
        listener = self._listener
        received = bytes((self._received or b"")[: listener.limits.bytes_each_way])
        if self.hello is None and self._reader is not None:
            received = self._reader.received[: listener.limits.other_bytes]
        name = self.hello.server_name if self.hello is not None else None
        path = self._answer.http_path if self._answer is not None else None
        elapsed_s = max(0.0, listener.now_s() - self.started_s)
        return Exchange(
            request=ProbeRequest(
                id=listener.next_id(),
                probe=Probe.LISTENER,
                endpoint=Endpoint(host=self._credited(path), address=self.peer, port=self.port, server_name=name),
                version=self._version if self._sent or self._report is not None else None,
                path=path,
                deadline_s=listener.limits.whole_s,
                max_bytes=listener.limits.bytes_each_way,
            ),
            started_at=datetime.now(UTC) - timedelta(seconds=elapsed_s),
            sent=bytes(self._sent or b""),
            received=received,
            ending=self._ending or Ending.LOCAL_FAILURE,
            elapsed_s=elapsed_s,
            os_error=self._os_error,
            engine=self._report,
        )

    def _credited(self, path: str | None) -> str:
        for token in (self._token, read_path(path)):
            if isinstance(token, TriggerToken) and is_authentic(token, self._listener.secret):
                return token.host
        return self.peer


def _alert_record(hello: ClientHello, alert: int) -> bytes:
    """Return a fatal alert in a record of a version that the client takes (RFC 5246 section 7.2)."""
    version = min(max(hello.legacy_version, TlsVersion.SSL3), _LARGEST_RECORD_VERSION)
    return bytes((21, version >> 8, version & 0xFF, 0, 2, 2, alert))
