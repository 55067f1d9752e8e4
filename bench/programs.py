"""The programs that the bench runs: where they are, and how those that lack are installed.

Debian's packages by apt-get as root; two peers in Go with the Go toolchain where there is one. Whatever can't be
installed is left out with the reason.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CACHE = REPOSITORY / ".cache" / "bench"
BIN = Path(sys.executable).parent
"""The development environment's programs: ours and sslyze."""
PEER_BIN = CACHE / "bin"
"""Programs built here."""
DEBIAN = {
    "sslscan": "sslscan",
    "nmap": "nmap",
    "testssl": "testssl.sh",
    "gcc": "gcc libc6-dev",
    "nft": "nftables",
    "ip": "iproute2",
}
"""Packages by the program that they bring. None of them starts a service; nginx, which would, comes with `make lab`."""
GO = {
    "tlsx": "github.com/projectdiscovery/tlsx/cmd/tlsx@v1.2.2",
    "zgrab2": "github.com/zmap/zgrab2/cmd/zgrab2@v1.0.0",
}
"""Go programs, pinned."""
BUILD_LIMIT_S = 300.0
_VERSION = re.compile(r"\d+\.\d+[\w.-]*")
_PATH = os.pathsep.join([str(PEER_BIN), os.environ.get("PATH", ""), "/usr/local/sbin:/usr/sbin:/sbin"])


def find_program(name: str) -> str | None:
    """Return the path of a program on PATH, in sbin or built here."""
    return shutil.which(name, path=_PATH)


def install_peers(names: Sequence[str]) -> dict[str, str]:
    """Install what lacks of these programs; return why each that still lacks is left out."""
    absent = [name for name in names if find_program(name) is None]
    reasons = _install_debian([name for name in absent if name in DEBIAN])
    for name in absent:
        if name in GO and (reason := _maybe_build_failure(name)) is not None:
            reasons[name] = reason
    return reasons


def _install_debian(names: Sequence[str]) -> dict[str, str]:
    if not names:
        return {}
    packages = [package for name in names for package in DEBIAN[name].split()]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        said = "not installed, and that needs root on Debian: apt-get install {}"
        return {name: said.format(DEBIAN[name]) for name in names}
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", "--yes", "install", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(packages)}", flush=True)
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=900)
        if command is install and done.returncode == 0:
            break
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return {name: f"apt-get failed: {last}" for name in names if find_program(name) is None}


def _maybe_build_failure(name: str) -> str | None:
    go = shutil.which("go")
    if go is None:
        return "no Go toolchain here"
    PEER_BIN.mkdir(parents=True, exist_ok=True)
    print(f"building {name} (at most {BUILD_LIMIT_S:.0f} s)", flush=True)
    # GOTOOLCHAIN=local: the Go that is there, no other is fetched.
    environment = {**os.environ, "GOBIN": str(PEER_BIN), "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            [go, "install", GO[name]],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=BUILD_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return f"go install {GO[name]} was not done after {BUILD_LIMIT_S:.0f} s"
    if done.returncode == 0 and find_program(name) is not None:
        return None
    return f"go install {GO[name]} failed: {last_reason(done.stderr)}"


def last_reason(stderr: str) -> str:
    """Return the last line of what a tool said, without any address of the network."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    plain = [" ".join(word for word in line.split() if "://" not in word) for line in lines]
    return plain[-1] if plain else "no reason given"


def compile_source(name: str) -> Path | None:
    """Return a program compiled from bench/NAME.c, or None where there is no C compiler."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        return None
    source = Path(__file__).with_name(f"{name}.c")
    program = CACHE / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([gcc, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
    return program


def shown(command: Sequence[str], folder: Path) -> str:
    """Return a command as a person would type it: no paths of this machine."""
    text = " ".join(f"'{part}'" if " " in part else part for part in command)
    for path in (folder, BIN, PEER_BIN):
        text = text.replace(f"{path}/", "")
    text = text.replace(sys.executable, "python").replace(str(folder), ".")
    return text.replace(f"{REPOSITORY}/", "")


@functools.cache
def program_versions() -> dict[str, str]:
    """Return the versions of the programs that are there."""
    found = {}
    for name, arguments in (
        ("sslscan", ["--version"]),
        ("nmap", ["--version"]),
        ("testssl", ["--version"]),
        ("tlsx", ["-version", "-duc"]),
        ("zgrab2", ["--version"]),
        ("nginx", ["-v"]),
        ("gcc", ["-dumpfullversion"]),
        ("nft", ["--version"]),
    ):
        program = find_program(name)
        if program is None:
            continue
        try:
            done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            continue
        match = _VERSION.search(done.stdout + done.stderr)
        found[name] = match[0] if match else "?"
    return found
