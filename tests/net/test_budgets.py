"""Budgets and back-off on a clock that the tests turn."""

from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.net.budgets import (
    LOWEST_RATE,
    PAUSE_S,
    RECOVERY_S,
    Backoff,
    Budgets,
    network_key,
    network_text,
)

ADDRESS_LENGTHS = {4: 24, 6: 64}


@given(
    address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.just(ipaddress.ip_address("::"))),
    other=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    within=st.integers(0, 255),
)
def test_key_is_one_for_each_24_and_each_64(address, other, within):
    """ipaddress says what the network is."""
    network = ipaddress.ip_network((address, ADDRESS_LENGTHS[address.version]), strict=False)
    key = network_key(int(address), address.version)
    assert network_text(key) == str(network)
    assert network_key(int(network.network_address) + within, address.version) == key
    is_same = other.version == address.version and other in network
    assert (network_key(int(other), other.version) == key) == is_same


def assert_bounded(times, rate, burst):
    """Whatever window of t seconds one looks through: at most rate x t + burst."""
    lowest = float("inf")
    for number, moment in enumerate(times):
        lowest = min(lowest, number - rate * moment)
        assert number + 1 - rate * moment - lowest <= burst + 1e-6


steps = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.7, 3.0, 40.0]), st.integers(0, 2), st.integers(1, 12)),
    min_size=1,
    max_size=80,
)


@given(
    rate=st.one_of(st.floats(0.05, 5), st.integers(5, 200)),
    burst_s=st.sampled_from([0.0, 0.1, 1.0]),
    steps=steps,
)
@settings(deadline=None)
def test_a_budget_is_never_exceeded(rate, burst_s, steps):
    budgets = Budgets(rate, burst_s=burst_s)
    now = 100.0
    went = {0: [], 1: [], 2: []}
    for wait_s, key, count in steps:
        now += wait_s
        for _ in range(count):
            if budgets.delay(key, now) == 0.0:
                went[key].append(now)
    for times in went.values():
        assert_bounded(times, rate, rate * burst_s + 1)


@pytest.mark.parametrize("rate", [0.5, 1, 7, 100])
@pytest.mark.parametrize("key", [5, network_key(1 << 100, 6)])
def test_who_comes_back_when_told_may_go_and_the_budget_is_used(rate, key):
    budgets = Budgets(rate)
    now = 50.0
    times = []
    while now < 50.0 + 400 / rate:
        wait_s = budgets.delay(key, now)
        if wait_s:
            now += wait_s
            assert budgets.delay(key, now) == 0.0
        times.append(now)
    assert len(times) == pytest.approx(400, abs=1 + rate * 0.1 + 1)


def test_networks_do_not_pay_for_each_other():
    budgets = Budgets(1)
    assert [budgets.delay(key, 10.0) for key in range(500)] == [0.0] * 500
    assert budgets.delay(7, 10.0) == pytest.approx(1.0)


def test_a_budget_below_one_a_second_is_remembered_as_long_as_it_must():
    budgets = Budgets(0.1)
    assert budgets.delay(1, 100.0) == 0.0
    for second in range(1, 10):
        budgets.delay(2, 100.0 + second)
        assert budgets.delay(1, 100.0 + second) == pytest.approx(10 - second)


def test_no_budget_is_no_delay():
    budgets = Budgets(0)
    assert {budgets.delay(3, 10.0) for _ in range(10_000)} == {0.0}
    assert budgets.rate(3, 10.0) == 0.0


@pytest.mark.parametrize("rate", [0, 50])
def test_memory_holds_the_networks_of_the_last_seconds_only(rate):
    """Through the 65,536 networks of a /8, four times, at 20,000 a second: never more than two seconds of them."""
    budgets = Budgets(rate)
    now, most = 0.0, 0
    for number in range(4 * 65_536):
        now += 1 / 20_000
        budgets.delay(number % 65_536, now)
        if number % 100 == 0:
            most = max(most, len(budgets._due) + len(budgets._due_before))
            assert len(budgets._counts) + len(budgets._counts_before) <= 40_001
    assert most <= 40_001
    budgets.delay(1, now + 10)
    assert len(budgets._due) + len(budgets._due_before) + len(budgets._counts_before) <= 1


def test_observed_is_what_went_in_the_last_seconds():
    budgets = Budgets(0)
    for number in range(1_000):
        budgets.delay(9, 20.0 + number / 100)
    assert budgets.observed(9, 30.0) == pytest.approx(100, rel=0.05)
    assert budgets.observed(9, 33.0) == 0.0
    assert budgets.observed(8, 33.0) == 0.0


# Slowing down


def slowed_rates(budgets, key, now, seconds):
    """Ask 1,000 times a second; return how many went in each second."""
    return [
        sum(budgets.delay(key, now + second + part / 1_000) == 0.0 for part in range(1_000))
        for second in range(seconds)
    ]


def test_slowed_network_pauses_halves_and_doubles_every_thirty_seconds():
    budgets = Budgets(40)
    assert sum(slowed_rates(budgets, 1, 0.0, 2)) == pytest.approx(80, abs=4)
    before, rate = budgets.slow_down(1, 2.0)
    assert before == pytest.approx(40, rel=0.1)
    assert rate == before / 2
    again = budgets.slow_down(1, 2.0)
    assert again == (rate, rate / 2)
    went = slowed_rates(budgets, 1, 2.0, 90)
    assert sum(went[:5]) == 0
    assert all(9 <= count <= 11 for count in went[6:34])
    assert all(19 <= count <= 22 for count in went[36:64])
    assert all(38 <= count <= 42 for count in went[67:])
    assert budgets.slowed_count == 0
    assert budgets.delay(2, 92.0) == 0.0


def test_half_of_what_was_observed_where_there_is_no_budget_or_it_was_not_used():
    for budget in (0, 1_000):
        budgets = Budgets(budget)
        for number in range(200):
            budgets.delay(1, 10.0 + number / 50)
        before, rate = budgets.slow_down(1, 14.0)
        assert before == pytest.approx(50, rel=0.1)
        assert rate == before / 2


def test_one_a_second_is_left_and_a_lower_budget_is_not_raised():
    budgets = Budgets(0)
    for _ in range(20):
        budgets.slow_down(1, 10.0)
    assert budgets.rate(1, 10.0) == LOWEST_RATE
    assert sum(slowed_rates(budgets, 1, 15.0, 20)) == 20
    low = Budgets(0.2)
    low.slow_down(1, 10.0)
    assert low.rate(1, 10.0) == 0.2
    assert low.delay(1, 10.0) == pytest.approx(PAUSE_S)


def test_trouble_puts_recovery_off():
    budgets = Budgets(64)
    for _ in range(3):
        budgets.slow_down(1, 0.0)
    low = budgets.rate(1, 0.0)
    for now in range(20, 200, 20):
        budgets.note_trouble(1, float(now))
        assert budgets.rate(1, float(now)) == low
    assert budgets.rate(1, 180 + RECOVERY_S + 0.1) == 2 * low


def test_what_went_before_recovery_counts_after_it():
    budgets = Budgets(4)
    for number in range(8):
        budgets.delay(1, number / 4)
    budgets.slow_down(1, 2.0)
    recovered_at = 2.0 + PAUSE_S + RECOVERY_S
    assert budgets.delay(1, recovered_at - 0.05) == 0.0
    assert budgets.delay(1, recovered_at) >= 0.2 - 1e-6
    assert budgets.rate(1, recovered_at) == 4


def test_networks_nobody_asks_for_any_more_recover_and_are_forgotten():
    budgets = Budgets(0)
    for key in range(5_000):
        budgets.slow_down(key, 0.0)
    assert budgets.slowed_count == 5_000
    for now in range(1_000):
        budgets.delay(10_000 + now, float(now))
    assert budgets.slowed_count == 0


class Network:
    """What went into one network, with the rates that held, to be checked independently."""

    def __init__(self):
        self.times = []
        self.slowed = []  # (when, to what rate)


@given(
    budget=st.sampled_from([0, 0.5, 3, 20, 100]),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.01, 0.2, 1.0, 6.0, 31.0]), st.integers(0, 2), st.integers(0, 9), st.booleans()
        ),
        min_size=1,
        max_size=150,
    ),
)
@settings(deadline=None)
def test_budgets_hold_while_backing_off(budget, steps):
    """Nothing goes in the pause, no more than the lowered rate until it recovers, never more than the budget."""
    budgets = Budgets(budget)
    backoff = Backoff(budgets)
    now = 10.0
    networks = [Network() for _ in range(3)]
    slow_down = budgets.slow_down

    def noted(key, at):
        before, rate = slow_down(key, at)
        networks[key].slowed.append((at, rate))
        return before, rate

    budgets.slow_down = noted
    for wait_s, key, host, is_trouble in steps:
        now += wait_s
        for _ in range(4):
            if budgets.delay(key, now) == 0.0:
                networks[key].times.append(now)
        for each in range(3):
            backoff.note(key, host + each, now, is_trouble=is_trouble)
    for network in networks:
        if budget:
            assert_bounded(network.times, budget, budget * 0.1 + 1)
        for at, rate in network.slowed:
            # It recovers PAUSE_S + RECOVERY_S later at the earliest; a further slow-down only lowers it.
            after = [each for each in network.times if at < each < at + PAUSE_S + RECOVERY_S]
            assert [each for each in after if each < at + PAUSE_S] == []
            assert_bounded(after, rate, 1)
    told = {each.network: each.count for each in backoff.describe().networks}
    assert told == {network_text(key): len(each.slowed) for key, each in enumerate(networks) if each.slowed}


# When is it trouble enough


def run_backoff(outcomes, *, budget=100, step_s=0.1):
    """outcomes: (network, host, is trouble), one each step_s; return the back-off and the factors asked for."""
    factors = []
    backoff = Backoff(Budgets(budget), factors.append)
    now = 1_000.0
    for key, host, is_trouble in outcomes:
        now += step_s
        backoff.note(key, host, now, is_trouble=is_trouble)
    return backoff, factors


def slowed(outcomes, **given):
    return [each.network for each in run_backoff(outcomes, **given)[0].describe().networks]


T, G = True, False


@pytest.mark.parametrize(
    ("pattern", "hosts", "is_slowed"),
    [
        ([T] * 5, [1, 2, 3, 1, 2], True),
        ([T] * 4, [1, 2, 3, 4], False),
        ([T, G] * 5, range(10), True),
        ([T, G, G] * 10, range(30), False),  # a third: never five of ten
        ([G] * 50 + [T] * 5, range(55), True),  # what was good before does not hide it
        ([T] * 4 + [G] * 6 + [T] * 4, range(14), False),
        ([T] * 30, [1] * 30, True),  # alone in its network
        ([T, T, G] * 10, [1, 1, 2] * 10, False),  # one bad host beside a good one
        ([T, T, G] * 10, [1, 2, 3] * 10, False),  # two bad hosts beside a good one
        ([T, T, T, G] * 10, [1, 2, 3, 4] * 10, True),
        ([T] * 30, [1, 2] * 15, True),  # all that were heard
    ],
)
def test_clusters_slow_a_network_down_and_single_troubles_do_not(pattern, hosts, is_slowed):
    outcomes = [(0x0A0203, host, is_trouble) for is_trouble, host in zip(pattern, hosts, strict=True)]
    assert slowed(outcomes) == (["10.2.3.0/24"] if is_slowed else [])


def test_troubles_of_other_networks_and_of_long_ago_do_not_count():
    assert slowed([(number % 4, number, True) for number in range(16)]) == []
    assert slowed([(1, number, True) for number in range(40)], step_s=RECOVERY_S / 4) == []


def test_in_the_pause_nothing_is_held_against_it():
    """Connections that were under way still end: that is not another reason."""
    backoff, _ = run_backoff([(1, number, True) for number in range(5 + 40)], step_s=0.1)
    assert [each.count for each in backoff.describe().networks] == [1]
    again, _ = run_backoff([(1, number, True) for number in range(5 + 60)], step_s=0.1)
    assert [each.count for each in again.describe().networks] == [2]


def test_many_networks_at_once_halve_the_whole_rate_and_it_recovers():
    outcomes = [(key, host, True) for key in range(5) for host in range(5)]
    backoff, factors = run_backoff(outcomes)
    assert factors == [0.5]
    report = backoff.describe()
    assert report.factor == 0.5
    assert report.halved_at_s == (pytest.approx(1_002.5),)
    assert len(report.networks) == report.slowed_count == 5
    backoff.tick(1_002.5 + PAUSE_S + RECOVERY_S - 0.1)
    assert factors == [0.5]
    backoff.tick(1_002.5 + PAUSE_S + RECOVERY_S + 0.1)
    backoff.tick(1_500.0)
    assert factors == [0.5, 1.0]
    assert backoff.factor == 1.0


def test_four_networks_are_not_everywhere():
    assert run_backoff([(key, host, True) for key in range(4) for host in range(7)])[1] == []


def test_a_sweep_that_meets_each_network_once_is_slowed_as_a_whole():
    """No cluster anywhere, and yet half of all hosts no longer answer: something in front of us."""
    backoff, factors = run_backoff([(number, number << 8, number % 2 == 0) for number in range(200)], step_s=0.01)
    assert factors == [0.5]
    assert backoff.describe().networks == ()
    assert run_backoff([(number, number << 8, number % 3 == 0) for number in range(200)], step_s=0.01)[1] == []


def test_the_whole_rate_has_a_lowest_factor():
    _, factors = run_backoff([(number, number << 8, True) for number in range(5_000)], step_s=0.1)
    assert factors == [0.5, 0.25, 0.125, 1 / 16, 1 / 32, 1 / 64]


def test_good_outcomes_leave_nothing_behind():
    dice = random.Random(3)
    backoff, factors = run_backoff([(dice.getrandbits(24), number, False) for number in range(50_000)])
    assert backoff._outcomes == {}
    assert factors == []


def test_networks_with_a_single_trouble_are_forgotten():
    backoff, _ = run_backoff(
        [(number, number << 8, number % 4 == 0) for number in range(100_000)], step_s=RECOVERY_S / 1_000
    )
    assert len(backoff._outcomes) <= 300


def test_what_was_slowed_down_is_told_up_to_a_thousand_networks():
    outcomes = [(key, host, True) for key in range(1_010) for host in range(5)]
    report = run_backoff(outcomes, step_s=1.0)[0].describe()
    assert len(report.networks) == 1_000
    assert report.untold_count == 10
    first = report.networks[0]
    assert (first.network, first.first_at_s, first.count) == ("0.0.0.0/24", pytest.approx(1_005.0), 1)
    assert first.lowest_rate == LOWEST_RATE
