"""Ctrl-C and SIGTERM for real, on the program in a child process; and what the live view shows."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from scanner import live
from scanner.counters import Counters
from scanner.live import LiveView, ProgressForm
from scanner.model.exchange import Ending
from scanner.model.versions import TlsVersion
from scanner.net.budgets import BackoffReport
from scanner.options import Confirm, ScanOptions
from scanner.store import StoreError, open_store
from tests.hostile.peers import PEERS
from tests.hostile.runner import running, wait_until
from tests.scanning import scan_targets
from tests.scripted_peers import target

pytestmark = pytest.mark.timeout(120)

# What each of these peers accepts, by the tests' own servers; the silent ones never answer.
HONEST = {"honest-12": {"TLS1.2"}, "honest-12-13": {"TLS1.2", "TLS1.3"}}
OLD = {"honest-10": {"TLS1.0"}}
SILENT = ("silence", "silence-2")


def peers_named(*names):
    by_name = {peer.name: peer for peer in PEERS}
    return [by_name[name] if name in by_name else replace(by_name["silence"], name=name) for name in names]


class Child:
    """``entra-tls scan`` on peers, in a process of its own."""

    def __init__(self, states, folder):
        self.report = folder / "report.json"
        self.db = folder / "runs.sqlite"
        targets = [f"{state.address}:{state.port}" for state in states.values()]
        command = [sys.executable, "-c", "from scanner.cli import main; main()", "scan", *targets]
        command += ["--json", self.report, "--db", self.db, "--confirm", "none", "--timeout", "60"]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self):
        out, err = self.popen.communicate(timeout=40)
        return self.popen.returncode, out, err


@pytest.fixture
def children():
    started = []
    yield started
    for child in started:
        if child.popen.poll() is None:
            child.popen.kill()
        child.popen.communicate()


def is_under_way(states, honest):
    """Whether the honest peers have had all their questions and the silent ones their first."""

    def check():
        seen = {name: state.connection_count for name, state in states.items()}
        if not all(seen[name] >= 6 and states[name].open_count == 0 for name in honest):
            return False
        if not all(seen[name] >= 1 for name in states if name not in honest):
            return False
        time.sleep(0.5)
        return seen == {name: state.connection_count for name, state in states.items()}

    return check


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(("honest", "code"), [(HONEST, 3), (HONEST | OLD, 1)], ids=["unknown", "findings"])
def test_signal_keeps_what_was_learned(tmp_path, children, number, honest, code):
    with running(peers_named(*honest, *SILENT)) as states:
        child = Child(states, tmp_path)
        children.append(child)
        assert wait_until(is_under_way(states, honest), limit_s=40)
        begin = time.monotonic()
        child.popen.send_signal(number)
        got, _, err = child.finish()
        took = time.monotonic() - begin
    assert got == code, err
    assert "Traceback" not in err
    assert "kept" in err
    # The silent hosts had a minute left: the program did not wait for them.
    assert took < 20
    report = json.loads(child.report.read_text())
    hosts = {host["name"]: host for host in report["hosts"]}
    for name, versions in honest.items():
        found = {v["version"]: v["state"] for v in hosts[states[name].address]["verdicts"]}
        assert found == {v: "enabled" if v in versions else "disabled" for v in found}
        assert len(found) == 6
    for name in SILENT:
        assert {v["state"] for v in hosts[states[name].address]["verdicts"]} == {"unknown"}
    with open_store(child.db, must_exist=True) as store:
        (summary,) = store.list_runs()
        stored = store.load_run(summary.run.id)
    assert not summary.run.is_complete
    assert summary.run.finished_at is not None
    assert {h.target.host: h.stopped for h in stored.hosts} == {
        states[name].address: None if name in honest else "interrupted" for name in states
    }


def test_second_ctrl_c_ends_a_scan_at_once(tmp_path, children):
    with running(peers_named("silence")) as states:
        child = Child(states, tmp_path)
        children.append(child)
        assert wait_until(lambda: states["silence"].connection_count >= 1, limit_s=40)
        begin = time.monotonic()
        child.popen.send_signal(signal.SIGINT)
        time.sleep(0.01)
        child.popen.send_signal(signal.SIGINT)
        code, _, err = child.finish()
        took = time.monotonic() - begin
    assert code != 0
    assert took < 15
    assert "Traceback" not in err


# An engine that does not stop when asked to: what is left is the second signal.
_STUBBORN = """
import asyncio, sys
from rich.console import Console
from scanner.live import LiveView, ProgressForm

class Run:
    id = "20261101T000000Z-1a2b"

class Stubborn:
    interrupted = 0
    def interrupt(self):
        print("asked to stop", flush=True)

async def main():
    view = LiveView(Console(stderr=True), form=ProgressForm.NONE)
    view.on_begin(Run(), Stubborn())
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        await view.finish()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("ended at once", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_second_signal_does_not_wait_for_the_engine(number):
    with subprocess.Popen(
        [sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as popen:
        try:
            assert popen.stdout.readline() == "ready\n"
            popen.send_signal(number)
            assert popen.stdout.readline() == "asked to stop\n"
            assert popen.poll() is None
            begin = time.monotonic()
            popen.send_signal(number)
            out, err = popen.communicate(timeout=30)
        finally:
            popen.kill()
    assert out == "ended at once\n"
    assert time.monotonic() - begin < 10
    assert "Traceback" not in err


# In this process


class FakeEngine:
    def __init__(self, *, rate=0.0, slowed_count=0, **counted):
        self.counters = Counters(**counted)
        self.rate = rate
        self._slowed_count = slowed_count
        self.interrupted_count = 0

    def interrupt(self):
        self.interrupted_count += 1

    def describe_backoff(self):
        return [BackoffReport(networks=(), untold_count=0, slowed_count=self._slowed_count, factor=1.0, halved_at_s=())]


class FakeRun:
    id = "20261101T000000Z-1a2b"


def show(monkeypatch, engine, *, is_terminal, form=ProgressForm.AUTO, wait_s=0.25):
    """Return what the view writes within a while."""
    monkeypatch.setattr(live, "_LINE_EVERY_S", 0.05)
    monkeypatch.setattr(live, "_REFRESH_S", 0.02)
    monkeypatch.setattr(live, "_JSON_EVERY_S", 0.05)
    out = io.StringIO()

    async def main():
        view = LiveView(Console(file=out, force_terminal=is_terminal, width=200), form=form)
        view.on_begin(FakeRun(), engine)
        await asyncio.sleep(wait_s)
        await view.finish()

    asyncio.run(main())
    return out.getvalue()


COUNTED = {
    "hosts_total": 40,
    "hosts_done": 10,
    "endpoints_answering": 7,
    "versions": Counter({TlsVersion.TLS1_2: 6, TlsVersion.TLS1_3: 5}),
    "connections": 123,
    "endings": {Ending.COMPLETE: 100, Ending.TIMED_OUT_READ: 3, Ending.REFUSED: 20},
}


def test_lines_where_there_is_no_terminal(monkeypatch):
    text = show(monkeypatch, FakeEngine(**COUNTED), is_terminal=False)
    first = text.splitlines()[0]
    assert re.fullmatch(
        r"10 of 40 hosts in 0 s, about \d+ s left; "
        r"7 speak TLS \(1\.2 6 · 1\.3 5\); 123 connections, [\d,]+ a second; 3 silent, 20 refused",
        first,
    )
    assert "\x1b" not in text


def test_bar_on_a_terminal(monkeypatch):
    text = show(monkeypatch, FakeEngine(**COUNTED), is_terminal=True)
    assert "10/40" in text
    assert "hosts" in text
    assert "7 speak TLS (1.2 6 · 1.3 5); 123 connections, " in text
    assert " a second; 3 silent, 20 refused" in text


SWEPT = COUNTED | {
    "hosts_total": 2,
    "hosts_done": 1,
    "addresses_total": 65_536,
    "addresses_done": 4_096,
    "listeners": 9,
    "rate": 2_000.0,
    "slowed_count": 1,
}


def test_a_sweep_is_told_in_addresses_with_listeners_and_the_rate_asked_for(monkeypatch):
    first = show(monkeypatch, FakeEngine(**SWEPT), is_terminal=False).splitlines()[0]
    assert first.startswith("4,097 of 65,538 addresses in 0 s, about ")
    assert "; 9 listeners, 7 speak TLS (1.2 6 · 1.3 5); 123 connections, " in first
    assert " of 2,000 a second; " in first
    assert first.endswith("; 1 network slowed down")
    assert "4097/65538" in show(monkeypatch, FakeEngine(**SWEPT), is_terminal=True)


# For other programs


def events_of(text):
    """Return the objects of ``--progress json``; every line must be one."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_json_lines_say_what_was_counted(monkeypatch, is_terminal):
    text = show(monkeypatch, FakeEngine(**SWEPT), is_terminal=is_terminal, form=ProgressForm.JSON)
    *events, last = events_of(text)
    assert len(events) >= 2
    assert {event["event"] for event in events} == {"progress"}
    assert last["event"] == "finished"
    for event in (*events, last):
        assert event["run"] == FakeRun.id
        assert event["addresses"] == {"done": 4_096, "total": 65_536}
        assert event["hosts"] == {"done": 1, "total": 2}
        assert (event["listeners"], event["tls_endpoints"], event["connections"]) == (9, 7, 123)
        assert {label: count for label, count in event["versions"].items() if count} == {"TLS1.2": 6, "TLS1.3": 5}
        assert len(event["versions"]) == 6
        assert event["rate"]["asked"] == 2_000.0
        assert event["slowed_networks"] == 1
        assert event["endings"] == {"complete": 100, "refused": 20, "timed-out-read": 3}
    assert [event["elapsed_s"] for event in events] == sorted(event["elapsed_s"] for event in events)


def test_what_else_is_said_comes_as_json_too(monkeypatch):
    out = io.StringIO()

    async def main():
        view = LiveView(Console(file=out, width=20), form=ProgressForm.JSON)
        view.on_begin(FakeRun(), FakeEngine(local_error="EMFILE"))
        view.on_note("a long line that a terminal of twenty columns would wrap")
        view.on_store_failure(StoreError("the disk is full"))
        view._interrupt()
        await asyncio.sleep(0.05)
        await view.finish()
        assert view.store_failure == "the disk is full"

    asyncio.run(main())
    told = [(event["event"], event.get("text", "")) for event in events_of(out.getvalue())]
    assert told[0] == ("note", "a long line that a terminal of twenty columns would wrap")
    assert told[1][0] == "store-failure"
    assert "the disk is full" in told[1][1]
    assert told[2][0] == "stopping"
    assert [text for event, text in told if event == "note" and "EMFILE" in text]
    assert told[-1][0] == "finished"


def snapshot(*, connections=(), done=(), at=(), total=1000):
    """Return what the view says after it was looked at at these times, with these counts."""
    engine = FakeEngine(hosts_total=total)
    view = LiveView(Console(file=io.StringIO()), form=ProgressForm.NONE)
    view._scan = engine
    clock = iter(at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live.time, "monotonic", lambda: next(clock))
        for connection_count, done_count in zip(connections, done, strict=True):
            engine.counters.connections, engine.counters.hosts_done = connection_count, done_count
            last = view.snapshot()
    return last


def test_the_rate_is_that_of_the_last_seconds():
    """A slow first minute must not make the rest look as slow."""
    begin = 1e6
    seen = snapshot(at=[begin, begin + 60, begin + 64, begin + 66], connections=[0, 60, 460, 660], done=[0, 6, 46, 66])
    assert seen.rate_achieved == pytest.approx(100)
    assert seen.done_rate == pytest.approx(10)
    assert seen.left_s == pytest.approx((1000 - 66) / 10)


def test_what_is_left_is_nothing_at_the_end_and_not_known_while_nothing_gets_done():
    assert snapshot(at=[1e6, 1e6 + 1], connections=[0, 9], done=[0, 1000]).left_s == 0
    assert snapshot(at=[1e6, 1e6 + 1], connections=[0, 9], done=[0, 0]).left_s is None


def test_what_limits_this_machine_is_said_once_with_what_to_set(monkeypatch):
    text = show(monkeypatch, FakeEngine(**COUNTED, local_error="EMFILE"), is_terminal=False)
    (line,) = [line for line in text.splitlines() if "EMFILE" in line]
    assert line.startswith("this machine could not open a connection (EMFILE): ")
    assert len(line) > 80


def test_nothing_is_shown_where_that_is_not_wanted(monkeypatch):
    assert show(monkeypatch, FakeEngine(**COUNTED), is_terminal=True, form=ProgressForm.NONE) == ""


def test_nothing_done_yet_is_no_division_by_zero(monkeypatch):
    assert show(monkeypatch, FakeEngine(hosts_total=5), is_terminal=False).startswith("0 of 5 hosts")


def test_signals_are_given_back(monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    during = []

    async def main():
        view = LiveView(Console(file=io.StringIO()), form=ProgressForm.NONE)
        view.on_begin(FakeRun(), FakeEngine())
        during.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
        await view.finish()

    asyncio.run(main())
    assert during != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class LoopWithoutSignals(asyncio.SelectorEventLoop):
    """As asyncio's loops on Windows are."""

    def add_signal_handler(self, sig, callback, *args):
        raise NotImplementedError


def test_ctrl_c_works_in_loops_that_know_no_signals():
    engine = FakeEngine()
    out = io.StringIO()
    before = signal.getsignal(signal.SIGTERM)

    async def main():
        view = LiveView(Console(file=out), form=ProgressForm.NONE)
        view.on_begin(FakeRun(), engine)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            while not engine.interrupted_count:  # noqa: ASYNC110  # the engine's fake has no event
                await asyncio.sleep(0.01)
        await view.finish()

    loop = LoopWithoutSignals()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert engine.interrupted_count == 1
    assert "kept" in out.getvalue()
    assert signal.getsignal(signal.SIGTERM) is before


def test_scan_in_another_thread_does_without_signals():
    """A program that uses ours as a library may call it from anywhere."""
    results = []

    def work():
        async def main():
            view = LiveView(Console(file=io.StringIO()), form=ProgressForm.NONE)
            (peer,) = peers_named("honest-12")
            with running([peer]) as states:
                state = states["honest-12"]
                try:
                    results.append(
                        await scan_targets(
                            [target(state.address, port=state.port)], ScanOptions(confirm=Confirm.NONE), observer=view
                        )
                    )
                finally:
                    await view.finish()

        asyncio.run(main())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert len(results) == 1
    assert results[0].run.is_complete


def test_interrupt_before_a_scan_began_is_nothing():
    LiveView(Console(file=io.StringIO()), form=ProgressForm.NONE)._interrupt()
