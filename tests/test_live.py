"""Ctrl-C and SIGTERM for real, on the program in a child process; and what the live view shows."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from scanner import live
from scanner.app import ScanOptions, scan_targets
from scanner.engine import Counters
from scanner.live import LiveView
from scanner.model.exchange import Ending
from scanner.store import open_store
from tests.hostile.peers import PEERS
from tests.hostile.runner import running, wait_until
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
from scanner.live import LiveView

class Stubborn:
    interrupted = 0
    def interrupt(self):
        print("asked to stop", flush=True)

async def main():
    view = LiveView(Console(stderr=True), is_shown=False)
    view.on_begin(None, Stubborn())
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
    def __init__(self, **counted):
        self.counters = Counters(**counted)
        self.interrupted_count = 0

    def interrupt(self):
        self.interrupted_count += 1


class FakeRun:
    id = "20261101T000000Z-1a2b"


def show(monkeypatch, engine, *, is_terminal, is_shown=True, wait_s=0.25):
    """Return what the view writes within a while."""
    monkeypatch.setattr(live, "_LINE_EVERY_S", 0.05)
    monkeypatch.setattr(live, "_REFRESH_S", 0.02)
    out = io.StringIO()

    async def main():
        view = LiveView(Console(file=out, force_terminal=is_terminal, width=200), is_shown=is_shown)
        view.on_begin(FakeRun(), engine)
        await asyncio.sleep(wait_s)
        await view.finish()

    asyncio.run(main())
    return out.getvalue()


COUNTED = {
    "hosts_total": 40,
    "hosts_done": 10,
    "endpoints_answering": 7,
    "connections": 123,
    "endings": {Ending.COMPLETE: 100, Ending.TIMED_OUT_READ: 3, Ending.REFUSED: 20},
}


def test_lines_where_there_is_no_terminal(monkeypatch):
    text = show(monkeypatch, FakeEngine(**COUNTED), is_terminal=False)
    first = text.splitlines()[0]
    assert first.startswith("10 of 40 hosts in 0 s, about ")
    assert first.endswith("7 speak TLS, 123 connections, 3 silent, 20 refused")
    assert "\x1b" not in text


def test_bar_on_a_terminal(monkeypatch):
    text = show(monkeypatch, FakeEngine(**COUNTED), is_terminal=True)
    assert "10/40" in text
    assert "7 speak TLS, 123 connections, 3 silent, 20 refused" in text


def test_nothing_is_shown_where_that_is_not_wanted(monkeypatch):
    assert show(monkeypatch, FakeEngine(**COUNTED), is_terminal=True, is_shown=False) == ""


def test_nothing_done_yet_is_no_division_by_zero(monkeypatch):
    assert show(monkeypatch, FakeEngine(hosts_total=5), is_terminal=False).startswith("0 of 5 hosts")


def test_signals_are_given_back(monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    during = []

    async def main():
        view = LiveView(Console(file=io.StringIO()), is_shown=False)
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
        view = LiveView(Console(file=out), is_shown=False)
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
            view = LiveView(Console(file=io.StringIO()), is_shown=False)
            (peer,) = peers_named("honest-12")
            with running([peer]) as states:
                state = states["honest-12"]
                try:
                    results.append(
                        await scan_targets(
                            [target(state.address, port=state.port)], ScanOptions(confirm="none"), observer=view
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
    LiveView(Console(file=io.StringIO()), is_shown=False)._interrupt()
