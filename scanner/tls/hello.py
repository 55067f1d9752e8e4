"""ClientHello and SSLv2 CLIENT-HELLO encoding (RFC 8446 section 4.1.2, RFC 6101, draft-hickman-netscape-ssl-00).

The hellos are questions, not offers: no key exchange follows. What each variant has, and why, is in docs/method.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

from scanner.model.exchange import HelloVariant
from scanner.model.versions import TlsVersion
from scanner.tls import suites
from scanner.tls.retry import KEY_SHARES

RANDOM_BYTES = 64
"""Random bytes a hello needs: 32 for the random (or challenge), 32 for the session id of a TLS 1.3 hello."""

_EXT_SERVER_NAME = 0
_EXT_SUPPORTED_GROUPS = 10
_EXT_EC_POINT_FORMATS = 11
_EXT_SIGNATURE_ALGORITHMS = 13
_EXT_PADDING = 21
_EXT_SUPPORTED_VERSIONS = 43
_EXT_PSK_KEY_EXCHANGE_MODES = 45
_EXT_KEY_SHARE = 51

# F5 BIG-IP drops hellos whose length is in 256..511 (RFC 7685 section 1); so none of ours is.
_DEAD_ZONE = range(256, 512)
_RECORD_HEADER_BYTES = 5


def encode_hello(*, version: TlsVersion, variant: HelloVariant, server_name: str | None, random: bytes) -> bytes:
    """Return the bytes of one hello that asks for one version.

    random: RANDOM_BYTES bytes. server_name: A-label form, or None for no SNI; never an address (RFC 6066 section 3).
    """
    prefix, suffix = _template(version, variant, server_name)
    if version is TlsVersion.SSL2:
        return prefix + random[: _SSL2_CHALLENGE_BYTES[variant]]
    if version is TlsVersion.TLS1_3:
        return b"".join((prefix, random[:32], b"\x20", random[32:64], suffix))
    return b"".join((prefix, random[:32], b"\x00", suffix))


@cache
def offered_suites(version: TlsVersion, variant: HelloVariant) -> frozenset[int]:
    """Return the code points that this variant offers (SSLv2: three-byte cipher kinds)."""
    return frozenset(_suites(version, variant))


def variants_for(version: TlsVersion) -> tuple[HelloVariant, ...]:
    """Return the variants that differ for this version, the most telling first."""
    if version in {TlsVersion.SSL2, TlsVersion.TLS1_3}:
        return (HelloVariant.BROAD, HelloVariant.COMPACT, HelloVariant.RARE)
    return tuple(HelloVariant)


_SSL2_CHALLENGE_BYTES = {
    HelloVariant.BROAD: 16,
    HelloVariant.COMPACT: 32,
    HelloVariant.RARE: 24,
    HelloVariant.EXOTIC: 24,
}


def _suites(version: TlsVersion, variant: HelloVariant) -> tuple[int, ...]:
    if version is TlsVersion.SSL2:
        return suites.SSL2_ALL if variant is HelloVariant.BROAD else suites.SSL2_COMMON
    if version is TlsVersion.TLS1_3:
        return suites.COMPACT_TLS13 if variant is HelloVariant.COMPACT else suites.BROAD_TLS13
    if version is TlsVersion.SSL3 and variant is HelloVariant.RARE:
        return suites.BROAD_LEGACY  # the one form without any extension, for servers that choke on them
    return {
        HelloVariant.BROAD: suites.BROAD_LEGACY,
        HelloVariant.COMPACT: suites.COMPACT_LEGACY,
        HelloVariant.RARE: suites.RARE_LEGACY,
        HelloVariant.EXOTIC: suites.EXOTIC_LEGACY,
    }[variant]


@lru_cache(maxsize=4096)
def _template(version: TlsVersion, variant: HelloVariant, server_name: str | None) -> tuple[bytes, bytes]:
    """Return what stands before the random and after the session id."""
    offered = _suites(version, variant)
    if version is TlsVersion.SSL2:
        return _ssl2_template(offered, _SSL2_CHALLENGE_BYTES[variant]), b""
    legacy_version = min(version, TlsVersion.TLS1_2)
    suite_bytes = _u16_list((*offered, suites.EMPTY_RENEGOTIATION_INFO_SCSV))
    middle = len(suite_bytes).to_bytes(2, "big") + suite_bytes + b"\x01\x00"
    session_id_bytes = 33 if version is TlsVersion.TLS1_3 else 1
    fixed_bytes = 4 + 2 + 32 + session_id_bytes + len(middle)
    extensions = _extensions(version, variant, server_name)
    least_bytes = 0
    if variant is HelloVariant.BROAD and TlsVersion.SSL3 < version < TlsVersion.TLS1_3:
        # As long as the TLS 1.3 one: then a box that stops long hellos can't be taken for a server without TLS 1.3.
        before, after = _template(TlsVersion.TLS1_3, variant, server_name)
        least_bytes = len(before) - _RECORD_HEADER_BYTES + 32 + 33 + len(after)
    body = _with_padding(fixed_bytes, extensions, least_bytes)
    handshake_bytes = fixed_bytes + len(body)
    # The record layer says 1.0 for everything newer (RFC 8446 section 5.1): some servers refuse any other number.
    record_version = TlsVersion.SSL3 if version is TlsVersion.SSL3 else TlsVersion.TLS1_0
    prefix = (
        b"\x16"
        + record_version.to_bytes(2, "big")
        + handshake_bytes.to_bytes(2, "big")
        + b"\x01"
        + (handshake_bytes - 4).to_bytes(3, "big")
        + legacy_version.to_bytes(2, "big")
    )
    return prefix, middle + body


def _ssl2_template(offered: tuple[int, ...], challenge_bytes: int) -> bytes:
    kinds = b"".join(kind.to_bytes(3, "big") for kind in offered)
    body = b"\x01\x00\x02" + len(kinds).to_bytes(2, "big") + b"\x00\x00" + challenge_bytes.to_bytes(2, "big") + kinds
    return (0x8000 | (len(body) + challenge_bytes)).to_bytes(2, "big") + body


def _extensions(version: TlsVersion, variant: HelloVariant, server_name: str | None) -> list[bytes]:
    is_compact = variant is HelloVariant.COMPACT
    found: list[bytes] = []
    if version is TlsVersion.SSL3:
        # An SSLv3 hello need not have extensions; OpenSSL 1.0 reads SNI there all the same, others may choke on any.
        if server_name is not None and variant is not HelloVariant.RARE:
            found.append(_server_name(server_name))
        if variant is HelloVariant.BROAD:
            found.append(_extension(_EXT_SUPPORTED_GROUPS, _vector16(_u16_list(suites.GROUPS_ALL))))
            found.append(_extension(_EXT_EC_POINT_FORMATS, b"\x01\x00"))
        return found
    if server_name is not None:
        found.append(_server_name(server_name))
    groups = suites.GROUPS_COMPACT if is_compact else suites.GROUPS_ALL
    found.append(_extension(_EXT_SUPPORTED_GROUPS, _vector16(_u16_list(groups))))
    found.append(_extension(_EXT_EC_POINT_FORMATS, b"\x01\x00" if is_compact else b"\x03\x00\x01\x02"))
    if version >= TlsVersion.TLS1_2:
        algorithms = suites.SIGNATURE_ALGORITHMS_COMPACT if is_compact else suites.SIGNATURE_ALGORITHMS_ALL
        found.append(_extension(_EXT_SIGNATURE_ALGORITHMS, _vector16(_u16_list(algorithms))))
    if version is TlsVersion.TLS1_3:
        found.append(_extension(_EXT_SUPPORTED_VERSIONS, b"\x02\x03\x04"))
        found.append(_extension(_EXT_PSK_KEY_EXCHANGE_MODES, b"\x01\x01"))
        found.append(_extension(_EXT_KEY_SHARE, _vector16(_key_shares(variant))))
    return found


def _key_shares(variant: HelloVariant) -> bytes:
    """No share asks for a HelloRetryRequest: it proves TLS 1.3 and costs the server no signature."""
    if variant is HelloVariant.BROAD:
        return b""
    if variant is HelloVariant.COMPACT:
        return b"\x00\x1d" + _vector16(KEY_SHARES[29])
    return b"".join(group.to_bytes(2, "big") + _vector16(KEY_SHARES[group]) for group in (29, 23, 24))


def _server_name(name: str) -> bytes:
    encoded = name.encode("ascii")
    return _extension(_EXT_SERVER_NAME, _vector16(b"\x00" + _vector16(encoded)))


def _with_padding(fixed_bytes: int, extensions: list[bytes], least_bytes: int) -> bytes:
    """Return the extensions block, padded (RFC 7685) so that the handshake message is neither short nor in the zone."""
    block = b"".join(extensions)
    total = fixed_bytes + (2 + len(block) if block else 0)
    if total in _DEAD_ZONE:
        least_bytes = max(least_bytes, _DEAD_ZONE.stop)
    if total < least_bytes:
        block += _extension(_EXT_PADDING, bytes(max(0, least_bytes - (fixed_bytes + 2 + len(block) + 4))))
    return _vector16(block) if block else b""


def _extension(number: int, data: bytes) -> bytes:
    return number.to_bytes(2, "big") + _vector16(data)


def _vector16(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _u16_list(numbers: Iterable[int]) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)
