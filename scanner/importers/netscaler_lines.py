"""ns.conf as the SSL entities that its command lines make, each with its parameters. See netscaler. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from scanner.importers.claims import LineTally
from scanner.importers.source import ReadError, ReadOptions, SourceFile
from scanner.model.declared import LineState, Listen, Place
from scanner.model.versions import TlsVersion

SWITCHES = {
    "-ssl2": TlsVersion.SSL2,
    "-ssl3": TlsVersion.SSL3,
    "-tls1": TlsVersion.TLS1_0,
    "-tls11": TlsVersion.TLS1_1,
    "-tls12": TlsVersion.TLS1_2,
    "-tls13": TlsVersion.TLS1_3,
}
_WORD = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^\s"]\S*')
_COMMANDS = frozenset({"add", "set", "bind", "unbind", "unset", "rm"})
_SSL_TYPES = frozenset({"SSL", "SSL_TCP", "SSL_DIAMETER", "SSL_FIX", "SSL_PUSH"})
_VSERVERS = frozenset({"lb", "cs", "vpn", "authentication"})
_OLD_SUITES = frozenset({"DEFAULT", "ALL", "AES", "HIGH"})
"""Cipher aliases that have suites of TLS 1.0."""
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_MOST_DESTINATIONS = 20


@dataclass(slots=True)
class SslEntity:
    """Something with SSL parameters: their switches, each with the line that set it last."""

    name: str
    kind: str
    place: Place | None
    switches: dict[TlsVersion, tuple[bool, Place]] = field(default_factory=dict)
    odd: dict[TlsVersion, Place] = field(default_factory=dict)
    profile: str | None = None
    ciphers: dict[str, None] = field(default_factory=dict)
    listen: Listen | None = None
    destinations: list[str] = field(default_factory=list)
    is_bridge: bool = False
    is_tls: bool = False
    is_disabled: bool = False


@dataclass(slots=True)
class NetscalerConfig:
    """What of a file matters; names are looked up without regard to case."""

    entities: dict[tuple[str, str], SslEntity] = field(default_factory=dict)
    profiles: dict[str, SslEntity] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    suites: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    default_profile_at: Place | None = None
    hostname: str | None = None
    version: tuple[int, int] | None = None

    def entity(self, kind: str, name: str, place: Place) -> SslEntity:
        """Return an entity, made where it is not known."""
        key = (kind, name.lower())
        if key not in self.entities:
            self.entities[key] = SslEntity(name=name, kind=kind, place=place)
        return self.entities[key]


def read_commands(source: SourceFile, options: ReadOptions, tally: LineTally) -> tuple[NetscalerConfig, str | None]:
    """Return what the lines make, and the release; raises ReadError for a file without any command."""
    header = re.match(r"#NS([0-9]{1,3}\.[0-9]{1,3}) Build ", source.text)
    version = options.product_version or (header[1] if header else None)
    numbers = re.match(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?", version or "")
    config = NetscalerConfig(version=(int(numbers[1]), int(numbers[2] or 0)) if numbers else None)
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


def _take(words: list[str], place: Place, config: NetscalerConfig) -> bool:
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


def _take_ssl(verb: str, what: str, words: list[str], place: Place, config: NetscalerConfig) -> bool:
    if what == "parameter":
        state = _maybe_option(words, "-defaultProfile")
        if verb == "set" and state:
            config.default_profile_at = place if state.upper() == "ENABLED" else None
        return bool(state)
    if not words:
        return False
    if what == "cipher":
        config.groups.setdefault(words[0].lower(), set()).update(map(suite_kind, _ciphers(words)))
        return True
    kinds = {"vserver": "vserver", "service": "service", "servicegroup": "serviceGroup"}
    if what == "profile":
        if verb == "rm":
            return config.profiles.pop(words[0].lower(), None) is not None
        entity = config.profiles.setdefault(words[0].lower(), SslEntity(name=words[0], kind="profile", place=place))
    else:
        entity = config.entity(kinds[what], words[0], place)
        entity.is_tls = True
    if verb in {"bind", "unbind"}:
        entity.ciphers |= dict.fromkeys(_ciphers(words) if verb == "bind" else ["(unbound)"])
        return True
    for at, word in enumerate(words):
        version = SWITCHES.get(word.lower())
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


def _typed(entity: SslEntity, kind: str) -> SslEntity:
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


def _destination(config: NetscalerConfig, server: str, port: str) -> str:
    host = config.servers.get(server.lower(), server).lower()
    if not _HOST.fullmatch(host) and not re.fullmatch(r"[0-9a-f:.]{2,45}", host):
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port.isascii() and port.isdigit() and len(port) <= 5 else host


def suite_kind(name: str) -> str:
    """Return ``1.3``, ``old`` (it has suites of TLS 1.0, so of 1.2 as well) or ``other``."""
    upper = name.upper()
    if upper.startswith("TLS1.3"):
        return "1.3"
    return "old" if upper in _OLD_SUITES or upper.startswith(("SSL3-", "TLS1-")) else "other"
