"""Judging a record: pure, order of endpoints irrelevant, and honest about what was not seen."""

import itertools
import random
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.judge import is_absent, judge_record, judge_run, judge_whatever, maybe_no_listener, present_endpoints
from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Endpoint, Role, Target
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.policy import read_policy

POLICY = read_policy("entra-drs")
AT = datetime(2026, 11, 23, 16, 7, tzinfo=UTC)
RUN = Run(
    id="20261123T160700Z-1a2b",
    started_at=AT,
    finished_at=AT,
    is_complete=True,
    policy_id="entra-drs",
    confirm="all",
    tool_version="0.1.0",
    command="scan",
)
NUMBERS = itertools.count(1)
TARGET = Target(text="h.example", host="h.example", role=Role.SERVER, ports=(443,))


def _endpoint(number=1, **options):
    return Endpoint(host="h.example", address=f"192.0.2.{number}", port=443, server_name="h.example", **options)


def _server_hello(version):
    """RFC 5246 section 7.4.1.3 and RFC 8446 section 4.1.3, written by hand."""
    suite = b"\x13\x01" if version is TlsVersion.TLS1_3 else b"\xc0\x2f"
    legacy = min(version, TlsVersion.TLS1_2)
    extensions = b""
    if version is TlsVersion.TLS1_3:
        key_share = b"\x00\x33\x00\x24\x00\x1d\x00\x20" + b"\x09" * 32
        extensions = b"\x00\x2b\x00\x02\x03\x04" + key_share
    body = struct.pack(">H", legacy) + b"\x07" * 32 + b"\x00" + suite + b"\x00"
    if extensions:
        body += struct.pack(">H", len(extensions)) + extensions
    handshake = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16" + struct.pack(">HH", legacy, len(handshake)) + handshake


ALERT_PROTOCOL_VERSION = b"\x15\x03\x01\x00\x02\x02\x46"  # fatal, 70 (RFC 5246 section 7.2)


def _exchange(endpoint, version, received=b"", ending=Ending.COMPLETE, **options):
    number = next(NUMBERS)
    return Exchange(
        request=ProbeRequest(
            id=number, probe=Probe.HELLO, endpoint=endpoint, version=version, variant=HelloVariant.BROAD
        ),
        started_at=AT + timedelta(milliseconds=number),
        sent=b"\x16",
        received=received,
        ending=ending,
        elapsed_s=0.01,
        **options,
    )


def _asked(endpoint, enabled):
    """One exchange a version: a ServerHello where it is enabled, else alert protocol_version."""
    return [
        _exchange(endpoint, version, _server_hello(version) if version in enabled else ALERT_PROTOCOL_VERSION)
        for version in ALL_VERSIONS
        if version >= TlsVersion.TLS1_0
    ]


def _record(exchanges=(), endpoints=(), target=TARGET, **options):
    addresses = tuple(endpoint.address for endpoint in endpoints)
    return HostRecord(
        target=target,
        resolution=options.pop("resolution", Resolution(addresses=addresses)),
        endpoints=tuple(endpoints),
        exchanges=tuple(exchanges),
        **options,
    )


def _states(verdicts):
    return {verdict.version: verdict.state for verdict in verdicts}


NEW = {TlsVersion.TLS1_2, TlsVersion.TLS1_3}
OLD = {TlsVersion.TLS1_0, TlsVersion.TLS1_1}


def test_a_modern_host_is_ready_with_evidence():
    endpoint = _endpoint()
    host, findings = judge_record(RUN, _record(_asked(endpoint, NEW), [endpoint]), POLICY)
    states = _states(host.verdicts)
    assert states[TlsVersion.TLS1_2] is states[TlsVersion.TLS1_3] is State.ENABLED
    assert states[TlsVersion.TLS1_0] is states[TlsVersion.TLS1_1] is State.DISABLED
    assert host.readiness is Readiness.READY
    assert findings == ()
    for verdict in host.verdicts:
        assert bool(verdict.supporting) == (verdict.state is not State.UNKNOWN)
        assert bool(verdict.gaps) == (verdict.state is State.UNKNOWN)


def test_an_old_host_is_not_ready():
    endpoint = _endpoint()
    host, findings = judge_record(RUN, _record(_asked(endpoint, OLD), [endpoint]), POLICY)
    assert host.readiness is Readiness.NOT_READY
    assert {finding.rule_id for finding in findings} == {
        "tls12-inbound-required",
        "tls10-inbound-enabled",
        "tls11-inbound-enabled",
    }


def test_a_farm_with_one_old_node_is_not_ready_though_the_host_has_tls_1_2():
    new, old = _endpoint(1), _endpoint(2)
    host, findings = judge_record(RUN, _record(_asked(new, NEW) + _asked(old, OLD), [new, old]), POLICY)
    assert _states(host.verdicts)[TlsVersion.TLS1_2] is State.ENABLED
    assert host.readiness is Readiness.NOT_READY
    required = next(finding for finding in findings if finding.rule_id == "tls12-inbound-required")
    assert required.scopes == ("tcp://192.0.2.2:443 as h.example",)
    assert "answers-disagree" in {finding.rule_id for finding in findings}


SILENCE = st.sampled_from(
    [
        (b"", Ending.TIMED_OUT_READ),
        (b"", Ending.PEER_RESET),
        (b"", Ending.PEER_CLOSED),
        (b"", Ending.TIMED_OUT_CONNECT),
        (b"", Ending.REFUSED),
        (b"", Ending.UNREACHABLE),
        (b"", Ending.LOCAL_FAILURE),
        (b"", Ending.CANCELLED),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Ending.PEER_CLOSED),
        (b"SSH-2.0-x\r\n", Ending.PEER_CLOSED),
        (b"\x16\x03\x03\xff\xff", Ending.TIMED_OUT_READ),
        (b"\x00" * 100, Ending.OVERSIZE),
    ]
)


@given(st.lists(st.tuples(st.sampled_from(ALL_VERSIONS), SILENCE), max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
def test_silence_and_trouble_alone_never_become_a_fact(asked):
    endpoint = _endpoint()
    exchanges = [_exchange(endpoint, version, *answer) for version, answer in asked]
    host, findings = judge_record(RUN, _record(exchanges, [endpoint]), POLICY)
    assert set(_states(host.verdicts).values()) == {State.UNKNOWN}
    assert host.readiness is Readiness.UNKNOWN
    assert findings == ()
    assert all(verdict.gaps for verdict in host.verdicts)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(ALL_VERSIONS),
            st.one_of(
                SILENCE,
                st.sampled_from([(_server_hello(version), Ending.COMPLETE) for version in ALL_VERSIONS[2:]]),
                st.just((ALERT_PROTOCOL_VERSION, Ending.COMPLETE)),
                st.tuples(st.binary(max_size=40), st.sampled_from(Ending)),
            ),
        ),
        max_size=24,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the same
def test_any_exchanges_are_judged_the_same_again_and_in_any_order_of_endpoints(asked, rng):
    endpoints = [_endpoint(number) for number in (1, 2, 3)]
    exchanges = [_exchange(endpoints[number - 1], version, *answer) for number, version, answer in asked]
    record = _record(exchanges, endpoints)
    first = judge_record(RUN, record, POLICY)
    assert judge_record(RUN, record, POLICY) == first
    # Exchanges of one endpoint keep their order; how they are interleaved with others must not matter.
    queues = {endpoint: [each for each in exchanges if each.request.endpoint == endpoint] for endpoint in endpoints}
    mixed = []
    while any(queues.values()):
        mixed.append(queues[rng.choice([endpoint for endpoint in endpoints if queues[endpoint]])].pop(0))
    assert judge_record(RUN, replace(record, exchanges=tuple(mixed)), POLICY) == first
    host, _ = first
    for verdicts in (host.verdicts, *(endpoint.verdicts for endpoint in host.endpoints)):
        assert tuple(verdict.version for verdict in verdicts) == ALL_VERSIONS


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"resolution": Resolution(error="NXDOMAIN")}, GapReason.NAME_NOT_RESOLVED, "NXDOMAIN"),
        ({"resolution": Resolution()}, GapReason.NAME_NOT_RESOLVED, "no address"),
        ({"resolution": Resolution(addresses=("192.0.2.1",))}, GapReason.NOT_ASKED, "excluded"),
        ({"resolution": Resolution(), "stopped": "interrupted"}, GapReason.INTERRUPTED, "not put"),
        ({"resolution": Resolution(), "stopped": "out-of-time"}, GapReason.OUT_OF_TIME, "not put"),
        ({"resolution": Resolution(), "stopped": "failed"}, GapReason.LOCAL_FAILURE, "not put"),
    ],
)
def test_a_host_without_endpoints_is_unknown_with_the_reason(options, reason, words):
    host, findings = judge_record(RUN, _record(**options), POLICY)
    assert [gap.reason for gap in host.gaps] == [reason]
    assert words in host.readiness_reason
    assert host.readiness is Readiness.UNKNOWN
    assert _states(host.verdicts) == dict.fromkeys(ALL_VERSIONS, State.UNKNOWN)
    assert findings == ()


@pytest.mark.parametrize("asked", [ALL_VERSIONS[4:5], ALL_VERSIONS[4:], ALL_VERSIONS])
def test_a_closed_optional_port_counts_for_nothing(asked):
    must, may = _endpoint(1), _endpoint(2, is_optional=True)
    exchanges = [*_asked(must, NEW), *(_exchange(may, version, b"", Ending.REFUSED) for version in asked)]
    alone, _ = judge_record(RUN, _record(_asked(must, NEW), [must]), POLICY)
    host, findings = judge_record(RUN, _record(exchanges, [must, may]), POLICY)
    assert _states(host.verdicts) == _states(alone.verdicts)
    assert host.readiness is Readiness.READY
    assert findings == ()
    assert len(host.endpoints) == 2


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT_CONNECT, Ending.TIMED_OUT_READ, Ending.PEER_RESET])
def test_an_optional_port_that_is_not_closed_counts(ending):
    must, may = _endpoint(1), _endpoint(2, is_optional=True)
    exchanges = [*_asked(must, NEW), *(_exchange(may, version, b"", ending) for version in ALL_VERSIONS)]
    host, _ = judge_record(RUN, _record(exchanges, [must, may]), POLICY)
    assert not is_absent(host.endpoints[1])
    assert host.readiness is Readiness.UNKNOWN


@pytest.mark.parametrize(
    "endings",
    [
        [],  # never asked
        [Ending.REFUSED, Ending.TIMED_OUT_READ],  # something listened at one time
        [Ending.REFUSED, Ending.TIMED_OUT_CONNECT],
    ],
)
def test_an_optional_port_that_is_not_surely_closed_is_not_absent(endings):
    must, may = _endpoint(1), _endpoint(2, is_optional=True)
    exchanges = [
        _exchange(may, version, b"", ending)
        for ending, version in zip(endings, (TlsVersion.TLS1_2, TlsVersion.TLS1_0), strict=False)
    ]
    host, _ = judge_record(RUN, _record([*_asked(must, NEW), *exchanges], [must, may]), POLICY)
    assert not is_absent(host.endpoints[1])
    assert host.readiness is Readiness.UNKNOWN


def test_a_closed_port_that_must_answer_is_not_absent():
    endpoint = _endpoint()
    host, _ = judge_record(
        RUN, _record([_exchange(endpoint, TlsVersion.TLS1_2, b"", Ending.REFUSED)], [endpoint]), POLICY
    )
    assert not is_absent(host.endpoints[0])
    assert host.readiness is Readiness.UNKNOWN


@pytest.mark.parametrize(
    ("endings", "reason"),
    [
        ([Ending.REFUSED], GapReason.REFUSED),
        ([Ending.TIMED_OUT_CONNECT], GapReason.NO_ANSWER),
        ([Ending.UNREACHABLE], GapReason.UNREACHABLE),
        ([Ending.REFUSED, Ending.TIMED_OUT_CONNECT], GapReason.REFUSED),
        ([Ending.REFUSED, Ending.COMPLETE], None),
        ([Ending.TIMED_OUT_READ], None),
        ([Ending.PEER_RESET], None),
        ([Ending.LOCAL_FAILURE], None),
        ([], None),
    ],
)
def test_range_addresses_without_a_listener(endings, reason):
    endpoint = _endpoint()
    exchanges = [_exchange(endpoint, TlsVersion.TLS1_2, b"", ending) for ending in endings]
    record = _record(exchanges, [endpoint], target=replace(TARGET, is_from_range=True))
    assert maybe_no_listener(record) is reason
    assert maybe_no_listener(replace(record, target=TARGET)) is None
    assert maybe_no_listener(replace(record, stopped="interrupted")) is None
    result = judge_run(RUN, [record], POLICY, no_listener_counts=(("REFUSED", 2),))
    assert len(result.hosts) == (reason is None)
    counts = dict(result.no_listener_counts)
    assert sum(counts.values()) == 2 + (reason is not None)
    assert counts.get("REFUSED") == 2 + (reason is GapReason.REFUSED)


def _of_range(endings, **options):
    """A range's address: one port with TLS 1.2 and 1.3, one port whose connections ended so, and its result."""
    must, may = _endpoint(), replace(_endpoint(), port=8443, **options)
    # The same version each time: its gap has one reason, whatever else happened to it.
    exchanges = [*_asked(must, NEW), *(_exchange(may, TlsVersion.TLS1_2, b"", ending) for ending in endings)]
    record = _record(exchanges, [must, may], target=replace(TARGET, is_from_range=True, ports=(443, 8443)))
    host, findings = judge_record(RUN, record, POLICY)
    return record, host, findings


@pytest.mark.parametrize(
    "endings",
    [
        [Ending.REFUSED],
        [Ending.TIMED_OUT_CONNECT, Ending.TIMED_OUT_CONNECT],
        [Ending.UNREACHABLE],
        [Ending.TIMED_OUT_CONNECT, Ending.REFUSED],
    ],
)
@pytest.mark.parametrize("is_optional", [False, True])
def test_a_port_of_a_range_where_nothing_was_found_counts_for_nothing(endings, is_optional):
    record, host, findings = _of_range(endings, is_optional=is_optional)
    alone = replace(record, endpoints=record.endpoints[:1], exchanges=record.exchanges[:4])
    assert _states(host.verdicts) == _states(judge_record(RUN, alone, POLICY)[0].verdicts)
    assert host.readiness is Readiness.READY
    assert findings == ()
    # It stays listed, with what happened.
    assert [gap.reason for gap in host.endpoints[1].gaps if gap.version is TlsVersion.TLS1_2] != []
    assert is_absent(host.endpoints[1], record)
    assert present_endpoints(host.endpoints, record) == host.endpoints[:1]


@pytest.mark.parametrize(
    "endings",
    [
        [],  # never asked
        [Ending.TIMED_OUT_CONNECT, Ending.TIMED_OUT_READ],  # something listened at one time
        [Ending.TIMED_OUT_READ, Ending.REFUSED],
        [Ending.PEER_RESET],
        [Ending.LOCAL_FAILURE],
        [Ending.TIMED_OUT_CONNECT, Ending.CANCELLED],
    ],
)
def test_a_port_of_a_range_where_something_may_be_counts(endings):
    record, host, _ = _of_range(endings)
    assert not is_absent(host.endpoints[1], record)
    assert host.readiness is Readiness.UNKNOWN
    assert State.UNKNOWN in _states(host.verdicts).values()


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.TIMED_OUT_CONNECT, Ending.UNREACHABLE])
def test_each_port_of_a_named_target_must_answer(ending):
    record, _, _ = _of_range([ending])
    named = replace(record, target=replace(record.target, is_from_range=False))
    host, _ = judge_record(RUN, named, POLICY)
    assert not is_absent(host.endpoints[1], named)
    assert host.readiness is Readiness.UNKNOWN


def test_a_range_with_an_interrupted_port_does_not_pass_for_asked():
    record, _, _ = _of_range([Ending.TIMED_OUT_CONNECT])
    stopped = replace(record, stopped="interrupted")
    host, _ = judge_record(RUN, stopped, POLICY)
    assert not is_absent(host.endpoints[1], stopped)


def test_findings_of_a_run_come_worst_first_and_hosts_as_asked():
    new, old = _endpoint(), _endpoint(2)
    legacy = _record(_asked(new, NEW | OLD), [new], target=replace(TARGET, host="h.example", text="first"))
    bad = _record(_asked(old, OLD), [old], target=replace(TARGET, text="second"))
    result = judge_run(RUN, [legacy, bad, legacy], POLICY)
    assert [host.target.text for host in result.hosts] == ["first", "second", "first"]
    order = [list(Severity).index(finding.severity) for finding in result.findings]
    assert order == sorted(order)
    assert len(set(order)) == 2


def test_certificates_are_the_different_leaves_in_the_order_seen():
    endpoint = _endpoint()

    def handshake(*chain):
        report = EngineReport(engine="nassl", completed=True, cipher_suite="X", chain_der=chain)
        exchange = _exchange(endpoint, TlsVersion.TLS1_2, engine=report)
        return replace(exchange, request=replace(exchange.request, probe=Probe.HANDSHAKE, variant=None))

    exchanges = [handshake(b"one"), handshake(b"two", b"ca"), handshake(b"one", b"ca"), handshake()]
    host, _ = judge_record(RUN, _record(exchanges, [endpoint]), POLICY)
    (result,) = host.endpoints
    assert len(result.certificates) == 2
    assert [certificate.chain_count for certificate in result.certificates] == [1, 2]


def test_of_two_handshakes_for_a_version_the_completed_one_is_shown():
    endpoint = _endpoint()

    def handshake(version, *, completed):
        report = EngineReport(engine="nassl", completed=completed, error=None if completed else "closed")
        exchange = _exchange(endpoint, version, engine=report)
        return replace(exchange, request=replace(exchange.request, probe=Probe.HANDSHAKE, variant=None))

    exchanges = [
        handshake(TlsVersion.TLS1_2, completed=True),
        handshake(TlsVersion.TLS1_0, completed=False),
        handshake(TlsVersion.TLS1_0, completed=True),
    ]
    host, _ = judge_record(RUN, _record(exchanges, [endpoint]), POLICY)
    shown = [(handshake.version, handshake.is_completed) for handshake in host.endpoints[0].handshakes]
    assert shown == [(TlsVersion.TLS1_0, True), (TlsVersion.TLS1_2, True)]


def test_http_exchanges_are_no_connections_of_the_versions_question():
    endpoint = _endpoint()
    http = _exchange(endpoint, None)
    http = replace(http, request=replace(http.request, probe=Probe.HTTP, variant=None, path="/"))
    host, _ = judge_record(RUN, _record([*_asked(endpoint, NEW), http], [endpoint]), POLICY)
    assert host.endpoints[0].connection_count == 4


def test_the_order_of_records_is_kept():
    endpoint = _endpoint()
    records = [
        _record(_asked(endpoint, NEW)[:1], [endpoint], target=replace(TARGET, text=str(number))) for number in range(50)
    ]
    random.Random(1).shuffle(records)
    result = judge_run(RUN, iter(records), POLICY)
    assert [host.target.text for host in result.hosts] == [record.target.text for record in records]


def test_bytes_that_judgement_fails_on_cost_the_host_and_nothing_else(monkeypatch, caplog):
    endpoint = _endpoint()
    record = _record(_asked(endpoint, NEW), [endpoint])

    def fail(_exchange):
        raise RuntimeError("a bug")

    monkeypatch.setattr("scanner.classify.read_answer", fail)
    host, findings = judge_whatever(RUN, record, POLICY)
    assert (host.readiness, host.stopped, findings) == (Readiness.UNKNOWN, "failed", ())
    assert "a bug" in caplog.text
    with pytest.raises(RuntimeError):
        judge_record(RUN, record, POLICY)
