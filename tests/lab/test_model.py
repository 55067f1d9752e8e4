"""The lab itself: a server that does not come up is reported with its words, and nothing is left running."""

import dataclasses
import os
import socket
import subprocess
import sys
import time

import pytest

from scanner.model.versions import ALL_VERSIONS
from tests.lab import FACTORIES, model
from tests.lab.model import TLS1_2, ClientNeeds, LabError, LabServer, _claim_ports, spawn, start_lab
from tests.lab.requirements import REPOSITORY

pytestmark = pytest.mark.lab

_ACCEPT = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
time.sleep(60)
"""
# Its child, not itself, listens: ending the leader alone would leave the port taken.
_ACCEPT_IN_CHILD = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[3:], *sys.argv[1:3]])"
_FAIL = "import sys; sys.exit('no such option')"
_DEAF = "import time; print('thinking', flush=True); time.sleep(60)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Script:
    name: str
    program: str
    more: tuple[str, ...] = ()
    start_s: float = 5.0
    stack: str = "Python"
    enabled: frozenset = frozenset({TLS1_2})
    server_name: str | None = None
    notes: str = ""
    config: str = ""
    verify: ClientNeeds = dataclasses.field(default_factory=ClientNeeds)
    requires: tuple = ()

    def start(self, *, workdir, address, port, certificates):  # noqa: ARG002 - as the protocol has it
        return spawn([sys.executable, "-c", self.program, address, str(port), *self.more], workdir=workdir)


def _is_listening(server):
    try:
        with socket.create_connection((server.address, server.port), timeout=1):
            return True
    except ConnectionRefusedError:
        return False


def _until(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_servers_run_inside_and_are_gone_after(tmp_path):
    child = tmp_path / "child.py"
    child.write_text(_ACCEPT)
    factories = [
        _Script(name="plain", program=_ACCEPT),
        _Script(name="with-child", program=_ACCEPT_IN_CHILD, more=(str(child),)),
    ]
    with start_lab(factories, tmp_path / "lab", None) as servers:
        assert [server.name for server in servers] == ["plain", "with-child"]
        assert all(_is_listening(server) for server in servers)
    assert _until(lambda: not any(_is_listening(server) for server in servers))


def test_two_labs_at_once_never_share_a_block_of_ports():
    with _claim_ports(5, "127.0.0.1") as one, _claim_ports(5, "127.0.0.1") as other:
        assert len(one) == len(other) == 5
        assert {port // 400 for port in one}.isdisjoint({port // 400 for port in other})


def test_ports_in_use_are_left_out():
    with _claim_ports(5, "127.0.0.1") as ports:
        block = (ports[0] - 1, *ports)
    with socket.create_server(("127.0.0.1", block[2])), pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_FIRST_PORT", block[0])
        patch.setattr(model, "_LAST_PORT", block[0] + 1)
        with _claim_ports(5, "127.0.0.1") as ports:
            assert block[2] not in ports


def test_server_that_ends_is_reported_with_its_log_and_the_others_stop(tmp_path):
    factories = [_Script(name="plain", program=_ACCEPT), _Script(name="broken", program=_FAIL)]
    with (
        pytest.raises(LabError, match=r"broken ended with 1:\n.*no such option"),
        start_lab(factories, tmp_path, None),
    ):
        pytest.fail("the lab is not complete")
    started = [path for path in (tmp_path / "plain").iterdir() if path.name == "server.log"]
    assert started
    assert _until(lambda: not _processes_in(tmp_path))


def test_server_that_never_listens_is_reported_in_bounded_time(tmp_path):
    before = time.monotonic()
    factories = [_Script(name="deaf", program=_DEAF, start_s=0.5)]
    with pytest.raises(LabError, match=r"deaf does not accept on .*:\nthinking"), start_lab(factories, tmp_path, None):
        pytest.fail("it accepts nothing")
    assert time.monotonic() - before < 5
    assert _until(lambda: not _processes_in(tmp_path))


_RUN = """
import sys, time
from pathlib import Path
from tests.lab.model import start_lab
from tests.lab.test_model import _ACCEPT_IN_CHILD, _Script
factory = _Script(name="with-child", program=_ACCEPT_IN_CHILD, more=(sys.argv[1],))
with start_lab([factory], Path(sys.argv[2]), None):
    print("up", flush=True)
    time.sleep(60)
"""


def test_servers_of_a_killed_run_end_too(tmp_path):
    child = tmp_path / "child.py"
    child.write_text(_ACCEPT)
    home = tmp_path / "lab"
    command = [sys.executable, "-c", _RUN, child, home]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"up\n"
        assert len(_processes_in(home)) == 2
        run.kill()
    assert _until(lambda: not _processes_in(home))


def _processes_in(directory):
    """Return the processes whose working directory lies below this one."""
    found = []
    for process in os.listdir("/proc"):  # noqa: PTH208 - names, most of them gone a moment later
        if process.isdigit():
            try:
                home = os.readlink(f"/proc/{process}/cwd")  # noqa: PTH115 - the same
            except OSError:
                continue
            if home.startswith(f"{directory}/"):
                found.append(process)
    return found


def test_disabled_is_every_version_that_is_not_enabled():
    server = LabServer(name="x", stack="y", port=1, enabled=frozenset({TLS1_2}), config="")
    assert server.disabled == frozenset(ALL_VERSIONS) - {TLS1_2}


@pytest.mark.parametrize("factory", [pytest.param(factory, id=factory.name) for factory in FACTORIES])
def test_factory_says_what_it_is(factory):
    assert factory.enabled <= frozenset(ALL_VERSIONS)
    assert factory.enabled
    assert factory.config.strip(), "the configuration is where the truth comes from"
    assert factory.stack
    assert 0 < factory.start_s <= 30


def test_names_are_unique():
    names = [factory.name for factory in FACTORIES]
    assert len(names) == len(set(names))
