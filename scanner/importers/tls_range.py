"""Six settings from a lowest and a highest version, for products whose TLS library has no policy of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scanner.model.declared import Place, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One end of a range."""

    version: TlsVersion
    """Which version; it is within the range."""
    place: Place | None = None
    """Where it is written; None for a default, which is ASSUMED."""

    @property
    def basis(self) -> Basis:
        """DECLARED where it is written."""
        return Basis.DECLARED if self.place else Basis.ASSUMED


def settle_range(
    low: Bound, high: Bound, reason: str, gaps: Mapping[TlsVersion, tuple[GapReason, str]]
) -> tuple[Setting, ...]:
    """Return a setting for each version: off outside the range, on within, unknown where a gap says so."""
    settings = []
    for version in ALL_VERSIONS:
        ends = [low] if version < low.version else [high] if version > high.version else [low, high]
        state, gap, why = (State.ENABLED if len(ends) == 2 else State.DISABLED), None, reason
        if version in gaps:
            state, (gap, why) = State.UNKNOWN, gaps[version]
        place = next((end.place for end in ends if end.place), None)
        basis = min(end.basis for end in ends)
        settings.append(Setting(version=version, state=state, basis=basis, gap=gap, reason=why, place=place))
    return tuple(settings)


def settle_unknown(gap: GapReason, reason: str, place: Place | None) -> tuple[Setting, ...]:
    """Return six settings that are unknown for one reason."""
    return tuple(
        Setting(version=version, state=State.UNKNOWN, basis=Basis.DECLARED, gap=gap, reason=reason, place=place)
        for version in ALL_VERSIONS
    )
