"""Run by Alembic: applies the migrations on the connection that the store hands over in config.attributes."""

from __future__ import annotations

from alembic import context

from scanner.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite alters a table by copying it; Alembic calls that batch mode.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
