"""The tables, as the newest migration leaves them. A change here needs a migration (docs/store.md says how)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

HEAD: Final = "0001"
"""The newest migration's revision, written here so that opening a current database need not import Alembic."""

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

RUNS: Final = Table(
    "runs",
    METADATA,
    # The number stands for the id in every other row: a few bytes instead of 21.
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("started_at_us", BigInteger, nullable=False),
    Column("finished_at_us", BigInteger),
    Column("is_complete", Boolean, nullable=False),
    Column("policy_id", Text, nullable=False),
    Column("confirm", Text, nullable=False),
    Column("tool_version", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("no_listener_counts", JSON, nullable=False),
    # What this run's hosts have in common on the wire, for compression; see encoding.plan_dictionary.
    Column("dictionary", LargeBinary),
)

HOSTS: Final = Table(
    "hosts",
    METADATA,
    Column("run_number", Integer, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # For queries by people and other programs; the record itself is rebuilt from the columns after it.
    Column("host", Text, nullable=False),
    Column("target", JSON, nullable=False),
    Column("resolution", JSON, nullable=False),
    Column("stopped", Text),
    # Last, so that SQLite reads its overflow pages only when it is asked for.
    Column("wire", LargeBinary, nullable=False),
)

ENDPOINTS: Final = Table(
    "endpoints",
    METADATA,
    Column("run_number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("host", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("server_name", Text),
    Column("upgrade", Text, nullable=False),
    Column("is_optional", Boolean, nullable=False),
    # False for an endpoint that only an exchange names.
    Column("is_listed", Boolean, nullable=False),
    ForeignKeyConstraint(["run_number", "position"], ["hosts.run_number", "hosts.position"], ondelete="CASCADE"),
    sqlite_with_rowid=False,
)

EXCHANGES: Final = Table(
    "exchanges",
    METADATA,
    Column("run_number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("request_id", BigInteger, nullable=False),
    Column("probe", Text, nullable=False),
    Column("endpoint_ordinal", Integer, nullable=False),
    Column("version", Text),
    Column("variant", Text),
    Column("path", Text),
    Column("deadline_s", Double, nullable=False),
    Column("max_bytes", BigInteger, nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("elapsed_s", Double, nullable=False),
    Column("ending", Text, nullable=False),
    Column("os_error", Text),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("received_bytes", BigInteger, nullable=False),
    Column("engine", JSON(none_as_null=True)),
    ForeignKeyConstraint(["run_number", "position"], ["hosts.run_number", "hosts.position"], ondelete="CASCADE"),
    sqlite_with_rowid=False,
)

CERTIFICATES: Final = Table(
    "certificates",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("der", LargeBinary, nullable=False),
)

HOST_CERTIFICATES: Final = Table(
    "host_certificates",
    METADATA,
    Column("run_number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("certificate_id", Integer, ForeignKey("certificates.id"), nullable=False),
    ForeignKeyConstraint(["run_number", "position"], ["hosts.run_number", "hosts.position"], ondelete="CASCADE"),
    # "Which hosts sent this certificate?", and the foreign key's check when a certificate goes.
    Index(None, "certificate_id"),
    sqlite_with_rowid=False,
)

# Alembic's own table, kept apart because it is no part of what the migrations describe.
VERSION_METADATA: Final = MetaData()
ALEMBIC_VERSION: Final = Table(
    "alembic_version",
    VERSION_METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
