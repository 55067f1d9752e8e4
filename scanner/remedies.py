"""Changes to the files that were audited, written out: a diff a file, and the steps to put it to use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    encoding: str = "utf-8"
    """How it is written (a name of Python's codecs)."""


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
        taken = {output.path for output in outputs}
        diff_path = _free_path(f"{place}/{_plain(source.name)}", ".diff", taken)
        if diffs:
            outputs.append(Output(path=diff_path, text=diffs))
        names: dict[str, str] = {}
        for attachment in (attachment for remedy in remedies for attachment in remedy.attachments):
            stem, _, suffix = attachment.name.rpartition(".")
            own_path = _free_path(f"{place}/{stem}", f".{suffix}", {output.path for output in outputs})
            names[attachment.name] = own_path.split("/", 1)[1]
            outputs.append(Output(path=own_path, text=attachment.text, encoding=attachment.encoding))
        diff_name = diff_path.split("/", 1)[1] if diffs else None
        steps.setdefault(place, []).append(render_steps(each, remedies, diff_name=diff_name, names=names))
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


def render_steps(
    declaration: Declaration, remedies: Iterable[Remedy], *, diff_name: str | None, names: Mapping[str, str]
) -> str:
    """Return what to do with a file's changes, as Markdown.

    diff_name: the diff's file; None where there is none. names: the files that the remedies' attachments became.
    """
    lines = []
    for remedy in remedies:
        steps = []
        if diff_name is not None:
            folder = Path(declaration.folder or Path(declaration.path).parent)
            steps.append(f"Keep a copy of `{declaration.path}` and of what it includes.")
            steps.append(f"Apply [{diff_name}]({diff_name}), from the folder `{folder}`: `patch -p0 < {diff_name}`.")
        if remedy.attachments:
            steps.append(f"Use {' or '.join(f'[{name}]({name})' for name in names.values())}, or do what follows.")
        if remedy.commands:
            steps.append("\n".join(["Run:", "", "```sh", *remedy.commands, "```"]))
        if remedy.check_commands:
            steps.append(f"Check: {', '.join(f'`{command}`' for command in remedy.check_commands)}.")
        steps.append(f"Put it to use: {remedy.activate}.")
        steps.append("Measure again: `entra-tls scan`, then `entra-tls audit --run`.")
        lines += [f"## {declaration.reading.file}: {remedy.title}", ""]
        lines += [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
        lines += ["", *(f"- {caution}" for caution in remedy.cautions), f"- Source: <{remedy.citation}>", ""]
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


def _free_path(wanted: str, suffix: str, taken: set[str]) -> str:
    """Return the path with its suffix, and a number before that where it is taken."""
    path, number = f"{wanted}{suffix}", 1
    while path in taken:
        number += 1
        path = f"{wanted}.{number}{suffix}"
    return path
