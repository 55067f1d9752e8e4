"""Raw SYNs against the kernel's own TCP: what answers, what must not count, and what is left behind."""

import asyncio
import errno
import ipaddress
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from scanner.net import syn
from scanner.net.syn import SynProber, parse_route_edges
from tests.net.namespaces import BLOCK, DEVICE, OURS, PEERS
from tests.net.peers import open_descriptors

pytestmark = [pytest.mark.raw, pytest.mark.timeout(120)]

SECRET = bytes(range(16))
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
PATIENCE_S = 10.0
# RFC 9293 section 3.1.
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def number_of(text):
    return int(ipaddress.ip_address(text))


def address_in_block(version, offset):
    return str(ipaddress.ip_network(BLOCK[version])[offset])


def listen(address, port=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.settimeout(0)
    listener.bind((address, port))
    listener.listen()
    return listener


async def until(is_so):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so() and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel has no event for it
        await asyncio.sleep(0.01)


class Answers(list):
    def note(self, number, version, port, is_open):
        self.append((str((ipaddress.IPv6Address if version == 6 else ipaddress.IPv4Address)(number)), port, is_open))

    async def settle(self, count):
        """Wait for count answers, and a moment for what should not come."""
        await until(lambda: len(self) >= count)
        await asyncio.sleep(0.1)


@asynccontextmanager
async def probing(**options):
    answers = Answers()
    prober = SynProber(answers.note, secret=SECRET, **options)
    try:
        yield prober, answers
    finally:
        prober.close()


def sum_of_words(data):
    """Sum as RFC 1071 section 4.1 has it, word by word with the carry put back."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2], "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(source, destination, length):
    """RFC 9293 section 3.1 and RFC 8200 section 8.1."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return ends + (struct.pack(">BBH", 0, 6, length) if len(ends) == 8 else struct.pack(">IHBB", length, 0, 0, 6))


def encode_segment(source, destination, ports, acknowledged, flags):
    def header(checksum):
        return struct.pack(">HHIIBBHHH", *ports, 1, acknowledged, 5 << 4, flags, 1024, checksum, 0)

    return header(0xFFFF - sum_of_words(pseudo_header(source, destination, 20) + header(0)))


class Packet:
    """A TCP packet as it was on the wire, with its Ethernet header."""

    def __init__(self, frame):
        self.version = 4 if frame[12:14] == b"\x08\x00" else 6
        ip = frame[14:]
        first, last, start = (12, 20, (ip[0] & 15) * 4) if self.version == 4 else (8, 40, 40)
        middle = (first + last) // 2
        self.source, self.destination = (
            str(ipaddress.ip_address(packed)) for packed in (ip[first:middle], ip[middle:last])
        )
        self.segment = ip[start:]
        self.ports = struct.unpack_from(">HH", self.segment)
        self.sequence, self.acknowledged = struct.unpack_from(">II", self.segment, 4)
        self.flags = self.segment[13]


class Wire:
    """All TCP that arrives at the peer's end, before its firewall."""

    def __init__(self, peer):
        self._tap = peer.call(self._open)

    @staticmethod
    def _open():
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        tap.bind((DEVICE, 0))
        tap.settimeout(PATIENCE_S)
        return tap

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._tap.close()

    def next(self, flags):
        """Return the next packet to the peer with exactly these flags."""
        while True:
            frame, (_, _, kind, *_) = self._tap.recvfrom(2048)
            is_tcp = (frame[12:14], frame[23]) == (b"\x08\x00", 6) or (frame[12:14], frame[20]) == (b"\x86\xdd", 6)
            if kind == socket.PACKET_OUTGOING or not is_tcp:
                continue
            packet = Packet(frame)
            if packet.flags == flags:
                return packet


@pytest.fixture
def ends(namespace_ends):
    """Both ends, the peer without a firewall."""
    _, peer = namespace_ends
    yield namespace_ends
    peer.nft("flush ruleset")


def drop(peer, version, addresses):
    family = "ip" if version == 4 else "ip6"
    peer.nft(f"""table inet silence {{
        chain input {{
            type filter hook input priority 0
            {family} daddr {{ {", ".join(addresses)} }} drop
        }}
    }}""")


@pytest.mark.parametrize("version", [4, 6])
def test_listeners_are_open_the_rest_closed_and_the_firewall_silent(ends, version):
    scanner, peer = ends
    chosen = random.Random(version).sample(range(1, 65_000), 120)
    addresses = [address_in_block(version, offset) for offset in chosen]
    listening, dropped = addresses[:50], addresses[40:80]
    drop(peer, version, dropped)
    with ExitStack() as stack:
        for address in listening:
            stack.enter_context(peer.call(listen, address, 443))
        for address in addresses[30:60]:
            stack.enter_context(peer.call(listen, address, 8443))

        async def sweep():
            async with probing() as (prober, answers):
                for address in addresses:
                    for port in (443, 8443):
                        prober.send(number_of(address), version, port)
                await answers.settle(2 * 80)
                assert prober.lost_count == 0
                return answers

        found = scanner.run(sweep)
    open_ports = {(address, 443) for address in listening} | {(address, 8443) for address in addresses[30:60]}
    expected = [
        (address, port, (address, port) in open_ports)
        for address in addresses
        for port in (443, 8443)
        if address not in dropped
    ]
    assert Counter(found) == Counter(expected)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.83.9.200", "::1"])
def test_loopback(address):
    async def main():
        with listen(address) as opened, listen(address) as closed:
            ports = opened.getsockname()[1], closed.getsockname()[1]
            closed.close()
            async with probing() as (prober, answers):
                for port in ports:
                    prober.send(number_of(address), 6 if ":" in address else 4, port)
                await answers.settle(2)
            return answers, ports

    answers, ports = asyncio.run(main())
    assert sorted(answers, key=lambda answer: not answer[2]) == [(address, ports[0], True), (address, ports[1], False)]


@pytest.mark.parametrize("version", [4, 6])
def test_syn_is_what_the_rfc_says(ends, version):
    scanner, peer = ends
    dice = random.Random(5)
    asked = [(address_in_block(version, dice.randrange(1, 65_000)), dice.randrange(1, 65_536)) for _ in range(300)]
    with Wire(peer) as wire:

        async def sweep():
            async with probing() as (prober, _):
                seen = []
                for address, port in asked:
                    prober.send(number_of(address), version, port)
                    seen.append(wire.next(SYN))
                return prober.source_port, seen

        source_port, seen = scanner.run(sweep)
    assert [(packet.destination, packet.ports[1]) for packet in seen] == asked
    for packet in seen:
        assert packet.source == OURS[version]
        assert packet.ports[0] == source_port
        assert packet.acknowledged == 0
        assert packet.segment[12] == 6 << 4
        # Maximum segment size 1460 (RFC 9293 section 3.2), and nothing else.
        assert packet.segment[20:] == bytes([2, 4, 0x05, 0xB4])
        # A sum that includes the checksum is all ones (RFC 1071 section 1).
        assert sum_of_words(pseudo_header(packet.source, packet.destination, 24) + packet.segment) == 0xFFFF
    assert len({packet.sequence for packet in seen}) == len(set(asked))


def raw_of(prober, version):
    return prober._ipv4 if version == 4 else prober._maybe_ipv6


def detach_filter(raw):
    raw.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER


class Fixed:
    """Stands for the keyed hash: every cookie is the same."""

    def __init__(self, cookie):
        self._cookie = cookie

    def copy(self):
        return self

    def update(self, data):
        pass

    def digest(self):
        return self._cookie.to_bytes(4, "big")


def test_every_value_of_the_checksum_is_right(ends):
    """With one cookie the checksums of all ports are all there are; a kernel drops a segment with a wrong one."""
    scanner, _ = ends

    async def sweep():
        async with probing() as (prober, answers):
            prober._cookies = Fixed(77)
            ports = set(range(1, 65_536))
            # Again for what a busy machine dropped: a wrong checksum stays without an answer.
            for _ in range(2):
                for port in sorted(ports):
                    prober.send(number_of(PEERS[4]), 4, port)
                    if port % 256 == 0:
                        await asyncio.sleep(0)
                await until(lambda: len(answers) >= 65_535)
                ports -= {port for _, port, _ in answers}
            return answers

    assert set(scanner.run(sweep)) == {(PEERS[4], port, False) for port in range(1, 65_536)}


def test_acknowledgement_of_the_highest_cookie_is_zero():
    async def main():
        with listen("127.0.0.1") as listener:
            port = listener.getsockname()[1]
            async with probing() as (prober, answers):
                prober._cookies = Fixed(0xFFFF_FFFF)
                prober.send(number_of("127.0.0.1"), 4, port)
                await answers.settle(1)
            assert answers == [("127.0.0.1", port, True)]

    asyncio.run(main())


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("is_filtered", [True, False])
def test_only_the_answer_to_our_syn_counts(ends, version, is_filtered):
    """The peer's own kernel is silent; answers are forged beside it, wrong ones first, then a right one of each.

    Without the filter too: what came before it was there is read like the rest.
    """
    scanner, peer = ends
    address, other = address_in_block(version, 7), address_in_block(version, 8)
    drop(peer, version, [address, other])
    ours = OURS[version]

    def forge(source, *segments):
        with socket.socket(FAMILY[version], socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.bind((source, 0))
            for segment in segments:
                raw.sendto(segment, (ours, 0))

    async def sweep():
        async with probing() as (prober, answers):
            if not is_filtered:
                detach_filter(raw_of(prober, version))
            with Wire(peer) as wire:
                prober.send(number_of(address), version, 443)
                asked = wire.next(SYN)
            right = (asked.sequence + 1) & 0xFFFF_FFFF

            def segment(source=address, ports=(443, prober.source_port), acknowledged=right, flags=SYN | ACK):
                return encode_segment(source, ours, ports, acknowledged, flags)

            wrong = [
                segment(acknowledged=asked.sequence),
                segment(acknowledged=(right + 1) & 0xFFFF_FFFF),
                segment(acknowledged=0),
                segment(acknowledged=0, flags=RST | ACK),
                segment(ports=(444, prober.source_port)),
                segment(ports=(443, prober.source_port ^ 1)),
                segment(flags=SYN),
                segment(flags=RST),
                segment(flags=ACK),
                segment(flags=FIN | ACK),
                segment(flags=PSH | ACK),
                segment()[:19],
                segment()[:14],
                segment()[:4],
                b"",
                b"\xff" * 60,
            ]
            peer.call(forge, address, *wrong)
            peer.call(forge, other, segment(source=other), segment(source=other, flags=RST | ACK))
            await asyncio.sleep(0.2)
            assert answers == []
            peer.call(forge, address, segment(), segment(flags=RST | ACK))
            await answers.settle(2)
            return answers

    assert scanner.run(sweep) == [(address, 443, True), (address, 443, False)]


@pytest.mark.parametrize("version", [4, 6])
def test_kernel_closes_the_half_open_connection(ends, version):
    scanner, peer = ends
    address = address_in_block(version, 9)
    with peer.call(listen, address, 443) as listener, Wire(peer) as wire:

        async def sweep():
            async with probing() as (prober, answers):
                prober.send(number_of(address), version, 443)
                asked, ended = wire.next(SYN), wire.next(RST)
                await answers.settle(1)
                return asked, ended, answers

        asked, ended, answers = scanner.run(sweep)
        assert answers == [(address, 443, True)]
        assert (ended.destination, ended.ports) == (address, asked.ports)
        assert ended.sequence == (asked.sequence + 1) & 0xFFFF_FFFF
        table = Path("/proc/thread-self/net/tcp6" if version == 6 else "/proc/thread-self/net/tcp")
        states = [line.split()[3] for line in peer.call(table.read_text).splitlines()[1:]]
        # TCP_LISTEN alone (include/net/tcp_states.h), not TCP_SYN_RECV.
        assert states == ["0A"]
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_ordinary_connections_go_on_beside_it(ends):
    """The kernel's own answers to its own connections are no answers to us."""
    scanner, peer = ends
    address = address_in_block(4, 10)
    with peer.call(listen, address, 443):

        async def sweep():
            async with probing() as (_, answers):
                for port in (443, 444):
                    with socket.socket() as sock:
                        outcome = sock.connect_ex((address, port))
                        assert outcome == (0 if port == 443 else errno.ECONNREFUSED)
                await asyncio.sleep(0.1)
                return answers

        assert scanner.run(sweep) == []


@pytest.mark.parametrize(("version", "address"), [(4, "127.0.0.1"), (6, "::1")])
def test_other_traffic_stays_in_the_kernel(version, address):
    async def main():
        async with probing() as (prober, _):
            raw = raw_of(prober, version)
            with listen(address) as listener, socket.socket(FAMILY[version]) as client:
                client.connect(listener.getsockname())
                # What is for our port and answers nothing.
                with socket.socket(FAMILY[version]) as other:
                    assert other.connect_ex((address, prober.source_port)) == errno.ECONNREFUSED
                with pytest.raises(BlockingIOError):
                    raw.recv(100)
                # Without the filter it would be there.
                detach_filter(raw)
                client.send(b"x")
                assert raw.recv(100)

    asyncio.run(main())


def test_source_port_is_given_to_nobody_else(ends):
    scanner, peer = ends
    address = address_in_block(4, 11)
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    was = scanner.call(ephemeral.read_text)

    def set_range(text):
        """With a range of one the kernel has no other port to give."""
        ephemeral.write_text(text)

    def connect(version):
        with socket.socket(FAMILY[version]) as sock:
            return sock.connect_ex((address_in_block(version, 11), 443))

    with peer.call(listen, address, 443), peer.call(listen, address_in_block(6, 11), 443):

        async def sweep():
            async with probing() as (prober, _):
                set_range(f"{prober.source_port} {prober.source_port}")
                held = [connect(4), connect(6)]
                for family, wildcard in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                    with socket.socket(family) as sock, pytest.raises(OSError, match="in use"):
                        sock.bind((wildcard, prober.source_port))
            return held, [connect(4), connect(6)]

        try:
            assert scanner.run(sweep) == ([errno.EADDRNOTAVAIL] * 2, [0, 0])
        finally:
            scanner.call(set_range, was)


def test_source_port_can_be_asked_for_and_may_be_taken():
    async def main():
        async with probing() as (first, _):
            before = open_descriptors()
            with pytest.raises(OSError, match="in use"):
                SynProber(print, source_port=first.source_port, secret=SECRET)
            assert open_descriptors() == before
            port = first.source_port
        async with probing(source_port=port) as (second, _):
            assert second.source_port == port

    asyncio.run(main())


def test_address_of_ours_is_the_one_its_route_has(ends):
    """One address inside a /24 has a route of its own, with another source: its neighbours keep theirs."""
    scanner, peer = ends
    second = "198.51.100.9"
    addresses = [address_in_block(4, 0x0700 + last) for last in (76, 77, 78)]
    scanner.ip("address", "add", f"{second}/32", "dev", DEVICE)
    scanner.ip("route", "add", f"{addresses[1]}/32", "via", PEERS[4], "src", second)
    peer.ip("route", "add", f"{second}/32", "via", OURS[4])

    async def sweep():
        async with probing() as (prober, answers):
            with Wire(peer) as wire:
                sources = []
                for address in addresses:
                    prober.send(number_of(address), 4, 443)
                    sources.append(wire.next(SYN).source)
                await answers.settle(3)
                # The route goes with its address.
                scanner_ip("address", "del", f"{second}/32", "dev", DEVICE)
                prober.send(number_of(addresses[1]), 4, 443)
                sources.append(wire.next(SYN).source)
                await answers.settle(4)
            return sources, answers

    scanner_ip = scanner.ip
    sources, answers = scanner.run(sweep)
    assert sources == [OURS[4], second, OURS[4], OURS[4]]
    assert sorted(answers) == [(address, 443, False) for address in sorted([*addresses, addresses[1]])]


def test_route_edges_are_where_routes_begin_and_end():
    text = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
           /32 link BROADCAST
        |-- 192.0.2.6
           /31 host LOCAL
Id 100:
  |-- 198.51.100.0
     /23 universe UNREACHABLE
"""
    edges = [
        "0.0.0.0",
        "192.0.2.0",
        "192.0.2.1",
        "192.0.2.6",
        "192.0.2.8",
        "192.0.3.0",
        "198.51.100.0",
        "198.51.102.0",
    ]
    assert parse_route_edges(text) == [*map(number_of, edges), 2**32]


@pytest.mark.parametrize(("version", "address"), [(4, "203.0.113.1"), (6, "2001:db8:ffff::1")])
def test_no_route_is_told(ends, version, address):
    scanner, _ = ends

    async def sweep():
        async with probing() as (prober, _):
            prober.send(number_of(address), version, 443)

    with pytest.raises(OSError, match="unreachable") as told:
        scanner.run(sweep)
    assert told.value.errno == errno.ENETUNREACH


@pytest.mark.parametrize("version", [4, 6])
def test_full_buffer_is_told_and_passes(ends, version):
    """Nobody answers for a neighbour that is not there: what was sent waits, and holds its room until that is clear."""
    scanner, _ = ends
    neighbours = "192.0.2.0/24" if version == 4 else "2001:db8:20::/64"
    number = number_of(ipaddress.ip_network(neighbours)[5])
    scanner.ip(f"-{version}", "route", "add", neighbours, "dev", DEVICE)

    async def sweep():
        async with probing() as (prober, answers):
            raw = raw_of(prober, version)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least

            def fill():
                for _ in range(1_000):
                    prober.send(number, version, 443)

            with pytest.raises(BlockingIOError):
                fill()
            is_sent = False
            deadline = time.monotonic() + PATIENCE_S
            while not is_sent and time.monotonic() < deadline:
                try:
                    prober.send(number_of(PEERS[version]), version, 443)
                    is_sent = True
                except BlockingIOError:
                    await asyncio.sleep(0.05)
            await answers.settle(1)
            return answers

    assert scanner.run(sweep) == [(PEERS[version], 443, False)]


def test_answers_that_were_read_too_late_are_counted(ends):
    scanner, _ = ends
    count = 2_000

    async def sweep():
        async with probing() as (prober, answers):
            prober._ipv4.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            for port in range(1, count + 1):
                prober.send(number_of(PEERS[4]), 4, port)
            await until(lambda: len(answers) + prober.lost_count >= count)
        return len(answers), prober.lost_count

    answered, lost = scanner.run(sweep)
    assert lost > 0
    assert answered > 0
    assert answered + lost == count


def test_missing_capability_is_said_with_what_to_do():
    code = """
import asyncio, os
from scanner.net.syn import SynProber
async def main():
    before = os.listdir("/proc/self/fd")
    try:
        SynProber(print, secret=bytes(16))
    except PermissionError as error:
        assert os.listdir("/proc/self/fd") == before
        print(error.strerror)
asyncio.run(main())
"""
    without = ("setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw", "--", sys.executable, "-c", code)
    done = subprocess.run(without, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("no CAP_NET_RAW", f"user id {os.geteuid()}", "root", "--cap-add=NET_RAW", "setcap", "without --syn"):
        assert words.lower() in done.stdout.lower()


def test_machine_without_ipv6_still_has_ipv4(monkeypatch):
    ordinary = socket.socket

    def no_ipv6(family=socket.AF_INET, *rest):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return ordinary(family, *rest)

    async def main():
        with listen("127.0.0.1") as listener:
            port = listener.getsockname()[1]
            monkeypatch.setattr(syn.socket, "socket", no_ipv6)
            async with probing() as (prober, answers):
                prober.send(number_of("127.0.0.1"), 4, port)
                with pytest.raises(OSError, match="no IPv6") as told:
                    prober.send(1, 6, port)
                assert told.value.errno == errno.EAFNOSUPPORT
                await answers.settle(1)
                assert prober.lost_count == 0
            assert answers == [("127.0.0.1", port, True)]

    asyncio.run(main())


def test_nothing_is_left_after_close_even_from_inside_an_answer():
    async def main():
        before = open_descriptors()
        heard, wrong = [], []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))

        def stop(*answer):
            heard.append(answer)
            prober.close()

        with listen("127.0.0.1") as listener:
            port = listener.getsockname()[1]
            prober = SynProber(stop, secret=SECRET)
            for _ in range(3):
                prober.send(number_of("127.0.0.1"), 4, port)
            await until(lambda: heard)
            await asyncio.sleep(0.1)
            prober.close()
            assert heard == [(number_of("127.0.0.1"), 4, port, True)]
            assert wrong == []
            assert prober.lost_count == 0
            with pytest.raises(OSError, match="Bad file descriptor"):
                prober.send(number_of("127.0.0.1"), 4, port)
        assert open_descriptors() == before

    asyncio.run(main())


def test_short_secret_is_refused():
    async def main():
        with pytest.raises(ValueError, match="not at least 16"):
            SynProber(print, secret=b"short")

    asyncio.run(main())
