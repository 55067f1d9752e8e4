"""What a proxy does on the way to a registration endpoint, by the certificates seen with and without it."""

import itertools
from dataclasses import replace

import pytest

from scanner.certificates import ISSUER_IS_KNOWN
from scanner.model.certificates import Certificate, TrustResult
from scanner.model.checks import CheckState
from scanner.model.evidence import Gap, GapReason, Origin
from scanner.model.outbound import PathKind
from scanner.model.runs import EndpointResult
from scanner.model.subjects import Direction, Endpoint, Upgrade
from scanner.outbound.destinations import (
    check_paths,
    judge_destination,
    may_not_be_inspected,
    maybe_entra,
    takes_client_certificate,
)
from tests.outbound.recordings import AT

DRS = "enterpriseregistration.windows.net"
DEVICE = "device.login.microsoftonline.com"
OTHER = "sts.example.com"
T, R, B, U = PathKind.TUNNEL, PathKind.RE_ENCRYPTS, PathKind.BLOCKED, PathKind.UNKNOWN


def trust(is_trusted, error=None):
    return (
        TrustResult(store="Mozilla", store_version="1", is_trusted=is_trusted, error=error),
        TrustResult(store="Java", store_version="1", is_trusted=False, error="not in this one"),
    )


def certificate(digit, issuer, trusted):
    return Certificate(subject="CN=x", issuer=issuer, not_before=None, not_after=None, sha256=digit * 64, trust=trusted)


PUBLIC = certificate("a", "CN=DigiCert", trust(is_trusted=True))
PUBLIC_TWO = certificate("b", "CN=Microsoft Azure", trust(is_trusted=True))
PROXY = certificate("c", "CN=Corporate Proxy", trust(is_trusted=False, error="unknown issuer"))
OWN_CA = certificate("d", "CN=Corporate Root", trust(is_trusted=False, error="unknown issuer"))
OWN_CA_TWO = replace(OWN_CA, sha256="e" * 64)
WRONG_NAME = certificate("f", "CN=DigiCert", trust(is_trusted=False, error=f"{ISSUER_IS_KNOWN}the name is another"))
UNREAD = replace(certificate("9", "", ()), parse_error="no certificate")


def result(name=DRS, gaps=()):
    endpoint = Endpoint(
        host="proxy.example",
        address="192.0.2.1",
        port=3128,
        server_name=name,
        upgrade=Upgrade.HTTP_CONNECT,
        destination=f"{name}:443",
    )
    return EndpointResult(endpoint=endpoint, verdicts=(), gaps=tuple(gaps))


def gap(reason, detail="d"):
    return Gap(
        host="h",
        scope="s",
        direction=Direction.INBOUND,
        version=None,
        reason=reason,
        seen_at=AT,
        origin=Origin(source="s", source_version="1", locator="l", run="r"),
        detail=detail,
    )


@pytest.mark.parametrize(
    ("name", "through", "direct", "kind", "word"),
    [
        # The one that everybody is shown
        (DRS, [PUBLIC], [PUBLIC], T, "without the proxy"),
        (OTHER, [OWN_CA], [OWN_CA], T, "without the proxy"),
        (OTHER, [OWN_CA, OWN_CA_TWO], [OWN_CA_TWO, OWN_CA], T, "without the proxy"),
        # A public issuer: no proxy gets such a certificate, and sites have several
        (DRS, [PUBLIC], [], T, "public issuer"),
        (DRS, [PUBLIC], [PUBLIC_TWO], T, "public issuer"),
        (OTHER, [PUBLIC, PUBLIC_TWO], [], T, "public issuer"),
        # A private issuer
        (DRS, [PROXY], [PUBLIC], R, "CN=Corporate Proxy"),
        (DRS, [PROXY], [], R, "CN=Corporate Proxy"),
        (DEVICE, [PROXY, PROXY], [], R, "no public trust store"),
        (OTHER, [PROXY], [OWN_CA], R, "another one is seen"),
        # Nothing to compare with: a name of the user's own may have a private issuer
        (OTHER, [PROXY], [], U, "no way without the proxy"),
        # Two nodes behind one name, of one private issuer
        (OTHER, [OWN_CA_TWO], [OWN_CA], U, "same issuer"),
        # An expired certificate, or one of another name, says nothing of a proxy
        (DRS, [WRONG_NAME], [], U, "public issuer"),
        (DRS, [WRONG_NAME], [PUBLIC], U, "public issuer"),
        (DRS, [PUBLIC, WRONG_NAME], [], U, "public issuer"),
        # Both kinds of answer
        (DRS, [PUBLIC, PROXY], [PUBLIC], U, "some connections"),
        # A leaf that can't be read was held against no store
        (DRS, [UNREAD], [], U, "an issuer that can't be read"),
        (DRS, [], [PUBLIC], U, "no handshake"),
        (DRS, [], [], U, "no handshake"),
    ],
)
def test_certificates_decide(name, through, direct, kind, word):
    for order in itertools.permutations(through):
        found, reason = judge_destination(result(name), order, direct)
        assert found is kind
        assert word in reason


def test_a_way_that_is_not_opened_is_blocked_in_the_proxys_words():
    declined = [gap(GapReason.AMBIGUOUS), gap(GapReason.PROXY_DECLINED, "the proxy said 403 Forbidden")]
    assert judge_destination(result(gaps=declined), (), [PUBLIC]) == (B, "the proxy said 403 Forbidden")
    assert judge_destination(result(gaps=declined), [PUBLIC], [])[0] is T
    assert judge_destination(result(gaps=[gap(GapReason.SILENT)]), (), [])[0] is U


# Microsoft's documents (docs/roles.md, S1 and S2): what must be exempt from inspection, what takes a certificate


@pytest.mark.parametrize(
    ("name", "guarded", "client"),
    [
        (DEVICE, True, True),
        (DRS, True, False),
        ("enterpriseregistration.example.com", True, False),
        (OTHER, False, False),
    ],
)
def test_names_that_must_not_be_inspected(name, guarded, client):
    assert may_not_be_inspected(name) is guarded
    assert takes_client_certificate(name) is client
    assert (maybe_entra(name) is not None) is (name in {DEVICE, DRS})


def checks_of(*found):
    return {check.id: check.state for check in check_paths([(name, kind, "why") for name, kind in found])}


Y, N, Q = CheckState.YES, CheckState.NO, CheckState.UNKNOWN


@pytest.mark.parametrize(
    ("found", "intercepted", "client", "blocked"),
    [
        ([], None, None, None),
        ([(DEVICE, T), (DRS, T)], N, N, N),
        ([(DEVICE, R), (DRS, T)], Y, Y, N),
        ([(DEVICE, T), (DRS, R)], Y, N, N),
        ([(DEVICE, B), (DRS, T)], N, N, Y),
        ([(DEVICE, U), (DRS, T)], Q, Q, Q),
        ([(DEVICE, T), (DRS, U)], Q, N, Q),
        ([(DEVICE, R), (DRS, U)], Y, Y, Q),
        ([(DEVICE, U), (DRS, B)], Q, Q, Y),
        # Others may be inspected: that is nobody's business here
        ([(OTHER, R)], None, None, N),
        ([(OTHER, B)], None, None, Y),
        ([(OTHER, R), (DRS, T)], N, None, N),
    ],
)
def test_checks(found, intercepted, client, blocked):
    expected = {
        "path-intercepted": intercepted,
        "path-intercepted-client-certificate": client,
        "path-blocked": blocked,
    }
    for order in itertools.permutations(found):
        assert checks_of(*order) == {check: state for check, state in expected.items() if state is not None}


def test_a_check_names_what_it_is_about_and_nothing_else():
    (check, *_) = check_paths([(DRS, R, "issuer X"), (DEVICE, T, "fine")])
    assert check.detail == f"{DRS}: issuer X"
    (check, *_) = check_paths([(DRS, U, "not seen"), (DEVICE, T, "fine")])
    assert check.detail == f"{DRS}: not seen"
