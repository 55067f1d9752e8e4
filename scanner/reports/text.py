"""The table at the end of a scan, for the terminal (rich)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scanner.model.evidence import State
from scanner.model.outbound import PathKind
from scanner.model.subjects import Direction
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.reports.disputes import find_disputes
from scanner.reports.objects import JsonObject
from scanner.reports.source import (
    ReportSource,
    declared_legs,
    finding_lines,
    has_dispute,
    has_outbound,
    outbound_entries,
    worst_disputes,
    worst_entries,
)
from scanner.untrusted import clean_text

MOST_HOSTS = 200
"""Hosts that are all shown in the terminal; of more than that the worst are."""

MOST_ROWS = 50
"""Hosts shown where there are more than MOST_HOSTS; the report files have all."""

MOST_DISPUTES = 8
"""Lines on where a file and the wire disagree."""

MOST_REASONS = 10
"""Different reasons for unknown hosts that are shown in narrow terminals."""

WIDE_COLUMNS = 110
"""Terminals narrower than this get fewer columns."""

_MARKS = {State.ENABLED: "on", State.DISABLED: "off", State.UNKNOWN: "?"}
_READINESS = {
    Readiness.READY: ("ready", "green"),
    Readiness.NOT_READY: ("NOT READY", "bold red"),
    Readiness.UNKNOWN: ("unknown", "yellow"),
}
_MOST_NAMES = 5
_MOST_CLIENTS = 8
_USUAL_PORT = 443
_WHERE_ALL_ARE = "--html, --json, --jsonl and --csv have all"
_WAY_STYLES = {
    PathKind.RE_ENCRYPTS: "bold red",
    PathKind.BLOCKED: "yellow",
    PathKind.UNKNOWN: "yellow",
    PathKind.TUNNEL: "green",
}
_SEVERITY_STYLES = {Severity.FAILURE: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 host`` or ``2 hosts``; plural: where it is not the noun with an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def print_result(source: ReportSource, console: Console) -> None:
    """Print the worst hosts first, the answer, and the findings by rule."""
    console.print(render_result(source, width=console.width))


def render_result(source: ReportSource, *, width: int) -> RenderableType:
    """Return what print_result prints. width: columns of the terminal; narrow ones get fewer columns."""
    parts: list[RenderableType] = [Text()]
    count = source.summary["hosts"]
    hosts = [host for host, _ in worst_entries(source, count if count <= MOST_HOSTS else MOST_ROWS)]
    inbound = [host for host in hosts if _is_inbound_asked(host)]
    if inbound:
        parts.append(_render_hosts(inbound, count - len(hosts) + len(inbound), is_wide=width >= WIDE_COLUMNS))
    if count > len(hosts) and inbound:
        parts.append(_render_versions(source.summary["by_version"]))
    parts += _render_clients(source, hosts, is_wide=width >= WIDE_COLUMNS)
    parts += [_render_answer(source), *_render_disputes(source), *_render_findings(source)]
    if width < WIDE_COLUMNS:
        parts += _render_unknown(hosts)
    return Group(*parts)


def _is_inbound_asked(host: JsonObject) -> bool:
    """Whether anything tells what the host accepts: not of one that only a listener has seen."""
    return bool(host["endpoints"]) or any(declared_legs(host, Direction.INBOUND)) or not has_outbound(host)


def _render_hosts(hosts: Sequence[JsonObject], count: int, *, is_wide: bool) -> Table:
    table = Table(
        title="Inbound: which versions each host accepts", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("Host", overflow="fold", min_width=18)
    for version in ALL_VERSIONS:
        table.add_column(_short(version), justify="center", no_wrap=True)
    table.add_column("Ready?", no_wrap=True)
    if is_wide:
        table.add_column("Role", no_wrap=True)
        table.add_column("Why", overflow="fold", min_width=20)
    for host in hosts:
        label, style = _READINESS[Readiness(host["readiness"])]
        cells = [_name(host), *_marks(host["verdicts"], Direction.INBOUND), Text(label, style=style)]
        if is_wide:
            cells += [Text(host["role"]), Text(clean_text(host["readiness_reason"], max_chars=160))]
        table.add_row(*cells)
    if count > len(hosts):
        table.caption = f"the worst {len(hosts)} of {count} hosts; {_WHERE_ALL_ARE}"
    return table


def _render_versions(by_version: JsonObject) -> Table:
    table = Table(
        title="All hosts by what they accept",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("")
    for version in ALL_VERSIONS:
        table.add_column(_short(version), justify="right", no_wrap=True)
    for state in State:
        counts = (by_version[version.label][state.value] for version in ALL_VERSIONS)
        table.add_row(state.value, *(str(count) for count in counts))
    return table


def _render_clients(source: ReportSource, hosts: Sequence[JsonObject], *, is_wide: bool) -> list[RenderableType]:
    """Return the outbound side: nothing where no host has it. hosts: those of the first table."""
    count = source.summary["outbound_hosts"]
    asked = [host for host, _ in outbound_entries(source, count if count <= MOST_HOSTS else MOST_ROWS)]
    # Ways to Entra may have been asked about without a listener.
    with_paths = [*asked, *(host for host in hosts if host["paths"] and not has_outbound(host))]
    parts: list[RenderableType] = []
    if asked:
        parts.append(_render_outbound(asked, count, is_wide=is_wide))
        if not is_wide:
            parts += _render_reasons("outbound", asked)
    return [*parts, *_render_paths(with_paths)]


def _render_outbound(hosts: Sequence[JsonObject], count: int, *, is_wide: bool) -> Table:
    table = Table(
        title="Outbound: which versions each host uses as a client",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("Host, client", overflow="fold", min_width=18)
    for version in ALL_VERSIONS:
        table.add_column(_short(version), justify="center", no_wrap=True)
    table.add_column("Path", no_wrap=True)
    if is_wide:
        table.add_column("Why", overflow="fold", min_width=20)
    for host in hosts:
        name = Text(clean_text(host["name"], max_chars=80))
        kinds = dict.fromkeys(path["kind"] for path in host["paths"] if path["is_listener"])
        cells = [name, *_marks(host["verdicts"], Direction.OUTBOUND), Text(", ".join(kinds))]
        table.add_row(*cells, *([Text(clean_text(_outbound_reason(host), max_chars=160))] if is_wide else []))
        clients = [(client["method_title"], client["verdicts"]) for client in host["outbound"]]
        clients += [(leg["scope"], leg["settings"]) for _, leg in declared_legs(host, Direction.OUTBOUND)]
        clients = clients if len(clients) > 1 else []
        for title, verdicts in clients[:_MOST_CLIENTS]:
            own = Text(f"  {clean_text(title, max_chars=60)}", style="dim")
            table.add_row(own, *(_mark({"disputed": False, **verdict}) for verdict in verdicts))
        if len(clients) > _MOST_CLIENTS:
            table.add_row(Text(f"  and {len(clients) - _MOST_CLIENTS} more clients", style="dim"))
    if count > len(hosts):
        table.caption = f"the worst {len(hosts)} of {count} hosts that were asked; {_WHERE_ALL_ARE}"
    return table


def _outbound_reason(host: JsonObject) -> str:
    """Return what the way does and why, for a proxy; else what decided about TLS 1.2, which Entra asks for."""
    for path in host["paths"]:
        if path["is_listener"]:
            return str(path["reason"])
    wanted = (Direction.OUTBOUND.value, TlsVersion.TLS1_2.label)
    verdict = next(item for item in host["verdicts"] if (item["direction"], item["version"]) == wanted)
    return f"{TlsVersion.TLS1_2.title}: {verdict['reason']}"


def _render_reasons(label: str, hosts: Sequence[JsonObject]) -> list[Text]:
    by_reason: dict[str, _Names] = {}
    for host in hosts:
        by_reason.setdefault(_outbound_reason(host), _Names()).add(host["name"])
    lines = [_line(label, "cyan", reason, names) for reason, names in list(by_reason.items())[:MOST_REASONS]]
    if len(by_reason) > MOST_REASONS:
        lines.append(Text(f"and {len(by_reason) - MOST_REASONS} more reasons; {_WHERE_ALL_ARE}"))
    return lines


def _render_paths(hosts: Sequence[JsonObject]) -> list[Text]:
    """Return what proxies do on the way to other destinations than the listener, those that do not let pass first."""
    by_way: dict[tuple[str, str], _Names] = {}
    for host in hosts:
        for path in host["paths"]:
            if not path["is_listener"]:
                is_through = path["kind"] == PathKind.TUNNEL.value
                said = "passes through unchanged" if is_through else f"{path['destination']}: {path['reason']}"
                by_way.setdefault((path["kind"], said), _Names()).add(host["name"])
    ways = sorted(by_way.items(), key=lambda item: list(_WAY_STYLES).index(PathKind(item[0][0])))
    lines = [_line(f"path, {kind}", _WAY_STYLES[PathKind(kind)], said, names) for (kind, said), names in ways]
    if len(lines) > MOST_REASONS:
        return [*lines[:MOST_REASONS], Text(f"and {len(lines) - MOST_REASONS} more; {_WHERE_ALL_ARE}")]
    return lines


def _short(version: TlsVersion) -> str:
    return version.label.removeprefix("TLS") or version.label


def _name(host: JsonObject) -> Text:
    text = Text(clean_text(host["name"], max_chars=80))
    ports = dict.fromkeys(endpoint["port"] for endpoint in host["endpoints"])
    if ports.keys() - {_USUAL_PORT}:
        text.append(":" + ",".join(str(port) for port in ports), style="dim")
    own = (endpoint for endpoint in host["endpoints"] if endpoint["destination"] is None)
    for name in dict.fromkeys(endpoint["server_name"] for endpoint in own):
        if name is not None and name != host["name"]:
            text.append(f"\nas {clean_text(name, max_chars=80)}", style="dim")
    if host["stopped"] is not None:
        text.append(f"\n({host['stopped']})", style="dim")
    return text


def _marks(verdicts: Iterable[JsonObject], direction: Direction) -> list[Text]:
    return [_mark(verdict) for verdict in verdicts if verdict["direction"] == direction.value]


def _mark(verdict: JsonObject) -> Text:
    state, version = State(verdict["state"]), TlsVersion.from_label(verdict["version"])
    text = Text(_MARKS[state])
    is_good = (state is State.ENABLED) == (version >= TlsVersion.TLS1_2)
    if state is State.UNKNOWN:
        text.stylize("yellow")
    elif version is TlsVersion.TLS1_3:
        text.stylize("green" if state is State.ENABLED else "dim")
    else:
        text.stylize("green" if is_good else "red")
    if verdict["disputed"]:
        text.append(" !", style="bold magenta")
    return text


def _render_answer(source: ReportSource) -> Text:
    run, summary = source.run, source.summary
    text = Text("\n")
    if not summary["hosts"]:
        text.append("No host was seen.", style="bold yellow")
    else:
        text.append(f"{counted(summary['hosts'], 'host')}: {summary['ready']} ready", style="bold")
        text.append(f", {summary['not_ready']} not ready, {summary['unknown']} unknown.")
    for reason, count in summary["no_listener"].items():
        addresses = counted(count, "range address", "range addresses")
        text.append(f"\n{addresses} without a listener ({reason}).", style="dim")
    if not run["is_complete"]:
        text.append("\nThe run is not complete: it was interrupted, or time ran out for a host.", style="bold yellow")
    if has_dispute(source):
        text.append("\n! answers contradict each other; the report has both sides.", style="magenta")
    text.append(f"\nPolicy {run['policy']} {run['policy_version']}, run {run['id']}.", style="dim")
    return text


@dataclass(slots=True)
class _Names:
    """The first few names of many, each once, and how many there are."""

    count: int = 0
    shown: dict[str, None] = field(default_factory=dict)
    last: str | None = None

    def add(self, name: str) -> None:
        # Not a set of all: a sweep may have a hundred thousand. A name that is there twice stands side by side.
        if name == self.last or name in self.shown:
            return
        self.last = name
        self.count += 1
        if len(self.shown) < _MOST_NAMES:
            self.shown[name] = None


def _render_findings(source: ReportSource) -> list[Text]:
    by_rule: dict[tuple[str, str, str], _Names] = {}
    for severity, rule, title, host in _finding_heads(finding_lines(source)):
        by_rule.setdefault((severity, rule, title), _Names()).add(host)
    return [
        _line(severity, _SEVERITY_STYLES[Severity(severity)], title, names)
        for (severity, _, title), names in by_rule.items()
    ]


def _render_disputes(source: ReportSource) -> list[Text]:
    """Return where a file and the wire disagree, at most MOST_DISPUTES lines and two; none where they don't."""
    if not has_dispute(source):
        return []
    hosts, count = worst_disputes(source, MOST_DISPUTES)
    lines = [(host["name"], place) for host in hosts for place in find_disputes(host)]
    if not lines:
        return []
    shown = [Text("Where declaration and measurement disagree", style="bold magenta")]
    for name, place in lines[:MOST_DISPUTES]:
        line = Text("disputed: ", style="magenta")
        where = f"{clean_text(name, max_chars=60)}, {place['direction']}, {clean_text(place['where'], max_chars=80)}"
        line.append(f"{where}: {clean_text(place['sentence'], max_chars=200)}", style="default")
        shown.append(line)
    more = len(lines) - MOST_DISPUTES
    if count > len(hosts) or more > 0:
        shown.append(Text(f"{counted(count, 'host')} in all; --html has each with both sides"))
    return shown


def _finding_heads(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (severity, rule, title, host); advice and citations, nine tenths of a finding, are not read."""
    for line in lines:
        # A quote within a text has a backslash before it, so this can only be the member.
        head, comma, _ = line.partition('", "advice": ')
        finding = json.loads(f'{head}"}}' if comma else line)
        yield finding["severity"], finding["rule"], finding["title"], finding["host"]


def _render_unknown(hosts: Sequence[JsonObject]) -> list[Text]:
    """Return why hosts of the table are unknown, which narrow ones have no column for."""
    by_reason: dict[str, _Names] = {}
    for host in hosts:
        if host["readiness"] == Readiness.UNKNOWN.value:
            by_reason.setdefault(host["readiness_reason"], _Names()).add(host["name"])
    lines = [_line("unknown", "yellow", reason, names) for reason, names in list(by_reason.items())[:MOST_REASONS]]
    if len(by_reason) > MOST_REASONS:
        lines.append(Text(f"and {len(by_reason) - MOST_REASONS} more reasons; {_WHERE_ALL_ARE}"))
    return lines


def _line(label: str, style: str, text: str, names: _Names) -> Text:
    shown = ", ".join(clean_text(name, max_chars=60) for name in names.shown)
    more = f" and {names.count - len(names.shown)} more" if names.count > len(names.shown) else ""
    line = Text(f"{label}: ", style=style)
    line.append(f"{clean_text(text, max_chars=160)} ({shown}{more})", style="default")
    return line
