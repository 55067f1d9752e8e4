import json
from dataclasses import replace
from datetime import timedelta

import pytest

from scanner.store import KeepBytes, StoreError, open_store
from scanner.store.merging import merge_runs
from scanner.store.packing import pack_record
from tests.store.samples import BEGUN_AT, make_hello_record, make_record, make_run

PLAN = '{"targets": ["192.0.2.0/24"]}'


def make_host(number):
    return make_record(number) if number % 2 else make_hello_record("a.example", host=f"192.0.2.{number}")


def add_shard(
    store, run_id, shard, positions, *, seed=7, plan=PLAN, is_complete=True, counts=(("REFUSED", 10),), **changes
):
    begun_at = BEGUN_AT + timedelta(minutes=shard[0])
    run = make_run(run_id, started_at=begun_at, **changes)
    store.begin_run(run, plan=plan, options=json.dumps({"seed": seed, "shard": list(shard), "ports": [443]}))
    store.append_hosts(run_id, [(position, make_host(position)) for position in positions])
    store.finish_run(run_id, begun_at + timedelta(hours=1), is_complete, counts)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "one.db") as store:
        yield store


@pytest.fixture
def into(tmp_path):
    with open_store(tmp_path / "out.db") as store:
        yield store


def test_union_of_shards_is_the_single_run(store, into, tmp_path):
    add_shard(store, "b", (2, 3), range(1, 500, 3))
    with open_store(tmp_path / "two.db") as other:
        add_shard(other, "a", (1, 3), range(0, 500, 3), counts=(("REFUSED", 5), ("NO_ANSWER", 1)))
        add_shard(other, "c", (3, 3), range(2, 500, 3), counts=())
        merged = merge_runs(into, [(store, "b"), (other, "c"), (other, "a")], run_id="all")
    assert (merged.host_count, merged.shard_count, merged.missing_shards, merged.unfinished_shards) == (500, 3, (), ())
    stored = into.load_run("all")
    assert stored.hosts == tuple(make_host(number) for number in range(500))
    assert stored.run == merged.run
    assert stored.run == make_run(
        "all",
        started_at=BEGUN_AT + timedelta(minutes=1),
        finished_at=BEGUN_AT + timedelta(minutes=63),
        is_complete=True,
    )
    assert stored.no_listener_counts == (("NO_ANSWER", 1), ("REFUSED", 15))
    checkpoint = into.load_checkpoint("all")
    assert checkpoint.plan == PLAN
    assert json.loads(checkpoint.options) == {
        "seed": 7, "ports": [443], "shard": [1, 1], "merged_shards": [1, 2, 3], "missing_shards": [],
    }  # fmt: skip


def test_shards_of_one_database_are_merged_into_it(store):
    add_shard(store, "a", (1, 2), [0, 2])
    add_shard(store, "b", (2, 2), [1, 3])
    merge_runs(store, [(store, "a"), (store, "b")], run_id="all")
    assert store.load_run("all").hosts == tuple(make_host(number) for number in range(4))


def test_what_only_the_judgement_is_kept_of_stays_so(store, into):
    add_shard(store, "a", (1, 1), [])
    kept = pack_record(make_host(1), 0, keep=KeepBytes.NONE, is_clear=True, judged=b"{}")
    cut_off = pack_record(replace(make_host(2), stopped="interrupted"), 1)
    store.append_packed("a", [kept, cut_off])
    merge_runs(into, [(store, "a")], run_id="all")
    assert list(into.iter_stored("all")) == list(store.iter_stored("a"))


def test_missing_and_unfinished_shards_make_a_run_incomplete(store, into):
    add_shard(store, "b", (2, 4), [1], is_complete=False)
    add_shard(store, "c", (4, 4), [2])
    merged = merge_runs(into, [(store, "b"), (store, "c")], run_id="all")
    assert (merged.missing_shards, merged.unfinished_shards) == ((1, 3), (2,))
    assert not into.load_run("all").run.is_complete
    assert json.loads(into.load_checkpoint("all").options)["missing_shards"] == [1, 3]


def test_missing_shard_alone_makes_a_run_incomplete(store, into):
    add_shard(store, "b", (2, 2), [1])
    assert not merge_runs(into, [(store, "b")], run_id="all").run.is_complete


def test_unfinished_shard_alone_makes_a_run_incomplete(store, into):
    add_shard(store, "a", (1, 1), [1], is_complete=False)
    assert not merge_runs(into, [(store, "a")], run_id="all").run.is_complete


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"plan": PLAN + " "}, "differ in the targets$"),
        ({"seed": 8}, "differ in the seed$"),
        ({"shard": (2, 3)}, "differ in the number of shards$"),
        ({"policy_id": "strict"}, "differ in the policy$"),
        ({"confirm": "none"}, "differ in --confirm$"),
        ({"shard": (1, 2)}, "are both shard 1 of 2"),
        ({"positions": [4, 0]}, None),
        ({"positions": [4, 5]}, "another host already at 5"),
    ],
)
def test_runs_that_do_not_fit_are_told_and_nothing_is_stored(store, into, changes, named):
    add_shard(store, "a", (1, 2), [0, 2])
    store.append_hosts("a", [(5, make_host(6))])
    add_shard(store, "b", **({"shard": (2, 2), "positions": [1]} | changes))
    sources = [(store, "a"), (store, "b")]
    if named is None:  # the same host at the same position is no contradiction
        assert merge_runs(into, sources, run_id="all").host_count == 4
        return
    with pytest.raises(StoreError, match=named):
        merge_runs(into, sources, run_id="all")
    assert into.list_runs() == ()


@pytest.mark.parametrize(
    "options",
    ["", "{", "[]", '{"seed": 1}', '{"seed": 1, "shard": [3, 2]}', '{"shard": [1, 2]}', '{"seed": 1, "shard": "12"}'],
)
def test_run_that_is_no_shard_is_told(store, into, options):
    store.begin_run(make_run("a"), options=options)
    with pytest.raises(StoreError, match="run 'a' is no shard of a scan"):
        merge_runs(into, [(store, "a")], run_id="all")


def test_nothing_to_merge_is_told(into):
    with pytest.raises(StoreError, match="nothing to merge"):
        merge_runs(into, [], run_id="all")


def test_id_that_is_taken_is_told(store, into):
    add_shard(store, "a", (1, 1), [0])
    into.begin_run(make_run("all"))
    with pytest.raises(StoreError, match="there is a run 'all' already"):
        merge_runs(into, [(store, "a")], run_id="all")
