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
from tests.proxies.model import ProxyKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.requirements import Requirement
    from tests.proxies.model import Credentials, Part, Stage

_CERTGEN = "/usr/lib/squid/security_file_certgen"
_REALM = "lab"


def _unprivileged(workdir: Path, user: str) -> list[str]:
    """Give ``workdir`` to ``user`` and return what starts a program as that user; nothing where we are not root."""
    if os.geteuid() != 0:
        return []
    for path in (workdir, *workdir.rglob("*")):
        shutil.chown(path, user, user)
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def _copy(source: Path, workdir: Path) -> Path:
    # Programs that are not root cannot read below the test run's own directory.
    return shutil.copy(source, workdir / source.name)


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
            options += f" tls-cert={_copy(files.proxy.bundle, workdir)}"
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
            "dns_nameservers 127.0.0.1",
            "connect_timeout 5 seconds",
            "max_filedescriptors 1024",
            "acl loopback dst 127.0.0.0/8 ::1",
        ]
        if self.bumps:
            authority = _copy(files.interception.bundle, workdir)
            options += f" ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB {_cert_option(self)}"
            options = options.replace("{authority}", str(authority))
            database = workdir / "ssl_db"
            subprocess.run([_CERTGEN, "-c", "-s", database, "-M", "4MB"], check=True, capture_output=True, timeout=20)
            lines += [
                f"sslcrtd_program {_CERTGEN} -s {database} -M 4MB",
                "sslcrtd_children 1 startup=1 idle=1",
            ]
        lines.append(f"{port} {stage.address}:{stage.port}{options}")
        lines += self._ask(stage)
        lines += self._allow(stage)
        lines += [self.config.format(stage=stage)]
        path = workdir / "squid.conf"
        path.write_text("\n".join(lines) + "\n")
        env = {} if self.has_limits else write_openssl_conf(workdir)
        command = [*_unprivileged(workdir, "proxy"), "squid", "-N", "-d", "1", "-f", path]
        return [spawn(command, workdir=workdir, env=env)]

    def _allow(self, stage: Stage) -> list[str]:
        ports = (443,) if self.only_port_443 else stage.allowed_ports
        lines = []
        if ports is not None:
            lines += ["acl ssl_ports port " + " ".join(map(str, ports)), "http_access deny CONNECT !ssl_ports"]
        who = " known" if self.scheme is not None else ""
        return [*lines, f"http_access allow loopback{who}", "http_access deny all"]

    def _ask(self, stage: Stage) -> list[str]:
        if self.scheme is None:
            return []
        lines = {
            Scheme.BASIC: _squid_basic,
            Scheme.DIGEST: _squid_digest,
            Scheme.NEGOTIATE: _squid_negotiate,
        }[self.scheme](stage.workdir, self.credentials)
        return [*lines, "acl known proxy_auth REQUIRED"]


def _cert_option(kind: Squid) -> str:
    # An HTTPS port with ssl-bump signs with the certificate that it shows: Squid takes one for both.
    return "" if kind.upgrade is Upgrade.HTTPS_CONNECT else "tls-cert={authority}"


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
