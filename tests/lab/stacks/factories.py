"""Factories of listeners on other TLS stacks than Debian's OpenSSL. Each makes its configuration from ``enabled``."""
# ruff: noqa: ARG002 - some servers cannot be told an address, and listen on all

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from scanner.model.versions import TlsVersion
from tests.lab import requirements
from tests.lab.certs import PKCS12_PASSWORD, Certificates, Leaf
from tests.lab.model import (
    SSL3,
    TLS1_0,
    TLS1_1,
    TLS1_2,
    TLS1_3,
    ClientNeeds,
    ServerProcess,
    Versions,
    spawn,
)
from tests.lab.stacks import build

if TYPE_CHECKING:
    from collections.abc import Mapping

PSK = "fedcba98765432100123456789abcdef"
"""The key that PSK-only servers know, in hex, under the identity ``Client_identity``."""

DOTTED_NAMES = {SSL3: "SSLv3", TLS1_0: "TLSv1", TLS1_1: "TLSv1.1", TLS1_2: "TLSv1.2", TLS1_3: "TLSv1.3"}
"""What Java, Node.js and others call the versions."""


def from_to(lowest: TlsVersion, highest: TlsVersion) -> Versions:
    """Return the versions between two, both included."""
    return frozenset(version for version in TlsVersion if lowest <= version <= highest)


def _ends(versions: Versions, names: Mapping[TlsVersion, str] | None = None) -> tuple[str, str]:
    """Return the names of the lowest and highest version; there must be no hole between them."""
    lowest, highest = min(versions), max(versions)
    if versions != from_to(lowest, highest):
        raise ValueError(f"a range with a hole: {sorted(versions)}")
    return (names[lowest], names[highest]) if names else (lowest.label, highest.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """What all factories of this file have in common."""

    name: str
    enabled: Versions
    stack: str
    server_name: str | None = None
    notes: str = ""
    verify: ClientNeeds = field(default_factory=ClientNeeds)
    requires: tuple[requirements.Requirement, ...]
    start_s: float = 20.0
    leaf: str = "rsa2048"
    """Which of the session's certificates it shows."""

    def chosen_leaf(self, certificates: Certificates) -> Leaf:
        """Return the certificate it shows."""
        chosen: Leaf = getattr(certificates, self.leaf)
        return chosen


def gnutls_priority(versions: Versions, base: str) -> str:
    """Return a priority string of GnuTLS with these versions; ``base`` is one without any."""
    keyword, *rest = base.split(":")
    # Newest first, as in its own keywords: the order is the preference.
    added = [f"+VERS-{version.label}" for version in sorted(versions, reverse=True)]
    return ":".join([keyword, "-VERS-ALL", *added, *rest])


@dataclass(frozen=True, slots=True, kw_only=True)
class GnuTls(Factory):
    """``gnutls-serv``. It always listens on every address; the lab speaks to it on loopback only."""

    stack: str = "gnutls-serv, GnuTLS 3.7"
    requires: tuple[requirements.Requirement, ...] = (requirements.GNUTLS,)
    priority: str = "LEGACY"
    """Priority string without its versions."""
    identity: str = "certificate"
    """``certificate``, ``psk`` or ``none``."""

    @property
    def config(self) -> str:
        """The priority string: its versions are ``enabled``."""
        return gnutls_priority(self.enabled, self.priority)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it as an echo server without client authentication."""
        command: list[str | Path] = ["gnutls-serv", "--quiet", "--echo", "--disable-client-cert", "--port", str(port)]
        if self.identity == "certificate":
            leaf = self.chosen_leaf(certificates)
            command += ["--x509certfile", leaf.chain, "--x509keyfile", leaf.key]
        elif self.identity == "psk":
            passwords = workdir / "psk.txt"
            passwords.write_text(f"Client_identity:{PSK}\n")
            command += ["--pskpasswd", passwords]
        return spawn([*command, "--priority", self.config], workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nss(Factory):
    """NSS's ``selfserv``. It always listens on every address; the lab speaks to it on loopback only."""

    stack: str = "selfserv, NSS 3.87"
    requires: tuple[requirements.Requirement, ...] = (requirements.NSS,)

    @property
    def config(self) -> str:
        """The version range."""
        low, high = _ends(self.enabled)
        return f"-V {low}:{high}".replace("SSL", "ssl").replace("TLS", "tls")

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Make a database with the certificate, then start it."""
        database = f"sql:{workdir}"
        leaf = self.chosen_leaf(certificates)
        for command in (
            ["certutil", "-N", "-d", database, "--empty-password"],
            ["pk12util", "-i", leaf.pkcs12, "-d", database, "-W", PKCS12_PASSWORD, "-K", ""],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=20)
        command = ["selfserv", "-d", database, "-n", "lab", "-w", "", "-p", str(port), *self.config.split()]
        return spawn(command, workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Java(Factory):
    """JSSE or Bouncy Castle; all listeners of one provider live in one virtual machine."""

    stack: str = "Java 17 JSSE"
    requires: tuple[requirements.Requirement, ...] = (requirements.JAVA, requirements.JAVAC)
    provider: str = "SunJSSE"
    start_s: float = 30.0
    accepts_ssl2_format: bool = False
    """Adds Java's pseudo-version SSLv2Hello: a hello in SSLv2 format that asks for SSLv3 or newer."""

    @property
    def config(self) -> str:
        """Java's names of the enabled protocols."""
        names = [DOTTED_NAMES[version] for version in sorted(self.enabled)]
        return ",".join(["SSLv2Hello", *names] if self.accepts_ssl2_format else names)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Ask the provider's virtual machine for a listener."""
        class_path = [build.compile_java()]
        if self.provider == "BCJSSE":
            class_path += [_JARS / f"{jar}.jar" for jar in ("bctls", "bcprov", "bcutil")]
        # The client compiler alone starts quicker, and a handshake is too short to gain from the other.
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, class_path)), "Listeners", self.provider]
        line = f"{address} {port} {self.chosen_leaf(certificates).pkcs12} {PKCS12_PASSWORD} {self.config}"
        return build.share(command, line, workdir=workdir)


_JARS = Path("/usr/share/java")


@dataclass(frozen=True, slots=True, kw_only=True)
class Erlang(Factory):
    """Erlang/OTP's ssl application; all listeners live in one node."""

    stack: str = "Erlang/OTP 25 ssl"
    requires: tuple[requirements.Requirement, ...] = (requirements.ERLANG, requirements.ERLANG_SSL)

    @property
    def config(self) -> str:
        """Erlang's names of the enabled versions."""
        return ",".join(_ERLANG_NAMES[version] for version in sorted(self.enabled))

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Ask the node for a listener."""
        leaf = self.chosen_leaf(certificates)
        script = build.SOURCES / "erlang" / "listeners.escript"
        line = f"{address} {port} {_self_signed(leaf, workdir)} {leaf.key} {self.config}"
        return build.share(["escript", script], line, workdir=workdir)


_ERLANG_NAMES = {TLS1_0: "tlsv1", TLS1_1: "tlsv1.1", TLS1_2: "tlsv1.2", TLS1_3: "tlsv1.3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsLite(Factory):
    """tlslite-ng; all listeners live in one process."""

    stack: str = "tlslite-ng 0.8"
    requires: tuple[requirements.Requirement, ...] = (requirements.TLSLITE,)

    @property
    def config(self) -> str:
        """Lowest and highest version."""
        return " ".join(_ends(self.enabled))

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Ask the process for a listener."""
        leaf = self.chosen_leaf(certificates)
        script = build.SOURCES / "python" / "tlslite_server.py"
        line = f"{address} {port} {leaf.certificate} {leaf.key} {self.config}"
        return build.share([sys.executable, script], line, workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Factory):
    """One of the lab's own servers: ``ADDRESS PORT CHAIN KEY MIN MAX``."""

    kind: str
    """``bearssl``, ``mbedtls``, ``wolfssl``, ``boringssl``, ``go``, ``pike`` or ``node``."""

    @property
    def config(self) -> str:
        """Lowest and highest version."""
        return " ".join(_ends(self.enabled, DOTTED_NAMES if self.kind == "node" else None))

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Compile it if need be and start it."""
        leaf = self.chosen_leaf(certificates)
        chain, key = leaf.chain, leaf.key
        if self.kind == "go":
            command: list[str | Path] = [build.compile_go()]
        elif self.kind == "pike":
            command = ["pike8.0", build.SOURCES / "pike" / "server.pike"]
            # Pike's PEM reader does not know PKCS#8.
            chain, key = _self_signed(leaf, workdir), leaf.traditional_key
        elif self.kind == "node":
            command = ["node", build.SOURCES / "node" / "server.js"]
        else:
            command = [build.compile_c(self.kind)]
        if self.kind == "bearssl":
            chain, key = _write_der(leaf, workdir)
        return spawn([*command, address, str(port), chain, key, *self.config.split()], workdir=workdir)


def _self_signed(leaf: Leaf, workdir: Path) -> Path:
    """Write a certificate that the leaf's key signed itself, and return it.

    The lab's CA signs with ECDSA. Erlang (TLS 1.0, 1.1) and Pike take that for the leaf's own kind of key, and then
    choose no suite for its RSA key, or the wrong one.
    """
    issued = x509.load_pem_x509_certificate(leaf.certificate.read_bytes())
    key = serialization.load_pem_private_key(leaf.key.read_bytes(), None)
    builder = (
        x509.CertificateBuilder(subject_name=issued.subject, issuer_name=issued.subject, public_key=issued.public_key())
        .serial_number(issued.serial_number)
        .not_valid_before(issued.not_valid_before_utc)
        .not_valid_after(issued.not_valid_after_utc)
    )
    alternatives = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    builder = builder.add_extension(alternatives.value, critical=False)
    path = workdir / "self-signed.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def _write_der(leaf: Leaf, workdir: Path) -> tuple[Path, Path]:
    """Write certificate and key as DER: BearSSL's library reads no file, and PEM only piecemeal."""
    certificate, key = workdir / "leaf.der", workdir / "key.der"
    der = serialization.Encoding.DER
    certificate.write_bytes(x509.load_pem_x509_certificate(leaf.certificate.read_bytes()).public_bytes(der))
    loaded = serialization.load_pem_private_key(leaf.key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(der, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return certificate, key


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonSsl(Factory):
    """Python's ssl module with single versions switched off."""

    stack: str = f"Python {sys.version_info.major}.{sys.version_info.minor} ssl, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = ()

    @property
    def config(self) -> str:
        """The versions that are off; OpenSSL 3.0 has no SSLv2, and Debian's build no SSLv3."""
        return ",".join(version.label for version in sorted(from_to(TLS1_0, TLS1_3) - self.enabled))

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it."""
        leaf = self.chosen_leaf(certificates)
        command = [sys.executable, build.SOURCES / "python" / "ssl_server.py", address, str(port), leaf.chain, leaf.key]
        return spawn([*command, self.config], workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Botan(Factory):
    """``botan tls_server``. It always listens on every address, and serves one connection at a time."""

    stack: str = "botan tls_server, Botan 2.19"
    requires: tuple[requirements.Requirement, ...] = (requirements.BOTAN,)

    @property
    def config(self) -> str:
        """The policy file."""
        allow = {"allow_tls10": TLS1_0, "allow_tls11": TLS1_1, "allow_tls12": TLS1_2}
        lines = [f"{key}={str(version in self.enabled).lower()}" for key, version in allow.items()]
        lines += [
            "ciphers=AES-256/GCM AES-128/GCM AES-256 AES-128",
            "macs=AEAD SHA-256 SHA-384 SHA-1",
            "signature_hashes=SHA-512 SHA-384 SHA-256 SHA-1",
            "key_exchange_methods=ECDH DH RSA",
        ]
        return "\n".join(lines)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it with the policy as a file."""
        leaf = self.chosen_leaf(certificates)
        policy = workdir / "policy"
        policy.write_text(self.config + "\n")
        command = ["botan", "tls_server", leaf.chain, leaf.key, f"--port={port}", f"--policy={policy}"]
        return spawn(command, workdir=workdir)
