"""The hello ladder: which question to put next, given all answers so far. Pure; the engine asks.

One ClientHello a connection, one connection at a time per endpoint: some servers serve one client at a time, and some
boxes count connections. Ordinary hosts need 7 to 12 connections; docs/method.md has the reasons for each number.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import cast

from scanner.answers import Answer, AnswerKind
from scanner.model.evidence import State
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.survey import NOISE_KINDS, Open, Settled, Survey
from scanner.tls.reply import Reply, ServerHello, read_reply
from scanner.tls.retry import maybe_second_hello

FIRST_ROUND: tuple[TlsVersion, ...] = (
    TlsVersion.TLS1_2,
    TlsVersion.TLS1_3,
    TlsVersion.TLS1_0,
    TlsVersion.TLS1_1,
    TlsVersion.SSL3,
    TlsVersion.SSL2,
)
"""The likeliest first: its answer serves as the first control."""

WALK_DOWN: tuple[TlsVersion, ...] = (
    TlsVersion.TLS1_3,
    TlsVersion.SSL3,
    TlsVersion.TLS1_2,
    TlsVersion.TLS1_1,
    TlsVersion.TLS1_0,
    TlsVersion.SSL2,
)
"""The polite order. SSL 3.0, which every OpenSSL without it refuses ambiguously (40), comes before a version that is
likely there: that one's answer is the control which the refusals need, and none need be asked for. No version is left
out for what another one was answered (docs/method.md): GnuTLS and Botan refuse TLS 1.1 by 70 above an enabled 1.0."""

MOST_QUESTIONS = 60
"""Questions to one endpoint at the very most."""

_PACE_WHEN_NOISY_S = 0.75
"""Pause between questions once trouble was seen: stays under limits such as 10 connections in 5 seconds."""
_PAUSE_AFTER_FAILURES_S = 5.5
"""Pause once two questions in a row failed that had been answered before."""
_MOST_CONTROL_FAILURES = 4


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask of one endpoint."""

    version: TlsVersion
    """The version to ask for."""
    variant: HelloVariant | None
    """The form of hello; None for a handshake by sslyze's engine."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What to ask next."""

    questions: tuple[Question, ...]
    """One question, or several to be asked at the same time."""
    pause_s: float = 0.0
    """Seconds to wait first."""


def hello_conversation(hello: bytes, *, does_retry: bool = False) -> Generator[bytes, bytes, None]:
    """Send one hello and read until the reply is decided.

    does_retry: whether a HelloRetryRequest is answered by a second hello, to get to the ServerHello.
    """
    reply = yield from _ask_once(hello, sent=hello)
    if does_retry and isinstance(reply, ServerHello) and reply.is_retry_request:
        second = maybe_second_hello(hello, reply)
        if second is not None:
            yield from _ask_once(second, sent=b"")


def _ask_once(hello: bytes, *, sent: bytes) -> Generator[bytes, bytes, Reply]:
    reader = read_reply(sent=sent)
    next(reader)
    data = yield hello
    try:
        while True:
            reader.send(data)
            data = yield b""
    except StopIteration as stop:
        return cast("Reply", stop.value)


def plan_next(answers: Sequence[Answer], *, confirm: Collection[TlsVersion], walks_down: bool = False) -> Batch | None:
    """Return what to ask next, or None where no further question would help.

    answers: every answer so far, in the order asked. confirm: the versions that are to be confirmed by a handshake of
    sslyze's engine where they are found enabled. walks_down: whether to ask in the order that needs the fewest
    questions, WALK_DOWN.
    """
    count = len(answers)
    if not answers:
        return Batch((Question((WALK_DOWN if walks_down else FIRST_ROUND)[0], HelloVariant.BROAD),))
    if count >= MOST_QUESTIONS:
        return None
    if count < len(FIRST_ROUND):
        return _plan_first_round(answers, walks_down=walks_down)
    return _plan_rest(answers, confirm=confirm)


def _plan_first_round(answers: Sequence[Answer], *, walks_down: bool) -> Batch | None:
    last = answers[-1]
    if _is_dead(answers):
        return None
    if last.kind is AnswerKind.NOT_ASKED:
        return _plan_rest(answers, confirm=())
    if last.kind is AnswerKind.NO_CONNECTION and len(answers) == 1:
        return Batch((Question(last.version, HelloVariant.COMPACT),), pause_s=0.2)
    if all(answer.kind is AnswerKind.NOT_TLS for answer in answers):
        # Two hellos of different make, both answered by something else: enough.
        return Batch((Question(TlsVersion.TLS1_0, HelloVariant.COMPACT),)) if len(answers) == 1 else None
    order = WALK_DOWN if walks_down else FIRST_ROUND
    missing = [version for version in order if all(answer.version is not version for answer in answers)]
    if walks_down and last.kind is AnswerKind.ALERT:
        doubtful = _maybe_second_form(answers)
        if doubtful is not None:
            return Batch((doubtful,))
    questions = tuple(Question(version, HelloVariant.BROAD) for version in missing)
    if not questions:
        return _plan_rest(answers, confirm=())
    # Where one hello met silence, waiting for each of the others in turn would take too long.
    is_silent = last.kind is AnswerKind.SILENT
    return Batch(questions if is_silent else questions[:1])


def _maybe_second_form(answers: Sequence[Answer]) -> Question | None:
    """Return the other form of a question that was just refused ambiguously: one control then serves for both."""
    survey = Survey(answers)
    version = answers[-1].version
    standing = survey.standing(version)
    if not survey.enabled or isinstance(standing, Settled) or standing.wanted is None:
        return None
    return Question(version, standing.wanted)


def _is_dead(answers: Sequence[Answer]) -> bool:
    """Whether there is nobody to ask: refused once, or no answer to connecting twice."""
    first = answers[0]
    if first.kind is not AnswerKind.NO_CONNECTION:
        return False
    if first.ending in {Ending.REFUSED, Ending.UNREACHABLE}:
        return True
    return len(answers) > 1 and all(answer.kind is AnswerKind.NO_CONNECTION for answer in answers)


def _plan_rest(answers: Sequence[Answer], *, confirm: Collection[TlsVersion]) -> Batch | None:
    if _is_dead(answers) or sum(1 for answer in answers if answer.kind is AnswerKind.NOT_ASKED) > 2:
        return None
    survey = Survey(answers)
    standings = {version: survey.standing(version) for version in FIRST_ROUND}
    failures = _failures_in_a_row(survey)
    streak = _wordless_streak(survey)
    if streak >= _MOST_CONTROL_FAILURES and all(
        answer.kind is AnswerKind.NO_CONNECTION for answer in survey.answers[-_MOST_CONTROL_FAILURES:]
    ):
        return None  # nobody is there any more
    pause_s = _pause_s(survey, max(failures, streak - 1))
    wanted = [
        Question(version, standing.wanted)
        for version, standing in standings.items()
        if isinstance(standing, Open) and standing.wanted is not None
    ]
    if survey.controls and (failures >= 1 or (survey.is_noisy and streak > 1)):
        # Before anything else counts again, the peer must be seen to be well.
        control = _control(survey, confirm=())
        return None if control is None or failures >= _MOST_CONTROL_FAILURES else Batch((control,), pause_s)
    if wanted:
        silent = [question for question in wanted if _was_only_silent(survey, question.version)]
        may_ask_together = len(silent) > 1 and all(_asks(survey, q.version) < 2 for q in silent)
        return Batch(tuple(silent) if may_ask_together else (wanted[0],), pause_s)
    if any(isinstance(standing, Open) and standing.wants_control for standing in standings.values()):
        control = _control(survey, confirm=confirm)
        if control is not None:
            return Batch((control,), pause_s)
    if confirm:
        handshake = _next_handshake(survey, standings, confirm)
        if handshake is not None:
            return Batch((handshake,), pause_s)
    return None


def _failures_in_a_row(survey: Survey) -> int:
    """Return how many controls have failed since the last answer that shows the peer to be well."""
    good = {
        (answer.version, answer.variant)
        for at, answer in enumerate(survey.answers)
        if at in survey.controls and answer.variant is not None
    }
    count = 0
    for answer in reversed(survey.answers):
        if answer.accepted is not None:
            break
        count += (answer.version, answer.variant) in good
    return count


def _wordless_streak(survey: Survey) -> int:
    """Return how many answers in a row, up to the last, were failures that trouble on the way can forge."""
    streak = takewhile(lambda answer: answer.kind in NOISE_KINDS, reversed(survey.answers))
    return sum(1 for _ in streak)


def _pause_s(survey: Survey, failures: int) -> float:
    if not survey.is_noisy:
        return 0.0
    last_two = survey.answers[-2:]
    return _PAUSE_AFTER_FAILURES_S if failures and not any(a.accepted for a in last_two) else _PACE_WHEN_NOISY_S


def _control(survey: Survey, *, confirm: Collection[TlsVersion]) -> Question | None:
    """Return a question that is known to be answered well, or one that may show it, or None."""
    for at in survey.controls:
        answer = survey.answers[at]
        if answer.accepted is not None and answer.accepted in confirm and not _has_handshake(survey, answer.accepted):
            return Question(answer.accepted, None)
        if answer.variant is not None:
            return Question(answer.version, answer.variant)
    if survey.controls:  # none by a hello: a group that only sslyze's engine can do
        return Question(survey.answers[survey.controls[0]].version, None)
    if TlsVersion.TLS1_3 in survey.enabled:
        # Only HelloRetryRequests so far: with real key shares the server has to look at name and certificate.
        if TlsVersion.TLS1_3 in confirm and not _has_handshake(survey, TlsVersion.TLS1_3):
            return Question(TlsVersion.TLS1_3, None)
        for variant in (HelloVariant.RARE, HelloVariant.COMPACT):
            if _asks(survey, TlsVersion.TLS1_3, variant) == 0:
                return Question(TlsVersion.TLS1_3, variant)
    return None


def _next_handshake(
    survey: Survey, standings: dict[TlsVersion, Settled | Open], confirm: Collection[TlsVersion]
) -> Question | None:
    for version in reversed(ALL_VERSIONS):
        standing = standings[version]
        is_enabled = isinstance(standing, Settled) and standing.state is State.ENABLED
        if is_enabled and version in confirm and not _has_handshake(survey, version):
            return Question(version, None)
    return None


def _has_handshake(survey: Survey, version: TlsVersion) -> bool:
    """Whether a handshake was tried often enough.

    Once more is allowed where trouble on the way spoiled the first, and up to TLS 1.1, where the first prefers static
    RSA (scanner.probes.handshake): not every server that accepts such a suite can go through with it.
    """
    tried = [answer for answer in survey.answers if answer.version is version and answer.variant is None]
    spoiled = [answer for answer in tried if answer.kind in {AnswerKind.RESET, AnswerKind.SILENT, AnswerKind.CLOSED}]
    may_be_spoiled = survey.is_noisy and len(spoiled) == 1
    has_begun = any(answer.accepted is not None and not answer.is_completed for answer in tried)
    may_be_rsa = has_begun and TlsVersion.SSL3 <= version <= TlsVersion.TLS1_1
    return len(tried) > (1 if may_be_spoiled or may_be_rsa else 0)


def _was_only_silent(survey: Survey, version: TlsVersion) -> bool:
    return all(answer.kind is AnswerKind.SILENT for answer in survey.answers if answer.version is version)


def _asks(survey: Survey, version: TlsVersion, variant: HelloVariant | None = None) -> int:
    return sum(
        1
        for answer in survey.answers
        if answer.version is version and answer.variant is not None and variant in {None, answer.variant}
    )
