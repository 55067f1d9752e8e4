"""A forward proxy, judged: its upstream side, what it does on each path, and what counts as its own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from scanner.answers import AnswerKind, read_answer
from scanner.model.certificates import Certificate
from scanner.model.checks import Check
from scanner.model.evidence import Gap, GapReason, Observation, Origin, State
from scanner.model.exchange import VERSION_PROBES, Exchange, Probe
from scanner.model.outbound import OutboundResult, PathKind, PathResult
from scanner.model.runs import EndpointResult, HostRecord, Run
from scanner.model.subjects import Direction, Endpoint, Target, Upgrade
from scanner.model.verdicts import Verdict
from scanner.model.versions import TlsVersion
from scanner.outbound.arrivals import read_arrival
from scanner.outbound.classify import classify_outbound
from scanner.outbound.methods import CONNECT, method_of
from scanner.outbound.paths import Passage, group_variants, judge_way, read_passages
from scanner.outbound.results import merge_arrivals
from scanner.outbound.tokens import ProbeToken, read_name
from scanner.tls.client_hello import ClientHello, decode_client_hello

Describe = Callable[[Endpoint, Iterable[Exchange]], tuple[Certificate, ...]]
"""Returns the leaf certificates that exchanges saw."""

LISTENER_NAME = "(names that lead to the listener)"
"""Stands for the server names of our own questions, which change with each."""
_ENTRA_LIMIT = "A proxy may treat this name in its own way, by a bypass list: other names may go another way."


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedProxy:
    """What is judged of a proxy beyond its own endpoints."""

    outbound: tuple[OutboundResult, ...]
    paths: tuple[PathResult, ...]
    checks: tuple[Check, ...]
    gaps: tuple[Gap, ...]
    """Why the host as a whole has no versions of its own."""


def plan_upgrade(target: Target, endpoint: Endpoint, exchanges: Iterable[Exchange]) -> Upgrade | None:
    """Return how a proxy is spoken to at one of its endpoints; None where that is not known.

    What the user said goes first. Else a port that accepts TLS is taken for an HTTPS proxy, and one that answers a
    hello in another protocol for a plain one: asking is the proof, and a wrong guess only gets a refusal.
    """
    if target.proxy is not None:
        return target.proxy
    own = [each for each in exchanges if each.request.endpoint == endpoint and each.request.probe in VERSION_PROBES]
    kinds = {read_answer(exchange).kind for exchange in own}
    if AnswerKind.ACCEPTED in kinds:
        return Upgrade.HTTPS_CONNECT
    return Upgrade.HTTP_CONNECT if AnswerKind.NOT_TLS in kinds else None


def is_path(endpoint: Endpoint) -> bool:
    """Whether an endpoint is a way to somewhere else: what is accepted there need not be the proxy's own."""
    return endpoint.destination is not None and not isinstance(read_name(endpoint.server_name), ProbeToken)


def settled_versions(passages: Sequence[Passage]) -> dict[TlsVersion | None, frozenset[TlsVersion]]:
    """Return, for each form of our hello, the versions whose outbound state needs no further question.

    What one form has got the proxy to accept is settled for all of them.
    """
    by_variant = {
        variant: states
        for group in group_variants(passages)
        for states in [_states([passage for passage in passages if passage.variant in group])]
        for variant in group
    }
    enabled = {version for states in by_variant.values() for version, state in states.items() if state is State.ENABLED}
    return {
        variant: frozenset(enabled | {version for version, state in states.items() if state is not State.UNKNOWN})
        for variant, states in by_variant.items()
    }


def own_answers(exchanges: Sequence[Exchange], arrivals: Iterable[Exchange]) -> tuple[list[Exchange], set[TlsVersion]]:
    """Return those questions to a proxy's interception side that it answered itself, and the versions of the others.

    Some proxies end TLS where they know its version, and pass on what they don't know: then it is the listener that
    answers. arrivals: Probe.LISTENER of the same name. A hello that carries no name (SSL 2.0, SSL 3.0 without
    extensions) arrives without our nonce, and is not among them: who answered it can't be told, so it is not the proxy.
    """
    nameless = {
        exchange.request.version
        for exchange in exchanges
        if isinstance(read_name(exchange.request.endpoint.server_name), ProbeToken)
        for answer in [read_answer(exchange)]
        if answer.is_nameless and answer.kind is AnswerKind.ACCEPTED
    }
    made: dict[bytes, list[bytes]] = {}
    for arrival in arrivals:
        hello = decode_client_hello(arrival.received)
        if isinstance(hello, ClientHello):
            made.setdefault(hello.message, []).append(arrival.sent)
    kept: list[Exchange] = []
    passed: set[TlsVersion] = set()
    for exchange in exchanges:
        hello = decode_client_hello(exchange.sent)
        answers: Sequence[bytes] = ()
        is_unsigned = False
        version = exchange.request.version
        if isinstance(hello, ClientHello):
            answers = made.get(hello.message, ())
            is_unsigned = hello.server_name is None and version in nameless
        if version is not None and (is_unsigned or any(_is_begin(exchange.received, answer) for answer in answers)):
            passed.add(version)
        else:
            kept.append(exchange)
    return kept, passed


def _is_begin(received: bytes, answer: bytes) -> bool:
    """Whether what came back may be what the listener sent; nothing came back may be as well."""
    count = min(len(received), len(answer))
    return received[:count] == answer[:count]


PASSED_ON = "the proxy passed this hello on to the listener: it has no answer of its own"


def judge_proxy(
    run: Run, record: HostRecord, results: Sequence[EndpointResult], describe: Describe
) -> JudgedProxy | None:
    """Return what is judged of a forward proxy; None where nothing was asked through it.

    results: of all the record's endpoints, paths included.
    """
    vias = dict.fromkeys(
        (endpoint.address, endpoint.port, endpoint.upgrade)
        for each in record.exchanges
        for endpoint in [each.request.endpoint]
        if endpoint.upgrade is not Upgrade.NONE and each.request.probe is not Probe.LISTENER
    )
    if not vias:
        return None
    outbound: list[OutboundResult] = []
    paths: list[PathResult] = []
    found: list[tuple[str, PathKind, str]] = []
    for address, port, upgrade in vias:
        own = Endpoint(host=record.target.host, address=address, port=port, server_name=None, upgrade=upgrade)
        asked = dict.fromkeys(
            each.request.endpoint.destination for each in record.exchanges if each.request.probe is Probe.PATH
        )
        for destination in asked:
            passages = read_passages(record.exchanges, replace(own, destination=destination))
            if not passages:
                continue
            path, upstream = _judge_listener_path(run, record, own, passages, results)
            paths.append(path)
            outbound.append(upstream)
        through = [
            result
            for result in results
            if (result.endpoint.address, result.endpoint.port, result.endpoint.upgrade) == (address, port, upgrade)
            and is_path(result.endpoint)
        ]
        for result in through:
            path = _judge_destination_path(record, own, result, describe)
            paths.append(path)
            found.append((result.endpoint.server_name or path.destination, path.kind, path.reason))
    checks: tuple[Check, ...] = ()
    if found:
        from scanner.outbound.destinations import check_paths  # noqa: PLC0415  # loads cryptography

        checks = check_paths(found)
    return JudgedProxy(outbound=tuple(outbound), paths=tuple(paths), checks=checks, gaps=_own_gaps(run, record, paths))


def _judge_listener_path(
    run: Run, record: HostRecord, own: Endpoint, passages: Sequence[Passage], results: Sequence[EndpointResult]
) -> tuple[PathResult, OutboundResult]:
    way = judge_way(passages)
    destination = passages[0].question.request.endpoint.destination or ""
    scope = f"{own.locator} to {destination}"
    arrivals = [read_arrival(each) for passage in passages for each in passage.own_arrivals]
    upstream = merge_arrivals(
        record.target.host,
        scope,
        CONNECT,
        arrivals if way.kind is PathKind.RE_ENCRYPTS else (),
        run=run,
        stopped=record.stopped,
    )
    if not any(passage.own_hellos for passage in passages if passage.variant is None):
        upstream = _without_absence(upstream, run, own)
    if way.kind is not PathKind.RE_ENCRYPTS:
        upstream = _with_reason(upstream, way.kind, way.reason, stopped=record.stopped)
    inner = next(
        (
            result
            for result in results
            if isinstance(read_name(result.endpoint.server_name), ProbeToken)
            and (result.endpoint.address, result.endpoint.port) == (own.address, own.port)
            and result.endpoint.destination == destination
        ),
        None,
    )
    path = PathResult(
        via=own.locator,
        upgrade=own.upgrade,
        destination=destination,
        server_name=LISTENER_NAME,
        is_listener=True,
        kind=way.kind,
        reason=way.reason,
        proof=way.proof,
        mirroring=way.mirroring,
        verdicts=() if inner is None else inner.verdicts,
        gaps=() if inner is None else inner.gaps,
        certificates=() if inner is None else inner.certificates,
        limits=method_of(CONNECT).limits,
    )
    return path, upstream


_GAP_REASONS = {
    PathKind.TUNNEL: GapReason.TUNNEL,
    PathKind.BLOCKED: GapReason.PROXY_DECLINED,
    PathKind.UNKNOWN: GapReason.NOT_SEEN,
}
_TUNNEL_DETAIL = "the proxy passes TLS through and has none of its own: the versions are those of its clients"


def _with_reason(result: OutboundResult, kind: PathKind, reason: str, *, stopped: str | None) -> OutboundResult:
    """Return the result with gaps that say what the path says; an interruption stays the reason where there was one."""
    if stopped is not None and kind is PathKind.UNKNOWN:
        return result
    detail = _TUNNEL_DETAIL if kind is PathKind.TUNNEL else reason

    def mend(gap: Gap) -> Gap:
        return replace(gap, reason=_GAP_REASONS[kind], detail=detail)

    verdicts = tuple(
        replace(verdict, reason=detail, gaps=tuple(map(mend, verdict.gaps))) for verdict in result.verdicts
    )
    return replace(result, verdicts=verdicts, gaps=tuple(map(mend, result.gaps)))


_NO_WIDE_HELLO = (
    "no hello of the proxy's arrived for a client that offers TLS 1.0 to 1.3, "
    "and it may offer less where its client does"
)


def _without_absence(result: OutboundResult, run: Run, own: Endpoint) -> OutboundResult:
    """Return the result with what the proxy did not do left open: it was only seen with clients that offer little."""

    def mend(verdict: Verdict) -> Verdict:
        if verdict.state is not State.DISABLED:
            return verdict
        gap = Gap(
            host=verdict.host,
            scope=result.scope,
            direction=Direction.OUTBOUND,
            version=verdict.version,
            reason=GapReason.NOT_SEEN,
            seen_at=run.started_at,
            origin=Origin(source="proxy-path", source_version=run.tool_version, locator=own.locator, run=run.id),
            detail=_NO_WIDE_HELLO,
        )
        return replace(verdict, state=State.UNKNOWN, supporting=(), reason=_NO_WIDE_HELLO, gaps=(gap,))

    verdicts = tuple(map(mend, result.verdicts))
    new = tuple(gap for verdict in verdicts for gap in verdict.gaps if gap not in result.gaps)
    return replace(result, verdicts=verdicts, gaps=(*result.gaps, *new))


def _judge_destination_path(
    record: HostRecord, own: Endpoint, result: EndpointResult, describe: Describe
) -> PathResult:
    from scanner.outbound.destinations import judge_destination  # noqa: PLC0415  # loads cryptography

    endpoint = result.endpoint
    directly = [
        each
        for each in record.exchanges
        if each.request.probe is Probe.HANDSHAKE
        and each.request.endpoint.upgrade is Upgrade.NONE
        and each.request.endpoint.destination == endpoint.destination
    ]
    direct = describe(directly[0].request.endpoint, directly) if directly else ()
    kind, reason = judge_destination(result, result.certificates, direct)
    return PathResult(
        via=own.locator,
        upgrade=own.upgrade,
        destination=endpoint.destination or "",
        server_name=endpoint.server_name,
        is_listener=False,
        kind=kind,
        reason=reason,
        verdicts=result.verdicts,
        gaps=result.gaps,
        certificates=result.certificates,
        direct_certificates=direct,
        limits=(_ENTRA_LIMIT,),
    )


def _own_gaps(run: Run, record: HostRecord, paths: Sequence[PathResult]) -> tuple[Gap, ...]:
    """Return why a proxy that speaks no TLS of its own has no inbound versions."""
    kinds = {path.kind for path in paths if path.is_listener} or {path.kind for path in paths}
    if kinds != {PathKind.TUNNEL}:
        return ()
    return (
        Gap(
            host=record.target.host,
            scope=record.target.host,
            direction=Direction.INBOUND,
            version=None,
            reason=GapReason.TUNNEL,
            seen_at=run.started_at,
            origin=Origin(source="proxy-path", source_version=run.tool_version, locator=paths[0].via, run=run.id),
            detail=_TUNNEL_DETAIL,
        ),
    )


def counts_as_absent(result: EndpointResult, record: HostRecord) -> bool:
    """Whether an endpoint of a proxy is not one of its own TLS endpoints: a path, or a port that speaks plainly."""
    if is_path(result.endpoint):
        return True
    is_plain = {gap.reason for gap in result.gaps} - {GapReason.NOT_ASKED} == {GapReason.NOT_TLS}
    is_used = any(
        each.request.endpoint.upgrade in {Upgrade.HTTP_CONNECT, Upgrade.SOCKS5}
        and each.request.endpoint.port == result.endpoint.port
        for each in record.exchanges
    )
    return result.endpoint.upgrade is Upgrade.NONE and is_used and (is_plain or not _has_answer(result))


def _has_answer(result: EndpointResult) -> bool:
    return any(verdict.supporting for verdict in result.verdicts)


def _states(passages: Sequence[Passage]) -> dict[TlsVersion, State]:
    """Return what is known of each version from these passages alone."""
    arrivals = [read_arrival(each) for passage in passages for each in passage.own_arrivals]
    if not arrivals:
        return {}
    evidence = classify_outbound("", "", arrivals, run="", tool_version="", asked_at=arrivals[0].at)
    states: dict[TlsVersion, State] = {}
    for item in evidence:
        if isinstance(item, Observation) and states.get(item.version) is not State.ENABLED:
            states[item.version] = item.state
    return states
