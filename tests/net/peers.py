"""Small real peers on loopback, in the test's own event loop, and conversations to have with them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

HELLO = b"hello"
REPLY = b"a reply of some bytes"
NOW = struct.pack("ii", 1, 0)
"""SO_LINGER: close with RST."""


def open_listener(address="127.0.0.1", backlog=128):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 0))
    listener.listen(backlog)
    listener.settimeout(0)
    return listener


@contextlib.asynccontextmanager
async def peer(behave, address="127.0.0.1", backlog=128):
    """Serve every connection with behave(socket, loop); yields the port."""
    loop = asyncio.get_running_loop()
    tasks = set()
    open_sockets = set()

    async def handle(sock):
        try:
            await behave(sock, loop)
        except ConnectionError:
            pass  # the client may leave at any time
        finally:
            open_sockets.discard(sock)
            sock.close()

    def accept():
        with contextlib.suppress(BlockingIOError):
            sock, _ = listener.accept()
            sock.settimeout(0)
            open_sockets.add(sock)
            task = loop.create_task(handle(sock))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    with open_listener(address, backlog) as listener:
        loop.add_reader(listener, accept)
        try:
            yield listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for sock in open_sockets:  # of tasks that were cancelled before they began
                sock.close()
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
    sock.close()


async def reply_and_hold(sock, loop):
    await loop.sock_recv(sock, 65536)
    await loop.sock_sendall(sock, REPLY)
    await hold(sock, loop)


async def reply_and_close(sock, loop):
    await loop.sock_recv(sock, 65536)
    await loop.sock_sendall(sock, REPLY[:7])


async def reply_and_reset(sock, loop):
    await loop.sock_recv(sock, 65536)
    await loop.sock_sendall(sock, REPLY[:7])
    reset(sock)


async def close_after_hello(sock, loop):
    await loop.sock_recv(sock, 65536)


async def reset_after_hello(sock, loop):
    await loop.sock_recv(sock, 65536)
    reset(sock)


async def reply_in_bytes(sock, loop):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await loop.sock_recv(sock, 65536)
    for byte in REPLY:
        await loop.sock_sendall(sock, bytes([byte]))
        await asyncio.sleep(0.002)
    await hold(sock, loop)


async def flood(sock, loop):
    while True:
        await loop.sock_sendall(sock, bytes(65536))


async def hold(sock, loop):
    """Read and forget until the client closes."""
    while await loop.sock_recv(sock, 65536):
        pass


async def never_read(sock, loop):
    await asyncio.sleep(3600)


def ask(want=None, first=HELLO, last=None):
    """Say first, hear at least want bytes (None: as many as REPLY has), say last."""
    want = len(REPLY) if want is None else want
    received = b""
    piece = yield first
    while piece:
        received += piece
        if len(received) >= want:
            return last
        piece = yield b""
    return None


def open_descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
