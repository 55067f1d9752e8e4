"""Where a scan's time goes: cProfile of one in process, and the imports of the command line."""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.servers import ROWS, addresses, client_core, running_nginx
from scanner.app import ScanOptions, scan_targets
from scanner.reports.json import render_json
from scanner.store import open_store
from scanner.targets import expand, parse_arguments

_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)$")


def profile_scan(hosts_count: int, port: int, *, does_confirm: bool) -> int:
    """Scan in process under cProfile, with store and JSON as the command does; print stages and top functions."""
    targets = expand(parse_arguments([f"{host}:{port}" for host in addresses(hosts_count)]))
    options = ScanOptions(confirm="all" if does_confirm else "none", rate=0)
    row = ROWS[0]
    profile = cProfile.Profile()
    with running_nginx(row, port), tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, client_core())

        def scan(name: str) -> None:
            began, cpu = time.perf_counter(), time.process_time()
            with open_store(Path(folder) / name) as store:
                opened = time.process_time()
                result = asyncio.run(scan_targets(targets, options, store=store))
            scanned = time.process_time()
            render_json(result)
            rendered = time.process_time()
            print(
                f"{hosts_count} hosts: {time.perf_counter() - began:.3f} s; CPU ms a host: "
                f"open store {(opened - cpu) * 1000 / hosts_count:.3f}, "
                f"scan, store, judge {(scanned - opened) * 1000 / hosts_count:.3f}, "
                f"JSON {(rendered - scanned) * 1000 / hosts_count:.3f}"
            )

        scan("first.sqlite")
        scan("second.sqlite")
        profile.enable()
        scan("profiled.sqlite")
        profile.disable()
    stats = pstats.Stats(profile)
    stats.strip_dirs()
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(40)
    return 0


def print_imports(*, does_confirm: bool) -> int:
    """Run ``entra-tls scan`` against a closed port of loopback under -X importtime; print the slowest imports."""
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
