"""Real TLS servers on loopback whose enabled versions are known from their own configuration."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from scanner.model.versions import ALL_VERSIONS, TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.lab.certs import Certificates
    from tests.lab.requirements import Requirement

# Ports below Linux's ephemeral range (32768 up): an outgoing connection can never be sitting on one.
_FIRST_PORT = 20_000
_LAST_PORT = 32_000
_BLOCK_PORTS = 400
_POLL_S = 0.02
_STOP_S = 3.0
_LOG_TAIL_BYTES = 4_000

Versions = frozenset[TlsVersion]

SSL2 = TlsVersion.SSL2
SSL3 = TlsVersion.SSL3
TLS1_0 = TlsVersion.TLS1_0
TLS1_1 = TlsVersion.TLS1_1
TLS1_2 = TlsVersion.TLS1_2
TLS1_3 = TlsVersion.TLS1_3


class LabError(Exception):
    """A server did not start; the text holds its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientNeeds:
    """What an independent client must bring to complete a handshake (see test_truth.py)."""

    ciphers: str | None = None
    """OpenSSL cipher string for TLS 1.2 and older; None for everything the client has."""
    tls13_ciphers: str | None = None
    """OpenSSL names of the TLS 1.3 suites; None for everything the client has."""
    groups: str | None = None
    """OpenSSL names of the groups; None for the client's own defaults."""
    psk: str | None = None
    """External pre-shared key in hex (identity ``Client_identity``), or None."""
    client_certificate: bool = False
    """True where the server insists on a certificate signed by the lab's CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabServer:
    """One running listener and the truth about it."""

    name: str
    """Unique in the lab, such as ``nginx-hole``."""
    stack: str
    """TLS stack and product for people, such as ``nginx, OpenSSL 3.0``."""
    address: str = "127.0.0.1"
    """Address it listens on."""
    port: int
    """Port it listens on."""
    server_name: str | None = None
    """SNI that a client should send, or None for none."""
    enabled: Versions
    """Versions it accepts; every other one is disabled."""
    notes: str = ""
    """What is odd about it."""
    config: str
    """The configuration lines that make it so."""
    verify: ClientNeeds = field(default_factory=ClientNeeds)
    """What an independent client needs to confirm the enabled versions."""

    @property
    def disabled(self) -> Versions:
        """The versions it must refuse."""
        return frozenset(ALL_VERSIONS) - self.enabled


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A started server: the leader of its own process group, its output in a file."""

    popen: subprocess.Popen[bytes]
    log: Path

    def log_tail(self) -> str:
        """Return the end of its output."""
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")

    def stop(self) -> None:
        """End the whole process group: politely first, so that children go too, then for certain."""
        for number, wait_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(wait_s)


def spawn(
    command: Sequence[str | Path], *, workdir: Path, env: Mapping[str, str] | None = None, stdin_open: bool = False
) -> ServerProcess:
    """Start a server in the foreground in ``workdir`` with ``env`` added to the environment.

    ``stdin_open`` keeps a pipe open for programs that end with their standard input.
    """
    log = workdir / "server.log"
    # Debian keeps servers in sbin, which an ordinary user's PATH lacks.
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [str(part) for part in command],
            cwd=workdir,
            env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.PIPE if stdin_open else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return ServerProcess(popen=popen, log=log)


class _Undertaker:
    """Ends the servers of a test run that is killed outright: a child that sees its standard input end with the run."""

    _SCRIPT = 'groups=; while read -r group; do groups="$groups -$group"; done; kill -s KILL -- $groups'

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            ["sh", "-c", self._SCRIPT], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def watch(self, process: ServerProcess) -> None:
        """Add a server's process group."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{process.popen.pid}\n".encode())
        self._popen.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Without effect: the servers are gone, and their numbers may belong to others by now.
        self._popen.kill()
        self._popen.communicate()


class ServerFactory(Protocol):
    """How one listener is made. One factory is one listener; registered in ``tests.lab.FACTORIES``."""

    @property
    def name(self) -> str:
        """Unique in the lab."""

    @property
    def stack(self) -> str:
        """TLS stack and product for people."""

    @property
    def enabled(self) -> Versions:
        """Versions the configuration allows."""

    @property
    def server_name(self) -> str | None:
        """SNI that a client should send, or None."""

    @property
    def notes(self) -> str:
        """What is odd about it."""

    @property
    def config(self) -> str:
        """The configuration lines that make it so."""

    @property
    def verify(self) -> ClientNeeds:
        """What an independent client needs."""

    @property
    def requires(self) -> tuple[Requirement, ...]:
        """What must be installed."""

    @property
    def start_s(self) -> float:
        """Longest time to wait until it accepts: 20, or 30 for Java."""

    def start(self, *, workdir: Path, address: str, port: int, certificates: Certificates) -> ServerProcess:
        """Start it on ``address:port`` without waiting; ``workdir`` is its own empty directory."""


@contextlib.contextmanager
def start_lab(
    factories: Sequence[ServerFactory], workdir: Path, certificates: Certificates, *, address: str = "127.0.0.1"
) -> Iterator[list[LabServer]]:
    """Start every factory's server side by side, yield them once all accept, stop them all at the end.

    Raises LabError with the server's log when one does not come up. Nothing is left running in any case.
    """
    running: list[ServerProcess] = []
    with _claim_ports(len(factories), address) as ports, _Undertaker() as undertaker:
        try:
            started: list[tuple[ServerFactory, int, ServerProcess]] = []
            for factory, port in zip(factories, ports, strict=True):
                home = workdir / factory.name
                home.mkdir(parents=True)
                process = factory.start(workdir=home, address=address, port=port, certificates=certificates)
                running.append(process)
                undertaker.watch(process)
                started.append((factory, port, process))
            for factory, port, process in started:
                _await_listening(factory, address, port, process)
            yield [_describe(factory, address, port) for factory, port, _ in started]
        finally:
            for process in running:
                # All get the signal first, so that they end side by side.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.popen.pid, signal.SIGTERM)
            for process in running:
                process.stop()


def _describe(factory: ServerFactory, address: str, port: int) -> LabServer:
    return LabServer(
        name=factory.name,
        stack=factory.stack,
        address=address,
        port=port,
        server_name=factory.server_name,
        enabled=factory.enabled,
        notes=factory.notes,
        config=factory.config,
        verify=factory.verify,
    )


@contextlib.contextmanager
def _claim_ports(count: int, address: str) -> Iterator[list[int]]:
    """Yield ``count`` free ports of a block that no other lab on this machine uses meanwhile.

    Two labs that start at once would otherwise pick ports that are free but about to be taken, and measure each other's
    servers. Who has bound a block's first port has the block.
    """
    blocks = list(range(_FIRST_PORT, _LAST_PORT, _BLOCK_PORTS))
    random.shuffle(blocks)
    for first in blocks:
        with socket.socket() as guard:
            if not _can_bind(guard, address, first):
                continue
            ports = [port for port in range(first + 1, first + _BLOCK_PORTS) if _is_free(address, port)]
            if len(ports) >= count:
                yield ports[:count]
                return
    raise LabError(f"found no {count} free ports")


def _can_bind(listener: socket.socket, address: str, port: int) -> bool:
    try:
        listener.bind((address, port))
    except OSError:
        return False
    return True


def _is_free(address: str, port: int) -> bool:
    """Whether nobody has the port, on any address: some servers can't be told one and listen on all."""
    for where in (address, "0.0.0.0"):
        with socket.socket() as listener:
            if not _can_bind(listener, where, port):
                return False
    return True


def _await_listening(factory: ServerFactory, address: str, port: int, process: ServerProcess) -> None:
    deadline = time.monotonic() + factory.start_s
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise LabError(f"{factory.name} ended with {process.popen.returncode}:\n{process.log_tail()}")
        try:
            with socket.create_connection((address, port), timeout=1):
                pass
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
    raise LabError(f"{factory.name} does not accept on {address}:{port}:\n{process.log_tail()}")
