"""The JSON that ``collect/Get-TlsReadiness.ps1`` writes on a Windows computer. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from scanner.importers.netsh_sslcert import parse_sslcert
from scanner.importers.reg_file import WIDTHS, ExportTally, decode_export, maybe_path
from scanner.importers.registry_model import RegistryExport, RegistryKey
from scanner.importers.source import MOST_BYTES, ReadError, SourceFile
from scanner.model.declared import Place

SCHEMA = "entra-tls-windows-1"
"""What its member ``schema`` says."""

_MOST_WORD_LENGTH = 256
_MOST_FACTS_COUNT = 100


def recognise(source: SourceFile) -> int:
    """Return 100 where the begin names the schema, else 0."""
    begin = decode_export(source.data[: 64 * 1024])
    return 100 if begin.lstrip().startswith("{") and f'"{SCHEMA}"' in begin else 0


def read_export(source: SourceFile) -> RegistryExport:
    """Return what the document says. Raises ReadError where it is no JSON of the schema.

    Members of another type than expected are left out, with a problem.
    """
    if len(source.data) > MOST_BYTES:
        raise ReadError(f"{source.name}: larger than 64 MB")
    try:
        document = json.loads(decode_export(source.data))
    except (ValueError, RecursionError):
        # The exception's text may hold some of the file's.
        raise ReadError(f"{source.name}: no JSON document") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ReadError(f"{source.name}: the member schema is not {SCHEMA}")
    tally = ExportTally()
    for index, each in enumerate(_list(document, "keys", source.name, tally)):
        _read_key(each, f"/keys/{index}", source.name, tally)
    roots = [
        maybe_path(each) if isinstance(each, str) else None for each in _list(document, "roots", source.name, tally)
    ]
    os = document.get("os")
    os = os if isinstance(os, dict) else {}
    adfs = document.get("adfs")
    netsh = document.get("netsh_sslcert")
    return RegistryExport(
        keys=tuple(tally.keys),
        values=tuple(tally.values),
        roots=tuple(dict.fromkeys(root for root in roots if root)),
        problems=tuple(tally.problems),
        computer_name=_maybe_word(document.get("computer_name")),
        windows_build=_maybe_word(os.get("build")),
        product_name=_maybe_word(os.get("product_name")),
        last_boot_at=_maybe_time(document.get("last_boot_at")),
        collected_at=_maybe_time(document.get("collected_at")),
        bindings=parse_sslcert(netsh, source.name, "/netsh_sslcert") if isinstance(netsh, str) else None,
        facts=_facts(adfs) if isinstance(adfs, dict) else (),
    )


def _list(document: dict[str, Any], name: str, file: str, tally: ExportTally) -> list[Any]:
    """Return a list; one element alone is what ConvertTo-Json makes of a list of one."""
    member = document.get(name)
    if isinstance(member, list):
        return member
    if isinstance(member, dict | str):
        return [member]
    if member is not None:
        tally.add_problem(Place(file=file, key=f"/{name}"), "no list")
    return []


def _read_key(each: Any, pointer: str, file: str, tally: ExportTally) -> None:
    place = Place(file=file, key=pointer)
    path = maybe_path(each["path"]) if isinstance(each, dict) and isinstance(each.get("path"), str) else None
    if path is None:
        tally.add_problem(place, "no key of a known root: its values are not taken")
        return
    tally.keys.append(RegistryKey(path=path, place=place, written_at=_maybe_time(each.get("written_at"))))
    for index, value in enumerate(_list(each, "values", file, tally)):
        where = Place(file=file, key=f"{pointer}/values/{index}")
        name = value.get("name") if isinstance(value, dict) else None
        kind = _maybe_word(value.get("type")) if isinstance(value, dict) else None
        if not isinstance(name, str) or kind is None:
            tally.add_problem(where, "no value with name and type")
            continue
        number = None
        if width := WIDTHS.get(kind):
            number = _maybe_number(value.get("number"), width)
            if number is None:
                tally.add_problem(where, f"{kind} without its number")
        tally.add_value(path, name, kind, number, where)


def _maybe_number(number: Any, width: int) -> int | None:
    """Return an unsigned number: PowerShell writes a DWORD of 0xffffffff as -1."""
    most = 1 << 8 * width
    if not isinstance(number, int) or isinstance(number, bool) or not -most // 2 <= number < most:
        return None
    return number % most


def _maybe_word(word: Any) -> str | None:
    is_word = isinstance(word, str) and word.strip() and len(word) <= _MOST_WORD_LENGTH and word.isprintable()
    return word.strip() if is_word else None


def _maybe_time(text: Any) -> datetime | None:
    if not isinstance(text, str) or len(text) > _MOST_WORD_LENGTH:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _facts(members: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = []
    for name, member in list(members.items())[:_MOST_FACTS_COUNT]:
        word = str(member).lower() if isinstance(member, bool) else str(member) if isinstance(member, int) else member
        if (label := _maybe_word(name)) and (text := _maybe_word(word)):
            facts.append((label, text))
    return tuple(facts)
