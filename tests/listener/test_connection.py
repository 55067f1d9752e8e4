"""Connections of every kind become what they were: hostile, half-closed, reset, garbage, with engines that fail."""

import asyncio
import contextlib
import random

import pytest

from scanner.model.exchange import Ending
from scanner.model.versions import TlsVersion
from scanner.outbound.tokens import Answer, ProbeToken, encode_probe_name
from tests.listener.hellos import client_hello, ssl2_hello
from tests.listener.running import StubAnswer, listening, reset, stub

HELLO = client_hello(name="a.example")


def converse(client, *, opener=None, **limits):
    """Run one client against a listener with stub engines; return (exchanges, counters)."""
    opener = opener or stub(needs=3)[0]

    async def run():
        async with listening(open_answer=opener, **limits) as server:
            await client(server)
            await server.closed(20)
            return server.exchanges, server.counters

    return asyncio.run(run())


def test_a_conversation_is_kept_in_both_directions():
    async def client(server):
        reader, writer = await server.connect()
        writer.write(HELLO)
        assert await reader.readexactly(5) == b"HELLO"
        writer.write(b"abc")
        assert await reader.read() == b"BYE"
        writer.write(b"and more")
        await writer.drain()
        writer.close()

    ((exchange,), counters) = converse(client)
    assert exchange.sent == b"HELLOBYE"
    assert exchange.received == HELLO + b"abcand more"  # what comes while we wait for its end is kept too
    assert exchange.ending is Ending.COMPLETE
    assert (counters.hellos, counters.answered, counters.completed) == (1, 1, 1)


@pytest.mark.parametrize("wire", [HELLO, client_hello(padding=20_000), ssl2_hello(0x0301)])
def test_a_hello_one_byte_at_a_time(wire):
    async def client(server):
        reader, writer = await server.connect()
        for at in range(0, len(wire), max(1, len(wire) // 400)):
            writer.write(wire[at : at + max(1, len(wire) // 400)])
            await asyncio.sleep(0)
        assert await reader.readexactly(5) == b"HELLO"
        writer.close()

    ((exchange,), _) = converse(client)
    assert exchange.received == wire


def test_what_follows_the_hello_is_kept_and_given_to_the_engine():
    opener, log = stub(needs=3)

    async def client(server):
        await server.say(HELLO + b"early", reads=False)

    ((exchange,), _) = converse(client, opener=opener)
    assert exchange.received == HELLO + b"early"
    assert log[0] == HELLO + b"early"


def test_a_client_that_closes_before_its_answer_is_over():
    async def client(server):
        reader, writer = await server.connect()
        writer.write(HELLO)
        await reader.readexactly(5)
        writer.close()

    ((exchange,), _) = converse(client)
    assert (exchange.ending, exchange.engine.completed, exchange.engine.error) == (
        Ending.PEER_CLOSED,
        False,
        "peer closed",
    )


def test_a_half_closed_client_is_still_answered():
    async def client(server):
        reader, writer = await server.connect()
        writer.write(HELLO)
        writer.write_eof()
        assert await reader.read() == b"HELLO"
        writer.close()

    ((exchange,), _) = converse(client, opener=stub()[0])
    assert (exchange.sent, exchange.engine.completed) == (b"HELLO", True)


def test_a_reset_is_told_from_a_close():
    async def client(server):
        reader, writer = await server.connect()
        writer.write(HELLO)
        await reader.readexactly(5)
        reset(writer.get_extra_info("socket").dup())
        writer.transport.abort()

    def rough(server):
        sock = server.socket()
        sock.sendall(HELLO)
        assert sock.recv(5) == b"HELLO"
        reset(sock)

    async def thread(server):
        await asyncio.to_thread(rough, server)

    ((exchange,), _) = converse(thread)
    assert (exchange.ending, exchange.os_error, exchange.received) == (Ending.PEER_RESET, "ECONNRESET", HELLO)
    assert exchange.engine.completed is False


@pytest.mark.parametrize("sent", [0, 1, 60, len(HELLO)])
def test_a_reset_at_any_time_loses_nothing_and_breaks_nothing(sent):
    def rough(server):
        for _ in range(20):
            sock = server.socket()
            sock.sendall(HELLO[:sent])
            reset(sock)

    async def client(server):
        await asyncio.to_thread(rough, server)
        await server.until(lambda: server.counters.accepted == 20)

    exchanges, counters = converse(client)
    # A reset may overtake its bytes; then there was no hello to keep.
    assert len([each for each in exchanges if each.received == HELLO]) == counters.hellos
    if sent == len(HELLO):
        assert counters.hellos + counters.silent + counters.other == 20
    else:
        assert counters.hellos == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x00" * 100_000,
        random.Random(4).randbytes(5_000),
    ],
)
def test_what_is_no_hello_is_recorded_in_part_and_closed(data):
    async def client(server):
        assert await server.say(data) == b""

    ((exchange,), counters) = converse(client)
    assert (exchange.request.version, exchange.sent, exchange.engine) == (None, b"", None)
    assert exchange.ending is Ending.COMPLETE
    assert 0 < len(exchange.received) <= 1_024
    assert data.startswith(exchange.received)
    assert (counters.other, counters.hellos) == (1, 0)


def test_of_many_that_are_no_hello_only_some_are_recorded():
    async def client(server):
        for _ in range(12):
            await server.say(b"GET / HTTP/1.1\r\n\r\n")

    exchanges, counters = converse(client, other_per_address=5)
    assert (len(exchanges), counters.other) == (5, 12)


def test_a_slow_client_has_the_time_for_its_hello_and_no_more():
    async def client(server):
        reader, writer = await server.connect()
        for byte in HELLO:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.05)
            if reader.at_eof():
                break
        assert reader.at_eof()
        writer.close()

    ((exchange,), _) = converse(client, hello_s=0.4)
    assert exchange.ending is Ending.TIMED_OUT_READ
    assert HELLO.startswith(exchange.received)


def test_a_peer_that_sends_too_much_is_cut_off():
    async def client(server):
        await server.say(HELLO + bytes(200_000))

    ((exchange,), _) = converse(client, opener=stub(needs=10**9)[0])
    assert exchange.ending is Ending.OVERSIZE
    assert len(exchange.received) == 65_536
    assert exchange.received.startswith(HELLO)


def test_an_engine_that_says_too_much_is_cut_off():
    async def client(server):
        assert len(await server.say(HELLO)) <= 65_536

    ((exchange,), _) = converse(client, opener=stub(reply=bytes(70_000), needs=5)[0])
    assert (exchange.ending, exchange.sent) == (Ending.OVERSIZE, b"")


def test_a_peer_that_does_not_read_is_let_go_in_time():
    def rough(server):
        sock = server.socket()
        sock.setsockopt(1, 8, 2_048)  # SO_RCVBUF: as little as the kernel allows
        sock.sendall(HELLO)
        return sock

    async def client(server):
        sock = await asyncio.to_thread(rough, server)
        await server.until(lambda: server.counters.hellos == 1)
        await server.closed(5)
        sock.close()

    ((exchange,), _) = converse(client, opener=stub(reply=bytes(60_000))[0], whole_s=0.5, linger_s=0.2)
    assert len(exchange.sent) == 60_000


class _Failing(StubAnswer):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def converse(self, first):
        assert first
        if self.at == "begin":
            raise RuntimeError("bad luck")
        yield b"HELLO"
        raise ZeroDivisionError("worse luck")


@pytest.mark.parametrize("at", ["open", "begin", "later"])
def test_an_engine_that_fails_costs_only_its_own_connection(at):
    def opener(*_):
        if at == "open":
            raise RuntimeError("bad luck")
        return _Failing(at)

    async def client(server):
        for _ in range(2):
            reader, writer = await server.connect()
            writer.write(HELLO)
            await asyncio.sleep(0.05)
            writer.write(b"more")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

    exchanges, counters = converse(client, opener=opener)
    assert len(exchanges) == 2
    for each in exchanges:
        assert each.ending is Ending.LOCAL_FAILURE
        assert each.received.startswith(HELLO)
        assert "luck" in each.engine.error
    assert counters.failed == 2


def test_a_hello_whose_turn_does_not_come_is_recorded_as_our_failure():
    async def client(server):
        second = await server.connect()
        await asyncio.sleep(0.5)
        first = await server.connect()
        first[1].write(HELLO)
        await server.until(lambda: server.counters.answering == 1)
        second[1].write(HELLO)
        await second[0].read()
        for _, writer in (first, second):
            writer.close()

    exchanges, _ = converse(client, answers=1, whole_s=1)
    by_ending = {each.ending: each for each in exchanges}
    assert by_ending.keys() == {Ending.PEER_CLOSED, Ending.LOCAL_FAILURE}
    assert by_ending[Ending.LOCAL_FAILURE].request.version is None
    assert by_ending[Ending.PEER_CLOSED].request.version is TlsVersion.TLS1_2


def test_a_nonce_in_the_path_is_found_as_well():
    class Asked(StubAnswer):
        def converse(self, first):
            self.http_path = "/p/p-00112233445566ff-any/x"
            return (yield from super().converse(first))

    async def client(server):
        await server.say(HELLO)
        assert len(await server.listener.recent.collect(["00112233445566ff"], wait_s=5)) == 1

    converse(client, opener=lambda *_: Asked())


@pytest.mark.parametrize(
    ("wire", "alert"),
    [
        (client_hello(0x0302, name=encode_probe_name(ProbeToken("0" * 16, Answer.TLS12), "x")), "1503020002 0246"),
        (client_hello(0x0303, listed=(0x7F1C,)), "1503030002 0246"),
        (client_hello(0x0305, listed=(0x7F1C,)), "1503030002 0246"),
        (client_hello(0x0100), "1503000002 0246"),
    ],
)
def test_a_refusal_is_an_alert_in_a_record_that_the_client_reads(wire, alert):
    async def client(server):
        assert await server.say(wire) == bytes.fromhex(alert)

    ((exchange,), _) = converse(client)
    assert exchange.request.version is None
    assert exchange.engine is None
