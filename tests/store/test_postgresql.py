"""The store on PostgreSQL: what SQLite's tests can't tell."""

import json
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from scanner.store import StoredRun, StoreError, open_store
from scanner.store.merging import merge_runs
from scanner.store.packing import pack_record
from scanner.store.schema import METADATA
from tests.store.samples import make_record, make_run
from tests.store.test_schema import DATA, PACKED_SAMPLE, SAMPLE, make_config

pytestmark = pytest.mark.postgresql

HOSTS = [pack_record(record, position) for position, record in enumerate(PACKED_SAMPLE.hosts)]


def test_run_survives_with_its_checkpoint(make_database):
    options = json.dumps({"seed": 1, "shard": [1, 1]})
    with open_store(make_database("survives")) as store:
        store.begin_run(SAMPLE.run, plan="\0 \udcff", options=options)
        for progress in (b"one", b"two"):  # the second time every host is there already
            store.append_packed(SAMPLE.run.id, HOSTS, checkpoint=progress, counts={"REFUSED": len(progress)})
        assert store.load_run("latest") == StoredRun(
            run=SAMPLE.run, hosts=PACKED_SAMPLE.hosts, no_listener_counts=(("REFUSED", 3),)
        )
        checkpoint = store.load_checkpoint("latest")
        assert (checkpoint.plan, checkpoint.options, checkpoint.progress) == ("\0 \udcff", options, b"two")
        assert checkpoint.done_positions == set(range(6))
        merge_runs(store, [(store, "latest")], run_id="all")
        store.delete_run(SAMPLE.run.id)
        assert store.load_run("all").hosts == PACKED_SAMPLE.hosts


def test_taken_position_leaves_nothing_of_the_batch(make_database):
    with open_store(make_database("taken")) as store:
        store.begin_run(make_run("a"))
        store.append_hosts("a", [(5, make_record(5))])
        with pytest.raises(StoreError, match="another host already at 5"):
            store.append_hosts("a", [(4, make_record(4)), (5, make_record(6))])
        assert store.load_run("a").hosts == (make_record(5),)


def test_writers_side_by_side_share_certificates(make_database):
    url = make_database("writers")
    open_store(url).close()
    errors = []

    def write(number):
        try:
            with open_store(url) as store:
                store.begin_run(make_run(f"run-{number}"))
                for position in range(20):
                    store.append_host(f"run-{number}", position, make_record(position))
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with open_store(url) as store:
        expected = tuple(make_record(position) for position in range(20))
        assert [store.load_run(f"run-{number}").hosts for number in range(3)] == [expected] * 3


def test_old_database_is_brought_up_to_date(make_database):
    url = make_database("old")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        command.upgrade(make_config(connection), "0001")
        _copy_sample(connection)
    with open_store(url) as store:
        assert store.load_run("latest") == SAMPLE
        store.begin_run(make_run("next"))
        store.append_hosts("next", [(0, make_record(1))])
        assert store.load_run("next").hosts == (make_record(1),)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def _copy_sample(connection):
    """Put the rows of 0001.sql into the tables of revision 0001."""
    sample = sqlite3.connect(":memory:")
    sample.executescript((DATA / "0001.sql").read_text())
    tables = sa.MetaData()
    tables.reflect(connection)
    for name in ("runs", "hosts", "endpoints", "exchanges", "certificates", "host_certificates"):
        table = tables.tables[name]
        rows = sample.execute(f"SELECT * FROM {name}")  # noqa: S608  names from above
        names = [column[0] for column in rows.description]
        for row in rows:
            connection.execute(
                table.insert(),
                {name: _converted(table.c[name].type, value) for name, value in zip(names, row, strict=True)},
            )
    for name, column in (("runs", "number"), ("certificates", "id")):
        last = f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), max({column})) FROM {name}"  # noqa: S608  as above
        connection.execute(sa.text(last))
    sample.close()


def _converted(kind, value):
    if isinstance(kind, sa.Boolean):
        return bool(value)
    if isinstance(kind, sa.JSON):
        return sa.null() if value is None else json.loads(value)
    return value
