"""How the lab's own servers are built and shared; whether they tell the truth is test_truth.py's question."""

import sys

import pytest

from scanner.model.versions import TlsVersion
from tests.lab.model import LabError
from tests.lab.other_stacks import OTHER_STACKS
from tests.lab.stacks import build
from tests.lab.stacks.factories import TlsLite, gnutls_priority

ECHO = """
import os, sys
for line in sys.stdin:
    print(os.getpid(), line.strip(), flush=True)
    if line == "b\\n":
        break
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    directory = tmp_path / "cache"
    monkeypatch.setattr(build, "CACHE", directory)
    return directory


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "server.txt"
    path.write_text("one")
    return path


def test_build_is_done_once(cache, source, tmp_path):
    log = tmp_path / "log"
    command = ["sh", "-c", f"cp '{source}' made; echo built >> '{log}'"]
    first = build._build((source,), command)
    assert (first / "made").read_text() == "one"
    assert build._build((source,), command) == first
    assert log.read_text() == "built\n"
    assert [path.name for path in cache.iterdir()] == [first.name]


@pytest.mark.parametrize("what", ["source", "command"])
def test_build_is_repeated_after_a_change(cache, source, what):
    first = build._build((source,), ["cp", source, "made"])
    target = "other" if what == "command" else "made"
    if what == "source":
        source.write_text("two")
    second = build._build((source,), ["cp", source, target])
    assert second != first
    assert (second / target).read_text() == source.read_text()


def test_failed_build_says_why_and_leaves_nothing(cache, source):
    with pytest.raises(LabError, match="no such thing"):
        build._build((source,), ["sh", "-c", "echo no such thing >&2; exit 3"])
    assert list(cache.iterdir()) == []


def test_one_lab_shares_a_process_and_two_do_not(tmp_path):
    homes = [tmp_path / lab / name for lab in ("lab1", "lab2") for name in ("a", "b")]
    for home in homes:
        home.mkdir(parents=True)
    command = [sys.executable, "-c", ECHO]
    processes = [build.share(command, home.name, workdir=home) for home in homes]
    try:
        first, second, other, _ = processes
        assert first is second
        assert other.popen.pid != first.popen.pid
        assert first.popen.wait(20) == 0
        pid = first.popen.pid
        assert first.log.read_text() == f"{pid} a\n{pid} b\n"
        with pytest.raises(LabError, match=f"{pid} b"):
            first.ask("c")
        # One that has ended is started anew.
        assert build.share(command, "d", workdir=homes[0]).popen.pid != pid
    finally:
        # Only this test's: the session's lab may be running, and others need it.
        own = [process for (home, _), process in build._shared.items() if home.parent == tmp_path]
        for process in [*processes, *own]:
            process.stop()


def test_versions_with_a_hole_are_no_range():
    factory = TlsLite(name="x", enabled=frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_2}))
    with pytest.raises(ValueError, match="hole"):
        _ = factory.config


def test_gnutls_priority_names_newest_version_first():
    # GnuTLS takes the order for a preference (its manual, "Priority strings").
    versions = frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_2})
    assert gnutls_priority(versions, "NORMAL:%COMPAT") == "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.0:%COMPAT"


def test_every_listener_says_what_is_odd_about_it():
    assert [factory.name for factory in OTHER_STACKS if not factory.notes] == []
