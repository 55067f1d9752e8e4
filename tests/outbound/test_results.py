"""Which connections belong together, and what is told of them."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Ending, EngineReport, Exchange, Probe, ProbeRequest
from scanner.model.outbound import Settled
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Direction, Endpoint, Role, Target
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.outbound import results
from scanner.outbound.arrivals import read_arrival
from scanner.outbound.methods import METHODS
from scanner.outbound.results import judge_outbound, merge_arrivals, offered_hellos
from scanner.outbound.tokens import (
    Answer,
    ProbeToken,
    encode_probe_name,
    encode_trigger_name,
    encode_trigger_path,
)
from tests.outbound.hellos import alert_bytes, hello_bytes, server_hello_bytes
from tests.outbound.recordings import AT, meet, ssl_client, ssl_server, tlslite_server

SSL2, SSL3, V10, V11, V12, V13 = TlsVersion
HOST = "adfs.example.com"
SUFFIX = "listener.example"
RUN = Run(id="r", started_at=AT, finished_at=None, is_complete=True, policy_id="p", confirm="all", tool_version="1")
TARGET = Target(text=HOST, host=HOST, role=Role.ADFS, ports=(443,))
DONE = "completed"


def trigger(method, host=HOST):
    return encode_trigger_name(method, host, SUFFIX, b"secret")


def exchange(serial, *, name=None, version=V12, end=None, address="192.0.2.7", path=None, host=HOST, **hello):
    """A connection by hand; end: an alert number, DONE, or None for recorded only."""
    received = hello_bytes(name=name, **hello)
    sent = b"" if end is None else server_hello_bytes(version)
    if isinstance(end, int):
        received += alert_bytes(end)
    return Exchange(
        request=ProbeRequest(
            id=serial,
            probe=Probe.LISTENER,
            endpoint=Endpoint(host=host, address=address, port=443, server_name=name),
            version=None if end is None else version,
            path=path,
        ),
        started_at=AT + timedelta(minutes=serial),
        sent=sent,
        received=received,
        ending=Ending.COMPLETE if end == DONE else Ending.PEER_CLOSED,
        elapsed_s=0.1,
        engine=EngineReport(engine="test", completed=end == DONE) if sent else None,
    )


def record(*exchanges, stopped=None):
    return HostRecord(target=TARGET, resolution=Resolution(), endpoints=(), exchanges=tuple(exchanges), stopped=stopped)


def judge(*exchanges, stopped=None):
    return judge_outbound(RUN, record(*exchanges, stopped=stopped))


def state(result, version):
    return next(each for each in result.verdicts if each.version is version).state


def test_nothing_arrived_is_no_result():
    assert judge() == ()


def test_methods_and_addresses_are_clients_of_their_own():
    found = judge(
        exchange(1, name=trigger("curl"), end=DONE),
        exchange(2, name=trigger("iwr"), version=V10, end=DONE),
        exchange(3, name=trigger("curl"), address="192.0.2.8", end=70),
        exchange(4, name=trigger("curl"), version=V11, end=70),
    )
    assert [each.scope for each in found] == ["curl from 192.0.2.7", "iwr from 192.0.2.7", "curl from 192.0.2.8"]
    assert [each.connection_count for each in found] == [2, 1, 1]
    curl, iwr, other = found
    assert (state(curl, V12), state(curl, V11), state(curl, V10)) == (
        State.ENABLED,
        State.DISABLED,
        State.UNKNOWN,
    )
    assert state(iwr, V10) is State.ENABLED
    assert state(other, V12) is State.DISABLED
    assert curl.method == "curl"
    assert curl.method_title == METHODS["curl"].title
    assert curl.limits[: len(METHODS["curl"].limits)] == METHODS["curl"].limits


def test_without_a_token_names_are_told_apart():
    found = judge(exchange(1, name="a.example"), exchange(2, name=None), exchange(3, name="a.example"))
    assert [(each.method, each.scope) for each in found] == [
        ("arrived", "arrived from 192.0.2.7 as a.example"),
        ("arrived", "arrived from 192.0.2.7"),
    ]


def test_names_without_end_become_one_client():
    found = judge(*[exchange(place, name=f"n{place}.example") for place in range(100)])
    assert len(found) == results.MOST_NAMES + 1
    assert found[-1].scope == "arrived from 192.0.2.7 as other names"
    assert found[-1].connection_count == 100 - results.MOST_NAMES


def test_token_for_another_host_credits_no_method():
    """The listener credited this host (by address, say), not the one that the token names."""
    (found,) = judge(exchange(1, name=trigger("curl", "other.example.com"), end=DONE))
    assert found.method == "arrived"


def test_probe_tokens_are_a_proxys():
    name = encode_probe_name(ProbeToken("0123456789abcdef", Answer.ANY), SUFFIX)
    assert judge(exchange(1, name=name, end=DONE)) == ()


def test_other_exchanges_are_passed_over():
    own = exchange(1, name=trigger("curl"), end=DONE)
    other = replace(own, request=replace(own.request, id=2, probe=Probe.PATH))
    assert [each.connection_count for each in judge(own, other)] == [1]


def path_of(method):
    return f"{encode_trigger_path(method, HOST, b'secret')}x"


def test_refused_connections_are_credited_by_form_where_only_the_path_has_the_token():
    found = judge(
        exchange(1, path=path_of("curl"), end=DONE),
        exchange(2, version=V11, end=70),
        exchange(3, version=V11, end=70, suites=(0x009C,)),
    )
    assert [(each.method, each.connection_count) for each in found] == [("curl", 2), ("arrived", 1)]
    assert state(found[0], V11) is State.DISABLED


def test_two_methods_with_one_form_take_no_credit():
    found = judge(
        exchange(1, path=path_of("curl"), end=DONE),
        exchange(2, path=path_of("winhttp"), end=DONE),
        exchange(3, version=V11, end=70),
    )
    assert [(each.method, each.connection_count) for each in found] == [("curl", 1), ("winhttp", 1), ("arrived", 1)]


def test_hellos_are_counted_by_form():
    (found,) = judge(
        exchange(1, name=trigger("curl"), suites=(0x009C,)),
        exchange(2, name=trigger("curl"), listed=[0x0303, 0x0304], random=bytes(range(32))),
        exchange(3, name=trigger("curl"), listed=[0x0303, 0x0304]),
    )
    first, second = found.hellos
    assert (first.count, first.versions, first.has_version_list) == (2, (V12, V13), True)
    assert first.first_seen_at == AT + timedelta(minutes=2)
    assert first.server_name == trigger("curl")
    assert (second.count, second.versions, second.has_version_list) == (1, (V12,), False)
    assert second.suites == (0x009C,)
    assert any("2 different forms" in limit for limit in found.limits)


def test_text_from_the_network_stays_text():
    alpn = (16, b"\x00\x04\x03h\xff\x00")
    (found,) = offered_hellos([read_arrival(exchange(1, extensions=[alpn]))])
    assert found.alpn == ("h\\xff\x00",)


def test_settled_is_counted_newest_first():
    (found,) = judge(
        exchange(1, name=trigger("curl"), version=V10, end=70),
        exchange(2, name=trigger("curl"), version=V12, end=DONE),
        exchange(3, name=trigger("curl"), version=V10, end=70),
        exchange(4, name=trigger("curl")),
    )
    assert found.settled == (
        Settled(version=V12, outcome="completed", count=1),
        Settled(version=V10, outcome="refused with alert protocol_version(70)", count=2),
    )


def test_untrusted_certificate_is_told():
    (found,) = judge(exchange(1, name=trigger("curl"), end=48))
    assert state(found, V12) is State.ENABLED
    assert any("does not trust the listener's certificate" in limit for limit in found.limits)


def test_verdicts_are_all_six_outbound_oldest_first():
    (found,) = judge(exchange(1, name=trigger("curl"), end=DONE))
    assert [each.version for each in found.verdicts] == list(ALL_VERSIONS)
    assert {each.direction for each in found.verdicts} == {Direction.OUTBOUND}
    assert {each.host for each in found.verdicts} == {HOST}
    assert {each.scope for each in found.verdicts} == {found.scope}


def test_stopped_run_says_so():
    (found,) = judge(exchange(1, name=trigger("curl"), end=DONE), stopped="interrupted")
    assert {gap.reason for gap in found.gaps} == {GapReason.INTERRUPTED}


def test_client_that_was_waited_for_in_vain():
    found = merge_arrivals(HOST, "curl from nowhere", "curl", [], run=RUN, limits=("One more.",))
    assert {each.state for each in found.verdicts} == {State.UNKNOWN}
    assert {gap.reason for gap in found.gaps} == {GapReason.NOT_SEEN}
    assert found.connection_count == 0
    assert "One more." in found.limits


@pytest.mark.parametrize("seed", range(20))
def test_order_of_exchanges_does_not_matter(seed):
    chance = random.Random(seed)
    exchanges = [
        exchange(
            place,
            name=chance.choice([trigger("curl"), trigger("iwr"), None, "a.example"]),
            version=chance.choice([V10, V11, V12]),
            end=chance.choice([70, 40, 48, DONE, None]),
            path=chance.choice([None, None, path_of("winhttp")]),
        )
        for place in range(20)
    ]
    mixed = chance.sample(exchanges, len(exchanges))
    assert judge(*mixed) == judge(*exchanges)


@given(received=st.lists(st.binary(max_size=80), max_size=5))
@settings(max_examples=50)
def test_garbage_is_judged(received):
    base = exchange(0)
    found = judge(
        *[replace(base, request=replace(base.request, id=place), received=data) for place, data in enumerate(received)]
    )
    assert all(each.state is State.UNKNOWN for result in found for each in result.verdicts)


def test_real_client_from_end_to_end():
    """OpenSSL, pinned to TLS 1.1 and 1.2 by its own options."""
    name = trigger("curl")

    def connection(place, version):
        server = ssl_server(version) if version >= V12 else tlslite_server(version)
        found = meet(
            ssl_client(V11, V12, name=name, trusts=False),
            server,
            version,
            serial=place,
            name=name,
            at=AT + timedelta(minutes=place),
        )
        return replace(found, request=replace(found.request, endpoint=replace(found.request.endpoint, host=HOST)))

    (found,) = judge(*[connection(place, version) for place, version in enumerate([V12, V11, V10, SSL3])])
    assert {each.version: each.state for each in found.verdicts} == {
        SSL2: State.DISABLED,
        SSL3: State.DISABLED,
        V10: State.DISABLED,
        V11: State.ENABLED,
        V12: State.ENABLED,
        V13: State.DISABLED,
    }
    (hello,) = found.hellos
    assert (hello.versions, hello.has_version_list, hello.count) == ((V12,), False, 4)
