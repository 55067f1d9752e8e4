"""The use cases end to end on loopback: servers of known configuration, the tests' own DNS server, a real store."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scanner import app, sink
from scanner.app import exit_code, judge_stored
from scanner.demo import ADFS_NAME, HOSTS, DemoResolver, running_demo, write_certificate
from scanner.judge import judge_run, maybe_no_listener
from scanner.model.checks import CheckState
from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Probe
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Role
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS
from scanner.options import Confirm
from scanner.policy import PolicyError, read_policy
from scanner.results import Results, judge_to_json
from scanner.share import Share
from scanner.store import StoreError, open_store
from scanner.store.stored import KeepBytes
from scanner.sweep.plan import plan_targets
from scanner.targets import parse_arguments
from tests.farm import farm
from tests.hostile.peers import PEERS
from tests.hostile.runner import running
from tests.net.dns_server import DnsServer
from tests.scanning import QUICK, SWEEP, Watch, content, hosts_of, scan_lines, scan_targets
from tests.scripted_peers import MODERN, OLD, REFUSED, SILENT, honest, target
from tests.scripted_peers import Run as EngineRun

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("results_are_closed")]

TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS[2:]


def scan(targets, options=QUICK, **more):
    """Scan and return the result as objects."""
    return asyncio.run(scan_targets(targets, options, **more))


def states_of(host):
    """As states, of a host object."""
    return {verdict["version"]: verdict["state"] for verdict in host["verdicts"]}


def states(host):
    return {verdict.version: verdict.state for verdict in host.verdicts}


def enabled(results):
    return {verdict.version for verdict in results.verdicts if verdict.state is State.ENABLED}


# Exit codes: records made over a scripted network, judged as ever


def records_of(*addresses, **more):
    """Return what is learned of hosts at scripted addresses."""
    peers = {"192.0.2.1": MODERN, "192.0.2.2": OLD}
    names = {"gone.example.com": []}

    def script(address, port, first):
        if port in {80, 49443}:
            return REFUSED
        if address in peers:
            return honest(first, peers[address])
        return REFUSED if address == "192.0.2.8" else SILENT

    return EngineRun(script, names=names)(*(target(address, **more) for address in addresses)).records.values()


RUN = Run(
    id="r",
    started_at=datetime(2026, 11, 1, tzinfo=UTC),
    finished_at=datetime(2026, 11, 1, tzinfo=UTC),
    is_complete=True,
    policy_id="entra-drs",
    confirm="none",
    tool_version="0",
)
POLICY = read_policy("entra-drs")


def results_of(*addresses, is_complete=True, change=lambda judged: judged, **more):
    """Return the judged run of hosts at scripted addresses."""
    run = replace(RUN, is_complete=is_complete)
    results = Results(run, POLICY)
    absent = Counter()
    for position, record in enumerate(records_of(*addresses, **more)):
        reason = maybe_no_listener(record)
        if reason is None:
            results.add(change(judge_to_json(run, record, POLICY, position=position)))
        else:
            absent[reason.value] += 1
    results.finish(run, absent.items())
    return results


READY, NOT_READY, MUTE, CLOSED, NAMELESS = "192.0.2.1", "192.0.2.2", "192.0.2.9", "192.0.2.8", "gone.example.com"


@pytest.mark.parametrize(
    ("addresses", "code", "code_when_unknown_is_allowed"),
    [
        ([READY], 0, 0),
        ([NOT_READY], 1, 1),
        ([READY, NOT_READY], 1, 1),
        ([NOT_READY, MUTE], 1, 1),
        ([READY, MUTE], 3, 0),
        ([READY, CLOSED], 3, 0),
        ([READY, NAMELESS], 3, 0),
        # Nothing was seen: never 0, whatever is allowed.
        ([MUTE], 3, 3),
        ([CLOSED], 3, 3),
        ([NAMELESS], 3, 3),
        ([], 3, 3),
    ],
)
def test_exit_code(addresses, code, code_when_unknown_is_allowed):
    with results_of(*addresses) as results:
        assert exit_code(results) == code
        assert exit_code(results, allow_unknown=True) == code_when_unknown_is_allowed


def test_exit_code_of_a_range_where_nothing_listens_is_not_zero():
    with results_of(CLOSED, is_from_range=True) as results:
        assert hosts_of(results) == []
        assert results.summary["no_listener"] == {"REFUSED": 1}
        assert exit_code(results) == exit_code(results, allow_unknown=True) == 3


def test_exit_code_of_a_run_cut_short_is_not_zero():
    with results_of(READY, is_complete=False) as ready, results_of(NOT_READY, is_complete=False) as not_ready:
        assert exit_code(ready) == 3
        assert exit_code(not_ready) == 1


def test_closed_optional_port_does_not_make_a_host_unknown():
    more = {"role": Role.ADFS, "optional_ports": (49443,), "server_name": "sts.example.com"}
    with results_of(READY, **more) as results:
        assert exit_code(results) == 0
        (host,) = hosts_of(results)
    assert "unknown" not in states_of(host).values()
    assert host["readiness"] == Readiness.READY.value


@pytest.mark.parametrize(("severity", "code"), [(Severity.INFO, 0), (Severity.WARNING, 1), (Severity.FAILURE, 1)])
def test_findings_for_information_do_not_count(severity, code):
    text = json.dumps({"rule": "any", "severity": severity.value})
    with results_of(READY, change=lambda judged: replace(judged, findings=((severity, text),))) as results:
        assert [own for _, own in results.entries()] == [[json.loads(text)]]
        assert exit_code(results) == code


# Scans of the demo's servers


@pytest.fixture(scope="module")
def demo():
    with running_demo() as targets:
        yield targets


DEMO = replace(QUICK, timeout_s=1.0)


@pytest.mark.parametrize(("confirm", "net"), [(Confirm.ALL, "epoll"), (Confirm.NONE, "asyncio")])
def test_stored_run_is_judged_again_to_the_same_result(demo, tmp_path, confirm, net):
    options = replace(DEMO, confirm=confirm, net=net)
    with open_store(tmp_path / "runs.sqlite") as store:
        live = scan_lines(demo, options, resolver=DemoResolver(), store=store)
        identity = live.run["id"]
        assert content(judge_stored(store, identity)) == content(live)
        assert content(judge_stored(store, "latest")) == content(live)
        stored = store.load_run("latest")
    assert live.is_complete
    assert stored.run.id == identity
    assert stored.run.is_complete
    assert stored.run.finished_at.isoformat() == live.run["finished_at"]
    assert [record.target for record in stored.hosts] == list(demo)
    assert [host["name"] for host in hosts_of(live)] == [each.host for each in demo]
    handshakes = [handshake for host in hosts_of(live) for e in host["endpoints"] for handshake in e["handshakes"]]
    assert bool(handshakes) == (confirm is Confirm.ALL)
    # From another process or at another time: the file alone is enough.
    with open_store(tmp_path / "runs.sqlite", must_exist=True) as store:
        assert content(judge_stored(store, identity)) == content(live)


def test_stored_run_can_be_judged_by_another_policy(demo, tmp_path):
    with open_store(tmp_path / "runs.sqlite") as store:
        live = scan_lines(demo, DEMO, resolver=DemoResolver(), store=store)
        again = judge_stored(store, "latest", policy_id="strict")
        assert again.run["policy"] == "strict"
        assert again.run["policy_title"] != live.run["policy_title"]
        assert [host["verdicts"] for host in hosts_of(again)] == [host["verdicts"] for host in hosts_of(live)]
        with pytest.raises(PolicyError):
            judge_stored(store, "latest", policy_id="no-such-policy")
        with pytest.raises(StoreError):
            judge_stored(store, "29991231")


def test_adfs_is_recognised_and_its_second_port_scanned(demo):
    (wanted,) = [each for each in demo if each.role is Role.ADFS]
    options = replace(DEMO, confirm=Confirm.ALL)
    result = scan([wanted], options, resolver=DemoResolver())
    (host,) = result.hosts
    checks = {check.id: check.state for check in host.checks}
    assert checks["adfs-federation-metadata"] is CheckState.YES
    assert checks["adfs-recognised"] is CheckState.YES
    assert states(host) == {v: State.ENABLED if v is TLS1_2 else State.DISABLED for v in ALL_VERSIONS}
    assert [endpoint.endpoint.is_optional for endpoint in host.endpoints] == [False, True]
    assert [enabled(endpoint) for endpoint in host.endpoints] == [{TLS1_2}, {TLS1_2}]
    assert exit_code(scan_lines([wanted], options, resolver=DemoResolver())) == 0


def test_farm_node_is_asked_by_its_address_under_the_service_name(demo):
    (service,) = [each for each in demo if each.role is Role.ADFS]
    node = replace(service, text="node", host="127.0.0.1", server_name=ADFS_NAME, farm="farm", optional_ports=())
    (host,) = scan([node], DEMO).hosts
    assert states(host) == {v: State.ENABLED if v is TLS1_2 else State.DISABLED for v in ALL_VERSIONS}
    checks = {check.id: check.state for check in host.checks}
    assert checks["adfs-federation-metadata"] is CheckState.YES


def test_node_asked_without_the_service_name_is_unknown_and_not_off(demo):
    (service,) = [each for each in demo if each.role is Role.ADFS]
    node = replace(service, text="node", host="127.0.0.1", server_name=None, optional_ports=())
    (host,) = scan([node], DEMO).hosts
    # The older versions get protocol_version(70), which comes before the name is looked at.
    assert states(host)[TLS1_2] is State.UNKNOWN
    assert State.ENABLED not in states(host).values()
    assert [g.reason for e in host.endpoints for g in e.gaps if g.version is TLS1_2] == [GapReason.NAME_REFUSED]


def test_recognition_can_be_left_out(demo):
    (wanted,) = [each for each in demo if each.role is Role.ADFS]
    records = {}
    options = replace(DEMO, does_recognise=False)
    scan_lines([wanted], options, resolver=DemoResolver(), on_record=records.__setitem__)
    (record,) = records.values()
    assert {exchange.request.probe for exchange in record.exchanges} == {Probe.HELLO}


# Targets


def test_hosts_come_in_the_order_of_the_targets_whatever_is_done_first():
    peers = [peer for peer in PEERS if peer.name in {"silence", "honest-12", "honest-10-12"}]
    with running(peers) as running_states:
        targets = [
            target(running_states[name].address, port=running_states[name].port, text=name)
            for name in ("silence", "honest-12", "honest-10-12")
        ]
        watch = Watch()
        result = scan(targets, replace(QUICK, timeout_s=1.0), observer=watch, on_host=watch.on_host)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", watch.run.id)
    assert isinstance(watch.scan, Share)
    assert [host.target.text for host in result.hosts] == ["silence", "honest-12", "honest-10-12"]
    assert watch.hosts[-1].name == running_states["silence"].address
    assert [enabled(host) for host in result.hosts] == [set(), {TLS1_2}, {TLS1_0, TLS1_2}]


def test_range_addresses_without_a_listener_are_counted(tmp_path):
    (peer,) = [peer for peer in PEERS if peer.name == "honest-12"]
    with running([peer]) as running_states, open_store(tmp_path / "runs.sqlite") as store:
        listening = running_states["honest-12"]
        port = listening.port
        arguments = [f"{listening.address}/32:{port}", f"127.77.200.1-5:{port}", f"127.77.200.9:{port}"]
        results = scan_lines(plan_targets(parse_arguments(arguments)), store=store)
        assert content(judge_stored(store, "latest")) == content(results)
    # Named targets come first, then the ranges.
    assert [host["name"] for host in hosts_of(results)] == ["127.77.200.9", listening.address]
    assert results.summary["no_listener"] == {"REFUSED": 5}
    assert results.is_complete


def _serve(address, port, folder, low, high):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = low, high
    context.load_cert_chain(write_certificate("both.example.test", folder))

    async def close(_reader, writer):
        writer.close()

    return asyncio.start_server(close, address, port, ssl=context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_every_address_of_a_name_is_scanned(tmp_path):
    """The two addresses of one name are set up differently: a host has what any of its addresses has."""

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with DnsServer(zone={"both.example.test": {"A": ["127.0.0.1"], "AAAA": ["::1"]}}) as dns:
            six = await _serve("::1", 0, tmp_path, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
            port = six.sockets[0].getsockname()[1]
            four = await _serve("127.0.0.1", port, tmp_path, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
            async with four, six:
                options = replace(QUICK, nameservers=(dns.address,), timeout_s=5)
                return await scan_targets(
                    [target("both.example.test", port=port), target("gone.example.test", port=port)], options
                )

    both, gone = asyncio.run(main()).hosts
    assert {e.endpoint.address: enabled(e) for e in both.endpoints} == {
        "127.0.0.1": {TLS1_2, TLS1_3},
        "::1": {TLS1_0, TLS1_1},
    }
    assert enabled(both) == {TLS1_0, TLS1_1, TLS1_2, TLS1_3}
    assert gone.endpoints == ()
    assert [gap.reason for gap in gone.gaps] == [GapReason.NAME_NOT_RESOLVED]
    assert set(states(gone).values()) == {State.UNKNOWN}


def test_address_needs_no_name_server():
    (peer,) = [peer for peer in PEERS if peer.name == "honest-12"]
    with running([peer]) as running_states:
        state = running_states["honest-12"]
        options = replace(QUICK, nameservers=(("127.77.200.77", 9),))
        (host,) = scan([target(state.address, port=state.port)], options).hosts
    assert enabled(host) == {TLS1_2}


# Trouble


@pytest.mark.parametrize(
    ("options", "error"), [({"policy": "no-such-policy"}, PolicyError), ({"net": "pigeon"}, ValueError)]
)
def test_bad_options_are_told_before_anything_is_contacted_or_stored(tmp_path, options, error):
    watch = Watch()
    with open_store(tmp_path / "runs.sqlite") as store:
        with pytest.raises(error):
            scan([target("127.77.200.1")], replace(QUICK, **options), observer=watch, store=store)
        assert store.list_runs() == ()
    assert watch.run is None


def test_interrupted_run_is_stored_as_incomplete_with_all_that_was_learned(tmp_path):
    peers = [peer for peer in PEERS if peer.name in {"silence", "honest-12"}]
    with running(peers) as running_states, open_store(tmp_path / "runs.sqlite") as store:
        targets = [target(s.address, port=s.port, text=name) for name, s in running_states.items()]
        watch = Watch(lambda watch: watch.scan.interrupt())
        results = scan_lines(targets, replace(QUICK, timeout_s=30), observer=watch, on_host=watch.on_host, store=store)
        assert content(judge_stored(store, "latest")) == content(results)
        (summary,) = store.list_runs()
    assert not summary.run.is_complete
    assert summary.host_count == 2
    by_name = {host["target"]: host for host in hosts_of(results)}
    assert {v for v, state in states_of(by_name["honest-12"]).items() if state == "enabled"} == {"TLS1.2"}
    assert by_name["honest-12"]["stopped"] is None
    assert by_name["silence"]["stopped"] == "interrupted"
    assert set(states_of(by_name["silence"]).values()) == {"unknown"}
    assert exit_code(results) == 3


def test_results_are_stored_while_the_scan_goes_on(tmp_path, monkeypatch):
    """A machine that dies must not take all with it: what is done is in the store, in a run without an end."""
    monkeypatch.setattr(sink, "_BATCH_HOSTS", 2)
    peers = [peer for peer in PEERS if peer.name.startswith("honest-1")][:5]
    stored = []
    with running(peers) as running_states, open_store(tmp_path / "runs.sqlite") as store:

        def look(_watch):
            # Another reader of the same file, as after a crash.
            with open_store(tmp_path / "runs.sqlite") as other:
                run = other.load_run("latest")
            stored.append((len(run.hosts), run.run.finished_at, run.run.is_complete))

        targets = [target(s.address, port=s.port) for s in running_states.values()]
        watch = Watch(look)
        results = scan_lines(targets, observer=watch, on_host=watch.on_host, store=store)
        assert content(judge_stored(store, "latest")) == content(results)
    assert len(stored) == 5
    assert [count for count, _, _ in stored] in ([0, 0, 2, 2, 4], [0, 2, 2, 4, 4])
    assert {(finished, complete) for _, finished, complete in stored} == {(None, False)}


def test_failing_store_is_told_as_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "_BATCH_HOSTS", 1)
    peers = [peer for peer in PEERS if peer.name in {"silence", "honest-12"}]
    with running(peers) as running_states, open_store(tmp_path / "runs.sqlite") as store:

        def fail(*_args, **_more):
            raise StoreError("the disk is full")

        monkeypatch.setattr(store, "append_packed", fail)
        targets = [target(s.address, port=s.port) for s in running_states.values()]
        with pytest.raises(StoreError, match="the disk is full"):
            scan_lines(targets, replace(QUICK, timeout_s=30), store=store)


def test_our_bug_at_a_host_is_stored_as_such(tmp_path, monkeypatch, caplog):
    (peer,) = [peer for peer in PEERS if peer.name == "honest-12"]

    def bug(**_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("scanner.engine.encode_hello", bug)
    with running([peer]) as running_states, open_store(tmp_path / "runs.sqlite") as store:
        state = running_states["honest-12"]
        results = scan_lines([target(state.address, port=state.port)], store=store)
        assert content(judge_stored(store, "latest")) == content(results)
    (host,) = hosts_of(results)
    assert host["stopped"] == "failed"
    assert set(states_of(host).values()) == {"unknown"}
    assert not results.is_complete
    assert "a bug" in caplog.text


def test_records_without_exchanges_are_judged():
    record = HostRecord(target=target(), resolution=Resolution(), endpoints=(), exchanges=(), stopped="interrupted")
    result = judge_run(RUN, [record], POLICY)
    assert set(states(result.hosts[0]).values()) == {State.UNKNOWN}


def test_demo_has_a_host_for_every_case(demo):
    assert [each.host for each in demo] == [host.name for host in HOSTS]


class FullStore:
    """A store whose disk is full once the run has begun."""

    def begin_run(self, run, **_):
        """Still fits."""

    def append_packed(self, *_, **__):
        raise StoreError("no space left")

    def finish_run(self, *_):
        raise AssertionError("a store that failed is left alone")


def test_a_store_that_fails_on_the_way_costs_no_result(demo):
    watch = Watch()
    results = scan_lines(demo, DEMO, resolver=DemoResolver(), store=FullStore(), observer=watch)
    assert watch.failures == ["no space left"]
    assert len(hosts_of(results)) == len(demo)
    assert exit_code(results) == 1
    with pytest.raises(StoreError):
        scan_lines(demo, DEMO, resolver=DemoResolver(), store=FullStore())


# Ranges: servers of known configuration at 127.78.0.1 and on, nothing at the addresses after them


@pytest.fixture
def servers():
    with farm() as running_farm:
        yield running_farm


def test_a_range_is_what_its_servers_are(servers):
    results = scan_lines(servers.plan(named=3), SWEEP)
    assert servers.wrong(hosts_of(results)) == {}
    assert results.is_complete
    # 127.78.0.0/26 without network and broadcast address, and without the three that are named.
    assert results.summary["sweep"]["addresses"] == {"total": 59, "done": 59, "listening": 9}
    assert results.summary["no_listener"] == {"REFUSED": 50}
    # The named ones first, in the order given.
    assert [host["name"] for host in hosts_of(results)] == list(servers.states)


@pytest.mark.parametrize("net", ["epoll", "asyncio"])
def test_a_range_and_its_named_hosts_get_the_same_verdicts(servers, net):
    by_name = scan_lines([target(address, port=servers.port) for address in servers.states], SWEEP)
    by_range = scan_lines(servers.plan("127.78.0.1-12"), replace(SWEEP, net=net))
    verdicts = [
        {host["name"]: [(v["version"], v["state"], v["reason"]) for v in host["verdicts"]] for host in hosts_of(each)}
        for each in (by_name, by_range)
    ]
    assert verdicts[0] == verdicts[1]
    assert len(verdicts[0]) == 12


def test_a_run_interrupted_again_and_again_ends_as_one_that_never_was(servers, tmp_path):
    plan, options, resumed = servers.plan(named=3), SWEEP, None
    whole = scan_lines(plan, options)
    once = servers.connection_counts
    rounds, known = 0, {}
    with open_store(tmp_path / "runs.sqlite") as store:
        while True:
            before, done_before = servers.connection_counts, sum(known.values())
            watch = Watch(lambda watch: len(watch.hosts) == 3 and watch.scan.interrupt())
            more = {"observer": watch, "on_host": watch.on_host, "store": store, "resumed": resumed}
            results = scan_lines(plan, options, **more)
            rounds += 1
            assert content(judge_stored(store, "latest")) == content(results)
            assert results.summary["sweep"]["resumed"] == (resumed is not None)
            # What was done is not in what is to be done, and no server that was done heard of us again.
            assert watch.scan.counters.total == 59 + 3 - done_before
            asked = {address for address, count in servers.connection_counts.items() if count > before[address]}
            assert asked.isdisjoint(name for name, is_final in known.items() if is_final and name in servers.states)
            assert {judged.name for judged in watch.hosts} <= asked
            known = {host["name"]: host["stopped"] is None for host in hosts_of(results)}
            known["absent"] = sum(results.summary["no_listener"].values())
            if results.is_complete:
                break
            assert exit_code(results) in {1, 3}
            resumed, plan, options = app.load_resumable(store, "latest")
            assert (resumed, options) == (results.run["id"], SWEEP)
        with pytest.raises(StoreError, match="is complete: there is nothing to go on with"):
            app.load_resumable(store, "latest")
        assert len(store.list_runs()) == 1
    assert rounds >= 2  # how many a round finishes depends on what else the machine does
    assert servers.wrong(hosts_of(results)) == {}
    assert [host["name"] for host in hosts_of(results)] == [host["name"] for host in hosts_of(whole)]
    for member in ("hosts", "ready", "not_ready", "unknown", "no_listener"):
        assert results.summary[member] == whole.summary[member]
    assert results.summary["sweep"]["addresses"] == whole.summary["sweep"]["addresses"]
    # Only a host that was cut short may have been begun again.
    twice = {address: count - once[address] for address, count in servers.connection_counts.items()}
    assert sum(twice.values()) <= sum(once.values()) + rounds * SWEEP.in_flight * 12


def test_a_run_of_names_alone_can_be_gone_on_with(servers, tmp_path):
    targets = [target(address, port=servers.port) for address in servers.states]
    options = replace(SWEEP, concurrency=1)
    with open_store(tmp_path / "runs.sqlite") as store:
        watch = Watch(lambda watch: len(watch.hosts) == 5 and watch.scan.interrupt())
        scan_lines(targets, options, observer=watch, on_host=watch.on_host, store=store)
        done = {judged.name for judged in watch.hosts}
        before = servers.connection_counts
        resumed, plan, options = app.load_resumable(store, "latest")
        results = scan_lines(plan, options, store=store, resumed=resumed)
        assert content(judge_stored(store, "latest")) == content(results)
    assert len(done) == 5
    assert all(servers.connection_counts[address] == before[address] for address in done)
    assert results.is_complete
    assert servers.wrong(hosts_of(results)) == {}


def test_what_is_excluded_later_is_not_asked_any_more(servers, tmp_path):
    """Somebody complains: their address, named and of the range, is left alone by the rest of the run."""
    with open_store(tmp_path / "runs.sqlite") as store:
        watch = Watch(lambda watch: len(watch.hosts) == 2 and watch.scan.interrupt())
        scan_lines(servers.plan(named=1), SWEEP, observer=watch, on_host=watch.on_host, store=store)
        met = {address for address, count in servers.connection_counts.items() if count}
        excluded = next(address for address in list(servers.states)[1:] if address not in met)
        before = servers.connection_counts
        resumed, plan, options = app.load_resumable(store, "latest")
        excludes = parse_arguments([f"!{excluded}"]).excludes
        plan = replace(plan, excludes=(*plan.excludes, *excludes))
        results = scan_lines(plan, options, store=store, resumed=resumed)
        assert content(judge_stored(store, "latest")) == content(results)
    assert servers.connection_counts[excluded] == before[excluded] == 0
    assert excluded not in {host["name"] for host in hosts_of(results)}
    assert results.summary["no_listener"]["NOT_ASKED"] == 1
    assert results.is_complete


def test_merged_shards_tell_of_all_addresses(servers, tmp_path):
    whole = scan_lines(servers.plan(named=1), SWEEP)
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(tmp_path / f"{number}.sqlite")) for number in range(3)]
        for number, store in enumerate(stores[1:], start=1):
            scan_lines(servers.plan(named=1), replace(SWEEP, shard=(number, 2)), store=store)
        app.merge_shards(stores[0], stores[1:])
        merged = judge_stored(stores[0], "latest")
        with pytest.raises(StoreError, match="was merged from shards"):
            app.load_resumable(stores[0], "latest")
    assert merged.is_complete
    assert merged.summary["sweep"] == whole.summary["sweep"]
    assert [host["name"] for host in hosts_of(merged)] == [host["name"] for host in hosts_of(whole)]


def test_hosts_without_bytes_keep_their_judgement_and_that_is_said(servers, tmp_path):
    notes = []
    with open_store(tmp_path / "runs.sqlite") as store:
        results = scan_lines(servers.plan(), replace(SWEEP, keep=KeepBytes.NONE), store=store)
        judge_stored(store, "latest", on_note=notes.append)
        assert notes == []
        again = judge_stored(store, "latest", policy_id="strict", on_note=notes.append)
    assert notes == ["12 hosts were stored without bytes (--keep-bytes none): they keep the judgement by entra-drs"]
    assert list(again.iter_lines()) == list(results.iter_lines())


def test_what_is_not_stored_can_not_be_gone_on_with(servers, tmp_path):
    with open_store(tmp_path / "runs.sqlite") as store:
        with pytest.raises(StoreError):
            app.load_resumable(store, "latest")
        scan_lines(servers.plan(), SWEEP, store=store)
        with pytest.raises(StoreError):
            app.load_resumable(store, "29991231")


# Which bytes are kept


@pytest.mark.parametrize("keep", KeepBytes)
def test_a_stored_sweep_is_the_same_report_whatever_is_kept(servers, tmp_path, keep):
    options = replace(SWEEP, keep=keep)
    with open_store(tmp_path / "runs.sqlite") as store:
        live = scan_lines(servers.plan(named=3), options, store=store)
        assert content(judge_stored(store, "latest")) == content(live)
        kept = [host.has_bytes for host in store.iter_stored("latest")]
    assert servers.wrong(hosts_of(live)) == {}
    # All these hosts are clear: nothing about them is unknown or disputed.
    assert kept == [keep is not KeepBytes.NONE] * 12
