"""What was learned -> what is judged: records to results. Pure, so a stored run is judged again without a network."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from scanner.answers import Answer
from scanner.classify import STOP_GAPS, classify_endpoint, scope_of
from scanner.declared import MEASURED, tie_declarations, voting_scopes
from scanner.merge import merge_host, merge_scope
from scanner.model.certificates import Certificate
from scanner.model.checks import Check
from scanner.model.evidence import Evidence, Gap, GapReason, Origin
from scanner.model.exchange import VERSION_PROBES, Ending, Exchange, Probe
from scanner.model.outbound import OutboundResult, PathResult
from scanner.model.runs import EndpointResult, Handshake, HostRecord, HostResult, Run, RunResult
from scanner.model.subjects import Direction, Endpoint, Role, Upgrade
from scanner.model.verdicts import Finding, Severity
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.policy import Policy, judge_host

_LOG = logging.getLogger(__name__)

_CONNECT_REASONS = {
    Ending.REFUSED: GapReason.REFUSED,
    Ending.TIMED_OUT_CONNECT: GapReason.NO_ANSWER,
    Ending.UNREACHABLE: GapReason.UNREACHABLE,
}
_SEVERITY_ORDER = {Severity.FAILURE: 0, Severity.WARNING: 1, Severity.INFO: 2}


def judge_run(
    run: Run,
    records: Iterable[HostRecord],
    policy: Policy,
    *,
    no_listener_counts: Sequence[tuple[str, int]] = (),
    answers: Mapping[int, Answer] = MappingProxyType({}),
) -> RunResult:
    """Return the whole run, judged. Range addresses where nothing listened become counts instead of hosts.

    answers: what exchanges say (scanner.answers.read_answer), by their request's id; the others are read here.
    """
    hosts: list[HostResult] = []
    findings: list[Finding] = []
    silent: Counter[str] = Counter(dict(no_listener_counts))
    for record in records:
        reason = maybe_no_listener(record)
        if reason is not None:
            silent[reason.value] += 1
            continue
        host, own = judge_whatever(run, record, policy, answers)
        hosts.append(host)
        findings += own
    findings.sort(key=lambda finding: _SEVERITY_ORDER[finding.severity])
    return RunResult(
        run=run,
        policy_version=policy.version,
        policy_title=policy.title,
        hosts=tuple(hosts),
        findings=tuple(findings),
        no_listener_counts=tuple(sorted(silent.items())),
    )


def maybe_no_listener(record: HostRecord) -> GapReason | None:
    """Return why a range address is not worth a row, or None where it is (or was named by the user)."""
    if not record.target.is_from_range or record.stopped is not None:
        return None
    endings = {exchange.ending for exchange in record.exchanges}
    reasons = {_CONNECT_REASONS.get(ending) for ending in endings}
    if not reasons or None in reasons:
        return None
    return next(
        reason for reason in (GapReason.REFUSED, GapReason.NO_ANSWER, GapReason.UNREACHABLE) if reason in reasons
    )


def judge_whatever(
    run: Run, record: HostRecord, policy: Policy, answers: Mapping[int, Answer] = MappingProxyType({})
) -> tuple[HostResult, tuple[Finding, ...]]:
    """Return what judge_record does, and an unknown host where that fails on the peer's bytes: they cost no report."""
    try:
        return judge_record(run, record, policy, answers)
    except Exception:  # noqa: BLE001  # a bug of ours on one host's bytes; without them the host is UNKNOWN
        _LOG.exception("the program failed to judge %s", record.target.host)
        return judge_record(run, replace(record, exchanges=(), stopped="failed"), policy)


def judge_record(
    run: Run, record: HostRecord, policy: Policy, answers: Mapping[int, Answer] = MappingProxyType({})
) -> tuple[HostResult, tuple[Finding, ...]]:
    """Return one host, judged, with its findings; answers as in judge_run."""
    target = record.target
    by_endpoint: dict[Endpoint, list[Exchange]] = {endpoint: [] for endpoint in record.endpoints}
    for exchange in record.exchanges:
        by_endpoint.setdefault(exchange.request.endpoint, []).append(exchange)
    tied = tie_declarations(record.declarations, record.endpoints)
    results = tuple(
        _judge_endpoint(
            run, record, endpoint, by_endpoint[endpoint], answers, declared=tied.by_scope.get(scope_of(endpoint), ())
        )
        for endpoint in record.endpoints
    )
    existing = present_endpoints(results, record)
    gaps = _host_gaps(run, record)
    scope_verdicts = [verdict for result in existing for verdict in result.verdicts]
    outbound, paths, checks, own_gaps = _judge_outbound(run, record, results)
    measured = [*([Direction.INBOUND] if existing else []), *([Direction.OUTBOUND] if outbound else [])]
    declared = voting_scopes(tied.results, measured=measured)
    scope_verdicts += [verdict for _, _, verdicts in declared for verdict in verdicts]
    verdicts = tuple(
        merge_host(
            scope_verdicts,
            host=target.host,
            direction=Direction.INBOUND,
            version=version,
            gaps=gaps or (() if existing else own_gaps),
        )
        for version in ALL_VERSIONS
    )
    if outbound or any(direction is Direction.OUTBOUND for _, direction, _ in declared):
        client_verdicts = [*scope_verdicts, *(verdict for client in outbound for verdict in client.verdicts)]
        verdicts += tuple(
            merge_host(client_verdicts, host=target.host, direction=Direction.OUTBOUND, version=version)
            for version in ALL_VERSIONS
        )
    certificates = [certificate for result in results for certificate in result.certificates]
    if target.role in {Role.ADFS, Role.ENDPOINT}:
        from scanner.recognise import recognise  # noqa: PLC0415  # loads the XML, HTTP and X.509 libraries

        if record.endpoints or not record.declarations:
            checks = recognise(target, record.resolution, record.exchanges, certificates)
    checks = (*checks, *dict.fromkeys(check for each in record.declarations for check in each.reading.checks))
    findings, readiness, reason = judge_host(
        policy, target, existing, verdicts, checks, outbound=outbound, paths=paths, declared=declared
    )
    if not existing and gaps and not outbound and not declared:
        reason = gaps[0].detail
    return (
        HostResult(
            target=target,
            resolution=record.resolution,
            readiness=readiness,
            readiness_reason=reason,
            verdicts=verdicts,
            endpoints=results,
            checks=checks,
            gaps=gaps,
            stopped=record.stopped,
            outbound=outbound,
            paths=paths,
            declared=tied.results,
        ),
        findings,
    )


def _judge_outbound(
    run: Run, record: HostRecord, results: Sequence[EndpointResult]
) -> tuple[tuple[OutboundResult, ...], tuple[PathResult, ...], tuple[Check, ...], tuple[Gap, ...]]:
    """Return clients, paths, checks of paths, and why a proxy has no versions of its own; all empty for most hosts."""
    if all(exchange.request.probe in _INBOUND_PROBES and _is_plain(exchange) for exchange in record.exchanges):
        return (), (), (), ()
    from scanner.outbound.proxies import judge_proxy  # noqa: PLC0415  # only where connections went out
    from scanner.outbound.results import judge_outbound  # noqa: PLC0415

    clients = judge_outbound(run, record)
    proxy = judge_proxy(run, record, results, describe_certificates)
    if proxy is None:
        return clients, (), (), ()
    return (*clients, *proxy.outbound), proxy.paths, proxy.checks, proxy.gaps


def _is_plain(exchange: Exchange) -> bool:
    return exchange.request.endpoint.upgrade is Upgrade.NONE


_INBOUND_PROBES = frozenset({*VERSION_PROBES, Probe.HTTP})


def present_endpoints(results: Iterable[EndpointResult], record: HostRecord) -> tuple[EndpointResult, ...]:
    """Return those of a record's endpoints that count for its host; see is_absent."""
    return tuple(result for result in results if not is_absent(result, record))


def is_absent(result: EndpointResult, record: HostRecord | None = None) -> bool:
    """Whether it is a port where nothing listens, and where nothing need listen.

    That is an optional port that refuses. A range says of none of its ports that it must answer, so at a range's
    address with several ports it is also one where nothing was found: no connection was ever established. Which of
    the two holds can only be told with the record that the endpoint is of.
    """
    if record is not None and record.target.role is Role.PROXY and not all(map(_is_plain, record.exchanges)):
        from scanner.outbound.proxies import counts_as_absent  # noqa: PLC0415  # only where there are paths

        if counts_as_absent(result, record):
            return True
    # Where nothing listens the engine asks no further: what it did not ask is no reason to doubt that.
    reasons = {gap.reason for gap in result.gaps} - {GapReason.NOT_ASKED}
    if not reasons or any(each.basis in MEASURED for verdict in result.verdicts for each in verdict.supporting):
        return False
    if result.endpoint.is_optional and reasons == {GapReason.REFUSED}:
        return True
    if record is None or not record.target.is_from_range or len(record.endpoints) < 2:
        return False
    # Gaps alone don't tell: a port that was silent once and refused later has the gap of the refusal.
    endings = {each.ending for each in record.exchanges if each.request.endpoint == result.endpoint}
    return reasons <= set(_CONNECT_REASONS.values()) and bool(endings) and endings <= _CONNECT_REASONS.keys()


def _host_gaps(run: Run, record: HostRecord) -> tuple[Gap, ...]:
    if record.endpoints or (record.declarations and not record.resolution.addresses):
        return ()
    if any(exchange.request.probe is Probe.LISTENER for exchange in record.exchanges):
        return (
            _host_gap(run, record, GapReason.NOT_ASKED, "it came to our listener; it was not asked what it accepts"),
        )
    reason, detail = GapReason.NAME_NOT_RESOLVED, record.resolution.error or "the name has no address"
    if record.resolution.addresses:
        reason, detail = GapReason.NOT_ASKED, "every address of the name is excluded"
    elif record.stopped is not None and record.resolution.error is None:
        reason, detail = STOP_GAPS[record.stopped][0], "the questions were not put"
    return (_host_gap(run, record, reason, detail),)


def _host_gap(run: Run, record: HostRecord, reason: GapReason, detail: str) -> Gap:
    return Gap(
        host=record.target.host,
        scope=record.target.host,
        direction=Direction.INBOUND,
        version=None,
        reason=reason,
        seen_at=run.started_at,
        origin=Origin(
            source="resolver", source_version=run.tool_version, locator=f"dns:{record.target.host}", run=run.id
        ),
        detail=detail,
    )


def _judge_endpoint(
    run: Run,
    record: HostRecord,
    endpoint: Endpoint,
    exchanges: Sequence[Exchange],
    answers: Mapping[int, Answer],
    *,
    declared: Sequence[Evidence] = (),
) -> EndpointResult:
    passed: set[TlsVersion] = set()
    if endpoint.destination is not None:
        exchanges, passed = _own_answers(record, endpoint, exchanges)
    evidence = classify_endpoint(
        endpoint,
        exchanges,
        run=run.id,
        tool_version=run.tool_version,
        asked_at=run.started_at,
        stopped=record.stopped,
        answers=answers,
    )
    if passed:
        evidence = tuple(map(partial(_explain_passed, passed), evidence))
    scope = scope_of(endpoint)
    verdicts = tuple(
        merge_scope(
            (*evidence, *declared), host=endpoint.host, scope=scope, direction=Direction.INBOUND, version=version
        )
        for version in ALL_VERSIONS
    )
    return EndpointResult(
        endpoint=endpoint,
        verdicts=verdicts,
        gaps=tuple(item for item in evidence if isinstance(item, Gap)),
        handshakes=_handshakes(exchanges),
        certificates=describe_certificates(endpoint, exchanges),
        connection_count=sum(1 for exchange in exchanges if exchange.request.probe in VERSION_PROBES),
    )


def _own_answers(
    record: HostRecord, endpoint: Endpoint, exchanges: Sequence[Exchange]
) -> tuple[Sequence[Exchange], set[TlsVersion]]:
    """See scanner.outbound.proxies.own_answers."""
    from scanner.outbound.proxies import own_answers  # noqa: PLC0415  # only where there are paths

    arrivals = [
        each
        for each in record.exchanges
        if each.request.probe is Probe.LISTENER and each.request.endpoint.server_name == endpoint.server_name
    ]
    return own_answers(exchanges, arrivals)


def _explain_passed(passed: Collection[TlsVersion], item: Evidence) -> Evidence:
    from scanner.outbound.proxies import PASSED_ON  # noqa: PLC0415  # see _own_answers

    if isinstance(item, Gap) and item.version in passed:
        return replace(item, reason=GapReason.TUNNEL, detail=PASSED_ON)
    return item


def _handshakes(exchanges: Sequence[Exchange]) -> tuple[Handshake, ...]:
    found = [
        Handshake(
            version=exchange.request.version,
            is_completed=exchange.engine.completed,
            engine=exchange.engine.engine,
            cipher_suite=exchange.engine.cipher_suite,
            is_client_certificate_requested=exchange.engine.client_certificate_requested,
            error=exchange.engine.error or (None if exchange.engine.completed else exchange.ending.value),
        )
        for exchange in exchanges
        if exchange.request.probe is Probe.HANDSHAKE
        and exchange.engine is not None
        and exchange.request.version is not None
    ]
    # A version may have been tried twice: the one that completed says more.
    best: dict[TlsVersion, Handshake] = {}
    for handshake in found:
        if handshake.version not in best or handshake.is_completed:
            best[handshake.version] = handshake
    return tuple(best[version] for version in sorted(best))


def describe_certificates(endpoint: Endpoint, exchanges: Iterable[Exchange]) -> tuple[Certificate, ...]:
    """Return the different leaves that the exchanges of one endpoint saw, in the order seen."""
    seen: dict[bytes, Certificate] = {}
    for exchange in exchanges:
        if exchange.engine is None or not exchange.engine.chain_der:
            continue
        leaf = exchange.engine.chain_der[0]
        if leaf not in seen:
            from scanner.certificates import describe_chain  # noqa: PLC0415  # loads cryptography

            seen[leaf] = describe_chain(
                exchange.engine.chain_der,
                server_name=endpoint.server_name,
                address=endpoint.address,
                at=exchange.started_at,
            )
    return tuple(seen.values())
