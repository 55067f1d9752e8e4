"""How OpenSSL's own server, five products and old Node.js releases are started with one line of configuration."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import requirements
from tests.lab.certs import SERVER_NAME, Certificates, Leaf
from tests.lab.model import (
    ClientNeeds,
    ServerProcess,
    Versions,
    spawn,
)

_HERE = Path(__file__).parent

# Debian's build and its openssl.cnf set limits of their own; with this one, only what the server's configuration says
# counts. Security level 0 is needed for TLS 1.0 and 1.1 (their SHA-1 + MD5 signatures) and for short keys.
_OPENSSL_CONF = """\
openssl_conf = lab
[lab]
ssl_conf = ssl_section
[ssl_section]
system_default = lab_defaults
[lab_defaults]
MinProtocol = None
CipherString = ALL:@SECLEVEL=0
Options = UnsafeLegacyServerConnect
"""


def write_openssl_conf(workdir: Path) -> dict[str, str]:
    """Write an openssl.cnf without limits and return the environment that makes OpenSSL 3.0 use it."""
    path = workdir / "openssl.cnf"
    path.write_text(_OPENSSL_CONF)
    return {"OPENSSL_CONF": str(path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """What all factories of this file have in common."""

    name: str
    enabled: Versions
    stack: str
    server_name: str | None = None
    notes: str = ""
    config: str
    verify: ClientNeeds = field(default_factory=ClientNeeds)
    requires: tuple[requirements.Requirement, ...]
    start_s: float = 20.0
    leaf: str = "rsa2048"
    """Which of the session's certificates it shows."""

    def _leaf(self, certificates: Certificates) -> Leaf:
        chosen: Leaf = getattr(certificates, self.leaf)
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class SServer(Factory):
    """``openssl s_server``; ``config`` is its command line. ``{certs.x}`` in it names a certificate's file."""

    stack: str = "openssl s_server, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.OPENSSL,)
    has_certificate: bool = True

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it; -www answers HTTP, and needs no standard input."""
        leaf = self._leaf(certificates)
        identity = ["-cert", leaf.certificate, "-key", leaf.key, "-cert_chain", leaf.chain]
        command: list[str | Path] = ["openssl", "s_server", "-accept", f"{address}:{port}", "-www"]
        command += identity if self.has_certificate else ["-nocert"]
        command += self.config.format(certs=certificates).split()
        return spawn(command, workdir=workdir, env=write_openssl_conf(workdir))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx(Factory):
    """nginx; ``config`` is what stands in its server block."""

    stack: str = "nginx, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.NGINX,)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start one process that neither forks nor changes user, so that root and others can run it."""
        leaf = self._leaf(certificates)
        listen = f"listen {address}:{port} ssl"
        identity = f"ssl_certificate {leaf.chain}; ssl_certificate_key {leaf.key};"
        lines = [
            "daemon off; master_process off; worker_processes 1;",
            f"pid {workdir}/nginx.pid; error_log stderr warn;",
            "events { worker_connections 256; }",
            "http { access_log off;",
            *(f"{part}_temp_path {workdir}/{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
            f"ssl_client_certificate {certificates.ca};",
        ]
        if self.server_name is not None:
            lines.append(f"server {{ {listen} default_server; ssl_reject_handshake on; {self.config} }}")
        name = self.server_name or "_"
        lines += [f"server {{ {listen}; server_name {name}; {identity} {self.config} return 200 lab; }}", "}"]
        path = workdir / "nginx.conf"
        path.write_text("\n".join(lines) + "\n")
        command = ["nginx", "-p", workdir, "-c", path, "-e", "stderr"]
        return spawn(command, workdir=workdir, env=write_openssl_conf(workdir))


@dataclass(frozen=True, slots=True, kw_only=True)
class HaProxy(Factory):
    """HAProxy; ``config`` is the end of its bind line."""

    stack: str = "HAProxy, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.HAPROXY,)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it in the foreground (-db)."""
        leaf = self._leaf(certificates)
        path = workdir / "haproxy.cfg"
        path.write_text(
            "global\n  maxconn 256\n  nbthread 1\n"
            "defaults\n  mode http\n  timeout client 10s\n  timeout connect 10s\n  timeout server 10s\n"
            "frontend lab\n"
            f"  bind {address}:{port} ssl crt {leaf.bundle} {self.config.format(certs=certificates)}\n"
            "  http-request return status 200 content-type text/plain string lab\n"
        )
        return spawn(["haproxy", "-db", "-f", path], workdir=workdir, env=write_openssl_conf(workdir))


@dataclass(frozen=True, slots=True, kw_only=True)
class Apache(Factory):
    """Apache httpd with mod_ssl; ``config`` is what stands in its virtual host."""

    stack: str = "Apache httpd, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.APACHE,)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it without forking (-X); as root it changes to Debian's www-data, otherwise User has no effect."""
        leaf = self._leaf(certificates)
        modules = ("mpm_event", "authz_core", "socache_shmcb", "ssl")
        lines = [
            f"ServerRoot {workdir}",
            f"PidFile {workdir}/apache.pid",
            "ErrorLog /dev/stderr",
            "Mutex posixsem",
            "User www-data",
            "Group www-data",
            f"ServerName {SERVER_NAME}",
            *(f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so" for each in modules),
            f"Listen {address}:{port}",
            "SSLSessionCache none",
            "SSLEngine on",
            f"SSLCertificateFile {leaf.chain}",
            f"SSLCertificateKeyFile {leaf.key}",
            *self.config.splitlines(),
        ]
        path = workdir / "apache2.conf"
        path.write_text("\n".join(lines) + "\n")
        return spawn(["apache2", "-X", "-f", path], workdir=workdir, env=write_openssl_conf(workdir))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stunnel(Factory):
    """stunnel as a TLS server; ``config`` is what stands in its service."""

    stack: str = "stunnel, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.STUNNEL,)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it in the foreground; behind it is nothing, which it notices after the handshake only."""
        leaf = self._leaf(certificates)
        path = workdir / "stunnel.conf"
        path.write_text(
            "foreground = yes\nsyslog = no\npid =\n[lab]\n"
            f"accept = {address}:{port}\nconnect = {address}:9\ncert = {leaf.chain}\nkey = {leaf.key}\n"
            f"{self.config.format(certs=certificates)}\n"
        )
        return spawn(["stunnel4", path], workdir=workdir, env=write_openssl_conf(workdir))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lighttpd(Factory):
    """lighttpd with mod_openssl; ``config`` is added to its file."""

    stack: str = "lighttpd, OpenSSL 3.0"
    requires: tuple[requirements.Requirement, ...] = (requirements.LIGHTTPD, requirements.LIGHTTPD_OPENSSL)

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it in the foreground (-D)."""
        leaf = self._leaf(certificates)
        path = workdir / "lighttpd.conf"
        path.write_text(
            f'server.document-root = "{workdir}"\nserver.port = {port}\nserver.bind = "{address}"\n'
            'server.modules = ("mod_openssl")\nssl.engine = "enable"\n'
            f'ssl.pemfile = "{leaf.chain}"\nssl.privkey = "{leaf.key}"\n{self.config}\n'
        )
        return spawn(["lighttpd", "-D", "-f", path], workdir=workdir, env=write_openssl_conf(workdir))


@dataclass(frozen=True, slots=True, kw_only=True)
class OldNode(Factory):
    """An old Node.js; ``config`` is method, options that are switched off (or -) and cipher string."""

    leaf: str = "rsa1024"
    node: Path
    has_export_key: bool = False
    """RSA-512, without which export suites are not chosen: Node gives OpenSSL no temporary RSA key."""

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start old_node_server.js with it."""
        leaf = self._leaf(certificates)
        key, certificate = leaf.traditional_key, leaf.certificate
        if self.has_export_key:
            key, certificate = _make_export_key(workdir, certificates)
        method, options, ciphers = self.config.split()
        script = _HERE / "old_node_server.js"
        off = "" if options == "-" else options
        return spawn([self.node, script, address, str(port), method, off, ciphers, key, certificate], workdir=workdir)


def _make_export_key(workdir: Path, certificates: Certificates) -> tuple[Path, Path]:
    # By the command line: the cryptography library makes no key under 1024 bits.
    key, request, certificate = (workdir / f"export.{end}" for end in ("key", "csr", "crt"))
    env = {"OPENSSL_CONF": "/dev/null", "PATH": "/usr/bin:/bin"}
    sign = ["-CA", certificates.ca, "-CAkey", certificates.ca_key, "-set_serial", "512", "-days", "30", "-sha256"]
    commands: tuple[list[str | Path], ...] = (
        ["openssl", "genrsa", "-traditional", "-out", key, "512"],
        ["openssl", "req", "-new", "-sha256", "-key", key, "-subj", f"/CN={SERVER_NAME}", "-out", request],
        ["openssl", "x509", "-req", "-in", request, *sign, "-out", certificate],
    )
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, env=env, timeout=20)
    return key, certificate
