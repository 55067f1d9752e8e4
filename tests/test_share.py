"""A share of a run: what it does is exactly its part, and it judges as ever, however hosts were asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from scanner import share as module
from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Probe
from scanner.model.subjects import Role, Target
from scanner.model.versions import ALL_VERSIONS
from scanner.net.resolve import SystemResolver
from scanner.options import Confirm, ScanOptions
from scanner.policy import read_policy
from scanner.results import judge_to_json
from scanner.share import Part, Share
from scanner.store.stored import KeepBytes
from scanner.sweep.plan import TargetPlan
from scanner.sweep.progress import Progress
from scanner.sweep.space import Space, SweepRange
from tests.hostile.peers import PEERS
from tests.hostile.runner import running
from tests.kinds_of_hosts import RUN
from tests.sweep.servers import FULL, MUTE, NEW, OLD, RESETS, serving

pytestmark = pytest.mark.timeout(180)

POLICY = read_policy("entra-drs")
OPTIONS = ScanOptions(
    confirm=Confirm.NONE, timeout_s=1.0, connect_s=0.4, host_deadline_s=20, rate=0, per_network=0, in_flight=500
)


class Sink:
    """Notes what is delivered; fails where anything is delivered twice."""

    def __init__(self):
        self.hosts = {}
        self.packed = {}
        self.absent = {}
        self.failed = {}

    def _once(self, order_at):
        assert order_at is None or order_at not in self.hosts.keys() | self.absent.keys() | self.failed.keys()

    def on_host(self, order_at, judged, packed):
        self._once(order_at)
        at = judged.name if order_at is None else order_at
        assert at not in self.hosts
        self.hosts[at] = judged
        self.packed[at] = packed

    def on_absent(self, order_at, reason):
        self._once(order_at)
        self.absent[order_at] = reason

    def on_failed(self, order_at, os_error):
        self._once(order_at)
        self.failed[order_at] = os_error


def place(first, count=1, *, ports, **more):
    number = int(ip_address(first))
    template = Target(text=f"{first} and more", host=first, role=Role.SERVER, ports=tuple(ports), **more)
    return SweepRange(template=template, first=number, last=number + count - 1, version=4)


def plan_of(*ranges, named=()):
    return TargetPlan(named=tuple(named), space=Space(ranges))


def do(plan, options=OPTIONS, *, part=None, does_pack=False, act=None):
    """Do a share; return its sink and records by position."""
    sink, records = Sink(), {}

    async def main():
        share = Share(
            RUN,
            plan,
            POLICY,
            options,
            sink,
            part=part or Part(),
            resolver=SystemResolver(),
            does_pack=does_pack,
            on_record=records.__setitem__,
        )
        if act is not None:
            asyncio.get_running_loop().call_later(0.1, act, share)
        await asyncio.wait_for(share.run(), 120)
        return share

    share = asyncio.run(main())
    return sink, records, share


def assert_judged_as_ever(sink, records):
    """What the lane filled in is, byte for byte, what judging the record gives."""
    assert sink.hosts
    assert {judged.position for judged in sink.hosts.values()} == set(records)
    for judged in sink.hosts.values():
        record = records[judged.position]
        assert judged == judge_to_json(RUN, record, POLICY, position=judged.position)


def states_of(judged):
    """{port: {version: state}} of a host's endpoints."""
    return {
        endpoint["port"]: {verdict["version"]: State(verdict["state"]) for verdict in endpoint["verdicts"]}
        for endpoint in json.loads(judged.json)["endpoints"]
    }


def test_hostile_peers_are_judged_as_ever_and_never_wrong():
    with running(list(PEERS)) as states:
        names = list(states)
        plan = plan_of(
            *(place(state.address, ports=[state.port], server_name=state.peer.server_name) for state in states.values())
        )
        sink, records, _ = do(plan)
    assert_judged_as_ever(sink, records)
    assert len(sink.hosts) + len(sink.absent) == len(names)
    wrong = []
    for judged in sink.hosts.values():
        state = states[names[judged.position]]
        found = states_of(judged)[state.port]
        wrong += [
            (state.peer.name, version.label, found[version.label])
            for version in ALL_VERSIONS
            if found[version.label] not in state.peer.truth[version]
        ]
    assert wrong == []


MANY = [NEW, OLD, RESETS, MUTE, "honest-40-12-13", "honest-all", "warning-112", "record-65535", "smtp", None, FULL]


@pytest.mark.parametrize("keep", [KeepBytes.ALL, KeepBytes.NONE])
def test_hosts_of_equal_answers_are_filled_in_as_if_judged(keep):
    """Four hosts of each kind, on two ports: the third and fourth of a kind are not judged any more."""
    places = [f"127.61.1.{at + 1}" for at in range(4 * len(MANY))]
    kinds = {each: MANY[at % len(MANY)] for at, each in enumerate(places)}
    others = {each: [OLD, None, NEW][at % 3] for at, each in enumerate(places)}
    with (
        serving({each: kind for each, kind in kinds.items() if kind}) as (first, _),
        serving({each: kind for each, kind in others.items() if kind}) as (second, _),
    ):
        plan = plan_of(
            place(places[0], len(places), ports=[first]), place(places[0], len(places), ports=[first, second])
        )
        sink, records, _ = do(plan, replace(OPTIONS, keep=keep), does_pack=True)
    assert_judged_as_ever(sink, records)
    assert len(sink.hosts) + len(sink.absent) == 2 * len(places)
    for at, judged in sink.hosts.items():
        packed = sink.packed[at]
        assert (packed.position, packed.host) == (judged.position, judged.name)
        assert (packed.judged is not None) == (keep is KeepBytes.NONE)


def comparable(sink):
    found = {judged.position: states_of(judged) for judged in sink.hosts.values()}
    return found, sink.absent


def test_without_epoll_the_results_are_the_same():
    kinds = [NEW, OLD, None, FULL, "honest-40-12-13", "honest-all", RESETS, "smtp"]
    places = {f"127.61.2.{at + 1}": kind for at, kind in enumerate(kinds)}
    with serving({each: kind for each, kind in places.items() if kind}) as (port, _):
        plan = plan_of(place("127.61.2.1", len(kinds), ports=[port]))
        lane, engine = (comparable(do(plan, replace(OPTIONS, net=net))[0]) for net in ("epoll", "asyncio"))
    assert lane == engine
    assert set(lane[1].values()) == {GapReason.REFUSED, GapReason.NO_ANSWER}


# Whose part is what


def test_parts_of_shards_are_everything_exactly_once(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 64)
    plan = plan_of(place("127.61.16.0", 700, ports=[1]), place("127.61.32.0", 301, ports=[1]))
    whole = plan.space.count
    told = []
    for shard in (1, 2, 3):
        options = replace(OPTIONS, shard=(shard, 3), seed=5)
        of_shard = []
        for number in range(2):
            sink, _, share = do(plan, options, part=Part(number=number, count=2))
            assert sink.absent.keys() | sink.failed.keys() == sink.absent.keys()
            assert share.counters.addresses_total == share.counters.addresses_done == len(sink.absent)
            of_shard += sink.absent
        told += [share._order.at(order_at) for order_at in of_shard]
    assert sorted(told) == list(range(whole))


def test_named_targets_are_shared_out_exactly_once():
    named = [Target(text=f"127.61.3.{at}", host=f"127.61.3.{at}", role=Role.SERVER, ports=(1,)) for at in range(1, 24)]
    plan = plan_of(named=named)
    names = []
    for shard in (1, 2):
        for number in range(2):
            options = replace(OPTIONS, shard=(shard, 2))
            sink, _, share = do(plan, options, part=Part(number=number, count=2))
            assert share.counters.hosts_total == share.counters.hosts_done == len(sink.hosts)
            assert len(sink.hosts) in {5, 6}  # nobody idles
            names += sink.hosts
    assert sorted(names) == sorted(target.host for target in named)


@pytest.mark.parametrize("net", ["epoll", "asyncio"])
def test_what_was_done_before_is_not_done_again(net):
    named = [Target(text=f"127.61.3.{at}", host=f"127.61.3.{at}", role=Role.SERVER, ports=(1,)) for at in (1, 2, 3)]
    plan = plan_of(place("127.61.4.0", 60, ports=[1]), named=named)
    progress = Progress(60)
    done = [0, 1, 2, 7, 33, 59]
    for at in done:
        progress.mark(at)
    part = Part(progress=progress, done_positions=frozenset({1}))
    sink, _, share = do(plan, replace(OPTIONS, net=net), part=part)
    assert set(sink.absent) == set(range(60)) - set(done)
    assert set(sink.hosts) == {"127.61.3.1", "127.61.3.3"}
    assert share.counters.total == share.counters.done == 56


# What is confirmed


def handshakes_of(records):
    return {
        record.target.host
        for record in records.values()
        if any(exchange.request.probe is Probe.HANDSHAKE for exchange in record.exchanges)
    }


@pytest.mark.parametrize(
    ("confirm", "confirmed"),
    [(Confirm.ALL, {"127.61.5.1", "127.61.5.2"}), (Confirm.FINDINGS, {"127.61.5.2"}), (Confirm.NONE, set())],
)
@pytest.mark.parametrize("net", ["epoll", "asyncio"])
def test_what_is_confirmed_by_handshakes(confirm, confirmed, net, monkeypatch):
    """The policy forbids TLS 1.0 and 1.1, which the second one has."""
    monkeypatch.setattr(module, "_is_sampled", lambda _seed, _at: False)
    with serving({"127.61.5.1": NEW, "127.61.5.2": OLD}) as (port, _):
        plan = plan_of(place("127.61.5.1", 3, ports=[port]))
        sink, records, _ = do(plan, replace(OPTIONS, confirm=confirm, net=net))
    assert handshakes_of(records) == confirmed
    assert len(sink.hosts) == 2
    if confirm is Confirm.FINDINGS:
        asked = {
            exchange.request.version
            for record in records.values()
            for exchange in record.exchanges
            if exchange.request.probe is Probe.HANDSHAKE
        }
        assert asked <= POLICY.forbidden_versions


def test_a_sample_is_confirmed_whole(monkeypatch):
    monkeypatch.setattr(module, "_is_sampled", lambda _seed, at: at == 1)
    with serving({"127.61.6.1": NEW, "127.61.6.2": NEW}) as (port, _):
        plan = plan_of(place("127.61.6.1", 2, ports=[port]))
        _, records, share = do(plan, replace(OPTIONS, confirm=Confirm.FINDINGS))
    assert handshakes_of(records) == {f"127.61.6.{1 + share._order.at(1)}"}


def test_the_sample_is_one_in_a_hundred_and_the_same_in_shards(monkeypatch):
    assert 60 < sum(module._is_sampled(3, at) for at in range(10_000)) < 140
    asked = []
    monkeypatch.setattr(module, "_is_sampled", lambda _seed, at: asked.append(at))
    options = replace(OPTIONS, confirm=Confirm.FINDINGS, shard=(3, 8))

    async def main():
        part = Part()
        share = Share(RUN, plan_of(), POLICY, options, Sink(), part=part, resolver=SystemResolver(), does_pack=False)
        for order_at in (0, 1, 5):
            share._confirm_at(order_at)
        await share._network.close()

    asyncio.run(main())
    assert asked == [2, 10, 42]  # places in the order of the whole run


# Stopping


@pytest.mark.parametrize("net", ["epoll", "asyncio"])
def test_an_interruption_delivers_what_was_learned(net):
    places = [f"127.61.7.{at}" for at in range(1, 21)]
    with serving(dict.fromkeys(places, MUTE)) as (port, _):
        plan = plan_of(place(places[0], len(places), ports=[port]))
        sink, records, _ = do(plan, replace(OPTIONS, net=net, timeout_s=10), act=lambda share: share.interrupt())
    assert {judged.stopped for judged in sink.hosts.values()} <= {"interrupted"}
    assert len(records) == len(sink.hosts)
    assert sink.absent == {}


def test_what_was_handed_over_just_before_an_interruption_stops_too():
    with serving({"127.61.8.1": MUTE}) as (port, _):
        plan = plan_of(place("127.61.8.1", ports=[port]))
        sink = Sink()

        async def main():
            part = Part()
            share = Share(RUN, plan, POLICY, OPTIONS, sink, part=part, resolver=SystemResolver(), does_pack=False)
            hand_over = share._lane._client.on_handed_over

            def on_handed_over(swept):
                hand_over(swept)
                share.interrupt()  # the engine has not begun with it

            share.on_handed_over = on_handed_over
            await asyncio.wait_for(share.run(), 10)

        asyncio.run(main())
    assert [judged.stopped for judged in sink.hosts.values()] == ["interrupted"]


@pytest.mark.parametrize("net", ["epoll", "asyncio"])
@pytest.mark.parametrize("method", ["on_absent", "on_host"])
def test_what_the_sink_raises_ends_the_share(method, net):
    class FullError(Exception):
        pass

    def fail(*_):
        raise FullError

    with serving({"127.61.9.1": NEW}) as (port, _):
        plan = plan_of(place("127.61.9.1", 5, ports=[port]))
        sink = Sink()
        setattr(sink, method, fail)

        async def main():
            part, options = Part(), replace(OPTIONS, net=net)
            share = Share(RUN, plan, POLICY, options, sink, part=part, resolver=SystemResolver(), does_pack=False)
            with pytest.raises(FullError):
                await asyncio.wait_for(share.run(), 20)

        asyncio.run(main())


def test_rates_and_budgets_are_shared_out_and_slow_down():
    async def main():
        options = replace(OPTIONS, rate=100.0, per_network=40.0)
        plan = plan_of(place("127.61.10.0", 2, ports=[1]))
        part = Part(number=1, count=4)
        share = Share(RUN, plan, POLICY, options, Sink(), part=part, resolver=SystemResolver(), does_pack=False)
        rates = [share.rate]
        share._on_factor(0.5)
        rates.append(share.rate)
        share._on_factor(1.0)
        rates.append(share.rate)
        await share._network.close()
        return rates, share._budgets.rate(1, 0.0)

    assert asyncio.run(main()) == ([25.0, 12.5, 25.0], 10.0)


def test_without_a_limit_what_went_until_now_is_slowed_down_and_the_lane_goes_on():
    plan = plan_of(place("127.61.11.0", 400, ports=[1]))

    def slow(share):
        share._on_factor(0.5)
        asyncio.get_running_loop().call_later(0.3, share._on_factor, 1.0)

    sink, _, share = do(plan, replace(OPTIONS, in_flight=2), act=slow)
    assert len(sink.absent) == 400
    assert share.rate == 0
