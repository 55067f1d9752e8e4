"""The use case behind ``entra-tls listen``: a listener at work, whose exchanges are stored as they come, and judged.

Each time the store is written, what came since goes in as parts of hosts: memory stays bounded however long it runs.
Judgement puts the parts of a host together again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from scanner.listener.limits import ListenerLimits
from scanner.model.exchange import Exchange
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Role, Target
from scanner.net.ceiling import apply, plan_ceiling, read_machine
from scanner.outbound.tokens import ProbeToken, read_name, read_path
from scanner.store.packing import pack_record
from scanner.store.stored import StoredHost, StoreError

if TYPE_CHECKING:
    from scanner.listener.identity import Identity
    from scanner.listener.limits import Counters
    from scanner.store import Store

COMMAND = "listen"
"""Run.command of such runs."""
MOST_JUDGED = 2_000
"""Connections of one host that are judged; a client needs some twenty to be known whole."""
_FLUSH_S = 2.0
_MOST_WAITING_BYTES = 32 * 1024 * 1024
"""Of exchanges that wait to be stored: then they are at once."""


class ListenObserver(Protocol):
    """Is told how it goes on; called in the event loop, so it must be quick."""

    def on_listening(self, addresses: Sequence[tuple[str, int]], counters: Counters) -> None:
        """Take note that it listens."""

    def on_exchange(self, exchange: Exchange) -> None:
        """Take note of a connection that has ended."""

    def on_store_failure(self, error: StoreError) -> None:
        """Take note that the store failed: the listener stops, with what was stored until then."""


class _Recorder:
    """Collects exchanges by host, and stores them."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run
        self._by_host: dict[str, list[Exchange]] = {}
        self._bytes = 0
        self._position = 0
        self._id = 0

    def add(self, exchange: Exchange) -> None:
        """Take an exchange; raises StoreError where so much waits that it is written at once."""
        self._id += 1
        exchange = replace(exchange, request=replace(exchange.request, id=self._id))
        self._by_host.setdefault(exchange.request.endpoint.host, []).append(exchange)
        self._bytes += len(exchange.sent) + len(exchange.received)
        if self._bytes > _MOST_WAITING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store what waits, in one transaction; raises StoreError."""
        waiting, self._by_host, self._bytes = self._by_host, {}, 0
        if not waiting:
            return
        batch = []
        for host, exchanges in waiting.items():
            batch.append(pack_record(_record(host, exchanges), self._position))
            self._position += 1
        self._store.append_packed(self._run.id, batch)


async def listen(
    run: Run,
    store: Store,
    *,
    binds: Sequence[tuple[str, int]],
    identity: Identity,
    secret: bytes | None,
    name_suffix: str,
    limits: ListenerLimits | None = None,
    observer: ListenObserver,
    stop: asyncio.Event,
) -> Run:
    """Listen until stop is set, store what comes, and return the run as it ended.

    Raises OSError where an address can't be had, StoreError where the run can't be begun. A store that fails later is
    told to the observer, and ends it.
    """
    from scanner.listener.server import Listener  # noqa: PLC0415  # only where it is used

    limits = limits or ListenerLimits()
    machine = read_machine()
    ceiling = plan_ceiling(machine, in_flight=limits.connections, rate=0, processes=1)
    apply(ceiling)
    limits = replace(limits, connections=min(limits.connections, ceiling.in_flight))
    recorder = _Recorder(store, run)
    failures: list[StoreError] = []

    def guarded(what: Callable[[], None]) -> None:
        try:
            what()
        except StoreError as error:
            if not failures:
                failures.append(error)
                observer.on_store_failure(error)
            stop.set()

    def on_exchange(exchange: Exchange) -> None:
        guarded(lambda: recorder.add(exchange))
        observer.on_exchange(exchange)

    listener = Listener(binds, identity, on_exchange=on_exchange, secret=secret, name_suffix=name_suffix, limits=limits)
    await listener.start()
    try:
        store.begin_run(run)
        observer.on_listening(listener.addresses, listener.counters)
        while not stop.is_set():
            guarded(recorder.flush)
            try:
                await asyncio.wait_for(stop.wait(), _FLUSH_S)
            except TimeoutError:
                continue
    finally:
        await listener.stop()
    guarded(recorder.flush)
    run = replace(run, finished_at=datetime.now(UTC), is_complete=not failures)
    if not failures and run.finished_at is not None:
        store.finish_run(run.id, run.finished_at, run.is_complete, ())
    return run


def join_parts(hosts: Iterable[StoredHost], on_note: Callable[[str], None]) -> list[HostRecord]:
    """Return the hosts of a listener's run, each with its exchanges in the order they came, at most MOST_JUDGED."""
    by_host: dict[str, list[Exchange]] = {}
    counts: dict[str, int] = {}
    for host in hosts:
        name = host.record.target.host
        kept = by_host.setdefault(name, [])
        counts[name] = counts.get(name, 0) + len(host.record.exchanges)
        kept += host.record.exchanges[: MOST_JUDGED - len(kept)]
    for name, count in counts.items():
        if count > MOST_JUDGED:
            on_note(f"{name}: the first {MOST_JUDGED:,} of {count:,} connections are judged; all are stored")
    of_scans = {name for name, exchanges in by_host.items() if all(map(_is_of_scan, exchanges))}
    if of_scans:
        on_note(
            "connected for scans alone (proxies that were asked), and so not listed: "
            + ", ".join(sorted(of_scans)[:20])
        )
    return [_record(name, exchanges) for name, exchanges in by_host.items() if name not in of_scans]


def _is_of_scan(exchange: Exchange) -> bool:
    """Whether a scan's question led to it: then it is judged there, with what the scan saw at its own end."""
    name = exchange.request.endpoint.server_name
    return isinstance(read_name(name) or read_path(exchange.request.path), ProbeToken)


def _record(host: str, exchanges: Sequence[Exchange]) -> HostRecord:
    addresses = tuple(dict.fromkeys(exchange.request.endpoint.address for exchange in exchanges))
    return HostRecord(
        target=Target(text=host, host=host, role=Role.SERVER, ports=(), locator="listener"),
        resolution=Resolution(addresses=addresses),
        endpoints=(),
        exchanges=tuple(exchanges),
    )
