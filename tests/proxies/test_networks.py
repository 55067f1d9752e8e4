"""Real proxies in a network namespace of their own, on a link that loses packets and tears connections down.

The scanner and its listener are at one end, the proxy at the other; every byte between them crosses the link. What is
expected of each proxy is what test_proxies_truth.py holds it to. A bad network may leave things open, and no more.
"""

import asyncio
import contextlib
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest

from scanner.app import scan_plan
from scanner.judge import judge_record
from scanner.model.evidence import State
from scanner.model.outbound import PathKind
from scanner.model.subjects import Direction, Role, Target
from scanner.options import Confirm, ScanOptions
from scanner.policy import read_policy
from scanner.sweep.plan import TargetPlan
from scanner.sweep.space import Space
from tests.lab.model import ServerProcess, _Undertaker
from tests.net.namespaces import DEVICE, OURS, PEERS, namespace_pair
from tests.proxies import PROXIES, missing
from tests.proxies.certs import SERVER_NAME, make_proxy_certificates
from tests.proxies.model import Stage, await_port

pytestmark = [
    pytest.mark.lab,
    pytest.mark.networks,
    pytest.mark.timeout(280),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
    # tlslite-ng imports it where Python still has it.
    pytest.mark.filterwarnings("ignore:The asyncore module is deprecated:DeprecationWarning"),
]

SCANNER, PROXY = OURS[4], PEERS[4]
PORT, LISTENER_PORT = 3_128, 8_443
NAMES = ("squid-tunnel", "squid-peek-bump", "mitmproxy-default", "haproxy-tinyproxy")
KINDS = [kind for kind in PROXIES if kind.name in NAMES and not missing(kind)]
NETWORKS = {
    # Packets lost of 1,000 that arrive, and packets that are answered with a reset instead
    "good": (0, 0),
    "losses": (80, 0),
    "losses-and-resets": (50, 10),
}


@pytest.fixture(scope="module")
def ends():
    with namespace_pair("proxies") as ends:
        yield ends


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_proxy_certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def spoiled(ends, lost, torn):
    """Let each end lose that many of 1,000 packets that come over the link, and reset the connection of so many."""
    rules = f"""table inet bad {{
        chain in {{
            type filter hook input priority 0
            iifname {DEVICE} numgen random mod 1000 < {lost} drop
            iifname {DEVICE} meta l4proto tcp numgen random mod 1000 < {torn} reject with tcp reset
        }}
    }}
    """
    for end in ends:
        end.nft(rules)
    try:
        yield
    finally:
        for end in ends:
            end.nft("delete table inet bad")


@contextlib.contextmanager
def proxy_at(end, kind, certificates, *, allowed_ports=(LISTENER_PORT,)):
    """Start a proxy in the namespace: its processes are born there."""
    workdir = Path(tempfile.mkdtemp(prefix=f"proxy-{kind.name}-"))
    workdir.chmod(0o755)
    stage = Stage(
        workdir=workdir,
        address=PROXY,
        port=PORT,
        spare_ports=(PORT + 1, PORT + 2, PORT + 3),
        certificates=certificates,
        backend=None,
        server_name=SERVER_NAME,
        allowed_ports=allowed_ports,
    )
    parts = []
    with _Undertaker() as undertaker:
        try:
            parts += end.call(kind.start, stage)
            for part in parts:
                if isinstance(part, ServerProcess):
                    undertaker.watch(part)
            end.call(await_port, PROXY, PORT, parts[-1])
            yield
        finally:
            for part in reversed(parts):
                part.stop()
            shutil.rmtree(workdir, ignore_errors=True)


def scan(end, kind):
    target = Target(text=kind.name, host=PROXY, role=Role.PROXY, ports=(PORT,), proxy=kind.upgrade)
    options = ScanOptions(
        timeout_s=5,
        host_deadline_s=60,
        rate=0,
        per_network=0,
        confirm=Confirm.NONE,
        listener=f"{SCANNER}:{LISTENER_PORT}",
        processes=1,
    )
    records = {}

    async def run():
        plan = TargetPlan(named=(target,), space=Space(()))
        with await scan_plan(plan, options, on_record=records.__setitem__) as results:
            return judge_record(results._run, records[0], read_policy(options.policy))[0]

    return end.run(run, timeout_s=240), records[0]


def states(host, direction):
    return {verdict.version: verdict.state for verdict in host.verdicts if verdict.direction is direction}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_nothing_is_wrong_on_any_network(ends, kind, network, certificates, record_for_summary):
    scanner, peer = ends
    lost, torn = NETWORKS[network]
    truth = kind.expected
    with proxy_at(peer, kind, certificates), spoiled(ends, lost, torn):
        began_at = time.monotonic()
        host, record = scan(scanner, kind)
        took_s = time.monotonic() - began_at
    (path,) = host.paths or (None,)
    assert path is not None, "it was not asked"
    known = wrong = count = 0
    sides = [(Direction.OUTBOUND, truth.outbound), (Direction.INBOUND, truth.front or truth.inbound)]
    for direction, expected in sides:
        found = states(host, direction)
        for version, is_on in expected.items():
            if is_on is None:
                # Nobody could tell, so we must not either.
                wrong += found.get(version, State.UNKNOWN) is not State.UNKNOWN and direction is Direction.OUTBOUND
                continue
            count += 1
            state = found.get(version, State.UNKNOWN)
            known += state is not State.UNKNOWN
            wrong += state is (State.DISABLED if is_on else State.ENABLED)
    record_for_summary(
        f"{kind.name} on a network with {lost / 10:g} % loss and {torn / 10:g} % resets: {path.kind.value}, "
        f"{known} of {count} versions known, {wrong} wrong, {len(record.exchanges)} exchanges in {took_s:.0f} s"
    )
    assert wrong == 0, [(v.direction, v.version, v.state, v.reason) for v in host.verdicts]
    assert path.kind in {truth.path, PathKind.UNKNOWN}, path
    if network == "good":
        assert path.kind is truth.path, path
        assert known >= count - 1, [(v.direction, v.version, v.state, v.reason) for v in host.verdicts]


def test_the_link_is_as_bad_as_it_is_said_to_be(ends):
    """The rules bite: else the tests above would say nothing."""
    scanner, peer = ends

    async def meet():
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), SCANNER, LISTENER_PORT)
        async with server:
            await server.start_serving()
            await asyncio.sleep(3)

    def connect():

        outcomes = []
        for _ in range(10):
            try:
                with socket.create_connection((SCANNER, LISTENER_PORT), timeout=0.1):
                    outcomes.append("open")
            except TimeoutError:
                outcomes.append("lost")
            except OSError:
                outcomes.append("reset")
        return set(outcomes)

    for (lost, torn), expected in (((999, 0), {"lost"}), ((0, 999), {"reset"}), ((0, 0), {"open"})):
        with spoiled([scanner], lost, torn):
            serving = scanner._thread.submit(lambda: asyncio.run(meet()))
            time.sleep(0.5)
            assert peer.call(connect) >= expected
            serving.result(timeout=10)
