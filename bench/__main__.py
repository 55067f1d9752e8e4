"""``python -m bench``: this program beside its peers on loopback. Also: profile, startup, micro."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import micro, profiling, results
from bench.measure import Run, run_tool
from bench.servers import ROWS, addresses, running_nginx
from bench.tools import TOOLS, Tool

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="peers",
        choices=("peers", "profile", "startup", "micro"),
        help="peers (default): the table of bench/RESULTS.md; profile: where a scan's time goes; "
        "startup: the slowest imports; micro: CPU of one hello probe",
    )
    parser.add_argument("--hosts", type=int, default=500, help="listeners (default 500)")
    parser.add_argument("--runs", type=int, default=5, help="rounds; each tool once a round (default 5)")
    parser.add_argument("--only", default="", help="tools, by id with commas: " + ",".join(tool.id for tool in TOOLS))
    parser.add_argument("--rows", default="", help="servers, by id with commas: " + ",".join(row.id for row in ROWS))
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for one run of one tool (default 180)")
    parser.add_argument("--quick", action="store_true", help="100 hosts, one round, slow peers on 5 hosts; no file")
    parser.add_argument("--confirm", action="store_true", help="profile and startup: with sslyze handshakes")
    parser.add_argument("--no-browser", action="store_true", help="without the HTML report's figures")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the table is written")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    if options.what == "profile":
        return profiling.profile_scan(options.hosts, options.port, does_confirm=options.confirm)
    if options.what == "startup":
        return profiling.print_imports(does_confirm=options.confirm)
    if options.what == "micro":
        return micro.main(runs=options.runs)
    return measure_peers(options)


def chosen_tools(only: str) -> tuple[list[Tool], list[str]]:
    """Return the tools to run, and what is left out for want of a program."""
    wanted = [name for name in only.split(",") if name]
    unknown = set(wanted) - {tool.id for tool in TOOLS}
    if unknown:
        raise SystemExit(f"no tool is called {', '.join(sorted(unknown))}")
    tools = [tool for tool in TOOLS if not wanted or tool.id in wanted]
    absent = [tool for tool in tools if tool.needs is not None and shutil.which(tool.needs) is None]
    missing = sorted({tool.needs for tool in absent if tool.needs is not None})
    return [tool for tool in tools if tool not in absent], missing


def measure_peers(options: argparse.Namespace) -> int:
    if options.quick:
        options.runs = 1
        options.hosts = options.hosts if options.hosts != 500 else 100
    tools, missing = chosen_tools(options.only)
    for name in missing:
        print(f"LEFT OUT: {name} is not installed (Debian: apt-get install {name})", file=sys.stderr)
    rows = [row for row in ROWS if not options.rows or row.id in options.rows.split(",")]
    hosts = addresses(options.hosts)
    found: dict[str, dict[str, list[Run]]] = {}
    for row in rows:
        print(f"== {row.title}, {len(hosts)} hosts", flush=True)
        runs = found[row.id] = {tool.id: [] for tool in tools}
        with running_nginx(row, options.port):
            versions = row.versions
            # Round by round and not tool by tool: what else the machine does then touches all alike.
            for at in range(options.runs):
                for tool in tools:
                    if at >= (tool.most_runs or options.runs):
                        continue
                    own = hosts[:5] if options.quick and tool.most_hosts else hosts
                    run = run_tool(tool, own, options.port, versions, limit_s=options.limit)
                    runs[tool.id].append(run)
                    print(f"  round {at + 1}  {_line(run)}", flush=True)
    text = results.render(found, tools, rows, hosts_count=len(hosts), missing=missing)
    print(text)
    if not options.quick and not options.only:
        text += _browser_figures() if not options.no_browser else ""
        options.output.write_text(text)
        print(f"wrote {options.output.name}")
    return 0


def _line(run: Run) -> str:
    if run.problem is not None:
        return f"{run.tool:14} NOT COUNTED: {run.problem}"
    return f"{run.tool:14} {run.hosts_per_s:8.1f} hosts/s  {run.cpu_ms_per_host:8.2f} CPU ms/host"


def _browser_figures() -> str:
    """Return what bench/report_browser.py prints, as a section; a browser that is not there is said so."""
    script = Path(__file__).with_name("report_browser.py")
    if not script.exists():
        return ""
    print("== HTML report in Chromium", flush=True)
    try:
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, timeout=600, check=False, cwd=REPOSITORY
        )
    except subprocess.TimeoutExpired:
        said = "not done after 600 s"
    else:
        lines = done.stderr.strip().splitlines()
        said = done.stdout if done.returncode == 0 else f"not measured: {lines[-1] if lines else 'no reason given'}"
    print(said)
    return f"\n## The HTML report in headless Chromium\n\n```\n{said.strip()}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
