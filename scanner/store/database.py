"""The store: runs and what was learned in them. Imports SQLAlchemy; scanner.store loads this on first use."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Self

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import sqlite

from scanner.model.runs import HostRecord, Run
from scanner.store.encoding import (
    HostRows,
    decode_certificate,
    decode_host,
    decode_text,
    decode_time,
    encode_certificate,
    encode_host,
    encode_text,
    encode_time,
    plan_dictionary,
)
from scanner.store.opening import begin_reading, begin_writing, open_engine, translated
from scanner.store.schema import CERTIFICATES, ENDPOINTS, EXCHANGES, HOST_CERTIFICATES, HOSTS, RUNS
from scanner.store.stored import RunSummary, StoredRun, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

_BATCH_HOSTS: Final = 200
_BATCH_BYTES: Final = 8 * 2**20
_LISTED_RUNS: Final = 5

_Row = dict[str, Any]


def open_store(url_or_path: str | Path, *, must_exist: bool = False, busy_timeout_s: float = 10.0) -> Store:
    """Open a store: the path of an SQLite file, or an SQLAlchemy URL.

    A missing file, its folder and its schema are made (unless must_exist), and an older schema is migrated.
    busy_timeout_s is how long to wait for another writer. Raises StoreError.
    """
    return Store(*open_engine(url_or_path, must_exist=must_exist, busy_timeout_s=busy_timeout_s))


class Store:
    """An open store; close it, or use it in a ``with`` statement. Every method raises StoreError where it can't.

    Each writing method is one transaction: after a crash its effect is there wholly or not at all.
    """

    def __init__(self, engine: sa.Engine, location: str) -> None:
        self._engine = engine
        self.location = location
        """The database's path or URL, for messages; without password."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def begin_run(self, run: Run) -> None:
        """Store a new run; refused where its id is taken."""
        with self._writing() as connection:
            taken = connection.scalar(sa.select(RUNS.c.number).where(RUNS.c.id == run.id))
            if taken is not None:
                raise StoreError(f"{self.location}: there is a run {run.id!r} already")
            connection.execute(RUNS.insert().values(_encode_run(run)))

    def append_host(self, run_id: str, position: int, record: HostRecord) -> None:
        """Store one host of a run at its position, in a transaction of its own."""
        self.append_hosts(run_id, ((position, record),))

    def append_hosts(self, run_id: str, records: Iterable[tuple[int, HostRecord]]) -> None:
        """Store hosts of a run at their positions, all in one transaction; refused where a position is taken."""
        with self._writing() as connection:
            statement = sa.select(RUNS.c.number, RUNS.c.dictionary).where(RUNS.c.id == run_id)
            found = connection.execute(statement.with_for_update()).one_or_none()
            if found is None:
                raise self._unknown_run(connection, run_id)
            number, dictionary = found
            batch: list[tuple[int, HostRows]] = []
            batch_bytes = 0
            for position, record in records:
                if dictionary is None and (dictionary := plan_dictionary(record)) is not None:
                    connection.execute(RUNS.update().where(RUNS.c.number == number).values(dictionary=dictionary))
                rows = encode_host(record, dictionary)
                batch.append((position, rows))
                batch_bytes += len(rows.host["wire"]) + sum(map(len, rows.certificates))
                if len(batch) >= _BATCH_HOSTS or batch_bytes >= _BATCH_BYTES:
                    self._insert_hosts(connection, run_id, number, batch)
                    batch, batch_bytes = [], 0
            if batch:
                self._insert_hosts(connection, run_id, number, batch)

    def finish_run(
        self,
        run_id: str,
        finished_at: datetime,
        is_complete: bool,  # noqa: FBT001  the four facts of an end, in the order of Run's own fields
        no_listener_counts: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Store how a run ended; a resumed run may be finished again, and the last end counts."""
        with self._writing() as connection:
            changed = connection.execute(
                RUNS.update()
                .where(RUNS.c.id == run_id)
                .values(
                    finished_at_us=encode_time(finished_at),
                    is_complete=is_complete,
                    no_listener_counts=[list(pair) for pair in no_listener_counts],
                )
            )
            if changed.rowcount == 0:
                raise self._unknown_run(connection, run_id)

    def delete_run(self, run_id: str) -> None:
        """Delete a run, what was learned in it, and the certificates no other run has; takes the whole id only."""
        with self._writing() as connection:
            if connection.execute(RUNS.delete().where(RUNS.c.id == run_id)).rowcount == 0:
                raise self._unknown_run(connection, run_id)
            is_used = sa.exists().where(HOST_CERTIFICATES.c.certificate_id == CERTIFICATES.c.id)
            connection.execute(CERTIFICATES.delete().where(~is_used))

    def list_runs(self) -> tuple[RunSummary, ...]:
        """Return all runs, newest first, with the number of their hosts."""
        host_count = (
            sa.select(sa.func.count()).select_from(HOSTS).where(HOSTS.c.run_number == RUNS.c.number).scalar_subquery()
        )
        with self._reading() as connection:
            rows = _read(connection, sa.select(*_RUN_COLUMNS, host_count.label("host_count")).order_by(*_NEWEST_FIRST))
            return tuple(RunSummary(run=_decode_run(row), host_count=row["host_count"]) for row in rows)

    def load_run(self, reference: str) -> StoredRun:
        """Return a run with all its hosts as of this moment; reference is an id, the begin of one, or ``latest``."""
        with self._reading() as connection:
            row = self._find_run(connection, reference)
            return StoredRun(
                run=_decode_run(row),
                hosts=tuple(self._read_hosts(connection, row)),
                no_listener_counts=tuple((reason, count) for reason, count in row["no_listener_counts"]),
            )

    def iter_hosts(self, reference: str) -> Iterator[HostRecord]:
        """Yield a run's hosts by position, holding only a few hundred in memory; reference as in load_run.

        They are those of the moment of the first one; close the iterator to let go of the database.
        """
        with self._reading() as connection:
            yield from self._read_hosts(connection, self._find_run(connection, reference))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with translated(self.location), begin_writing(self._engine) as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with translated(self.location), begin_reading(self._engine) as connection:
                yield connection
        except (ValueError, OverflowError) as error:
            # JSON that is none, a time out of range: nothing that this program stored.
            raise StoreError(f"{self.location}: a row is damaged ({error})") from error

    def _insert_hosts(
        self, connection: sa.Connection, run_id: str, number: int, batch: list[tuple[int, HostRows]]
    ) -> None:
        certificate_ids = _store_certificates(connection, batch)
        hosts, endpoints, exchanges, links = [], [], [], []
        for position, rows in batch:
            key = {"run_number": number, "position": position}
            hosts.append(key | rows.host)
            endpoints += [key | row for row in rows.endpoints]
            exchanges += [key | row for row in rows.exchanges]
            links += [
                key | {"ordinal": ordinal, "certificate_id": certificate_ids[der]}
                for ordinal, der in enumerate(rows.certificates)
            ]
        try:
            connection.execute(HOSTS.insert(), hosts)
        except exc.IntegrityError as error:
            taken = ", ".join(str(position) for position, _ in batch[:_LISTED_RUNS])
            raise StoreError(
                f"{self.location}: run {run_id!r} has a host already at one of the positions {taken}"
                + (", ..." if len(batch) > _LISTED_RUNS else "")
            ) from error
        for table, rows_of_table in ((ENDPOINTS, endpoints), (EXCHANGES, exchanges), (HOST_CERTIFICATES, links)):
            if rows_of_table:
                connection.execute(table.insert(), rows_of_table)

    def _find_run(self, connection: sa.Connection, reference: str) -> _Row:
        columns = sa.select(*_RUN_COLUMNS, RUNS.c.number, RUNS.c.no_listener_counts, RUNS.c.dictionary)
        if reference == "latest":
            newest = _read(connection, columns.order_by(*_NEWEST_FIRST).limit(1))
            if not newest:
                raise StoreError(f"{self.location}: no run is stored yet")
            return newest[0]
        exact = _read(connection, columns.where(RUNS.c.id == reference))
        if exact:
            return exact[0]
        # substr and not LIKE, which ignores case on SQLite and gives % and _ a meaning.
        begins = sa.func.substr(RUNS.c.id, 1, len(reference)) == reference
        found = _read(connection, columns.where(begins).order_by(*_NEWEST_FIRST)) if reference else []
        if not found:
            raise self._unknown_run(connection, reference)
        if len(found) > 1:
            raise StoreError(f"{self.location}: {reference!r} may mean {_enumerate([row['id'] for row in found])}")
        return found[0]

    def _unknown_run(self, connection: sa.Connection, reference: str) -> StoreError:
        ids = list(connection.scalars(sa.select(RUNS.c.id).order_by(*_NEWEST_FIRST)))
        if not ids:
            return StoreError(f"{self.location}: there is no run {reference!r}; no run is stored yet")
        nearest = difflib.get_close_matches(reference, ids, n=3)
        hint = f"did you mean {_enumerate(nearest)}?" if nearest else f"the newest are {_enumerate(ids)}"
        return StoreError(f"{self.location}: there is no run {reference!r}; {hint}")

    def _read_hosts(self, connection: sa.Connection, run: _Row) -> Iterator[HostRecord]:
        last = None
        while True:
            of_run = HOSTS.c.run_number == run["number"]
            after = sa.true() if last is None else HOSTS.c.position > last
            statement = sa.select(HOSTS).where(of_run, after).order_by(HOSTS.c.position).limit(_BATCH_HOSTS)
            hosts = _read(connection, statement)
            if not hosts:
                return
            first, last = hosts[0]["position"], hosts[-1]["position"]
            endpoints = _read_by_position(connection, ENDPOINTS, run, first, last)
            exchanges = _read_by_position(connection, EXCHANGES, run, first, last)
            links = _read_by_position(connection, HOST_CERTIFICATES, run, first, last)
            ders = _read_certificates(connection, {link["certificate_id"] for rows in links.values() for link in rows})
            for host in hosts:
                position = host["position"]
                try:
                    yield decode_host(
                        host,
                        endpoints.get(position, ()),
                        exchanges.get(position, ()),
                        [ders[link["certificate_id"]] for link in links.get(position, ())],
                        run["dictionary"],
                    )
                except StoreError as error:
                    raise StoreError(f"{self.location}: run {run['id']!r}, host {position}: {error}") from error


_RUN_COLUMNS: Final = (
    RUNS.c.id,
    RUNS.c.started_at_us,
    RUNS.c.finished_at_us,
    RUNS.c.is_complete,
    RUNS.c.policy_id,
    RUNS.c.confirm,
    RUNS.c.tool_version,
    RUNS.c.command,
)
_NEWEST_FIRST: Final = (RUNS.c.started_at_us.desc(), RUNS.c.number.desc())


def _encode_run(run: Run) -> _Row:
    return {
        "id": run.id,
        "started_at_us": encode_time(run.started_at),
        "finished_at_us": None if run.finished_at is None else encode_time(run.finished_at),
        "is_complete": run.is_complete,
        "policy_id": encode_text(run.policy_id),
        "confirm": encode_text(run.confirm),
        "tool_version": encode_text(run.tool_version),
        "command": encode_text(run.command),
        "no_listener_counts": [],
    }


def _decode_run(row: _Row) -> Run:
    finished_at_us = row["finished_at_us"]
    return Run(
        id=row["id"],
        started_at=decode_time(row["started_at_us"]),
        finished_at=None if finished_at_us is None else decode_time(finished_at_us),
        is_complete=row["is_complete"],
        policy_id=decode_text(row["policy_id"]),
        confirm=decode_text(row["confirm"]),
        tool_version=decode_text(row["tool_version"]),
        command=decode_text(row["command"]),
    )


def _enumerate(ids: list[str]) -> str:
    return ", ".join(ids[:_LISTED_RUNS]) + (f" and {len(ids) - _LISTED_RUNS} more" if len(ids) > _LISTED_RUNS else "")


def _store_certificates(connection: sa.Connection, batch: list[tuple[int, HostRows]]) -> dict[bytes, int]:
    """Return the id of each certificate (DER) of a batch, storing those that are new."""
    ders = {der for _, rows in batch for der in rows.certificates}
    if not ders:
        return {}
    rows = {der: encode_certificate(der) for der in ders}
    statement = sa.select(CERTIFICATES.c.sha256, CERTIFICATES.c.id).where(
        CERTIFICATES.c.sha256.in_([row["sha256"] for row in rows.values()])
    )
    known = {row.sha256: row.id for row in connection.execute(statement)}
    if missing := [row for row in rows.values() if row["sha256"] not in known]:
        connection.execute(_insert_if_absent(connection.dialect.name), missing)
        known = {row.sha256: row.id for row in connection.execute(statement)}
    return {der: known[row["sha256"]] for der, row in rows.items()}


def _insert_if_absent(dialect: str) -> sa.Insert:
    # Where writers work side by side, another may have stored the certificate since it was looked for.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # a tenth of a small scan's start-up

        return postgresql.insert(CERTIFICATES).on_conflict_do_nothing(index_elements=["sha256"])
    if dialect == "sqlite":
        return sqlite.insert(CERTIFICATES).on_conflict_do_nothing(index_elements=["sha256"])
    return CERTIFICATES.insert()


def _read(connection: sa.Connection, statement: sa.Select[Any]) -> list[_Row]:
    return [row._asdict() for row in connection.execute(statement)]


def _read_by_position(
    connection: sa.Connection, table: sa.Table, run: _Row, first: int, last: int
) -> dict[int, list[_Row]]:
    statement = sa.select(table).where(table.c.run_number == run["number"], table.c.position.between(first, last))
    rows = _read(connection, statement.order_by(table.c.position, table.c.ordinal))
    return {position: list(group) for position, group in groupby(rows, key=itemgetter("position"))}


def _read_certificates(connection: sa.Connection, ids: set[int]) -> dict[int, bytes]:
    ders: dict[int, bytes] = {}
    wanted = sorted(ids)
    for begin in range(0, len(wanted), _BATCH_HOSTS):
        part = wanted[begin : begin + _BATCH_HOSTS]
        rows = connection.execute(sa.select(CERTIFICATES.c.id, CERTIFICATES.c.der).where(CERTIFICATES.c.id.in_(part)))
        ders.update((number, decode_certificate(der)) for number, der in rows)
    return ders
