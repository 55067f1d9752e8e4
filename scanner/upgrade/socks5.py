"""SOCKS version 5 (RFC 1928), user name and password (RFC 1929), without I/O. Never raises for a peer.

Own code: socksio, the library for this, takes one whole reply at a time, neither less nor more of the stream, asserts
on what a peer may send, and was last released in 2020; with its framing done here, nothing of it would be left.
"""

from __future__ import annotations

from collections.abc import Generator

from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials
from scanner.upgrade.opening import Opening, maybe_address, parse_destination

_VERSION = 5
_PASSWORD_VERSION = 1
_NO_AUTHENTICATION = 0
_PASSWORD = 2
_NONE_ACCEPTABLE = 0xFF
_METHOD_NAMES = {1: "GSS-API", 3: "CHAP", 5: "challenge and response", 6: "TLS", 7: "NDS"}
"""The IANA registry's names of what this program doesn't speak."""
_CONNECT = 1
_NAME = 3
_ADDRESS_KINDS = {4: 1, 6: 4}
_ADDRESS_BYTES = {1: 4, 4: 16}
_MAX_PART_BYTES = 255
_REPLIES = {
    1: "general SOCKS server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
"""RFC 1928 section 6."""


class _Declined(Exception):  # noqa: N818  # no error: an answer
    """Why, for people."""


def socks5_connect(
    destination: str, credentials: Credentials | None, auth: ProxyAuth, heard: bytearray
) -> Generator[bytes, bytes, Opening]:
    """Ask for destination (``host:port``) and return what came of it; a name is sent as a name.

    ``heard`` takes the proxy's bytes. The password is sent only where the proxy chooses it, though it could have
    chosen none.
    """
    heard.clear()
    try:
        unread = yield from _authenticate(credentials, auth, heard)
        rest = yield from _connect(destination, heard, unread)
    except _Declined as declined:
        return Opening(is_open=False, declined=str(declined))
    del heard[len(heard) - len(rest) :]
    return Opening(is_open=True, rest=rest)


def _authenticate(credentials: Credentials | None, auth: ProxyAuth, heard: bytearray) -> Generator[bytes, bytes, bytes]:
    """Agree on a method and go through it; return what came beyond."""
    secret = None if credentials is None or auth.is_refused else _encode_password(credentials)
    methods = bytes([_NO_AUTHENTICATION] if secret is None else [_NO_AUTHENTICATION, _PASSWORD])
    unread = yield from _read(bytes([_VERSION, len(methods)]) + methods, b"", 2, heard)
    version, method = unread[:2]
    if version != _VERSION:
        raise _Declined("the answer is not SOCKS5")
    if method == _NONE_ACCEPTABLE:
        if auth.is_refused:
            raise _Declined("SOCKS5: the proxy refused the credentials before")
        offered = "without authentication" if secret is None else "with a password or without"
        raise _Declined(f"SOCKS5: the proxy accepts nobody {offered} (no acceptable methods)")
    if method == _NO_AUTHENTICATION:
        return unread[2:]
    if method != _PASSWORD or secret is None:
        name = _METHOD_NAMES.get(method, f"method {method}")
        raise _Declined(f"SOCKS5: the proxy chose {name}, which was not offered")
    unread = yield from _read(secret, unread[2:], 2, heard)
    if unread[1] != 0:
        auth.on_refused()
        raise _Declined("SOCKS5: the proxy refused the credentials")
    auth.on_accepted()
    return unread[2:]


def _connect(destination: str, heard: bytearray, unread: bytes) -> Generator[bytes, bytes, bytes]:
    """Send CONNECT; return what came beyond the reply."""
    unread = yield from _read(_encode_connect(destination), unread, 2, heard)
    version, code = unread[:2]
    if version != _VERSION:
        raise _Declined("the answer is not SOCKS5")
    if code != 0:  # some proxies send no more of the reply then
        raise _Declined(f"SOCKS5 reply {code}: {_REPLIES.get(code, 'not assigned')}")
    unread = yield from _read(b"", unread, 5, heard)
    kind = unread[3]
    length = 1 + unread[4] if kind == _NAME else _ADDRESS_BYTES.get(kind)
    if length is None:
        raise _Declined(f"the answer is not SOCKS5: address type {kind}")
    whole = 4 + length + 2
    unread = yield from _read(b"", unread, whole, heard)
    return unread[whole:]


def _read(out: bytes, unread: bytes, count: int, heard: bytearray) -> Generator[bytes, bytes, bytes]:
    """Send, and return at least count bytes."""
    while out or len(unread) < count:
        received = yield out
        out = b""
        if not received:
            raise _Declined("closed in the middle of its answer" if heard else "closed without an answer")
        heard += received
        unread += received
    return unread


def _encode_password(credentials: Credentials) -> bytes:
    """Encode RFC 1929's request, in UTF-8."""
    user, password = credentials.user.encode(), credentials.password.encode()
    if max(len(user), len(password)) > _MAX_PART_BYTES or not password:
        raise _Declined("SOCKS5: user name and password must be 1 to 255 bytes long (RFC 1929)")
    return bytes([_PASSWORD_VERSION, len(user)]) + user + bytes([len(password)]) + password


def _encode_connect(destination: str) -> bytes:
    host, port = parse_destination(destination)
    address = maybe_address(host)
    if address is None:
        name = host.encode("ascii")
        where = bytes([_NAME, len(name)]) + name
    else:
        where = bytes([_ADDRESS_KINDS[address.version]]) + address.packed
    return bytes([_VERSION, _CONNECT, 0]) + where + port.to_bytes(2, "big")
