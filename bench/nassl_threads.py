"""Six nassl handshakes a host in 50 threads: what sslyze's engine does when used as a library, without its runner.

Run as a program of its own, so that its time and CPU are measured like a tool's:
``python -m bench.nassl_threads TARGETS OUT.json``.
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum, SslClient

THREADS = 50
_VERSIONS = {
    "SSL2": (LegacySslClient, OpenSslVersionEnum.SSLV2, None),
    "SSL3": (LegacySslClient, OpenSslVersionEnum.SSLV3, "ALL"),
    "TLS1.0": (LegacySslClient, OpenSslVersionEnum.TLSV1, "ALL"),
    "TLS1.1": (LegacySslClient, OpenSslVersionEnum.TLSV1_1, "ALL"),
    "TLS1.2": (SslClient, OpenSslVersionEnum.TLSV1_2, "ALL"),
    "TLS1.3": (SslClient, OpenSslVersionEnum.TLSV1_3, None),
}


def accepts(address: str, port: int, version: str) -> bool:
    client_class, number, ciphers = _VERSIONS[version]
    with socket.create_connection((address, port), 5) as sock:
        client = client_class(ssl_version=number, underlying_socket=sock, ssl_verify=OpenSslVerifyEnum.NONE)
        if ciphers is not None:
            client.set_cipher_list(ciphers)
        try:
            client.do_handshake()
        except Exception:  # noqa: BLE001  # as said below
            # Any failure counts as "no" here. That is how such loops are written, and why they get it wrong.
            return False
        return True


def versions_of(target: str) -> list[str]:
    address, _, port = target.rpartition(":")
    return [version for version in _VERSIONS if accepts(address, int(port), version)]


def main() -> None:
    targets = Path(sys.argv[1]).read_text().split()
    with ThreadPoolExecutor(THREADS) as threads:
        found = dict(zip(targets, threads.map(versions_of, targets), strict=True))
    answers = {target.rpartition(":")[0]: versions for target, versions in found.items()}
    Path(sys.argv[2]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
