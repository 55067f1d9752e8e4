"""Both directions in a real browser: the table's switch, a host's two sides, its clients and its ways."""

from __future__ import annotations

from importlib import resources

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from scanner.reports.html_data import MIRRORING_WORDS, WAY_WORDS
from tests.reports.browser import show
from tests.reports.outbound_sample import KINDS, OUTBOUND_STATES, build_outbound_result
from tests.reports.test_html_browser import close_host, console, find, host_links, names_shown, run, wait_until

pytestmark = pytest.mark.browser

NAMES = {kind: host.target.host for kind, host in zip(KINDS, build_outbound_result().hosts, strict=True)}
LETTERS = {"enabled": "e", "disabled": "d", "unknown": "u"}


def open_host(browser, path, kind, **more):
    show(browser, path, fragment=f"#host={NAMES[kind]}", **more)
    wait_until(browser, "return document.getElementById('panel').open")
    run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
    return find(browser, "#panel").text


def cells(browser, name):
    """Return the letters of the version cells of the host's row."""
    words = run(
        browser,
        "const r = [...document.querySelectorAll('#rows tr')].find((e) => e.querySelector('a').textContent === "
        "arguments[0]); return [...r.querySelectorAll('.state .chip')].map((e) => e.textContent)",
        name,
    )
    return "".join(map(_letter, words))


def _letter(word):
    return next(letter for state, letter in LETTERS.items() if word.startswith(state))


def test_the_switch_shows_the_outbound_side_of_those_that_were_asked(browser, write_outbound_report):
    console(browser)
    show(browser, write_outbound_report(30))
    assert find(browser, "#count").text == "36 hosts"
    assert find(browser, "#hosts-h").text == "Hosts by version, inbound"
    assert cells(browser, NAMES["mirror"]) == "ddeeed"
    Select(find(browser, "#side")).select_by_value("out")
    assert find(browser, "#count").text == "6 of 36 hosts"
    assert find(browser, "#hosts-h").text == "Hosts by version, outbound"
    assert set(names_shown(browser)) == set(NAMES.values())
    for kind, name in NAMES.items():
        assert cells(browser, name) == OUTBOUND_STATES[kind]
    fragment = run(browser, "return location.hash")
    assert "side=out" in fragment
    show(browser, write_outbound_report(30), fragment=fragment)
    assert find(browser, "#count").text == "6 of 36 hosts"
    find(browser, "#reset").click()
    assert find(browser, "#count").text == "36 hosts"
    assert console(browser) == []


@pytest.mark.parametrize(
    ("fragment", "kinds"),
    [
        ("#side=out&v=TLS1.0&state=enabled", {"mirror", "adfs"}),
        ("#side=out&v=TLS1.3&state=disabled", {"adfs"}),
        ("#side=out&state=disputed", {"mirror"}),
        ("#side=out&state=unknown", {"tunnel", "blocked", "unknown"}),
        ("#side=out&q=passes%20through", {"tunnel"}),
        ("#side=out&rule=tls10-outbound-off", {"mirror", "adfs"}),
    ],
)
def test_filters_ask_the_side_that_is_shown(browser, write_outbound_report, fragment, kinds):
    show(browser, write_outbound_report(30), fragment=fragment)
    assert set(names_shown(browser)) == {NAMES[kind] for kind in kinds}


def test_sorting_uses_the_side_that_is_shown(browser, write_outbound_report):
    show(browser, write_outbound_report(30), fragment="#side=out&sort=TLS1.0")
    letters = [OUTBOUND_STATES[next(kind for kind in KINDS if NAMES[kind] == name)][2] for name in names_shown(browser)]
    assert letters == sorted(letters, key="edu".index)


def test_links_of_the_outbound_chart_filter_the_table(browser, write_outbound_report):
    show(browser, write_outbound_report(30))
    run(browser, "document.querySelector(\"#outbound a[href='#side=out&v=TLS1.2&state=enabled']\").click()")
    wait_until(browser, "return document.getElementById('count').textContent === '3 of 36 hosts'")
    assert Select(find(browser, "#side")).first_selected_option.text == "Outbound"


def test_a_report_without_it_ignores_the_switch(browser, write_report):
    console(browser)
    show(browser, write_report(15), fragment="#side=out")
    assert find(browser, "#count").text == "15 hosts"
    assert browser.find_elements(By.CSS_SELECTOR, "#side") == []
    assert console(browser) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_hosts_two_sides_stand_side_by_side(browser, write_outbound_report, kind):
    open_host(browser, write_outbound_report(), kind)
    rows = run(
        browser,
        "return [...document.querySelectorAll('#panel .both tbody tr')].map((r) => [...r.querySelectorAll('td')]"
        ".map((e) => [e.dataset.side, e.querySelector('.chip').textContent]))",
    )
    assert [[side for side, _ in row] for row in rows] == [["Inbound", "Outbound"]] * 6
    assert "".join(_letter(row[1][1]) for row in rows) == OUTBOUND_STATES[kind]
    (host,) = [host for host in build_outbound_result().hosts if host.target.host == NAMES[kind]]
    assert [row[0][1].startswith(verdict.state.value) for row, verdict in zip(rows, host.verdicts, strict=False)] == [
        True
    ] * 6


@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_the_details_show_all_that_is_known(browser, write_outbound_report, kind, width):
    text = open_host(browser, write_outbound_report(), kind, width=width)
    (host,) = [host for host in build_outbound_result().hosts if host.target.host == NAMES[kind]]
    wanted = [
        *(
            item
            for client in host.outbound
            for item in (
                client.method_title,
                client.scope,
                *client.limits,
                *(verdict.reason for verdict in client.verdicts),
                *(settled.outcome for settled in client.settled),
                *(name for hello in client.hellos for name in (hello.ja4, *hello.alpn, hello.server_name or "none")),
                *(f"0x{suite:04X}" for hello in client.hellos if not hello.is_ssl2_format for suite in hello.suites),
                *(f"0x{group:04X}" for hello in client.hellos for group in hello.groups),
            )
        ),
        *(
            item
            for path in host.paths
            for item in (
                WAY_WORDS[path.kind],
                path.destination,
                path.reason,
                path.via,
                path.server_name,
                *path.proof,
                *path.limits,
                *(certificate.issuer for certificate in (*path.certificates, *path.direct_certificates)),
                *(certificate.sha256 for certificate in (*path.certificates, *path.direct_certificates)),
                *((MIRRORING_WORDS[path.mirroring],) if kind in {"mirror", "intercepted"} and path.is_listener else ()),
            )
        ),
    ]
    assert [item for item in wanted if item not in text] == []


def test_a_certificate_that_differs_is_told_and_one_that_does_not_stands_once(browser, write_outbound_report):
    text = open_host(browser, write_outbound_report(), "intercepted")
    assert text.count("The certificates through the proxy and without it differ.") == 1
    assert text.count("Certificate, the same through the proxy and without it") == 2
    assert text.count("CN=Corp Web Inspection CA,O=Corp Example") == 2, "the intercepted path, and the listener's"


def test_paths_are_not_listed_again_as_endpoints(browser, write_outbound_report):
    open_host(browser, write_outbound_report(), "tunnel")
    titles = run(
        browser, "return [...document.querySelectorAll('#panel .endpoint > summary strong')].map((e) => e.textContent)"
    )
    assert titles == [
        "CONNECT through the forward proxy",
        "to the listener tls-probe.corp.example:443",
        "to login.microsoftonline.com:443",
        "to enterpriseregistration.windows.net:443",
        "to device.login.microsoftonline.com:443",
    ]


def test_hostile_text_does_not_run_anywhere(browser, write_outbound_report):
    console(browser)
    show(browser, write_outbound_report(2, is_hostile=True))
    title = browser.title
    for link in host_links(browser):
        run(browser, "location.hash = arguments[0]", link)
        wait_until(browser, "return document.getElementById('panel').open")
        run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
        links = run(browser, "return [...document.querySelectorAll('#panel a')].map((a) => a.protocol)")
        assert set(links) <= {"https:"}
        close_host(browser)
    assert browser.title == title
    assert run(browser, "return document.querySelectorAll('script').length") == 5
    assert run(browser, "return document.querySelectorAll('img, iframe, object, embed, [onerror]').length") == 0
    assert console(browser) == []


@pytest.mark.parametrize("width", [320, 400, 768, 1100, 1440])
@pytest.mark.parametrize("is_hostile", [False, True])
def test_no_width_needs_sideways_scrolling(browser, write_outbound_report, width, is_hostile):
    path = write_outbound_report(2, is_hostile=True) if is_hostile else write_outbound_report()
    show(browser, path, width=width, fragment="#side=out")
    wide = "const e = arguments[0]; return [e.scrollWidth, e.clientWidth]"
    (scroll, client) = run(browser, wide, find(browser, "html"))
    assert scroll <= client
    for link in run(browser, "return [...document.querySelectorAll('#rows a')].map((a) => a.getAttribute('href'))"):
        run(browser, "location.hash = arguments[0]", link)
        wait_until(browser, "return document.getElementById('panel').open")
        run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
        (scroll, client) = run(browser, wide, find(browser, "#panel"))
        assert scroll <= client
        close_host(browser)


def test_twenty_proxies_among_five_thousand_hosts(browser, write_outbound_report):
    """Structure, not time: bench/report_browser.py measures the time."""
    path = write_outbound_report(5_000, count=20)
    assert path.stat().st_size < 10_000_000
    show(browser, path)
    assert find(browser, "#count").text == "5,020 hosts"
    assert run(browser, "return document.querySelectorAll('*').length") < 8_000
    Select(find(browser, "#side")).select_by_value("out")
    assert find(browser, "#count").text == "20 of 5,020 hosts"
    assert len(names_shown(browser)) == 20


def test_without_javascript_there_are_two_tables_and_no_dead_control(browser, write_outbound_report):
    show(browser, write_outbound_report(), is_script_on=False)
    assert len(browser.find_elements(By.CSS_SELECTOR, "noscript tbody tr")) == 9 + 6
    assert not find(browser, "#side").is_displayed()
    show(browser, write_outbound_report())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("view", ["#side=out", *(f"#host={NAMES[kind]}" for kind in ("mirror", "adfs", "intercepted"))])
def test_axe_finds_no_accessibility_problem(browser, write_outbound_report, theme, width, view):
    """axe-core by Deque: WCAG 2.2 A and AA and its best practices."""
    show(browser, write_outbound_report(), theme=theme, width=width, fragment=view)
    run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
    run(browser, (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
        "(r) => done({passes: r.passes.length, violations: r.violations.map((v) => [v.id, v.help, "
        "v.nodes.map((n) => n.html.slice(0, 200) + ' ' + (n.failureSummary || ''))])}))"
    )
    assert found["violations"] == []
    assert found["passes"] > 20
