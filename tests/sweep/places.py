"""Hosts of the lane for tests, without a network."""

from __future__ import annotations

from ipaddress import ip_address

from scanner.model.subjects import Role, Target
from scanner.probes.plan_memory import PlanMemory
from scanner.sweep.host import LaneHost
from scanner.sweep.space import Place
from scanner.sweep.steps import Steps

TEMPLATE = Target(text="192.0.2.0/24 many", host="192.0.2.0", role=Role.SERVER, ports=(443,))


def steps(*, walks_down=False):
    return Steps(PlanMemory(confirm=frozenset(), walks_down=walks_down))


def host_of(address, at=0, *, template=TEMPLATE, begun=None):
    parsed = ip_address(address)
    return LaneHost(at, 100 + at, Place(template, int(parsed), parsed.version), begun or steps())
