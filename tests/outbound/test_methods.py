import re

import pytest

from scanner.outbound.methods import ARRIVED, CONNECT, METHODS, method_of
from scanner.outbound.tokens import TriggerToken, encode_trigger_name, read_name

ALL = list(METHODS.values())


@pytest.mark.parametrize("method", ALL, ids=str)
def test_id_comes_back_from_a_trigger_name(method):
    """RFC 1035 section 2.3.1: letters, digits and inner hyphens."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", method.id)
    name = encode_trigger_name(method.id, "adfs.example.com", "tls-probe.invalid", b"secret")
    found = read_name(name)
    assert isinstance(found, TriggerToken)
    assert (found.method, found.host) == (method.id, "adfs.example.com")


@pytest.mark.parametrize("method", ALL, ids=str)
def test_limits_are_sentences(method):
    assert method.limits
    for limit in method.limits:
        assert limit[0].isupper()
        assert limit.endswith(".")
    assert method.title
    assert method.stack


@pytest.mark.parametrize("method", [each for each in ALL if each.source and not each.is_verified], ids=str)
def test_what_is_not_verified_says_so(method):
    words = " ".join(method.limits)
    assert "not verified" in words or "is not" in words or "alone" in words


def test_what_needs_no_document_has_no_source():
    assert [each.id for each in ALL if not each.source] == [ARRIVED]


def test_table_has_every_trigger_of_the_issue():
    """AD FS metadata fetch, WAP application, Invoke-WebRequest, WinHTTP, curl; six reverse proxies; the proxy's own."""
    wanted = {"adfs-metadata", "adfs-service", "wap-backend", "ldaps", "iwr", "winhttp", "curl"}
    wanted |= {"nginx", "haproxy", "apache", "squid", "envoy", "f5", CONNECT, ARRIVED}
    assert wanted <= set(METHODS)
    assert all(method.id == key for key, method in METHODS.items())


def test_forward_proxy_says_what_a_bypass_list_does():
    assert any("your bypass list works by host name" in limit for limit in METHODS[CONNECT].limits)


def test_curl_does_not_speak_for_adfs():
    assert any("not for AD FS" in limit for limit in METHODS["curl"].limits)


def test_method_of_a_newer_version_is_told_as_unknown():
    found = method_of("quic-fetch")
    assert found.id == "quic-fetch"
    assert not found.is_verified
    assert found.limits
