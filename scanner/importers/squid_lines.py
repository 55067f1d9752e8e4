"""Squid's configuration as lines: continuation, comments, ``if`` blocks and includes, as cache_cf.cc reads them. Pure.

Seen with ``squid -k parse`` 5.7: comment lines within a continued line are skipped, words that begin with ``#`` end a
line, ``if`` knows ``true``, ``false`` and integers compared by ``=``, names are case-sensitive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from scanner.importers.source import MOST_BYTES, MOST_INCLUDES_COUNT, Folder, IncludeRefusedError, ReadError, SourceFile
from scanner.model.declared import Place

_MOST_DEPTH = 16
"""cache_cf.cc: ``include`` deeper than this is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SquidLine:
    """One directive."""

    place: Place
    """Where it begins."""
    name: str
    """The directive."""
    words: tuple[str, ...]
    """Its arguments: they may hold secrets."""
    is_conditional: bool
    """Whether it stands in an ``if`` that the file does not settle."""


@dataclass(slots=True)
class SquidLines:
    """What a file and its includes hold."""

    lines: list[SquidLine] = field(default_factory=list)
    """Directives in the order they act, without those under ``if false``."""
    missing: list[Place] = field(default_factory=list)
    """``include`` lines of which no file was supplied."""
    includes: list[tuple[str, str]] = field(default_factory=list)
    """Names and sha256 of the files that were included."""
    bytes_count: int = 0
    """Of the included files."""


def read_squid_lines(source: SourceFile, folder: Folder) -> SquidLines:
    """Return the directives; raises ReadError where ``if`` and ``endif`` don't match or includes have no end."""
    found = SquidLines()
    _read(source, folder, found, depth=0, is_conditional=False)
    return found


def _read(source: SourceFile, folder: Folder, found: SquidLines, *, depth: int, is_conditional: bool) -> None:
    # Each ``if``: True and False where it is settled, None where it is not.
    branches: list[bool | None] = []
    for number, text in _joined(source.text):
        place = Place(file=source.name, line=number)
        name, _, rest = text.partition(" ") if "\t" not in text else _split_name(text)
        if name == "if":
            if len(branches) >= 200:
                raise ReadError(f"{place.locator}: ``if`` is nested too deep")
            branches.append(_evaluate(rest))
        elif text == "else" and branches:
            branches[-1] = None if branches[-1] is None else not branches[-1]
        elif text == "endif" and branches:
            branches.pop()
        elif text in {"else", "endif"}:
            raise ReadError(f"{place.locator}: {text} without if")
        elif False in branches:
            continue
        elif name == "include":
            _include(rest, place, folder, found, depth=depth, is_conditional=is_conditional or None in branches)
        else:
            words = _words(rest)
            found.lines.append(
                SquidLine(place=place, name=name, words=words, is_conditional=is_conditional or None in branches)
            )
    if branches:
        raise ReadError(f"{source.name}: if without endif")


def _include(rest: str, place: Place, folder: Folder, found: SquidLines, *, depth: int, is_conditional: bool) -> None:
    for pattern in rest.split():
        try:
            files = folder.find(pattern)
        except IncludeRefusedError:
            files = ()
        if not files:
            found.missing.append(place)
        for file in files:
            found.includes.append((file.name, file.sha256))
            found.bytes_count += len(file.data)
            if depth >= _MOST_DEPTH or len(found.includes) > MOST_INCLUDES_COUNT or found.bytes_count > MOST_BYTES:
                raise ReadError(f"{place.locator}: include goes too deep, or is too much")
            _read(file, folder, found, depth=depth + 1, is_conditional=is_conditional)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.split("\r", 1)[0].lstrip()
        if not line or line.startswith("#"):
            continue
        if not parts:
            first = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield first, "".join([*parts, line]).strip()
        parts = []
    if parts and (rest := "".join(parts).strip()):
        yield first, rest


def _split_name(text: str) -> tuple[str, str, str]:
    name, *rest = text.split(maxsplit=1)
    return name, " ", rest[0] if rest else ""


def _words(rest: str) -> tuple[str, ...]:
    words = rest.split()
    end = next((index for index, word in enumerate(words) if word.startswith("#")), len(words))
    return tuple(words[:end])


def _evaluate(condition: str) -> bool | None:
    words = condition.split()
    if words in (["true"], ["false"]):
        return words == ["true"]
    if len(words) == 3 and words[1] == "=" and all(w.isascii() and w.isdigit() and len(w) < 10 for w in words[::2]):
        return int(words[0]) == int(words[2])
    return None
