"""What a reader must know first: whether the run is whole, which part of a range it saw, and what was not there."""

from __future__ import annotations

import pytest

from scanner.reports.html_notices import build_notices, build_sweep_facts
from tests.reports import sample


def titles(source, stopped_count=0):
    return [notice["title"] for notice in build_notices(source.run, source.summary, stopped_count)]


def facts(source):
    return {fact["term"]: (fact["text"], fact["soft"]) for fact in build_sweep_facts(source.summary)}


def test_a_whole_sweep_tells_how_many_addresses_were_asked_and_what_came_of_it():
    source = sample.RangeSource(100)
    assert titles(source) == []
    assert facts(source) == {
        "Ranges": ("1,600 addresses asked", "seed 7"),
        "Listening": ("100 addresses", ""),
        "No listener": (
            "1,500 range addresses",
            "nothing listens on the port: 1,200; no answer to the connection attempt: 300",
        ),
    }


def test_a_run_without_ranges_has_no_such_facts():
    source = sample.RangeSource(100)
    source.summary["sweep"] = None
    source.summary["no_listener"] = {}
    assert facts(source) == {}
    del source.summary["sweep"]  # reports of older runs have no such member
    assert facts(source) == {}


def test_a_shard_says_so():
    source = sample.RangeSource(100, shard="2/8")
    assert titles(source) == ["This is shard 2 of 8."]
    assert facts(source)["Ranges"] == ("1,600 addresses asked", "shard 2 of 8, seed 7")


def test_an_interrupted_sweep_says_how_much_is_missing_and_how_to_go_on():
    source = sample.RangeSource(100, is_complete=False)
    (notice,) = build_notices(source.run, source.summary, 0)
    assert notice["title"] == "This run is not complete."
    assert "100 addresses of the ranges" in notice["text"]
    assert notice["command"] == f"entra-tls scan --resume {sample.RUN_ID} --db FILE"
    assert facts(source)["Ranges"] == ("1,500 of 1,600 addresses asked", "seed 7, resumed")


def test_an_interrupted_run_without_ranges_has_nothing_to_resume():
    source = sample.RangeSource(100, is_complete=False)
    source.summary["sweep"] = None
    (notice,) = build_notices(source.run, source.summary, 0)
    assert notice["command"] == ""


@pytest.mark.parametrize(("count", "title"), [(1, "1 host was not"), (1_200, "1,200 hosts were not")])
def test_hosts_that_were_not_asked_everything_are_counted(count, title):
    assert titles(sample.RangeSource(100), count) == [f"{title} asked everything."]


def test_an_unknown_reason_is_shown_as_it_is():
    source = sample.RangeSource(10)
    source.summary["no_listener"] = {"SOMETHING_NEW": 1}
    assert facts(source)["No listener"] == ("1 range address", "something_new: 1")
