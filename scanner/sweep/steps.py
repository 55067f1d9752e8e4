"""The hello ladder's plan for the lane of a sweep, remembered by the bytes that came: no decoding for what is known.

``reply_key`` leaves out of a reply what no judgement reads (random, session id, certificates). Equal keys after equal
questions mean equal answers, so both the next question and, at the end, the judgement are looked up. What has no key is
decoded and planned anew each time. tests/sweep/test_steps.py holds keys to scanner.answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scanner.answers import Answer, AnswerKind
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import TlsVersion
from scanner.probes.hello_ladder import Batch, Question
from scanner.probes.plan_memory import PlanMemory
from scanner.survey import NOISE_KINDS
from scanner.tls.reply import HELLO_RETRY_REQUEST_RANDOM, MAX_RECORD_BYTES

_MOST_STEPS = 20_000
"""Steps remembered; after that, hosts that answer in new ways are planned for one by one."""

_ALERT = 0x15
_HANDSHAKE = 0x16
_SERVER_HELLO = 2
_RANDOM = slice(11, 43)
"""After record header 5, handshake header 4, version 2; the session id follows (RFC 8446 section 4.1.3)."""
_SESSION_ID_LENGTH = 43
_DOWNGRADES = frozenset({b"DOWNGRD\x00", b"DOWNGRD\x01"})
_WARNING = 1


@dataclass(eq=False, slots=True)
class Step:
    """What was answered so far at an endpoint, by way of the steps before, and what comes next."""

    question: Question | None
    """What to ask next; None where the lane has no more to ask."""
    is_for_engine: bool
    """Whether the engine must go on from here: several questions at once, a pause, a retry."""
    enabled: frozenset[TlsVersion]
    """Versions accepted so far."""
    is_trouble: bool
    """Whether the last answer was a failure on a question that had been answered well before."""
    is_remembered: bool
    """Whether other hosts may come this way: False where the last reply has no key."""
    after: dict[object, Step] = field(default_factory=dict)
    """Next steps by reply_key."""


class Steps:
    """The steps of one run. plans: of a ladder without handshakes."""

    def __init__(self, plans: PlanMemory) -> None:
        self._plans = plans
        self._count = 1
        self.begin = self._make((), is_remembered=True)
        """Before the first question."""

    def add(self, step: Step, key: object | None, answers: Sequence[Answer]) -> Step:
        """Return the step after the newest of the answers; key: its reply_key, remembered where there is one."""
        is_remembered = key is not None and step.is_remembered and self._count < _MOST_STEPS
        made = self._make(answers, is_remembered=is_remembered)
        if is_remembered:
            step.after[key] = made
            self._count += 1
        return made

    def _make(self, answers: Sequence[Answer], *, is_remembered: bool) -> Step:
        batch = self._plans.plan(list(answers))
        question = batch.questions[0] if batch is not None else None
        return Step(
            question=question,
            is_for_engine=batch is not None and _is_for_engine(batch),
            enabled=frozenset(answer.accepted for answer in answers if answer.accepted is not None),
            is_trouble=bool(answers) and is_trouble(answers),
            is_remembered=is_remembered,
        )


def is_trouble(answers: Sequence[Answer]) -> bool:
    """Whether the newest answer is a failure where the very same question had been answered well before."""
    last = answers[-1]
    return last.kind in NOISE_KINDS and any(
        answer.kind is AnswerKind.ACCEPTED and answer.version is last.version and answer.variant is last.variant
        for answer in answers[:-1]
    )


def reply_key(received: bytes, ending: Ending, os_error: str | None, *, was_sent: bool = True) -> object | None:
    """Return what judgement depends on in a reply, as something to look up; None where only decoding tells.

    received: all bytes that came; ending and os_error: as in Exchange; was_sent: whether the hello was on its way. A
    reset before that says nothing of what boxes on the way do with a long hello.
    """
    if not received:
        return ending, os_error, was_sent
    if ending is not Ending.COMPLETE:
        return None
    return _plain_key(received)


def _plain_key(received: bytes) -> bytes | None:
    """Return the key of a reply that one record holds whole: an alert, a ServerHello or a HelloRetryRequest."""
    if len(received) < 7 or received[1] != 3:
        return None
    record_bytes = received[3] << 8 | received[4]
    if received[0] == _ALERT:
        # A warning may be followed by what counts.
        return received if len(received) == 7 and record_bytes == 2 and received[5] != _WARNING else None
    if received[0] != _HANDSHAKE or received[5] != _SERVER_HELLO or len(received) <= _SESSION_ID_LENGTH:
        return None
    end = 9 + (received[6] << 16 | received[7] << 8 | received[8])
    session_id_bytes = received[_SESSION_ID_LENGTH]
    if end > len(received) or end > 5 + record_bytes or record_bytes > MAX_RECORD_BYTES or session_id_bytes > 32:
        return None
    random = received[_RANDOM]
    if random == HELLO_RETRY_REQUEST_RANDOM:
        # What follows a HelloRetryRequest may be a ServerHello all the same, if it is in a record of its own.
        mark, end = b"R" + received[3:5], len(received)
    elif random[-8:] in _DOWNGRADES:
        mark = random[-8:]
    else:
        mark = b"-"
    rest = received[_SESSION_ID_LENGTH + 1 + session_id_bytes : end]
    # The lengths in the record header are left out: how much else the record holds says nothing.
    return b"".join((mark, received[:3], received[5:11], received[43:44], rest))


def may_be_decided(received: bytes) -> object | None:
    """Return the reply_key of bytes that hold a plain reply whole, so that no more need be waited for; else None."""
    return _plain_key(received)


def _is_for_engine(batch: Batch) -> bool:
    question = batch.questions[0]
    if len(batch.questions) > 1 or batch.pause_s or question.variant is None:
        return True
    # Where a HelloRetryRequest is answered by a second hello.
    return question.variant is HelloVariant.RARE and question.version is TlsVersion.TLS1_3
