"""A listener in a process of its own, so that 10,000 connections need not have both ends in one.

``python -m tests.listener.child``: prints its port, then a line of JSON for each line it reads; ends with its input.
"""

import asyncio
import json
import sys
from pathlib import Path

from scanner.listener.identity import make_identity
from scanner.listener.limits import ListenerLimits
from scanner.listener.server import Listener


def rss_bytes():
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS")


async def main(limits):
    seen = []
    listener = Listener(
        [("127.0.0.1", 0)],
        make_identity(),
        on_exchange=lambda exchange: seen.append(exchange.request.endpoint.server_name),
        limits=ListenerLimits(**limits),
    )
    await listener.start()
    print(listener.addresses[0][1], flush=True)  # noqa: T201  # it is what this program is for
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        counters = {name: getattr(listener.counters, name) for name in listener.counters.__slots__}
        print(json.dumps({"rss": rss_bytes(), "names": seen} | counters), flush=True)  # noqa: T201  # the same
    await listener.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
