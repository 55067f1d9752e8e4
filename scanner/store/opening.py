"""Opens a database and brings its schema up to date; says in plain words what is wrong where it can't."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import StaticPool

from scanner.store.schema import ALEMBIC_VERSION, HEAD, METADATA, VERSION_METADATA
from scanner.store.stored import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Where Alembic finds env.py and versions/."""

_WRITING: Final = "entra_tls_writing"
_SQLITE_PROBLEMS: Final = {
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_FULL: "can't grow: the disk is full. What was stored before is kept",
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_CANTOPEN: "can't be opened: is its folder there and writable, and is it a file?",
    sqlite3.SQLITE_PERM: "can't be opened: permission denied",
    sqlite3.SQLITE_IOERR: "can't be read or written: the file system reports an error",
}


def open_engine(url_or_path: str | Path, *, must_exist: bool, busy_timeout_s: float) -> tuple[sa.Engine, str]:
    """Return an engine on a database whose schema is current, and the database's name for messages.

    Creates folder, file and schema where they are missing, unless must_exist. Raises StoreError.
    """
    url = _parse_url(url_or_path)
    location = url.database or "the database in memory" if url.get_backend_name() == "sqlite" else ""
    location = location or url.render_as_string(hide_password=True)
    file = _maybe_file(url)
    if file is not None:
        if must_exist and not file.exists():
            raise StoreError(f"{file}: there is no such database")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{file.parent}: the folder can't be made: {error.strerror or error}") from error
    engine = _create_engine(url, location, busy_timeout_s)
    try:
        with translated(location):
            _prepare_schema(engine, location, busy_timeout_s)
    except BaseException:
        engine.dispose()
        raise
    return engine, location


@contextmanager
def translated(location: str) -> Iterator[None]:
    """Turn what the database library raises into StoreError."""
    try:
        yield
    except exc.DBAPIError as error:
        raise StoreError(f"{location}: {_explain(error.orig)}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{location}: {_explain(error)}") from error
    except exc.SQLAlchemyError as error:
        raise StoreError(f"{location}: {error}") from error


@contextmanager
def begin_reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection that sees one state of the database, however long the reading takes."""
    connection = engine.connect()
    if engine.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
    with connection, connection.begin():
        yield connection


@contextmanager
def begin_writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection in a transaction: all or nothing is stored. On SQLite it waits for other writers first."""
    # Set on the engine's copy, because the transaction begins before an option of the connection could count.
    with engine.execution_options(**{_WRITING: True}).begin() as connection:
        yield connection


def _explain(error: BaseException | None) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and (problem := _SQLITE_PROBLEMS.get(code & 0xFF)):  # the low byte is the kind
        return problem
    return " ".join(str(error).split())


def _parse_url(url_or_path: str | Path) -> sa.URL:
    text = str(url_or_path)
    if isinstance(url_or_path, Path) or "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        return sa.make_url(text)
    except (exc.ArgumentError, ValueError):
        # Neither the text nor the library's message is shown: both may hold a password.
        raise StoreError("the database URL can't be read; write it as sqlite:///path or postgresql://...") from None


def _maybe_file(url: sa.URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:" or "uri" in url.query:
        return None
    return Path(url.database)


def _create_engine(url: sa.URL, location: str, busy_timeout_s: float) -> sa.Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"json_serializer": partial(json.dumps, separators=(",", ":"))}
    if is_sqlite and url.database in {None, "", ":memory:"}:
        # A database in memory belongs to its one connection.
        options |= {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    try:
        engine = sa.create_engine(url, **options)
    except exc.NoSuchModuleError as error:
        raise StoreError(f"{location}: no support for {url.drivername!r} is installed") from error
    except ModuleNotFoundError as error:
        raise StoreError(f"{location}: the Python package {error.name!r} must be installed for this") from error
    pool = type(engine.pool)
    logging.getLogger(f"{pool.__module__}.{pool.__name__}").addFilter(_is_no_interruption)
    if is_sqlite:
        event.listen(engine, "connect", partial(_prepare_sqlite, busy_timeout_s))
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _is_no_interruption(record: logging.LogRecord) -> bool:
    # Ctrl-C while a connection is closed: SQLAlchemy passes it on, but would show a traceback too.
    return record.exc_info is None or not isinstance(record.exc_info[1], KeyboardInterrupt)


def _prepare_sqlite(busy_timeout_s: float, connection: Any, _record: Any) -> None:
    # The driver would begin transactions by its own rules (none for DDL, late for reads): _begin_sqlite does it.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={round(busy_timeout_s * 1000)}",
        "foreign_keys=ON",
        # With WAL: safe against kill -9; a power cut may cost the last seconds, never the file.
        "synchronous=NORMAL",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes its lock at once: a transaction that read first could not wait for another writer.
    is_writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _prepare_schema(engine: sa.Engine, location: str, busy_timeout_s: float) -> None:
    with begin_reading(engine) as connection:
        revision = _read_revision(connection, location)
    if revision == HEAD:
        return
    if engine.dialect.name == "sqlite":
        _set_wal(engine, busy_timeout_s)
    with begin_writing(engine) as connection:
        # Asked again: another process may have done it meanwhile.
        revision = _read_revision(connection, location)
        if revision is None:
            METADATA.create_all(connection, checkfirst=False)
            VERSION_METADATA.create_all(connection, checkfirst=False)
            connection.execute(ALEMBIC_VERSION.insert().values(version_num=HEAD))
        elif revision != HEAD:
            _migrate(connection, revision, location)


def _read_revision(connection: sa.Connection, location: str) -> str | None:
    names = set(sa.inspect(connection).get_table_names())
    if ALEMBIC_VERSION.name in names:
        return connection.scalar(sa.select(ALEMBIC_VERSION.c.version_num))
    if names:
        raise StoreError(f"{location}: this database belongs to another program (it has tables, but none of ours)")
    return None


def _set_wal(engine: sa.Engine, busy_timeout_s: float) -> None:
    give_up_at = time.monotonic() + busy_timeout_s
    while True:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            # SQLite does not wait for its time-out here when another process does the same at the same moment.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        else:
            return
        finally:
            connection.close()
        time.sleep(0.05)


def _migrate(connection: sa.Connection, revision: str, location: str) -> None:
    # Here and not above: importing Alembic takes 0.3 s, and this is the one case in a thousand.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        ScriptDirectory.from_config(config).get_revision(revision)
    except CommandError as error:
        raise StoreError(
            f"{location}: its schema is {revision!r} and this version knows schemas up to {HEAD!r}: "
            "a newer version of this program (or another program) made it"
        ) from error
    command.upgrade(config, HEAD)
