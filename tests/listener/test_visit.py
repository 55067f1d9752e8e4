from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.listener.visit import MAX_HEAD_BYTES, Visit, clean_path
from scanner.probes.http import decode_http_response
from tests.listener.test_pages import visitor

REQUEST = b"GET /t/abc HTTP/1.1\r\nHost: a.test\r\nCookie: secret=1\r\n\r\n"


def test_one_request_is_answered_and_the_connection_closed():
    visit = Visit()
    response = decode_http_response(visit.answer(REQUEST, visitor()))
    assert (response.status, response.is_whole, response.header("connection")) == (200, True, "close")
    assert response.header("cache-control") == "no-store"
    assert visit.path == "/t/abc"


def test_a_request_may_come_in_pieces():
    visit = Visit()
    for at in range(len(REQUEST) - 1):
        assert visit.answer(REQUEST[at : at + 1], visitor()) is None
    assert visit.answer(REQUEST[-1:], visitor()).startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_has_the_length_but_no_body():
    response = Visit().answer(REQUEST.replace(b"GET", b"HEAD"), visitor())
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"content-length:" in head.lower()
    assert body == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"GET /x HTTP/1.0\r\n\r\n", 404),
        (b"\x16\x03\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # RFC 9112 section 3.2: Host is a must
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MAX_HEAD_BYTES, 431),
    ],
)
def test_other_requests_get_their_status(request_bytes, status):
    assert decode_http_response(Visit().answer(request_bytes, visitor())).status == status


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/a\x00b\x1b[31m", "/ab[31m"), ("/" + "a" * 999, "/" + "a" * 255), ("/\x85\xa0\xad", "/"), ("/é", "/é")],
)
def test_a_path_is_kept_clean_and_short(target, expected):
    assert clean_path(target) == expected


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_bytes_raise(pieces):
    visit = Visit()
    for piece in pieces:
        if piece and visit.answer(piece, visitor()) is not None:
            return
