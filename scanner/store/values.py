"""The parts of a packed host, as types and as msgpack holds them: targets, endpoints, engine reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

from scanner.model.exchange import Ending, EngineReport
from scanner.model.runs import Resolution
from scanner.model.subjects import Endpoint, Role, Target, Upgrade
from scanner.model.versions import TlsVersion
from scanner.store.blobs import Packed, Unpacked, pack_content, too_new, unpack_packed
from scanner.store.hello_forms import digest_of

_E = TypeVar("_E", bound=StrEnum)

# Codes are places in these: new members are added at the end.
_ENDINGS: Final = (
    Ending.COMPLETE,
    Ending.PEER_CLOSED,
    Ending.PEER_RESET,
    Ending.TIMED_OUT_CONNECT,
    Ending.TIMED_OUT_READ,
    Ending.REFUSED,
    Ending.UNREACHABLE,
    Ending.UPGRADE_DECLINED,
    Ending.OVERSIZE,
    Ending.LOCAL_FAILURE,
    Ending.CANCELLED,
)
ENDING_CODES: Final = {ending.value: code for code, ending in enumerate(_ENDINGS)}
GENERAL: Final = -1
"""In the place of a form: the exchange is no hello of a known form, and all its fields follow."""
FIRST_SETTINGS: Final = 0
"""The settings of most questions."""
HELLO_TAIL: Final[Unpacked] = (None, FIRST_SETTINGS, b"")
"""What is left out at the end of a hello: no error, the first settings, nothing sent after it."""


def encode_deadline(deadline_s: float) -> float:
    """Return seconds as msgpack is to hold them."""
    # As an integer where it is one: eight bytes less.
    is_small = deadline_s % 1 == 0 and abs(deadline_s) < 2**53
    return int(deadline_s) if is_small else deadline_s


def encode_elapsed(elapsed_s: float) -> float:
    """Return microseconds (an int) where they say it exactly, else the seconds themselves (a float)."""
    if 0 <= elapsed_s < 2**31:
        elapsed_us = round(elapsed_s * 1e6)
        if elapsed_us / 1e6 == elapsed_s:
            return elapsed_us
    return float(elapsed_s)


_TEMPLATE: Final = b"\x02"


def encode_target(target: Target) -> tuple[Packed, bytes | None]:
    """Return what stands for a target, and the part it refers to: addresses of one range differ in the host only."""
    rest = (
        target.text, target.role.value, target.ports, target.optional_ports, target.server_name, target.vendor,
        target.farm, target.tags, target.is_from_range, target.cloud, target.locator,
        *(() if target.proxy is None else (target.proxy.value,)),
    )  # fmt: skip
    if not target.is_from_range:
        return [target.host, *rest], None
    digest, part = _encode_template(rest)
    return [digest, target.host], part


@lru_cache(maxsize=1024)
def _encode_template(rest: Unpacked) -> tuple[bytes, bytes]:
    part = _TEMPLATE + pack_content(rest)
    return digest_of(part), part


def decode_target(stored: Unpacked, parts: Mapping[bytes, bytes]) -> Target:
    """Return the target; parts: shared parts by digest. Raises KeyError for a part that is not there."""
    if isinstance(stored[0], bytes):
        part = parts[stored[0]]
        if part[:1] != _TEMPLATE:
            raise too_new(f"a target of kind {part[:1].hex()}")
        stored = (stored[1], *unpack_packed(part[1:]))
    first, later = stored[:12], stored[12:]
    host, text, role, ports, optional_ports, server_name, vendor, farm, tags, is_from_range, cloud, locator = first
    (proxy,) = later or (None,)
    return Target(
        text=text,
        host=host,
        role=decode_member(Role, role),
        ports=ports,
        optional_ports=optional_ports,
        server_name=server_name,
        vendor=vendor,
        farm=farm,
        tags=tags,
        is_from_range=is_from_range,
        cloud=cloud,
        locator=locator,
        proxy=None if proxy is None else decode_member(Upgrade, proxy),
    )


def encode_resolution(resolution: Resolution) -> Packed:
    """Return what stands for a resolution."""
    return [resolution.addresses, resolution.cname_chain, resolution.error, resolution.cname_error]


def decode_resolution(stored: Unpacked) -> Resolution:
    """Return the resolution that encode_resolution was given."""
    addresses, cname_chain, error, cname_error = stored
    return Resolution(addresses=addresses, cname_chain=cname_chain, error=error, cname_error=cname_error)


def encode_endpoint(endpoint: Endpoint, host: str, resolution: Resolution, server_name: str | None) -> Any:
    """Return the port alone where the rest is what it nearly always is."""
    addresses = resolution.addresses
    address: str | int = addresses.index(endpoint.address) if endpoint.address in addresses else endpoint.address
    if (
        address == 0
        and endpoint.host == host
        and endpoint.server_name == server_name
        and endpoint.upgrade is Upgrade.NONE
        and endpoint.destination is None
        and not endpoint.is_optional
    ):
        return endpoint.port
    return [
        None if endpoint.host == host else endpoint.host, address, endpoint.port, endpoint.server_name,
        endpoint.upgrade.value, endpoint.is_optional,
        *(() if endpoint.destination is None else (endpoint.destination,)),
    ]  # fmt: skip


def decode_endpoint(stored: Any, host: str, resolution: Resolution, server_name: str | None) -> Endpoint:
    """Return the endpoint that encode_endpoint was given with the same other arguments."""
    if isinstance(stored, int):
        return Endpoint(host=host, address=resolution.addresses[0], port=stored, server_name=server_name)
    own_host, address, port, own_server_name, upgrade, is_optional = stored[:6]
    (destination,) = stored[6:] or (None,)
    return Endpoint(
        host=host if own_host is None else own_host,
        address=resolution.addresses[checked_index(address)] if isinstance(address, int) else address,
        port=port,
        server_name=own_server_name,
        upgrade=decode_member(Upgrade, upgrade),
        is_optional=is_optional,
        destination=destination,
    )


def decode_engine(stored: Unpacked, certificates: Sequence[bytes]) -> EngineReport:
    """Return an engine report; certificates: the host's, in order."""
    engine, completed, cipher_suite, chain, client_certificate_requested, error = stored
    return EngineReport(
        engine=engine,
        completed=completed,
        cipher_suite=cipher_suite,
        chain_der=tuple(certificates[checked_index(place)] for place in chain),
        client_certificate_requested=client_certificate_requested,
        error=error,
    )


def decode_version(label: str) -> TlsVersion:
    """Return the version with this label; raises StoreError for one that a later program added."""
    try:
        return TlsVersion.from_label(label)
    except KeyError as error:
        raise too_new(f"TlsVersion {label!r}") from error


def decode_ending(code: int) -> Ending:
    """Return the ending with this code; raises StoreError for one that a later program added."""
    if checked_index(code) >= len(_ENDINGS):
        raise too_new(f"the ending {code}")
    return _ENDINGS[code]


def decode_member(kind: type[_E], value: str) -> _E:
    """Return the member with this value; raises StoreError for one that a later program added."""
    try:
        return kind(value)
    except ValueError as error:
        raise too_new(f"{kind.__name__} {value!r}") from error


def checked_index(place: int) -> int:
    """Return place; raises IndexError where Python would count from the end."""
    if place < 0:
        raise IndexError(place)
    return place
