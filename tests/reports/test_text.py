"""The table in the terminal: true, bounded, and safe against names that would steer the terminal."""

import dataclasses
import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from scanner.model.evidence import State
from scanner.model.subjects import Endpoint
from scanner.model.verdicts import Readiness
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.source import source_of
from scanner.reports.text import MOST_DISPUTES, MOST_HOSTS, MOST_REASONS, MOST_ROWS, WIDE_COLUMNS, counted, print_result
from tests.reports.declared_sample import build_declared_result, disputed_host, file_only_host
from tests.reports.outbound_sample import build_outbound_result
from tests.reports.sample import build_result


def _print(result, width=80, **options):
    out = io.StringIO()
    print_result(source_of(result), Console(file=out, width=width, **options))
    return out.getvalue()


def _flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 140])
def test_it_opens_with_the_worst_and_says_how_many_are_ready(width):
    result = build_result(20)
    text = _print(result, width)
    counts = [sum(host.readiness is each for host in result.hosts) for each in Readiness]
    assert f"20 hosts: {counts[0]} ready, {counts[1]} not ready, {counts[2]} unknown." in text
    assert text.index("NOT READY") < text.index(" ready ")


@pytest.mark.parametrize("width", [80, 100, WIDE_COLUMNS, 140])
def test_no_line_is_wider_than_the_terminal(width):
    for result in (
        build_result(40),
        build_result(40, is_hostile=True),
        build_outbound_result(3),
        build_outbound_result(3, is_hostile=True),
    ):
        assert max(map(cell_len, _print(result, width).splitlines())) <= width


def test_states_are_told_by_words_not_by_colour():
    result = build_result(1, profile="hole")
    row = next(line for line in _print(result).splitlines() if line.lstrip().startswith("enterpriseregistration1"))
    # hole: SSL2 off, SSL3 off, 1.0 on, 1.1 off, 1.2 on, 1.3 off
    assert row.split()[-7:] == ["off", "off", "on", "off", "on", "off", "ready"]


@pytest.mark.parametrize("width", [80, 140])
def test_a_host_that_only_a_listener_saw_has_no_row_of_what_it_accepts(width):
    asked = build_outbound_result(3)
    has_outbound = next(host for host in asked.hosts if host.outbound)
    seen = dataclasses.replace(has_outbound, endpoints=())
    text = _print(dataclasses.replace(asked, hosts=(seen,)), width)
    assert "Inbound: which versions" not in text
    assert "Outbound: which versions" in text
    text = _print(dataclasses.replace(asked, hosts=(*asked.hosts, seen)), width)
    assert text.split("Outbound: which versions")[0].count(seen.target.host[:18]) == 1


@pytest.mark.parametrize("width", [80, 300])
def test_why_a_host_is_unknown_is_said_at_every_width(width):
    result = build_result(1, profile="silent")
    assert "silent after 3 hellos and a control" in _flat(_print(result, width))


def test_one_reason_for_many_hosts_is_one_line_in_narrow_terminals():
    text = _flat(_print(build_result(30, profile="silent")))
    assert text.count("silent after 3 hellos") == 1
    assert "and 25 more)" in text


def test_only_unknown_hosts_are_listed_as_unknown():
    text = _flat(_print(build_result(1, profile="modern")))
    assert "unknown:" not in text
    assert "1 host: 1 ready, 0 not ready, 0 unknown." in text


def test_reasons_are_bounded():
    result = build_result(MOST_REASONS + 3, profile="silent")
    hosts = tuple(
        dataclasses.replace(host, readiness_reason=f"reason {number}") for number, host in enumerate(result.hosts)
    )
    text = _print(dataclasses.replace(result, hosts=hosts))
    assert text.count("unknown: reason") == MOST_REASONS
    assert "and 3 more reasons" in text


def test_rows_are_bounded_and_it_says_so():
    count = MOST_HOSTS + 1
    result = build_result(count)
    text = _print(result)
    assert f"the worst {MOST_ROWS} of {count} hosts; --html, --json, --jsonl and --csv have all" in _flat(text)
    assert text.count("NOT READY") == min(
        MOST_ROWS, sum(host.readiness is Readiness.NOT_READY for host in result.hosts)
    )
    # The counts are of all hosts.
    for state in State:
        row = next(line for line in text.splitlines() if line.lstrip().startswith(state.value))
        assert row.split()[1:] == [
            str(sum(host.verdicts[at].state is state for host in result.hosts)) for at in range(len(ALL_VERSIONS))
        ]


def test_a_few_hosts_are_all_shown():
    result = build_result(MOST_HOSTS)
    text = _print(result)
    assert "the worst" not in text
    assert "All hosts by what they accept" not in text
    assert all(_flat(host.target.host)[:18] in text for host in result.hosts)


def test_a_title_that_looks_like_json_is_read_right():
    result = build_result(1, profile="old")
    title = 'x", "advice": "y\\'
    finding = dataclasses.replace(result.findings[0], title=title)
    assert title in _flat(_print(dataclasses.replace(result, findings=(finding,)), 300))


def test_findings_are_said_once_a_rule_with_the_severity_first():
    result = build_result(40, profile="old")
    text = _flat(_print(result))
    assert text.count("failure: TLS 1.2 is not accepted (") == 1
    assert "and 35 more)" in text


def test_an_unfinished_run_and_empty_ranges_are_said():
    unfinished = build_result(25, is_complete=False)
    text = _print(unfinished)
    assert "not complete" in text
    assert "250 range addresses without a listener (REFUSED)" in text
    nothing = dataclasses.replace(build_result(0), no_listener_counts=(("REFUSED", 1),))
    text = _print(nothing)
    assert "No host was seen." in text
    assert "1 range address without a listener" in text


def test_contradictions_are_marked_and_explained():
    text = _print(build_result(1, profile="disputed"))
    assert "on !" in text
    assert "contradict" in text


def test_names_from_the_network_cannot_steer_the_terminal():
    for result in (build_result(40, is_hostile=True), build_outbound_result(3, is_hostile=True)):
        for width in (80, 140):
            assert not set(_print(result, width)) & set("\x00\x07\x1b\x9b\u202e\u2028")
    # rich's own markup is not read from names either.
    result = build_result(1)
    host = result.hosts[0]
    named = dataclasses.replace(host, target=dataclasses.replace(host.target, host="[red]x[/red].example"))
    assert "[red]x[/red].example" in _print(dataclasses.replace(result, hosts=(named,)))


def test_ports_and_server_names_that_are_not_the_usual_are_shown():
    result = build_result(1)
    host = result.hosts[0]
    target = dataclasses.replace(host.target, host="192.0.2.7", ports=(8443,), server_name="sts.example.com")
    endpoint = Endpoint(host="192.0.2.7", address="192.0.2.7", port=8443, server_name="sts.example.com")
    endpoints = (dataclasses.replace(host.endpoints[0], endpoint=endpoint),)
    text = _print(dataclasses.replace(result, hosts=(dataclasses.replace(host, target=target, endpoints=endpoints),)))
    assert "192.0.2.7:8443" in text
    assert "as sts.example.com" in text


@pytest.mark.parametrize(("count", "text"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts")])
def test_counted(count, text):
    assert counted(count, "host") == text


def test_counted_with_its_own_plural():
    assert counted(2, "address", "addresses") == "2 addresses"


def test_the_outbound_table_is_only_there_where_a_host_was_asked():
    assert "Outbound" not in _print(build_result(20), 140)
    assert "Outbound: which versions each host uses as a client" in _print(build_outbound_result(0), 140)


def _outbound_row(text, start):
    return next(line for line in text.split("Outbound:")[1].splitlines() if line.strip().startswith(start)).split()


@pytest.mark.parametrize("width", [80, 140])
def test_outbound_states_and_the_path_are_told_by_words(width):
    text = _print(build_outbound_result(3), width)
    # outbound_sample: SSL2 off, SSL3 off, 1.0 on and disputed, 1.1, 1.2, 1.3 on
    row = _outbound_row(text, "proxy-mirror2")
    assert row[1:9] == ["off", "off", "on", "!", "on", "on", "on", "re-encrypts"]
    assert _outbound_row(text, "proxy-tunnel1")[1:8] == ["?"] * 6 + ["tunnel"]
    assert _outbound_row(text, "proxy-blocked3")[1:8] == ["?"] * 6 + ["blocked"]
    assert _outbound_row(text, "proxy-unknown6")[1:8] == ["?"] * 6 + ["unknown"]
    assert "the proxy ends one and opens another" in _flat(text)
    assert "the proxy would not open the way: 403 Forbidden" in _flat(text)


def test_several_clients_of_a_host_have_a_row_each():
    text = _print(build_outbound_result(0), 140)
    assert _outbound_row(text, "WinHTTP as SYSTEM")[-6:] == ["off", "off", "on", "on", "on", "off"]
    assert _outbound_row(text, "curl")[-6:] == ["off", "off", "off", "?", "?", "off"]


@pytest.mark.parametrize("width", [80, 140])
def test_an_intercepted_path_is_told_with_its_reason(width):
    text = _flat(_print(build_outbound_result(0), width))
    assert "path, re-encrypts: device.login.microsoftonline.com:443: the certificate is not the one" in text
    assert "path, blocked: login.microsoftonline.com:443: the proxy would not open the way: 403" in text
    assert text.index("path, re-encrypts") < text.index("path, blocked") < text.index("path, tunnel")


def test_names_of_paths_are_not_names_of_the_host():
    assert "as device.login" not in _flat(_print(build_outbound_result(0), 140))


def test_hosts_that_were_asked_are_shown_however_many_others_there_are():
    text = _print(build_outbound_result(MOST_HOSTS + 1, count=6), 80)
    assert f"the worst {MOST_ROWS} of {MOST_HOSTS + 7} hosts" in _flat(text)
    for name in ("proxy-tunnel1", "proxy-mirror2", "proxy-blocked3", "sts-out4", "proxy-intercepted5"):
        assert _outbound_row(text, name)


def test_outbound_rows_are_bounded_and_it_says_so():
    count = MOST_HOSTS + 1
    text = _print(build_outbound_result(0, count=count), 140)
    assert f"the worst {MOST_ROWS} of {count} hosts that were asked" in _flat(text)


@pytest.mark.parametrize("width", [80, 140])
def test_where_a_file_and_the_wire_disagree_is_said_with_both_sides(width):
    text = _flat(_print(build_declared_result(), width))
    assert "Where declaration and measurement disagree" in text
    assert "nginx.conf turns TLS 1.0 and TLS 1.1 off, but the host accepts them" in text


def test_without_such_a_dispute_nothing_is_said_of_it():
    for result in (build_result(40), build_declared_result(file_only_host())):
        assert "declaration and measurement" not in _print(result)


def test_disputes_take_at_most_ten_lines():
    result = build_declared_result(*(disputed_host(f"s{number}.example.com") for number in range(30)))
    lines = _print(result, 400).splitlines()
    begin = lines.index(next(line for line in lines if line.startswith("Where declaration")))
    assert [line.split(":")[0] for line in lines[begin + 1 : begin + 1 + MOST_DISPUTES]] == ["disputed"] * MOST_DISPUTES
    assert lines[begin + 1 + MOST_DISPUTES].startswith("30 hosts in all")
    assert MOST_DISPUTES + 2 <= 10


def test_a_host_known_by_a_file_shows_both_sides():
    text = _print(build_declared_result(file_only_host()), 140)
    inbound, outbound = text.split("Outbound: which versions")
    # declared_sample: a listener ddddee, and connections ddd?ee.
    assert next(line for line in inbound.splitlines() if "proxy9" in line).split()[1:7] == ["off"] * 4 + ["on"] * 2
    assert next(line for line in outbound.splitlines() if "proxy9" in line).split()[1:7] == [
        "off",
        "off",
        "off",
        "?",
        "on",
        "on",
    ]
