"""Ranges end to end on loopback: shards, order, what is confirmed; several processes, and one of them killed."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from scanner import share
from scanner.app import exit_code, judge_stored, load_resumable, scan_plan
from scanner.model.exchange import Probe
from scanner.model.versions import ALL_VERSIONS
from scanner.options import Confirm
from scanner.store import open_store
from scanner.sweep.plan import plan_targets
from scanner.targets import parse_arguments
from tests.farm import farm
from tests.hostile.peers import PEERS
from tests.hostile.runner import Listening, running
from tests.scanning import SWEEP, Watch, addresses_done, content, hosts_of, scan_lines

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("results_are_closed")]

TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS[2:]


@pytest.fixture
def servers():
    with farm() as running_farm:
        yield running_farm


def test_shards_share_nothing_and_are_the_whole_together(servers):
    whole = scan_lines(servers.plan(named=3), SWEEP)
    once = servers.connection_counts
    shards = [scan_lines(servers.plan(named=3), replace(SWEEP, shard=(number, 4))) for number in range(1, 5)]
    assert all(shard.is_complete for shard in shards)
    names = [host["name"] for shard in shards for host in hosts_of(shard)]
    assert sorted(names) == sorted(host["name"] for host in hosts_of(whole))
    assert servers.wrong(host for shard in shards for host in hosts_of(shard)) == {}
    assert sum(addresses_done(shard) for shard in shards) == addresses_done(whole) == 59
    assert max(map(addresses_done, shards)) - min(map(addresses_done, shards)) <= 1
    assert [shard.summary["sweep"]["shard"] for shard in shards] == ["1/4", "2/4", "3/4", "4/4"]
    # Each server was asked in one shard alone.
    assert servers.connection_counts == {address: 2 * count for address, count in once.items()}


def test_the_seed_says_the_order(servers):
    def order(seed):
        watch = Watch()
        options = replace(SWEEP, seed=seed, in_flight=1, concurrency=1)
        scan_lines(servers.plan(), options, observer=watch, on_host=watch.on_host)
        return [judged.name for judged in watch.hosts]

    orders = [order(seed) for seed in (1, 1, 2, 3)]
    assert all(sorted(each) == sorted(servers.states) for each in orders)
    assert orders[0] == orders[1]
    assert len({tuple(each) for each in orders}) == 3
    assert list(servers.states) not in orders  # never one after the other


@pytest.mark.parametrize("passes", [1, 3])
def test_a_silent_address_is_tried_as_often_as_asked_for(passes):
    peers = [peer for peer in PEERS if peer.listening is Listening.QUEUE_FULL]
    assert peers
    with running(peers[:1]) as running_states:
        (state,) = running_states.values()
        watch = Watch()
        options = replace(SWEEP, passes=passes, connect_s=0.3)
        plan = plan_targets(parse_arguments([f"{state.address}/32:{state.port}"]))
        results = scan_lines(plan, options, observer=watch)
    assert watch.scan.counters.connections == passes
    assert results.summary["no_listener"] == {"NO_ANSWER": 1}


HANDSHAKES = replace(SWEEP, timeout_s=1.0, confirm=Confirm.FINDINGS, host_deadline_s=15, concurrency=20, in_flight=20)
OLD_VERSIONS = {TLS1_0, TLS1_1}
NEW_VERSIONS = {TLS1_2, TLS1_3}


def handshakes_of(plan, options):
    """Return the versions for which handshakes were tried, by address."""
    tried = {}

    def keep(_position, record):
        requests = [exchange.request for exchange in record.exchanges]
        tried[record.target.host] = {each.version for each in requests if each.probe is Probe.HANDSHAKE}

    scan_lines(plan, options, on_record=keep)
    return tried


@pytest.mark.parametrize(
    ("confirm", "named", "of_range"),
    [
        (Confirm.NONE, lambda _: set(), lambda _: set()),
        (Confirm.ALL, lambda enabled: enabled, lambda enabled: enabled),
        # Of a range what the policy forbids (its rules forbid all below TLS 1.2), of named hosts everything.
        (Confirm.FINDINGS, lambda enabled: enabled, lambda enabled: enabled & OLD_VERSIONS),
    ],
)
def test_what_handshakes_confirm(monkeypatch, confirm, named, of_range):
    monkeypatch.setattr(share, "_SAMPLE_ONE_IN", 10**9)
    with farm(6) as servers:
        tried = handshakes_of(servers.plan("127.78.0.0/28", named=3), replace(HANDSHAKES, confirm=confirm))
        addresses = list(servers.states)
    # Every third server is an old one.
    enabled = [NEW_VERSIONS, NEW_VERSIONS, OLD_VERSIONS] * 2
    expected = [named(each) for each in enabled[:3]] + [of_range(each) for each in enabled[3:]]
    assert [tried[address] for address in addresses] == expected


def test_a_sample_of_hosts_without_findings_is_confirmed_as_well(monkeypatch):
    monkeypatch.setattr(share, "_SAMPLE_ONE_IN", 1)
    with farm(3) as servers:
        tried = handshakes_of(servers.plan("127.78.0.0/28"), HANDSHAKES)
    assert list(tried.values()).count(NEW_VERSIONS) == 2


def test_the_sample_is_every_hundredth_wherever_one_looks():
    for seed in range(5):
        sampled = [k for k in range(100_000) if share._is_sampled(seed, k)]
        # Binomial: 1000 of 100,000 are expected, with a standard deviation of 31.5.
        assert 840 < len(sampled) < 1160
        assert 400 < sum(k < 50_000 for k in sampled) < 600
    assert {k for k in range(10_000) if share._is_sampled(1, k)} != {
        k for k in range(10_000) if share._is_sampled(2, k)
    }


# Several processes

WIDE = replace(SWEEP, in_flight=200, concurrency=100, processes=2)
WIDE_BLOCK = "127.78.0.0/20"
"""4,094 addresses: each process takes a thousand at a time."""


@pytest.fixture
def children(monkeypatch):
    """Process ids of the workers that a test starts."""
    started = []
    start = asyncio.create_subprocess_exec

    async def noted(*command, **more):
        process = await start(*command, **more)
        started.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return started


def test_two_processes_find_what_one_finds(servers, tmp_path, children):
    plan = servers.plan(WIDE_BLOCK, named=3)
    with open_store(tmp_path / "runs.sqlite") as store:
        two = scan_lines(plan, WIDE, store=store)
        assert content(judge_stored(store, "latest")) == content(two)
    assert len(children) == 2
    one = scan_lines(plan, replace(WIDE, processes=1))
    assert len(children) == 2
    assert servers.wrong(hosts_of(one)) == servers.wrong(hosts_of(two)) == {}
    assert one.is_complete
    assert two.is_complete
    for member in ("hosts", "ready", "not_ready", "unknown", "no_listener"):
        assert one.summary[member] == two.summary[member]
    assert one.summary["sweep"] == two.summary["sweep"]
    assert two.summary["sweep"]["addresses"] == {"total": 4091, "done": 4091, "listening": 9}


@pytest.mark.parametrize("is_early", [True, False], ids=["before it said anything", "at work"])
def test_a_worker_that_is_killed_is_noticed_and_its_part_can_be_gone_on_with(servers, tmp_path, children, is_early):
    plan, options = servers.plan(WIDE_BLOCK, named=3), replace(WIDE, rate=0 if is_early else 1500)
    watch = Watch()

    async def kill():
        while len(children) < 2 or not (is_early or watch.hosts):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.01)
        os.kill(children[1], signal.SIGKILL)

    async def main(store):
        killing = asyncio.ensure_future(kill())
        results = await scan_plan(plan, options, observer=watch, on_host=watch.on_host, store=store)
        await killing
        return results

    with open_store(tmp_path / "runs.sqlite") as store:
        results = asyncio.run(main(store))
        (note,) = [note for note in watch.notes if "process" in note]
        assert "ended before its time (exit code -9)" in note
        assert not results.is_complete
        assert exit_code(results, allow_unknown=True) in {1, 3}
        assert addresses_done(results) < 4091
        assert content(judge_stored(store, "latest")) == content(results)
        resumed, plan, options = load_resumable(store, "latest")
        after = scan_lines(plan, replace(options, processes=1, rate=0), store=store, resumed=resumed)
    assert after.is_complete
    assert servers.wrong(hosts_of(after)) == {}
    assert addresses_done(after) == 4091
    assert after.summary["no_listener"] == {"REFUSED": 4082}


def test_an_interrupt_reaches_every_process(servers, tmp_path, children):
    watch = Watch(lambda watch: watch.scan.interrupt())
    options = replace(WIDE, rate=500)
    with open_store(tmp_path / "runs.sqlite") as store:
        results = scan_lines(
            servers.plan(WIDE_BLOCK, named=3), options, observer=watch, on_host=watch.on_host, store=store
        )
        assert content(judge_stored(store, "latest")) == content(results)
        resumed, plan, options = load_resumable(store, "latest")
        after = scan_lines(plan, replace(options, rate=0), store=store, resumed=resumed)
    assert len(children) == 4
    assert watch.notes == []
    assert not results.is_complete
    assert 0 < addresses_done(results) < 2000
    assert after.is_complete
    assert servers.wrong(hosts_of(after)) == {}
    assert addresses_done(after) == 4091
