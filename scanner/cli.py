"""The command line: parse, call the use case, exit code. Nothing else."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from scanner import __version__, cli_audit, cli_outbound
from scanner.cli_options import (
    DB_HELP,
    AllowUnknownOption,
    CsvOption,
    HtmlOption,
    JsonOption,
    PolicyOption,
    SecretFileOption,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # main() says what went wrong, without a traceback
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure which TLS versions the hosts on the way to Entra device registration accept, with evidence.",
    epilog="Exit codes: 0 compliant and complete, 1 findings, 2 usage, 3 something is UNKNOWN or nothing was seen.",
)


class Confirm(StrEnum):
    """Which versions found enabled are confirmed by a handshake of sslyze's engine."""

    AUTO = "auto"
    ALL = "all"
    FINDINGS = "findings"
    NONE = "none"


class Keep(StrEnum):
    """Which bytes of the replies are stored."""

    ALL = "all"
    DISPUTED = "disputed"
    NONE = "none"


class ProgressForm(StrEnum):
    """How progress is told."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"


class Net(StrEnum):
    """Which network to use."""

    AUTO = "auto"
    EPOLL = "epoll"
    ASYNCIO = "asyncio"


PACE = "Pace"
SWEEP = "Ranges"
OUTBOUND = "Forward proxies"


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
    "  entra-tls scan 10.20.0.0/16:443,8443,49443 --rate 2000 --db runs.sqlite\n\n"
    "  entra-tls scan --resume latest --db runs.sqlite\n\n"
    "  entra-tls scan 10.0.0.0/8 --shard 2/8 --db shard2.sqlite --progress json\n\n"
    "  entra-tls scan --file proxies.txt --listener 192.0.2.10:443 --html report.html\n\n"
    "Exit codes: 0 compliant and complete, 1 findings, 2 usage, 3 something is UNKNOWN or nothing was seen."
)
def scan(
    context: typer.Context,
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
    jsonl: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each host as a line of JSON as soon as it is known; - is stdout."),
    ] = None,
    db: Annotated[str | None, typer.Option(metavar="DB", envvar="ENTRA_TLS_DB", help=DB_HELP)] = None,
    policy: PolicyOption = None,
    confirm: Annotated[
        Confirm,
        typer.Option(
            metavar="all|findings|none",
            help="Confirm versions found enabled by a handshake of sslyze's engine: all of them; of a range's hosts "
            "only those that the policy forbids and all of every hundredth host; or none. Default: findings where "
            "there are ranges, else all.",
        ),
    ] = Confirm.AUTO,
    exclude_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Names, addresses and ranges never to contact, one a line."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=300, metavar="SECONDS", help="For one connection.")] = 5.0,
    host_deadline: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="For all questions to one host.")
    ] = 120.0,
    concurrency: Annotated[
        int, typer.Option(min=1, max=20_000, metavar="COUNT", help="Hosts at a time.", rich_help_panel=PACE)
    ] = 500,
    per_address: Annotated[
        int, typer.Option(min=1, metavar="COUNT", help="Connections at a time to one address.", rich_help_panel=PACE)
    ] = 8,
    rate: Annotated[
        float,
        typer.Option(min=0, metavar="COUNT", help="Connections a second in all; 0 is no limit.", rich_help_panel=PACE),
    ] = 1000.0,
    per_net: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="COUNT",
            help="Connections a second to one /24 (IPv6: /64); 0 is no limit, but for networks that begin to fail.",
            rich_help_panel=PACE,
        ),
    ] = 250.0,
    polite: Annotated[
        bool,
        typer.Option(
            "--polite",
            help="Ask in the order that needs the fewest connections: 7 for a modern host instead of 8.",
            rich_help_panel=PACE,
        ),
    ] = False,
    connect_timeout: Annotated[
        float,
        typer.Option(
            min=0.1, max=300, metavar="SECONDS", help="To find out whether anything listens.", rich_help_panel=SWEEP
        ),
    ] = 3.2,
    passes: Annotated[
        int,
        typer.Option(min=1, max=10, metavar="COUNT", help="Times to try a silent address.", rich_help_panel=SWEEP),
    ] = 2,
    in_flight: Annotated[
        int,
        typer.Option(
            min=1, max=1_000_000, metavar="COUNT", help="Connections at a time to ranges.", rich_help_panel=SWEEP
        ),
    ] = 20_000,
    syn: Annotated[
        bool,
        typer.Option("--syn", help="Look for listeners with raw SYNs; needs CAP_NET_RAW.", rich_help_panel=SWEEP),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="NUMBER", help="Of the order; shards need the same.", rich_help_panel=SWEEP),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts, 2/8.", rich_help_panel=SWEEP)
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a stored run (an id, the begin of one, or latest), with its targets and options.",
            rich_help_panel=SWEEP,
        ),
    ] = None,
    processes: Annotated[
        str,
        typer.Option(metavar="auto|COUNT", help="Processes that scan; auto: as many as help.", rich_help_panel=SWEEP),
    ] = "auto",
    keep_bytes: Annotated[
        Keep,
        typer.Option(
            metavar="all|disputed|none",
            help="Reply bytes to store: all; all of disputed and unknown hosts and of the others what was judged; or "
            "none of hosts that are clear, which can't be judged again then.",
            rich_help_panel=SWEEP,
        ),
    ] = Keep.DISPUTED,
    i_am_authorised: Annotated[
        bool,
        typer.Option(
            "--i-am-authorised",
            help="Needed for ranges of more than 256 public addresses: you may scan them.",
            rich_help_panel=SWEEP,
        ),
    ] = False,
    listener: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT[@ADDRESS:PORT][,...]",
            help="Have each forward proxy connect to this listener, and compare both ends: it is started here (on "
            "ADDRESS:PORT, where that is another), or asked where it runs already.",
            rich_help_panel=OUTBOUND,
        ),
    ] = None,
    secret_file: SecretFileOption = None,
    proxy_auth_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What proxies that ask are told: lines HOST[:PORT] user:password, or user:password for all. Or set "
            "ENTRA_TLS_PROXY_AUTH.",
            rich_help_panel=OUTBOUND,
        ),
    ] = None,
    no_paths: Annotated[
        bool,
        typer.Option(
            "--no-paths",
            help="Don't ask for the \\[endpoints] through each of the \\[proxies].",
            rich_help_panel=OUTBOUND,
        ),
    ] = False,
    progress: Annotated[
        ProgressForm,
        typer.Option(metavar="auto|json|none", help="How progress is told, on standard error."),
    ] = ProgressForm.AUTO,
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
    from scanner.live import ProgressForm as LiveForm  # noqa: PLC0415
    from scanner.options import Confirm as OptionsConfirm  # noqa: PLC0415
    from scanner.options import ScanOptions  # noqa: PLC0415
    from scanner.policy import DEFAULT_POLICY  # noqa: PLC0415
    from scanner.store.stored import KeepBytes  # noqa: PLC0415

    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    process_count = terminal.parse_processes(processes)
    resumed = None
    if resume is not None:
        if targets or file or db is None:
            terminal.fail("--resume takes a run's targets from its database: give --db, and no targets")
        is_given = partial(terminal.is_given, context)
        terminal.check_resumable(is_given)
        resumed, plan, options = terminal.load_run_to_resume(db, resume, exclude_file or [])
        options = replace(
            options,
            processes=process_count,
            rate=rate if is_given("rate") else options.rate,
            per_network=per_net if is_given("per_net") else options.per_network,
            in_flight=in_flight if is_given("in_flight") else options.in_flight,
        )
    else:
        plan = terminal.read_all_targets(targets or [], file or [], exclude_file or [])
        depth = confirm.value if confirm is not Confirm.AUTO else "findings" if plan.space.count else "all"
        options = ScanOptions(
            confirm=OptionsConfirm(depth),
            timeout_s=timeout,
            connect_s=connect_timeout,
            passes=passes,
            host_deadline_s=host_deadline,
            concurrency=concurrency,
            in_flight=in_flight,
            per_address=per_address,
            rate=rate,
            per_network=per_net,
            walks_down=polite,
            uses_syn=syn,
            net=net.value,
            policy=terminal.checked_policy(policy or DEFAULT_POLICY),
            does_recognise=not no_recognise,
            nameservers=tuple(terminal.parse_nameserver(text) for text in resolver or []),
            seed=terminal.checked_seed(seed, shard),
            shard=terminal.parse_shard(shard) if shard is not None else (1, 1),
            keep=KeepBytes(keep_bytes.value),
            processes=process_count,
            listener=terminal.checked_listeners(listener),
            asks_paths=not no_paths,
        )
    secrets_of = terminal.read_secrets(secret_file, proxy_auth_file)
    if dry_run:
        terminal.print_plan(plan, options)
        return
    terminal.check_authorised(plan, is_authorised=i_am_authorised or resumed is not None)
    outputs.check()
    if sslyze_json is not None:
        terminal.make_folder(sslyze_json)
    form = LiveForm.NONE if quiet and progress is ProgressForm.AUTO else LiveForm(progress.value)
    io = terminal.ScanIO(db=db, jsonl=jsonl, progress=form, has_table=not quiet)
    results, store_failure = terminal.run_scan(plan, options, io, resumed=resumed, secrets_of=secrets_of)
    outputs.write(results, quiet=quiet)
    if sslyze_json is not None:
        terminal.run_sslyze(results, plan.named, sslyze_json, quiet=quiet)
    terminal.finish(results, allow_unknown=allow_unknown, store_failure=store_failure)


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
    from scanner.demo import ADDRESS, HOSTS, DemoResolver, running_demo  # noqa: PLC0415
    from scanner.demo_proxies import PROXIES, free_port, running_demo_proxies  # noqa: PLC0415
    from scanner.live import ProgressForm as LiveForm  # noqa: PLC0415
    from scanner.options import ScanOptions  # noqa: PLC0415
    from scanner.sweep.plan import TargetPlan  # noqa: PLC0415
    from scanner.sweep.space import Space  # noqa: PLC0415

    console = Console()
    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    outputs.check(make_folders=True)
    if not quiet:
        console.print("[bold]The demo starts these servers on 127.0.0.1 and scans them:[/]")
        servers = Table.grid(padding=(0, 2))
        for name, about in [(host.name, host.about) for host in HOSTS] + [(each.name, each.about) for each in PROXIES]:
            servers.add_row("", name, about)
        console.print(servers)
    with running_demo() as targets, running_demo_proxies() as proxies:
        # Two seconds are plenty on loopback, and the silent host needs a few time-outs.
        options = ScanOptions(timeout_s=2.0, command="demo", listener=f"{ADDRESS}:{free_port()}")
        plan = TargetPlan(named=(*targets, *proxies), space=Space(()))
        io = terminal.ScanIO(progress=LiveForm.NONE if quiet else LiveForm.AUTO, has_table=not quiet)
        results, _ = terminal.run_scan(plan, options, io, resolver=DemoResolver())
    outputs.write(results, quiet=quiet)
    if not quiet:
        console.print(
            "\nThe demo's findings are on purpose. Your own hosts: entra-tls scan HOST, or --file with a targets file.",
            soft_wrap=True,
        )
    if not results.has_known:
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
    from scanner.reports.text import print_result  # noqa: PLC0415
    from scanner.store import StoreError, open_store  # noqa: PLC0415

    outputs = terminal.Outputs(html=html, json=json, csv=csv)
    outputs.check()
    policy_id = None if policy is None else terminal.checked_policy(policy)
    try:
        with open_store(db, must_exist=True) as store:
            results = judge_stored(
                store,
                run,
                policy_id=policy_id,
                spool_folder=terminal.maybe_folder(db),
                on_note=terminal.print_note,
            )
    except StoreError as error:
        terminal.fail(str(error))
    if not quiet:
        print_result(results, Console())
    outputs.write(results, quiet=quiet)
    terminal.finish(results, allow_unknown=allow_unknown)


@app.command(epilog="Example:\n\n  entra-tls merge all.sqlite shard1.sqlite shard2.sqlite")
def merge(
    into: Annotated[str, typer.Argument(metavar="OUT", help="Database that gets the merged run; made where missing.")],
    shards: Annotated[
        list[str], typer.Argument(metavar="SHARD...", help="Databases whose newest run is a shard of one scan.")
    ],
) -> None:
    """Make one run out of the shards of a scan (entra-tls scan --shard)."""
    from scanner import terminal  # noqa: PLC0415

    terminal.merge(into, shards)


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
    table = Table(Column("Run", no_wrap=True), "Began (UTC)", "Hosts", "Complete", "Policy", "Command")
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


cli_outbound.register(app)
cli_audit.register(app)

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
