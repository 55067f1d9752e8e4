"""What importers are given: files as bytes, and the folder that their includes may come from. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol

MOST_BYTES = 64 * 1024 * 1024
"""Larger files are refused."""
MOST_INCLUDES_COUNT = 1_000
"""More includes are refused: a file that includes itself has no end."""

_BOMS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))


class ReadError(ValueError):
    """A file that can't be read as what it seems to be; the message is for the user and holds none of its values."""


class IncludeRefusedError(ValueError):
    """An include that leads out of the folder that was given."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file."""

    name: str
    """As it was given, or as the file that includes it names it."""
    data: bytes
    """Its content."""

    @cached_property
    def sha256(self) -> str:
        """Of the content, lower-case hex."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def text(self) -> str:
        """The content decoded: by its byte order mark, else as UTF-8, else as Latin-1; never fails."""
        return decode_text(self.data)


def decode_text(data: bytes) -> str:
    """Return text by its byte order mark, else as UTF-8, else as Latin-1. What does not decode becomes U+FFFD."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class Folder(Protocol):
    """Where includes may come from."""

    def find(self, pattern: str) -> tuple[SourceFile, ...]:
        """Return the files whose path matches a glob pattern (``conf.d/*.conf``), sorted by path.

        Raises IncludeRefusedError where the pattern leads out of the folder.
        """


class MemoryFolder:
    """A folder that is a mapping of relative POSIX paths to contents; it stands for an absolute path, its root."""

    def __init__(self, files: Mapping[str, bytes], *, root: str = "/") -> None:
        self._files = files
        self._root = PurePosixPath(root)

    def find(self, pattern: str) -> tuple[SourceFile, ...]:
        """As Folder.find; an absolute pattern is one below the root."""
        path = PurePosixPath(pattern)
        if path.is_absolute():
            if not path.is_relative_to(self._root):
                raise IncludeRefusedError(f"an include leads out of {self._root}")
            path = path.relative_to(self._root)
        if ".." in path.parts:
            raise IncludeRefusedError("an include leads out of the folder by '..'")
        return tuple(
            SourceFile(name=name, data=self._files[name])
            for name in sorted(self._files)
            if len(PurePosixPath(name).parts) == len(path.parts)
            and all(
                fnmatchcase(part, wanted) for part, wanted in zip(PurePosixPath(name).parts, path.parts, strict=True)
            )
        )


EMPTY_FOLDER = MemoryFolder({})
"""Nothing to include from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What the user says beside the file."""

    product_version: str | None = None
    """``1.22.1``, ``2019``: where the file does not say."""
