"""Answers an SSLv2 CLIENT-HELLO with a SERVER-HELLO, to learn whether the client goes on.

draft-hickman-netscape-ssl-00. A CLIENT-MASTER-KEY in return is all there is to learn: the client has settled
for SSLv2. Nothing is decrypted.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scanner.listener.words import PEER_CLOSED, maybe_fatal_alert, render_received_alert
from scanner.model.exchange import EngineReport
from scanner.tls.suites import SSL2_ALL

if TYPE_CHECKING:
    from collections.abc import Generator

    from scanner.listener.identity import Leaf
    from scanner.listener.pages import Visitor

ENGINE = "SSLv2 answer"
"""What reports call this engine."""

_ERROR = 0
_CLIENT_MASTER_KEY = 2
_SERVER_HELLO = 4
_X509 = 1
_NO_CIPHER = 1
_VERSION = b"\x00\x02"
_CONNECTION_ID_BYTES = 16
_TLS_ALERT = 21
_MAX_RECORD_BYTES = 0x7FFF


class Ssl2Answer:
    """One connection answered with SSLv2. Not reusable."""

    def __init__(self, leaves: tuple[Leaf, ...], visitor: Visitor) -> None:
        self._hello = visitor.hello
        self._leaf = next((leaf for leaf in leaves if leaf.is_rsa), None)
        self._error: str | None = None

    @property
    def http_path(self) -> None:
        """None: no request is ever read."""
        return

    def converse(self, first: bytes) -> Generator[bytes, bytes, bytes]:
        """See scanner.listener.answering.Answer."""
        if not self._hello.is_ssl2_format:
            self._error = "no SSLv2 hello to answer"
            return b""
        kinds = tuple(dict.fromkeys(kind for kind in self._hello.suites if kind in SSL2_ALL))
        if self._leaf is None or not kinds:
            self._error = "sent SSLv2 error 1 (no cipher)"
            return _record(bytes([_ERROR, 0, _NO_CIPHER]))
        certificate = self._leaf.chain_der[0]
        reply = encode_ssl2_server_hello(certificate, kinds, os.urandom(_CONNECTION_ID_BYTES))
        if reply is None:
            self._error = "the certificate is too long for SSLv2"
            return b""
        received = bytearray(first[self._hello.wire_bytes :])
        out = reply
        while not self._is_over(received):
            piece = yield out
            out = b""
            if not piece:
                self._error = PEER_CLOSED
                break
            received += piece
        return out

    def _is_over(self, received: bytearray) -> bool:
        """Read the client's next message; return whether it is there, and note it unless it is CLIENT-MASTER-KEY."""
        if not received:
            return False
        if received[0] == _TLS_ALERT:
            number = maybe_fatal_alert(bytes(received[:7]))
            if number is None and len(received) < 7:
                return False
            self._error = "a TLS record" if number is None else render_received_alert(number)
            return True
        header_bytes = 2 if received[0] & 0x80 else 3
        mask = 0x7F if header_bytes == 2 else 0x3F
        end = header_bytes + int.from_bytes([received[0] & mask, *received[1:2]], "big")
        if len(received) < max(2, min(end, _MAX_RECORD_BYTES)):
            return False
        kind = received[header_bytes] if end > header_bytes else None
        if kind == _ERROR:
            self._error = f"received SSLv2 error {int.from_bytes(received[header_bytes + 1 : end][:2], 'big')}"
        elif kind != _CLIENT_MASTER_KEY:
            self._error = "no CLIENT-MASTER-KEY but something else"
        return True

    def report(self) -> EngineReport:
        """See scanner.listener.answering.Answer. Never completed: going on is what the bytes show."""
        chain = () if self._leaf is None else self._leaf.chain_der[:1]
        return EngineReport(engine=ENGINE, completed=False, chain_der=chain, error=self._error)


def encode_ssl2_server_hello(certificate: bytes, kinds: tuple[int, ...], connection_id: bytes) -> bytes | None:
    """Return the record of a SERVER-HELLO without session id hit; None where the certificate is too long for one."""
    specs = b"".join(kind.to_bytes(3, "big") for kind in kinds)
    lengths = b"".join(len(part).to_bytes(2, "big") for part in (certificate[:0xFFFF], specs, connection_id))
    message = bytes([_SERVER_HELLO, 0, _X509]) + _VERSION + lengths + certificate + specs + connection_id
    return _record(message) if len(message) <= _MAX_RECORD_BYTES else None


def _record(message: bytes) -> bytes:
    return (0x8000 | len(message)).to_bytes(2, "big") + message
