"""A small real DNS server on loopback, for tests: UDP and TCP on one port, a zone from a dict, and bad manners."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

UDP_BYTES = 512
"""Largest answer over UDP (RFC 1035 section 2.3.4); what is longer is truncated, and the client comes back over TCP."""


@dataclass(kw_only=True)
class DnsServer:
    """Answers from ``zone``, and keeps what it was asked.

    Start it with ``async with DnsServer(zone=...) as server`` and ask at ``server.address``.
    """

    zone: dict[str, dict[str, list[str]]]
    """``{"www.example.test": {"CNAME": ["web.example.test"]}, "web.example.test": {"A": ["192.0.2.1"]}}``. A name that
    is neither here nor in a set below does not exist (NXDOMAIN)."""
    servfail: set[str] = field(default_factory=set)
    """Names answered with SERVFAIL."""
    silent: set[str] = field(default_factory=set)
    """Names that get no answer."""
    silent_kinds: set[str] = field(default_factory=set)
    """Record types that get no answer, such as ``AAAA``."""
    lossy: int = 0
    """How many of the first questions over UDP are lost."""
    is_chasing: bool = True
    """Whether an answer holds the whole CNAME chain, as a recursive server's does, or its first link only."""
    garbage: bytes | None = None
    """Sent in place of every answer."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """What was asked: transport, name, type."""
    address: tuple[str, int] = ("", 0)
    """Where it listens, once started."""

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        # The same port for TCP may be taken by another process: try again with another one.
        for _ in range(20):
            self._udp, _protocol = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=("127.0.0.1", 0)
            )
            self.address = self._udp.get_extra_info("sockname")
            try:
                self._tcp = await asyncio.start_server(self._serve_stream, *self.address)
            except OSError:
                self._udp.close()
                continue
            return self
        raise RuntimeError("no port is free for both UDP and TCP")

    async def __aexit__(self, *exc_info):
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()
        await asyncio.sleep(0)  # lets the transports close before the loop does

    def answer(self, wire, transport):
        """Return the answer to one question as bytes, or None for silence."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((transport, name, kind))
        if transport == "udp" and self.lossy:
            self.lossy -= 1
            return None
        if name in self.silent or kind in self.silent_kinds:
            return None
        if self.garbage is not None:
            return self.garbage
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name in self.servfail:
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(response, name, kind)
        if transport == "udp":
            # Truncated by hand: dnspython would raise the limit to what the client's EDNS option allows.
            full = response.to_wire(max_size=65_535, want_shuffle=False)
            if len(full) > UDP_BYTES:
                response.answer.clear()
                response.flags |= dns.flags.TC
        return response.to_wire(max_size=65_535, want_shuffle=False)

    def _fill(self, response, name, kind):
        links = 0
        while True:
            records = self.zone.get(name)
            if records is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                return
            if kind in records:
                response.answer.append(_rrset(name, kind, records[kind]))
                return
            if "CNAME" not in records:
                return
            response.answer.append(_rrset(name, "CNAME", records["CNAME"]))
            links += 1
            name = records["CNAME"][0].lower()
            if not self.is_chasing or links > 40:
                return

    async def _serve_stream(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.answer(await reader.readexactly(length), "tcp")
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        answer = self._server.answer(data, "udp")
        if answer is not None:
            self._transport.sendto(answer, addr)


def _rrset(name, kind, values):
    values = [value + "." if kind == "CNAME" else value for value in values]
    return dns.rrset.from_text(name + ".", 60, "IN", kind, *values)
