"""What a run asks of forward proxies, made ready: their credentials, the destinations, and listeners at work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from scanner.model.subjects import Role
from scanner.options import ScanOptions
from scanner.proxying import Proxying
from scanner.sweep.plan import TargetPlan
from scanner.upgrade.credentials import ProxyCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What must never be stored or shown."""

    proxies: ProxyCredentials = field(default_factory=ProxyCredentials)
    """What forward proxies may be told when they ask."""
    listener: bytes | None = None
    """What a listener that runs elsewhere is asked with."""


@asynccontextmanager
async def preparing(
    plan: TargetPlan, options: ScanOptions, secrets_of: Secrets, note: Callable[[str], None]
) -> AsyncIterator[Proxying | None]:
    """Yield what forward proxies are asked, with the listeners at work that are wanted; None where nothing is asked.

    note: is told what the user should know. Raises ListenerError for a listener that can't be had.
    """
    has_proxies = any(target.role is Role.PROXY for target in plan.named)
    destinations = tuple(
        dict.fromkeys((target.host, target.ports[0]) for target in plan.named if target.role is Role.ENDPOINT)
    )
    if not has_proxies:
        if options.listener:
            note("there are no [proxies] to ask, so the listener is not used; entra-tls listen waits for other hosts")
        yield None
        return
    if not options.asks_paths:
        destinations = ()
    if not options.listener and not destinations:
        yield None
        return
    async with AsyncExitStack() as stack:
        accesses = []
        for text in filter(None, options.listener.split(",")):
            from scanner.listener.opening import open_listener, parse_listener  # noqa: PLC0415  # loads cryptography

            opened = await open_listener(parse_listener(text.strip()), secrets_of.listener)
            stack.push_async_callback(opened.close)
            accesses.append(opened.access)
            note(opened.note)
        yield Proxying(credentials=secrets_of.proxies, accesses=tuple(accesses), destinations=destinations)
