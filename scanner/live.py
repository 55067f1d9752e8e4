"""What a person sees while a scan runs: progress on stderr, and Ctrl-C that keeps what was learned."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from scanner.engine import Counters, Engine
from scanner.model.exchange import Ending
from scanner.model.runs import HostRecord, Run
from scanner.store import StoreError

_REFRESH_S = 0.2
_LINE_EVERY_S = 10.0
"""Without a terminal: one line this often."""

_TROUBLE = {
    Ending.TIMED_OUT_CONNECT: "no answer",
    Ending.TIMED_OUT_READ: "silent",
    Ending.REFUSED: "refused",
    Ending.UNREACHABLE: "unreachable",
    Ending.PEER_RESET: "reset",
    Ending.LOCAL_FAILURE: "local failure",
}


class LiveView:
    """Observer (scanner.app) that shows progress and turns Ctrl-C and SIGTERM into a soft stop. Use as a context."""

    def __init__(self, console: Console, *, is_shown: bool) -> None:
        self._console = console
        self._is_shown = is_shown
        self._engine: Engine | None = None
        self._task: asyncio.Task[None] | None = None
        self._restore: list[Callable[[], object]] = []
        self._has_interrupted = False
        self.store_failure: str | None = None
        """Why the run could not be stored to its end."""

    def on_begin(self, run: Run, engine: Engine) -> None:  # noqa: ARG002  # Observer's shape
        """See Observer.on_begin."""
        self._engine = engine
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._catch(loop, number)
        if self._is_shown:
            self._task = asyncio.ensure_future(self._show())

    def on_host(self, position: int, record: HostRecord) -> None:
        """See Observer.on_host."""

    def on_store_failure(self, error: StoreError) -> None:
        """See Observer.on_store_failure."""
        self.store_failure = str(error)
        self._console.print(Text(f"The run can't be stored any more: {error}", style="red"), soft_wrap=True)

    async def finish(self) -> None:
        """End the display and give the signals back."""
        for restore in self._restore:
            restore()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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
        if self._engine is None:
            return
        if self._has_interrupted:
            raise KeyboardInterrupt
        self._has_interrupted = True
        self._console.print("[yellow]Stopping: what was learned so far is kept.[/] (Ctrl-C again: stop at once)")
        self._engine.interrupt()

    async def _show(self) -> None:
        if not self._console.is_terminal:
            await self._show_lines()
            return
        columns = (
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("hosts"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("scan", total=None, facts="")
            while True:
                counters = self._counters()
                progress.update(task, total=counters.hosts_total, completed=counters.hosts_done, facts=self._facts())
                await asyncio.sleep(_REFRESH_S)

    async def _show_lines(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            counters = self._counters()
            elapsed = time.monotonic() - began
            left = (counters.hosts_total - counters.hosts_done) * elapsed / max(1, counters.hosts_done)
            self._console.print(
                f"{counters.hosts_done} of {counters.hosts_total} hosts in {elapsed:.0f} s, "
                f"about {left:.0f} s left; {self._facts()}",
                highlight=False,
            )

    def _counters(self) -> Counters:
        return self._engine.counters if self._engine is not None else Counters()

    def _facts(self) -> str:
        counters = self._counters()
        trouble = [f"{count} {_TROUBLE[ending]}" for ending, count in counters.endings.items() if ending in _TROUBLE]
        return ", ".join(
            [
                f"{counters.endpoints_answering} speak TLS",
                f"{counters.connections} connection{'' if counters.connections == 1 else 's'}",
                *trouble,
            ]
        )
