"""A handshake by sslyze's own engine: nassl with its modern and its legacy OpenSSL, as a sans-IO conversation.

sslyze's public runner blocks a thread per connection and reads OpenSSL's error strings; here the same engine is stepped
through its memory BIO pair, so one event loop drives hundreds and our deadlines hold. The verdict never rests on an
error string: the ServerHello in the recorded bytes decides, a completed handshake confirms.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version as package_version
from ssl import PEM_cert_to_DER_cert

from nassl._nassl import OpenSSLError, WantReadError, WantX509LookupError
from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import BaseSslClient, OpenSslVerifyEnum, OpenSslVersionEnum, SslClient

from scanner.model.exchange import EngineReport
from scanner.model.versions import TlsVersion

_OPENSSL_VERSIONS = {
    TlsVersion.SSL2: OpenSslVersionEnum.SSLV2,
    TlsVersion.SSL3: OpenSslVersionEnum.SSLV3,
    TlsVersion.TLS1_0: OpenSslVersionEnum.TLSV1,
    TlsVersion.TLS1_1: OpenSslVersionEnum.TLSV1_1,
    TlsVersion.TLS1_2: OpenSslVersionEnum.TLSV1_2,
    TlsVersion.TLS1_3: OpenSslVersionEnum.TLSV1_3,
}
_PIECE_BYTES = 16_384
_SSL2_CLIENT_MASTER_KEY = 2
_CLOSE_NOTIFY = "Connection was shut down by peer"
"""What nassl calls it."""


@dataclass(slots=True)
class ClearText:
    """What an inner conversation said and heard under TLS."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class TlsEngine:
    """One TLS client of nassl and what it learned. Not reusable."""

    def __init__(self, version: TlsVersion | None, server_name: str | None, *, prefers_rsa: bool = False) -> None:
        """Prepare a client for exactly one version, or for TLS 1.0 to 1.3 (None); server_name None sends no SNI.

        prefers_rsa: up to TLS 1.1, suites with static RSA first. The legacy OpenSSL is three times as fast with them;
        but H2O 2.2, which follows the client's order, can't do them and closes without a word.
        """
        self.version = version
        is_modern = version is None or version >= TlsVersion.TLS1_2
        self.name = f"nassl {_nassl_version()} ({'modern' if is_modern else 'legacy'} OpenSSL)"
        self.completed = False
        self.error: str | None = None
        self.client_certificate_requested = False
        client_class = SslClient if is_modern else LegacySslClient
        self._client: BaseSslClient = client_class(
            ssl_version=OpenSslVersionEnum.SSLV23 if version is None else _OPENSSL_VERSIONS[version],
            ssl_verify=OpenSslVerifyEnum.NONE,
            ignore_client_authentication_requests=False,  # to learn of the request; then it is ignored
        )
        if version in {TlsVersion.SSL3, TlsVersion.TLS1_0, TlsVersion.TLS1_1}:
            # Everything but what needs a secret we do not have.
            first = "kRSA+AES:" if prefers_rsa else ""
            self._client.set_cipher_list(f"{first}ALL:COMPLEMENTOFALL:!PSK:!SRP")
        elif version in {None, TlsVersion.TLS1_2}:
            self._client.set_cipher_list("ALL:COMPLEMENTOFALL:!PSK:!SRP:@SECLEVEL=0")
        if server_name is not None and version is not TlsVersion.SSL2:
            self._client.set_tlsext_host_name(server_name)

    def handshake(self) -> Generator[bytes, bytes, bytes]:
        """Step the handshake; returns the last flight to send. ``completed`` or ``error`` then says how it went."""
        ssl = self._client._ssl  # noqa: SLF001  # nassl offers the memory BIO pair only here
        network = self._client._network_bio  # noqa: SLF001
        while True:
            try:
                ssl.do_handshake()
                self.completed = True
            except WantReadError:
                pass
            except WantX509LookupError:
                self.client_certificate_requested = True
                self._client._ssl_ctx.set_client_cert_cb_NULL()  # noqa: SLF001  # go on without a certificate
                continue
            except OpenSSLError as error:
                self.error = _text(error)
            out = _pending(network)
            if self.completed or self.error is not None:
                return out
            if self.version is TlsVersion.SSL2:
                out = yield from self._send_master_key_apart(out)
            received = yield out
            if not received:
                return b""
            network.write(received)

    def _send_master_key_apart(self, out: bytes) -> Generator[bytes, bytes, bytes]:
        """Send CLIENT-MASTER-KEY by itself and return what is left: IIS 7 hangs when more comes in the same packet."""
        size = 2 + (int.from_bytes(out[:2], "big") & 0x7FFF)
        if len(out) <= size or out[2] != _SSL2_CLIENT_MASTER_KEY:
            return out
        received = yield out[:size]
        if received:
            self._client._network_bio.write(received)  # noqa: SLF001
        return out[size:]

    def carry(
        self, inner: Generator[bytes, bytes, bytes | None], clear: ClearText
    ) -> Generator[bytes, bytes, bytes | None]:
        """Handshake, then carry an inner conversation; what it says and hears in the clear is noted in ``clear``."""
        last_flight = yield from self.handshake()
        if not self.completed:
            return last_flight
        ssl = self._client._ssl  # noqa: SLF001
        network = self._client._network_bio  # noqa: SLF001
        try:
            out = next(inner)
            while True:
                if out:
                    ssl.write(out)
                    clear.sent += out
                received = yield last_flight + _pending(network)
                last_flight = b""
                if not received:
                    inner.send(b"")
                    return None
                network.write(received)
                piece, end = _read_clear(ssl)
                clear.received += piece
                out = inner.send(piece) if piece else b""
                if end is not None:  # close_notify often comes together with the last of the response
                    if not clear.received or _text(end) != _CLOSE_NOTIFY:
                        self.error = _text(end)
                    inner.send(b"")
                    return None
        except StopIteration as stop:
            return last_flight + self._last_words(stop.value, clear)
        except OpenSSLError as error:
            self.error = _text(error)
            return None
        finally:
            inner.close()

    def _last_words(self, out: bytes | None, clear: ClearText) -> bytes:
        """Return what the inner conversation says at its end, under TLS."""
        if out:
            try:
                self._client._ssl.write(out)  # noqa: SLF001
            except OpenSSLError as error:
                self.error = _text(error)
                return b""
            clear.sent += out
        return _pending(self._client._network_bio)  # noqa: SLF001

    def report(self) -> EngineReport:
        """Return what the engine says of the handshake as far as it got."""
        suite: str | None = None
        chain: tuple[bytes, ...] = ()
        if self.completed:
            suite = self._client.get_current_cipher_name()
            chain = self._chain()
        return EngineReport(
            engine=self.name,
            completed=self.completed,
            cipher_suite=suite,
            chain_der=chain,
            client_certificate_requested=self.client_certificate_requested,
            error=self.error,
        )

    def _chain(self) -> tuple[bytes, ...]:
        try:
            return tuple(map(_decode_pem, self._client.get_received_chain()))
        except (OpenSSLError, TypeError, ValueError):  # anonymous and PSK suites have no certificate
            return ()


def _text(error: OpenSSLError) -> str:
    return str(error.args[0] if error.args else error).strip()[:300]


def _pending(network: object) -> bytes:
    out = b""
    while size := network.pending():  # type: ignore[attr-defined]  # nassl's BIO has no published type
        out += network.read(size)  # type: ignore[attr-defined]
    return out


def _read_clear(ssl: object) -> tuple[bytes, OpenSSLError | None]:
    """Return what can be read, and the error that ends the connection (close_notify is one), or None."""
    clear = b""
    while True:
        try:
            piece = ssl.read(_PIECE_BYTES)  # type: ignore[attr-defined]  # nassl's SSL has no published type
        except WantReadError:
            return clear, None
        except OpenSSLError as error:
            return clear, error
        if not piece:
            return clear, None
        clear += piece


@lru_cache(maxsize=1024)
def _decode_pem(pem: str) -> bytes:
    # Each version of a host sends the same certificates, and so do the nodes of a farm.
    return PEM_cert_to_DER_cert(pem)


@cache
def _nassl_version() -> str:
    return package_version("nassl")
