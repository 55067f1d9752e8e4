"""The columns of the table: order, kinds, anchors, memory, and whose details are kept."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections import Counter
from ipaddress import ip_address

import pytest

from scanner.reports import html_table
from scanner.reports.html import render_html
from scanner.reports.html_table import HostTable, maybe_network
from scanner.reports.source import source_of
from tests.reports import sample
from tests.reports.islands import Report

READINESS = ["not-ready", "unknown", "ready"]


def collect(source):
    table = HostTable()
    for host, findings in source.entries():
        table.add(host, findings)
    table.finish()
    return table


def report_of(source):
    return Report("".join(render_html(source)))


def test_hosts_stand_in_the_order_of_their_names():
    report = report_of(sample.RangeSource(900))
    addresses = sorted(ip_address(sample.address_of(number)) for number in range(900))
    assert report.names == list(map(str, addresses))


def test_the_worst_come_first_and_equals_by_name():
    source = source_of(sample.build_result(60))
    table = collect(source)
    by_name = {host["name"]: (host, findings) for host, findings in source.entries()}
    names = [table.name(position) for position in table.worst_first()]
    assert sorted(names) == sorted(by_name)
    keys = []
    for name in names:
        host, findings = by_name[name]
        severities = Counter(finding["severity"] for finding in findings)
        keys.append(
            (READINESS.index(host["readiness"]), *(-severities[item] for item in ("failure", "warning", "info")))
        )
    assert keys == sorted(keys)


def test_the_index_says_of_each_host_what_the_sample_was_told_to_say():
    result = sample.build_result(len(sample.PROFILES))
    report = report_of(source_of(result))
    for host, (states, _) in zip(result.hosts, sample.PROFILES.values(), strict=True):
        kind = report.kind(report.names.index(host.target.host))
        assert kind[2] == states
        assert report.index["readiness"][kind[1]][0] == host.readiness.value
        assert [report.index["tags"][tag] for tag in kind[6]] == list(host.target.tags)
    disputed = result.hosts[list(sample.PROFILES).index("disputed")].target.host
    mask = report.kind(report.names.index(disputed))[4]
    assert mask == 1 << 2 | 1 << 4, "TLS 1.0 and TLS 1.2 are the third and fifth version"


def test_a_cell_has_the_tone_of_the_worst_finding_about_it():
    table = collect(source_of(sample.build_result(1, profile="very-old")))
    cells = table.render_row(0)["cells"]
    assert [cell["severity"] for cell in cells] == ["", "warning", "warning", "", "failure", ""]


def test_hosts_of_one_name_have_anchors_of_their_own():
    result = sample.build_result(2)
    twice = dataclasses.replace(result, hosts=(*result.hosts, result.hosts[0], result.hosts[0]))
    table = collect(source_of(twice))
    anchors = [table.render_host(position)["anchor"] for position in range(4)]
    name = result.hosts[0].target.host
    assert anchors == [name, result.hosts[1].target.host, f"{name}~2", f"{name}~3"]


def test_a_long_range_costs_little_memory():
    def peak(count):
        tracemalloc.start()
        for _ in render_html(sample.RangeSource(count)):
            pass
        (_, most) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(1_000), peak(4_000)
    assert (many - few) / 3_000 < 1_500


def test_a_long_range_makes_a_small_file():
    """40 MB for 100,000 hosts are 400 bytes a host."""
    few, many = (sum(map(len, render_html(sample.RangeSource(count)))) for count in (1_000, 4_000))
    assert (many - few) / 3_000 < 400


def test_the_source_is_read_once():
    source = sample.RangeSource(30)
    reads = []
    original = source.entries
    source.entries = lambda: reads.append(1) or original()
    assert "".join(render_html(source))
    assert reads == [1]


@pytest.mark.parametrize(("limit", "has_own_forms"), [("FORM_BYTES", True), ("DETAIL_BYTES", False)])
def test_where_there_is_too_much_the_worst_hosts_keep_their_details(monkeypatch, limit, has_own_forms):
    monkeypatch.setattr(html_table, limit, 60_000)
    source = sample.RangeSource(800, has_own_forms=has_own_forms)
    text = "".join(render_html(source))
    report = Report(text)
    kept = [report.index["readiness"][report.kind(place)[1]][0] for place in range(800) if report.has_detail(place)]
    left = [report.index["readiness"][report.kind(place)[1]][0] for place in range(800) if not report.has_detail(place)]
    assert kept
    assert left
    assert max(map(READINESS.index, kept)) <= min(map(READINESS.index, left))
    assert f"the details of the {len(kept)} hosts that need most attention" in text
    assert f"entra-tls report {sample.RUN_ID} --db FILE --json FILE" in text
    known = {host["name"]: host for host, _ in source.entries()}
    for place, name in enumerate(report.names):
        if report.has_detail(place):
            assert report.host(place)["host"]["verdicts"][4]["state"] == known[name]["verdicts"][4]["state"]


def test_where_all_details_are_kept_nothing_is_said_of_it():
    text = "".join(render_html(sample.RangeSource(800)))
    assert "hosts that need most attention;" not in text


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:0:1:2::7", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("sts.example.com", None),
        ("1.2.3", None),
        ("x:y", None),
        ("", None),
        ("¹.2.3.4", None),
    ],
)
def test_an_address_has_a_network(text, network):
    assert maybe_network(text) == network
