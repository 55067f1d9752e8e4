"""The tables, as the newest migration leaves them. A change here needs a migration (docs/store.md says how)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
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

HEAD: Final = "0003"
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
)

# What a run needs to be resumed. In tables of their own, because SQLite writes a changed row anew as a whole: the plan
# may be large and never changes, the progress changes every second.
PLANS: Final = Table(
    "plans",
    METADATA,
    Column("run_number", Integer, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("options", Text, nullable=False),
    Column("plan", LargeBinary, nullable=False),
)

CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("run_number", Integer, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("progress", LargeBinary, nullable=False),
)

HOSTS: Final = Table(
    "hosts",
    METADATA,
    Column("run_number", Integer, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # For queries by people and other programs; the record is rebuilt from what is packed.
    Column("host", Text, nullable=False),
    # False for a host that was interrupted: it is replaced when the run is resumed.
    Column("is_final", Boolean, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    # Its judgement, where its bytes were not kept.
    Column("judged", LargeBinary),
)

# What packed hosts refer to and many of them share, by digest (scanner.store.hello_forms.digest_of).
PARTS: Final = Table(
    "parts",
    METADATA,
    Column("digest", LargeBinary(8), primary_key=True),
    Column("content", LargeBinary, nullable=False),
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

# What files declare of hosts (scanner.model.declared.Declaration). A file that is given again replaces what it said.
DECLARATIONS: Final = Table(
    "declarations",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_number", Integer, ForeignKey("runs.number", ondelete="CASCADE"), nullable=False),
    Column("host", Text, nullable=False),
    Column("path", Text, nullable=False),
    # JSON, compressed as the plans are (scanner.store.declarations).
    Column("content", LargeBinary, nullable=False),
    Index(None, "run_number"),
)

# Alembic's own table, kept apart because it is no part of what the migrations describe.
VERSION_METADATA: Final = MetaData()
ALEMBIC_VERSION: Final = Table(
    "alembic_version",
    VERSION_METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
