"""One exchange, read: a table of what each reply means, and what no reply may mean."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.answers import AnswerKind, read_answer
from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.tls.hello import encode_hello, offered_suites, variants_for
from tests.hostile import wire

AT = datetime(2026, 11, 23, tzinfo=UTC)
RANDOM = bytes(64)
# IANA: AES and ChaCha20 of RFC 8446, SM4 (RFC 8998), AEGIS, integrity only (RFC 9150), GOST (RFC 9367)
TLS13_SUITES = {
    *range(0x1301, 0x1308),
    *(0x00C6, 0x00C7, 0xC0B4, 0xC0B5, 0xC103, 0xC104, 0xC105, 0xC106),
}
SSL2_HELLO = wire.encode_ssl2_server_hello((0x010080,))
HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def exchange(
    version, received=b"", *, variant=HelloVariant.BROAD, ending=Ending.COMPLETE, name="sts.example.com", **fields
):
    probe = Probe.HELLO if variant is not None else Probe.HANDSHAKE
    return Exchange(
        request=ProbeRequest(
            id=1,
            probe=probe,
            endpoint=Endpoint(host="h", address="192.0.2.7", port=443, server_name=name),
            version=version,
            variant=variant,
        ),
        started_at=AT,
        sent=encode_hello(version=version, variant=variant or HelloVariant.COMPACT, server_name=name, random=RANDOM),
        received=received,
        ending=ending,
        elapsed_s=0.1,
        **fields,
    )


def hello(version, suite=0x002F, **options):
    return wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_server_hello(version, suite, **options))


def hello_13(suite=0x1301, **options):
    return wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_server_hello_13(suite, **options))


TABLE = [
    # asked for, received, ending, kind, accepted
    (TlsVersion.TLS1_2, hello(0x0303), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.TLS1_2),
    (TlsVersion.TLS1_2, hello(0x0301), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.TLS1_0),
    (TlsVersion.TLS1_0, hello(0x0300), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.SSL3),
    (TlsVersion.TLS1_3, hello(0x0303), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.TLS1_2),
    (TlsVersion.TLS1_3, hello_13(), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.TLS1_3),
    (TlsVersion.TLS1_3, hello_13(is_retry=True), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.TLS1_3),
    (TlsVersion.SSL3, hello(0x0300), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.SSL3),
    (
        TlsVersion.SSL2,
        wire.encode_ssl2_server_hello((0x010080,)),
        Ending.COMPLETE,
        AnswerKind.ACCEPTED,
        TlsVersion.SSL2,
    ),
    (TlsVersion.SSL2, wire.encode_ssl2_server_hello(()), Ending.COMPLETE, AnswerKind.ACCEPTED, TlsVersion.SSL2),
    (TlsVersion.TLS1_0, wire.encode_alert(70), Ending.COMPLETE, AnswerKind.VERSION_REFUSED, None),
    (TlsVersion.TLS1_0, wire.encode_alert(40), Ending.COMPLETE, AnswerKind.ALERT, None),
    (TlsVersion.TLS1_0, wire.encode_alert(0, level=1), Ending.PEER_CLOSED, AnswerKind.ALERT, None),
    (TlsVersion.TLS1_0, wire.encode_alert(112), Ending.COMPLETE, AnswerKind.ALERT, None),
    (TlsVersion.TLS1_0, wire.encode_alert(112, level=1), Ending.PEER_CLOSED, AnswerKind.ALERT, None),
    (TlsVersion.SSL2, wire.encode_ssl2_error(1), Ending.COMPLETE, AnswerKind.ALERT, None),
    (TlsVersion.SSL2, wire.encode_alert(70), Ending.COMPLETE, AnswerKind.VERSION_REFUSED, None),
    (TlsVersion.TLS1_0, b"", Ending.PEER_CLOSED, AnswerKind.CLOSED, None),
    (TlsVersion.TLS1_0, b"", Ending.PEER_RESET, AnswerKind.RESET, None),
    (TlsVersion.TLS1_0, b"", Ending.TIMED_OUT_READ, AnswerKind.SILENT, None),
    (TlsVersion.TLS1_0, b"\x16\x03", Ending.TIMED_OUT_READ, AnswerKind.SILENT, None),
    (TlsVersion.TLS1_0, b"\x15", Ending.PEER_CLOSED, AnswerKind.CLOSED, None),
    (TlsVersion.TLS1_0, b"", Ending.TIMED_OUT_CONNECT, AnswerKind.NO_CONNECTION, None),
    (TlsVersion.TLS1_0, b"", Ending.REFUSED, AnswerKind.NO_CONNECTION, None),
    (TlsVersion.TLS1_0, b"", Ending.UNREACHABLE, AnswerKind.NO_CONNECTION, None),
    (TlsVersion.TLS1_0, b"", Ending.LOCAL_FAILURE, AnswerKind.NOT_ASKED, None),
    (TlsVersion.TLS1_0, b"", Ending.CANCELLED, AnswerKind.NOT_ASKED, None),
    (TlsVersion.TLS1_0, HTTP, Ending.COMPLETE, AnswerKind.NOT_TLS, None),
    (TlsVersion.TLS1_0, b"", Ending.UPGRADE_DECLINED, AnswerKind.NOT_TLS, None),
    (TlsVersion.TLS1_0, b"\x16\x03\x03\xff\xff\x02", Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_0, b"\x16\x03\x03", Ending.OVERSIZE, AnswerKind.ODD, None),
    # Not offered
    (TlsVersion.TLS1_0, hello(0x0303), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_2, hello_13(), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.SSL3, hello(0x0301), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.SSL2, hello(0x0301), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_3, hello_13(suite=0x002F), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_3, hello(0x0303, suite=0x1301), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_2, SSL2_HELLO, Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_2, hello(0x0305), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_2, hello(0x0002), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_2, hello(0x0303, suite=0x1301), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_2, hello(0x0303, suite=0x00FF), Ending.COMPLETE, AnswerKind.ODD, None),
    (TlsVersion.TLS1_3, hello(0x0303, random=wire.HELLO_RETRY_RANDOM), Ending.COMPLETE, AnswerKind.ODD, None),
]


@pytest.mark.parametrize(("version", "received", "ending", "kind", "accepted"), TABLE)
def test_each_reply(version, received, ending, kind, accepted):
    answer = read_answer(exchange(version, received, ending=ending))
    assert (answer.kind, answer.accepted, answer.version) == (kind, accepted, version)
    assert answer.text
    assert answer.has_lower is (accepted is not None and accepted < version)
    assert answer.at == AT


def test_every_kind_and_ending_is_in_the_table():
    assert {row[3] for row in TABLE} == set(AnswerKind)
    assert {row[2] for row in TABLE} == set(Ending)


@given(
    version=st.sampled_from(ALL_VERSIONS),
    place=st.integers(0, 3),
    number=st.sampled_from([2, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304]) | st.integers(0, 0xFFFF),
    suite=st.sampled_from([0x002F, 0xC02F, 0x1301, 0x1302, 0x00FF, 0x008C]) | st.integers(0, 0xFFFF),
    is_extension=st.booleans(),
)
@settings(max_examples=600)
def test_never_accepted_what_was_not_offered(version, place, number, suite, is_extension):
    variant = variants_for(version)[place % len(variants_for(version))]
    extensions = {wire.SUPPORTED_VERSIONS: number.to_bytes(2, "big")} if is_extension else None
    data = wire.encode_record(
        wire.HANDSHAKE,
        0x0303,
        wire.encode_server_hello(0x0303 if is_extension else number, suite, extensions=extensions),
    )
    answer = read_answer(exchange(version, data, variant=variant))
    offered = wire.decode_hello(exchange(version, variant=variant).sent)
    assert offered is not None
    # TLS 1.3 is asked for alone, but an older server that can't read that may answer as to a TLS 1.2 hello.
    versions = set(offered.offered) | set(() if version is TlsVersion.SSL2 else offered.offered_before_13)
    if answer.accepted is not None:
        assert answer.accepted in versions
        assert suite in offered.suites
        assert suite != wire.SCSV
        assert (answer.accepted is TlsVersion.TLS1_3) is (suite in TLS13_SUITES)
    elif version is not TlsVersion.SSL2 and number in versions and suite in offered_suites(version, variant):
        assert (number == TlsVersion.TLS1_3) is not (suite in TLS13_SUITES), "the suite is not the version's"
        return
    if version is not TlsVersion.SSL2 and answer.accepted is None and number in versions and suite in {0x002F, 0xC02F}:
        assert variant not in {HelloVariant.COMPACT, HelloVariant.BROAD} or number == TlsVersion.TLS1_3


@given(data=st.binary(max_size=200), version=st.sampled_from(ALL_VERSIONS), ending=st.sampled_from(Ending))
@settings(max_examples=500)
def test_no_bytes_are_an_exception(data, version, ending):
    assert read_answer(exchange(version, data, ending=ending)).kind in AnswerKind


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.TIMED_OUT_READ, Ending.PEER_RESET, Ending.OVERSIZE])
def test_a_whole_answer_counts_however_the_connection_ended(ending):
    assert read_answer(exchange(TlsVersion.TLS1_2, hello(0x0303), ending=ending)).accepted is TlsVersion.TLS1_2
    refused = read_answer(exchange(TlsVersion.TLS1_2, wire.encode_alert(70), ending=ending))
    assert refused.kind is AnswerKind.VERSION_REFUSED


@pytest.mark.parametrize(
    ("version", "tail", "is_downgraded"),
    [
        (0x0303, wire.DOWNGRADE_TO_1_2, True),
        (0x0303, wire.DOWNGRADE_TO_1_1_OR_BELOW, False),
        (0x0302, wire.DOWNGRADE_TO_1_1_OR_BELOW, True),
        (0x0301, wire.DOWNGRADE_TO_1_1_OR_BELOW, True),
        (0x0301, wire.DOWNGRADE_TO_1_2, False),
        (0x0303, bytes(8), False),
    ],
)
def test_downgrade_sentinel(version, tail, is_downgraded):
    """RFC 8446 section 4.1.3."""
    answer = read_answer(exchange(TlsVersion.TLS1_3, hello(version, random=bytes(24) + tail)))
    assert answer.is_downgraded is is_downgraded


def test_controls():
    """A control shows that the peer serves us now, under this name."""
    assert read_answer(exchange(TlsVersion.TLS1_2, hello(0x0303))).is_control
    assert read_answer(exchange(TlsVersion.TLS1_3, hello_13())).is_control
    assert not read_answer(exchange(TlsVersion.TLS1_3, hello_13(is_retry=True))).is_control, "before the name"
    assert not read_answer(exchange(TlsVersion.TLS1_2, wire.encode_alert(70))).is_control
    assert not read_answer(exchange(TlsVersion.SSL2, wire.encode_ssl2_server_hello(()))).is_control, "a doubt"


def test_hello_without_name_is_a_control_only_where_there_is_none():
    """SSLv2 has no extensions; our SSLv3 RARE hello has none on purpose."""
    ssl2 = wire.encode_ssl2_server_hello((0x010080,))
    assert not read_answer(exchange(TlsVersion.SSL2, ssl2)).is_control
    assert read_answer(exchange(TlsVersion.SSL2, ssl2, name=None)).is_control
    assert not read_answer(exchange(TlsVersion.SSL3, hello(0x0300), variant=HelloVariant.RARE)).is_control
    assert read_answer(exchange(TlsVersion.SSL3, hello(0x0300), variant=HelloVariant.COMPACT)).is_control


def test_server_hello_after_a_retry_request_is_a_control():
    data = hello_13(is_retry=True) + wire.encode_record(20, 0x0303, b"\x01") + hello_13()
    answer = read_answer(exchange(TlsVersion.TLS1_3, data, variant=HelloVariant.RARE))
    assert answer.accepted is TlsVersion.TLS1_3
    assert answer.is_control


@pytest.mark.parametrize("end", [b"", wire.encode_alert(112), wire.encode_alert(40), HTTP])
def test_retry_request_proves_the_version_whatever_follows(end):
    answer = read_answer(exchange(TlsVersion.TLS1_3, hello_13(is_retry=True) + end, variant=HelloVariant.RARE))
    assert answer.accepted is TlsVersion.TLS1_3
    assert answer.is_retry_request
    assert not answer.is_control


def test_ssl2_without_a_cipher_is_contested():
    """Facts: it may complete all the same (CVE-2015-3197)."""
    answer = read_answer(exchange(TlsVersion.SSL2, wire.encode_ssl2_server_hello(())))
    assert answer.accepted is TlsVersion.SSL2
    assert answer.is_contested
    assert "CVE-2015-3197" in answer.text


def test_completed_handshake():
    engine = EngineReport(engine="e", completed=True)
    answer = read_answer(exchange(TlsVersion.TLS1_2, hello(0x0303), variant=None, engine=engine))
    assert answer.is_completed
    assert answer.is_control
    failed = read_answer(
        exchange(TlsVersion.TLS1_2, hello(0x0303), variant=None, engine=EngineReport(engine="e", completed=False))
    )
    assert failed.accepted is TlsVersion.TLS1_2, "the version was accepted, whatever our library makes of it"
    assert not failed.is_completed


def test_handshake_past_a_retry_request_is_a_control():
    engine = EngineReport(engine="e", completed=True)
    answer = read_answer(exchange(TlsVersion.TLS1_3, hello_13(is_retry=True), variant=None, engine=engine))
    assert answer.is_control


def test_server_name_refused_by_warning_and_silence():
    """Warning unrecognized_name, then nothing: about the name, never about the version."""
    answer = read_answer(exchange(TlsVersion.TLS1_2, wire.encode_alert(112, level=1), ending=Ending.TIMED_OUT_READ))
    assert answer.alert == 112


def test_length_of_the_first_hello_is_kept():
    for version in ALL_VERSIONS:
        each = exchange(version, b"", ending=Ending.PEER_CLOSED)
        assert read_answer(each).sent_bytes == len(each.sent)


def test_exchange_about_no_version_is_a_mistake():
    request = ProbeRequest(
        id=1,
        probe=Probe.HTTP,
        endpoint=Endpoint(host="h", address="192.0.2.7", port=443, server_name=None),
        version=None,
        path="/",
    )
    http = Exchange(request=request, started_at=AT, sent=b"", received=b"", ending=Ending.COMPLETE, elapsed_s=0.0)
    with pytest.raises(ValueError, match="not about a version"):
        read_answer(http)
