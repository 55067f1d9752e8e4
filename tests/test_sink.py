"""The sink: what is called done is stored, in one go with what says so; a store that fails costs no result."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner import sink as module
from scanner.model.evidence import GapReason
from scanner.policy import read_policy
from scanner.results import Results, judge_to_json
from scanner.sink import RunSink
from scanner.store.stored import PackedHost, StoreError
from scanner.sweep.progress import Progress
from tests.kinds_of_hosts import RUN, record

POLICY = read_policy("entra-drs")
COUNT = 40
JUDGED = [judge_to_json(RUN, record(f"192.0.2.{at}", f"192.0.2.{at}", (443,)), POLICY, position=at) for at in range(3)]
CUT = judge_to_json(RUN, record("192.0.2.9", "192.0.2.9", (443,), stopped="interrupted"), POLICY, position=9)


def packed(position):
    return PackedHost(position=position, host=f"192.0.2.{position}", blob=b"blob")


class Store:
    """Notes each call as one transaction; fails as often as it is told to."""

    def __init__(self):
        self.calls = []
        self.failures = 0
        self.finished = None

    def append_packed(self, run_id, hosts, *, checkpoint, counts):
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        self.calls.append((run_id, list(hosts), None if checkpoint is None else Progress.decode(checkpoint), counts))

    def finish_run(self, *facts):
        if self.failures:
            raise StoreError("the disk is full")
        self.finished = facts

    def positions(self):
        return [host.position for _, hosts, _, _ in self.calls for host in hosts]


class Observer:
    def __init__(self):
        self.failures = []

    def on_store_failure(self, error):
        self.failures.append(str(error))


class Made:
    """A sink, and all around it."""

    def __init__(self, *, has_progress=True, has_observer=True, **more):
        self.store = Store()
        self.results = Results(RUN, POLICY)
        self.progress = Progress(COUNT) if has_progress else None
        self.observer = Observer() if has_observer else None
        self.seen = []
        options = {
            "store": self.store,
            "progress": self.progress,
            "counts": {},
            "on_host": self.seen.append,
            "observer": self.observer,
        }
        self.sink = RunSink(RUN, self.results, **(options | more))


@pytest.fixture
def made():
    made = Made()
    yield made
    made.results.close()


def test_hosts_progress_and_counts_are_written_in_one_go(made):
    made.sink.on_host(5, JUDGED[0], packed(0))
    made.sink.on_absent(6, GapReason.REFUSED)
    made.sink.on_absent(7, GapReason.REFUSED)
    made.sink.on_absent(8, GapReason.NO_ANSWER)
    assert made.store.calls == []
    made.sink.flush()
    ((run_id, hosts, progress, counts),) = made.store.calls
    assert run_id == RUN.id
    assert hosts == [packed(0)]
    assert [at for at in range(COUNT) if progress.is_done(at)] == [5, 6, 7, 8]
    assert counts == {"REFUSED": 2, "NO_ANSWER": 1}
    assert made.seen == [JUDGED[0]]
    assert [host["name"] for host, _ in made.results.entries()] == ["192.0.2.0"]


def test_what_failed_here_is_not_done(made):
    made.sink.on_failed(3, "EMFILE")
    made.sink.flush()
    assert made.sink.failed_count == 1
    assert made.progress.done_count == 0


def test_a_host_that_was_cut_is_shown_and_stored_but_not_done(made):
    made.sink.on_host(9, CUT, packed(9))
    made.sink.flush()
    assert made.sink.has_cut
    assert made.progress.done_count == 0
    assert made.store.positions() == [9]
    assert made.seen == []  # a stream of lines has a host once: when it is known
    assert made.results.summary["hosts"] == 1


def test_a_resumed_run_goes_on_counting():
    made = Made(counts={"REFUSED": 10})
    made.sink.on_absent(1, GapReason.REFUSED)
    made.sink.flush()
    assert made.store.calls[0][3] == {"REFUSED": 11}
    made.results.close()


def test_without_ranges_there_is_no_checkpoint():
    made = Made(has_progress=False)
    made.sink.on_host(None, JUDGED[0], packed(0))
    made.sink.flush()
    assert made.store.calls == [(RUN.id, [packed(0)], None, {})]
    made.results.close()


def test_a_full_batch_does_not_wait(made, monkeypatch):
    monkeypatch.setattr(module, "_BATCH_HOSTS", 2)
    made.sink.on_host(0, JUDGED[0], packed(0))
    assert made.store.calls == []
    made.sink.on_host(1, JUDGED[1], packed(1))
    assert made.store.positions() == [0, 1]


def test_what_waits_is_written_when_its_time_has_come(made, monkeypatch):
    made.sink.on_absent(0, GapReason.REFUSED)
    made.sink.flush_if_due()
    assert made.store.calls == []
    monkeypatch.setattr(module, "_FLUSH_S", 0.0)
    made.sink.flush_if_due()
    made.sink.flush_if_due()  # nothing new
    assert len(made.store.calls) == 1


EVENTS = st.lists(st.sampled_from(["host", "absent", "failed", "cut", "flush", "fail"]), max_size=COUNT)


@given(EVENTS, st.booleans())
def test_no_checkpoint_is_ahead_of_what_is_stored(events, has_observer):
    """Whatever fails and whenever: what a checkpoint calls done is stored, or was absent by its counts."""
    made = Made(has_observer=has_observer)
    stored = set()
    absent = 0
    for at, what in enumerate(events):
        try:
            if what == "host":
                made.sink.on_host(at, JUDGED[0], packed(at))
            elif what == "absent":
                made.sink.on_absent(at, GapReason.REFUSED)
            elif what == "failed":
                made.sink.on_failed(at, "EMFILE")
            elif what == "cut":
                made.sink.on_host(at, CUT, packed(at))
            else:
                made.store.failures += what == "fail"
                made.sink.flush()
        except StoreError:
            assert not has_observer
    try:
        made.sink.flush()
    except StoreError:
        assert "fail" in events
    for _, hosts, progress, counts in made.store.calls:
        stored |= {host.position for host in hosts}
        done = {at for at in range(COUNT) if progress.is_done(at)}
        absent = {at for at in done if events[at] == "absent"}
        assert done - absent <= stored
        assert sum(counts.values()) == len(absent)
        assert all(events[at] in {"host", "absent"} for at in done)
    if "fail" not in events:
        assert stored == {at for at, what in enumerate(events) if what in {"host", "cut"}}
        assert Counter(events)["host"] + Counter(events)["absent"] == made.progress.done_count
    made.results.close()


def test_a_store_that_fails_is_told_of_once_and_costs_no_result(made):
    made.store.failures = 1
    made.sink.on_host(0, JUDGED[0], packed(0))
    made.sink.flush()
    made.sink.on_host(1, JUDGED[1], packed(1))
    made.sink.flush()
    made.sink.finish(RUN)
    assert made.observer.failures == ["the disk is full"]
    assert made.store.calls == []  # a later checkpoint would call done what was lost
    assert made.store.finished is None
    assert made.seen == JUDGED[:2]
    assert made.results.summary["hosts"] == 2


def test_where_nobody_is_told_a_failing_store_ends_the_run_and_goes_on_failing():
    made = Made(has_observer=False)
    made.store.failures = 1
    made.sink.on_host(0, JUDGED[0], packed(0))
    for write in (made.sink.flush, made.sink.flush, lambda: made.sink.finish(RUN)):
        with pytest.raises(StoreError, match="the disk is full"):
            write()
    assert made.store.calls == []
    made.results.close()


def test_how_the_run_ended_is_written(made):
    made.sink.on_absent(0, GapReason.REFUSED)
    made.sink.finish(RUN)
    assert made.store.finished == (RUN.id, RUN.finished_at, RUN.is_complete, (("REFUSED", 1),))


def test_without_a_store_the_results_are_there():
    made = Made(store=None)
    made.sink.on_host(0, JUDGED[0], None)
    made.sink.flush()
    made.sink.finish(RUN)
    assert made.results.summary["hosts"] == 1
    made.results.close()
