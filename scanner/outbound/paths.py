"""What a proxy does to TLS on its way to our listener: tunnel, re-encryption, blocked or unknown. Pure.

The proof is in bytes of both ends. A tunnel hands on what it gets: the hello that arrives is the one that was sent, and
the ServerHello that comes back is the one the listener made. A proxy that ends TLS has two sessions, so the randoms of
the two ServerHellos differ (RFC 8446 section 4.1.3), and so do the certificates. Nothing is
concluded from one end alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from types import MappingProxyType

from scanner.model.exchange import Ending, Exchange, Probe
from scanner.model.outbound import Mirroring, PathKind
from scanner.model.subjects import Endpoint, Upgrade
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.outbound.forms import form_of
from scanner.outbound.tokens import Answer, ProbeToken, read_name, read_path
from scanner.tls.client_hello import ClientHello, decode_client_hello
from scanner.tls.reply import ServerHello, decode_reply, decode_reply_after_retry

VARIANTS: tuple[TlsVersion | None, ...] = (None, TlsVersion.TLS1_2, TlsVersion.TLS1_0)
"""Forms of our own hello: TLS 1.0 to 1.3 (None), TLS 1.2 only, TLS 1.0 only."""

_SPOKEN_DECLINES = 2
"""How often a proxy must say no to a form of hello before it is not asked again: a 503 may pass."""
_MOST_TRIES = 3
"""Questions of one kind that bring nothing, before it is left open."""
_MOST_TRIES_WORDLESS = 8
"""The same where a client hangs up without a word: six of these with controls count (docs/method.md)."""


class Vote(Enum):
    """What one passage proves of the way."""

    TUNNEL = auto()
    RE_ENCRYPTS = auto()
    CONTRADICTION = auto()


@dataclass(frozen=True, slots=True)
class PathQuestion:
    """One connection of our own client through a proxy (or straight) to the listener."""

    variant: TlsVersion | None
    """The only version our hello offers; None: all from TLS 1.0 on."""
    answer: Answer
    """What the listener is asked to answer with."""
    is_direct: bool = False
    """Whether it goes without the proxy, as a control."""


@dataclass(frozen=True)
class Passage:
    """One question and what arrived at the listener of it."""

    question: Exchange
    """Probe.PATH."""
    arrivals: tuple[Exchange, ...]
    """Probe.LISTENER, with the question's nonce."""

    @property
    def variant(self) -> TlsVersion | None:
        """As in PathQuestion."""
        return self.question.request.version

    @cached_property
    def token(self) -> ProbeToken | None:
        """The question's token."""
        token = read_name(self.question.request.endpoint.server_name)
        return token if isinstance(token, ProbeToken) else None

    @property
    def is_declined(self) -> bool:
        """Whether the proxy said that it won't open the way."""
        return self.question.ending is Ending.UPGRADE_DECLINED

    @property
    def has_begun(self) -> bool:
        """Whether the way was opened and our hello went out."""
        return bool(self.question.sent) and not self.is_declined

    @cached_property
    def hellos(self) -> tuple[ClientHello, ...]:
        """The hellos that arrived."""
        found = (decode_client_hello(arrival.received) for arrival in self.arrivals)
        return tuple(hello for hello in found if isinstance(hello, ClientHello))

    @property
    def own_hellos(self) -> tuple[ClientHello, ...]:
        """Those among them that the proxy made itself: one that it copied from us says nothing of its own client."""
        sent = self.sent_hello
        return tuple(hello for hello in self.hellos if sent is None or hello.message != sent.message)

    @property
    def own_arrivals(self) -> tuple[Exchange, ...]:
        """The arrivals but for those with a hello of ours."""
        copied = None if self.sent_hello is None else self.sent_hello.message
        return tuple(
            arrival
            for arrival in self.arrivals
            for hello in [decode_client_hello(arrival.received)]
            if not isinstance(hello, ClientHello) or hello.message != copied
        )

    @cached_property
    def sent_hello(self) -> ClientHello | None:
        """The hello that was sent."""
        hello = decode_client_hello(self.question.sent)
        return hello if isinstance(hello, ClientHello) else None

    @cached_property
    def is_identical(self) -> bool:
        """Whether a hello arrived that is the one sent, byte for byte; records may be cut anew on the way."""
        sent = self.sent_hello
        return sent is not None and any(hello.message == sent.message for hello in self.hellos)

    @cached_property
    def is_same_session(self) -> bool | None:
        """Whether the ServerHello or certificate that came back is the listener's; None where that is not known."""
        seen = _server_random(self.question.received)
        made = {random for arrival in self.arrivals if (random := _server_random(arrival.sent)) is not None}
        leaf = _leaf(self.question)
        leaves = {own for arrival in self.arrivals if (own := _leaf(arrival)) is not None}
        if seen is not None and made:
            if seen in made:
                return True
            # The listener's own certificate came back, so the session was with it: what arrived is a connection beside
            # it, by which some proxies look at a server first, and the session's own is not among the arrivals.
            return None if leaf in leaves else False
        return leaf in leaves if leaf is not None and leaves else None

    @cached_property
    def vote(self) -> Vote | None:
        """What it proves; None for nothing."""
        if not self.hellos or self.is_same_session is None:
            return None
        if self.is_same_session:
            return Vote.TUNNEL if self.is_identical else Vote.CONTRADICTION
        return Vote.RE_ENCRYPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is judged of the way, without the versions."""

    kind: PathKind
    reason: str
    proof: tuple[str, ...]
    mirroring: Mirroring


def read_passages(exchanges: Iterable[Exchange], way: Endpoint, *, is_direct: bool = False) -> tuple[Passage, ...]:
    """Return the passages through one proxy to one listener, in the order asked.

    way: the proxy's address and port, how it is asked, and the destination. is_direct: those that went straight there
    instead, whatever the address.
    """
    exchanges = tuple(exchanges)
    arrived: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        if exchange.request.probe is Probe.LISTENER:
            token = read_name(exchange.request.endpoint.server_name) or read_path(exchange.request.path)
            if isinstance(token, ProbeToken):
                arrived.setdefault(token.nonce, []).append(exchange)
    found = []
    for exchange in exchanges:
        endpoint = exchange.request.endpoint
        if exchange.request.probe is not Probe.PATH or endpoint.destination != way.destination:
            continue
        if is_direct != (endpoint.upgrade is Upgrade.NONE):
            continue
        if not is_direct and (endpoint.address, endpoint.port, endpoint.upgrade) != (
            way.address,
            way.port,
            way.upgrade,
        ):
            continue
        token = read_name(endpoint.server_name)
        nonce = token.nonce if isinstance(token, ProbeToken) else ""
        found.append(Passage(exchange, tuple(arrived.get(nonce, ()))))
    return tuple(found)


def judge_way(passages: Sequence[Passage]) -> Way:
    """Return what the proxy does to TLS, with the proof."""
    votes = [passage.vote for passage in passages]
    begun = [passage for passage in passages if passage.has_begun]
    proof = _prove(passages)
    mirroring = Mirroring.UNKNOWN
    if Vote.CONTRADICTION in votes:
        kind, reason = PathKind.UNKNOWN, "a hello was changed on the way within one TLS session, which nobody can do"
    elif Vote.TUNNEL in votes and Vote.RE_ENCRYPTS in votes:
        kind, reason = PathKind.UNKNOWN, "some connections were passed through and some re-encrypted"
    elif Vote.TUNNEL in votes:
        kind, reason = PathKind.TUNNEL, "the hello arrived byte for byte, and the listener's own answer came back"
    elif Vote.RE_ENCRYPTS in votes:
        kind, reason = (
            PathKind.RE_ENCRYPTS,
            "client and listener had two TLS sessions: the proxy ends one and opens another",
        )
        mirroring = _judge_mirroring(passages)
    elif not passages:
        kind, reason = PathKind.UNKNOWN, "nothing was asked"
    elif not begun:
        kind, reason = _judge_closed(passages)
    elif any(passage.hellos for passage in begun):
        kind, reason = PathKind.UNKNOWN, "hellos arrived, but no answer came back to compare with"
    elif any(_server_random(passage.question.received) is not None for passage in begun):
        kind, reason = PathKind.UNKNOWN, "somebody answered, but nothing arrived at the listener"
    else:
        kind, reason = (
            PathKind.UNKNOWN,
            "the proxy opened the way, but nothing arrived at the listener and nothing came back",
        )
    return Way(kind=kind, reason=reason, proof=proof, mirroring=mirroring)


def plan_path(
    passages: Sequence[Passage],
    direct: Sequence[Passage] | None,
    settled: Mapping[TlsVersion | None, Collection[TlsVersion]] = MappingProxyType({}),
) -> PathQuestion | None:
    """Return what to ask next; None: no more.

    direct: the passages without the proxy; None: there is no such way. settled: versions that need not be asked about
    for a form of our hello, as what the proxy offers and accepts may depend on it.
    """
    if direct is not None and not direct:
        return PathQuestion(None, Answer.ANY, is_direct=True)
    for variant in VARIANTS:
        if _wants_more(passages, variant):
            return PathQuestion(variant, Answer.ANY)
    if judge_way(passages).kind is not PathKind.RE_ENCRYPTS:
        return None
    for version in reversed(ALL_VERSIONS):
        if version is TlsVersion.SSL2:  # a hello in TLS records is no question about SSL 2.0
            continue
        for group in group_variants(passages):
            question = _maybe_question(passages, group, version, settled.get(group[0], ()))
            if question is not None:
                return question
    return None


def group_variants(passages: Sequence[Passage]) -> tuple[tuple[TlsVersion | None, ...], ...]:
    """Return the forms of our hello, those together for which the proxy's own hello is the same."""
    groups: dict[frozenset[str], list[TlsVersion | None]] = {}
    for variant in VARIANTS:
        forms = {form_of(hello) for passage in passages if passage.variant is variant for hello in passage.own_hellos}
        if forms:
            groups.setdefault(frozenset(forms), []).append(variant)
    return tuple(map(tuple, groups.values()))


def _maybe_question(
    passages: Sequence[Passage],
    group: Collection[TlsVersion | None],
    version: TlsVersion,
    settled: Collection[TlsVersion],
) -> PathQuestion | None:
    """Return what to ask next of a version that the proxy may offer for these forms of our hello."""
    answer = Answer.for_version(version)
    own = [passage for passage in passages if passage.variant in group and passage.token is not None]
    may_offer = any(hello.may_offer(version) is not False for passage in own for hello in passage.own_hellos)
    if not may_offer or version in settled:
        return None
    variant = next(iter(group))
    tried = [passage for passage in own if passage.token is not None and passage.token.answer is answer]
    arrived = sum(bool(passage.hellos) for passage in tried)
    if len(tried) - arrived < _MOST_TRIES and len(tried) < _MOST_TRIES_WORDLESS:
        return PathQuestion(variant, answer)
    # A client that hangs up without a word counts only among good connections, so one must follow.
    is_wordless = arrived >= _MOST_TRIES_WORDLESS - 1
    if is_wordless and own[-1] is tried[-1]:
        return PathQuestion(variant, Answer.ANY)
    return None


def _wants_more(passages: Sequence[Passage], variant: TlsVersion | None) -> bool:
    own = [
        passage
        for passage in passages
        if passage.variant is variant and passage.token is not None and passage.token.answer is Answer.ANY
    ]
    if any(passage.vote is not None for passage in own) or len(own) >= _MOST_TRIES:
        return False
    declined = [passage for passage in passages if passage.is_declined]
    if len(declined) >= _SPOKEN_DECLINES and len(declined) == len(passages):
        return False  # the answer does not depend on the hello, which it has not seen
    # Where another form was decided, a form that fails is a client the proxy won't serve: two tries are enough.
    has_vote = any(passage.vote is not None for passage in passages)
    return not (has_vote and len(own) >= _SPOKEN_DECLINES)


def _judge_closed(passages: Sequence[Passage]) -> tuple[PathKind, str]:
    declined = [passage.question.os_error or "" for passage in passages if passage.is_declined]
    if len(declined) == len(passages):
        words = ", ".join(dict.fromkeys(text for text in declined if text))
        return PathKind.BLOCKED, f"the proxy would not open the way: {words}" if words else "the proxy hung up"
    endings = ", ".join(dict.fromkeys(passage.question.ending.value for passage in passages))
    return PathKind.UNKNOWN, f"the proxy gave no answer ({endings})"


def _judge_mirroring(passages: Sequence[Passage]) -> Mirroring:
    """Compare the highest version offered for each form of our hello; the forms differ in just that."""
    highest: dict[TlsVersion | None, set[TlsVersion | None]] = {}
    for passage in passages:
        if passage.vote is Vote.RE_ENCRYPTS:
            highest.setdefault(passage.variant, set()).update(hello.maximum for hello in passage.hellos)
    if len(highest) < 2 or None not in highest:
        return Mirroring.UNKNOWN
    return Mirroring.INDEPENDENT if len(set().union(*highest.values())) == 1 else Mirroring.MIRRORS


def _prove(passages: Sequence[Passage]) -> tuple[str, ...]:
    lines: dict[str, int] = {}
    for passage in passages:
        offer = "TLS 1.0 to 1.3" if passage.variant is None else f"{passage.variant.title} only"
        if passage.is_declined:
            what = f"the proxy said {passage.question.os_error or 'nothing and hung up'}"
        elif not passage.has_begun:
            what = f"the way was not opened ({passage.question.ending.value})"
        elif not passage.hellos:
            what = "no hello arrived at the listener"
        else:
            arrived = (
                "the same hello arrived"
                if passage.is_identical
                else f"another hello arrived ({_offer(passage.hellos[-1])})"
            )
            back = {
                True: "the listener's answer came back",
                False: "another answer came back",
                None: "no answer came back",
            }
            what = f"{arrived}, {back[passage.is_same_session]}"
        line = f"our client offered {offer}: {what}"
        lines[line] = lines.get(line, 0) + 1
    return tuple(line if count == 1 else f"{line} ({count} times)" for line, count in lines.items())


def _offer(hello: ClientHello) -> str:
    if hello.supported_versions is not None:
        return ", ".join(version.title for version in hello.offered()) or "no version that is known"
    return "an unknown version" if hello.maximum is None else f"up to {hello.maximum.title}"


def _server_random(data: bytes) -> bytes | None:
    """Return the random of the ServerHello in a server's bytes; a HelloRetryRequest's is always the same and none."""
    reply = decode_reply(data) if data else None
    if isinstance(reply, ServerHello) and reply.is_retry_request:
        reply = decode_reply_after_retry(data)
    return reply.random if isinstance(reply, ServerHello) and not reply.is_retry_request else None


def _leaf(exchange: Exchange) -> bytes | None:
    engine = exchange.engine
    return engine.chain_der[0] if engine is not None and engine.chain_der else None
