"""A run's plan: what is named and what is swept, stored and read back, and how much of it is public."""

from __future__ import annotations

import ipaddress
import json
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.exclusions import Exclude
from scanner.model.subjects import Role, Target, Upgrade
from scanner.sweep.plan import TargetPlan, decode_plan, plan_targets, public_address_count
from scanner.sweep.space import Space, SweepRange
from scanner.targets import TargetsError, parse_arguments, parse_excludes, parse_targets

TEXT = """sts.example.com:443,8443 tag="x y"
[adfs]
sts.example.net farm=f
192.0.2.1 farm=f
192.0.2.8/29 farm=f vendor="A \\"B\\""
@entra:china
[ranges]
192.0.2.0/24:443,8443
192.0.2.99
2001:db8::/120
2001:db8:1::7 tag=one
fe80::1%eth0
!192.0.2.200-203
!192.0.2.210:8443
!legacy.example.com:8443
"""


def _plan(text, name="t.txt"):
    return plan_targets(parse_targets(text, source=name))


def _range(first, last):
    template = Target(text="t", host=first, role=Role.SERVER, ports=(443,))
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return SweepRange(template=template, first=int(low), last=int(high), version=low.version)


def test_what_is_given_by_itself_is_named_and_ranges_are_swept():
    plan = _plan(
        "a.example\n192.0.2.7\n192.0.2.8/31\n[adfs]\n192.0.2.10 sni=a.example\n[ranges]\nb.example\n192.0.2.11"
    )
    assert [target.host for target in plan.named] == ["a.example", "192.0.2.7", "192.0.2.10", "b.example"]
    places = [plan.space.locate(index).target() for index in range(plan.space.count)]
    assert [target.host for target in places] == ["192.0.2.8", "192.0.2.9", "192.0.2.11"]
    assert plan.count == 7


def test_an_address_under_ranges_that_has_a_zone_stays_named():
    plan = _plan("[ranges]\nfe80::1%eth0")
    assert [(target.host, target.is_from_range) for target in plan.named] == [("fe80::1%eth0", True)]


def test_the_nodes_of_a_farm_have_its_name_in_ranges_too():
    plan = plan_targets(
        parse_targets("[adfs]\n192.0.2.8/31 farm=f\n192.0.2.7 farm=f\n192.0.2.20-21 farm=g", source="a"),
        parse_targets("[adfs]\nsts.example farm=f", source="b"),
    )
    assert [target.sni for target in plan.named] == ["sts.example", "sts.example"]
    assert [item.template.sni for item in plan.space.ranges] == ["sts.example", None]


def test_excludes_of_all_sources_hold_and_are_kept():
    plan = plan_targets(
        parse_arguments(["192.0.2.0-7", "a.example"]),
        parse_excludes("192.0.2.0/30\n192.0.2.99\na.example\n", source="x"),
        parse_excludes("192.0.2.0/30", source="y"),
    )
    assert plan.named == ()
    assert [(item.first & 255, item.last & 255) for item in plan.space.ranges] == [(4, 7)]
    assert len(plan.excludes) == 3
    assert plan.exclusions.is_excluded("192.0.2.99")
    assert decode_plan(plan.encode()).exclusions.is_excluded("192.0.2.99")


def test_the_errors_of_all_sources_come_together():
    with pytest.raises(TargetsError) as caught:
        plan_targets(parse_arguments([""]), parse_targets("a..b", source="t"), parse_excludes("\nx=1/", source="x"))
    assert [(error.source, error.line) for error in caught.value.errors] == [("argument", 1), ("t", 1), ("x", 2)]


def test_a_plan_is_read_back_as_it_was():
    plan = _plan(TEXT)
    text = plan.encode()
    assert "\n" not in text
    assert decode_plan(text) == plan
    assert decode_plan(text).encode() == text
    assert decode_plan(text).digest == plan.digest
    places = [plan.space.locate(index).target() for index in range(plan.space.count)]
    again = decode_plan(text).space
    assert [again.locate(index).target() for index in range(again.count)] == places


_TARGETS = st.builds(
    Target,
    text=st.text(max_size=8),
    host=st.sampled_from(["a.example", "192.0.2.7", "2001:db8::7"]),
    role=st.sampled_from(Role),
    ports=st.lists(st.integers(1, 65_535), min_size=1, max_size=3).map(tuple),
    optional_ports=st.lists(st.integers(1, 65_535), max_size=2).map(tuple),
    server_name=st.none() | st.just("b.example"),
    vendor=st.none() | st.text(max_size=5),
    farm=st.none() | st.text(max_size=5),
    tags=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    is_from_range=st.booleans(),
    cloud=st.none() | st.just("global"),
    locator=st.sampled_from(["argument", "t.txt:2"]),
    proxy=st.none() | st.sampled_from(Upgrade),
)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", None])
def test_how_a_proxy_is_spoken_to_is_read_back_and_is_part_of_what_is_scanned(scheme):
    plan = _plan(f"[proxies]\n{scheme}://proxy.example.com:3128" if scheme else "[proxies]\nproxy.example.com:3128")
    assert decode_plan(plan.encode()) == plan
    others = [_plan(f"[proxies]\n{other}://proxy.example.com:3128") for other in ("http", "https", "socks5")]
    same = [other for other in others if other.digest == plan.digest]
    assert len(same) == (scheme is not None)


@st.composite
def _ranges(draw):
    version, bits = draw(st.sampled_from([(4, 32), (6, 128)]))
    first, last = sorted(draw(st.tuples(*[st.integers(0, 2**bits - 1)] * 2)))
    return SweepRange(template=draw(_TARGETS), first=first, last=last, version=version)


_EXCLUDES = st.builds(
    Exclude,
    host=st.none() | st.just("a.example"),
    first=st.integers(0, 2**128),
    last=st.integers(0, 2**128),
    version=st.sampled_from([0, 4, 6]),
    ports=st.none() | st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
)
_PLANS = st.builds(
    TargetPlan,
    named=st.lists(_TARGETS, max_size=3).map(tuple),
    space=st.lists(_ranges(), max_size=3).map(lambda ranges: Space(tuple(ranges))),
    excludes=st.lists(_EXCLUDES, max_size=3).map(tuple),
)


@given(_PLANS, _PLANS)
def test_any_plan_is_read_back_and_told_from_another(plan, other):
    assert decode_plan(plan.encode()) == plan
    assert (plan.encode() == other.encode()) == (plan == other)
    if plan == other:
        assert plan.digest == other.digest


def test_the_digest_is_of_what_is_scanned():
    plan = _plan(TEXT)
    assert len(plan.digest) == 64
    assert _plan("# a comment more\n\n" + TEXT, name="elsewhere/u.txt").digest == plan.digest
    different = [
        _plan(TEXT.replace("192.0.2.0/24:443,8443", "192.0.2.0/24:443")),
        _plan(TEXT.replace("192.0.2.0/24", "198.51.100.0/24")),
        _plan(TEXT.replace("200-203", "200-204")),
        _plan(TEXT.replace("legacy", "old")),
        _plan(TEXT.replace("tag=one", "tag=two")),
        _plan(TEXT + "\nmore.example"),
        replace(plan, excludes=()),
    ]
    assert len({plan.digest, *(other.digest for other in different)}) == 1 + len(different)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        "null",
        "{}",
        '{"plan":2,"named":[],"templates":[],"ranges":[],"excludes":[]}',
        '{"plan":1,"named":[],"templates":[],"ranges":[]}',
        '{"plan":1,"named":[{"host":"a"}],"templates":[],"ranges":[],"excludes":[]}',
        '{"plan":1,"named":[{"text":"a","host":"a","role":"king","ports":[1]}],"templates":[],"ranges":[],"excludes":[]}',
        '{"plan":1,"named":[{"text":"a","host":"a","role":"server","ports":[1],"x":1}],"templates":[],"ranges":[],"excludes":[]}',
        '{"plan":1,"named":[3],"templates":[],"ranges":[],"excludes":[]}',
        '{"plan":1,"named":[],"templates":[],"ranges":[[0,1,2,4]],"excludes":[]}',
        '{"plan":1,"named":[],"templates":[],"ranges":[[0,1]],"excludes":[]}',
        '{"plan":1,"named":[],"templates":[],"ranges":7,"excludes":[]}',
        '{"plan":1,"named":[],"templates":[],"ranges":[],"excludes":[[null]]}',
    ],
)
def test_what_is_no_plan_is_told(text):
    with pytest.raises(ValueError, match=r".") as caught:
        decode_plan(text)
    assert type(caught.value) in {ValueError, json.JSONDecodeError}


def test_a_plan_that_is_cut_or_has_an_end_before_its_begin_is_told():
    text = _plan("192.0.2.5-9").encode()
    for end in range(len(text)):
        with pytest.raises(ValueError, match=r"."):
            decode_plan(text[:end])
    begin = int(ipaddress.ip_address("192.0.2.5"))
    with pytest.raises(ValueError, match="no range"):
        decode_plan(text.replace(str(begin), str(begin + 100)))


def test_a_plan_is_compact():
    lines = ["10.0.0.0/8:443,8443", *(f"!10.{n >> 8}.{n & 255}.7" for n in range(10_000))]
    begun = time.process_time()
    plan = _plan("\n".join(lines))
    text = plan.encode()
    # A range is three numbers and an index: under 40 characters, and as much for each exclude.
    assert len(text) < 10_000 * 80
    assert decode_plan(text) == plan
    # 0.6 s on the machine this was written on; the bound only catches a change of order.
    assert time.process_time() - begun < 8


# How much of it is public --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [
        ("10.0.0.0", "10.255.255.255", 0),
        ("127.0.0.0", "127.255.255.255", 0),
        ("9.255.255.250", "11.0.0.4", 6 + 5),
        ("100.63.255.255", "100.128.0.0", 2),
        ("192.0.2.0", "192.0.2.255", 0),
        ("8.8.0.0", "8.8.255.255", 65_536),
        ("2001:db8::", "2001:db8::ffff", 0),
        ("2606:4700::", "2606:4700::ffff", 65_536),
        ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "fc00::5", 2),
    ],
)
def test_public_addresses_are_counted(first, last, count):
    """Expected by hand from RFC 1918, 6598, 5737, 1122, 3849 and 4193."""
    assert public_address_count(Space((_range(first, last),))) == count


def test_an_address_with_two_places_counts_once():
    assert public_address_count(Space((_range("8.8.8.0", "8.8.8.9"), _range("8.8.8.5", "8.8.8.14")))) == 15
    assert public_address_count(Space()) == 0


def _edges():
    """Where the library's own tables change, both sides of it."""
    for constants, kind in (
        (ipaddress._IPv4Constants, ipaddress.IPv4Address),
        (ipaddress._IPv6Constants, ipaddress.IPv6Address),
    ):
        blocks = [*constants._private_networks, *getattr(constants, "_private_networks_exceptions", ())]
        blocks.append(ipaddress.ip_network("100.64.0.0/10") if kind is ipaddress.IPv4Address else blocks[0])
        for block in blocks:
            for number in (int(block[0]) - 1, int(block[0]), int(block[-1]), int(block[-1]) + 1):
                if 0 <= number < 2 ** kind(0).max_prefixlen:
                    yield kind(number)


@pytest.mark.parametrize("address", sorted(set(_edges()), key=lambda address: (address.version, address)), ids=str)
def test_each_edge_is_counted_as_the_library_has_it(address):
    assert public_address_count(Space((_range(str(address), str(address)),))) == int(address.is_global)


def test_random_addresses_are_counted_as_the_library_has_them():
    rng = random.Random(1)
    for kind, bits in ((ipaddress.IPv4Address, 32), (ipaddress.IPv6Address, 128)):
        for _ in range(1000):
            first = kind(rng.getrandbits(bits) if rng.random() < 0.7 else rng.getrandbits(bits) >> rng.randrange(bits))
            size = min(rng.randrange(4), 2**bits - 1 - int(first))
            expected = sum((first + offset).is_global for offset in range(size + 1))
            assert public_address_count(Space((_range(str(first), str(first + size)),))) == expected


def test_all_of_ipv4_is_counted_without_walking_it():
    begun = time.perf_counter()
    count = public_address_count(Space((_range("0.0.0.0", "255.255.255.255"),)))
    private = 2**24 + 2**24 + 2**22 + 2**24 + 2**16 + 2**20 + 3 * 2**8 + 2**16 + 2**17 + 2**28
    # Of the 256 addresses of 192.0.0.0/24, how many are public differs between the library's versions.
    assert 2**32 - private - 256 <= count <= 2**32 - private
    assert time.perf_counter() - begun < 1
