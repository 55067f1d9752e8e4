"""What Windows does where the registry is silent, by version. Pure.

Source: "Protocols in TLS/SSL (Schannel SSP)",
learn.microsoft.com/windows/win32/secauthn/protocols-in-tls-ssl--schannel-ssp-
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from scanner.model.versions import ALL_VERSIONS, TlsVersion


class Default(StrEnum):
    """What a version is on a Windows where no value says otherwise."""

    ON = "E"
    OFF = "D"
    """Disabled by default: a program may still ask for it."""
    NONE = "-"
    """Not supported."""
    UPDATE = "U"
    """Supported and off by default with an update (KB4019276), else not supported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One row of the table."""

    title: str
    """For people."""
    client: str
    """Six letters of Default, oldest version first."""
    server: str
    """The same for the accepting side."""
    is_winhttp_modern: bool = True
    """Whether WinHTTP has TLS 1.2 without DefaultSecureProtocols (8.1 and 2012 R2 on; KB3140245)."""
    is_verified: bool = True
    """False where the table was read before the release: needs live confirmation."""

    def default(self, version: TlsVersion, *, is_client: bool) -> Default:
        """Return what a version is."""
        return Default((self.client if is_client else self.server)[ALL_VERSIONS.index(version)])


_VISTA = Release(title="Windows Vista or Server 2008 RTM", client="DEE---", server="EEE---", is_winhttp_modern=False)
_SP2 = Release(title="Windows Server 2008 SP2", client="DEEUU-", server="EEEUU-", is_winhttp_modern=False)
_WIN7 = Release(title="Windows 7 or Server 2008 R2", client="DEEDD-", server="EEEDD-", is_winhttp_modern=False)
_WIN8 = Release(title="Windows 8 or Server 2012", client="DEEEE-", server="DEEEE-", is_winhttp_modern=False)
_WIN81 = Release(title="Windows 8.1 or Server 2012 R2", client="DEEEE-", server="DEEEE-")
_WIN10 = Release(title="Windows 10 1507 or 1511", client="DEEEE-", server="DEEEE-")
_2016 = Release(title="Windows 10 1607 or Server 2016", client="-DEEE-", server="-DEEE-")
_2019 = Release(title="Windows 10 1809 to 21H1 or Server 2019", client="-DEEE-", server="-DEEE-")
_2022 = Release(title="Windows Server 2022", client="-DEEEE", server="-DEEEE")
_WIN11 = Release(title="Windows 11 21H2", client="-DEEEE", server="-DEEEE")
_LATE11 = Release(title="Windows 11 of 09/2023 or later", client="-DDDEE", server="-DDDEE", is_verified=False)
_2025 = Release(title="Windows Server 2025", client="-DDDEE", server="-DDDEE", is_verified=False)

_BY_BUILD = {
    6000: _VISTA,
    6001: _VISTA,
    6002: _SP2,
    6003: _SP2,
    7600: _WIN7,
    7601: _WIN7,
    9200: _WIN8,
    9600: _WIN81,
    10240: _WIN10,
    10586: _WIN10,
    14393: _2016,
    17763: _2019,
    18362: _2019,
    18363: _2019,
    19041: _2019,
    19042: _2019,
    19043: _2019,
    20348: _2022,
    22000: _WIN11,
    22631: _LATE11,
}
"""Builds that the table has a row for: none for Windows 10 1703, 1709, 1803, 21H2 and 22H2, and Server 23H2."""
_AMBIGUOUS_BUILD = 26100
_BY_NAME = {
    "vista": _VISTA,
    "2008 sp2": _SP2,
    "2008 r2": _WIN7,
    "7": _WIN7,
    "2012": _WIN8,
    "8": _WIN8,
    "2012 r2": _WIN81,
    "8.1": _WIN81,
    "1507": _WIN10,
    "1511": _WIN10,
    "1607": _2016,
    "2016": _2016,
    "1809": _2019,
    "1903": _2019,
    "1909": _2019,
    "2004": _2019,
    "20h2": _2019,
    "21h1": _2019,
    "2019": _2019,
    "2022": _2022,
    "2025": _2025,
}
_NOISE = frozenset(
    [
        "windows",
        "server",
        "microsoft",
        "standard",
        "datacenter",
        "essentials",
        "enterprise",
        "professional",
        "pro",
        "version",
    ]
)
_BUILD = re.compile(r"(?:[0-9]{1,2}\.[0-9]\.)?([0-9]{4,5})(?:\.[0-9]{1,6})?")


def maybe_release(build: str | None, product_name: str | None, said: str | None = None) -> Release | None:
    """Return the row of a Windows: by build, else by product name, else by what the user said; None for no row."""
    if build is not None:
        return _by_build(build, product_name)
    if product_name is not None:
        return _by_name(product_name)
    if said is None:
        return None
    return _by_name(said) or _by_build(said, said)


def _by_build(build: str, product_name: str | None) -> Release | None:
    match = _BUILD.fullmatch(build.strip())
    if match is None:
        return None
    number = int(match[1])
    if number != _AMBIGUOUS_BUILD:
        return _BY_BUILD.get(number)
    if product_name is None or "windows" not in product_name.lower():
        return None  # Windows 11 24H2 and Server 2025 have the same number
    return _2025 if "server" in product_name.lower() else _LATE11


def _by_name(name: str) -> Release | None:
    words = [word for word in name.lower()[:200].split() if word not in _NOISE]
    if len(words) > 1 and words[0] == "10":
        words = words[1:]
    return _BY_NAME.get(" ".join(words[:2])) or (_BY_NAME.get(words[0]) if len(words) == 1 else None)
