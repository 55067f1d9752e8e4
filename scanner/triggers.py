"""What to run or configure so that a host opens connections to a listener of ours, with its clean-up. No network.

Host and listener are checked before they get near a command: what is put into the templates is made of letters, digits,
dots, hyphens, underscores and (addresses) colons alone, so that it means nothing to PowerShell, shells or any of the
configuration languages. The secret only goes into the names' macs.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from scanner.model.subjects import Role, is_address
from scanner.outbound.methods import method_of
from scanner.outbound.tokens import NO_NAME_SUFFIX, encode_trigger_name, encode_trigger_path
from scanner.target_forms import FormError, HostForm, parse_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import jinja2

ATTEMPTS = 8
"""Connections that each trigger opens: the listener tries one of six versions with each, and some get lost."""
SERVICE_MINUTES = 12
"""How long the AD FS service is given to fetch as often, a minute apart."""
COMMENT = "entra-tls-trigger"
"""Marks every line that is put into a file, for the clean-up."""
DEFAULT_PORT = 443

_SAFE_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|[0-9a-f:.]*[0-9a-f:]")


class Kind(StrEnum):
    """What the host is: the words of ``--for``."""

    ADFS = "adfs"
    WAP = "wap"
    WINDOWS = "windows"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    APACHE = "apache"
    SQUID = "squid"
    ENVOY = "envoy"
    F5 = "f5"
    ALL = "all"


_VENDORS = (
    (("nginx",), Kind.NGINX),
    (("haproxy",), Kind.HAPROXY),
    (("apache", "httpd"), Kind.APACHE),
    (("squid",), Kind.SQUID),
    (("envoy", "istio"), Kind.ENVOY),
    (("f5", "big-ip", "bigip"), Kind.F5),
    (("web application proxy", "wap"), Kind.WAP),
    (("ad fs", "adfs"), Kind.ADFS),
    (("windows", "microsoft", "iis"), Kind.WINDOWS),
)
_ROUTED = (Kind.NGINX, Kind.HAPROXY, Kind.APACHE, Kind.SQUID, Kind.ENVOY, Kind.F5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerPlace:
    """Where the listener is, as the host reaches it."""

    host: str
    """A DNS name in A-label form, or an address in canonical text form."""
    port: int
    """TCP port."""

    def __post_init__(self) -> None:
        """Refuse what can't be put into a command."""
        _checked(self.host)
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"{self.port} is no TCP port")

    @property
    def is_address(self) -> bool:
        """Whether it has no name of its own."""
        return is_address(self.host)

    @property
    def suffix(self) -> str:
        """What the names that lead to it end with."""
        return NO_NAME_SUFFIX if self.is_address else self.host

    def __str__(self) -> str:
        return f"{_in_url(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Commands, or lines of a configuration, that belong together."""

    caption: str
    """Where they go, for people."""
    language: str
    """``powershell``, ``shell``, ``nginx``, ``haproxy``, ``apache``, ``squid`` or ``yaml``."""
    text: str
    """The lines, without an empty one at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One way to have the host connect."""

    id: str
    """Unique among triggers."""
    method: str
    """Id of the method (scanner.outbound.methods); stands in the name."""
    title: str
    """One line for people."""
    connects: str
    """Program and TLS library that open the connection, as far as is known."""
    name: str
    """Server name that the connection carries; scanner.outbound.tokens.read_name reads it."""
    path: str
    """HTTP path that the request carries; scanner.outbound.tokens.read_path reads it."""
    proves: tuple[str, ...]
    """What it shows, a sentence each."""
    limits: tuple[str, ...]
    """What it can't show, a sentence each."""
    needs: tuple[str, ...]
    """What it needs and changes, a sentence each."""
    unverified: tuple[str, ...]
    """What no document says, a sentence each."""
    source: str
    """Where the commands are documented."""
    steps: tuple[Snippet, ...]
    """What to do, in order."""
    cleanup: tuple[Snippet, ...]
    """What to do afterwards; empty where nothing is left."""
    name_steps: tuple[Snippet, ...]
    """How the name leads to the listener where no wildcard record does; empty where it need not."""
    name_cleanup: tuple[Snippet, ...]
    """How to undo name_steps."""


def parse_host(text: str) -> str:
    """Return the host in its canonical form; FormError for anything that is not one name or address."""
    form = parse_form(text)
    if not isinstance(form, HostForm):
        raise FormError("a trigger is for one host, not for a range", "name one host")
    if "%" in form.host:
        raise FormError("an address with a zone id means nothing to other machines", "write the address without it")
    return _checked(form.host)


def parse_listener(text: str) -> ListenerPlace:
    """Return ``HOST:PORT``, ``[IPv6]:PORT`` or ``HOST`` (port 443) as data; FormError otherwise."""
    form = parse_form(text)
    if not isinstance(form, HostForm) or "%" in form.host or (form.ports is not None and len(form.ports) != 1):
        raise FormError("a listener is one host and one port", "write listener.example.com:443")
    if form.number == 0:
        raise FormError("nobody can connect to the unspecified address", "write the address that the host can reach")
    return ListenerPlace(host=form.host, port=DEFAULT_PORT if form.ports is None else form.ports[0])


def choose_kinds(role: Role | None, vendor: str | None) -> tuple[Kind, ...]:
    """Return what to print for a host where the user didn't say: by its product, else by its role, else everything."""
    known = (vendor or "").lower()
    for words, kind in _VENDORS:
        if any(re.search(rf"\b{re.escape(word)}\b", known) for word in words):
            return (kind,)
    if role is Role.ADFS:
        return (Kind.ADFS, Kind.WAP)
    if role is Role.REVERSE_PROXY:
        return (Kind.WAP, *_ROUTED)
    return (Kind.ALL,)


def plan_triggers(
    host: str, kinds: Iterable[Kind], listener: ListenerPlace, *, secret: bytes | None
) -> tuple[Trigger, ...]:
    """Return the triggers for a host, in the order of the data file.

    host: canonical (parse_host). secret: the listener's; None where it has none. ValueError where the host can't stand
    in a name or the name gets too long for DNS.
    """
    _checked(host)
    wanted = set(kinds)
    return tuple(
        _plan_trigger(entry, host, listener, secret)
        for entry in _entries()
        if Kind.ALL in wanted or not wanted.isdisjoint(entry["kinds"])
    )


def _plan_trigger(entry: dict[str, Any], host: str, listener: ListenerPlace, secret: bytes | None) -> Trigger:
    method = method_of(entry["method"])
    name = encode_trigger_name(method.id, host, listener.suffix, secret)
    path = encode_trigger_path(method.id, host, secret)
    values = {
        "attempts": ATTEMPTS,
        "counts": " ".join(map(str, range(1, ATTEMPTS + 1))),
        "host": host,
        "host_in_url": _in_url(host),
        "host_name": "" if is_address(host) else host,
        "is_address": listener.is_address,
        "listener_at": str(listener),
        "listener_host": listener.host,
        "listener_in_url": _in_url(listener.host),
        "mark": COMMENT,
        "minutes": SERVICE_MINUTES,
        "name": name,
        "object": f"entra-tls-{entry['id']}",
        "path": path,
        "path_in_regex": path.replace(".", "[.]"),
        "port": listener.port,
    }
    naming, undoing = _NAMING[entry["naming"]]
    return Trigger(
        id=entry["id"],
        method=method.id,
        title=entry["title"],
        connects=method.stack,
        name=name,
        path=path,
        proves=tuple(entry["proves"]),
        limits=method.limits,
        needs=tuple(entry["needs"]),
        unverified=tuple(entry["unverified"]),
        source=method.source,
        steps=_snippets(entry["steps"], values),
        cleanup=_snippets(entry["cleanup"], values),
        name_steps=_snippets(naming, values),
        name_cleanup=_snippets(undoing, values),
    )


def _hosts_file(language: str, suffix: str) -> tuple[Sequence[dict[str, str]], Sequence[dict[str, str]]]:
    add = {"caption": "A line in the hosts file of that server", "language": language, "file": f"hosts.{suffix}.j2"}
    undo = {"caption": "Take it out again", "language": language, "file": f"hosts_clean.{suffix}.j2"}
    return (add,), (undo,)


_NAMING: dict[str, tuple[Sequence[dict[str, str]], Sequence[dict[str, str]]]] = {
    "windows": _hosts_file("powershell", "ps1"),
    "unix": _hosts_file("shell", "sh"),
    "curl": ((), ()),
    "own": ((), ()),
}


def _snippets(rows: Sequence[dict[str, str]], values: dict[str, object]) -> tuple[Snippet, ...]:
    return tuple(
        Snippet(
            caption=row["caption"],
            language=row["language"],
            text=_environment().get_template(row["file"]).render(values | row).rstrip("\n"),
        )
        for row in rows
    )


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415  # jinja2 is loaded only where it is used

    return jinja2.Environment(  # noqa: S701  # no HTML; values are of harmless characters alone (_checked)
        loader=jinja2.FunctionLoader(_read), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _entries() -> tuple[dict[str, Any], ...]:
    return tuple(tomllib.loads(_read("triggers.toml"))["trigger"])


def _read(name: str) -> str:
    return resources.files("scanner.data").joinpath("triggers", name).read_text(encoding="utf-8")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _checked(host: str) -> str:
    if _SAFE_HOST.fullmatch(host) is None:
        raise ValueError("not a DNS name in A-label form or an address")
    if ":" in host:
        IPv6Address(host)
    return host


__all__ = [
    "ATTEMPTS",
    "COMMENT",
    "DEFAULT_PORT",
    "SERVICE_MINUTES",
    "Kind",
    "ListenerPlace",
    "Snippet",
    "Trigger",
    "choose_kinds",
    "parse_host",
    "parse_listener",
    "plan_triggers",
]
