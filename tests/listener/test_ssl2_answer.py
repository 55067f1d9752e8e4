"""SSLv2, checked against the draft's own layout and OpenSSL 1.0.2 (nassl)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.listener.answering import open_answer
from scanner.listener.ssl2_answer import encode_ssl2_server_hello
from scanner.model.exchange import HelloVariant
from scanner.model.versions import TlsVersion
from scanner.probes.handshake import TlsEngine
from scanner.tls.client_hello import decode_client_hello
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from scanner.tls.suites import SSL2_COMMON
from tests.listener.meeting import meet

HELLO = encode_hello(
    version=TlsVersion.SSL2, variant=HelloVariant.COMPACT, random=bytes(RANDOM_BYTES), server_name=None
)


def begin(listener_identity, hello=HELLO):
    answer = open_answer(decode_client_hello(hello), TlsVersion.SSL2, listener_identity)
    talk = answer.converse(hello)
    return answer, talk


def finish(talk, *pieces):
    next(talk)
    *before, last = pieces
    for piece in before:
        assert talk.send(piece) == b""
    with pytest.raises(StopIteration):
        talk.send(last)


def test_the_server_hello_is_laid_out_as_the_draft_has_it():
    # draft-hickman-netscape-ssl-00: record header section 1.1; SERVER-HELLO section 2.6.
    expected = (
        "80140400010002000200030004cafe01008001020304"
    )  # fmt: skip
    assert encode_ssl2_server_hello(b"\xca\xfe", (0x010080,), b"\x01\x02\x03\x04").hex() == expected


def test_it_has_our_certificate_and_the_kinds_the_client_has(listener_identity):
    answer, talk = begin(listener_identity)
    flight = next(talk)
    (certificate,) = answer.report().chain_der
    specs = b"".join(kind.to_bytes(3, "big") for kind in SSL2_COMMON)
    assert int.from_bytes(flight[:2], "big") == 0x8000 | len(flight) - 2
    assert certificate + specs in flight
    assert len(flight) - flight.index(specs) - len(specs) == 16, "connection id"


def test_openssl_reads_it_and_goes_on(listener_identity):
    engine = TlsEngine(TlsVersion.SSL2, None)
    answer = meet(engine.handshake(), TlsVersion.SSL2, listener_identity)
    assert (answer.report().completed, answer.report().error, answer.http_path) == (False, None, None)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (bytes.fromhex("8004" + "02" + "010080"), None),
        (bytes.fromhex("000602" + "02" + "010080" + "0000"), None),  # three-byte header with padding
        (bytes.fromhex("8003" + "000001"), "received SSLv2 error 1"),
        (bytes.fromhex("15030100020246"), "received alert 70 (protocol_version)"),
        (bytes.fromhex("8001" + "03"), "no CLIENT-MASTER-KEY but something else"),
        (b"", "peer closed"),
    ],
)
@pytest.mark.parametrize("is_bytewise", [False, True])
def test_what_the_client_says_next_is_noted(reply, error, is_bytewise, listener_identity):
    answer, talk = begin(listener_identity)
    finish(talk, *((reply[at : at + 1] for at in range(len(reply))) if is_bytewise and reply else (reply,)))
    assert answer.report().error == error


def test_a_tls_hello_is_not_answered(listener_identity):
    hello = encode_hello(
        version=TlsVersion.TLS1_0, variant=HelloVariant.COMPACT, random=bytes(RANDOM_BYTES), server_name=None
    )
    answer, talk = begin(listener_identity, hello)
    with pytest.raises(StopIteration) as stop:
        next(talk)
    assert stop.value.value == b""
    assert answer.report().error == "no SSLv2 hello to answer"


def test_no_known_kind_is_answered_with_an_error(listener_identity):
    hello = HELLO.replace(b"".join(kind.to_bytes(3, "big") for kind in SSL2_COMMON), b"\x0f\xff\xff" * len(SSL2_COMMON))
    answer, talk = begin(listener_identity, hello)
    with pytest.raises(StopIteration) as stop:
        next(talk)
    # Section 2.7: ERROR is type 0, NO-CIPHER-ERROR 1.
    assert stop.value.value == bytes.fromhex("8003000001")
    assert answer.report().error == "sent SSLv2 error 1 (no cipher)"


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_no_bytes_raise(listener_identity, pieces):
    answer, talk = begin(listener_identity)
    try:
        next(talk)
        for piece in [*pieces, b""]:
            talk.send(piece)
    except StopIteration:
        answer.report()
        return
    pytest.fail("a closed connection did not end it")
