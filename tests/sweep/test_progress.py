"""Progress, compared with a plain set."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.sweep.progress import Progress

_STEPS = st.integers(0, 400).flatmap(
    lambda count: st.tuples(st.just(count), st.lists(st.integers(0, max(0, count - 1)), max_size=500 if count else 0))
)


def _low(count, done):
    return next((k for k in range(count) if k not in done), count)


def _check(progress, count, done):
    assert progress.count == count
    assert progress.done_count == len(done)
    assert progress.low == _low(count, done)
    assert [k for k in range(count) if progress.is_done(k)] == sorted(done)


@given(_STEPS)
def test_it_is_a_set(steps):
    count, marks = steps
    progress, done = Progress(count), set()
    for k in marks:
        progress.mark(k)
        done.add(k)
        assert progress.low == _low(count, done)
    _check(progress, count, done)
    _check(Progress.decode(progress.encode()), count, done)


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_a_decoded_one_goes_on(seed, window):
    rng = random.Random(seed)
    count = 1500
    # Marked as a scan does: about in order, finished late by up to `window`.
    marks = sorted(range(count), key=lambda k: k + rng.randrange(window))
    progress, done = Progress(count), set()
    for at, k in enumerate(marks):
        progress.mark(k)
        done.add(k)
        if at % 500 == 250:
            progress = Progress.decode(progress.encode())
            _check(progress, count, done)
    assert (progress.low, progress.done_count) == (count, count)


def test_memory_is_what_lies_between_the_lowest_open_and_the_highest_done():
    count = 300_000
    progress = Progress(count)
    for k in range(0, count, 2):  # a pair the wrong way round: two open at most
        progress.mark(k + 1)
        progress.mark(k)
        assert len(progress._bits) <= 2048
    assert progress.low == count
    assert len(progress.encode()) < 60
    # One that stays open keeps a bit for each above it, and no more.
    progress = Progress(count)
    for k in range(1, count):
        progress.mark(k)
    assert progress.low == 0
    assert len(progress._bits) <= count // 8 + 1
    assert len(progress.encode()) < 200
    progress.mark(0)
    assert progress.low == count
    assert len(progress._bits) <= 1024


def test_a_huge_count_costs_nothing():
    progress = Progress(2**40)
    progress.mark(5)
    assert (progress.low, progress.done_count) == (0, 1)
    again = Progress.decode(progress.encode())
    assert (again.count, again.low, again.is_done(5), again.is_done(2**40 - 1)) == (2**40, 0, True, False)


@pytest.mark.parametrize("k", [-1, 10])
def test_what_is_outside_is_refused(k):
    progress = Progress(10)
    with pytest.raises(IndexError):
        progress.mark(k)
    with pytest.raises(IndexError):
        progress.is_done(k)
    with pytest.raises(ValueError, match="-1"):
        Progress(-1)


def _sample():
    progress = Progress(5000)
    for k in [*range(1000), *range(1003, 4000, 7), 4999]:
        progress.mark(k)
    return progress


def test_damage_is_told():
    data = _sample().encode()
    for end in range(len(data)):
        with pytest.raises(ValueError, match="progress"):
            Progress.decode(data[:end])
    with pytest.raises(ValueError, match="after its end"):
        Progress.decode(data + b"\x00")
    for at in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[at] ^= 1 << bit
            # A changed compression level in zlib's header (RFC 1950, FLEVEL) changes nothing that is said.
            try:
                again = Progress.decode(bytes(bad))
            except ValueError:
                continue
            assert again.encode() == data


@given(st.binary(max_size=60))
def test_garbage_is_told(data):
    for each in (data, b"\x01" + zlib.compress(data)):
        try:
            progress = Progress.decode(each)
        except ValueError:
            continue
        assert 0 <= progress.low <= progress.count
        assert progress.low <= progress.done_count <= progress.count


@pytest.mark.parametrize(
    ("count", "base", "bits"),
    [(10, 4, b""), (10, 16, b""), (10, 8, b"\x04"), (10, 8, b"\x00\x00"), (10, 0, b"\x00\x08"), (0, 0, b"\x01")],
)
def test_a_bitmap_that_does_not_fit_is_told(count, base, bits):
    head = count.to_bytes(8) + base.to_bytes(8)
    with pytest.raises(ValueError, match="beyond its count"):
        Progress.decode(b"\x01" + zlib.compress(head + bits))
