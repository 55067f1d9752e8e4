"""CSV: one row for each endpoint and version, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from scanner.model.evidence import Basis, State
from scanner.reports.objects import JsonObject
from scanner.reports.source import ReportSource

COLUMNS = (
    "host",
    "role",
    "address",
    "port",
    "server_name",
    "direction",
    "version",
    "state",
    "disputed",
    "basis",
    "reason",
    "gap",
    "readiness",
    "tags",
)

_BASES = {basis.label: basis for basis in Basis}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render_csv(source: ReportSource) -> Iterator[str]:
    """Yield the header and the rows of each host (RFC 4180: CRLF, quotes doubled)."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for host, _ in source.entries():
        common = (host["readiness"], " ".join(host["tags"]))
        for where, verdicts in _places(host):
            for verdict in verdicts:
                writer.writerow(map(_cell, (host["name"], host["role"], *where, *_facts(verdict), *common)))
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _places(host: JsonObject) -> Iterator[tuple[tuple[object, ...], list[JsonObject]]]:
    """Yield (address, port, server name) and verdicts of each endpoint; of the host where it has none."""
    for each in host["endpoints"]:
        yield (each["address"], each["port"], each["server_name"] or ""), each["verdicts"]
    if not host["endpoints"]:
        yield ("", "", ""), host["verdicts"]


def _facts(verdict: JsonObject) -> tuple[str, ...]:
    basis = max((_BASES[item["basis"]] for item in verdict["evidence"]), default=None)
    is_unknown = verdict["state"] == State.UNKNOWN.value
    return (
        verdict["direction"],
        verdict["version"],
        verdict["state"],
        "yes" if verdict["disputed"] else "no",
        basis.label if basis is not None else "",
        verdict["reason"],
        verdict["gaps"][0]["reason"] if verdict["gaps"] and is_unknown else "",
    )


def _cell(value: object) -> object:
    """Keep spreadsheets from running what a peer sent: a text that begins like a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    # Lone surrogates have no UTF-8, and NUL ends the file for some readers.
    text = value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return "'" + text if text.startswith(_FORMULA_STARTS) else text
