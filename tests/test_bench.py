"""The bench's own rules: its options parse, and no peer's time counts unless its answers are right.

The outputs of sslscan 2.0.7 and nmap 7.93 are cut from real runs against nginx; that of sslyze 6.3.1 has the members
that are read. The truth they are held against is nginx's ssl_protocols.
"""

from __future__ import annotations

import importlib
import json

import pytest

from bench import answers
from bench.__main__ import build_parser, chosen_tools
from bench.measure import Run, Spread, ratios
from bench.results import counted, maybe_best_parallel
from bench.servers import ALL_VERSIONS, ROWS, addresses
from bench.tools import TOOLS, Job, shown

RSA, ECDSA = ROWS
NONE_OF_IT = frozenset()

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
    ["__main__", "answers", "measure", "micro", "nassl_threads", "profiling", "results", "servers", "tools"],
)
def test_modules_import(module):
    assert importlib.import_module(f"bench.{module}").__doc__


def test_options_parse():
    options = build_parser().parse_args(["--hosts", "10", "--runs", "2", "--only", "ours,sslscan", "--quick"])
    assert (options.what, options.hosts, options.runs, options.only, options.quick) == (
        "peers",
        10,
        2,
        "ours,sslscan",
        True,
    )


@pytest.mark.parametrize("what", ["profile", "startup", "micro"])
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


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.id)
def test_commands_show_no_path_of_the_machine(tool, tmp_path):
    job = Job(folder=tmp_path, hosts=["127.1.0.1"], port=8443)
    text = shown(tool.command(job), tmp_path)
    assert str(tmp_path) not in text
    assert not any(word.startswith("/") for word in text.replace("'", " ").split())
