"""Where a file and the wire disagree: what counts, and what is said of it. Expected words are written by hand."""

from dataclasses import replace

import pytest

from scanner.model.evidence import Basis
from scanner.reports.disputes import MOST_STATEMENTS, find_disputes, pending_restart, product_of, render_origin
from scanner.reports.objects import build_host
from tests.declaring import declare, make_leg
from tests.reports.declared_sample import (
    LEGACY,
    MODERN,
    OUT,
    build_declared_result,
    disputed_host,
    file_only_host,
    known_by_files,
    scanned,
)
from tests.reports.outbound_sample import build_outbound_result

NAME = "h.example"


def disputes(record):
    (host,) = build_declared_result(record).hosts
    return find_disputes(build_host(host))


def test_the_file_says_off_and_the_wire_says_on():
    (place,) = disputes(disputed_host())
    assert (place["direction"], place["is_measured"]) == ("inbound", True)
    assert place["where"] == "192.0.2.1:443 as sts.example.com"
    assert place["sentence"] == "nginx.conf turns TLS 1.0 and TLS 1.1 off, but the host accepts them"
    assert [row["version"] for row in place["rows"]] == ["TLS1.0", "TLS1.1"]
    said, seen = place["rows"][0]["said"], place["rows"][0]["seen"]
    assert (said["state"], seen["state"]) == ("disabled", "enabled")
    assert said["items"] == [
        {
            "file": "nginx.conf",
            "product": "nginx",
            "reason": "ssl_protocols names TLSv1.2 and TLSv1.3 alone",
            "basis": "declared",
            "origin": "nginx.conf:12",
            "state": "disabled",
        }
    ]
    assert (seen["items"][0]["basis"], seen["items"][0]["origin"]) == ("hello", "tcp://192.0.2.1:443")


def test_the_file_says_on_and_the_wire_says_off():
    (place,) = disputes(scanned(NAME, LEGACY - MODERN, declare(make_leg("ddeeed"))))
    assert place["sentence"] == "nginx.conf has TLS 1.2 on, but the host refuses it"


def test_a_default_is_told_from_what_is_written():
    leg = make_leg("dddded")
    settings = tuple(replace(each, basis=Basis.ASSUMED, place=None) for each in leg.settings)
    record = scanned(NAME, MODERN, declare(replace(leg, settings=settings)))
    (place,) = disputes(record)
    assert place["sentence"] == "nginx.conf leaves TLS 1.3 off by default, but the host accepts it"


@pytest.mark.parametrize(
    "record",
    [
        scanned(NAME, LEGACY),
        scanned(NAME, MODERN, declare(make_leg("ddddee"))),
        scanned(NAME, LEGACY, declare(make_leg("dd??ee"))),
        scanned(NAME, LEGACY, declare(make_leg("ddddee", listens=((None, 8443),)))),
        file_only_host(),
    ],
    ids=["no file", "agrees", "leaves it open", "another port", "nothing measured"],
)
def test_what_does_not_contradict_is_no_dispute(record):
    assert disputes(record) == []


def test_contradicting_answers_without_a_file_are_not_shown_here():
    for host in build_outbound_result().hosts:
        assert find_disputes(build_host(host)) == []


def _with_client(*legs):
    """outbound_sample: the mirroring proxy's client uses TLS 1.0 to 1.2, and not TLS 1.3."""
    from scanner.declared import tie_declarations  # noqa: PLC0415

    host = next(each for each in build_outbound_result().hosts if "mirror" in each.target.host)
    tied = tie_declarations([declare(*legs, host=host.target.host)], [])
    verdicts = tuple(replace(each, is_disputed=each.direction is OUT) for each in host.verdicts)
    return build_host(replace(host, declared=tied.results, verdicts=verdicts))


def test_what_a_client_used_against_all_that_the_file_says_is_a_dispute():
    (place,) = find_disputes(_with_client(make_leg("ddddee", "parent", direction=OUT, listens=())))
    assert place["direction"] == "outbound"
    assert place["rows"][0]["version"] == "TLS1.0"
    assert "nginx.conf turns TLS 1.0" in place["sentence"]
    assert "but the host uses" in place["sentence"]


def test_a_file_of_which_one_leg_agrees_with_the_client_is_no_dispute():
    host = _with_client(
        make_leg("ddddee", "parent", direction=OUT, listens=()), make_leg("ddeeed", "origin", direction=OUT, listens=())
    )
    versions = {row["version"] for place in find_disputes(host) for row in place["rows"]}
    assert not versions & {"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"}


def test_what_windows_allows_need_not_be_used():
    host = _with_client(make_leg("eeeeee", "Schannel", direction=OUT, listens=(), is_permission=True))
    assert find_disputes(host) == []


def test_two_files_that_differ_about_one_listener():
    one = declare(make_leg("ddddee", "a", server_names=("h.example",)), file="node1.conf")
    other = declare(make_leg("ddeeee", "b", server_names=("h.example",)), file="node2.conf")
    (place,) = disputes(known_by_files(NAME, one, replace(other, reading=replace(other.reading, sha256="cd" * 32))))
    assert (place["is_measured"], place["where"]) == (False, "port 443 as h.example")
    assert place["sentence"] == "node1.conf turns TLS 1.0 and TLS 1.1 off, but node2.conf has them on"


def test_two_files_about_different_names_are_no_dispute():
    one = declare(make_leg("ddddee", "a", server_names=("a.example",)), file="node1.conf")
    other = declare(make_leg("ddeeee", "b", server_names=("b.example",)), file="node2.conf")
    assert disputes(known_by_files(NAME, one, other)) == []


def test_thousands_of_legs_are_compared_by_where_they_listen():
    legs = [make_leg("ddddee", f"s{n}", listens=((None, n),)) for n in range(1, 3000)]
    changed = [*legs[:-1], make_leg("ddeeee", "s2999", listens=((None, 2999),))]
    (place,) = disputes(known_by_files(NAME, declare(*legs, file="a"), declare(*changed, file="b")))
    assert place["where"] == "port 2999"


def test_many_statements_are_counted():
    files = []
    for number in range(MOST_STATEMENTS + 2):
        each = declare(make_leg("ddddee"), host=NAME, file=f"node{number}.conf")
        files.append(replace(each, reading=replace(each.reading, sha256=f"{number:064x}")))
    (place,) = disputes(scanned(NAME, LEGACY, *files))
    assert (len(place["rows"][0]["said"]["items"]), place["rows"][0]["said"]["left_out"]) == (MOST_STATEMENTS, 2)


def test_a_restart_that_is_pending_is_told():
    (host,) = build_declared_result(disputed_host()).hosts
    assert pending_restart(build_host(host)).startswith("last boot 2026-11-01")
    (host,) = build_declared_result(file_only_host()).hosts
    assert pending_restart(build_host(host)) == ""


def test_a_product_has_its_version_and_a_default_the_files_name():
    file = {"product": "nginx", "product_version": "1.22.1", "file": "n.conf"}
    assert product_of(file) == "nginx 1.22.1"
    assert product_of({**file, "product_version": None}) == "nginx"
    place = {"file": "e.reg", "line": 7, "key": "HKLM"}
    assert render_origin({"place": place}, file) == "e.reg:7 HKLM"
    assert render_origin({"place": {**place, "line": None, "key": ""}}, file) == "e.reg"
    assert render_origin({"place": None}, file) == "n.conf"
