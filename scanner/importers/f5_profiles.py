"""SSL profiles of a bigip.conf: what they have after inheritance, and what that says of versions. See f5. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from scanner.importers.claims import ALL, Claim
from scanner.importers.f5_tree import Node
from scanner.model.declared import Place, Setting
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_FLAGS = {
    "no-sslv2": {TlsVersion.SSL2},
    "no-sslv3": {TlsVersion.SSL3},
    "no-ssl": {TlsVersion.SSL2, TlsVersion.SSL3},
    "no-tlsv1": {TlsVersion.TLS1_0},
    "no-tlsv1.1": {TlsVersion.TLS1_1},
    "no-tlsv1.2": {TlsVersion.TLS1_2},
    "no-tlsv1.3": {TlsVersion.TLS1_3},
}
_CIPHER_VERSIONS = {
    "SSLV2": TlsVersion.SSL2,
    "SSLV3": TlsVersion.SSL3,
    "TLSV1": TlsVersion.TLS1_0,
    "TLSV1_1": TlsVersion.TLS1_1,
    "TLSV1_2": TlsVersion.TLS1_2,
    "TLSV1_3": TlsVersion.TLS1_3,
}
_BROAD = frozenset({"DEFAULT", "NATIVE", "ALL", "HIGH"})
"""Words of a cipher string that have suites of TLS 1.2."""
_HARMLESS_NAMES = (
    "MD5 EXPORT EXP DES 3DES RC4 RC2 DHE EDH ADH LOW ANULL ENULL NULL SSLV2 SSLV3 TLSV1 TLSV1_1 TLSV1_3 DTLSV1 "
    "DTLSV1_2 CAMELLIA DSS PSK SRP IDEA SEED"
)
_HARMLESS = frozenset(_HARMLESS_NAMES.split())
"""What may be taken away from these, and leaves suites of TLS 1.2 in."""
_MOST_WORDS = 100
_MOST_CHARACTERS = 4096
_KNOWN_GROUPS = frozenset({"/Common/f5-default", "/Common/f5-secure"})
"""Built-in cipher groups with suites of TLS 1.2."""
BUILT_IN = {"client-ssl": "/Common/clientssl", "server-ssl": "/Common/serverssl"}


@dataclass(frozen=True, slots=True)
class Said:
    """A setting of a profile with where it stands; place None: the product's default."""

    words: tuple[str, ...]
    place: Place | None
    gap: tuple[GapReason, str] | None = None


@dataclass(frozen=True, slots=True)
class ResolvedProfile:
    """What a profile has after inheritance."""

    options: Said
    ciphers: Said
    group: Said
    names: tuple[str, ...] = ()
    is_off: bool = False


@dataclass(slots=True)
class F5Config:
    """What of a file matters."""

    file: str
    version: tuple[int, int] | None
    profiles: dict[tuple[str, str], Node] = field(default_factory=dict)
    other_profiles: set[str] = field(default_factory=set)
    virtuals: dict[str, Node] = field(default_factory=dict)
    pools: dict[str, Node] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    monitors: list[tuple[str, Node]] = field(default_factory=list)
    hostname: str | None = None
    resolved: dict[tuple[str, str], ResolvedProfile] = field(default_factory=dict)

    def place(self, node: Node) -> Place:
        """Return where a statement stands."""
        return Place(file=self.file, line=node.line)


def full_name(name: str) -> str:
    """Return an object's name with its partition, which tmsh leaves out for Common."""
    return name if name.startswith("/") else f"/Common/{name}"


def ssl_profiles(config: F5Config, virtual: Node) -> Iterable[tuple[str, str]]:
    """Yield kind and name of a virtual server's SSL profiles."""
    profiles = virtual.maybe_child("profiles")
    for child in profiles.children if profiles else ():
        for word in child.words if not child.has_braces else child.words[-1:]:
            name = full_name(word)
            leaf = name.rsplit("/", 1)[-1].lower()
            known = [kind for kind in BUILT_IN if (kind, name) in config.profiles]
            if known:
                yield from ((kind, name) for kind in known)
            elif name not in config.other_profiles:
                context = child.maybe_value("context") or " ".join(child.inner_words())
                if leaf.startswith("clientssl") or leaf.endswith("clientssl"):
                    yield "client-ssl", name
                elif leaf.startswith("serverssl") or leaf.endswith("serverssl"):
                    yield "server-ssl", name
                elif ("ssl" in leaf or "tls" in leaf) and context in {"clientside", "serverside"}:
                    yield ("client-ssl" if context == "clientside" else "server-ssl"), name


def resolve_profile(config: F5Config, kind: str, name: str) -> ResolvedProfile:
    """Return what a profile has after inheritance; each profile is worked out once."""
    chain: list[tuple[str, str]] = []
    seen: set[tuple[str, str]] = set()
    key = (kind, name)
    while key not in config.resolved:
        if key in seen or key not in config.profiles:
            config.resolved[key] = _foreign(config, key, is_circle=key in seen)
            break
        seen.add(key)
        chain.append(key)
        parent = config.profiles[key].maybe_value("defaults-from")
        if parent in {None, "none"} and key[1] == BUILT_IN[kind]:
            config.resolved[key] = _own(config, key, _built_in(config, kind))
            break
        key = (kind, full_name(parent) if parent and parent != "none" else BUILT_IN[kind])
    for key in reversed(chain):
        if key not in config.resolved:
            parent = config.profiles[key].maybe_value("defaults-from")
            above = (kind, full_name(parent) if parent and parent != "none" else BUILT_IN[kind])
            config.resolved[key] = _own(config, key, config.resolved[above])
    return config.resolved[kind, name]


def _own(config: F5Config, key: tuple[str, str], parent: ResolvedProfile) -> ResolvedProfile:
    node = config.profiles[key]
    if node.is_one_line:
        said = Said((), config.place(node), (GapReason.UNSUPPORTED, "The profile is written on one line."))
        return ResolvedProfile(said, said, said)
    found = {"options": parent.options, "ciphers": parent.ciphers, "cipher-group": parent.group}
    for name in found:
        child = node.maybe_child(name)
        if child is not None:
            words = child.inner_words() if child.has_braces else list(child.words[1:])
            # Every profile that inherits it looks at it again, so it must not be long.
            is_long = len(words) > _MOST_WORDS or sum(map(len, words)) > _MOST_CHARACTERS
            gap = (GapReason.UNSUPPORTED, f"{name} is too long to be looked into.")
            found[name] = Said((), config.place(child), gap) if is_long else Said(tuple(words), config.place(child))
    ciphers = node.maybe_child("ciphers")
    if (
        parent.group.gap
        and ciphers
        and ciphers.words[1:2] not in {(), ("none",)}
        and not node.maybe_child("cipher-group")
    ):
        # Ciphers and a group exclude each other: with ciphers of its own, an unknown parent's group does not count.
        found["cipher-group"] = Said(("none",), config.place(ciphers))
    server_name = (node.maybe_value("server-name") or "").lower()
    is_named = re.fullmatch(r"[a-z0-9.*_-]{1,255}", server_name) and server_name != "none"
    mode = node.maybe_value("mode")
    return ResolvedProfile(
        found["options"],
        found["ciphers"],
        found["cipher-group"],
        names=(server_name,) if is_named else (),
        is_off=parent.is_off if mode is None else mode == "disabled",
    )


def _foreign(config: F5Config, key: tuple[str, str], *, is_circle: bool) -> ResolvedProfile:
    if key[1] == BUILT_IN[key[0]] and not is_circle:
        return _built_in(config, key[0])
    gap = (GapReason.NOT_IN_FILE, f"The {key[0]} profile that it comes from is not in this file.")
    if is_circle:
        gap = (GapReason.UNSUPPORTED, f"The {key[0]} profile has itself as a parent.")
    said = Said((), None, gap)
    return ResolvedProfile(said, said, said)


def _built_in(config: F5Config, kind: str) -> ResolvedProfile:
    """Return the built-in profile: its options are documented without a version, so later ones than 17 are a gap."""
    gap = None
    if config.version is None or not 11 <= config.version[0] <= 17:
        gap = (GapReason.VERSION_UNKNOWN, f"The options of the built-in {kind} profile depend on the TMOS version.")
    said = Said(("dont-insert-empty-fragments", "no-tlsv1.3"), None, gap)
    return ResolvedProfile(said, Said(("DEFAULT",), None), Said(("none",), None))


def settle_profile(resolved: ResolvedProfile) -> tuple[tuple[Setting, ...], Claim]:
    """Return six settings, and the claim that says whether old versions are left on."""
    words = set(resolved.options.words)
    excluded = frozenset(version for flag, versions in _FLAGS.items() if flag in words for version in versions)
    settings = tuple(_setting(resolved, version, is_excluded=version in excluded) for version in ALL_VERSIONS)
    gone = {each.version for each in settings if each.state is State.DISABLED}
    unknown = ALL if resolved.options.gap and resolved.options.gap[0] is not GapReason.VERSION_UNKNOWN else frozenset()
    claim = Claim(
        allowed=ALL - gone,
        reason="options",
        place=resolved.options.place or resolved.ciphers.place,
        gaps=dict.fromkeys(unknown if not resolved.is_off else ALL, (GapReason.UNSUPPORTED, "")),
    )
    return settings, claim


def _setting(resolved: ResolvedProfile, version: TlsVersion, *, is_excluded: bool) -> Setting:
    options = resolved.options
    basis = Basis.DECLARED if options.place else Basis.ASSUMED
    state, place = State.UNKNOWN, options.place
    gap: GapReason | None = None
    if resolved.is_off:
        gap, reason = GapReason.TUNNEL, "mode disabled: the profile leaves TLS to the two ends."
    elif options.gap and not (options.gap[0] is GapReason.VERSION_UNKNOWN and version is TlsVersion.TLS1_2):
        gap, reason = options.gap
    elif is_excluded:
        state, reason = State.DISABLED, f"options exclude {version.title}."
        if not options.place:
            reason = f"The built-in profile's options exclude {version.title} (documented without a TMOS version)."
    elif "no-tls" in options.words and version >= TlsVersion.TLS1_0:
        gap, reason = GapReason.UNSUPPORTED, "options has no-tls, of which it is not known which versions it means."
    else:
        has_suites, reason = _suites(resolved, version)
        place = resolved.ciphers.place or resolved.group.place or options.place
        if has_suites is None:
            gap = GapReason.UNSUPPORTED
            if resolved.ciphers.gap:
                gap, reason = resolved.ciphers.gap
            elif "TMOS version" in reason:
                gap = GapReason.VERSION_UNKNOWN
        elif has_suites:
            state = State.ENABLED
            source = "options leave" if options.place else "The built-in profile's options leave"
            reason = f"{source} {version.title} on, and {reason}"
        else:
            # The cipher string alone decides, whatever the options come from.
            state, basis = State.DISABLED, Basis.DECLARED
    return Setting(version=version, state=state, basis=basis, gap=gap, reason=reason, place=place)


def _suites(resolved: ResolvedProfile, version: TlsVersion) -> tuple[bool | None, str]:
    """Return whether the ciphers have suites of a version (None: not known), and a sentence."""
    group = resolved.group.words[-1] if resolved.group.words else "none"
    if resolved.group.gap or group not in {"none", "None"}:
        if not resolved.group.gap and full_name(group) in _KNOWN_GROUPS and version is TlsVersion.TLS1_2:
            return True, "the built-in cipher group has suites for it."
        return None, "cipher-group decides which versions have suites, and is not looked into."
    if resolved.ciphers.gap:
        return None, resolved.ciphers.gap[1]
    return judge_ciphers(":".join(resolved.ciphers.words), version)


def judge_ciphers(text: str, version: TlsVersion) -> tuple[bool | None, str]:
    """Return whether a cipher string has suites of a version: None where that is not known; and a sentence."""
    words = [word.upper() for word in re.split(r"[:, ]+", text) if word]
    removed = [word[1:] for word in words if word[0] in "!-"]
    added = [word for word in words if word[0] not in "!-+@"]
    name = next(name for name, each in _CIPHER_VERSIONS.items() if each is version)
    if f"!{name}" in words:
        return False, f"ciphers exclude {version.title}."
    if f"-{name}" in words:
        after = words[words.index(f"-{name}") + 1 :]
        if all(word[0] in "!-@" for word in after):
            return False, f"ciphers take {version.title} away."
        return None, "ciphers take the version away and add suites again."
    if all(word in _HARMLESS or word in _CIPHER_VERSIONS for word in removed):
        if version is TlsVersion.TLS1_2 and ("TLSV1_2" in added or _BROAD & set(added)):
            return True, "ciphers have suites for it."
        if name in added:
            return True, "ciphers name the version."
    if words and added and _BROAD & set(added):
        return None, f"Whether ciphers have suites of {version.title} depends on the TMOS version."
    return None, "Which versions the suites of ciphers have is not worked out."
