"""The rules of outbound judgement, row by row, as properties, and against simulated clients whose truth is known."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.merge import merge_scope
from scanner.model.evidence import Basis, Gap, GapReason, Observation, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS
from scanner.outbound.arrivals import Outcome, read_arrival
from scanner.outbound.classify import classify_outbound, offers
from scanner.outbound.tokens import Answer, ProbeToken
from tests.outbound.clients import (
    AT,
    SSL2,
    SSL3,
    V10,
    V11,
    V12,
    V13,
    SimulatedClient,
    arrival,
    draw_client,
    visits,
)
from tests.outbound.hellos import decoded, hello, ssl2_hello_bytes
from tests.outbound.recordings import NasslPeer, meet, ssl_client, ssl_server, tlslite_server

PLAIN = hello(legacy=0x0303)
"""At most TLS 1.2, no list."""
OTHER = hello(legacy=0x0303, suites=(0xC030,))
LISTED = hello(listed=[0x0304, 0x0303])
LONG_LIST = hello(listed=[0x0304, 0x0303, 0x0302, 0x0301])
OLD = hello(legacy=0x0301)
MARKED = hello(legacy=0x0302, suites=(0xC02F, 0x5600))
SSL2_HELLO = decoded(ssl2_hello_bytes())
SSL2_TO_TLS10 = decoded(ssl2_hello_bytes(version=0x0301, kinds=(0x010080, 0x00002F)))
SCOPE = "curl from 192.0.2.7"


def classify(arrivals, stopped=None):
    return classify_outbound("host.example", SCOPE, arrivals, run="r", tool_version="1", asked_at=AT, stopped=stopped)


def rows(*found):
    """Arrivals a minute apart from (hello, version answered, end)."""
    return [arrival(row[0], answered=row[1], end=row[2], serial=place) for place, row in enumerate(found)]


def verdicts(evidence):
    return {
        version: merge_scope(evidence, host="host.example", scope=SCOPE, direction=Direction.OUTBOUND, version=version)
        for version in ALL_VERSIONS
    }


def verdict(version, *found):
    return verdicts(classify(rows(*found)))[version]


def state(version, *found):
    return verdict(version, *found).state


E, D, U = State.ENABLED, State.DISABLED, State.UNKNOWN
GOOD = (PLAIN, V12, "completed")


@pytest.mark.parametrize(
    ("version", "found", "expected"),
    [
        # Taken up
        (V12, [(PLAIN, V12, "completed")], E),
        (V10, [(PLAIN, V10, "went-on")], E),
        (V10, [(PLAIN, V10, "certificate")], E),
        (SSL2, [(SSL2_HELLO, SSL2, "went-on")], E),
        # Refused in words about the version
        (V10, [(PLAIN, V10, 70)], D),
        (V12, [(PLAIN, V12, 70)], D),
        # Listed, yet refused: what is offered is not what is accepted
        (V10, [(LONG_LIST, V10, 70)], D),
        # Left out of the list
        (V11, [(LISTED, None, None)], D),
        (SSL3, [(LISTED, None, None)], D),
        (V12, [(LISTED, None, None)], U),
        (V13, [(LISTED, None, None)], U),
        # Above the maximum
        (V13, [(PLAIN, None, None)], D),
        (V12, [(PLAIN, None, None)], U),
        (V11, [(PLAIN, None, None)], U),
        # An old client's one hello may have been its second try
        (V12, [(OLD, None, None)], U),
        (V12, [(OLD, V10, "completed")], U),
        (V12, [(OLD, V10, "completed")] * 2, D),
        # A fallback hello never makes a ceiling
        (V13, [(MARKED, V11, "completed")] * 9, U),
        (V12, [(MARKED, V11, "completed")] * 9, U),
        # Any hello that offers it
        (V13, [(PLAIN, None, None), (LISTED, None, None)], U),
        (V11, [(PLAIN, None, None), (LISTED, None, None)], U),
        # SSL 2.0 can only answer a hello in its own format
        (SSL2, [(PLAIN, None, None)], D),
        (SSL2, [(SSL2_HELLO, None, None)], U),
        (SSL2, [(SSL2_TO_TLS10, V10, "completed")], U),
        (SSL2, [(PLAIN, None, None), (SSL2_HELLO, None, None)], U),
        # About suites, or about anything
        *[(V10, [GOOD, *[(PLAIN, V10, end)] * 9, GOOD], U) for end in (40, 47, "silent")],
        (V10, [GOOD, *[(PLAIN, V10, Outcome.OTHER_ALERT)] * 9, GOOD], U),
        (V10, [GOOD, *[(PLAIN, V10, Outcome.ODD)] * 9, GOOD], U),
        (V10, [GOOD, *[(PLAIN, V10, Outcome.CUT_OFF)] * 9, GOOD], U),
        # Without a word: six times, between completed connections with the same hello
        *[(V10, [GOOD, *[(PLAIN, V10, end)] * 6, GOOD], D) for end in ("close", "reset")],
        *[(V10, [GOOD, *[(PLAIN, V10, end)] * 5, GOOD], U) for end in ("close", "reset")],
        (V10, [*[(PLAIN, V10, "close")] * 6, GOOD], U),
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 6], U),
        # ... and what follows the last of these neither counts nor takes back what was proven
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 6, GOOD, (PLAIN, V10, "close")], D),
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 5, GOOD, (PLAIN, V10, "close")], U),
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 6, GOOD, (PLAIN, V10, "silent")], U),
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 6, GOOD, (PLAIN, V10, "completed")], E),
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 3, *[(PLAIN, V10, "reset")] * 3, GOOD], U),
        (V10, [GOOD, *[(PLAIN, V10, "close")] * 6, (PLAIN, V10, "silent"), GOOD], U),
        (V10, [(OTHER, V12, "completed"), *[(PLAIN, V10, "close")] * 6, (OTHER, V12, "completed")], U),
        # ... whose certificate was accepted: some hang up on one that they don't trust
        (V10, [(PLAIN, V12, "certificate"), *[(PLAIN, V10, "close")] * 6, (PLAIN, V12, "certificate")], U),
        # ... and the same end was not seen on a version that works
        (V10, [GOOD, (PLAIN, V12, "close"), *[(PLAIN, V10, "close")] * 6, GOOD], U),
        # Several forms of hello: each must refuse or leave it out
        (V10, [(PLAIN, V10, 70), (OTHER, None, None)], U),
        (V10, [(PLAIN, V10, 70), (OTHER, V10, 70)], D),
        (V10, [(PLAIN, V10, 70), (LISTED, None, None)], D),
        (V10, [(PLAIN, V10, 70), (OTHER, V10, "completed")], E),
        (V10, [(PLAIN, V10, 70), (OTHER, V10, 40)], U),
        # One form that does both is sent by two machines
        (V10, [(PLAIN, V11, 70), (PLAIN, V11, "completed"), *[(PLAIN, V10, 70)] * 3], U),
        (V10, [(PLAIN, V11, 70), (PLAIN, V11, "completed"), *[(PLAIN, V10, 70)] * 4], D),
        # An acceptance beats any refusal
        (V10, [(PLAIN, V10, 70), (PLAIN, V10, "went-on")], E),
        (V10, [(PLAIN, V10, "certificate"), (PLAIN, V10, 70), (PLAIN, V10, 70)], E),
    ],
)  # fmt: skip
def test_rules(version, found, expected):
    assert state(version, *found) is expected


def test_lower_try_soon_after_a_failure_makes_no_ceiling():
    """Unmarked: an old client that comes again with less."""
    first = arrival(PLAIN, answered=V12, end="reset", serial=0)
    soon = [
        arrival(OLD, answered=V10, end="completed", serial=place, at=first.ended_at + timedelta(seconds=place))
        for place in range(1, 9)
    ]
    assert verdicts(classify([first, *soon]))[V13].state is U
    late = [
        arrival(OLD, answered=V10, end="completed", serial=place, at=AT + timedelta(minutes=place))
        for place in range(1, 9)
    ]
    assert verdicts(classify([first, *late]))[V13].state is D, "nothing was lowered: two programs"
    assert verdicts(classify([first, *late]))[V12].state is U


def test_client_that_comes_again_with_less_may_try_each_version_alone():
    """Refused TLS 1.1 with a hello up to 1.2, then a hello of at most 1.0: perhaps the 1.1 one was lost."""
    refusal = arrival(PLAIN, answered=V11, end=70, serial=0)
    again = arrival(OLD, answered=V10, end="completed", serial=1, at=refusal.ended_at + timedelta(seconds=1))
    found = classify([refusal, again])
    gap = next(item for item in found if item.version is V11)
    assert isinstance(gap, Gap)
    assert gap.reason is GapReason.INCONSISTENT


def test_lowest_try_must_refuse_three_times():
    start = arrival(PLAIN, answered=SSL3, end=70, serial=0)
    tries = [
        arrival(OLD, answered=SSL3, end=70, serial=place, at=start.ended_at + timedelta(seconds=place))
        for place in (1, 2, 3)
    ]
    assert verdicts(classify([start, *tries[:2]]))[SSL3].state is U
    assert verdicts(classify([start, *tries]))[SSL3].state is D


def test_hanging_up_is_no_refusal_where_the_client_comes_again_with_less():
    found = [GOOD, *[(PLAIN, V10, "close")] * 6, GOOD]
    assert state(V10, *found) is D
    assert state(V10, *found, (MARKED, V11, "completed")) is U


def test_list_in_a_second_try_rules_out_what_is_below_its_maximum_only():
    marked = hello(listed=[0x0303, 0x0302], suites=(0xC02F, 0x5600))
    found = verdicts(classify([arrival(marked)]))
    assert found[V13].state is U
    assert found[V10].state is D


def test_connections_for_different_questions_of_the_scan_are_no_tries():
    """A proxy's hello may follow that of the client: less was asked, not less tried."""

    def connections(nonces):
        first, second = (ProbeToken(nonce * 16, Answer.TLS11) for nonce in nonces)
        failed = arrival(LISTED, answered=V13, end="reset", token=first)
        lower = arrival(PLAIN, answered=V11, end=70, serial=1, at=failed.ended_at + timedelta(seconds=1), token=second)
        return verdicts(classify([failed, lower]))

    assert connections("ab")[V11].state is D
    assert connections("aa")[V11].state is U


def test_list_that_cannot_be_read_rules_nothing_out():
    broken = hello(extensions=[(43, b"\x03\x03\x04")])
    assert offers(broken, V13) is None
    assert verdicts(classify([arrival(broken)]))[V13].state is U


def test_both_sides_of_one_form_are_shown():
    found = verdict(V10, (PLAIN, V10, 70), (PLAIN, V10, "completed"))
    assert found.state is E
    assert found.is_disputed
    assert [item.state for item in found.opposing] == [D]


def test_bases():
    both = verdict(V12, (PLAIN, V12, "certificate"), (PLAIN, V12, "completed"))
    assert {item.basis for item in both.supporting} == {Basis.HELLO, Basis.HANDSHAKE}
    left_out = verdict(V13, (PLAIN, V12, "completed"))
    assert [item.basis for item in left_out.supporting] == [Basis.HELLO]


def test_facts_on_an_observation():
    found = next(item for item in classify(rows((PLAIN, V12, "completed"))) if item.version is V12)
    facts = dict(found.facts)
    assert facts["answered"] == "TLS1.2"
    assert facts["cipher_suite"] == "0xC02F"
    assert facts["ja4"].startswith("t12d03"), "FoxIO JA4: TCP, TLS 1.2, SNI, 3 suites"
    assert facts["forms"] == "1"


def test_reason_says_how_many_forms_were_seen():
    assert "in each of the 2 forms of hello" in verdict(V13, (PLAIN, None, None), (OTHER, None, None)).reason
    assert "TLS 1.2, TLS 1.3" in verdict(V10, (LISTED, None, None)).reason


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], GapReason.NOT_SEEN),
        ([(None, None, Outcome.NOT_TLS)], GapReason.NOT_TLS),
        ([(None, None, Outcome.NO_HELLO)], GapReason.NOT_SEEN),
        ([(PLAIN, None, None)], GapReason.OFFERED),
        ([(PLAIN, V10, 40)], GapReason.SUITES),
        ([(PLAIN, V10, Outcome.NO_COMMON_SUITE)], GapReason.SUITES),
        ([(PLAIN, V10, 47)], GapReason.AMBIGUOUS),
        ([(PLAIN, V10, "close")], GapReason.AMBIGUOUS),
        ([(PLAIN, V10, "reset")], GapReason.AMBIGUOUS),
        ([(PLAIN, V10, "silent")], GapReason.SILENT),
        ([(PLAIN, V10, Outcome.ODD)], GapReason.ODD_REPLY),
        ([(PLAIN, V10, Outcome.CUT_OFF)], GapReason.LOCAL_FAILURE),
        ([(PLAIN, V10, 70), (OTHER, None, None)], GapReason.OFFERED),
        ([(PLAIN, V12, 40)], GapReason.OFFERED),
    ],
)
def test_gaps_say_why(found, reason):
    gap = next(item for item in classify(rows(*found)) if item.version is V10)
    assert isinstance(gap, Gap)
    assert gap.reason is reason
    assert gap.detail


def test_our_own_inability_is_a_gap_of_the_version_that_was_asked():
    none_common = arrival(PLAIN, asked=V10, end=Outcome.NO_COMMON_SUITE)
    gaps = {item.version: item.reason for item in classify([none_common]) if isinstance(item, Gap)}
    assert gaps[V10] is GapReason.SUITES
    assert gaps[V12] is GapReason.OFFERED


@pytest.mark.parametrize(
    ("stopped", "reason"),
    [
        ("interrupted", GapReason.INTERRUPTED),
        ("out-of-time", GapReason.OUT_OF_TIME),
        ("failed", GapReason.LOCAL_FAILURE),
        (None, GapReason.OFFERED),
    ],
)
def test_stopped_runs_explain_what_is_open(stopped, reason):
    gaps = {item.version: item.reason for item in classify(rows((PLAIN, V10, 40)), stopped) if isinstance(item, Gap)}
    assert gaps[V12] is reason
    assert gaps[V10] is GapReason.SUITES, "that was asked and answered"


# Properties


def some_arrivals(seed):
    chance = random.Random(seed)
    found = visits(draw_client(chance), seed, noise=0.2, count=chance.randint(0, 8))
    return found + visits(draw_client(chance), seed + 1, noise=0.2, count=chance.randint(0, 3), serial=500)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_order_does_not_matter_and_twice_is_once(seed):
    found = some_arrivals(seed)
    mixed = [*found, *found]
    random.Random(seed).shuffle(mixed)
    assert classify(mixed) == classify(found)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_every_version_is_accounted_for(seed):
    found = classify(some_arrivals(seed))
    assert {item.version for item in found} == set(ALL_VERSIONS)
    for version in ALL_VERSIONS:
        kinds = {type(item) for item in found if item.version is version}
        assert kinds in ({Observation}, {Gap})
    assert all(item.scope == SCOPE and item.direction is Direction.OUTBOUND for item in found)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_acceptance_is_never_taken_back(seed):
    found = some_arrivals(seed)
    before = {version for version, each in verdicts(classify(found[: len(found) // 2])).items() if each.state is E}
    after = {version for version, each in verdicts(classify(found)).items() if each.state is E}
    assert before <= after


# Simulated clients under noise: the truth is what they were made to support


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_no_wrong_verdict_on_simulated_clients(noise):
    """Versions with holes, tries with less (marked, unmarked, one version each), refusals of every kind."""
    counts = Counter()
    for seed in range(1500):
        client = draw_client(random.Random(seed))
        for count in (1, 5, 18):
            for version, found in verdicts(classify(visits(client, seed, noise=noise, count=count))).items():
                truth = E if version in client.versions else D
                assert found.state in {truth, U}, (seed, count, version, client)
                counts[found.state] += 1
    assert counts[E] > 5000
    assert counts[D] > 5000


def test_no_wrong_verdict_on_two_clients_behind_one_address():
    for seed in range(800):
        chance = random.Random(seed)
        one, two = draw_client(chance), draw_client(chance)
        two.suites = (0x1302, 0x00FF)
        both = visits(one, seed, noise=0.2) + visits(two, seed + 1, noise=0.2, serial=500)
        for version, found in verdicts(classify(both)).items():
            truth = E if version in one.versions | two.versions else D
            assert found.state in {truth, U}, (seed, version, one, two)


@pytest.mark.parametrize(
    "versions", [{V12}, {V12, V13}, {V10, V11, V12}, {V10, V12}, {V11, V12, V13}, {V13}, {SSL3, V10}]
)
@pytest.mark.parametrize("refuses", [70])
def test_plain_clients_are_known_wholly(versions, refuses):
    client = SimulatedClient(versions=frozenset(versions), refuses=refuses)
    found = verdicts(classify(visits(client, 1, noise=0.0, count=12)))
    assert {version for version, each in found.items() if each.state is E} == versions
    assert {version for version, each in found.items() if each.state is U} == set()


# Real clients against real servers, one connection a version

REAL = [
    ({V12, V13}, set(), lambda: ssl_client(V12, V13)),
    ({V13}, set(), lambda: ssl_client(V13, V13)),
    ({V12}, set(), lambda: ssl_client(V12, V12)),
    ({V11, V12, V13}, set(), lambda: ssl_client(V11, V13)),
    ({V10, V11, V12}, set(), lambda: ssl_client(V10, V12)),
    ({V12, V13}, set(), lambda: ssl_client(V12, V13, trusts=False)),
    ({V10, V11}, set(), lambda: ssl_client(V10, V11)),
    ({SSL3, V10, V11, V12}, set(), NasslPeer),
    # OpenSSL 1.0.2 says handshake_failure to SSL 3.0, which may be about suites
    ({V11}, {SSL3}, lambda: NasslPeer("TLSV1_1")),
    # OpenSSL's security level 1 takes TLS 1.0 and 1.1 out of what is offered, and says internal_error
    ({V12, V13}, {V10, V11}, lambda: ssl_client(V10, V13, ciphers="ALL:@SECLEVEL=1")),
]


@pytest.mark.parametrize(("versions", "unknown", "client"), REAL)
def test_real_clients_are_what_they_were_pinned_to(versions, unknown, client):
    def server(version):
        return ssl_server(version) if version >= V12 else tlslite_server(version)

    found = [
        read_arrival(meet(client(), server(version), version, serial=place, at=AT + timedelta(minutes=place)))
        for place, version in enumerate([SSL3, V10, V11, V12, V13] * 2)
    ]
    states = {version: each.state for version, each in verdicts(classify(found)).items()}
    assert {version for version, each in states.items() if each is E} == versions
    assert {version for version, each in states.items() if each is U} == unknown
