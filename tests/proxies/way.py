"""A way through a proxy by hand, in plain Python: CONNECT or SOCKS5, and TLS inside it one step at a time.

Written for the lab alone, so that what the program under test sees of a proxy can be held against something else.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scanner.model.subjects import Upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proxies.model import Credentials, RunningProxy

_PATIENCE_S = 8.0
_HEAD_BYTES = 8_192


@dataclass(slots=True)
class Way:
    """What a proxy made of one request for a destination."""

    stream: socket.socket
    """The connection, ready for the inner TLS where ``is_open``; an ssl.SSLSocket where the proxy speaks TLS itself."""
    is_open: bool
    code: int | None = None
    """HTTP status or SOCKS reply; None where it said nothing of the kind."""


def client_context() -> ssl.SSLContext:
    """Return a client without any limits of its own: TLS 1.0 to 1.3, nothing verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@contextlib.contextmanager
def open_way(proxy: RunningProxy, destination: tuple[str, int]) -> Iterator[Way]:
    """Ask the proxy for the destination; a reverse proxy is its own."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(socket.create_connection((proxy.address, proxy.port), timeout=_PATIENCE_S))
        if proxy.upgrade is Upgrade.HTTPS_CONNECT:
            stream = stack.enter_context(client_context().wrap_socket(stream))
        if proxy.upgrade is Upgrade.NONE:
            yield Way(stream=stream, is_open=True)
            return
        ask = _ask_socks if proxy.upgrade is Upgrade.SOCKS5 else _ask_http
        try:
            way = ask(stream, destination, proxy.credentials)
        except OSError:
            way = Way(stream=stream, is_open=False)
        yield way


def _ask_http(stream: socket.socket, destination: tuple[str, int], credentials: Credentials | None) -> Way:
    target = f"{destination[0]}:{destination[1]}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if credentials:
        token = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
        # Not one byte more: what follows the head may be the inner TLS.
        received = stream.recv(1)
        if not received:
            break
        head += received
    words = head.split(None, 2)
    if len(words) < 2 or not head.startswith(b"HTTP/1."):
        return Way(stream=stream, is_open=False)
    code = int(words[1])
    return Way(stream=stream, is_open=code == 200, code=code)


def _ask_socks(stream: socket.socket, destination: tuple[str, int], credentials: Credentials | None) -> Way:
    method = 0 if credentials is None else 2
    stream.sendall(bytes((5, 1, method)))
    answer = _read(stream, 2)
    if answer[1] != method:
        return Way(stream=stream, is_open=False, code=answer[1])
    if credentials:
        user, password = credentials.user.encode(), credentials.password.encode()
        stream.sendall(b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password)
        if _read(stream, 2)[1] != 0:
            return Way(stream=stream, is_open=False)
    stream.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(destination[0]) + destination[1].to_bytes(2))
    reply = _read(stream, 10)
    return Way(stream=stream, is_open=reply[1] == 0, code=reply[1])


def _read(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        received = stream.recv(count - len(data))
        if not received:
            raise ConnectionError("the proxy closed")
        data += received
    return data


@dataclass(slots=True)
class InnerTls:
    """TLS inside a way, driven by hand: each step sends what is due and no more."""

    stream: socket.socket
    server_name: str
    sent: bytes = b""
    """All bytes sent."""
    _in: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    _out: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    _tls: ssl.SSLObject | None = None

    def send_hello(self) -> None:
        """Send the ClientHello."""
        self._tls = client_context().wrap_bio(self._in, self._out, server_hostname=self.server_name)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._flush()

    def finish_handshake(self, patience_s: float) -> bool:
        """Go on until the handshake is done; False where it is not within the time between two reads."""
        assert self._tls is not None
        self.stream.settimeout(patience_s)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                try:
                    received = self.stream.recv(16_384)
                except OSError:
                    return False
                if not received:
                    return False
                self._in.write(received)
            except ssl.SSLError:
                return False
            else:
                self._flush()
                return True

    def send_request(self, host: str) -> None:
        """Send one HTTP request inside."""
        assert self._tls is not None
        self._tls.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        self._flush()

    def _flush(self) -> None:
        data = self._out.read()
        self.sent += data
        with contextlib.suppress(OSError):
            self.stream.sendall(data)


def speak_old(stream: socket.socket, version_name: str) -> bool:
    """Tell whether OpenSSL 1.0.2 (nassl) completes SSLv2 or SSLv3 over a connection."""
    from nassl.legacy_ssl_client import LegacySslClient  # noqa: PLC0415 - only where truth is gathered
    from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum  # noqa: PLC0415 - the same

    client = LegacySslClient(
        underlying_socket=stream,
        ssl_version=OpenSslVersionEnum[version_name],
        ssl_verify=OpenSslVerifyEnum.NONE,
    )
    client.set_cipher_list("ALL:COMPLEMENTOFALL")
    try:
        client.do_handshake()
    except Exception:  # noqa: BLE001 - whatever it raises, there was no handshake
        return False
    return True
