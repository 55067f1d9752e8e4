"""Policies: what each verdict makes of a host, and what the data files may say."""

import dataclasses
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.classify import scope_of
from scanner.model.checks import Check, CheckState
from scanner.model.evidence import State
from scanner.model.outbound import OutboundResult, PathKind, PathResult
from scanner.model.runs import EndpointResult
from scanner.model.subjects import Direction, Endpoint, Role, Target, Upgrade
from scanner.model.verdicts import Readiness, Severity, Verdict
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.outbound.destinations import check_paths
from scanner.policy import PolicyError, judge_host, parse_policy, plain_vendor, policy_ids, read_policy

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "policy.md").read_text(encoding="utf-8")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
E, D, U = State.ENABLED, State.DISABLED, State.UNKNOWN
LETTERS = {"e": E, "d": D, "u": U}
DEFAULT, STRICT = read_policy("entra-drs"), read_policy("strict")
RULES_BY_VERSION = {
    TlsVersion.SSL2: "ssl2-inbound-enabled",
    TlsVersion.SSL3: "ssl3-inbound-enabled",
    TlsVersion.TLS1_0: "tls10-inbound-enabled",
    TlsVersion.TLS1_1: "tls11-inbound-enabled",
}
VENDOR_RULES = {*RULES_BY_VERSION.values(), "tls12-inbound-required"}
OUTBOUND_RULES = {rule_id.replace("inbound", "outbound") for rule_id in VENDOR_RULES}
OLD_OUTBOUND_RULES = OUTBOUND_RULES - {"tls12-outbound-required"}


def _target(role=Role.SERVER, **options):
    return Target(text="h.example", host="h.example", role=role, ports=(443,), **options)


def _verdict(version, state, *, scope=None, is_disputed=False):
    return Verdict(
        host="h.example",
        scope=scope,
        direction=Direction.INBOUND,
        version=version,
        state=state,
        is_disputed=is_disputed,
        reason=f"{version.label} is {state.value}",
    )


def _endpoint(states, number=1):
    """states: one letter a version, oldest first."""
    endpoint = Endpoint(host="h.example", address=f"192.0.2.{number}", port=443, server_name="h.example")
    verdicts = tuple(
        _verdict(version, LETTERS[letter], scope=scope_of(endpoint))
        for version, letter in zip(ALL_VERSIONS, states, strict=True)
    )
    return EndpointResult(endpoint=endpoint, verdicts=verdicts, gaps=())


def _judge(policy, *states, target=None, verdicts=None, checks=()):
    endpoints = [_endpoint(letters, number) for number, letters in enumerate(states, 1)]
    if verdicts is None:
        verdicts = endpoints[0].verdicts if endpoints else ()
    return judge_host(policy, target or _target(), endpoints, verdicts, checks)


def _rules(findings):
    return {(finding.rule_id, finding.severity.value) for finding in findings}


@pytest.mark.parametrize(
    ("states", "rules", "readiness"),
    # SSL2 SSL3 TLS1.0 TLS1.1 TLS1.2 TLS1.3; the article: 1.2 is needed, older is advised against, 1.3 is not asked for.
    [
        ("dddded", set(), Readiness.READY),
        ("ddddee", set(), Readiness.READY),
        ("uuuueu", set(), Readiness.READY),
        ("ddeded", {("tls10-inbound-enabled", "warning")}, Readiness.READY),
        ("dddeed", {("tls11-inbound-enabled", "warning")}, Readiness.READY),
        ("deeeed", {(RULES_BY_VERSION[v], "warning") for v in ALL_VERSIONS[1:4]}, Readiness.READY),
        ("eddded", {("ssl2-inbound-enabled", "warning")}, Readiness.READY),
        (
            "ddeedd",
            {
                ("tls12-inbound-required", "failure"),
                ("tls10-inbound-enabled", "warning"),
                ("tls11-inbound-enabled", "warning"),
            },
            Readiness.NOT_READY,
        ),
        ("ddddde", {("tls12-inbound-required", "failure")}, Readiness.NOT_READY),
        ("dddddu", {("tls12-inbound-required", "failure")}, Readiness.NOT_READY),
        ("dddduu", set(), Readiness.UNKNOWN),
        ("ddddue", set(), Readiness.UNKNOWN),
        ("uuuuuu", set(), Readiness.UNKNOWN),
    ],
)
def test_entra_drs(states, rules, readiness):
    findings, found, reason = _judge(DEFAULT, states)
    assert _rules(findings) == rules
    assert found is readiness
    assert reason


@pytest.mark.parametrize("states", ["".join(letters) for letters in itertools.product("edu", repeat=6)][::7])
def test_strict_differs_only_in_that_old_versions_are_failures(states):
    findings, readiness, _ = _judge(DEFAULT, states)
    strict_findings, strict_readiness, _ = _judge(STRICT, states)
    assert [finding.rule_id for finding in findings] == [finding.rule_id for finding in strict_findings]
    has_old = any(LETTERS[letter] is E for letter in states[:4])
    assert strict_readiness is (Readiness.NOT_READY if has_old else readiness)
    assert all(finding.severity is Severity.FAILURE for finding in strict_findings)


def test_the_two_policies_have_the_same_rules_apart_from_nine_severities():
    changed = [
        (rule.id, rule.severity.value, other.severity.value)
        for rule, other in zip(DEFAULT.rules, STRICT.rules, strict=True)
        if rule != other
    ]
    stricter = {*RULES_BY_VERSION.values(), *OLD_OUTBOUND_RULES, "path-intercepted"}
    assert len(stricter) == 9
    assert sorted(changed) == sorted((rule_id, "warning", "failure") for rule_id in stricter)
    same = dataclasses.replace
    assert [same(rule, severity=Severity.INFO) for rule in DEFAULT.rules] == [
        same(rule, severity=Severity.INFO) for rule in STRICT.rules
    ]


@PATIENT
@given(st.lists(st.text("edu", min_size=6, max_size=6), max_size=4), st.sampled_from([DEFAULT, STRICT]))
def test_a_host_is_ready_only_if_tls_1_2_is_enabled_at_every_endpoint(endpoints, policy):
    _, readiness, _ = _judge(policy, *endpoints)
    tls12 = [letters[4] for letters in endpoints]
    if readiness is Readiness.READY:
        assert endpoints
        assert set(tls12) == {"e"}
    if "d" in tls12:
        assert readiness is Readiness.NOT_READY


def test_one_node_of_a_farm_without_tls_1_2_makes_the_host_not_ready_though_the_merged_host_has_it():
    merged = _endpoint("ddddee").verdicts
    findings, readiness, _ = _judge(DEFAULT, "ddddee", "ddeedd", "ddddee", verdicts=merged)
    assert readiness is Readiness.NOT_READY
    (required,) = [finding for finding in findings if finding.rule_id == "tls12-inbound-required"]
    assert required.scopes == ("tcp://192.0.2.2:443 as h.example",)


def test_a_node_that_is_unknown_beside_ready_ones_is_unknown():
    _, readiness, reason = _judge(DEFAULT, "ddddee", "uuuuuu")
    assert readiness is Readiness.UNKNOWN
    assert "TLS1.2 is unknown" in reason


def test_a_host_where_nothing_could_be_contacted_is_unknown_without_findings():
    findings, readiness, _ = _judge(DEFAULT)
    assert (findings, readiness) == ((), Readiness.UNKNOWN)


def test_contradictions_are_a_finding_of_the_versions_concerned():
    verdicts = tuple(_verdict(version, E, is_disputed=version is TlsVersion.TLS1_0) for version in ALL_VERSIONS)
    findings, _, _ = _judge(DEFAULT, "ddeded", verdicts=verdicts)
    (finding,) = [finding for finding in findings if finding.rule_id == "answers-disagree"]
    assert finding.versions == (TlsVersion.TLS1_0,)
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("state", list(CheckState))
def test_interception_is_a_failure_only_where_the_check_says_no(state):
    check = Check(id="microsoft-issuer", title="t", state=state, detail="d")
    findings, readiness, _ = _judge(DEFAULT, "ddddee", target=_target(Role.ENDPOINT), checks=(check,))
    assert ("registration-endpoint-intercepted", "failure") in _rules(findings) or state is not CheckState.NO
    assert (readiness is Readiness.NOT_READY) == (state is CheckState.NO)


def test_legacy_on_a_registration_endpoint_points_at_interception_and_does_not_say_windows():
    findings, _, _ = _judge(DEFAULT, "ddeeed", target=_target(Role.ENDPOINT, cloud="global"))
    for finding in findings:
        assert "intercepts TLS" in finding.advice
        assert "issuer" in finding.advice
        assert "SCHANNEL" not in finding.advice


# --- advice -----------------------------------------------------------------------------------------------------

SCHANNEL = r"HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols"
NET = r"HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319"


def _advice(states, rule_id, **options):
    findings, _, _ = _judge(DEFAULT, states, target=_target(**options))
    (finding,) = [finding for finding in findings if finding.rule_id == rule_id]
    return finding


@pytest.mark.parametrize("role", [Role.SERVER, Role.PROXY, Role.REVERSE_PROXY, Role.ADFS])
def test_the_article_s_five_values_are_in_the_advice(role):
    """MicrosoftDocs/entra-docs: reference-device-registration-tls-1-2.md (its rendered page loses a backslash)."""
    advice = _advice("ddeedd", "tls12-inbound-required", role=role).advice
    for words in (SCHANNEL, r"TLS 1.2\Client", r"TLS 1.2\Server", "Enabled=1", "DisabledByDefault=0", NET):
        assert words in advice
    assert "SchUseStrongCrypto=1" in advice
    assert "restart" in advice
    assert r"\Microsoft.NETFramework" not in advice


@pytest.mark.parametrize(("rule", "key"), [("tls10-inbound-enabled", "TLS 1.0"), ("tls11-inbound-enabled", "TLS 1.1")])
@pytest.mark.parametrize("role", [Role.SERVER, Role.ADFS])
def test_turning_an_old_version_off_in_windows(rule, key, role):
    advice = _advice("ddeeed", rule, role=role).advice
    assert rf"{SCHANNEL}\{key}\Server" in advice
    assert "Enabled=0" in advice
    assert "DisabledByDefault=1" in advice


def test_ad_fs_is_told_to_set_strong_crypto_before_tls_1_0_goes():
    """Manage SSL protocols in AD FS: without it, disabling TLS 1.0 breaks the trust of WAP and AD FS."""
    finding = _advice("ddeded", "tls10-inbound-enabled", role=Role.ADFS)
    assert finding.advice.index("SchUseStrongCrypto=1") < finding.advice.index("Enabled=0")
    assert any("manage-ssl-protocols-in-ad-fs" in citation.url for citation in finding.citations)


@pytest.mark.parametrize(
    ("vendor", "words"),
    [
        # From each product's own documentation.
        ("nginx", "ssl_protocols TLSv1.2 TLSv1.3"),
        ("NGINX Plus R32", "ssl_protocols TLSv1.2 TLSv1.3"),
        ("HAProxy 2.8", "ssl-min-ver TLSv1.2"),
        ("Apache/2.4.58", "SSLProtocol -all +TLSv1.2 +TLSv1.3"),
        ("Apache Traffic Server", "proxy.config.ssl.server.version.min 2"),
        ("squid-6.10", "tls-min-version=1.2"),
        ("F5 BIG-IP v17.1", "no-tlsv1.1"),
        ("f5", "no-tlsv1.1"),
        ("Citrix ADC", "-tls12 ENABLED"),
        ("NetScaler", "-tls12 ENABLED"),
        ("FortiGate 7.4", "ssl-min-version tls-1.2"),
        ("Palo Alto Networks", "min-version tls1-2"),
        ("PAN-OS 11.1", "min-version tls1-2"),
        ("Envoy", "tls_minimum_protocol_version: TLSv1_2"),
        ("Traefik v3", "VersionTLS12"),
        ("stunnel", "sslVersionMin = TLSv1.2"),
        ("Zscaler", "CLIENT_TLS_1_2"),
    ],
)
@pytest.mark.parametrize("rule", ["tls12-inbound-required", "tls10-inbound-enabled"])
def test_a_known_product_gets_its_own_setting_and_source(vendor, words, rule):
    finding = _advice("ddeedd", rule, vendor=vendor)
    assert words in finding.advice
    assert "HKLM" not in finding.advice
    assert len(finding.citations) == len(_advice("ddeedd", rule).citations) + 1


@pytest.mark.parametrize("vendor", ["Example Secure Proxy", "apache tomcat", "", "1.2.3", "[", "nginxlike"])
def test_an_unknown_product_gets_the_general_advice(vendor):
    assert _advice("ddeedd", "tls12-inbound-required", vendor=vendor) == _advice("ddeedd", "tls12-inbound-required")


def test_a_product_in_front_of_ad_fs_gets_both():
    advice = _advice("ddeedd", "tls12-inbound-required", role=Role.ADFS, vendor="f5").advice
    assert "must not terminate TLS" in advice
    assert "no-tlsv1.1" in advice


def test_what_no_document_shows_is_said_to_be_unverified():
    finding = _advice("ddeedd", "tls12-inbound-required", vendor="A10")
    assert "unverified" in finding.advice
    assert not finding.citations[-1].is_verified


@pytest.mark.parametrize(
    ("name", "plain"),
    [("F5 BIG-IP v17.1", "f5 big ip"), ("Apache/2.4.58", "apache"), ("  Squid ", "squid"), ("3com", "3com"), ("", "")],
)
def test_plain_vendor(name, plain):
    assert plain_vendor(name) == plain


@PATIENT
@given(st.text(max_size=40))
def test_plain_vendor_is_stable(name):
    assert plain_vendor(plain_vendor(name)) == plain_vendor(name)


# --- data files -------------------------------------------------------------------------------------------------


def _all_citations():
    for policy_id in policy_ids():
        for rule in read_policy(policy_id).rules:
            yield from rule.citations
            for citations in rule.citations_by_role.values():
                yield from citations
            for vendor in rule.advice_by_vendor.values():
                yield vendor.citation


def test_there_are_the_two_policies():
    assert policy_ids() == ("entra-drs", "strict")
    assert (DEFAULT.id, STRICT.id) == ("entra-drs", "strict")


@pytest.mark.parametrize("policy_id", policy_ids())
def test_every_rule_has_advice_and_a_source(policy_id):
    policy = read_policy(policy_id)
    assert len({rule.id for rule in policy.rules}) == len(policy.rules)
    assert all(part.isdigit() for part in policy.version.split("."))
    assert policy.title
    for rule in policy.rules:
        assert rule.title
        assert rule.advice
        assert rule.citations
        texts = [rule.advice, rule.how, *rule.advice_by_role.values()]
        texts += [vendor.advice for vendor in rule.advice_by_vendor.values()]
        for text in texts:
            assert text == text.strip()
            assert "\n" not in text
            assert "  " not in text
        if rule.kind in {"require-enabled", "forbid-enabled"}:
            assert rule.version in ALL_VERSIONS
            assert rule.how
            # The vendors' settings are those of the side that accepts (docs/policy.md).
            is_inbound = rule.direction is Direction.INBOUND
            assert rule.id in (VENDOR_RULES if is_inbound else OUTBOUND_RULES)
            assert bool(rule.advice_by_vendor) is is_inbound
        else:
            assert not rule.advice_by_vendor


def test_every_source_has_a_title_and_an_https_address():
    citations = list(_all_citations())
    assert citations
    for citation in citations:
        assert citation.title
        assert citation.url.startswith("https://")
        assert " " not in citation.url


@pytest.mark.parametrize("policy_id", policy_ids())
def test_policies_rules_and_severities_are_documented(policy_id):
    section = DOCUMENT.split("## Rules", 1)[1].split("\n## ", 1)[0]
    column = policy_ids().index(policy_id)
    for rule in read_policy(policy_id).rules:
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{rule.id}` |")]
        assert row.split("|")[3 + column].strip() == rule.severity.value


def test_checks_that_rules_ask_for_exist():
    roles = (Path(__file__).resolve().parents[1] / "docs" / "roles.md").read_text(encoding="utf-8")
    made = {check.id for check in check_paths([("device.login.microsoftonline.com", PathKind.TUNNEL, "")])}
    checks = {rule.check for rule in DEFAULT.rules if rule.check is not None}
    audit = (Path(__file__).resolve().parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    declared = {check for check in checks if f"| `{check}` |" in audit}
    article = {f"article-{part}" for part in ("schannel-server", "schannel-client", "dotnet", "misprinted-dotnet-path")}
    assert declared == {"config-allows-old", "restart-pending"} | article
    assert made <= checks
    rest = checks - made - declared
    assert rest
    assert [check for check in rest if f"| `{check}` |" not in roles] == []


# The outbound side and paths


def _client(states, scope="svc"):
    """states: one letter a version, oldest first."""
    verdicts = tuple(
        dataclasses.replace(_verdict(version, LETTERS[letter], scope=scope), direction=Direction.OUTBOUND)
        for version, letter in zip(ALL_VERSIONS, states, strict=True)
    )
    return OutboundResult(scope=scope, method="adfs", method_title="t", limits=(), verdicts=verdicts)


def _path(kind, *, is_listener=True):
    return PathResult(
        via="tcp://192.0.2.1:3128",
        upgrade=Upgrade.HTTP_CONNECT,
        destination="192.0.2.9:443",
        server_name="x",
        is_listener=is_listener,
        kind=kind,
        reason="r",
    )


def _judge_outbound(policy, clients, *, inbound=(), paths=(), role=Role.ADFS, checks=()):
    endpoints = [_endpoint(letters, number) for number, letters in enumerate(inbound, 1)]
    own = [verdict for client in clients for verdict in client.verdicts]
    verdicts = [*(endpoints[0].verdicts if endpoints else ()), *own]
    return judge_host(policy, _target(role), endpoints, verdicts, checks, outbound=clients, paths=paths)


@pytest.mark.parametrize(
    ("outbound", "rules", "readiness"),
    [
        ("dddded", set(), Readiness.READY),
        ("uuuuee", set(), Readiness.READY),
        ("ddeeed", {("tls10-outbound-enabled", "warning"), ("tls11-outbound-enabled", "warning")}, Readiness.READY),
        ("eeddee", {("ssl2-outbound-enabled", "warning"), ("ssl3-outbound-enabled", "warning")}, Readiness.READY),
        ("ddddde", {("tls12-outbound-required", "failure")}, Readiness.NOT_READY),
        (
            "ddeddd",
            {("tls12-outbound-required", "failure"), ("tls10-outbound-enabled", "warning")},
            Readiness.NOT_READY,
        ),
        ("dddduu", set(), Readiness.UNKNOWN),
        ("ddddue", set(), Readiness.UNKNOWN),
    ],
)
def test_the_outbound_side_is_judged_like_the_inbound_one(outbound, rules, readiness):
    for inbound in ([], ["dddded"]):
        findings, found, _ = _judge_outbound(DEFAULT, [_client(outbound)], inbound=inbound)
        assert _rules(findings) == rules
        assert found is readiness
        assert all(finding.scopes == ("svc",) for finding in findings)
    strict, strict_readiness, _ = _judge_outbound(STRICT, [_client(outbound)])
    assert {rule for rule, _ in _rules(strict)} == {rule for rule, _ in rules}
    assert all(finding.severity is Severity.FAILURE for finding in strict)
    assert strict_readiness is (Readiness.NOT_READY if rules else readiness)


@pytest.mark.parametrize(
    ("inbound", "outbound", "rule"),
    [("dddded", "ddddde", "tls12-outbound-required"), ("ddddde", "dddded", "tls12-inbound-required")],
)
def test_nothing_is_inferred_from_one_side_to_the_other(inbound, outbound, rule):
    findings, readiness, _ = _judge_outbound(DEFAULT, [_client(outbound)], inbound=[inbound])
    assert _rules(findings) == {(rule, "failure")}
    assert readiness is Readiness.NOT_READY
    for one, other in ((inbound, "uuuuuu"), ("uuuuuu", outbound)):
        _, found, _ = _judge_outbound(DEFAULT, [_client(other)], inbound=[one])
        assert found is (Readiness.NOT_READY if "ddddde" in (one, other) else Readiness.UNKNOWN)


def test_every_client_of_a_host_counts():
    clients = [_client("dddded", "good"), _client("ddeddd", "old")]
    findings, readiness, _ = _judge_outbound(DEFAULT, clients, inbound=["dddded"])
    assert readiness is Readiness.NOT_READY
    assert {finding.rule_id: finding.scopes for finding in findings} == {
        "tls12-outbound-required": ("old",),
        "tls10-outbound-enabled": ("old",),
    }


@pytest.mark.parametrize(
    ("kinds", "readiness"),
    [
        ([PathKind.TUNNEL], Readiness.READY),
        ([PathKind.BLOCKED], Readiness.UNKNOWN),
        ([PathKind.UNKNOWN], Readiness.UNKNOWN),
        ([PathKind.TUNNEL, PathKind.UNKNOWN], Readiness.UNKNOWN),
        ([PathKind.TUNNEL, PathKind.BLOCKED], Readiness.UNKNOWN),
    ],
)
def test_a_proxy_is_ready_where_all_ways_are_tunnels(kinds, readiness):
    findings, found, reason = _judge_outbound(
        DEFAULT, [_client("uuuuuu")], paths=[_path(kind) for kind in kinds], role=Role.PROXY
    )
    assert findings == ()
    assert found is readiness
    assert ("its clients decide" in reason) is (readiness is Readiness.READY)


@pytest.mark.parametrize(
    ("check", "default", "strict"),
    [
        ("path-intercepted", "warning", "failure"),
        ("path-intercepted-client-certificate", "failure", "failure"),
        ("path-blocked", "warning", "warning"),
    ],
)
@pytest.mark.parametrize("state", list(CheckState))
def test_paths_make_findings_only_of_what_is_known(check, default, strict, state):
    checks = [Check(id=check, title="t", state=state, detail="d", weight="strong")]
    for policy, severity in ((DEFAULT, default), (STRICT, strict)):
        findings, readiness, _ = _judge_outbound(policy, [_client("dddded")], checks=checks, role=Role.PROXY)
        assert _rules(findings) == ({(check, severity)} if state is CheckState.YES else set())
        is_bad = state is CheckState.YES and severity == "failure"
        assert readiness is (Readiness.NOT_READY if is_bad else Readiness.READY)


def test_products_are_documented():
    section = DOCUMENT.split("## Products", 1)[1]
    for name in DEFAULT.rules[0].advice_by_vendor:
        assert f"`{name}`" in section, name


def test_an_unknown_policy_is_named_with_those_there_are():
    with pytest.raises(PolicyError, match=r"no policy 'nope'; there are entra-drs, strict"):
        read_policy("nope")


@pytest.mark.parametrize("name", ["../policies/strict", "strict.toml", "", "STRICT"])
def test_only_names_of_policies_are_read(name):
    with pytest.raises(PolicyError):
        read_policy(name)


HEAD = 'id = "x"\nversion = "1"\ntitle = "x"\n'
CITED = HEAD + '[citations.c]\ntitle = "c"\nurl = "https://c.example"\n'
RULE = CITED + '[[rules]]\nid = "r"\ntitle = "r"\nadvice = "a"\ncitations = ["c"]\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id = \n", "line 1"),
        ('version = "1"\nrules = []\n[citations]\n', "'id'"),
        (HEAD, "'citations'"),
        (CITED, "'rules'"),
        (RULE, "'kind'"),
        (RULE + 'kind = "forbid"\nseverity = "failure"', "no kind 'forbid'; there are require-enabled"),
        (RULE + 'kind = "disputed"\nseverity = "bad"', "'bad' is not a valid Severity"),
        (RULE + 'kind = "require-enabled"\nseverity = "failure"', "rule r of kind require-enabled lacks version"),
        (RULE + 'kind = "require-enabled"\nseverity = "failure"\nversion = "TLS 1.2"', "'TLS 1.2'"),
        (RULE + 'kind = "check"\nseverity = "failure"\ncheck = "c"', "lacks state"),
        (RULE + 'kind = "check"\nseverity = "failure"\ncheck = "c"\nstate = "maybe"', "'maybe' is not a valid"),
        (RULE.replace('["c"]', '["d"]') + 'kind = "disputed"\nseverity = "info"', "'d'"),
        (
            RULE + 'kind = "disputed"\nseverity = "info"\n[rules.advice_by_role]\nboss = "b"',
            "'boss' is not a valid Role",
        ),
        (RULE.replace("url =", "link ="), "link"),
        (HEAD + 'base = "nope"\n[severities]\n', "no policy 'nope'"),
        (HEAD + 'base = "entra-drs"\n[severities]\nnope = "failure"', "entra-drs has no rule nope"),
    ],
)
def test_a_bad_file_is_a_policy_error_that_names_the_problem(text, problem):
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert problem in str(caught.value)


@PATIENT
@given(st.text())
def test_any_text_is_a_policy_or_a_policy_error(text):
    try:
        parse_policy(text)
    except PolicyError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_judging_twice_gives_the_same():
    assert _judge(DEFAULT, "ddeedd", "ddddee") == _judge(DEFAULT, "ddeedd", "ddddee")
