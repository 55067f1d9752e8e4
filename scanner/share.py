"""One process's share of a run: the engine and the lane at work, and each host judged and packed as it is done."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Protocol

from scanner.counters import Counters
from scanner.engine import Engine, EngineSettings
from scanner.exclusions import Exclusions
from scanner.forms import Forms
from scanner.judge import maybe_no_listener
from scanner.model.evidence import GapReason
from scanner.model.runs import HostRecord, Run
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.net.budgets import Backoff, BackoffReport, Budgets, network_key
from scanner.net.limits import Dispatcher
from scanner.net.network import has_epoll, open_network
from scanner.net.resolve import Resolver
from scanner.options import Confirm, ScanOptions
from scanner.policy import Policy
from scanner.probes.plan_memory import PlanMemory
from scanner.proxying import Proxying
from scanner.results import JudgedHost
from scanner.store.packing import RowSettings, pack_record, pack_rows
from scanner.store.stored import KeepBytes, PackedHost
from scanner.sweep.finder import SynFinder
from scanner.sweep.host import Swept
from scanner.sweep.lane import Lane, LaneSettings
from scanner.sweep.order import Order
from scanner.sweep.plan import TargetPlan
from scanner.sweep.progress import Progress
from scanner.sweep.rows import MAX_HELLO_BYTES
from scanner.sweep.space import Place
from scanner.sweep.steps import Step

_BLOCK = 1024
"""Positions of the order that one process takes together."""
_SAMPLE_ONE_IN = 100
"""Of a range's hosts without findings, every hundredth is confirmed by handshakes as well."""
_ALL = frozenset(ALL_VERSIONS)
_NONE: frozenset[TlsVersion] = frozenset()


class ShareSink(Protocol):
    """Takes what a share has done. Called in the event loop, so it must be quick."""

    def on_host(self, order_at: int | None, judged: JudgedHost, packed: PackedHost | None) -> None:
        """Take a host. order_at: its place in the order; None for a named target. packed: None where none is wanted."""

    def on_absent(self, order_at: int, reason: GapReason) -> None:
        """Take note of an address of a range where nothing listens."""

    def on_failed(self, order_at: int, os_error: str) -> None:
        """Take note of an address that this machine could not ask: it stays undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a share has to do."""

    number: int = 0
    """Which of the processes this is, from 0."""
    count: int = 1
    """How many processes share the run."""
    progress: Progress | None = None
    """What of the order was done before."""
    done_positions: frozenset[int] = frozenset()
    """Named targets that were done before, by position."""
    is_resumed: bool = False
    """Whether the run was begun before: more may have been excluded since."""


class Share:
    """Does one process's part of a run. Make it inside the running event loop."""

    def __init__(
        self,
        run: Run,
        plan: TargetPlan,
        policy: Policy,
        options: ScanOptions,
        sink: ShareSink,
        *,
        part: Part,
        resolver: Resolver,
        does_pack: bool,
        on_record: Callable[[int, HostRecord], None] | None = None,
        proxying: Proxying | None = None,
    ) -> None:
        self.counters = Counters()
        self._began = time.monotonic()
        self._usual_rate: float | None = None
        self._plan = plan
        self._options = options
        self._sink = sink
        self._part = part
        self._does_pack = does_pack
        self._on_record = on_record
        self._forms = Forms(run, policy)
        self._confirm = _confirmed_versions(options, policy)
        # The space of a new run has no address that is excluded; a resumed one may have been given more excludes.
        self._late_exclusions = plan.exclusions if part.is_resumed and plan.excludes else None
        self._order = Order(plan.space.count, options.seed, options.shard)
        self._network = open_network(options.net)
        self.dispatcher = Dispatcher(options.rate / part.count)
        self._budgets = Budgets(options.per_network / part.count)
        self.backoff = Backoff(self._budgets, self._on_factor)
        self._engine = Engine(
            network=self._network,
            resolver=resolver,
            dispatcher=self.dispatcher,
            exclusions=plan.exclusions,
            counters=self.counters,
            pace=self,
            settings=EngineSettings(
                timeout_s=options.timeout_s,
                host_deadline_s=options.host_deadline_s,
                concurrency=max(1, options.concurrency // part.count),
                per_address=options.per_address,
                confirm=_NONE if options.confirm is Confirm.NONE else _ALL,
                does_recognise=options.does_recognise,
                walks_down=options.walks_down,
                proxying=proxying,
            ),
        )
        self.counters.addresses_total = self._count_mine()
        self._lane: Lane | None = None
        if self.counters.addresses_total and has_epoll(options.net):
            self._lane = self._make_lane()

    @property
    def rate(self) -> float:
        """Connections a second that are asked for now; 0 is no limit."""
        return self.dispatcher.rate

    def describe_backoff(self) -> Sequence[BackoffReport]:
        """Return what was slowed down."""
        return (self.backoff.describe(),)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001  # a switch
        """Begin no further addresses for the time being, or go on."""
        if self._lane is not None:
            self._lane.hold(is_held)

    async def run(self) -> None:
        """Do it; raises what the sink raises."""
        named = [
            (position, target)
            for position, target in enumerate(self._plan.named)
            if self._is_mine(position) and position not in self._part.done_positions
        ]
        beside = None
        if self._lane is not None:
            beside = self._lane.run()
        elif self.counters.addresses_total:
            beside = self._feed()
        ticking = asyncio.ensure_future(self._tick())
        try:
            await self._engine.run(named, self._on_named, beside=beside)
        finally:
            ticking.cancel()
            await self._network.close()

    def interrupt(self) -> None:
        """Stop asking; what was learned of hosts under way is still delivered."""
        if self._lane is not None:
            self._lane.interrupt()
        self._engine.interrupt()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.backoff.tick(time.monotonic())

    # What is to be done

    def _is_mine(self, position: int) -> bool:
        """Whether a named target belongs to this shard and process."""
        shard, shard_count = self._options.shard
        part = self._part
        return position % shard_count == shard - 1 and position // shard_count % part.count == part.number

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Yield (begin, end) of the order's positions that are this process's."""
        count = len(self._order)
        for begin in range(self._part.number * _BLOCK, count, self._part.count * _BLOCK):
            yield begin, min(begin + _BLOCK, count)

    def _count_mine(self) -> int:
        progress = self._part.progress
        if self._part.count == 1:
            return len(self._order) - (0 if progress is None else progress.done_count)
        count = sum(end - begin for begin, end in self._blocks())
        if progress is not None and progress.done_count:
            count -= sum(progress.is_done(k) for begin, end in self._blocks() for k in range(begin, end))
        return count

    def _source(self) -> Iterator[tuple[int, int, Place]]:
        progress, locate, first = self._part.progress, self._plan.space.locate, len(self._plan.named)
        for begin, end in self._blocks():
            for k, index in enumerate(self._order.range(begin, end), start=begin):
                if progress is not None and progress.is_done(k):
                    continue
                place = locate(index)
                if self._late_exclusions is not None and self._is_excluded(place, self._late_exclusions):
                    self.counters.addresses_done += 1
                    self._sink.on_absent(k, GapReason.NOT_ASKED)
                    continue
                yield k, first + index, place

    @staticmethod
    def _is_excluded(place: Place, exclusions: Exclusions) -> bool:
        """Whether an address, or any port of it that would be asked, was excluded since the run began."""
        template = place.template
        ports = (*template.ports, *template.optional_ports)
        return any(exclusions.is_number_excluded(place.number, place.version, port) for port in ports)

    def _make_lane(self) -> Lane:
        options, part = self._options, self._part
        return Lane(
            source=self._source(),
            plans=PlanMemory(confirm=_NONE, walks_down=options.walks_down),
            needs_engine=self._needs_engine,
            settings=LaneSettings(
                connect_s=min(options.connect_s, options.timeout_s),
                timeout_s=options.timeout_s,
                passes=options.passes,
                in_flight=max(1, options.in_flight // part.count),
                most_talking=max(1, options.concurrency // part.count),
            ),
            client=self,
            counters=self.counters,
            dispatcher=self.dispatcher,
            budgets=self._budgets,
            backoff=self.backoff,
            next_id=self._engine.next_id,
            open_finder=SynFinder if options.uses_syn else None,
        )

    async def _feed(self) -> None:
        """Hand a range's addresses to the engine one by one, where there is no epoll for the lane."""
        free = asyncio.Semaphore(self._options.concurrency)

        def on_record(order_at: int, position: int, record: HostRecord) -> None:
            free.release()
            if record.stopped == "interrupted" and not any(exchange.sent for exchange in record.exchanges):
                return  # nobody was met there yet: it stays undone
            self.counters.addresses_done += 1
            reason = maybe_no_listener(record)
            if reason is None:
                self._deliver(order_at, position, record)
            else:
                self._sink.on_absent(order_at, reason)

        for order_at, position, place in self._source():
            await free.acquire()
            if self._engine.is_stopping:
                return
            self._engine.adopt(
                place.target(), (), partial(on_record, order_at, position), confirm=self._confirm_at(order_at)
            )

    # Lane's client

    def on_absent(self, order_at: int, reason: GapReason) -> None:
        """See LaneClient.on_absent."""
        self._sink.on_absent(order_at, reason)

    def on_failed(self, order_at: int, os_error: str) -> None:
        """See LaneClient.on_failed."""
        self._sink.on_failed(order_at, os_error)

    def on_swept(self, swept: Swept) -> None:
        """See LaneClient.on_swept."""
        options = self._options
        if self._on_record is not None:
            self._on_record(swept.position, swept.record(options.timeout_s))
        if swept.key is None:
            judged = self._forms.judge(swept.position, swept.record(options.timeout_s))
        else:
            judged = self._forms.fill(
                swept.position,
                swept.key,
                swept.address,
                [row.started_us for row in swept.rows],
                partial(swept.record, options.timeout_s),
            )
        packed = None
        if self._does_pack:
            packed = pack_rows(
                swept.target(),
                swept.plan_endpoints(),
                swept.rows,
                swept.position,
                settings=RowSettings(options.timeout_s, MAX_HELLO_BYTES),
                keep=options.keep,
                is_clear=judged.is_clear,
                judged=judged.stored() if options.keep is KeepBytes.NONE else None,
            )
        self._sink.on_host(swept.order_at, judged, packed)

    def on_handed_over(self, swept: Swept) -> None:
        """See LaneClient.on_handed_over."""
        assert self._lane is not None  # noqa: S101  # for the type checker: it is the lane that calls
        lane = self._lane

        def on_record(record: HostRecord) -> None:
            lane.release()
            self.counters.addresses_done += 1
            self._deliver(swept.order_at, swept.position, record)

        timeout_s = self._options.timeout_s
        confirm = self._confirm_at(swept.order_at)
        self._engine.adopt(swept.target(), swept.exchanges(timeout_s), on_record, confirm=confirm)

    def on_cut(self, swept: Swept) -> None:
        """See LaneClient.on_cut."""
        self._deliver(swept.order_at, swept.position, swept.record(self._options.timeout_s, stopped="interrupted"))

    def _needs_engine(self, order_at: int, step: Step) -> bool:
        return bool(step.enabled & self._confirm_at(order_at))

    def _confirm_at(self, order_at: int) -> frozenset[TlsVersion]:
        """Return the versions to confirm by handshakes for an address of a range."""
        options = self._options
        if options.confirm is Confirm.FINDINGS:
            number, count = options.shard
            # Its place in the whole order: shards that are merged have confirmed what one run would have.
            if _is_sampled(options.seed, order_at * count + number - 1):
                return _ALL
        return self._confirm

    # What is done

    def _on_named(self, position: int, record: HostRecord) -> None:
        self._deliver(None, position, record)

    def _deliver(self, order_at: int | None, position: int, record: HostRecord) -> None:
        if self._on_record is not None:
            self._on_record(position, record)
        judged = self._forms.judge(position, record, answers=self._engine.take_answers(record))
        packed = None
        if self._does_pack:
            keep = self._options.keep
            packed = pack_record(
                record,
                position,
                keep=keep,
                is_clear=judged.is_clear,
                judged=judged.stored() if keep is KeepBytes.NONE else None,
            )
        self._sink.on_host(order_at, judged, packed)

    # Engine's pace

    def delay_s(self, address: str) -> float:
        """See Pace.delay_s."""
        return self._budgets.delay(_network_of(address)[0], time.monotonic())

    def on_outcome(self, address: str, *, is_trouble: bool) -> None:
        """See Pace.on_outcome."""
        key, number = _network_of(address)
        self.backoff.note(key, number, time.monotonic(), is_trouble=is_trouble)

    def _on_factor(self, factor: float) -> None:
        """Slow the whole run down, or let it recover: where no rate was asked for, what there was until now is it."""
        asked = self._options.rate / self._part.count
        if asked > 0:
            self.dispatcher.set_rate(asked * factor)
            return
        if self._usual_rate is None:
            elapsed_s = max(time.monotonic() - self._began, 1.0)
            self._usual_rate = max(1.0, self.dispatcher.achieved / elapsed_s)
        self.dispatcher.set_rate(self._usual_rate * factor if factor < 1 else 0.0)
        if self._lane is not None:
            self._lane.wake()  # without a limit the dispatcher calls nobody


@lru_cache(maxsize=4096)
def _network_of(address: str) -> tuple[int, int]:
    """Return an address's network (see network_key) and the address as a number."""
    parsed = ip_address(address.partition("%")[0])
    return network_key(int(parsed), parsed.version), int(parsed)


def _confirmed_versions(options: ScanOptions, policy: Policy) -> frozenset[TlsVersion]:
    if options.confirm is Confirm.ALL:
        return _ALL
    if options.confirm is Confirm.NONE:
        return _NONE
    return policy.forbidden_versions


def _is_sampled(seed: int, order_at: int) -> bool:
    digest = hashlib.blake2b(f"{seed}:{order_at}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _SAMPLE_ONE_IN == 0
