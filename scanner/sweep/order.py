"""The order in which a range is visited: a seeded permutation that is computed, never stored. Pure."""

from __future__ import annotations

import hashlib
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MASK = 2**64 - 1
_ROUNDS = 4


class Order:
    """A bijection of [0, count): position k in the order -> index.

    A Feistel network over pairs (left, right) of a x b >= count possible ones, with cycle walking where a pair stands
    for no index (Black and Rogaway, Ciphers with arbitrary finite domains, 2002: the generalized Feistel cipher and the
    cycle-walking cipher). a and b are next to the square root of count, so that hardly any is walked. It spreads; it is
    no secret: who knows the seed, or watches for long, can tell what comes next.

    seed is any integer. shard (i, n), with 1 <= i <= n, takes every n-th position of the whole order beginning with the
    i-th: all n together are the whole, and no two share an index. Raises ValueError for a shard or count that can't be.
    """

    __slots__ = ("_columns", "_count", "_keys", "_length", "_rows", "_start", "_step")

    def __init__(self, count: int, seed: int, shard: tuple[int, int] = (1, 1)) -> None:
        number, total = shard
        if count < 0:
            raise ValueError(f"an order of {count} things")
        if not 1 <= number <= total:
            raise ValueError(f"there is no shard {number} of {total}")
        self._count = count
        self._start, self._step = number - 1, total
        self._length = max(0, -((self._start - count) // total))
        self._rows = max(1, isqrt(max(0, count - 1)) + 1)
        self._columns = max(1, -(-count // self._rows))
        self._keys = _round_keys(seed, count)

    def __len__(self) -> int:
        """How many indexes this shard holds."""
        return self._length

    def at(self, k: int) -> int:
        """Return the index at position k of this shard. Raises IndexError outside of [0, len)."""
        if not 0 <= k < self._length:
            raise IndexError(k)
        count, rows, columns = self._count, self._rows, self._columns
        factor1, add1, factor2, add2, factor3, add3, factor4, add4 = self._keys
        index = k * self._step + self._start
        while True:
            left, right = divmod(index, columns)
            # Each round adds to one half what a hash of the other gives. The hash squares, for a product's high bits
            # alone would keep neighbours in step.
            mixed = (right * factor1 + add1) & _MASK
            left = (left + (mixed * (mixed >> 32) >> 32)) % rows
            mixed = (left * factor2 + add2) & _MASK
            right = (right + (mixed * (mixed >> 32) >> 32)) % columns
            mixed = (right * factor3 + add3) & _MASK
            left = (left + (mixed * (mixed >> 32) >> 32)) % rows
            mixed = (left * factor4 + add4) & _MASK
            index = left * columns + (right + (mixed * (mixed >> 32) >> 32)) % columns
            if index < count:
                return index

    def range(self, begin: int, end: int) -> Iterator[int]:
        """Return the indexes at positions begin to end (left out), quicker than at() for each.

        Raises IndexError where 0 <= begin <= end <= len does not hold.
        """
        if not 0 <= begin <= end <= self._length:
            raise IndexError(f"{begin} to {end}")
        return self._walk(begin, end)

    def _walk(self, begin: int, end: int) -> Iterator[int]:
        count, rows, columns = self._count, self._rows, self._columns
        factor1, add1, factor2, add2, factor3, add3, factor4, add4 = self._keys
        mask = _MASK
        step, start = self._step, self._start
        for position in range(begin * step + start, end * step + start, step):
            index = position
            while True:
                # The same rounds as in at(): a call for each would cost a third of the time.
                left, right = divmod(index, columns)
                mixed = (right * factor1 + add1) & mask
                left = (left + (mixed * (mixed >> 32) >> 32)) % rows
                mixed = (left * factor2 + add2) & mask
                right = (right + (mixed * (mixed >> 32) >> 32)) % columns
                mixed = (right * factor3 + add3) & mask
                left = (left + (mixed * (mixed >> 32) >> 32)) % rows
                mixed = (left * factor4 + add4) & mask
                index = left * columns + (right + (mixed * (mixed >> 32) >> 32)) % columns
                if index < count:
                    break
            yield index


def _round_keys(seed: int, count: int) -> tuple[int, ...]:
    """Return an odd factor and a summand for each round."""
    keys: list[int] = []
    for number in range(_ROUNDS):
        digest = hashlib.sha256(f"entra-tls order {seed} {count} {number}".encode()).digest()
        keys += (int.from_bytes(digest[:8]) | 1, int.from_bytes(digest[8:16]))
    return tuple(keys)
