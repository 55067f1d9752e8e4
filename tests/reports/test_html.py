"""The HTML report as a document: escaped, self-contained, well-formed, readable, the same for the same run."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import html5lib
import jinja2
import pytest

from scanner.reports import html, html_findings
from scanner.reports.source import source_of
from tests.reports import sample

TEMPLATES = Path(html.__file__).resolve().parents[2] / "templates"
XHTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"


def render_html(result):
    return "".join(html.render_html(source_of(result)))


def parse(text):
    """Parse strictly, as the HTML standard's tokenizer does: any parse error raises."""
    return html5lib.HTMLParser(strict=True).parse(text)


def texts(element):
    return re.sub(r"\s+", " ", "".join(element.itertext())).replace("\u00a0", " ").strip()


def by_id(document, name):
    (found,) = [element for element in document.iter() if element.get("id") == name]
    return found


@pytest.fixture(scope="module")
def small():
    return render_html(sample.build_result(15))


@pytest.fixture(scope="module")
def hostile():
    return render_html(sample.build_result(30, is_hostile=True))


@pytest.mark.parametrize("count", [0, 1, 3, 15, 600])
def test_is_well_formed(count):
    parse(render_html(sample.build_result(count)))


def test_is_well_formed_whatever_the_network_says(hostile):
    parse(hostile)


def test_is_the_same_for_the_same_run():
    assert render_html(sample.build_result(40)) == render_html(sample.build_result(40))


def test_hostile_text_makes_no_element_and_no_attribute(hostile):
    """The hostile report has no kind of element or attribute that the harmless one has not."""
    plain = parse(render_html(sample.build_result(30)))
    kinds = {(element.tag, name) for element in plain.iter() for name in [None, *element.attrib]}
    for element in parse(hostile).iter():
        for name in [None, *element.attrib]:
            assert (element.tag, name) in kinds
            assert not str(name).startswith("on")


def test_hostile_text_adds_no_script(hostile):
    scripts = list(parse(hostile).iter(f"{XHTML}script"))
    assert [script.get("type") for script in scripts] == [
        None,
        "application/json",
        None,
        "application/json",
        "text/plain",
    ]
    for script in (scripts[1], *scripts[3:]):
        assert "<" not in script.text


def test_hostile_text_is_shown_and_not_lost(hostile):
    """Escaping, not deleting: what a peer sent is what the reader sees."""
    shown = texts(by_id(parse(hostile), "answer"))
    assert "<script>" in shown
    assert "⟨U+202E⟩" in hostile
    assert not set(hostile) & set("\u202e\u202c\u2028\u2029\x00\x07\x1b\ufdd0")
    hostile.encode("utf-8")


def test_noscript_content_is_escaped_too(hostile):
    """With JavaScript on, a parser reads noscript as raw text: only its own end tag may end it."""
    assert hostile.count("<noscript>") == hostile.count("</noscript>") == 1
    inner = hostile.split("<noscript>")[1].split("</noscript>")[0]
    fragment = html5lib.HTMLParser(strict=True).parseFragment(inner)
    allowed = {"p", "span", "svg", "use", "table", "thead", "tbody", "tr", "th", "td", "bdi", "wbr"}
    assert {element.tag.split("}")[-1] for element in fragment.iter() if "}" in str(element.tag)} <= allowed


def test_the_policy_names_exactly_the_scripts_and_the_style_that_are_there(small):
    document = parse(small)
    (policy,) = [
        meta.get("content")
        for meta in document.iter(f"{XHTML}meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert rules["base-uri"] == ["'none'"]
    assert rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    assert set(rules) == {"default-src", "base-uri", "form-action", "img-src", "style-src", "script-src"}

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    scripts = [item for item in document.iter(f"{XHTML}script") if item.get("type") is None]
    assert rules["script-src"] == [digest(script.text) for script in scripts]
    assert rules["style-src"] == [digest(style.text) for style in document.iter(f"{XHTML}style")]


def test_nothing_outside_is_loaded(small, hostile):
    for text in (small, hostile):
        for element in parse(text).iter():
            for name in ("src", "srcset", "data", "action", "poster", "background", "style", "ping"):
                assert element.get(name) is None, (element.tag, name)
            href = element.get("href")
            if href is None or href.startswith("#"):
                continue
            assert element.tag == f"{XHTML}a"
            assert href.startswith("https://")
            assert set(element.get("rel").split()) == {"noreferrer", "noopener"}
    css = (TEMPLATES / "report.css").read_text()
    assert "url(" not in css.replace("url(#", "")
    assert "@import" not in css
    for name in ("report.js", "theme.js"):
        script = (TEMPLATES / name).read_text()
        for call in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "innerHTML", "outerHTML", "eval(", "write("):
            assert call not in script, (name, call)


@pytest.mark.parametrize(
    ("count", "profile", "answer"),
    [
        (0, None, "No host was seen, so nothing can be said about TLS 1.2."),
        (1, "modern", "The one host scanned is ready for TLS 1.2."),
        (1, "old", "The one host scanned is not ready for TLS 1.2."),
        (1, "silent", "Whether the one host scanned is ready for TLS 1.2 is unknown."),
        (4, "modern", "All 4 hosts are ready for TLS 1.2."),
        (4, "old", "All 4 hosts are not ready for TLS 1.2."),
        (4, "silent", "Whether the 4 hosts are ready for TLS 1.2 is unknown."),
        # The fifteen profiles: two are old; half-known, silent, unresolved, stopped and refused are unknown.
        (15, None, "Of 15 hosts, 8 are ready for TLS 1.2, 2 are not, and 5 are unknown."),
    ],
)
def test_opens_with_the_answer(count, profile, answer):
    document = parse(render_html(sample.build_result(count, profile=profile)))
    (heading,) = document.iter(f"{XHTML}h1")
    assert texts(heading) == answer


def test_one_of_each_is_counted_in_the_singular():
    hosts = tuple(sample.build_result(1, profile=name).hosts[0] for name in ("modern", "old", "silent"))
    text = render_html(replace(sample.build_result(0), hosts=hosts))
    (heading,) = parse(text).iter(f"{XHTML}h1")
    assert texts(heading) == "Of 3 hosts, 1 is ready for TLS 1.2, 1 is not, and 1 is unknown."


def test_names_the_hosts_behind_each_figure(small):
    document = parse(small)
    result = sample.build_result(15)
    for figure in ("not-ready", "unknown", "ready"):
        card = texts(next(e for e in document.iter(f"{XHTML}article") if figure in e.get("class").split()))
        hosts = [host.target.host for host in result.hosts if host.readiness.value == figure]
        named = [name for name in hosts if name in card]
        assert len(named) == min(len(hosts), html.CARD_LIMIT)
        assert f" {len(hosts)} " in card


def test_says_when_the_run_is_not_complete():
    assert "This run is not complete." in texts(
        by_id(parse(render_html(sample.build_result(3, is_complete=False))), "answer")
    )
    assert "not complete" not in render_html(sample.build_result(3)).split("<main")[1].split("</main")[0]


def test_says_when_nothing_was_seen_or_learned():
    assert "This run saw no host." in texts(by_id(parse(render_html(sample.build_result(0))), "answer"))
    silent = texts(by_id(parse(render_html(sample.build_result(5, profile="silent"))), "answer"))
    assert "This run learned nothing." in silent
    assert "learned nothing" not in texts(by_id(parse(render_html(sample.build_result(5))), "answer"))


def test_says_when_hosts_were_stopped():
    assert "2 hosts were not asked everything." in render_html(sample.build_result(2, profile="stopped"))
    assert "1 host was not asked everything." in render_html(sample.build_result(1, profile="stopped"))


def test_tells_of_range_addresses_without_listener():
    text = texts(by_id(parse(render_html(sample.build_result(30))), "answer"))
    assert "1,272 range addresses" in text


def test_charts_have_a_title_a_description_and_a_table(small):
    document = parse(small)
    charts = [svg for svg in document.iter(f"{SVG}svg") if svg.get("role") == "img"]
    assert len(charts) == 7
    ids = {element.get("id") for element in document.iter()}
    for chart in charts:
        assert set(chart.get("aria-labelledby").split()) <= ids
        assert texts(next(chart.iter(f"{SVG}title")))
        assert texts(next(chart.iter(f"{SVG}desc")))
    table = by_id(document, "versions")
    rows = [[texts(cell) for cell in row] for row in table.iter(f"{XHTML}tr")][1:]
    # TLS 1.2, counted by hand in sample.PROFILES: 8 e, 2 d, 5 u.
    (row,) = [row for row in rows if row[0] == "TLS 1.2"]
    assert [re.match(r"\d+", cell).group() for cell in row[2:]] == ["8", "2", "5"]


def test_bar_parts_fill_the_bar():
    for part in html._build_version_bars(
        {v.label: {"enabled": 1, "disabled": 5, "unknown": 1} for v in html.ALL_VERSIONS}
    ):
        widths = [float(item["w"]) for item in part["parts"]]
        assert sum(widths) == pytest.approx(100, abs=0.01)
        assert [float(item["x"]) for item in part["parts"]] == pytest.approx(
            [0, widths[0], widths[0] + widths[1]], abs=0.01
        )


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "\N{EN DASH}"),
        (0, 9, "0 %"),
        (1, 5_000, "<1 %"),
        (4_999, 5_000, ">99 %"),
        (5_000, 5_000, "100 %"),
        (1, 3, "33 %"),
    ],
)
def test_a_share_never_rounds_to_none_or_all(part, whole, shown):
    assert html._percent(part, whole) == shown


def test_findings_are_grouped_by_rule_worst_first(small):
    section = by_id(parse(small), "findings")
    groups = list(section.iter(f"{XHTML}details"))
    severities = [item.get("class").split()[1] for item in groups]
    assert severities == sorted(severities, key=["failure", "warning", "info"].index)
    assert severities[0] == "failure"
    result = sample.build_result(15)
    rules = {finding.rule_id for finding in result.findings}
    assert len(groups) == len(rules)
    for group in groups:
        rule = texts(next(group.iter(f"{XHTML}code")))
        hosts = {finding.host for finding in result.findings if finding.rule_id == rule}
        words = texts(group)
        assert re.search(rf"\b{len(hosts)} hosts?\b", words)
        assert all(host in words for host in hosts)
        assert group.get("open") is None


def test_a_finding_on_many_hosts_says_how_many_are_left_out():
    text = texts(by_id(parse(render_html(sample.build_result(90, profile="old"))), "findings"))
    assert f"and {90 - html_findings.GROUP_LIMIT} more" in text


def test_without_javascript_there_is_a_table_with_every_state_in_words(small):
    inner = small.split("<noscript>")[1].split("</noscript>")[0]
    table = html5lib.HTMLParser(strict=True).parseFragment(inner)
    rows = list(table.iter(f"{XHTML}tr"))[1:]
    expected = {host.target.host: host for host in sample.build_result(15).hosts}
    assert len(rows) == 15
    for row in rows:
        cells = [texts(cell) for cell in row]
        host = expected[cells[0]]
        for cell, verdict in zip(cells[3:9], host.verdicts, strict=True):
            assert cell.startswith(verdict.state.value)
            assert ("disputed" in cell) == verdict.is_disputed


def test_without_javascript_the_table_is_bounded_and_says_so():
    text = render_html(sample.build_result(600))
    inner = text.split("<noscript>")[1].split("</noscript>")[0]
    assert inner.count("<tr") == 501
    assert "500 hosts that need most attention, of 600" in inner


def test_the_server_rendered_page_does_not_grow_with_the_hosts():
    """What a browser must lay out before JavaScript runs is bounded; only the data grows, and it is compact."""

    def head_bytes(text):
        return len(text.split('<script type="application/json"')[0].encode()) - len(
            text.split("<noscript>")[1].split("</noscript>")[0].encode()
        )

    few, many = (render_html(sample.build_result(count)) for count in (600, 1_800))
    assert head_bytes(many) < head_bytes(few) * 1.2
    # 10 MB for 5,000 hosts is 2,000 bytes a host.
    assert (len(many.encode()) - len(few.encode())) / 1_200 < 2_000


def test_an_unknown_name_in_a_template_is_an_error(monkeypatch):
    original = html._read_template
    monkeypatch.setattr(
        html, "_read_template", lambda name: "{{ nothing }}" if name == "_guide.html.j2" else original(name)
    )
    with pytest.raises(jinja2.UndefinedError):
        render_html(sample.build_result(1))


def test_a_missing_template_is_told_plainly():
    with pytest.raises(FileNotFoundError, match=r"absent\.css.*reinstall"):
        html._read_template("absent.css")


# Colours


def _tokens(block):
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", block))


def _themes():
    css = (TEMPLATES / "report.css").read_text()
    light = _tokens(re.search(r"^:root \{(.*?)^\}", css, re.DOTALL | re.MULTILINE).group(1))
    system_dark = _tokens(re.search(r"prefers-color-scheme: dark\) \{(.*?)^\}", css, re.DOTALL | re.MULTILINE).group(1))
    chosen_dark = _tokens(re.search(r'^:root\[data-theme="dark"\] \{(.*?)^\}', css, re.DOTALL | re.MULTILINE).group(1))
    paper = {**light, **_tokens(css.split("@media print")[1])}
    assert system_dark == chosen_dark, "the dark theme must be the same whoever chose it"
    assert set(light) == set(chosen_dark)
    return {"light": light, "dark": chosen_dark, "print": paper}


def _luminance(colour):
    """Relative luminance, WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_formula_gives_the_known_extremes():
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known near miss


TEXT_PAIRS = [
    *((text, ground) for text in ("ink", "soft", "accent") for ground in ("page", "surface", "raised")),
    *((tone, f"{tone}-bg") for tone in ("good", "bad", "warn", "idle", "accent")),
    *((tone, ground) for tone in ("good", "bad", "warn", "idle") for ground in ("surface", "raised")),
    *((text, "idle-bg") for text in ("ink", "soft")),
    ("accent", "warn-bg"),
    ("accent", "bad-bg"),
    ("ink", "accent-bg"),
    ("on-accent", "accent"),
]
SHAPE_PAIRS = [
    *((f"bar-{state}", ground) for state in ("enabled", "disabled", "unknown") for ground in ("surface",)),
    *((f"bar-{state}", "page") for state in ("ready", "not-ready", "unknown")),
    ("edge", "surface"),
    ("focus", "surface"),
    ("focus", "page"),
    ("bar-enabled", "accent-bg"),
]


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_colours_have_the_contrast_that_wcag_aa_asks_for(theme):
    tokens = _themes()[theme]
    low = [
        (text, ground, round(_contrast(tokens[text], tokens[ground]), 2), least)
        for pairs, least in ((TEXT_PAIRS, 4.5), (SHAPE_PAIRS, 3.0))
        for text, ground in pairs
        if _contrast(tokens[text], tokens[ground]) < least
    ]
    assert low == []
