"""What must not be contacted: names, addresses and ranges, wholly or on some ports. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scanner.intervals import Intervals
from scanner.model.subjects import is_address
from scanner.target_forms import NEVER_SCANNED, maybe_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NONE = Intervals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """One ``!`` line."""

    host: str | None
    """The name, in A-labels; None for addresses."""
    first: int
    """First address as a number; 0 for a name."""
    last: int
    """Last address as a number, included; 0 for a name."""
    version: int
    """4 or 6; 0 for a name."""
    ports: tuple[int, ...] | None
    """Only these ports; None for all."""


class Exclusions:
    """All excludes of a run, made quick to ask. Multicast, broadcast and unspecified addresses are always in it.

    Excluding a name leaves out that name only: ask again with each address a name resolves to, before connecting.
    """

    def __init__(self, excludes: Iterable[Exclude]) -> None:
        spans: dict[tuple[int, int | None], list[tuple[int, int]]] = {}
        for network in NEVER_SCANNED:
            spans.setdefault((network.version, None), []).append((int(network[0]), int(network[-1])))
        names: set[tuple[str, int | None]] = set()
        for exclude in excludes:
            for port in exclude.ports or (None,):
                if exclude.host is not None:
                    names.add((exclude.host, port))
                else:
                    spans.setdefault((exclude.version, port), []).append((exclude.first, exclude.last))
        self._names = frozenset(names)
        self.has_ports = any(port is not None for _, port in (*names, *spans))
        """Whether any exclude is for single ports."""
        self._intervals = {key: Intervals(pairs) for key, pairs in spans.items()}

    def is_excluded(self, host: str, port: int | None = None) -> bool:
        """Return whether host (a name in A-labels, or an address) must not be contacted, at all or on port."""
        if not is_address(host):
            return (host, None) in self._names or (host, port) in self._names
        address = maybe_address(host)
        return address is not None and self.is_number_excluded(int(address), address.version, port)

    def is_number_excluded(self, number: int, version: int, port: int | None = None) -> bool:
        """Return the same for an address given as number and IP version."""
        if number in self._intervals.get((version, None), _NONE):
            return True
        return port is not None and number in self._intervals.get((version, port), _NONE)

    def gaps(self, first: int, last: int, version: int, port: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each run from first to last that is not excluded: at all, or for port, on port alone.

        For what is left on a port, ask with the port about each of the runs that are left without it.
        """
        return self._intervals.get((version, port), _NONE).gaps(first, last)
