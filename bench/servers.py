"""nginx on every loopback address, with a known set of versions: what every tool in a run is asked about."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bench.programs import find_program

ALL_VERSIONS = ("SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3")
FIRST_ADDRESS = IPv4Address("127.1.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration of nginx."""

    id: str
    title: str
    protocols: str
    """nginx's ssl_protocols."""
    versions: frozenset[str]
    """What these protocols mean, in ALL_VERSIONS' names: the truth that every answer is held against."""
    is_ecdsa: bool


ROWS = (
    Row(
        id="rsa",
        title="RSA-2048, TLS 1.0 to 1.3",
        protocols="TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
        versions=frozenset({"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"}),
        is_ecdsa=False,
    ),
    Row(
        id="ecdsa",
        title="ECDSA P-256, TLS 1.2 and 1.3",
        protocols="TLSv1.2 TLSv1.3",
        versions=frozenset({"TLS1.2", "TLS1.3"}),
        is_ecdsa=True,
    ),
)

_CONFIG = """
daemon off;
master_process on;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    {listen}
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_protocols {protocols};
    ssl_ciphers ALL:@SECLEVEL=0;
    ssl_session_cache off;
    ssl_session_tickets off;
    return 204;
  }}
}}
"""


def addresses(count: int) -> list[str]:
    """Return the first `count` listeners: addresses of 127.1.0.0/16, one after the other."""
    return [str(FIRST_ADDRESS + at) for at in range(count)]


def client_core() -> set[int]:
    return {min(os.sched_getaffinity(0))}


def server_core() -> set[int]:
    """Return a core the clients do not use; where there is only one, that one."""
    return {max(os.sched_getaffinity(0))}


def pin_to(cores: set[int]) -> Callable[[], None]:
    """Return what a child process calls to run on these cores only."""
    return lambda: os.sched_setaffinity(0, cores)


def _write_certificate(folder: Path, *, is_ecdsa: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if is_ecdsa else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench.example")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bench.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def render_config(row: Row, port: int, folder: Path, only: Sequence[str]) -> str:
    """Return nginx's configuration."""
    listen = "\n    ".join(f"listen {address}:{port} ssl backlog=4096;" for address in only or ["0.0.0.0"])
    # Each address is a descriptor and a connection of nginx's own.
    connections = 8192 + len(only)
    return _CONFIG.format(
        folder=folder,
        listen=listen,
        protocols=row.protocols,
        connections=connections,
        descriptors=connections + 1024,
    )


@contextmanager
def running_nginx(
    row: Row, port: int, *, only: Sequence[str] = (), ready_at: str = str(FIRST_ADDRESS)
) -> Iterator[None]:
    """Run nginx at a port until the block ends; one worker, on a core of its own.

    It listens on all loopback addresses, or on these only: then the others refuse. ready_at: an address that is asked
    whether it is up.
    """
    nginx = find_program("nginx")
    if nginx is None:
        raise SystemExit("bench needs nginx: run `make lab` (Debian: apt-get install nginx-light)")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise SystemExit(f"port {port} is taken; give another with --port") from error
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _write_certificate(folder, is_ecdsa=row.is_ecdsa)
        config = folder / "nginx.conf"
        config.write_text(render_config(row, port, folder, only))
        process = subprocess.Popen(
            [nginx, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
            stderr=subprocess.PIPE,
            preexec_fn=pin_to(server_core()),  # noqa: PLW1509  # no threads here
        )
        try:
            _wait(process, only[0] if only else ready_at, port)
            yield
        finally:
            process.terminate()
            process.wait(10)


def _wait(process: subprocess.Popen[bytes], address: str, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"nginx ended: {process.stderr.read().decode()}")
        try:
            with socket.create_connection((address, port), 2) as sock, context.wrap_socket(sock):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("nginx does not answer")
