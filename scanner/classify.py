"""Exchanges of one endpoint -> observations and gaps. Pure: the same bytes always give the same judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from scanner.answers import Answer, AnswerKind, read_answer
from scanner.model.evidence import Basis, Evidence, Gap, GapReason, Observation, Origin, State
from scanner.model.exchange import VERSION_PROBES, Exchange
from scanner.model.subjects import Direction, Endpoint
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.survey import Open, Settled, Survey

STOP_GAPS = {
    "interrupted": (GapReason.INTERRUPTED, "the run was interrupted before this was settled"),
    "out-of-time": (GapReason.OUT_OF_TIME, "the time for this host was used up before this was settled"),
    "failed": (GapReason.LOCAL_FAILURE, "this program failed on this host: please report it"),
}
"""What HostRecord.stopped means for all that was not settled."""

_ENDPOINT_REASONS = frozenset(
    {GapReason.REFUSED, GapReason.UNREACHABLE, GapReason.NO_ANSWER, GapReason.NOT_TLS, GapReason.PROXY_DECLINED}
)
"""Reasons that hold for the endpoint whichever version was asked for."""


def scope_of(endpoint: Endpoint) -> str:
    """Return the scope's name: the locator, with the server name where there is one."""
    if endpoint.server_name is None:
        return endpoint.locator
    return f"{endpoint.locator} as {endpoint.server_name}"


def classify_endpoint(
    endpoint: Endpoint,
    exchanges: Sequence[Exchange],
    *,
    run: str,
    tool_version: str,
    asked_at: datetime,
    stopped: str | None = None,
    answers: Mapping[int, Answer] = MappingProxyType({}),
) -> tuple[Evidence, ...]:
    """Return what the exchanges of one endpoint prove about its six inbound versions, and what they leave open.

    exchanges: in the order asked; others than hellos and handshakes are passed over. asked_at: the time of gaps for
    which nothing was asked. stopped: as in HostRecord. answers: what exchanges say, by their request's id, where the
    caller has read them already.
    """
    own = [
        answers.get(exchange.request.id) or read_answer(exchange)
        for exchange in exchanges
        if exchange.request.probe in VERSION_PROBES
    ]
    survey = Survey(own)
    local = [answer for answer in own if answer.kind is AnswerKind.NOT_ASKED]
    last_at = own[-1].at if own else asked_at

    def origin(source: str) -> Origin:
        return Origin(source=source, source_version=tool_version, locator=endpoint.locator, run=run)

    def observe(version: TlsVersion, answer: Answer, state: State, reason: str) -> Observation:
        return Observation(
            host=endpoint.host,
            scope=scope_of(endpoint),
            direction=Direction.INBOUND,
            version=version,
            state=state,
            basis=Basis.HANDSHAKE if answer.is_completed else Basis.HELLO,
            seen_at=answer.at,
            origin=origin("hello-ladder" if answer.variant is not None else "sslyze-handshake"),
            reason=reason,
            is_contested=answer.is_contested,
            facts=(("cipher_suite", f"0x{answer.suite:04X}"),) if answer.suite is not None else (),
        )

    evidence: list[Evidence] = []
    for version in ALL_VERSIONS:
        standing = survey.standing(version)
        if isinstance(standing, Settled):
            evidence += [
                observe(version, answer, state, reason) for answer, state, reason in _statements(version, standing)
            ]
            continue
        reason, detail = _explain(standing, survey, local, stopped)
        evidence.append(
            Gap(
                host=endpoint.host,
                scope=scope_of(endpoint),
                direction=Direction.INBOUND,
                version=version,
                reason=reason,
                seen_at=last_at,
                origin=origin("hello-ladder"),
                detail=detail,
            )
        )
    return tuple(evidence)


def _statements(version: TlsVersion, standing: Settled) -> list[tuple[Answer, State, str]]:
    """Return (answer it rests on, state, reason): one statement a basis, and one for the other side if there is any."""
    if standing.state is State.DISABLED:
        return [(standing.answers[-1], State.DISABLED, standing.reason)]
    hellos = [answer for answer in standing.answers if not answer.is_completed]
    handshakes = [answer for answer in standing.answers if answer.is_completed]
    statements = [(answer, State.ENABLED, answer.text) for answer in hellos[:1]]
    statements += [(answer, State.ENABLED, f"{version.title} handshake completed") for answer in handshakes[:1]]
    statements += [(answer, State.DISABLED, answer.text) for answer in standing.opposing[:1]]
    return statements


def _explain(standing: Open, survey: Survey, local: Sequence[Answer], stopped: str | None) -> tuple[GapReason, str]:
    """Return the gap's reason: an interruption explains what was still wanted, our own failure what was not asked.

    Where the asking stopped early because nobody is there, or nobody who speaks TLS, that explains all versions.
    """
    is_unfinished = standing.wanted is not None or standing.wants_control or standing.reason is GapReason.NOT_ASKED
    if stopped in STOP_GAPS and is_unfinished:
        return STOP_GAPS[stopped]
    if local and standing.reason is GapReason.NOT_ASKED:
        return GapReason.LOCAL_FAILURE, local[-1].text
    if standing.reason is GapReason.NOT_ASKED and survey.answers:
        asked = survey.standing(survey.answers[-1].version)
        if isinstance(asked, Open) and asked.reason in _ENDPOINT_REASONS:
            return asked.reason, asked.detail
    return standing.reason, standing.detail
