r"""What ``reg query KEY /s`` prints. Pure.

A key stands at the begin of its line, its values below it with four blanks before name, type and data. All other lines
(errors and summaries in any language) are passed over.
"""

from __future__ import annotations

import re

from scanner.importers.reg_file import WIDTHS, ExportTally, decode_export, maybe_path
from scanner.importers.registry_model import RegistryExport
from scanner.importers.source import MOST_BYTES, ReadError, SourceFile
from scanner.model.declared import Place

_VALUE = re.compile(r"(?: {4}|\t)(REG_[A-Z_]{1,40})(?: \([0-9]{1,3}\))?(?:(?: {4}|\t)|$)")
_NUMBER = re.compile(r"0x([0-9a-fA-F]{1,16})")
_HOST = re.compile(r"\\\\[^\\]{1,255}\\")


def _maybe_key(line: str) -> str | None:
    if line.startswith("\\\\") and (match := _HOST.match(line)):
        line = line[match.end() :]
    return maybe_path(line) if line.startswith(("HK", "hk")) else None


def recognise(source: SourceFile) -> int:
    """Return 80 where the begin has a key's line and below it a value's or a key's, 40 for a key alone, else 0."""
    lines = decode_export(source.data[: 64 * 1024]).split("\n")
    keys = sum(_maybe_key(line.rstrip()) is not None for line in lines)
    values = any(line.startswith((" ", "\t")) and _VALUE.search(line.rstrip()) for line in lines)
    first = next((line.rstrip() for line in lines if line.strip()), "")
    if not keys or (_maybe_key(first) is None and not values):
        return 0
    return 80 if values or keys > 1 else 40


def read_export(source: SourceFile) -> RegistryExport:
    """Return what the output says. Raises ReadError where it has no key.

    Without ``/s`` the keys below are only named, and with ``/v`` or ``/f`` only matches are printed: such an output has
    no roots, as it does not show what is absent.
    """
    if len(source.data) > MOST_BYTES:
        raise ReadError(f"{source.name}: larger than 64 MB")
    tally = ExportTally()
    path: str | None = None
    is_search = False
    for number, raw in enumerate(decode_export(source.data).split("\n"), 1):
        line = raw.rstrip()
        place = Place(file=source.name, line=number)
        if (key := _maybe_key(line)) is not None:
            path = key
            tally.add_key(path, place)
        elif not line.startswith((" ", "\t")):
            is_search |= line.startswith("End of search")
        elif match := _VALUE.search(line):
            if path is None:
                tally.add_problem(place, "a value without a key")
                continue
            name = line[: match.start()].strip()
            data = line[match.end() :].strip()
            value = _NUMBER.fullmatch(data) if match[1] in WIDTHS else None
            worth = int(value[1], 16) if value else None
            if match[1] in WIDTHS and (worth is None or worth >= 1 << 8 * WIDTHS[match[1]]):
                tally.add_problem(place, f"{match[1]} without its number")
                worth = None
            tally.add_value(path, "" if name == "(Default)" else name, match[1], worth, place)
            tally.add_words(path, name, data)
    if not tally.keys:
        raise ReadError(f"{source.name}: no registry key")
    roots = tally.roots
    below = {each.path for each in tally.keys} - set(roots)
    is_listing = bool(below) and not any(each.path in below for each in tally.values)
    return tally.build(roots=() if is_search or is_listing else roots)
