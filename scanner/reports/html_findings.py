"""Findings by rule and wording, counted while the hosts pass. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from scanner.model.versions import ALL_VERSIONS
from scanner.reports.html_data import SEVERITIES
from scanner.reports.objects import JsonObject

GROUP_LIMIT = 60
"""Most host names listed under a finding, and most wordings; all hosts are one click away in the table."""
WORDING_LIMIT = 1_000
"""Most wordings of one rule that are told apart: advice depends on role and product, not on the host."""
_SAID = ("severity", "rule", "title", "advice", "citations", "versions")


@dataclass(slots=True)
class Wording:
    """One title, advice and sources, and the hosts that have it."""

    finding: JsonObject
    """The first of them."""
    host_count: int = 0
    """How many hosts have it."""
    positions: list[int] = field(default_factory=list)
    """The first hosts' positions."""


@dataclass(slots=True)
class Rule:
    """All findings of one rule and severity."""

    severity: str
    rule: str
    wordings: dict[str, Wording] = field(default_factory=dict)
    titles: Counter[str] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    host_count: int = 0
    left_out_count: int = 0
    """Wordings that were not kept."""


@dataclass(slots=True)
class FindingSet:
    """What hosts that answered alike have in common: their findings. Counted once for all of them, at the end."""

    rules: list[Rule]
    titles: list[tuple[Rule, str]]
    wordings: list[Wording]
    host_count: int = 0

    def add(self, position: int) -> None:
        """Count the host at that position."""
        self.host_count += 1
        for wording in self.wordings:
            if len(wording.positions) < GROUP_LIMIT:
                wording.positions.append(position)


class FindingGroups:
    """Findings by rule."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Rule] = {}
        self._sets: dict[str, FindingSet] = {}

    def plan(self, findings: Sequence[JsonObject]) -> FindingSet:
        """Return where hosts with these (readable) findings are counted."""
        said = json.dumps([[finding[member] for member in _SAID] for finding in findings])
        known = self._sets.get(said)
        if known is not None:
            return known
        rules: dict[int, Rule] = {}
        wordings: dict[int, Wording] = {}
        titles = []
        for finding in findings:
            key = (finding["severity"], finding["rule"])
            rule = self._rules.setdefault(key, Rule(*key))
            rules[id(rule)] = rule
            titles.append((rule, finding["title"]))
            rule.versions.update(finding["versions"])
            text = json.dumps([finding["title"], finding["advice"], finding["citations"]])
            wording = rule.wordings.get(text)
            if wording is None:
                if len(rule.wordings) >= WORDING_LIMIT:
                    rule.left_out_count += 1
                    continue
                wording = rule.wordings[text] = Wording(finding)
            wordings[id(wording)] = wording
        planned = self._sets[said] = FindingSet([*rules.values()], titles, [*wordings.values()])
        return planned

    def build(self, render_host: Callable[[int], JsonObject]) -> list[JsonObject]:
        """Return the groups, worst first, within a severity those that concern most hosts first. Call it once.

        ``render_host`` gives from a position what the template shows of a host.
        """
        for planned in self._sets.values():
            for rule in planned.rules:
                rule.host_count += planned.host_count
            for rule, title in planned.titles:
                rule.titles[title] += planned.host_count
            for wording in planned.wordings:
                wording.host_count += planned.host_count
        groups = [_build_group(rule, render_host) for rule in self._rules.values()]
        groups.sort(key=lambda group: (SEVERITIES.index(group["severity"]), -group["host_count"], group["rule"]))
        return groups


def _build_group(rule: Rule, render_host: Callable[[int], JsonObject]) -> JsonObject:
    (title, title_count) = rule.titles.most_common(1)[0]
    wordings: list[Wording] = sorted(rule.wordings.values(), key=lambda wording: wording.host_count, reverse=True)
    shown: list[dict[str, Any]] = [
        {
            "title": wording.finding["title"],
            "advice": wording.finding["advice"],
            "citations": wording.finding["citations"],
            "hosts": [render_host(position) for position in wording.positions],
            "host_count": wording.host_count,
        }
        for wording in wordings[:GROUP_LIMIT]
    ]
    return {
        "id": f"finding-{quote(rule.rule, safe='')}-{rule.severity}",
        "rule": rule.rule,
        "filter": quote(rule.rule, safe=""),
        "severity": rule.severity,
        "title": title,
        "has_one_title": title_count == rule.titles.total(),
        "versions": [version.title for version in ALL_VERSIONS if version.label in rule.versions],
        "host_count": rule.host_count,
        "left_out": max(0, len(wordings) - GROUP_LIMIT) + rule.left_out_count,
        "wordings": shown,
    }
