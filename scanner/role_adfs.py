"""AD FS and Web Application Proxy: what their answers say of them (docs/roles.md). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scanner.entra import is_registration_name
from scanner.model.certificates import Certificate
from scanner.model.checks import Check, CheckState
from scanner.model.exchange import Ending, Exchange
from scanner.model.subjects import Target
from scanner.probes.documents import FederationMetadata, decode_federation_metadata
from scanner.probes.http import HttpResponse
from scanner.role_answers import (
    NO,
    NOT_ASKED,
    UNKNOWN,
    YES,
    Answer,
    Judged,
    all_state,
    answers_to,
    any_state,
    check,
    check_version_refusal,
    is_version_refusal,
    judge_each,
    texts_of,
)

PROBE_PATH = "/adfs/probe"
NONSENSE_PATH = "/adfs/probe-5f0c1d"
"""A path that no server has on purpose: one that answers 200 to it answers 200 to anything."""
METADATA_PATH = "/FederationMetadata/2007-06/FederationMetadata.xml"
WINDOWS_TRANSPORT_PATH = "/adfs/services/trust/2005/windowstransport"
USER_CERTIFICATE_PORT = 49443

_ROLE_TYPES = frozenset({"SecurityTokenServiceType", "ApplicationServiceType"})
_OPEN_ENDINGS = frozenset(
    {Ending.COMPLETE, Ending.PEER_CLOSED, Ending.PEER_RESET, Ending.TIMED_OUT_READ, Ending.OVERSIZE}
)


def recognise_adfs(
    target: Target, exchanges: Sequence[Exchange], certificates: Sequence[Certificate]
) -> tuple[Check, ...]:
    """Return the checks of an AD FS target; see scanner.recognise.recognise."""
    metadata = judge_each(answers_to(exchanges, METADATA_PATH), _judge_metadata)
    probe = _judge_probe(exchanges)
    states = {any_state(metadata), any_state(probe)}
    recognised = YES if YES in states else NO if states == {NO} else UNKNOWN
    checks = [
        check(
            "adfs-recognised",
            "AD FS or a Web Application Proxy answers",
            recognised,
            [f"federation metadata: {any_state(metadata)}", f"health page: {any_state(probe)}"],
            weight="certain" if any_state(metadata) is YES else "strong" if any_state(probe) is YES else "",
        ),
        check(
            "adfs-federation-metadata",
            "Publishes WS-Federation metadata under the service name",
            any_state(metadata),
            texts_of(metadata),
            weight="certain",
        ),
        check(
            "adfs-probe", "Answers the AD FS health page on port 80", any_state(probe), texts_of(probe), weight="strong"
        ),
        _check_adfs_names(target, certificates),
        _check_wap(exchanges, recognised, any_state(metadata)),
        _check_user_certificate_port(exchanges),
        _check_http_sys(exchanges),
    ]
    refusal = check_version_refusal(exchanges)
    return (*checks, refusal) if refusal.state is YES else tuple(checks)


def _judge_metadata(answer: Answer, response: HttpResponse) -> Judged:
    if response.status >= 500 or response.status == 429 or is_version_refusal(response):
        return UNKNOWN, f"HTTP {response.status}"
    if response.status != 200 and not answer.is_named:
        return UNKNOWN, f"HTTP {response.status}, but it was asked without the service name"
    if response.status != 200:
        return NO, f"HTTP {response.status}"
    document = decode_federation_metadata(response.body)
    if not isinstance(document, FederationMetadata):
        return (NO, document.reason) if response.is_whole else (UNKNOWN, f"cut short: {document.reason}")
    entity = f"entityID {document.entity_id or '(none)'}"
    roles = [role for role in document.roles if role in _ROLE_TYPES]
    if roles:
        return YES, f"{entity}, roles {', '.join(roles)}"
    if not document.is_whole:
        return UNKNOWN, f"{entity}, cut short before any role"
    return NO, f"{entity}, SAML metadata without WS-Federation roles: another product"


def _judge_probe(exchanges: Sequence[Exchange]) -> list[Judged]:
    nonsense = {answer.address: answer for answer in answers_to(exchanges, NONSENSE_PATH)}

    def judge(answer: Answer, response: HttpResponse) -> Judged:
        if response.status != 200:
            return NO, f"HTTP {response.status}"
        other = nonsense.get(answer.address)
        if other is None or other.response is None:
            return UNKNOWN, f"HTTP 200, but to a nonsense path {NOT_ASKED if other is None else other.trouble}"
        if other.response.status == 200:
            return UNKNOWN, "HTTP 200, but a nonsense path is answered 200 too"
        return YES, f"HTTP 200, and a nonsense path HTTP {other.response.status}"

    return judge_each(answers_to(exchanges, PROBE_PATH), judge)


def _check_adfs_names(target: Target, certificates: Sequence[Certificate]) -> Check:
    """SAN entries that AD FS set-up requires: certauth.SERVICE and enterpriseregistration.SUFFIX beside the service."""
    service = target.sni
    judged: list[Judged] = []
    for certificate in certificates:
        if certificate.parse_error is not None:
            judged.append((UNKNOWN, f"certificate not readable: {certificate.parse_error}"))
            continue
        names = tuple(name.lower() for name in certificate.names)
        services = (service.lower(),) if service else names
        typical = [
            name
            for name in names
            if is_registration_name(name)
            or (name.startswith("certauth.") and name.removeprefix("certauth.") in services)
        ]
        has_service = service is None or any(_covers(name, services[0]) for name in names)
        if has_service and typical:
            judged.append((YES, f"names {', '.join(typical)}" + (f" beside {service}" if service else "")))
        else:
            missing = "no certauth or enterpriseregistration name" if has_service else f"does not name {service}"
            judged.append((NO, f"{missing}; it has {', '.join(names[:5]) or 'none'}"))
    return check(
        "adfs-certificate-names",
        "The certificate has the names that AD FS asks for",
        any_state(judged),
        texts_of(judged) or ["no certificate was seen"],
        weight="medium",
    )


def _covers(pattern: str, name: str) -> bool:
    """Return whether a dNSName covers name: equal, or by a wildcard for exactly one label (RFC 9525 section 6.3)."""
    return pattern == name or (pattern.startswith("*.") and pattern[2:] == name.partition(".")[2])


def _check_wap(exchanges: Sequence[Exchange], recognised: CheckState, metadata: CheckState) -> Check:
    def judge(_answer: Answer, response: HttpResponse) -> Judged:
        status = f"windowstransport answers HTTP {response.status}"
        if response.status in {400, 405} or (response.status == 503 and metadata is YES):
            return NO, f"{status}: AD FS itself, or a WAP that publishes it, which must not be"
        if response.status == 404:
            return YES, f"{status}: a WAP, or AD FS with this endpoint off"
        return UNKNOWN, f"{status}, which tells neither"

    judged = judge_each(answers_to(exchanges, WINDOWS_TRANSPORT_PATH), judge)
    state = all_state(judged) if recognised is YES and judged else UNKNOWN
    texts = texts_of(judged)
    if recognised is not YES:
        texts = ["not recognised as AD FS or WAP", *texts]
    elif metadata is YES:
        texts.append("a WAP relays AD FS's metadata, so that tells neither")
    return check(
        "adfs-is-wap",
        "A Web Application Proxy rather than AD FS itself (heuristic)",
        state,
        texts,
        weight="weak",
        is_verified=False,
    )


def _check_user_certificate_port(exchanges: Sequence[Exchange]) -> Check:
    judged: list[Judged] = []
    for exchange in exchanges:
        endpoint = exchange.request.endpoint
        if endpoint.port != USER_CERTIFICATE_PORT:
            continue
        where = endpoint.locator.removeprefix("tcp://")
        if exchange.ending in _OPEN_ENDINGS:
            judged.append((YES, f"{where}: open"))
        elif exchange.ending is Ending.REFUSED:
            judged.append((NO, f"{where}: refused, as usual with alternate host name binding"))
        else:
            judged.append((UNKNOWN, f"{where}: {exchange.ending.value}"))
    return check(
        "adfs-user-certificate-port",
        "Port 49443 for user certificates is open",
        any_state(judged),
        texts_of(judged),
        weight="weak",
    )


def _check_http_sys(exchanges: Sequence[Exchange]) -> Check:
    def judge(_answer: Answer, response: HttpResponse) -> Judged:
        server = response.header("server")
        if server is None:
            return UNKNOWN, "no Server field"
        return (YES if server.lower().startswith("microsoft-httpapi/") else NO), f"Server: {server}"

    judged = judge_each(answers_to(exchanges), judge)
    return check(
        "adfs-http-sys",
        "Windows' HTTP stack answers",
        any_state(judged),
        texts_of(judged),
        weight="weak",
        is_verified=False,
    )
