"""The use cases, wired: everything the command line does, without a command line."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scanner import __version__, auditing, listening
from scanner.auditing import Attaching, AuditOptions
from scanner.counters import Counters
from scanner.forms import Forms
from scanner.model.runs import HostRecord, Run
from scanner.net import ceiling as machine_ceiling
from scanner.net.network import has_epoll, open_network
from scanner.net.resolve import Resolver
from scanner.net.syn import SynProber
from scanner.options import Confirm, ScanOptions, decode_options, open_resolver
from scanner.policy import Policy, read_policy
from scanner.processes import Workers, plan_process_count
from scanner.proxy_setup import Secrets, preparing
from scanner.proxying import Proxying
from scanner.results import JudgedHost, Results, decode_judged, judge_to_json
from scanner.share import Part, Share
from scanner.sink import RunSink
from scanner.store.stored import Checkpoint, StoreError
from scanner.sweep.order import Order
from scanner.sweep.plan import TargetPlan, decode_plan
from scanner.sweep.progress import Progress

if TYPE_CHECKING:
    from scanner.net.budgets import BackoffReport
    from scanner.store import Store
    from scanner.store.merging import Merged

EXIT_COMPLIANT = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3

_FLUSH_EVERY_S = 0.5
_CONNECTIONS_A_HOST = 8
"""What a host takes in the ordinary case."""


class Scan(Protocol):
    """A scan under way."""

    @property
    def counters(self) -> Counters:
        """How far it is."""

    @property
    def rate(self) -> float:
        """Connections a second that are asked for now; 0 is no limit."""

    def interrupt(self) -> None:
        """Stop asking; what was learned is kept."""

    def describe_backoff(self) -> Sequence[BackoffReport]:
        """Return what was slowed down, one report a process."""


class Observer(Protocol):
    """Is told how a scan goes on; called in the event loop, so it must be quick."""

    def on_begin(self, run: Run, scan: Scan) -> None:
        """Take note that the scan begins."""

    def on_note(self, text: str) -> None:
        """Take note of something the user should know: what limits the scan, and what to set."""

    def on_store_failure(self, error: StoreError) -> None:
        """Take note that the store failed on the way: the scan goes on, and its result is handed out all the same."""


async def scan_plan(
    plan: TargetPlan,
    options: ScanOptions,
    *,
    observer: Observer | None = None,
    resolver: Resolver | None = None,
    store: Store | None = None,
    resumed: str | None = None,
    spool_folder: Path | None = None,
    on_host: Callable[[JudgedHost], None] | None = None,
    on_record: Callable[[int, HostRecord], None] | None = None,
    secrets_of: Secrets | None = None,
) -> Results:
    """Scan, store as results come, and judge.

    resumed: id of the stored run to go on with; plan and options are those of load_resumable. spool_folder: where the
    results of large runs wait for the reports, some 10 KB a host; None is the system's for temporary files. on_host: is
    given each host when it is known; on_record: everything learned of it, as (position, record), where one process does
    all. secrets_of: what forward proxies and the listener are told, which is neither stored nor shown.

    Raises PolicyError for an unknown policy, ValueError for an unknown network, StoreError where the run can't be begun
    in the store, or where the store fails later and there is no observer to be told.
    """
    policy = read_policy(options.policy)
    # Told of before anything is stored: an unknown network, a missing capability.
    await open_network(options.net).close()
    if options.uses_syn:
        _check_syn(options)
    on_note = observer.on_note if observer is not None else lambda _text: None
    async with preparing(plan, options, secrets_of or Secrets(), on_note) as proxying:
        begun = _begin(plan, options, policy, store=store, resumed=resumed, spool_folder=spool_folder)
        try:
            return await _scan(
                begun,
                plan,
                options,
                policy,
                observer=observer,
                resolver=resolver,
                store=store,
                on_host=on_host,
                on_record=on_record,
                proxying=proxying,
            )
        except BaseException:
            begun.results.close()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A run that is about to be scanned: what of it was done before."""

    run: Run
    results: Results
    progress: Progress | None
    counts: Mapping[str, int]
    done_positions: frozenset[int]
    is_resumed: bool


def _begin(
    plan: TargetPlan,
    options: ScanOptions,
    policy: Policy,
    *,
    store: Store | None,
    resumed: str | None,
    spool_folder: Path | None,
) -> _Begun:
    """Begin a run, or go on with one."""
    order_count = len(Order(plan.space.count, options.seed, options.shard))
    progress = Progress(order_count) if order_count else None
    if store is None or resumed is None:
        run = _new_run(options)
        if store is not None:
            store.begin_run(run, plan=plan.encode(), options=options.encode(plan_digest=plan.digest))
        results = Results(run, policy, folder=spool_folder)
        return _Begun(
            run=run, results=results, progress=progress, counts={}, done_positions=frozenset(), is_resumed=False
        )
    checkpoint = store.load_checkpoint(resumed, below=len(plan.named))
    run = replace(checkpoint.run, finished_at=None, is_complete=False)
    if progress is not None and checkpoint.progress is not None:
        progress = Progress.decode(checkpoint.progress)
    store.replace_options(run.id, json.dumps(json.loads(checkpoint.options) | {"resumed": True}))
    results = Results(run, policy, folder=spool_folder)
    _add_stored(results, run, policy, store, resumed)
    return _Begun(
        run=run,
        results=results,
        progress=progress,
        counts=checkpoint.counts,
        done_positions=checkpoint.done_positions,
        is_resumed=True,
    )


async def _scan(
    begun: _Begun,
    plan: TargetPlan,
    options: ScanOptions,
    policy: Policy,
    *,
    observer: Observer | None,
    resolver: Resolver | None,
    store: Store | None,
    on_host: Callable[[JudgedHost], None] | None,
    on_record: Callable[[int, HostRecord], None] | None,
    proxying: Proxying | None,
) -> Results:
    """Scan what is left of a run."""
    run, results, progress = begun.run, begun.results, begun.progress
    # None of these can be sent to another process.
    can_share = resolver is None and on_record is None and proxying is None
    process_count = plan_process_count(options, plan.space.count) if can_share else 1
    options = _bound(options, plan, process_count, observer)
    sink = RunSink(
        run, results, store=store, progress=progress, counts=begun.counts, on_host=on_host, observer=observer
    )
    part = Part(progress=progress, done_positions=begun.done_positions, is_resumed=begun.is_resumed)
    does_pack = store is not None
    scan: Share | Workers
    if process_count > 1:
        scan = Workers(run, plan, options, sink, part=part, does_pack=does_pack, count=process_count, observer=observer)
    else:
        resolver = resolver or open_resolver(options)
        scan = Share(
            run,
            plan,
            policy,
            options,
            sink,
            part=part,
            resolver=resolver,
            does_pack=does_pack,
            on_record=on_record,
            proxying=proxying,
        )
    if observer is not None:
        observer.on_begin(run, scan)
    flushing = asyncio.ensure_future(_flush_now_and_then(sink))
    try:
        await scan.run()
    finally:
        flushing.cancel()
        sink.flush()
    counters = scan.counters
    has_lost = isinstance(scan, Workers) and scan.has_lost  # one that died at once has not even said what was its part
    if counters.lost_answers and observer is not None:
        observer.on_note(
            f"this machine was too slow to read {counters.lost_answers:,} answers to SYNs: those addresses look "
            "silent. Sweep again at a lower --rate, or without --syn"
        )
    is_complete = (
        counters.done == counters.total
        and not counters.lost_answers
        and not sink.failed_count
        and not sink.has_cut
        and not has_lost
    )
    run = replace(run, finished_at=datetime.now(UTC), is_complete=is_complete)
    sink.finish(run)
    results.finish(
        run,
        sink.counts.items(),
        sweep=_sweep_facts(plan, options, progress, sink.counts, is_resumed=begun.is_resumed),
    )
    return results


def load_resumable(store: Store, reference: str) -> tuple[str, TargetPlan, ScanOptions]:
    """Return (id, plan, options) of a stored run that can be gone on with. Raises StoreError."""
    checkpoint = store.load_checkpoint(reference, below=0)
    if checkpoint.run.command == listening.COMMAND:
        raise StoreError(
            f"run {checkpoint.run.id!r} is what a listener saw, and can't be resumed: entra-tls listen begins a new one"
        )
    if checkpoint.run.command == auditing.COMMAND:
        raise StoreError(f"run {checkpoint.run.id!r} is made of files: there is nothing to go on with")
    try:
        plan, options = decode_plan(checkpoint.plan), decode_options(checkpoint.options)
    except ValueError as error:
        raise StoreError(f"run {checkpoint.run.id!r} can't be resumed: {error}") from error
    if "merged_shards" in checkpoint.options:
        raise StoreError(f"run {checkpoint.run.id!r} was merged from shards: resume those that are not complete")
    if checkpoint.run.is_complete:
        raise StoreError(f"run {checkpoint.run.id!r} is complete: there is nothing to go on with")
    return checkpoint.run.id, plan, options


def merge_shards(into: Store, sources: Sequence[Store]) -> Merged:
    """Make one run of the newest run of each store, which are shards of one scan. Raises StoreError."""
    from scanner.store.merging import merge_runs  # noqa: PLC0415  # only what is used is loaded

    return merge_runs(into, [(source, "latest") for source in sources], run_id=_new_run_id(datetime.now(UTC)))


def judge_stored(
    store: Store,
    reference: str,
    *,
    policy_id: str | None = None,
    spool_folder: Path | None = None,
    on_note: Callable[[str], None] = lambda _text: None,
) -> Results:
    """Judge a stored run again, from its bytes. Raises StoreError and PolicyError.

    spool_folder: as in scan_plan. on_note: is told what the reader of the results should know.
    """
    checkpoint = store.load_checkpoint(reference, below=0)
    policy = read_policy(policy_id or checkpoint.run.policy_id)
    run = replace(checkpoint.run, policy_id=policy.id)
    results = Results(run, policy, folder=spool_folder)
    if run.command == listening.COMMAND:
        attaching = Attaching(store.load_declarations(checkpoint.run.id))
        for position, record in enumerate(listening.join_parts(store.iter_stored(checkpoint.run.id), on_note)):
            results.add(judge_to_json(run, attaching.attach(position, record), policy, position=position))
        _add_declared(results, run, policy, attaching)
        results.finish(run, ())
        return results
    kept_count = _add_stored(results, run, policy, store, checkpoint.run.id, on_note=on_note)
    if kept_count and policy.id != checkpoint.run.policy_id:
        on_note(
            f"{kept_count:,} hosts were stored without bytes (--keep-bytes none): they keep the judgement by "
            f"{checkpoint.run.policy_id}"
        )
    results.finish(run, checkpoint.counts.items(), sweep=_stored_sweep_facts(checkpoint, results))
    return results


def exit_code(results: Results, *, allow_unknown: bool = False) -> int:
    """Return 0 compliant and complete, 1 findings, 3 something unknown or nothing seen."""
    if results.has_findings:
        return EXIT_FINDINGS
    is_known = not results.has_unknown and results.is_complete
    return EXIT_COMPLIANT if results.has_known and (is_known or allow_unknown) else EXIT_UNKNOWN


def _bound(options: ScanOptions, plan: TargetPlan, process_count: int, observer: Observer | None) -> ScanOptions:
    """Return the options within what this machine allows, and say what it does not."""
    in_flight = max(1, min(options.in_flight, plan.space.count)) + options.concurrency
    ceiling = machine_ceiling.plan_ceiling(
        machine_ceiling.read_machine(),
        in_flight=in_flight,
        rate=options.rate,
        processes=process_count,
        connections=plan.count * _CONNECTIONS_A_HOST,
    )
    machine_ceiling.apply(ceiling)  # workers inherit it
    if observer is not None:
        for note in ceiling.notes:
            observer.on_note(note)
    share = ceiling.in_flight / in_flight
    return replace(
        options,
        in_flight=max(1, int(options.in_flight * share)),
        concurrency=max(1, int(options.concurrency * share)),
        rate=ceiling.rate,
    )


def _check_syn(options: ScanOptions) -> None:
    """Raise ValueError where no raw SYN can be sent."""
    if not has_epoll(options.net):
        raise ValueError("--syn works with epoll only (Linux); without it the sweep connects")
    try:
        SynProber(lambda *_: None, secret=secrets.token_bytes(32)).close()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


async def _flush_now_and_then(sink: RunSink) -> None:
    while True:
        await asyncio.sleep(_FLUSH_EVERY_S)
        sink.flush_if_due()


def _add_stored(
    results: Results,
    run: Run,
    policy: Policy,
    store: Store,
    reference: str,
    *,
    on_note: Callable[[str], None] = lambda _text: None,
) -> int:
    """Judge what is stored of a run; return how many hosts have no bytes, but the judgement they were stored with."""
    forms = Forms(run, policy)
    attaching = Attaching(store.load_declarations(reference))
    kept_count = 0
    for host in store.iter_stored(reference):
        record = attaching.attach(host.position, host.record)
        if host.has_bytes or host.judged is None:
            results.add(forms.judge(host.position, record))
            continue
        if record.declarations:
            on_note(
                f"{record.target.host} was stored without bytes (--keep-bytes none): its files are not held against "
                "what was measured"
            )
        results.add(decode_judged(host.position, host.judged))
        kept_count += 1
    _add_declared(results, run, policy, attaching)
    return kept_count


def _add_declared(results: Results, run: Run, policy: Policy, attaching: Attaching) -> None:
    """Judge hosts that files alone know of."""
    for position, record in attaching.rest():
        results.add(judge_to_json(run, record, policy, position=position))


def audit_files(
    paths: Sequence[Path],
    options: AuditOptions,
    *,
    policy_id: str,
    store: Store | None = None,
    reference: str | None = None,
    spool_folder: Path | None = None,
    on_note: Callable[[str], None] = lambda _text: None,
    on_file: Callable[[str], None] = lambda _name: None,
) -> Results:
    """Read files that declare versions, store what they say, and judge it, beside what was measured in a run.

    reference: the stored run that they are added to; None is a new run of its own. on_file: is told each file's name.
    Raises AuditError with the problems of all files, StoreError and PolicyError; nothing is stored then.
    """
    now = datetime.now(UTC)
    if reference is None or store is None:
        run = replace(
            _new_run(ScanOptions(command=auditing.COMMAND, confirm=Confirm.NONE, policy=read_policy(policy_id).id)),
            finished_at=now,
            is_complete=True,
        )
        known_hosts: tuple[str, ...] = ()
    else:
        run = store.load_checkpoint(reference, below=0).run
        known_hosts = store.list_host_names(run.id)
    declarations = auditing.read_declarations(
        paths,
        options,
        run=run.id,
        given_at=now,
        tool_version=__version__,
        known_hosts=known_hosts,
        on_file=on_file,
    )
    if store is not None:
        if reference is None:
            store.insert_run(run, plan="", options="", hosts=(), counts={}, declarations=declarations)
        else:
            store.replace_declarations(run.id, declarations)
            return judge_stored(store, run.id, policy_id=policy_id, spool_folder=spool_folder, on_note=on_note)
    policy = read_policy(policy_id)
    results = Results(run, policy, folder=spool_folder)
    _add_declared(results, run, policy, Attaching(declarations))
    results.finish(run, ())
    return results


def _sweep_facts(
    plan: TargetPlan, options: ScanOptions, progress: Progress | None, counts: Mapping[str, int], *, is_resumed: bool
) -> dict[str, object] | None:
    """Return ``sweep`` of docs/json-report.md, or None where no range was swept."""
    if not plan.space.count or progress is None:
        return None
    number, total = options.shard
    return {
        "seed": options.seed,
        "shard": None if total == 1 else f"{number}/{total}",
        "resumed": is_resumed,
        "addresses": {
            "total": progress.count,
            "done": progress.done_count,
            "listening": progress.done_count - sum(counts.values()),
        },
    }


def _stored_sweep_facts(checkpoint: Checkpoint, results: Results) -> dict[str, object] | None:
    """Return the same of a stored run; one that was merged from shards has its hosts and counts to tell."""
    if not checkpoint.plan or not checkpoint.options:
        return None
    try:
        plan, options = decode_plan(checkpoint.plan), decode_options(checkpoint.options)
        progress = None if checkpoint.progress is None else Progress.decode(checkpoint.progress)
    except ValueError as error:
        raise StoreError(f"run {checkpoint.run.id!r}: {error}") from error
    if progress is not None or not plan.space.count:
        is_resumed = json.loads(checkpoint.options).get("resumed", False) is True
        return _sweep_facts(plan, options, progress, checkpoint.counts, is_resumed=is_resumed)
    listening = results.count_from(len(plan.named))
    done = listening + sum(checkpoint.counts.values())
    addresses = {"total": plan.space.count, "done": done, "listening": listening}
    return {"seed": options.seed, "shard": None, "resumed": False, "addresses": addresses}


def new_listening_run(policy_id: str) -> Run:
    """Return a run of ``entra-tls listen``, about to begin. Raises PolicyError."""
    return _new_run(ScanOptions(command=listening.COMMAND, confirm=Confirm.NONE, policy=read_policy(policy_id).id))


def _new_run_id(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def _new_run(options: ScanOptions) -> Run:
    now = datetime.now(UTC)
    return Run(
        id=_new_run_id(now),
        started_at=now,
        finished_at=None,
        is_complete=False,
        policy_id=options.policy,
        confirm=options.confirm.value,
        tool_version=__version__,
        command=options.command,
    )
