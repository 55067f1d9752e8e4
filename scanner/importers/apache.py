"""httpd.conf: virtual hosts with TLS, and what mod_proxy sends over TLS.

Evaluation, defaults: modules/ssl/ssl_engine_config.c and ssl_engine_init.c of httpd 2.4, docs/manual/mod/mod_ssl.xml.
Seen with httpd 2.4.71 (OpenSSL 3): ``TLSv1.2 TLSv1.3`` is TLS 1.3 alone; ``+TLSv1 +TLSv1.2`` is 1.2 alone; name-based
hosts keep their own versions; ``SSLOpenSSLConfCmd MinProtocol`` and ``Protocol`` overrule ``SSLProtocol``;
``Listen 443 https`` alone does not switch TLS on.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise

from scanner.importers.apache_lines import ApacheFacts, ApacheLine, Section, parse_version, read_apache_lines
from scanner.importers.claims import ALL, Claim, LineTally, blank_claim, check_old_versions, settle_claims
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Leg, LineState, Listen, Place, Reading
from scanner.model.evidence import Basis, GapReason
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_TOKENS = {
    "sslv2": TlsVersion.SSL2,
    "sslv3": TlsVersion.SSL3,
    "tlsv1": TlsVersion.TLS1_0,
    "tlsv1.1": TlsVersion.TLS1_1,
    "tlsv1.2": TlsVersion.TLS1_2,
    "tlsv1.3": TlsVersion.TLS1_3,
}
_KEYS = {
    "sslprotocol": "protocol",
    "sslproxyprotocol": "proxyprotocol",
    "sslengine": "engine",
    "sslproxyengine": "proxyengine",
    "sslciphersuite": "cipher",
    "sslproxyciphersuite": "proxycipher",
    "sslopensslconfcmd": "command",
    "sslpolicy": "policy",
}
_OTHER = frozenset(
    {"servername", "serveralias", "listen", "proxypass", "proxyrequests", "balancermember", "<virtualhost", "<proxy"}
)
_NAME = re.compile(r"[A-Za-z0-9._*-]{1,255}")
_URL = re.compile(
    r"(?:https|wss)://(?:[^/@\s]*@)?([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(?=/|$)"
)
_SCORES = {
    "<virtualhost": 60,
    "sslengine": 60,
    "sslprotocol": 60,
    "sslproxyprotocol": 60,
    "loadmodule": 50,
    "documentroot": 40,
    "includeoptional": 40,
    "<directory": 40,
    "<ifmodule": 50,
    "serverroot": 50,
    "proxypass": 30,
    "customlog": 30,
    "servername": 20,
}
_MODERN = frozenset({TlsVersion.SSL3, TlsVersion.TLS1_0, TlsVersion.TLS1_1, TlsVersion.TLS1_2, TlsVersion.TLS1_3})
_UNSET = "(unset)"
_MISSING = "(missing)"
_MACRO = "(macro)"
_MOST_CHOICES = 8
_HARMLESS = frozenset({"!aNULL", "!eNULL", "!MD5", "!RC4", "!3DES", "!LOW", "!EXP", "!EXPORT", "!DES", "!PSK", "!SRP"})
"""Exclusions from a cipher list that leave suites of TLS 1.0 in."""


@dataclass(frozen=True, slots=True)
class _Said:
    """One directive that may decide: its arguments, or _UNSET or _MISSING."""

    args: tuple[str, ...]
    place: Place | None


@dataclass(slots=True)
class _Scope:
    """The main server, a virtual host, or a <Proxy> section in one."""

    section: Section | None
    parent: _Scope | None
    said: dict[str, list[_Said]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    urls: dict[str, None] = field(default_factory=dict)
    is_conditional: bool = False
    is_forward: bool = False

    def say(self, key: str, args: tuple[str, ...], place: Place, *, may: bool) -> None:
        """Take a directive in: it replaces what was said before, or where it may not hold stands beside it."""
        new = _Said(args, place)
        if not may:
            self.said[key] = [new]
            return
        found = self.said.setdefault(key, [_Said((_UNSET,), None)])
        if len(found) < _MOST_CHOICES:
            found.append(new)
        else:
            found[-1] = _Said((_MACRO,), place)  # so many choices are as good as none

    def all_of(self, key: str) -> list[_Said]:
        """Return what may hold here, inherited where it is not set."""
        found: list[_Said] = []
        for said in self.said.get(key, [_Said((_UNSET,), None)]):
            inherits = said.args == (_UNSET,) and self.parent is not None
            found += self.parent.all_of(key) if inherits and self.parent else [said]
        return found


def recognise(source: SourceFile) -> int:
    """Return 0 to 100: how much the file looks like httpd's."""
    head = SourceFile(name=source.name, data=source.data[: 64 * 1024]).text
    names = {line.split(maxsplit=1)[0].lower().rstrip(">") for line in head.splitlines() if line.strip()}
    return min(95, sum(_SCORES.get(name, 0) for name in names))


def read(source: SourceFile, folder: Folder, options: ReadOptions) -> Reading:
    """Return what an httpd.conf says; raises ReadError for a file without any directive of httpd's."""
    facts = ApacheFacts(version=parse_version(options.product_version))
    tally = LineTally()
    main = _Scope(section=None, parent=None)
    scopes: dict[Section, _Scope] = {}
    is_ours = False
    for line in read_apache_lines(source, folder, facts):
        is_ours |= (
            line.name in _KEYS or line.name in _SCORES or line.name in _OTHER or line.name in {"define", _MISSING}
        )
        _count(line, tally)
        _take(line, _scope_of(line, main, scopes))
    if not is_ours:
        raise ReadError(f"{source.name}: no directive of Apache httpd's in it")
    vhosts = [scope for scope in scopes.values() if scope.section and scope.section.name == "virtualhost"]
    legs, claims = _inbound(main, vhosts, facts, tally)
    for scope in [main, *scopes.values()]:
        leg, more = _outbound(scope, facts, tally)
        legs += leg
        claims += more
    names = dict.fromkeys(name for scope in [main, *vhosts] for name in scope.names if "*" not in name)
    return Reading(
        importer="apache",
        product="Apache httpd",
        product_version=options.product_version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(_numbered(legs)),
        checks=check_old_versions(claims),
        notes=tally.notes,
        line_counts=tally.counts,
        clues=tuple(HostClue(name=name, kind=ClueKind.SERVED) for name in names),
        gaps=tuple(
            (GapReason.INCLUDE_MISSING, f"{place.locator}: include: no file supplied") for place in facts.missing
        ),
        includes=tuple(facts.includes),
    )


def _count(line: ApacheLine, tally: LineTally) -> None:
    if line.name in _KEYS or line.name in _OTHER:
        is_misplaced = any(section.name not in {"virtualhost", "proxy", "proxymatch"} for section in line.sections)
        if line.name in {"<virtualhost", "<proxy"} or not is_misplaced:
            state = LineState.CONDITIONAL if line.is_conditional else LineState.SUPPORTED
            tally.count(state, line.place, line.name.strip("<"))
        else:
            tally.count(LineState.IRRELEVANT, line.place, line.name)
    elif line.name == "use":
        tally.count(LineState.UNIMPLEMENTED, line.place, "Use", "macros are not expanded")
    elif line.name != _MISSING:
        tally.count(LineState.IRRELEVANT, line.place, line.name)


def _scope_of(line: ApacheLine, main: _Scope, scopes: dict[Section, _Scope]) -> _Scope | None:
    """Return what a line speaks for; None within sections where mod_ssl's directives of this kind don't stand."""
    scope = main
    for section in line.sections:
        if section.name in {"virtualhost", "proxy", "proxymatch"}:
            if section not in scopes:
                scopes[section] = _Scope(section=section, parent=scope, is_conditional=line.is_conditional)
            scope = scopes[section]
        elif line.name not in {"proxypass", "balancermember"}:
            return None
    return scope


def _take(line: ApacheLine, scope: _Scope | None) -> None:
    if scope is None:
        return
    args = line.args
    # What is certain within a section that is not, is certain for that section.
    may = line.is_conditional and not scope.is_conditional
    if line.name in {_MISSING, "use"}:
        for key in set(_KEYS.values()) - {"command", "policy"}:
            scope.say(key, (_MISSING if line.name == _MISSING else _MACRO,), line.place, may=True)
    elif line.name == "sslopensslconfcmd":
        # These add up; those that speak of versions overrule SSLProtocol.
        if args and args[0].lower() in {"protocol", "minprotocol", "maxprotocol"}:
            scope.say("command", (args[0].lower(),), line.place, may=may)
        elif args and args[0].lower() == "cipherstring":
            scope.say("cipher", args[1:], line.place, may=may)
    elif line.name in _KEYS:
        scope.say(_KEYS[line.name], args, line.place, may=may)
    elif line.name in {"servername", "serveralias"}:
        hosts = [re.sub(r"^[a-z]+://|:[0-9]*$", "", arg.lower()) for arg in args]
        scope.names += [host for host in hosts if _NAME.fullmatch(host) and host not in scope.names[:100]]
    elif line.name == "proxyrequests":
        scope.is_forward = args[:1] != () and args[0].lower() == "on"
    elif line.name in {"proxypass", "balancermember", "<proxy"}:
        for arg in args[:2]:
            if match := _URL.match(arg):
                scope.urls[f"{match[1].lower()}:{match[2] or 443}"] = None


def _protocol_claims(scope: _Scope, facts: ApacheFacts, tally: LineTally, *, is_proxy: bool) -> list[Claim]:
    name = "SSLProxyProtocol" if is_proxy else "SSLProtocol"
    is_old_served = all(_serves_old(said) for said in scope.all_of("proxycipher" if is_proxy else "cipher"))
    claims = [
        replace(_claim(said, name, facts, tally), is_old_served=is_old_served)
        for said in scope.all_of("proxyprotocol" if is_proxy else "protocol")
    ]
    for key, word in (("command", "SSLOpenSSLConfCmd"), ("policy", "SSLPolicy")):
        over = [said for said in scope.all_of(key) if said.place is not None]
        if over and not (is_proxy and key == "command"):
            place = over[-1].place
            tally.note(LineState.UNIMPLEMENTED, place or Place(file=""), word, "may overrule SSLProtocol")
            claims = [blank_claim(GapReason.UNSUPPORTED, f"{word} may overrule {name}.", place)]
    return claims


def _serves_old(said: _Said) -> bool:
    """Whether a cipher list sets security level 0 and certainly holds suites that TLS 1.0 and 1.1 have."""
    words = {word for arg in said.args for word in re.split(r"[:, ]", arg)}
    return (
        "@SECLEVEL=0" in words
        and bool({"ALL", "DEFAULT", "HIGH"} & words)
        and not any(word.startswith(("!", "-")) for word in words - _HARMLESS)
    )


def _claim(said: _Said, name: str, facts: ApacheFacts, tally: LineTally) -> Claim:
    place = said.place
    if said.args == (_UNSET,):
        is_first = facts.version is None or facts.version < (2, 4, 17)
        default = _MODERN if is_first else _MODERN - {TlsVersion.SSL3}
        claim = _from_set(default, frozenset(), name, None, facts)
        if facts.version is None:
            gap = (GapReason.VERSION_UNKNOWN, "The default has SSL 3.0 up to 2.4.16 and not from 2.4.17 on.")
            return replace(claim, gaps={**claim.gaps, TlsVersion.SSL3: gap})
        return claim
    if said.args == (_MISSING,):
        return blank_claim(GapReason.INCLUDE_MISSING, f"An include that may hold {name} was not supplied.", place)
    allowed: set[TlsVersion] = set()
    named: set[TlsVersion] = set()
    for arg in said.args:
        word = arg.lower()
        sign = word[0] if word[:1] in {"+", "-"} else ""
        label = word.removeprefix(sign)
        if label not in _TOKENS and label != "all":
            if place and said.args != (_MACRO,):
                tally.note(LineState.UNIMPLEMENTED, place, name, "a word that is no version")
            return blank_claim(
                GapReason.UNSUPPORTED, f"{name} in a form that is not understood (a variable, a macro).", place
            )
        touched = set(ALL) if label == "all" else {_TOKENS[label]}
        # A bare word replaces what stands before it (AH02532).
        allowed = allowed - touched if sign == "-" else allowed | touched if sign == "+" else touched
        named = named - touched if sign == "-" or label == "all" else named | touched if sign == "+" else touched
    if not allowed:
        return blank_claim(GapReason.UNSUPPORTED, f"{name} leaves no version: httpd does not start so.", place)
    return _from_set(frozenset(allowed), frozenset(named), name, place, facts)


def _from_set(
    allowed: frozenset[TlsVersion],
    named: frozenset[TlsVersion],
    name: str,
    place: Place | None,
    facts: ApacheFacts,
) -> Claim:
    """Return the claim of a set of versions, as far as httpd's version has them and OpenSSL keeps them.

    A version that is ``named`` is there, or httpd refuses the file.
    """
    gaps: dict[TlsVersion, tuple[GapReason, str]] = {}
    version = facts.version
    if TlsVersion.SSL2 in allowed and version and version >= (2, 4, 0):
        allowed -= {TlsVersion.SSL2}
    elif TlsVersion.SSL2 in allowed:
        gaps[TlsVersion.SSL2] = (GapReason.VERSION_UNKNOWN, f"{name} all has SSL 2.0 before httpd 2.4.")
    if TlsVersion.TLS1_3 in allowed - named:
        if version is None:
            gaps[TlsVersion.TLS1_3] = (GapReason.VERSION_UNKNOWN, f"{name} all has TLS 1.3 from httpd 2.4.36 on.")
        elif version < (2, 4, 36):
            allowed -= {TlsVersion.TLS1_3}
        else:
            gaps[TlsVersion.TLS1_3] = (GapReason.LIBRARY_POLICY, "TLS 1.3 needs httpd built with OpenSSL 1.1.1.")
    # OpenSSL 1.1.0 and later get a range: the highest version, and down from there until one is missing.
    is_hole = False
    for older, newer in reversed(list(pairwise(ALL_VERSIONS[1:]))):
        is_hole |= newer in allowed and older not in allowed
        if is_hole and older in allowed and older is not TlsVersion.SSL2:
            if TlsVersion.TLS1_3 in named:
                allowed -= {older}
            else:
                text = f"{name} leaves a hole above it: lost with OpenSSL 1.1.0 and later, kept before."
                gaps[older] = (GapReason.LIBRARY_POLICY, text)
    labels = ", ".join(v.title for v in ALL_VERSIONS if v in allowed)
    reason = f"{name} leaves {labels}." if place else f"{name} is not set; the default leaves {labels}."
    return Claim(
        allowed=allowed, reason=reason, place=place, basis=Basis.DECLARED if place else Basis.ASSUMED, gaps=gaps
    )


def _switch(scope: _Scope, key: str) -> bool | None:
    """Return whether an engine is on; None where that is not settled."""
    states: set[bool | None] = set()
    for said in scope.all_of(key):
        word = said.args[0].lower() if said.args else ""
        if word in {_MISSING, _MACRO}:
            # Usually a file of options: where TLS is switched on already it stays so.
            states |= set() if True in states else {None}
        else:
            states.add(True if word in {"on", "optional"} else False if word in {"off", _UNSET} else None)
    return states.pop() if len(states) == 1 else None


def _args(scope: _Scope) -> tuple[str, ...]:
    return scope.section.args if scope.section else ()


def _inbound(main: _Scope, vhosts: list[_Scope], facts: ApacheFacts, tally: LineTally) -> tuple[list[Leg], list[Claim]]:
    legs: list[Leg] = []
    all_claims: list[Claim] = []
    first_of: dict[tuple[str, ...], list[Claim]] = {}
    is_main_reached = not any(arg.startswith(("*", "_default_")) for vhost in vhosts for arg in _args(vhost))
    for scope in [main, *vhosts] if is_main_reached else vhosts:
        is_on = _switch(scope, "engine")
        if is_on is False or (is_on is None and not {"protocol", "cipher", "engine"} & set(scope.said)):
            continue
        claims = _protocol_claims(scope, facts, tally, is_proxy=False)
        if is_on is None or scope.is_conditional:
            place = scope.section.place if scope.section else None
            is_missing = any(said.args == (_MISSING,) for said in scope.all_of("engine"))
            gap = GapReason.INCLUDE_MISSING if is_missing and not scope.is_conditional else GapReason.CONDITIONAL
            claims = [blank_claim(gap, "Whether TLS is on here is not settled by the file.", place)]
        sockets = tuple(sorted(_args(scope)))
        settings = settle_claims(claims)
        if sockets in first_of and not (facts.version and facts.version >= (2, 4, 42)):
            first = settle_claims(first_of[sockets])
            if facts.version:
                settings = first
            else:
                text = "Shares its address with an earlier host, which decides before httpd 2.4.42."
                gap_claim = blank_claim(GapReason.VERSION_UNKNOWN, text, scope.section.place if scope.section else None)
                settings = tuple(
                    own if (own.state, own.gap) == (other.state, other.gap) else unknown
                    for own, other, unknown in zip(settings, first, settle_claims([gap_claim]), strict=True)
                )
        first_of.setdefault(sockets, claims)
        all_claims += claims
        where = f"<VirtualHost> at {scope.section.place.locator}" if scope.section else "main server"
        legs.append(
            Leg(
                name=f"{scope.names[0]} {where}" if scope.names else where,
                direction=Direction.INBOUND,
                settings=settings,
                listens=tuple(_listen(word) for word in _args(scope)),
                server_names=tuple(scope.names),
                limits=("A client without server name gets the first host at the address.",) if scope.section else (),
            )
        )
    return legs, all_claims


def _outbound(scope: _Scope, facts: ApacheFacts, tally: LineTally) -> tuple[list[Leg], list[Claim]]:
    where = f"<{scope.section.name}> at {scope.section.place.locator}" if scope.section else "main server"
    legs: list[Leg] = []
    claims: list[Claim] = []
    is_proxy_section = scope.section is not None and scope.section.name != "virtualhost"
    is_on = _switch(scope, "proxyengine")
    # A section of its own matters where it says something of its own, or names where it goes.
    has_own = bool(scope.urls) or bool({"proxyprotocol", "proxyengine"} & set(scope.said))
    if is_on is not False and has_own and not (is_on is None and not scope.urls):
        claims = _protocol_claims(scope, facts, tally, is_proxy=True)
        if is_on is None or scope.is_conditional:
            place = scope.section.place if scope.section else None
            claims = [blank_claim(GapReason.CONDITIONAL, "Whether SSLProxyEngine is on here is not settled.", place)]
        elif is_proxy_section and facts.version and facts.version < (2, 4, 30):
            claims = _protocol_claims(scope.parent or scope, facts, tally, is_proxy=True)
        legs.append(
            Leg(
                name=f"proxied requests of {where}",
                direction=Direction.OUTBOUND,
                settings=settle_claims(claims),
                destinations=tuple(scope.urls),
            )
        )
    if scope.is_forward:
        text = "mod_proxy_connect passes CONNECT through: the versions are those of the client and the server."
        tunnel = settle_claims([blank_claim(GapReason.TUNNEL, text, None)])
        legs.append(Leg(name=f"CONNECT requests of {where}", direction=Direction.OUTBOUND, settings=tunnel))
    return legs, claims


def _numbered(legs: list[Leg]) -> list[Leg]:
    """Give legs that a file included twice would name alike their number."""
    counts: dict[str, int] = {}
    named = []
    for leg in legs:
        counts[leg.name] = counts.get(leg.name, 0) + 1
        named.append(leg if counts[leg.name] == 1 else replace(leg, name=f"{leg.name} ({counts[leg.name]})"))
    return named


def _listen(word: str) -> Listen:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}|\*))?", word)
    address, port = (match[1], match[2]) if match else ("", None)
    number = int(port) if port and port != "*" else 0
    try:
        canonical = str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        canonical = None
    return Listen(address=canonical, port=number if 0 < number < 65536 else None)
