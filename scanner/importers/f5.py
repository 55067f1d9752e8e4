"""bigip.conf of F5 BIG-IP: virtual servers with client-ssl and server-ssl profiles, and monitors over HTTPS.

Options take away: a version is allowed unless its ``no-`` flag is there; a profile without ``options`` has its parent's
whole set, and one with them only its own; ``options none`` takes nothing away (f5-ansible
bigip_profile_client_ssl.py and bigip_profile_server_ssl.py; terraform-provider-bigip, whose documents give the default
``dont-insert-empty-fragments no-tlsv1.3`` for both kinds). ``ciphers`` and cipher groups take away as well.
Unverified, from memory: that built-in parents are kept in profile_base.conf, and what DEFAULT stands for by version.
"""

from __future__ import annotations

import ipaddress
import re

from scanner.importers.claims import Claim, LineTally, check_old_versions
from scanner.importers.edits import Remedy, Wants
from scanner.importers.f5_profiles import (
    BUILT_IN,
    F5Config,
    ResolvedProfile,
    full_name,
    resolve_profile,
    settle_profile,
    ssl_profiles,
)
from scanner.importers.f5_tree import Node, parse_f5
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_NAME = re.compile(r"[\w./:%~-]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_PORTS = {"https": 443, "http": 80, "ldaps": 636, "imaps": 993, "pop3s": 995, "smtps": 465, "pcsync-https": 8443}
_MOST_DESTINATIONS = 20
_OLD_FLAGS = ("no-sslv2", "no-sslv3", "no-tlsv1", "no-tlsv1.1")
_CITATION = "https://clouddocs.f5.com/cli/tmsh-reference/latest/modules/ltm/ltm_profile_client-ssl.html"
_RULES = "iRules of this virtual server may choose another SSL profile for a connection."


def recognise(source: SourceFile) -> int:
    """Return 0 to 100: how much the file looks like bigip.conf or the output of ``tmsh list``."""
    head = SourceFile(name=source.name, data=source.data[: 64 * 1024]).text
    if head.startswith("#TMSH-VERSION:"):
        return 95
    starts = ("ltm virtual ", "ltm profile ", "ltm pool ", "ltm node ", "ltm monitor ", "sys global-settings {")
    score = sum(40 for line in head.splitlines() if line.startswith(starts) and line.rstrip().endswith(("{", "}")))
    return min(95, score)


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what a bigip.conf says; raises ReadError where braces don't match or nothing is a BIG-IP's."""
    del folder  # the format has no includes
    tally = LineTally()
    config, version = _load(source, options, tally)
    legs: list[Leg] = []
    claims: list[Claim] = []
    for name, virtual in config.virtuals.items():
        for kind, profile in dict.fromkeys(ssl_profiles(config, virtual)):
            resolved = resolve_profile(config, kind, profile)
            settings, claim = settle_profile(resolved)
            claims.append(claim)
            legs.append(_virtual_leg(config, name, (kind, profile), resolved, settings))
    for name, monitor in config.monitors:
        legs.append(_monitor_leg(config, name, monitor))
    return Reading(
        importer="f5",
        product="F5 BIG-IP",
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
    """Return tmsh commands for every profile in use that stands in the way, or nothing; raises ReadError as read."""
    del folder
    config, _ = _load(source, options, LineTally())
    changes: dict[tuple[str, str], str] = {}
    cautions: list[str] = []
    for virtual in config.virtuals.values():
        for kind, profile in ssl_profiles(config, virtual):
            if (kind, profile) not in changes:
                changes[kind, profile] = _change(config, kind, profile, wants, cautions)
    commands = [command for command in changes.values() if command]
    if not commands and not cautions:
        return ()
    changed = [key for key, command in changes.items() if command]
    return (
        Remedy(
            title="Have the SSL profiles in use allow TLS 1.2 and nothing older"
            if wants.disable_old
            else "Have the SSL profiles in use allow TLS 1.2",
            commands=(*commands, "tmsh save sys config") if commands else (),
            check_commands=tuple(f"tmsh list ltm profile {kind} {name} options ciphers" for kind, name in changed),
            activate="at once for new connections",
            citation=_CITATION,
            cautions=(*dict.fromkeys(cautions), "Not verified: the commands were not run on a BIG-IP."),
        ),
    )


def _load(source: SourceFile, options: ReadOptions, tally: LineTally) -> tuple[F5Config, str | None]:
    nodes = parse_f5(source.text, source.name)
    header = re.match(r"#TMSH-VERSION: (\d{1,3}(?:\.\d{1,5}){1,4})\b", source.text)
    version = options.product_version or (header[1] if header else None)
    numbers = re.match(r"(\d{1,3})(?:\.(\d{1,5}))?", version or "")
    config = F5Config(
        file=source.name, version=(int(numbers[1]), int(numbers[2] or 0)) if numbers and numbers[0].isascii() else None
    )
    if not any(len(node.words) >= 2 and node.has_braces for node in nodes if node.words[:1] != ()):
        raise ReadError(f"{source.name}: no object of a BIG-IP's in it")
    for node in nodes:
        is_taken = _take(node, config)
        tally.count(LineState.SUPPORTED if is_taken else LineState.IRRELEVANT, config.place(node), "object")
    return config, version


def _take(node: Node, config: F5Config) -> bool:
    kind, name = node.words[:2], full_name(node.words[-1]) if node.words else ""
    if kind == ("ltm", "virtual"):
        config.virtuals[name] = node
    elif kind == ("ltm", "pool"):
        config.pools[name] = node
    elif kind == ("ltm", "virtual-address"):
        config.addresses[name] = node.maybe_value("address") or ""
    elif kind == ("ltm", "profile") and len(node.words) == 4:
        if node.words[2] in BUILT_IN:
            config.profiles[node.words[2], name] = node
        else:
            config.other_profiles.add(name)
    elif kind == ("ltm", "monitor") and len(node.words) == 4 and node.words[2] == "https":
        config.monitors.append((name, node))
    elif kind == ("sys", "global-settings"):
        hostname = (node.maybe_value("hostname") or "").lower()
        config.hostname = hostname if _HOST.fullmatch(hostname) else None
    else:
        return False
    return True


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "(not shown)"


def parse_destination(text: str, addresses: dict[str, str]) -> Listen:
    """Return address and port of a destination: ``/Common/10.0.0.1%1:443``, ``/Common/2001:db8::1.443``."""
    leaf = text.rsplit("/", 1)[-1]
    # An IPv6 address is parted from its port by a dot, everything else by a colon.
    is_six = leaf.count(":") > 1 or leaf.startswith("any6")
    host, _, port = leaf.rpartition("." if is_six else ":")
    if not host:
        host, port = leaf, ""
    host = addresses.get(f"{text[: -len(leaf)] or '/Common/'}{host}", "") or host
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        address = None
    number = _PORTS.get(port) or (int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0)
    return Listen(
        address=None if address is None or address.is_unspecified else address.compressed,
        port=number if 0 < number < 65536 else None,
    )


def _virtual_leg(
    config: F5Config, name: str, ssl: tuple[str, str], resolved: ResolvedProfile, settings: tuple[Setting, ...]
) -> Leg:
    virtual, (kind, profile) = config.virtuals[name], ssl
    is_inbound = kind == "client-ssl"
    limits = [_RULES] if virtual.maybe_child("rules") else []
    if virtual.maybe_child("disabled"):
        limits.append("The virtual server is disabled.")
    return Leg(
        name=f"virtual {_shown(name)} with {kind} {_shown(profile)} at {config.place(virtual).locator}",
        direction=Direction.INBOUND if is_inbound else Direction.OUTBOUND,
        settings=settings,
        listens=(parse_destination(virtual.maybe_value("destination") or "", config.addresses),) if is_inbound else (),
        server_names=resolved.names if is_inbound else (),
        destinations=() if is_inbound else _members(config, virtual.maybe_value("pool")),
        limits=tuple(limits),
    )


def _members(config: F5Config, pool: str | None) -> tuple[str, ...]:
    node = config.pools.get(full_name(pool)) if pool else None
    members = node.maybe_child("members") if node else None
    found = []
    for member in members.children[:_MOST_DESTINATIONS] if members else ():
        leaf = (member.words[-1] if member.words else "").rsplit("/", 1)[-1]
        listen = parse_destination(leaf, {})
        host = (member.maybe_value("address") or listen.address or leaf.rpartition(":")[0]).split("%", 1)[0].lower()
        if _HOST.fullmatch(host) or (":" in host and _NAME.fullmatch(host)):
            host = f"[{host}]" if ":" in host else host
            found.append(f"{host}:{listen.port}" if listen.port else host)
    return tuple(dict.fromkeys(found))


def _monitor_leg(config: F5Config, name: str, monitor: Node) -> Leg:
    profile = monitor.maybe_value("ssl-profile")
    place = config.place(monitor)
    if profile and profile != "none":
        resolved = resolve_profile(config, "server-ssl", full_name(profile))
        settings, _ = settle_profile(resolved)
    else:
        settings = tuple(
            Setting(
                version=version,
                state=State.UNKNOWN,
                basis=Basis.DECLARED,
                gap=GapReason.UNSUPPORTED,
                reason="A monitor without ssl-profile has versions of its own.",
                place=place,
            )
            for version in ALL_VERSIONS
        )
    return Leg(
        name=f"monitor {_shown(name)} at {place.locator}",
        direction=Direction.OUTBOUND,
        settings=settings,
        is_management=True,
    )


def _change(config: F5Config, kind: str, name: str, wants: Wants, cautions: list[str]) -> str:
    """Return the command for one profile, or nothing."""
    resolved = resolve_profile(config, kind, name)
    if not _NAME.fullmatch(name):
        cautions.append(f"A {kind} profile has a name that can't be written into a command safely: change it by hand.")
        return ""
    if resolved.is_off or (resolved.options.gap and resolved.options.gap[0] is not GapReason.VERSION_UNKNOWN):
        cautions.append(f"{kind} {name} can't be worked out from this file: look at it on the device.")
        return ""
    held = [word for word in resolved.options.words if word != "none" and re.fullmatch(r"[a-z0-9.-]{1,60}", word)]
    new = [word for word in held if word not in {"no-tlsv1.2", "no-tls"}]
    new += [flag for flag in _OLD_FLAGS if wants.disable_old and flag not in new]
    parts = []
    if new != held:
        parts.append(f"options {{ {' '.join(new)} }}" if new else "options none")
    settings, _ = settle_profile(resolved)
    enabled = settings[ALL_VERSIONS.index(TlsVersion.TLS1_2)]
    if "no-tlsv1.2" not in held and enabled.state is not State.ENABLED:
        if enabled.state is State.DISABLED:
            parts.append("ciphers DEFAULT")
            cautions.append(f"{kind} {name}: its cipher string excluded TLS 1.2; DEFAULT takes its place.")
        else:
            cautions.append(f"{kind} {name}: look at its ciphers with tmm --clientciphers, they may have no TLS 1.2.")
    if not parts:
        return ""
    if name == BUILT_IN[kind] or (kind, name) not in config.profiles:
        cautions.append(f"{name} is built in: better make a profile of your own from it, and use that.")
    return f"tmsh modify ltm profile {kind} {name} {' '.join(parts)}"
