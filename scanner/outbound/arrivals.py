"""What one connection that a host opened to our listener says, taken by itself. Pure: from its bytes.

Nothing is concluded before our own bytes prove that a ServerHello with a version was sent. What a client sends after it
counts as going on only where no client could have sent it without having taken that ServerHello up: ClientKeyExchange
(RFC 5246 section 7.4.7), in TLS 1.3 records under the keys that come of it. change_cipher_spec proves nothing in
TLS 1.3 (RFC 8446 appendix D.4), a second ClientHello answers a HelloRetryRequest and takes nothing up, and early data
(RFC 8446 section 4.2.10) is sent before any answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from scanner.model.exchange import Ending, Exchange
from scanner.model.versions import TlsVersion
from scanner.outbound.forms import form_of
from scanner.outbound.tokens import ProbeToken, TriggerToken, read_name, read_path
from scanner.tls.alerts import CLOSE_NOTIFY, HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY, PROTOCOL_VERSION, render_alert
from scanner.tls.client_hello import ClientHello, NeedMore, NotClientHello, decode_client_hello
from scanner.tls.reply import Alert, Reply, ServerHello, Ssl2ServerHello, decode_reply, decode_reply_after_retry

Token = ProbeToken | TriggerToken


class Outcome(StrEnum):
    """What became of the connection."""

    __hash__ = str.__hash__  # see TlsVersion

    COMPLETED = "completed"
    """The handshake ran to its end."""
    WENT_ON = "went-on"
    """The client went on after our ServerHello: it took the version up."""
    CERTIFICATE_REFUSED = "certificate-refused"
    """The client refused our certificate, which comes after the version: it took the version up."""
    VERSION_REFUSED = "version-refused"
    """Alert protocol_version(70) or inappropriate_fallback(86) to a ServerHello with a version the hello may offer."""
    SUITES_REFUSED = "suites-refused"
    """Alert handshake_failure(40) or insufficient_security(71); in SSLv2 ERROR 1."""
    NO_COMMON_SUITE = "no-common-suite"
    """Our side found no suite, group or signature algorithm that both have."""
    NOT_OFFERED = "not-offered"
    """Our side would not answer: it found its version not offered."""
    OTHER_ALERT = "other-alert"
    """Any other alert, or one that has other meanings here."""
    CLOSED = "closed"
    """FIN without a word."""
    RESET = "reset"
    """RST without a word."""
    SILENT = "silent"
    """Nothing more before the deadline."""
    NOT_ANSWERED = "not-answered"
    """Recorded only."""
    CUT_OFF = "cut-off"
    """Our side ended it: says nothing of the client."""
    ODD = "odd"
    """Bytes that no client may send here, or that do not fit together."""
    NOT_TLS = "not-tls"
    """The first bytes are no hello."""
    NO_HELLO = "no-hello"
    """It ended before a hello was there."""


ACCEPTED = frozenset({Outcome.COMPLETED, Outcome.WENT_ON, Outcome.CERTIFICATE_REFUSED})
"""Outcomes by which the client took the version up."""
WORDLESS = frozenset({Outcome.CLOSED, Outcome.RESET})
"""Outcomes that trouble on the way can forge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One connection, read."""

    id: int
    """The request's id: the order in which connections came."""
    at: datetime
    """When it was opened (UTC)."""
    ended_at: datetime
    """When it ended."""
    address: str
    """Where it came from."""
    server_name: str | None
    """SNI. Text from the network."""
    hello: ClientHello | None
    """The first hello; None where there was none."""
    form: str
    """Identity of the hello's form (scanner.outbound.forms); empty where there is no hello."""
    token: Token | None
    """The token in the server name, else in the HTTP path."""
    asked: TlsVersion | None
    """The one version that the listener would speak; None where it only recorded."""
    answered: TlsVersion | None
    """The version of the ServerHello that was sent, from its bytes; None for none, or only a HelloRetryRequest."""
    suite: int | None
    """Code point of the suite in that ServerHello."""
    outcome: Outcome
    """What became of it."""
    text: str
    """The same for people: ``refused with alert protocol_version(70)``."""
    alert: int | None = None
    """The client's alert, where there was one."""

    @property
    def has_accepted(self) -> bool:
        """Whether the client took up the version that was answered."""
        return self.answered is not None and self.outcome in ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What the client sent after its hello."""

    has_gone_on: bool = False
    has_second_hello: bool = False
    alert: int | None = None
    is_odd: bool = False


_CERTIFICATE_ALERTS = frozenset({42, 43, 44, 45, 46, 48})
"""RFC 8446 section 6.2. illegal_parameter(47) lies between them and is another matter."""
_INAPPROPRIATE_FALLBACK = 86
_VERSION_ALERTS = frozenset({PROTOCOL_VERSION, _INAPPROPRIATE_FALLBACK})
_SUITE_ALERTS = frozenset({HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY})
# user_canceled goes before the alert that matters; no_certificate is SSLv3's word for an empty client certificate.
_PASSING_ALERTS = frozenset({41, 90})
_SSL2_SUITE_ERROR = 1
_SSL2_CERTIFICATE_ERRORS = frozenset({2, 4, 6})
_DOWNGRADE = (b"DOWNGRD\x00", b"DOWNGRD\x01")  # RFC 8446 section 4.1.3
_EARLY_DATA = 42
_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA = 20, 21, 22, 23
_CLIENT_HELLO, _CLIENT_KEY_EXCHANGE = 1, 16
_SSL2_ERROR, _SSL2_CLIENT_MASTER_KEY = 0, 2
_RECEIVED_ALERT = re.compile(r"received alert (\d{1,3})\b")
_ENDINGS = {
    Ending.PEER_CLOSED: (Outcome.CLOSED, "closed the connection without a word"),
    Ending.PEER_RESET: (Outcome.RESET, "reset the connection"),
    Ending.TIMED_OUT_READ: (Outcome.SILENT, "sent nothing more before the deadline"),
    Ending.OVERSIZE: (Outcome.ODD, "sent more than a handshake may hold"),
    Ending.COMPLETE: (Outcome.CUT_OFF, "was let go by the listener"),
}


def read_arrival(exchange: Exchange) -> Arrival:
    """Return what a LISTENER exchange says. Never raises: all of it is text from the network."""
    decoded = decode_client_hello(exchange.received)
    hello = decoded if isinstance(decoded, ClientHello) else None
    endpoint = exchange.request.endpoint
    server_name = endpoint.server_name if hello is None or hello.server_name is None else hello.server_name
    outcome, text = _ending_of(exchange)
    read = Arrival(
        id=exchange.request.id,
        at=exchange.started_at,
        ended_at=exchange.started_at + timedelta(seconds=max(0.0, exchange.elapsed_s)),
        address=endpoint.address,
        server_name=server_name,
        hello=hello,
        form="" if hello is None else form_of(hello),
        token=read_name(server_name) or read_path(exchange.request.path),
        asked=exchange.request.version,
        answered=None,
        suite=None,
        outcome=outcome,
        text=text,
    )
    if isinstance(decoded, NotClientHello):
        return replace(read, outcome=Outcome.NOT_TLS, text=f"sent {decoded.reason} instead of a ClientHello")
    if isinstance(decoded, NeedMore):
        return replace(read, outcome=Outcome.NO_HELLO, text=f"{text}, before it had sent a whole ClientHello")
    if not exchange.sent:
        if exchange.request.version is None:
            return replace(read, outcome=Outcome.NOT_ANSWERED, text="recorded only: the listener gave no answer")
        return replace(read, text=f"{text}, before the listener had answered")
    return _read_answered(exchange, read, decoded)


def _ending_of(exchange: Exchange) -> tuple[Outcome, str]:
    error = exchange.engine.error if exchange.engine is not None else None
    if error is not None and error.startswith("sent alert"):
        return Outcome.CUT_OFF, f"was let go by the listener, which {error}"
    return _ENDINGS.get(exchange.ending, (Outcome.CUT_OFF, "was cut off on this side"))


def _read_answered(exchange: Exchange, read: Arrival, hello: ClientHello) -> Arrival:
    reply = decode_reply(exchange.sent)
    rest = exchange.received[hello.wire_bytes :]
    match reply:
        case Ssl2ServerHello(cipher_kinds=kinds):
            return _read_after_ssl2(replace(read, answered=TlsVersion.SSL2, suite=kinds[0] if kinds else None), rest)
        case ServerHello():
            return _read_after_server_hello(exchange, read, hello, reply)
        case Alert(description=number) if number in _SUITE_ALERTS:
            text = f"the listener found no suite, group or signature algorithm in common: {render_alert(number)}"
            return replace(read, outcome=Outcome.NO_COMMON_SUITE, text=text)
        case Alert(description=number) if number in _VERSION_ALERTS:
            text = f"the listener did not find its version offered: {render_alert(number)}"
            return replace(read, outcome=Outcome.NOT_OFFERED, text=text)
        case Alert(description=number):
            return replace(read, outcome=Outcome.CUT_OFF, text=f"refused by the listener: {render_alert(number)}")
        case _:
            return replace(read, outcome=Outcome.CUT_OFF, text="the listener sent no whole ServerHello")


def _read_after_server_hello(exchange: Exchange, read: Arrival, hello: ClientHello, reply: ServerHello) -> Arrival:
    is_retried = reply.is_retry_request
    after: Reply = decode_reply_after_retry(exchange.sent) if is_retried else reply
    rest = exchange.received[hello.wire_bytes :]
    if not isinstance(after, ServerHello) or after.is_retry_request:
        said = _read_rest_tls13(rest, is_retried=True, has_early_data=False)
        if said.alert is not None:
            text = f"said {render_alert(said.alert)} to a HelloRetryRequest"
            return replace(read, outcome=Outcome.OTHER_ALERT, alert=said.alert, text=text)
        return replace(read, text=f"{read.text}, after a HelloRetryRequest")
    if after.version not in TlsVersion._value2member_map_ or after.version == TlsVersion.SSL2:
        return replace(read, outcome=Outcome.CUT_OFF, text="the listener sent a ServerHello with an unknown version")
    answered = TlsVersion(after.version)
    read = replace(read, answered=answered, suite=after.suite)
    engine = exchange.engine
    if engine is not None and engine.completed:
        return replace(read, outcome=Outcome.COMPLETED, text="completed")
    if answered is TlsVersion.TLS1_3:
        has_early_data = hello.maybe_extension(_EARLY_DATA) is not None
        said = _read_rest_tls13(rest, is_retried=is_retried, has_early_data=has_early_data)
    else:
        said = _read_rest(rest)
    error = engine.error if engine is not None and engine.error is not None else ""
    told = _RECEIVED_ALERT.match(error)
    if answered is TlsVersion.TLS1_3 and error.startswith("sent alert"):
        # What looks like an encrypted flight could not be read: nothing shows that it came of our ServerHello.
        said = replace(said, has_gone_on=False)
    if said.alert is None and told is not None:
        said = replace(said, alert=int(told[1]))
    is_plain_refusal = hello.may_offer(answered) is not False and after.random[-8:] not in _DOWNGRADE
    return _conclude(read, said, is_plain_refusal=is_plain_refusal)


def _conclude(read: Arrival, said: _Said, *, is_plain_refusal: bool) -> Arrival:
    number = said.alert
    if number in _PASSING_ALERTS or number == CLOSE_NOTIFY:
        number = None
    if number in _CERTIFICATE_ALERTS:
        text = f"refused the listener's certificate with alert {render_alert(number)}, having accepted the version"
        return replace(read, outcome=Outcome.CERTIFICATE_REFUSED, alert=number, text=text)
    if said.has_gone_on and number not in _VERSION_ALERTS:
        more = "" if number is None else f", then said alert {render_alert(number)}"
        return replace(
            read, outcome=Outcome.WENT_ON, alert=number, text=f"went on with the handshake after the ServerHello{more}"
        )
    if number is not None:
        text = f"refused with alert {render_alert(number)}"
        outcome = Outcome.OTHER_ALERT
        if number in _SUITE_ALERTS:
            outcome = Outcome.SUITES_REFUSED
        elif number in _VERSION_ALERTS and said.has_gone_on:
            text = f"{text} after it had gone on with the handshake"
        elif number in _VERSION_ALERTS and not is_plain_refusal:
            text = f"{text} an answer that its hello does not allow"
        elif number in _VERSION_ALERTS:
            outcome = Outcome.VERSION_REFUSED
        return replace(read, outcome=outcome, alert=number, text=text)
    if said.is_odd:
        return replace(read, outcome=Outcome.ODD, text="sent bytes after our ServerHello that no client may send there")
    word = "said close_notify(0) and ended it" if said.alert == CLOSE_NOTIFY else read.text
    outcome = Outcome.CLOSED if said.alert == CLOSE_NOTIFY and read.outcome is Outcome.RESET else read.outcome
    return replace(read, outcome=outcome, text=f"{word} after our ServerHello")


def _read_rest(rest: bytes) -> _Said:
    """Read what a client of TLS 1.2 or older says after its hello, up to change_cipher_spec: then it is encrypted."""
    messages = bytearray()
    alert: int | None = None
    has_gone_on = False
    for kind, payload in _records(rest):
        if kind == _HANDSHAKE:
            messages += payload
            has_gone_on = has_gone_on or _CLIENT_KEY_EXCHANGE in _message_kinds(messages)
        elif kind == _ALERT:
            alert = _plain_alert(payload, alert)
        else:
            return _Said(has_gone_on=has_gone_on, alert=alert, is_odd=kind != _CHANGE_CIPHER_SPEC)
    return _Said(has_gone_on=has_gone_on, alert=alert)


def _read_rest_tls13(rest: bytes, *, is_retried: bool, has_early_data: bool) -> _Said:
    """Read what a client says after its hello, where it was answered with TLS 1.3."""
    messages = bytearray()
    alert: int | None = None
    has_gone_on = has_second_hello = False
    for kind, payload in _records(rest):
        if kind == _HANDSHAKE:
            messages += payload
            has_second_hello = has_second_hello or _CLIENT_HELLO in _message_kinds(messages)
        elif kind == _ALERT:
            alert = _plain_alert(payload, alert)
        elif kind == _APPLICATION_DATA:
            # Early data ends with the second hello (RFC 8446 section 4.1.2).
            has_gone_on = has_gone_on or (has_second_hello if is_retried else not has_early_data)
        elif kind != _CHANGE_CIPHER_SPEC:
            return _Said(has_gone_on=has_gone_on, has_second_hello=has_second_hello, alert=alert, is_odd=True)
    return _Said(has_gone_on=has_gone_on, has_second_hello=has_second_hello, alert=alert)


def _plain_alert(payload: bytes, known: int | None) -> int | None:
    """Return the first alert that matters; an encrypted one has more than two bytes."""
    if len(payload) != 2 or payload[0] not in {1, 2} or (known is not None and known not in _PASSING_ALERTS):
        return known
    return payload[1]


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, payload) of whole records; what is no record is one of type -1."""
    at = 0
    while at + 5 <= len(data):
        if data[at + 1] != 3 or not 20 <= data[at] <= 24:
            yield -1, data[at:]
            return
        end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
        if end > len(data):
            return
        yield data[at], data[at + 5 : end]
        at = end


def _message_kinds(messages: bytes | bytearray) -> Iterator[int]:
    """Yield the types of whole handshake messages."""
    at = 0
    while at + 4 <= len(messages):
        end = at + 4 + int.from_bytes(messages[at + 1 : at + 4], "big")
        if end > len(messages):
            return
        yield messages[at]
        at = end


def _read_after_ssl2(read: Arrival, rest: bytes) -> Arrival:
    """Read what follows our SSLv2 SERVER-HELLO (draft-hickman-netscape-ssl-00 section 2.5)."""
    alert = next((_plain_alert(payload, None) for kind, payload in _records(rest) if kind == _ALERT), None)
    if alert is not None:
        # Its first two bytes would be the length of an SSLv2 record: a client that sends it speaks no SSLv2.
        text = f"answered in TLS, with alert {render_alert(alert)}"
        return replace(read, outcome=Outcome.OTHER_ALERT, alert=alert, text=text)
    if len(rest) >= 3:
        header = 2 if rest[0] & 0x80 else 3
        end = header + (int.from_bytes(rest[:2], "big") & (0x7FFF if header == 2 else 0x3FFF))
        message = rest[header:end]
        if message[:1] == bytes([_SSL2_CLIENT_MASTER_KEY]) and end <= len(rest) and len(message) > 10:
            return replace(read, outcome=Outcome.WENT_ON, text="went on with CLIENT-MASTER-KEY")
        if message[:1] == bytes([_SSL2_ERROR]) and len(message) >= 3:
            code = int.from_bytes(message[1:3], "big")
            text = f"refused with SSLv2 ERROR {code}"
            if code in _SSL2_CERTIFICATE_ERRORS:
                return replace(read, outcome=Outcome.CERTIFICATE_REFUSED, text=f"{text}: the listener's certificate")
            outcome = Outcome.SUITES_REFUSED if code == _SSL2_SUITE_ERROR else Outcome.OTHER_ALERT
            return replace(read, outcome=outcome, text=text)
        return replace(
            read, outcome=Outcome.ODD, text="sent bytes after our SERVER-HELLO that no client may send there"
        )
    return replace(read, text=f"{read.text} after our SERVER-HELLO")
