"""Forward proxies for ``entra-tls demo``: small and real, one that passes TLS through and one that ends it."""

from __future__ import annotations

import selectors
import socket
import socketserver
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scanner.demo import ADDRESS, write_certificate
from scanner.model.subjects import Role, Target, Upgrade

_PATIENCE_S = 10.0
_PIECE_BYTES = 16_384
_MOST_HEAD_BYTES = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoProxy:
    """One proxy of the demo."""

    name: str
    """DNS name; DemoResolver leads it to loopback."""
    about: str
    """How it is set up, for people."""
    high: ssl.TLSVersion | None
    """Highest version that it speaks with servers; None for one that passes TLS through."""


PROXIES: tuple[DemoProxy, ...] = (
    DemoProxy(name="tunnel.demo.example", about="a forward proxy that passes TLS through", high=None),
    DemoProxy(
        name="inspect.demo.example",
        about="a forward proxy that inspects TLS, and speaks no more than TLS 1.1 with servers",
        high=ssl.TLSVersion.TLSv1_1,
    ),
)


@contextmanager
def running_demo_proxies() -> Iterator[tuple[Target, ...]]:
    """Start the proxies, each in a thread of its own; yield the targets. Raises OSError where a port can't be had."""
    with tempfile.TemporaryDirectory(prefix="entra-tls-demo-") as folder, ExitStack() as stack:
        yield tuple(
            Target(
                text=f"{proxy.name} (demo: {proxy.about})",
                host=proxy.name,
                role=Role.PROXY,
                ports=(stack.enter_context(_serving(proxy, Path(folder))),),
                tags=("demo",),
                locator="demo",
                proxy=Upgrade.HTTP_CONNECT,
            )
            for proxy in PROXIES
        )


def free_port() -> int:
    """Return a port of the demo's address that was free a moment ago, for the listener."""
    with socket.socket() as found:
        found.bind((ADDRESS, 0))
        return int(found.getsockname()[1])


@contextmanager
def _serving(proxy: DemoProxy, folder: Path) -> Iterator[int]:
    certificate = write_certificate(proxy.name, folder) if proxy.high is not None else None
    with _Server(proxy, certificate) as server:
        thread = threading.Thread(
            target=server.serve_forever, name=f"demo-{proxy.name}", kwargs={"poll_interval": 0.05}
        )
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False  # joined by server_close, so that nothing of the demo outlives it
    request_queue_size = 64

    def __init__(self, proxy: DemoProxy, certificate: Path | None) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self.proxy = proxy
        self.certificate = certificate

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: many visitors hang up after the ServerHello."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Read CONNECT, connect, and relay: bytes as they are, or what is under TLS."""
        self.request.settimeout(_PATIENCE_S)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD_BYTES:
            piece = self.request.recv(4096)
            if not piece:
                return
            head += piece
        words = head.split(b" ", 2)
        host, _, port = words[1].decode("latin-1").rpartition(":") if len(words) > 1 else ("", "", "")
        if words[0] != b"CONNECT" or host != ADDRESS or not port.isdigit():
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((ADDRESS, int(port)), timeout=_PATIENCE_S) as upstream:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self.server.certificate is None:
                _relay(self.request, upstream)
                return
            names: list[str | None] = []
            with self._front(names).wrap_socket(self.request, server_side=True) as client:
                name = next(iter(names), None)
                with self._back().wrap_socket(upstream, server_hostname=name) as server:
                    _relay(client, server)

    def _front(self, names: list[str | None]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert self.server.certificate is not None  # noqa: S101  # for the type checker
        context.load_cert_chain(self.server.certificate)
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        return _with_old_versions(context, ssl.TLSVersion.TLSv1_3)

    def _back(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return _with_old_versions(context, self.server.proxy.high or ssl.TLSVersion.TLSv1_3)


def _with_old_versions(context: ssl.SSLContext, high: ssl.TLSVersion) -> ssl.SSLContext:
    context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")  # OpenSSL 3 has TLS 1.0 and 1.1 only so
    with warnings.catch_warnings():
        # Python warns of old versions: here they are on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = high
    return context


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side closes or nothing comes for a while."""
    with selectors.DefaultSelector() as selector, suppress(OSError):
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while events := selector.select(_PATIENCE_S):
            for key, _ in events:
                source: socket.socket = key.fileobj  # type: ignore[assignment]  # what was registered
                while True:
                    piece = source.recv(_PIECE_BYTES)
                    if not piece:
                        return
                    key.data.sendall(piece)
                    # What TLS has read ahead does not wake the selector.
                    if not (isinstance(source, ssl.SSLSocket) and source.pending()):
                        break
