"""The addresses of all ranges as one numbered space, kept as runs and never as a list of addresses. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from scanner.intervals import Intervals
from scanner.model.subjects import Role, Target, is_address
from scanner.target_forms import maybe_address
from scanner.target_parser import address_text
from scanner.targets import with_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scanner.exclusions import Exclusions
    from scanner.target_parser import TargetRange


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRange:
    """Addresses that are asked alike. Raises ValueError for ends that are no addresses or the wrong way round."""

    template: Target
    """The target for all of them; its host is the first address of the line they are from."""
    first: int
    """First address as a number."""
    last: int
    """Last address as a number, included."""
    version: int
    """4 or 6."""

    def __post_init__(self) -> None:
        bits = {4: 32, 6: 128}.get(self.version, 0)
        if not 0 <= self.first <= self.last < 2**bits:
            raise ValueError(f"no range of IPv{self.version} addresses: {self.first} to {self.last}")

    @property
    def count(self) -> int:
        """How many addresses it has."""
        return self.last - self.first + 1


class Place(NamedTuple):
    """One address of a space."""

    template: Target
    """What is asked of it."""
    number: int
    """The address as a number."""
    version: int
    """4 or 6."""

    @property
    def address(self) -> str:
        """The address in canonical text form."""
        return address_text(self.number, self.version)

    def target(self) -> Target:
        """Return the target for this address alone."""
        template = self.template
        # Not dataclasses.replace: it takes twice the time, and a range may have millions of them.
        return Target(
            text=template.text,
            host=address_text(self.number, self.version),
            role=template.role,
            ports=template.ports,
            optional_ports=template.optional_ports,
            server_name=template.server_name,
            vendor=template.vendor,
            farm=template.farm,
            tags=template.tags,
            is_from_range=True,
            cloud=template.cloud,
            locator=template.locator,
        )


@dataclass(frozen=True, slots=True)
class Space:
    """Ranges laid end to end: index 0 is the first address of the first one. Takes memory for the ranges only."""

    ranges: tuple[SweepRange, ...] = ()
    """In the order of their indexes."""
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(self.ranges))
        object.__setattr__(self, "_ends", tuple(accumulate(item.count for item in self.ranges)))

    @property
    def count(self) -> int:
        """How many places it has: one for each address and set of ports asked together under one server name."""
        return self._ends[-1] if self._ends else 0

    def locate(self, index: int) -> Place:
        """Return the place with this index. Raises IndexError outside of [0, count)."""
        ends = self._ends
        at = bisect_right(ends, index)
        if index < 0 or at == len(ends):
            raise IndexError(index)
        item = self.ranges[at]
        return Place(item.template, item.last + 1 + index - ends[at], item.version)


def plan_space(items: Iterable[TargetRange], exclusions: Exclusions, named: Iterable[Target] = ()) -> Space:
    """Return the space in which each address, port and server name of the ranges stands exactly once.

    What is excluded is left out, and so is what a named target asks already. Where lines overlap, the first that has a
    role asks, else the first; what the others ask beyond that (a port, another server name) is a place of its own. The
    lines keep their order. Server names are taken as they are: the caller has put those of farms in.
    """
    claims = _Claims()
    for target in named:
        address = maybe_address(target.host) if is_address(target.host) else None
        # An address with a zone is on one link: the same number in a range is another host.
        if address is not None and "%" not in target.host:
            claims.claim(target, int(address), int(address), address.version)
    lines = list(enumerate(items))
    pieces: dict[int, list[SweepRange]] = {}
    for number, item in sorted(lines, key=lambda line: line[1].template.role is Role.SERVER):
        pieces[number] = list(_cut(item, exclusions, claims))
        claims.claim(item.template, item.first, item.last, item.version)
    return Space(tuple(piece for number, _ in lines for piece in pieces[number]))


class _Claims:
    """The addresses that are spoken for, by IP version, server name and port."""

    def __init__(self) -> None:
        self._taken: defaultdict[tuple[int, str | None, int], Intervals] = defaultdict(Intervals)

    def claim(self, target: Target, first: int, last: int, version: int) -> None:
        for port in (*target.ports, *target.optional_ports):
            self._taken[version, target.sni, port].add(first, last)

    def gaps(self, target: Target, first: int, last: int, version: int, port: int) -> Iterator[tuple[int, int]]:
        return self._taken[version, target.sni, port].gaps(first, last)


def _cut(item: TargetRange, exclusions: Exclusions, claims: _Claims) -> Iterator[SweepRange]:
    """Yield the pieces of a line that are neither excluded nor spoken for, each with the ports that are left."""
    template, version = item.template, item.version
    whole = list(exclusions.gaps(item.first, item.last, version))
    # Most ports have the same runs left, so they are taken together.
    ports_by_runs: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for port in (*template.ports, *template.optional_ports):
        runs = tuple(
            free
            for run in whole
            for allowed in exclusions.gaps(*run, version, port)
            for free in claims.gaps(template, *allowed, version, port)
        )
        ports_by_runs.setdefault(runs, []).append(port)
    templates: dict[frozenset[int], Target] = {}
    for first, last, ports in _overlay(ports_by_runs):
        if ports not in templates:
            templates[ports] = with_ports(template, ports)
        yield SweepRange(template=templates[ports], first=first, last=last, version=version)


def _overlay(
    ports_by_runs: dict[tuple[tuple[int, int], ...], list[int]],
) -> Iterator[tuple[int, int, frozenset[int]]]:
    """Yield (first, last, ports) of each longest run that has the same ports throughout."""
    changes: defaultdict[int, list[list[int]]] = defaultdict(list)
    for runs, ports in ports_by_runs.items():
        for first, last in runs:
            changes[first].append(ports)
            changes[last + 1].append(ports)
    here: frozenset[int] = frozenset()
    begin = 0
    for number in sorted(changes):
        if here:
            yield begin, number - 1, here
        for ports in changes[number]:
            here ^= frozenset(ports)
        begin = number
