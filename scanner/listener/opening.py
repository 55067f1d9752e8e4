"""What users say of a listener, and how a scan gets one: started here, or found running elsewhere."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from scanner.listener.access import ListenerAccess, LocalAccess, render_destination
from scanner.model.subjects import is_address
from scanner.outbound.tokens import NO_NAME_SUFFIX

if TYPE_CHECKING:
    from scanner.listener.identity import Identity
    from scanner.listener.server import Listener

SECRET_VARIABLE = "ENTRA_TLS_LISTENER_SECRET"  # noqa: S105  # its name
LEAST_SECRET_CHARS = 16
_MOST_SECRET_BYTES = 4_096
_MOST_PORT = 65_535
_NOT_OURS = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})


class ListenerError(ValueError):
    """A listener that can't be had; the message is for the user and repeats no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSpec:
    """``HOST:PORT`` or ``HOST:PORT@ADDRESS:PORT``: how others reach a listener, and where it listens."""

    host: str
    """Name or address that proxies are asked for."""
    port: int
    """Its port."""
    bind: tuple[str, int] | None = None
    """Address and port to listen on, where they are others (NAT); None: the host's own."""

    @property
    def name_suffix(self) -> str:
        """What ends the names that lead to it: its own name, or one that never resolves."""
        return NO_NAME_SUFFIX if is_address(self.host) else self.host

    @property
    def destination(self) -> str:
        """``listener.example.com:443``."""
        return render_destination(self.host, self.port)


def parse_listener(text: str) -> ListenerSpec:
    """Return what ``HOST:PORT[@ADDRESS:PORT]`` says; raises ListenerError."""
    reached, at, bound = text.partition("@")
    host, port = parse_place(reached)
    return ListenerSpec(host=host, port=port, bind=parse_place(bound, needs_address=True) if at else None)


def parse_place(text: str, *, needs_address: bool = False) -> tuple[str, int]:
    """Return (host, port) of ``HOST:PORT``, ``192.0.2.7:443`` or ``[2001:db8::1]:443``; raises ListenerError."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _MOST_PORT:
        raise ListenerError(
            f"a listener is HOST:PORT, such as 192.0.2.10:443 or [2001:db8::10]:443; not {text[:300]!r}"
        )
    try:
        address = ip_address(host)
    except ValueError:
        if is_bracketed or needs_address:
            raise ListenerError(f"an address and a port are wanted, such as 0.0.0.0:443; not {text[:300]!r}") from None
        from scanner.target_forms import FormError, parse_name  # noqa: PLC0415  # loads the tables of IDNA

        try:
            return parse_name(host), int(port)
        except FormError as error:
            raise ListenerError(f"{text[:300]!r}: {error.problem}") from None
    if address.version == 6 and not is_bracketed:  # the version's number
        raise ListenerError(f"an IPv6 address with a port needs brackets: [2001:db8::10]:443; not {text[:300]!r}")
    return str(address), int(port)


def read_secret(env: Mapping[str, str], file: Path | None) -> bytes | None:
    """Return the shared secret of a file, else of the environment, else None; raises ListenerError."""
    if file is None:
        text, where = env.get(SECRET_VARIABLE, "").encode("utf-8", "surrogateescape"), SECRET_VARIABLE
        if not text.strip():
            return None
    else:
        where = str(file)
        try:
            with file.open("rb") as opened:
                text = opened.read(_MOST_SECRET_BYTES + 1)
        except OSError as error:
            raise ListenerError(f"{where} can't be read: {error.strerror}") from None
    secret = text.strip()
    if not LEAST_SECRET_CHARS <= len(secret) <= _MOST_SECRET_BYTES:
        raise ListenerError(
            f"{where}: a secret has {LEAST_SECRET_CHARS} to {_MOST_SECRET_BYTES} characters; "
            "openssl rand -hex 24 makes one"
        )
    return secret


@dataclass(slots=True)
class OpenListener:
    """A listener that a scan may use, and who must be stopped afterwards."""

    access: ListenerAccess
    own: Listener | None
    """The one started here; None for one that runs elsewhere."""
    note: str
    """What was done, for people."""

    async def close(self) -> None:
        """Let go of it, and stop it where it was started here."""
        await self.access.close()
        if self.own is not None:
            await self.own.stop()


async def open_listener(spec: ListenerSpec, secret: bytes | None, identity: Identity | None = None) -> OpenListener:
    """Start a listener here; where its address is not this machine's, or taken, ask the one that runs there.

    identity: its certificates; None makes an authority for this run. Raises ListenerError.
    """
    from scanner.listener.identity import make_identity  # noqa: PLC0415  # loads cryptography
    from scanner.listener.server import Listener  # noqa: PLC0415

    binds = [spec.bind] if spec.bind is not None else await _own_binds(spec)
    listener = Listener(
        binds,
        identity or make_identity(),
        on_exchange=lambda _exchange: None,  # they are collected by their nonce
        secret=secret,
        name_suffix=spec.name_suffix,
    )
    try:
        await listener.start()
    except OSError as error:
        if error.errno not in _NOT_OURS or spec.bind is not None:
            raise ListenerError(f"can't listen on {_listed(binds)}: {error.strerror or error}") from None
    else:
        return OpenListener(
            LocalAccess(listener, spec.destination),
            listener,
            f"listening on {_listed(binds)} for the time of this scan",
        )
    if secret is None:
        raise ListenerError(
            f"{spec.destination} is not free here; to use a listener that runs there, give its secret "
            f"(--secret-file, or {SECRET_VARIABLE})"
        )
    from scanner.listener.remote import RemoteAccess  # noqa: PLC0415  # only what is used is loaded

    access = RemoteAccess(spec.host, spec.port, secret)
    try:
        await access.start()
    except OSError as error:
        raise ListenerError(str(error)) from None
    return OpenListener(access, None, f"using the listener that runs at {spec.destination}")


async def _own_binds(spec: ListenerSpec) -> list[tuple[str, int]]:
    """Return the addresses of the spec's host; a name is looked up as any program here would."""
    if is_address(spec.host):
        return [(spec.host, spec.port)]
    import asyncio  # noqa: PLC0415  # only where a name is to be looked up

    try:
        found = await asyncio.get_running_loop().getaddrinfo(spec.host, spec.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ListenerError(f"the listener's name {spec.host} has no address: {error.strerror or error}") from None
    return list(dict.fromkeys((str(item[4][0]), spec.port) for item in found))


def _listed(binds: list[tuple[str, int]]) -> str:
    return ", ".join(render_destination(host, port) for host, port in binds)
