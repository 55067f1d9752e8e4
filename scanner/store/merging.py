"""One run out of several: the shards of a scan that was split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scanner.model.runs import Run
from scanner.store.stored import Checkpoint, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scanner.model.declared import Declaration
    from scanner.store.database import Store
    from scanner.store.stored import PackedHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What merge_runs made."""

    run: Run
    """The run as it was stored."""
    host_count: int
    """Hosts in it."""
    shard_count: int
    """Shards the scan was split into."""
    missing_shards: tuple[int, ...]
    """Shards (from 1) that were not among the sources: the run is not complete."""
    unfinished_shards: tuple[int, ...]
    """Shards that were interrupted: the run is not complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    store: Store
    reference: str
    checkpoint: Checkpoint
    options: dict[str, Any]
    index: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.store.location}: run {self.checkpoint.run.id!r}"


def merge_runs(into: Store, sources: Sequence[tuple[Store, str]], *, run_id: str) -> Merged:
    """Store the hosts of several shards, each a store and a reference to a run in it, as one run in one transaction.

    Their options (begin_run) are JSON objects with ``seed`` and ``shard``: ``[i, n]``, i from 1. Raises StoreError
    where they are not shards of one scan (another plan, seed, number of shards or policy), where a shard is given
    twice, or where two have a different host at one position. A shard may be missing: the run is then not complete.
    """
    if not sources:
        raise StoreError("there is nothing to merge")
    shards = sorted((_load_shard(store, reference) for store, reference in sources), key=lambda shard: shard.index)
    first = shards[0]
    for shard in shards[1:]:
        _check_fits(first, shard)
    for one, other in pairwise(shards):
        if one.index == other.index:
            raise StoreError(f"{one.name} and {other.name} are both shard {one.index} of {one.count}")
    present = {shard.index for shard in shards}
    missing = tuple(index for index in range(1, first.count + 1) if index not in present)
    unfinished = tuple(shard.index for shard in shards if not shard.checkpoint.run.is_complete)
    run = _merge_run(shards, run_id, is_complete=not missing and not unfinished)
    options = {key: value for key, value in first.options.items() if key != "shard"}
    options |= {"shard": [1, 1], "merged_shards": sorted(present), "missing_shards": list(missing)}
    counts: Counter[str] = Counter()
    for shard in shards:
        counts.update(shard.checkpoint.counts)
    host_count = into.insert_run(
        run,
        plan=first.checkpoint.plan,
        options=json.dumps(options),
        hosts=_iter_packed(shards),
        counts=counts,
        declarations=_iter_declarations(shards),
    )
    return Merged(
        run=run,
        host_count=host_count,
        shard_count=first.count,
        missing_shards=missing,
        unfinished_shards=unfinished,
    )


def _load_shard(store: Store, reference: str) -> _Shard:
    checkpoint = store.load_checkpoint(reference, below=0)
    problem = f"{store.location}: run {checkpoint.run.id!r} is no shard of a scan"
    try:
        options = json.loads(checkpoint.options or "null")
        index, count = options["shard"]
        is_shard = isinstance(index, int) and isinstance(count, int) and 1 <= index <= count and "seed" in options
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(problem) from error
    if not is_shard:
        raise StoreError(problem)
    return _Shard(
        store=store, reference=checkpoint.run.id, checkpoint=checkpoint, options=options, index=index, count=count
    )


def _check_fits(first: _Shard, other: _Shard) -> None:
    one, two = first.checkpoint, other.checkpoint
    differences = {
        "the targets": (_digest(first), _digest(other)),
        "the seed": (first.options["seed"], other.options["seed"]),
        "the number of shards": (first.count, other.count),
        "the policy": (one.run.policy_id, two.run.policy_id),
        "--confirm": (one.run.confirm, two.run.confirm),
    }
    different = [name for name, (mine, theirs) in differences.items() if mine != theirs]
    if different:
        raise StoreError(f"{first.name} and {other.name} are not of one scan: they differ in {', '.join(different)}")


def _digest(shard: _Shard) -> str:
    """Return what tells plans apart: what is scanned, where the writer said so, and not where it was written."""
    given = shard.options.get("plan_digest")
    if isinstance(given, str):
        return given
    return hashlib.sha256(shard.checkpoint.plan.encode("utf-8", "surrogatepass")).hexdigest()


def _merge_run(shards: Sequence[_Shard], run_id: str, *, is_complete: bool) -> Run:
    runs = [shard.checkpoint.run for shard in shards]
    ends = [run.finished_at for run in runs if run.finished_at is not None]
    return Run(
        id=run_id,
        started_at=min(run.started_at for run in runs),
        finished_at=max(ends, default=None),
        is_complete=is_complete,
        policy_id=runs[0].policy_id,
        confirm=runs[0].confirm,
        tool_version=runs[0].tool_version,
        command=runs[0].command,
    )


def _iter_declarations(shards: Sequence[_Shard]) -> Iterator[Declaration]:
    for shard in shards:
        yield from shard.store.load_declarations(shard.reference)


def _iter_packed(shards: Sequence[_Shard]) -> Iterator[PackedHost]:
    for shard in shards:
        yield from shard.store.iter_packed(shard.reference)
