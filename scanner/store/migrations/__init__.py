"""Alembic migrations, applied by scanner.store.opening when a database is older than the program."""
