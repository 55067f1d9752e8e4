"""Whole handshakes and HTTP through real proxies on loopback, to OpenSSL's own server."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import subprocess

import pytest

from scanner.model.exchange import Ending
from scanner.model.subjects import Upgrade
from scanner.model.versions import TlsVersion
from scanner.net.network import open_network
from scanner.probes.handshake import ClearText, TlsEngine
from scanner.probes.http import decode_http_response, http_get
from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials
from scanner.upgrade.wrap import Way
from tests.lab.model import spawn
from tests.proxies.certs import PROXY_NAME, SERVER_NAME, make_proxy_certificates
from tests.proxies.forward import FORWARD
from tests.proxies.model import await_port, running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

KINDS = {kind.name: kind for kind in FORWARD}
WRONG = "wrong-and-secret-1c9e"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_proxy_certificates(tmp_path_factory.mktemp("proxies"))


@pytest.fixture(scope="module")
def origin(certificates, tmp_path_factory):
    """Address and port of an OpenSSL server that answers HTTP with a page about the connection."""
    address, port = f"127.{random.randint(2, 60)}.{random.randint(0, 255)}.1", random.randint(20_000, 31_999)
    leaf = certificates.origin
    server = spawn(
        ["openssl", "s_server", "-accept", f"{address}:{port}", "-cert", leaf.certificate, "-key", leaf.key, "-www"],
        workdir=tmp_path_factory.mktemp("origin"),
    )
    try:
        await_port(address, port, server)
        yield address, port
    finally:
        server.stop()


def drive(conversation, address, port):
    async def once():
        network = open_network()
        with contextlib.closing(conversation):
            log = await network.drive(conversation, address=address, port=port, deadline_s=10, max_bytes=262_144)
        await network.close()
        return log

    return asyncio.run(once())


def ask(proxy, destination, credentials, auth, *, version=TlsVersion.TLS1_3, does_http=True):
    """Ask once; return (way, engine, clear text, log)."""
    way = Way(proxy.upgrade, "{}:{}".format(*destination), credentials, tls_name=PROXY_NAME, auth=auth)
    engine, clear = TlsEngine(version, SERVER_NAME), ClearText()
    inner = engine.carry(http_get(host=SERVER_NAME, path="/"), clear) if does_http else engine.handshake()
    log = drive(way.carry(inner), proxy.address, proxy.port)
    return way, engine, clear, log


def credentials_of(proxy):
    return proxy.credentials and Credentials(proxy.credentials.user, proxy.credentials.password)


def observable(way):
    return b"\0".join(
        [way.sent, way.received, way.answer, repr(way).encode(), f"{way.declined}{way.outer_engine}".encode()]
    )


TUNNELS = [
    "squid-tunnel", "squid-basic", "squid-digest", "squid-https-tunnel", "squid-https-basic", "tinyproxy",
    "tinyproxy-basic", "microsocks", "microsocks-password", "dante", "haproxy-tinyproxy", "haproxy-tinyproxy-10",
    "stunnel-tinyproxy",
]  # fmt: skip


@pytest.mark.parametrize("name", TUNNELS)
def test_a_handshake_and_http_go_through(name, certificates, origin):
    leaf = ssl.PEM_cert_to_DER_cert(certificates.origin.certificate.read_text().partition("-----END")[0] + END)
    with running(KINDS[name], certificates=certificates) as proxy:
        auth, credentials = ProxyAuth(), credentials_of(proxy)
        for version in (TlsVersion.TLS1_2, TlsVersion.TLS1_3):
            ways = []
            for _ in range(3):
                way, engine, clear, _ = ask(proxy, origin, credentials, auth, version=version)
                ways.append(way)
                if not way.wants_retry:
                    break
            assert way.is_open, (way.declined, proxy.log_tail())
            # Only the very first connection finds out how to authenticate; later ones know.
            assert len(ways) <= (2 if version is TlsVersion.TLS1_2 else 1)
            assert engine.completed
            assert engine.report().chain_der[0] == leaf
            page = decode_http_response(bytes(clear.received))
            assert page.status == 200
            assert b"s_server" in page.body
            # What is kept is TLS and only TLS.
            assert (way.sent[0], way.received[0]) == (22, 22)
            if credentials is not None:
                assert credentials.password.encode() not in observable(way)
                assert not auth.is_refused
            if proxy.upgrade is Upgrade.HTTPS_CONNECT:
                shown = way.outer_engine.chain_der[0]
                own = certificates.proxy.certificate.read_text().partition("-----END")[0] + END
                assert shown == ssl.PEM_cert_to_DER_cert(own)


END = "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("name", ["squid-basic", "squid-digest", "squid-https-basic", "tinyproxy-basic"])
def test_wrong_credentials_are_sent_once_and_never_shown(name, certificates, origin):
    with running(KINDS[name], certificates=certificates) as proxy:
        auth, wrong = ProxyAuth(), Credentials("lab-user", WRONG)
        sent = 0
        for _ in range(4):
            way, engine, _, log = ask(proxy, origin, wrong, auth)
            assert not way.is_open
            assert not engine.completed
            assert way.declined.startswith(("407", "401")), way.declined
            assert WRONG.encode() not in observable(way)
            if proxy.upgrade is Upgrade.HTTP_CONNECT:
                sent += log.sent.lower().count(b"proxy-authorization")
        assert auth.is_refused
        assert sent == (proxy.upgrade is Upgrade.HTTP_CONNECT)


def test_a_wrong_password_for_socks_is_sent_once(certificates, origin):
    with running(KINDS["microsocks-password"], certificates=certificates) as proxy:
        auth, wrong = ProxyAuth(), Credentials("lab-user", WRONG)
        logs = [ask(proxy, origin, wrong, auth)[3] for _ in range(2)]
        assert [WRONG.encode() in log.sent for log in logs] == [True, False]


@pytest.mark.parametrize(
    ("name", "declined"),
    [
        (
            "squid-basic",
            "407 Proxy Authentication Required: the proxy asks for Basic, and there are no",
        ),
        ("squid-digest", "407 Proxy Authentication Required: the proxy asks for Digest (MD5), and there are no"),
        ("squid-negotiate", "407 Proxy Authentication Required: the proxy asks for Negotiate, which this program"),
        ("squid-port-443-only", "403 Forbidden"),
        ("microsocks-password", "SOCKS5: the proxy accepts nobody without authentication"),
        ("dante-forbids", "SOCKS5 reply 2: connection not allowed by ruleset"),
        ("scripted-502", "502"),
        ("scripted-close", "closed"),
    ],
)
def test_who_declines_is_quoted(name, declined, certificates, origin):
    with running(KINDS[name], certificates=certificates) as proxy:
        way, engine, _, log = ask(proxy, origin, None, ProxyAuth())
        assert way.declined.startswith(declined)
        assert (way.is_open, way.wants_retry, way.sent, way.received, engine.completed) == (
            False,
            False,
            b"",
            b"",
            False,
        )
        assert way.answer or name == "scripted-close"
        assert log.ending in {Ending.COMPLETE, Ending.PEER_CLOSED}


@pytest.mark.parametrize("name", ["scripted-silent", "scripted-reset"])
def test_a_proxy_that_does_not_answer_is_not_said_to_decline(name, certificates, origin):
    with running(KINDS[name], certificates=certificates) as proxy:
        way, _, _, log = ask(proxy, origin, None, ProxyAuth())
        assert (way.is_open, way.declined) == (False, None)
        assert log.ending in {Ending.TIMED_OUT_READ, Ending.PEER_RESET}


def test_an_origin_that_is_not_there_is_the_proxys_to_tell(certificates, origin):
    with running(KINDS["squid-tunnel"], certificates=certificates) as proxy:
        way, *_ = ask(proxy, (origin[0], 9), None, ProxyAuth())
        assert way.declined == "503 Service Unavailable"


def test_curl_says_the_same_of_the_digest(certificates, origin):
    """The lab's own proof that user and password are right."""
    with running(KINDS["squid-digest"], certificates=certificates) as proxy:
        done = subprocess.run(
            ["curl", "-sSk", "--noproxy", "", "--proxy", f"http://{proxy.address}:{proxy.port}", "--proxy-digest",
             "--proxy-user", f"{proxy.credentials.user}:{proxy.credentials.password}", "--max-time", "10",
             "https://{}:{}/".format(*origin)],
            capture_output=True, timeout=20, check=False,
        )  # fmt: skip
        assert b"s_server" in done.stdout, done.stderr
