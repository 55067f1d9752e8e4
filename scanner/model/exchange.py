"""What the wire did, uninterpreted: the first law (bytes first) as types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion


class Probe(StrEnum):
    """The kinds of question that are put to an endpoint."""

    __hash__ = str.__hash__  # see TlsVersion

    HELLO = "hello"
    """One ClientHello, read up to the ServerHello or alert (scanner.probes.hello_ladder)."""
    HANDSHAKE = "handshake"
    """A handshake driven by sslyze's engine, nassl (scanner.probes.handshake)."""
    HTTP = "http"
    """One HTTP/1.1 request, over TLS or in the clear (scanner.probes.http)."""
    PATH = "path"
    """A TLS client of our own through a proxy, or straight, to a listener of ours. ``sent`` and ``received`` are the
    TLS bytes; where the proxy would not open the way, ``received`` is what it said."""
    LISTENER = "listener"
    """A connection that a host opened to our listener. The roles are swapped: ``received`` are the client's TLS bytes,
    its hello first, ``sent`` are ours. ``endpoint``: the host that is credited, the address it came from, the
    listener's port, the name it asked for. ``version``: the only one the listener would speak, None where it answered
    nothing. ``path``: of the HTTP request that followed, if any. ``engine.chain_der``: the listener's own
    certificate."""


VERSION_PROBES = frozenset({Probe.HELLO, Probe.HANDSHAKE})
"""Questions about one version of the endpoint they were put to."""


class HelloVariant(StrEnum):
    """Which form of hello was sent; scanner.tls.hello says what is in each."""

    __hash__ = str.__hash__  # see TlsVersion

    BROAD = "broad"
    """Every suite the registry knows, every group, more than 511 bytes."""
    COMPACT = "compact"
    """The suites most servers have, under 256 bytes where the server name allows; for TLS 1.3 with a real key share."""
    RARE = "rare"
    """Anonymous, PSK, NULL, export, DES, RC4 and CCM suites; for TLS 1.3 with more real key shares, over 511 bytes."""
    EXOTIC = "exotic"
    """National and nearly forgotten suites: ARIA, Camellia, GOST, SM4, SEED, IDEA, Kerberos, SRP, ECCPWD."""


class Ending(StrEnum):
    """How a connection ended, as the operating system told it."""

    __hash__ = str.__hash__  # see TlsVersion

    COMPLETE = "complete"
    """The conversation had what it wanted and we closed."""
    PEER_CLOSED = "peer-closed"
    """The peer sent FIN before the conversation was over."""
    PEER_RESET = "peer-reset"
    """The peer sent RST after the connection was established."""
    TIMED_OUT_CONNECT = "timed-out-connect"
    """No answer to SYN before the deadline."""
    TIMED_OUT_READ = "timed-out-read"
    """Connected, but the conversation was not over by the deadline."""
    REFUSED = "refused"
    """RST (or ICMP port unreachable) in answer to SYN."""
    UNREACHABLE = "unreachable"
    """ICMP host or network unreachable, or no route."""
    UPGRADE_DECLINED = "upgrade-declined"
    """The peer would not go on to TLS (STARTTLS or CONNECT refused)."""
    OVERSIZE = "oversize"
    """The peer sent more than the request's max_bytes."""
    LOCAL_FAILURE = "local-failure"
    """This machine could not do it: no descriptor, no port, a bug. Says nothing about the peer."""
    CANCELLED = "cancelled"
    """The run was interrupted, or the host's deadline passed, before the answer came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One question put to one endpoint over one connection."""

    id: int
    """Unique within a run; the order in which the questions were asked."""
    probe: Probe
    """The kind of question."""
    endpoint: Endpoint
    """Where."""
    version: TlsVersion | None
    """The protocol version asked for; None where the question is not about one (HTTP)."""
    variant: HelloVariant | None = None
    """The form of hello; None for other probes."""
    path: str | None = None
    """The HTTP path asked for; None for other probes."""
    deadline_s: float = 5.0
    """Seconds for the whole exchange, connect included."""
    max_bytes: int = 65_536
    """Most bytes accepted from the peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """What the TLS engine said of a handshake. Kept beside the bytes because TLS 1.3 encrypts the certificate."""

    engine: str
    """Library and build, such as ``nassl 5.4.0 (legacy OpenSSL)``."""
    completed: bool
    """Whether the handshake ran to its end."""
    cipher_suite: str | None = None
    """The suite's name as the engine gives it (OpenSSL's names)."""
    chain_der: tuple[bytes, ...] = ()
    """Certificates in DER as the peer sent them, leaf first."""
    client_certificate_requested: bool = False
    """Whether the peer asked for a client certificate."""
    error: str | None = None
    """The engine's error text where the handshake did not complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What was sent, what came back, how it ended. Nothing here is interpreted."""

    request: ProbeRequest
    """The question."""
    started_at: datetime
    """When the connection was begun (UTC)."""
    sent: bytes
    """Bytes handed to the kernel; for HTTP over TLS the request in the clear."""
    received: bytes
    """Bytes read, at most request.max_bytes; for HTTP over TLS the response in the clear."""
    ending: Ending
    """How it ended."""
    elapsed_s: float
    """Seconds from the begin of connect to the end."""
    os_error: str | None = None
    """The operating system's error, such as ``ECONNRESET``."""
    engine: EngineReport | None = None
    """What the TLS engine said, for probes that used one."""
