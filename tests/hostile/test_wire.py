"""The peers' own codec against tlslite-ng and OpenSSL: a mistake in it would hide mistakes in the scanner."""

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.versions import ALL_VERSIONS, TlsVersion
from tests.hostile import clients, wire


def openssl_hello(server_name=None):
    """Return the hello of Python's own OpenSSL, 1.2 and 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_hello_of_tlslite_is_read(version):
    data = clients.make_hello(version, server_name="a.example")
    hello = wire.decode_hello(data)
    assert hello.asked == version
    assert hello.is_ssl2_format is (version is TlsVersion.SSL2)
    assert hello.total_bytes == len(data)
    if version is TlsVersion.SSL2:
        assert hello.suites == tuple(clients.SSL2_KINDS)
        assert hello.message_bytes == len(data) - 2
    else:
        suites = clients.TLS13_SUITES if version is TlsVersion.TLS1_3 else clients.TLS12_SUITES
        assert hello.suites == (*suites, 0x00FF)
        assert hello.legacy_version == min(version, 0x0303)
        assert hello.sni == "a.example"
        assert hello.groups == (0x001D, 0x0017)
        assert hello.has_scsv
        assert hello.message_bytes == len(data) - 5
    if version is TlsVersion.TLS1_3:
        assert hello.supported_versions == (0x0304,)
        assert hello.share_groups == (0x001D,)


def test_hello_of_openssl_is_read():
    data = openssl_hello("b.example")
    hello = wire.decode_hello(data)
    assert hello.asked == 0x0304
    assert 0x0303 in hello.offered
    assert hello.legacy_version == 0x0303
    assert hello.sni == "b.example"
    assert len(hello.session_id) == 32  # RFC 8446 appendix D.4
    assert {0x1301, 0x1302, 0x1303} <= set(hello.suites)
    assert hello.has_renegotiation_signal
    assert hello.share_groups == (wire.X25519,)
    assert hello.total_bytes == len(data)


def test_absent_name_is_none():
    assert wire.decode_hello(openssl_hello()).sni is None


def test_hello_split_over_records_is_read():
    data = clients.make_hello(TlsVersion.TLS1_2)
    split = wire.encode_record(22, 0x0301, data[5:50]) + wire.encode_record(22, 0x0301, data[50:])
    hello = wire.decode_hello(split)
    assert hello.suites == wire.decode_hello(data).suites
    assert hello.total_bytes == len(data) + 5
    assert hello.message_bytes == len(data) - 5


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_part_of_a_hello_needs_more_and_trailing_bytes_do_not_matter(version):
    data = clients.make_hello(version)
    assert all(wire.decode_hello(data[:size]) is None for size in range(len(data)))
    assert wire.decode_hello(data + b"trailing") == wire.decode_hello(data)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_not_a_hello(data):
    with contextlib.suppress(wire.NotAHelloError):
        wire.decode_hello(data)


@given(st.integers(min_value=5), st.binary(min_size=1, max_size=4))
def test_damaged_hello_decodes_or_raises_not_a_hello(position, damage):
    data = clients.make_hello(TlsVersion.TLS1_3, server_name="a.example")
    position = 5 + position % (len(data) - 5)
    with contextlib.suppress(wire.NotAHelloError):
        wire.decode_hello(data[:position] + damage + data[position + len(damage) :])


def test_bytes_of_other_protocols_are_no_hello():
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"\x16\x03\x01\x00\x04\x02\0\0\0"):
        with pytest.raises(wire.NotAHelloError):
            wire.decode_hello(data)


def test_server_hello_is_read_by_tlslite():
    message = wire.encode_server_hello(0x0302, 0x002F, session_id=b"abc", extensions={0xFF01: b"\0"})
    parsed = clients.parse_server_hello(wire.encode_record(22, 0x0302, message))
    assert parsed.server_version == (3, 2)
    assert parsed.cipher_suite == 0x002F
    assert bytes(parsed.session_id) == b"abc"
    assert bytes(parsed.random) == wire.PLAIN_RANDOM


@pytest.mark.parametrize("group", [wire.X25519, wire.SECP256R1])
def test_server_hello_13_is_read_by_tlslite(group):
    message = wire.encode_server_hello_13(0x1302, session_id=bytes(32), group=group)
    parsed = clients.parse_server_hello(wire.encode_record(22, 0x0303, message))
    assert parsed.server_version == (3, 3)
    assert parsed.getExtension(43).version == (3, 4)
    share = parsed.getExtension(51).server_share
    assert share.group == group
    assert len(share.key_exchange) == {wire.X25519: 32, wire.SECP256R1: 65}[group]  # RFC 8446 section 4.2.8


def test_retry_request_is_read_by_tlslite():
    message = wire.encode_server_hello_13(0x1301, group=wire.SECP256R1, is_retry=True)
    parsed = clients.parse_server_hello(wire.encode_record(22, 0x0303, message))
    assert bytes(parsed.random) == clients.HELLO_RETRY_RANDOM
    assert parsed.getExtension(51).selected_group == wire.SECP256R1


@pytest.mark.parametrize("kinds", [(), (0x010080,), (0x010080, 0x0700C0)])
def test_ssl2_server_hello_is_read_by_tlslite(kinds):
    data = wire.encode_ssl2_server_hello(kinds)
    assert len(data) - 2 == int.from_bytes(data[:2], "big") & 0x7FFF
    parsed = clients.parse_ssl2_server_hello(data)
    assert parsed.server_version == (0, 2)
    assert tuple(parsed.ciphers) == kinds
    assert bytes(parsed.certificate) == wire.certificate_der()
    assert len(parsed.session_id) == 16


def test_grease_is_not_a_version():
    assert wire.is_grease(0x0A0A)
    assert wire.is_grease(0xFAFA)
    assert not any(wire.is_grease(number) for number in (0x0304, 0x0A1A, 0x7F17))
