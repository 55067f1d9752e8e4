"""The demo's servers say in their own configuration which versions they accept; that is what is expected."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading

import pytest

from scanner.demo import ADDRESS, HOSTS, DemoResolver, running_demo
from scanner.model.checks import CheckState
from scanner.model.evidence import State
from scanner.model.runs import Resolution
from scanner.model.subjects import Role
from scanner.model.verdicts import Readiness
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.options import Confirm, ScanOptions
from tests.scanning import scan_targets

pytestmark = pytest.mark.timeout(120)

_NUMBERS = {
    ssl.TLSVersion.TLSv1: TlsVersion.TLS1_0,
    ssl.TLSVersion.TLSv1_1: TlsVersion.TLS1_1,
    ssl.TLSVersion.TLSv1_2: TlsVersion.TLS1_2,
    ssl.TLSVersion.TLSv1_3: TlsVersion.TLS1_3,
}
_OPTIONS = {
    ssl.OP_NO_TLSv1: TlsVersion.TLS1_0,
    ssl.OP_NO_TLSv1_1: TlsVersion.TLS1_1,
    ssl.OP_NO_TLSv1_2: TlsVersion.TLS1_2,
    ssl.OP_NO_TLSv1_3: TlsVersion.TLS1_3,
}


def configured(host):
    """Return the versions a demo host's configuration allows."""
    if host.low is None:
        return set()
    low, high = _NUMBERS[host.low], _NUMBERS[host.high]
    off = {version for option, version in _OPTIONS.items() if host.without & option}
    return {version for version in ALL_VERSIONS if low <= version <= high} - off


def scan(targets, confirm=Confirm.ALL):
    options = ScanOptions(timeout_s=1.0, command="demo", confirm=confirm, rate=0)
    return asyncio.run(scan_targets(targets, options, resolver=DemoResolver()))


@pytest.fixture(scope="module")
def result():
    with running_demo() as targets:
        return scan(targets)


def host_named(result, name):
    (found,) = [host for host in result.hosts if host.target.host == name]
    return found


def test_demo_has_five_hosts_and_every_one_is_scanned(result):
    assert [host.target.host for host in result.hosts] == [host.name for host in HOSTS]
    assert len(HOSTS) == 5
    assert result.run.is_complete
    assert result.run.command == "demo"


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_states_are_those_of_the_configuration(result, host):
    found = {verdict.version: verdict.state for verdict in host_named(result, host.name).verdicts}
    if host.low is None:
        assert set(found.values()) == {State.UNKNOWN}
    else:
        assert found == {v: State.ENABLED if v in configured(host) else State.DISABLED for v in ALL_VERSIONS}


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_readiness_follows_from_tls12(result, host):
    """What Entra device registration needs is TLS 1.2 or newer."""
    versions = configured(host)
    expected = Readiness.READY if TlsVersion.TLS1_2 in versions else Readiness.NOT_READY
    assert host_named(result, host.name).readiness is (expected if versions else Readiness.UNKNOWN)


def test_every_version_found_is_confirmed_by_a_handshake(result):
    for host in HOSTS:
        for endpoint in host_named(result, host.name).endpoints:
            assert {h.version for h in endpoint.handshakes if h.is_completed} == configured(host)


def test_lookalike_of_adfs_is_recognised(result):
    (host,) = [host for host in result.hosts if host.target.role is Role.ADFS]
    checks = {check.id: check.state for check in host.checks}
    assert checks["adfs-federation-metadata"] is CheckState.YES


def test_certificates_bear_the_hosts_name(result):
    for host in HOSTS:
        names = {c.names for e in host_named(result, host.name).endpoints for c in e.certificates}
        assert names == ({(host.name,)} if host.low is not None else set())


def test_demo_works_twice_in_one_process_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def held():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count is enough

    before = held()
    ports = []
    for _ in range(2):
        with running_demo() as targets:
            assert list(tmp_path.iterdir()) != []
            ports += [port for each in targets for port in (*each.ports, *each.optional_ports)]
            found = scan(targets, confirm=Confirm.NONE)
            assert found.run.is_complete
        assert held() == before
        assert list(tmp_path.iterdir()) == []
    for port in ports:
        with socket.socket() as sock:
            assert sock.connect_ex((ADDRESS, port)) != 0


def test_demo_ends_while_a_visitor_is_still_there():
    """The silent host holds on to its visitors; leaving must not wait for it."""
    with running_demo() as targets:
        (silent,) = [each for each in targets if each.host == "silent.demo.example"]
        visitor = socket.create_connection((ADDRESS, silent.ports[0]), timeout=5)
    with visitor:
        visitor.settimeout(10)
        assert visitor.recv(1) == b""


def test_failure_inside_is_passed_on_and_the_servers_end():
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="inside"), running_demo():
        raise RuntimeError("inside")
    assert threading.active_count() == before


def test_resolver_knows_the_demos_names_only():
    async def ask(name):
        return await DemoResolver().resolve(name, want_cname=True)

    for host in HOSTS:
        assert asyncio.run(ask(host.name)) == Resolution(addresses=("127.0.0.1",))
    assert asyncio.run(ask("www.example.com")).addresses == ()
