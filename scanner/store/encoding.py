"""Columns that need more than a database's own types: text, times, byte strings, certificates. Pure and exact."""

from __future__ import annotations

import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from scanner.store.stored import StoreError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# First byte of a stored byte string: how the rest is to be read.
_PLAIN: Final = b"\x00"
_DEFLATED: Final = b"\x01"

# RFC 8446 section 4.4.2: cert_data<1..2^24-1>.
_MAX_CERTIFICATE_BYTES: Final = 2**24
_MAX_BYTES: Final = 2**30

# A noncharacter that opens text which a database can't hold as it is (NUL, lone surrogates from odd arguments).
_ESCAPED: Final = "\ufdd0"

_Row = dict[str, Any]


def encode_certificate(der: bytes) -> _Row:
    """Return the row of ``certificates`` without its id; sha256 (32 bytes) is what certificates are told apart by."""
    return {"sha256": hashlib.sha256(der).digest(), "der": encode_bytes(der)}


def decode_certificate(stored: bytes) -> bytes:
    """Return the DER of a stored certificate; raises StoreError where it is damaged."""
    return decode_bytes(stored, limit=_MAX_CERTIFICATE_BYTES)


def encode_time(moment: datetime) -> int:
    """Return microseconds since 1970 (UTC), exactly; raises ValueError for a time without zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone can't be stored")
    return (moment - _EPOCH) // _MICROSECOND


def decode_time(microseconds: int) -> datetime:
    """Return the UTC time for microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def encode_text(text: str) -> str:
    """Return text as any database can hold it: itself, except where it has NUL or lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        if "\0" not in text and not text.startswith(_ESCAPED):
            return text
    return _ESCAPED + text.encode("unicode_escape").decode("ascii")


def decode_text(stored: str) -> str:
    """Return the text that encode_text was given."""
    if stored.startswith(_ESCAPED):
        return stored[len(_ESCAPED) :].encode("ascii").decode("unicode_escape")
    return stored


def encode_bytes(content: bytes) -> bytes:
    """Return content with a first byte that says how the rest is to be read; compressed where that is smaller."""
    deflated = zlib.compress(content)
    return _DEFLATED + deflated if len(deflated) < len(content) else _PLAIN + content


def decode_bytes(stored: bytes, *, limit: int = _MAX_BYTES) -> bytes:
    """Return the content that encode_bytes was given: at most limit bytes.

    Raises StoreError where it is damaged or of a kind this version does not know.
    """
    kind, body = stored[:1], stored[1:]
    if kind == _PLAIN:
        return body
    if kind != _DEFLATED:
        raise StoreError(f"stored bytes are of kind {kind.hex() or 'none'}, which this version does not know")
    decompressor = zlib.decompressobj()
    try:
        # Bounded, so that a doctored database can't fill the memory; the one more is for the checksum to be read.
        content = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise StoreError(f"stored bytes are damaged ({error})") from error
    if not decompressor.eof or len(content) > limit:
        # The checksum stands at the end: what has no end is not known to be right.
        raise StoreError("stored bytes are damaged (too short or too long)")
    return content
