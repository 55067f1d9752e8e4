r"""Registration entries (``.reg``), as regedit and ``reg export`` write them; and what all registry readers share.

Pure.
Version 5 (UTF-16LE, also UTF-8 as people write it) and REGEDIT4 (ANSI). Of values that are no numbers only the
computer's name and the version of Windows are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from scanner.importers.registry_model import RegistryExport, RegistryKey, RegistryValue
from scanner.importers.source import MOST_BYTES, ReadError, SourceFile
from scanner.model.declared import Place

DELETED = "(deleted)"
TYPE_NAMES = (
    "REG_NONE",
    "REG_SZ",
    "REG_EXPAND_SZ",
    "REG_BINARY",
    "REG_DWORD",
    "REG_DWORD_BIG_ENDIAN",
    "REG_LINK",
    "REG_MULTI_SZ",
    "REG_RESOURCE_LIST",
    "REG_FULL_RESOURCE_DESCRIPTOR",
    "REG_RESOURCE_REQUIREMENTS_LIST",
    "REG_QWORD",
)
"""By number (winnt.h)."""
WIDTHS = {"REG_DWORD": 4, "REG_QWORD": 8}
"""Bytes of the types whose numbers are kept."""
WORD_NAMES = frozenset({"computername", "currentbuildnumber", "currentversion", "productname"})
"""Values whose text says whose the export is; lower case."""

_ROOTS = {
    "HKLM": "HKEY_LOCAL_MACHINE",
    "HKCU": "HKEY_CURRENT_USER",
    "HKCR": "HKEY_CLASSES_ROOT",
    "HKU": "HKEY_USERS",
    "HKCC": "HKEY_CURRENT_CONFIG",
}
_ROOTS |= {root: root for root in list(_ROOTS.values())}
_HEADERS = {"Windows Registry Editor Version 5.00", "REGEDIT4"}
_NT = r"HKEY_LOCAL_MACHINE\SOFTWARE\MICROSOFT\WINDOWS NT\CURRENTVERSION"
_NAMES = r"HKEY_LOCAL_MACHINE\SYSTEM\CURRENTCONTROLSET\CONTROL\COMPUTERNAME"
_MOST_PROBLEMS_COUNT = 1_000
_MOST_WORD_LENGTH = 256
_FIRST_OF_WINDOWS_10 = 10_240
# Each alternative begins with another character: nothing to try again.
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"')
_STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"')
_DWORD = re.compile(r"dword:([0-9a-f]{1,8})[ \t]*(?:;.*)?", re.IGNORECASE)
_HEX = re.compile(r"hex(?:\(([0-9a-f]{1,8})\))?:", re.IGNORECASE)


def maybe_path(text: str) -> str | None:
    r"""Return a key's path as RegistryKey.path; None where it does not begin with a root (``HKLM``, ``HKLM:`` too)."""
    path = text.strip().upper()
    if path.startswith(r"MICROSOFT.POWERSHELL.CORE\REGISTRY::"):
        path = path.removeprefix(r"MICROSOFT.POWERSHELL.CORE\REGISTRY::")
    root, separator, rest = path.rstrip("\\").partition("\\")
    full = _ROOTS.get(root.removesuffix(":"))
    return None if full is None else full + separator + rest


class ExportTally:
    """What a reader has found so far."""

    def __init__(self) -> None:
        self.keys: list[RegistryKey] = []
        self.values: list[RegistryValue] = []
        self.problems: list[tuple[Place, str]] = []
        self.has_deletions = False
        self._roots: dict[str, None] = {}
        self._root = ""
        self._words: dict[str, str] = {}

    def add_key(
        self, path: str, place: Place, *, written_at: datetime | None = None, is_deletion: bool = False
    ) -> None:
        """Take a key. It is a root where it is not below the root before it."""
        self.keys.append(RegistryKey(path=path, place=place, written_at=written_at, is_deletion=is_deletion))
        self.has_deletions |= is_deletion
        if not self._root or (path != self._root and not path.startswith(self._root + "\\")):
            self._root = path
            self._roots[path] = None

    def add_value(self, path: str, name: str, type_name: str, number: int | None, place: Place) -> None:
        """Take a value."""
        self.values.append(RegistryValue(path=path, name=name, type=type_name, number=number, place=place))
        self.has_deletions |= type_name == DELETED

    def add_words(self, path: str, name: str, words: str) -> None:
        """Take a text, of which only what says whose the export is stays."""
        key = name.lower()
        if key not in WORD_NAMES or len(words) > _MOST_WORD_LENGTH:
            return
        wanted = path.startswith(_NAMES + "\\") if key == "computername" else path == _NT
        if wanted and words.isprintable() and words.strip():
            self._words[key] = words.strip()

    def add_problem(self, place: Place, words: str) -> None:
        """Take a line that is no part of the format; the words hold nothing of it."""
        if len(self.problems) < _MOST_PROBLEMS_COUNT:
            self.problems.append((place, words))

    @property
    def computer_name(self) -> str | None:
        """As ``ComputerName`` says."""
        return self._words.get("computername")

    @property
    def product_name(self) -> str | None:
        """As ``ProductName`` says."""
        return self._words.get("productname")

    @property
    def windows_build(self) -> str | None:
        """``10.0.17763``: ``CurrentVersion`` says 6.3 for ever since Windows 10, so the build decides."""
        build = self._words.get("currentbuildnumber", "")
        if not (build.isascii() and build.isdecimal() and len(build) <= 6):
            return None
        version = "10.0" if int(build) >= _FIRST_OF_WINDOWS_10 else self._words.get("currentversion", "")
        return f"{version}.{build}" if re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,2}", version) else None

    @property
    def roots(self) -> tuple[str, ...]:
        """Keys the export begins with; none where it deletes something."""
        return () if self.has_deletions else tuple(self._roots)

    def build(self, *, roots: tuple[str, ...] | None = None) -> RegistryExport:
        """Return the export."""
        return RegistryExport(
            keys=tuple(self.keys),
            values=tuple(self.values),
            roots=self.roots if roots is None else roots,
            problems=tuple(self.problems),
            computer_name=self.computer_name,
            windows_build=self.windows_build,
            product_name=self.product_name,
        )


def decode_export(data: bytes) -> str:
    """Return text; as decode_text, and as UTF-16LE without byte order mark where every other byte of the begin is 0."""
    begin = data[1:64:2]
    if len(begin) >= 4 and not any(begin) and data[0]:
        return data.decode("utf-16-le", "replace")
    return SourceFile(name="", data=data).text


def recognise(source: SourceFile) -> int:
    """Return 100 where the first line is a header of the format, else 0."""
    line = decode_export(source.data[:256]).lstrip("\r\n").split("\n", 1)[0]
    return 100 if line.strip() in _HEADERS else 0


def read_export(source: SourceFile) -> RegistryExport:
    """Return what a ``.reg`` file says. Raises ReadError where the header is missing or the file is too large."""
    if len(source.data) > MOST_BYTES:
        raise ReadError(f"{source.name}: larger than 64 MB")
    lines = enumerate(decode_export(source.data).split("\n"), 1)
    for number, line in lines:
        if line.strip():
            if line.strip() not in _HEADERS:
                raise ReadError(f"{source.name}:{number}: no header of a .reg file")
            break
    else:
        raise ReadError(f"{source.name}: empty")
    return _Reader(source.name, lines).read()


class _Reader:
    def __init__(self, file: str, lines: Iterator[tuple[int, str]]) -> None:
        self._file = file
        self._lines = lines
        self._tally = ExportTally()
        self._path: str | None = None

    def read(self) -> RegistryExport:
        for number, raw in self._lines:
            line = raw.strip()
            place = Place(file=self._file, line=number)
            if not line or line.startswith(";"):
                continue
            if line.startswith("["):
                self._read_key(line, place)
            elif line.startswith(('"', "@")):
                self._read_value(line, place)
            else:
                self._tally.add_problem(place, "neither a key nor a value nor a comment")
        return self._tally.build()

    def _read_key(self, line: str, place: Place) -> None:
        # Names may hold brackets: the last one ends the key, as in Windows.
        end = line.rfind("]")
        text = line[1:end] if end > 0 else ""
        is_deletion = text.startswith("-")
        path = maybe_path(text.removeprefix("-"))
        self._path = None if is_deletion else path
        if path is None:
            self._tally.add_problem(place, "no key of a known root: its values are not taken")
        else:
            self._tally.add_key(path, place, is_deletion=is_deletion)

    def _read_value(self, line: str, place: Place) -> None:
        match = _QUOTED.match(line)
        if line.startswith("@"):
            name, rest = "", line[1:]
        elif match:
            name, rest = _unescape(match[1]), line[match.end() :]
        else:
            self._tally.add_problem(place, "the value's name does not end")
            return
        rest = rest.lstrip()
        if not rest.startswith("="):
            self._tally.add_problem(place, "no = after the value's name")
            return
        type_name, number, words, problem = self._read_data(rest[1:].lstrip())
        if problem:
            self._tally.add_problem(place, problem)
        if self._path is None:
            self._tally.add_problem(place, "a value without a key")
        elif type_name:
            self._tally.add_value(self._path, name, type_name, number, place)
            self._tally.add_words(self._path, name, words)

    def _read_data(self, data: str) -> tuple[str, int | None, str, str]:
        """Return type, number, text and what is wrong; the type is empty where there is no value."""
        if data.startswith("-") and (data[1:].lstrip()[:1] in {"", ";"}):
            return DELETED, None, "", ""
        if data.startswith('"'):
            return self._read_string(data)
        if match := _DWORD.fullmatch(data):
            return "REG_DWORD", int(match[1], 16), "", ""
        if match := _HEX.match(data):
            return self._read_hex(match[1], data[match.end() :])
        return "", None, "", "data of a form that is not known"

    def _read_string(self, data: str) -> tuple[str, int | None, str, str]:
        if match := _QUOTED.match(data):
            return "REG_SZ", None, _unescape(match[1]) if len(match[1]) <= _MOST_WORD_LENGTH else "", ""
        # regedit writes line ends within a text as they are.
        for _number, line in self._lines:
            if _STRING_END.match(line):
                return "REG_SZ", None, "", ""
        return "", None, "", "the text does not end"

    def _read_hex(self, digits: str | None, text: str) -> tuple[str, int | None, str, str]:
        kind = 3 if digits is None else int(digits, 16)
        type_name = TYPE_NAMES[kind] if kind < len(TYPE_NAMES) else f"({kind:#x})"
        width = WIDTHS.get(type_name)
        pieces = []
        while True:
            piece = text.split(";", 1)[0].strip()
            is_continued = piece.endswith("\\")
            if width is not None:
                pieces.append(piece.removesuffix("\\").strip())
            following = next(self._lines, None) if is_continued else None
            if following is None:
                break
            text = following[1]
        if width is None:
            return type_name, None, "", ""
        tokens = [token.strip() for token in "".join(pieces).split(",", width + 1)]
        if len(tokens) != width or not all(re.fullmatch("[0-9A-Fa-f]{1,2}", token) for token in tokens):
            return type_name, None, "", f"{type_name} that is not {width} bytes"
        return type_name, int.from_bytes(bytes(int(token, 16) for token in tokens), "little"), "", ""


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
