"""Changes to the files that were audited, written out: a diff a file, and the steps to put it to use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scanner.importers.catalogue import IMPORTERS
from scanner.importers.edits import Edit, EditError, Remedy, Wants, apply_edits
from scanner.importers.source import Folder, ReadError, ReadOptions, SourceFile
from scanner.loading import DiskFolder, load_file
from scanner.model.declared import Declaration

STEPS = "STEPS.md"
"""Name of the file that says what to do with the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file to be written."""

    path: str
    """Relative to the folder given, with ``/``: ``sts.example.com/nginx.conf.diff``."""
    text: str
    """Its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to change on all hosts of a run."""

    outputs: tuple[Output, ...]
    """Files to be written; none where nothing is to be changed."""
    problems: tuple[str, ...]
    """Files whose change could not be planned, a sentence each."""
    settled: tuple[str, ...]
    """Files that need no change, a sentence each."""


def plan_remedies(
    declarations: Sequence[Declaration],
    wants: Wants,
    *,
    load: Callable[[Path], SourceFile] = load_file,
    open_folder: Callable[[Path], Folder] = DiskFolder,
) -> Plan:
    """Return the changes to the files that a run's declarations were read from, which are read again.

    A file that is not what it was when it was audited is left alone: its lines may be others.
    """
    outputs: list[Output] = []
    problems: list[str] = []
    settled: list[str] = []
    steps: dict[str, list[str]] = {}
    for each in declarations:
        shown = f"{each.host}: {each.reading.file}"
        importer = next((known for known in IMPORTERS if known.id == each.reading.importer), None)
        if importer is None or importer.plan_edits is None:
            problems.append(f"{shown}: changes of this kind of file can't be planned; the report has the advice")
            continue
        path = Path(each.path)
        options = ReadOptions(product_version=each.reading.product_version)
        try:
            source = _unchanged(load(path), each)
            folder = open_folder(Path(each.folder or path.parent))
            remedies = importer.plan_edits(source, folder, options, wants=wants)
            diffs = render_diffs(remedies, source, folder)
        except (ReadError, EditError) as error:
            problems.append(f"{each.host}: {error}")
            continue
        if not remedies:
            settled.append(f"{shown} needs no change")
            continue
        place = _plain(each.host)
        name = _free_name(f"{place}/{_plain(source.name)}", {output.path for output in outputs})
        outputs.append(Output(path=f"{name}.diff", text=diffs))
        steps.setdefault(place, []).append(render_steps(each, remedies, diff_name=f"{name.split('/', 1)[1]}.diff"))
    outputs += [
        Output(path=f"{place}/{STEPS}", text="\n".join([f"# {place}\n", *parts])) for place, parts in steps.items()
    ]
    return Plan(outputs=tuple(outputs), problems=tuple(problems), settled=tuple(settled))


def render_diffs(remedies: Iterable[Remedy], source: SourceFile, folder: Folder) -> str:
    """Return one unified diff over all files that the remedies change, without lines that stay.

    Lines around a change may hold what nobody should see in a ticket. Raises EditError and ReadError.
    """
    by_file: dict[str, list[Edit]] = {}
    for remedy in remedies:
        for edit in remedy.edits:
            by_file.setdefault(edit.file, []).append(edit)
    parts = []
    for name, edits in by_file.items():
        before = source.text if name == source.name else _included(name, folder).text
        after = apply_edits(before, edits)
        lines = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), fromfile=name, tofile=name, n=0
        )
        parts += [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join(parts)


def render_steps(declaration: Declaration, remedies: Iterable[Remedy], *, diff_name: str) -> str:
    """Return what to do with a file's diff, as Markdown."""
    lines = []
    for remedy in remedies:
        lines += [f"## {declaration.reading.file}: {remedy.title}", ""]
        folder = Path(declaration.folder or Path(declaration.path).parent)
        lines += [
            f"1. Keep a copy of `{declaration.path}` and of what it includes.",
            f"2. Apply [{diff_name}]({diff_name}), from the folder `{folder}`: `patch -p0 < {diff_name}`.",
            *(["3. Run:", "", "```sh", *remedy.commands, "```", ""] if remedy.commands else []),
            f"{4 if remedy.commands else 3}. Check: {', '.join(f'`{command}`' for command in remedy.check_commands)}.",
            f"{5 if remedy.commands else 4}. Put it to use: {remedy.activate}.",
            f"{6 if remedy.commands else 5}. Measure again: `entra-tls scan`, then `entra-tls audit --run`.",
            "",
            *(f"- {caution}" for caution in remedy.cautions),
            f"- Source: <{remedy.citation}>",
            "",
        ]
    return "\n".join(lines)


def _unchanged(source: SourceFile, declaration: Declaration) -> SourceFile:
    if source.sha256 != declaration.reading.sha256:
        raise ReadError(f"{source.name} has changed since it was audited: audit it again")
    return source


def _included(name: str, folder: Folder) -> SourceFile:
    found = folder.find(name)
    if len(found) != 1:
        raise ReadError(f"{name} is to be changed, and is not there")
    return found[0]


def _plain(text: str) -> str:
    """Return text as a name of a file or folder on any system."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"


def _free_name(wanted: str, taken: set[str]) -> str:
    """Return the name, with a number behind it where it is taken."""
    name, number = wanted, 1
    while f"{name}.diff" in taken:
        number += 1
        name = f"{wanted}.{number}"
    return name
