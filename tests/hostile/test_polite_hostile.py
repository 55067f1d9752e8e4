"""The polite order against the hostile peers: it asks in another order, and is never wrong either."""

import asyncio
import time

import pytest

from scanner.model.evidence import State
from scanner.model.versions import TlsVersion
from scanner.options import Confirm, ScanOptions
from tests.hostile import wire
from tests.hostile.peers import CLOSING, PEERS, RESETTING, balancer_peers, random_failure_peers
from tests.hostile.runner import running
from tests.hostile.test_scan_hostile import Scan, target_of, wrong_verdicts
from tests.scanning import scan_targets

pytestmark = pytest.mark.timeout(240)

SEEDS = range(400, 402)
"""Few failing peers: hosts of one network that keep failing are asked ever more slowly."""
BALANCER_SEEDS = range(400, 480)
GROUPS = {
    "all": list(PEERS),
    "noisy": [*random_failure_peers(SEEDS, RESETTING), *random_failure_peers(SEEDS, CLOSING)],
    "balancers": list(balancer_peers(BALANCER_SEEDS)),
}


def scan(peers):
    options = ScanOptions(confirm=Confirm.NONE, timeout_s=1.0, host_deadline_s=20.0, walks_down=True)
    with running(peers) as states:
        targets = {name: target_of(state) for name, state in states.items()}
        begin = time.monotonic()
        result = asyncio.run(scan_targets(list(targets.values()), options))
        elapsed_s = time.monotonic() - begin
    by_text = {host.target.text: host for host in result.hosts}
    return Scan(dict(states), {name: by_text[target.text] for name, target in targets.items()}, elapsed_s)


@pytest.fixture(scope="module", params=GROUPS)
def done(request):
    return scan(GROUPS[request.param])


def test_no_verdict_is_wrong(done):
    wrong = wrong_verdicts(done)
    assert not wrong, "\n".join(wrong)


def test_most_of_what_can_be_found_is_found(done):
    hoped = [
        (name, version)
        for name, state in done.states.items()
        for version, ideal in state.peer.ideal.items()
        if ideal is State.ENABLED
    ]
    missed = [(name, version.label) for name, version in hoped if done.found(name)[version] is not State.ENABLED]
    assert len(hoped) > 50
    assert len(missed) < 0.2 * len(hoped), missed


def test_honest_peers_get_at_most_12_connections(done):
    counts = {name: state.connection_count for name, state in done.states.items() if state.peer.is_ordinary}
    assert {name: count for name, count in counts.items() if count > 12} == {}


def test_order_seen_by_a_modern_peer():
    """By the peer's own parser: nothing is left out, and SSL 3.0 comes before the version that serves as control."""
    (peer,) = [each for each in PEERS if each.name == "honest-12-13"]
    done = scan([peer])
    asked = [TlsVersion(wire.decode_hello(data).asked).label for data in done.states["honest-12-13"].hellos]
    assert asked[:2] == ["TLS1.3", "SSL3"]
    assert set(asked) == {version.label for version in TlsVersion}
