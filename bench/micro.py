"""CPU of one hello probe (connect, hello, first reply, close): both networks of the program beside C on epoll.

The server is canned and written in C, on a core of its own, so that only the client is measured. Needs gcc.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Spread
from bench.servers import addresses, client_core, pin_to, server_core
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import TlsVersion
from scanner.net.network import open_network
from scanner.probes.hello_ladder import hello_conversation
from scanner.tls.hello import RANDOM_BYTES, encode_hello

PORT = 8450
PROBES = 10_000
IN_FLIGHT = 200
_CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench"
_SOURCE = Path(__file__).with_name("probe.c")
# ServerHello, TLS 1.2, TLS_RSA_WITH_AES_128_CBC_SHA, no session id (RFC 5246 section 7.4.1.3).
_HELLO_BODY = b"\x03\x03" + bytes(range(32)) + b"\x00" + b"\x00\x2f" + b"\x00"
REPLY = (
    b"\x16\x03\x03"
    + (len(_HELLO_BODY) + 4).to_bytes(2, "big")
    + b"\x02"
    + len(_HELLO_BODY).to_bytes(3, "big")
    + _HELLO_BODY
)


def build_hello() -> bytes:
    return encode_hello(
        version=TlsVersion.TLS1_2, variant=HelloVariant.BROAD, server_name=None, random=os.urandom(RANDOM_BYTES)
    )


def compile_client() -> Path | None:
    """Return the compiled C program, or None where there is no gcc."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        return None
    program = _CACHE / "probe"
    if not program.exists() or program.stat().st_mtime < _SOURCE.stat().st_mtime:
        _CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([gcc, "-O2", "-Wall", "-Wextra", "-o", str(program), str(_SOURCE)], check=True)
    return program


def main(*, runs: int) -> int:
    program = compile_client()
    if program is None:
        print("LEFT OUT: micro needs gcc (Debian: apt-get install gcc libc6-dev)", file=sys.stderr)
        return 1
    results: dict[str, list[tuple[float, float]]] = {"C, epoll": [], "epoll": [], "asyncio": []}
    with tempfile.TemporaryDirectory() as name, _server(program, Path(name)) as hello:
        for _ in range(runs):
            for kind, found in results.items():
                if kind == "C, epoll":
                    command = [str(program), "ask", str(PORT), str(hello), str(PROBES)]
                else:
                    command = [sys.executable, "-m", "bench.micro", kind]
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=120,
                    cwd=Path(__file__).resolve().parents[1],
                    preexec_fn=pin_to(client_core()),  # no threads here
                )
                answered, cpu_us, rate = done.stdout.split()
                if int(answered) != PROBES:
                    raise SystemExit(f"{kind}: {answered} of {PROBES} answered")
                found.append((float(cpu_us), float(rate)))
    limit = Spread.of([cpu for cpu, _ in results["C, epoll"]]).median
    print(f"{PROBES} probes, {IN_FLIGHT} in flight, medians of {runs}")
    print("| client | CPU us a probe (least to most) | probes/s | share of C per CPU second |")
    print("|---|---|---|---|")
    for kind, found in results.items():
        cpu = Spread.of([value for value, _ in found])
        rate = Spread.of([value for _, value in found])
        title = kind if kind.startswith("C") else f"the program's {kind} network"
        print(
            f"| {title} | {cpu.median:.1f} ({cpu.least:.1f} to {cpu.most:.1f}) | {rate.median:,.0f} "
            f"| {limit / cpu.median:.2f} |"
        )
    return 0


@contextmanager
def _server(program: Path, folder: Path) -> Iterator[Path]:
    (folder / "reply").write_bytes(REPLY)
    hello = folder / "hello"
    hello.write_bytes(build_hello())
    process = subprocess.Popen(
        [str(program), "serve", str(PORT), str(folder / "reply")],
        stdout=subprocess.PIPE,
        preexec_fn=pin_to(server_core()),  # noqa: PLW1509  # no threads here
    )
    try:
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("the canned server did not start")
        yield hello
    finally:
        process.terminate()
        process.wait(5)


async def _ask(kind: str) -> None:
    network = open_network(kind)
    hello = build_hello()
    todo = iter(range(PROBES))
    targets = addresses(200)
    answered = 0

    async def work() -> None:
        nonlocal answered
        for number in todo:
            log = await network.drive(
                hello_conversation(hello),
                address=targets[number % 200],
                port=PORT,
                deadline_s=5.0,
                max_bytes=32_768,
            )
            answered += log.ending is Ending.COMPLETE and log.received == REPLY

    cpu, began = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    cpu_us, wall_s = (time.process_time() - cpu) * 1e6 / PROBES, time.perf_counter() - began
    await network.close()
    print(answered, f"{cpu_us:.2f}", f"{PROBES / wall_s:.0f}")


if __name__ == "__main__":
    asyncio.run(_ask(sys.argv[1]))
