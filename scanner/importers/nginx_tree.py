"""nginx's configuration as a tree of blocks, includes resolved, every directive with its place. Pure.

The lexer is crossplane's (Apache-2.0). crossplane.parse and crossplane.lex open files themselves; what works on text is
``crossplane.lexer._lex_file_object``, a private name, so the release is pinned: crossplane 0.5.8.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from crossplane.errors import NgxParserBaseException
from crossplane.ext.lua import LuaBlockPlugin
from crossplane.lexer import _lex_file_object, register_external_lexer

from scanner.importers.source import MOST_INCLUDES_COUNT, Folder, IncludeRefusedError, ReadError, SourceFile
from scanner.model.declared import Place
from scanner.model.evidence import GapReason

MOST_NESTING_COUNT: Final = 200
"""Deeper blocks (includes count as one level) are refused."""
MOST_STATEMENTS_COUNT: Final = 2_000_000
"""More directives, those of repeated includes counted each time, are refused."""

OPAQUE_BLOCKS: Final = frozenset(
    {"charset_map", "geo", "geoip2", "keyval", "map", "match", "split_clients", "types", "events"}
)
"""Blocks whose lines are values and no directives, or have nothing to do with TLS."""
_HARMLESS_INCLUDES: Final = frozenset(
    {"fastcgi.conf", "fastcgi_params", "koi-utf", "koi-win", "mime.types", "scgi_params", "uwsgi_params", "win-utf"}
)
"""Files of nginx's own package (its conf folder) that hold no TLS directive."""

# nginx takes space, tab, CR and LF for white space and nothing else (ngx_conf_file.c); crossplane asks str.isspace.
_NO_SPACE: Final = {
    code: "\ufffd" for code in range(0x3001) if chr(code).isspace() and chr(code) not in {" ", "\t", "\r", "\n"}
}

# Lua blocks that crossplane 0.5.8 does not know; braces and quotes in them are Lua's.
_register: Any = register_external_lexer  # it has no types
_register(
    directives=(
        "ssl_client_hello_by_lua_block",
        "proxy_ssl_certificate_by_lua_block",
        "proxy_ssl_verify_by_lua_block",
        "server_rewrite_by_lua_block",
        "precontent_by_lua_block",
        "exit_worker_by_lua_block",
    ),
    lexer=LuaBlockPlugin().lex,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One directive, with its block if it has one."""

    name: str
    args: tuple[str, ...] = field(repr=False)
    place: Place
    start: int
    """Offset of its first character in the file's text."""
    end: int
    """Offset after its ``;``, or after the ``{`` that opens its block."""
    children: tuple[Statement, ...] | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An include whose files were not there, or a context that is."""

    place: Place
    gap: GapReason
    detail: str


@dataclass(slots=True, kw_only=True, eq=False)
class Block:
    """A block with what it holds, that of its includes too."""

    head: Statement | None
    """The directive that opens it; None for the file itself."""
    parent: Block | None
    statements: dict[str, list[Statement]] = field(default_factory=dict)
    """Directives without a block, by name, each name's in their order."""
    blocks: list[Block] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The directive's name; empty for the file itself."""
        return "" if self.head is None else self.head.name

    def path(self) -> Iterator[Block]:
        """Yield the block and those around it, from inside to outside."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.parent


def parse_statements(source: SourceFile) -> tuple[Statement, ...]:
    """Return the directives of one file; raises ReadError, with the line, where it is no nginx configuration."""
    text = source.text.translate(_NO_SPACE)
    consumed_count = 0

    def characters() -> Iterator[str]:
        nonlocal consumed_count
        for character in itertools.chain(text, "\n;"):  # the sentinel: an unclosed quote would swallow it
            consumed_count += 1
            yield character

    levels: list[list[Statement]] = [[]]
    openings: list[tuple[list[str], int, int, int]] = []
    words: list[str] = []
    line, first_line, boundary, is_closed = 1, 1, 0, False
    try:
        for word, line, is_quoted in _lex_file_object(characters()):
            if not is_quoted and word.startswith("#"):
                boundary = boundary if words else consumed_count
                continue
            if is_quoted or word not in {";", "{", "}"}:
                first_line = first_line if words else line
                words.append(word)
                continue
            if consumed_count > len(text) + 1:
                is_closed = True
                break
            if (word == "}") is bool(words) or (word == "}" and not openings):
                raise ReadError(f"{source.name}:{line}: unexpected '{word}'")
            if word == "}":
                opening, at, start, end = openings.pop()
                children = tuple(levels.pop())
                levels[-1].append(_statement(opening, Place(file=source.name, line=at), start, end, children))
            else:
                while text[boundary] in " \t\r\n":
                    boundary += 1
                if word == "{":
                    if len(openings) >= MOST_NESTING_COUNT:
                        raise ReadError(f"{source.name}:{line}: more than {MOST_NESTING_COUNT} blocks deep")
                    openings.append((words, first_line, boundary, consumed_count))
                    levels.append([])
                else:
                    place = Place(file=source.name, line=first_line)
                    levels[-1].append(_statement(words, place, boundary, consumed_count, None))
                words = []
            boundary = consumed_count
    except NgxParserBaseException:
        raise ReadError(f"{source.name}:{line}: a Lua block that can't be read") from None
    if words or openings or not is_closed:
        raise ReadError(f"{source.name}:{line}: unexpected end of file, within a quote, a directive or a block")
    return tuple(levels[0])


def _statement(
    words: list[str], place: Place, start: int, end: int, children: tuple[Statement, ...] | None
) -> Statement:
    return Statement(name=words[0], args=tuple(words[1:]), place=place, start=start, end=end, children=children)


class Tree:
    """A configuration with its includes."""

    def __init__(self, source: SourceFile, folder: Folder) -> None:
        """Read it all; raises ReadError where a file is no nginx configuration, or the whole is too large."""
        self.root = Block(head=None, parent=None)
        self.all: list[tuple[Block, Statement]] = []
        """Every directive with the block it stands in, in nginx's order."""
        self.sources: dict[str, SourceFile] = {source.name: source}
        """Every file read, by name, the given one first."""
        self._folder = folder
        self._parsed: dict[str, tuple[Statement, ...]] = {}
        self._includes_count = 0
        self._fill(self.root, self._statements_of(source), depth=0)

    def _statements_of(self, source: SourceFile) -> tuple[Statement, ...]:
        if source.name not in self._parsed:
            self.sources[source.name] = source
            self._parsed[source.name] = parse_statements(source)
        return self._parsed[source.name]

    def _fill(self, block: Block, statements: tuple[Statement, ...], *, depth: int) -> None:
        if depth > MOST_NESTING_COUNT:
            raise ReadError(f"{_where(statements)}more than {MOST_NESTING_COUNT} blocks and includes deep")
        for statement in statements:
            self.all.append((block, statement))
            if len(self.all) > MOST_STATEMENTS_COUNT:
                raise ReadError(f"{statement.place.locator}: more than {MOST_STATEMENTS_COUNT} directives")
            if statement.children is not None:
                inner = Block(head=statement, parent=block)
                block.blocks.append(inner)
                self._fill(inner, statement.children, depth=depth + 1)
            elif statement.name == "include" and not is_opaque(block):
                self._include(block, statement, depth=depth)
            else:
                block.statements.setdefault(statement.name, []).append(statement)

    def _include(self, block: Block, statement: Statement, *, depth: int) -> None:
        self._count_include(statement)
        pattern = statement.args[0] if len(statement.args) == 1 else ""
        detail = "the included file was not supplied"
        found: tuple[SourceFile, ...] = ()
        try:
            found = self._folder.find(pattern) if pattern else ()
            if not found and "*" in pattern and self._has_files_beside(pattern):
                return  # the folder was supplied, and nothing in it matches
        except IncludeRefusedError:
            detail = "the included file lies outside the folder that was supplied"
        if not found and pattern.rpartition("/")[2] not in _HARMLESS_INCLUDES:
            block.missing.append(Missing(place=statement.place, gap=GapReason.INCLUDE_MISSING, detail=detail))
        for source in found:
            self._count_include(statement)
            self._fill(block, self._statements_of(source), depth=depth + 1)

    def _count_include(self, statement: Statement) -> None:
        self._includes_count += 1
        if self._includes_count > 2 * MOST_INCLUDES_COUNT:  # a directive and the file it finds count as two
            raise ReadError(f"{statement.place.locator}: more than {MOST_INCLUDES_COUNT} includes")

    def _has_files_beside(self, pattern: str) -> bool:
        folder, slash, _ = pattern.rpartition("/")
        return bool(slash) and bool(self._folder.find(f"{folder}/*"))


def is_opaque(block: Block) -> bool:
    """Return whether a block holds values and no directives."""
    return any(level.name in OPAQUE_BLOCKS for level in block.path())


def _where(statements: tuple[Statement, ...]) -> str:
    return f"{statements[0].place.locator}: " if statements else ""


def top_blocks(tree: Tree) -> list[Block]:
    """Return the http, stream and mail blocks; a file of bare servers stands in an http block that is not there."""
    tops = [block for block in tree.root.blocks if block.name in {"http", "stream", "mail"}]
    bare = [block for block in tree.root.blocks if block.name in {"server", "upstream"}]
    if bare and bare[0].head is not None:
        head = replace(bare[0].head, name="http", args=(), children=())
        missing = Missing(place=head.place, gap=GapReason.NOT_IN_FILE, detail="the http block is not in this file")
        top = Block(head=head, parent=None, statements=tree.root.statements, blocks=bare, missing=[missing])
        top.missing += tree.root.missing
        for block in bare:
            block.parent = top
        tops.append(top)
    return tops


def is_made_up(top: Block) -> bool:
    """Return whether a top block is one that is not in the file."""
    return any(each.gap is GapReason.NOT_IN_FILE for each in top.missing)
