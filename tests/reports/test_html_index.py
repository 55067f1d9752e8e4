"""Many hosts in few lines: by network and by answer, counted anew from the source."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from ipaddress import ip_network

import html5lib
import pytest

from scanner.reports import html_index
from scanner.reports.html import render_html
from scanner.reports.html_index import GROUPED_FROM, build_alike, maybe_networks
from scanner.reports.source import source_of
from tests.reports import sample
from tests.reports.islands import Report
from tests.reports.test_html_table import READINESS, collect

COUNT = 2_600


@pytest.fixture(scope="module")
def swept():
    return "".join(render_html(sample.RangeSource(COUNT)))


@pytest.fixture(scope="module")
def counted():
    networks = defaultdict(Counter)
    answers = Counter()
    for host, _ in sample.RangeSource(COUNT).entries():
        networks[str(ip_network(f"{host['name']}/24", strict=False))][host["readiness"]] += 1
        answers[host["readiness"], "".join(verdict["state"][0] for verdict in host["verdicts"])] += 1
    return networks, answers


def test_a_report_of_many_hosts_is_well_formed(swept):
    html5lib.HTMLParser(strict=True).parse(swept)


def test_networks_have_their_counts_and_stand_worst_first(swept, counted):
    networks, _ = counted
    rows = Report(swept).index["nets"]
    assert {name: counts for name, *counts in rows} == {
        name: [counts[readiness] for readiness in READINESS] for name, counts in networks.items()
    }
    order = [(-not_ready, -unknown) for _, not_ready, unknown, _ in rows]
    assert order == sorted(order)
    section = swept.split('<section id="networks"')[1].split("</section>")[0]
    assert re.findall(r'href="#net=([^"]+)"', section) == [
        name.replace("/", "%2F") for name, *_ in rows[: html_index.SHOWN_NETWORKS]
    ]
    assert f"{html_index.SHOWN_NETWORKS} of {len(networks)} networks shown." in section


def test_each_host_is_in_its_network(swept):
    report = Report(swept)
    for name, number in zip(report.names, report.index["net"], strict=True):
        assert ip_network(f"{name}/24", strict=False) == ip_network(report.index["nets"][number][0])


def test_answers_have_their_counts(swept, counted):
    _, answers = counted
    section = swept.split('<section id="alike"')[1].split("</section>")[0]
    shown = {
        (readiness, states): int(count.replace(",", ""))
        for readiness, states, count in re.findall(r'href="#ready=([^&]+)&amp;like=(\w+)">([\d,]+) hosts?<', section)
    }
    assert shown == dict(answers)
    order = [READINESS.index(readiness) for readiness, _ in shown]
    assert order == sorted(order)


def test_rare_answers_are_left_out_and_counted():
    table = collect(source_of(sample.build_result(600)))
    different = {(kind.readiness, kind.states) for kind in table.kinds}
    shown, left_out = build_alike(table)
    assert len(shown) + left_out == len(different)
    assert len(shown) == min(len(different), html_index.SHOWN_ANSWERS)


def test_few_hosts_are_not_grouped():
    text = "".join(render_html(sample.RangeSource(GROUPED_FROM - 1)))
    assert 'id="networks"' not in text
    assert 'id="alike"' not in text


def _spread(addresses):
    result = sample.build_result(len(addresses), profile="modern")
    hosts = tuple(
        dataclasses.replace(host, target=dataclasses.replace(host.target, host=address), endpoints=())
        for host, address in zip(result.hosts, addresses, strict=True)
    )
    return collect(source_of(dataclasses.replace(result, hosts=hosts)))


def test_networks_with_few_hosts_each_are_taken_together():
    table = _spread([f"10.{number % 3}.{number // 3}.9" for number in range(600)])
    assert [name for name, *_ in maybe_networks(table).rows] == ["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"]


def test_version_6_addresses_are_grouped_too():
    table = _spread([f"2001:db8:0:{number % 4:x}::{number:x}" for number in range(600)])
    networks = maybe_networks(table)
    assert {name for name, *_ in networks.rows} == {
        "2001:db8::/64",
        "2001:db8:0:1::/64",
        "2001:db8:0:2::/64",
        "2001:db8:0:3::/64",
    }
    assert [sum(counts) for _, *counts in networks.rows] == [150] * 4


def test_hosts_that_are_far_apart_or_all_together_are_not_grouped_by_network():
    assert maybe_networks(_spread([f"{1 + number % 200}.{number // 200}.7.9" for number in range(600)])) is None
    assert maybe_networks(_spread([f"10.0.0.{number % 200}" for number in range(600)])) is None
