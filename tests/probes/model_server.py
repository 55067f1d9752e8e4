"""A model of a server and of the way to it: pure, seeded, no sockets. What is true is set by the test.

Built on tests.hostile.wire, which parses our hellos and builds replies without any of our own code, so that a mistake
of ours can't cancel itself out. Time is a number that pauses and connections add to.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from scanner.answers import Answer, read_answer
from scanner.classify import classify_endpoint
from scanner.model.evidence import Gap, Observation, State
from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.probes.hello_ladder import MOST_QUESTIONS, Question, plan_next
from scanner.tls.hello import encode_hello
from tests.hostile import wire

NAME = "sts.example.com"
ENDPOINT = Endpoint(host=NAME, address="192.0.2.7", port=443, server_name=NAME)
BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CONNECTION_S = 0.02

# IANA numbers, one or more of each kind that our forms of hello tell apart (checked by a test).
COMMON = frozenset({0x002F, 0xC02F, 0xC013, 0x0035})
PSK_ONLY = frozenset({0x008C, 0x00A8})
EXPORT_ONLY = frozenset({0x0003, 0x0006})
CAMELLIA_ONLY = frozenset({0x0041, 0x0084})
CHACHA_DRAFT_ONLY = frozenset({0xCC13})
TLS13 = frozenset({0x1301, 0x1302})
TLS13_CCM8 = frozenset({0x1305})
SSL2_KINDS = (0x010080, 0x0700C0)
NOT_IN_NASSL = PSK_ONLY | TLS13_CCM8
"""Suites with which the confirming handshake fails although the version is there."""


class Fate(Enum):
    """What becomes of a hello, short of bytes."""

    FIN = auto()
    RESET = auto()
    SILENCE = auto()
    REFUSED = auto()


Reaction = bytes | Fate
"""Bytes that come back, or none and why."""

_ENDINGS = {
    Fate.FIN: (Ending.PEER_CLOSED, None),
    Fate.RESET: (Ending.PEER_RESET, "ECONNRESET"),
    Fate.SILENCE: (Ending.TIMED_OUT_READ, None),
    Fate.REFUSED: (Ending.REFUSED, "ECONNREFUSED"),
}


def alert(number: int, *, level: int = wire.FATAL, record_version: int = 0x0301) -> bytes:
    return wire.encode_alert(number, level=level, record_version=record_version)


REFUSALS: dict[str, Reaction] = {
    "70": alert(70),
    "40": alert(40, record_version=0x0300),
    "47": alert(47),
    "71": alert(71),
    "80": alert(80),
    "50": alert(50),
    "10": alert(10),
    "0 warning": alert(0, level=wire.WARNING),
    "112": alert(112),
    "FIN": Fate.FIN,
    "RST": Fate.RESET,
    "silence": Fate.SILENCE,
    "odd": b"\x16\x03\x01\x00\x04\x63\x00\x00\x00",
    "HTTP": b"HTTP/1.0 400 Bad Request\r\n\r\n",
}
SSL2_REFUSALS = {**REFUSALS, "SSLv2 ERROR": wire.encode_ssl2_error(1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One machine's configuration: the truth."""

    enabled: frozenset[TlsVersion]
    refusals: dict[TlsVersion, Reaction] = field(default_factory=dict)
    """How each version that is off is refused; alert 70 where nothing is said."""
    suites: frozenset[int] = COMMON
    suites_13: frozenset[int] = TLS13
    no_suite: Reaction = field(default=alert(40))
    answers_lower: bool = True
    """Whether a lower version is chosen where the one asked for is off (as the protocol wants)."""
    has_sentinel: bool = True
    """Whether ServerHello.random tells of a higher version (RFC 8446 section 4.1.3)."""
    knows_supported_versions: bool = True
    is_always_retrying: bool = False
    """HelloRetryRequest whatever key share came: a group that we send no share for."""
    has_ssl2_ciphers: bool = True
    name_refusal: Reaction | None = None
    """Where set: the name we send is not served, and this is said where the certificate would be chosen."""
    is_name_checked_first: bool = False
    """Whether the name is refused before the version is looked at."""
    most_suites: int | None = None
    needs_scsv: bool = False
    """Resets hellos without renegotiation signal."""
    most_bytes: int | None = None
    is_dead_zone_dropped: bool = False
    size_fate: Reaction = Fate.RESET
    """What becomes of hellos of a length that is not let through."""

    def reply(self, hello: wire.ClientHello) -> Reaction:
        """Return what a machine of this configuration does with a hello."""
        if self.most_bytes is not None and hello.total_bytes > self.most_bytes:
            return self.size_fate
        if self.is_dead_zone_dropped and 256 <= hello.message_bytes <= 511:
            return self.size_fate
        asked = TlsVersion(hello.asked)
        if hello.is_ssl2_format:
            return self._reply_ssl2(hello)
        if self.needs_scsv and not hello.has_renegotiation_signal:
            return Fate.RESET
        if self.most_suites is not None and len(hello.suites) > self.most_suites:
            return alert(50)
        if self.name_refusal is not None and self.is_name_checked_first:
            return self.name_refusal
        offered = hello.offered if self.knows_supported_versions else hello.offered_before_13
        offered = offered if self.answers_lower else offered[:1]
        chosen = next((TlsVersion(number) for number in offered if number in self.enabled), None)
        if chosen is None:
            return self.refusals.get(asked, alert(70))
        accepted = self.suites_13 if chosen is TlsVersion.TLS1_3 else self.suites
        suite = next((suite for suite in hello.suites if suite in accepted), None)
        if suite is None:
            return self.no_suite
        if chosen is TlsVersion.TLS1_3:
            is_retry = self.is_always_retrying or not set(hello.share_groups) & set(wire.SHARES)
            if is_retry:
                return _hello_13(suite, hello.session_id, is_retry=True)
            return (
                self.name_refusal
                if self.name_refusal is not None
                else _hello_13(suite, hello.session_id, is_retry=False)
            )
        if self.name_refusal is not None:
            return self.name_refusal
        return _hello(chosen, suite, self._random_tail(chosen))

    def _reply_ssl2(self, hello: wire.ClientHello) -> Reaction:
        if TlsVersion.SSL2 not in self.enabled:
            return self.refusals.get(TlsVersion.SSL2, alert(70))
        kinds = tuple(kind for kind in SSL2_KINDS if kind in hello.suites) if self.has_ssl2_ciphers else ()
        return _ssl2_hello(kinds)

    def _random_tail(self, chosen: TlsVersion) -> bytes:
        if self.has_sentinel and chosen is TlsVersion.TLS1_2 and TlsVersion.TLS1_3 in self.enabled:
            return wire.DOWNGRADE_TO_1_2
        if self.has_sentinel and chosen < TlsVersion.TLS1_2 and self.enabled & {TlsVersion.TLS1_2, TlsVersion.TLS1_3}:
            return wire.DOWNGRADE_TO_1_1_OR_BELOW
        return wire.PLAIN_RANDOM[24:]


@lru_cache(maxsize=4096)
def _hello_13(suite: int, session_id: bytes, *, is_retry: bool) -> bytes:
    message = wire.encode_server_hello_13(suite, session_id=session_id, is_retry=is_retry)
    return wire.encode_record(wire.HANDSHAKE, 0x0303, message)


@lru_cache(maxsize=256)
def _hello(version: TlsVersion, suite: int, tail: bytes) -> bytes:
    message = wire.encode_server_hello(version, suite, random=wire.PLAIN_RANDOM[:24] + tail)
    return wire.encode_record(wire.HANDSHAKE, version, message)


@lru_cache(maxsize=16)
def _ssl2_hello(kinds: tuple[int, ...]) -> bytes:
    return wire.encode_ssl2_server_hello(kinds)


@lru_cache(maxsize=64)
def _our_hello(version: TlsVersion, variant: HelloVariant, server_name: str | None) -> tuple[bytes, wire.ClientHello]:
    sent = encode_hello(version=version, variant=variant, server_name=server_name, random=bytes(range(64)))
    parsed = wire.decode_hello(sent)
    assert parsed is not None
    return sent, parsed


@dataclass(slots=True, kw_only=True)
class Way:
    """What stands between us and the backends."""

    backends: Sequence[Backend]
    is_random_balance: bool = False
    """Which backend is met: at random, or in turn."""
    noise: float = 0.0
    """Share of connections spoiled at random."""
    noise_fates: tuple[Fate, ...] = (Fate.FIN, Fate.RESET, Fate.SILENCE)
    rate_count: int | None = None
    """Connections let through in rate_window_s; more meet rate_fate."""
    rate_window_s: float = 5.0
    rate_fate: Fate = Fate.RESET
    dies_after: int | None = None
    """Connections after which nobody listens."""
    blocks_after_version: TlsVersion | None = None
    """A hello of this version gets us blocked for 60 s (an intrusion prevention system)."""
    block_fate: Fate = Fate.RESET
    is_one_at_a_time: bool = False
    seed: int = 0

    _random: random.Random = field(init=False)
    _met: int = field(init=False, default=0)
    _let_through_at: list[float] = field(init=False, default_factory=list)
    _blocked_until: float = field(init=False, default=-1.0)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def connect(self, hello: wire.ClientHello, *, now: float, place: int) -> tuple[Reaction, Backend]:
        """Return what one connection meets at this time; place: its place among connections begun together."""
        self._met += 1
        at = self._random.randrange(len(self.backends)) if self.is_random_balance else self._met % len(self.backends)
        backend = self.backends[at]
        if self.dies_after is not None and self._met > self.dies_after:
            return Fate.REFUSED, backend
        if now < self._blocked_until:
            return self.block_fate, backend
        if self.rate_count is not None:
            self._let_through_at = [t for t in self._let_through_at if t > now - self.rate_window_s]
            if len(self._let_through_at) >= self.rate_count:
                return self.rate_fate, backend
            self._let_through_at.append(now)
        if self.is_one_at_a_time and place > 0:
            return Fate.SILENCE, backend
        if self.noise and self._random.random() < self.noise:
            return self._random.choice(self.noise_fates), backend
        if self.blocks_after_version is not None and hello.asked == self.blocks_after_version:
            self._blocked_until = now + 60.0
            return self.block_fate, backend
        return backend.reply(hello), backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """One endpoint, asked to the end."""

    exchanges: tuple[Exchange, ...]
    answers: tuple[Answer, ...]
    paused_s: float

    @property
    def count(self) -> int:
        return len(self.exchanges)

    def states(self) -> dict[TlsVersion, State]:
        """Return the judgement a version, by way of the evidence."""
        found = dict.fromkeys(ALL_VERSIONS, State.UNKNOWN)
        for item in self.evidence():
            # ENABLED stands against DISABLED within a run (merge)
            if isinstance(item, Observation) and found[item.version] is not State.ENABLED:
                found[item.version] = item.state
        return found

    def evidence(self) -> tuple[Observation | Gap, ...]:
        return classify_endpoint(ENDPOINT, self.exchanges, run="r", tool_version="0", asked_at=BEGIN)

    def shown(self) -> str:
        lines = [f"{a.version.label:7} {a.variant or 'handshake':9} {a.kind.name} {a.text}" for a in self.answers]
        lines += [
            f"=> {item.version.label} {item.state if isinstance(item, Observation) else item.reason} "
            f"{item.reason if isinstance(item, Observation) else item.detail}"
            for item in self.evidence()
        ]
        return "\n".join(lines)


def climb(way: Way, *, confirm: Collection[TlsVersion] = ALL_VERSIONS, walks_down: bool = False) -> Climb:
    """Drive the ladder against the model until it has no more questions."""
    exchanges: list[Exchange] = []
    answers: list[Answer] = []
    now = paused_s = 0.0
    while (batch := plan_next(answers, confirm=confirm, walks_down=walks_down)) is not None:
        assert batch.questions, "an empty batch would never end"
        assert batch.pause_s >= 0
        now += batch.pause_s
        paused_s += batch.pause_s
        for place, question in enumerate(batch.questions):
            now += CONNECTION_S
            exchange = _exchange(way, question, now=now, place=place, number=len(exchanges))
            exchanges.append(exchange)
            answers.append(read_answer(exchange))
        assert len(answers) <= MOST_QUESTIONS + 5, "the ladder does not end"
    return Climb(exchanges=tuple(exchanges), answers=tuple(answers), paused_s=paused_s)


def _exchange(way: Way, question: Question, *, now: float, place: int, number: int) -> Exchange:
    is_handshake = question.variant is None
    # The engine's hello is one of moderate length with the usual suites: the compact one stands for it.
    sent, hello = _our_hello(question.version, question.variant or HelloVariant.COMPACT, ENDPOINT.server_name)
    reaction, backend = way.connect(hello, now=now, place=place)
    received, ending, os_error = b"", Ending.COMPLETE, None
    if isinstance(reaction, Fate):
        ending, os_error = _ENDINGS[reaction]
    else:
        received = reaction
    is_completed = False
    if is_handshake and received:
        answer = wire_version(received)
        suites = backend.suites_13 if answer == TlsVersion.TLS1_3 else backend.suites
        is_completed = answer == question.version and bool(suites - NOT_IN_NASSL) and backend.name_refusal is None
        if answer is not None and not is_completed:
            received = alert(40)
    return Exchange(
        request=ProbeRequest(
            id=number,
            probe=Probe.HANDSHAKE if is_handshake else Probe.HELLO,
            endpoint=ENDPOINT,
            version=question.version,
            variant=question.variant,
        ),
        started_at=BEGIN + timedelta(seconds=now),
        sent=sent,
        received=received,
        ending=ending,
        elapsed_s=CONNECTION_S,
        os_error=os_error,
        engine=EngineReport(engine="model", completed=is_completed) if is_handshake else None,
    )


def wire_version(received: bytes) -> int | None:
    """Return the version of the ServerHello that the model itself built, None for anything else."""
    if received[:1] == b"\x16" and received[5:6] == b"\x02":
        return TlsVersion.TLS1_3 if b"\x00\x2b\x00\x02\x03\x04" in received else int.from_bytes(received[9:11], "big")
    return TlsVersion.SSL2 if received[:1] >= b"\x80" and received[2:3] == b"\x04" else None


def truth(backends: Sequence[Backend], version: TlsVersion) -> bool:
    """Whether any machine has the version."""
    return any(version in backend.enabled for backend in backends)


def silent_but(backend: Backend) -> Backend:
    """The same machine, but for every refusal silence."""
    return replace(backend, refusals=dict.fromkeys(ALL_VERSIONS, Fate.SILENCE))
