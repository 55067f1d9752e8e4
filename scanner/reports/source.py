"""What every report is made of: the run, its summary, and its hosts one after another, never all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from scanner.model.runs import HostResult, RunResult
from scanner.model.verdicts import Finding
from scanner.reports.json import JsonObject, build_finding, build_host, build_run, build_summary


class ReportSource(Protocol):
    """A judged run, in the objects of the JSON report (docs/json-report.md)."""

    @property
    def run(self) -> JsonObject:
        """The ``run`` member."""

    @property
    def summary(self) -> JsonObject:
        """The ``summary`` member."""

    def entries(self) -> Iterator[tuple[JsonObject, list[JsonObject]]]:
        """Yield each host object with its own findings, in the order of the targets; may be called again."""


@runtime_checkable
class LineSource(ReportSource, Protocol):
    """A source that has its objects as JSON text already, one line each."""

    def iter_lines(self) -> Iterator[str]:
        """Yield each host object as one line of JSON without its end, in the order of the targets."""

    def iter_finding_lines(self) -> Iterator[str]:
        """Yield each finding as one line of JSON without its end, worst first."""


def source_of(result: RunResult) -> ReportSource:
    """Return a result that is in memory as a source of reports."""
    return _ResultSource(result)


class _ResultSource:
    def __init__(self, result: RunResult) -> None:
        self.run = build_run(result.run, result.policy_version, result.policy_title)
        self.summary = build_summary(result)
        self._hosts = result.hosts
        self._findings = _findings_by_host(result)

    def entries(self) -> Iterator[tuple[JsonObject, list[JsonObject]]]:
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
    """Return what observations of the host may speak for: by docs/json-report.md, each locator with its server name."""
    endpoints = [item.endpoint for item in host.endpoints]
    return {each.locator if each.server_name is None else f"{each.locator} as {each.server_name}" for each in endpoints}
