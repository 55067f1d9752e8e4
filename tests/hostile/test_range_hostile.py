"""The hostile peers through the path that ranges take: each as a range of one address, never a wrong verdict."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scanner.model.evidence import State
from scanner.model.versions import ALL_VERSIONS
from tests.hostile.peers import CLOSING, PEERS, RESETTING, balancer_peers, random_failure_peers
from tests.hostile.runner import running

PROGRAM = Path(sys.executable).with_name("entra-tls")
TIMEOUT_S = 1.0
HOST_DEADLINE_S = 25.0
SLACK_S = 60.0
"""What a busy machine, the program's start and the way to a connection may add."""
ENDED = {0, 1, 3}
NOISY_SEEDS = range(304, 305)
"""Few: hosts of one network that keep failing are asked ever more slowly."""
BALANCER_SEEDS = range(300, 350)
GROUPS = {
    "all": list(PEERS),
    "noisy": [*random_failure_peers(NOISY_SEEDS, RESETTING), *random_failure_peers(NOISY_SEEDS, CLOSING)],
    "balancers": list(balancer_peers(BALANCER_SEEDS)),
}

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module", params=GROUPS)
def done(request, tmp_path_factory):
    """The peers' states by name, and the verdicts by name and version; no verdicts where nothing was found."""
    home = tmp_path_factory.mktemp("range")
    with running(GROUPS[request.param]) as states:
        targets = home / "targets.txt"
        targets.write_text("[ranges]\n" + "".join(f"{range_line(state)}\n" for state in states.values()))
        command = [PROGRAM, "scan", "--file", targets, "--json", home / "scan.json", "--quiet", "--confirm", "none"]
        command += ["--timeout", str(TIMEOUT_S), "--host-deadline", str(HOST_DEADLINE_S)]
        began_at = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home, timeout=150)
        elapsed_s = time.monotonic() - began_at
    assert ended.returncode in ENDED, ended.stderr
    assert elapsed_s < HOST_DEADLINE_S + SLACK_S
    report = json.loads((home / "scan.json").read_text())
    found = {
        (endpoint["address"], endpoint["port"]): {
            verdict["version"]: State(verdict["state"]) for verdict in endpoint["verdicts"]
        }
        for host in report["hosts"]
        for endpoint in host["endpoints"]
    }
    return dict(states), {name: found.get((state.address, state.port), {}) for name, state in states.items()}


def range_line(state):
    prefix = 128 if ":" in state.address else 32
    block = f"[{state.address}/{prefix}]" if prefix == 128 else f"{state.address}/{prefix}"
    name = f" sni={state.peer.server_name}" if state.peer.server_name is not None else ""
    return f"{block}:{state.port}{name}"


def test_no_verdict_is_wrong(done):
    """An address of a range where nothing was found has no row: that says no more than unknown."""
    states, verdicts = done
    wrong = []
    for name, state in states.items():
        for version in ALL_VERSIONS:
            found = verdicts[name].get(version.label, State.UNKNOWN)
            if found not in state.peer.truth[version]:
                wrong.append(f"{name} {version.label} is called {found}, allowed: {sorted(state.peer.truth[version])}")
    assert wrong == []


def test_honest_peers_get_at_most_12_connections(done):
    states, _ = done
    counts = {name: state.connection_count for name, state in states.items() if state.peer.is_ordinary}
    assert {name: count for name, count in counts.items() if count > 12} == {}


def test_most_of_what_can_be_found_is_found(done):
    """Unknown is honest, but a scanner that says nothing else would be of no use."""
    states, verdicts = done
    hoped = [
        (name, version)
        for name, state in states.items()
        for version, ideal in state.peer.ideal.items()
        if ideal is State.ENABLED
    ]
    missed = [(name, v.label) for name, v in hoped if verdicts[name].get(v.label) is not State.ENABLED]
    assert len(hoped) > 50
    assert len(missed) <= 0.2 * len(hoped), missed
