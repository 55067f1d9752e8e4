"""Silent addresses: what they cost, how long they take, and the memory of what is in flight.

Needs root and nft: all of it happens in a network namespace of its own, which has nothing but a loopback device. There
127.2.0.0/16 drops every SYN but those to 655 listeners. The namespace ends with the process that made it, however that
ends. ``python -m bench.silent FOLDER`` is the part inside.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

from bench import ours
from bench.measure import Spread, watch_command
from bench.programs import REPOSITORY, find_program, shown
from bench.servers import ROWS, running_nginx
from bench.tables import Section, Target, at_most, not_measured, number, shown_spread, table

PORT = 8470
FIRST = IPv4Address("127.2.0.0")
NETWORK_BITS = 16
ALIVE_EVERY = 100
CONNECT_S = 1.0
IN_FLIGHT = 10_000
FEW_IN_FLIGHT = 2_500
_SPARE_DESCRIPTORS = 2_000
AIM_CPU = "silent address: at most 20 us of CPU"
AIM_WALL = "a /16, 1 % alive, 1 s to connect: wall time within 1.3 x of silent x time-out x passes / in flight"
AIM_MEMORY = "memory: at most 3 MB per 10,000 in flight"
_RULES = """
table inet bench {{
  set alive {{ type ipv4_addr; elements = {{ {alive} }} }}
  chain incoming {{
    type filter hook input priority 0; policy accept;
    ip daddr {network} ip daddr != @alive tcp flags & (syn | ack) == syn drop
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One run over part of the silent network."""

    name: str
    addresses: int
    alive: int
    passes: int
    in_flight: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    problem: str | None
    command: str

    @property
    def floor_s(self) -> float:
        return floor_s(self.addresses - self.alive, self.passes, self.in_flight)


def floor_s(silent: int, passes: int, in_flight: int) -> float:
    """Return the seconds that waiting alone takes: `in_flight` of the silent at a time, one time-out each pass."""
    return max(1.0, silent / in_flight) * CONNECT_S * passes


def alive_addresses(count: int) -> list[str]:
    """Return the listeners among the first `count` addresses of the network."""
    return [str(FIRST + at) for at in range(ALIVE_EVERY // 2, count, ALIVE_EVERY)]


def render_rules(alive: Sequence[str]) -> str:
    return _RULES.format(alive=", ".join(alive), network=f"{FIRST}/{NETWORK_BITS}")


def cost_us(whole: Sweep, only_alive: Sweep) -> float:
    """Return the CPU microseconds of one silent address: what the sweep took more than its listeners alone do."""
    return (whole.cpu_s - only_alive.cpu_s) * 1e6 / (whole.addresses - whole.alive)


def maybe_impossible() -> str | None:
    """Return why this machine can't do it."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    absent = [name for name in ("nft", "ip", "unshare") if find_program(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    lacking = ours.missing_options("--connect-timeout", "--passes", "--in-flight")
    return f"this program has no {', '.join(lacking)}" if lacking else None


def measure_silent(*, runs: int, bits: int) -> Section:
    """Sweep a network of this many host bits: 16 for a /16."""
    title = f"Silent addresses: a /{32 - bits} in a network namespace, 1 % alive, {CONNECT_S:.0f} s to connect"
    aims = (AIM_CPU, AIM_WALL, AIM_MEMORY)
    reason = maybe_impossible()
    if reason is not None:
        return Section(title=title, targets=[not_measured(aim, reason) for aim in aims], left_out=[reason])
    print(f"== {title}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-silent-") as name:
        folder = Path(name)
        command = ["unshare", "--net", "--kill-child", sys.executable, "-m", "bench.silent"]
        done = subprocess.run(
            [*command, name, str(runs), str(bits)], cwd=REPOSITORY, check=False, timeout=3600, stderr=subprocess.PIPE
        )
        results = folder / "sweeps.json"
        if done.returncode != 0 or not results.exists():
            said = (done.stderr.decode().strip().splitlines() or ["no reason given"])[-1]
            return Section(title=title, targets=[not_measured(aim, said) for aim in aims], left_out=[said])
        sweeps = [Sweep(**item) for item in json.loads(results.read_text())]
    return silent_section(title, sweeps)


def silent_section(title: str, sweeps: Sequence[Sweep]) -> Section:
    """Judge what was swept. Sweeps with a problem are shown, and count for nothing."""
    by_name: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        by_name.setdefault(sweep.name, []).append(sweep)
    rows = []
    for name, all_own in by_name.items():
        own = [sweep for sweep in all_own if sweep.problem is None]
        problems = sorted({sweep.problem for sweep in all_own if sweep.problem is not None})
        first = all_own[0]
        counts = [f"{first.addresses:,}", f"{first.alive:,}", str(first.passes), f"{first.in_flight:,}"]
        if not own:
            rows.append([name, *counts, "not counted", "", "", "; ".join(problems)])
            continue
        wall, cpu, peak = (
            Spread.of([value(sweep) for sweep in own])
            for value in (lambda each: each.wall_s, lambda each: each.cpu_s, lambda each: each.peak_bytes / 1e6)
        )
        said = "; ".join(problems) or "right"
        rows.append([name, *counts, shown_spread(wall), shown_spread(cpu), number(peak.median), said])
    heads = ["sweep", "addresses", "alive", "passes", "in flight", "wall s", "CPU s", "peak MB", "answers"]
    good = {name: [sweep for sweep in own if sweep.problem is None] for name, own in by_name.items()}
    return Section(
        title=title,
        lines=table(heads, rows),
        targets=_targets(good),
        commands=list(dict.fromkeys(own[0].command for own in by_name.values())),
    )


def _targets(good: dict[str, list[Sweep]]) -> list[Target]:
    targets = []
    only_alive = good.get("alive only", [])
    for name in ("one pass", "two passes"):
        whole = good.get(name, [])
        if whole and only_alive:
            costs = Spread.of([cost_us(each, other) for each, other in zip(whole, only_alive, strict=False)])
            if whole[0].passes == 1:
                targets.append(at_most(AIM_CPU, costs, 20.0, "us"))
            else:
                said = shown_spread(costs, "us")
                targets.append(Target(text=f"{AIM_CPU}, beside it {name}: two SYNs", measured=said, is_met=None))
            over = Spread.of([each.wall_s / each.floor_s for each in whole])
            text = f"{AIM_WALL} ({name}: floor {number(whole[0].floor_s)} s)"
            targets.append(at_most(text, over, 1.3, "x"))
        else:
            targets += [not_measured(f"{aim} ({name})", "no right answers") for aim in (AIM_CPU, AIM_WALL)]
    many, few = good.get("one pass", []), good.get("few in flight", [])
    if many and many[0].in_flight < IN_FLIGHT:
        targets.append(not_measured(AIM_MEMORY, f"only {many[0].in_flight:,} in flight"))
    elif many and few:
        difference = many[0].in_flight - few[0].in_flight
        megabytes = [
            (each.peak_bytes - other.peak_bytes) / 1e6 * 10_000 / difference
            for each, other in zip(many, few, strict=False)
        ]
        targets.append(at_most(AIM_MEMORY, Spread.of(megabytes), 3.0, "MB"))
    else:
        targets.append(not_measured(AIM_MEMORY, "no right answers"))
    return targets


def _sweep(name: str, folder: Path, targets: list[str], count: int, alive: list[str], options: dict[str, int]) -> Sweep:
    """Run the program once inside the namespace."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    in_flight, passes = options["in_flight"], options["passes"]
    extra = ["--connect-timeout", str(CONNECT_S), "--passes", str(passes), "--in-flight", str(in_flight)]
    # One process: what is in flight is then in one table of descriptors, and memory is counted once.
    extra += ["--processes", "1"] if "--processes" in ours.known_options() else []
    command = ours.scan_command(targets, json_to=report, extra=extra)
    floor = floor_s(count, passes, in_flight)
    watched = watch_command(command, folder, limit_s=60 + 5 * floor)
    problem = None
    if watched.code not in ours.SWEEP_EXITS:
        said = (folder / "stderr").read_text(errors="replace").strip()[-200:]
        problem = f"not done after {watched.wall_s:.0f} s" if watched.code is None else f"exit {watched.code}: {said}"
    else:
        problem = ours.maybe_wrong_report(report, frozenset(alive), len(alive), ROWS[0].versions)
    print(f"  {name:15} {watched.wall_s:7.1f} s  CPU {watched.cpu_s:6.2f} s  {problem or 'right'}", flush=True)
    return Sweep(
        name=name,
        addresses=count,
        alive=len(alive),
        passes=passes,
        in_flight=in_flight,
        wall_s=watched.wall_s,
        cpu_s=watched.cpu_s,
        peak_bytes=watched.peak_bytes,
        problem=problem,
        command=shown(command, folder),
    )


def _inside(folder: Path, runs: int, bits: int) -> None:
    """Set the namespace up and sweep. Only ever called in a namespace without any other network."""
    devices = [line.split(":")[1].strip() for line in _said("ip", "-o", "link").splitlines()]
    if devices != ["lo"]:
        raise SystemExit(f"not in a namespace of its own: it has {', '.join(devices)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ceiling = IN_FLIGHT if most == resource.RLIM_INFINITY else min(IN_FLIGHT, most - _SPARE_DESCRIPTORS)
    _said("ip", "link", "set", "lo", "up")
    alive = alive_addresses(2**NETWORK_BITS)
    subprocess.run([find_program("nft"), "-f", "-"], input=render_rules(alive), text=True, check=True)
    count = 2**bits
    own = alive_addresses(count)
    whole = [f"{FIRST}-{FIRST + count - 1}:{PORT}"]
    listed = folder / "alive.txt"
    listed.write_text("".join(f"{address}/32:{PORT}\n" for address in own))
    sweeps = []
    with running_nginx(ROWS[0], PORT, ready_at=alive[0]):
        for _ in range(runs):
            for name, targets, size, listeners, passes, in_flight in (
                ("alive only", ["--file", str(listed)], len(own), own, 1, IN_FLIGHT),
                ("one pass", whole, count, own, 1, IN_FLIGHT),
                ("two passes", whole, count, own, 2, IN_FLIGHT),
                ("few in flight", whole, count, own, 1, FEW_IN_FLIGHT),
            ):
                options = {"passes": passes, "in_flight": min(in_flight, ceiling, count)}
                sweeps.append(_sweep(name, folder, targets, size, listeners, options))
    (folder / "sweeps.json").write_text(json.dumps([asdict(sweep) for sweep in sweeps]))


def _said(*command: str) -> str:
    program = find_program(command[0]) or command[0]
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    _inside(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
