"""Files from disk as importers take them: bounded, and includes only from the folder that was given."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from scanner.importers.source import MOST_BYTES, MOST_INCLUDES_COUNT, IncludeRefusedError, ReadError, SourceFile


def load_file(path: Path, *, name: str | None = None) -> SourceFile:
    """Return a file whole; name: what it is called in messages and reports, by default its last part.

    Raises ReadError where it can't be read, is no regular file, or has more than MOST_BYTES.
    """
    shown = name or path.name
    try:
        # Not blocked by a FIFO, and what is checked is what is read.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ReadError(f"{shown} is no regular file")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReadError(f"{shown}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise ReadError(f"{shown} has more than {MOST_BYTES // 2**20} MB: no configuration that is known is so large")
    return SourceFile(name=shown, data=data)


class DiskFolder:
    """A folder on disk that includes may come from; symbolic links that lead out of it are refused."""

    def __init__(self, root: Path) -> None:
        """root: the folder; an absolute include must lie below it."""
        self._root = root.resolve()
        self._given = PurePosixPath(root.absolute().as_posix())

    def find(self, pattern: str) -> tuple[SourceFile, ...]:
        """See scanner.importers.source.Folder. Raises IncludeRefusedError and ReadError."""
        if "\0" in pattern:
            raise IncludeRefusedError("an include's name has a NUL byte")
        path = PurePosixPath(pattern)
        if path.is_absolute():
            roots = (self._given, PurePosixPath(self._root.as_posix()))
            root = next((each for each in roots if path.is_relative_to(each)), None)
            if root is None:
                raise IncludeRefusedError("an include leads out of the folder that was given")
            path = path.relative_to(root)
        if ".." in path.parts:
            raise IncludeRefusedError("an include leads out of the folder by '..'")
        if "**" in path.parts or not path.parts:
            return ()
        found: list[SourceFile] = []
        for each in sorted(self._root.glob(str(path))):
            inside = each.resolve()
            if not inside.is_relative_to(self._root):
                raise IncludeRefusedError("an include leads out of the folder by a symbolic link")
            if not inside.is_file():
                continue
            if len(found) >= MOST_INCLUDES_COUNT:
                raise ReadError(f"an include names more than {MOST_INCLUDES_COUNT} files")
            found.append(load_file(inside, name=each.relative_to(self._root).as_posix()))
        return tuple(found)
