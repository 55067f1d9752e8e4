"""What hosts' own connections say, as results: grouped by client, classified, merged. Pure.

Connections whose token is a question of the scan's own (``p-``) belong to a proxy and are judged with its paths; they
come back here by merge_arrivals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from scanner.merge import merge_scope
from scanner.model.evidence import Gap
from scanner.model.exchange import Probe
from scanner.model.outbound import OfferedHello, OutboundResult, Settled
from scanner.model.runs import HostRecord, Run
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS
from scanner.outbound.arrivals import Arrival, Outcome, read_arrival
from scanner.outbound.classify import classify_outbound, order_of
from scanner.outbound.methods import ARRIVED, method_of
from scanner.outbound.tokens import ProbeToken, TriggerToken
from scanner.tls.client_hello import ClientHello
from scanner.tls.ja4 import render_ja4

MOST_NAMES = 32
"""Server names without a token that are told apart for one address; a peer can send any number of them."""
_OTHER_NAMES = "other names"


def judge_outbound(run: Run, record: HostRecord) -> tuple[OutboundResult, ...]:
    """Return what the record's LISTENER exchanges say, one result a client; empty where there are none.

    A client is a method (from the token) and the address it came from; without a token also the server name. A token
    that names another host than the one the listener credited counts as none.
    """
    arrivals = [read_arrival(each) for each in record.exchanges if each.request.probe is Probe.LISTENER]
    own = [arrival for arrival in arrivals if not isinstance(arrival.token, ProbeToken)]
    credited = {
        each.request.id: each.request.endpoint.host for each in record.exchanges if each.request.probe is Probe.LISTENER
    }
    methods = {arrival.id: _method(arrival, credited[arrival.id]) for arrival in own}
    _credit_by_form(own, methods)
    groups: dict[tuple[str, str], list[Arrival]] = {}
    names: dict[str, set[str | None]] = {}
    for arrival in sorted(own, key=order_of):
        method = methods[arrival.id] or ARRIVED
        scope = f"{method} from {arrival.address}"
        if method == ARRIVED:
            seen = names.setdefault(arrival.address, set())
            if arrival.server_name in seen or len(seen) < MOST_NAMES:
                seen.add(arrival.server_name)
                scope += "" if arrival.server_name is None else f" as {arrival.server_name}"
            else:
                scope += f" as {_OTHER_NAMES}"
        groups.setdefault((method, scope), []).append(arrival)
    return tuple(
        merge_arrivals(record.target.host, scope, method, group, run=run, stopped=record.stopped)
        for (method, scope), group in groups.items()
    )


def merge_arrivals(
    host: str,
    scope: str,
    method: str,
    arrivals: Iterable[Arrival],
    *,
    run: Run,
    stopped: str | None = None,
    limits: Sequence[str] = (),
) -> OutboundResult:
    """Return what the connections of one scope say together; their order does not matter.

    host: the host that is judged. method: its id (scanner.outbound.methods). stopped: as in HostRecord. limits: further
    sentences on what can't be shown.
    """
    own = sorted(dict.fromkeys(arrivals), key=order_of)
    evidence = classify_outbound(
        host, scope, own, run=run.id, tool_version=run.tool_version, asked_at=run.started_at, stopped=stopped
    )
    known = method_of(method)
    hellos = offered_hellos(own)
    return OutboundResult(
        scope=scope,
        method=method,
        method_title=known.title,
        limits=(*known.limits, *limits, *_limits_of(own, hellos)),
        verdicts=tuple(
            merge_scope(evidence, host=host, scope=scope, direction=Direction.OUTBOUND, version=version)
            for version in ALL_VERSIONS
        ),
        gaps=tuple(item for item in evidence if isinstance(item, Gap)),
        hellos=hellos,
        settled=_settled(own),
        connection_count=len(own),
    )


def offered_hellos(arrivals: Iterable[Arrival]) -> tuple[OfferedHello, ...]:
    """Return the forms of hello that the connections began with, the most frequent first."""
    groups: dict[str, list[tuple[Arrival, ClientHello]]] = {}
    for arrival in sorted(arrivals, key=order_of):
        if arrival.hello is not None:
            groups.setdefault(arrival.form, []).append((arrival, arrival.hello))
    found = [
        OfferedHello(
            ja4=render_ja4(hello),
            is_ssl2_format=hello.is_ssl2_format,
            versions=tuple(sorted(hello.offered())),
            has_version_list=hello.supported_versions is not None,
            suites=hello.suites,
            groups=hello.groups,
            alpn=tuple(name.decode("ascii", "backslashreplace") for name in hello.alpn),
            server_name=hello.server_name,
            size_bytes=len(hello.message),
            count=len(group),
            first_seen_at=first.at,
        )
        for group in groups.values()
        for first, hello in group[:1]
    ]
    return tuple(sorted(found, key=lambda each: -each.count))


def _method(arrival: Arrival, credited: str) -> str | None:
    """Return the method that the token names; None where there is none, or where it was not believed."""
    token = arrival.token
    return token.method if isinstance(token, TriggerToken) and token.host == credited else None


def _credit_by_form(arrivals: Sequence[Arrival], methods: dict[int, str | None]) -> None:
    """Credit connections that ended before an HTTP path could carry the token, where one method alone can be meant.

    A listener reached by address gets the token in the path alone, and a connection that was refused has no path. The
    same form of hello, under the same name, from the same address, is taken for the same client.
    """
    by_client: dict[tuple[str, str | None, str], set[str | None]] = {}
    for arrival in arrivals:
        if methods[arrival.id] is not None:
            by_client.setdefault((arrival.address, arrival.server_name, arrival.form), set()).add(methods[arrival.id])
    for arrival in arrivals:
        if arrival.token is None and arrival.hello is not None:
            found = by_client.get((arrival.address, arrival.server_name, arrival.form), set())
            methods[arrival.id] = next(iter(found)) if len(found) == 1 else None


def _settled(arrivals: Iterable[Arrival]) -> tuple[Settled, ...]:
    counts = Counter(
        (version, arrival.text)
        for arrival in arrivals
        for version in [arrival.answered or arrival.asked]
        if version is not None and arrival.hello is not None and arrival.outcome is not Outcome.NOT_ANSWERED
    )
    rows = sorted(counts.items(), key=lambda row: (-row[0][0], -row[1], row[0][1]))
    return tuple(Settled(version=version, outcome=text, count=count) for (version, text), count in rows)


def _limits_of(arrivals: Sequence[Arrival], hellos: Sequence[OfferedHello]) -> tuple[str, ...]:
    """Return what these connections in particular can't show."""
    found: list[str] = []
    outcomes = {arrival.outcome for arrival in arrivals}
    if Outcome.CERTIFICATE_REFUSED in outcomes and Outcome.COMPLETED not in outcomes:
        found.append("The client does not trust the listener's certificate: no handshake could run to its end.")
    if len(hellos) > 1:
        found.append(
            f"{len(hellos)} different forms of hello came: a version counts as enabled where any of them accepts it."
        )
    return tuple(found)
