"""One way through a proxy, whole: what the conversation says and hears, what is kept of the proxy, and no secret."""

from __future__ import annotations

import logging
import pickle
import ssl
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.demo import write_certificate
from scanner.model.subjects import Upgrade
from scanner.model.versions import TlsVersion
from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials
from scanner.upgrade.wrap import MAX_ANSWER_BYTES, Way
from tests.upgrade.talk import Peer, converse

DESTINATION = "login.example.com:443"
USER = Credentials("lab-user", 'sEcr3t <&"pass wörd')
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
SOCKS_OPEN = (b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
HELLO = b"\x16\x03\x01\x00\x05hello"
SIZES = [16_384, 3, 1]
CONNECT, SECURE, SOCKS = Upgrade.HTTP_CONNECT, Upgrade.HTTPS_CONNECT, Upgrade.SOCKS5


def way_of(upgrade=CONNECT, credentials=None, *, auth=None, name=None, version=TlsVersion.TLS1_2):
    return Way(upgrade, DESTINATION, credentials, tls_name=name, auth=auth or ProxyAuth(), outer_version=version)


class Inner:
    """A conversation that says hello, hears so many bytes, says one thing more and ends."""

    def __init__(self, hears=9, says=HELLO, last=b"bye"):
        self.hears, self.says, self.last = hears, says, last
        self.heard, self.is_begun, self.is_closed = b"", False, False

    def talk(self):
        self.is_begun = True
        out = self.says
        try:
            while len(self.heard) < self.hears:
                piece = yield out
                out = b""
                if not piece:
                    return None
                self.heard += piece
            return self.last
        finally:
            self.is_closed = True


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("early", [b"", b"abc", b"abcdefghi"])
@pytest.mark.parametrize(("upgrade", "answers"), [(CONNECT, (OPEN,)), (SOCKS, SOCKS_OPEN)])
def test_what_follows_is_between_the_conversation_and_the_destination(upgrade, answers, early, size):
    way, inner = way_of(upgrade), Inner()
    peer = Peer(*answers[:-1], answers[-1] + early, b"abcdefghi"[len(early) :])
    last, _ = converse(way.carry(inner.talk()), peer, size=size)
    assert (way.is_open, way.declined, way.wants_retry) == (True, None, False)
    assert (way.sent, way.received, inner.heard) == (HELLO + b"bye", b"abcdefghi", b"abcdefghi")
    assert way.answer == b"".join(answers)
    assert (b"".join(peer.asked) + last).endswith(HELLO + b"bye")
    assert way.outer_engine is None
    assert inner.is_closed


def test_without_an_upgrade_there_is_nothing_before():
    way, inner = way_of(Upgrade.NONE), Inner()
    peer = Peer(b"abcdefghi")
    last, _ = converse(way.carry(inner.talk()), peer)
    assert (peer.asked, last, way.sent, way.received) == ([HELLO], b"bye", HELLO + b"bye", b"abcdefghi")


@pytest.mark.parametrize("upgrade", [CONNECT, SOCKS])
def test_the_destination_that_closes_ends_the_conversation(upgrade):
    way, inner = way_of(upgrade), Inner()
    converse(way.carry(inner.talk()), Peer(*({CONNECT: (OPEN,), SOCKS: SOCKS_OPEN}[upgrade])))
    assert (way.is_open, way.sent, way.received) == (True, HELLO, b"")


@pytest.mark.parametrize(
    ("upgrade", "answer", "declined"),
    [
        (CONNECT, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403 Forbidden"),
        (CONNECT, b"", "closed without an answer"),
        (SOCKS, b"\x05\xff", "SOCKS5: the proxy accepts nobody without authentication (no acceptable methods)"),
    ],
)
def test_a_declined_way_never_begins_the_conversation(upgrade, answer, declined):
    way, inner = way_of(upgrade), Inner()
    last, _ = converse(way.carry(inner.talk()), Peer(answer))
    assert last is None
    assert (way.is_open, way.declined, way.answer, way.sent, way.received) == (False, declined, answer, b"", b"")
    assert not inner.is_begun


@pytest.mark.parametrize("taken", [0, 1])
def test_a_connection_that_is_cut_leaves_no_conversation_behind(taken):
    way, inner = way_of(), Inner()
    conversation = way.carry(inner.talk())
    next(conversation)
    for _ in range(taken):
        conversation.send(OPEN)
    conversation.close()
    assert (way.is_open, way.declined, inner.is_closed) == (bool(taken), None, bool(taken))


def test_a_long_answer_is_cut():
    way = way_of()
    converse(way.carry(Inner().talk()), Peer(b"HTTP/1.1 403 No\r\nContent-Length: 90000\r\n\r\n" + b"x" * 10_000))
    assert len(way.answer) == MAX_ANSWER_BYTES


@pytest.mark.parametrize("destination", ["login.example.com", "a:443\r\nX: y", "a:0"])
def test_a_destination_that_is_none_is_refused_at_once(destination):
    with pytest.raises(ValueError, match="a destination is"):
        Way(CONNECT, destination, None, tls_name=None, auth=ProxyAuth())


class TlsProxy:
    """A proxy behind TLS, over memory: decrypts, hands the clear text to a peer, encrypts the answer."""

    def __init__(self, identity, peer):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        self.names = []
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = context.wrap_bio(self._in, self._out, server_side=True)
        self._peer, self._is_done = peer, False
        self.versions = []

    def __call__(self, out):
        self._in.write(out)
        try:
            if not self._is_done:
                self._server.do_handshake()
                self._is_done = True
                self.versions.append(self._server.version())
            while True:
                answer = self._peer(self._server.read(65_536))
                if not answer:
                    self._server.unwrap()
                self._server.write(answer)
        except ssl.SSLWantReadError:
            pass
        return self._out.read()


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return write_certificate("proxy.example", tmp_path_factory.mktemp("identity"))


@pytest.mark.parametrize("size", [16_384, 100])
@pytest.mark.parametrize("version", [TlsVersion.TLS1_2, TlsVersion.TLS1_3, None])
def test_a_proxy_behind_tls(identity, version, size):
    way, inner = way_of(SECURE, name="proxy.example", version=version), Inner()
    proxy = TlsProxy(identity, Peer(OPEN + b"abc", b"defghi"))
    converse(way.carry(inner.talk()), proxy, size=size)
    assert way.is_open
    assert (way.received, inner.heard) == (b"abcdefghi", b"abcdefghi")
    assert way.sent.startswith(HELLO)
    assert way.outer_engine.completed
    assert way.outer_engine.chain_der[0] == ssl.PEM_cert_to_DER_cert(
        "-----BEGIN CERTIFICATE-----" + identity.read_text().split("-----BEGIN CERTIFICATE-----")[1]
    )
    assert proxy.names == ["proxy.example"]
    assert proxy.versions == [{TlsVersion.TLS1_2: "TLSv1.2"}.get(version, "TLSv1.3")]


def test_a_proxy_behind_tls_that_declines(identity):
    way, inner = way_of(SECURE), Inner()
    converse(way.carry(inner.talk()), TlsProxy(identity, Peer(b"HTTP/1.1 503 Busy\r\n\r\n")))
    assert (way.is_open, way.declined, inner.is_begun) == (False, "503 Busy", False)
    assert way.outer_engine.completed


@pytest.mark.parametrize(
    "answer", [b"", b"\x15\x03\x03\x00\x02\x02\x46", b"HTTP/1.1 400 Plain HTTP to a TLS port\r\n\r\n", b"\x00" * 100]
)
def test_tls_that_fails_with_the_proxy_declines(answer):
    way, inner = way_of(SECURE), Inner()
    converse(way.carry(inner.talk()), Peer(answer))
    assert not way.is_open
    assert way.declined.startswith("TLS with the proxy failed: ")
    assert not way.outer_engine.completed
    assert not inner.is_begun


def test_tls_that_fails_is_told_why():
    way = way_of(SECURE)
    converse(way.carry(Inner().talk()), Peer(b"\x15\x03\x03\x00\x02\x02\x46"))
    assert "protocol version" in way.declined


def forms(credentials):
    """Every form in which the password is on the wire, or may be shown."""
    pair = f"{credentials.user}:{credentials.password}".encode()
    return [
        credentials.password.encode(),
        credentials.password.encode("latin-1"),
        b64encode(pair),
        quote(credentials.password).encode(),
        b"sEcr3t &lt;&amp;&quot;pass w\xc3\xb6rd",
    ]


def observable(way):
    texts = [repr(way), str(way), way.declined or "", repr(way.outer_engine), repr(way._auth), repr(way._credentials)]
    return b"\0".join([way.sent, way.received, way.answer, *(text.encode() for text in texts)])


def test_a_proxy_that_repeats_everything_gives_nothing_away(caplog):
    caplog.set_level(logging.DEBUG)
    echo = b"|".join(forms(USER))
    for value in ("Basic realm=x", 'Digest realm="r", nonce="1", qop="auth"'):
        auth = ProxyAuth()
        asks = f"HTTP/1.1 407 Asked\r\nProxy-Authenticate: {value}\r\nContent-Length: 0\r\n\r\n".encode()
        sent = []

        def repeat(out, asks=asks, sent=sent):
            sent.append(out)
            if len(sent) == 1:
                return asks
            return b"HTTP/1.1 403 no " + echo[:90] + b"\r\nContent-Length: 0\r\n\r\n" + out + echo

        way = way_of(credentials=USER, auth=auth)
        converse(way.carry(Inner().talk()), repeat)
        assert way.declined.startswith("403")
        told = [line for line in sent[1].split(b"\r\n") if line.lower().startswith(b"proxy-authorization")]
        secret = told[0].split(b'response="')[-1][:32] if b"Digest" in told[0] else told[0].split()[-1]
        assert len(secret) >= 32
        shown = observable(way)
        assert b"[redacted]" in way.answer
        assert "[redacted]" in way.declined
        assert [form for form in [*forms(USER), secret] if form in shown] == []
    assert USER.password not in caplog.text


@pytest.mark.parametrize("prefix", [b"", HELLO])
def test_a_way_that_leads_back_to_us_gives_nothing_away(prefix):
    auth = ProxyAuth()
    auth.on_challenge(["Basic realm=x"], has_credentials=True, was_answered=False)
    way, inner = way_of(credentials=USER, auth=auth), Inner(hears=10_000)
    converse(way.carry(inner.talk()), lambda out: OPEN + prefix + out if b"CONNECT" in out else b"")
    assert way.is_open
    assert b"CONNECT login.example.com:443" in way.received
    assert [form for form in forms(USER) if form in observable(way)] == []


def test_socks_that_repeats_the_password_gives_nothing_away():
    way = way_of(SOCKS, USER)
    converse(way.carry(Inner().talk()), lambda out: b"\x05\x02" if out[0] == 5 else b"\x01\x01" + out)
    assert way.declined == "SOCKS5: the proxy refused the credentials"
    assert b"[redacted]" in way.answer
    assert [form for form in forms(USER) if form in observable(way)] == []


def test_a_short_password_does_not_spoil_tls():
    short = Credentials("u", "h")
    way = way_of(credentials=short)
    converse(way.carry(Inner(hears=len(HELLO)).talk()), Peer(OPEN, HELLO))
    assert way.received == HELLO


def test_nothing_secret_is_pickled_by_chance():
    way = way_of(credentials=USER)
    converse(way.carry(Inner().talk()), Peer(b"HTTP/1.1 403 Forbidden\r\n\r\n"))
    kept = pickle.dumps((way.sent, way.received, way.answer, way.declined, way.outer_engine))
    assert [form for form in forms(USER) if form in kept] == []


@given(
    upgrade=st.sampled_from([CONNECT, SECURE, SOCKS]),
    answers=st.lists(st.sampled_from([OPEN, *SOCKS_OPEN, HELLO]) | st.binary(max_size=60), max_size=5),
    size=st.integers(1, 40),
)
def test_nothing_that_a_proxy_says_raises(upgrade, answers, size):
    way = way_of(upgrade, USER, auth=ProxyAuth())
    converse(way.carry(Inner().talk()), Peer(*answers), size=size)
    assert way.is_open == (way.declined is None)
    assert USER.password.encode() not in observable(way)
