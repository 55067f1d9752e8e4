"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the HTML report to this file.")]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the JSON report to this file.")]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a row for each endpoint and version to this file.")
]
PolicyOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Judge by this policy: entra-drs (the default) or strict.")
]
AllowUnknownOption = Annotated[bool, typer.Option("--allow-unknown", help="Exit 0 although something is UNKNOWN.")]
SecretFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="File with the secret that is shared with a listener. Or set ENTRA_TLS_LISTENER_SECRET."
    ),
]
DB_HELP = "SQLite file or SQLAlchemy URL that keeps runs."
