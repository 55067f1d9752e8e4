"""The tools measured: how each is called, and how its answers are read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import answers

BIN = Path(sys.executable).parent
_SSLSCAN_OFF = [
    "--no-ciphersuites",
    "--no-cipher-details",
    "--no-compression",
    "--no-fallback",
    "--no-groups",
    "--no-heartbleed",
    "--no-renegotiation",
    "--no-check-certificate",
    "--no-colour",
]
SSLYZE_COMMANDS = ["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3"]
PARALLEL_COUNTS = (2, 4, 8, 16)
"""Processes of the parallel sslscan tried; the best counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measurement's files; every tool gets a folder of its own, empty."""

    folder: Path
    hosts: Sequence[str]
    port: int

    @property
    def targets(self) -> Path:
        return self.folder / "targets.txt"

    @property
    def output(self) -> Path:
        return self.folder / "out.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One row of the results."""

    id: str
    title: str
    command: Callable[[Job], list[str]]
    parse: Callable[[str], answers.Answers]
    needs: str | None = None
    """A program that must be there; None: comes with the development tools."""
    most_hosts: int | None = None
    """Hosts it is measured on at most: the slow ones would take an hour."""
    most_runs: int | None = None
    has_stdout_answers: bool = False
    exits: tuple[int, ...] = (0,)
    """Exit codes that are no failure."""
    knows_ssl2: bool = True

    def write_targets(self, job: Job) -> None:
        job.targets.write_text("".join(f"{host}:{job.port}\n" for host in job.hosts))


def _entra(*extra: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        own = [text.replace("DB", str(job.folder / "runs.sqlite")) for text in extra]
        base = f"scan --file {job.targets} --rate 0 --quiet --json {job.output}".split()
        return [str(BIN / "entra-tls"), *base, *own]

    return command


def _sslscan(job: Job) -> list[str]:
    return ["sslscan", f"--targets={job.targets}", *_SSLSCAN_OFF]


def _sslscan_no_ciphers(job: Job) -> list[str]:
    return ["sslscan", f"--targets={job.targets}", "--no-ciphersuites", "--no-colour"]


def _sslscan_parallel(count: int) -> Callable[[Job], list[str]]:
    # Four shares for each process, so that the slowest share does not hold up the others for long.
    def command(job: Job) -> list[str]:
        share = max(1, -(-len(job.hosts) // (count * 4)))
        script = (
            'cd "$1" && split -l "$2" -a 4 targets.txt part. && shift 2 && '
            'ls part.* | xargs -P "$1" -I{} sh -c \'sslscan --targets={} "$@" > {}.out\' sh "${@:2}" && cat part.*.out'
        )
        return ["bash", "-c", script, "bash", str(job.folder), str(share), str(count), *_SSLSCAN_OFF]

    return command


def _sslyze(job: Job) -> list[str]:
    return [
        str(BIN / "sslyze"),
        *SSLYZE_COMMANDS,
        "--mozilla_config=disable",
        f"--targets_in={job.targets}",
        f"--json_out={job.output}",
        "--quiet",
    ]


def _nassl(job: Job) -> list[str]:
    return [sys.executable, "-m", "bench.nassl_threads", str(job.targets), str(job.output)]


def _nmap(job: Job) -> list[str]:
    hosts = job.folder / "hosts.txt"
    hosts.write_text("\n".join(job.hosts))
    return ["nmap", "-Pn", "-n", "-p", str(job.port), "--script", "+ssl-enum-ciphers", "-iL", str(hosts)]


OURS_EXITS = (0, 1)
"""0 and 1: the scan is complete. Whether TLS 1.0 is a finding is not the question here."""

TOOLS = (
    Tool(
        id="ours",
        title="entra-tls, --confirm none, with store and JSON",
        command=_entra("--confirm", "none", "--db", "DB"),
        parse=answers.parse_entra_tls,
        exits=OURS_EXITS,
    ),
    Tool(
        id="ours-nodb",
        title="entra-tls, --confirm none, JSON only",
        command=_entra("--confirm", "none"),
        parse=answers.parse_entra_tls,
        exits=OURS_EXITS,
    ),
    Tool(
        id="ours-confirm",
        title="entra-tls, --confirm all, with store and JSON",
        command=_entra("--confirm", "all", "--db", "DB"),
        parse=answers.parse_entra_tls,
        exits=OURS_EXITS,
    ),
    Tool(
        id="sslscan",
        title="sslscan --targets, versions only (every other check off)",
        command=_sslscan,
        parse=answers.parse_sslscan,
        needs="sslscan",
        has_stdout_answers=True,
    ),
    Tool(
        id="sslscan-no-ciphers",
        title="sslscan --targets --no-ciphersuites (its other checks on)",
        command=_sslscan_no_ciphers,
        parse=answers.parse_sslscan,
        needs="sslscan",
        has_stdout_answers=True,
        most_hosts=20,
        most_runs=3,
    ),
    *(
        Tool(
            id=f"sslscan-p{count}",
            title=f"sslscan, versions only, {count} processes (xargs -P)",
            command=_sslscan_parallel(count),
            parse=answers.parse_sslscan,
            needs="sslscan",
            has_stdout_answers=True,
        )
        for count in PARALLEL_COUNTS
    ),
    Tool(
        id="nassl",
        title="six nassl handshakes a host, 50 threads (library, no report)",
        command=_nassl,
        parse=answers.parse_plain,
        most_runs=3,
    ),
    Tool(
        id="sslyze",
        title="sslyze CLI, six cipher-suite commands",
        command=_sslyze,
        parse=answers.parse_sslyze,
        most_hosts=25,
        most_runs=3,
    ),
    Tool(
        id="nmap",
        title="nmap ssl-enum-ciphers (knows no SSLv2)",
        command=_nmap,
        parse=answers.parse_nmap,
        needs="nmap",
        most_hosts=25,
        most_runs=1,
        has_stdout_answers=True,
        knows_ssl2=False,
    ),
)


def shown(command: Sequence[str], folder: Path) -> str:
    """Return a command as a person would type it: no paths of this machine."""
    text = " ".join(f"'{part}'" if " " in part else part for part in command)
    return text.replace(f"{folder}/", "").replace(str(folder), ".").replace(f"{BIN}/", "")


def tool_versions() -> dict[str, str]:
    """Return the versions of the peers that are there."""
    found = {}
    for name, command in (
        ("sslscan", ["sslscan", "--version"]),
        ("nmap", ["nmap", "--version"]),
        ("nginx", [shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx", "-v"]),
        ("gcc", ["gcc", "-dumpfullversion"]),
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        except OSError:
            continue
        lines = [answers.without_colours(line).strip() for line in (done.stdout + done.stderr).splitlines()]
        found[name] = next((line for line in lines if any(letter.isdigit() for letter in line)), "?")[:60]
    return found
