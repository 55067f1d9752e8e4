"""stunnel.conf: what each service accepts, or opens where it is a client, with TLS. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Final

from scanner.importers.claims import Claim, LineTally, blank_claim, check_old_versions, settle_claims
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.importers.stunnel_edits import plan_edits
from scanner.importers.stunnel_services import (
    Number,
    Service,
    StunnelLine,
    claim_of,
    parse_version,
    read_stunnel_lines,
    services_of,
)
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Reading
from scanner.model.evidence import GapReason
from scanner.model.subjects import Direction

__all__ = ["ID", "plan_edits", "read", "recognise"]

ID: Final = "stunnel"
_RELEVANT_NAMES: Final = (
    "sslversion sslversionmin sslversionmax options config ciphers securitylevel client accept connect sni protocol"
    " include"
)
_RELEVANT: Final = frozenset({"", *_RELEVANT_NAMES.split()})
"""The head of a section has no name."""
_IRRELEVANT_NAMES: Final = (
    "cert key cafile capath crlfile crlpath verify verifychain verifypeer checkhost checkemail checkip output debug pid"
    " setuid setgid chroot foreground syslog log compression fips engine enginectrl enginedefault engineid enginenum"
    " rndbytes rndfile rndoverwrite service socket taskbar iconactive iconerror iconidle exec execargs failover local"
    " libwrap logid ciphersuites curve curves dh ident delay ocsp ocspaia ocspflag ocspnonce ocsprequire pty redirect"
    " renegotiation reset retry requirecert protocolauthentication protocoldomain protocolheader protocolhost"
    " protocolpassword protocolusername psksecrets pskidentity ticketkeysecret ticketmacsecret sessioncachesize"
    " sessioncachetimeout sessionresume session stack timeoutbusy timeoutclose timeoutconnect timeoutidle timeoutocsp"
    " transparent provider providerparameter setenv sessiond"
)
_IRRELEVANT: Final = frozenset(_IRRELEVANT_NAMES.split())
_KNOWN: Final = re.compile(
    r"(?im)^[ \t]*(accept|connect|client|cert|sslVersion|sslVersionMin|verifyChain|setuid|pid|foreground|TIMEOUTclose"
    r"|TIMEOUTidle|checkHost|sni|exec|options|CAfile)[ \t]*=[ \t]*\S"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_. -]{1,100}")
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")


def recognise(source: SourceFile) -> int:
    """Return how sure it is that a file is stunnel's, 0 to 100, from its first 64 KiB."""
    text = SourceFile(name=source.name, data=source.data[:65_536]).text
    names = {name.lower() for name in _KNOWN.findall(text)}
    is_service = "accept" in names and bool(names & {"connect", "exec", "sni"})
    has_section = re.search(r"(?m)^[ \t]*\[[^\]\n]{1,200}\][ \t\r]*$", text) is not None
    score = (60 if is_service and has_section else 30 if len(names) >= 3 else 0) + 5 * min(len(names), 5)
    score = score if is_service or len(names) >= 3 else 0
    return min(95, score + 10 * (score > 0 and "stunnel" in source.name.lower()))


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what a stunnel.conf says; raises ReadError for a file without any of stunnel's options."""
    version = parse_version(options.product_version)
    found = read_stunnel_lines(source, folder)
    if not any(line.name and line.name in _RELEVANT | _IRRELEVANT for line in found.lines):
        raise ReadError(f"{source.name}: no option of stunnel's in it")
    services = services_of(found.lines, found.missing)
    tally = LineTally()
    for line in found.lines:
        _count(line, tally)
    shown = services[1:] or services[:1]
    masters: dict[str, Service] = {}
    for service in shown:
        masters.setdefault(service.name, service)
    legs: dict[str, Leg] = {}
    claims: list[Claim] = []
    for service in shown:
        ruling = service
        if service.sni and not service.is_client:
            ruling = masters.get(service.sni.partition(":")[0], service)
        claim = _claim(ruling, version)
        claims.append(claim)
        leg = _leg(service, claim, is_own=ruling is service)
        count, name = 1, leg.name
        while leg.name in legs:
            count += 1
            leg = replace(leg, name=f"{name} ({count})")
        legs[leg.name] = leg
    names = dict.fromkeys(name for leg in legs.values() for name in leg.server_names if "*" not in name)
    return Reading(
        importer=ID,
        product="stunnel",
        product_version=options.product_version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(legs.values()),
        checks=check_old_versions(claims),
        notes=tally.notes,
        line_counts=tally.counts,
        clues=tuple(HostClue(name=name, kind=ClueKind.SERVED) for name in names),
        gaps=tuple(
            dict.fromkeys(
                (GapReason.INCLUDE_MISSING, f"{place.locator}: include: no file supplied") for place in found.missing
            )
        ),
        includes=tuple(dict.fromkeys(found.includes)),
    )


def _count(line: StunnelLine, tally: LineTally) -> None:
    if line.name in _RELEVANT:
        tally.count(LineState.SUPPORTED, line.place, line.name or "[section]")
    elif line.name in _IRRELEVANT:
        tally.count(LineState.IRRELEVANT, line.place, line.name)
    else:
        # The word may be anything, a secret too: it is not repeated.
        tally.count(LineState.UNRECOGNISED, line.place, "(unrecognised)")


def _claim(service: Service, version: Number | None) -> Claim:
    if service.missing_at is not None:
        reason = "An include that may set versions was not supplied."
        return blank_claim(GapReason.INCLUDE_MISSING, reason, service.missing_at)
    return claim_of(service, version)


def _leg(service: Service, claim: Claim, *, is_own: bool) -> Leg:
    limits = []
    if service.head is None:
        name = "inetd service"
    else:
        known = f" {service.name}" if _NAME.fullmatch(service.name) else ""
        name = f"service{known} at {service.head.place.locator}"
    if service.has_protocol:
        limits.append("TLS begins within another protocol (STARTTLS, CONNECT).")
    if service.is_client:
        return Leg(
            name=name,
            direction=Direction.OUTBOUND,
            settings=settle_claims([claim]),
            destinations=tuple(dict.fromkeys(each for text in service.connects if (each := _maybe_destination(text)))),
            limits=tuple(limits),
        )
    names: tuple[str, ...] = ()
    if service.sni:
        served = service.sni.partition(":")[2].lower()
        names = (served,) if re.fullmatch(r"[a-z0-9*][a-z0-9._*-]{0,252}", served) else ()
        limits.append(
            "It is chosen by server name: the versions are those of the service that accepts."
            if not is_own
            else "The service that accepts for it is not in the file."
        )
    listens = [listen for text in service.accepts if (listen := _maybe_listen(text))]
    if service.accepts and not listens:
        limits.append("It accepts at an address in a form not understood (a name, a socket).")
    return Leg(
        name=name,
        direction=Direction.INBOUND,
        settings=settle_claims([claim]),
        listens=tuple(listens),
        server_names=names,
        limits=tuple(limits),
    )


def _split(text: str) -> tuple[str, int | None]:
    host, separator, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
    return (host if separator else ""), int(port) if is_port else None


def _maybe_address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return None if address.is_unspecified else str(address)


def _maybe_listen(text: str) -> Listen | None:
    host, port = _split(text)
    address = _maybe_address(host)
    is_every = host in {"", "*", "::", "[::]", "0.0.0.0"}
    return Listen(address=address, port=port) if port is not None and (address or is_every) else None


def _maybe_destination(text: str) -> str | None:
    """Return ``host:port``; a port alone is the loopback interface (stunnel(8), connect)."""
    host, port = _split(text)
    if port is None:
        return None
    address = _maybe_address(host)
    if address is None and host and not _HOST.fullmatch(host):
        return None
    shown = f"[{address}]" if address and ":" in address else address or host.lower() or "localhost"
    return f"{shown}:{port}"
