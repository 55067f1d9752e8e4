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
    "address", ["0.0.0.0", "::", "224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ffff::1"]
)
def test_what_is_no_host_is_always_excluded(address):
    assert Exclusions([]).is_excluded(address)
    assert not Exclusions([]).has_ports


def test_spelling_mapping_and_zone_do_not_get_round_an_exclude():
    exclusions = Exclusions([_addresses("192.0.2.7", "192.0.2.7"), _addresses("fe80::1", "fe80::1")])
    assert exclusions.is_excluded("::ffff:192.0.2.7")
    assert exclusions.is_excluded("fe80::1%eth0")
    assert exclusions.is_excluded("fe80:0:0::1")


def test_versions_are_kept_apart():
    exclusions = Exclusions([_addresses("::7", "::7")])
    assert exclusions.is_excluded("::7")
    assert not exclusions.is_excluded("0.0.0.7")


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 40))), st.integers(1, 400))
def test_merged_spans_hold_what_the_single_ones_hold(spans, number):
    excludes = [Exclude(host=None, first=first, last=first + size, version=4, ports=None) for first, size in spans]
    expected = any(first <= number <= first + size for first, size in spans)
    assert Exclusions(excludes).is_number_excluded(number, 4) is expected
    assert Exclusions(reversed(excludes)).is_number_excluded(number, 4) is expected
