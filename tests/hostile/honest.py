"""An honest scripted server, as a pure function from hello to reply; the hostile peers are built on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from scanner.model.versions import TlsVersion
from tests.hostile import wire
from tests.hostile.wire import ClientHello


class After(Enum):
    """What follows the bytes of a reply."""

    HOLD = auto()
    """Leave the socket open until the client closes it."""
    FIN = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Bytes, and what becomes of the connection."""

    data: bytes = b""
    after: After = After.HOLD
    is_retry: bool = False
    """Whether it is a HelloRetryRequest: a second hello is to follow."""


SILENCE = Reply()
FIN = Reply(after=After.FIN)
RESET = Reply(after=After.RESET)


def alert(
    description: int, *, level: int = wire.FATAL, record_version: int = 0x0303, after: After = After.FIN
) -> Reply:
    return Reply(data=wire.encode_alert(description, level=level, record_version=record_version), after=after)


PROTOCOL_VERSION = alert(70, record_version=0x0301)
HANDSHAKE_FAILURE = alert(40)

OPENSSL_LIKE: Mapping[TlsVersion, Reply] = {TlsVersion.SSL3: alert(40, record_version=0x0300)}
"""Today's OpenSSL: 40 in a record of version 3.0 where SSLv3 is not built in, 70 otherwise (tls-behaviour.md)."""

SSL2_KINDS = (0x010080, 0x0700C0, 0x020080)
"""RC4-128-MD5, DES-192-EDE3-CBC-MD5, RC4-128-EXPORT40-MD5 (SSL 2.0 draft section 4.1)."""
PLAIN_SUITE = 0x002F
"""TLS_RSA_WITH_AES_128_CBC_SHA."""
SUITES_OLD = frozenset({0x002F, 0x0035, 0x000A, 0x0005, 0xC013, 0xC014})
SUITES_12 = SUITES_OLD | {0xC02F, 0xC030, 0xC02B, 0xC02C, 0x009C, 0x009D, 0x003C}
SUITES_13 = frozenset({0x1301, 0x1302, 0x1303})
SUITES_PSK = frozenset({0x008C, 0x008D, 0x00A8, 0x00A9, 0x00AE})
"""TLS_PSK_WITH_AES_128_CBC_SHA, ..._256_CBC_SHA, AES_128_GCM, AES_256_GCM, AES_128_CBC_SHA256 (RFC 4279, RFC 5487)."""
SUITES_EXPORT = frozenset({0x0003, 0x0006, 0x0008, 0x000E, 0x0011, 0x0014})
"""The RSA, DH and DHE export suites (RFC 2246 appendix A.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """A server that answers as its configuration says."""

    enabled: frozenset[TlsVersion]
    refusal: Reply = PROTOCOL_VERSION
    """Answer to a hello with no version in common."""
    refusals: Mapping[TlsVersion, Reply] = field(default_factory=dict)
    """Answers by version asked for, where they differ from refusal."""
    no_suite: Reply = HANDSHAKE_FAILURE
    """Answer to a hello with a version but no suite in common."""
    suites: frozenset[int] | None = None
    """Two-byte suites accepted; None for what an ordinary server has."""
    is_exact: bool = False
    """True where only the highest version offered is looked at: no lower one is chosen instead."""

    knows_extension: bool = True
    """False for a server from before TLS 1.3, which does not read supported_versions."""

    def choose_version(self, hello: ClientHello) -> int | None:
        """Return the version number that hello and server have in common, as the server picks it."""
        offered = hello.offered if self.knows_extension else hello.offered_before_13
        return next((number for number in (offered[:1] if self.is_exact else offered) if number in self.enabled), None)

    def refuse(self, hello: ClientHello) -> Reply:
        return self.refusals.get(hello.asked, self.refusal)  # type: ignore[call-overload]  # IntEnum keys equal ints

    def reply(self, hello: ClientHello) -> Reply:
        version = self.choose_version(hello)
        if version is None:
            return self.refuse(hello)
        if version == TlsVersion.SSL2:
            kinds = tuple(kind for kind in SSL2_KINDS if kind in hello.suites)
            return Reply(data=wire.encode_ssl2_server_hello(kinds)) if kinds else self.no_suite
        suite = self.choose_suite(hello, version)
        if suite is None:
            return self.no_suite
        if version == TlsVersion.TLS1_3:
            return self._reply_13(hello, suite)
        message = wire.encode_server_hello(
            version, suite, random=self._random(version), extensions=_renegotiation_info(hello)
        )
        return Reply(data=wire.encode_record(wire.HANDSHAKE, version, message))

    def choose_suite(self, hello: ClientHello, version: int) -> int | None:
        """Return the client's first suite that fits the version; None where there is none."""
        if version == TlsVersion.TLS1_3:
            accepted = SUITES_13
        else:
            accepted = self.suites or (SUITES_12 if version == TlsVersion.TLS1_2 else SUITES_OLD)
        return next((suite for suite in hello.suites if suite in accepted), None)

    def _reply_13(self, hello: ClientHello, suite: int) -> Reply:
        group = next((g for g in hello.share_groups if g in wire.SHARES), None)
        is_retry = group is None
        if group is None:
            group = next((g for g in hello.groups if g in wire.SHARES), None)
            if group is None:
                return HANDSHAKE_FAILURE
        message = wire.encode_server_hello_13(suite, session_id=hello.session_id, group=group, is_retry=is_retry)
        return Reply(data=wire.encode_record(wire.HANDSHAKE, 0x0303, message), is_retry=is_retry)

    def _random(self, version: int) -> bytes:
        """RFC 8446 section 4.1.3: a server that has a newer version says so in the last eight bytes."""
        if version == TlsVersion.TLS1_2 and TlsVersion.TLS1_3 in self.enabled:
            return wire.PLAIN_RANDOM[:24] + wire.DOWNGRADE_TO_1_2
        if version < TlsVersion.TLS1_2 and self.enabled & {TlsVersion.TLS1_2, TlsVersion.TLS1_3}:
            return wire.PLAIN_RANDOM[:24] + wire.DOWNGRADE_TO_1_1_OR_BELOW
        return wire.PLAIN_RANDOM


def _renegotiation_info(hello: ClientHello) -> dict[int, bytes]:
    return {wire.RENEGOTIATION_INFO: b"\0"} if hello.has_renegotiation_signal and not hello.is_ssl2_format else {}
