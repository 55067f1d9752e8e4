"""CONNECT to an HTTP proxy (RFC 9110 section 9.3.6) as a conversation without I/O, by h11. Never raises for a peer."""

from __future__ import annotations

from collections.abc import Generator

import h11

from scanner import __version__
from scanner.untrusted import clean_text
from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials
from scanner.upgrade.opening import Opening

MAX_HEAD_BYTES = 65_536
"""Longest status line and header fields taken."""
MAX_HEARD_BYTES = 131_072
"""Most bytes taken from a proxy before the way is open."""

_BEGIN = b"HTTP/"
_MAX_ROUNDS = 3  # without credentials, with them, and once more where the nonce was stale
_UNAUTHORIZED = 401
_AUTHENTICATION_REQUIRED = 407


def http_connect(
    destination: str, credentials: Credentials | None, auth: ProxyAuth, heard: bytearray, told: list[str]
) -> Generator[bytes, bytes, Opening]:
    """Ask for destination (``host:port``), as often as it takes to authenticate, and return what came of it.

    ``heard`` takes the bytes of the last answer; ``told`` takes each Proxy-Authorization that was sent, so that the
    caller can keep them out of sight. An answer to 407 goes over the same connection where the proxy keeps it open;
    else ``wants_retry`` says that it should go over the next.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    for _ in range(_MAX_ROUNDS):
        authorization = auth.render(credentials, method="CONNECT", uri=destination)
        if authorization is not None:
            told.append(authorization)
        heard.clear()
        head = yield from _ask(connection, _encode_connect(connection, destination, authorization), heard)
        if not isinstance(head, h11.Response):
            return Opening(is_open=False, declined=head)
        if 200 <= head.status_code < 300:  # any 2xx (RFC 9110 section 9.3.6)
            auth.on_accepted()
            rest = connection.trailing_data[0]
            del heard[len(heard) - len(rest) :]
            return Opening(is_open=True, rest=rest)
        status = _status(head)
        if head.status_code == _UNAUTHORIZED and authorization is not None:  # tinyproxy 1.11's word for wrong ones
            auth.on_refused()
            return Opening(is_open=False, declined=f"{status}: the proxy refused the credentials")
        if head.status_code != _AUTHENTICATION_REQUIRED:
            return Opening(is_open=False, declined=status)
        why_not = auth.on_challenge(
            [value.decode("latin-1") for name, value in head.headers if name == b"proxy-authenticate"],
            has_credentials=credentials is not None,
            was_answered=authorization is not None,
        )
        if why_not is not None:
            return Opening(is_open=False, declined=f"{status}: {why_not}")
        if not (yield from _read_to_end(connection, head, heard)):
            return Opening(is_open=False, declined=status, wants_retry=True)
    return Opening(is_open=False, declined=status, wants_retry=True)


def _encode_connect(connection: h11.Connection, destination: str, authorization: str | None) -> bytes:
    fields = [("Host", destination), ("User-Agent", f"entra-tls/{__version__}")]
    if authorization is not None:
        fields.append(("Proxy-Authorization", authorization))
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields]
    request = connection.send(h11.Request(method="CONNECT", target=destination, headers=encoded))
    return (request or b"") + (connection.send(h11.EndOfMessage()) or b"")


def _ask(connection: h11.Connection, out: bytes, heard: bytearray) -> Generator[bytes, bytes, h11.Response | str]:
    """Send, and return the final response's head, or why there is none."""
    while True:
        received = yield out
        out = b""
        heard += received
        # h11 would wait for an empty line, which an SSH banner or a TLS alert does not have.
        if not _BEGIN.startswith(heard[: len(_BEGIN)]):
            return "the answer is not HTTP"
        if not received:
            return "closed in the middle of its answer" if heard else "closed without an answer"
        try:
            connection.receive_data(received)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    return "the answer is not HTTP"
        except h11.RemoteProtocolError:
            return "the answer is not HTTP/1 as it should be"
        if len(heard) > MAX_HEARD_BYTES:
            return "the answer has no end"


def _read_to_end(connection: h11.Connection, head: h11.Response, heard: bytearray) -> Generator[bytes, bytes, bool]:
    """Read the body; return whether the connection can be asked again."""
    names = {name for name, _ in head.headers}
    if not names & {b"content-length", b"transfer-encoding"} or head.http_version < b"1.1":
        return False  # the end of the body is the end of the connection
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if len(heard) > MAX_HEARD_BYTES:
                    return False
                received = yield b""
                heard += received
                connection.receive_data(received)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.Data):
                return False
        if connection.their_state is not h11.DONE:
            return False
        connection.start_next_cycle()
    except h11.ProtocolError:
        return False
    return True


def _status(head: h11.Response) -> str:
    reason = clean_text(head.reason.decode("latin-1"), max_chars=100)
    return f"{head.status_code} {reason}".rstrip()
