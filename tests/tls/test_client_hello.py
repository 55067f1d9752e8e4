"""Hellos of real clients, of our own encoder, built by hand, and bytes that are no hello."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.exchange import HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.tls.client_hello import (
    GREASE,
    MAX_HELLO_BYTES,
    ClientHello,
    HelloReader,
    NeedMore,
    NotClientHello,
    decode_client_hello,
)
from scanner.tls.hello import RANDOM_BYTES, encode_hello, offered_suites, variants_for
from tests.tls.independent import ClientHello as TheirHello
from tests.tls.independent import Parser

HELLOS = Path(__file__).parent / "hellos"
NAME = "capture.example"
SSL2, SSL3, TLS10, TLS11, TLS12, TLS13 = ALL_VERSIONS

# From the options in hellos/README.md: (versions listed, or None without a list; maximum; SNI; ALPN).
H2, NONE = (b"h2", b"http/1.1"), ()
PINNED = {
    "chromium-tls12-to-tls13": ([TLS13, TLS12], TLS13, NAME, H2),
    "curl-tls10-to-tls11": (None, TLS11, NAME, H2),
    "curl-tls12-to-tls13": ([TLS13, TLS12], TLS13, NAME, H2),
    "gnutls-ssl3-to-tls10": (None, TLS10, NAME, NONE),
    "gnutls-tls11": (None, TLS11, NAME, NONE),
    "gnutls-tls11-to-tls13": ([TLS13, TLS12, TLS11], TLS13, NAME, NONE),
    "gnutls-tls12-and-tls13": ([TLS13, TLS12], TLS13, NAME, NONE),
    "java17-tls12": ([TLS12], TLS12, None, NONE),
    "java17-tls12-in-ssl2-format": (None, TLS12, None, NONE),
    "nassl-ssl2": (None, SSL2, None, NONE),
    "nassl-ssl2-to-tls12": (None, TLS12, None, NONE),
    "nassl-ssl3": (None, SSL3, None, NONE),
    "node08-ssl2": (None, SSL2, None, NONE),
    "node08-tls10": (None, TLS10, "127.0.0.1", NONE),
    "node20-tls12-to-tls13": ([TLS13, TLS12], TLS13, NAME, NONE),
    "openssl-many-records": (
        [TLS13, TLS12],
        TLS13,
        NAME,
        tuple(b"%02d-" % number + b"x" * 57 for number in range(20)),
    ),
    "openssl-tls10-no-name": (None, TLS10, None, NONE),
    "openssl-tls10-to-tls13": ([TLS13, TLS12, TLS11, TLS10], TLS13, NAME, NONE),
    "openssl-tls11-fallback": (None, TLS11, NAME, NONE),
    "openssl-tls12": (None, TLS12, NAME, H2),
    "openssl-tls12-to-tls13": ([TLS13, TLS12], TLS13, NAME, NONE),
    "openssl-tls13": ([TLS13], TLS13, NAME, NONE),
    "python-tls12-to-tls13": ([TLS13, TLS12], TLS13, NAME, H2),
    "python-tls13": ([TLS13], TLS13, NAME, H2),
    "wget-tls12-and-up": ([TLS13, TLS12], TLS13, None, NONE),
}
IN_SSL2_FORMAT = {"java17-tls12-in-ssl2-format", "nassl-ssl2", "nassl-ssl2-to-tls12", "node08-ssl2"}
CAPTURED = {name: (HELLOS / f"{name}.bin").read_bytes() for name in PINNED}
each_captured = pytest.mark.parametrize("name", PINNED)
RANDOM = bytes(range(100, 100 + RANDOM_BYTES))
FORMS = [(version, variant) for version in ALL_VERSIONS for variant in variants_for(version)]


def decoded(data):
    found = decode_client_hello(data)
    assert isinstance(found, ClientHello), found
    return found


def vector(size_bytes, data):
    return len(data).to_bytes(size_bytes, "big") + data


def extension(number, data):
    return number.to_bytes(2, "big") + vector(2, data)


def message_of(extensions=b"", *, version=0x0303, suites=b"\x00\x2f", session_id=b"", compression=b"\x00", block=None):
    body = version.to_bytes(2, "big") + RANDOM[:32] + vector(1, session_id) + vector(2, suites) + vector(1, compression)
    return b"\x01" + vector(3, body + (vector(2, extensions) if block is None else block))


def records(message, *sizes, version=0x0301):
    """The message cut into records of these sizes, the last one repeated."""
    pieces, at, sizes = [], 0, list(sizes) or [16_384]
    while at < len(message):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        pieces.append(message[at : at + size])
        at += size
    return b"".join(b"\x16" + version.to_bytes(2, "big") + vector(2, piece) for piece in pieces)


def built(extensions=b"", **fields):
    return decoded(records(message_of(extensions, **fields)))


# What real clients send


def test_every_captured_hello_has_its_expected_values():
    assert {file.stem for file in HELLOS.glob("*.bin")} == set(PINNED)
    readme = (HELLOS / "README.md").read_text()
    assert [name for name in PINNED if f"| `{name}.bin` |" not in readme] == []


@each_captured
def test_versions_are_those_the_client_was_pinned_to(name):
    listed, maximum, *_ = PINNED[name]
    found = decoded(CAPTURED[name])
    assert found.supported_versions == (None if listed is None else tuple(listed))
    assert found.offered() == tuple(listed or [maximum])
    assert found.maximum is maximum
    assert [version for version in ALL_VERSIONS if found.may_offer(version)] == sorted(listed or [maximum])


@each_captured
def test_name_and_protocols_are_those_the_client_was_told(name):
    found = decoded(CAPTURED[name])
    assert found.server_name == PINNED[name][2]
    assert found.alpn == PINNED[name][3]
    assert found.is_ssl2_format == (name in IN_SSL2_FORMAT)


@each_captured
def test_fallback_is_seen_only_where_it_was_asked_for(name):
    assert decoded(CAPTURED[name]).has_fallback_scsv == (name == "openssl-tls11-fallback")


@each_captured
def test_renegotiation_is_signalled_by_all_but_true_ssl2(name):
    """All these programs implement RFC 5746; a hello of version 2 can't signal it (section 3.6 names SSLv3 on)."""
    assert decoded(CAPTURED[name]).has_renegotiation_info == (PINNED[name][1] is not SSL2)


@each_captured
def test_another_decoder_reads_the_same(name):
    """tlslite-ng's own parser of ClientHello, which also reads the SSLv2 format."""
    found = decoded(CAPTURED[name])
    is_ssl2 = name in IN_SSL2_FORMAT
    theirs = TheirHello(ssl2=is_ssl2).parse(Parser(bytearray(found.message[1:])))
    assert divmod(found.legacy_version, 256) == tuple(theirs.client_version)
    assert list(found.suites) == list(theirs.cipher_suites)
    assert found.session_id == bytes(theirs.session_id)
    # Of a short challenge tlslite-ng makes 32 bytes, as key derivation needs them.
    assert (found.random.rjust(32, b"\x00") if is_ssl2 else found.random) == bytes(theirs.random)
    if not is_ssl2:
        assert list(found.compression) == list(theirs.compression_methods)
        assert [number for number, _ in found.extensions] == [each.extType for each in theirs.extensions or []]
        assert (found.server_name or "").encode() == bytes(theirs.server_name or b"")
        theirs_by_number = {each.extType: each for each in theirs.extensions or []}
        if 10 in theirs_by_number:
            assert found.groups == tuple(g for g in theirs_by_number[10].groups if g not in GREASE)
        if 13 in theirs_by_number:
            pairs = (pair[0] << 8 | pair[1] for pair in theirs_by_number[13].sigalgs)
            assert found.signature_algorithms == tuple(pair for pair in pairs if pair not in GREASE)


def test_a_post_quantum_hello_is_longer_than_a_segment():
    """Chromium sends an X25519MLKEM768 share (0x11EC): 1,184 + 32 bytes (draft-ietf-tls-ecdhe-mlkem)."""
    found = decoded(CAPTURED["chromium-tls12-to-tls13"])
    assert found.wire_bytes > 1_460
    assert 0x11EC in found.groups
    assert set(found.suites) & GREASE, "suites stay as they were on the wire"
    assert not set(found.groups) & GREASE


def test_a_hello_over_many_records_is_put_together():
    data = CAPTURED["openssl-many-records"]
    assert [data[at : at + 3] for at in (0, 517, 1034)] == [b"\x16\x03\x01"] * 3, "-max_send_frag 512"
    found = decoded(data)
    assert found.message == data[5:517] + data[522:1034] + data[1039:1551] + data[1556:]
    assert found.wire_bytes == len(data)


# However it arrives


@each_captured
def test_byte_by_byte_is_the_same_as_whole(name):
    data = CAPTURED[name]
    whole, reader = decoded(data), HelloReader()
    for end in range(1, len(data)):
        piecewise, fresh = reader.feed(data[end - 1 : end]), decode_client_hello(data[:end])
        assert isinstance(piecewise, NeedMore), end
        assert isinstance(fresh, NeedMore), end
        assert piecewise.least_bytes > end
        assert fresh.least_bytes > end
    assert reader.feed(data[-1:]) == whole
    assert whole.wire_bytes == len(data)
    assert reader.feed(b"more") == whole
    assert reader.received == data + b"more"


@each_captured
@given(trailing=st.binary(max_size=40))
@settings(max_examples=20)
def test_what_follows_the_hello_is_not_part_of_it(name, trailing):
    data = CAPTURED[name]
    assert decode_client_hello(data + trailing) == decoded(data)


@given(name=st.sampled_from(sorted(PINNED)), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=9), at=st.data())
@settings(max_examples=150)
def test_any_division_into_records_and_pieces_gives_the_same_hello(name, sizes, at):
    whole = decoded(CAPTURED[name])
    data = CAPTURED[name] if whole.is_ssl2_format else records(whole.message, *sizes, version=whole.record_version)
    cut = at.draw(st.integers(1, len(data) - 1))
    reader = HelloReader()
    assert isinstance(reader.feed(data[:cut]), NeedMore)
    found = reader.feed(data[cut:])
    assert found == decode_client_hello(data)
    assert isinstance(found, ClientHello)
    assert (found.message, found.extensions, found.suites) == (whole.message, whole.extensions, whole.suites)
    assert found.wire_bytes == len(data)


def test_a_hello_is_complete_with_its_last_byte_even_inside_a_record():
    message = message_of()
    data = b"\x16\x03\x01" + vector(2, message + b"\x0b\x00\x00\x00")
    assert decoded(data[: 5 + len(message)]).wire_bytes == 5 + len(message)
    assert decoded(data).wire_bytes == 5 + len(message)


def test_records_of_one_byte_and_empty_records():
    message = message_of(extension(0, vector(2, b"\x00" + vector(2, b"sts.example.com"))))
    data = b"\x16\x03\x01\x00\x00" + records(message, 1)
    assert decoded(data).message == message
    assert decoded(data).server_name == "sts.example.com"


def test_feeding_single_bytes_looks_at_each_once(monkeypatch):
    """65 KB fed in single bytes must not be decoded 65,000 times: only headers, and the ends of records, wake it."""
    calls = []
    inner = HelloReader._read_records
    monkeypatch.setattr(HelloReader, "_read_records", lambda self: calls.append(1) or inner(self))
    message = message_of(extension(0xFF00, bytes(60_000)))
    data = records(message)
    reader = HelloReader()
    for at in range(len(data)):
        found = reader.feed(data[at : at + 1])
    assert isinstance(found, ClientHello)
    assert found.message == message
    assert len(calls) < 50


# What our own encoder sends


@pytest.mark.parametrize(("version", "variant"), FORMS)
@pytest.mark.parametrize("server_name", ["sts.example.com", None])
def test_our_own_hellos_come_back(version, variant, server_name):
    data = encode_hello(version=version, variant=variant, server_name=server_name, random=RANDOM)
    found = decoded(data)
    assert found.maximum is version
    assert found.offered() == (version,)
    assert set(found.suites) - {0x00FF} == offered_suites(version, variant)
    assert found.random == RANDOM[: len(found.random)]
    assert len(found.random) >= 16
    assert found.wire_bytes == len(data)
    assert found.message == data[2 if version is SSL2 else 5 :]
    assert found.has_renegotiation_info == (version is not SSL2)
    says_name = not (version is SSL2 or (version is SSL3 and variant is HelloVariant.RARE))
    assert found.server_name == (server_name if says_name else None)


# SSLv2 format


def ssl2(*, version=2, kinds=b"\x01\x00\x80\x00\x00\x2f", session_id=b"", challenge=bytes(16), padding=None, tail=b""):
    lengths = b"".join(len(each).to_bytes(2, "big") for each in (kinds, session_id, challenge))
    message = b"\x01" + version.to_bytes(2, "big") + lengths + kinds + session_id + challenge + tail
    if padding is None:
        return (0x8000 | len(message)).to_bytes(2, "big") + message
    return (len(message) + padding).to_bytes(2, "big") + bytes([padding]) + message + bytes(padding)


@pytest.mark.parametrize("version", [0x0002, 0x0300, 0x0301, 0x0302, 0x0303])
@pytest.mark.parametrize("padding", [None, 0, 7])
def test_both_headers_of_ssl2_are_read(version, padding):
    """draft-hickman-netscape-ssl-00: two bytes with the high bit, or three with a count of padding."""
    data = ssl2(version=version, session_id=b"s" * 16, challenge=b"c" * 20, padding=padding)
    found = decoded(data + b"trailing")
    assert found.is_ssl2_format
    assert found.legacy_version == found.record_version == version
    assert found.suites == (0x010080, 0x2F)
    assert (found.session_id, found.random) == (b"s" * 16, b"c" * 20)
    assert (found.extensions, found.compression) == ((), ())
    assert found.message[:3] == b"\x01" + version.to_bytes(2, "big")
    assert found.message[-20:] == b"c" * 20, "padding is no part of the message"
    assert found.wire_bytes == len(data)
    for end in range(len(data)):
        assert isinstance(decode_client_hello(data[:end]), NeedMore), end


def test_ssl2_may_be_chosen_only_where_it_has_a_cipher():
    both = decoded(ssl2(version=0x0301))
    assert (both.maximum, both.may_offer(SSL2), both.may_offer(SSL3)) == (TLS10, None, None)
    assert decoded(ssl2(version=0x0301, kinds=b"\x00\xc0\x2f")).may_offer(SSL2) is False
    assert decoded(ssl2()).may_offer(SSL2) is True
    assert decoded(ssl2()).may_offer(SSL3) is False


def test_half_a_cipher_kind_is_left_out():
    assert decoded(ssl2(kinds=b"\x01\x00\x80\x07")).suites == (0x010080,)
    assert decoded(ssl2(kinds=b"\x01\x00\x80\x07\x00")).suites == (0x010080,)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x08\x01\x00\x02" + bytes(6), "an SSLv2 record too short for a hello"),
        (b"\x80\x09\x01\x00\x02\x00\x03\x00\x00\x00\x00", "an SSLv2-format hello whose lengths do not fit"),
        (
            b"\x00\x10\x07\x01\x00\x02\x00\x03\x00\x00\x00\x04" + bytes(7),
            "an SSLv2-format hello whose lengths do not fit",
        ),
        (b"\x80\x20\x04\x00\x01\x00\x02", "another protocol"),
        (b"\x80\x20\x01\x00\x03", "another protocol"),
        (b"\x80\x20\x01\x02\x00", "another protocol"),
    ],
)
def test_ssl2_records_that_are_no_hello(data, reason):
    found = decode_client_hello(data)
    assert isinstance(found, NotClientHello)
    assert found.reason == reason


# Which versions a hello speaks of

LIST_12_10 = extension(43, b"\x04\x03\x03\x03\x01")


@pytest.mark.parametrize(
    ("fields", "offers"),
    [
        # In order SSL2, SSL3, 1.0, 1.1, 1.2, 1.3: what the hello says of each.
        ({}, [None, None, None, None, True, False]),
        ({"version": 0x0300}, [None, True, False, False, False, False]),
        ({"extensions": LIST_12_10}, [False, False, True, False, True, False]),
        # RFC 8446 section 4.2.1: without a list TLS 1.2 or prior, "even if legacy_version is 0x0304 or later".
        ({"version": 0x0304}, [None, None, None, None, True, None]),
        ({"version": 0x0305}, [None, None, None, None, True, None]),
        # With a list legacy_version is not used (the same section).
        ({"version": 0x0300, "extensions": LIST_12_10}, [False, False, True, False, True, False]),
        # A list of drafts and GREASE names no version we know; one that can't be read says nothing.
        ({"extensions": extension(43, b"\x04\x7f\x1c\x2a\x2a")}, [False] * 6),
        ({"extensions": extension(43, b"\x03\x03\x04\x03")}, [None, None, None, None, True, False]),
        ({"extensions": extension(43, b"\x04\x03\x04")}, [None, None, None, None, True, False]),
        ({"extensions": extension(43, b"")}, [None, None, None, None, True, False]),
        ({"version": 0x0200}, [False, False, False, False, False, False]),
        ({"version": 0x0000}, [False, False, False, False, False, False]),
    ],
)
def test_what_a_hello_says_of_each_version(fields, offers):
    found = built(**fields)
    assert [found.may_offer(version) for version in ALL_VERSIONS] == offers
    certain = tuple(version for version, offer in zip(ALL_VERSIONS, offers, strict=True) if offer)[::-1]
    assert found.offered() == certain
    assert found.maximum == (certain[0] if certain else None)


def test_grease_is_left_out_of_versions():
    """RFC 8701 section 2: 0x0A0A, 0x1A1A, ... 0xFAFA."""
    assert {0x0A0A, 0x1A1A, 0xAAAA, 0xFAFA} < GREASE
    assert len(GREASE) == 16
    assert all(number >> 8 == number & 0xFF and number & 0x0F == 0x0A for number in GREASE)
    assert built(extension(43, b"\x06\x8a\x8a\x03\x04\x03\x03")).supported_versions == (0x0304, 0x0303)


def test_versions_are_of_the_enum_but_other_numbers_stay():
    assert built(extension(43, b"\x04\x7f\x1c\x03\x04")).supported_versions == (0x7F1C, TlsVersion.TLS1_3)


# Extensions, good and bad


def sni(*entries):
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in entries)))


@pytest.mark.parametrize(
    ("extensions", "name"),
    [
        (sni((0, b"sts.example.com")), "sts.example.com"),
        (sni((1, b"other"), (0, b"a.example")), "a.example"),
        (sni((0, b"a.example"), (0, b"b.example")), "a.example"),
        (sni((0, b"a.example")) + sni((0, b"b.example")), "a.example"),
        (sni((0, b"caf\xe9.example")), "caf\\xe9.example"),
        (sni((0, b"")), None),
        (sni(), None),
        (extension(0, b""), None),
        (extension(0, b"\x00"), None),
        (extension(0, b"\x00\x10\x00\x00\x0dshort"), None),
        (b"", None),
    ],
)
def test_server_name(extensions, name):
    assert built(extensions).server_name == name


def test_lists_are_read_as_far_as_they_fit():
    found = built(
        extension(10, b"\x00\x06\x0a\x0a\x00\x1d\x00\x17")
        + extension(13, b"\x00\x20\x04\x03\x1a\x1a\x08\x04\x09")
        + extension(16, b"\x00\x20\x02h2\x08http/1.1\x09too")
    )
    assert found.groups == (29, 23)
    assert found.signature_algorithms == (0x0403, 0x0804)
    assert found.alpn == (b"h2", b"http/1.1")
    none = built()
    assert (none.groups, none.signature_algorithms, none.alpn) == ((), (), ())


def test_repeated_extensions_are_all_kept_and_the_first_is_read():
    found = built(extension(10, b"\x00\x02\x00\x1d") + extension(10, b"\x00\x02\x00\x17") + extension(0x7777, b"!"))
    assert found.extensions == ((10, b"\x00\x02\x00\x1d"), (10, b"\x00\x02\x00\x17"), (0x7777, b"!"))
    assert found.groups == (29,)
    assert found.maybe_extension(0x7777) == b"!"
    assert found.maybe_extension(0x7778) is None


@pytest.mark.parametrize(
    ("block", "extensions"),
    [
        (b"", ()),
        (b"\x00", ()),
        (b"\x00\x00", ()),
        (b"\x00\x04\x00\x17\x00\x00", ((23, b""),)),
        (b"\x00\x09\x00\x17\x00\x09ab", ((23, b"ab"),)),  # data and block cut off
        (b"\x00\x07\x00\x17\x00\x00\x00\x0a\x00", ((23, b""),)),  # half an extension header
        (b"\xff\xff\x00\x17\x00\x00", ((23, b""),)),  # the block says more than there is
        (b"\x00\x04\x00\x17\x00\x00extra", ((23, b""),)),  # bytes after the block
        (b"\x00\x06\x00\x17\x00\x05abcde", ((23, b"ab"),)),  # an extension that reaches out of the block
    ],
)
def test_broken_extension_blocks_are_kept_as_far_as_they_go(block, extensions):
    found = built(block=block)
    assert found.extensions == extensions
    assert found.message == message_of(block=block)


def test_renegotiation_and_fallback_signals():
    assert built(suites=b"\x00\x2f\x00\xff").has_renegotiation_info
    assert built(extension(0xFF01, b"\x00")).has_renegotiation_info
    assert not built().has_renegotiation_info
    assert built(suites=b"\x00\x2f\x56\x00").has_fallback_scsv
    assert not built().has_fallback_scsv


def test_odd_fields_are_kept():
    found = built(session_id=bytes(40), suites=b"\x00\x2f\x00", compression=b"\x01\x00")
    assert found.session_id == bytes(40)
    assert found.suites == (0x2F,)
    assert found.compression == (1, 0)
    assert built(suites=b"").suites == ()
    assert built(compression=b"").compression == ()


# What is no hello


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n", "HTTP"),
        (b"CONNECT login.example.com:443 HTTP/1.1\r\n", "HTTP"),
        (b"PROPFIND / HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n", "the PROXY protocol"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "the PROXY protocol"),
        (b"\x05\x02\x00\x02", "SOCKS"),
        (b"\x03\x00\x00\x13\x0e\xe0", "RDP"),
        (b"EHLO there\r\n", "text"),
        (b"\xff" * 20, "another protocol"),
        (bytes(20), "another protocol"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "a TLS alert"),
        (b"\x14\x03\x03\x00\x01\x01", "TLS change_cipher_spec"),
        (b"\x17\x03\x03\x00\x10" + bytes(16), "TLS application data"),
        (b"\x18\x03\x02\x00\x03\x01\x40\x00", "a TLS heartbeat"),
        (b"\x16\x02\x00\x00\x10", "another protocol"),
        (b"\x16\xfe\xff\x00\x00", "another protocol"),
        (b"\x16\x03\x01\x00\x04\x02", "TLS handshake message 2"),
        (b"\x16\x03\x01\x00\x04\x00\x00\x00\x00", "TLS handshake message 0"),
        (b"\x16\x03\x01\x00\x01\x01\x15\x03\x01\x00\x02\x02\x00", "a TLS alert in the middle of a hello"),
        (b"\x16\x03\x01\x00\x01\x01\x47", "byte 71 in the middle of a hello"),
        (b"\x16\x03\x01\x48\x01", "a TLS record of 18433 bytes"),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "a ClientHello of 4 bytes"),
        (b"\x16\x03\x01\x00\x26\x01\x00\x00\x22" + bytes(34), "a ClientHello of 38 bytes"),
        (b"\x16\x03\x01\x00\x27\x01\x00\x00\x23" + bytes(34) + b"\x05", "a ClientHello whose session id does not fit"),
        (
            b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26" + bytes(34) + b"\x00\x00\x09\x01",
            "a ClientHello whose cipher suites do not fit",
        ),
        (
            b"\x16\x03\x01\x00\x2b\x01\x00\x00\x27" + bytes(34) + b"\x00\x00\x02\x00\x2f",
            "a ClientHello whose cipher suites do not fit",
        ),
        (
            b"\x16\x03\x01\x00\x2c\x01\x00\x00\x28" + bytes(34) + b"\x00\x00\x02\x00\x2f\x01",
            "a ClientHello whose compression methods do not fit",
        ),
    ],
)
def test_what_is_no_hello_is_named(data, reason):
    found = decode_client_hello(data)
    assert isinstance(found, NotClientHello), found
    assert found.reason == reason
    assert len(found.sample) == min(80, len(data))
    assert found.sample.isprintable()
    assert isinstance(decode_client_hello(data + bytes(100)), NotClientHello), "more bytes don't change it"


@pytest.mark.parametrize(
    "first", [b"G", b"S", b"P", b"\x15", b"\x17", b"\x40", b"\x16\x02", b"\x16\x03\x01\x00\x04\x02"]
)
def test_another_protocol_is_told_by_the_first_byte_that_says_so(first):
    assert isinstance(decode_client_hello(first), NotClientHello)
    assert first[:-1] == b"" or isinstance(decode_client_hello(first[:-1]), NeedMore)


# Bounds


def test_nothing_yet_needs_more():
    assert decode_client_hello(b"") == NeedMore(least_bytes=1)


def hello_of(wire_bytes):
    """Records that take exactly this many bytes."""
    message = message_of(extension(0xFF00, bytes(wire_bytes - 4 * 5 - len(message_of(extension(0xFF00, b""))))))
    data = records(message)
    assert len(data) == wire_bytes
    return data


def test_64_kib_on_the_wire_are_read_and_no_byte_more():
    assert MAX_HELLO_BYTES == 65_536
    assert decoded(hello_of(MAX_HELLO_BYTES)).wire_bytes == MAX_HELLO_BYTES
    kept = hello_of(MAX_HELLO_BYTES + 1)[:MAX_HELLO_BYTES]
    empty_records = (b"\x16\x03\x01\x00\x00" * 14_000)[:MAX_HELLO_BYTES]
    for data in (kept, empty_records):
        assert isinstance(decode_client_hello(data), NotClientHello), "no use in waiting for the byte that is too many"
    for pieces in (1, 2):
        reader, data = HelloReader(), hello_of(MAX_HELLO_BYTES + 1)
        middle = len(data) // pieces
        reader.feed(data[:middle])
        found = reader.feed(data[middle:])
        assert isinstance(found, NotClientHello)
        assert found.reason == "a hello of more than 65536 bytes"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x40\x00\x01\xff\xff\xff",
        b"\x16\x03\x01\x40\x00\x01\x01\x00\x00",
        b"\x16\x03\x01\x00\x00" * 20_000,
        records(message_of(extension(0xFF00, bytes(20_000))), 1),
    ],
)
def test_endless_hellos_are_given_up(data):
    assert isinstance(decode_client_hello(data), NotClientHello)
    reader = HelloReader()
    pieces = [reader.feed(data[at : at + 999]) for at in range(0, len(data), 999)]
    assert isinstance(pieces[-1], NotClientHello)


# Anything at all


def look_at_everything(data):
    """Decode, read every property, and hold it to what is said of it."""
    found = decode_client_hello(data)
    if isinstance(found, NeedMore):
        assert len(data) < found.least_bytes <= MAX_HELLO_BYTES
    elif isinstance(found, NotClientHello):
        assert found.reason
        assert len(found.sample) <= 80
    else:
        assert 0 < found.wire_bytes <= min(len(data), MAX_HELLO_BYTES)
        assert decode_client_hello(data[: found.wire_bytes]) == found
        assert isinstance(decode_client_hello(data[: found.wire_bytes - 1]), NeedMore)
        assert found.message[:1] == b"\x01"
        assert (found.maximum is None) == (found.offered() == ())
        for version in ALL_VERSIONS:
            assert (found.may_offer(version) is True) == (version in found.offered())
        if found.server_name is not None:
            assert found.server_name.isascii()
        assert all(isinstance(each, bytes) for each in found.alpn)
        assert not GREASE & {*found.groups, *found.signature_algorithms, *(found.supported_versions or ())}
    return found


openings = st.sampled_from(
    [b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03", b"\x80\x40\x01\x00\x02"]
)


@given(opening=openings, rest=st.binary(max_size=400))
@settings(max_examples=500)
def test_any_bytes_are_decoded_or_named_and_never_raise(opening, rest):
    look_at_everything(opening + rest)


@given(
    name=st.sampled_from(sorted(PINNED)),
    edits=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 2_000),
    cut=st.integers(0, 2_000),
)
@settings(max_examples=500)
def test_damaged_hellos_never_raise_and_pieces_agree_with_the_whole(name, edits, end, cut):
    data = bytearray(CAPTURED[name])
    for at, byte in edits:
        data[at % len(data)] = byte
    data = bytes(data[: max(1, end)])
    found = look_at_everything(data)
    reader = HelloReader()
    reader.feed(data[:cut])
    piecewise = reader.feed(data[cut:])
    assert type(piecewise) is type(found)
    assert piecewise == found or isinstance(found, NotClientHello), "an early refusal has less to show"
