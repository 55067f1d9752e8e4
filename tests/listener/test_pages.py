from __future__ import annotations

import base64
import hashlib
import json
import re

import defusedxml.ElementTree
import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.listener.pages import Visitor, describe, render_page
from scanner.model.exchange import HelloVariant
from scanner.model.versions import TlsVersion
from scanner.tls.client_hello import decode_client_hello
from scanner.tls.hello import RANDOM_BYTES, encode_hello

NAME = "t-0-adfs-metadata.sts.example.test.tls-probe.invalid"
# Namespaces of OASIS saml-metadata-2.0-os section 1.1, WS-Federation 1.2 section 1.4 and WS-Addressing 1.0.
MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
FED = "{http://docs.oasis-open.org/wsfed/federation/200706}"
WSA = "{http://www.w3.org/2005/08/addressing}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


def visitor(name=NAME, version=TlsVersion.TLS1_3):
    hello = encode_hello(version=version, variant=HelloVariant.COMPACT, random=bytes(RANDOM_BYTES), server_name=name)
    return Visitor(hello=decode_client_hello(hello), version=version, suite="TLS_AES_128_GCM_SHA256")


def get(target, accept="text/html", of=None):
    return render_page("GET", target, accept, of or visitor())


@pytest.mark.parametrize(
    "target",
    [
        "/FederationMetadata/2007-06/FederationMetadata.xml",
        "/federationmetadata/2007-06/federationmetadata.xml",
        "/t/t-0-adfs.sts.example.test/FederationMetadata.xml?x=1",
        "https://a.test/FederationMetadata/2007-06/FederationMetadata.xml",
    ],
)
def test_metadata_is_a_relying_partys(target):
    page = get(target)
    assert (page.status, page.content_type) == (200, "application/samlmetadata+xml")
    root = defusedxml.ElementTree.fromstring(page.body)
    assert (root.tag, root.attrib) == (f"{MD}EntityDescriptor", {"entityID": f"https://{NAME}/"})
    (role,) = root
    assert role.tag == f"{MD}RoleDescriptor"
    # The prefix in xsi:type is the document's; WS-Federation 1.2 section 3.1.2.2 names the type.
    assert role.attrib[f"{XSI}type"] == "fed:ApplicationServiceType"
    assert b'xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706"' in page.body
    assert role.attrib["protocolSupportEnumeration"].split() == [FED.strip("{}")]
    # The schema's order: WebServiceDescriptorType's elements, then ApplicationServiceType's.
    assert [child.tag for child in role] == [f"{FED}TargetScopes", f"{FED}PassiveRequestorEndpoint"]
    for child in role:
        (address,) = child.iter(f"{WSA}Address")
        assert address.text == f"https://{NAME}/"


@pytest.mark.parametrize("name", ['a"><x', "<b>", "192.0.2.7", None])
def test_what_is_no_name_does_not_reach_the_metadata(name):
    root = defusedxml.ElementTree.fromstring(get("/FederationMetadata.xml", of=visitor(name)).body)
    assert root.attrib == {"entityID": "https://tls-probe.invalid/"}


@pytest.mark.parametrize("target", ["/", "/?q", "/t/abc/x", "/p/p-0011-any", "https://a.test/", "https://a.test"])
def test_the_page_says_what_was_offered(target):
    page = get(target)
    assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    for shown in ("TLS 1.3", "TLS_AES_128_GCM_SHA256", NAME, "0x1301", "x25519"):
        assert shown in text
    html5lib.HTMLParser(strict=True).parse(text)
    assert "<script" not in text
    assert not re.search(r"(src|href)=", text), "self-contained"


def test_the_policy_allows_nothing_but_the_pages_own_style():
    page = get("/")
    policy = dict(page.headers)["Content-Security-Policy"]
    style = re.search(rb"<style>(.*)</style>", page.body, re.DOTALL).group(1)
    expected = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{expected}';")
    assert "unsafe" not in policy


def test_names_are_escaped():
    page = get("/", of=visitor("<img src=x onerror=alert(1)>"))
    assert b"<img" not in page.body
    assert b"&lt;img" in page.body


def test_the_json_twin_says_the_same():
    page = get("/t/x", "application/json")
    assert page.content_type == "application/json"
    said = json.loads(page.body)
    assert said == describe(visitor())
    assert said["settled"] == {"version": "TLS1.3", "suite": "TLS_AES_128_GCM_SHA256"}
    assert said["offered"]["versions"][0] == "TLS1.3"
    assert said["offered"]["server_name"] == NAME
    assert said["ja4"].startswith("t13d")


@pytest.mark.parametrize("target", ["/x", "*", "", "/t", "/favicon.ico", "/" + "a" * 300, "/FederationMetadata.xml/x"])
def test_there_is_nothing_else(target):
    assert get(target).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "CONNECT", "get"])
def test_other_methods_are_405(method):
    page = render_page(method, "/", "", visitor())
    assert (page.status, dict(page.headers)["Allow"]) == (405, "GET, HEAD")


def test_a_hello_without_list_says_at_most():
    assert b"at most TLS 1.0" in get("/", of=visitor(version=TlsVersion.TLS1_0)).body


@given(target=st.text(max_size=300), accept=st.text(max_size=40), method=st.sampled_from(["GET", "HEAD", "POST"]))
def test_no_request_raises(target, accept, method):
    assert render_page(method, target, accept, visitor()).status in {200, 404, 405}
