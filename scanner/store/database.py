"""The store: runs and what was learned in them. Imports SQLAlchemy; scanner.store loads this on first use."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import sqlalchemy as sa

from scanner.model.runs import HostRecord, Run
from scanner.store.declarations import pack_declaration, unpack_declaration
from scanner.store.encoding import (
    decode_bytes,
    decode_text,
    encode_bytes,
    encode_text,
    encode_time,
)
from scanner.store.opening import begin_reading, begin_writing, open_engine, translated
from scanner.store.packing import pack_record
from scanner.store.rows import (
    NEWEST_FIRST,
    RUN_COLUMNS,
    Parts,
    Row,
    decode_plan,
    decode_run,
    encode_plan,
    encode_run,
    find_run,
    read,
    read_certificates,
    read_links,
    store_certificates,
    store_parts,
    unknown_run,
)
from scanner.store.schema import CERTIFICATES, CHECKPOINTS, DECLARATIONS, HOST_CERTIFICATES, HOSTS, PARTS, PLANS, RUNS
from scanner.store.stored import Checkpoint, KeepBytes, Kept, PackedHost, RunSummary, StoredHost, StoredRun, StoreError
from scanner.store.unpacking import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from scanner.model.declared import Declaration

_BATCH_HOSTS: Final = 200
_BATCH_BYTES: Final = 8 * 2**20
_LISTED: Final = 5


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

    def begin_run(self, run: Run, *, plan: str = "", options: str = "") -> None:
        """Store a new run; refused where its id is taken.

        plan and options are for load_checkpoint; merge_runs reads ``seed`` and ``shard`` of options (JSON).
        """
        with self._writing() as connection:
            self._insert_run(connection, run, plan, options)

    def replace_options(self, run_id: str, options: str) -> None:
        """Store other options for a run that began with some."""
        with self._writing() as connection:
            number = self._lock_run(connection, run_id)
            connection.execute(PLANS.update().where(PLANS.c.run_number == number).values(options=encode_text(options)))

    def append_host(self, run_id: str, position: int, record: HostRecord) -> None:
        """Store one host of a run at its position, in a transaction of its own."""
        self.append_hosts(run_id, ((position, record),))

    def append_hosts(self, run_id: str, records: Iterable[tuple[int, HostRecord]]) -> None:
        """Store hosts of a run at their positions with all their bytes, in one transaction; as append_packed."""
        packed = (pack_record(record, position, keep=KeepBytes.ALL) for position, record in records)
        self.append_packed(run_id, packed)

    def append_packed(
        self,
        run_id: str,
        hosts: Iterable[PackedHost],
        *,
        checkpoint: bytes | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Store hosts, and with them how far the run is, in one transaction.

        A host takes the place of one that is not final. A final one is never replaced: the same host again is passed
        over, another is refused. checkpoint: the run's progress with these hosts; counts: its range addresses where
        nothing listened, by reason, all told. None leaves what was stored.
        """
        with self._writing() as connection:
            number = self._lock_run(connection, run_id)
            self._insert_batches(connection, run_id, number, hosts)
            if checkpoint is not None:
                of_run = CHECKPOINTS.c.run_number == number
                if connection.execute(CHECKPOINTS.update().where(of_run).values(progress=checkpoint)).rowcount == 0:
                    connection.execute(CHECKPOINTS.insert().values(run_number=number, progress=checkpoint))
            if counts is not None:
                _update_counts(connection, number, counts)

    def replace_declarations(self, run_id: str, declarations: Iterable[Declaration]) -> None:
        """Store what files declare; one of the same host and path takes the place of the one before."""
        with self._writing() as connection:
            self._insert_declarations(connection, self._lock_run(connection, run_id), declarations)

    def load_declarations(self, reference: str) -> tuple[Declaration, ...]:
        """Return what files declare, in the order given; reference as in load_run."""
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            of_run = DECLARATIONS.c.run_number == row["number"]
            statement = sa.select(DECLARATIONS.c.content).where(of_run).order_by(DECLARATIONS.c.id)
            try:
                return tuple(unpack_declaration(bytes(content)) for content in connection.scalars(statement))
            except StoreError as error:
                raise StoreError(f"{self.location}: run {row['id']!r}: {error}") from error

    def list_host_names(self, reference: str) -> tuple[str, ...]:
        """Return the names of a run's hosts, each once, sorted; reference as in load_run."""
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            names = {
                decode_text(name)
                for table in (HOSTS, DECLARATIONS)
                for name in connection.scalars(sa.select(table.c.host).where(table.c.run_number == row["number"]))
            }
            return tuple(sorted(names))

    def insert_run(
        self,
        run: Run,
        *,
        plan: str,
        options: str,
        hosts: Iterable[PackedHost],
        counts: Mapping[str, int],
        declarations: Iterable[Declaration] = (),
    ) -> int:
        """Store a whole run in one transaction and return the number of its hosts; for merge_runs."""
        with self._writing() as connection:
            number = self._insert_run(connection, run, plan, options)
            self._insert_batches(connection, run.id, number, hosts)
            _update_counts(connection, number, counts)
            self._insert_declarations(connection, number, declarations)
            of_run = HOSTS.c.run_number == number
            return connection.scalar(sa.select(sa.func.count()).select_from(HOSTS).where(of_run)) or 0

    def load_checkpoint(self, reference: str, *, below: int | None = None) -> Checkpoint:
        """Return what a run needs to go on; reference as in load_run.

        below: done_positions has only those below this one (the named targets of a run over ranges); None for all.
        """
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            number = row["number"]
            plan = connection.execute(sa.select(PLANS).where(PLANS.c.run_number == number)).one_or_none()
            progress = connection.scalar(sa.select(CHECKPOINTS.c.progress).where(CHECKPOINTS.c.run_number == number))
            done = sa.select(HOSTS.c.position).where(HOSTS.c.run_number == number, HOSTS.c.is_final)
            if below is not None:
                done = done.where(HOSTS.c.position < below)
            return Checkpoint(
                run=decode_run(row),
                plan="" if plan is None else decode_plan(plan.plan),
                options="" if plan is None else decode_text(plan.options),
                progress=progress,
                counts={reason: count for reason, count in row["no_listener_counts"]},  # noqa: C416  # checks the pairs
                done_positions=frozenset(connection.scalars(done)),
            )

    def finish_run(
        self,
        run_id: str,
        finished_at: datetime,
        is_complete: bool,  # noqa: FBT001  the four facts of an end, in the order of Run's own fields
        no_listener_counts: Iterable[tuple[str, int]] | None = (),
    ) -> None:
        """Store how a run ended; a resumed run may be finished again, and the last end counts.

        no_listener_counts: None leaves those that append_packed stored.
        """
        values: Row = {"finished_at_us": encode_time(finished_at), "is_complete": is_complete}
        if no_listener_counts is not None:
            values["no_listener_counts"] = [list(pair) for pair in no_listener_counts]
        with self._writing() as connection:
            changed = connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(values))
            if changed.rowcount == 0:
                raise unknown_run(connection, run_id, self.location)

    def delete_run(self, run_id: str) -> None:
        """Delete a run, what was learned in it, and the certificates no other run has; takes the whole id only."""
        with self._writing() as connection:
            if connection.execute(RUNS.delete().where(RUNS.c.id == run_id)).rowcount == 0:
                raise unknown_run(connection, run_id, self.location)
            is_used = sa.exists().where(HOST_CERTIFICATES.c.certificate_id == CERTIFICATES.c.id)
            connection.execute(CERTIFICATES.delete().where(~is_used))

    def list_runs(self) -> tuple[RunSummary, ...]:
        """Return all runs, newest first, with the number of their hosts."""
        host_count = (
            sa.select(sa.func.count()).select_from(HOSTS).where(HOSTS.c.run_number == RUNS.c.number).scalar_subquery()
        )
        with self._reading() as connection:
            rows = read(connection, sa.select(*RUN_COLUMNS, host_count.label("host_count")).order_by(*NEWEST_FIRST))
            return tuple(RunSummary(run=decode_run(row), host_count=row["host_count"]) for row in rows)

    def load_run(self, reference: str) -> StoredRun:
        """Return a run with all its hosts as of this moment; reference is an id, the begin of one, or ``latest``."""
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            return StoredRun(
                run=decode_run(row),
                hosts=tuple(self._with_bytes(row, host) for host in self._read_hosts(connection, row)),
                no_listener_counts=tuple((reason, count) for reason, count in row["no_listener_counts"]),
            )

    def load_summary(self, reference: str) -> tuple[RunSummary, tuple[tuple[str, int], ...]]:
        """Return a run without its hosts, and its no_listener_counts; reference as in load_run."""
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            of_run = HOSTS.c.run_number == row["number"]
            host_count = connection.scalar(sa.select(sa.func.count()).select_from(HOSTS).where(of_run)) or 0
            counts = tuple((reason, count) for reason, count in row["no_listener_counts"])
            return RunSummary(run=decode_run(row), host_count=host_count), counts

    def iter_hosts(self, reference: str) -> Iterator[HostRecord]:
        """Yield what iter_stored yields as records; StoreError at a host whose bytes were not kept."""
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            yield from (self._with_bytes(row, host) for host in self._read_hosts(connection, row))

    def iter_stored(self, reference: str) -> Iterator[StoredHost]:
        """Yield a run's hosts by position, holding only a few hundred in memory; reference as in load_run.

        They are those of the moment of the first one; close the iterator to let go of the database.
        """
        with self._reading() as connection:
            yield from self._read_hosts(connection, find_run(connection, reference, self.location))

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

    def _insert_run(self, connection: sa.Connection, run: Run, plan: str, options: str) -> int:
        taken = connection.scalar(sa.select(RUNS.c.number).where(RUNS.c.id == run.id))
        if taken is not None:
            raise StoreError(f"{self.location}: there is a run {run.id!r} already")
        connection.execute(RUNS.insert().values(encode_run(run)))
        number = self._lock_run(connection, run.id)
        if plan or options:
            row = {"run_number": number, "options": encode_text(options), "plan": encode_plan(plan)}
            connection.execute(PLANS.insert().values(row))
        return number

    def _lock_run(self, connection: sa.Connection, run_id: str) -> int:
        number = connection.scalar(sa.select(RUNS.c.number).where(RUNS.c.id == run_id).with_for_update())
        if number is None:
            raise unknown_run(connection, run_id, self.location)
        return int(number)

    def _insert_declarations(self, connection: sa.Connection, number: int, declarations: Iterable[Declaration]) -> None:
        for each in declarations:
            host, path = encode_text(each.host), encode_text(each.path or each.reading.file)
            here = (DECLARATIONS.c.run_number == number, DECLARATIONS.c.host == host, DECLARATIONS.c.path == path)
            connection.execute(DECLARATIONS.delete().where(*here))
            row = {"run_number": number, "host": host, "path": path, "content": pack_declaration(each)}
            connection.execute(DECLARATIONS.insert().values(row))

    def _insert_batches(self, connection: sa.Connection, run_id: str, number: int, hosts: Iterable[PackedHost]) -> None:
        batch: list[PackedHost] = []
        batch_bytes = 0
        for host in hosts:
            batch.append(host)
            batch_bytes += len(host.blob) + sum(map(len, host.certificates))
            if len(batch) >= _BATCH_HOSTS or batch_bytes >= _BATCH_BYTES:
                self._insert_hosts(connection, run_id, number, batch)
                batch, batch_bytes = [], 0
        if batch:
            self._insert_hosts(connection, run_id, number, batch)

    def _insert_hosts(self, connection: sa.Connection, run_id: str, number: int, batch: Sequence[PackedHost]) -> None:
        batch = self._make_room(connection, run_id, number, batch)
        certificate_ids = store_certificates(connection, batch)
        store_parts(connection, batch)
        rows = [
            {
                "run_number": number,
                "position": host.position,
                "host": encode_text(host.host),
                "is_final": host.is_final,
                "packed": host.blob,
                "judged": None if host.judged is None else encode_bytes(host.judged),
            }
            for host in batch
        ]
        links = [
            {
                "run_number": number,
                "position": host.position,
                "ordinal": ordinal,
                "certificate_id": certificate_ids[der],
            }
            for host in batch
            for ordinal, der in enumerate(host.certificates)
        ]
        for table, rows_of_table in ((HOSTS, rows), (HOST_CERTIFICATES, links)):
            if rows_of_table:
                connection.execute(table.insert(), rows_of_table)

    def _make_room(
        self, connection: sa.Connection, run_id: str, number: int, batch: Sequence[PackedHost]
    ) -> list[PackedHost]:
        """Return the hosts of a batch that are to be inserted, once those that they replace are gone."""
        by_position: dict[int, PackedHost] = {}
        taken = set()
        for host in batch:
            before = by_position.get(host.position)
            if before is None or not before.is_final:
                by_position[host.position] = host
            elif before.blob != host.blob:
                taken.add(host.position)
        here = (HOSTS.c.run_number == number, HOSTS.c.position.in_(by_position))
        found = connection.execute(sa.select(HOSTS.c.position, HOSTS.c.is_final, HOSTS.c.packed).where(*here)).all()
        taken |= {at for at, is_final, packed in found if is_final and packed != by_position[at].blob}
        if taken:
            text = ", ".join(map(str, sorted(taken)[:_LISTED])) + (", ..." if len(taken) > _LISTED else "")
            raise StoreError(f"{self.location}: run {run_id!r} has another host already at {text}")
        if not all(is_final for _, is_final, _ in found):
            connection.execute(HOSTS.delete().where(*here, sa.not_(HOSTS.c.is_final)))
        done = {at for at, is_final, _ in found if is_final}
        return [host for host in by_position.values() if host.position not in done]

    def iter_packed(self, reference: str) -> Iterator[PackedHost]:
        """Yield what append_packed was given, by position, with all parts that the blobs refer to; for merge_runs."""
        with self._reading() as connection:
            row = find_run(connection, reference, self.location)
            parts = tuple(bytes(content) for content in connection.scalars(sa.select(PARTS.c.content)))
            for host, ders in self._read_rows(connection, row):
                yield PackedHost(
                    position=host.position,
                    host=decode_text(host.host),
                    blob=host.packed,
                    certificates=tuple(ders),
                    parts=parts,
                    judged=None if host.judged is None else decode_bytes(host.judged),
                    is_final=host.is_final,
                )
                parts = ()  # once is enough

    def _with_bytes(self, run: Row, host: StoredHost) -> HostRecord:
        if not host.has_bytes:
            raise StoreError(
                f"{self.location}: run {run['id']!r}, host {host.position}: its bytes were not kept "
                "(--keep-bytes none), only its judgement"
            )
        return host.record

    def _read_rows(self, connection: sa.Connection, run: Row) -> Iterator[tuple[Any, list[bytes]]]:
        """Yield the rows of hosts by position, each with its certificates."""
        last = None
        while True:
            of_run = HOSTS.c.run_number == run["number"]
            after = sa.true() if last is None else HOSTS.c.position > last
            statement = sa.select(HOSTS).where(of_run, after).order_by(HOSTS.c.position).limit(_BATCH_HOSTS)
            hosts = connection.execute(statement).all()
            if not hosts:
                return
            first, last = hosts[0].position, hosts[-1].position
            links = read_links(connection, run["number"], first, last)
            ders = read_certificates(connection, {number for numbers in links.values() for number in numbers})
            for host in hosts:
                yield host, [ders[number] for number in links.get(host.position, ())]

    def _read_hosts(self, connection: sa.Connection, run: Row) -> Iterator[StoredHost]:
        parts = Parts(connection)
        for host, ders in self._read_rows(connection, run):
            try:
                record, kept = unpack(host.packed, ders, parts)
                judged = None if host.judged is None else decode_bytes(host.judged)
            except StoreError as error:
                raise StoreError(f"{self.location}: run {run['id']!r}, host {host.position}: {error}") from error
            yield StoredHost(
                position=host.position,
                record=record,
                has_bytes=kept is not Kept.NOTHING,
                judged=judged,
                is_final=host.is_final,
            )


def _update_counts(connection: sa.Connection, number: int, counts: Mapping[str, int]) -> None:
    pairs = [list(pair) for pair in sorted(counts.items())]
    connection.execute(RUNS.update().where(RUNS.c.number == number).values(no_listener_counts=pairs))
