"""The HTML report: one self-contained file for people (docs/report.md). Pure, but for reading our own templates."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from scanner.model.evidence import State
from scanner.model.verdicts import Readiness
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.html_data import (
    BASIS_WORDS,
    GAP_WORDS,
    READINESS_WORDS,
    ROLE_WORDS,
    SEVERITY_WORDS,
    TABLE_LIMIT,
    WAY_WORDS,
    make_readable,
)
from scanner.reports.html_index import SHOWN_NETWORKS, Networks, build_alike, iter_details, iter_index, maybe_networks
from scanner.reports.html_notices import build_notices, build_sweep_facts
from scanner.reports.html_table import HostTable
from scanner.reports.objects import JsonObject
from scanner.reports.source import ReportSource

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

CARD_LIMIT = 6
"""Most host names listed under each of the three figures."""
NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""


def render_html(source: ReportSource) -> Iterator[str]:
    """Yield the report as one HTML document, in chunks: no external request, everything from the network escaped.

    The source is read once, before the first chunk. Memory: some hundred bytes a host, and the distinct answers.
    """
    run = make_readable(source.run)
    summary = make_readable(source.summary)
    table = HostTable()
    for host, findings in source.entries():
        table.add(host, findings)
    table.finish()
    css = Markup(_read_template("report.css"))  # noqa: S704 - our own file, not data
    theme_js = Markup(_read_template("theme.js"))  # noqa: S704 - our own file, not data
    report_js = Markup(_read_template("report.js"))  # noqa: S704 - our own file, not data
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, when=_render_time, percent_of=_percent)
    worst_first = table.worst_first()
    networks = maybe_networks(table)
    alike, alike_left_out = build_alike(table)
    details, used, detail_count = table.details()
    stream = environment.get_template("report.html.j2").stream(
        csp="; ".join(
            (
                "default-src 'none'",
                f"style-src {_csp_hash(css)}",
                f"script-src {_csp_hash(theme_js)} {_csp_hash(report_js)}",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        css=css,
        theme_js=theme_js,
        report_js=report_js,
        run=run,
        duration=_render_duration(run["started_at"], run["finished_at"]),
        summary=summary,
        answer=_answer(summary),
        figures=_build_figures(summary, table, worst_first),
        notices=build_notices(run, summary, table.stopped_count),
        sweep=build_sweep_facts(summary),
        share=_build_parts({state: summary[state.replace("-", "_")] for state in ("not-ready", "unknown", "ready")}),
        disputes=[{**table.render_host(position), **found} for position, found in table.disputes.build()],
        dispute_count=table.disputes.host_count,
        has_files=table.file_count > 0,
        basis_words={key.label: word for key, word in BASIS_WORDS.items()},
        versions=_build_version_bars(summary["by_version"]),
        outbound_versions=_build_version_bars(summary["by_version_outbound"]) if summary["outbound_hosts"] else [],
        groups=table.groups.build(table.render_host),
        rows=[table.render_row(position) for position in worst_first[:TABLE_LIMIT]],
        outbound_rows=_build_outbound_rows(table, worst_first) if summary["outbound_hosts"] else [],
        table_limit=TABLE_LIMIT,
        tags=sorted({tag for kind in table.kinds for tag in kind.tags}),
        networks=_build_networks(networks),
        network_count=len(networks.rows) if networks else 0,
        alike=alike,
        alike_left_out=alike_left_out,
        detail_count=detail_count,
        readiness_words={key.value: word for key, word in READINESS_WORDS.items()},
        role_words={key.value: word for key, word in ROLE_WORDS.items()},
        severity_words={key.value: word for key, word in SEVERITY_WORDS.items()},
        way_words={key.value: word for key, word in WAY_WORDS.items()},
        gap_words={key.value: word for key, word in GAP_WORDS.items()},
        index_chunks=iter_index(table, networks, run),
        detail_chunks=iter_details(details),
        certificate_lines=table.certificates.iter_lines(used),
    )
    stream.enable_buffering(64)
    yield from stream


def _build_outbound_rows(table: HostTable, worst_first: Sequence[int]) -> list[JsonObject]:
    asked = (position for position in worst_first if table.kind(position).outbound)
    return [table.render_row(position) for position in islice(asked, TABLE_LIMIT)]


def _build_networks(networks: Networks | None) -> list[JsonObject]:
    return [
        {
            "name": name,
            "filter": quote(name, safe=""),
            "total": not_ready + unknown + ready,
            "parts": _build_parts({"not-ready": not_ready, "unknown": unknown, "ready": ready}),
        }
        for name, not_ready, unknown, ready in (networks.rows[:SHOWN_NETWORKS] if networks else ())
    ]


def _read_template(name: str) -> str:
    """Return a template's text, from the installed package or from a checkout beside it."""
    packaged: Traversable = importlib.resources.files("scanner") / "_templates"
    checkout = Path(__file__).resolve().parents[2] / "templates"
    for folder in (packaged, checkout):
        file = folder / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(
        f"report template {name!r} is neither in the installed package (scanner/_templates) nor in {checkout}: "
        "reinstall the package",
    )


def _csp_hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(part: int, whole: int) -> str:
    """Return a share for people: never 0 % for something, never 100 % for less than all."""
    if whole == 0:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1 %"
    if 99 < share < 100:
        return ">99 %"
    return f"{share:.0f} %"


def _render_time(text: str | None) -> str:
    return NOTHING if text is None else text.replace("T", " ").replace("Z", " UTC")


def _render_duration(started_at: str, finished_at: str | None) -> str:
    if finished_at is None:
        return "not finished"
    seconds = int((datetime.fromisoformat(finished_at) - datetime.fromisoformat(started_at)).total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _answer(summary: JsonObject) -> str:
    hosts = summary["hosts"]
    if hosts == 0:
        return "No host was seen, so nothing can be said about TLS 1.2."
    if hosts == 1:
        state = next(state for state in ("ready", "not_ready", "unknown") if summary[state])
        return {
            "ready": "The one host scanned is ready for TLS 1.2.",
            "not_ready": "The one host scanned is not ready for TLS 1.2.",
            "unknown": "Whether the one host scanned is ready for TLS 1.2 is unknown.",
        }[state]
    for state, words in (("ready", "are ready"), ("not_ready", "are not ready")):
        if summary[state] == hosts:
            return f"All {hosts:,} hosts {words} for TLS 1.2."
    if summary["unknown"] == hosts:
        return f"Whether the {hosts:,} hosts are ready for TLS 1.2 is unknown."
    ready, not_ready, unknown = summary["ready"], summary["not_ready"], summary["unknown"]
    return (
        f"Of {hosts:,} hosts, {ready:,} {'is' if ready == 1 else 'are'} ready for TLS 1.2, "
        f"{not_ready:,} {'is' if not_ready == 1 else 'are'} not, "
        f"and {unknown:,} {'is' if unknown == 1 else 'are'} unknown."
    )


def _build_figures(summary: JsonObject, table: HostTable, worst_first: Sequence[int]) -> list[JsonObject]:
    listed: dict[str, list[JsonObject]] = {readiness.value: [] for readiness in READINESS_WORDS}
    for position in worst_first:
        names = listed[table.kind(position).readiness]
        if len(names) < CARD_LIMIT:
            names.append(table.render_row(position))
    return [
        {
            "id": readiness.value,
            "words": words,
            "count": summary[readiness.value.replace("-", "_")],
            "hosts": listed[readiness.value],
            "has_reasons": readiness is not Readiness.READY,
        }
        for readiness, words in READINESS_WORDS.items()
    ]


def _build_version_bars(by_version: JsonObject) -> list[JsonObject]:
    return [
        {
            "label": version.label,
            "title": version.title,
            "parts": _build_parts({state.value: by_version[version.label][state.value] for state in State}),
        }
        for version in ALL_VERSIONS
    ]


def _build_parts(counts: Mapping[str, int]) -> list[JsonObject]:
    """Return the parts of a stacked bar, with place and width in per cent."""
    total = sum(counts.values())
    left = 0.0
    parts = []
    for state, count in counts.items():
        width = 100 * count / total if total else 0.0
        parts.append({"state": state, "count": count, "x": f"{left:.3f}", "w": f"{width:.3f}"})
        left += width
    return parts
