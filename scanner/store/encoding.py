"""Between records and rows: pure, exact, and compact. ``decode_host(encode_host(record)) == record``.

All bytes of a host (hellos and replies, in order) are compressed as one, because its replies repeat each other's
certificates and its hellos each other's suites. Two dictionaries help: the host's certificates, which are stored once
for the whole database, and what the run's first hosts had on the wire (its hellos, mostly).
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Role, Target, Upgrade
from scanner.model.versions import TlsVersion
from scanner.store.stored import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# First byte of a stored byte string: how the rest is to be read.
_PLAIN: Final = b"\x00"
_DEFLATED: Final = b"\x01"
_DEFLATED_WITH_RUN: Final = b"\x02"

# The window is 32 KiB and must also hold the host's certificates and its own bytes to be of use.
_MAX_DICTIONARY_BYTES: Final = 12_288
_MIN_DICTIONARY_EXCHANGES: Final = 4
# RFC 8446 section 4.4.2: cert_data<1..2^24-1>.
_MAX_CERTIFICATE_BYTES: Final = 2**24

# A noncharacter that opens text which a database can't hold as it is (NUL, lone surrogates from odd arguments).
_ESCAPED: Final = "\ufdd0"

_E = TypeVar("_E", bound=StrEnum)
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRows:
    """One host as rows, without its run and position, which the store adds."""

    host: _Row
    """The row of ``hosts``."""
    endpoints: list[_Row]
    """The rows of ``endpoints``, each with its ordinal."""
    exchanges: list[_Row]
    """The rows of ``exchanges``, each with its ordinal."""
    certificates: tuple[bytes, ...]
    """The different certificates (DER) the host sent, in the order seen; engine reports point into it."""


def encode_certificate(der: bytes) -> _Row:
    """Return the row of ``certificates`` without its id; sha256 (32 bytes) is what certificates are told apart by."""
    return {"sha256": hashlib.sha256(der).digest(), "der": encode_bytes(der)}


def decode_certificate(stored: bytes) -> bytes:
    """Return the DER of a stored certificate; raises StoreError where it is damaged."""
    return decode_bytes(stored)


def encode_time(moment: datetime) -> int:
    """Return microseconds since 1970 (UTC), exactly; raises ValueError for a time without zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone can't be stored")
    return (moment - _EPOCH) // _MICROSECOND


def decode_time(microseconds: int) -> datetime:
    """Return the UTC time for microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def encode_text(text: str) -> str:
    """Return text as any database can hold it: itself, except where it has NUL or lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        if "\0" not in text and not text.startswith(_ESCAPED):
            return text
    return _ESCAPED + text.encode("unicode_escape").decode("ascii")


def decode_text(stored: str) -> str:
    """Return the text that encode_text was given."""
    if stored.startswith(_ESCAPED):
        return stored[len(_ESCAPED) :].encode("ascii").decode("unicode_escape")
    return stored


def _encode_maybe_text(text: str | None) -> str | None:
    return None if text is None else encode_text(text)


def _decode_maybe_text(stored: str | None) -> str | None:
    return None if stored is None else decode_text(stored)


def encode_bytes(content: bytes, *, run_dictionary: bytes | None = None, dictionary: bytes = b"") -> bytes:
    """Return content with a first byte that says how the rest is to be read; compressed where that is smaller.

    run_dictionary is the run's (None where it has none yet); dictionary is the host's own.
    """
    zdict = (run_dictionary or b"") + dictionary
    compressor = zlib.compressobj(
        zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY, zdict
    )
    deflated = compressor.compress(content) + compressor.flush()
    if len(deflated) >= len(content):
        return _PLAIN + content
    return (_DEFLATED if run_dictionary is None else _DEFLATED_WITH_RUN) + deflated


def decode_bytes(
    stored: bytes, *, size: int | None = None, run_dictionary: bytes | None = None, dictionary: bytes = b""
) -> bytes:
    """Return the content that encode_bytes was given; size is its length in bytes, None for a certificate.

    Raises StoreError where it is damaged or of a kind this version does not know.
    """
    kind, body = stored[:1], stored[1:]
    limit = _MAX_CERTIFICATE_BYTES if size is None else size
    if kind == _PLAIN:
        content = body
    elif kind in {_DEFLATED, _DEFLATED_WITH_RUN}:
        zdict = (run_dictionary or b"" if kind == _DEFLATED_WITH_RUN else b"") + dictionary
        decompressor = zlib.decompressobj(zlib.MAX_WBITS, zdict)
        try:
            # Bounded, so that a doctored database can't fill the memory; the one more is for the checksum to be read.
            content = decompressor.decompress(body, limit + 1)
        except zlib.error as error:
            raise StoreError(f"stored bytes are damaged ({error})") from error
        if not decompressor.eof or len(content) > limit:
            # The checksum stands at the end: what has no end is not known to be right.
            raise StoreError("stored bytes are damaged (too short or too long)")
    else:
        raise StoreError(f"stored bytes are of kind {kind.hex() or 'none'}, which this version does not know")
    if size is not None and len(content) != size:
        raise StoreError(f"stored bytes are damaged ({len(content)} bytes where {size} should be)")
    return content


def plan_dictionary(record: HostRecord) -> bytes | None:
    """Return what a run's later hosts will likely repeat of this one's bytes, or None where it says too little."""
    if sum(bool(exchange.sent) for exchange in record.exchanges) < _MIN_DICTIONARY_EXCHANGES:
        return None
    candidates = [exchange.sent for exchange in record.exchanges] + [exchange.received for exchange in record.exchanges]
    dictionary = b""
    for content in candidates:
        news = len(encode_bytes(content, dictionary=dictionary))
        if content and 2 * news > len(content) and len(dictionary) + len(content) <= _MAX_DICTIONARY_BYTES:
            dictionary += content
    return dictionary


def encode_host(record: HostRecord, run_dictionary: bytes | None) -> HostRows:
    """Return a record's rows; run_dictionary is its run's, None where it has none yet."""
    ordinals: dict[Endpoint, int] = {}
    endpoints = [
        _encode_endpoint(endpoint, ordinal, is_listed=True) for ordinal, endpoint in enumerate(record.endpoints)
    ]
    for ordinal, endpoint in enumerate(record.endpoints):
        ordinals.setdefault(endpoint, ordinal)
    certificates: dict[bytes, int] = {}
    exchanges: list[_Row] = []
    wire: list[bytes] = []
    for ordinal, exchange in enumerate(record.exchanges):
        endpoint = exchange.request.endpoint
        if endpoint not in ordinals:
            ordinals[endpoint] = len(endpoints)
            endpoints.append(_encode_endpoint(endpoint, len(endpoints), is_listed=False))
        wire += (exchange.sent, exchange.received)
        exchanges.append(_encode_exchange(exchange, ordinal, ordinals[endpoint], certificates))
    chain = tuple(certificates)
    return HostRows(
        host={
            "host": encode_text(record.target.host),
            "target": _encode_target(record.target),
            "resolution": _encode_resolution(record.resolution),
            "stopped": _encode_maybe_text(record.stopped),
            "wire": encode_bytes(b"".join(wire), run_dictionary=run_dictionary, dictionary=b"".join(chain)),
        },
        endpoints=endpoints,
        exchanges=exchanges,
        certificates=chain,
    )


def decode_host(
    host: Mapping[str, Any],
    endpoint_rows: Sequence[Mapping[str, Any]],
    exchange_rows: Sequence[Mapping[str, Any]],
    certificates: Sequence[bytes],
    run_dictionary: bytes | None,
) -> HostRecord:
    """Return the record that encode_host was given; rows come in the order of their ordinals.

    Raises StoreError where something is damaged, or was written by a version that knows more than this one.
    """
    try:
        endpoints = [_decode_endpoint(row) for row in endpoint_rows]
        wire = decode_bytes(
            host["wire"],
            size=sum(row["sent_bytes"] + row["received_bytes"] for row in exchange_rows),
            run_dictionary=run_dictionary,
            dictionary=b"".join(certificates),
        )
        exchanges = []
        begin = 0
        for row in exchange_rows:
            middle = begin + row["sent_bytes"]
            end = middle + row["received_bytes"]
            endpoint = endpoints[row["endpoint_ordinal"]]
            exchanges.append(_decode_exchange(row, endpoint, wire[begin:middle], wire[middle:end], certificates))
            begin = end
        return HostRecord(
            target=_decode_target(host["target"]),
            resolution=_decode_resolution(host["resolution"]),
            endpoints=tuple(endpoints[ordinal] for ordinal, row in enumerate(endpoint_rows) if row["is_listed"]),
            exchanges=tuple(exchanges),
            stopped=_decode_maybe_text(host["stopped"]),
        )
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise StoreError(f"the stored host {host['host']!r} is damaged ({type(error).__name__}: {error})") from error


def _member(kind: type[_E], value: str) -> _E:
    try:
        return kind(value)
    except ValueError as error:
        raise _too_new(f"{kind.__name__} {value!r}") from error


def _too_new(what: str) -> StoreError:
    return StoreError(f"the store holds {what}, which this version does not know: a newer version wrote it")


def _compact(values: _Row) -> _Row:
    # None, False and empty lists are left out; decoding puts them back by name, whatever defaults the types have then.
    return {name: value for name, value in values.items() if not (value is None or value is False or value == [])}


def _reject_unknown(stored: Mapping[str, Any], names: frozenset[str], what: str) -> None:
    if unknown := stored.keys() - names:
        raise _too_new(f"{what} with {', '.join(sorted(unknown))}")


_TARGET_NAMES: Final = frozenset(field.name for field in fields(Target))
_RESOLUTION_NAMES: Final = frozenset(field.name for field in fields(Resolution))
_ENGINE_NAMES: Final = frozenset({field.name for field in fields(EngineReport)} - {"chain_der"} | {"chain"})


def _encode_target(target: Target) -> _Row:
    return _compact(
        {
            "text": target.text,
            "host": target.host,
            "role": target.role.value,
            "ports": list(target.ports),
            "optional_ports": list(target.optional_ports),
            "server_name": target.server_name,
            "vendor": target.vendor,
            "farm": target.farm,
            "tags": list(target.tags),
            "is_from_range": target.is_from_range,
            "cloud": target.cloud,
            "locator": target.locator,
        }
    )


def _decode_target(stored: Mapping[str, Any]) -> Target:
    _reject_unknown(stored, _TARGET_NAMES, "a target")
    return Target(
        text=stored["text"],
        host=stored["host"],
        role=_member(Role, stored["role"]),
        ports=tuple(stored.get("ports", ())),
        optional_ports=tuple(stored.get("optional_ports", ())),
        server_name=stored.get("server_name"),
        vendor=stored.get("vendor"),
        farm=stored.get("farm"),
        tags=tuple(stored.get("tags", ())),
        is_from_range=stored.get("is_from_range", False),
        cloud=stored.get("cloud"),
        locator=stored["locator"],
    )


def _encode_resolution(resolution: Resolution) -> _Row:
    return _compact(
        {
            "addresses": list(resolution.addresses),
            "cname_chain": list(resolution.cname_chain),
            "error": resolution.error,
            "cname_error": resolution.cname_error,
        }
    )


def _decode_resolution(stored: Mapping[str, Any]) -> Resolution:
    _reject_unknown(stored, _RESOLUTION_NAMES, "a resolution")
    return Resolution(
        addresses=tuple(stored.get("addresses", ())),
        cname_chain=tuple(stored.get("cname_chain", ())),
        error=stored.get("error"),
        cname_error=stored.get("cname_error"),
    )


def _encode_endpoint(endpoint: Endpoint, ordinal: int, *, is_listed: bool) -> _Row:
    return {
        "ordinal": ordinal,
        "host": encode_text(endpoint.host),
        "address": encode_text(endpoint.address),
        "port": endpoint.port,
        "server_name": _encode_maybe_text(endpoint.server_name),
        "upgrade": endpoint.upgrade.value,
        "is_optional": endpoint.is_optional,
        "is_listed": is_listed,
    }


def _decode_endpoint(row: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        host=decode_text(row["host"]),
        address=decode_text(row["address"]),
        port=row["port"],
        server_name=_decode_maybe_text(row["server_name"]),
        upgrade=_member(Upgrade, row["upgrade"]),
        is_optional=row["is_optional"],
    )


def _encode_exchange(exchange: Exchange, ordinal: int, endpoint_ordinal: int, certificates: dict[bytes, int]) -> _Row:
    request = exchange.request
    return {
        "ordinal": ordinal,
        "request_id": request.id,
        "probe": request.probe.value,
        "endpoint_ordinal": endpoint_ordinal,
        "version": None if request.version is None else request.version.label,
        "variant": None if request.variant is None else request.variant.value,
        "path": _encode_maybe_text(request.path),
        "deadline_s": request.deadline_s,
        "max_bytes": request.max_bytes,
        "started_at_us": encode_time(exchange.started_at),
        "elapsed_s": exchange.elapsed_s,
        "ending": exchange.ending.value,
        "os_error": _encode_maybe_text(exchange.os_error),
        "sent_bytes": len(exchange.sent),
        "received_bytes": len(exchange.received),
        "engine": None if exchange.engine is None else _encode_engine(exchange.engine, certificates),
    }


def _decode_exchange(
    row: Mapping[str, Any], endpoint: Endpoint, sent: bytes, received: bytes, certificates: Sequence[bytes]
) -> Exchange:
    version, variant, engine = row["version"], row["variant"], row["engine"]
    return Exchange(
        request=ProbeRequest(
            id=row["request_id"],
            probe=_member(Probe, row["probe"]),
            endpoint=endpoint,
            version=None if version is None else _decode_version(version),
            variant=None if variant is None else _member(HelloVariant, variant),
            path=_decode_maybe_text(row["path"]),
            deadline_s=row["deadline_s"],
            max_bytes=row["max_bytes"],
        ),
        started_at=decode_time(row["started_at_us"]),
        sent=sent,
        received=received,
        ending=_member(Ending, row["ending"]),
        elapsed_s=row["elapsed_s"],
        os_error=_decode_maybe_text(row["os_error"]),
        engine=None if engine is None else _decode_engine(engine, certificates),
    )


def _decode_version(label: str) -> TlsVersion:
    try:
        return TlsVersion.from_label(label)
    except KeyError as error:
        raise _too_new(f"TlsVersion {label!r}") from error


def _encode_engine(engine: EngineReport, certificates: dict[bytes, int]) -> _Row:
    return _compact(
        {
            "engine": engine.engine,
            "completed": engine.completed,
            "cipher_suite": engine.cipher_suite,
            # Places in the host's list of certificates, which grows as new ones are met.
            "chain": [certificates.setdefault(der, len(certificates)) for der in engine.chain_der],
            "client_certificate_requested": engine.client_certificate_requested,
            "error": engine.error,
        }
    )


def _decode_engine(stored: Mapping[str, Any], certificates: Sequence[bytes]) -> EngineReport:
    _reject_unknown(stored, _ENGINE_NAMES, "an engine report")
    return EngineReport(
        engine=stored["engine"],
        completed=stored.get("completed", False),
        cipher_suite=stored.get("cipher_suite"),
        chain_der=tuple(certificates[place] for place in stored.get("chain", ())),
        client_certificate_requested=stored.get("client_certificate_requested", False),
        error=stored.get("error"),
    )
