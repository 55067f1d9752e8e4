"""The scanner against every server of the lab, ten times over: not one wrong word, and little left open.

What is expected is each server's own configuration (LabServer.enabled), which test_truth.py holds against independent
clients.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scanner.model.evidence import State
from scanner.model.runs import HostResult
from scanner.model.subjects import Role, Target
from scanner.model.verdicts import Readiness
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.options import Confirm, ScanOptions
from tests.scanning import scan_targets

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS

MAY_BE_UNKNOWN = {
    ("openssl-psk-13", TLS1_3): "TLS 1.3 by pre-shared key only: no hello without the key's name is ever accepted",
    ("openssl-psk-13", SSL3): "and with nothing accepted, nothing shows that a 40 is about the version",
}
"""Cells that need not be settled, with the reason. Whatever they are called, it must not be wrong."""

MOST_CONNECTIONS = 12
MAY_NEED_MORE = {
    "Node.js 0.8, OpenSSL 1.0.0": "closes without a word on what it refuses: chance must be ruled out",
    "Node.js 0.10, OpenSSL 1.0.1": "the same",
    "Bouncy Castle 1.72 JSSE": "closes without a word on SSLv2 hellos",
    "botan tls_server, Botan 2.19": "closes without a word on SSLv2 hellos",
    "BearSSL 0.6": "resets on SSLv2 hellos",
    "mbed TLS 2.28": "resets on SSLv2 hellos",
    "wolfSSL 5.5": "resets after close_notify, and closes on hellos that are too long for it",
    "H2O 2.2, OpenSSL 3.0": "closes without a word on whatever fails",
    "lighttpd, GnuTLS 3.7": "closes without a word on whatever fails",
    "ngIRCd, GnuTLS 3.7": "warns with close_notify on whatever fails",
}
"""Stacks that refuse so that more than twelve questions are needed to be sure, with the reason."""
MOST_CONNECTIONS_AT_ALL = 50

ORDINARY = (
    "openssl s_server",
    "nginx",
    "HAProxy",
    "Apache httpd",
    "stunnel",
    "lighttpd, OpenSSL",
    "Node.js, OpenSSL 3",
)
"""What most hosts run: twelve connections are enough, always."""

MAY_NOT_COMPLETE = {
    **{
        (
            name,
            version,
        ): "the engine's OpenSSL picks a suite with a key exchange that an SSLv3 hello can't name a group for"
        for name in ("jsse-ssl3", "jsse-hole-ssl3-11", "jsse-ssl2-format")
        for version in (SSL3,)
    },
    ("bouncycastle-ssl3", SSL3): "reads SSLv3's padding as TLS's (see its notes)",
    ("bouncycastle-hole-ssl3-11", SSL3): "the same",
    ("openssl-13-ccm8", TLS1_3): "only CCM_8, which OpenSSL does not offer unless told to",
    ("openssl-13-ffdhe8192", TLS1_3): "only ffdhe8192, which the engine's OpenSSL 1.1 lacks",
    ("node010-des", TLS1_2): "only DES, which OpenSSL 1.1 and newer lack",
    ("node010-export", TLS1_2): "only export suites, which OpenSSL 1.1 and newer lack",
}
"""Handshakes that an ordinary client can't complete either, or not this engine's, with the reason."""


MAKES_ITS_OWN_CERTIFICATE = ("erlang-", "pike-", "node010-export")
"""Begin of the names of servers whose certificate is not one of the lab's."""


@dataclass(frozen=True)
class Settings:
    net: str
    confirm: str
    per_address: int = 1000
    rate: float = 0.0
    concurrency: int = 500

    def __str__(self):
        return f"{self.net}-{self.confirm}-{self.per_address}-{self.rate:g}-{self.concurrency}"


RUNS = (
    Settings("epoll", "all"),
    Settings("epoll", "none"),
    Settings("asyncio", "all"),
    Settings("asyncio", "none"),
    Settings("epoll", "all", per_address=8, rate=1000),
    Settings("asyncio", "none", per_address=8, rate=1000),
    Settings("epoll", "none", concurrency=10),
    Settings("asyncio", "all", concurrency=30),
    Settings("epoll", "all", per_address=30),
    Settings("epoll", "none", rate=500),
)


@pytest.fixture(scope="module", params=RUNS, ids=[f"{at}-{settings}" for at, settings in enumerate(RUNS, 1)])
def run(request, lab) -> tuple[Settings, dict[str, HostResult]]:
    settings = request.param
    targets = [
        Target(
            text=server.name,
            host=server.address,
            role=Role.SERVER,
            ports=(server.port,),
            server_name=server.server_name,
        )
        for server in lab
    ]
    options = ScanOptions(
        confirm=Confirm(settings.confirm),
        net=settings.net,
        per_address=settings.per_address,
        rate=settings.rate,
        concurrency=settings.concurrency,
        # A busy machine must not look like silent servers.
        timeout_s=15,
    )
    result = asyncio.run(scan_targets(targets, options))
    assert result.run.is_complete
    return settings, {host.target.text: host for host in result.hosts}


def test_not_one_verdict_is_wrong(run, lab):
    _, hosts = run
    assert len(hosts) == len(lab)
    wrong = []
    for server in lab:
        for verdict in hosts[server.name].verdicts:
            expected = State.ENABLED if verdict.version in server.enabled else State.DISABLED
            if verdict.state not in {expected, State.UNKNOWN}:
                wrong.append(
                    f"{server.name} ({server.stack}) {verdict.version.label}: {verdict.state} {verdict.reason}"
                )
    assert wrong == []


def test_nothing_is_left_open_but_what_has_a_reason(run, lab):
    _, hosts = run
    unknown = {
        (server.name, verdict.version): verdict.reason
        for server in lab
        for verdict in hosts[server.name].verdicts
        if verdict.state is State.UNKNOWN
    }
    assert {cell: reason for cell, reason in unknown.items() if cell not in MAY_BE_UNKNOWN} == {}


def test_no_verdict_is_disputed(run, lab):
    """Each server of the lab is one server with one configuration."""
    _, hosts = run
    assert [v for server in lab for v in hosts[server.name].verdicts if v.is_disputed] == []


def test_readiness_is_that_of_tls12(run, lab):
    _, hosts = run
    expected = {
        server.name: Readiness.READY if server.enabled & {TLS1_2, TLS1_3} else Readiness.NOT_READY for server in lab
    }
    # AD FS and Entra clients need TLS 1.2; what a policy says of hosts with 1.3 alone is the policy's business.
    only_13 = {server.name for server in lab if TLS1_3 in server.enabled and TLS1_2 not in server.enabled}
    open_ones = {name for name, _ in MAY_BE_UNKNOWN}
    found = {name: host.readiness for name, host in hosts.items()}
    assert {n: r for n, r in found.items() if n not in only_13 | open_ones and r is not expected[n]} == {}


def test_ordinary_servers_get_at_most_twelve_connections(run, lab):
    _, hosts = run
    counts = {server: hosts[server.name].endpoints[0].connection_count for server in lab}
    ordinary = [server for server in lab if server.stack.startswith(ORDINARY)]
    assert not any(server.stack in MAY_NEED_MORE for server in ordinary)
    assert {server.name: counts[server] for server in ordinary if counts[server] > MOST_CONNECTIONS} == {}
    others = [server for server in lab if server.stack not in MAY_NEED_MORE]
    assert {server.name: counts[server] for server in others if counts[server] > MOST_CONNECTIONS} == {}
    assert {server.name: count for server, count in counts.items() if count > MOST_CONNECTIONS_AT_ALL} == {}


def test_handshakes_complete_wherever_an_ordinary_client_can(run, lab):
    settings, hosts = run
    if settings.confirm == "none":
        assert not any(endpoint.handshakes for host in hosts.values() for endpoint in host.endpoints)
        return
    missing = {}
    for server in lab:
        completed = {h.version for h in hosts[server.name].endpoints[0].handshakes if h.is_completed}
        assert completed <= server.enabled, server.name
        for version in server.enabled - completed:
            needs_a_secret = server.verify.psk is not None or server.verify.client_certificate
            if not needs_a_secret and (server.name, version) not in MAY_NOT_COMPLETE:
                errors = [h.error for h in hosts[server.name].endpoints[0].handshakes if h.version is version]
                missing[server.name, version.label] = errors
    assert missing == {}


def test_each_certificate_is_the_servers(run, lab, lab_certificates):
    settings, hosts = run
    if settings.confirm == "none":
        return
    known = _fingerprints(lab_certificates)
    strange = {
        server.name
        for server in lab
        for certificate in hosts[server.name].endpoints[0].certificates
        if certificate.sha256 not in known
    }
    assert {name for name in strange if not name.startswith(MAKES_ITS_OWN_CERTIFICATE)} == set()
    # Where there is a handshake there is a certificate, but for anonymous servers and SSLv2.
    for server in lab:
        endpoint = hosts[server.name].endpoints[0]
        has_completed = any(h.is_completed and h.version is not SSL2 for h in endpoint.handshakes)
        if has_completed and "anonymous" not in server.name:
            assert endpoint.certificates, server.name


def _fingerprints(certificates):
    leaves = (
        certificates.rsa2048,
        certificates.rsa1024,
        certificates.p256,
        certificates.p384,
        certificates.ed25519,
        certificates.dsa1024,
        certificates.big,
    )
    return {
        x509.load_pem_x509_certificate(leaf.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()
        for leaf in leaves
    }


def test_ten_runs_are_ten():
    assert len(RUNS) == len(set(RUNS)) == 10
    assert {(each.net, each.confirm) for each in RUNS} == {
        (n, c) for n in ("epoll", "asyncio") for c in ("all", "none")
    }


def test_lists_of_reasons_name_servers_of_the_lab(lab):
    """An exception that no server needs any more is to be taken out."""
    names = {server.name for server in lab}
    stacks = {server.stack for server in lab}
    listed = {name for name, _ in (*MAY_BE_UNKNOWN, *MAY_NOT_COMPLETE)}
    assert listed <= names
    assert set(MAY_NEED_MORE) <= stacks
    assert all(isinstance(version, TlsVersion) for _, version in MAY_BE_UNKNOWN)
