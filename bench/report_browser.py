"""Measure the HTML report in headless Chromium: size, writing, first paint, filter, search, sort, first host opened.

Run by hand: ``python bench/report_browser.py [hosts]`` (5,000 by default). It prints; it asserts nothing, because the
time a machine takes says more about the machine than about the report.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scanner.reports.html import render_html
from tests.reports import sample
from tests.reports.browser import open_browser, show

ROUNDS = 5
# From the change to the second frame after it: the first frame's callback runs before that frame is painted.
TIMED = """
const [act, done] = [new Function(arguments[0]), arguments[1]];
const start = performance.now();
act();
const script = performance.now() - start;
requestAnimationFrame(() => requestAnimationFrame(() => done([script, performance.now() - start])));
"""
ACTIONS = {
    "filter TLS 1.0 enabled": "const s = document.getElementById('state'), v = document.getElementById('v');"
    "v.value = 'TLS1.0'; v.dispatchEvent(new Event('change'));"
    "s.value = 'enabled'; s.dispatchEvent(new Event('change'));",
    "clear filters": "document.getElementById('reset').click()",
    "search (first: builds the text)": "const q = document.getElementById('q'); q.value = 'latam';"
    "q.dispatchEvent(new Event('input'));",
    "search (again)": "const q = document.getElementById('q'); q.value = 'latam 77';"
    "q.dispatchEvent(new Event('input'));",
    "clear filters again": "document.getElementById('reset').click()",
    "sort by name": "document.querySelector('[data-sort=name]').click()",
    "sort by TLS 1.2": "document.querySelector('[data-sort=\"TLS1.2\"]').click()",
    "200 rows a page": "const s = document.getElementById('size'); s.value = '200';"
    "s.dispatchEvent(new Event('change'));",
    "open a host (first: reads the details)": "document.querySelector('#rows a').click()",
    "next host": "document.querySelector('[data-step=\"1\"]').click()",
}
PAINT = """
const nav = performance.getEntriesByType('navigation')[0];
const paint = Object.fromEntries(performance.getEntriesByType('paint').map((e) => [e.name, e.startTime]));
return {'first contentful paint': paint['first-contentful-paint'], 'table filled': nav.domInteractive,
        'load event ended': nav.loadEventEnd};
"""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    result = sample.build_result(count)
    started = time.perf_counter()
    text = render_html(result)
    elapsed_s = time.perf_counter() - started
    size = len(text.encode())
    print(
        f"{count:,} hosts: written in {elapsed_s:.1f} s, {size / 1e6:.2f} MB, {size / max(count, 1):.0f} bytes a host"
    )
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
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
    for name, values in times.items():
        print(f"  {name:<52} {statistics.median(values):7.0f} ({max(values):.0f})")
    print(f"  elements in the page at the end: {elements:,}")


if __name__ == "__main__":
    main()
