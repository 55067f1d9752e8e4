"""How to scan: everything a run can be told, with its defaults. Kept with a stored run, so that it can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from scanner.net.resolve import DnsResolver, Resolver, SystemResolver
from scanner.policy import DEFAULT_POLICY
from scanner.store.stored import KeepBytes


class Confirm(StrEnum):
    """Which versions found enabled are confirmed by a handshake of sslyze's engine."""

    ALL = "all"
    """Every one."""
    FINDINGS = "findings"
    """Every one of named targets; of a range's hosts those that the policy forbids, and all of every hundredth host."""
    NONE = "none"
    """None: hellos only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How to scan. The defaults are polite: they suit a few hundred hosts, and a range over a coffee."""

    confirm: Confirm = Confirm.ALL
    """What handshakes confirm."""
    timeout_s: float = 5.0
    """Seconds for one connection, connect included."""
    connect_s: float = 3.2
    """Seconds to find out whether anything listens at an address of a range: time for three SYNs (RFC 6298: after 0, 1
    and 3 seconds)."""
    passes: int = 2
    """How often a silent address of a range is tried."""
    host_deadline_s: float = 120.0
    """Seconds for all questions to one host."""
    concurrency: int = 500
    """Hosts at a time."""
    in_flight: int = 20_000
    """Connections at a time that look for listeners in ranges; this machine may allow fewer."""
    per_address: int = 8
    """Connections at a time to one address; one endpoint never gets more than one ladder at a time."""
    rate: float = 1000.0
    """Connections a second over all hosts; 0 is no limit."""
    per_network: float = 250.0
    """Connections a second to one /24 (IPv6: /64) of a range; 0 is no limit."""
    walks_down: bool = False
    """Whether questions are asked in the order that needs the fewest: 7 connections for a modern host instead of 8."""
    uses_syn: bool = False
    """Whether listeners in ranges are looked for with raw SYNs."""
    net: str = "auto"
    """``epoll``, ``asyncio`` or ``auto``."""
    policy: str = DEFAULT_POLICY
    """Name of the policy to judge with."""
    does_recognise: bool = True
    """Whether AD FS and registration endpoints are recognised over HTTP."""
    nameservers: tuple[tuple[str, int], ...] = ()
    """DNS servers (address, port) to ask instead of the system's resolver."""
    seed: int = 0
    """Of the order in which a range is swept."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): only the i-th of n equal parts of the run."""
    keep: KeepBytes = KeepBytes.DISPUTED
    """Which bytes of the replies are stored."""
    processes: int = 0
    """Processes that scan; 0: as many as help."""
    command: str = "scan"
    """Kept with the run."""
    listener: str = ""
    """Where proxies are asked to connect to, as scanner.listener.opening.parse_listener reads it; empty: nowhere."""
    asks_paths: bool = True
    """Whether the registration endpoints are asked through each forward proxy."""

    def encode(self, **more: object) -> str:
        """Return the options as JSON; decode_options reads them back. more: further members, for other readers."""
        return json.dumps(asdict(self) | more, separators=(",", ":"))


def open_resolver(options: ScanOptions) -> Resolver:
    """Return what resolves names."""
    return DnsResolver(options.nameservers) if options.nameservers else SystemResolver()


def decode_options(text: str) -> ScanOptions:
    """Return what encode() wrote. What a newer version knows and this one doesn't is an error: ValueError."""
    try:
        data: dict[str, Any] = json.loads(text)
        data = {name: value for name, value in data.items() if name not in _OF_OTHERS}
        data["confirm"] = Confirm(data["confirm"])
        data["keep"] = KeepBytes(data["keep"])
        data["shard"] = _pair(data["shard"])
        data["nameservers"] = tuple((address, port) for address, port in data["nameservers"])
        unknown = data.keys() - {item.name for item in fields(ScanOptions)}
        if unknown:
            raise ValueError(f"options of a newer version: {', '.join(sorted(unknown))}")
        for name, value in data.items():
            usual = getattr(_USUAL, name)
            if type(value) is not type(usual) and not (type(usual) is float and type(value) is int):
                raise ValueError(f"damaged options: {name} is {value!r}")
        return ScanOptions(**data)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("damaged options") from error


_USUAL = ScanOptions()
_OF_OTHERS = frozenset({"plan_digest", "resumed", "merged_shards", "missing_shards"})
"""Members that are not options: of scanner.store.merging, and whether the run was gone on with."""


def _pair(values: list[int]) -> tuple[int, int]:
    first, second = values
    if type(first) is not int or type(second) is not int:
        raise TypeError(values)
    return first, second
