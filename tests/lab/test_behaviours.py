"""How real stacks refuse, row by row: the wire does what is known of it, and the scanner makes the right thing of it.

| what a server does | test |
|---|---|
| 40 in a record of 3.0 to SSLv3, by every OpenSSL without it | test_openssl_without_ssl3, test_no_common_suite |
| protocol_version(70) in a record of any version | test_protocol_version_in_records_of_any_version |
| plain FIN | test_plain_fin |
| alert in a record of version 0x0000, socket left open | test_alert_in_a_record_of_version_zero |
| warning close_notify(0) | test_warning_close_notify_is_a_refusal |
| 40 for TLS 1.0 and 1.1, 70 for 1.2 | test_rustls_refuses_in_two_ways |
| SSLv2 hello: many answers, and only a SERVER-HELLO proves it | test_answers_to_an_sslv2_hello, test_only_... |
| TLS 1.3 hello to old servers: 40, 70 or FIN | test_old_servers_on_a_tls13_hello |
| ServerHello with a lower version than asked | test_lower_version_than_asked |
| warning unrecognized_name(112), then a ServerHello | test_warning_is_not_the_end |
| refusal without the right name | test_refusal_of_the_name_is_not_about_versions |
| 47 on an address as name, 50 on an empty one | test_address_and_empty_name_are_never_sent |
| decode_error and close on long hellos, close on status_request | test_hello_too_long_for_the_server, test_status_... |
| no version below 1.3 without a renegotiation signal | test_server_that_insists_on_the_renegotiation_signal |
| SSLv3 with a group nobody named | test_sslv3_over_an_unnamed_group |
| HelloRetryRequest before name and certificate | test_retry_request_proves_the_version_only |
| one client at a time | test_one_client_at_a_time |
| drops after so many connections | test_rate_limit_is_not_a_refusal |

What the wire did is read here from the bytes by the tests' own code. Servers that are not in the lab (Dovecot, Caddy,
http.sys, rate limits) are played by the scripted peers of tests/hostile.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace

import pytest

from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.subjects import Role, Target
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.net.network import open_network
from scanner.options import Confirm, ScanOptions
from scanner.probes.hello_ladder import hello_conversation
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from tests.hostile import wire
from tests.hostile.behaviours import honest as behave_honestly
from tests.hostile.honest import SUITES_EXPORT, Honest, alert
from tests.hostile.peers import PEERS
from tests.hostile.runner import running
from tests.scanning import scan_targets

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
BROAD, COMPACT = HelloVariant.BROAD, HelloVariant.COMPACT
WRONG_NAME = "nobody.example.test"


def hello_for(version, variant=BROAD, name=None):
    return encode_hello(version=version, variant=variant, server_name=name, random=os.urandom(RANDOM_BYTES))


def ask(server, hello, *, deadline_s=10.0):
    """Send one hello as the scanner does; return what the wire did."""

    async def main():
        network = open_network()
        try:
            return await network.drive(
                hello_conversation(hello),
                address=server.address,
                port=server.port,
                deadline_s=deadline_s,
                max_bytes=32_768,
            )
        finally:
            await network.close()

    return asyncio.run(main())


def alert_of(log):
    """Return (record version, level, number) of a reply that is one alert."""
    data = log.received
    assert data[:1] == b"\x15", data[:20].hex()
    assert data[3:5] == b"\x00\x02"
    return int.from_bytes(data[1:3], "big"), data[5], data[6]


def server_hello_version(data):
    """Return the version number in the ServerHello that the bytes begin with (RFC 5246 section 7.4.1.3)."""
    assert (data[0], data[5]) == (22, 2), data[:20].hex()
    return int.from_bytes(data[9:11], "big")


@pytest.fixture(scope="module")
def servers(lab):
    return {server.name: server for server in lab}


def scan(*targets):
    options = ScanOptions(confirm=Confirm.NONE, rate=0, per_address=1000, timeout_s=10)
    return {host.target.text: host for host in asyncio.run(scan_targets(targets, options)).hosts}


def target_of(server, **more):
    given = {
        "text": server.name,
        "host": server.address,
        "role": Role.SERVER,
        "ports": (server.port,),
        "server_name": server.server_name,
    }
    return Target(**given | more)


@pytest.fixture(scope="module")
def hosts(lab):
    """Every server of the lab, scanned."""
    return scan(*map(target_of, lab))


def state(hosts, name, version):
    (verdict,) = [verdict for verdict in hosts[name].verdicts if verdict.version is version]
    return verdict.state


def gap_reasons(host):
    return {gap.reason for endpoint in host.endpoints for gap in endpoint.gaps}


@pytest.mark.parametrize(
    "name", ["openssl-12-13", "nginx-12-13", "apache-12-13", "haproxy-10-13", "stunnel-12", "node-10", "lighttpd-12-13"]
)
def test_openssl_without_ssl3(servers, hosts, name):
    assert alert_of(ask(servers[name], hello_for(SSL3))) == (0x0300, 2, 40)
    assert state(hosts, name, SSL3) is State.DISABLED


def scripted(name, profile):
    """Return a peer of tests/hostile that answers as a profile says."""
    (like,) = [peer for peer in PEERS if peer.name == "honest-12"]
    return replace(like, name=name, behaviour=behave_honestly(profile))


def test_no_common_suite():
    """A server that has SSLv3 says the same 40 in 3.0 to every hello without its suites: only all suites tell."""
    without = Honest(enabled=frozenset({TLS1_0}), refusals={SSL3: alert(40, record_version=0x0300)})
    export_only = Honest(
        enabled=frozenset({SSL3, TLS1_0}), suites=SUITES_EXPORT, no_suite=alert(40, record_version=0x0300)
    )
    with running([scripted("without", without), scripted("export-only", export_only)]) as states:
        replies = [ask(states[name], hello_for(SSL3, COMPACT)).received for name in ("without", "export-only")]
        assert replies[0] == replies[1] == bytes.fromhex("15030000020228")
        hosts = scan(*(target_of(_Peer(each)) for each in states.values()))
    assert state(hosts, "without", SSL3) is State.DISABLED
    assert state(hosts, "export-only", SSL3) is State.ENABLED


class _Peer:
    """A scripted peer in the shape of a LabServer."""

    def __init__(self, peer_state, server_name=None):
        self.name = peer_state.peer.name
        self.address = peer_state.address
        self.port = peer_state.port
        self.server_name = server_name or peer_state.peer.server_name


def test_no_common_suite_on_a_real_server(hosts):
    """Old Node.js servers with one odd suite each; a scanner with only ordinary suites calls them off."""
    for name in ("node010-des", "node010-export", "node010-rc4"):
        assert state(hosts, name, SSL3) is State.ENABLED


@pytest.mark.parametrize(
    ("name", "asked", "record_version"),
    [
        ("nss-13", SSL3, 0x0301),
        ("boringssl-13", SSL3, 0x0301),
        ("boringssl-13", TLS1_2, 0x0301),
        ("go-13", SSL3, 0x0301),
        ("gnutls-13", TLS1_0, 0x0303),
        ("gnutls-10", SSL3, 0x0301),
        ("erlang-13", TLS1_0, 0x0303),
    ],
)
def test_protocol_version_in_records_of_any_version(servers, hosts, name, asked, record_version):
    assert record_version != asked
    assert alert_of(ask(servers[name], hello_for(asked))) == (record_version, 2, 70)
    assert state(hosts, name, asked) is State.DISABLED


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("h2o-12-13", TLS1_0),
        ("lighttpd-gnutls-12", TLS1_0),
        ("node08-ssl3", SSL2),
        ("node010-hole-ssl3-12", SSL2),
        ("botan-12", SSL2),
    ],
)
def test_plain_fin(servers, hosts, name, asked):
    log = ask(servers[name], hello_for(asked))
    assert (log.received, log.ending) == (b"", Ending.PEER_CLOSED)
    assert state(hosts, name, asked) is State.DISABLED


def test_plain_fin_of_a_scripted_peer_like_dovecot():
    (peer,) = [peer for peer in PEERS if peer.name == "honest-fin-12"]
    with running([peer]) as states:
        hosts = scan(target_of(_Peer(states[peer.name])))
    assert {v: state(hosts, peer.name, v) for v in ALL_VERSIONS} == {
        v: State.ENABLED if v is TLS1_2 else State.DISABLED for v in ALL_VERSIONS
    }


@pytest.mark.parametrize(("name", "asked"), [("bearssl-12", TLS1_0), ("bearssl-12", TLS1_1), ("bearssl-12", SSL3)])
def test_alert_in_a_record_of_version_zero(servers, hosts, name, asked):
    log = ask(servers[name], hello_for(asked))
    assert alert_of(log) == (0x0000, 2, 70)
    # We end it: the server leaves the socket open, and waiting for its FIN would be waiting for the deadline.
    assert log.ending is Ending.COMPLETE
    assert log.elapsed_s < 5
    assert state(hosts, name, asked) is State.DISABLED


@pytest.mark.parametrize(("name", "asked"), [("ngircd-12-13", TLS1_0), ("ngircd-13", TLS1_2), ("ngircd-13", TLS1_0)])
def test_warning_close_notify_is_a_refusal(servers, hosts, name, asked):
    _, level, number = alert_of(ask(servers[name], hello_for(asked)))
    assert (level, number) == (1, 0)
    assert state(hosts, name, asked) is State.DISABLED


@pytest.mark.parametrize(("asked", "number"), [(TLS1_0, 40), (TLS1_1, 40), (TLS1_2, 70)])
def test_rustls_refuses_in_two_ways(servers, hosts, asked, number):
    assert alert_of(ask(servers["rustls-13"], hello_for(asked)))[1:] == (2, number)
    assert state(hosts, "rustls-13", asked) is State.DISABLED


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("openssl-12-13", 70),
        ("go-13", 70),
        ("boringssl-13", 70),
        ("gnutls-13", 70),
        ("nss-13", 10),
        ("erlang-13", 10),
        ("pike-12", 71),
        ("rustls-12-13", 50),
        ("jsse-13", 40),
        ("wolfssl-12", 0),
        ("bouncycastle-13", Ending.PEER_CLOSED),
        ("bearssl-12", Ending.PEER_RESET),
        ("mbedtls-11-12", Ending.PEER_RESET),
    ],
)
def test_answers_to_an_sslv2_hello(servers, hosts, name, answer):
    log = ask(servers[name], hello_for(SSL2))
    if isinstance(answer, Ending):
        assert (log.received, log.ending) == (b"", answer)
    else:
        assert alert_of(log)[2] == answer
    assert state(hosts, name, SSL2) is State.DISABLED


def test_sslv2_error_no_cipher_is_a_refusal(servers, hosts):
    log = ask(servers["jsse-ssl2-format"], hello_for(SSL2))
    # A record of three bytes, MSG-ERROR (0), NO-CIPHER-ERROR (1): draft-hickman-netscape-ssl-00 sections 1.1 and 2.7.
    assert log.received[:5] == bytes.fromhex("8003000001")
    assert state(hosts, "jsse-ssl2-format", SSL2) is State.DISABLED


@pytest.mark.parametrize("name", ["node08-ssl2", "node08-ssl2-ssl3-10", "node010-ssl2-12"])
def test_only_a_server_hello_proves_sslv2(servers, hosts, name):
    log = ask(servers[name], hello_for(SSL2))
    assert log.received[0] & 0x80
    assert log.received[2] == 4
    assert state(hosts, name, SSL2) is State.ENABLED
    assert {other for other in hosts if state(hosts, other, SSL2) is State.ENABLED} == {
        server.name for server in servers.values() if SSL2 in server.enabled
    }


def test_sslv2_silence_and_no_ciphers_of_scripted_peers():
    peers = [peer for peer in PEERS if peer.name in {"honest-silent-12", "ssl2-zero-ciphers"}]
    assert len(peers) == 2
    with running(peers) as states:
        options = ScanOptions(confirm=Confirm.NONE, rate=0, timeout_s=1.0)
        targets = [target_of(_Peer(each)) for each in states.values()]
        found = {host.target.text: host for host in asyncio.run(scan_targets(targets, options)).hosts}
    # Silence is never a fact.
    assert state(found, "honest-silent-12", SSL2) is State.UNKNOWN
    (verdict,) = [v for v in found["ssl2-zero-ciphers"].verdicts if v.version is SSL2]
    assert verdict.state is State.ENABLED
    assert verdict.is_disputed


SUITES_13 = {*range(0x1301, 0x1306)}
"""RFC 8446 appendix B.4."""


def _numbers(values):
    return b"".join(value.to_bytes(2, "big") for value in values)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gnutls-10", 40),
        ("mbedtls-10-11", 40),
        ("pike-12", 40),
        ("bearssl-12", 40),
        ("botan-12", 70),
        ("python-hole-10-12", 70),
        ("erlang-10", 70),
        ("bouncycastle-hole-10-12", 70),
        ("lighttpd-gnutls-12", Ending.PEER_CLOSED),
    ],
)
def test_old_servers_on_a_tls13_hello(servers, hosts, name, answer):
    """Ours has older suites too, so that they answer with what they have; with those of 1.3 alone they refuse."""
    hello = hello_for(TLS1_3, COMPACT)
    if answer != 70:  # those that say 70 know supported_versions
        assert server_hello_version(ask(servers[name], hello).received) < TLS1_3
    old = wire.decode_hello(hello).suites
    new = [suite if suite in SUITES_13 else min(SUITES_13) for suite in old]
    assert new != list(old)
    hello = hello.replace(_numbers(old), _numbers(new))
    assert set(wire.decode_hello(hello).suites) <= SUITES_13
    log = ask(servers[name], hello)
    if isinstance(answer, Ending):
        assert (log.received, log.ending) == (b"", answer)
    else:
        assert alert_of(log)[2] == answer
    assert state(hosts, name, TLS1_3) is State.DISABLED


@pytest.mark.parametrize(
    ("name", "asked", "given"),
    [
        ("jsse-hole-11-13", TLS1_2, TLS1_1),
        ("erlang-hole-10-12", TLS1_1, TLS1_0),
        ("node010-hole-ssl3-11", TLS1_0, SSL3),
        ("jsse-hole-ssl3-11", TLS1_0, SSL3),
        ("python-hole-11-13", TLS1_2, TLS1_1),
    ],
)
def test_lower_version_than_asked(servers, hosts, name, asked, given):
    log = ask(servers[name], hello_for(asked))
    assert server_hello_version(log.received) == given
    assert state(hosts, name, asked) is State.DISABLED
    assert state(hosts, name, given) is State.ENABLED


def test_warning_is_not_the_end(servers):
    """Botan does not know the name, warns, and goes on."""
    server = servers["botan-12"]
    log = ask(server, hello_for(TLS1_2, name=WRONG_NAME))
    assert log.received[:7] == bytes.fromhex("15030300020170")
    assert server_hello_version(log.received[7:]) == TLS1_2
    hosts = scan(target_of(server, server_name=WRONG_NAME))
    assert {v: state(hosts, server.name, v) for v in ALL_VERSIONS} == {
        v: State.ENABLED if v in server.enabled else State.DISABLED for v in ALL_VERSIONS
    }


@pytest.mark.parametrize("name", ["nginx-reject-unknown-name", "haproxy-strict-sni"])
@pytest.mark.parametrize("sent", [None, WRONG_NAME])
def test_refusal_of_the_name_is_not_about_versions(servers, hosts, name, sent):
    server = servers[name]
    assert alert_of(ask(server, hello_for(TLS1_2, name=sent)))[1:] == (2, 112)
    host = scan(target_of(server, server_name=sent))[name]
    found = {verdict.version: verdict.state for verdict in host.verdicts}
    assert found[TLS1_2] is State.UNKNOWN
    assert found[TLS1_3] in {State.UNKNOWN, State.ENABLED}
    assert GapReason.NAME_REFUSED in gap_reasons(host)
    # With the right name all is known.
    assert {v: state(hosts, name, v) for v in ALL_VERSIONS} == {
        v: State.ENABLED if v in server.enabled else State.DISABLED for v in ALL_VERSIONS
    }


def test_refusals_of_the_name_by_scripted_peers():
    """112, 40, 80 and resets, as Caddy, HAProxy and http.sys give them."""
    peers = [peer for peer in PEERS if peer.name.startswith("sni-") and not peer.name.startswith("sni-retry")]
    assert len(peers) >= 9
    with running(peers) as states:
        found = scan(*(target_of(_Peer(each)) for each in states.values()))
    for peer in peers:
        for version in ALL_VERSIONS:
            assert state(found, peer.name, version) in peer.truth[version], (peer.name, version)
        if peer.name.endswith("-right"):
            assert state(found, peer.name, TLS1_2) is State.ENABLED


def test_address_and_empty_name_are_never_sent(servers, hosts):
    """tlslite-ng answers an address as name with 47 and an empty one with 50; so no hello of a scan may have either."""
    server = servers["tlslite-11"]
    assert alert_of(ask(server, hello_for(TLS1_1, name="192.0.2.1")))[1:] == (2, 47)
    assert alert_of(ask(server, hello_for(TLS1_1, name="")))[1:] == (2, 50)
    assert state(hosts, server.name, TLS1_1) is State.ENABLED
    (peer,) = [peer for peer in PEERS if peer.name == "honest-12"]
    with running([peer]) as states:
        scan(target_of(_Peer(states[peer.name])))
        hellos = [wire.decode_hello(data) for data in states[peer.name].hellos]
    assert len(hellos) > 5
    assert all(wire.SERVER_NAME not in hello.extensions for hello in hellos if not hello.is_ssl2_format)


@pytest.mark.parametrize(("name", "answer"), [("wolfssl-12", (1, 0)), ("wolfssl-11-13", (2, 50))])
def test_hello_too_long_for_the_server(servers, hosts, name, answer):
    """wolfSSL gives up on more than 150 suites; a shorter form gets through."""
    long, short = hello_for(TLS1_2), hello_for(TLS1_2, COMPACT)
    assert len(wire.decode_hello(long).suites) > 150 > len(wire.decode_hello(short).suites)
    assert alert_of(ask(servers[name], long))[1:] == answer
    assert server_hello_version(ask(servers[name], short).received) == TLS1_2
    assert state(hosts, name, TLS1_2) is State.ENABLED


@pytest.mark.parametrize("version", [TLS1_0, TLS1_1, TLS1_2, TLS1_3])
@pytest.mark.parametrize("variant", list(HelloVariant)[:3])
def test_status_request_is_never_sent(version, variant):
    """Some servers close on it, and it tells nothing about versions."""
    hello = wire.decode_hello(hello_for(version, variant, "www.example.test"))
    assert wire.STATUS_REQUEST not in hello.extensions


def test_server_that_insists_on_the_renegotiation_signal(servers, hosts):
    server = servers["gnutls-12-safe-renegotiation"]
    hello = hello_for(TLS1_2, COMPACT)
    decoded = wire.decode_hello(hello)
    assert decoded.has_scsv
    # The same hello with an old suite in place of 0x00FF, and without the extension, gets 40.
    suites = _numbers(decoded.suites)
    without = hello.replace(suites, suites.replace(b"\x00\xff", b"\x00\x0a"))
    assert not wire.decode_hello(without).has_scsv
    assert wire.RENEGOTIATION_INFO not in wire.decode_hello(without).extensions
    assert alert_of(ask(server, without))[1:] == (2, 40)
    assert server_hello_version(ask(server, hello).received) == TLS1_2
    assert state(hosts, server.name, TLS1_2) is State.ENABLED


ECDHE_SUITES = range(0xC001, 0xC01A)
"""RFC 8422 section 6: the elliptic-curve suites that SSLv3 can carry."""


@pytest.mark.parametrize("name", ["jsse-ssl3", "jsse-hole-ssl3-11", "jsse-ssl2-format"])
def test_sslv3_over_an_unnamed_group(servers, hosts, name):
    """The version was accepted, whatever a client makes of the group afterwards."""
    data = ask(servers[name], hello_for(SSL3)).received
    assert server_hello_version(data) == SSL3
    at = 43 + 1 + data[43]
    assert int.from_bytes(data[at : at + 2], "big") in ECDHE_SUITES
    assert state(hosts, name, SSL3) is State.ENABLED


@pytest.mark.parametrize("name", ["openssl-12-13", "nss-13", "boringssl-13", "gnutls-13", "jsse-13"])
def test_retry_request_proves_the_version_only(servers, hosts, name):
    data = ask(servers[name], hello_for(TLS1_3)).received
    # RFC 8446 section 4.1.3: a ServerHello whose random says that it is a retry.
    assert data[5] == 2
    assert data[11:43] == wire.HELLO_RETRY_RANDOM
    assert state(hosts, name, TLS1_3) is State.ENABLED


def test_retry_request_is_no_control():
    """It comes before the name is looked at: refusals beside it may all be of the name."""
    peers = [peer for peer in PEERS if peer.name.startswith("sni-retry-")]
    assert peers
    with running(peers) as states:
        found = scan(*(target_of(_Peer(each)) for each in states.values()))
    for peer in peers:
        for version in ALL_VERSIONS:
            assert state(found, peer.name, version) in peer.truth[version], (peer.name, version)


def test_one_client_at_a_time(servers, hosts):
    """openssl s_server serves nobody else while one is there: questions to one endpoint must come one by one."""
    server = servers["openssl-11"]
    with socket.create_connection((server.address, server.port), timeout=5):
        log = ask(server, hello_for(TLS1_1), deadline_s=0.7)
    assert (log.received, log.ending) == (b"", Ending.TIMED_OUT_READ)
    assert server_hello_version(ask(server, hello_for(TLS1_1)).received) == TLS1_1
    # Two targets at the one endpoint, scanned in one run, do not starve each other.
    found = scan(target_of(server, text="first"), target_of(server, text="second", server_name=WRONG_NAME))
    for text in ("first", "second"):
        assert {v: state(found, text, v) for v in ALL_VERSIONS} == {
            v: State.ENABLED if v in server.enabled else State.DISABLED for v in ALL_VERSIONS
        }


def test_rate_limit_is_not_a_refusal():
    """Limits that drop or reset after so many connections; four scanners read them as "disabled"."""
    peers = [peer for peer in PEERS if peer.name.startswith("limit-")][:6]
    assert len(peers) >= 4
    options = ScanOptions(confirm=Confirm.NONE, rate=0, timeout_s=1.0, host_deadline_s=15)
    with running(peers) as states:
        targets = [target_of(_Peer(each)) for each in states.values()]
        found = {host.target.text: host for host in asyncio.run(scan_targets(targets, options)).hosts}
    for peer in peers:
        for version in ALL_VERSIONS:
            assert state(found, peer.name, version) in peer.truth[version], (peer.name, version)


def test_every_version_has_a_name_here():
    assert list(TlsVersion) == [SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3]
