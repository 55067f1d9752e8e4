"""The program's side of bench.micro, as a process of its own: ``python -m bench.asking KIND``.

Prints: questions answered, CPU microseconds a question, questions a second.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator
from ipaddress import IPv4Address

from bench.micro import IN_FLIGHT, PORT, PROBES, REPLY, build_hello
from bench.servers import FIRST_ADDRESS, addresses
from scanner.counters import Counters
from scanner.model.evidence import GapReason
from scanner.model.exchange import Ending
from scanner.model.subjects import Role, Target
from scanner.net.budgets import Backoff, Budgets
from scanner.net.limits import Dispatcher
from scanner.net.network import open_network
from scanner.net.reactor import Call, Reactor
from scanner.probes.hello_ladder import hello_conversation
from scanner.probes.plan_memory import PlanMemory
from scanner.sweep.lane import Lane, LaneSettings, Swept
from scanner.sweep.space import Place
from scanner.tls.reply import read_reply

_ADDRESSES = 200
_TIMEOUT_S = 5.0
_WARM_UP = 500
"""Questions asked before the clock starts: what a run of a second remembers, a run of an hour has learned long ago."""
Asked = tuple[int, int]
"""(questions answered as they should be, questions asked)."""


async def ask_network(kind: str, total: int) -> Asked:
    """One task for each of IN_FLIGHT, as the engine has; no plan."""
    network = open_network(kind)
    hello = build_hello()
    todo = iter(range(total))
    targets = addresses(_ADDRESSES)
    answered = 0

    async def work() -> None:
        nonlocal answered
        for number in todo:
            log = await network.drive(
                hello_conversation(hello),
                address=targets[number % _ADDRESSES],
                port=PORT,
                deadline_s=_TIMEOUT_S,
                max_bytes=32_768,
            )
            answered += log.ending is Ending.COMPLETE and log.received == REPLY

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    await network.close()
    return answered, total


async def ask_reactor(total: int) -> Asked:
    """Calls by callbacks, begun anew as they end; no plan."""
    hello = build_hello()
    targets = addresses(_ADDRESSES)
    begun = ended = answered = 0
    done = asyncio.get_running_loop().create_future()

    def reader_of(_: Call) -> Generator[None, bytes, object]:
        return read_reply(sent=hello)

    def on_end(call: Call) -> None:
        nonlocal begun, ended, answered
        ended += 1
        answered += call.ending is Ending.COMPLETE and call.received == REPLY
        if begun < total:
            call.address = targets[begun % _ADDRESSES]
            begun += 1
            reactor.begin(call, _TIMEOUT_S, _TIMEOUT_S)
        elif ended == total:
            done.set_result(None)

    reactor = Reactor(
        hello_of=lambda _: hello,
        is_decided=lambda received: received == REPLY,
        reader_of=reader_of,
        on_end=on_end,
        on_idle=lambda: None,
        max_bytes=32_768,
    )
    for _ in range(min(IN_FLIGHT, total)):
        begun += 1
        reactor.begin(Call(targets[begun % _ADDRESSES], PORT), _TIMEOUT_S, _TIMEOUT_S)
    await done
    reactor.close()
    return answered, total


class _Client:
    """Counts, and keeps nothing: rows are judged and stored by others."""

    def __init__(self) -> None:
        self.answered = 0
        self.wrong = ""

    def on_swept(self, swept: Swept) -> None:
        self.answered += sum(row.ending in {Ending.COMPLETE, Ending.PEER_CLOSED} for row in swept.rows)

    def on_absent(self, order_at: int, reason: GapReason) -> None:
        self.wrong = f"address {order_at} was absent: {reason}"

    def on_handed_over(self, swept: Swept) -> None:
        self.wrong = f"{swept.address} was handed to the engine"

    def on_cut(self, swept: Swept) -> None:
        self.wrong = f"{swept.address} was cut off"

    def on_failed(self, order_at: int, os_error: str) -> None:
        self.wrong = f"address {order_at}: {os_error}"


async def ask_lane(total: int) -> Asked:
    """Whole ladders, host by host, until at least `total` questions were asked."""
    counters, client = Counters(), _Client()
    budgets = Budgets(0)
    template = Target(text="127.1.0.0/24", host=str(FIRST_ADDRESS), role=Role.SERVER, ports=(PORT,), is_from_range=True)

    def source() -> Iterator[tuple[int, int, Place]]:
        first = int(IPv4Address(FIRST_ADDRESS))
        for number in itertools.count():
            if counters.connections >= total:
                return
            yield number, number, Place(template, first + number % _ADDRESSES, 4)

    lane = Lane(
        source=source(),
        plans=PlanMemory(confirm=()),
        needs_engine=lambda _at, _step: False,
        settings=LaneSettings(
            connect_s=_TIMEOUT_S, timeout_s=_TIMEOUT_S, passes=1, in_flight=IN_FLIGHT, most_talking=IN_FLIGHT
        ),
        client=client,
        counters=counters,
        dispatcher=Dispatcher(0),
        budgets=budgets,
        backoff=Backoff(budgets),
        next_id=itertools.count(1).__next__,
    )
    await lane.run()
    if client.wrong:
        raise SystemExit(client.wrong)
    return client.answered, counters.connections


def _give_up(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    traceback.print_exception(context.get("exception"))
    sys.stderr.flush()
    os._exit(1)


async def measure(ask: Callable[[int], Awaitable[Asked]]) -> None:
    # A fault in a callback would leave everybody waiting.
    asyncio.get_running_loop().set_exception_handler(_give_up)
    await ask(_WARM_UP)
    cpu, began = time.process_time(), time.perf_counter()
    answered, asked = await ask(PROBES)
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - began
    print(answered, f"{cpu_s * 1e6 / asked:.2f}", f"{asked / wall_s:.0f}")


def main() -> None:
    kind = sys.argv[1]
    asks: dict[str, Callable[[int], Awaitable[Asked]]] = {
        "lane": ask_lane,
        "reactor": ask_reactor,
        "epoll": lambda total: ask_network("epoll", total),
        "asyncio": lambda total: ask_network("asyncio", total),
    }
    asyncio.run(measure(asks[kind]))


if __name__ == "__main__":
    main()
