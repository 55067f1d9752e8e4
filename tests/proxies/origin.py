"""Origins that speak exactly one version, and recorders that answer nothing: what a proxy does is seen from here.

The program under test has no part in them: TLS 1.0 to 1.3 are OpenSSL 3.0 through Python's ssl module, SSLv2 and SSLv3
an old Node.js (tests/lab), the hello is read by tlslite-ng.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.lab import requirements
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, spawn
from tests.proxies.model import await_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scanner.model.versions import TlsVersion
    from tests.proxies.certs import Leaf, ProxyCertificates

_PATIENCE_S = 10.0
_HELLO_BYTES = 16_384
_LAB = Path(__file__).resolve().parents[1] / "lab"
PYTHON_VERSIONS = {
    TLS1_0: ssl.TLSVersion.TLSv1,
    TLS1_1: ssl.TLSVersion.TLSv1_1,
    TLS1_2: ssl.TLSVersion.TLSv1_2,
    TLS1_3: ssl.TLSVersion.TLSv1_3,
}
_LABELS = {"TLSv1": TLS1_0, "TLSv1.1": TLS1_1, "TLSv1.2": TLS1_2, "TLSv1.3": TLS1_3}
PAGE = "the origin's page"
ANY_SUITE = "ALL"
"""Below TLS 1.3 an origin chooses ECDHE then, and signs its key."""
STATIC_RSA = "kRSA"
"""No signature by the server: below TLS 1.2 that is SHA-1's and MD5's, which OpenSSL's security level 1 forbids, while
it still lets these versions through without one."""


@dataclass(slots=True)
class Origin:
    """A listener on loopback and what it saw, one entry a connection."""

    address: str
    port: int
    hellos: list[bytes] = field(default_factory=list)
    """What came first on each connection that sent anything."""
    completed: list[TlsVersion] = field(default_factory=list)
    """The version of each handshake that ended well."""
    errors: list[str] = field(default_factory=list)
    """Why the others did not, in OpenSSL's words."""


class _Listening:
    """Accepts until closed; each connection has a thread."""

    def __init__(self, context: ssl.SSLContext | None, *, holds: bool) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self._context = context
        self._holds = holds
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self.origin = Origin(address="127.0.0.1", port=self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(_PATIENCE_S + 2)

    def _start(self, work, *args) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                hello = self._read_hello(connection)
                if hello:
                    self.origin.hellos.append(hello)
                    if self._context is None:
                        self._wait(connection)
                    else:
                        self._answer(connection)
            except OSError as error:
                # ssl.SSLError is one too.
                self.origin.errors.append(str(error))

    def _read_hello(self, connection: socket.socket) -> bytes:
        """Return the first record without taking it from the connection."""
        connection.settimeout(0.2)
        needed = 5
        while not self._ends.is_set():
            try:
                data = connection.recv(_HELLO_BYTES, socket.MSG_PEEK)
            except TimeoutError:
                continue
            if not data:
                return b""
            if len(data) >= 5 and data[0] == 0x16:  # RFC 8446 section 5.1: handshake record
                needed = 5 + int.from_bytes(data[3:5])
            if len(data) >= needed:
                return data[:needed] if data[0] == 0x16 else data
            # The rest of a record is on its way; peeking again would return the same at once.
            self._ends.wait(0.01)
        return b""

    def _wait(self, connection: socket.socket) -> None:
        """Keep a recorder's connection until the end of the test, or close it at once."""
        connection.settimeout(0.2)
        while self._holds and not self._ends.is_set():
            try:
                if not connection.recv(_HELLO_BYTES):
                    return
            except TimeoutError:
                continue

    def _answer(self, connection: socket.socket) -> None:
        assert self._context is not None
        connection.settimeout(_PATIENCE_S)
        with self._context.wrap_socket(connection, server_side=True) as tls:
            self.origin.completed.append(_LABELS[str(tls.version())])
            head = b""
            while b"\r\n\r\n" not in head:
                received = tls.recv(8_192)
                if not received:
                    return
                head += received
            body = f"{PAGE} in {tls.version()}\n".encode()
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            with contextlib.suppress(OSError):
                tls.unwrap()


def _make_context(leaf: Leaf, versions: tuple[TlsVersion, ...], ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.load_cert_chain(leaf.certificate, leaf.key)
    context.minimum_version = PYTHON_VERSIONS[min(versions)]
    context.maximum_version = PYTHON_VERSIONS[max(versions)]
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


@contextlib.contextmanager
def open_origin(
    certificates: ProxyCertificates, *versions: TlsVersion, is_trusted: bool = True, ciphers: str = ANY_SUITE
) -> Iterator[Origin]:
    """Run an origin that completes handshakes in these versions only (TLS 1.0 to 1.3, no gap between them).

    Where it is not ``is_trusted``, its certificate is one that a proxy which verifies has no reason to accept.
    ``ciphers`` are its suites below TLS 1.3.
    """
    leaf = certificates.origin if is_trusted else certificates.proxy
    with _Listening(_make_context(leaf, versions, ciphers), holds=False) as listening:
        yield listening.origin


@contextlib.contextmanager
def open_recorder(*, holds: bool) -> Iterator[Origin]:
    """Run a listener that answers nothing: it ``holds`` each connection until the end, or closes it after the hello."""
    with _Listening(None, holds=holds) as listening:
        yield listening.origin


@contextlib.contextmanager
def open_old_origin(certificates: ProxyCertificates, version: TlsVersion) -> Iterator[Origin]:
    """Run an old Node.js that speaks SSLv2 or SSLv3 only; its page is ``lab`` and it counts nothing itself."""
    method = {SSL2: "SSLv2_method", SSL3: "SSLv3_method"}[version]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as workdir:
        command = [requirements.NODE_0_8.file, _LAB / "old_node_server.js", "127.0.0.1", str(port), method, ""]
        command += ["ALL:COMPLEMENTOFALL", certificates.origin.key, certificates.origin.certificate]
        node = spawn(command, workdir=Path(workdir))
        try:
            await_port("127.0.0.1", port, node)
            yield Origin(address="127.0.0.1", port=port)
        finally:
            node.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHello:
    """What tlslite-ng reads from a ClientHello."""

    versions: tuple[tuple[int, int], ...]
    """supported_versions without GREASE, or legacy_version alone."""
    server_name: str | None


def read_hello(record: bytes) -> ReadHello:
    """Read one recorded handshake record."""
    from tlslite.constants import ExtensionType  # noqa: PLC0415 - only where truth is gathered
    from tlslite.messages import ClientHello  # noqa: PLC0415 - the same
    from tlslite.utils.codec import Parser  # noqa: PLC0415 - the same

    hello = ClientHello().parse(Parser(bytearray(record[6:])))
    listed = hello.getExtension(ExtensionType.supported_versions)
    versions = [hello.client_version] if listed is None else listed.versions
    # RFC 8701: GREASE values have two equal bytes that end in 0xA.
    plain = sorted({tuple(each) for each in versions if each[0] == 3})
    name = hello.server_name
    return ReadHello(versions=tuple(plain), server_name=bytes(name).decode() if name else None)
