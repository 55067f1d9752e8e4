"""CSV: a row for each version of an endpoint, a client, or what a file alone declares; for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from scanner.model.evidence import Basis, State
from scanner.model.subjects import Direction
from scanner.reports.disputes import render_origin
from scanner.reports.objects import JsonObject
from scanner.reports.source import ReportSource, declared_legs

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
    "method",
    "scope",
    "path",
    "path_kind",
)

_INBOUND = Direction.INBOUND.value
_BASES = {basis.label: basis for basis in Basis}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render_csv(source: ReportSource) -> Iterator[str]:
    """Yield the header and the rows of each host (RFC 4180: CRLF, quotes doubled)."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for host, _ in source.entries():
        common = (host["readiness"], " ".join(host["tags"]))
        for where, verdicts, way in _places(host):
            for verdict in verdicts:
                writer.writerow(map(_cell, (host["name"], host["role"], *where, *_facts(verdict), *common, *way)))
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _places(host: JsonObject) -> Iterator[tuple[tuple[object, ...], list[JsonObject], tuple[str, ...]]]:
    """Yield (address, port, server name), verdicts, and (method, scope, path, path kind).

    Of each endpoint; of inbound legs that files declare and that were not measured; of the host where it has none of
    both; then of each client, and of outbound legs.
    """
    paths = {(path["via"], path["destination"], path["server_name"]): path for path in host["paths"]}
    to_listener = {(path["via"], path["destination"]): path for path in host["paths"] if path["is_listener"]}
    clients = {f"{via} to {destination}": path for (via, destination), path in to_listener.items()}
    for each in host["endpoints"]:
        via = each["locator"].partition(" -> ")[0]
        to = each["destination"]
        # The names that lead to the listener change from question to question.
        way = to and (paths.get((via, to, each["server_name"])) or to_listener.get((via, to)))
        where = (each["address"], each["port"], each["server_name"] or "")
        yield where, each["verdicts"], ("", "", to or "", way["kind"] if way else "")
    inbound = list(_declared(host, Direction.INBOUND))
    yield from inbound
    if not host["endpoints"] and not inbound:
        yield ("", "", ""), [item for item in host["verdicts"] if item["direction"] == _INBOUND], ("", "", "", "")
    for client in host["outbound"]:
        way = clients.get(client["scope"])
        led = (way["destination"], way["kind"]) if way else ("", "")
        yield ("", "", ""), client["verdicts"], (client["method"], client["scope"], *led)
    yield from _declared(host, Direction.OUTBOUND)


def _declared(
    host: JsonObject, direction: Direction
) -> Iterator[tuple[tuple[object, ...], list[JsonObject], tuple[str, ...]]]:
    """Yield as _places what files alone say; see scanner.declared.voting_scopes for what counts."""
    own = [
        (file, leg)
        for file, leg in declared_legs(host, direction)
        if not leg["measured_scopes"] and not leg["is_management"]
    ]
    is_settled = bool(host["endpoints"] if direction is Direction.INBOUND else host["outbound"])
    is_settled = is_settled or any(not leg["is_permission"] for _, leg in own)
    for file, leg in own:
        settings = leg["settings"]
        if leg["is_permission"] and is_settled:
            # What programs may use says nothing beside what one uses; what they may not does.
            settings = [setting for setting in settings if setting["state"] == State.DISABLED.value]
        verdicts = [_as_verdict(setting, leg, file) for setting in settings]
        names = " ".join(leg["server_names"])
        for listen in leg["listens"] or [{"address": None, "port": None}]:
            where = ("" if listen["address"] is None else listen["address"], listen["port"] or "", names)
            yield where, verdicts, ("", leg["scope"], "", "")


def _as_verdict(setting: JsonObject, leg: JsonObject, file: JsonObject) -> JsonObject:
    gap = setting["gap"]
    return {
        "direction": leg["direction"],
        "version": setting["version"],
        "state": setting["state"],
        "disputed": False,
        "reason": f"{setting['reason']} ({render_origin(setting, file)})",
        "evidence": [] if gap else [{"basis": setting["basis"]}],
        "gaps": [{"reason": gap}] if gap else [],
    }


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
