"""A run: what was learned (records, stored) and what is judged from it (results, recomputed)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scanner.model.certificates import Certificate
from scanner.model.checks import Check
from scanner.model.declared import Declaration, DeclaredResult
from scanner.model.evidence import Gap
from scanner.model.exchange import Exchange
from scanner.model.outbound import OutboundResult, PathResult
from scanner.model.subjects import Endpoint, Target
from scanner.model.verdicts import Finding, Readiness, Verdict
from scanner.model.versions import TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution; everything belongs to a run."""

    id: str
    """Sortable, unique: UTC time and four random hex digits, ``20261123T160700Z-1a2b``."""
    started_at: datetime
    """When it began (UTC)."""
    finished_at: datetime | None
    """When it ended (UTC); None while it runs or where it was killed."""
    is_complete: bool
    """False where it was interrupted before all questions were put."""
    policy_id: str
    """The policy it was judged with."""
    confirm: str
    """``all`` or ``none``: whether sslyze handshakes confirmed what the hellos found."""
    tool_version: str
    """Version of this program."""
    command: str = ""
    """``scan``, ``demo``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What the resolver said of a name; for an address given as such, that address."""

    addresses: tuple[str, ...] = ()
    """All IPv4 and IPv6 addresses, in resolver order."""
    cname_chain: tuple[str, ...] = ()
    """Canonical names passed on the way, in order, without the name asked for; empty where there is no CNAME."""
    error: str | None = None
    """Why there is no address."""
    cname_error: str | None = None
    """Why the CNAME chain could not be learned (addresses may be there all the same)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """Everything learned about one host. This is what the store keeps."""

    target: Target
    """What was asked for."""
    resolution: Resolution
    """Its addresses."""
    endpoints: tuple[Endpoint, ...]
    """What was contacted."""
    exchanges: tuple[Exchange, ...]
    """Every exchange, in the order asked."""
    stopped: str | None = None
    """``interrupted``, ``out-of-time`` or ``failed`` (our bug) where the questions were not all put; else None."""
    declarations: tuple[Declaration, ...] = ()
    """What files say of it, in the order given; kept in a table of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One sslyze handshake, for people."""

    version: TlsVersion
    """The version asked for."""
    is_completed: bool
    """Whether it ran to its end."""
    engine: str
    """The engine that ran it."""
    cipher_suite: str | None
    """Suite name as the engine gives it."""
    is_client_certificate_requested: bool
    """Whether the peer asked for a client certificate."""
    error: str | None
    """Why it did not complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointResult:
    """What is judged of one endpoint."""

    endpoint: Endpoint
    """Which."""
    verdicts: tuple[Verdict, ...]
    """All six versions, oldest first, per direction asked about."""
    gaps: tuple[Gap, ...]
    """Gaps of the whole endpoint and of single versions."""
    handshakes: tuple[Handshake, ...] = ()
    """sslyze handshakes, oldest version first."""
    certificates: tuple[Certificate, ...] = ()
    """The different leaf certificates seen, in the order seen."""
    connection_count: int = 0
    """Connections opened for the versions question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """What is judged of one host."""

    target: Target
    """What was asked for."""
    resolution: Resolution
    """Its addresses."""
    readiness: Readiness
    """The policy's answer."""
    readiness_reason: str
    """Why, in one sentence."""
    verdicts: tuple[Verdict, ...]
    """All six versions INBOUND, oldest first, merged over the endpoints; then, where they were asked about, all six
    OUTBOUND, merged over ``outbound``."""
    endpoints: tuple[EndpointResult, ...]
    """Each endpoint."""
    checks: tuple[Check, ...] = ()
    """What the host is."""
    gaps: tuple[Gap, ...] = ()
    """Gaps of the host as a whole (name not resolved)."""
    outbound: tuple[OutboundResult, ...] = ()
    """Its outbound side by client; empty where that was not asked about."""
    paths: tuple[PathResult, ...] = ()
    """Ways through it, where it is a proxy."""
    stopped: str | None = None
    """As in HostRecord."""
    declared: tuple[DeclaredResult, ...] = ()
    """What files say of it, in the order given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A whole run, judged. Every reporter takes this and nothing else."""

    run: Run
    """The run."""
    policy_version: str
    """Version of the policy's data file."""
    policy_title: str
    """Its title."""
    hosts: tuple[HostResult, ...]
    """Hosts in the order of the targets."""
    findings: tuple[Finding, ...]
    """All findings, worst first."""
    no_listener_counts: tuple[tuple[str, int], ...] = ()
    """Range addresses where nothing listened, by reason: ``(("REFUSED", 250),)``."""
