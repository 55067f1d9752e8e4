"""What files declare, in a real browser: the leading section, a host's files, nothing that runs."""

from __future__ import annotations

from importlib import resources

import pytest

from scanner.reports.html import render_html
from scanner.reports.source import source_of
from tests.reports.browser import show
from tests.reports.declared_sample import HOSTILE, build_declared_result, disputed_host, file_only_host
from tests.reports.test_html_browser import console, find, run, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("declared") / "report.html"
    path.write_text("".join(render_html(source_of(build_declared_result()))), encoding="utf-8")
    return path


def open_host(browser, path, name, **more):
    show(browser, path, fragment=f"#host={name}", **more)
    wait_until(browser, "return document.getElementById('panel').open")
    run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
    return find(browser, "#panel").text


def test_a_file_shows_its_legs_answers_and_lines(browser, path):
    console(browser)
    text = open_host(browser, path, "sts.example.com")
    for words in (
        "What its configuration says",
        "server sts.example.com at nginx.conf:12",
        "proxy_pass at nginx.conf:20",
        "nginx.conf:12 · configuration",
        "a restart is pending",
        "112 irrelevant",
        "2 lines to look at",
        "brotli_static",
    ):
        assert words in text
    assert text.count("a restart is pending") == 1, "it stands with the file, not with what the host is too"
    assert console(browser) == []


def test_a_version_that_was_measured_otherwise_is_marked(browser, path):
    open_host(browser, path, "sts.example.com")
    marked = run(
        browser,
        "return [...document.querySelectorAll('#panel .leg tr')].filter((e) => e.querySelector('.disputed'))"
        ".map((e) => e.querySelector('th').textContent)",
    )
    assert marked == ["TLS 1.0", "TLS 1.1"]


def test_a_host_known_by_files_alone_says_so(browser, path):
    text = open_host(browser, path, "proxy9.example.com")
    assert "No endpoint was contacted; this is what its configuration says." in text
    assert "Outbound: what it uses as a client" in text
    assert "conf.d/*.conf was not supplied" in text
    assert "It does not show what openssl.cnf adds." in text


def test_a_host_without_files_has_no_such_block(browser, path):
    assert "What its configuration says" not in open_host(browser, path, "fs3.example.com")


def test_the_text_of_a_file_does_not_run(browser, tmp_path):
    hostile = tmp_path / "hostile.html"
    result = build_declared_result(disputed_host(file=HOSTILE, leg=HOSTILE), file_only_host())
    hostile.write_text("".join(render_html(source_of(result))), encoding="utf-8")
    text = open_host(browser, hostile, "sts.example.com")
    assert HOSTILE in text
    assert browser.title.startswith("TLS 1.2 readiness")
    assert run(browser, "return document.querySelectorAll('script').length") == 5


@pytest.mark.parametrize("width", [1400, 400, 320])
@pytest.mark.parametrize("fragment", ["", "#host=sts.example.com", "#host=proxy9.example.com"])
def test_nothing_has_to_be_scrolled_sideways(browser, path, width, fragment):
    show(browser, path, width=width, fragment=fragment)
    run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
    assert run(browser, "return document.documentElement.scrollWidth <= innerWidth")
    assert run(browser, "const p = document.getElementById('panel'); return p.scrollWidth <= p.clientWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("fragment", ["", "#host=sts.example.com", "#host=proxy9.example.com"])
def test_axe_finds_no_accessibility_problem(browser, path, theme, width, fragment):
    """axe-core by Deque: WCAG 2.2 A and AA and its best practices."""
    show(browser, path, width=width, theme=theme, fragment=fragment)
    run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
    run(browser, (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
        "(r) => done(r.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.target.join(' '))])))"
    )
    assert found == []
