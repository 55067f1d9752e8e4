r"""What Schannel's registry values say of each version. Pure.

Source: "TLS registry settings", learn.microsoft.com/windows-server/security/tls/tls-registry-settings.
From memory: only REG_DWORD is honoured, and DisabledByDefault=0 alone turns a version on.
"""

from __future__ import annotations

from dataclasses import dataclass

from scanner.importers.registry_model import RegistryExport, RegistryValue
from scanner.importers.windows_defaults import Default, Release
from scanner.model.declared import Place, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

PROTOCOLS = r"HKEY_LOCAL_MACHINE\SYSTEM\CURRENTCONTROLSET\CONTROL\SECURITYPROVIDERS\SCHANNEL\PROTOCOLS"


def schannel_path(version: TlsVersion, *, is_client: bool) -> str:
    """Return the key of one version on one side, as RegistryKey.path."""
    return rf"{PROTOCOLS}\{version.title.upper()}\{'CLIENT' if is_client else 'SERVER'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an export says of one value."""

    number: int | None = None
    """The value; None where it is absent, of another type, or not covered."""
    place: Place | None = None
    """Where."""
    is_covered: bool = False
    """Whether the export would have it if it were there."""
    is_odd: bool = False
    """Whether it is of another type than REG_DWORD."""


class Registry:
    """An export by path and name; the later of two counts."""

    def __init__(self, export: RegistryExport) -> None:
        self._values: dict[tuple[str, str], RegistryValue] = {
            (value.path, value.name.lower()): value for value in export.values
        }
        self._roots = frozenset(export.roots)
        self._deleted = {key.path: key.place.line or 0 for key in export.keys if key.is_deletion}
        self.paths = {key.path for key in export.keys if not key.is_deletion} | {value.path for value in export.values}

    def covers(self, path: str) -> bool:
        """Return whether what is absent below this key is absent."""
        return any(each in self._roots or each in self._deleted for each in _ancestors(path))

    def find(self, path: str, name: str) -> Found:
        """Return what is said of one value."""
        value = self._values.get((path, name.lower()))
        deleted_at = max((self._deleted.get(each, -1) for each in _ancestors(path)), default=-1)
        if value is None or (value.place.line or 0) < deleted_at:
            return Found(is_covered=self.covers(path))
        if value.type == "(deleted)":
            return Found(place=value.place, is_covered=True)
        if value.type != "REG_DWORD" or value.number is None:
            return Found(place=value.place, is_covered=True, is_odd=True)
        return Found(number=value.number, place=value.place, is_covered=True)


def _ancestors(path: str) -> list[str]:
    parts = path.split("\\")
    return ["\\".join(parts[:count]) for count in range(1, len(parts) + 1)]


def unknown(version: TlsVersion, gap: GapReason, reason: str, place: Place | None = None) -> Setting:
    """Return a setting that is not known."""
    return Setting(version=version, state=State.UNKNOWN, basis=Basis.DECLARED, gap=gap, reason=reason, place=place)


def judge_schannel(registry: Registry, release: Release | None, *, is_client: bool) -> tuple[Setting, ...]:
    """Return the six settings of one side."""
    return tuple(_judge(registry, release, version, is_client=is_client) for version in ALL_VERSIONS)


def _judge(registry: Registry, release: Release | None, version: TlsVersion, *, is_client: bool) -> Setting:
    path = schannel_path(version, is_client=is_client)
    enabled, off = registry.find(path, "Enabled"), registry.find(path, "DisabledByDefault")
    place = enabled.place or off.place
    key = rf"{version.title}\{'Client' if is_client else 'Server'}"
    if enabled.number == 0:
        return _known(version, State.DISABLED, f"{key} has Enabled=0.", enabled.place)
    if enabled.is_odd or off.is_odd:
        reason = f"{key} has a value that is no REG_DWORD, which is not honoured (from memory)."
        return unknown(version, GapReason.UNSUPPORTED, reason, place)
    default = release.default(version, is_client=is_client) if release is not None else None
    if release is not None and default is Default.NONE:
        reason = f"{release.title} does not support {version.title}."
        return Setting(version=version, state=State.DISABLED, basis=Basis.ASSUMED, reason=reason, place=None)
    if default is Default.UPDATE:
        reason = f"Windows Server 2008 SP2 has {version.title} with update KB4019276 only."
        return unknown(version, GapReason.CONDITIONAL, reason, place)
    if enabled.number is None and not enabled.is_covered:
        return unknown(version, GapReason.NOT_IN_FILE, f"The file does not cover Enabled of {key}.", place)
    if off.number is None and not off.is_covered:
        return unknown(version, GapReason.NOT_IN_FILE, f"The file does not cover DisabledByDefault of {key}.", place)
    if off.number:
        reason = f"{key} has DisabledByDefault={off.number}: it is on only for programs that ask for it."
        return unknown(version, GapReason.CONDITIONAL, reason, off.place)
    if off.number == 0:
        # Of Windows Vista and later, those two have been in each.
        if release is None and version not in {TlsVersion.SSL3, TlsVersion.TLS1_0}:
            reason = f"{key} is turned on, but whether Windows supports it depends on its version, which is not known."
            return unknown(version, GapReason.VERSION_UNKNOWN, reason, place)
        words = "is not 0" if enabled.number else "is absent, which is on (from memory)"
        return _known(version, State.ENABLED, f"{key} has DisabledByDefault=0, and Enabled {words}.", place)
    return _by_default(version, key, release, default, place)


def _by_default(
    version: TlsVersion, key: str, release: Release | None, default: Default | None, place: Place | None
) -> Setting:
    if release is None:
        reason = f"{key} is not fully set, and the default depends on the version of Windows, which has no known row."
        return unknown(version, GapReason.VERSION_UNKNOWN, reason, place)
    doubt = "" if release.is_verified else " This default needs live confirmation."
    if default is Default.OFF:
        reason = f"{key} is not fully set; {release.title} has it off for programs that don't ask for it.{doubt}"
        return unknown(version, GapReason.CONDITIONAL, reason, place)
    reason = f"{key} is not fully set; {release.title} has it on by default.{doubt}"
    return Setting(version=version, state=State.ENABLED, basis=Basis.ASSUMED, reason=reason, place=place)


def _known(version: TlsVersion, state: State, reason: str, place: Place | None) -> Setting:
    return Setting(version=version, state=state, basis=Basis.DECLARED, reason=reason, place=place)
