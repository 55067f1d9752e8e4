"""What a proxy is asked for, and what came of asking. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_DESTINATION = re.compile(
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9._-]{1,253})):(?P<port>[0-9]{1,5})"
)
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What came of asking a proxy for a way."""

    is_open: bool
    """Whether what follows on the connection is the destination's."""
    rest: bytes = b""
    """Bytes that came together with the proxy's answer and are the destination's already."""
    declined: str | None = None
    """Why it is not open, for people: ``403 Forbidden``. May hold text from the network, bounded and made harmless."""
    wants_retry: bool = False
    """Whether the same question on a new connection goes better, as ProxyAuth has learned what the proxy asks for."""


def parse_destination(text: str) -> tuple[str, int]:
    """Return (host, port) of ``login.example.com:443``, ``192.0.2.7:443`` or ``[2001:db8::1]:443``; else ValueError."""
    match = _DESTINATION.fullmatch(text)
    if match is not None and 0 < int(match["port"]) <= _MAX_PORT:
        literal = match["literal"] and maybe_address(match["literal"])
        if match["host"]:
            return match["host"], int(match["port"])
        if isinstance(literal, IPv6Address):
            return str(literal), int(match["port"])
    raise ValueError(f"a destination is HOST:PORT or [IPV6]:PORT, not {text[:300]!r}")


def maybe_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that host is, or None for a name."""
    for kind in (IPv4Address, IPv6Address):
        try:
            return kind(host)
        except AddressValueError:
            continue
    return None
