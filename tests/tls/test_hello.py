"""Our hellos, read by parsers that others wrote: tests.hostile.wire and tlslite-ng."""

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.exchange import HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.tls.hello import RANDOM_BYTES, encode_hello, offered_suites, variants_for
from tests.hostile import wire
from tests.tls.independent import ClientHello, Parser, SignatureScheme

RANDOM = bytes(range(RANDOM_BYTES))
TLS = [version for version in ALL_VERSIONS if version is not TlsVersion.SSL2]
FORMS = [(version, variant) for version in TLS for variant in variants_for(version)]
SSL2_FORMS = [(TlsVersion.SSL2, variant) for variant in variants_for(TlsVersion.SSL2)]
SIGNATURE_ALGORITHMS, PADDING = 13, 21
names = st.integers(1, 253).map(
    lambda length: ("a" * 60 + ".") * 4 + "b" * 9 if length == 253 else ("a." * 127)[:length]
)


def hello(version, variant, server_name="sts.example.com"):
    return encode_hello(version=version, variant=variant, server_name=server_name, random=RANDOM)


def parsed(version, variant, server_name="sts.example.com"):
    found = wire.decode_hello(hello(version, variant, server_name))
    assert found is not None
    assert found.total_bytes == len(hello(version, variant, server_name)), "nothing follows the hello"
    return found


def by_tlslite(version, variant, server_name="sts.example.com"):
    data = hello(version, variant, server_name)
    parser = Parser(bytearray(data[6:]))  # after the record header and the message type
    return ClientHello().parse(parser)


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_asks_for_exactly_one_version(version, variant):
    found = parsed(version, variant)
    assert found.asked == version
    assert found.legacy_version == min(version, 0x0303)
    assert found.supported_versions == ((0x0304,) if version is TlsVersion.TLS1_3 else ())
    theirs = by_tlslite(version, variant)
    assert theirs.client_version == divmod(min(version, 0x0303), 256)
    assert list(theirs.cipher_suites) == list(found.suites)
    assert theirs.random == RANDOM[:32]


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_record_version_is_what_every_server_reads(version, variant):
    """RFC 8446 section 5.1 and appendix D.2: 0x0301 for the first hello; SSLv3 servers may want 0x0300."""
    assert parsed(version, variant).record_version == (0x0300 if version is TlsVersion.SSL3 else 0x0301)


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_renegotiation_signal_is_always_there(version, variant):
    """GnuTLS %SAFE_RENEGOTIATION and IIS 10 refuse a hello without it (tls-behaviour); RFC 5746 section 3.3."""
    assert parsed(version, variant).has_scsv


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_offered_suites_are_the_ones_on_the_wire(version, variant):
    found = parsed(version, variant)
    assert set(found.suites) - {0x00FF} == offered_suites(version, variant)
    assert len(set(found.suites)) == len(found.suites)


@given(form=st.sampled_from(FORMS), server_name=st.none() | names)
@settings(max_examples=600)
def test_length_is_never_in_the_dead_zone(form, server_name):
    """F5 BIG-IP drops 256 to 511 bytes (RFC 7685 section 1). And no hello needs two records."""
    data = hello(*form, server_name)
    found = wire.decode_hello(data)
    assert found is not None
    assert not 256 <= found.message_bytes <= 511
    assert found.total_bytes == len(data) == found.message_bytes + 5
    assert found.message_bytes <= 2048


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_every_name_length_keeps_out_of_the_dead_zone(version, variant):
    for length in range(1, 254):
        found = parsed(version, variant, "a" * length)
        assert not 256 <= found.message_bytes <= 511, length


@pytest.mark.parametrize("version", TLS)
def test_compact_is_short_and_the_others_long(version):
    """With a name of ordinary length: 20 characters."""
    name = "adfs.contoso.example"
    for variant in variants_for(version):
        size = parsed(version, variant, name).message_bytes
        assert (size < 256) is (variant is HelloVariant.COMPACT)


def test_long_tls_forms_have_one_length():
    """Then a box that stops long hellos can't be taken for a server without a version (scanner.survey)."""
    for name in (None, "a.example", "x" * 253):
        sizes = {parsed(version, HelloVariant.BROAD, name).message_bytes for version in TLS[1:]}
        assert len(sizes) == 1


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_server_name_is_sent_or_absent_never_empty(version, variant):
    found = parsed(version, variant)
    if (version, variant) == (TlsVersion.SSL3, HelloVariant.RARE):
        assert not found.extensions, "the one form without extensions"
    else:
        assert found.sni == "sts.example.com"
        assert by_tlslite(version, variant).server_name == b"sts.example.com"
    assert wire.SERVER_NAME not in parsed(version, variant, None).extensions


@pytest.mark.parametrize("variant", variants_for(TlsVersion.TLS1_3))
def test_tls13_key_shares(variant):
    """Empty in BROAD: asks for a HelloRetryRequest (RFC 8446 section 4.2.8). Real points in the others."""
    found = parsed(TlsVersion.TLS1_3, variant)
    shares = {}
    rest = found.extensions[wire.KEY_SHARE][2:]
    while rest:
        size = int.from_bytes(rest[2:4], "big")
        shares[int.from_bytes(rest[:2], "big")] = rest[4 : 4 + size]
        rest = rest[4 + size :]
    expected = {HelloVariant.BROAD: set(), HelloVariant.COMPACT: {29}, HelloVariant.RARE: {29, 23, 24}}
    assert set(shares) == expected[variant]
    assert set(shares) <= set(found.groups)
    if 29 in shares:
        assert x25519.X25519PrivateKey.generate().exchange(x25519.X25519PublicKey.from_public_bytes(shares[29]))
    for group, curve in ((23, ec.SECP256R1()), (24, ec.SECP384R1())):
        if group in shares:  # raises where the point is not on the curve
            ec.EllipticCurvePublicKey.from_encoded_point(curve, shares[group])


@pytest.mark.parametrize(("version", "variant"), [form for form in FORMS if form[0] >= TlsVersion.TLS1_2])
def test_signature_algorithms_have_sha1_and_pss(version, variant):
    body = parsed(version, variant).extensions[SIGNATURE_ALGORITHMS]
    assert int.from_bytes(body[:2], "big") == len(body) - 2
    offered = {tuple(body[at : at + 2]) for at in range(2, len(body), 2)}
    assert offered >= {SignatureScheme.rsa_pkcs1_sha1, SignatureScheme.ecdsa_sha1}
    assert offered >= {SignatureScheme.rsa_pss_rsae_sha256, SignatureScheme.rsa_pkcs1_sha256}
    assert SignatureScheme.ecdsa_secp256r1_sha256 in offered


@pytest.mark.parametrize(("version", "variant"), [form for form in FORMS if form[0] < TlsVersion.TLS1_2])
def test_signature_algorithms_are_not_sent_before_tls12(version, variant):
    """RFC 5246 section 7.4.1.4.1."""
    assert SIGNATURE_ALGORITHMS not in parsed(version, variant).extensions


@pytest.mark.parametrize(("version", "variant"), [form for form in FORMS if form[0] > TlsVersion.SSL3])
def test_groups_that_every_stack_has_are_offered(version, variant):
    found = parsed(version, variant)
    assert {23, 24, 25, 29} <= set(found.groups)
    assert len(set(found.groups)) == len(found.groups)
    if variant is not HelloVariant.COMPACT:
        assert {30, 256, 257, 26, 27, 28} <= set(found.groups), "X448, FFDHE, Brainpool"


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_session_id_is_as_the_version_wants(version, variant):
    """RFC 8446 appendix D.4: for middleboxes a TLS 1.3 hello has one of 32 bytes; the others resume nothing."""
    assert parsed(version, variant).session_id == (RANDOM[32:] if version is TlsVersion.TLS1_3 else b"")


@pytest.mark.parametrize(("version", "variant"), FORMS)
def test_extensions_that_some_servers_choke_on_are_absent(version, variant):
    """Facts: wolfSSL closes on status_request; extended_master_secret and the like are for handshakes."""
    found = parsed(version, variant)
    assert wire.STATUS_REQUEST not in found.extensions
    assert set(found.extensions) <= {0, 10, 11, 13, PADDING, 43, 45, 51}
    assert set(found.extensions.get(PADDING, b"\0")) <= {0}


@pytest.mark.parametrize(("version", "variant"), SSL2_FORMS)
def test_ssl2_hello(version, variant):
    found = parsed(version, variant)
    assert found.is_ssl2_format
    assert found.asked == 0x0002
    assert set(found.suites) == offered_suites(version, variant)
    assert found.session_id == b""
    assert {0x010080, 0x020080, 0x0700C0} <= set(found.suites)
    data = hello(version, variant)
    challenge = int.from_bytes(data[9:11], "big")
    assert 16 <= challenge <= 32, "draft-hickman-netscape-ssl-00 section 2.5: 16 to 32 bytes"
    assert data[-challenge:] == RANDOM[:challenge]
    assert data == hello(version, variant, None), "no SSLv2 hello can carry a name"


def test_variants_differ():
    for version in ALL_VERSIONS:
        sent = [hello(version, variant) for variant in variants_for(version)]
        assert all(a != b for a, b in itertools.combinations(sent, 2))


@given(random=st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES), form=st.sampled_from(FORMS + SSL2_FORMS))
def test_only_the_random_changes(random, form):
    version, variant = form
    other = encode_hello(version=version, variant=variant, server_name="sts.example.com", random=random)
    ours = hello(version, variant)
    assert len(other) == len(ours)
    if version is not TlsVersion.SSL2:
        assert other[:11] == ours[:11]
        assert other[11:43] == random[:32]
        assert other[76:] == ours[76:]
