"""``python -m tests.proxies --rounds 10 [NAME ...]``: asks every proxy again and again and counts what is not true."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scanner.listener.identity import make_identity
from scanner.options import Confirm
from scanner.trust_stores import read_trust_stores
from tests.proxies import present_proxies
from tests.proxies.certs import make_proxy_certificates
from tests.proxies.scans import UNSETTLED, ask, secrets_of


def main() -> int:
    """Return 1 where anything was wrong, unknown without being listed, or told a secret."""
    parser = argparse.ArgumentParser(prog="python -m tests.proxies", description=__doc__)
    parser.add_argument("names", nargs="*", help="proxies to ask; none: all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--confirm", type=Confirm, choices=list(Confirm), default=Confirm.NONE)
    asked = parser.parse_args()
    kinds = [kind for kind in present_proxies() if not asked.names or kind.name in asked.names]
    counts: Counter[str] = Counter()
    began_at = time.monotonic()
    identity = make_identity(addresses=("127.0.0.1",))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        certificates = make_proxy_certificates(folder / "certificates")

        def ask_once(kind):
            try:
                return ask(kind, certificates, folder, identity, confirm=asked.confirm)
            except Exception as error:  # noqa: BLE001 - one proxy's failure is a line, not the end
                return error

        for number in range(1, asked.rounds + 1):
            read_trust_stores()  # quiets a warning while it reads, which threads would undo for each other
            with ThreadPoolExecutor(asked.parallel) as pool:
                told = list(pool.map(ask_once, kinds))
            for kind, compared in zip(kinds, told, strict=True):
                if isinstance(compared, Exception):
                    counts["failed"] += 1
                    _say(f"{kind.name}: FAILED {compared!r}")
                    continue
                counts["right"] += compared.settled_count
                counts["wrong"] += len(compared.wrong)
                counts["unknown"] += len(compared.unknown)
                counts["connections"] += compared.connections_count
                leaks = [secret for secret in secrets_of(kind) if secret in compared.kept]
                counts["secrets told"] += len(leaks)
                unlisted = compared.unknown.keys() - UNSETTLED.get(kind.name, {}).keys()
                counts["unknown and not listed"] += len(unlisted)
                for line in compared.wrong:
                    _say(f"{kind.name}: WRONG {line}")
                for each in sorted(unlisted):
                    _say(f"{kind.name}: unknown {each}: {compared.unknown[each]}")
                if asked.names:
                    _say(f"{kind.name}: {compared.connections_count} connections, {compared.took_s:.1f} s")
            _say(f"round {number}, {time.monotonic() - began_at:.0f} s: {dict(counts)}")
    return 1 if any(counts[each] for each in ("failed", "wrong", "secrets told", "unknown and not listed")) else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
