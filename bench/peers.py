"""This program beside its peers: which of six versions does each host accept? And the same behind a delay."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench.measure import Run, Spread, ratios, run_tool
from bench.programs import compile_source, find_program
from bench.servers import ROWS, Row, addresses, pin_to, running_nginx, server_core
from bench.tables import Section, Target, at_least, not_measured, number, shown_spread, table
from bench.tools import DELAY_TOOLS, TOOLS, Tool

Runs = Mapping[str, Sequence[Run]]
DELAY_MS = 50
DELAY_HOSTS = 500
_QUICK_SLOW_HOSTS = 5
_OURS = (("ours-range", "a range"), ("ours", "a file"))
_SSLSCAN_ORDER = (
    "Our hello puts static-RSA suites first for TLS 1.2 and below, sslscan's puts ECDHE first, and nginx takes the "
    "client's order: on the RSA row the server signs for sslscan and not for us. The ECDSA row has no such difference "
    "(its certificate allows ECDHE only), so the target is judged there."
)


def chosen_tools(only: str, tools: Sequence[Tool] = TOOLS) -> list[Tool]:
    """Return the tools named, or all."""
    wanted = [name for name in only.split(",") if name]
    unknown = set(wanted) - {tool.id for tool in tools}
    if unknown:
        raise SystemExit(f"no tool is called {', '.join(sorted(unknown))}")
    return [tool for tool in tools if not wanted or tool.id in wanted]


def present(tools: Sequence[Tool]) -> list[Tool]:
    return [tool for tool in tools if tool.needs is None or find_program(tool.needs) is not None]


def measure_peers(
    tools: Sequence[Tool],
    *,
    rows: Sequence[Row],
    hosts_count: int,
    runs: int,
    port: int,
    limit_s: float,
    is_quick: bool,
) -> list[Section]:
    """Run the tools in turn against each row of servers."""
    hosts = addresses(hosts_count)
    sections = []
    for row in rows:
        print(f"== {row.title}, {len(hosts)} hosts", flush=True)
        with running_nginx(row, port):
            found = run_rounds(tools, hosts, port, row, runs=runs, limit_s=limit_s, is_quick=is_quick)
        sections.append(peer_section(row, found, tools, hosts_count=hosts_count))
    return sections


def run_rounds(
    tools: Sequence[Tool],
    hosts: Sequence[str],
    port: int,
    row: Row,
    *,
    runs: int,
    limit_s: float,
    is_quick: bool = False,
) -> dict[str, list[Run]]:
    # Round by round and not tool by tool: what else the machine does then touches all alike.
    found: dict[str, list[Run]] = {tool.id: [] for tool in tools}
    for at in range(runs):
        for tool in tools:
            if at >= (tool.most_runs or runs):
                continue
            own = hosts[:_QUICK_SLOW_HOSTS] if is_quick and tool.is_slow else hosts
            run = run_tool(tool, own, port, row.versions, limit_s=limit_s)
            found[tool.id].append(run)
            print(f"  round {at + 1}  {_line(run)}", flush=True)
    return found


def _line(run: Run) -> str:
    if run.problem is not None:
        return f"{run.tool:14} NOT COUNTED: {run.problem}"
    return f"{run.tool:14} {run.hosts_per_s:8.1f} hosts/s  {run.cpu_ms_per_host:8.2f} CPU ms/host"


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


def ratio_target(runs: Runs, ours: str, theirs: str, least: float | None, text: str) -> Target:
    """Judge how many times more hosts a second ours does. least None: stated, not judged; 1: more than theirs."""
    own, other = counted(runs.get(ours, ())), counted(runs.get(theirs, ()))
    if not own or not other:
        return not_measured(text, f"no right answers of {ours if not own else theirs} in this run")
    ratio = ratios(own, other)
    if least is None:
        return Target(text=text, measured=shown_spread(ratio, "x"), is_met=None)
    if least == 1:
        return Target(text=text, measured=shown_spread(ratio, "x"), is_met=ratio.median > 1)
    return at_least(text, ratio, least)


def peer_section(row: Row, runs: Runs, tools: Sequence[Tool], *, hosts_count: int) -> Section:
    where = "ECDSA" if row.is_ecdsa else "RSA"
    targets = []
    for ours, what in _OURS:
        aims: list[tuple[str, float | None, str]] = [
            ("sslyze", 500.0, "at least 500 x sslyze"),
            ("nmap", 40.0, "at least 40 x nmap"),
            ("nassl", 8.0, "at least 8 x nassl in threads"),
            ("sslscan", 2.0, "at least 2 x sslscan --targets")
            if row.is_ecdsa
            else ("sslscan", None, "beside sslscan --targets (no target for RSA: its suite order)"),
            ("sslscan-no-ciphers", 1.0, "faster than sslscan --targets --no-ciphersuites"),
        ]
        best = maybe_best_parallel(runs)
        if best is not None:
            aims.append((best, None, f"beside the best parallel sslscan without a delay ({best})"))
        aims += [(name, None, f"beside {name}") for name in ("tlsx", "zgrab2", "testssl") if runs.get(name)]
        targets += [
            ratio_target(runs, ours, theirs, least, f"{where}: versions of {what}, --confirm none, {text}")
            for theirs, least, text in aims
        ]
    targets += [
        ratio_target(runs, "ours-confirm", theirs, least, f"{where}: a handshake confirms each ENABLED version, {text}")
        for theirs, least, text in (
            ("sslyze", 50.0, "at least 50 x sslyze"),
            ("nassl", 1.5, "at least 1.5 x nassl in threads"),
        )
    ]
    lines = tool_table(runs, tools)
    if not row.is_ecdsa:
        lines += ["", _SSLSCAN_ORDER]
    return Section(
        title=f"{row.title}, {hosts_count:,} listeners", lines=lines, targets=targets, commands=_commands(runs)
    )


def tool_table(runs: Runs, tools: Sequence[Tool]) -> list[str]:
    rows = []
    for tool in tools:
        own = runs.get(tool.id)
        if not own:
            continue
        good = counted(own)
        problems = sorted({run.problem for run in own if run.problem is not None})
        speed = cpu = "not counted"
        if good:
            speed = shown_spread(Spread.of([run.hosts_per_s for run in good]))
            cpu = number(Spread.of([run.cpu_ms_per_host for run in good]).median)
        said = "right" if not problems else f"right in {len(good)} of {len(own)} rounds; {'; '.join(problems)}"
        rows.append((tool.title, f"{own[0].hosts:,}", str(len(own)), speed, cpu, said))
    heads = ["tool", "hosts", "rounds", "hosts/s, median (least to most)", "CPU ms a host", "answers"]
    return table(heads, rows)


def _commands(runs: Runs) -> list[str]:
    return list(dict.fromkeys(own[0].command for own in runs.values() if own))


@contextmanager
def running_delay(port: int, server_port: int) -> Iterator[None]:
    """Run bench/delay.c in front of a server on the servers' core."""
    program = compile_source("delay")
    if program is None:
        raise SystemExit("the delay needs a C compiler")
    process = subprocess.Popen(
        [str(program), str(port), str(server_port), str(DELAY_MS)],
        stdout=subprocess.PIPE,
        preexec_fn=pin_to(server_core()),  # noqa: PLW1509  # no threads here
    )
    try:
        if process.stdout.readline() != b"ready\n":
            raise SystemExit(f"bench/delay.c did not start; is port {port} taken?")
        yield
    finally:
        process.terminate()
        process.wait(5)


def measure_delay(*, hosts_count: int, runs: int, port: int, limit_s: float, is_quick: bool = False) -> Section:
    """Ours beside sslscan in up to 200 processes, where each answer takes 50 ms."""
    row = ROWS[1]
    title = f"{DELAY_MS} ms to each answer, {row.title}, {hosts_count:,} listeners"
    aim = f"{DELAY_MS} ms delay: at least 3 x the best parallel sslscan"
    if compile_source("delay") is None:
        return Section(title=title, targets=[not_measured(aim, "no C compiler")], left_out=["no C compiler"])
    tools = present(DELAY_TOOLS)
    if is_quick:
        tools = [tool for tool in tools if tool.id in {"ours-range", "sslscan-p200x1"}]
    print(f"== {title}", flush=True)
    with running_nginx(row, port), running_delay(port + 1, port):
        found = run_rounds(tools, addresses(hosts_count), port + 1, row, runs=runs, limit_s=limit_s)
    best = maybe_best_parallel(found)
    targets = [
        not_measured(aim, "no sslscan with right answers")
        if best is None
        else ratio_target(found, ours, best, 3.0, f"{aim} ({best}), targets as {what}")
        for ours, what in _OURS
        if ours in found
    ]
    lines = [
        (
            f"bench/delay.c forwards to nginx and holds back whatever it sends for {DELAY_MS} ms, its close included; "
            "connecting costs nothing extra, as the kernel answers for the proxy. One share: each process of sslscan "
            "is given its hosts at once; four: in four parts, which costs starts and evens out the ends."
        ),
        "",
        *tool_table(found, tools),
    ]
    return Section(title=title, lines=lines, targets=targets, commands=_commands(found))
