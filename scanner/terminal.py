"""Between the command line and the use cases: reading targets, running a scan with a live view, writing files."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scanner.app import EXIT_USAGE, exit_code, load_resumable, merge_shards, scan_plan
from scanner.deep import run_deep_scans
from scanner.entra import EntraEndpoint
from scanner.exclusions import Exclude
from scanner.live import LiveView, ProgressForm
from scanner.model.evidence import State
from scanner.model.subjects import Endpoint, Target
from scanner.net.resolve import Resolver
from scanner.options import ScanOptions
from scanner.policy import PolicyError, read_policy
from scanner.proxy_setup import Secrets
from scanner.reports.source import ReportSource
from scanner.reports.text import WIDE_COLUMNS, counted, print_result
from scanner.results import JudgedHost, Results
from scanner.store.stored import StoreError
from scanner.sweep.plan import TargetPlan, plan_targets, public_address_count
from scanner.target_parser import address_text
from scanner.targets import TargetsError, parse_arguments, read_excludes, read_targets
from scanner.untrusted import clean_text
from scanner.upgrade.credentials import CredentialsError, read_credentials

if TYPE_CHECKING:
    from scanner.store import Store

DNS_PORT = 53
MOST_PUBLIC_ADDRESSES = 256
"""Public addresses that may be swept without a word."""
_NAMESERVER = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_MOST_PLAN_ROWS = 200
_FIXED_BY_RUN = (
    "policy",
    "confirm",
    "timeout",
    "connect_timeout",
    "passes",
    "host_deadline",
    "concurrency",
    "per_address",
    "polite",
    "syn",
    "seed",
    "shard",
    "keep_bytes",
    "resolver",
    "net",
    "no_recognise",
    "listener",
    "no_paths",
)
"""Options that belong to a run and are kept with it."""
_MOST_CELL_CHARS = 300


def fail(message: str) -> NoReturn:
    """End with one clear message and the exit code for usage."""
    Console(stderr=True).print(Text(f"entra-tls: {message}", style="red"), soft_wrap=True)
    raise typer.Exit(EXIT_USAGE)


def read_all_targets(arguments: Sequence[str], files: Sequence[Path], exclude_files: Sequence[Path] = ()) -> TargetPlan:
    """Return what to scan; ends with all bad lines at once, or where there is no target."""
    parsed = [
        parse_arguments(arguments),
        *(read_targets(path) for path in files),
        *(read_excludes(path) for path in exclude_files),
    ]
    console = Console(stderr=True)
    for source in parsed:
        for warning in source.warnings:
            print_note(warning)
    try:
        plan = plan_targets(*parsed)
    except TargetsError as error:
        for item in error.errors:
            console.print(Text(str(item), style="red"), soft_wrap=True, highlight=False)
        fail(f"{counted(len(error.errors), 'bad target line')}; nothing was scanned")
    if not plan.count:
        fail("no target: name some, or give a targets file with --file (targets.example.txt shows how)")
    return plan


def print_note(text: str) -> None:
    """Say what the reader of the results should know."""
    Console(stderr=True).print(Text(f"note: {text}", style="yellow"), soft_wrap=True)


def check_authorised(plan: TargetPlan, *, is_authorised: bool) -> None:
    """End where a large public range is to be swept and the user has not said that it may be."""
    count = public_address_count(plan.space)
    if count > MOST_PUBLIC_ADDRESSES and not is_authorised:
        fail(
            f"the ranges hold {count:,} public addresses: other people's, unless they are yours. Add --i-am-authorised "
            "if you may scan them; nothing was scanned"
        )


def parse_shard(text: str) -> tuple[int, int]:
    """Return (2, 8) for ``2/8``."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    number, total = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= total:
        fail(f"--shard takes a part and how many there are, such as 2/8; not {text!r}")
    return number, total


def parse_processes(text: str) -> int:
    """Return how many processes are asked for; 0 for ``auto``."""
    if text == "auto":
        return 0
    if not re.fullmatch(r"[1-9][0-9]?", text):
        fail(f"--processes takes auto or a number from 1 to 99; not {text!r}")
    return int(text)


def checked_seed(seed: int | None, shard: str | None) -> int:
    """Return the seed, a random one where none is given; shards must be told theirs."""
    if seed is None and shard is not None:
        return 0  # every worker the same order without a word
    return secrets.randbelow(2**32) if seed is None else seed


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def checked_listeners(text: str | None) -> str:
    """Return ``--listener`` as it is kept with a run; ends where a part of it is no listener."""
    from scanner.listener.opening import ListenerError, parse_listener  # noqa: PLC0415  # only where one is wanted

    try:
        for part in text.split(",") if text else ():
            parse_listener(part.strip())
    except ListenerError as error:
        fail(str(error))
    return text or ""


def read_secrets(secret_file: Path | None, proxy_auth_file: Path | None) -> Secrets:
    """Return what proxies and listeners are told; ends where that can't be read. Never shows any of it."""
    from scanner.listener.opening import ListenerError, read_secret  # noqa: PLC0415  # see checked_listeners

    try:
        credentials = read_credentials(os.environ, proxy_auth_file)
        secret = read_secret(os.environ, secret_file)
    except (CredentialsError, ListenerError) as error:
        fail(str(error))
    for warning in credentials.warnings:
        print_note(warning)
    return Secrets(proxies=credentials, listener=secret)


def checked_policy(policy_id: str) -> str:
    """Return the policy's name if there is such a policy; ends otherwise."""
    try:
        return read_policy(policy_id).id
    except PolicyError as error:
        fail(str(error))


def parse_nameserver(text: str) -> tuple[str, int]:
    """Return (address, port) of ``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1`` or ``[2001:db8::1]:5353``."""
    found = _NAMESERVER.fullmatch(text)
    try:
        # An IPv6 address without brackets has colons of its own, and so no port.
        address = str(ip_address((found["bracketed"] or found["plain"]) if found else text))
        port = int((found["port"] if found else None) or DNS_PORT)
    except ValueError:
        address, port = "", 0
    if not address or not 0 < port < 65_536:
        fail(f"--resolver takes an address, with a port where it is not 53, such as 192.0.2.1:5353; not {text!r}")
    return address, port


def print_plan(plan: TargetPlan, options: ScanOptions) -> None:
    """Print what would be scanned."""
    rows: list[tuple[Target, str]] = [(target, target.host) for target in plan.named]
    for item in plan.space.ranges:
        ends = f"{address_text(item.first, item.version)} to {address_text(item.last, item.version)}"
        one = address_text(item.first, item.version)
        count = counted(item.count, "address", "addresses")
        rows.append((item.template, one if item.count == 1 else f"{ends} ({count})"))
    console = Console()
    is_wide = console.width >= WIDE_COLUMNS
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Host", overflow="fold", min_width=26)
    table.add_column("Role", no_wrap=True)
    table.add_column("Ports", overflow="fold")
    for title in ("Server name", "Farm, tags", "Asked for in")[: 3 if is_wide else 1]:
        table.add_column(title, overflow="fold")
    for target, hosts in rows[:_MOST_PLAN_ROWS]:
        ports = [str(port) for port in target.ports] + [f"({port})" for port in target.optional_ports]
        name = "none" if target.sni is None else "the same" if target.sni == target.host else target.sni
        labels = [target.farm] if target.farm else []
        cells = (hosts, target.role.value, ", ".join(ports), name, ", ".join([*labels, *target.tags]), target.locator)
        table.add_row(*(Text(clean_text(cell, max_chars=_MOST_CELL_CHARS)) for cell in cells[: len(table.columns)]))
    console.print(table)
    if len(rows) > _MOST_PLAN_ROWS:
        console.print(f"(the first {_MOST_PLAN_ROWS} of {len(rows)} rows)", highlight=False)
    port_count = sum(len(target.ports) + len(target.optional_ports) for target in plan.named)
    port_count += sum(
        item.count * (len(item.template.ports) + len(item.template.optional_ports)) for item in plan.space.ranges
    )
    rate = f"at most {options.rate:g} connections a second" if options.rate else "no rate limit"
    number, total = options.shard
    shard = f", shard {number} of {total}" if total > 1 else ""
    console.print(
        f"{counted(plan.count, 'target')}, {counted(port_count, 'port')} (on each address that a name leads to)"
        f"{shard}, policy {options.policy}, confirm {options.confirm}, {rate}.\n"
        "Ports in parentheses may be closed. Nothing was contacted.",
        highlight=False,
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanIO:
    """Where a scan's progress and results go."""

    db: str | None = None
    """SQLite file or SQLAlchemy URL that keeps the run."""
    jsonl: Path | None = None
    """File, or ``-`` for standard output, that gets each host as it is known."""
    progress: ProgressForm = ProgressForm.AUTO
    """How progress is told."""
    has_table: bool = True
    """Whether the table is printed at the end."""

    @property
    def is_stdout_taken(self) -> bool:
        """Whether hosts are written to standard output, so that nothing else may be."""
        return self.jsonl is not None and str(self.jsonl) == "-"


def run_scan(
    plan: TargetPlan,
    options: ScanOptions,
    io: ScanIO,
    *,
    resolver: Resolver | None = None,
    resumed: str | None = None,
    secrets_of: Secrets | None = None,
) -> tuple[Results, str | None]:
    """Scan with a live view, store where asked, print the table; return the results, and why they are not stored.

    Ends with a clear message where the store can't be opened or the options can't be.
    """
    found: list[Results] = []
    view = LiveView(Console(stderr=True), form=io.progress)

    async def scan(store: Store | None, on_host: Callable[[JudgedHost], None] | None) -> None:
        # Returns nothing: asyncio.run renders the finished task, result and all, to text when it looks at Ctrl-C's
        # handler afterwards (cpython's Handlers enum).
        try:
            found.append(
                await scan_plan(
                    plan,
                    options,
                    resolver=resolver,
                    observer=view,
                    store=store,
                    resumed=resumed,
                    spool_folder=maybe_folder(io.db),
                    on_host=on_host,
                    secrets_of=secrets_of,
                )
            )
        finally:
            await view.finish()

    with ExitStack() as stack:
        try:
            store = None
            if io.db is not None:
                from scanner.store import open_store  # noqa: PLC0415  # SQLAlchemy only where a run is stored

                store = stack.enter_context(open_store(io.db, must_exist=resumed is not None))
            asyncio.run(scan(store, _open_jsonl(io.jsonl, stack, is_resumed=resumed is not None)))
        except (StoreError, ValueError) as error:
            fail(str(error))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            fail(
                f"the results can't be kept: {error.strerror or error}; what was stored can be gone on with (--resume)"
            )
    (results,) = found
    if io.has_table:
        print_result(results, Console(stderr=io.is_stdout_taken))
    return results, view.store_failure


def maybe_folder(db: str | None) -> Path | None:
    """Return the folder of a database that is a file: it has room for a run, where the system's own may be memory."""
    return None if db is None or "://" in db else Path(db).parent


def _open_jsonl(path: Path | None, stack: ExitStack, *, is_resumed: bool) -> Callable[[JudgedHost], None] | None:
    """Return what writes each host as a line at once; a resumed run's follow those it has written before."""
    if path is None:
        return None
    if str(path) == "-":
        file = sys.stdout
    else:
        try:
            file = stack.enter_context(path.open("a" if is_resumed else "w", encoding="utf-8", newline=""))
        except OSError as error:
            fail(f"{path} can't be written: {error.strerror}")

    def write(judged: JudgedHost) -> None:
        file.write(judged.jsonl() + "\n")
        file.flush()

    return write


def check_resumable(is_given: Callable[[str], bool]) -> None:
    """End where an option was given that a resumed run can't change: it goes on as it began."""
    given = [f"--{name.replace('_', '-')}" for name in _FIXED_BY_RUN if is_given(name)]
    if given:
        fail(f"--resume goes on with the run's own options, so {', '.join(given)} can't be given; nothing was scanned")


def load_run_to_resume(db: str, reference: str, exclude_files: Sequence[Path]) -> tuple[str, TargetPlan, ScanOptions]:
    """Return (id, plan, options) of a stored run to go on with; ends where there is none.

    What exclude_files name is left out of what is still to be done.
    """
    from scanner.store import open_store  # noqa: PLC0415  # SQLAlchemy is loaded only where a run is stored

    try:
        with open_store(db, must_exist=True) as store:
            run_id, plan, options = load_resumable(store, reference)
    except StoreError as error:
        fail(str(error))
    excludes = read_all_excludes(exclude_files)
    return run_id, replace(plan, excludes=(*plan.excludes, *excludes)), options


def read_all_excludes(paths: Sequence[Path]) -> tuple[Exclude, ...]:
    """Return what the files say must not be contacted; ends with all bad lines at once."""
    parsed = [read_excludes(path) for path in paths]
    errors = [error for source in parsed for error in source.errors]
    for error in errors:
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True, highlight=False)
    if errors:
        fail(f"{counted(len(errors), 'bad exclude line')}; nothing was scanned")
    return tuple(exclude for source in parsed for exclude in source.excludes)


def merge(into: str, shards: Sequence[str]) -> None:
    """Merge the newest runs of some databases into one, and say what it has; ends where they don't fit."""
    from scanner.store import open_store  # noqa: PLC0415  # SQLAlchemy is loaded only where runs are stored

    with ExitStack() as stack:
        try:
            sources = [stack.enter_context(open_store(shard, must_exist=True)) for shard in shards]
            merged = merge_shards(stack.enter_context(open_store(into)), sources)
        except StoreError as error:
            fail(str(error))
    console = Console()
    console.print(f"run {merged.run.id}: {counted(merged.host_count, 'host')}", highlight=False)
    for name, numbers in (("missing", merged.missing_shards), ("not finished", merged.unfinished_shards)):
        if numbers:
            shown = ", ".join(f"{number}/{merged.shard_count}" for number in numbers)
            console.print(Text(f"The run is not complete. Shards {name}: {shown}", style="yellow"), soft_wrap=True)


def run_sslyze(results: Results, named: Collection[Target], folder: Path, *, quiet: bool) -> None:
    """Run sslyze's full scan on every endpoint of a named host that speaks TLS, and say where its JSON is."""
    names = {target.host for target in named}
    endpoints = [
        Endpoint(host=host["name"], address=each["address"], port=each["port"], server_name=each["server_name"])
        for host, _ in results.entries()
        if host["name"] in names
        for each in host["endpoints"]
        if any(verdict["state"] == State.ENABLED.value for verdict in each["verdicts"])
    ]
    console = Console(stderr=True)
    if not quiet:
        console.print(f"sslyze's full scan of {counted(len(endpoints), 'endpoint')}: some hundred connections each ...")
    for deep in asyncio.run(run_deep_scans(endpoints, folder)):
        if deep.error is not None:
            console.print(Text(f"sslyze on {deep.endpoint.locator}: {deep.error}", style="yellow"), soft_wrap=True)
        elif not quiet:
            console.print(Text(f"sslyze on {deep.endpoint.locator}: {deep.path}"), soft_wrap=True)


def make_folder(path: Path) -> None:
    """Make a folder for output; ends where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"the folder {path} can't be made: {error.strerror}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The report files asked for."""

    html: Path | None
    json: Path | None
    csv: Path | None

    def check(self, *, make_folders: bool = False) -> None:
        """End before anything is scanned where a file could not be written afterwards."""
        for path in filter(None, (self.html, self.json, self.csv)):
            if make_folders:
                make_folder(path.parent)
            if not path.parent.is_dir():
                fail(f"{path} can't be written: there is no folder {path.parent}")
            try:
                _try_to_write(path)
            except OSError as error:
                fail(f"{path} can't be written: {error.strerror}")

    def write(self, results: ReportSource, *, quiet: bool) -> None:
        """Write each file, whole or not at all, and say where it is; ends with those that could not be written."""
        errors = []
        for path, render in ((self.html, _render_html), (self.json, _render_json), (self.csv, _render_csv)):
            if path is None:
                continue
            try:
                _write_whole(path, render(results))
            except OSError as error:
                errors.append(f"{path} can't be written: {error.strerror}")
                continue
            if not quiet:
                Console(stderr=True).print(Text(f"wrote {path}"), soft_wrap=True)
        if errors:
            fail("; ".join(errors))


def finish(result: Results, *, allow_unknown: bool, store_failure: str | None = None) -> NoReturn:
    """End with the exit code that the result calls for; a run that was to be stored and is not is never a success."""
    if store_failure is not None:
        fail(f"the run was not stored: {store_failure}")
    raise typer.Exit(exit_code(result, allow_unknown=allow_unknown))


def print_endpoints(entries: Sequence[EntraEndpoint]) -> None:
    """Print registration endpoints, by cloud. Names stay whole, for copying and for grep."""
    console = Console()
    for cloud, own in groupby(entries, key=lambda entry: entry.cloud):
        console.print(Text(f"@entra:{cloud.value}", style="bold"))
        for entry in own:
            console.print(*_render_endpoint(entry), sep="\n", soft_wrap=True, highlight=False)


def _render_endpoint(entry: EntraEndpoint) -> list[Text]:
    """Return the lines of one registration endpoint; what no document says is marked."""
    purpose = entry.purpose if entry.is_scanned else f"{entry.purpose} (listed only, not scanned)"
    needed = entry.needed if entry.is_verified else f"{entry.needed} (unverified)"
    inspected = "yes" if entry.must_not_be_inspected else "no"
    if not entry.is_inspection_rule_verified:
        inspected = f"{inspected} (unverified)"
    return [
        Text(f"  {entry.name}", style="cyan"),
        Text(f"    role endpoint: {purpose}"),
        Text(f"    needed: {needed}; never to be inspected: {inspected}"),
        *(Text(f"    source: {source.title}, {source.url}", style="dim") for source in entry.sources),
    ]


def _try_to_write(path: Path) -> None:
    """Raise OSError where _write_whole would. Leaves nothing behind."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if _is_written_in_place(path):
        with path.open("a", encoding="utf-8"):
            return
    # The only sure way to know, for root and on file systems that can't be written.
    tempfile.TemporaryFile(dir=path.parent).close()


def _is_written_in_place(path: Path) -> bool:
    # A link may be /dev/stdout, and would itself be replaced by a file.
    return path.is_symlink() or (path.exists() and not path.is_file())


def _write_whole(path: Path, content: Iterable[str]) -> None:
    """Write beside the file and put it in place, so that a reader never sees half a report."""
    if _is_written_in_place(path):
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(content)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.writelines(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _render_html(source: ReportSource) -> Iterable[str]:
    from scanner.reports.html import render_html  # noqa: PLC0415  # jinja2 is loaded only where it is used

    return render_html(source)


def _render_json(source: ReportSource) -> Iterable[str]:
    from scanner.reports.json import render_json  # noqa: PLC0415

    return render_json(source)


def _render_csv(source: ReportSource) -> Iterable[str]:
    from scanner.reports.csv import render_csv  # noqa: PLC0415

    return render_csv(source)
