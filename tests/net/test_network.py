"""Both networks against the same small real peers on loopback, whose own code makes happen what is expected."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import resource
import socket
import subprocess
import sys
import time

import pytest

from scanner.model.exchange import Ending
from scanner.net.epoll import EpollNetwork
from scanner.net.network import ending_of_error, error_name, open_network
from scanner.net.sockets import AsyncioNetwork
from tests.net import peers
from tests.net.peers import HELLO, REPLY, ask, open_descriptors, open_listener, peer

pytestmark = pytest.mark.timeout(60)
NETS = ("epoll", "asyncio")
SOON_S = 0.3
"""A deadline that is meant to pass."""
LATE_S = 20.0
"""A deadline that is not."""


@pytest.fixture(params=NETS)
def net(request):
    return request.param


def run(net, body):
    async def main():
        network = open_network(net)
        try:
            async with asyncio.timeout(40):
                return await body(network)
        finally:
            await network.close()

    return asyncio.run(main())


async def drive(network, port, conversation=None, *, address="127.0.0.1", deadline_s=LATE_S, max_bytes=65_536):
    return await network.drive(
        conversation or ask(), address=address, port=port, deadline_s=deadline_s, max_bytes=max_bytes
    )


def talk_to(net, behave, conversation=None, **options):
    async def body(network):
        async with peer(behave, options.get("address", "127.0.0.1")) as port:
            return await drive(network, port, conversation, **options)

    return run(net, body)


def told(log):
    """What must not depend on the network used."""
    return log.sent, log.received, log.ending, log.os_error


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_conversation_that_has_what_it_wants_is_complete(net, address):
    log = talk_to(net, peers.reply_and_hold, address=address)
    assert told(log) == (HELLO, REPLY, Ending.COMPLETE, None)
    assert 0 < log.elapsed_s < LATE_S


def test_pieces_arrive_in_order_and_none_is_lost(net):
    assert told(talk_to(net, peers.reply_in_bytes)) == (HELLO, REPLY, Ending.COMPLETE, None)


def test_fin_before_the_end_is_peer_closed(net):
    assert told(talk_to(net, peers.close_after_hello)) == (HELLO, b"", Ending.PEER_CLOSED, None)
    assert told(talk_to(net, peers.reply_and_close)) == (HELLO, REPLY[:7], Ending.PEER_CLOSED, None)


def test_conversation_is_told_of_fin_by_empty_bytes(net):
    heard = []

    def conversation():
        data = yield HELLO
        while data:
            heard.append(data)
            data = yield b""
        heard.append(data)

    talk_to(net, peers.reply_and_close, conversation())
    assert b"".join(heard) == REPLY[:7]
    assert heard[-1] == b""


def test_rst_is_peer_reset(net):
    assert told(talk_to(net, peers.reset_after_hello)) == (HELLO, b"", Ending.PEER_RESET, "ECONNRESET")


def test_reply_followed_by_rst_keeps_the_bytes(net):
    assert told(talk_to(net, peers.reply_and_reset)) == (HELLO, REPLY[:7], Ending.PEER_RESET, "ECONNRESET")


def test_rst_before_we_noticed_the_connection_is_no_refusal(net):
    """A busy server accepts and resets at once: "nothing listens there" would be a lie."""

    async def body(network):
        with open_listener() as listener:
            asking = asyncio.ensure_future(drive(network, listener.getsockname()[1]))

            def accept_and_reset():
                peers.reset(listener.accept()[0])

            # In the same turn of the loop as the connect, so that no poll comes between.
            asyncio.get_running_loop().call_soon(accept_and_reset)
            return await asking

    log = run(net, body)
    assert (log.received, log.ending, log.os_error) == (b"", Ending.PEER_RESET, "ECONNRESET")


def test_nothing_listens_is_refused(net):
    async def body(network):
        with open_listener() as listener:
            port = listener.getsockname()[1]
        return await drive(network, port)

    assert told(run(net, body)) == (b"", b"", Ending.REFUSED, "ECONNREFUSED")


def test_full_accept_queue_is_timed_out_connect(net):
    async def body(network):
        with open_listener(backlog=0) as listener:
            port = listener.getsockname()[1]
            # The kernel takes one connection more than the backlog says, then drops every SYN.
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return await drive(network, port, deadline_s=SOON_S)

    log = run(net, body)
    assert told(log) == (b"", b"", Ending.TIMED_OUT_CONNECT, None)
    assert SOON_S <= log.elapsed_s < LATE_S


def test_silence_is_timed_out_read(net):
    log = talk_to(net, peers.hold, deadline_s=SOON_S)
    assert told(log) == (HELLO, b"", Ending.TIMED_OUT_READ, None)
    assert SOON_S <= log.elapsed_s < LATE_S


def test_bytes_before_silence_are_kept(net):
    log = talk_to(net, peers.reply_and_hold, ask(want=1_000), deadline_s=SOON_S)
    assert told(log) == (HELLO, REPLY, Ending.TIMED_OUT_READ, None)


def test_deadline_is_for_the_whole_and_not_for_each_piece(net):
    async def drip(sock, loop):
        while True:
            await loop.sock_sendall(sock, b"x")
            await asyncio.sleep(0.05)

    log = talk_to(net, drip, ask(want=10_000), deadline_s=SOON_S)
    assert log.ending is Ending.TIMED_OUT_READ
    assert log.elapsed_s < 5


def test_more_than_max_bytes_is_oversize_and_cut(net):
    log = talk_to(net, peers.flood, ask(want=1 << 30), max_bytes=50_000)
    assert told(log) == (HELLO, bytes(50_000), Ending.OVERSIZE, None)


def test_exactly_max_bytes_is_none_too_many(net):
    log = talk_to(net, peers.reply_and_hold, max_bytes=len(REPLY))
    assert told(log) == (HELLO, REPLY, Ending.COMPLETE, None)


@pytest.mark.parametrize(
    ("number", "ending"),
    [
        # Loopback alone can't be unreachable, so connect is patched to say what the kernel would.
        (errno.EHOSTUNREACH, Ending.UNREACHABLE),
        (errno.ENETUNREACH, Ending.UNREACHABLE),
        (errno.ENETDOWN, Ending.UNREACHABLE),
        (errno.ETIMEDOUT, Ending.TIMED_OUT_CONNECT),
        (errno.EADDRNOTAVAIL, Ending.LOCAL_FAILURE),
        (errno.EACCES, Ending.LOCAL_FAILURE),
        (errno.ENOBUFS, Ending.LOCAL_FAILURE),
    ],
)
def test_what_connect_says_is_mapped(net, monkeypatch, number, ending):
    class Socket(socket.socket):
        def connect(self, _address):
            raise OSError(number, "patched")

        def connect_ex(self, _address):
            return number

    async def body(network):
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Socket)
            return await drive(network, 9)

    assert told(run(net, body)) == (b"", b"", ending, errno.errorcode[number])


@pytest.mark.parametrize("address", ["not an address", "127.0.0.1.example"])
def test_address_that_is_none_is_our_failure(net, address):
    log = run(net, lambda network: drive(network, 9, address=address))
    assert (log.sent, log.received, log.ending) == (b"", b"", Ending.LOCAL_FAILURE)


_NO_DESCRIPTORS = """
import asyncio, resource, sys
sys.path.insert(0, ".")
from scanner.net.network import open_network
from tests.net.peers import ask, peer, reply_and_hold

async def main(net):
    network = open_network(net)
    async with peer(reply_and_hold) as port:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        async def drive():
            return await network.drive(ask(), address="127.0.0.1", port=port, deadline_s=10, max_bytes=100)
        await drive()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        log = await drive()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        again = await drive()
    await network.close()
    print(log.ending.value, log.os_error, again.ending.value)

asyncio.run(main(sys.argv[1]))
"""


def test_no_descriptor_left_is_our_failure_and_passes(net):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _NO_DESCRIPTORS, net],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["local-failure", "EMFILE", "complete"]


def bug_at_once():
    raise RuntimeError("a bug")
    yield b""


def bug_after_the_reply():
    yield HELLO
    raise RuntimeError("a bug")


def bug_at_the_end():
    while (yield HELLO):
        pass
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("bug", "behave", "sent"),
    [
        (bug_at_once, peers.reply_and_hold, b""),
        (bug_after_the_reply, peers.reply_and_hold, HELLO),
        (bug_at_the_end, peers.close_after_hello, HELLO),
    ],
)
def test_bug_in_a_conversation_is_our_failure(net, bug, behave, sent):
    log = talk_to(net, behave, bug())
    assert (log.sent, log.ending, log.os_error) == (sent, Ending.LOCAL_FAILURE, "RuntimeError: a bug")


def test_conversation_that_wants_nothing_is_complete(net):
    def nothing():
        return HELLO
        yield b""

    assert told(talk_to(net, peers.hold, nothing())) == (HELLO, b"", Ending.COMPLETE, None)


BIG = bytes(range(256)) * 32_768
"""8 MiB: more than the kernel's buffers hold."""


def slow_reader(got):
    async def behave(sock, loop):
        while piece := await loop.sock_recv(sock, 100_000):
            got.append(piece)
            await asyncio.sleep(0)
            if sum(map(len, got)) == len(BIG):
                await loop.sock_sendall(sock, REPLY)

    return behave


def test_long_send_that_the_kernel_takes_in_parts_arrives_whole(net):
    got = []
    log = talk_to(net, slow_reader(got), ask(first=BIG))
    assert log.ending is Ending.COMPLETE
    assert hashlib.sha256(b"".join(got)).digest() == hashlib.sha256(BIG).digest() == hashlib.sha256(log.sent).digest()


def test_last_bytes_are_sent_in_full(net):
    got = []
    is_over = asyncio.Event()

    async def behave(sock, loop):
        await loop.sock_sendall(sock, REPLY)
        while piece := await loop.sock_recv(sock, 100_000):
            got.append(piece)
            await asyncio.sleep(0)
        is_over.set()

    async def body(network):
        async with peer(behave) as port:
            log = await drive(network, port, ask(last=BIG))
            await is_over.wait()
            return log

    log = run(net, body)
    assert log.ending is Ending.COMPLETE
    assert b"".join(got) == HELLO + BIG == log.sent


def test_sent_tells_what_the_kernel_took_before_the_deadline(net):
    log = talk_to(net, peers.never_read, ask(first=BIG), deadline_s=SOON_S)
    assert log.ending is Ending.TIMED_OUT_READ
    assert 0 < len(log.sent) < len(BIG)
    assert BIG.startswith(log.sent)


@pytest.mark.parametrize("behave", [peers.hold, peers.flood], ids=["silent", "busy"])
def test_cancelling_closes_the_connection(net, behave):
    is_closed = asyncio.Event()
    told_of_end = []

    async def watched(sock, loop):
        try:
            await behave(sock, loop)
        finally:
            is_closed.set()

    def conversation():
        try:
            while True:
                yield HELLO
        except GeneratorExit:
            told_of_end.append(True)
            raise

    async def body(network):
        async with peer(watched) as port:
            before = open_descriptors()
            asking = asyncio.ensure_future(drive(network, port, conversation(), max_bytes=1 << 40))
            await asyncio.sleep(0.1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await is_closed.wait()
            await asyncio.sleep(0)
            return open_descriptors() - before

    assert run(net, body) == 0
    assert told_of_end == [True]


def test_cancelling_before_the_connection_leaves_nothing(net):
    async def body(network):
        with open_listener(backlog=0) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                before = open_descriptors()
                asking = [asyncio.ensure_future(drive(network, port)) for _ in range(20)]
                await asyncio.sleep(0.05)
                during = open_descriptors()
                for task in asking:
                    task.cancel()
                outcomes = await asyncio.gather(*asking, return_exceptions=True)
                assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
                return during - before, open_descriptors() - before

    assert run(net, body) == (20, 0)


def test_every_ending_gives_the_descriptor_back(net):
    async def body(network):
        before = open_descriptors()
        for behave in (
            peers.reply_and_hold,
            peers.reply_and_close,
            peers.reply_and_reset,
            peers.flood,
            peers.never_read,
        ):
            async with peer(behave) as port:
                await drive(network, port, ask(want=1_000_000), deadline_s=SOON_S)
        with open_listener() as listener:
            port = listener.getsockname()[1]
        await drive(network, port)
        return open_descriptors() - before

    assert run(net, body) == 0
    gc.collect()  # a socket that was only dropped would warn now, and warnings are errors


def test_thousand_connections_at_once(net):
    count = 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_open = 0
    most = 0
    all_here = asyncio.Event()

    async def behave(sock, loop):
        nonlocal is_open, most
        is_open += 1
        most = max(most, is_open)
        if is_open == count:
            all_here.set()
        await loop.sock_recv(sock, 100)
        await all_here.wait()
        await loop.sock_sendall(sock, REPLY)
        await peers.hold(sock, loop)
        is_open -= 1

    async def body(network):
        async with peer(behave, backlog=count) as port:
            return await asyncio.gather(*(drive(network, port) for _ in range(count)))

    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count), hard))
    try:
        logs = run(net, body)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {told(log) for log in logs} == {(HELLO, REPLY, Ending.COMPLETE, None)}
    assert most == count


@pytest.mark.parametrize(
    "behave",
    [
        peers.reply_and_hold,
        peers.reply_and_close,
        peers.reply_and_reset,
        peers.reply_in_bytes,
        peers.close_after_hello,
        peers.reset_after_hello,
        peers.flood,
        peers.hold,
    ],
)
@pytest.mark.parametrize("want", [5, len(REPLY), 1_000_000])
def test_both_networks_tell_the_same(behave, want):
    logs = [talk_to(net, behave, ask(want=want), deadline_s=0.5, max_bytes=90_000) for net in NETS]
    first, second = (told(log) for log in logs)
    if behave is peers.flood and want == 5:
        # How much the first piece holds is chance.
        first, second = (first[0], first[1][:5], *first[2:]), (second[0], second[1][:5], *second[2:])
    if behave is peers.reply_in_bytes and want == 5:
        first, second = (first[0], first[1][:5], *first[2:]), (second[0], second[1][:5], *second[2:])
    assert first == second


def test_short_deadline_is_met_beside_long_ones(net):
    async def body(network):
        async with peer(peers.hold) as port:
            long = [asyncio.ensure_future(drive(network, port)) for _ in range(5)]
            await asyncio.sleep(0.05)
            begin = time.monotonic()
            log = await drive(network, port, deadline_s=SOON_S)
            took = time.monotonic() - begin
            assert not any(task.done() for task in long)
            for task in long:
                task.cancel()
            await asyncio.gather(*long, return_exceptions=True)
            return log.ending, took

    ending, took = run(net, body)
    assert ending is Ending.TIMED_OUT_READ
    assert took < 5


@pytest.mark.parametrize(
    ("number", "before", "after"),
    [
        (errno.ECONNREFUSED, Ending.REFUSED, Ending.PEER_RESET),
        # tcp(7): a RST in answer to SYN is ECONNREFUSED, so these come from a connection that was there.
        (errno.ECONNRESET, Ending.PEER_RESET, Ending.PEER_RESET),
        (errno.EPIPE, Ending.PEER_RESET, Ending.PEER_RESET),
        (errno.EHOSTUNREACH, Ending.UNREACHABLE, Ending.TIMED_OUT_READ),
        (errno.ENETUNREACH, Ending.UNREACHABLE, Ending.TIMED_OUT_READ),
        (errno.ETIMEDOUT, Ending.TIMED_OUT_CONNECT, Ending.TIMED_OUT_READ),
        (errno.EMFILE, Ending.LOCAL_FAILURE, Ending.LOCAL_FAILURE),
        (errno.ENFILE, Ending.LOCAL_FAILURE, Ending.LOCAL_FAILURE),
        (errno.EADDRNOTAVAIL, Ending.LOCAL_FAILURE, Ending.LOCAL_FAILURE),
        (errno.EPERM, Ending.LOCAL_FAILURE, Ending.LOCAL_FAILURE),
        (0, Ending.LOCAL_FAILURE, Ending.LOCAL_FAILURE),
    ],
)
def test_what_an_errno_says(number, before, after):
    assert ending_of_error(number, is_connected=False) is before
    assert ending_of_error(number, is_connected=True) is after


def test_error_names_are_the_systems():
    assert error_name(errno.ECONNRESET) == "ECONNRESET"
    assert error_name(-2) == "errno -2"


def test_network_is_chosen_by_name(monkeypatch):
    async def kinds():
        networks = [open_network(kind) for kind in ("auto", "epoll", "asyncio")]
        for network in networks:
            await network.close()
        with pytest.raises(ValueError, match="no network is called 'carrier-pigeon'"):
            open_network("carrier-pigeon")
        monkeypatch.delattr("select.epoll")
        with pytest.raises(ValueError, match="there is no epoll"):
            open_network("epoll")
        monkeypatch.setattr(sys, "platform", "darwin")
        return [*map(type, networks), type(open_network("auto"))]

    assert asyncio.run(kinds()) == [EpollNetwork, EpollNetwork, AsyncioNetwork, AsyncioNetwork]
