import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.answers import read_answer
from scanner.model.exchange import Ending, HelloVariant, Probe
from scanner.model.rows import HelloRow
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Role, Target
from scanner.model.versions import TlsVersion
from scanner.store import KeepBytes
from scanner.store.packing import RowSettings, pack_record, pack_rows
from scanner.store.stored import Kept
from scanner.sweep.rows import exchange_of_row
from scanner.tls.reply import ServerHello
from scanner.tls.retry import maybe_second_hello
from tests.store.samples import (
    BARE_RECORD,
    FULL_RECORD,
    PROXY_RECORD,
    arbitrary_records,
    make_hello_record,
    make_record,
)
from tests.store.test_replies import CHANGE, RETRY, SECOND, record, replies, server_hello
from tests.store.unpacked import unpack_host

SETTINGS = RowSettings(deadline_s=2.5, max_bytes=16_384)


def record_of_rows(target, endpoints, rows, *, settings, stopped=None):
    """Return the record that the rows of a sweep stand for, as the sweep itself makes it where it needs one."""
    exchanges = [exchange_of_row(row, endpoints[row.endpoint], timeout_s=settings.deadline_s) for row in rows]
    return HostRecord(
        target=target,
        resolution=Resolution(addresses=(target.host,)),
        endpoints=tuple(endpoints),
        exchanges=tuple(
            replace(each, request=replace(each.request, max_bytes=settings.max_bytes)) for each in exchanges
        ),
        stopped=stopped,
    )


@pytest.mark.parametrize(
    "record",
    [
        FULL_RECORD, BARE_RECORD, PROXY_RECORD, make_record(1), make_hello_record(None),
        make_hello_record("sts.example.com"),
        make_hello_record("sts.example.com", is_from_range=False), make_hello_record(None, received=b"x" * 70_000),
    ],
)  # fmt: skip
def test_record_survives(record):
    packed = pack_record(record, 5)
    assert unpack_host(packed) == (record, Kept.WHOLE)
    assert (packed.position, packed.host, packed.is_final, packed.judged) == (5, record.target.host, True, None)
    assert pickle.loads(pickle.dumps(packed)) == packed  # noqa: S301  our own bytes


@given(record=arbitrary_records())
@settings(max_examples=200, deadline=None)
def test_any_record_survives(record):
    assert unpack_host(pack_record(record, 0)) == (record, Kept.WHOLE)


def test_hello_is_kept_as_its_random_bytes():
    record = make_hello_record(None)
    assert sum(len(exchange.sent) for exchange in record.exchanges) > 12_000
    random_bytes = 3 * 24 + 32 + 16 + 16 * 32 + 4 * 64
    assert random_bytes < len(pack_record(record, 0).blob) < random_bytes + 24 * 25 + 40


def test_second_hello_after_a_retry_is_kept():
    record = make_hello_record(None)
    rare = next(each for each in record.exchanges if each.request.version is TlsVersion.TLS1_3)
    request = ServerHello(
        version=0x0304,
        legacy_version=0x0303,
        random=RETRY[11:43],
        suite=0x1301,
        is_retry_request=True,
        retry_group=4588,
    )
    second = maybe_second_hello(rare.sent, request)
    both = replace(rare, sent=rare.sent + second, received=RETRY + CHANGE + SECOND)
    packed = pack_record(replace(record, exchanges=(both,)), 0)
    assert unpack_host(packed)[0].exchanges == (both,)
    assert len(packed.blob) < 600


def test_hello_of_another_make_is_kept_byte_by_byte():
    record = make_hello_record(None)
    odd = tuple(replace(each, sent=each.sent[:-1] + b"\xff") for each in record.exchanges)
    odd += tuple(replace(each, sent=each.sent[:20]) for each in record.exchanges)
    odd += (replace(record.exchanges[3], request=replace(record.exchanges[3].request, path="/x")),)
    assert unpack_host(pack_record(replace(record, exchanges=odd), 0))[0].exchanges == odd


def test_server_name_that_no_hello_can_carry_survives():
    record = make_hello_record(None)
    endpoint = replace(record.endpoints[0], server_name="bücher.example")
    exchanges = tuple(replace(each, request=replace(each.request, endpoint=endpoint)) for each in record.exchanges)
    record = replace(record, endpoints=(endpoint,), exchanges=exchanges)
    assert unpack_host(pack_record(record, 0))[0] == record


ROWS = st.builds(
    HelloRow,
    endpoint=st.integers(0, 2),
    request_id=st.integers(0, 2**40),
    version=st.sampled_from(TlsVersion),
    variant=st.sampled_from(HelloVariant),
    started_us=st.integers(0, 2**51),
    elapsed_us=st.integers(0, 10**8),
    ending=st.sampled_from(Ending),
    os_error=st.none() | st.sampled_from(["ECONNRESET", ""]),
    random=st.one_of(st.just(b""), st.binary(min_size=64, max_size=64)),
    received=replies(),
)


@given(
    rows=st.lists(ROWS, max_size=6),
    names=st.tuples(*[st.none() | st.sampled_from(["a.example", "b.example"])] * 3),
    keep=st.sampled_from(KeepBytes),
    is_clear=st.booleans(),
    stopped=st.none() | st.just("interrupted"),
)
@settings(deadline=None)
def test_rows_and_their_record_are_packed_alike(rows, names, keep, is_clear, stopped):
    target = Target(text="192.0.2.0/24", host="192.0.2.9", role=Role.SERVER, ports=(443,), is_from_range=True)
    endpoints = tuple(
        Endpoint(host=target.host, address=target.host, port=443 + number, server_name=name)
        for number, name in enumerate(names)
    )
    kept = {"keep": keep, "is_clear": is_clear, "judged": b"{}"}
    packed = pack_rows(target, endpoints, rows, 7, settings=SETTINGS, stopped=stopped, **kept)
    expected = record_of_rows(target, endpoints, rows, settings=SETTINGS, stopped=stopped)
    assert packed == pack_record(expected, 7, **kept)
    assert packed.is_final == (stopped is None)
    record, has = unpack_host(packed)
    if has is Kept.WHOLE:
        assert record == expected
    elif has is Kept.BOUNDED:
        assert [read_answer(each) for each in record.exchanges] == [read_answer(each) for each in expected.exchanges]


def test_record_of_rows_is_what_the_rows_say():
    record = make_hello_record("sts.example.com")
    rows = [
        HelloRow(0, each.request.id, each.request.version, each.request.variant,
                 1_795_450_020_123_456 + 1234 * ((each.request.id - 50) // 3), 1234,
                 each.ending, None, bytes(range(64)), each.received)
        for each in record.exchanges
    ]  # fmt: skip
    settings_ = RowSettings(deadline_s=5.0, max_bytes=65_536)
    assert record_of_rows(record.target, record.endpoints, rows, settings=settings_) == record
    silent = record_of_rows(record.target, record.endpoints, [rows[0]._replace(random=b"")], settings=settings_)
    assert silent.exchanges[0].sent == b""
    assert silent.resolution == Resolution(addresses=("192.0.2.77",))


FLIGHT = server_hello(more=b"\x0b" * 3000)


@pytest.mark.parametrize(
    ("keep", "is_clear", "kept", "received_bytes"),
    [
        (KeepBytes.ALL, True, Kept.WHOLE, len(FLIGHT)),
        (KeepBytes.ALL, False, Kept.WHOLE, len(FLIGHT)),
        (KeepBytes.DISPUTED, True, Kept.BOUNDED, len(server_hello())),
        (KeepBytes.DISPUTED, False, Kept.WHOLE, len(FLIGHT)),
        (KeepBytes.NONE, False, Kept.WHOLE, len(FLIGHT)),
    ],
)
def test_replies_are_whole_wherever_something_is_not_clear(keep, is_clear, kept, received_bytes):
    record = make_hello_record(None, received=FLIGHT)
    unpacked, has = unpack_host(pack_record(record, 0, keep=keep, is_clear=is_clear))
    assert has is kept
    assert {len(each.received) for each in unpacked.exchanges} == {received_bytes}
    assert [replace(each, received=FLIGHT) for each in unpacked.exchanges] == list(record.exchanges)


def test_without_bytes_there_is_no_exchange_that_could_be_judged():
    record = make_hello_record(None, received=FLIGHT)
    with pytest.raises(ValueError, match="judgement"):
        pack_record(record, 0, keep=KeepBytes.NONE, is_clear=True)
    packed = pack_record(record, 0, keep=KeepBytes.NONE, is_clear=True, judged=b"{}")
    assert packed.judged == b"{}"
    assert unpack_host(packed) == (replace(record, exchanges=()), Kept.NOTHING)


def test_pages_and_handshakes_are_not_cut_where_that_would_change_them():
    record = make_hello_record(None)
    page = replace(record.exchanges[0], received=b"<x>" * 9000)
    page = replace(page, request=replace(page.request, probe=Probe.HTTP, version=None, variant=None, path="/"))
    shake = replace(record.exchanges[-1], received=server_hello() + b"\x17\x03\x03\x20\x00" + bytes(8192))
    shake = replace(shake, request=replace(shake.request, probe=Probe.HANDSHAKE, variant=None))
    packed = pack_record(replace(record, exchanges=(page, shake)), 0, keep=KeepBytes.DISPUTED, is_clear=True)
    stored_page, stored_shake = unpack_host(packed)[0].exchanges
    assert stored_page == page
    assert stored_shake.received == shake.received[:4096]
    assert read_answer(stored_shake) == read_answer(shake)


def test_typical_host_is_small():
    """Eight questions, as an nginx with TLS 1.0 to 1.3 is asked: half of it is random bytes."""
    target = Target(text="192.0.2.0/24", host="192.0.2.9", role=Role.SERVER, ports=(443,), is_from_range=True)
    endpoint = Endpoint(host=target.host, address=target.host, port=443, server_name=None)
    alert = record(21, b"\x02\x28")
    asked = [
        (TlsVersion.TLS1_3, RETRY + CHANGE),
        (TlsVersion.SSL3, alert),
        (TlsVersion.SSL2, b""),
        (TlsVersion.SSL3, alert),
    ]
    asked += [(version, FLIGHT) for version in (0x0303, 0x0302, 0x0301, 0x0303)]
    rows = [
        HelloRow(0, number, TlsVersion(version), HelloVariant.BROAD, 10**15 + 1000 * number, 700, Ending.COMPLETE, None,
                 bytes(64), received)
        for number, (version, received) in enumerate(asked)
    ]  # fmt: skip
    packed = pack_rows(target, (endpoint,), rows, 0, settings=SETTINGS, keep=KeepBytes.DISPUTED, is_clear=True)
    assert len(packed.blob) < 1000
