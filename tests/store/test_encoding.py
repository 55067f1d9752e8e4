import zlib
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.exchange import EngineReport
from scanner.model.runs import Resolution
from scanner.model.subjects import Target
from scanner.store import StoreError
from scanner.store.encoding import (
    decode_bytes,
    decode_certificate,
    decode_host,
    decode_text,
    decode_time,
    encode_bytes,
    encode_certificate,
    encode_host,
    encode_text,
    encode_time,
    plan_dictionary,
)
from tests.store.samples import BARE_RECORD, BEGUN_AT, FULL_RECORD, arbitrary_records, make_record


def decode(rows, dictionary=None):
    return decode_host(rows.host, rows.endpoints, rows.exchanges, rows.certificates, dictionary)


@pytest.mark.parametrize("record", [FULL_RECORD, BARE_RECORD, make_record(1)])
@pytest.mark.parametrize("dictionary", [None, b"", b"hello" + bytes(range(256))])
def test_record_survives(record, dictionary):
    assert decode(encode_host(record, dictionary), dictionary) == record


@given(record=arbitrary_records(), dictionary=st.none() | st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_record_survives(record, dictionary):
    assert decode(encode_host(record, dictionary), dictionary) == record


def test_full_record_sets_every_field_of_the_types_kept_as_json():
    # Otherwise the frozen samples in data/ would not tell that a field was lost.
    engine = FULL_RECORD.exchanges[1].engine
    for kind, value in ((Target, FULL_RECORD.target), (Resolution, FULL_RECORD.resolution), (EngineReport, engine)):
        for field in fields(kind):
            assert getattr(value, field.name) != field.default, field.name


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


def test_bytes_of_another_length_are_damage():
    with pytest.raises(StoreError, match="damaged"):
        decode_bytes(encode_bytes(b"abc"), size=2)
    for size in (2999, 3001, 0):
        with pytest.raises(StoreError, match="damaged"):
            decode_bytes(encode_bytes(b"abc" * 1000), size=size)


def test_bytes_cut_short_or_changed_are_damage():
    stored = encode_bytes(b"abc" * 1000)
    for cut in range(1, len(stored)):
        with pytest.raises(StoreError, match="damaged"):
            decode_bytes(stored[:cut], size=3000)
    for place in range(1, len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 0x10
        with pytest.raises(StoreError, match="damaged"):
            decode_bytes(bytes(changed), size=3000)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_decode_or_raise_store_error(stored):
    try:
        decode_bytes(stored, size=50)
    except StoreError:
        return
    assert stored[:1] in {b"\x00", b"\x01", b"\x02"}


def test_bytes_of_an_unknown_kind_are_named():
    with pytest.raises(StoreError, match="kind 07"):
        decode_bytes(b"\x07abc", size=3)


def test_bytes_that_unpack_to_far_more_than_they_should_are_not_unpacked():
    with pytest.raises(StoreError, match="damaged"):
        decode_certificate(b"\x01" + zlib.compress(bytes(2**24 + 1)))


def test_wrong_dictionary_is_damage():
    rows = encode_host(make_record(2), b"hello" + bytes(range(256)))
    assert rows.host["wire"][0] == 2
    with pytest.raises(StoreError, match="damaged"):
        decode(rows, b"another")


def test_dictionary_makes_hellos_of_later_hosts_small():
    dictionary = plan_dictionary(make_record(1))
    second = replace(
        make_record(2), exchanges=tuple(replace(e, received=b"", engine=None) for e in make_record(2).exchanges)
    )
    without, with_it = (len(encode_host(second, each).host["wire"]) for each in (None, dictionary))
    # Six hellos of 64 random bytes each can't be smaller than 384; the 261 that they share should be gone.
    assert 384 < with_it < without - 200


def test_dictionary_is_not_made_of_a_host_that_hardly_answered():
    assert plan_dictionary(BARE_RECORD) is None
    assert plan_dictionary(FULL_RECORD) is None


def test_dictionary_is_bounded():
    record = make_record(1)
    big = replace(record, exchanges=record.exchanges * 20)
    assert len(plan_dictionary(big)) <= 12_288


def test_certificate_row_is_found_by_its_sha256():
    row = encode_certificate(b"abc")
    # FIPS 180-2 appendix B.1.
    assert row["sha256"].hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert decode_certificate(row["der"]) == b"abc"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda rows: rows.host["target"].update(role="oracle"), "Role 'oracle'"),
        (lambda rows: rows.host["target"].update(weight=1), "target with weight"),
        (lambda rows: rows.host["resolution"].update(dnssec=True), "resolution with dnssec"),
        (lambda rows: rows.endpoints[0].update(upgrade="smtp"), "Upgrade 'smtp'"),
        (lambda rows: rows.exchanges[0].update(ending="evaporated"), "Ending 'evaporated'"),
        (lambda rows: rows.exchanges[0].update(probe="quic"), "Probe 'quic'"),
        (lambda rows: rows.exchanges[0].update(variant="odd"), "HelloVariant 'odd'"),
        (lambda rows: rows.exchanges[0].update(version="TLS1.4"), "TlsVersion 'TLS1.4'"),
        (lambda rows: rows.exchanges[1]["engine"].update(alpn="h2"), "engine report with alpn"),
    ],
)
def test_what_only_a_newer_version_knows_is_a_store_error(change, named):
    rows = encode_host(FULL_RECORD, None)
    change(rows)
    with pytest.raises(StoreError, match=named) as caught:
        decode(rows)
    assert "newer version" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.host["target"].pop("host"),
        lambda rows: rows.host.update(target=None),
        lambda rows: rows.host.update(wire=b""),
        lambda rows: rows.host.update(wire=None),
        lambda rows: rows.exchanges[0].update(endpoint_ordinal=9),
        lambda rows: rows.exchanges[0].update(started_at_us=2**62),
        lambda rows: rows.exchanges[0].update(sent_bytes=None),
        lambda rows: rows.exchanges[0].update(sent_bytes=1),
        lambda rows: rows.exchanges[1]["engine"].update(chain=[9]),
        lambda rows: rows.exchanges.pop(),
    ],
)
def test_damaged_rows_are_a_store_error(change):
    rows = encode_host(FULL_RECORD, None)
    change(rows)
    with pytest.raises(StoreError):
        decode(rows)
