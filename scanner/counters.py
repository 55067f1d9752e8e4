"""How far a run is: what the live view and machine-readable progress tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from scanner.model.exchange import Ending
from scanner.model.versions import TlsVersion


@dataclass(slots=True, kw_only=True)
class Counters:
    """What the run has done so far. Every process has its own; ``add`` puts them together."""

    hosts_total: int = 0
    """Named targets."""
    hosts_done: int = 0
    """Named targets that are finished."""
    addresses_total: int = 0
    """Addresses of ranges."""
    addresses_done: int = 0
    """Addresses of ranges that are finished, whether anything listened there or not."""
    listeners: int = 0
    """Endpoints of ranges that took a connection."""
    endpoints_answering: int = 0
    """Endpoints that accepted a version."""
    connections: int = 0
    """Connections begun."""
    endings: dict[Ending, int] = field(default_factory=dict)
    """How connections ended."""
    versions: Counter[TlsVersion] = field(default_factory=Counter)
    """Endpoints that accepted each version."""
    lost_answers: int = 0
    """Answers to raw SYNs that were read too late: those addresses look silent."""
    local_error: str | None = None
    """The last failure of this machine to connect: ``EMFILE``."""

    @property
    def total(self) -> int:
        """Hosts and addresses to be asked."""
        return self.hosts_total + self.addresses_total

    @property
    def done(self) -> int:
        """Hosts and addresses that are finished."""
        return self.hosts_done + self.addresses_done

    def add(self, other: Counters) -> None:
        """Add what another process has done."""
        self.hosts_total += other.hosts_total
        self.hosts_done += other.hosts_done
        self.addresses_total += other.addresses_total
        self.addresses_done += other.addresses_done
        self.listeners += other.listeners
        self.endpoints_answering += other.endpoints_answering
        self.connections += other.connections
        for ending, count in other.endings.items():
            self.endings[ending] = self.endings.get(ending, 0) + count
        self.versions.update(other.versions)
        self.lost_answers += other.lost_answers
        self.local_error = other.local_error or self.local_error
