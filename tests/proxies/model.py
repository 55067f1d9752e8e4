"""Real forward and reverse proxies on loopback, and what is known of each from independent tools."""

from __future__ import annotations

import abc
import contextlib
import random
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scanner.model.outbound import PathKind
from scanner.model.subjects import Upgrade
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from tests.lab.model import LabError, ServerProcess, _Undertaker
from tests.proxies.certs import SERVER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.requirements import Requirement
    from tests.proxies.certs import ProxyCertificates

_POLL_S = 0.02
# Below Linux's ephemeral range: no outgoing connection can be sitting on one.
# And outside the lab's ports (tests.lab.model), some of whose servers need theirs free on every address.
_PORTS = range(19_000, 20_000)
_START_S = 20.0


class Side(StrEnum):
    """Who chooses the destination."""

    FORWARD = "forward"
    """The client, by CONNECT or SOCKS."""
    REVERSE = "reverse"
    """The proxy's configuration: its back end."""


class OpensAt(StrEnum):
    """What a re-encrypting proxy must have got from the client before it opens its own connection with TLS."""

    ASKED = "asked"
    """The CONNECT, or the SOCKS request."""
    HELLO = "hello"
    """The client's ClientHello; the client's handshake ends only after the proxy's own did."""
    HANDSHAKE = "handshake"
    """The client's whole handshake, but no request."""
    REQUEST = "request"
    """A request inside the client's TLS: a handshake alone reaches nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Throw-away user and password."""

    user: str = "lab-user"
    password: str = "lab-secret-7f3a"


def versions(*accepted: TlsVersion) -> dict[TlsVersion, bool | None]:
    """Return every version's truth where exactly these are accepted."""
    return {version: version in accepted for version in ALL_VERSIONS}


NOT_DETERMINABLE: Mapping[TlsVersion, bool | None] = dict.fromkeys(ALL_VERSIONS)
"""Nobody could tell: the proxy is not an end of TLS, or nothing gets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The truth about one configuration, held against the wire by test_proxies_truth.py."""

    path: PathKind
    """What it does to TLS (TUNNEL, RE_ENCRYPTS, BLOCKED)."""
    outbound: Mapping[TlsVersion, bool | None] = field(default_factory=lambda: dict(NOT_DETERMINABLE))
    """Whether its own client side completes each version; None: not determinable."""
    inbound: Mapping[TlsVersion, bool | None] = field(default_factory=lambda: dict(NOT_DETERMINABLE))
    """Which versions a client can use: of its interception side (forward) or its front (reverse)."""
    mirrors: bool | None = None
    """Whether its own offer depends on the client's."""
    declined: int | None = None
    """HTTP status of its refusal, or SOCKS reply; None where it refuses otherwise."""
    says_open: bool = False
    """Whether a BLOCKED way was called open first (a 200, then nothing comes through)."""
    front: Mapping[TlsVersion, bool | None] | None = None
    """Versions of an HTTPS proxy's own listener; None for every other proxy."""
    opens_at: OpensAt | None = None
    """When its own handshake begins, for RE_ENCRYPTS."""
    passes_server_name: bool | None = None
    """Whether its ClientHello has the client's SNI (a reverse proxy: the configured one), for RE_ENCRYPTS."""
    verifies: bool = False
    """Whether it verifies the server's certificate (trusts the origins' CA only)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a proxy is started with."""

    workdir: Path
    """Its own directory, which everyone can read."""
    address: str
    port: int
    spare_ports: tuple[int, ...]
    """More free ports of ``address``, for parts in front of or behind it."""
    certificates: ProxyCertificates
    backend: tuple[str, int] | None
    """Address and port that a reverse proxy connects to."""
    server_name: str
    """SNI that a reverse proxy sends."""
    allowed_ports: tuple[int, ...] | None
    """Ports a forward proxy may be asked for; None: as its configuration says."""


class Part(Protocol):
    """One running process or thread of a proxy."""

    def stop(self) -> None:
        """End it, politely first, then for certain; return when it is gone."""

    def log_tail(self) -> str:
        """Return the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyKind(abc.ABC):
    """One configuration of one product."""

    name: str
    """Unique, such as ``squid-bump``."""
    product: str
    """Product and TLS stack for people."""
    side: Side = Side.FORWARD
    upgrade: Upgrade = Upgrade.HTTP_CONNECT
    """How a client asks it; NONE for reverse proxies."""
    config: str = ""
    """The configuration lines that make it what it is."""
    credentials: Credentials | None = None
    """What it demands."""
    expected: Expected
    requires: tuple[Requirement, ...] = ()
    notes: str = ""
    """What is odd about it, as seen."""

    @abc.abstractmethod
    def start(self, stage: Stage) -> list[Part]:
        """Start it on the stage's address and port without waiting for it."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProxy:
    """One started proxy."""

    kind: ProxyKind
    address: str
    port: int
    certificates: ProxyCertificates
    parts: tuple[Part, ...]

    @property
    def upgrade(self) -> Upgrade:
        """How a client asks it."""
        return self.kind.upgrade

    @property
    def credentials(self) -> Credentials | None:
        """What it demands."""
        return self.kind.credentials

    @property
    def expected(self) -> Expected:
        """The truth about it."""
        return self.kind.expected

    def log_tail(self) -> str:
        """Return the end of what its processes said."""
        return "\n".join(part.log_tail() for part in self.parts)

    def trigger(self, server_name: str, *, timeout_s: float = 10.0) -> str:
        """Make a reverse proxy open a connection to its back end: one request by curl; return what curl got or said."""
        if self.kind.side is not Side.REVERSE:
            raise LabError(f"{self.kind.name} is no reverse proxy: a client asks it by {self.upgrade}")
        command = ["curl", "-sSk", "--noproxy", "*", "--max-time", str(timeout_s), "--ciphers", "ALL:@SECLEVEL=0"]
        command += ["--connect-to", f"::{self.address}:{self.port}", f"https://{server_name}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s + 5)
        return done.stdout + done.stderr


@contextlib.contextmanager
def running(
    kind: ProxyKind,
    *,
    certificates: ProxyCertificates,
    backend: tuple[str, int] | None = None,
    server_name: str = SERVER_NAME,
    allowed_ports: tuple[int, ...] | None = None,
) -> Iterator[RunningProxy]:
    """Start one proxy on an address of its own below 127.64.0.0/10, yield it once it accepts, end it.

    ``backend`` is required of reverse proxies. Raises LabError with the proxy's log where it does not come up.
    """
    if kind.side is Side.REVERSE and backend is None:
        raise LabError(f"{kind.name} needs a back end")
    address = f"127.{random.randint(64, 127)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    ports = _free_ports(address, 4)
    workdir = Path(tempfile.mkdtemp(prefix=f"proxy-{kind.name}-"))
    workdir.chmod(0o755)
    stage = Stage(
        workdir=workdir,
        address=address,
        port=ports[0],
        spare_ports=ports[1:],
        certificates=certificates,
        backend=backend,
        server_name=server_name,
        allowed_ports=allowed_ports,
    )
    parts: list[Part] = []
    with _Undertaker() as undertaker:
        try:
            parts += kind.start(stage)
            for part in parts:
                if isinstance(part, ServerProcess):
                    undertaker.watch(part)
            # The last part is the one that a client reaches.
            await_port(address, stage.port, parts[-1])
            yield RunningProxy(
                kind=kind, address=address, port=stage.port, certificates=certificates, parts=tuple(parts)
            )
        finally:
            for part in reversed(parts):
                part.stop()
            shutil.rmtree(workdir, ignore_errors=True)


def _free_ports(address: str, count: int) -> tuple[int, ...]:
    found: list[int] = []
    for port in random.sample(_PORTS, 200):
        with socket.socket() as listener:
            try:
                listener.bind((address, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return tuple(found)
    raise LabError(f"found no {count} free ports on {address}")


def await_port(address: str, port: int, part: Part) -> None:
    """Return once it accepts there; raises LabError with its log where it does not."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if isinstance(part, ServerProcess) and part.popen.poll() is not None:
            raise LabError(f"it ended with {part.popen.returncode}:\n{part.log_tail()}")
        try:
            with socket.create_connection((address, port), timeout=1):
                return
        except OSError:
            time.sleep(_POLL_S)
    raise LabError(f"nobody accepts on {address}:{port}:\n{part.log_tail()}")
