"""Held to sslyze's own classes: names, versions, roots and answers."""

import warnings
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scanner import trust_stores
from scanner.trust_stores import read_trust_stores
from tests.test_certificates import AT, Authority


@pytest.fixture(scope="module")
def theirs():
    from sslyze.plugins.certificate_info.trust_stores.trust_store_repository import (  # noqa: PLC0415 - slow to import
        TrustStoresRepository,
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TrustStoresRepository.get_default().get_all_stores()


def test_names_and_versions_are_sslyzes(theirs):
    ours = {store.name: store.version for store in read_trust_stores()}
    assert ours == {store.name: store.version for store in theirs}
    assert len(ours) == 5


def _roots(store):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.load_pem_x509_certificates(store.path.read_bytes())


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_answers_are_sslyzes(theirs):
    """For each of their roots, as if a server sent it, and for a chain of nobody they know."""
    authority = Authority()
    candidates = [[root] for store in theirs for root in _roots(store)[:12]] + [[authority.certificate]]
    peer = x509.DNSName("sts.example.test")
    ours = {store.name: store for store in read_trust_stores()}
    compared = 0
    for chain in candidates:
        pem = [certificate.public_bytes(Encoding.PEM).decode() for certificate in chain]
        for store in theirs:
            expected = store.verify_certificate_chain(pem, peer, validation_time=AT).validation_error
            assert ours[store.name].maybe_error(chain[0], chain[1:], peer, AT) == expected
            compared += 1
    assert compared > 250


def test_a_chain_to_a_root_is_accepted_for_its_name_and_time_only(tmp_path):
    authority = Authority()
    path = tmp_path / "root.pem"
    path.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    store = trust_stores.read_trust_store(path, name="Test", version="1")
    leaf = authority.leaf("sts.example.test")
    name = x509.DNSName("sts.example.test")
    assert store.maybe_error(leaf, [], name, AT) is None
    assert store.maybe_error(leaf, [], x509.DNSName("other.example.test"), AT) is not None
    assert store.maybe_error(leaf, [], name, AT + timedelta(days=40_000)) is not None


def test_missing_files_are_told(monkeypatch):
    monkeypatch.setattr(trust_stores, "find_spec", lambda _name: None)
    with pytest.raises(FileNotFoundError, match="sslyze"):
        read_trust_stores.__wrapped__()
