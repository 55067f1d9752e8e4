"""Runs of the program in the world, and what their reports say beside the truth."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scanner.model.versions import ALL_VERSIONS
from tests.exactness.world import PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scanner.model.versions import TlsVersion
    from tests.exactness.world import World

PROGRAM = Path(sys.executable).with_name("entra-tls")
PASS_COUNT = 2
"""How often a silent address is asked."""
CONNECT_TIMEOUT_S = 3.5
"""Room for a SYN and two repetitions or more (Linux: after 1 s each, formerly 1 s and 2 s).

Of a thousand servers at most one is not heard in a pass, of a million one in two passes.
"""
SCAN = (
    *("--rate", "0", "--per-net", "0", "--confirm", "none", "--quiet"),
    *("--passes", str(PASS_COUNT), "--connect-timeout", str(CONNECT_TIMEOUT_S)),
)
SWEEP_S = 200.0
"""The longest that one run may take; a quarter of it on an idle machine."""
_ENDING_S = 5.0
"""What workers may take to see that they are alone."""
_POLL_S = 0.05

EXIT_USAGE = 2
ENDED = frozenset({0, 1, 3})
"""Exit codes of a run that came to its end: compliant, findings, something unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What matters here of a JSON report."""

    is_complete: bool
    states: Mapping[str, Mapping[str, str]]
    """Address -> label of a version -> enabled, disabled or unknown."""
    problems: tuple[str, ...]
    """Addresses that are in it twice, and cells that are unknown without a reason."""
    no_listener: Mapping[str, int]

    @property
    def unknown_count(self) -> int:
        """Cells that are unknown."""
        return sum(state == "unknown" for states in self.states.values() for state in states.values())

    def wrong(self, truth: Mapping[str, frozenset[TlsVersion]]) -> list[str]:
        """Return a line for each thing in it that is not so. Unknown is never wrong."""
        lines = list(self.problems)
        lines += [f"{address} has no server" for address in self.states.keys() - truth.keys()]
        for address, states in self.states.items():
            enabled = truth.get(address, frozenset())
            if set(states) != {version.label for version in ALL_VERSIONS}:
                lines.append(f"{address}: versions are {sorted(states)}")
            for version in ALL_VERSIONS:
                expected = "enabled" if version in enabled else "disabled"
                if (found := states.get(version.label, "unknown")) not in {expected, "unknown"}:
                    lines.append(f"{address} {version.label} is called {found}, but is {expected}")
        return sorted(lines)

    def missed(self, truth: Mapping[str, frozenset[TlsVersion]]) -> list[str]:
        """Return the addresses that have a server and are not in it."""
        return sorted(truth.keys() - self.states.keys())

    def contradictions(self, other: Report) -> list[str]:
        """Return a line for each cell that both know and call different, and each address only one of them has."""
        lines = [f"{address} is only in one" for address in self.states.keys() ^ other.states.keys()]
        for address in self.states.keys() & other.states.keys():
            for label, state in self.states[address].items():
                both = {state, other.states[address][label]} - {"unknown"}
                if len(both) > 1:
                    lines.append(f"{address} {label} is {state} and {other.states[address][label]}")
        return sorted(lines)


def read_report(path: Path) -> Report:
    """Read a JSON report."""
    report = json.loads(path.read_text(encoding="utf-8"))
    counts = Counter(host["name"] for host in report["hosts"])
    problems = [f"{address} is in it {count} times" for address, count in counts.items() if count > 1]
    states: dict[str, dict[str, str]] = {}
    for host in report["hosts"]:
        places = [(endpoint["address"], endpoint["port"]) for endpoint in host["endpoints"]]
        if places != [(host["name"], PORT)]:
            problems.append(f"{host['name']}: endpoints are {places}")
        states[host["name"]] = {verdict["version"]: verdict["state"] for verdict in host["verdicts"]}
        problems += [
            f"{host['name']} {verdict['version']} is unknown without a reason"
            for verdict in host["verdicts"]
            if verdict["state"] == "unknown" and not verdict["reason"]
        ]
    return Report(
        is_complete=report["run"]["is_complete"],
        states=states,
        problems=tuple(problems),
        no_listener=report["summary"]["no_listener"],
    )


@dataclass(slots=True, kw_only=True)
class Sweep:
    """A run of the program that goes on."""

    world: World
    popen: subprocess.Popen[str]
    began_at: float
    """time.monotonic()"""

    def wait(self, timeout_s: float = SWEEP_S) -> subprocess.CompletedProcess[str]:
        """Wait for its end and return exit code and words."""
        out, err = self.popen.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(self.popen.args, self.popen.returncode, out, err)

    def kill(self) -> float:
        """End it as kill -9 does, only the process that the user started; return when the last worker had gone."""
        self.popen.kill()
        self.popen.communicate()
        # Its workers have to see that by themselves; they would go on probing.
        deadline = time.monotonic() + _ENDING_S
        while left := self.world.scanner_pids():
            if time.monotonic() > deadline:
                raise AssertionError(f"processes {left} go on after their parent was killed")
            time.sleep(_POLL_S)
        return time.monotonic()

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal signals the whole group."""
        os.killpg(self.popen.pid, signal.SIGINT)


@contextlib.contextmanager
def sweeping(world: World, *arguments: str | Path) -> Iterator[Sweep]:
    """Run ``entra-tls ARGUMENTS`` in the scanner's namespace; it does not outlive the block."""
    popen = subprocess.Popen(
        world.in_scanner([PROGRAM, *arguments]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "ENTRA_TLS_DEBUG": "1"},
    )
    with popen:
        try:
            yield Sweep(world=world, popen=popen, began_at=time.monotonic())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)


def sweep(world: World, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``entra-tls ARGUMENTS`` in the scanner's namespace to its end, which must be one of a scan."""
    with sweeping(world, *arguments) as running:
        done = running.wait()
    assert done.returncode in ENDED, done.stderr
    return done


def stored_report(store: Path, into: Path, run: str = "latest") -> Report:
    """Judge a stored run again and return the report."""
    command: Sequence[str | Path] = [PROGRAM, "report", run, "--db", store, "--json", into, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SWEEP_S)
    assert done.returncode in ENDED, done.stderr
    return read_report(into)
