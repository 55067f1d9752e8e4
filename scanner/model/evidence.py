"""Facts and gaps: two types on purpose, so that silence can never become "not supported" (the second law)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion


class State(StrEnum):
    """What is known of one version."""

    __hash__ = str.__hash__  # see TlsVersion

    ENABLED = "enabled"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class Basis(IntEnum):
    """What a fact rests on; the higher number is the stronger."""

    ASSUMED = 1
    DECLARED = 2
    LOGGED = 3
    HELLO = 4
    HANDSHAKE = 5

    @property
    def label(self) -> str:
        """The name in JSON: ``handshake``."""
        return self.name.lower()


class GapReason(StrEnum):
    """Why something could not be learned."""

    NAME_NOT_RESOLVED = "NAME_NOT_RESOLVED"
    """The name has no address, or the resolver did not answer."""
    REFUSED = "REFUSED"
    """Nothing listens on the port."""
    UNREACHABLE = "UNREACHABLE"
    """No route, or a router said so."""
    NO_ANSWER = "NO_ANSWER"
    """No answer to the connection attempt before the deadline."""
    SILENT = "SILENT"
    """Connected, but no answer to the hello before the deadline."""
    NOT_TLS = "NOT_TLS"
    """The peer speaks something else."""
    AMBIGUOUS = "AMBIGUOUS"
    """Refused in a way that may have other causes than the version."""
    INCONSISTENT = "INCONSISTENT"
    """The same question got different answers."""
    UNSTABLE = "UNSTABLE"
    """A question that had been answered before was not answered again: a rate limit, an IDS or a failing host."""
    NO_CONTROL = "NO_CONTROL"
    """No hello succeeded, so a refusal can't be told from a refusal of everything."""
    NAME_REFUSED = "NAME_REFUSED"
    """The peer seems to refuse the server name (or its absence), which says nothing about versions."""
    ODD_REPLY = "ODD_REPLY"
    """An answer that no TLS server may give."""
    OFFERED = "OFFERED"
    """The host's hello offers the version, or may, but no connection has shown whether it goes through with it."""
    SUITES = "SUITES"
    """Host and listener had no cipher suite, group or signature algorithm in common: that says nothing of versions."""
    NOT_SEEN = "NOT_SEEN"
    """Nothing of it arrived at the listener."""
    PROXY_DECLINED = "PROXY_DECLINED"
    """The proxy would not open the way: its policy, authentication, or it could not reach the destination."""
    TUNNEL = "TUNNEL"
    """The proxy passes TLS through and has none of its own there: the versions are those of the two ends."""
    VERSION_UNKNOWN = "VERSION_UNKNOWN"
    """The file does not set it, and the default depends on the product's version, which is not known."""
    NOT_IN_FILE = "NOT_IN_FILE"
    """The file does not cover it: an export of another branch, an object that is kept elsewhere."""
    INCLUDE_MISSING = "INCLUDE_MISSING"
    """A file that is included, and may decide it, was not supplied."""
    UNSUPPORTED = "UNSUPPORTED"
    """A directive that may decide it is known, but not understood in this form."""
    CONDITIONAL = "CONDITIONAL"
    """It depends on a condition that the file does not settle."""
    LIBRARY_POLICY = "LIBRARY_POLICY"
    """The configuration allows it; the TLS library's own policy (security level, openssl.cnf) may refuse it."""
    LOCAL_FAILURE = "LOCAL_FAILURE"
    """This machine could not ask."""
    OUT_OF_TIME = "OUT_OF_TIME"
    """The host's deadline passed before the questions were done."""
    INTERRUPTED = "INTERRUPTED"
    """The run was interrupted before the questions were done."""
    NOT_ASKED = "NOT_ASKED"
    """The question was not put."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a piece of evidence comes from."""

    source: str
    """The kind of source: ``hello-ladder``, ``sslyze-handshake``."""
    source_version: str
    """Version of what produced it."""
    locator: str
    """``tcp://192.0.2.7:443``, ``squid.conf:41``."""
    run: str
    """The run's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A fact: at seen_at, in this scope, this version was ENABLED or DISABLED."""

    host: str
    """The host it is about."""
    scope: str
    """What of the host it speaks for: an endpoint's locator with its server name, a program, a stack."""
    direction: Direction
    """Which side."""
    version: TlsVersion
    """Which version."""
    state: State
    """ENABLED or DISABLED, never UNKNOWN: that would be a Gap. Enforced."""
    basis: Basis
    """What it rests on."""
    seen_at: datetime
    """When it was true (UTC)."""
    origin: Origin
    """Where it comes from."""
    reason: str
    """One sentence for people: what was seen that makes it a fact."""
    is_contested: bool = False
    """True where the evidence itself carries a doubt that must be shown (SSLv2 SERVER-HELLO with no cipher)."""
    facts: tuple[tuple[str, str], ...] = field(default=())
    """Further facts by name, such as ``("cipher_suite", "0xC02F")``."""

    def __post_init__(self) -> None:
        if self.state is State.UNKNOWN:
            raise ValueError("an Observation is ENABLED or DISABLED; what is not known is a Gap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A failure to learn, with its reason. Never a fact, never a vote."""

    host: str
    """The host it is about."""
    scope: str
    """As in Observation."""
    direction: Direction
    """Which side."""
    version: TlsVersion | None
    """Which version; None where the gap is the whole scope's."""
    reason: GapReason
    """Why."""
    seen_at: datetime
    """When (UTC)."""
    origin: Origin
    """Where it comes from."""
    detail: str
    """One sentence for people."""


Evidence = Observation | Gap
