"""Taking hosts apart into forms and values loses nothing, whatever their names and texts are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.reports import html_forms
from scanner.reports.html import render_html
from scanner.reports.html_data import https_or_nothing, make_readable
from scanner.reports.source import source_of
from tests.reports import sample
from tests.reports.islands import Report
from tests.reports.outbound_sample import build_outbound_result


class Listed:
    """A source of the entries given."""

    def __init__(self, entries, like=None):
        result = sample.build_result(1)
        like = like or source_of(result)
        self.run, self.summary = like.run, like.summary
        self._entries = entries

    def entries(self):
        return iter(self._entries)


def render(source):
    return "".join(render_html(source))


def expected(host, findings):
    readable = make_readable({"host": host, "findings": findings})
    for finding in readable["findings"]:
        for citation in finding["citations"]:
            citation["url"] = https_or_nothing(citation["url"])
    host = readable["host"]
    lists = [endpoint["certificates"] for endpoint in host["endpoints"]]
    lists += [path[member] for path in host["paths"] for member in ("certificates", "direct_certificates")]
    for certificates in lists:
        for certificate in certificates:
            for member in ("not_before", "not_after"):
                assert certificate[member][19:] == "+00:00"
                certificate[member] = f"{certificate[member][:19]}Z"
    return readable


def canonical(value):
    return json.dumps(value, sort_keys=True)


def assert_nothing_is_lost(source):
    report = Report(render(source))
    kept = sorted(canonical(report.host(place)) for place in range(len(report.names)))
    assert kept == sorted(canonical(expected(host, findings)) for host, findings in source.entries())
    return report


@pytest.mark.parametrize(
    "source",
    [
        source_of(sample.build_result(60)),
        source_of(sample.build_result(40, is_hostile=True)),
        source_of(build_outbound_result(3, count=12)),
        source_of(build_outbound_result(0, is_hostile=True)),
        sample.RangeSource(300),
        sample.RangeSource(120, has_own_forms=True),
    ],
    ids=["named", "hostile", "outbound", "hostile outbound", "range", "own texts"],
)
def test_a_report_gives_back_every_host(source):
    assert_nothing_is_lost(source)


def test_hosts_that_answered_alike_share_a_form():
    report = assert_nothing_is_lost(sample.RangeSource(2_000))
    assert len(set(report.detail["form"])) == len({sample.make_of(number) for number in range(2_000)})


def _entry(name, reason, addresses=()):
    """Return a small host whose texts hold its name in all places where it may be, and the same in a finding."""
    ((host, findings),) = source_of(sample.build_result(1, profile="old")).entries()
    host = {**host, "name": name, "readiness_reason": reason, "addresses": [*addresses], "target": f"{name}:443"}
    host["endpoints"] = [
        {**endpoint, "server_name": reason, "locator": f"tcp://{name}:443"} for endpoint in host["endpoints"]
    ]
    return host, [{**finding, "host": name, "scopes": [f"tcp://{name}:443"]} for finding in findings]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("n1.example", "a line\nn1.example and \\n1.example and \\\\n1.example"),
        ("0a.b", "\x00a.b \x10a.b \u00e0a.b"),
        ("0010.0.0.1", "\x0010.0.0.1 and \x10.0.0.1"),
        ("u0041.x", "\x00u0041.x \\u0041.x"),
        ("10.0.0.1", "10.0.0.1 10.0.0.12 110.0.0.1"),
        ("a:", "a: b: c:"),
        ('quo"ted.example', 'quo"ted.example'),
        ("back\\slash.example", "back\\slash.example"),
        (", .:", ", .: , .:"),
        ("true.", "true. null"),
        ("name", "the name of the name"),
        ("\ue000.example", "\ue000 \ue005 private"),
        ("x.example", "\ue005"),
        ("x.example", "\x01 \x02 \x06 x.example"),
        ("\u202ex.example", "\u202ex.example"),
        ("x.example", "x.example " * 200),
        ("a" * 300 + ".example", "a" * 300 + ".example"),
        ("", ""),
        ("\ud800.example", "lone \ud800"),
        ("2001:db8::1", "tcp://[2001:db8::1]:443"),
    ],
)
def test_names_and_texts_that_look_like_slots_or_escapes(name, reason):
    # Another host before it, so that forms are shared where that is right.
    other = _entry("other.example", reason.replace(name, "other.example") if name else reason)
    assert_nothing_is_lost(Listed([other, _entry(name, reason), _entry(name, reason)]))


TEXTS = st.text(st.sampled_from('n1.ab:\\"\n\x00\x01\x06\u2028\ue000\ue005, {}[]ué'), max_size=30)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS.filter(bool), max_size=6)), min_size=1, max_size=3))
def test_nothing_is_lost_whatever_the_texts_are(hosts):
    assert_nothing_is_lost(Listed([_entry(name, f"{name}{reason}", addresses) for name, reason, addresses in hosts]))


def test_other_addresses_have_slots_of_their_own():
    entries = [
        _entry(f"sts{number}.example", "ready", [f"192.0.2.{number}", f"2001:db8::{number}", f"198.51.100.{number}"])
        for number in range(1, 6)
    ]
    for host, _ in entries:
        host["endpoints"] = [
            {**endpoint, "address": address, "locator": f"tcp://{address}:443"}
            for endpoint in host["endpoints"]
            for address in host["addresses"]
        ]
    report = assert_nothing_is_lost(Listed(entries))
    assert len(set(report.detail["form"])) == 1


def test_an_answer_that_names_the_host_in_its_advice_is_not_shared():
    entries = []
    for number in (1, 2):
        host, findings = _entry(f"sts{number}.example", "not ready")
        entries.append((host, [{**finding, "advice": f"Mend {host['name']}."} for finding in findings]))
    text = render(Listed(entries))
    report = assert_nothing_is_lost(Listed(entries))
    assert len(set(report.detail["form"])) == 2
    for number in (1, 2):
        assert f'<p class="advice-text">Mend sts{number}.example.</p>' in text


def test_a_time_that_is_none_is_shown_as_it_is():
    host, findings = _entry("x.example", "ready")
    host["verdicts"] = [{**verdict, "looked_at": "yesterday"} for verdict in host["verdicts"]]
    assert_nothing_is_lost(Listed([(host, findings)]))


def test_times_keep_their_second_whatever_their_zone():
    host, findings = _entry("x.example", "ready")
    host["verdicts"] = [
        {**verdict, "looked_at": text}
        for verdict, text in zip(
            host["verdicts"],
            ["2026-11-23T18:07:00.987654+02:00", "2026-11-23T16:07:01+00:00", "2026-11-23T16:07:00Z"] * 2,
            strict=True,
        )
    ]
    report = assert_nothing_is_lost(Listed([(host, findings)]))
    seen = [verdict["looked_at"] for verdict in report.host(0)["host"]["verdicts"]]
    assert seen == ["2026-11-23T16:07:00Z", "2026-11-23T16:07:01Z", "2026-11-23T16:07:00Z"] * 2


def test_equal_certificates_stand_once():
    report = assert_nothing_is_lost(sample.RangeSource(600))
    shared = {
        number
        for place, number in enumerate(report.detail["certificate"])
        if number >= 0 and report.host(place)["host"]["endpoints"][0]["certificates"][0]["subject"] == "CN=appliance"
    }
    makes = {sample.make_of(number) for number in range(600)}
    with_shared = [
        number
        for number, (profile, has_own) in enumerate(sample.MAKES.values())
        if not has_own and "e" in sample.PROFILES[profile][0]
    ]
    assert len(shared) == len(makes & set(with_shared))


def test_texts_come_back_from_the_pack():
    pack = html_forms.TextPack()
    texts = ["short", "long " * 400, "longer " * 9_000, "lone \ud800 " * 100, ""]
    for text in texts:
        pack.append(text)
    assert [pack.read(number) for number in range(len(pack))] == texts


def test_many_different_remainders_of_certificates_are_not_numbered_for_ever(monkeypatch):
    monkeypatch.setattr(html_forms, "REST_LIMIT", 2)
    report = assert_nothing_is_lost(source_of(sample.build_result(40)))
    assert len(report.detail["rests"]) == 2
