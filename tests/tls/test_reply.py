"""The reply decoder: whole, in pieces, with trailing data, on captured replies of real servers, and on rubbish."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.tls.reply import (
    Alert,
    Incomplete,
    Malformed,
    NotTls,
    Reply,
    ServerHello,
    Ssl2Error,
    Ssl2ServerHello,
    decode_reply,
    decode_reply_after_retry,
    read_reply,
)
from tests.hostile import wire

FIXTURES = Path(__file__).parent / "fixtures"

# What the command lines in fixtures/README.md make the servers say: version, suite, HelloRetryRequest.
CAPTURED_HELLOS = {
    "openssl-tls13-retry": (0x0304, 0x1302, True),
    "openssl-tls13": (0x0304, 0x1302, False),
    "openssl-tls12": (0x0303, 0xCCA8, False),
    "openssl-tls10-downgraded": (0x0301, 0x002F, False),
    "openssl-tls11-downgraded": (0x0302, 0x002F, False),
    "openssl-tls12-downgraded": (0x0303, 0x002F, False),
    "gnutls-tls11": (0x0302, 0x0035, False),
    "gnutls-tls12-when-asked-tls13": (0x0303, 0x0035, False),
    "node08-ssl3": (0x0300, None, False),
    "node08-tls10-when-asked-tls12": (0x0301, None, False),
    "tlslite-ssl3": (0x0300, {0x000A, 0x0016, 0xC012}, False),  # 3DES with RSA, DHE_RSA or ECDHE_RSA
    "tlslite-ssl3-when-asked-tls12": (0x0300, {0x000A, 0x0016, 0xC012}, False),
}
CAPTURED_ALERTS = {
    "openssl-tls13-only-refuses-tls12": 70,
    "openssl-tls12-only-refuses-tls13": 70,
    "openssl-refuses-ssl3": 40,
    "openssl-refuses-ssl2": 70,
    "gnutls-refuses-tls10": 70,
}
CAPTURED = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.bin"))}

HELLO_12 = wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_server_hello(0x0303, 0xC02F))
HELLO_13 = wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_server_hello_13(0x1301))
SSL2_HELLO = wire.encode_ssl2_server_hello((0x010080, 0x0700C0))
UNRECOGNIZED_NAME = wire.encode_alert(112, level=wire.WARNING)
SAMPLES = {
    **CAPTURED,
    "alert": wire.encode_alert(40),
    "warning, then hello": UNRECOGNIZED_NAME + HELLO_12,
    "hello in two records": (
        wire.encode_record(wire.HANDSHAKE, 0x0303, HELLO_12[5:20])
        + wire.encode_record(wire.HANDSHAKE, 0x0303, HELLO_12[20:])
    ),
    "hello in records of one byte": b"".join(
        wire.encode_record(wire.HANDSHAKE, 0x0303, bytes([byte])) for byte in HELLO_13[5:]
    ),
    "alert in records of one byte": wire.encode_record(wire.ALERT, 0, b"\x02")
    + wire.encode_record(wire.ALERT, 0, b"\x46"),
    "SSLv2": SSL2_HELLO,
    "SSLv2 error": wire.encode_ssl2_error(1),
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
}


def fed(pieces) -> Reply | None:
    """Return the Reply from feeding pieces, None where it wants more than there is."""
    reader = read_reply()
    next(reader)
    try:
        for piece in pieces:
            reader.send(piece)
        reader.send(b"")
    except StopIteration as stop:
        return stop.value
    return None


def test_every_fixture_is_used():
    assert set(CAPTURED) == {*CAPTURED_HELLOS, *CAPTURED_ALERTS, "node08-ssl2"}
    listed = (FIXTURES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.bin`" in listed for name in CAPTURED)


@pytest.mark.parametrize("name", CAPTURED_HELLOS)
def test_captured_server_hello(name):
    version, suite, is_retry = CAPTURED_HELLOS[name]
    reply = decode_reply(CAPTURED[name])
    assert isinstance(reply, ServerHello)
    assert reply.version == version
    assert reply.legacy_version == min(version, 0x0303)
    assert reply.is_retry_request is is_retry
    if suite is not None:
        assert reply.suite in (suite if isinstance(suite, set) else {suite})
    assert reply.random == CAPTURED[name][11:43]


@pytest.mark.parametrize(("name", "tail"), [("10", b"DOWNGRD\x00"), ("11", b"DOWNGRD\x00"), ("12", b"DOWNGRD\x01")])
def test_server_that_has_tls13_says_so_in_its_random(name, tail):
    """RFC 8446 section 4.1.3; the captured server has everything up to TLS 1.3 on."""
    reply = decode_reply(CAPTURED[f"openssl-tls{name}-downgraded"])
    assert isinstance(reply, ServerHello)
    assert reply.random[-8:] == tail


def test_captured_retry_request_names_its_group():
    """The server was started with -groups P-384, number 24 in the IANA registry."""
    reply = decode_reply(CAPTURED["openssl-tls13-retry"])
    assert isinstance(reply, ServerHello)
    assert reply.retry_group == 24
    assert decode_reply_after_retry(CAPTURED["openssl-tls13-retry"]) == Incomplete()


def test_what_follows_a_retry_request_is_found():
    retry = wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_server_hello_13(0x1301, is_retry=True))
    change_cipher_spec = wire.encode_record(20, 0x0303, b"\x01")
    for between in (b"", change_cipher_spec):
        reply = decode_reply_after_retry(retry + between + HELLO_13)
        assert isinstance(reply, ServerHello)
        assert not reply.is_retry_request
        refused = decode_reply_after_retry(retry + between + wire.encode_alert(112))
        assert refused == Alert(level=2, description=112)


@pytest.mark.parametrize("name", CAPTURED_ALERTS)
def test_captured_alert(name):
    assert decode_reply(CAPTURED[name]) == Alert(level=2, description=CAPTURED_ALERTS[name])


def test_captured_ssl2_server_hello():
    """Six kinds were shared: OpenSSL 1.0.0's ALL has all of the draft's but IDEA or those it was built without."""
    data = CAPTURED["node08-ssl2"]
    reply = decode_reply(data)
    assert isinstance(reply, Ssl2ServerHello)
    assert reply.version == 2
    assert reply.certificate_bytes == int.from_bytes(data[7:9], "big")
    assert len(reply.cipher_kinds) == int.from_bytes(data[9:11], "big") // 3
    assert {0x010080, 0x0700C0} <= set(reply.cipher_kinds), "RC4-128 and 3DES, in every build"


def test_replies_say_what_was_built():
    assert decode_reply(SAMPLES["alert in records of one byte"]) == Alert(level=2, description=70)
    assert decode_reply(SAMPLES["SSLv2 error"]) == Ssl2Error(code=1)
    ssl2 = decode_reply(SSL2_HELLO)
    assert isinstance(ssl2, Ssl2ServerHello)
    assert ssl2.cipher_kinds == (0x010080, 0x0700C0)
    for name in ("warning, then hello", "hello in two records"):
        reply = decode_reply(SAMPLES[name])
        assert isinstance(reply, ServerHello)
        assert (reply.version, reply.suite) == (0x0303, 0xC02F)
    reply = decode_reply(SAMPLES["hello in records of one byte"])
    assert isinstance(reply, ServerHello)
    assert (reply.version, reply.legacy_version, reply.suite) == (0x0304, 0x0303, 0x1301)


@pytest.mark.parametrize("record_version", [0x0000, 0x0002, 0x0300, 0x0301, 0x0303, 0x0304, 0x7F1C, 0xFFFF])
@pytest.mark.parametrize("description", [0, 10, 40, 47, 70, 80, 255])
def test_alert_records_may_carry_any_version(record_version, description):
    """BearSSL sends 0x0000 (facts), others their own or the hello's."""
    assert decode_reply(wire.encode_alert(description, record_version=record_version)).description == description


@pytest.mark.parametrize("level", [0, 1, 2, 255])
def test_warning_close_notify_is_a_refusal(level):
    """ngIRCd sends a warning close_notify and nothing more; some levels on the wire are nonsense."""
    assert decode_reply(wire.encode_alert(0, level=level)) == Alert(level=level, description=0)


def test_warning_unrecognized_name_is_not_the_end():
    assert decode_reply(UNRECOGNIZED_NAME) == Incomplete(passing_alerts=(112,))
    assert isinstance(decode_reply(UNRECOGNIZED_NAME + HELLO_12), ServerHello)
    assert decode_reply(wire.encode_alert(112)) == Alert(level=2, description=112)
    assert decode_reply(UNRECOGNIZED_NAME + wire.encode_alert(40)) == Alert(level=2, description=40)


@pytest.mark.parametrize("name", SAMPLES)
def test_byte_by_byte_is_as_whole(name):
    data = SAMPLES[name]
    whole = decode_reply(data)
    pieces = fed(data[at : at + 1] for at in range(len(data)))
    assert type(pieces) is type(whole)
    if not isinstance(whole, NotTls):  # its sample is for people: as much as had come
        assert pieces == whole


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in {"HTTP", "SSH"}])
@pytest.mark.parametrize("trailing", [b"\x00", b"\x15\x03\x01\x00\x02\x02\x28", b"HTTP/1.1 200 OK", bytes(70_000)])
def test_trailing_data_changes_nothing(name, trailing):
    assert decode_reply(SAMPLES[name] + trailing) == decode_reply(SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_beginning_is_incomplete_or_the_same(name):
    """A reply cut short must never say something else: SSLv2's certificate and TLS's chain may be cut, no more."""
    data = SAMPLES[name]
    whole = decode_reply(data)
    for end in range(min(len(data), 1500)):
        reply = decode_reply(data[:end])
        assert isinstance(reply, Incomplete) or type(reply) is type(whole), (end, reply)
        if isinstance(reply, (ServerHello, Alert, Ssl2ServerHello, Ssl2Error)):
            assert reply == whole


@given(data=st.data(), name=st.sampled_from(sorted(SAMPLES)))
@settings(max_examples=300)
def test_any_split_is_as_whole(data, name):
    sample = SAMPLES[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sample)), max_size=8)))
    pieces = [sample[a:b] for a, b in zip([0, *cuts], [*cuts, len(sample)], strict=True) if a < b]
    whole, reply = decode_reply(sample), fed(pieces)
    assert type(reply) is type(whole)
    assert isinstance(whole, NotTls) or reply == whole


REPLIES = (ServerHello, Alert, Ssl2ServerHello, Ssl2Error, NotTls, Malformed, Incomplete)


@given(data=st.binary(max_size=400), sent=st.binary(max_size=60))
@settings(max_examples=1000)
def test_rubbish_is_never_an_exception(data, sent):
    assert isinstance(decode_reply(data, sent=sent), REPLIES)
    assert isinstance(decode_reply_after_retry(data), REPLIES)


@given(data=st.data(), name=st.sampled_from(sorted(SAMPLES)))
@settings(max_examples=1000)
def test_mutated_real_replies_are_never_an_exception(data, name):
    sample = bytearray(SAMPLES[name][:600])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=6)):
        sample[at % len(sample)] = value
    cut = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(cut, len(sample)))
    mutated = bytes(sample[:cut] + sample[end:])
    whole = decode_reply(mutated)
    assert isinstance(whole, REPLIES)
    assert isinstance(decode_reply_after_retry(mutated), REPLIES)
    pieces = fed(mutated[at : at + 1] for at in range(len(mutated)))
    # The same bytes never say two things, however they come.
    assert type(pieces) is type(whole), (whole, pieces)
    if isinstance(whole, (ServerHello, Alert, Ssl2ServerHello, Ssl2Error)):
        assert pieces == whole


ENDLESS = {
    "warnings": UNRECOGNIZED_NAME,
    "two warnings a record": wire.encode_record(wire.ALERT, 0x0303, b"\x01\x70\x01\x70"),
    "empty handshake records": wire.encode_record(wire.HANDSHAKE, 0x0303, b""),
    "empty alert records": wire.encode_record(wire.ALERT, 0x0303, b""),
    "change_cipher_spec": wire.encode_record(20, 0x0303, b"\x01"),
    "empty change_cipher_spec": wire.encode_record(20, 0x0303, b""),
    "HelloRequests": wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_handshake(0, b"")),
    "HelloRequests, many a record": wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_handshake(0, b"") * 4000),
    "zeros": bytes(4096),
    "text": b"a" * 4096,
    "0xff": b"\xff" * 4096,
    "application data": wire.encode_record(23, 0x0303, bytes(1000)),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_input_ends(name):
    """Counted in pieces, not seconds: the decoder gives up long before the reader's byte limit of 64 KB."""
    piece = ENDLESS[name]
    pieces = iter([piece] * 200)
    assert isinstance(fed(pieces), (Malformed, NotTls))
    assert next(pieces, None) is not None, "it ended before the pieces did"


@pytest.mark.parametrize("length", [16_385 + 2_048, 40_000, 65_535])
def test_record_longer_than_any_is_malformed(length):
    assert isinstance(decode_reply(b"\x16\x03\x03" + length.to_bytes(2, "big") + b"\x02"), Malformed)


def test_handshake_length_of_2_to_24_is_malformed():
    data = wire.encode_record(wire.HANDSHAKE, 0x0303, b"\x02\xff\xff\xff" + bytes(100))
    assert isinstance(decode_reply(data), Malformed)


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"<html>", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"220 mail.example ESMTP\r\n", "SMTP or FTP"),
        (b"* OK IMAP4rev1\r\n", "IMAP"),
        (b"+OK\r\n", "POP3"),
        (b"HTT", "text"),
        (b"\x00\x01\x02\x03\x04\x05\x06", "another protocol"),
    ],
)
def test_other_protocols(data, protocol):
    reply = decode_reply(data)
    assert isinstance(reply, NotTls)
    assert reply.protocol == protocol
    assert all(character.isprintable() for character in reply.sample)
    assert len(reply.sample) <= 80


@pytest.mark.parametrize(
    "hello", [b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", b"\x80\x2e\x01\x00\x02" + bytes(43)]
)
def test_echo_of_our_hello(hello):
    reply = decode_reply(hello, sent=hello)
    assert isinstance(reply, NotTls)
    assert reply.protocol == "an echo of our hello"


def _record(body: bytes) -> bytes:
    return wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_handshake(2, body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x03\x03" + bytes(32),
        b"\x03\x03" + bytes(32) + b"\x21" + bytes(40),
        b"\x03\x03" + bytes(32) + b"\x20" + bytes(31),
        b"\x03\x03" + bytes(32) + b"\x00\x00\x2f\x00\x00\x06\x00\x2b\x00\x09\x03\x04",
        b"\x03\x03" + bytes(32) + b"\x00\x00\x2f\x00\x00\x05\x00\x2b\x00\x01\x03",
    ],
)
def test_broken_server_hello_is_malformed(body):
    assert isinstance(decode_reply(_record(body)), Malformed)


def test_server_hello_without_extensions_is_fine():
    reply = decode_reply(_record(b"\x03\x01" + bytes(32) + b"\x00\x00\x2f\x00"))
    assert isinstance(reply, ServerHello)
    assert (reply.version, reply.suite) == (0x0301, 0x002F)


@pytest.mark.parametrize("kind", [11, 12, 14, 20, 99])
def test_other_handshake_message_first_is_malformed(kind):
    assert isinstance(
        decode_reply(wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_handshake(kind, b"x"))), Malformed
    )
