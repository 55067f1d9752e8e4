"""Names and documents are Microsoft's published ones; no test contacts them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.certificates import ISSUER_IS_KNOWN
from scanner.model.checks import CheckState
from scanner.model.exchange import Ending
from scanner.model.runs import Resolution
from scanner.model.subjects import Role
from scanner.role_entra import CLOUD_DISCOVERY_PATH, CONTRACT_PATH, LOGIN_PATH, is_sign_in_name, recognise_entra
from tests.probes.test_documents import CONTRACT, CONTRACT_XML
from tests.role_exchanges import by_id, certificate, exchange, response, target

YES, NO, UNKNOWN = CheckState

CLOUD = "enterpriseregistration.windows.net"
CUSTOM = "enterpriseregistration.example.test"
MICROSOFT_ISSUER = "CN=Microsoft Azure RSA TLS Issuing CA 04,O=Microsoft Corporation,C=US"
RESOLVED = Resolution(addresses=("192.0.2.7",))


def _recognise(host, *exchanges, resolution=RESOLVED, certificates=(), **fields):
    subject = target(host, role=Role.ENDPOINT, **fields)
    return by_id(recognise_entra(subject, resolution, exchanges, certificates))


def test_each_kind_of_name_has_its_checks():
    assert set(_recognise(CLOUD)) == {"drs-cloud", "drs-discovery", "microsoft-issuer"}
    assert set(_recognise("login.microsoftonline.com")) == {"login-answers", "microsoft-issuer"}
    assert set(_recognise("autologon.microsoftazuread-sso.com")) == {"microsoft-issuer"}
    assert set(_recognise(CLOUD, exchange(CLOUD_DISCOVERY_PATH))) >= {"http-refuses-tls-version"}


def test_sign_in_names():
    assert is_sign_in_name("login.microsoftonline.us")
    assert is_sign_in_name("Device.login.microsoftonline.com")
    assert not is_sign_in_name("autologon.microsoftazuread-sso.com")
    assert not is_sign_in_name("loginx.example.test")


@pytest.mark.parametrize(
    ("host", "resolution", "state", "is_verified"),
    [
        (CLOUD, RESOLVED, YES, True),
        (CUSTOM, Resolution(addresses=("192.0.2.7",), cname_chain=(CLOUD,)), YES, True),
        (CUSTOM, RESOLVED, NO, False),
        (CUSTOM, Resolution(addresses=("192.0.2.7",), cname_error="SERVFAIL"), UNKNOWN, True),
        (CUSTOM, Resolution(error="does not exist"), UNKNOWN, True),
    ],
)
def test_who_runs_the_service_follows_the_chain_of_names(host, resolution, state, is_verified):
    check = _recognise(host, resolution=resolution)["drs-cloud"]
    assert (check.state, check.is_verified) == (state, is_verified)
    assert " -> ".join((host, *resolution.cname_chain)) in check.detail
    assert (resolution.cname_error or "") in check.detail


def test_a_node_given_by_address_says_nothing_of_its_name_s_chain():
    check = _recognise("192.0.2.7", server_name=CUSTOM)["drs-cloud"]
    assert check.state is UNKNOWN


@pytest.mark.parametrize("path", [CLOUD_DISCOVERY_PATH, CONTRACT_PATH])
@pytest.mark.parametrize(
    ("received", "state"),
    [
        (response(200, json.dumps(CONTRACT)), YES),
        (response(200, CONTRACT_XML), YES),
        (response(200, json.dumps(CONTRACT))[:-20], UNKNOWN),
        (response(200, "<html>Please sign in to the proxy</html>", Content_Type="text/html"), NO),
        (response(302, Location="http://portal.example.test/"), NO),
        (response(404), NO),
        (response(503), UNKNOWN),
        (response(429), UNKNOWN),
        (response(426), UNKNOWN),
        (response(400, '{"error_description":"AADSTS1002016"}'), UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_the_discovery_document_is_judged_by_what_came(path, received, state):
    host = CLOUD if path == CLOUD_DISCOVERY_PATH else CUSTOM
    assert _recognise(host, exchange(path, received))["drs-discovery"].state is state


def test_the_discovery_document_s_join_endpoint_and_sections_are_shown():
    detail = _recognise(CUSTOM, exchange(CONTRACT_PATH, response(200, json.dumps(CONTRACT))))["drs-discovery"].detail
    assert CONTRACT["DeviceJoinService"]["JoinEndpoint"] in detail
    assert "IdentityProviderService" in detail


def test_where_a_redirect_leads_is_shown():
    seen = exchange(CLOUD_DISCOVERY_PATH, response(302, Location="http://portal.example.test/"))
    assert "http://portal.example.test/" in _recognise(CLOUD, seen)["drs-discovery"].detail


@pytest.mark.parametrize(
    ("received", "state"), [(response(302), YES), (response(404), YES), (b"", UNKNOWN), (b"SSH-2.0-x\r\n", UNKNOWN)]
)
def test_any_answer_of_a_sign_in_host_is_an_answer(received, state):
    seen = exchange(LOGIN_PATH, received, ending=Ending.PEER_CLOSED)
    assert _recognise("login.microsoftonline.com", seen)["login-answers"].state is state


def test_an_accepted_handshake_is_told_from_an_accepted_request():
    refused = exchange(LOGIN_PATH, response(400, '{"error_description":"AADSTS1002016: TLS 1.0"}'))
    assert _recognise("login.microsoftonline.com", refused)["http-refuses-tls-version"].state is YES
    accepted = exchange(LOGIN_PATH, response(200))
    assert _recognise("login.microsoftonline.com", accepted)["http-refuses-tls-version"].state is NO


NO_PATH = "candidates exhausted: all candidates exhausted with no interior errors"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"issuer": MICROSOFT_ISSUER, "errors": (None, None)}, YES),
        ({"issuer": "CN=DigiCert SHA2 Secure Server CA,O=DigiCert Inc,C=US", "errors": (NO_PATH, None)}, YES),
        ({"issuer": "CN=R3,O=Let's Encrypt,C=US", "errors": (None,)}, UNKNOWN),
        ({"issuer": "CN=Inspector,O=Example Org", "errors": (NO_PATH, NO_PATH)}, NO),
        # A private CA may call itself what it likes.
        ({"issuer": MICROSOFT_ISSUER, "errors": (NO_PATH, NO_PATH)}, NO),
        ({"issuer": MICROSOFT_ISSUER, "errors": (NO_PATH,), "chain_count": 1}, UNKNOWN),
        ({"issuer": "CN=Inspector", "errors": (NO_PATH,), "chain_count": 1}, NO),
        ({"issuer": MICROSOFT_ISSUER, "errors": (NO_PATH, ISSUER_IS_KNOWN + "no matching subjectAltName")}, UNKNOWN),
        ({"issuer": "CN=O\\=Microsoft Corporation,O=Example Org", "errors": (None,)}, UNKNOWN),
        ({"issuer": "", "errors": (NO_PATH,)}, NO),
        ({"issuer": "not a distinguished name", "errors": (None,)}, UNKNOWN),
        ({"errors": ()}, UNKNOWN),
        ({"issuer": "", "errors": (), "parse_error": "ParseError"}, UNKNOWN),
    ],
)
def test_the_issuer_makes_interception_visible(fields, state):
    check = _recognise(CLOUD, certificates=[certificate(**fields)])["microsoft-issuer"]
    assert (check.state, check.is_verified) == (state, False)
    assert fields.get("issuer", "CN=Example Issuing CA") in check.detail


def test_no_certificate_is_unknown():
    assert _recognise(CLOUD)["microsoft-issuer"].state is UNKNOWN


def test_one_private_certificate_among_several_is_shown_first():
    seen = [
        certificate(issuer=MICROSOFT_ISSUER, errors=(None,)),
        certificate(issuer="CN=Inspector", errors=(NO_PATH,)),
    ]
    for order in (seen, seen[::-1]):
        check = _recognise(CLOUD, certificates=order)["microsoft-issuer"]
        assert check.state is NO
        assert check.detail.startswith("issuer CN=Inspector")


def test_an_organisation_s_own_service_may_have_any_issuer():
    check = _recognise(CUSTOM, certificates=[certificate(issuer="CN=Inspector", errors=(NO_PATH,))])["microsoft-issuer"]
    assert check.state is UNKNOWN
    assert "CN=Inspector" in check.detail


def test_a_long_issuer_does_not_hide_what_is_said_of_it():
    long = certificate(issuer="CN=" + "x" * 490, errors=(NO_PATH,))
    assert "private CA" in _recognise(CLOUD, certificates=[long])["microsoft-issuer"].detail


@given(st.text(max_size=60) | st.text(alphabet='CNO=,+\\#"; 0aC', max_size=40))
def test_no_issuer_text_raises(issuer):
    check = _recognise(CLOUD, certificates=[certificate(issuer=issuer, errors=(None,))])["microsoft-issuer"]
    assert check.state in {YES, UNKNOWN}
