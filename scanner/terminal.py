"""Between the command line and the use cases: reading targets, running a scan with a live view, writing files."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scanner.app import EXIT_USAGE, ScanOptions, exit_code, scan_targets
from scanner.deep import run_deep_scans
from scanner.entra import EntraEndpoint
from scanner.exclusions import Exclusions
from scanner.live import LiveView
from scanner.model.evidence import State
from scanner.model.runs import RunResult
from scanner.model.subjects import Target
from scanner.net.resolve import Resolver
from scanner.policy import PolicyError, read_policy
from scanner.reports.source import source_of
from scanner.reports.text import WIDE_COLUMNS, counted, print_result
from scanner.store import StoreError
from scanner.targets import TargetsError, expand, merge_excludes, parse_arguments, read_targets
from scanner.untrusted import clean_text

if TYPE_CHECKING:
    from scanner.store import Store

DNS_PORT = 53
_NAMESERVER = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_MOST_PLAN_ROWS = 200
_MOST_CELL_CHARS = 300


def fail(message: str) -> NoReturn:
    """End with one clear message and the exit code for usage."""
    Console(stderr=True).print(Text(f"entra-tls: {message}", style="red"), soft_wrap=True)
    raise typer.Exit(EXIT_USAGE)


def read_all_targets(arguments: Sequence[str], files: Sequence[Path]) -> tuple[tuple[Target, ...], Exclusions]:
    """Return what to scan and what never to contact; ends with all bad lines at once, or where there is no target."""
    parsed = [parse_arguments(arguments), *(read_targets(path) for path in files)]
    console = Console(stderr=True)
    for source in parsed:
        for warning in source.warnings:
            console.print(Text(f"note: {warning}", style="yellow"), soft_wrap=True)
    try:
        targets = expand(*parsed)
    except TargetsError as error:
        for item in error.errors:
            console.print(Text(str(item), style="red"), soft_wrap=True, highlight=False)
        fail(f"{counted(len(error.errors), 'bad target line')}; nothing was scanned")
    if not targets:
        fail("no target: name some, or give a targets file with --file (targets.example.txt shows how)")
    return targets, merge_excludes(*parsed)


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


def print_plan(targets: Sequence[Target], options: ScanOptions) -> None:
    """Print what would be scanned."""
    groups = [list(group) for _, group in groupby(targets, key=_plan_key)]
    console = Console()
    is_wide = console.width >= WIDE_COLUMNS
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Host", overflow="fold", min_width=26)
    table.add_column("Role", no_wrap=True)
    table.add_column("Ports", overflow="fold")
    for title in ("Server name", "Farm, tags", "Asked for in")[: 3 if is_wide else 1]:
        table.add_column(title, overflow="fold")
    for group in groups[:_MOST_PLAN_ROWS]:
        first, last = group[0], group[-1]
        hosts = first.host
        if len(group) > 1:
            hosts = f"{first.host} to {last.host} ({counted(len(group), 'address', 'addresses')})"
        ports = [str(port) for port in first.ports] + [f"({port})" for port in first.optional_ports]
        name = "none" if first.sni is None else "the same" if first.sni == first.host else first.sni
        labels = [first.farm] if first.farm else []
        cells = (hosts, first.role.value, ", ".join(ports), name, ", ".join([*labels, *first.tags]), first.locator)
        table.add_row(*(Text(clean_text(cell, max_chars=_MOST_CELL_CHARS)) for cell in cells[: len(table.columns)]))
    console.print(table)
    if len(groups) > _MOST_PLAN_ROWS:
        console.print(f"(the first {_MOST_PLAN_ROWS} of {len(groups)} rows)", highlight=False)
    port_count = sum(len(target.ports) + len(target.optional_ports) for target in targets)
    rate = f"at most {options.rate:g} connections a second" if options.rate else "no rate limit"
    console.print(
        f"{counted(len(targets), 'target')}, {counted(port_count, 'port')} (on each address that a name leads to), "
        f"policy {options.policy}, confirm {options.confirm}, {rate}.\n"
        "Ports in parentheses may be closed. Nothing was contacted.",
        highlight=False,
        soft_wrap=True,
    )


def _plan_key(target: Target) -> object:
    """Return what targets must share to be one row: a range is one row, every other target its own."""
    if not target.is_from_range:
        return target
    return target.locator, target.text, target.role, target.ports, target.optional_ports, target.server_name


def run_scan(
    targets: Sequence[Target],
    options: ScanOptions,
    *,
    exclusions: Exclusions | None = None,
    resolver: Resolver | None = None,
    db: str | None = None,
    quiet: bool = False,
) -> tuple[RunResult, str | None]:
    """Scan with a live view, store where asked, print the table; return the result, and why it is not stored.

    Ends with a clear message where the store can't be opened or the options can't be.
    """
    results: list[RunResult] = []

    async def scan(view: LiveView, store: Store | None = None) -> None:
        # Returns nothing: asyncio.run renders the finished task, result and all, to text when it looks at Ctrl-C's
        # handler afterwards (cpython's Handlers enum), which took 0.1 ms a host and as much memory as a report.
        results.append(
            await scan_targets(targets, options, exclusions=exclusions, resolver=resolver, observer=view, store=store)
        )

    async def run(view: LiveView) -> None:
        try:
            if db is None:
                await scan(view)
                return
            from scanner.store import open_store  # noqa: PLC0415  # SQLAlchemy is loaded only where a run is stored

            with open_store(db) as store:
                await scan(view, store)
        finally:
            await view.finish()

    view = LiveView(Console(stderr=True), is_shown=not quiet)
    try:
        asyncio.run(run(view))
    except (StoreError, ValueError) as error:
        fail(str(error))
    (result,) = results
    if not quiet:
        print_result(source_of(result), Console())
    return result, view.store_failure


def run_sslyze(result: RunResult, folder: Path, *, quiet: bool) -> None:
    """Run sslyze's full scan on every endpoint of a named host that speaks TLS, and say where its JSON is."""
    endpoints = [
        endpoint.endpoint
        for host in result.hosts
        if not host.target.is_from_range
        for endpoint in host.endpoints
        if any(verdict.state is State.ENABLED for verdict in endpoint.verdicts)
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

    def write(self, result: RunResult, *, quiet: bool) -> None:
        """Write each file, whole or not at all, and say where it is; ends with those that could not be written."""
        errors = []
        for path, render in ((self.html, _render_html), (self.json, _render_json), (self.csv, _render_csv)):
            if path is None:
                continue
            try:
                _write_whole(path, render(result))
            except OSError as error:
                errors.append(f"{path} can't be written: {error.strerror}")
                continue
            if not quiet:
                Console(stderr=True).print(Text(f"wrote {path}"), soft_wrap=True)
        if errors:
            fail("; ".join(errors))


def finish(result: RunResult, *, allow_unknown: bool, store_failure: str | None = None) -> NoReturn:
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


def _write_whole(path: Path, content: str) -> None:
    """Write beside the file and put it in place, so that a reader never sees half a report."""
    if _is_written_in_place(path):
        path.write_text(content, encoding="utf-8", newline="")
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _render_html(result: RunResult) -> str:
    from scanner.reports.html import render_html  # noqa: PLC0415  # jinja2 is loaded only where it is used

    return "".join(render_html(source_of(result)))


def _render_json(result: RunResult) -> str:
    from scanner.reports.json import render_json  # noqa: PLC0415

    return "".join(render_json(source_of(result)))


def _render_csv(result: RunResult) -> str:
    from scanner.reports.csv import render_csv  # noqa: PLC0415

    return "".join(render_csv(source_of(result)))
