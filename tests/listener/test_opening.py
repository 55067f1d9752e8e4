"""What users say of a listener, and how a scan gets one."""

import asyncio
import os
import socket
import ssl

import pytest

from scanner.listener.opening import (
    LEAST_SECRET_CHARS,
    SECRET_VARIABLE,
    ListenerError,
    ListenerSpec,
    open_listener,
    parse_listener,
    parse_place,
    read_secret,
)
from tests.listener.running import SECRET, identity, listening, tls_client

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7:443", ("192.0.2.7", 443)),
        ("[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        ("[2001:DB8:0::1]:443", ("2001:db8::1", 443)),
        ("listener.example.com:443", ("listener.example.com", 443)),
        ("Listener.Example.COM.:443", ("listener.example.com", 443)),
        ("bücher.example:443", ("xn--bcher-kva.example", 443)),
        ("192.0.2.7:65535", ("192.0.2.7", 65_535)),
        ("192.0.2.7:1", ("192.0.2.7", 1)),
    ],
)
def test_places(text, expected):
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":443",
        "192.0.2.7",
        "192.0.2.7:",
        "192.0.2.7:0",
        "192.0.2.7:65536",
        "192.0.2.7:x",
        "192.0.2.7:-1",
        "192.0.2.7:+1",
        "192.0.2.7:\uff14\uff14\uff13",
        "2001:db8::1:443",
        "[]:443",
        "[listener.example]:443",
        "a b:443",
        "https://listener.example:443",
        "listener..example:443",
        "256.0.0.1:443",
    ],
)
def test_what_is_no_place_is_said(text):
    with pytest.raises(ListenerError) as caught:
        parse_place(text)
    assert str(caught.value)
    with pytest.raises(ListenerError):
        parse_listener(text)


def test_an_error_repeats_no_more_than_is_useful():
    with pytest.raises(ListenerError) as caught:
        parse_place("x" * 100_000)
    assert len(str(caught.value)) < 600


def test_an_ipv6_address_is_told_of_brackets():
    with pytest.raises(ListenerError, match=r"brackets: \[2001:db8::10\]:443"):
        parse_place("2001:db8::1:443")


def test_a_place_to_listen_on_is_an_address():
    assert parse_place("0.0.0.0:443", needs_address=True) == ("0.0.0.0", 443)
    with pytest.raises(ListenerError, match="an address and a port"):
        parse_place("listener.example:443", needs_address=True)


@pytest.mark.parametrize(
    ("text", "bind", "suffix", "destination"),
    [
        ("192.0.2.7:443", None, "tls-probe.invalid", "192.0.2.7:443"),
        ("[2001:db8::1]:443", None, "tls-probe.invalid", "[2001:db8::1]:443"),
        ("listener.example:443", None, "listener.example", "listener.example:443"),
        ("listener.example:443@0.0.0.0:8443", ("0.0.0.0", 8_443), "listener.example", "listener.example:443"),
        ("192.0.2.7:443@[::]:8443", ("::", 8_443), "tls-probe.invalid", "192.0.2.7:443"),
    ],
)
def test_listeners(text, bind, suffix, destination):
    spec = parse_listener(text)
    assert (spec.bind, spec.name_suffix, spec.destination) == (bind, suffix, destination)


@pytest.mark.parametrize(
    "text", ["192.0.2.7:443@", "192.0.2.7:443@name.example:1", "192.0.2.7:443@1.2.3.4", "@1.2.3.4:5"]
)
def test_what_is_no_listener_is_said(text):
    with pytest.raises(ListenerError):
        parse_listener(text)


# Secrets


def test_a_secret_is_read_from_the_file_first_then_from_the_environment(tmp_path):
    env = {SECRET_VARIABLE: "from-the-environment"}
    file = tmp_path / "secret"
    file.write_bytes(b"  of-a-file-0123456789\n")
    assert read_secret(env, file) == b"of-a-file-0123456789"
    assert read_secret(env, None) == b"from-the-environment"
    assert read_secret({}, None) is None
    assert read_secret({SECRET_VARIABLE: " \n"}, None) is None
    assert read_secret({SECRET_VARIABLE: os.fsdecode(b"\xff" * 20)}, None) == b"\xff" * 20


@pytest.mark.parametrize("content", [b"", b"short", b"x" * (LEAST_SECRET_CHARS - 1), b"x" * 4_097, b"x" * 100_000])
def test_a_secret_that_is_none_is_said_without_repeating_it(tmp_path, content):
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ListenerError) as caught:
        read_secret({}, file)
    assert str(file) in str(caught.value)
    assert "openssl rand" in str(caught.value)
    assert not content or content.decode()[:8] not in str(caught.value).replace(str(file), "")
    if content.strip():
        with pytest.raises(ListenerError, match=SECRET_VARIABLE):
            read_secret({SECRET_VARIABLE: content.decode()}, None)


def test_the_least_and_the_longest_secret(tmp_path):
    file = tmp_path / "secret"
    for size in (LEAST_SECRET_CHARS, 4_096):
        file.write_bytes(b"x" * size)
        assert read_secret({}, file) == b"x" * size


def test_a_secret_that_can_not_be_read_is_said(tmp_path):
    with pytest.raises(ListenerError, match="can't be read: No such file"):
        read_secret({}, tmp_path / "none")
    with pytest.raises(ListenerError, match="can't be read: Is a directory"):
        read_secret({}, tmp_path)


# Getting one


def free_port(host="127.0.0.1"):
    with socket.create_server((host, 0)) as listener:
        return listener.getsockname()[1]


async def visit(port, name, **more):
    return await asyncio.to_thread(tls_client, port, name, **more)


@pytest.mark.parametrize("has_bind", [False, True])
def test_a_listener_is_started_here_and_stopped(has_bind):
    port = free_port()
    spec = ListenerSpec(host="127.0.0.1", port=port)
    if has_bind:
        spec = ListenerSpec(host="listener.example", port=443, bind=("127.0.0.1", port))

    async def run():
        opened = await open_listener(spec, None, identity())
        assert opened.own is not None
        assert opened.access.destination == spec.destination
        assert opened.access.name_suffix == spec.name_suffix
        assert f"127.0.0.1:{port}" in opened.note
        nonce = "00" * 8
        await visit(port, f"p-{nonce}-any.{spec.name_suffix}")
        (exchange,) = await opened.access.collect([nonce], wait_s=5)
        assert exchange.request.endpoint.server_name.startswith(f"p-{nonce}")
        await opened.close()

    asyncio.run(run())
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_name_is_looked_up_as_any_program_would(monkeypatch):
    port = free_port()

    async def run():
        loop = asyncio.get_running_loop()

        async def look_up(host, port, **_):
            assert host == "listener.example"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 2

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        opened = await open_listener(ListenerSpec(host="listener.example", port=port), None, identity())
        assert [tuple(place) for place in opened.own.addresses] == [("127.0.0.1", port)]
        await opened.close()

        async def fail(*_, **__):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(loop, "getaddrinfo", fail)
        with pytest.raises(ListenerError, match=r"listener\.example has no address: Name or service not known"):
            await open_listener(ListenerSpec(host="listener.example", port=port), None, identity())

    asyncio.run(run())


def test_where_one_runs_already_it_is_asked_with_the_secret():
    async def run():
        async with listening(secret=SECRET) as running:
            spec = ListenerSpec(host="127.0.0.1", port=running.port)
            opened = await open_listener(spec, SECRET)
            try:
                assert opened.own is None
                assert opened.access.destination == spec.destination
                assert f"runs at 127.0.0.1:{running.port}" in opened.note
                nonce = "ab" * 8
                await visit(running.port, f"p-{nonce}-tls12.l.example", most=ssl.TLSVersion.TLSv1_2)
                (exchange,) = await opened.access.collect([nonce], wait_s=5)
                assert exchange.request.version == 0x0303
            finally:
                await opened.close()
            # It is not ours, and goes on.
            assert (await visit(running.port, "x.l.example"))[0] == "TLSv1.3"

    asyncio.run(run())


def test_without_the_secret_it_is_said_what_is_missing():
    async def run():
        async with listening(secret=SECRET) as running:
            spec = ListenerSpec(host="127.0.0.1", port=running.port)
            with pytest.raises(ListenerError, match=f"127.0.0.1:{running.port} is not free here.*{SECRET_VARIABLE}"):
                await open_listener(spec, None)
            wrong = b"another secret altogether"
            with pytest.raises(ListenerError) as caught:
                await open_listener(spec, wrong)
            assert wrong.decode() not in str(caught.value)

    asyncio.run(run())


def test_an_address_of_another_machine_is_asked_there():
    """TEST-NET-1 is no address of this machine (RFC 5737); without a secret nothing is sent there."""
    with pytest.raises(ListenerError, match="not free here"):
        asyncio.run(open_listener(ListenerSpec(host="192.0.2.7", port=443), None, identity()))


def test_an_address_that_was_named_to_listen_on_is_not_looked_for_elsewhere():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spec = ListenerSpec(host="listener.example", port=443, bind=("127.0.0.1", port))
        with pytest.raises(ListenerError, match=f"can't listen on 127.0.0.1:{port}: "):
            asyncio.run(open_listener(spec, SECRET, identity()))


def test_another_program_at_the_place_is_no_listener():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0.1)
        port = taken.getsockname()[1]
        taken.listen(0)

        async def run():
            async def refuse():
                connection, _ = await asyncio.to_thread(taken.accept)
                connection.close()

            taken.settimeout(20)
            task = asyncio.create_task(refuse())
            with pytest.raises(ListenerError):
                await open_listener(ListenerSpec(host="127.0.0.1", port=port), SECRET)
            await task

        asyncio.run(run())
