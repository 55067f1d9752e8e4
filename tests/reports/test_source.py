"""A source gives the same objects as the report, host by host, and each finding once with the host it is about."""

from dataclasses import replace

from scanner.model.runs import RunResult
from scanner.model.subjects import Endpoint
from scanner.reports.json import build_report
from scanner.reports.source import source_of
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
