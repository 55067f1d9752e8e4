"""What the report shows is readable, bounded and small, and loses nothing it keeps."""

from __future__ import annotations

import json
import re

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.evidence import Basis, GapReason, State
from scanner.model.outbound import Mirroring, PathKind
from scanner.model.subjects import Role, Upgrade
from scanner.model.verdicts import Readiness, Severity
from scanner.reports import html_data
from tests.reports import sample


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sts.example.com", "sts.example.com"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\u202egnp.exe", "⟨U+202E⟩gnp.exe"),
        ("\u2066isolate\u2069", "⟨U+2066⟩isolate⟨U+2069⟩"),
        ("a\u2028b\u2029c", "a⟨U+2028⟩b⟨U+2029⟩c"),
        ("nul\x00esc\x1b[31m", "nul⟨U+0000⟩esc⟨U+001B⟩[31m"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("Zürich 東京 \U0001f512", "Zürich 東京 \U0001f512"),
    ],
)
def test_what_a_reader_cannot_see_is_spelled_out(text, shown):
    assert html_data.make_readable({"name": text}) == {"name": shown}


def test_a_text_is_bounded_and_says_how_long_it_was():
    shown = html_data.make_readable({"subject": "CN=" + "A" * 5_000})["subject"]
    assert len(shown) < html_data.TEXT_LIMIT + 40
    assert shown.endswith("… (5,003 characters in all)")
    exact = "A" * html_data.TEXT_LIMIT
    assert html_data.make_readable({"subject": exact}) == {"subject": exact}


def test_a_certificate_with_many_names_is_bounded_and_says_so():
    names = [f"n{number}.example.com" for number in range(5_000)]
    shown = html_data.make_readable({"names": names})["names"]
    assert shown == [*names[: html_data.NAMES_LIMIT], f"and {5_000 - html_data.NAMES_LIMIT:,} more"]


def test_times_are_cut_to_the_second_in_utc():
    shown = html_data.make_readable({"seen_at": "2026-11-23T18:07:00.987654+02:00"})
    assert shown == {"seen_at": "2026-11-23T16:07:00Z"}


@given(st.text() | st.sampled_from(sample.HOSTILE_TEXTS))
def test_a_data_island_cannot_end_its_script_element(text):
    clean = html_data.make_readable({"text": text})
    island = html_data.render_data_island(clean)
    assert not re.search(r"[<>&\u2028\u2029]", island)
    assert json.loads(island) == clean

    page = html5lib.HTMLParser(strict=True).parseFragment(f"<script type='application/json'>{island}</script>")
    (script,) = page
    assert json.loads(script.text) == clean


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://learn.microsoft.com/entra", "https://learn.microsoft.com/entra"),
        ("http://learn.microsoft.com/entra", ""),
        ("javascript:alert(1)", ""),
        ("JavaScript:alert(1)", ""),
        ("data:text/html,<script>", ""),
        ("//evil.example/x", ""),
        ("https:", ""),
        ("https://[bad", ""),
        (" https://lead.example", ""),
        ("", ""),
    ],
)
def test_only_https_addresses_become_links(url, link):
    assert html_data.https_or_nothing(url) == link


def test_names_sort_as_people_count():
    names = ["node10", "node9", "10.0.0.10", "10.0.0.9", "Node1", "²"]
    assert sorted(names, key=html_data.natural_key) == ["10.0.0.9", "10.0.0.10", "Node1", "node9", "node10", "²"]


def test_every_member_of_every_vocabulary_has_words():
    assert set(html_data.READINESS_WORDS) == set(Readiness)
    assert set(html_data.SEVERITY_WORDS) == set(Severity)
    assert set(html_data.ROLE_WORDS) == set(Role)
    assert set(html_data.BASIS_WORDS) == set(Basis)
    assert set(html_data.GAP_WORDS) == set(GapReason)
    assert set(html_data.WAY_WORDS) == set(PathKind)
    assert set(html_data.MIRRORING_WORDS) == set(Mirroring)
    assert set(html_data.UPGRADE_WORDS) == set(Upgrade)
    assert len({state.value[0] for state in State}) == len(State), "the index names a state by its first letter"
    assert len({severity.value[0] for severity in Severity}) == len(Severity)
