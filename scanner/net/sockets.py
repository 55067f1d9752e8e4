"""The network on asyncio's own sockets: works wherever asyncio does."""

from __future__ import annotations

import asyncio
import socket
import time

from scanner.model.exchange import Ending
from scanner.net.network import Conversation, WireLog, ending_of_error, error_name

_PIECE_BYTES = 16_384


class AsyncioNetwork:
    """Network (scanner.net.network) on loop.sock_connect, sock_sendall and sock_recv."""

    async def drive(
        self, conversation: Conversation, *, address: str, port: int, deadline_s: float, max_bytes: int
    ) -> WireLog:
        """See Network.drive."""
        started = time.monotonic()
        talk = _Talk(conversation, max_bytes)
        sock: socket.socket | None = None
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)  # noqa: FBT003  # the standard library's signature
            async with asyncio.timeout(deadline_s):
                await talk.run(sock, address, port)
        except TimeoutError as error:
            number = error.errno
            if number is not None:
                talk.fail(number)
            else:
                talk.ending = Ending.TIMED_OUT_READ if talk.is_connected else Ending.TIMED_OUT_CONNECT
        except OSError as error:
            talk.fail(error.errno or 0)
        finally:
            conversation.close()
            if sock is not None:
                sock.close()
        return WireLog(
            sent=bytes(talk.sent),
            received=bytes(talk.received),
            ending=talk.ending,
            os_error=talk.os_error,
            elapsed_s=time.monotonic() - started,
        )

    async def close(self) -> None:
        """Nothing is held between connections."""


class _Talk:
    """One connection under way."""

    def __init__(self, conversation: Conversation, max_bytes: int) -> None:
        self.conversation = conversation
        self.max_bytes = max_bytes
        self.sent = bytearray()
        self.received = bytearray()
        self.is_connected = False
        self.ending = Ending.COMPLETE
        self.os_error: str | None = None

    def fail(self, number: int) -> None:
        self.ending = ending_of_error(number, is_connected=self.is_connected)
        self.os_error = error_name(number)

    async def run(self, sock: socket.socket, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (address, port))
        self.is_connected = True
        try:
            out = next(self.conversation)
            while True:
                await self._send(sock, out)
                piece = await loop.sock_recv(sock, _PIECE_BYTES)
                if not piece:
                    self.ending = Ending.PEER_CLOSED
                    self.conversation.send(b"")
                    return
                self.received += piece
                if len(self.received) > self.max_bytes:
                    del self.received[self.max_bytes :]
                    self.ending = Ending.OVERSIZE
                    return
                out = self.conversation.send(piece)
        except StopIteration as stop:
            if stop.value and self.ending is Ending.COMPLETE:
                await self._send(sock, stop.value)
        except (OSError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  # a bug in a conversation must cost one probe, not the scan
            self.ending = Ending.LOCAL_FAILURE
            self.os_error = f"{type(error).__name__}: {error}"

    async def _send(self, sock: socket.socket, out: bytes) -> None:
        # In pieces, as a deadline may come between them and the log tells what the kernel took.
        for at in range(0, len(out), _PIECE_BYTES):
            piece = out[at : at + _PIECE_BYTES]
            await asyncio.get_running_loop().sock_sendall(sock, piece)
            self.sent += piece
