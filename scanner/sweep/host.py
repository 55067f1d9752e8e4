"""An address on its way through the lane, and what is handed out of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from scanner.model.exchange import Exchange
from scanner.model.rows import HelloRow
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Target
from scanner.net.budgets import network_key
from scanner.net.reactor import Call
from scanner.sweep.rows import exchange_of_row, plan_endpoint
from scanner.sweep.space import Place
from scanner.sweep.steps import Step, Steps


class Swept:
    """A host that the lane has asked all it can: finished, or to be gone on with by the engine."""

    __slots__ = ("address", "endpoints", "key", "order_at", "place", "position", "rows")

    def __init__(self, host: LaneHost, *, key: Hashable | None) -> None:
        self.order_at = host.order_at
        """Its place in the order, for progress."""
        self.position = host.position
        """Its position in the run."""
        self.place = host.place
        """Address and template."""
        self.address = host.address
        """The address as text."""
        self.rows: Sequence[HelloRow] = host.rows
        """What was asked and answered, in the order asked."""
        self.endpoints = host.ports
        """The ports, in the order of HelloRow.endpoint: all of them, asked or not."""
        self.key = key
        """Hosts of equal key were asked and answered alike; None where that can't be told."""

    def target(self) -> Target:
        """Return the target for this address alone."""
        return self.place.target()

    def plan_endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints, in the order of HelloRow.endpoint."""
        template = self.place.template
        return tuple(plan_endpoint(template, self.address, port) for port in self.endpoints)

    def exchanges(self, timeout_s: float) -> list[Exchange]:
        """Return what was asked and answered; timeout_s: the bound of each question."""
        endpoints = self.plan_endpoints()
        return [exchange_of_row(row, endpoints[row.endpoint], timeout_s=timeout_s) for row in self.rows]

    def record(self, timeout_s: float, *, stopped: str | None = None) -> HostRecord:
        """Return all that was learned."""
        return HostRecord(
            target=self.target(),
            resolution=Resolution(addresses=(self.address,)),
            endpoints=self.plan_endpoints(),
            exchanges=tuple(self.exchanges(timeout_s)),
            stopped=stopped,
        )


class LaneHost(Call):
    """One address on its way through the lane: the call that is under way, and what was learned so far."""

    __slots__ = (
        "again",
        "dead",
        "is_found",
        "is_talking",
        "local_failures",
        "network",
        "order_at",
        "place",
        "port_at",
        "ports",
        "position",
        "random",
        "rows",
        "step",
        "steps",
        "todo",
        "tried",
        "walked",
    )

    def __init__(self, order_at: int, position: int, place: Place, steps: Steps) -> None:
        template = place.template
        self.ports = template.ports if not template.optional_ports else template.ports + template.optional_ports
        super().__init__(place.address, self.ports[0])
        self.order_at = order_at
        self.position = position
        self.place = place
        self.network = network_key(place.number, place.version)
        self.port_at = 0
        self.sock = None  # nothing is under way yet
        self.fd = -1
        self.todo: deque[int] | None = deque(range(1, len(self.ports))) if len(self.ports) > 1 else None
        # Tuples: they share the empty one, and a sweep has thousands of hosts of which nothing is known yet.
        self.again: tuple[int, ...] = ()  # ports silent in this pass
        self.tried = 1  # passes begun
        self.dead: tuple[HelloRow, ...] = ()  # ports where nothing listens, as the last pass saw them
        self.rows: tuple[HelloRow, ...] = ()
        self.walked: tuple[tuple[int, int, Step], ...] = ()  # (port, pass, where its ladder ended)
        self.random = b""
        self.local_failures = 0
        self.is_talking = False  # whether it has taken a connection
        self.is_found = False  # whether a SYN has told that the port is open
        self.steps = steps
        self.step = steps.begin

    def turn_to(self, port_at: int) -> None:
        """Begin with a port."""
        self.port_at = port_at
        self.port = self.ports[port_at]
        self.step = self.steps.begin
        self.is_found = False

    def sweep_up(self, *, key: Hashable | None) -> Swept:
        """Return what was learned."""
        if self.dead:
            self.rows = tuple(sorted((*self.rows, *self.dead), key=lambda row: row.request_id))
            self.dead = ()
        return Swept(self, key=key)

    def maybe_key(self) -> Hashable | None:
        """Return what hosts that were asked and answered alike have in common, or None where that can't be told."""
        walked = self.walked
        if len(walked) == 1 and len(self.ports) == 1:
            step = walked[0][2]
            return (id(self.place.template), step) if step.is_remembered else None
        if any(not step.is_remembered for _, _, step in walked):
            return None
        # In the order asked, as the record has them: a port may be refused before the others were asked, or after.
        rows = sorted((*self.rows, *self.dead), key=lambda row: row.request_id)
        order = tuple((row.endpoint, row.ending, row.os_error) for row in rows)
        return id(self.place.template), walked, order
