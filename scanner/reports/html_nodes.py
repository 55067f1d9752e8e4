"""A table in which each distinct JSON value stands once: reports repeat themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scanner.reports.objects import JsonObject


class NodeTable:
    """Values by number. Memory: about 200 bytes a distinct value."""

    def __init__(self) -> None:
        self.text_bytes = 0
        """About how long the table is as JSON text."""
        self._shapes: dict[tuple[str, ...], int] = {}
        self._places: dict[Any, int] = {}
        self._nodes: list[Any] = []

    def place(self, value: Any) -> int:
        """Return the number of a JSON value, which is added where it is new."""
        node: Any
        key: Any
        if isinstance(value, Mapping):
            shape = self._shapes.setdefault(tuple(value), len(self._shapes))
            node = key = (shape, *map(self.place, value.values()))
        elif isinstance(value, list):
            node = key = (-1, *map(self.place, value))
        elif isinstance(value, str):
            node = key = value
        else:
            node = value
            key = (type(value).__name__, repr(value))  # 1, 1.0, True are not the same JSON
        known = self._places.get(key)
        if known is None:
            known = self._places[key] = len(self._nodes)
            self._nodes.append(node)
            self.text_bytes += len(node) + 3 if isinstance(node, str) else 5 * len(key)
        return known

    def encode(self) -> JsonObject:
        """Return ``{"shapes", "nodes"}``.

        A node is a scalar as it is; ``[-1, node...]`` for a list; ``[shape, node...]`` for an object, whose member
        names are ``shapes[shape]``.
        """
        return {"shapes": [list(shape) for shape in self._shapes], "nodes": self._nodes}


def encode_nodes(roots: Iterable[Any]) -> JsonObject:
    """Return JSON values as ``{"shapes", "nodes", "roots"}``, as NodeTable has them; roots are node numbers."""
    table = NodeTable()
    numbers = [table.place(root) for root in roots]
    encoded = table.encode()
    nodes = [list(node) if isinstance(node, tuple) else node for node in encoded["nodes"]]
    return {**encoded, "nodes": nodes, "roots": numbers}
