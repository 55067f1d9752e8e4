"""The whole lab through the path that ranges take: each listener as a range of one address, the same truth as ever.

What is expected is each server's own configuration, as in test_scan_lab.py, which asks the same servers by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scanner.model.versions import ALL_VERSIONS
from tests.lab.test_scan_lab import MAY_BE_UNKNOWN

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

PROGRAM = Path(sys.executable).with_name("entra-tls")
RUNS = (
    ("--confirm", "none"),
    ("--confirm", "all"),
    ("--confirm", "none", "--net", "asyncio"),
    ("--confirm", "none", "--per-address", "4", "--rate", "1000"),
)
SCAN_S = 200.0
ENDED = {0, 1, 3}


@pytest.fixture(scope="module", params=RUNS, ids=["-".join(words).replace("--", "") for words in RUNS])
def verdicts(request, lab, tmp_path_factory):
    """Each server's verdicts: name -> version label -> state."""
    home = tmp_path_factory.mktemp("range")
    targets = home / "targets.txt"
    targets.write_text("[ranges]\n" + "".join(f"{range_line(server)}\n" for server in lab))
    # A busy machine must not look like silent servers.
    command = [PROGRAM, "scan", "--file", targets, "--json", home / "scan.json", "--timeout", "15", "--quiet"]
    done = subprocess.run(
        [*command, *request.param], capture_output=True, text=True, check=False, cwd=home, timeout=SCAN_S
    )
    assert done.returncode in ENDED, done.stderr
    report = json.loads((home / "scan.json").read_text())
    assert report["run"]["is_complete"]
    assert report["summary"]["no_listener"] == {}
    endpoints = [endpoint for host in report["hosts"] for endpoint in host["endpoints"]]
    assert len(endpoints) == len(lab)
    found = {(each["address"], each["port"]): each for each in endpoints}
    assert all(found[server.address, server.port]["server_name"] == server.server_name for server in lab)
    return {
        server.name: {
            verdict["version"]: verdict["state"] for verdict in found[server.address, server.port]["verdicts"]
        }
        for server in lab
    }


def range_line(server):
    name = f" sni={server.server_name}" if server.server_name is not None else ""
    return f"{server.address}/32:{server.port}{name}"


def test_not_one_verdict_is_wrong(verdicts, lab):
    wrong = []
    for server in lab:
        assert set(verdicts[server.name]) == {version.label for version in ALL_VERSIONS}
        for version in ALL_VERSIONS:
            expected = "enabled" if version in server.enabled else "disabled"
            state = verdicts[server.name][version.label]
            if state not in {expected, "unknown"}:
                wrong.append(f"{server.name} ({server.stack}) {version.label} is called {state}, but is {expected}")
    assert wrong == []


def test_nothing_is_left_open_that_a_named_target_settles(verdicts, lab):
    unknown = {
        (server.name, version.label)
        for server in lab
        for version in ALL_VERSIONS
        if verdicts[server.name][version.label] == "unknown"
    }
    assert unknown - {(name, version.label) for name, version in MAY_BE_UNKNOWN} == set()
