"""Fan-out: many hosts at once, one connection at a time to each endpoint, within rate, deadlines and memory."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from scanner.answers import Answer, AnswerKind, read_answer
from scanner.counters import Counters
from scanner.exclusions import Exclusions
from scanner.model.exchange import VERSION_PROBES, Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Role, Target, Upgrade, is_address
from scanner.model.versions import TlsVersion
from scanner.net.limits import Dispatcher, KeyedLimit
from scanner.net.network import Conversation, Network, WireLog
from scanner.net.resolve import Resolver
from scanner.probes.hello_ladder import Batch, Question, hello_conversation
from scanner.probes.plan_memory import PlanMemory
from scanner.proxying import Proxying, ask_proxy
from scanner.survey import NOISE_KINDS
from scanner.tls.hello import RANDOM_BYTES, encode_hello

if TYPE_CHECKING:
    from scanner.recognise import HttpQuestion
    from scanner.upgrade.auth import ProxyAuth

# Handshakes and HTTP load nassl, h11, cryptography and an XML parser, a fifth of the start-up: only where they are used
# (PLC0415 below).

_LOG = logging.getLogger(__name__)

PLAIN_HTTP_PORT = 80
_RANDOMS_AT_ONCE = 256
_PLAIN = frozenset({Upgrade.HTTP_CONNECT, Upgrade.SOCKS5})
"""Ways to speak to a proxy without TLS: a hello to such a port may be waited on for ever, and says nothing."""
_MAX_BYTES = {Probe.HELLO: 32_768, Probe.HANDSHAKE: 262_144, Probe.HTTP: 262_144, Probe.PATH: 262_144}
"""Most bytes taken from a peer for one question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The bounds a run works within."""

    timeout_s: float
    """Seconds for one connection, connect included."""
    host_deadline_s: float
    """Seconds for all questions to one host."""
    concurrency: int
    """Hosts at a time."""
    per_address: int
    """Connections at a time to one address."""
    confirm: frozenset[TlsVersion]
    """Versions that sslyze handshakes confirm where hellos found them."""
    does_recognise: bool
    """Whether AD FS and registration endpoints are recognised over HTTP."""
    walks_down: bool = False
    """As in plan_next."""
    proxying: Proxying | None = None
    """What forward proxies are asked; None: only what they accept themselves."""


class Pace(Protocol):
    """How fast one network may be asked; scanner.net.budgets is behind it."""

    def delay_s(self, address: str) -> float:
        """Return 0: a connection to this address may go now, and is counted. Else the seconds until it may."""

    def on_outcome(self, address: str, *, is_trouble: bool) -> None:
        """Take note of how a question ended that had been answered well before."""


class _HostScan:
    """One host under way: what was learned so far, and a deadline that stands still while we wait for our turn."""

    def __init__(self, deadline_s: float, exchanges: Iterable[Exchange], confirm: frozenset[TlsVersion]) -> None:
        self.exchanges = list(exchanges)
        self.confirm = confirm
        self.more_endpoints: list[Endpoint] = []
        """Ways through it, where it is a proxy."""
        self.bound = asyncio.timeout(deadline_s)
        self._waiting_count = 0
        self._left_s = deadline_s

    def begin_waiting(self) -> None:
        """Stop the clock: a low rate or a busy address must not use up the host's time."""
        when = self.bound.when()
        if self._waiting_count == 0 and when is not None and not self.bound.expired():
            self._left_s = when - asyncio.get_running_loop().time()
            self.bound.reschedule(None)
        self._waiting_count += 1

    def end_waiting(self) -> None:
        """Let the clock run on."""
        self._waiting_count -= 1
        if self._waiting_count == 0 and self.bound.when() is None and not self.bound.expired():
            self.bound.reschedule(asyncio.get_running_loop().time() + self._left_s)

    def interrupt(self) -> None:
        """End now."""
        if not self.bound.expired():  # one whose deadline has just passed is on its way out, and can't be set again
            self.bound.reschedule(asyncio.get_running_loop().time())


class Engine:
    """Puts the questions. Make it inside the running event loop."""

    def __init__(
        self,
        *,
        network: Network,
        resolver: Resolver,
        dispatcher: Dispatcher,
        settings: EngineSettings,
        exclusions: Exclusions | None = None,
        counters: Counters | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.counters = Counters() if counters is None else counters
        self.answers: dict[int, Answer] = {}
        """What each hello and handshake said, by its request's id, to spare judgement the reading: see take_answers."""
        self._network = network
        self._resolver = resolver
        self._dispatcher = dispatcher
        self._settings = settings
        self._exclusions = exclusions
        self._connections = KeyedLimit(settings.per_address)
        self._ladders = KeyedLimit(1)
        self._pace = pace
        self._plans: dict[frozenset[TlsVersion], PlanMemory] = {}
        self._auths: dict[tuple[str, int], ProxyAuth] = {}
        self._ids = itertools.count(1)
        self._group: asyncio.TaskGroup | None = None
        self._under_way: set[_HostScan] = set()
        self._is_stopping = False
        self._randoms = b""
        self._random_at = 0

    async def run(
        self,
        targets: Sequence[tuple[int, Target]],
        on_host: Callable[[int, HostRecord], None],
        *,
        beside: Coroutine[None, None, None] | None = None,
    ) -> None:
        """Scan all targets; hand out (position of the target, what was learned) as each host is finished.

        beside: runs meanwhile, and may hand hosts over by ``adopt``. After ``interrupt`` no further target is begun,
        and those under way are handed out with what they have.
        """
        self.counters.hosts_total = len(targets)
        todo = iter(targets)
        dispatching = asyncio.ensure_future(self._dispatcher.run())
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                if beside is not None:
                    group.create_task(beside)
                for _ in range(min(self._settings.concurrency, len(targets))):
                    group.create_task(self._work(todo, on_host))
        except ExceptionGroup as failures:
            # on_host failed (the disk is full): its maker knows that error, and no group of it.
            raise failures.exceptions[0] from None
        finally:
            self._group = None
            dispatching.cancel()

    def adopt(
        self,
        target: Target,
        exchanges: Sequence[Exchange],
        on_host: Callable[[HostRecord], None],
        *,
        confirm: frozenset[TlsVersion] | None = None,
    ) -> None:
        """Go on with a host of which something was learned already, while ``run`` runs.

        confirm: as in EngineSettings, for this host.
        """
        if self._group is None:
            raise RuntimeError("the engine is not running")
        self._group.create_task(self._finish(target, exchanges, on_host, confirm))

    def take_answers(self, record: HostRecord) -> dict[int, Answer]:
        """Return what the exchanges of a host that was handed out said, by request id, and keep it no longer."""
        ids = [exchange.request.id for exchange in record.exchanges]
        return {number: self.answers.pop(number) for number in ids if number in self.answers}

    @property
    def is_stopping(self) -> bool:
        """Whether ``interrupt`` was called."""
        return self._is_stopping

    def next_id(self) -> int:
        """Return the next question's number."""
        return next(self._ids)

    async def _finish(
        self,
        target: Target,
        exchanges: Sequence[Exchange],
        on_host: Callable[[HostRecord], None],
        confirm: frozenset[TlsVersion] | None,
    ) -> None:
        on_host(await self._scan_host(target, exchanges, confirm))

    def interrupt(self) -> None:
        """Stop asking: questions under way are cut, and what was learned is kept."""
        self._is_stopping = True
        for host in self._under_way:
            host.interrupt()

    async def _work(self, todo: Iterator[tuple[int, Target]], on_host: Callable[[int, HostRecord], None]) -> None:
        for position, target in todo:
            if self._is_stopping:
                return
            record = await self._scan_host(target)
            self.counters.hosts_done += 1
            on_host(position, record)

    async def _scan_host(
        self, target: Target, begun: Sequence[Exchange] = (), confirm: frozenset[TlsVersion] | None = None
    ) -> HostRecord:
        proxying = self._settings.proxying if target.role is Role.PROXY else None
        deadline_s = self._settings.host_deadline_s * (1 if proxying is None else proxying.part_count)
        host = _HostScan(deadline_s, begun, self._settings.confirm if confirm is None else confirm)
        endpoints: tuple[Endpoint, ...] = ()
        resolution = Resolution()
        stopped: str | None = None
        self._under_way.add(host)
        try:
            async with host.bound:
                if self._is_stopping:  # handed over just before the interruption
                    host.interrupt()
                resolution = await self._resolve(target)
                endpoints = plan_endpoints(target, resolution, self._exclusions)
                if proxying is None or target.proxy not in _PLAIN:
                    await self._ask_all(host, target, endpoints)
                if proxying is not None:
                    await ask_proxy(proxying, _ProxyUnderWay(self, host, target), target, endpoints)
        except TimeoutError:
            stopped = "interrupted" if self._is_stopping else "out-of-time"
        except Exception:  # noqa: BLE001  # see below
            # A bug met on one host must not cost the others: it becomes a gap of this host, and is logged.
            _LOG.exception("the program failed on %s", target.host)
            stopped = "failed"
        finally:
            self._under_way.discard(host)
        return HostRecord(
            target=target,
            resolution=resolution,
            endpoints=(*endpoints, *host.more_endpoints),
            exchanges=tuple(sorted(host.exchanges, key=lambda exchange: exchange.request.id)),
            stopped=stopped,
        )

    async def _resolve(self, target: Target) -> Resolution:
        if is_address(target.host):
            return Resolution(addresses=(target.host,))
        return await self._resolver.resolve(target.host, want_cname=target.role is Role.ENDPOINT)

    async def _ask_all(self, host: _HostScan, target: Target, endpoints: Sequence[Endpoint]) -> None:
        if len(endpoints) == 1:
            await self._climb(host, endpoints[0])
        else:
            by_address: dict[str, list[Endpoint]] = {}
            for endpoint in endpoints:
                by_address.setdefault(endpoint.address, []).append(endpoint)
            async with asyncio.TaskGroup() as group:
                for own in by_address.values():
                    group.create_task(self._climb_each(host, own))
        if self._settings.does_recognise and target.role in {Role.ADFS, Role.ENDPOINT}:
            from scanner.recognise import plan_http  # noqa: PLC0415  # see the module's head

            for question in plan_http(target, endpoints):
                if not self._is_excluded(question.endpoint):  # port 80 is not among the target's own
                    await self._ask_http(host, question)

    def _is_excluded(self, endpoint: Endpoint) -> bool:
        return self._exclusions is not None and self._exclusions.is_excluded(endpoint.address, endpoint.port)

    async def _climb_each(self, host: _HostScan, endpoints: Sequence[Endpoint]) -> None:
        for endpoint in endpoints:
            await self._climb(host, endpoint)

    async def _climb(self, host: _HostScan, endpoint: Endpoint, confirm: frozenset[TlsVersion] | None = None) -> None:
        """Put the ladder's questions to one endpoint until it has no more."""
        climb = self._plans_for(host.confirm if confirm is None else confirm).climb()
        async with self._ladders.hold((endpoint.address, endpoint.port), host):
            for exchange in tuple(host.exchanges):
                if exchange.request.endpoint == endpoint:
                    answer = self.answers[exchange.request.id] = read_answer(exchange)
                    climb.add([answer])
            while (batch := climb.batch) is not None:
                if batch.pause_s:
                    await asyncio.sleep(batch.pause_s)
                exchanges = await self._ask_batch(host, endpoint, batch)
                answers = [read_answer(exchange) for exchange in exchanges]
                for exchange, answer in zip(exchanges, answers, strict=True):
                    self.answers[exchange.request.id] = answer
                if self._pace is not None:
                    _tell_outcomes(self._pace, endpoint.address, climb.answers, answers)
                climb.add(answers)
        enabled = {answer.accepted for answer in climb.answers if answer.accepted is not None}
        self.counters.versions.update(enabled)
        self.counters.endpoints_answering += bool(enabled)

    def _plans_for(self, confirm: frozenset[TlsVersion]) -> PlanMemory:
        plans = self._plans.get(confirm)
        if plans is None:
            plans = self._plans[confirm] = PlanMemory(confirm=confirm, walks_down=self._settings.walks_down)
        return plans

    async def _ask_batch(self, host: _HostScan, endpoint: Endpoint, batch: Batch) -> list[Exchange]:
        """Ask; note each exchange as it ends, as others of the batch may be cut off."""

        async def ask(question: Question) -> Exchange:
            exchange = await self._ask(host, endpoint, question)
            host.exchanges.append(exchange)
            return exchange

        if len(batch.questions) == 1:
            return [await ask(batch.questions[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(question)) for question in batch.questions]
        return [task.result() for task in tasks]

    async def _ask(self, host: _HostScan, endpoint: Endpoint, question: Question) -> Exchange:
        if question.variant is None:
            return await self._ask_handshake(host, endpoint, question.version)
        hello = encode_hello(
            version=question.version,
            variant=question.variant,
            server_name=endpoint.server_name,
            random=self._next_random(),
        )
        request = self._request(Probe.HELLO, endpoint, question.version, question.variant)
        conversation = hello_conversation(hello, does_retry=question.variant is HelloVariant.RARE)
        started_at, log = await self._drive(host, request, conversation)
        return _exchange(request, started_at, log)

    async def _ask_handshake(self, host: _HostScan, endpoint: Endpoint, version: TlsVersion) -> Exchange:
        from scanner.probes.handshake import TlsEngine  # noqa: PLC0415  # see the module's head

        is_first = not any(
            exchange.request.probe is Probe.HANDSHAKE
            and exchange.request.version is version
            and exchange.request.endpoint == endpoint
            for exchange in host.exchanges
        )
        client = TlsEngine(version, endpoint.server_name, prefers_rsa=is_first)
        request = self._request(Probe.HANDSHAKE, endpoint, version)
        started_at, log = await self._drive(host, request, client.handshake())
        return _exchange(request, started_at, log, engine=client.report())

    async def _ask_path(self, host: _HostScan, endpoint: Endpoint, variant: TlsVersion | None, path: str) -> Exchange:
        from scanner.probes.handshake import ClearText, TlsEngine  # noqa: PLC0415  # see the module's head
        from scanner.probes.http import http_get  # noqa: PLC0415

        client = TlsEngine(variant, endpoint.server_name)
        # A proxy may open its own side only when there is something to ask for.
        inner = http_get(host=endpoint.destination or endpoint.address, path=path)
        request = self._request(Probe.PATH, endpoint, variant)
        started_at, log = await self._drive(host, request, client.carry(inner, ClearText()))
        return _exchange(request, started_at, log, engine=client.report())

    async def _ask_http(self, host: _HostScan, question: HttpQuestion) -> None:
        from scanner.probes.handshake import ClearText, TlsEngine  # noqa: PLC0415  # see the module's head
        from scanner.probes.http import http_get  # noqa: PLC0415

        endpoint = question.endpoint
        request = replace(self._request(Probe.HTTP, endpoint, None), path=question.path)
        inner = http_get(host=question.host, path=question.path, headers=question.headers)
        if endpoint.port == PLAIN_HTTP_PORT:
            started_at, log = await self._drive(host, request, inner)
            host.exchanges.append(_exchange(request, started_at, log))
            return
        version = best_version(host.exchanges, endpoint)
        if version is None:
            return  # nothing to speak HTTP over; recognition says so
        client = TlsEngine(version, endpoint.server_name)
        clear = ClearText()
        started_at, log = await self._drive(host, request, client.carry(inner, clear))
        log = replace(log, sent=bytes(clear.sent), received=bytes(clear.received))
        host.exchanges.append(_exchange(request, started_at, log, engine=client.report()))

    def _next_random(self) -> bytes:
        """Return RANDOM_BYTES; taken from the system for many hellos at a time, as each call of its costs much."""
        if self._random_at >= len(self._randoms):
            self._randoms = os.urandom(_RANDOMS_AT_ONCE * RANDOM_BYTES)
            self._random_at = 0
        self._random_at += RANDOM_BYTES
        return self._randoms[self._random_at - RANDOM_BYTES : self._random_at]

    def _request(
        self,
        probe: Probe,
        endpoint: Endpoint,
        version: TlsVersion | None,
        variant: HelloVariant | None = None,
    ) -> ProbeRequest:
        return ProbeRequest(
            id=self.next_id(),
            probe=probe,
            endpoint=endpoint,
            version=version,
            variant=variant,
            deadline_s=self._settings.timeout_s,
            max_bytes=_MAX_BYTES[probe],
        )

    async def _drive_through(self, host: _HostScan, request: ProbeRequest, conversation: Conversation) -> WireLog:
        """Drive a conversation through a proxy; a second time where the proxy first wants to know who asks."""
        from scanner.upgrade.auth import ProxyAuth  # noqa: PLC0415  # only where there are proxies
        from scanner.upgrade.wrap import Way  # noqa: PLC0415

        endpoint, proxying = request.endpoint, self._settings.proxying
        assert proxying is not None  # noqa: S101  # for the type checker: without, nobody goes through proxies
        own = next((each.request.endpoint for each in host.exchanges if _is_own(each.request.endpoint, endpoint)), None)
        outer = None if own is None else best_version(host.exchanges, own)
        auth = self._auths.setdefault((endpoint.address, endpoint.port), ProxyAuth())
        while True:
            way = Way(
                endpoint.upgrade,
                endpoint.destination or "",
                proxying.credentials.for_proxy(endpoint.host, endpoint.port),
                tls_name=None if is_address(endpoint.host) else endpoint.host,
                auth=auth,
                outer_version=outer,
            )
            log = await self._network.drive(
                way.carry(_lend(conversation)),
                address=endpoint.address,
                port=endpoint.port,
                deadline_s=request.deadline_s,
                max_bytes=request.max_bytes,
            )
            if not way.wants_retry:
                break
            await self._dispatcher.permit(host)
            self.counters.connections += 1
        conversation.close()
        if way.declined is not None:
            return replace(log, sent=b"", received=way.answer, ending=Ending.UPGRADE_DECLINED, os_error=way.declined)
        return replace(log, sent=way.sent, received=way.received)

    async def _wait_for_pace(self, pace: Pace, host: _HostScan, address: str) -> None:
        while (delay_s := pace.delay_s(address)) > 0:
            host.begin_waiting()
            try:
                await asyncio.sleep(delay_s)
            finally:
                host.end_waiting()

    async def _drive(
        self, host: _HostScan, request: ProbeRequest, conversation: Conversation
    ) -> tuple[datetime, WireLog]:
        endpoint = request.endpoint
        async with self._connections.hold(endpoint.address, host):
            if self._pace is not None:
                await self._wait_for_pace(self._pace, host, endpoint.address)
            await self._dispatcher.permit(host)
            self.counters.connections += 1
            started_at = datetime.now(UTC)
            if endpoint.upgrade is Upgrade.NONE:
                log = await self._network.drive(
                    conversation,
                    address=endpoint.address,
                    port=endpoint.port,
                    deadline_s=request.deadline_s,
                    max_bytes=request.max_bytes,
                )
            else:
                log = await self._drive_through(host, request, conversation)
        self.counters.endings[log.ending] = self.counters.endings.get(log.ending, 0) + 1
        return started_at, log


class _ProxyUnderWay:
    """ProxyHost (scanner.proxying): a proxy, and the engine that asks it."""

    def __init__(self, engine: Engine, host: _HostScan, target: Target) -> None:
        self._engine = engine
        self._host = host
        self._target = target

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return self._host.exchanges

    def list_endpoint(self, endpoint: Endpoint) -> None:
        self._host.more_endpoints.append(endpoint)

    def add(self, arrivals: Sequence[Exchange]) -> None:
        next_id = self._engine.next_id
        self._host.exchanges += [replace(each, request=replace(each.request, id=next_id())) for each in arrivals]

    def new_nonce(self) -> str:
        return os.urandom(8).hex()

    async def climb(self, endpoint: Endpoint, confirm: Collection[TlsVersion]) -> None:
        await self._engine._climb(self._host, endpoint, self._host.confirm | frozenset(confirm))  # noqa: SLF001  # the engine's own other half

    async def ask_path(self, endpoint: Endpoint, variant: TlsVersion | None, path: str) -> Exchange:
        exchange = await self._engine._ask_path(self._host, endpoint, variant, path)  # noqa: SLF001  # the engine's own other half
        self._host.exchanges.append(exchange)
        return exchange

    async def ask_handshake(self, endpoint: Endpoint, version: TlsVersion) -> Exchange:
        exchange = await self._engine._ask_handshake(self._host, endpoint, version)  # noqa: SLF001  # the engine's own other half
        self._host.exchanges.append(exchange)
        return exchange

    async def reach(self, name: str, port: int) -> str | None:
        engine = self._engine
        addresses: tuple[str, ...] = (name,)
        if not is_address(name):
            addresses = (await engine._resolver.resolve(name)).addresses  # noqa: SLF001  # see climb
        exclusions = engine._exclusions  # noqa: SLF001  # see climb
        return next(
            (each for each in addresses if exclusions is None or not exclusions.is_excluded(each, port)),
            None,
        )


def _is_own(endpoint: Endpoint, path: Endpoint) -> bool:
    """Whether an endpoint is the proxy's own port that a path goes through."""
    is_same_port = (endpoint.address, endpoint.port) == (path.address, path.port)
    return is_same_port and endpoint.upgrade is Upgrade.NONE and endpoint.destination is None


def _lend(conversation: Conversation) -> Conversation:
    """Return a conversation to be closed in place of this one, for as long as it has not begun."""
    return (yield from conversation)


def _tell_outcomes(pace: Pace, address: str, before: Sequence[Answer], answers: Sequence[Answer]) -> None:
    """Tell of the answers to questions that were answered well before: the controls, and what was asked again."""
    good = {(answer.version, answer.variant) for answer in before if answer.kind is AnswerKind.ACCEPTED}
    for answer in answers:
        if (answer.version, answer.variant) in good:
            pace.on_outcome(address, is_trouble=answer.kind in NOISE_KINDS)


def _exchange(
    request: ProbeRequest, started_at: datetime, log: WireLog, *, engine: EngineReport | None = None
) -> Exchange:
    return Exchange(
        request=request,
        started_at=started_at,
        sent=log.sent,
        received=log.received,
        ending=log.ending,
        elapsed_s=log.elapsed_s,
        os_error=log.os_error,
        engine=engine,
    )


def plan_endpoints(
    target: Target, resolution: Resolution, exclusions: Exclusions | None = None
) -> tuple[Endpoint, ...]:
    """Return what to contact: every address with every port, required ports first, but for what is excluded."""
    return tuple(
        Endpoint(host=target.host, address=address, port=port, server_name=target.sni, is_optional=is_optional)
        for address in resolution.addresses
        for ports, is_optional in ((target.ports, False), (target.optional_ports, True))
        for port in ports
        if exclusions is None or not exclusions.is_excluded(address, port)
    )


def best_version(exchanges: Sequence[Exchange], endpoint: Endpoint) -> TlsVersion | None:
    """Return the version to speak HTTP over at an endpoint: TLS 1.2 where it was accepted, else the nearest to it."""
    accepted = {
        read_answer(exchange).accepted
        for exchange in exchanges
        if exchange.request.endpoint == endpoint and exchange.request.probe in VERSION_PROBES
    }
    order = (TlsVersion.TLS1_2, TlsVersion.TLS1_3, TlsVersion.TLS1_1, TlsVersion.TLS1_0, TlsVersion.SSL3)
    return next((version for version in order if version in accepted), None)
