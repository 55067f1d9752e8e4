"""Macs as another program computes them, and bodies that are decoded strictly or not at all."""

import base64
import json
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.listener.messages import (
    MAX_BODY_BYTES,
    WINDOW_S,
    MessageError,
    SeenNonces,
    decode_about,
    decode_exchanges,
    derive_key,
    encode_about,
    encode_exchanges,
    is_in_time,
    is_same_mac,
    request_mac,
    response_mac,
)
from scanner.model.exchange import Ending
from tests.listener.samples import exchange

KEY = bytes(range(32))


def openssl_hmac(key, message):
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}"]
    said = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    return said.decode().rsplit("= ", 1)[1].strip()


def test_the_key_is_not_the_secret():
    assert derive_key(b"secret").hex() == openssl_hmac(b"secret", b"entra-tls-api/1")


def test_request_and_response_macs_are_what_openssl_computes():
    mac = request_mac(KEY, method="GET", target="/v1/about", nonce="n1", time_text="17", leaf_sha256="ab")
    assert mac == openssl_hmac(KEY, b"7:request3:GET9:/v1/about2:n12:172:ab")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing (FIPS 180-4)
    mac = response_mac(KEY, nonce="n1", leaf_sha256="ab", status=200, body=b"")
    assert mac == openssl_hmac(KEY, b"8:response2:n12:ab3:20064:" + empty.encode())


def test_each_part_of_a_request_changes_its_mac():
    parts = {"method": "GET", "target": "/a", "nonce": "n", "time_text": "1", "leaf_sha256": "f"}
    macs = {request_mac(KEY, **(parts | {name: value + "x"})) for name, value in parts.items()}
    assert len(macs | {request_mac(KEY, **parts)}) == len(parts) + 1
    moved = request_mac(KEY, method="GET", target="/an", nonce="", time_text="1", leaf_sha256="f")
    assert moved != request_mac(KEY, **parts)


def test_macs_of_any_text_are_compared():
    assert is_same_mac("ab", "ab")
    assert not is_same_mac("ab", "ac")
    assert not is_same_mac("ab", "\u00fc\udcff")


def test_a_nonce_is_good_once_and_forgotten_when_its_time_is_over():
    seen = SeenNonces(most_count=2)
    assert seen.is_fresh("a", now_s=0)
    assert not seen.is_fresh("a", now_s=2 * WINDOW_S)
    assert seen.is_fresh("b", now_s=1)
    assert not seen.is_fresh("c", now_s=2)  # no room: refused rather than forgotten
    assert seen.is_fresh("c", now_s=2 * WINDOW_S + 0.5)


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("1000", True),
        (str(1000 + int(WINDOW_S)), True),
        (str(1001 + int(WINDOW_S)), False),
        (str(999 - int(WINDOW_S)), False),
        ("-1000", False),
        ("1000.0", False),
        ("", False),
        ("\u0661\u0660\u0660\u0660", False),
        ("9" * 4000, False),
    ],
)
def test_the_window(text, is_good):
    assert is_in_time(text, now_s=1000.0) is is_good


def test_about():
    about = {"suffix": "l.example", "ca_sha256": "ab", "version": "1"}
    assert decode_about(encode_about(about)) == about


@pytest.mark.parametrize(
    "body", [b'{"v": 1, "suffix": 3, "ca_sha256": "", "version": ""}', b'{"v": 1}', b"[]", b"\xff"]
)
def test_about_of_another_form(body):
    with pytest.raises(MessageError):
        decode_about(body)


@pytest.mark.parametrize(
    "each",
    [
        exchange(),
        exchange(engine=None, version=None, path=None, server_name=None),
        exchange(ending=Ending.PEER_RESET, os_error="ECONNRESET", received=bytes(65_536)),
    ],
)
def test_exchanges_come_back_whole(each):
    assert decode_exchanges(encode_exchanges([each, each])) == [each, each]


def test_bytes_are_base64_and_times_are_utc_on_the_wire():
    document = json.loads(encode_exchanges([exchange(7, received=b"\x00\xff")]))
    assert document["v"] == 1
    assert document["is_cut"] is False
    found = document["exchanges"][0]
    assert base64.b64decode(found["received"]) == b"\x00\xff"
    assert (found["id"], found["version"], found["ending"]) == (7, "TLS1.2", "complete")
    assert datetime.fromisoformat(found["started_at"]) == datetime(2026, 11, 23, 16, 7, 0, 123456, tzinfo=UTC)


def test_a_body_stays_under_its_bound_and_says_that_it_was_cut():
    each = exchange(received=bytes(65_536))
    body = encode_exchanges([each] * 400)
    assert MAX_BODY_BYTES - 200_000 < len(body) <= MAX_BODY_BYTES
    assert json.loads(body)["is_cut"] is True
    assert 100 < len(decode_exchanges(body)) < 400


def _with(**changes):
    document = json.loads(encode_exchanges([exchange()]))
    document["exchanges"][0] |= changes
    return json.dumps(document).encode()


def _with_engine(**changes):
    document = json.loads(encode_exchanges([exchange()]))
    document["exchanges"][0]["engine"] |= changes
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"v": 2, "exchanges": []}',
        b'{"v": 1}',
        b'{"v": 1, "exchanges": {}}',
        b'{"v": 1, "exchanges": [1]}',
        b'{"v": 1, "exchanges": [{}]}',
        b"[" * 100_000,
        b" " * (MAX_BODY_BYTES + 1),
        _with(more=1),
        _with(id="1"),
        _with(id=True),
        _with(port=0),
        _with(port=65_536),
        _with(host=None),
        _with(host="x" * 20_000),
        _with(server_name=3),
        _with(version="TLS1.4"),
        _with(version=3),
        _with(ending="nice"),
        _with(started_at="yesterday"),
        _with(started_at="2026-11-23T16:07:00"),
        _with(sent="***"),
        _with(received=base64.b64encode(bytes(65_537)).decode()),
        _with(received="\u00fc"),
        _with(elapsed_s=-1),
        _with(elapsed_s="1"),
        _with(elapsed_s=float("nan")),
        _with(elapsed_s=10**400),
        _with(deadline_s=None),
        _with(max_bytes=1.5),
        _with(engine=[]),
        _with_engine(completed=1),
        _with_engine(chain_der="x"),
        _with_engine(chain_der=[1]),
        _with_engine(chain_der=[""] * 17),
        _with_engine(engine=None),
        _with_engine(more=0),
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(MessageError):
        decode_exchanges(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = sorted(json.loads(encode_exchanges([exchange()]))["exchanges"][0])


@given(st.sampled_from(FIELDS), JSON)
def test_a_field_with_anything_in_it_is_decoded_or_refused(field, value):
    try:
        found = decode_exchanges(_with(**{field: value}))
    except MessageError:
        return
    assert len(found) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body):
    with pytest.raises(MessageError):
        decode_exchanges(body)
