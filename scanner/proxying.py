"""A forward proxy's questions: what it does to TLS on the way to our listener, and to the registration endpoints.

The order of the questions is planned by scanner.outbound.paths, from what was learned so far; this module puts them, by
way of the engine that scans the proxy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from scanner.model.exchange import VERSION_PROBES, Exchange, Probe
from scanner.model.subjects import Endpoint, Target, Upgrade
from scanner.model.versions import TlsVersion

if TYPE_CHECKING:
    from scanner.listener.access import ListenerAccess
    from scanner.outbound.paths import PathQuestion
    from scanner.upgrade.credentials import ProxyCredentials

_WAIT_S = 2.0
"""For the listener's side of a connection to come to its end: it knows of it sooner than we do, if at all."""
_HANDSHAKES = frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3})
"""Confirmed through a proxy whatever the run confirms: there is no certificate without a handshake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxying:
    """What a run asks of forward proxies."""

    credentials: ProxyCredentials
    """What they may be told when they ask."""
    accesses: tuple[ListenerAccess, ...] = ()
    """The listeners that they are asked for."""
    destinations: tuple[tuple[str, int], ...] = ()
    """Registration endpoints (host, port) that they are asked for."""

    @property
    def part_count(self) -> int:
        """How many times the work of an ordinary host a proxy is."""
        return 1 + 2 * len(self.accesses) + len(self.destinations)


class ProxyHost(Protocol):
    """A proxy under way, as the engine lets it be asked."""

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """What was learned so far."""

    def list_endpoint(self, endpoint: Endpoint) -> None:
        """Add an endpoint that verdicts are wanted of."""

    def add(self, arrivals: Sequence[Exchange]) -> None:
        """Note what the listener saw, as exchanges of this host."""

    def new_nonce(self) -> str:
        """Return 16 random hexadecimal digits."""

    async def climb(self, endpoint: Endpoint, confirm: Collection[TlsVersion]) -> None:
        """Put the hello ladder's questions to an endpoint."""

    async def ask_path(self, endpoint: Endpoint, variant: TlsVersion | None, path: str) -> Exchange:
        """Let our own TLS client go there, ask for path, and hang up."""

    async def ask_handshake(self, endpoint: Endpoint, version: TlsVersion) -> Exchange:
        """Let sslyze's engine complete a handshake there."""

    async def reach(self, name: str, port: int) -> str | None:
        """Return an address of a name that may be contacted at this port; None where there is none."""


async def ask_proxy(proxying: Proxying, host: ProxyHost, target: Target, endpoints: Sequence[Endpoint]) -> None:
    """Put all questions to a proxy; endpoints: its own, whose ladders have been climbed."""
    from scanner.outbound.proxies import plan_upgrade  # noqa: PLC0415  # only where there are proxies

    for endpoint in endpoints:
        upgrade = plan_upgrade(target, endpoint, host.exchanges)
        if upgrade is None:
            continue
        own = replace(endpoint, upgrade=upgrade, is_optional=False)
        for access in proxying.accesses:
            await _ask_way(access, host, own)
        for name, port in proxying.destinations:
            await _ask_destination(host, own, name, port)


async def _ask_way(access: ListenerAccess, host: ProxyHost, own: Endpoint) -> None:
    """Ask through the proxy for the listener until the planner has no more questions."""
    from scanner.model.outbound import PathKind  # noqa: PLC0415  # see ask_proxy
    from scanner.outbound.paths import judge_way, plan_path, read_passages  # noqa: PLC0415
    from scanner.outbound.proxies import settled_versions  # noqa: PLC0415
    from scanner.outbound.tokens import Answer, ProbeToken, encode_probe_name  # noqa: PLC0415

    name, _, port = access.destination.rpartition(":")
    address = await host.reach(name.strip("[]"), int(port))
    while True:
        passages = read_passages(host.exchanges, replace(own, destination=access.destination))
        direct = None
        if address is not None:
            straight = replace(own, upgrade=Upgrade.NONE, destination=access.destination)
            direct = read_passages(host.exchanges, straight, is_direct=True)
        way = judge_way(passages)
        settled = settled_versions(passages) if way.kind is PathKind.RE_ENCRYPTS else {}
        question = plan_path(passages, direct, settled)
        if question is None:
            break
        await _ask(access, host, own, question, address)
    if way.kind is not PathKind.RE_ENCRYPTS:
        return
    # What it accepts from clients there is its own: the interception side.
    token = ProbeToken(host.new_nonce(), Answer.ANY)
    name = encode_probe_name(token, access.name_suffix)
    inner = replace(own, server_name=name, destination=access.destination)
    host.list_endpoint(inner)
    await host.climb(inner, _HANDSHAKES)
    # What it passes on instead of answering must not be taken for its own.
    host.add([_credit(arrival, own.host) for arrival in await _collect(access, token.nonce)])


async def _collect(access: ListenerAccess, nonce: str) -> list[Exchange]:
    try:
        return await access.collect([nonce], wait_s=_WAIT_S)
    except OSError:
        return []  # judged as "nothing arrived": never as anything about the proxy


async def _ask(
    access: ListenerAccess, host: ProxyHost, own: Endpoint, question: PathQuestion, address: str | None
) -> None:
    """Put one question, and fetch what the listener saw of it. address: where the listener is reached without proxy."""
    from scanner.model.exchange import Ending  # noqa: PLC0415
    from scanner.outbound.tokens import ProbeToken, encode_probe_name, encode_probe_path  # noqa: PLC0415

    token = ProbeToken(host.new_nonce(), question.answer)
    name = encode_probe_name(token, access.name_suffix)
    endpoint = replace(own, server_name=name, destination=access.destination)
    if question.is_direct:
        assert address is not None  # noqa: S101  # for the type checker: it is planned only then
        port = int(access.destination.rpartition(":")[2])
        endpoint = replace(endpoint, address=address, port=port, upgrade=Upgrade.NONE)
    exchange = await host.ask_path(endpoint, question.variant, encode_probe_path(token))
    if not exchange.sent or exchange.ending is Ending.UPGRADE_DECLINED:
        return
    host.add([_credit(arrival, own.host) for arrival in await _collect(access, token.nonce)])


def _credit(arrival: Exchange, host: str) -> Exchange:
    endpoint = replace(arrival.request.endpoint, host=host)
    return replace(arrival, request=replace(arrival.request, endpoint=endpoint))


async def _ask_destination(host: ProxyHost, own: Endpoint, name: str, port: int) -> None:
    """Ask which versions get through to a registration endpoint, and for its certificate with and without the proxy."""
    destination = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    server_name = None if ":" in name or name.replace(".", "").isdigit() else name
    through = replace(own, server_name=server_name, destination=destination)
    host.list_endpoint(through)
    await host.climb(through, _HANDSHAKES)
    has_direct = any(
        exchange.request.endpoint.destination == destination and exchange.request.endpoint.upgrade is Upgrade.NONE
        for exchange in host.exchanges
    )
    has_seen = any(
        exchange.request.endpoint == through and exchange.engine is not None and exchange.engine.completed
        for exchange in host.exchanges
        if exchange.request.probe in VERSION_PROBES
    )
    if has_direct or not has_seen:
        return
    address = await host.reach(name, port)
    if address is None:
        return
    direct = Endpoint(
        host=own.host,
        address=address,
        port=port,
        server_name=server_name,
        destination=destination,
    )
    for version in (TlsVersion.TLS1_2, TlsVersion.TLS1_3):
        exchange = await host.ask_handshake(direct, version)
        if exchange.request.probe is Probe.HANDSHAKE and exchange.engine is not None and exchange.engine.completed:
            return
