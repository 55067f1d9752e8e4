"""The report in a real browser: nothing runs that must not, and everything a reader needs works."""

from __future__ import annotations

import base64
import json
import random
from importlib import resources

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS
from scanner.reports import html
from tests.reports import sample
from tests.reports.browser import show

pytestmark = pytest.mark.browser


def run(browser, script, *arguments):
    return browser.execute_script(script, *arguments)


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def wait_until(browser, script):
    WebDriverWait(browser, 20).until(lambda driver: run(driver, script))


def names_shown(browser):
    """Return the hosts in the table, in order, over all pages."""
    names = []
    while True:
        names += run(browser, "return [...document.querySelectorAll('#rows .host a')].map((e) => e.textContent)")
        following = find(browser, "#next")
        if not following.is_displayed() or not following.is_enabled():
            return names
        run(browser, "arguments[0].click()", following)


def host_links(browser):
    """Return the different links to hosts that are in the page, those the server wrote and those the script made."""
    links = "return [...document.querySelectorAll('a')].map((a) => a.getAttribute('href'))"
    return sorted({link for link in run(browser, links) if link.startswith("#host=")})


def close_host(browser):
    run(browser, "document.getElementById('close').click()")
    wait_until(browser, "return !location.hash.includes('host=')")


def console(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def test_hostile_text_does_not_run_anywhere(browser, write_report):
    console(browser)
    count = 30
    show(browser, write_report(count, is_hostile=True))
    title = browser.title
    assert title.startswith("TLS 1.2 readiness: ")
    links = host_links(browser)
    assert len(links) >= count
    for link in links:
        run(browser, "location.hash = arguments[0]", link)
        wait_until(browser, "return document.getElementById('panel').open")
        run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
        close_host(browser)
    find(browser, "#q").send_keys("<script>")
    wait_until(browser, "return location.hash.includes('q=')")
    for control in ("tag", "rule"):
        run(
            browser,
            "const c = document.getElementById(arguments[0]); c.selectedIndex = 1;c.dispatchEvent(new Event('change'))",
            control,
        )
    assert browser.title == title
    assert run(browser, "return [...document.querySelectorAll('script')].length") == 5
    assert (
        run(browser, "return document.querySelectorAll('img, iframe, object, embed, [onerror], [onload]').length") == 0
    )
    assert console(browser) == []


def test_the_hostile_texts_would_run_if_they_were_not_escaped(browser, tmp_path):
    """The proof that the test above can fail."""
    page = tmp_path / "unsafe.html"
    page.write_text(f"<title>safe</title><p>{sample.HOSTILE_TEXTS[0]}</p>", encoding="utf-8")
    show(browser, page)
    assert browser.title == "pwned"


def test_what_is_injected_after_all_is_stopped_by_the_policy(browser, write_report):
    show(browser, write_report(3))
    title = browser.title
    run(browser, "document.body.insertAdjacentHTML('beforeend', arguments[0])", sample.HOSTILE_TEXTS[1])
    wait_until(browser, "return document.querySelector('img[onerror]')")
    run(
        browser,
        "const s = document.createElement('script'); s.textContent = \"document.title = 'pwned'\";"
        "document.body.append(s)",
    )
    assert browser.title == title
    assert any("Content Security Policy" in message for message in console(browser))


def test_nothing_is_requested_but_the_file(browser, write_report):
    path = write_report(15)
    show(browser, path)
    browser.get_log("performance")
    show(browser, path, fragment="#host=sts2.us.corp.example")
    wait_until(browser, "return document.getElementById('panel').open")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url != "about:blank"] == [path.as_uri()]


def expected_hosts(result, keep):
    return {host.target.host for host in result.hosts if keep(host)}


def has_state(host, version, state):
    return any(verdict.version.label == version and verdict.state.value == state for verdict in host.verdicts)


FILTERS = [
    ({"ready": "not-ready"}, lambda host: host.readiness is Readiness.NOT_READY),
    ({"role": "adfs"}, lambda host: host.target.role.value == "adfs"),
    ({"tag": "pci"}, lambda host: "pci" in host.target.tags),
    ({"v": "TLS1.0", "state": "enabled"}, lambda host: has_state(host, "TLS1.0", "enabled")),
    ({"v": "TLS1.2", "state": "unknown"}, lambda host: has_state(host, "TLS1.2", "unknown")),
    ({"state": "unknown"}, lambda host: any(verdict.state.value == "unknown" for verdict in host.verdicts)),
    ({"state": "disputed"}, lambda host: any(verdict.is_disputed for verdict in host.verdicts)),
    ({"v": "TLS1.1", "state": "disputed"}, lambda _host: False),
    (
        {"rule": "ssl-inbound-off"},
        lambda host: has_state(host, "SSL2", "enabled") or has_state(host, "SSL3", "enabled"),
    ),
    ({"q": "latam sts"}, lambda host: "latam" in host.target.host and "sts" in host.target.host),
    ({"q": "10.0.0.7"}, lambda host: any("10.0.0.7" in address for address in host.resolution.addresses)),
    ({"q": "FARM-EU"}, lambda host: host.target.farm == "farm-eu"),
    (
        {"q": "proxy", "ready": "ready", "v": "TLS1.3", "state": "enabled"},
        lambda host: (
            host.target.role.value in {"proxy", "reverse-proxy"}
            and host.readiness is Readiness.READY
            and has_state(host, "TLS1.3", "enabled")
        ),
    ),
    ({"q": "no such host"}, lambda _host: False),
]


@pytest.mark.parametrize(("choice", "keep"), FILTERS, ids=[str(choice) for choice, _ in FILTERS])
def test_filters_show_what_the_run_says(browser, write_report, choice, keep):
    result = sample.build_result(300)
    show(browser, write_report(300))
    for name, value in choice.items():
        control = find(browser, f"#{name}")
        if name == "q":
            control.send_keys(value)
        else:
            Select(control).select_by_value(value)
    expected = expected_hosts(result, keep)
    text = f"{len(expected)} of 300 hosts"
    assert find(browser, "#count").text == text
    assert find(browser, "#count").get_attribute("aria-live") == "polite"
    assert find(browser, "#empty").is_displayed() == (not expected)
    shown = names_shown(browser)
    assert len(shown) == len(expected)
    assert set(shown) == expected
    # The address holds the view: the same file opened with it shows the same.
    fragment = run(browser, "return location.hash")
    show(browser, write_report(300), fragment=fragment)
    assert find(browser, "#count").text == text
    find(browser, "#reset").click()
    assert find(browser, "#count").text == "300 hosts"


def _column(result, key):
    if key == "findings":
        order = list(Severity)
        counts = {host.target.host: [0, 0, 0] for host in result.hosts}
        for finding in result.findings:
            counts[finding.host][order.index(finding.severity)] -= 1
        return counts
    if key == "ready":
        order = [Readiness.NOT_READY, Readiness.UNKNOWN, Readiness.READY]
        return {host.target.host: order.index(host.readiness) for host in result.hosts}
    place = [version.label for version in ALL_VERSIONS].index(key)
    order = ["enabled", "disabled", "unknown"]
    return {host.target.host: order.index(host.verdicts[place].state.value) for host in result.hosts}


@pytest.mark.parametrize("key", ["ready", "TLS1.0", "TLS1.2", "findings"])
def test_sorting_orders_the_column_both_ways(browser, write_report, key):
    values = _column(sample.build_result(120), key)
    show(browser, write_report(120), fragment="#sort=name")
    button = find(browser, f"[data-sort='{key}']")
    for direction in ("ascending", "descending"):
        button.click()
        assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == direction
        assert len(browser.find_elements(By.CSS_SELECTOR, "#matrix th:not([aria-sort='none'])[aria-sort]")) == 1
        shown = [values[name] for name in names_shown(browser)]
        assert shown == sorted(values.values(), reverse=direction == "descending")
        assert len(shown) == 120


def test_names_sort_by_number_and_not_by_digit(browser, write_report):
    show(browser, write_report(120), fragment="#sort=name&role=adfs")
    numbers = [int(name.split(".")[0].removeprefix("sts")) for name in names_shown(browser)]
    assert numbers == sorted(numbers)
    assert len(numbers) == 24


def test_nonsense_in_the_address_does_no_harm(browser, write_report):
    console(browser)
    for fragment in (
        "#ready=bogus&size=7&page=-3&sort=zzz&host=absent",
        "#__proto__=1&q=",
        "#%E0%A4%A=1",
        "#hosts",
        "#page=1e9",
    ):
        show(browser, write_report(15), fragment=fragment)
        assert find(browser, "#count").text == "15 hosts"
        assert len(names_shown(browser)) == 15
    assert console(browser) == []


def test_links_of_the_answer_and_the_chart_filter_the_table(browser, write_report):
    show(browser, write_report(300))
    result = sample.build_result(300)
    not_ready = sum(1 for host in result.hosts if host.readiness is Readiness.NOT_READY)
    find(browser, "a[href='#ready=not-ready']").click()
    wait_until(browser, "return location.hash === '#ready=not-ready'")
    assert find(browser, "#count").text == f"{not_ready} of 300 hosts"
    assert Select(find(browser, "#ready")).first_selected_option.text == "Not ready"
    run(browser, "document.querySelector(\"a[href='#v=TLS1.0&state=enabled']\").click()")
    enabled = sum(1 for host in result.hosts if has_state(host, "TLS1.0", "enabled"))
    wait_until(browser, f"return document.getElementById('count').textContent === '{enabled} of 300 hosts'")


def test_five_thousand_hosts_stay_light(browser, write_report):
    """Structure, not time: bench/report_browser.py measures the time."""
    path = write_report(5_000)
    assert path.stat().st_size < 10_000_000
    show(browser, path)
    assert find(browser, "#count").text == "5,000 hosts"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == 50
    assert run(browser, "return document.querySelectorAll('*').length") < 8_000
    Select(find(browser, "#size")).select_by_visible_text("200")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == 200
    names = [host.target.host for host in sample.build_result(5_000).hosts]
    wanted = random.Random(3).choice(names)
    find(browser, "#q").send_keys(wanted)
    assert wanted in names_shown(browser)


def test_everything_can_be_done_from_the_keyboard(browser, write_report):
    show(browser, write_report(15))
    keys = lambda *pressed: ActionChains(browser).send_keys(*pressed).perform()  # noqa: E731 - shorter here
    active = lambda: browser.switch_to.active_element  # noqa: E731 - the same
    keys(Keys.TAB)
    assert active().text == "Skip to the answer"
    for _ in range(120):
        keys(Keys.TAB)
        if active().get_attribute("data-sort") == "TLS1.2":
            break
    keys(Keys.ENTER)
    assert active().find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    keys(Keys.SPACE)
    assert active().find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    for _ in range(20):
        keys(Keys.TAB)
        if active().tag_name == "a":
            break
    name = active().text
    keys(Keys.ENTER)
    wait_until(browser, "return document.getElementById('panel').open")
    assert find(browser, "#panel-h").text == name
    assert active().get_attribute("id") == "panel-h"
    for _ in range(60):
        keys(Keys.TAB)
        inside = run(
            browser,
            "const a = document.activeElement;"
            "return a === document.body || document.getElementById('panel').contains(a)",
        )
        assert inside, "a modal dialog keeps the focus"
    keys(Keys.ESCAPE)
    wait_until(browser, "return !document.getElementById('panel').open")
    assert active().text == name
    # The close event comes after the dialog has closed.
    wait_until(browser, "return !location.hash.includes('host=')")


def test_focus_can_be_seen(browser, write_report):
    show(browser, write_report(15))
    ActionChains(browser).send_keys(*[Keys.TAB] * 3).perform()
    style = run(browser, "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]")
    assert style == ["solid", "3px"]


def test_a_host_opens_by_link_and_closes_by_back(browser, write_report):
    path = write_report(15)
    show(browser, path)
    run(browser, "document.querySelector('#rows a').click()")
    wait_until(browser, "return document.getElementById('panel').open")
    link = browser.current_url
    name = find(browser, "#panel-h").text
    browser.back()
    wait_until(browser, "return !document.getElementById('panel').open")
    browser.get("about:blank")
    browser.get(link)
    wait_until(browser, "return document.getElementById('panel').open")
    assert find(browser, "#panel-h").text == name


def test_the_details_show_all_that_is_known(browser, write_report):
    result = sample.build_result(15)
    for host in result.hosts:
        show(browser, write_report(15), fragment=f"#host={host.target.host}")
        run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
        text = find(browser, "#panel").text
        certificates = [item for endpoint in host.endpoints for item in endpoint.certificates]
        findings = [finding for finding in result.findings if finding.host == host.target.host]
        wanted = [
            host.target.host,
            host.target.text,
            host.readiness_reason,
            *host.resolution.addresses,
            *host.resolution.cname_chain,
            *(endpoint.endpoint.locator for endpoint in host.endpoints),
            *(verdict.reason for verdict in host.verdicts),
            *(item.reason for verdict in host.verdicts for item in (*verdict.supporting, *verdict.opposing)),
            *(gap.detail for verdict in host.verdicts for gap in verdict.gaps),
            *(gap.detail for gap in host.gaps),
            *(shake.cipher_suite for endpoint in host.endpoints for shake in endpoint.handshakes),
            *(
                value
                for item in certificates
                for value in (item.subject, item.issuer, item.sha256, item.key, *item.names)
            ),
            *(f"{trust.store}" for item in certificates for trust in item.trust),
            *(value for check in host.checks for value in (check.title, check.detail)),
            *(line for finding in findings for line in (finding.title, *finding.advice.split("\n"))),
            *(citation.title for finding in findings for citation in finding.citations),
        ]
        missing = [item for item in wanted if item.strip() not in text]
        assert missing == [], host.target.host
        assert text.count("unverified") >= sum(not check.is_verified for check in host.checks)


@pytest.mark.parametrize(
    ("number", "words"),
    # sample._certificate: host number n expires (-40, 3, 25, 88, ...)[n % 6] days and 3 hours after the run.
    [(0, "expired 39 days before the run"), (1, "3 days left at the run"), (3, "88 days left at the run")],
)
def test_expiry_is_told_relative_to_the_run(browser, write_report, number, words):
    host = sample.build_result(15).hosts[number]
    show(browser, write_report(15), fragment=f"#host={host.target.host}")
    run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
    assert words in find(browser, "#panel").text


def test_links_in_the_details_are_safe(browser, write_report):
    show(browser, write_report(30, is_hostile=True))
    seen = 0
    for link in host_links(browser)[:15]:
        run(browser, "location.hash = arguments[0]", link)
        wait_until(browser, "return document.getElementById('panel').open")
        links = run(
            browser, "return [...document.querySelectorAll('#panel a')].map((a) => [a.protocol, a.rel, a.target])"
        )
        assert all(link == ["https:", "noreferrer noopener", "_blank"] for link in links)
        seen += len(links)
        close_host(browser)
    assert seen > 0


def test_advice_can_be_copied(browser, write_report):
    show(browser, write_report(15), fragment="#host=proxy8.latam.corp.example")
    wait_until(browser, "return document.getElementById('panel').open")
    run(browser, "Object.defineProperty(navigator, 'clipboard', {value: {writeText: (t) => { window.copied = t; }}})")
    find(browser, "#panel .advice .copy").click()
    wait_until(browser, "return document.getElementById('said').textContent === 'Copied.'")
    (advice,) = {
        finding.advice
        for finding in sample.build_result(15).findings
        if finding.host == "proxy8.latam.corp.example" and finding.severity is Severity.FAILURE
    }
    assert run(browser, "return window.copied") == advice


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
@pytest.mark.parametrize("is_hostile", [False, True])
def test_no_width_needs_sideways_scrolling(browser, write_report, width, is_hostile):
    show(browser, write_report(30, is_hostile=True) if is_hostile else write_report(15), width=width)
    run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
    wide = "const e = arguments[0]; return [e.scrollWidth, e.clientWidth]"
    (scroll, client) = run(browser, wide, find(browser, "html"))
    assert width - 20 < client <= width, "but for the scroll bar"
    assert scroll <= client
    run(browser, "document.querySelector('#rows a').click()")
    wait_until(browser, "return document.getElementById('panel').open")
    run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
    (scroll, client) = run(browser, wide, find(browser, "#panel"))
    assert scroll <= client


def test_dark_colours_follow_the_system_and_the_button(browser, write_report):
    ground = "return getComputedStyle(document.body).backgroundColor"
    path = write_report(15)
    show(browser, path, theme="light")
    light = run(browser, ground)
    show(browser, path, theme="dark")
    dark = run(browser, ground)
    assert (light, dark) == ("rgb(244, 246, 249)", "rgb(14, 20, 27)")
    find(browser, "#theme").click()
    assert run(browser, ground) == light
    browser.refresh()
    assert run(browser, ground) == light, "the choice is remembered"
    find(browser, "#theme").click()
    assert run(browser, ground) == dark
    run(browser, "localStorage.clear()")


def test_paper_gets_every_host_and_every_finding(browser, write_report):
    show(browser, write_report(120), fragment="#size=25")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == 25
    run(browser, "dispatchEvent(new Event('beforeprint'))")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == 120
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    heights = run(browser, "return [...document.querySelectorAll('.finding-body')].map((e) => e.offsetHeight)")
    assert len(heights) > 3
    assert min(heights) > 0, "what is folded on the screen is not on paper"
    assert not find(browser, "#filters").is_displayed()
    assert find(browser, "#print-note").text == "120 of 120 hosts shown."
    run(browser, "dispatchEvent(new Event('afterprint'))")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == 25
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert pdf.startswith(b"%PDF-")


def test_paper_is_bounded(browser, write_report):
    show(browser, write_report(5_000))
    run(browser, "dispatchEvent(new Event('beforeprint'))")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == html.TABLE_LIMIT
    assert "500 of 5,000 hosts shown." in run(browser, "return document.getElementById('print-note').textContent")


def test_without_javascript_there_is_a_table_and_no_dead_control(browser, write_report):
    show(browser, write_report(15), is_script_on=False)
    assert len(browser.find_elements(By.CSS_SELECTOR, "noscript tbody tr")) == 15
    assert find(browser, "noscript .matrix").is_displayed()
    for selector in ("#filters", "#theme", "#print", "#matrix"):
        assert not find(browser, selector).is_displayed(), selector
    summary = find(browser, ".finding summary")
    summary.click()
    assert find(browser, ".finding .advice-text").is_displayed()
    show(browser, write_report(15))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("view", ["", "#host=app10.us.corp.example", "#q=nothing", "#state=disputed"])
def test_axe_finds_no_accessibility_problem(browser, write_report, theme, width, view):
    """axe-core by Deque: WCAG 2.2 A and AA and its best practices."""
    show(browser, write_report(15), theme=theme, width=width, fragment=view)
    run(browser, "for (const e of document.querySelectorAll('details')) e.open = true")
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    run(browser, axe)
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
        "(r) => done({passes: r.passes.length, violations: r.violations.map((v) => [v.id, v.help, "
        "v.nodes.map((n) => n.html.slice(0, 200) + ' ' + (n.failureSummary || ''))])}))"
    )
    assert found["violations"] == []
    assert found["passes"] > 20
