"""The first schema: runs, hosts, endpoints, exchanges, certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
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
        sa.Column("dictionary", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
    )
    op.create_table(
        "hosts",
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("resolution", sa.JSON(), nullable=False),
        sa.Column("stopped", sa.Text(), nullable=True),
        sa.Column("wire", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", "position", name="pk_hosts"),
        sa.ForeignKeyConstraint(["run_number"], ["runs.number"], name="fk_hosts_runs", ondelete="CASCADE"),
    )
    op.create_table(
        "endpoints",
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=True),
        sa.Column("upgrade", sa.Text(), nullable=False),
        sa.Column("is_optional", sa.Boolean(), nullable=False),
        sa.Column("is_listed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", "position", "ordinal", name="pk_endpoints"),
        sa.ForeignKeyConstraint(
            ["run_number", "position"],
            ["hosts.run_number", "hosts.position"],
            name="fk_endpoints_hosts",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "exchanges",
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("probe", sa.Text(), nullable=False),
        sa.Column("endpoint_ordinal", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("deadline_s", sa.Double(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("elapsed_s", sa.Double(), nullable=False),
        sa.Column("ending", sa.Text(), nullable=False),
        sa.Column("os_error", sa.Text(), nullable=True),
        sa.Column("sent_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.Column("engine", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("run_number", "position", "ordinal", name="pk_exchanges"),
        sa.ForeignKeyConstraint(
            ["run_number", "position"],
            ["hosts.run_number", "hosts.position"],
            name="fk_exchanges_hosts",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_certificates"),
        sa.UniqueConstraint("sha256", name="uq_certificates_sha256"),
    )
    op.create_table(
        "host_certificates",
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("certificate_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", "position", "ordinal", name="pk_host_certificates"),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_host_certificates_certificates"
        ),
        sa.ForeignKeyConstraint(
            ["run_number", "position"],
            ["hosts.run_number", "hosts.position"],
            name="fk_host_certificates_hosts",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_host_certificates_certificate_id", "host_certificates", ["certificate_id"])


def downgrade() -> None:
    raise NotImplementedError("a newer database is not turned into an older one")
