"""What a person or a job sees while a scan runs: progress on stderr, and Ctrl-C that keeps what was learned."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from scanner.app import Scan
from scanner.counters import Counters
from scanner.model.exchange import Ending
from scanner.model.runs import Run
from scanner.model.versions import ALL_VERSIONS
from scanner.net.ceiling import error_hint
from scanner.store.stored import StoreError

_REFRESH_S = 0.2
_JSON_EVERY_S = 1.0
_LINE_EVERY_S = 10.0
"""Without a terminal: one line this often."""
_RATE_OVER_S = 5.0
"""The rate shown is that of the last seconds."""

_TROUBLE = {
    Ending.TIMED_OUT_CONNECT: "no answer",
    Ending.TIMED_OUT_READ: "silent",
    Ending.REFUSED: "refused",
    Ending.UNREACHABLE: "unreachable",
    Ending.PEER_RESET: "reset",
    Ending.LOCAL_FAILURE: "local failure",
}


class ProgressForm(StrEnum):
    """How progress is told."""

    AUTO = "auto"
    """A bar on a terminal, a line now and then elsewhere."""
    JSON = "json"
    """A JSON object a line, every second, for other programs."""
    NONE = "none"
    """Not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How far a scan is at one moment, with what can be said of its speed."""

    counters: Counters
    """What was done so far."""
    elapsed_s: float
    """Seconds since the scan began."""
    rate_asked: float
    """Connections a second that are asked for now; 0 is no limit."""
    rate_achieved: float
    """Connections a second over the last seconds."""
    done_rate: float
    """Hosts and addresses finished a second, over the last seconds."""
    slowed_count: int
    """Networks that are slowed down now."""

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest will take at this speed, or None where that can't be told yet."""
        left = self.counters.total - self.counters.done
        if left <= 0:
            return 0.0
        return left / self.done_rate if self.done_rate > 0 else None

    def build_event(self, run_id: str) -> dict[str, Any]:
        """Return what ``--progress json`` writes (docs/cli.md)."""
        counters = self.counters
        left_s = self.left_s
        return {
            "event": "progress",
            "run": run_id,
            "elapsed_s": round(self.elapsed_s, 1),
            "left_s": None if left_s is None else round(left_s, 1),
            "addresses": {"done": counters.addresses_done, "total": counters.addresses_total},
            "hosts": {"done": counters.hosts_done, "total": counters.hosts_total},
            "listeners": counters.listeners,
            "tls_endpoints": counters.endpoints_answering,
            "versions": {version.label: counters.versions[version] for version in ALL_VERSIONS},
            "connections": counters.connections,
            "rate": {"asked": self.rate_asked, "achieved": round(self.rate_achieved, 1)},
            "slowed_networks": self.slowed_count,
            "endings": {ending.value: count for ending, count in sorted(counters.endings.items())},
        }

    def facts(self) -> str:
        """Return the same for people, but for what the bar shows."""
        counters = self.counters
        trouble = [f"{count:,} {_TROUBLE[ending]}" for ending, count in counters.endings.items() if ending in _TROUBLE]
        listeners = f"{_counted(counters.listeners, 'listener')}, " if counters.addresses_total else ""
        found = [f"{listeners}{counters.endpoints_answering:,} speak TLS"]
        versions = [
            f"{v.label.removeprefix('TLS')} {counters.versions[v]:,}" for v in ALL_VERSIONS if counters.versions[v]
        ]
        if versions:
            found.append(f"({' · '.join(versions)})")
        asked = f" of {self.rate_asked:,.0f}" if self.rate_asked else ""
        speed = f"{_counted(counters.connections, 'connection')}, {self.rate_achieved:,.0f}{asked} a second"
        slowed = [f"{_counted(self.slowed_count, 'network')} slowed down"] if self.slowed_count else []
        return "; ".join([" ".join(found), speed, *([", ".join(trouble)] if trouble else []), *slowed])


class LiveView:
    """Observer (scanner.app) that shows progress and turns Ctrl-C and SIGTERM into a soft stop. Use as a context."""

    def __init__(self, console: Console, *, form: ProgressForm) -> None:
        self._console = console
        self._form = form
        self._run_id = ""
        self._scan: Scan | None = None
        self._began = time.monotonic()
        self._past: deque[tuple[float, int, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._restore: list[Callable[[], object]] = []
        self._has_interrupted = False
        self._told_error: str | None = None
        self.store_failure: str | None = None
        """Why the run could not be stored to its end."""

    def on_begin(self, run: Run, scan: Scan) -> None:
        """See Observer.on_begin."""
        self._run_id = run.id
        self._scan = scan
        self._began = time.monotonic()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._catch(loop, number)
        if self._form is not ProgressForm.NONE:
            self._task = asyncio.ensure_future(self._show())

    def on_note(self, text: str) -> None:
        """See Observer.on_note."""
        self._tell("note", text, style="yellow")

    def on_store_failure(self, error: StoreError) -> None:
        """See Observer.on_store_failure."""
        self.store_failure = str(error)
        self._tell("store-failure", f"The run can't be stored any more: {error}", style="red")

    async def finish(self) -> None:
        """End the display and give the signals back."""
        for restore in self._restore:
            restore()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if self._form is ProgressForm.JSON:
                self._write_event({**self.snapshot().build_event(self._run_id), "event": "finished"})

    def snapshot(self) -> Snapshot:
        """Return how far the scan is."""
        now = time.monotonic()
        counters = self._scan.counters if self._scan is not None else Counters()
        self._past.append((now, counters.connections, counters.done))
        while len(self._past) > 2 and self._past[1][0] <= now - _RATE_OVER_S:
            self._past.popleft()
        then, connections, done = self._past[0] if len(self._past) > 1 else (self._began, 0, 0)
        passed_s = max(now - then, 1e-3)
        backoff = self._scan.describe_backoff() if self._scan is not None else ()
        return Snapshot(
            counters=counters,
            elapsed_s=now - self._began,
            rate_asked=self._scan.rate if self._scan is not None else 0.0,
            rate_achieved=(counters.connections - connections) / passed_s,
            done_rate=(counters.done - done) / passed_s,
            slowed_count=sum(report.slowed_count for report in backoff),
        )

    def _catch(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        try:
            loop.add_signal_handler(number, self._interrupt)
        except (NotImplementedError, RuntimeError):  # Windows, or not in the main thread
            try:
                previous = signal.getsignal(number)

                def handle(_number: int, _frame: FrameType | None) -> None:
                    loop.call_soon_threadsafe(self._interrupt)

                signal.signal(number, handle)
            except ValueError:
                return
            self._restore.append(lambda: signal.signal(number, previous))
        else:
            self._restore.append(lambda: loop.remove_signal_handler(number))

    def _interrupt(self) -> None:
        if self._scan is None:
            return
        if self._has_interrupted:
            raise KeyboardInterrupt
        self._has_interrupted = True
        self._tell(
            "stopping", "Stopping: what was learned so far is kept. (Ctrl-C again: stop at once)", style="yellow"
        )
        self._scan.interrupt()

    def _tell(self, event: str, text: str, *, style: str) -> None:
        if self._form is ProgressForm.JSON:
            self._write_event({"event": event, "run": self._run_id, "text": text})
        else:
            self._console.print(Text(text, style=style), soft_wrap=True)

    def _write_event(self, event: dict[str, Any]) -> None:
        # Not by rich, which would wrap and colour it.
        self._console.file.write(json.dumps(event) + "\n")
        self._console.file.flush()

    def _tell_local_error(self, counters: Counters) -> None:
        """Say once what limits this machine, where it fails to connect."""
        name = counters.local_error
        if name is not None and name != self._told_error:
            self._told_error = name
            hint = error_hint(name)
            self.on_note(f"this machine could not open a connection ({name})" + (f": {hint}" if hint else ""))

    async def _show(self) -> None:
        if self._form is ProgressForm.JSON:
            while True:
                snapshot = self.snapshot()
                self._tell_local_error(snapshot.counters)
                self._write_event(snapshot.build_event(self._run_id))
                await asyncio.sleep(_JSON_EVERY_S)
        if not self._console.is_terminal:
            await self._show_lines()
            return
        what = "addresses" if self.snapshot().counters.addresses_total else "hosts"
        columns = (
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn(what),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        bar = Progress(*columns, console=self._console)
        task = bar.add_task("scan", total=None, left="")
        with Live(console=self._console, transient=True, auto_refresh=False) as live:
            while True:
                snapshot = self.snapshot()
                counters = snapshot.counters
                self._tell_local_error(counters)
                left = f"about {_render_duration(snapshot.left_s)} left" if snapshot.left_s is not None else ""
                bar.update(task, total=counters.total, completed=counters.done, left=left)
                live.update(Group(bar, Text(snapshot.facts(), style="dim")), refresh=True)
                await asyncio.sleep(_REFRESH_S)

    async def _show_lines(self) -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            snapshot = self.snapshot()
            counters = snapshot.counters
            self._tell_local_error(counters)
            what = "addresses" if counters.addresses_total else "hosts"
            left = "" if snapshot.left_s is None else f", about {_render_duration(snapshot.left_s)} left"
            self._console.print(
                f"{counters.done:,} of {counters.total:,} {what} in {_render_duration(snapshot.elapsed_s)}{left}; "
                f"{snapshot.facts()}",
                highlight=False,
                soft_wrap=True,
            )


def _counted(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def _render_duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
