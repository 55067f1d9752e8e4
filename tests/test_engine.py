"""The engine over a scripted network: what is asked, when, how much at once, and what is kept whatever happens."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from scanner import engine as engine_module
from scanner.engine import best_version, plan_endpoints
from scanner.exclusions import Exclusions
from scanner.judge import judge_run
from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Ending, HelloVariant, Probe
from scanner.model.runs import Resolution
from scanner.model.runs import Run as RunRecord
from scanner.model.subjects import Endpoint, Role
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.net.scripted import ScriptedNetwork, ScriptedReply
from scanner.policy import read_policy
from scanner.targets import merge_excludes, parse_arguments
from tests.hostile import wire
from tests.scripted_peers import (
    HANGING,
    MODERN,
    OLD,
    REFUSED,
    SILENT,
    Names,
    Run,
    asked_version,
    honest,
    honest_script,
    sni_of,
    target,
)

pytestmark = pytest.mark.timeout(60)


def exclude(*lines) -> Exclusions:
    return merge_excludes(parse_arguments([f"!{line}" for line in lines]))


def judged(record):
    run = RunRecord(
        id="r",
        started_at=datetime(2026, 11, 1, tzinfo=UTC),
        finished_at=None,
        is_complete=True,
        policy_id="entra-drs",
        confirm="none",
        tool_version="0",
    )
    (host,) = judge_run(run, [record], read_policy("entra-drs")).hosts
    return host


def states(record):
    return {verdict.version: verdict.state for verdict in judged(record).verdicts}


def gap_reasons(record):
    return {gap.reason for endpoint in judged(record).endpoints for gap in endpoint.gaps}


# What is asked


def test_all_six_versions_are_found():
    run = Run(honest_script(MODERN))(target())
    record = run.records["192.0.2.1"]
    assert record.stopped is None
    assert states(record) == {
        version: State.ENABLED if version in MODERN.enabled else State.DISABLED for version in ALL_VERSIONS
    }


def test_exchanges_are_what_the_network_did():
    run = Run(honest_script(MODERN))(target())
    exchanges = run.records["192.0.2.1"].exchanges
    assert [exchange.sent for exchange in exchanges] == [log.sent for log in run.network.logs]
    assert [exchange.received for exchange in exchanges] == [log.received for log in run.network.logs]
    assert [exchange.ending for exchange in exchanges] == [log.ending for log in run.network.logs]
    for exchange, asked in zip(exchanges, run.network.asked, strict=True):
        assert exchange.request.probe is Probe.HELLO
        assert asked_version(exchange.sent) == exchange.request.version
        assert asked.deadline_s == exchange.request.deadline_s == 5.0
        assert asked.max_bytes == exchange.request.max_bytes
        assert abs(exchange.started_at - datetime.now(UTC)).total_seconds() < 60


def test_numbers_are_unique_over_hosts_and_in_the_order_asked():
    run = Run(honest_script(delay_s=0.001))(*(target(f"192.0.2.{number}") for number in range(1, 6)))
    numbers = [[exchange.request.id for exchange in record.exchanges] for record in run.records.values()]
    assert all(own == sorted(own) for own in numbers)
    every = [number for own in numbers for number in own]
    assert sorted(every) == list(range(1, len(every) + 1))


def test_every_hello_has_fresh_random_bytes():
    run = Run(honest_script())(target())
    # RFC 8446 section 4.1.2: 32 bytes after record header, message header and version.
    randoms = [asked.first_bytes[11:43] for asked in run.network.asked if asked.first_bytes[0] == 22]
    assert len(set(randoms)) == len(randoms) >= 5


@pytest.mark.parametrize(
    ("host", "server_name", "expected"),
    [
        ("192.0.2.1", None, {None}),
        ("192.0.2.1", "sts.example.com", {"sts.example.com"}),
        ("www.example.com", None, {"www.example.com"}),
        ("node1.example.com", "sts.example.com", {"sts.example.com"}),
    ],
)
def test_name_sent_is_the_targets(host, server_name, expected):
    names = {"www.example.com": ["192.0.2.2"], "node1.example.com": ["192.0.2.3"]}
    run = Run(honest_script(), names=names)(target(host, server_name=server_name))
    # SSLv2 has no extensions.
    assert {sni_of(a.first_bytes) for a in run.network.asked if asked_version(a.first_bytes) > 2} == expected


def test_each_address_of_a_name_is_asked_for_itself():
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    profiles = dict(zip(addresses, (MODERN, OLD, MODERN), strict=True))
    run = Run(
        lambda address, _port, first: honest(first, profiles[address], delay_s=0.002),
        names={"www.example.com": addresses},
    )(target("www.example.com"))
    record = run.records["www.example.com"]
    assert [endpoint.address for endpoint in record.endpoints] == addresses
    assert run.network.most_by_address == dict.fromkeys(addresses, 1)
    assert run.network.most_at_once == 3
    found = {
        result.endpoint.address: {v.version for v in result.verdicts if v.state is State.ENABLED}
        for result in judged(record).endpoints
    }
    assert found == {address: profile.enabled for address, profile in profiles.items()}


def test_name_without_an_address_is_handed_out_with_the_reason():
    run = Run(honest_script())(target("gone.example.com"))
    record = run.records["gone.example.com"]
    assert (record.endpoints, record.exchanges, run.network.asked) == ((), (), [])
    assert [gap.reason for gap in judged(record).gaps] == [GapReason.NAME_NOT_RESOLVED]


def test_addresses_are_not_resolved_and_only_endpoints_are_asked_for_canonical_names():
    resolver = Names({"www.example.com": ["192.0.2.1"], "er.example.com": ["192.0.2.2"]})
    Run(honest_script(), resolver=resolver)(
        target("192.0.2.9"), target("www.example.com"), target("er.example.com", role=Role.ENDPOINT)
    )
    assert sorted(resolver.asked) == [("er.example.com", True), ("www.example.com", False)]


def test_ports_are_asked_one_after_the_other_required_ones_first():
    run = Run(honest_script(delay_s=0.001))(target(port=443, ports=(443, 8443), optional_ports=(49443,)))
    record = run.records["192.0.2.1"]
    assert [(e.port, e.is_optional) for e in record.endpoints] == [(443, False), (8443, False), (49443, True)]
    assert list(dict.fromkeys(asked.port for asked in run.network.asked)) == [443, 8443, 49443]
    assert run.network.most_at_once == 1


def test_closed_optional_port_takes_nothing_from_the_host():
    def script(_address, port, first):
        return REFUSED if port == 49443 else honest(first, MODERN)

    run = Run(script)(target(optional_ports=(49443,)))
    record = run.records["192.0.2.1"]
    assert Counter(asked.port for asked in run.network.asked)[49443] == 1
    assert set(states(record).values()) == {State.ENABLED, State.DISABLED}


def test_closed_required_port_leaves_the_host_open():
    def script(_address, port, first):
        return REFUSED if port == 8443 else honest(first, MODERN)

    record = Run(script)(target(ports=(443, 8443))).records["192.0.2.1"]
    # What is on at one port is on at the host; what is off at one may be on at the other.
    assert states(record) == {
        version: State.ENABLED if version in MODERN.enabled else State.UNKNOWN for version in ALL_VERSIONS
    }


# Excludes


def test_excluded_addresses_are_left_out_after_resolving():
    names = {"www.example.com": ["192.0.2.1", "198.51.100.7", "2001:db8::1"]}
    run = Run(honest_script(), names=names, exclusions=exclude("198.51.100.0/24", "2001:db8::/32"))(
        target("www.example.com")
    )
    assert {asked.address for asked in run.network.asked} == {"192.0.2.1"}
    assert [e.address for e in run.records["www.example.com"].endpoints] == ["192.0.2.1"]


def test_host_with_every_address_excluded_is_a_gap_and_is_not_contacted():
    run = Run(honest_script(), names={"www.example.com": ["192.0.2.1"]}, exclusions=exclude("192.0.2.1"))(
        target("www.example.com")
    )
    assert run.network.asked == []
    (gap,) = judged(run.records["www.example.com"]).gaps
    assert gap.reason is GapReason.NOT_ASKED
    assert "excluded" in gap.detail


def test_ports_can_be_excluded():
    run = Run(honest_script(), exclusions=exclude("192.0.2.1:8443"))(target(ports=(443, 8443)))
    assert {asked.port for asked in run.network.asked} == {443}


@pytest.mark.parametrize(("exclusions", "expected"), [(None, {80, 443}), (exclude("192.0.2.1:80"), {443})])
def test_excludes_hold_for_the_health_page_too(exclusions, expected):
    """Port 80 is asked for AD FS's probe page, and is not among the target's ports."""

    def script(_address, port, first):
        return REFUSED if port == 80 else honest(first, MODERN)

    run = Run(script, exclusions=exclusions)(target(role=Role.ADFS, server_name="sts.example.com"))
    assert {asked.port for asked in run.network.asked} == expected


def test_endpoints_are_planned_purely():
    endpoints = plan_endpoints(
        target("www.example.com", ports=(443,), optional_ports=(80,)),
        Resolution(addresses=("192.0.2.1", "2001:db8::1")),
        exclude("192.0.2.1:80"),
    )
    assert [(e.locator, e.server_name, e.is_optional) for e in endpoints] == [
        ("tcp://192.0.2.1:443", "www.example.com", False),
        ("tcp://[2001:db8::1]:443", "www.example.com", False),
        ("tcp://[2001:db8::1]:80", "www.example.com", True),
    ]


# Bounds


@pytest.mark.parametrize("per_address", [1, 3])
def test_never_more_connections_to_an_address_than_asked_for(per_address):
    targets = [target(text=str(port), port=port) for port in range(1000, 1020)]
    run = Run(honest_script(delay_s=0.002), per_address=per_address)(*targets)
    assert run.network.most_by_address == {"192.0.2.1": per_address}
    assert len(run.records) == 20


def test_bound_by_address_does_not_hold_up_other_addresses():
    targets = [target(f"192.0.2.{number}") for number in range(1, 11)]
    run = Run(honest_script(delay_s=0.005), per_address=1)(*targets)
    assert run.network.most_at_once == 10


@pytest.mark.parametrize("concurrency", [1, 4])
def test_never_more_hosts_at_a_time_than_asked_for(concurrency):
    targets = [target(f"192.0.2.{number}") for number in range(1, 13)]
    run = Run(honest_script(delay_s=0.001), concurrency=concurrency)(*targets)
    # A host of one endpoint has one connection at a time.
    assert run.network.most_at_once == concurrency
    assert len(run.records) == 12


def test_one_ladder_at_a_time_for_targets_at_one_endpoint():
    """Two names at one address and port: their questions must not mix, as some servers serve one client at a time."""
    names = {"a.example.com": ["192.0.2.1"], "b.example.com": ["192.0.2.1"]}
    run = Run(honest_script(delay_s=0.001), names=names)(target("a.example.com"), target("b.example.com"))
    assert run.network.most_by_endpoint == {("192.0.2.1", 443): 1}
    order = [sni for sni in (sni_of(asked.first_bytes) for asked in run.network.asked) if sni]
    half = len(order) // 2
    assert order == ["a.example.com"] * half + ["b.example.com"] * half
    assert all(set(states(record).values()) == {State.ENABLED, State.DISABLED} for record in run.records.values())


def test_every_connection_takes_a_permit():
    run = Run(honest_script(), rate=1_000)
    permits = []

    async def scan():
        task = asyncio.ensure_future(run.go(target(), target("192.0.2.2")))
        await asyncio.sleep(0)
        permit = run.engine._dispatcher.permit

        async def counted(clock):
            permits.append(1)
            await permit(clock)

        run.engine._dispatcher.permit = counted
        await task

    asyncio.run(scan())
    assert len(permits) == len(run.network.asked) == run.engine.counters.connections > 10


def test_counters_tell_how_far_it_is():
    def script(address, _port, first):
        return {"192.0.2.2": REFUSED, "192.0.2.3": SILENT}.get(address) or honest(first)

    run = Run(script)(target(), target("192.0.2.2"), target("192.0.2.3"))
    counters = run.engine.counters
    assert (counters.hosts_total, counters.hosts_done, counters.endpoints_answering) == (3, 3, 1)
    assert counters.connections == len(run.network.asked)
    assert counters.endings == Counter(log.ending for log in run.network.logs)


# Deadlines and interruption


def test_host_deadline_keeps_what_was_learned():
    run = Run(honest_script(delay_s=0.05), host_deadline_s=0.13)(target(), target("192.0.2.2"))
    for record in run.records.values():
        assert record.stopped == "out-of-time"
        assert len(record.exchanges) == 2
        found = states(record)
        assert {v for v, state in found.items() if state is State.ENABLED} == {TlsVersion.TLS1_2, TlsVersion.TLS1_3}
        # What was not asked any more is not called off.
        assert State.DISABLED not in found.values()
        assert GapReason.OUT_OF_TIME in gap_reasons(record)
    assert run.network.cancelled_count == 2


def test_deadline_of_one_host_is_not_anothers():
    def script(address, _port, first):
        return HANGING if address == "192.0.2.1" else honest(first)

    run = Run(script, host_deadline_s=0.3, timeout_s=30)(target(), target("192.0.2.2"))
    assert {text: record.stopped for text, record in run.records.items()} == {
        "192.0.2.1": "out-of-time",
        "192.0.2.2": None,
    }


def test_deadline_holds_for_the_resolver_too():
    run = Run(honest_script(), resolver=Names({}, delay_s=30), host_deadline_s=0.1)(target("www.example.com"))
    record = run.records["www.example.com"]
    assert record.stopped == "out-of-time"
    assert [gap.reason for gap in judged(record).gaps] == [GapReason.OUT_OF_TIME]


def test_deadline_during_the_wait_for_the_ladder_of_another_target():
    names = {"a.example.com": ["192.0.2.1"], "b.example.com": ["192.0.2.1"]}
    run = Run(lambda *_: HANGING, names=names, host_deadline_s=0.1, timeout_s=30)(
        target("a.example.com"), target("b.example.com")
    )
    assert [record.stopped for record in run.records.values()] == ["out-of-time"] * 2
    assert run.records["b.example.com"].exchanges == ()
    assert gap_reasons(run.records["b.example.com"]) == {GapReason.OUT_OF_TIME}


def test_interrupt_hands_out_every_host_begun_and_begins_no_other():
    def script(address, _port, first):
        return honest(first) if address in {"192.0.2.1", "192.0.2.3"} else HANGING

    run = Run(script, concurrency=2, timeout_s=100)
    # .1 is done, .2 hangs, .3 is done: then it ends, with .4 begun and .5 not.
    run.on_host = lambda position, _: (
        position == 2 and asyncio.get_running_loop().call_later(0.05, run.engine.interrupt)
    )
    run(*(target(f"192.0.2.{number}") for number in range(1, 6)))
    assert {text: record.stopped for text, record in run.records.items()} == {
        "192.0.2.1": None,
        "192.0.2.2": "interrupted",
        "192.0.2.3": None,
        "192.0.2.4": "interrupted",
    }
    assert "192.0.2.5" not in {asked.address for asked in run.network.asked}
    assert sorted(run.positions) == [0, 1, 2, 3]
    assert State.DISABLED in states(run.records["192.0.2.1"]).values()
    assert set(states(run.records["192.0.2.2"]).values()) == {State.UNKNOWN}
    assert gap_reasons(run.records["192.0.2.2"]) == {GapReason.INTERRUPTED}


def test_interrupt_while_resolving_is_a_gap_of_the_host():
    run = Run(honest_script(), resolver=Names({}, delay_s=30))

    async def scan():
        task = asyncio.ensure_future(run.go(target("www.example.com")))
        await asyncio.sleep(0.05)
        run.engine.interrupt()
        await task

    asyncio.run(scan())
    record = run.records["www.example.com"]
    assert record.stopped == "interrupted"
    assert [gap.reason for gap in judged(record).gaps] == [GapReason.INTERRUPTED]


def test_interrupt_keeps_the_answers_of_a_batch_that_is_cut():
    """After silence the other versions are asked side by side; one that hangs must not cost those that answered."""

    def script(_address, _port, first):
        version = asked_version(first)
        if version == TlsVersion.TLS1_2:
            return SILENT
        return HANGING if version == TlsVersion.SSL2 else honest(first)

    run = Run(script, timeout_s=100)

    async def scan():
        task = asyncio.ensure_future(run.go(target()))
        await asyncio.sleep(0.1)
        run.engine.interrupt()
        await task

    asyncio.run(scan())
    record = run.records["192.0.2.1"]
    assert record.stopped == "interrupted"
    assert run.network.most_by_endpoint == {("192.0.2.1", 443): 5}
    assert [exchange.request.version for exchange in record.exchanges] == [
        TlsVersion.TLS1_2,
        TlsVersion.TLS1_3,
        TlsVersion.TLS1_0,
        TlsVersion.TLS1_1,
        TlsVersion.SSL3,
    ]
    assert states(record)[TlsVersion.TLS1_3] is State.ENABLED
    assert states(record)[TlsVersion.SSL2] is State.UNKNOWN


class SlowToLeave(ScriptedNetwork):
    """A network that takes a while to end a connection."""

    async def drive(self, conversation, **where):
        try:
            return await super().drive(conversation, **where)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            raise


def test_interrupt_may_meet_a_host_whose_deadline_has_just_passed():
    """asyncio.Timeout can't be set again then; the other hosts must still hear of the interrupt."""
    run = Run(None, network=SlowToLeave(lambda *_: HANGING), timeout_s=100, host_deadline_s=0.1)
    raised = []

    async def scan():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
        task = asyncio.ensure_future(run.go(target(), target("192.0.2.2"), target("192.0.2.3")))
        await asyncio.sleep(0.2)
        run.engine.interrupt()
        run.engine.interrupt()
        await task

    asyncio.run(scan())
    assert raised == []
    assert len(run.records) == 3
    assert all(record.stopped is not None for record in run.records.values())


def test_interrupt_before_the_begin_asks_nothing():
    run = Run(honest_script())

    async def scan():
        task = asyncio.ensure_future(run.go(target()))
        await asyncio.sleep(0)
        run.engine.interrupt()
        await task

    asyncio.run(scan())
    assert run.network.asked == []
    assert run.records == {}


# Trouble of our own


def test_bug_in_a_conversation_is_a_local_failure_and_no_fact(monkeypatch):
    def bug(_hello, **_):
        raise RuntimeError("a bug")
        yield b""

    monkeypatch.setattr(engine_module, "hello_conversation", bug)
    record = Run(honest_script())(target()).records["192.0.2.1"]
    assert {exchange.ending for exchange in record.exchanges} == {Ending.LOCAL_FAILURE}
    assert len(record.exchanges) < 10
    assert set(states(record).values()) == {State.UNKNOWN}
    assert gap_reasons(record) == {GapReason.LOCAL_FAILURE}


def test_bug_at_one_host_costs_no_other(caplog):
    def script(address, _port, first):
        if address == "192.0.2.2":
            raise RuntimeError("a bug")
        return honest(first)

    run = Run(script)(*(target(f"192.0.2.{number}") for number in range(1, 4)))
    assert {text: record.stopped for text, record in run.records.items()} == {
        "192.0.2.1": None,
        "192.0.2.2": "failed",
        "192.0.2.3": None,
    }
    assert set(states(run.records["192.0.2.2"]).values()) == {State.UNKNOWN}
    assert "192.0.2.2" in caplog.text


def test_error_of_the_receiver_is_passed_on_as_itself():
    """A store with a full disk: its maker must be able to tell."""

    class FullDiskError(Exception):
        pass

    def fail(_position, _record):
        raise FullDiskError

    run = Run(lambda address, _port, first: honest(first) if address == "192.0.2.1" else HANGING, timeout_s=100)
    run.on_host = fail
    with pytest.raises(FullDiskError):
        run(target(), target("192.0.2.2"))
    assert run.network.cancelled_count == 1


def test_no_target_is_no_work():
    run = Run(honest_script())()
    assert (run.records, run.network.asked) == ({}, [])


# HTTP


class TlsPeer:
    """A real TLS server (Python's ssl over memory) that answers GET from pages, for as many connections as come."""

    def __init__(self, folder: Path, pages):
        from scanner.demo import write_certificate  # noqa: PLC0415

        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(write_certificate("sts.example.com", folder))
        self.pages = pages
        self.requests = []

    def reply(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.context.wrap_bio(incoming, outgoing, server_side=True)
        clear = io.BytesIO()

        def answer(data):
            incoming.write(data)
            try:
                server.do_handshake()
                clear.write(server.read(65_536))
                head = clear.getvalue().decode()
                self.requests.append(head)
                body = self.pages.get(head.split(" ")[1], b"")
                status = "200 OK" if body else "404 Not Found"
                server.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                server.unwrap()
            except (ssl.SSLWantReadError, ssl.SSLError):
                pass
            return outgoing.read()

        return ScriptedReply(answer=answer)


def test_adfs_is_asked_over_http_after_its_versions(tmp_path):
    metadata = b"<EntityDescriptor xmlns='urn:oasis:names:tc:SAML:2.0:metadata' entityID='x'/>"
    peer = TlsPeer(tmp_path, {"/FederationMetadata/2007-06/FederationMetadata.xml": metadata})
    plain = []

    def script(_address, port, first):
        if port == 80:
            plain.append(first)
            return ScriptedReply(pieces=(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",))
        return peer.reply()

    run = Run(script)(target(role=Role.ADFS, server_name="sts.example.com"))
    record = run.records["192.0.2.1"]
    probes = [exchange.request.probe for exchange in record.exchanges]
    http = [exchange for exchange in record.exchanges if exchange.request.probe is Probe.HTTP]
    assert probes == [Probe.HELLO] * (len(probes) - len(http)) + [Probe.HTTP] * len(http)
    # docs/roles.md: the health page and a nonsense path in the clear, metadata and a WS-Trust path over TLS.
    assert http[0].request.path == "/adfs/probe"
    assert [e.request.endpoint.port for e in http] == [80, 80, 443, 443]
    assert all(
        request.startswith(f"GET {e.request.path} HTTP/1.1\r\n")
        for e, request in zip(http[2:], peer.requests, strict=True)
    )
    assert all("Host: sts.example.com\r\n" in request for request in (*peer.requests, *map(bytes.decode, plain)))
    # Over TLS what is kept is in the clear.
    over_tls = http[2]
    assert over_tls.sent == peer.requests[0].encode()
    assert over_tls.received.endswith(metadata)
    assert over_tls.engine.completed
    assert len(over_tls.engine.chain_der) == 1


def test_nothing_is_asked_over_tls_where_no_version_was_accepted():
    def script(_address, port, _first):
        return REFUSED if port == 80 else ScriptedReply(pieces=(wire.encode_alert(40),))

    run = Run(script)(target(role=Role.ADFS))
    http = [e for e in run.records["192.0.2.1"].exchanges if e.request.probe is Probe.HTTP]
    assert {exchange.request.endpoint.port for exchange in http} == {80}


@pytest.mark.parametrize(
    ("role", "does_recognise"), [(Role.SERVER, True), (Role.PROXY, True), (Role.ADFS, False), (Role.ENDPOINT, False)]
)
def test_other_roles_are_not_asked_over_http(role, does_recognise):
    run = Run(honest_script(), does_recognise=does_recognise)(target(role=role))
    assert {exchange.request.probe for exchange in run.records["192.0.2.1"].exchanges} == {Probe.HELLO}


def test_host_deadline_cuts_http_too(tmp_path):
    def script(_address, port, first):
        return HANGING if port == 80 else honest(first)

    run = Run(script, host_deadline_s=0.3, timeout_s=30)(target(role=Role.ADFS))
    record = run.records["192.0.2.1"]
    assert record.stopped == "out-of-time"
    assert states(record)[TlsVersion.TLS1_2] is State.ENABLED


def test_handshakes_confirm_what_hellos_found(tmp_path):
    peer = TlsPeer(tmp_path, {})
    peer.context.minimum_version = peer.context.maximum_version = ssl.TLSVersion.TLSv1_2
    run = Run(lambda *_: peer.reply(), confirm=frozenset(ALL_VERSIONS))(target(server_name="sts.example.com"))
    handshakes = [e for e in run.records["192.0.2.1"].exchanges if e.request.probe is Probe.HANDSHAKE]
    assert [(e.request.version, e.engine.completed) for e in handshakes] == [(TlsVersion.TLS1_2, True)]
    (handshake,) = handshakes
    assert handshake.request.variant is None
    assert sni_of(handshake.sent) == "sts.example.com"


def _accepted(run_profile):
    run = Run(honest_script(run_profile))(target())
    record = run.records["192.0.2.1"]
    return record.exchanges, record.endpoints[0]


@pytest.mark.parametrize(
    ("enabled", "best"),
    [
        ({TlsVersion.TLS1_2, TlsVersion.TLS1_3}, TlsVersion.TLS1_2),
        ({TlsVersion.TLS1_3}, TlsVersion.TLS1_3),
        ({TlsVersion.TLS1_0, TlsVersion.TLS1_1}, TlsVersion.TLS1_1),
        ({TlsVersion.TLS1_0, TlsVersion.SSL3}, TlsVersion.TLS1_0),
        ({TlsVersion.SSL3}, TlsVersion.SSL3),
        ({TlsVersion.SSL2}, None),
    ],
)
def test_http_goes_over_the_version_nearest_to_tls12(enabled, best):
    exchanges, endpoint = _accepted(type(MODERN)(enabled=frozenset(enabled)))
    assert best_version(exchanges, endpoint) is best
    elsewhere = Endpoint(host="x", address="192.0.2.77", port=443, server_name=None)
    assert best_version(exchanges, elsewhere) is None


def test_variants_are_recorded_as_sent():
    refusing_40 = type(MODERN)(enabled=frozenset({TlsVersion.TLS1_2}), refusal=honest_alert(40))
    record = Run(honest_script(refusing_40))(target()).records["192.0.2.1"]
    variants = {e.request.variant for e in record.exchanges if e.request.version is TlsVersion.TLS1_0}
    assert len(variants) > 1
    assert variants <= set(HelloVariant)
    for exchange in record.exchanges:
        if exchange.request.version is TlsVersion.TLS1_2 and exchange.request.variant is HelloVariant.COMPACT:
            assert len(exchange.sent) - 5 < 256


def honest_alert(number):
    from tests.hostile.honest import alert  # noqa: PLC0415

    return alert(number)


def test_waiting_for_a_turn_does_not_use_up_the_host_deadline():
    """Three targets at a rate at which all their connections together take more than a second."""
    run = Run(honest_script(), rate=20, host_deadline_s=0.6)
    run(target(), target(ports=(8443,)), target(ports=(9443,)))
    assert run.engine.counters.connections > 20
    assert {record.stopped for record in run.records.values()} == {None}
    assert run.engine.counters.hosts_done == 3


# Beside the targets: a sweep hands its hosts over


def adopting(run, *hosts):
    """Run an engine that has no targets of its own but adopts (target, exchanges, confirm); return the records."""
    adopted = {}

    async def main():
        waiting = asyncio.Event()

        async def beside():
            for each, exchanges, confirm in hosts:
                for _ in exchanges:  # the lane's questions have the engine's numbers
                    run.engine.next_id()

                def keep(record, text=each.text):
                    adopted[text] = record
                    if len(adopted) == len(hosts):
                        waiting.set()

                run.engine.adopt(each, exchanges, keep, confirm=confirm)
            await waiting.wait()

        await run.go(beside=beside())

    asyncio.run(main())
    return adopted


def test_an_adopted_host_is_gone_on_with_and_nothing_is_asked_twice():
    whole = Run(honest_script())(target()).records["192.0.2.1"]
    for known_count in range(len(whole.exchanges) + 1):
        run = Run(honest_script())
        known = whole.exchanges[:known_count]
        record = adopting(run, (target(), known, None))["192.0.2.1"]
        assert len(run.network.asked) == len(whole.exchanges) - known_count
        assert [(e.request.version, e.request.variant) for e in record.exchanges if e not in known] == [
            (e.request.version, e.request.variant) for e in whole.exchanges[known_count:]
        ]
        assert states(record) == states(whole)


def test_an_adopted_host_is_confirmed_as_was_said_for_it(tmp_path):
    peer = TlsPeer(tmp_path, {})
    peer.context.minimum_version = peer.context.maximum_version = ssl.TLSVersion.TLSv1_2
    run = Run(lambda *_: peer.reply(), confirm=frozenset(ALL_VERSIONS))
    wanted = {"192.0.2.1": frozenset(), "192.0.2.2": frozenset({TlsVersion.TLS1_2}), "192.0.2.3": None}
    wanted["192.0.2.4"] = frozenset({TlsVersion.TLS1_0})  # which it does not have
    records = adopting(run, *((target(host), (), confirm) for host, confirm in wanted.items()))
    handshakes = {
        host: [e.request.version for e in record.exchanges if e.request.probe is Probe.HANDSHAKE]
        for host, record in records.items()
    }
    # None is what the engine was told for all: every version.
    tls12 = [TlsVersion.TLS1_2]
    assert handshakes == {"192.0.2.1": [], "192.0.2.2": tls12, "192.0.2.3": tls12, "192.0.2.4": []}


def test_interrupt_hands_out_adopted_hosts_too():
    run = Run(lambda *_: HANGING, timeout_s=100)

    async def interrupt():
        await asyncio.sleep(0.05)
        run.engine.interrupt()

    async def main():
        records = []

        async def beside():
            run.engine.adopt(target(), (), records.append)
            await interrupt()

        await run.go(beside=beside())
        return records

    (record,) = asyncio.run(main())
    assert record.stopped == "interrupted"


def test_nothing_can_be_adopted_by_an_engine_that_does_not_run():
    run = Run(honest_script())(target())
    with pytest.raises(RuntimeError, match="not running"):
        run.engine.adopt(target(), (), lambda _record: None)


# Pace


class SlowPace:
    """Lets one connection go to an address each 0.1 s."""

    def __init__(self):
        self.next_at = {}
        self.gone = []
        self.outcomes = []

    def delay_s(self, address):
        now = asyncio.get_running_loop().time()
        at = self.next_at.get(address, 0.0)
        if now < at:
            return at - now
        self.next_at[address] = now + 0.1
        self.gone.append((address, now))
        return 0.0

    def on_outcome(self, address, *, is_trouble):
        self.outcomes.append((address, is_trouble))


def test_the_pace_holds_and_its_waits_are_not_the_hosts_time():
    pace = SlowPace()
    run = Run(honest_script(), pace=pace, host_deadline_s=0.3)(target(), target("192.0.2.2"))
    assert {record.stopped for record in run.records.values()} == {None}
    assert Counter(address for address, _ in pace.gone) == Counter(asked.address for asked in run.network.asked)
    for host in run.records:
        times = [at for address, at in pace.gone if address == host]
        assert len(times) > 5
        assert min(after - before for before, after in pairwise(times)) >= 0.099


def test_the_pace_hears_how_questions_end_that_had_been_answered(monkeypatch):
    """A host that stops answering what it answered: silence to TLS 1.2 after the first time."""
    for pause in ("_PACE_WHEN_NOISY_S", "_PAUSE_AFTER_FAILURES_S"):
        monkeypatch.setattr(f"scanner.probes.hello_ladder.{pause}", 0.0)
    count = Counter()

    def script(_address, _port, first):
        version = asked_version(first)
        count[version] += 1
        if version == TlsVersion.TLS1_2:
            return honest(first) if count[version] == 1 else SILENT
        return ScriptedReply(ending=Ending.PEER_CLOSED)  # which may be chance: the control is asked again

    pace = SlowPace()
    pace.delay_s = lambda _address: 0.0
    Run(script, pace=pace)(target())
    assert count[TlsVersion.TLS1_2] > 1
    assert ("192.0.2.1", True) in pace.outcomes
    assert ("192.0.2.1", False) not in pace.outcomes


def test_the_pace_hears_nothing_bad_of_a_host_that_answers():
    pace = SlowPace()
    pace.delay_s = lambda _address: 0.0
    Run(honest_script(OLD), pace=pace)(target())
    assert not any(is_trouble for _, is_trouble in pace.outcomes)
