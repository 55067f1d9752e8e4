"""The JSON report is a contract: schema, code and document say the same, and results of all kinds keep to it."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from scanner.model.checks import CheckState
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.outbound import Mirroring, PathKind
from scanner.model.subjects import Direction, Role, Upgrade
from scanner.model.verdicts import Readiness, Severity
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.json import build_report, render_json, render_jsonl
from scanner.reports.source import source_of
from tests.reports.outbound_sample import ADFS_CLIENTS, OUTBOUND_STATES, build_outbound_result
from tests.reports.sample import build_result

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((files("scanner.reports") / "report.schema.json").read_text(encoding="utf-8"))
DEFINITIONS = SCHEMA["$defs"]
DOCUMENT = (REPOSITORY / "docs" / "json-report.md").read_text(encoding="utf-8")


def _is_time(text):
    return not isinstance(text, str) or datetime.fromisoformat(text).utcoffset() == UTC.utcoffset(None)


FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("date-time", raises=ValueError)(_is_time)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=FORMATS)


def _render(result):
    return "".join(render_json(source_of(result)))


def _objects():
    """Every object of the schema by its name; the report itself is "The report"."""
    return {"The report": SCHEMA, **{name: item for name, item in DEFINITIONS.items() if "properties" in item}}


def _mismatches(value, schema, path="report"):
    """Members that the report has and the schema has not, or the other way round, by path."""
    schema = DEFINITIONS[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    if isinstance(value, list):
        return {found for item in value for found in _mismatches(item, schema["items"], f"{path}[]")}
    if not isinstance(value, dict) or "properties" not in schema:
        return set()
    found = {f"{path}.{name}" for name in value.keys() ^ schema["properties"].keys()}
    for name in value.keys() & schema["properties"].keys():
        found |= _mismatches(value[name], schema["properties"][name], f"{path}.{name}")
    return found


@pytest.fixture(scope="module", params=["ordinary", "hostile", "interrupted", "empty", "outbound", "hostile outbound"])
def result(request):
    return {
        "ordinary": lambda: build_result(40),
        "hostile": lambda: build_result(40, is_hostile=True),
        "interrupted": lambda: build_result(20, is_complete=False),
        "empty": lambda: build_result(0),
        "outbound": lambda: build_outbound_result(3),
        "hostile outbound": lambda: build_outbound_result(3, is_hostile=True),
    }[request.param]()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_results_of_all_kinds_keep_to_the_schema(result):
    report = json.loads(_render(result).encode("utf-8"))
    assert [f"{error.json_path}: {error.message[:200]}" for error in VALIDATOR.iter_errors(report)] == []


SWEEP = {"seed": 7, "shard": "2/8", "resumed": False, "addresses": {"total": 65536, "done": 65536, "listening": 655}}


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ({}, True),
        ({"shard": None}, True),
        ({"seed": "7"}, False),
        ({"resumed": None}, False),
        ({"addresses": {"total": 1}}, False),
    ],
)
def test_a_sweep_has_its_place_in_the_summary(change, is_valid):
    report = build_report(build_result(1))
    report["summary"]["sweep"] = SWEEP | change
    assert (list(VALIDATOR.iter_errors(report)) == []) is is_valid


def test_the_text_is_the_report(result):
    assert json.loads(_render(result)) == build_report(result)


def test_a_host_and_a_finding_have_a_line_each(result):
    lines = _render(result).splitlines()
    report = build_report(result)
    hosts = [line for line in lines if line.startswith('{"name"')]
    findings = [line for line in lines if line.startswith('{"rule"')]
    assert (len(hosts), len(findings)) == (len(report["hosts"]), len(report["findings"]))


def test_a_line_of_jsonl_is_a_host_with_its_own_findings(result):
    text = "".join(render_jsonl(source_of(result)))
    assert text == "" or text.endswith("}\n")
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    entries = list(source_of(result).entries())
    assert lines == [host | {"findings": findings} for host, findings in entries]
    assert any(line["findings"] for line in lines) == bool(result.findings)


def test_code_and_schema_have_the_same_members():
    report = build_report(build_outbound_result(40))
    report["summary"]["sweep"] = SWEEP
    assert _mismatches(report, SCHEMA) == set()
    # The comparison goes wherever the sample goes: to every object of the contract.
    assert report["findings"]
    endpoints = [endpoint for host in report["hosts"] for endpoint in host["endpoints"]]
    certificates = [certificate for endpoint in endpoints for certificate in endpoint["certificates"]]
    verdicts = [verdict for endpoint in endpoints for verdict in endpoint["verdicts"]]
    for some in (
        endpoints,
        certificates,
        [trust for certificate in certificates for trust in certificate["trust"]],
        [handshake for endpoint in endpoints for handshake in endpoint["handshakes"]],
        [item for verdict in verdicts for item in verdict["evidence"]],
        [item for verdict in verdicts for item in verdict["opposing"]],
        [gap for verdict in verdicts for gap in verdict["gaps"]],
        [check for host in report["hosts"] for check in host["checks"]],
        [hello for host in report["hosts"] for client in host["outbound"] for hello in client["hellos"]],
        [settled for host in report["hosts"] for client in host["outbound"] for settled in client["settled"]],
        [gap for host in report["hosts"] for client in host["outbound"] for gap in client["gaps"]],
        [certificate for host in report["hosts"] for path in host["paths"] for certificate in path["certificates"]],
        [item for host in report["hosts"] for path in host["paths"] for item in path["direct_certificates"]],
        [citation for finding in report["findings"] for citation in finding["citations"]],
    ):
        assert some


@pytest.mark.parametrize("name", _objects())
def test_every_member_is_typed_and_required_and_others_are_allowed(name):
    item = _objects()[name]
    assert set(item["required"]) == set(item["properties"])
    assert item.get("additionalProperties", True) is not False
    for member in item["properties"].values():
        assert member.keys() & {"type", "$ref", "enum", "const"}, member


@pytest.mark.parametrize("name", _objects())
def test_every_member_is_in_the_document_and_nothing_else_is(name):
    section = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert section, f"docs/json-report.md has no section {name}"
    documented = re.findall(r"^\| `([^`]+)` \|", section.group(1), re.MULTILINE)
    assert documented == list(_objects()[name]["properties"])


@pytest.mark.parametrize(
    ("values", "members"),
    [
        (DEFINITIONS["version"]["enum"], [version.label for version in ALL_VERSIONS]),
        (DEFINITIONS["state"]["enum"], [state.value for state in State]),
        (DEFINITIONS["gap_reason"]["enum"], [reason.value for reason in GapReason]),
        (DEFINITIONS["host"]["properties"]["role"]["enum"], [role.value for role in Role]),
        (DEFINITIONS["host"]["properties"]["readiness"]["enum"], [each.value for each in Readiness]),
        (DEFINITIONS["verdict"]["properties"]["direction"]["enum"], [each.value for each in Direction]),
        (DEFINITIONS["observation"]["properties"]["basis"]["enum"], [basis.label for basis in Basis]),
        (DEFINITIONS["check"]["properties"]["state"]["enum"], [state.value for state in CheckState]),
        (DEFINITIONS["endpoint"]["properties"]["upgrade"]["enum"], [each.value for each in Upgrade]),
        (DEFINITIONS["path"]["properties"]["upgrade"]["enum"], [each.value for each in Upgrade]),
        (DEFINITIONS["path"]["properties"]["kind"]["enum"], [each.value for each in PathKind]),
        (DEFINITIONS["path"]["properties"]["mirroring"]["enum"], [each.value for each in Mirroring]),
        (DEFINITIONS["finding"]["properties"]["severity"]["enum"], [severity.value for severity in Severity]),
    ],
)
def test_the_schema_knows_every_value_that_the_code_can_give(values, members):
    assert values == members


@pytest.mark.parametrize(
    "path",
    # The shape that was promised before there was code; none of it may go.
    [
        "schema",
        "run.id",
        "run.started_at",
        "run.policy",
        "hosts[].name",
        "hosts[].role",
        "hosts[].target",
        "hosts[].tags",
        "hosts[].endpoints[].address",
        "hosts[].endpoints[].port",
        "hosts[].endpoints[].server_name",
        "hosts[].endpoints[].verdicts[].direction",
        "hosts[].endpoints[].verdicts[].version",
        "hosts[].endpoints[].verdicts[].state",
        "hosts[].endpoints[].verdicts[].disputed",
        "hosts[].endpoints[].verdicts[].reason",
        "hosts[].endpoints[].verdicts[].evidence[].basis",
        "hosts[].endpoints[].verdicts[].evidence[].origin",
        "hosts[].endpoints[].gaps[].reason",
        "hosts[].endpoints[].gaps[].detail",
        "hosts[].verdicts[].direction",
        "hosts[].verdicts[].version",
        "hosts[].verdicts[].state",
        "hosts[].verdicts[].disputed",
        "hosts[].verdicts[].reason",
        "findings[].rule",
        "findings[].severity",
        "findings[].host",
        "findings[].title",
        "findings[].advice",
    ],
)
def test_nothing_of_the_promised_shape_is_missing(path):
    schema = SCHEMA
    for part in path.split("."):
        assert part.removesuffix("[]") in schema["required"]
        schema = schema["properties"][part.removesuffix("[]")]
        schema = schema["items"] if part.endswith("[]") else schema
        schema = DEFINITIONS[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: report.pop("summary"),
        lambda report: report["hosts"][0]["verdicts"][0].update(state="off"),
        lambda report: report["hosts"][0]["verdicts"].pop(),
        lambda report: report["run"].update(started_at="yesterday"),
        lambda report: report["hosts"][0]["endpoints"][0].update(port="443"),
        lambda report: report["hosts"][0]["endpoints"][0]["verdicts"][0]["evidence"][0].pop("basis"),
    ],
)
def test_the_schema_refuses_what_is_not_a_report(spoil):
    report = build_report(build_result(3))
    spoil(report)
    assert list(VALIDATOR.iter_errors(report))


def test_members_may_be_added():
    report = build_report(build_result(3))
    report["new"] = report["hosts"][0]["new"] = 1
    assert not list(VALIDATOR.iter_errors(report))


def test_every_endpoint_and_host_lists_all_six_versions_oldest_first():
    versions = ["SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]
    for host in build_report(build_result(40))["hosts"]:
        for verdicts in (host["verdicts"], *(endpoint["verdicts"] for endpoint in host["endpoints"])):
            assert [verdict["version"] for verdict in verdicts if verdict["direction"] == "inbound"] == versions


def _plain(item):
    """A dataclass of the model as the report gives it, where the names are the same."""
    return {key: value for key, value in dataclasses.asdict(item).items() if isinstance(value, (str, bool, type(None)))}


def test_every_value_is_that_of_the_result():
    result = build_result(40)
    report = build_report(result)
    seen = set()
    for host, written in zip(result.hosts, report["hosts"], strict=True):
        assert [gap["detail"] for gap in written["gaps"]] == [gap.detail for gap in host.gaps]
        seen.add(("host gaps", bool(host.gaps)))
        for check, other in zip(host.checks, written["checks"], strict=True):
            assert {**_plain(check), "verified": check.is_verified} == {**other, "is_verified": other["verified"]}
        for endpoint, shown in zip(host.endpoints, written["endpoints"], strict=True):
            assert (shown["address"], shown["port"]) == (endpoint.endpoint.address, endpoint.endpoint.port)
            assert shown["is_optional"] is endpoint.endpoint.is_optional
            assert shown["connections"] == endpoint.connection_count
            assert len(shown["gaps"]) == len(endpoint.gaps)
            for verdict, each in zip(endpoint.verdicts, shown["verdicts"], strict=True):
                assert each["disputed"] is verdict.is_disputed
                assert each["reason"] == verdict.reason
                assert [item["basis"] for item in each["evidence"]] == [item.basis.label for item in verdict.supporting]
                assert [item["reason"] for item in each["opposing"]] == [item.reason for item in verdict.opposing]
                assert [gap["reason"] for gap in each["gaps"]] == [gap.reason.value for gap in verdict.gaps]
                seen.add(("disputed", verdict.is_disputed))
            for handshake, each in zip(endpoint.handshakes, shown["handshakes"], strict=True):
                assert each["completed"] is handshake.is_completed
                assert each["client_certificate_requested"] is handshake.is_client_certificate_requested
                seen.add(("asks for a certificate", handshake.is_client_certificate_requested))
            for certificate, each in zip(endpoint.certificates, shown["certificates"], strict=True):
                assert _plain(certificate).items() <= each.items()
                assert [trust["trusted"] for trust in each["trust"]] == [t.is_trusted for t in certificate.trust]
                seen |= {("trusted", trust.is_trusted) for trust in certificate.trust}
    # Each of them was seen both ways, so none of them is a constant.
    for what in ("host gaps", "disputed", "asks for a certificate", "trusted"):
        assert {(what, True), (what, False)} <= seen
    for finding, written in zip(result.findings, report["findings"], strict=True):
        assert written["rule"] == finding.rule_id
        assert written["scopes"] == list(finding.scopes)
        assert [each["verified"] for each in written["citations"]] == [each.is_verified for each in finding.citations]


def test_the_summary_counts_what_the_hosts_say():
    report = build_report(build_result(60))
    summary, hosts = report["summary"], report["hosts"]
    assert summary["hosts"] == len(hosts) == summary["ready"] + summary["not_ready"] + summary["unknown"]
    assert summary["not_ready"] == sum(host["readiness"] == "not-ready" for host in hosts)
    for index, version in enumerate(summary["by_version"]):
        for state, count in summary["by_version"][version].items():
            assert count == sum(host["verdicts"][index]["state"] == state for host in hosts)
    for severity, count in summary["findings"].items():
        assert count == sum(finding["severity"] == severity for finding in report["findings"])
    assert summary["no_listener"] == {"REFUSED": 250, "NO_ANSWER": 1022}


def test_a_host_with_both_directions_lists_six_inbound_then_six_outbound():
    hosts = [host for host in build_report(build_outbound_result())["hosts"] if host["outbound"]]
    assert len(hosts) == len(OUTBOUND_STATES)
    for host, states in zip(hosts, OUTBOUND_STATES.values(), strict=True):
        verdicts = host["verdicts"]
        assert [item["direction"] for item in verdicts] == ["inbound"] * 6 + ["outbound"] * 6
        assert [item["version"] for item in verdicts[6:]] == ["SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]
        assert "".join(item["state"][0] for item in verdicts[6:]) == states


def test_the_outbound_summary_counts_only_hosts_that_were_asked():
    report = build_report(build_outbound_result(30))
    summary = report["summary"]
    assert (summary["hosts"], summary["outbound_hosts"]) == (36, 6)
    for at, version in enumerate(summary["by_version_outbound"]):
        counts = summary["by_version_outbound"][version]
        letters = [states[at] for states in OUTBOUND_STATES.values()]
        assert counts == {name: letters.count(name[0]) for name in ("enabled", "disabled", "unknown")}
    ordinary = build_report(build_result(30))["summary"]
    assert ordinary["outbound_hosts"] == 0
    assert {count for states in ordinary["by_version_outbound"].values() for count in states.values()} == {0}


def test_every_value_of_clients_and_paths_is_that_of_the_result():
    result = build_outbound_result()
    hosts = build_report(result)["hosts"]
    adfs = hosts[3]
    assert [client["method"] for client in adfs["outbound"]] == [method for method, _ in ADFS_CLIENTS]
    # Written down from outbound_sample, not from the code.
    hello, old = adfs["outbound"][0]["hellos"]
    assert hello["suites"] == ["0xC02F", "0xC030", "0xC013", "0x000A"]
    assert hello["groups"] == ["0x001D", "0x0017", "0x0018"]
    assert (hello["versions"], hello["has_version_list"], hello["ssl2_format"]) == (["TLS1.2"], False, False)
    assert (hello["alpn"], hello["size_bytes"], hello["count"]) == (["h2", "http/1.1"], 198, 8)
    assert old["suites"] == ["0x010080", "0x0700C0", "0x00002F"]
    assert (old["ja4"], old["ssl2_format"], old["server_name"]) == ("", True, None)
    assert adfs["outbound"][0]["settled"] == [
        {"version": "TLS1.2", "outcome": "completed", "count": 2},
        {"version": "SSL3", "outcome": "refused with alert protocol_version(70)", "count": 1},
    ]
    for host, written in zip(result.hosts, hosts, strict=True):
        for client, shown in zip(host.outbound, written["outbound"], strict=True):
            assert (shown["scope"], shown["limits"]) == (client.scope, list(client.limits))
            assert shown["connections"] == client.connection_count
            assert len(shown["verdicts"]) == 6
        for path, shown in zip(host.paths, written["paths"], strict=True):
            assert _plain(path).items() <= shown.items()
            assert shown["proof"] == list(path.proof)
            assert [each["sha256"] for each in shown["certificates"]] == [each.sha256 for each in path.certificates]
            assert len(shown["direct_certificates"]) == len(path.direct_certificates)
        for endpoint, shown in zip(host.endpoints, written["endpoints"], strict=True):
            assert (shown["upgrade"], shown["destination"]) == (
                endpoint.endpoint.upgrade.value,
                endpoint.endpoint.destination,
            )


def test_a_host_that_was_not_asked_has_two_empty_lists():
    (host,) = build_report(build_result(1))["hosts"]
    assert (host["outbound"], host["paths"]) == ([], [])
    assert {(item["upgrade"], item["destination"]) for item in host["endpoints"]} == {("none", None)}


@pytest.mark.parametrize("target", ["bücher.example \u2028", "\ud800 lone", "back\\slash \\ud800", "nul \0"])
def test_text_is_kept_as_it_is_and_can_always_be_written(target):
    result = build_result(1)
    host = result.hosts[0]
    named = dataclasses.replace(host, target=dataclasses.replace(host.target, text=target))
    text = _render(dataclasses.replace(result, hosts=(named,)))
    assert text.endswith("}\n")
    assert json.loads(text.encode("utf-8"))["hosts"][0]["target"] == target
