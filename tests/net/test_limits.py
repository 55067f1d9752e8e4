"""The clock of asyncio-throttle and the event loop's sleep are scripted where the rate itself is what is tested."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.net.limits import Dispatcher, KeyedLimit


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time only passes when nothing else is to be done."""

    def __init__(self):
        super().__init__()
        self.now = 1_000.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


def run_scripted(main, monkeypatch):
    """Run a coroutine in scripted time, which asyncio-throttle sees too."""
    loop = Clock()
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


@pytest.mark.parametrize("rate", [1, 3, 7.5, 10, 33, 100, 1_000, 2_500])
@pytest.mark.parametrize("workers", [None, 8])
def test_never_more_than_a_tenth_of_a_second_at_once(monkeypatch, rate, workers):
    times = permits_at(rate, 400 if rate >= 100 else 40, monkeypatch, workers=workers)
    burst = max(1, round(rate * 0.1))
    for first in range(len(times) - burst):
        # Whatever window of a burst's length one looks through: no more than a burst is in it.
        assert times[first + burst] - times[first] >= burst / rate - 1e-9
    # No more than the rate allows and a burst in any longer time either.
    for at, moment in enumerate(times, 1):
        assert at <= rate * moment + burst + 1e-6


@pytest.mark.parametrize("rate", [3, 10, 100, 1_000, 2_500])
def test_never_starves(monkeypatch, rate):
    count = 400 if rate >= 100 else 40
    times = permits_at(rate, count, monkeypatch)
    assert len(times) == count
    # A library that polls is a little late each time: three quarters of the rate must get through.
    assert times[-1] <= count / rate / 0.75


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
        await dispatcher.run()  # has nothing to do
        await asyncio.gather(*(dispatcher.permit() for _ in range(10_000)))

    asyncio.run(main())


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

    # 20 at once, then 100 at 200 a second.
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
