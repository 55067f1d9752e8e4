"""Forward proxies as hosts: how they are spoken to, what is theirs and what only passes through them."""

from dataclasses import replace

import pytest

from scanner.judge import judge_record
from scanner.model.evidence import Basis, Gap, GapReason, Observation, Origin, State
from scanner.model.exchange import Ending, EngineReport, HelloVariant, Probe, ProbeRequest
from scanner.model.outbound import PathKind
from scanner.model.runs import EndpointResult, HostRecord, Resolution
from scanner.model.subjects import Direction, Role, Target, Upgrade
from scanner.model.verdicts import Verdict
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.outbound.paths import read_passages
from scanner.outbound.proxies import (
    LISTENER_NAME,
    counts_as_absent,
    is_path,
    judge_proxy,
    own_answers,
    plan_upgrade,
    settled_versions,
)
from scanner.policy import read_policy
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from tests.outbound.hellos import alert_bytes, hello_bytes, server_hello_bytes
from tests.outbound.recordings import AT, meet, ssl_client, ssl_server
from tests.outbound.simulated import RUN
from tests.outbound.ways import LISTENER, PROXY, arrived, name_of, question, re_encrypted, tunnelled

SSL2, SSL3, V10, V11, V12, V13 = TlsVersion
OWN = replace(PROXY, upgrade=Upgrade.NONE, destination=None)
TARGET = Target(text="p", host=PROXY.host, role=Role.PROXY, ports=(PROXY.port,))
INNER = replace(PROXY, server_name=name_of(77))
SSL2_SERVER_HELLO = b"\x80\x0e\x04\x00\x01\x00\x02\x00\x00\x00\x03\x00\x00\x01\x00\x80"
"""draft-hickman-netscape-ssl-00 section 2.6: no certificate, one cipher kind (SSL_CK_RC4_128_WITH_MD5), no id."""


def asked(version, received, *, endpoint=OWN, variant=HelloVariant.BROAD, ending=Ending.COMPLETE, serial=1):
    """A question of the hello ladder, with the program's own hello."""
    sent = encode_hello(
        version=version, variant=variant, server_name=endpoint.server_name, random=bytes([serial]) * RANDOM_BYTES
    )
    return replace(
        question(serial, sent=sent, received=received, ending=ending),
        request=ProbeRequest(id=serial, probe=Probe.HELLO, endpoint=endpoint, version=version, variant=variant),
        engine=None,
    )


def record(*exchanges, endpoints=(), stopped=None, target=TARGET):
    return HostRecord(
        target=target, resolution=Resolution(), endpoints=endpoints, exchanges=tuple(exchanges), stopped=stopped
    )


def judged(*exchanges, results=(), **more):
    return judge_proxy(RUN, record(*exchanges, **more), results, lambda _endpoint, _exchanges: ())


def states(result):
    return {verdict.version: verdict.state for verdict in result.verdicts}


# How a proxy is spoken to


@pytest.mark.parametrize(
    ("received", "upgrade"),
    [
        (server_hello_bytes(0x0303), Upgrade.HTTPS_CONNECT),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Upgrade.HTTP_CONNECT),
        (alert_bytes(70), None),
        (b"", None),
    ],
)
def test_a_port_is_spoken_to_as_it_answers(received, upgrade):
    ending = Ending.COMPLETE if received else Ending.TIMED_OUT_READ
    exchanges = [asked(V12, received, ending=ending)]
    assert plan_upgrade(TARGET, OWN, exchanges) is upgrade
    assert plan_upgrade(TARGET, replace(OWN, port=8080), exchanges) is None
    for said in (Upgrade.HTTP_CONNECT, Upgrade.HTTPS_CONNECT, Upgrade.SOCKS5):
        assert plan_upgrade(replace(TARGET, proxy=said), OWN, exchanges) is said


def test_one_accepted_version_is_enough_for_an_https_proxy():
    exchanges = [asked(V10, b"HTTP/1.1 400 Bad\r\n\r\n"), asked(V12, server_hello_bytes(0x0303), serial=2)]
    assert plan_upgrade(TARGET, OWN, exchanges) is Upgrade.HTTPS_CONNECT


def test_a_hello_through_a_proxy_is_no_answer_of_its_port():
    through = asked(V12, server_hello_bytes(0x0303), endpoint=INNER)
    assert plan_upgrade(TARGET, OWN, [through]) is None


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (OWN, False),
        (INNER, False),
        (replace(PROXY, server_name="login.microsoftonline.com", destination="login.microsoftonline.com:443"), True),
        (PROXY, True),
    ],
)
def test_a_path_leads_to_somebody_elses_server(endpoint, expected):
    assert is_path(endpoint) is expected


# What a proxy answers by itself


def test_a_hello_that_arrived_with_its_answer_was_passed_on():
    """TLS 1.0 goes through to the listener, TLS 1.2 the proxy answers; both are accepted, one by whom nobody asked."""
    through = asked(V10, server_hello_bytes(0x0301, random=bytes(32)), endpoint=INNER, serial=1)
    own = asked(V12, server_hello_bytes(0x0303, random=b"\x01" * 32), endpoint=INNER, serial=2)
    arrivals = [
        arrived(77, received=through.sent, sent=server_hello_bytes(0x0301, random=bytes(32))),
        arrived(77, received=hello_bytes(name=name_of(77)), sent=server_hello_bytes(0x0303, random=b"\x02" * 32)),
    ]
    for order in (arrivals, arrivals[::-1]):
        assert own_answers([through, own], order) == ([own], {V10})
    assert own_answers([through, own], []) == ([through, own], set())


def test_the_same_hello_with_another_answer_is_the_proxys():
    """It peeked, and answered by itself."""
    own = asked(V12, server_hello_bytes(0x0303, random=b"\x01" * 32), endpoint=INNER)
    arrival = arrived(77, received=own.sent, sent=server_hello_bytes(0x0303, random=b"\x02" * 32))
    assert own_answers([own], [arrival]) == ([own], set())


def test_what_may_be_the_listeners_is_not_the_proxys():
    """Nothing came back, or only the beginning: a loss on the way back from the listener looks so too."""
    answer = server_hello_bytes(0x0303)
    for size in (0, 3, len(answer)):
        found = asked(V12, answer[:size], endpoint=INNER, ending=Ending.PEER_RESET)
        assert own_answers([found], [arrived(77, received=found.sent, sent=answer)]) == ([], {V12})


@pytest.mark.parametrize(
    ("version", "variant", "answer"),
    [
        (SSL2, HelloVariant.BROAD, SSL2_SERVER_HELLO),
        (SSL3, HelloVariant.RARE, server_hello_bytes(0x0300, suite=0x0004)),
    ],
)
def test_who_answered_a_hello_without_a_name_is_not_known(version, variant, answer):
    """It has no nonce, so it is not among the arrivals even where the listener answered it (mitmproxy passes it on)."""
    accepted = asked(version, answer, endpoint=INNER, variant=variant)
    refused = asked(version, alert_bytes(40), endpoint=INNER, variant=variant, serial=2)
    assert own_answers([accepted], []) == ([], {version})
    assert own_answers([accepted, refused], []) == ([], {version})
    assert own_answers([refused], []) == ([refused], set())
    # Under a name of its own, through the same proxy, it is what a client gets there, whoever answers.
    elsewhere = replace(INNER, server_name="login.microsoftonline.com")
    other = replace(accepted, request=replace(accepted.request, endpoint=elsewhere))
    assert own_answers([other], []) == ([other], set())


def test_a_hello_of_the_same_version_with_a_name_counts():
    named = asked(SSL3, server_hello_bytes(0x0300, suite=0x0005), endpoint=INNER, variant=HelloVariant.BROAD)
    nameless = asked(
        SSL3, server_hello_bytes(0x0300, suite=0x0004), endpoint=INNER, variant=HelloVariant.RARE, serial=2
    )
    assert own_answers([named, nameless], []) == ([named], {SSL3})


# What is judged


def test_nothing_asked_through_it_is_nothing_judged():
    assert judged(asked(V12, server_hello_bytes(0x0303))) is None


def test_a_tunnel_has_no_versions_of_its_own():
    found = judged(*tunnelled(1, ssl_server(V12)))
    (path,), (upstream,) = found.paths, found.outbound
    assert (path.kind, path.is_listener, path.destination) == (PathKind.TUNNEL, True, LISTENER)
    assert (path.via, path.server_name) == ("tcp://192.0.2.1:3128", LISTENER_NAME)
    assert set(states(upstream).values()) == {State.UNKNOWN}
    assert {gap.reason for gap in upstream.gaps} == {GapReason.TUNNEL}
    assert [(gap.reason, gap.direction, gap.version) for gap in found.gaps] == [
        (GapReason.TUNNEL, Direction.INBOUND, None)
    ]


def test_the_upstream_side_of_re_encryption_is_judged():
    """The proxy's client was told: TLS 1.2 and 1.3."""
    found = judged(
        *re_encrypted(1, ssl_server(V12), ssl_client(V12, V13), ssl_server(V13), V13),
        *re_encrypted(2, ssl_server(V12), ssl_client(V12, V13), ssl_server(V12), V12, variant=V12),
    )
    (upstream,) = found.outbound
    assert states(upstream)[V12] is states(upstream)[V13] is State.ENABLED
    assert states(upstream)[V11] is states(upstream)[V10] is State.DISABLED  # its list leaves them out
    assert found.gaps == ()


def test_a_proxy_seen_with_little_offered_has_nothing_called_off():
    """It may offer more to a client that offers more (Squid stares): only what it did is held against it."""
    through = re_encrypted(1, ssl_server(V12), ssl_client(V12, V12), ssl_server(V12), V12, variant=V12)
    (upstream,) = judged(*through).outbound
    assert states(upstream) == dict.fromkeys(ALL_VERSIONS, State.UNKNOWN) | {V12: State.ENABLED}
    gaps = {gap.version for gap in upstream.gaps}
    assert gaps >= set(ALL_VERSIONS) - {V12}
    wide = re_encrypted(2, ssl_server(V12), ssl_client(V12, V12), ssl_server(V12), V12)
    (upstream,) = judged(*through, *wide).outbound
    assert states(upstream)[V13] is State.DISABLED  # above the highest that it offers


def test_a_hello_copied_from_ours_is_not_the_proxys_offer():
    client = ssl_client(V12, V12, name=name_of(1))
    met = meet(client, ssl_server(V12), V12)
    mine = question(1, variant=V12, sent=met.received, received=server_hello_bytes(0x0303, random=b"\x07" * 32))
    theirs = arrived(1, received=met.received, sent=met.sent, version=V12, completed=True)
    found = judged(mine, theirs)
    assert found.paths[0].kind is PathKind.RE_ENCRYPTS
    assert set(states(found.outbound[0]).values()) == {State.UNKNOWN}


@pytest.mark.parametrize(
    ("ending", "os_error", "kind", "reason"),
    [
        (Ending.UPGRADE_DECLINED, "403 Forbidden", PathKind.BLOCKED, GapReason.PROXY_DECLINED),
        (Ending.PEER_RESET, "ECONNRESET", PathKind.UNKNOWN, GapReason.NOT_SEEN),
    ],
)
def test_gaps_say_what_the_way_says(ending, os_error, kind, reason):
    found = judged(question(1, ending=ending, os_error=os_error))
    assert found.paths[0].kind is kind
    assert {gap.reason for gap in found.outbound[0].gaps} == {reason}
    assert found.gaps == ()
    if kind is PathKind.BLOCKED:
        assert "403 Forbidden" in found.outbound[0].verdicts[0].reason


def test_an_interruption_stays_the_reason():
    found = judged(question(1, ending=Ending.CANCELLED), stopped="interrupted")
    assert {gap.reason for gap in found.outbound[0].gaps} == {GapReason.INTERRUPTED}


def test_each_listener_and_each_port_is_a_way_of_its_own():
    other_listener = replace(PROXY, destination="192.0.2.98:443")
    other_port = replace(PROXY, port=3129)

    def through(way, serial, exchanges):
        mine, theirs = exchanges
        endpoint = replace(mine.request.endpoint, destination=way.destination, port=way.port)
        return replace(mine, request=replace(mine.request, endpoint=endpoint)), theirs

    found = judged(
        *tunnelled(1, ssl_server(V12)),
        *through(other_listener, 2, re_encrypted(2, ssl_server(V12), ssl_client(V12, V13), ssl_server(V13), V13)),
        *through(
            other_port, 3, (question(3, ending=Ending.UPGRADE_DECLINED, os_error="403 No"), arrived(99, received=b""))
        ),
    )
    assert [(path.via, path.destination, path.kind) for path in found.paths] == [
        ("tcp://192.0.2.1:3128", LISTENER, PathKind.TUNNEL),
        ("tcp://192.0.2.1:3128", "192.0.2.98:443", PathKind.RE_ENCRYPTS),
        ("tcp://192.0.2.1:3129", LISTENER, PathKind.BLOCKED),
    ]
    assert len({each.scope for each in found.outbound}) == 3
    assert [states(each)[V13] for each in found.outbound] == [State.UNKNOWN, State.ENABLED, State.UNKNOWN]
    assert found.gaps == ()  # not every way is a tunnel


def test_settled_versions_are_those_of_the_form_or_enabled_by_any():
    high, low = ssl_client(V10, V13), ssl_client(V10, V12)
    exchanges = [
        *re_encrypted(1, ssl_server(V12), high, ssl_server(V13), V13),
        *re_encrypted(2, ssl_server(V12), low, ssl_server(V12), V12, variant=V12),
    ]
    settled = settled_versions(read_passages(exchanges, PROXY))
    assert set(settled) == {None, V12}
    assert settled[None] >= {V13, V12}  # TLS 1.2 was taken up for the other form
    assert settled[V12] >= {V12, V13}
    assert V10 not in settled[None] | settled[V12]
    assert settled_versions([]) == {}


# What counts for the host


def result(endpoint, gap=None, *, is_supported=False):
    origin = Origin(source="s", source_version="1", locator="l", run="r")
    common = {"host": "h", "scope": "s", "direction": Direction.INBOUND, "seen_at": AT, "origin": origin}
    gaps = () if gap is None else (Gap(**common, version=None, reason=gap, detail="d"),)
    observation = Observation(**common, version=V12, state=State.ENABLED, basis=next(iter(Basis)), reason="r")
    verdict = Verdict(
        host="h",
        scope="s",
        direction=Direction.INBOUND,
        version=V12,
        state=State.ENABLED if is_supported else State.UNKNOWN,
        is_disputed=False,
        reason="r",
        supporting=(observation,) if is_supported else (),
    )
    return EndpointResult(endpoint=endpoint, verdicts=(verdict,), gaps=gaps)


def test_a_plain_port_that_was_used_is_no_tls_endpoint():
    used = record(question(1))
    assert counts_as_absent(result(OWN, GapReason.NOT_TLS), used)
    assert counts_as_absent(result(OWN), used)  # a port that was said to be plain is not asked for TLS
    assert not counts_as_absent(result(OWN, is_supported=True), used)
    assert not counts_as_absent(result(OWN, GapReason.NOT_TLS), record(asked(V12, b"HTTP/1.1 400 Bad\r\n\r\n")))
    assert not counts_as_absent(result(replace(OWN, port=8080), GapReason.NOT_TLS), used)


def test_an_https_proxys_own_port_counts_and_paths_do_not():
    https = record(question(1, way=replace(PROXY, upgrade=Upgrade.HTTPS_CONNECT)))
    assert not counts_as_absent(result(OWN, GapReason.SILENT), https)
    assert counts_as_absent(result(PROXY, is_supported=True), https)
    assert not counts_as_absent(result(INNER, is_supported=True), https)


def test_a_record_of_a_tunnel_is_ready_and_of_re_encryption_by_both_sides():
    policy = read_policy("entra-drs")
    target = replace(TARGET, proxy=Upgrade.HTTP_CONNECT)
    host, findings = judge_record(RUN, record(*tunnelled(1, ssl_server(V12)), endpoints=(OWN,), target=target), policy)
    assert (host.readiness.value, findings) == ("ready", ())
    inbound = [verdict for verdict in host.verdicts if verdict.direction is Direction.INBOUND]
    assert {verdict.state for verdict in inbound} == {State.UNKNOWN}
    assert "passes TLS through" in inbound[0].reason
    old = [
        each
        for serial in (1, 2, 3)
        for each in re_encrypted(serial, ssl_server(V12), ssl_client(V10, V11), ssl_server(V11), V11)
    ]
    host, findings = judge_record(RUN, record(*old, endpoints=(OWN,), target=target), policy)
    assert host.readiness.value == "not-ready"
    assert {finding.rule_id for finding in findings} == {"tls11-outbound-enabled", "tls12-outbound-required"}


def test_a_host_that_only_came_to_the_listener_is_judged_by_that():
    """Nothing was asked of it: its inbound side has a gap that says so, its outbound side has verdicts."""
    met = replace(
        meet(ssl_client(V12, V13), ssl_server(V12), V12, name="a.example"),
        engine=EngineReport(engine="test", completed=True),
    )
    target = Target(text="192.0.2.7", host="192.0.2.7", role=Role.SERVER, ports=(443,))
    host, _ = judge_record(RUN, record(met, target=target), read_policy("entra-drs"))
    by_side = {(verdict.direction, verdict.version): verdict.state for verdict in host.verdicts}
    assert by_side[Direction.OUTBOUND, V12] is State.ENABLED
    assert {by_side[Direction.INBOUND, version] for version in ALL_VERSIONS} == {State.UNKNOWN}
    assert [(gap.reason, gap.direction) for gap in host.gaps] == [(GapReason.NOT_ASKED, Direction.INBOUND)]
    assert "came to our listener" in host.gaps[0].detail
    assert host.readiness.value == "ready"
    assert host.endpoints == ()
