"""The hello ladder's plan, remembered: most hosts of a fleet give the same answers in the same order.

Planning asks for the standing of every version after every answer, a third of the time a host takes; with 500 hosts of
one make it is worked out once. Only time and text of an answer differ from host to host, and no plan depends on them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from operator import attrgetter

from scanner.answers import Answer
from scanner.model.versions import TlsVersion
from scanner.probes.hello_ladder import Batch, plan_next

_IRRELEVANT = frozenset({"at", "text"})
"""When an answer came and its words for people: what to ask next never depends on them. A test holds plans to that."""

_signature = attrgetter(*(field.name for field in fields(Answer) if field.name not in _IRRELEVANT))

_MOST_REMEMBERED = 20_000
"""Plans kept, some hundred bytes each; hosts that answer in ever new ways are planned for one by one after that."""


class _Step:
    """One sequence of answers, what to ask next, and what followed."""

    __slots__ = ("after", "batch")

    def __init__(self, batch: Batch | None) -> None:
        self.batch = batch
        self.after: dict[object, _Step] = {}


class PlanMemory:
    """Plans for one run. confirm, walks_down: as in plan_next."""

    def __init__(self, *, confirm: Collection[TlsVersion], walks_down: bool = False) -> None:
        self._confirm = confirm
        self._walks_down = walks_down
        self._begin = _Step(self.plan([]))
        self._count = 1

    def climb(self) -> Climb:
        """Begin with an endpoint."""
        return Climb(self, self._begin)

    def next_step(self, step: _Step, answers: list[Answer], new: list[Answer]) -> _Step | None:
        """Return what follows a step, working it out where it is new; None where no more is remembered."""
        key = tuple(map(_signature, new))
        known = step.after.get(key)
        if known is None and self._count < _MOST_REMEMBERED:
            known = step.after[key] = _Step(self.plan(answers))
            self._count += 1
        return known

    def plan(self, answers: list[Answer]) -> Batch | None:
        """Plan without remembering."""
        return plan_next(answers, confirm=self._confirm, walks_down=self._walks_down)


class Climb:
    """One endpoint's way up the ladder."""

    def __init__(self, memory: PlanMemory, begin: _Step) -> None:
        self.answers: list[Answer] = []
        """All answers so far, in the order asked."""
        self.batch: Batch | None = begin.batch
        """What to ask next; None: no more."""
        self._memory = memory
        self._step: _Step | None = begin

    def add(self, new: list[Answer]) -> None:
        """Take the answers to a batch, in the order of its questions."""
        self.answers += new
        if self._step is not None:
            self._step = self._memory.next_step(self._step, self.answers, new)
        self.batch = self._step.batch if self._step is not None else self._memory.plan(self.answers)
