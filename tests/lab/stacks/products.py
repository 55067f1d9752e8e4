"""Factories of products that bring another TLS stack than OpenSSL, or their own way to refuse."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab import requirements
from tests.lab.model import ServerProcess, spawn
from tests.lab.stacks import build
from tests.lab.stacks.factories import DOTTED_NAMES, Factory, gnutls_priority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.certs import Certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Granian(Factory):
    """granian, a Python application server on rustls, which knows TLS 1.2 and 1.3 only."""

    stack: str = "granian, rustls"
    requires: tuple[requirements.Requirement, ...] = (requirements.GRANIAN,)

    @property
    def config(self) -> str:
        """The lowest version."""
        return f"--ssl-protocol-min {min(self.enabled).label.lower()}"

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it with one worker."""
        leaf = self.chosen_leaf(certificates)
        command: list[str | Path] = [sys.executable, "-m", "granian", "--interface", "rsgi"]
        command += ["--host", address, "--port", str(port), "--no-ws", "--working-dir", build.SOURCES / "python"]
        command += ["--ssl-certificate", leaf.chain, "--ssl-keyfile", leaf.key, *self.config.split()]
        return spawn([*command, "granian_app:app"], workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class H2o(Factory):
    """H2O with libssl3; it reports no failed handshake to the peer, it closes."""

    stack: str = "H2O 2.2, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.H2O,)

    @property
    def config(self) -> str:
        """The lowest version; the highest is OpenSSL's."""
        return f"minimum-version: {DOTTED_NAMES[min(self.enabled)]}\ncipher-suite: ALL:@SECLEVEL=0"

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start one worker in the foreground."""
        leaf = self.chosen_leaf(certificates)
        path = workdir / "h2o.conf"
        config = self.config.replace("\n", "\n    ")
        path.write_text(
            f"listen:\n  host: {address}\n  port: {port}\n  ssl:\n    certificate-file: {leaf.chain}\n"
            f"    key-file: {leaf.key}\n    ocsp-update-interval: 0\n    {config}\n"
            f"num-threads: 1\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: {workdir}\n"
        )
        return spawn(["h2o", "-m", "worker", "-c", path], workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class LighttpdGnuTls(Factory):
    """lighttpd with mod_gnutls, which closes without flushing the alert."""

    stack: str = "lighttpd, GnuTLS 3.7"
    requires: tuple[requirements.Requirement, ...] = (requirements.LIGHTTPD, requirements.LIGHTTPD_GNUTLS)

    @property
    def config(self) -> str:
        """Lowest and highest version."""
        low, high = (DOTTED_NAMES[end(self.enabled)] for end in (min, max))
        return f'ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "{low}", "MaxProtocol" => "{high}")'

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it in the foreground (-D)."""
        leaf = self.chosen_leaf(certificates)
        path = workdir / "lighttpd.conf"
        path.write_text(
            f'server.document-root = "{workdir}"\nserver.port = {port}\nserver.bind = "{address}"\n'
            'server.modules = ("mod_gnutls")\nssl.engine = "enable"\n'
            f'ssl.pemfile = "{leaf.chain}"\nssl.privkey = "{leaf.key}"\n{self.config}\n'
        )
        return spawn(["lighttpd", "-D", "-f", path], workdir=workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class NgIrcd(Factory):
    """ngIRCd, an IRC server on GnuTLS, which ends every failed handshake with a warning."""

    stack: str = "ngIRCd, GnuTLS 3.7"
    requires: tuple[requirements.Requirement, ...] = (requirements.NGIRCD,)

    @property
    def config(self) -> str:
        """The priority string: its versions are ``enabled``."""
        return f"CipherList = {gnutls_priority(self.enabled, 'LEGACY')}"

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it in the foreground as whoever runs the tests: as nobody it could not read the certificates."""
        leaf = self.chosen_leaf(certificates)
        path = workdir / "ngircd.conf"
        path.write_text(
            f"[Global]\nName = lab.example.test\nInfo = lab\nListen = {address}\n"
            f"ServerUID = {pwd.getpwuid(os.getuid()).pw_name}\nServerGID = {grp.getgrgid(os.getgid()).gr_name}\n"
            "[Limits]\nMaxConnectionsIP = 0\n[Options]\nPAM = no\nIdent = no\nDNS = no\n"
            f"[SSL]\nCertFile = {leaf.chain}\nKeyFile = {leaf.key}\nPorts = {port}\n{self.config}\n"
        )
        return spawn(["ngircd", "-n", "-f", path], workdir=workdir)
