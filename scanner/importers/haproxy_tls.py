"""What the words of HAProxy's bind and server lines say of versions, and what follows from them. Pure.

The configuration manual, sections 5.1 and 5.2: the lowest and the highest version that are in force rule; only where
neither is, ``no-*`` words do, and what they leave is a range from the lowest to the highest that OpenSSL has, holes
filled. Without a lowest version, bind begins at TLS 1.2 since 2.2 (seen with 2.6; before 2.2 at TLS 1.0, which is from
memory and not verified) and server at the lowest that OpenSSL has. Seen with HAProxy 2.6 and OpenSSL 3.0: of two words
the later counts; force-* is both ends; what a line says beats ``ssl-default-*-options``, whose ``no-*`` words add up
with it; default-server hands on the ends but no ``no-*`` words; options of a global section count for the lines behind
it only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from scanner.importers.claims import Claim, blank_claim
from scanner.importers.haproxy_lines import Number, Word
from scanner.importers.openssl_ciphers import has_old_suites_at_level_0
from scanner.model.declared import Place
from scanner.model.evidence import Basis, GapReason
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_V = TlsVersion
TOKENS: Final = {
    "SSLv3": _V.SSL3, "TLSv1.0": _V.TLS1_0, "TLSv1.1": _V.TLS1_1, "TLSv1.2": _V.TLS1_2, "TLSv1.3": _V.TLS1_3,
}  # fmt: skip
"""Values of ssl-min-ver and ssl-max-ver, by exact case."""
SPELLED: Final = {version: token for token, version in TOKENS.items()}
_SUFFIXES: Final = {
    "sslv3": _V.SSL3, "tlsv10": _V.TLS1_0, "tlsv11": _V.TLS1_1, "tlsv12": _V.TLS1_2, "tlsv13": _V.TLS1_3,
}  # fmt: skip
FORCED: Final = {f"force-{suffix}": version for suffix, version in _SUFFIXES.items()}
EXCLUDED: Final = {f"no-{suffix}": version for suffix, version in _SUFFIXES.items()}
BOUNDS: Final = frozenset({"ssl-min-ver", "ssl-max-ver"})
_FIRST_READ: Final[Number] = (1, 8, 0)
_FLOOR_RAISED: Final[Number] = (2, 2, 0)
_BIND_ARGUMENT_WORDS: Final = (
    "accept-netscaler-cip alpn backlog ca-file ca-ignore-err ca-sign-file ca-sign-pass ca-verify-file cc ciphers "
    "ciphersuites client-sigalgs crl-file crt crt-ignore-err crt-list curves default-crt ecdhe expose-fd gid "
    "group guid-prefix id idle-ping interface label level maxconn mode mss name namespace nbconn nice npn ocsp- "
    "update process proto quic-cc-algo quic-socket severity-output shards sigalgs tcp-md5sig tcp-ss tcp-ut thread "
    "tls-ticket-keys uid user verify"
)
_BIND_ARGUMENTS: Final = frozenset(_BIND_ARGUMENT_WORDS.split())
_SERVER_ARGUMENT_WORDS: Final = (
    "addr agent-addr agent-inter agent-port agent-send alpn ca-file cc check-alpn check-pool-conn-name check- "
    "proto check-sni ciphers ciphersuites client-sigalgs cookie crl-file crt curves downinter error-limit fall "
    "fastinter guid hash-key id idle-ping init-addr init-state inter interface log-bufsize log-proto max-reuse "
    "maxconn maxqueue minconn namespace npn observe on-error on-marked-down on-marked-up pool-conn-name pool-low- "
    "conn pool-max-conn pool-purge-delay port proto proxy-v2-options redir resolve-net resolve-opts resolve- "
    "prefer resolvers rise shard sigalgs slowstart sni socks4 source tcp-md5sig tcp-ut track usesrc verify "
    "verifyhost weight ws"
)
_SERVER_ARGUMENTS: Final = frozenset(_SERVER_ARGUMENT_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is in force for a bind or server line, as far as it has been read."""

    is_tls: bool | None = False
    """Whether ``ssl`` is among the words; None where a variable may hold it."""
    low: TlsVersion | None = None
    high: TlsVersion | None = None
    has_odd_low: bool = False
    """Whether the lowest version is set in a form not understood: a variable."""
    has_odd_high: bool = False
    excluded: frozenset[TlsVersion] = frozenset()
    """By ``no-*`` words."""
    is_old_served: bool | None = None
    """As Claim.is_old_served; None where no cipher string is in force."""
    place: Place | None = None
    """The line of the ends in force; None where there are none."""
    excluded_at: Place | None = None
    """The line of the last ``no-*`` word."""
    gap: GapReason | None = None
    """Why nothing can be said of it at all."""

    def beside(self, shared: Options) -> Options:
        """Return the options with those of ``ssl-default-*-options`` where these say nothing."""
        if self.gap is not None:
            return self
        is_shared = (self.low is None and not self.has_odd_low and (shared.low is not None or shared.has_odd_low)) or (
            self.high is None and not self.has_odd_high and (shared.high is not None or shared.has_odd_high)
        )
        own_low, own_high = self.low is not None or self.has_odd_low, self.high is not None or self.has_odd_high
        return replace(
            self,
            low=self.low if own_low else shared.low,
            has_odd_low=self.has_odd_low if own_low else shared.has_odd_low,
            high=self.high if own_high else shared.high,
            has_odd_high=self.has_odd_high if own_high else shared.has_odd_high,
            excluded=self.excluded | shared.excluded,
            is_old_served=shared.is_old_served if self.is_old_served is None else self.is_old_served,
            place=self.place or (shared.place if is_shared else None),
            excluded_at=self.excluded_at or shared.excluded_at,
            gap=None if own_low and own_high else shared.gap,
        )


def each_word(words: Iterable[Word], kind: str) -> Iterator[tuple[Word, Word | None]]:
    """Yield each word with its argument, where it has one; ``kind`` is ``bind``, ``server`` or ``options``."""
    arguments = {"bind": _BIND_ARGUMENTS, "server": _SERVER_ARGUMENTS}.get(kind, frozenset()) | BOUNDS
    waiting = iter(words)
    for word in waiting:
        takes_one = word.text in arguments or word.text.startswith("set-proxy-v2-tlv-fmt")
        yield word, next(waiting, None) if takes_one else None


def take_words(
    options: Options, words: Iterable[Word], place: Place, kind: str, *, shared: Options | None = None
) -> Options:
    """Return the options with the words of one line taken in; ``shared`` joins a bind line where it says ``ssl``."""
    found = options
    for word, argument in each_word(words, kind):
        text = word.text
        if word.is_list:
            is_tls = found.is_tls or None
            found = replace(found, is_tls=is_tls, has_odd_low=True, has_odd_high=True, place=place)
        elif text == "ssl":
            found = replace(found, is_tls=True)
            found = found if shared is None else found.beside(shared)
        elif text == "no-ssl":
            found = replace(found, is_tls=False)
        elif text == "ssl-min-ver":
            low = TOKENS.get(argument.text) if argument else None
            found = replace(found, low=low, has_odd_low=low is None, place=place)
        elif text == "ssl-max-ver":
            high = TOKENS.get(argument.text) if argument else None
            found = replace(found, high=high, has_odd_high=high is None, place=place)
        elif text in FORCED:
            forced = FORCED[text]
            found = replace(found, low=forced, high=forced, has_odd_low=False, has_odd_high=False, place=place)
        elif text in EXCLUDED:
            found = replace(found, excluded=found.excluded | {EXCLUDED[text]}, excluded_at=place)
        elif text == "ciphers" and argument is not None:
            found = replace(found, is_old_served=has_old_suites_at_level_0(argument.text))
    return found


def range_of(options: Options, *, floor: TlsVersion | None, has_ssl3: bool) -> frozenset[TlsVersion]:
    """Return the versions in force; ``floor`` is where a bind line begins by default, None for a server line."""
    is_ranged = options.low is not None or options.high is not None
    low = options.low
    if low is None and floor is not None:
        low = floor if options.high is None or options.high >= floor else options.high
    kept = [
        version
        for version in ALL_VERSIONS[1:]
        if (has_ssl3 or version > _V.SSL3)
        and (low is None or version >= low)
        and (options.high is None or version <= options.high)
        and (is_ranged or version not in options.excluded)
    ]
    return frozenset(v for v in ALL_VERSIONS[1:] if kept and kept[0] <= v <= kept[-1])


def floors_of(version: Number | None) -> tuple[TlsVersion, ...]:
    """Return where bind lines may begin by default."""
    if version is None:
        return _V.TLS1_0, _V.TLS1_2
    return (_V.TLS1_2,) if version >= _FLOOR_RAISED else (_V.TLS1_0,)


def claim_of(options: Options, kind: str, version: Number | None, place: Place) -> Claim:
    """Return what one line's options claim; ``place`` is the line's own."""
    what = f"The {kind} line"
    said_at = options.place or options.excluded_at
    where = said_at or place
    if options.gap is not None and (options.low is None or options.high is None):
        return blank_claim(options.gap, _GAP_WORDS.get(options.gap, "It can't be known."), where)
    if options.has_odd_low or options.has_odd_high or options.is_tls is None:
        return blank_claim(GapReason.UNSUPPORTED, f"{what} has versions in a form not understood (a variable).", where)
    if version is not None and version < _FIRST_READ:
        return blank_claim(
            GapReason.UNSUPPORTED, "HAProxy before 1.8 has other rules, which are not known here.", where
        )
    floors = floors_of(version) if kind == "bind" else (None,)
    outcomes = {
        (floor, has_ssl3): found
        for floor in floors
        for has_ssl3 in (True, False)
        if (found := range_of(options, floor=floor, has_ssl3=has_ssl3))
    }
    with_ssl3 = {floor: found for (floor, has_ssl3), found in outcomes.items() if has_ssl3}
    if not with_ssl3:
        return blank_claim(GapReason.UNSUPPORTED, f"{what} leaves no version: HAProxy does not start so.", where)
    allowed: set[TlsVersion] = set()
    gaps: dict[TlsVersion, tuple[GapReason, str]] = {}
    for each in ALL_VERSIONS[1:]:
        compared = with_ssl3.values() if each is _V.SSL3 else outcomes.values()
        votes = {each in found for found in compared}
        if len(votes) == 1:
            allowed |= {each} if votes == {True} else set()
        elif len({each in found for found in with_ssl3.values()}) > 1:
            gaps[each] = (
                GapReason.VERSION_UNKNOWN,
                "A bind line begins at TLS 1.2 since HAProxy 2.2, before at TLS 1.0.",
            )
        else:
            text = "HAProxy fills holes from the lowest version on: this depends on whether its OpenSSL has SSL 3.0."
            gaps[each] = (GapReason.LIBRARY_POLICY, text)
    said = describe(options)
    reason = f"{what} has {said} in force." if said else f"No version is set for the {kind} line: HAProxy's default."
    return Claim(
        allowed=frozenset(allowed),
        reason=reason,
        place=said_at,
        basis=Basis.DECLARED if said_at else Basis.ASSUMED,
        is_old_served=bool(options.is_old_served),
        gaps=gaps,
    )


_GAP_WORDS: Final = {
    GapReason.CONDITIONAL: "Stands under an .if that the file does not settle.",
    GapReason.NOT_IN_FILE: "Its defaults section is not in this file.",
}


def describe(options: Options) -> str:
    """Return the words in force: ``ssl-min-ver TLSv1.2``; empty where there are none."""
    words = [f"ssl-min-ver {SPELLED[options.low]}"] if options.low else []
    words += [f"ssl-max-ver {SPELLED[options.high]}"] if options.high else []
    if not words:
        words = [word for word, version in EXCLUDED.items() if version in options.excluded]
    return " ".join(words)
