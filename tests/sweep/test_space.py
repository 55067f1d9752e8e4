"""The space of all ranges: each address, port and server name once, whatever overlaps and is excluded."""

from __future__ import annotations

import ipaddress
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.subjects import Role, Target
from scanner.sweep.order import Order
from scanner.sweep.plan import plan_targets
from scanner.sweep.space import Place, Space, SweepRange
from scanner.targets import parse_targets

_TEMPLATE = Target(text="t", host="192.0.2.1", role=Role.SERVER, ports=(443,))


def _range(first, last, template=_TEMPLATE):
    low = ipaddress.ip_address(first)
    return SweepRange(template=template, first=int(low), last=int(ipaddress.ip_address(last)), version=low.version)


def _space(text):
    return plan_targets(parse_targets(text, source="t.txt")).space


def _asked(space):
    """Every (address, port, server name, line) of a space, in its order."""
    places = (space.locate(index).target() for index in range(space.count))
    return [
        (target.host, port, target.sni, int(target.locator.partition(":")[2]))
        for target in places
        for port in (*target.ports, *target.optional_ports)
    ]


def test_indexes_go_through_the_ranges():
    space = Space(
        (_range("192.0.2.5", "192.0.2.6"), _range("2001:db8::ff", "2001:db8::101"), _range("10.0.0.1", "10.0.0.1"))
    )
    assert space.count == 6
    addresses = ["192.0.2.5", "192.0.2.6", "2001:db8::ff", "2001:db8::100", "2001:db8::101", "10.0.0.1"]
    assert [space.locate(index).address for index in range(6)] == addresses
    assert space.locate(3) == Place(_TEMPLATE, int(ipaddress.ip_address("2001:db8::100")), 6)
    for index in (-1, 6):
        with pytest.raises(IndexError):
            space.locate(index)
    assert Space().count == 0
    with pytest.raises(IndexError):
        Space().locate(0)


def test_a_place_is_a_target_of_its_line():
    text = '[adfs]\n192.0.2.8-9 sni=sts.example farm=f tag=a,b vendor="V W"'
    target = _space(text).locate(1).target()
    assert target == Target(
        text=text.split("\n")[1],
        host="192.0.2.9",
        role=Role.ADFS,
        ports=(443,),
        optional_ports=(49443,),
        server_name="sts.example",
        vendor="V W",
        farm="f",
        tags=("a", "b"),
        is_from_range=True,
        locator="t.txt:2",
    )


@given(st.ip_addresses())
def test_addresses_are_written_as_the_library_writes_them(address):
    assert Place(_TEMPLATE, int(address), address.version).address == str(address)


def test_overlapping_lines_are_asked_once_and_the_first_wins():
    asked = _asked(_space("192.0.2.1-4:443\n192.0.2.3-6:443,8443\n192.0.2.4-5 sni=a.example"))
    assert asked == [
        ("192.0.2.1", 443, None, 1),
        ("192.0.2.2", 443, None, 1),
        ("192.0.2.3", 443, None, 1),
        ("192.0.2.4", 443, None, 1),
        ("192.0.2.3", 8443, None, 2),
        ("192.0.2.4", 8443, None, 2),
        ("192.0.2.5", 443, None, 2),
        ("192.0.2.5", 8443, None, 2),
        ("192.0.2.6", 443, None, 2),
        ("192.0.2.6", 8443, None, 2),
        ("192.0.2.4", 443, "a.example", 3),
        ("192.0.2.5", 443, "a.example", 3),
    ]


def test_a_line_with_a_role_takes_the_place_of_plain_servers():
    asked = _asked(_space("192.0.2.1-3:443,8443\n[reverse-proxies]\n192.0.2.2-3\n[proxies]\n192.0.2.3-4"))
    assert {(host, port): line for host, port, _, line in asked} == {
        ("192.0.2.1", 443): 1,
        ("192.0.2.1", 8443): 1,
        ("192.0.2.2", 443): 3,
        ("192.0.2.2", 8443): 1,
        ("192.0.2.3", 443): 3,
        ("192.0.2.3", 8443): 1,
        ("192.0.2.4", 443): 5,
    }
    assert len(asked) == 7


def test_named_addresses_are_not_in_it():
    asked = _asked(_space("192.0.2.1-4:443,8443\n[servers]\n192.0.2.2:443,8443\n192.0.2.3\n192.0.2.4 sni=a.example"))
    assert [(host, port) for host, port, _, _ in asked] == [
        ("192.0.2.1", 443),
        ("192.0.2.1", 8443),
        ("192.0.2.3", 8443),
        ("192.0.2.4", 443),
        ("192.0.2.4", 8443),
    ]


def test_an_address_with_a_zone_is_another_host():
    assert _space("fe80::1-fe80::2\nfe80::1%eth0").count == 2


def test_the_ports_of_a_place_are_asked_together():
    """One place an address, although one of its ports is left out at some: the unit is the address."""
    space = _space("192.0.2.1-4:443,8443,9443\n!192.0.2.2-3:8443\n!192.0.2.3-4:443")
    places = [space.locate(index).target() for index in range(space.count)]
    assert [(target.host, target.ports) for target in places] == [
        ("192.0.2.1", (443, 8443, 9443)),
        ("192.0.2.2", (443, 9443)),
        ("192.0.2.3", (9443,)),
        ("192.0.2.4", (8443, 9443)),
    ]


def test_where_only_optional_ports_are_left_they_must_answer():
    space = _space("[adfs]\n192.0.2.1-2 sni=a.example\n!192.0.2.2:443")
    places = [space.locate(index).target() for index in range(2)]
    assert [(target.ports, target.optional_ports) for target in places] == [((443,), (49443,)), ((49443,), ())]


def test_memory_is_for_ranges_and_not_for_addresses():
    parsed = parse_targets(
        "10.0.0.0/8:443,8443\n127.0.0.0/8\n!10.1.0.0/16\n!10.2.0.0/16:8443\n10.0.0.0/9:443", source="t"
    )
    tracemalloc.start()
    plan = plan_targets(parsed)
    for index in range(0, plan.space.count, 1_000_003):
        plan.space.locate(index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.space.count == 2 * (2**24 - 2) - 2**16
    assert peak < 200_000


def test_many_excludes_take_little_memory_and_leave_the_rest():
    lines = ["10.0.0.0/8:443,8443", *(f"!10.{n >> 8}.{n & 255}.7" for n in range(10_000))]
    space = _space("\n".join(lines))
    assert space.count == 2**24 - 2 - 10_000
    assert len(space.ranges) == 10_001
    assert len({id(item.template) for item in space.ranges}) == 1


@pytest.mark.parametrize(
    ("first", "last", "version"), [(5, 4, 4), (-1, 4, 4), (0, 2**32, 4), (0, 2**128, 6), (1, 1, 5)]
)
def test_ends_that_are_no_addresses_are_refused(first, last, version):
    with pytest.raises(ValueError, match="no range"):
        SweepRange(template=_TEMPLATE, first=first, last=last, version=version)


# Any lines against a naive list of addresses -------------------------------------------------------------------------

_PORTS = st.lists(st.sampled_from([443, 8443, 9443]), unique=True, min_size=1).map(tuple)
_NETS = [ipaddress.ip_address("10.0.0.0"), ipaddress.ip_address("2001:db8::")]
_BLOCKS = st.tuples(st.sampled_from(_NETS), st.integers(0, 40), st.integers(0, 20)).map(
    lambda drawn: (drawn[0] + drawn[1], drawn[0] + drawn[1] + drawn[2])
)
_RANGES = st.lists(
    st.tuples(_BLOCKS, _PORTS, st.sampled_from([None, "a.example", "b.example"]), st.booleans()), max_size=6
)
_SINGLES = st.lists(st.tuples(st.sampled_from(_NETS), st.integers(0, 60), _PORTS), max_size=3)
_EXCLUDES = st.lists(st.tuples(_BLOCKS, st.none() | _PORTS), max_size=5)


def _word(first, last, ports):
    """A range in text: never as a single address, for that would be a named target."""
    body = f"[{first}-{last}]" if first.version == 6 else f"{first}-{last}"
    return f"{body}:{','.join(map(str, ports))}" if ports else body


def _text(ranges, singles, excludes):
    lines = []
    for (first, last), ports, sni, has_role in ranges:
        lines.append("[proxies]" if has_role else "[ranges]")
        lines.append(_word(first, last, ports) + (f" sni={sni}" if sni else ""))
    lines.append("[servers]")
    lines += [f"{net + offset} port={','.join(map(str, ports))}" for net, offset, ports in singles]
    lines += [f"!{_word(first, last, ports)}" for (first, last), ports in excludes]
    return "\n".join(lines)


def _naive(ranges, singles, excludes):
    """(named, swept): (address, port, server name), and for the swept ones the line that asks, all written out."""

    def is_left_out(address, port):
        return any(
            address.version == first.version and first <= address <= last and (ports is None or port in ports)
            for (first, last), ports in excludes
        )

    named = {
        (str(net + offset), port, None)
        for net, offset, ports in singles
        for port in ports
        if not is_left_out(net + offset, port)
    }
    swept = {}
    lines = enumerate(ranges)
    for number, ((first, last), ports, sni, _) in sorted(lines, key=lambda line: not line[1][3]):
        for value in range(int(first), int(last) + 1):
            address = type(first)(value)
            for port in ports:
                key = (str(address), port, sni)
                if key not in named and not is_left_out(address, port):
                    swept.setdefault(key, 2 * number + 2)
    return named, swept


@settings(max_examples=400)
@given(_RANGES, _SINGLES, _EXCLUDES, st.integers(1, 5), st.integers(0, 2**32))
def test_the_shards_of_any_plan_visit_each_thing_once(ranges, singles, excludes, total, seed):
    parsed = parse_targets(_text(ranges, singles, excludes), source="t.txt")
    assert parsed.errors == ()
    plan = plan_targets(parsed)
    named, swept = _naive(ranges, singles, excludes)
    assert {(target.host, port, target.sni) for target in plan.named for port in target.ports} == named
    visited = Counter()
    for number in range(1, total + 1):
        order = Order(plan.space.count, seed, (number, total))
        for index in order.range(0, len(order)):
            target = plan.space.locate(index).target()
            line = int(target.locator.partition(":")[2])
            visited.update((target.host, port, target.sni, line) for port in target.ports)
    assert visited == Counter((*key, line) for key, line in swept.items())
    # Each place is for one set of ports of one line: none is cut finer than that.
    hosts = Counter((host, sni, line) for host, _, sni, line in visited)
    assert plan.space.count == len(hosts)
