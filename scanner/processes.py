"""A run in several processes: workers scan, judge and pack; this process collects, and is the only one that writes.

A worker is this module run as a program. Over its standard input, a socket, it is given what to do, and sends back what
it has done, a few times a second. It ends when that socket does, so that none outlives a parent that was killed.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from scanner.counters import Counters
from scanner.model.evidence import GapReason
from scanner.model.runs import Run
from scanner.options import ScanOptions, open_resolver
from scanner.policy import read_policy
from scanner.share import Part, Share, ShareSink
from scanner.sweep.plan import TargetPlan, decode_plan
from scanner.sweep.progress import Progress

if TYPE_CHECKING:
    from scanner.net.budgets import BackoffReport
    from scanner.results import JudgedHost
    from scanner.store.stored import PackedHost

_LENGTH = struct.Struct("!Q")
_SEND_EVERY_S = 0.2
_AUTO_FROM_ADDRESSES = 20_000
"""Below this, starting processes takes longer than they save."""
_MOST_AUTO = 8
_HOLD_ABOVE_BYTES = 16 * 2**20
"""When the parent is this far behind, a worker begins no further addresses."""
_MOST_ENDING_S = 10.0
_STOP = b"stop"


def plan_process_count(options: ScanOptions, address_count: int) -> int:
    """Return how many processes are to scan. address_count: addresses of ranges; named targets need no second one."""
    if options.processes:
        return options.processes
    if address_count < _AUTO_FROM_ADDRESSES:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_AUTO)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a worker is given."""

    run: Run
    plan: str
    options: ScanOptions
    number: int
    count: int
    progress: bytes | None
    done_positions: frozenset[int]
    is_resumed: bool
    does_pack: bool


@dataclass(slots=True, kw_only=True)
class _Delivery:
    """What a worker has done since the last one."""

    hosts: list[tuple[int | None, JudgedHost, PackedHost | None]] = field(default_factory=list)
    absent: dict[GapReason, array[int]] = field(default_factory=dict)
    failed: list[tuple[int, str]] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    rate: float = 0.0
    backoff: BackoffReport | None = None
    is_last: bool = False
    fault: str | None = None


class WorkersObserver(Protocol):
    """Is told what goes wrong with the workers."""

    def on_note(self, text: str) -> None:
        """Take note of something the user should know."""


class Workers:
    """Scans in several processes; the counterpart of Share in the process that collects."""

    def __init__(
        self,
        run: Run,
        plan: TargetPlan,
        options: ScanOptions,
        sink: ShareSink,
        *,
        part: Part,
        does_pack: bool,
        count: int,
        observer: WorkersObserver | None = None,
    ) -> None:
        progress = None if part.progress is None else part.progress.encode()
        self._jobs = [
            _Job(
                run=run,
                plan=plan.encode(),
                options=options,
                number=number,
                count=count,
                progress=progress,
                done_positions=part.done_positions,
                is_resumed=part.is_resumed,
                does_pack=does_pack,
            )
            for number in range(count)
        ]
        self._sink = sink
        self._observer = observer
        self._counters = [Counters() for _ in range(count)]
        self._rates = [options.rate / count] * count
        self._backoffs: list[BackoffReport | None] = [None] * count
        self._writers: list[asyncio.StreamWriter] = []
        self._processes: list[asyncio.subprocess.Process] = []
        self._is_stopping = False
        self.has_lost = False
        """Whether a worker ended before its work was done."""

    @property
    def counters(self) -> Counters:
        """What all workers have done so far."""
        total = Counters()
        for counters in self._counters:
            total.add(counters)
        return total

    @property
    def rate(self) -> float:
        """Connections a second that are asked for now; 0 is no limit."""
        return sum(self._rates)

    def describe_backoff(self) -> Sequence[BackoffReport]:
        """Return what was slowed down, one report a worker."""
        return [report for report in self._backoffs if report is not None]

    def interrupt(self) -> None:
        """Have all workers stop; what they learned is still delivered."""
        self._is_stopping = True
        for writer in self._writers:
            if not writer.is_closing():
                writer.write(_frame(_STOP))

    async def run(self) -> None:
        """Scan until every worker is done. Raises what the sink raises."""
        try:
            async with asyncio.TaskGroup() as group:
                for job in self._jobs:
                    group.create_task(self._work(job))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            # Here and not where each was begun: those that are cancelled while they wait would leave theirs behind.
            for process in self._processes:
                await _end(process)

    async def _work(self, job: _Job) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "scanner.processes", stdin=theirs.fileno(), start_new_session=True
            )
        self._processes.append(process)
        reader, writer = await asyncio.open_connection(sock=ours)
        self._writers.append(writer)
        is_done = False
        try:
            writer.write(_frame(pickle.dumps(job)))
            if self._is_stopping:
                writer.write(_frame(_STOP))
            while (message := await _read_frame(reader)) is not None:
                # From our own child, over a socket nobody else has.
                delivery: _Delivery = pickle.loads(message)  # noqa: S301
                self._take(job.number, delivery)
                if delivery.is_last:
                    is_done = True
                    break
        finally:
            writer.close()  # at which the worker ends
        code = await _end(process)
        if not is_done:
            self.has_lost = True
            if self._observer is not None:
                self._observer.on_note(
                    f"a scanning process ended before its time (exit code {code}): what it had not yet asked is missing"
                )

    def _take(self, number: int, delivery: _Delivery) -> None:
        self._counters[number] = delivery.counters
        self._rates[number] = delivery.rate
        self._backoffs[number] = delivery.backoff
        if delivery.fault is not None:
            self.has_lost = True
            if self._observer is not None:
                self._observer.on_note(f"a scanning process failed: {delivery.fault}")
        for order_at, judged, packed in delivery.hosts:
            self._sink.on_host(order_at, judged, packed)
        for reason, places in delivery.absent.items():
            for order_at in places:
                self._sink.on_absent(order_at, reason)
        for order_at, os_error in delivery.failed:
            self._sink.on_failed(order_at, os_error)


async def _end(process: asyncio.subprocess.Process) -> int:
    """Wait for a worker whose socket was closed; return its exit code."""
    # Popen's own poll, before a signal, would take the exit code away from asyncio: so no signal at once.
    try:
        return await asyncio.wait_for(process.wait(), _MOST_ENDING_S)
    except TimeoutError:
        process.kill()
        return await process.wait()


class _Outbox:
    """A worker's sink: keeps what was done until it is sent."""

    def __init__(self) -> None:
        self.next = _Delivery()

    def on_host(self, order_at: int | None, judged: JudgedHost, packed: PackedHost | None) -> None:
        """See ShareSink.on_host."""
        self.next.hosts.append((order_at, judged, packed))

    def on_absent(self, order_at: int, reason: GapReason) -> None:
        """See ShareSink.on_absent."""
        places = self.next.absent.get(reason)
        if places is None:
            places = self.next.absent[reason] = array("Q")
        places.append(order_at)

    def on_failed(self, order_at: int, os_error: str) -> None:
        """See ShareSink.on_failed."""
        self.next.failed.append((order_at, os_error))


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    message = await _read_frame(reader)
    if message is None:
        return
    job: _Job = pickle.loads(message)  # noqa: S301  # from our own parent, over a socket nobody else has
    outbox = _Outbox()
    share = Share(
        job.run,
        decode_plan(job.plan),
        read_policy(job.options.policy),
        job.options,
        outbox,
        part=Part(
            number=job.number,
            count=job.count,
            progress=None if job.progress is None else Progress.decode(job.progress),
            done_positions=job.done_positions,
            is_resumed=job.is_resumed,
        ),
        resolver=open_resolver(job.options),
        does_pack=job.does_pack,
    )

    def send(*, is_last: bool = False, fault: str | None = None) -> None:
        delivery, outbox.next = outbox.next, _Delivery()
        delivery.counters = share.counters
        delivery.rate = share.rate
        delivery.backoff = share.describe_backoff()[0]
        delivery.is_last, delivery.fault = is_last, fault
        writer.write(_frame(pickle.dumps(delivery, protocol=pickle.HIGHEST_PROTOCOL)))
        share.hold(writer.transport.get_write_buffer_size() > _HOLD_ABOVE_BYTES)

    async def send_now_and_then() -> None:
        while True:
            await asyncio.sleep(_SEND_EVERY_S)
            send()

    async def obey() -> None:
        while (order := await _read_frame(reader)) is not None:
            if order == _STOP:
                share.interrupt()
        os._exit(1)  # the parent is gone: nobody wants to know

    helpers = [asyncio.ensure_future(send_now_and_then()), asyncio.ensure_future(obey())]
    fault = None
    try:
        await share.run()
    except Exception as error:  # noqa: BLE001  # told to the parent, which tells the user
        fault = f"{type(error).__name__}: {error}"
    finally:
        for helper in helpers:
            helper.cancel()
    send(is_last=True, fault=fault)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def _frame(message: bytes) -> bytes:
    return _LENGTH.pack(len(message)) + message


async def _read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next message, or None at the end."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def main() -> None:
    """Be a worker."""
    with socket.socket(fileno=os.dup(0)) as connection:
        asyncio.run(_serve(connection))


if __name__ == "__main__":
    # Under its own name: what it sends must be of the parent's types.
    from scanner.processes import main as run_worker

    run_worker()
