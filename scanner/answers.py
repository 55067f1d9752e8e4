"""What one exchange says, taken by itself. Pure: the third law."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from scanner.model.exchange import Ending, Exchange, HelloVariant, Probe
from scanner.model.versions import TlsVersion
from scanner.tls.alerts import PROTOCOL_VERSION, UNRECOGNIZED_NAME, render_alert
from scanner.tls.hello import offered_suites
from scanner.tls.reply import (
    Alert,
    Incomplete,
    Malformed,
    NotTls,
    ServerHello,
    Ssl2Error,
    Ssl2ServerHello,
    decode_reply,
    decode_reply_after_retry,
)
from scanner.tls.suites import FOR_TLS13


class AnswerKind(Enum):
    """The kinds of answer that judgement tells apart."""

    # Enum's own hash is written in Python; answers are looked up by their kind ten times a question.
    __hash__ = object.__hash__

    ACCEPTED = auto()
    """A ServerHello that may be given to this hello."""
    VERSION_REFUSED = auto()
    """Alert protocol_version(70)."""
    ALERT = auto()
    """Any other alert."""
    CLOSED = auto()
    """FIN without a word."""
    RESET = auto()
    """RST without a word."""
    SILENT = auto()
    """Nothing before the deadline."""
    ODD = auto()
    """Bytes that no TLS server may send here."""
    NOT_TLS = auto()
    """Bytes of another protocol."""
    NO_CONNECTION = auto()
    """No TCP connection."""
    NOT_ASKED = auto()
    """Our own failure, or the question was cut off: says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One exchange, read."""

    version: TlsVersion
    """The version asked for."""
    variant: HelloVariant | None
    """The form of hello; None for an sslyze handshake."""
    kind: AnswerKind
    """What came."""
    text: str
    """What came, for people: ``alert handshake_failure(40)``."""
    at: datetime
    """When."""
    ending: Ending
    """How the connection ended."""
    accepted: TlsVersion | None = None
    """The version of the ServerHello, where kind is ACCEPTED."""
    is_retry_request: bool = False
    """HelloRetryRequest: proves the version, but comes before the server looks at name and certificate."""
    is_nameless: bool = False
    """The endpoint has a server name, but this hello could not carry it (SSLv2, SSLv3 without extensions)."""
    is_completed: bool = False
    """An sslyze handshake ran to its end."""
    alert: int | None = None
    """Alert number, where kind is ALERT."""
    is_contested: bool = False
    """ACCEPTED, but with a doubt that must be shown."""
    is_downgraded: bool = False
    """ServerHello.random says that the server supports a higher version than it chose (RFC 8446 section 4.1.3)."""
    suite: int | None = None
    """Code point of the suite chosen."""
    sent_bytes: int = 0
    """Length of what was sent: some boxes let no long hello through."""

    @property
    def is_control(self) -> bool:
        """Whether this shows that the peer serves us at this moment, under this name."""
        return (
            self.kind is AnswerKind.ACCEPTED
            and not self.is_retry_request
            and not self.is_contested
            and not self.is_nameless
        )

    @property
    def has_lower(self) -> bool:
        """Whether a lower version than the one asked for was chosen."""
        return self.accepted is not None and self.accepted < self.version


_SILENT_ENDINGS = {
    Ending.PEER_CLOSED: (AnswerKind.CLOSED, "the connection was closed without an answer"),
    Ending.PEER_RESET: (AnswerKind.RESET, "the connection was reset"),
    Ending.TIMED_OUT_READ: (AnswerKind.SILENT, "no answer to the hello before the deadline"),
    Ending.TIMED_OUT_CONNECT: (AnswerKind.NO_CONNECTION, "no answer to the connection attempt before the deadline"),
    Ending.REFUSED: (AnswerKind.NO_CONNECTION, "connection refused: nothing listens there"),
    Ending.UNREACHABLE: (AnswerKind.NO_CONNECTION, "host or network unreachable"),
    Ending.UPGRADE_DECLINED: (AnswerKind.NOT_TLS, "the proxy would not open the way"),
    Ending.OVERSIZE: (AnswerKind.ODD, "bytes without end and without a ServerHello"),
    Ending.LOCAL_FAILURE: (AnswerKind.NOT_ASKED, "this machine could not ask"),
    Ending.CANCELLED: (AnswerKind.NOT_ASKED, "the question was cut off"),
    Ending.COMPLETE: (AnswerKind.ODD, "the conversation ended without a ServerHello or alert"),
}

_DOWNGRADE_FROM_TLS13 = b"DOWNGRD\x01"
_DOWNGRADE_FROM_TLS12 = b"DOWNGRD\x00"


def read_answer(exchange: Exchange) -> Answer:
    """Return what a hello or handshake exchange says. Raises ValueError for an exchange about no version."""
    request = exchange.request
    version = request.version
    if version is None:
        raise ValueError(f"a {request.probe} exchange is not about a version")

    def answer(kind: AnswerKind, text: str, *, alert: int | None = None) -> Answer:
        return Answer(
            version=version,
            variant=request.variant,
            kind=kind,
            text=text,
            at=exchange.started_at,
            ending=exchange.ending,
            alert=alert,
            sent_bytes=_hello_bytes(exchange.sent, version),
        )

    if exchange.ending is Ending.UPGRADE_DECLINED:  # what came is the proxy's, in its own protocol
        kind, text = _SILENT_ENDINGS[exchange.ending]
        return answer(kind, f"{text}: {exchange.os_error}" if exchange.os_error else text)
    reply = decode_reply(exchange.received, sent=exchange.sent) if exchange.received else Incomplete()
    match reply:
        case ServerHello(is_retry_request=True):
            # Where a second hello was answered by a ServerHello, that one says more.
            after = decode_reply_after_retry(exchange.received)
            return _read_server_hello(exchange, version, after if isinstance(after, ServerHello) else reply)
        case ServerHello():
            return _read_server_hello(exchange, version, reply)
        case Ssl2ServerHello():
            return _read_ssl2_server_hello(exchange, version, reply)
        case Alert(description=number) if number == PROTOCOL_VERSION:
            return answer(AnswerKind.VERSION_REFUSED, f"alert {render_alert(number)}")
        case Alert(description=number):
            return answer(AnswerKind.ALERT, f"alert {render_alert(number)}", alert=number)
        case Ssl2Error(code=code):
            # Kept apart from TLS alert numbers; judged like any other spoken refusal.
            return answer(AnswerKind.ALERT, f"SSLv2 ERROR {code}", alert=0x10000 + code)
        case NotTls(protocol=protocol, sample=sample):
            return answer(AnswerKind.NOT_TLS, f"the peer speaks {protocol}, not TLS: {sample!r}")
        case Malformed(problem=problem):
            return answer(AnswerKind.ODD, f"the peer sent {problem}")
        case Incomplete(passing_alerts=passing) if UNRECOGNIZED_NAME in passing:
            return answer(AnswerKind.ALERT, "warning unrecognized_name(112), then nothing", alert=UNRECOGNIZED_NAME)
        case Incomplete():
            kind, text = _SILENT_ENDINGS[exchange.ending]
            if exchange.received and exchange.ending is not Ending.OVERSIZE:
                text = f"{text}, after {len(exchange.received)} bytes that decide nothing"
            if exchange.os_error and kind in {AnswerKind.NO_CONNECTION, AnswerKind.NOT_ASKED}:
                text = f"{text} ({exchange.os_error})"
            return answer(kind, text)


def _hello_bytes(sent: bytes, version: TlsVersion) -> int:
    """Return the length of the first hello sent; after a HelloRetryRequest a second follows it."""
    if version is TlsVersion.SSL2:
        return len(sent)
    return min(len(sent), 5 + int.from_bytes(sent[3:5], "big"))


def _read_server_hello(exchange: Exchange, version: TlsVersion, hello: ServerHello) -> Answer:
    """Accept only what a server may say to this hello: never a version or suite that was not offered."""
    problem = _server_hello_problem(exchange, version, hello)
    accepted = None if problem else TlsVersion(hello.version)
    tail = hello.random[-8:]
    is_downgraded = (accepted is TlsVersion.TLS1_2 and tail == _DOWNGRADE_FROM_TLS13) or (
        accepted is not None and accepted < TlsVersion.TLS1_2 and tail == _DOWNGRADE_FROM_TLS12
    )
    engine = exchange.engine
    name = "HelloRetryRequest" if hello.is_retry_request else "ServerHello"
    return Answer(
        version=version,
        variant=exchange.request.variant,
        kind=AnswerKind.ODD if problem else AnswerKind.ACCEPTED,
        text=problem or f"{name} with {TlsVersion(hello.version).title}, suite 0x{hello.suite:04X}",
        at=exchange.started_at,
        ending=exchange.ending,
        accepted=accepted,
        # A handshake that got past a HelloRetryRequest has shown more than the retry.
        is_retry_request=hello.is_retry_request and not (engine is not None and engine.completed),
        is_nameless=_is_nameless(exchange, version),
        is_completed=engine is not None and engine.completed,
        is_downgraded=is_downgraded,
        suite=hello.suite,
        sent_bytes=_hello_bytes(exchange.sent, version),
    )


def _server_hello_problem(exchange: Exchange, version: TlsVersion, hello: ServerHello) -> str | None:
    if version is TlsVersion.SSL2:
        return "a TLS ServerHello in answer to an SSLv2 hello"
    if hello.version not in TlsVersion._value2member_map_:
        return f"a ServerHello with the unknown version 0x{hello.version:04X}"
    if hello.version > version or hello.version == TlsVersion.SSL2:
        return f"a ServerHello with {TlsVersion(hello.version).title}, which was not offered"
    if hello.is_retry_request and hello.version != TlsVersion.TLS1_3:
        return "a HelloRetryRequest without TLS 1.3"
    if version is TlsVersion.SSL3 and hello.version != TlsVersion.SSL3:
        return f"a ServerHello with {TlsVersion(hello.version).title}, which was not offered"
    if (hello.suite in FOR_TLS13) is not (hello.version == TlsVersion.TLS1_3):
        return f"a ServerHello with {TlsVersion(hello.version).title} and suite 0x{hello.suite:04X}, which do not fit"
    variant = exchange.request.variant
    if (
        exchange.request.probe is Probe.HELLO
        and variant is not None
        and hello.suite not in offered_suites(version, variant)
    ):
        return f"a ServerHello with suite 0x{hello.suite:04X}, which was not offered"
    return None


def _is_nameless(exchange: Exchange, version: TlsVersion) -> bool:
    """Whether the server answered without knowing the name that every other hello to this endpoint carries."""
    if exchange.request.endpoint.server_name is None:
        return False
    return version is TlsVersion.SSL2 or (version is TlsVersion.SSL3 and exchange.request.variant is HelloVariant.RARE)


def _read_ssl2_server_hello(exchange: Exchange, version: TlsVersion, hello: Ssl2ServerHello) -> Answer:
    is_expected = version is TlsVersion.SSL2
    has_ciphers = bool(hello.cipher_kinds)
    text = f"SSLv2 SERVER-HELLO with {len(hello.cipher_kinds)} cipher kinds"
    if not is_expected:
        text = f"an {text} in answer to a {version.title} hello"
    elif not has_ciphers:
        text = f"{text}: it completes only where the server has CVE-2015-3197"
    return Answer(
        version=version,
        variant=exchange.request.variant,
        kind=AnswerKind.ACCEPTED if is_expected else AnswerKind.ODD,
        text=text,
        at=exchange.started_at,
        ending=exchange.ending,
        accepted=TlsVersion.SSL2 if is_expected else None,
        is_contested=is_expected and not has_ciphers,
        is_nameless=_is_nameless(exchange, version),
        is_completed=exchange.engine is not None and exchange.engine.completed,
        suite=hello.cipher_kinds[0] if has_ciphers else None,
        sent_bytes=_hello_bytes(exchange.sent, version),
    )
