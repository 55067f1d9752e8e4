"""The decision table, row by row (docs/method.md)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scanner import survey as survey_module
from scanner.answers import Answer, AnswerKind
from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import TlsVersion
from scanner.probes import hello_ladder
from scanner.survey import Open, Settled, Survey
from scanner.tls import alerts, suites

AT = datetime(2026, 11, 23, tzinfo=UTC)
BROAD, COMPACT, RARE, EXOTIC = HelloVariant
SIZES = {BROAD: 1111, COMPACT: 200, RARE: 520, EXOTIC: 580}
V10, V11, V12, V13, SSL3, SSL2 = (
    TlsVersion.TLS1_0,
    TlsVersion.TLS1_1,
    TlsVersion.TLS1_2,
    TlsVersion.TLS1_3,
    TlsVersion.SSL3,
    TlsVersion.SSL2,
)


def answers(*rows):
    """Return answers from (version, variant, outcome): an accepted version, an alert number, or a kind."""
    found = []
    for place, (version, variant, outcome, *more) in enumerate(rows):
        fields = {"kind": outcome, "text": str(outcome)}
        if isinstance(outcome, TlsVersion):
            fields = {"kind": AnswerKind.ACCEPTED, "text": f"ServerHello {outcome.title}", "accepted": outcome}
        elif outcome == 70:
            fields = {"kind": AnswerKind.VERSION_REFUSED, "text": "alert 70"}
        elif isinstance(outcome, int):
            fields = {"kind": AnswerKind.ALERT, "text": f"alert {outcome}", "alert": outcome}
        found.append(
            Answer(
                version=version,
                variant=variant,
                at=AT + timedelta(seconds=place),
                ending=Ending.COMPLETE,
                sent_bytes=SIZES.get(variant, 300),
                **fields,
                **(more[0] if more else {}),
            )
        )
    return found


def standing(version, *rows):
    return Survey(answers(*rows)).standing(version)


CONTROL = (V12, BROAD, V12)
RESET, CLOSED, SILENT, ODD, NOT_TLS = (
    AnswerKind.RESET,
    AnswerKind.CLOSED,
    AnswerKind.SILENT,
    AnswerKind.ODD,
    AnswerKind.NOT_TLS,
)


def state(found):
    return found.state if isinstance(found, Settled) else State.UNKNOWN


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Words about the version
        ([CONTROL, (V10, BROAD, V10)], State.ENABLED),
        ([CONTROL, (V10, BROAD, 70)], State.DISABLED),
        ([(V10, BROAD, 70), CONTROL], State.DISABLED),
        ([CONTROL, (V10, BROAD, SSL3)], State.DISABLED),
        ([(V10, BROAD, 70)], State.UNKNOWN),
        ([(V10, BROAD, 70), (V12, BROAD, 70)], State.UNKNOWN),
        # Ambiguous words: twice, in two forms, between controls
        ([CONTROL, (V10, BROAD, 40), (V10, COMPACT, 40), CONTROL], State.DISABLED),
        ([CONTROL, (V10, BROAD, 40), CONTROL], State.UNKNOWN),
        ([CONTROL, (V10, BROAD, 40), (V10, BROAD, 40), CONTROL], State.UNKNOWN),
        ([CONTROL, (V10, BROAD, 40), (V10, COMPACT, 40)], State.UNKNOWN),
        ([(V10, BROAD, 40), (V10, COMPACT, 40), CONTROL], State.UNKNOWN),
        ([CONTROL, (V10, BROAD, 40), (V10, COMPACT, 71), CONTROL], State.UNKNOWN),
        ([CONTROL, (V10, BROAD, 80), (V10, COMPACT, 80), CONTROL], State.UNKNOWN),
        ([CONTROL, (V10, BROAD, 80), (V10, COMPACT, 80), (V10, BROAD, 80), CONTROL], State.DISABLED),
        ([CONTROL, (V10, BROAD, 112), (V10, COMPACT, 112), CONTROL], State.UNKNOWN),
        ([CONTROL, (V10, BROAD, 42), (V10, COMPACT, 42), CONTROL], State.UNKNOWN),
        # Without a word: six times on the form that has every suite
        ([CONTROL, *[(V10, BROAD, RESET)] * 6, (V10, COMPACT, RESET), CONTROL], State.DISABLED),
        ([CONTROL, *[(V10, BROAD, CLOSED)] * 6, (V10, COMPACT, CLOSED), CONTROL], State.DISABLED),
        ([CONTROL, *[(V10, BROAD, RESET)] * 5, (V10, COMPACT, RESET), CONTROL], State.UNKNOWN),
        ([CONTROL, *[(V10, BROAD, CLOSED)] * 5, (V10, COMPACT, CLOSED), CONTROL], State.UNKNOWN),
        ([CONTROL, *[(V10, BROAD, RESET)] * 6, CONTROL], State.UNKNOWN),
        ([CONTROL, *[(V10, BROAD, RESET)] * 6, (V10, COMPACT, RESET)], State.UNKNOWN),
        # Never
        ([CONTROL, *[(V10, BROAD, SILENT)] * 20, *[(V10, COMPACT, SILENT)] * 20, CONTROL], State.UNKNOWN),
        ([CONTROL, *[(V10, BROAD, ODD)] * 20, *[(V10, COMPACT, ODD)] * 20, CONTROL], State.UNKNOWN),
        ([CONTROL, *[(V10, BROAD, NOT_TLS)] * 20, *[(V10, COMPACT, NOT_TLS)] * 20, CONTROL], State.UNKNOWN),
        # The same failure elsewhere: noise
        ([CONTROL, (V12, BROAD, RESET), *[(V10, BROAD, RESET)] * 6, (V10, COMPACT, RESET), CONTROL], State.UNKNOWN),
        # A long hello tells only where one as long got through
        ([(V12, COMPACT, V12), *[(V10, BROAD, RESET)] * 6, (V10, COMPACT, RESET), (V12, COMPACT, V12)], State.UNKNOWN),
        # An acceptance beats any refusal
        ([CONTROL, (V10, BROAD, 70), (V10, COMPACT, V10), CONTROL], State.ENABLED),
    ],
)
def test_decision_table(rows, expected):
    assert state(standing(V10, *rows)) is expected


def test_acceptance_and_refusal_in_words_are_both_kept():
    found = standing(V10, CONTROL, (V10, BROAD, 70), (V10, COMPACT, V10))
    assert isinstance(found, Settled)
    assert [answer.variant for answer in found.opposing] == [BROAD]


def test_endpoint_that_contradicts_itself_needs_more():
    """Several machines: four refusals instead of one."""
    both = [(V10, BROAD, 70), (V10, COMPACT, V10)]
    assert state(standing(V11, CONTROL, *both, *[(V11, BROAD, 70)] * 3)) is State.UNKNOWN
    assert state(standing(V11, CONTROL, *both, *[(V11, BROAD, 70)] * 4)) is State.DISABLED


@pytest.mark.parametrize("outcome", [70, 40, V12, RESET])
def test_nothing_is_said_of_what_was_not_asked(outcome):
    """GnuTLS 3.7 and Botan 2.19 with TLS 1.0 and 1.2 answer 70 to a TLS 1.1 hello: a refusal speaks of its own version.

    So a scan that was stopped knows nothing of the versions that it did not get to.
    """
    for unasked in (SSL2, SSL3, V10, V13):
        found = standing(unasked, CONTROL, *[(V11, BROAD, outcome)] * 6, CONTROL)
        assert isinstance(found, Open)
        assert found.reason is GapReason.NOT_ASKED
        assert found.wanted is BROAD


def test_hint_of_a_higher_version_is_no_refusal():
    """RFC 8446 section 4.1.3: the random says the server has TLS 1.3, though it chose 1.2."""
    hinted = {"is_downgraded": True}
    assert state(standing(V13, (V13, BROAD, V12, hinted))) is State.UNKNOWN
    assert state(standing(V13, (V13, BROAD, V12))) is State.DISABLED


def test_hint_is_explained_by_a_version_that_is_there():
    """A 1.1 hello answered with 1.0 and the hint: TLS 1.2 explains it, so TLS 1.1 is off."""
    assert state(standing(V11, CONTROL, (V11, BROAD, V10, {"is_downgraded": True}))) is State.DISABLED


def test_handshake_confirms_but_its_failure_refuses_nothing():
    done = {"is_completed": True}
    found = standing(V12, CONTROL, (V12, None, V12, done))
    assert isinstance(found, Settled)
    assert found.reason == "handshake completed"
    assert state(standing(V12, CONTROL, (V12, None, 40))) is State.ENABLED
    assert standing(V10, CONTROL, (V10, None, 70)) == standing(V10, CONTROL)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], GapReason.NOT_ASKED),
        ([CONTROL, (V10, BROAD, SILENT)], GapReason.SILENT),
        ([CONTROL, (V10, BROAD, ODD)], GapReason.ODD_REPLY),
        ([CONTROL, (V10, BROAD, NOT_TLS)], GapReason.NOT_TLS),
        ([CONTROL, (V10, BROAD, 112)], GapReason.NAME_REFUSED),
        ([CONTROL, (V10, BROAD, 40)], GapReason.AMBIGUOUS),
        ([CONTROL, (V10, BROAD, 40), (V10, COMPACT, 80), (V10, RARE, 40)], GapReason.INCONSISTENT),
        ([(V10, BROAD, 40)], GapReason.NO_CONTROL),
        ([(V10, BROAD, 70)], GapReason.NO_CONTROL),
        ([CONTROL, (V12, BROAD, RESET), (V10, BROAD, RESET)], GapReason.UNSTABLE),
        ([(V10, BROAD, AnswerKind.NO_CONNECTION)], GapReason.UNREACHABLE),
        ([(V10, BROAD, AnswerKind.NOT_ASKED)], GapReason.NOT_ASKED),
    ],
)
def test_gaps_say_why(rows, reason):
    found = standing(V10, *rows)
    assert isinstance(found, Open)
    assert found.reason is reason
    assert found.detail


def test_retry_request_alone_is_no_control():
    """It comes before name and certificate are looked at."""
    retry = (V13, BROAD, V13, {"is_retry_request": True})
    rows = [retry, (V10, BROAD, 40), (V10, COMPACT, 40), retry]
    assert state(standing(V10, *rows)) is State.UNKNOWN
    assert state(standing(V10, *rows, (V13, RARE, V13))) is State.DISABLED, (
        "it shows liveness before, the other the name"
    )


def test_nameless_hello_is_no_control():
    nameless = (SSL2, BROAD, SSL2, {"is_nameless": True})
    assert state(standing(V10, nameless, *[(V10, form, 40) for form in HelloVariant], nameless)) is State.UNKNOWN


# docs/method.md must say what the code does

METHOD = (Path(__file__).parents[1] / "docs" / "method.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("refusals in words (alert)", survey_module._NEEDED[AnswerKind.ALERT]),
        ("closes without a word", survey_module._NEEDED[AnswerKind.CLOSED]),
        ("resets", survey_module._NEEDED[AnswerKind.RESET]),
        ("internal_error(80)", survey_module._INTERNAL_ERRORS_NEEDED),
        ("refusals where machines contradict each other", survey_module._REFUSALS_NEEDED_WHEN_INCONSISTENT),
        ("asks of one version on a good path", survey_module._MOST_ASKS),
        ("asks of one version on a noisy path", survey_module._MOST_ASKS_WHEN_NOISY),
        ("asks of one version that meets silence", survey_module._MOST_ASKS_SILENT),
        ("asks of one version where asking tells nothing", survey_module._MOST_ASKS_UNTELLING),
        ("questions to one endpoint at the very most", hello_ladder.MOST_QUESTIONS),
        ("failed controls in a row before giving up", hello_ladder._MOST_CONTROL_FAILURES),
        ("seconds between questions on a noisy path", hello_ladder._PACE_WHEN_NOISY_S),
        ("seconds of rest after failures in a row", hello_ladder._PAUSE_AFTER_FAILURES_S),
        ("suites in BROAD up to TLS 1.2", len(suites.BROAD_LEGACY)),
        ("suites in BROAD for TLS 1.3", len(suites.BROAD_TLS13)),
        ("suites in COMPACT", len(suites.COMPACT_LEGACY)),
        ("suites in COMPACT for TLS 1.3", len(suites.COMPACT_TLS13)),
        ("suites in RARE", len(suites.RARE_LEGACY)),
        ("suites in EXOTIC", len(suites.EXOTIC_LEGACY)),
        ("SSLv2 cipher kinds in BROAD", len(suites.SSL2_ALL)),
        ("SSLv2 cipher kinds in the other forms", len(suites.SSL2_COMMON)),
    ],
)
def test_method_page_has_the_codes_numbers(name, value):
    assert f"| {name} | {value:g} |" in METHOD


def test_method_page_names_every_alert_that_is_never_about_versions():
    listed = METHOD.split("Never about versions:")[1].split("\n\n")[0]
    numbers = {int(word) for word in listed.replace(".", " ").replace(",", " ").split() if word.isdigit()}
    assert numbers == set(alerts.NEVER_ABOUT_VERSION)


def test_method_page_names_every_gap_reason():
    assert not [reason for reason in GapReason if f"`{reason}`" not in METHOD]
