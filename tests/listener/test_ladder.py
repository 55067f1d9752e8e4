"""Which version is answered: the token's, else each in turn, and the best one often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.listener.ladder import RESTS, Climb, Decision, Ladder, decide_version, possible_versions
from scanner.model.versions import TlsVersion as V
from scanner.outbound.tokens import Answer, ProbeToken
from scanner.tls.client_hello import decode_client_hello
from tests.listener.hellos import client_hello, ssl2_hello

MODERN = decode_client_hello(client_hello(listed=(0x0304, 0x0303)))
UPTO_1_2 = decode_client_hello(client_hello(0x0303))
UPTO_1_1 = decode_client_hello(client_hello(0x0302))
KEY = ("192.0.2.7", "a.example", False)
REFUSED = Decision(None, 70)


def token(answer):
    return ProbeToken("0" * 16, answer)


def answers(hello, count, ladder=None):
    ladder = Ladder() if ladder is None else ladder
    return [ladder.decide(KEY, hello, None).version for _ in range(count)]


@pytest.mark.parametrize(
    ("wire", "versions"),
    [
        (client_hello(listed=(0x0304, 0x0303)), [V.TLS1_3, V.TLS1_2]),
        (client_hello(listed=(0x7A7A, 0x0304)), [V.TLS1_3]),
        (client_hello(listed=(0x0301, 0x0303)), [V.TLS1_2, V.TLS1_0]),
        (client_hello(0x0303), [V.TLS1_2, V.TLS1_1, V.TLS1_0, V.SSL3]),
        (client_hello(0x0304), [V.TLS1_2, V.TLS1_1, V.TLS1_0, V.SSL3]),
        (client_hello(0x0300), [V.SSL3]),
        (ssl2_hello(0x0301), [V.TLS1_0, V.SSL3, V.SSL2]),
        (ssl2_hello(0x0301, kinds=(0x00002F,)), [V.TLS1_0, V.SSL3]),
        (ssl2_hello(0x0002), [V.SSL2]),
        (client_hello(listed=(0x7F1C,)), []),
    ],
)
def test_what_a_hello_can_be_answered_with(wire, versions):
    assert list(possible_versions(decode_client_hello(wire))) == versions


def test_each_version_once_then_the_best_for_a_while_then_again():
    cycle = [V.TLS1_2, V.TLS1_1, V.TLS1_0, V.SSL3]
    assert answers(UPTO_1_2, 2 * (4 + RESTS)) == (cycle + [V.TLS1_2] * RESTS) * 2


def test_a_client_with_one_version_always_gets_it():
    assert set(answers(decode_client_hello(client_hello(listed=(0x0304,))), 20)) == {V.TLS1_3}


def test_a_fallback_hello_goes_on_where_the_cycle_was():
    ladder = Ladder()
    seen = [ladder.decide(KEY, hello, None).version for hello in (UPTO_1_2, UPTO_1_2, UPTO_1_1, UPTO_1_1, UPTO_1_2)]
    assert seen == [V.TLS1_2, V.TLS1_1, V.TLS1_0, V.SSL3, V.TLS1_2]


def test_while_it_rests_a_client_gets_the_best_version_it_completed():
    ladder = Ladder()
    answers(UPTO_1_2, 4, ladder)
    ladder.note_accepted(KEY, V.TLS1_0)
    assert answers(UPTO_1_2, RESTS, ladder) == [V.TLS1_0] * RESTS
    assert answers(UPTO_1_2, 1, ladder) == [V.TLS1_2]


def test_clients_do_not_disturb_each_other():
    ladder = Ladder()
    keys = [(peer, name, ssl2) for peer in ("192.0.2.7", "192.0.2.8") for name in ("", "a") for ssl2 in (True, False)]
    assert {ladder.decide(key, MODERN, None).version for key in keys} == {V.TLS1_3}


@pytest.mark.parametrize(
    ("hello", "answer", "decision"),
    [
        (MODERN, Answer.ANY, Decision(V.TLS1_3)),
        (MODERN, Answer.TLS12, Decision(V.TLS1_2)),
        (MODERN, Answer.TLS11, REFUSED),
        (MODERN, Answer.SSL2, REFUSED),
        (UPTO_1_2, Answer.TLS13, REFUSED),
        (UPTO_1_2, Answer.SSL3, Decision(V.SSL3)),
        (UPTO_1_1, Answer.ANY, Decision(V.TLS1_1)),
        (UPTO_1_1, Answer.TLS12, REFUSED),
        (decode_client_hello(client_hello(listed=(0x7F1C,))), Answer.ANY, REFUSED),
    ],
)
def test_a_probe_token_decides(hello, answer, decision):
    ladder = Ladder()
    assert ladder.decide(KEY, hello, token(answer)) == decision
    assert len(ladder) == 0


def test_a_hello_without_a_known_version_is_refused():
    assert Ladder().decide(KEY, decode_client_hello(client_hello(listed=(0x7F1C,))), None) == REFUSED


def test_the_client_seen_longest_ago_is_forgotten():
    ladder = Ladder(most_clients=2)
    for peer in ("a", "b", "a", "c"):
        ladder.decide((peer, "", False), UPTO_1_2, None)
    assert len(ladder) == 2
    assert ladder.decide(("a", "", False), UPTO_1_2, None).version is V.TLS1_0  # the third, so it was remembered
    assert ladder.decide(("b", "", False), UPTO_1_2, None).version is V.TLS1_2
    ladder.note_accepted(("gone", "", False), V.TLS1_2)
    assert len(ladder) == 2


VERSIONS = st.lists(st.sampled_from([0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7F1C]), min_size=1, unique=True)
HELLOS = st.one_of(
    VERSIONS.map(lambda listed: decode_client_hello(client_hello(listed=tuple(listed)))),
    st.sampled_from([0x0300, 0x0301, 0x0302, 0x0303]).map(lambda v: decode_client_hello(client_hello(v))),
    st.sampled_from([0x0002, 0x0300, 0x0303]).map(lambda v: decode_client_hello(ssl2_hello(v))),
)


@given(st.lists(HELLOS, max_size=40))
def test_nothing_is_answered_that_a_hello_excludes(hellos):
    ladder = Ladder()
    for hello in hellos:
        decision = ladder.decide(KEY, hello, None)
        if decision.version is None:
            assert decision.alert == 70
            assert possible_versions(hello) == ()
        else:
            assert hello.may_offer(decision.version) is not False


@given(HELLOS, st.lists(HELLOS, max_size=20))
def test_from_any_state_all_versions_come_in_two_cycles(hello, before):
    ladder = Ladder()
    for each in before:
        ladder.decide(KEY, each, None)
    assert set(answers(hello, 2 * (6 + RESTS), ladder)) == (set(possible_versions(hello)) or {None})


@given(HELLOS, st.integers(0, 30))
def test_deciding_is_a_function_of_what_is_remembered(hello, steps):
    climb = Climb()
    for _ in range(steps):
        climb = decide_version(hello, None, climb)[1]
    assert decide_version(hello, None, climb) == decide_version(hello, None, climb)
