"""A listener over its API on loopback: what a scan gets, and who gets nothing."""

import asyncio
import contextlib
import hashlib
import ssl

import pytest

from scanner.listener import api, remote
from scanner.listener.identity import make_identity
from scanner.listener.messages import MAC_HEADER, NONCE_HEADER, TIME_HEADER
from scanner.listener.remote import RemoteAccess, RemoteListenerError
from scanner.outbound.tokens import Answer, ProbeToken, encode_probe_name
from tests.listener.hellos import client_hello
from tests.listener.running import SECRET, identity, listening, tls_client

NONCES = [f"{number:016x}" for number in range(4)]


@pytest.fixture(autouse=True)
def short_delay(monkeypatch):
    monkeypatch.setattr(api, "REFUSAL_DELAY_S", 0.05)


def test_about_and_what_names_are_made_of():
    async def run():
        async with listening(secret=SECRET, suffix="l.example") as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            with pytest.raises(RuntimeError):
                _ = access.name_suffix
            await access.start()
            assert access.name_suffix == "l.example"
            assert access.destination == f"127.0.0.1:{server.port}"
            der = ssl.PEM_cert_to_DER_cert(identity().ca_pem)
            assert access.about["ca_sha256"] == hashlib.sha256(der).hexdigest()
            await access.close()
            await server.closed()
            # Whoever asks for the API is no evidence.
            assert server.exchanges == []
            assert (server.counters.api, server.counters.hellos) == (1, 0)

    asyncio.run(run())


def test_what_the_listener_saw_comes_whole():
    async def run():
        async with listening(secret=SECRET) as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            collecting = asyncio.create_task(access.collect(NONCES, wait_s=20))
            await asyncio.sleep(0.1)
            for nonce in NONCES:
                name = encode_probe_name(ProbeToken(nonce, Answer.ANY), "l.example")
                await asyncio.to_thread(tls_client, server.port, name)
            found = await collecting
            assert found == server.exchanges
            assert len(found) == len(NONCES)
            assert [each.engine.completed for each in found] == [True] * 4
            assert await access.collect(["f" * 16], wait_s=0.05) == []

    asyncio.run(run())


def test_more_nonces_than_one_request_takes():
    async def run():
        async with listening(secret=SECRET) as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            name = encode_probe_name(ProbeToken(f"{450:016x}", Answer.SSL2), "l.example")
            await server.say(client_hello(name=name))
            found = await access.collect([f"{number:016x}" for number in range(500)], wait_s=0.2)
            assert [each.request.endpoint.server_name for each in found] == [name]

    asyncio.run(run())


def refused(host_port_secret, match):
    async def run():
        with pytest.raises(RemoteListenerError, match=match):
            await RemoteAccess(*host_port_secret).start()

    return run()


def test_another_secret_is_refused():
    async def run():
        async with listening(secret=SECRET) as server:
            await refused(("127.0.0.1", server.port, b"another"), "does not accept our secret")

    asyncio.run(run())


def test_without_a_secret_there_is_no_api():
    async def run():
        async with listening() as server:
            await refused(("127.0.0.1", server.port, SECRET), "API|alert|TLS")
            await server.closed()
            # It is a client like any other then.
            assert server.counters.hellos == 1

    asyncio.run(run())


def test_nothing_listens():
    async def run():
        async with listening() as server:
            port = server.port
        await refused(("127.0.0.1", port, SECRET), f"listener 127.0.0.1:{port}: ")

    asyncio.run(run())


def test_no_answer_in_time(monkeypatch):
    monkeypatch.setattr(remote, "_CONNECT_S", 0.2)

    async def run():
        async def silent(_, writer):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await writer.wait_closed()
            writer.transport.abort()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server:
            await refused(("127.0.0.1", server.sockets[0].getsockname()[1], SECRET), "no answer in time")
        await asyncio.sleep(0.5)

    asyncio.run(run())


@contextlib.asynccontextmanager
async def middle(port, change):
    """A man in the middle with a certificate of his own; ``change(data)`` is done to what the listener answers."""
    (leaf,) = make_identity().leaves_for(None)[1:]
    accepting = api.open_api_context(leaf)
    opening = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    opening.check_hostname, opening.verify_mode = False, ssl.CERT_NONE
    opening.set_alpn_protocols(["entra-tls-api/1"])
    said = []

    async def serve(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", port, ssl=opening)
        with contextlib.suppress(ConnectionError):
            request = await reader.readuntil(b"\r\n\r\n")
            said.append(request)
            back.write(request)
            writer.write(change(await there.read()))
            await writer.drain()
        back.transport.abort()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=accepting)
    async with server:
        yield server.sockets[0].getsockname()[1], said
    await asyncio.sleep(0.1)  # until the transports that were aborted are closed


def test_a_man_in_the_middle_gains_nothing():
    async def run():
        async with listening(secret=SECRET) as server, middle(server.port, lambda data: data) as (port, said):
            await refused(("127.0.0.1", port, SECRET), "does not accept our secret|somebody")
            assert said  # our request went through him, and what came back was no answer

    asyncio.run(run())


def test_a_man_in_the_middle_can_not_answer_himself():
    own = b'HTTP/1.1 200 .\r\ncontent-length: 9\r\nx-entra-tls-mac: 00\r\n\r\n{"v": 1 }'

    async def run():
        async with listening(secret=SECRET) as server, middle(server.port, lambda _: own) as (port, _):
            await refused(("127.0.0.1", port, SECRET), "did not prove")

    asyncio.run(run())


async def raw(port, request):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["entra-tls-api/1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(request(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)))
    said = await reader.read()
    writer.transport.abort()
    return said


def test_a_replayed_request_is_refused():
    def request(leaf):
        mac = remote.request_mac(
            remote.derive_key(SECRET),
            method="GET",
            target="/v1/about",
            nonce="0a" * 16,
            time_text=str(int(remote.time.time())),
            leaf_sha256=hashlib.sha256(leaf).hexdigest(),
        )
        return (
            f"GET /v1/about HTTP/1.1\r\nHost: x\r\n{NONCE_HEADER}: {'0a' * 16}\r\n"
            f"{TIME_HEADER}: {int(remote.time.time())}\r\n{MAC_HEADER}: {mac}\r\n\r\n"
        ).encode()

    async def run():
        async with listening(secret=SECRET) as server:
            first, second = await raw(server.port, request), await raw(server.port, request)
            assert first.startswith(b"HTTP/1.1 200 ")
            assert second.startswith(b"HTTP/1.1 403 ")
            assert b"mac" not in second

    asyncio.run(run())


def test_a_tampered_body_is_refused(monkeypatch):
    respond = api.ApiSession.respond

    def tampered(self, response):
        return respond(
            self, api.ApiResponse(status=200, body=response.body.replace(b"l.ex", b"m.ex"), mac=response.mac)
        )

    monkeypatch.setattr(api.ApiSession, "respond", tampered)

    async def run():
        async with listening(secret=SECRET) as server:
            await refused(("127.0.0.1", server.port, SECRET), "did not prove")

    asyncio.run(run())


def test_sessions_are_few_and_the_others_are_closed():
    async def run():
        async with listening(secret=SECRET, api_sessions=1) as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            waiting = asyncio.create_task(access.collect([NONCES[0]], wait_s=1))
            await server.until(lambda: server.counters.api == 1)
            await refused(("127.0.0.1", server.port, SECRET), "listener")
            assert server.counters.over_limit == 1
            assert await waiting == []

    asyncio.run(run())


def test_a_client_that_leaves_while_it_waits_costs_nothing():
    async def run():
        async with listening(secret=SECRET) as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            waiting = asyncio.create_task(access.collect([NONCES[0]], wait_s=20))
            await server.until(lambda: bool(server.listener._serving))
            waiting.cancel()
            await server.closed()
            await server.until(lambda: not server.listener.recent._waiters)
            assert not server.listener._serving

    asyncio.run(run())


def test_stopping_ends_those_who_wait():
    async def run():
        async with listening(secret=SECRET) as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            waiting = asyncio.create_task(access.collect([NONCES[0]], wait_s=20))
            await server.until(lambda: bool(server.listener._serving))
            await server.listener.stop()
            with pytest.raises(RemoteListenerError):
                await waiting

    asyncio.run(run())


def test_an_answer_of_another_form_is_an_error(monkeypatch):
    monkeypatch.setattr(api, "encode_about", lambda _: b'{"v": 9}')
    monkeypatch.setattr(api, "encode_exchanges", lambda _: b"[]")

    async def run():
        async with listening(secret=SECRET) as server:
            access = RemoteAccess("127.0.0.1", server.port, SECRET)
            with pytest.raises(RemoteListenerError, match="can't be used"):
                await access.start()
            with pytest.raises(RemoteListenerError, match="can't be used"):
                await access.collect(NONCES, wait_s=0)
            with pytest.raises(RemoteListenerError, match="status 400"):
                await access.collect(["x"], wait_s=0)

    asyncio.run(run())
