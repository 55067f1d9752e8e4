"""Certificates are made with cryptography's builder or the openssl command; openssl x509 is the independent reader."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner import certificates
from scanner.certificates import ISSUER_IS_KNOWN, describe_chain
from scanner.trust_stores import read_trust_store

BEGIN = datetime(2026, 1, 10, 8, 30, tzinfo=UTC)
END = BEGIN + timedelta(days=90)
AT = BEGIN + timedelta(days=30)
USAGE = {
    "digital_signature": True,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}


def _name(common_name, organisation="Example Org"):
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


class Authority:
    """A private CA whose leaves keep to the web profile (CA/Browser Forum), so that only trust is in question."""

    def __init__(self, common_name="Example Root", parent=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(common_name)
        signer = parent or self
        self.certificate = (
            self._builder(self.name, signer, self.key.public_key(), BEGIN, END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**USAGE, key_cert_sign=True, crl_sign=True), critical=True)
            .sign(signer.key, hashes.SHA256())
        )

    @staticmethod
    def _builder(subject, signer, public_key, begin, end):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        )

    def leaf(self, *names, key=None, subject=None, begin=BEGIN, end=END):
        public_key = (key or ec.generate_private_key(ec.SECP256R1())).public_key()
        return (
            self._builder(_name("leaf") if subject is None else subject, self, public_key, begin, end)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**USAGE, key_cert_sign=False, crl_sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def _general(name):
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _der(*chain):
    return tuple(one.public_bytes(serialization.Encoding.DER) for one in chain)


def _describe(*chain, server_name="sts.example.test", address="192.0.2.7", at=AT):
    return describe_chain(_der(*chain), server_name=server_name, address=address, at=at)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def trusting(authority, monkeypatch, tmp_path):
    """A trust store that holds the test's root, in place of the packaged ones."""
    path = tmp_path / "store.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(_der(authority.certificate)[0]))
    store = read_trust_store(path, name="Windows", version="2026-03-28")
    monkeypatch.setattr(certificates, "read_trust_stores", lambda: (store,))
    _forget()
    yield
    _forget()


def _forget():
    certificates._describe_for_itself.cache_clear()
    certificates._describe_for_peer.cache_clear()
    certificates._refuse_peer.cache_clear()


def _openssl(*arguments, cwd, **options):
    return subprocess.run(
        ["openssl", *arguments], cwd=cwd, check=True, capture_output=True, timeout=60, **options
    ).stdout


def _self_signed(tmp_path, *arguments, subject="/CN=x.example.test"):
    """Make a self-signed certificate with the openssl command; return its DER."""
    key = [] if "-key" in arguments else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        "req", "-x509", *key, "-keyout", "k.pem", "-outform", "DER", "-out", "c.der", "-days", "30",
        *(["-subj", subject]), *arguments, cwd=tmp_path,
    )  # fmt: skip
    return (tmp_path / "c.der").read_bytes()


def _described_by_openssl(der, tmp_path):
    (tmp_path / "read.der").write_bytes(der)
    text = _openssl(
        "x509", "-inform", "DER", "-in", "read.der", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253",
        "-startdate", "-enddate", "-dateopt", "iso_8601", "-fingerprint", "-sha256", cwd=tmp_path, text=True,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in text.splitlines())


def test_fields_agree_with_what_openssl_reads(authority, tmp_path):
    leaf = authority.leaf("sts.example.test", "*.sts.example.test", "192.0.2.7", "2001:db8::7")
    read = _described_by_openssl(_der(leaf)[0], tmp_path)
    seen = _describe(leaf, authority.certificate)
    assert (seen.subject, seen.issuer) == (read["subject"], read["issuer"])
    assert seen.sha256 == next(v for k, v in read.items() if k.endswith("Fingerprint")).replace(":", "").lower()
    assert seen.not_before == datetime.fromisoformat(read["notBefore"])
    assert seen.not_after == datetime.fromisoformat(read["notAfter"])
    assert seen.names == ("sts.example.test", "*.sts.example.test", "192.0.2.7", "2001:db8::7")
    assert (seen.chain_count, seen.parse_error) == (2, None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RSA 2048"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "EC secp256r1"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "EC secp384r1"),
        (lambda: dsa.generate_private_key(2048), "DSA 2048"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
        (ed448.Ed448PrivateKey.generate, "Ed448"),
    ],
)
def test_kind_and_size_of_the_key_are_named(authority, make, text):
    assert _describe(authority.leaf("sts.example.test", key=make())).key == text


def test_a_private_authority_is_trusted_by_none_of_the_five_packaged_stores(authority):
    seen = _describe(authority.leaf("sts.example.test"), authority.certificate)
    assert {result.store for result in seen.trust} == {"Mozilla", "Windows", "Apple", "Android", "Java"}
    assert all(result.store_version for result in seen.trust)
    for result in seen.trust:
        assert not result.is_trusted
        assert not result.error.startswith(ISSUER_IS_KNOWN)


def test_a_chain_to_a_root_of_the_store_is_trusted(authority, trusting):
    [result] = _describe(authority.leaf("sts.example.test")).trust
    assert (result.store, result.store_version, result.is_trusted, result.error) == (
        "Windows",
        "2026-03-28",
        True,
        None,
    )


def test_an_intermediate_that_was_sent_is_used_and_its_absence_noticed(authority, trusting):
    between = Authority("Example Issuing CA", parent=authority)
    leaf = between.leaf("sts.example.test")
    [with_it] = _describe(leaf, between.certificate).trust
    [without] = _describe(leaf).trust
    assert with_it.is_trusted
    assert not without.is_trusted
    assert not without.error.startswith(ISSUER_IS_KNOWN)


@pytest.mark.parametrize("names", [("other.example.test",), ("*.other.example.test",), ("192.0.2.9",)])
def test_a_wrong_name_is_told_from_an_unknown_authority(authority, trusting, names):
    [result] = _describe(authority.leaf(*names)).trust
    assert not result.is_trusted
    assert result.error.startswith(ISSUER_IS_KNOWN)
    assert "subjectAltName" in result.error


@pytest.mark.parametrize("at", [BEGIN - timedelta(days=1), END + timedelta(days=1)])
def test_a_date_outside_validity_is_told_from_an_unknown_authority(authority, trusting, at):
    [result] = _describe(authority.leaf("sts.example.test"), at=at).trust
    assert not result.is_trusted
    assert result.error.startswith(ISSUER_IS_KNOWN)


def test_the_time_of_the_exchange_decides_and_not_the_clock(authority, trusting):
    leaf = authority.leaf("sts.example.test", begin=BEGIN, end=BEGIN + timedelta(days=1))
    assert _describe(leaf, at=BEGIN + timedelta(hours=3)).trust[0].is_trusted
    assert not _describe(leaf, at=BEGIN + timedelta(days=2)).trust[0].is_trusted


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "fe80::7%eth0"])
def test_without_server_name_the_certificate_must_name_the_address(authority, trusting, address):
    named = authority.leaf(address.partition("%")[0])
    unnamed = authority.leaf("sts.example.test")
    assert _describe(named, server_name=None, address=address).trust[0].is_trusted
    assert not _describe(unnamed, server_name=None, address=address).trust[0].is_trusted


def test_a_server_name_that_is_no_host_name_is_an_error_and_no_exception(authority, trusting):
    [result] = _describe(authority.leaf("sts.example.test"), server_name="_sip.exa_mple.test").trust
    assert not result.is_trusted
    assert result.error.startswith(ISSUER_IS_KNOWN)


def test_an_intermediate_that_is_no_certificate_is_an_error_of_the_chain(authority, trusting):
    chain = (*_der(authority.leaf("sts.example.test")), b"\x30\x03\x02\x01\x01")
    seen = describe_chain(chain, server_name="sts.example.test", address="192.0.2.7", at=AT)
    assert (seen.parse_error, seen.chain_count) == (None, 2)
    assert not seen.trust[0].is_trusted
    assert seen.trust[0].error


def test_each_chain_is_verified_once_a_minute(authority, trusting):
    leaf = authority.leaf("sts.example.test")
    for second in range(30):
        _describe(leaf, at=AT + timedelta(seconds=second))
    assert _verified_counts() == (1, 0)  # the name asked for is the certificate's first


def test_a_chain_that_no_store_accepts_is_verified_once_for_all_hosts_that_send_it(authority):
    leaf = authority.leaf("sts.example.test")
    _forget()
    for number in range(20):
        _describe(leaf, server_name=None, address=f"192.0.2.{number}")
    assert _verified_counts() == (1, 0)


def test_a_chain_that_a_store_accepts_is_looked_at_again_for_each_peer(authority, trusting):
    leaf = authority.leaf("sts.example.test", "192.0.2.1", "192.0.2.2")
    for address, is_trusted in (("192.0.2.1", True), ("192.0.2.2", True), ("192.0.2.3", False)) * 2:
        [result] = _describe(leaf, server_name=None, address=address).trust
        assert result.is_trusted is is_trusted
    assert _verified_counts() == (1, 3)


def _verified_counts():
    return tuple(
        cached.cache_info().misses for cached in (certificates._describe_for_itself, certificates._describe_for_peer)
    )


@pytest.mark.parametrize(
    ("server_name", "at"),
    [
        ("sts.example.test", AT),
        ("other.example.test", AT),
        ("sts.example.test", END + timedelta(days=1)),
        ("192.0.2.7", AT),
        ("no_name", AT),
    ],
)
def test_stores_that_differ_answer_as_each_does_by_itself(authority, monkeypatch, tmp_path, server_name, at):
    between = Authority("Example Issuing CA", parent=authority)
    roots = {
        "Windows": [authority.certificate],
        "Java": [Authority("Unused").certificate],
        "Mozilla": [between.certificate],
        "Apple": [Authority().certificate, authority.certificate],  # another root of the same name
        "Android": [Authority().certificate],
    }
    stores = []
    for name, own in roots.items():
        path = tmp_path / f"{name}.pem"
        path.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in _der(*own)))
        stores.append(read_trust_store(path, name=name, version="1"))
    leaf = between.leaf("sts.example.test", "192.0.2.7")
    for chain in ([leaf, between.certificate], [leaf], [authority.leaf("sts.example.test")], [between.certificate]):

        def results(asked, chain=chain):
            monkeypatch.setattr(certificates, "read_trust_stores", lambda: asked)
            _forget()
            return _describe(*chain, server_name=server_name, at=at).trust

        assert results(tuple(stores)) == tuple(results((store,))[0] for store in stores)
    _forget()


def test_no_certificate_at_all_is_said():
    seen = describe_chain((), server_name=None, address="192.0.2.7", at=AT)
    assert (seen.chain_count, seen.sha256) == (0, "")
    assert seen.parse_error


# --- Hostile certificates, made by the openssl command because cryptography's builder refuses to.


def _describe_der(der, at=None):
    return describe_chain((der,), server_name="x.example.test", address="192.0.2.7", at=at or datetime.now(UTC))


@pytest.mark.parametrize("serial", ["-5", "0"])
def test_a_serial_number_that_is_not_positive_is_no_obstacle(tmp_path, serial):
    seen = _describe_der(_self_signed(tmp_path, "-set_serial", serial))
    assert (seen.subject, seen.parse_error) == ("CN=x.example.test", None)


def test_an_empty_subject_is_described(tmp_path):
    seen = _describe_der(_self_signed(tmp_path, subject="/"))
    assert (seen.subject, seen.issuer, seen.parse_error, seen.key) == ("", "", None, "EC secp256r1")


@pytest.mark.parametrize(
    "extension",
    [
        "subjectAltName=DER:04:03:01:02:03",  # an OCTET STRING where a SEQUENCE belongs
        "subjectAltName=DER:30:05:87:03:01:02:03",  # iPAddress of three bytes
        "basicConstraints=DER:01:01",
    ],
)
def test_an_extension_that_can_not_be_parsed_costs_the_names_only(tmp_path, extension):
    der = _self_signed(tmp_path, "-addext", extension)
    seen = _describe_der(der)
    assert seen.subject == _described_by_openssl(der, tmp_path)["subject"]
    assert seen.not_after is not None
    assert seen.names == ()
    assert seen.parse_error.startswith("the extensions could not be parsed")


def test_a_name_outside_ascii_is_shown_as_sent(tmp_path):
    # RFC 5280 section 4.2.1.6: a dNSName is an IA5String; this one holds UTF-8.
    seen = _describe_der(_self_signed(tmp_path, "-addext", "subjectAltName=DER:30:04:82:02:C3:BC"))
    assert (seen.names, seen.parse_error) == (("\u00fc",), None)
    assert not any(result.is_trusted for result in seen.trust)


def test_other_kinds_of_alternative_names_are_left_out(tmp_path):
    names = "subjectAltName=email:a@example.test,URI:https://example.test/,otherName:1.2.3;UTF8:x,RID:1.2.3,DNS:x.example.test"
    seen = _describe_der(_self_signed(tmp_path, "-addext", names))
    assert (seen.names, seen.parse_error) == (("x.example.test",), None)


def test_control_characters_and_length_of_network_text_are_bounded(tmp_path):
    der = _self_signed(tmp_path, "-utf8", subject="/CN=a\x1b[2J\nb\u202ec/O=" + "o" * 60 + "/OU=" + "u" * 60)
    seen = _describe_der(der)
    assert "\x1b" not in seen.subject
    assert "\n" not in seen.subject
    assert "\u202e" not in seen.subject
    many = ",".join(f"DNS:{'n' * 63}.{'n' * 63}.{i}.example.test" for i in range(1_200))
    config = tmp_path / "many.cnf"
    config.write_text(f"[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\nsubjectAltName={many}\n")
    seen = _describe_der(_self_signed(tmp_path, "-config", str(config)))
    assert len(seen.names) == certificates.MAX_NAMES_COUNT
    assert seen.parse_error is None


def test_a_key_that_can_not_be_read_is_named_by_its_object_identifier(tmp_path):
    curve = ["-pkeyopt", "ec_paramgen_curve:secp224r1", "-pkeyopt", "ec_param_enc:explicit"]
    _openssl("genpkey", "-algorithm", "EC", *curve, "-out", "k.pem", cwd=tmp_path)
    _openssl("req", "-x509", "-key", "k.pem", "-outform", "DER", "-out", "c.der", "-subj", "/CN=x", cwd=tmp_path)
    # 1.2.840.10045.2.1 is id-ecPublicKey (RFC 5480 section 2.1.1).
    assert _describe_der((tmp_path / "c.der").read_bytes()).key == "unknown (1.2.840.10045.2.1)"


@pytest.mark.parametrize(
    "mangle",
    [
        lambda der: der[: len(der) // 2],
        lambda der: der + b"x",
        lambda _der: b"",
        lambda _der: b"\x30\x84\xff\xff\xff\xff",
        lambda _der: b"-----BEGIN CERTIFICATE-----",
        lambda der: _with_date(der, b"999999999999Z"),
        lambda der: _with_date(der, b"261332000000Z"),
    ],
    ids=["half", "trailing", "empty", "huge length", "PEM", "no such date", "month 13"],
)
def test_what_is_no_certificate_is_a_parse_error_with_a_fingerprint(authority, tmp_path, mangle):
    der = mangle(_self_signed(tmp_path))
    (tmp_path / "broken").write_bytes(der)
    digest = _openssl("dgst", "-sha256", "-r", "broken", cwd=tmp_path, text=True).split()[0]
    seen = _describe_der(der)
    assert seen.parse_error
    assert (seen.subject, seen.issuer, seen.not_before, seen.not_after, seen.trust) == ("", "", None, None, ())
    assert seen.sha256 == digest


def _with_date(der, text):
    at = der.index(b"\x17\x0d") + 2  # UTCTime, 13 bytes: the first one is notBefore
    return der[:at] + text + der[at + 13 :]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_certificate_with_any_bytes_changed_never_raises(authority, data):
    der = bytearray(_SAMPLE or _fill(authority))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    seen = describe_chain((bytes(der), bytes(der)), server_name="sts.example.test", address="192.0.2.7", at=AT)
    assert seen.parse_error is not None or seen.not_after is not None
    assert not any(result.is_trusted for result in seen.trust)


_SAMPLE = bytearray()


def _fill(authority):
    _SAMPLE.extend(_der(authority.leaf("sts.example.test", "192.0.2.7"))[0])
    return _SAMPLE


@given(st.binary(max_size=200))
def test_any_bytes_never_raise(blob):
    assert describe_chain((blob,), server_name=None, address="::1", at=AT).parse_error
