"""The lane against scripted servers on loopback: every address is told of once, within every bound."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from scanner.counters import Counters
from scanner.model.evidence import GapReason
from scanner.model.exchange import Ending
from scanner.model.subjects import Role, Target
from scanner.model.versions import TlsVersion
from scanner.net import reactor as reactor_module
from scanner.net.budgets import Backoff, Budgets
from scanner.net.limits import Dispatcher
from scanner.probes.plan_memory import PlanMemory
from scanner.sweep import lane as module
from scanner.sweep.lane import Lane, LaneSettings
from scanner.sweep.space import Space, SweepRange
from tests.net.peers import open_descriptors
from tests.sweep.servers import FULL, MUTE, NEW, OLD, RESETS, serving

pytestmark = pytest.mark.timeout(120)

SETTINGS = LaneSettings(connect_s=0.3, timeout_s=0.6, passes=2, in_flight=50, most_talking=20)


def template_of(ports, **more):
    return Target(text="127.0.0.0/8", host="127.60.0.0", role=Role.SERVER, ports=tuple(ports), **more)


def space_of(ports, first, count, **more):
    number = int(ip_address(first))
    return Space((SweepRange(template=template_of(ports, **more), first=number, last=number + count - 1, version=4),))


@dataclass
class Client:
    """Notes what is told of each place in the order, and gives back what it is handed after a while."""

    lane: Lane | None = None
    told: dict[int, list[object]] = field(default_factory=dict)
    swept: dict[int, object] = field(default_factory=dict)
    talking: Counter = field(default_factory=Counter)
    begun: list[tuple[float, int, str, int]] = field(default_factory=list)
    most_in_flight: int = 0
    on_told: Callable[[], None] = lambda: None

    def _tell(self, order_at, what):
        self.told.setdefault(order_at, []).append(what)
        self.on_told()

    def on_absent(self, order_at, reason):
        self._tell(order_at, reason)

    def on_swept(self, swept):
        self.swept[swept.order_at] = swept
        self._tell(swept.order_at, "swept")

    def on_handed_over(self, swept):
        self.swept[swept.order_at] = swept
        asyncio.get_running_loop().call_later(0.05, self.lane.release)
        self._tell(swept.order_at, "handed over")

    def on_cut(self, swept):
        assert swept.rows
        self._tell(swept.order_at, "cut")

    def on_failed(self, order_at, os_error):
        self._tell(order_at, os_error)

    def whats(self):
        """What was told of each place; fails where it was told twice."""
        assert all(len(whats) == 1 for whats in self.told.values()), self.told
        return {order_at: whats[0] for order_at, whats in self.told.items()}


async def run_lane(space, client, *, rate=0.0, per_network=0.0, act=None, limit_s=30.0, settings=SETTINGS, **more):
    budgets = Budgets(per_network)
    dispatcher = Dispatcher(rate)
    counters = more.pop("counters", None) or Counters()
    options = {
        "source": iter([(k, 1000 + k, space.locate(k)) for k in range(space.count)]),
        "plans": PlanMemory(confirm=frozenset()),
        "needs_engine": lambda _order_at, _step: False,
        "settings": settings,
        "client": client,
        "counters": counters,
        "dispatcher": dispatcher,
        "budgets": budgets,
        "backoff": Backoff(budgets),
        "next_id": itertools.count(1).__next__,
    }
    lane = client.lane = Lane(**(options | more))
    begin = lane._reactor.begin

    def note(call, connect_s, timeout_s):
        client.begun.append((time.monotonic(), call.order_at, call.address, lane._talking + lane._handed_over))
        begin(call, connect_s, timeout_s)
        client.most_in_flight = max(client.most_in_flight, lane._reactor.in_flight - lane._talking)

    lane._reactor.begin = note
    dispatching = asyncio.ensure_future(dispatcher.run())
    try:
        running = asyncio.ensure_future(lane.run())
        if act is not None:
            await act(lane)
        await asyncio.wait_for(running, limit_s)
    finally:
        dispatching.cancel()
    return counters


def sweep(space, **more):
    client = more.pop("client", None) or Client()
    before = open_descriptors()

    async def main():
        counters = await run_lane(space, client, **more)
        told = sum(map(len, client.told.values()))
        await asyncio.sleep(0.1)
        assert told == sum(map(len, client.told.values())), "told after the end"
        return counters

    counters = asyncio.run(main())
    assert open_descriptors() == before
    return client, counters


def addresses(first, count):
    number = int(ip_address(first))
    return [str(ip_address(number + at)) for at in range(count)]


EXPECTED = {NEW: "swept", OLD: "swept", None: GapReason.REFUSED, FULL: GapReason.NO_ANSWER, MUTE: "handed over"}


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.0), (2, 0.0), (3, 400.0)])
def test_every_address_is_told_of_once_and_as_what_it_is(seed, rate):
    rng = random.Random(seed)
    places = addresses("127.60.1.0", 120)
    kinds = {place: rng.choice([NEW, NEW, OLD, None, None, None, FULL, MUTE]) for place in places}
    with serving({place: kind for place, kind in kinds.items() if kind is not None}) as (port, states):
        client, counters = sweep(space_of([port], places[0], 120), rate=rate)
        counts = {place: state.connection_count for place, state in states.items()}
    assert client.whats() == {at: EXPECTED[kinds[place]] for at, place in enumerate(places)}
    for at, swept in client.swept.items():
        place = places[at]
        assert (swept.address, swept.position) == (place, 1000 + at)
        assert len(swept.rows) == counts[place]  # the peers' own count
    tries = Counter(address for _, _, address, _ in client.begun)
    assert {tries[place] for place in places if kinds[place] is None} == {1}  # a refusal is final at once
    assert {tries[place] for place in places if kinds[place] == FULL} == {2}  # silence is asked twice
    assert counters.addresses_done + list(kinds.values()).count(MUTE) == 120
    assert counters.listeners == sum(kind in {NEW, OLD, MUTE} for kind in kinds.values())
    assert counters.connections == len(client.begun) == sum(counters.endings.values())
    assert counters.endpoints_answering == sum(kind in {NEW, OLD} for kind in kinds.values())
    assert counters.versions[TlsVersion.TLS1_3] == list(kinds.values()).count(NEW)
    assert counters.versions[TlsVersion.TLS1_0] == list(kinds.values()).count(OLD)


def test_versions_are_those_of_the_servers_and_the_quick_way_changes_nothing(monkeypatch):
    places = addresses("127.60.2.0", 6)
    kinds = dict(zip(places, [NEW, OLD, "honest-all", "honest-13", RESETS, "honest-40-12"], strict=True))
    found = []
    for is_quick in (True, False):
        if not is_quick:
            monkeypatch.setattr(module, "may_be_decided", lambda _received: None)
        with serving(kinds) as (port, _):
            client, _ = sweep(space_of([port], places[0], 6))
        found.append(
            {
                at: (
                    client.told[at],
                    [(row.version, row.variant, row.ending, row.received[43:44]) for row in swept.rows],
                )
                for at, swept in client.swept.items()
            }
        )
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_hosts_that_answer_alike_have_one_key_and_others_another():
    places = addresses("127.60.3.0", 6)
    with serving(dict(zip(places, [NEW, NEW, NEW, OLD, OLD, MUTE], strict=True))) as (port, _):
        client, _ = sweep(space_of([port], places[0], 6))
    keys = [client.swept[at].key for at in range(6)]
    assert keys[0] == keys[1] == keys[2] is not None
    assert keys[3] == keys[4] is not None
    assert keys[0] != keys[3]
    assert keys[5] is None


def test_a_host_of_many_ports_has_all_that_was_learned():
    places = addresses("127.60.4.0", 4)
    with (
        serving(dict.fromkeys(places[:2], NEW)) as (first, _),
        serving({places[0]: FULL, places[2]: FULL}) as (second, _),
        serving(dict.fromkeys(places[:2], OLD)) as (third, _),
    ):
        client, _ = sweep(space_of([first, second, third], places[0], 4))
    assert client.whats() == {0: "swept", 1: "swept", 2: GapReason.REFUSED, 3: GapReason.REFUSED}
    both = client.swept[0]
    assert both.endpoints == (first, second, third)
    assert [row.request_id for row in both.rows] == sorted(row.request_id for row in both.rows)
    by_port = {at: [row for row in both.rows if row.endpoint == at] for at in range(3)}
    assert [row.ending for row in by_port[1]] == [Ending.TIMED_OUT_CONNECT]
    assert by_port[1][0].random == b""
    assert len(by_port[0]) > 1 < len(by_port[2])
    assert [row.ending for row in client.swept[1].rows if row.endpoint == 1] == [Ending.REFUSED]
    assert both.key is not None
    assert both.key != client.swept[1].key


@pytest.mark.parametrize("kind", [FULL, NEW, MUTE])
def test_connections_at_a_time_are_bounded_in_second_passes_too(kind):
    places = addresses("127.60.5.0", 40)
    settings = replace(SETTINGS, in_flight=8, most_talking=5)
    with serving(dict.fromkeys(places, kind)) as (port, _):
        client, _ = sweep(space_of([port], places[0], 40), settings=settings)
    assert set(client.whats().values()) == {EXPECTED[kind]}
    assert len(client.told) == 40
    assert client.most_in_flight <= 8  # beside those that talk, of which most_talking is the bound
    seen = set()
    for _, order_at, _, busy in client.begun:
        if order_at not in seen:
            seen.add(order_at)
            assert busy < 5


def windows_hold(times, rate, *, burst_s, spare=1.0):
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= rate * (times[last] - begin + burst_s) + spare + 1e-6


def test_no_network_gets_more_than_its_budget():
    """Counted where connections are begun, in every window of time (scanner.net.budgets says how many)."""
    places = addresses("127.60.6.236", 40)  # 20 in each of two /24
    with serving(dict.fromkeys(places[::4], NEW)) as (port, _):
        client, _ = sweep(space_of([port], places[0], 40), per_network=40)
    assert len(client.whats()) == 40
    by_network = {}
    for at, _, address, _ in client.begun:
        by_network.setdefault(address.rpartition(".")[0], []).append(at)
    assert len(by_network) == 2
    for times in by_network.values():
        # A moment passes between asking the budget and beginning, at most that of one round of the loop.
        windows_hold(times, 40, burst_s=0.1 + 0.05)
        assert times[-1] - times[0] > (len(times) - 6) / 40 - 0.3


def test_the_rate_holds():
    places = addresses("127.60.7.0", 60)
    with serving(dict.fromkeys(places[::10], NEW)) as (port, _):
        client, _ = sweep(space_of([port], places[0], 60), rate=100)
    times = [at for at, *_ in client.begun]
    assert len(client.whats()) == 60
    windows_hold(times, 100, burst_s=0.1 + 0.05)
    assert times[-1] - times[0] < len(times) / 100 + 3


def test_a_low_rate_ends_when_all_is_told():
    """When the last permit finds nothing left to begin, nothing is under way whose end would say so."""
    settings = replace(SETTINGS, connect_s=0.05)
    client, _ = sweep(space_of([1], "127.60.8.0", 3), rate=4, settings=settings, limit_s=10)
    assert client.whats() == dict.fromkeys(range(3), GapReason.REFUSED)


@pytest.mark.parametrize("rate", [0, 100])
def test_nothing_to_do_is_done(rate):
    client, _ = sweep(Space(()), rate=rate, limit_s=5)
    assert client.told == {}


def test_the_lane_wakes_where_a_limit_is_lifted():
    async def lift(lane):
        await asyncio.sleep(0.2)
        lane._dispatcher.set_rate(0)
        lane.wake()

    client, _ = sweep(space_of([1], "127.60.8.0", 5), rate=0.3, act=lift, limit_s=10)
    assert client.whats() == dict.fromkeys(range(5), GapReason.REFUSED)


def test_a_lane_on_hold_begins_nothing_and_goes_on():
    async def hold(lane):
        lane.hold(True)  # noqa: FBT003  # its shape
        await asyncio.sleep(0.5)
        assert lane._client.begun == []
        lane.hold(False)  # noqa: FBT003  # the same

    client, _ = sweep(space_of([1], "127.60.8.0", 20), act=hold)
    assert len(client.whats()) == 20


@pytest.mark.parametrize("seed", range(8))
def test_interrupted_at_any_moment_nothing_is_told_twice(seed):
    rng = random.Random(seed)
    places = addresses("127.60.9.0", 80)
    kinds = {place: rng.choice([NEW, OLD, FULL, MUTE]) for place in rng.sample(places, 50)}
    delay_s = rng.choice([0.0, 0.005, 0.02, 0.1, 0.4, 1.2])

    async def interrupt(lane):
        await asyncio.sleep(delay_s)
        lane.interrupt()
        lane.interrupt()

    with serving(kinds) as (port, _):
        client, _ = sweep(space_of([port], places[0], 80), act=interrupt, rate=rng.choice([0.0, 300.0]), limit_s=5)
    assert set(client.whats().values()) <= {*EXPECTED.values(), "cut"}


@pytest.mark.parametrize("count", [1, 5, 20])
def test_interrupted_by_the_client_itself_nothing_is_told_twice(count):
    places = addresses("127.60.10.0", 60)
    client = Client()

    def on_told():
        if len(client.told) == count:
            client.lane.interrupt()

    client.on_told = on_told
    with serving(dict.fromkeys(places[::2], NEW)) as (port, _):
        sweep(space_of([port], places[0], 60), client=client, limit_s=5)
    assert len(client.whats()) >= count


@pytest.mark.parametrize("method", ["on_absent", "on_swept", "on_handed_over"])
@pytest.mark.parametrize("rate", [0.0, 300.0])
def test_what_the_client_raises_ends_the_run(method, rate):
    places = addresses("127.60.11.0", 40)

    class FullError(Exception):
        pass

    class Failing(Client):
        failures = 0

    def fail(self, *_):
        Failing.failures += 1
        raise FullError

    setattr(Failing, method, fail)
    with serving({place: [NEW, MUTE][at % 2] for at, place in enumerate(places[::2])}) as (port, _):
        with pytest.raises(FullError):
            sweep(space_of([port], places[0], 40), client=Failing(), rate=rate, limit_s=10)
        assert Failing.failures == 1  # and it is not asked again


def test_what_the_source_raises_ends_the_run():
    def source():
        yield 0, 0, space_of([1], "127.60.8.0", 1).locate(0)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        sweep(Space(()), source=source(), limit_s=5)


class Flaky:
    """In socket's stead: fails as it is told to."""

    def __init__(self, should_fail, number=errno.EMFILE):
        self.should_fail = should_fail
        self.number = number
        self.count = 0

    def __call__(self, *args):
        self.count += 1
        if self.should_fail(self.count):
            raise OSError(self.number, "no")
        return reactor_module.socket.SocketType(*args)


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(module, "_LOCAL_PAUSE_S", 0.01)


@pytest.mark.usefixtures("short_pauses")
def test_where_this_machine_fails_it_is_asked_again_and_no_fact_is_made_of_it(monkeypatch):
    rng = random.Random(5)
    monkeypatch.setattr(reactor_module, "_open_socket", Flaky(lambda _count: rng.random() < 0.5))
    places = addresses("127.60.12.0", 60)
    kinds = {place: NEW if at % 3 == 0 else None for at, place in enumerate(places)}
    with serving({place: kind for place, kind in kinds.items() if kind}) as (port, _):
        client, counters = sweep(space_of([port], places[0], 60), limit_s=60)
    assert client.whats() == {at: EXPECTED[kinds[place]] for at, place in enumerate(places)}
    assert counters.local_error == "EMFILE"


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_where_this_machine_always_fails_that_is_told_and_not_that_nobody_is_there(number, monkeypatch):
    monkeypatch.setattr(reactor_module, "_open_socket", Flaky(lambda _count: True, number))
    client, counters = sweep(space_of([1], "127.60.13.0", 30), limit_s=30)
    assert client.whats() == dict.fromkeys(range(30), errno.errorcode[number])
    assert counters.addresses_done == 30
    assert set(counters.endings) == {Ending.LOCAL_FAILURE}


@pytest.mark.usefixtures("short_pauses")
def test_a_host_whose_questions_this_machine_fails_on_goes_to_the_engine_with_its_answers(monkeypatch):
    monkeypatch.setattr(reactor_module, "_open_socket", Flaky(lambda count: count > 2))
    with serving({"127.60.14.0": NEW}) as (port, _):
        client, _ = sweep(space_of([port], "127.60.14.0", 1), limit_s=30)
    assert client.whats() == {0: "handed over"}
    assert len(client.swept[0].rows) == 2


@pytest.mark.usefixtures("short_pauses")
def test_after_scarcity_the_lane_recovers(monkeypatch):
    monkeypatch.setattr(reactor_module, "_open_socket", Flaky(lambda count: count <= 5))
    monkeypatch.setattr(module, "_LEAST_IN_FLIGHT", 2)
    client, _ = sweep(space_of([1], "127.60.15.0", 200), settings=replace(SETTINGS, in_flight=40), limit_s=30)
    assert set(client.whats().values()) == {GapReason.REFUSED}
    assert client.lane._most_in_flight == 40


@pytest.mark.usefixtures("short_pauses")
def test_one_address_that_can_not_be_asked_slows_nobody(monkeypatch):
    monkeypatch.setattr(reactor_module, "_open_socket", Flaky(lambda count: count == 1, errno.EACCES))
    client, _ = sweep(space_of([1], "127.60.16.0", 3))
    assert len(client.whats()) == 3
    assert client.lane._most_in_flight == SETTINGS.in_flight


class Finder:
    """In SynFinder's stead: knows who listens."""

    lost_count = 0

    def __init__(self, on_found, answers):
        self.on_found = on_found
        self.answers = answers
        self.looked = {}
        self.is_closed = False

    @property
    def in_flight(self):
        return len(self.looked)

    def look(self, host, _wait_s):
        host.started, host.started_us = time.monotonic(), time.time_ns() // 1000
        self.looked[host] = asyncio.get_running_loop().call_later(0.02, self._tell, host)

    def _tell(self, host):
        del self.looked[host]
        self.on_found(host, self.answers[host.address])

    def cut(self):
        hosts = list(self.looked)
        for host in hosts:
            self.looked.pop(host).cancel()
        return hosts

    def close(self):
        self.is_closed = True


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_listeners_may_be_found_by_syns(is_interrupted):
    places = addresses("127.60.17.0", 30)
    kinds = {place: [NEW, None, FULL][at % 3] for at, place in enumerate(places)}
    answers = {place: {NEW: True, None: False, FULL: None}[kind] for place, kind in kinds.items()}
    made = []

    def open_finder(on_found):
        made.append(Finder(on_found, answers))
        return made[-1]

    async def interrupt(lane):
        if is_interrupted:
            await asyncio.sleep(0.03)
            lane.interrupt()

    with serving({place: kind for place, kind in kinds.items() if kind == NEW}) as (port, _):
        client, _ = sweep(space_of([port], places[0], 30), open_finder=open_finder, act=interrupt)
    assert made[0].is_closed
    if is_interrupted:
        assert set(client.whats().values()) <= {*EXPECTED.values(), "cut"}
        return
    assert client.whats() == {at: EXPECTED[kinds[place]] for at, place in enumerate(places)}
    # Only those that answered were connected to.
    assert {address for _, _, address, _ in client.begun} == {place for place in places if kinds[place] == NEW}
