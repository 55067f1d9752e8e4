"""How much of a reply is kept where all is clear: what was read, and what reads the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from scanner.tls.reply import (
    HELLO_RETRY_REQUEST_RANDOM,
    Incomplete,
    ServerHello,
    decode_reply,
    decode_reply_after_retry,
)

MOST_BYTES: Final = 4096
"""Bytes of a reply that are kept where what it says shows in them."""

_FEW_BYTES: Final = 64
_HANDSHAKE: Final = 22
_SERVER_HELLO: Final = 2
_MAX_RECORD_BYTES: Final = 16_384 + 2_048


def bound_hello_reply(received: bytes, sent: bytes) -> bytes:
    """Return the begin of the reply to a hello that says the same: up to the end of the ServerHello, if there is one.

    received: what came; sent: the hello (and what followed it). The result gives the same ``read_answer``.
    """
    if len(received) > 43 and received[0] == _HANDSHAKE and received[1] == 3 and received[5] == _SERVER_HELLO:
        record_bytes = int.from_bytes(received[3:5], "big")
        end = 9 + int.from_bytes(received[6:9], "big")
        # Only what is read from the first record alone, and is not looked beyond, ends here.
        if end <= 5 + record_bytes and record_bytes <= _MAX_RECORD_BYTES and end <= len(received):
            if received[11:43] != HELLO_RETRY_REQUEST_RANDOM:
                return received[:end]
            if len(received) <= end + _FEW_BYTES:  # a change_cipher_spec at most: not worth a look
                return received
            return _first_telling(received, sent, _cuts_after_retry(received, 5 + record_bytes))
    return bound_reply(received, sent)


def bound_reply(received: bytes, sent: bytes) -> bytes:
    """Return at most MOST_BYTES of a reply, or all of it where those do not say the same."""
    return received if len(received) <= MOST_BYTES else _first_telling(received, sent, iter((MOST_BYTES,)))


def _first_telling(received: bytes, sent: bytes, cuts: Iterator[int]) -> bytes:
    wanted = _read(received, sent)
    if not isinstance(wanted[0], Incomplete):  # the length of what decides nothing is told
        for cut in cuts:
            if cut < len(received) and _read(received[:cut], sent) == wanted:
                return received[:cut]
    return received


def _read(received: bytes, sent: bytes) -> tuple[object, object]:
    reply = decode_reply(received, sent=sent)
    is_retry = isinstance(reply, ServerHello) and reply.is_retry_request
    return reply, decode_reply_after_retry(received) if is_retry else None


def _cuts_after_retry(received: bytes, at: int) -> Iterator[int]:
    """Yield where the answer to the second hello may be over: after its first record that is no change_cipher_spec."""
    yield at
    while at + 5 <= len(received):
        kind = received[at]
        at += 5 + int.from_bytes(received[at + 3 : at + 5], "big")
        if kind != 20:  # change_cipher_spec
            yield at
            break
    yield MOST_BYTES
