"""Hosts as lines: what is written is what was judged, by position, and the summary counts what stands at the end."""

import json
import pickle
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from scanner.judge import judge_run
from scanner.model.evidence import State
from scanner.model.exchange import Ending, EngineReport
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Role, Target
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import TlsVersion
from scanner.policy import read_policy
from scanner.reports.csv import render_csv
from scanner.reports.json import render_json, render_jsonl
from scanner.reports.objects import build_report
from scanner.reports.source import (
    LineSource,
    entry_lines,
    finding_lines,
    has_dispute,
    host_lines,
    outbound_entries,
    source_of,
    worst_entries,
)
from scanner.results import JudgedHost, Results, decode_judged, judge_to_json
from tests.kinds_of_hosts import RUN, records_of_many_kinds
from tests.listener.hellos import client_hello
from tests.outbound.hellos import server_hello_bytes
from tests.outbound.test_arrivals import exchange as seen_by_listener
from tests.reports.outbound_sample import KINDS, OUTBOUND_STATES, build_outbound_result

POLICY = read_policy("entra-drs")
RECORDS = records_of_many_kinds()
RESULT = judge_run(RUN, RECORDS, POLICY)
SWEEP = {"seed": 7, "shard": None, "resumed": True, "addresses": {"total": 9, "done": 9, "listening": 4}}


def _judged(position, record):
    return judge_to_json(RUN, record, POLICY, position=position)


@pytest.fixture
def results():
    with Results(RUN, POLICY) as made:
        yield made


def _filled(results, order=None):
    for position in order or range(len(RECORDS)):
        results.add(_judged(position, RECORDS[position]))
    results.finish(RUN, ())
    return results


def test_the_records_are_of_many_kinds():
    assert {host.readiness for host in RESULT.hosts} == set(Readiness)
    assert {finding.severity for finding in RESULT.findings} >= {Severity.FAILURE, Severity.WARNING}
    assert {verdict.state for host in RESULT.hosts for verdict in host.verdicts} == set(State)


@pytest.mark.parametrize("spool_bytes", [1, 1 << 30])
def test_reports_are_those_of_the_result_in_whatever_order_hosts_came(spool_bytes):
    order = list(range(len(RECORDS)))
    random.Random(3).shuffle(order)
    with Results(RUN, POLICY, spool_bytes=spool_bytes) as results:
        _filled(results, order)
        assert isinstance(results, LineSource)
        plain = source_of(RESULT)
        assert results.run == plain.run
        assert results.summary == plain.summary
        assert list(results.entries()) == list(plain.entries())
        assert list(host_lines(results)) == list(host_lines(plain))
        assert list(entry_lines(results)) == list(entry_lines(plain))
        assert list(finding_lines(results)) == list(finding_lines(plain))
        for count in (3, 1000):
            assert worst_entries(results, count) == worst_entries(plain, count)
        assert has_dispute(results) == has_dispute(plain)
        for render in (render_json, render_jsonl, render_csv):
            assert "".join(render(results)) == "".join(render(plain))
        assert json.loads("".join(render_json(results))) == build_report(RESULT)


def test_reading_and_adding_may_alternate(results):
    for position, record in enumerate(RECORDS):
        results.add(_judged(position, record))
        assert len(list(results.iter_lines())) == position + 1
    assert list(results.entries()) == list(source_of(RESULT).entries())


def test_two_readers_do_not_disturb_each_other(results):
    _filled(results)
    for (one, _), other in zip(results.entries(), results.iter_lines(), strict=True):
        assert one == json.loads(other)


def test_a_host_that_was_done_again_stands_once_as_it_was_last(results):
    stopped = [replace(record, exchanges=record.exchanges[:1], stopped="interrupted") for record in RECORDS]
    for position, record in enumerate(stopped):
        results.add(_judged(position, record))
    assert results.summary == source_of(judge_run(RUN, stopped, POLICY)).summary
    _filled(results)
    _filled(results, [2, 0])
    assert results.summary == source_of(RESULT).summary
    assert list(results.entries()) == list(source_of(RESULT).entries())


def test_positions_may_be_far_apart(results):
    far = [5, 2**40, 7, 2**63]
    for position in reversed(far):
        results.add(_judged(position, RECORDS[far.index(position)]))
    assert list(results.iter_lines()) == [_judged(0, RECORDS[at]).json for at in (0, 2, 1, 3)]


def test_how_the_run_ended_is_taken(results):
    assert not results.summary["no_listener"]
    ended = replace(RUN, finished_at=RUN.started_at + timedelta(hours=1), is_complete=False)
    results.finish(ended, {"REFUSED": 3, "NO_ANSWER": 9}.items(), SWEEP)
    assert results.run["finished_at"] == "2026-11-23T17:07:00+00:00"
    assert not results.is_complete
    assert results.summary["no_listener"] == {"NO_ANSWER": 9, "REFUSED": 3}
    assert results.summary["sweep"] == SWEEP
    assert results.summary["hosts"] == 0


def _facts(result):
    """What the exit code depends on, by design.md section 6: findings that count, anything unknown, anything known."""
    verdicts = [
        verdict
        for host in result.hosts
        for verdicts in (host.verdicts, *(endpoint.verdicts for endpoint in host.endpoints))
        for verdict in verdicts
    ]
    return (
        any(finding.severity is not Severity.INFO for finding in result.findings),
        any(verdict.state is State.UNKNOWN for verdict in verdicts),
        any(verdict.state is not State.UNKNOWN for verdict in verdicts),
    )


@pytest.mark.parametrize("at", range(len(RECORDS)))
def test_the_facts_of_the_exit_code_are_those_of_the_verdicts(results, at):
    record = RECORDS[at]
    if record.target.is_from_range and len(record.endpoints) > 1:
        record = replace(record, target=replace(record.target, is_from_range=False))  # so that every port counts
    results.add(_judged(at, record))
    assert (results.has_findings, results.has_unknown, results.has_known) == _facts(judge_run(RUN, [record], POLICY))


def test_nothing_is_neither_known_nor_unknown(results):
    assert (results.has_findings, results.has_unknown, results.has_known) == (False, False, False)
    assert (list(results.entries()), results.summary["hosts"]) == ([], 0)


def test_a_port_of_a_range_where_nothing_is_leaves_nothing_unknown():
    record = next(record for record in RECORDS if record.target.is_from_range and len(record.endpoints) > 1)
    endings = {exchange.request.endpoint.port: exchange.ending for exchange in record.exchanges}
    assert Ending.REFUSED in endings.values()
    judged = _judged(0, record)
    assert not judged.has_unknown
    assert judged.is_clear
    named = replace(record, target=replace(record.target, is_from_range=False))
    assert _judged(0, named).has_unknown


def test_a_line_of_jsonl_has_the_hosts_own_findings():
    judged = next(host for host in map(_judged, range(len(RECORDS)), RECORDS) if len(host.findings) > 1)
    line = json.loads(judged.jsonl())
    assert line.pop("findings") == [json.loads(text) for _, text in judged.findings]
    assert line == json.loads(judged.json)
    assert "\n" not in judged.jsonl()


@pytest.mark.parametrize("at", range(len(RECORDS)))
def test_what_is_stored_or_sent_comes_back(at):
    judged = _judged(at, RECORDS[at])
    assert decode_judged(at, judged.stored()) == judged
    assert pickle.loads(pickle.dumps(judged)) == judged  # noqa: S301 - our own
    assert judged.has_tls == any(verdict.state is State.ENABLED for verdict in RESULT.hosts[at].verdicts)
    assert judged.is_clear == (
        not judged.has_unknown and not any(verdict.is_disputed for verdict in RESULT.hosts[at].verdicts)
    )


def _judged_outbound(monkeypatch, number):
    """Judge a record whose result is one of the outbound sample's: which one is not what is tested here."""
    result = build_outbound_result()
    host = result.hosts[number]
    own = tuple(finding for finding in result.findings if finding.host == host.target.host)
    monkeypatch.setattr("scanner.results.judge_whatever", lambda *_: (replace(host, endpoints=(), stopped=None), own))
    return _judged(number, replace(RECORDS[0], stopped=None))


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_the_outbound_states_are_kept_apart(monkeypatch, number):
    judged = _judged_outbound(monkeypatch, number)
    assert judged.outbound_states == OUTBOUND_STATES[KINDS[number]]
    assert len(judged.states) == 6
    assert not judged.is_clear, "its bytes are needed to judge it again"
    assert decode_judged(number, judged.stored()) == judged


def test_a_tunnel_leaves_nothing_to_be_learned(monkeypatch):
    facts = {}
    for number, kind in enumerate(KINDS):
        judged = _judged_outbound(monkeypatch, number)
        facts[kind] = (judged.has_unknown, judged.has_known)
    assert facts["tunnel"] == (False, True)
    assert facts["blocked"] == (True, False)
    assert facts["unknown"] == (True, False)
    assert facts["mirror"] == (False, True)
    assert facts["adfs"] == (True, True), "of one of its clients not all is known"


def test_the_summary_counts_the_outbound_side_of_hosts_that_were_asked(results, monkeypatch):
    for number in range(len(KINDS)):
        results.add(_judged_outbound(monkeypatch, number))
    monkeypatch.undo()
    for position, record in enumerate(RECORDS):
        results.add(_judged(100 + position, record))
    summary = results.summary
    assert (summary["hosts"], summary["outbound_hosts"]) == (len(KINDS) + len(RECORDS), len(KINDS))
    for at, counts in enumerate(summary["by_version_outbound"].values()):
        letters = [states[at] for states in OUTBOUND_STATES.values()]
        assert counts == {name: letters.count(name[0]) for name in ("enabled", "disabled", "unknown")}
    asked = outbound_entries(results, 1000)
    assert [host["readiness"] for host, _ in asked] == ["not-ready"] + ["unknown"] * 2 + ["ready"] * 3
    assert outbound_entries(results, 2) == asked[:2]


def test_a_host_that_only_a_listener_saw_is_not_asked_what_it_accepts():
    """It offers TLS 1.2 and 1.3 only, by its list, and takes both up: nothing of its outbound side is left open."""
    hello = client_hello(listed=[0x0304, 0x0303])
    seen = [
        replace(
            seen_by_listener(hello, version=version, completed=True),
            sent=server_hello_bytes(version),
            engine=EngineReport(engine="test", completed=True),
        )
        for version in (TlsVersion.TLS1_3, TlsVersion.TLS1_2)
    ]
    record = HostRecord(
        target=Target(text="h", host="h", role=Role.SERVER, ports=()),
        resolution=Resolution(),
        endpoints=(),
        exchanges=tuple(replace(one, request=replace(one.request, id=at + 1)) for at, one in enumerate(seen)),
    )
    judged = _judged(0, record)
    assert (judged.outbound_states, judged.has_known, judged.has_unknown) == ("ddddee", True, False)
    assert _judged(0, replace(record, exchanges=record.exchanges[:1])).has_unknown, "TLS 1.2 is offered and not tested"
    assert _judged(0, replace(record, exchanges=())).has_unknown, "neither side is known"


def test_a_judgement_stored_before_there_was_an_outbound_side_has_its_members():
    judged = _judged(0, RECORDS[0])
    stored = json.loads(judged.stored())
    for member in ("outbound", "paths", "declared"):
        assert stored["host"].pop(member) == []
    for endpoint in stored["host"]["endpoints"]:
        assert (endpoint.pop("upgrade"), endpoint.pop("destination")) == ("none", None)
    assert decode_judged(0, json.dumps(stored).encode()) == judged


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b'{"host": {}, "findings": [], "facts": [true, false]}'])
def test_what_was_not_stored_so_is_refused(data):
    with pytest.raises((ValueError, KeyError)):
        decode_judged(0, data)


def test_bytes_that_judgement_fails_on_leave_an_unknown_host(monkeypatch, caplog):
    monkeypatch.setattr("scanner.classify.read_answer", lambda _exchange: 1 / 0)
    judged = _judged(0, RECORDS[0])
    assert (judged.stopped, judged.readiness, judged.states) == ("failed", Readiness.UNKNOWN, "uuuuuu")
    assert judged.has_unknown
    assert not judged.has_known
    assert "ZeroDivisionError" in caplog.text


def test_a_name_without_an_address_and_odd_text_are_kept(results):
    target = replace(RECORDS[0].target, host="b.example", text="\ud800 \u2028", role=Role.PROXY, is_from_range=False)
    record = replace(
        RECORDS[0], target=target, resolution=Resolution(error="NXDOMAIN"), endpoints=(), exchanges=(), stopped=None
    )
    results.add(_judged(0, record))
    results.add(_judged(1, RECORDS[1]))
    ((host, findings), _) = results.entries()
    assert (host["target"], host["gaps"][0]["reason"], findings) == ("\ud800 \u2028", "NAME_NOT_RESOLVED", [])


def test_a_disk_that_is_full_now_and_then_spoils_nothing(results, monkeypatch):
    results.add(_judged(0, RECORDS[0]))
    write = results._file.write

    def fail(data):
        write(data[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(results._file, "write", fail)
        with pytest.raises(OSError, match="No space"):
            results.add(_judged(1, RECORDS[1]))
    results.add(_judged(1, RECORDS[1]))
    assert list(results.iter_lines()) == [_judged(at, RECORDS[at]).json for at in (0, 1)]


def test_memory_is_flat(results):
    host = JudgedHost(0, "h", "{}", (), Readiness.READY, "ddddee", False, True, False, None)  # noqa: FBT003
    for position in range(1000):
        results.add(replace(host, position=position))
    arrays = (results._positions, results._ends, results._kind_at)
    assert sum(item.itemsize * len(item) for item in arrays) <= 24 * 1000
    assert len(results._kinds) == 1
