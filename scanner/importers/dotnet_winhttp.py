r"""What .NET Framework and WinHTTP make of Schannel's client side, by their registry values. Pure.

Sources: KB3140245;
"TLS best practices with .NET Framework", learn.microsoft.com/dotnet/framework/network-programming/tls.
Programs may choose for themselves, so that only what Schannel turns off is off.
"""

from __future__ import annotations

from collections.abc import Sequence

from scanner.importers.schannel import Found, Registry, unknown
from scanner.importers.windows_defaults import Release
from scanner.model.declared import Setting
from scanner.model.evidence import GapReason, State
from scanner.model.versions import TlsVersion

BITS = {
    TlsVersion.SSL2: 0x8,
    TlsVersion.SSL3: 0x20,
    TlsVersion.TLS1_0: 0x80,
    TlsVersion.TLS1_1: 0x200,
    TlsVersion.TLS1_2: 0x800,
    TlsVersion.TLS1_3: 0x2000,
}
_NET = frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_1, TlsVersion.TLS1_2})


def _software(*, is_64: bool) -> str:
    return r"HKEY_LOCAL_MACHINE\SOFTWARE" + ("" if is_64 else r"\WOW6432NODE") + r"\MICROSOFT"


def dotnet_path(major: int, *, is_64: bool) -> str:
    """Return the key of .NET Framework 2 (2.0 to 3.5) or 4 as 64-bit programs or 32-bit ones read it."""
    return rf"{_software(is_64=is_64)}\.NETFRAMEWORK\{'V4.0.30319' if major == 4 else 'V2.0.50727'}"


def winhttp_path(*, is_64: bool) -> str:
    """Return WinHTTP's key."""
    return rf"{_software(is_64=is_64)}\WINDOWS\CURRENTVERSION\INTERNET SETTINGS\WINHTTP"


def judge_dotnet(registry: Registry, client: Sequence[Setting], *, major: int, is_64: bool) -> tuple[Setting, ...]:
    """Return six settings. client: those of Schannel's client side."""
    path = dotnet_path(major, is_64=is_64)
    strong, system = registry.find(path, "SchUseStrongCrypto"), registry.find(path, "SystemDefaultTlsVersions")
    place = system.place or strong.place
    settings = []
    for own in client:
        version = own.version
        # .NET 3.5 obeys SchUseStrongCrypto only where the program names a version.
        is_chosen = bool(strong.number) and major == 4 and version in _NET
        if own.state is State.DISABLED or system.number or is_chosen:
            settings.append(own)
        elif (gap := _gap_of(strong, system)) is not None:
            reason = f"The file does not say SchUseStrongCrypto and SystemDefaultTlsVersions of .NET {major}."
            settings.append(unknown(version, gap, reason, place))
        else:
            reason = "SystemDefaultTlsVersions is not 1: it depends on the framework that the program targets."
            settings.append(unknown(version, GapReason.CONDITIONAL, reason, place))
    return tuple(settings)


def judge_winhttp(
    registry: Registry, client: Sequence[Setting], release: Release | None, *, is_64: bool
) -> tuple[Setting, ...]:
    """Return six settings of programs that use WinHTTP's default."""
    found = registry.find(winhttp_path(is_64=is_64), "DefaultSecureProtocols")
    settings = []
    for own in client:
        version, gap = own.version, _gap_of(found)
        if own.state is State.DISABLED or (found.number is not None and found.number & BITS[version]):
            settings.append(own)
        elif gap is not None:
            settings.append(unknown(version, gap, "The file does not say DefaultSecureProtocols.", found.place))
        elif found.number is not None:
            reason = f"DefaultSecureProtocols={found.number:#x} leaves it out; programs may ask for it themselves."
            settings.append(unknown(version, GapReason.CONDITIONAL, reason, found.place))
        elif release is None:
            reason = "DefaultSecureProtocols is absent, and WinHTTP's default depends on the version of Windows."
            settings.append(unknown(version, GapReason.VERSION_UNKNOWN, reason))
        elif release.is_winhttp_modern and version is TlsVersion.TLS1_2:
            settings.append(own)
        else:
            reason = f"DefaultSecureProtocols is absent; what WinHTTP then uses on {release.title} is up to updates."
            settings.append(unknown(version, GapReason.CONDITIONAL, reason))
    return tuple(settings)


def _gap_of(*each_found: Found) -> GapReason | None:
    if any(found.is_odd for found in each_found):
        return GapReason.UNSUPPORTED
    return None if all(found.is_covered for found in each_found) else GapReason.NOT_IN_FILE
