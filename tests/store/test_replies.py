from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.answers import read_answer
from scanner.judge import judge_record
from scanner.model.exchange import Ending, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion
from scanner.policy import DEFAULT_POLICY, read_policy
from scanner.store import KeepBytes
from scanner.store.packing import pack_record
from scanner.store.replies import MOST_BYTES, bound_hello_reply, bound_reply
from scanner.tls.hello import encode_hello
from scanner.tls.reply import HELLO_RETRY_REQUEST_RANDOM
from tests.store.samples import BEGUN_AT, make_hello_record, make_run
from tests.store.unpacked import unpack_host

RECORDED = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "tls" / "fixtures").glob("*.bin"))]
ENDPOINT = Endpoint(host="192.0.2.1", address="192.0.2.1", port=443, server_name=None)
BANNER = b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"


def ask(received, version=TlsVersion.TLS1_2, ending=Ending.COMPLETE):
    variant = HelloVariant.BROAD
    sent = encode_hello(version=version, variant=variant, server_name=None, random=bytes(64))
    request = ProbeRequest(id=1, probe=Probe.HELLO, endpoint=ENDPOINT, version=version, variant=variant)
    return Exchange(request=request, started_at=BEGUN_AT, sent=sent, received=received, ending=ending, elapsed_s=1)


def server_hello(version=0x0303, random=bytes(range(32)), extensions=b"\xff\x01\x00\x01\x00", more=b""):
    """RFC 5246 section 7.4.1.3, in one record with more."""
    body = (
        version.to_bytes(2, "big")
        + random
        + b"\x00"
        + b"\xc0\x2f\x00"
        + len(extensions).to_bytes(2, "big")
        + extensions
    )
    message = b"\x02" + len(body).to_bytes(3, "big") + body + more
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


def record(kind, content):
    return bytes([kind]) + b"\x03\x03" + len(content).to_bytes(2, "big") + content


RETRY = record(
    22,
    bytes.fromhex("0200003403 03".replace(" ", ""))
    + HELLO_RETRY_REQUEST_RANDOM
    + bytes.fromhex("00130100000c002b00020304003300020017"),
)
SECOND = record(22, bytes.fromhex("0200002e0303") + bytes(range(32)) + bytes.fromhex("001301000006002b00020304"))
CHANGE = record(20, b"\x01")


def same(received, version, ending, bounded):
    whole, kept = (read_answer(ask(each, version, ending)) for each in (received, bounded))
    return whole == kept


@pytest.mark.parametrize("version", list(TlsVersion))
@pytest.mark.parametrize("reply", RECORDED)
@pytest.mark.parametrize(
    "more", [b"", b"\x00", bytes(5000), CHANGE + record(23, b"x" * 9000), record(22, b"\x0b" * 4000)]
)
def test_recorded_replies_read_the_same(reply, more, version):
    sent = ask(b"", version).sent
    for received in (reply + more, reply[:-3] + more, reply[:7]):
        assert same(received, version, Ending.COMPLETE, bound_hello_reply(received, sent))
        assert same(received, version, Ending.COMPLETE, bound_reply(received, sent))


PIECES = st.one_of(
    st.sampled_from(
        [*RECORDED, RETRY, SECOND, CHANGE, BANNER, server_hello(), server_hello(0x0301, more=b"\x0b" * 500)]
    ),
    st.binary(max_size=60),
    st.builds(lambda kind, size: record(kind, bytes(size)), st.integers(20, 23), st.integers(0, 6000)),
    st.just(b"\x15\x03\x01\x00\x02\x01\x70"),  # warning unrecognized_name (RFC 6066 section 3)
)


@st.composite
def replies(draw):
    whole = bytearray(b"".join(draw(st.lists(PIECES, max_size=5))))
    for _ in range(draw(st.integers(0, 2)) if whole else 0):
        whole[draw(st.integers(0, min(120, len(whole) - 1)))] = draw(st.integers(0, 255))
    return bytes(whole[: draw(st.integers(0, len(whole)))]) if draw(st.booleans()) else bytes(whole)


@given(received=replies(), version=st.sampled_from(TlsVersion), ending=st.sampled_from(Ending))
def test_any_reply_reads_the_same(received, version, ending):
    sent = ask(b"", version).sent
    for bounded in (bound_hello_reply(received, sent), bound_reply(received, sent)):
        assert received.startswith(bounded)
        assert same(received, version, ending, bounded)


def test_server_hello_is_kept_and_the_certificate_is_not():
    hello = server_hello()
    assert bound_hello_reply(hello + record(22, b"\x0b" * 1500), b"") == hello
    # One record for the whole flight, as some servers send it: cut inside the record.
    flight = server_hello(more=b"\x0b" * 1500)
    assert bound_hello_reply(flight, b"") == flight[: len(hello)]


def test_server_hello_after_a_retry_is_kept_and_what_is_encrypted_is_not():
    received = RETRY + CHANGE + SECOND + CHANGE + record(23, b"x" * 2000)
    assert bound_hello_reply(received, b"") == RETRY + CHANGE + SECOND
    assert bound_hello_reply(RETRY + CHANGE, b"") == RETRY + CHANGE


def test_long_banner_is_cut():
    received = BANNER + b"<p>" * 5000
    assert bound_hello_reply(received, b"") == received[:MOST_BYTES]


def test_bytes_that_decide_nothing_are_kept_because_their_number_is_told():
    received = record(22, b"\x02\x00\xff\xff" + bytes(9000))[:6000]
    assert bound_hello_reply(received, b"") == received
    assert "6000 bytes" in read_answer(ask(received, ending=Ending.PEER_CLOSED)).text


@given(
    received=st.lists(st.one_of(st.sampled_from(RECORDED), replies()), min_size=24, max_size=24),
    endings=st.lists(st.sampled_from(Ending), min_size=24, max_size=24),
)
@settings(max_examples=50)
def test_host_with_bounded_replies_is_judged_the_same(received, endings):
    record = make_hello_record(None)
    exchanges = tuple(
        replace(exchange, received=reply, ending=ending)
        for exchange, reply, ending in zip(record.exchanges, received, endings, strict=True)
    )
    whole = replace(record, exchanges=exchanges)
    bounded, _ = unpack_host(pack_record(whole, 0, keep=KeepBytes.DISPUTED, is_clear=True))
    policy = read_policy(DEFAULT_POLICY)
    assert judge_record(make_run(), bounded, policy) == judge_record(make_run(), whole, policy)
