"""The polite order against every server of the lab, and against every hole that a stack can be given.

What is expected is each server's own configuration, which independent clients confirm (test_truth.py, and here for the
listeners with holes). A server with a hole may refuse a version in words although it has a lower one: the reason why no
version is called off for what another one was answered.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scanner.model.evidence import State
from scanner.model.exchange import HelloVariant
from scanner.model.subjects import Role, Target
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.options import Confirm, ScanOptions
from tests.lab.clients import CLIENTS
from tests.lab.holes import HOLES
from tests.lab.model import start_lab
from tests.lab.test_behaviours import alert_of, ask, hello_for
from tests.lab.test_scan_lab import MAY_BE_UNKNOWN, MOST_CONNECTIONS, MOST_CONNECTIONS_AT_ALL, ORDINARY
from tests.lab.truth import gather
from tests.scanning import scan_targets

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(240),
    # tlslite-ng imports it where Python still has it.
    pytest.mark.filterwarnings("ignore:The asyncore module is deprecated:DeprecationWarning"),
]

PROGRAM = Path(sys.executable).with_name("entra-tls")
MODERN = frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3})


@pytest.fixture(scope="module")
def holes(tmp_path_factory, lab_certificates):
    """Every listener with a hole that this machine can start, running."""
    home = tmp_path_factory.mktemp("holes")
    for path in (home, *home.parents[:2]):
        path.chmod(0o755)
    present = [factory for factory in HOLES if all(need.is_met() for need in factory.requires)]
    with start_lab(present, home, lab_certificates) as servers:
        yield servers


@pytest.fixture(scope="module")
def servers(lab, holes):
    return [*lab, *holes]


def scan(servers, **more):
    targets = [
        Target(text=each.name, host=each.address, role=Role.SERVER, ports=(each.port,), server_name=each.server_name)
        for each in servers
    ]
    # A busy machine must not look like silent servers.
    options = ScanOptions(confirm=Confirm.NONE, walks_down=True, timeout_s=15, per_address=1000, rate=0, **more)
    return {host.target.text: host for host in asyncio.run(scan_targets(targets, options)).hosts}


@pytest.fixture(scope="module", params=["epoll", "asyncio"])
def hosts(request, servers):
    return scan(servers, net=request.param)


def test_clients_confirm_every_hole(holes, lab_certificates):
    """A version that is on is completed by one client; one in the hole by none, though one tried that can speak it."""
    clients = [client for client in CLIENTS if all(need.is_met() for need in client.requires)]
    truth = gather(holes, clients, lab_certificates)
    for server in holes:
        for version in ALL_VERSIONS:
            confirming = truth.confirming(server.name, version)
            assert bool(confirming) is (version in server.enabled), (
                f"{server.name} {version.label}: {confirming}\n{truth.words(server.name, version)}"
            )
        for version in from_lowest_to_highest(server.enabled) - server.enabled:
            assert truth.able(server.name, version), (server.name, version.label)


def from_lowest_to_highest(versions):
    return {version for version in ALL_VERSIONS if min(versions) < version < max(versions)}


def test_not_one_verdict_is_wrong(hosts, servers, record_for_summary):
    wrong, states = [], Counter()
    for server in servers:
        for verdict in hosts[server.name].verdicts:
            states[verdict.state.value] += 1
            expected = State.ENABLED if verdict.version in server.enabled else State.DISABLED
            if verdict.state not in {expected, State.UNKNOWN}:
                wrong.append(f"{server.name} ({server.stack}) {verdict.version.label}: {verdict.reason}")
    assert wrong == []
    assert states.total() == 6 * len(servers)
    counts = Counter(hosts[server.name].endpoints[0].connection_count for server in servers)
    record_for_summary(f"polite: {len(servers)} servers, {dict(states)}, connections a host {sorted(counts.items())}")


def test_nothing_is_left_open_but_what_has_a_reason(hosts, servers):
    unknown = {
        (server.name, verdict.version)
        for server in servers
        for verdict in hosts[server.name].verdicts
        if verdict.state is State.UNKNOWN
    }
    assert unknown - MAY_BE_UNKNOWN.keys() == set()


def test_connections(hosts, servers):
    counts = {server: hosts[server.name].endpoints[0].connection_count for server in servers}
    modern = {server.name: counts[server] for server in servers if is_modern_openssl(server)}
    assert len(modern) >= 6
    # haproxy-strict-sni refuses the SSLv3 hello that carries no name.
    assert {name: count for name, count in modern.items() if count > 7} == {"haproxy-strict-sni": 9}
    ordinary = {server.name: counts[server] for server in servers if server.stack.startswith(ORDINARY)}
    assert {name: count for name, count in ordinary.items() if count > min(9, MOST_CONNECTIONS)} == {}
    assert max(counts.values()) <= MOST_CONNECTIONS_AT_ALL


def is_modern_openssl(server):
    return server.stack.startswith(ORDINARY) and server.enabled == MODERN


@pytest.mark.parametrize("name", ["gnutls-hole-10-12", "gnutls-hole-10-12-13", "botan-hole-10-12"])
def test_refused_in_words_above_an_enabled_version(lab, hosts, name):
    """The servers for whose sake a refusal of TLS 1.1 says nothing about TLS 1.0."""
    (server,) = [each for each in lab if each.name == name]
    assert TlsVersion.TLS1_0 in server.enabled
    assert alert_of(ask(server, hello_for(TlsVersion.TLS1_1, HelloVariant.BROAD)))[2] == 70
    (verdict,) = [each for each in hosts[name].verdicts if each.version is TlsVersion.TLS1_0]
    assert verdict.state is State.ENABLED


def test_range_by_the_program(lab, tmp_path):
    """The lane asks by the same plan: as many connections as the polite order needs, and the same words."""
    (server,) = [each for each in lab if each.name == "nginx-12-13"]
    (one,) = scan([server]).values()
    command = [
        PROGRAM,
        "scan",
        f"{server.address}/32:{server.port}",
        "--polite",
        "--confirm",
        "none",
        "--timeout",
        "15",
    ]
    command += ["--json", tmp_path / "scan.json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode in {0, 1}, done.stderr
    (host,) = json.loads((tmp_path / "scan.json").read_text())["hosts"]
    (endpoint,) = host["endpoints"]
    assert {each["version"]: each["state"] for each in endpoint["verdicts"]} == {
        version.label: "enabled" if version in server.enabled else "disabled" for version in ALL_VERSIONS
    }
    assert endpoint["connections"] == one.endpoints[0].connection_count == 7
