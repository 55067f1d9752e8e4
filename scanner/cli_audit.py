"""The commands about files that declare versions: parse, call, exit code, as scanner.cli does for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scanner.cli_options import DB_HELP, AllowUnknownOption, CsvOption, HtmlOption, JsonOption, PolicyOption


def audit(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Configurations, registry exports; docs/audit.md lists the kinds."),
    ],
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Host that the files belong to, where they don't say so.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Hold the files against what this stored run measured, and keep them with it: an id, the begin of "
            "one, or latest. Default: a run of their own.",
        ),
    ] = None,
    db: Annotated[str | None, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)] = None,
    kind: Annotated[
        str | None, typer.Option("--as", metavar="KIND", help="What the files are, where that is not seen.")
    ] = None,
    product_version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The product's version, such as 1.22.1: defaults depend on it."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where included files may come from. Default: each file's own folder."),
    ] = None,
    html: HtmlOption = None,
    json: JsonOption = None,
    csv: CsvOption = None,
    policy: PolicyOption = None,
    allow_unknown: AllowUnknownOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table; errors only.")] = False,
) -> None:
    """Read what files declare about TLS versions, for both directions, and hold it against what was measured."""
    from scanner import audit_terminal, terminal  # noqa: PLC0415  # --help need not wait for what it describes
    from scanner.auditing import AuditOptions  # noqa: PLC0415

    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    if run is not None and db is None:
        terminal.fail("--run is looked for in a database: give --db")
    options = AuditOptions(
        host=None if host is None else audit_terminal.checked_host(host),
        importer=kind,
        product_version=product_version,
        folder=None if folder is None else audit_terminal.checked_folder(folder),
    )
    outputs.check()
    results = audit_terminal.run_audit(
        files,
        options,
        db=db,
        run=run,
        policy_id=None if policy is None else terminal.checked_policy(policy),
        is_quiet=quiet,
    )
    outputs.write(results, quiet=quiet)
    terminal.finish(results, allow_unknown=allow_unknown)


def remediate(
    run: Annotated[str, typer.Argument(help="A run's id, the begin of one, or latest; entra-tls runs lists them.")],
    db: Annotated[str, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write a folder for each host here.")],
    host: Annotated[str | None, typer.Option(metavar="NAME", help="Only this host's files.")] = None,
    disable_old: Annotated[
        bool, typer.Option("--disable-old", help="Turn everything before TLS 1.2 off as well, not only TLS 1.2 on.")
    ] = False,
) -> None:
    """Write the exact change of each audited file: a diff against it, how to check it, and how to put it to use."""
    from scanner import audit_terminal  # noqa: PLC0415  # --help need not wait for what it describes
    from scanner.importers.edits import Wants  # noqa: PLC0415

    chosen = None if host is None else audit_terminal.checked_host(host)
    audit_terminal.run_remediate(db, run, out, Wants(disable_old=disable_old), host=chosen)


def register(app: typer.Typer) -> None:
    """Add the commands to the program's."""
    app.command(
        epilog="Examples:\n\n"
        "  entra-tls remediate latest --db runs.sqlite --out remedies\n\n"
        "  entra-tls remediate latest --db runs.sqlite --out remedies --disable-old\n\n"
        "Nothing is changed but the folder that is written. Exit codes: 0 written or nothing to change, 2 usage, "
        "3 a change could not be planned."
    )(remediate)
    app.command(
        epilog="Examples:\n\n"
        "  entra-tls audit nginx.conf --host sts.example.com\n\n"
        "  entra-tls audit squid.conf --host proxy.example.com --run latest --db runs.sqlite --html report.html\n\n"
        "  entra-tls audit httpd.conf --host www.example.com --product-version 2.4.57 --folder httpd\n\n"
        "Exit codes: 0 compliant and complete, 1 findings, 2 usage, 3 something is UNKNOWN or nothing was seen."
    )(audit)
