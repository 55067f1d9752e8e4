"""Destinations in the forms of RFC 9110's authority, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest

from scanner.upgrade.opening import maybe_address, parse_destination


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("login.example.com:443", "login.example.com", 443),
        ("p-0.x_y.tls-probe.invalid:65535", "p-0.x_y.tls-probe.invalid", 65535),
        ("192.0.2.7:1", "192.0.2.7", 1),
        ("[2001:DB8::1]:443", "2001:db8::1", 443),
    ],
)
def test_destinations_are_read(text, host, port):
    assert parse_destination(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", ":443", "a:0", "a:65536", "a:443 ", "a b:443", "a:443\r\nX: y", "2001:db8::1:443", "[::1]",
     "[::g]:443", "[a.example]:443", "[1:2:3]:443", "[192.0.2.7]:443", "http://a:443", "u@a:443", "é.example:443"],
)  # fmt: skip
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="a destination is HOST:PORT"):
        parse_destination(text)


@pytest.mark.parametrize(
    ("host", "is_one"), [("192.0.2.7", True), ("2001:db8::1", True), ("1.2.3", False), ("a", False)]
)
def test_addresses_are_told_from_names(host, is_one):
    assert maybe_address(host) == (ipaddress.ip_address(host) if is_one else None)
