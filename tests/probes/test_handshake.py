"""sslyze's engine as a conversation: against Python's ssl over memory, and against real servers of the lab."""

from __future__ import annotations

import asyncio
import random
import ssl

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.demo import write_certificate
from scanner.model.exchange import Ending
from scanner.model.versions import ALL_VERSIONS
from scanner.net.network import open_network
from scanner.probes.handshake import ClearText, TlsEngine
from scanner.probes.http import http_get
from tests.hostile import wire

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
]

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
PYTHONS = {
    TLS1_0: ssl.TLSVersion.TLSv1,
    TLS1_1: ssl.TLSVersion.TLSv1_1,
    TLS1_2: ssl.TLSVersion.TLSv1_2,
    TLS1_3: ssl.TLSVersion.TLSv1_3,
}
NAME = "www.example.test"
TEXT = bytes(range(256)) * 800
"""More than 200,000 bytes: many records."""


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return write_certificate(NAME, tmp_path_factory.mktemp("identity"))


class MemoryServer:
    """A TLS server over memory; answers the first request with a response, and closes or not."""

    def __init__(self, identity, version, *, response=b"", does_close=False, asks_certificate=False):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
        self.context.minimum_version = self.context.maximum_version = PYTHONS[version]
        self.context.load_cert_chain(identity)
        if asks_certificate:
            self.context.verify_mode = ssl.CERT_OPTIONAL
            self.context.load_verify_locations(identity)
        self.names = []
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = self.context.wrap_bio(self._in, self._out, server_side=True)
        self._response = response
        self._does_close = does_close
        self.request = b""
        self.is_done = False

    def answer(self, data):
        self._in.write(data)
        try:
            if not self.is_done:
                self._server.do_handshake()
                self.is_done = True
            if self._response and not self.request:
                self.request = self._server.read(65_536)
                self._server.write(self._response)
                if self._does_close:
                    self._server.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self._out.read()


def converse(conversation, answer, *, size=16_384, pieces=None, most=10_000):
    """Step a conversation with a peer; return all that was sent to it. size, or pieces: how the network cuts."""
    sent = out = next(conversation)
    try:
        for _ in range(most):
            data = answer(out)
            out = b""
            if not data:
                conversation.send(b"")
                raise AssertionError("the conversation goes on after the peer has closed")
            while data:
                cut = pieces() if pieces else size
                more = conversation.send(data[:cut])
                out += more
                sent += more
                data = data[cut:]
    except StopIteration as stop:
        last = stop.value or b""
        if last:
            answer(last)
        return sent + last
    raise AssertionError("the conversation does not end")


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("size", [1, 7, 500, 16_384])
def test_handshake_completes_however_the_bytes_are_cut(identity, version, size):
    server = MemoryServer(identity, version)
    engine = TlsEngine(version, NAME)
    sent = converse(engine.handshake(), server.answer, size=size)
    assert server.is_done
    assert server.names == [NAME]
    assert engine.completed
    report = engine.report()
    assert (report.completed, report.error, report.client_certificate_requested) == (True, None, False)
    assert report.cipher_suite == server._server.cipher()[0]
    assert list(report.chain_der) == [ssl.PEM_cert_to_DER_cert(_certificate_of(identity))]
    hello = wire.decode_hello(sent[: 5 + int.from_bytes(sent[3:5], "big")])
    assert hello.asked == version
    assert hello.sni == NAME


def _certificate_of(identity):
    text = identity.read_text()
    return text[text.index("-----BEGIN CERTIFICATE") :]


@pytest.mark.parametrize("version", PYTHONS)
def test_request_for_a_client_certificate_is_noted_and_passed_over(identity, version):
    server = MemoryServer(identity, version, asks_certificate=True)
    engine = TlsEngine(version, NAME)
    converse(engine.handshake(), server.answer)
    assert engine.completed
    assert engine.report().client_certificate_requested


def test_no_name_is_no_sni(identity):
    server = MemoryServer(identity, TLS1_2)
    converse(TlsEngine(TLS1_2, None).handshake(), server.answer)
    assert server.names == [None]


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("other", PYTHONS)
def test_engine_asks_for_one_version_only(identity, version, other):
    """A server that has another version only must not be talked into that one."""
    server = MemoryServer(identity, other)
    engine = TlsEngine(version, NAME)

    def answer(data):
        try:
            return server.answer(data)
        except ssl.SSLError:
            return server._out.read()

    converse(engine.handshake(), answer)
    assert engine.completed == (version is other)
    if version is not other:
        assert engine.report().error
        assert engine.report().chain_der == ()
        assert engine.report().cipher_suite is None


def test_engine_that_ran_is_named():
    assert TlsEngine(TLS1_2, None).name.endswith("(modern OpenSSL)")
    assert TlsEngine(TLS1_1, None).name.endswith("(legacy OpenSSL)")
    assert TlsEngine(TLS1_1, None).name.startswith("nassl 5.")


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_peer_that_closes_midway_ends_it_without_an_error(version):
    engine = TlsEngine(version, NAME if version is not SSL2 else None)
    conversation = engine.handshake()
    assert next(conversation)
    with pytest.raises(StopIteration):
        conversation.send(b"")
    assert (engine.completed, engine.report().error, engine.report().chain_der) == (False, None, ())


@pytest.mark.parametrize("version", PYTHONS)
def test_peer_that_closes_within_its_answer_ends_it(identity, version):
    server = MemoryServer(identity, version)
    engine = TlsEngine(version, NAME)
    conversation = engine.handshake()
    answer = server.answer(next(conversation))
    assert conversation.send(answer[: len(answer) // 2]) == b""
    with pytest.raises(StopIteration):
        conversation.send(b"")
    assert not engine.completed


@pytest.mark.parametrize("version", ALL_VERSIONS)
@given(garbage=st.lists(st.binary(min_size=1, max_size=300), max_size=6))
@settings(deadline=None, max_examples=25)
def test_garbage_never_raises_and_never_completes(version, garbage):
    engine = TlsEngine(version, None)
    conversation = engine.handshake()
    next(conversation)
    try:
        for piece in [*garbage, b""]:
            conversation.send(piece)
    except StopIteration:
        pass
    else:
        raise AssertionError("it goes on after the peer has closed")
    assert not engine.completed
    assert engine.report().cipher_suite is None


@pytest.mark.parametrize("version", PYTHONS)
@given(at=st.integers(0, 3_000), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=25)
def test_broken_byte_in_the_servers_answer_never_raises(identity, version, at, bit):
    server = MemoryServer(identity, version)
    engine = TlsEngine(version, NAME)
    conversation = engine.handshake()
    answer = bytearray(server.answer(next(conversation)))
    answer[at % len(answer)] ^= 1 << bit
    try:
        conversation.send(bytes(answer))
        conversation.send(b"")
    except StopIteration:
        pass
    assert isinstance(engine.report().completed, bool)


@pytest.mark.parametrize(
    ("version", "alert", "word"), [(TLS1_2, 40, "handshake failure"), (TLS1_0, 70, "protocol version")]
)
def test_alert_is_the_error(version, alert, word):
    engine = TlsEngine(version, NAME)
    conversation = engine.handshake()
    next(conversation)
    with pytest.raises(StopIteration):
        conversation.send(wire.encode_alert(alert, record_version=version))
    assert word in engine.report().error


# SSLv2: CLIENT-MASTER-KEY (type 2) by itself. Records: draft-hickman-netscape-ssl-00 section 1.1.


def ssl2_record(body, *, with_padding=False):
    if with_padding:
        return len(body).to_bytes(2, "big") + b"\0" + body
    return (0x8000 | len(body)).to_bytes(2, "big") + body


MASTER_KEY = ssl2_record(b"\x02\x01\x00\x80" + bytes(6) + b"k" * 64)
FINISHED = ssl2_record(b"f" * 33)


def test_master_key_is_sent_by_itself():
    engine = TlsEngine(SSL2, None)
    sending = engine._send_master_key_apart(MASTER_KEY + FINISHED)
    assert next(sending) == MASTER_KEY
    with pytest.raises(StopIteration) as end:
        sending.send(ssl2_record(b"v" * 20))
    assert end.value.value == FINISHED


@pytest.mark.parametrize(
    "out",
    [
        b"",
        MASTER_KEY,
        FINISHED,
        ssl2_record(b"\x01\x00\x02\x00\x03\x00\x00\x00\x10" + bytes(19)),  # CLIENT-HELLO
        ssl2_record(b"\x01hello") + FINISHED,
        MASTER_KEY[:10],
    ],
)
def test_everything_else_is_sent_as_it_is(out):
    sending = TlsEngine(SSL2, None)._send_master_key_apart(out)
    with pytest.raises(StopIteration) as end:
        next(sending)
    assert end.value.value == out


# HTTP over TLS


def carry(identity, version, response, *, pieces=None, size=16_384, **server_options):
    server = MemoryServer(identity, version, response=response, **server_options)
    engine = TlsEngine(version, NAME)
    clear = ClearText()
    converse(
        engine.carry(http_get(host=NAME, path="/x", max_body_bytes=1 << 20), clear),
        server.answer,
        pieces=pieces,
        size=size,
    )
    return server, engine, clear


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("does_close", [True, False])
@pytest.mark.parametrize("body", [b"", b"hello", TEXT], ids=["empty", "short", "long"])
def test_response_is_carried_whole(identity, version, does_close, body):
    response = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    server, engine, clear = carry(identity, version, response, does_close=does_close)
    assert server.request.startswith(b"GET /x HTTP/1.1\r\n")
    assert bytes(clear.sent) == server.request
    assert bytes(clear.received) == response
    assert engine.completed
    assert engine.report().error is None


@pytest.mark.parametrize("version", PYTHONS)
def test_response_that_ends_with_close_notify_keeps_its_last_bytes(identity, version):
    """Both come in one piece from the network, as from every server that says Connection: close."""
    response = b"HTTP/1.1 200 OK\r\n\r\nup to the end"
    _, engine, clear = carry(identity, version, response, does_close=True)
    assert bytes(clear.received) == response
    assert engine.report().error is None


@pytest.mark.parametrize("seed", range(5))
def test_response_in_pieces_of_any_size(identity, seed):
    luck = random.Random(seed)
    response = f"HTTP/1.1 200 OK\r\nContent-Length: {len(TEXT)}\r\n\r\n".encode() + TEXT
    version = luck.choice(list(PYTHONS))
    _, _, clear = carry(identity, version, response, pieces=lambda: luck.choice([1, 5, 100, 5_000, 16_384]))
    assert bytes(clear.received) == response


def test_failed_handshake_says_nothing_in_the_clear(identity):
    engine = TlsEngine(TLS1_2, NAME)
    clear = ClearText()
    conversation = engine.carry(http_get(host=NAME, path="/x"), clear)
    next(conversation)
    with pytest.raises(StopIteration):
        conversation.send(wire.encode_alert(40))
    assert (clear.sent, clear.received, engine.completed) == (b"", b"", False)


def test_connection_lost_in_the_response_keeps_what_came(identity):
    server = MemoryServer(identity, TLS1_2, response=b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")
    engine = TlsEngine(TLS1_2, NAME)
    clear = ClearText()
    conversation = engine.carry(http_get(host=NAME, path="/x"), clear)
    out = next(conversation)
    while not server.request:
        out = conversation.send(server.answer(out))
    with pytest.raises(StopIteration):
        conversation.send(b"")
    assert clear.received.endswith(b"half")


def test_broken_record_after_the_handshake_is_the_error(identity):
    server = MemoryServer(identity, TLS1_2, response=b"HTTP/1.1 200 OK\r\n\r\n")
    engine = TlsEngine(TLS1_2, NAME)
    clear = ClearText()
    conversation = engine.carry(http_get(host=NAME, path="/x"), clear)
    out = next(conversation)
    while not server.is_done:
        out = conversation.send(server.answer(out))
    with pytest.raises(StopIteration):
        conversation.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert "mac" in engine.report().error
    assert clear.received == b""


@pytest.mark.parametrize("version", PYTHONS)
def test_close_without_a_response_is_the_error(identity, version):
    server = MemoryServer(identity, version)
    engine = TlsEngine(version, NAME)
    clear = ClearText()
    conversation = engine.carry(http_get(host=NAME, path="/x"), clear)
    out = next(conversation)
    while not server.is_done:
        out = conversation.send(server.answer(out))
    server._in.write(out)
    assert server._server.read(65_536).startswith(b"GET /x")
    with pytest.raises(ssl.SSLWantReadError):
        server._server.unwrap()
    with pytest.raises(StopIteration):
        conversation.send(server._out.read())
    assert "shut down" in engine.report().error
    assert clear.received == b""


def test_inner_conversation_is_closed_whatever_happens(identity):
    ended = []

    def inner():
        try:
            while True:
                yield b"more"
        finally:
            ended.append(True)

    server = MemoryServer(identity, TLS1_3, response=b"x")
    conversation = TlsEngine(TLS1_3, NAME).carry(inner(), ClearText())
    out = next(conversation)
    for _ in range(2):
        out = conversation.send(server.answer(out))
    conversation.close()
    assert ended == [True]


# The lab


def shake(server, version, net="epoll", *, watch=None):
    engine = TlsEngine(version, server.server_name)
    conversation = engine.handshake() if watch is None else watched(engine.handshake(), watch)

    async def main():
        network = open_network(net)
        try:
            return await network.drive(
                conversation, address=server.address, port=server.port, deadline_s=20, max_bytes=262_144
            )
        finally:
            await network.close()

    return asyncio.run(main()), engine.report()


def watched(conversation, seen):
    """Pass a conversation through, noting each flight sent."""
    out = next(conversation)
    try:
        while True:
            seen.append(out)
            received = yield out
            out = conversation.send(received)
    except StopIteration as stop:
        seen.append(stop.value or b"")
        return stop.value


def named(lab, name):
    (server,) = [server for server in lab if server.name == name]
    return server


@pytest.mark.lab
@pytest.mark.parametrize("net", ["epoll", "asyncio"])
@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("node08-ssl2", SSL2),
        ("node010-ssl2-12", SSL2),
        ("node08-ssl3", SSL3),
        ("tlslite-ssl3", SSL3),
        ("nss-ssl3", SSL3),
        ("tlslite-ssl3-12", TLS1_0),
        ("nginx-hole-10-12", TLS1_0),
        ("openssl-11", TLS1_1),
        ("openssl-hole-11-13", TLS1_1),
        ("openssl-12-13", TLS1_2),
        ("haproxy-strict-sni", TLS1_2),
        ("openssl-12-13", TLS1_3),
        ("tlslite-13", TLS1_3),
        ("gnutls-13-x448", TLS1_3),
        ("openssl-anonymous", TLS1_0),
        ("openssl-null", TLS1_1),
        ("openssl-dss", TLS1_2),
    ],
)
def test_real_server_completes(lab, net, name, version):
    server = named(lab, name)
    log, report = shake(server, version, net)
    assert report.completed, (log.ending, report.error)
    assert log.ending is Ending.COMPLETE
    assert report.cipher_suite
    # nassl hands out no chain for SSLv2.
    assert bool(report.chain_der) == (name != "openssl-anonymous" and version is not SSL2)
    for der in report.chain_der:
        x509.load_der_x509_certificate(der)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("openssl-12-13", SSL2),
        ("openssl-12-13", SSL3),
        ("openssl-11", TLS1_0),
        ("openssl-12-13", TLS1_1),
        ("openssl-11", TLS1_2),
        ("nginx-12", TLS1_3),
        ("h2o-12-13", TLS1_1),
    ],
)
def test_real_server_that_lacks_the_version_does_not(lab, name, version):
    server = named(lab, name)
    assert version not in server.enabled
    log, report = shake(server, version)
    assert not report.completed
    assert report.error or log.ending in {Ending.PEER_CLOSED, Ending.PEER_RESET}


@pytest.mark.lab
@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
@pytest.mark.parametrize(
    "name", ["openssl-client-certificate", "nginx-client-certificate", "haproxy-client-certificate"]
)
def test_real_server_that_asks_for_a_certificate(lab, name, version):
    _, report = shake(named(lab, name), version)
    assert report.client_certificate_requested
    assert not shake(named(lab, "nginx-12-13"), version)[1].client_certificate_requested


@pytest.mark.lab
@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("net", ["epoll", "asyncio"])
def test_chain_of_20_kb_is_kept_whole(lab, lab_certificates, net, version):
    _, report = shake(named(lab, "nginx-20-kb-chain"), version, net)
    chain = x509.load_pem_x509_certificates(lab_certificates.big.chain.read_bytes())
    assert [x509.load_der_x509_certificate(der) for der in report.chain_der] == chain
    assert sum(map(len, report.chain_der)) > 20_000


@pytest.mark.lab
def test_master_key_goes_alone_on_the_wire(lab):
    """IIS 7 hangs when more comes in the same packet; seen here with a server that does not mind."""
    flights = []
    log, report = shake(named(lab, "node08-ssl2"), SSL2, watch=flights)
    assert report.completed, (log.ending, report.error)
    (with_key,) = [flight for flight in flights if flight[2:3] == b"\x02"]
    assert len(with_key) == 2 + (int.from_bytes(with_key[:2], "big") & 0x7FFF)
    assert b"".join(flights) == log.sent


@pytest.mark.lab
def test_https_is_carried_with_a_real_server(lab):
    server = named(lab, "nginx-12-13")
    for version in (TLS1_2, TLS1_3):
        engine = TlsEngine(version, server.server_name)
        clear = ClearText()

        async def main(engine=engine, clear=clear):
            network = open_network()
            try:
                return await network.drive(
                    engine.carry(http_get(host="lab", path="/"), clear),
                    address=server.address,
                    port=server.port,
                    deadline_s=20,
                    max_bytes=262_144,
                )
            finally:
                await network.close()

        assert asyncio.run(main()).ending is Ending.COMPLETE
        # tests/lab/openssl_factories.py: return 200 lab
        assert clear.received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert clear.received.endswith(b"\r\n\r\nlab")
