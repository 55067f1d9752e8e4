"""The pure parts with made-up machines; reading with made-up files and against what the shell says."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.net.ceiling import (
    CONNECTION_BYTES,
    PROCESS_BYTES,
    RESERVED_FILES,
    Ceiling,
    Machine,
    error_hint,
    plan_ceiling,
    read_machine,
)


def test_what_is_unknown_bounds_nothing():
    asked = {"in_flight": 1_000_000, "rate": 0.0}
    assert plan_ceiling(Machine(), processes=1, **asked) == Ceiling(**asked)


# Open files


def test_soft_limit_that_can_be_raised_bounds_nothing():
    machine = Machine(open_files_soft=1_024, open_files_hard=524_288)
    ceiling = plan_ceiling(machine, in_flight=20_000, rate=100, processes=2)
    assert ceiling == Ceiling(in_flight=20_000, rate=100, raise_nofile_to=10_128)
    unlimited = Machine(open_files_soft=1_024, open_files_hard=None)
    assert plan_ceiling(unlimited, in_flight=20_000, rate=100, processes=1).raise_nofile_to == 20_128


def test_hard_limit_bounds_what_is_in_flight_and_says_what_to_set():
    machine = Machine(open_files_soft=256, open_files_hard=1_024)
    ceiling = plan_ceiling(machine, in_flight=20_000, rate=0, processes=1)
    assert ceiling.in_flight == 896
    assert ceiling.raise_nofile_to == 1_024
    [note] = ceiling.notes
    for part in ("1,024", "896", "20,000", "`ulimit -n 65536`", "`docker run --ulimit nofile=65536:65536`"):
        assert part in note
    two = plan_ceiling(machine, in_flight=20_000, rate=0, processes=2)
    assert two.in_flight == 2 * 896
    assert "in each of 2 processes, 1,792 in all" in two.notes[0]
    at_its_limit = Machine(open_files_soft=1_024, open_files_hard=1_024)
    assert plan_ceiling(at_its_limit, in_flight=20_000, rate=0, processes=1).raise_nofile_to is None
    large = plan_ceiling(machine, in_flight=100_000, rate=0, processes=1)
    assert "`ulimit -n 131072`" in large.notes[0]


def test_enough_files_are_left_alone():
    machine = Machine(open_files_soft=1_024, open_files_hard=1_024)
    assert plan_ceiling(machine, in_flight=896, rate=5, processes=1) == Ceiling(in_flight=896, rate=5)


# Connection tracking


TRACKING = Machine(conntrack_max=65_536, conntrack_count=5_536, conntrack_time_wait_s=120, conntrack_syn_sent_s=60)


def test_no_more_than_half_of_the_free_room_is_used_by_what_stays_after_its_end():
    ceiling = plan_ceiling(TRACKING, in_flight=40_000, rate=2_000, processes=1)
    # Half of the 60,000 that are free; each stays 120 s.
    assert ceiling.in_flight == 30_000
    assert ceiling.rate == 250
    [note] = ceiling.notes
    for part in ("65,536", "5,536", "120 s", "250 connections a second, not 2,000", "30,000", "not 40,000"):
        assert part in note
    wanted = int(note.split("nf_conntrack_max=")[1].split("`")[0])
    again = Machine(conntrack_max=wanted, conntrack_count=5_536, conntrack_time_wait_s=120, conntrack_syn_sent_s=60)
    # What the note says to set is enough.
    assert plan_ceiling(again, in_flight=40_000, rate=2_000, processes=1).notes == ()


def test_no_limit_of_the_rate_becomes_one():
    ceiling = plan_ceiling(TRACKING, in_flight=100, rate=0, processes=1)
    assert (ceiling.in_flight, ceiling.rate) == (100, 250)
    assert "not without a limit" in ceiling.notes[0]


@pytest.mark.parametrize(
    ("machine", "given"),
    [
        (TRACKING, {"rate": 250}),
        (TRACKING, {"rate": 20_000, "connections": 30_000}),  # the whole scan fits
        (Machine(conntrack_max=65_536, conntrack_count=0), {"rate": 20_000}),  # loaded, but nothing is tracked
        (Machine(conntrack_max=None, conntrack_count=None), {"rate": 20_000}),
    ],
)
def test_tracking_that_does_not_matter_is_not_mentioned(machine, given):
    ceiling = plan_ceiling(machine, in_flight=1_000, processes=1, **given)
    assert ceiling == Ceiling(in_flight=1_000, rate=given["rate"])


def test_a_full_table_still_leaves_one():
    full = Machine(conntrack_max=1_000, conntrack_count=1_000)
    ceiling = plan_ceiling(full, in_flight=1_000, rate=1_000, processes=1)
    assert (ceiling.in_flight, ceiling.rate) == (1, 1)


# Memory


def test_memory_bounds_what_is_in_flight():
    machine = Machine(memory_bytes=PROCESS_BYTES + 2 * 1_000 * CONNECTION_BYTES)
    ceiling = plan_ceiling(machine, in_flight=5_000, rate=10, processes=1)
    assert ceiling.in_flight == 1_000
    assert "165 MB" in ceiling.notes[0]
    assert "1,000 connections at a time, not 5,000" in ceiling.notes[0]
    assert plan_ceiling(machine, in_flight=1_000, rate=10, processes=1).notes == ()
    assert plan_ceiling(Machine(memory_bytes=1), in_flight=5_000, rate=10, processes=4).in_flight == 4


numbers = st.one_of(st.none(), st.integers(0, 3_000_000))


@given(
    soft=numbers,
    hard=numbers,
    most=numbers,
    count=numbers,
    memory=st.one_of(st.none(), st.integers(0, 2**36)),
    in_flight=st.integers(1, 1_000_000),
    rate=st.integers(0, 50_000),
    processes=st.integers(1, 64),
)
def test_never_more_than_asked_never_nothing_and_a_note_where_less(
    *, soft, hard, most, count, memory, in_flight, rate, processes
):
    machine = Machine(
        open_files_soft=soft, open_files_hard=hard, conntrack_max=most, conntrack_count=count, memory_bytes=memory
    )
    ceiling = plan_ceiling(machine, in_flight=in_flight, rate=rate, processes=processes)
    assert 1 <= ceiling.in_flight <= max(in_flight, processes)
    assert ceiling.rate <= rate or rate == 0
    assert bool(ceiling.notes) == (ceiling.in_flight < in_flight or ceiling.rate != rate)
    limit = ceiling.raise_nofile_to or soft
    if limit is not None and hard is not None and min(soft, hard) > RESERVED_FILES:
        assert -(-ceiling.in_flight // processes) + RESERVED_FILES <= max(limit, RESERVED_FILES + 1)


# Errors and capabilities


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "EADDRNOTAVAIL", "ENOMEM", "EPERM", "EACCES"])
def test_errors_of_this_machine_are_explained(name):
    assert name in errno.errorcode.values()
    assert len(error_hint(name)) > 40


@pytest.mark.parametrize("name", ["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "errno 4711", ""])
def test_errors_of_the_peer_are_not(name):
    assert error_hint(name) is None


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_reads_what_linux_tells(tmp_path):
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    netfilter = proc / "sys/net/netfilter"
    write(netfilter / "nf_conntrack_max", "262144\n")
    write(netfilter / "nf_conntrack_count", "17\n")
    write(netfilter / "nf_conntrack_tcp_timeout_time_wait", "120\n")
    write(netfilter / "nf_conntrack_tcp_timeout_syn_sent", "60\n")
    write(proc / "sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    # What docker gives a container by default (capabilities(7): NET_RAW is bit 13), and the same without it.
    write(proc / "self/status", "Name:\tpython\nCapPrm:\t0000000000000000\nCapEff:\t00000000a80425fb\n")
    write(proc / "meminfo", "MemTotal:       24683656 kB\nMemAvailable:   2097152 kB\n")
    machine = read_machine(proc, cgroups)
    assert machine.conntrack_max == 262_144
    assert machine.conntrack_count == 17
    assert machine.conntrack_time_wait_s == 120
    assert machine.conntrack_syn_sent_s == 60
    assert machine.local_ports == (32_768, 60_999)
    assert machine.has_net_raw is True
    assert machine.memory_bytes == 2 * 2**30
    write(proc / "self/status", "CapEff:\t00000000a80405fb\n")
    assert read_machine(proc, cgroups).has_net_raw is False


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "536870912\n"}, 2**29),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "268435456\n"}, 2**28),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "1048576\n"}, 2**20),
        ("4:cpu,memory:/x\n", {"memory/memory.limit_in_bytes": "1048576\n"}, 2**20),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("0::/../..\n", {"memory.max": "536870912\n"}, 2**29),
        ("nonsense\n\n", {}, None),
    ],
)
def test_reads_the_control_groups_memory_limit(tmp_path, membership, files, expected):
    write(tmp_path / "proc/self/cgroup", membership)
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    assert read_machine(tmp_path / "proc", tmp_path / "cgroup").memory_bytes == expected


def test_unreadable_files_are_unknown(tmp_path):
    machine = read_machine(tmp_path / "none", tmp_path / "none")
    assert machine == Machine(open_files_soft=machine.open_files_soft, open_files_hard=machine.open_files_hard)
    write(tmp_path / "proc/sys/net/netfilter/nf_conntrack_max", "many\n")
    write(tmp_path / "proc/sys/net/ipv4/ip_local_port_range", "1 x\n")
    write(tmp_path / "proc/self/status", "CapEff:\tzz\n")
    write(tmp_path / "proc/meminfo", "MemAvailable:\n")
    machine = read_machine(tmp_path / "proc", tmp_path / "none")
    assert (machine.conntrack_max, machine.local_ports, machine.has_net_raw, machine.memory_bytes) == (None,) * 4


_SEEN = """
import json
from scanner.net.ceiling import Ceiling, apply, read_machine
before = read_machine()
holds = apply(Ceiling(in_flight=1, rate=0, raise_nofile_to={wanted}))
after = read_machine()
print(json.dumps([before.open_files_soft, before.open_files_hard, holds, after.open_files_soft, after.open_files_hard]))
"""


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (400, 400),
        (None, 300),
        (200, 300),  # never lowered
    ],
)
def test_open_files_are_read_and_raised_as_the_shell_limits_them(wanted, holds):
    """The shell sets the limits and says afterwards what they were: in a child process, this one keeps its own."""
    script = f"ulimit -Sn 300; ulimit -Hn 500; '{sys.executable}' -c '{_SEEN.format(wanted=wanted)}'; ulimit -Hn"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    seen, hard = done.stdout.splitlines()
    assert json.loads(seen) == [300, int(hard), holds, holds, 500]


def test_what_can_not_be_raised_stays():
    script = f"ulimit -Sn 300; ulimit -Hn 500; '{sys.executable}' -c '{_SEEN.format(wanted=10**18)}'"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [300, 500, 300, 300, 500]
