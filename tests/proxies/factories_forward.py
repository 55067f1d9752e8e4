"""How the forward proxies are started: Squid, mitmproxy, tinyproxy, SOCKS servers, and TLS in front of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from scanner.model.subjects import Upgrade
from tests.lab import requirements
from tests.lab.model import ServerProcess, spawn
from tests.lab.openssl_factories import write_openssl_conf
from tests.proxies.certs import SERVER_NAME
from tests.proxies.model import ProxyKind, await_port
from tests.proxies.scripted import Disposable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.requirements import Requirement
    from tests.proxies.model import Credentials, Part, Stage

_CERTGEN = "/usr/lib/squid/security_file_certgen"
_REALM = "lab"


def unprivileged(workdir: Path, user: str) -> list[str]:
    """Give ``workdir`` to ``user`` and return what starts a program as that user; nothing where we are not root."""
    if os.geteuid() != 0:
        return []
    for path in (workdir, *workdir.rglob("*")):
        shutil.chown(path, user, user)
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def copy_into(workdir: Path, source: Path) -> Path:
    """Copy a file there: programs that are not root cannot read below the test run's own directory."""
    return shutil.copy(source, workdir / source.name)


def _write_hosts(workdir: Path) -> Path:
    path = workdir / "hosts"
    path.write_text(f"127.0.0.1 {SERVER_NAME}\n")
    return path


class Scheme(StrEnum):
    """How Squid asks for credentials."""

    BASIC = "basic"
    DIGEST = "digest"
    NEGOTIATE = "negotiate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Squid(ProxyKind):
    """Squid 5.7 with OpenSSL, one process without privileges; ``config`` is added to its file."""

    product: str = "Squid 5.7, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.SQUID, requirements.OPENSSL)
    bumps: bool = False
    """Whether it can end the client's TLS (``ssl-bump`` on its port, a certificate generator)."""
    scheme: Scheme | None = None
    only_port_443: bool = False
    """Debian's own policy: CONNECT to port 443 only."""
    has_limits: bool = False
    """Keep Debian's own security level 2 instead of none."""

    def start(self, stage: Stage) -> list[Part]:
        """Write its files and start it with -N (one process, foreground)."""
        workdir = stage.workdir
        files = stage.certificates
        port = "https_port" if self.upgrade is Upgrade.HTTPS_CONNECT else "http_port"
        options = ""
        if self.upgrade is Upgrade.HTTPS_CONNECT:
            options += f" tls-cert={copy_into(workdir, files.proxy.bundle)}"
        lines = [
            f"pid_filename {workdir}/squid.pid",
            f"coredump_dir {workdir}",
            "cache deny all",
            "cache_log stdio:/dev/stderr",
            "access_log none",
            "logfile_rotate 0",
            "pinger_enable off",
            "shutdown_lifetime 0 seconds",
            "visible_hostname proxy.lab.example.test",
            # It asks nobody: a port on which no name server listens, and a file with the origins' one name.
            "dns_nameservers 127.0.0.1",
            "dns_timeout 2 seconds",
            f"hosts_file {_write_hosts(workdir)}",
            "connect_timeout 5 seconds",
            "max_filedescriptors 1024",
        ]
        if self.bumps:
            authority = copy_into(workdir, files.interception.bundle)
            options += f" ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={authority}"
            database = workdir / "ssl_db"
            subprocess.run([_CERTGEN, "-c", "-s", database, "-M", "4MB"], check=True, capture_output=True, timeout=20)
            lines += [
                f"sslcrtd_program {_CERTGEN} -s {database} -M 4MB",
                "sslcrtd_children 1 startup=1 idle=1",
            ]
        lines.append(f"{port} {stage.address}:{stage.port}{options}")
        lines += self._ask(stage)
        lines += self._allow(stage)
        if self.expected.verifies:
            lines.append(f"tls_outgoing_options cafile={copy_into(workdir, files.origin_ca)}")
        lines.append(self.config)
        path = workdir / "squid.conf"
        path.write_text("\n".join(lines) + "\n")
        env = {} if self.has_limits else write_openssl_conf(workdir)
        # Its shared memory has this name (at most 32 letters), which several at a time must not share.
        service = "squid" + workdir.name.rpartition("-")[2].replace("_", "0")
        command = [*unprivileged(workdir, "proxy"), "squid", "-N", "-d", "1", "-n", service, "-f", path]
        started = spawn(command, workdir=workdir, env=env)
        return [Disposable(popen=started.popen, log=started.log)]

    def _allow(self, stage: Stage) -> list[str]:
        ports = (443,) if self.only_port_443 else stage.allowed_ports
        lines = []
        if ports is not None:
            lines += ["acl ssl_ports port " + " ".join(map(str, ports)), "http_access deny CONNECT !ssl_ports"]
        # Not by destination address: Squid would look up the name in each request that it decrypts.
        return [*lines, f"http_access allow {'known' if self.scheme is not None else 'all'}", "http_access deny all"]

    def _ask(self, stage: Stage) -> list[str]:
        if self.scheme is None:
            return []
        lines = {
            Scheme.BASIC: _squid_basic,
            Scheme.DIGEST: _squid_digest,
            Scheme.NEGOTIATE: _squid_negotiate,
        }[self.scheme](stage.workdir, self.credentials)
        return [*lines, "acl known proxy_auth REQUIRED"]


def _squid_basic(workdir: Path, credentials: Credentials | None) -> list[str]:
    assert credentials is not None
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", credentials.password], check=True, capture_output=True, text=True, timeout=20
    ).stdout.strip()
    (workdir / "users").write_text(f"{credentials.user}:{hashed}\n")
    return [
        f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {workdir}/users",
        "auth_param basic children 1 startup=1 idle=1",
        f"auth_param basic realm {_REALM}",
    ]


def _squid_digest(workdir: Path, credentials: Credentials | None) -> list[str]:
    assert credentials is not None
    secret = f"{credentials.user}:{_REALM}:{credentials.password}"
    digest = hashlib.md5(secret.encode()).hexdigest()
    (workdir / "users").write_text(f"{credentials.user}:{_REALM}:{digest}\n")
    return [
        f"auth_param digest program /usr/lib/squid/digest_file_auth -c {workdir}/users",
        "auth_param digest children 1 startup=1 idle=1",
        f"auth_param digest realm {_REALM}",
    ]


def _squid_negotiate(workdir: Path, credentials: Credentials | None) -> list[str]:
    # A helper that never lets anyone in; what matters is the challenge.
    helper = workdir / "negotiate"
    helper.write_text("#!/bin/sh\nwhile read -r line; do echo 'BH no tickets here'; done\n")
    helper.chmod(0o755)
    return [f"auth_param negotiate program {helper}", "auth_param negotiate children 1 startup=1 idle=1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tinyproxy(ProxyKind):
    """tinyproxy, which answers in HTTP/1.0."""

    product: str = "tinyproxy 1.11"
    requires: tuple[Requirement, ...] = (requirements.TINYPROXY,)

    def start(self, stage: Stage) -> list[Part]:
        """Start it in the foreground (-d)."""
        return [start_tinyproxy(stage, stage.port, self.credentials)]


def start_tinyproxy(stage: Stage, port: int, credentials: Credentials | None = None) -> ServerProcess:
    """Start tinyproxy on a port of the stage."""
    lines = [f"Port {port}", f"Listen {stage.address}", "Timeout 30", "LogLevel Warning", "MaxClients 50"]
    lines += [f"ConnectPort {allowed}" for allowed in stage.allowed_ports or ()]
    lines += [f"BasicAuth {credentials.user} {credentials.password}"] if credentials else []
    path = stage.workdir / "tinyproxy.conf"
    path.write_text("\n".join(lines) + "\n")
    return spawn(["tinyproxy", "-d", "-c", path], workdir=stage.workdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitmproxy(ProxyKind):
    """mitmdump; ``config`` is its options, one a line."""

    product: str = "mitmproxy 8.1, OpenSSL 3.0"
    requires: tuple[Requirement, ...] = (requirements.MITMPROXY,)

    def start(self, stage: Stage) -> list[Part]:
        """Start it with its own settings folder, signing with the lab's interception authority."""
        workdir, files = stage.workdir, stage.certificates
        copy_into(workdir, files.interception.bundle).rename(workdir / "mitmproxy-ca.pem")
        options = [f"confdir={workdir}", f"listen_host={stage.address}", f"listen_port={stage.port}"]
        options += (
            [f"ssl_verify_upstream_trusted_ca={files.origin_ca}"] if self.expected.verifies else ["ssl_insecure=true"]
        )
        if self.credentials:
            options.append(f"proxyauth={self.credentials.user}:{self.credentials.password}")
        if self.upgrade is Upgrade.SOCKS5:
            options.append("mode=socks5")
        options += self.config.split()
        command: list[str | Path] = ["mitmdump", "-q"]
        for option in options:
            command += ["--set", option]
        started = spawn(command, workdir=workdir, env=write_openssl_conf(workdir))
        return [Disposable(popen=started.popen, log=started.log)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Microsocks(ProxyKind):
    """microsocks, SOCKS5 only."""

    product: str = "microsocks 1.0"
    upgrade: Upgrade = Upgrade.SOCKS5
    requires: tuple[Requirement, ...] = (requirements.MICROSOCKS,)

    def start(self, stage: Stage) -> list[Part]:
        """Start it."""
        command = ["microsocks", "-i", stage.address, "-p", str(stage.port)]
        command += ["-u", self.credentials.user, "-P", self.credentials.password] if self.credentials else []
        return [spawn(command, workdir=stage.workdir)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dante(ProxyKind):
    """Dante's danted; ``config`` is the body of its one rule about destinations."""

    product: str = "Dante 1.4"
    upgrade: Upgrade = Upgrade.SOCKS5
    requires: tuple[Requirement, ...] = (requirements.DANTE,)

    def start(self, stage: Stage) -> list[Part]:
        """Start it in the foreground."""
        user = "user.privileged: root\nuser.unprivileged: nobody\n" if os.geteuid() == 0 else ""
        everyone = "from: 127.0.0.0/8 to: 0.0.0.0/0"
        path = stage.workdir / "danted.conf"
        path.write_text(
            f"logoutput: stderr\n{user}internal: {stage.address} port = {stage.port}\nexternal: 127.0.0.1\n"
            f"clientmethod: none\nsocksmethod: none\n"
            f"client pass {{ {everyone} }}\n"
            f"socks {self.config} {{ from: 127.0.0.0/8 to: 127.0.0.0/8 }}\n"
        )
        return [spawn(["danted", "-f", path, "-N", "1"], workdir=stage.workdir)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyFront(ProxyKind):
    """HAProxy that ends the outer TLS in front of tinyproxy; ``config`` is the end of its bind line."""

    product: str = "HAProxy in front of tinyproxy"
    upgrade: Upgrade = Upgrade.HTTPS_CONNECT
    requires: tuple[Requirement, ...] = (requirements.HAPROXY, requirements.TINYPROXY)

    def start(self, stage: Stage) -> list[Part]:
        """Start both."""
        behind = stage.spare_ports[0]
        path = stage.workdir / "haproxy.cfg"
        path.write_text(
            "global\n  maxconn 256\n  nbthread 1\n"
            "defaults\n  mode tcp\n  timeout client 30s\n  timeout connect 5s\n  timeout server 30s\n"
            "frontend outer\n"
            f"  bind {stage.address}:{stage.port} ssl crt {stage.certificates.proxy.bundle} {self.config}\n"
            "  default_backend inner\n"
            f"backend inner\n  server tinyproxy {stage.address}:{behind}\n"
        )
        first = start_tinyproxy(stage, behind, self.credentials)
        await_port(stage.address, behind, first)
        return [
            first,
            spawn(["haproxy", "-db", "-f", path], workdir=stage.workdir, env=write_openssl_conf(stage.workdir)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StunnelFront(ProxyKind):
    """stunnel that ends the outer TLS in front of tinyproxy; ``config`` is added to its service."""

    product: str = "stunnel in front of tinyproxy"
    upgrade: Upgrade = Upgrade.HTTPS_CONNECT
    requires: tuple[Requirement, ...] = (requirements.STUNNEL, requirements.TINYPROXY)

    def start(self, stage: Stage) -> list[Part]:
        """Start both."""
        behind = stage.spare_ports[0]
        leaf = stage.certificates.proxy
        path = stage.workdir / "stunnel.conf"
        path.write_text(
            "foreground = yes\nsyslog = no\npid =\n[outer]\n"
            f"accept = {stage.address}:{stage.port}\nconnect = {stage.address}:{behind}\n"
            f"cert = {leaf.certificate}\nkey = {leaf.key}\n{self.config}\n"
        )
        first = start_tinyproxy(stage, behind, self.credentials)
        await_port(stage.address, behind, first)
        return [first, spawn(["stunnel4", path], workdir=stage.workdir, env=write_openssl_conf(stage.workdir))]
