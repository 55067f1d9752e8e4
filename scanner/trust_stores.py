"""sslyze's packaged trust stores, verified against by cryptography, as sslyze does it.

Read from sslyze's own files, but not through its package: importing that takes 0.15 s, a third of a small scan's
start-up, for five PEM files. A test holds names, versions and answers to those of sslyze's own classes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

_NAMES = {
    "apple": "Apple",
    "google_aosp": "Android",
    "microsoft_windows": "Windows",
    "mozilla_nss": "Mozilla",
    "oracle_java": "Java",
}
"""sslyze's file names and the names it shows for them."""

_DATED = frozenset({"microsoft_windows", "mozilla_nss"})
"""Stores without a version of their own: the date they were fetched stands for it."""


_NO_ISSUER = "all candidates exhausted with no interior errors"
"""How cryptography's error ends where no certificate at hand has the issuer's name at the end of the last path."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrustStore:
    """The root certificates that one platform trusts."""

    name: str
    """``Mozilla``."""
    version: str
    """Version, or the date it was fetched."""
    roots: tuple[x509.Certificate, ...]
    """The root certificates."""

    # Building these takes milliseconds, and most chains need few of them.
    @cached_property
    def _store(self) -> Store:
        return Store(list(self.roots))

    @cached_property
    def _own(self) -> frozenset[x509.Certificate]:
        return frozenset(self.roots)

    def has(self, certificate: x509.Certificate) -> bool:
        """Return whether it is one of the roots."""
        return certificate in self._own

    def maybe_error(
        self,
        leaf: x509.Certificate,
        intermediates: Sequence[x509.Certificate],
        peer: x509.DNSName | x509.IPAddress,
        at: datetime,
    ) -> str | None:
        """Return why the chain is not accepted for the peer at that time (aware), or None where it is."""
        try:
            _find_path(self._store, leaf, intermediates, peer, at)
        except Exception as error:  # noqa: BLE001 - names that are no host names, odd keys: of many types
            return str(error) or type(error).__name__
        return None


def find_errors(
    stores: tuple[TrustStore, ...],
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    peer: x509.DNSName | x509.IPAddress,
    at: datetime,
) -> tuple[str | None, ...]:
    """Return what maybe_error of each store returns.

    One verification against all the roots answers for most stores. A path that ends in a root is one for every store
    that has the root. And as roots are tried before what the peer sent, no store's root was tried last where the last
    path ended for want of an issuer: each store by itself would have said the same.
    """
    try:
        root = _find_path(_open_union(stores), leaf, intermediates, peer, at)[-1]
    except VerificationError as error:
        text = str(error)
        if text.endswith(_NO_ISSUER):
            return (text,) * len(stores)
    except Exception:  # noqa: BLE001, S110 - see maybe_error; another store's root may have come before what is odd
        pass
    else:
        return tuple(None if store.has(root) else store.maybe_error(leaf, intermediates, peer, at) for store in stores)
    return tuple(store.maybe_error(leaf, intermediates, peer, at) for store in stores)


def _find_path(
    store: Store,
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    peer: x509.DNSName | x509.IPAddress,
    at: datetime,
) -> list[x509.Certificate]:
    """Return the certificates from leaf to root; raises VerificationError, and others for what can't be used at all."""
    return PolicyBuilder().store(store).time(at).build_server_verifier(peer).verify(leaf, list(intermediates))


@lru_cache(maxsize=1)
def _open_union(stores: tuple[TrustStore, ...]) -> Store:
    return Store(list(dict.fromkeys(root for store in stores for root in store.roots)))


@cache
def read_trust_stores() -> tuple[TrustStore, ...]:
    """Return the stores that come with sslyze; raises FileNotFoundError where its files are not where they were."""
    spec = find_spec("sslyze")
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise FileNotFoundError("sslyze is not installed")
    folder = Path(places[0], "plugins", "certificate_info", "trust_stores", "pem_files")
    return tuple(_read_trust_store(folder, stem) for stem in _NAMES)


def _read_trust_store(folder: Path, stem: str) -> TrustStore:
    facts = dict(re.findall(r"^(\w+): *(.*?) *$", (folder / f"{stem}.yaml").read_text(encoding="utf-8"), re.MULTILINE))
    version = facts["date_fetched" if stem in _DATED else "version"].strip("'\"")
    return read_trust_store(folder / f"{stem}.pem", name=_NAMES[stem], version=version)


def read_trust_store(path: Path, *, name: str, version: str) -> TrustStore:
    """Return a store from a file of root certificates in PEM."""
    with warnings.catch_warnings():
        # One root in the stores has a serial number that cryptography warns of; nobody here can act on it.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        roots = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    return TrustStore(name=name, version=version, roots=roots)
