r"""Offline registry hives: the files ``SYSTEM`` and ``SOFTWARE`` of Windows, as regipy reads them. Pure on bytes.

Only the keys that decide are read. ``CurrentControlSet`` is the set that ``Select\Current`` names (from memory).
Source of the format: "Windows registry file format specification", github.com/msuhanov/regf.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from regipy import registry as regipy_registry
from regipy.structs import REGF_HEADER, REGF_HEADER_SIZE
from regipy.utils import convert_wintime

from scanner.importers.reg_file import WIDTHS, WORD_NAMES, ExportTally
from scanner.importers.registry_model import RegistryExport
from scanner.importers.source import MOST_BYTES, ReadError, SourceFile
from scanner.model.declared import Place

_HKLM = "HKEY_LOCAL_MACHINE"
_MICROSOFT = (r"SOFTWARE\MICROSOFT", r"SOFTWARE\WOW6432NODE\MICROSOFT")
_SYSTEM_KEYS = (r"CONTROL\SECURITYPROVIDERS\SCHANNEL", r"CONTROL\COMPUTERNAME\COMPUTERNAME")
_SOFTWARE_KEYS = (
    *(
        rf"{base}\{key}"
        for base in _MICROSOFT
        for key in (
            r".NETFRAMEWORK\V4.0.30319",
            r".NETFRAMEWORK\V2.0.50727",
            r"WINDOWS\CURRENTVERSION\INTERNET SETTINGS\WINHTTP",
        )
    ),
    r"SOFTWARE\MICROSOFT.NETFRAMEWORK",
)
_VERSION_KEY = r"SOFTWARE\MICROSOFT\WINDOWS NT\CURRENTVERSION"
_MOST_READS_COUNT = 4_000_000
_MOST_DEPTH = 10
_MOST_VALUE_BYTES = 1 << 20
_SIGNATURE_BYTES = 2
_CELL_HEADER_BYTES = 4
# No type information is published for it.
_Cell: Any = regipy_registry.Cell
_NKRecord: Any = regipy_registry.NKRecord
# It reports what it skips; what it skips is counted below.
logging.getLogger("regipy").addHandler(logging.NullHandler())


class _BoundedStream(BytesIO):
    """A hive's bytes; ends a file that is made to be read for ever."""

    reads_count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_count += 1
        if self.reads_count > _MOST_READS_COUNT:
            raise ReadError("the hive refers to itself without end")
        # Small values stand in their size field, whose top bit is set: nothing of that length is to be read.
        return super().read(min(_MOST_VALUE_BYTES, size) if size is not None and size >= 0 else _MOST_VALUE_BYTES)


def recognise(source: SourceFile) -> int:
    """Return 100 where the file begins as a hive does, else 0."""
    return 100 if source.data.startswith(b"regf") else 0


def read_export(source: SourceFile) -> RegistryExport:
    """Return what a hive says. Raises ReadError where it is damaged, was not closed, or is another one."""
    if len(source.data) > MOST_BYTES:
        raise ReadError(f"{source.name}: larger than 64 MB")
    try:
        return _read(source)
    except ReadError as error:
        raise ReadError(f"{source.name}: {error}") from None
    except Exception:  # noqa: BLE001  # of hostile bytes regipy raises whatever comes; the text may hold some of them
        raise ReadError(f"{source.name}: the hive is damaged") from None


def _read(source: SourceFile) -> RegistryExport:
    stream = _BoundedStream(source.data)
    header = REGF_HEADER.parse_stream(stream)
    if header.primary_sequence_num != header.secondary_sequence_num:
        raise ReadError("the hive was not closed, and what was written last may be in its logs; save it with reg save")
    at = REGF_HEADER_SIZE + header.root_key_offset + _CELL_HEADER_BYTES
    if source.data[at : at + _SIGNATURE_BYTES] != b"nk":
        raise ReadError("the hive is damaged")
    root = _NKRecord(_Cell(offset=at + _SIGNATURE_BYTES, cell_type="nk", size=0), stream)
    tally = ExportTally()
    names = {_name(each) for each in _subkeys(root)}
    if "SELECT" in names:
        current = dict(_numbers(_find(root, "SELECT"))).get("current")
        roots = [rf"{_HKLM}\SYSTEM\CURRENTCONTROLSET\{key}" for key in _SYSTEM_KEYS]
        own = _find(root, f"CONTROLSET{current:03}") if current is not None else None
        if own is None:
            raise ReadError("the hive does not say which control set is the current one")
        for key, path in zip(_SYSTEM_KEYS, roots, strict=True):
            _take(_find(own, key), path, source.name, tally)
    elif "MICROSOFT" in names:
        roots = [rf"{_HKLM}\{key}" for key in _SOFTWARE_KEYS]
        for path in roots:
            _take(_find(root, path.removeprefix(rf"{_HKLM}\SOFTWARE").lstrip("\\")), path, source.name, tally)
        version = _find(root, _VERSION_KEY.removeprefix("SOFTWARE\\"))
        _take(version, rf"{_HKLM}\{_VERSION_KEY}", source.name, tally, is_alone=True)
    else:
        raise ReadError("the hive is neither SYSTEM nor SOFTWARE")
    return tally.build(roots=tuple(roots))


def _name(key: Any) -> str:
    return str(key.name).upper()


def _subkeys(key: Any) -> Iterator[Any]:
    """Yield the keys below one. Raises ReadError where the hive has fewer than it says."""
    count = 0
    # All are found first: a generator of regipy's shares its place in the stream with whatever is read in between.
    for each in list(key.iter_subkeys()):
        count += 1
        yield each
    if count != key.subkey_count:
        raise ReadError("the hive is damaged")


def _find(key: Any, path: str) -> Any:
    for part in path.split("\\"):
        if key is None:
            return None
        key = next((each for each in _subkeys(key) if _name(each) == part), None)
    return key


def _values(key: Any) -> list[Any]:
    """Return the values of a key. Raises ReadError where there are fewer than it says: regipy skips what it can't."""
    if key is None:
        return []
    values = list(key.iter_values(trim_values=False))
    if len(values) != key.values_count:
        raise ReadError("a key has values that can't be read")
    return values


def _numbers(key: Any) -> Iterator[tuple[str, int]]:
    for value in _values(key):
        if value.value_type == "REG_DWORD":
            yield str(value.name).lower(), int(value.value)


def _take(key: Any, path: str, file: str, tally: ExportTally, *, is_alone: bool = False, depth: int = 0) -> None:
    """Take a key and those below it, where it is there."""
    if key is None:
        return
    if depth > _MOST_DEPTH:
        raise ReadError("the hive's keys are nested without end")
    place = Place(file=file, key=path)
    written_at = convert_wintime(key.header.last_modified)
    tally.add_key(path, place, written_at=written_at.astimezone(UTC) if isinstance(written_at, datetime) else None)
    for value in _values(key):
        kind, name = str(value.value_type), "" if value.name == "(default)" else str(value.name)
        width = WIDTHS.get(kind)
        where = Place(file=file, key=rf"{path} {name}".rstrip())
        number = value.value if width is not None else None
        if width is not None and not (isinstance(number, int) and 0 <= number < 1 << 8 * width):
            tally.add_problem(where, f"{kind} without its number")
            number = None
        tally.add_value(path, name, kind, number, where)
        if name.lower() in WORD_NAMES and isinstance(value.value, str):
            tally.add_words(path, name, value.value.rstrip("\0"))
    if not is_alone:
        for each in _subkeys(key):
            _take(each, rf"{path}\{_name(each)}", file, tally, depth=depth + 1)
