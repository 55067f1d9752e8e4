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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.measure import run_command
from bench.servers import ROWS, addresses, client_core, running_nginx
from bench.programs import BIN
from scanner.app import ScanOptions, scan_targets
from scanner.judge import judge_run
from scanner.model.runs import RunResult
from scanner.model.subjects import Target
from scanner.policy import read_policy
from scanner.reports.json import render_json
from scanner.reports.source import source_of
from scanner.store import Store, open_store
from scanner.targets import expand, parse_arguments

_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)$")


def profile_scan(hosts_count: int, port: int, *, does_confirm: bool) -> int:
    """Scan in process under cProfile, with store and JSON as the command does; print stages and top functions."""
    targets = expand(parse_arguments([f"{host}:{port}" for host in addresses(hosts_count)]))
    options = ScanOptions(confirm="all" if does_confirm else "none", rate=0)
    profile = cProfile.Profile()
    with running_nginx(ROWS[0], port), tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, client_core())

        def scan(name: str) -> None:
            with open_store(Path(folder) / name) as store:
                asyncio.run(_scan(targets, options, store))

        scan("first.sqlite")  # fills the caches
        _print_stages(targets, options, Path(folder))
        profile.enable()
        scan("profiled.sqlite")
        profile.disable()
    stats = pstats.Stats(profile)
    stats.strip_dirs()
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(40)
    return 0


async def _scan(targets: Sequence[Target], options: ScanOptions, store: Store | None) -> None:
    # Returns nothing: asyncio.run would render a result to text, as scanner.terminal says.
    await scan_targets(targets, options, store=store)


def _render(result: RunResult) -> str:
    return "".join(render_json(source_of(result)))


def _print_stages(targets: Sequence[Target], options: ScanOptions, folder: Path) -> None:
    """Print the CPU time of each stage by itself, per host: medians of five, on the same records."""
    times: dict[str, list[float]] = {}

    def timed(name: str, act: Callable[[], object]) -> object:
        began = time.process_time()
        done = act()
        times.setdefault(name, []).append((time.process_time() - began) * 1000 / len(targets))
        return done

    with open_store(folder / "first.sqlite") as store:
        stored = store.load_run("latest")
    policy = read_policy(options.policy)
    for at in range(5):
        timed(
            "questions, answers, judging (all but store and reports)",
            lambda: asyncio.run(_scan(targets, options, None)),
        )
        result = timed("  of this: judging", lambda: judge_run(stored.run, stored.hosts, policy))
        timed("JSON report", partial(_render, result))
        with open_store(folder / f"stage{at}.sqlite") as store:
            store.begin_run(stored.run)
            timed("storing", lambda: store.append_hosts(stored.run.id, enumerate(stored.hosts)))
    connections = sum(len(host.exchanges) for host in stored.hosts) / len(stored.hosts)
    print(f"{len(targets)} hosts, {connections:.1f} connections a host; CPU ms a host, medians of 5:")
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
