import unicodedata
from dataclasses import replace

import pytest

from scanner.model.checks import CheckState
from scanner.model.exchange import Ending, EngineReport, Probe
from scanner.role_answers import all_state, answers_to, any_state, check, check_version_refusal, judge_each, texts_of
from tests.role_exchanges import exchange, response

YES, NO, UNKNOWN = CheckState


def test_only_http_exchanges_of_the_path_are_answers():
    exchanges = [
        exchange("/a", response(200)),
        exchange("/b", response(404)),
        exchange(None, b"\x15\x03\x03\x00\x02\x02\x28", probe=Probe.HELLO),
    ]
    assert [answer.response.status for answer in answers_to(exchanges, "/b")] == [404]
    assert [answer.response.status for answer in answers_to(exchanges)] == [200, 404]


def test_a_question_asked_again_counts_once_and_a_response_stands():
    failed = exchange("/a", ending=Ending.PEER_RESET, os_error="ECONNRESET")
    for exchanges in ([failed, exchange("/a", response(200))], [exchange("/a", response(200)), failed]):
        [answer] = answers_to(exchanges, "/a")
        assert answer.response.status == 200


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (exchange("/a", ending=Ending.REFUSED, os_error="ECONNREFUSED"), "no answer (ECONNREFUSED)"),
        (exchange("/a", ending=Ending.TIMED_OUT_READ), "no answer (timed-out-read)"),
        (exchange("/a", b"SSH-2.0-x\r\n", ending=Ending.COMPLETE), "no HTTP answer (complete)"),
        (exchange("/a", b"HTTP/1.1 200", ending=Ending.PEER_CLOSED), "no HTTP answer (peer-closed)"),
    ],
)
def test_without_a_response_the_state_is_unknown_with_the_cause_and_place(seen, words):
    def never(*_):
        raise AssertionError("nothing to judge")

    assert judge_each(answers_to([seen]), never) == [(UNKNOWN, f"192.0.2.7:443: {words}")]


def test_the_tls_engine_s_error_is_the_cause_where_there_is_one():
    failed = exchange("/a", ending=Ending.PEER_CLOSED)
    failed = replace(failed, engine=EngineReport(engine="nassl", completed=False, error="handshake failure"))
    assert answers_to([failed])[0].trouble == "no answer (handshake failure)"


@pytest.mark.parametrize(
    ("states", "any_expected", "all_expected"),
    [
        ([], UNKNOWN, UNKNOWN),
        ([YES], YES, YES),
        ([NO], NO, NO),
        ([NO, NO], NO, NO),
        ([NO, UNKNOWN], UNKNOWN, UNKNOWN),
        ([YES, NO], YES, UNKNOWN),
        ([YES, UNKNOWN], YES, UNKNOWN),
        ([UNKNOWN], UNKNOWN, UNKNOWN),
    ],
)
def test_states_of_several_places_are_joined_in_any_order(states, any_expected, all_expected):
    for order in (states, states[::-1]):
        judged = [(state, "") for state in order]
        assert any_state(judged) is any_expected
        assert all_state(judged) is all_expected


def test_what_decides_is_told_first():
    assert texts_of([(UNKNOWN, "c"), (NO, "b"), (YES, "a")]) == ["a", "b", "c"]


def test_a_detail_is_bounded_and_without_control_characters_and_never_empty():
    made = check("x", "X", YES, ["a\x1b[0m\u202e", "b" * 1_000])
    assert len(made.detail) <= 300
    assert not any(unicodedata.category(character).startswith("C") for character in made.detail)
    assert check("x", "X", UNKNOWN, []).detail == "it was not asked"


@pytest.mark.parametrize(
    ("received", "state"),
    [
        (response("426 UpgradeRequired"), YES),
        (response(400, '{"error_description": "AADSTS1002016: You are using TLS version 1.0"}'), YES),
        (response(200, "fine"), NO),
        (b"", UNKNOWN),
    ],
)
def test_a_request_refused_for_its_tls_version_is_told_from_an_accepted_one(received, state):
    assert check_version_refusal([exchange("/common/oauth2", received)]).state is state


def test_an_answer_in_the_clear_says_nothing_of_tls():
    assert check_version_refusal([exchange("/adfs/probe", response(200), port=80)]).state is UNKNOWN
