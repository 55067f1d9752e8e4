"""Turns sections into bench/RESULTS.md. Pure but for the facts about this machine."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from bench.programs import program_versions
from bench.tables import Section, render_section, target_table


def render(sections: Sequence[Section], *, left_out: Mapping[str, str]) -> str:
    """Return the file: machine, all targets in one table, then section by section, then the commands.

    left_out: programs that could not be installed, with the reason.
    """
    targets = [target for section in sections for target in section.targets]
    missed = sum(target.is_met is False for target in targets)
    met = sum(target.is_met is True for target in targets)
    lines = [
        "# Results of `python -m bench`",
        "",
        (
            f"Written by the bench on {dt.datetime.now(dt.UTC):%Y-%m-%d}; docs/performance.md says how it is measured. "
            "Whole commands, loopback, the servers on one core, the tool on another. A tool's time counts only where "
            "every answer is right."
        ),
        "",
        *_machine(),
        *(f"- **LEFT OUT**: {name}: {reason}" for name, reason in left_out.items()),
        "",
        f"## Targets: {met} met, {missed} missed, {len(targets) - met - missed} not judged",
        "",
        *target_table(targets),
    ]
    for section in sections:
        lines += render_section(section)
    commands = list(dict.fromkeys(command for section in sections for command in section.commands))
    lines += ["", "## Commands", "", "```", *commands, "```", ""]
    return "\n".join(lines)


def _machine() -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("entra-tls-scanner", "sslyze", "nassl"))
    load = os.getloadavg()[0]
    return [
        (
            f"- {len(os.sched_getaffinity(0))} cores, {platform.machine()}, {platform.system()} {platform.release()}, "
            f"Python {platform.python_version()}, load at the end {load:.1f}"
        ),
        f"- {packages}",
        "- " + ", ".join(f"{name} {text}" for name, text in program_versions().items()),
    ]
