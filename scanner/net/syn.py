"""A sweep's first stage by raw SYNs (``--syn``): which ports answer, without a socket each. Linux, CAP_NET_RAW.

No TCP of our own: a SYN goes out by a raw socket, and the first answer to it is read. The kernel knows nothing of that
SYN, so it answers a SYN-ACK with RST by itself (RFC 9293 section 3.5.2, group 1): that is what closes the half-open
connection at the peer. A local firewall that drops outgoing RSTs leaves it there until the peer gives up. Whatever is
asked of a listener afterwards goes through ordinary sockets.

Nothing is kept for a SYN that is out: its sequence number is a keyed cookie of address, port and our own port, and an
answer counts only if it acknowledges that number plus one. Silence is therefore the caller's to judge, by its clock.
ICMP errors are not read (they come to another socket): an address behind one is silent here.

The packets pass netfilter as any others do: they count in the connection table, and a rule that refuses them is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import hashlib
import os
import socket
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# From Linux's headers; the socket module does not have them.
_IP_PKTINFO = 8
_SO_ATTACH_FILTER = 26
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8

# RFC 9293 section 3.1.
_SEGMENT = struct.Struct(">HHIIBBHHHI")
_SEGMENT_BYTES = 24
_ANSWER = struct.Struct(">HHIIBB")
_SMALLEST_ANSWER_BYTES = 20
_CHECKSUM_AT = 16
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_DATA_OFFSET = _SEGMENT_BYTES // 4 << 4
_WINDOW = 64_240
# Section 3.7.1: kind 2, length 4, 1460 bytes. Every ordinary client sends it, and some boxes drop a SYN without it.
_MSS_OPTION = 0x0204_05B4

# The fields of the pseudo-header and the segment that are always the same, for the checksum.
_CONSTANT_SUM = socket.IPPROTO_TCP + _SEGMENT_BYTES + (_DATA_OFFSET << 8 | _SYN) + _WINDOW + _MSS_OPTION

# What the kernel says, by its age, to an address to send from that is ours no more.
_SOURCE_GONE = frozenset({errno.EINVAL, errno.ENETUNREACH})

# Enough of a packet: the longest IPv4 header and a TCP header.
_KEPT_BYTES = 128
_BATCH = 256
_RECEIVE_BUFFER_BYTES = 4 << 20
_SMALLEST_SECRET_BYTES = 16

# The calling thread's network namespace; /proc/net would be the first thread's.
_ROUTES_FILE = Path("/proc/thread-self/net/fib_trie")

_NO_CAPABILITY = (
    "--syn sends through a raw socket, and this process (user id {}) has no CAP_NET_RAW. Run it as root; in a"
    " container add --user 0 --cap-add=NET_RAW; in a systemd service set AmbientCapabilities=CAP_NET_RAW. Do not"
    " setcap the python interpreter: every script and every user that runs it would have raw sockets. Without --syn the"
    " sweep connects: it finds the same listeners and needs no capability."
)


class _Source(NamedTuple):
    """What a SYN needs to know of the address of ours that it is sent from."""

    part_sum: int
    """The checksum's constant part."""
    control: list[tuple[int, int, bytes]]
    """Ancillary data that makes the kernel send from exactly this address."""


class SynProber:
    """Sends SYNs and tells of the answers. Make it inside the running event loop.

    ``on_answer(number, version, port, is_open)`` is called from the loop for each answer: a SYN-ACK (open) or an RST
    (closed). An address that was sent two SYNs can answer twice, and an answer can come at any time after its SYN.

    ``source_port`` None lets the kernel choose; it is held, so that no other socket is given it. ``secret`` is 16 to 64
    random bytes, for this run alone. Raises PermissionError where CAP_NET_RAW is missing, with what to do about it, and
    OSError where the port is taken or the system is not Linux.

    Routes are read once, for the address of ours that the kernel would send from; read again when that address is gone.
    """

    def __init__(
        self, on_answer: Callable[[int, int, int, bool], None], *, source_port: int | None = None, secret: bytes
    ) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOTSUP, "--syn works on Linux only; without it the sweep connects")
        if len(secret) < _SMALLEST_SECRET_BYTES:
            raise ValueError(f"secret has {len(secret)} bytes, not at least {_SMALLEST_SECRET_BYTES}")
        self._on_answer = on_answer
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_KEPT_BYTES)
        with contextlib.ExitStack() as opened:
            reserved = opened.enter_context(_open_reservation(source_port or 0))
            self.source_port: int = reserved.getsockname()[1]
            self._cookies = hashlib.blake2b(self.source_port.to_bytes(2, "big"), key=secret, digest_size=4)
            self._ipv4 = opened.enter_context(_open_raw(socket.AF_INET, self.source_port))
            self._maybe_ipv6: socket.socket | None = None
            # A kernel without IPv6 can still sweep IPv4.
            with contextlib.suppress(_NoFamilyError):
                self._maybe_ipv6 = opened.enter_context(_open_raw(socket.AF_INET6, self.source_port))
            self._read_routes()
            self._opened = opened.pop_all()
        self._is_closed = False
        self._lost_count = 0
        self._loop.add_reader(self._ipv4, self._read_ipv4)
        if self._maybe_ipv6 is not None:
            self._loop.add_reader(self._maybe_ipv6, self._read_ipv6, self._maybe_ipv6)

    @property
    def lost_count(self) -> int:
        """How many answers the kernel dropped because they were read too late: those addresses look silent."""
        if self._is_closed:
            return self._lost_count
        raws = [raw for raw in (self._ipv4, self._maybe_ipv6) if raw is not None]
        told = [raw.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size) for raw in raws]
        return sum(_MEMINFO.unpack(each)[_MEMINFO_DROPS] for each in told)

    def send(self, number: int, version: int, port: int) -> None:
        """Send one SYN to port of an address, given as a number and its version (4 or 6).

        Raises BlockingIOError when the socket's buffer is full (nothing was sent: wait a millisecond, try again), and
        the OSError that connecting would give where there is no route or the local firewall refuses. In a network of
        our own link, a SYN to a neighbour that is not there holds room in that buffer until the kernel gives up asking
        for it (3 s): some hundred such addresses are under way at once, not more.
        """
        try:
            if version == 6:
                self._send_ipv6(number, port)
            else:
                self._send_ipv4(number, port)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise BlockingIOError(errno.EAGAIN, "no room for a packet") from error
            raise

    def close(self) -> None:
        """Stop reading and give back the sockets and the port; may be called twice. Late SYN-ACKs still get an RST."""
        if self._is_closed:
            return
        self._lost_count = self.lost_count
        self._is_closed = True
        self._loop.remove_reader(self._ipv4)
        if self._maybe_ipv6 is not None:
            self._loop.remove_reader(self._maybe_ipv6)
        self._opened.close()

    def _cookie(self, packed: bytes, port: int) -> int:
        digest = self._cookies.copy()
        digest.update(packed + port.to_bytes(2, "big"))
        return int.from_bytes(digest.digest(), "big")

    def _send_ipv4(self, number: int, port: int, *, is_again: bool = False) -> None:
        packed = number.to_bytes(4, "big")
        stretch = bisect_right(self._edges, number)
        source = self._sources[stretch] or self._learn_source(stretch, packed)
        cookie = self._cookie(packed, port)
        # RFC 1071: a sum of 16-bit words with its carries put back is, for a number of any length, it modulo 0xFFFF.
        checksum = 0xFFFF - (source.part_sum + number + port + cookie) % 0xFFFF
        segment = _SEGMENT.pack(
            self.source_port, port, cookie, 0, _DATA_OFFSET, _SYN, _WINDOW, checksum, 0, _MSS_OPTION
        )
        try:
            self._ipv4.sendmsg((segment,), source.control, 0, (socket.inet_ntoa(packed), 0))
        except OSError as error:
            if error.errno not in _SOURCE_GONE or is_again:
                raise
            self._read_routes()
            self._send_ipv4(number, port, is_again=True)

    def _send_ipv6(self, number: int, port: int) -> None:
        if self._maybe_ipv6 is None:
            raise OSError(errno.EAFNOSUPPORT, "this machine has no IPv6")
        packed = number.to_bytes(16, "big")
        cookie = self._cookie(packed, port)
        # The kernel writes the checksum here.
        segment = _SEGMENT.pack(self.source_port, port, cookie, 0, _DATA_OFFSET, _SYN, _WINDOW, 0, 0, _MSS_OPTION)
        self._maybe_ipv6.sendto(segment, (socket.inet_ntop(socket.AF_INET6, packed), 0))

    def _read_routes(self) -> None:
        self._edges = parse_route_edges(_ROUTES_FILE.read_text(encoding="ascii"))
        self._sources: list[_Source | None] = [None] * (len(self._edges) + 1)

    def _learn_source(self, stretch: int, packed: bytes) -> _Source:
        # Connecting a UDP socket sends nothing, and makes the kernel look up the route and choose our address.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect((socket.inet_ntoa(packed), 9))
            ours = socket.inet_aton(asking.getsockname()[0])
        # in_pktinfo (ip(7)): interface 0 is any, then the address to send from. The checksum holds it, so the kernel
        # must not choose another.
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4s", 0, ours, bytes(4)))]
        source = _Source(_CONSTANT_SUM + self.source_port + int.from_bytes(ours, "big"), control)
        self._sources[stretch] = source
        return source

    def _read_ipv4(self) -> None:
        buffer = self._buffer
        for _ in range(_BATCH):
            if self._is_closed:
                return
            try:
                count = self._ipv4.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                return
            # An IPv4 raw socket gives the IP header too.
            self._take(bytes(buffer[12:16]), 4, (buffer[0] & 0x0F) * 4, count)

    def _read_ipv6(self, raw: socket.socket) -> None:
        for _ in range(_BATCH):
            if self._is_closed:
                return
            try:
                count, peer = raw.recvfrom_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            self._take(socket.inet_pton(socket.AF_INET6, peer[0]), 6, 0, count)

    def _take(self, packed: bytes, version: int, offset: int, count: int) -> None:
        if count < offset + _SMALLEST_ANSWER_BYTES:
            return
        port, ours, _, acknowledged, _, flags = _ANSWER.unpack_from(self._buffer, offset)
        if ours != self.source_port or not flags & _ACK or not flags & (_SYN | _RST):
            return
        if acknowledged != (self._cookie(packed, port) + 1) & 0xFFFF_FFFF:
            return
        # RFC 9293 section 3.10.7.3: with a right acknowledgement RST ends it, whatever else is set.
        self._on_answer(int.from_bytes(packed, "big"), version, port, not flags & _RST)


def parse_route_edges(text: str) -> list[int]:
    """Return the numbers at which any IPv4 route of /proc/net/fib_trie begins or has just ended, sorted.

    Between two of them every address has the same routes, so the kernel sends to it from the same address of ours.
    """
    edges: set[int] = set()
    number = 0
    for line in text.splitlines():
        word = line.strip()
        if word.startswith("|-- "):
            number = int.from_bytes(socket.inet_aton(word[4:]), "big")
        elif word.startswith("/"):
            length = int(word[1:].partition(" ")[0])
            edges.update((number, number + (1 << 32 - length)))
    return sorted(edges)


class _NoFamilyError(OSError):
    """The kernel does not have this kind of address."""


def _open_reservation(port: int) -> socket.socket:
    """Bind, and never listen: the kernel gives the port to nobody else, and answers for it as for a closed one."""
    try:
        held = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if held.family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        held.bind(("", port))
    except OSError:
        held.close()
        raise
    return held


def _open_raw(family: socket.AddressFamily, port: int) -> socket.socket:
    try:
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
    except PermissionError as error:
        raise PermissionError(error.errno, _NO_CAPABILITY.format(os.geteuid())) from None
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise _NoFamilyError(error.errno, error.strerror) from None
        raise
    try:
        # The send buffer stays as it is: it is smaller than an interface's queue, so a full one is told, not dropped.
        raw.setblocking(False)  # noqa: FBT003  # the standard library's signature
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        _attach_filter(raw, port)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _CHECKSUM_AT)
    except OSError:
        raw.close()
        raise
    return raw


def _attach_filter(raw: socket.socket, port: int) -> None:
    """Leave all but answers to port in the kernel: a raw socket gets a copy of every TCP packet of the machine."""
    # Classic BPF (Linux's filter.rst): code, jump if true, jump if false, operand. IPv6 begins at the TCP header.
    program = (
        (0xB1, 0, 0, 0) if raw.family == socket.AF_INET else (0x01, 0, 0, 0),  # X = where the TCP header begins
        (0x48, 0, 0, 2),  # A = destination port
        (0x15, 0, 4, port),  # else reject
        (0x50, 0, 0, 13),  # A = flags
        (0x45, 0, 2, _ACK),  # else reject
        (0x45, 0, 1, _SYN | _RST),  # else reject
        (0x06, 0, 0, _KEPT_BYTES),  # accept
        (0x06, 0, 0, 0),  # reject
    )
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    kept = ctypes.create_string_buffer(code, len(code))
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(kept)))
