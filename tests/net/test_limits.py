"""The clock of asyncio-throttle and the event loop's sleep are scripted where the rate itself is what is tested."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.net.limits import Dispatcher, KeyedLimit


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time only passes when nothing else is to be done. late: how late it comes each time."""

    def __init__(self, late=lambda: 0.0):
        super().__init__()
        self.now = 1_000.0
        self.late = late

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when) + self.late()
        super()._run_once()


def run_scripted(main, monkeypatch, late=lambda: 0.0):
    """Run a coroutine in scripted time, which asyncio-throttle sees too."""
    loop = Clock(late)
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: loop.now)
        try:
            return loop.run_until_complete(main())
        finally:
            loop.close()


def permits_at(rate, count, monkeypatch, *, workers=None):
    """Return the times at which count permits were handed out, to as many waiters at once or to so many workers."""
    times = []

    async def main():
        loop = asyncio.get_running_loop()
        dispatcher = Dispatcher(rate)
        running = asyncio.ensure_future(dispatcher.run())

        async def take(how_often):
            for _ in range(how_often):
                await dispatcher.permit()
                times.append(loop.time() - 1_000.0)

        among = workers or count
        await asyncio.gather(*(take(count // among) for _ in range(among)))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_scripted(main, monkeypatch)
    return times


def assert_no_burst(times, rate, *, spare=0):
    """Whatever window of 0.08 s (or of 0.8 turns) one looks through: no more than 0.1 s worth (or one) is in it."""
    burst = max(1, round(rate * 0.1))
    for first in range(len(times) - burst - spare):
        assert times[first + burst + spare] - times[first] >= 0.8 * burst / rate - 1e-9


def assert_bounded(times, rate):
    """Whatever window of t seconds one looks through: at most rate x t + 0.1 s worth + 1."""
    lowest = float("inf")
    for number, moment in enumerate(times):
        lowest = min(lowest, number - rate * moment)
        assert number + 1 - rate * moment - lowest <= 0.1 * rate + 1 + 1e-6 * rate + 1e-6


@pytest.mark.parametrize("rate", [1, 3, 7.5, 10, 33, 100, 1_000, 2_500])
@pytest.mark.parametrize("workers", [None, 8])
def test_never_more_than_a_tenth_of_a_second_at_once(monkeypatch, rate, workers):
    times = permits_at(rate, 400 if rate >= 100 else 40, monkeypatch, workers=workers)
    assert_no_burst(times, rate)
    assert_bounded(times, rate)


class Lane:
    """A client without tasks: starts one connection a call, unless it pauses. pauses: seconds, by what was started."""

    def __init__(self, dispatcher, pauses=None):
        self.dispatcher = dispatcher
        self.pauses = dict(pauses or {})
        self.times = []
        self.calls = 0
        dispatcher.attach(self.pull)

    def pull(self):
        self.calls += 1
        pause_s = self.pauses.pop(len(self.times), None)
        if pause_s is not None:
            asyncio.get_running_loop().call_later(pause_s, self.dispatcher.wake)
            return False
        self.times.append(time.monotonic() - 1_000.0)
        return True


def lane_at(rate, seconds, monkeypatch, *, late=lambda: 0.0, pauses=None):
    async def main():
        dispatcher = Dispatcher(rate)
        running = asyncio.ensure_future(dispatcher.run())
        lane = Lane(dispatcher, pauses)
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert dispatcher.achieved == len(lane.times)
        return lane

    return run_scripted(main, monkeypatch, late)


@pytest.mark.parametrize("rate", [1, 3, 10, 14, 100, 999, 5_000, 20_000])
@pytest.mark.parametrize("late_s", [0.0, 0.0011, 0.004, 0.03])
def test_rate_holds_within_two_per_cent_however_late_the_loop_comes(monkeypatch, rate, late_s):
    """A loop that polls in whole milliseconds, or is busy for 30 at a time, loses nothing of the rate."""
    seconds = max(3, 100 / rate)
    dice = random.Random(rate)
    times = lane_at(rate, seconds, monkeypatch, late=lambda: dice.random() * late_s).times
    assert_no_burst(times, rate)
    assert_bounded(times, rate)
    assert 0.98 * rate * seconds - 1 <= len(times) <= 1.02 * rate * seconds + 1


@given(
    rate=st.one_of(st.floats(1, 50), st.integers(50, 20_000)),
    late=st.lists(st.floats(0, 0.3), min_size=1, max_size=20),
    pauses=st.dictionaries(st.integers(0, 300), st.floats(0, 3), max_size=20),
)
@settings(deadline=None, max_examples=80)
def test_no_window_holds_more_than_it_may_whatever_comes_and_goes(rate, late, pauses):
    turns = itertools.cycle(late)
    with pytest.MonkeyPatch.context() as monkeypatch:
        lane = lane_at(rate, min(20, 500 / rate), monkeypatch, late=lambda: next(turns), pauses=pauses)
    assert_bounded(lane.times, rate)
    assert_no_burst(lane.times, rate, spare=1)
    # Asked once a turn and once a pause: what has nothing to start is not asked over and over.
    assert lane.calls <= len(lane.times) + len(pauses)


@pytest.mark.parametrize("rate", [5, 200, 10_000])
def test_nothing_is_saved_up_over_a_pause_above_a_tenth_of_a_second(monkeypatch, rate):
    begun = rate // 5
    times = lane_at(rate, 12 if rate < 10_000 else 11.5, monkeypatch, pauses={begun: 10.0}).times
    assert_bounded(times, rate)
    resumed = times[begun]
    assert resumed - times[begun - 1] >= 10
    at_once = sum(1 for moment in times[begun:] if moment - resumed < 0.001)
    assert 1 <= at_once <= max(1, rate * 0.1 + 1)


@pytest.mark.parametrize("rate", [20, 1_000])
def test_a_lane_that_comes_and_goes_quickly_still_gets_its_rate(monkeypatch, rate):
    """A permit that pull did not want is held back, not burnt: pauses of less than a turn cost nothing."""
    pauses = dict.fromkeys(range(0, 10 * rate, 2), 0.4 / rate)
    times = lane_at(rate, 5, monkeypatch, pauses=pauses).times
    assert len(times) >= 0.98 * rate * 5
    assert_bounded(times, rate)


def test_futures_are_served_before_the_lane(monkeypatch):
    async def main():
        dispatcher = Dispatcher(100)
        running = asyncio.ensure_future(dispatcher.run())
        lane = Lane(dispatcher)
        await asyncio.sleep(0.2)
        before = len(lane.times)
        await asyncio.gather(*(dispatcher.permit() for _ in range(50)))
        during = len(lane.times) - before
        await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return before, during, len(lane.times) - before

    before, during, after = run_scripted(main, monkeypatch)
    assert before >= 19
    assert during == 0
    assert after >= 19


def test_wake_from_within_pull_is_not_lost(monkeypatch):
    async def main():
        dispatcher = Dispatcher(100)
        running = asyncio.ensure_future(dispatcher.run())
        answers = [False, True, True]

        def pull():
            if len(answers) == 3:
                dispatcher.wake()
            return bool(answers) and answers.pop(0)

        dispatcher.attach(pull)
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return answers

    assert run_scripted(main, monkeypatch) == []


def test_what_pull_raises_ends_the_dispatcher(monkeypatch):
    async def main():
        dispatcher = Dispatcher(100)
        dispatcher.attach(lambda: 1 / 0)
        await dispatcher.run()

    with pytest.raises(ZeroDivisionError):
        run_scripted(main, monkeypatch)


@given(rates=st.lists(st.sampled_from([1, 2, 30, 500, 4_000]), min_size=2, max_size=5))
@settings(deadline=None, max_examples=40)
def test_a_changed_rate_holds_from_then_on(rates):
    async def main():
        dispatcher = Dispatcher(rates[0])
        running = asyncio.ensure_future(dispatcher.run())
        lane = Lane(dispatcher)
        parts = []
        for rate in rates:
            dispatcher.set_rate(rate)
            begun = len(lane.times)
            await asyncio.sleep(4.3)  # in the middle of a turn at 1 a second
            parts.append((rate, lane.times[begun:]))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return parts

    with pytest.MonkeyPatch.context() as monkeypatch:
        parts = run_scripted(main, monkeypatch)
    for rate, times in parts:
        assert_bounded(times, rate)
        # Up to 0.1 s until it is seen.
        assert 0.98 * rate * 4.15 - 1 <= len(times) <= 1.02 * (rate * 4.3 + rate * 0.1 + 1)


def test_a_limit_can_come_and_go_while_running(monkeypatch):
    async def main():
        dispatcher = Dispatcher(0)
        running = asyncio.ensure_future(dispatcher.run())
        lane = Lane(dispatcher)
        assert dispatcher.try_take()
        await asyncio.sleep(1)
        assert lane.calls == 0
        dispatcher.set_rate(10)
        assert not dispatcher.try_take()
        await asyncio.sleep(1.05)
        limited = len(lane.times)
        waiting = [asyncio.ensure_future(dispatcher.permit()) for _ in range(1_000)]
        await asyncio.sleep(0)
        dispatcher.set_rate(0)
        await asyncio.wait_for(asyncio.gather(*waiting), 0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return limited, dispatcher.achieved - len(lane.times)

    limited, others = run_scripted(main, monkeypatch)
    assert 10 <= limited <= 12
    assert others == 1_001


def test_order_of_arrival_is_kept_and_cancelled_waiters_cost_nobody_his_turn(monkeypatch):
    served = []

    async def main():
        dispatcher = Dispatcher(10)
        running = asyncio.ensure_future(dispatcher.run())

        async def take(number):
            await dispatcher.permit()
            served.append(number)

        waiting = [asyncio.ensure_future(take(number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in waiting[1::2]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return asyncio.get_running_loop().time() - 1_000.0

    took = run_scripted(main, monkeypatch)
    assert served == list(range(0, 20, 2))
    # Ten permits at ten a second: those who left are not paid for.
    assert took < 1.3


def test_waiters_that_come_later_are_served_too(monkeypatch):
    async def main():
        dispatcher = Dispatcher(5)
        running = asyncio.ensure_future(dispatcher.run())
        for _ in range(3):
            await dispatcher.permit()
            await asyncio.sleep(30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return asyncio.get_running_loop().time() - 1_000.0

    assert 90 <= run_scripted(main, monkeypatch) < 91


def test_rate_zero_is_no_limit():
    async def main():
        dispatcher = Dispatcher(0)
        async with asyncio.timeout(5):  # nobody runs it: nothing waits for it
            await asyncio.gather(*(dispatcher.permit() for _ in range(10_000)))
        return dispatcher.achieved

    assert asyncio.run(main()) == 10_000


def test_rate_holds_in_real_time():
    async def main():
        dispatcher = Dispatcher(200)
        running = asyncio.ensure_future(dispatcher.run())
        begin = time.monotonic()
        await asyncio.gather(*(dispatcher.permit() for _ in range(120)))
        took = time.monotonic() - begin
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return took

    # 120 at 200 a second; asked for again only as the machine allows, so the upper bound is wide.
    assert 0.5 <= asyncio.run(main()) < 5


# KeyedLimit


@given(
    count=st.integers(1, 4),
    jobs=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), max_size=40),
)
@settings(deadline=None, max_examples=60)
def test_bound_holds_for_each_key_and_keys_are_forgotten(count, jobs):
    holding = Counter()
    most = Counter()
    done = []

    async def main():
        limit = KeyedLimit(count)

        async def job(key, steps, has_trouble):
            async with limit.hold(key):
                holding[key] += 1
                most[key] = max(most[key], holding[key])
                for _ in range(steps):
                    await asyncio.sleep(0)
                holding[key] -= 1
                done.append(key)
                if has_trouble:
                    raise RuntimeError

        tasks = [asyncio.ensure_future(job(*each)) for each in jobs]
        await asyncio.gather(*tasks, return_exceptions=True)
        return limit

    limit = asyncio.run(main())
    wanted = Counter(key for key, _, _ in jobs)
    assert Counter(done) == wanted
    # No more than the bound, and as many where so many were there at once.
    assert all(most[key] <= count for key in wanted)
    assert all(most[key] == min(count, wanted[key]) for key in wanted if all(s > 0 for k, s, _ in jobs if k == key))
    assert limit._places == {}


def test_try_enter_takes_a_place_or_none_and_shares_it_with_those_who_wait():
    async def main():
        limit = KeyedLimit(2)
        assert limit.try_enter("a")
        assert limit.try_enter("a")
        assert not limit.try_enter("a")
        assert limit.try_enter("b")
        waiting = asyncio.ensure_future(limit.enter("a"))
        await asyncio.sleep(0)
        limit.leave("a")
        async with asyncio.timeout(5):
            await waiting
        assert not limit.try_enter("a")  # the place went to the one who waited
        for key in "aab":
            limit.leave(key)
        return limit._places

    assert asyncio.run(main()) == {}


def test_keys_do_not_wait_for_each_other():
    async def main():
        limit = KeyedLimit(1)
        async with limit.hold("a"), asyncio.timeout(5), limit.hold("b"):
            return True

    assert asyncio.run(main())


def test_cancelled_waiter_gives_its_place_to_the_next():
    async def main():
        limit = KeyedLimit(1)
        got = []

        async def job(name):
            async with limit.hold("a"):
                got.append(name)
                await asyncio.sleep(0.01)

        async with limit.hold("a"):
            waiting = [asyncio.ensure_future(job(name)) for name in range(4)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            waiting[2].cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting, return_exceptions=True)
        return got, dict(limit._places)

    assert asyncio.run(main()) == ([1, 3], {})
