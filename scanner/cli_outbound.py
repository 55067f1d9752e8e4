"""The commands of the outbound side: parse, call, exit code, as scanner.cli does for the others."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scanner.cli_options import (
    DB_HELP,
    AllowUnknownOption,
    CsvOption,
    HtmlOption,
    JsonOption,
    PolicyOption,
    SecretFileOption,
)


class For(StrEnum):
    """What a host is (scanner.triggers.Kind)."""

    ADFS = "adfs"
    WAP = "wap"
    WINDOWS = "windows"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    APACHE = "apache"
    SQUID = "squid"
    ENVOY = "envoy"
    F5 = "f5"
    ALL = "all"


def listen(
    bind: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS:PORT", help="Listen here; may be given more than once. Default: 0.0.0.0:443."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="DNS name that leads here, with a wildcard record below it for the names of triggers."
        ),
    ] = None,
    ca_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep the listener's own authority here (ca.pem for those who are to trust it). Default: a new one "
            "each time.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own certificate chain instead, PEM, leaf first.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM; default: in the same file.")] = None,
    secret_file: SecretFileOption = None,
    db: Annotated[str | None, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)] = None,
    duration: Annotated[
        float | None, typer.Option("--for", min=1, metavar="SECONDS", help="Stop by itself after this time.")
    ] = None,
    html: HtmlOption = None,
    json: JsonOption = None,
    csv: CsvOption = None,
    policy: PolicyOption = None,
    allow_unknown: AllowUnknownOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No lines for connections and no table.")] = False,
) -> None:
    """Listen for connections that hosts open, and learn which TLS versions they offer and settle for.

    Each client is answered with its highest version first, and with one lower version at each further connection. End
    it with Ctrl-C: what came is judged and reported then. entra-tls trigger says how to make a host connect.
    """
    from scanner import listen_terminal, terminal  # noqa: PLC0415  # --help need not wait for what it describes
    from scanner.policy import DEFAULT_POLICY  # noqa: PLC0415

    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    outputs.check()
    results, store_failure = listen_terminal.run_listener(
        listen_terminal.ListenIO(
            binds=tuple(bind or ["0.0.0.0:443"]),  # to be reached from elsewhere is what it is for
            name=name,
            ca_folder=ca_folder,
            certificate=certificate,
            key=key,
            secret_file=secret_file,
            db=db,
            duration_s=duration,
            is_quiet=quiet,
        ),
        policy_id=terminal.checked_policy(policy or DEFAULT_POLICY),
    )
    outputs.write(results, quiet=quiet)
    terminal.finish(results, allow_unknown=allow_unknown, store_failure=store_failure)


def trigger(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The host that is to connect: a name or an address.")],
    listener: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the listener is reached from there.")],
    kinds: Annotated[
        list[For] | None,
        typer.Option("--for", metavar="KIND", help="What the host is: " + ", ".join(For) + ". May be repeated."),
    ] = None,
    secret_file: SecretFileOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, for a change request.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what to run or configure on TARGET so that it connects to a listener, with the clean-up.

    Nothing is contacted. Each snippet has a token in the name that it connects to, by which the listener knows host,
    program and method; with the listener's secret nobody else can make such names.
    """
    from scanner import terminal  # noqa: PLC0415
    from scanner.listener.opening import ListenerError, read_secret  # noqa: PLC0415
    from scanner.trigger_text import TriggerForm, render_trigger  # noqa: PLC0415
    from scanner.triggers import Kind, choose_kinds  # noqa: PLC0415

    if markdown and json:
        terminal.fail("--markdown and --json can't be given together")
    form = TriggerForm.MARKDOWN if markdown else TriggerForm.JSON if json else TriggerForm.TEXT
    try:
        text = render_trigger(
            target,
            listener=listener,
            kinds=[Kind(kind.value) for kind in kinds] if kinds else choose_kinds(None, None),
            secret=read_secret(os.environ, secret_file),
            form=form,
        )
    except (ListenerError, ValueError) as error:
        terminal.fail(str(error))
    typer.echo(text, nl=False)


def register(app: typer.Typer) -> None:
    """Add the commands to the program's own."""
    app.command(
        epilog="Examples:\n\n"
        "  entra-tls listen --bind 192.0.2.10:443 --db listener.sqlite --html outbound.html\n\n"
        "  entra-tls listen --name probe.example.com --ca-folder ca --secret-file listener.secret\n\n"
        "Exit codes: 0 compliant and complete, 1 findings, 2 usage, 3 something is UNKNOWN or nothing came."
    )(listen)
    app.command(
        epilog="Examples:\n\n"
        "  entra-tls trigger sts.example.com --listener probe.example.com:443 --for adfs\n\n"
        "  entra-tls trigger 192.0.2.30 --listener 192.0.2.10:8443 --for nginx --secret-file listener.secret"
    )(trigger)
