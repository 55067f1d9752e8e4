"""What a connection says: real clients that were told their versions, and the traps in between."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.exchange import Ending, EngineReport
from scanner.model.versions import TlsVersion
from scanner.outbound.arrivals import ACCEPTED, Outcome, read_arrival
from scanner.outbound.tokens import Answer, ProbeToken, TriggerToken, encode_probe_path, encode_trigger_name
from tests.outbound.hellos import alert_bytes, hello_bytes, server_hello_bytes, ssl2_hello_bytes, u16
from tests.outbound.recordings import (
    AT,
    NasslPeer,
    authority,
    meet,
    ssl_client,
    ssl_server,
    tlslite_client,
    tlslite_server,
)

SSL2, SSL3, V10, V11, V12, V13 = TlsVersion
CCS = b"\x14\x03\x03\x00\x01\x01"
HIDDEN = b"\x17\x03\x03\x00\x35" + bytes(0x35)
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""RFC 8446 section 4.1.3."""


def client_key_exchange(version=0x0303):
    return b"\x16" + u16(version) + b"\x00\x08\x10\x00\x00\x04" + bytes(4)


def exchange(received, sent=b"", *, version=V12, ending=Ending.PEER_CLOSED, error=None, completed=False, name=None):
    found = meet(_Mute(received), _Mute(b""), version, ending=ending, name=name)
    engine = EngineReport(engine="test", completed=completed, error=error) if sent else None
    return replace(found, received=received, sent=sent, engine=engine)


class _Mute:
    completed, error = False, None

    def __init__(self, first):
        self.first = first

    def feed(self, _data):
        return b""


def outcome(*args, **fields):
    return read_arrival(exchange(*args, **fields)).outcome


# Real clients: the expected outcome is what the client was told to accept

REAL = [
    (lambda: ssl_client(V12, V13), lambda: ssl_server(V13), V13, Outcome.COMPLETED),
    (lambda: ssl_client(V12, V13), lambda: ssl_server(V12), V12, Outcome.COMPLETED),
    (lambda: ssl_client(V10, V13), lambda: ssl_server(V10), V10, Outcome.COMPLETED),
    (lambda: ssl_client(V10, V12), lambda: tlslite_server(V11), V11, Outcome.COMPLETED),
    (lambda: ssl_client(V12, V13), lambda: ssl_server(V13, curves="secp384r1"), V13, Outcome.COMPLETED),
    (lambda: tlslite_client(V12, V13), lambda: ssl_server(V13), V13, Outcome.COMPLETED),
    (lambda: tlslite_client(V11, V12), lambda: tlslite_server(V11), V11, Outcome.COMPLETED),
    (lambda: NasslPeer("SSLV3"), lambda: tlslite_server(SSL3), SSL3, Outcome.COMPLETED),
    (NasslPeer, lambda: tlslite_server(SSL3), SSL3, Outcome.COMPLETED),
    (NasslPeer, lambda: tlslite_server(V10), V10, Outcome.COMPLETED),
    # Refused versions
    (lambda: ssl_client(V12, V12), lambda: tlslite_server(V11), V11, Outcome.VERSION_REFUSED),
    (lambda: ssl_client(V12, V12), lambda: ssl_server(V11), V11, Outcome.VERSION_REFUSED),
    (lambda: ssl_client(V11, V12), lambda: tlslite_server(SSL3), SSL3, Outcome.VERSION_REFUSED),
    (lambda: NasslPeer("TLSV1_1"), lambda: tlslite_server(V10), V10, Outcome.VERSION_REFUSED),
    (lambda: tlslite_client(V11, V12), lambda: tlslite_server(V10), V10, Outcome.VERSION_REFUSED),
    # OpenSSL 1.0.2's TLSv1_method says handshake_failure to SSL 3.0: that may as well be about suites
    (lambda: NasslPeer("TLSV1"), lambda: tlslite_server(SSL3), SSL3, Outcome.SUITES_REFUSED),
    # OpenSSL's security level takes versions out that the hello may offer; its word for that is internal_error
    (lambda: ssl_client(V10, V12, ciphers="ALL:@SECLEVEL=1"), lambda: ssl_server(V10), V10, Outcome.OTHER_ALERT),
    # The listener itself sees that its version is not offered
    (lambda: ssl_client(V13, V13), lambda: ssl_server(V12), V12, Outcome.NOT_OFFERED),
    (lambda: ssl_client(V12, V13), lambda: ssl_server(V11), V11, Outcome.NOT_OFFERED),
    (lambda: NasslPeer("TLSV1"), lambda: tlslite_server(V11), V11, Outcome.NOT_OFFERED),
    # Refused certificates
    (lambda: ssl_client(V12, V13, trusts=False), lambda: ssl_server(V13), V13, Outcome.CERTIFICATE_REFUSED),
    (lambda: ssl_client(V12, V13, trusts=False), lambda: ssl_server(V12), V12, Outcome.CERTIFICATE_REFUSED),
    (lambda: ssl_client(V10, V12, trusts=False), lambda: tlslite_server(V10), V10, Outcome.CERTIFICATE_REFUSED),
    (lambda: NasslPeer(trusts=False), lambda: tlslite_server(SSL3), SSL3, Outcome.CERTIFICATE_REFUSED),
    (lambda: NasslPeer(trusts=False, is_legacy=False), lambda: ssl_server(V13), V13, Outcome.CERTIFICATE_REFUSED),
    # Nothing in common
    (
        lambda: ssl_client(V12, V12, ciphers="AES128-SHA:@SECLEVEL=0"),
        lambda: ssl_server(V12, ciphers="AES256-SHA:@SECLEVEL=0"),
        V12,
        Outcome.NO_COMMON_SUITE,
    ),
]


@pytest.mark.parametrize(("client", "server", "version", "expected"), REAL)
def test_real_clients(client, server, version, expected):
    found = read_arrival(meet(client(), server(), version))
    assert found.outcome is expected
    has_answer = expected not in {Outcome.NOT_OFFERED, Outcome.NO_COMMON_SUITE}
    assert found.answered is (version if has_answer else None)
    assert found.has_accepted is (expected in ACCEPTED)


@pytest.mark.parametrize(("client", "server", "version", "expected"), REAL)
def test_no_part_of_a_conversation_says_what_the_whole_does_not(client, server, version, expected):
    """Bytes that were lost, on either side, never turn a refusal into an acceptance or the reverse."""
    whole = meet(client(), server(), version)
    is_taken = expected in ACCEPTED
    for size in range(0, len(whole.received), 7):
        for sent in (b"", whole.sent[:60], whole.sent):
            part = replace(whole, received=whole.received[:size], sent=sent, engine=None, ending=Ending.PEER_RESET)
            found = read_arrival(part)
            assert found.outcome is not Outcome.COMPLETED
            if is_taken:
                assert found.outcome is not Outcome.VERSION_REFUSED
            else:
                assert not found.has_accepted


@pytest.mark.parametrize(
    ("client", "server", "version", "expected"), [row for row in REAL if row[3] is Outcome.COMPLETED]
)
def test_without_the_engines_word_the_clients_bytes_show_that_it_went_on(client, server, version, expected):
    whole = meet(client(), server(), version)
    found = read_arrival(replace(whole, engine=None, ending=Ending.PEER_RESET))
    assert found.outcome is Outcome.WENT_ON
    assert found.has_accepted


@pytest.mark.parametrize("cut", [1, 2])
def test_second_hello_after_a_retry_request_takes_nothing_up(cut):
    whole = meet(ssl_client(V12, V13), ssl_server(V13, curves="secp384r1"), V13, cut=cut, ending=Ending.PEER_RESET)
    found = read_arrival(whole)
    assert found.outcome is Outcome.RESET
    assert found.answered is (V13 if cut == 2 else None)


def test_ssl2_client_goes_on_with_its_master_key():
    """draft-hickman-netscape-ssl-00 section 2.6: a real SSLv2 client, OpenSSL 1.0.2's."""
    client = NasslPeer("SSLV2")
    first = client.feed(b"")
    leaf = authority()[1].cert_chain_pems[0].bytes()
    import ssl  # noqa: PLC0415  # only here

    der = ssl.PEM_cert_to_DER_cert(leaf.decode())
    kinds = bytes.fromhex("0700c0")
    body = b"\x04\x00\x01" + u16(2, len(der), len(kinds), 16) + der + kinds + bytes(16)
    answer = u16(0x8000 | len(body)) + body
    second = client.feed(answer)
    assert second
    found = read_arrival(exchange(first + second, answer, version=SSL2))
    assert found.outcome is Outcome.WENT_ON
    assert found.answered is SSL2
    assert read_arrival(exchange(first, answer, version=SSL2)).outcome is Outcome.CLOSED


def ssl2_answer():
    body = b"\x04\x00\x01" + u16(2, 1, 3, 16) + b"c" + bytes.fromhex("0700c0") + bytes(16)
    return u16(0x8000 | len(body)) + body


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1, Outcome.SUITES_REFUSED), (2, Outcome.CERTIFICATE_REFUSED), (4, Outcome.CERTIFICATE_REFUSED),
     (6, Outcome.CERTIFICATE_REFUSED), (9, Outcome.OTHER_ALERT)],
)  # fmt: skip
def test_ssl2_errors(code, expected):
    error = b"\x80\x03\x00" + u16(code)
    assert outcome(ssl2_hello_bytes() + error, ssl2_answer(), version=SSL2) is expected


def test_tls_alert_after_an_ssl2_answer_is_read_as_one():
    """As Java sends it: a TLS record, whose first bytes would be the length of an SSLv2 record."""
    found = read_arrival(exchange(ssl2_hello_bytes() + bytes.fromhex("15030100 02020a"), ssl2_answer(), version=SSL2))
    assert (found.outcome, found.alert) == (Outcome.OTHER_ALERT, 10)
    assert "unexpected_message(10)" in found.text
    assert "SSLv2 ERROR" not in found.text


def test_ssl2_bytes_of_another_kind_are_odd():
    assert outcome(ssl2_hello_bytes() + b"\x80\x03\x09\x00\x00", ssl2_answer(), version=SSL2) is Outcome.ODD


# Alerts after our ServerHello, by number


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (70, Outcome.VERSION_REFUSED),
        (86, Outcome.VERSION_REFUSED),
        (40, Outcome.SUITES_REFUSED),
        (71, Outcome.SUITES_REFUSED),
        (42, Outcome.CERTIFICATE_REFUSED),
        (43, Outcome.CERTIFICATE_REFUSED),
        (44, Outcome.CERTIFICATE_REFUSED),
        (45, Outcome.CERTIFICATE_REFUSED),
        (46, Outcome.CERTIFICATE_REFUSED),
        (48, Outcome.CERTIFICATE_REFUSED),
        (47, Outcome.OTHER_ALERT),
        (10, Outcome.OTHER_ALERT),
        (50, Outcome.OTHER_ALERT),
        (80, Outcome.OTHER_ALERT),
        (112, Outcome.OTHER_ALERT),
        (0, Outcome.CLOSED),
        (90, Outcome.CLOSED),
    ],
)
@pytest.mark.parametrize("version", [SSL3, V10, V11, V12, V13])
def test_alerts(number, expected, version):
    listed = [0x0304, 0x0303, 0x0302, 0x0301, 0x0300] if version is V13 else None
    sent = server_hello_bytes(version)
    found = read_arrival(exchange(hello_bytes(listed=listed) + alert_bytes(number), sent, version=version))
    assert found.outcome is expected
    assert found.answered is version


@pytest.mark.parametrize("number", [70, 86, 42, 48])
def test_alert_without_our_server_hello_says_nothing(number):
    for sent in (b"", server_hello_bytes(V12)[:20], alert_bytes(80)):
        found = read_arrival(exchange(hello_bytes() + alert_bytes(number), sent))
        assert not found.has_accepted
        assert found.outcome is not Outcome.VERSION_REFUSED
        assert found.answered is None


def test_user_canceled_goes_before_the_alert_that_matters():
    received = hello_bytes() + alert_bytes(90, 1) + alert_bytes(48)
    assert outcome(received, server_hello_bytes(V12)) is Outcome.CERTIFICATE_REFUSED


def test_refusal_of_what_the_hello_does_not_offer_is_none():
    """A fallback hello with at most TLS 1.0, answered with TLS 1.2: of course."""
    assert outcome(hello_bytes(legacy=0x0301) + alert_bytes(70), server_hello_bytes(V12)) is Outcome.OTHER_ALERT
    assert outcome(hello_bytes(listed=[0x0304]) + alert_bytes(70), server_hello_bytes(V12)) is Outcome.OTHER_ALERT


@pytest.mark.parametrize("tail", [b"DOWNGRD\x00", b"DOWNGRD\x01"])
def test_refusal_of_a_downgrade_mark_is_no_refusal_of_the_version(tail):
    """RFC 8446 section 4.1.3: a client that sees the mark must end the handshake."""
    sent = server_hello_bytes(V11, random=bytes(24) + tail)
    assert outcome(hello_bytes() + alert_bytes(70), sent, version=V11) is Outcome.OTHER_ALERT


# What is and is not going on

LIST = [0x0304, 0x0303]


@pytest.mark.parametrize(
    ("rest", "version", "extensions", "expected"),
    [
        (client_key_exchange(), V12, (), Outcome.WENT_ON),
        (client_key_exchange() + CCS + alert_bytes(48), V12, (), Outcome.WENT_ON),
        (CCS, V12, (), Outcome.CLOSED),
        (CCS + HIDDEN, V12, (), Outcome.CLOSED),
        (client_key_exchange()[:-1], V12, (), Outcome.CLOSED),
        (hello_bytes(), V12, (), Outcome.CLOSED),
        (HIDDEN, V12, (), Outcome.ODD),
        (b"GET / HTTP/1.1\r\n\r\n", V12, (), Outcome.ODD),
        (HIDDEN, V13, (), Outcome.WENT_ON),
        (CCS + HIDDEN, V13, (), Outcome.WENT_ON),
        (CCS, V13, (), Outcome.CLOSED),
        (CCS + alert_bytes(70), V13, (), Outcome.VERSION_REFUSED),
        (HIDDEN[:-1], V13, (), Outcome.CLOSED),
        (hello_bytes(listed=LIST), V13, (), Outcome.CLOSED),
        (CCS + HIDDEN, V13, ((42, b""),), Outcome.CLOSED),
        (CCS + HIDDEN + alert_bytes(70), V13, ((42, b""),), Outcome.VERSION_REFUSED),
        (HIDDEN + alert_bytes(70), V13, (), Outcome.OTHER_ALERT),
        (client_key_exchange() + alert_bytes(70), V12, (), Outcome.OTHER_ALERT),
    ],
)
def test_what_follows_our_server_hello(rest, version, extensions, expected):
    received = hello_bytes(listed=LIST, extensions=extensions) + rest
    assert outcome(received, server_hello_bytes(version), version=version) is expected


def retry_request():
    return server_hello_bytes(V13, random=RETRY_RANDOM)


def test_early_data_before_the_second_hello_takes_nothing_up():
    first = hello_bytes(listed=LIST, extensions=[(42, b"")])
    second = hello_bytes(listed=LIST)
    both = retry_request() + server_hello_bytes(V13)
    assert outcome(first + CCS + HIDDEN + second, both, version=V13) is Outcome.CLOSED
    assert outcome(first + CCS + HIDDEN + second + HIDDEN, both, version=V13) is Outcome.WENT_ON
    assert outcome(first + second + HIDDEN, retry_request(), version=V13) is Outcome.CLOSED


@pytest.mark.parametrize("number", [70, 48])
def test_alert_to_a_retry_request_decides_nothing(number):
    found = read_arrival(exchange(hello_bytes(listed=LIST) + alert_bytes(number), retry_request(), version=V13))
    assert found.outcome is Outcome.OTHER_ALERT
    assert found.answered is None


def test_engine_tells_the_alert_that_tls13_hides():
    received = hello_bytes(listed=LIST) + CCS + HIDDEN
    sent = server_hello_bytes(V13)
    told = "received alert 48 (unknown_ca)"
    assert outcome(received, sent, version=V13, error=told) is Outcome.CERTIFICATE_REFUSED
    assert outcome(received, sent, version=V13, error="received alert 40 (x)") is Outcome.WENT_ON
    assert outcome(received, sent, version=V13, error="received alert 70 (x)") is Outcome.OTHER_ALERT


def test_flight_that_our_engine_could_not_read_shows_nothing():
    received = hello_bytes(listed=LIST) + CCS + HIDDEN
    error = "sent alert 20 (bad_record_mac)"
    assert outcome(received, server_hello_bytes(V13), version=V13, error=error) is Outcome.CUT_OFF


def test_engine_that_says_completed_needs_our_server_hello():
    assert outcome(hello_bytes(), alert_bytes(80), completed=True) is Outcome.CUT_OFF


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending.PEER_CLOSED, Outcome.CLOSED),
        (Ending.PEER_RESET, Outcome.RESET),
        (Ending.TIMED_OUT_READ, Outcome.SILENT),
        (Ending.CANCELLED, Outcome.CUT_OFF),
        (Ending.LOCAL_FAILURE, Outcome.CUT_OFF),
        (Ending.COMPLETE, Outcome.CUT_OFF),
        (Ending.OVERSIZE, Outcome.ODD),
    ],
)
def test_endings_without_a_word(ending, expected):
    found = read_arrival(exchange(hello_bytes(), server_hello_bytes(V12), ending=ending))
    assert (found.outcome, found.answered) == (expected, V12)


@pytest.mark.parametrize("ending", list(Ending))
def test_what_is_no_hello(ending):
    assert outcome(b"GET / HTTP/1.1\r\n\r\n", ending=ending) is Outcome.NOT_TLS
    assert outcome(b"", ending=ending) is Outcome.NO_HELLO
    assert outcome(hello_bytes()[:-1], ending=ending) is Outcome.NO_HELLO


def test_recorded_only():
    assert outcome(hello_bytes(), version=None) is Outcome.NOT_ANSWERED


# Tokens and times


def test_token_comes_from_the_server_name_of_the_hello():
    name = encode_trigger_name("curl", "adfs.example.com", "l.example", b"s")
    found = read_arrival(exchange(hello_bytes(name=name)))
    assert isinstance(found.token, TriggerToken)
    assert (found.token.method, found.token.host, found.server_name) == ("curl", "adfs.example.com", name)


def test_token_comes_from_the_path_where_the_name_has_none():
    token = ProbeToken("0123456789abcdef", Answer.TLS12)
    found = meet(ssl_client(V12, V12), ssl_server(V12), V12, path=f"{encode_probe_path(token)}x")
    assert read_arrival(found).token == token


def test_time_and_place():
    found = read_arrival(exchange(hello_bytes(), server_hello_bytes(V12)))
    assert (found.at, found.ended_at, found.address) == (AT, AT + timedelta(seconds=0.1), "192.0.2.7")
    assert found.suite == 0xC02F


# Never raises


@given(received=st.binary(max_size=200), sent=st.binary(max_size=200), data=st.data())
def test_never_raises(received, sent, data):
    start = data.draw(st.sampled_from([b"", hello_bytes(), hello_bytes(listed=LIST), ssl2_hello_bytes()]))
    answer = data.draw(
        st.sampled_from([b"", server_hello_bytes(V12), server_hello_bytes(V13), retry_request(), ssl2_answer()])
    )
    found = read_arrival(exchange(start + received, answer + sent))
    assert found.text
