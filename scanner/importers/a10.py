"""Running configuration of A10 ACOS: client-ssl and server-ssl templates of virtual and real ports.

``version H [L]`` with the codes 30 SSL 3.0 to 34 TLS 1.3, ``disable-sslv3`` (a10-acos-axapi,
a10_slb_template_client_ssl.py and a10_slb_template_server_ssl.py). The order of H and L is from memory, unverified; a
range has the same ends in either order. The lowest version where only H is given, and both where there is no
``version``, are not documented by release: gaps.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from scanner.importers.claims import ALL, Claim, LineTally, check_old_versions
from scanner.importers.edits import Remedy, Wants
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Place, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_CODES = {
    "30": TlsVersion.SSL3,
    "31": TlsVersion.TLS1_0,
    "32": TlsVersion.TLS1_1,
    "33": TlsVersion.TLS1_2,
    "34": TlsVersion.TLS1_3,
}
_WORD = re.compile(r'"[^"]*"?|[^\s"]\S*')
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_NAME = re.compile(r"[\w.:%~/-]{1,127}")
_CITATION = "https://documentation.a10networks.com/ACOS-Docs/axapi/521p4/slb_template_client_ssl.html"


@dataclass(slots=True)
class _Template:
    """A client-ssl or server-ssl template."""

    kind: str
    name: str
    place: Place
    version: tuple[tuple[str, ...], Place] | None = None
    no_ssl3_at: Place | None = None
    has_ciphers: bool = False


@dataclass(slots=True)
class _Use:
    """A port that a template is bound to."""

    kind: str
    template: str
    owner: str
    address: str
    port: str
    place: Place


@dataclass(slots=True)
class _Config:
    """What of a file matters."""

    templates: dict[tuple[str, str], _Template] = field(default_factory=dict)
    uses: list[_Use] = field(default_factory=list)
    monitors: list[tuple[str, Place]] = field(default_factory=list)
    hostname: str | None = None
    is_ours: bool = False


def recognise(source: SourceFile) -> int:
    """Return 0 to 100: how much the file looks like a running configuration of ACOS."""
    head = SourceFile(name=source.name, data=source.data[: 64 * 1024]).text
    starts = ("slb virtual-server ", "slb template ", "slb server ", "slb service-group ")
    score = sum(40 for line in head.splitlines() if line.startswith(starts))
    return min(95, score + 50 * ("(ACOS) version" in head))


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what a running configuration says; raises ReadError for a file without any of ACOS's blocks."""
    del folder  # the format has no includes
    tally = LineTally()
    config = _load(source, tally)
    version = options.product_version or _maybe_version(source.text)
    legs: list[Leg] = []
    claims: list[Claim] = []
    for use in config.uses:
        template = config.templates.get((use.kind, use.template))
        settings = _settle(template, use)
        known = {each.version for each in settings if each.state is State.ENABLED}
        gaps = dict.fromkeys(ALL - known, (GapReason.UNSUPPORTED, ""))
        claims.append(Claim(allowed=ALL, reason="version", place=template.place if template else None, gaps=gaps))
        legs.append(_leg(use, settings))
    for name, place in config.monitors:
        why = "A health monitor has versions of its own."
        settings = tuple(_unknown(each, GapReason.UNSUPPORTED, why, place) for each in ALL_VERSIONS)
        leg_name = f"health monitor {_shown(name)} at {place.locator}"
        legs.append(Leg(name=leg_name, direction=Direction.OUTBOUND, settings=settings, is_management=True))
    return Reading(
        importer="a10",
        product="A10 ACOS",
        product_version=version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(legs),
        checks=check_old_versions(claims),
        notes=tally.notes,
        line_counts=tally.counts,
        clues=(HostClue(name=config.hostname, kind=ClueKind.MACHINE),) if config.hostname else (),
    )


def plan_edits(source: SourceFile, folder: Folder, options: ReadOptions, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return the commands for each template in use that stands in the way; raises ReadError as read does."""
    del folder, options
    config = _load(source, LineTally())
    commands: list[str] = []
    checks: list[str] = []
    cautions: list[str] = []
    for (kind, name), use in {(use.kind, use.template): use for use in config.uses}.items():
        template = config.templates.get((kind, name))
        if template is None or not _NAME.fullmatch(name):
            cautions.append(f"A {kind} template in use is not in this file, or its name is no plain word.")
            continue
        states = {each.version: each.state for each in _settle(template, use)}
        old = [states[each] for each in ALL_VERSIONS if each < TlsVersion.TLS1_2]
        if states[TlsVersion.TLS1_2] is State.ENABLED and (
            not wants.disable_old or all(state is State.DISABLED for state in old)
        ):
            continue
        low, high = _ends(template) or (TlsVersion.TLS1_2, TlsVersion.TLS1_2)
        codes = {version: code for code, version in _CODES.items()}
        low = TlsVersion.TLS1_2 if wants.disable_old else min(low, TlsVersion.TLS1_2)
        high = max(high, TlsVersion.TLS1_2)
        commands += [f"slb template {kind} {name}", f"  version {codes[high]} {codes[low]}", "exit"]
        checks.append(f"show running-config slb template {kind} {name}")
        if high is not low:
            cautions.append("Not verified: that the highest version is the first of the two codes.")
    if not commands and not cautions:
        return ()
    return (
        Remedy(
            title="Have ACOS use TLS 1.2 and nothing older" if wants.disable_old else "Have ACOS use TLS 1.2 as well",
            commands=("configure", *commands, "end", "write memory") if commands else (),
            check_commands=tuple(checks),
            activate="at once for new connections",
            citation=_CITATION,
            cautions=(*dict.fromkeys(cautions), "Not verified: the commands were not run on ACOS."),
        ),
    )


def _maybe_version(text: str) -> str | None:
    found = re.search(r"\(ACOS\) version ([0-9][0-9A-Za-z.-]{0,30})", text[: 64 * 1024])
    return found[1].rstrip(".-") if found else None


def _load(source: SourceFile, tally: LineTally) -> _Config:
    config = _Config()
    block: list[str] = []
    port: list[str] = []
    port_indent = 0
    for number, raw in enumerate(source.text.split("\n"), 1):
        words = [word.strip('"') for word in _WORD.findall(raw)] if '"' in raw else raw.split()
        if not words or words[0].startswith("!"):
            continue
        place = Place(file=source.name, line=number)
        indent = len(raw) - len(raw.lstrip())
        if indent == 0:
            block, port = words, []
            is_taken = _open_block(words, place, config)
        else:
            if indent <= port_indent:
                port = []
            is_taken = _take(block, port, words, place, config)
            if words[0] == "port" and len(words) > 2:
                port, port_indent = words, indent
        tally.count(LineState.SUPPORTED if is_taken else LineState.IRRELEVANT, place, words[0] if is_taken else "line")
    if not config.is_ours:
        raise ReadError(f"{source.name}: no slb or health block of ACOS's in it")
    return config


def _open_block(words: list[str], place: Place, config: _Config) -> bool:
    if words[0] == "slb" or words[:2] == ["health", "monitor"]:
        config.is_ours = True
    if words[0] == "hostname" and len(words) > 1:
        name = words[1].lower()
        config.hostname = name if _HOST.fullmatch(name) else None
    elif words[:2] == ["slb", "template"] and words[2:3] in [["client-ssl"], ["server-ssl"]] and len(words) > 3:
        config.templates[words[2], words[3]] = _Template(kind=words[2], name=words[3], place=place)
    else:
        return words[:2] in [["slb", "virtual-server"], ["slb", "server"]]
    return True


def _take(block: list[str], port: list[str], words: list[str], place: Place, config: _Config) -> bool:
    template = (
        config.templates.get((block[2], block[3])) if block[:2] == ["slb", "template"] and len(block) > 3 else None
    )
    if template is not None:
        if words[0] == "version":
            template.version = (tuple(words[1:4]), place)  # three are one too many already
        elif words[:2] == ["no", "version"]:
            template.version = None
        elif words[0] == "disable-sslv3":
            template.no_ssl3_at = place
        elif words[0] == "cipher" or words[:2] == ["template", "cipher"]:
            template.has_ciphers = True
        else:
            return False
        return True
    if block[:2] == ["health", "monitor"] and len(block) > 2 and words[:2] == ["method", "https"]:
        config.monitors.append((block[2], place))
        return True
    if block[:2] not in [["slb", "virtual-server"], ["slb", "server"]] or len(block) < 3:
        return False
    if port and words[0] == "template" and len(words) > 2 and words[1] in {"client-ssl", "server-ssl"}:
        owner = f"{block[1]} {block[2]}"
        address = block[3] if len(block) > 3 else ""
        config.uses.append(
            _Use(kind=words[1], template=words[2], owner=owner, address=address, port=port[1], place=place)
        )
        return True
    return words[0] == "port"


def _ends(template: _Template) -> tuple[TlsVersion, TlsVersion] | None:
    """Return lowest and highest version; the same twice where only one is given; None where none is understood."""
    codes = [_CODES[word] for word in template.version[0] if word in _CODES] if template.version else []
    if not codes or template.version is None or len(codes) != len(template.version[0]) or len(codes) > 2:
        return None
    return min(codes), max(codes)


def _settle(template: _Template | None, use: _Use) -> tuple[Setting, ...]:
    if template is None:
        why = f"The {use.kind} template is not in this file."
        return tuple(_unknown(each, GapReason.NOT_IN_FILE, why, use.place) for each in ALL_VERSIONS)
    return tuple(_setting(template, each) for each in ALL_VERSIONS)


def _setting(template: _Template, version: TlsVersion) -> Setting:
    ends = _ends(template)
    if version is TlsVersion.SSL3 and template.no_ssl3_at:
        return _known(version, State.DISABLED, "disable-sslv3 is set.", template.no_ssl3_at)
    if template.version is None:
        why = "There is no version directive, and the default depends on the ACOS release."
        return _unknown(version, GapReason.VERSION_UNKNOWN, why, template.place)
    words, place = template.version
    if ends is None:
        return _unknown(version, GapReason.UNSUPPORTED, "version has codes that are not known.", place)
    low, high = ends
    if version > high or (version < low and len(words) > 1):
        return _known(version, State.DISABLED, "version leaves it out.", place)
    if version < low:
        why = "version gives the highest only; how low ACOS goes depends on its release."
        return _unknown(version, GapReason.VERSION_UNKNOWN, why, place)
    if template.has_ciphers and version is not TlsVersion.TLS1_2:
        why = "version allows it; whether the template's ciphers have suites for it is not worked out."
        return _unknown(version, GapReason.UNSUPPORTED, why, place)
    return _known(version, State.ENABLED, "version allows it.", place)


def _known(version: TlsVersion, state: State, reason: str, place: Place) -> Setting:
    return Setting(version=version, state=state, basis=Basis.DECLARED, reason=reason, place=place)


def _unknown(version: TlsVersion, gap: GapReason, reason: str, place: Place) -> Setting:
    return Setting(version=version, state=State.UNKNOWN, basis=Basis.DECLARED, gap=gap, reason=reason, place=place)


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "(not shown)"


def _leg(use: _Use, settings: tuple[Setting, ...]) -> Leg:
    is_inbound = use.kind == "client-ssl"
    number = int(use.port) if use.port.isascii() and use.port.isdigit() and len(use.port) <= 5 else 0
    port = number if 0 < number < 65536 else None
    try:
        address = ipaddress.ip_address(use.address.split("/", 1)[0])
    except ValueError:
        address = None
    listen = Listen(address=None if address is None or address.is_unspecified else str(address), port=port)
    host = use.address.lower() if _HOST.fullmatch(use.address) else ""
    # A virtual server's own address is not where its other leg connects to.
    is_real = use.owner.startswith("server ")
    destination = (f"{host}:{port}" if port else host) if host and is_real else ""
    kind, _, name = use.owner.partition(" ")
    where = f"{kind} {_shown(name)} port {port or '(any)'}"
    return Leg(
        name=f"{where} with {use.kind} {_shown(use.template)} at {use.place.locator}",
        direction=Direction.INBOUND if is_inbound else Direction.OUTBOUND,
        settings=settings,
        listens=(listen,) if is_inbound else (),
        destinations=(destination,) if destination and not is_inbound else (),
    )
