"""The use cases, wired: everything the command line does, without a command line."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from scanner import __version__
from scanner.engine import Engine, EngineSettings
from scanner.exclusions import Exclusions
from scanner.judge import is_absent, judge_run, maybe_no_listener
from scanner.model.evidence import State
from scanner.model.runs import HostRecord, Run, RunResult
from scanner.model.subjects import Target
from scanner.model.verdicts import Severity
from scanner.net.limits import Dispatcher
from scanner.net.network import open_network
from scanner.net.resolve import DnsResolver, Resolver, SystemResolver
from scanner.policy import DEFAULT_POLICY, read_policy
from scanner.store import StoreError

if TYPE_CHECKING:
    from scanner.store import Store

CONFIRM_ALL = "all"
CONFIRM_NONE = "none"

EXIT_COMPLIANT = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3

_STORE_BATCH_HOSTS = 200
_STORE_BATCH_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How to scan. The defaults are polite and suit a few hundred hosts."""

    confirm: str = CONFIRM_ALL
    """``all``: an sslyze handshake confirms every version found enabled; ``none``: hellos only."""
    timeout_s: float = 5.0
    """Seconds for one connection, connect included."""
    host_deadline_s: float = 120.0
    """Seconds for all questions to one host."""
    concurrency: int = 500
    """Hosts at a time."""
    per_address: int = 8
    """Connections at a time to one address; one endpoint never gets more than one ladder at a time."""
    rate: float = 1000.0
    """Connections a second over all hosts; 0 is no limit."""
    net: str = "auto"
    """``epoll``, ``asyncio`` or ``auto``."""
    policy: str = DEFAULT_POLICY
    """Name of the policy to judge with."""
    does_recognise: bool = True
    """Whether AD FS and registration endpoints are recognised over HTTP."""
    nameservers: tuple[tuple[str, int], ...] = ()
    """DNS servers (address, port) to ask instead of the system's resolver."""
    command: str = "scan"
    """Kept with the run."""


class Observer(Protocol):
    """Is told how a scan goes on; called in the event loop, so it must be quick."""

    def on_begin(self, run: Run, engine: Engine) -> None:
        """Take note that the scan begins; ``engine.counters`` tells how far it is, ``engine.interrupt()`` ends it."""

    def on_host(self, position: int, record: HostRecord) -> None:
        """Take note of a finished host."""

    def on_store_failure(self, error: StoreError) -> None:
        """Take note that the store failed on the way: the scan goes on, and its result is handed out all the same."""


async def scan_targets(
    targets: Sequence[Target],
    options: ScanOptions,
    *,
    exclusions: Exclusions | None = None,
    observer: Observer | None = None,
    resolver: Resolver | None = None,
    store: Store | None = None,
) -> RunResult:
    """Scan, store as results come, and judge.

    Raises PolicyError for an unknown policy, ValueError for an unknown network, StoreError where the run can't be begun
    in the store, or where the store fails later and there is no observer to be told.
    """
    policy = read_policy(options.policy)
    run = _new_run(options)
    network = open_network(options.net)
    engine = Engine(
        network=network,
        resolver=resolver or _open_resolver(options),
        dispatcher=Dispatcher(options.rate),
        exclusions=exclusions,
        settings=EngineSettings(
            timeout_s=options.timeout_s,
            host_deadline_s=options.host_deadline_s,
            concurrency=options.concurrency,
            per_address=options.per_address,
            does_confirm=options.confirm == CONFIRM_ALL,
            does_recognise=options.does_recognise,
        ),
    )
    sink = _Sink(run, store, observer)
    if store is not None:
        store.begin_run(run)
    if observer is not None:
        observer.on_begin(run, engine)
    try:
        await engine.run(targets, sink.on_host)
    finally:
        await network.close()
        sink.flush()
    records = sink.records
    is_complete = len(records) + sum(sink.no_listener.values()) == len(targets) and all(
        record.stopped is None for record in records.values()
    )
    run = replace(run, finished_at=datetime.now(UTC), is_complete=is_complete)
    counts = tuple(sorted(sink.no_listener.items()))
    sink.finish(run, counts)
    return judge_run(
        run, [records[at] for at in sorted(records)], policy, no_listener_counts=counts, answers=engine.answers
    )


def judge_stored(store: Store, reference: str, *, policy_id: str | None = None) -> RunResult:
    """Judge a stored run again, from its bytes. Raises StoreError and PolicyError."""
    stored = store.load_run(reference)
    policy = read_policy(policy_id or stored.run.policy_id)
    run = replace(stored.run, policy_id=policy.id)
    return judge_run(run, stored.hosts, policy, no_listener_counts=stored.no_listener_counts)


def exit_code(result: RunResult, *, allow_unknown: bool = False) -> int:
    """Return 0 compliant and complete, 1 findings, 3 something unknown or nothing seen."""
    if any(finding.severity is not Severity.INFO for finding in result.findings):
        return EXIT_FINDINGS
    verdicts = [verdict for host in result.hosts for verdict in host.verdicts]
    verdicts += [
        verdict
        for host in result.hosts
        for endpoint in host.endpoints
        if not is_absent(endpoint)
        for verdict in endpoint.verdicts
    ]
    unknown_count = sum(1 for verdict in verdicts if verdict.state is State.UNKNOWN)
    has_seen = unknown_count < len(verdicts)
    is_known = unknown_count == 0 and result.run.is_complete
    return EXIT_COMPLIANT if has_seen and (is_known or allow_unknown) else EXIT_UNKNOWN


class _Sink:
    """Collects what the engine hands out, and stores it in batches."""

    def __init__(self, run: Run, store: Store | None, observer: Observer | None) -> None:
        self.records: dict[int, HostRecord] = {}
        self.no_listener: dict[str, int] = {}
        self._run = run
        self._store = store
        self._observer = observer
        self._batch: list[tuple[int, HostRecord]] = []
        self._flushed_at = asyncio.get_running_loop().time()

    def on_host(self, position: int, record: HostRecord) -> None:
        reason = maybe_no_listener(record)
        if reason is None:
            self.records[position] = record
            self._batch.append((position, record))
        else:
            self.no_listener[reason.value] = self.no_listener.get(reason.value, 0) + 1
        if self._observer is not None:
            self._observer.on_host(position, record)
        now = asyncio.get_running_loop().time()
        if len(self._batch) >= _STORE_BATCH_HOSTS or now - self._flushed_at > _STORE_BATCH_S:
            self.flush()

    def flush(self) -> None:
        batch, self._batch = self._batch, []
        self._flushed_at = asyncio.get_running_loop().time()
        if batch:
            self._tell(lambda store: store.append_hosts(self._run.id, batch))

    def finish(self, run: Run, counts: Sequence[tuple[str, int]]) -> None:
        """Store how the run ended."""
        if run.finished_at is not None:
            finished_at = run.finished_at
            self._tell(lambda store: store.finish_run(run.id, finished_at, run.is_complete, counts))

    def _tell(self, what: Callable[[Store], None]) -> None:
        """Write to the store; a full disk costs the stored run, not what was learned."""
        if self._store is None:
            return
        try:
            what(self._store)
        except StoreError as error:
            if self._observer is None:
                raise
            self._store = None
            self._observer.on_store_failure(error)


def _new_run(options: ScanOptions) -> Run:
    now = datetime.now(UTC)
    return Run(
        id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        started_at=now,
        finished_at=None,
        is_complete=False,
        policy_id=options.policy,
        confirm=options.confirm,
        tool_version=__version__,
        command=options.command,
    )


def _open_resolver(options: ScanOptions) -> Resolver:
    if options.nameservers:
        return DnsResolver(options.nameservers)
    return SystemResolver()
