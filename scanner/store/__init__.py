"""Keeps what was learned, so that it can be judged again without a network. See docs/store.md.

``Store`` and ``open_store`` are loaded on first use: SQLAlchemy takes longer to import than the rest of the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scanner.store.stored import Checkpoint, KeepBytes, PackedHost, RunSummary, StoredHost, StoredRun, StoreError

if TYPE_CHECKING:
    from scanner.store.database import Store, open_store

__all__ = [
    "Checkpoint",
    "KeepBytes",
    "PackedHost",
    "RunSummary",
    "Store",
    "StoreError",
    "StoredHost",
    "StoredRun",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name in {"Store", "open_store"}:
        from scanner.store import database  # noqa: PLC0415  importing it late is this function's purpose

        return getattr(database, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
