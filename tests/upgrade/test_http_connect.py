"""CONNECT by scripted bytes: what RFC 9110 and 9112 allow, and what no proxy should say."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner import __version__
from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials
from scanner.upgrade.http_connect import MAX_HEARD_BYTES, http_connect
from tests.upgrade.talk import Peer, converse

DESTINATION = "login.example.com:443"
SIZES = [16_384, 7, 1]


def ask(*answers, size=16_384, credentials=None, auth=None, destination=DESTINATION):
    heard, told = bytearray(), []
    peer = Peer(*answers)
    conversation = http_connect(destination, credentials, auth or ProxyAuth(lambda: "0" * 32), heard, told)
    opening, left = converse(conversation, peer, size=size)
    return opening, bytes(heard), peer.asked, opening.rest + left, told


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
        (b"", "closed without an answer"),
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
    assert answer.startswith(heard)


def test_endless_headers_and_endless_interim_answers_end():
    one = b"A: " + b"b" * 1_000 + b"\r\n"
    opening, heard, *_ = ask(b"HTTP/1.1 200 OK\r\n" + one * 1_000)
    assert not opening.is_open
    assert len(heard) <= MAX_HEARD_BYTES
    opening, heard, *_ = ask(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000)
    assert (opening.is_open, opening.declined) == (False, "the answer has no end")
    assert len(heard) <= MAX_HEARD_BYTES + 16_384


USER = Credentials("lab-user", "lab-secret-7f3a")
BASIC = "Basic bGFiLXVzZXI6bGFiLXNlY3JldC03ZjNh"
"""As coreutils' base64 has it."""
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


def asks(value, *, version="1.1", more="", body=b"Who are you?"):
    head = f"HTTP/{version} 407 Proxy Authentication Required\r\nProxy-Authenticate: {value}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def authorizations(asked):
    return [re.findall(rb"^proxy-authorization: (.*)\r$", out, re.MULTILINE | re.IGNORECASE) for out in asked if out]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("trailing", [b"", b"\x16\x03\x03"])
@pytest.mark.parametrize("body", [b"", b"Who are you?", b"x" * 60_000])
def test_a_proxy_that_asks_and_stays_is_answered_on_the_same_connection(body, trailing, size):
    opening, heard, asked, rest, told = ask(
        asks("Basic realm=x", body=body), OPEN + trailing, credentials=USER, size=size
    )
    assert opening.is_open
    assert authorizations(asked) == [[], [BASIC.encode()]]
    assert (heard, rest, told) == (OPEN, trailing, [BASIC])


@pytest.mark.parametrize("size", SIZES)
def test_a_chunked_body_is_read_to_its_end(size):
    answer = (
        b"HTTP/1.1 407 Asked\r\nProxy-Authenticate: Basic realm=x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )
    opening, _, asked, _, _ = ask(answer, OPEN, credentials=USER, size=size)
    assert opening.is_open
    assert authorizations(asked) == [[], [BASIC.encode()]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "first",
    [
        asks("Basic realm=x", more="Connection: close\r\n"),
        asks("Basic realm=x", version="1.0"),
        b"HTTP/1.1 407 Asked\r\nProxy-Authenticate: Basic realm=x\r\n\r\nuntil the end",
        asks("Basic realm=x")[:-5],
        asks("Basic realm=x", body=b"x" * 300_000),
    ],
)
def test_a_proxy_that_asks_and_closes_is_answered_on_the_next_connection(first, size):
    auth = ProxyAuth()
    opening, _, asked, _, _ = ask(first, credentials=USER, auth=auth, size=size)
    assert (opening.is_open, opening.wants_retry) == (False, True)
    assert opening.declined.startswith("407 ")
    assert authorizations(asked) == [[]]
    opening, _, asked, _, _ = ask(OPEN, credentials=USER, auth=auth, size=size)
    assert opening.is_open
    assert authorizations(asked) == [[BASIC.encode()]]


def test_refused_credentials_are_sent_once_only():
    auth = ProxyAuth()
    opening, _, asked, _, _ = ask(asks("Basic realm=x"), asks("Basic realm=x"), OPEN, credentials=USER, auth=auth)
    assert (opening.is_open, opening.wants_retry) == (False, False)
    assert opening.declined == "407 Proxy Authentication Required: the proxy refused the credentials"
    assert authorizations(asked) == [[], [BASIC.encode()]]
    opening, _, asked, _, _ = ask(asks("Basic realm=x"), OPEN, credentials=USER, auth=auth)
    assert (opening.is_open, opening.wants_retry) == (False, False)
    assert authorizations(asked) == [[]]


def test_401_for_credentials_is_a_refusal_as_well():
    auth = ProxyAuth()
    auth.on_challenge(["Basic realm=x"], has_credentials=True, was_answered=False)
    opening, *_ = ask(b"HTTP/1.0 401 Unauthorized\r\n\r\n", credentials=USER, auth=auth)
    assert opening.declined == "401 Unauthorized: the proxy refused the credentials"
    assert auth.is_refused
    opening, *_ = ask(b"HTTP/1.0 401 Unauthorized\r\n\r\n")
    assert opening.declined == "401 Unauthorized"


def test_a_stale_nonce_is_answered_once_more_on_this_connection_and_then_on_the_next():
    def stale(number):
        return asks(f'Digest realm="r", nonce="{number}", qop="auth", stale=true')

    auth = ProxyAuth()
    opening, _, asked, _, _ = ask(stale(1), stale(2), stale(3), credentials=USER, auth=auth)
    assert (opening.is_open, opening.wants_retry) == (False, True)
    nonces = [re.findall(rb'nonce="(\d)"', out) for out in asked if out]
    assert nonces == [[], [b"1"], [b"2"]]
    opening, _, asked, _, _ = ask(OPEN, credentials=USER, auth=auth)
    assert opening.is_open
    assert re.findall(rb'nonce="(\d)"', asked[0]) == [b"3"]


def test_a_proxy_that_never_stops_asking_ends():
    auth = ProxyAuth()
    stale = asks('Digest realm="r", nonce="1", qop="auth", stale=true')
    outcomes = [ask(*[stale] * 10, credentials=USER, auth=auth)[0].wants_retry for _ in range(10)]
    assert not outcomes[-1]


def test_without_credentials_407_says_what_is_asked_for():
    opening, _, asked, _, _ = ask(asks("Negotiate"))
    assert opening.declined.endswith("the proxy asks for Negotiate, which this program doesn't speak")
    assert len(asked) == 1


ALMOST = st.lists(
    st.sampled_from([b"HTTP/1.1 ", b"200", b"407", b"100", b" OK", b"\r\n", b"\r\n\r\n", b"Content-Length: 3",
                     b"Transfer-Encoding: chunked", b'Proxy-Authenticate: Digest realm="', b"\x00", b"\xff", b": "])
    | st.binary(max_size=20),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(answer=ALMOST | st.binary(max_size=200), size=st.integers(1, 50))
def test_no_answer_raises(answer, size):
    opening, *_ = ask(answer, answer, size=size, credentials=USER)
    assert opening.is_open == (opening.declined is None)
