from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.exchange import Ending
from scanner.model.subjects import Endpoint, Role, Upgrade
from scanner.model.versions import TlsVersion
from scanner.store import StoreError
from scanner.store.hello_forms import digest_of
from scanner.store.values import (
    ENDING_CODES,
    checked_index,
    decode_ending,
    decode_endpoint,
    decode_engine,
    decode_member,
    decode_resolution,
    decode_target,
    decode_version,
    encode_deadline,
    encode_elapsed,
    encode_endpoint,
    encode_resolution,
    encode_target,
)
from tests.store.samples import FULL_RECORD, make_hello_record

RANGE = make_hello_record(None)


def test_every_ending_has_a_code_that_never_changes():
    # The codes are in databases: a new ending gets the next one.
    assert {ending: ENDING_CODES[ending.value] for ending in Ending} == {
        Ending.COMPLETE: 0, Ending.PEER_CLOSED: 1, Ending.PEER_RESET: 2, Ending.TIMED_OUT_CONNECT: 3,
        Ending.TIMED_OUT_READ: 4, Ending.REFUSED: 5, Ending.UNREACHABLE: 6, Ending.UPGRADE_DECLINED: 7,
        Ending.OVERSIZE: 8, Ending.LOCAL_FAILURE: 9, Ending.CANCELLED: 10,
    }  # fmt: skip
    for ending in Ending:
        assert decode_ending(ENDING_CODES[ending.value]) is ending


@given(st.floats(allow_nan=False))
def test_seconds_survive(seconds):
    assert float(encode_deadline(seconds)) == seconds
    elapsed = encode_elapsed(seconds)
    assert (elapsed / 1e6 if isinstance(elapsed, int) else elapsed) == seconds


@given(st.integers(0, 2**31 * 10**6 - 1))
def test_whole_microseconds_are_stored_as_an_integer(elapsed_us):
    assert encode_elapsed(elapsed_us / 1e6) == elapsed_us


def test_targets_of_a_range_share_all_but_the_host():
    one, part = encode_target(RANGE.target)
    other, same_part = encode_target(replace(RANGE.target, host="192.0.2.78"))
    assert part == same_part
    assert [one[1], other[1]] == ["192.0.2.77", "192.0.2.78"]
    assert decode_target(tuple(one), {digest_of(part): part}) == RANGE.target
    with pytest.raises(KeyError):
        decode_target(tuple(one), {})
    with pytest.raises(StoreError, match="newer version"):
        decode_target(tuple(one), {digest_of(part): b"\x07" + part[1:]})


def test_named_target_is_kept_whole():
    stored, part = encode_target(replace(FULL_RECORD.target, is_from_range=False))
    assert part is None
    assert decode_target(tuple(stored), {}) == replace(FULL_RECORD.target, is_from_range=False)


def test_resolution_survives():
    assert decode_resolution(tuple(encode_resolution(FULL_RECORD.resolution))) == FULL_RECORD.resolution


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"host": "b.example"}, {"address": "2001:db8::1"}, {"address": "192.0.2.200"}, {"port": 1},
        {"server_name": None}, {"server_name": "b.example"}, {"is_optional": True},
        {"upgrade": Upgrade.HTTP_CONNECT}, {"destination": "login.example.com:443"},
        {"upgrade": Upgrade.SOCKS5, "destination": "[2001:db8::1]:443", "server_name": None},
    ],
)  # fmt: skip
def test_endpoint_survives(changes):
    usual = Endpoint(host="sts.example.com", address="192.0.2.7", port=443, server_name="sts.example.com")
    endpoint = replace(usual, **changes)
    where = (usual.host, FULL_RECORD.resolution, usual.server_name)
    stored = encode_endpoint(endpoint, *where)
    assert isinstance(stored, int) == (changes in ({}, {"port": 1}))
    assert decode_endpoint(tuple(stored) if isinstance(stored, list) else stored, *where) == endpoint


@pytest.mark.parametrize("proxy", [None, *Upgrade])
@pytest.mark.parametrize("is_from_range", [False, True])
def test_how_a_proxy_is_spoken_to_survives(proxy, is_from_range):
    target = replace(FULL_RECORD.target, role=Role.PROXY, proxy=proxy, is_from_range=is_from_range)
    stored, part = encode_target(target)
    assert decode_target(tuple(stored), {} if part is None else {digest_of(part): part}) == target


def test_what_older_versions_stored_is_read_and_is_written_as_they_did():
    """Written out by hand, after what version 0.1.0 stored: neither a proxy's kind nor a destination."""
    old_target = ("h.example", "h.example", "proxy", (3128,), (), None, None, None, (), False, None, "t.txt:1")
    target = decode_target(old_target, {})
    assert (target.host, target.role, target.ports, target.proxy) == ("h.example", Role.PROXY, (3128,), None)
    assert encode_target(target) == (list(old_target), None)
    old_endpoint = (None, "192.0.2.200", 443, None, "none", True)
    where = ("sts.example.com", FULL_RECORD.resolution, "sts.example.com")
    endpoint = decode_endpoint(old_endpoint, *where)
    assert (endpoint.address, endpoint.upgrade, endpoint.destination) == ("192.0.2.200", Upgrade.NONE, None)
    assert encode_endpoint(endpoint, *where) == list(old_endpoint)


def test_what_only_a_newer_version_knows_is_a_store_error():
    for act in (
        lambda: decode_member(Upgrade, "carrier-pigeon"),
        lambda: decode_member(Role, "oracle"),
        lambda: decode_version("TLS1.4"),
        lambda: decode_ending(len(Ending)),
    ):
        with pytest.raises(StoreError, match="newer version"):
            act()
    assert decode_version("TLS1.3") is TlsVersion.TLS1_3


def test_places_are_not_counted_from_the_end():
    assert checked_index(0) == 0
    with pytest.raises(IndexError):
        checked_index(-1)
    with pytest.raises(IndexError):
        decode_engine(("nassl", True, None, (-1,), False, None), (b"der",))
