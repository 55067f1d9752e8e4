"""Just enough TLS and SSLv2 for scripted peers: parse a hello, build replies.

Written from RFC 8446, RFC 5246, RFC 6101 and the SSL 2.0 draft, and on purpose independent of scanner.tls: a mistake
there must not be mirrored here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23

SERVER_NAME = 0
STATUS_REQUEST = 5
SUPPORTED_GROUPS = 10
SUPPORTED_VERSIONS = 43
KEY_SHARE = 51
RENEGOTIATION_INFO = 0xFF01

SCSV = 0x00FF
WARNING, FATAL = 1, 2
X25519 = 0x001D
SECP256R1 = 0x0017
# Public keys for ServerHello: the base points, valid for a client that looks (RFC 7748 section 4.1, SEC 2 2.4.2)
SHARES = {
    X25519: b"\x09" + bytes(31),
    SECP256R1: bytes.fromhex(
        "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
        "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
    ),
}

# RFC 8446 section 4.1.3
HELLO_RETRY_RANDOM = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")
DOWNGRADE_TO_1_2 = b"DOWNGRD\x01"
DOWNGRADE_TO_1_1_OR_BELOW = b"DOWNGRD\x00"
PLAIN_RANDOM = bytes(range(32, 64))


class NotAHelloError(ValueError):
    """The bytes are not the beginning of a ClientHello in either format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """What a peer may decide on."""

    is_ssl2_format: bool
    record_version: int
    """Version in the record header; equal to legacy_version in SSLv2 format, which has none there."""
    legacy_version: int
    supported_versions: tuple[int, ...]
    """The extension's content, empty where it is absent."""
    suites: tuple[int, ...]
    """Two-byte suites; three-byte cipher kinds in SSLv2 format."""
    session_id: bytes
    extensions: dict[int, bytes] = field(default_factory=dict)
    total_bytes: int
    """Size on the wire, record headers included."""
    message_bytes: int
    """Size of the handshake message with its four-byte header (of the record's content in SSLv2 format)."""
    sni: str | None
    groups: tuple[int, ...] = ()
    share_groups: tuple[int, ...] = ()
    """Groups of the key shares that came with it."""

    @property
    def has_scsv(self) -> bool:
        return SCSV in self.suites

    @property
    def has_renegotiation_signal(self) -> bool:
        """Whether it carries 0x00ff or the renegotiation_info extension (RFC 5746 section 3.4)."""
        return self.has_scsv or RENEGOTIATION_INFO in self.extensions

    @property
    def offered(self) -> tuple[int, ...]:
        """Version numbers offered, highest first, GREASE (RFC 8701) left out."""
        if self.supported_versions:
            return tuple(sorted((v for v in self.supported_versions if not is_grease(v)), reverse=True))
        return self.offered_before_13

    @property
    def offered_before_13(self) -> tuple[int, ...]:
        """What a server reads that has never heard of supported_versions."""
        if self.legacy_version == 0x0002:
            return (0x0002,)
        highest = min(self.legacy_version, 0x0303)
        return tuple(range(highest, 0x02FF, -1))

    @property
    def asked(self) -> int:
        """The highest version offered."""
        return self.offered[0] if self.offered else self.legacy_version


def is_grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


class _Reader:
    """Takes big-endian fields from bytes; running off the end means it is no hello."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if count > len(self.data):
            raise NotAHelloError("a field runs past the end of the message")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def vector(self, length_bytes: int) -> bytes:
        return self.take(self.number(length_bytes))


def decode_hello(data: bytes) -> ClientHello | None:
    """Return the hello that data begins with, or None where more is needed; raises NotAHelloError."""
    if not data:
        return None
    if data[0] & 0x80:
        return _decode_ssl2_hello(data)
    if data[0] != HANDSHAKE:
        raise NotAHelloError(f"first byte is {data[0]}")
    message, offset, record_version = b"", 0, 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        header = data[offset : offset + 5]
        if len(header) < 5:
            return None
        if header[0] != HANDSHAKE:
            raise NotAHelloError(f"record of type {header[0]} inside the hello")
        record_version = record_version or int.from_bytes(header[1:3], "big")
        length = int.from_bytes(header[3:5], "big")
        if len(data) < offset + 5 + length:
            return None
        message += data[offset + 5 : offset + 5 + length]
        offset += 5 + length
    return _decode_tls_hello(message, total_bytes=offset, record_version=record_version)


def _numbers(data: bytes, size: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[i : i + size], "big") for i in range(0, len(data) - size + 1, size))


def _decode_tls_hello(message: bytes, *, total_bytes: int, record_version: int) -> ClientHello:
    reader = _Reader(message)
    if reader.number(1) != 1:
        raise NotAHelloError("not a ClientHello")
    reader = _Reader(reader.vector(3))
    legacy_version = reader.number(2)
    reader.take(32)
    session_id = reader.vector(1)
    suites = _numbers(reader.vector(2), 2)
    reader.vector(1)
    extensions: dict[int, bytes] = {}
    if reader.data:
        rest = _Reader(reader.vector(2))
        while rest.data:
            number = rest.number(2)
            extensions[number] = rest.vector(2)
    return ClientHello(
        is_ssl2_format=False,
        record_version=record_version,
        legacy_version=legacy_version,
        supported_versions=_numbers(extensions.get(SUPPORTED_VERSIONS, b"")[1:], 2),
        suites=suites,
        session_id=session_id,
        extensions=extensions,
        total_bytes=total_bytes,
        message_bytes=len(message),
        sni=_decode_sni(extensions.get(SERVER_NAME)),
        groups=_numbers(extensions.get(SUPPORTED_GROUPS, b"")[2:], 2),
        share_groups=_decode_share_groups(extensions.get(KEY_SHARE, b"\0\0")),
    )


def _decode_sni(body: bytes | None) -> str | None:
    if not body:
        return None
    names = _Reader(_Reader(body).vector(2))
    names.take(1)
    return names.vector(2).decode("latin-1")


def _decode_share_groups(body: bytes) -> tuple[int, ...]:
    shares = _Reader(_Reader(body).vector(2))
    groups = []
    while shares.data:
        groups.append(shares.number(2))
        shares.vector(2)
    return tuple(groups)


def _decode_ssl2_hello(data: bytes) -> ClientHello | None:
    if len(data) < 2:
        return None
    length = int.from_bytes(data[:2], "big") & 0x7FFF
    if len(data) < 2 + length:
        return None
    reader = _Reader(data[2 : 2 + length])
    if reader.number(1) != 1:
        raise NotAHelloError("not an SSLv2 CLIENT-HELLO")
    version = reader.number(2)
    kinds_bytes, session_bytes, challenge_bytes = reader.number(2), reader.number(2), reader.number(2)
    kinds = _numbers(reader.take(kinds_bytes), 3)
    session_id = reader.take(session_bytes)
    reader.take(challenge_bytes)
    return ClientHello(
        is_ssl2_format=True,
        record_version=version,
        legacy_version=version,
        supported_versions=(),
        suites=kinds,
        session_id=session_id,
        total_bytes=2 + length,
        message_bytes=length,
        sni=None,
    )


def encode_record(content_type: int, version: int, payload: bytes) -> bytes:
    return bytes([content_type]) + version.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


def encode_alert(description: int, *, level: int = FATAL, record_version: int = 0x0303) -> bytes:
    return encode_record(ALERT, record_version, bytes([level, description]))


def encode_handshake(message_type: int, body: bytes) -> bytes:
    return bytes([message_type]) + len(body).to_bytes(3, "big") + body


def encode_extensions(extensions: dict[int, bytes]) -> bytes:
    if not extensions:
        return b""
    block = b"".join(n.to_bytes(2, "big") + len(b).to_bytes(2, "big") + b for n, b in extensions.items())
    return len(block).to_bytes(2, "big") + block


def encode_server_hello(
    version: int,
    suite: int,
    *,
    session_id: bytes = b"",
    random: bytes = PLAIN_RANDOM,
    extensions: dict[int, bytes] | None = None,
) -> bytes:
    """Return the handshake message (no record) with version in its version field."""
    body = version.to_bytes(2, "big") + random + bytes([len(session_id)]) + session_id
    body += suite.to_bytes(2, "big") + b"\0" + encode_extensions(extensions or {})
    return encode_handshake(2, body)


def encode_server_hello_13(
    suite: int, *, session_id: bytes = b"", group: int = X25519, version: int = 0x0304, is_retry: bool = False
) -> bytes:
    """Return a TLS 1.3 ServerHello or HelloRetryRequest (RFC 8446 sections 4.1.3 and 4.1.4), no record."""
    share = group.to_bytes(2, "big")
    if not is_retry:
        share += len(SHARES[group]).to_bytes(2, "big") + SHARES[group]
    return encode_server_hello(
        0x0303,
        suite,
        session_id=session_id,
        random=HELLO_RETRY_RANDOM if is_retry else PLAIN_RANDOM,
        extensions={SUPPORTED_VERSIONS: version.to_bytes(2, "big"), KEY_SHARE: share},
    )


def encode_certificate() -> bytes:
    """Return a Certificate message (no record), RFC 5246 section 7.4.2."""
    der = certificate_der()
    entry = len(der).to_bytes(3, "big") + der
    return encode_handshake(11, len(entry).to_bytes(3, "big") + entry)


def encode_ssl2_server_hello(kinds: tuple[int, ...]) -> bytes:
    """Return an SSLv2 SERVER-HELLO record with an X.509 certificate (SSL 2.0 draft section 2.6)."""
    certificate = certificate_der()
    specs = b"".join(kind.to_bytes(3, "big") for kind in kinds)
    connection_id = bytes(range(16))
    body = b"\x04\x00\x01\x00\x02"
    body += b"".join(len(part).to_bytes(2, "big") for part in (certificate, specs, connection_id))
    body += certificate + specs + connection_id
    return encode_ssl2_record(body)


def encode_ssl2_error(code: int) -> bytes:
    """Return an SSLv2 ERROR record; 0x0001 is NO-CIPHER-ERROR."""
    return encode_ssl2_record(b"\x00" + code.to_bytes(2, "big"))


def encode_ssl2_record(body: bytes) -> bytes:
    return (0x8000 | len(body)).to_bytes(2, "big") + body


@functools.cache
def certificate_der() -> bytes:
    """Return a self-signed certificate; made once, as RSA keys are slow to make."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hostile.example")])
    begin = datetime.now(UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=30))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
