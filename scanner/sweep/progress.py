"""Which positions of an order are done, as a lowest open one and a bitmap above it. Pure."""

from __future__ import annotations

import struct
import zlib

_VERSION = 1
_HEAD = struct.Struct(">QQ")  # count, base
_COMPACT_BYTES = 1024
_FULL = 0xFF


class Progress:
    """The set of positions below count that are done.

    Memory is what lies between the lowest open position and the highest done one, a bit for each: positions are to be
    marked about in their order.
    """

    __slots__ = ("_base", "_bits", "_count", "_done_count", "_low")

    def __init__(self, count: int) -> None:
        if count < 0:
            raise ValueError(f"progress of {count} things")
        self._count = count
        self._done_count = 0
        self._low = 0
        self._base = 0  # the position of the bitmap's first bit: a multiple of 8, all below it are done
        self._bits = bytearray()

    @property
    def count(self) -> int:
        """How many positions there are."""
        return self._count

    @property
    def done_count(self) -> int:
        """How many of them are done."""
        return self._done_count

    @property
    def low(self) -> int:
        """The lowest position that is not done; count where all are."""
        return self._low

    def is_done(self, k: int) -> bool:
        """Return whether position k is done. Raises IndexError outside of [0, count)."""
        if not 0 <= k < self._count:
            raise IndexError(k)
        if k < self._low:
            return True
        byte = (k - self._base) >> 3
        return byte < len(self._bits) and bool(self._bits[byte] >> (k & 7) & 1)

    def mark(self, k: int) -> None:
        """Note that position k is done; a second time changes nothing. Raises IndexError outside of [0, count)."""
        if self.is_done(k):
            return
        byte = (k - self._base) >> 3
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        self._bits[byte] |= 1 << (k & 7)
        self._done_count += 1
        if k == self._low:
            self._rise()

    def encode(self) -> bytes:
        """Return it as bytes: a version, then zlib of count, base and bitmap."""
        begin = (self._low - self._base) >> 3
        base = self._base + (begin << 3)
        return bytes([_VERSION]) + zlib.compress(_HEAD.pack(self._count, base) + self._bits[begin:])

    @classmethod
    def decode(cls, data: bytes) -> Progress:
        """Return what encode() wrote. Raises ValueError where that is not what data is."""
        if data[:1] != bytes([_VERSION]):
            raise ValueError("a progress of an unknown version")
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(data[1:])
        except zlib.error as error:
            raise ValueError("a damaged progress") from error
        if not inflater.eof or inflater.unused_data or len(content) < _HEAD.size:
            raise ValueError("a progress that is cut short or goes on after its end")
        count, base = _HEAD.unpack_from(content)
        bits = content[_HEAD.size :]
        if base % 8 or base > count or base + (len(bits) << 3) > count + 7:
            raise ValueError("a progress that goes beyond its count")
        number = int.from_bytes(bits, "little")
        if base + number.bit_length() > count:
            raise ValueError("a progress that goes beyond its count")
        progress = cls(count)
        progress._base = progress._low = base
        progress._bits = bytearray(bits)
        progress._done_count = base + number.bit_count()
        progress._rise()
        return progress

    def _rise(self) -> None:
        """Move low up to the next open position, and let go of the bitmap below it."""
        bits = self._bits
        byte = (self._low - self._base) >> 3
        while byte < len(bits) and bits[byte] == _FULL:
            byte += 1
        low = self._base + (byte << 3)
        if byte < len(bits):
            open_bits = ~bits[byte] & _FULL
            low += (open_bits & -open_bits).bit_length() - 1
        # The last byte's bits from count on are never set.
        self._low = min(low, self._count)
        if byte >= _COMPACT_BYTES:
            del bits[:byte]
            self._base += byte << 3
