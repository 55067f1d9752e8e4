"""The second ClientHello, read by tlslite-ng's parser, and its shares by cryptography's."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.exchange import HelloVariant
from scanner.model.versions import TlsVersion
from scanner.tls.hello import encode_hello
from scanner.tls.reply import HELLO_RETRY_REQUEST_RANDOM, ServerHello
from scanner.tls.retry import KEY_SHARES, maybe_second_hello
from scanner.tls.suites import GROUPS_ALL
from tests.tls.independent import ClientHello, Parser

RANDOM = bytes(range(64))
KEY_SHARE, COOKIE, PADDING = 51, 44, 21
FFDHE_BYTES = {256: 256, 257: 384, 258: 512, 259: 768, 260: 1024}
"""RFC 7919: group code point to size of the prime."""


def first_hello(name=None):
    return encode_hello(version=TlsVersion.TLS1_3, variant=HelloVariant.RARE, server_name=name, random=RANDOM)


def retry(group, cookie=b""):
    return ServerHello(
        version=TlsVersion.TLS1_3,
        legacy_version=TlsVersion.TLS1_2,
        random=HELLO_RETRY_REQUEST_RANDOM,
        suite=0x1301,
        is_retry_request=True,
        retry_group=group,
        cookie=cookie,
    )


def parse(hello):
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert hello[:3] == b"\x16\x03\x01"
    parser = Parser(bytearray(hello[6:]))
    parsed = ClientHello().parse(parser)
    assert parser.getRemainingLength() == 0
    return parsed


def extensions(parsed):
    return {extension.extType: bytes(extension.extData) for extension in parsed.extensions}


@given(group=st.sampled_from(sorted(KEY_SHARES)), cookie=st.binary(max_size=300), name=st.none() | st.just("a.example"))
def test_only_key_share_cookie_and_padding_change(group, cookie, name):
    """RFC 8446 section 4.1.2."""
    first = first_hello(name)
    second = parse(maybe_second_hello(first, retry(group, cookie)))
    before = parse(first)
    assert (second.random, second.session_id, second.cipher_suites) == (
        before.random,
        before.session_id,
        before.cipher_suites,
    )
    now, then = extensions(second), extensions(before)
    changing = {KEY_SHARE, COOKIE, PADDING}
    assert {k: v for k, v in now.items() if k not in changing} == {k: v for k, v in then.items() if k not in changing}
    (entry,) = second.getExtension(KEY_SHARE).client_shares
    assert (entry.group, bytes(entry.key_exchange)) == (group, KEY_SHARES[group])
    assert (COOKIE in now) == bool(cookie)
    if cookie:
        assert bytes(second.getExtension(COOKIE).cookie) == cookie


def test_a_retry_for_the_cookie_only_keeps_the_shares():
    first = first_hello()
    second = parse(maybe_second_hello(first, retry(None, b"c")))
    assert extensions(second)[KEY_SHARE] == extensions(parse(first))[KEY_SHARE]


def test_a_group_without_share_ends_it():
    assert maybe_second_hello(first_hello(), retry(0x2A2A)) is None


def test_every_share_is_for_a_group_that_we_offer():
    assert set(KEY_SHARES) <= set(GROUPS_ALL)


@pytest.mark.parametrize(("group", "curve"), [(23, ec.SECP256R1()), (24, ec.SECP384R1()), (25, ec.SECP521R1())])
def test_shares_are_points_of_their_curve(group, curve):
    ec.EllipticCurvePublicKey.from_encoded_point(curve, KEY_SHARES[group])


def test_montgomery_shares_have_a_shared_secret():
    """cryptography refuses points of small order, as RFC 7748 section 6 asks for."""
    x25519.X25519PrivateKey.generate().exchange(x25519.X25519PublicKey.from_public_bytes(KEY_SHARES[29]))
    x448.X448PrivateKey.generate().exchange(x448.X448PublicKey.from_public_bytes(KEY_SHARES[30]))


@pytest.mark.parametrize(("group", "size"), FFDHE_BYTES.items())
def test_finite_field_shares_fill_the_prime_and_are_squares(group, size):
    share = int.from_bytes(KEY_SHARES[group], "big")
    assert len(KEY_SHARES[group]) == size
    assert share == 2**2  # a quadratic residue of any prime, so in RFC 7919's subgroup


@pytest.mark.parametrize(("group", "size"), [(4588, 1184 + 32), (4587, 65 + 1184), (4589, 97 + 1568), (513, 1184)])
def test_hybrid_shares_have_the_drafts_sizes(group, size):
    """draft-ietf-tls-ecdhe-mlkem: sizes of the client's share."""
    assert len(KEY_SHARES[group]) == size
