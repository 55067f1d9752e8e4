"""nginx: what its configuration declares of TLS, for the connections it accepts and those it opens. Pure.

Read are http, stream and mail, with ssl_protocols, proxy_ssl_protocols, grpc_ssl_protocols and uwsgi_ssl_protocols by
nginx's inheritance. A file that holds only ``server`` blocks (one site) is read as if included by ``http``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from scanner.importers.nginx_edits import plan_edits
from scanner.importers.nginx_lines import all_missing, flag, judge_lines, outbound_passes
from scanner.importers.nginx_listen import Socket, parse_listen, parse_names, upstream_address
from scanner.importers.nginx_tls import (
    OLD,
    VersionRange,
    maybe_own_protocols,
    parse_version,
    rules_of,
    settings_of,
    unknown_where,
)
from scanner.importers.nginx_tree import Block, Statement, Tree, top_blocks
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.checks import Check, CheckState
from scanner.model.declared import (
    ClueKind,
    HostClue,
    Leg,
    Listen,
    Place,
    Reading,
    Setting,
)
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS

__all__ = ["ID", "plan_edits", "read", "recognise"]

ID: Final = "nginx"
MOST_LEGS_COUNT: Final = 20_000
"""More servers, listening sockets or upstreams of one http block are refused: no real configuration has as many."""

_DEFAULT_PORTS: Final = {"https": 443, "grpcs": 443}


def recognise(source: SourceFile) -> int:
    """Return how sure it is that a file is nginx's, 0 to 100, from its first 64 KiB."""
    text = SourceFile(name=source.name, data=source.data[:65_536]).text
    blocks = set(re.findall(r"(?m)^[ \t]*(http|events|stream|server|upstream|mail)\b[^;{}#\n]{0,200}\{", text))
    lines = re.findall(
        r"(?m)^[ \t]*(?:listen|server_name|ssl_protocols|ssl_certificate|proxy_pass|grpc_pass|worker_processes"
        r"|worker_connections|include|root)[ \t][^;{}#\n]{1,500};",
        text,
    )
    score = 0
    if {"http", "events"} <= blocks or (blocks & {"http", "stream", "mail"} and lines):
        score = 85
    elif "server" in blocks and lines:
        score = 70
    return score + 10 if score and "nginx" in source.name.lower() else score


@dataclass(slots=True, kw_only=True, eq=False)
class _Server:
    block: Block
    sockets: list[tuple[Socket, bool]]
    """Where it listens, each with whether its own line says TLS."""
    limits: list[str]
    names: tuple[str, ...]
    label: str


@dataclass(slots=True, kw_only=True, eq=False)
class _Group:
    """The servers of one listening socket."""

    first: _Server
    default: _Server | None = None
    is_tls: bool = False
    servers: list[_Server] = field(default_factory=list)


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what a configuration declares; raises ReadError where it is none."""
    tree = Tree(source, folder)
    versions = parse_version(options.product_version)
    legs: list[Leg] = []
    tops = top_blocks(tree)
    for top in tops:
        servers = []
        for block in top.blocks:
            if block.name == "server":
                servers.append(_server(block, top))
                _refuse_beyond(source, len(servers[-1].sockets))
        _refuse_beyond(source, sum(len(server.sockets) + 1 for server in servers))
        legs += _inbound(top, servers, versions)
        passes = outbound_passes(top)
        _refuse_beyond(source, len(passes))
        legs += _outbound(top, passes, versions)
    counts, notes = judge_lines(tree)
    served = dict.fromkeys(name for leg in legs if leg.direction is Direction.INBOUND for name in leg.server_names)
    return Reading(
        importer=ID,
        product="nginx",
        product_version=options.product_version,
        file=source.name,
        sha256=source.sha256,
        legs=_uniquely_named(legs),
        checks=_checks(legs),
        notes=notes,
        line_counts=counts,
        clues=tuple(HostClue(name=name, kind=ClueKind.SERVED) for name in served),
        gaps=tuple(
            dict.fromkeys((each.gap, f"{each.place.locator}: {each.detail}") for each in all_missing(tree, tops))
        ),
        includes=tuple((name, each.sha256) for name, each in tree.sources.items() if each is not source),
    )


def _refuse_beyond(source: SourceFile, count: int) -> None:
    if count > MOST_LEGS_COUNT:
        raise ReadError(f"{source.name}: more than {MOST_LEGS_COUNT} servers, listening sockets or upstreams")


def _server(block: Block, top: Block) -> _Server:
    sockets: list[tuple[Socket, bool]] = []
    limits: list[str] = []
    for statement in block.statements.get("listen", []):
        found, words = parse_listen(statement, is_http=top.name == "http")
        sockets += found
        limits += words
    if top.name == "http" and "listen" not in block.statements:
        sockets.append((Socket(address=None, family=4, port=80), False))
    if flag(block, "ssl"):
        sockets = [(each, True) for each, _ in sockets]
    names, words = parse_names(block.statements.get("server_name", []))
    place = block.head.place.locator if block.head else ""
    label = f"server {names[0]} at {place}" if names else f"server at {place}"
    return _Server(block=block, sockets=sockets, limits=limits + words, names=names, label=label)


def _inbound(top: Block, servers: list[_Server], versions: VersionRange) -> list[Leg]:
    groups: dict[Socket, _Group] = {}
    for server in servers:
        for socket, is_tls in server.sockets:
            key = replace(socket, is_default=False)
            group = groups.setdefault(key, _Group(first=server))
            group.is_tls = group.is_tls or is_tls  # nginx: one listen line with ssl makes the socket TLS for all
            group.default = server if socket.is_default and group.default is None else group.default
            group.servers.append(server)
    own: dict[int, tuple[Setting, ...]] = {}
    legs = []
    for server in servers:
        keys = [replace(socket, is_default=False) for socket, _ in server.sockets]
        tls = [key for key in dict.fromkeys(keys) if groups[key].is_tls]
        if not tls and flag(server.block, "ssl_preread"):
            reason = "ssl_preread passes TLS through to the upstream"
            settings = _unknown(GapReason.TUNNEL, reason, server.block)
        elif not tls or flag(server.block, "ssl_reject_handshake"):
            continue
        else:
            settings = _by_sockets(top, server, [groups[key] for key in tls], own, versions)
        legs.append(
            Leg(
                name=server.label,
                direction=Direction.INBOUND,
                settings=settings,
                listens=tuple(
                    dict.fromkeys(
                        Listen(address=key.address, port=key.port) for key in (tls or keys) if key.name is None
                    )
                ),
                server_names=server.names,
                limits=tuple(dict.fromkeys(server.limits)),
            )
        )
    return legs


def _by_sockets(
    top: Block, server: _Server, groups: list[_Group], own: dict[int, tuple[Setting, ...]], versions: VersionRange
) -> tuple[Setting, ...]:
    result: tuple[Setting, ...] | None = None
    for group in groups:
        settings = _on_socket(top, server, group, own, versions)
        if result is None:
            result = settings
        else:
            reason = "the server listens on several sockets, whose default servers differ"
            result = unknown_where(result, settings, GapReason.CONDITIONAL, reason)
    return result or ()


def _on_socket(
    top: Block, server: _Server, group: _Group, own: dict[int, tuple[Setting, ...]], versions: VersionRange
) -> tuple[Setting, ...]:
    settings = _own_settings(server, own, versions)
    is_own = maybe_own_protocols(versions)
    if is_own or group.default is server:
        return settings
    if group.default is None and top.missing:
        first = top.missing[0]
        reason = (
            f"{first.detail}: it may hold the default server of the socket, whose ssl_protocols rules before 1.29.2"
        )
        return tuple(
            replace(each, state=State.UNKNOWN, gap=first.gap, reason=reason, place=first.place) for each in settings
        )
    ruler = group.default or group.first
    if ruler is server:
        return settings
    ruling = _own_settings(ruler, own, versions)
    if is_own is None:
        reason = (
            "ssl_protocols of the server and of its socket's default server differ: nginx before 1.29.2 goes by the"
            " default server's, later ones by the server's own"
        )
        return unknown_where(settings, ruling, GapReason.VERSION_UNKNOWN, reason)
    if settings == ruling:
        return settings
    where = ruler.block.head.place.locator if ruler.block.head else ""
    return tuple(
        replace(
            each, reason=f"{each.reason}; that is the socket's default server's ({where}), which rules before 1.29.2"
        )
        for each in ruling
    )


def _own_settings(server: _Server, own: dict[int, tuple[Setting, ...]], versions: VersionRange) -> tuple[Setting, ...]:
    if id(server) not in own:
        own[id(server)] = settings_of(rules_of(server.block, ""), versions)
    return own[id(server)]


def _unknown(gap: GapReason, reason: str, block: Block) -> tuple[Setting, ...]:
    place = block.head.place if block.head else None
    return tuple(
        Setting(version=each, state=State.UNKNOWN, basis=Basis.DECLARED, reason=reason, place=place, gap=gap)
        for each in ALL_VERSIONS
    )


def _outbound(top: Block, passes: list[tuple[Block, Statement, str]], versions: VersionRange) -> list[Leg]:
    upstreams = {
        block.head.args[0].lower(): block
        for block in top.blocks
        if block.name == "upstream" and block.head is not None and block.head.args
    }
    legs = []
    for block, statement, prefix in passes:
        target = statement.args[0]
        scheme, separator, rest = target.partition("://")
        limits = []
        if top.name == "stream":
            rest, port = target, None
        else:
            port = _DEFAULT_PORTS.get(scheme.lower())
        if "$" in scheme:
            limits.append("Whether it uses TLS depends on a variable.")
            rest = rest if separator else ""
        if any(level.name == "if" for level in block.path()):
            limits.append("Used only where the condition around it holds.")
        legs.append(
            Leg(
                name=f"{statement.name} at {statement.place.locator}",
                direction=Direction.OUTBOUND,
                settings=settings_of(rules_of(block, prefix), versions),
                destinations=_destinations(rest, upstreams, port),
                limits=tuple(limits),
            )
        )
    return legs


def _destinations(rest: str, upstreams: dict[str, Block], port: int | None) -> tuple[str, ...]:
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    upstream = upstreams.get(host.lower())
    if upstream is None:
        found = [upstream_address(host, port)]
    else:
        # ngx_http_upstream_server: port 80 where a server line has none, whatever the scheme of proxy_pass
        found = [
            upstream_address(each.args[0], 80) for each in upstream.statements.get("server", [])[:100] if each.args
        ]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _checks(legs: list[Leg]) -> tuple[Check, ...]:
    places: dict[Place | None, None] = {}
    for leg in legs:
        for setting in leg.settings:
            if setting.version in OLD and (setting.gap is GapReason.LIBRARY_POLICY or setting.state is State.ENABLED):
                places[setting.place] = None
    if not places:
        return ()
    named = [place.locator for place in places if place is not None]
    detail = ", ".join([*named[:20], *(["nginx's default"] if None in places else [])])
    return (
        Check(
            id="config-allows-old",
            title="The configuration allows SSL 2.0 to TLS 1.1",
            state=CheckState.YES,
            detail=detail + (f" and {len(named) - 20} more" if len(named) > 20 else ""),
        ),
    )


def _uniquely_named(legs: list[Leg]) -> tuple[Leg, ...]:
    counts: Counter[str] = Counter()
    result = []
    for leg in legs:
        counts[leg.name] += 1
        result.append(leg if counts[leg.name] == 1 else replace(leg, name=f"{leg.name} ({counts[leg.name]})"))
    return tuple(result)
