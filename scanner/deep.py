"""sslyze's full scan of single hosts, in a child process with a hard deadline.

sslyze's public Scanner opens hundreds of connections a host and hangs for ever on some errors; a child can be ended.
Its JSON is kept as it is, beside ours, and decides nothing.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanner.model.subjects import Endpoint

DEADLINE_S = 300.0
"""Seconds for one endpoint."""
_AT_ONCE = 2
_SCANS = (
    "certinfo",
    "compression",
    "early_data",
    "elliptic_curves",
    "ems",
    "fallback",
    "heartbleed",
    "http_headers",
    "openssl_ccs",
    "reneg",
    "resum",
    "robot",
    "sslv2",
    "sslv3",
    "tlsv1",
    "tlsv1_1",
    "tlsv1_2",
    "tlsv1_3",
)
"""All that sslyze can ask: without the comparison below it asks nothing it is not told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepScan:
    """How sslyze's scan of one endpoint went."""

    endpoint: Endpoint
    """Which."""
    path: Path | None
    """Where its JSON is; None where it failed."""
    error: str | None
    """Why it failed."""


async def run_deep_scans(
    endpoints: Sequence[Endpoint], folder: Path, *, deadline_s: float = DEADLINE_S
) -> list[DeepScan]:
    """Run sslyze's command line on each endpoint, a few at a time; never raises for a failed scan.

    folder must exist; a file a endpoint is written there.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def run(endpoint: Endpoint) -> DeepScan:
        async with slots:
            return await _run_one(endpoint, folder, deadline_s)

    return list(await asyncio.gather(*(run(endpoint) for endpoint in endpoints)))


async def _run_one(endpoint: Endpoint, folder: Path, deadline_s: float) -> DeepScan:
    name = re.sub(
        r"[^A-Za-z0-9._-]", "_", f"{endpoint.server_name or endpoint.host}_{endpoint.address}_{endpoint.port}"
    )
    path = folder / f"sslyze_{name}.json"
    host = endpoint.server_name or endpoint.address
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    where = f"{host}:{endpoint.port}{{{address}}}" if endpoint.server_name else f"{address}:{endpoint.port}"
    # sslyze compares with Mozilla's recommendation by default and says so by its exit code, which is not our question.
    options = ("--quiet", "--mozilla_config=disable", *(f"--{scan}" for scan in _SCANS), f"--json_out={path}")
    command = (sys.executable, "-m", "sslyze", *options, where)
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, errors = await asyncio.wait_for(child.communicate(), deadline_s)
    except TimeoutError:
        path.unlink(missing_ok=True)
        return DeepScan(endpoint=endpoint, path=None, error=f"not done after {deadline_s:.0f} s")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not path.exists():
        text = errors.decode(errors="replace").strip().splitlines()
        return DeepScan(endpoint=endpoint, path=None, error=text[-1] if text else f"exit code {child.returncode}")
    return DeepScan(endpoint=endpoint, path=path, error=None)
