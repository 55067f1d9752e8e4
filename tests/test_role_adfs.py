"""Expected states follow the recipe of docs/roles.md; METADATA is shaped as AD FS publishes it."""

from __future__ import annotations

import pytest

from scanner.model.checks import CheckState
from scanner.model.exchange import Ending, Probe
from scanner.role_adfs import METADATA_PATH, NONSENSE_PATH, PROBE_PATH, WINDOWS_TRANSPORT_PATH, recognise_adfs
from tests.probes.test_documents import METADATA
from tests.role_exchanges import by_id, certificate, exchange, response, target

YES, NO, UNKNOWN = CheckState

GENERIC_SAML = b'<EntityDescriptor entityID="https://idp.example.test" xmlns="urn:oasis:names:tc:SAML:2.0:metadata"/>'


def _recognise(*exchanges, certificates=(), subject=None):
    return by_id(recognise_adfs(subject or target(), exchanges, certificates))


def _states(*exchanges, **options):
    return {check_id: check.state for check_id, check in _recognise(*exchanges, **options).items()}


def _metadata(received, **where):
    return exchange(METADATA_PATH, received, **where)


def _probes(status, nonsense_status, address="192.0.2.7"):
    pairs = ((PROBE_PATH, status), (NONSENSE_PATH, nonsense_status))
    return [
        exchange(path, response(code), address=address, port=80, server_name=None)
        if code
        else exchange(path, ending=Ending.REFUSED, os_error="ECONNREFUSED", address=address, port=80, server_name=None)
        for path, code in pairs
    ]


def test_nothing_asked_is_unknown_everywhere():
    assert set(_states().values()) == {UNKNOWN}


def test_nothing_answered_is_unknown_everywhere_and_never_no():
    failures = [exchange(path, ending=Ending.TIMED_OUT_CONNECT) for path in (METADATA_PATH, WINDOWS_TRANSPORT_PATH)]
    assert set(_states(*failures, *_probes(0, 0)).values()) == {UNKNOWN}


def test_an_ad_fs_server_is_recognised_with_certainty_by_its_metadata():
    checks = _recognise(_metadata(response(200, METADATA)), *_probes(200, 404))
    assert checks["adfs-recognised"].state is YES
    assert checks["adfs-recognised"].weight == "certain"
    assert checks["adfs-federation-metadata"].state is YES
    assert "http://sts.example.test/adfs/services/trust" in checks["adfs-federation-metadata"].detail
    assert "SecurityTokenServiceType" in checks["adfs-federation-metadata"].detail
    assert checks["adfs-probe"].state is YES


@pytest.mark.parametrize(
    ("received", "state"),
    [
        (response(200, METADATA), YES),
        (response(200, METADATA)[:-400], YES),  # cut after the roles, as large farms' metadata is
        (response(200, METADATA)[: len(response(200, METADATA)) - len(METADATA) + 250], UNKNOWN),
        (response(200, GENERIC_SAML), NO),
        (response(200, "<html>sign in</html>"), NO),
        (response(404), NO),
        (response(302, Location="https://elsewhere.example.test/"), NO),
        (response(503), UNKNOWN),
        (response(429), UNKNOWN),
        (response(426), UNKNOWN),
        (b"\x15\x03\x01\x00\x02\x02\x28", UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_metadata_is_judged_by_what_came(received, state):
    assert _states(_metadata(received))["adfs-federation-metadata"] is state


def test_without_the_service_name_a_refusal_of_the_metadata_says_nothing():
    seen = _recognise(_metadata(response(404), server_name=None))["adfs-federation-metadata"]
    assert seen.state is UNKNOWN
    assert "service name" in seen.detail


@pytest.mark.parametrize(
    ("status", "nonsense_status", "state"),
    [
        (200, 404, YES),
        (200, 503, YES),
        (200, 200, UNKNOWN),  # answers 200 to anything
        (200, 0, UNKNOWN),
        (404, 404, NO),
        (301, 301, NO),
        (0, 404, UNKNOWN),
    ],
)
def test_the_health_page_counts_only_against_a_nonsense_path(status, nonsense_status, state):
    assert _states(*_probes(status, nonsense_status))["adfs-probe"] is state


def test_the_health_page_of_one_node_is_not_compared_with_another_s():
    probe, _ = _probes(200, 404, "192.0.2.7")
    _, nonsense = _probes(200, 404, "192.0.2.8")
    assert _states(probe, nonsense)["adfs-probe"] is UNKNOWN


def test_the_health_page_alone_recognises_strongly():
    checks = _recognise(*_probes(200, 404))
    assert (checks["adfs-recognised"].state, checks["adfs-recognised"].weight) == (YES, "strong")


def test_not_recognised_needs_both_answers_to_be_no():
    assert _states(_metadata(response(404)), *_probes(404, 404))["adfs-recognised"] is NO
    assert _states(_metadata(response(404)), *_probes(0, 0))["adfs-recognised"] is UNKNOWN
    assert _states(_metadata(b""), *_probes(404, 404))["adfs-recognised"] is UNKNOWN


def test_one_node_of_several_is_enough_to_recognise_the_service():
    seen = [_metadata(response(404), address="192.0.2.8"), _metadata(response(200, METADATA), address="192.0.2.7")]
    check = _recognise(*seen)["adfs-federation-metadata"]
    assert check.state is YES
    assert check.detail.startswith("192.0.2.7:443: entityID")
    assert "192.0.2.8:443: HTTP 404" in check.detail


@pytest.mark.parametrize(
    ("names", "sni", "state"),
    [
        (("sts.example.test", "certauth.sts.example.test"), "sts.example.test", YES),
        (("sts.example.test", "enterpriseregistration.example.test"), "sts.example.test", YES),
        (("STS.example.test", "CertAuth.sts.example.test"), "sts.example.test", YES),
        (("*.example.test", "certauth.sts.example.test"), "sts.example.test", YES),
        (("*.example.test",), "sts.example.test", NO),
        (("sts.example.test", "certauth.other.example.test"), "sts.example.test", NO),
        (("sts.example.test", "xcertauth.sts.example.test"), "sts.example.test", NO),
        (("certauth.sts.example.test",), "sts.example.test", NO),
        (("*.test", "certauth.sts.example.test"), "sts.example.test", NO),  # a wildcard is one label
        ((), "sts.example.test", NO),
        (("sts.example.test", "certauth.sts.example.test"), None, YES),
        (("certauth.sts.example.test",), None, NO),
    ],
)
def test_certificate_names_are_compared_with_what_ad_fs_asks_for(names, sni, state):
    subject = target("192.0.2.7", server_name=sni)
    assert _states(certificates=[certificate(*names)], subject=subject)["adfs-certificate-names"] is state


def test_a_certificate_that_was_not_seen_or_read_is_unknown():
    assert _states()["adfs-certificate-names"] is UNKNOWN
    unread = certificate(parse_error="the extensions could not be parsed")
    assert _states(certificates=[unread])["adfs-certificate-names"] is UNKNOWN


@pytest.mark.parametrize(
    ("status", "state"),
    [(405, NO), (400, NO), (503, NO), (404, YES), (401, UNKNOWN), (200, UNKNOWN), (302, UNKNOWN)],
)
def test_wap_or_ad_fs_is_a_heuristic_and_says_so(status, state):
    check = _recognise(
        _metadata(response(200, METADATA)), exchange(WINDOWS_TRANSPORT_PATH, response(status)), *_probes(200, 404)
    )["adfs-is-wap"]
    assert (check.state, check.weight, check.is_verified) == (state, "weak", False)
    assert "relays" in check.detail


def test_wap_or_ad_fs_is_not_asked_of_what_was_not_recognised():
    for status in (404, 405):
        seen = _states(_metadata(response(404)), exchange(WINDOWS_TRANSPORT_PATH, response(status)))
        assert seen["adfs-is-wap"] is UNKNOWN


def test_a_name_that_leads_to_both_is_unknown():
    seen = _states(
        _metadata(response(200, METADATA)),
        exchange(WINDOWS_TRANSPORT_PATH, response(404), address="192.0.2.7"),
        exchange(WINDOWS_TRANSPORT_PATH, response(405), address="192.0.2.8"),
    )
    assert seen["adfs-is-wap"] is UNKNOWN


def test_503_without_metadata_is_an_outage_and_no_sign_of_ad_fs():
    seen = _states(_metadata(response(503)), exchange(WINDOWS_TRANSPORT_PATH, response(503)), *_probes(200, 404))
    assert seen["adfs-is-wap"] is UNKNOWN


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending.COMPLETE, YES),
        (Ending.PEER_RESET, YES),
        (Ending.REFUSED, NO),
        (Ending.TIMED_OUT_CONNECT, UNKNOWN),
        (Ending.UNREACHABLE, UNKNOWN),
        (Ending.LOCAL_FAILURE, UNKNOWN),
        (Ending.CANCELLED, UNKNOWN),
    ],
)
def test_the_user_certificate_port_is_open_refused_or_unknown(ending, state):
    seen = exchange(None, probe=Probe.HELLO, ending=ending, port=49443)
    assert _states(seen)["adfs-user-certificate-port"] is state


@pytest.mark.parametrize(
    ("headers", "state"),
    [({"Server": "Microsoft-HTTPAPI/2.0"}, YES), ({"Server": "nginx"}, NO), ({}, UNKNOWN)],
)
def test_windows_http_stack_is_known_by_its_server_field(headers, state):
    check = _recognise(_metadata(response(404, **headers)))["adfs-http-sys"]
    assert (check.state, check.is_verified) == (state, False)


def test_a_refusal_above_tls_is_added_where_seen_only():
    assert "http-refuses-tls-version" not in _states(_metadata(response(200, METADATA)))
    assert _states(_metadata(response(426)))["http-refuses-tls-version"] is YES


def test_hostile_headers_do_not_reach_the_detail_raw():
    server = "x\u00ad\u0085" + "y" * 5_000
    raw = b"HTTP/1.1 404 N\r\nServer: " + server.encode("latin-1") + b"\r\nContent-Length: 0\r\n\r\n"
    detail = _recognise(_metadata(raw))["adfs-http-sys"].detail
    assert len(detail) <= 300
    assert not {"\u0085", "\u00ad"} & set(detail)
