"""The lane: sweeps addresses and puts the everyday questions to those that answer, without a task for any of them.

The connection that finds a listener carries the ladder's first hello. A host whose answers are everyday ones is
finished here; any other is handed to the engine with what was learned so far. Which is which says scanner.sweep.steps.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from scanner.answers import Answer, read_answer
from scanner.model.evidence import GapReason
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.rows import HelloRow
from scanner.net.budgets import Backoff, Budgets
from scanner.net.reactor import Call, Reactor
from scanner.probes.hello_ladder import Question
from scanner.probes.plan_memory import PlanMemory
from scanner.sweep.host import LaneHost, Swept
from scanner.sweep.rows import MAX_HELLO_BYTES, exchange_of_row, plan_endpoint
from scanner.sweep.space import Place
from scanner.sweep.steps import Step, Steps, may_be_decided, reply_key
from scanner.sweep.waiting import Waiting
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from scanner.tls.reply import read_reply

if TYPE_CHECKING:
    from scanner.counters import Counters
    from scanner.net.limits import Dispatcher
    from scanner.sweep.finder import SynFinder

_RANDOMS_AT_ONCE = 256
_AGAIN_AFTER_S = 1.0
"""Seconds until a silent address is tried again."""
_LEAST_PAUSE_S = 0.005
_LOCAL_PAUSE_S = 0.25
_LEAST_IN_FLIGHT = 16
_SCARCITIES = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSPC", "EADDRNOTAVAIL", "EAGAIN"})
"""Errors that fewer connections at a time may spare us; the others are about one address."""
_MOST_LOCAL_FAILURES = 20
"""Times that this machine may fail to open one connection before the address is left to a resumed run."""
_MOST_WAITING = 16_384
"""Addresses that may wait for their network's budget: then no further are begun."""
_STARTS_A_ROUND = 256
"""Connections begun before answers are looked at again."""
_NOBODY = {
    Ending.REFUSED: GapReason.REFUSED,
    Ending.TIMED_OUT_CONNECT: GapReason.NO_ANSWER,
    Ending.UNREACHABLE: GapReason.UNREACHABLE,
}
_REASON_ORDER = (GapReason.REFUSED, GapReason.NO_ANSWER, GapReason.UNREACHABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """The bounds of a sweep."""

    connect_s: float
    """Seconds for the connection that looks for a listener."""
    timeout_s: float
    """Seconds for one connection, connect included."""
    passes: int
    """How often a silent address is tried."""
    in_flight: int
    """Connections at a time."""
    most_talking: int
    """Hosts with a listener that may be under way, here and at the engine, when a further address is begun."""


class LaneClient(Protocol):
    """Is told what the lane finds. Called in the event loop, so it must be quick."""

    def on_absent(self, order_at: int, reason: GapReason) -> None:
        """Take note of an address where nothing listens."""

    def on_swept(self, swept: Swept) -> None:
        """Take a host that needs no further question."""

    def on_handed_over(self, swept: Swept) -> None:
        """Take a host that the engine has to go on with; call ``Lane.release`` once that is done."""

    def on_cut(self, swept: Swept) -> None:
        """Take a host that was cut off by an interruption with some answers given."""

    def on_failed(self, order_at: int, os_error: str) -> None:
        """Take note that this machine could not open a connection, time and again: the address stays undone."""


class Lane:
    """Sweeps. Make it inside the running event loop; ``run`` returns once every address is told to the client."""

    def __init__(
        self,
        *,
        source: Iterator[tuple[int, int, Place]],
        plans: PlanMemory,
        needs_engine: Callable[[int, Step], bool],
        settings: LaneSettings,
        client: LaneClient,
        counters: Counters,
        dispatcher: Dispatcher,
        budgets: Budgets,
        backoff: Backoff,
        next_id: Callable[[], int],
        open_finder: Callable[[Callable[[LaneHost, bool | None], None]], SynFinder] | None = None,
    ) -> None:
        """source: (place in the order, position in the run, address), in the order to be asked.

        plans: of a ladder without handshakes. needs_engine: whether a host whose ladder ended at a step is to be
        confirmed by handshakes. next_id: gives each question its number. open_finder: opens what finds listeners by raw
        SYNs and tells of each; None: they are found by connecting.
        """
        self._source = source
        self._plans = plans
        self._needs_engine = needs_engine
        self._settings = settings
        self._client = client
        self._counters = counters
        self._dispatcher = dispatcher
        self._backoff = backoff
        self._next_id = next_id
        self._steps: dict[str | None, Steps] = {}
        self._ready: deque[LaneHost] = deque()
        """Hosts with a question to put, once there is a permit."""
        self._waiting = Waiting(budgets)
        self._talking = 0
        self._handed_over = 0
        self._is_exhausted = False
        self._is_stopping = False
        self._is_woken = False
        self._is_held = False
        self._most_in_flight = settings.in_flight
        self._randoms = b""
        self._random_at = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._reactor = Reactor(
            hello_of=self._hello_of,
            is_decided=may_be_decided,
            reader_of=self._reader_of,
            on_end=self._on_end,
            on_idle=self._fill,
            max_bytes=MAX_HELLO_BYTES,
        )
        self._finder = None if open_finder is None else open_finder(self._on_found)
        dispatcher.attach(self._pull)

    async def run(self) -> None:
        """Sweep until all is told, or until interrupted."""
        self.wake()
        try:
            await self._done
        finally:
            self._is_stopping = True
            self._reactor.close()
            if self._finder is not None:
                self._counters.lost_answers += self._finder.lost_count
                self._finder.close()
            if self._timer is not None:
                self._timer.cancel()

    def release(self) -> None:
        """Take note that the engine is done with a host that was handed over."""
        self._handed_over -= 1
        self.wake()

    def hold(self, is_held: bool) -> None:  # noqa: FBT001  # a switch
        """Begin no further addresses for the time being, or go on."""
        if self._is_held and not is_held:
            self.wake()
        self._is_held = is_held

    def interrupt(self) -> None:
        """Stop: what is under way is cut, and what was learned of it told."""
        if self._is_stopping:
            return
        self._is_stopping = True
        under_way = [cast("LaneHost", call) for call in self._reactor.cut()]
        if self._finder is not None:
            under_way += self._finder.cut()
        for host in (*under_way, *self._ready, *self._waiting):
            if host.rows:
                self._client.on_cut(host.sweep_up(key=None))
        self._ready.clear()
        self._waiting.clear()
        if not self._done.done():
            self._done.set_result(None)

    # What is begun, and when

    def _fill(self) -> None:
        """Begin what may begin now."""
        self._is_woken = False
        if self._is_stopping:
            return
        if self._dispatcher.rate > 0:
            if self._has_work():
                self._dispatcher.wake()
        else:
            for _ in range(_STARTS_A_ROUND):
                if not self._pull():
                    break
                self._dispatcher.try_take()
            else:
                self.wake()
        self._set_timer()
        self._check_done()

    def wake(self) -> None:
        """Look again at what may begin: a permit, a place or time may have come that nothing else tells of."""
        if not self._is_stopping and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._fill)

    def _has_work(self) -> bool:
        if self._ready or self._may_begin_fresh():
            return True
        next_at = self._waiting.next_at
        return next_at is not None and self._has_room and next_at <= time.monotonic()

    def _may_begin_fresh(self) -> bool:
        return (
            not self._is_exhausted
            and not self._is_held
            and self._has_room
            and len(self._waiting) < _MOST_WAITING
            and self._talking + self._handed_over < self._settings.most_talking
        )

    def _pull(self) -> bool:
        """Begin one connection; return whether there was one to begin."""
        try:
            return self._begin_next()
        except Exception as error:  # noqa: BLE001  # the dispatcher could not go on: run() has to raise it
            self._fail(error)
            return False

    def _begin_next(self) -> bool:
        """Do that; hosts under way come before new addresses."""
        now = time.monotonic()
        while not self._is_stopping:
            if self._ready:
                host = self._ready.popleft()
            elif not self._has_room:
                break
            else:
                waited = self._waiting.maybe_next(now)
                if waited is not None:
                    self._begin(waited)
                    return True
                fresh = self._next_fresh() if self._may_begin_fresh() else None
                if fresh is None:
                    break
                host = fresh
            if self._waiting.may_go(host, now):
                self._begin(host)
                return True
        self._set_timer()
        return False

    def _next_fresh(self) -> LaneHost | None:
        found = next(self._source, None)
        if found is None:
            self._is_exhausted = True
            self.wake()  # nothing may be under way that would end and tell that all is done
            return None
        order_at, position, place = found
        # A hello's length depends on the name, and what a refusal proves on the length.
        server_name = place.template.server_name
        steps = self._steps.get(server_name)
        if steps is None:
            steps = self._steps[server_name] = Steps(self._plans)
        return LaneHost(order_at, position, place, steps)

    def _set_timer(self) -> None:
        next_at = self._waiting.next_at
        if next_at is None or self._is_stopping or not self._has_room:  # what is under way will end, and come by here
            return
        at = max(time.monotonic() + _LEAST_PAUSE_S, next_at)  # the loop's clock is the same
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._fill()
        self._set_timer()

    def _begin(self, host: LaneHost) -> None:
        self._counters.connections += 1
        settings = self._settings
        is_looking = host.step is host.steps.begin and not host.is_found
        if is_looking and self._finder is not None:
            self._finder.look(host, settings.connect_s)
            return
        self._reactor.begin(host, settings.connect_s if is_looking else settings.timeout_s, settings.timeout_s)

    def _check_done(self) -> None:
        if (
            self._is_exhausted
            and not self._ready
            and not self._waiting
            and not self._in_flight
            and not self._done.done()
        ):
            self._done.set_result(None)

    @property
    def _has_room(self) -> bool:
        """Whether a host that has no connection under way, nor had one just now, may begin one."""
        return self._in_flight < self._most_in_flight

    @property
    def _in_flight(self) -> int:
        return self._reactor.in_flight + (0 if self._finder is None else self._finder.in_flight)

    # What is sent and what comes

    def _hello_of(self, call: Call) -> bytes:
        host = cast("LaneHost", call)
        if not host.is_talking:
            host.is_talking = True
            self._talking += 1
        question = host.step.question
        assert question is not None  # noqa: S101  # for the type checker: a host without one is not begun
        assert question.variant is not None  # noqa: S101  # the same: handshakes are the engine's
        if self._random_at >= len(self._randoms):
            self._randoms = os.urandom(_RANDOMS_AT_ONCE * RANDOM_BYTES)
            self._random_at = 0
        at = self._random_at
        self._random_at = at + RANDOM_BYTES
        host.random = random = self._randoms[at : at + RANDOM_BYTES]
        return encode_hello(
            version=question.version,
            variant=question.variant,
            server_name=host.place.template.server_name,
            random=random,
        )

    def _reader_of(self, call: Call) -> Generator[None, bytes, object]:
        host = cast("LaneHost", call)
        question = host.step.question
        assert question is not None  # noqa: S101  # for the type checker
        assert question.variant is not None  # noqa: S101  # the same
        name = host.place.template.server_name
        return read_reply(
            sent=encode_hello(version=question.version, variant=question.variant, server_name=name, random=host.random)
        )

    def _on_end(self, call: Call) -> None:
        if self._is_stopping:  # only after a failure: an interruption has cut all calls
            return
        try:
            self._take(cast("LaneHost", call))
        except Exception as error:  # noqa: BLE001  # the event loop would only log it: run() has to raise it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._is_stopping = True
        if not self._done.done():
            self._done.set_exception(error)

    def _take(self, host: LaneHost) -> None:
        """Take in how a connection ended."""
        ending = host.ending
        endings = self._counters.endings
        endings[ending] = endings.get(ending, 0) + 1
        if ending is Ending.LOCAL_FAILURE:
            self._on_local_failure(host)
            return
        if self._most_in_flight < self._settings.in_flight:
            self._most_in_flight += 1  # after scarcity, by and by
        step = host.step
        question = step.question
        assert question is not None  # noqa: S101  # for the type checker
        if ending in _NOBODY and step is host.steps.begin:
            self._on_nobody(host, ending)
            return
        row = self._row(host, question)
        host.rows += (row,)
        if step is host.steps.begin:
            self._counters.listeners += 1
        key = host.key or reply_key(host.received, ending, host.os_error, was_sent=host.was_sent)
        known = step.after.get(key) if key is not None else None
        if known is None:
            known = host.steps.add(step, key, self._answers(host))
        host.step = known
        if known.is_trouble:
            self._backoff.note(host.network, host.place.number, time.monotonic(), is_trouble=True)
        if known.is_for_engine:
            self._hand_over(host)
        elif known.question is not None:
            self._ready.append(host)
        else:
            host.walked += ((host.port_at, host.tried, known),)
            self._next_port(host)

    def _row(self, host: LaneHost, question: Question) -> HelloRow:
        return HelloRow(
            host.port_at,
            self._next_id(),
            question.version,
            cast("HelloVariant", question.variant),
            host.started_us,
            int((time.monotonic() - host.started) * 1_000_000),
            host.ending,
            host.os_error,
            host.random if host.was_sent else b"",
            host.received,
        )

    def _on_found(self, host: LaneHost, is_open: bool | None) -> None:  # noqa: FBT001  # three answers
        """Go on with a port of which a SYN told: True it is open, False it is closed, None there was no answer."""
        if is_open:
            host.is_found = True
            self._ready.append(host)
            self.wake()
            return
        host.ending = Ending.TIMED_OUT_CONNECT if is_open is None else Ending.REFUSED
        host.os_error = None if is_open is None else "ECONNREFUSED"
        self._counters.endings[host.ending] = self._counters.endings.get(host.ending, 0) + 1
        host.is_connected, host.was_sent, host.received = False, False, b""
        self._on_nobody(host, host.ending)
        self.wake()

    def _answers(self, host: LaneHost) -> list[Answer]:
        """Return what the port under way has answered so far."""
        template = host.place.template
        endpoint = plan_endpoint(template, host.address, host.port)
        return [
            read_answer(exchange_of_row(row, endpoint, timeout_s=self._settings.timeout_s))
            for row in host.rows
            if row.endpoint == host.port_at
        ]

    # Where a host goes

    def _on_nobody(self, host: LaneHost, ending: Ending) -> None:
        """Take note of a port where nothing listens, or nothing answered in this pass."""
        if ending is not Ending.REFUSED and host.tried < self._settings.passes:
            host.again += (host.port_at,)
        elif len(host.ports) == 1:  # nearly always, and then nobody will want to see the row
            self._tell_absent(host, {_NOBODY[ending]})
            return
        else:
            question = host.steps.begin.question
            assert question is not None  # noqa: S101  # for the type checker: a ladder begins with one
            host.dead += (self._row(host, question),)
        self._next_port(host)

    def _next_port(self, host: LaneHost) -> None:
        if not host.todo and host.again:
            host.todo, host.again = deque(host.again), ()
            host.tried += 1
            host.turn_to(host.todo.popleft())
            self._waiting.add(host, time.monotonic() + _AGAIN_AFTER_S)
        elif host.todo:
            host.turn_to(host.todo.popleft())
            self._ready.append(host)
        else:
            self._finish(host)

    def _finish(self, host: LaneHost) -> None:
        if not host.rows:
            self._tell_absent(host, {_NOBODY[row.ending] for row in host.dead})
            return
        if any(self._needs_engine(host.order_at, step) for _, _, step in host.walked):
            self._hand_over(host)
            return
        self._stop_talking(host)
        counters = self._counters
        counters.addresses_done += 1
        for _, _, step in host.walked:
            if step.enabled:
                counters.endpoints_answering += 1
                counters.versions.update(step.enabled)
        self._backoff.note(host.network, host.place.number, time.monotonic(), is_trouble=False)
        self._client.on_swept(host.sweep_up(key=host.maybe_key()))

    def _tell_absent(self, host: LaneHost, reasons: Collection[GapReason]) -> None:
        self._stop_talking(host)
        self._counters.addresses_done += 1
        self._client.on_absent(host.order_at, next(reason for reason in _REASON_ORDER if reason in reasons))

    def _stop_talking(self, host: LaneHost) -> None:
        if host.is_talking:
            host.is_talking = False
            self._talking -= 1

    def _hand_over(self, host: LaneHost) -> None:
        self._stop_talking(host)
        self._handed_over += 1
        self._client.on_handed_over(host.sweep_up(key=None))

    def _on_local_failure(self, host: LaneHost) -> None:
        """Go on where this machine could not connect (no descriptor, no port): fewer at a time, after a pause."""
        host.local_failures += 1
        self._counters.local_error = host.os_error
        if host.os_error in _SCARCITIES:
            self._most_in_flight = max(_LEAST_IN_FLIGHT, min(self._most_in_flight, self._reactor.in_flight))
        if host.local_failures < _MOST_LOCAL_FAILURES:
            self._waiting.add(host, time.monotonic() + _LOCAL_PAUSE_S)
        elif host.rows:
            self._hand_over(host)
        else:
            self._stop_talking(host)
            self._counters.addresses_done += 1
            self._client.on_failed(host.order_at, host.os_error or "")
