"""What directives claim of versions on one leg of a program with OpenSSL, and what is known from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scanner.model.checks import Check, CheckState
from scanner.model.declared import LineNote, LineState, Place, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

MOST_NOTES_COUNT = 200
ALL = frozenset(ALL_VERSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What holds if one directive decides."""

    allowed: frozenset[TlsVersion]
    """Versions it leaves on."""
    reason: str
    """One sentence for people: directive names and version words only."""
    place: Place | None
    """Where; None for a default."""
    basis: Basis = Basis.DECLARED
    """DECLARED, or ASSUMED for a default by product version."""
    is_old_served: bool = False
    """Whether TLS 1.0 and 1.1, where allowed, are not stopped by the library: security level 0 is declared."""
    gaps: Mapping[TlsVersion, tuple[GapReason, str]] = field(default_factory=dict)
    """Versions of which it does not say enough, with the reason and a sentence."""


def blank_claim(gap: GapReason, reason: str, place: Place | None) -> Claim:
    """Return the claim of something that says nothing of any version."""
    return Claim(allowed=ALL, reason=reason, place=place, gaps=dict.fromkeys(ALL_VERSIONS, (gap, reason)))


def settle_claims(claims: Sequence[Claim]) -> tuple[Setting, ...]:
    """Return six settings from claims of which one holds, nobody knows which; at least one claim is needed."""
    settings = []
    for version in ALL_VERSIONS:
        outcomes = [_settle(claim, version) for claim in claims]
        first = outcomes[0]
        if all((other.state, other.gap) == (first.state, first.gap) for other in outcomes):
            settings.append(first)
            continue
        missing = next((other for other in outcomes if other.gap is GapReason.INCLUDE_MISSING), None)
        reason = "What decides it stands under a condition that the file does not settle."
        settings.append(
            missing
            or Setting(
                version=version,
                state=State.UNKNOWN,
                basis=Basis.DECLARED,
                gap=GapReason.CONDITIONAL,
                reason=reason,
                place=outcomes[-1].place,
            )
        )
    return tuple(settings)


def _settle(claim: Claim, version: TlsVersion) -> Setting:
    state, gap, reason = State.UNKNOWN, None, claim.reason
    if version in claim.gaps:
        gap, reason = claim.gaps[version]
    elif version not in claim.allowed:
        state = State.DISABLED
    elif version >= TlsVersion.TLS1_2 or (claim.is_old_served and version >= TlsVersion.TLS1_0):
        state = State.ENABLED
    else:
        gap = GapReason.LIBRARY_POLICY
        reason = f"{claim.reason} Allowed here; OpenSSL's security level and openssl.cnf may still refuse it."
    return Setting(version=version, state=state, basis=claim.basis, gap=gap, reason=reason, place=claim.place)


def check_old_versions(claims: Iterable[Claim]) -> tuple[Check, ...]:
    """Return the check ``config-allows-old`` with the places that leave versions before 1.2 on; none if none does."""
    places = {
        claim.place.locator if claim.place else "default"
        for claim in claims
        if any(
            version < TlsVersion.TLS1_2 and version not in claim.gaps for version in claim.allowed - {TlsVersion.SSL2}
        )
    }
    if not places:
        return ()
    shown = sorted(places)[:20]
    return (
        Check(
            id="config-allows-old",
            title="The configuration allows versions before TLS 1.2",
            state=CheckState.YES,
            detail=", ".join(shown) + (" and more" if len(places) > len(shown) else ""),
        ),
    )


class LineTally:
    """Counts what became of lines and keeps the first notes."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(LineState, 0)
        self._notes: list[LineNote] = []

    def count(self, state: LineState, place: Place, text: str, detail: str = "") -> None:
        """Count a line; note it where readers should know of it. ``text`` is a directive's name from our own lists."""
        self._counts[state] += 1
        if state not in {LineState.SUPPORTED, LineState.IRRELEVANT}:
            self.note(state, place, text, detail)

    def note(self, state: LineState, place: Place, text: str, detail: str) -> None:
        """Keep a note of a line that is counted elsewhere."""
        if len(self._notes) < MOST_NOTES_COUNT:
            self._notes.append(LineNote(place=place, state=state, text=text[:200], detail=detail))

    @property
    def counts(self) -> tuple[tuple[LineState, int], ...]:
        """As Reading.line_counts."""
        return tuple(self._counts.items())

    @property
    def notes(self) -> tuple[LineNote, ...]:
        """As Reading.notes."""
        return tuple(self._notes)
