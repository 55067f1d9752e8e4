"""Runs one command and says what it took; and what many such runs say together."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.answers import maybe_wrong
from bench.programs import REPOSITORY, shown
from bench.servers import client_core, pin_to
from bench.tools import Job, Tool

_SAMPLE_S = 0.1
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
_HWM = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one tool."""

    tool: str
    hosts: int
    wall_s: float
    cpu_s: float
    """User and system time of the command and the children it waited for."""
    problem: str | None
    """Why the time must not be counted; None where every answer was right."""
    command: str

    @property
    def hosts_per_s(self) -> float:
        return self.hosts / self.wall_s

    @property
    def cpu_ms_per_host(self) -> float:
        return self.cpu_s * 1000 / self.hosts


def run_tool(tool: Tool, hosts: Sequence[str], port: int, versions: frozenset[str], *, limit_s: float) -> Run:
    """Run a tool once, on the clients' core, and hold its answers against the truth."""
    own = hosts[: tool.most_hosts] if tool.most_hosts else hosts
    folder = Path(tempfile.mkdtemp(prefix="bench-run-"))
    try:
        job = Job(folder=folder, hosts=own, port=port)
        tool.write_targets(job)
        command = tool.command(job)
        wall_s, cpu_s, code = run_command(command, folder / "stdout", folder / "stderr", limit_s=limit_s)
        problem = None
        if code is None:
            problem = f"not done after {limit_s:.0f} s"
        elif code not in tool.exits:
            problem = f"exit code {code}: {(folder / 'stderr').read_text(errors='replace')[-200:]!r}"
        else:
            source = folder / "stdout" if tool.has_stdout_answers else job.output
            try:
                answers = tool.parse(source.read_text(errors="replace"))
            except (OSError, ValueError, KeyError) as error:
                problem = f"its output can't be read: {type(error).__name__}: {error}"
            else:
                problem = maybe_wrong(answers, own, versions if tool.asks is None else versions & tool.asks)
        return Run(
            tool=tool.id,
            hosts=len(own),
            wall_s=wall_s,
            cpu_s=cpu_s,
            problem=problem,
            command=shown(command, folder),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_command(
    command: Sequence[str], stdout: Path, stderr: Path, *, limit_s: float
) -> tuple[float, float, int | None]:
    """Return (wall seconds, CPU seconds of the command and its children, exit code or None when it was cut off)."""
    with stdout.open("wb") as out, stderr.open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=REPOSITORY,
            start_new_session=True,
            preexec_fn=pin_to(client_core()),  # noqa: PLW1509  # no threads here
        )
        # Waiting must not poll: a poll interval would be added to every time.
        pidfd = os.pidfd_open(process.pid)
        try:
            is_done = bool(select.select([pidfd], [], [], limit_s)[0])
        finally:
            os.close(pidfd)
        if not is_done:
            os.killpg(process.pid, 9)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    return wall_s, usage.ru_utime + usage.ru_stime, process.returncode if is_done else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A command that was run once and watched: what it took, and its memory while it ran."""

    wall_s: float
    cpu_s: float
    code: int | None
    """Exit code; None: cut off at the limit."""
    peak_bytes: int
    """The most that it and its children had resident, added up (what they share counts for each)."""
    resident: Sequence[tuple[float, int]]
    """(seconds since its start, bytes resident then), about ten a second."""

    def resident_at(self, moment_s: float) -> int:
        """Return what was resident nearest to a moment."""
        return min(self.resident, key=lambda sample: abs(sample[0] - moment_s), default=(0.0, 0))[1]


def watch_command(
    command: Sequence[str],
    folder: Path,
    *,
    limit_s: float,
    interrupt_after_s: float | None = None,
    cores: set[int] | None = None,
) -> Watched:
    """Run a command and sample its memory. interrupt_after_s: SIGINT then, as Ctrl-C does; still bounded by limit_s."""
    samples: list[tuple[float, int]] = []
    peak = 0
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=REPOSITORY,
            start_new_session=True,
            preexec_fn=pin_to(cores or client_core()),  # noqa: PLW1509  # no threads here
        )
        pidfd = os.pidfd_open(process.pid)
        is_interrupted = is_killed = False
        try:
            while not select.select([pidfd], [], [], _SAMPLE_S)[0]:
                passed_s = time.perf_counter() - began
                now, most = _resident(process.pid)
                samples.append((passed_s, now))
                peak = max(peak, most)
                if interrupt_after_s is not None and passed_s >= interrupt_after_s and not is_interrupted:
                    is_interrupted = True
                    os.kill(process.pid, signal.SIGINT)
                if passed_s >= limit_s:
                    is_killed = True
                    os.killpg(process.pid, signal.SIGKILL)
                    break
        finally:
            os.close(pidfd)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    return Watched(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        code=None if is_killed else process.returncode,
        peak_bytes=peak,
        resident=samples,
    )


def _resident(pid: int) -> tuple[int, int]:
    """Return (bytes resident now, the most so far), added up over a process and its children."""
    # Not ru_maxrss: it begins with what the process that forked the command had.
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0, 0  # it has just ended
    now, most = (1024 * int(match[1]) if (match := pattern.search(status)) else 0 for pattern in (_RSS, _HWM))
    for child in children:
        child_now, child_most = _resident(int(child))
        now, most = now + child_now, most + child_most
    return now, most


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median with what it was drawn from."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median=statistics.median(values), least=min(values), most=max(values))


def ratios(ours: Sequence[Run], theirs: Sequence[Run]) -> Spread:
    """Return how many times more hosts a second ours does, paired round by round; few rounds of theirs are reused."""
    return Spread.of([run.hosts_per_s / theirs[min(at, len(theirs) - 1)].hosts_per_s for at, run in enumerate(ours)])
