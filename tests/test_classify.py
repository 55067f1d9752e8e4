"""Exchanges to evidence: order, interruption, idempotence, and that records classify as the ladder judged."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.classify import classify_endpoint, scope_of
from scanner.model.evidence import Basis, Gap, GapReason, Observation, State
from scanner.model.exchange import Ending, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Direction, Endpoint
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from tests.probes.model_server import BEGIN, ENDPOINT, REFUSALS, Backend, Fate, Way, climb

MODERN = Backend(enabled=frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3}))
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def classify(exchanges, **options):
    return classify_endpoint(ENDPOINT, exchanges, run="r1", tool_version="1", asked_at=LATER, **options)


def by_version(evidence):
    return {version: [item for item in evidence if item.version is version] for version in ALL_VERSIONS}


def test_scope_names_the_endpoint_and_the_name():
    assert scope_of(ENDPOINT) == "tcp://192.0.2.7:443 as sts.example.com"
    bare = Endpoint(host="h", address="2001:db8::1", port=443, server_name=None)
    assert scope_of(bare) == "tcp://[2001:db8::1]:443"


def test_modern_server():
    evidence = classify(climb(Way(backends=[MODERN])).exchanges)
    states = {version: {item.state for item in items} for version, items in by_version(evidence).items()}
    assert states == {
        version: {State.ENABLED if version in MODERN.enabled else State.DISABLED} for version in ALL_VERSIONS
    }
    assert {item.host for item in evidence} == {ENDPOINT.host}
    assert {item.scope for item in evidence} == {scope_of(ENDPOINT)}
    assert {item.direction for item in evidence} == {Direction.INBOUND}
    assert {item.origin.locator for item in evidence} == {"tcp://192.0.2.7:443"}
    assert {item.origin.run for item in evidence} == {"r1"}


def test_hello_and_handshake_are_two_statements():
    items = by_version(classify(climb(Way(backends=[MODERN])).exchanges))[TlsVersion.TLS1_2]
    assert {(item.basis, item.origin.source) for item in items} == {
        (Basis.HELLO, "hello-ladder"),
        (Basis.HANDSHAKE, "sslyze-handshake"),
    }
    assert all(dict(item.facts)["cipher_suite"] == "0x002F" for item in items)


def test_only_hellos_speak_without_confirmation():
    evidence = classify(climb(Way(backends=[MODERN]), confirm=False).exchanges)
    assert {item.basis for item in evidence} == {Basis.HELLO}


def test_observations_are_dated_by_their_exchange():
    evidence = classify(climb(Way(backends=[MODERN])).exchanges)
    assert all(BEGIN < item.seen_at < BEGIN + timedelta(minutes=1) for item in evidence)


def test_nothing_asked_is_six_gaps_at_the_time_given():
    evidence = classify([])
    assert [item.reason for item in evidence] == [GapReason.NOT_ASKED] * 6
    assert {item.seen_at for item in evidence} == {LATER}


@pytest.mark.parametrize(
    ("stopped", "reason"), [("interrupted", GapReason.INTERRUPTED), ("out-of-time", GapReason.OUT_OF_TIME)]
)
@pytest.mark.parametrize("kept", range(9))
def test_stopped_record_keeps_what_was_learned_and_explains_the_rest(stopped, reason, kept):
    backend = replace(MODERN, refusals=dict.fromkeys(ALL_VERSIONS, REFUSALS["40"]))
    exchanges = climb(Way(backends=[backend])).exchanges[:kept]
    for item in classify(exchanges, stopped=stopped):
        if isinstance(item, Observation):
            assert (item.state is State.ENABLED) is (item.version in backend.enabled)
        else:
            assert item.reason is reason


def test_stop_does_not_explain_what_was_already_given_up():
    """A version that met silence as often as it is ever asked stays SILENT, whatever stopped the host later."""
    backend = replace(MODERN, refusals=dict.fromkeys(ALL_VERSIONS, Fate.SILENCE))
    exchanges = climb(Way(backends=[backend])).exchanges
    reasons = {item.reason for item in classify(exchanges, stopped="out-of-time") if isinstance(item, Gap)}
    assert reasons == {GapReason.SILENT}


def test_our_own_failure_is_named_as_such():
    request = ProbeRequest(
        id=1, probe=Probe.HELLO, endpoint=ENDPOINT, version=TlsVersion.TLS1_2, variant=climb_variant()
    )
    failure = Exchange(
        request=request,
        started_at=BEGIN,
        sent=b"",
        received=b"",
        ending=Ending.LOCAL_FAILURE,
        elapsed_s=0.0,
        os_error="EMFILE",
    )
    gaps = classify([failure])
    assert {gap.reason for gap in gaps} == {GapReason.LOCAL_FAILURE}
    assert all("EMFILE" in gap.detail for gap in gaps)


def climb_variant():
    return climb(Way(backends=[MODERN])).exchanges[0].request.variant


def test_http_exchanges_are_passed_over():
    exchanges = climb(Way(backends=[MODERN])).exchanges
    http = replace(
        exchanges[0],
        request=ProbeRequest(id=99, probe=Probe.HTTP, endpoint=ENDPOINT, version=None, path="/adfs/probe"),
        received=b"HTTP/1.1 200 OK\r\n\r\n",
    )
    assert classify([*exchanges, http]) == classify(exchanges)
    assert classify([http, *exchanges]) == classify(exchanges)


def test_contradiction_in_one_run_is_stated_on_both_sides():
    """Two machines: one accepts TLS 1.0, the other refused it in words. Both are said; merge then calls it disputed."""
    old = replace(MODERN, enabled=MODERN.enabled | {TlsVersion.TLS1_0})
    old_first = climb(Way(backends=[old])).exchanges
    refusal = next(e for e in climb(Way(backends=[MODERN])).exchanges if e.request.version is TlsVersion.TLS1_0)
    items = by_version(classify([*old_first, refusal]))[TlsVersion.TLS1_0]
    assert {item.state for item in items} == {State.ENABLED, State.DISABLED}


def test_ssl2_without_cipher_is_contested():
    backend = Backend(enabled=frozenset({TlsVersion.SSL2, TlsVersion.TLS1_0}), has_ssl2_ciphers=False)
    items = by_version(classify(climb(Way(backends=[backend]), confirm=False).exchanges))[TlsVersion.SSL2]
    assert [(item.state, item.is_contested) for item in items] == [(State.ENABLED, True)]


backends = st.builds(
    Backend,
    enabled=st.sets(st.sampled_from(ALL_VERSIONS), min_size=1).map(frozenset),
    refusals=st.dictionaries(st.sampled_from(ALL_VERSIONS), st.sampled_from(list(REFUSALS.values()))),
)


@given(backend=backends, seed=st.integers(0, 2**32), noise=st.sampled_from([0.0, 0.2]), data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_version_is_accounted_for_at_every_moment(backend, seed, noise, data):
    """Cut anywhere, each version has facts or exactly one gap; and the same bytes always give the same judgement."""
    exchanges = climb(Way(backends=[backend], seed=seed, noise=noise)).exchanges
    cut = data.draw(st.integers(0, len(exchanges)))
    stopped = data.draw(st.sampled_from([None, "interrupted", "out-of-time"]))
    evidence = classify(exchanges[:cut], stopped=stopped)
    assert evidence == classify(list(exchanges[:cut]), stopped=stopped)
    for items in by_version(evidence).values():
        gaps = [item for item in items if isinstance(item, Gap)]
        assert len(gaps) == (0 if len(items) > len(gaps) else 1)
    for item in evidence:
        if isinstance(item, Observation) and item.state is State.ENABLED:
            assert item.version in backend.enabled
        if isinstance(item, Observation) and item.state is State.DISABLED:
            assert item.version not in backend.enabled
    assert [item.version for item in evidence] == sorted(item.version for item in evidence)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_positive_facts_do_not_depend_on_order(seed):
    """Controls before and after do depend on it, as they must; an acceptance never does."""
    chance = random.Random(seed)
    exchanges = list(climb(Way(backends=[MODERN], seed=seed, noise=0.2)).exchanges)
    enabled = {
        item.version for item in classify(exchanges) if isinstance(item, Observation) and item.state is State.ENABLED
    }
    chance.shuffle(exchanges)
    shuffled = {
        item.version for item in classify(exchanges) if isinstance(item, Observation) and item.state is State.ENABLED
    }
    assert shuffled == enabled
