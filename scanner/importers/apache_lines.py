"""httpd.conf as directives: continuation, quotes, sections, conditions, ``Define`` and includes. Pure.

Seen with ``apache2 -t`` 2.4.71: a comment that ends in a backslash takes the next line with it, there is no comment at
a line's end, an undefined ``${NAME}`` stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from scanner.importers.source import MOST_BYTES, MOST_INCLUDES_COUNT, Folder, IncludeRefusedError, ReadError, SourceFile
from scanner.model.declared import Place

_MOST_DEPTH = 50
_MOST_NESTING = 200
_MOST_CHARACTERS = 8_192
"""httpd's MAX_STRING_LEN: variables do not make a line longer."""
_MOST_EXPANDED = 16 * 1024 * 1024
"""Variables of all lines together; what is beyond stays as it is written."""
_VARIABLE = re.compile(r"\$\{([^{}]{1,256})\}")
_CONDITIONS = frozenset({"ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection"})
_VERSION = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?(?:\.(\d{1,4}))?")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """One section that is no condition."""

    name: str
    """Lower case: ``virtualhost``."""
    args: tuple[str, ...]
    """Its arguments."""
    place: Place
    """Where it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApacheLine:
    """One directive, or a section's beginning (``section`` is then the last of ``sections``, and ``name`` its name)."""

    place: Place
    """Where it begins."""
    name: str
    """Lower case; ``<virtualhost`` where a section begins, ``(missing)`` for an include that was not supplied."""
    args: tuple[str, ...]
    """Its arguments: they may hold secrets."""
    sections: tuple[Section, ...]
    """What it stands in, outermost first."""
    is_conditional: bool
    """Whether it stands under a condition that the file does not settle."""


@dataclass(slots=True)
class ApacheFacts:
    """What is known while reading, and what was included."""

    version: tuple[int, int, int] | None
    """Of httpd, where the user says it."""
    defines: dict[str, str] = field(default_factory=dict)
    """By ``Define``."""
    modules: set[str] = field(default_factory=set)
    """By ``LoadModule``: identifiers and ``mod_x.c`` names, lower case."""
    includes: list[tuple[str, str]] = field(default_factory=list)
    """Names and sha256."""
    missing: list[Place] = field(default_factory=list)
    """Includes that were not supplied."""
    bytes_count: int = 0
    """Of the included files."""
    expanded_count: int = 0
    """Characters that variables have put in."""


def parse_version(text: str | None) -> tuple[int, int, int] | None:
    """Return ``2.4.62`` as numbers; None for what is none."""
    match = _VERSION.match(text or "")
    return (int(match[1]), int(match[2] or 0), int(match[3] or 0)) if match else None


def read_apache_lines(source: SourceFile, folder: Folder, facts: ApacheFacts) -> Iterator[ApacheLine]:
    """Yield directives in the order they act; raises ReadError where sections don't match or includes have no end."""
    # A vhost may be closed in its own file only, so each file's sections are its own, below those it is included in.
    yield from _read(source, folder, facts, (), depth=0, is_conditional=False)


def _read(
    source: SourceFile,
    folder: Folder,
    facts: ApacheFacts,
    outer: tuple[Section, ...],
    *,
    depth: int,
    is_conditional: bool,
) -> Iterator[ApacheLine]:
    # Open sections: name, the sections inside it, and for conditions what is known of them (else True).
    stack: list[tuple[str, tuple[Section, ...], bool | None]] = []
    unknown_count = false_count = 0
    sections = outer
    for number, text in _joined(source.text):
        place = Place(file=source.name, line=number)
        if text.startswith("</"):
            name = text[2:].rstrip("> \t").lower()
            if not stack or stack[-1][0] != name:
                raise ReadError(f"{place.locator}: a section ends that is not open")
            _, sections, truth = stack.pop()
            unknown_count -= truth is None
            false_count -= truth is False
            continue
        is_section = text.startswith("<")
        name, args = split_directive(_expand(text.strip("<>") if is_section else text, facts))
        if is_section:
            if len(stack) >= _MOST_NESTING:
                raise ReadError(f"{place.locator}: sections are nested too deep")
            truth = _evaluate(name, args, facts) if name in _CONDITIONS else True
            stack.append((name, sections, truth))
            unknown_count += truth is None
            false_count += truth is False
            if name in _CONDITIONS or false_count:
                continue
            sections = (*sections, Section(name=name, args=args, place=place))
            name = f"<{name}"
        if false_count:
            continue
        may = is_conditional or unknown_count > 0
        if name in {"include", "includeoptional"}:
            found = _find(args, place, folder, facts, depth)
            if not found:
                facts.missing.append(place)
                yield ApacheLine(place=place, name="(missing)", args=(), sections=sections, is_conditional=may)
            for file in found:
                yield from _read(file, folder, facts, sections, depth=depth + 1, is_conditional=may)
            continue
        _learn(name, args, facts, is_conditional=may)
        yield ApacheLine(place=place, name=name, args=args, sections=sections, is_conditional=may)
    if stack:
        raise ReadError(f"{source.name}: a section is not closed")


def _find(
    args: tuple[str, ...], place: Place, folder: Folder, facts: ApacheFacts, depth: int
) -> tuple[SourceFile, ...]:
    try:
        found = folder.find(args[0]) if args and args[0] else ()
    except IncludeRefusedError:
        return ()
    for file in found:
        facts.includes.append((file.name, file.sha256))
        facts.bytes_count += len(file.data)
    if depth >= _MOST_DEPTH or len(facts.includes) > MOST_INCLUDES_COUNT or facts.bytes_count > MOST_BYTES:
        raise ReadError(f"{place.locator}: includes go too deep, or are too much")
    return found


def _learn(name: str, args: tuple[str, ...], facts: ApacheFacts, *, is_conditional: bool) -> None:
    if name == "define" and args and not is_conditional:
        facts.defines[args[0]] = args[1] if len(args) > 1 else ""
    elif name in {"define", "undefine"} and args:
        facts.defines.pop(args[0], None)
    elif name == "loadmodule" and len(args) > 1 and not is_conditional:
        facts.modules.add(args[0].lower())
        facts.modules.add(args[1].rsplit("/", 1)[-1].removesuffix(".so").lower() + ".c")


def _joined(text: str) -> Iterator[tuple[int, str]]:
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        if not parts:
            first = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        whole = "".join([*parts, line]).strip()
        parts = []
        if whole and not whole.startswith("#"):
            yield first, whole
    if (whole := "".join(parts).strip()) and not whole.startswith("#"):
        yield first, whole


def _expand(text: str, facts: ApacheFacts) -> str:
    if "${" not in text:
        return text
    pieces: list[str] = []
    position = length = 0
    for match in _VARIABLE.finditer(text):
        value = facts.defines.get(match[1], match[0])
        # ``Define A ${A}${A}`` doubles at every line: what grows too long stays as it is written.
        if length + len(value) > _MOST_CHARACTERS or facts.expanded_count + length > _MOST_EXPANDED:
            value = match[0]
        pieces += [text[position : match.start()], value]
        length += len(value)
        position = match.end()
    facts.expanded_count += length
    return "".join([*pieces, text[position:]])


def split_directive(text: str) -> tuple[str, tuple[str, ...]]:
    r"""Return a directive's name in lower case, and its arguments without quotes (``\"`` stands for the quote)."""
    words: list[str] = []
    position, end = 0, len(text)
    while position < end:
        while position < end and text[position].isspace():
            position += 1
        if position == end:
            break
        quote = text[position] if text[position] in "\"'" and words else ""
        position += bool(quote)
        begin = position
        while position < end and not (text[position] == quote if quote else text[position].isspace()):
            position += 2 if quote and text[position] == "\\" else 1
        word = text[begin:position]
        words.append(word.replace("\\" + quote, quote) if quote else word)
        position += bool(quote)
    return (words[0].lower(), tuple(words[1:])) if words else ("", ())


def _evaluate(name: str, args: tuple[str, ...], facts: ApacheFacts) -> bool | None:
    """Return whether a condition holds; None where the file does not settle it."""
    if not args:
        return None
    is_negated = args[0].startswith("!")
    word = args[0].removeprefix("!")
    truth: bool | None = None
    if name == "ifmodule":
        # Without mod_ssl there is no TLS at all, and directives of its outside a condition would stop httpd.
        is_known = word.lower() in {"ssl_module", "mod_ssl.c"} or word.lower() in facts.modules
        truth = True if is_known else None
    elif name == "ifdefine":
        truth = True if word in facts.defines else None
    elif name == "ifversion" and facts.version is not None:
        operator, wanted = (word or "=", args[1]) if len(args) > 1 else ("=", word)
        truth = _compare(operator, wanted, facts.version)
    return None if truth is None else truth is not is_negated


def _compare(operator: str, wanted: str, version: tuple[int, int, int]) -> bool | None:
    match = _VERSION.fullmatch(wanted)
    if match is None:
        return None
    other = (int(match[1]), int(match[2] or 0), int(match[3] or 0))
    if operator in {"=", "=="}:
        return version == other
    return {">": version > other, ">=": version >= other, "<": version < other, "<=": version <= other}.get(operator)
