"""Responses are written out as RFC 9112 frames them; the request is read by the standard library's own parser."""

from __future__ import annotations

import http.server
import io

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scanner import __version__
from scanner.probes.http import HttpResponse, NotHttp, decode_http_response, http_get

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (  # RFC 9112 section 7.1: two chunks, an extension, a trailer field
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nExpires: never\r\n\r\n"
)
CLOSED = b"HTTP/1.0 503 Service Unavailable\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\nup to the end"
EMPTY = b"HTTP/1.1 204 \r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH

WHOLE = [
    (LENGTH, 200, "OK", b"hello", True),
    (CHUNKED, 404, "Not Found", b"Wikipedia", True),
    (CLOSED, 503, "Service Unavailable", b"up to the end", False),
    (EMPTY, 204, "", b"", True),
    (INTERIM, 200, "OK", b"hello", True),
]
"""Bytes, status, reason, body, and whether the framing tells where it ends."""


def _converse(pieces, **options):
    """Feed a conversation; return the bytes it sent and how many pieces it took (None: it wanted more)."""
    talk = http_get(**{"host": "sts.example.test", "path": "/adfs/probe"} | options)
    sent = bytearray(next(talk))
    for count, piece in enumerate(pieces, 1):
        try:
            sent += talk.send(piece)
        except StopIteration:
            return bytes(sent), count
    return bytes(sent), None


def _one_by_one(data):
    return [data[i : i + 1] for i in range(len(data))]


class _Request(http.server.BaseHTTPRequestHandler):
    """The standard library's parser of requests, without a socket."""

    def __init__(self, data):
        self.rfile, self.wfile = io.BytesIO(data), io.BytesIO()
        self.raw_requestline = self.rfile.readline()
        self.is_read = self.parse_request()


def test_the_request_is_one_get_that_asks_for_the_connection_to_be_closed():
    sent, _ = _converse([], headers=[("Accept", "application/json"), ("ocp-adrs-client-name", "dsreg")])
    request = _Request(sent)
    assert request.is_read
    assert (request.command, request.path, request.request_version) == ("GET", "/adfs/probe", "HTTP/1.1")
    assert dict(request.headers.items()) == {
        "Host": "sts.example.test",
        "User-Agent": f"entra-tls/{__version__}",
        "Accept": "application/json",
        "ocp-adrs-client-name": "dsreg",
        "Connection": "close",
    }
    assert request.rfile.read() == b""


def test_what_can_not_be_sent_raises_before_anything_is_sent():
    with pytest.raises(h11.LocalProtocolError):
        next(http_get(host="sts.example.test\r\nX: y", path="/"))
    with pytest.raises(h11.LocalProtocolError):
        next(http_get(host="sts.example.test", path="/ HTTP/1.1\r\nX: y"))


@pytest.mark.parametrize(("data", "status", "reason", "body", "is_framed"), WHOLE)
def test_a_whole_response_is_decoded(data, status, reason, body, is_framed):
    response = decode_http_response(data)
    assert isinstance(response, HttpResponse)
    assert (response.status, response.reason, response.body, response.is_whole) == (status, reason, body, True)


@pytest.mark.parametrize(("data", "status", "reason", "body", "is_framed"), WHOLE)
def test_the_conversation_ends_with_the_response_and_not_before(data, status, reason, body, is_framed):
    assert _converse([data])[1] == (1 if is_framed else None)
    assert _converse(_one_by_one(data))[1] == (len(data) if is_framed else None)
    assert _converse([*_one_by_one(data), b""])[1] == len(data) + (0 if is_framed else 1)


@pytest.mark.parametrize(("data", "status", "reason", "body", "is_framed"), [one for one in WHOLE if one[4]])
def test_bytes_after_the_response_change_nothing(data, status, reason, body, is_framed):
    assert decode_http_response(data + b"HTTP/1.1 500 Another\r\n\r\n") == decode_http_response(data)
    assert _converse([data + b"\x00trailing"])[1] == 1


@pytest.mark.parametrize(("data", "status", "reason", "body", "is_framed"), WHOLE)
def test_every_prefix_is_a_response_cut_short_or_none(data, status, reason, body, is_framed):
    for end in range(len(data)):
        part = decode_http_response(data[:end])
        if isinstance(part, NotHttp):
            assert part.begin == data[:end][:64]
        else:
            assert part.status == status
            assert body.startswith(part.body)
            assert part.is_whole is not is_framed  # without framing, what came is all that can be known


def test_header_fields_are_found_by_their_name_in_lower_case():
    response = decode_http_response(CLOSED)
    assert response.header("server") == "Microsoft-HTTPAPI/2.0"
    assert response.header("location") is None
    assert response.headers == (("server", "Microsoft-HTTPAPI/2.0"),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"<html>",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
def test_what_is_no_response_is_told_with_its_first_bytes(data):
    seen = decode_http_response(data)
    assert isinstance(seen, NotHttp)
    assert seen.begin == data[:64]
    assert seen.reason


def test_what_is_no_response_ends_the_conversation():
    assert _converse([b"SSH-2.0-OpenSSH_9.2p1\r\n", b"more"])[1] == 1
    assert _converse([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, b""])[1] == 1
    assert _converse([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"", b""])[1] is not None


def test_a_body_is_bounded_in_conversation_and_decoding():
    endless = [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 1_000] * 50]
    assert _converse(endless, max_body_bytes=10_000)[1] == 11
    response = decode_http_response(b"".join(endless), max_body_bytes=10_000)
    assert (response.body, response.is_whole) == (b"x" * 10_000, False)
    exact = decode_http_response(LENGTH, max_body_bytes=5)
    assert (exact.body, exact.is_whole) == (b"hello", True)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nZZ\r\n",
    ],
)
def test_a_body_that_breaks_off_keeps_its_begin(data):
    response = decode_http_response(data)
    assert (response.status, response.body, response.is_whole) == (200, b"short", False)


@given(st.binary(max_size=400), st.lists(st.integers(1, 40), max_size=20))
@example(LENGTH, [1, 2, 3])
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", [])
@example(b"HTTP/1.1 101 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n", [18])
def test_no_bytes_raise_however_they_are_cut(data, sizes):
    assert isinstance(decode_http_response(data), HttpResponse | NotHttp)
    pieces, rest = [], data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert _converse([piece for piece in [*pieces, rest] if piece] + [b""])[1] is not None


@given(st.sampled_from([one[0] for one in WHOLE]), st.integers(0, 200), st.integers(0, 255))
def test_no_changed_byte_raises(data, position, value):
    changed = bytearray(data)
    changed[position % len(data)] = value
    assert isinstance(decode_http_response(bytes(changed)), HttpResponse | NotHttp)
    assert _converse([*_one_by_one(bytes(changed)), b""])[1] is not None
