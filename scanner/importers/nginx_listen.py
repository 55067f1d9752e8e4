"""nginx's listen and server_name lines, and addresses of upstreams: ngx_parse_url, ngx_http_core_listen. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scanner.importers.nginx_tree import Statement

_MOST_PORTS_COUNT: Final = 100
"""Of a port range; a longer one is left out."""
_NAME: Final = re.compile(r"[a-z0-9_*-][a-z0-9._*-]{0,252}")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """What nginx binds; servers on an equal one share it."""

    address: str | None
    """Canonical address; None for all of the family."""
    family: int
    """4 or 6; 0 where ``name`` is set."""
    port: int | None
    name: str | None = None
    """A host name, or a path, that the line has in place of an address."""
    is_default: bool = False
    """Whether the line says ``default_server``."""


def parse_listen(statement: Statement, *, is_http: bool) -> tuple[list[tuple[Socket, bool]], list[str]]:
    """Return the sockets of a listen line, each with whether the line says TLS, and what can't be shown."""
    words = set(statement.args[1:])
    if not statement.args:
        return [], []
    if "quic" in words:
        return [], ["It listens for QUIC (HTTP/3) too, which is TLS 1.3 by definition and is not judged."]
    is_default = bool(words & {"default_server", "default"})
    is_tls = "ssl" in words
    text = statement.args[0]
    if text.lower().startswith("unix:"):
        return [(Socket(address=None, family=0, port=None, name=text, is_default=is_default), is_tls)], [
            "It listens on a Unix socket, which can't be reached from outside."
        ]
    host, ports = _split(text, default_port=80 if is_http else None)
    if ports is None or len(ports) > _MOST_PORTS_COUNT:
        return [], ["It has a listen line in a form not understood."]
    family, address, name = 4, None, None
    if host.startswith("["):
        family = 6
    limits = []
    if host not in {"*", ""}:
        try:
            parsed = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            family, name = 0, host.lower()
            limits.append("It listens on a host name, whose address the file does not say.")
        else:
            family = parsed.version
            address = None if parsed.is_unspecified else str(parsed)
    sockets = [
        (Socket(address=address, family=family, port=port, name=name, is_default=is_default), is_tls) for port in ports
    ]
    return sockets, limits


def _split(text: str, *, default_port: int | None) -> tuple[str, range | None]:
    """Return host and ports of ``443``, ``*:443``, ``192.0.2.1``, ``[::]:443``, ``8000-8010``."""
    host, ports = text, ""
    if text.startswith("["):
        inner, _, rest = text.partition("]")
        host, ports = f"{inner}]", rest.removeprefix(":")
    elif ":" in text:
        host, _, ports = text.rpartition(":")
    elif re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", text):
        host, ports = "", text
    if not ports:
        return host, None if default_port is None else range(default_port, default_port + 1)
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", ports)
    if found is None:
        return host, None
    low, high = int(found[1]), int(found[2] or found[1])
    return host, range(low, high + 1) if 0 < low <= high <= 0xFFFF else None


def parse_names(statements: Iterable[Statement]) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of server_name lines, lower case, and what can't be shown; ``_`` and an empty name are none."""
    names: dict[str, None] = {}
    limits: list[str] = []
    for statement in statements:
        for word in statement.args:
            name = word.lower()
            if name in {"", "_"}:
                continue
            # .example.com stands for example.com and *.example.com
            wanted = [name[1:], f"*{name}"] if name.startswith(".") else [name]
            if all(_NAME.fullmatch(each) for each in wanted):
                names.update(dict.fromkeys(wanted))
            else:
                limits.append("It serves further names, by a pattern or a variable.")
    return tuple(names), limits


def upstream_address(text: str, port: int | None) -> str | None:
    """Return ``host:port`` of an upstream, with a default port; None for a Unix socket, a variable, anything odd."""
    found = re.fullmatch(rf"({_HOST.pattern})(?::([0-9]{{1,5}}))?", text[:300])
    if found is None or text.lower().startswith("unix:"):
        return None
    number = found[2] or (None if port is None else str(port))
    return found[1].lower() if number is None else f"{found[1].lower()}:{number}"
