"""What a client sends first: ClientHello and SSLv2-format CLIENT-HELLO, decoded leniently and without loss.

RFC 8446 sections 4.1.2, 4.2 and 5.1; RFC 5246 section 7.4.1.2 and appendix E.2; RFC 6066 section 3;
draft-hickman-netscape-ssl-00 for SSLv2; RFC 8701 for GREASE. The client is whoever connects: nothing here raises.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from scanner.model.versions import ALL_VERSIONS, TlsVersion

MAX_HELLO_BYTES = 65_536
"""Most bytes read for one hello, record headers included; longer ones are refused."""

_TOO_LONG = f"a hello of more than {MAX_HELLO_BYTES} bytes"

FALLBACK_SCSV = 0x5600
"""TLS_FALLBACK_SCSV (RFC 7507): the client has tried a higher version before."""
_EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF

_SERVER_NAME = 0
_SUPPORTED_GROUPS = 10
_SIGNATURE_ALGORITHMS = 13
_ALPN = 16
_SUPPORTED_VERSIONS = 43
_RENEGOTIATION_INFO = 0xFF01

_HANDSHAKE = 22
_RECORD_NAMES = {20: "TLS change_cipher_spec", 21: "a TLS alert", 23: "TLS application data", 24: "a TLS heartbeat"}
_RECORD_HEADER_BYTES = 5
# RFC 5246 section 6.2.3 allows this much for protected records; some stacks don't tell them apart.
_MAX_RECORD_BYTES = 16_384 + 2_048
# Type, version, random and the lengths of session id, suites and compression methods.
_SSL2_FIXED_BYTES = 9

GREASE = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Values that mean nothing, sent so that servers keep ignoring what they don't know (RFC 8701 section 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """One hello as it was on the wire. Of an extension sent twice the first is read; all are kept."""

    record_version: int
    """Version of the first record's header; SSLv2 format: the version in the message."""
    legacy_version: int
    """The version in the message: what the client takes at most, where it sends no supported_versions."""
    random: bytes
    """32 bytes; SSLv2 format: the challenge, of any length (16 to 32 by the draft)."""
    session_id: bytes
    """0 to 255 bytes (0 to 32 by the RFC)."""
    suites: tuple[int, ...]
    """As on the wire, GREASE and SCSVs included; SSLv2 format: three-byte cipher kinds, where 0x00xxxx is TLS suite
    0xxxxx."""
    compression: tuple[int, ...]
    """Compression methods; empty in SSLv2 format."""
    extensions: tuple[tuple[int, bytes], ...]
    """Number and data in the order sent; data that was cut off is kept as far as it goes."""
    is_ssl2_format: bool
    """True where the hello came in an SSLv2 record, whatever its version."""
    message: bytes
    """The handshake message with its 4-byte header, without record headers; SSLv2 format: without record header and
    padding."""
    wire_bytes: int
    """Bytes of input the hello took, record headers included; what follows them is not part of it."""

    @property
    def server_name(self) -> str | None:
        """The first host_name of SNI; None where there is none, or it is empty or does not fit."""
        data = self.maybe_extension(_SERVER_NAME)
        at = 2
        while data is not None and at + 3 <= len(data):
            end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
            if data[at] == 0:
                name = data[at + 3 : end]
                return name.decode("ascii", "backslashreplace") if name and end <= len(data) else None
            at = end
        return None

    @property
    def supported_versions(self) -> tuple[int, ...] | None:
        """The versions listed, GREASE left out, in the client's order; None where no list came or it can't be read."""
        data = self.maybe_extension(_SUPPORTED_VERSIONS)
        if data is None or len(data) < 3 or data[0] != len(data) - 1 or data[0] % 2:
            return None
        return _without_grease(_u16s(data[1:]))

    @property
    def groups(self) -> tuple[int, ...]:
        """Code points of supported_groups, GREASE left out; empty where there are none."""
        return self._u16_list(_SUPPORTED_GROUPS)

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """Code points of signature_algorithms, GREASE left out; empty where there are none."""
        return self._u16_list(_SIGNATURE_ALGORITHMS)

    @property
    def alpn(self) -> tuple[bytes, ...]:
        """The protocol names offered, in the client's order (RFC 7301); as many as fit."""
        data = self.maybe_extension(_ALPN) or b""
        found: list[bytes] = []
        at = 2
        while at < len(data) and at + 1 + data[at] <= len(data):
            found.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        return tuple(found)

    @property
    def has_fallback_scsv(self) -> bool:
        """True where the client says that it came down from a higher version (RFC 7507)."""
        return FALLBACK_SCSV in self.suites

    @property
    def has_renegotiation_info(self) -> bool:
        """True where the client signals secure renegotiation, by extension or by SCSV (RFC 5746 section 3.4)."""
        return _EMPTY_RENEGOTIATION_INFO_SCSV in self.suites or self.maybe_extension(_RENEGOTIATION_INFO) is not None

    @property
    def maximum(self) -> TlsVersion | None:
        """The highest version offered that has a name here; None where there is none (drafts only, say).

        Without supported_versions it is at most TLS 1.2, whatever the message says (RFC 8446 section 4.2.1).
        """
        offered = self.offered()
        return offered[0] if offered else None

    def offered(self) -> tuple[TlsVersion, ...]:
        """Return the versions offered for certain, newest first: those listed, else the maximum alone."""
        listed = self.supported_versions
        if listed is not None:
            return tuple(version for version in reversed(_VERSIONS) if version in listed)
        for version in reversed(_VERSIONS):
            if version <= self.legacy_version and version < TlsVersion.TLS1_3:
                return (version,) if version > TlsVersion.SSL2 or self.is_ssl2_format else ()
        return ()

    def may_offer(self, version: TlsVersion) -> bool | None:
        """Return whether this hello offers the version; None where it does not say.

        True where it is listed or is the maximum; False where the list leaves it out or it is above the maximum; None
        for what is below the maximum of a hello without list.
        """
        offered = self.offered()
        if version in offered:
            return True
        if self.supported_versions is not None:
            return False
        if version is TlsVersion.TLS1_3 and self.legacy_version >= version:
            return None  # no server may take it up on this, yet it is no refusal
        if self.is_ssl2_format and version is TlsVersion.SSL2 and max(self.suites, default=0) <= 0xFFFF:
            return False  # nothing an SSLv2 server could choose
        return None if offered and version < offered[0] else False

    def maybe_extension(self, number: int) -> bytes | None:
        """Return the data of the first extension of this number, or None where there is none."""
        for found, data in self.extensions:
            if found == number:
                return data
        return None

    def _u16_list(self, number: int) -> tuple[int, ...]:
        data = self.maybe_extension(number) or b""
        return _without_grease(_u16s(data[2 : 2 + int.from_bytes(data[:2], "big")]))


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedMore:
    """The bytes so far may become a hello."""

    least_bytes: int
    """Fewer bytes than these, counted from the beginning, change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotClientHello:
    """No bytes that follow can make this a hello."""

    reason: str
    """For people: ``HTTP``, ``SSH``, ``a TLS alert``, ``a ClientHello whose cipher suites do not fit``."""
    sample: str
    """The first bytes, printable, at most 80 characters."""


Decoded = ClientHello | NeedMore | NotClientHello


def decode_client_hello(data: bytes) -> Decoded:
    """Return the hello the bytes begin with, or why there is none (yet). Never raises.

    The hello is complete with its last byte, even in the middle of a record. For bytes that come in pieces use
    HelloReader: it looks at each byte once.
    """
    return HelloReader().feed(data)


class HelloReader:
    """Reads one hello from bytes that come in pieces of any size; costs the same in one piece as in many."""

    __slots__ = ("_at", "_buffer", "_decoded", "_least_bytes", "_message", "_message_bytes", "_record_end")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decoded: Decoded = NeedMore(least_bytes=1)
        self._least_bytes = 1
        self._at = 0
        self._record_end = 0
        self._message = bytearray()
        self._message_bytes = 0

    @property
    def received(self) -> bytes:
        """All bytes fed, also those after the hello."""
        return bytes(self._buffer)

    def feed(self, piece: bytes) -> Decoded:
        """Return what the bytes so far are. Never raises; after the answer is known more bytes don't change it."""
        buffer = self._buffer
        buffer += piece
        if len(buffer) < self._least_bytes or not isinstance(self._decoded, NeedMore):
            return self._decoded
        if buffer[0] == _HANDSHAKE:
            self._decoded = self._read_records()
        else:
            self._decoded = _decode_other(buffer)
        if isinstance(self._decoded, NeedMore):
            self._least_bytes = self._decoded.least_bytes
            if self._least_bytes > MAX_HELLO_BYTES:
                self._decoded = _not(_TOO_LONG, buffer)
        return self._decoded

    def _read_records(self) -> Decoded:
        buffer, message = self._buffer, self._message
        while True:
            if self._at == self._record_end:
                wrong = self._read_record_header()
                if wrong is not None:
                    return wrong
            wanted = (self._message_bytes or 4) - len(message)
            end = min(self._record_end, self._at + wanted)
            if end > MAX_HELLO_BYTES:
                return _not(_TOO_LONG, buffer)
            if len(buffer) < end:
                # Only the first byte of a message can end the reading early.
                if not message and len(buffer) > self._at and buffer[self._at] != 1:
                    return _not(f"TLS handshake message {buffer[self._at]}", buffer)
                return NeedMore(least_bytes=end if message or len(buffer) > self._at else self._at + 1)
            message += buffer[self._at : end]
            self._at = end
            if message and message[0] != 1:
                return _not(f"TLS handshake message {message[0]}", buffer)
            if not self._message_bytes and len(message) == 4:
                self._message_bytes = 4 + int.from_bytes(message[1:4], "big")
                if self._message_bytes > MAX_HELLO_BYTES - _RECORD_HEADER_BYTES:
                    return _not(f"a ClientHello of {self._message_bytes} bytes", buffer)
            if 4 <= len(message) == self._message_bytes:
                return _decode_message(bytes(message), buffer, wire_bytes=end)

    def _read_record_header(self) -> NeedMore | NotClientHello | None:
        """Step over the next record's header; return None where that is done."""
        header = self._buffer[self._at : self._at + _RECORD_HEADER_BYTES]
        if header and header[0] != _HANDSHAKE:
            found = _RECORD_NAMES.get(header[0], f"byte {header[0]}")
            return _not(f"{found} in the middle of a hello", self._buffer)
        if len(header) > 1 and header[1] != 3:
            return _not(_guess(self._buffer), self._buffer)
        if len(header) < _RECORD_HEADER_BYTES:
            return NeedMore(least_bytes=self._at + len(header) + 1)
        record_bytes = int.from_bytes(header[3:], "big")
        if record_bytes > _MAX_RECORD_BYTES:
            return _not(f"a TLS record of {record_bytes} bytes", self._buffer)
        self._at += _RECORD_HEADER_BYTES
        self._record_end = self._at + record_bytes
        return None


def _decode_message(message: bytes, buffer: bytearray, *, wire_bytes: int) -> ClientHello | NotClientHello:
    size = len(message)
    if size < 39:
        return _not(f"a ClientHello of {size} bytes", buffer)
    suites_at = 39 + message[38]
    compression_at = suites_at + 2 + int.from_bytes(message[suites_at : suites_at + 2], "big")
    if compression_at >= size:
        where = "session id does" if suites_at + 2 > size else "cipher suites do"
        return _not(f"a ClientHello whose {where} not fit", buffer)
    extensions_at = compression_at + 1 + message[compression_at]
    if extensions_at > size:
        return _not("a ClientHello whose compression methods do not fit", buffer)
    extensions: list[tuple[int, bytes]] = []
    at = extensions_at + 2
    end = min(size, at + int.from_bytes(message[extensions_at:at], "big"))
    while at + 4 <= end:
        data_at = at + 4
        at = data_at + (message[at + 2] << 8 | message[at + 3])
        extensions.append((message[data_at - 4] << 8 | message[data_at - 3], message[data_at : min(at, end)]))
    return ClientHello(
        record_version=buffer[1] << 8 | buffer[2],
        legacy_version=message[4] << 8 | message[5],
        random=message[6:38],
        session_id=message[39:suites_at],
        suites=_u16s(message[suites_at + 2 : compression_at]),
        compression=tuple(message[compression_at + 1 : extensions_at]),
        extensions=tuple(extensions),
        is_ssl2_format=False,
        message=message,
        wire_bytes=wire_bytes,
    )


def _decode_other(buffer: bytearray) -> Decoded:
    """Decode what does not begin like a TLS handshake record: an SSLv2 record, or something else."""
    first = buffer[0]
    header = 2 if first & 0x80 else 3
    # An escape record (0x40) holds no hello; 20 to 24 begin TLS records, as SSLv2 lengths they would be 5 KB and more.
    if (header == 3 and first & 0x40) or 20 <= first <= 24:
        return _not(_guess(buffer), buffer)
    known = bytes(buffer[header : header + 3])
    if not _may_begin_ssl2(known):
        return _not(_guess(buffer), buffer)
    if len(known) < 3:
        return NeedMore(least_bytes=max(len(buffer), header) + 1)
    length = int.from_bytes(buffer[:2], "big") & (0x7FFF if header == 2 else 0x3FFF)
    padding_bytes = buffer[2] if header == 3 else 0
    message_bytes = length - padding_bytes
    if message_bytes < _SSL2_FIXED_BYTES:
        return _not("an SSLv2 record too short for a hello", buffer)
    if len(buffer) < header + _SSL2_FIXED_BYTES:
        return NeedMore(least_bytes=header + _SSL2_FIXED_BYTES)
    kinds_bytes, id_bytes, challenge_bytes = struct.unpack_from(">HHH", buffer, header + 3)
    if _SSL2_FIXED_BYTES + kinds_bytes + id_bytes + challenge_bytes > message_bytes:
        return _not("an SSLv2-format hello whose lengths do not fit", buffer)
    if len(buffer) < header + length:
        return NeedMore(least_bytes=header + length)
    message = bytes(buffer[header : header + message_bytes])
    id_at = _SSL2_FIXED_BYTES + kinds_bytes
    challenge_at = id_at + id_bytes
    version = int.from_bytes(message[1:3], "big")
    return ClientHello(
        record_version=version,
        legacy_version=version,
        random=message[challenge_at : challenge_at + challenge_bytes],
        session_id=message[id_at:challenge_at],
        suites=tuple(
            int.from_bytes(message[at : at + 3], "big")
            for at in range(_SSL2_FIXED_BYTES, _SSL2_FIXED_BYTES + kinds_bytes - 2, 3)
        ),
        compression=(),
        extensions=(),
        is_ssl2_format=True,
        message=message,
        wire_bytes=header + length,
    )


def _may_begin_ssl2(known: bytes) -> bool:
    """Return whether up to three bytes may be a CLIENT-HELLO's type and version: 0x0002 or 0x03xx."""
    if known[:1] not in {b"", b"\x01"} or known[1:2] not in {b"", b"\x00", b"\x03"}:
        return False
    return known[1:2] != b"\x00" or known[2:] in {b"", b"\x02"}


def _u16s(data: bytes) -> tuple[int, ...]:
    """Return the 16-bit numbers; an odd last byte is left out."""
    count = len(data) // 2
    return struct.unpack_from(f">{count}H", data)


def _without_grease(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(number for number in numbers if number not in GREASE)


_VERSIONS = tuple(sorted(ALL_VERSIONS))

_BANNERS = (
    (b"SSH-", "SSH"),
    (b"PROXY ", "the PROXY protocol"),
    (b"\r\n\r\n\x00\r\nQUIT\n", "the PROXY protocol"),
    (b"PRI * HTTP/2", "HTTP"),
    (b"\x05", "SOCKS"),
    (b"\x03\x00\x00", "RDP"),
)


def _guess(data: bytearray) -> str:
    """Return a guess at the protocol, for people."""
    if len(data) > 1 and data[1] == 3 and data[0] in _RECORD_NAMES:
        return _RECORD_NAMES[data[0]]
    for banner, protocol in _BANNERS:
        if data.startswith(banner):
            return protocol
    if b" HTTP/1." in data[:4096].split(b"\n", 1)[0] or data.startswith((b"GET ", b"POST ", b"HEAD ", b"CONNECT ")):
        return "HTTP"
    return "text" if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data[:40]) else "another protocol"


def _not(reason: str, data: bytearray) -> NotClientHello:
    sample = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:80])
    return NotClientHello(reason=reason, sample=sample)
