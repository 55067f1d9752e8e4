"""Changes to a user's own files: what to replace where, which commands check it, how to apply it to a text. Pure.

An edit names the text it replaces exactly, so that it can't be applied to a file that has changed since. It is as
narrow as the directive: other text of the same line, which may hold a secret, is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


class EditError(ValueError):
    """An edit that does not fit the text; the message holds the place only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What the user wants of a remedy beside TLS 1.2."""

    disable_old: bool = False
    """True: SSL 2.0 to TLS 1.1 are to be off as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One replacement in one file."""

    file: str
    """Name of the file, as Place.file gives it."""
    line: int
    """Line where ``old`` begins, counted from 1; lines end with LF (a CR before it belongs to the line's text)."""
    old: str = field(repr=False)
    """The text that is there, over one or more lines; empty for an insertion."""
    new: str
    """What takes its place, over none, one or more lines."""
    column: int = 1
    """Character of the line where ``old`` begins, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file of its own that makes the change."""

    name: str
    """Its name, with what kind it is at its end."""
    text: str
    """Its content."""
    encoding: str = "utf-8"
    """How its text is written (a name of Python's codecs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do so that a host has TLS 1.2 (and, where wanted, nothing older)."""

    title: str
    """What it does, one sentence."""
    edits: tuple[Edit, ...] = ()
    """Changes to the user's files; empty where the product is set by commands."""
    attachments: tuple[Attachment, ...] = ()
    """Files that make the change, where the product takes such."""
    commands: tuple[str, ...] = ()
    """The vendor's commands that make the change, in order; empty where ``edits`` make it."""
    check_commands: tuple[str, ...] = ()
    """Commands that check the changed configuration, before it is put to use."""
    activate: str = ""
    """What puts it to use, for people: a reload, a restart."""
    citation: str = ""
    """The vendor's document that says so."""
    cautions: tuple[str, ...] = ()
    """What else to know, a sentence each."""


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return one file's text with its edits applied; line and column are those of the text before any of them.

    Raises EditError where the text to replace is not there, or two edits overlap. Insertions at the same place keep
    their order.
    """
    starts = [0]
    at = text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    placed = []
    for edit in edits:
        if not 1 <= edit.line <= len(starts) or edit.column < 1:
            raise EditError(f"{edit.file}:{edit.line}: there is no such line")
        start = starts[edit.line - 1] + edit.column - 1
        if start > len(text) or text[start : start + len(edit.old)] != edit.old:
            raise EditError(f"{edit.file}:{edit.line}: the text to replace is not there")
        placed.append((start, edit))
    placed.sort(key=lambda item: item[0])  # stable: insertions at one place stay in order
    parts, done = [], 0
    for start, edit in placed:
        if start < done:
            raise EditError(f"{edit.file}:{edit.line}: two edits overlap")
        parts += [text[done:start], edit.new]
        done = start + len(edit.old)
    parts.append(text[done:])
    return "".join(parts)


def position_of(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of a character's offset in a text."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1
