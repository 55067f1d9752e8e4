"""ns.conf of NetScaler (Citrix ADC): SSL virtual servers, services, service groups, and their SSL profiles.

ns.conf holds command lines, and of parameters only those that differ from the default; the later line wins, ``unset``
brings the default back. Commands: netscaler/ansible-collection-netscaleradc, citrix/terraform-provider-citrixadc. A
profile that is bound decides; without one, ``set ssl parameter -defaultProfile ENABLED`` has the default profiles
decide, and the entity's own switches otherwise (docs.netscaler.com, SSL profiles). Defaults: appendix B of those pages
(SSLv3 DISABLED, TLSv1.0 to 1.2 ENABLED); older builds had SSLv3 ENABLED. Unverified: when that changed, and that TLS
1.3 is off by default; so defaults of 14.1 and later are gaps, and so is SSL 3.0 before 13.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from scanner.importers.claims import ALL, Claim, LineTally, check_old_versions
from scanner.importers.edits import Remedy, Wants
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Place, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_SWITCHES = {
    "-ssl2": TlsVersion.SSL2,
    "-ssl3": TlsVersion.SSL3,
    "-tls1": TlsVersion.TLS1_0,
    "-tls11": TlsVersion.TLS1_1,
    "-tls12": TlsVersion.TLS1_2,
    "-tls13": TlsVersion.TLS1_3,
}
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s"]\S*')
_COMMANDS = frozenset({"add", "set", "bind", "unset", "rm"})
_SSL_TYPES = frozenset({"SSL", "SSL_TCP", "SSL_DIAMETER", "SSL_FIX", "SSL_PUSH"})
_VSERVERS = frozenset({"lb", "cs", "vpn", "authentication"})
_DEFAULTS = {"front": "ns_default_ssl_profile_frontend", "back": "ns_default_ssl_profile_backend"}
_OLD_SUITES = frozenset({"DEFAULT", "ALL", "AES", "HIGH"})
"""Cipher aliases that have suites of TLS 1.0."""
_MANAGEMENT = re.compile(r"ns(?:https|k?rpcs)-")
_NAME = re.compile(r"[\w .:#@=,/%()-]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_MOST_DESTINATIONS = 20
_CITATION = "https://docs.netscaler.com/en-us/citrix-adc/current-release/ssl/customize-ssl-config.html"


@dataclass(slots=True)
class _Entity:
    """Something with SSL parameters: their switches, each with the line that set it last."""

    name: str
    kind: str
    place: Place | None
    switches: dict[TlsVersion, tuple[bool, Place]] = field(default_factory=dict)
    odd: dict[TlsVersion, Place] = field(default_factory=dict)
    profile: str | None = None
    ciphers: list[str] = field(default_factory=list)
    listen: Listen | None = None
    destinations: list[str] = field(default_factory=list)
    is_bridge: bool = False
    is_tls: bool = False
    is_disabled: bool = False


@dataclass(slots=True)
class _Config:
    """What of a file matters; names are looked up without regard to case."""

    entities: dict[tuple[str, str], _Entity] = field(default_factory=dict)
    profiles: dict[str, _Entity] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    default_profile_at: Place | None = None
    hostname: str | None = None
    version: tuple[int, int] | None = None

    def entity(self, kind: str, name: str, place: Place) -> _Entity:
        """Return an entity, made where it is not known."""
        key = (kind, name.lower())
        if key not in self.entities:
            self.entities[key] = _Entity(name=name, kind=kind, place=place)
        return self.entities[key]


def recognise(source: SourceFile) -> int:
    """Return 0 to 100: how much the file looks like ns.conf."""
    head = SourceFile(name=source.name, data=source.data[: 64 * 1024]).text
    if re.match(r"#NS[0-9]{1,3}\.[0-9]{1,3} Build ", head):
        return 95
    starts: tuple[str, ...] = (
        "add lb vserver ",
        "set ssl vserver ",
        "add ssl profile ",
        "set ssl parameter ",
        "set ns config ",
    )
    starts += ("bind ssl vserver ", "add ssl certKey ", "add serviceGroup ", "enable ns feature ", "set ssl service ")
    return min(95, sum(30 for line in head.splitlines() if line.startswith(starts)))


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what an ns.conf says; raises ReadError for a file without any of its commands."""
    del folder  # the format has no includes
    tally = LineTally()
    config, version = _load(source, options, tally)
    legs: list[Leg] = []
    claims: list[Claim] = []
    for entity in _tls_entities(config):
        settings = _settle(config, entity)
        gone = {each.version for each in settings if each.state is State.DISABLED}
        unknown = {each.version for each in settings if each.gap in {GapReason.NOT_IN_FILE, GapReason.TUNNEL}}
        # A default that is not known is nothing that the file allows.
        unknown |= {each.version for each in settings if each.gap is GapReason.VERSION_UNKNOWN}
        gaps = dict.fromkeys(unknown, (GapReason.UNSUPPORTED, ""))
        claims.append(Claim(allowed=ALL - gone, reason="", place=_place_of(config, entity), gaps=gaps))
        legs.append(_leg(entity, settings))
    return Reading(
        importer="netscaler",
        product="NetScaler (Citrix ADC)",
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
    """Return the commands for everything that stands in the way, or nothing; raises ReadError as read does."""
    del folder
    config, _ = _load(source, options, LineTally())
    commands: dict[str, None] = {}
    checks: dict[str, None] = {}
    cautions: dict[str, None] = {}
    for entity in _tls_entities(config):
        if entity.is_bridge or entity.kind == "monitor" or _MANAGEMENT.match(entity.name):
            continue
        settled = _settle(config, entity)
        settings = {each.version: each.state for each in settled}
        words = [] if settings[TlsVersion.TLS1_2] is State.ENABLED else ["-tls12 ENABLED"]
        words += [
            f"{switch} DISABLED"
            for switch in ("-ssl3", "-tls1", "-tls11")
            if wants.disable_old and settings[_SWITCHES[switch]] is not State.DISABLED
        ]
        if not words:
            continue
        if settled[ALL_VERSIONS.index(TlsVersion.TLS1_2)].gap is GapReason.UNSUPPORTED:
            cautions["Look at the bound ciphers as well: they must have suites of TLS 1.2."] = None
        profile = _profile_name(config, entity)
        kind, name = (entity.kind, entity.name) if profile is None else ("profile", profile)
        if not _NAME.fullmatch(name):
            cautions["An object has a name that can't be written into a command safely: change it by hand."] = None
            continue
        shown = f'"{name}"' if " " in name else name
        commands[f"set ssl {kind} {shown} {' '.join(words)}"] = None
        checks[f"show ssl {kind} {shown}"] = None
        if profile is not None:
            cautions[f"Everything that uses the profile {name} is changed with it."] = None
    if not commands and not cautions:
        return ()
    return (
        Remedy(
            title="Have NetScaler use TLS 1.2 and nothing older"
            if wants.disable_old
            else "Have NetScaler use TLS 1.2 as well",
            commands=(*commands, "save ns config") if commands else (),
            check_commands=tuple(checks),
            activate="at once for new connections",
            citation=_CITATION,
            cautions=(*cautions, "Not verified: the commands were not run on a NetScaler."),
        ),
    )


def _load(source: SourceFile, options: ReadOptions, tally: LineTally) -> tuple[_Config, str | None]:
    header = re.match(r"#NS([0-9]{1,3}\.[0-9]{1,3}) Build ", source.text)
    version = options.product_version or (header[1] if header else None)
    numbers = re.match(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?", version or "")
    config = _Config(version=(int(numbers[1]), int(numbers[2] or 0)) if numbers else None)
    count = 0
    for number, raw in enumerate(source.text.split("\n"), 1):
        parts = raw.split(None, 3)
        if not parts or parts[0].startswith("#"):
            continue
        place = Place(file=source.name, line=number)
        head = tuple(part.lower() for part in parts[:3])
        if head[0] not in _COMMANDS:
            is_known = head[0] in {"enable", "disable", "link", "apply"}
            count += is_known
            tally.count(LineState.IRRELEVANT if is_known else LineState.UNRECOGNISED, place, "(command)")
            continue
        count += 1
        # Only commands that matter are taken apart: the others may be long, and are many.
        is_taken = _concerns(head) and _take(_words(raw), place, config)
        tally.count(LineState.SUPPORTED if is_taken else LineState.IRRELEVANT, place, head[0])
    if count == 0:
        raise ReadError(f"{source.name}: no command of a NetScaler's in it")
    return config, version


def _words(line: str) -> list[str]:
    if '"' not in line:
        return line.split()
    words = _WORD.findall(line)
    return [re.sub(r"\\(.)", r"\1", word.strip('"')) if word.startswith('"') else word for word in words]


def _concerns(head: tuple[str, ...]) -> bool:
    if len(head) < 2:
        return False
    if head[1] == "ssl":
        return len(head) > 2 and head[2] in {"profile", "parameter", "vserver", "service", "servicegroup", "cipher"}
    return (
        head[1] in {"service", "servicegroup", "server"}
        or (head[1] in _VSERVERS and head[2:] == ("vserver",))
        or (head[1] == "ns" and head[2:] == ("hostname",))
        or head[1:] == ("lb", "monitor")
    )


def _take(words: list[str], place: Place, config: _Config) -> bool:
    verb, what = words[0].lower(), words[1].lower()
    if what == "ssl":
        return _take_ssl(verb, words[2].lower(), words[3:], place, config)
    if what == "ns" and verb == "set" and len(words) > 3:
        name = words[3].lower()
        config.hostname = name if _HOST.fullmatch(name) else None
    elif what == "server" and verb == "add" and len(words) > 3:
        config.servers[words[2].lower()] = words[3]
    elif what in _VSERVERS and verb == "add" and words[2].lower() == "vserver" and len(words) > 4:
        entity = _typed(config.entity("vserver", words[3], place), words[4])
        entity.listen = _listen(*words[5:7]) if len(words) > 6 else Listen(address=None, port=None)
        entity.is_disabled = _maybe_option(words, "-state") == "DISABLED"
    elif what == "service" and verb == "add" and len(words) > 5:
        entity = _typed(config.entity("service", words[2], place), words[4])
        entity.destinations.append(_destination(config, words[3], words[5]))
    elif what == "servicegroup" and verb == "add" and len(words) > 3:
        _typed(config.entity("serviceGroup", words[2], place), words[3])
    elif what == "servicegroup" and verb == "bind" and len(words) > 4 and not words[3].startswith("-"):
        group = config.entities.get(("serviceGroup", words[2].lower()))
        if group and len(group.destinations) < _MOST_DESTINATIONS:
            group.destinations.append(_destination(config, words[3], words[4]))
    elif what == "lb" and verb == "add" and words[2].lower() == "monitor" and len(words) > 4:
        if _maybe_option(words, "-secure") != "YES":
            return False
        entity = config.entity("monitor", words[3], place)
        entity.is_tls, entity.profile = True, _maybe_option(words, "-sslProfile")
    elif verb == "rm" and what in {"service", "servicegroup"} and len(words) > 2:
        config.entities.pop(("service" if what == "service" else "serviceGroup", words[2].lower()), None)
    elif verb == "rm" and what in _VSERVERS and len(words) > 3:
        config.entities.pop(("vserver", words[3].lower()), None)
    else:
        return False
    return True


def _take_ssl(verb: str, what: str, words: list[str], place: Place, config: _Config) -> bool:
    if what == "parameter":
        state = _maybe_option(words, "-defaultProfile")
        if verb == "set" and state:
            config.default_profile_at = place if state.upper() == "ENABLED" else None
        return bool(state)
    if not words:
        return False
    if what == "cipher":
        config.groups.setdefault(words[0].lower(), []).extend(_ciphers(words))
        return True
    kinds = {"vserver": "vserver", "service": "service", "servicegroup": "serviceGroup"}
    if what == "profile":
        if verb == "rm":
            return config.profiles.pop(words[0].lower(), None) is not None
        entity = config.profiles.setdefault(words[0].lower(), _Entity(name=words[0], kind="profile", place=place))
    else:
        entity = config.entity(kinds[what], words[0], place)
        entity.is_tls = True
    if verb == "bind":
        entity.ciphers += _ciphers(words)
    for at, word in enumerate(words):
        version = _SWITCHES.get(word.lower())
        value = words[at + 1].upper() if at + 1 < len(words) else ""
        if word.lower() == "-sslprofile" and what != "profile":
            entity.profile = words[at + 1] if verb == "set" and at + 1 < len(words) else None
        if version is None:
            continue
        entity.switches.pop(version, None)
        entity.odd.pop(version, None)
        if verb != "unset" and value in {"ENABLED", "DISABLED"}:
            entity.switches[version] = (value == "ENABLED", place)
        elif verb != "unset":
            entity.odd[version] = place
    return True


def _ciphers(words: list[str]) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word.lower() == "-ciphername"]


def _maybe_option(words: list[str], name: str) -> str | None:
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word.lower() == name.lower()), None)


def _typed(entity: _Entity, kind: str) -> _Entity:
    entity.is_bridge = kind.upper() == "SSL_BRIDGE"
    entity.is_tls = entity.is_bridge or kind.upper() in _SSL_TYPES
    return entity


def _listen(address: str, port: str) -> Listen:
    try:
        canonical = ipaddress.ip_address(address)
    except ValueError:
        canonical = None
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    is_any = canonical is None or canonical.is_unspecified
    return Listen(address=None if is_any else str(canonical), port=number if 0 < number < 65536 else None)


def _destination(config: _Config, server: str, port: str) -> str:
    host = config.servers.get(server.lower(), server).lower()
    if not _HOST.fullmatch(host) and not re.fullmatch(r"[0-9a-f:.]{2,45}", host):
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port.isascii() and port.isdigit() and len(port) <= 5 else host


def _tls_entities(config: _Config) -> Iterator[_Entity]:
    return (entity for entity in config.entities.values() if entity.is_tls)


def _side(entity: _Entity) -> str:
    return "front" if entity.kind == "vserver" or _MANAGEMENT.match(entity.name) else "back"


def _profile_name(config: _Config, entity: _Entity) -> str | None:
    return entity.profile or (_DEFAULTS[_side(entity)] if config.default_profile_at else None)


def _place_of(config: _Config, entity: _Entity) -> Place | None:
    name = _profile_name(config, entity)
    profile = config.profiles.get(name.lower()) if name else None
    return profile.place if profile else entity.place


def _settle(config: _Config, entity: _Entity) -> tuple[Setting, ...]:
    name = _profile_name(config, entity)
    owner: _Entity | None = entity
    if name is not None:
        owner = config.profiles.get(name.lower())
        if owner is None and name.lower() in _DEFAULTS.values():
            owner = _Entity(name=name, kind="profile", place=None)
    ciphers = _bound_ciphers(config, owner) if owner else set()
    return tuple(_setting(config, entity, owner, ciphers, version) for version in ALL_VERSIONS)


def _setting(
    config: _Config, entity: _Entity, owner: _Entity | None, ciphers: set[str], version: TlsVersion
) -> Setting:
    state, basis, place = State.UNKNOWN, Basis.DECLARED, entity.place
    gap: GapReason | None = None
    switch = next(name for name, each in _SWITCHES.items() if each is version)
    if entity.is_bridge:
        gap, reason = GapReason.TUNNEL, "SSL_BRIDGE passes TLS through: the versions are those of the two ends."
    elif entity.kind == "monitor" and owner is entity:
        gap, reason = GapReason.UNSUPPORTED, "A monitor without -sslProfile has versions of its own."
    elif owner is None:
        gap, reason = GapReason.NOT_IN_FILE, "-sslProfile names a profile that is not in this file."
    elif version in owner.odd:
        gap, reason, place = GapReason.UNSUPPORTED, f"{switch} has a value that is not known.", owner.odd[version]
    elif version in owner.switches:
        is_on, place = owner.switches[version]
        state = State.ENABLED if is_on else State.DISABLED
        reason = f"{switch} is {state.name}."
    else:
        state, gap, reason = _default(config, version, _side(entity), switch)
        basis, place = Basis.ASSUMED, None
    if state is State.ENABLED and (why := _maybe_without_suites(ciphers, version)):
        state, gap, reason = State.UNKNOWN, GapReason.UNSUPPORTED, f"{reason} {why}"
    return Setting(version=version, state=state, basis=basis, gap=gap, reason=reason, place=place)


def _default(config: _Config, version: TlsVersion, side: str, switch: str) -> tuple[State, GapReason | None, str]:
    release = config.version or (0, 0)
    state = State.UNKNOWN
    if (version is TlsVersion.SSL2 and config.version) or (version is TlsVersion.SSL3 and (13, 0) <= release < (14, 0)):
        state = State.DISABLED
    elif (version in {TlsVersion.TLS1_0, TlsVersion.TLS1_1} and (12, 0) <= release < (14, 0)) or (
        version is TlsVersion.TLS1_2 and release >= ((11, 0) if side == "front" else (12, 0))
    ):
        state = State.ENABLED
    elif version is TlsVersion.TLS1_3 and (10, 0) <= release < (14, 0):
        state = State.DISABLED
    if state is State.UNKNOWN:
        return state, GapReason.VERSION_UNKNOWN, f"{switch} is not set, and its default depends on the release."
    return state, None, f"{switch} is not set; by default it is {state.name} in this release (table not verified)."


def _bound_ciphers(config: _Config, owner: _Entity) -> set[str]:
    """Return the bound aliases and suites, with the file's own groups taken apart."""
    found: set[str] = set()
    for name in set(owner.ciphers[:1000]):
        members = config.groups.get(name.lower(), [])
        found |= set(members[:1000]) if members else {name}
    return {name.upper() for name in found}


def _maybe_without_suites(ciphers: set[str], version: TlsVersion) -> str | None:
    """Return why bound ciphers may leave a version without suites; None where they don't."""
    has_13 = any(name.startswith("TLS1.3") for name in ciphers)
    if version is TlsVersion.TLS1_3:
        return None if has_13 else "No TLS1.3 suite is seen to be bound."
    if version is TlsVersion.TLS1_2:
        return "Only TLS1.3 suites are bound." if ciphers and all(c.startswith("TLS1.3") for c in ciphers) else None
    if ciphers and not ciphers & _OLD_SUITES and not any(name.startswith(("SSL3-", "TLS1-")) for name in ciphers):
        return "Whether the bound ciphers have suites for it is not worked out."
    return None


def _leg(entity: _Entity, settings: tuple[Setting, ...]) -> Leg:
    is_management = entity.kind == "monitor" or bool(_MANAGEMENT.match(entity.name))
    is_inbound = _side(entity) == "front"
    shown = entity.name if _NAME.fullmatch(entity.name) else "(not shown)"
    where = f" at {entity.place.locator}" if entity.place else ""
    listens = (entity.listen,) if entity.listen and is_inbound else ()
    return Leg(
        name=f"{entity.kind} {shown}{where}",
        direction=Direction.INBOUND if is_inbound else Direction.OUTBOUND,
        settings=settings,
        listens=listens,
        destinations=() if is_inbound else tuple(dict.fromkeys(each for each in entity.destinations if each)),
        is_management=is_management,
        limits=("The virtual server is disabled.",) if entity.is_disabled else (),
    )
