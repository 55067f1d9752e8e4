"""Merged states, and a policy's judgement of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scanner.model.evidence import Gap, Observation, State
from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The merged state of one (host or endpoint, direction, version)."""

    host: str
    """The host it is about."""
    scope: str | None
    """The one scope it is about; None for the host's own, merged over its scopes."""
    direction: Direction
    """Which side."""
    version: TlsVersion
    """Which version."""
    state: State
    """ENABLED, DISABLED or UNKNOWN."""
    is_disputed: bool
    """True where standing statements disagree or carry a doubt."""
    reason: str
    """The rule or evidence that decided, for people."""
    supporting: tuple[Observation, ...] = ()
    """Statements that agree with the state."""
    opposing: tuple[Observation, ...] = ()
    """Standing statements that say otherwise."""
    gaps: tuple[Gap, ...] = ()
    """What could not be learned about it."""


class Severity(StrEnum):
    """How a finding counts; FAILURE and WARNING make exit code 1, INFO does not."""

    FAILURE = "failure"
    WARNING = "warning"
    INFO = "info"


class Readiness(StrEnum):
    """A host's answer to the question the policy asks."""

    READY = "ready"
    NOT_READY = "not-ready"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a rule comes from."""

    title: str
    """Document title."""
    url: str
    """Public address of the document."""
    quote: str = ""
    """Short words of the source, or empty."""
    is_verified: bool = True
    """False where the statement is from memory: the product says so too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A policy's judgement of verdicts."""

    rule_id: str
    """The rule, such as ``tls12-inbound-required``."""
    severity: Severity
    """How it counts."""
    host: str
    """The host it is about."""
    title: str
    """One line."""
    advice: str
    """What to do, for people."""
    citations: tuple[Citation, ...]
    """Sources of rule and advice."""
    versions: tuple[TlsVersion, ...] = ()
    """Versions concerned."""
    scopes: tuple[str, ...] = ()
    """Endpoints concerned (locators with server names); empty for the whole host."""
