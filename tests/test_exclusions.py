"""Excludes, checked against the standard library's ipaddress."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.exclusions import Exclude, Exclusions


def _addresses(first: str, last: str, ports: tuple[int, ...] | None = None) -> Exclude:
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return Exclude(host=None, first=int(low), last=int(high), version=low.version, ports=ports)


def test_a_name_is_excluded_by_exactly_that_name():
    exclusions = Exclusions([Exclude(host="a.example", first=0, last=0, version=0, ports=None)])
    assert exclusions.is_excluded("a.example")
    assert exclusions.is_excluded("a.example", 443)
    assert not exclusions.is_excluded("b.a.example")
    assert not exclusions.is_excluded("192.0.2.7")


def test_ports_are_excluded_alone():
    exclusions = Exclusions(
        [
            Exclude(host="a.example", first=0, last=0, version=0, ports=(443,)),
            _addresses("192.0.2.0", "192.0.2.7", (443, 8443)),
        ]
    )
    assert exclusions.has_ports
    assert exclusions.is_excluded("a.example", 443)
    assert not exclusions.is_excluded("a.example", 444)
    assert not exclusions.is_excluded("a.example")
    assert exclusions.is_excluded("192.0.2.7", 8443)
    assert not exclusions.is_excluded("192.0.2.7", 80)
    assert not exclusions.is_excluded("192.0.2.7")
    assert not exclusions.is_excluded("192.0.2.8", 8443)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.255.255.255", "::", "224.0.0.1", "239.255.255.255", "ff02::1", "ffff::1"),
        *("240.0.0.0", "255.255.255.254", "255.255.255.255", "192.0.0.8", "192.0.0.170", "192.0.0.171"),
        *("100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "100:0:0:1:ffff::"),
    ],
)
def test_what_is_no_host_is_always_excluded(address):
    assert Exclusions([]).is_excluded(address)
    assert not Exclusions([]).has_ports


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "::1", "10.0.0.0", "100.64.0.1", "169.254.0.1", "192.168.0.1", "fc00::1"),
        *("192.0.2.7", "198.51.100.7", "203.0.113.7", "2001:db8::7", "3fff::7"),
        *("1.0.0.0", "223.255.255.255", "192.0.0.9", "192.0.0.169", "192.0.0.172", "100:0:0:2::", "feff::1", "fe80::1"),
    ],
)
def test_what_may_be_a_host_is_not_excluded_by_itself(address):
    assert not Exclusions([]).is_excluded(address)


def test_spelling_mapping_and_zone_do_not_get_round_an_exclude():
    exclusions = Exclusions([_addresses("192.0.2.7", "192.0.2.7"), _addresses("fe80::1", "fe80::1")])
    assert exclusions.is_excluded("::ffff:192.0.2.7")
    assert exclusions.is_excluded("fe80::1%eth0")
    assert exclusions.is_excluded("fe80:0:0::1")


def test_versions_are_kept_apart():
    exclusions = Exclusions([_addresses("::a00:7", "::a00:7")])
    assert exclusions.is_excluded("::a00:7")
    assert not exclusions.is_excluded("10.0.0.7")


_SPANS = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 40)))
_BASE = int(ipaddress.ip_address("10.0.0.0"))


def _spans(spans, ports=None):
    return [
        Exclude(host=None, first=_BASE + first, last=_BASE + first + size, version=4, ports=ports)
        for first, size in spans
    ]


@given(_SPANS, st.integers(1, 400))
def test_merged_spans_hold_what_the_single_ones_hold(spans, number):
    excludes = _spans(spans)
    expected = any(first <= number <= first + size for first, size in spans)
    assert Exclusions(excludes).is_number_excluded(_BASE + number, 4) is expected
    assert Exclusions(reversed(excludes)).is_number_excluded(_BASE + number, 4) is expected


@given(_SPANS, _SPANS)
def test_gaps_are_the_addresses_that_are_left(spans, spans_of_port):
    exclusions = Exclusions([*_spans(spans), *_spans(spans_of_port, (443,))])
    left = [n for first, last in exclusions.gaps(_BASE, _BASE + 350, 4) for n in range(first, last + 1)]
    assert left == [n for n in range(_BASE, _BASE + 351) if not exclusions.is_number_excluded(n, 4)]
    on_port = [
        n
        for run in exclusions.gaps(_BASE, _BASE + 350, 4)
        for first, last in exclusions.gaps(*run, 4, 443)
        for n in range(first, last + 1)
    ]
    assert on_port == [n for n in range(_BASE, _BASE + 351) if not exclusions.is_number_excluded(n, 4, 443)]
