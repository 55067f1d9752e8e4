import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from scanner.store import StoreError, open_store
from scanner.store.schema import HEAD
from tests.store.samples import make_run


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()


def test_importing_the_package_imports_no_database_library():
    code = "import sys, scanner.store; print(*{'sqlalchemy', 'alembic', 'sqlite3'} & sys.modules.keys())"
    assert run_python(code) == []


def test_opening_a_new_or_current_database_does_not_import_alembic(tmp_path):
    code = """
import sys
from scanner.store import open_store
open_store(sys.argv[1]).close()
print(*{'sqlalchemy', 'alembic'} & sys.modules.keys())
"""
    assert run_python(code, tmp_path / "runs.db") == ["sqlalchemy"]
    assert run_python(code, tmp_path / "runs.db") == ["sqlalchemy"]


def test_package_says_what_it_has():
    import scanner.store as package  # noqa: PLC0415  the module object itself is looked at

    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        package.absent  # noqa: B018  reading it is the test


@pytest.mark.parametrize("make", [lambda path: path, str, lambda path: f"sqlite:///{path}"])
def test_folder_file_and_schema_are_made(tmp_path, make):
    path = tmp_path / "new folder" / "100%" / "runs.db"
    with open_store(make(path)) as store:
        store.begin_run(make_run())
        assert store.location == str(path)
    with open_store(path, must_exist=True) as store:
        assert [summary.run for summary in store.list_runs()] == [make_run()]


def test_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "runs.db"
    path.touch()
    with open_store(path) as store:
        assert store.list_runs() == ()


def test_missing_database_is_not_made_where_it_must_exist(tmp_path):
    with pytest.raises(StoreError, match=r"absent\.db: there is no such database"):
        open_store(tmp_path / "absent.db", must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_set_for_safety_and_readers_beside_a_writer(tmp_path):
    with open_store(tmp_path / "runs.db", busy_timeout_s=7) as store, store._engine.connect() as connection:
        pragmas = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]
    assert values == ["wal", 1, 1, 7000]


def test_file_that_is_no_database(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, " * 100)
    with pytest.raises(StoreError, match=r"notes\.txt: is not a database"):
        open_store(path)
    assert path.read_text() == "these are notes, " * 100


def test_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_store(path)
    assert path.read_bytes() == before


def test_newer_schema_is_named_and_left_alone(tmp_path):
    path = tmp_path / "runs.db"
    open_store(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num='9999'")
    database.close()
    with pytest.raises(StoreError, match=f"schema is '9999' and this version knows schemas up to '{HEAD}'"):
        open_store(path)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT * FROM alembic_version").fetchall() == [("9999",)]
    database.close()


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(StoreError, match="can't be opened"):
        open_store(tmp_path)


def test_folder_that_can_not_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the folder can't be made"):
        open_store(tmp_path / "file" / "runs.db")


def test_read_only_database_can_be_read_and_says_so_when_written(tmp_path):
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.begin_run(make_run())
    with open_store(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert len(store.list_runs()) == 1
        with pytest.raises(StoreError, match="is read-only"):
            store.begin_run(make_run("b"))


def test_truncated_database(tmp_path):
    path = tmp_path / "runs.db"
    open_store(path).close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError, match="is damaged"), open_store(path) as store:
        store.list_runs()


def test_database_locked_by_another_program(tmp_path):
    path = tmp_path / "runs.db"
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"runs\.db: is locked by another program"):
            open_store(path, busy_timeout_s=0.1)
        other.execute("ROLLBACK")
    other.close()
    open_store(path, busy_timeout_s=0.1).close()


def test_many_may_create_the_same_database_at_once(tmp_path):
    path = tmp_path / "runs.db"
    barrier = threading.Barrier(6)
    errors = []

    def create(number):
        barrier.wait()
        try:
            with open_store(path) as store:
                store.begin_run(make_run(f"run-{number}"))
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with open_store(path) as store:
        assert len(store.list_runs()) == 6


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("nosuchdb://user:s3cret@127.0.0.1/db", "no support for 'nosuchdb'"),
        ("postgresql://user:s3cret@127.0.0.1:port/db", "can't be read"),
        ("mysql+nosuch://user:s3cret@127.0.0.1/db", "no support for"),
        ("mysql+pymysql://user:s3cret@127.0.0.1/db", "package 'pymysql' must be installed"),
    ],
)
def test_url_that_can_not_be_used_is_explained_without_its_password(url, named, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)  # absent, even where it is installed
    with pytest.raises(StoreError, match=named) as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("error", "is_told"), [(KeyboardInterrupt, False), (RuntimeError, True)])
def test_ctrl_c_while_a_database_is_closed_is_no_traceback(tmp_path, monkeypatch, caplog, error, is_told):
    def fail(connection):
        connection.close()
        raise error

    store = open_store(tmp_path / "runs.sqlite")
    store.list_runs()
    with monkeypatch.context() as patch:
        patch.setattr(store._engine.dialect, "do_close", fail)
        with suppress(KeyboardInterrupt):
            store._engine.dispose()
    store.close()
    assert ("Exception closing connection" in caplog.text) == is_told
