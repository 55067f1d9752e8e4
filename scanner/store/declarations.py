"""Declarations as bytes, for the store. Pure."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Final

from pydantic import TypeAdapter, ValidationError

from scanner.model.declared import Declaration
from scanner.store.stored import StoreError

MOST_BYTES: Final = 256 * 2**20
"""More than this, unpacked, is nothing that this program stored."""


def pack_declaration(declaration: Declaration) -> bytes:
    """Return a declaration as compressed JSON."""
    return zlib.compress(_adapter().dump_json(declaration))


def unpack_declaration(data: bytes) -> Declaration:
    """Return what pack_declaration was given. Raises StoreError where it is something else."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, MOST_BYTES)
        if unpacker.unconsumed_tail:
            raise StoreError("a stored declaration is too large")
        return _adapter().validate_json(text)
    except (zlib.error, ValidationError) as error:
        # The library's message would quote what is stored.
        raise StoreError("a stored declaration can't be read; a newer program may have written it") from error


@cache
def _adapter() -> TypeAdapter[Declaration]:
    return TypeAdapter(Declaration)
