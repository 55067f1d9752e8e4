"""The outbound side: what hosts offered and settled for when they opened the connection, and what proxies do to TLS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scanner.model.certificates import Certificate
from scanner.model.evidence import Gap
from scanner.model.subjects import Upgrade
from scanner.model.verdicts import Verdict
from scanner.model.versions import TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedHello:
    """One form of ClientHello that a host sent; hellos with the same content but for random bytes are one form."""

    ja4: str
    """JA4 fingerprint (FoxIO, technical_details/JA4.md); empty for an SSLv2-format hello."""
    is_ssl2_format: bool
    """Whether it came as an SSLv2 CLIENT-HELLO (RFC 5246 appendix E.2)."""
    versions: tuple[TlsVersion, ...]
    """What it offers, oldest first: exact where ``has_version_list``, else only the highest is known."""
    has_version_list: bool
    """Whether supported_versions (RFC 8446 section 4.2.1) was there."""
    suites: tuple[int, ...]
    """Cipher suites (SSLv2: cipher kinds) in the order sent, GREASE (RFC 8701) included."""
    groups: tuple[int, ...]
    """supported_groups in the order sent."""
    alpn: tuple[str, ...]
    """ALPN protocols in the order sent. Text from the network."""
    server_name: str | None
    """SNI. Text from the network."""
    size_bytes: int
    """Length of the handshake message."""
    count: int
    """How many connections began with it."""
    first_seen_at: datetime
    """When the first of them was opened (UTC)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What came of the connections in which the listener would speak one version only."""

    version: TlsVersion
    """That version."""
    outcome: str
    """For people: ``completed``, ``refused with alert protocol_version(70)``."""
    count: int
    """How many connections ended so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundResult:
    """What is judged of one client of a host: a service, a stack, or a proxy's upstream side."""

    scope: str
    """As in Observation."""
    method: str
    """Id of the method (scanner.outbound.methods)."""
    method_title: str
    """The same for people."""
    limits: tuple[str, ...]
    """What this method can't show, a sentence each."""
    verdicts: tuple[Verdict, ...]
    """All six versions, oldest first, OUTBOUND."""
    gaps: tuple[Gap, ...] = ()
    """What could not be learned."""
    hellos: tuple[OfferedHello, ...] = ()
    """What it offered, the most frequent first."""
    settled: tuple[Settled, ...] = ()
    """What it settled for, newest version first."""
    connection_count: int = 0
    """Connections that it opened."""


class PathKind(StrEnum):
    """What a proxy does to TLS that goes through it."""

    TUNNEL = "tunnel"
    """It passes TLS through unchanged."""
    RE_ENCRYPTS = "re-encrypts"
    """It ends the client's TLS and opens its own."""
    BLOCKED = "blocked"
    """It would not open the way."""
    UNKNOWN = "unknown"
    """What was seen does not decide it."""


class Mirroring(StrEnum):
    """Whether a proxy's own offer depends on the client's."""

    MIRRORS = "mirrors"
    """It offers less to the server where the client offered less."""
    INDEPENDENT = "independent"
    """It offered the same whatever the client offered."""
    UNKNOWN = "unknown"
    """Not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathResult:
    """What is judged of one way through a proxy to one destination."""

    via: str
    """Locator of the proxy, without the destination."""
    upgrade: Upgrade
    """How it was asked."""
    destination: str
    """As in Endpoint."""
    server_name: str | None
    """SNI that was sent inside; a placeholder for the changing names that lead to a listener."""
    is_listener: bool
    """True where the destination is our listener, False for a registration endpoint."""
    kind: PathKind
    """What the proxy does."""
    reason: str
    """Why, in one sentence."""
    proof: tuple[str, ...] = ()
    """What was seen, a sentence each."""
    mirroring: Mirroring = Mirroring.UNKNOWN
    """Whether what it offers depends on the client."""
    verdicts: tuple[Verdict, ...] = ()
    """All six versions accepted through the path, oldest first, INBOUND: the proxy's interception side where it
    re-encrypts, else the destination's."""
    gaps: tuple[Gap, ...] = ()
    """What could not be learned."""
    certificates: tuple[Certificate, ...] = ()
    """Leaf certificates seen through the proxy."""
    direct_certificates: tuple[Certificate, ...] = ()
    """Leaf certificates seen without it."""
    limits: tuple[str, ...] = ()
    """What this can't show, a sentence each."""
