"""One throw-away CA and the leaf certificates of the lab's servers, made once per session."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

SERVER_NAME = "lab.example.test"
"""DNS name in every leaf certificate; also the SNI of servers that insist on one."""
PKCS12_PASSWORD = "laboratory"
"""Password of every .p12 file."""

_BEFORE = dt.timedelta(days=1)
_LIFETIME = dt.timedelta(days=30)
_BIG_CHAIN_BYTES = 20 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One certificate and its key in the shapes that servers want; all PEM but the .p12."""

    key: Path
    """Private key, PKCS#8 PEM, no password."""
    traditional_key: Path
    """The same in the old form (``BEGIN RSA PRIVATE KEY``); PKCS#8 where the old form does not exist (Ed25519)."""
    certificate: Path
    """The leaf alone."""
    chain: Path
    """Leaf, then whatever lies between it and the root, then the root."""
    bundle: Path
    """Key, then chain, in one file (HAProxy, lighttpd, stunnel)."""
    pkcs12: Path
    """Key and chain under PKCS12_PASSWORD, friendly name ``lab``; AES and SHA-256 (Java 8u301 and newer, NSS 3.47)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Every certificate of a session."""

    ca: Path
    """The root certificate, PEM."""
    ca_key: Path
    """Its key, PKCS#8 PEM."""
    rsa2048: Leaf
    rsa1024: Leaf
    """For export key exchange and old stacks; below today's security level."""
    p256: Leaf
    p384: Leaf
    ed25519: Leaf
    dsa1024: Leaf
    """SHA-1 era: DHE-DSS suites of old OpenSSL."""
    big: Leaf
    """RSA-2048 under intermediates of more than 20 KB together."""
    client: Leaf
    """P-256, for TLS client authentication."""
    ocsp_response: Path
    """A DER OCSP response that calls ``rsa2048`` good, signed by the root, for stapling."""


class _Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        # The oldest clients of the lab do not read ECDSA, but none of them verifies the chain.
        self.name = _name("Entra TLS lab CA")
        self.certificate = _sign(self.name, self.key, self.name, self.key, is_ca=True)


def make_certificates(directory: Path) -> Certificates:
    """Write all keys and certificates below ``directory`` (created)."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = _Authority()
    ca = directory / "ca.pem"
    ca.write_bytes(_pem(authority.certificate))
    ca_key = directory / "ca.key"
    ca_key.write_bytes(_key_pem(authority.key))

    def leaf(label: str, key: CertificateIssuerPrivateKeyTypes, *, is_client: bool = False) -> Leaf:
        subject = _name("lab client" if is_client else SERVER_NAME)
        certificate = _sign(subject, key, authority.name, authority.key, is_client=is_client)
        return _write_leaf(directory, label, key, (certificate, authority.certificate))

    rsa2048 = rsa.generate_private_key(65537, 2048)
    rsa2048_leaf = leaf("rsa2048", rsa2048)
    return Certificates(
        ca=ca,
        ca_key=ca_key,
        rsa2048=rsa2048_leaf,
        rsa1024=leaf("rsa1024", rsa.generate_private_key(65537, 1024)),  # noqa: S505 - weak on purpose
        p256=leaf("p256", ec.generate_private_key(ec.SECP256R1())),
        p384=leaf("p384", ec.generate_private_key(ec.SECP384R1())),
        ed25519=leaf("ed25519", ed25519.Ed25519PrivateKey.generate()),
        dsa1024=leaf("dsa1024", dsa.generate_private_key(1024)),  # noqa: S505 - weak on purpose
        big=_big_leaf(directory, authority, rsa2048),
        client=leaf("client", ec.generate_private_key(ec.SECP256R1()), is_client=True),
        ocsp_response=_write_ocsp_response(directory, authority, rsa2048_leaf),
    )


def _write_ocsp_response(directory: Path, authority: _Authority, leaf: Leaf) -> Path:
    now = dt.datetime.now(dt.UTC)
    response = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=x509.load_pem_x509_certificate(leaf.certificate.read_bytes()),
            issuer=authority.certificate,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - _BEFORE,
            next_update=now + _LIFETIME,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
        .sign(authority.key, hashes.SHA256())
    )
    path = directory / "ocsp.der"
    path.write_bytes(response.public_bytes(serialization.Encoding.DER))
    return path


def _big_leaf(directory: Path, authority: _Authority, key: rsa.RSAPrivateKey) -> Leaf:
    """Make a chain of more than 20 KB: intermediates, each with 120 alternative names."""
    issuer_name, issuer_key = authority.name, authority.key
    intermediates: list[x509.Certificate] = []
    while sum(len(each.public_bytes(serialization.Encoding.DER)) for each in intermediates) < _BIG_CHAIN_BYTES:
        number = len(intermediates)
        own_key = ec.generate_private_key(ec.SECP256R1())
        names = [f"padding-{number}-{index:03}.a-rather-long-label.example.test" for index in range(120)]
        own_name = _name(f"lab intermediate {number}")
        intermediates.insert(0, _sign(own_name, own_key, issuer_name, issuer_key, is_ca=True, names=names))
        issuer_name, issuer_key = own_name, own_key
    certificate = _sign(_name(SERVER_NAME), key, issuer_name, issuer_key)
    return _write_leaf(directory, "big", key, (certificate, *intermediates, authority.certificate))


def _sign(
    subject: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
    is_client: bool = False,
    names: list[str] | None = None,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names or []]
    if not is_ca and not is_client:
        alternatives += [x509.DNSName(SERVER_NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if not is_ca:
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _write_leaf(
    directory: Path,
    label: str,
    key: CertificateIssuerPrivateKeyTypes,
    certificates: tuple[x509.Certificate, ...],
) -> Leaf:
    made = Leaf(
        key=directory / f"{label}.key",
        traditional_key=directory / f"{label}.trad.key",
        certificate=directory / f"{label}.crt",
        chain=directory / f"{label}.chain.pem",
        bundle=directory / f"{label}.bundle.pem",
        pkcs12=directory / f"{label}.p12",
    )
    chain = b"".join(_pem(each) for each in certificates)
    made.key.write_bytes(_key_pem(key))
    has_old_form = not isinstance(key, ed25519.Ed25519PrivateKey)
    made.traditional_key.write_bytes(_key_pem(key, traditional=has_old_form))
    made.certificate.write_bytes(_pem(certificates[0]))
    made.chain.write_bytes(chain)
    made.bundle.write_bytes(_key_pem(key) + chain)
    made.pkcs12.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"lab",
            key,
            certificates[0],
            certificates[1:],
            serialization.BestAvailableEncryption(PKCS12_PASSWORD.encode()),
        )
    )
    # Servers that drop root before reading (Apache's children, stunnel) must still be able to read them.
    for path in (made.key, made.traditional_key, made.bundle, made.pkcs12):
        path.chmod(0o644)
    return made


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: CertificateIssuerPrivateKeyTypes, *, traditional: bool = False) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
