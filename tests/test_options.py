"""Options as they are kept with a stored run: back and forth, and damaged."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.net.resolve import DnsResolver, SystemResolver
from scanner.options import Confirm, ScanOptions, decode_options, open_resolver
from scanner.store.stored import KeepBytes

OTHER = ScanOptions(
    confirm=Confirm.FINDINGS,
    timeout_s=1.5,
    connect_s=0.5,
    passes=3,
    host_deadline_s=7.0,
    concurrency=3,
    in_flight=99,
    per_address=2,
    rate=0.0,
    per_network=12.5,
    walks_down=True,
    uses_syn=True,
    net="asyncio",
    policy="strict",
    does_recognise=False,
    nameservers=(("192.0.2.53", 53), ("2001:db8::53", 5353)),
    seed=-7,
    shard=(2, 8),
    keep=KeepBytes.NONE,
    processes=4,
    command="resume",
    listener="192.0.2.10:443@0.0.0.0:8443,probe.example.com:443",
    asks_paths=False,
)


def test_every_option_differs_in_the_other_ones():
    assert [item.name for item in fields(ScanOptions) if getattr(OTHER, item.name) == item.default] == []


@pytest.mark.parametrize("options", [ScanOptions(), OTHER])
def test_back_and_forth(options):
    decoded = decode_options(options.encode())
    assert decoded == options
    assert {item.name: type(getattr(decoded, item.name)) for item in fields(options)} == {
        item.name: type(getattr(options, item.name)) for item in fields(options)
    }


@given(
    st.floats(0.001, 1e6),
    st.integers(-(2**70), 2**70),
    st.integers(1, 100).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
    st.text(max_size=20),
)
def test_any_values_back_and_forth(rate, seed, shard, policy):
    options = replace(OTHER, rate=rate, seed=seed, shard=shard, policy=policy)
    assert decode_options(options.encode()) == options


def test_a_whole_number_will_do_for_seconds():
    assert decode_options(replace(OTHER, timeout_s=2).encode()).timeout_s == 2


def test_what_the_merging_of_shards_adds_is_passed_over():
    assert decode_options(OTHER.encode(plan_digest="0" * 64, merged_shards=[1, 2], missing_shards=[])) == OTHER


def test_what_a_newer_version_adds_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="newer version: shiny"):
        decode_options(OTHER.encode(shiny=True))


@given(st.integers(0, len(OTHER.encode()) - 1))
def test_cut_short(end):
    with pytest.raises(ValueError):  # noqa: PT011  # whichever says so
        decode_options(OTHER.encode()[:end])


@pytest.mark.parametrize("text", ["", "null", "[]", "7", '"x"', "{}", "{]"])
def test_something_else(text):
    with pytest.raises(ValueError):  # noqa: PT011  # the same
        decode_options(text)


@pytest.mark.parametrize("value", [None, [], {}, "x", [[]], [1, 2, 3], ["x", "y"], [[1]], "\ud800"])
@pytest.mark.parametrize("name", [item.name for item in fields(ScanOptions)])
def test_a_member_of_another_kind(name, value):
    usual = getattr(ScanOptions(), name)
    if (type(usual) is str and isinstance(value, str)) or (name == "nameservers" and value in ([], {})):
        return  # any text is a name, and none at all are no servers
    damaged = json.dumps(json.loads(OTHER.encode()) | {name: value})
    if name == "nameservers" and isinstance(value, str) and not value:
        return
    with pytest.raises(ValueError):  # noqa: PT011  # the same
        decode_options(damaged)


@pytest.mark.parametrize("name", ["confirm", "keep", "shard", "nameservers"])
def test_a_member_that_is_missing(name):
    data = json.loads(OTHER.encode())
    del data[name]
    with pytest.raises(ValueError, match="damaged"):
        decode_options(json.dumps(data))


def test_the_resolver_is_the_one_asked_for():
    assert isinstance(open_resolver(ScanOptions()), SystemResolver)
    assert isinstance(open_resolver(OTHER), DnsResolver)
