"""What was asked again after a kill, and whether it had to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.exactness.sweeps import CONNECT_TIMEOUT_S, PASS_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.exactness.world import Arrival, World

LAST_SECONDS = CONNECT_TIMEOUT_S + 4.0
"""What kill -9 may cost: what was in flight, and what was known but not yet written, with room for a busy machine."""
MOST_LOST_RESETS = 0.005
"""Share of resetting addresses that may be taken for silent once: loss took each reset of a pass."""


@dataclass(frozen=True)
class Phase:
    """One of the runs that together make a resumed one."""

    began_at: float
    """time.monotonic()"""
    ended_at: float
    """The same"""


def connection_counts(arrivals: Iterable[Arrival]) -> Counter[str]:
    """Return the connections of each address."""
    return Counter(arrival.address for arrival in arrivals)


def repeated_without_need(arrivals: Iterable[Arrival], phases: Sequence[Phase], world: World) -> list[str]:
    """Return a line for each address that was asked again although its answer was known well before the kill.

    A second pass in a later run is no repetition: it was due. That of a reset may be, where the answer was lost each
    time; such addresses are few.
    """
    by_address: dict[str, list[float]] = {}
    for arrival in arrivals:
        by_address.setdefault(arrival.address, []).append(arrival.at)
    lines: list[str] = []
    resetting_lines: list[str] = []
    for address, times in by_address.items():
        if address in world.truth:
            if _repeats_a_known_host(times, phases):
                lines.append(f"{address}, a server: {_told(times, phases)}")
            continue
        is_resetting = address in world.resetting
        excused_count = sum(
            PASS_COUNT
            for phase in phases[:-1]
            if any(phase.ended_at - LAST_SECONDS <= at <= phase.ended_at for at in times)
        )
        if len(times) > (1 if is_resetting else PASS_COUNT) + excused_count:
            (resetting_lines if is_resetting else lines).append(f"{address}: {_told(times, phases)}")
    return lines + (resetting_lines if len(resetting_lines) > MOST_LOST_RESETS * len(world.resetting) else [])


def settled_before_a_kill(arrivals: Iterable[Arrival], phases: Sequence[Phase], world: World) -> set[str]:
    """Return the addresses that were asked well before a kill and not in its last seconds: no repetition is excused.

    Silent ones only with both passes.
    """
    by_address: dict[str, list[float]] = {}
    for arrival in arrivals:
        by_address.setdefault(arrival.address, []).append(arrival.at)
    return {
        address
        for address, times in by_address.items()
        for phase in phases[:-1]
        if (here := [at for at in times if phase.began_at <= at <= phase.ended_at])
        and here[-1] < phase.ended_at - LAST_SECONDS
        and (address in world.resetting or len(here) >= PASS_COUNT)
    }


def _repeats_a_known_host(times: list[float], phases: Sequence[Phase]) -> bool:
    for phase, later in pairwise(phases):
        here = [at for at in times if phase.began_at <= at <= phase.ended_at]
        # One connection alone may have been a first pass that was not answered.
        is_known = len(here) > 1 and here[-1] < phase.ended_at - LAST_SECONDS
        if is_known and times[-1] >= later.began_at:
            return True
    return False


def _told(times: list[float], phases: Sequence[Phase]) -> str:
    """Return when the connections came, in seconds, for a failing test."""
    began_at = phases[0].began_at
    kills = ", ".join(f"{phase.ended_at - began_at:.1f}" for phase in phases)
    return f"asked at {', '.join(f'{at - began_at:.1f}' for at in times)} s; runs ended at {kills} s"
