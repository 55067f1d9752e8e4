"""Evidence to verdicts: the order never matters, duplicates change nothing, gaps never vote."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.merge import merge_host, merge_scope
from scanner.model.evidence import Basis, Gap, GapReason, Observation, Origin, State
from scanner.model.subjects import Direction
from scanner.model.verdicts import Verdict
from scanner.model.versions import TlsVersion

AT = datetime(2026, 11, 23, tzinfo=UTC)
HOST, SCOPE, VERSION = "h.example", "tcp://192.0.2.7:443", TlsVersion.TLS1_0


def origin(run="r1", locator="tcp://192.0.2.7:443"):
    return Origin(source="hello-ladder", source_version="1", locator=locator, run=run)


def observed(state=State.ENABLED, basis=Basis.HELLO, *, run="r1", minutes=0, **fields):
    values = {
        "host": HOST,
        "scope": SCOPE,
        "direction": Direction.INBOUND,
        "version": VERSION,
        "reason": f"{state} by {basis.label} in {run}",
        "seen_at": AT + timedelta(minutes=minutes),
        "origin": origin(run),
        **fields,
    }
    return Observation(state=state, basis=basis, **values)


def gap(reason=GapReason.SILENT, *, version=VERSION, detail="no answer", run="r1"):
    return Gap(
        host=HOST,
        scope=SCOPE,
        direction=Direction.INBOUND,
        version=version,
        reason=reason,
        seen_at=AT,
        origin=origin(run),
        detail=detail,
    )


def scoped(*evidence, scope=SCOPE):
    return merge_scope(evidence, host=HOST, scope=scope, direction=Direction.INBOUND, version=VERSION)


def hosted(*verdicts, gaps=()):
    return merge_host(verdicts, host=HOST, direction=Direction.INBOUND, version=VERSION, gaps=gaps)


observations = st.builds(
    observed,
    st.sampled_from([State.ENABLED, State.DISABLED]),
    st.sampled_from(Basis),
    run=st.sampled_from(["r1", "r2", "r3"]),
    minutes=st.integers(0, 3),
    is_contested=st.booleans(),
    reason=st.sampled_from(["a", "b"]),
)
gaps_drawn = st.builds(
    gap, st.sampled_from(GapReason), version=st.sampled_from([VERSION, None]), detail=st.sampled_from("ab")
)
foreign = st.builds(
    replace,
    observations,
    host=st.sampled_from([HOST, "other.example"]),
    version=st.sampled_from([TlsVersion.TLS1_2, TlsVersion.SSL3]),
)
evidence_lists = st.lists(observations | gaps_drawn | foreign, max_size=8)


@given(evidence=evidence_lists, data=st.data())
@settings(max_examples=500)
def test_order_never_matters(evidence, data):
    assert scoped(*data.draw(st.permutations(evidence))) == scoped(*evidence)


@given(evidence=evidence_lists, data=st.data())
@settings(max_examples=500)
def test_duplicates_change_nothing(evidence, data):
    again = data.draw(st.lists(st.sampled_from(evidence), max_size=4)) if evidence else []
    assert scoped(*evidence, *again) == scoped(*evidence)


@given(evidence=st.lists(observations, max_size=6), gaps=st.lists(gaps_drawn, max_size=4))
@settings(max_examples=300)
def test_gaps_never_vote(evidence, gaps):
    with_gaps, without = scoped(*evidence, *gaps), scoped(*evidence)
    assert (with_gaps.state, with_gaps.is_disputed) == (without.state, without.is_disputed)
    assert with_gaps.supporting == without.supporting
    assert with_gaps.opposing == without.opposing
    assert set(with_gaps.gaps) == set(gaps)


@given(evidence=evidence_lists)
@settings(max_examples=300)
def test_verdict_is_what_the_evidence_says(evidence):
    """Recomputed here in another way, from the words of design section 5."""
    own = [e for e in evidence if isinstance(e, Observation) and e.host == HOST and e.version is VERSION]
    verdict = scoped(*evidence)
    assert {*verdict.supporting, *verdict.opposing} <= set(own)
    if not own:
        assert verdict.state is State.UNKNOWN
        assert not verdict.is_disputed
        return
    top = [e for e in own if e.basis == max(e.basis for e in own)]
    newest_runs = {e.origin.run for e in top if e.seen_at == max(e.seen_at for e in top)}
    # The newest may be of several runs at the same second: then one of them stands.
    possible = [[e for e in top if e.origin.run == run] for run in newest_runs]
    allowed = {State.ENABLED if any(e.state is State.ENABLED for e in each) else State.DISABLED for each in possible}
    assert verdict.state in allowed
    assert all(e.state is verdict.state for e in verdict.supporting)
    assert all(e.state is not verdict.state for e in verdict.opposing)
    assert {*verdict.supporting, *verdict.opposing} == set(own), "nothing is hidden"


def test_strongest_basis_stands():
    for strong, weak in itertools.combinations(sorted(Basis, reverse=True), 2):
        verdict = scoped(observed(State.DISABLED, strong), observed(State.ENABLED, weak, minutes=60))
        assert verdict.state is State.DISABLED
        assert verdict.is_disputed, "a weaker source that says otherwise must be seen"


def test_registry_says_off_and_the_probe_got_in():
    verdict = scoped(observed(State.DISABLED, Basis.DECLARED, minutes=60), observed(State.ENABLED, Basis.HANDSHAKE))
    assert verdict.state is State.ENABLED
    assert verdict.is_disputed
    assert [item.basis for item in verdict.opposing] == [Basis.DECLARED]


def test_newest_run_stands_within_a_basis():
    old, new = observed(State.ENABLED, run="r1"), observed(State.DISABLED, run="r2", minutes=5)
    assert scoped(old, new).state is State.DISABLED
    assert scoped(replace(old, seen_at=AT + timedelta(minutes=9)), new).state is State.ENABLED


def test_contradiction_within_a_run_is_enabled_and_disputed():
    """Several machines behind one address: one accepted it, so it can be used."""
    verdict = scoped(observed(State.ENABLED), observed(State.DISABLED, minutes=1))
    assert (verdict.state, verdict.is_disputed) == (State.ENABLED, True)


def test_contested_evidence_is_disputed_until_something_better_comes():
    contested = observed(is_contested=True)
    assert scoped(contested).is_disputed
    assert not scoped(contested, observed(State.ENABLED, Basis.HANDSHAKE)).is_disputed


def test_agreement_is_not_disputed():
    verdict = scoped(observed(), observed(State.ENABLED, Basis.HANDSHAKE), gap())
    assert (verdict.state, verdict.is_disputed) == (State.ENABLED, False)
    assert verdict.reason == "enabled by handshake in r1"


def test_other_scopes_hosts_and_directions_are_passed_over():
    others = [
        observed(scope="tcp://192.0.2.8:443"),
        observed(host="other.example"),
        observed(direction=Direction.OUTBOUND),
        observed(version=TlsVersion.TLS1_1),
    ]
    verdict = scoped(*others)
    assert verdict.state is State.UNKNOWN
    assert verdict.supporting == verdict.opposing == verdict.gaps == ()


def test_unknown_gives_the_gaps_reason():
    assert scoped(gap(detail="refused")).reason == "refused"
    assert scoped(gap(version=None, detail="refused")).reason == "refused"


def verdict_of(state, scope, *, is_disputed=False):
    said = (observed(state, scope=scope),) if state is not State.UNKNOWN else ()
    return Verdict(
        host=HOST,
        scope=scope,
        direction=Direction.INBOUND,
        version=VERSION,
        state=state,
        is_disputed=is_disputed,
        reason=f"{state} at {scope}",
        supporting=said,
        gaps=() if said else (gap(),),
    )


verdict_lists = st.lists(st.sampled_from(State), max_size=5).map(
    lambda states: [verdict_of(state, f"tcp://192.0.2.{place}:443") for place, state in enumerate(states)]
)


@given(verdicts=verdict_lists, data=st.data())
@settings(max_examples=300)
def test_host_rules(verdicts, data):
    """ENABLED if any scope is; DISABLED only if all are; else UNKNOWN. The order never matters."""
    merged = hosted(*verdicts)
    states = [verdict.state for verdict in verdicts]
    if State.ENABLED in states:
        assert merged.state is State.ENABLED
    elif states and set(states) == {State.DISABLED}:
        assert merged.state is State.DISABLED
    else:
        assert merged.state is State.UNKNOWN
    assert merged.is_disputed is ({State.ENABLED, State.DISABLED} <= set(states))
    assert merged.scope is None
    assert hosted(*data.draw(st.permutations(verdicts))) == merged
    statements = {item for verdict in verdicts for item in verdict.supporting}
    if merged.state is not State.UNKNOWN:
        assert {*merged.supporting, *merged.opposing} == statements


@pytest.mark.parametrize("others", [(), (State.DISABLED,), (State.DISABLED, State.DISABLED)])
def test_one_unknown_scope_keeps_a_host_from_being_disabled(others):
    verdicts = [verdict_of(state, f"tcp://192.0.2.{place}:443") for place, state in enumerate((State.UNKNOWN, *others))]
    assert hosted(*verdicts).state is State.UNKNOWN


def test_dispute_of_a_scope_is_the_hosts():
    assert hosted(verdict_of(State.ENABLED, "a", is_disputed=True)).is_disputed


def test_host_without_scopes_is_unknown_for_the_hosts_reason():
    merged = hosted(gaps=(gap(GapReason.NAME_NOT_RESOLVED, version=None, detail="no such name"),))
    assert merged.state is State.UNKNOWN
    assert merged.reason == "no such name"
    assert hosted().state is State.UNKNOWN


def test_host_verdict_says_how_many_endpoints_agree():
    merged = hosted(verdict_of(State.ENABLED, "a"), verdict_of(State.DISABLED, "b"), verdict_of(State.DISABLED, "c"))
    assert "1 of 3" in merged.reason


@pytest.mark.parametrize(
    "change",
    [
        {"is_contested": True},
        {"facts": (("cipher_suite", "0x002F"),)},
        {"reason": "other"},
        {"origin": origin(locator="squid.conf:41")},
        {"origin": replace(origin(), source="sslyze-handshake")},
        {"origin": replace(origin(), source_version="2")},
        {"origin": origin(run="r0")},
        {"seen_at": AT + timedelta(seconds=1)},
    ],
    ids=str,
)
def test_statements_that_differ_in_one_thing_only_have_one_order(change):
    first = observed()
    second = replace(first, **change)
    assert scoped(first, second) == scoped(second, first)
    if "origin" in change:
        one, other = gap(), replace(gap(), **change)
        assert scoped(one, other) == scoped(other, one)
