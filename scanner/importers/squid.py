"""squid.conf: ports that accept TLS, parents, and what Squid sends to origin servers.

Grammar and effect: src/security/PeerOptions.cc and cf.data.pre of Squid 4 to 6. Seen with Squid 5.7 (OpenSSL 3.0):
``tls-min-version=1.3x`` acts as 1.3, ``TLSv1.2`` is ignored; of two ``options=`` the later counts; unknown names are
skipped; ``http_port`` with ``tls-cert=`` but without ``ssl-bump`` has no TLS; ``tls_outgoing_options`` limits are not
obeyed, neither on bumped connections nor for https:// requests, while ``cache_peer`` obeys its own.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from scanner.importers.claims import ALL, Claim, LineTally, blank_claim, check_old_versions, settle_claims
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.importers.squid_lines import SquidLine, read_squid_lines
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Place, Reading
from scanner.model.evidence import Basis, GapReason
from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion

_BITS = {
    TlsVersion.SSL2: 0x0100_0000,
    TlsVersion.SSL3: 0x0200_0000,
    TlsVersion.TLS1_0: 0x0400_0000,
    TlsVersion.TLS1_2: 0x0800_0000,
    TlsVersion.TLS1_1: 0x1000_0000,
    TlsVersion.TLS1_3: 0x2000_0000,
}
"""SSL_OP_NO_* of OpenSSL 1.1.1 and 3 (include/openssl/ssl.h); 0x01000000 was NO_SSLv2 in OpenSSL 1.0."""
_NAMES = {
    "NO_SSLv2": TlsVersion.SSL2,
    "NO_SSLv3": TlsVersion.SSL3,
    "NO_TLSv1": TlsVersion.TLS1_0,
    "NO_TLSv1_1": TlsVersion.TLS1_1,
    "NO_TLSv1_2": TlsVersion.TLS1_2,
    "NO_TLSv1_3": TlsVersion.TLS1_3,
}
_PINNED = {3: TlsVersion.SSL3, 4: TlsVersion.TLS1_0, 5: TlsVersion.TLS1_1, 6: TlsVersion.TLS1_2}
_OPTION = re.compile(r"([-!+]?)([A-Za-z0-9_]+)(?:[:,]+|$)")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_BUMPS = frozenset({"bump", "stare", "client-first", "server-first", "allow"})
_SCORES = {
    "http_port": 50,
    "https_port": 50,
    "http_access": 40,
    "cache_peer": 40,
    "ssl_bump": 50,
    "tls_outgoing_options": 60,
    "sslproxy_options": 50,
    "sslproxy_version": 50,
    "refresh_pattern": 40,
    "cache_dir": 30,
    "visible_hostname": 20,
    "coredump_dir": 20,
}
_RELEVANT_NAMES = (
    "http_port https_port cache_peer ssl_bump tls_outgoing_options sslproxy_options sslproxy_version "
    "sslproxy_cipher visible_hostname unique_hostname"
)
_RELEVANT = frozenset(_RELEVANT_NAMES.split())
_IRRELEVANT_NAMES = (
    "acl http_access icp_access refresh_pattern cache_dir cache_mem coredump_dir access_log cache_log cache "
    "cache_effective_user cache_effective_group cache_mgr dns_nameservers forwarded_for via logformat pid_filename "
    "maximum_object_size minimum_object_size never_direct always_direct cache_peer_access auth_param request_timeout "
    "sslcrtd_program sslcrtd_children sslproxy_cert_error sslproxy_cert_sign pinger_enable shutdown_lifetime workers "
    "http_reply_access request_header_access reply_header_access url_rewrite_program external_acl_type hosts_file "
    "debug_options strip_query_terms buffered_logs icap_enable icap_service adaptation_access tcp_outgoing_address "
    "follow_x_forwarded_for logfile_rotate max_filedescriptors connect_timeout read_timeout on_unsupported_protocol "
    "cache_swap_low cache_swap_high snmp_port snmp_access icp_port htcp_port error_directory deny_info ftp_user"
)
_IRRELEVANT = frozenset(_IRRELEVANT_NAMES.split())
_IGNORED = (
    "Squid 5.7 was seen to ignore the limits of tls_outgoing_options, on bumped connections and for https:// requests."
)
_TUNNEL = "Squid passes CONNECT through: the versions are those of the client and the server."


@dataclass(slots=True)
class _Limits:
    """What the options of one line, or of several lines that add up, say."""

    minimum: str = ""
    options: str = ""
    pinned: str = ""
    is_odd: bool = False


def recognise(source: SourceFile) -> int:
    """Return 0 to 100: how much the file looks like squid.conf."""
    head = SourceFile(name=source.name, data=source.data[: 64 * 1024]).text
    names = {line.split(maxsplit=1)[0] for line in head.splitlines() if line.strip()}
    score = sum(_SCORES.get(name, 0) for name in names)
    return min(95, score + 10 * (score > 0 and "squid" in source.name.lower()))


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what a squid.conf says; raises ReadError for a file without any of Squid's directives."""
    found = read_squid_lines(source, folder)
    if not any(line.name in _RELEVANT | _IRRELEVANT for line in found.lines) and not found.missing:
        raise ReadError(f"{source.name}: no directive of Squid's in it")
    is_ssl2_off = _major(options.product_version) >= 4
    tally = LineTally()
    for line in found.lines:
        _count(line, tally)
    legs: list[Leg] = []
    claims: list[Claim] = []
    by_name = {name: [line for line in found.lines if line.name == name] for name in _RELEVANT}
    bump = _bump_state(by_name["ssl_bump"], is_missing=bool(found.missing))
    ports = [line for line in found.lines if line.name in {"http_port", "https_port"}]
    seen: set[str] = set()
    for line in ports:
        is_bumping = "ssl-bump" in line.words
        if line.name == "http_port" and not is_bumping:
            continue
        claim = _claim(line.words[1:], line, tally, is_ssl2_off=is_ssl2_off)
        if is_bumping and bump is not None:
            claim = blank_claim(bump, _TUNNEL if bump is GapReason.TUNNEL else _word(bump), line.place)
        claims.append(claim)
        legs.append(_port_leg(line, claim, seen, is_bumping=is_bumping))
    for line in by_name["cache_peer"]:
        if _is_tls_peer(line.words):
            claim = _claim(_peer_words(line.words), line, tally, is_ssl2_off=is_ssl2_off)
            claims.append(claim)
            legs.append(_peer_leg(line, claim, seen))
    outgoing = [
        line for line in found.lines if line.name in {"tls_outgoing_options", "sslproxy_options", "sslproxy_version"}
    ]
    may_bump = bump is not GapReason.TUNNEL and any("ssl-bump" in line.words for line in ports)
    if outgoing or may_bump:
        claim = _outgoing_claim(outgoing, tally, is_missing=bool(found.missing), is_ssl2_off=is_ssl2_off)
        claims.append(claim)
        legs.append(_origin_leg(claim))
    if any(not {"accel", "vhost"} & {word.split("=")[0] for word in line.words} for line in ports):
        legs.append(_tunnel_leg())
    return Reading(
        importer="squid",
        product="Squid",
        product_version=options.product_version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(legs),
        checks=check_old_versions(claims),
        notes=tally.notes,
        line_counts=tally.counts,
        clues=_clues(by_name["visible_hostname"] + by_name["unique_hostname"]),
        gaps=tuple(
            (GapReason.INCLUDE_MISSING, f"{place.locator}: include: no file supplied") for place in found.missing
        ),
        includes=tuple(found.includes),
    )


def _count(line: SquidLine, tally: LineTally) -> None:
    if line.name in _RELEVANT:
        state = LineState.CONDITIONAL if line.is_conditional else LineState.SUPPORTED
        tally.count(state, line.place, line.name, "stands under an if" if line.is_conditional else "")
    elif line.name in _IRRELEVANT:
        tally.count(LineState.IRRELEVANT, line.place, line.name)
    else:
        # The word may be anything, a secret too: it is not repeated.
        tally.count(LineState.UNRECOGNISED, line.place, "(unrecognised)")


def _major(version: str | None) -> int:
    match = re.match(r"(\d{1,4})", version or "")
    return int(match[1]) if match else 0


def _bump_state(rules: list[SquidLine], *, is_missing: bool) -> GapReason | None:
    """Return None where some connections are bumped for certain, else why it can't be said or TUNNEL where none is."""
    bumping = [rule for rule in rules if rule.words and rule.words[0] in _BUMPS]
    if any(not rule.is_conditional for rule in bumping):
        return None
    if bumping:
        return GapReason.CONDITIONAL
    return GapReason.INCLUDE_MISSING if is_missing else GapReason.TUNNEL


def _word(gap: GapReason) -> str:
    if gap is GapReason.CONDITIONAL:
        return "Stands under an if that the file does not settle."
    return "An include that may hold ssl_bump was not supplied."


def _limits(words: tuple[str, ...], limits: _Limits) -> _Limits:
    for word in words:
        key, _, value = word.removeprefix("tls-").removeprefix("ssl").partition("=")
        if key == "min-version":
            limits.minimum = value
        elif key == "options":
            limits.options = value
        elif key == "version":
            limits.pinned = value
        if key in {"min-version", "options", "version"} and ('"' in value or "$" in value):
            limits.is_odd = True
        limits.is_odd |= word.startswith("parameters(")
    return limits


def _excluded(limits: _Limits, place: Place, name: str, tally: LineTally) -> frozenset[TlsVersion] | None:
    """Return the versions that the limits switch off; None where they are not understood."""
    if limits.is_odd:
        return None
    off = _parse_options(limits.options, place, name, tally)
    if off is None:
        return None
    if limits.minimum:
        # One digit is read, and what follows it is not looked at (seen: 1.3x acts as 1.3).
        if re.match(r"1\.[0-3]", limits.minimum):
            first = TlsVersion.TLS1_0 + int(limits.minimum[2])
            off |= {version for version in ALL if TlsVersion.TLS1_0 <= version < first}
        else:
            tally.note(
                LineState.UNIMPLEMENTED, place, name, "the minimum is not 1.0, 1.1, 1.2 or 1.3: Squid ignores it"
            )
        return frozenset(off)
    if limits.pinned and limits.pinned not in {"0", "1"}:
        pinned = _PINNED.get(int(limits.pinned)) if re.fullmatch(r"[0-9]", limits.pinned) else None
        if pinned is None:
            return None
        off |= {version for version in ALL if version not in {pinned, TlsVersion.SSL2}}
    return frozenset(off)


def _parse_options(text: str, place: Place, name: str, tally: LineTally) -> set[TlsVersion] | None:
    off: set[TlsVersion] = set()
    position = 0
    while position < len(text):
        match = _OPTION.match(text, position)
        if match is None:
            return None  # a GnuTLS priority string, or what Squid refuses to start with
        position = match.end()
        sign, word = match.groups()
        if word in _NAMES:
            touched = {_NAMES[word]}
        elif re.fullmatch(r"(?:0[xX])?[0-9A-Fa-f]{1,16}", word):
            touched = {version for version, bit in _BITS.items() if int(word, 16) & bit}
        elif word in {"NORMAL", "NONE", "PERFORMANCE", "LEGACY"} or word.startswith(("SECURE", "PFS", "SUITEB")):
            return None  # GnuTLS priority strings begin so
        else:
            touched = set()
            if word.lower().startswith("no_") and word.lower() in {known.lower() for known in _NAMES}:
                tally.note(LineState.UNIMPLEMENTED, place, name, "options= names are case-sensitive: one is skipped")
        off = off - touched if sign in {"-", "!"} else off | touched
    return off


def _claim(words: tuple[str, ...], line: SquidLine, tally: LineTally, *, is_ssl2_off: bool) -> Claim:
    if line.is_conditional:
        return blank_claim(GapReason.CONDITIONAL, _word(GapReason.CONDITIONAL), line.place)
    limits = _limits(words, _Limits())
    off = _excluded(limits, line.place, line.name, tally)
    if off is None:
        reason = f"{line.name} has limits in a form that is not understood (a GnuTLS priority string, a macro)."
        tally.note(LineState.UNIMPLEMENTED, line.place, line.name, "limits in a form that is not understood")
        return blank_claim(GapReason.UNSUPPORTED, reason, line.place)
    says = bool(limits.minimum or limits.options or limits.pinned)
    reason = f"{line.name} {_describe(limits)}."
    allowed = ALL - off - ({TlsVersion.SSL2} if is_ssl2_off else set())
    return Claim(allowed=allowed, reason=reason, place=line.place, basis=Basis.DECLARED if says else Basis.ASSUMED)


def _describe(limits: _Limits) -> str:
    kinds = [
        word
        for word, value in (
            ("a minimum version", limits.minimum),
            ("options", limits.options),
            ("a version", limits.pinned),
        )
        if value
    ]
    return "sets " + " and ".join(kinds) if kinds else "sets no limit: Squid has none of its own from TLS 1.0 on"


def _outgoing_claim(lines: list[SquidLine], tally: LineTally, *, is_missing: bool, is_ssl2_off: bool) -> Claim:
    limits = _Limits()
    for line in lines:
        prefix = {"sslproxy_options": "options=", "sslproxy_version": "version="}.get(line.name, "")
        _limits(tuple(prefix + word for word in line.words) if prefix else line.words, limits)
    place = lines[-1].place if lines else None
    if is_missing:
        return blank_claim(
            GapReason.INCLUDE_MISSING, "An include that may hold tls_outgoing_options is missing.", place
        )
    if any(line.is_conditional for line in lines):
        return blank_claim(GapReason.CONDITIONAL, _word(GapReason.CONDITIONAL), place)
    off = _excluded(limits, place, "tls_outgoing_options", tally) if place else frozenset[TlsVersion]()
    if off is None:
        return blank_claim(GapReason.UNSUPPORTED, "tls_outgoing_options in a form that is not understood.", place)
    gone = off - ({TlsVersion.SSL2} if is_ssl2_off else set())
    return Claim(
        allowed=ALL - ({TlsVersion.SSL2} if is_ssl2_off else set()),
        reason=f"tls_outgoing_options {_describe(limits)}.",
        place=place,
        basis=Basis.DECLARED if lines else Basis.ASSUMED,
        gaps=dict.fromkeys(gone, (GapReason.UNSUPPORTED, _IGNORED)),
    )


def _is_tls_peer(words: tuple[str, ...]) -> bool:
    return any(word in {"ssl", "tls"} or word.startswith(("tls-", "ssl")) for word in words[4:])


def _peer_words(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words[4:] if word.startswith(("tls-", "ssl")))


def _port_leg(line: SquidLine, claim: Claim, seen: set[str], *, is_bumping: bool) -> Leg:
    listen = _listen(line.words[0] if line.words else "")
    what = f"bumped connections at {line.name}" if is_bumping else line.name
    where = f" {listen.address or ''}:{listen.port}" if listen.port else ""
    limits = (
        ("Only connections that ssl_bump bumps; those it splices keep the client's own TLS.",) if is_bumping else ()
    )
    sites = [word.partition("=")[2].lower() for word in line.words if word.startswith("defaultsite=")]
    return Leg(
        name=_unique(f"{what}{where} at {line.place.locator}", seen),
        direction=Direction.INBOUND,
        settings=settle_claims([claim]),
        listens=(listen,),
        server_names=tuple(site for site in sites[-1:] if not is_bumping and _HOST.fullmatch(site)),
        limits=limits,
    )


def _peer_leg(line: SquidLine, claim: Claim, seen: set[str]) -> Leg:
    host, port = line.words[0], line.words[2]
    is_plain = _HOST.fullmatch(host) and port.isascii() and port.isdigit() and len(port) <= 5
    destination = f"{host.lower()}:{port}" if is_plain else ""
    return Leg(
        name=_unique(f"cache_peer {destination or '(not understood)'} at {line.place.locator}", seen),
        direction=Direction.OUTBOUND,
        settings=settle_claims([claim]),
        destinations=(destination,) if destination else (),
    )


def _origin_leg(claim: Claim) -> Leg:
    return Leg(
        name="connections to origin servers by tls_outgoing_options",
        direction=Direction.OUTBOUND,
        settings=settle_claims([claim]),
        limits=(
            "Only what Squid encrypts itself: bumped connections and https:// requests.",
            "After ssl_bump peek at step 2 the hello is the client's own, byte for byte, and not Squid's.",
            "After stare, Squid leaves TLS 1.3 out where the client does not offer it.",
        ),
    )


def _tunnel_leg() -> Leg:
    return Leg(
        name="CONNECT requests that are passed through",
        direction=Direction.OUTBOUND,
        settings=settle_claims([blank_claim(GapReason.TUNNEL, _TUNNEL, None)]),
        limits=("What ssl_bump splices, and every CONNECT at a port without ssl-bump.",),
    )


def _listen(word: str) -> Listen:
    address, _, port = word.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    try:
        canonical = str(ipaddress.ip_address(address.strip("[]"))) if address else None
    except ValueError:
        canonical = None
    return Listen(address=canonical, port=number if 0 < number < 65536 else None)


def _unique(name: str, seen: set[str]) -> str:
    candidate, count = name, 1
    while candidate in seen:
        count += 1
        candidate = f"{name} ({count})"
    seen.add(candidate)
    return candidate


def _clues(lines: list[SquidLine]) -> tuple[HostClue, ...]:
    return tuple(
        HostClue(name=line.words[0].lower(), kind=ClueKind.MACHINE)
        for line in lines
        if line.words and _HOST.fullmatch(line.words[0])
    )
