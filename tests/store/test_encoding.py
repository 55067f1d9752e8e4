import zlib
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.store import StoreError
from scanner.store.encoding import (
    decode_bytes,
    decode_certificate,
    decode_text,
    decode_time,
    encode_bytes,
    encode_certificate,
    encode_text,
    encode_time,
)
from tests.store.samples import BEGUN_AT


def test_text_any_unicode_survives_and_is_storable():
    for text in ("", "plain", "zürich \U0001f512", "nul \0", "\udcff", "\ufdd0", "\ufdd0x\\u0041", "\\n"):
        stored = encode_text(text)
        assert "\0" not in stored
        stored.encode()
        assert decode_text(stored) == text


def test_text_that_any_database_holds_is_stored_as_it_is():
    assert encode_text("zürich\\x00 \U0001f512") == "zürich\\x00 \U0001f512"


def test_time_is_microseconds_since_1970():
    # 2001-09-09T01:46:40Z is the well-known second 1,000,000,000.
    assert encode_time(datetime.fromisoformat("2001-09-09T01:46:40.000001+00:00")) == 1_000_000_000_000_001
    assert decode_time(-1).isoformat() == "1969-12-31T23:59:59.999999+00:00"


def test_time_of_another_zone_is_the_same_instant():
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=-7)))
    assert decode_time(encode_time(moment)) == moment


def test_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        encode_time(BEGUN_AT.replace(tzinfo=None))


def test_bytes_are_compressed_only_where_that_is_smaller():
    assert encode_bytes(b"") == b"\x00"
    assert encode_bytes(b"abc") == b"\x00abc"
    stored = encode_bytes(b"abc" * 1000)
    assert stored[0] == 1
    assert len(stored) < 100
    assert zlib.decompress(stored[1:]) == b"abc" * 1000


def test_bytes_cut_short_or_changed_are_damage():
    stored = encode_bytes(b"abc" * 1000)
    for cut in range(1, len(stored)):
        with pytest.raises(StoreError, match="damaged"):
            decode_bytes(stored[:cut])
    for place in range(1, len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 0x10
        with pytest.raises(StoreError, match="damaged"):
            decode_bytes(bytes(changed))


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_decode_or_raise_store_error(stored):
    try:
        decode_bytes(stored)
    except StoreError:
        return
    assert stored[:1] in {b"\x00", b"\x01"}


def test_bytes_of_an_unknown_kind_are_named():
    with pytest.raises(StoreError, match="kind 07"):
        decode_bytes(b"\x07abc")


def test_bytes_that_unpack_to_far_more_than_they_should_are_not_unpacked():
    with pytest.raises(StoreError, match="damaged"):
        decode_certificate(b"\x01" + zlib.compress(bytes(2**24 + 1)))


def test_certificate_row_is_found_by_its_sha256():
    row = encode_certificate(b"abc")
    # FIPS 180-2 appendix B.1.
    assert row["sha256"].hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert decode_certificate(row["der"]) == b"abc"
