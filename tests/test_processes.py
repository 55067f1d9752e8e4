"""Several processes: frames, what goes over them, and what becomes of workers whose parent or whose life has ended."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from array import array
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from scanner import processes as module
from scanner.counters import Counters
from scanner.model.evidence import GapReason
from scanner.model.exchange import Ending
from scanner.model.versions import TlsVersion
from scanner.net.budgets import Backoff, Budgets
from scanner.options import ScanOptions
from scanner.processes import Workers, _Delivery, _frame, _read_frame, plan_process_count
from scanner.share import Part
from scanner.sweep.progress import Progress
from tests.kinds_of_hosts import RUN
from tests.sweep.servers import MUTE, NEW, serving
from tests.test_share import OPTIONS, Sink, place, plan_of
from tests.test_sink import JUDGED, packed

pytestmark = pytest.mark.timeout(120)


def test_small_ranges_need_one_process_and_what_is_asked_for_holds():
    assert plan_process_count(ScanOptions(), 0) == 1
    assert plan_process_count(ScanOptions(), 19_999) == 1
    assert plan_process_count(ScanOptions(), 20_000) == min(len(os.sched_getaffinity(0)), 8)
    assert plan_process_count(ScanOptions(processes=3), 1) == 3


# Frames


def read_all(data):
    async def main():
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        messages = []
        while (message := await _read_frame(reader)) is not None:
            messages.append(message)
        return messages

    return asyncio.run(main())


def test_frames_come_out_as_they_went_in():
    messages = [b"", b"stop", bytes(range(256)) * 1000]
    data = b"".join(map(_frame, messages))
    assert data[:8] == struct.pack(">Q", 0)
    assert read_all(data) == messages


@pytest.mark.parametrize("end", [0, 3, 8, 10, 11])
def test_a_frame_that_is_cut_off_is_the_end(end):
    assert read_all(_frame(b"stop")[:end]) == []
    assert read_all(_frame(b"one") + _frame(b"stop")[:end]) == [b"one"]


def test_what_is_sent_comes_out_as_it_went_in():
    delivery = _Delivery(
        hosts=[(7, JUDGED[0], packed(0)), (None, JUDGED[1], None)],
        absent={GapReason.REFUSED: array("Q", [1, 2**40])},
        failed=[(9, "EMFILE")],
        counters=Counters(connections=5, endings={Ending.REFUSED: 5}, versions=Counter({TlsVersion.TLS1_2: 1})),
        rate=12.5,
        backoff=Backoff(Budgets(1.0)).describe(),
        is_last=True,
        fault="x",
    )
    assert pickle.loads(pickle.dumps(delivery, protocol=pickle.HIGHEST_PROTOCOL)) == delivery  # noqa: S301  # our own
    workers = Workers(RUN, plan_of(), replace(OPTIONS, rate=1.0), Sink(), part=Part(), does_pack=True, count=2)
    for job in workers._jobs:
        assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301  # the same


# Workers


class Watch:
    def __init__(self):
        self.notes = []

    def on_note(self, text):
        self.notes.append(text)


def work(plan, options=OPTIONS, *, count=2, act=None, sink=None, part=None):
    """Scan in processes; act(workers, processes) runs beside."""
    sink, watch, started = sink or Sink(), Watch(), []

    async def main():
        workers = Workers(RUN, plan, options, sink, part=part or Part(), does_pack=False, count=count, observer=watch)
        start = asyncio.create_subprocess_exec

        async def noted(*args, **more):
            started.append(await start(*args, **more))
            return started[-1]

        module.asyncio.create_subprocess_exec = noted
        try:
            running = asyncio.ensure_future(workers.run())
            if act is not None:
                await act(workers, started, sink)
            await asyncio.wait_for(running, 60)
        finally:
            module.asyncio.create_subprocess_exec = start
        return workers

    workers = asyncio.run(main())
    assert all(process.returncode is not None for process in started)
    return sink, watch, workers


def test_two_workers_do_everything_once():
    plan = plan_of(place("127.62.0.0", 2500, ports=[1]))
    progress = Progress(2500)
    for at in (0, 5, 2400):
        progress.mark(at)
    sink, watch, workers = work(plan, part=Part(progress=progress))
    assert set(sink.absent) == set(range(2500)) - {0, 5, 2400}
    assert set(sink.absent.values()) == {GapReason.REFUSED}
    assert workers.counters.addresses_done == workers.counters.addresses_total == 2497
    assert not workers.has_lost
    assert watch.notes == []


def test_an_interruption_ends_workers_and_delivers_what_they_learned():
    async def interrupt(workers, started, _sink):
        while len(started) < 2:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.05)
        await asyncio.sleep(2)
        workers.interrupt()

    places = [f"127.62.16.{at}" for at in range(1, 11)]
    with serving(dict.fromkeys(places, MUTE)) as (port, _):
        plan = plan_of(place(places[0], 10, ports=[port]))
        began = time.monotonic()
        sink, _, workers = work(plan, replace(OPTIONS, timeout_s=60, host_deadline_s=100), act=interrupt)
    assert time.monotonic() - began < 30
    assert {judged.stopped for judged in sink.hosts.values()} == {"interrupted"} or not sink.hosts
    assert not workers.has_lost


def test_interrupted_before_they_began_workers_end():
    async def interrupt(workers, _started, _sink):
        workers.interrupt()

    sink, _, workers = work(plan_of(place("127.62.32.0", 200_000, ports=[1])), replace(OPTIONS, rate=50), act=interrupt)
    assert len(sink.absent) < 1000
    assert not workers.has_lost


def test_a_worker_that_is_killed_is_missed_and_told_of():
    """Even where it had not yet said what its part was."""

    async def kill(_workers, started, _sink):
        while not started:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)
        started[0].kill()

    sink, watch, workers = work(plan_of(place("127.62.48.0", 2048, ports=[1])), act=kill)
    assert workers.has_lost
    (note,) = watch.notes
    assert "before its time" in note
    assert len(sink.absent) == 1024  # the other one's part is whole


def test_a_worker_that_fails_is_missed_and_told_of():
    plan = plan_of(place("127.62.64.0", 20, ports=[1]))
    _, watch, workers = work(plan, replace(OPTIONS, net="no such network"), count=1)
    assert workers.has_lost
    assert watch.notes


def test_a_fault_on_the_way_is_told_of_and_what_was_done_is_kept():
    sink, watch = Sink(), Watch()
    workers = Workers(RUN, plan_of(), OPTIONS, sink, part=Part(), does_pack=False, count=2, observer=watch)
    done = Counters(addresses_total=5, addresses_done=2)
    workers._take(1, _Delivery(absent={GapReason.REFUSED: array("Q", [3])}, failed=[(4, "EMFILE")], counters=done))
    assert not workers.has_lost
    workers._take(1, _Delivery(counters=done, is_last=True, fault="RuntimeError: a bug"))
    assert workers.has_lost
    assert watch.notes == ["a scanning process failed: RuntimeError: a bug"]
    assert (sink.absent, sink.failed) == ({3: GapReason.REFUSED}, {4: "EMFILE"})
    assert workers.counters == done


def test_what_the_sink_raises_ends_all_workers():
    class FullError(Exception):
        pass

    class Full(Sink):
        def on_absent(self, *_):
            raise FullError

    with pytest.raises(FullError):
        work(plan_of(place("127.62.80.0", 3000, ports=[1])), sink=Full())


PARENT = """
import asyncio, json, sys
sys.path.insert(0, {here!r})
from tests.test_processes import OPTIONS, RUN, Part, Sink, Workers, place, plan_of, replace

async def main():
    plan = plan_of(place("127.62.96.0", 100_000, ports=[1]))
    start = asyncio.create_subprocess_exec
    async def noted(*args, **more):
        process = await start(*args, **more)
        print(process.pid, flush=True)
        return process
    asyncio.create_subprocess_exec = noted
    workers = Workers(RUN, plan, replace(OPTIONS, rate=100), Sink(), part=Part(), does_pack=False, count=2)
    await workers.run()

asyncio.run(main())
"""


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("delay_s", [0.0, 2.0])
def test_workers_end_when_their_parent_is_killed(delay_s):
    """Whether they had begun or not."""
    here = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(here=here)], stdout=subprocess.PIPE, text=True
    ) as parent:
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        time.sleep(delay_s)
        assert all(map(is_alive, pids))
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    end = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    assert [pid for pid in pids if is_alive(pid)] == []


def test_hosts_come_judged():
    with serving({"127.62.160.1": NEW}) as (port, _):
        sink, _, workers = work(plan_of(place("127.62.160.1", 3, ports=[port])))
    (judged,) = sink.hosts.values()
    host = json.loads(judged.json)
    assert (host["name"], host["endpoints"][0]["port"]) == ("127.62.160.1", port)
    assert judged.states[-2:] == "ee"  # TLS 1.2 and 1.3
    assert workers.counters.versions[TlsVersion.TLS1_3] == 1
