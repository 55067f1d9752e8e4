"""Proxies of a few lines, for what no product does on demand: reset, silence, half an answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.lab.model import ServerProcess
from tests.proxies.model import ProxyKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.proxies.model import Part, Stage

_ANSWER_S = 30.0
_HEAD_BYTES = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposable(ServerProcess):
    """A process that takes seconds to end politely and has nothing to save."""

    def stop(self) -> None:
        """Kill its whole group and wait."""

        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(5)


class Deed(StrEnum):
    """What a scripted proxy does with a request."""

    RESET = "reset"
    CLOSE = "close"
    SILENT = "silent"
    OPEN_THEN_CLOSE = "open-then-close"
    OPEN_THEN_RESET = "open-then-reset"
    OPEN_THEN_SILENT = "open-then-silent"
    STATUS_502 = "502"
    STATUS_407_BARE = "407-bare"
    GARBAGE = "garbage"
    SOCKS_FORBIDS = "socks-forbids"
    SOCKS_NO_METHOD = "socks-no-method"


_OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
_HEADS = {
    Deed.OPEN_THEN_CLOSE: _OPEN,
    Deed.OPEN_THEN_RESET: _OPEN,
    Deed.OPEN_THEN_SILENT: _OPEN,
    Deed.STATUS_502: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlab\n",
    Deed.STATUS_407_BARE: b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n",
    Deed.GARBAGE: b"\x00\x01\xff lab \x7f\r\n\r\n",
}
_RESETS = frozenset({Deed.RESET, Deed.OPEN_THEN_RESET})
_STAYS = frozenset({Deed.SILENT, Deed.OPEN_THEN_SILENT})
_READS_ON = frozenset({Deed.OPEN_THEN_CLOSE, Deed.OPEN_THEN_RESET})


class _Server:
    """Threads that do one deed to each connection."""

    def __init__(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        self._listener = listener
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_ANSWER_S)
            self._serve(connection)
        with self._lock:
            self._open.discard(connection)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            # Wakes accept() too, which close() alone does not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def log_tail(self) -> str:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted(ProxyKind):
    """One deed."""

    product: str = "scripted"
    deed: Deed

    def start(self, stage: Stage) -> list[Part]:
        """Listen and do it to everyone."""
        listener = socket.create_server((stage.address, stage.port))
        return [_Server(listener, self._serve)]

    def _serve(self, connection: socket.socket) -> None:
        if self.deed in {Deed.SOCKS_FORBIDS, Deed.SOCKS_NO_METHOD}:
            self._serve_socks(connection)
            return
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
            received = connection.recv(4_096)
            if not received:
                return
            head += received
        connection.sendall(_HEADS.get(self.deed, b""))
        if self.deed in _READS_ON:
            connection.recv(4_096)
        if self.deed in _STAYS:
            while connection.recv(4_096):
                pass
        if self.deed in _RESETS:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _serve_socks(self, connection: socket.socket) -> None:
        connection.recv(257)
        if self.deed is Deed.SOCKS_NO_METHOD:
            connection.sendall(b"\x05\xff")
            connection.recv(1)
            return
        connection.sendall(b"\x05\x00")
        connection.recv(262)
        # RFC 1928 section 6: connection not allowed by ruleset.
        connection.sendall(b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")
        connection.recv(1)
