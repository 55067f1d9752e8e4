"""Independent clients for the peers' own tests: hellos and parsers of tlslite-ng, and Python's OpenSSL."""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from dataclasses import dataclass

from scanner.model.versions import TlsVersion

with warnings.catch_warnings():
    # tlslite-ng imports asyncore, which warns, for an integration that is not used here.
    warnings.simplefilter("ignore", DeprecationWarning)
    from tlslite.constants import TLS_1_3_HRR
    from tlslite.extensions import (
        ClientKeyShareExtension,
        KeyShareEntry,
        PaddingExtension,
        SNIExtension,
        StatusRequestExtension,
        SupportedGroupsExtension,
        SupportedVersionsExtension,
    )
    from tlslite.messages import ClientHello, RecordHeader2, RecordHeader3, ServerHello, ServerHello2
    from tlslite.utils.codec import Parser

HELLO_RETRY_RANDOM = bytes(TLS_1_3_HRR)
TLS12_SUITES = [0xC02F, 0xC030, 0x009C, 0xC013, 0xC014, 0x002F, 0x0035, 0x000A, 0x0005]
TLS13_SUITES = [0x1301, 0x1302, 0x1303]
RARE_SUITES = [0x0003, 0x0006, 0x0008, 0x008C, 0x00A8, 0x00AE]
SSL2_KINDS = [0x010080, 0x0700C0]


def pair(version: int) -> tuple[int, int]:
    return version >> 8, version & 0xFF


def make_hello(
    version: TlsVersion,
    *,
    server_name: str | None = None,
    suites: list[int] | None = None,
    has_scsv: bool = True,
    has_shares: bool = True,
    has_status_request: bool = False,
    padding_bytes: int = 0,
) -> bytes:
    """Return a hello for one version, record included, encoded by tlslite-ng."""
    if version is TlsVersion.SSL2:
        hello = ClientHello(ssl2=True).create((0, 2), bytearray(16), bytearray(0), suites or SSL2_KINDS)
        body = hello.write()
        return bytes(RecordHeader2().create(len(body)).write() + body)
    suites = list(suites or (TLS13_SUITES if version is TlsVersion.TLS1_3 else TLS12_SUITES))
    if has_scsv:
        suites.append(0x00FF)
    extensions: list[object] = []
    if server_name is not None:
        extensions.append(SNIExtension().create(bytearray(server_name.encode("ascii"))))
    extensions.append(SupportedGroupsExtension().create([0x001D, 0x0017]))
    if version is TlsVersion.TLS1_3:
        extensions.append(SupportedVersionsExtension().create([(3, 4)]))
        shares = [KeyShareEntry().create(0x001D, bytearray(b"\x09" + bytes(31)))] if has_shares else []
        extensions.append(ClientKeyShareExtension().create(shares))
    if has_status_request:
        extensions.append(StatusRequestExtension().create())
    if padding_bytes:
        extensions.append(PaddingExtension().create(padding_bytes))
    legacy = pair(min(version, TlsVersion.TLS1_2))
    hello = ClientHello().create(legacy, bytearray(range(32)), bytearray(0), suites, extensions=extensions)
    body = hello.write()
    return bytes(RecordHeader3().create(min(legacy, (3, 1)), 22, len(body)).write() + body)


def parse_server_hello(data: bytes) -> ServerHello | None:
    """Return the first ServerHello in a stream of TLS records, parsed by tlslite-ng; None where there is none."""
    message, begin = b"", 0
    while begin + 5 <= len(data):
        end = begin + 5 + int.from_bytes(data[begin + 3 : begin + 5], "big")
        if data[begin] == 22:
            message += data[begin + 5 : end]
        begin = end
    if len(message) < 4 or message[0] != 2:
        return None
    length = int.from_bytes(message[1:4], "big")
    if len(message) < 4 + length:
        return None
    # tlslite-ng's parsers begin after the type byte.
    return ServerHello().parse(Parser(bytearray(message[1 : 4 + length])))


def parse_ssl2_server_hello(data: bytes) -> ServerHello2 | None:
    """Return an SSLv2 SERVER-HELLO parsed by tlslite-ng, else None."""
    if len(data) < 3 or not data[0] & 0x80 or data[2] != 4:
        return None
    return ServerHello2().parse(Parser(bytearray(data[3:])))


def version_of(data: bytes) -> int | None:
    """Return the version number that a reply settles for, by tlslite-ng's parsers; None where it is no ServerHello."""
    old = parse_ssl2_server_hello(data)
    if old is not None:
        return old.server_version[0] << 8 | old.server_version[1]
    hello = parse_server_hello(data)
    if hello is None:
        return None
    extension = hello.getExtension(43)
    major, minor = hello.server_version if extension is None else extension.version
    return major << 8 | minor


def parse_alert(data: bytes) -> tuple[int, int] | None:
    """Return level and description of a stream that is one alert record, else None."""
    return (data[5], data[6]) if len(data) == 7 and data[0] == 21 and data[3:5] == b"\0\2" else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one connection brought."""

    data: bytes
    ending: str
    """``answered``, ``fin``, ``reset``, ``silent``, ``endless``, ``no-connection``, ``refused``."""


def ask(
    peer: tuple[str, int], hello: bytes, *, limit_s: float = 1.0, most_bytes: int = 1 << 20, is_patient: bool = False
) -> Outcome:
    """Send a hello and read until there is a ServerHello, the peer ends, limit_s passes idle, or most_bytes came.

    A patient client does not stop at the ServerHello.
    """
    data = b""
    try:
        sock = socket.create_connection(peer, timeout=limit_s)
    except TimeoutError:
        return Outcome(b"", "no-connection")
    except ConnectionRefusedError:
        return Outcome(b"", "refused")
    except ConnectionResetError:
        # A reset at once can overtake connect's own success.
        return Outcome(b"", "reset")
    with sock:
        try:
            sock.sendall(hello)
            while len(data) < most_bytes:
                chunk = sock.recv(65536)
                if not chunk:
                    return Outcome(data, "fin")
                data += chunk
                if not is_patient and version_of(data) is not None:
                    return Outcome(data, "answered")
        except TimeoutError:
            return Outcome(data, "silent")
        except (ConnectionResetError, BrokenPipeError):
            return Outcome(data, "reset")
    return Outcome(data, "endless")


def openssl_answer(peer: tuple[str, int], version: ssl.TLSVersion, server_name: str | None = None) -> str:
    """Return what Python's OpenSSL makes of the answer to its own hello for one version.

    ``ServerHello TLSv1_2`` as its message callback names it, or the reason of its error.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    seen: list[str] = []

    def note(_conn: object, direction: str, _version: object, _type: object, message: object, data: bytes) -> None:
        name = getattr(message, "name", "")
        if direction == "read" and name == "SERVER_HELLO":
            seen.append(f"ServerHello {data[4:6].hex()}")

    context._msg_callback = note
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with socket.create_connection(peer, timeout=5) as sock, contextlib.suppress(TimeoutError):
        while not seen:
            try:
                engine.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                if not seen:
                    return str(error.reason)
                break
            if outgoing.pending:
                sock.sendall(outgoing.read())
            if not seen:
                try:
                    chunk = sock.recv(65536)
                except ConnectionResetError:
                    return "reset"
                if chunk:
                    incoming.write(chunk)
                else:
                    incoming.write_eof()
    return seen[0] if seen else "nothing"
