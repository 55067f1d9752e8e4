"""What every report is made of: the run, its summary, and its hosts one after another, never all of them at once."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from scanner.model.runs import HostResult, RunResult
from scanner.model.subjects import Direction
from scanner.model.verdicts import Finding, Readiness, Severity
from scanner.reports.disputes import find_disputes
from scanner.reports.objects import (
    JsonObject,
    build_finding,
    build_host,
    build_run,
    build_summary,
    render_line,
)

Entry = tuple[JsonObject, list[JsonObject]]
"""A host object, and those of its own findings, worst first."""

WORST_FIRST = (Readiness.NOT_READY, Readiness.UNKNOWN, Readiness.READY)
"""The order in which hosts want attention."""

_RANKS = {readiness.value: rank for rank, readiness in enumerate(WORST_FIRST)}


class ReportSource(Protocol):
    """A judged run, in the objects of the JSON report (docs/json-report.md)."""

    @property
    def run(self) -> JsonObject:
        """The ``run`` member."""

    @property
    def summary(self) -> JsonObject:
        """The ``summary`` member."""

    def entries(self) -> Iterator[Entry]:
        """Yield each host object with its own findings, in the order of the targets; may be called again."""


@runtime_checkable
class LineSource(ReportSource, Protocol):
    """A source that has its objects as lines of JSON (without their ends) already, and need not read them to sort."""

    def iter_lines(self) -> Iterator[str]:
        """Yield each host object, in the order of the targets."""

    def iter_entry_lines(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each host object with its own findings, in the order of the targets."""

    def iter_finding_lines(self) -> Iterator[str]:
        """Yield all findings, worst first, then in the order of the targets."""

    def iter_worst(self) -> Iterator[Entry]:
        """Yield the entries by WORST_FIRST, then in the order of the targets."""

    def iter_outbound(self) -> Iterator[Entry]:
        """Yield the entries whose outbound side is known of, by WORST_FIRST, then in the order of the targets."""

    def is_disputed(self) -> bool:
        """Return whether any host's merged verdict is disputed."""


def source_of(result: RunResult) -> ReportSource:
    """Return a result that is in memory as a source of reports."""
    return _ResultSource(result)


def host_lines(source: ReportSource) -> Iterator[str]:
    """Yield what LineSource.iter_lines does, from any source."""
    if isinstance(source, LineSource):
        return source.iter_lines()
    return (render_line(host) for host, _ in source.entries())


def entry_lines(source: ReportSource) -> Iterator[tuple[str, list[str]]]:
    """Yield what LineSource.iter_entry_lines does, from any source."""
    if isinstance(source, LineSource):
        return source.iter_entry_lines()
    return ((render_line(host), [render_line(finding) for finding in own]) for host, own in source.entries())


def finding_lines(source: ReportSource) -> Iterator[str]:
    """Yield what LineSource.iter_finding_lines does, from any source."""
    if isinstance(source, LineSource):
        return source.iter_finding_lines()
    return (
        render_line(finding)
        for severity in Severity
        for _, own in source.entries()
        for finding in own
        if finding["severity"] == severity.value
    )


def worst_entries(source: ReportSource, count: int) -> list[Entry]:
    """Return the count hosts that want attention most, with their findings, from any source."""
    if isinstance(source, LineSource):
        return [entry for _, entry in zip(range(count), source.iter_worst(), strict=False)]
    return heapq.nsmallest(count, source.entries(), key=lambda entry: _RANKS[entry[0]["readiness"]])


def outbound_entries(source: ReportSource, count: int) -> list[Entry]:
    """Return the count hosts that want attention most of those whose outbound side was asked about or is declared."""
    if not source.summary["outbound_hosts"]:
        return []
    if isinstance(source, LineSource):
        return [entry for _, entry in zip(range(count), source.iter_outbound(), strict=False)]
    asked = (entry for entry in source.entries() if has_outbound(entry[0]))
    return heapq.nsmallest(count, asked, key=lambda entry: _RANKS[entry[0]["readiness"]])


def has_outbound(host: JsonObject) -> bool:
    """Whether anything tells what the host uses as a client: it was measured, or a file declares it."""
    return any(verdict["direction"] == Direction.OUTBOUND.value for verdict in host["verdicts"])


def declared_legs(host: JsonObject, direction: Direction) -> Iterator[tuple[JsonObject, JsonObject]]:
    """Yield (file, leg) of what files declare in one direction."""
    return ((file, leg) for file in host["declared"] for leg in file["legs"] if leg["direction"] == direction.value)


def has_dispute(source: ReportSource) -> bool:
    """Return what LineSource.is_disputed does, for any source."""
    if isinstance(source, LineSource):
        return source.is_disputed()
    return any(verdict["disputed"] for host, _ in source.entries() for verdict in host["verdicts"])


def worst_disputes(source: ReportSource, count: int) -> tuple[list[JsonObject], int]:
    """Return the count hosts that want attention most of those where a file and the wire disagree, and how many do."""
    # Most hosts have no file: their lines, of which it is the last member, are not read.
    lines = (line for line in host_lines(source) if not line.endswith('"declared": []}'))
    kept: list[JsonObject] = []
    found = 0
    for host in map(json.loads, lines):
        if find_disputes(host):
            found += 1
            kept.append(host)
            if len(kept) > 4 * count:
                kept = heapq.nsmallest(count, kept, key=_rank)
    return heapq.nsmallest(count, kept, key=_rank), found


def _rank(host: JsonObject) -> int:
    return _RANKS[host["readiness"]]


class _ResultSource:
    def __init__(self, result: RunResult) -> None:
        self.run = build_run(result.run, result.policy_version, result.policy_title)
        self.summary = build_summary(result)
        self._hosts = result.hosts
        self._findings = _findings_by_host(result)

    def entries(self) -> Iterator[Entry]:
        for at, host in enumerate(self._hosts):
            yield build_host(host), [build_finding(finding) for finding in self._findings.get(at, ())]


def _findings_by_host(result: RunResult) -> dict[int, list[Finding]]:
    """Return each host's own findings by the host's place in the result."""
    places: dict[str, list[int]] = {}
    for at, host in enumerate(result.hosts):
        places.setdefault(host.target.host, []).append(at)
    own: dict[int, list[Finding]] = {}
    for finding in result.findings:
        of_name = places.get(finding.host, [])
        # A name may be there twice, with other ports or another server name: the scopes tell which one is meant.
        fitting = [at for at in of_name if set(finding.scopes) <= _scopes(result.hosts[at])] if len(of_name) > 1 else []
        for at in (fitting or of_name)[:1]:
            own.setdefault(at, []).append(finding)
    return own


def _scopes(host: HostResult) -> set[str]:
    """Return what observations of the host may speak for: each locator with its server name, its clients, its files."""
    endpoints = [item.endpoint for item in host.endpoints]
    return {
        *(each.locator if each.server_name is None else f"{each.locator} as {each.server_name}" for each in endpoints),
        *(client.scope for client in host.outbound),
        *(leg.scope for each in host.declared for leg in each.legs),
    }
