"""Turns runs into bench/RESULTS.md. Pure but for the facts about this machine."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from bench.measure import Run, Spread, ratios
from bench.servers import Row
from bench.tools import Tool, tool_versions

Runs = Mapping[str, Sequence[Run]]


def counted(runs: Sequence[Run]) -> list[Run]:
    """Return the runs whose answers were right."""
    return [run for run in runs if run.problem is None]


def maybe_best_parallel(runs: Runs) -> str | None:
    """Return the id of the parallel sslscan with the best median."""
    medians = {
        name: Spread.of([run.hosts_per_s for run in own]).median
        for name, all_runs in runs.items()
        if name.startswith("sslscan-p") and (own := counted(all_runs))
    }
    return max(medians, key=medians.__getitem__) if medians else None


def render(
    found: Mapping[str, Runs], tools: Sequence[Tool], rows: Sequence[Row], *, hosts_count: int, missing: Sequence[str]
) -> str:
    lines = [
        "# Results of `python -m bench`",
        "",
        (
            f"Written by the bench on {dt.datetime.now(dt.UTC):%Y-%m-%d}; docs/performance.md says how it is measured. "
            "Which of six versions does each host accept? Whole commands, loopback, nginx with one worker on a core of "
            "its own, the tool on another core. A tool's time counts only where every answer is right."
        ),
        "",
        *_machine(),
        *(f"- left out, not installed: {name}" for name in missing),
    ]
    for row in rows:
        lines += ["", f"## {row.title}, {hosts_count} listeners", "", *_table(found[row.id], tools)]
        lines += ["", *_targets(found[row.id])]
    lines += ["", "## Commands", "", "```", *_commands(found), "```", ""]
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
        *(f"- {name}: {text}" for name, text in tool_versions().items()),
    ]


def _table(runs: Runs, tools: Sequence[Tool]) -> list[str]:
    lines = [
        "| tool | hosts | rounds | hosts/s, median (least to most) | CPU ms a host | answers |",
        "|---|---|---|---|---|---|",
    ]
    for tool in tools:
        own = runs[tool.id]
        if not own:
            continue
        good = counted(own)
        problems = sorted({run.problem for run in own if run.problem is not None})
        if good:
            speed = Spread.of([run.hosts_per_s for run in good])
            cpu = Spread.of([run.cpu_ms_per_host for run in good])
            cells = f"{_number(speed.median)} ({_number(speed.least)} to {_number(speed.most)}) | {cpu.median:.2f}"
        else:
            cells = "not counted | not counted"
        said = "right" if not problems else f"right in {len(good)} of {len(own)} rounds; {'; '.join(problems)}"
        lines.append(f"| {tool.title} | {own[0].hosts} | {len(own)} | {cells} | {said} |")
    return lines


def _targets(runs: Runs) -> list[str]:
    """Return each target with what was measured."""
    best = maybe_best_parallel(runs)
    asked = [
        ("ours-confirm", "sslyze", 50.0, "with sslyze confirmation, at least 50 x the sslyze CLI"),
        ("ours", "sslscan-no-ciphers", 1.0, "with --confirm none, faster than sslscan --targets without ciphers"),
        ("ours", "sslscan", 1.0, "with --confirm none, faster than sslscan with every other check off too"),
        ("ours-nodb", "sslscan", 1.0, "the same without a store, which sslscan has not either"),
        ("ours", "sslyze", 500.0, "with --confirm none, at least 500 x the sslyze CLI (aim for 5,000 hosts)"),
        ("ours", "nassl", 8.0, "with --confirm none, at least 8 x nassl in threads (aim for 5,000 hosts)"),
        (
            "ours-confirm",
            "nassl",
            1.5,
            "with sslyze confirmation, at least 1.5 x nassl in threads (aim for 5,000 hosts)",
        ),
        ("ours", "nmap", 40.0, "with --confirm none, at least 40 x nmap (aim for 5,000 hosts)"),
    ]
    if best is not None:
        asked.append(("ours", best, 1.0, f"with --confirm none, faster than the best parallel sslscan ({best})"))
    lines = ["| target | measured, median (least to most) | |", "|---|---|---|"]
    for ours, theirs, least, text in asked:
        own, other = counted(runs.get(ours, ())), counted(runs.get(theirs, ()))
        if not own or not other:
            lines.append(f"| {text} | not measured | |")
            continue
        ratio = ratios(own, other)
        is_met = ratio.median >= least if least > 1 else ratio.median > least
        lines.append(
            f"| {text} | {_number(ratio.median)} x ({_number(ratio.least)} to {_number(ratio.most)}) "
            f"| {'met' if is_met else '**missed**'} |"
        )
    return lines


def _commands(found: Mapping[str, Runs]) -> list[str]:
    return list(dict.fromkeys(runs[0].command for rows in found.values() for runs in rows.values() if runs))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
