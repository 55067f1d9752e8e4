"""Policies: data files that say what is asked of a host, and their judgement. Pure apart from reading the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from scanner.classify import scope_of
from scanner.model.checks import Check, CheckState
from scanner.model.evidence import State
from scanner.model.outbound import OutboundResult, PathKind, PathResult
from scanner.model.runs import EndpointResult
from scanner.model.subjects import Direction, Role, Target
from scanner.model.verdicts import Citation, Finding, Readiness, Severity, Verdict
from scanner.model.versions import TlsVersion

DEFAULT_POLICY = "entra-drs"


class PolicyError(ValueError):
    """A policy that can't be found or is not well formed; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorAdvice:
    """How a product's versions are set."""

    advice: str
    """What to set, and where."""
    citation: Citation
    """Where that is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing a policy asks."""

    id: str
    """Name of the rule in findings."""
    kind: str
    """``require-enabled``, ``forbid-enabled``, ``disputed`` or ``check``."""
    severity: Severity
    """How its findings count."""
    title: str
    """One line."""
    advice: str
    """What to do."""
    how: str
    """How, for hosts whose vendor is not known; follows ``advice``."""
    citations: tuple[Citation, ...]
    """Sources."""
    advice_by_role: Mapping[Role, str]
    """Advice for hosts of a role, in place of ``advice`` and ``how``."""
    citations_by_role: Mapping[Role, tuple[Citation, ...]]
    """Further sources for hosts of a role."""
    advice_by_vendor: Mapping[str, VendorAdvice]
    """Advice by plain_vendor(name), in place of ``how``; empty where the rule is not about a version."""
    version: TlsVersion | None = None
    """The version it is about, for require-enabled and forbid-enabled."""
    check: str | None = None
    """The recognition check it is about, for check."""
    state: CheckState | None = None
    """The check's state that makes the finding."""
    direction: Direction = Direction.INBOUND
    """Which side it is about, for require-enabled and forbid-enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A set of rules with a version."""

    id: str
    """``entra-drs``."""
    version: str
    """Version of the data file."""
    title: str
    """One line."""
    rules: tuple[Rule, ...]
    """In the order of the file."""

    @property
    def forbidden_versions(self) -> frozenset[TlsVersion]:
        """Versions that must not be accepted."""
        return frozenset(
            rule.version
            for rule in self.rules
            if rule.kind == "forbid-enabled" and rule.direction is Direction.INBOUND and rule.version is not None
        )


def policy_ids() -> tuple[str, ...]:
    """Return the names of the policies that come with the program."""
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in resources.files("scanner.policies").iterdir()
            if entry.name.endswith(".toml")
        )
    )


@cache
def read_policy(policy_id: str) -> Policy:
    """Return a policy that comes with the program; raises PolicyError."""
    if policy_id not in policy_ids():
        raise PolicyError(f"there is no policy {policy_id!r}; there are {', '.join(policy_ids())}")
    return parse_policy((resources.files("scanner.policies") / f"{policy_id}.toml").read_text(encoding="utf-8"))


def parse_policy(text: str) -> Policy:
    """Return the policy that the TOML text describes; raises PolicyError.

    A policy with a ``base`` has that policy's rules, with other severities.
    """
    try:
        data = tomllib.loads(text)
        rules = _changed_rules(data) if "base" in data else _own_rules(data)
        return Policy(id=data["id"], version=data["version"], title=data["title"], rules=rules)
    except KeyError as error:
        raise PolicyError(f"not a policy: {error} is missing or not known") from error
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise PolicyError(f"not a policy: {error}") from error


def plain_vendor(name: str) -> str:
    """Return a vendor's name as it is compared: ``F5 BIG-IP v17.1`` is ``f5 big ip``."""
    words = re.sub(r"[^a-z0-9.]+", " ", name.casefold()).split()
    while len(words) > 1 and re.fullmatch(r"[vr]?\d[\w.]*", words[-1]):
        words.pop()
    return " ".join(words)


_FIELDS_BY_KIND = {
    "require-enabled": {"version"},
    "forbid-enabled": {"version"},
    "disputed": set(),
    "check": {"check", "state"},
}


def _changed_rules(data: Mapping[str, Any]) -> tuple[Rule, ...]:
    severities = {rule_id: Severity(value) for rule_id, value in data["severities"].items()}
    rules = read_policy(data["base"]).rules
    unknown = severities.keys() - {rule.id for rule in rules}
    if unknown:
        raise ValueError(f"{data['base']} has no rule {', '.join(sorted(unknown))}")
    return tuple(replace(rule, severity=severities.get(rule.id, rule.severity)) for rule in rules)


def _own_rules(data: Mapping[str, Any]) -> tuple[Rule, ...]:
    citations = {key: Citation(**value) for key, value in data["citations"].items()}
    vendors = {
        plain_vendor(name): VendorAdvice(advice=vendor["advice"].strip(), citation=Citation(**vendor["citation"]))
        for vendor in data.get("vendors", {}).values()
        for name in vendor["names"]
    }
    return tuple(_parse_rule(rule, citations, vendors) for rule in data["rules"])


def _parse_rule(
    data: Mapping[str, Any], citations: Mapping[str, Citation], vendors: Mapping[str, VendorAdvice]
) -> Rule:
    kind = data["kind"]
    if kind not in _FIELDS_BY_KIND:
        raise ValueError(f"rule {data['id']}: there is no kind {kind!r}; there are {', '.join(_FIELDS_BY_KIND)}")
    missing = _FIELDS_BY_KIND[kind] - data.keys()
    if missing:
        raise ValueError(f"rule {data['id']} of kind {kind} lacks {', '.join(sorted(missing))}")

    direction = Direction(data.get("direction", Direction.INBOUND))
    is_about_inbound = "version" in _FIELDS_BY_KIND[kind] and direction is Direction.INBOUND

    def cited(keys: Sequence[str]) -> tuple[Citation, ...]:
        return tuple(citations[key] for key in keys)

    return Rule(
        id=data["id"],
        kind=kind,
        severity=Severity(data["severity"]),
        title=data["title"],
        advice=data["advice"].strip(),
        how=data.get("how", "").strip(),
        citations=cited(data["citations"]),
        advice_by_role=MappingProxyType(
            {Role(key): value.strip() for key, value in data.get("advice_by_role", {}).items()}
        ),
        citations_by_role=MappingProxyType(
            {Role(key): cited(value) for key, value in data.get("citations_by_role", {}).items()}
        ),
        # The vendors' settings are those of the side that accepts.
        advice_by_vendor=MappingProxyType(dict(vendors) if is_about_inbound else {}),
        version=TlsVersion.from_label(data["version"]) if "version" in data else None,
        check=data.get("check"),
        state=CheckState(data["state"]) if "state" in data else None,
        direction=direction,
    )


def judge_host(
    policy: Policy,
    target: Target,
    endpoints: Sequence[EndpointResult],
    verdicts: Sequence[Verdict],
    checks: Sequence[Check],
    *,
    outbound: Sequence[OutboundResult] = (),
    paths: Sequence[PathResult] = (),
    declared: Sequence[tuple[str, Direction, tuple[Verdict, ...]]] = (),
) -> tuple[tuple[Finding, ...], Readiness, str]:
    """Return the findings of one host, whether it is ready, and why in one sentence.

    endpoints: those that exist (a closed optional port is none). outbound: its clients, empty where that side was not
    asked about; paths: ways through it, where it is a proxy. declared: (scope, direction, verdicts) of what is known
    from files alone.
    """
    scopes = [
        *(_Scope(scope_of(result.endpoint), Direction.INBOUND, result.verdicts) for result in endpoints),
        *(_Scope(client.scope, Direction.OUTBOUND, client.verdicts) for client in outbound),
        *(_Scope(scope, direction, own) for scope, direction, own in declared),
    ]
    findings = [
        finding for rule in policy.rules for finding in _JUDGES[rule.kind](rule, target, scopes, verdicts, checks)
    ]
    readiness, reason = _readiness(policy, findings, scopes, paths)
    return tuple(findings), readiness, reason


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a rule about versions looks at: an endpoint of the host, or a client of it."""

    name: str
    direction: Direction
    verdicts: tuple[Verdict, ...]


def _readiness(
    policy: Policy, findings: Sequence[Finding], scopes: Sequence[_Scope], paths: Sequence[PathResult]
) -> tuple[Readiness, str]:
    failures = [finding for finding in findings if finding.severity is Severity.FAILURE]
    if failures:
        return Readiness.NOT_READY, "; ".join(dict.fromkeys(finding.title for finding in failures))
    ways = {path.kind for path in paths if path.is_listener} or {path.kind for path in paths}
    is_tunnel = ways == {PathKind.TUNNEL}
    required = {(rule.direction, rule.version) for rule in policy.rules if rule.kind == "require-enabled"}
    unknown = [
        verdict
        for scope in scopes
        for verdict in scope.verdicts
        if (verdict.direction, verdict.version) in required and verdict.state is not State.ENABLED
        if not (is_tunnel and verdict.direction is Direction.OUTBOUND)
    ]
    if unknown or not (scopes or is_tunnel):
        detail = unknown[0].reason if unknown else "nothing could be contacted"
        title = unknown[0].version.title if unknown else "TLS"
        side = " outbound" if unknown and unknown[0].direction is Direction.OUTBOUND else ""
        return Readiness.UNKNOWN, f"{title}{side}: {detail}"
    warnings = [finding for finding in findings if finding.severity is Severity.WARNING]
    reason = _ready_reason(policy, scopes, is_tunnel=is_tunnel)
    if warnings:
        reason = f"{reason}; {'; '.join(dict.fromkeys(finding.title for finding in warnings))}"
    return Readiness.READY, reason


def _ready_reason(policy: Policy, scopes: Sequence[_Scope], *, is_tunnel: bool) -> str:
    words = {Direction.INBOUND: "is accepted", Direction.OUTBOUND: "is used outbound"}
    parts = []
    for direction, word in words.items():
        titles = [
            rule.version.title
            for rule in policy.rules
            if rule.kind == "require-enabled" and rule.direction is direction and rule.version is not None
        ]
        is_seen = any(scope.direction is direction for scope in scopes)
        if titles and is_seen and not (is_tunnel and direction is Direction.OUTBOUND):
            parts.append(f"{', '.join(titles)} {word}")
    if is_tunnel:
        parts.append("TLS passes through unchanged, so its clients decide")
    return "; ".join(parts)


def _finding(
    rule: Rule, target: Target, *, versions: tuple[TlsVersion, ...] = (), scopes: tuple[str, ...] = ()
) -> Finding:
    vendor = rule.advice_by_vendor.get(plain_vendor(target.vendor)) if target.vendor is not None else None
    what, how = rule.advice_by_role.get(target.role, rule.advice), ""
    if vendor is not None:
        how = vendor.advice
    elif target.role not in rule.advice_by_role:
        how = rule.how
    return Finding(
        rule_id=rule.id,
        severity=rule.severity,
        host=target.host,
        title=rule.title,
        advice=f"{what} {how}".strip(),
        citations=(
            *rule.citations,
            *rule.citations_by_role.get(target.role, ()),
            *((vendor.citation,) if vendor is not None else ()),
        ),
        versions=versions,
        scopes=scopes,
    )


def _judge_require(
    rule: Rule,
    target: Target,
    scopes: Sequence[_Scope],
    _verdicts: Sequence[Verdict],
    _checks: Sequence[Check],
) -> list[Finding]:
    """Every endpoint must have it: one node without TLS 1.2 fails the devices that reach it."""
    return _judge_state(rule, target, scopes, State.DISABLED)


def _judge_forbid(
    rule: Rule,
    target: Target,
    scopes: Sequence[_Scope],
    _verdicts: Sequence[Verdict],
    _checks: Sequence[Check],
) -> list[Finding]:
    return _judge_state(rule, target, scopes, State.ENABLED)


def _judge_state(rule: Rule, target: Target, scopes: Sequence[_Scope], state: State) -> list[Finding]:
    concerned = tuple(
        scope.name
        for scope in scopes
        for verdict in scope.verdicts
        if verdict.version is rule.version and verdict.direction is rule.direction and verdict.state is state
    )
    if not concerned or rule.version is None:
        return []
    return [_finding(rule, target, versions=(rule.version,), scopes=concerned)]


def _judge_disputed(
    rule: Rule,
    target: Target,
    scopes: Sequence[_Scope],
    verdicts: Sequence[Verdict],
    _checks: Sequence[Check],
) -> list[Finding]:
    disputed = {(verdict.direction, verdict.version) for verdict in verdicts if verdict.is_disputed}
    if not disputed:
        return []
    concerned = tuple(
        scope.name
        for scope in scopes
        if any((verdict.direction, verdict.version) in disputed for verdict in scope.verdicts)
    )
    versions = tuple(dict.fromkeys(verdict.version for verdict in verdicts if verdict.is_disputed))
    return [_finding(rule, target, versions=versions, scopes=concerned)]


def _judge_check(
    rule: Rule,
    target: Target,
    _scopes: Sequence[_Scope],
    _verdicts: Sequence[Verdict],
    checks: Sequence[Check],
) -> list[Finding]:
    return [_finding(rule, target) for check in checks if check.id == rule.check and check.state is rule.state][:1]


_JUDGES = {
    "require-enabled": _judge_require,
    "forbid-enabled": _judge_forbid,
    "disputed": _judge_disputed,
    "check": _judge_check,
}
