"""Answers TLS 1.2 and TLS 1.3 with the OpenSSL that Python is linked with, through memory BIOs.

Each connection has a context of its own: no session is ever resumed (Python can't switch the cache off, and a resumed
session would repeat an older version), and what OpenSSL keeps for a context ends with the connection. It costs about
1.3 ms of processor time and 25 KB.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, cast

from scanner.listener.visit import Visit
from scanner.listener.words import PEER_CLOSED, maybe_fatal_alert, render_received_alert, render_sent_alert
from scanner.model.exchange import EngineReport
from scanner.model.versions import TlsVersion
from scanner.tls.reply import ServerHello, decode_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from scanner.listener.identity import Leaf
    from scanner.listener.pages import Visitor
    from scanner.tls.client_hello import ClientHello

_VERSIONS = {TlsVersion.TLS1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS1_3: ssl.TLSVersion.TLSv1_3}

_CIPHERS = "ALL:COMPLEMENTOFALL:+kDHE:+aNULL:+eNULL:@SECLEVEL=0"
"""Everything the build has. DHE late, as Java 7 has only small groups; without certificate last: what a client makes of
a certificate is worth knowing."""

_PIECE_BYTES = 16_384
_ECDSA_P256_SHA256 = 0x0403
"""RFC 8446 section 4.2.3."""

_FFDHE2048 = (
    "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695"
    "A9E13641146433FBCC939DCE249B3EF97D2FE363630C75D8F681B202AEC4617A"
    "D3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935"
    "984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797A"
    "BC0AB182B324FB61D108A94BB2C8E3FBB96ADAB760D7F4681D4F42A3DE394DF4"
    "AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61"
    "9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005"
    "C58EF1837D1683B2C6F34A26C1B2EFFA886B423861285C97FFFFFFFFFFFFFFFF"
)

# OpenSSL's reasons for alerts received (ssl/ssl_err.c): the alert's number is the reason's number less 1000, but
# Python gives only the name. The prefix tells with which version the alert came up.
_ALERT_REASONS = {
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": 10,
    "SSLV3_ALERT_BAD_RECORD_MAC": 20,
    "TLSV1_ALERT_DECRYPTION_FAILED": 21,
    "TLSV1_ALERT_RECORD_OVERFLOW": 22,
    "SSLV3_ALERT_DECOMPRESSION_FAILURE": 30,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": 40,
    "SSLV3_ALERT_NO_CERTIFICATE": 41,
    "SSLV3_ALERT_BAD_CERTIFICATE": 42,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": 43,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": 44,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": 45,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": 46,
    "SSLV3_ALERT_ILLEGAL_PARAMETER": 47,
    "TLSV1_ALERT_UNKNOWN_CA": 48,
    "TLSV1_ALERT_ACCESS_DENIED": 49,
    "TLSV1_ALERT_DECODE_ERROR": 50,
    "TLSV1_ALERT_DECRYPT_ERROR": 51,
    "TLSV1_ALERT_EXPORT_RESTRICTION": 60,
    "TLSV1_ALERT_PROTOCOL_VERSION": 70,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": 71,
    "TLSV1_ALERT_INTERNAL_ERROR": 80,
    "TLSV1_ALERT_INAPPROPRIATE_FALLBACK": 86,
    "TLSV1_ALERT_USER_CANCELLED": 90,
    "TLSV1_ALERT_NO_RENEGOTIATION": 100,
    "TLSV13_ALERT_MISSING_EXTENSION": 109,
    "TLSV1_UNSUPPORTED_EXTENSION": 110,
    "TLSV1_CERTIFICATE_UNOBTAINABLE": 111,
    "TLSV1_UNRECOGNIZED_NAME": 112,
    "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE": 113,
    "TLSV1_BAD_CERTIFICATE_HASH_VALUE": 114,
    "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY": 115,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": 116,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": 120,
}


class OpensslAnswer:
    """One connection answered with exactly one version. Not reusable."""

    def __init__(self, version: TlsVersion, leaves: tuple[Leaf, ...], visitor: Visitor) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        if version is TlsVersion.TLS1_3:
            leaves = _pick(leaves, visitor.hello.signature_algorithms)[:1]
        context = _make_context(_VERSIONS[version], leaves)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._leaves = leaves
        self._visitor = visitor
        self._visit = Visit()
        self._completed = False
        self._is_over = False
        self._suite: int | None = None
        self._error: str | None = None

    @property
    def http_path(self) -> str | None:
        """The path asked for, cleaned; None where no request came."""
        return self._visit.path

    def converse(self, first: bytes) -> Generator[bytes, bytes, bytes]:
        """See scanner.listener.answering.Answer."""
        received = first
        while True:
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()
            is_over = self._step()
            out = self._outgoing.read()
            self._note_suite(out)
            if is_over or not received:
                if self._error is None and not self._completed:
                    self._error = PEER_CLOSED
                return out
            received = yield out

    def _step(self) -> bool:
        """Go as far as the bytes allow; return whether it is over."""
        try:
            if not self._completed:
                self._tls.do_handshake()
                self._completed = True
                cipher = self._tls.cipher()
                self._visitor.suite = cipher[0] if cipher else None
            while clear := self._tls.read(_PIECE_BYTES):
                response = self._visit.answer(clear, self._visitor)
                if response is not None:
                    self._is_over = True
                    self._tls.write(response)
                    self._tls.unwrap()  # sends close_notify; the client's own is not waited for
                    return True
        except ssl.SSLWantReadError:
            return self._is_over
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return True
        except ssl.SSLError as error:
            self._error = self._render(error)
            return True
        return True

    def _render(self, error: ssl.SSLError) -> str:
        # Python lacks the names of some reasons, but has OpenSSL's words: "[SSL] tlsv1 alert ... (_ssl.c:1006)".
        words = str(error.args[-1]).rpartition("] ")[2].partition(" (_ssl.c")[0]
        reason = error.reason or words.upper().replace(" ", "_")
        number = _ALERT_REASONS.get(reason)
        if number is not None:
            return render_received_alert(number)
        out = self._outgoing.read()
        self._outgoing.write(out)
        sent = maybe_fatal_alert(out)
        return words if sent is None else render_sent_alert(sent, words)

    def report(self) -> EngineReport:
        """See scanner.listener.answering.Answer."""
        return EngineReport(
            engine=engine_name(),
            completed=self._completed,
            cipher_suite=self._visitor.suite,
            chain_der=self._chain(),
            error=self._error,
        )

    def _chain(self) -> tuple[bytes, ...]:
        """Return the chain that was sent; none before a ServerHello, and none with an anonymous suite."""
        if self._suite is None:
            return ()
        # Python does not tell which certificate OpenSSL took; the suite does, and for TLS 1.3 there is one only.
        kind = _suites().get(self._suite)
        if kind == "auth-null":
            return ()
        is_rsa = kind != "auth-ecdsa"
        return next((leaf.chain_der for leaf in self._leaves if leaf.is_rsa == is_rsa), self._leaves[0].chain_der)

    def _note_suite(self, out: bytes) -> None:
        reply = decode_reply(out) if out and self._suite is None else None
        if isinstance(reply, ServerHello) and not reply.is_retry_request:
            self._suite = reply.suite


def _pick(leaves: tuple[Leaf, ...], algorithms: tuple[int, ...]) -> tuple[Leaf, ...]:
    """Return the one leaf for TLS 1.3, where the suite no longer says which certificate is sent."""
    has_ecdsa = _ECDSA_P256_SHA256 in algorithms
    return next(((leaf,) for leaf in leaves if leaf.is_rsa != has_ecdsa), leaves)


@cache
def engine_name() -> str:
    """Return ``OpenSSL 3.0.19 (Python ssl)``."""
    return f"{' '.join(ssl.OPENSSL_VERSION.split()[:2])} (Python ssl)"


def has_suite_for(hello: ClientHello, leaves: tuple[Leaf, ...]) -> bool:
    """Return whether this OpenSSL shares a suite up to TLS 1.2 with the client, for which there is a certificate."""
    kinds = {"auth-rsa" if leaf.is_rsa else "auth-ecdsa" for leaf in leaves} | {"auth-null"}
    return any(_suites().get(suite) in kinds for suite in hello.suites)


@cache
def _suites() -> dict[int, str]:
    """Return the suites up to TLS 1.2 of this build, with what they authenticate by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(_CIPHERS)
    # We have no pre-shared keys, and Python can't take them.
    ciphers = (cast("dict[str, object]", cipher) for cipher in context.get_ciphers())
    return {
        int(str(cipher["id"])) & 0xFFFF: str(cipher.get("auth"))
        for cipher in ciphers
        if not {"psk", "srp"} & set(str(cipher.get("kea")).split("-"))
    }


def _make_context(version: ssl.TLSVersion, leaves: tuple[Leaf, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # All of these override a policy in openssl.cnf (MinProtocol, MaxProtocol, CipherString).
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.minimum_version = version
    context.maximum_version = version
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    for leaf in leaves:
        load_pem(context.load_cert_chain, leaf.pem)
    if version is ssl.TLSVersion.TLSv1_2:
        load_pem(context.load_dh_params, _dh_params())
    return context


@cache
def _dh_params() -> bytes:
    """Return ffdhe2048 (RFC 7919 appendix A.1) in PEM form."""
    from cryptography.hazmat.primitives.asymmetric import dh  # noqa: PLC0415  # loaded when listening
    from cryptography.hazmat.primitives.serialization import Encoding, ParameterFormat  # noqa: PLC0415  # the same

    parameters = dh.DHParameterNumbers(p=int(_FFDHE2048, 16), g=2).parameters()
    return parameters.parameter_bytes(Encoding.PEM, ParameterFormat.PKCS3)


def load_pem(load: Callable[[str], None], pem: bytes) -> None:
    """Give PEM text to a method of ssl.SSLContext that takes a file's name: this file has no name and no disk."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        view = memoryview(pem)
        while view:
            view = view[os.write(descriptor, view) :]
        load(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
