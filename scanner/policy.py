"""Policies: data files that say what is asked of a host, and their judgement. Pure apart from reading the file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from scanner.classify import scope_of
from scanner.model.evidence import State
from scanner.model.runs import Check, EndpointResult
from scanner.model.subjects import Role, Target
from scanner.model.verdicts import Citation, Finding, Readiness, Severity, Verdict
from scanner.model.versions import TlsVersion

DEFAULT_POLICY = "entra-drs"


class PolicyError(ValueError):
    """A policy that can't be found or is not well formed; the message is for the user."""


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
    citations: tuple[Citation, ...]
    """Sources."""
    advice_by_role: Mapping[Role, str]
    """Advice for hosts of a role, in place of ``advice``."""
    version: TlsVersion | None = None
    """The version it is about, for require-enabled and forbid-enabled."""
    check: str | None = None
    """The recognition check it is about, for check."""
    state: str | None = None
    """The check's state that makes the finding."""


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
    source = resources.files("scanner.policies") / f"{policy_id}.toml"
    if policy_id not in policy_ids():
        raise PolicyError(f"there is no policy {policy_id!r}; there are {', '.join(policy_ids())}")
    return parse_policy(source.read_text(encoding="utf-8"))


def parse_policy(text: str) -> Policy:
    """Return the policy that the TOML text describes; raises PolicyError."""
    try:
        data = tomllib.loads(text)
        citations = {key: Citation(**value) for key, value in data.get("citations", {}).items()}
        return Policy(
            id=data["id"],
            version=data["version"],
            title=data["title"],
            rules=tuple(_parse_rule(rule, citations) for rule in data["rules"]),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"not a policy: {type(error).__name__}: {error}") from error


_FIELDS_BY_KIND = {
    "require-enabled": {"version"},
    "forbid-enabled": {"version"},
    "disputed": set(),
    "check": {"check", "state"},
}


def _parse_rule(data: Mapping[str, Any], citations: Mapping[str, Citation]) -> Rule:
    kind = data["kind"]
    missing = _FIELDS_BY_KIND[kind] - data.keys()
    if missing:
        raise ValueError(f"rule {data['id']} of kind {kind} lacks {', '.join(sorted(missing))}")
    return Rule(
        id=data["id"],
        kind=kind,
        severity=Severity(data["severity"]),
        title=data["title"],
        advice=data["advice"],
        citations=tuple(citations[key] for key in data["citations"]),
        advice_by_role=MappingProxyType({Role(key): value for key, value in data.get("advice_by_role", {}).items()}),
        version=TlsVersion.from_label(data["version"]) if "version" in data else None,
        check=data.get("check"),
        state=data.get("state"),
    )


def judge_host(
    policy: Policy,
    target: Target,
    endpoints: Sequence[EndpointResult],
    verdicts: Sequence[Verdict],
    checks: Sequence[Check],
) -> tuple[tuple[Finding, ...], Readiness, str]:
    """Return the findings of one host, whether it is ready, and why in one sentence.

    endpoints: those that exist (a closed optional port is none).
    """
    findings = [
        finding for rule in policy.rules for finding in _JUDGES[rule.kind](rule, target, endpoints, verdicts, checks)
    ]
    readiness, reason = _readiness(policy, findings, endpoints)
    return tuple(findings), readiness, reason


def _readiness(
    policy: Policy, findings: Sequence[Finding], endpoints: Sequence[EndpointResult]
) -> tuple[Readiness, str]:
    failures = [finding for finding in findings if finding.severity is Severity.FAILURE]
    if failures:
        return Readiness.NOT_READY, "; ".join(dict.fromkeys(finding.title for finding in failures))
    required = [rule.version for rule in policy.rules if rule.kind == "require-enabled"]
    unknown = [
        verdict
        for endpoint in endpoints
        for verdict in endpoint.verdicts
        if verdict.version in required and verdict.state is not State.ENABLED
    ]
    if unknown or not endpoints:
        detail = unknown[0].reason if unknown else "nothing could be contacted"
        title = unknown[0].version.title if unknown else "TLS"
        return Readiness.UNKNOWN, f"{title}: {detail}"
    titles = ", ".join(version.title for version in required if version is not None)
    warnings = [finding for finding in findings if finding.severity is Severity.WARNING]
    reason = f"{titles} is accepted"
    if warnings:
        reason = f"{reason}; {'; '.join(dict.fromkeys(finding.title for finding in warnings))}"
    return Readiness.READY, reason


def _finding(
    rule: Rule, target: Target, *, versions: tuple[TlsVersion, ...] = (), scopes: tuple[str, ...] = ()
) -> Finding:
    return Finding(
        rule_id=rule.id,
        severity=rule.severity,
        host=target.host,
        title=rule.title,
        advice=rule.advice_by_role.get(target.role, rule.advice).strip(),
        citations=rule.citations,
        versions=versions,
        scopes=scopes,
    )


def _judge_require(
    rule: Rule,
    target: Target,
    endpoints: Sequence[EndpointResult],
    _verdicts: Sequence[Verdict],
    _checks: Sequence[Check],
) -> list[Finding]:
    """Every endpoint must have it: one node without TLS 1.2 fails the devices that reach it."""
    return _judge_state(rule, target, endpoints, State.DISABLED)


def _judge_forbid(
    rule: Rule,
    target: Target,
    endpoints: Sequence[EndpointResult],
    _verdicts: Sequence[Verdict],
    _checks: Sequence[Check],
) -> list[Finding]:
    return _judge_state(rule, target, endpoints, State.ENABLED)


def _judge_state(rule: Rule, target: Target, endpoints: Sequence[EndpointResult], state: State) -> list[Finding]:
    scopes = tuple(
        scope_of(result.endpoint)
        for result in endpoints
        for verdict in result.verdicts
        if verdict.version is rule.version and verdict.state is state
    )
    if not scopes or rule.version is None:
        return []
    return [_finding(rule, target, versions=(rule.version,), scopes=scopes)]


def _judge_disputed(
    rule: Rule,
    target: Target,
    endpoints: Sequence[EndpointResult],
    verdicts: Sequence[Verdict],
    _checks: Sequence[Check],
) -> list[Finding]:
    disputed = [verdict for verdict in verdicts if verdict.is_disputed]
    if not disputed:
        return []
    scopes = tuple(
        scope_of(result.endpoint)
        for result in endpoints
        if any(verdict.version in {d.version for d in disputed} for verdict in result.verdicts)
    )
    return [_finding(rule, target, versions=tuple(verdict.version for verdict in disputed), scopes=scopes)]


def _judge_check(
    rule: Rule,
    target: Target,
    _endpoints: Sequence[EndpointResult],
    _verdicts: Sequence[Verdict],
    checks: Sequence[Check],
) -> list[Finding]:
    return [_finding(rule, target) for check in checks if check.id == rule.check and check.state.value == rule.state][
        :1
    ]


_JUDGES = {
    "require-enabled": _judge_require,
    "forbid-enabled": _judge_forbid,
    "disputed": _judge_disputed,
    "check": _judge_check,
}
