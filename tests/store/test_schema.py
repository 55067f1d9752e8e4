import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from scanner.store import StoredRun, StoreError, open_store, opening
from scanner.store.packing import pack_record
from scanner.store.schema import HEAD, METADATA
from tests.declaring import declare, make_leg
from tests.store.samples import BARE_RECORD, BEGUN_AT, FULL_RECORD, make_hello_record, make_record, make_run

DATA = Path(__file__).parent / "data"
SAMPLE = StoredRun(
    run=make_run(finished_at=BEGUN_AT, is_complete=True, policy_id="entra-drs ü"),
    hosts=(FULL_RECORD, make_record(1), make_record(2), BARE_RECORD),
    no_listener_counts=(("REFUSED", 250), ("NO_ANSWER", 3)),
)
"""What data/0001.sql holds."""
PACKED_HOSTS = (
    make_hello_record(None),
    make_hello_record("sts.example.com"),
    replace(make_hello_record("sts.example.com", is_from_range=False), stopped="interrupted"),
)
PACKED_SAMPLE = replace(SAMPLE, hosts=(*SAMPLE.hosts, *PACKED_HOSTS))
"""What data/0002.sql holds, and besides a plan, options and a checkpoint."""
DECLARATION = declare(make_leg("dd?dee"), host="sts.example.com")
"""What data/0003.sql holds beside what data/0002.sql does."""
SAMPLES = {"0001": SAMPLE, "0002": PACKED_SAMPLE, "0003": PACKED_SAMPLE}
"""What each data/<revision>.sql holds, as the program of that revision wrote it."""


def store_sample(path):
    """Write what the newest data/<revision>.sql was made of."""
    with open_store(path) as store:
        store.begin_run(SAMPLE.run, plan='{"targets": []}', options='{"seed": 7}')
        hosts = [pack_record(record, position) for position, record in enumerate(PACKED_SAMPLE.hosts)]
        store.append_packed(SAMPLE.run.id, hosts, checkpoint=b"progress", counts=dict(SAMPLE.no_listener_counts))
        store.replace_declarations(SAMPLE.run.id, [DECLARATION])
        store.finish_run(
            SAMPLE.run.id, SAMPLE.run.finished_at, is_complete=True, no_listener_counts=SAMPLE.no_listener_counts
        )


def make_config(connection=None, location=opening.MIGRATIONS):
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    return config


REVISIONS = [script.revision for script in ScriptDirectory.from_config(make_config()).walk_revisions()]


def migrate(path, revision, location=opening.MIGRATIONS):
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(make_config(connection, location), revision)
    engine.dispose()


def read_schema(path):
    with sqlite3.connect(path) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        schema = {
            name: [
                sorted((row[skipped:] for row in database.execute(f"PRAGMA {pragma}({name})")), key=repr)
                # A foreign key's number follows from its place in the text, which has no meaning.
                for pragma, skipped in (("table_xinfo", 0), ("foreign_key_list", 1), ("index_list", 0))
            ]
            for name in names
        }
        # The order of constraints in the text has no meaning; everything else in it does (WITHOUT ROWID, names).
        text = {
            (kind, name): sorted(part.strip(" ,\t") for part in (sql or "").splitlines())
            for kind, name, sql in database.execute("SELECT type, name, sql FROM sqlite_master")
        }
        version = database.execute("SELECT * FROM alembic_version").fetchall()
    database.close()
    return schema, text, version


def test_head_is_the_newest_migration():
    assert ScriptDirectory.from_config(make_config()).get_heads() == [HEAD]


def test_new_database_has_the_schema_the_migrations_make(tmp_path):
    open_store(tmp_path / "new.db").close()
    migrate(tmp_path / "migrated.db", "head")
    assert read_schema(tmp_path / "new.db") == read_schema(tmp_path / "migrated.db")


def test_alembic_finds_nothing_to_migrate(tmp_path):
    migrate(tmp_path / "migrated.db", "head")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
def test_database_of_each_revision_is_brought_up_to_date_and_keeps_its_data(tmp_path, revision):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript((DATA / f"{revision}.sql").read_text())
        assert database.execute("SELECT * FROM alembic_version").fetchall() == [(revision,)]
    database.close()
    with open_store(path) as store:
        sample = SAMPLES[revision]
        assert store.load_run("latest") == sample
        store.append_host(SAMPLE.run.id, 99, make_record(99))
        assert store.load_run("latest").hosts == (*sample.hosts, make_record(99))
    open_store(tmp_path / "new.db").close()
    assert read_schema(path) == read_schema(tmp_path / "new.db")


def test_declaration_of_the_sample_is_read(tmp_path):
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.executescript((DATA / "0003.sql").read_text())
    database.close()
    with open_store(tmp_path / "old.db") as store:
        assert store.load_declarations("latest") == (DECLARATION,)


def test_plan_and_checkpoint_of_the_sample_are_read(tmp_path):
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.executescript((DATA / "0002.sql").read_text())
    database.close()
    with open_store(tmp_path / "old.db") as store:
        checkpoint = store.load_checkpoint("latest")
    assert (checkpoint.plan, checkpoint.options, checkpoint.progress) == ('{"targets": []}', '{"seed": 7}', b"progress")
    assert checkpoint.done_positions == set(range(6))


def test_many_old_hosts_of_several_runs_are_packed(tmp_path):
    """More than the migration holds at a time, with certificates that runs share; made of the rows of 0001.sql."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript((DATA / "0001.sql").read_text())
        columns = {
            name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
            for name in ("runs", "hosts", "endpoints", "exchanges", "host_certificates")
        }
        others = ", ".join(f'"{name}"' for name in columns["runs"] if name not in {"number", "id"})
        database.execute(f"INSERT INTO runs (number, id, {others}) SELECT 7, 'second', {others} FROM runs")  # noqa: S608  names from above
        for name in ("hosts", "endpoints", "exchanges", "host_certificates"):
            rest = ", ".join(f'"{column}"' for column in columns[name] if column not in {"run_number", "position"})
            for copy in range(1, 60):
                shifted = f"SELECT 7, position + {copy * 10}, {rest} FROM {name} WHERE run_number = 1"  # noqa: S608  as above
                database.execute(f"INSERT INTO {name} (run_number, position, {rest}) {shifted}")
    database.close()
    with open_store(path) as store:
        assert store.load_run("second").hosts == SAMPLE.hosts * 59
        assert store.load_run(SAMPLE.run.id) == SAMPLE
        store.delete_run("second")
        assert store.load_run(SAMPLE.run.id) == SAMPLE


def test_damaged_old_database_is_left_as_it_was(tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript((DATA / "0001.sql").read_text())
        database.execute("UPDATE hosts SET wire=x'0001' WHERE position=1")
    database.close()
    before = read_schema(path)
    with pytest.raises(StoreError, match=r"'host1\.example' is damaged"):
        open_store(path)
    assert read_schema(path) == before


NEXT_MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "next", "HEAD", None, None
def upgrade():
    op.add_column("runs", sa.Column("note", sa.Text()))
    with op.batch_alter_table("host_certificates", table_kwargs={"sqlite_with_rowid": False}) as batch:
        batch.alter_column("ordinal", new_column_name="place")
    REST
""".replace("HEAD", HEAD)


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """The program as it will be with one more migration."""
    location = tmp_path / "50% migrations"
    shutil.copytree(opening.MIGRATIONS, location, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(opening, "MIGRATIONS", location)
    monkeypatch.setattr(opening, "HEAD", "next")
    return location / "versions" / "next.py"


def test_migration_to_come_will_be_applied_on_open(tmp_path, next_version):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript((DATA / f"{HEAD}.sql").read_text())
    database.close()
    next_version.write_text(NEXT_MIGRATION.replace("REST", "pass"))
    open_store(path).close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT * FROM alembic_version").fetchall() == [("next",)]
        assert database.execute("SELECT id, note FROM runs").fetchall() == [(SAMPLE.run.id, None)]
        assert database.execute("SELECT max(place), count(*) FROM host_certificates").fetchone() == (2, 7)
        assert database.execute("SELECT count(*) FROM hosts").fetchone() == (7,)
    database.close()


def test_migration_that_fails_changes_nothing(tmp_path, next_version):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript((DATA / f"{HEAD}.sql").read_text())
    database.close()
    before = read_schema(path)
    next_version.write_text(NEXT_MIGRATION.replace("REST", "raise RuntimeError('no power')"))
    with pytest.raises(RuntimeError, match="no power"):
        open_store(path)
    assert read_schema(path) == before


def test_queries_of_the_documentation_run_and_find_something():
    text = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    queries = re.sub(r"--.*", "", re.search(r"```sql\n(.*?)```", text, re.DOTALL)[1]).split(";")[:-1]
    database = sqlite3.connect(":memory:")
    database.executescript((DATA / f"{HEAD}.sql").read_text())
    results = [database.execute(query).fetchall() for query in queries]
    assert len(results) == 3
    assert all(results)
    database.close()


def test_documentation_names_every_table_and_column():
    text = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    for table in METADATA.sorted_tables:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{table.name}` |"))
        assert [column.name for column in table.columns if f"`{column.name}`" not in row] == []
