"""The lab's certificates, read back by OpenSSL's own command line."""

import subprocess

import pytest

from tests.lab.certs import PKCS12_PASSWORD

pytestmark = pytest.mark.lab

_KEYS = {
    "rsa2048": "Public-Key: (2048 bit)",
    "rsa1024": "Public-Key: (1024 bit)",
    "p256": "ASN1 OID: prime256v1",
    "p384": "ASN1 OID: secp384r1",
    "ed25519": "ED25519 Public-Key:",
    "dsa1024": "dsaEncryption",
    "big": "Public-Key: (2048 bit)",
    "client": "ASN1 OID: prime256v1",
}


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout


@pytest.mark.parametrize(("name", "words"), _KEYS.items(), ids=_KEYS)
def test_leaf_is_what_its_name_says_and_verifies(lab_certificates, name, words):
    leaf = getattr(lab_certificates, name)
    assert words in _openssl("x509", "-in", leaf.certificate, "-noout", "-text")
    purpose = "sslclient" if name == "client" else "sslserver"
    lowered = ("-auth_level", "0", "-purpose", purpose)
    said = _openssl("verify", *lowered, "-CAfile", lab_certificates.ca, "-untrusted", leaf.chain, leaf.certificate)
    assert said.strip().endswith(": OK")


@pytest.mark.parametrize("name", _KEYS)
def test_every_shape_holds_the_same_key(lab_certificates, name):
    leaf = getattr(lab_certificates, name)
    wanted = _openssl("x509", "-in", leaf.certificate, "-noout", "-pubkey")
    for file in (leaf.key, leaf.traditional_key, leaf.bundle):
        assert _openssl("pkey", "-in", file, "-pubout") == wanted
    unpacked = _openssl("pkcs12", "-in", leaf.pkcs12, "-passin", f"pass:{PKCS12_PASSWORD}", "-nodes", "-nocerts")
    assert "PRIVATE KEY" in unpacked
    assert "friendlyName: lab" in unpacked


def test_big_chain_is_over_20_kb_on_the_wire(lab_certificates, tmp_path):
    parts = lab_certificates.big.chain.read_text().split("-----END CERTIFICATE-----\n")[:-1]
    total = 0
    for number, part in enumerate(parts):
        pem, der = tmp_path / f"{number}.pem", tmp_path / f"{number}.der"
        pem.write_text(part + "-----END CERTIFICATE-----\n")
        _openssl("x509", "-in", pem, "-outform", "DER", "-out", der)
        total += der.stat().st_size
    assert total > 20 * 1024


def test_ocsp_response_calls_the_leaf_good(lab_certificates):
    ca, leaf = lab_certificates.ca, lab_certificates.rsa2048.certificate
    response = lab_certificates.ocsp_response
    said = _openssl("ocsp", "-respin", response, "-issuer", ca, "-sha256", "-cert", leaf, "-CAfile", ca)
    assert f"{leaf}: good" in said
