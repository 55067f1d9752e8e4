"""The way to Entra's registration endpoints through a real Squid that bumps, splices, or treats their names apart.

The names are Microsoft's, since the verdict depends on them; nothing of Microsoft's is contacted. All of it happens in
a network namespace without a way out: the resolver is the test's own, Squid has a hosts file, and the origin that
stands for the endpoints is on loopback with a certificate of a test authority. Packets to a DNS port are counted: none
is ours, and Squid's own go to a port of loopback where nobody listens.
"""

import asyncio
import contextlib
import json
import subprocess
from dataclasses import replace

import pytest

from scanner.app import scan_plan
from scanner.judge import judge_record
from scanner.model.checks import CheckState
from scanner.model.outbound import PathKind
from scanner.model.subjects import Role, Target, Upgrade
from scanner.model.versions import TlsVersion
from scanner.options import Confirm, ScanOptions
from scanner.policy import read_policy
from scanner.sweep.plan import TargetPlan
from scanner.sweep.space import Space
from tests.net.namespaces import PEERS, namespace_pair
from tests.proxies import PROXIES, missing
from tests.proxies.certs import make_proxy_certificates
from tests.proxies.origin import open_origin
from tests.proxies.test_networks import LISTENER_PORT, PORT, proxy_at
from tests.scripted_peers import Names

pytestmark = [
    pytest.mark.lab,
    pytest.mark.networks,
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
    # tlslite-ng imports it where Python still has it.
    pytest.mark.filterwarnings("ignore:The asyncore module is deprecated:DeprecationWarning"),
]

DEVICE, DRS = "device.login.microsoftonline.com", "enterpriseregistration.windows.net"
PROXY = PEERS[4]
SQUIDS = {kind.name: kind for kind in PROXIES if kind.name.startswith("squid-") and not missing(kind)}
GUARD = """table inet guard {
    counter dns { }
    counter away { }
    chain out {
        type filter hook output priority 0
        udp dport 53 meta skuid != proxy counter name dns
        tcp dport 53 meta skuid != proxy counter name dns
        ip daddr != { 127.0.0.0/8, 198.18.0.0/15 } counter name away drop
        ip6 daddr != { ::1, fe80::/10, ff00::/8, 2001:db8::/32 } counter name away drop
    }
}
"""


@pytest.fixture(scope="module")
def end():
    """A namespace with loopback and a link to nowhere; fails where anything wanted to leave it, or we asked for DNS."""
    with namespace_pair("entra") as (_, end):
        end.nft(GUARD)
        yield end
        listing = subprocess.run(
            ("ip", "netns", "exec", end._name, "nft", "-j", "list", "counters"),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        counts = {
            item["counter"]["name"]: item["counter"]["packets"]
            for item in json.loads(listing.stdout)["nftables"]
            if "counter" in item
        }
        assert counts == {"dns": 0, "away": 0}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_proxy_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def origin(end, certificates):
    """Stands for both endpoints."""
    with contextlib.ExitStack() as stack:
        opened = open_origin(certificates, TlsVersion.TLS1_2, TlsVersion.TLS1_3)
        yield end.call(stack.enter_context, opened)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """What Squid resolves by."""
    path = tmp_path_factory.mktemp("hosts") / "hosts"
    path.write_text(f"127.0.0.1 {DEVICE} {DRS}\n")
    for folder in (path.parent, *path.parent.parents[:2]):
        folder.chmod(0o755)
    path.chmod(0o644)
    return path


def scan(end, kind, origin, *, names, policy="entra-drs", listener=""):
    """Return (host of the proxy, its findings, names that were resolved)."""
    proxy = Target(text="proxy", host=PROXY, role=Role.PROXY, ports=(PORT,), proxy=Upgrade.HTTP_CONNECT)
    endpoints = tuple(Target(text=name, host=name, role=Role.ENDPOINT, ports=(origin.port,)) for name in (DEVICE, DRS))
    options = ScanOptions(
        timeout_s=5,
        host_deadline_s=60,
        rate=0,
        per_network=0,
        confirm=Confirm.NONE,
        processes=1,
        does_recognise=False,
        listener=listener,
    )
    resolver = Names(names)
    records = {}

    async def run():
        plan = TargetPlan(named=(proxy, *endpoints), space=Space(()))
        with await scan_plan(plan, options, resolver=resolver, on_record=records.__setitem__) as results:
            return results._run

    begun = end.run(run, timeout_s=150)
    host, findings = judge_record(begun, records[0], read_policy(policy))
    assert {name for name, _ in resolver.asked} <= {DEVICE, DRS}
    assert host.target.role is Role.PROXY, kind
    return host, findings


def severities(findings):
    return {finding.rule_id: finding.severity.value for finding in findings if finding.rule_id.startswith("path-")}


def squid(name, hosts):
    # The later of two hosts files is the one that Squid reads.
    return replace(SQUIDS[name], config=f"{SQUIDS[name].config}\nhosts_file {hosts}")


KNOWN = {DEVICE: ["127.0.0.1"], DRS: ["127.0.0.1"]}


@pytest.mark.parametrize("names", [KNOWN, {}], ids=["with-a-direct-way", "without"])
def test_a_squid_that_bumps_intercepts_both(end, certificates, origin, hosts, names):
    kind = squid("squid-peek-bump", hosts)
    before = len(origin.completed)
    with proxy_at(end, kind, certificates, allowed_ports=(origin.port,)):
        host, findings = scan(end, kind, origin, names=names)
        strict = scan(end, kind, origin, names=names, policy="strict")[1]
    assert len(origin.completed) > before
    assert {path.server_name: path.kind for path in host.paths} == dict.fromkeys(KNOWN, PathKind.RE_ENCRYPTS)
    for path in host.paths:
        (issuer,) = {certificate.issuer for certificate in path.certificates}
        assert "Lab interception" in issuer  # tests/proxies/certs.py
        assert {certificate.issuer for certificate in path.direct_certificates} == (
            {certificate.issuer for certificate in path.direct_certificates if "Lab origins" in certificate.issuer}
        )
        assert bool(path.direct_certificates) is bool(names)
        assert "Lab interception" in path.reason
    assert severities(findings) == {
        "path-intercepted-client-certificate": "failure",
        "path-intercepted": "warning",
    }
    assert severities(strict) == {"path-intercepted-client-certificate": "failure", "path-intercepted": "failure"}
    (client,) = [check for check in host.checks if check.id == "path-intercepted-client-certificate"]
    assert DEVICE in client.detail
    assert DRS not in client.detail
    assert host.readiness.value == "not-ready"


def test_a_squid_that_splices_intercepts_nothing(end, certificates, origin, hosts):
    kind = squid("squid-peek-splice", hosts)
    before = len(origin.completed)
    with proxy_at(end, kind, certificates, allowed_ports=(origin.port,)):
        host, findings = scan(end, kind, origin, names=KNOWN)
    assert len(origin.completed) > before
    assert {path.server_name: path.kind for path in host.paths} == dict.fromkeys(KNOWN, PathKind.TUNNEL)
    assert findings == ()
    assert {check.state for check in host.checks} == {CheckState.NO}
    for path in host.paths:
        assert {one.sha256 for one in path.certificates} == {one.sha256 for one in path.direct_certificates}
    assert host.readiness.value == "ready"


def test_names_that_are_exempt_pass_while_the_rest_is_bumped(end, certificates, origin, hosts):
    """What our listener sees speaks for other names: for these it is their own way that counts."""
    kind = squid("squid-splice-entra-bump-rest", hosts)
    with proxy_at(end, kind, certificates, allowed_ports=(origin.port, LISTENER_PORT)):
        host, findings = scan(end, kind, origin, names=KNOWN, listener=f"{PROXY}:{LISTENER_PORT}")
    kinds = {path.server_name: path.kind for path in host.paths}
    assert {name: kinds[name] for name in KNOWN} == dict.fromkeys(KNOWN, PathKind.TUNNEL)
    assert [path.kind for path in host.paths if path.is_listener] == [PathKind.RE_ENCRYPTS]
    assert severities(findings) == {}


def test_a_way_that_squid_does_not_open_is_blocked(end, certificates, origin, hosts):
    kind = squid("squid-tunnel", hosts)
    with proxy_at(end, kind, certificates, allowed_ports=(LISTENER_PORT,)):
        host, findings = scan(end, kind, origin, names=KNOWN)
    assert {path.server_name: path.kind for path in host.paths} == dict.fromkeys(KNOWN, PathKind.BLOCKED)
    assert all("403" in path.reason for path in host.paths)
    assert severities(findings) == {"path-blocked": "warning"}


def test_there_is_no_way_out(end):
    """An address of nobody's (RFC 5737) can't be reached from there, so no public one can."""

    async def leave():
        await asyncio.open_connection("192.0.2.1", 443)

    with pytest.raises(OSError, match="unreachable"):
        end.run(leave)
