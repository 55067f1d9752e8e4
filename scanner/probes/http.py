"""One HTTP/1.1 GET without I/O: the conversation, and what the recorded bytes of its answer say (RFC 9112)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from scanner import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

MAX_HEAD_BYTES = 65_536
"""Longest status line and header fields read; h11's default of 16 KiB is less than some proxies' cookies need."""

_BEGIN = b"HTTP/"

_NOT_HTTP_SHOWN_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A final response (status 200 and above). All text is from the network: bound and escape it."""

    status: int
    """Status code."""
    reason: str
    """Reason phrase; may be empty."""
    headers: tuple[tuple[str, str], ...]
    """Field names in lower case, values as sent (ISO 8859-1)."""
    body: bytes
    """The content without transfer coding, cut at the bound given to the decoder."""
    is_whole: bool
    """Whether the body came to the end that its framing announced, or, where it announced none, to the end of the
    recorded bytes; False where it was cut."""

    def header(self, name: str) -> str | None:
        """Return the first value of a field by its name in lower case."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHttp:
    """Bytes that are no HTTP/1 response, or do not yet make one."""

    reason: str
    """Why, for people."""
    begin: bytes
    """The first bytes, at most 64."""


def http_get(
    *, host: str, path: str, headers: Sequence[tuple[str, str]] = (), max_body_bytes: int = 65_536
) -> Generator[bytes, bytes, None]:
    """Ask for path, and return when the response is complete, or can't become one.

    Yields bytes to send (b"" for none) and is sent bytes received (b"" once the peer has closed). host is the Host
    field's value, with the port where it is not the scheme's (RFC 9110 section 7.2). Anything a peer sends ends it at
    worst; h11.LocalProtocolError is raised at the first step where host, path or headers can't be sent.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    received = yield _encode_request(connection, host=host, path=path, headers=headers)
    body_bytes = 0
    begin = b""
    while True:
        # h11 would wait for an empty line, which an SSH banner or a TLS alert does not have.
        begin = (begin + received[: len(_BEGIN)])[: len(_BEGIN)]
        if not _BEGIN.startswith(begin):
            return
        try:
            connection.receive_data(received)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    break
                if isinstance(event, h11.Data):
                    body_bytes += len(event.data)
                elif not isinstance(event, h11.InformationalResponse | h11.Response):
                    return  # the end of the message, or of the connection, or another protocol (h11.PAUSED)
        except h11.RemoteProtocolError:
            return
        if not received or body_bytes >= max_body_bytes:
            return
        received = yield b""


def _encode_request(connection: h11.Connection, *, host: str, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    fields = [("Host", host), ("User-Agent", f"entra-tls/{__version__}"), *headers, ("Connection", "close")]
    request = connection.send(h11.Request(method="GET", target=path, headers=fields))
    return (request or b"") + (connection.send(h11.EndOfMessage()) or b"")


def decode_http_response(data: bytes, *, max_body_bytes: int = 65_536) -> HttpResponse | NotHttp:
    """Decode the bytes that came in answer to http_get; never raises.

    A response cut short keeps what there is of its body. Interim responses (status 1xx) are passed over.
    """
    if not data or not _BEGIN.startswith(data[: len(_BEGIN)]):
        reason = "it does not begin as HTTP does" if data else "no bytes"
        return NotHttp(reason=reason, begin=data[:_NOT_HTTP_SHOWN_BYTES])
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    # h11 must know the question, as a HEAD's answer would have no body.
    _encode_request(connection, host="decoder", path="/", headers=())
    head: h11.Response | None = None
    body = bytearray()
    is_whole = False
    reason = "it ends before the header does"
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while len(body) <= max_body_bytes:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                is_whole = True
                break
            elif not isinstance(event, h11.InformationalResponse):
                break
    except h11.RemoteProtocolError as error:
        reason = str(error) or type(error).__name__
    if head is None:
        return NotHttp(reason=reason, begin=data[:_NOT_HTTP_SHOWN_BYTES])
    return HttpResponse(
        status=head.status_code,
        reason=head.reason.decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers),
        body=bytes(body[:max_body_bytes]),
        is_whole=is_whole,
    )
