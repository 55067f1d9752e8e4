"""Registry values as every export format gives them, normalised. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scanner.model.declared import Place
from scanner.model.versions import TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryKey:
    """One key that the export has."""

    path: str
    r"""Upper case, ``HKEY_LOCAL_MACHINE\SYSTEM\...``; ``ControlSet00N`` of the current set is ``CURRENTCONTROLSET``."""
    place: Place
    """Where."""
    written_at: datetime | None = None
    """When it was last written (UTC): hives and the collector say so; None where the format does not."""
    is_deletion: bool = False
    """Whether the line deletes it (``[-HKEY...]``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryValue:
    """One value that the export has."""

    path: str
    """Its key, as RegistryKey.path."""
    name: str
    """As written; names are compared without regard to case. Empty for the default value."""
    type: str
    """``REG_DWORD``, ``REG_SZ`` ...; ``(deleted)`` where the line deletes the value."""
    number: int | None
    """0 to 2**64-1 for REG_DWORD and REG_QWORD; None for all other types, whose data is not kept."""
    place: Place
    """Where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SslBinding:
    """One binding of http.sys, as ``netsh http show sslcert`` lists it; its certificate is not kept."""

    address: str | None
    """Address it is bound to; None for all, or where it is bound by name."""
    port: int | None
    """TCP port; None where it can't be read."""
    server_name: str = ""
    """Name it is bound to (``Hostname:port``), lower case; empty where it is bound by address."""
    disabled: frozenset[TlsVersion] = frozenset()
    """Versions that its flags turn off: ``Disable TLS1.2: Set``, ``Disable Legacy TLS Versions: Set``."""
    unread: frozenset[TlsVersion] = frozenset()
    """Versions whose flag is there, but says neither Set nor Not Set (or in a language that is not known)."""
    place: Place
    """Where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryExport:
    """One export. Of keys and values that are there twice the later counts."""

    keys: tuple[RegistryKey, ...]
    """In the order of the file."""
    values: tuple[RegistryValue, ...]
    """In the order of the file."""
    roots: tuple[str, ...]
    """Paths of the subtrees the export covers, as RegistryKey.path: what is absent below them is absent. Empty for a
    file written by hand (a patch): one with deletions is no export."""
    problems: tuple[tuple[Place, str], ...] = ()
    """Lines that are no part of the format, with what is wrong in words."""
    computer_name: str | None = None
    """Where the export says whose it is."""
    windows_build: str | None = None
    """``10.0.17763`` where the export says so (``CurrentBuildNumber``, or the collector)."""
    product_name: str | None = None
    """``Windows Server 2019 Standard`` where the export says so."""
    last_boot_at: datetime | None = None
    """UTC, where the export says so."""
    collected_at: datetime | None = None
    """UTC, where the export says so."""
    bindings: tuple[SslBinding, ...] | None = None
    """What ``netsh http show sslcert`` said; None where it was not asked."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further facts by name, where the export says so: ``("adfs", "4.0")``, ``("wap", "installed")``."""
