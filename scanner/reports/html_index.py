"""What the table of the HTML report needs at once, its details, and the summaries of many hosts, as chunks. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from markupsafe import Markup

from scanner.model.subjects import Role
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.html_data import (
    BASIS_WORDS,
    GAP_WORDS,
    LINE_WORDS,
    MIRRORING_WORDS,
    READINESS_ORDER,
    READINESS_WORDS,
    ROLE_WORDS,
    SEVERITIES,
    SEVERITY_WORDS,
    STOPPED_WORDS,
    TABLE_LIMIT,
    UPGRADE_WORDS,
    WAY_WORDS,
    natural_key,
    render_data_island,
)
from scanner.reports.html_table import HostTable, render_cells
from scanner.reports.objects import JsonObject

GROUPED_FROM = 500
"""From this many hosts on they are also shown by network and by answer."""
SHOWN_NETWORKS = 10
"""Networks that are shown at once."""
SHOWN_ANSWERS = 12
"""Most answers that are shown."""
_CHUNK = 10_000
_WIDER = {24: 16, 64: 48}


class Networks:
    """The hosts by network, worst network first."""

    def __init__(self, table: HostTable, names: Sequence[str], numbers: Sequence[int]) -> None:
        counts = [[0, 0, 0] for _ in names]
        for position, number in enumerate(numbers):
            if number >= 0:
                counts[number][READINESS_ORDER.index(table.kind(position).readiness)] += 1
        order = sorted(
            range(len(names)), key=lambda number: (-counts[number][0], -counts[number][1], natural_key(names[number]))
        )
        rank = {number: place for place, number in enumerate(order)}
        rank[-1] = -1
        self.numbers = array("i", (rank[number] for number in numbers))
        """A network's place, worst first, by host position; -1 for hosts without an address."""
        self.rows: list[tuple[str, int, int, int]] = [
            (names[number], counts[number][0], counts[number][1], counts[number][2]) for number in order
        ]
        """Name, not ready, unknown, ready."""


def maybe_networks(table: HostTable) -> Networks | None:
    """Return the hosts by /24 and /64, by /16 and /48 where those hold too few, None where those do too."""
    if len(table) < GROUPED_FROM:
        return None
    names: Sequence[str] = table.networks
    numbers: Sequence[int] = array("i", map(table.network, range(len(table))))
    for _ in range(2):
        if 1 < len(names) <= len(table) / 4:
            return Networks(table, names, numbers)
        wider: dict[str, int] = {}
        places = [wider.setdefault(_widen(name), len(wider)) for name in names]
        places.append(-1)
        names, numbers = list(wider), array("i", (places[number] for number in numbers))
    return None


def _widen(name: str) -> str:
    network = ip_network(name)
    return str(network.supernet(new_prefix=_WIDER.get(network.prefixlen, network.prefixlen)))


def build_alike(table: HostTable) -> tuple[list[JsonObject], int]:
    """Return the answers that most hosts have in common, worst first, and how many answers are left out."""
    if len(table) < GROUPED_FROM:
        return [], 0
    groups: dict[tuple[str, str], JsonObject] = {}
    for kind, count in zip(table.kinds, table.kind_host_counts, strict=True):
        group = groups.setdefault(
            (kind.readiness, kind.states),
            {"readiness": kind.readiness, "states": kind.states, "tones": kind.tones, "host_count": 0},
        )
        group["host_count"] += count
        group["tones"] = "".join(map(_worse, group["tones"], kind.tones))
    most = sorted(groups.values(), key=lambda group: -group["host_count"])[:SHOWN_ANSWERS]
    most.sort(key=lambda group: (READINESS_ORDER.index(group["readiness"]), -group["host_count"]))
    for group in most:
        group["cells"] = render_cells(group["states"], group["tones"], 0)
    return most, len(groups) - len(most)


def _worse(one: str, other: str) -> str:
    order = "".join(severity[0] for severity in SEVERITIES) + "-"
    return min(one, other, key=order.index)


def iter_index(table: HostTable, networks: Networks | None, run: JsonObject) -> Iterator[Markup]:
    """Yield the index as JSON: vocabularies, kinds of hosts, and a column a member over the hosts in name order."""
    tags = sorted({tag for kind in table.kinds for tag in kind.tags})
    rules = sorted({rule for kind in table.kinds for rule in kind.rules})
    tag_places = {tag: place for place, tag in enumerate(tags)}
    rule_places = {rule: place for place, rule in enumerate(rules)}
    roles = [role.value for role in Role]
    yield from _iter_object(
        {
            "run": run["id"],
            "started_at": run["started_at"],
            "print_limit": TABLE_LIMIT,
            "versions": [[version.label, version.title] for version in ALL_VERSIONS],
            "roles": [[role.value, ROLE_WORDS[role]] for role in Role],
            "readiness": [[key.value, word] for key, word in READINESS_WORDS.items()],
            "severities": [[key.value, word] for key, word in SEVERITY_WORDS.items()],
            "basis": {key.label: word for key, word in BASIS_WORDS.items()},
            "gaps": {key.value: word for key, word in GAP_WORDS.items()},
            "stopped": STOPPED_WORDS,
            "lines": {key.value: word for key, word in LINE_WORDS.items()},
            "ways": {key.value: word for key, word in WAY_WORDS.items()},
            "mirroring": {key.value: word for key, word in MIRRORING_WORDS.items()},
            "upgrades": {key.value: word for key, word in UPGRADE_WORDS.items()},
            "tags": tags,
            "rules": rules,
            "nets": networks.rows if networks else [],
            "kinds": [
                [
                    roles.index(kind.role),
                    READINESS_ORDER.index(kind.readiness),
                    kind.states,
                    kind.tones,
                    kind.disputed,
                    kind.counts,
                    [tag_places[tag] for tag in kind.tags],
                    [rule_places[rule] for rule in kind.rules],
                    kind.words,
                    *([*kind.outbound, kind.ways] if kind.outbound else []),
                ]
                for kind in table.kinds
            ],
            **table.columns(networks.numbers if networks else None),
        }
    )


def iter_details(details: Mapping[str, Any]) -> Iterator[Markup]:
    """Yield the node table and the columns of the details as JSON."""
    yield from _iter_object(details)


def _iter_object(members: Mapping[str, Any]) -> Iterator[Markup]:
    for place, (name, value) in enumerate(members.items()):
        yield Markup(",") if place else Markup("{")
        yield render_data_island(name) + Markup(":")
        if isinstance(value, array):
            yield Markup("[")
            for start in range(0, len(value), _CHUNK):
                numbers = ",".join(map(str, value[start : start + _CHUNK]))
                yield Markup(f"{',' if start else ''}{numbers}")  # noqa: S704 - digits and commas
            yield Markup("]")
        elif isinstance(value, list) and len(value) > _CHUNK:
            yield Markup("[")
            for start in range(0, len(value), _CHUNK):
                inner = render_data_island(value[start : start + _CHUNK])[1:-1]
                yield Markup(f"{',' if start else ''}{inner}")  # noqa: S704 - rendered as an island
            yield Markup("]")
        elif isinstance(value, Iterator):
            yield from _iter_texts(value)
        else:
            yield render_data_island(value)
    yield Markup("}")


def _iter_texts(texts: Iterable[str]) -> Iterator[Markup]:
    """Yield texts as one JSON string with a carriage return between them, which clean text never holds."""
    yield Markup('"')
    gathered: list[str] = []
    is_first = True
    for text in texts:
        gathered.append(text if is_first else f"\r{text}")
        is_first = False
        if len(gathered) == _CHUNK:
            yield Markup(render_data_island("".join(gathered))[1:-1])  # noqa: S704 - rendered as an island
            gathered.clear()
    yield Markup(f'{render_data_island("".join(gathered))[1:-1]}"')  # noqa: S704 - rendered as an island
