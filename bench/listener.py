"""``python -m bench listener``: the listener under a flood of hellos and under idle connections, beside other servers.

One generator sends the same ClientHello to each server over new connections, on the clients' core, and reads what comes
back first: the whole flight of TLS 1.3 with an ECDSA P-256 signature. Every server has one process on the other core.
``python -m bench.listener ours|asyncio`` is such a process: it prints its port, then its counts for each line it reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Spread
from bench.servers import ROWS, client_core, pin_to, running_nginx, server_core
from bench.tables import Section, Target, at_least, at_most, not_measured, shown_spread, table
from scanner.listener.api import open_api_context
from scanner.listener.identity import make_identity
from scanner.listener.limits import ListenerLimits
from scanner.listener.server import Listener

CONNECTIONS = 10_000
IDLE = 5_000
AT_ONCE = 200
_SOURCES = tuple(f"127.0.1.{number}" for number in range(1, 9))
_NAME = "p-00112233445566ff-any.bench.example"  # a probe token: always the highest version
AIM_LOST = "listener: hellos that did not become an exchange, in a flood"
AIM_RATE = "listener: hellos answered a second, times a bare asyncio TLS server's"
AIM_IDLE = "listener: memory of an idle connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one round said of one server."""

    per_s: float
    """Connections that were answered, a second."""
    idle_bytes: float
    """Growth of its resident memory for each idle connection."""
    lost: int | None
    """Hellos that are in no exchange; None for servers that keep none."""


def first_flight() -> bytes:
    """Return the hello of Python's own client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=_NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def send_flood(address: tuple[str, int], hello: bytes, count: int, *, seconds: float = 120.0) -> tuple[float, int]:
    """Open count connections, each with a hello; return how many a second were answered, and how many were."""
    poller = select.epoll()
    under_way: dict[int, socket.socket] = {}
    begun = answered = ended = 0
    begun_s = time.monotonic()
    while ended < count and time.monotonic() - begun_s < seconds:
        while begun < count and len(under_way) < AT_ONCE:
            sock = socket.socket()
            sock.setblocking(False)  # noqa: FBT003  # the standard library's signature
            sock.bind((_SOURCES[begun % len(_SOURCES)], 0))
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
            under_way[sock.fileno()] = sock
            poller.register(sock, select.EPOLLOUT)
            begun += 1
        for number, events in poller.poll(0.5):
            sock = under_way[number]
            try:
                if events & select.EPOLLOUT:
                    sock.send(hello)  # a kilobyte or less into an empty buffer: all or an error
                    poller.modify(sock, select.EPOLLIN)
                    continue
                answered += sock.recv(65_536)[:1] == b"\x16"
            except OSError:
                pass
            poller.unregister(sock)
            sock.close()
            del under_way[number]
            ended += 1
    took_s = time.monotonic() - begun_s
    for sock in under_way.values():
        sock.close()
    poller.close()
    return answered / took_s, answered


def measure_idle(address: tuple[str, int], pid: int, count: int) -> float:
    """Return by how many bytes a connection that does nothing makes the processes larger."""
    before = resident_bytes(pid)
    held = []
    try:
        for number in range(count):
            sock = socket.socket()
            held.append(sock)
            sock.settimeout(10)
            sock.bind((_SOURCES[number % len(_SOURCES)], 0))
            sock.connect(address)
        time.sleep(1.5)  # until the last is accepted
        return (resident_bytes(pid) - before) / count
    finally:
        for sock in held:
            sock.close()


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children, shared pages counted once each."""
    total = sum(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )
    return total + sum(resident_bytes(child) for child in children(pid))


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def _child(kind: str) -> Iterator[tuple[tuple[str, int], int, Callable[[], dict[str, int]]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.listener", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pin_to(server_core()),  # noqa: PLW1509  # no threads here
    )

    def ask() -> dict[str, int]:
        process.stdin.write("\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        yield ("127.0.0.1", int(process.stdout.readline())), process.pid, ask
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@contextlib.contextmanager
def _nginx(port: int) -> Iterator[tuple[tuple[str, int], int, None]]:
    mine = set(children(os.getpid()))
    with running_nginx(ROWS[1], port, only=["127.0.0.1"]):
        (pid,) = set(children(os.getpid())) - mine
        yield ("127.0.0.1", port), pid, None


def _round(server, *, count: int, idle: int) -> Found:
    hello = first_flight()
    with server() as (address, pid, ask):
        send_flood(address, hello, 1)  # engines are loaded with the first answer
        idle_bytes = measure_idle(address, pid, idle)  # before a flood leaves memory behind that is used again
        before = _when_quiet(ask)
        per_s, _ = send_flood(address, hello, count)
        after = _when_quiet(ask)
        lost = None if before is None or after is None else count - (after["exchanges"] - before["exchanges"])
        return Found(per_s=per_s, idle_bytes=idle_bytes, lost=lost)


def _when_quiet(ask: Callable[[], dict[str, int]] | None) -> dict[str, int] | None:
    """Return the server's counts once no connection is open; None where it has none."""
    until_s = time.monotonic() + 60
    while ask is not None and "exchanges" in (said := ask()):
        if not said["open"]:
            return said
        if time.monotonic() > until_s:
            raise SystemExit("the listener does not let its connections go")
        time.sleep(0.1)
    return None


def measure_listener(*, runs: int, port: int, count: int = CONNECTIONS, idle: int = IDLE) -> Section:
    print("== Listener", flush=True)
    os.sched_setaffinity(0, client_core())
    servers = {"ours": lambda: _child("ours"), "nginx": lambda: _nginx(port), "asyncio": lambda: _child("asyncio")}
    found: dict[str, list[Found]] = {name: [] for name in servers}
    for _ in range(runs):
        for name, server in servers.items():
            found[name].append(_round(server, count=count, idle=idle))
    return listener_section(found, count=count, idle=idle)


def listener_section(found: dict[str, list[Found]], *, count: int, idle: int) -> Section:
    """Judge the medians; loss by the worst round."""
    ours = found["ours"]
    rows = []
    for name, rounds in found.items():
        ratio = Spread.of([own.per_s / each.per_s for own, each in zip(ours, rounds, strict=True) if each.per_s])
        lost = [each.lost for each in rounds if each.lost is not None]
        rows.append(
            [
                name,
                shown_spread(Spread.of([each.per_s for each in rounds])),
                "" if name == "ours" else shown_spread(ratio, "x"),
                shown_spread(Spread.of([each.idle_bytes for each in rounds])),
                str(max(lost)) if lost else "keeps none",
            ]
        )
    lost = [each.lost for each in ours if each.lost is not None]
    paired = [own.per_s / each.per_s for own, each in zip(ours, found.get("asyncio", ()), strict=False) if each.per_s]
    targets = [
        Target(text=AIM_LOST, measured=f"{max(lost)} of {count:,}", is_met=max(lost) == 0)
        if lost
        else not_measured(AIM_LOST, "no round"),
        at_least(AIM_RATE, Spread.of(paired), 0.5) if paired else not_measured(AIM_RATE, "no such server"),
        at_most(AIM_IDLE, Spread.of([each.idle_bytes for each in ours]), 8_192, "bytes"),
    ]
    heads = ["server", "answered a second", "ours is", f"bytes for each of {idle:,} idle", f"lost of {count:,}"]
    lines = [
        "Each connection brings one ClientHello, is answered with TLS 1.3 and an ECDSA signature, and is closed then.",
        "The bare asyncio server records nothing; nginx is C. One process each, client and server on different cores.",
        "",
        *table(heads, rows),
    ]
    return Section(
        title="Listener: hellos a second, memory of idle connections, loss",
        lines=lines,
        targets=targets,
        commands=["python -m bench listener"],
    )


async def _serve(kind: str) -> None:
    identity = make_identity()
    counts = {"exchanges": 0, "open": 0} if kind == "ours" else {}

    def note(_: object) -> None:
        counts["exchanges"] += 1

    listener = server = None
    if kind == "ours":
        limits = ListenerLimits(recent_count=100)
        listener = Listener([("127.0.0.1", 0)], identity, on_exchange=note, limits=limits)
        await listener.start()
        port = listener.addresses[0][1]
    else:
        context = open_api_context(identity.leaves_for(None)[1])
        server = await asyncio.start_server(_idle, "127.0.0.1", 0, ssl=context, backlog=4_096)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        if listener is not None:
            counts["open"] = listener.counters.open
        print(json.dumps(counts), flush=True)
    if listener is not None:
        await listener.stop()


async def _idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read()
    writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
