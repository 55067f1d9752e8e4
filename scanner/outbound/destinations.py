"""What a proxy does to TLS on its way to a registration endpoint, by the certificates seen with and without it. Pure.

A proxy that ends TLS must show a certificate of its own, and no public issuer gives it one for Microsoft's names. So a
chain that public trust stores accept for the name came from the destination; one that they refuse did not, unless the
destination shows the same one to everybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from scanner.certificates import ISSUER_IS_KNOWN
from scanner.entra import EntraEndpoint, entra_endpoints, is_registration_name
from scanner.model.certificates import Certificate
from scanner.model.checks import Check, CheckState
from scanner.model.outbound import PathKind
from scanner.model.runs import EndpointResult

INTERCEPTED = "path-intercepted"
"""Check: whether the proxy intercepts a registration endpoint."""
INTERCEPTED_CLIENT_CERTIFICATE = "path-intercepted-client-certificate"
"""Check: whether it intercepts one that devices show a client certificate to, which can't survive that."""
BLOCKED = "path-blocked"
"""Check: whether it would not open the way to one."""


def judge_destination(
    result: EndpointResult, certificates: Sequence[Certificate], direct: Sequence[Certificate]
) -> tuple[PathKind, str]:
    """Return what the proxy does on the way to one destination, and why in one sentence."""
    if not certificates:
        declined = [gap for gap in result.gaps if gap.reason.value == "PROXY_DECLINED"]
        if declined:
            return PathKind.BLOCKED, declined[0].detail
        return PathKind.UNKNOWN, "no handshake through the proxy was completed, so no certificate was seen"
    name = result.endpoint.server_name or result.endpoint.destination or ""
    direct_leaves = {certificate.sha256 for certificate in direct}
    if all(certificate.sha256 in direct_leaves for certificate in certificates):
        return PathKind.TUNNEL, "the certificate is the one that is seen without the proxy"
    if all(_is_public(certificate) for certificate in certificates):
        return PathKind.TUNNEL, "the certificate is from a public issuer, which gives no proxy one for this name"
    private = [certificate for certificate in certificates if not _is_public(certificate)]
    issuer = private[0].issuer or "an issuer that can't be read"
    if any(_has_known_issuer(certificate) for certificate in private):
        return (
            PathKind.UNKNOWN,
            f"the certificate is from a public issuer ({issuer}), but not valid for this name and time",
        )
    if direct and any(certificate.sha256 in direct_leaves for certificate in certificates):
        return PathKind.UNKNOWN, "some connections showed the destination's certificate and some another"
    if {certificate.issuer for certificate in private} <= {certificate.issuer for certificate in direct}:
        return (
            PathKind.UNKNOWN,
            f"the certificate is another one than without the proxy, but from the same issuer ({issuer})",
        )
    if direct:
        return PathKind.RE_ENCRYPTS, f"the certificate is from {issuer}; without the proxy another one is seen"
    if maybe_entra(name) is not None and all(certificate.trust for certificate in private):
        return PathKind.RE_ENCRYPTS, f"the certificate is from {issuer}, which no public trust store knows"
    return PathKind.UNKNOWN, f"the certificate is from {issuer}, and there was no way without the proxy to compare with"


def maybe_entra(name: str) -> EntraEndpoint | None:
    """Return what is known of a registration endpoint of Microsoft's, by its name; None for any other."""
    return next((endpoint for endpoint in entra_endpoints() if endpoint.name == name), None)


def may_not_be_inspected(name: str) -> bool:
    """Whether no proxy may break and inspect TLS to this name (docs/roles.md)."""
    known = maybe_entra(name)
    return known.must_not_be_inspected if known is not None else is_registration_name(name)


def takes_client_certificate(name: str) -> bool:
    """Whether devices authenticate to this name with a client certificate."""
    known = maybe_entra(name)
    return known is not None and known.takes_client_certificate


def check_paths(found: Sequence[tuple[str, PathKind, str]]) -> tuple[Check, ...]:
    """Return the checks of a proxy from (name, kind, reason) of each destination."""
    if not found:
        return ()
    guarded = [item for item in found if may_not_be_inspected(item[0])]
    client = [item for item in guarded if takes_client_certificate(item[0])]
    checks = [
        _check(INTERCEPTED, "The proxy intercepts TLS to registration endpoints", guarded, PathKind.RE_ENCRYPTS),
        _check(
            INTERCEPTED_CLIENT_CERTIFICATE,
            "The proxy intercepts TLS to endpoints that take the device's certificate",
            client,
            PathKind.RE_ENCRYPTS,
        ),
        _check(BLOCKED, "The proxy blocks registration endpoints", found, PathKind.BLOCKED),
    ]
    return tuple(check for check in checks if check is not None)


def _check(check_id: str, title: str, found: Sequence[tuple[str, PathKind, str]], wanted: PathKind) -> Check | None:
    if not found:
        return None
    is_so = [item for item in found if item[1] is wanted]
    open_ones = [item for item in found if item[1] is PathKind.UNKNOWN]
    state = CheckState.YES if is_so else CheckState.UNKNOWN if open_ones else CheckState.NO
    shown = is_so or open_ones or found
    detail = "; ".join(f"{name}: {reason}" for name, _, reason in shown)
    return Check(id=check_id, title=title, state=state, detail=detail, weight="strong")


def _is_public(certificate: Certificate) -> bool:
    return any(result.is_trusted for result in certificate.trust)


def _has_known_issuer(certificate: Certificate) -> bool:
    """Whether a public store knows the issuer and refused the certificate for another reason."""
    return any((result.error or "").startswith(ISSUER_IS_KNOWN) for result in certificate.trust)
