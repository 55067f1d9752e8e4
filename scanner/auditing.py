"""Files to declarations: which kind each is, what it says, and whose it is. Pure but for reading the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from scanner.importers.catalogue import choose_importer
from scanner.importers.source import ReadError, ReadOptions
from scanner.loading import DiskFolder, load_file
from scanner.model.declared import ClueKind, Declaration, Reading
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Role, Target
from scanner.target_forms import FormError, maybe_address, parse_name

COMMAND = "audit"
"""Run.command of a run that was made of files alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What the user says beside the files."""

    host: str | None = None
    """Host that all of them belong to."""
    importer: str | None = None
    """Kind that all of them are (scanner.importers.catalogue)."""
    product_version: str | None = None
    """As in ReadOptions."""
    folder: Path | None = None
    """Where includes may come from; None is each file's own folder."""


class AuditError(ValueError):
    """Files that can't be read or tied to a host; every problem has a line of its own."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
        """A sentence each."""


def read_declarations(
    paths: Sequence[Path],
    options: AuditOptions,
    *,
    run: str,
    given_at: datetime,
    tool_version: str,
    known_hosts: Collection[str] = (),
    on_file: Callable[[str], None] = lambda _name: None,
) -> tuple[Declaration, ...]:
    """Return what files declare, each tied to a host, in the order given.

    known_hosts: those of the run it is for. on_file: is told each file's name before it is read. Raises AuditError
    with the problems of all files at once.
    """
    found, problems = [], []
    for path in paths:
        on_file(path.name)
        try:
            reading = read_one(path, options)
            host = options.host or host_of(reading, path, known_hosts)
        except ReadError as error:
            problems.append(str(error))
            continue
        found.append(
            Declaration(
                host=host,
                reading=reading,
                given_at=given_at,
                run=run,
                tool_version=tool_version,
                path=str(path.absolute()),
                folder="" if options.folder is None else str(options.folder.absolute()),
            )
        )
    if problems:
        raise AuditError(problems)
    return tuple(found)


def read_one(path: Path, options: AuditOptions) -> Reading:
    """Return what one file says. Raises ReadError."""
    source = load_file(path)
    importer = choose_importer(source, options.importer)
    folder = DiskFolder(options.folder or path.parent)
    return importer.read(source, folder, ReadOptions(product_version=options.product_version))


def host_of(reading: Reading, path: Path, known_hosts: Collection[str]) -> str:
    """Return the host that a file belongs to.

    The machine's own name where the file has it (that of the run's host which is it, with or without a domain); else
    the one of the run's hosts that the file's name begins with; else the only one of them that the file serves.
    Raises ReadError where that leaves none or several: a guess would put one host's settings to another's account.
    """
    own = [clue.name for clue in reading.clues if clue.kind is ClueKind.MACHINE]
    served = {clue.name for clue in reading.clues if clue.kind is ClueKind.SERVED}
    file_name = path.name.lower()
    named = [host for host in known_hosts if re.match(rf"{re.escape(host)}(?![a-z0-9])", file_name)]
    for candidates in (
        {host for name in own for host in _matching(name, known_hosts)},
        {host for host in named if len(host) == max(map(len, named))},
        served & set(known_hosts),
        {host for host in map(maybe_host, own) if host is not None},
    ):
        if len(candidates) == 1:
            return candidates.pop()
        if candidates:
            raise ReadError(f"{reading.file} may be of {' or '.join(sorted(candidates))}: --host says whose it is")
    hint = f" (it serves {', '.join(sorted(served)[:5])})" if served else ""
    raise ReadError(f"{reading.file}: nothing in it says whose it is{hint}; --host does")


def maybe_host(text: str) -> str | None:
    """Return a host's name or address as targets have it; None where it is neither."""
    try:
        address = maybe_address(text)
        return parse_name(text) if address is None else str(address)
    except FormError:
        return None


def _matching(name: str, hosts: Collection[str]) -> list[str]:
    """Return the hosts that a machine's own name may mean: the same, or the same up to the domain."""
    if name in hosts:
        return [name]
    label, _, domain = name.partition(".")
    parts = [(host, *host.partition(".")[::2]) for host in hosts]
    return [host for host, own_label, own_domain in parts if own_label == label and not (domain and own_domain)]


class Attaching:
    """Gives each host's record what files declare of it, and then the hosts that files alone know of."""

    def __init__(self, declarations: Iterable[Declaration]) -> None:
        self._by_host: dict[str, list[Declaration]] = {}
        for each in declarations:
            self._by_host.setdefault(each.host, []).append(each)
        self._seen: set[str] = set()
        self._last_position = -1

    def attach(self, position: int, record: HostRecord) -> HostRecord:
        """Return the record with its declarations."""
        self._last_position = max(self._last_position, position)
        host = record.target.host
        self._seen.add(host)
        return replace(record, declarations=tuple(self._by_host[host])) if host in self._by_host else record

    def has(self, host: str) -> bool:
        """Whether any file is of that host."""
        return host in self._by_host

    def rest(self) -> tuple[tuple[int, HostRecord], ...]:
        """Return (position, record) of hosts that were not attached to, after all that were."""
        left = [(host, own) for host, own in self._by_host.items() if host not in self._seen]
        return tuple((self._last_position + nth, record_of(host, own)) for nth, (host, own) in enumerate(left, start=1))


def record_of(host: str, declarations: Sequence[Declaration]) -> HostRecord:
    """Return the record of a host that nothing was asked of."""
    products = {each.reading.product for each in declarations}
    return HostRecord(
        target=Target(
            text=host,
            host=host,
            role=Role.SERVER,
            ports=(),
            vendor=products.pop() if len(products) == 1 else None,
            locator=declarations[0].reading.file,
        ),
        resolution=Resolution(),
        endpoints=(),
        exchanges=(),
        declarations=tuple(declarations),
    )
