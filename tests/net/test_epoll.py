"""What only the nested epoll has: one timer for all, a close that cuts. The rest is in test_network.py for both."""

from __future__ import annotations

import asyncio
import time

import pytest

from scanner.model.exchange import Ending
from scanner.net.epoll import EpollNetwork
from tests.net import peers
from tests.net.peers import HELLO, ask, open_descriptors, peer

pytestmark = pytest.mark.timeout(60)


def drive(network, port, deadline_s, conversation=None):
    return network.drive(conversation or ask(), address="127.0.0.1", port=port, deadline_s=deadline_s, max_bytes=65_536)


def test_deadlines_are_met_in_any_order():
    wanted = [0.5, 0.1, 0.3, 0.2, 0.4]

    async def main():
        network = EpollNetwork()
        async with peer(peers.hold) as port:
            logs = await asyncio.gather(*(drive(network, port, deadline_s) for deadline_s in wanted))
        await network.close()
        return logs

    for log, deadline_s in zip(asyncio.run(main()), wanted, strict=True):
        assert log.ending is Ending.TIMED_OUT_READ
        # A busy machine may be late, never early.
        assert deadline_s <= log.elapsed_s < deadline_s + 2


def test_deadline_that_came_and_went_leaves_the_timer_right_for_the_next():
    async def main():
        network = EpollNetwork()
        async with peer(peers.hold) as port:
            first = await drive(network, port, 0.1)
            second = await drive(network, port, 0.1)
        await network.close()
        return first, second

    for log in asyncio.run(main()):
        assert log.ending is Ending.TIMED_OUT_READ
        assert log.elapsed_s < 2


def test_close_cuts_what_is_under_way():
    async def main():
        before = open_descriptors()
        network = EpollNetwork()
        async with peer(peers.hold) as port:
            asking = [asyncio.ensure_future(drive(network, port, 30)) for _ in range(3)]
            await asyncio.sleep(0.1)
            begin = time.monotonic()
            await network.close()
            logs = await asyncio.gather(*asking)
            took = time.monotonic() - begin
        await network.close()  # closing again does nothing
        return logs, took, open_descriptors() - before

    logs, took, leaked = asyncio.run(main())
    assert [(log.sent, log.ending) for log in logs] == [(HELLO, Ending.CANCELLED)] * 3
    assert took < 5
    assert leaked == 0


def test_more_ready_at_once_than_one_poll_hands_out():
    """Sockets wait for the next turn, none is forgotten."""

    async def main():
        network = EpollNetwork()
        async with peer(peers.reply_and_close, backlog=700) as port:
            logs = await asyncio.gather(*(drive(network, port, 30) for _ in range(700)))
        await network.close()
        return logs

    assert {log.ending for log in asyncio.run(main())} == {Ending.PEER_CLOSED}


def test_two_networks_in_one_loop_do_not_meet():
    async def main():
        first, second = EpollNetwork(), EpollNetwork()
        async with peer(peers.reply_and_hold) as port:
            logs = await asyncio.gather(*(drive(net, port, 30) for net in (first, second) * 10))
            await first.close()
            logs.append(await drive(second, port, 30))
        await second.close()
        return logs

    assert {log.ending for log in asyncio.run(main())} == {Ending.COMPLETE}


def test_many_talks_leave_no_table_behind():
    async def main():
        network = EpollNetwork()
        async with peer(peers.reply_and_hold) as port:
            for _ in range(50):
                await drive(network, port, 0.05)
            await asyncio.sleep(0.1)
            await drive(network, port, 0.05)
        held = dict(network._talks), len(network._deadlines)
        await network.close()
        return held

    talks, deadline_count = asyncio.run(main())
    assert talks == {}
    assert deadline_count < 10
