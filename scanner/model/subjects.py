"""What is scanned: targets (what the user asked for), hosts, and endpoints (what is contacted)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Why a target matters (docs/targets.md)."""

    ENDPOINT = "endpoint"
    ADFS = "adfs"
    PROXY = "proxy"
    REVERSE_PROXY = "reverse-proxy"
    SERVER = "server"


class Direction(StrEnum):
    """INBOUND: the host accepts the connection. OUTBOUND: the host opens it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Upgrade(StrEnum):
    """What comes before TLS on the connection."""

    NONE = "none"
    """Nothing: TLS from the first byte."""
    HTTP_CONNECT = "http-connect"
    """CONNECT (RFC 9110 section 9.3.6) to a proxy that speaks plain HTTP."""
    HTTPS_CONNECT = "https-connect"
    """The same to a proxy that speaks HTTP over TLS."""
    SOCKS5 = "socks5"
    """SOCKS version 5 (RFC 1928)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the user asked for: one line of the targets file, or one argument, made complete."""

    text: str
    """The line as written, without comment; shown in reports. Never holds a secret."""
    host: str
    """A DNS name in its ASCII (A-label) form without trailing dot, or an IP address in canonical text form."""
    role: Role
    """Why the target matters."""
    ports: tuple[int, ...]
    """TCP ports to probe that must answer, in the order given."""
    optional_ports: tuple[int, ...] = ()
    """TCP ports to probe where nothing listening is a normal answer (AD FS 49443 in alternate-hostname mode)."""
    server_name: str | None = None
    """SNI in A-label form; None means: the host if it is a name, else no SNI at all (RFC 6066: never an address)."""
    vendor: str | None = None
    """Product name as the user gave it, for vendor-specific advice."""
    farm: str | None = None
    """Name of the farm or cluster this host is a node of."""
    tags: tuple[str, ...] = ()
    """Free labels, in the order given."""
    is_from_range: bool = False
    """True where the target came from an address range: no listener there is not worth a row."""
    cloud: str | None = None
    """``global``, ``usgov`` or ``china`` where the target came from ``@entra:...``."""
    locator: str = "argument"
    """Where it was asked for: ``targets.txt:12`` or ``argument``."""
    proxy: Upgrade | None = None
    """How a forward proxy is spoken to, where the user said so (``http://``, ``https://``, ``socks5://``); None: as its
    own port answers."""

    @property
    def sni(self) -> str | None:
        """The server name to send, or None for none."""
        if self.server_name is not None:
            return self.server_name
        return None if is_address(self.host) else self.host


def is_address(text: str) -> bool:
    """Return whether text is an IPv4 or IPv6 address rather than a name (in A-label form)."""
    return ":" in text or text.replace(".", "").isdigit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is contacted: one address and port, under one server name."""

    host: str
    """The host (identity) the results are about; see Target.host."""
    address: str
    """IPv4 or IPv6 address in canonical text form."""
    port: int
    """TCP port, 1 to 65535."""
    server_name: str | None
    """SNI to send, or None for none."""
    upgrade: Upgrade = Upgrade.NONE
    """What comes before TLS."""
    is_optional: bool = False
    """True where nothing listening is a normal answer."""
    destination: str | None = None
    """What a proxy is asked for, ``login.example.com:443`` or ``[2001:db8::1]:443``; None where upgrade is NONE."""

    @property
    def locator(self) -> str:
        """``tcp://192.0.2.7:443`` or ``tcp://[2001:db8::1]:443``; ``... -> login.example.com:443`` through a proxy."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        way = "" if self.destination is None else f" -> {self.destination}"
        return f"tcp://{address}:{self.port}{way}"
