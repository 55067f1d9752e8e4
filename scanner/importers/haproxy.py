"""haproxy.cfg: what HAProxy accepts and what it opens with TLS, by section. Pure.

Sections frontend, listen, backend, peers, ring and log-forward are read. A bind or server line without ``ssl`` passes
bytes through, or has no TLS: it is no leg. Health checks (check-ssl), HAProxy's own HTTP client and the stats socket
(seen with 2.6: no TLS in spite of ``ssl``) are left out, and QUIC, which is TLS 1.3 by definition.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Final

from scanner.importers.claims import LineTally, check_old_versions, settle_claims
from scanner.importers.haproxy_edits import plan_edits
from scanner.importers.haproxy_legs import SHARED, Draft, find_legs, kind_of
from scanner.importers.haproxy_lines import SECTIONS, HaproxyLine, parse_version, read_haproxy_lines
from scanner.importers.haproxy_tls import floors_of
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction

__all__ = ["ID", "plan_edits", "read", "recognise"]

ID: Final = "haproxy"
_MOST_PORTS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_FAMILY: Final = re.compile(r"(?:(?:ipv[46]|tcp[46]?|mptcp[46]?|stream)[+@])+")
_LOCAL: Final = re.compile(r"/|(?:unix|uxst|uxdg|abnsz?|fd|sockpair|rhttp|rev)[+@]|[a-z]+\+(?:unix|ux)")
_HEADER: Final = re.compile(r"(?m)^(global|defaults|frontend|backend|listen)\b[^{};=\n]{0,200}$")
_DIRECTIVE: Final = re.compile(
    r"(?m)^[ \t]+(?:bind|server|default_backend|use_backend|timeout (?:client|server|connect)|balance|maxconn"
    r"|ssl-default-bind-options|ssl-default-server-options|default-server|stats socket|option (?:http|tcp)log"
    r"|mode (?:http|tcp))(?=[ \t\r\n])"
)


def recognise(source: SourceFile) -> int:
    """Return how sure it is that a file is HAProxy's, 0 to 100, from its first 64 KiB."""
    text = SourceFile(name=source.name, data=source.data[:65_536]).text.replace("\r\n", "\n")
    headers = set(_HEADER.findall(text))
    lines = len(_DIRECTIVE.findall(text))
    score = min(90, 15 * len(headers) + 15 * min(lines, 4)) if headers and lines else 0
    return min(95, score + 15) if score and "haproxy" in source.name.lower() else score


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what a haproxy.cfg says; raises ReadError for a file without any of its sections."""
    version = parse_version(options.product_version)
    lines = read_haproxy_lines(source, version)
    if not any(line.is_header for line in lines):
        raise ReadError(f"{source.name}: no section of HAProxy's in it")
    found = find_legs(lines, folder, version)
    tally = LineTally()
    for line in lines:
        _count(line, tally)
    has_global = any(line.section.kind == "global" for line in lines)
    names: dict[str, int] = {}
    legs = []
    for draft in found.drafts:
        leg = _leg(draft, has_global=has_global, version=options.product_version)
        count = names[leg.name] = names.get(leg.name, 0) + 1
        legs.append(leg if count == 1 else replace(leg, name=f"{leg.name} ({count})"))
    return Reading(
        importer=ID,
        product="HAProxy",
        product_version=options.product_version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(legs),
        checks=check_old_versions(claim for draft in found.drafts for claim in draft.claims),
        notes=tally.notes,
        line_counts=tally.counts,
        clues=_clues(lines),
        gaps=tuple(
            dict.fromkeys(
                (GapReason.INCLUDE_MISSING, f"{place.locator}: crt-list: no file supplied") for place in found.missing
            )
        ),
        includes=tuple((name, file.sha256) for name, file in found.lists.items()),
    )


def _count(line: HaproxyLine, tally: LineTally) -> None:
    is_ours = (line.section.kind == "global" and line.name in SHARED) or line.name in {"default-server", "default-bind"}
    if line.name == "ssl-f-use" and any(word.text in {"ssl-min-ver", "ssl-max-ver"} for word in line.words):
        tally.count(LineState.UNIMPLEMENTED, line.place, "ssl-f-use", "limits of one certificate are not read here")
    elif not line.section.kind:
        # The word may be anything, a secret too: it is not repeated.
        tally.count(LineState.UNRECOGNISED, line.place, "(unrecognised)", "stands before any section")
    elif line.name in SECTIONS or is_ours or kind_of(line):
        state = LineState.CONDITIONAL if line.is_conditional else LineState.SUPPORTED
        tally.count(state, line.place, line.name, "stands under an .if" if line.is_conditional else "")
    else:
        tally.count(LineState.IRRELEVANT, line.place, line.name)


def _leg(draft: Draft, *, has_global: bool, version: str | None) -> Leg:
    section = draft.line.section
    owner = f"{section.kind} {section.name}" if _NAME.fullmatch(section.name) else section.kind
    limits = []
    if not has_global:
        limits.append("The file has no global section; one in another file of the same HAProxy may set other versions.")
    listens: tuple[Listen, ...] = ()
    destinations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    if draft.kind == "bind":
        listens, words = _listens(draft)
        limits += words
        what = "bind"
    else:
        destination = maybe_destination(draft.addresses[0].text) if draft.addresses else None
        destinations = (destination,) if destination else ()
        what = "server"
    name = f"{owner} {what} at {draft.line.place.locator}"
    if draft.entry is not None:
        name = f"{name}, names at {draft.entry.place.locator}"
        names = tuple(each for each in draft.entry.names if re.fullmatch(r"[a-z0-9*][a-z0-9._*-]{0,252}", each))
        if not names:
            limits.append("It is for the names of one certificate, which the file does not say.")
    return Leg(
        name=name,
        direction=Direction.INBOUND if draft.kind == "bind" else Direction.OUTBOUND,
        settings=_settings(draft, version),
        listens=listens,
        server_names=names,
        destinations=destinations,
        limits=tuple(limits),
    )


def _settings(draft: Draft, version: str | None) -> tuple[Setting, ...]:
    settings = settle_claims(draft.claims)
    floors = floors_of(parse_version(version))
    is_defaulted = draft.kind == "bind" and all(
        each.low is None and not each.has_odd_low and (each.high is None or each.high >= max(floors))
        for each in draft.options
    )
    if not is_defaulted:
        return settings
    # What lies below the default's lowest version is off by the default, whatever a highest version says.
    reason = "No lowest version is set for the bind line: HAProxy's default leaves it out."
    return tuple(
        replace(each, basis=Basis.ASSUMED, place=None, reason=reason)
        if each.state is State.DISABLED and each.version < min(floors)
        else each
        for each in settings
    )


def _listens(draft: Draft) -> tuple[tuple[Listen, ...], list[str]]:
    found: dict[Listen, None] = {}
    limits: list[str] = []
    for text in draft.addresses[0].text.split(",")[:_MOST_PORTS]:
        if text.startswith("quic"):
            limits.append("It listens for QUIC (HTTP/3) too, which is TLS 1.3 by definition and is not judged.")
        elif _LOCAL.match(text):
            limits.append("It listens on a Unix socket or an inherited descriptor.")
        else:
            host, _, ports = _FAMILY.sub("", text, count=1).rpartition(":")
            bounds = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", ports)
            low = int(bounds[1]) if bounds else 0
            high = int(bounds[2] or low) if bounds else 0
            address = _maybe_address(host)
            if not 0 < low <= high < 65536 or high - low >= _MOST_PORTS or (address is None and host not in _EVERY):
                limits.append("It has an address in a form not understood (a name, a variable, a long range).")
            else:
                found.update((Listen(address=address, port=port), None) for port in range(low, high + 1))
    return tuple(found), list(dict.fromkeys(limits))


_EVERY: Final = frozenset({"", "*", "::", "[::]", "0.0.0.0"})


def _maybe_address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return None if address.is_unspecified else str(address)


def maybe_destination(text: str) -> str | None:
    """Return ``host:port`` of a server's address, or the host alone; None for any address, a socket, a variable."""
    if _LOCAL.match(text):
        return None
    plain = _FAMILY.sub("", text, count=1)
    host, separator, port = plain.rpartition(":") if plain.count(":") == 1 or "]" in plain else ("", "", "")
    if not separator:
        host, port = plain, ""
        # An IPv6 address without brackets ends with its port.
        if plain.count(":") > 1:
            host, _, port = plain.rpartition(":")
    address = _maybe_address(host)
    if host in _EVERY or (address is None and not _HOST.fullmatch(host)):
        return None
    shown = f"[{address}]" if address and ":" in address else address or host.lower()
    is_port = re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536
    return f"{shown}:{int(port)}" if is_port else shown


def _clues(lines: list[HaproxyLine]) -> tuple[HostClue, ...]:
    return tuple(
        HostClue(name=line.words[1].text.lower(), kind=ClueKind.MACHINE)
        for line in lines
        if line.section.kind == "global"
        and line.name in {"node", "localpeer", "log-send-hostname"}
        and len(line.words) > 1
        and _HOST.fullmatch(line.words[1].text)
        and not line.words[1].has_variable
    )
