"""The bounds fit each other."""

from scanner.listener.limits import Counters, ListenerLimits


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
