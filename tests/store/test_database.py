import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.runs import Run
from scanner.store import Checkpoint, KeepBytes, RunSummary, StoredHost, StoredRun, StoreError, open_store
from scanner.store.packing import pack_record
from tests.store.samples import (
    BARE_RECORD,
    BEGUN_AT,
    FULL_RECORD,
    PROXY_RECORD,
    arbitrary,
    arbitrary_records,
    make_hello_record,
    make_record,
    make_run,
)

RECORDS = (FULL_RECORD, BARE_RECORD, PROXY_RECORD, make_record(1), make_record(2), make_record(3))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / "runs.db"


@pytest.fixture
def store(path):
    with open_store(path) as store:
        yield store


def count_rows(path):
    tables = ("runs", "plans", "checkpoints", "hosts", "host_certificates", "certificates")
    with sqlite3.connect(path) as database:
        counts = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608  names from above
    database.close()
    return counts


def check_integrity(path):
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()


def test_run_survives(store, path):
    run = make_run()
    store.begin_run(run)
    store.append_hosts(run.id, enumerate(RECORDS))
    assert store.load_run(run.id) == StoredRun(run=run, hosts=RECORDS, no_listener_counts=())
    finished_at = BEGUN_AT + timedelta(minutes=1)
    store.finish_run(run.id, finished_at, is_complete=True, no_listener_counts=(("REFUSED", 250), ("NO_ANSWER", 3)))
    store.close()
    with open_store(path) as again:
        assert again.load_run(run.id) == StoredRun(
            run=replace(run, finished_at=finished_at, is_complete=True),
            hosts=RECORDS,
            no_listener_counts=(("REFUSED", 250), ("NO_ANSWER", 3)),
        )


@given(
    run=arbitrary(Run),
    records=st.lists(arbitrary_records(), max_size=4),
    counts=st.lists(st.tuples(st.text(), st.integers(0, 2**53)), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_any_run_survives(run, records, counts):
    run = replace(run, id="20261123T160700Z-1a2b")
    with open_store(":memory:") as store:
        store.begin_run(run)
        for position, record in enumerate(records[:2]):
            store.append_host(run.id, position, record)
        store.append_hosts(run.id, enumerate(records[2:], start=2))
        stored = store.load_run(run.id)
        assert stored == StoredRun(run=run, hosts=tuple(records), no_listener_counts=())
        # Equality of times ignores their zone.
        assert stored.run.started_at.utcoffset() == timedelta()
        store.finish_run(run.id, run.started_at, run.is_complete, counts)
        assert store.load_run(run.id).no_listener_counts == tuple(counts)


def test_hosts_come_by_position_whatever_the_order_of_storing(store):
    run = make_run()
    store.begin_run(run)
    store.append_host(run.id, 70_000_000_000, make_record(4))
    store.append_hosts(run.id, [(7, make_record(3)), (0, make_record(1))])
    store.append_host(run.id, 3, make_record(2))
    assert store.load_run("latest").hosts == tuple(make_record(number) for number in (1, 2, 3, 4))


def test_more_hosts_than_a_batch_are_one_transaction(store, path):
    run = make_run()
    store.begin_run(run)

    def records():
        for number in range(450):
            yield number, make_record(number)
        raise OSError("the caller's own trouble")

    with pytest.raises(OSError, match="own trouble"):
        store.append_hosts(run.id, records())
    assert store.load_run(run.id).hosts == ()
    store.append_hosts(run.id, ((number, make_record(number)) for number in range(450)))
    assert store.load_run(run.id).hosts == tuple(make_record(number) for number in range(450))
    assert count_rows(path)["hosts"] == 450


def test_iter_hosts_yields_what_load_run_returns(store):
    run = make_run()
    store.begin_run(run)
    store.append_hosts(run.id, ((number, make_record(number)) for number in range(420)))
    assert tuple(store.iter_hosts("latest")) == store.load_run(run.id).hosts


def test_certificates_are_stored_once_and_go_with_the_last_run_that_has_them(store, path):
    for run_id in ("a", "b"):
        store.begin_run(make_run(run_id))
        # Each record has a leaf of its own and the one intermediate.
        store.append_hosts(run_id, [(number, make_record(number)) for number in range(10)])
    store.append_host("b", 10, make_record(10))
    assert count_rows(path)["certificates"] == 12
    before = store.load_run("a")
    store.delete_run("b")
    assert count_rows(path) == {
        "runs": 1, "plans": 0, "checkpoints": 0, "hosts": 10, "host_certificates": 20, "certificates": 11,
    }  # fmt: skip
    assert store.load_run("a") == before
    store.delete_run("a")
    assert set(count_rows(path).values()) == {0}


def test_runs_are_listed_newest_first_with_host_counts(store):
    assert store.list_runs() == ()
    runs = [make_run(f"run-{hour}", started_at=BEGUN_AT + timedelta(hours=hour)) for hour in (1, 3, 2)]
    for run in runs:
        store.begin_run(run)
    store.append_hosts("run-3", [(0, BARE_RECORD), (1, FULL_RECORD)])
    assert store.list_runs() == (
        RunSummary(run=runs[1], host_count=2),
        RunSummary(run=runs[2], host_count=0),
        RunSummary(run=runs[0], host_count=0),
    )
    assert store.load_run("latest").run == runs[1]


@pytest.fixture
def three_runs(store):
    for number, run_id in enumerate(("20261123T160700Z-1a2b", "20261123T160701Z-ffff", "20261124T000000Z-1a2b")):
        store.begin_run(make_run(run_id, started_at=BEGUN_AT + timedelta(hours=number)))
    return store


@pytest.mark.parametrize(
    ("reference", "run_id"),
    [
        ("20261123T160700Z-1a2b", "20261123T160700Z-1a2b"),
        ("20261123T160700", "20261123T160700Z-1a2b"),
        ("20261124", "20261124T000000Z-1a2b"),
        ("latest", "20261124T000000Z-1a2b"),
    ],
)
def test_run_is_found_by_id_prefix_or_latest(three_runs, reference, run_id):
    assert three_runs.load_run(reference).run.id == run_id


def test_whole_id_counts_even_where_it_begins_another(store):
    for run_id in ("run", "run-2"):
        store.begin_run(make_run(run_id))
    assert store.load_run("run").run.id == "run"


def test_ambiguous_prefix_names_the_candidates(three_runs):
    with pytest.raises(StoreError) as caught:
        three_runs.load_run("20261123T1607")
    assert "20261123T160701Z-ffff, 20261123T160700Z-1a2b" in str(caught.value)
    assert "20261124" not in str(caught.value)


@pytest.mark.parametrize("reference", ["2026112_", "%", "", "20261123t160700z", "20261123T160700Z-1a2b-and-more"])
def test_prefix_is_taken_literally(three_runs, reference):
    with pytest.raises(StoreError, match="there is no run"):
        three_runs.load_run(reference)


def test_unknown_run_names_the_nearest(three_runs):
    with pytest.raises(StoreError, match="did you mean 20261124T000000Z-1a2b"):
        three_runs.load_run("20261124T000000Z-1a2c")


def test_unknown_run_that_is_like_none_names_the_newest(three_runs):
    with pytest.raises(StoreError, match="the newest are 20261124T000000Z-1a2b, 20261123T160701Z-ffff, 2026"):
        three_runs.load_run("xyz")


def test_long_lists_of_runs_are_cut(store):
    for number in range(8):
        store.begin_run(make_run(f"run-{number}", started_at=BEGUN_AT + timedelta(hours=number)))
    with pytest.raises(StoreError, match=r"may mean run-7, run-6, run-5, run-4, run-3 and 3 more$"):
        store.load_run("run")


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.load_run("latest"),
        lambda store: store.load_run("20261123"),
        lambda store: list(store.iter_hosts("20261123")),
        lambda store: store.append_host("20261123", 0, BARE_RECORD),
        lambda store: store.finish_run("20261123", BEGUN_AT, is_complete=True),
        lambda store: store.delete_run("20261123"),
    ],
)
def test_empty_store_says_so(store, act):
    with pytest.raises(StoreError, match="no run is stored yet"):
        act(store)


def test_writing_takes_the_whole_id_only(three_runs):
    for act in (
        lambda: three_runs.append_host("20261124", 0, BARE_RECORD),
        lambda: three_runs.finish_run("20261124", BEGUN_AT, is_complete=True),
        lambda: three_runs.delete_run("latest"),
        lambda: three_runs.delete_run("20261124"),
    ):
        with pytest.raises(StoreError, match="there is no run"):
            act()
    assert len(three_runs.list_runs()) == 3


def test_run_id_is_taken_once(store):
    store.begin_run(make_run("a"))
    with pytest.raises(StoreError, match="there is a run 'a' already"):
        store.begin_run(make_run("a", policy_id="strict"))
    assert store.load_run("a").run.policy_id == "entra-drs"


def test_position_is_taken_once_and_nothing_of_the_batch_stays(store, path):
    store.begin_run(make_run("a"))
    store.append_host("a", 5, FULL_RECORD)
    before = count_rows(path)
    with pytest.raises(StoreError, match=r"'a' has another host already at 5$"):
        store.append_hosts("a", [(4, make_record(4)), (5, make_record(5)), (6, make_record(6))])
    assert count_rows(path) == before
    with pytest.raises(StoreError, match="another host already at 7"):
        store.append_hosts("a", [(7, make_record(4)), (7, make_record(5))])
    assert count_rows(path) == before


def test_the_same_host_again_is_passed_over(store, path):
    store.begin_run(make_run("a"))
    store.append_hosts("a", [(4, make_record(4)), (5, FULL_RECORD)])
    store.append_hosts("a", [(5, FULL_RECORD), (6, make_record(6))])
    assert store.load_run("a").hosts == (make_record(4), FULL_RECORD, make_record(6))
    check_integrity(path)


def test_interrupted_host_is_shown_and_replaced_when_it_is_done_again(store, path):
    store.begin_run(make_run("a"))
    cut_off = replace(make_record(5), stopped="interrupted")
    store.append_hosts("a", [(4, make_record(4)), (5, cut_off)])
    assert [(host.position, host.is_final) for host in store.iter_stored("a")] == [(4, True), (5, False)]
    assert store.load_checkpoint("a").done_positions == {4}
    # Interrupted once more, then done.
    store.append_hosts("a", [(5, replace(cut_off, exchanges=()))])
    assert store.load_run("a").hosts == (make_record(4), replace(cut_off, exchanges=()))
    store.append_hosts("a", [(4, make_record(4)), (5, make_record(9)), (6, make_record(6))])
    assert store.load_run("a").hosts == (make_record(4), make_record(9), make_record(6))
    assert store.load_checkpoint("a").done_positions == {4, 5, 6}
    assert store.load_checkpoint("a", below=5).done_positions == {4}
    with pytest.raises(StoreError, match="another host already at 5"):
        store.append_hosts("a", [(5, cut_off)])
    check_integrity(path)


def test_checkpoint_is_stored_with_the_hosts_or_not_at_all(store, path):
    run = make_run("a")
    plan, options = '{"targets": "' + "\udcff\0 é" * 2000 + '"}', '{"seed": 7, "note": "\0"}'
    store.begin_run(run, plan=plan, options=options)
    first = Checkpoint(run=run, plan=plan, options=options, progress=None, counts={}, done_positions=frozenset())
    assert store.load_checkpoint("a") == first
    hosts = [pack_record(make_record(number), number) for number in range(3)]
    store.append_packed("a", hosts[:2], checkpoint=b"two", counts={"REFUSED": 250, "NO_ANSWER": 3})
    second = replace(first, progress=b"two", counts={"NO_ANSWER": 3, "REFUSED": 250}, done_positions=frozenset({0, 1}))
    assert store.load_checkpoint("a") == second
    other = pack_record(make_record(9), 0)
    with pytest.raises(StoreError, match="another host"):
        store.append_packed("a", [hosts[2], other], checkpoint=b"three", counts={"REFUSED": 251})
    assert store.load_checkpoint("a") == second
    store.append_packed("a", [], checkpoint=b"three")
    store.append_packed("a", hosts[2:])
    assert store.load_checkpoint("latest") == replace(second, progress=b"three", done_positions=frozenset({0, 1, 2}))
    store.finish_run("a", BEGUN_AT, is_complete=True, no_listener_counts=None)
    assert store.load_summary("a") == (
        RunSummary(run=replace(run, finished_at=BEGUN_AT, is_complete=True), host_count=3),
        (("NO_ANSWER", 3), ("REFUSED", 250)),
    )
    store.delete_run("a")
    assert set(count_rows(path).values()) == {0}


def test_run_without_a_plan_has_an_empty_one(store):
    store.begin_run(make_run("a"))
    checkpoint = store.load_checkpoint("a")
    assert (checkpoint.plan, checkpoint.options, checkpoint.progress) == ("", "", None)


def test_host_without_its_bytes_says_so_and_keeps_its_judgement(store):
    store.begin_run(make_run("a"))
    line = b'{"host": "x"}' * 100
    record = make_hello_record(None)
    kept = [
        pack_record(record, 0, keep=KeepBytes.NONE, is_clear=True, judged=line),
        pack_record(record, 1, keep=KeepBytes.NONE, is_clear=False),
    ]
    store.append_packed("a", kept)
    assert list(store.iter_stored("a")) == [
        StoredHost(position=0, record=replace(record, exchanges=()), has_bytes=False, judged=line, is_final=True),
        StoredHost(position=1, record=record, has_bytes=True, judged=None, is_final=True),
    ]
    for act in (store.load_run, lambda run: list(store.iter_hosts(run))):
        with pytest.raises(StoreError, match="host 0: its bytes were not kept"):
            act("a")


def test_what_hosts_share_is_stored_once(store, path):
    store.begin_run(make_run("a"))
    records = [
        make_hello_record(name, host=f"192.0.2.{at}") for at, name in enumerate((None, None, "a.example"), start=1)
    ]
    for at, record in enumerate(records):
        store.append_host("a", at, record)
    assert store.load_run("a").hosts == tuple(records)
    with sqlite3.connect(path) as database:
        # The hellos' forms, and two lines of targets (one with a server name).
        assert database.execute("SELECT count(*) FROM parts").fetchone() == (3,)
    database.close()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE hosts SET packed=x'0701'", "host 0: .*newer version"),
        ("UPDATE hosts SET packed=substr(packed, 1, length(packed) - 1)", "host 0: .*damaged"),
        ("UPDATE hosts SET packed=x''", "host 0: "),
        ("DELETE FROM host_certificates", "host 0: .*damaged"),
        ("UPDATE certificates SET der=x'0100'", "damaged"),
        ("DELETE FROM parts", "host 0: .*damaged"),
        ("UPDATE parts SET content=x'00'", "host 0: .*damaged"),
        ("UPDATE runs SET no_listener_counts='[['", "damaged"),
        ("UPDATE runs SET started_at_us=1000000000000000000", "damaged"),
    ],
)
def test_rows_changed_by_others_are_named_and_not_guessed_at(store, path, statement, named):
    store.begin_run(make_run("a"))
    store.append_host("a", 0, FULL_RECORD)
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()
    with pytest.raises(StoreError, match=named):
        store.load_run("a")


def test_reader_sees_one_state_while_another_process_writes(store, path):
    run = make_run()
    store.begin_run(run)
    store.append_hosts(run.id, ((number, make_record(number)) for number in range(300)))
    with open_store(path) as reader:
        hosts = reader.iter_hosts(run.id)
        seen = [next(hosts)]
        store.append_hosts(run.id, ((number, make_record(number)) for number in range(300, 500)))
        seen += hosts
        assert len(seen) == 300
        assert len(reader.load_run(run.id).hosts) == 500


def test_reader_is_not_kept_waiting_by_a_transaction_under_way(store, path):
    run = make_run()
    store.begin_run(run)

    def records():
        for number in range(210):
            yield number, make_record(number)
        # The first batch is in the transaction by now, and not seen by others.
        with open_store(path, busy_timeout_s=0) as reader:
            assert reader.list_runs() == (RunSummary(run=run, host_count=0),)
            assert reader.load_run("latest").hosts == ()
        yield 210, make_record(210)

    store.append_hosts(run.id, records())
    assert store.list_runs()[0].host_count == 211


def test_second_writer_waits_no_longer_than_it_may(store, path):
    store.begin_run(make_run())
    with open_store(path, busy_timeout_s=0.2) as second:
        begun_at = time.monotonic()

        def records():
            with pytest.raises(StoreError, match="is locked by another program"):
                second.begin_run(make_run("b"))
            yield 0, BARE_RECORD

        store.append_hosts(make_run().id, records())
        assert 0.15 < time.monotonic() - begun_at < 10
        second.begin_run(make_run("b"))
    assert len(store.list_runs()) == 2


def test_writers_in_several_processes_lose_nothing(path):
    code = """
import sys
from scanner.store import open_store
from tests.store.samples import make_record, make_run
path, number = sys.argv[1], int(sys.argv[2])
with open_store(path, busy_timeout_s=60) as store:
    store.begin_run(make_run(f"run-{number}"))
    for position in range(40):
        store.append_host(f"run-{number}", position, make_record(position))
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, path, str(number)]) for number in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    expected = tuple(make_record(position) for position in range(40))
    with open_store(path) as store:
        assert [store.load_run(f"run-{number}").hosts for number in range(3)] == [expected] * 3
    # 40 leaves and one intermediate, though each process stored them all.
    assert count_rows(path)["certificates"] == 41
    check_integrity(path)


def test_full_disk_keeps_what_was_stored(tmp_path):
    path = tmp_path / "small.db"
    run = make_run()
    with open_store(path) as store:
        store.begin_run(run)
        store.append_hosts(run.id, [(0, make_record(0))])
        with store._engine.connect() as connection:
            # SQLite's own way to run out of room: the same error as that of a full disk.
            connection.exec_driver_sql("PRAGMA max_page_count=30")
        with pytest.raises(StoreError, match=r"small\.db: can't grow: the disk is full"):
            store.append_hosts(run.id, ((number, make_record(number)) for number in range(1, 100)))
        assert store.load_run(run.id).hosts == (make_record(0),)
    with open_store(path) as store:
        store.append_host(run.id, 1, make_record(1))
        assert store.load_run(run.id).hosts == (make_record(0), make_record(1))
    check_integrity(path)


CRASHING_WRITER = """
import sys
from scanner.store import open_store
from scanner.store.packing import pack_record
from tests.store.samples import make_record, make_run
path, batch = sys.argv[1], int(sys.argv[2])
records = [make_record(number) for number in range(50)]
with open_store(path) as store:
    store.begin_run(make_run("crash"))
    for begin in range(0, 10**6, batch):
        hosts = (pack_record(records[number % 50], number) for number in range(begin, begin + batch))
        store.append_packed("crash", hosts, checkpoint=str(begin + batch).encode())
        print(begin + batch, flush=True)
"""


@pytest.mark.parametrize(("batch", "delay_s"), [(1, 0), (1, 0.05), (37, 0.003), (37, 0.02), (500, 0.02), (500, 0.06)])
def test_kill_leaves_each_host_wholly_there_or_not_at_all(path, batch, delay_s):
    child = subprocess.Popen(
        [sys.executable, "-c", CRASHING_WRITER, path, str(batch)], stdout=subprocess.PIPE, text=True
    )
    with child:
        told = int(child.stdout.readline())
        time.sleep(delay_s)
        os.kill(child.pid, signal.SIGKILL)
        told = max([told, *(int(line) for line in child.stdout.read().splitlines(keepends=True) if line[-1] == "\n")])
    assert child.returncode == -signal.SIGKILL
    with open_store(path) as store:
        stored = store.load_run("crash")
        count = len(stored.hosts)
        # All that was acknowledged, perhaps the transaction after it, and never part of one.
        assert count in {told, told + batch}
        assert stored.hosts == tuple(make_record(number % 50) for number in range(count))
        assert not stored.run.is_complete
        counts = count_rows(path)
        assert counts["hosts"] == count
        assert store.load_checkpoint("crash").progress == str(count).encode()
        store.append_host("crash", count, make_record(count))
    check_integrity(path)
