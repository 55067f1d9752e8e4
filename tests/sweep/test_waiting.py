"""Who waits goes when its network's budget lets it, once, in order, and never too early."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.net.budgets import Budgets
from scanner.sweep.waiting import Waiting
from tests.sweep.places import host_of, steps

STEPS = steps()
NETWORKS = ["192.0.2.{}", "198.51.100.{}", "2001:db8::{}"]


def _host(network, number):
    return host_of(NETWORKS[network].format(number % 250 + 1), number, begun=STEPS)


def test_without_budgets_everybody_may_go_at_once():
    waiting = Waiting(Budgets(0))
    assert all(waiting.may_go(_host(0, number), 0.0) for number in range(100))
    assert len(waiting) == 0
    assert waiting.next_at is None
    assert waiting.maybe_next(1e9) is None


def test_a_network_goes_in_order_and_the_others_do_not_wait_for_it():
    waiting = Waiting(Budgets(1, burst_s=0))
    hosts = [_host(0, number) for number in range(5)]
    assert [waiting.may_go(host, 10.0) for host in hosts] == [True, False, False, False, False]
    assert waiting.may_go(_host(1, 9), 10.0)
    assert len(waiting) == 4
    assert set(waiting) == set(hosts[1:])
    assert waiting.next_at == pytest.approx(11.0)
    assert waiting.maybe_next(10.9) is None
    went = [waiting.maybe_next(now) for now in (11.0, 11.5, 12.0, 13.0, 14.0, 15.0)]
    assert went == [hosts[1], None, hosts[2], hosts[3], hosts[4], None]
    assert len(waiting) == 0


def test_who_comes_later_does_not_overtake_those_that_wait():
    waiting = Waiting(Budgets(1, burst_s=0))
    first, second, third = (_host(0, number) for number in range(3))
    assert waiting.may_go(first, 0.0)
    assert not waiting.may_go(second, 0.0)
    assert not waiting.may_go(third, 5.0)  # there is budget by now, but second is in front
    assert waiting.maybe_next(5.0) is second
    assert waiting.maybe_next(5.5) is None
    assert waiting.maybe_next(6.0) is third


def test_a_second_pass_waits_for_its_time_and_then_for_the_budget():
    waiting = Waiting(Budgets(1, burst_s=0))
    late, other = _host(0, 1), _host(0, 2)
    waiting.add(late, 3.0)
    assert waiting.next_at == 3.0
    assert waiting.maybe_next(2.9) is None
    assert waiting.may_go(other, 2.9)
    assert waiting.maybe_next(3.0) is None  # its time has come; its network's has not
    assert len(waiting) == 1
    assert waiting.maybe_next(3.9) is late


def test_clear_forgets_all():
    waiting = Waiting(Budgets(1, burst_s=0))
    for number in range(4):
        waiting.may_go(_host(0, number), 0.0)
    waiting.add(_host(1, 9), 5.0)
    waiting.clear()
    assert (len(waiting), list(waiting), waiting.next_at) == (0, [], None)
    assert waiting.maybe_next(100.0) is None


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["go", "go", "go", "wait", "next", "next"]),
        st.integers(0, 2),
        st.floats(0, 0.5, allow_nan=False),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(ACTIONS, st.sampled_from([1.0, 5.0, 20.0]))
def test_everybody_goes_once_and_budgets_hold(actions, per_second):
    waiting = Waiting(Budgets(per_second, burst_s=0.1))
    now, number = 100.0, 0
    due, began, gone = {}, defaultdict(list), []

    def let_go(host):
        assert host not in gone
        assert due.get(host, now) <= now + 1e-9
        gone.append(host)
        began[host.network].append(now)

    for action, network, delay_s in actions:
        now += delay_s
        if action == "next":
            host = waiting.maybe_next(now)
            if host is not None:
                let_go(host)
            continue
        number += 1
        host = _host(network, number)
        if action == "wait":
            due[host] = now + delay_s
            waiting.add(host, now + delay_s)
        elif waiting.may_go(host, now):
            let_go(host)
        assert len(waiting) == number - len(gone) == len(list(waiting))
    while waiting:
        assert waiting.next_at is not None
        now = max(now, waiting.next_at)
        host = waiting.maybe_next(now)
        if host is not None:
            let_go(host)
    assert len(gone) == number
    for times in began.values():
        for first, begin in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= per_second * (times[last] - begin + 0.1) + 1 + 1e-6
