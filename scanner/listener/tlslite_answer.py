"""Answers SSLv3, TLS 1.0 and TLS 1.1, and TLS 1.2 to clients whose suites OpenSSL no longer has (RC4, 3DES).

tlslite-ng is all Python: it has what builds of OpenSSL leave out, and costs tens of milliseconds of processor time. The
suite is chosen for least work: a static RSA suite where the client has one, then ECDHE, then DHE.
"""

from __future__ import annotations

import errno
import warnings
from functools import cache, lru_cache
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING

from scanner.listener.visit import Visit
from scanner.listener.words import PEER_CLOSED, render_received_alert, render_sent_alert
from scanner.model.exchange import EngineReport
from scanner.model.versions import TlsVersion
from scanner.tls.reply import ServerHello, decode_reply

with warnings.catch_warnings():
    # The package loads asyncore, which Python 3.12 no longer has; we don't use it.
    warnings.simplefilter("ignore", DeprecationWarning)
    from tlslite.constants import CipherSuite, ExtensionType  # type: ignore[import-untyped]
    from tlslite.errors import (  # type: ignore[import-untyped]
        TLSAbruptCloseError,
        TLSClosedConnectionError,
        TLSLocalAlert,
        TLSRemoteAlert,
    )
    from tlslite.handshakesettings import HandshakeSettings  # type: ignore[import-untyped]
    from tlslite.messages import ClientHello as ParsedHello  # type: ignore[import-untyped]
    from tlslite.messages import ClientKeyExchange
    from tlslite.tlsconnection import TLSConnection  # type: ignore[import-untyped]
    from tlslite.utils.python_ecdsakey import Python_ECDSAKey  # type: ignore[import-untyped]
    from tlslite.utils.python_rsakey import Python_RSAKey  # type: ignore[import-untyped]
    from tlslite.x509 import X509  # type: ignore[import-untyped]
    from tlslite.x509certchain import X509CertChain  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from scanner.listener.identity import Key, Leaf
    from scanner.listener.pages import Visitor

_CIPHERS = ["aes128gcm", "aes256gcm", "chacha20-poly1305", "aes128", "aes256", "3des", "rc4", "null"]
_MACS = ["sha", "sha256", "sha384", "aead", "md5"]
_KEY_EXCHANGES = ("rsa", "ecdhe_rsa", "ecdhe_ecdsa", "dhe_rsa", "ecdh_anon", "dh_anon")
"""By the work they make us, but for the last two, which come without certificate."""
_CURVES = ["x25519", "secp256r1", "secp384r1", "x448", "secp521r1", "secp256k1"]

_LENGTH_BYTES = 2

_CURVE_NAMES = {"secp256r1": "NIST256p", "secp384r1": "NIST384p", "secp521r1": "NIST521p"}
"""What the ecdsa library calls them."""

# tlslite-ng is strict where clients are not: names with underscores, TLS 1.3 key shares in another order than the
# groups. What the older versions have no use for is kept from it. The transcript is of the bytes, so nothing breaks.
_EXTENSIONS_NEEDED = frozenset(
    {
        *(ExtensionType.supported_groups, ExtensionType.ec_point_formats, ExtensionType.signature_algorithms),
        *(ExtensionType.alpn, ExtensionType.extended_master_secret, ExtensionType.encrypt_then_mac),
        *(ExtensionType.renegotiation_info, ExtensionType.supported_versions),
    }
)
_EXTENSIONS_OF_SSL3 = frozenset(
    {ExtensionType.supported_groups, ExtensionType.renegotiation_info, ExtensionType.supported_versions}
)
"""SSL 3.0 has renegotiation_info (RFC 5746 section 4.5); the others are read only. It has no extended master secret."""


class _Pipe:
    """Stands in for a socket that never blocks."""

    def __init__(self) -> None:
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.is_closed = False

    def recv(self, size: int) -> bytes:
        if not self.incoming and not self.is_closed:
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing yet")
        piece = bytes(self.incoming[:size])
        del self.incoming[:size]
        return piece

    def send(self, data: bytes) -> int:
        self.outgoing += data
        return len(data)

    def sendall(self, data: bytes) -> None:
        self.outgoing += data

    def close(self) -> None:
        """Do nothing: the server closes."""

    def take(self) -> bytes:
        out = bytes(self.outgoing)
        self.outgoing.clear()
        return out


class _Connection(TLSConnection):  # type: ignore[misc]  # tlslite-ng has no types
    """tlslite-ng's server, shown only what it needs of a hello."""

    def __init__(self, pipe: _Pipe, version: TlsVersion) -> None:
        super().__init__(pipe)
        self._needed = _EXTENSIONS_OF_SSL3 if version is TlsVersion.SSL3 else _EXTENSIONS_NEEDED

    def _getMsg(self, *args: object, **kwargs: object) -> Iterator[object]:  # noqa: N802  # the library's name
        for result in super()._getMsg(*args, **kwargs):
            if isinstance(result, ParsedHello) and result.extensions is not None:
                result.extensions = [one for one in result.extensions if one.extType in self._needed]
                versions = result.getExtension(ExtensionType.supported_versions)
                if versions is not None and versions.versions is not None:
                    # With TLS 1.3 in the list it would miss what was taken out.
                    versions.versions = [version for version in versions.versions if version < (3, 4)]
            if isinstance(result, ClientKeyExchange) and result.encryptedPreMasterSecret is not None:
                result.encryptedPreMasterSecret = _without_length(result.encryptedPreMasterSecret)
            yield result


class TlsliteAnswer:
    """One connection answered with exactly one version. Not reusable."""

    def __init__(self, version: TlsVersion, leaves: tuple[Leaf, ...], visitor: Visitor) -> None:
        self._pipe = _Pipe()
        self._tls = _Connection(self._pipe, version)
        self._tls.ignoreAbruptClose = True
        self._version = (version >> 8, version & 0xFF)
        self._visitor = visitor
        self._visit = Visit()
        self._leaves = leaves
        self._leaf: Leaf | None = None
        self._is_greeted = False
        self._completed = False
        self._error: str | None = None

    @property
    def http_path(self) -> str | None:
        """The path asked for, cleaned; None where no request came."""
        return self._visit.path

    def converse(self, first: bytes) -> Generator[bytes, bytes, bytes]:
        """See scanner.listener.answering.Answer."""
        self._pipe.incoming += first
        steps = self._steps()
        while True:
            try:
                next(steps)
            except StopIteration:
                return self._take()
            except Exception as error:  # noqa: BLE001  # a Python library reads what anybody sends: all it raises is theirs
                self._error = self._render(error)
                return self._take()
            received = yield self._take()
            if received:
                self._pipe.incoming += received
            else:
                self._pipe.is_closed = True

    def _take(self) -> bytes:
        out = self._pipe.take()
        self._is_greeted = self._is_greeted or isinstance(decode_reply(out), ServerHello)
        return out

    def _steps(self) -> Iterator[object]:
        """Yield where more bytes are needed; ends when it is over."""
        settings, self._leaf = self._plan()
        chain, key = (None, None) if self._leaf is None else (_chain(self._leaf.chain_der), _key(self._leaf.key))
        alpn = [bytearray(b"http/1.1")] if b"http/1.1" in self._visitor.hello.alpn else None
        handshake = self._tls.handshakeServerAsync(
            certChain=chain, privateKey=key, settings=settings, anon=self._leaf is None, alpn=alpn
        )
        yield from handshake
        self._completed = True
        self._visitor.suite = self._suite()
        response = None
        while response is None:
            for step in self._tls.readAsync(max=16_384):
                if isinstance(step, bytes):
                    if not step:  # the client closed
                        return
                    response = self._visit.answer(step, self._visitor)
                else:
                    yield step
        yield from self._tls.writeAsync(response)
        yield from self._tls.closeAsync()

    def _plan(self) -> tuple[HandshakeSettings, Leaf | None]:
        offered = {suite for suite in self._visitor.hello.suites if suite <= 0xFFFF}
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = self._version
        settings.versions = [self._version]
        settings.cipherNames = list(_CIPHERS)
        settings.macNames = list(_MACS)
        settings.eccCurves = list(_CURVES)
        settings.keyShares = []
        settings.rsaSigHashes = ["sha256", "sha384", "sha512", "sha224", "sha1", "md5"]
        settings.ticket_count = 0
        settings.use_heartbeat_extension = False
        for name in _KEY_EXCHANGES:
            leaf = self._leaf_for(name)
            settings.keyExchangeNames = [name]
            if offered & _suites_of(settings, self._version) and (leaf is not None or name.endswith("_anon")):
                return settings, leaf
        settings.keyExchangeNames = list(_KEY_EXCHANGES)
        return settings, self._leaves[0]

    def _leaf_for(self, key_exchange: str) -> Leaf | None:
        if key_exchange.endswith("_anon"):
            return None
        return next((leaf for leaf in self._leaves if leaf.is_rsa != (key_exchange == "ecdhe_ecdsa")), None)

    def _suite(self) -> str | None:
        number = self._tls.session.cipherSuite if self._tls.session else None
        name = CipherSuite.ietfNames.get(number)
        return str(name) if name else None

    def _render(self, error: Exception) -> str:
        if isinstance(error, TLSRemoteAlert):
            return render_received_alert(error.description)
        if isinstance(error, TLSLocalAlert):
            return render_sent_alert(error.description, (error.message or "").partition("\n")[0])
        if isinstance(error, TLSAbruptCloseError | TLSClosedConnectionError):
            return PEER_CLOSED
        return f"{type(error).__name__}: {error}"[:300]

    def report(self) -> EngineReport:
        """See scanner.listener.answering.Answer."""
        return EngineReport(
            engine=engine_name(),
            completed=self._completed,
            cipher_suite=self._suite() if self._completed else None,
            chain_der=self._leaf.chain_der if self._leaf is not None and self._is_greeted else (),
            error=self._error,
        )


def _without_length(secret: bytearray) -> bytearray:
    """Return an encrypted secret without the length before it, which SSL 3.0 does not have: some write it all the same.

    Java does where it offered more than SSL 3.0 (RFC 5246 section 7.4.7.1 tells of such). No RSA key here is two bytes
    longer than another.
    """
    has_length = len(secret) % 8 == _LENGTH_BYTES and int.from_bytes(secret[:_LENGTH_BYTES], "big") == (
        len(secret) - _LENGTH_BYTES
    )
    return secret[_LENGTH_BYTES:] if has_length else secret


@cache
def engine_name() -> str:
    """Return ``tlslite-ng 0.8.2``."""
    return f"tlslite-ng {package_version('tlslite-ng')}"


def _suites_of(settings: HandshakeSettings, version: tuple[int, int]) -> set[int]:
    """Return the suites that the settings allow."""
    suites = [
        *CipherSuite.getCertSuites(settings, version),
        *CipherSuite.getEcdheCertSuites(settings, version),
        *CipherSuite.getEcdsaSuites(settings, version),
        *CipherSuite.getDheCertSuites(settings, version),
        *CipherSuite.getEcdhAnonSuites(settings, version),
        *CipherSuite.getAnonSuites(settings, version),
    ]
    return set(CipherSuite.filterForVersion(suites, minVersion=version, maxVersion=version))


@lru_cache(maxsize=8)
def _key(key: Key) -> Python_RSAKey | Python_ECDSAKey:
    """Return the library's form of a key. A listener has one or two; kept, as the first use of each costs more."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415  # loaded when listening

    if isinstance(key, RSAPrivateKey):
        rsa = key.private_numbers()
        public = rsa.public_numbers
        return Python_RSAKey(public.n, public.e, rsa.d, rsa.p, rsa.q, rsa.dmp1, rsa.dmq1, rsa.iqmp)
    ecdsa = key.private_numbers()
    point = ecdsa.public_numbers
    return Python_ECDSAKey(point.x, point.y, _CURVE_NAMES.get(key.curve.name, key.curve.name), ecdsa.private_value)


@lru_cache(maxsize=32)
def _chain(chain_der: tuple[bytes, ...]) -> X509CertChain:
    certificates = [X509() for _ in chain_der]
    for certificate, one in zip(certificates, chain_der, strict=True):
        certificate.parseBinary(bytearray(one))
    return X509CertChain(certificates)
