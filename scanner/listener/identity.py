"""Whose certificates the listener shows: its own authority with one leaf for each name asked for, or the user's own.

Two keys serve all names, RSA 2048 and ECDSA P-256, so that every client finds one it can use. Certificates of one's own
authority are made when a name is asked for; a client may ask for as many names as it likes, so few are kept.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    Key = RSAPrivateKey | EllipticCurvePrivateKey

DEFAULT_NAME = "tls-probe.invalid"
"""Name in the certificate for clients that ask for none, or for what is no DNS name (RFC 2606)."""

CA_FILE = "ca.pem"
CA_KEY_FILE = "ca-key.pem"

_CA_LIFETIME = timedelta(days=3650)
_LEAF_LIFETIME = timedelta(days=397)
"""Some clients refuse a leaf that is good for more than 398 days."""
_LEAF_LEFT = timedelta(days=30)
"""A leaf with less to go is made anew: a listener may run for years."""
_CLOCKS_DIFFER = timedelta(days=2)
_KEPT_NAMES = 128
_RSA_BITS = 2048
_MAX_PEM_BYTES = 1_048_576

# Underscores are no host name's, but hosts have them in their DNS names; the last label is no number (RFC 3696
# section 2), or it would be an address.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}\Z")
_MAX_NAME_LENGTH = 253


class IdentityError(Exception):
    """The certificates can't be read, written or used; the text says which file and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One certificate with its key."""

    chain: tuple[x509.Certificate, ...]
    """Leaf first, then what leads to the root."""
    key: Key
    """The leaf's private key."""
    chain_der: tuple[bytes, ...]
    """The same certificates in DER."""
    pem: bytes
    """Key, then chain. A secret."""

    def __repr__(self) -> str:
        """Leave the key out of logs."""
        return f"Leaf(subject={self.chain[0].subject.rfc4514_string()!r})"

    @property
    def is_rsa(self) -> bool:
        """Whether the key is RSA; else it is ECDSA."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415  # loaded when listening

        return isinstance(self.key, RSAPrivateKey)


class Identity:
    """Certificates of one listener. Made by ``open_identity``, ``make_identity`` or ``read_identity``."""

    def __init__(
        self,
        *,
        issuer: tuple[x509.Certificate, RSAPrivateKey] | None,
        fixed: tuple[Leaf, ...] = (),
        default_name: str = DEFAULT_NAME,
        addresses: tuple[str, ...] = (),
    ) -> None:
        self._issuer = issuer
        self._fixed = fixed
        self._default_name = default_name
        self._addresses = addresses
        self._keys = () if fixed else _generate_leaf_keys()
        self._leaves: OrderedDict[tuple[str, str | None], tuple[datetime, tuple[Leaf, ...]]] = OrderedDict()

    @property
    def ca_pem(self) -> str | None:
        """What clients must trust, PEM; None with the user's own certificate, whose root is not ours to know."""
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  # loaded when listening

        return None if self._issuer is None else self._issuer[0].public_bytes(Encoding.PEM).decode("ascii")

    @property
    def fingerprint(self) -> str:
        """SHA-256, lower-case hex, of the authority's certificate, or of the user's own leaf."""
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  # loaded when listening

        certificate = self._fixed[0].chain[0] if self._issuer is None else self._issuer[0]
        return certificate.fingerprint(SHA256()).hex()

    def leaves_for(
        self, name: str | None, *, address: str | None = None, at: datetime | None = None
    ) -> tuple[Leaf, ...]:
        """Return the certificates to offer to a client that asks for this name (None: for none), RSA first.

        name is the network's: whatever is no DNS name gets the certificate for none, in which are the default name, the
        listener's addresses and ``address``, the one that the client connected to. at: now, where not given.
        """
        if self._fixed:
            return self._fixed
        at = at or datetime.now(UTC)
        wanted = maybe_dns_name(name)
        key = (wanted or self._default_name, None if wanted else address)
        kept = self._leaves.get(key)
        if kept is None or at > kept[0]:
            kept = (at - _CLOCKS_DIFFER + _LEAF_LIFETIME - _LEAF_LEFT, self._make_leaves(wanted, address, at))
            self._leaves[key] = kept
            if len(self._leaves) > _KEPT_NAMES:
                self._leaves.popitem(last=False)
        self._leaves.move_to_end(key)
        return kept[1]

    def chain_for(self, name: str | None, *, address: str | None = None) -> tuple[bytes, ...]:
        """Return the chain in DER, leaf first, that a client without ECDSA gets."""
        return self.leaves_for(name, address=address)[0].chain_der

    def _make_leaves(self, name: str | None, address: str | None, at: datetime) -> tuple[Leaf, ...]:
        if self._issuer is None:
            raise IdentityError("there is neither an authority nor a certificate")
        issuer, issuer_key = self._issuer
        names = (name,) if name else (self._default_name,)
        addresses = () if name else tuple(dict.fromkeys((*self._addresses, *((address,) if address else ()))))
        return tuple(
            _leaf(
                (_sign_leaf(key, names=names, addresses=addresses, issuer=issuer, issuer_key=issuer_key, at=at),), key
            )
            for key in self._keys
        )


def maybe_dns_name(name: str | None) -> str | None:
    """Return the name in lower case without trailing dot, or None where it is no DNS name in A-label form."""
    if name is None or len(name) > _MAX_NAME_LENGTH + 1 or not name.isascii():
        return None
    name = name.lower().removesuffix(".")
    return name if len(name) <= _MAX_NAME_LENGTH and _DNS_NAME.match(name) else None


def make_identity(
    *, default_name: str = DEFAULT_NAME, addresses: tuple[str, ...] = (), at: datetime | None = None
) -> Identity:
    """Make an authority that lives as long as this process. addresses: IP addresses for the default certificate."""
    issuer = _make_authority(at or datetime.now(UTC))
    return Identity(issuer=issuer, default_name=default_name, addresses=_checked(addresses))


def open_identity(
    folder: Path, *, default_name: str = DEFAULT_NAME, addresses: tuple[str, ...] = (), at: datetime | None = None
) -> Identity:
    """Open the authority kept in a folder (``ca.pem``, ``ca-key.pem``), or make it there; raises IdentityError."""
    at = at or datetime.now(UTC)
    certificate_file, key_file = folder / CA_FILE, folder / CA_KEY_FILE
    try:
        found = (certificate_file.exists(), key_file.exists())
        if found == (False, False):
            issuer = _make_authority(at)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The key first: a certificate without its key would be trusted for nothing.
            _write_atomically(key_file, _key_pem(issuer[1]), mode=0o600)
            _write_atomically(certificate_file, _certificate_pem(issuer[0]), mode=0o644)
        elif found == (True, True):
            issuer = _read_authority(certificate_file, key_file, at)
        else:
            missing, there = (CA_FILE, CA_KEY_FILE) if found[1] else (CA_KEY_FILE, CA_FILE)
            raise IdentityError(
                f"{folder}: there is {there} but no {missing}; restore it, or remove both for a new one"
            )
    except OSError as error:
        raise IdentityError(f"{error.filename or folder}: {error.strerror}") from error
    return Identity(issuer=issuer, default_name=default_name, addresses=_checked(addresses))


def read_identity(certificate_file: Path, key_file: Path | None = None) -> Identity:
    """Read the user's own chain, leaf first, and its key (None: in the same file), PEM; raises IdentityError."""
    from cryptography import x509  # noqa: PLC0415  # loaded when listening

    key = _read_key(key_file or certificate_file)
    try:
        chain = tuple(x509.load_pem_x509_certificates(_read_file(certificate_file)))
    except ValueError as error:
        raise IdentityError(f"{certificate_file}: no certificate in PEM form: {error}") from error
    if chain[0].public_key() != key.public_key():
        raise IdentityError(f"{certificate_file}: the first certificate does not belong to the key")
    return Identity(issuer=None, fixed=(_leaf(chain, key),))


def _checked(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ip_address(address)) for address in addresses)


def _generate_leaf_keys() -> tuple[Key, ...]:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415  # loaded when listening

    return (rsa.generate_private_key(65537, _RSA_BITS), ec.generate_private_key(ec.SECP256R1()))


def _make_authority(at: datetime) -> tuple[x509.Certificate, RSAPrivateKey]:
    from cryptography import x509  # noqa: PLC0415  # loaded when listening
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415  # the same
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415  # the same

    # RSA: clients of the TLS 1.0 era can't verify anything else.
    key = rsa.generate_private_key(65537, _RSA_BITS)
    # The number keeps two authorities apart in a client's trust store.
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Entra TLS Scanner"),
            x509.NameAttribute(
                x509.NameOID.COMMON_NAME, f"Entra TLS Scanner listener {x509.random_serial_number() % 2**32:08x}"
            ),
        ]
    )
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _begin(name, name, key, at=at, lifetime=_CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256()), key


def _sign_leaf(
    key: Key,
    *,
    names: tuple[str, ...],
    addresses: tuple[str, ...],
    issuer: x509.Certificate,
    issuer_key: RSAPrivateKey,
    at: datetime,
) -> x509.Certificate:
    from cryptography import x509  # noqa: PLC0415  # loaded when listening
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415  # the same
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415  # the same

    # A common name has at most 64 characters (RFC 5280 appendix A); the name that counts is in the SAN.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64].rstrip("."))])
    san = [*(x509.DNSName(name) for name in names), *(x509.IPAddress(ip_address(address)) for address in addresses)]
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=isinstance(key, rsa.RSAPrivateKey),
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _begin(subject, issuer.subject, key, at=at, lifetime=_LEAF_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    server = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(server, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    builder = builder.add_extension(authority, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _begin(
    subject: x509.Name, issuer: x509.Name, key: Key, *, at: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415  # loaded when listening

    # Lifetime counts from the first second that the certificate is good for.
    start = at - _CLOCKS_DIFFER
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + lifetime)


def _read_authority(certificate_file: Path, key_file: Path, at: datetime) -> tuple[x509.Certificate, RSAPrivateKey]:
    from cryptography import x509  # noqa: PLC0415  # loaded when listening
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415  # the same

    key = _read_key(key_file)
    try:
        certificate = x509.load_pem_x509_certificate(_read_file(certificate_file))
    except ValueError as error:
        raise IdentityError(f"{certificate_file}: no certificate in PEM form: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise IdentityError(f"{key_file}: the authority's key is not RSA, which old clients need")
    if certificate.public_key() != key.public_key():
        raise IdentityError(f"{certificate_file}: does not belong to {key_file.name}")
    if certificate.not_valid_after_utc <= at:
        raise IdentityError(f"{certificate_file}: expired; remove it and {key_file.name} for a new one")
    return certificate, key


def _read_key(file: Path) -> Key:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # loaded when listening
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415  # the same
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  # the same

    try:
        key = load_pem_private_key(_read_file(file), password=None)
    except TypeError as error:
        raise IdentityError(f"{file}: the key has a password; give one without") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{file}: no private key in PEM form") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise IdentityError(f"{file}: the key is neither RSA nor ECDSA")
    return key


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise IdentityError(f"{file}: {error.strerror}") from error


def _write_atomically(file: Path, data: bytes, *, mode: int) -> None:
    """Write a whole file or none; never is the content readable by more than mode says."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _leaf(chain: tuple[x509.Certificate, ...], key: Key) -> Leaf:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  # loaded when listening

    pem = _key_pem(key) + b"".join(map(_certificate_pem, chain))
    chain_der = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)
    return Leaf(chain=chain, key=key, chain_der=chain_der, pem=pem)


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  # loaded when listening

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # loaded when listening

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
