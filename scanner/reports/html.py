"""The HTML report: one self-contained file for people (docs/report.md). Pure, but for reading our own templates."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from scanner.model.evidence import State
from scanner.model.runs import RunResult
from scanner.model.verdicts import Readiness
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.html_data import (
    GAP_WORDS,
    READINESS_WORDS,
    ROLE_WORDS,
    SEVERITIES,
    SEVERITY_WORDS,
    TABLE_LIMIT,
    build_index,
    build_rows,
    encode_nodes,
    https_or_nothing,
    make_readable,
    render_data_island,
)
from scanner.reports.json import JsonObject, build_report

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

CARD_LIMIT = 6
"""Most host names listed under each of the three figures."""
GROUP_LIMIT = 60
"""Most host names listed under a finding; the others are one click away in the table."""
NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""


def render_html(result: RunResult) -> str:
    """Return the report as one HTML document: no external request, everything from the network escaped."""
    return render_report(build_report(result))


def render_report(report: JsonObject) -> str:
    """Return the HTML document for a report in the shape of scanner.reports.json.build_report."""
    report = make_readable(report)
    hosts: list[JsonObject] = report["hosts"]
    findings: list[JsonObject] = report["findings"]
    by_host: dict[str, list[JsonObject]] = {}
    for finding in findings:
        for citation in finding["citations"]:
            citation["url"] = https_or_nothing(citation["url"])
        by_host.setdefault(finding["host"], []).append(finding)
    rows = build_rows(hosts, by_host)
    worst_first = sorted(rows, key=lambda row: row["rank"])
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
    return environment.get_template("report.html.j2").render(
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
        run=report["run"],
        duration=_render_duration(report["run"]["started_at"], report["run"]["finished_at"]),
        summary=report["summary"],
        answer=_answer(report["summary"]),
        figures=_build_figures(report["summary"], worst_first),
        notices=_build_notices(report, hosts),
        share=_build_parts(
            {state: report["summary"][state.replace("-", "_")] for state in ("not-ready", "unknown", "ready")}
        ),
        versions=_build_version_bars(report["summary"]["by_version"]),
        groups=_group_findings(findings, {row["name"]: row["anchor"] for row in rows}),
        rows=worst_first[:TABLE_LIMIT],
        table_limit=TABLE_LIMIT,
        tags=sorted({tag for host in hosts for tag in host["tags"]}),
        readiness_words={key.value: word for key, word in READINESS_WORDS.items()},
        role_words={key.value: word for key, word in ROLE_WORDS.items()},
        severity_words={key.value: word for key, word in SEVERITY_WORDS.items()},
        gap_words={key.value: word for key, word in GAP_WORDS.items()},
        index_json=render_data_island(build_index(report, rows)),
        detail_json=render_data_island(
            encode_nodes([{"host": host, "findings": by_host.get(host["name"], [])} for host in hosts])
        ),
    )


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


def _build_figures(summary: JsonObject, worst_first: Sequence[JsonObject]) -> list[JsonObject]:
    figures = []
    for readiness, words in READINESS_WORDS.items():
        count = summary[readiness.value.replace("-", "_")]
        listed = [row for row in worst_first if row["readiness"] == readiness.value]
        figures.append(
            {
                "id": readiness.value,
                "words": words,
                "count": count,
                "hosts": listed[:CARD_LIMIT],
                "has_reasons": readiness is not Readiness.READY,
            }
        )
    return figures


def _build_notices(report: JsonObject, hosts: Sequence[JsonObject]) -> list[JsonObject]:
    """Return what a reader must know before trusting the figures."""
    notices = []
    if not report["run"]["is_complete"]:
        notices.append(
            {
                "title": "This run is not complete.",
                "text": "It was interrupted before all questions were put. What was learned until then is shown; hosts "
                "that were not reached are missing or unknown.",
            }
        )
    states = report["summary"]["by_version"].values()
    if not hosts:
        notices.append({"title": "This run saw no host.", "text": "An empty report is not a good result."})
    elif not any(counts["enabled"] or counts["disabled"] for counts in states):
        notices.append(
            {
                "title": "This run learned nothing.",
                "text": "No host gave an answer that settles any version. See the reasons below.",
            }
        )
    stopped = sum(1 for host in hosts if host["stopped"])
    if stopped:
        notices.append(
            {
                "title": f"{stopped:,} {'host was' if stopped == 1 else 'hosts were'} not asked everything.",
                "text": "The time ran out or the run was interrupted; what was not asked is shown as unknown.",
            }
        )
    return notices


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


def _group_findings(findings: Sequence[JsonObject], anchors: Mapping[str, str]) -> list[JsonObject]:
    """Return findings by rule, worst first, within a severity those that concern most hosts first."""
    rules: dict[tuple[str, str], list[JsonObject]] = {}
    for finding in findings:
        rules.setdefault((finding["severity"], finding["rule"]), []).append(finding)
    groups = []
    for (severity, rule), members in rules.items():
        # Advice depends on role and product, so one rule may come in several wordings.
        wordings: dict[str, list[JsonObject]] = {}
        for member in members:
            wordings.setdefault(json.dumps([member["title"], member["advice"], member["citations"]]), []).append(member)
        names = {member["host"] for member in members}
        (title, title_count) = Counter(member["title"] for member in members).most_common(1)[0]
        shown = sorted(wordings.values(), key=len, reverse=True)
        groups.append(
            {
                "id": f"finding-{quote(rule, safe='')}-{severity}",
                "rule": rule,
                "filter": quote(rule, safe=""),
                "severity": severity,
                "title": title,
                "has_one_title": title_count == len(members),
                "versions": [
                    version.title
                    for version in ALL_VERSIONS
                    if any(version.label in item["versions"] for item in members)
                ],
                "host_count": len(names),
                "left_out": max(0, len(shown) - GROUP_LIMIT),
                "wordings": [
                    {
                        "title": same[0]["title"],
                        "advice": same[0]["advice"],
                        "citations": same[0]["citations"],
                        "hosts": [
                            {"name": name, "anchor": anchors.get(name, "")}
                            for name in list(dict.fromkeys(member["host"] for member in same))[:GROUP_LIMIT]
                        ],
                        "host_count": len({member["host"] for member in same}),
                    }
                    for same in shown[:GROUP_LIMIT]
                ],
            }
        )
    groups.sort(key=lambda group: (SEVERITIES.index(group["severity"]), -group["host_count"], group["rule"]))
    return groups
