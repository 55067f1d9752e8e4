"""The outside of a packed host: msgpack, compressed with a dictionary of what stands in nearly every one. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import msgpack

from scanner.store.stored import StoreError

Packed = list[Any]
"""What msgpack is given as an array."""
Unpacked = tuple[Any, ...]
"""What it gives back."""

FIELD_COUNT: Final = 11
"""Fields of a packed host."""

# First byte of a blob: how the rest is to be read.
_PLAIN: Final = 0x10
_DEFLATED: Final = 0x11

# Of KIND 0x11, and fixed with it: what stands in nearly every blob. The most frequent comes last.
_DICTIONARY: Final = b"".join(
    (
        b"nassl 5.4.0 (modern OpenSSL)nassl 5.4.0 (legacy OpenSSL)",
        b"ECONNREFUSEDEHOSTUNREACHENETUNREACHETIMEDOUTECONNRESET",
        b"TLS_AES_128_GCM_SHA256TLS_CHACHA20_POLY1305_SHA256TLS_AES_256_GCM_SHA384AES256-SHAAES128-SHA",
        b"ECDHE-RSA-AES256-GCM-SHA384ECDHE-ECDSA-AES128-GCM-SHA256ECDHE-RSA-AES128-GCM-SHA256",
        b"\xa9handshake\xa4httpSSL2\xa4SSL3\xa6TLS1.0\xa6TLS1.1\xa6TLS1.2\xa6TLS1.3",
        # alerts (RFC 5246 section 7.2): 40, 70, 80
        bytes.fromhex(
            "c40715030000020228c40715030100020246c40715030300020250c40715030300020228c40715030300020246c407150301000202"
        ),
        # HelloRetryRequest (RFC 8446 section 4.1.4) for X25519, its session id left out
        bytes.fromhex("c45816030300580200005403 03".replace(" ", "")),
        bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c20"),
        bytes.fromhex("13020000 0c002b00020304003300020017".replace(" ", "")),
        bytes.fromhex("13020000 0c002b00020304003300 02001d".replace(" ", "")),
        # ServerHello of TLS 1.0 to 1.2 and the end of one
        bytes.fromhex("c41603010031020000 2d0301".replace(" ", "")),
        bytes.fromhex("c41603010051020000 4d0301".replace(" ", "")),
        bytes.fromhex("c41603020051020000 4d0302".replace(" ", "")),
        bytes.fromhex("c41603030051020000 4d0303".replace(" ", "")),
        bytes.fromhex("002f000005ff01000100c030000009ff01000100000b000403000102c02f00000dff01000100000b000403000102"),
    )
)
_PLAIN_BYTES: Final = 1536
"""Up to here a blob is not compressed: it is mostly random bytes, and a seventh less would take twice the time."""
_MOST_BYTES: Final = 2**28


def too_new(what: str) -> StoreError:
    """Return the error for something stored that only a later version knows."""
    return StoreError(f"the store holds {what}, which this version does not know: a newer version wrote it")


def pack_content(content: Any) -> bytes:
    """Return msgpack's bytes for lists, tuples, text, bytes, numbers and None, in one another."""
    # Odd arguments become lone surrogates, which must come back as they were.
    packed: bytes = msgpack.packb(content, unicode_errors="surrogatepass")
    return packed


def unpack_packed(packed: bytes) -> Unpacked:
    """Return what pack_content was given, with tuples for lists. Raises ValueError where it is damaged."""
    content: Unpacked = msgpack.unpackb(packed, use_list=False, unicode_errors="surrogatepass")
    return content


def deflate_host(content: bytes, certificates: Sequence[bytes]) -> bytes:
    """Return content with a first byte that says how to read the rest; compressed where that is smaller."""
    if len(content) > _MOST_BYTES:
        raise StoreError(f"a host of {len(content)} bytes is more than the store takes")
    if len(content) <= _PLAIN_BYTES and not certificates:
        return bytes((_PLAIN,)) + content
    compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 8, 0, b"".join((_DICTIONARY, *certificates)))
    deflated = compressor.compress(content) + compressor.flush()
    return bytes((_DEFLATED,)) + deflated if len(deflated) < len(content) else bytes((_PLAIN,)) + content


def inflate_host(blob: bytes, certificates: Sequence[bytes]) -> Unpacked:
    """Return what a blob holds; bounded, so that a doctored database can't fill the memory."""
    kind, body = blob[:1], blob[1:]
    if kind not in {bytes((_PLAIN,)), bytes((_DEFLATED,))}:
        raise too_new(f"a host of kind {kind.hex() or 'none'}")
    try:
        if kind[0] == _DEFLATED:
            body = inflate_with(body, b"".join((_DICTIONARY, *certificates)))
        stored = unpack_packed(body)
    except (zlib.error, ValueError, TypeError) as error:
        raise StoreError(f"the stored host is damaged ({error})") from error
    if not isinstance(stored, tuple) or len(stored) != FIELD_COUNT:
        raise StoreError("the stored host is damaged (it is no list of what belongs to a host)")
    return stored


def deflate_with(content: bytes, dictionary: bytes) -> bytes:
    """Return content compressed as small as it gets; inflate_with needs the same dictionary."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 8, 0, dictionary)
    return compressor.compress(content) + compressor.flush()


def inflate_with(deflated: bytes, dictionary: bytes) -> bytes:
    """Return what deflate_with was given. Raises ValueError or zlib.error where it is damaged."""
    decompressor = zlib.decompressobj(15, dictionary)
    content = decompressor.decompress(deflated, _MOST_BYTES)
    if not decompressor.eof:
        # The checksum stands at the end: what has no end is not known to be right.
        raise ValueError("bytes without an end")
    return content
