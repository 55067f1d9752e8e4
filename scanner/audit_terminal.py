"""Between ``entra-tls audit`` and its use case: checked options, progress, the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from scanner import terminal
from scanner.app import EXIT_COMPLIANT, EXIT_UNKNOWN, audit_files
from scanner.auditing import AuditError, AuditOptions, maybe_host
from scanner.importers.edits import Wants
from scanner.policy import DEFAULT_POLICY
from scanner.remedies import plan_remedies
from scanner.reports.text import counted, print_result
from scanner.results import Results
from scanner.store.stored import StoreError


def checked_host(text: str) -> str:
    """Return the host's name as targets have it; ends where it is none."""
    host = maybe_host(text.strip())
    if host is None:
        terminal.fail(f"--host takes a name or an address; not {text!r}")
    return host


def checked_folder(folder: Path) -> Path:
    """Return the folder; ends where there is none."""
    if not folder.is_dir():
        terminal.fail(f"--folder {folder}: there is no such folder")
    return folder


def run_remediate(db: str, run: str, out: Path, wants: Wants, *, host: str | None) -> NoReturn:
    """Write the changes to a run's files; ends with what could not be planned."""
    from scanner.store import open_store  # noqa: PLC0415  # loads the database library

    try:
        with open_store(db, must_exist=True) as store:
            declarations = store.load_declarations(run)
    except StoreError as error:
        terminal.fail(str(error))
    own = [each for each in declarations if host in {None, each.host}]
    if not own:
        terminal.fail("no file was audited in this run" + ("" if host is None else f" for {host}"))
    plan = plan_remedies(own, wants)
    console = Console(stderr=True)
    for output in plan.outputs:
        path = out / output.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(output.text, encoding=output.encoding, newline="")
        except OSError as error:
            terminal.fail(f"{path}: {error.strerror or error}")
        console.print(Text(f"wrote {path}"), soft_wrap=True, highlight=False)
    for style, texts in (("green", plan.settled), ("yellow", plan.problems)):
        for text in texts:
            console.print(Text(text, style=style), soft_wrap=True, highlight=False)
    raise typer.Exit(EXIT_UNKNOWN if plan.problems else EXIT_COMPLIANT)


def run_audit(
    files: Sequence[Path],
    options: AuditOptions,
    *,
    db: str | None,
    run: str | None,
    policy_id: str | None,
    is_quiet: bool,
) -> Results:
    """Read, store and judge; ends with all problems at once, where nothing was stored."""
    from scanner.store import open_store  # noqa: PLC0415  # loads the database library

    try:
        if db is None:
            results = audit_files(files, options, policy_id=policy_id or DEFAULT_POLICY)
        else:
            with open_store(db, must_exist=run is not None) as store:
                results = audit_files(
                    files,
                    options,
                    policy_id=policy_id or DEFAULT_POLICY,
                    store=store,
                    reference=run,
                    spool_folder=terminal.maybe_folder(db),
                    on_note=terminal.print_note,
                )
    except StoreError as error:
        terminal.fail(str(error))
    except AuditError as error:
        for problem in error.problems:
            Console(stderr=True).print(Text(problem, style="red"), soft_wrap=True, highlight=False)
        terminal.fail(f"{counted(len(error.problems), 'file')} can't be used; nothing was audited")
    if not is_quiet:
        print_result(results, Console())
    return results
