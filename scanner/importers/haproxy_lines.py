"""haproxy.cfg as lines of words: quotes, escapes, comments, variables, sections and ``.if`` blocks. Pure.

Grammar: sections 2.2 to 2.4 of HAProxy's configuration manual. Seen with HAProxy 2.6: variables stand only within
double quotes; a backslash before another character than those of the manual stays; a line can't be continued.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from scanner.importers.source import ReadError, SourceFile
from scanner.model.declared import Place

SECTIONS: Final = frozenset(
    {"global", "defaults", "frontend", "backend", "listen", "peers", "mailers", "resolvers", "userlist", "program"}
    | {"http-errors", "ring", "log-forward", "log-profile", "cache", "fcgi-app", "crt-store", "traces", "acme"}
)
_MOST_DEPTH: Final = 200
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
_LITERAL: Final = " \t#\\'\"$"
_VARIABLE: Final = re.compile(r"\$(?:\{[^}\s]{0,1000}\}|[A-Za-z_.][A-Za-z0-9_.]{0,200})")
_VERSION_TEST: Final = re.compile(r"(!?)version_(atleast|before)\((\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?\)")

Number = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line."""

    text: str
    """Without quotes and escapes; a variable stands as it is written."""
    start: int
    """Offset in its line where it begins, with its quotes."""
    end: int
    """Offset behind it."""
    has_variable: bool = False
    """Whether an environment variable is part of it."""
    is_list: bool = False
    """Whether it may become several words: ``"${X[*]}"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section, by the line that begins it."""

    kind: str
    """``frontend``; empty before the first section."""
    name: str
    """As written; empty where it has none."""
    base: str | None
    """The ``defaults`` section that it names by ``from``."""
    place: Place
    is_conditional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyLine:
    """One line that is not blank, no comment and no ``.if``."""

    place: Place
    section: Section
    words: tuple[Word, ...]
    """At least one; those behind the first may hold secrets."""
    is_conditional: bool
    """Whether it stands under an ``.if`` that the file does not settle, or in a section that does."""
    is_header: bool = False
    """Whether it begins its section."""
    raw: str = field(default="", repr=False)
    """As it is written."""

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0].text


def parse_version(text: str | None) -> Number | None:
    """Return the numbers of ``2.6.12`` or ``HAProxy version 2.6.12-1``; None for anything else."""
    found = re.search(r"(?<![\d.])(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text or "")
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def split_words(text: str) -> list[Word] | None:
    """Return a line's words; None where a quote is not closed, which HAProxy refuses."""
    words: list[Word] = []
    parts: list[str] = []
    start: int | None = None
    quote, has_variable, is_list = "", False, False
    at = 0
    while at < len(text):
        char = text[at]
        if not quote and char in " \t":
            if start is not None:
                words.append(Word("".join(parts), start, at, has_variable, is_list))
                parts, start, has_variable, is_list = [], None, False, False
            at += 1
            continue
        if not quote and char == "#":
            break
        start = at if start is None else start
        if char in "'\"" and quote in {"", char}:
            quote = "" if quote else char
            at += 1
        elif char == "\\" and quote != "'":
            piece, at = _unescape(text, at)
            parts.append(piece)
        elif char == "$" and quote == '"' and (found := _VARIABLE.match(text, at)):
            has_variable = True
            is_list |= found[0].endswith("[*]}")
            parts.append(found[0])
            at = found.end()
        else:
            parts.append(char)
            at += 1
    if quote:
        return None
    if start is not None:
        words.append(Word("".join(parts), start, at, has_variable, is_list))
    return words


def _unescape(text: str, at: int) -> tuple[str, int]:
    following = text[at + 1 : at + 2]
    if following in _ESCAPES:
        return _ESCAPES[following], at + 2
    if following == "x" and re.fullmatch(r"[0-9A-Fa-f]{2}", text[at + 2 : at + 4]):
        return chr(int(text[at + 2 : at + 4], 16)), at + 4
    if following and following in _LITERAL:
        return following, at + 2
    return "\\", at + 1


def read_haproxy_lines(source: SourceFile, version: Number | None) -> list[HaproxyLine]:
    """Return the lines in order, without those that an ``.if`` surely leaves out.

    Raises ReadError where a quote is not closed, or ``.if`` and ``.endif`` don't match.
    """
    lines: list[HaproxyLine] = []
    section = Section(kind="", name="", base=None, place=Place(file=source.name, line=1), is_conditional=False)
    branches = _Branches(version)
    for number, raw in enumerate(source.text.split("\n"), 1):
        place = Place(file=source.name, line=number)
        words = split_words(raw.partition("\r")[0])
        if words is None:
            raise ReadError(f"{place.locator}: a quote that is not closed")
        if not words:
            continue
        name = words[0].text
        if name in {".if", ".elif", ".else", ".endif"}:
            branches.step(name, " ".join(word.text for word in words[1:]), place)
            continue
        if branches.is_left_out or name.startswith("."):
            continue
        is_header = name in SECTIONS
        if is_header:
            section = _section(words, place, is_conditional=branches.is_open)
        is_conditional = branches.is_open or section.is_conditional
        lines.append(
            HaproxyLine(
                place=place,
                section=section,
                words=tuple(words),
                is_conditional=is_conditional,
                is_header=is_header,
                raw=raw,
            )
        )
    if branches.levels:
        raise ReadError(f"{source.name}: .if without .endif")
    return lines


def _section(words: list[Word], place: Place, *, is_conditional: bool) -> Section:
    texts = [word.text for word in words[1:]]
    base = texts[texts.index("from") + 1] if "from" in texts[:-1] else None
    name = texts[0] if texts and texts[0] != "from" else ""
    return Section(kind=words[0].text, name=name, base=base, place=place, is_conditional=is_conditional)


class _Branches:
    """The ``.if`` blocks around a line."""

    def __init__(self, version: Number | None) -> None:
        self.levels: list[tuple[bool | None, bool | None]] = []
        """Each: whether its present branch holds, and whether one up to it did. None is not known."""
        self._version = version
        self._left_out_count = 0
        self._open_count = 0

    @property
    def is_left_out(self) -> bool:
        """Whether a line here is surely not read."""
        return self._left_out_count > 0

    @property
    def is_open(self) -> bool:
        """Whether it can't be known if a line here is read."""
        return self._open_count > 0

    def step(self, name: str, condition: str, place: Place) -> None:
        """Take one of the four directives; raises ReadError where it does not match."""
        if name == ".if":
            if len(self.levels) >= _MOST_DEPTH:
                raise ReadError(f"{place.locator}: .if is nested too deep")
            taken: bool | None = False
        elif not self.levels:
            raise ReadError(f"{place.locator}: {name} without .if")
        else:
            holds, taken = self.levels.pop()
            self._add(holds, -1)
            if name == ".endif":
                return
        wanted = True if name == ".else" else self._evaluate(condition)
        branch = False if taken is True or wanted is False else None if taken is None else wanted
        taken = True if True in {taken, wanted} else None if None in {taken, wanted} else False
        self.levels.append((branch, taken))
        self._add(branch, 1)

    def _add(self, holds: bool | None, count: int) -> None:  # noqa: FBT001 - a state of three values
        self._left_out_count += count if holds is False else 0
        self._open_count += count if holds is None else 0

    def _evaluate(self, condition: str) -> bool | None:
        text = condition.strip()
        if not text:
            return False
        if re.fullmatch(r"[0-9]{1,9}", text):
            return int(text) != 0
        found = _VERSION_TEST.fullmatch(text)
        if found is None or self._version is None:
            return None
        asked = (int(found[3]), int(found[4]), int(found[5] or 0))
        holds = self._version >= asked if found[2] == "atleast" else self._version < asked
        return not holds if found[1] else holds
