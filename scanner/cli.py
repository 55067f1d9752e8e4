"""The command line: parse, call the use case, exit code. Nothing else."""

from __future__ import annotations

import gc
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scanner import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # main() says what went wrong, without a traceback
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure which TLS versions the hosts on the way to Entra device registration accept, with evidence.",
    epilog="Exit codes: 0 compliant and complete, 1 findings, 2 usage, 3 something is UNKNOWN or nothing was seen.",
)


class Confirm(StrEnum):
    """Whether sslyze handshakes confirm what the hellos found."""

    ALL = "all"
    NONE = "none"


class Net(StrEnum):
    """Which network to use."""

    AUTO = "auto"
    EPOLL = "epoll"
    ASYNCIO = "asyncio"


HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the HTML report to this file.")]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the JSON report to this file.")]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a row for each endpoint and version to this file.")
]
PolicyOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Judge by this policy: entra-drs (the default) or strict.")
]
AllowUnknownOption = Annotated[bool, typer.Option("--allow-unknown", help="Exit 0 although something is UNKNOWN.")]
DB_HELP = "SQLite file or SQLAlchemy URL that keeps runs."


def _version(value: bool) -> None:  # noqa: FBT001  # typer's callback shape
    if value:
        typer.echo(f"entra-tls {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:\n\n"
    "  entra-tls scan sts.example.com proxy.example.com:8443\n\n"
    "  entra-tls scan --file targets.txt --html report.html --db runs.sqlite\n\n"
    "  entra-tls scan '192.0.2.10 sni=sts.example.com' --policy strict\n\n"
    "  entra-tls scan --file targets.txt --dry-run\n\n"
    "Exit codes: 0 compliant and complete, 1 findings, 2 usage, 3 something is UNKNOWN or nothing was seen."
)
def scan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Names, addresses, ranges or URLs; see docs/targets.md."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", metavar="FILE", help="Targets file; may be given more than once."),
    ] = None,
    html: HtmlOption = None,
    json: JsonOption = None,
    csv: CsvOption = None,
    db: Annotated[str | None, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)] = None,
    policy: PolicyOption = None,
    confirm: Annotated[
        Confirm,
        typer.Option(
            metavar="all|none", help="Confirm each version found enabled by a handshake of sslyze's engine, or don't."
        ),
    ] = Confirm.ALL,
    timeout: Annotated[float, typer.Option(min=0.1, max=300, metavar="SECONDS", help="For one connection.")] = 5.0,
    host_deadline: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="For all questions to one host.")
    ] = 120.0,
    concurrency: Annotated[int, typer.Option(min=1, max=20_000, metavar="COUNT", help="Hosts at a time.")] = 500,
    per_address: Annotated[int, typer.Option(min=1, metavar="COUNT", help="Connections at a time to one address.")] = 8,
    rate: Annotated[
        float, typer.Option(min=0, metavar="COUNT", help="Connections a second in all; 0 is no limit.")
    ] = 1000.0,
    resolver: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS[:PORT]", help="Ask this DNS server instead of the system's resolver."),
    ] = None,
    net: Annotated[
        Net, typer.Option(metavar="auto|epoll|asyncio", help="epoll is the fast one (Linux); asyncio works anywhere.")
    ] = Net.AUTO,
    no_recognise: Annotated[
        bool, typer.Option("--no-recognise", help="Don't ask AD FS and registration endpoints over HTTP what they are.")
    ] = False,
    sslyze_json: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Afterwards run sslyze's full scan on each named host and keep its JSON in this folder.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be scanned and stop.")] = False,
    allow_unknown: AllowUnknownOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table; errors only.")] = False,
) -> None:
    """Scan hosts: which TLS versions each accepts, and whether it is ready for Entra device registration."""
    from scanner import terminal  # noqa: PLC0415  # --help and --version need not wait for the engine
    from scanner.app import ScanOptions  # noqa: PLC0415
    from scanner.policy import DEFAULT_POLICY  # noqa: PLC0415

    wanted, exclusions = terminal.read_all_targets(targets or [], file or [])
    options = ScanOptions(
        confirm=confirm.value,
        timeout_s=timeout,
        host_deadline_s=host_deadline,
        concurrency=concurrency,
        per_address=per_address,
        rate=rate,
        net=net.value,
        policy=terminal.checked_policy(policy or DEFAULT_POLICY),
        does_recognise=not no_recognise,
        nameservers=tuple(terminal.parse_nameserver(text) for text in resolver or []),
    )
    if dry_run:
        terminal.print_plan(wanted, options)
        return
    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    outputs.check()
    if sslyze_json is not None:
        terminal.make_folder(sslyze_json)
    result, store_failure = terminal.run_scan(wanted, options, exclusions=exclusions, db=db, quiet=quiet)
    outputs.write(result, quiet=quiet)
    if sslyze_json is not None:
        terminal.run_sslyze(result, sslyze_json, quiet=quiet)
    terminal.finish(result, allow_unknown=allow_unknown, store_failure=store_failure)


@app.command(epilog="Example:\n\n  entra-tls demo --html demo.html")
def demo(
    html: Annotated[Path, typer.Option(metavar="FILE", help="Write the HTML report to this file.")] = Path(
        "results/demo.html"
    ),
    json: JsonOption = None,
    csv: CsvOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table.")] = False,
) -> None:
    """Start small real TLS servers on loopback, scan them, and write the report. Needs no network."""
    from scanner import terminal  # noqa: PLC0415
    from scanner.app import ScanOptions  # noqa: PLC0415
    from scanner.demo import HOSTS, DemoResolver, running_demo  # noqa: PLC0415

    console = Console()
    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    outputs.check(make_folders=True)
    if not quiet:
        console.print("[bold]The demo starts these servers on 127.0.0.1 and scans them:[/]")
        servers = Table.grid(padding=(0, 2))
        for host in HOSTS:
            servers.add_row("", host.name, host.about)
        console.print(servers)
    with running_demo() as targets:
        # Two seconds are plenty on loopback, and the silent host needs a few time-outs.
        options = ScanOptions(timeout_s=2.0, command="demo")
        result, _ = terminal.run_scan(targets, options, resolver=DemoResolver(), quiet=quiet)
    outputs.write(result, quiet=quiet)
    if not quiet:
        console.print(
            "\nThe demo's findings are on purpose. Your own hosts: entra-tls scan HOST, or --file with a targets file.",
            soft_wrap=True,
        )
    if not any(host.endpoints for host in result.hosts):
        raise typer.Exit(3)


@app.command(
    epilog="Examples:\n\n  entra-tls report latest --db runs.sqlite --html report.html\n\n"
    "  entra-tls report 20261123T1607 --db runs.sqlite --policy strict"
)
def report(
    run: Annotated[str, typer.Argument(help="A run's id, the begin of one, or latest; entra-tls runs lists them.")],
    db: Annotated[str, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)],
    html: HtmlOption = None,
    json: JsonOption = None,
    csv: CsvOption = None,
    policy: PolicyOption = None,
    allow_unknown: AllowUnknownOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table; errors only.")] = False,
) -> None:
    """Judge a stored run again, from its bytes and without a network, and render it."""
    from scanner import terminal  # noqa: PLC0415
    from scanner.app import judge_stored  # noqa: PLC0415
    from scanner.reports.source import source_of  # noqa: PLC0415
    from scanner.reports.text import print_result  # noqa: PLC0415
    from scanner.store import StoreError, open_store  # noqa: PLC0415

    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    outputs.check()
    policy_id = None if policy is None else terminal.checked_policy(policy)
    try:
        with open_store(db, must_exist=True) as store:
            result = judge_stored(store, run, policy_id=policy_id)
    except StoreError as error:
        terminal.fail(str(error))
    if not quiet:
        print_result(source_of(result), Console())
    outputs.write(result, quiet=quiet)
    terminal.finish(result, allow_unknown=allow_unknown)


@app.command(epilog="Example:\n\n  entra-tls runs --db runs.sqlite")
def runs(db: Annotated[str, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)]) -> None:
    """List the stored runs, newest first."""
    from scanner import terminal  # noqa: PLC0415
    from scanner.store import StoreError, open_store  # noqa: PLC0415

    try:
        with open_store(db, must_exist=True) as store:
            summaries = store.list_runs()
    except StoreError as error:
        terminal.fail(str(error))
    table = Table("Run", "Began (UTC)", "Hosts", "Complete", "Policy", "Command")
    for summary in summaries:
        stored = summary.run
        began = f"{stored.started_at:%Y-%m-%d %H:%M:%S}"
        complete = "yes" if stored.is_complete else "no"
        table.add_row(stored.id, began, str(summary.host_count), complete, stored.policy_id, stored.command)
    Console().print(table)


@app.command(epilog="Example:\n\n  entra-tls endpoints --cloud usgov")
def endpoints(
    cloud: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cloud: global, usgov or china.")] = None,
) -> None:
    """List the registration endpoints that @entra:global, @entra:usgov and @entra:china stand for, with source."""
    from scanner import terminal  # noqa: PLC0415
    from scanner.entra import Cloud, entra_endpoints  # noqa: PLC0415

    clouds = [member.value for member in Cloud]
    if cloud is not None and cloud not in clouds:
        terminal.fail(f"there is no cloud {cloud!r}; there are {', '.join(clouds)}")
    terminal.print_endpoints(entra_endpoints(cloud))


EXIT_FAULT = 70  # EX_SOFTWARE of BSD's sysexits.h; none of the codes that say something about hosts


def main() -> None:
    """Run the command line. A fault of the program's own ends with one line; ENTRA_TLS_DEBUG=1 shows the traceback."""
    # By default Python looks for dead cycles after every 700 new objects; imports, records and results make none.
    gc.set_threshold(50_000, 20, 20)
    try:
        app(prog_name="entra-tls")
    except Exception as error:  # noqa: BLE001  # the last place to turn a fault into a message
        _end_on_fault(error)
    finally:
        # What is left is not worth a search for dead cycles: at its end Python makes several, 0.1 s for 500 hosts.
        gc.freeze()


def _end_on_fault(error: Exception) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    if os.environ.get("ENTRA_TLS_DEBUG"):
        raise error
    text = f"a fault of the program: {type(error).__name__}: {error}. With ENTRA_TLS_DEBUG=1 it says where."
    Console(stderr=True).print(Text(f"entra-tls: {text}", style="red"), soft_wrap=True)
    raise SystemExit(EXIT_FAULT) from None
