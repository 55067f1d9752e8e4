"""What hostile peers do, as behaviours for runner.Peer."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from scanner.model.versions import TlsVersion
from tests.hostile import wire
from tests.hostile.honest import HANDSHAKE_FAILURE, PLAIN_SUITE, RESET, After, Honest, Reply
from tests.hostile.runner import Behaviour, Connection, PeerState
from tests.hostile.wire import ClientHello

Decide = Callable[[ClientHello, Connection], Reply]
Deliver = Callable[[Connection, Reply], Awaitable[None]]

ENDLESS_BYTES = 8 << 20
"""Where "endless" ends: far past what a scanner may read, so that a mistake can't fill the memory."""


def respond(decide: Decide, *, deliver: Deliver = Connection.give, pause_s: float = 0.0) -> Behaviour:
    """Read a hello, decide on the reply, deliver it; after a HelloRetryRequest once more."""

    async def behave(connection: Connection, state: PeerState) -> None:
        hello = await connection.read_hello()
        if hello is None:
            return
        await asyncio.sleep(pause_s)
        reply = decide(hello, connection)
        if reply.is_retry:
            await connection.send(reply.data)
            hello = await connection.read_hello()
            if hello is None:
                return
            reply = decide(hello, connection)
        await deliver(connection, reply)

    return behave


def honest(profile: Honest, *, deliver: Deliver = Connection.give, pause_s: float = 0.0) -> Behaviour:
    return respond(lambda hello, _: profile.reply(hello), deliver=deliver, pause_s=pause_s)


def always(reply: Reply) -> Behaviour:
    """Answer every hello alike."""
    return respond(lambda _hello, _connection: reply)


def unless(profile: Honest, is_hurt: Callable[[ClientHello], bool], reply: Reply) -> Behaviour:
    """Be honest, but give reply to hellos for which is_hurt holds."""
    return respond(lambda hello, _: reply if is_hurt(hello) else profile.reply(hello))


# Connections that no hello could please


async def hold(connection: Connection, state: PeerState) -> None:
    await connection.hold()


async def close_at_once(connection: Connection, state: PeerState) -> None:
    """Return: the runner closes. The client's hello meets a closed socket and is answered with RST."""


async def fin_at_once(connection: Connection, state: PeerState) -> None:
    await connection.end(After.FIN)


async def reset_at_once(connection: Connection, state: PeerState) -> None:
    connection.reset()


def banner(greeting: bytes, answer: bytes) -> Behaviour:
    """Speak first, as SSH and SMTP servers do, then answer what comes and close."""

    async def behave(connection: Connection, state: PeerState) -> None:
        await connection.send(greeting)
        if await connection.loop.sock_recv(connection.sock, 65536) and answer:
            await connection.give(Reply(data=answer, after=After.FIN))
        await connection.hold()

    return behave


async def echo(connection: Connection, state: PeerState) -> None:
    while data := await connection.loop.sock_recv(connection.sock, 65536):
        await connection.send(data)


def flood(chunk: bytes, *, is_after_hello: bool = True) -> Behaviour:
    """Send chunk over and over, as fast as the client reads."""

    async def behave(connection: Connection, state: PeerState) -> None:
        if is_after_hello and await connection.read_hello() is None:
            return
        for _ in range(max(1, ENDLESS_BYTES // len(chunk))):
            await connection.send(chunk)
            await asyncio.sleep(0)
        await connection.hold()

    return behave


# Ways to deliver an honest reply


def in_pieces(size: int, pause_s: float) -> Deliver:
    """Deliver in TCP segments of size bytes, then do what the reply says."""

    async def deliver(connection: Connection, reply: Reply) -> None:
        await connection.send_in_pieces(reply.data, size=size, pause_s=pause_s)
        await connection.end(reply.after)

    return deliver


async def in_one_byte_records(connection: Connection, reply: Reply) -> None:
    """Deliver each byte of a handshake message in its own record (RFC 8446 section 5.1 allows it)."""
    data = reply.data
    if data[:1] == bytes([wire.HANDSHAKE]):
        version = int.from_bytes(data[1:3], "big")
        data = b"".join(wire.encode_record(wire.HANDSHAKE, version, bytes([byte])) for byte in data[5:])
    await connection.send(data)
    await connection.end(reply.after)


def after_prefix(prefix: bytes) -> Deliver:
    """Deliver a ServerHello with prefix before it."""

    async def deliver(connection: Connection, reply: Reply) -> None:
        is_hello = reply.data[:1] == bytes([wire.HANDSHAKE])
        await connection.send((prefix if is_hello else b"") + reply.data)
        await connection.end(reply.after)

    return deliver


async def with_certificate(connection: Connection, reply: Reply) -> None:
    """Deliver ServerHello and Certificate in one record."""
    data = reply.data
    if data[:1] == bytes([wire.HANDSHAKE]):
        version = int.from_bytes(data[1:3], "big")
        data = wire.encode_record(wire.HANDSHAKE, version, data[5:] + wire.encode_certificate())
    await connection.send(data)
    await connection.end(reply.after)


# Servers that are honest now and then


def random_failures(profile: Honest, *, seed: str, share: float = 0.2, failure: Reply = RESET) -> Behaviour:
    """Fail a share of the connections at random.

    What befalls the n-th hello for a version depends on the seed, the version and n alone, so that a run can be
    repeated whatever the order in which a scanner asks.
    """

    def decide(hello: ClientHello, connection: Connection) -> Reply:
        counts: dict[int, int] = connection.state.memory.setdefault("counts", {})
        counts[hello.asked] = counts.get(hello.asked, 0) + 1
        draw = random.Random(f"{seed}:{hello.asked}:{counts[hello.asked]}").random()
        return failure if draw < share else profile.reply(hello)

    return respond(decide)


def rate_limited(profile: Honest, *, most: int, window_s: float, excess: Behaviour) -> Behaviour:
    """Be honest to at most so many connections in window_s; the others get excess and count as well."""
    served = honest(profile)

    async def behave(connection: Connection, state: PeerState) -> None:
        now = connection.loop.time()
        recent: deque[float] = state.memory.setdefault("recent", deque())
        while recent and recent[0] <= now - window_s:
            recent.popleft()
        recent.append(now)
        await (excess if len(recent) > most else served)(connection, state)

    return behave


def balanced(backends: Sequence[Honest], *, pick: Callable[[int], int]) -> Behaviour:
    """Hand connection number n (from 1) to the backend that pick(n) names."""
    return respond(lambda hello, connection: backends[pick(connection.index)].reply(hello))


def mortal(profile: Honest, *, lifetime: int) -> Behaviour:
    """Stop listening when the lifetime-th connection comes; that one is still served."""
    served = honest(profile)

    async def behave(connection: Connection, state: PeerState) -> None:
        if connection.index >= lifetime:
            state.stop_listening()
        await served(connection, state)

    return behave


# Servers that look at the name


def needs_name(profile: Honest, name: str, refusal: Reply) -> Behaviour:
    """Refuse hellos without the right server name, before anything else."""
    return unless(profile, lambda hello: hello.sni != name, refusal)


def needs_name_after_retry(profile: Honest, name: str, refusal: Reply) -> Behaviour:
    """As needs_name, but ask for a key share before looking at the name, as servers with TLS 1.3 do."""

    def decide(hello: ClientHello, connection: Connection) -> Reply:
        reply = profile.reply(hello)
        return reply if reply.is_retry or hello.sni == name else refusal

    return respond(decide)


# Servers that lie


def _record(version: int, message: bytes) -> Reply:
    return Reply(data=wire.encode_record(wire.HANDSHAKE, min(max(version, 0x0300), 0x0303), message))


def says_version(version: int, *, is_in_extension: bool = False) -> Behaviour:
    """Answer every hello with a ServerHello of this version, offered or not."""

    def decide(hello: ClientHello, _connection: Connection) -> Reply:
        if is_in_extension:
            suite = next((s for s in hello.suites if s >> 8 == 0x13), 0x1301)
            session_id = b"" if hello.is_ssl2_format else hello.session_id
            return _record(0x0303, wire.encode_server_hello_13(suite, session_id=session_id, version=version))
        suite = next((s for s in hello.suites if s in {0xC02F, 0x009C, PLAIN_SUITE}), PLAIN_SUITE)
        return _record(version, wire.encode_server_hello(version, suite))

    return respond(decide)


def chooses_suite(profile: Honest, suite: int, suite_13: int) -> Behaviour:
    """Accept versions honestly, but name a suite that was not offered."""

    def decide(hello: ClientHello, _connection: Connection) -> Reply:
        version = profile.choose_version(hello)
        if version is None:
            return profile.refuse(hello)
        if version == TlsVersion.TLS1_3:
            return _record(version, wire.encode_server_hello_13(suite_13, session_id=hello.session_id))
        return _record(version, wire.encode_server_hello(version, suite))

    return respond(decide)


def falls_back(profile: Honest, *, asked: TlsVersion, answered: TlsVersion, sentinel: bytes) -> Behaviour:
    """Answer hellos for one version with a lower one, with the sentinel that says "I have the newer one"."""

    def decide(hello: ClientHello, _connection: Connection) -> Reply:
        if hello.asked != asked:
            return profile.reply(hello)
        suite = profile.choose_suite(hello, answered)
        if suite is None:
            return HANDSHAKE_FAILURE
        random_bytes = wire.PLAIN_RANDOM[:24] + sentinel
        return _record(answered, wire.encode_server_hello(answered, suite, random=random_bytes))

    return respond(decide)


def retries_then_hangs(profile: Honest) -> Behaviour:
    """Ask for another key share in TLS 1.3 whatever was sent, and never answer after that."""

    def decide(hello: ClientHello, _connection: Connection) -> Reply:
        if profile.choose_version(hello) != TlsVersion.TLS1_3:
            return profile.reply(hello)
        suite = profile.choose_suite(hello, TlsVersion.TLS1_3)
        if suite is None:
            return HANDSHAKE_FAILURE
        # A group without a share, if there is one: a retry for a share that was sent would break RFC 8446.
        group = next((g for g in hello.groups if g not in hello.share_groups), wire.X25519)
        return _record(
            0x0303, wire.encode_server_hello_13(suite, session_id=hello.session_id, group=group, is_retry=True)
        )

    return respond(decide)
