"""What a host is: which HTTP questions its role makes us ask, and what the answers say. Pure; see docs/roles.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scanner.entra import DrsPlace, classify_cname_chain, is_registration_name
from scanner.model.certificates import Certificate
from scanner.model.checks import Check
from scanner.model.exchange import Exchange
from scanner.model.runs import Resolution
from scanner.model.subjects import Endpoint, Role, Target
from scanner.role_adfs import (
    METADATA_PATH,
    NONSENSE_PATH,
    PROBE_PATH,
    USER_CERTIFICATE_PORT,
    WINDOWS_TRANSPORT_PATH,
    recognise_adfs,
)
from scanner.role_entra import CLOUD_DISCOVERY_PATH, CONTRACT_PATH, LOGIN_PATH, is_sign_in_name, recognise_entra

_DISCOVERY_HEADERS = (
    ("Accept", "application/json"),
    ("ocp-adrs-client-name", "dsreg"),
    ("ocp-adrs-client-version", "10"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpQuestion:
    """One GET to put to an endpoint: in the clear on port 80, over TLS on any other."""

    endpoint: Endpoint
    """Where; its server_name is the SNI."""
    path: str
    """Path and query."""
    host: str
    """Value of the Host field."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further fields."""


def plan_http(target: Target, endpoints: Sequence[Endpoint]) -> tuple[HttpQuestion, ...]:
    """Return the GETs that the target's role asks for, given the endpoints that its versions are asked of."""
    if target.role is Role.ADFS:
        return _plan_adfs(target, endpoints)
    if target.role is Role.ENDPOINT:
        return _plan_entra(target, endpoints)
    return ()


def _plan_adfs(target: Target, endpoints: Sequence[Endpoint]) -> tuple[HttpQuestion, ...]:
    questions = []
    for address in dict.fromkeys(endpoint.address for endpoint in endpoints):
        plain = Endpoint(host=target.host, address=address, port=80, server_name=None, is_optional=True)
        host = _host_field(target.sni, plain)
        questions += [HttpQuestion(endpoint=plain, path=path, host=host) for path in (PROBE_PATH, NONSENSE_PATH)]
    for endpoint in _https_endpoints(endpoints):
        host = _host_field(endpoint.server_name or target.sni, endpoint)
        questions += [
            HttpQuestion(endpoint=endpoint, path=path, host=host) for path in (METADATA_PATH, WINDOWS_TRANSPORT_PATH)
        ]
    return tuple(questions)


def _plan_entra(target: Target, endpoints: Sequence[Endpoint]) -> tuple[HttpQuestion, ...]:
    questions = []
    asked_families = set()
    for endpoint in _https_endpoints(endpoints):
        name = endpoint.server_name or target.sni or ""
        is_microsofts = classify_cname_chain(name, ()).place is DrsPlace.CLOUD
        headers: tuple[tuple[str, str], ...] = ()
        if is_registration_name(name) and is_microsofts:
            path, headers = CLOUD_DISCOVERY_PATH, _DISCOVERY_HEADERS
        elif is_registration_name(name):
            path, headers = CONTRACT_PATH, _DISCOVERY_HEADERS[:1]
        elif is_sign_in_name(name):
            path, is_microsofts = LOGIN_PATH, True
        else:
            continue
        # Microsoft's names have many addresses of the same service: one question an address family is enough there.
        # An organisation's own may each be another machine.
        family = ":" in endpoint.address
        if is_microsofts and family in asked_families:
            continue
        asked_families.add(family)
        questions.append(
            HttpQuestion(endpoint=endpoint, path=path, host=_host_field(name or None, endpoint), headers=headers)
        )
    return tuple(questions)


def _https_endpoints(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Return one endpoint for each address: port 443, or the first that must answer where 443 is not asked."""
    chosen: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.port in {80, USER_CERTIFICATE_PORT}:
            continue
        held = chosen.get(endpoint.address)
        if held is None or (held.is_optional, held.port != 443) > (endpoint.is_optional, endpoint.port != 443):
            chosen[endpoint.address] = endpoint
    return tuple(chosen.values())


def _host_field(name: str | None, endpoint: Endpoint) -> str:
    host = name or (f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address)
    return host if endpoint.port in {80, 443} else f"{host}:{endpoint.port}"


def recognise(
    target: Target, resolution: Resolution, exchanges: Sequence[Exchange], certificates: Sequence[Certificate]
) -> tuple[Check, ...]:
    """Return the checks of the target's role; what was not learned is UNKNOWN with the reason, and never NO.

    exchanges may hold every exchange of the host, certificates the leaf certificates that its endpoints sent.
    """
    if target.role is Role.ADFS:
        return recognise_adfs(target, exchanges, certificates)
    if target.role is Role.ENDPOINT:
        return recognise_entra(target, resolution, exchanges, certificates)
    return ()
