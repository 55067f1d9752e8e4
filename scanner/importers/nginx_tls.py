"""What nginx's TLS directives say of each version, for the connections it accepts and those it opens. Pure.

Sources: nginx's changes.xml and ngx_event_openssl.c: ngx_ssl_create sets SSL_OP_NO_* for what ssl_protocols does not
name and resets the lowest version, so openssl.cnf's MinProtocol has no say; ssl_conf_command is run after it, as
SSL_CONF_cmd(3) has it. The defaults before 1.9.1 are from nginx's documentation, not from its source. Seen with nginx
1.22.1 and OpenSSL 3.0: the union of repeated directives, the default server's rule, Protocol and MaxProtocol, and that
OpenSSL's client stops below a hole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from scanner.importers.nginx_tree import Block, Missing, Statement
from scanner.model.declared import Place, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

Versions = frozenset[TlsVersion]
_V = TlsVersion
TOKENS: Final = {
    "SSLv2": _V.SSL2, "SSLv3": _V.SSL3, "TLSv1": _V.TLS1_0, "TLSv1.1": _V.TLS1_1, "TLSv1.2": _V.TLS1_2,
    "TLSv1.3": _V.TLS1_3,
}  # fmt: skip
"""Words of ssl_protocols (nginx compares them without case) and of OpenSSL's MinProtocol (with case)."""
_BY_LOWER: Final = {token.lower(): version for token, version in TOKENS.items()}
OLD: Final = frozenset({_V.SSL2, _V.SSL3, _V.TLS1_0, _V.TLS1_1})

Number = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class VersionRange:
    """The nginx versions that a product version may stand for, both included."""

    low: Number
    high: Number


_DEFAULTS: Final[tuple[tuple[VersionRange, Versions, str], ...]] = (
    (
        VersionRange((1, 0, 12), (1, 9, 0)),
        frozenset({_V.SSL3, _V.TLS1_0, _V.TLS1_1, _V.TLS1_2}),
        "nginx before 1.9.1, as its documentation has it",
    ),
    (VersionRange((1, 9, 1), (1, 23, 3)), frozenset({_V.TLS1_0, _V.TLS1_1, _V.TLS1_2}), "nginx 1.9.1 to 1.23.3"),
    (
        VersionRange((1, 23, 4), (1, 27, 2)),
        frozenset({_V.TLS1_0, _V.TLS1_1, _V.TLS1_2, _V.TLS1_3}),
        "nginx 1.23.4 to 1.27.2",
    ),
    (VersionRange((1, 27, 3), (math.inf, 0, 0)), frozenset({_V.TLS1_2, _V.TLS1_3}), "nginx since 1.27.3"),
)
_OWN_PROTOCOLS_SINCE: Final[Number] = (1, 29, 2)
_ANY: Final = VersionRange((1, 0, 12), (math.inf, 0, 0))


def parse_version(text: str | None) -> VersionRange:
    """Return what ``1.22.1``, ``nginx/1.22.1`` or ``1.22`` stands for; every version since 1.0.12 for anything else."""
    found = re.search(r"(?<![\d.])(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?![\d])", text or "")
    if found is None or int(found[1]) == 0:
        return _ANY
    major, minor = int(found[1]), int(found[2])
    if found[3] is None:
        return VersionRange((major, minor, 0), (major, minor, math.inf))
    return VersionRange((major, minor, int(found[3])), (major, minor, int(found[3])))


def maybe_own_protocols(versions: VersionRange) -> bool | None:
    """Return whether a name-based server's own ssl_protocols counts (since 1.29.2); None where that can't be known.

    Before, the list of the listening socket's default server ruled for all of its servers.
    """
    if versions.low >= _OWN_PROTOCOLS_SINCE:
        return True
    return False if versions.high < _OWN_PROTOCOLS_SINCE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The directives in force for one leg; nginx takes those of the innermost level that has any."""

    prefix: str
    """Empty for inbound; ``proxy_``, ``grpc_``, ``uwsgi_``."""
    protocols: tuple[Statement, ...]
    """All ``ssl_protocols`` of that level: nginx unites them."""
    commands: tuple[Statement, ...]
    ciphers: Statement | None
    missing: tuple[Missing, ...]
    """What may hold another ``ssl_protocols`` that would count: includes at that level or within it."""
    script: Statement | None
    """A Lua handler of the ClientHello, which may set the versions of a connection."""

    @property
    def directive(self) -> str:
        """``proxy_ssl_protocols``."""
        return f"{self.prefix}ssl_protocols"


def rules_of(block: Block, prefix: str) -> Rules:
    """Return what is in force in a block."""
    missing: list[Missing] = []
    is_found = False
    for level in block.path():
        if not is_found:
            missing += level.missing if level.head is not None else []
        is_found = is_found or f"{prefix}ssl_protocols" in level.statements
    scripts = [] if prefix else [*_in_force(block, "ssl_client_hello_by_lua_block")]
    scripts += [] if prefix else [*_in_force(block, "ssl_client_hello_by_lua_file")]
    ciphers = _in_force(block, f"{prefix}ssl_ciphers")
    return Rules(
        prefix=prefix,
        protocols=_in_force(block, f"{prefix}ssl_protocols"),
        commands=_in_force(block, f"{prefix}ssl_conf_command"),
        ciphers=ciphers[-1] if ciphers else None,
        missing=tuple(missing),
        script=scripts[0] if scripts else None,
    )


def _in_force(block: Block, name: str) -> tuple[Statement, ...]:
    return next((tuple(level.statements[name]) for level in block.path() if name in level.statements), ())


def maybe_named(protocols: Iterable[Statement]) -> Versions | None:
    """Return the union of what the directives name; None where a word is not one of nginx's, or there is none."""
    words = [word.lower() for statement in protocols for word in (statement.args or ("",))]
    return frozenset(_BY_LOWER[word] for word in words) if all(word in _BY_LOWER for word in words) else None


def maybe_commanded(allowed: Versions, commands: Iterable[Statement]) -> Versions | None:
    """Return what ssl_conf_command makes of the versions that ssl_protocols allows; None for a form not understood.

    Protocol turns versions on and off one by one, MinProtocol and MaxProtocol bound them (SSL_CONF_cmd(3)).
    """
    low, high = _V.SSL2, _V.TLS1_3
    for statement in commands:
        name, value = _command(statement)
        if name == "protocol":
            for item in value.split(","):
                word = item.strip()
                is_off, word = word.startswith("-"), word.lstrip("+-").lower()
                if word.startswith("dtls"):
                    continue
                if word != "all" and word not in _BY_LOWER:
                    return None
                named = frozenset(ALL_VERSIONS) if word == "all" else frozenset({_BY_LOWER[word]})
                allowed = allowed - named if is_off else allowed | named
        elif name in {"minprotocol", "maxprotocol"}:
            if value != "None" and value not in TOKENS:
                return None
            if name == "minprotocol":
                low = TOKENS.get(value, _V.SSL2)
            else:
                high = TOKENS.get(value, _V.TLS1_3)
    return frozenset(version for version in allowed if low <= version <= high)


def _command(statement: Statement) -> tuple[str, str]:
    return (statement.args[0].lower(), statement.args[1]) if len(statement.args) == 2 else ("", "")


def rules_versions(commands: Iterable[Statement]) -> tuple[Statement, ...]:
    """Return those commands that touch versions."""
    return tuple(each for each in commands if _command(each)[0] in {"protocol", "minprotocol", "maxprotocol"})


def _has_old_suites_at_level_0(rules: Rules) -> bool:
    """Return whether the cipher string sets security level 0 and surely has suites for TLS 1.0.

    Surely: it adds a class that has them for every kind of certificate, and excludes only what leaves them in.
    """
    strings = [_command(each)[1] for each in rules.commands if _command(each)[0] == "cipherstring"]
    text = strings[-1] if strings else (rules.ciphers.args[0] if rules.ciphers and rules.ciphers.args else "")
    words = [word for word in re.split(r"[:, ;]|(?=@)", text[:4096]) if word]
    levels = [word for word in words if word.startswith("@SECLEVEL=")]
    excluded = {word[1:] for word in words if word[0] in "!-"}
    return (
        bool(levels)
        and levels[-1] == "@SECLEVEL=0"
        and bool({"ALL", "DEFAULT", "HIGH"} & set(words))
        and excluded <= _HARMLESS_EXCLUSIONS
    )


_HARMLESS_EXCLUSIONS: Final = frozenset(
    {"aNULL", "eNULL", "NULL", "EXP", "EXPORT", "LOW", "MEDIUM", "DES", "3DES", "MD5", "RC4", "RC2", "PSK", "SRP"}
    | {"DSS", "aDSS", "IDEA", "SEED", "CAMELLIA", "ARIA", "kRSA", "ADH", "AECDH", "DH", "EDH", "DHE", "kDHE"}
    | {"CHACHA20", "AESCCM", "AESGCM"}
)


def settings_of(rules: Rules, versions: VersionRange) -> tuple[Setting, ...]:
    """Return one setting for each version, oldest first."""
    basis = Basis.DECLARED if rules.protocols else Basis.ASSUMED
    place = rules.protocols[-1].place if rules.protocols else None
    if rules.missing:
        first = rules.missing[0]
        return _all_unknown(first.gap, f"{rules.directive}: {first.detail}, and may set it", first.place)
    if rules.script is not None:
        reason = f"{rules.script.name} may set the versions of each connection"
        return _all_unknown(GapReason.CONDITIONAL, reason, rules.script.place)
    named = maybe_named(rules.protocols)
    if named is None:
        return _all_unknown(GapReason.UNSUPPORTED, f"{rules.directive} is set in a form not understood", place)
    if rules.protocols:
        candidates, said = [named], f"{rules.directive} names {spell(named)}"
    else:
        rows = [row for row in _DEFAULTS if row[0].low <= versions.high and versions.low <= row[0].high]
        candidates = [row[1] for row in rows]
        if len(rows) == 1:
            said = f"{rules.directive} is not set; the default of {rows[0][2]} is {spell(rows[0][1])}"
        else:
            said = f"{rules.directive} is not set; its default depends on nginx's version"
    commands = rules_versions(rules.commands)
    effective = [maybe_commanded(each, commands) for each in candidates]
    if None in effective:
        reason = f"{rules.prefix}ssl_conf_command is set in a form not understood"
        return _all_unknown(GapReason.UNSUPPORTED, reason, commands[-1].place)
    outcomes = [each for each in effective if each is not None]
    has_old = _has_old_suites_at_level_0(rules)
    settings = []
    for version in ALL_VERSIONS:
        if not outcomes or len({version in each for each in outcomes}) > 1:
            settings.append(
                Setting(
                    version=version,
                    state=State.UNKNOWN,
                    basis=Basis.ASSUMED,
                    reason=said,
                    place=None,
                    gap=GapReason.VERSION_UNKNOWN,
                )
            )
            continue
        is_on = version in outcomes[0]
        is_commanded = any(is_on is not (version in each) for each in candidates)
        settings.append(
            _setting(
                version,
                is_on=is_on,
                is_sure=version >= _V.TLS1_2 or (has_old and version >= _V.TLS1_0),
                is_in_hole=bool(rules.prefix) and _is_above_hole(version, outcomes),
                basis=Basis.DECLARED if is_commanded else basis,
                reason=f"{said}, and {rules.prefix}ssl_conf_command changes it" if is_commanded else said,
                place=commands[-1].place if is_commanded else place,
            )
        )
    return tuple(settings)


def _is_above_hole(version: TlsVersion, outcomes: list[Versions]) -> bool:
    return any(
        version in each and any(low < between < version and between not in each for between in ALL_VERSIONS)
        for each in outcomes
        for low in each
    )


def _setting(
    version: TlsVersion,
    *,
    is_on: bool,
    is_sure: bool,
    is_in_hole: bool,
    basis: Basis,
    reason: str,
    place: Place | None,
) -> Setting:
    if not is_on:
        return Setting(version=version, state=State.DISABLED, basis=basis, reason=reason, place=place)
    if is_in_hole:
        # ssl_get_min_max_version (OpenSSL since 1.1.0): a client offers the lowest unbroken run of versions.
        reason = f"{reason}; as it leaves out a version in between, OpenSSL's client may not offer those above"
    elif is_sure:
        return Setting(version=version, state=State.ENABLED, basis=basis, reason=reason, place=place)
    else:
        reason = f"{reason}; the OpenSSL library's security level and openssl.cnf may still refuse it"
    return Setting(
        version=version, state=State.UNKNOWN, basis=basis, reason=reason, place=place, gap=GapReason.LIBRARY_POLICY
    )


def _all_unknown(gap: GapReason, reason: str, place: Place | None) -> tuple[Setting, ...]:
    return tuple(
        Setting(version=each, state=State.UNKNOWN, basis=Basis.DECLARED, reason=reason, place=place, gap=gap)
        for each in ALL_VERSIONS
    )


def unknown_where(
    one: tuple[Setting, ...], other: tuple[Setting, ...], gap: GapReason, reason: str
) -> tuple[Setting, ...]:
    """Return the first settings, with a gap for every version on which the two don't agree."""
    return tuple(
        a if (a.state, a.gap) == (b.state, b.gap) else replace(a, state=State.UNKNOWN, gap=gap, reason=reason)
        for a, b in zip(one, other, strict=True)
    )


def spell(versions: Versions) -> str:
    """Return versions as nginx writes them, oldest first: ``TLSv1.2 TLSv1.3``."""
    return " ".join(token for token, version in TOKENS.items() if version in versions)
