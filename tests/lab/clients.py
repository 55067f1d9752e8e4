"""Independent TLS clients that hold the lab to its word: each makes one whole handshake with one fixed version."""
# ruff: noqa: ARG002 - all clients have one signature, and not each uses all of it

from __future__ import annotations

import os
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from tests.lab import requirements
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, LabServer

if TYPE_CHECKING:
    from scanner.model.versions import TlsVersion
    from tests.lab.certs import Certificates
    from tests.lab.requirements import Requirement

_TIMEOUT_S = 10
_HERE = Path(__file__).parent
_EVERY_CIPHER = "ALL:COMPLEMENTOFALL"
_TLS13_CIPHERS = (
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
    "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one client got from one server."""

    is_accepted: bool
    """A handshake completed with exactly the version asked for."""
    said: str
    """The client's own words."""


class Client(Protocol):
    """A client program or library."""

    name: str
    requires: tuple[Requirement, ...]

    def can_speak(self, server: LabServer, version: TlsVersion) -> bool:
        """Tell whether it knows the version and can bring what the server needs."""

    def attempt(self, server: LabServer, version: TlsVersion, certificates: Certificates) -> Attempt:
        """Try one handshake that offers this version only; bounded in time."""


def _run(command: list[str | Path], environment: dict[str, str] | None = None) -> str:
    """Return what a client program prints; a hang becomes its last line."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode("utf-8", "replace") + "\ntimed out"
    return done.stdout.decode("utf-8", "replace")


class OpensslSClient:
    """``openssl s_client`` of OpenSSL 3.0 without Debian's limits: TLS 1.0 to 1.3."""

    name = "openssl s_client"
    requires = (requirements.OPENSSL,)
    _OPTIONS: ClassVar = {
        TLS1_0: ("-tls1", "TLSv1"),
        TLS1_1: ("-tls1_1", "TLSv1.1"),
        TLS1_2: ("-tls1_2", "TLSv1.2"),
        TLS1_3: ("-tls1_3", "TLSv1.3"),
    }

    def can_speak(self, server: LabServer, version: TlsVersion) -> bool:
        return version in self._OPTIONS

    def attempt(self, server: LabServer, version: TlsVersion, certificates: Certificates) -> Attempt:
        option, label = self._OPTIONS[version]
        needs = server.verify
        command: list[str | Path] = ["openssl", "s_client", "-brief", option]
        command += ["-connect", f"{server.address}:{server.port}", "-legacy_server_connect"]
        command += ["-cipher", f"{needs.ciphers or _EVERY_CIPHER}:@SECLEVEL=0"]
        command += ["-ciphersuites", needs.tls13_ciphers or _TLS13_CIPHERS]
        command += ["-servername", server.server_name] if server.server_name else ["-noservername"]
        command += ["-groups", needs.groups] if needs.groups else []
        command += ["-psk", needs.psk] if needs.psk else []
        if needs.client_certificate:
            command += ["-cert", certificates.client.certificate, "-key", certificates.client.key]
        # No configuration file: Debian's sets a security level of its own.
        said = _run(command, {"OPENSSL_CONF": os.devnull})
        return Attempt(is_accepted=f"Protocol version: {label}\n" in said, said=said)


class NasslLegacy:
    """OpenSSL 1.0.2 with every weak suite, as built by the nassl library: SSLv2 to TLS 1.2, RC4, DES and export too."""

    name = "OpenSSL 1.0.2 (nassl)"
    requires = (requirements.NASSL,)

    def can_speak(self, server: LabServer, version: TlsVersion) -> bool:
        # Neither SSLv2 nor SSLv3 has suites with pre-shared keys: there is nothing to bring.
        return version != TLS1_3 and (server.verify.psk is None or version <= SSL3)

    def attempt(self, server: LabServer, version: TlsVersion, certificates: Certificates) -> Attempt:
        from nassl.legacy_ssl_client import LegacySslClient  # noqa: PLC0415 - only where it is installed
        from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum  # noqa: PLC0415 - the same

        versions = {SSL2: "SSLV2", SSL3: "SSLV3", TLS1_0: "TLSV1", TLS1_1: "TLSV1_1", TLS1_2: "TLSV1_2"}
        with socket.create_connection((server.address, server.port), timeout=_TIMEOUT_S) as connection:
            identity = certificates.client if server.verify.client_certificate else None
            client = LegacySslClient(
                underlying_socket=connection,
                ssl_version=OpenSslVersionEnum[versions[version]],
                ssl_verify=OpenSslVerifyEnum.NONE,
                client_certificate_chain=identity.certificate if identity else None,
                client_key=identity.key if identity else None,
            )
            client.set_cipher_list(server.verify.ciphers or _EVERY_CIPHER)
            if server.server_name and version > SSL2:
                client.set_tlsext_host_name(server.server_name)
            try:
                client.do_handshake()
            except Exception as error:  # noqa: BLE001 - whatever it raises, there was no handshake
                return Attempt(is_accepted=False, said=f"{type(error).__name__}: {error}")
            # A client of a fixed version completes with that version or not at all.
            return Attempt(is_accepted=True, said=client.get_current_cipher_name() or "handshake completed")


class OldNode:
    """Node.js 0.8 with OpenSSL 1.0.0: SSLv2, SSLv3 and TLS 1.0."""

    name = "Node.js 0.8, OpenSSL 1.0.0"
    requires = (requirements.NODE_0_8,)
    _METHODS: ClassVar = {SSL2: "SSLv2_method", SSL3: "SSLv3_method", TLS1_0: "TLSv1_method"}

    def can_speak(self, server: LabServer, version: TlsVersion) -> bool:
        lacks_means = server.verify.client_certificate or (server.verify.psk is not None and version > SSL3)
        return version in self._METHODS and not lacks_means

    def attempt(self, server: LabServer, version: TlsVersion, certificates: Certificates) -> Attempt:
        command: list[str | Path] = [requirements.NODE_0_8.file or "", _HERE / "old_node_client.js"]
        command += [server.address, str(server.port), self._METHODS[version]]
        command += [server.verify.ciphers or _EVERY_CIPHER, server.server_name or ""]
        said = _run(command)
        return Attempt(is_accepted=said.startswith("accepted: "), said=said)


class GnutlsCli:
    """``gnutls-cli``: TLS 1.0 to 1.3."""

    name = "gnutls-cli"
    requires = (requirements.GNUTLS_CLIENT,)
    _LABELS: ClassVar = {TLS1_0: "TLS1.0", TLS1_1: "TLS1.1", TLS1_2: "TLS1.2", TLS1_3: "TLS1.3"}

    def can_speak(self, server: LabServer, version: TlsVersion) -> bool:
        return version in self._LABELS and server.verify.psk is None

    def attempt(self, server: LabServer, version: TlsVersion, certificates: Certificates) -> Attempt:
        label = self._LABELS[version]
        priority = f"NORMAL:-VERS-ALL:+VERS-{label}:+ANON-ECDH:+ANON-DH:+DHE-DSS:+SIGN-ALL:%VERIFY_ALLOW_BROKEN"
        command: list[str | Path] = ["gnutls-cli", "--insecure", "--no-ocsp", "--no-ca-verification"]
        command += ["--priority", priority, "--port", str(server.port)]
        command += ["--sni-hostname", server.server_name] if server.server_name else ["--disable-sni"]
        if server.verify.client_certificate:
            leaf = certificates.client
            command += ["--x509certfile", leaf.certificate, "--x509keyfile", leaf.key]
        said = _run([*command, server.address])
        return Attempt(is_accepted=bool(re.search(rf"^- Description: \({label}-", said, re.MULTILINE)), said=said)


class Tlslite:
    """tlslite-ng, written in Python: SSLv3 to TLS 1.3."""

    name = "tlslite-ng"
    requires = (requirements.TLSLITE,)
    _NUMBERS: ClassVar = {SSL3: (3, 0), TLS1_0: (3, 1), TLS1_1: (3, 2), TLS1_2: (3, 3), TLS1_3: (3, 4)}

    def can_speak(self, server: LabServer, version: TlsVersion) -> bool:
        return version in self._NUMBERS and server.verify.psk is None and not server.verify.client_certificate

    def attempt(self, server: LabServer, version: TlsVersion, certificates: Certificates) -> Attempt:
        from tlslite.api import HandshakeSettings, TLSConnection  # noqa: PLC0415 - only where it is installed

        settings = HandshakeSettings()
        number = self._NUMBERS[version]
        settings.minVersion = settings.maxVersion = number
        settings.versions = [number]
        settings.cipherNames = [*settings.cipherNames, "rc4", "aes128ccm_8"]
        settings.minKeySize = 512
        with socket.create_connection((server.address, server.port), timeout=_TIMEOUT_S) as raw:
            connection = TLSConnection(raw)
            try:
                connection.handshakeClientCert(settings=settings, serverName=server.server_name)
            except Exception as error:  # noqa: BLE001 - whatever it raises, there was no handshake
                return Attempt(is_accepted=False, said=f"{type(error).__name__}: {error}")
            settled = connection.version
        return Attempt(is_accepted=settled == number, said=f"settled for {settled}")


CLIENTS: tuple[Client, ...] = (OpensslSClient(), NasslLegacy(), OldNode(), GnutlsCli(), Tlslite())
"""In the order in which they are asked."""
