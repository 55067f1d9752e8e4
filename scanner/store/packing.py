"""Between what was learned about a host and one blob: pure, exact and compact.

``unpack(pack_record(record, position, keep=KeepBytes.ALL))`` gives the record again. The blob is a msgpack array,
compressed with the dictionaries below; its layout is in docs/store.md. What a later
version adds gets a new kind of blob.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from scanner.model.exchange import EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.rows import HelloRow
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Target
from scanner.model.versions import TlsVersion
from scanner.store.blobs import Packed, Unpacked, deflate_host, deflate_with, inflate_host, inflate_with, pack_content
from scanner.store.encoding import decode_time, encode_time
from scanner.store.hello_forms import (
    HelloForm,
    current_forms,
    decode_form_set,
    decode_own_forms,
    encode_own_forms,
    make_form,
)
from scanner.store.replies import MOST_BYTES, bound_hello_reply, bound_reply
from scanner.store.stored import KeepBytes, PackedHost, StoreError
from scanner.store.values import (
    ENDING_CODES,
    checked_index,
    decode_ending,
    decode_endpoint,
    decode_engine,
    decode_member,
    decode_resolution,
    decode_target,
    decode_version,
    encode_deadline,
    encode_elapsed,
    encode_endpoint,
    encode_resolution,
    encode_target,
)
from scanner.tls.hello import encode_hello


class Kept(IntEnum):
    """Which bytes a blob has; the numbers are stored."""

    WHOLE = 0
    """All of them."""
    BOUNDED = 1
    """Replies only as far as they were read."""
    NOTHING = 2
    """No exchanges at all."""


class RowSettings(NamedTuple):
    """What the questions of a sweep have in common."""

    deadline_s: float
    """As in ProbeRequest."""
    max_bytes: int
    """As in ProbeRequest."""


_INTERRUPTED: Final = "interrupted"
_GENERAL: Final = -1
_FIRST_SETTINGS: Final = 0
# What is left out at the end of a hello: no error, the first settings, nothing sent after it.
_TAIL: Final[Unpacked] = (None, _FIRST_SETTINGS, b"")


def pack_record(
    record: HostRecord,
    position: int,
    *,
    keep: KeepBytes = KeepBytes.ALL,
    is_clear: bool = False,
    judged: bytes | None = None,
) -> PackedHost:
    """Return a host as the store takes it.

    is_clear: whether all its verdicts are known and undisputed. judged: its judgement as a JSON line, kept where the
    bytes are not (needed for KeepBytes.NONE and a clear host: ValueError without).
    """
    kept = _plan_kept(keep, is_clear=is_clear, judged=judged)
    body = _Body(record.target, record.resolution, record.endpoints, kept)
    for exchange in record.exchanges if kept is not Kept.NOTHING else ():
        body.add_exchange(exchange)
    return body.finish(position, record.stopped, judged)


def pack_rows(
    target: Target,
    endpoints: Sequence[Endpoint],
    rows: Iterable[HelloRow],
    position: int,
    *,
    settings: RowSettings,
    stopped: str | None = None,
    keep: KeepBytes = KeepBytes.ALL,
    is_clear: bool = False,
    judged: bytes | None = None,
) -> PackedHost:
    """Return what pack_record returns for record_of_rows of the same arguments, without building any of it."""
    kept = _plan_kept(keep, is_clear=is_clear, judged=judged)
    body = _Body(target, _address_resolution(target), endpoints, kept)
    if kept is not Kept.NOTHING:
        body.add_rows(rows, settings)
    return body.finish(position, stopped, judged)


def record_of_rows(
    target: Target,
    endpoints: Sequence[Endpoint],
    rows: Iterable[HelloRow],
    *,
    settings: RowSettings,
    stopped: str | None = None,
) -> HostRecord:
    """Return the record that the rows of a sweep stand for; target is an address of a range."""
    exchanges = []
    for row in rows:
        endpoint = endpoints[row.endpoint]
        sent = b""
        if row.random:
            sent = encode_hello(
                version=row.version, variant=row.variant, server_name=endpoint.server_name, random=row.random
            )
        request = ProbeRequest(
            id=row.request_id,
            probe=Probe.HELLO,
            endpoint=endpoint,
            version=row.version,
            variant=row.variant,
            deadline_s=settings.deadline_s,
            max_bytes=settings.max_bytes,
        )
        exchanges.append(
            Exchange(
                request=request,
                started_at=decode_time(row.started_us),
                sent=sent,
                received=row.received,
                ending=row.ending,
                elapsed_s=row.elapsed_us / 1e6,
                os_error=row.os_error,
            )
        )
    return HostRecord(
        target=target,
        resolution=_address_resolution(target),
        endpoints=tuple(endpoints),
        exchanges=tuple(exchanges),
        stopped=stopped,
    )


def _address_resolution(target: Target) -> Resolution:
    return Resolution(addresses=(target.host,))


def _plan_kept(keep: KeepBytes, *, is_clear: bool, judged: bytes | None) -> Kept:
    if keep is KeepBytes.ALL or not is_clear:
        return Kept.WHOLE
    if keep is KeepBytes.DISPUTED:
        return Kept.BOUNDED
    if judged is None:
        raise ValueError("a host without its bytes needs its judgement")
    return Kept.NOTHING


class _Body:
    """Collects what becomes a blob."""

    def __init__(self, target: Target, resolution: Resolution, endpoints: Sequence[Endpoint], kept: Kept) -> None:
        self._target = target
        self._resolution = resolution
        self._kept = kept
        self._endpoints = list(endpoints)
        self._listed_count = len(self._endpoints)
        self._ordinals: dict[Endpoint, int] = {}
        self._settings: dict[tuple[float, int], int] = {}
        self._certificates: dict[bytes, int] = {}
        self._own_forms: dict[tuple[int, str], int] = {}
        self._has_forms = False
        self._exchanges: list[Packed] = []
        self._id = 0
        self._at_us = 0

    def add_rows(self, rows: Iterable[HelloRow], settings: RowSettings) -> None:
        """Add a sweep's questions: each is a hello of a form that is known."""
        numbers = current_forms().numbers
        forms = current_forms().forms
        is_bounded = self._kept is Kept.BOUNDED
        server_names = [endpoint.server_name for endpoint in self._endpoints]
        append = self._exchanges.append
        last_id, last_us = self._id, self._at_us
        for endpoint, request_id, version, variant, started_us, elapsed_us, ending, os_error, random, reply in rows:
            number = numbers[version, variant]
            server_name = server_names[endpoint]
            form = forms[number]
            if server_name is not None:
                form, number = self._form(version, variant, server_name)
            received = reply
            if is_bounded and len(reply) > 43:
                received = bound_hello_reply(reply, form.fill(random) if len(reply) > MOST_BYTES else b"")
            packed = [
                number,
                endpoint,
                request_id - last_id,
                started_us - last_us,
                elapsed_us,
                ENDING_CODES[ending._value_],
                random[: form.random_bytes],
                received,
            ]
            if os_error is not None:
                packed.append(os_error)
            append(packed)
            last_id, last_us = request_id, started_us
        if self._exchanges:
            self._has_forms = True
            self._settings[settings.deadline_s, settings.max_bytes] = _FIRST_SETTINGS

    def add_exchange(self, exchange: Exchange) -> None:
        """Any exchange: as a hello of a known form where it is one."""
        request = exchange.request
        started_us = encode_time(exchange.started_at)
        settings = self._settings.setdefault((request.deadline_s, request.max_bytes), len(self._settings))
        received = exchange.received
        if self._kept is Kept.BOUNDED and request.probe is Probe.HELLO:
            received = bound_hello_reply(received, exchange.sent)
        elif self._kept is Kept.BOUNDED and request.probe is Probe.HANDSHAKE:
            received = bound_reply(received, exchange.sent)
        head: Packed = [
            _GENERAL,
            self._ordinal(request.endpoint),
            request.id - self._id,
            started_us - self._at_us,
            encode_elapsed(exchange.elapsed_s),
            ENDING_CODES[exchange.ending.value],
        ]
        self._id, self._at_us = request.id, started_us
        hello = self._maybe_hello(exchange)
        if hello is not None:
            head[0], random, rest = hello
            tail: Packed = [random, received, exchange.os_error, settings, rest]
            while tail[-1] in {None, _FIRST_SETTINGS, b""} and len(tail) > 2:
                tail.pop()
        else:
            tail = [
                exchange.sent,
                received,
                exchange.os_error,
                settings,
                request.probe.value,
                None if request.version is None else request.version.label,
                None if request.variant is None else request.variant.value,
                request.path,
                None if exchange.engine is None else self._encode_engine(exchange.engine),
            ]
        self._exchanges.append(head + tail)

    def finish(self, position: int, stopped: str | None, judged: bytes | None) -> PackedHost:
        """Return the host; nothing may be added after that."""
        target, part = encode_target(self._target)
        host = self._target.host
        server_name = self._endpoints[0].server_name if self._endpoints else None
        certificates = tuple(self._certificates)
        content: bytes = pack_content(
            (
                int(self._kept),
                target,
                None if self._resolution == Resolution(addresses=(host,)) else encode_resolution(self._resolution),
                server_name,
                [encode_endpoint(endpoint, host, self._resolution, server_name) for endpoint in self._endpoints],
                self._listed_count,
                [(encode_deadline(deadline_s), most) for deadline_s, most in self._settings],
                stopped,
                current_forms().digest if self._has_forms else None,
                encode_own_forms(tuple(self._own_forms)) if self._own_forms else None,
                self._exchanges,
            )
        )
        return PackedHost(
            position=position,
            host=host,
            blob=deflate_host(content, certificates),
            certificates=certificates,
            parts=() if part is None else (part,),
            has_forms=self._has_forms,
            judged=judged,
            is_final=stopped != _INTERRUPTED,
        )

    def _ordinal(self, endpoint: Endpoint) -> int:
        if not self._ordinals:
            for ordinal, listed in enumerate(self._endpoints):
                self._ordinals.setdefault(listed, ordinal)
        ordinal = self._ordinals.setdefault(endpoint, len(self._endpoints))
        if ordinal == len(self._endpoints):
            self._endpoints.append(endpoint)
        return ordinal

    def _form(self, version: TlsVersion, variant: HelloVariant, server_name: str | None) -> tuple[HelloForm, int]:
        """Return the form of a hello and its number in this blob."""
        base = current_forms()
        number = base.numbers[version, variant]
        form = make_form(version, variant, server_name)
        if server_name is None or form.pieces == base.forms[number].pieces:
            return form, number
        return form, len(base.forms) + self._own_forms.setdefault((number, server_name), len(self._own_forms))

    def _maybe_hello(self, exchange: Exchange) -> tuple[int, bytes, bytes] | None:
        """Return form, random and what was sent after the hello, where a hello of this program is what was sent."""
        request = exchange.request
        if (
            request.probe is not Probe.HELLO
            or request.version is None
            or request.variant is None
            or request.path is not None
            or exchange.engine is not None
        ):
            return None
        try:
            form = make_form(request.version, request.variant, request.endpoint.server_name)
        except ValueError:  # a server name that no hello can carry
            return None
        random = form.maybe_random(exchange.sent) if exchange.sent else b""
        if random is None:
            return None
        self._has_forms = True
        first = form.fill(random) if random else b""
        rest = exchange.sent[len(first) :]
        number = self._form(request.version, request.variant, request.endpoint.server_name)[1]
        return number, random, deflate_with(rest, first) if rest else b""

    def _encode_engine(self, engine: EngineReport) -> Packed:
        return [
            engine.engine,
            engine.completed,
            engine.cipher_suite,
            # Places in the host's list of certificates, which grows as new ones are met.
            [self._certificates.setdefault(der, len(self._certificates)) for der in engine.chain_der],
            engine.client_certificate_requested,
            engine.error,
        ]


def unpack(blob: bytes, certificates: Sequence[bytes], parts: Mapping[bytes, bytes]) -> tuple[HostRecord, Kept]:
    """Return the record a blob holds, and which of its bytes.

    certificates: those of the host, in order; parts: shared parts by digest. Raises StoreError where something is
    damaged, or was written by a version that knows more than this one.
    """
    stored = inflate_host(blob, certificates)
    try:
        kept, packed_target, packed_resolution, server_name, packed_endpoints, listed_count = stored[:6]
        settings, stopped, forms_digest, own_forms, exchanges = stored[6:]
        target = decode_target(packed_target, parts)
        resolution = (
            Resolution(addresses=(target.host,)) if packed_resolution is None else decode_resolution(packed_resolution)
        )
        endpoints = tuple(decode_endpoint(each, target.host, resolution, server_name) for each in packed_endpoints)
        forms: tuple[HelloForm, ...] = ()
        if forms_digest is not None:
            forms = decode_form_set(parts[forms_digest])
        if own_forms is not None:
            forms += decode_own_forms(own_forms, forms)
        record = HostRecord(
            target=target,
            resolution=resolution,
            endpoints=endpoints[:listed_count],
            exchanges=tuple(_decode_exchanges(exchanges, endpoints, settings, forms, certificates)),
            stopped=stopped,
        )
        return record, Kept(kept)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError, zlib.error) as error:
        raise StoreError(f"the stored host is damaged ({type(error).__name__}: {error})") from error


def _decode_exchanges(
    stored: Unpacked,
    endpoints: Sequence[Endpoint],
    settings: Unpacked,
    forms: Sequence[HelloForm],
    certificates: Sequence[bytes],
) -> Iterable[Exchange]:
    request_id = at_us = 0
    tail: list[Any]
    for number, ordinal, id_step, us_step, elapsed, ending, *tail in stored:
        request_id += id_step
        at_us += us_step
        engine, path = None, None
        if number == _GENERAL:
            sent, received, os_error, setting, probe, label, variant_name, path, packed_engine = tail
            version = None if label is None else decode_version(label)
            variant = None if variant_name is None else decode_member(HelloVariant, variant_name)
            engine = None if packed_engine is None else decode_engine(packed_engine, certificates)
        else:
            form = forms[checked_index(number)]
            random, received, os_error, setting, rest = tail + list(_TAIL[len(tail) - 2 :])
            version, variant, probe = form.version, form.variant, Probe.HELLO.value
            sent = form.fill(random) if random else b""
            if rest:
                sent += inflate_with(rest, sent)
        deadline_s, max_bytes = settings[checked_index(setting)]
        request = ProbeRequest(
            id=request_id,
            probe=decode_member(Probe, probe),
            endpoint=endpoints[checked_index(ordinal)],
            version=version,
            variant=variant,
            path=path,
            deadline_s=float(deadline_s),
            max_bytes=max_bytes,
        )
        yield Exchange(
            request=request,
            started_at=decode_time(at_us),
            sent=sent,
            received=received,
            ending=decode_ending(ending),
            elapsed_s=elapsed / 1e6 if isinstance(elapsed, int) else elapsed,
            os_error=os_error,
            engine=engine,
        )
