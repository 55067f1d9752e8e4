"""The objects of the JSON report, a contract (docs/json-report.md, report.schema.json): members are only added."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from scanner.model.certificates import Certificate
from scanner.model.evidence import Gap, Observation, State
from scanner.model.outbound import OfferedHello, OutboundResult, PathResult
from scanner.model.runs import EndpointResult, HostResult, Run, RunResult
from scanner.model.subjects import Direction, Upgrade
from scanner.model.verdicts import Finding, Readiness, Severity, Verdict
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.declared_objects import build_check, build_declared

SCHEMA = 1

JsonObject = dict[str, Any]

_MOST_NAMES = 50
"""Certificates with more are rendered each time: their texts are too long to keep hundreds."""
_STATES = {state.value[0]: state for state in State}


def render_line(item: object) -> str:
    """Return an object as one line of JSON, without its end."""
    text = json.dumps(item, ensure_ascii=False)
    # A lone surrogate has no UTF-8; its JSON escape (RFC 8259 section 7) looks as Python's backslashreplace has it.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def build_report(result: RunResult) -> JsonObject:
    """Return the report as plain dicts, lists, strings, numbers and None."""
    return {
        "schema": SCHEMA,
        "run": build_run(result.run, result.policy_version, result.policy_title),
        "summary": build_summary(result),
        "hosts": [build_host(host) for host in result.hosts],
        "findings": [build_finding(finding) for finding in result.findings],
    }


def build_run(run: Run, policy_version: str, policy_title: str) -> JsonObject:
    """Return the ``run`` member."""
    return {
        "id": run.id,
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "policy": run.policy_id,
        "policy_version": policy_version,
        "policy_title": policy_title,
        "tool_version": run.tool_version,
        "confirm": run.confirm,
        "command": run.command,
        "is_complete": run.is_complete,
    }


def build_summary(result: RunResult) -> JsonObject:
    """Return the counts the report opens with."""
    return combine_summary(
        Counter(
            (
                host.readiness,
                render_states(host.verdicts),
                render_states(host.verdicts, direction=Direction.OUTBOUND),
            )
            for host in result.hosts
        ),
        Counter(finding.severity for finding in result.findings),
        result.no_listener_counts,
    )


def combine_summary(
    hosts: Mapping[tuple[Readiness, str, str], int],
    findings: Mapping[Severity, int],
    no_listener: Iterable[tuple[str, int]],
    sweep: JsonObject | None = None,
) -> JsonObject:
    """Return the ``summary`` member from counts: of hosts by readiness and states, of findings by severity.

    hosts: the states are inbound, then outbound, as render_states gives them. sweep: what a sweep has to say of
    itself, see docs/json-report.md.
    """
    inbound, outbound = ({version.label: {state.value: 0 for state in State} for version in ALL_VERSIONS} for _ in "io")
    readiness = dict.fromkeys(Readiness, 0)
    outbound_count = 0
    for (answer, inbound_states, outbound_states), count in hosts.items():
        readiness[answer] += count
        _count_states(inbound, inbound_states, count)
        if outbound_states:
            outbound_count += count
            _count_states(outbound, outbound_states, count)
    return {
        "hosts": sum(readiness.values()),
        "ready": readiness[Readiness.READY],
        "not_ready": readiness[Readiness.NOT_READY],
        "unknown": readiness[Readiness.UNKNOWN],
        "by_version": inbound,
        "findings": {severity.value: findings.get(severity, 0) for severity in Severity},
        "no_listener": dict(no_listener),
        "sweep": sweep,
        "outbound_hosts": outbound_count,
        "by_version_outbound": outbound,
    }


def _count_states(by_version: JsonObject, states: str, count: int) -> None:
    for version, letter in zip(ALL_VERSIONS, states, strict=True):
        by_version[version.label][_STATES[letter].value] += count


def render_states(verdicts: Iterable[Verdict], *, direction: Direction = Direction.INBOUND) -> str:
    """Return a host's states in one direction by their initials, oldest version first: ``ddddee``.

    Empty where the direction was not asked about.
    """
    return "".join(verdict.state.value[0] for verdict in verdicts if verdict.direction is direction)


def build_host(host: HostResult) -> JsonObject:
    """Return one member of ``hosts``."""
    target = host.target
    return {
        "name": target.host,
        "role": target.role.value,
        "target": target.text,
        "tags": list(target.tags),
        "vendor": target.vendor,
        "farm": target.farm,
        "cloud": target.cloud,
        "addresses": list(host.resolution.addresses),
        "cname_chain": list(host.resolution.cname_chain),
        "readiness": host.readiness.value,
        "readiness_reason": host.readiness_reason,
        "stopped": host.stopped,
        "endpoints": [_endpoint(endpoint) for endpoint in host.endpoints],
        "verdicts": _verdicts(host.verdicts),
        "checks": [build_check(check) for check in host.checks],
        "gaps": _gaps(host.gaps),
        "outbound": [_client(client) for client in host.outbound],
        "paths": [_path(path) for path in host.paths],
        "declared": [build_declared(result) for result in host.declared],
    }


def fill_in_host(host: JsonObject) -> JsonObject:
    """Return a host object that an older version of this program wrote, with the members that came later."""
    came_later: JsonObject = {"upgrade": Upgrade.NONE.value, "destination": None}
    endpoints = [{**endpoint, **came_later, **endpoint} for endpoint in host["endpoints"]]
    lists = {name: host.get(name, []) for name in ("outbound", "paths", "declared")}
    return {**host, "endpoints": endpoints, **lists}


def _endpoint(result: EndpointResult) -> JsonObject:
    endpoint = result.endpoint
    return {
        "address": endpoint.address,
        "port": endpoint.port,
        "server_name": endpoint.server_name,
        "locator": endpoint.locator,
        "is_optional": endpoint.is_optional,
        "connections": result.connection_count,
        "verdicts": _verdicts(result.verdicts),
        "gaps": _gaps(result.gaps),
        "handshakes": [
            {
                "version": handshake.version.label,
                "completed": handshake.is_completed,
                "engine": handshake.engine,
                "cipher_suite": handshake.cipher_suite,
                "client_certificate_requested": handshake.is_client_certificate_requested,
                "error": handshake.error,
            }
            for handshake in result.handshakes
        ],
        "certificates": _certificates(result.certificates),
        "upgrade": endpoint.upgrade.value,
        "destination": endpoint.destination,
    }


def _client(result: OutboundResult) -> JsonObject:
    return {
        "scope": result.scope,
        "method": result.method,
        "method_title": result.method_title,
        "limits": list(result.limits),
        "connections": result.connection_count,
        "verdicts": _verdicts(result.verdicts),
        "gaps": _gaps(result.gaps),
        "hellos": [_hello(hello) for hello in result.hellos],
        "settled": [
            {"version": settled.version.label, "outcome": settled.outcome, "count": settled.count}
            for settled in result.settled
        ],
    }


def _hello(hello: OfferedHello) -> JsonObject:
    # In an SSLv2 hello a cipher kind has three bytes (RFC 5246 appendix E.2).
    digits = 6 if hello.is_ssl2_format else 4
    return {
        "ja4": hello.ja4,
        "ssl2_format": hello.is_ssl2_format,
        "versions": [version.label for version in hello.versions],
        "has_version_list": hello.has_version_list,
        "suites": [f"0x{suite:0{digits}X}" for suite in hello.suites],
        "groups": [f"0x{group:04X}" for group in hello.groups],
        "alpn": list(hello.alpn),
        "server_name": hello.server_name,
        "size_bytes": hello.size_bytes,
        "count": hello.count,
        "first_seen_at": _time(hello.first_seen_at),
    }


def _path(path: PathResult) -> JsonObject:
    return {
        "via": path.via,
        "upgrade": path.upgrade.value,
        "destination": path.destination,
        "server_name": path.server_name,
        "is_listener": path.is_listener,
        "kind": path.kind.value,
        "reason": path.reason,
        "proof": list(path.proof),
        "mirroring": path.mirroring.value,
        "verdicts": _verdicts(path.verdicts),
        "gaps": _gaps(path.gaps),
        "certificates": _certificates(path.certificates),
        "direct_certificates": _certificates(path.direct_certificates),
        "limits": list(path.limits),
    }


def _verdicts(verdicts: Iterable[Verdict]) -> list[JsonObject]:
    return [
        {
            "direction": verdict.direction.value,
            "version": verdict.version.label,
            "state": verdict.state.value,
            "disputed": verdict.is_disputed,
            "reason": verdict.reason,
            "evidence": [_observation(observation) for observation in verdict.supporting],
            "opposing": [_observation(observation) for observation in verdict.opposing],
            "gaps": _gaps(verdict.gaps),
        }
        for verdict in verdicts
    ]


def _observation(observation: Observation) -> JsonObject:
    return {
        "state": observation.state.value,
        "basis": observation.basis.label,
        "source": observation.origin.source,
        "origin": observation.origin.locator,
        "scope": observation.scope,
        "seen_at": _time(observation.seen_at),
        "reason": observation.reason,
        "facts": dict(observation.facts),
    }


def _gaps(gaps: Iterable[Gap]) -> list[JsonObject]:
    return [
        {
            "reason": gap.reason.value,
            "detail": gap.detail,
            "version": gap.version.label if gap.version is not None else None,
        }
        for gap in gaps
    ]


def _certificates(certificates: Iterable[Certificate]) -> list[JsonObject]:
    return [_certificate(certificate) for certificate in certificates]


def _certificate(certificate: Certificate) -> JsonObject:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": _time(certificate.not_before),
        "not_after": _time(certificate.not_after),
        "sha256": certificate.sha256,
        "names": list(certificate.names),
        "key": certificate.key,
        "chain_count": certificate.chain_count,
        "trust": [
            {
                "store": trust.store,
                "store_version": trust.store_version,
                "trusted": trust.is_trusted,
                "error": trust.error,
            }
            for trust in certificate.trust
        ],
        "parse_error": certificate.parse_error,
    }


def render_certificates(certificates: Iterable[Certificate]) -> str:
    """Return an endpoint's ``certificates`` as they stand in render_line(build_host(...))."""
    return f"[{', '.join(map(_render_certificate, certificates))}]"


def _render_certificate(certificate: Certificate) -> str:
    if len(certificate.names) > _MOST_NAMES:
        return render_line(_certificate(certificate))
    return _render_once(certificate)


@lru_cache(maxsize=512)
def _render_once(certificate: Certificate) -> str:
    return render_line(_certificate(certificate))


def build_finding(finding: Finding) -> JsonObject:
    """Return one member of ``findings``."""
    return {
        "rule": finding.rule_id,
        "severity": finding.severity.value,
        "host": finding.host,
        "title": finding.title,
        "advice": finding.advice,
        "citations": [
            {
                "title": citation.title,
                "url": citation.url,
                "quote": citation.quote,
                "verified": citation.is_verified,
            }
            for citation in finding.citations
        ],
        "versions": [version.label for version in finding.versions],
        "scopes": list(finding.scopes),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
