"""A /16 with 655 servers, resets, silence and 5 % packet loss: all found every time, whatever interrupts the sweep.

``make test`` runs each kind once or twice; ``python -m tests.exactness`` runs ten rounds.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.exactness.repeats import (
    MOST_LOST_RESETS,
    Phase,
    connection_counts,
    repeated_without_need,
    settled_before_a_kill,
)
from tests.exactness.sweeps import (
    CONNECT_TIMEOUT_S,
    ENDED,
    EXIT_USAGE,
    PASS_COUNT,
    PROGRAM,
    SCAN,
    SWEEP_S,
    read_report,
    stored_report,
    sweep,
    sweeping,
)
from tests.exactness.world import BLOCK, LISTENER_COUNT, MIXES, PORT

pytestmark = [pytest.mark.netns, pytest.mark.timeout(280)]

ROUNDS = int(os.environ.get("ENTRA_TLS_EXACTNESS_ROUNDS", "0"))
"""0: the short form that make test has time for."""
WHOLE = f"{BLOCK}:{PORT}"
PART = "10.77.64.0/20"
"""4,094 addresses, for what does not need them all."""
ASKED_COUNT = BLOCK.num_addresses - 2
"""A block's first and last address are not asked (docs/targets.md)."""
UNKNOWN_SHARE = 0.01
"""Loss may leave a cell open now and then, not more."""
MOST_KILLS = 12 if ROUNDS else 2
SHARD_COUNT = 8


def assert_exact(report, truth):
    assert report.wrong(truth) == []
    assert report.missed(truth) == []
    assert report.unknown_count <= UNKNOWN_SHARE * 6 * len(truth)


def assert_all_accounted_for(report, resetting_count, asked_count=ASKED_COUNT):
    """Each address without a server is counted, once, with what it did. A reset may be lost each time, seldom."""
    silent_count = asked_count - len(report.states) - resetting_count
    assert set(report.no_listener) <= {"REFUSED", "NO_ANSWER"}
    assert sum(report.no_listener.values()) == silent_count + resetting_count
    assert resetting_count * (1 - MOST_LOST_RESETS) <= report.no_listener["REFUSED"] <= resetting_count


@pytest.fixture(scope="module")
def single(world, tmp_path_factory):
    """One sweep of everything, without any interruption: its report, its store's report, and the connections."""
    home = tmp_path_factory.mktemp("single")
    world.forget_arrivals()
    began_at = time.monotonic()
    sweep(world, "scan", WHOLE, *SCAN, "--seed", "1", "--db", home / "runs.sqlite", "--json", home / "scan.json")
    return Single(
        report=read_report(home / "scan.json"),
        stored=stored_report(home / "runs.sqlite", home / "report.json"),
        arrivals=world.arrivals(),
        elapsed_s=time.monotonic() - began_at,
    )


@dataclass(frozen=True)
class Single:
    report: object
    stored: object
    arrivals: list
    elapsed_s: float


@pytest.mark.parametrize("mix", range(len(MIXES)))
def test_world_is_what_another_client_says(world, mix):
    """OpenSSL's own client, in the scanner's place, completes handshakes of exactly these versions."""
    enabled, _ = MIXES[mix]
    address = next(address for address, versions in world.truth.items() if versions == enabled)
    flags = {"TLS1.0": "-tls1", "TLS1.1": "-tls1_1", "TLS1.2": "-tls1_2", "TLS1.3": "-tls1_3"}
    completed = set()
    for label, flag in flags.items():
        command = ["openssl", "s_client", "-connect", f"{address}:{PORT}", flag, "-cipher", "ALL:@SECLEVEL=0"]
        done = subprocess.run(world.in_scanner(command), input=b"", capture_output=True, check=False, timeout=60)
        if done.returncode == 0:
            completed.add(label)
    assert completed == {version.label for version in enabled}


def test_sweep_finds_all_and_says_nothing_wrong(world, single):
    assert len(world.truth) == LISTENER_COUNT
    assert single.report.is_complete
    assert_exact(single.report, world.truth)
    assert_all_accounted_for(single.report, len(world.resetting))


def test_store_says_what_the_scan_said(single):
    assert single.stored == single.report


def test_every_address_is_asked_as_often_as_it_should_be(world, single, record_for_summary):
    counts = connection_counts(single.arrivals)
    asked = {str(address) for address in BLOCK.hosts()}
    assert counts.keys() == asked
    silent = asked - world.truth.keys() - world.resetting
    assert {counts[address] for address in silent} == {PASS_COUNT}
    # A reset is an answer. It is asked again only where the answer was lost each time.
    assert sum(counts[address] > 1 for address in world.resetting) <= MOST_LOST_RESETS * len(world.resetting)
    record_for_summary(f"exactness: a /16 at {CONNECT_TIMEOUT_S} s and 5 % loss took {single.elapsed_s:.1f} s")


@pytest.mark.parametrize("seed", range(2, (ROUNDS or 2) + 1))
def test_every_round_finds_all(world, tmp_path, seed):
    sweep(world, "scan", WHOLE, *SCAN, "--seed", str(seed), "--json", tmp_path / "scan.json")
    report = read_report(tmp_path / "scan.json")
    assert report.is_complete
    assert_exact(report, world.truth)
    assert_all_accounted_for(report, len(world.resetting))


@pytest.mark.parametrize("seed", range(1, (ROUNDS or 1) + 1))
def test_kill_at_any_moment_loses_nothing_and_repeats_little(world, tmp_path, seed, record_for_summary):
    chance = random.Random(seed)
    store = tmp_path / "runs.sqlite"
    begin = ["scan", WHOLE, *SCAN, "--seed", str(seed), "--db", store]
    resume = ["scan", "--resume", "latest", "--db", store, "--quiet"]
    world.forget_arrivals()
    phases = []
    known = set()
    is_done = False
    while not is_done:
        # First early, when little was learned, then late, when much is settled, then at any moment.
        earliest_s, latest_s = {0: (1.0, 8.0), 1: (15.0, 18.0)}.get(len(phases), (1.0, 18.0))
        moment_s = chance.uniform(earliest_s, latest_s)
        with sweeping(world, *(resume if phases else begin)) as running:
            if len(phases) == MOST_KILLS:
                done = running.wait()
                assert done.returncode in ENDED, done.stderr
                is_done = True
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    is_done = running.wait(moment_s).returncode in ENDED
            ended_at = time.monotonic() if is_done else running.kill()
            phases.append(Phase(running.began_at, ended_at))
        report = stored_report(store, tmp_path / "report.json")
        # What a kill leaves behind can be read, is right, and never becomes less.
        assert report.wrong(world.truth) == []
        assert known <= report.states.keys()
        known = set(report.states)
    assert report.is_complete
    assert_exact(report, world.truth)
    assert_all_accounted_for(report, len(world.resetting))
    assert run_count(store) == 1
    arrivals = world.arrivals()
    counts = connection_counts(arrivals)
    assert counts.keys() == {str(address) for address in BLOCK.hosts()}
    assert repeated_without_need(arrivals, phases, world) == []
    # Else the line above could not fail.
    settled = settled_before_a_kill(arrivals, phases, world)
    assert len(settled & world.truth.keys()) > 50
    assert len(settled & world.resetting) > 1000
    assert len(settled - world.truth.keys() - world.resetting) > 1000
    record_for_summary(f"exactness: {len(phases) - 1} kills, {len(settled)} addresses settled before, none repeated")


def test_eight_shards_together_are_the_single_run(world, tmp_path, single):
    stores = [tmp_path / f"shard{number}.sqlite" for number in range(1, SHARD_COUNT + 1)]

    def run_shard(number):
        shard = f"{number}/{SHARD_COUNT}"
        arguments = ["scan", WHOLE, *SCAN, "--seed", "1", "--shard", shard, "--db", stores[number - 1]]
        sweep(world, *arguments, "--json", tmp_path / f"shard{number}.json")
        return read_report(tmp_path / f"shard{number}.json")

    world.forget_arrivals()
    # Four at a time: two cores are not to look like lost packets.
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(run_shard, range(1, SHARD_COUNT + 1)))
    addresses = [address for report in reports for address in report.states]
    assert len(addresses) == len(set(addresses)), "a host is in two shards"
    sizes = [len(report.states) + sum(report.no_listener.values()) for report in reports]
    assert sum(sizes) == ASKED_COUNT
    assert max(sizes) - min(sizes) <= 1, sizes
    counts = connection_counts(world.arrivals())
    assert counts.keys() == {str(address) for address in BLOCK.hosts()}
    assert max(counts[address] for address in counts.keys() - world.truth.keys()) <= PASS_COUNT

    merged = tmp_path / "merged.sqlite"
    done = subprocess.run(
        [PROGRAM, "merge", merged, *stores], capture_output=True, text=True, check=False, timeout=SWEEP_S
    )
    assert done.returncode == 0, done.stderr
    union = stored_report(merged, tmp_path / "merged.json")
    assert union.is_complete
    assert_exact(union, world.truth)
    assert union.contradictions(single.report) == []
    assert_all_accounted_for(union, len(world.resetting))


def test_interrupted_sweep_keeps_what_it_learned_and_goes_on(world, tmp_path):
    truth = world.truth_in(PART)
    store = tmp_path / "runs.sqlite"
    world.forget_arrivals()
    with sweeping(
        world, "scan", f"{PART}:{PORT}", *SCAN, "--seed", "5", "--db", store, "--json", tmp_path / "first.json"
    ) as running:
        # Hosts that answer are done by now; silent ones have a second pass before them.
        time.sleep(CONNECT_TIMEOUT_S)
        running.interrupt()
        done = running.wait(30)
        phases = [Phase(running.began_at, time.monotonic())]
    # docs/cli.md: what was learned is reported, and incomplete is never 0.
    assert done.returncode in ENDED - {0}, (done.returncode, done.stderr)
    first = read_report(tmp_path / "first.json")
    assert not first.is_complete
    assert first.wrong(truth) == []
    assert len(first.states) >= 0.8 * len(truth)

    began_at = time.monotonic()
    sweep(world, "scan", "--resume", "latest", "--db", store, "--json", tmp_path / "second.json", "--quiet")
    phases.append(Phase(began_at, time.monotonic()))
    second = read_report(tmp_path / "second.json")
    assert second.is_complete
    assert_exact(second, truth)
    assert first.states.keys() <= second.states.keys()
    assert_all_accounted_for(second, len(world.resetting_in(PART)), asked_count=4094)
    assert repeated_without_need(world.arrivals(), phases, world) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 4 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "entra-exact", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def test_full_disk_is_said_and_costs_nothing(world, tmp_path, small_disk):
    truth = world.truth_in(PART)
    store = small_disk / "runs.sqlite"
    with sweeping(world, "scan", f"{PART}:{PORT}", *SCAN, "--seed", "6", "--db", store) as running:
        await_run(store)
        fill(small_disk / "filler")
        done = running.wait()
    assert done.returncode == EXIT_USAGE, (done.returncode, done.stderr)
    assert "full" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr

    (small_disk / "filler").unlink()
    before = stored_report(store, tmp_path / "before.json")
    assert before.wrong(truth) == []
    assert not before.is_complete
    sweep(world, "scan", "--resume", "latest", "--db", store, "--quiet")
    after = stored_report(store, tmp_path / "after.json")
    assert after.is_complete
    assert before.states.keys() <= after.states.keys()
    assert_exact(after, truth)
    assert_all_accounted_for(after, len(world.resetting_in(PART)), asked_count=4094)


def await_run(store):
    """Wait until the store has a run."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db,
        ):
            if db.execute("SELECT COUNT(*) FROM runs").fetchone()[0]:
                return
        time.sleep(0.05)
    pytest.fail(f"{store} has no run")


def fill(path):
    """Write until the disk has no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def run_count(store):
    with contextlib.closing(sqlite3.connect(store)) as db:
        return db.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
