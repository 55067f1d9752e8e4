"""What a certificate says, and who trusts it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustResult:
    """Whether one of sslyze's trust stores accepts a chain for the server name."""

    store: str
    """``Mozilla``, ``Windows``, ``Apple``, ``Android``, ``Java``."""
    store_version: str
    """The store's date or version."""
    is_trusted: bool
    """Whether path validation succeeded at the time of the exchange."""
    error: str | None = None
    """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a peer's leaf certificate says. All text is from the network: escape it."""

    subject: str
    """RFC 4514 string."""
    issuer: str
    """RFC 4514 string."""
    not_before: datetime | None
    """Validity begin (UTC); None where it can't be read."""
    not_after: datetime | None
    """Validity end (UTC)."""
    sha256: str
    """Fingerprint of the DER, lower-case hex."""
    names: tuple[str, ...] = ()
    """DNS names and addresses of subjectAltName."""
    key: str = ""
    """``RSA 2048``, ``EC secp256r1``, ``Ed25519``."""
    chain_count: int = 1
    """Certificates the peer sent."""
    trust: tuple[TrustResult, ...] = ()
    """One result a store; empty where validation was not done."""
    parse_error: str | None = None
    """Where the DER or a part of it could not be parsed: why (subject and issuer may then be empty)."""
