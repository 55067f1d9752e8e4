"""The documents that AD FS and the registration service publish without credentials, decoded safely. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

_METADATA = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_FEDERATION = "http://docs.oasis-open.org/wsfed/federation/200706"
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_MAX_DEPTH = 64
_MAX_FIELD_COUNT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDocument:
    """Bytes that are not the document looked for."""

    reason: str
    """Why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationMetadata:
    """A SAML 2.0 metadata document with what WS-Federation 1.2 adds to it. All text is from the network."""

    entity_id: str
    """The entity's identifier; empty where it has none."""
    roles: tuple[str, ...]
    """The WS-Federation role types, such as ``SecurityTokenServiceType`` (WS-Federation 1.2 section 3.1.2)."""
    is_whole: bool
    """False where the document breaks off: roles may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsDocument:
    """A discovery document of the device registration service. All text is from the network."""

    fields: tuple[tuple[str, str], ...]
    """Values by path, such as ``("DeviceJoinService.JoinEndpoint", "https://...")``."""

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections' names, in the order met."""
        return tuple(dict.fromkeys(path.partition(".")[0] for path, _ in self.fields))

    def field(self, path: str) -> str | None:
        """Return the value at a path, or None."""
        return next((value for key, value in self.fields if key == path), None)


class _MetadataTarget:
    """Keeps what is wanted of the metadata while it is read, so that no tree is built and a cut-off tells its begin."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.entity_id: str | None = None
        self.roles: list[str] = []
        self._namespaces: dict[str, list[str]] = {}

    def start_ns(self, prefix: str, uri: str) -> None:
        self._namespaces.setdefault(prefix or "", []).append(uri)

    def end_ns(self, prefix: str) -> None:
        self._namespaces[prefix or ""].pop()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = self.root or tag
        if tag == _METADATA + "EntityDescriptor" and self.entity_id is None:
            self.entity_id = attributes.get("entityID", "")
        if tag == _METADATA + "RoleDescriptor":
            # The type is a qualified name in an attribute's value, which XML parsers do not resolve.
            prefix, _, local = attributes.get(_XSI_TYPE, "").strip().rpartition(":")
            if self._namespaces.get(prefix, [""])[-1:] == [_FEDERATION] and len(self.roles) < _MAX_FIELD_COUNT:
                self.roles.append(local)

    def end(self, tag: str) -> None:
        pass

    def close(self) -> None:
        pass


class _FieldsTarget:
    """Keeps the text of elements without children by their path below the root."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._is_leaf = False

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        if len(self._path) >= _MAX_DEPTH:
            raise ValueError("nested too deeply")
        self._path.append(tag.rpartition("}")[2])
        self._text.clear()
        self._is_leaf = True

    def data(self, data: str) -> None:
        self._text.append(data)

    def end(self, _tag: str) -> None:
        if self._is_leaf and len(self._path) > 1 and len(self.fields) < _MAX_FIELD_COUNT:
            self.fields.append((".".join(self._path[1:]), "".join(self._text).strip()))
        self._is_leaf = False
        self._path.pop()

    def close(self) -> None:
        pass


def _feed(target: _MetadataTarget | _FieldsTarget, body: bytes) -> str | None:
    """Parse body into target; return why it could not be parsed to its end, or None."""
    # Neither document has a document type, so one is refused: without it there are no entities to expand or to fetch.
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
    except DefusedXmlException:
        return "the XML has a document type declaration, which is not read"
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that does not exist
        return f"the XML can't be parsed: {error}"
    return None


def decode_federation_metadata(body: bytes) -> FederationMetadata | NoDocument:
    """Decode FederationMetadata.xml; never raises. A document that breaks off is decoded as far as it goes."""
    target = _MetadataTarget()
    trouble = _feed(target, body)
    if target.entity_id is None:
        if trouble is None:
            trouble = f"the XML is a {(target.root or '').rpartition('}')[2]} and no EntityDescriptor"
        return NoDocument(reason=trouble)
    return FederationMetadata(
        entity_id=target.entity_id, roles=tuple(dict.fromkeys(target.roles)), is_whole=trouble is None
    )


def decode_drs_document(body: bytes) -> DrsDocument | NoDocument:
    """Decode a discovery document, JSON or XML ([MS-DVRD]); never raises.

    It is one where it has a DeviceRegistrationService or a DeviceJoinService with something in it.
    """
    fields: list[tuple[str, str]] = []
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        target = _FieldsTarget()
        trouble = _feed(target, body)
        if trouble is not None:
            return NoDocument(reason=trouble)
        fields = target.fields
    else:
        try:
            _flatten(json.loads(body), "", fields, depth=0)
        except (ValueError, RecursionError) as error:
            return NoDocument(reason=f"the JSON can't be parsed: {error}")
    document = DrsDocument(fields=tuple(fields))
    if not {"DeviceRegistrationService", "DeviceJoinService"} & {
        path.partition(".")[0] for path, _ in fields if "." in path
    }:
        return NoDocument(reason="it has neither DeviceRegistrationService nor DeviceJoinService")
    return document


def _flatten(value: Any, path: str, fields: list[tuple[str, str]], *, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{path}.{key}" if path else str(key), fields, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _flatten(inner, path, fields, depth=depth + 1)
    elif len(fields) < _MAX_FIELD_COUNT:
        fields.append((path, "" if value is None else str(value)))
