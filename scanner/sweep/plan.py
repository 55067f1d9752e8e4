"""What a run is to scan, complete and storable: named targets, the space of its ranges, and what to leave out. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scanner.exclusions import Exclude, Exclusions
from scanner.intervals import Intervals
from scanner.model.subjects import Role, Target, Upgrade, is_address
from scanner.sweep.space import Space, SweepRange, plan_space
from scanner.target_forms import maybe_address
from scanner.target_parser import TargetRange
from scanner.targets import accept_items, merge_excludes, merge_named

if TYPE_CHECKING:
    from scanner.targets import ParsedTargets

_VERSION = 1
_WHERE_WRITTEN = frozenset({"text", "locator"})

# The blocks of IANA's special-purpose registries: only at their ends can it change whether an address is public.
_SPECIAL = {
    4: """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
    192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/31 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24
    192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    255.255.255.255/32""",
    6: """::/128 ::1/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32
    2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
    2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What is to be scanned. A host's position: the named targets, then the indexes of the space."""

    named: tuple[Target, ...]
    """Names, and addresses given by themselves; what is excluded is not among them."""
    space: Space
    """The ranges, without what is excluded or among the named."""
    excludes: tuple[Exclude, ...] = ()
    """Whatever must not be contacted, as it was written."""
    exclusions: Exclusions = field(init=False, repr=False, compare=False)
    """The same, made quick to ask: to be asked again about each address that a name resolves to."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclusions", Exclusions(self.excludes))

    @property
    def count(self) -> int:
        """How many hosts there are: named targets, and places of the space."""
        return len(self.named) + self.space.count

    def encode(self) -> str:
        """Return the plan as one line of JSON; decode_plan reads it back."""
        return self._encode(frozenset())

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of what is scanned: equal for equal plans.

        Where a line stands, and how it is written, does not count: shards may have their copies of one file elsewhere.
        """
        return hashlib.sha256(self._encode(_WHERE_WRITTEN).encode()).hexdigest()

    def _encode(self, left_out: frozenset[str]) -> str:
        templates: dict[str, int] = {}
        ranges: list[tuple[int, int, int, int]] = []
        texts: dict[Target, str] = {}  # pieces of a line share their template
        for item in self.space.ranges:
            text = texts.get(item.template)
            if text is None:
                text = texts[item.template] = _render(_target_data(item.template, left_out))
            ranges.append((templates.setdefault(text, len(templates)), item.first, item.last, item.version))
        return _render(
            {
                "plan": _VERSION,
                "named": [_target_data(target, left_out) for target in self.named],
                "templates": [json.loads(text) for text in templates],
                "ranges": ranges,
                "excludes": [[item.host, item.first, item.last, item.version, item.ports] for item in self.excludes],
            }
        )


def plan_targets(*parsed: ParsedTargets) -> TargetPlan:
    """Merge the sources into one plan, where ranges stay ranges, of any size. Raises TargetsError for their errors.

    An address under ``[ranges]`` is a range of one: as for any other of them, nothing listening there is no row. (One
    with a zone id is not: the zone is no part of the number.)
    """
    items = accept_items(*parsed)
    exclusions = merge_excludes(*parsed)
    named: list[Target] = []
    ranges: list[TargetRange] = []
    for item in items:
        as_range = _maybe_range(item)
        if as_range is not None:
            ranges.append(as_range)
        elif isinstance(item, Target):
            named.append(item)
    merged = merge_named(named, exclusions)
    return TargetPlan(
        named=merged,
        space=plan_space(ranges, exclusions, merged),
        excludes=tuple(dict.fromkeys(exclude for source in parsed for exclude in source.excludes)),
    )


def decode_plan(text: str) -> TargetPlan:
    """Return the plan that encode() wrote. Raises ValueError where text is not one."""
    try:
        data = json.loads(text)
        if data["plan"] != _VERSION:
            raise ValueError("a plan of an unknown version")
        templates = [_target(item) for item in data["templates"]]
        return TargetPlan(
            named=tuple(_target(item) for item in data["named"]),
            space=Space(
                tuple(
                    SweepRange(template=templates[at], first=first, last=last, version=version)
                    for at, first, last, version in data["ranges"]
                )
            ),
            excludes=tuple(
                Exclude(host=host, first=first, last=last, version=version, ports=_maybe_tuple(ports))
                for host, first, last, version, ports in data["excludes"]
            ),
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("a damaged plan") from error


def public_address_count(space: Space) -> int:
    """Return how many addresses of the space are globally reachable (is_global of ipaddress), each counted once."""
    spans: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for item in space.ranges:
        spans[item.version].append((item.first, item.last))
    return sum(
        max(0, min(last, high) - max(first, low) + 1)
        for version, pairs in spans.items()
        for low, high in Intervals(pairs)
        for first, last in _PUBLIC[version]
        if first <= high and low <= last
    )


def _public_runs(version: int) -> list[tuple[int, int]]:
    """Return the runs of public addresses. Which they are says the library, which follows the registries."""
    address, end = (IPv4Address, 2**32) if version == 4 else (IPv6Address, 2**128)
    edges = {0, end}
    for text in _SPECIAL[version].split():
        network = ip_network(text)
        edges |= {int(network[0]), int(network[-1]) + 1}
    return list(Intervals((first, after - 1) for first, after in pairwise(sorted(edges)) if address(first).is_global))


_PUBLIC = {version: _public_runs(version) for version in _SPECIAL}


def _maybe_range(item: Target | TargetRange) -> TargetRange | None:
    if isinstance(item, TargetRange):
        return item
    if not item.is_from_range or not is_address(item.host) or "%" in item.host:
        return None
    address = maybe_address(item.host)
    if address is None:
        return None
    return TargetRange(template=item, first=int(address), last=int(address), version=address.version)


def _target_data(target: Target, left_out: frozenset[str]) -> dict[str, Any]:
    """Return the members that say something: not their defaults."""
    pairs = ((item, getattr(target, item.name)) for item in fields(target) if item.name not in left_out)
    return {item.name: value for item, value in pairs if item.default is MISSING or value != item.default}


def _target(data: Mapping[str, Any]) -> Target:
    values: dict[str, Any] = {
        name: _maybe_tuple(value) if isinstance(value, list) else value for name, value in data.items()
    }
    if "proxy" in values:
        values["proxy"] = Upgrade(values["proxy"])
    return Target(**{**values, "role": Role(values["role"])})


def _maybe_tuple(values: Iterable[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _render(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))
