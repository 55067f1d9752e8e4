"""The protocol versions that verdicts are about."""

from __future__ import annotations

from enum import IntEnum


class TlsVersion(IntEnum):
    """A protocol version by its number on the wire; ordered oldest to newest (RFC 8446 section 4.2.1, RFC 6101)."""

    # Enum's own hash is written in Python; versions are looked up in tables some ten times a question.
    __hash__ = int.__hash__

    SSL2 = 0x0002
    SSL3 = 0x0300
    TLS1_0 = 0x0301
    TLS1_1 = 0x0302
    TLS1_2 = 0x0303
    TLS1_3 = 0x0304

    @property
    def label(self) -> str:
        """The name in JSON, CSV and options: ``SSL2`` or ``TLS1.2``."""
        return _LABELS[self]

    @property
    def title(self) -> str:
        """The name for people: ``SSL 2.0`` or ``TLS 1.2``."""
        return _TITLES[self]

    @classmethod
    def from_label(cls, label: str) -> TlsVersion:
        """Return the version for a label such as ``TLS1.2``; raises KeyError for anything else."""
        return _BY_LABEL[label]


_LABELS = {
    TlsVersion.SSL2: "SSL2",
    TlsVersion.SSL3: "SSL3",
    TlsVersion.TLS1_0: "TLS1.0",
    TlsVersion.TLS1_1: "TLS1.1",
    TlsVersion.TLS1_2: "TLS1.2",
    TlsVersion.TLS1_3: "TLS1.3",
}
_TITLES = {
    TlsVersion.SSL2: "SSL 2.0",
    TlsVersion.SSL3: "SSL 3.0",
    TlsVersion.TLS1_0: "TLS 1.0",
    TlsVersion.TLS1_1: "TLS 1.1",
    TlsVersion.TLS1_2: "TLS 1.2",
    TlsVersion.TLS1_3: "TLS 1.3",
}
_BY_LABEL = {label: version for version, label in _LABELS.items()}

ALL_VERSIONS: tuple[TlsVersion, ...] = tuple(TlsVersion)
"""Every version, oldest first."""
