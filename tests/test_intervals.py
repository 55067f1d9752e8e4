"""Sets of numbers as intervals, compared with plain sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scanner.intervals import Intervals

_PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair))), max_size=12)


def _numbers(pairs):
    return {number for first, last in pairs for number in range(first, last + 1)}


@given(_PAIRS, _PAIRS)
def test_it_holds_what_was_put_in_as_its_longest_runs(at_once, one_by_one):
    intervals = Intervals(at_once)
    for first, last in one_by_one:
        intervals.add(first, last)
    runs = list(intervals)
    assert _numbers(runs) == _numbers([*at_once, *one_by_one])
    assert all(before[1] + 1 < after[0] for before, after in pairwise(runs))
    assert {number for number in range(80) if number in intervals} == _numbers(runs)


@given(_PAIRS, st.integers(0, 80), st.integers(-1, 30))
def test_gaps_are_what_it_does_not_hold(pairs, first, size):
    runs = list(Intervals(pairs).gaps(first, first + size))
    assert _numbers(runs) == set(range(first, first + size + 1)) - _numbers(pairs)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(runs))
    assert all(begin <= end for begin, end in runs)
