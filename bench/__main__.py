"""``python -m bench``: this program beside its peers and its targets, on loopback. Also: profile, startup."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import configs, growth, listener, micro, peers, profiling, rates, results, silent
from bench.programs import DEBIAN, GO, REPOSITORY, find_program, install_peers
from bench.servers import ROWS
from bench.tables import Section, render_section
from bench.tools import TOOLS

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS = ("peers", "delay", "micro", "silent", "memory", "rate", "growth", "listener", "configs", "browser")
MODES = ("all", *PARTS, "profile", "startup")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="all",
        choices=MODES,
        help="all (default): every part, written to bench/RESULTS.md; or one part, printed only; "
        "profile: where a scan's time goes; startup: the slowest imports",
    )
    parser.add_argument("--hosts", type=int, help="listeners (5000; behind the delay and in profile 500)")
    parser.add_argument("--runs", type=int, default=5, help="rounds; each tool once a round (default 5)")
    parser.add_argument("--only", default="", help="tools, by id with commas: " + ",".join(tool.id for tool in TOOLS))
    parser.add_argument("--rows", default="", help="servers, by id with commas: " + ",".join(row.id for row in ROWS))
    parser.add_argument("--port", type=int, default=8443, help="nginx's port; the delay takes the next")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one run of one tool (default 300)")
    parser.add_argument("--quick", action="store_true", help="everything small and once, in a minute or two; no file")
    parser.add_argument("--confirm", action="store_true", help="profile and startup: with sslyze handshakes")
    parser.add_argument("--no-install", action="store_true", help="leave out peers that are absent, install nothing")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results are written")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    if options.what == "profile":
        return profiling.profile_scan(options.hosts or 500, options.port, does_confirm=options.confirm)
    if options.what == "startup":
        return profiling.print_imports(does_confirm=options.confirm)
    # Tools or servers picked by hand: that is a look at the peers.
    what = "peers" if options.what == "all" and (options.only or options.rows) else options.what
    left_out = _absent(does_install=not options.no_install and not options.quick)
    sections: list[Section] = []
    for part in PARTS if what == "all" else (what,):
        if options.quick and what == "all" and part in _NOT_QUICK:
            continue
        try:
            found = _PARTS[part](options)
        except (SystemExit, subprocess.SubprocessError, OSError) as problem:
            if what != "all":
                raise
            # An hour of other parts is not lost for one.
            found = [Section(title=f"python -m bench {part}", left_out=[str(problem)])]
        for section in found:
            print("\n".join(render_section(section)), flush=True)
        sections += found
    if options.quick:
        print("Quick: few hosts and one round, so mostly starts; nothing here says whether a target is met.")
    if what == "all" and not options.quick:
        options.output.write_text(results.render(sections, left_out=left_out))
        print(f"wrote {options.output.name}")
    return 0


def _absent(*, does_install: bool) -> dict[str, str]:
    """Return the programs that are left out, with the reason; say so on standard error too."""
    names = [*DEBIAN, *GO]
    if does_install:
        left_out = install_peers(names)
    else:
        left_out = {name: "not installed" for name in names if find_program(name) is None}
    for name, reason in left_out.items():
        print(f"LEFT OUT: {name}: {reason}", file=sys.stderr)
    return left_out


def _peers(options: argparse.Namespace) -> list[Section]:
    tools = peers.present(peers.chosen_tools(options.only))
    if options.quick and not options.only:
        tools = [tool for tool in tools if tool.id not in _SLOW_OR_ALIKE]
    rows = [row for row in ROWS if not options.rows or row.id in options.rows.split(",")]
    return peers.measure_peers(
        tools,
        rows=rows,
        hosts_count=options.hosts or (500 if options.quick else 5_000),
        runs=1 if options.quick else options.runs,
        port=options.port,
        limit_s=options.limit,
        is_quick=options.quick,
    )


def _delay(options: argparse.Namespace) -> list[Section]:
    return [
        peers.measure_delay(
            hosts_count=options.hosts or (100 if options.quick else peers.DELAY_HOSTS),
            runs=1 if options.quick else options.runs,
            port=options.port,
            limit_s=options.limit,
            is_quick=options.quick,
        )
    ]


def _micro(options: argparse.Namespace) -> list[Section]:
    return [micro.measure_micro(runs=1 if options.quick else options.runs)]


def _silent(options: argparse.Namespace) -> list[Section]:
    quick = options.quick
    return [silent.measure_silent(runs=1 if quick else min(options.runs, 3), bits=10 if quick else silent.NETWORK_BITS)]


def _memory(options: argparse.Namespace) -> list[Section]:
    return [growth.measure_space(seconds=5.0 if options.quick else growth.SPACE_SECONDS)]


def _rate(options: argparse.Namespace) -> list[Section]:
    return [rates.measure_rates(runs=1 if options.quick else 3)]


def _growth(options: argparse.Namespace) -> list[Section]:
    if options.quick:
        return growth.measure_growth(counts=(100, 10_000), host_counts=(100, 500), runs=1)
    return growth.measure_growth(counts=growth.ADDRESS_COUNTS, host_counts=growth.HOST_COUNTS, runs=options.runs)


def _listener(options: argparse.Namespace) -> list[Section]:
    if options.quick:
        return [listener.measure_listener(runs=1, port=options.port, count=1_000, idle=500)]
    return [listener.measure_listener(runs=options.runs, port=options.port)]


def _configs(options: argparse.Namespace) -> list[Section]:
    if options.quick:
        return [configs.measure_configs(runs=1, lines_count=5_000)]
    return [configs.measure_configs(runs=options.runs)]


def _browser(_: argparse.Namespace) -> list[Section]:
    """What bench/report_browser.py prints; a browser that is not there is said so."""
    title = "The HTML report in headless Chromium"
    print(f"== {title}", flush=True)
    script = Path(__file__).with_name("report_browser.py")
    try:
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, timeout=900, check=False, cwd=REPOSITORY
        )
    except subprocess.TimeoutExpired:
        return [Section(title=title, left_out=["not done after 900 s"])]
    if done.returncode != 0:
        return [Section(title=title, left_out=[(done.stderr.strip().splitlines() or ["no reason given"])[-1]])]
    return [
        Section(title=title, lines=["```", done.stdout.strip(), "```"], commands=["python bench/report_browser.py"])
    ]


_PARTS: dict[str, Callable[[argparse.Namespace], list[Section]]] = {
    "peers": _peers,
    "delay": _delay,
    "micro": _micro,
    "silent": _silent,
    "memory": _memory,
    "rate": _rate,
    "growth": _growth,
    "listener": _listener,
    "configs": _configs,
    "browser": _browser,
}
_NOT_QUICK = frozenset({"rate", "browser"})
_SLOW_OR_ALIKE = frozenset({"testssl", "sslscan-no-ciphers", "sslscan-p4", "sslscan-p8", "sslscan-p16"})


if __name__ == "__main__":
    sys.exit(main())
