"""A report of a long range in a real browser: pages, networks, answers, details, and details that are left out."""

from __future__ import annotations

import random
from importlib import resources
from ipaddress import ip_address, ip_network

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from scanner.reports import html_index, html_table
from tests.reports import sample
from tests.reports.browser import show
from tests.reports.test_html_browser import console, find, names_shown, run, wait_until

pytestmark = pytest.mark.browser

COUNT = 5_000


@pytest.fixture(scope="module")
def hosts():
    """Each host's readiness and states by its name."""
    return {
        host["name"]: (host["readiness"], "".join(verdict["state"][0] for verdict in host["verdicts"]))
        for host, _ in sample.RangeSource(COUNT).entries()
    }


def count_of(browser):
    return find(browser, "#count").text


def test_a_network_filters_the_table(browser, write_range_report, hosts):
    console(browser)
    show(browser, write_range_report(COUNT), fragment="#size=200")
    link = find(browser, "#network-rows a")
    network = ip_network(link.text)
    link.click()
    wait_until(browser, "return location.hash.startsWith('#net=')")
    expected = {name for name in hosts if ip_address(name) in network}
    assert count_of(browser) == f"{len(expected)} of 5,000 hosts"
    assert set(names_shown(browser)) == expected
    (chosen,) = browser.find_elements(By.CSS_SELECTOR, "#chosen button")
    assert str(network) in chosen.text
    chosen.click()
    assert count_of(browser) == "5,000 hosts"
    assert browser.switch_to.active_element.get_attribute("id") == "q"
    assert console(browser) == []


def test_more_networks_are_shown_on_demand_and_filter_too(browser, write_range_report, hosts):
    show(browser, write_range_report(COUNT))
    rows = lambda: browser.find_elements(By.CSS_SELECTOR, "#network-rows tr")  # noqa: E731 - shorter here
    assert len(rows()) == html_index.SHOWN_NETWORKS
    first = [cell.text for cell in rows()[0].find_elements(By.CSS_SELECTOR, "td.num")]
    find(browser, "#more-networks").click()
    networks = {ip_network(f"{name}/24", strict=False) for name in hosts}
    assert {ip_network(row.find_element(By.TAG_NAME, "a").text) for row in rows()} == networks
    assert not find(browser, "#more-networks").is_displayed()
    assert find(browser, "#network-count").text == f"{len(networks)} of {len(networks)} networks shown."
    added = rows()[html_index.SHOWN_NETWORKS]
    assert browser.switch_to.active_element == added.find_element(By.TAG_NAME, "a"), "reading goes on where it stopped"
    numbers = [int(cell.text) for cell in added.find_elements(By.CSS_SELECTOR, "td.num")]
    assert len(numbers) == len(first)
    assert numbers[0] == sum(numbers[1:])
    added.find_element(By.TAG_NAME, "a").click()
    wait_until(browser, "return location.hash.startsWith('#net=')")
    assert count_of(browser) == f"{numbers[0]} of 5,000 hosts"


def test_an_answer_filters_the_table(browser, write_range_report, hosts):
    show(browser, write_range_report(COUNT))
    for place in range(2):
        link = browser.find_elements(By.CSS_SELECTOR, "#alike tbody a")[place]
        readiness, states = (part.split("=")[1] for part in link.get_attribute("href").split("#")[1].split("&"))
        link.click()
        expected = [name for name, answer in hosts.items() if answer == (readiness, states)]
        wait_until(browser, f"return location.hash.includes('{states}')")
        assert count_of(browser) == f"{len(expected):,} of 5,000 hosts"
        assert link.text == f"{len(expected):,} hosts"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#chosen button")) == 1


def test_nonsense_networks_and_answers_in_the_address_do_no_harm(browser, write_range_report):
    console(browser)
    for fragment in ("#net=nowhere", "#like=zzz", "#net=__proto__&like=constructor"):
        show(browser, write_range_report(COUNT), fragment=fragment)
        assert count_of(browser) == "5,000 hosts"
    assert console(browser) == []


def test_details_of_hosts_that_share_a_form_are_their_own(browser, write_range_report):
    entries = {host["name"]: (host, findings) for host, findings in sample.RangeSource(COUNT).entries()}
    for name in random.Random(5).sample(sorted(entries), 4):
        host, findings = entries[name]
        show(browser, write_range_report(COUNT), fragment=f"#host={name}")
        wait_until(browser, "return document.getElementById('panel').open")
        run(browser, "for (const e of document.querySelectorAll('#panel details')) e.open = true")
        text = find(browser, "#panel").text
        (endpoint,) = host["endpoints"]
        seen = {item["seen_at"] for verdict in host["verdicts"] for item in verdict["evidence"]}
        wanted = [
            name,
            host["target"],
            endpoint["locator"],
            *(verdict["reason"] for verdict in host["verdicts"]),
            *(f"{time[:10]} {time[11:19]} UTC" for time in seen),
            *(
                value
                for item in endpoint["certificates"]
                for value in (item["subject"], item["sha256"], *item["names"])
            ),
            *(finding["title"] for finding in findings),
        ]
        assert [item for item in wanted if item not in text] == []


def test_twenty_thousand_hosts_can_be_paged_filtered_and_sorted(browser, write_range_report):
    """Structure, not time: bench/report_browser.py measures the time."""
    count = 20_000
    console(browser)
    show(browser, write_range_report(count))
    assert count_of(browser) == "20,000 hosts"
    assert find(browser, "#page").text == "Page 1 of 400"
    assert run(browser, "return document.querySelectorAll('*').length") < 6_000
    following = find(browser, "#next")
    run(browser, "arguments[0].focus()", following)
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert find(browser, "#page").text == "Page 2 of 400"
    assert browser.switch_to.active_element == following
    show(browser, write_range_report(count), fragment="#sort=name&dir=desc&page=400")
    last = sorted((ip_address(sample.address_of(number)) for number in range(50)), reverse=True)
    assert names_shown(browser) == list(map(str, last))
    assert not find(browser, "#next").is_enabled()
    wanted = sample.address_of(12_345)
    show(browser, write_range_report(count), fragment=f"#q={wanted}")
    assert names_shown(browser) == [wanted]
    show(browser, write_range_report(count), fragment="#v=TLS1.2&state=disabled")
    old = [name for name, (profile, _) in enumerate(sample.MAKES.values()) if sample.PROFILES[profile][0][4] == "d"]
    expected = sum(sample.make_of(number) in old for number in range(count))
    assert count_of(browser) == f"{expected:,} of 20,000 hosts"
    assert console(browser) == []


def bounded_report(write_range_report):
    """Return a report that is too large for all details."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_table, "FORM_BYTES", 40_000)
        return write_range_report(700, has_own_forms=True)


def test_a_host_without_details_says_where_they_are(browser, write_range_report):
    bounded = bounded_report(write_range_report)
    console(browser)
    # TLS 1.0 is on: a finding, whose block the drawer leads to; among those, what needs least attention comes last.
    show(browser, bounded, fragment="#v=TLS1.0&state=enabled&sort=ready&dir=desc")
    name = find(browser, "#rows a").text
    find(browser, "#rows a").click()
    wait_until(browser, "return document.getElementById('panel').open")
    text = find(browser, "#panel").text
    assert name in text
    assert "The details of this host are not in this file." in text
    assert f"entra-tls report {sample.RUN_ID} --db FILE --json FILE" in text
    host = next(host for host, _ in sample.RangeSource(700, has_own_forms=True).entries() if host["name"] == name)
    states = [element.text for element in browser.find_elements(By.CSS_SELECTOR, "#panel td .chip")]
    assert [state.split()[0] for state in states] == [verdict["state"] for verdict in host["verdicts"]]
    finding = find(browser, "#panel li a")
    title = finding.text
    finding.click()
    wait_until(browser, "return !document.getElementById('panel').open")
    active = browser.switch_to.active_element
    assert title in active.text
    assert run(browser, "return arguments[0].parentElement.open", active)
    show(browser, bounded)
    find(browser, "#rows a").click()
    wait_until(browser, "return document.getElementById('panel').open")
    assert "are not in this file" not in find(browser, "#panel").text, "the worst host has its details"
    assert console(browser) == []


@pytest.mark.parametrize("width", [320, 768, 1024, 1440])
def test_no_width_needs_sideways_scrolling(browser, write_range_report, width):
    show(browser, write_range_report(COUNT), width=width, fragment="#like=ddddee&net=10.20.0.0%2F24")
    (scroll, client) = run(browser, "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
    assert scroll <= client


def test_without_javascript_there_are_no_dead_links(browser, write_range_report):
    show(browser, write_range_report(COUNT), is_script_on=False)
    for selector in ("#network-rows a", "#alike tbody a", "#more-networks"):
        assert not find(browser, selector).is_displayed(), selector
    assert find(browser, "#network-rows th").text
    show(browser, write_range_report(COUNT))


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("light", 390), ("dark", 1440), ("dark", 390)])
@pytest.mark.parametrize("view", ["many", "brief"])
def test_axe_finds_no_accessibility_problem(browser, write_range_report, theme, width, view):
    """axe-core by Deque: WCAG 2.2 A and AA and its best practices."""
    if view == "many":
        path = write_range_report(COUNT, shard="2/8", is_complete=False)
        show(browser, path, theme=theme, width=width, fragment="#like=ddddee&net=10.20.0.0%2F24")
        find(browser, "#more-networks").click()
    else:
        show(browser, bounded_report(write_range_report), theme=theme, width=width, fragment="#sort=ready&dir=desc")
        run(browser, "document.querySelector('#rows a').click()")
        wait_until(browser, "return document.getElementById('panel').open")
        assert "are not in this file" in find(browser, "#panel").text
    run(browser, (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
        "(r) => done({passes: r.passes.length, violations: r.violations.map((v) => [v.id, v.help, "
        "v.nodes.map((n) => n.html.slice(0, 200) + ' ' + (n.failureSummary || ''))])}))"
    )
    assert found["violations"] == []
    assert found["passes"] > 20
