"""SOCKS5 by scripted bytes; every number is RFC 1928's or 1929's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials
from scanner.upgrade.socks5 import socks5_connect
from tests.upgrade.talk import Peer, converse

USER = Credentials("user", "pässword")
REQUEST = b"\x05\x01\x00\x03\x11login.example.com\x01\xbb"
V4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
V6 = b"\x05\x00\x00\x04" + bytes(16) + b"\x00\x50"
NAMED = b"\x05\x00\x00\x03\x04abcd\x00\x50"
SIZES = [16_384, 1]


def ask(*answers, size=16_384, credentials=None, auth=None, destination="login.example.com:443"):
    """Return (opening, what was asked, what was heard, what comes after)."""
    heard, peer = bytearray(), Peer(*answers)
    conversation = socks5_connect(destination, credentials, auth or ProxyAuth(), heard)
    opening, left = converse(conversation, peer, size=size)
    return opening, [out for out in peer.asked if out], bytes(heard), opening.rest + left


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reply", [V4, V6, NAMED])
@pytest.mark.parametrize("trailing", [b"", b"\x16\x03\x03"])
def test_the_way_opens_and_no_byte_is_lost(reply, trailing, size):
    opening, asked, heard, rest = ask(b"\x05\x00", reply + trailing, size=size)
    assert (opening.is_open, opening.declined) == (True, None)
    assert asked == [b"\x05\x01\x00", REQUEST]
    assert (heard, rest) == (b"\x05\x00" + reply, trailing)


@pytest.mark.parametrize(
    ("destination", "where"),
    [
        ("192.0.2.7:443", b"\x01\xc0\x00\x02\x07\x01\xbb"),
        ("[2001:db8::1]:8443", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x20\xfb"),
        ("a:1", b"\x03\x01a\x00\x01"),
    ],
)
def test_addresses_are_sent_as_addresses_and_names_as_names(destination, where):
    _, asked, _, _ = ask(b"\x05\x00", V4, destination=destination)
    assert asked[1] == b"\x05\x01\x00" + where


@pytest.mark.parametrize("size", SIZES)
def test_the_password_is_sent_where_the_proxy_chooses_it(size):
    opening, asked, _, _ = ask(b"\x05\x02", b"\x01\x00", V4, credentials=USER, size=size)
    assert opening.is_open
    assert asked == [b"\x05\x02\x00\x02", b"\x01\x04user\x09p\xc3\xa4ssword", REQUEST]


def test_the_password_is_not_sent_where_none_is_needed():
    opening, asked, _, _ = ask(b"\x05\x00", V4, credentials=USER)
    assert opening.is_open
    assert asked == [b"\x05\x02\x00\x02", REQUEST]


def test_a_refused_password_is_not_sent_again():
    auth = ProxyAuth()
    opening, *_ = ask(b"\x05\x02", b"\x01\x01", credentials=USER, auth=auth)
    assert opening.declined == "SOCKS5: the proxy refused the credentials"
    opening, asked, *_ = ask(b"\x05\xff", credentials=USER, auth=auth)
    assert opening.declined == "SOCKS5: the proxy refused the credentials before"
    assert asked == [b"\x05\x01\x00"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("answers", "declined"),
    [
        ([], "closed without an answer"),
        ([b"\x05"], "closed in the middle of its answer"),
        ([b"\x05\xff"], "SOCKS5: the proxy accepts nobody without authentication (no acceptable methods)"),
        ([b"\x05\x01"], "SOCKS5: the proxy chose GSS-API, which was not offered"),
        ([b"\x05\x02"], "SOCKS5: the proxy chose method 2, which was not offered"),
        ([b"\x04\x5a"], "the answer is not SOCKS5"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "the answer is not SOCKS5"),
        ([b"\x05\x00", b"\x05\x02\x00\x01" + bytes(6)], "SOCKS5 reply 2: connection not allowed by ruleset"),
        ([b"\x05\x00", b"\x05\x05"], "SOCKS5 reply 5: connection refused"),
        ([b"\x05\x00", b"\x05\x63"], "SOCKS5 reply 99: not assigned"),
        ([b"\x05\x00", b"\x05\x00\x00\x07\x00"], "the answer is not SOCKS5: address type 7"),
        ([b"\x05\x00", b"\x04\x00"], "the answer is not SOCKS5"),
        ([b"\x05\x00", V4[:-1]], "closed in the middle of its answer"),
    ],
)
def test_what_does_not_open_the_way_declines(answers, declined, size):
    opening, *_ = ask(*answers, size=size)
    assert (opening.is_open, opening.declined) == (False, declined)


@pytest.mark.parametrize(
    "credentials", [Credentials("u", "x" * 256), Credentials("é" * 128, "x"), Credentials("u", "")]
)
def test_what_rfc_1929_can_not_carry_is_said(credentials):
    conversation = socks5_connect("a:1", credentials, ProxyAuth(), bytearray())
    with pytest.raises(StopIteration) as stop:
        next(conversation)
    assert "255 bytes" in stop.value.value.declined


ANSWER = st.sampled_from([b"\x05\x00", b"\x05\x02", b"\x01\x00", V4, NAMED]) | st.binary(max_size=12)


@given(answers=st.lists(ANSWER, max_size=5), size=st.integers(1, 20))
def test_no_answer_raises(answers, size):
    opening, *_ = ask(*answers, size=size, credentials=USER)
    assert opening.is_open == (opening.declined is None)
