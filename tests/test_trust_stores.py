"""Held to sslyze's own classes: names, versions, roots and answers."""

import warnings
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner import trust_stores
from scanner.trust_stores import TrustStore, find_errors, read_trust_stores
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
        together = dict(zip(ours, find_errors(tuple(ours.values()), chain[0], chain[1:], peer, AT), strict=True))
        for store in theirs:
            expected = store.verify_certificate_chain(pem, peer, validation_time=AT).validation_error
            assert ours[store.name].maybe_error(chain[0], chain[1:], peer, AT) == expected
            assert together[store.name] == expected
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


def _different_makes():
    """Authorities of one name and of several, roots and what they issued, and certificates of no authority."""
    roots = [Authority("Root"), Authority("Root"), Authority("Other root")]
    return roots, [Authority("Issuing", parent=parent) for parent in roots]


ROOTS, BETWEEN = _different_makes()
CERTIFICATES = [each.certificate for each in (*ROOTS, *BETWEEN)]
LEAVES = [each.leaf("sts.example.test") for each in (*ROOTS, *BETWEEN)] + [
    ROOTS[0].leaf("sts.example.test", end=AT - timedelta(days=1)),
    BETWEEN[0].leaf("other.example.test"),
]


@settings(max_examples=150, deadline=None)
@given(
    own=st.lists(st.lists(st.sampled_from(CERTIFICATES + LEAVES[:1]), min_size=1, max_size=4), min_size=1, max_size=4),
    leaf=st.sampled_from(LEAVES + CERTIFICATES),
    intermediates=st.lists(st.sampled_from(CERTIFICATES + LEAVES[:1]), max_size=4),
    name=st.sampled_from(["sts.example.test", "nobody.example.test"]),
    days=st.sampled_from([0, 0, 0, -100, 100]),
)
def test_all_stores_together_answer_as_one_by_one(own, leaf, intermediates, name, days):
    stores = tuple(TrustStore(name=str(at), version="1", roots=tuple(roots)) for at, roots in enumerate(own))
    asked = (leaf, intermediates, x509.DNSName(name), AT + timedelta(days=days))
    assert find_errors(stores, *asked) == tuple(store.maybe_error(*asked) for store in stores)


def test_a_store_by_itself_is_not_asked_where_all_roots_together_answer(monkeypatch):
    def fail(*_args):
        raise AssertionError

    monkeypatch.setattr(TrustStore, "maybe_error", fail)
    stores = tuple(
        TrustStore(name=str(at), version="1", roots=(ROOTS[0].certificate, ROOTS[1 + at].certificate)) for at in (0, 1)
    )
    name = x509.DNSName("sts.example.test")
    unknown = Authority("Unknown").leaf("sts.example.test")
    assert find_errors(stores, LEAVES[0], [], name, AT) == (None, None)
    first, second = find_errors(stores, unknown, [], name, AT)
    assert first is not None
    assert first == second
