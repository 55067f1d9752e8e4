"""User names and passwords for proxies: where they come from, and how they stay out of sight.

They come from the environment variable ``ENTRA_TLS_PROXY_AUTH`` (``user:password``, for every proxy) or from a file.
A line of the file is ``HOST[:PORT] user:password`` for one proxy or ``user:password`` for every other; IPv6 with a port
is ``[2001:db8::1]:3128``. Blank lines and lines that begin with ``#`` are passed over. The password is everything after
the first colon to the end of the line, spaces included. A user name can't hold a space or a colon (RFC 7617 section 2
forbids the colon). What the file says of one proxy goes before what it says of every other, and the file before the
variable.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scanner.upgrade.opening import maybe_address

VARIABLE = "ENTRA_TLS_PROXY_AUTH"
"""The environment variable's name."""

MAX_FILE_BYTES = 1_048_576
"""Longest file that is read."""

_PROXY = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password. Its repr and its errors show neither."""

    user: str = field(repr=False)
    """Not empty; no colon and no control character (RFC 7617 section 2)."""
    password: str = field(repr=False)
    """May be empty; no control character."""

    def __post_init__(self) -> None:
        if why := _why_not(self.user, self.password):
            raise ValueError(why)


class CredentialsError(ValueError):
    """What is wrong with a variable or a file; never repeats anything that may be a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCredentials:
    """Credentials by proxy. Its repr shows neither names nor passwords."""

    by_proxy: Mapping[tuple[str, int | None], Credentials] = field(default_factory=dict)
    """By host (lower case, addresses in canonical form) and port; port None: any."""
    otherwise: Credentials | None = None
    """For every other proxy."""
    warnings: tuple[str, ...] = ()
    """What the user should know, a sentence each: a file that others may read."""

    def for_proxy(self, host: str, port: int) -> Credentials | None:
        """Return what a proxy may be told when it asks, or None."""
        name = _canonical(host)
        return self.by_proxy.get((name, port)) or self.by_proxy.get((name, None)) or self.otherwise


def read_credentials(env: Mapping[str, str], file: Path | None) -> ProxyCredentials:
    """Read the environment (``os.environ``) and a file where one is named; raises CredentialsError with what is wrong.

    An empty variable counts as none.
    """
    otherwise = _from_variable(env.get(VARIABLE, ""))
    if file is None:
        return ProxyCredentials(otherwise=otherwise)
    text, warnings = _read_text(file)
    by_proxy: dict[tuple[str, int | None], Credentials] = {}
    lines: dict[tuple[str, int | None] | None, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, credentials = _parse_line(line.lstrip(), f"{file}:{number}")
        if key in lines:
            what = "all proxies" if key is None else "this proxy"
            raise CredentialsError(f"{file}:{number}: line {lines[key]} is for {what} too")
        lines[key] = number
        if key is None:
            otherwise = credentials
        else:
            by_proxy[key] = credentials
    if not lines:
        raise CredentialsError(f"{file}: there are no credentials in it")
    return ProxyCredentials(by_proxy=by_proxy, otherwise=otherwise, warnings=warnings)


def _from_variable(text: str) -> Credentials | None:
    if not text:
        return None
    user, colon, password = text.partition(":")
    why = _why_not(user, password) if colon else "there is no colon between user name and password"
    if why:
        raise CredentialsError(f"{VARIABLE}: {why}")
    return Credentials(user, password)


def _read_text(file: Path) -> tuple[str, tuple[str, ...]]:
    """Return a file's text and warnings."""
    why = ""
    data = b""
    mode = 0
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
    text = ""
    if len(data) > MAX_FILE_BYTES:
        why = f"it is longer than {MAX_FILE_BYTES} bytes"
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            number = data[: error.start].count(b"\n") + 1
            why = f"line {number} is not UTF-8"
    if why:  # not raised where it was caught: that error holds the file's bytes
        raise CredentialsError(f"{file}: {why}")
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        return text, (f"{file} holds passwords and can be read by other users of this machine; chmod 600 mends that",)
    return text, ()


def _parse_line(line: str, where: str) -> tuple[tuple[str, int | None] | None, Credentials]:
    head, _, rest = line.partition(" ") if " " in line else line.partition("\t")
    key = _maybe_proxy(head) if ":" in rest else None
    user, colon, password = (rest.lstrip() if key else line).partition(":")
    if not colon:
        raise CredentialsError(f"{where}: there is no colon between user name and password")
    if key is not None and key[1] is not None and not 0 < key[1] <= _MAX_PORT:
        raise CredentialsError(f"{where}: a port is 1 to {_MAX_PORT}")
    if " " in user or "\t" in user:
        raise CredentialsError(f"{where}: a line is HOST[:PORT] user:password, or user:password")
    if why := _why_not(user, password):
        raise CredentialsError(f"{where}: {why}")
    return key, Credentials(user, password)


def _maybe_proxy(text: str) -> tuple[str, int | None] | None:
    if maybe_address(text) is not None:
        return _canonical(text), None
    match = _PROXY.fullmatch(text)
    if match is None or (match["literal"] is not None and maybe_address(match["literal"]) is None):
        return None
    return _canonical(match["literal"] or match["host"]), int(match["port"]) if match["port"] else None


def _canonical(host: str) -> str:
    address = maybe_address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _why_not(user: str, password: str) -> str | None:
    """Return what is wrong, without a word of either."""
    if not user:
        return "the user name is empty"
    if ":" in user:
        return "a user name can't hold a colon (RFC 7617 section 2)"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in user + password):
        return "there is a control character in it (RFC 7617 section 2)"
    return None
