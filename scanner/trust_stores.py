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
from functools import cache
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """The root certificates that one platform trusts."""

    name: str
    """``Mozilla``."""
    version: str
    """Version, or the date it was fetched."""
    roots: Store
    """The root certificates."""

    def maybe_error(
        self,
        leaf: x509.Certificate,
        intermediates: Sequence[x509.Certificate],
        peer: x509.DNSName | x509.IPAddress,
        at: datetime,
    ) -> str | None:
        """Return why the chain is not accepted for the peer at that time (aware), or None where it is.

        Raises whatever cryptography raises for a certificate that it can't use at all.
        """
        verifier = PolicyBuilder().store(self.roots).time(at).build_server_verifier(peer)
        try:
            verifier.verify(leaf, list(intermediates))
        except VerificationError as error:
            return str(error)
        return None


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
        roots = Store(x509.load_pem_x509_certificates(path.read_bytes()))
    return TrustStore(name=name, version=version, roots=roots)
