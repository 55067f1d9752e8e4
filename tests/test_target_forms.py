"""One target word: what it names, and what is wrong with a bad one. Expected values are from the RFCs named."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.target_forms import (
    MAX_PORTS,
    FormError,
    HostForm,
    RangeForm,
    check_scannable,
    parse_form,
    parse_name,
    parse_ports,
)

HOSTS = [
    ("sts.example.com", "sts.example.com", None),
    ("STS.Example.COM.", "sts.example.com", None),
    ("localhost", "localhost", None),
    ("sts.example.com:8443", "sts.example.com", (8443,)),
    ("sts.example.com:443,8443,9000-9002", "sts.example.com", (443, 8443, 9000, 9001, 9002)),
    ("_srv.my_host.example", "_srv.my_host.example", None),
    ("r3---sn.example", "r3---sn.example", None),
    ("192.0.2.1-static.example.net", "192.0.2.1-static.example.net", None),
    ("my-host.example.com", "my-host.example.com", None),
    ("bücher.example", "xn--bcher-kva.example", None),
    ("BÜCHER.example:443", "xn--bcher-kva.example", (443,)),
    # UTS 46 non-transitional keeps the sharp s (unicode.org's IdnaTestV2: faß.de -> xn--fa-hia.de).
    ("faß.de", "xn--fa-hia.de", None),
    ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
    ("例え。テスト", "xn--r8jz45g.xn--zckzah", None),
    ("192.0.2.7", "192.0.2.7", None),
    ("192.0.2.7:443", "192.0.2.7", (443,)),
    ("192.0.2.7:443,443,8443", "192.0.2.7", (443, 8443)),
    ("2001:DB8:0:0::7", "2001:db8::7", None),
    ("[2001:db8::7]", "2001:db8::7", None),
    ("[2001:db8::7]:443", "2001:db8::7", (443,)),
    ("fe80::1%eth0", "fe80::1%eth0", None),
    ("[fe80::1%eth0]:443", "fe80::1%eth0", (443,)),
    ("::ffff:192.0.2.7", "192.0.2.7", None),  # RFC 4291 section 2.5.5.2
    ("https://sts.example.com", "sts.example.com", None),
    ("HTTPS://sts.example.com:8443/adfs/ls/?wa=x#y", "sts.example.com", (8443,)),
    ("https://sts.example.com:/", "sts.example.com", None),  # RFC 3986 section 3.2.3
    ("https://[2001:db8::7]:8443/", "2001:db8::7", (8443,)),
    ("https://[fe80::1%25eth0]/", "fe80::1%eth0", None),  # RFC 6874
    ("https://192.0.2.7/", "192.0.2.7", None),
    ("https://bücher.example/a", "xn--bcher-kva.example", None),
]


@pytest.mark.parametrize(("word", "host", "ports"), HOSTS)
def test_a_host_is_read_in_every_form(word, host, ports):
    form = parse_form(word)
    assert isinstance(form, HostForm)
    assert (form.host, form.ports) == (host, ports)
    if form.version is None:
        assert form.number is None
    else:
        assert form.number == int(ipaddress.ip_address(host))


RANGES = [
    ("192.0.2.0/24", "192.0.2.1", "192.0.2.254", None),
    ("192.0.2.0/24:443,8443", "192.0.2.1", "192.0.2.254", (443, 8443)),
    ("192.0.2.8/30", "192.0.2.9", "192.0.2.10", None),
    ("192.0.2.8/31", "192.0.2.8", "192.0.2.9", None),  # RFC 3021
    ("192.0.2.8/32", "192.0.2.8", "192.0.2.8", None),
    ("2001:db8::/126", "2001:db8::", "2001:db8::3", None),
    ("2001:db8::/120:443", "2001:db8::", "2001:db8::ff", (443,)),
    ("[2001:db8::]/120:443", "2001:db8::", "2001:db8::ff", (443,)),
    ("[2001:db8::/120]:443", "2001:db8::", "2001:db8::ff", (443,)),
    ("192.0.2.5-192.0.2.9", "192.0.2.5", "192.0.2.9", None),
    ("192.0.2.5-9", "192.0.2.5", "192.0.2.9", None),
    ("192.0.2.5-9:8443", "192.0.2.5", "192.0.2.9", (8443,)),
    ("192.0.2.250-192.0.3.3", "192.0.2.250", "192.0.3.3", None),
    ("192.0.2.5-5", "192.0.2.5", "192.0.2.5", None),
    ("2001:db8::5-2001:db8::9", "2001:db8::5", "2001:db8::9", None),
    ("[2001:db8::5-2001:db8::9]:443", "2001:db8::5", "2001:db8::9", (443,)),
    ("[2001:db8::5]-[2001:db8::9]:443", "2001:db8::5", "2001:db8::9", (443,)),
]


@pytest.mark.parametrize(("word", "first", "last", "ports"), RANGES)
def test_a_range_is_read_in_every_form(word, first, last, ports):
    form = parse_form(word)
    assert isinstance(form, RangeForm)
    assert form.first == int(ipaddress.ip_address(first))
    assert form.last == int(ipaddress.ip_address(last))
    assert form.version == ipaddress.ip_address(first).version
    assert form.ports == ports


def test_the_whole_of_a_block_has_network_and_broadcast_address():
    form = parse_form("192.0.2.0/24")
    assert form.whole == (int(ipaddress.ip_address("192.0.2.0")), int(ipaddress.ip_address("192.0.2.255")))


BAD = [
    ("192.0.2.300", "full IPv4", "0 to 255"),
    ("192.0.2", "full IPv4", "four decimal"),
    ("010.0.0.1", "full IPv4", "four decimal"),
    ("0x7f000001", "full IPv4", "four decimal"),
    ("3221225991", "full IPv4", "four decimal"),
    ("１92.0.2.7", "full IPv4", "four decimal"),  # noqa: RUF001 - a full-width digit maps to an ordinary one
    ("192.0.2.7/24", "inside the block", "192.0.2.0/24"),
    ("192.0.2.0/33", "prefix length", "192.0.2.0/24"),
    ("192.0.2.0/", "prefix length", "192.0.2.0/24"),
    ("192.0.2.0/255.255.255.0", "prefix length", "192.0.2.0/24"),
    ("2001:db8::/129", "0 to 128", "192.0.2.0/24"),
    ("fe80::%eth0/64", "zone id is only", "one by one"),
    ("fe80::1%eth0-fe80::5%eth0", "zone id is only", "one by one"),
    ("::ffff:192.0.2.0/120", "IPv4-mapped", "IPv4 block"),
    ("::/0", "IPv4-mapped", "IPv4 range"),
    ("sts.example.com/adfs", "only for address blocks", "https://"),
    ("192.0.2.9-192.0.2.5", "backwards", "192.0.2.5-192.0.2.9"),
    ("192.0.2.9-5", "backwards", "192.0.2.5-192.0.2.9"),
    ("192.0.2.5-300", "same kind", "in full"),
    ("192.0.2.5-", "same kind", "in full"),
    ("2001:db8::5-9", "same kind", "in full"),
    ("2001:db8::5-192.0.2.9", "same kind", "in full"),
    ("2001:db8::7:49443", "not an IPv6 address", "[2001:db8::7]:443"),
    ("[2001:db8::7", "brackets", "[2001:db8::7]:443"),
    ("[192.0.2.7]:443", "brackets", "without brackets"),
    ("[2001:db8::7]443", "after ]", "[2001:db8::7]:443"),
    ("[2001:db8::xyz]:443", "not an IPv6 address", "[2001:db8::7]:443"),
    ("fe80::1%e/../th", "zone id is only", "one by one"),
    ("fe80::1%é", "zone id", "fe80::1%eth0"),
    ("host:", "port is not a number", "443"),
    ("host:0", "port is not a number", "443"),
    ("host:65536", "port is not a number", "443"),
    ("host:https", "port is not a number", "443"),
    ("host:443,", "port is not a number", "443"),
    ("host:8003-8000", "backwards", "8000-8003"),
    ("host:1-65535", f"more than {MAX_PORTS}", "serve TLS"),
    ("host:٤٤٣", "port is not a number", "443"),
    ("http://host.example", "no TLS", "https://"),
    ("ldap://host.example", "scheme", "host:port"),
    ("https:///x", "no host", "https://"),
    ("https://host.example:x/", "port is not a number", "443"),
    ("https://[2001:db8::7/", "no host", "https://"),
    ("*.example.com", "wildcard", "list each"),
    ("a.example,b.example", "commas", "one target a line"),
    ("-a.example.com", "part of the name", "one target a line"),
    ("a-.example.com", "part of the name", "one target a line"),
    ("a..example.com", "empty label", "host.example.com"),
    (".", "empty label", "host.example.com"),
    ("a.example.com..", "empty label", "host.example.com"),
    ("a b.example.com", "part of the name", "one target a line"),
    ("a!b.example.com", "part of the name", "one target a line"),
    ("x" * 64 + ".example.com", "1 to 63", "one target a line"),
    ("xn--a.example.com", "internationalised", "spelling"),
    ("a\u200bb\ufffd.example", "characters", "pasting"),
    (".".join(["a" * 60] * 5), "253", "pasting"),
    ("user:pw@host", "credentials", "remove"),
    ("https://user:pw@host/", "credentials", "remove"),
]


@pytest.mark.parametrize(("word", "problem", "mend"), BAD)
def test_a_bad_word_says_what_is_wrong_and_how_to_mend_it(word, problem, mend):
    with pytest.raises(FormError) as caught:
        parse_form(word)
    assert problem in caught.value.problem
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    "word",
    [
        *("224.0.0.1", "239.0.0.0/8:443", "224.0.1.0/24", "ff02::1", "ff00::/8", "255.255.255.255", "::"),
        *("0.0.0.0", "0.1.2.3", "0.0.0.0/8", "240.0.0.0/4", "250.1.2.3", "224.0.0.0-255.255.255.255"),
        *("192.0.0.8", "192.0.0.170-171", "100::7", "100::/64", "100:0:0:1::7"),
    ],
)
def test_space_without_hosts_is_no_target(word):
    with pytest.raises(FormError) as caught:
        check_scannable(parse_form(word))
    assert "not hosts" in caught.value.problem
    assert "one host" in caught.value.mend


@pytest.mark.parametrize(
    "word", ["0.0.0.0/0", "192.0.0.0/24", "223.0.0.0-225.0.0.0", "127.0.0.0/8", "::1", "fe80::1%eth0", "a.example"]
)
def test_what_may_hold_hosts_is_a_target(word):
    check_scannable(parse_form(word))


def test_an_ipv6_range_has_its_limit():
    check_scannable(parse_form("2001:db8::/96"))
    check_scannable(parse_form("2001:db8::1-2001:db8::1:0:0"))
    for word in ("2001:db8::/95", "2001:db8::/64", "2001:db8::-2001:db8::1:0:0"):
        with pytest.raises(FormError, match="4,294,967,296") as caught:
            check_scannable(parse_form(word))
        assert "/96" in caught.value.mend


def test_plain_http_is_a_proxys_own_port_where_allowed():
    assert parse_form("http://proxy.example:3128", may_be_proxy=True).ports == (3128,)
    assert parse_form("http://proxy.example/", may_be_proxy=True).ports == (80,)


def test_an_ipv6_address_that_ends_like_a_port_gets_a_warning():
    assert "[address]:443" in parse_form("2001:db8::443").warning
    assert parse_form("[2001:db8::443]:443").warning == ""
    assert parse_form("2001:db8::7").warning == ""


def test_the_longest_names_that_dns_allows_are_accepted():
    # RFC 1035 section 2.3.4: labels of 63, names of 255 octets on the wire, which is 253 characters.
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(name) == 253
    assert parse_name(name) == name


@given(st.integers(1, 65_535), st.integers(0, MAX_PORTS - 1))
def test_a_port_range_holds_both_ends(first, length):
    last = min(first + length, 65_535)
    assert parse_ports(f"{first}-{last}") == tuple(range(first, last + 1))


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_an_address_with_port_reads_back(address, port):
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    form = parse_form(text)
    assert form.ports == (port,)
    assert ipaddress.ip_address(form.host) in {address, getattr(address, "ipv4_mapped", None)}
