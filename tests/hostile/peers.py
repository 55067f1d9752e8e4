"""The hostile peers (issue 2) and the truth about each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from scanner.model.evidence import State
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from tests.hostile import behaviours as does
from tests.hostile import wire
from tests.hostile.honest import (
    FIN,
    HANDSHAKE_FAILURE,
    OPENSSL_LIKE,
    PROTOCOL_VERSION,
    RESET,
    SILENCE,
    SUITES_EXPORT,
    SUITES_PSK,
    After,
    Honest,
    Reply,
    alert,
)
from tests.hostile.runner import Behaviour, Listening, Peer

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
NAME = "sts.hostile.example"

Truth = Mapping[TlsVersion, frozenset[State]]

ON = frozenset({State.ENABLED})
OFF = frozenset({State.DISABLED})
BLIND = frozenset({State.UNKNOWN})
ON_OR_BLIND = ON | BLIND
OFF_OR_BLIND = OFF | BLIND


def _truth(enabled: Iterable[TlsVersion], *, on: frozenset[State], off: frozenset[State]) -> Truth:
    return {version: on if version in frozenset(enabled) else off for version in ALL_VERSIONS}


def exact(*enabled: TlsVersion) -> Truth:
    """Everything can be found out, and must be."""
    return _truth(enabled, on=ON, off=OFF)


def seen(*enabled: TlsVersion) -> Truth:
    """What is enabled shows itself; a refusal may have other causes."""
    return _truth(enabled, on=ON, off=OFF_OR_BLIND)


def lenient(*enabled: TlsVersion) -> Truth:
    """Nothing wrong may be said; UNKNOWN is honest."""
    return _truth(enabled, on=ON_OR_BLIND, off=OFF_OR_BLIND)


def only(*enabled: TlsVersion) -> Truth:
    """What is enabled may be found; of the rest nothing can be known."""
    return _truth(enabled, on=ON_OR_BLIND, off=BLIND)


NOTHING: Truth = only()


def _peer(
    name: str,
    description: str,
    behaviour: Behaviour,
    truth: Truth,
    *,
    hopeless: Iterable[TlsVersion] = (),
    is_ordinary: bool = False,
    server_name: str | None = None,
    gap: str | None = None,
    is_disputed: frozenset[TlsVersion] = frozenset(),
    listening: Listening = Listening.ACCEPTS,
) -> Peer:
    """Return a peer whose ideal is the known state where truth has one, and UNKNOWN for hopeless versions."""
    ideal = {
        version: State.UNKNOWN if version in hopeless else min(states - BLIND, default=State.UNKNOWN)
        for version, states in truth.items()
    }
    return Peer(
        name=name,
        description=description,
        behaviour=behaviour,
        truth=truth,
        ideal=ideal,
        is_ordinary=is_ordinary,
        server_name=server_name,
        gap=gap,
        is_disputed=is_disputed,
        listening=listening,
    )


def profile(
    *enabled: TlsVersion, refusal: Reply = PROTOCOL_VERSION, is_exact: bool = False, knows_extension: bool = True
) -> Honest:
    return Honest(
        enabled=frozenset(enabled),
        refusal=refusal,
        refusals=OPENSSL_LIKE if refusal is PROTOCOL_VERSION else {},
        is_exact=is_exact,
        knows_extension=knows_extension,
    )


MODERN = profile(TLS1_2, TLS1_3)
OLD = profile(TLS1_0, TLS1_1, TLS1_2)
HOLE = profile(TLS1_0, TLS1_2)

VERSION_SETS: Mapping[str, tuple[TlsVersion, ...]] = {
    "12": (TLS1_2,),
    "13": (TLS1_3,),
    "12-13": (TLS1_2, TLS1_3),
    "10-11-12": (TLS1_0, TLS1_1, TLS1_2),
    "10-12": (TLS1_0, TLS1_2),
    "11-13": (TLS1_1, TLS1_3),
    "10": (TLS1_0,),
    "30-10": (SSL3, TLS1_0),
    "30-11": (SSL3, TLS1_1),
    "20-30-10": (SSL2, SSL3, TLS1_0),
    "20-12": (SSL2, TLS1_2),
    "all": ALL_VERSIONS,
}


def _honest_peers() -> Iterable[Peer]:
    for label, versions in VERSION_SETS.items():
        yield _peer(
            f"honest-{label}",
            "refuses with 70, SSLv3 with 40, as OpenSSL does",
            does.honest(profile(*versions)),
            exact(*versions),
            is_ordinary=True,
        )
    for label in ("12", "10-11-12", "10", "30-10", "20-30-10", "20-12"):
        versions = VERSION_SETS[label]
        yield _peer(
            f"honest-old-{label}",
            "from before TLS 1.3: answers hellos for it with what it has",
            does.honest(profile(*versions, knows_extension=False)),
            exact(*versions),
            is_ordinary=True,
        )
    for label in ("12", "12-13", "10-12", "10-11-12"):
        versions = VERSION_SETS[label]
        yield _peer(
            f"honest-40-{label}",
            "refuses everything with 40",
            does.honest(profile(*versions, refusal=HANDSHAKE_FAILURE)),
            exact(*versions),
        )
        yield _peer(
            f"honest-fin-{label}",
            "refuses everything with FIN, as H2O and Dovecot do",
            does.honest(profile(*versions, refusal=FIN)),
            exact(*versions),
        )
        yield _peer(
            f"honest-rst-{label}",
            "refuses everything with RST",
            does.honest(profile(*versions, refusal=RESET)),
            seen(*versions),
        )
        yield _peer(
            f"honest-silent-{label}",
            "refuses everything with silence: that is never a fact",
            does.honest(profile(*versions, refusal=SILENCE)),
            # A lower version in common is answered with that one, which is a fact about the higher.
            {v: (ON if v in versions else OFF_OR_BLIND if v > min(versions) else BLIND) for v in ALL_VERSIONS},
        )
    rustls = {SSL3: HANDSHAKE_FAILURE, TLS1_0: HANDSHAKE_FAILURE, TLS1_1: HANDSHAKE_FAILURE}
    yield _peer(
        "honest-rustls",
        "TLS 1.3 only: 40 up to 1.1, 70 for 1.2, as rustls",
        does.honest(Honest(enabled=frozenset({TLS1_3}), refusals=rustls)),
        seen(TLS1_3),
    )
    yield _peer(
        "honest-13-40",
        "TLS 1.3 only, everything else 40: the same as sni-retry-40 on the wire",
        does.honest(profile(TLS1_3, refusal=HANDSHAKE_FAILURE)),
        seen(TLS1_3),
    )


def _mute_peers() -> Iterable[Peer]:
    yield _peer("silence", "accepts and never answers", does.hold, NOTHING, gap="SILENT")
    yield _peer(
        "queue-full",
        "drops every SYN",
        does.hold,
        NOTHING,
        gap="NO_ANSWER",
        listening=Listening.QUEUE_FULL,
    )
    yield _peer(
        "never-accepts",
        "connects and nobody reads",
        does.hold,
        NOTHING,
        gap="SILENT",
        listening=Listening.NEVER_ACCEPTS,
    )
    yield _peer(
        "drip",
        "a real ServerHello, one byte every two seconds",
        does.honest(MODERN, deliver=does.in_pieces(1, 2.0)),
        lenient(TLS1_2, TLS1_3),
        hopeless=ALL_VERSIONS,
    )
    yield _peer("reset-after-hello", "resets every hello", does.always(RESET), NOTHING)
    yield _peer("fin-after-hello", "closes on every hello", does.always(FIN), NOTHING)
    yield _peer("close-at-once", "closes on accept", does.close_at_once, NOTHING)
    yield _peer("fin-at-once", "half-closes on accept", does.fin_at_once, NOTHING)
    yield _peer("reset-at-once", "resets on accept", does.reset_at_once, NOTHING)
    for version in ALL_VERSIONS:
        yield _peer(
            f"silent-but-{version.label}",
            "answers hellos for one version and no others",
            does.honest(profile(version, refusal=SILENCE, is_exact=True)),
            only(version),
        )
    for delay_s, hopeless in ((0.4, ()), (1.5, ALL_VERSIONS)):
        yield _peer(
            f"slow-{delay_s}",
            "thinks before each answer",
            does.honest(OLD, pause_s=delay_s),
            lenient(TLS1_0, TLS1_1, TLS1_2),
            hopeless=hopeless,
        )


def _picky_peers() -> Iterable[Peer]:
    yield _peer(
        "reset-over-300",
        "resets hellos of more than 300 bytes",
        does.unless(HOLE, lambda hello: hello.total_bytes > 300, RESET),
        lenient(TLS1_0, TLS1_2),
    )
    for label, versions in (("10-12", (TLS1_0, TLS1_2)), ("12-13", (TLS1_2, TLS1_3))):
        yield _peer(
            f"drop-256-511-{label}",
            "drops hellos of 256 to 511 bytes, as F5 did",
            does.unless(profile(*versions), lambda hello: 256 <= hello.message_bytes <= 511, SILENCE),
            lenient(*versions),
        )
    yield _peer(
        "needs-scsv",
        "resets hellos for TLS 1.2 and below without 0x00ff, as IIS 10 on Server 2019",
        does.unless(OLD, lambda hello: TLS1_0 <= hello.asked <= TLS1_2 and not hello.has_scsv, RESET),
        exact(TLS1_0, TLS1_1, TLS1_2),
    )
    yield _peer(
        "over-150-suites",
        "decode_error(50) over 150 suites, as wolfSSL",
        does.unless(MODERN, lambda hello: len(hello.suites) > 150, alert(50)),
        lenient(TLS1_2, TLS1_3),
    )
    yield _peer(
        "status-request",
        "closes on status_request, as wolfSSL",
        does.unless(MODERN, lambda hello: wire.STATUS_REQUEST in hello.extensions, FIN),
        lenient(TLS1_2, TLS1_3),
    )
    for label, version, suites in (("psk-12", TLS1_2, SUITES_PSK), ("export-10", TLS1_0, SUITES_EXPORT)):
        for name, refusal in (("", PROTOCOL_VERSION), ("-40", HANDSHAKE_FAILURE)):
            yield _peer(
                f"{label}{name}",
                "has only suites that ordinary clients do not offer",
                does.honest(Honest(enabled=frozenset({version}), suites=suites, refusal=refusal)),
                seen(version),
            )
    yield _peer(
        "one-at-a-time",
        "serves the next client when the one before has left, as openssl s_server",
        does.honest(OLD),
        seen(TLS1_0, TLS1_1, TLS1_2),
        listening=Listening.SERIAL,
    )


def _alert_peers() -> Iterable[Peer]:
    for number in ALERTS:
        yield _peer(
            f"alert-{number}-always",
            "answers every hello with this alert",
            does.always(alert(number)),
            _truth((), on=ON, off=OFF_OR_BLIND) if number == 70 else NOTHING,
        )
        yield _peer(
            f"alert-{number}-but-12",
            "answers hellos for TLS 1.2, every other one with this alert",
            does.honest(profile(TLS1_2, refusal=alert(number), is_exact=True)),
            seen(TLS1_2),
        )
    for record_version in (0x0000, 0x0300, 0x0302):
        for number in (40, 70):
            refusal = alert(number, record_version=record_version, after=After.HOLD)
            yield _peer(
                f"alert-{number}-in-{record_version:04x}-open",
                "refuses in an odd record version and leaves the socket open, as BearSSL",
                does.honest(profile(TLS1_0, TLS1_2, refusal=refusal)),
                exact(TLS1_0, TLS1_2),
            )
    yield _peer(
        "alert-close-notify",
        "refuses with a warning close_notify, as ngIRCd",
        does.honest(profile(TLS1_2, refusal=alert(0, level=wire.WARNING))),
        seen(TLS1_2),
    )
    yield _peer(
        "alert-split",
        "refuses with an alert in two segments",
        does.honest(profile(TLS1_0, TLS1_2), deliver=does.in_pieces(6, 0.05)),
        exact(TLS1_0, TLS1_2),
    )
    yield _peer(
        "warning-112",
        "unrecognized_name as a warning, then the ServerHello, as Botan",
        does.honest(MODERN, deliver=does.after_prefix(wire.encode_alert(112, level=wire.WARNING))),
        exact(TLS1_2, TLS1_3),
    )


ALERTS = (
    *(0, 10, 20, 21, 22, 30, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 60, 70, 71, 80, 86, 90, 100),
    *(109, 110, 111, 112, 113, 114, 115, 116, 117, 120, 121),
    *(1, 99, 255),
)
"""IANA's TLS Alerts registry with its reserved and withdrawn numbers, and three that nobody has defined."""


def _framing_peers() -> Iterable[Peer]:
    modern = exact(TLS1_2, TLS1_3)
    yield _peer(
        "one-byte-segments",
        "ServerHello in segments of one byte",
        does.honest(MODERN, deliver=does.in_pieces(1, 0.001)),
        modern,
    )
    yield _peer(
        "one-byte-records",
        "ServerHello in records of one byte",
        does.honest(MODERN, deliver=does.in_one_byte_records),
        modern,
    )
    yield _peer(
        "hello-and-certificate",
        "ServerHello and Certificate in one record",
        does.honest(OLD, deliver=does.with_certificate),
        exact(TLS1_0, TLS1_1, TLS1_2),
    )
    yield _peer(
        "empty-record-first",
        "an empty handshake record, then the ServerHello",
        does.honest(MODERN, deliver=does.after_prefix(wire.encode_record(wire.HANDSHAKE, 0x0303, b""))),
        lenient(TLS1_2, TLS1_3),
    )
    yield _peer(
        "handshake-2-24",
        "a ServerHello of 2^24-1 bytes that does not come",
        does.always(
            Reply(data=wire.encode_record(wire.HANDSHAKE, 0x0303, b"\x02\xff\xff\xff" + bytes(200)), after=After.HOLD)
        ),
        NOTHING,
    )
    yield _peer(
        "handshake-2-24-coming",
        "a ServerHello of 2^24-1 bytes that does come",
        does.flood(wire.encode_record(wire.HANDSHAKE, 0x0303, b"\x02\xff\xff\xff" * 1024)),
        NOTHING,
    )
    yield _peer(
        "record-65535",
        "a record of 65,535 bytes that does not come",
        does.always(Reply(data=b"\x16\x03\x03\xff\xff" + bytes(200))),
        NOTHING,
    )
    yield _peer(
        "record-65535-coming",
        "records of 65,535 bytes for ever",
        does.flood(b"\x16\x03\x03\xff\xff" + bytes(65535)),
        NOTHING,
    )
    yield _peer(
        "endless-records",
        "application data for ever",
        does.flood(wire.encode_record(wire.APPLICATION_DATA, 0x0303, bytes(16384))),
        NOTHING,
    )
    yield _peer(
        "endless-empty-records",
        "empty handshake records for ever",
        does.flood(wire.encode_record(wire.HANDSHAKE, 0x0303, b"") * 2048),
        NOTHING,
    )
    yield _peer(
        "endless-hello-requests",
        "HelloRequest (RFC 5246 section 7.4.1.1) for ever",
        does.flood(wire.encode_record(wire.HANDSHAKE, 0x0303, wire.encode_handshake(0, b"") * 2048)),
        NOTHING,
    )
    yield _peer(
        "endless-warnings",
        "warning alerts for ever",
        does.flood(wire.encode_alert(112, level=wire.WARNING) * 1024),
        NOTHING,
    )
    yield _peer("endless-zeros", "zeros for ever, unasked", does.flood(bytes(16384), is_after_hello=False), NOTHING)


def _lying_peers() -> Iterable[Peer]:
    for number in (0x0305, 0x7F17, 0xFEFD, 0x0000):
        yield _peer(f"says-{number:04x}", "ServerHello of a version nobody knows", does.says_version(number), NOTHING)
        yield _peer(
            f"says-{number:04x}-extension",
            "the same in supported_versions",
            does.says_version(number, is_in_extension=True),
            NOTHING,
        )
    yield _peer(
        "says-12-always",
        "ServerHello of TLS 1.2 also to hellos that end at 1.0",
        does.says_version(TLS1_2),
        {**only(TLS1_2), TLS1_3: OFF_OR_BLIND},
    )
    yield _peer(
        "says-13-always",
        "supported_versions 1.3 also to hellos that do not offer it",
        does.says_version(TLS1_3, is_in_extension=True),
        only(TLS1_3),
    )
    yield _peer(
        "suite-not-offered",
        "chooses a suite that does not exist: the version is accepted, no client could go on",
        does.chooses_suite(MODERN, 0xB0DE, 0x13FE),
        lenient(TLS1_2, TLS1_3),
        hopeless=(TLS1_2, TLS1_3),
    )
    yield _peer(
        "downgrade-13",
        "has TLS 1.3 and says so (DOWNGRD), but answers with 1.2",
        does.falls_back(MODERN, asked=TLS1_3, answered=TLS1_2, sentinel=wire.DOWNGRADE_TO_1_2),
        lenient(TLS1_2, TLS1_3),
        hopeless=(TLS1_3,),
    )
    yield _peer(
        "downgrade-12",
        "has TLS 1.2 and says so (DOWNGRD), but answers with 1.1",
        does.falls_back(OLD, asked=TLS1_2, answered=TLS1_1, sentinel=wire.DOWNGRADE_TO_1_1_OR_BELOW),
        lenient(TLS1_0, TLS1_1, TLS1_2),
        hopeless=(TLS1_2,),
    )
    yield _peer("echo", "sends our bytes back", does.echo, NOTHING)
    yield _peer(
        "retry-then-nothing",
        "HelloRetryRequest, then silence",
        does.retries_then_hangs(profile(TLS1_3)),
        # Nothing was ever accepted after the look at name and certificate: a 40 may be about those.
        seen(TLS1_3),
    )
    http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    yield _peer("http-400", "plain HTTP", does.banner(b"", http), NOTHING, gap="NOT_TLS")
    yield _peer("http-waits", "plain HTTP, waits for the end of the header", does.hold, NOTHING, gap="SILENT")
    yield _peer("ssh", "SSH", does.banner(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b""), NOTHING, gap="NOT_TLS")
    yield _peer(
        "smtp",
        "SMTP",
        does.banner(b"220 mail.hostile.example ESMTP\r\n", b"500 5.5.2 Error: bad syntax\r\n"),
        NOTHING,
        gap="NOT_TLS",
    )


def _ssl2_peers() -> Iterable[Peer]:
    yield _peer(
        "ssl2-only",
        "SSLv2 and nothing else; closes on TLS",
        does.honest(profile(SSL2, refusal=FIN)),
        seen(SSL2),
    )
    yield _peer(
        "ssl2-no-cipher",
        "SSLv2 ERROR NO-CIPHER",
        does.unless(
            OLD,
            lambda hello: hello.asked == SSL2,
            Reply(data=wire.encode_ssl2_error(1), after=After.FIN),
        ),
        {**exact(TLS1_0, TLS1_1, TLS1_2), SSL2: OFF_OR_BLIND},
    )
    yield _peer(
        "ssl2-zero-ciphers",
        "SSLv2 SERVER-HELLO with no cipher: may still complete (CVE-2015-3197)",
        does.unless(OLD, lambda hello: hello.asked == SSL2, Reply(data=wire.encode_ssl2_server_hello(()))),
        {**exact(TLS1_0, TLS1_1, TLS1_2), SSL2: ON_OR_BLIND},
        is_disputed=frozenset({SSL2}),
    )


def _name_peers() -> Iterable[Peer]:
    refusals = {"112": alert(112), "40": HANDSHAKE_FAILURE, "reset": RESET}
    for label, refusal in refusals.items():
        behaviour = does.needs_name(HOLE, NAME, refusal)
        yield _peer(f"sni-{label}-missing", "refuses without a name", behaviour, NOTHING)
        yield _peer(
            f"sni-{label}-wrong", "refuses a wrong name", behaviour, NOTHING, server_name="wrong.hostile.example"
        )
        yield _peer(f"sni-{label}-right", "is content with the name", behaviour, seen(TLS1_0, TLS1_2), server_name=NAME)
        for name in (None, "wrong.hostile.example"):
            yield _peer(
                f"sni-retry-{label}-{'missing' if name is None else 'wrong'}",
                "HelloRetryRequest before it looks at the name; refuses then, and 1.2 and below",
                does.needs_name_after_retry(
                    profile(TLS1_0, TLS1_2, TLS1_3, refusal=refusal, is_exact=True), NAME, refusal
                ),
                only(TLS1_3),
                server_name=name,
            )


def _fickle_peers() -> Iterable[Peer]:
    yield from random_failure_peers(range(4))
    for label, excess in (("reset", does.reset_at_once), ("silence", does.hold)):
        for versions in ("10-11-12", "12-13", "10-12"):
            yield _peer(
                f"limit-{label}-{versions}",
                "more than 10 connections in 5 s fail",
                does.rate_limited(profile(*VERSION_SETS[versions]), most=10, window_s=5.0, excess=excess),
                lenient(*VERSION_SETS[versions]),
            )
            yield _peer(
                f"limit-4-{label}-{versions}",
                "more than 4 connections in 2 s fail",
                does.rate_limited(profile(*VERSION_SETS[versions]), most=4, window_s=2.0, excess=excess),
                lenient(*VERSION_SETS[versions]),
            )
    yield from balancer_peers(range(3))
    for lifetime in (1, 2, 3, 5, 8):
        yield _peer(
            f"dies-after-{lifetime}",
            "refuses connections after so many",
            does.mortal(HOLE, lifetime=lifetime),
            lenient(TLS1_0, TLS1_2),
        )


RESETTING = (
    ("reset", RESET, PROTOCOL_VERSION),
    ("reset-40", RESET, HANDSHAKE_FAILURE),
    ("reset-fin", RESET, FIN),
    ("reset-rst", RESET, RESET),
)
CLOSING = (("fin", FIN, PROTOCOL_VERSION), ("fin-40", FIN, HANDSHAKE_FAILURE), ("fin-fin", FIN, FIN))
"""Name, what happens to one connection in five, and how versions are refused."""


def random_failure_peers(seeds: Iterable[int], ways: Iterable[tuple[str, Reply, Reply]] = RESETTING) -> Iterable[Peer]:
    """Return peers that fail 20 % of the connections, for each seed one a version set and way to fail."""
    for seed in seeds:
        for label in ("12", "12-13", "10-11-12", "10-12"):
            versions = VERSION_SETS[label]
            for name, failure, refusal in ways:
                yield _peer(
                    f"random-{name}-{label}-{seed}",
                    "fails one connection in five",
                    does.random_failures(
                        profile(*versions, refusal=refusal), seed=f"{name}-{label}-{seed}", failure=failure
                    ),
                    lenient(*versions),
                )


def balancer_peers(seeds: Iterable[int]) -> Iterable[Peer]:
    """Return load balancers with a backend for TLS 1.2 and one for 1.0, in turns and in random order.

    The random ones serve every two connections from both backends: of a balancer that happens to show one backend
    only, nobody could tell that there is another.
    """
    backends = (profile(TLS1_2), profile(TLS1_0))
    truth = lenient(TLS1_0, TLS1_2)
    for phase in (0, 1):
        yield _peer(
            f"balancer-turns-{phase}",
            "two backends in turns, one with TLS 1.2 only, one with 1.0 only",
            does.balanced(backends, pick=lambda n, phase=phase: (n + phase) % 2),
            truth,
        )
    for seed in seeds:
        yield _peer(
            f"balancer-random-{seed}",
            "the same, in random order",
            does.balanced(
                backends, pick=lambda n, seed=seed: (random.Random(f"{seed}:{(n - 1) // 2}").randrange(2) + n) % 2
            ),
            truth,
        )


PEERS: tuple[Peer, ...] = (
    *_honest_peers(),
    *_mute_peers(),
    *_picky_peers(),
    *_alert_peers(),
    *_framing_peers(),
    *_lying_peers(),
    *_ssl2_peers(),
    *_name_peers(),
    *_fickle_peers(),
)
