"""Each version answered, in memory and by real clients; and nothing a client does is raised."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum

from scanner.listener.answering import open_answer
from scanner.model.exchange import HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.probes.handshake import ClearText, TlsEngine
from scanner.probes.http import decode_http_response, http_get
from scanner.tls.client_hello import decode_client_hello
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from tests.lab.clients import GnutlsCli, OldNode
from tests.lab.model import LabServer
from tests.listener.meeting import meet, python_client, serving

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
]

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
COMPLETED = [SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3]
NAME = "t-0-curl.www.example.test.tls-probe.invalid"
PYTHONS = {
    TLS1_0: ssl.TLSVersion.TLSv1,
    TLS1_1: ssl.TLSVersion.TLSv1_1,
    TLS1_2: ssl.TLSVersion.TLSv1_2,
    TLS1_3: ssl.TLSVersion.TLSv1_3,
}


def hello_of(version):
    return encode_hello(version=version, variant=HelloVariant.COMPACT, random=bytes(RANDOM_BYTES), server_name=NAME)


def python_context(lowest, highest, ca_pem=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version, context.minimum_version = PYTHONS[highest], PYTHONS[lowest]
    if ca_pem:
        context.load_verify_locations(cadata=ca_pem)
    return context


@pytest.mark.parametrize("piece_bytes", [65_536, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("version", COMPLETED, ids=lambda version: version.label)
def test_each_version_is_answered_to_the_end(version, piece_bytes, listener_identity):
    engine, clear = TlsEngine(version, NAME), ClearText()
    request = http_get(host=NAME, path="/t/abc", headers=[("Accept", "application/json")])

    answer = meet(engine.carry(request, clear), version, listener_identity, piece_bytes=piece_bytes)

    seen, report = engine.report(), answer.report()
    assert (seen.completed, report.completed, report.error) == (True, True, None)
    assert seen.chain_der == report.chain_der, "the client got the certificate that the report names"
    response = decode_http_response(bytes(clear.received))
    assert response.status == 200
    assert json.loads(response.body)["settled"]["version"] == version.label
    assert answer.http_path == "/t/abc"


@pytest.mark.parametrize("version", [TLS1_0, TLS1_1, TLS1_2, TLS1_3], ids=lambda version: version.label)
def test_our_authority_makes_a_client_that_checks_content(version, listener_identity):
    context = python_context(version, version, listener_identity.ca_pem)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    answer = meet(python_client(context, NAME, request), version, listener_identity)

    assert (answer.report().completed, answer.report().error, answer.http_path) == (True, None, "/")


@pytest.mark.parametrize("version", [TLS1_0, TLS1_1, TLS1_2, TLS1_3], ids=lambda version: version.label)
def test_a_refused_certificate_is_received_alert_48(version, listener_identity):
    answer = meet(python_client(python_context(version, version), NAME), version, listener_identity)

    assert answer.report().error == "received alert 48 (unknown_ca)"
    assert not answer.report().completed
    assert answer.report().chain_der, "what was refused is named"


@pytest.mark.parametrize("version", [TLS1_0, TLS1_1], ids=lambda version: version.label)
def test_a_client_that_will_not_go_down_is_received_alert_70(version, listener_identity):
    answer = meet(python_client(python_context(TLS1_2, TLS1_2), NAME), version, listener_identity)

    assert answer.report().error == "received alert 70 (protocol_version)"


@pytest.mark.parametrize("version", [TLS1_0, TLS1_1, TLS1_2], ids=lambda version: version.label)
def test_a_client_whose_list_leaves_it_out_is_sent_alert_70(version, listener_identity):
    answer = meet(python_client(python_context(TLS1_3, TLS1_3), NAME), version, listener_identity)

    assert answer.report().error.startswith("sent alert 70 (protocol_version)")
    assert answer.report().chain_der == ()


@pytest.mark.parametrize("version", [TLS1_1, TLS1_2], ids=lambda version: version.label)
def test_a_client_that_could_do_more_finds_no_downgrade_mark(version, listener_identity):
    # Python's client, OpenSSL, refuses the marks of RFC 8446 section 4.1.3 with alert 47.
    context = python_context(TLS1_0, TLS1_3, listener_identity.ca_pem)

    answer = meet(python_client(context, NAME, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), version, listener_identity)

    assert answer.report().completed


@pytest.mark.parametrize("version", [SSL3, TLS1_0, TLS1_1, TLS1_2], ids=lambda version: version.label)
def test_a_fallback_signal_does_not_stop_it(version, listener_identity):
    hello = hello_of(version)
    # The first suite becomes TLS_FALLBACK_SCSV (RFC 7507); the others are still there.
    at = hello.index(b"\x00\x2f") if b"\x00\x2f" in hello else hello.index(b"\x00\x35")
    hello = hello[:at] + b"\x56\x00" + hello[at + 2 :]
    decoded = decode_client_hello(hello)
    assert decoded.has_fallback_scsv

    flight = next(open_answer(decoded, version, listener_identity).converse(hello))

    assert flight[0] == 22, "a handshake record, not an alert"
    assert flight[5] == 2, "a ServerHello"


@pytest.mark.parametrize("suites", ["RC4-SHA", "DES-CBC3-SHA", "ECDHE-RSA-RC4-SHA"])
def test_suites_that_openssl_lost_are_still_answered_in_tls_1_2(suites, listener_identity):
    engine = TlsEngine(TLS1_2, NAME)
    engine._client.set_cipher_list(suites)

    answer = meet(engine.handshake(), TLS1_2, listener_identity)

    assert (engine.report().completed, engine.report().cipher_suite) == (True, suites)
    assert answer.report().completed
    assert answer.report().engine.startswith("tlslite-ng")


@pytest.mark.parametrize("version", [SSL3, TLS1_0, TLS1_1, TLS1_2], ids=lambda version: version.label)
def test_no_shared_suite_is_sent_alert_40(version, listener_identity):
    hello = hello_of(version)
    offered = decode_client_hello(hello).suites
    # Kerberos (RFC 2712), which neither engine has.
    hello = hello.replace(b"".join(suite.to_bytes(2, "big") for suite in offered), b"\x00\x1e" * len(offered))
    answer = open_answer(decode_client_hello(hello), version, listener_identity)

    with pytest.raises(StopIteration) as stop:
        next(answer.converse(hello))

    assert answer.report().error.startswith("sent alert 40 (handshake_failure)")
    assert (stop.value.value[0], stop.value.value[5:]) == (21, b"\x02\x28"), "RFC 5246 section 7.2: fatal, 40"


def flexible_client(ciphers):
    """OpenSSL 1.0.2 that takes anything from SSLv2 on: its hello comes in SSLv2 format."""
    engine = TlsEngine(TLS1_0, None)
    engine._client = LegacySslClient(ssl_version=OpenSslVersionEnum.SSLV23, ssl_verify=OpenSslVerifyEnum.NONE)
    engine._client.set_cipher_list(ciphers)
    return engine


@pytest.mark.parametrize("version", [SSL3, TLS1_0, TLS1_1, TLS1_2], ids=lambda version: version.label)
def test_a_hello_in_ssl2_format_is_answered_with_any_version(version, listener_identity):
    engine = flexible_client("ALL:COMPLEMENTOFALL")
    first = next(flexible_client("ALL:COMPLEMENTOFALL").handshake())
    assert decode_client_hello(first).is_ssl2_format

    answer = meet(engine.handshake(), version, listener_identity)

    assert (engine.report().completed, answer.report().completed) == (True, True)


@pytest.mark.parametrize("version", [SSL3, TLS1_0, TLS1_2], ids=lambda version: version.label)
def test_renegotiation_is_not_followed(version, listener_identity):
    engine = TlsEngine(version, NAME)
    flights = []

    def client():
        ssl_, network = engine._client._ssl, engine._client._network_bio
        last = yield from engine.handshake()
        received = (yield last) if last else b""
        assert ssl_.renegotiate() is None
        for _ in range(4):
            if received:
                network.write(received)
            with contextlib.suppress(Exception):  # WantReadError, or what OpenSSL makes of the refusal
                ssl_.do_handshake()
            out = network.read(size) if (size := network.pending()) else b""
            flights.append(out)
            received = yield out

    answer = meet(client(), version, listener_identity)

    assert flights[0], "the client did ask"
    assert answer.report().completed


VERSIONS = st.sampled_from(ALL_VERSIONS)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    version=VERSIONS,
    asked=VERSIONS,
    variant=st.sampled_from(list(HelloVariant)),
    pieces=st.lists(st.binary(max_size=80), max_size=6),
    headers=st.sampled_from([b"", b"\x16\x03\x01", b"\x15\x03\x03\x00\x02", b"\x80", b"\x14\x03\x01\x00\x01\x01"]),
)
def test_whatever_follows_a_hello_is_not_raised(listener_identity, *, version, asked, variant, pieces, headers):
    try:
        hello = encode_hello(version=asked, variant=variant, random=bytes(RANDOM_BYTES), server_name=NAME)
    except (KeyError, ValueError):
        return
    decoded = decode_client_hello(hello)
    answer = open_answer(decoded, version, listener_identity)
    talk = answer.converse(hello + headers)
    answer.report()
    try:
        next(talk)
        for piece in pieces:
            talk.send(headers + piece or b"\x00")
            answer.report()
        talk.send(b"")
    except StopIteration:
        report = answer.report()
        assert not report.completed
        assert report.error
        return
    pytest.fail("a closed connection did not end it")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(version=st.sampled_from(COMPLETED), at=st.integers(0, 4_000), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_not_raised(listener_identity, version, at, bit):
    engine, clear = TlsEngine(version, NAME), ClearText()
    client = engine.carry(http_get(host=NAME, path="/"), clear)
    count = 0

    def tampered():
        nonlocal count
        out = next(client)
        received = yield out  # the hello itself as it is
        while True:
            try:
                out = bytearray(client.send(received))
            except StopIteration:
                return
            if count <= at < count + len(out):
                out[at - count] ^= 1 << bit
            count += len(out)
            received = yield bytes(out)

    answer = meet(tampered(), version, listener_identity)

    report = answer.report()
    assert report.completed or report.error


# Real clients


@pytest.mark.lab
@pytest.mark.parametrize("version", [TLS1_0, TLS1_1, TLS1_2, TLS1_3], ids=lambda version: version.label)
def test_curl_is_answered(version, listener_identity, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text(listener_identity.ca_pem)
    with serving(version, listener_identity) as (port, answers):
        url = f"https://{NAME}:{port}/FederationMetadata/2007-06/FederationMetadata.xml"
        command = ["curl", "-sS", "--cacert", ca, "--resolve", f"{NAME}:{port}:127.0.0.1"]
        command += ["--tls-max", version.label[3:], "--tlsv1.0", "--ciphers", "ALL:@SECLEVEL=0", url]
        said = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "OPENSSL_CONF": os.devnull},
        )
        refused = subprocess.run(
            [part for part in command if part not in {"--cacert", ca}],
            capture_output=True,
            timeout=20,
            check=False,
            env={**os.environ, "OPENSSL_CONF": os.devnull},
        )
    assert said.returncode == 0, said.stderr
    assert "EntityDescriptor" in said.stdout
    assert refused.returncode == 60, "curl's code for a certificate it does not trust"
    assert [answer.report().error for answer in answers] == [None, "received alert 48 (unknown_ca)"]


def lab_server(port):
    return LabServer(name="listener", stack="ours", port=port, server_name=NAME, enabled=frozenset(), config="")


@pytest.mark.lab
@pytest.mark.parametrize(
    ("client", "version"),
    [
        (client, version)
        for client in (GnutlsCli(), OldNode())
        for version in COMPLETED
        if client.can_speak(lab_server(1), version)
    ],
    ids=lambda one: one.label if isinstance(one, TlsVersion) else one.name,
)
def test_other_stacks_are_answered(client, version, listener_identity, lab_certificates):
    with serving(version, listener_identity) as (port, answers):
        server = lab_server(port)
        attempt = client.attempt(server, version, lab_certificates)
    assert attempt.is_accepted, attempt.said
    assert answers[0].report().completed


@pytest.mark.lab
@pytest.mark.parametrize("client", ["nassl", "node"])
def test_an_ssl2_client_goes_on(client, listener_identity, lab_certificates):
    with serving(SSL2, listener_identity) as (port, answers):
        if client == "node":
            OldNode().attempt(lab_server(port), SSL2, lab_certificates)
    if client == "nassl":
        answers = [meet(TlsEngine(SSL2, None).handshake(), SSL2, listener_identity)]
    report = answers[0].report()
    assert (report.completed, report.error) == (False, None)


JAVA = """
import javax.net.ssl.*;
public class Client {
  public static void main(String[] args) throws Exception {
    SSLSocketFactory f = (SSLSocketFactory) SSLSocketFactory.getDefault();
    SSLSocket s = (SSLSocket) f.createSocket("localhost", Integer.parseInt(args[0]));
    s.setEnabledProtocols(new String[] {args[1]});
    s.startHandshake();
    System.out.println("in " + s.getSession().getProtocol());
    s.close();
  }
}
"""


@pytest.mark.lab
@pytest.mark.parametrize(("version", "name"), [(TLS1_0, "TLSv1"), (TLS1_2, "TLSv1.2"), (TLS1_3, "TLSv1.3")])
@pytest.mark.parametrize("trusts", [True, False])
def test_java_is_answered(version, name, trusts, listener_identity, tmp_path):
    (tmp_path / "ca.pem").write_text(listener_identity.ca_pem)
    (tmp_path / "Client.java").write_text(JAVA)
    (tmp_path / "all.security").write_text("jdk.tls.disabledAlgorithms=\njdk.certpath.disabledAlgorithms=\n")
    store = tmp_path / "trust.p12"
    from_file = ["-file", tmp_path / "ca.pem"]
    subprocess.run(
        [
            *["keytool", "-importcert", "-noprompt", "-alias", "ca", "-storepass", "changeit", "-storetype", "PKCS12"],
            "-keystore",
            store,
            *from_file,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    command = ["java", f"-Djava.security.properties={tmp_path / 'all.security'}"]
    command += [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"] if trusts else []
    with serving(version, listener_identity) as (port, answers):
        said = subprocess.run(
            [*command, tmp_path / "Client.java", str(port), name],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    report = answers[0].report()
    if trusts:
        assert f"in {name}" in said.stdout, said.stderr
        assert report.completed
    else:
        assert report.error == "received alert 46 (certificate_unknown)"
        assert not report.completed
