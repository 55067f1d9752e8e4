"""What each tool said, read from its own output: {address: versions it calls enabled}. Pure.

A host that a tool says nothing about is absent. Names of versions are those of servers.ALL_VERSIONS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Answers = dict[str, frozenset[str]]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SSLSCAN_HOST = re.compile(r"^Testing SSL server (\S+) on port \d+")
_SSLSCAN_VERSION = re.compile(r"^(SSLv2|SSLv3|TLSv1\.[0-3])\s+(enabled|disabled)\s*$")
_SSLYZE_COMMANDS = {
    "ssl_2_0_cipher_suites": "SSL2",
    "ssl_3_0_cipher_suites": "SSL3",
    "tls_1_0_cipher_suites": "TLS1.0",
    "tls_1_1_cipher_suites": "TLS1.1",
    "tls_1_2_cipher_suites": "TLS1.2",
    "tls_1_3_cipher_suites": "TLS1.3",
}
_TESTSSL_VERSIONS = {
    "SSLv2": "SSL2",
    "SSLv3": "SSL3",
    "TLS1": "TLS1.0",
    "TLS1_1": "TLS1.1",
    "TLS1_2": "TLS1.2",
    "TLS1_3": "TLS1.3",
}
_TLSX_VERSIONS = {"ssl30": "SSL3", "tls10": "TLS1.0", "tls11": "TLS1.1", "tls12": "TLS1.2", "tls13": "TLS1.3"}
_NMAP_HOST = re.compile(r"^Nmap scan report for (?:\S+ \()?([0-9.]+)\)?$")
_NMAP_VERSION = re.compile(r"^\|\s+(SSLv3|TLSv1\.[0-3]):\s*$")


def parse_entra_tls(text: str) -> Answers:
    """Read this program's JSON report."""
    # UNKNOWN is an honest answer, but not one to this question: the host counts as unanswered.
    return {name: enabled for name, enabled, is_known in map(host_of, json.loads(text)["hosts"]) if is_known}


def host_of(host: Mapping[str, Any]) -> tuple[str, frozenset[str], bool]:
    """Return (name, versions enabled, whether no version is UNKNOWN) of a host object of this program's report."""
    states = {verdict["version"]: verdict["state"].upper() for verdict in host["verdicts"]}
    enabled = frozenset(_plain(version) for version, state in states.items() if state == "ENABLED")
    return host["name"], enabled, "UNKNOWN" not in states.values()


def parse_sslscan(text: str) -> Answers:
    """Read sslscan's text: a host counts once all six versions are told."""
    told: dict[str, dict[str, bool]] = {}
    host = None
    for line in _ANSI.sub("", text).splitlines():
        if found := _SSLSCAN_HOST.match(line):
            host = found[1]
        elif host is not None and (found := _SSLSCAN_VERSION.match(line)):
            told.setdefault(host, {})[_plain(found[1])] = found[2] == "enabled"
    return _complete(told)


def parse_sslyze(text: str) -> Answers:
    """Read sslyze's JSON: a host counts where all six commands completed."""
    answers: Answers = {}
    for server in json.loads(text)["server_scan_results"]:
        results = server["scan_result"] or {}
        if all(_has_completed(results.get(command)) for command in _SSLYZE_COMMANDS):
            answers[server["server_location"]["ip_address"]] = frozenset(
                version
                for command, version in _SSLYZE_COMMANDS.items()
                if results[command]["result"]["is_tls_version_supported"]
            )
    return answers


def _has_completed(attempt: Any) -> bool:
    return bool(attempt) and attempt["status"] == "COMPLETED"


def parse_nmap(text: str) -> Answers:
    """Read nmap's ssl-enum-ciphers. It knows no SSLv2: that version is not in its answers."""
    answers: Answers = {}
    host = None
    for line in text.splitlines():
        if found := _NMAP_HOST.match(line.strip()):
            host = found[1]
            answers[host] = frozenset()
        elif host is not None and (found := _NMAP_VERSION.match(line)):
            answers[host] |= {_plain(found[1])}
    return answers


def parse_testssl(text: str) -> Answers:
    """Read testssl.sh's flat JSON: a host counts once all six versions are told."""
    told: dict[str, dict[str, bool]] = {}
    for item in json.loads(text):
        version = _TESTSSL_VERSIONS.get(item["id"])
        if version is not None:
            # "offered", "offered with final", "not offered"; anything else is no answer.
            finding = item["finding"]
            if finding.startswith(("offered", "not offered")):
                told.setdefault(item["ip"].rpartition("/")[2], {})[version] = finding.startswith("offered")
    return _complete(told)


def parse_tlsx(text: str) -> Answers:
    """Read tlsx's JSON, a line a host, of ``-version-enum``. It knows no SSLv2."""
    answers: Answers = {}
    for line in text.splitlines():
        said = json.loads(line)
        if "version_enum" in said:
            answers[said["host"]] = frozenset(_TLSX_VERSIONS[name] for name in said["version_enum"])
    return answers


def parse_zgrab2(text: str) -> Answers:
    """Read zgrab2's JSON, a line a host: the one version that the server chose."""
    answers: Answers = {}
    for line in text.splitlines():
        said = json.loads(line)
        tls = said["data"]["tls"]
        if tls["status"] == "success":
            name = tls["result"]["handshake_log"]["server_hello"]["version"]["name"]
            answers[said["ip"]] = frozenset({_plain(name)})
    return answers


def _complete(told: dict[str, dict[str, bool]]) -> Answers:
    return {
        host: frozenset(version for version, is_on in versions.items() if is_on)
        for host, versions in told.items()
        if len(versions) == 6
    }


def parse_plain(text: str) -> Answers:
    """Read what bench.nassl_threads writes: {address: [version, ...]}."""
    return {host: frozenset(versions) for host, versions in json.loads(text).items()}


def without_colours(text: str) -> str:
    return _ANSI.sub("", text)


def _plain(name: str) -> str:
    return name.replace("SSLv", "SSL").replace("TLSv", "TLS")


def maybe_wrong(answers: Answers, hosts: Sequence[str], versions: frozenset[str]) -> str | None:
    """Return what is wrong with a tool's answers, or None where every host has exactly these versions."""
    missing = [host for host in hosts if host not in answers]
    if missing:
        return f"no full answer for {len(missing)} of {len(hosts)} hosts"
    wrong = [host for host in hosts if answers[host] != versions]
    if wrong:
        said = ", ".join(sorted(answers[wrong[0]])) or "nothing"
        return f"wrong on {len(wrong)} of {len(hosts)} hosts, such as: {said}"
    return None
