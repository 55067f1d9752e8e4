"""What the listener serves over TLS: federation metadata for AD FS, and what the visitor's client offered. Pure.

OASIS saml-metadata-2.0-os; WS-Federation 1.2 section 3.1. Everything else is a 404.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from scanner.listener.identity import DEFAULT_NAME, maybe_dns_name
from scanner.tls.ja4 import render_ja4

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scanner.model.versions import TlsVersion
    from scanner.tls.client_hello import ClientHello

MAX_PATH_LENGTH = 256
"""Longest path kept or looked at, in characters."""

_METADATA_NAME = "/federationmetadata.xml"
_TOKEN_PREFIXES = ("/t/", "/p/")
_MAX_LISTED = 512
_MAX_TEXT = 253

_GROUPS = {
    0x0015: "secp224r1",
    0x0016: "secp256k1",
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x0019: "secp521r1",
    0x001A: "brainpoolP256r1",
    0x001B: "brainpoolP384r1",
    0x001C: "brainpoolP512r1",
    0x001D: "x25519",
    0x001E: "x448",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x0102: "ffdhe4096",
    0x0103: "ffdhe6144",
    0x0104: "ffdhe8192",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
}
"""IANA registry "TLS Supported Groups": those that clients of today send."""

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}"
    "dt{font-weight:600;margin-top:.75rem}dd{margin:0}code{font-family:ui-monospace,monospace}"
)
_STYLE_HASH = f"sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}"

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src '{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


@dataclass(slots=True, kw_only=True)
class Visitor:
    """Who is served."""

    hello: ClientHello
    """What the client sent first."""
    version: TlsVersion
    """The only version it was answered with."""
    suite: str | None = None
    """The suite's name as the engine gives it, once the handshake is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One HTTP response."""

    status: int
    """Status code."""
    reason: str
    """Reason phrase."""
    content_type: str = "text/plain; charset=utf-8"
    """Media type."""
    body: bytes = b""
    """Content."""
    headers: tuple[tuple[str, str], ...] = _HEADERS
    """Further fields."""


def render_page(method: str, target: str, accept: str, visitor: Visitor) -> Page:
    """Return the answer to one request: its method, request target and Accept field as they came."""
    if method not in {"GET", "HEAD"}:
        allow = (("Allow", "GET, HEAD"), *_HEADERS)
        return Page(status=405, reason="Method Not Allowed", body=b"GET and HEAD only\n", headers=allow)
    path = _path_of(target)
    if path.lower().endswith(_METADATA_NAME):
        metadata = _render_metadata(visitor.hello.server_name)
        return Page(status=200, reason="OK", content_type="application/samlmetadata+xml", body=metadata)
    if path != "/" and not path.startswith(_TOKEN_PREFIXES):
        return Page(status=404, reason="Not Found", body=b"not found\n")
    if "application/json" in accept.lower():
        body = json.dumps(describe(visitor), indent=1).encode() + b"\n"
        return Page(status=200, reason="OK", content_type="application/json", body=body)
    return Page(status=200, reason="OK", content_type="text/html; charset=utf-8", body=_render_html(visitor))


def describe(visitor: Visitor) -> dict[str, object]:
    """Return what the visitor's client offered and settled for; the JSON form of the page."""
    hello = visitor.hello
    return {
        "settled": {"version": visitor.version.label, "suite": visitor.suite},
        "offered": {
            "versions": [version.label for version in hello.offered()],
            "versions_are_exact": hello.supported_versions is not None,
            "suites": [f"0x{suite:04X}" for suite in hello.suites[:_MAX_LISTED]],
            "groups": [_group(group) for group in hello.groups[:_MAX_LISTED]],
            "alpn": [_text(name) for name in hello.alpn[:_MAX_LISTED]],
            "server_name": None if hello.server_name is None else hello.server_name[:_MAX_TEXT],
            "is_ssl2_format": hello.is_ssl2_format,
        },
        "ja4": render_ja4(hello),
    }


def _path_of(target: str) -> str:
    """Return the path of a request target in origin form or absolute form (RFC 9112 section 3.2), without query."""
    path = target.partition("?")[0]
    if path.lower().startswith(("https://", "http://")):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path if len(path) <= MAX_PATH_LENGTH else ""


def _render_metadata(server_name: str | None) -> bytes:
    """Return a relying party's metadata with one passive endpoint.

    AD FS imports it without a signature (unproven here: the project has no AD FS; others' unsigned documents are
    accepted), and wants endpoints with https.
    """
    place = quoteattr(f"https://{maybe_dns_name(server_name) or DEFAULT_NAME}/")
    address = place[1:-1]  # a DNS name holds nothing that would need escaping
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID={place}>\n'
        '  <RoleDescriptor xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706" xsi:type="fed:ApplicationServiceType"'
        ' protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706">\n'
        "    <fed:TargetScopes>\n"
        '      <EndpointReference xmlns="http://www.w3.org/2005/08/addressing">'
        f"<Address>{address}</Address></EndpointReference>\n"
        "    </fed:TargetScopes>\n"
        "    <fed:PassiveRequestorEndpoint>\n"
        '      <EndpointReference xmlns="http://www.w3.org/2005/08/addressing">'
        f"<Address>{address}</Address></EndpointReference>\n"
        "    </fed:PassiveRequestorEndpoint>\n"
        "  </RoleDescriptor>\n"
        "</EntityDescriptor>\n"
    ).encode()


def _render_html(visitor: Visitor) -> bytes:
    hello = visitor.hello
    offered = ", ".join(version.title for version in hello.offered()) or "none known here"
    if hello.supported_versions is None:
        offered = f"at most {offered}; what lies below it was not said"
    rows = (
        ("This connection", f"{visitor.version.title}, {visitor.suite or 'suite unknown'}"),
        ("Versions your client offered", offered),
        ("Cipher suites", _join(f"0x{suite:04X}" for suite in hello.suites[:_MAX_LISTED])),
        ("Groups", _join(_group(group) for group in hello.groups[:_MAX_LISTED])),
        ("ALPN", _join(_text(name) for name in hello.alpn[:_MAX_LISTED])),
        ("Server name (SNI)", (hello.server_name or "none")[:_MAX_TEXT]),
        ("JA4", render_ja4(hello) or "none"),
        ("Form of the hello", "SSLv2" if hello.is_ssl2_format else "TLS"),
    )
    listed = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd>" for name, value in rows)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>What your TLS client offered</title><style>{_STYLE}</style></head><body><main>"
        "<h1>What your TLS client offered</h1>"
        "<p>This listener answers with one protocol version at a time, to learn which ones the client settles for. "
        "What stands here is recorded; of the request, only its path is.</p>"
        f"<dl>{listed}</dl></main></body></html>\n"
    ).encode("utf-8", "backslashreplace")


def _join(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _group(number: int) -> str:
    return _GROUPS.get(number, f"0x{number:04X}")


def _text(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")
