from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given
from hypothesis import strategies as st

from scanner.listener import identity
from scanner.listener.identity import (
    DEFAULT_NAME,
    IdentityError,
    maybe_dns_name,
    open_identity,
    read_identity,
)

AT = datetime(2026, 11, 23, tzinfo=UTC)


def certificate(found):
    return x509.load_der_x509_certificate(found)


def names(found):
    return certificate(found).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def verify(listener_identity, chain, subject, at=None):
    """Verify as the library of another project does (PyCA's verifier: RFC 5280 and the CA/B baseline)."""
    store = Store([x509.load_pem_x509_certificate(listener_identity.ca_pem.encode())])
    builder = PolicyBuilder().store(store).time((at or datetime.now(UTC)).replace(tzinfo=None))
    leaf, *rest = map(certificate, chain)
    builder.build_server_verifier(subject).verify(leaf, rest)


@pytest.mark.parametrize("name", ["www.example.test", "t-0-curl.192.0.2.7.tls-probe.invalid"])
def test_a_leaf_verifies_for_the_name_asked_for(name, listener_identity):
    for leaf in listener_identity.leaves_for(name):
        verify(listener_identity, leaf.chain_der, x509.DNSName(name))


def test_both_kinds_of_key_are_there_rsa_first(listener_identity):
    rsa, ecdsa = listener_identity.leaves_for("www.example.test")
    assert (rsa.is_rsa, rsa.key.key_size) == (True, 2048)
    assert (ecdsa.is_rsa, ecdsa.key.curve.name) == (False, "secp256r1")
    assert listener_identity.chain_for("www.example.test") == rsa.chain_der


def test_for_no_name_there_are_the_default_name_and_the_addresses(listener_identity):
    found = names(listener_identity.chain_for(None, address="192.0.2.1")[0])
    assert found.get_values_for_type(x509.DNSName) == [DEFAULT_NAME]
    assert found.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("192.0.2.1")]
    verify(listener_identity, listener_identity.chain_for(None), x509.IPAddress(ip_address("127.0.0.1")))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "192.0.2.7",
        "a..b",
        "a b",
        "-a.test",
        "a\x00.test",
        "*.test",
        "a/b",
        "x" * 64 + ".test",
        "\\xff",
        "é.test",
        ".".join(["a" * 60] * 5),
        "2001:db8::1",
        "a.test\n",
        "<script>",
        "1",
    ],
)
def test_what_is_no_name_gets_the_default(name, listener_identity):
    assert maybe_dns_name(name) is None
    assert listener_identity.chain_for(name) == listener_identity.chain_for(None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WWW.Example.TEST", "www.example.test"),
        ("a.test.", "a.test"),
        ("_sip.a.test", "_sip.a.test"),
        ("localhost",) * 2,
        ("xn--bcher-kva.test",) * 2,
        ("192.0.2.7.test",) * 2,
        (".".join(["a" * 60] * 4),) * 2,
    ],
)
def test_names_are_taken_in_lower_case(name, expected):
    assert maybe_dns_name(name) == expected


def test_a_name_over_64_characters_fits(listener_identity):
    name = ".".join(["a" * 60] * 4)
    verify(listener_identity, listener_identity.chain_for(name), x509.DNSName(name))


@given(st.text(max_size=300))
def test_no_name_raises(name):
    assert maybe_dns_name(name) is None or name.isascii()


def test_names_are_kept_but_few(listener_identity):
    first = listener_identity.chain_for("kept.example.test")
    assert listener_identity.chain_for("KEPT.example.test") == first
    for number in range(300):
        listener_identity.chain_for(f"n{number}.example.test")
    assert len(listener_identity._leaves) == 128
    assert listener_identity.chain_for("kept.example.test") != first, "it had to go"


def test_a_leaf_is_made_anew_before_it_ends(listener_identity):
    at = datetime.now(UTC)
    first = listener_identity.leaves_for("old.example.test", at=at)
    later = listener_identity.leaves_for("old.example.test", at=at + timedelta(days=366))
    assert listener_identity.leaves_for("old.example.test", at=at + timedelta(days=1)) == later, "kept: the newest"
    assert first != later
    assert first[0].chain[0].not_valid_after_utc - first[0].chain[0].not_valid_before_utc <= timedelta(days=398)


def test_the_authority_is_kept_in_its_folder(tmp_path):
    folder = tmp_path / "deep" / "listener"
    made = open_identity(folder, at=AT)

    assert sorted(file.name for file in folder.iterdir()) == ["ca-key.pem", "ca.pem"]
    assert stat.S_IMODE((folder / "ca-key.pem").stat().st_mode) == 0o600
    assert (folder / "ca.pem").read_text() == made.ca_pem
    again = open_identity(folder, at=AT)
    assert (again.fingerprint, again.ca_pem) == (made.fingerprint, made.ca_pem)
    verify(made, again.leaves_for("a.test", at=AT)[0].chain_der, x509.DNSName("a.test"), AT)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_half_an_authority_is_not_replaced(name, tmp_path):
    open_identity(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(IdentityError, match=rf"no {name}; restore it, or remove both"):
        open_identity(tmp_path)


def test_an_authority_that_has_ended_says_so(tmp_path):
    open_identity(tmp_path, at=AT - timedelta(days=4000))
    with pytest.raises(IdentityError, match="expired"):
        open_identity(tmp_path, at=AT)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_a_damaged_authority_names_its_file(name, tmp_path):
    open_identity(tmp_path)
    (tmp_path / name).write_text("-----BEGIN NONSENSE-----")
    with pytest.raises(IdentityError, match=name):
        open_identity(tmp_path)


def test_another_authoritys_key_is_noticed(tmp_path):
    open_identity(tmp_path / "one")
    open_identity(tmp_path / "two")
    (tmp_path / "one" / "ca-key.pem").write_bytes((tmp_path / "two" / "ca-key.pem").read_bytes())
    with pytest.raises(IdentityError, match="does not belong"):
        open_identity(tmp_path / "one")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(identity.os, "fsync", fail)
    with pytest.raises(IdentityError, match="No space left"):
        open_identity(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own(listener_identity, tmp_path):
    leaf = listener_identity.leaves_for("own.example.test")[1]
    (tmp_path / "both.pem").write_bytes(leaf.pem)
    (tmp_path / "chain.pem").write_bytes(leaf.chain[0].public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path, leaf


def test_the_users_own_certificate_serves_all_names(own):
    folder, leaf = own
    for made in (read_identity(folder / "both.pem"), read_identity(folder / "chain.pem", folder / "key.pem")):
        assert made.chain_for("any.example.test") == made.chain_for(None) == leaf.chain_der
        assert made.ca_pem is None
        assert len(made.fingerprint) == 64


def test_what_is_wrong_with_the_users_own_files_is_said(own, listener_identity):
    folder, _ = own
    other = listener_identity.leaves_for("own.example.test")[0]
    (folder / "other.pem").write_bytes(other.pem)
    with pytest.raises(IdentityError, match="does not belong to the key"):
        read_identity(folder / "chain.pem", folder / "other.pem")
    with pytest.raises(IdentityError, match="no private key"):
        read_identity(folder / "chain.pem")
    with pytest.raises(IdentityError, match="No such file"):
        read_identity(folder / "absent.pem")
    with pytest.raises(IdentityError, match="no certificate"):
        read_identity(folder / "key.pem")


def test_no_key_is_shown(listener_identity):
    assert "PRIVATE" not in repr(listener_identity.leaves_for("a.test")) + repr(listener_identity)
