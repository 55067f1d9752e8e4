"""Documents are written by hand after SAML 2.0 metadata, WS-Federation 1.2 and [MS-DVRD]'s own examples."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.probes.documents import (
    DrsDocument,
    FederationMetadata,
    NoDocument,
    decode_drs_document,
    decode_federation_metadata,
)

METADATA = b"""\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>
<EntityDescriptor ID="_1" entityID="http://sts.example.test/adfs/services/trust"
 xmlns="urn:oasis:names:tc:SAML:2.0:metadata">
<RoleDescriptor xsi:type="fed:ApplicationServiceType" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706" ServiceDisplayName="Example"/>
<RoleDescriptor xsi:type="f2:SecurityTokenServiceType" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:f2="http://docs.oasis-open.org/wsfed/federation/200706"><x/></RoleDescriptor>
<RoleDescriptor xsi:type="fed:NotOfThisNamespace" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:fed="urn:other"/>
<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"/>
</EntityDescriptor>"""

CONTRACT = {
    "DeviceRegistrationService": {
        "RegistrationEndpoint": "https://enterpriseregistration.example.test/EnrollmentServer/DeviceEnrollmentWebService.svc",
        "ServiceVersion": "1.0",
    },
    "AuthenticationService": {"OAuth2": {"AuthCodeEndpoint": "https://sts.example.test/adfs/oauth2/authorize"}},
    "IdentityProviderService": {"PassiveAuthEndpoint": "https://sts.example.test/adfs/ls"},
    "DeviceJoinService": {
        "JoinEndpoint": "https://enterpriseregistration.example.test/EnrollmentServer/device/",
        "JoinResourceId": "urn:ms-drs:enterpriseregistration.example.test",
    },
    "WebBrowserZones": None,
}
CONTRACT_XML = b"""<DiscoveryResponse xmlns="http://schemas.datacontract.org/2004/07/Microsoft.DeviceRegistration.Entities">
<DeviceJoinService><JoinEndpoint>https://enterpriseregistration.example.test/EnrollmentServer/device/</JoinEndpoint>
<JoinResourceId> urn:ms-drs:enterpriseregistration.example.test </JoinResourceId></DeviceJoinService>
</DiscoveryResponse>"""


def test_federation_metadata_gives_its_identifier_and_federation_roles_by_namespace():
    assert decode_federation_metadata(METADATA) == FederationMetadata(
        entity_id="http://sts.example.test/adfs/services/trust",
        roles=("ApplicationServiceType", "SecurityTokenServiceType"),
        is_whole=True,
    )


def test_metadata_that_breaks_off_is_decoded_as_far_as_it_goes():
    """A real farm's metadata is longer than what is read of it."""
    for end in range(len(METADATA)):
        seen = decode_federation_metadata(METADATA[:end])
        if isinstance(seen, FederationMetadata):
            assert seen.entity_id == "http://sts.example.test/adfs/services/trust"
            assert not seen.is_whole
            assert set(seen.roles) <= {"ApplicationServiceType", "SecurityTokenServiceType"}
    cut = decode_federation_metadata(METADATA[: METADATA.index(b"<IDPSSO")])
    assert cut.roles == ("ApplicationServiceType", "SecurityTokenServiceType")


def test_bytes_after_the_metadata_keep_what_was_read():
    seen = decode_federation_metadata(METADATA + b"<junk>")
    assert (seen.entity_id, seen.is_whole) == ("http://sts.example.test/adfs/services/trust", False)


def test_metadata_without_federation_roles_or_identifier_is_metadata_all_the_same():
    seen = decode_federation_metadata(b'<m:EntityDescriptor xmlns:m="urn:oasis:names:tc:SAML:2.0:metadata"/>')
    assert seen == FederationMetadata(entity_id="", roles=(), is_whole=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "parsed"),
        (b"<html><body>Sign in</body></html>", "html"),
        (b"<EntityDescriptor entityID='x'/>", "EntityDescriptor"),  # not in SAML's namespace
        (b"not xml", "parsed"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "parsed"),
        (b"\x00\xff" * 50, "parsed"),
    ],
)
def test_what_is_no_metadata_is_told(body, words):
    seen = decode_federation_metadata(body)
    assert isinstance(seen, NoDocument)
    assert words in seen.reason


BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 10) for c in range(ord("b"), ord("k")))
    + b"]><DeviceJoinService><x>&j;</x></DeviceJoinService>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b'<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
    ],
    ids=["expansion", "external DTD", "external entity"],
)
@pytest.mark.parametrize("decode", [decode_federation_metadata, decode_drs_document])
def test_document_types_are_refused(decode, body):
    seen = decode(body)
    assert isinstance(seen, NoDocument)
    assert "document type" in seen.reason


def test_a_discovery_document_in_json_is_flattened():
    document = decode_drs_document(json.dumps(CONTRACT).encode())
    assert isinstance(document, DrsDocument)
    assert document.sections == tuple(CONTRACT)
    assert document.field("DeviceJoinService.JoinEndpoint") == CONTRACT["DeviceJoinService"]["JoinEndpoint"]
    assert document.field("AuthenticationService.OAuth2.AuthCodeEndpoint") == (
        "https://sts.example.test/adfs/oauth2/authorize"
    )
    assert document.field("WebBrowserZones") == ""
    assert document.field("KeyProvisioningService") is None


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_a_discovery_document_in_xml_is_flattened(prefix):
    document = decode_drs_document(prefix.strip() + CONTRACT_XML)
    assert document.fields == (
        ("DeviceJoinService.JoinEndpoint", "https://enterpriseregistration.example.test/EnrollmentServer/device/"),
        ("DeviceJoinService.JoinResourceId", "urn:ms-drs:enterpriseregistration.example.test"),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"DeviceJoinService"',
        b'{"DeviceJoinService": null}',
        b'{"DeviceJoinService": {}}',
        b'{"error": "invalid_request"}',
        b"<html><body>Proxy authentication</body></html>",
        b"<a><DeviceJoinService>text</DeviceJoinService></a>",
        json.dumps(CONTRACT).encode()[:-1],
        CONTRACT_XML[:-1],
        b"[" * 60_000,
        b'{"DeviceJoinService":' * 3_000,
        b"<a>" * 20_000,
        b'{"DeviceJoinService": {"a": ' + b"1" * 6_000 + b"}}",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_discovery_document_is_told(body):
    seen = decode_drs_document(body)
    assert isinstance(seen, NoDocument)
    assert seen.reason


def test_the_number_of_fields_is_bounded():
    body = json.dumps({"DeviceJoinService": {str(i): i for i in range(5_000)}}).encode()
    assert len(decode_drs_document(body).fields) == 200
    xml = b"<a><DeviceJoinService>" + b"<x>1</x>" * 5_000 + b"</DeviceJoinService></a>"
    assert len(decode_drs_document(xml).fields) == 200


@given(st.binary(max_size=200) | st.text(alphabet='<>/=":x{}[],1 &;!', max_size=100).map(str.encode))
def test_no_bytes_raise(body):
    assert isinstance(decode_federation_metadata(body), FederationMetadata | NoDocument)
    assert isinstance(decode_drs_document(body), DrsDocument | NoDocument)


@given(st.integers(0, len(METADATA) - 1), st.integers(0, 255))
def test_no_changed_byte_raises(position, value):
    for sample, decode in ((METADATA, decode_federation_metadata), (CONTRACT_XML, decode_drs_document)):
        changed = bytearray(sample)
        changed[position % len(sample)] = value
        decode(bytes(changed))
