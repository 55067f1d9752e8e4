"""What the HTML report shows, made from the JSON report: readable, bounded and small. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from markupsafe import Markup

from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction, Role
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.json import JsonObject

TEXT_LIMIT = 1_000
"""Most characters of one text in the report; a peer may send any number. The JSON report has all of them."""
NAMES_LIMIT = 100
"""Most names of one certificate in the report."""
TABLE_LIMIT = 500
"""Most rows of the table that is there without JavaScript, and of the printed one."""
READINESS_WORDS = {
    Readiness.NOT_READY: "Not ready",
    Readiness.UNKNOWN: "Unknown",
    Readiness.READY: "Ready",
}
"""The policy's answer in words, worst first."""
STATE_WORDS = {State.ENABLED: "enabled", State.DISABLED: "disabled", State.UNKNOWN: "unknown"}
SEVERITY_WORDS = {Severity.FAILURE: "Failure", Severity.WARNING: "Warning", Severity.INFO: "Note"}
ROLE_WORDS = {
    Role.ENDPOINT: "Registration endpoint",
    Role.ADFS: "AD FS",
    Role.PROXY: "Forward proxy",
    Role.REVERSE_PROXY: "Reverse proxy",
    Role.SERVER: "Server",
}
BASIS_WORDS = {
    Basis.HANDSHAKE: "full handshake",
    Basis.HELLO: "hello exchange",
    Basis.LOGGED: "log entry",
    Basis.DECLARED: "configuration",
    Basis.ASSUMED: "assumption",
}
"""What a fact rests on, in words, strongest first."""
GAP_WORDS = {
    GapReason.NAME_NOT_RESOLVED: "The name could not be resolved",
    GapReason.REFUSED: "Nothing listens on the port",
    GapReason.UNREACHABLE: "The network says the host can't be reached",
    GapReason.NO_ANSWER: "No answer to the connection attempt",
    GapReason.SILENT: "Connected, but the hello was not answered",
    GapReason.NOT_TLS: "The peer speaks something other than TLS",
    GapReason.AMBIGUOUS: "Refused in a way that may have other causes than the version",
    GapReason.INCONSISTENT: "The same question got different answers",
    GapReason.UNSTABLE: "A question answered before was not answered again (rate limit, IDS or failing host)",
    GapReason.NO_CONTROL: "No hello succeeded, so a refusal of one version can't be told from a refusal of everything",
    GapReason.NAME_REFUSED: "The peer seems to refuse the server name, which says nothing about versions",
    GapReason.ODD_REPLY: "An answer that no TLS server may give",
    GapReason.LOCAL_FAILURE: "The scanning machine could not ask",
    GapReason.OUT_OF_TIME: "The time allowed for the host ran out",
    GapReason.INTERRUPTED: "The run was interrupted before the question was put",
    GapReason.NOT_ASKED: "The question was not put",
}
"""Why something is not known, in words."""
STOPPED_WORDS = {
    "interrupted": "The run was interrupted before all questions were put to this host.",
    "out-of-time": "The time allowed for this host ran out before all questions were put.",
}

SEVERITIES = [severity.value for severity in Severity]
_READINESS_ORDER = [readiness.value for readiness in READINESS_WORDS]
_ROLES = [role.value for role in Role]
# What a reader can't see, or what makes a reader see something else: controls but tab and newline, format characters
# (the right-to-left override above all), line separators, surrogates (which UTF-8 can't even hold), unassigned.
_DECEPTIVE = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_PLAIN = re.compile(r"[\t\n\x20-\x7e]*\Z")


def encode_nodes(roots: Iterable[Any]) -> JsonObject:
    """Return JSON values as a table in which each distinct value stands once: ``{"shapes", "nodes", "roots"}``.

    A node is a scalar as it is; ``[-1, node...]`` for a list; ``[shape, node...]`` for an object, whose member names
    are ``shapes[shape]``. Roots are node numbers. Reports repeat themselves so much that this is a tenth of the size.
    """
    shapes: dict[tuple[str, ...], int] = {}
    places: dict[Any, int] = {}
    nodes: list[Any] = []

    def place(value: Any) -> int:
        node: Any
        key: Any
        if isinstance(value, Mapping):
            shape = shapes.setdefault(tuple(value), len(shapes))
            node = [shape, *map(place, value.values())]
            key = tuple(node)
        elif isinstance(value, list):
            node = [-1, *map(place, value)]
            key = tuple(node)
        else:
            node = value
            key = value if isinstance(value, str) else (type(value), repr(value))  # 1, 1.0, True are not the same JSON
        known = places.get(key)
        if known is None:
            known = places[key] = len(nodes)
            nodes.append(node)
        return known

    numbers = [place(root) for root in roots]
    return {"shapes": [list(shape) for shape in shapes], "nodes": nodes, "roots": numbers}


def render_data_island(data: Any) -> Markup:
    """Return JSON that can stand inside a script element whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing is left in it that HTML could read as markup


def make_readable(report: JsonObject) -> JsonObject:
    """Return a copy in which every text shows what it holds, is bounded, and has times cut to the second."""
    cleaned: dict[str, str] = {}

    def clean(text: str) -> str:
        known = cleaned.get(text)
        if known is None:
            known = cleaned[text] = _clean_text(text)
        return known

    def walk(value: Any, member: str) -> Any:
        if isinstance(value, str):
            return _cut_to_second(value) if member.endswith("_at") else clean(value)
        if isinstance(value, dict):
            return {clean(key): walk(item, key) for key, item in value.items()}
        if isinstance(value, list):
            items = [walk(item, member) for item in value[:NAMES_LIMIT]] if member == "names" else None
            if items is None:
                return [walk(item, member) for item in value]
            left_out = len(value) - len(items)
            return [*items, f"and {left_out:,} more"] if left_out else items
        return value

    readable: JsonObject = walk(report, "")
    return readable


def _clean_text(text: str) -> str:
    count = len(text)
    if count > TEXT_LIMIT:
        text = text[:TEXT_LIMIT]
    if not _PLAIN.match(text):
        text = "".join(_show_character(character) for character in text)
    return f"{text}… ({count:,} characters in all)" if count > TEXT_LIMIT else text


def _show_character(character: str) -> str:
    if character in "\t\n" or unicodedata.category(character) not in _DECEPTIVE:
        return character
    return f"⟨U+{ord(character):04X}⟩"


def _cut_to_second(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def https_or_nothing(url: str) -> str:
    """Return url if it is an https address, else an empty text: nothing else may become a link."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if url.startswith("https://") and parts.netloc else ""


def build_rows(hosts: Sequence[JsonObject], by_host: Mapping[str, Sequence[JsonObject]]) -> list[JsonObject]:
    """Return one row of the matrix a host, in the order of the hosts, with its place in both sort orders."""
    rows = []
    taken: Counter[str] = Counter()
    for host in hosts:
        findings = by_host.get(host["name"], ())
        taken[host["name"]] += 1
        again = taken[host["name"]]
        anchor = quote(host["name"] if again == 1 else f"{host['name']}~{again}", safe="")
        inbound = {item["version"]: item for item in host["verdicts"] if item["direction"] == Direction.INBOUND.value}
        cells = []
        for version in ALL_VERSIONS:
            verdict = inbound.get(version.label)
            severities = [finding["severity"] for finding in findings if version.label in finding["versions"]]
            cells.append(
                {
                    "version": version.title,
                    "state": verdict["state"] if verdict else State.UNKNOWN.value,
                    "is_disputed": bool(verdict and verdict["disputed"]),
                    "severity": min(severities, key=SEVERITIES.index) if severities else "",
                }
            )
        counts = Counter(finding["severity"] for finding in findings)
        rows.append(
            {
                "name": host["name"],
                "anchor": anchor,
                "role": host["role"],
                "readiness": host["readiness"],
                "reason": host["readiness_reason"],
                "cells": cells,
                "counts": [counts[severity] for severity in SEVERITIES],
                "host": host,
                "rules": sorted({finding["rule"] for finding in findings}),
            }
        )
    by_name = sorted(range(len(rows)), key=lambda number: _natural_key(rows[number]["name"]))
    for place, number in enumerate(by_name):
        rows[number]["name_rank"] = place
    worst = sorted(
        range(len(rows)),
        key=lambda number: (
            _READINESS_ORDER.index(rows[number]["readiness"]),
            *(-count for count in rows[number]["counts"]),
            rows[number]["name_rank"],
        ),
    )
    for place, number in enumerate(worst):
        rows[number]["rank"] = place
    return rows


def _natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which ``node9`` comes before ``node10`` and 10.0.0.9 before 10.0.0.10."""
    return [
        (0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part.casefold())
        for part in re.split(r"([0-9]{1,18})", text)
        if part
    ]


def build_index(report: JsonObject, rows: Sequence[JsonObject]) -> JsonObject:
    """Return what the matrix needs at once; everything else waits in the node table until a host is opened."""
    tags = sorted({tag for row in rows for tag in row["host"]["tags"]})
    rules = sorted({rule for row in rows for rule in row["rules"]})
    tag_places = {tag: place for place, tag in enumerate(tags)}
    rule_places = {rule: place for place, rule in enumerate(rules)}
    packed = []
    for row in rows:
        host = row["host"]
        extra = [*host["addresses"], *host["cname_chain"], host["vendor"], host["farm"], host["cloud"], host["target"]]
        packed.append(
            [
                row["name"],
                "" if row["anchor"] == row["name"] else row["anchor"],
                _ROLES.index(row["role"]),
                _READINESS_ORDER.index(row["readiness"]),
                "".join(cell["state"][0] for cell in row["cells"]),
                "".join(cell["severity"][:1] or "-" for cell in row["cells"]),
                sum(1 << place for place, cell in enumerate(row["cells"]) if cell["is_disputed"]),
                row["counts"],
                [tag_places[tag] for tag in dict.fromkeys(host["tags"])],
                [rule_places[rule] for rule in row["rules"]],
                row["rank"],
                row["name_rank"],
                host["addresses"][:1] + ([f"+{len(host['addresses']) - 1}"] if len(host["addresses"]) > 1 else []),
                "\n".join(item for item in extra if item and item != row["name"]),
            ]
        )
    return {
        "started_at": report["run"]["started_at"],
        "print_limit": TABLE_LIMIT,
        "versions": [[version.label, version.title] for version in ALL_VERSIONS],
        "roles": [[role.value, ROLE_WORDS[role]] for role in Role],
        "readiness": [[key.value, word] for key, word in READINESS_WORDS.items()],
        "severities": [[key.value, word] for key, word in SEVERITY_WORDS.items()],
        "basis": {key.label: word for key, word in BASIS_WORDS.items()},
        "gaps": {key.value: word for key, word in GAP_WORDS.items()},
        "stopped": STOPPED_WORDS,
        "tags": tags,
        "rules": rules,
        "rows": packed,
    }
