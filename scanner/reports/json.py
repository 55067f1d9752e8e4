"""The JSON report (docs/json-report.md), as one object and as a line a host. Streamed: neither holds all hosts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from scanner.reports.objects import (
    SCHEMA,
    JsonObject,
    build_finding,
    build_host,
    build_report,
    build_run,
    build_summary,
    render_line,
)
from scanner.reports.source import ReportSource, entry_lines, finding_lines, host_lines

__all__ = [
    "SCHEMA",
    "JsonObject",
    "build_finding",
    "build_host",
    "build_report",
    "build_run",
    "build_summary",
    "join_jsonl",
    "render_json",
    "render_jsonl",
]


def render_json(source: ReportSource) -> Iterator[str]:
    """Yield the report as JSON text: a line for each host and each finding, ending in a newline."""
    # Not json's own indent: it is four times slower, and a host a line is what grep and diff can use.
    yield f'{{\n"schema": {SCHEMA},\n"run": {render_line(source.run)},\n"summary": {render_line(source.summary)},\n'
    yield '"hosts": '
    yield from _render_list(host_lines(source))
    yield ',\n"findings": '
    yield from _render_list(finding_lines(source))
    yield "\n}\n"


def render_jsonl(source: ReportSource) -> Iterator[str]:
    """Yield each host as a line of JSON: its object of the report, with its own findings as one more member."""
    for host, findings in entry_lines(source):
        yield join_jsonl(host, findings) + "\n"


def join_jsonl(host: str, findings: Sequence[str]) -> str:
    """Return the line, without its end, of a host object and its findings, each given as JSON text."""
    return f'{host[:-1]}, "findings": [{", ".join(findings)}]}}'


def _render_list(lines: Iterable[str]) -> Iterator[str]:
    start = "[\n"
    for line in lines:
        yield start + line
        start = ",\n"
    yield "[]" if start == "[\n" else "\n]"
