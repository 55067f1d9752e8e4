"""mitmproxy's config.yaml: the versions on the clients' side and on the servers' side.

Options and defaults: mitmproxy/addons/tlsconfig.py of 8.1.1 and of 8fc25b3; that 7.0 was the first with them is not
verified. Seen with mitmproxy 8.1.1: its servers' side takes the range that is set for the clients' side, and
``tls_version_server_*`` has no effect (its tlsconfig.py reads the client's options twice).
"""

from __future__ import annotations

import re

from scanner.importers.claims import ALL, Claim, blank_claim, check_old_versions, settle_claims
from scanner.importers.edits import Edit, Remedy, Wants
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.importers.yaml_tree import Tree, parse_yaml, plan_scalar
from scanner.model.declared import Leg, LineNote, LineState, Reading
from scanner.model.evidence import Basis, GapReason
from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion

_VERSIONS = {
    "SSL3": TlsVersion.SSL3,
    "TLS1": TlsVersion.TLS1_0,
    "TLS1_1": TlsVersion.TLS1_1,
    "TLS1_2": TlsVersion.TLS1_2,
    "TLS1_3": TlsVersion.TLS1_3,
}
_OURS = ("tls_version_client_min", "tls_version_client_max", "tls_version_server_min", "tls_version_server_max")
_KNOWN = frozenset(
    {
        *_OURS,
        *("ignore_hosts", "allow_hosts", "ciphers_client", "ciphers_server", "confdir", "listen_host", "listen_port"),
        *("mode", "ssl_insecure", "certs", "upstream_cert", "ssl_verify_upstream_trusted_ca", "proxyauth"),
    }
)
_KEY = re.compile(r"^([a-z_]{4,40})[ ]*:", re.MULTILINE)
_SAME = "mitmproxy 8 takes the clients' range on the servers' side too and ignores tls_version_server_*."


def recognise(source: SourceFile) -> int:
    """Return how sure it is that this is mitmproxy's config.yaml."""
    keys = {match[1] for match in _KEY.finditer(source.text[:65536])}
    return 80 if keys & set(_OURS) else min(60, 30 * (len(keys & _KNOWN) // 2))


def read(source: SourceFile, _folder: Folder, options: ReadOptions) -> Reading:
    """Return what config.yaml says of both sides. Raises ReadError where it is no mapping of mitmproxy's options."""
    root = _root(source)
    version, major = options.product_version, _major(options.product_version)
    is_new = major is not None and major >= 7  # [M] the first with these options
    is_new = is_new or any(key in root.pairs for key in _OURS)
    legs, claims = [], []
    for side, direction in (("client", Direction.INBOUND), ("server", Direction.OUTBOUND)):
        claim = _claim(root, side, is_new=is_new, major=major)
        claims.append(claim)
        limits = ["Hosts that ignore_hosts or allow_hosts leave alone are passed through with the client's own TLS."]
        if side == "server" and major in {None, 8}:
            limits.append(_SAME)
        legs.append(
            Leg(
                name=f"{side}s' side of mitmproxy",
                direction=direction,
                settings=settle_claims([claim]),
                limits=tuple(limits),
            )
        )
    notes = tuple(
        LineNote(place=node.place, state=LineState.UNIMPLEMENTED, text=key, detail="a value that mitmproxy has not")
        for key, node in root.pairs.items()
        if key in _OURS and node.text not in {*_VERSIONS, "UNBOUNDED"}
    )
    return Reading(
        importer="mitmproxy",
        product="mitmproxy",
        product_version=version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(legs),
        checks=check_old_versions(claims),
        notes=notes,
    )


def plan_edits(source: SourceFile, folder: Folder, options: ReadOptions, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return the change to config.yaml, or no remedy where TLS 1.2 (and what is wanted) is there. Raises ReadError."""
    root = _root(source)
    read(source, folder, options)
    edits, added = [], []
    for key in _OURS:
        node = root.pairs.get(key)
        limit = _VERSIONS.get(node.text or "") if node else None
        is_good = node is not None and (limit is not None or node.text == "UNBOUNDED")
        if key.endswith("min"):
            is_good = is_good and (limit == TlsVersion.TLS1_2 or (not wants.disable_old and limit != TlsVersion.TLS1_3))
            new = "TLS1_2"
        else:
            is_good = is_good and (limit is None or limit >= TlsVersion.TLS1_2)
            new = "UNBOUNDED"
        if is_good:
            continue
        if node is None:
            added.append(f"{key}: {new}\n")
        elif node.text is None:
            raise ReadError(f"{node.place.locator}: {key} is no text")
        else:
            edits.append(plan_scalar(node, new))
    commands: tuple[str, ...] = ()
    if added and root.pairs and source.text.lstrip()[:1] != "{":
        # Options stand at the outermost level: before the first of them is as good as anywhere.
        first = min(node.line for node in root.pairs.values())
        edits.append(Edit(file=source.name, line=first, old="", new="".join(added)))
    elif added:
        commands = tuple(f"mitmdump --set {line.strip().replace(': ', '=')}" for line in added)
    if not edits and not commands:
        return ()
    return (
        Remedy(
            title="Let mitmproxy use TLS 1.2 and later on both sides",
            edits=tuple(edits),
            commands=commands,
            check_commands=("mitmdump --options",),
            activate="Restart mitmproxy.",
            citation="https://docs.mitmproxy.org/stable/concepts-options/",
            cautions=(_SAME,),
        ),
    )


def _root(source: SourceFile) -> Tree:
    root = parse_yaml(source)
    if root.text is not None or root.items or not _KNOWN & root.pairs.keys():
        raise ReadError(f"{source.name}: none of mitmproxy's options is in it")
    return root


def _major(version: str | None) -> int | None:
    match = re.match(r"(\d{1,3})(?:\.|$)", version or "")
    return int(match[1]) if match else None


def _claim(root: Tree, side: str, *, is_new: bool, major: int | None) -> Claim:
    names = (f"tls_version_{side}_min", f"tls_version_{side}_max")
    own = [root.pairs[name] for name in names if name in root.pairs]
    place = own[-1].place if own else None
    if side == "server" and major == 8:
        names = ("tls_version_client_min", "tls_version_client_max")
        place = next((root.pairs[name].place for name in names if name in root.pairs), None)
    elif side == "server" and major is None and any(name in root.pairs for name in _OURS):
        reason = f"Which range counts depends on mitmproxy's version: {_SAME}"
        return blank_claim(GapReason.VERSION_UNKNOWN, reason, place)
    if not is_new:
        reason = "The default depends on mitmproxy's version, which is not known, or is older than the table."
        return blank_claim(GapReason.VERSION_UNKNOWN, reason, place)
    allowed = ALL
    for name, default in zip(names, ("TLS1_2", "UNBOUNDED"), strict=True):
        node = root.pairs.get(name)
        word = node.text if node else default
        if word == "UNBOUNDED":
            continue
        limit = _VERSIONS.get(word or "")
        if limit is None:
            return blank_claim(GapReason.UNSUPPORTED, f"{name} has a value that mitmproxy has not.", place)
        allowed &= {v for v in ALL if (v >= limit if name.endswith("min") else v <= limit)}
    is_said = all(name in root.pairs for name in names)
    reason = f"{names[0]} and {names[1]} set the range." if is_said else f"{names[0]} or {names[1]} is the default."
    return Claim(
        allowed=frozenset(allowed), reason=reason, place=place, basis=Basis.DECLARED if is_said else Basis.ASSUMED
    )
