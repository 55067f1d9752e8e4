"""The form of a hello: everything in it that does not change from one connection of the same client to the next. Pure.

Left out: random, session id, server name, key shares (their groups stay), tickets and PSK binders, early data, padding,
cookies, ECH's payload and GREASE (RFC 8701). Extensions are sorted: Chromium shuffles them.
"""

from __future__ import annotations

import hashlib

from scanner.tls.client_hello import GREASE, ClientHello

_SERVER_NAME = 0
_SUPPORTED_GROUPS = 10
_SIGNATURE_ALGORITHMS = 13
_PADDING = 21
_SESSION_TICKET = 35
_PRE_SHARED_KEY = 41
_EARLY_DATA = 42
_SUPPORTED_VERSIONS = 43
_COOKIE = 44
_KEY_SHARE = 51
_ENCRYPTED_CLIENT_HELLO = 0xFE0D

_CHANGING = frozenset({_SERVER_NAME, _PADDING, _PRE_SHARED_KEY, _EARLY_DATA, _COOKIE})
"""Extensions that come and go with the name, the length and the client's memory of us."""
_CHANGING_DATA = frozenset({_SESSION_TICKET, _ENCRYPTED_CLIENT_HELLO})


def form_of(hello: ClientHello) -> str:
    """Return the identity of the hello's form, 16 hexadecimal digits: the same for all connections of one client."""
    extensions = sorted(
        (number, _lasting_data(number, data))
        for number, data in hello.extensions
        if number not in _CHANGING and number not in GREASE
    )
    suites = tuple(suite for suite in hello.suites if suite not in GREASE)
    lasting = (hello.is_ssl2_format, hello.legacy_version, suites, hello.compression, extensions)
    return hashlib.sha256(repr(lasting).encode()).hexdigest()[:16]


def _lasting_data(number: int, data: bytes) -> bytes:
    if number in _CHANGING_DATA:
        return b""
    if number == _KEY_SHARE:
        return _without_grease(_share_groups(data))
    if number in {_SUPPORTED_GROUPS, _SIGNATURE_ALGORITHMS}:
        return _without_grease(data[2:])
    if number == _SUPPORTED_VERSIONS:
        return _without_grease(data[1:])
    return data


def _share_groups(data: bytes) -> bytes:
    groups = bytearray()
    at = 2
    while at + 4 <= len(data):
        groups += data[at : at + 2]
        at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    return bytes(groups)


def _without_grease(data: bytes) -> bytes:
    pairs = (data[at : at + 2] for at in range(0, len(data), 2))
    return b"".join(pair for pair in pairs if int.from_bytes(pair, "big") not in GREASE)
