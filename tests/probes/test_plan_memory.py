"""A remembered plan is the plan: whatever hosts answer, and in whatever order hosts come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.answers import Answer, AnswerKind
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.probes import plan_memory
from scanner.probes.hello_ladder import Question, plan_next
from scanner.probes.plan_memory import PlanMemory

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ENDINGS = {
    AnswerKind.CLOSED: Ending.PEER_CLOSED,
    AnswerKind.RESET: Ending.PEER_RESET,
    AnswerKind.SILENT: Ending.TIMED_OUT_READ,
    AnswerKind.NO_CONNECTION: Ending.REFUSED,
    AnswerKind.NOT_ASKED: Ending.CANCELLED,
}
# What a host may do with one question, by the version and form asked: (kind, alert, how far below the version asked).
REACTIONS = st.tuples(
    st.sampled_from(AnswerKind), st.sampled_from([40, 71, 80, 112]), st.sampled_from([0, 1]), st.text(max_size=3)
)
HOSTS = st.dictionaries(st.tuples(st.sampled_from(TlsVersion), st.sampled_from([*HelloVariant, None])), REACTIONS)
CLOSED = (AnswerKind.CLOSED, 0, 0, "")


def answer_of(host: dict, question: Question, at_s: int) -> Answer:
    kind, alert, below, text = host.get((question.version, question.variant), CLOSED)
    versions = list(TlsVersion)
    accepted = versions[max(0, versions.index(question.version) - below)] if kind is AnswerKind.ACCEPTED else None
    return Answer(
        version=question.version,
        variant=question.variant,
        kind=kind,
        text=text,
        at=T0.replace(second=at_s % 60),
        ending=ENDINGS.get(kind, Ending.COMPLETE),
        accepted=accepted,
        is_completed=question.variant is None and accepted is not None,
        alert=alert if kind is AnswerKind.ALERT else None,
    )


def climb(host: dict, memory: PlanMemory, *, confirm: Collection[TlsVersion]) -> list[Answer]:
    way = memory.climb()
    while True:
        assert way.batch == plan_next(way.answers, confirm=confirm)
        if way.batch is None:
            return way.answers
        way.add([answer_of(host, question, len(way.answers)) for question in way.batch.questions])


@given(hosts=st.lists(HOSTS, min_size=1, max_size=4), confirm=st.sampled_from([(), ALL_VERSIONS]))
def test_each_host_is_asked_what_the_ladder_plans_for_it_alone(hosts, confirm):
    memory = PlanMemory(confirm=confirm)
    # Twice each: first worked out, then remembered.
    for host in [*hosts, *hosts]:
        climb(host, memory, confirm=confirm)


@given(host=HOSTS, confirm=st.sampled_from([(), ALL_VERSIONS]))
def test_no_plan_depends_on_time_or_words(host, confirm):
    answers = climb(host, PlanMemory(confirm=confirm), confirm=confirm)
    for count in range(len(answers) + 1):
        bare = [replace(answer, at=T0.replace(year=1999), text="") for answer in answers[:count]]
        assert plan_next(bare, confirm=confirm) == plan_next(answers[:count], confirm=confirm)


def count_plans(monkeypatch):
    asked = []

    def counting(answers, **settings):
        asked.append(len(answers))
        return plan_next(answers, **settings)

    monkeypatch.setattr(plan_memory, "plan_next", counting)
    return asked


def test_a_second_host_of_the_same_make_needs_no_planning(monkeypatch):
    asked = count_plans(monkeypatch)
    memory = PlanMemory(confirm=ALL_VERSIONS)
    first = climb({}, memory, confirm=ALL_VERSIONS)
    once = len(asked)
    assert climb({}, memory, confirm=ALL_VERSIONS) == first
    assert len(asked) == once


@pytest.mark.parametrize("most", [1, 3])
def test_a_full_memory_plans_on_without_remembering(monkeypatch, most):
    monkeypatch.setattr(plan_memory, "_MOST_REMEMBERED", most)
    asked = count_plans(monkeypatch)
    memory = PlanMemory(confirm=())
    first = climb({}, memory, confirm=())
    once = len(asked)
    assert climb({}, memory, confirm=()) == first
    # The begin is remembered, and most - 1 steps after it; every other step is planned again.
    assert len(asked) - once == once - most
