"""What scan and listener say to each other over the API: who they are, and exchanges as JSON. Pure.

Both know a secret. Each request carries an HMAC-SHA256 (RFC 2104) over what is asked, a nonce of the client's, the time
and the SHA-256 of the listener's certificate as the client saw it; each response one over the nonce, the certificate,
the status and the body. A man in the middle shows another certificate and so gets macs that nobody accepts; no CA is
needed. The listener's certificate belongs to a key that nothing else than this listener has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from scanner.model.exchange import Ending, EngineReport, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion

ALPN = "entra-tls-api/1"
"""The ALPN protocol (RFC 7301) by which a client asks for the API."""
SCHEMA = 1
"""``v`` in every body."""
MAX_BODY_BYTES = 16 * 2**20
"""Most bytes of a body."""
MAX_NONCES = 200
"""Most nonces in a request."""
WINDOW_S = 120.0
"""How far the two clocks may differ; a request is good for twice as long at most, and only once."""
NONCE_HEADER = "x-entra-tls-nonce"
TIME_HEADER = "x-entra-tls-time"
MAC_HEADER = "x-entra-tls-mac"

_BYTES_LIMIT = 65_536
_TEXT_LIMIT = 10_000
_CHAIN_LIMIT = 16
_ROOM_BYTES = 4_096

_Value = TypeVar("_Value")


class MessageError(ValueError):
    """A body is not what it has to be."""


def derive_key(secret: bytes) -> bytes:
    """Return the API's key; not the secret itself, of which trigger tokens show a mac to everybody."""
    return hmac.new(secret, ALPN.encode(), hashlib.sha256).digest()


def request_mac(key: bytes, *, method: str, target: str, nonce: str, time_text: str, leaf_sha256: str) -> str:
    """Return the mac of a request in hex. target: path with query; leaf_sha256: lower-case hex."""
    return _mac(key, "request", method, target, nonce, time_text, leaf_sha256)


def response_mac(key: bytes, *, nonce: str, leaf_sha256: str, status: int, body: bytes) -> str:
    """Return the mac of a response in hex."""
    return _mac(key, "response", nonce, leaf_sha256, str(status), hashlib.sha256(body).hexdigest())


def _mac(key: bytes, *parts: str) -> str:
    # Each part with its length, so that no two lists of parts are the same bytes.
    said = b"".join(f"{len(part.encode())}:".encode() + part.encode() for part in parts)
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def is_same_mac(one: str, other: str) -> bool:
    """Compare in constant time; texts from the network of any kind."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class SeenNonces:
    """Nonces of authentic requests, for as long as their time would be accepted."""

    def __init__(self, most_count: int = 20_000) -> None:
        """most_count: when so many are remembered, no request is accepted until the oldest are out of time."""
        self._most_count = most_count
        self._until: OrderedDict[str, float] = OrderedDict()

    def is_fresh(self, nonce: str, *, now_s: float) -> bool:
        """Remember the nonce; return False where it was there, or no room is left."""
        while self._until and next(iter(self._until.values())) < now_s:
            self._until.popitem(last=False)
        if nonce in self._until or len(self._until) >= self._most_count:
            return False
        self._until[nonce] = now_s + 2 * WINDOW_S
        return True


def is_in_time(time_text: str, *, now_s: float) -> bool:
    """Return whether a request's time (seconds since 1970, a whole number as text) is within the window."""
    is_number = time_text.isascii() and time_text.isdecimal() and len(time_text) <= 12
    return is_number and abs(int(time_text) - now_s) <= WINDOW_S


def encode_about(about: Mapping[str, object]) -> bytes:
    """Return the body of /v1/about."""
    return json.dumps({"v": SCHEMA, **about}).encode()


def decode_about(body: bytes) -> dict[str, str]:
    """Return suffix, ca_sha256 and version; MessageError where the body is something else."""
    document = _document(body)
    return {name: _typed(document, name, str) for name in ("suffix", "ca_sha256", "version")}


def encode_exchanges(exchanges: Iterable[Exchange]) -> bytes:
    """Return the body of /v1/hellos: as many of the exchanges as have room, the first ones."""
    pieces: list[str] = []
    room = MAX_BODY_BYTES - _ROOM_BYTES
    is_cut = False
    for exchange in exchanges:
        piece = json.dumps(_encode_exchange(exchange))
        room -= len(piece) + 1
        if room < 0:
            is_cut = True
            break
        pieces.append(piece)
    return f'{{"v": {SCHEMA}, "is_cut": {json.dumps(is_cut)}, "exchanges": [{",".join(pieces)}]}}'.encode()


def decode_exchanges(body: bytes) -> list[Exchange]:
    """Return the exchanges in a body of /v1/hellos; MessageError where it is anything else, never another error."""
    found = _typed(_document(body), "exchanges", list)
    return [_decode_exchange(item) for item in found]


def _encode_exchange(exchange: Exchange) -> dict[str, object]:
    request, endpoint, engine = exchange.request, exchange.request.endpoint, exchange.engine
    return {
        "id": request.id,
        "host": endpoint.host,
        "address": endpoint.address,
        "port": endpoint.port,
        "server_name": endpoint.server_name,
        "version": None if request.version is None else request.version.label,
        "path": request.path,
        "deadline_s": request.deadline_s,
        "max_bytes": request.max_bytes,
        "started_at": exchange.started_at.isoformat(),
        "sent": _base64(exchange.sent),
        "received": _base64(exchange.received),
        "ending": exchange.ending.value,
        "elapsed_s": exchange.elapsed_s,
        "os_error": exchange.os_error,
        "engine": None
        if engine is None
        else {
            "engine": engine.engine,
            "completed": engine.completed,
            "cipher_suite": engine.cipher_suite,
            "chain_der": [_base64(der) for der in engine.chain_der],
            "client_certificate_requested": engine.client_certificate_requested,
            "error": engine.error,
        },
    }


_REQUEST_KEYS = ("id", "host", "address", "port", "server_name", "version", "path", "deadline_s", "max_bytes")
_WIRE_KEYS = ("started_at", "sent", "received", "ending", "elapsed_s", "os_error", "engine")
_EXCHANGE_KEYS = frozenset(_REQUEST_KEYS + _WIRE_KEYS)
_ENGINE_KEYS = frozenset(["engine", "completed", "cipher_suite", "chain_der", "client_certificate_requested", "error"])


def _decode_exchange(item: object) -> Exchange:
    fields = _object(item, _EXCHANGE_KEYS)
    port = _typed(fields, "port", int)
    if not 0 < port < 65_536:
        raise MessageError(f"port {port}")
    label = _maybe(fields, "version")
    try:
        version = None if label is None else TlsVersion.from_label(label)
        ending = Ending(_typed(fields, "ending", str))
        started_at = datetime.fromisoformat(_typed(fields, "started_at", str))
    except (KeyError, ValueError) as error:
        raise MessageError(str(error)) from error
    if started_at.tzinfo is None:
        raise MessageError("a time without its zone")
    return Exchange(
        request=ProbeRequest(
            id=_typed(fields, "id", int),
            probe=Probe.LISTENER,
            endpoint=Endpoint(
                host=_typed(fields, "host", str),
                address=_typed(fields, "address", str),
                port=port,
                server_name=_maybe(fields, "server_name"),
            ),
            version=version,
            path=_maybe(fields, "path"),
            deadline_s=_seconds(fields, "deadline_s"),
            max_bytes=_typed(fields, "max_bytes", int),
        ),
        started_at=started_at.astimezone(UTC),
        sent=_bytes(_typed(fields, "sent", str)),
        received=_bytes(_typed(fields, "received", str)),
        ending=ending,
        elapsed_s=_seconds(fields, "elapsed_s"),
        os_error=_maybe(fields, "os_error"),
        engine=None if fields["engine"] is None else _decode_engine(fields["engine"]),
    )


def _decode_engine(item: object) -> EngineReport:
    fields = _object(item, _ENGINE_KEYS)
    chain = _typed(fields, "chain_der", list)
    if len(chain) > _CHAIN_LIMIT or not all(isinstance(der, str) for der in chain):
        raise MessageError("chain_der is no list of certificates")
    return EngineReport(
        engine=_typed(fields, "engine", str),
        completed=_typed(fields, "completed", bool),
        cipher_suite=_maybe(fields, "cipher_suite"),
        chain_der=tuple(_bytes(der) for der in chain),
        client_certificate_requested=_typed(fields, "client_certificate_requested", bool),
        error=_maybe(fields, "error"),
    )


def _document(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise MessageError(f"a body of {len(body)} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("v") != SCHEMA:
        raise MessageError(f"not a body of version {SCHEMA}")
    return document


def _object(item: object, keys: frozenset[str]) -> dict[str, Any]:
    if not isinstance(item, dict) or item.keys() != keys:
        raise MessageError(f"not an object with {', '.join(sorted(keys))}")
    return item


def _typed(fields: Mapping[str, Any], name: str, kind: type[_Value]) -> _Value:
    value = fields.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise MessageError(f"{name} is no {kind.__name__}")
    if isinstance(value, str) and name not in {"sent", "received"} and len(value) > _TEXT_LIMIT:
        raise MessageError(f"{name} has {len(value)} characters")
    return value


def _maybe(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _typed(fields, name, str)


def _seconds(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
            return float(value)
    except OverflowError:
        pass
    raise MessageError(f"{name} is no number of seconds")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"no base64: {error}") from error
    if len(data) > _BYTES_LIMIT:
        raise MessageError(f"{len(data)} bytes in one field")
    return data
