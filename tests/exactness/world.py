"""A /16 in a network namespace: 655 TLS servers of known versions, resets, silence and lost packets.

Two namespaces with a veth pair between them: the scanner's, and the servers', where each address of the block is local.
One nginx answers; nftables decides which addresses reach it, which are reset and which stay silent. Needs root.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scanner.model.versions import TlsVersion
from tests.lab.model import spawn
from tests.lab.openssl_factories import write_openssl_conf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.lab.certs import Certificates
    from tests.lab.model import ServerProcess

BLOCK = ipaddress.IPv4Network("10.77.0.0/16")
PORT = 443
LISTENER_COUNT = 655
"""1 % of the block."""
RESET_SHARE = 0.20
LOSS_PERCENT = 5
"""Of the packets in each direction."""

_LINK = ipaddress.IPv4Network("10.76.255.0/30")
_SCANNER_ADDRESS, _SERVER_ADDRESS = (str(address) for address in _LINK.hosts())
_NAMESPACE = re.compile(r"entra-exact-(\d+)-(?:scan|serve)")
_COMMAND_S = 60.0
_READY_S = 20.0
_POLL_S = 0.05
_FORGET_S = 3600
"""How long nft remembers a connection: longer than any test."""

TLS1_0, TLS1_1, TLS1_2, TLS1_3 = TlsVersion.TLS1_0, TlsVersion.TLS1_1, TlsVersion.TLS1_2, TlsVersion.TLS1_3
_NGINX_NAMES = {TLS1_0: "TLSv1", TLS1_1: "TLSv1.1", TLS1_2: "TLSv1.2", TLS1_3: "TLSv1.3"}

MIXES: tuple[tuple[frozenset[TlsVersion], str], ...] = (
    (frozenset({TLS1_2}), "rsa2048"),
    (frozenset({TLS1_2, TLS1_3}), "p256"),
    (frozenset({TLS1_0, TLS1_1, TLS1_2}), "rsa2048"),
    (frozenset({TLS1_0, TLS1_1, TLS1_2, TLS1_3}), "p256"),
)
"""What a server has enabled and which certificate of the lab it shows; each for a quarter of the servers."""


class Arrival(NamedTuple):
    """A connection as the servers' kernel saw it begin."""

    address: str
    """Which address it was for."""
    at: float
    """When its first SYN came; time.monotonic()."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The running world and the truth about it."""

    scanner_namespace: str
    server_namespace: str
    truth: dict[str, frozenset[TlsVersion]]
    """Address -> versions that its server has enabled. Every other address has no server."""
    resetting: frozenset[str]
    """Addresses that answer a SYN with a reset."""

    def truth_in(self, block: str) -> dict[str, frozenset[TlsVersion]]:
        """Return the truth about a part of the block."""
        network = ipaddress.IPv4Network(block)
        return {
            address: enabled for address, enabled in self.truth.items() if ipaddress.IPv4Address(address) in network
        }

    def resetting_in(self, block: str) -> frozenset[str]:
        """Return the addresses of a part of the block that reset."""
        network = ipaddress.IPv4Network(block)
        return frozenset(address for address in self.resetting if ipaddress.IPv4Address(address) in network)

    def in_scanner(self, command: Sequence[str | Path]) -> list[str]:
        """Return command as it runs where the scanner is; it ends with the process that starts it."""
        return [*_DIES_WITH_US, "ip", "netns", "exec", self.scanner_namespace, *map(str, command)]

    def forget_arrivals(self) -> None:
        """Begin to count anew."""
        _run("ip", "netns", "exec", self.server_namespace, "nft", "flush", "set", "inet", "exact", "arrivals")

    def arrivals(self) -> list[Arrival]:
        """Return all connections since forget_arrivals, in order of time (exact to the second that a listing takes).

        Seen before any packet is lost; a SYN that TCP sends again has the same sequence number and counts once.
        """
        began_at = time.monotonic()
        listing = _run("ip", "netns", "exec", self.server_namespace, "nft", "list", "set", "inet", "exact", "arrivals")
        found = [
            Arrival(address, began_at - _FORGET_S + _parse_duration_s(expires))
            for address, expires in re.findall(r"([\d.]+) \. \d+ expires (\w+)", listing)
        ]
        return sorted(found, key=lambda arrival: arrival.at)

    def scanner_pids(self) -> list[int]:
        """Return the processes that run in the scanner's namespace."""
        return [int(pid) for pid in _run("ip", "netns", "pids", self.scanner_namespace).split()]


_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""Without this, a test run that is killed would leave processes behind."""


def absent() -> tuple[str, ...]:
    """Return why no world can be built on this machine; empty where it can."""
    if not sys.platform.startswith("linux"):
        return ("network namespaces are Linux's",)
    if os.geteuid() != 0:
        return ("root's rights are needed",)
    programs = ("ip", "nft", "nginx", "setpriv", "openssl")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = tuple(f"{name} is not installed" for name in programs if shutil.which(name, path=path) is None)
    if missing:
        return missing
    _bury_the_dead()
    name = f"entra-exact-{os.getpid()}-scan"
    try:
        _run("ip", "netns", "add", name)
        # Listing is not enough: the kernel may lack nftables.
        _run("ip", "netns", "exec", name, "nft", "add", "table", "inet", "probe")
    except WorldError as error:
        return (f"no network namespace with nftables can be made: {error}",)
    finally:
        _delete(name)
    return ()


class WorldError(Exception):
    """The world could not be built; the text says which command failed and how."""


@contextlib.contextmanager
def running_world(workdir: Path, certificates: Certificates, *, seed: int) -> Iterator[World]:
    """Build the world, yield it, and take it down whatever happens. The same seed gives the same truth."""
    _bury_the_dead()
    truth, resetting = _plan(seed)
    scanner, server = (f"entra-exact-{os.getpid()}-{role}" for role in ("scan", "serve"))
    with contextlib.ExitStack() as stack:
        for name in (scanner, server):
            stack.callback(_delete, name)
            _run("ip", "netns", "add", name)
        _connect(scanner, server)
        rules = workdir / "rules.nft"
        rules.write_text(_server_rules(truth, resetting))
        _run("ip", "netns", "exec", server, "nft", "-f", str(rules))
        _run("ip", "netns", "exec", scanner, "nft", "-f", "-", text=_loss_rules())
        process = _start_nginx(workdir, server, truth, certificates)
        stack.callback(process.stop)
        world = World(scanner_namespace=scanner, server_namespace=server, truth=truth, resetting=resetting)
        _await_answer(world, process)
        yield world


def _plan(seed: int) -> tuple[dict[str, frozenset[TlsVersion]], frozenset[str]]:
    chance = random.Random(seed)
    # A block's first and last address are not asked (docs/targets.md).
    numbers = range(int(BLOCK[1]), int(BLOCK[-1]))
    listening = chance.sample(numbers, LISTENER_COUNT)
    truth = {str(ipaddress.IPv4Address(number)): MIXES[at % len(MIXES)][0] for at, number in enumerate(listening)}
    others = [number for number in numbers if str(ipaddress.IPv4Address(number)) not in truth]
    resetting = chance.sample(others, int(len(others) * RESET_SHARE))
    return truth, frozenset(str(ipaddress.IPv4Address(number)) for number in resetting)


def _connect(scanner: str, server: str) -> None:
    _run("ip", "link", "add", "veth0", "netns", scanner, "type", "veth", "peer", "name", "veth0", "netns", server)
    for namespace, address in ((scanner, _SCANNER_ADDRESS), (server, _SERVER_ADDRESS)):
        _run("ip", "-n", namespace, "address", "add", f"{address}/{_LINK.prefixlen}", "dev", "veth0")
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        _run("ip", "-n", namespace, "link", "set", "veth0", "up")
    _run("ip", "-n", scanner, "route", "add", str(BLOCK), "via", _SERVER_ADDRESS)
    _run("ip", "-n", server, "route", "add", "local", str(BLOCK), "dev", "lo")


def _loss_rules() -> str:
    # On the way in and not on the way out, where the sender would be told. Named by the veth: loopback loses nothing.
    return (
        "table inet exact {\n"
        "  chain loss {\n"
        "    type filter hook prerouting priority -300;\n"
        f'    iifname "veth0" numgen random mod 100 < {LOSS_PERCENT} counter drop\n'
        "  }\n"
        "}\n"
    )


def _server_rules(truth: Iterable[str], resetting: Iterable[str]) -> str:
    return (
        "table inet exact {\n"
        "  set arrivals {\n"
        "    typeof ip daddr . tcp sequence; flags dynamic, timeout;\n"
        f"    timeout {_FORGET_S}s; size 2000000;\n"
        "  }\n"
        f"  set listening {{ type ipv4_addr; elements = {{ {', '.join(truth)} }} }}\n"
        f"  set resetting {{ type ipv4_addr; elements = {{ {', '.join(resetting)} }} }}\n"
        "  chain arrive {\n"
        # Before the loss, so that every connection is seen. An element that is there keeps its time.
        "    type filter hook prerouting priority -310;\n"
        f"    ip daddr {BLOCK} tcp flags & (syn | ack) == syn add @arrivals {{ ip daddr . tcp sequence }}\n"
        "  }\n"
        "  chain admit {\n"
        "    type filter hook input priority 0;\n"
        f"    ip daddr @listening tcp dport {PORT} accept\n"
        "    ip daddr @resetting meta l4proto tcp reject with tcp reset\n"
        f"    ip daddr {BLOCK} drop\n"
        "  }\n"
        "}\n"
    ) + _loss_rules()


def _start_nginx(
    workdir: Path, namespace: str, truth: dict[str, frozenset[TlsVersion]], certificates: Certificates
) -> ServerProcess:
    lines = [
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 8192;",
        f"pid {workdir}/nginx.pid; error_log stderr crit;",
        "events { worker_connections 4096; }",
        "http { access_log off; ssl_session_cache off;",
        *(f"{part}_temp_path {workdir}/{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
        # nginx binds only this one and tells the others apart by the address that a connection came to.
        f"server {{ listen {PORT} ssl backlog=4096; ssl_reject_handshake on; }}",
    ]
    for enabled, leaf_name in MIXES:
        leaf = getattr(certificates, leaf_name)
        protocols = " ".join(_NGINX_NAMES[version] for version in sorted(enabled))
        lines += [
            "server {",
            *(f"listen {address}:{PORT} ssl;" for address, versions in truth.items() if versions == enabled),
            f"ssl_certificate {leaf.chain}; ssl_certificate_key {leaf.key};",
            f"ssl_protocols {protocols}; ssl_ciphers ALL:@SECLEVEL=0; return 200 exact; }}",
        ]
    path = workdir / "nginx.conf"
    path.write_text("\n".join([*lines, "}"]) + "\n")
    command = [*_DIES_WITH_US, "ip", "netns", "exec", namespace, "nginx", "-p", workdir, "-c", path, "-e", "stderr"]
    return spawn(command, workdir=workdir, env=write_openssl_conf(workdir))


def _await_answer(world: World, process: ServerProcess) -> None:
    address = next(iter(world.truth))
    script = f"import socket; socket.create_connection(({address!r}, {PORT}), 5).close()"
    command = world.in_scanner([sys.executable, "-c", script])
    deadline = time.monotonic() + _READY_S
    while process.popen.poll() is None and time.monotonic() < deadline:
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(_POLL_S)
    raise WorldError(f"nginx does not answer:\n{process.log_tail()}")


def _bury_the_dead() -> None:
    """Remove what runs that were killed have left."""
    for name in _run("ip", "netns", "list").split():
        match = _NAMESPACE.fullmatch(name)
        if match and not Path("/proc", match[1]).exists():
            _delete(name)


def _delete(namespace: str) -> None:
    """Remove a namespace and end everything in it; nothing happens where there is none."""
    with contextlib.suppress(WorldError):
        for pid in _run("ip", "netns", "pids", namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _run("ip", "netns", "delete", namespace)


def _run(*command: str, text: str | None = None) -> str:
    """Run a command and return its output. Raises WorldError."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=_COMMAND_S,
            env={**os.environ, "PATH": path},
        )
    except subprocess.CalledProcessError as error:
        raise WorldError(f"{' '.join(command)}: {error.stderr.strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorldError(f"{' '.join(command)}: {error}") from error
    return done.stdout


_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _parse_duration_s(text: str) -> float:
    """Return the seconds of nft's ``59m58s120ms``."""
    return sum(int(number) * _UNIT_S[unit] for number, unit in re.findall(r"(\d+)(ms|[dhms])", text))
