"""Entra's registration endpoints as data, and what the DNS says of an ``enterpriseregistration`` name. No network."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cloud(StrEnum):
    """Microsoft's clouds that have a registration service of their own."""

    GLOBAL = "global"
    USGOV = "usgov"
    CHINA = "china"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraSource:
    """A document that a statement about an endpoint rests on."""

    id: str
    """Short name, used in the data file."""
    title: str
    """Document title."""
    url: str
    """Public address."""
    repository_path: str
    """``owner/repository:path`` of the document's text."""
    dated: str
    """The document's own date, as exact as known; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraEndpoint:
    """One host that devices contact to register, in one cloud. A host needed in two clouds is there twice."""

    name: str
    """DNS name, lower case, without trailing dot."""
    cloud: Cloud
    """The cloud it is needed in."""
    purpose: str
    """What it is for, one line for people."""
    needed: str
    """When it is needed: ``always``, ``seamless SSO only``."""
    must_not_be_inspected: bool
    """True where no proxy may break and inspect TLS to it."""
    inspection_sources: tuple[EntraSource, ...]
    """Documents that name this very host in that rule; empty where the rule is concluded from the global cloud's."""
    sources: tuple[EntraSource, ...]
    """Documents that say the host is needed; at least one."""
    is_verified: bool
    """False where only field notes, and no document of Microsoft's, say that it is needed here."""
    is_drs: bool = False
    """True for the names of the registration service itself."""
    takes_client_certificate: bool = False
    """True where the device proves itself with a certificate, which can't survive interception."""
    is_scanned: bool = True
    """False where it is listed for information and left out of ``@entra:CLOUD``."""
    port: int = 443
    """TCP port."""

    @property
    def is_inspection_rule_verified(self) -> bool:
        """Whether a document names this host where must_not_be_inspected is set."""
        return not self.must_not_be_inspected or bool(self.inspection_sources)


@cache
def entra_endpoints(cloud: str | None = None) -> tuple[EntraEndpoint, ...]:
    """Return the endpoints of one cloud (a Cloud value), or of all, in the data file's order.

    Raises ValueError for a cloud that is not known.
    """
    if cloud is None:
        return _load()
    wanted = Cloud(cloud)
    return tuple(endpoint for endpoint in _load() if endpoint.cloud is wanted)


@cache
def entra_endpoints_version() -> str:
    """Return the version of the endpoint data, to be shown beside what was concluded from it."""
    return str(_read()["version"])


@cache
def entra_names() -> frozenset[str]:
    """Return every name in the data, of all clouds."""
    return frozenset(endpoint.name for endpoint in _load())


@cache
def _read() -> dict[str, Any]:
    text = resources.files("scanner.data").joinpath("entra_endpoints.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    if data["schema"] != 1:
        raise ValueError(f"entra_endpoints.toml has schema {data['schema']}, this program reads 1")
    return data


@cache
def _load() -> tuple[EntraEndpoint, ...]:
    data = _read()
    sources = {source_id: EntraSource(id=source_id, **entry) for source_id, entry in data["sources"].items()}
    return tuple(
        EntraEndpoint(
            **entry
            | {
                "cloud": Cloud(entry["cloud"]),
                "sources": tuple(sources[source_id] for source_id in entry["sources"]),
                "inspection_sources": tuple(sources[source_id] for source_id in entry["inspection_sources"]),
            }
        )
        for entry in data["endpoints"]
    )


class DrsPlace(StrEnum):
    """Who runs the registration service behind a name."""

    CLOUD = "cloud"
    """Microsoft."""
    ON_PREMISES = "on-premises"
    """The organisation: AD FS, or a Web Application Proxy in front of it."""
    UNKNOWN = "unknown"
    """The name or its DNS does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsPlacement:
    """What a name and its CNAME chain say about who runs the registration service behind it."""

    place: DrsPlace
    """Who runs it."""
    cloud: Cloud | None
    """Which cloud, where place is CLOUD. Tenants of other clouds use the global name too, so GLOBAL is no proof."""
    canonical_name: str | None
    """The service's own name in the chain, to be used as SNI: its certificate may lack the custom name."""
    reason: str
    """One sentence for people."""
    is_certain: bool
    """True where one of the service's published names was met; False where the conclusion is an inference."""


# The zone that a custom name's chain ends in (inference from hybrid-join-manual and AD FS's requirements).
_CLOUD_ZONES = {
    "windows.net": Cloud.GLOBAL,
    "microsoftonline.us": Cloud.USGOV,
    "partner.microsoftonline.cn": Cloud.CHINA,
}
# Names in these zones are Microsoft's own: never a customer's AD FS, and DRS only by their exact published name.
_MICROSOFT_ZONES = (*_CLOUD_ZONES, "microsoftonline.com", "microsoftonline.cn", "microsoft.com", "microsoft.us")

_REGISTRATION_LABEL = "enterpriseregistration"


def classify_cname_chain(
    name: str, chain: Sequence[str], *, has_address: bool = True, is_chain_known: bool = True
) -> DrsPlacement:
    """Return who runs the registration service behind name.

    chain holds the canonical names passed on the way, in order, without name itself (Resolution.cname_chain).
    has_address is False where the name has no address; is_chain_known is False where the chain could not be learned.
    The published names may have aliases of their own, so they count anywhere in the chain, a zone only at its end.
    """
    asked = _fold(name)
    passed = tuple(_fold(item) for item in chain)
    by_name = _maybe_by_published_name(asked, passed)
    if by_name is not None:
        return by_name
    if not is_registration_name(asked):
        return _unknown("It is not a registration name (enterpriseregistration.DOMAIN).")
    if passed and (zone := _maybe_zone(passed[-1], tuple(_CLOUD_ZONES))):
        reason = f"Its CNAME chain ends at {passed[-1]}, in Microsoft's zone {zone}."
        return _cloud(passed[-1], _CLOUD_ZONES[zone], reason, is_certain=False)
    if not (has_address and is_chain_known):
        what = "Its CNAME chain could not be learned." if has_address else "It has no address."
        return _unknown(f"{what} For hybrid join to the cloud alone the name is not needed.")
    return DrsPlacement(
        place=DrsPlace.ON_PREMISES,
        cloud=None,
        canonical_name=None,
        reason="It has an address and no CNAME to Microsoft's registration service: AD FS or a Web Application Proxy.",
        is_certain=False,
    )


def _maybe_by_published_name(asked: str, passed: tuple[str, ...]) -> DrsPlacement | None:
    if asked in _drs_clouds():
        return _cloud(asked, _drs_clouds()[asked], "It is the registration service's own name.", is_certain=True)
    if _maybe_zone(asked, _MICROSOFT_ZONES) or asked in entra_names():
        return _unknown("It is a name of Microsoft's, but not one of the registration service's.")
    alias = next((item for item in passed if item in _drs_clouds()), None)
    if alias is None:
        return None
    return _cloud(alias, _drs_clouds()[alias], f"It is an alias of {alias}.", is_certain=True)


def is_registration_name(name: str) -> bool:
    """Return whether name has the form ``enterpriseregistration.DOMAIN``."""
    label, dot, domain = _fold(name).partition(".")
    return label == _REGISTRATION_LABEL and bool(dot) and bool(domain)


@cache
def _drs_clouds() -> dict[str, Cloud]:
    # The first mention wins: windows.net's name is the global cloud's, though other clouds' tenants need it too.
    return {endpoint.name: endpoint.cloud for endpoint in reversed(_load()) if endpoint.is_drs}


def _fold(name: str) -> str:
    return name.removesuffix(".").lower()


def _maybe_zone(name: str, zones: tuple[str, ...]) -> str | None:
    """Return the zone that name is or is below, compared by whole labels: evilwindows.net is not in windows.net."""
    return next((zone for zone in zones if name == zone or name.endswith("." + zone)), None)


def _cloud(canonical_name: str, cloud: Cloud, reason: str, *, is_certain: bool) -> DrsPlacement:
    return DrsPlacement(
        place=DrsPlace.CLOUD, cloud=cloud, canonical_name=canonical_name, reason=reason, is_certain=is_certain
    )


def _unknown(reason: str) -> DrsPlacement:
    return DrsPlacement(place=DrsPlace.UNKNOWN, cloud=None, canonical_name=None, reason=reason, is_certain=False)
