"""The bounds fit each other."""

import pytest

from scanner.listener.limits import Counters, ListenerLimits, OtherBudget, place_of


def test_the_defaults_are_those_agreed():
    limits = ListenerLimits()
    assert (limits.connections, limits.per_address) == (10_500, 1_000)
    assert (limits.hello_s, limits.whole_s) == (10.0, 20.0)
    assert limits.bytes_each_way == 64 * 1024
    assert (limits.recent_count, limits.recent_bytes) == (20_000, 64 * 1024 * 1024)


def test_no_bound_makes_another_one_useless():
    limits = ListenerLimits()
    assert limits.answers_per_address < limits.answers < limits.connections
    assert limits.per_address < limits.connections
    assert limits.hello_s < limits.whole_s < limits.api_s


def test_counters_begin_at_nothing():
    counters = Counters()
    assert all(getattr(counters, name) == 0 for name in Counters.__slots__)


@pytest.mark.parametrize(
    ("address", "place"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"), ("::1", "::/64")],
)
def test_places(address, place):
    assert place_of(address) == place


def test_garbage_is_recorded_up_to_its_bound_and_again_later():
    budget = OtherBudget(ListenerLimits(other_per_address=2, other_window_s=60))
    assert [budget.may_record("a", now_s=1) for _ in range(3)] == [True, True, False]
    assert budget.may_record("b", now_s=2)
    assert budget.may_record("a", now_s=61)


def test_places_are_bounded_too():
    budget = OtherBudget(ListenerLimits())
    assert all(budget.may_record(f"p{number}", now_s=1) for number in range(10_000))
    assert not budget.may_record("one more", now_s=1)
    assert budget.may_record("p5", now_s=1)
