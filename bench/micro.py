"""CPU of one hello probe (connect, hello, first reply, close): the program's ways to ask beside a client in C on epoll.

The server is canned and written in C, on a core of its own, so that only the client is measured. It is run both ways:
spinning, and asleep until something comes, which costs the client the waking of it. Needs a C compiler.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Spread
from bench.programs import REPOSITORY, compile_source
from bench.servers import client_core, pin_to, server_core
from bench.tables import Section, at_least, not_measured, number, shown_spread, table
from scanner.model.exchange import HelloVariant
from scanner.model.versions import TlsVersion
from scanner.tls.hello import RANDOM_BYTES, encode_hello

PORT = 8450
PROBES = 10_000
IN_FLIGHT = 200
KINDS = {
    "C, epoll": "C, epoll: the practical limit",
    "lane": "the sweep's lane: whole hello ladders",
    "reactor": "the lane's reactor alone",
    "epoll": "the epoll network (asyncio tasks)",
    "asyncio": "the asyncio network",
}
SERVERS = {"sleeping": -1, "spinning": 0}
"""What epoll_wait is given in the server. The target's 34.8 us of C were measured beside a sleeping one."""
AIM = "hello ladder, one core: at least 0.80 of the C epoll client per CPU second"
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


def measure_micro(*, runs: int) -> Section:
    title = f"One hello probe against a canned server, {PROBES:,} probes, {IN_FLIGHT} in flight"
    program = compile_source("probe")
    if program is None:
        return Section(title=title, targets=[not_measured(AIM, "no C compiler")], left_out=["micro needs a C compiler"])
    print(f"== {title}", flush=True)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for mode, wait_ms in SERVERS.items():
        with tempfile.TemporaryDirectory() as name, _server(program, Path(name), wait_ms) as hello:
            own = found[mode] = {kind: [] for kind in KINDS}
            for _ in range(runs):
                for kind, results in own.items():
                    results.append(_run(kind, program, hello))
                    print(f"  {mode:9} {kind:9} {results[-1][0]:6.1f} us  {results[-1][1]:8.0f} probes/s", flush=True)
    shares = {
        mode: {
            kind: Spread.of([limit[0] / cpu for limit, (cpu, _) in zip(own["C, epoll"], results, strict=True)])
            for kind, results in own.items()
        }
        for mode, own in found.items()
    }
    rows = [
        (
            KINDS[kind],
            mode,
            shown_spread(Spread.of([cpu for cpu, _ in results])),
            number(Spread.of([rate for _, rate in results]).median),
            shown_spread(shares[mode][kind]),
        )
        for mode, own in found.items()
        for kind, results in own.items()
    ]
    heads = ["client", "server", "CPU us a probe, median (least to most)", "probes/s", "share of C per CPU second"]
    return Section(
        title=title,
        lines=table(heads, rows),
        targets=[at_least(f"{AIM} ({mode} server)", own["lane"], 0.80, "") for mode, own in shares.items()],
        commands=["python -m bench micro"],
    )


def _run(kind: str, program: Path, hello: Path) -> tuple[float, float]:
    """Return (CPU microseconds a probe, probes a second)."""
    if kind == "C, epoll":
        command = [str(program), "ask", str(PORT), str(hello), str(PROBES)]
    else:
        command = [sys.executable, "-m", "bench.asking", kind]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=REPOSITORY,
        preexec_fn=pin_to(client_core()),  # no threads here
    )
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr[-500:]}")
    answered, cpu_us, rate = done.stdout.split()
    # A ladder has as many questions as it has: the last host's may go over the count.
    if int(answered) < PROBES:
        raise SystemExit(f"{kind}: {answered} of {PROBES} answered")
    return float(cpu_us), float(rate)


@contextmanager
def _server(program: Path, folder: Path, wait_ms: int) -> Iterator[Path]:
    (folder / "reply").write_bytes(REPLY)
    hello = folder / "hello"
    hello.write_bytes(build_hello())
    process = subprocess.Popen(
        [str(program), "serve", str(PORT), str(folder / "reply"), str(wait_ms)],
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
