"""OpenSSL's side: what a policy of the system may not take away, and the names of alerts."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys

import pytest

from scanner.listener import openssl_answer
from scanner.listener.answering import open_answer
from scanner.model.exchange import HelloVariant
from scanner.model.versions import TlsVersion
from scanner.probes.handshake import TlsEngine
from scanner.tls.client_hello import decode_client_hello
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from scanner.tls.reply import ServerHello, decode_reply
from tests.listener.meeting import meet, python_client, serving

TLS1_2, TLS1_3 = TlsVersion.TLS1_2, TlsVersion.TLS1_3
NAME = "www.example.test"


def hello_of(version):
    return encode_hello(version=version, variant=HelloVariant.COMPACT, random=bytes(RANDOM_BYTES), server_name=NAME)


POLICY = """
openssl_conf = init
[init]
ssl_conf = modules
[modules]
system_default = policy
[policy]
MinProtocol = {least}
MaxProtocol = {most}
CipherString = ECDHE-RSA-AES256-GCM-SHA384:@SECLEVEL=4
"""

SERVE = """
import sys
from scanner.listener.answering import open_answer
from scanner.listener.identity import make_identity
from scanner.model.versions import TlsVersion
from scanner.tls.client_hello import decode_client_hello
hello = bytes.fromhex(sys.argv[2])
answer = open_answer(decode_client_hello(hello), TlsVersion(int(sys.argv[1])), make_identity())
talk = answer.converse(hello)
try:
    print(next(talk).hex())
except StopIteration as stop:
    print(stop.value.hex())
"""


@pytest.mark.parametrize(("version", "other"), [(TLS1_2, "TLSv1.3"), (TLS1_3, "TLSv1.2")])
def test_a_policy_in_openssl_cnf_takes_nothing_away(version, other, tmp_path):
    policy = tmp_path / "openssl.cnf"
    policy.write_text(POLICY.format(least=other, most=other))
    flight = subprocess.run(
        [sys.executable, "-c", SERVE, str(int(version)), hello_of(version).hex()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "OPENSSL_CONF": str(policy)},
    ).stdout
    reply = decode_reply(bytes.fromhex(flight))
    assert isinstance(reply, ServerHello), reply
    assert reply.version == version


@pytest.mark.parametrize(
    "suite",
    ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA", "DHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ADH-AES128-SHA"],
)
def test_suites_of_each_kind_are_answered(suite, listener_identity):
    engine = TlsEngine(TLS1_2, NAME)
    engine._client.set_cipher_list(f"{suite}:@SECLEVEL=0")

    report = meet(engine.handshake(), TLS1_2, listener_identity).report()

    assert (report.completed, report.cipher_suite, report.error) == (True, suite, None)
    assert report.engine.startswith("OpenSSL ")
    assert report.chain_der == engine.report().chain_der


@pytest.mark.parametrize("version", [TLS1_2, TLS1_3], ids=lambda version: version.label)
def test_a_session_is_never_resumed(version, listener_identity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=listener_identity.ca_pem)
    session, request = None, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ in range(2):
        seen = []
        client = python_client(context, NAME, request, session=session, seen=seen)
        assert meet(client, version, listener_identity).report().completed
        assert not seen[0].session_reused
        session = seen[0].session
        assert session is None or not session.has_ticket
    assert version is TLS1_3 or session, "the client had something to offer"


def test_http_2_is_never_chosen(listener_identity):
    for version in (TLS1_2, TLS1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=listener_identity.ca_pem)
        context.set_alpn_protocols(["h2", "http/1.1"])
        report = meet(python_client(context, NAME, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), version, listener_identity)
        assert report.http_path == "/"
        context.set_alpn_protocols(["h2"])
        answer = meet(python_client(context, NAME), version, listener_identity)
        assert answer.report().completed, "another protocol is no reason to refuse"


# In TLS 1.3 user_canceled is followed by close_notify, and OpenSSL waits for it (RFC 8446 section 6.1).
ALERTS = [
    (version, number) for version in (TLS1_2, TLS1_3) for number in sorted(openssl_answer._ALERT_REASONS.values())
]
ALERTS.remove((TLS1_3, 90))


@pytest.mark.parametrize(("version", "number"), ALERTS)
def test_each_alert_has_its_number(number, version, listener_identity):
    hello = hello_of(version)
    answer = open_answer(decode_client_hello(hello), version, listener_identity)
    talk = answer.converse(hello)
    next(talk)
    # In the clear, as a client that can't read the ServerHello sends it (RFC 8446 section 5.1).
    with pytest.raises(StopIteration):
        talk.send(bytes([21, 3, 3, 0, 2, 2, number]))
    report = answer.report()
    assert report.error.startswith(f"received alert {number} ")
    assert not report.completed


@pytest.mark.lab
@pytest.mark.parametrize("version", [TLS1_2, TLS1_3], ids=lambda version: version.label)
def test_s_client_gets_a_page_and_may_not_renegotiate(version, listener_identity, tmp_path):
    (tmp_path / "ca.pem").write_text(listener_identity.ca_pem)
    with serving(version, listener_identity) as (port, answers):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME, "-fallback_scsv"]
        command += ["-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error", "-quiet"]
        command += ["-tls1_2"] if version is TLS1_2 else ["-tls1_3"]
        said = [
            subprocess.run(command, input=sent, capture_output=True, timeout=30, check=False).stdout
            for sent in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"R\n")
        ]
    assert b"HTTP/1.1 200 OK" in said[0]
    assert [answer.report().completed for answer in answers] == [True, True]
    assert answers[0].report().error is None
