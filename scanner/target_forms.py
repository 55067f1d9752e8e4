"""One target word (name, address, range, URL, with or without ports) as data. Pure; used by scanner.targets."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

import idna

from scanner.intervals import Intervals

MAX_PORTS = 256
"""Most ports of one target: this program asks about known services, it is no port scanner."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}")
# What a resolver would take for an IPv4 address in an odd notation (10.1, 0x7f000001): never a name.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
_PORT_LOOKALIKES = frozenset({"443", "8443", "636", "993", "995", "465", "3128", "8080"})

NEVER_SCANNED = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # "this network" (RFC 791), with the unspecified address
            "192.0.0.8/32",  # IPv4 dummy address (RFC 7600)
            "192.0.0.170/31",  # NAT64 discovery (RFC 7050): an answer of DNS, not a host
            "224.0.0.0/4",  # multicast (RFC 5771)
            "240.0.0.0/4",  # reserved (RFC 1112), with the limited broadcast address
            "::/128",  # unspecified (RFC 4291)
            "100::/64",  # discard-only (RFC 6666)
            "100:0:0:1::/64",  # dummy prefix (RFC 9780)
            "ff00::/8",  # multicast (RFC 4291)
        ),
    )
)
"""Where no host can be: an error as a target, left out of ranges.

Multicast, and what IANA's special-purpose registries (RFC 6890) say is no destination or discarded. Two kinds of those
may be scanned: loopback, and the blocks for documentation, which tests and examples use.
"""

MAX_IPV6_ADDRESSES = 2**32
"""Most addresses of one IPv6 range: a /64 is not swept in a lifetime."""


_NEVER_SCANNED = {
    version: Intervals((int(net[0]), int(net[-1])) for net in NEVER_SCANNED if net.version == version)
    for version in (4, 6)
}

CREDENTIALS = (
    "credentials don't belong into a target (there is an @ in it)",
    "remove user name and password, none are needed",
)
"""Problem and mend for ``user:password@host``."""


_URL_PORTS = {"http": (80,), "https": None, "socks5": (1080,)}
"""Ports of the schemes, where a URL has none; None: those of the section."""


class FormError(ValueError):
    """A word that is not a target. Neither text repeats the word, which may hold a secret."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend


@dataclass(frozen=True, slots=True, kw_only=True)
class HostForm:
    """One name or address."""

    host: str
    """Canonical: A-labels in lower case without trailing dot, or an address as ipaddress prints it."""
    number: int | None
    """The address as a number (without its zone id); None for a name."""
    version: int | None
    """4 or 6; None for a name."""
    ports: tuple[int, ...] | None
    """Ports written with it; None for none."""
    warning: str = ""
    """What the reading may have got wrong, for people; empty for nothing."""
    scheme: str | None = None
    """Scheme of a URL in lower case; None where it was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeForm:
    """All addresses from first to last, both included."""

    first: int
    """First address as a number; of an IPv4 CIDR block up to /30 the one after the network's address."""
    last: int
    """Last address as a number; of an IPv4 CIDR block up to /30 the one before the broadcast address."""
    version: int
    """4 or 6."""
    ports: tuple[int, ...] | None
    """As in HostForm."""
    whole: tuple[int, int]
    """First and last with network and broadcast address: what an exclude of the block covers."""


def parse_form(word: str, *, may_be_proxy: bool = False) -> HostForm | RangeForm:
    """Return what word names. may_be_proxy allows ``http://host:port`` and ``socks5://host:port``. Raises FormError."""
    if "@" in word:
        raise FormError(*CREDENTIALS)
    if "://" in word:
        return _parse_url(word, may_be_proxy=may_be_proxy)
    body, ports_text = _split_ports(word)
    ports = None if ports_text is None else parse_ports(ports_text)
    base, slash, prefix = body.partition("/")
    if slash:
        return _parse_cidr(base, prefix, ports)
    ends = _maybe_range_ends(body)
    if ends is not None:
        return _parse_range(*ends, ports)
    return _parse_host(body, ports)


def check_scannable(form: HostForm | RangeForm) -> None:
    """Raise FormError where form is no target: no host can be there, or it is an IPv6 range that nobody can sweep.

    Excludes are not asked this: a list of what not to scan may well name such space.
    """
    if isinstance(form, RangeForm):
        first, last = form.first, form.last
    elif form.number is not None:
        first = last = form.number
    else:
        return
    if form.version is not None and not any(_NEVER_SCANNED[form.version].gaps(first, last)):
        raise FormError(
            "multicast, broadcast, reserved and unspecified addresses are not hosts", "write the address of one host"
        )
    if form.version == 6 and last - first >= MAX_IPV6_ADDRESSES:
        raise FormError(
            f"an IPv6 range of more than {MAX_IPV6_ADDRESSES:,} addresses can't be swept",
            "name the hosts, or blocks from /96 on in which they are",
        )


def parse_ports(text: str) -> tuple[int, ...]:
    """Return the ports of ``443`` or ``443,8000-8003``, in order, each once. Raises FormError."""
    ports: dict[int, None] = {}
    for item in text.split(","):
        first_text, dash, last_text = item.strip().partition("-")
        first = _parse_port(first_text)
        last = _parse_port(last_text) if dash else first
        if last < first:
            raise FormError("a port range runs backwards", f"write {last}-{first}")
        ports.update(dict.fromkeys(range(first, last + 1)))
        if len(ports) > MAX_PORTS:
            raise FormError(f"more than {MAX_PORTS} ports for one target", "name the ports that serve TLS")
    return tuple(ports)


def parse_name(text: str) -> str:
    """Return a DNS name in canonical form: UTS 46 mapped, A-labels, lower case, no trailing dot. Raises FormError."""
    if "," in text:
        raise FormError("commas between targets", "write one target a line")
    if "*" in text:
        raise FormError("a wildcard can't be scanned", "list each name on a line of its own")
    name = text.lower() if text.isascii() else _map_unicode(text)
    name = name.removesuffix(".")
    labels = name.split(".")
    if not all(labels):
        raise FormError("a name has an empty label (two dots together, or none at all)", "write host.example.com")
    encoded = ".".join(_encode_label(label) for label in labels)
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise FormError(
            "it is neither a name nor a full IPv4 address", "write four decimal numbers from 0 to 255, as in 192.0.2.7"
        )
    if len(encoded) > 253:
        raise FormError("the name is longer than the 253 characters DNS allows", "check the name for a pasting fault")
    return encoded


def maybe_address(text: str) -> _Address | None:
    """Return the address in text (IPv4-mapped IPv6 as IPv4), or None where it is none. Raises FormError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None and not _ZONE.fullmatch(address.scope_id):
            raise FormError("the zone id after % is not an interface's name", "write fe80::1%eth0")
        if address.ipv4_mapped is not None:
            # The kernel would speak IPv4 to it, and an exclude of the IPv4 address has to hold.
            return address.ipv4_mapped
    return address


def _parse_port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65_535:
        raise FormError("a port is not a number from 1 to 65535", "write 443, 443,8443 or 8000-8003")
    return int(text)


def _parse_url(word: str, *, may_be_proxy: bool) -> HostForm:
    scheme, _, rest = word.partition("://")
    scheme = scheme.lower()
    if scheme == "http" and not may_be_proxy:
        raise FormError("http:// has no TLS to look at", "write https://host/ or host:port (the TLS port)")
    if scheme == "socks5" and not may_be_proxy:
        raise FormError("socks5:// is for forward proxies", "put it under [proxies]")
    if scheme not in _URL_PORTS:
        raise FormError("the URL's scheme is not https", "write https://host:port/ or host:port")
    try:
        host = urlsplit(f"https://{rest}").hostname
        authority = urlsplit(f"https://{rest}").netloc
    except ValueError:
        host, authority = None, ""
    if not host:
        raise FormError("the URL has no host that can be read", "write https://host.example.com:443/")
    # urlsplit cuts host and port well, but lets odd ports through; the ordinary reading checks them.
    body, ports_text = _split_ports(authority.replace("%25", "%"))
    if ports_text == "":
        ports_text = None  # RFC 3986 section 3.2.3: an empty port is the scheme's own
    ports = None if ports_text is None else parse_ports(ports_text)
    if ports is None:
        ports = _URL_PORTS[scheme]
    return replace(_parse_host(body, ports), scheme=scheme)


def _split_ports(word: str) -> tuple[str, str | None]:
    """Return host part (without brackets) and the text of the ports, or None for none."""
    if word.startswith("["):
        return _split_bracketed(word)
    base, slash, rest = word.partition("/")
    if slash:  # a block: what follows the prefix's colon is the ports, also for IPv6
        prefix, colon, ports = rest.partition(":")
        return f"{base}/{prefix}", ports if colon else None
    if word.count(":") == 1:
        host, _, ports = word.partition(":")
        return host, ports
    return word, None


def _split_bracketed(word: str) -> tuple[str, str | None]:
    inside, closed, rest = word[1:].partition("]")
    if not closed or ":" not in inside:
        raise FormError("brackets are for IPv6 addresses", "write [2001:db8::7]:443, and other hosts without brackets")
    if rest.startswith("-["):  # [a]-[b]:ports
        last, closed, rest = rest[2:].partition("]")
        inside = f"{inside}-{last}"
    elif rest.startswith("/"):  # [a]/prefix:ports
        prefix, colon, ports = rest[1:].partition(":")
        return f"{inside}/{prefix}", ports if colon else None
    if rest and not rest.startswith(":"):
        raise FormError("text after ] that is not a port", "write [2001:db8::7]:443")
    return inside, rest[1:] if rest else None


def _parse_host(text: str, ports: tuple[int, ...] | None) -> HostForm:
    address = maybe_address(text)
    if address is not None:
        tail = text.rpartition(":")[2]
        warning = ""
        if address.version == 6 and ports is None and tail in _PORT_LOOKALIKES:
            warning = (
                f"read as one IPv6 address; if {tail} is the port, write the address in brackets: [address]:{tail}"
            )
        return HostForm(host=str(address), number=int(address), version=address.version, ports=ports, warning=warning)
    if ":" in text or "%" in text:
        raise FormError("it is not an IPv6 address", "write 2001:db8::7, or [2001:db8::7]:443 with a port")
    return HostForm(host=parse_name(text), number=None, version=None, ports=ports)


def _parse_cidr(base: str, prefix: str, ports: tuple[int, ...] | None) -> RangeForm:
    address = maybe_address(base)
    if address is None:
        raise FormError("a / is only for address blocks and URLs", "write 192.0.2.0/24, https://host/path or just host")
    if ":" in base and address.version == 4:
        raise FormError("a block of IPv4-mapped addresses", "write it as an IPv4 block: 192.0.2.0/24")
    _refuse_zone(base)
    bits = 32 if address.version == 4 else 128
    if not re.fullmatch(r"[0-9]{1,3}", prefix) or int(prefix) > bits:
        raise FormError(f"the prefix length is not a number from 0 to {bits}", "write the block as 192.0.2.0/24")
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    if network.network_address != address:
        raise FormError("the address is inside the block, not its begin", f"write {network}, or the address alone")
    whole = first, last = int(network[0]), int(network[-1])
    if network.version == 4 and network.prefixlen <= 30:
        first, last = first + 1, last - 1
    return _checked_range(first, last, network.version, ports, whole)


def _maybe_range_ends(text: str) -> tuple[_Address, str] | None:
    """Return first address and text of the last one; None where text is no range (names may hold hyphens)."""
    left, dash, right = text.partition("-")
    first = maybe_address(left) if dash else None
    if first is None or (first.version == 4 and not re.fullmatch(r"[0-9.]*", right)):
        return None
    return first, right


def _parse_range(first: _Address, right: str, ports: tuple[int, ...] | None) -> RangeForm:
    if first.version == 4 and re.fullmatch(r"[0-9]{1,3}", right):
        right = f"{str(first).rpartition('.')[0]}.{right}"
    last = maybe_address(right)
    if last is None or last.version != first.version:
        raise FormError(
            "the range's end is not an address of the same kind",
            "write both ends in full: 192.0.2.5-192.0.2.9 (short for IPv4: 192.0.2.5-9) or 2001:db8::5-2001:db8::9",
        )
    _refuse_zone(f"{first}{last}")
    if int(last) < int(first):
        raise FormError("the range runs backwards", f"write {last}-{first}")
    return _checked_range(int(first), int(last), first.version, ports, (int(first), int(last)))


def _checked_range(
    first: int, last: int, version: int, ports: tuple[int, ...] | None, whole: tuple[int, int]
) -> RangeForm:
    if version == 6 and first <= int(_MAPPED[-1]) and last >= int(_MAPPED[0]):
        raise FormError("the range holds IPv4-mapped addresses", "write them as an IPv4 range")
    return RangeForm(first=first, last=last, version=version, ports=ports, whole=whole)


def _refuse_zone(text: str) -> None:
    if "%" in text:
        raise FormError("a zone id is only for single addresses", "list the addresses one by one: fe80::1%eth0")


def _map_unicode(text: str) -> str:
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except (idna.IDNAError, UnicodeError):
        raise FormError(
            "the name has characters that a domain name can't have", "check the name for a pasting fault"
        ) from None


def _encode_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        if not _LABEL.fullmatch(label):
            raise FormError(
                "a part of the name between dots is not 1 to 63 letters, digits, - or _ (no - at its begin or end)",
                "write one target a line: a name, address, block, range or URL",
            )
        return label
    try:
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise FormError(
            "the name has a part that is no valid internationalised label (IDNA 2008)", "check its spelling"
        ) from None
