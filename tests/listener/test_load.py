"""Under load: no hello is lost in a flood, and 10,000 connections that do nothing are held in little memory."""

import contextlib
import json
import resource
import subprocess
import sys
import time

import pytest

from tests.listener.crowd import flood, holding, sources
from tests.listener.hellos import client_hello

IDLE = 10_000
FLOOD = 3_000


class _Child:
    def __init__(self, process):
        self._process = process
        self.port = int(process.stdout.readline())

    def ask(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def until(self, is_true, seconds=60.0):
        until_s = time.monotonic() + seconds
        while not is_true(said := self.ask()):
            assert time.monotonic() < until_s, {name: value for name, value in said.items() if name != "names"}
            time.sleep(0.1)
        return said


@contextlib.contextmanager
def child(**limits):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.listener.child", json.dumps(limits)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield _Child(process)
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < IDLE + 1_000:
        pytest.fail(f"needs {IDLE + 1_000} open files (ulimit -Hn), there are {before[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_every_hello_of_a_flood_becomes_one_exchange(many_files):
    names = [f"h{number}.example" for number in range(FLOOD)]
    # No suite in common: the listener answers with an alert, so that the flood and not the cryptography is the load.
    payloads = [client_hello(name=name, suites=(0x00FF,)) for name in names]
    with child() as server:
        assert flood(server.port, payloads, at_once=900, from_addresses=sources(8)) == FLOOD
        said = server.until(lambda said: said["open"] == 0)
    assert sorted(said["names"]) == sorted(names)
    assert said["hellos"] == said["answered"] == FLOOD
    assert said["failed"] == 0


def test_a_flood_with_garbage_and_idle_connections_in_between_loses_no_hello(many_files):
    names = [f"h{number}.example" for number in range(900)]
    payloads = []
    for name in names:
        payloads += [client_hello(name=name, suites=(0x00FF,)), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff"]
    with child(connections=1_500) as server, holding(server.port, 500, from_addresses=sources(8)):
        assert flood(server.port, payloads, at_once=1_200, from_addresses=sources(8)) == len(payloads)
        said = server.until(lambda said: said["open"] <= 500)
    assert sorted(name for name in said["names"] if name) == sorted(names)
    assert said["other"] == 1_800


def test_10_000_idle_connections_are_held_in_little_memory_and_a_client_is_served(many_files, record_for_summary):
    with child(per_address=2_000, hello_s=120, whole_s=120) as server:
        flood(server.port, [client_hello(name="warm.example", suites=(0x00FF,))] * 5)
        before = server.until(lambda said: said["open"] == 0)
        with holding(server.port, IDLE, from_addresses=sources(20)):
            said = server.until(lambda said: said["open"] == IDLE)
            each_bytes = (said["rss"] - before["rss"]) / IDLE
            begun_s = time.monotonic()
            assert flood(server.port, [client_hello(name="served.example", suites=(0x00FF,))]) == 1
            served_s = time.monotonic() - begun_s
            assert server.ask()["names"][-1] == "served.example"
        after = server.until(lambda said: said["open"] == 0)
    record_for_summary(
        f"listener: {IDLE:,} idle connections, {each_bytes:,.0f} bytes each; "
        f"another is served in {served_s * 1000:.0f} ms"
    )
    assert each_bytes < 8_192
    assert after["silent"] == IDLE
