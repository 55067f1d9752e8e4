"""A packed host instead of a row an exchange: hosts are read as revision 0001 wrote them and packed whole."""

import zlib
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Role, Target, Upgrade
from scanner.model.versions import TlsVersion
from scanner.store.hello_forms import current_forms, digest_of
from scanner.store.packing import pack_record
from scanner.store.stored import KeepBytes, StoreError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BATCH_HOSTS = 100


def upgrade() -> None:
    connection = op.get_bind()
    # Copies, so that the new tables can have the old names: SQLite can't change what a table's text says. Dropped from
    # the leaves on, because dropping a table deletes its rows, and with them those that refer to them.
    copied = ("host_certificates", "exchanges", "endpoints", "hosts", "runs")
    for name in copied:
        connection.execute(sa.text(f"CREATE TABLE old_{name} AS SELECT * FROM {name}"))
        if name != "runs":
            op.create_index(f"ix_old_{name}", f"old_{name}", ["run_number", "position"])
    for name in copied:
        op.drop_table(name)
    create_tables()
    columns = ", ".join(
        (
            "number", "id", "started_at_us", "finished_at_us", "is_complete", "policy_id", "confirm", "tool_version",
            "command", "no_listener_counts",
        )
    )
    connection.execute(sa.text(f"INSERT INTO runs ({columns}) SELECT {columns} FROM old_runs"))
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text("SELECT setval(pg_get_serial_sequence('runs', 'number'), max(number)) FROM runs HAVING count(*) > 0")
        )
    for run in connection.execute(sa.select(OLD_RUNS.c.number, OLD_RUNS.c.dictionary)).all():
        pack_hosts(connection, run.number, run.dictionary)
    connection.execute(sa.text("INSERT INTO host_certificates SELECT * FROM old_host_certificates"))
    for name in copied:
        op.drop_table(f"old_{name}")


def create_tables() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("confirm", sa.Text(), nullable=False),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("no_listener_counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
    )
    op.create_table(
        "plans",
        sa.Column("run_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", name="pk_plans"),
        sa.ForeignKeyConstraint(["run_number"], ["runs.number"], name="fk_plans_runs", ondelete="CASCADE"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("run_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("progress", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(["run_number"], ["runs.number"], name="fk_checkpoints_runs", ondelete="CASCADE"),
    )
    op.create_table(
        "hosts",
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("judged", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("run_number", "position", name="pk_hosts"),
        sa.ForeignKeyConstraint(["run_number"], ["runs.number"], name="fk_hosts_runs", ondelete="CASCADE"),
    )
    op.create_table(
        "parts",
        sa.Column("digest", sa.LargeBinary(length=8), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_parts"),
    )
    op.create_table(
        "host_certificates",
        sa.Column("run_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("certificate_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", "position", "ordinal", name="pk_host_certificates"),
        sa.ForeignKeyConstraint(["certificate_id"], ["certificates.id"], name="fk_host_certificates_certificates"),
        sa.ForeignKeyConstraint(
            ["run_number", "position"],
            ["hosts.run_number", "hosts.position"],
            name="fk_host_certificates_hosts",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_host_certificates_certificate_id", "host_certificates", ["certificate_id"])


OLD = sa.MetaData()
OLD_RUNS = sa.Table("old_runs", OLD, sa.Column("number", sa.Integer), sa.Column("dictionary", sa.LargeBinary))
OLD_HOSTS = sa.Table(
    "old_hosts",
    OLD,
    sa.Column("run_number", sa.Integer),
    sa.Column("position", sa.BigInteger),
    sa.Column("host", sa.Text),
    sa.Column("target", sa.JSON),
    sa.Column("resolution", sa.JSON),
    sa.Column("stopped", sa.Text),
    sa.Column("wire", sa.LargeBinary),
)
OLD_ENDPOINTS = sa.Table(
    "old_endpoints",
    OLD,
    sa.Column("run_number", sa.Integer),
    sa.Column("position", sa.BigInteger),
    sa.Column("ordinal", sa.Integer),
    sa.Column("host", sa.Text),
    sa.Column("address", sa.Text),
    sa.Column("port", sa.Integer),
    sa.Column("server_name", sa.Text),
    sa.Column("upgrade", sa.Text),
    sa.Column("is_optional", sa.Boolean),
    sa.Column("is_listed", sa.Boolean),
)
OLD_EXCHANGES = sa.Table(
    "old_exchanges",
    OLD,
    sa.Column("run_number", sa.Integer),
    sa.Column("position", sa.BigInteger),
    sa.Column("ordinal", sa.Integer),
    sa.Column("request_id", sa.BigInteger),
    sa.Column("probe", sa.Text),
    sa.Column("endpoint_ordinal", sa.Integer),
    sa.Column("version", sa.Text),
    sa.Column("variant", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("deadline_s", sa.Double),
    sa.Column("max_bytes", sa.BigInteger),
    sa.Column("started_at_us", sa.BigInteger),
    sa.Column("elapsed_s", sa.Double),
    sa.Column("ending", sa.Text),
    sa.Column("os_error", sa.Text),
    sa.Column("sent_bytes", sa.BigInteger),
    sa.Column("received_bytes", sa.BigInteger),
    sa.Column("engine", sa.JSON),
)
OLD_LINKS = sa.Table(
    "old_host_certificates",
    OLD,
    sa.Column("run_number", sa.Integer),
    sa.Column("position", sa.BigInteger),
    sa.Column("ordinal", sa.Integer),
    sa.Column("certificate_id", sa.Integer),
)
CERTIFICATES = sa.Table("certificates", OLD, sa.Column("id", sa.Integer), sa.Column("der", sa.LargeBinary))
NEW_HOSTS = sa.table(
    "hosts",
    sa.column("run_number", sa.Integer),
    sa.column("position", sa.BigInteger),
    sa.column("host", sa.Text),
    sa.column("is_final", sa.Boolean),
    sa.column("packed", sa.LargeBinary),
)
NEW_PARTS = sa.table("parts", sa.column("digest", sa.LargeBinary), sa.column("content", sa.LargeBinary))


def pack_hosts(connection: sa.Connection, run_number: int, dictionary: bytes | None) -> None:
    last = -(2**63)
    known_parts = set(connection.scalars(sa.select(NEW_PARTS.c.digest)))
    while True:
        here = (OLD_HOSTS.c.run_number == run_number, OLD_HOSTS.c.position > last)
        statement = sa.select(OLD_HOSTS).where(*here).order_by(OLD_HOSTS.c.position).limit(BATCH_HOSTS)
        hosts = [row._asdict() for row in connection.execute(statement)]
        if not hosts:
            return
        first, last = hosts[0]["position"], hosts[-1]["position"]
        endpoints, exchanges, links = (
            by_position(connection, table, run_number, first, last)
            for table in (OLD_ENDPOINTS, OLD_EXCHANGES, OLD_LINKS)
        )
        packed = []
        for row in hosts:
            position = row["position"]
            ids = [link["certificate_id"] for link in links.get(position, ())]
            try:
                record = decode_host(
                    row, endpoints.get(position, ()), exchanges.get(position, ()), read_ders(connection, ids), dictionary
                )
            except (LookupError, TypeError, ValueError, OverflowError, AttributeError, zlib.error) as error:
                raise StoreError(
                    f"the stored host {row['host']!r} is damaged ({type(error).__name__}: {error}), so this database "
                    "can't be brought up to date; delete its run with the version that wrote it"
                ) from error
            host = pack_record(record, position, keep=KeepBytes.ALL)
            contents = (*host.parts, *((current_forms().content,) if host.has_forms else ()))
            for content in contents:
                digest = digest_of(content)
                if digest not in known_parts:
                    connection.execute(NEW_PARTS.insert().values(digest=digest, content=content))
                    known_parts.add(digest)
            packed.append(
                {
                    "run_number": run_number,
                    "position": position,
                    "host": row["host"],
                    "is_final": host.is_final,
                    "packed": host.blob,
                }
            )
        connection.execute(NEW_HOSTS.insert(), packed)


def by_position(connection: sa.Connection, table: sa.Table, run_number: int, first: int, last: int) -> dict[int, list[Any]]:
    statement = sa.select(table).where(table.c.run_number == run_number, table.c.position.between(first, last))
    rows = [row._asdict() for row in connection.execute(statement.order_by(table.c.position, table.c.ordinal))]
    return {position: list(group) for position, group in groupby(rows, key=lambda row: row["position"])}


def read_ders(connection: sa.Connection, ids: list[int]) -> list[bytes]:
    ders = []
    for number in ids:
        stored: Any = connection.scalar(sa.select(CERTIFICATES.c.der).where(CERTIFICATES.c.id == number))
        ders.append(decode_bytes(stored, None, b""))
    return ders


# From here on as revision 0001 read them.

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_text(stored: Any) -> Any:
    if stored is not None and stored.startswith("\ufdd0"):
        return stored[1:].encode("ascii").decode("unicode_escape")
    return stored


def decode_bytes(stored: bytes, size: int | None, dictionary: bytes, run_dictionary: bytes | None = None) -> bytes:
    kind, body = stored[:1], stored[1:]
    if kind == b"\x00":
        content = body
    elif kind in {b"\x01", b"\x02"}:
        zdict = (run_dictionary or b"" if kind == b"\x02" else b"") + dictionary
        decompressor = zlib.decompressobj(zlib.MAX_WBITS, zdict)
        limit = 2**24 if size is None else size
        content = decompressor.decompress(body, limit + 1)
        if not decompressor.eof or len(content) > limit:
            raise ValueError("too short or too long")
    else:
        raise ValueError(f"bytes of kind {kind.hex()}")
    if size is not None and len(content) != size:
        raise ValueError(f"{len(content)} bytes where {size} should be")
    return content


def decode_host(
    host: dict[str, Any],
    endpoint_rows: Any,
    exchange_rows: Any,
    certificates: list[bytes],
    dictionary: bytes | None,
) -> HostRecord:
    endpoints = [
        Endpoint(
            host=decode_text(row["host"]),
            address=decode_text(row["address"]),
            port=row["port"],
            server_name=decode_text(row["server_name"]),
            upgrade=Upgrade(row["upgrade"]),
            is_optional=row["is_optional"],
        )
        for row in endpoint_rows
    ]
    size = sum(row["sent_bytes"] + row["received_bytes"] for row in exchange_rows)
    wire = decode_bytes(host["wire"], size, b"".join(certificates), dictionary)
    exchanges = []
    begin = 0
    for row in exchange_rows:
        middle = begin + row["sent_bytes"]
        end = middle + row["received_bytes"]
        engine = row["engine"]
        exchanges.append(
            Exchange(
                request=ProbeRequest(
                    id=row["request_id"],
                    probe=Probe(row["probe"]),
                    endpoint=endpoints[row["endpoint_ordinal"]],
                    version=None if row["version"] is None else TlsVersion.from_label(row["version"]),
                    variant=None if row["variant"] is None else HelloVariant(row["variant"]),
                    path=decode_text(row["path"]),
                    deadline_s=row["deadline_s"],
                    max_bytes=row["max_bytes"],
                ),
                started_at=EPOCH + timedelta(microseconds=row["started_at_us"]),
                sent=wire[begin:middle],
                received=wire[middle:end],
                ending=Ending(row["ending"]),
                elapsed_s=row["elapsed_s"],
                os_error=decode_text(row["os_error"]),
                engine=None
                if engine is None
                else EngineReport(
                    engine=engine["engine"],
                    completed=engine.get("completed", False),
                    cipher_suite=engine.get("cipher_suite"),
                    chain_der=tuple(certificates[place] for place in engine.get("chain", ())),
                    client_certificate_requested=engine.get("client_certificate_requested", False),
                    error=engine.get("error"),
                ),
            )
        )
        begin = end
    target, resolution = host["target"], host["resolution"]
    return HostRecord(
        target=Target(
            text=target["text"],
            host=target["host"],
            role=Role(target["role"]),
            ports=tuple(target.get("ports", ())),
            optional_ports=tuple(target.get("optional_ports", ())),
            server_name=target.get("server_name"),
            vendor=target.get("vendor"),
            farm=target.get("farm"),
            tags=tuple(target.get("tags", ())),
            is_from_range=target.get("is_from_range", False),
            cloud=target.get("cloud"),
            locator=target["locator"],
        ),
        resolution=Resolution(
            addresses=tuple(resolution.get("addresses", ())),
            cname_chain=tuple(resolution.get("cname_chain", ())),
            error=resolution.get("error"),
            cname_error=resolution.get("cname_error"),
        ),
        endpoints=tuple(endpoints[ordinal] for ordinal, row in enumerate(endpoint_rows) if row["is_listed"]),
        exchanges=tuple(exchanges),
        stopped=decode_text(host["stopped"]),
    )


def downgrade() -> None:
    raise NotImplementedError("a newer database is not turned into an older one")
