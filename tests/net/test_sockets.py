"""What only the network on asyncio's own sockets has. The rest is in test_network.py for both."""

from __future__ import annotations

import asyncio

import pytest

from scanner.model.exchange import Ending
from scanner.net.sockets import AsyncioNetwork
from tests.net import peers
from tests.net.peers import REPLY, ask, peer

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("behave", [peers.reply_and_hold, peers.reply_and_reset, peers.close_after_hello])
def test_works_in_a_loop_without_epoll(behave):
    """As on systems that have only select."""
    import selectors  # noqa: PLC0415

    async def main():
        network = AsyncioNetwork()
        async with peer(behave) as port:
            log = await network.drive(ask(), address="127.0.0.1", port=port, deadline_s=20, max_bytes=100)
        await network.close()
        return log

    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    try:
        log = loop.run_until_complete(main())
    finally:
        loop.close()
    expected = {
        peers.reply_and_hold: (REPLY, Ending.COMPLETE),
        peers.reply_and_reset: (REPLY[:7], Ending.PEER_RESET),
        peers.close_after_hello: (b"", Ending.PEER_CLOSED),
    }
    assert (log.received, log.ending) == expected[behave]


def test_cancelling_from_outside_is_passed_on_and_no_time_out():
    """asyncio.timeout inside drive must not swallow the cancellation of its task."""

    async def main():
        network = AsyncioNetwork()
        async with peer(peers.hold) as port:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await network.drive(ask(), address="127.0.0.1", port=port, deadline_s=30, max_bytes=100)

    asyncio.run(main())
