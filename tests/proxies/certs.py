"""The certificates of the proxies' lab, made once per directory: three authorities that nothing outside it trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

SERVER_NAME = "origin.lab.example.test"
"""DNS name of the origins, and the SNI that reverse proxies send where a test names no other."""
PROXY_NAME = "proxy.lab.example.test"
"""DNS name of the proxies' own listeners."""
_ADDRESSES = ("127.0.0.1", "127.0.0.2", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One certificate with its key, PEM, no password; readable for everyone, since proxies leave root behind."""

    key: Path
    certificate: Path
    bundle: Path
    """Key, then certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCertificates:
    """Every certificate of the proxies' lab."""

    origin_ca: Path
    """Signs ``origin``; proxies that verify trust it and nothing else."""
    origin: Leaf
    """RSA, for origins."""
    proxy_ca: Path
    """Signs ``proxy``: what a client needs to verify an HTTPS proxy or a reverse proxy's front."""
    proxy: Leaf
    """RSA, for the proxies' own listeners."""
    interception: Leaf
    """The authority with which interceptors sign what they show to clients: CA certificate and key."""


def make_proxy_certificates(directory: Path) -> ProxyCertificates:
    """Write all keys and certificates below ``directory`` (created)."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    rsa = trustme.KeyType.RSA
    origin_authority, proxy_authority, interceptor = (
        trustme.CA(organization_name=name, key_type=rsa) for name in ("Lab origins", "Lab proxies", "Lab interception")
    )
    origin_ca, proxy_ca = directory / "origin-ca.pem", directory / "proxy-ca.pem"
    origin_authority.cert_pem.write_to_path(str(origin_ca))
    proxy_authority.cert_pem.write_to_path(str(proxy_ca))

    def issue(authority: trustme.CA, label: str, name: str) -> Leaf:
        made = authority.issue_cert(name, *_ADDRESSES, common_name=name, key_type=rsa)
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        return _write(directory, label, made.private_key_pem.bytes(), chain)

    return ProxyCertificates(
        origin_ca=origin_ca,
        origin=issue(origin_authority, "origin", SERVER_NAME),
        proxy_ca=proxy_ca,
        proxy=issue(proxy_authority, "proxy", PROXY_NAME),
        interception=_write(
            directory, "interception", interceptor.private_key_pem.bytes(), interceptor.cert_pem.bytes()
        ),
    )


def _write(directory: Path, label: str, key: bytes, certificate: bytes) -> Leaf:
    leaf = Leaf(
        key=directory / f"{label}.key", certificate=directory / f"{label}.crt", bundle=directory / f"{label}.pem"
    )
    leaf.key.write_bytes(key)
    leaf.certificate.write_bytes(certificate)
    leaf.bundle.write_bytes(key + certificate)
    for path in (leaf.key, leaf.certificate, leaf.bundle):
        path.chmod(0o644)
    return leaf
