"""Entra's registration endpoints: what their answers, certificates and DNS say of them (docs/roles.md). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from scanner.certificates import ISSUER_IS_KNOWN
from scanner.entra import DrsPlace, DrsPlacement, classify_cname_chain, is_registration_name
from scanner.model.certificates import Certificate
from scanner.model.checks import Check
from scanner.model.exchange import Exchange
from scanner.model.runs import Resolution
from scanner.model.subjects import Target, is_address
from scanner.probes.documents import DrsDocument, decode_drs_document
from scanner.probes.http import HttpResponse
from scanner.role_answers import (
    NO,
    UNKNOWN,
    YES,
    Answer,
    Judged,
    answers_to,
    any_state,
    check,
    check_version_refusal,
    is_version_refusal,
    judge_each,
    texts_of,
)
from scanner.untrusted import clean_text

CLOUD_DISCOVERY_PATH = "/microsoft.com/discover?api-version=1.7"
"""Any verified domain will do; Microsoft's own connectivity script asks for this one."""
CONTRACT_PATH = "/EnrollmentServer/contract?api-version=1.2"
LOGIN_PATH = "/common/oauth2"

# Organisations seen to issue for Microsoft's endpoints. From memory, no list of Microsoft's is behind it.
_MICROSOFT_ISSUERS = frozenset({"Microsoft Corporation", "DigiCert Inc"})


def is_sign_in_name(name: str) -> bool:
    """Return whether name is one of the sign-in hosts that Microsoft's connectivity script asks over HTTP."""
    return name.lower().startswith(("login.", "device.login."))


def recognise_entra(
    target: Target, resolution: Resolution, exchanges: Sequence[Exchange], certificates: Sequence[Certificate]
) -> tuple[Check, ...]:
    """Return the checks of a registration endpoint; see scanner.recognise.recognise."""
    name = target.sni or ""
    checks: list[Check] = []
    placement: DrsPlacement | None = None
    if is_registration_name(name):
        # Of a node given by address the resolution says nothing about the name.
        is_chain_known = resolution.cname_error is None and not is_address(target.host)
        placement = classify_cname_chain(
            name,
            () if is_address(target.host) else resolution.cname_chain,
            has_address=bool(resolution.addresses),
            is_chain_known=is_chain_known,
        )
        checks += [_check_place(name, resolution, placement), _check_discovery(exchanges)]
    if is_sign_in_name(name):
        judged = judge_each(answers_to(exchanges, LOGIN_PATH), lambda _, response: (YES, f"HTTP {response.status}"))
        checks.append(
            check(
                "login-answers",
                "The sign-in service answers over HTTP",
                any_state(judged),
                texts_of(judged),
                is_verified=False,
            )
        )
    checks.append(_check_issuer(certificates, placement))
    if answers_to(exchanges):
        checks.append(check_version_refusal(exchanges))
    return tuple(checks)


def _check_place(name: str, resolution: Resolution, placement: DrsPlacement) -> Check:
    state = {DrsPlace.CLOUD: YES, DrsPlace.ON_PREMISES: NO, DrsPlace.UNKNOWN: UNKNOWN}[placement.place]
    texts = [placement.reason, "CNAME chain: " + " -> ".join((name, *resolution.cname_chain))]
    if resolution.cname_error is not None:
        texts.append(f"CNAME look-up: {resolution.cname_error}")
    return check(
        "drs-cloud",
        "The name leads to Microsoft's registration service",
        state,
        texts,
        is_verified=placement.is_certain or state is UNKNOWN,
    )


def _check_discovery(exchanges: Sequence[Exchange]) -> Check:
    def judge(_answer: Answer, response: HttpResponse) -> Judged:
        status = f"HTTP {response.status}"
        if response.status >= 500 or response.status == 429 or is_version_refusal(response):
            return UNKNOWN, status
        if response.status != 200:
            location = response.header("location")
            return NO, status + (f" to {location}" if location else "")
        document = decode_drs_document(response.body)
        if isinstance(document, DrsDocument):
            join = document.field("DeviceJoinService.JoinEndpoint")
            return YES, f"JoinEndpoint {join or '(none)'}, sections {', '.join(document.sections)}"
        if not response.is_whole:
            return UNKNOWN, f"{status}, cut short: {document.reason}"
        kind = response.header("content-type") or "no content type"
        return NO, f"{status} ({kind}), but not the discovery document: {document.reason}"

    answers = answers_to(exchanges, CLOUD_DISCOVERY_PATH) + answers_to(exchanges, CONTRACT_PATH)
    judged = judge_each(answers, judge)
    return check(
        "drs-discovery", "Serves the DRS discovery document", any_state(judged), texts_of(judged), weight="strong"
    )


def _check_issuer(certificates: Sequence[Certificate], placement: DrsPlacement | None) -> Check:
    judged = [_judge_issuer(certificate) for certificate in certificates]
    states = {state for state, _ in judged}
    # One certificate of a private authority is worth showing, whatever the other addresses sent.
    state = NO if NO in states else YES if states == {YES} else UNKNOWN
    texts = [text for wanted in (NO, UNKNOWN, YES) for judged_state, text in judged if judged_state is wanted]
    if placement is not None and placement.place is not DrsPlace.CLOUD:
        state, texts = UNKNOWN, ["may be an organisation's own service, with a certificate of any authority", *texts]
    return check(
        "microsoft-issuer",
        "The certificate comes from an authority that Microsoft uses (no interception)",
        state,
        texts or ["no certificate was seen"],
        weight="medium",
        is_verified=False,
    )


def _judge_issuer(certificate: Certificate) -> Judged:
    if certificate.parse_error is not None and not certificate.issuer:
        return UNKNOWN, f"certificate not readable: {certificate.parse_error}"
    # Bounded here, so that a long name can't push what we say about it out of the detail.
    issuer = clean_text(certificate.issuer, max_chars=160) or "(empty)"
    if not certificate.trust:
        return UNKNOWN, f"issuer {issuer}; the chain was not validated"
    trusting = [result.store for result in certificate.trust if result.is_trusted]
    is_listed = bool(_MICROSOFT_ISSUERS & set(_organisations(certificate.issuer)))
    if trusting:
        return (YES if is_listed else UNKNOWN), f"issuer {issuer}; trusted by {', '.join(trusting)}"
    known = [result for result in certificate.trust if (result.error or "").startswith(ISSUER_IS_KNOWN)]
    if known:
        why = (known[0].error or "").removeprefix(ISSUER_IS_KNOWN)
        return UNKNOWN, f"issuer {issuer}, a public authority, but {why}"
    if certificate.chain_count == 1 and is_listed:
        return UNKNOWN, f"issuer {issuer}; the server sent no intermediate certificate, so it can't be validated"
    return (
        NO,
        f"issuer {issuer}; trusted by no public store: a private CA issued this, by interception or a test system",
    )


def _organisations(issuer: str) -> tuple[str, ...]:
    try:
        name = x509.Name.from_rfc4514_string(issuer)
    except ValueError:
        return ()
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
