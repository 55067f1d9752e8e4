"""tlslite-ng's side: what is kept from it, and which suite it takes."""

from __future__ import annotations

import time

import pytest

from scanner.listener.answering import open_answer
from scanner.listener.identity import Identity
from scanner.listener.tlslite_answer import _without_length
from scanner.model.versions import TlsVersion
from scanner.probes.handshake import TlsEngine
from scanner.tls.client_hello import decode_client_hello
from tests.listener.meeting import meet

SSL3, TLS1_0, TLS1_1 = TlsVersion.SSL3, TlsVersion.TLS1_0, TlsVersion.TLS1_1
OLD = pytest.mark.parametrize("version", [SSL3, TLS1_0, TLS1_1], ids=lambda version: version.label)


@OLD
@pytest.mark.parametrize(
    "suite",
    [
        "AES128-SHA",
        "RC4-MD5",
        "DES-CBC3-SHA",
        "DHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES128-SHA",
        "ADH-AES128-SHA",
        "AECDH-AES128-SHA",
        "NULL-SHA",
    ],
)
def test_suites_of_each_kind_are_answered(suite, version, listener_identity):
    engine = TlsEngine(version, "www.example.test")
    engine._client.set_cipher_list(suite)

    report = meet(engine.handshake(), version, listener_identity).report()

    assert (engine.report().cipher_suite, report.completed, report.error) == (suite, True, None)
    assert report.chain_der == engine.report().chain_der


@OLD
def test_of_all_suites_the_cheap_ones_are_taken(version, listener_identity):
    engine = TlsEngine(version, "www.example.test")
    assert "TLS_RSA_" in meet(engine.handshake(), version, listener_identity).report().cipher_suite


@OLD
@pytest.mark.parametrize("kind", [0, 1], ids=["RSA only", "ECDSA only"])
def test_the_users_own_certificate_is_enough(kind, version, listener_identity):
    leaf = listener_identity.leaves_for("own.example.test")[kind]
    engine = TlsEngine(version, "www.example.test")
    report = meet(engine.handshake(), version, Identity(issuer=None, fixed=(leaf,))).report()
    assert (report.completed, report.chain_der) == (True, leaf.chain_der)


@pytest.mark.parametrize("name", ["has_underscore.example.test", "192.0.2.7", "a b"])
def test_names_that_it_would_refuse_are_answered(name, listener_identity):
    engine = TlsEngine(TLS1_0, name)
    assert meet(engine.handshake(), TLS1_0, listener_identity).report().completed


def test_an_extension_it_would_refuse_is_answered(listener_identity):
    first = next(TlsEngine(TLS1_0, "www.example.test").handshake())
    # A second server_name extension's worth of nonsense: key_share (51) without a body, which TLS 1.0 does not know.
    body = first[5:]
    end = len(body) - int.from_bytes(extensions_of(body)[0], "big")
    longer = body[: end - 2] + (len(body) - end + 4).to_bytes(2, "big") + body[end:] + b"\x00\x33\x00\x00"
    longer = longer[:1] + (len(longer) - 4).to_bytes(3, "big") + longer[4:]
    hello = first[:3] + len(longer).to_bytes(2, "big") + longer
    decoded = decode_client_hello(hello)
    assert decoded.maybe_extension(51) == b""
    assert next(open_answer(decoded, TLS1_0, listener_identity).converse(hello))[5] == 2, "a ServerHello"


JAVA = bytes.fromhex(
    "16030200ca010000c6030236d5e4816fe1cd5051e8fa42034e578c62ccc68198a8c49eb472d8585e94d75f00002cc00a"
    "c014c009c0130039003800330032c005c00fc004c00e0035002fc008c01200160013c003c00d000a00ff010000710000"
    "002600240000216a6176612d73736c332d31312e636c69656e74732e6578616d706c652e746573740005000501000000"
    "00000a00160014001d001700180019001e01000101010201030104000b00020100001100090007020004000000000017"
    "000000230000002b00050403020300"
)
"""The hello of Java 17 with SSLv3 and TLSv1.1, recorded: it carries extended_master_secret (23)."""


def test_ssl3_is_answered_without_what_it_does_not_have(listener_identity):
    """RFC 7627 section 4 and RFC 7366 section 2: both are TLS's. With the first, tlslite-ng fails."""
    hello = decode_client_hello(JAVA)
    assert (hello.maybe_extension(23), hello.maybe_extension(11)) == (b"", b"\x01\x00")
    for version, extensions in ((SSL3, {0xFF01}), (TLS1_1, {0xFF01, 23, 11})):
        sent = next(open_answer(hello, version, listener_identity).converse(JAVA))
        message = sent[5 : 5 + 4 + int.from_bytes(sent[6:9], "big")]
        rest = message[4 + 2 + 32 :]
        at = 1 + rest[0] + 2 + 1
        end = at + 2 + int.from_bytes(rest[at : at + 2], "big")
        at += 2
        found = set()
        while at < end:
            found.add(int.from_bytes(rest[at : at + 2], "big"))
            at += 4 + int.from_bytes(rest[at + 2 : at + 4], "big")
        assert found == extensions, version


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        # SSL 3.0 has no length before the encrypted secret (RFC 6101 section 5.6.7.1); some write one
        (b"\x01\x00" + bytes(256), bytes(256)),
        (b"\x02\x00" + bytes(512), bytes(512)),
        (bytes(256), bytes(256)),
        (b"\x00\xfe" + bytes(254), b"\x00\xfe" + bytes(254)),
        (b"\x01\x01" + bytes(256), b"\x01\x01" + bytes(256)),
        (b"\x00\x00", b""),
        (b"", b""),
    ],
)
def test_a_length_before_the_secret_is_left_out(sent, read):
    assert _without_length(bytearray(sent)) == read


def extensions_of(body):
    at = 4 + 2 + 32
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    return body[at : at + 2], body[at + 2 :]


def test_one_handshake_costs_little(listener_identity, record_for_summary):
    engines = [TlsEngine(TLS1_0, "www.example.test") for _ in range(10)]
    for engine in engines[:2]:  # the first pays for what is then kept
        meet(engine.handshake(), TLS1_0, listener_identity)
    began = time.process_time()
    for engine in engines[2:]:
        meet(engine.handshake(), TLS1_0, listener_identity)
    each_ms = (time.process_time() - began) / 8 * 1000
    record_for_summary(f"tlslite-ng: {each_ms:.0f} ms of processor time for both sides of a TLS 1.0 handshake")
    assert each_ms < 100, "twenty are meant; a busy machine counts double"
