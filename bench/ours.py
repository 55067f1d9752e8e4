"""How this program is called: everything that slows it on purpose is off, and options it lacks are left away."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from bench.answers import host_of
from bench.programs import BIN

EXITS = (0, 1)
"""0 and 1: the scan is complete. Whether TLS 1.0 is a finding is not the question here."""
SWEEP_EXITS = (0, 1, 3)
"""Of a range where most addresses are silent: UNKNOWN is the right word for them."""
PROGRAM = str(BIN / "entra-tls")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


@functools.cache
def known_options() -> frozenset[str]:
    """Return the options that `entra-tls scan --help` names."""
    done = subprocess.run(
        [PROGRAM, "scan", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    return parse_options(done.stdout)


def parse_options(help_text: str) -> frozenset[str]:
    return frozenset(_OPTION.findall(help_text))


def missing_options(*names: str) -> list[str]:
    return [name for name in names if name not in known_options()]


def scan_command(
    targets: Sequence[str], *, json_to: Path, db: Path | None = None, extra: Sequence[str] = ()
) -> list[str]:
    """Return a scan without rate, budgets and confirmation, one process a core that it may use."""
    command = [PROGRAM, "scan", *targets, "--rate", "0", "--quiet", "--json", str(json_to)]
    if "--confirm" not in extra:
        command += ["--confirm", "none"]
    if db is not None:
        command += ["--db", str(db)]
    for option, value in (("--per-net", "0"), ("--processes", "auto")):
        if option in known_options() and option not in extra:
            command += [option, value]
    return [*command, *extra]


def host_versions(report: Path) -> Iterator[tuple[str, frozenset[str], bool]]:
    """Read (host, versions enabled, whether all is known) from a JSON report of any size, host by host.

    The report has a host a line; a report of 100,000 hosts is not held in memory.
    """
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('{"name"'):
                yield host_of(json.loads(line.rstrip().rstrip(",")))


def maybe_wrong_report(report: Path, hosts: Container[str], count: int, versions: frozenset[str]) -> str | None:
    """Return what is wrong with a report in which `count` hosts, and no other, must have exactly these versions."""
    found = 0
    for name, enabled, is_known in host_versions(report):
        if name in hosts:
            if not is_known or enabled != versions:
                return (
                    f"wrong on {name}: {', '.join(sorted(enabled)) or 'nothing'}{'' if is_known else ', and UNKNOWN'}"
                )
            found += 1
        elif enabled:
            return f"{name} is no server, and was found to accept {', '.join(sorted(enabled))}"
    return None if found == count else f"found {found} of {count} servers"
