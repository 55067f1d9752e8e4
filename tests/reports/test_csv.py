"""CSV: a row for each endpoint and version, safe to open in a spreadsheet."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest

from scanner.reports.csv import COLUMNS, render_csv
from scanner.reports.source import source_of
from tests.declaring import declare, make_leg
from tests.reports.declared_sample import MODERN, OUT, build_declared_result, known_by_files, scanned
from tests.reports.outbound_sample import ADFS_CLIENTS, LISTENER, build_outbound_result
from tests.reports.sample import build_result

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def _render(result):
    return "".join(render_csv(source_of(result)))


def _rows(result):
    return list(csv.DictReader(io.StringIO(_render(result), newline="")))


def test_every_endpoint_has_six_rows_and_a_host_without_endpoints_too():
    result = build_result(40)
    rows = _rows(result)
    assert len(rows) == sum(6 * max(1, len(host.endpoints)) for host in result.hosts)
    unresolved = [host for host in result.hosts if not host.endpoints]
    assert unresolved
    own = [row for row in rows if row["host"] == unresolved[0].target.host]
    assert [row["version"] for row in own] == ["SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]
    assert {(row["address"], row["port"], row["state"]) for row in own} == {("", "", "unknown")}


def test_a_row_says_what_the_endpoint_says():
    result = build_result(40)
    rows = iter(_rows(result))
    for host in result.hosts:
        for endpoint in host.endpoints:
            for verdict in endpoint.verdicts:
                row = next(rows)
                assert (row["host"], row["address"], row["port"]) == (
                    host.target.host,
                    endpoint.endpoint.address,
                    str(endpoint.endpoint.port),
                )
                assert (row["version"], row["state"]) == (verdict.version.label, verdict.state.value)
                assert row["readiness"] == host.readiness.value
                strongest = {"enabled": "handshake", "disabled": "hello", "unknown": ""}  # as the sample is made
                assert row["basis"] == strongest[row["state"]]
                assert (row["gap"] != "") == (verdict.state.value == "unknown")
                assert row["disputed"] == ("yes" if verdict.is_disputed else "no")
        if not host.endpoints:
            for _ in range(6):
                next(rows)


def test_rfc_4180_line_ends_and_header():
    text = _render(build_result(1))
    assert text.startswith("host,role,address,port,server_name,direction,version,state,")
    assert text.count("\r\n") == text.count("\n") == 7


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_what_a_peer_sent_is_no_formula(start):
    result = build_result(1)
    host = result.hosts[0]
    verdict = dataclasses.replace(host.endpoints[0].verdicts[0], reason=f"{start}cmd|' /C calc'!A0")
    endpoint = dataclasses.replace(host.endpoints[0], verdicts=(verdict,))
    host = dataclasses.replace(host, endpoints=(endpoint,))
    (row,) = _rows(dataclasses.replace(result, hosts=(host,)))
    assert row["reason"].startswith("'" + start)


def test_hostile_text_breaks_no_row_and_can_be_written():
    result = build_result(40, is_hostile=True)
    text = _render(result)
    text.encode("utf-8")
    assert "\0" not in text
    rows = _rows(result)
    assert len(rows) == sum(6 * max(1, len(host.endpoints)) for host in result.hosts)
    assert {row["state"] for row in rows} == {"enabled", "disabled", "unknown"}


def test_hosts_come_one_after_another():
    chunks = list(render_csv(source_of(build_result(40))))
    assert len(chunks) == 41
    assert list(render_csv(source_of(build_result(0)))) == [",".join(COLUMNS) + "\r\n"]


def test_every_column_is_documented():
    for column in COLUMNS:
        assert f"`{column}`" in DOCUMENT, column


def test_columns_are_only_added_at_the_end():
    # Those of version 0.1.0, in its order.
    assert ",".join(COLUMNS).startswith(
        "host,role,address,port,server_name,direction,version,state,disputed,basis,reason,gap,readiness,tags,"
    )


def test_each_client_has_six_rows_after_the_endpoints():
    rows = [row for row in _rows(build_outbound_result(2)) if row["host"].startswith("sts-out")]
    assert [row["direction"] for row in rows] == ["inbound"] * 6 + ["outbound"] * 18
    outbound = rows[6:]
    assert [row["method"] for row in outbound[::6]] == [method for method, _ in ADFS_CLIENTS]
    assert outbound[0]["scope"] == "adfs-metadata from 10.200.0.3"
    for at, (_, letters) in enumerate(ADFS_CLIENTS):
        assert "".join(row["state"][0] for row in outbound[6 * at : 6 * at + 6]) == letters
    assert {(row["address"], row["port"], row["path"], row["path_kind"]) for row in outbound} == {("", "", "", "")}
    assert {(row["method"], row["scope"]) for row in rows[:6]} == {("", "")}


@pytest.mark.parametrize(
    ("host", "kinds"),
    [
        ("proxy-tunnel1", ["tunnel"] * 5),
        ("proxy-mirror2", ["re-encrypts", "tunnel", "tunnel", "tunnel", "re-encrypts"]),
        ("proxy-intercepted5", ["re-encrypts", "tunnel", "tunnel", "re-encrypts", "re-encrypts"]),
    ],
)
def test_paths_are_told_by_destination_and_kind(host, kinds):
    rows = [row for row in _rows(build_outbound_result()) if row["host"].startswith(host)]
    names = ["login.microsoftonline.com", "enterpriseregistration.windows.net", "device.login.microsoftonline.com"]
    assert [row["path"] for row in rows[::6]] == [LISTENER, *(f"{name}:443" for name in names), LISTENER]
    assert [row["path_kind"] for row in rows[::6]] == kinds
    assert {row["direction"] for row in rows[:-6]} == {"inbound"}
    assert {row["direction"] for row in rows[-6:]} == {"outbound"}


def test_a_blocked_proxy_has_its_own_rows_and_those_of_its_client():
    rows = [row for row in _rows(build_outbound_result()) if row["host"].startswith("proxy-blocked")]
    assert [(row["direction"], row["gap"], row["path_kind"]) for row in rows[::6]] == [
        ("inbound", "PROXY_DECLINED", ""),
        ("outbound", "PROXY_DECLINED", "blocked"),
    ]


def _brief(rows):
    return [(row["direction"], row["port"], row["scope"], row["basis"]) for row in rows]


def test_what_a_file_alone_declares_has_rows_and_what_was_measured_is_not_there_twice():
    declaration = declare(
        make_leg("ddddee", "at 443"),
        make_leg("dd?eee", "at 8443", listens=((None, 8443),), server_names=("a.example", "b.example")),
        make_leg("eeeeee", "admin", listens=((None, 9443),), is_management=True),
        make_leg("ddddee", "upstream", direction=OUT, listens=()),
    )
    rows = _rows(build_declared_result(scanned("h.example", MODERN, declaration)))
    assert len(rows) == 18
    assert {(row["direction"], row["port"], row["scope"]) for row in rows} == {
        ("inbound", "443", ""),
        ("inbound", "8443", "at 8443 in nginx.conf"),
        ("outbound", "", "upstream in nginx.conf"),
    }
    old = next(row for row in rows if row["port"] == "8443" and row["version"] == "TLS1.0")
    assert (old["state"], old["basis"], old["gap"]) == ("unknown", "", "LIBRARY_POLICY")
    new = next(row for row in rows if row["port"] == "8443" and row["version"] == "TLS1.2")
    assert (new["state"], new["basis"], new["address"]) == ("enabled", "declared", "")
    assert (new["server_name"], new["reason"]) == ("a.example b.example", "the file says e (nginx.conf:7)")


def test_a_host_that_only_a_file_tells_of_has_the_rows_of_its_listener():
    rows = _rows(build_declared_result(known_by_files("h.example", declare(make_leg("ddddee", "s")))))
    assert _brief(rows) == [("inbound", "443", "s in nginx.conf", "declared")] * 6


def test_what_windows_allows_has_rows_only_where_nothing_tells_what_is_used():
    allowed = make_leg("deeeee", "Schannel", listens=(), is_permission=True)
    rows = _rows(build_declared_result(known_by_files("h.example", declare(allowed))))
    assert [row["version"] for row in rows] == ["SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]
    rows = _rows(build_declared_result(scanned("h.example", MODERN, declare(allowed))))
    assert [(row["version"], row["state"]) for row in rows if row["scope"]] == [("SSL2", "disabled")]
