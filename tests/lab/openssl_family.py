"""Listeners whose TLS is OpenSSL: 3.0 in s_server and five products, 1.0.0 and 1.0.1 in two old Node.js releases."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import requirements
from tests.lab.certs import SERVER_NAME, Certificates, Leaf
from tests.lab.model import (
    SSL2,
    SSL3,
    TLS1_0,
    TLS1_1,
    TLS1_2,
    TLS1_3,
    ClientNeeds,
    ServerFactory,
    ServerProcess,
    Versions,
    spawn,
)

_HERE = Path(__file__).parent
_PSK = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

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
class _Factory:
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
class SServer(_Factory):
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
class Nginx(_Factory):
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
class HaProxy(_Factory):
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
class Apache(_Factory):
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
class Stunnel(_Factory):
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
class Lighttpd(_Factory):
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
class OldNode(_Factory):
    """An old Node.js; ``config`` is method, options that are switched off (or -) and cipher string."""

    leaf: str = "rsa1024"
    node: requirements.Requirement
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
        return spawn(
            [self.node.file, script, address, str(port), method, off, ciphers, key, certificate], workdir=workdir
        )


def _old_node(name: str, enabled: Versions, config: str, **more: object) -> OldNode:
    """Return a factory for Node.js 0.10, or 0.8 where the name says so."""
    is_oldest = name.startswith("node08")
    node = requirements.NODE_0_8 if is_oldest else requirements.NODE_0_10
    stack = "Node.js 0.8, OpenSSL 1.0.0" if is_oldest else "Node.js 0.10, OpenSSL 1.0.1"
    needs = (node, requirements.OPENSSL) if more.get("has_export_key") else (node,)
    return OldNode(name=name, stack=stack, enabled=enabled, config=config, node=node, requires=needs, **more)


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


_OLD = frozenset({TLS1_0, TLS1_1, TLS1_2})
_MODERN = frozenset({TLS1_2, TLS1_3})
_ALL_TLS = _OLD | _MODERN
_LEVEL_0 = "-cipher ALL:@SECLEVEL=0"

_S_SERVERS = (
    SServer(name="openssl-12-13", enabled=_MODERN, config="-min_protocol TLSv1.2"),
    SServer(name="openssl-10-13", enabled=_ALL_TLS, config=f"-min_protocol TLSv1 {_LEVEL_0}"),
    SServer(name="openssl-10", enabled=frozenset({TLS1_0}), config=f"-tls1 {_LEVEL_0}"),
    SServer(name="openssl-11", enabled=frozenset({TLS1_1}), config=f"-tls1_1 {_LEVEL_0}"),
    SServer(name="openssl-hole-11-13", enabled=frozenset({TLS1_1, TLS1_3}), config=f"-no_tls1 -no_tls1_2 {_LEVEL_0}"),
    SServer(name="openssl-hole-10-13", enabled=frozenset({TLS1_0, TLS1_3}), config=f"-no_tls1_1 -no_tls1_2 {_LEVEL_0}"),
    SServer(name="openssl-13-x448", enabled=frozenset({TLS1_3}), config="-tls1_3 -groups X448"),
    SServer(name="openssl-13-ffdhe8192", enabled=frozenset({TLS1_3}), config="-tls1_3 -groups ffdhe8192"),
    SServer(name="openssl-13-p521", enabled=frozenset({TLS1_3}), config="-tls1_3 -groups P-521", leaf="p384"),
    SServer(
        name="openssl-13-ccm8",
        enabled=frozenset({TLS1_3}),
        config="-tls1_3 -ciphersuites TLS_AES_128_CCM_8_SHA256",
    ),
    SServer(name="openssl-12-ccm8", enabled=frozenset({TLS1_2}), config="-tls1_2 -cipher AES128-CCM8:AES256-CCM8"),
    SServer(
        name="openssl-anonymous",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher aNULL:@SECLEVEL=0",
        has_certificate=False,
        notes="no certificate at all",
    ),
    SServer(
        name="openssl-psk",
        enabled=_OLD,
        config=f"-min_protocol TLSv1 -no_tls1_3 -psk {_PSK} -cipher PSK:@SECLEVEL=0",
        has_certificate=False,
        verify=ClientNeeds(psk=_PSK),
        notes="accepts the lab's pre-shared key only",
    ),
    SServer(
        name="openssl-psk-13",
        enabled=frozenset({TLS1_3}),
        config=f"-tls1_3 -psk {_PSK}",
        has_certificate=False,
        verify=ClientNeeds(psk=_PSK),
        notes="TLS 1.3 with the lab's pre-shared key only",
    ),
    SServer(
        name="openssl-rsa-key-exchange",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher kRSA:@SECLEVEL=0",
        notes="static RSA key exchange only",
    ),
    SServer(
        name="openssl-null",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher NULL-SHA:NULL-SHA256:@SECLEVEL=0",
        notes="authenticates without encrypting",
    ),
    SServer(
        name="openssl-dhe",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher kDHE+aRSA:@SECLEVEL=0",
        notes="finite-field Diffie-Hellman only",
    ),
    SServer(
        name="openssl-dss",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher aDSS:@SECLEVEL=0 -sigalgs DSA+SHA256:DSA+SHA1",
        leaf="dsa1024",
        notes="DSA certificate",
    ),
    SServer(
        name="openssl-chacha",
        enabled=_MODERN,
        config="-min_protocol TLSv1.2 -cipher CHACHA20 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
    ),
    SServer(name="openssl-camellia", enabled=frozenset({TLS1_2}), config="-tls1_2 -cipher CAMELLIA"),
    SServer(name="openssl-aria", enabled=frozenset({TLS1_2}), config="-tls1_2 -cipher ARIA"),
    SServer(name="openssl-ed25519", enabled=_MODERN, config="-min_protocol TLSv1.2", leaf="ed25519"),
    SServer(
        name="openssl-ocsp",
        enabled=_MODERN,
        config="-min_protocol TLSv1.2 -status_file {certs.ocsp_response}",
        notes="staples an OCSP response",
    ),
    SServer(
        name="openssl-client-certificate",
        enabled=_MODERN,
        config="-min_protocol TLSv1.2 -Verify 3 -verify_return_error -CAfile {certs.ca}",
        verify=ClientNeeds(client_certificate=True),
    ),
    SServer(
        name="openssl-tiny-session",
        enabled=_ALL_TLS,
        config=f"-min_protocol TLSv1 {_LEVEL_0} -no_ticket -num_tickets 0 -no_cache -max_send_frag 512",
        notes="no session of any kind, records of at most 512 bytes",
    ),
)

_NGINX_LEVEL_0 = "ssl_ciphers ALL:@SECLEVEL=0;"
_PRODUCTS: tuple[ServerFactory, ...] = (
    Nginx(name="nginx-12-13", enabled=_MODERN, config="ssl_protocols TLSv1.2 TLSv1.3;"),
    Nginx(name="nginx-12", enabled=frozenset({TLS1_2}), config="ssl_protocols TLSv1.2;"),
    Nginx(
        name="nginx-hole-10-12",
        enabled=frozenset({TLS1_0, TLS1_2}),
        config=f"ssl_protocols TLSv1 TLSv1.2; {_NGINX_LEVEL_0}",
    ),
    Nginx(
        name="nginx-ecdsa",
        enabled=frozenset({TLS1_2}),
        config="ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;",
        leaf="p256",
    ),
    Nginx(
        name="nginx-reject-unknown-name",
        enabled=_MODERN,
        server_name=SERVER_NAME,
        config="ssl_protocols TLSv1.2 TLSv1.3;",
        notes="every other name: ssl_reject_handshake, alert unrecognized_name",
    ),
    Nginx(
        name="nginx-20-kb-chain",
        enabled=_ALL_TLS,
        leaf="big",
        config=f"ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; {_NGINX_LEVEL_0}",
    ),
    Nginx(
        name="nginx-client-certificate",
        enabled=_MODERN,
        config="ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client on;",
        verify=ClientNeeds(client_certificate=True),
        notes="completes without a certificate too, then answers 400",
    ),
    HaProxy(
        name="haproxy-10-13", enabled=_ALL_TLS, config="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.3 ciphers ALL:@SECLEVEL=0"
    ),
    HaProxy(
        name="haproxy-no-options-ignored",
        enabled=_OLD,
        config="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.2 no-tlsv11 ciphers ALL:@SECLEVEL=0",
        notes="HAProxy warns that no-tlsv11 is ignored beside ssl-min-ver: TLS 1.1 stays on",
    ),
    HaProxy(
        name="haproxy-default-minimum",
        enabled=frozenset({TLS1_2}),
        config="no-tlsv11 no-tlsv13 ciphers ALL:@SECLEVEL=0",
        notes="reads as 1.0 and 1.2, but HAProxy's default ssl-min-ver is TLSv1.2",
    ),
    HaProxy(name="haproxy-13", enabled=frozenset({TLS1_3}), config="ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3"),
    HaProxy(
        name="haproxy-strict-sni",
        enabled=_MODERN,
        server_name=SERVER_NAME,
        config="ssl-min-ver TLSv1.2 strict-sni",
        notes="every other name, and none: handshake fails",
    ),
    HaProxy(
        name="haproxy-client-certificate",
        enabled=_MODERN,
        config="ssl-min-ver TLSv1.2 verify required ca-file {certs.ca}",
        verify=ClientNeeds(client_certificate=True),
    ),
    Apache(
        name="apache-12-13", enabled=_MODERN, config="SSLProtocol -all +TLSv1.2 +TLSv1.3\nSSLCipherSuite HIGH:!aNULL"
    ),
    Apache(
        name="apache-10-11",
        enabled=frozenset({TLS1_0, TLS1_1}),
        config="SSLProtocol -all +TLSv1 +TLSv1.1\nSSLCipherSuite ALL:@SECLEVEL=0",
    ),
    Apache(
        name="apache-no-holes",
        enabled=frozenset({TLS1_3}),
        config="SSLProtocol -all +TLSv1 +TLSv1.3\nSSLCipherSuite ALL:@SECLEVEL=0",
        leaf="p384",
        notes="reads as 1.0 and 1.3, but mod_ssl allows no hole and keeps the newest unbroken run",
    ),
    Stunnel(name="stunnel-12", enabled=frozenset({TLS1_2}), config="sslVersion = TLSv1.2"),
    Stunnel(
        name="stunnel-11-12",
        enabled=frozenset({TLS1_1, TLS1_2}),
        config="sslVersionMin = TLSv1.1\nsslVersionMax = TLSv1.2\nsecurityLevel = 0\nciphers = ALL:@SECLEVEL=0",
    ),
    Stunnel(
        name="stunnel-hole-10-12",
        enabled=frozenset({TLS1_0, TLS1_2}),
        config="sslVersionMin = TLSv1\nsslVersionMax = TLSv1.2\noptions = NO_TLSv1_1\n"
        "securityLevel = 0\nciphers = ALL:@SECLEVEL=0",
    ),
    Lighttpd(
        name="lighttpd-12-13",
        enabled=_MODERN,
        config='ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.2", "MaxProtocol" => "TLSv1.3")',
    ),
    Lighttpd(
        name="lighttpd-10-11",
        enabled=frozenset({TLS1_0, TLS1_1}),
        config='ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1", "MaxProtocol" => "TLSv1.1", '
        '"CipherString" => "ALL:@SECLEVEL=0")',
    ),
    Lighttpd(
        name="lighttpd-hole-11-13",
        enabled=frozenset({TLS1_1, TLS1_3}),
        config='ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.1", "Protocol" => "-ALL, TLSv1.1, TLSv1.3", '
        '"CipherString" => "ALL:@SECLEVEL=0")',
    ),
)

_OLD_NODES = (
    _old_node("node08-ssl2", frozenset({SSL2}), "SSLv2_method - ALL"),
    _old_node("node08-ssl3", frozenset({SSL3}), "SSLv3_method - ALL"),
    _old_node("node08-ssl2-ssl3-10", frozenset({SSL2, SSL3, TLS1_0}), "SSLv23_method - ALL"),
    _old_node("node010-ssl2-12", frozenset({SSL2, SSL3}) | _OLD, "SSLv23_method - ALL"),
    _old_node("node010-hole-ssl3-12", frozenset({SSL3, TLS1_2}), "SSLv23_method NO_SSLv2,NO_TLSv1,NO_TLSv1_1 ALL"),
    _old_node("node010-hole-ssl3-11", frozenset({SSL3, TLS1_1}), "SSLv23_method NO_SSLv2,NO_TLSv1,NO_TLSv1_2 ALL"),
    _old_node("node010-rc4", frozenset({SSL3}) | _OLD, "SSLv23_method NO_SSLv2 RC4-SHA:RC4-MD5"),
    _old_node("node010-des", frozenset({SSL3}) | _OLD, "SSLv23_method NO_SSLv2 DES-CBC-SHA"),
    _old_node("node010-export", frozenset({SSL3}) | _OLD, "SSLv23_method NO_SSLv2 EXP", has_export_key=True),
)

OPENSSL_FAMILY: tuple[ServerFactory, ...] = (*_S_SERVERS, *_PRODUCTS, *_OLD_NODES)
"""Every listener of this file."""
