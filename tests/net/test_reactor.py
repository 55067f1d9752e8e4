"""The reactor against real peers on loopback: every ending, deadlines, and what a held-up event loop must not cost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import struct
import subprocess
import sys
import time

import pytest

from scanner.model.exchange import Ending
from scanner.net import reactor as module
from scanner.net.epoll import EpollNetwork
from scanner.net.reactor import Call, Reactor
from tests.net import peers
from tests.net.peers import HELLO, REPLY, ask, open_descriptors, peer

pytestmark = pytest.mark.timeout(60)

QUICK = b"quick"
"""A reply that is decided at a glance."""
MOST_BYTES = 32_768


def read_whole(wanted=REPLY):
    """A reader that returns once it has the reply."""
    received = b""
    while len(received) < len(wanted):
        received += yield
    return received


class Asked:
    """A reactor, and what it told."""

    def __init__(self, **more):
        self.ended = []
        self.idle_count = 0
        self.again = {}
        self.waiting = {}
        options = {
            "hello_of": lambda _call: HELLO,
            "is_decided": lambda data: data if data == QUICK else None,
            "reader_of": lambda _call: read_whole(),
            "on_end": self.on_end,
            "on_idle": self.on_idle,
            "max_bytes": MOST_BYTES,
        }
        self.reactor = Reactor(**(options | more))

    def on_end(self, call):
        self.ended.append((call, call.ending, call.received, call.os_error, time.monotonic() - call.started))
        left = self.again.get(call, 0)
        if left:
            self.again[call] = left - 1
            self.reactor.begin(call, 5, 5)
        elif call in self.waiting:
            self.waiting.pop(call).set_result(None)

    def on_idle(self):
        self.idle_count += 1

    async def ask(self, call, connect_s=5.0, timeout_s=5.0):
        if isinstance(call, int):
            call = Call("127.0.0.1", call)
        future = self.waiting[call] = asyncio.get_running_loop().create_future()
        self.reactor.begin(call, connect_s, timeout_s)
        await asyncio.wait_for(future, 20)
        return call


@contextlib.asynccontextmanager
async def asking(**more):
    asked = Asked(**more)
    try:
        yield asked
    finally:
        asked.reactor.close()


def ask_one(behave, connect_s=5.0, timeout_s=5.0, **more):
    """What one call to a peer told: the call, and how often on_end was called."""

    async def main():
        async with peer(behave) as port, asking(**more) as asked:
            call = await asked.ask(port, connect_s, timeout_s)
            await asyncio.sleep(0.05)  # nothing may be told after the end
            assert asked.reactor.in_flight == 0
            return call, len(asked.ended)

    return asyncio.run(main())


async def quick_reply(sock, loop):
    await loop.sock_recv(sock, 65536)
    await loop.sock_sendall(sock, QUICK)
    await peers.hold(sock, loop)


async def close_at_once(sock, loop):
    sock.shutdown(socket.SHUT_WR)
    await peers.hold(sock, loop)


async def reset_at_once(sock, loop):
    peers.reset(sock)


async def banner_first(sock, loop):
    await loop.sock_sendall(sock, REPLY)
    await peers.hold(sock, loop)


async def quick_banner_first(sock, loop):
    await loop.sock_sendall(sock, QUICK)
    await peers.hold(sock, loop)


async def half_and_hold(sock, loop):
    await loop.sock_recv(sock, 65536)
    await loop.sock_sendall(sock, REPLY[:7])
    await peers.hold(sock, loop)


async def late_reply(sock, loop):
    await loop.sock_recv(sock, 65536)
    await asyncio.sleep(0.4)
    await loop.sock_sendall(sock, QUICK)
    await peers.hold(sock, loop)


@pytest.mark.parametrize(
    ("behave", "ending", "received", "os_error"),
    [
        (quick_reply, Ending.COMPLETE, QUICK, None),
        (late_reply, Ending.COMPLETE, QUICK, None),
        (peers.reply_and_hold, Ending.COMPLETE, REPLY, None),
        (peers.reply_in_bytes, Ending.COMPLETE, REPLY, None),
        (banner_first, Ending.COMPLETE, REPLY, None),
        (quick_banner_first, Ending.COMPLETE, QUICK, None),
        (peers.reply_and_close, Ending.PEER_CLOSED, REPLY[:7], None),
        (close_at_once, Ending.PEER_CLOSED, b"", None),
        (peers.close_after_hello, Ending.PEER_CLOSED, b"", None),
        (peers.reset_after_hello, Ending.PEER_RESET, b"", "ECONNRESET"),
        (reset_at_once, Ending.PEER_RESET, b"", {"ECONNRESET", "EPIPE"}),
    ],
)
def test_endings(behave, ending, received, os_error):
    call, told_count = ask_one(behave)
    assert (call.ending, call.received, told_count) == (ending, received, 1)
    assert call.os_error in (os_error if isinstance(os_error, set) else {os_error})
    assert call.sock is None


def test_a_reset_after_some_bytes_keeps_them():
    call, _ = ask_one(peers.reply_and_reset)
    assert call.ending is Ending.PEER_RESET
    # The kernel may drop what was not read yet when the reset came.
    assert REPLY[:7].startswith(call.received)


def test_a_key_is_what_the_quick_look_made():
    assert ask_one(quick_reply)[0].key == QUICK
    assert ask_one(peers.reply_and_hold)[0].key is None


@pytest.mark.parametrize("behave", [peers.hold, half_and_hold])
def test_silence_ends_at_the_deadline_and_not_before(behave):
    call, _ = ask_one(behave, timeout_s=0.5)
    assert call.ending is Ending.TIMED_OUT_READ
    assert call.is_connected
    assert call.was_sent
    assert time.monotonic() - call.started >= 0.5


def test_a_connection_has_its_whole_time_where_connecting_has_less():
    call, _ = ask_one(late_reply, connect_s=0.1, timeout_s=2)
    assert call.ending is Ending.COMPLETE


def test_bytes_without_end_are_cut():
    call, _ = ask_one(peers.flood, reader_of=lambda _call: read_whole(bytes(10**9)))
    assert call.ending is Ending.OVERSIZE
    assert call.received == bytes(MOST_BYTES)


def free_port(address="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.bind((address, 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_refused(address):
    async def main():
        async with asking() as asked:
            return await asked.ask(Call(address, free_port(address)))

    call = asyncio.run(main())
    assert (call.ending, call.os_error) == (Ending.REFUSED, "ECONNREFUSED")
    assert not call.is_connected
    assert not call.was_sent


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_families_are_asked(address):
    async def main():
        async with peer(quick_reply, address) as port, asking() as asked:
            return await asked.ask(Call(address, port))

    assert asyncio.run(main()).ending is Ending.COMPLETE


def test_no_answer_to_connecting_ends_at_its_own_deadline():
    """A full accept queue drops SYNs."""

    async def main():
        with socket.socket() as listener, socket.socket() as filler:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            filler.connect(listener.getsockname())
            async with asking() as asked:
                return await asked.ask(listener.getsockname()[1], 0.4, 30)

    call = asyncio.run(main())
    assert call.ending is Ending.TIMED_OUT_CONNECT
    assert 0.4 <= time.monotonic() - call.started < 20


def test_unreachable_is_told_before_begin_returns():
    """240.0.0.0/4 has no route: Linux says so at once (and no packet leaves)."""

    async def main():
        async with asking() as asked:
            call = Call("255.255.255.255", 443)
            asked.reactor.begin(call, 1, 1)
            return call, [ending for _, ending, *_ in asked.ended]

    call, told = asyncio.run(main())
    assert told == [Ending.UNREACHABLE]
    assert call.os_error == "ENETUNREACH"


def test_an_address_that_is_none_is_our_failure():
    async def main():
        async with asking() as asked:
            call = Call("127.0.0.1::", 443)
            asked.reactor.begin(call, 1, 1)
            return [ending for _, ending, *_ in asked.ended], asked.reactor.in_flight

    assert asyncio.run(main()) == ([Ending.LOCAL_FAILURE], 0)


CHILD = """
import asyncio, resource
from scanner.net.reactor import Call, Reactor
from pathlib import Path

async def main():
    ended = []
    loop = asyncio.get_running_loop()
    reactor = Reactor(hello_of=lambda c: b"x", is_decided=lambda d: None, reader_of=lambda c: iter(()),
        on_end=lambda c: ended.append((c.ending.value, c.os_error)), on_idle=lambda: None, max_bytes=100)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 4, highest + 4))
    calls = [Call("127.0.0.1", PORT) for _ in range(20)]
    for call in calls:
        reactor.begin(call, 5, 5)
    print(reactor.in_flight, len(ended), sorted(set(ended)))
    cut = reactor.cut()
    print(len(cut), reactor.in_flight)
    reactor.begin(calls[-1], 5, 5)
    print(reactor.in_flight)
    reactor.close()

asyncio.run(main())
"""


def test_no_descriptor_left_is_our_failure_and_passes():
    with peers.open_listener() as listener:
        code = CHILD.replace("PORT", str(listener.getsockname()[1]))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    first, second, third = done.stdout.splitlines()
    begun, failed, endings = first.split(" ", 2)
    assert int(begun) + int(failed) == 20
    assert int(begun) in range(1, 8)
    assert endings == "[('local-failure', 'EMFILE')]"
    assert second == f"{begun} 0"
    assert third == "1"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100  # ours is as it was


# Over and over


@pytest.mark.parametrize("behave", [quick_reply, peers.reset_after_hello, peers.reply_and_close, peers.reply_in_bytes])
def test_a_call_may_be_begun_anew_when_its_end_is_told(behave):
    async def main():
        async with peer(behave) as port, asking() as asked:
            call = Call("127.0.0.1", port)
            asked.again[call] = 20
            await asked.ask(call)
            return asked.ended

    ended = asyncio.run(main())
    assert len(ended) == 21
    assert len({(ending, received) for _, ending, received, *_ in ended}) == 1


def test_a_call_may_be_begun_anew_at_its_deadline_and_leaves_one_timer():
    async def main():
        async with peer(peers.hold) as port, asking() as asked:
            calls = [Call("127.0.0.1", port) for _ in range(5)]

            def on_end(call):
                asked.ended.append(call)
                if len(asked.ended) < 30:
                    asked.reactor.begin(call, 0.05, 0.05)

            asked.reactor._on_end = on_end
            for call in calls:
                asked.reactor.begin(call, 0.05, 0.05)
            turns = []
            turn = asked.reactor._turn
            asked.reactor._turn = lambda: (turns.append(1), turn())
            while asked.reactor.in_flight:  # noqa: ASYNC110  # of the last end nobody tells
                await asyncio.sleep(0.05)
            assert {call.ending for call in asked.ended} == {Ending.TIMED_OUT_READ}
            return len(asked.ended), len(turns)

    ended_count, turn_count = asyncio.run(main())
    assert ended_count == 34  # 5 were under way when 30 had ended
    # Six rounds of some ticks each; timers that multiply would make it some hundreds.
    assert turn_count < 150


def test_a_call_begun_anew_in_the_middle_of_a_send_is_not_read_too_soon():
    """What ended is not what was begun: the bytes that wait for the new connection come after its hello."""

    async def main():
        async with peer(quick_banner_first) as port, asking() as asked:
            call = Call("127.0.0.1", port)
            first = True
            original = asked.reactor._send

            def send(one, data):
                nonlocal first
                if first:
                    first = False
                    asked.reactor._fail(one, errno.EPIPE)
                    return
                original(one, data)

            asked.reactor._send = send
            asked.again[call] = 1
            await asked.ask(call)
            return asked.ended, call

    ended, call = asyncio.run(main())
    assert [ending for _, ending, *_ in ended] == [Ending.PEER_RESET, Ending.COMPLETE]
    assert call.is_connected
    assert call.was_sent


def test_what_the_kernel_did_not_take_was_not_sent():
    def fail(_data):
        raise BrokenPipeError(errno.EPIPE, "broken")

    async def main():
        async with peer(quick_reply) as port, asking() as asked:
            call = Call("127.0.0.1", port)
            future = asked.waiting[call] = asyncio.get_running_loop().create_future()
            asked.reactor.begin(call, 5, 5)
            real = call.sock

            class Sock:
                send = staticmethod(fail)
                recv, close, fileno = real.recv, real.close, real.fileno

            call.sock = Sock
            await future
            return call

    call = asyncio.run(main())
    assert (call.ending, call.os_error, call.is_connected, call.was_sent) == (Ending.PEER_RESET, "EPIPE", True, False)


def test_a_hello_that_does_not_fit_goes_out_in_parts():
    large = os.urandom(3_000_000)

    async def main():
        got = bytearray()

        async def read_slowly(sock, loop):
            await asyncio.sleep(0.1)
            while len(got) < len(large):
                got.extend(await loop.sock_recv(sock, 65536))
            await loop.sock_sendall(sock, QUICK)
            await peers.hold(sock, loop)

        async with peer(read_slowly) as port, asking(hello_of=lambda _call: large) as asked:
            call = await asked.ask(port)
        return call, bytes(got)

    call, got = asyncio.run(main())
    assert call.ending is Ending.COMPLETE
    assert got == large


def test_many_at_once_leave_nothing_open():
    async def main():
        kinds = [
            (quick_reply, Ending.COMPLETE),
            (peers.close_after_hello, Ending.PEER_CLOSED),
            (peers.reset_after_hello, Ending.PEER_RESET),
            (peers.hold, Ending.TIMED_OUT_READ),
        ]
        before = open_descriptors()
        async with contextlib.AsyncExitStack() as stack:
            ports = [(await stack.enter_async_context(peer(behave, backlog=400)), ending) for behave, ending in kinds]
            asked = await stack.enter_async_context(asking())
            wanted = {Call("127.0.0.1", port): ending for port, ending in ports * 150}
            refused = {Call("127.0.0.1", free_port()): Ending.REFUSED for _ in range(100)}
            await asyncio.gather(*(asked.ask(call, 10, 3) for call in [*wanted, *refused]))
            assert all(call.ending is ending for call, ending in (wanted | refused).items())
            assert len(asked.ended) == 700
            assert asked.reactor.in_flight == 0
            assert asked.idle_count > 0
        return open_descriptors() - before

    assert asyncio.run(main()) == 0


def test_cut_ends_all_without_a_word():
    async def main():
        before = open_descriptors()
        async with peer(peers.hold) as port, asking() as asked:
            calls = [Call("127.0.0.1", port) for _ in range(10)]
            for call in calls:
                asked.reactor.begin(call, 5, 5)
            await asyncio.sleep(0.1)
            cut = asked.reactor.cut()
            assert asked.reactor.in_flight == 0
            await asyncio.sleep(0.3)
            assert set(cut) == set(calls)
            assert {call.ending for call in calls} == {Ending.CANCELLED}
            assert asked.ended == []
            call = await asked.ask(calls[0], 0.2, 0.2)  # and may go on
            assert call.ending is Ending.TIMED_OUT_READ
        asked.reactor.close()  # a second time does nothing
        return open_descriptors() - before

    assert asyncio.run(main()) == 0


def test_cut_from_within_an_end_stops_the_others():
    async def main():
        async with peer(quick_reply, backlog=200) as port, asking() as asked:
            ended = []

            def on_end(call):
                ended.append(call)
                asked.reactor.cut()

            asked.reactor._on_end = on_end
            for _ in range(100):
                asked.reactor.begin(Call("127.0.0.1", port), 5, 5)
            await asyncio.sleep(0.5)
            return len(ended), asked.reactor.in_flight

    assert asyncio.run(main()) == (1, 0)


def _raise(*_):
    raise RuntimeError("a bug")


def _reader_with_a_bug(_call):
    yield
    _raise()


@pytest.mark.parametrize("part", ["hello_of", "is_decided", "reader_of", "reader"])
def test_a_bug_costs_one_call_and_nobody_else(part):
    """And not the other events of the round, of which there would be no second notice."""

    async def main():
        more = {"reader_of": _reader_with_a_bug} if part == "reader" else {}
        async with peer(quick_reply, backlog=100) as port, peer(peers.reply_and_hold) as bad, asking(**more) as asked:
            if part != "reader":
                original = getattr(asked.reactor, f"_{part}")
                bad_call = Call("127.0.0.1", bad)

                def failing(given):
                    return _raise() if given is bad_call or given == REPLY else original(given)

                setattr(asked.reactor, f"_{part}", failing)
            else:
                bad_call = Call("127.0.0.1", bad)
            calls = [Call("127.0.0.1", port) for _ in range(50)]
            await asyncio.gather(*(asked.ask(call) for call in [*calls[:25], bad_call, *calls[25:]]))
            return bad_call, calls

    bad_call, calls = asyncio.run(main())
    assert (bad_call.ending, bad_call.os_error) == (Ending.LOCAL_FAILURE, "RuntimeError: a bug")
    assert {call.ending for call in calls} == {Ending.COMPLETE}


# A loop that was held up


class ThreadedServer:
    """Answers from another process, so that our loop may be held up."""

    CODE = """
import os, socket, sys, threading
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 0))
listener.listen(1500)
print(listener.getsockname()[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
import select
poll = select.epoll()
poll.register(listener.fileno(), select.EPOLLIN)
open_ = {}
while True:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            sock, _ = listener.accept()
            open_[sock.fileno()] = sock
            poll.register(sock.fileno(), select.EPOLLIN)
            continue
        data = open_[fd].recv(65536)
        if data:
            open_[fd].send(b"quick")
        else:
            open_.pop(fd).close()
"""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(self.process.stdout.readline())
        return self.port

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1])
def test_a_loop_that_was_held_up_times_out_nobody_who_answered(delay_s):
    """1200 connections, more than one poll hands out; the loop is blocked for 2 s at different moments."""

    async def main():
        async with asking() as asked:
            calls = [Call("127.0.0.1", port) for _ in range(1200)]
            asks = [asyncio.ensure_future(asked.ask(call, 1.0, 1.5)) for call in calls]
            await asyncio.sleep(delay_s)
            time.sleep(2)  # noqa: ASYNC251  # on purpose
            await asyncio.gather(*asks)
            return [call.ending for call in calls]

    with ThreadedServer() as port:
        endings = asyncio.run(main())
    assert {ending: endings.count(ending) for ending in endings} == {Ending.COMPLETE: 1200}


def test_a_peer_whose_hello_we_held_up_has_its_whole_time():
    """The connection came about in time; that its hello went out after the deadline was our doing."""

    async def main():
        network = EpollNetwork()
        async with peer(late_reply) as port, asking() as asked:
            call = Call("127.0.0.1", port)
            waiting = [
                asyncio.ensure_future(asked.ask(call, 0.6, 0.6)),
                asyncio.ensure_future(
                    network.drive(
                        ask(want=len(QUICK)), address="127.0.0.1", port=port, deadline_s=0.6, max_bytes=65_536
                    )
                ),
            ]
            await asyncio.sleep(0)
            time.sleep(1)  # noqa: ASYNC251  # on purpose
            _, log = await asyncio.gather(*waiting)
        await network.close()
        return call.ending, log.ending

    assert asyncio.run(main()) == (Ending.COMPLETE, Ending.COMPLETE)


def test_nested_epoll_times_out_nobody_who_answered_while_the_loop_was_held_up():
    """The same of the engine's network."""

    async def main():
        network = EpollNetwork()

        async def drive():
            conversation = ask(want=len(QUICK))
            return await network.drive(conversation, address="127.0.0.1", port=port, deadline_s=1.5, max_bytes=65_536)

        asks = [asyncio.ensure_future(drive()) for _ in range(1200)]
        await asyncio.sleep(0.02)
        time.sleep(2)  # noqa: ASYNC251  # on purpose
        logs = await asyncio.gather(*asks)
        await network.close()
        return [log.ending for log in logs]

    with ThreadedServer() as port:
        endings = asyncio.run(main())
    assert {ending: endings.count(ending) for ending in endings} == {Ending.COMPLETE: 1200}


def test_silent_peers_are_still_given_up_after_the_loop_was_held_up():
    async def main():
        async with peer(peers.hold) as port, asking() as asked:
            call = Call("127.0.0.1", port)
            waiting = asyncio.ensure_future(asked.ask(call, 1.0, 1.0))
            await asyncio.sleep(0.2)
            time.sleep(1.5)  # noqa: ASYNC251  # on purpose
            await waiting
            return call.ending, time.monotonic() - call.started

    ending, elapsed_s = asyncio.run(main())
    assert ending is Ending.TIMED_OUT_READ
    assert elapsed_s < 10


def test_poll_takes_more_rounds_than_one():
    assert module._MOST_EVENTS < 1200  # else the tests above have nothing to show


def test_resets_are_of_the_peer_and_not_refusals():
    """RST in answer to data, not to SYN: SO_LINGER 0 (see peers.NOW)."""
    assert struct.unpack("ii", peers.NOW) == (1, 0)
    call, _ = ask_one(peers.reset_after_hello)
    assert call.is_connected
