from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.checks import CheckState
from scanner.model.exchange import Ending
from scanner.model.runs import Resolution
from scanner.model.subjects import Role
from scanner.recognise import plan_http, recognise
from scanner.role_adfs import METADATA_PATH, NONSENSE_PATH, PROBE_PATH, WINDOWS_TRANSPORT_PATH
from scanner.role_entra import CLOUD_DISCOVERY_PATH, CONTRACT_PATH, LOGIN_PATH
from tests.role_exchanges import certificate, endpoint, exchange, response, target

CLOUD = "enterpriseregistration.windows.net"
CUSTOM = "enterpriseregistration.example.test"
_ROOT = Path(__file__).parent.parent


def _asked(questions):
    return [
        (one.endpoint.address, one.endpoint.port, one.endpoint.server_name, one.path, one.host) for one in questions
    ]


def test_ad_fs_is_asked_on_port_80_and_443_of_every_address_under_the_service_name():
    endpoints = [
        endpoint(address, port, is_optional=port == 49443)
        for address in ("192.0.2.7", "2001:db8::7")
        for port in (443, 49443)
    ]
    name = "sts.example.test"
    expected = [
        (address, 80, None, path, name)
        for address in ("192.0.2.7", "2001:db8::7")
        for path in (PROBE_PATH, NONSENSE_PATH)
    ]
    expected += [
        (address, 443, name, path, name)
        for address in ("192.0.2.7", "2001:db8::7")
        for path in (METADATA_PATH, WINDOWS_TRANSPORT_PATH)
    ]
    assert _asked(plan_http(target(), endpoints)) == expected


def test_a_farm_node_given_by_address_is_asked_under_the_service_name():
    questions = plan_http(target("192.0.2.8", server_name="sts.example.test"), [endpoint("192.0.2.8")])
    assert {one.host for one in questions} == {"sts.example.test"}


def test_without_any_name_the_address_is_the_host():
    bare = [endpoint("192.0.2.8", server_name=None), endpoint("2001:db8::8", server_name=None)]
    assert {one.host for one in plan_http(target("192.0.2.8"), bare)} == {"192.0.2.8", "[2001:db8::8]"}


def test_another_port_is_asked_in_place_of_443_and_named_in_the_host_field():
    questions = plan_http(target(ports=(8443,)), [endpoint(port=8443), endpoint(port=9443)])
    assert [(one.endpoint.port, one.host) for one in questions if one.path == METADATA_PATH] == [
        (8443, "sts.example.test:8443")
    ]


def test_the_health_page_s_nonsense_path_is_fixed():
    """It must be known again when a stored run is judged."""
    assert NONSENSE_PATH == "/adfs/probe-5f0c1d"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (CLOUD, CLOUD_DISCOVERY_PATH),
        ("enterpriseregistration.microsoftonline.us", CLOUD_DISCOVERY_PATH),
        ("enterpriseregistration.partner.microsoftonline.cn", CLOUD_DISCOVERY_PATH),
        (CUSTOM, CONTRACT_PATH),
        ("login.microsoftonline.com", LOGIN_PATH),
        ("device.login.microsoftonline.com", LOGIN_PATH),
        ("certauth.enterpriseregistration.windows.net", None),
        ("autologon.microsoftazuread-sso.com", None),
        ("enterpriseregistrationx.example.test", None),
    ],
)
def test_registration_endpoints_are_asked_by_their_name(name, path):
    questions = plan_http(target(name, role=Role.ENDPOINT), [endpoint(server_name=name)])
    assert [(one.path, one.host) for one in questions] == ([(path, name)] if path else [])


def test_cloud_discovery_is_asked_as_the_connectivity_script_does():
    [question] = plan_http(target(CLOUD, role=Role.ENDPOINT), [endpoint(server_name=CLOUD)])
    assert question.path == "/microsoft.com/discover?api-version=1.7"
    assert question.headers == (
        ("Accept", "application/json"),
        ("ocp-adrs-client-name", "dsreg"),
        ("ocp-adrs-client-version", "10"),
    )


def test_microsoft_s_names_are_asked_once_an_address_family_and_an_organisation_s_everywhere():
    addresses = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")

    def asked(name):
        endpoints = [endpoint(address, server_name=name) for address in addresses]
        return [one.endpoint.address for one in plan_http(target(name, role=Role.ENDPOINT), endpoints)]

    assert asked(CLOUD) == asked("login.microsoftonline.com") == ["192.0.2.1", "2001:db8::1"]
    assert asked(CUSTOM) == list(addresses)


@pytest.mark.parametrize("role", [Role.PROXY, Role.REVERSE_PROXY, Role.SERVER])
def test_other_roles_are_asked_nothing_and_recognised_as_nothing(role):
    subject = target("login.microsoftonline.com", role=role)
    assert plan_http(subject, [endpoint()]) == ()
    assert recognise(subject, Resolution(), [exchange(PROBE_PATH, response(200))], [certificate()]) == ()


def test_no_endpoint_means_no_question():
    assert plan_http(target(), []) == ()
    assert plan_http(target(CLOUD, role=Role.ENDPOINT), []) == ()


ALL_PATHS = [
    PROBE_PATH,
    NONSENSE_PATH,
    METADATA_PATH,
    WINDOWS_TRANSPORT_PATH,
    CLOUD_DISCOVERY_PATH,
    CONTRACT_PATH,
    LOGIN_PATH,
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ALL_PATHS),
            st.sampled_from(list(Ending)),
            st.binary(max_size=60) | st.builds(response, st.integers(200, 599), st.binary(max_size=60)),
        ),
        max_size=8,
    ),
    st.sampled_from([("sts.example.test", Role.ADFS), (CLOUD, Role.ENDPOINT), (CUSTOM, Role.ENDPOINT)]),
)
def test_no_answer_raises_and_every_detail_is_bounded(answers, subject):
    host, role = subject
    exchanges = [exchange(path, received, ending=ending) for path, ending, received in answers]
    for check in recognise(target(host, role=role), Resolution(), exchanges, ()):
        assert 0 < len(check.detail) <= 300
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", check.detail)


@given(st.lists(st.sampled_from([one for one in Ending if one is not Ending.REFUSED]), max_size=8))
def test_failures_to_ask_are_never_a_no(endings):
    """The second law: a gap never becomes a fact."""
    exchanges = [exchange(path, ending=ending) for path, ending in zip(ALL_PATHS, endings, strict=False)]
    for host, role in (("sts.example.test", Role.ADFS), (CLOUD, Role.ENDPOINT)):
        checks = recognise(target(host, role=role), Resolution(), exchanges, ())
        assert all(check.state is not CheckState.NO for check in checks)


def test_every_check_and_question_is_in_the_documentation():
    documented = (_ROOT / "docs/roles.md").read_text("utf-8")
    refused = [exchange(path, response(426)) for path in ALL_PATHS]
    found = {
        check.id
        for host, role in (("sts.example.test", Role.ADFS), (CLOUD, Role.ENDPOINT), ("login.x.test", Role.ENDPOINT))
        for check in recognise(target(host, role=role), Resolution(), refused, ())
    }
    assert len(found) == 12
    assert [one for one in sorted(found) if f"`{one}`" not in documented] == []
    assert [path for path in ALL_PATHS if path not in documented] == []
