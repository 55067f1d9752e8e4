"""CSV: one row for each endpoint and version, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io

from scanner.model.evidence import State
from scanner.model.runs import RunResult
from scanner.model.verdicts import Verdict

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

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render_csv(result: RunResult) -> str:
    """Return the rows with a header (RFC 4180: CRLF, quotes doubled)."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for host in result.hosts:
        target = host.target
        common = (host.readiness.value, " ".join(target.tags))
        for endpoint in host.endpoints:
            for verdict in endpoint.verdicts:
                where = (endpoint.endpoint.address, endpoint.endpoint.port, endpoint.endpoint.server_name or "")
                writer.writerow(map(_cell, (target.host, target.role.value, *where, *_facts(verdict), *common)))
        if not host.endpoints:
            for verdict in host.verdicts:
                writer.writerow(map(_cell, (target.host, target.role.value, "", "", "", *_facts(verdict), *common)))
    return out.getvalue()


def _facts(verdict: Verdict) -> tuple[str, ...]:
    basis = max((item.basis for item in verdict.supporting), default=None)
    return (
        verdict.direction.value,
        verdict.version.label,
        verdict.state.value,
        "yes" if verdict.is_disputed else "no",
        basis.label if basis is not None else "",
        verdict.reason,
        verdict.gaps[0].reason.value if verdict.gaps and verdict.state is State.UNKNOWN else "",
    )


def _cell(value: object) -> object:
    """Keep spreadsheets from running what a peer sent: a text that begins like a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    # Lone surrogates have no UTF-8, and NUL ends the file for some readers.
    text = value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return "'" + text if text.startswith(_FORMULA_STARTS) else text
