"""The outbound side in the HTML report: there where it was asked about, and nowhere else; escaped like all the rest."""

from __future__ import annotations

import re
from dataclasses import replace

import html5lib
import pytest

from scanner.reports.html_table import HostTable
from scanner.reports.source import source_of
from tests.reports import sample
from tests.reports.islands import Report
from tests.reports.outbound_sample import KINDS, OUTBOUND_STATES, build_outbound_result
from tests.reports.test_html import XHTML, by_id, parse, render_html, texts


@pytest.fixture(scope="module")
def report():
    return render_html(build_outbound_result(9))


@pytest.fixture(scope="module")
def hostile():
    return render_html(build_outbound_result(3, is_hostile=True))


@pytest.mark.parametrize(("ordinary", "count"), [(0, 1), (0, 6), (3, 6), (600, 20)])
def test_is_well_formed(ordinary, count):
    parse(render_html(build_outbound_result(ordinary, count=count)))


def test_is_well_formed_whatever_the_network_says(hostile):
    parse(hostile)
    assert not set(hostile) & set("\u202e\u202c\u2028\u2029\x00\x07\x1b\ufdd0")


def test_hostile_text_makes_no_element_and_no_attribute(hostile):
    plain = parse(render_html(build_outbound_result(3)))
    kinds = {(element.tag, name) for element in plain.iter() for name in [None, *element.attrib]}
    for element in parse(hostile).iter():
        for name in [None, *element.attrib]:
            assert (element.tag, name) in kinds


def test_noscript_content_is_escaped_too(hostile):
    inner = hostile.split("<noscript>")[1].split("</noscript>")[0]
    fragment = html5lib.HTMLParser(strict=True).parseFragment(inner)
    allowed = {"p", "span", "svg", "use", "table", "thead", "tbody", "tr", "th", "td", "bdi", "wbr", "h3"}
    assert {element.tag.split("}")[-1] for element in fragment.iter() if "}" in str(element.tag)} <= allowed


def test_an_inbound_report_says_nothing_of_it():
    text = render_html(sample.build_result(30))
    page = parse(text)
    assert {"outbound", "side", "side-word"}.isdisjoint({element.get("id") for element in page.iter()})
    shown = texts(next(page.iter(f"{XHTML}main")))
    assert "Outbound" not in shown
    assert "as clients" not in shown
    assert {len(kind) for kind in Report(text).index["kinds"]} == {9}, "its index is what it was"


def test_charts_count_the_hosts_that_were_asked(report):
    section = by_id(parse(report), "outbound")
    assert "6 hosts were asked about the outbound side; the others are not counted here" in texts(section)
    rows = [[texts(cell) for cell in row] for row in section.iter(f"{XHTML}tr")][1:]
    for place, row in enumerate(rows):
        letters = [states[place] for states in OUTBOUND_STATES.values()]
        assert [int(re.match(r"\d+", cell).group()) for cell in row[2:]] == [letters.count(state) for state in "edu"]
    links = [link.get("href") for link in section.iter(f"{XHTML}a")]
    assert "#side=out&v=TLS1.0&state=enabled" in links


def test_the_index_has_both_sides_of_a_host_that_was_asked(report):
    data = Report(report)
    result = build_outbound_result()
    for host, kind in zip(result.hosts, KINDS, strict=True):
        own = data.kind(data.names.index(host.target.host))
        assert own[9] == OUTBOUND_STATES[kind]
        ways = {"tunnel": ["tunnel"], "blocked": ["blocked"], "unknown": ["unknown"], "adfs": []}
        assert own[12] == ways.get(kind, ["re-encrypts"])


def test_a_finding_colours_the_side_it_is_about(report):
    data = Report(report)
    # outbound_sample: the mirroring proxy has a warning and a note about TLS 1.0 outbound, and is disputed there.
    (name,) = [name for name in data.names if name.startswith("proxy-mirror")]
    kind = data.kind(data.names.index(name))
    assert (kind[3], kind[4]) == ("------", 0)
    assert (kind[10], kind[11]) == ("--w---", 1 << 2)


def test_without_javascript_there_is_a_table_of_the_outbound_side(report):
    inner = report.split("<noscript>")[1].split("</noscript>")[0]
    tables = list(html5lib.HTMLParser(strict=True).parseFragment(inner).iter(f"{XHTML}table"))
    assert len(tables) == 2
    rows = [[texts(cell) for cell in row] for row in tables[1].iter(f"{XHTML}tr")][1:]
    assert len(rows) == len(KINDS)
    words = {"e": "enabled", "d": "disabled", "u": "unknown"}
    ways = {
        "tunnel": "Passes through",
        "blocked": "Blocked",
        "unknown": "Not known",
        "adfs": "\N{EN DASH}",
        "mirror": "Re-encrypts",
        "intercepted": "Re-encrypts",
    }
    for row in rows:
        kind = next(kind for kind in KINDS if f"-{kind}" in row[0] or (kind == "adfs" and "sts-out" in row[0]))
        assert row[2] == ways[kind]
        assert [cell.split()[0] for cell in row[3:]] == [words[letter] for letter in OUTBOUND_STATES[kind]]


def test_an_outbound_side_that_taught_something_is_not_nothing():
    result = build_outbound_result(0)
    silent = sample.build_result(2, profile="silent")
    assert "This run learned nothing." in render_html(silent)
    (mirror,) = [host for host in result.hosts if "mirror" in host.target.host]
    inbound_unknown = silent.hosts[0].verdicts
    host = replace(mirror, verdicts=(*inbound_unknown, *mirror.verdicts[6:]))
    only = replace(result, hosts=(host,), findings=())
    assert "This run learned nothing." not in render_html(only)


def test_twenty_proxies_among_five_thousand_hosts_add_little():
    def size(**arguments):
        return len(render_html(build_outbound_result(1_000, **arguments)).encode())

    assert size(count=20) - size(count=0) < 150_000


def test_words_of_a_proxy_are_found_by_the_search():
    table = HostTable()
    for host, findings in source_of(build_outbound_result()).entries():
        table.add(host, findings)
    assert sum("re-encrypts" in kind.words for kind in table.kinds) == 2
