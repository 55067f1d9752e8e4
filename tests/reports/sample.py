"""Made-up runs for report tests and benchmarks: real RunResult objects, no network, the same for the same arguments."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from scanner.model.certificates import Certificate, TrustResult
from scanner.model.checks import Check, CheckState
from scanner.model.evidence import Basis, Gap, GapReason, Observation, Origin, State
from scanner.model.outbound import OutboundResult, PathResult
from scanner.model.runs import EndpointResult, Handshake, HostResult, Resolution, Run, RunResult
from scanner.model.subjects import Direction, Endpoint, Role, Target
from scanner.model.verdicts import Citation, Finding, Readiness, Severity, Verdict
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.reports.objects import build_finding, build_host, build_run, build_summary

STARTED_AT = datetime(2026, 11, 23, 16, 7, 0, tzinfo=UTC)
RUN_ID = "20261123T160700Z-1a2b"
STORES = (
    ("Android", "16.0.0_r4"),
    ("Apple", "iOS 26"),
    ("Java", "jdk-25"),
    ("Mozilla", "2026-10-14"),
    ("Windows", "2026-09-29"),
)

# What each profile says of SSL2, SSL3, TLS1.0, TLS1.1, TLS1.2, TLS1.3, and how many in a hundred hosts have it.
PROFILES: dict[str, tuple[str, int]] = {
    "modern": ("ddddee", 34),
    "only-1.2": ("dddded", 16),
    "legacy-kept": ("ddeeed", 14),
    "legacy-and-1.3": ("ddeeee", 6),
    "hole": ("ddeded", 3),
    "ssl3": ("deeeed", 2),
    "sslv2": ("eeeeed", 1),
    "old": ("ddeddd", 6),
    "very-old": ("deeddd", 3),
    "disputed": ("ddeeed", 3),
    "half-known": ("ddduud", 3),
    "silent": ("uuuuuu", 4),
    "unresolved": ("uuuuuu", 2),
    "stopped": ("uuddue", 2),
    "refused": ("uuuuuu", 1),
}
_STATES = {"e": State.ENABLED, "d": State.DISABLED, "u": State.UNKNOWN}
_REGIONS = ("eu", "us", "apac", "latam")
_TAGS = ("prod", "test", "dmz", "branch", "pci")
_VENDORS = ("squid", "f5-big-ip", "zscaler", "citrix-adc", "haproxy")
_CIPHERS = (
    "TLS_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
)

ARTICLE = Citation(
    title="Prepare for TLS 1.2 (sample article)",
    url="https://learn.example/entra/tls-1-2",
    quote="TLS 1.0 and TLS 1.1 are deprecated.",
)
FROM_MEMORY = Citation(title="Vendor release notes (sample)", url="https://vendor.example/tls", is_verified=False)

HOSTILE_TEXTS: tuple[str, ...] = (
    "</script><script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "'><svg/onload=document.title='pwned'>",
    "<!--<script>",
    "]]><script>document.title='pwned'</script>",
    "</title><script>document.title='pwned'</script>",
    "</noscript><script>document.title='pwned'</script>",
    "</style><script>document.title='pwned'</script>",
    "javascript:document.title='pwned'",
    "{{ 7 * 7 }}{% for x in y %}",
    "line\u2028separator\u2029paragraph",
    "\u202egnp.exe\u202c right to left",
    "nul\x00 bell\x07 escape\x1b[31m",
    "lone surrogate \ud800 end",
    "\ufdd0 noncharacter, e\u0301 combining, \U0001f512 astral",
    "CN=" + "A" * 5_000,
    "__proto__",
)
"""Text a peer could put into a certificate, a header, a DNS answer; none may run, break the page or mislead."""


def build_result(
    count: int,
    *,
    is_hostile: bool = False,
    is_complete: bool = True,
    profile: str | None = None,
    seed: int = 7,
) -> RunResult:
    """Return a run with count hosts; hostile text in every field the network controls where asked for."""
    rng = random.Random(seed)
    names = list(PROFILES)
    weights = [weight for _, weight in PROFILES.values()]
    hosts: list[HostResult] = []
    findings: list[Finding] = []
    for number in range(count):
        # The first hosts walk through all profiles and roles, so that small samples have everything.
        chosen = profile or (names[number] if number < len(names) else rng.choices(names, weights)[0])
        host, host_findings = _build_host(number, chosen, rng)
        hosts.append(host)
        findings.extend(host_findings)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    result = RunResult(
        run=Run(
            id=RUN_ID,
            started_at=STARTED_AT,
            finished_at=STARTED_AT + timedelta(seconds=12 + count * 0.11) if is_complete else None,
            is_complete=is_complete,
            policy_id="entra-drs",
            confirm="all",
            tool_version="0.1.0",
            command="scan",
        ),
        policy_version="2026-11-01",
        policy_title="Microsoft Entra device registration: TLS 1.2 everywhere",
        hosts=tuple(hosts),
        findings=tuple(findings),
        no_listener_counts=(("REFUSED", 250), ("NO_ANSWER", 1_022)) if count > 20 else (),
    )
    return make_hostile(result) if is_hostile else result


def _build_host(number: int, profile: str, rng: random.Random) -> tuple[HostResult, list[Finding]]:
    role = list(Role)[number % len(Role)]
    region = _REGIONS[number % len(_REGIONS)]
    stem = {
        Role.ENDPOINT: "enterpriseregistration",
        Role.ADFS: "sts",
        Role.PROXY: "proxy",
        Role.REVERSE_PROXY: "edge",
        Role.SERVER: "app",
    }[role]
    name = f"{stem}{number + 1}.{region}.corp.example"
    target = Target(
        text=f"{name} tag={_TAGS[number % 5]}",
        host=name,
        role=role,
        ports=(443,),
        optional_ports=(49443,) if role is Role.ADFS else (),
        vendor=rng.choice(_VENDORS) if role in {Role.PROXY, Role.REVERSE_PROXY} else None,
        farm=f"farm-{region}" if role is Role.ADFS else None,
        tags=tuple(sorted(rng.sample(_TAGS, rng.randint(0, 2)))),
        cloud="global" if role is Role.ENDPOINT else None,
        locator=f"targets.txt:{number + 3}",
    )
    states = tuple(_STATES[letter] for letter in PROFILES[profile][0])
    ports = (443, 49443) if role is Role.ADFS else (443,)
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    is_resolved = profile != "unresolved"
    endpoints = tuple(
        _build_endpoint(
            Endpoint(host=name, address=address, port=port, server_name=name, is_optional=port == 49443),
            profile,
            states,
            number,
            rng,
        )
        for port in ports
        if is_resolved
    )
    merged = tuple(_merge(name, version, states[index], index, endpoints) for index, version in enumerate(ALL_VERSIONS))
    readiness, reason = _judge_readiness(merged[4])
    host_gaps = (
        () if is_resolved else (_gap(name, "", None, GapReason.NAME_NOT_RESOLVED, "NXDOMAIN from the resolver"),)
    )
    host = HostResult(
        target=target,
        resolution=Resolution(
            addresses=(address,) if is_resolved else (),
            cname_chain=(f"{stem}.trafficmanager.example", f"{region}.{stem}.example")
            if role is Role.ENDPOINT and is_resolved
            else (),
            error=None if is_resolved else "NXDOMAIN",
        ),
        readiness=readiness,
        readiness_reason=reason,
        verdicts=merged,
        endpoints=endpoints,
        checks=_checks(role) if is_resolved else (),
        gaps=host_gaps,
        stopped="out-of-time" if profile == "stopped" else None,
    )
    return host, _findings(host)


def _build_endpoint(
    endpoint: Endpoint, profile: str, states: tuple[State, ...], number: int, rng: random.Random
) -> EndpointResult:
    scope = f"{endpoint.locator} sni={endpoint.server_name}"
    verdicts = []
    handshakes = []
    cipher = _CIPHERS[number % len(_CIPHERS)]
    for index, version in enumerate(ALL_VERSIONS):
        seen_at = STARTED_AT + timedelta(seconds=number * 0.1 + index * 0.031)
        state = states[index]
        supporting: tuple[Observation, ...] = ()
        opposing: tuple[Observation, ...] = ()
        gaps: tuple[Gap, ...] = ()
        reason = "not asked"
        if state is State.ENABLED:
            supporting = (
                _observation(
                    endpoint, scope, version, state, Basis.HANDSHAKE, seen_at, f"handshake completed: {cipher}"
                ),
                _observation(
                    endpoint, scope, version, state, Basis.HELLO, seen_at, f"ServerHello with {version.title}"
                ),
            )
            reason = "handshake completed"
            handshakes.append(
                Handshake(
                    version=version,
                    is_completed=True,
                    engine="nassl 5.4.0 (modern OpenSSL)",
                    cipher_suite=cipher,
                    is_client_certificate_requested=number % 17 == 0,
                    error=None,
                )
            )
        elif state is State.DISABLED:
            supporting = (
                _observation(
                    endpoint, scope, version, state, Basis.HELLO, seen_at, "alert protocol_version(70) to every hello"
                ),
            )
            reason = "alert protocol_version(70) to every hello"
        else:
            why = {
                "silent": GapReason.SILENT,
                "refused": GapReason.REFUSED,
                "stopped": GapReason.OUT_OF_TIME,
                "half-known": GapReason.UNSTABLE,
            }.get(profile, GapReason.AMBIGUOUS)
            gaps = (_gap(endpoint.host, scope, version, why, f"{why.value.lower()} after 3 hellos and a control"),)
            reason = gaps[0].detail
        is_disputed = profile == "disputed" and version in {TlsVersion.TLS1_0, TlsVersion.TLS1_2}
        if is_disputed:
            opposing = (
                _observation(
                    endpoint,
                    scope,
                    version,
                    State.DISABLED,
                    Basis.DECLARED,
                    seen_at,
                    "registry says Enabled = 0",
                ),
            )
        verdicts.append(
            Verdict(
                host=endpoint.host,
                scope=scope,
                direction=Direction.INBOUND,
                version=version,
                state=state,
                is_disputed=is_disputed,
                reason=reason,
                supporting=supporting,
                opposing=opposing,
                gaps=gaps,
            )
        )
    has_certificate = State.ENABLED in states
    return EndpointResult(
        endpoint=endpoint,
        verdicts=tuple(verdicts),
        gaps=tuple(gap for verdict in verdicts for gap in verdict.gaps)[:2],
        handshakes=tuple(handshakes),
        certificates=(_certificate(endpoint, number, rng),) if has_certificate else (),
        connection_count=8 + len(handshakes),
    )


def _observation(  # noqa: PLR0917 - one row of a table, read in place
    endpoint: Endpoint, scope: str, version: TlsVersion, state: State, basis: Basis, seen_at: datetime, reason: str
) -> Observation:
    source = {Basis.HANDSHAKE: "sslyze-handshake", Basis.HELLO: "hello-ladder"}.get(basis, "registry")
    return Observation(
        host=endpoint.host,
        scope=scope,
        direction=Direction.INBOUND,
        version=version,
        state=state,
        basis=basis,
        seen_at=seen_at,
        origin=Origin(source=source, source_version="0.1.0", locator=endpoint.locator, run=RUN_ID),
        reason=reason,
        facts=(("cipher_suite", "0xC02F"),) if basis is Basis.HELLO and state is State.ENABLED else (),
    )


def _gap(host: str, scope: str, version: TlsVersion | None, reason: GapReason, detail: str) -> Gap:
    return Gap(
        host=host,
        scope=scope,
        direction=Direction.INBOUND,
        version=version,
        reason=reason,
        seen_at=STARTED_AT,
        origin=Origin(source="hello-ladder", source_version="0.1.0", locator=scope, run=RUN_ID),
        detail=detail,
    )


def _merge(host: str, version: TlsVersion, state: State, index: int, endpoints: tuple[EndpointResult, ...]) -> Verdict:
    own = [endpoint.verdicts[index] for endpoint in endpoints]
    return Verdict(
        host=host,
        scope=None,
        direction=Direction.INBOUND,
        version=version,
        state=state,
        is_disputed=any(verdict.is_disputed for verdict in own),
        reason=own[0].reason if own else "the name has no address",
        supporting=tuple(item for verdict in own for item in verdict.supporting),
        opposing=tuple(item for verdict in own for item in verdict.opposing),
        gaps=tuple(item for verdict in own for item in verdict.gaps),
    )


def _judge_readiness(verdict: Verdict) -> tuple[Readiness, str]:
    if verdict.state is State.ENABLED:
        return Readiness.READY, "TLS 1.2 is enabled on every endpoint."
    if verdict.state is State.DISABLED:
        return Readiness.NOT_READY, "TLS 1.2 is disabled."
    return Readiness.UNKNOWN, f"TLS 1.2 is unknown: {verdict.reason}."


def _certificate(endpoint: Endpoint, number: int, rng: random.Random) -> Certificate:
    # Lifetimes around the run's time: some expired, some about to, most fine.
    left = (-40, 3, 25, 88, 201, 330)[number % 6]
    is_public = number % 3 == 0
    return Certificate(
        subject=f"CN={endpoint.host}",
        issuer="CN=Contoso Issuing CA 2,O=Contoso,C=DE"
        if not is_public
        else "CN=DigiCert EV RSA CA G2,O=DigiCert Inc,C=US",
        not_before=STARTED_AT - timedelta(days=397 - max(left, 0)),
        not_after=STARTED_AT + timedelta(days=left, hours=3),
        sha256=hashlib.sha256(endpoint.host.encode()).hexdigest(),
        names=(endpoint.host, f"certauth.{endpoint.host}", endpoint.address),
        key=rng.choice(("RSA 2048", "RSA 4096", "EC secp256r1")),
        chain_count=3,
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


def _checks(role: Role) -> tuple[Check, ...]:
    if role is Role.ADFS:
        return (
            Check(
                id="adfs-federation-metadata",
                title="Federation metadata is served",
                state=CheckState.YES,
                detail="200 application/samlmetadata+xml, entityID http://sts.corp.example/adfs/services/trust",
                weight="certain",
            ),
            Check(
                id="adfs-probe",
                title="Health probe answers on port 80",
                state=CheckState.NO,
                detail="404 Not Found",
                weight="medium",
            ),
            Check(
                id="wap-server-header",
                title="A Web Application Proxy stands in front",
                state=CheckState.UNKNOWN,
                detail="No header tells",
                weight="weak",
                is_verified=False,
            ),
        )
    if role is Role.ENDPOINT:
        return (
            Check(
                id="drs-discovery",
                title="Device registration discovery document is served",
                state=CheckState.YES,
                detail="200 application/json with DeviceRegistrationService",
                weight="strong",
            ),
        )
    return ()


def _findings(host: HostResult) -> list[Finding]:
    name = host.target.host
    scopes = tuple(f"{item.endpoint.locator} sni={name}" for item in host.endpoints)
    found = []

    def add(rule: str, severity: Severity, title: str, advice: str, *versions: TlsVersion) -> None:
        found.append(
            Finding(
                rule_id=rule,
                severity=severity,
                host=name,
                title=title,
                advice=advice,
                citations=(ARTICLE,) if severity is not Severity.INFO else (ARTICLE, FROM_MEMORY),
                versions=versions,
                scopes=scopes,
            )
        )

    by_version = {verdict.version: verdict for verdict in host.verdicts}
    if host.readiness is Readiness.NOT_READY:
        add(
            "tls12-inbound-required",
            Severity.FAILURE,
            "TLS 1.2 is not accepted",
            "Turn TLS 1.2 on for this listener. On Windows set the SCHANNEL values and restart:\n"
            r"HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server"
            "\n  Enabled = 1 (DWORD)\n  DisabledByDefault = 0 (DWORD)",
            TlsVersion.TLS1_2,
        )
    if host.readiness is Readiness.UNKNOWN:
        add(
            "tls12-inbound-unknown",
            Severity.WARNING,
            "TLS 1.2 could not be determined",
            "Find out why the host did not answer, then scan it again from a place that may reach it.",
            TlsVersion.TLS1_2,
        )
    for version in (TlsVersion.SSL2, TlsVersion.SSL3):
        if by_version[version].state is State.ENABLED:
            add(
                "ssl-inbound-off",
                Severity.WARNING,
                f"{version.title} is accepted",
                f"Turn {version.title} off: it has been prohibited since 2015 at the latest.",
                version,
            )
    for version in (TlsVersion.TLS1_0, TlsVersion.TLS1_1):
        if by_version[version].state is State.ENABLED:
            add(
                f"{version.label.lower().replace('.', '')}-inbound-off",
                Severity.WARNING,
                f"{version.title} is accepted",
                f"Turn {version.title} off once no client needs it (look at the usage log first).",
                version,
            )
    if any(verdict.is_disputed for verdict in host.verdicts):
        add(
            "evidence-disputed",
            Severity.INFO,
            "Evidence disagrees",
            "The registry says off, but a probe got in: a restart is pending, or another listener or box answers.",
            TlsVersion.TLS1_0,
            TlsVersion.TLS1_2,
        )
    return found


def make_hostile(result: RunResult) -> RunResult:
    """Return result with hostile text in every field that a peer, a resolver or a targets line can fill."""
    texts = iter(range(1_000_000))

    def poison(text: str) -> str:
        return f"{HOSTILE_TEXTS[next(texts) % len(HOSTILE_TEXTS)]} {text}"

    renamed: dict[str, str] = {}

    def poison_evidence(item: Observation) -> Observation:
        origin = replace(item.origin, locator=poison(item.origin.locator))
        facts = tuple((poison(key), poison(value)) for key, value in item.facts)
        return replace(item, reason=poison(item.reason), scope=poison(item.scope), origin=origin, facts=facts)

    def poison_gap(gap: Gap) -> Gap:
        return replace(gap, detail=poison(gap.detail))

    def poison_verdict(verdict: Verdict) -> Verdict:
        return replace(
            verdict,
            reason=poison(verdict.reason),
            supporting=tuple(map(poison_evidence, verdict.supporting)),
            opposing=tuple(map(poison_evidence, verdict.opposing)),
            gaps=tuple(map(poison_gap, verdict.gaps)),
        )

    def poison_certificate(certificate: Certificate) -> Certificate:
        return replace(
            certificate,
            subject=poison(certificate.subject),
            issuer=poison(certificate.issuer),
            names=tuple(map(poison, certificate.names)),
            key=poison(certificate.key),
            parse_error=poison("parse error"),
            trust=tuple(replace(trust, error=poison(trust.error or "")) for trust in certificate.trust),
        )

    def poison_endpoint(endpoint: EndpointResult) -> EndpointResult:
        return replace(
            endpoint,
            endpoint=replace(endpoint.endpoint, server_name=poison(endpoint.endpoint.server_name or "")),
            verdicts=tuple(map(poison_verdict, endpoint.verdicts)),
            gaps=tuple(map(poison_gap, endpoint.gaps)),
            handshakes=tuple(
                replace(handshake, cipher_suite=poison(handshake.cipher_suite or ""), error=poison("error"))
                for handshake in endpoint.handshakes
            ),
            certificates=tuple(map(poison_certificate, endpoint.certificates)),
        )

    def poison_client(client: OutboundResult) -> OutboundResult:
        return replace(
            client,
            scope=poison(client.scope),
            method=poison(client.method),
            method_title=poison(client.method_title),
            limits=tuple(map(poison, client.limits)),
            verdicts=tuple(map(poison_verdict, client.verdicts)),
            gaps=tuple(map(poison_gap, client.gaps)),
            hellos=tuple(
                replace(hello, alpn=tuple(map(poison, hello.alpn)), server_name=poison(hello.server_name or ""))
                for hello in client.hellos
            ),
            settled=tuple(replace(settled, outcome=poison(settled.outcome)) for settled in client.settled),
        )

    def poison_path(path: PathResult) -> PathResult:
        return replace(
            path,
            via=poison(path.via),
            destination=poison(path.destination),
            server_name=poison(path.server_name or ""),
            reason=poison(path.reason),
            proof=tuple(map(poison, path.proof)),
            limits=tuple(map(poison, path.limits)),
            verdicts=tuple(map(poison_verdict, path.verdicts)),
            gaps=tuple(map(poison_gap, path.gaps)),
            certificates=tuple(map(poison_certificate, path.certificates)),
            direct_certificates=tuple(map(poison_certificate, path.direct_certificates)),
        )

    def poison_host(host: HostResult) -> HostResult:
        name = renamed.setdefault(host.target.host, poison(host.target.host))
        return replace(
            host,
            target=replace(
                host.target,
                host=name,
                text=poison(host.target.text),
                tags=tuple(map(poison, host.target.tags)),
                vendor=poison("vendor"),
                farm=poison("farm"),
            ),
            resolution=replace(
                host.resolution,
                addresses=tuple(map(poison, host.resolution.addresses)),
                cname_chain=tuple(map(poison, host.resolution.cname_chain)),
            ),
            readiness_reason=poison(host.readiness_reason),
            verdicts=tuple(map(poison_verdict, host.verdicts)),
            endpoints=tuple(map(poison_endpoint, host.endpoints)),
            checks=tuple(
                replace(check, title=poison(check.title), detail=poison(check.detail)) for check in host.checks
            ),
            gaps=tuple(map(poison_gap, host.gaps)),
            outbound=tuple(map(poison_client, host.outbound)),
            paths=tuple(map(poison_path, host.paths)),
        )

    hosts = tuple(map(poison_host, result.hosts))
    findings = tuple(
        replace(
            finding,
            host=renamed[finding.host],
            title=poison(finding.title),
            advice=poison(finding.advice),
            scopes=tuple(map(poison, finding.scopes)),
            citations=(
                *finding.citations,
                Citation(title=poison("cited"), url="javascript:document.title='pwned'", quote=poison("quote")),
                Citation(title=poison("cited"), url='https://x.example/"onmouseover="document.title=1', quote=""),
            ),
        )
        for finding in result.findings
    )
    return replace(result, hosts=hosts, findings=findings)


# A range scan, made host by host as it is asked for, so that 100,000 hosts cost no memory

MAKES: dict[str, tuple[str, bool]] = {
    "nginx, modern": ("modern", True),
    "IIS with 1.0 and 1.1 on": ("legacy-kept", True),
    "appliance, one certificate for all": ("only-1.2", False),
    "old OpenSSL": ("very-old", False),
    "printer, old": ("old", False),
    "load balancer with 1.0 to 1.3": ("legacy-and-1.3", True),
    "silent": ("silent", False),
    "half known": ("half-known", True),
}
"""Makes of hosts in a range: a profile, and whether each host has a certificate of its own."""
HOSTS_A_NETWORK = 200
_FIRST = "192.0.2.77"


class RangeSource:
    """A ReportSource of a swept range: hosts are their addresses, and few makes are among them."""

    def __init__(self, count, *, shard=None, is_complete=True, has_own_forms=False):
        self.count = count
        self._has_own_forms = has_own_forms
        self._texts = [_render_make(profile, shares) for profile, shares in MAKES.values()]
        result = build_result(0, is_complete=is_complete)
        self.run = build_run(result.run, result.policy_version, result.policy_title)
        made = Counter(map(make_of, range(count)))
        self.summary = build_summary(result)
        for number, (host_text, findings_text, _) in enumerate(self._texts):
            host, findings = json.loads(host_text), json.loads(findings_text)
            self.summary["hosts"] += made[number]
            self.summary[host["readiness"].replace("-", "_")] += made[number]
            for verdict in host["verdicts"]:
                self.summary["by_version"][verdict["version"]][verdict["state"]] += made[number]
            for finding in findings:
                self.summary["findings"][finding["severity"]] += made[number]
        self.summary["no_listener"] = {"REFUSED": 12 * count, "NO_ANSWER": 3 * count}
        self.summary["sweep"] = {
            "seed": 7,
            "shard": shard,
            "resumed": not is_complete,
            "addresses": {"total": 16 * count, "done": 16 * count - (0 if is_complete else count), "listening": count},
        }

    def entries(self):
        for number in range(self.count):
            host, findings, has_own = self._texts[make_of(number)]
            address = address_of(number)
            at = (STARTED_AT + timedelta(seconds=number // 60)).isoformat()[:19]
            host = host.replace(_FIRST, address).replace("2026-11-23T16:07:00.", f"{at}.")
            if has_own:
                host = host.replace("0" * 64, hashlib.sha256(address.encode()).hexdigest())
            if self._has_own_forms:
                host = host.replace("server name", f"server name {number:x}")
                host = host.replace('"reason": "', f'"reason": "{hashlib.md5(address.encode()).hexdigest()} ')
            yield json.loads(host), json.loads(findings.replace(_FIRST, address))


def make_of(number):
    """Return the number of a host's make: a network has one make for the most part, and some networks are bad."""
    network = number // HOSTS_A_NETWORK
    mixed = (number * 2_654_435_761) % 1_000
    if mixed < 700:
        return (0, 0, 2, 0, 5, 1, 0, 2, 0, 0, 3 if network % 40 == 10 else 0)[network % 11]
    return (0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 1, 0)[mixed % 12]


def address_of(number):
    network, host = divmod(number, HOSTS_A_NETWORK)
    return f"10.{20 + (network >> 8)}.{network & 255}.{host + 20}"


def _render_make(profile, has_own_certificate):
    """Return a host, its findings and whether its certificate is its own, as JSON of the host at _FIRST."""
    rng = random.Random(profile)
    target = Target(text="10.20.0.0/13:443", host=_FIRST, role=Role.SERVER, ports=(443,), locator="targets.txt:1")
    states = tuple(_STATES[letter] for letter in PROFILES[profile][0])
    endpoint = _build_endpoint(
        Endpoint(host=_FIRST, address=_FIRST, port=443, server_name=None), profile, states, 0, rng
    )
    digest = "0" * 64 if has_own_certificate else hashlib.sha256(profile.encode()).hexdigest()
    endpoint = replace(
        endpoint,
        certificates=tuple(
            replace(item, sha256=digest)
            if has_own_certificate
            else replace(item, sha256=digest, subject="CN=appliance", names=("appliance.example",))
            for item in endpoint.certificates
        ),
    )
    merged = tuple(_merge(_FIRST, version, states[at], at, (endpoint,)) for at, version in enumerate(ALL_VERSIONS))
    readiness, reason = _judge_readiness(merged[4])
    host = HostResult(
        target=target,
        resolution=Resolution(addresses=(_FIRST,)),
        readiness=readiness,
        readiness_reason=reason,
        verdicts=merged,
        endpoints=(endpoint,),
    )
    findings = [build_finding(finding) for finding in _findings(host)]
    return json.dumps(build_host(host)), json.dumps(findings), has_own_certificate
