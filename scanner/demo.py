"""Embedded servers for ``entra-tls demo``: small, real, on loopback, each set up in its own way."""

from __future__ import annotations

import socketserver
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scanner.model.runs import Resolution
from scanner.model.subjects import Role, Target

ADDRESS = "127.0.0.1"
ADFS_NAME = "sts.demo.example"
_DOMAIN = ".demo.example"

_PATIENCE_S = 10.0
"""Seconds a server waits for its visitor."""

_METADATA_PATH = "/FederationMetadata/2007-06/FederationMetadata.xml"
_METADATA = (
    '<?xml version="1.0" encoding="utf-8"?>'
    f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="http://{ADFS_NAME}/adfs/services/trust">'
    '<RoleDescriptor xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706" xsi:type="fed:SecurityTokenServiceType" '
    'protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706"/></EntityDescriptor>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoHost:
    """One host of the demo."""

    name: str
    """DNS name; the demo's own resolver leads it to loopback."""
    about: str
    """How it is set up, for people."""
    low: ssl.TLSVersion | None
    """Lowest version; None for a host that never answers."""
    high: ssl.TLSVersion | None
    """Highest version."""
    without: ssl.Options = ssl.Options(0)  # noqa: RUF009  # an immutable flag
    """Versions in between that are off."""
    role: Role = Role.SERVER
    """Role of its target."""


HOSTS: tuple[DemoHost, ...] = (
    DemoHost(
        name="ready.demo.example",
        about="TLS 1.2 and 1.3, as it should be",
        low=ssl.TLSVersion.TLSv1_2,
        high=ssl.TLSVersion.TLSv1_3,
    ),
    DemoHost(
        name="old.demo.example",
        about="TLS 1.0 and 1.1 only: devices can't register through it",
        low=ssl.TLSVersion.TLSv1,
        high=ssl.TLSVersion.TLSv1_1,
        role=Role.REVERSE_PROXY,
    ),
    DemoHost(
        name="hole.demo.example",
        about="TLS 1.0 and 1.2, but not 1.1: ready, with an old version to turn off",
        low=ssl.TLSVersion.TLSv1,
        high=ssl.TLSVersion.TLSv1_2,
        without=ssl.OP_NO_TLSv1_1,
    ),
    DemoHost(name="silent.demo.example", about="accepts connections and never answers", low=None, high=None),
    DemoHost(
        name=ADFS_NAME,
        about="looks like AD FS: needs its name, serves federation metadata, has a second port",
        low=ssl.TLSVersion.TLSv1_2,
        high=ssl.TLSVersion.TLSv1_2,
        role=Role.ADFS,
    ),
)


class DemoResolver:
    """Leads the demo's names to loopback; asks nobody."""

    async def resolve(self, name: str, *, want_cname: bool = False) -> Resolution:  # noqa: ARG002  # Resolver's shape
        """See scanner.net.resolve.Resolver."""
        if name.endswith(_DOMAIN):
            return Resolution(addresses=(ADDRESS,))
        return Resolution(error="not a name of the demo")


@contextmanager
def running_demo() -> Iterator[tuple[Target, ...]]:
    """Start the servers, each in a thread of its own; yield the targets. Raises OSError where a port can't be had."""
    with tempfile.TemporaryDirectory(prefix="entra-tls-demo-") as folder, ExitStack() as stack:
        targets = []
        for host in HOSTS:
            context = None if host.low is None else _context(host, Path(folder))
            port_count = 2 if host.role is Role.ADFS else 1
            ports = [stack.enter_context(_serving(host, context)) for _ in range(port_count)]
            targets.append(
                Target(
                    text=f"{host.name} (demo: {host.about})",
                    host=host.name,
                    role=host.role,
                    ports=(ports[0],),
                    optional_ports=tuple(ports[1:]),
                    tags=("demo",),
                    locator="demo",
                )
            )
        yield tuple(targets)


@contextmanager
def _serving(host: DemoHost, context: ssl.SSLContext | None) -> Iterator[int]:
    """Serve one host on a free port until the end; yield the port."""
    with _Server(host, context) as server:
        thread = threading.Thread(target=server.serve_forever, name=f"demo-{host.name}", kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.is_over.set()
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False  # joined by server_close, so that nothing of the demo outlives it
    request_queue_size = 64

    def __init__(self, host: DemoHost, context: ssl.SSLContext | None) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self.context = context
        self.pages = {_METADATA_PATH: _METADATA.encode()} if host.role is Role.ADFS else {}
        self.is_over = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: most visitors hang up after the ServerHello, which is what the demo is about."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Handshake, answer one GET, close; or, for the silent host, say nothing."""
        self.request.settimeout(_PATIENCE_S)
        if self.server.context is None:
            self.server.is_over.wait(_PATIENCE_S)
            return
        with self.server.context.wrap_socket(self.request, server_side=True) as peer:
            head = b""
            while b"\r\n\r\n" not in head and (piece := peer.recv(4096)):
                head += piece
            words = head.split(b" ", 2)
            page = self.server.pages.get(words[1].decode("latin-1")) if len(words) > 1 else None
            status = b"404 Not Found" if page is None else b"200 OK"
            body = page or b""
            peer.sendall(
                b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)
            )


def _context(host: DemoHost, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL 3 has TLS 1.0 and 1.1 only at security level 0.
    context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # Python warns of old versions and of the options that turn single ones off: here they are on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        if host.low is not None and host.high is not None:
            context.minimum_version = host.low
            context.maximum_version = host.high
        context.options |= host.without
    context.load_cert_chain(write_certificate(host.name, folder))
    if host.role is Role.ADFS:

        def require_name(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            return None if name == host.name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        context.sni_callback = require_name
    return context


def write_certificate(name: str, folder: Path) -> Path:
    """Write a self-signed certificate for name with its key into folder; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "entra-tls demo, not a real authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
