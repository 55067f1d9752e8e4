"""What comes back to a hello: decoded leniently and without loss, fed in pieces of any size.

RFC 8446 sections 4.1.3, 5.1 and 6; RFC 5246; draft-hickman-netscape-ssl-00 for SSLv2.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

HELLO_RETRY_REQUEST_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""RFC 8446 section 4.1.3."""

MAX_RECORD_BYTES = 16_384 + 2_048
"""Longest record that is read (RFC 5246 section 6.2.3)."""
_MAX_HANDSHAKE_BYTES = 65_535
_MAX_EMPTY_STEPS = 64
"""Records that bring us no further (empty ones, warnings) before we call the peer odd."""

_HELLO_REQUEST = b"\x00\x00\x00\x00"
_MAX_HELLO_REQUESTS = 8
"""HelloRequest messages are to be ignored (RFC 5246 section 7.4.1.1), but not for ever."""

_ALERT = 21
_HANDSHAKE = 22
_RECORD_TYPES = range(20, 25)
_UNRECOGNIZED_NAME = 112
_WARNING = 1
# Alerts that may come as a warning before a ServerHello: anything else ends the conversation, whatever its level.
_PASSING_WARNINGS = frozenset({_UNRECOGNIZED_NAME, 90, 100, 110, 111, 113, 114})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHello:
    """A ServerHello or HelloRetryRequest."""

    version: int
    """The version chosen: supported_versions where it is there, else the message's legacy_version."""
    legacy_version: int
    """The version number in the message body."""
    random: bytes
    """32 bytes."""
    suite: int
    """Code point of the cipher suite chosen."""
    is_retry_request: bool
    """True for HelloRetryRequest."""
    retry_group: int | None = None
    """The group a HelloRetryRequest asks a share for; None where it asks for none."""
    cookie: bytes = b""
    """The cookie a HelloRetryRequest wants back; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that ends the conversation."""

    level: int
    """1 warning, 2 fatal; peers send others too."""
    description: int
    """Alert number (IANA "TLS Alerts")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssl2ServerHello:
    """SSLv2 SERVER-HELLO."""

    version: int
    """Server version, 0x0002."""
    cipher_kinds: tuple[int, ...]
    """Three-byte cipher kinds the server shares with us; empty where it shares none."""
    certificate_bytes: int
    """Length of the certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssl2Error:
    """SSLv2 ERROR message."""

    code: int
    """1 no cipher, 2 no certificate, 4 bad certificate, 6 unsupported certificate type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTls:
    """Bytes of another protocol."""

    protocol: str
    """A guess for people: ``HTTP``, ``SSH``, ``text``, ``an echo of our hello``."""
    sample: str
    """The first bytes, printable, at most 80 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """Bytes that look like TLS but can't be."""

    problem: str
    """What is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete:
    """The bytes end before they say anything."""

    passing_alerts: tuple[int, ...] = ()
    """Warnings seen on the way."""


Reply = ServerHello | Alert | Ssl2ServerHello | Ssl2Error | NotTls | Malformed | Incomplete


def decode_reply(data: bytes, *, sent: bytes = b"") -> Reply:
    """Return what the bytes received to one hello say; Incomplete where they end too early. Never raises.

    sent: the hello, to tell an echo.
    """
    plain = _maybe_decode_plain(data)
    if plain is not None:
        return plain
    reader = read_reply(sent=sent)
    next(reader)
    try:
        if data:
            reader.send(data)
        reader.send(b"")
    except StopIteration as stop:
        return cast("Reply", stop.value)
    raise AssertionError("the reader ends when it is told that no more bytes come")


def _maybe_decode_plain(data: bytes) -> Reply | None:
    """Return the Reply where the first record holds it whole, as nearly always; None where read_reply must look on.

    The short way for the hot path: it says what the long way would.
    """
    if len(data) < 7 or data[1] != 3:
        return None
    record_bytes = int.from_bytes(data[3:5], "big")
    if data[0] == _ALERT and record_bytes == 2:
        if data[5] == _WARNING and data[6] in _PASSING_WARNINGS:
            return None
        return Alert(level=data[5], description=data[6])
    if data[0] == _HANDSHAKE and data[5] == 2 and record_bytes <= MAX_RECORD_BYTES:
        end = 9 + int.from_bytes(data[6:9], "big")
        if end <= min(len(data), 5 + record_bytes):
            return _decode_server_hello(data[9:end])
    return None


def decode_reply_after_retry(data: bytes) -> Reply:
    """Return what follows the HelloRetryRequest that the bytes begin with; Incomplete where nothing does.

    Records of change_cipher_spec in between (RFC 8446 appendix D.4) are passed over.
    """
    at = 0
    handshake_bytes = 0
    needed: int | None = None
    message = bytearray()
    while at + 5 <= len(data) and (needed is None or handshake_bytes < needed):
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] == _HANDSHAKE:
            message += data[at + 5 : at + 5 + length]
            handshake_bytes = len(message)
            if handshake_bytes >= 4:
                needed = 4 + int.from_bytes(message[1:4], "big")
        at += 5 + length
    return decode_reply(data[at:]) if needed is not None and handshake_bytes == needed else Incomplete()


def read_reply(*, sent: bytes = b"") -> Generator[None, bytes, Reply]:
    """Take bytes in pieces by ``send``; return the Reply as soon as it is known. ``send(b"")`` means: no more comes."""
    piece = yield
    if not piece:
        return Incomplete()
    plain = _maybe_decode_plain(piece)
    return plain if plain is not None else (yield from _read_on(bytearray(piece), sent))


def _read_on(buffer: bytearray, sent: bytes) -> Generator[None, bytes, Reply]:
    passing: list[int] = []
    fragments = bytearray()
    alert_bytes = bytearray()
    steps = 0
    while True:
        # The shortest telling prefix is a record header; fewer bytes may still be a banner, told at the end.
        while len(buffer) < 5:
            piece = yield
            if not piece:
                return _end(bytes(buffer), sent, passing)
            buffer += piece
        first = buffer[0]
        if first & 0x80 or (first not in _RECORD_TYPES and buffer[3] == 4):
            return (yield from _read_ssl2(buffer, sent))
        if first not in _RECORD_TYPES or not _is_record_version(buffer):
            # A little more makes a better sample for people; what is there decides.
            return _not_tls(bytes(buffer), sent)
        length = int.from_bytes(buffer[3:5], "big")
        if length > MAX_RECORD_BYTES:
            return Malformed(problem=f"a record of {length} bytes")
        # A ServerHello may be decided before its record is complete: a record may hold a 20 KB chain as well.
        while len(buffer) < 5 + length:
            reply = _decide(fragments + buffer[5:], sent) if first == _HANDSHAKE else None
            if reply is not None:
                return reply
            piece = yield
            if not piece:
                return _end(bytes(buffer), sent, passing)
            buffer += piece
        payload = buffer[5 : 5 + length]
        del buffer[: 5 + length]
        steps += 1
        if first == _ALERT:
            alert_bytes += payload
            while len(alert_bytes) >= 2:
                level, description = alert_bytes[0], alert_bytes[1]
                del alert_bytes[:2]
                if level != _WARNING or description not in _PASSING_WARNINGS:
                    return Alert(level=level, description=description)
                passing.append(description)
                steps += 1
        elif first == _HANDSHAKE:
            if fragments or payload:
                fragments += payload
                reply = _decide(fragments, sent)
                if reply is not None:
                    return reply
                steps -= bool(payload)
        elif first != 20:
            return Malformed(problem=f"a record of type {first} before any ServerHello")
        if steps > _MAX_EMPTY_STEPS:
            return Malformed(problem="records without end and without a ServerHello")


def _is_record_version(buffer: bytearray) -> bool:
    # Alert records carry any version (BearSSL: 0x0000); handshake records at least a major version of 3 or less.
    return buffer[0] == _ALERT or buffer[1] <= 3


def _decide(message: bytearray | bytes, sent: bytes) -> Reply | None:
    """Return the Reply that the handshake bytes so far allow, or None where more are needed."""
    at = 0
    while message[at : at + 4] == _HELLO_REQUEST:
        at += len(_HELLO_REQUEST)
        if at > _MAX_HELLO_REQUESTS * len(_HELLO_REQUEST):
            return Malformed(problem="HelloRequest messages without end")
    if len(message) < at + 4:
        return None
    kind = message[at]
    length = int.from_bytes(message[at + 1 : at + 4], "big")
    if kind == 1 and sent:
        return NotTls(protocol="an echo of our hello", sample=_sample(bytes(message[:40])))
    if kind != 2:
        return Malformed(problem=f"handshake message {kind} where a ServerHello was due")
    if length > _MAX_HANDSHAKE_BYTES:
        return Malformed(problem=f"a ServerHello of {length} bytes")
    if len(message) < at + 4 + length:
        return None
    return _decode_server_hello(bytes(message[at + 4 : at + 4 + length]))


def _decode_server_hello(body: bytes) -> Reply:
    if len(body) < 38:
        return Malformed(problem=f"a ServerHello of {len(body)} bytes")
    legacy_version = int.from_bytes(body[:2], "big")
    random = body[2:34]
    session_end = 35 + body[34]
    if body[34] > 32 or len(body) < session_end + 3:
        return Malformed(problem="a ServerHello whose session id does not fit")
    suite = int.from_bytes(body[session_end : session_end + 2], "big")
    version = legacy_version
    is_retry_request = random == HELLO_RETRY_REQUEST_RANDOM
    retry_group: int | None = None
    cookie = b""
    at = session_end + 3
    end = min(len(body), at + 2 + int.from_bytes(body[at : at + 2], "big"))
    at += 2
    while at + 4 <= end:
        number = int.from_bytes(body[at : at + 2], "big")
        size = int.from_bytes(body[at + 2 : at + 4], "big")
        data = body[at + 4 : at + 4 + size]
        if at + 4 + size > end:
            return Malformed(problem="a ServerHello whose extensions do not fit")
        if number == 43:
            if size != 2:
                return Malformed(problem="a ServerHello with a broken supported_versions")
            version = int.from_bytes(data, "big")
        elif number == 51 and is_retry_request and size == 2:
            retry_group = int.from_bytes(data, "big")
        elif number == 44 and is_retry_request:
            cookie = data[2:]
        at += 4 + size
    return ServerHello(
        version=version,
        legacy_version=legacy_version,
        random=random,
        suite=suite,
        is_retry_request=is_retry_request,
        retry_group=retry_group,
        cookie=cookie,
    )


def _read_ssl2(buffer: bytearray, sent: bytes) -> Generator[None, bytes, Reply]:
    """Decode an SSLv2 record: two-byte header with the high bit, or three-byte header with padding."""
    header = 2 if buffer[0] & 0x80 else 3
    length = int.from_bytes(buffer[:2], "big") & (0x7FFF if header == 2 else 0x3FFF)
    kind = buffer[header]
    if kind == 1 and sent and bytes(buffer[:5]) == sent[:5]:
        return NotTls(protocol="an echo of our hello", sample=_sample(bytes(buffer[:40])))
    if kind not in {0, 4} or length < 3:
        return _not_tls(bytes(buffer), sent)
    needed = header + (3 if kind == 0 else 11)
    while len(buffer) < needed:
        piece = yield
        if not piece:
            return Incomplete()
        buffer += piece
    if kind == 0:
        return Ssl2Error(code=int.from_bytes(buffer[header + 1 : header + 3], "big"))
    fields = buffer[header + 1 : header + 11]
    version, certificate_bytes, kinds_bytes, id_bytes = (
        int.from_bytes(fields[at : at + 2], "big") for at in (2, 4, 6, 8)
    )
    if version != 0x0002 or kinds_bytes % 3 or 11 + certificate_bytes + kinds_bytes + id_bytes > length:
        return Malformed(problem="an SSLv2 SERVER-HELLO whose lengths do not fit")
    needed = header + 11 + certificate_bytes + kinds_bytes
    while len(buffer) < needed:
        piece = yield
        if not piece:
            return Incomplete()
        buffer += piece
    kinds = buffer[needed - kinds_bytes : needed]
    return Ssl2ServerHello(
        version=version,
        cipher_kinds=tuple(int.from_bytes(kinds[at : at + 3], "big") for at in range(0, len(kinds), 3)),
        certificate_bytes=certificate_bytes,
    )


def _end(data: bytes, sent: bytes, passing: list[int]) -> Reply:
    """Return the Reply for bytes that end before a record is complete."""
    if data and data[0] not in _RECORD_TYPES and not data[0] & 0x80:
        return _not_tls(data, sent)
    return Incomplete(passing_alerts=tuple(passing))


_BANNERS = (
    (b"HTTP/", "HTTP"),
    (b"<", "HTTP"),
    (b"SSH-", "SSH"),
    (b"220", "SMTP or FTP"),
    (b"421", "SMTP or FTP"),
    (b"5", "text"),
    (b"* ", "IMAP"),
    (b"+OK", "POP3"),
    (b"RFB ", "VNC"),
)


def _not_tls(data: bytes, sent: bytes) -> NotTls:
    if sent and data[:5] == sent[:5]:
        return NotTls(protocol="an echo of our hello", sample=_sample(data))
    for banner, protocol in _BANNERS:
        if data.startswith(banner):
            return NotTls(protocol=protocol, sample=_sample(data))
    is_text = all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data[:40])
    return NotTls(protocol="text" if is_text else "another protocol", sample=_sample(data))


def _sample(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:80])
