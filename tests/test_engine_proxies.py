"""The engine through forward proxies, over a scripted network: what a proxy is told, and what is kept of it."""

from __future__ import annotations

import asyncio
import base64
import logging
from types import SimpleNamespace

import pytest

from scanner.engine import _ProxyUnderWay
from scanner.exclusions import Exclusions
from scanner.model.exchange import Ending, HelloVariant, Probe
from scanner.model.runs import Resolution
from scanner.model.subjects import Role, Upgrade
from scanner.model.versions import TlsVersion
from scanner.net.scripted import ScriptedNetwork, ScriptedReply
from scanner.proxying import Proxying
from scanner.targets import parse_targets
from scanner.upgrade.credentials import Credentials, ProxyCredentials
from tests.hostile import wire
from tests.scripted_peers import MODERN, REFUSED, SILENT, Run, honest, target

pytestmark = pytest.mark.timeout(60)

PASSWORD = "hunter2-0123456789"
LOGIN = ("login.example.com", 443)
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
BASIC = "Basic " + base64.b64encode(f"scanner:{PASSWORD}".encode()).decode()


class ScriptedProxy:
    """CONNECT and SOCKS5 as RFC 9110 section 9.3.6 and RFC 1928 have them, and an honest server behind it."""

    def __init__(self, *, needs=None, closes_after_407=True, says=None, own=SILENT):
        self.needs, self.closes, self.says, self.own = needs, closes_after_407, says, own
        self.heads = []

    def __call__(self, address, port, first):
        if (address, port) != ("192.0.2.1", 3128):
            return REFUSED if address != "192.0.2.50" else honest(first)
        if first[:1] == b"\x16" or first[:1] == b"\x80":
            return self.own
        return ScriptedReply(answer=_Talk(self).answer, ending=Ending.PEER_CLOSED)


class _Talk:
    def __init__(self, proxy):
        self.proxy = proxy
        self.is_open = False
        self.step = 0

    def answer(self, data):
        if self.is_open:
            return MODERN.reply(wire.decode_hello(data)).data
        if data[:1] == b"\x05":
            self.step += 1
            if self.step == 1:
                return b"\x05\x00"
            self.proxy.heads.append(data)
            self.is_open = True
            return b"\x05\x00\x00\x01" + bytes(6)
        self.proxy.heads.append(data)
        if self.proxy.says is not None:
            return self.proxy.says
        if self.proxy.needs is not None and f"Proxy-Authorization: {self.proxy.needs}\r\n".encode() not in data:
            head = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="r"\r\n'
            return head + (b"Connection: close\r\n\r\n" if self.proxy.closes else b"Content-Length: 0\r\n\r\n")
        self.is_open = True
        return OPEN


def scan(proxy, *, credentials=None, destinations=(LOGIN,), named=Upgrade.HTTP_CONNECT, **more):
    own = ProxyCredentials(otherwise=credentials)
    network = ScriptedNetwork(proxy)
    run = Run(
        proxy,
        network=network,
        names={"login.example.com": ["192.0.2.50"]},
        proxying=Proxying(credentials=own, destinations=destinations),
        **more,
    )
    run(target(port=3128, role=Role.PROXY, proxy=named))
    return run, run.records["192.0.2.1"]


def through(record):
    return [each for each in record.exchanges if each.request.endpoint.upgrade is not Upgrade.NONE]


def test_hellos_go_through_and_only_the_inner_bytes_are_kept():
    proxy = ScriptedProxy()
    run, record = scan(proxy)
    hellos = [each for each in through(record) if each.request.probe is Probe.HELLO]
    assert {each.request.version for each in hellos} >= {TlsVersion.TLS1_2, TlsVersion.TLS1_3}
    for each in hellos:
        assert each.request.endpoint.destination == "login.example.com:443"
        assert wire.decode_hello(each.sent).asked == each.request.version
        assert not each.received.startswith(b"HTTP")
        if each.request.variant is not HelloVariant.RARE and each.request.version > TlsVersion.SSL2:
            assert wire.decode_hello(each.sent).sni == "login.example.com"
    assert all(head.startswith(b"CONNECT login.example.com:443 HTTP/1.1\r\n") for head in proxy.heads)
    assert run.engine.counters.connections == len(run.network.asked)


@pytest.mark.parametrize("named", [Upgrade.HTTP_CONNECT, Upgrade.SOCKS5])
def test_a_port_that_is_plain_by_its_url_is_not_asked_for_tls(named):
    run, record = scan(ScriptedProxy(), named=named)
    assert {each.first_bytes[:1] for each in run.network.asked if each.address == "192.0.2.1"} <= {b"C", b"\x05"}
    assert {each.request.endpoint.upgrade for each in through(record)} == {named}


def test_a_port_whose_url_does_not_say_is_asked_first():
    proxy = ScriptedProxy(own=ScriptedReply(pieces=(b"HTTP/1.1 400 Bad Request\r\n\r\n",)))
    run, record = scan(proxy, named=None)
    assert run.network.asked[0].first_bytes[:1] == b"\x16"
    assert {each.request.endpoint.upgrade for each in through(record)} == {Upgrade.HTTP_CONNECT}
    _, silent = scan(ScriptedProxy(), named=None)
    assert through(silent) == []


@pytest.mark.parametrize("closes", [True, False])
def test_credentials_are_told_after_a_407_and_shown_nowhere(closes, caplog):
    caplog.set_level(logging.DEBUG)
    proxy = ScriptedProxy(needs=BASIC, closes_after_407=closes)
    run, record = scan(proxy, credentials=Credentials("scanner", PASSWORD))
    asked = through(record)
    assert any(each.received[:1] == b"\x16" for each in asked)
    assert not any(each.ending is Ending.UPGRADE_DECLINED for each in asked)
    # Told only where it was asked for, and from then on at once.
    assert b"Proxy-Authorization" not in proxy.heads[0]
    assert all(BASIC.encode() in head for head in proxy.heads[1:])
    shown = repr(record) + caplog.text
    kept = b"".join(each.sent + each.received for each in record.exchanges)
    for secret in (PASSWORD, BASIC.partition(" ")[2]):
        assert secret not in shown
        assert secret.encode() not in kept
    # The connection that was closed after the 407 is counted too.
    assert run.engine.counters.connections == len(run.network.asked)


@pytest.mark.parametrize(
    ("needs", "credentials"), [(BASIC, None), (BASIC, Credentials("scanner", "wrong-wrong-wrong"))]
)
def test_without_the_right_credentials_it_ends_with_the_proxys_word(needs, credentials):
    run, record = scan(ScriptedProxy(needs=needs), credentials=credentials)
    asked = through(record)
    assert asked
    for each in asked:
        assert each.ending is Ending.UPGRADE_DECLINED
        assert each.os_error.startswith("407 Proxy Authentication Required")
        assert each.sent == b""
    assert len(run.network.asked) < 20


@pytest.mark.parametrize(
    ("says", "word"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nno, n", "403 Forbidden"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "502 Bad Gateway"),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
    ],
)
def test_a_way_that_is_declined_says_why_and_is_no_word_about_versions(says, word):
    _, record = scan(ScriptedProxy(says=says))
    asked = through(record)
    assert asked
    for each in asked:
        assert (each.ending, each.os_error, each.sent) == (Ending.UPGRADE_DECLINED, word, b"")
        assert each.received == says
    assert not any(each.request.probe is Probe.HANDSHAKE for each in asked)
    assert not any(each.request.endpoint.address == "192.0.2.50" for each in record.exchanges)


def test_nobody_asks_through_proxies_where_that_is_not_wanted():
    proxy = ScriptedProxy()
    run = Run(proxy)
    run(target(port=3128, role=Role.PROXY, proxy=Upgrade.HTTP_CONNECT))
    assert through(run.records["192.0.2.1"]) == []
    assert proxy.heads == []


def test_only_proxies_are_asked_for_others():
    proxy = ScriptedProxy()
    run = Run(proxy, proxying=Proxying(credentials=ProxyCredentials(), destinations=(LOGIN,)))
    run(target(port=3128, role=Role.SERVER, proxy=Upgrade.HTTP_CONNECT))
    assert proxy.heads == []


def test_the_ways_are_endpoints_of_the_record():
    _, record = scan(ScriptedProxy(), destinations=(LOGIN, ("sts.example.com", 8443)))
    own, *ways = record.endpoints
    assert own.destination is None
    assert [(way.destination, way.server_name) for way in ways] == [
        ("login.example.com:443", "login.example.com"),
        ("sts.example.com:8443", "sts.example.com"),
    ]
    numbers = [each.request.id for each in record.exchanges]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("excludes", "reached"),
    [
        ([], "192.0.2.50"),
        (["!192.0.2.50"], "192.0.2.51"),
        (["!192.0.2.50:443"], "192.0.2.51"),
        (["!192.0.2.0/24"], None),
    ],
)
def test_what_is_excluded_is_not_contacted_without_the_proxy_either(excludes, reached):
    class Names:
        async def resolve(self, name, **_):
            assert name == "login.example"
            return Resolution(addresses=("192.0.2.50", "192.0.2.51"))

    exclusions = Exclusions(parse_targets("\n".join(excludes), source="t").excludes)
    engine = SimpleNamespace(_resolver=Names(), _exclusions=exclusions)
    under_way = _ProxyUnderWay(engine, None, None)
    assert asyncio.run(under_way.reach("login.example", 443)) == reached
    for address in ("192.0.2.50", "198.51.100.7"):
        found = asyncio.run(under_way.reach(address, 443))
        assert found == (None if exclusions.is_excluded(address, 443) else address)
