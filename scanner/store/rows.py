"""What the store's methods are made of: rows to and from, parts and certificates that hosts share."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from scanner.model.runs import Run
from scanner.store.encoding import (
    decode_bytes,
    decode_certificate,
    decode_text,
    decode_time,
    encode_bytes,
    encode_certificate,
    encode_text,
    encode_time,
)
from scanner.store.hello_forms import current_forms, digest_of
from scanner.store.schema import CERTIFICATES, HOST_CERTIFICATES, PARTS, RUNS
from scanner.store.stored import PackedHost, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[str, Any]

_PART: Final = 500
"""Values in one IN (...): SQLite takes at most 32,766."""

RUN_COLUMNS: Final = (
    RUNS.c.id,
    RUNS.c.started_at_us,
    RUNS.c.finished_at_us,
    RUNS.c.is_complete,
    RUNS.c.policy_id,
    RUNS.c.confirm,
    RUNS.c.tool_version,
    RUNS.c.command,
)


NEWEST_FIRST: Final = (RUNS.c.started_at_us.desc(), RUNS.c.number.desc())


_LISTED_RUNS: Final = 5


def encode_run(run: Run) -> Row:
    """Return the row of a run, without its number."""
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


def decode_run(row: Row) -> Run:
    """Return the run that encode_run was given."""
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


class Parts(dict[bytes, bytes]):
    """The shared parts by digest, read when they are first asked for."""

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, digest: bytes) -> bytes:
        content = self._connection.scalar(sa.select(PARTS.c.content).where(PARTS.c.digest == digest))
        if content is None or digest_of(content) != digest:
            raise KeyError(digest.hex())
        self[digest] = content
        return bytes(content)


def encode_plan(plan: str) -> bytes:
    """Return a plan as it is stored."""
    return encode_bytes(plan.encode("utf-8", "surrogatepass"))


def decode_plan(stored: bytes) -> str:
    """Return the plan that encode_plan was given."""
    return decode_bytes(stored).decode("utf-8", "surrogatepass")


def store_parts(connection: sa.Connection, batch: Sequence[PackedHost]) -> None:
    """Store what the hosts of a batch refer to, where it is not there yet."""
    contents = {part for host in batch for part in host.parts}
    if any(host.has_forms for host in batch):
        contents.add(current_forms().content)
    by_digest = {digest_of(content): content for content in contents}
    if by_digest:
        statement = sa.select(PARTS.c.digest).where(PARTS.c.digest.in_(by_digest))
        known = set(connection.scalars(statement))
        missing = [{"digest": digest, "content": by_digest[digest]} for digest in sorted(by_digest.keys() - known)]
        if missing:
            connection.execute(_insert_if_absent(connection.dialect.name, PARTS, "digest"), missing)


def store_certificates(connection: sa.Connection, batch: Sequence[PackedHost]) -> dict[bytes, int]:
    """Return the id of each certificate (DER) of a batch, storing those that are new."""
    ders = {der for host in batch for der in host.certificates}
    if not ders:
        return {}
    rows = {der: encode_certificate(der) for der in ders}
    wanted = sorted(row["sha256"] for row in rows.values())
    known: dict[bytes, int] = {}
    for begin in range(0, len(wanted), _PART):
        part = wanted[begin : begin + _PART]
        statement = sa.select(CERTIFICATES.c.sha256, CERTIFICATES.c.id).where(CERTIFICATES.c.sha256.in_(part))
        known |= {row.sha256: row.id for row in connection.execute(statement)}
        missing = [row for row in rows.values() if row["sha256"] in part and row["sha256"] not in known]
        if missing:
            connection.execute(_insert_if_absent(connection.dialect.name, CERTIFICATES, "sha256"), missing)
            known |= {row.sha256: row.id for row in connection.execute(statement)}
    return {der: known[row["sha256"]] for der, row in rows.items()}


def _insert_if_absent(dialect: str, table: sa.Table, key: str) -> sa.Insert:
    # Where writers work side by side, another may have stored the row since it was looked for.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # a tenth of a small scan's start-up

        return postgresql.insert(table).on_conflict_do_nothing(index_elements=[key])
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing(index_elements=[key])
    return table.insert()


def read_links(connection: sa.Connection, run_number: int, first: int, last: int) -> dict[int, list[int]]:
    """Return the ids of the certificates of each host from first to last, in order."""
    table = HOST_CERTIFICATES
    statement = (
        sa.select(table.c.position, table.c.certificate_id)
        .where(table.c.run_number == run_number, table.c.position.between(first, last))
        .order_by(table.c.position, table.c.ordinal)
    )
    links: dict[int, list[int]] = {}
    for position, certificate_id in connection.execute(statement):
        links.setdefault(position, []).append(certificate_id)
    return links


def read_certificates(connection: sa.Connection, ids: set[int]) -> dict[int, bytes]:
    """Return certificates (DER) by their id."""
    ders: dict[int, bytes] = {}
    wanted = sorted(ids)
    for begin in range(0, len(wanted), _PART):
        part = wanted[begin : begin + _PART]
        rows = connection.execute(sa.select(CERTIFICATES.c.id, CERTIFICATES.c.der).where(CERTIFICATES.c.id.in_(part)))
        ders.update((number, decode_certificate(der)) for number, der in rows)
    return ders


def find_run(connection: sa.Connection, reference: str, location: str) -> Row:
    """Return the row of the run that reference means (Store.load_run says how); location is for messages."""
    columns = sa.select(*RUN_COLUMNS, RUNS.c.number, RUNS.c.no_listener_counts)
    if reference == "latest":
        newest = read(connection, columns.order_by(*NEWEST_FIRST).limit(1))
        if not newest:
            raise StoreError(f"{location}: no run is stored yet")
        return newest[0]
    exact = read(connection, columns.where(RUNS.c.id == reference))
    if exact:
        return exact[0]
    # substr and not LIKE, which ignores case on SQLite and gives % and _ a meaning.
    begins = sa.func.substr(RUNS.c.id, 1, len(reference)) == reference
    found = read(connection, columns.where(begins).order_by(*NEWEST_FIRST)) if reference else []
    if not found:
        raise unknown_run(connection, reference, location)
    if len(found) > 1:
        raise StoreError(f"{location}: {reference!r} may mean {_enumerate([row['id'] for row in found])}")
    return found[0]


def unknown_run(connection: sa.Connection, reference: str, location: str) -> StoreError:
    """Return the error for a run that is not there, with those that may have been meant."""
    ids = list(connection.scalars(sa.select(RUNS.c.id).order_by(*NEWEST_FIRST)))
    if not ids:
        return StoreError(f"{location}: there is no run {reference!r}; no run is stored yet")
    nearest = difflib.get_close_matches(reference, ids, n=3)
    hint = f"did you mean {_enumerate(nearest)}?" if nearest else f"the newest are {_enumerate(ids)}"
    return StoreError(f"{location}: there is no run {reference!r}; {hint}")


def _enumerate(ids: list[str]) -> str:
    return ", ".join(ids[:_LISTED_RUNS]) + (f" and {len(ids) - _LISTED_RUNS} more" if len(ids) > _LISTED_RUNS else "")


def read(connection: sa.Connection, statement: sa.Select[Any]) -> list[Row]:
    """Return the rows of a statement."""
    return [row._asdict() for row in connection.execute(statement)]
