"""What files declare, in the HTML report: the leading section, bounds, the outbound column; escaped like the rest."""

from dataclasses import replace

import html5lib
import pytest

from scanner.reports.html_declared import (
    DISPUTE_LIMIT,
    EVIDENCE_LIMIT,
    LEGS_LIMIT,
    PLACES_LIMIT,
    DisputeList,
    bound_declared,
)
from scanner.reports.objects import build_host
from scanner.reports.source import source_of
from tests.declaring import declare, make_leg
from tests.reports import sample
from tests.reports.declared_sample import (
    HOSTILE,
    LEGACY,
    MODERN,
    build_declared_result,
    disputed_host,
    file_only_host,
    known_by_files,
    scanned,
)
from tests.reports.islands import Report
from tests.reports.test_html import XHTML, by_id, parse, render_html, texts


@pytest.fixture(scope="module")
def report():
    return render_html(build_declared_result())


def ids(page):
    return [element.get("id") for element in page.iter() if element.get("id")]


def test_the_disputes_stand_between_the_answer_and_the_versions(report):
    order = [name for name in ids(parse(report)) if name in {"answer", "disputes", "versions", "findings"}]
    assert order == ["answer", "disputes", "versions", "findings"]


def test_each_has_what_the_file_says_and_what_was_seen(report):
    section = by_id(parse(report), "disputes")
    words = texts(section)
    assert "nginx.conf turns TLS 1.0 and TLS 1.1 off, but the host accepts them." in words
    assert "A restart is pending" in words
    rows = [[texts(cell) for cell in row] for row in section.iter(f"{XHTML}tr")][1:]
    assert [row[0] for row in rows] == ["TLS 1.0", "TLS 1.1"]
    assert rows[0][1].startswith("disabled")
    assert "nginx.conf:12" in rows[0][1]
    assert rows[0][2].startswith("enabled")
    assert "hello exchange" in rows[0][2]
    assert [link.get("href") for link in section.iter(f"{XHTML}a")] == ["#host=sts.example.com"]


@pytest.mark.parametrize(
    "result",
    [sample.build_result(30), build_declared_result(file_only_host(), scanned("b.example", MODERN))],
    ids=["no files", "files that agree"],
)
def test_without_a_dispute_there_is_no_such_section(result):
    page = parse(render_html(result))
    assert "disputes" not in ids(page)
    assert "#disputes" not in {link.get("href") for link in page.iter(f"{XHTML}a")}


def test_the_text_of_files_makes_no_element_and_no_attribute():
    kinds = {
        (each.tag, name) for each in parse(render_html(build_declared_result())).iter() for name in [None, *each.attrib]
    }
    hostile = render_html(build_declared_result(disputed_host(file=HOSTILE, leg=HOSTILE), file_only_host()))
    assert HOSTILE not in hostile
    for element in parse(hostile).iter():
        for name in [None, *element.attrib]:
            assert (element.tag, name) in kinds
    inner = hostile.split("<noscript>")[1].split("</noscript>")[0]
    html5lib.HTMLParser(strict=True).parseFragment(inner)


def test_a_host_that_only_files_tell_of_has_its_outbound_column(report):
    data = Report(report)
    kind = data.kind(data.names.index("proxy9.example.com"))
    assert (kind[2], kind[9]) == ("ddddee", "ddduee")
    assert len(data.kind(data.names.index("fs3.example.com"))) == 9
    assert "or have a file that declares it" in texts(by_id(parse(report), "outbound"))


def test_the_details_have_the_file_as_the_json_report_has_it(report):
    data = Report(report)
    own = data.host(data.names.index("sts.example.com"))["host"]["declared"][0]
    host = build_host(build_declared_result().hosts[0])["declared"][0]
    assert own["legs"] == host["legs"]
    assert own["lines"] == {"supported": 14, "irrelevant": 112, "conditional": 1, "unimplemented": 0, "unrecognised": 1}
    assert [check["id"] for check in own["checks"]] == ["restart-pending"]


def test_a_file_of_thousands_of_legs_is_bounded_and_counted():
    legs = [make_leg("ddddee", f"s{n}", listens=((None, n + 1),)) for n in range(LEGS_LIMIT + 3)]
    (host,) = build_declared_result(known_by_files("h.example", declare(*legs))).hosts
    bounded = bound_declared(build_host(host))
    assert (len(bounded["declared"][0]["legs"]), bounded["declared"][0]["left_out"]) == (LEGS_LIMIT, 3)
    assert {len(verdict["evidence"]) for verdict in bounded["verdicts"]} == {EVIDENCE_LIMIT}
    assert {verdict["left_out"] for verdict in bounded["verdicts"]} == {LEGS_LIMIT + 3 - EVIDENCE_LIMIT}


def test_a_host_without_files_is_left_as_it_is():
    host = build_host(sample.build_result(1).hosts[0])
    assert bound_declared(host) is host


def test_fifty_hosts_lead_the_worst_first_and_the_others_are_counted():
    (judged,) = build_declared_result(disputed_host()).hosts
    host = build_host(judged)
    disputes = DisputeList()
    for position in range(5 * DISPUTE_LIMIT):
        disputes.add(position, (position % 3,), host)
    built = disputes.build()
    assert disputes.host_count == 5 * DISPUTE_LIMIT
    assert [position for position, _ in built] == [3 * number for number in range(DISPUTE_LIMIT)]


def test_more_hosts_than_are_shown_are_told():
    records = [disputed_host(f"s{number}.example.com") for number in range(DISPUTE_LIMIT + 2)]
    section = by_id(parse(render_html(build_declared_result(*records))), "disputes")
    assert len(list(section.iter(f"{XHTML}article"))) == DISPUTE_LIMIT
    assert "2 more hosts." in texts(section)


def test_a_hosts_further_places_are_counted():
    record = scanned("h.example", LEGACY, declare(make_leg("ddddee")))
    (judged,) = build_declared_result(record).hosts
    ends = [
        replace(judged.endpoints[0], endpoint=replace(judged.endpoints[0].endpoint, address=f"192.0.2.{n}"))
        for n in range(1, PLACES_LIMIT + 3)
    ]
    disputes = DisputeList()
    disputes.add(0, (0,), build_host(replace(judged, endpoints=tuple(ends))))
    ((_, found),) = disputes.build()
    assert (len(found["places"]), found["left_out"]) == (PLACES_LIMIT, 2)


def test_a_source_is_read_once_with_files_too():
    source = source_of(build_declared_result())
    assert len(list(source.entries())) == 3
