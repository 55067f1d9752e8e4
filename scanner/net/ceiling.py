"""What this machine allows: open files, connection tracking, memory; in numbers for the scan and in words for its user.

Linux tells all of it; elsewhere most is unknown, and what is unknown bounds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

RESERVED_FILES = 128
"""Open files a process needs beside its connections: store, reports, libraries, resolver."""
CONNECTION_BYTES = 8_192
"""Memory of one connection under way: 5.5 KB in the kernel, the rest ours and what is being received."""
PROCESS_BYTES = 150 * 2**20
"""Memory of one process without its connections."""

_NET_RAW_BIT = 13  # CAP_NET_RAW, capabilities(7)
_TRACKED_S = 120  # nf_conntrack_tcp_timeout_time_wait and _syn_sent, where they can't be read (kernel's defaults)
_NO_LIMIT_BYTES = 2**60  # cgroup v1 has no word for "no limit", only a very large number
_USUAL_FILES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found here. None: not known, or without limit."""

    open_files_soft: int | None = None
    """Open files a process may have (RLIMIT_NOFILE)."""
    open_files_hard: int | None = None
    """How far a process may raise that itself."""
    conntrack_max: int | None = None
    """Connections the kernel's connection tracking has room for, where it is loaded."""
    conntrack_count: int | None = None
    """Connections in it now. 0: it is loaded, but no rule uses it, and nothing is tracked."""
    conntrack_time_wait_s: int | None = None
    """How long it keeps a connection that was closed."""
    conntrack_syn_sent_s: int | None = None
    """How long it keeps a connection that was never answered."""
    local_ports: tuple[int, int] | None = None
    """First and last local port: so many connections to one address and port. To others they are used again."""
    has_net_raw: bool | None = None
    """Whether raw sockets may be opened (CAP_NET_RAW), for --syn."""
    memory_bytes: int | None = None
    """What may still be used: the control group's limit, or what the machine has available if that is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What a scan may ask of this machine."""

    in_flight: int
    """Connections at a time, in all processes together."""
    rate: float
    """Connections a second; 0 is no limit."""
    raise_nofile_to: int | None = None
    """To what each process has to raise its soft limit of open files (see ``apply``). None: it is enough."""
    notes: tuple[str, ...] = ()
    """One sentence or two for each bound that holds: what was found, what it limits, what to set."""


def plan_ceiling(
    machine: Machine, *, in_flight: int, rate: float, processes: int, connections: int | None = None
) -> Ceiling:
    """Bound what was asked for by what the machine allows.

    in_flight: at a time, in all processes together. rate: a second; 0 is no limit. connections: how many there will be
    in all, if that is known: a short scan may go faster than connection tracking could bear for long.
    """
    notes: list[str] = []
    in_flight, raise_to = _bound_by_files(machine, in_flight, max(1, processes), notes)
    in_flight, rate = _bound_by_tracking(machine, in_flight, rate, connections, notes)
    in_flight = _bound_by_memory(machine, in_flight, max(1, processes), notes)
    return Ceiling(in_flight=in_flight, rate=rate, raise_nofile_to=raise_to, notes=tuple(notes))


def _bound_by_files(machine: Machine, in_flight: int, processes: int, notes: list[str]) -> tuple[int, int | None]:
    needed = math.ceil(in_flight / processes) + RESERVED_FILES
    if machine.open_files_soft is None or needed <= machine.open_files_soft:
        return in_flight, None
    hard = machine.open_files_hard
    if hard is None or needed <= hard:
        return in_flight, needed
    each = max(1, hard - RESERVED_FILES)
    allowed = min(in_flight, each * processes)
    wanted = max(_USUAL_FILES, _next_power(needed))
    whose = "" if processes == 1 else f" in each of {processes} processes, {allowed:,} in all"
    notes.append(
        f"open files are limited to {hard:,} (ulimit -Hn), so at most {each:,} connections at a time{whose}, not "
        f"{in_flight:,}; raise it with `ulimit -n {wanted}` (as root, or in /etc/security/limits.conf) or "
        f"`docker run --ulimit nofile={wanted}:{wanted}`"
        + ("" if processes > 1 else ", or use more processes (--processes)")
    )
    return allowed, hard if hard > machine.open_files_soft else None


def _bound_by_tracking(
    machine: Machine, in_flight: int, rate: float, connections: int | None, notes: list[str]
) -> tuple[int, float]:
    # Loaded and empty is usual: tracking begins with the first firewall rule that needs it. It then has at least the
    # connections of this machine's own services in it.
    if machine.conntrack_max is None or not machine.conntrack_count:
        return in_flight, rate
    room = max(0, machine.conntrack_max - machine.conntrack_count) // 2
    if connections is not None and connections <= room:
        return in_flight, rate
    kept_s = max(machine.conntrack_time_wait_s or _TRACKED_S, machine.conntrack_syn_sent_s or _TRACKED_S)
    most_rate = max(1.0, float(room // kept_s))
    is_slower = rate <= 0 or rate > most_rate
    allowed = max(1, min(in_flight, room))
    if not is_slower and allowed == in_flight:
        return in_flight, rate
    limited = []
    if is_slower:
        asked = "without a limit" if rate <= 0 else f"{rate:,.0f}"
        limited.append(f"{most_rate:,.0f} connections a second, not {asked}")
    if allowed < in_flight:
        limited.append(f"{allowed:,} connections at a time, not {in_flight:,}")
    needed = 2 * max(rate * kept_s, in_flight) if rate > 0 else 4 * machine.conntrack_max
    wanted = _next_power(machine.conntrack_count + needed)
    notes.append(
        f"the kernel's connection tracking has room for {machine.conntrack_max:,} connections, "
        f"{machine.conntrack_count:,} are in it, and each stays up to {kept_s} s after its end; when it is full, new "
        f"connections of this machine are dropped. To use no more than half of what is free: "
        f"{' and '.join(limited)}; raise it with `sysctl -w net.netfilter.nf_conntrack_max={wanted}`, lower "
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait and _syn_sent, or exempt this scan from tracking (notrack)"
    )
    return allowed, most_rate if is_slower else rate


def _bound_by_memory(machine: Machine, in_flight: int, processes: int, notes: list[str]) -> int:
    if machine.memory_bytes is None:
        return in_flight
    room_bytes = machine.memory_bytes - processes * PROCESS_BYTES
    allowed = max(processes, room_bytes // 2 // CONNECTION_BYTES)
    if allowed >= in_flight:
        return in_flight
    notes.append(
        f"{machine.memory_bytes // 2**20:,} MB of memory may be used, so at most {allowed:,} connections at a time, "
        f"not {in_flight:,}; give more memory (`docker run --memory`)"
        + (" or use fewer processes" if processes > 1 else "")
    )
    return allowed


def _next_power(number: float) -> int:
    return 1 << max(0, math.ceil(number) - 1).bit_length()


_HINTS = {
    "EMFILE": "this process has as many files open as it may; ask for fewer connections at a time, or raise the limit "
    f"with `ulimit -n {_USUAL_FILES}` or `docker run --ulimit nofile={_USUAL_FILES}:{_USUAL_FILES}`",
    "ENFILE": "this machine has as many files open as it may, in all programs; ask for fewer connections at a time, or "
    "raise it with `sysctl -w fs.file-max=2097152`",
    "ENOBUFS": "the kernel has no room for more packets or sockets; ask for a lower rate or fewer connections at a "
    "time. With IPv6 or one flat network the neighbour table may be full: raise net.ipv4.neigh.default.gc_thresh3 and "
    "net.ipv6.neigh.default.gc_thresh3",
    "EADDRNOTAVAIL": "no local port is left for this address and port, or there is no local address of this kind (IPv6 "
    "not set up); ask for a lower rate, or widen the ports with `sysctl -w net.ipv4.ip_local_port_range='1024 65535'`",
    "ENOMEM": "the kernel has no memory for more sockets; ask for fewer connections at a time, or raise the "
    "container's memory or `sysctl net.ipv4.tcp_mem`",
    "EPERM": "a rule of this machine forbids it. A TCP connection: a sandbox or a container's network policy. A raw "
    "packet (--syn): a firewall rule for outgoing packets, or full connection tracking (`dmesg` then says "
    "nf_conntrack: table full, dropping packet; raise net.netfilter.nf_conntrack_max). A raw socket: "
    "CAP_NET_RAW is missing",
    "EACCES": "the address may not be connected to: a broadcast address, or a rule of this machine forbids it",
}


def error_hint(os_error: str) -> str | None:
    """Return what an error of the operating system means for a scan and what to set; None where it is the peer's.

    os_error: its name, such as ``EMFILE``. What connection tracking or a firewall here drops has none: a dropped SYN is
    sent again until the connection times out, which looks like a silent address.
    """
    return _HINTS.get(os_error)


def read_machine(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Read what this machine allows; never raises for what it can't read."""
    soft, hard = _read_open_files()
    netfilter = proc / "sys/net/netfilter"
    ports = (_read_text(proc / "sys/net/ipv4/ip_local_port_range") or "").split()
    return Machine(
        open_files_soft=soft,
        open_files_hard=hard,
        conntrack_max=_read_number(netfilter / "nf_conntrack_max"),
        conntrack_count=_read_number(netfilter / "nf_conntrack_count"),
        conntrack_time_wait_s=_read_number(netfilter / "nf_conntrack_tcp_timeout_time_wait"),
        conntrack_syn_sent_s=_read_number(netfilter / "nf_conntrack_tcp_timeout_syn_sent"),
        local_ports=(int(ports[0]), int(ports[1])) if len(ports) == 2 and all(map(str.isdecimal, ports)) else None,
        has_net_raw=_read_net_raw(proc),
        memory_bytes=min(_read_memory(proc, cgroups), default=None),
    )


def apply(ceiling: Ceiling) -> int | None:
    """Raise this process's soft limit of open files as planned; return the limit that holds then (None: none known).

    Child processes inherit it. Where it can't be raised it stays as it was.
    """
    soft, hard = _read_open_files()
    wanted = ceiling.raise_nofile_to
    if resource is None or soft is None or wanted is None or wanted <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.RLIM_INFINITY if hard is None else hard))
    except (ValueError, OSError):
        return soft
    return wanted


def _read_open_files() -> tuple[int | None, int | None]:
    if resource is None:
        return None, None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        None if soft == resource.RLIM_INFINITY else soft,
        None if hard == resource.RLIM_INFINITY else hard,
    )


def _read_net_raw(proc: Path) -> bool | None:
    for line in (_read_text(proc / "self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            try:
                return bool(int(line.split()[1], 16) >> _NET_RAW_BIT & 1)
            except (ValueError, IndexError):
                return None
    return None


def _read_memory(proc: Path, cgroups: Path) -> Iterator[int]:
    for line in (_read_text(proc / "meminfo") or "").splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable" and amount.split()[:1] and amount.split()[0].isdecimal():
            yield int(amount.split()[0]) * 1024
    for line in (_read_text(proc / "self/cgroup") or "").splitlines():
        # hierarchy:controllers:path, cgroups(7); a container may see its host's path, but its own files at the top.
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield from _read_limits(cgroups, path, "memory.max")
            yield from _read_limits(cgroups / "unified", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _read_limits(cgroups / "memory", path, "memory.limit_in_bytes")


def _read_limits(top: Path, path: str, name: str) -> Iterator[int]:
    # A group is bound by those above it too.
    parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
    for length in range(len(parts), -1, -1):
        limit = _read_number(top.joinpath(*parts[:length]) / name)
        if limit is not None and limit < _NO_LIMIT_BYTES:
            yield limit


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def _read_number(path: Path) -> int | None:
    text = (_read_text(path) or "").strip()
    return int(text) if text.isdecimal() else None
