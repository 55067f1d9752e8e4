"""What the sweeps are measured with fails where it should. Pure: no network, no root."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from scanner.model.versions import ALL_VERSIONS
from tests.exactness.repeats import LAST_SECONDS, Phase, repeated_without_need
from tests.exactness.sweeps import Report, read_report
from tests.exactness.world import MIXES, Arrival, _parse_duration_s, _plan

MODERN = MIXES[1][0]
TRUTH = {"10.77.0.1": MODERN, "10.77.0.2": MODERN}
RIGHT = {v.label: "enabled" if v in MODERN else "disabled" for v in ALL_VERSIONS}


def report(states, problems=()):
    return Report(is_complete=True, states=states, problems=problems, no_listener={})


def test_right_report_has_nothing_wrong():
    exact = report(dict.fromkeys(TRUTH, RIGHT))
    assert (exact.wrong(TRUTH), exact.missed(TRUTH), exact.unknown_count) == ([], [], 0)


def test_unknown_is_not_wrong_but_counted():
    open_one = report({"10.77.0.1": {**RIGHT, "SSL3": "unknown"}, "10.77.0.2": RIGHT})
    assert (open_one.wrong(TRUTH), open_one.unknown_count) == ([], 1)


@pytest.mark.parametrize(
    "states",
    [
        {"10.77.0.1": {**RIGHT, "TLS1.0": "enabled"}},
        {"10.77.0.1": {**RIGHT, "TLS1.2": "disabled"}},
        {"10.77.0.3": RIGHT},
        {"10.77.0.1": {"TLS1.2": "enabled"}},
    ],
    ids=["enabled", "disabled", "no server", "versions missing"],
)
def test_each_kind_of_falsehood_is_wrong(states):
    assert report(states).wrong(TRUTH) != []


def test_missed_are_those_without_a_host():
    assert report({"10.77.0.2": RIGHT}).missed(TRUTH) == ["10.77.0.1"]


def test_contradictions_are_of_what_both_know():
    one = report({"10.77.0.1": RIGHT, "10.77.0.2": RIGHT})
    assert one.contradictions(report({"10.77.0.1": {**RIGHT, "SSL3": "unknown"}, "10.77.0.2": RIGHT})) == []
    assert len(one.contradictions(report({"10.77.0.1": {**RIGHT, "SSL3": "enabled"}, "10.77.0.2": RIGHT}))) == 1
    assert one.contradictions(report({"10.77.0.1": RIGHT})) == ["10.77.0.2 is only in one"]


def test_host_twice_and_unknown_without_reason_are_problems(tmp_path):
    verdicts = [{"version": "TLS1.2", "state": "unknown", "reason": ""}]
    host = {"name": "10.77.0.1", "endpoints": [{"address": "10.77.0.1", "port": 443}], "verdicts": verdicts}
    path = tmp_path / "report.json"
    content = {"run": {"is_complete": True}, "summary": {"no_listener": {}}, "hosts": [host, host]}
    path.write_text(json.dumps(content))
    problems = set(read_report(path).problems)
    assert problems == {"10.77.0.1 is in it 2 times", "10.77.0.1 TLS1.2 is unknown without a reason"}


@dataclass
class Place:
    """What a judgement of repetitions needs of a world."""

    truth: dict
    resetting: frozenset


PLACE = Place({"10.77.0.1": MODERN}, frozenset({"10.77.0.2"}))
SERVER, RESETTING, SILENT = "10.77.0.1", "10.77.0.2", "10.77.0.3"
PHASES = (Phase(0.0, 100.0), Phase(101.0, 200.0), Phase(201.0, 300.0))
LATE = 100.0 - LAST_SECONDS + 1.0


@pytest.mark.parametrize(
    ("address", "times", "is_repeated"),
    [
        (SERVER, [10, 11, 12, 13], False),
        (SERVER, [10, 11, 12, 110, 111, 112], True),
        (SERVER, [LATE - 2, LATE - 1, LATE, 110, 111, 112], False),
        (SERVER, [10, 110, 111, 112], False),
        (SERVER, [110, 111, 112, 210, 211], True),
        (RESETTING, [10], False),
        (RESETTING, [10, 110], True),
        (RESETTING, [LATE, 110], False),
        (SILENT, [10, 15], False),
        (SILENT, [10, 110], False),
        (SILENT, [10, 110, 115], True),
        (SILENT, [10, LATE, 110, 115], False),
        (SILENT, [10, LATE, 110, 115, 210], True),
        (SILENT, [10, 11, 12], True),
    ],
)
def test_repetition_is_needed_only_for_the_last_seconds(address, times, is_repeated):
    arrivals = [Arrival(address, float(at)) for at in times]
    assert bool(repeated_without_need(arrivals, PHASES, PLACE)) is is_repeated


def test_same_seed_gives_the_same_world():
    truth, resetting = _plan(1)
    assert (truth, resetting) == _plan(1)
    assert truth != _plan(2)[0]
    assert len(truth) == 655
    assert 0.19 < len(resetting) / 65_536 < 0.21
    assert not resetting & truth.keys()
    assert {sum(enabled == mix for enabled in truth.values()) for mix, _ in MIXES} == {163, 164}


def test_durations_of_nft():
    assert _parse_duration_s("59m58s120ms") == pytest.approx(3598.12)
    assert _parse_duration_s("1h2ms") == pytest.approx(3600.002)
