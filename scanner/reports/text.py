"""The table at the end of a scan, for the terminal (rich)."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scanner.model.evidence import State
from scanner.model.runs import HostResult, RunResult
from scanner.model.verdicts import Finding, Readiness, Severity, Verdict
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.untrusted import clean_text

MOST_ROWS = 50
"""Hosts shown in the terminal; the report files have all."""

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
_ORDER = {Readiness.NOT_READY: 0, Readiness.UNKNOWN: 1, Readiness.READY: 2}
_SEVERITY_STYLES = {Severity.FAILURE: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 host`` or ``2 hosts``; plural: where it is not the noun with an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def print_result(result: RunResult, console: Console) -> None:
    """Print the worst hosts first, the answer, and the findings by rule."""
    console.print(render_result(result, width=console.width))


def render_result(result: RunResult, *, width: int) -> RenderableType:
    """Return what print_result prints. width: columns of the terminal; narrow ones get fewer columns."""
    parts: list[RenderableType] = [Text()]
    if result.hosts:
        parts.append(_render_hosts(result.hosts, is_wide=width >= WIDE_COLUMNS))
    parts += [_render_answer(result), *_render_findings(result.findings)]
    if width < WIDE_COLUMNS:
        parts += _render_unknown(result.hosts)
    return Group(*parts)


def _render_hosts(hosts: Sequence[HostResult], *, is_wide: bool) -> Table:
    table = Table(
        title="Inbound: which versions each host accepts", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("Host", overflow="fold", min_width=18)
    for version in ALL_VERSIONS:
        table.add_column(version.label.removeprefix("TLS") or version.label, justify="center", no_wrap=True)
    table.add_column("Ready?", no_wrap=True)
    if is_wide:
        table.add_column("Role", no_wrap=True)
        table.add_column("Why", overflow="fold", min_width=20)
    worst_first = sorted(hosts, key=lambda host: _ORDER[host.readiness])
    for host in worst_first[:MOST_ROWS]:
        label, style = _READINESS[host.readiness]
        cells = [_name(host), *(_mark(verdict) for verdict in host.verdicts), Text(label, style=style)]
        if is_wide:
            cells += [Text(host.target.role.value), Text(clean_text(host.readiness_reason, max_chars=160))]
        table.add_row(*cells)
    if len(hosts) > MOST_ROWS:
        table.caption = f"the worst {MOST_ROWS} of {len(hosts)} hosts; --html, --json and --csv have all"
    return table


def _name(host: HostResult) -> Text:
    target = host.target
    text = Text(clean_text(target.host, max_chars=80))
    ports = [port for port in (*target.ports, *target.optional_ports) if port != 443]
    if ports:
        text.append(":" + ",".join(str(port) for port in (*target.ports, *target.optional_ports)), style="dim")
    if target.server_name is not None and target.server_name != target.host:
        text.append(f"\nas {clean_text(target.server_name, max_chars=80)}", style="dim")
    if host.stopped is not None:
        text.append(f"\n({host.stopped})", style="dim")
    return text


def _mark(verdict: Verdict) -> Text:
    text = Text(_MARKS[verdict.state])
    is_good = (verdict.state is State.ENABLED) == (verdict.version >= TlsVersion.TLS1_2)
    if verdict.state is State.UNKNOWN:
        text.stylize("yellow")
    elif verdict.version is TlsVersion.TLS1_3:
        text.stylize("green" if verdict.state is State.ENABLED else "dim")
    else:
        text.stylize("green" if is_good else "red")
    if verdict.is_disputed:
        text.append(" !", style="bold magenta")
    return text


def _render_answer(result: RunResult) -> Text:
    counts = {readiness: sum(1 for host in result.hosts if host.readiness is readiness) for readiness in Readiness}
    text = Text("\n")
    if not result.hosts:
        text.append("No host was seen.", style="bold yellow")
    else:
        text.append(f"{counted(len(result.hosts), 'host')}: {counts[Readiness.READY]} ready", style="bold")
        text.append(f", {counts[Readiness.NOT_READY]} not ready, {counts[Readiness.UNKNOWN]} unknown.")
    for reason, count in result.no_listener_counts:
        addresses = counted(count, "range address", "range addresses")
        text.append(f"\n{addresses} without a listener ({reason}).", style="dim")
    if not result.run.is_complete:
        text.append("\nThe run is not complete: it was interrupted, or time ran out for a host.", style="bold yellow")
    if any(verdict.is_disputed for host in result.hosts for verdict in host.verdicts):
        text.append("\n! answers contradict each other; the report has both sides.", style="magenta")
    text.append(f"\nPolicy {result.run.policy_id} {result.policy_version}, run {result.run.id}.", style="dim")
    return text


def _render_findings(findings: Sequence[Finding]) -> list[Text]:
    by_rule: dict[tuple[Severity, str, str], list[str]] = {}
    for finding in findings:
        by_rule.setdefault((finding.severity, finding.rule_id, finding.title), []).append(finding.host)
    return [
        _line(severity.value, _SEVERITY_STYLES[severity], title, names)
        for (severity, _, title), names in by_rule.items()
    ]


def _render_unknown(hosts: Sequence[HostResult]) -> list[Text]:
    """Return why hosts are unknown, which narrow tables have no column for."""
    by_reason: dict[str, list[str]] = {}
    for host in hosts:
        if host.readiness is Readiness.UNKNOWN:
            by_reason.setdefault(host.readiness_reason, []).append(host.target.host)
    lines = [_line("unknown", "yellow", reason, names) for reason, names in list(by_reason.items())[:MOST_REASONS]]
    if len(by_reason) > MOST_REASONS:
        lines.append(Text(f"and {len(by_reason) - MOST_REASONS} more reasons; --html, --json and --csv have all"))
    return lines


def _line(label: str, style: str, text: str, names: Sequence[str]) -> Text:
    hosts = list(dict.fromkeys(names))
    shown = ", ".join(clean_text(name, max_chars=60) for name in hosts[:5])
    more = f" and {len(hosts) - 5} more" if len(hosts) > 5 else ""
    line = Text(f"{label}: ", style=style)
    line.append(f"{clean_text(text, max_chars=160)} ({shown}{more})", style="default")
    return line
