"""The listener on loopback: honest clients are served and recorded, bounds hold, and nothing is lost."""

import asyncio
import errno
import re
import resource
import ssl

import pytest

from scanner.listener.server import Listener
from scanner.model.exchange import Ending, Probe
from scanner.model.versions import TlsVersion
from scanner.outbound.tokens import Answer, ProbeToken, encode_probe_name, encode_trigger_name, encode_trigger_path
from tests.listener.hellos import client_hello
from tests.listener.running import SECRET, identity, listening, run_program, stub, tls_client

NONCE = "00112233445566ff"


def test_python_is_answered_with_each_version_in_turn_and_recorded():
    async def run():
        async with listening() as server:
            said = [await asyncio.to_thread(tls_client, server.port, "a.example", path="/x") for _ in range(2)]
            await server.closed()
            return said, server.exchanges, server.port

    said, exchanges, port = asyncio.run(run())
    # What the client itself says it spoke.
    assert [version for version, _ in said] == ["TLSv1.3", "TLSv1.2"]
    assert all(response.startswith(b"HTTP/1.1 ") for _, response in said)
    assert [each.request.version for each in exchanges] == [TlsVersion.TLS1_3, TlsVersion.TLS1_2]
    for each in exchanges:
        assert each.request.probe is Probe.LISTENER
        assert (each.request.endpoint.address, each.request.endpoint.port) == ("127.0.0.1", port)
        assert (each.request.endpoint.host, each.request.endpoint.server_name) == ("127.0.0.1", "a.example")
        assert each.request.path == "/x"
        assert each.received.startswith(b"\x16\x03\x01")
        assert b"a.example" in each.received
        assert each.sent.startswith(b"\x16\x03\x03")
        assert each.engine.completed
        assert each.ending is Ending.COMPLETE
    assert [each.request.id for each in exchanges] == [1, 2]


@pytest.mark.parametrize(("option", "label"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_openssl_gets_the_version_it_is_pinned_to(option, label):
    async def run():
        async with listening() as server:
            out = await run_program(
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{server.port}",
                "-servername",
                "b.example",
                option,
                data=b"GET / HTTP/1.0\r\n\r\n",
            )
            await server.closed()
            return out.decode(), server.exchanges

    out, exchanges = asyncio.run(run())
    assert re.search(rf"^New, {label}, Cipher is ", out, re.MULTILINE) or f"Protocol  : {label}" in out
    assert [each.engine.completed for each in exchanges] == [True]
    assert exchanges[0].request.version.title.replace(" ", "v") == label


def test_ipv6_and_several_addresses():
    async def run():
        async with listening(binds=(("127.0.0.1", 0), ("::1", 0), ("127.0.0.2", 0))) as server:
            ports = dict(server.listener.addresses)
            for host in ("127.0.0.1", "::1", "127.0.0.2"):
                await asyncio.to_thread(tls_client, ports[host], "a.example", host=host)
            await server.closed()
            return ports, [each.request.endpoint for each in server.exchanges]

    ports, endpoints = asyncio.run(run())
    assert [(each.address, each.port) for each in endpoints] == [
        ("127.0.0.1", ports["127.0.0.1"]),
        ("::1", ports["::1"]),
        ("127.0.0.1", ports["127.0.0.2"]),  # the kernel's choice for a client that binds nothing
    ]


def test_an_address_in_use_is_an_error_and_nothing_stays_open():
    async def run():
        async with listening() as server:
            second = Listener([("127.0.0.1", 0), ("127.0.0.1", server.port)], identity(), on_exchange=print)
            with pytest.raises(OSError) as failed:  # noqa: PT011  # the number is looked at below
                await second.start()
            assert failed.value.errno == errno.EADDRINUSE
            assert second.addresses == ()

    asyncio.run(run())


def _credit(*, secret, name=None, path="/", made_with=None):
    async def run():
        async with listening(secret=secret) as server:
            await asyncio.to_thread(tls_client, server.port, name or "a.example", path=path)
            await server.closed()
            return server.exchanges[0].request.endpoint.host

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("secret", "made_with", "host"),
    [
        (None, None, "sts.example"),
        (SECRET, SECRET, "sts.example"),
        (SECRET, None, "127.0.0.1"),
        (SECRET, b"x", "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("is_in_path", [False, True])
def test_a_token_credits_its_host_only_if_it_is_authentic(secret, made_with, host, is_in_path):
    name = None if is_in_path else encode_trigger_name("curl", "sts.example", "l.example", made_with)
    path = encode_trigger_path("curl", "sts.example", made_with) if is_in_path else "/"
    assert _credit(secret=secret, name=name, path=path) == host


def test_a_probe_token_decides_the_version_and_its_exchange_can_be_collected():
    async def run():
        async with listening() as server:
            name = encode_probe_name(ProbeToken(NONCE, Answer.TLS12), "l.example")
            collecting = asyncio.create_task(server.listener.recent.collect([NONCE], wait_s=10))
            said = await asyncio.to_thread(tls_client, server.port, name)
            return said[0], await collecting, server.exchanges

    version, collected, exchanges = asyncio.run(run())
    assert version == "TLSv1.2"
    assert collected == exchanges
    assert len(exchanges) == 1


def test_a_version_that_the_hello_excludes_is_not_answered_but_recorded():
    async def run():
        async with listening() as server:
            name = encode_probe_name(ProbeToken(NONCE, Answer.TLS13), "l.example")
            hello = client_hello(0x0302, name=name)
            return await server.say(hello), server.exchanges, hello

    got, exchanges, hello = asyncio.run(run())
    assert got == bytes.fromhex("15 0302 0002 02 46")  # fatal protocol_version (RFC 8446 section 6)
    assert [(each.request.version, each.received, each.sent, each.engine) for each in exchanges] == [
        (None, hello, got, None)
    ]


def test_each_address_may_have_so_many_connections_and_no_more():
    async def run():
        async with listening(per_address=3) as server:
            held = [await server.connect() for _ in range(3)]
            await server.until(lambda: server.counters.open == 3)
            assert await server.say(b"") == b""
            assert server.counters.over_limit == 1
            other = await server.connect(source="127.0.0.9")
            await server.until(lambda: server.counters.open == 4)
            for _, writer in (*held, other):
                writer.close()
            await server.closed()
            assert server.exchanges == []
            assert server.counters.silent == 4

    asyncio.run(run())


def test_over_the_limit_connections_wait_in_the_backlog():
    opener, _ = stub()

    async def run():
        async with listening(connections=2, open_answer=opener) as server:
            held = [await server.connect() for _ in range(2)]
            await server.until(lambda: server.counters.open == 2)
            _, third = await server.connect()
            third.write(client_hello())
            await asyncio.sleep(0.2)
            assert server.counters.accepted == 2
            assert server.counters.paused == 1
            held[0][1].close()
            await server.until(lambda: server.counters.hellos == 1)
            third.close()
            held[1][1].close()
            await server.closed()
            assert len(server.exchanges) == 1

    asyncio.run(run())


def test_without_descriptors_accepting_pauses_and_goes_on():
    opener, _ = stub()

    async def run():
        async with listening(open_answer=opener) as server:
            client = server.socket()
            await server.until(lambda: server.counters.open == 1)
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            waiting = server.socket()
            soft = waiting.fileno()  # below what is open already: no new one can be had
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
            try:
                await server.until(lambda: server.counters.paused > 1)
                assert server.counters.accepted == 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            waiting.sendall(client_hello())
            await server.until(lambda: server.counters.hellos == 1)
            client.close()
            waiting.close()
            await server.closed()

    asyncio.run(run())


def test_the_clocks_of_hello_and_whole_connection():
    opener, _ = stub(needs=1)

    async def run():
        async with listening(hello_s=0.3, whole_s=0.6, open_answer=opener) as server:
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            silent = asyncio.create_task(server.say(b""))
            partial = asyncio.create_task(server.say(client_hello()[:50], source="127.0.0.2"))
            stalled = asyncio.create_task(server.say(client_hello(), source="127.0.0.3"))
            assert await silent == b""
            assert await partial == b""
            assert 0.25 < loop.time() - begun_s < 0.59
            assert await stalled == b"HELLO"
            assert 0.55 < loop.time() - begun_s < 5
            await server.closed()
            return sorted(server.exchanges, key=lambda each: each.request.endpoint.address)

    partial, stalled = asyncio.run(run())
    assert (partial.ending, partial.received, partial.request.version) == (
        Ending.TIMED_OUT_READ,
        client_hello()[:50],
        None,
    )
    assert (stalled.ending, stalled.received, stalled.request.version) == (
        Ending.TIMED_OUT_READ,
        client_hello(),
        TlsVersion.TLS1_2,
    )
    assert 0.5 < stalled.elapsed_s < 5


def test_hellos_that_wait_for_an_answer_are_answered_in_order():
    opener, log = stub(needs=1)

    async def run():
        async with listening(answers=1, open_answer=opener) as server:
            ends = [await server.connect() for _ in range(3)]
            for index, (_, writer) in enumerate(ends):
                writer.write(client_hello(name=f"n{index}.example"))
                await server.until(lambda index=index: server.counters.hellos == index + 1)
            await asyncio.sleep(0.05)
            assert (server.counters.answering, server.counters.waiting) == (1, 2)
            for reader, writer in ends:
                assert await reader.readexactly(5) == b"HELLO"
                writer.write(b"x")
                assert await reader.read() == b"BYE"
                writer.close()
            await server.closed()
            return len(server.exchanges)

    assert asyncio.run(run()) == 3
    assert [first for first in log if len(first) > 1] == [client_hello(name=f"n{index}.example") for index in range(3)]


def test_one_address_that_begins_and_leaves_does_not_keep_others_waiting():
    opener, _ = stub(needs=1)

    async def run():
        async with listening(answers=4, answers_per_address=2, open_answer=opener) as server:
            greedy = [await server.connect() for _ in range(10)]
            for _, writer in greedy:
                writer.write(client_hello())
            await server.until(lambda: server.counters.hellos == 10)
            await asyncio.sleep(0.05)
            assert server.counters.answering == 2
            reader, writer = await server.connect(source="127.0.0.9")
            writer.write(client_hello())
            assert await reader.readexactly(5) == b"HELLO"
            writer.close()
            # The parked ones have their turn as others of their address end.
            for reader, writer in greedy:
                assert await reader.readexactly(5) == b"HELLO"
                writer.close()
            await server.closed()
            return len(server.exchanges)

    assert asyncio.run(run()) == 11


def test_stop_hands_out_what_is_under_way():
    opener, _ = stub(needs=1)

    async def run():
        async with listening(answers=1, open_answer=opener) as server:
            ends = [await server.connect() for _ in range(3)]
            for _, writer in ends[:2]:
                writer.write(client_hello())
            await server.until(lambda: server.counters.hellos == 2)
            await server.listener.stop()
            for _, writer in ends:
                writer.close()
            return server.exchanges, server.counters.silent, server.listener.addresses

    exchanges, silent, addresses = asyncio.run(run())
    assert [each.ending for each in exchanges] == [Ending.CANCELLED] * 2
    assert sorted(each.request.version or 0 for each in exchanges) == [0, TlsVersion.TLS1_2]
    assert silent == 1
    assert addresses == ()


def test_a_fault_of_the_receiver_is_counted_and_reported_and_ends_nothing():
    opener, _ = stub()
    told = []

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        async with listening(open_answer=opener) as server:
            server.listener._on_exchange = lambda _: 1 / 0
            for _ in range(2):
                await server.say(client_hello())
            await server.until(lambda: server.counters.failed == 2)

    asyncio.run(run())
    assert [type(each) for each in told] == [ZeroDivisionError] * 2


def test_tls_1_3_only_clients_are_not_climbed_down():
    async def run():
        async with listening() as server:
            seen = [
                (await asyncio.to_thread(tls_client, server.port, "c.example", least=ssl.TLSVersion.TLSv1_3))[0]
                for _ in range(3)
            ]
            await server.closed()
            return seen

    assert asyncio.run(run()) == ["TLSv1.3"] * 3
