"""Evidence -> verdicts. Pure; the order of the evidence never matters (design section 5).

Per scope the strongest basis stands, the newest run within a basis; gaps never vote. A host is ENABLED if any scope is,
DISABLED only if every known scope is, otherwise UNKNOWN. Standing statements that disagree make a verdict disputed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scanner.model.evidence import Evidence, Gap, Observation, Origin, State
from scanner.model.subjects import Direction
from scanner.model.verdicts import Verdict
from scanner.model.versions import TlsVersion


def merge_scope(
    evidence: Iterable[Evidence], *, host: str, scope: str, direction: Direction, version: TlsVersion
) -> Verdict:
    """Return the verdict for one scope from the evidence about it; other evidence is passed over."""
    own = [
        item
        for item in evidence
        if item.version in {version, None} and item.scope == scope and item.host == host and item.direction is direction
    ]
    if len(own) > 1:
        own = list(dict.fromkeys(own))  # the same statement twice is one statement
    observations = sorted((item for item in own if isinstance(item, Observation)), key=_sort_key)
    gaps = tuple(sorted((item for item in own if isinstance(item, Gap)), key=_gap_sort_key))
    standing = _standing(observations)
    enabled = [item for item in standing if item.state is State.ENABLED]
    disabled = [item for item in standing if item.state is State.DISABLED]
    # A weaker basis that says otherwise does not change the state, but it must be seen: "registry off, probe got in".
    state = State.ENABLED if enabled else State.DISABLED if disabled else State.UNKNOWN
    opposing = tuple(item for item in observations if state is not State.UNKNOWN and item.state is not state)
    supporting = tuple(item for item in observations if item.state is state)
    is_disputed = bool(opposing) or (bool(enabled) and all(item.is_contested for item in enabled))
    return Verdict(
        host=host,
        scope=scope,
        direction=direction,
        version=version,
        state=state,
        is_disputed=is_disputed,
        reason=_reason(enabled or disabled, gaps),
        supporting=supporting,
        opposing=opposing,
        gaps=gaps,
    )


def merge_host(
    verdicts: Sequence[Verdict], *, host: str, direction: Direction, version: TlsVersion, gaps: Sequence[Gap] = ()
) -> Verdict:
    """Return a host's verdict from the verdicts of its scopes (those that exist: a closed optional port is none)."""
    own = sorted(
        (item for item in verdicts if item.host == host and item.direction is direction and item.version is version),
        key=lambda item: item.scope or "",
    )
    states = {item.state for item in own}
    if State.ENABLED in states:
        state = State.ENABLED
    elif states == {State.DISABLED}:
        state = State.DISABLED
    else:
        state = State.UNKNOWN
    deciding = [item for item in own if item.state is state]
    has_both = {State.ENABLED, State.DISABLED} <= states
    reason = deciding[0].reason if deciding else "nothing was learned"
    if not own and gaps:
        reason = gaps[0].detail
    elif has_both:
        reason = f"accepted at {_count(deciding)} of {_count(own)} endpoints; they differ"
    elif len(own) > 1 and deciding:
        reason = f"{reason} ({_count(deciding)} of {_count(own)} endpoints)"
    return Verdict(
        host=host,
        scope=None,
        direction=direction,
        version=version,
        state=state,
        is_disputed=has_both or any(item.is_disputed for item in own),
        reason=reason,
        supporting=tuple(o for item in own for o in (*item.supporting, *item.opposing) if o.state is state),
        opposing=tuple(
            o
            for item in own
            for o in (*item.supporting, *item.opposing)
            if state is not State.UNKNOWN and o.state is not state
        ),
        gaps=(*gaps, *(gap for item in own for gap in item.gaps)),
    )


def _standing(observations: Sequence[Observation]) -> list[Observation]:
    """Return the statements that count: the strongest basis, and of that the newest run."""
    if not observations:
        return []
    basis = max(item.basis for item in observations)
    strongest = [item for item in observations if item.basis is basis]
    newest = max(strongest, key=lambda item: (item.seen_at, item.origin.run))
    # Within one run nothing is "newer": two answers to one question in a run are a contradiction, to be shown.
    return [item for item in strongest if item.origin.run == newest.origin.run]


def _reason(deciding: Sequence[Observation], gaps: Sequence[Gap]) -> str:
    if deciding:
        return deciding[0].reason
    return gaps[0].detail if gaps else "nothing was learned"


def _count(verdicts: Sequence[Verdict]) -> int:
    return len({item.scope for item in verdicts})


def _sort_key(item: Observation) -> tuple[object, ...]:
    """Return a key that no two different statements share: then the order of the evidence can't show."""
    head = (-item.basis, -item.seen_at.timestamp(), item.state.value, item.origin.locator, item.reason)
    return (*head, item.is_contested, *_origin_key(item.origin), item.facts)


def _gap_sort_key(gap: Gap) -> tuple[object, ...]:
    return gap.version is None, gap.reason.value, gap.detail, gap.seen_at.timestamp(), *_origin_key(gap.origin)


def _origin_key(origin: Origin) -> tuple[str, str, str, str]:
    return origin.locator, origin.source, origin.source_version, origin.run
