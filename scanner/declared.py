"""What files declare of a host, as observations and gaps, tied to the endpoints that were measured. Pure.

A statement about something that was measured stands beside the measurement, in its scope, so that one that says
otherwise makes the verdict disputed. All else has a scope of its own. What Schannel *allows* is no statement about an
endpoint, as programs may narrow it; what it turns off is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scanner.classify import scope_of
from scanner.merge import merge_scope
from scanner.model.declared import Declaration, DeclaredLeg, DeclaredResult, Leg, Listen, Setting
from scanner.model.evidence import Basis, Evidence, Gap, GapReason, Observation, Origin, State
from scanner.model.subjects import Direction, Endpoint, Upgrade
from scanner.model.verdicts import Verdict
from scanner.model.versions import ALL_VERSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tied:
    """The declarations of one host, tied to what was measured."""

    results: tuple[DeclaredResult, ...]
    """Each file."""
    by_scope: Mapping[str, tuple[Evidence, ...]]
    """Statements about measured endpoints, by their scope (scanner.classify.scope_of)."""


def tie_declarations(declarations: Sequence[Declaration], endpoints: Sequence[Endpoint]) -> Tied:
    """Return one host's declarations, judged, and what they say of its endpoints."""
    own = [each for each in endpoints if each.upgrade is Upgrade.NONE]
    by_scope: dict[str, list[Evidence]] = {}
    results = []
    for declaration in declarations:
        legs = declaration.reading.legs
        measured: dict[str, list[str]] = {leg.name: [] for leg in legs}
        for endpoint in own:
            scope = scope_of(endpoint)
            found = legs_of(endpoint, legs)
            for leg in found:
                measured[leg.name].append(scope)
            evidence = [*_evidence_of(declaration, scope, found), *_bans_of(declaration, scope, legs)]
            by_scope.setdefault(scope, []).extend(evidence)
        results.append(
            DeclaredResult(
                declaration=declaration,
                legs=tuple(_judge_leg(declaration, leg, tuple(measured[leg.name])) for leg in legs),
            )
        )
    return Tied(results=tuple(results), by_scope={scope: tuple(found) for scope, found in by_scope.items()})


def voting_scopes(
    results: Iterable[DeclaredResult], *, measured: Iterable[Direction]
) -> tuple[tuple[str, Direction, tuple[Verdict, ...]], ...]:
    """Return (scope, direction, verdicts) of what is known from files alone.

    measured: directions in which something was measured. Where there is anything but a permission in a direction, of a
    permission only what it turns off counts.
    """
    legs = [leg for result in results for leg in result.legs if leg.has_vote]
    settled = {*measured, *(leg.leg.direction for leg in legs if not leg.leg.is_permission)}
    found = []
    for leg in legs:
        verdicts = leg.verdicts
        if leg.leg.is_permission and leg.leg.direction in settled:
            verdicts = tuple(verdict for verdict in verdicts if verdict.state is State.DISABLED)
        found.append((leg.scope, leg.leg.direction, verdicts))
    return tuple(found)


def legs_of(endpoint: Endpoint, legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """Return the legs that may have answered at an endpoint: more than one where the file leaves it open.

    By address and port, of which a written address comes before any address; then by server name.
    """
    near = [
        (leg, listen)
        for leg in legs
        for listen in leg.listens
        if leg.direction is Direction.INBOUND and not leg.is_management and _hears(listen, endpoint)
    ]
    if any(listen.address is not None for _, listen in near):
        near = [(leg, listen) for leg, listen in near if listen.address is not None]
    found = tuple({leg.name: leg for leg, _ in near}.values())
    for is_own in (_is_named, _is_below_wildcard, _is_nameless):
        chosen = tuple(leg for leg in found if is_own(leg, endpoint.server_name))
        if chosen:
            return chosen
    return found


def _hears(listen: Listen, endpoint: Endpoint) -> bool:
    return listen.port == endpoint.port and listen.address in {None, endpoint.address}


def _is_named(leg: Leg, name: str | None) -> bool:
    return name is not None and name in leg.server_names


def _is_below_wildcard(leg: Leg, name: str | None) -> bool:
    if name is None:
        return False
    return any(each.startswith("*.") and name.endswith(each[1:]) for each in leg.server_names)


def _is_nameless(leg: Leg, _name: str | None) -> bool:
    return not leg.server_names


def _evidence_of(declaration: Declaration, scope: str, legs: Sequence[Leg]) -> list[Evidence]:
    """Return what the file says of an endpoint that one of these legs answers at, nobody knows which."""
    if not legs:
        return []
    found: list[Evidence] = []
    for at, version in enumerate(ALL_VERSIONS):
        settings = [leg.settings[at] for leg in legs]
        direction = legs[0].direction
        if len({(setting.state, setting.gap) for setting in settings}) == 1:
            found.append(_evidence(declaration, scope, direction, settings[0]))
            continue
        detail = f"{len(legs)} parts of {declaration.reading.file} may have answered here, and they differ"
        template = _evidence(declaration, scope, direction, settings[0])
        found.append(
            Gap(
                host=template.host,
                scope=scope,
                direction=direction,
                version=version,
                reason=GapReason.CONDITIONAL,
                seen_at=template.seen_at,
                origin=replace(template.origin, locator=declaration.reading.file),
                detail=detail,
            )
        )
    return found


def _bans_of(declaration: Declaration, scope: str, legs: Iterable[Leg]) -> list[Evidence]:
    """Return what permissions turn off, wherever the host accepts connections."""
    return [
        _evidence(declaration, scope, leg.direction, setting)
        for leg in legs
        if leg.is_permission and leg.direction is Direction.INBOUND and not leg.listens
        for setting in leg.settings
        if setting.state is State.DISABLED
    ]


def _judge_leg(declaration: Declaration, leg: Leg, measured_scopes: tuple[str, ...]) -> DeclaredLeg:
    scope = f"{leg.name} in {declaration.reading.file}"
    evidence = [_evidence(declaration, scope, leg.direction, setting) for setting in leg.settings]
    return DeclaredLeg(
        leg=leg,
        scope=scope,
        measured_scopes=measured_scopes,
        verdicts=tuple(
            merge_scope(evidence, host=declaration.host, scope=scope, direction=leg.direction, version=version)
            for version in ALL_VERSIONS
        ),
    )


def _evidence(declaration: Declaration, scope: str, direction: Direction, setting: Setting) -> Evidence:
    reading = declaration.reading
    seen_at = reading.collected_at or declaration.given_at
    origin = Origin(
        source=reading.importer,
        source_version=declaration.tool_version,
        locator=setting.place.locator if setting.place is not None else reading.file,
        run=declaration.run,
    )
    if setting.gap is not None:
        return Gap(
            host=declaration.host,
            scope=scope,
            direction=direction,
            version=setting.version,
            reason=setting.gap,
            seen_at=seen_at,
            origin=origin,
            detail=setting.reason,
        )
    return Observation(
        host=declaration.host,
        scope=scope,
        direction=direction,
        version=setting.version,
        state=setting.state,
        basis=setting.basis,
        seen_at=seen_at,
        origin=origin,
        reason=setting.reason,
        facts=(("product", reading.product), ("sha256", reading.sha256)),
    )


MEASURED = frozenset({Basis.HANDSHAKE, Basis.HELLO, Basis.LOGGED})
"""Bases of statements that something was seen, and not only written."""
