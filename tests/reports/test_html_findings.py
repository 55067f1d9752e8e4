"""Findings are counted by host, by rule and by wording, and stay bounded."""

from __future__ import annotations

from collections import Counter

from scanner.reports import html_findings
from scanner.reports.html_findings import FindingGroups


def finding(rule, *, severity="warning", title="Title", advice="Advice", versions=("TLS1.0",)):
    return {
        "rule": rule,
        "severity": severity,
        "host": "any",
        "title": title,
        "advice": advice,
        "citations": [],
        "versions": list(versions),
        "scopes": [],
    }


def build(hosts):
    groups = FindingGroups()
    for position, findings in enumerate(hosts):
        groups.plan(findings).add(position)
    return groups.build(lambda position: {"name": f"h{position}", "anchor": f"h{position}"})


def test_groups_stand_worst_first_and_then_by_number_of_hosts():
    hosts = [[finding("few")], [finding("many")], [finding("many")], [finding("bad", severity="failure")]]
    assert [(group["rule"], group["host_count"]) for group in build(hosts)] == [("bad", 1), ("many", 2), ("few", 1)]


def test_a_host_with_two_findings_of_a_rule_counts_once():
    two = [finding("ssl", title="SSL 2.0", versions=["SSL2"]), finding("ssl", title="SSL 3.0", versions=["SSL3"])]
    (group,) = build([two, two[:1]])
    assert group["host_count"] == 2
    assert [(item["title"], item["host_count"]) for item in group["wordings"]] == [("SSL 2.0", 2), ("SSL 3.0", 1)]
    assert group["title"] == "SSL 2.0"
    assert group["has_one_title"] is False
    assert group["versions"] == ["SSL 2.0", "SSL 3.0"]


def test_one_rule_in_two_severities_is_two_groups():
    assert [group["severity"] for group in build([[finding("r", severity="info")], [finding("r")]])] == [
        "warning",
        "info",
    ]


def test_hosts_are_listed_in_their_order_and_no_more_than_the_limit():
    count = html_findings.GROUP_LIMIT + 7
    (group,) = build([[finding("r")]] * count)
    (wording,) = group["wordings"]
    assert wording["host_count"] == count
    assert [host["name"] for host in wording["hosts"]] == [f"h{n}" for n in range(html_findings.GROUP_LIMIT)]


def test_wordings_are_bounded_and_the_rest_is_counted(monkeypatch):
    monkeypatch.setattr(html_findings, "WORDING_LIMIT", 100)
    hosts = [[finding("r", advice=f"Mend {number % 130}.")] for number in range(260)]
    (group,) = build(hosts)
    different = len(Counter(item[0]["advice"] for item in hosts))
    assert group["left_out"] == different - html_findings.GROUP_LIMIT
    assert group["host_count"] == 260


def test_no_host_no_group():
    assert build([]) == []
    assert build([[]]) == []
