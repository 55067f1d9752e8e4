"""Names to addresses: by the system's own way, or by name servers that the user gives."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from scanner.model.runs import Resolution

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dns.asyncresolver
    import dns.name
    import dns.resolver

# dnspython takes 60 ms to import, so it is imported where a DNS question is really put (PLC0415 below).

MAX_CNAME_COUNT = 16
"""Longest chain of canonical names followed; dnspython and BIND stop there too."""

DEFAULT_LIFETIME_S = 6.0
"""Seconds for each kind of look-up of one name."""


class Resolver(Protocol):
    """Turns a name into all its addresses."""

    async def resolve(self, name: str, *, want_cname: bool = False) -> Resolution:
        """Return what is known of a name in A-label form; an address is its own resolution, without any look-up.

        Never raises for DNS trouble: that is in Resolution.error and cname_error. The chain of canonical names is
        only asked for with want_cname.
        """
        ...


class SystemResolver:
    """Addresses by getaddrinfo, so that the hosts file and nsswitch count; CNAME chains by DNS: only DNS has them."""

    def __init__(
        self,
        *,
        lifetime_s: float = DEFAULT_LIFETIME_S,
        max_concurrent_count: int = 16,
        nameservers: tuple[tuple[str, int], ...] = (),
    ) -> None:
        """Bound each look-up to lifetime_s, counted from when it is begun, and run max_concurrent_count at once.

        nameservers (address and port) are asked for CNAME chains in place of those of the system's configuration.
        """
        self._lifetime_s = lifetime_s
        self._nameservers = nameservers
        self._slots = asyncio.Semaphore(max_concurrent_count)
        self._dns_slots = asyncio.Semaphore(max_concurrent_count)
        # Threads of its own: asyncio's default executor has few, shares them, and waits for them when the loop closes.
        self._threads = ThreadPoolExecutor(max_workers=max_concurrent_count, thread_name_prefix="resolve")

    async def resolve(self, name: str, *, want_cname: bool = False) -> Resolution:
        """See Resolver.resolve."""
        if (literal := _maybe_literal(name)) is not None:
            return literal
        if not want_cname:
            addresses, error = await self._look_up(name)
            return Resolution(addresses=addresses, error=error)
        (addresses, error), (chain, cname_error) = await asyncio.gather(self._look_up(name), self._look_up_chain(name))
        return Resolution(addresses=addresses, error=error, cname_chain=chain, cname_error=cname_error)

    async def _look_up(self, name: str) -> tuple[tuple[str, ...], str | None]:
        # A thread in getaddrinfo can't be stopped. Its slot is given back when it ends and not when we stop waiting:
        # otherwise a dead DNS server would fill the threads, and names after it would time out without being asked.
        await self._slots.acquire()
        look_up = asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, name)
        look_up.add_done_callback(lambda _: self._slots.release())
        try:
            addresses = await asyncio.wait_for(asyncio.shield(look_up), self._lifetime_s)
        except TimeoutError:
            look_up.add_done_callback(_consume)
            return (), f"the system's resolver did not answer within {self._lifetime_s:g} s"
        except asyncio.CancelledError:
            look_up.add_done_callback(_consume)
            raise
        except OSError as error:
            return (), (error.strerror or str(error)).lower()
        except ValueError as error:  # UnicodeError too: labels over 63 bytes, empty labels, NUL
            return (), f"not a name that can be looked up: {error}"
        return addresses, None if addresses else "the name has no address"

    async def _look_up_chain(self, name: str) -> tuple[tuple[str, ...], str | None]:
        try:
            client = _client(self._nameservers, self._lifetime_s)
        except Exception as error:  # noqa: BLE001 - no configuration, or one that can't be read: the addresses stay
            return (), _error_text(error)
        async with self._dns_slots:
            return await _follow_cnames(client, name, self._lifetime_s, may_search="." not in name)


class DnsResolver:
    """Addresses and CNAME chains by DNS alone, from the name servers given. Names are taken as absolute."""

    def __init__(
        self,
        nameservers: tuple[tuple[str, int], ...],
        *,
        lifetime_s: float = DEFAULT_LIFETIME_S,
        max_concurrent_count: int = 64,
    ) -> None:
        """Ask nameservers (address and port) in order; bound each look-up to lifetime_s, counted from its begin."""
        if not nameservers:
            raise ValueError("at least one name server is needed")
        self._nameservers = nameservers
        self._lifetime_s = lifetime_s
        self._slots = asyncio.Semaphore(max_concurrent_count)

    async def resolve(self, name: str, *, want_cname: bool = False) -> Resolution:
        """See Resolver.resolve."""
        if (literal := _maybe_literal(name)) is not None:
            return literal
        async with self._slots:
            client = _client(self._nameservers, self._lifetime_s)
            look_ups = [_query_addresses(client, name, kind, self._lifetime_s) for kind in ("A", "AAAA")]
            if want_cname:
                look_ups.append(_follow_cnames(client, name, self._lifetime_s))
            results = await asyncio.gather(*look_ups)
        addresses = tuple(dict.fromkeys((*results[0][0], *results[1][0])))
        errors = tuple(dict.fromkeys(error for _, error in results[:2] if error is not None))
        chain, cname_error = results[2] if want_cname else ((), None)
        return Resolution(
            addresses=addresses,
            error=None if addresses else "; ".join(errors) or "the name has no address",
            cname_chain=chain,
            cname_error=cname_error,
        )


def _maybe_literal(name: str) -> Resolution | None:
    try:
        ip_address(name)
    except ValueError:
        return None
    return Resolution(addresses=(name,))


def _getaddrinfo(name: str) -> tuple[str, ...]:
    # No AI_ADDRCONFIG: a host without IPv6 still wants to know that the target has an IPv6 address it could not reach.
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(
        dict.fromkeys(str(sockaddr[0]) for family, *_, sockaddr in found if family in {socket.AF_INET, socket.AF_INET6})
    )


def _consume(look_up: asyncio.Future[Any]) -> None:
    """Take the outcome nobody waits for any more, which asyncio would complain about."""
    if not look_up.cancelled():
        look_up.exception()


def _client(nameservers: Sequence[tuple[str, int]], lifetime_s: float) -> dns.asyncresolver.Resolver:
    """Return a dnspython resolver for the name servers, or for the system's where none are given."""
    import dns.asyncresolver  # noqa: PLC0415 - see the module's head
    import dns.nameserver  # noqa: PLC0415

    client = dns.asyncresolver.Resolver(configure=not nameservers)
    if nameservers:
        client.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in nameservers]
    # A lost datagram or a dead first server must leave time for another try.
    client.timeout = min(2.0, lifetime_s / 3)
    return client


async def _query(
    client: dns.asyncresolver.Resolver, name: str | dns.name.Name, kind: str, *, may_search: bool = False
) -> dns.resolver.Answer:
    import dns.asyncbackend  # noqa: PLC0415
    import dns.name  # noqa: PLC0415

    if isinstance(name, str):
        name = dns.name.from_text(name, None if may_search else dns.name.root)
    return await client.resolve(
        name,
        kind,
        raise_on_no_answer=False,
        search=may_search,
        lifetime=float("inf"),  # the callers bound the whole walk
        backend=dns.asyncbackend.get_backend("asyncio"),
    )


async def _query_addresses(
    client: dns.asyncresolver.Resolver, name: str, kind: str, lifetime_s: float
) -> tuple[tuple[str, ...], str | None]:
    """Return the addresses of one kind (A or AAAA), or why there are none; no such record is no error."""
    try:
        async with asyncio.timeout(lifetime_s):
            asked: str | dns.name.Name = name
            # A name server should follow CNAMEs itself; one that only has the first link in its zone returns that.
            for _ in range(MAX_CNAME_COUNT):
                answer = await _query(client, asked, kind)
                if answer.rrset is not None:
                    return tuple(str(record.address) for record in answer.rrset), None
                if answer.canonical_name == answer.qname:
                    return (), None
                asked = answer.canonical_name
            return (), f"the CNAME chain has more than {MAX_CNAME_COUNT} links or is a loop"
    except TimeoutError:
        return (), f"no answer from DNS within {lifetime_s:g} s"
    except Exception as error:  # noqa: BLE001 - dnspython raises its own, OSError, ValueError; all are DNS trouble
        return (), _error_text(error)


async def _follow_cnames(
    client: dns.asyncresolver.Resolver, name: str, lifetime_s: float, *, may_search: bool = False
) -> tuple[tuple[str, ...], str | None]:
    """Return the chain of canonical names and, where it could not be followed to its end, why.

    Asks for the CNAME record of one name after the other: that also works where the last name has no address, where a
    server does not chase, and for loops, for which recursive servers answer an address query with SERVFAIL. may_search
    tries the system's search domains for a relative name, as getaddrinfo does.
    """
    import dns.name  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    chain: list[str] = []
    try:
        async with asyncio.timeout(lifetime_s):
            asked: str | dns.name.Name = name
            seen: set[dns.name.Name] = set()
            while True:
                answer = await _query(client, asked, "CNAME", may_search=may_search and not chain)
                seen.add(answer.qname)
                if answer.rrset is None:
                    return tuple(chain), None
                target: dns.name.Name = answer.rrset[0].target
                if target in seen:
                    return tuple(chain), f"the CNAME chain is a loop: it comes back to {_text(target)}"
                if len(chain) == MAX_CNAME_COUNT:
                    return tuple(chain), f"the CNAME chain has more than {MAX_CNAME_COUNT} links"
                chain.append(_text(target))
                asked = target
    except TimeoutError:
        return tuple(chain), f"no answer from DNS within {lifetime_s:g} s"
    except dns.resolver.NXDOMAIN:
        # The chain ends in nothing, or the name is not in DNS at all (as names of the hosts file): both are known.
        return tuple(chain), None
    except Exception as error:  # noqa: BLE001 - as above
        return tuple(chain), _error_text(error)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _error_text(error: Exception) -> str:
    text = ""
    with suppress(Exception):  # some of dnspython's exceptions fail to render without their arguments
        text = str(error)
    return (text or type(error).__name__)[:300]
