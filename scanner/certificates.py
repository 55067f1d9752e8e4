"""Describe the certificates a peer sent, and say which public trust stores accept the chain."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning

from scanner.model.certificates import Certificate, TrustResult
from scanner.trust_stores import find_errors, read_trust_stores
from scanner.untrusted import clean_text

MAX_TEXT_CHARS = 500
"""Longest subject, issuer, name or error text kept; the peer chooses them."""

MAX_NAMES_COUNT = 1_000
"""Most subjectAltName entries kept; a public CA's limit is far below."""

ISSUER_IS_KNOWN = "the authority is in this store, but "
"""How the error of a TrustResult begins where only the name or the date is wrong: with a name and a time of the
certificate's own, the store accepts the chain. Any other error means that the chain itself was not accepted."""


_NOBODY = "nobody.invalid"
"""Stands for the name of a certificate that names nobody (RFC 2606 keeps the domain free)."""


def describe_chain(chain_der: tuple[bytes, ...], *, server_name: str | None, address: str, at: datetime) -> Certificate:
    """Describe the leaf of a chain, and whether sslyze's trust stores accept the chain.

    chain_der holds DER certificates, leaf first, as the peer sent them: nothing about them is taken for granted and
    no content makes this raise. server_name is the SNI sent; where there was none, the certificate must name address
    (RFC 9525 section 4: an iPAddress entry of subjectAltName). at is the time to judge validity for, aware, and is
    used to the minute. What can't be read is in parse_error, and the fields concerned are empty.
    """
    chain_der = tuple(chain_der)
    if not chain_der:
        return _unreadable(b"", 0, "the peer sent no certificate")
    certificate, own_name = _read_leaf(chain_der)
    if certificate.not_before is None or certificate.not_after is None:
        return certificate
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    # First with a name and a time of the certificate's own: that tells an unknown authority from a wrong name or date,
    # and is the same for every host with this chain, so that one verification serves a whole farm or range.
    own_at = at if certificate.not_before <= at <= certificate.not_after else certificate.not_before
    described = _describe_for_itself(chain_der, own_name, own_at)
    peer = server_name or address
    if (peer, at) == (own_name, own_at) or not any(result.is_trusted for result in described.trust):
        return described
    return _describe_for_peer(chain_der, own_name, own_at, peer, at)


# Every version of one endpoint is confirmed by a handshake of its own, and farms share certificates: the same chain
# comes many times, mostly within the minute. So what is learned of it is kept, step by step.


@lru_cache(maxsize=512)
def _describe_for_itself(chain_der: tuple[bytes, ...], own_name: str, at: datetime) -> Certificate:
    stores = read_trust_stores()
    with _unwarned():
        try:
            leaf, intermediates = _load(chain_der)
            subject = _subject(own_name)
        except ValueError as error:  # an intermediate that is no DER, a name that is no host name
            errors: tuple[str | None, ...] = (f"{error}" or type(error).__name__,) * len(stores)
        else:
            errors = find_errors(stores, leaf, intermediates, subject, at)
    cleaned = {error: None if error is None else _clean_error(error) for error in set(errors)}
    return replace(
        _read_leaf(chain_der)[0],
        trust=tuple(
            TrustResult(store=store.name, store_version=store.version, is_trusted=error is None, error=cleaned[error])
            for store, error in zip(stores, errors, strict=True)
        ),
    )


@lru_cache(maxsize=512)
def _describe_for_peer(
    chain_der: tuple[bytes, ...], own_name: str, own_at: datetime, peer: str, at: datetime
) -> Certificate:
    """Describe a chain that some stores accept for the name and time of its own.

    Name and date are looked at before any root is: so one of these stores speaks for all of them.
    """
    described = _describe_for_itself(chain_der, own_name, own_at)
    accepting = next(result.store for result in described.trust if result.is_trusted)
    store = next(store for store in read_trust_stores() if store.name == accepting)
    with _unwarned():
        try:
            error = store.maybe_error(*_load(chain_der), _subject(peer), at)
        except ValueError as trouble:  # a name that is no host name
            error = f"{trouble}" or type(trouble).__name__
    if error is None:
        return described
    return _refuse_peer(chain_der, own_name, own_at, ISSUER_IS_KNOWN + _clean_error(error))


@lru_cache(maxsize=512)
def _refuse_peer(chain_der: tuple[bytes, ...], own_name: str, own_at: datetime, error: str) -> Certificate:
    described = _describe_for_itself(chain_der, own_name, own_at)
    trust = (
        replace(result, is_trusted=False, error=error) if result.is_trusted else result for result in described.trust
    )
    return replace(described, trust=tuple(trust))


@contextmanager
def _unwarned() -> Iterator[None]:
    # cryptography warns of serial numbers that are not positive, and of whatever else it means to refuse one day. The
    # certificates are the peer's (and one root in the stores has such a serial), so nobody here can act on it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


@lru_cache(maxsize=512)
def _read_leaf(chain_der: tuple[bytes, ...]) -> tuple[Certificate, str]:
    """Return what the leaf says, its trust not judged, and a name it is valid for; _NOBODY where it has none."""
    with _unwarned():
        return _read_unwarned(chain_der)


def _read_unwarned(chain_der: tuple[bytes, ...]) -> tuple[Certificate, str]:
    try:
        leaf = x509.load_der_x509_certificate(chain_der[0])
        subject, issuer = _clean(leaf.subject.rfc4514_string()), _clean(leaf.issuer.rfc4514_string())
        not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    except Exception as error:  # noqa: BLE001 - hostile DER raises many types, and each means the same: not readable
        return _unreadable(chain_der[0], len(chain_der), str(error)), _NOBODY
    names: tuple[x509.GeneralName, ...] = ()
    parse_error = None
    try:
        names = tuple(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        pass
    except Exception as error:  # noqa: BLE001 - as above; one bad extension hides all, subject and dates stay
        parse_error = _clean(f"the extensions could not be parsed: {error}")
    certificate = Certificate(
        subject=subject,
        issuer=issuer,
        not_before=not_before,
        not_after=not_after,
        sha256=sha256(chain_der[0]).hexdigest(),
        names=tuple(
            _clean(str(name.value))
            for name in names[:MAX_NAMES_COUNT]
            if isinstance(name, x509.DNSName | x509.IPAddress)
        ),
        key=_key_text(leaf),
        chain_count=len(chain_der),
        parse_error=parse_error,
    )
    own_names = (_concrete(name) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))
    return certificate, next(own_names, _NOBODY)


def _unreadable(der: bytes, count: int, why: str) -> Certificate:
    return Certificate(
        subject="",
        issuer="",
        not_before=None,
        not_after=None,
        sha256=sha256(der).hexdigest() if count else "",
        chain_count=count,
        parse_error=_clean(why),
    )


def _key_text(leaf: x509.Certificate) -> str:
    key: object = None
    with suppress(Exception):  # explicit curve parameters, unknown algorithms, points off the curve
        key = leaf.public_key()
    match key:
        case rsa.RSAPublicKey() | dsa.DSAPublicKey():
            return f"{'RSA' if isinstance(key, rsa.RSAPublicKey) else 'DSA'} {key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case _:
            return f"unknown ({leaf.public_key_algorithm_oid.dotted_string})"


@lru_cache(maxsize=64)
def _load(chain_der: tuple[bytes, ...]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """Return leaf and intermediates; raises ValueError."""
    leaf, *intermediates = map(x509.load_der_x509_certificate, chain_der)
    return leaf, intermediates


def _concrete(name: x509.DNSName | x509.IPAddress) -> str:
    """Return a server name that the subjectAltName entry covers."""
    text = str(name.value)
    return "a" + text[1:] if text.startswith("*.") else text


def _clean_error(error: str) -> str:
    # The library adds the certificate's own text in brackets, which is shown elsewhere, and bounded there.
    text = (error or "not trusted").removeprefix("validation failed: ")
    return _clean(text.split(" (encountered processing", 1)[0])


def _subject(peer: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(peer))
    except ValueError:
        return x509.DNSName(peer)


def _clean(text: str) -> str:
    return clean_text(text, max_chars=MAX_TEXT_CHARS)
