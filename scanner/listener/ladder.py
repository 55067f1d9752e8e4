"""Which one version to answer a hello with. Pure: what is remembered of the client and its hello in, a decision out.

A hello shows what a client offers; only an answer shows what it settles for (docs of real stacks: OpenSSL's security
level removes versions that supported_versions lists, and below a hello without list everything is open). So the first
connection of a client is answered with the highest version it offers, and the following ones with each lower version
once, past refusals too, since ranges have holes. Then it gets its best version for a while, before it starts again: a
client that only retries is served, and what it settles for is seen more than once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from scanner.model.versions import TlsVersion
from scanner.outbound.tokens import ProbeToken
from scanner.tls.client_hello import ClientHello

RESTS = 4
"""Connections with the best version after all were tried, before they are tried again."""
PROTOCOL_VERSION = 70
"""The alert for a hello that can't have the version wanted (RFC 8446 section 6.2)."""

_DOWNWARD = tuple(sorted(TlsVersion, reverse=True))

ClientKey = tuple[str, str, bool]
"""Peer address, server name in lower case (empty: none), whether the hello came in SSLv2 format."""


@dataclass(frozen=True, slots=True)
class Climb:
    """What is remembered of one client."""

    tried: frozenset[TlsVersion] = frozenset()
    """Versions answered in this cycle."""
    accepted: frozenset[TlsVersion] = frozenset()
    """Versions with which a handshake was completed, ever."""
    rests_left: int = 0
    """Connections that still get the best version before the next cycle."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to answer."""

    version: TlsVersion | None
    """The only version to speak; None: answer nothing but the alert."""
    alert: int | None = None
    """The fatal alert to close with where version is None."""


_REFUSAL = Decision(None, PROTOCOL_VERSION)


def possible_versions(hello: ClientHello) -> tuple[TlsVersion, ...]:
    """Return what the hello can be answered with, newest first: what it offers, and what it does not exclude."""
    return tuple(version for version in _DOWNWARD if _is_possible(hello, version))


def decide_version(hello: ClientHello, token: ProbeToken | None, climb: Climb) -> tuple[Decision, Climb]:
    """Return what to answer and what to remember.

    A probe token decides alone, and the climb stays as it is: the scan asks its own questions. A version that the hello
    excludes is never answered, whoever asks for it: what followed would speak of our breach, not of the client.
    """
    possible = possible_versions(hello)
    if not possible:
        return _REFUSAL, climb
    if token is not None:
        wanted = token.answer.version or possible[0]
        return (Decision(wanted) if wanted in possible else _REFUSAL), climb
    if climb.rests_left > 0:
        best = next((version for version in possible if version in climb.accepted), possible[0])
        return Decision(best), replace(climb, rests_left=climb.rests_left - 1)
    # A client may come down by itself after a failure (RFC 7507): its lower hello goes on in the same cycle. Where such
    # a hello leaves nothing untried, the cycle is over as well.
    version = next((version for version in possible if version not in climb.tried), None)
    if version is None:
        return decide_version(hello, None, replace(climb, tried=frozenset(), rests_left=RESTS))
    return Decision(version), replace(climb, tried=climb.tried | {version})


def _is_possible(hello: ClientHello, version: TlsVersion) -> bool:
    if version is TlsVersion.SSL2 and not hello.is_ssl2_format:
        return False
    may = hello.may_offer(version)
    # TLS 1.3 is chosen only from a list (RFC 8446 section 4.2.1).
    return may is True if version is TlsVersion.TLS1_3 else may is not False


class Ladder:
    """Climbs of the clients seen last; the one seen longest ago is forgotten first."""

    def __init__(self, most_clients: int = 10_000) -> None:
        """most_clients: how many are remembered (some 500 bytes each)."""
        self._most_clients = most_clients
        self._climbs: OrderedDict[ClientKey, Climb] = OrderedDict()

    def __len__(self) -> int:
        return len(self._climbs)

    def decide(self, key: ClientKey, hello: ClientHello, token: ProbeToken | None) -> Decision:
        """Return what to answer this client's hello with, and remember it."""
        if token is not None:
            return decide_version(hello, token, Climb())[0]
        decision, climb = decide_version(hello, None, self._climbs.get(key, Climb()))
        self._climbs[key] = climb
        self._climbs.move_to_end(key)
        while len(self._climbs) > self._most_clients:
            self._climbs.popitem(last=False)
        return decision

    def note_accepted(self, key: ClientKey, version: TlsVersion) -> None:
        """Remember that a handshake with this version was completed."""
        climb = self._climbs.get(key)
        if climb is not None and version not in climb.accepted:
            self._climbs[key] = replace(climb, accepted=climb.accepted | {version})
