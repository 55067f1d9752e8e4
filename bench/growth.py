"""Growth: CPU, memory and store from 100 to 1,000,000 addresses and 100 to 100,000 TLS hosts; memory of a /8."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from bench import ours
from bench.measure import Spread, watch_command
from bench.programs import shown
from bench.servers import FIRST_ADDRESS, ROWS, running_nginx
from bench.tables import Section, Target, at_most, not_measured, number, shown_spread, table

PORT = 8480
FIRST_SWEPT = IPv4Address("127.16.0.1")
ADDRESS_COUNTS = (100, 10_000, 1_000_000)
HOST_COUNTS = (100, 1_000, 10_000, 100_000)
LISTENER_EVERY = 100
MOST_GROWTH = 1.15
MOST_BYTES = 150_000_000
MOST_STORE_BYTES = 2_048
STARTS = 5
"""Runs that the start is measured by: it is taken off each run, and is most of the small ones."""
RESOLVED = 5
SPACE = "127.0.0.0/8"
SMALL_SPACE = "127.3.0.0/16"
SPACE_SECONDS = 20.0
MOST_FLAT_GROWTH = 1.10
AIM_ADDRESSES = "growth: CPU per address flat within 15 % from 100 to 1,000,000 addresses"
AIM_HOSTS = "growth: CPU per TLS host flat within 15 %, store and reports included, up to 100,000 hosts"
AIM_STORE = "store: at most 2 KB a TLS host"
AIM_RESIDENT = "memory: at most 150 MB resident for any range"
AIM_FLAT = "memory: flat over a /8's index space"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run at one size."""

    count: int
    tls_hosts: int
    wall_s: float
    cpu_s: float
    start: Spread
    """CPU seconds that the same command takes for one address: the start, and the making of store and reports."""
    peak_bytes: int
    store_bytes: int
    problem: str | None
    command: str

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of one address, without the start."""
        return (self.cpu_s - self.start.median) * 1e6 / self.count

    @property
    def is_resolved(self) -> bool:
        """Whether it took so much more than the start that the start's own spread does not drown it."""
        return self.cpu_s - self.start.median >= RESOLVED * (self.start.most - self.start.least)


def swept_addresses(count: int) -> list[str]:
    """Return the listeners among the first `count` swept addresses: one in a hundred."""
    return [str(FIRST_SWEPT + at) for at in range(0, count, LISTENER_EVERY)]


def scan_once(
    first: IPv4Address, count: int, listeners: Container[str], tls_hosts: int, start: Spread, *, has_html: bool
) -> Point:
    """Scan one range with store and JSON; check every server's answers; say what it took."""
    target = f"{first}-{first + count - 1}:{PORT}" if count > 1 else f"{first}:{PORT}"
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as name:
        folder = Path(name)
        report, db = folder / "out.json", folder / "runs.sqlite"
        extra = ["--html", str(folder / "out.html")] if has_html else []
        command = ours.scan_command([target], json_to=report, db=db, extra=extra)
        watched = watch_command(command, folder, limit_s=1800)
        if watched.code not in ours.SWEEP_EXITS:
            said = (folder / "stderr").read_text(errors="replace").strip()[-200:]
            problem = "not done after 1800 s" if watched.code is None else f"exit {watched.code}: {said}"
        else:
            problem = ours.maybe_wrong_report(report, listeners, tls_hosts, ROWS[0].versions)
        return Point(
            count=count,
            tls_hosts=tls_hosts,
            wall_s=watched.wall_s,
            cpu_s=watched.cpu_s,
            start=start,
            peak_bytes=watched.peak_bytes,
            store_bytes=sum(path.stat().st_size for path in folder.glob("runs.sqlite*")),
            problem=problem,
            command=shown(command, folder),
        )


def measure_growth(*, counts: Sequence[int], host_counts: Sequence[int], runs: int) -> list[Section]:
    return [measure_addresses(counts, runs), measure_hosts(host_counts, runs)]


def measure_addresses(counts: Sequence[int], runs: int) -> Section:
    """A listener on one address in a hundred; the others refuse."""
    title = "Growth in addresses: TLS on 1 in 100, the others refuse; with store and JSON"
    listeners = swept_addresses(max(counts))
    server = running_nginx(ROWS[0], PORT, only=listeners)
    points = _measure(title, FIRST_SWEPT, counts, runs, server, has_html=False, every=LISTENER_EVERY)
    rows = [_point_row(own, "") for own in points.values()]
    heads = ["addresses", "TLS hosts", "wall s", "CPU s", "CPU us an address", "peak MB", "store KB", "answers"]
    targets = [_flat_target(AIM_ADDRESSES, points), _resident_target(points)]
    return Section(title=title, lines=[*table(heads, rows), "", _START], targets=targets, commands=_commands(points))


def measure_hosts(counts: Sequence[int], runs: int) -> Section:
    """TLS on every address."""
    title = "Growth in TLS hosts: every address answers; with store, JSON and HTML"
    server = running_nginx(ROWS[0], PORT)
    points = _measure(title, FIRST_ADDRESS, counts, runs, server, has_html=True, every=1)
    rows = [_point_row(own, "bytes") for own in points.values()]
    heads = ["TLS hosts", "wall s", "CPU s", "CPU us a host", "peak MB", "store bytes a host", "answers"]
    targets = [_flat_target(AIM_HOSTS, points), _store_target(points), _resident_target(points)]
    return Section(title=title, lines=[*table(heads, rows), "", _START], targets=targets, commands=_commands(points))


_START = (
    "CPU of one address or host: without the start, which is measured by scanning one address with the same options. "
    "Where a run took little more than that, the start's own spread is most of what is left: marked (?), not judged."
)


def _measure(
    title: str,
    first: IPv4Address,
    counts: Sequence[int],
    runs: int,
    server: AbstractContextManager[None],
    *,
    has_html: bool,
    every: int,
) -> dict[int, list[Point]]:
    print(f"== {title}", flush=True)
    points: dict[int, list[Point]] = {count: [] for count in counts}
    with server:
        nothing = Spread(median=0.0, least=0.0, most=0.0)
        starts = [scan_once(first, 1, {str(first)}, 1, nothing, has_html=has_html).cpu_s for _ in range(STARTS)]
        start = Spread.of(starts)
        for at in range(runs):
            for count, own in points.items():
                if at and count >= 100_000:
                    continue  # long enough for once: what a second would tell, the smaller ones tell
                listeners = frozenset(str(first + number) for number in range(0, count, every))
                point = scan_once(first, count, listeners, len(listeners), start, has_html=has_html)
                own.append(point)
                print(
                    f"  {count:>9,}  {point.wall_s:7.1f} s  {point.cpu_us:7.1f} us  {point.problem or 'right'}",
                    flush=True,
                )
    return points


def _point_row(own: Sequence[Point], store: str) -> list[str]:
    good = [point for point in own if point.problem is None]
    count = f"{own[0].count:,}"
    problems = "; ".join(sorted({point.problem for point in own if point.problem is not None})) or "right"
    cells = [count] if store else [count, f"{own[0].tls_hosts:,}"]
    if not good:
        return [*cells, "not counted", "", "", "", "", problems]
    stored = Spread.of([point.store_bytes / (point.tls_hosts if store else 1_000) for point in good]).median
    return [
        *cells,
        number(Spread.of([point.wall_s for point in good]).median),
        number(Spread.of([point.cpu_s for point in good]).median),
        shown_spread(Spread.of([point.cpu_us for point in good])) + ("" if _is_resolved(good) else " (?)"),
        number(max(point.peak_bytes for point in good) / 1e6),
        number(stored),
        problems,
    ]


def _is_resolved(good: Sequence[Point]) -> bool:
    return sum(point.is_resolved for point in good) * 2 > len(good)


def _flat_target(text: str, points: dict[int, list[Point]]) -> Target:
    good = {count: [point for point in own if point.problem is None] for count, own in points.items()}
    if not all(good.values()):
        return not_measured(text, "not every size had right answers")
    medians = {count: Spread.of([point.cpu_us for point in own]).median for count, own in good.items()}
    judged = [value for count, value in medians.items() if _is_resolved(good[count])]
    measured = ", ".join(
        f"{count:,}: {number(value)} us{'' if _is_resolved(good[count]) else ' (?)'}"
        for count, value in medians.items()
    )
    if len(judged) < 2:
        return Target(text=text, measured=f"{measured}: too little beside the start's spread", is_met=None)
    return Target(text=text, measured=measured, is_met=max(judged) / min(judged) <= MOST_GROWTH)


def _resident_target(points: dict[int, list[Point]]) -> Target:
    good = [point for own in points.values() for point in own if point.problem is None]
    if not good:
        return not_measured(AIM_RESIDENT, "no right answers")
    most = max(good, key=lambda point: point.peak_bytes)
    return at_most(
        f"{AIM_RESIDENT} ({most.count:,} addresses)", Spread.of([most.peak_bytes / 1e6]), MOST_BYTES / 1e6, "MB"
    )


def _store_target(points: dict[int, list[Point]]) -> Target:
    # The largest: an empty store has its own size.
    good = [point for point in points[max(points)] if point.problem is None]
    if not good:
        return not_measured(AIM_STORE, "no right answers")
    text = f"{AIM_STORE} ({good[0].count:,} hosts)"
    return at_most(text, Spread.of([point.store_bytes / point.tls_hosts for point in good]), MOST_STORE_BYTES, "bytes")


def _commands(points: dict[int, list[Point]]) -> list[str]:
    return [own[0].command for own in points.values() if own]


def measure_space(*, seconds: float = SPACE_SECONDS) -> Section:
    """A /8 in which every address refuses, interrupted after some seconds, beside a /16 that is swept to its end."""
    title = "Memory over the index space of a /8"
    lacking = ours.missing_options("--seed")
    if lacking:
        reason = f"this program has no {', '.join(lacking)}, and would write the range out"
        return Section(
            title=title, targets=[not_measured(aim, reason) for aim in (AIM_FLAT, AIM_RESIDENT)], left_out=[reason]
        )
    print(f"== {title}", flush=True)
    rows, commands, peaks, targets = [], [], [], []
    for space, after_s in ((SMALL_SPACE, None), (SPACE, seconds)):
        with tempfile.TemporaryDirectory(prefix="bench-space-") as name:
            folder = Path(name)
            command = ours.scan_command([f"{space}:{PORT}"], json_to=folder / "out.json", db=folder / "runs.sqlite")
            watched = watch_command(command, folder, limit_s=300, interrupt_after_s=after_s)
            commands.append(shown(command, folder))
            peaks.append(watched.peak_bytes)
            if after_s is None:
                rows.append([space, "to the end", number(watched.wall_s), "", number(watched.peak_bytes / 1e6)])
                continue
            early, late = watched.resident_at(seconds / 5), watched.resident_at(seconds)
            said = f"{number(early / 1e6)} and {number(late / 1e6)}"
            rows.append([space, "Ctrl-C", number(watched.wall_s), said, number(watched.peak_bytes / 1e6)])
            targets.append(
                Target(
                    text=f"{AIM_FLAT}: after {seconds:.0f} s at most 1.10 x what it was after {seconds / 5:.0f} s",
                    measured=f"{number(late / max(1, early))} x",
                    # In the first seconds the tables that are bounded fill up.
                    is_met=0 < late <= early * MOST_FLAT_GROWTH if seconds >= SPACE_SECONDS else None,
                )
            )
        print(f"  {rows[-1]}", flush=True)
    targets.append(at_most(f"{AIM_RESIDENT} (a /8, all refuse)", Spread.of([max(peaks) / 1e6]), MOST_BYTES / 1e6, "MB"))
    heads = ["range", "ended by", "wall s", f"resident MB after {seconds / 5:.0f} s and {seconds:.0f} s", "peak MB"]
    return Section(title=title, lines=table(heads, rows), targets=targets, commands=commands)
