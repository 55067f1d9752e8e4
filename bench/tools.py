"""The tools measured: how each is called, and how its answers are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import answers, ours
from bench.programs import BIN, find_program
from bench.servers import ALL_VERSIONS

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
_ALL = frozenset(ALL_VERSIONS)
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
    def range(self) -> str:
        """The same hosts as one range target: they follow one another."""
        return f"{self.hosts[0]}-{self.hosts[-1]}:{self.port}"

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
    asks: frozenset[str] | None = None
    """The versions it can speak of, where it does not know all six."""

    @property
    def is_slow(self) -> bool:
        return self.most_hosts is not None

    def write_targets(self, job: Job) -> None:
        job.targets.write_text("".join(f"{host}:{job.port}\n" for host in job.hosts))


def _entra(*, is_range: bool = False, has_store: bool = True, confirm: str = "none") -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        targets = [job.range] if is_range else ["--file", str(job.targets)]
        db = job.folder / "runs.sqlite" if has_store else None
        return ours.scan_command(targets, json_to=job.output, db=db, extra=["--confirm", confirm])

    return command


def _program(name: str) -> str:
    return find_program(name) or name


def _sslscan(job: Job) -> list[str]:
    return [_program("sslscan"), f"--targets={job.targets}", *_SSLSCAN_OFF]


def _sslscan_no_ciphers(job: Job) -> list[str]:
    return [_program("sslscan"), f"--targets={job.targets}", "--no-ciphersuites", "--no-colour"]


def _sslscan_parallel(count: int, *, shares: int) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        share = max(1, -(-len(job.hosts) // (count * shares)))
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
    return [_program("nmap"), "-Pn", "-n", "-p", str(job.port), "--script", "+ssl-enum-ciphers", "-iL", str(hosts)]


def _testssl(job: Job) -> list[str]:
    fixed = ["--quiet", "-p", "--nodns", "none", "--warnings", "off", "--color", "0", "--mode", "parallel"]
    return [_program("testssl"), *fixed, "--jsonfile", str(job.output), "--file", str(job.targets)]


def _tlsx(job: Job) -> list[str]:
    # -duc: it asks nobody whether there is a newer tlsx. Addresses only, so there is nothing to resolve.
    fixed = ["-version-enum", "-json", "-silent", "-no-color", "-duc"]
    return [_program("tlsx"), "-list", str(job.targets), *fixed, "-output", str(job.output)]


def _zgrab2(job: Job) -> list[str]:
    hosts = job.folder / "hosts.txt"
    hosts.write_text("".join(f"{host}\n" for host in job.hosts))
    fixed = ["tls", "--min-version", "771", "--max-version", "771"]
    files = ["--input-file", str(hosts), "--output-file", str(job.output)]
    return [_program("zgrab2"), *fixed, "--port", str(job.port), *files]


def _parallel(count: int, *, shares: int) -> Tool:
    return Tool(
        id=f"sslscan-p{count}" + ("" if shares == 4 else f"x{shares}"),
        title=f"sslscan, versions only, {count} processes (xargs -P, {shares} share{'s' * (shares > 1)} each)",
        command=_sslscan_parallel(count, shares=shares),
        parse=answers.parse_sslscan,
        needs="sslscan",
        has_stdout_answers=True,
    )


TOOLS = (
    Tool(
        id="ours",
        title="entra-tls, targets in a file, --confirm none, with store and JSON",
        command=_entra(),
        parse=answers.parse_entra_tls,
        exits=ours.EXITS,
    ),
    Tool(
        id="ours-range",
        title="entra-tls, one range, --confirm none, with store and JSON",
        command=_entra(is_range=True),
        parse=answers.parse_entra_tls,
        exits=ours.EXITS,
    ),
    Tool(
        id="ours-nodb",
        title="entra-tls, one range, --confirm none, JSON only",
        command=_entra(is_range=True, has_store=False),
        parse=answers.parse_entra_tls,
        exits=ours.EXITS,
    ),
    Tool(
        id="ours-confirm",
        title="entra-tls, one range, --confirm all, with store and JSON",
        command=_entra(is_range=True, confirm="all"),
        parse=answers.parse_entra_tls,
        exits=ours.EXITS,
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
    *(_parallel(count, shares=4) for count in PARALLEL_COUNTS),
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
        most_hosts=100,
        most_runs=3,
    ),
    Tool(
        id="nmap",
        title="nmap ssl-enum-ciphers (knows no SSLv2)",
        command=_nmap,
        parse=answers.parse_nmap,
        needs="nmap",
        most_hosts=100,
        most_runs=3,
        has_stdout_answers=True,
        asks=_ALL - {"SSL2"},
    ),
    Tool(
        id="tlsx",
        title="tlsx -version-enum (knows no SSLv2)",
        command=_tlsx,
        parse=answers.parse_tlsx,
        needs="tlsx",
        asks=_ALL - {"SSL2"},
    ),
    Tool(
        id="zgrab2",
        title="zgrab2 tls, one handshake a host: is TLS 1.2 accepted?",
        command=_zgrab2,
        parse=answers.parse_zgrab2,
        needs="zgrab2",
        asks=frozenset({"TLS1.2"}),
    ),
    Tool(
        id="testssl",
        title="testssl.sh -p, two at a time",
        command=_testssl,
        parse=answers.parse_testssl,
        needs="testssl",
        most_hosts=2,
        most_runs=1,
    ),
)
DELAY_TOOLS = (
    *(tool for tool in TOOLS if tool.id in {"ours", "ours-range"}),
    *(_parallel(count, shares=shares) for count in (50, 100, 200) for shares in (1, 4)),
)
"""Those that are put in front of the delay: ours, and sslscan with more processes, each with one share or four."""
