"""Made-up hosts with an outbound side: what proxies do on their paths, and an AD FS server with several clients."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

from scanner.model.certificates import Certificate, TrustResult
from scanner.model.checks import Check, CheckState
from scanner.model.evidence import Basis, Gap, GapReason, Observation, Origin, State
from scanner.model.outbound import Mirroring, OfferedHello, OutboundResult, PathKind, PathResult, Settled
from scanner.model.runs import EndpointResult, Handshake, HostResult, Resolution
from scanner.model.subjects import Direction, Endpoint, Role, Target, Upgrade
from scanner.model.verdicts import Finding, Readiness, Severity, Verdict
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.outbound.methods import method_of
from tests.reports.sample import ARTICLE, RUN_ID, STARTED_AT, STORES, build_result, make_hostile

LISTENER = "tls-probe.corp.example:443"
LISTENER_NAME = "(names that lead to the listener)"
ENTRA = ("login.microsoftonline.com", "enterpriseregistration.windows.net", "device.login.microsoftonline.com")
STATES = {"e": State.ENABLED, "d": State.DISABLED, "u": State.UNKNOWN}
KINDS = ("tunnel", "mirror", "blocked", "adfs", "intercepted", "unknown")
"""The hosts that build_outbound_result makes, in this order, again and again."""
OUTBOUND_STATES = {
    "tunnel": "uuuuuu",
    "mirror": "ddeeee",
    "blocked": "uuuuuu",
    "adfs": "ddeeed",
    "intercepted": "ddddee",
    "unknown": "uuuuuu",
}
"""What each says of SSL2, SSL3, TLS1.0, TLS1.1, TLS1.2, TLS1.3 outbound."""
ADFS_CLIENTS = (("adfs-metadata", "dddded"), ("winhttp", "ddeeed"), ("curl", "ddduud"))
"""The methods of the AD FS host's clients, and what each says."""


def build_outbound_result(ordinary=0, *, count=6, is_hostile=False):
    """Return a run with so many ordinary hosts, and count hosts with an outbound side."""
    plain = build_result(ordinary)
    made = [_build(number) for number in range(count)]
    findings = sorted(
        [*plain.findings, *(finding for _, own in made for finding in own)],
        key=lambda finding: list(Severity).index(finding.severity),
    )
    result = replace(plain, hosts=(*plain.hosts, *(host for host, _ in made)), findings=tuple(findings))
    return make_hostile(result) if is_hostile else result


def _build(number):
    kind = KINDS[number % len(KINDS)]
    name = f"{'sts-out' if kind == 'adfs' else f'proxy-{kind}'}{number + 1}.corp.example"
    address = f"10.200.{number >> 8}.{number & 255}"
    return _build_adfs(name, address) if kind == "adfs" else _build_proxy(kind, name, address)


def _verdicts(host, scope, direction, letters, *, said, disputed=(), gap=None, locator=""):
    origin = Origin(
        source="listener" if direction is Direction.OUTBOUND else "hello-ladder",
        source_version="0.1.0",
        locator=locator or scope,
        run=RUN_ID,
    )

    def observe(version, state, basis, reason):
        return Observation(
            host=host, scope=scope, direction=direction, version=version, state=state, basis=basis,
            seen_at=STARTED_AT + timedelta(seconds=3), origin=origin, reason=reason,
            facts=(("cipher_suite", "0xC02F"),) if basis is Basis.HANDSHAKE else (),
        )  # fmt: skip

    def decide(version, state):
        gaps = ()
        supporting = opposing = ()
        if state is State.UNKNOWN:
            why, detail = gap or (GapReason.OFFERED, "offered, but no connection shows whether it goes through with it")
            gaps = (
                Gap(host=host, scope=scope, direction=direction, version=version, reason=why, seen_at=STARTED_AT,
                    origin=origin, detail=detail),
            )  # fmt: skip
            reason = detail
        else:
            basis = Basis.HANDSHAKE if state is State.ENABLED else Basis.HELLO
            reason = said[state]
            supporting = (observe(version, state, basis, reason),)
        if version in disputed:
            opposing = (
                observe(version, State.DISABLED, Basis.HELLO, "alert protocol_version(70) after our ServerHello"),
            )
        return Verdict(
            host=host, scope=scope, direction=direction, version=version, state=state,
            is_disputed=version in disputed, reason=reason, supporting=supporting, opposing=opposing, gaps=gaps,
        )  # fmt: skip

    return tuple(decide(version, STATES[letter]) for version, letter in zip(ALL_VERSIONS, letters, strict=True))


OUTBOUND_SAID = {State.ENABLED: "it completed a handshake with the listener", State.DISABLED: "its hello excludes it"}
INBOUND_SAID = {State.ENABLED: "handshake completed", State.DISABLED: "alert protocol_version(70) to every hello"}


def _merged(verdicts):
    """Return the verdicts of one scope as those of its host."""
    return tuple(replace(verdict, scope=None) for verdict in verdicts)


def _client(host, scope, method, letters, **more):
    known = method_of(method)
    verdicts = _verdicts(host, scope, Direction.OUTBOUND, letters, said=OUTBOUND_SAID, **more)
    has_hello = "e" in letters
    return OutboundResult(
        scope=scope,
        method=method,
        method_title=known.title,
        limits=known.limits,
        verdicts=verdicts,
        gaps=tuple(gap for verdict in verdicts for gap in verdict.gaps),
        hellos=_hellos(letters) if has_hello else (),
        settled=(
            *(
                Settled(version=version, outcome="completed", count=2)
                for version, letter in reversed(list(zip(ALL_VERSIONS, letters, strict=True)))
                if letter == "e"
            ),
            Settled(version=TlsVersion.SSL3, outcome="refused with alert protocol_version(70)", count=1),
        )
        if has_hello
        else (),
        connection_count=9 if has_hello else 0,
    )


def _hellos(letters):
    offered = tuple(version for version, letter in zip(ALL_VERSIONS, letters, strict=True) if letter == "e")
    has_list = TlsVersion.TLS1_3 in offered
    suites = (0x0A0A, 0x1301, 0x1302, 0xC02F, 0xC030, 0xC013, 0x002F) if has_list else (0xC02F, 0xC030, 0xC013, 0x000A)
    return (
        OfferedHello(
            ja4="t13d071100_8daaf6152771_e5627efa2ab1" if has_list else "t12d041000_a09f3c656075_14788d8d241b",
            is_ssl2_format=False,
            versions=offered if has_list else offered[-1:],
            has_version_list=has_list,
            suites=suites,
            groups=(0x001D, 0x0017, 0x0018),
            alpn=("h2", "http/1.1"),
            server_name="t-0-connect.proxy.tls-probe.corp.example",
            size_bytes=517 if has_list else 198,
            count=8,
            first_seen_at=STARTED_AT + timedelta(seconds=3),
        ),
        OfferedHello(
            ja4="",
            is_ssl2_format=True,
            versions=(TlsVersion.TLS1_0,),
            has_version_list=False,
            suites=(0x010080, 0x0700C0, 0x00002F),
            groups=(),
            alpn=(),
            server_name=None,
            size_bytes=57,
            count=1,
            first_seen_at=STARTED_AT + timedelta(seconds=5),
        ),
    )


def _certificate(subject, issuer, *, is_public):
    return Certificate(
        subject=f"CN={subject}",
        issuer=issuer,
        not_before=STARTED_AT - timedelta(days=90),
        not_after=STARTED_AT + timedelta(days=200, hours=3),
        sha256=hashlib.sha256(f"{subject}{issuer}".encode()).hexdigest(),
        names=(subject, f"*.{subject}"),
        key="RSA 2048",
        chain_count=2,
        trust=tuple(
            TrustResult(
                store=store,
                store_version=version,
                is_trusted=is_public,
                error=None if is_public else "unable to get local issuer certificate",
            )
            for store, version in STORES
        ),
    )


def _path(host, via, destination, kind, **more):
    name = destination.rpartition(":")[0]
    is_listener = destination == LISTENER
    is_cut = kind is PathKind.RE_ENCRYPTS
    letters = "" if kind in {PathKind.BLOCKED, PathKind.UNKNOWN} else "ddddee" if not is_cut else "ddeeed"
    public = _certificate(name, "CN=DigiCert Global G2 TLS RSA SHA256 2020 CA1,O=DigiCert Inc,C=US", is_public=True)
    private = _certificate(name, "CN=Corp Web Inspection CA,O=Corp Example", is_public=False)
    seen = () if not letters else (private if is_cut else public,)
    values = {
        "via": via,
        "upgrade": Upgrade.HTTP_CONNECT,
        "destination": destination,
        "server_name": LISTENER_NAME if is_listener else name,
        "is_listener": is_listener,
        "kind": kind,
        "reason": {
            PathKind.TUNNEL: "the hello arrived byte for byte, and the listener's own answer came back"
            if is_listener
            else "the certificate is the one that is seen directly",
            PathKind.RE_ENCRYPTS: "client and listener had two TLS sessions: the proxy ends one and opens another"
            if is_listener
            else "the certificate is not the one that is seen directly, and no public store knows its issuer",
            PathKind.BLOCKED: "the proxy would not open the way: 403 Forbidden",
            PathKind.UNKNOWN: "hellos arrived, but no answer came back to compare with",
        }[kind],
        "proof": (
            "3 hellos were sent and 3 arrived, none of them as sent.",
            "The certificate that came back is not the listener's: CN=Corp Web Inspection CA.",
        )
        if is_listener and is_cut
        else (),
        "verdicts": _verdicts(
            host, f"{via} -> {destination} as {name}", Direction.INBOUND, letters, said=INBOUND_SAID, locator=via
        )
        if letters
        else (),
        "certificates": seen,
        "direct_certificates": () if is_listener else (public,),
        "limits": method_of("connect").limits if is_listener else ("A proxy may treat this name in its own way.",),
    }
    return PathResult(**(values | more))


def _endpoint(host, address, port, *, destination, verdicts, certificates, server_name):
    enabled = [verdict.version for verdict in verdicts if verdict.state is State.ENABLED]
    return EndpointResult(
        endpoint=Endpoint(
            host=host,
            address=address,
            port=port,
            server_name=server_name,
            upgrade=Upgrade.NONE if destination is None else Upgrade.HTTP_CONNECT,
            destination=destination,
        ),
        verdicts=verdicts,
        gaps=tuple(gap for verdict in verdicts for gap in verdict.gaps)[:1],
        handshakes=tuple(
            Handshake(
                version=version,
                is_completed=True,
                engine="nassl 5.4.0 (modern OpenSSL)",
                cipher_suite="ECDHE-RSA-AES128-GCM-SHA256",
                is_client_certificate_requested=False,
                error=None,
            )
            for version in enabled
        ),
        certificates=certificates,
        connection_count=8,
    )


def _target(name, role):
    return Target(
        text=f"{name}:8080",
        host=name,
        role=role,
        ports=(8080,) if role is Role.PROXY else (443,),
        vendor="squid" if role is Role.PROXY else None,
        tags=("dmz",),
        locator="targets.txt:1",
    )


def _finding(name, rule, severity, title, advice, *, versions=(), scopes=()):
    return Finding(
        rule_id=rule,
        severity=severity,
        host=name,
        title=title,
        advice=advice,
        citations=(ARTICLE,),
        versions=versions,
        scopes=scopes,
    )


_GAPS = {
    PathKind.TUNNEL: (
        GapReason.TUNNEL,
        "the proxy passes TLS through and has none of its own: the versions are those of its clients",
    ),
    PathKind.BLOCKED: (GapReason.PROXY_DECLINED, "the proxy would not open the way: 403 Forbidden"),
    PathKind.UNKNOWN: (GapReason.NOT_SEEN, "hellos arrived, but no answer came back to compare with"),
}


def _build_proxy(kind, name, address):
    via = f"tcp://{address}:8080"
    way = {"tunnel": PathKind.TUNNEL, "blocked": PathKind.BLOCKED, "unknown": PathKind.UNKNOWN}.get(
        kind, PathKind.RE_ENCRYPTS
    )
    scope = f"{via} to {LISTENER}"
    disputed = (TlsVersion.TLS1_0,) if kind == "mirror" else ()
    client = _client(name, scope, "connect", OUTBOUND_STATES[kind], disputed=disputed, gap=_GAPS.get(way))
    paths = [
        _path(
            name, via, LISTENER, way,
            mirroring={"mirror": Mirroring.MIRRORS, "intercepted": Mirroring.INDEPENDENT}.get(kind, Mirroring.UNKNOWN),
        )
    ]  # fmt: skip
    for host in ENTRA:
        is_cut = kind == "intercepted" and host.startswith("device.")
        own = PathKind.BLOCKED if kind == "blocked" else PathKind.RE_ENCRYPTS if is_cut else PathKind.TUNNEL
        paths.append(_path(name, via, f"{host}:443", own))
    paths = [path for path in paths if kind != "unknown" or path.is_listener]
    endpoints = tuple(
        _endpoint(
            name,
            address,
            8080,
            destination=path.destination,
            verdicts=path.verdicts,
            certificates=path.certificates,
            server_name="p-0011223344556677-any.tls-probe.invalid" if path.is_listener else path.server_name,
        )
        for path in paths
        if path.verdicts
    )
    inbound = paths[0].verdicts
    if way is not PathKind.RE_ENCRYPTS:
        inbound = _verdicts(
            name, name, Direction.INBOUND, "uuuuuu", said=INBOUND_SAID, gap=_GAPS[way], locator=f"{via}"
        )
    findings = []
    if kind == "intercepted":
        findings.append(
            _finding(
                name,
                "proxy-intercepts-client-certificate",
                Severity.FAILURE,
                "The proxy intercepts TLS to endpoints that take the device's certificate",
                "Exempt device.login.* and certauth.* from inspection: the device's certificate can't pass.",
            )
        )
    if kind == "mirror":
        findings.append(
            _finding(
                name,
                "tls10-outbound-off",
                Severity.WARNING,
                "TLS 1.0 is used outbound",
                "Set the minimum of the proxy's own client to TLS 1.2.",
                versions=(TlsVersion.TLS1_0,),
                scopes=(scope,),
            )
        )
        findings.append(
            _finding(
                name,
                "evidence-disputed",
                Severity.INFO,
                "Evidence disagrees",
                "Look at both sides below.",
                versions=(TlsVersion.TLS1_0,),
                scopes=(scope,),
            )
        )
    readiness = {
        "tunnel": (Readiness.READY, "TLS passes through unchanged, so its clients decide"),
        "mirror": (Readiness.READY, "TLS 1.2 is accepted; TLS 1.2 is used outbound; TLS 1.0 is used outbound"),
        "intercepted": (
            Readiness.NOT_READY,
            "The proxy intercepts TLS to endpoints that take the device's certificate",
        ),
    }.get(kind, (Readiness.UNKNOWN, f"TLS 1.2 outbound: {client.verdicts[4].reason}"))
    host = HostResult(
        target=_target(name, Role.PROXY),
        resolution=Resolution(addresses=(address,)),
        readiness=readiness[0],
        readiness_reason=readiness[1],
        verdicts=(*_merged(inbound), *_merged(client.verdicts)),
        endpoints=endpoints,
        checks=(
            Check(
                id="proxy-intercepts-client-certificate",
                title="The proxy intercepts TLS to endpoints that take the device's certificate",
                state=CheckState.YES if kind == "intercepted" else CheckState.NO,
                detail=f"{ENTRA[2]}: {paths[-1].reason}",
                weight="strong",
            ),
        )
        if kind != "unknown"
        else (),
        outbound=(client,),
        paths=tuple(paths),
    )
    return host, findings


def _build_adfs(name, address):
    clients = tuple(_client(name, f"{method} from {address}", method, letters) for method, letters in ADFS_CLIENTS)
    merged = _verdicts(name, f"winhttp from {address}", Direction.OUTBOUND, OUTBOUND_STATES["adfs"], said=OUTBOUND_SAID)
    inbound = _verdicts(name, f"tcp://{address}:443 as {name}", Direction.INBOUND, "ddddee", said=INBOUND_SAID)
    own = _certificate(name, "CN=Contoso Issuing CA 2,O=Contoso,C=DE", is_public=False)
    host = HostResult(
        target=_target(name, Role.ADFS),
        resolution=Resolution(addresses=(address,)),
        readiness=Readiness.READY,
        readiness_reason="TLS 1.2 is accepted; TLS 1.2 is used outbound; TLS 1.0 is used outbound",
        verdicts=(*_merged(inbound), *_merged(merged)),
        endpoints=(
            _endpoint(name, address, 443, destination=None, verdicts=inbound, certificates=(own,), server_name=name),
        ),
        outbound=clients,
    )
    finding = _finding(
        name,
        "tls10-outbound-off",
        Severity.WARNING,
        "TLS 1.0 is used outbound",
        "Turn TLS 1.0 off for WinHTTP (DefaultSecureProtocols).",
        versions=(TlsVersion.TLS1_0,),
        scopes=(f"winhttp from {address}",),
    )
    return host, [finding]
