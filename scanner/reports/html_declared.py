"""What files declare, in the HTML report: the disputes that lead it, and bounds for the details. Pure."""

from __future__ import annotations

from typing import Any

from scanner.reports.disputes import find_disputes, pending_restart
from scanner.reports.html_data import make_readable
from scanner.reports.objects import JsonObject

DISPUTE_LIMIT = 50
"""Most hosts with a dispute that lead the report; the others are counted."""
PLACES_LIMIT = 5
"""Most places of one of these hosts; its details have all."""
LEGS_LIMIT = 100
"""Most legs of a file in a host's details; the JSON report has all."""
EVIDENCE_LIMIT = 60
"""Most pieces of evidence on one side of a verdict, of a host that has files."""


class DisputeList:
    """The hosts where declaration and measurement disagree, collected while they pass. Memory: DISPUTE_LIMIT hosts."""

    def __init__(self) -> None:
        self.host_count = 0
        self._kept: list[tuple[tuple[int, ...], int, JsonObject]] = []

    def add(self, position: int, rank: tuple[int, ...], host: JsonObject) -> None:
        """Take a host. rank: the worst first; position: as in HostTable, decides among equals."""
        places = find_disputes(host)
        if not places:
            return
        self.host_count += 1
        found = {
            "pending": pending_restart(host),
            "readiness": host["readiness"],
            "places": places[:PLACES_LIMIT],
            "left_out": max(0, len(places) - PLACES_LIMIT),
        }
        self._kept.append((rank, position, make_readable(found)))
        if len(self._kept) >= 4 * DISPUTE_LIMIT:
            self._cut()

    def build(self) -> list[tuple[int, JsonObject]]:
        """Return the positions of the worst, worst first, with what the template shows of each."""
        self._cut()
        return [(position, found) for _, position, found in self._kept]

    def _cut(self) -> None:
        self._kept.sort(key=lambda kept: kept[:2])
        del self._kept[DISPUTE_LIMIT:]


def bound_declared(host: JsonObject) -> JsonObject:
    """Return a host object with no more legs and evidence than a reader can look through; the same one without files.

    A file then has ``left_out``, its further legs, and a verdict ``left_out``, its further pieces of evidence.
    """
    if not host["declared"]:
        return host
    declared = [
        {**file, "legs": file["legs"][:LEGS_LIMIT], "left_out": max(0, len(file["legs"]) - LEGS_LIMIT)}
        for file in host["declared"]
    ]
    return {**host, "declared": declared, "verdicts": [_bound_evidence(verdict) for verdict in host["verdicts"]]}


def _bound_evidence(verdict: JsonObject) -> JsonObject:
    sides: dict[str, list[Any]] = {name: verdict[name] for name in ("evidence", "opposing", "gaps")}
    left_out = sum(max(0, len(items) - EVIDENCE_LIMIT) for items in sides.values())
    if not left_out:
        return verdict
    return {**verdict, **{name: items[:EVIDENCE_LIMIT] for name, items in sides.items()}, "left_out": left_out}
