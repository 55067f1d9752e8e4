"""YAML (and JSON, which is read as YAML) as a tree with lines. Nothing is constructed but text. Pure.

PyYAML's composer makes the nodes. Tags beyond YAML's own are refused, and so are aliases that expand to too much.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from scanner.importers.edits import Edit
from scanner.importers.source import ReadError, SourceFile
from scanner.model.declared import Place

MOST_YAML_BYTES = 8 * 1024 * 1024
"""Longer files are refused: PyYAML reads about a megabyte in some seconds."""
MOST_NODES_COUNT = 300_000
"""More nodes, aliases expanded, are refused."""
MOST_DEPTH = 200
"""Deeper nesting is refused."""
_TAG = "tag:yaml.org,2002:"
_NAMES = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "binary", "merge", "set", "value")
_TAGS = frozenset(_TAG + name for name in _NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One node."""

    file: str
    """Name of the file."""
    line: int
    """Line of its key, or where it has none, of itself; counted from 1."""
    pairs: dict[str, Tree] = field(default_factory=dict, repr=False)
    """A mapping's values; of equal keys the last, as YAML loaders take it."""
    items: tuple[Tree, ...] = field(default=(), repr=False)
    """A sequence's values."""
    text: str | None = field(default=None, repr=False)
    """A scalar's text; None for a mapping and a sequence. It may be a secret."""
    value_at: tuple[int, int] = (1, 1)
    """Line and column of the value, both counted from 1."""
    written: str = field(default="", repr=False)
    """A scalar as it is written, with its quotes; empty for others."""
    is_null: bool = False
    """Whether it is YAML's null."""

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(file=self.file, line=self.line)

    def maybe_at(self, *keys: str) -> Tree | None:
        """Return what nested mappings hold, or None."""
        node: Tree | None = self
        for key in keys:
            node = node.pairs.get(key) if node is not None else None
        return node

    def each(self) -> Iterator[Tree]:
        """Yield it and everything below, in the order of the file."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [*node.items, *node.pairs.values()][::-1]


def plan_scalar(node: Tree, new: str) -> Edit:
    """Return the edit that writes another scalar in a scalar's place."""
    return Edit(file=node.file, line=node.value_at[0], column=node.value_at[1], old=node.written, new=new)


class _Loader(yaml.SafeLoader):
    depth = 0
    count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; deep nesting is refused before Python's own stack ends."""
        self.depth += 1
        self.count += 1
        if self.depth > MOST_DEPTH or self.count > MOST_NODES_COUNT:
            raise ReadError("nested too deep, or too much")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def parse_yaml(source: SourceFile) -> Tree:
    """Return the tree of a file with one document; an empty file is an empty mapping.

    Raises ReadError with the line alone: for what is no YAML, for foreign tags, for too much.
    """
    if len(source.data) > MOST_YAML_BYTES:
        raise ReadError(f"{source.name} is longer than {MOST_YAML_BYTES // 1024 // 1024} MB")
    text = source.text
    if text.lstrip()[:1] in {"{", "["}:
        text = text.replace("\t", " ")  # JSON may be indented by tabs, and has none within strings; columns stay
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ReadError(f"{source.name}:{mark.line + 1 if mark else 1}: this is no YAML") from None
    except (yaml.YAMLError, ValueError, OverflowError, IndexError):
        raise ReadError(f"{source.name}: this is no YAML, or it is nested too deep, or too much") from None
    if node is None:
        return Tree(file=source.name, line=1)
    return _Builder(source.name, text).build(node, node.start_mark.line + 1, 0)


class _Builder:
    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._count = 0
        self._starts = [0, *(at + 1 for at, char in enumerate(text) if char == "\n")]

    def build(self, node: yaml.Node, line: int, depth: int) -> Tree:
        """Return the tree below a node; aliases are expanded, and counted every time."""
        self._count += 1
        if self._count > MOST_NODES_COUNT or depth > MOST_DEPTH:
            raise ReadError(f"{self._file}:{line}: aliases expand to too much")
        if node.tag not in _TAGS:
            raise ReadError(f"{self._file}:{line}: a tag that is not YAML's own")
        # PyYAML ends lines at more characters than LF: edits count LF alone
        row = bisect_right(self._starts, node.start_mark.index)
        at = (row, node.start_mark.index - self._starts[row - 1] + 1)
        if isinstance(node, yaml.ScalarNode):
            return Tree(
                file=self._file,
                line=line,
                text=node.value,
                value_at=at,
                written=self._text[node.start_mark.index : node.end_mark.index],
                is_null=node.tag == f"{_TAG}null",
            )
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item, item.start_mark.line + 1, depth + 1) for item in node.value)
            return Tree(file=self._file, line=line, items=items, value_at=at)
        pairs: dict[str, Tree] = {}
        merged: dict[str, Tree] = {}
        for key, value in node.value:
            key_line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _TAGS:
                raise ReadError(f"{self._file}:{key_line}: a key that is no text")
            tree = self.build(value, key_line, depth + 1)
            if key.tag == f"{_TAG}merge":
                for source in reversed(tree.items or (tree,)):
                    merged.update(source.pairs)  # of several the first counts
            else:
                pairs[key.value] = tree
        return Tree(file=self._file, line=line, pairs={**merged, **pairs}, value_at=at)
