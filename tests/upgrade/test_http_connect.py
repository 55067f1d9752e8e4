"""CONNECT by scripted bytes: what RFC 9110 and 9112 allow, and what no proxy should say."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner import __version__
from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.http_connect import MAX_HEARD_BYTES, http_connect
from tests.upgrade.talk import Peer

DESTINATION = "login.example.com:443"
SIZES = [16_384, 7, 1]


def ask(*answers, size=16_384, credentials=None, auth=None, destination=DESTINATION):
    heard, told = bytearray(), []
    conversation = http_connect(destination, credentials, auth or ProxyAuth(lambda: "0" * 32), heard, told)
    peer = Peer(*answers)
    data = b""
    try:
        out = next(conversation)
        while True:
            data = peer(out)
            if data is None:
                conversation.send(b"")
                raise AssertionError("it goes on after the peer has closed")
            out = b""
            while data:
                out += conversation.send(data[:size])
                data = data[size:]
    except StopIteration as stop:
        opening = stop.value
    # What the network would hand to the next reader.
    rest = opening.rest + (data[size:] if data else b"")
    return opening, bytes(heard), peer.asked, rest, told


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
@pytest.mark.parametrize("trailing", [b"", b"\x16\x03\x03\x00\x05hello"])
def test_any_2xx_opens_the_way_and_no_byte_of_the_destination_is_lost(head, trailing, size):
    opening, heard, _, rest, _ = ask(head + trailing, size=size)
    assert (opening.is_open, opening.declined, opening.wants_retry) == (True, None, False)
    assert (heard, rest) == (head, trailing)


@pytest.mark.parametrize("destination", ["login.example.com:443", "192.0.2.7:8443", "[2001:db8::1]:443"])
def test_the_request_is_as_the_rfc_has_it(destination):
    _, _, asked, _, _ = ask(b"HTTP/1.1 200 OK\r\n\r\n", destination=destination)
    server = h11.Connection(h11.SERVER)
    server.receive_data(asked[0])
    request = server.next_event()
    assert (request.method, request.target, request.http_version) == (b"CONNECT", destination.encode(), b"1.1")
    assert list(request.headers) == [
        (b"host", destination.encode()),
        (b"user-agent", b"entra-tls/" + __version__.encode()),
    ]
    assert isinstance(server.next_event(), h11.EndOfMessage)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "status", ["403 Forbidden", "500 Internal Server Error", "502 Bad Gateway", "503", "302 Found"]
)
def test_another_status_declines(status, size):
    opening, heard, asked, _, _ = ask(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode(), size=size)
    assert (opening.is_open, opening.declined, opening.wants_retry) == (False, status, False)
    assert heard.startswith(b"HTTP/1.1 " + status.encode())
    assert asked[1:] == []


def test_a_reason_can_not_steer_a_terminal():
    opening, *_ = ask(b"HTTP/1.1 403 \x80\x9b31mred" + b"x" * 500 + b"\r\n\r\n")
    assert opening.declined.startswith("403 ")
    assert opening.declined.isprintable()
    assert len(opening.declined) < 110


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "closed without an answer"),
        (b"HT", "closed in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n", "closed in the middle of its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "the answer is not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "the answer is not HTTP/1 as it should be"),
        (b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "the answer is not HTTP/1 as it should be"),
        (b"HTTP/2 200 OK\r\n\r\n", "the answer is not HTTP/1 as it should be"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the answer is not HTTP"),
    ],
)
def test_what_is_no_answer_declines(answer, why, size):
    opening, heard, *_ = ask(answer, size=size)
    assert not opening.is_open
    assert opening.declined.startswith(why)
    assert (answer or b"").startswith(heard)


def test_endless_headers_and_endless_interim_answers_end():
    one = b"A: " + b"b" * 1_000 + b"\r\n"
    opening, heard, *_ = ask(b"HTTP/1.1 200 OK\r\n" + one * 1_000)
    assert not opening.is_open
    assert len(heard) <= MAX_HEARD_BYTES
    opening, heard, *_ = ask(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000)
    assert (opening.is_open, opening.declined) == (False, "the answer has no end")
    assert len(heard) <= MAX_HEARD_BYTES + 16_384


ALMOST = st.lists(
    st.sampled_from([b"HTTP/1.1 ", b"200", b"407", b"100", b" OK", b"\r\n", b"\r\n\r\n", b"Content-Length: 3",
                     b"Transfer-Encoding: chunked", b'Proxy-Authenticate: Digest realm="', b"\x00", b"\xff", b": "])
    | st.binary(max_size=20),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(answer=ALMOST | st.binary(max_size=200), size=st.integers(1, 50))
def test_no_answer_raises(answer, size):
    opening, *_ = ask(answer or None, size=size)
    assert opening.is_open == (opening.declined is None)
