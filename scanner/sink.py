"""Collects what the shares of a run deliver: progress, results, store and the stream of JSON lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from scanner.model.evidence import GapReason
from scanner.model.runs import Run
from scanner.results import JudgedHost, Results
from scanner.store.stored import PackedHost, StoreError
from scanner.sweep.progress import Progress

if TYPE_CHECKING:
    from scanner.store import Store

_BATCH_HOSTS = 500
_FLUSH_S = 2.0
"""A run that is killed has lost no more than what was learned in this time."""


class SinkObserver(Protocol):
    """Is told of what the sink can't do."""

    def on_store_failure(self, error: StoreError) -> None:
        """Take note that the store failed on the way: the scan goes on, and its result is handed out all the same."""


class RunSink:
    """One run's results, as they come. Every method is quick, but for those that write to the store."""

    def __init__(
        self,
        run: Run,
        results: Results,
        *,
        store: Store | None,
        progress: Progress | None,
        counts: Mapping[str, int],
        on_host: Callable[[JudgedHost], None] | None,
        observer: SinkObserver | None,
    ) -> None:
        """progress: of the order, where there are ranges; counts: of a resumed run. on_host: for a stream of hosts."""
        self.counts = Counter(counts)
        """Addresses of ranges where nothing listened, by reason."""
        self.failed_count = 0
        """Addresses that this machine could not ask."""
        self.has_cut = False
        """Whether any host was cut off before all questions were put."""
        self._run = run
        self._results = results
        self._store = store
        self._progress = progress
        self._on_host = on_host
        self._observer = observer
        self._batch: list[PackedHost] = []
        self._has_news = False
        self._failure: StoreError | None = None
        self._flushed_at = time.monotonic()

    def on_host(self, order_at: int | None, judged: JudgedHost, packed: PackedHost | None) -> None:
        """See ShareSink.on_host."""
        self._results.add(judged)
        if judged.stopped is not None:
            self.has_cut = True
        if packed is not None:
            self._batch.append(packed)
        is_final = judged.stopped != "interrupted"
        if order_at is not None and is_final and self._progress is not None:
            self._progress.mark(order_at)
        self._has_news = True
        if self._on_host is not None and is_final:
            self._on_host(judged)
        if len(self._batch) >= _BATCH_HOSTS:
            self.flush()

    def on_absent(self, order_at: int, reason: GapReason) -> None:
        """See ShareSink.on_absent."""
        self.counts[reason.value] += 1
        if self._progress is not None:
            self._progress.mark(order_at)
        self._has_news = True

    def on_failed(self, order_at: int, os_error: str) -> None:  # noqa: ARG002  # ShareSink's shape
        """See ShareSink.on_failed."""
        self.failed_count += 1

    def flush_if_due(self) -> None:
        """Write what waits, if it has waited long enough."""
        if self._has_news and time.monotonic() - self._flushed_at >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write hosts and progress to the store, in one transaction."""
        batch, self._batch = self._batch, []
        self._flushed_at = time.monotonic()
        self._has_news = False
        checkpoint = None if self._progress is None else self._progress.encode()
        counts = dict(self.counts)
        self._tell(lambda store: store.append_packed(self._run.id, batch, checkpoint=checkpoint, counts=counts))

    def finish(self, run: Run) -> None:
        """Write how the run ended."""
        finished_at = run.finished_at
        assert finished_at is not None  # noqa: S101  # for the type checker: it has ended
        counts = tuple(sorted(self.counts.items()))
        self._tell(lambda store: store.finish_run(run.id, finished_at, run.is_complete, counts))

    def _tell(self, what: Callable[[Store], None]) -> None:
        """Write to the store; a full disk costs the stored run, not what was learned.

        After a failure nothing more is written: a later checkpoint would call done what this one failed to keep.
        """
        if self._failure is not None:
            raise self._failure
        if self._store is None:
            return
        try:
            what(self._store)
        except StoreError as error:
            self._store = None
            if self._observer is None:
                self._failure = error
                raise
            self._observer.on_store_failure(error)
