"""stunnel.conf as services with what is in force for each, as stunnel(8) has it. Pure.

Seen with stunnel 5.68 and OpenSSL 3.0: names and version words are read without case, and nothing may stand behind a
value; of two lines the later counts; sslVersion sets both ends; an option that is cleared stays so, whatever sets it;
``config`` beats sslVersionMin and -Max, wherever it stands; a service takes what stands before the first section; a
section within an included file ends the one that includes it. A client (OpenSSL's) offers the lowest unbroken run only.
A service that is chosen by ``sni`` has the versions of its master. ``@SECLEVEL`` of ciphers beats securityLevel.
Defaults of versions before 5.68 are from its NEWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from scanner.importers.claims import Claim, blank_claim
from scanner.importers.openssl_ciphers import has_old_suites_at_level_0
from scanner.importers.source import MOST_BYTES, MOST_INCLUDES_COUNT, Folder, IncludeRefusedError, ReadError, SourceFile
from scanner.model.declared import Place
from scanner.model.evidence import Basis, GapReason
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_V = TlsVersion
TOKENS: Final = {
    "all": _V.SSL2, "sslv2": _V.SSL2, "sslv3": _V.SSL3, "tlsv1": _V.TLS1_0, "tlsv1.1": _V.TLS1_1,
    "tlsv1.2": _V.TLS1_2, "tlsv1.3": _V.TLS1_3,
}  # fmt: skip
"""Values of sslVersion, sslVersionMin and sslVersionMax, lower case; ``all`` as a lowest version."""
SPELLED: Final = {
    _V.SSL2: "all", _V.SSL3: "SSLv3", _V.TLS1_0: "TLSv1", _V.TLS1_1: "TLSv1.1", _V.TLS1_2: "TLSv1.2",
    _V.TLS1_3: "TLSv1.3",
}  # fmt: skip
OPTIONS: Final = {
    "NO_SSLv2": _V.SSL2, "NO_SSLv3": _V.SSL3, "NO_TLSv1": _V.TLS1_0, "NO_TLSv1_1": _V.TLS1_1,
    "NO_TLSv1.1": _V.TLS1_1, "NO_TLSv1_2": _V.TLS1_2, "NO_TLSv1.2": _V.TLS1_2, "NO_TLSv1_3": _V.TLS1_3,
}  # fmt: skip
"""Values of ``options``, by exact case; those with a dot are of stunnel before 5.45 or so."""
BOUNDED_SINCE: Final = (5, 50)
"""sslVersionMin, sslVersionMax and the lowest version TLSv1 (NEWS)."""
_SSL_OFF_SINCE: Final = (5, 6)
_TLS1_3_SINCE: Final = (5, 45)
_MOST_DEPTH: Final = 16
_MOST_SERVICES: Final = 20_000
_MOST_CONNECTS: Final = 100
_DEFAULT_CIPHERS: Final = "HIGH:!aNULL:!SSLv2:!DH:!kDHEPSK"

Number = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StunnelLine:
    """A line with a name and a value, or the head of a section."""

    place: Place
    name: str
    """Lower case; empty for the head of a section."""
    value: str = field(repr=False)
    """As written, without blanks around it: it may hold a secret. The section's name for a head."""
    raw: str = field(repr=False)
    """The whole line, with a CR at its end."""
    column: int
    """Offset of the name, or of the bracket, in it."""


@dataclass(slots=True)
class StunnelLines:
    """What a file and its includes hold, in the order they act."""

    lines: list[StunnelLine] = field(default_factory=list)
    missing: list[Place] = field(default_factory=list)
    """``include`` lines of which no file was supplied."""
    includes: list[tuple[str, str]] = field(default_factory=list)
    """Names and sha256 of the files that were included."""
    bytes_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service, or what stands before the first."""

    name: str = ""
    head: StunnelLine | None = None
    """None for what stands before the first section: the only service there is in inetd mode."""
    low: TlsVersion | None = None
    high: TlsVersion | None = None
    config_low: TlsVersion | None = None
    config_high: TlsVersion | None = None
    is_odd: bool = False
    """Whether versions are set in a form not understood."""
    excluded: frozenset[TlsVersion] = frozenset()
    cleared: frozenset[TlsVersion] = frozenset()
    ciphers: str = field(default=_DEFAULT_CIPHERS, repr=False)
    level: str = ""
    has_cipher_config: bool = False
    is_client: bool = False
    is_bounded: bool = False
    """Whether it names sslVersionMin or sslVersionMax, which older programs don't know."""
    accepts: tuple[str, ...] = ()
    connects: tuple[str, ...] = ()
    sni: str = ""
    has_protocol: bool = False
    place: Place | None = None
    """Of the last line that says something of versions."""
    missing_at: Place | None = None
    """Of an include in it, or before the first section, that was not supplied."""


def parse_version(text: str | None) -> Number | None:
    """Return the numbers of ``5.68``; None for anything else."""
    found = re.search(r"(?<![\d.])(\d{1,3})\.(\d{1,3})(?!\d)", text or "")
    return (int(found[1]), int(found[2])) if found else None


def read_stunnel_lines(source: SourceFile, folder: Folder) -> StunnelLines:
    """Return the lines; raises ReadError for a line without ``=``, which stunnel refuses, and includes without end."""
    found = StunnelLines()
    _read(source, folder, found, depth=0)
    return found


def _read(source: SourceFile, folder: Folder, found: StunnelLines, *, depth: int) -> None:
    for number, raw in enumerate(source.text.split("\n"), 1):
        text = raw.strip()
        if not text or text[0] in "#;":
            continue
        place = Place(file=source.name, line=number)
        column = len(raw) - len(raw.lstrip())
        if text[0] == "[" and text[-1] == "]":
            found.lines.append(StunnelLine(place=place, name="", value=text[1:-1], raw=raw, column=column))
            continue
        name, separator, value = text.partition("=")
        if not separator:
            raise ReadError(f"{place.locator}: a line without '='")
        line = StunnelLine(place=place, name=name.strip().lower(), value=value.strip(), raw=raw, column=column)
        found.lines.append(line)
        if line.name == "include":
            _include(line, folder, found, depth=depth)


def _include(line: StunnelLine, folder: Folder, found: StunnelLines, *, depth: int) -> None:
    path = line.value.rstrip("/")
    try:
        files = folder.find(f"{path}/*") if path and not set(path) & set("*?[") else ()
    except IncludeRefusedError:
        files = ()
    if not files:
        found.missing.append(line.place)
    for file in files:
        found.includes.append((file.name, file.sha256))
        found.bytes_count += len(file.data)
        if depth >= _MOST_DEPTH or len(found.includes) > MOST_INCLUDES_COUNT or found.bytes_count > MOST_BYTES:
            raise ReadError(f"{line.place.locator}: include goes too deep, or is too much")
        _read(file, folder, found, depth=depth + 1)


def services_of(lines: Iterable[StunnelLine], missing: Iterable[Place]) -> list[Service]:
    """Return what stands before the first section and then each service; raises ReadError where there are too many."""
    gone = set(missing)
    services = [Service()]
    for line in lines:
        if not line.name:
            if len(services) > _MOST_SERVICES:
                raise ReadError(f"{line.place.locator}: more than {_MOST_SERVICES} services")
            # A file that is missing before the first section may hold anything, for all of them.
            services.append(replace(services[0], name=line.value, head=line))
        elif line.name == "include":
            if line.place in gone:
                services[-1] = replace(services[-1], missing_at=line.place)
        else:
            services[-1] = _take(services[-1], line)
    return services


def _take(service: Service, line: StunnelLine) -> Service:  # noqa: PLR0911 - a table of directives
    name, value, place = line.name, line.value, line.place
    if name in {"sslversion", "sslversionmin", "sslversionmax"}:
        version = TOKENS.get(value.lower())
        is_all = value.lower() == "all"
        if version is None:
            return replace(service, is_odd=True, place=place)
        high = _V.TLS1_3 if is_all else version
        if name == "sslversion":
            return replace(service, low=version, high=high, place=place)
        if name == "sslversionmin":
            return replace(service, low=version, is_bounded=True, place=place)
        return replace(service, high=high, is_bounded=True, place=place)
    if name == "options":
        cleared = value.startswith("-")
        word = value.removeprefix("-")
        touched = frozenset({OPTIONS[word]}) if word in OPTIONS else frozenset(ALL_VERSIONS)
        if word not in OPTIONS and word != "NO_SSL_MASK":
            return service
        if cleared:
            return replace(service, cleared=service.cleared | touched, place=place)
        return replace(service, excluded=service.excluded | touched, place=place)
    if name == "config":
        return _configure(service, value, place)
    if name == "ciphers":
        return replace(service, ciphers=value)
    if name == "securitylevel":
        return replace(service, level=value)
    if name == "client":
        return replace(service, is_client=value.lower() == "yes")
    if name == "accept":
        return replace(service, accepts=(value,))
    if name == "connect" and len(service.connects) < _MOST_CONNECTS:
        return replace(service, connects=(*service.connects, value))
    if name == "sni":
        return replace(service, sni=value)
    if name == "protocol":
        return replace(service, has_protocol=True)
    return service


def _configure(service: Service, value: str, place: Place) -> Service:
    command, _, argument = value.partition(":")
    command = command.strip().lower()
    if command == "cipherstring":
        return replace(service, has_cipher_config=True)
    if command == "protocol":
        return replace(service, is_odd=True, place=place)
    if command not in {"minprotocol", "maxprotocol"}:
        return service
    # OpenSSL's words are those of SPELLED, by exact case (SSL_CONF_cmd).
    version = next((each for each, token in SPELLED.items() if token == argument and each is not _V.SSL2), None)
    if version is None:
        return replace(service, is_odd=True, place=place)
    if command == "minprotocol":
        return replace(service, config_low=version, place=place)
    return replace(service, config_high=version, place=place)


def claim_of(service: Service, version: Number | None) -> Claim:
    """Return what one service's lines claim, whatever a missing include may say."""
    where = service.place or (service.head.place if service.head else None)
    label = "The service"
    if service.is_odd:
        return blank_claim(GapReason.UNSUPPORTED, f"{label} sets versions in a form that is not understood.", where)
    is_new = service.is_bounded or (version is not None and version >= BOUNDED_SINCE)
    own_low = service.low or (_V.TLS1_0 if is_new else _V.SSL2)
    own_high = service.high or _V.TLS1_3
    low, high = service.config_low or own_low, service.config_high or own_high
    is_ssl_off = is_new or (version is not None and version >= _SSL_OFF_SINCE)
    off = service.excluded - service.cleared
    may_be_off = {_V.SSL2, _V.SSL3} - service.cleared
    off |= may_be_off if is_ssl_off else frozenset()
    allowed = frozenset(each for each in ALL_VERSIONS if low <= each <= high and each not in off)
    gaps: dict[TlsVersion, tuple[GapReason, str]] = {}
    if version is None and not is_new:
        text = "SSL 2.0 and 3.0 are off by default since stunnel 5.06."
        gaps |= dict.fromkeys(allowed & may_be_off, (GapReason.VERSION_UNKNOWN, text))
    if not allowed or own_low > own_high:
        # Seen: "Invalid protocol version range", whatever config says.
        return blank_claim(GapReason.UNSUPPORTED, f"{label} leaves no version: stunnel does not start so.", where)
    if _V.TLS1_3 in allowed and version is not None and version < _TLS1_3_SINCE:
        gaps[_V.TLS1_3] = (GapReason.LIBRARY_POLICY, "TLS 1.3 needs stunnel built with OpenSSL 1.1.1.")
    if service.is_client:
        above = above_hole(allowed - (gaps.keys() & {_V.SSL3}))
        text = "A version in between is off: OpenSSL's client may not offer those above."
        gaps |= dict.fromkeys(above, (GapReason.LIBRARY_POLICY, text))
    said = describe(service)
    return Claim(
        allowed=allowed,
        reason=f"{label} has {said} in force." if said else "No version is set for the service: stunnel's default.",
        place=service.place if said else None,
        basis=Basis.DECLARED if said else Basis.ASSUMED,
        # Without a lowest version that stunnel sets, openssl.cnf has a say.
        is_old_served=_is_old_served(service) and low > _V.SSL2,
        gaps=gaps,
    )


def above_hole(allowed: frozenset[TlsVersion]) -> frozenset[TlsVersion]:
    """Return the versions above one that is missing; SSL 2.0 is no part of the run."""
    run = [each for each in ALL_VERSIONS[1:] if each in allowed]
    run_ends = next((each for each in ALL_VERSIONS if run and each > run[0] and each not in allowed), None)
    return frozenset(each for each in run if run_ends is not None and each > run_ends)


def _is_old_served(service: Service) -> bool:
    if service.has_cipher_config:
        return False
    is_by_level = service.level == "0" and "@" not in service.ciphers
    return has_old_suites_at_level_0(service.ciphers + (":@SECLEVEL=0" if is_by_level else ""))


def describe(service: Service) -> str:
    """Return what is in force: ``sslVersionMin = TLSv1.2``; empty where nothing is set."""
    words = [f"sslVersionMin = {SPELLED[service.low]}"] if service.low is not None else []
    words += [f"sslVersionMax = {SPELLED[service.high]}"] if service.high is not None else []
    words += [f"config = MinProtocol:{SPELLED[service.config_low]}"] if service.config_low is not None else []
    words += [f"config = MaxProtocol:{SPELLED[service.config_high]}"] if service.config_high is not None else []
    names = {version: option for option, version in OPTIONS.items() if "." not in option}
    words += [f"options = {names[each]}" for each in sorted(service.excluded - service.cleared)]
    words += [f"options = -{names[each]}" for each in sorted(service.cleared)]
    return ", ".join(words)
