"""tlslite-ng's side: what is kept from it, and which suite it takes."""

from __future__ import annotations

import time

import pytest

from scanner.listener.answering import open_answer
from scanner.listener.identity import Identity
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
