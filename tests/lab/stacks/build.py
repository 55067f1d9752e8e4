"""Compile the lab's own small servers once, and let one process serve many listeners where starting it is dear."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.model import LabError, ServerProcess, spawn
from tests.lab.requirements import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Path(__file__).parent
CACHE = REPOSITORY / ".cache" / "lab"
"""What was compiled, in one directory a set of sources and compiler arguments."""

_BUILD_S = 300
# android-libboringssl-dev keeps apart from Debian's OpenSSL: other include and library directories.
_BORINGSSL = Path(f"/usr/lib/{os.uname().machine}-linux-gnu/android")
_C_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "bearssl": ("-lbearssl",),
    "mbedtls": ("-lmbedtls", "-lmbedx509", "-lmbedcrypto"),
    "wolfssl": ("-lwolfssl",),
    "boringssl": ("-I/usr/include/android", f"-L{_BORINGSSL}", f"-Wl,-rpath,{_BORINGSSL}", "-lssl", "-lcrypto"),
}


def compile_c(stack: str) -> Path:
    """Return the compiled ``stacks/c/<stack>_server.c``."""
    source = SOURCES / "c" / f"{stack}_server.c"
    command = ["gcc", "-O1", "-Wall", source, "-o", "server", *_C_ARGUMENTS[stack]]
    return _build((source, source.parent / "loop.h"), command) / "server"


def compile_go() -> Path:
    """Return the compiled ``stacks/go/main.go``."""
    source = SOURCES / "go" / "main.go"
    return _build((source,), ["go", "build", "-o", "server", source]) / "server"


def compile_java() -> Path:
    """Return the directory with the classes of ``stacks/java``."""
    source = SOURCES / "java" / "Listeners.java"
    return _build((source,), ["javac", "-d", ".", source])


def _build(sources: Sequence[Path], command: Sequence[str | Path]) -> Path:
    digest = hashlib.sha256(repr([str(part) for part in command]).encode())
    for source in sources:
        digest.update(source.read_bytes())
    made = CACHE / f"{sources[0].stem}-{digest.hexdigest()[:16]}"
    if made.is_dir():
        return made
    CACHE.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole: another test run may build the same at the same time.
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        # No newer Go toolchain is fetched than the one installed.
        env = {**os.environ, "GOTOOLCHAIN": "local"}
        result = subprocess.run(
            [str(part) for part in command], cwd=scratch, env=env, capture_output=True, timeout=_BUILD_S, check=False
        )
        if result.returncode != 0:
            raise LabError(f"{command[0]} failed on {sources[0].name}:\n{result.stderr.decode('utf-8', 'replace')}")
        built = Path(scratch) / "built"
        shutil.copytree(scratch, built, ignore=shutil.ignore_patterns("built"))
        with contextlib.suppress(OSError):
            built.rename(made)
    return made


class SharedProcess(ServerProcess):
    """A server that opens one listener for each line of its standard input."""

    __slots__ = ()

    def ask(self, line: str) -> None:
        """Have it open one more listener."""
        stdin = self.popen.stdin
        if stdin is None:
            raise LabError("the shared server has no standard input")
        try:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise LabError(f"the shared server is gone:\n{self.log_tail()}") from error

    def stop(self) -> None:
        """End it with all its listeners."""
        super().stop()
        if self.popen.stdin is not None:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()


_shared: dict[tuple[Path, tuple[str, ...]], SharedProcess] = {}


def share(command: Sequence[str | Path], line: str, *, workdir: Path) -> SharedProcess:
    """Have the lab's one process with this command open a listener; the first to ask starts it, in its own workdir."""
    key = (workdir.parent, tuple(str(part) for part in command))
    process = _shared.get(key)
    if process is None or process.popen.poll() is not None:
        started = spawn(command, workdir=workdir, stdin_open=True)
        process = _shared[key] = SharedProcess(popen=started.popen, log=started.log)
    process.ask(line)
    return process
