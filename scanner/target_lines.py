"""One line of a targets file as text: its words, options and section, and how it may be shown. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scanner.target_forms import FormError, maybe_address, parse_name, parse_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OPTIONS = ("sni", "port", "vendor", "farm", "tag")
"""Options a target line may have."""

MAX_SHOWN = 200
"""Most characters of a line that a message repeats."""

# A comment begins with # at the begin of a word, so that tag=a#1 and URL fragments stay whole.
_WORD = re.compile(r'\s*(?:(?P<comment>#)|(?P<word>(?:"(?:[^"\\]|\\.)*"|[^\s"])+))')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r'\\(["\\])')
_OPTION = re.compile(rf"(?:{'|'.join(OPTIONS)})=", re.IGNORECASE)
# Free text, where an @ is an ordinary character.
_FREE_OPTION = re.compile(r"(?:vendor|farm|tag)=", re.IGNORECASE)
_FREE_OPTION_TEXT = re.compile(r'(?<!\S)(?:vendor|farm|tag)=(?:"[^"]*"|[^\s"])*', re.IGNORECASE)
_URL_TAIL = re.compile(r"(://[^\s?#]*)[?#]\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The ``key=value`` words of a line."""

    server_name: str | None = None
    """``sni=``, an A-label name."""
    ports: tuple[int, ...] | None = None
    """``port=``."""
    vendor: str | None = None
    """``vendor=``."""
    farm: str | None = None
    """``farm=``."""
    tags: tuple[str, ...] = ()
    """``tag=``, each once, in order."""


def split_words(line: str) -> tuple[str, list[str]]:
    r"""Return the line without comment and outer blanks, and its words without their quotes. Raises FormError.

    Not shlex: it takes a # inside a word for a comment, and its backslash eats the one in DOMAIN\name.
    """
    if '"' not in line and "#" not in line:
        return line.strip(), line.split()
    words: list[str] = []
    position = 0
    while (match := _WORD.match(line, position)) and match["comment"] is None:
        words.append(_QUOTED.sub(lambda quoted: _ESCAPE.sub(r"\1", quoted[1]), match["word"]))
        position = match.end()
    rest = line[position:].lstrip()
    if rest.startswith('"'):
        raise FormError('a double quote (") is not closed', 'write vendor="Example Proxy"')
    return line[:position].strip(), words


def maybe_section(written: str) -> str | None:
    """Return the section's name in lower case; None where the line is no section header. Raises FormError."""
    if not written.startswith("["):
        return None
    name, closed, rest = written[1:].partition("]")
    if ":" in name:  # a bracketed IPv6 address
        return None
    if not closed:
        raise FormError("a section header is not closed", "write [servers]")
    if rest:
        raise FormError(
            "text after a section header",
            "put targets on lines of their own; brackets round an address are for IPv6 only",
        )
    return name.strip().lower()


def parse_options(words: Sequence[str]) -> Options:
    """Return the options in words. Raises FormError."""
    values: dict[str, str] = {}
    tags: dict[str, None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lower()
        if not equals:
            raise FormError(*_stray_word(word))
        if key not in OPTIONS:
            raise FormError("no such option", suggest(key, [f"{option}=" for option in OPTIONS]))
        value = value.strip()
        if not value or not value.isprintable():
            raise FormError(f"{key}= has no value that can be used", f"write {key}=VALUE, or leave the option out")
        if key == "tag":
            tags.update(dict.fromkeys(_parse_tags(value)))
        elif key in values:
            raise FormError(f"{key}= is given twice", f"keep one {key}=")
        values[key] = value
    return Options(
        server_name=_parse_server_name(values["sni"]) if "sni" in values else None,
        ports=parse_ports(values["port"]) if "port" in values else None,
        vendor=values.get("vendor"),
        farm=values.get("farm"),
        tags=tuple(tags),
    )


def is_option(word: str) -> bool:
    """Return whether word begins like a known option."""
    return _OPTION.match(word) is not None


def may_hold_credentials(words: Sequence[str]) -> bool:
    """Return whether there is an @ where ``user:password@`` could be: outside of options, not as first character.

    Blanks in a password cut it in two words, hence the look at all of them.
    """
    first = words[0].removeprefix("!")
    return any("@" in word and not _FREE_OPTION.match(word) for word in (first[1:], *words[1:]))


def show_line(line: str) -> str:
    """Return a line for messages: credentials and a URL's query replaced, odd characters escaped, not too long."""
    line = line.strip()
    # Options are blanked (same length), so that an @ in a tag does not count.
    blanked = _FREE_OPTION_TEXT.sub(lambda match: " " * len(match[0]), line)
    at = blanked.rfind("@")
    if at > 0 and "://" not in line:
        # Without a scheme, an @ in a comment is an ordinary one.
        at = re.split(r"(?:^|\s)#", blanked, maxsplit=1)[0].rfind("@")
    if at > 0:
        scheme, separator, _ = line[:at].partition("://")
        line = f"{scheme if separator else ''}{separator}***{line[at:]}"
    line = strip_url_query(line)
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."


def strip_url_query(text: str) -> str:
    """Return text with the query and fragment of a URL cut off: they may hold a token, and TLS needs neither."""
    return _URL_TAIL.sub(r"\1", text)


def suggest(word: str, valid: Iterable[str]) -> str:
    """Return the mend for a misspelt word: the nearest valid one, and all of them."""
    choices = list(valid)
    plain = {choice.strip("[]="): choice for choice in choices}
    near = difflib.get_close_matches(word.replace("_", "-").replace(" ", ""), plain, n=1, cutoff=0.5)
    hint = f"did you mean {plain[near[0]]}? " if near else ""
    return f"{hint}valid are {', '.join(choices)}"


def _stray_word(word: str) -> tuple[str, str]:
    if re.fullmatch(r"[0-9,-]+", word):
        return "a number after the target", "write the port as HOST:PORT or port=PORT"
    return "a word after the target that is no key=value option", "write one target a line; quote values with blanks"


def _parse_tags(value: str) -> list[str]:
    tags = [tag.strip() for tag in value.split(",")]
    if not all(tags):
        raise FormError("tag= has an empty item", "write tag=one,two")
    return tags


def _parse_server_name(value: str) -> str:
    if maybe_address(value.strip("[]")) is not None:
        raise FormError("sni= is an address; TLS allows only a name there (RFC 6066 section 3)", "write a DNS name")
    return parse_name(value)
