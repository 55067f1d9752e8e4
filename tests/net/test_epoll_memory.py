"""The epoll network forgets connections that are over, long before their deadlines."""

from __future__ import annotations

import asyncio
import socket

from scanner.model.exchange import Ending
from scanner.net.network import open_network

COUNT = 4_000


def say_nothing():
    yield b""


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_thousands_of_refused_connections_with_a_long_deadline_are_not_kept():
    async def ask_all() -> int:
        network = open_network("epoll")
        port = closed_port()
        try:
            for _ in range(COUNT):
                log = await network.drive(say_nothing(), address="127.0.0.1", port=port, deadline_s=300, max_bytes=10)
                assert log.ending is Ending.REFUSED
            return len(network._deadlines)
        finally:
            await network.close()

    assert asyncio.run(ask_all()) < COUNT / 2
