"""The bench's own rules: its options parse, no time counts unless the answers are right, and a missed target says so.

The outputs of sslscan 2.0.7, nmap 7.93 and testssl.sh 3.0.8 are cut from real runs against nginx; that of sslyze 6.3.1
has the members that are read, and so have those of tlsx 1.2.2 and zgrab2 1.0.0, which are named after their sources.
The truth they are held against is nginx's ssl_protocols.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bench import answers, asking, growth, listener, ours, programs, rates, results, silent
from bench.__main__ import MODES, PARTS, build_parser
from bench.measure import Run, Spread, ratios
from bench.peers import chosen_tools, counted, maybe_best_parallel, peer_section, ratio_target
from bench.programs import last_reason, shown
from bench.rate import Held
from bench.servers import ALL_VERSIONS, ROWS, addresses, render_config
from bench.tables import Section, Target, at_least, at_most, target_table
from bench.tools import DELAY_TOOLS, TOOLS, Job

RSA, ECDSA = ROWS
NONE_OF_IT = frozenset()

TESTSSL = [
    {"id": "service", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "INFO", "finding": "HTTP"},
    {"id": "SSLv2", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "OK", "finding": "not offered"},
    {"id": "SSLv3", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "OK", "finding": "not offered"},
    {"id": "TLS1", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "LOW", "finding": "offered (deprecated)"},
    {"id": "TLS1_1", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "LOW", "finding": "offered (deprecated)"},
    {"id": "TLS1_2", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "OK", "finding": "offered"},
    {"id": "TLS1_3", "ip": "127.1.0.1/127.1.0.1", "port": "8461", "severity": "OK", "finding": "offered with final"},
]
TLSX = {"host": "127.1.0.1", "port": "8461", "probe_status": True, "tls_version": "tls13"}
SSLSCAN = """\
Version: 2.0.7
OpenSSL 3.0.19 27 Jan 2026

Connected to 127.1.0.1

Testing SSL server 127.1.0.1 on port 8449 using SNI name 127.1.0.1

  SSL/TLS Protocols:
SSLv2     disabled
SSLv3     disabled
TLSv1.0   enabled
TLSv1.1   enabled
TLSv1.2   enabled
TLSv1.3   enabled
"""
NMAP = """\
Nmap scan report for 127.1.0.1
Host is up (0.00011s latency).

PORT     STATE SERVICE
8449/tcp open  unknown
| ssl-enum-ciphers:\x20
|   TLSv1.2:\x20
|     ciphers:\x20
|       TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA (secp256r1) - A
|     compressors:\x20
|       NULL
|     cipher preference: client
|   TLSv1.3:\x20
|     ciphers:\x20
|       TLS_AKE_WITH_AES_128_GCM_SHA256 (ecdh_x25519) - A
|     cipher preference: client
|_  least strength: F
"""


def sslyze_output(*, completed: bool = True) -> str:
    def attempt(*, is_supported: bool) -> dict:
        if not completed:
            return {"status": "ERROR", "result": None}
        return {"status": "COMPLETED", "result": {"is_tls_version_supported": is_supported}}

    supported = {"tls_1_2_cipher_suites", "tls_1_3_cipher_suites"}
    commands = [f"{name}_cipher_suites" for name in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")]
    server = {
        "server_location": {"ip_address": "127.1.0.1"},
        "scan_result": {command: attempt(is_supported=command in supported) for command in commands},
    }
    return json.dumps({"server_scan_results": [server]})


def run(tool: str, wall_s: float, problem: str | None = None) -> Run:
    return Run(tool=tool, hosts=100, wall_s=wall_s, cpu_s=0.1, problem=problem, command=tool)


@pytest.mark.parametrize(
    "module",
    [path.stem for path in sorted(Path(results.__file__).parent.glob("*.py"))],
)
def test_modules_import(module):
    assert importlib.import_module(f"bench.{module}").__doc__


def test_options_parse():
    options = build_parser().parse_args(["--hosts", "10", "--runs", "2", "--only", "ours,sslscan", "--quick"])
    assert (options.what, options.hosts, options.runs, options.only, options.quick) == (
        "all",
        10,
        2,
        "ours,sslscan",
        True,
    )


@pytest.mark.parametrize("what", MODES)
def test_modes_parse(what):
    assert build_parser().parse_args([what]).what == what


def test_an_unknown_tool_ends():
    with pytest.raises(SystemExit, match="testsl"):
        chosen_tools("testsl")


def test_listeners_are_500_different_loopback_addresses():
    found = addresses(500)
    assert len(set(found)) == 500
    assert found[0] == "127.1.0.1"
    assert all(address.startswith("127.1.") for address in found)


def test_rows_name_known_versions():
    for row in ROWS:
        assert row.versions <= set(ALL_VERSIONS)
        assert len(row.versions) == len(row.protocols.split())


def test_sslscan_is_read():
    assert answers.maybe_wrong(answers.parse_sslscan(SSLSCAN), ["127.1.0.1"], RSA.versions) is None


def test_sslscan_that_missed_a_version_is_wrong():
    text = SSLSCAN.replace("TLSv1.1   enabled", "TLSv1.1   disabled")
    assert "wrong on 1 of 1" in answers.maybe_wrong(answers.parse_sslscan(text), ["127.1.0.1"], RSA.versions)


def test_sslscan_that_could_not_connect_gave_no_answer():
    text = "ERROR: Could not open a connection to host 127.1.0.1 (127.1.0.1) on port 8443 (connect: Timed out).\n"
    assert "no full answer for 1" in answers.maybe_wrong(answers.parse_sslscan(text), ["127.1.0.1"], RSA.versions)


def test_sslyze_is_read():
    assert answers.maybe_wrong(answers.parse_sslyze(sslyze_output()), ["127.1.0.1"], ECDSA.versions) is None


def test_sslyze_with_an_error_gave_no_answer():
    found = answers.parse_sslyze(sslyze_output(completed=False))
    assert "no full answer" in answers.maybe_wrong(found, ["127.1.0.1"], ECDSA.versions)


def test_nmap_is_read():
    assert answers.maybe_wrong(answers.parse_nmap(NMAP), ["127.1.0.1"], ECDSA.versions) is None


def test_nmap_of_a_host_without_tls_is_no_version():
    text = "Nmap scan report for 127.1.0.9\nPORT     STATE  SERVICE\n8443/tcp closed https-alt\n"
    assert answers.parse_nmap(text) == {"127.1.0.9": NONE_OF_IT}


def test_our_own_unknown_counts_as_no_answer():
    verdicts = [{"version": "TLS1.2", "state": "enabled"}, {"version": "TLS1.3", "state": "unknown"}]
    text = json.dumps({"hosts": [{"name": "127.1.0.1", "verdicts": verdicts}]})
    assert answers.parse_entra_tls(text) == {}


def test_our_own_answers_are_held_against_the_same_truth():
    verdicts = [{"version": version, "state": "enabled"} for version in ALL_VERSIONS]
    found = answers.parse_entra_tls(json.dumps({"hosts": [{"name": "127.1.0.1", "verdicts": verdicts}]}))
    assert "wrong on 1 of 1" in answers.maybe_wrong(found, ["127.1.0.1"], RSA.versions)


def test_a_wrong_answer_is_never_counted():
    assert counted([run("x", 1.0, "wrong"), run("x", 2.0)]) == [run("x", 2.0)]


def test_the_best_parallel_peer_is_the_one_compared_with():
    runs = {"sslscan-p2": [run("sslscan-p2", 2.0)], "sslscan-p4": [run("sslscan-p4", 1.0)], "sslscan": [run("s", 0.1)]}
    assert maybe_best_parallel(runs) == "sslscan-p4"
    runs["sslscan-p4"] = [run("sslscan-p4", 1.0, "wrong")]
    assert maybe_best_parallel(runs) == "sslscan-p2"


def test_ratios_are_paired_by_round():
    ours = [run("ours", 1.0), run("ours", 2.0), run("ours", 4.0)]
    theirs = [run("x", 2.0), run("x", 2.0), run("x", 2.0)]
    assert ratios(ours, theirs) == Spread(median=1.0, least=0.5, most=2.0)


@pytest.mark.parametrize("tool", [*TOOLS, *DELAY_TOOLS], ids=lambda tool: tool.id)
def test_commands_show_no_path_of_the_machine(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "known_options", lambda: frozenset({"--per-net"}))
    monkeypatch.setattr(programs, "_PATH", "")
    job = Job(folder=tmp_path, hosts=["127.1.0.1"], port=8443)
    text = shown(tool.command(job), tmp_path)
    assert str(tmp_path) not in text
    assert not any(word.startswith("/") for word in text.replace("'", " ").split())


def test_testssl_is_read():
    assert answers.maybe_wrong(answers.parse_testssl(json.dumps(TESTSSL)), ["127.1.0.1"], RSA.versions) is None


def test_testssl_that_could_not_tell_gave_no_answer():
    told = [{**item, "finding": "not tested"} if item["id"] == "TLS1_1" else item for item in TESTSSL]
    assert answers.parse_testssl(json.dumps(told)) == {}


def test_tlsx_is_read():
    text = json.dumps({**TLSX, "version_enum": ["tls12", "tls13"]}) + "\n"
    assert answers.maybe_wrong(answers.parse_tlsx(text), ["127.1.0.1"], ECDSA.versions) is None


def test_tlsx_without_an_enumeration_gave_no_answer():
    assert answers.parse_tlsx(json.dumps(TLSX)) == {}


def test_zgrab2_is_held_to_the_one_version_it_asked_for():
    tls = {"status": "success", "result": {"handshake_log": {"server_hello": {"version": {"name": "TLSv1.2"}}}}}
    text = json.dumps({"ip": "127.1.0.1", "data": {"tls": tls}})
    (tool,) = chosen_tools("zgrab2")
    assert answers.maybe_wrong(answers.parse_zgrab2(text), ["127.1.0.1"], RSA.versions & tool.asks) is None


def test_zgrab2_that_failed_gave_no_answer():
    text = json.dumps({"ip": "127.1.0.1", "data": {"tls": {"status": "connection-timeout"}}})
    assert answers.parse_zgrab2(text) == {}


def test_a_range_names_the_same_hosts_as_the_file(tmp_path):
    job = Job(folder=tmp_path, hosts=addresses(5_000), port=8443)
    assert job.range == "127.1.0.1-127.1.19.136:8443"
    assert int(IPv4Address("127.1.19.136")) - int(IPv4Address("127.1.0.1")) + 1 == 5_000


def test_options_that_the_program_lacks_are_left_away(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "known_options", lambda: frozenset({"--per-net"}))
    command = ours.scan_command(["127.1.0.1"], json_to=tmp_path / "x")
    assert "--per-net" in command
    assert "--processes" not in command


def test_options_are_read_from_the_help():
    help_text = "| --per-net  COUNT  Connections a second; see --rate. |\n| --no-recognise -q |"
    assert ours.parse_options(help_text) == {"--per-net", "--rate", "--no-recognise"}


def report(tmp_path, hosts):
    """Write what the JSON report's hosts look like: a host a line."""
    lines = [
        json.dumps({"name": name, "verdicts": [{"version": v, "state": s} for v, s in states.items()]})
        for name, states in hosts.items()
    ]
    path = tmp_path / "report.json"
    path.write_text('{\n"schema": 1,\n"hosts": [\n' + ",\n".join(lines) + '\n],\n"findings": []\n}\n')
    return path


def states(enabled):
    return {version: "enabled" if version in enabled else "disabled" for version in ALL_VERSIONS}


def test_a_report_with_all_servers_right_is_right(tmp_path):
    path = report(tmp_path, {"127.1.0.1": states(RSA.versions), "127.1.0.2": states(RSA.versions)})
    assert ours.maybe_wrong_report(path, {"127.1.0.1", "127.1.0.2"}, 2, RSA.versions) is None


def test_a_report_that_lacks_a_server_is_wrong(tmp_path):
    path = report(tmp_path, {"127.1.0.1": states(RSA.versions)})
    assert "found 1 of 2" in ours.maybe_wrong_report(path, {"127.1.0.1", "127.1.0.2"}, 2, RSA.versions)


def test_a_report_with_a_server_that_is_none_is_wrong(tmp_path):
    path = report(tmp_path, {"127.1.0.1": states(RSA.versions), "127.1.0.9": states({"TLS1.2"})})
    assert "127.1.0.9" in ours.maybe_wrong_report(path, {"127.1.0.1"}, 1, RSA.versions)


def test_a_report_with_a_wrong_or_unknown_version_is_wrong(tmp_path):
    path = report(tmp_path, {"127.1.0.1": states(ECDSA.versions)})
    assert "wrong on 127.1.0.1" in ours.maybe_wrong_report(path, {"127.1.0.1"}, 1, RSA.versions)
    path = report(tmp_path, {"127.1.0.1": {**states(RSA.versions), "SSL2": "unknown"}})
    assert "UNKNOWN" in ours.maybe_wrong_report(path, {"127.1.0.1"}, 1, RSA.versions)


def test_a_peer_with_wrong_answers_judges_no_target():
    runs = {"ours-range": [run("ours-range", 1.0)], "sslyze": [run("sslyze", 900.0, "wrong")]}
    target = ratio_target(runs, "ours-range", "sslyze", 500.0, "500 x")
    assert target.is_met is None
    assert "sslyze" in target.measured


@pytest.mark.parametrize(("wall_s", "is_met"), [(600.0, True), (400.0, False)])
def test_a_ratio_is_judged_by_its_median(wall_s, is_met):
    runs = {"ours-range": [run("ours-range", 1.0)], "sslyze": [run("sslyze", wall_s)]}
    assert ratio_target(runs, "ours-range", "sslyze", 500.0, "500 x").is_met is is_met


def test_sslscan_is_judged_on_ecdsa_and_stated_on_rsa():
    runs = {"ours-range": [run("ours-range", 1.0)], "sslscan": [run("sslscan", 1.5)]}
    for row, is_met in ((ECDSA, False), (RSA, None)):
        section = peer_section(row, runs, TOOLS, hosts_count=100)
        (target,) = [each for each in section.targets if "range" in each.text and "sslscan --targets" in each.text][:1]
        assert target.is_met is is_met
        assert target.measured.startswith("1.50 x")


def test_a_missed_target_is_called_missed_in_the_file():
    missed = at_least("fast", Spread(median=0.5, least=0.4, most=0.6), 0.8, "")
    met = at_most("small", Spread(median=1.0, least=1.0, most=1.0), 3.0, "MB")
    unknown = Target(text="silent", measured="not measured: no root", is_met=None)
    text = results.render(
        [Section(title="x", targets=[missed, met, unknown], left_out=["no root"])], left_out={"tlsx": "no Go"}
    )
    assert "1 met, 1 missed, 1 not judged" in text
    assert "| fast | 0.50 (0.40 to 0.60) | **missed** |" in text
    assert "- **LEFT OUT**: tlsx: no Go" in text
    assert "LEFT OUT: no root" in text
    assert target_table([met])[-1] == "| small | 1.00 MB (1.00 to 1.00) | met |"


def test_no_address_of_a_registry_is_written():
    said = "go: module x: reading https://host.example/x/@v/list: 403\n\tserver response: https://host.example no\n"
    assert last_reason(said) == "server response: no"


def sweep(name, *, passes=1, cpu_s=1.0, wall_s=7.0, peak_bytes=50_000_000, addresses=65_536, in_flight=10_000, **more):
    fixed = {"alive": 655, "problem": None, "command": "entra-tls scan"}
    return silent.Sweep(
        name=name,
        passes=passes,
        cpu_s=cpu_s,
        wall_s=wall_s,
        peak_bytes=peak_bytes,
        addresses=addresses,
        in_flight=in_flight,
        **{**fixed, **more},
    )


def test_silent_addresses_are_what_is_left_without_the_listeners():
    # 64,881 silent ones and 1.29762 s more CPU: 20 us each.
    assert silent.cost_us(sweep("x", cpu_s=2.29762), sweep("alive only", cpu_s=1.0)) == pytest.approx(20.0)


def test_the_floor_is_what_waiting_alone_takes():
    assert silent.floor_s(64_881, 2, 10_000) == pytest.approx(12.9762)
    assert silent.floor_s(1_000, 2, 10_000) == 2.0


def test_silent_targets_are_judged():
    sweeps = [
        sweep("alive only", addresses=655),
        sweep("one pass", cpu_s=2.0, wall_s=8.0, peak_bytes=52_000_000),
        sweep("two passes", passes=2, cpu_s=4.0, wall_s=18.0),
        sweep("few in flight", in_flight=2_500),
    ]
    section = silent.silent_section("x", sweeps)
    # 15.4 us; 8 s of 6.49; 46 us of two SYNs, stated; 18 s of 12.98 is too long; 2 MB for 7,500 is 2.67 for 10,000.
    assert [target.is_met for target in section.targets] == [True, True, None, False, True]


def test_a_sweep_that_missed_a_listener_is_not_counted():
    sweeps = [sweep("alive only", addresses=655), sweep("one pass", problem="found 654 of 655 servers")]
    section = silent.silent_section("x", sweeps)
    assert {target.is_met for target in section.targets} == {None}
    assert any("not counted" in line and "654" in line for line in section.lines)


def test_one_in_a_hundred_is_alive():
    alive = silent.alive_addresses(2**16)
    assert len(alive) == len(set(alive)) == 655
    assert alive[0] in silent.render_rules(alive)


def point(count, cpu_s, start=(0.30, 0.29, 0.31), **more):
    fixed = {"tls_hosts": count, "wall_s": 1.0, "peak_bytes": 60_000_000, "store_bytes": 1_000 * count, "problem": None}
    median, least, most = start
    return growth.Point(
        count=count,
        cpu_s=cpu_s,
        start=Spread(median=median, least=least, most=most),
        command="entra-tls scan",
        **{**fixed, **more},
    )


def flat(points):
    return growth._flat_target("flat", {each.count: [each] for each in points})


def test_growth_is_flat_within_15_percent():
    assert flat([point(1_000, 0.8), point(10_000, 5.5), point(100_000, 55.0)]).is_met is True
    assert flat([point(1_000, 0.8), point(10_000, 6.3)]).is_met is False


def test_growth_does_not_judge_what_the_start_drowns():
    target = flat([point(100, 0.31), point(1_000, 0.8), point(10_000, 5.4)])
    assert target.is_met is True
    assert "(?)" in target.measured
    assert flat([point(100, 0.31), point(1_000, 0.8)]).is_met is None


def test_growth_with_a_wrong_size_is_not_judged():
    assert flat([point(1_000, 0.8), point(10_000, 5.5, problem="found 9,999 of 10,000 servers")]).is_met is None


def test_swept_listeners_are_one_in_a_hundred():
    assert growth.swept_addresses(1_000_000)[:2] == ["127.16.0.1", "127.16.0.101"]
    assert len(growth.swept_addresses(1_000_000)) == 10_000


def test_nginx_listens_on_the_addresses_given_only(tmp_path):
    config = render_config(RSA, 8480, tmp_path, ["127.16.0.1", "127.16.0.101"])
    assert config.count("listen ") == 2
    assert "0.0.0.0" not in config


def held(rate, achieved, most):
    return Held(rate=rate, is_busy=False, achieved=achieved, most_in_window=most, cpu_us=1.0)


def is_rate_met(*runs):
    both = [*runs, *(Held(rate=1, is_busy=True, achieved=1.0, most_in_window=1, cpu_us=1.0) for _ in "x")]
    return [target.is_met for target in rates.rate_section(both).targets[:2]]


def test_rates_are_judged_by_median_and_worst_burst(monkeypatch):
    monkeypatch.setattr(rates, "table", lambda _: "")
    assert is_rate_met(held(1_000, 0.99, 110), held(1_000, 1.01, 190)) == [True, True]
    assert is_rate_met(held(1_000, 0.97, 100)) == [False, True]
    # 100 is the even flow in 0.1 s, 100 more a whole burst, and one may fall on either side.
    assert is_rate_met(held(1_000, 1.0, 205)) == [True, False]


def test_every_part_has_its_name_in_the_options():
    assert set(PARTS) < set(MODES)


def test_the_lane_is_called_as_it_wants_to_be():
    # No question, no socket: only that micro's row still fits the lane.
    assert asyncio.run(asking.ask_lane(0)) == (0, 0)


@pytest.mark.parametrize(
    ("per_s", "idle_bytes", "lost", "met"),
    [
        (600.0, 2_000.0, 0, [True, True, True]),
        (400.0, 2_000.0, 0, [True, False, True]),
        (600.0, 9_000.0, 0, [True, True, False]),
        (600.0, 2_000.0, 1, [False, True, True]),
    ],
)
def test_the_listener_is_judged_on_loss_rate_and_memory(per_s, idle_bytes, lost, met):
    """Half of a bare asyncio server's rate, 8 KB for an idle connection, nothing lost."""
    ours = [listener.Found(per_s=per_s, idle_bytes=idle_bytes, lost=lost)] * 3
    peer = [listener.Found(per_s=1_000.0, idle_bytes=300_000.0, lost=None)] * 3
    section = listener.listener_section({"ours": ours, "asyncio": peer}, count=10_000, idle=10_000)
    assert [target.is_met for target in section.targets] == met


def test_one_lost_hello_in_any_round_is_a_loss():
    rounds = [listener.Found(per_s=600.0, idle_bytes=2_000.0, lost=lost) for lost in (0, 0, 1)]
    section = listener.listener_section({"ours": rounds}, count=10_000, idle=10_000)
    assert section.targets[0].is_met is False
    assert section.targets[1].is_met is None
