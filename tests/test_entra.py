"""Entra's endpoints against Microsoft's documents, and the CNAME classifier.

The host lists below were typed from the documents named, not from the data file.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.entra import (
    Cloud,
    DrsPlace,
    classify_cname_chain,
    entra_endpoints,
    entra_endpoints_version,
    entra_names,
    is_registration_name,
)

# MicrosoftDocs/entra-docs: how-to-hybrid-join.md, its two lists of hosts.
HYBRID_JOIN = {
    "global": {
        "enterpriseregistration.windows.net",
        "login.microsoftonline.com",
        "device.login.microsoftonline.com",
        "autologon.microsoftazuread-sso.com",
    },
    "usgov": {
        "enterpriseregistration.windows.net",
        "enterpriseregistration.microsoftonline.us",
        "login.microsoftonline.us",
        "device.login.microsoftonline.us",
        "autologon.microsoft.us",
    },
}
# learn.microsoft.com/entra/identity/devices/plan-device-deployment: hosts that must be exempt from TLS interception.
PLAN_EXEMPT = {
    "enterpriseregistration.windows.net",
    "certauth.enterpriseregistration.windows.net",
    "enterpriseregistration.partner.microsoftonline.cn",
    "certauth.enterpriseregistration.partner.microsoftonline.cn",
    "enterpriseregistration.microsoftonline.us",
    "certauth.enterpriseregistration.microsoftonline.us",
}


@pytest.mark.parametrize("cloud", ["global", "usgov"])
def test_every_host_of_the_hybrid_join_document_is_there_and_scanned(cloud):
    found = {e.name: e for e in entra_endpoints(cloud) if "hybrid-join" in {source.id for source in e.sources}}
    assert set(found) == HYBRID_JOIN[cloud]
    assert all(endpoint.is_verified and endpoint.is_scanned for endpoint in found.values())


def test_the_hosts_exempt_from_interception_are_marked_with_their_source():
    named = {e.name for e in entra_endpoints() if "plan-deployment" in {s.id for s in e.inspection_sources}}
    assert named == PLAN_EXEMPT
    # hybrid-join-manual.md exempts its whole list, which is the global one.
    named = {e.name for e in entra_endpoints("global") if "hybrid-join-manual" in {s.id for s in e.inspection_sources}}
    assert named == HYBRID_JOIN["global"]
    # how-to-hybrid-join.md names this host and no other.
    named = {e.name for e in entra_endpoints() if "hybrid-join" in {s.id for s in e.inspection_sources}}
    assert named == {"device.login.microsoftonline.com"}


def test_what_rests_on_field_notes_is_not_called_verified():
    unverified = {(e.cloud.value, e.name) for e in entra_endpoints() if not e.is_verified}
    assert unverified == {
        ("china", "enterpriseregistration.windows.net"),
        ("china", "login.partner.microsoftonline.cn"),
        ("china", "device.login.partner.microsoftonline.cn"),
    }
    for endpoint in entra_endpoints():
        assert endpoint.is_verified == any("MicrosoftDocs/" in s.repository_path for s in endpoint.sources)


def test_an_inspection_rule_without_a_document_is_not_called_verified():
    concluded = {e.name for e in entra_endpoints() if not e.is_inspection_rule_verified}
    assert concluded == {
        "login.microsoftonline.us",
        "device.login.microsoftonline.us",
        "autologon.microsoft.us",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
        "device.login.partner.microsoftonline.cn",
    }


def test_hosts_that_take_the_device_certificate_must_not_be_inspected():
    taking = [e for e in entra_endpoints() if e.takes_client_certificate]
    assert {e.name.split(".")[0] for e in taking} == {"certauth", "device"}
    assert len(taking) == 6
    assert all(e.must_not_be_inspected for e in taking)


def test_the_data_is_well_formed():
    endpoints = entra_endpoints()
    assert len({(e.cloud, e.name) for e in endpoints}) == len(endpoints)
    assert entra_endpoints_version()
    assert {e.cloud for e in endpoints} == set(Cloud)
    for endpoint in endpoints:
        assert endpoint.name == endpoint.name.lower().strip(".")
        assert endpoint.port == 443
        assert endpoint.purpose
        assert endpoint.needed
        for source in (*endpoint.sources, *endpoint.inspection_sources):
            assert source.title
            assert source.url.startswith("https://")
            assert ":" in source.repository_path
    assert entra_names() == {e.name for e in endpoints}
    assert [e.name for e in endpoints if not e.is_scanned] == ["login.windows.net"]


def test_endpoints_are_read_once_and_frozen():
    assert entra_endpoints("global") is entra_endpoints("global")
    with pytest.raises(dataclasses.FrozenInstanceError):
        entra_endpoints()[0].name = "x"


def test_an_unknown_cloud_is_an_error():
    with pytest.raises(ValueError, match="moon"):
        entra_endpoints("moon")


GLOBAL, USGOV, CHINA = Cloud.GLOBAL, Cloud.USGOV, Cloud.CHINA
CUSTOM = "enterpriseregistration.contoso.example"
CHAINS = [
    # The service's own names, with whatever aliases they have.
    ("enterpriseregistration.windows.net", [], DrsPlace.CLOUD, GLOBAL, True),
    ("EnterpriseRegistration.Windows.NET.", ["a.trafficmanager.example"], DrsPlace.CLOUD, GLOBAL, True),
    ("certauth.enterpriseregistration.windows.net", [], DrsPlace.CLOUD, GLOBAL, True),
    ("enterpriseregistration.microsoftonline.us", [], DrsPlace.CLOUD, USGOV, True),
    ("enterpriseregistration.partner.microsoftonline.cn", [], DrsPlace.CLOUD, CHINA, True),
    # Microsoft's names that are not the registration service.
    ("login.microsoftonline.com", [], DrsPlace.UNKNOWN, None, False),
    ("login.windows.net", ["enterpriseregistration.windows.net"], DrsPlace.UNKNOWN, None, False),
    ("enterpriseregistration.other.windows.net", [], DrsPlace.UNKNOWN, None, False),
    ("autologon.microsoftazuread-sso.com", [], DrsPlace.UNKNOWN, None, False),
    # Custom names that are aliases, also where the service's name has aliases of its own.
    (CUSTOM, ["enterpriseregistration.windows.net"], DrsPlace.CLOUD, GLOBAL, True),
    (CUSTOM, ["ENTERPRISEREGISTRATION.windows.net."], DrsPlace.CLOUD, GLOBAL, True),
    (CUSTOM, ["x.example", "enterpriseregistration.windows.net", "y.akadns.example"], DrsPlace.CLOUD, GLOBAL, True),
    (CUSTOM, ["enterpriseregistration.microsoftonline.us"], DrsPlace.CLOUD, USGOV, True),
    (CUSTOM, ["enterpriseregistration.partner.microsoftonline.cn"], DrsPlace.CLOUD, CHINA, True),
    ("drs.contoso.example", ["enterpriseregistration.windows.net"], DrsPlace.CLOUD, GLOBAL, True),
    # The zone at the chain's end, by whole labels: an inference.
    (CUSTOM, ["drs.windows.net"], DrsPlace.CLOUD, GLOBAL, False),
    (CUSTOM, ["a.microsoftonline.us"], DrsPlace.CLOUD, USGOV, False),
    (CUSTOM, ["a.partner.microsoftonline.cn"], DrsPlace.CLOUD, CHINA, False),
    (CUSTOM, ["evilwindows.net"], DrsPlace.ON_PREMISES, None, False),
    (CUSTOM, ["enterpriseregistration.evilwindows.net"], DrsPlace.ON_PREMISES, None, False),
    (CUSTOM, ["windows.net.evil.example"], DrsPlace.ON_PREMISES, None, False),
    (CUSTOM, ["enterpriseregistration.windows.net.evil.example"], DrsPlace.ON_PREMISES, None, False),
    (CUSTOM, ["notpartner.microsoftonline.cn"], DrsPlace.ON_PREMISES, None, False),
    (CUSTOM, ["drs.windows.net", "wap.contoso.example"], DrsPlace.ON_PREMISES, None, False),
    # Addresses of one's own.
    (CUSTOM, [], DrsPlace.ON_PREMISES, None, False),
    (CUSTOM, ["sts.contoso.example"], DrsPlace.ON_PREMISES, None, False),
    # Other names: nothing is said, also where they are in some cloud.
    ("files.contoso.example", ["x.blob.core.windows.net"], DrsPlace.UNKNOWN, None, False),
    ("sts.contoso.example", [], DrsPlace.UNKNOWN, None, False),
    (
        "enterpriseenrollment.contoso.example",
        ["enterpriseenrollment.manage.microsoft.com"],
        DrsPlace.UNKNOWN,
        None,
        False,
    ),
    ("enterpriseregistration", [], DrsPlace.UNKNOWN, None, False),
]


@pytest.mark.parametrize(("name", "chain", "place", "cloud", "is_certain"), CHAINS)
def test_who_runs_the_registration_service_behind_a_name(name, chain, place, cloud, is_certain):
    placement = classify_cname_chain(name, chain)
    assert (placement.place, placement.cloud, placement.is_certain) == (place, cloud, is_certain)
    assert placement.reason
    assert (placement.canonical_name is not None) == (place is DrsPlace.CLOUD)


def test_the_canonical_name_is_the_services_own_not_the_last_of_the_chain():
    chain = ("enterpriseregistration.windows.net", "x.akadns.example")
    assert classify_cname_chain(CUSTOM, chain).canonical_name == "enterpriseregistration.windows.net"


def test_no_address_or_no_chain_is_not_on_premises():
    assert classify_cname_chain(CUSTOM, [], has_address=False).place is DrsPlace.UNKNOWN
    assert classify_cname_chain(CUSTOM, [], is_chain_known=False).place is DrsPlace.UNKNOWN
    dangling = classify_cname_chain(CUSTOM, ["enterpriseregistration.windows.net"], has_address=False)
    assert dangling.place is DrsPlace.CLOUD


def test_registration_names():
    assert is_registration_name("EnterpriseRegistration.contoso.example.")
    assert not is_registration_name("enterpriseregistration")
    assert not is_registration_name("enterpriseregistration.")
    assert not is_registration_name("xenterpriseregistration.contoso.example")


@given(st.text(), st.lists(st.text()))
def test_classifying_never_raises(name, chain):
    assert classify_cname_chain(name, chain).reason
