"""Records of hosts that answer in many ways: our hellos, and what an independent, honest server answers to them."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scanner.model.exchange import Ending, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Endpoint, Role, Target
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.tls.hello import RANDOM_BYTES, encode_hello
from tests.hostile import wire
from tests.hostile.honest import OPENSSL_LIKE, After, Honest

AT = datetime(2026, 11, 23, 16, 7, tzinfo=UTC)
RUN = Run(
    id="20261123T160700Z-1a2b",
    started_at=AT,
    finished_at=AT,
    is_complete=True,
    policy_id="entra-drs",
    confirm="none",
    tool_version="0.1.0",
    command="scan",
)

_NEW = frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3})
_OLD = frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_1})
_ENDINGS = {After.HOLD: Ending.COMPLETE, After.FIN: Ending.PEER_CLOSED, After.RESET: Ending.PEER_RESET}


@dataclass(frozen=True)
class Fixed:
    """A peer that does the same to every hello."""

    data: bytes
    ending: Ending
    os_error: str | None = None


SERVICES = {
    443: Honest(enabled=_NEW, refusals=OPENSSL_LIKE),
    444: Honest(enabled=_OLD, refusals=OPENSSL_LIKE),
    445: Honest(enabled=_NEW | _OLD | {TlsVersion.SSL3}),
    446: Honest(enabled=frozenset(ALL_VERSIONS)),
    447: Fixed(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", Ending.PEER_CLOSED),
    448: Fixed(b"", Ending.TIMED_OUT_READ),
    449: Fixed(b"", Ending.REFUSED, "ECONNREFUSED"),
    450: Fixed(b"", Ending.PEER_RESET, "ECONNRESET"),
    451: Fixed(
        b"\x15\x03\x03\x00\x02\x02\x28", Ending.PEER_CLOSED
    ),  # alert handshake_failure(40), RFC 5246 section 7.2
    452: Fixed(b"", Ending.TIMED_OUT_CONNECT),
}
"""What listens on each port."""

QUESTIONS = [
    (version, variant)
    for _ in range(2)
    for version in reversed(ALL_VERSIONS)
    for variant in (HelloVariant.BROAD, HelloVariant.COMPACT)
]


def exchange(endpoint, version, variant, *, number, started_at, service, rng):
    """One hello, and what the service answers."""
    hello = encode_hello(
        version=version, variant=variant, server_name=endpoint.server_name, random=rng.randbytes(RANDOM_BYTES)
    )
    if isinstance(service, Honest):
        reply = service.reply(wire.decode_hello(hello))
        service = Fixed(reply.data, _ENDINGS[reply.after])
    return Exchange(
        request=ProbeRequest(id=number, probe=Probe.HELLO, endpoint=endpoint, version=version, variant=variant),
        started_at=started_at,
        sent=hello,
        received=service.data,
        ending=service.ending,
        elapsed_s=rng.random(),
        os_error=service.os_error,
    )


def record(host, address, ports, *, questions=None, at=AT, seed=1, optional=(), stopped=None, **more):
    """A host with these ports, asked these questions (port, version, variant), at times a random step apart."""
    rng = random.Random(seed)
    more.setdefault("server_name", None)
    name = more["server_name"] or (None if host == address else host)
    target = Target(**{"text": f"{host} as written", "host": host, "role": Role.SERVER, "ports": ports} | more)
    endpoints = {
        port: Endpoint(host=host, address=address, port=port, server_name=name, is_optional=port in optional)
        for port in (*ports, *optional)
    }
    if questions is None:
        questions = [(port, *question) for question in QUESTIONS for port in endpoints]
    numbers = itertools.count(rng.randrange(1000))
    exchanges = []
    for port, version, variant in questions:
        at += timedelta(microseconds=rng.randrange(1, 3_000_000))
        options = {"number": next(numbers), "started_at": at, "service": SERVICES[port], "rng": rng}
        exchanges.append(exchange(endpoints[port], version, variant, **options))
    return HostRecord(
        target=target,
        resolution=Resolution(addresses=(address,)),
        endpoints=tuple(endpoints.values()),
        exchanges=tuple(exchanges),
        stopped=stopped,
    )


def of_each_kind(host, address, **more):
    """Records of all kinds for one host."""
    made = [record(host, address, (port,), **more) for port in SERVICES]
    made += [
        record(host, address, ports, is_from_range=True, text="192.0.2.0/24:many", **more)
        for ports in ((443,), (445, 449), (443, 444, 445), (446, 448), (444, 452))
    ]
    made.append(record(host, address, (443, 445), optional=(449,), tags=("a", "b"), vendor="F5 BIG-IP", **more))
    made.append(record(host, address, (444,), **({"server_name": "sts.example"} | more)))
    made.append(record(host, address, (443,), questions=[(443, *QUESTIONS[0])], stopped="interrupted", **more))
    return made


def records_of_many_kinds():
    """Some dozen hosts: addresses, then names."""
    count = len(of_each_kind("192.0.2.1", "192.0.2.1"))
    return [
        *(of_each_kind(f"192.0.2.{at}", f"192.0.2.{at}")[at] for at in range(count)),
        *(of_each_kind(f"h{at}.example", f"2001:db8::{at:x}")[at] for at in range(count)),
    ]
