"""What is kept for collection, how long a collector waits, and how a listener is named."""

import asyncio

import pytest

from scanner.listener.access import LocalAccess, RecentExchanges, render_destination
from tests.listener.samples import exchange

A, B = "a" * 16, "b" * 16


def test_what_came_is_found_by_nonce_in_order():
    recent = RecentExchanges()
    for number, nonce in enumerate((A, B, A), 1):
        recent.add(nonce, exchange(number))
    assert [each.request.id for each in recent.found([B, A, A])] == [1, 2, 3]
    assert [each.request.id for each in recent.found([A])] == [1, 3]
    assert recent.found(["c" * 16]) == []


def test_the_oldest_goes_first_when_there_are_too_many():
    recent = RecentExchanges(most_count=3)
    for number in range(1, 6):
        recent.add(A if number % 2 else B, exchange(number))
    assert len(recent) == 3
    assert [each.request.id for each in recent.found([A, B])] == [3, 4, 5]


def test_bytes_are_bounded_too():
    recent = RecentExchanges(most_bytes=100_000)
    for number in range(1, 21):
        recent.add(f"{number:016x}", exchange(number, received=bytes(30_000)))
    assert 1 <= len(recent) <= 3
    assert recent.found([f"{20:016x}"])
    assert not recent.found([f"{1:016x}"])


def collect_while(nonces, wait_s, happen):
    async def run():
        recent = RecentExchanges()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        waiting = asyncio.ensure_future(recent.collect(nonces, wait_s=wait_s))
        await happen(recent)
        found = await waiting
        assert not recent._waiters
        return [each.request.id for each in found], loop.time() - begun_s

    return asyncio.run(run())


def test_collecting_returns_as_soon_as_each_nonce_has_one():
    async def happen(recent):
        await asyncio.sleep(0.02)
        recent.add(A, exchange(1))
        await asyncio.sleep(0.05)
        recent.add(B, exchange(2))

    found, took_s = collect_while([A, B], 30, happen)
    assert found == [1, 2]
    assert 0.06 < took_s < 5


def test_collecting_waits_for_connections_that_are_still_open():
    async def happen(recent):
        recent.note_open(A)
        recent.note_open(A)
        recent.add(A, exchange(1))
        recent.note_closed(A)
        await asyncio.sleep(0.05)
        recent.add(A, exchange(2))
        recent.note_closed(A)

    assert collect_while([A], 30, happen)[0] == [1, 2]


def test_collecting_ends_on_time_with_what_there_is():
    async def happen(recent):
        recent.add(A, exchange(1))

    found, took_s = collect_while([A, B], 0.1, happen)
    assert found == [1]
    assert 0.09 < took_s < 5


def test_nothing_asked_or_no_time_needs_no_waiting():
    async def happen(recent):
        pass

    assert collect_while([], 30, happen)[0] == []
    assert collect_while([A], 0, happen)[0] == []


def test_a_cancelled_collector_leaves_nothing_behind():
    async def run():
        recent = RecentExchanges()
        waiting = asyncio.ensure_future(recent.collect([A], wait_s=30))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not recent._waiters

    asyncio.run(run())


class _Started:
    name_suffix = "l.example"
    addresses = (("2001:db8::1", 8443),)
    recent = RecentExchanges()


def test_a_listener_of_this_process():
    access = LocalAccess(_Started())
    assert (access.name_suffix, access.destination) == ("l.example", "[2001:db8::1]:8443")
    assert LocalAccess(_Started(), "l.example:443").destination == "l.example:443"
    _Started.recent.add(A, exchange(9))
    assert [each.request.id for each in asyncio.run(access.collect([A], wait_s=0))] == [9]
    asyncio.run(access.close())


def test_a_listener_that_was_not_started_has_no_destination():
    class _New(_Started):
        addresses = ()

    with pytest.raises(RuntimeError):
        _ = LocalAccess(_New()).destination


@pytest.mark.parametrize(
    ("host", "text"), [("192.0.2.7", "192.0.2.7:443"), ("::1", "[::1]:443"), ("l.example", "l.example:443")]
)
def test_destinations(host, text):
    assert render_destination(host, 443) == text
