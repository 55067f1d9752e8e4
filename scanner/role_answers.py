"""How HTTP answers become checks: shared by scanner.role_adfs and scanner.role_entra. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scanner.model.checks import Check, CheckState
from scanner.model.exchange import Exchange, Probe
from scanner.probes.http import HttpResponse, decode_http_response
from scanner.untrusted import clean_text

MAX_DETAIL_CHARS = 300
"""Longest Check.detail."""

YES, NO, UNKNOWN = CheckState.YES, CheckState.NO, CheckState.UNKNOWN

Judged = tuple[CheckState, str]
"""What one endpoint's answer means, and what was seen there."""

NOT_ASKED = "it was not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one endpoint answered to one path: a response, or why there is none."""

    locator: str
    """The endpoint's locator."""
    address: str
    """The endpoint's address."""
    is_named: bool
    """Whether the endpoint was asked under a server name."""
    response: HttpResponse | None
    """The response."""
    trouble: str
    """Why there is none; empty where there is."""

    def told(self, text: str) -> str:
        """Return text with the place before it: ``192.0.2.7:443: HTTP 200``."""
        return f"{self.locator.removeprefix('tcp://')}: {text}"


def answers_to(exchanges: Sequence[Exchange], path: str | None = None) -> tuple[Answer, ...]:
    """Return the answers to a path (or to any), one an endpoint and path; a response wins over a failure to get one."""
    found: dict[tuple[str, str | None], Answer] = {}
    for exchange in exchanges:
        request = exchange.request
        if request.probe is not Probe.HTTP or (path is not None and request.path != path):
            continue
        key = (request.endpoint.locator, request.path)
        if key not in found or found[key].response is None:
            found[key] = _answer(exchange)
    return tuple(found.values())


def _answer(exchange: Exchange) -> Answer:
    endpoint = exchange.request.endpoint
    decoded = decode_http_response(exchange.received)
    response = decoded if isinstance(decoded, HttpResponse) else None
    trouble = ""
    if response is None:
        cause = (exchange.engine.error if exchange.engine else None) or exchange.os_error or exchange.ending.value
        trouble = f"{'no HTTP answer' if exchange.received else 'no answer'} ({cause})"
    return Answer(
        locator=endpoint.locator,
        address=endpoint.address,
        is_named=endpoint.server_name is not None,
        response=response,
        trouble=trouble,
    )


def judge_each(answers: Sequence[Answer], judge: Callable[[Answer, HttpResponse], Judged]) -> list[Judged]:
    """Judge every response; an answer without one is UNKNOWN with its trouble."""
    judged = []
    for answer in answers:
        state, text = (UNKNOWN, answer.trouble) if answer.response is None else judge(answer, answer.response)
        judged.append((state, answer.told(text)))
    return judged


def any_state(judged: Sequence[Judged]) -> CheckState:
    """Return YES where one says so, NO only where all do."""
    states = {state for state, _ in judged}
    return YES if YES in states else NO if states == {NO} else UNKNOWN


def all_state(judged: Sequence[Judged]) -> CheckState:
    """Return YES or NO only where all agree."""
    states = {state for state, _ in judged}
    return states.pop() if len(states) == 1 else UNKNOWN


def texts_of(judged: Sequence[Judged]) -> list[str]:
    """Return the texts, those that decide first: what a bound cuts off at the end is then what says least."""
    return [text for wanted in (YES, NO, UNKNOWN) for state, text in judged if state is wanted]


def check(
    check_id: str, title: str, state: CheckState, texts: Sequence[str], *, weight: str = "", is_verified: bool = True
) -> Check:
    """Make a check whose detail is the texts, bounded and without control characters."""
    detail = clean_text("; ".join(dict.fromkeys(texts)) or NOT_ASKED, max_chars=MAX_DETAIL_CHARS)
    return Check(id=check_id, title=title, state=state, detail=detail, weight=weight, is_verified=is_verified)


def is_version_refusal(response: HttpResponse) -> bool:
    """Return whether a request was refused for the TLS version it came over: HTTP 426, or Entra's error code."""
    return response.status == 426 or b"AADSTS1002016" in response.body


def check_version_refusal(exchanges: Sequence[Exchange]) -> Check:
    """Make the check that tells an accepted handshake from an accepted request."""

    def judge(_answer: Answer, response: HttpResponse) -> Judged:
        if b"AADSTS1002016" in response.body:
            return YES, f"HTTP {response.status} with AADSTS1002016: refused for TLS 1.0, TLS 1.1 or 3DES"
        text = f"HTTP {response.status} {response.reason}".strip()
        return (YES if is_version_refusal(response) else NO), text

    over_tls = [exchange for exchange in exchanges if exchange.request.endpoint.port != 80]
    judged = judge_each(answers_to(over_tls), judge)
    return check(
        "http-refuses-tls-version",
        "The handshake is accepted, but the request refused for its TLS version",
        any_state(judged),
        texts_of(judged),
    )
