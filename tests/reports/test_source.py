"""A source gives the same objects as the report, host by host, and each finding once with the host it is about."""

import json
from dataclasses import replace

from scanner.model.runs import RunResult
from scanner.model.subjects import Direction, Endpoint
from scanner.model.verdicts import Readiness
from scanner.reports.objects import build_report, render_line
from scanner.reports.source import (
    declared_legs,
    entry_lines,
    finding_lines,
    has_dispute,
    has_outbound,
    host_lines,
    outbound_entries,
    source_of,
    worst_disputes,
    worst_entries,
)
from tests.reports.declared_sample import build_declared_result, disputed_host
from tests.reports.outbound_sample import build_outbound_result
from tests.reports.sample import build_result


def test_it_has_what_the_report_has():
    result = build_result(40)
    report, source = build_report(result), source_of(result)
    assert source.run == report["run"]
    assert source.summary == report["summary"]
    assert [host for host, _ in source.entries()] == report["hosts"]
    assert list(source.entries()) == list(source.entries())


def test_every_finding_comes_once_with_its_host():
    result = build_result(40)
    entries = list(source_of(result).entries())
    assert result.findings
    assert sorted(repr(finding) for _, findings in entries for finding in findings) == sorted(
        repr(finding) for finding in build_report(result)["findings"]
    )
    for host, findings in entries:
        assert {finding["host"] for finding in findings} <= {host["name"]}


def _with_port(host, port):
    endpoint = Endpoint(host=host.target.host, address="192.0.2.1", port=port, server_name=None)
    return replace(host, endpoints=(replace(host.endpoints[0], endpoint=endpoint),))


def test_a_name_that_is_there_twice_shares_its_findings_by_scope():
    result: RunResult = build_result(40)
    host = next(host for host in result.hosts if host.endpoints and not host.gaps)
    finding = replace(result.findings[0], host=host.target.host)
    findings = (
        replace(finding, rule_id="second", scopes=("tcp://192.0.2.1:8443",)),
        replace(finding, rule_id="first", scopes=("tcp://192.0.2.1:443",)),
        replace(finding, rule_id="whole", scopes=()),
    )
    source = source_of(replace(result, hosts=(_with_port(host, 443), _with_port(host, 8443)), findings=findings))
    assert [[finding["rule"] for finding in own] for _, own in source.entries()] == [["first", "whole"], ["second"]]


def test_lines_are_the_objects_of_the_report():
    result = build_result(40, is_hostile=True)
    report, source = build_report(result), source_of(result)
    assert list(host_lines(source)) == [render_line(host) for host in report["hosts"]]
    assert [host for host, _ in entry_lines(source)] == [render_line(host) for host in report["hosts"]]
    assert sorted(line for _, own in entry_lines(source) for line in own) == sorted(finding_lines(source))
    severities = [json.loads(line)["severity"] for line in finding_lines(source)]
    assert severities == [finding["severity"] for finding in report["findings"]]
    assert len(set(severities)) > 1


def test_the_worst_are_those_not_ready_then_the_unknown_each_in_order():
    result = build_result(40)
    wanted = [
        host.target.host
        for readiness in (Readiness.NOT_READY, Readiness.UNKNOWN, Readiness.READY)
        for host in result.hosts
        if host.readiness is readiness
    ]
    assert [host["name"] for host, _ in worst_entries(source_of(result), 1000)] == wanted
    assert [host["name"] for host, _ in worst_entries(source_of(result), 7)] == wanted[:7]


def test_a_dispute_is_told():
    assert has_dispute(source_of(build_result(1, profile="disputed")))
    assert not has_dispute(source_of(build_result(1, profile="modern")))


def test_the_hosts_that_were_asked_come_alone_and_the_worst_first():
    source = source_of(build_outbound_result(40))
    entries = outbound_entries(source, 1000)
    # outbound_sample: one proxy is not ready, two are unknown, three hosts are ready.
    assert [host["readiness"] for host, _ in entries] == ["not-ready"] + ["unknown"] * 2 + ["ready"] * 3
    assert all(host["outbound"] for host, _ in entries)
    assert outbound_entries(source, 2) == entries[:2]
    assert outbound_entries(source_of(build_result(40)), 1000) == []


def test_a_finding_about_a_client_goes_to_the_host_that_has_it():
    result = build_outbound_result()
    adfs = result.hosts[3]
    twin = replace(adfs, outbound=())
    finding = next(each for each in result.findings if each.host == adfs.target.host)
    assert finding.scopes == ("winhttp from 10.200.0.3",)
    source = source_of(replace(result, hosts=(twin, adfs), findings=(finding,)))
    assert [len(own) for _, own in source.entries()] == [0, 1]


def test_a_host_whose_outbound_side_only_a_file_tells_of_is_among_those_that_were_asked():
    source = source_of(build_declared_result())
    assert {host["name"] for host, _ in outbound_entries(source, 9)} == {"sts.example.com", "proxy9.example.com"}
    hosts = {host["name"]: host for host, _ in source.entries()}
    assert [has_outbound(host) for host in hosts.values()] == [True, True, False]
    legs = declared_legs(hosts["sts.example.com"], Direction.OUTBOUND)
    assert [(file["file"], leg["name"]) for file, leg in legs] == [("nginx.conf", "proxy_pass at nginx.conf:20")]


def test_hosts_with_a_dispute_are_found_and_counted_and_others_are_not_read():
    assert worst_disputes(source_of(build_result(30)), 5) == ([], 0)
    source = source_of(build_declared_result(*(disputed_host(f"s{number}.example") for number in range(30))))
    hosts, count = worst_disputes(source, 5)
    assert ([host["name"] for host in hosts], count) == ([f"s{number}.example" for number in range(5)], 30)
