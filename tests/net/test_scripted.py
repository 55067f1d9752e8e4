"""The fake against the real networks: where both can do a thing, they must tell the same of it."""

from __future__ import annotations

import asyncio

import pytest

from scanner.model.exchange import Ending
from scanner.net.network import Network, open_network
from scanner.net.scripted import ScriptedNetwork, ScriptedReply
from tests.net import peers
from tests.net.peers import HELLO, REPLY, ask, peer


def run(script, conversation, **options):
    network = ScriptedNetwork(script)
    given = {"address": "192.0.2.1", "port": 443, "deadline_s": 5.0, "max_bytes": 100} | options
    log = asyncio.run(network.drive(conversation, **given))
    return network, log


def told(log):
    return log.sent, log.received, log.ending, log.os_error


def always(**reply):
    return lambda _address, _port, _first: ScriptedReply(**reply)


def bug():
    yield HELLO
    raise RuntimeError("a bug")


def bug_at_once():
    raise RuntimeError("a bug")
    yield b""


SAME = [
    (peers.reply_and_hold, always(pieces=(REPLY,)), ask),
    (peers.reply_and_hold, always(pieces=(REPLY,)), lambda: ask(last=b"bye")),
    (peers.reply_and_hold, always(pieces=(REPLY,), ending=Ending.TIMED_OUT_READ), lambda: ask(want=500)),
    (peers.reply_in_bytes, always(pieces=tuple(bytes([byte]) for byte in REPLY)), ask),
    (peers.reply_and_close, always(pieces=(REPLY[:7],)), ask),
    (peers.close_after_hello, always(), ask),
    (peers.close_after_hello, always(), bug),
    (peers.reply_and_hold, always(pieces=(REPLY,)), bug),
    (peers.reply_and_hold, always(pieces=(REPLY,)), bug_at_once),
    (peers.reset_after_hello, always(ending=Ending.PEER_RESET, os_error="ECONNRESET"), ask),
    (peers.flood, always(pieces=(bytes(70), bytes(70))), lambda: ask(want=1 << 30)),
]


@pytest.mark.parametrize("net", ["epoll", "asyncio"])
@pytest.mark.parametrize(("behave", "script", "conversation"), SAME)
def test_tells_what_a_real_network_tells(net, behave, script, conversation):
    async def real():
        network = open_network(net)
        async with peer(behave) as port:
            log = await network.drive(conversation(), address="127.0.0.1", port=port, deadline_s=0.5, max_bytes=100)
        await network.close()
        return log

    _, log = run(script, conversation())
    assert told(log) == told(asyncio.run(real()))


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.UNREACHABLE, Ending.TIMED_OUT_CONNECT])
def test_nothing_is_sent_where_there_is_no_connection(ending):
    network, log = run(always(ending=ending, pieces=(REPLY,), os_error="EX"), ask())
    assert told(log) == (b"", b"", ending, "EX")
    assert [asked.first_bytes for asked in network.asked] == [HELLO]


def test_script_is_given_where_and_what():
    seen = []

    def script(address, port, first):
        seen.append((address, port, first))
        return ScriptedReply()

    network, _ = run(script, ask(), port=8443, deadline_s=3.0, max_bytes=9)
    assert seen == [("192.0.2.1", 8443, HELLO)]
    (asked,) = network.asked
    assert (asked.deadline_s, asked.max_bytes) == (3.0, 9)
    assert [log.ending for log in network.logs] == [Ending.PEER_CLOSED]


def test_answer_is_asked_for_each_flight():
    def conversation():
        assert (yield b"one") == b"ONE"
        assert (yield b"two") == b"TWO"
        return b"three"

    _, log = run(always(answer=bytes.upper), conversation())
    assert told(log) == (b"onetwothree", b"ONETWO", Ending.COMPLETE, None)


def test_late_reply_meets_the_deadline():
    _, log = run(always(pieces=(REPLY,), delay_s=60), ask(), deadline_s=0.05)
    assert told(log) == (HELLO, b"", Ending.TIMED_OUT_READ, None)
    assert 0.05 <= log.elapsed_s < 5


def test_connections_at_once_are_counted():
    async def main():
        network = ScriptedNetwork(always(pieces=(REPLY,), delay_s=0.02))
        wheres = [("192.0.2.1", 443)] * 3 + [("192.0.2.1", 80)] * 2 + [("192.0.2.2", 443)]
        await asyncio.gather(*(network.drive(ask(), address=a, port=p, deadline_s=5, max_bytes=100) for a, p in wheres))
        await network.drive(ask(), address="192.0.2.3", port=443, deadline_s=5, max_bytes=100)
        await network.close()
        return network

    network = asyncio.run(main())
    assert network.most_at_once == 6
    assert network.most_by_address == {"192.0.2.1": 5, "192.0.2.2": 1, "192.0.2.3": 1}
    assert network.most_by_endpoint["192.0.2.1", 443] == 3
    assert network.most_by_endpoint["192.0.2.1", 80] == 2
    assert len(network.asked) == len(network.logs) == 7
    assert network.is_closed


def test_cancelling_closes_the_conversation_and_is_counted():
    told_of_end = []

    def conversation():
        try:
            yield HELLO
        except GeneratorExit:
            told_of_end.append(True)
            raise

    async def main():
        network = ScriptedNetwork(always(delay_s=60))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await network.drive(conversation(), address="192.0.2.1", port=1, deadline_s=90, max_bytes=9)
        return network

    network = asyncio.run(main())
    assert network.cancelled_count == 1
    assert network.logs == []
    assert told_of_end == [True]


def test_it_is_a_network():
    network: Network = ScriptedNetwork(always())  # mypy holds the signatures against each other
    assert {name for name in vars(Network) if not name.startswith("_")} <= set(dir(network))
