"""Where a scan's time goes: cProfile of one in process, and the imports of the command line."""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import run_command
from bench.programs import BIN
from bench.servers import ROWS, addresses, client_core, running_nginx
from scanner.app import scan_plan
from scanner.options import Confirm, ScanOptions
from scanner.reports.json import render_json
from scanner.results import Results
from scanner.store import Store, open_store
from scanner.sweep.plan import TargetPlan, plan_targets
from scanner.targets import parse_arguments

_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)$")


def profile_scan(hosts_count: int, port: int, *, does_confirm: bool) -> int:
    """Scan a range in process under cProfile, with store and JSON as the command does; print stages, top functions."""
    hosts = addresses(hosts_count)
    plan = plan_targets(parse_arguments([f"{hosts[0]}-{hosts[-1]}:{port}"]))
    # One process and no second: cProfile sees no other.
    options = ScanOptions(
        confirm=Confirm.ALL if does_confirm else Confirm.NONE, rate=0, per_network=0, processes=1, concurrency=500
    )
    profile = cProfile.Profile()
    with running_nginx(ROWS[0], port), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.sched_setaffinity(0, client_core())
        _scan(plan, options, folder / "first.sqlite")  # fills the caches
        _print_stages(plan, options, folder)
        profile.enable()
        _scan(plan, options, folder / "profiled.sqlite")
        profile.disable()
    stats = pstats.Stats(profile)
    stats.strip_dirs()
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(40)
    return 0


def _scan(plan: TargetPlan, options: ScanOptions, db: Path | None) -> Results:
    found: list[Results] = []

    async def scan(store: Store | None) -> None:
        # Returns nothing: asyncio.run would render a result to text, as scanner.terminal says.
        found.append(await scan_plan(plan, options, store=store))

    if db is None:
        asyncio.run(scan(None))
    else:
        with open_store(db) as store:
            asyncio.run(scan(store))
    return found[0]


def _print_stages(plan: TargetPlan, options: ScanOptions, folder: Path) -> None:
    """Print the CPU time of each stage, per host: medians of five."""
    times: dict[str, list[float]] = {}
    for at in range(5):
        cpu = time.process_time()
        results = _scan(plan, options, None)
        bare = time.process_time()
        for _ in render_json(results):
            pass
        rendered = time.process_time()
        _scan(plan, options, folder / f"stage{at}.sqlite")
        stored = time.process_time()
        for name, spent in (
            ("questions, answers, judging, without a store", bare - cpu),
            ("JSON report", rendered - bare),
            ("storing: what the same scan takes more with a store", stored - rendered - (bare - cpu)),
        ):
            times.setdefault(name, []).append(spent * 1000 / plan.count)
    print(f"{plan.count} hosts, one process; CPU ms a host, medians of 5:")
    for name, values in times.items():
        print(f"  {statistics.median(values):7.3f}  {name}")


def _start_cpu_ms(extra: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = extra.replace("DB", str(folder / "runs.sqlite")).split()
        command = [str(BIN / "entra-tls"), "scan", "127.1.0.1:9", "--quiet", "--json", str(folder / "out.json"), *words]
        _, cpu_s, _ = run_command(command, folder / "stdout", folder / "stderr", limit_s=60)
    return cpu_s * 1000


def print_imports(*, does_confirm: bool) -> int:
    """Run ``entra-tls scan`` against a closed port of loopback under -X importtime; print the slowest imports."""
    print("the whole command for one closed port, CPU ms, medians of 5:")
    for extra in ("--confirm none", "--confirm none --db DB"):
        print(f"  {statistics.median(_start_cpu_ms(extra) for _ in range(5)):6.0f}  {extra}")
    with tempfile.TemporaryDirectory() as folder:
        command = (
            f"scan 127.1.0.1:9 --confirm {'all' if does_confirm else 'none'} --quiet "
            f"--json {folder}/out.json --db {folder}/runs.sqlite"
        ).split()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "from scanner.cli import main; main()", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    found = [
        (int(match[1]), int(match[2]), len(match[3]) // 2, match[4])
        for line in done.stderr.splitlines()
        if (match := _IMPORT.match(line))
    ]
    print(f"{len(found)} modules, {sum(own for own, *_ in found) / 1000:.0f} ms; milliseconds by package (own time):")
    packages: dict[str, float] = {}
    for own, _, _, name in found:
        packages[name.split(".")[0]] = packages.get(name.split(".")[0], 0) + own / 1000
    for name, own in sorted(packages.items(), key=lambda item: -item[1])[:20]:
        print(f"  {own:8.1f}  {name}")
    print("slowest with what they import:")
    for _, total, depth, name in sorted(found, key=lambda item: -item[1])[:40]:
        print(f"  {total / 1000:8.1f}  {'. ' * depth}{name}")
    return 0
