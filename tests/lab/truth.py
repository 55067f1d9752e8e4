"""Asks every client about every cell of the lab, once per session; the tests only read the answers."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scanner.model.versions import ALL_VERSIONS, TlsVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.certs import Certificates
    from tests.lab.clients import Attempt, Client
    from tests.lab.model import LabServer

_WORKERS_COUNT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the clients got: attempts by server name, version and client name."""

    attempts: Mapping[tuple[str, TlsVersion], Mapping[str, Attempt]]

    def confirming(self, server: str, version: TlsVersion) -> list[str]:
        """Return the clients that completed a handshake with exactly this version."""
        return [name for name, attempt in self.attempts[server, version].items() if attempt.is_accepted]

    def able(self, server: str, version: TlsVersion) -> list[str]:
        """Return the clients that tried this cell and completed a handshake of this version with another server."""
        proven = {
            name
            for (other, its_version), attempts in self.attempts.items()
            for name, attempt in attempts.items()
            if its_version == version and other != server and attempt.is_accepted
        }
        return [name for name in self.attempts[server, version] if name in proven]

    def words(self, server: str, version: TlsVersion) -> str:
        """Return what each client said, for a failing test."""
        lines = (f"--- {name}\n{attempt.said.strip()}" for name, attempt in self.attempts[server, version].items())
        return "\n".join(lines)


def _without_limits(server: LabServer) -> LabServer:
    needs = dataclasses.replace(server.verify, ciphers=None, tls13_ciphers=None, groups=None)
    return dataclasses.replace(server, verify=needs)


def gather(servers: Sequence[LabServer], clients: Sequence[Client], certificates: Certificates) -> Truth:
    """Try every cell.

    An enabled version needs one client that says yes, so the asking ends there; a disabled one is tried by every client
    that can speak it, also with every cipher where the server asks for less. One server's cells are asked one after the
    other, since some serve one client at a time.
    """

    def ask(server: LabServer, version: TlsVersion) -> dict[str, Attempt]:
        attempts: dict[str, Attempt] = {}
        for client in clients:
            if not client.can_speak(server, version):
                continue
            attempt = client.attempt(server, version, certificates)
            if version not in server.enabled and server.verify.ciphers and not attempt.is_accepted:
                attempt = client.attempt(_without_limits(server), version, certificates)
            attempts[client.name] = attempt
            if version in server.enabled and attempt.is_accepted:
                break
        return attempts

    def ask_all(server: LabServer) -> dict[tuple[str, TlsVersion], dict[str, Attempt]]:
        return {(server.name, version): ask(server, version) for version in ALL_VERSIONS}

    with ThreadPoolExecutor(_WORKERS_COUNT) as pool:
        merged: dict[tuple[str, TlsVersion], dict[str, Attempt]] = {}
        for part in pool.map(ask_all, servers):
            merged |= part
    return Truth(attempts=merged)
