"""Envoy's bootstrap (YAML or JSON): TLS parameters of listeners and clusters; only what static_resources holds.

Source: envoy/extensions/transport_sockets/tls/v3/common.proto: the lowest default is TLS 1.2, the highest TLS 1.3
downstream and TLS 1.2 upstream. That the lowest downstream was TLS 1.0 before 1.23 is not verified.
"""

from __future__ import annotations

import re

from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.importers.tls_range import Bound, settle_range, settle_unknown
from scanner.importers.yaml_tree import Tree, parse_yaml
from scanner.model.declared import Leg, Reading, Setting
from scanner.model.evidence import GapReason
from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion

_VERSIONS = {
    "TLSv1_0": TlsVersion.TLS1_0,
    "TLSv1_1": TlsVersion.TLS1_1,
    "TLSv1_2": TlsVersion.TLS1_2,
    "TLSv1_3": TlsVersion.TLS1_3,
}
_OLD = (TlsVersion.TLS1_0, TlsVersion.TLS1_1)


def recognise(source: SourceFile) -> int:
    """Return how sure it is that this is Envoy's bootstrap."""
    return 80 if re.search(r'^\s*"?static_resources"?\s*:', source.text[:65536], re.MULTILINE) else 0


def read(source: SourceFile, _folder: Folder, options: ReadOptions) -> Reading:
    """Return a leg for each TLS context of listeners and clusters. Raises ReadError for what is no bootstrap."""
    root = parse_yaml(source)
    resources = root.pairs.get("static_resources")
    if resources is None:
        raise ReadError(f"{source.name}: there is no static_resources")
    numbers = re.match(r"1\.(\d{1,3})", options.product_version or "")
    is_new = numbers is not None and int(numbers[1]) >= 23
    legs = []
    for part, kind, direction in (
        ("listeners", "DownstreamTlsContext", Direction.INBOUND),
        ("clusters", "UpstreamTlsContext", Direction.OUTBOUND),
    ):
        for node in resources.pairs[part].each() if part in resources.pairs else ():
            type_url = node.pairs.get("@type")
            if type_url is None or not (type_url.text or "").endswith(f".{kind}"):
                continue
            settings = _settings(node, is_inbound=direction is Direction.INBOUND, is_new=is_new)
            name = f"{kind} at {type_url.place.locator} column {type_url.value_at[1]}"
            legs.append(Leg(name=name, direction=direction, settings=settings))
    gaps = ((GapReason.NOT_IN_FILE, "What Envoy gets by xDS, and contexts of other forms, are not in these legs."),)
    return Reading(
        importer="envoy",
        product="Envoy",
        product_version=options.product_version,
        file=source.name,
        sha256=source.sha256,
        legs=tuple(legs),
        gaps=gaps,
    )


def _settings(node: Tree, *, is_inbound: bool, is_new: bool) -> tuple[Setting, ...]:
    params = node.maybe_at("common_tls_context", "tls_params")
    if params is None and "commonTlsContext" in node.pairs:
        return settle_unknown(GapReason.UNSUPPORTED, "commonTlsContext is not read in this spelling.", node.place)
    bounds = [Bound(version=TlsVersion.TLS1_2), Bound(version=TlsVersion.TLS1_3 if is_inbound else TlsVersion.TLS1_2)]
    for index, key in enumerate(("tls_minimum_protocol_version", "tls_maximum_protocol_version")):
        limit = params.pairs.get(key) if params else None
        if params and (key.replace("_p", "P").replace("_m", "M").replace("_v", "V") in params.pairs):
            return settle_unknown(GapReason.UNSUPPORTED, f"{key} is not read in this spelling.", params.place)
        if limit is None or limit.text == "TLS_AUTO":
            continue
        if limit.text not in _VERSIONS:
            return settle_unknown(GapReason.UNSUPPORTED, f"{key} is not read in this form.", limit.place)
        bounds[index] = Bound(version=_VERSIONS[limit.text], place=limit.place)
    low, high = bounds
    if low.version > high.version:
        return settle_unknown(GapReason.UNSUPPORTED, "The lowest version is above the highest.", node.place)
    gaps: dict[TlsVersion, tuple[GapReason, str]] = {}
    if low.place is None and is_inbound and not is_new:
        gaps = dict.fromkeys(_OLD, (GapReason.VERSION_UNKNOWN, "The default depends on Envoy's version."))
    elif low.version < TlsVersion.TLS1_2:
        why = "Allowed, if cipher_suites leave a suite for it."
        gaps = {v: (GapReason.UNSUPPORTED, why) for v in _OLD if low.version <= v <= high.version}
    return settle_range(low, high, "tls_params or their defaults set the range.", gaps)
