"""Measure the HTML report in headless Chromium: size, writing, memory, paint, filter, search, sort, details, heap.

Run by hand: ``python bench/report_browser.py [hosts] [named|range|own]``, by default 100,000 hosts of a range.
``range`` has few makes of hosts, ``own`` gives each host texts of its own, ``named`` is a list of named hosts in
memory. It prints and asserts nothing: the time a machine takes says more about the machine than about the report.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scanner.reports.html import render_html
from scanner.reports.source import ReportSource, source_of
from tests.reports import sample
from tests.reports.browser import open_browser, show

ROUNDS = 3
# From the change to the second frame after it: the first frame's callback runs before that frame is painted.
TIMED = """
const [act, done] = [new Function(arguments[0]), arguments[1]];
const start = performance.now();
act();
const script = performance.now() - start;
requestAnimationFrame(() => requestAnimationFrame(() => done([script, performance.now() - start])));
"""
_CHOOSE = "const s = document.getElementById('{}'); s.value = '{}'; s.dispatchEvent(new Event('{}'));"
ACTIONS = {
    "filter TLS 1.0 enabled": _CHOOSE.format("v", "TLS1.0", "change")
    + "document.getElementById('state').value = 'enabled';"
    + "document.getElementById('state').dispatchEvent(new Event('change'));",
    "clear filters": "document.getElementById('reset').click()",
    "search (first)": _CHOOSE.format("q", "77", "input"),
    "search (two words)": _CHOOSE.format("q", "77 server", "input"),
    "clear filters again": "document.getElementById('reset').click()",
    "sort by name": "document.querySelector('[data-sort=name]').click()",
    "sort by TLS 1.2": "document.querySelector('[data-sort=\"TLS1.2\"]').click()",
    "sort by findings": "document.querySelector('[data-sort=findings]').click()",
    "next page": "document.getElementById('next').click()",
    "200 rows a page": _CHOOSE.format("size", "200", "change"),
    "open a host (first: reads the details)": "document.querySelector('#rows a').click()",
    "next host": "document.querySelector('[data-step=\"1\"]').click()",
}
PAINT = """
const nav = performance.getEntriesByType('navigation')[0];
const paint = Object.fromEntries(performance.getEntriesByType('paint').map((e) => [e.name, e.startTime]));
return {'first contentful paint': paint['first-contentful-paint'],
        'whole file read (DOM interactive)': nav.domInteractive, 'load event ended': nav.loadEventEnd};
"""


def build_source(count: int, kind: str) -> ReportSource:
    """Return the report's source; a range's hosts are made as they are asked for."""
    if kind == "named":
        return source_of(sample.build_result(count))
    return sample.RangeSource(count, has_own_forms=kind == "own")


def main() -> None:
    """Write a report, open it, and print what both took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    source = build_source(count, sys.argv[2] if len(sys.argv) > 2 else "range")
    started = time.process_time()
    for _ in source.entries():
        pass
    reading_s = time.process_time() - started
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        started = time.process_time()
        with path.open("w", encoding="utf-8") as file:
            file.writelines(render_html(source))
        spent_s = time.process_time() - started
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        size = path.stat().st_size
        each = max(count, 1)
        print(f"{count:,} hosts: {size / 1e6:.2f} MB, {size / each:.0f} bytes a host")
        print(f"  CPU {spent_s:.1f} s, {1e6 * (spent_s - reading_s) / each:.0f} us a host without making the objects")
        print(f"  memory grew by {grown_kib / 1024:.0f} MiB, {grown_kib * 1024 / each:.0f} bytes a host")
        times: dict[str, list[float]] = {}
        with open_browser() as browser:
            print(f"Chromium {browser.capabilities['browserVersion']}, {ROUNDS} rounds, milliseconds: median (worst)")
            for _ in range(ROUNDS):
                show(browser, path)
                time.sleep(0.5)
                for name, value in browser.execute_script(PAINT).items():
                    times.setdefault(name, []).append(value)
                for name, action in ACTIONS.items():
                    script, painted = browser.execute_async_script(TIMED, action)
                    times.setdefault(f"{name}: script", []).append(script)
                    times.setdefault(f"{name}: on screen", []).append(painted)
            elements = browser.execute_script("return document.querySelectorAll('*').length")
            heap = browser.execute_cdp_cmd("Runtime.getHeapUsage", {})
        for name, values in times.items():
            print(f"  {name:<52} {statistics.median(values):7.0f} ({max(values):.0f})")
        print(f"  elements in the page at the end: {elements:,}; JavaScript heap: {heap['usedSize'] / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
