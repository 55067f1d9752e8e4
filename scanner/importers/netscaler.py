"""ns.conf of NetScaler (Citrix ADC): SSL virtual servers, services, service groups, and their SSL profiles.

ns.conf holds command lines, and of parameters only those that differ from the default; the later line wins, ``unset``
brings the default back. Commands: netscaler/ansible-collection-netscaleradc, citrix/terraform-provider-citrixadc. A
profile that is bound decides; without one, ``set ssl parameter -defaultProfile ENABLED`` has the default profiles
decide, and the entity's own switches otherwise (docs.netscaler.com, SSL profiles). Defaults: appendix B of those pages
(SSLv3 DISABLED, TLSv1.0 to 1.2 ENABLED); older builds had SSLv3 ENABLED. Unverified: when that changed, and that TLS
1.3 is off by default; so defaults of 14.1 and later are gaps, and so is SSL 3.0 before 13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from scanner.importers.claims import ALL, Claim, LineTally, check_old_versions
from scanner.importers.edits import Remedy, Wants
from scanner.importers.netscaler_lines import SWITCHES, NetscalerConfig, SslEntity, read_commands, suite_kind
from scanner.importers.source import Folder, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Leg, Place, Reading, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_DEFAULTS = {"front": "ns_default_ssl_profile_frontend", "back": "ns_default_ssl_profile_backend"}
_MANAGEMENT = re.compile(r"ns(?:https|k?rpcs)-")
_NAME = re.compile(r"[\w .:#@=,/%()-]{1,255}")
_CITATION = "https://docs.netscaler.com/en-us/citrix-adc/current-release/ssl/customize-ssl-config.html"


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
    config, version = read_commands(source, options, tally)
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
    config, _ = read_commands(source, options, LineTally())
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
            if wants.disable_old and settings[SWITCHES[switch]] is not State.DISABLED
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


def _tls_entities(config: NetscalerConfig) -> Iterator[SslEntity]:
    return (entity for entity in config.entities.values() if entity.is_tls)


def _side(entity: SslEntity) -> str:
    return "front" if entity.kind == "vserver" or _MANAGEMENT.match(entity.name) else "back"


def _profile_name(config: NetscalerConfig, entity: SslEntity) -> str | None:
    return entity.profile or (_DEFAULTS[_side(entity)] if config.default_profile_at else None)


def _place_of(config: NetscalerConfig, entity: SslEntity) -> Place | None:
    name = _profile_name(config, entity)
    profile = config.profiles.get(name.lower()) if name else None
    return profile.place if profile else entity.place


def _settle(config: NetscalerConfig, entity: SslEntity) -> tuple[Setting, ...]:
    name = _profile_name(config, entity)
    owner: SslEntity | None = entity
    if name is not None:
        owner = config.profiles.get(name.lower())
        if owner is None and name.lower() in _DEFAULTS.values():
            owner = SslEntity(name=name, kind="profile", place=None)
    suites = _bound_suites(config, owner) if owner else set()
    return tuple(_setting(config, entity, owner, suites, version) for version in ALL_VERSIONS)


def _setting(
    config: NetscalerConfig, entity: SslEntity, owner: SslEntity | None, suites: set[str], version: TlsVersion
) -> Setting:
    state, basis, place = State.UNKNOWN, Basis.DECLARED, entity.place
    gap: GapReason | None = None
    switch = next(name for name, each in SWITCHES.items() if each is version)
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
    if state is State.ENABLED and (why := _maybe_without_suites(suites, version)):
        state, gap, reason = State.UNKNOWN, GapReason.UNSUPPORTED, f"{reason} {why}"
    return Setting(version=version, state=state, basis=basis, gap=gap, reason=reason, place=place)


def _default(
    config: NetscalerConfig, version: TlsVersion, side: str, switch: str
) -> tuple[State, GapReason | None, str]:
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


def _bound_suites(config: NetscalerConfig, owner: SslEntity) -> set[str]:
    """Return which kinds of suites are bound, with the file's own groups taken apart; once for each owner."""
    key = (owner.kind, owner.name.lower())
    if key not in config.suites:
        found: set[str] = set()
        for name in owner.ciphers:
            found |= config.groups.get(name.lower()) or {suite_kind(name)}
        config.suites[key] = found
    return config.suites[key]


def _maybe_without_suites(suites: set[str], version: TlsVersion) -> str | None:
    """Return why bound ciphers may leave a version without suites; None where they don't."""
    if version is TlsVersion.TLS1_3:
        return None if "1.3" in suites else "No TLS1.3 suite is seen to be bound."
    if version is TlsVersion.TLS1_2:
        return "Only TLS1.3 suites are bound." if suites == {"1.3"} else None
    return "Whether the bound ciphers have suites for it is not worked out." if suites and "old" not in suites else None


def _leg(entity: SslEntity, settings: tuple[Setting, ...]) -> Leg:
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
