"""The demo's proxies say in their own configuration what they do to TLS; that is what is expected."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading

import pytest

from scanner.demo import ADDRESS, DemoResolver
from scanner.demo_proxies import PROXIES, free_port, running_demo_proxies
from scanner.model.evidence import State
from scanner.model.outbound import PathKind
from scanner.model.subjects import Direction, Role, Upgrade
from scanner.model.verdicts import Readiness
from scanner.model.versions import TlsVersion
from scanner.options import ScanOptions
from tests.scanning import scan_targets

pytestmark = pytest.mark.timeout(120)

TUNNEL, INSPECTING = PROXIES


@pytest.fixture(scope="module")
def hosts():
    with running_demo_proxies() as targets:
        options = ScanOptions(timeout_s=2.0, rate=0, command="demo", listener=f"{ADDRESS}:{free_port()}")
        result = asyncio.run(scan_targets(targets, options, resolver=DemoResolver()))
    return {host.target.host: host for host in result.hosts}


def outbound(host):
    return {item.version: item.state for item in host.verdicts if item.direction is Direction.OUTBOUND}


def test_the_tunnel_is_one_and_its_clients_decide(hosts):
    host = hosts[TUNNEL.name]
    assert [path.kind for path in host.paths] == [PathKind.TUNNEL]
    assert host.readiness is Readiness.READY
    assert set(outbound(host).values()) == {State.UNKNOWN}


def test_the_inspecting_one_re_encrypts_up_to_what_its_context_allows(hosts):
    host = hosts[INSPECTING.name]
    assert INSPECTING.high is ssl.TLSVersion.TLSv1_1
    assert [path.kind for path in host.paths] == [PathKind.RE_ENCRYPTS]
    assert host.readiness is Readiness.NOT_READY
    found = outbound(host)
    enabled = {version for version, state in found.items() if state is State.ENABLED}
    assert enabled == {TlsVersion.TLS1_0, TlsVersion.TLS1_1}
    assert found[TlsVersion.TLS1_2] is found[TlsVersion.TLS1_3] is State.DISABLED


def test_targets_are_plain_proxies_on_loopback():
    before = threading.active_count()
    with running_demo_proxies() as targets:
        assert [target.host for target in targets] == [proxy.name for proxy in PROXIES]
        assert {(target.role, target.proxy) for target in targets} == {(Role.PROXY, Upgrade.HTTP_CONNECT)}
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.parametrize("request_line", ["CONNECT 192.0.2.1:443 HTTP/1.1", "GET / HTTP/1.1", "CONNECT x"])
def test_nobody_is_let_through_to_anywhere_but_loopback(request_line):
    with running_demo_proxies() as targets:
        for target in targets:
            with socket.create_connection((ADDRESS, target.ports[0]), timeout=5) as client:
                client.sendall(f"{request_line}\r\n\r\n".encode())
                assert client.recv(100).startswith(b"HTTP/1.1 403 ")


def test_free_port_can_be_listened_on():
    with socket.socket() as found:
        found.bind((ADDRESS, free_port()))
