"""How the reverse proxies are started: each ends the client's TLS and opens its own to the back end of the test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scanner.model.subjects import Upgrade
from tests.lab import requirements
from tests.lab.model import spawn
from tests.lab.openssl_factories import write_openssl_conf
from tests.proxies.factories_forward import copy_into, unprivileged
from tests.proxies.model import ProxyKind, Side, await_port
from tests.proxies.scripted import Disposable

if TYPE_CHECKING:
    from tests.lab.requirements import Requirement
    from tests.proxies.model import Part, Stage

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse(ProxyKind):
    """What all reverse proxies have in common; ``config`` is what limits their client side."""

    side: Side = Side.REVERSE
    upgrade: Upgrade = Upgrade.NONE
    has_limits: bool = False
    """Keep Debian's own security level 2 instead of none."""

    def _env(self, workdir: Path) -> dict[str, str]:
        return {} if self.has_limits else write_openssl_conf(workdir)


def _backend(stage: Stage) -> tuple[str, int]:
    assert stage.backend is not None
    return stage.backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx(Reverse):
    """nginx; ``config`` is its proxy_ssl lines."""

    product: str = "nginx 1.22, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.NGINX,)

    def start(self, stage: Stage) -> list[Part]:
        """Start one process that neither forks nor changes user."""
        workdir, leaf = stage.workdir, stage.certificates.proxy
        host, port = _backend(stage)
        lines = [
            "daemon off; master_process off; worker_processes 1;",
            f"pid {workdir}/nginx.pid; error_log stderr warn;",
            "events { worker_connections 256; }",
            "http { access_log off;",
            *(f"{part}_temp_path {workdir}/{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
            f"server {{ listen {stage.address}:{stage.port} ssl;",
            f"ssl_certificate {leaf.certificate}; ssl_certificate_key {leaf.key};",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            f"proxy_ssl_server_name on; proxy_ssl_name {stage.server_name};",
            self.config,
            f"location / {{ proxy_pass https://{host}:{port}; }} }} }}",
        ]
        path = workdir / "nginx.conf"
        path.write_text("\n".join(lines) + "\n")
        command = ["nginx", "-p", workdir, "-c", path, "-e", "stderr"]
        return [spawn(command, workdir=workdir, env=self._env(workdir))]


@dataclass(frozen=True, slots=True, kw_only=True)
class HaProxy(Reverse):
    """HAProxy; ``config`` is the end of its server line."""

    product: str = "HAProxy 2.6, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.HAPROXY,)
    mode: str = "http"

    def start(self, stage: Stage) -> list[Part]:
        """Start it in the foreground (-db)."""
        host, port = _backend(stage)
        path = stage.workdir / "haproxy.cfg"
        path.write_text(
            "global\n  maxconn 256\n  nbthread 1\n"
            f"defaults\n  mode {self.mode}\n  retries 0\n"
            "  timeout client 10s\n  timeout connect 5s\n  timeout server 10s\n"
            f"frontend front\n  bind {stage.address}:{stage.port} ssl crt {stage.certificates.proxy.bundle}"
            " ssl-min-ver TLSv1.2\n  default_backend back\n"
            f"backend back\n  server one {host}:{port} ssl verify none sni str({stage.server_name}) {self.config}\n"
        )
        return [spawn(["haproxy", "-db", "-f", path], workdir=stage.workdir, env=self._env(stage.workdir))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Apache(Reverse):
    """Apache httpd with mod_proxy; ``config`` is its SSLProxy lines."""

    product: str = "Apache httpd 2.4, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.APACHE,)

    def start(self, stage: Stage) -> list[Part]:
        """Start it without forking (-X)."""
        workdir, leaf = stage.workdir, stage.certificates.proxy
        host, port = _backend(stage)
        modules = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http", "headers")
        lines = [
            f"ServerRoot {workdir}",
            f"PidFile {workdir}/apache.pid",
            "ErrorLog /dev/stderr",
            "Mutex posixsem",
            "User www-data",
            "Group www-data",
            f"ServerName {stage.server_name}",
            *(f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so" for each in modules),
            f"Listen {stage.address}:{stage.port}",
            "SSLSessionCache none",
            "SSLEngine on",
            "SSLProtocol -all +TLSv1.2 +TLSv1.3",
            f"SSLCertificateFile {leaf.certificate}",
            f"SSLCertificateKeyFile {leaf.key}",
            "SSLProxyEngine on",
            "SSLProxyVerify none",
            "SSLProxyCheckPeerName off",
            # The Host header is the SNI then: it takes no name of its own for the back end.
            "ProxyPreserveHost on",
            f"RequestHeader set Host {stage.server_name} early",
            self.config,
            f"ProxyPass / https://{host}:{port}/ retry=0 connectiontimeout=5",
        ]
        path = workdir / "apache2.conf"
        path.write_text("\n".join(lines) + "\n")
        return [spawn(["apache2", "-X", "-f", path], workdir=workdir, env=self._env(workdir))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stunnel(Reverse):
    """stunnel, one service in front and one behind; ``config`` is added to the one behind."""

    product: str = "stunnel 5, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.STUNNEL,)

    def start(self, stage: Stage) -> list[Part]:
        """Start both services in one process."""
        host, port = _backend(stage)
        leaf, between = stage.certificates.proxy, stage.spare_ports[0]
        path = stage.workdir / "stunnel.conf"
        path.write_text(
            "foreground = yes\nsyslog = no\npid =\n"
            f"[back]\nclient = yes\naccept = {stage.address}:{between}\nconnect = {host}:{port}\n"
            f"sni = {stage.server_name}\n{self.config}\n"
            f"[front]\naccept = {stage.address}:{stage.port}\nconnect = {stage.address}:{between}\n"
            f"cert = {leaf.certificate}\nkey = {leaf.key}\nsslVersionMin = TLSv1.2\n"
        )
        return [spawn(["stunnel4", path], workdir=stage.workdir, env=self._env(stage.workdir))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SquidReverse(Reverse):
    """Squid as an accelerator; ``config`` is the end of its cache_peer line."""

    product: str = "Squid 5.7, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.SQUID,)

    def start(self, stage: Stage) -> list[Part]:
        """Start one process without privileges."""
        workdir = stage.workdir
        host, port = _backend(stage)
        bundle = copy_into(workdir, stage.certificates.proxy.bundle)
        front = f"accel defaultsite={stage.server_name} tls-cert={bundle} tls-min-version=1.2"
        # A peer that failed ten times would not be asked for a while.
        peer = "no-query originserver name=back connect-timeout=5 connect-fail-limit=1000 tls"
        peer += f" tls-flags=DONT_VERIFY_PEER tls-domain={stage.server_name} {self.config}"
        lines = [
            f"pid_filename {workdir}/squid.pid",
            f"coredump_dir {workdir}",
            "cache deny all",
            "cache_log stdio:/dev/stderr",
            "access_log none",
            "pinger_enable off",
            "visible_hostname proxy.lab.example.test",
            "dns_nameservers 127.0.0.1",
            "max_filedescriptors 1024",
            f"https_port {stage.address}:{stage.port} {front}",
            f"cache_peer {host} parent {port} 0 {peer}",
            "http_access allow all",
            "cache_peer_access back allow all",
            "never_direct allow all",
        ]
        path = workdir / "squid.conf"
        path.write_text("\n".join(lines) + "\n")
        env = self._env(workdir)
        # Its shared memory has this name (at most 32 letters), which several at a time must not share.
        service = "squid" + workdir.name.rpartition("-")[2].replace("_", "0")
        command = [*unprivileged(workdir, "proxy"), "squid", "-N", "-d", "1", "-n", service, "-f", path]
        started = spawn(command, workdir=workdir, env=env)
        return [Disposable(popen=started.popen, log=started.log)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldNode(Reverse):
    """An old Node.js whose OpenSSL still has SSLv2 and SSLv3; ``config`` is its method."""

    product: str = "Node.js 0.8, OpenSSL 1.0.0"
    requires: tuple[Requirement, ...] = (requirements.NODE_0_8, requirements.STUNNEL)

    def start(self, stage: Stage) -> list[Part]:
        """Start it behind stunnel, whose front speaks today's TLS."""
        host, port = _backend(stage)
        leaf, between = stage.certificates.proxy, stage.spare_ports[0]
        path = stage.workdir / "stunnel.conf"
        path.write_text(
            "foreground = yes\nsyslog = no\npid =\n"
            f"[front]\naccept = {stage.address}:{stage.port}\nconnect = {stage.address}:{between}\n"
            f"cert = {leaf.certificate}\nkey = {leaf.key}\nsslVersionMin = TLSv1.2\n"
        )
        command: list[str | Path] = [requirements.NODE_0_8.file or "", _HERE / "old_node_reverse.js"]
        command += [stage.address, str(between), host, str(port), self.config]
        node = spawn(command, workdir=stage.workdir)
        await_port(stage.address, between, node)
        return [node, spawn(["stunnel4", path], workdir=stage.workdir, env=self._env(stage.workdir))]
