"""bigip.conf as a tree: objects and statements with braces, each with its line. Pure, linear in the file's length.

Form: what ``tmsh save sys config`` and ``tmsh list`` write; braces that structure stand alone between blanks. The body
of an iRule is Tcl, and of no interest here: it is skipped up to the next object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from scanner.importers.source import ReadError

MOST_NESTING = 200
"""Deeper nesting is refused."""
_WORD = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^\s"]\S*', re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_TOP = ("ltm ", "net ", "sys ", "auth ", "apm ", "security ", "cm ", "gtm ", "asm ", "pem ", "cli ", "wom ")
_SKIPPED = (("ltm", "rule"), ("gtm", "rule"), ("sys", "icall"), ("cli", "script"), ("sys", "application"))
"""Objects that hold Tcl."""


@dataclass(slots=True, kw_only=True)
class Node:
    """One statement, with what its braces hold."""

    line: int
    """Where it begins, counted from 1."""
    words: tuple[str, ...] = field(repr=False)
    """Its words before the brace, without quotes."""
    children: list[Node] = field(default_factory=list, repr=False)
    """Statements in its braces; for ``{ a b }`` one statement with both words."""
    has_braces: bool = False
    """Whether it has any."""
    is_one_line: bool = False
    """Whether text follows its opening brace on the same line, as in ``tmsh list one-line``."""

    _by_name: dict[str, Node] | None = field(default=None, repr=False)

    def maybe_child(self, name: str) -> Node | None:
        """Return the last statement of this name; children must be complete when it is first asked."""
        if self._by_name is None:
            self._by_name = {child.words[0]: child for child in self.children if child.words}
        return self._by_name.get(name)

    def maybe_value(self, name: str) -> str | None:
        """Return the word after the last statement's name; None where it has none."""
        child = self.maybe_child(name)
        return child.words[1] if child is not None and len(child.words) > 1 else None

    def inner_words(self) -> list[str]:
        """Return all words in the braces that have no braces of their own: flags of a list."""
        return [word for child in self.children for word in child.words]


def parse_f5(text: str, name: str) -> list[Node]:
    """Return the objects of a file; raises ReadError where braces don't match or are nested too deep."""
    found: list[Node] = []
    open_nodes: list[Node] = []
    quoted: list[str] = []
    is_tcl = False
    for number, raw in enumerate(text.split("\n"), 1):
        line, first = raw.removesuffix("\r"), number
        # Braces of a script need not match; what begins like an object at the start of a line is one.
        is_tcl = is_tcl and not (line.startswith(_TOP) and line.rstrip().endswith(("{", "}")))
        if is_tcl:
            continue
        if quoted or '"' in line:
            if not quoted and line.lstrip().startswith("#"):
                continue
            # A quoted text goes on over line ends.
            is_going_on = bool(quoted) is (_count_quotes(line) % 2 == 0)
            quoted.append(line)
            if is_going_on:
                continue
            first = number - len(quoted) + 1
            line, quoted = "\n".join(quoted), []
        stripped = line.lstrip()
        if not stripped or stripped[0] == "#":
            continue
        if not open_nodes and tuple(stripped.split(None, 2)[:2]) in _SKIPPED:
            is_tcl = True
            found.append(Node(line=first, words=tuple(stripped.split(None, 2)[:2]), has_braces=True))
            continue
        _take_line(first, line, found, open_nodes, name)
    if quoted:
        raise ReadError(f"{name}: a quotation is not closed")
    if open_nodes:
        raise ReadError(f"{name}:{open_nodes[-1].line}: a brace is not closed")
    return found


def _take_line(number: int, line: str, found: list[Node], open_nodes: list[Node], name: str) -> None:
    words: list[str] = []
    opened: Node | None = None
    for word in _WORD.findall(line) if '"' in line else line.split():
        if word == "{":
            if len(open_nodes) >= MOST_NESTING:
                raise ReadError(f"{name}:{number}: braces are nested too deep")
            if opened is not None:
                opened.is_one_line = True
            opened = Node(line=number, words=tuple(words), has_braces=True)
            (open_nodes[-1].children if open_nodes else found).append(opened)
            open_nodes.append(opened)
            words = []
            continue
        if word == "}":
            if not open_nodes:
                raise ReadError(f"{name}:{number}: a brace closes that is not open")
            if words:
                open_nodes[-1].children.append(Node(line=number, words=tuple(words)))
                words = []
            open_nodes.pop()
            continue
        if opened is not None:
            opened.is_one_line = True
        words.append(_unquoted(word))
    if words:
        (open_nodes[-1].children if open_nodes else found).append(Node(line=number, words=tuple(words)))


def _unquoted(word: str) -> str:
    return _ESCAPED.sub(lambda match: match[0][1:], word.strip('"')) if word.startswith('"') else word


def _count_quotes(line: str) -> int:
    return (_ESCAPED.sub("", line) if "\\" in line else line).count('"')
