"""What was learned about a host, made into one blob: pure, exact and compact. docs/store.md has its layout.

``scanner.store.unpacking.unpack`` gives back what was packed with KeepBytes.ALL. What a later version adds gets a new
kind of blob. Needs no database, so that a worker process can pack what its parent stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from scanner.model.exchange import EngineReport, Exchange, Probe
from scanner.model.rows import HelloRow
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint, Target
from scanner.store.blobs import Packed, deflate_host, deflate_with, pack_content
from scanner.store.encoding import encode_time
from scanner.store.hello_forms import (
    HelloForm,
    current_forms,
    encode_own_forms,
    maybe_own_form,
)
from scanner.store.replies import MOST_BYTES, bound_hello_reply, bound_reply
from scanner.store.stored import KeepBytes, Kept, PackedHost
from scanner.store.values import (
    ENDING_CODES,
    FIRST_SETTINGS,
    GENERAL,
    encode_deadline,
    encode_elapsed,
    encode_endpoint,
    encode_resolution,
    encode_target,
)


class RowSettings(NamedTuple):
    """What the questions of a sweep have in common."""

    deadline_s: float
    """As in ProbeRequest."""
    max_bytes: int
    """As in ProbeRequest."""


_INTERRUPTED: Final = "interrupted"


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
    """Return what pack_record returns for the record that the rows stand for, without building any of it.

    scanner.sweep.rows makes exchanges of rows; target is an address of a range.
    """
    kept = _plan_kept(keep, is_clear=is_clear, judged=judged)
    body = _Body(target, _address_resolution(target), endpoints, kept)
    if kept is not Kept.NOTHING:
        body.add_rows(rows, settings)
    return body.finish(position, stopped, judged)


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
                form, number = self._form(number, server_name)
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
            self._settings[settings.deadline_s, settings.max_bytes] = FIRST_SETTINGS

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
            GENERAL,
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
            while tail[-1] in {None, FIRST_SETTINGS, b""} and len(tail) > 2:
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

    def _form(self, number: int, server_name: str) -> tuple[HelloForm, int]:
        """Return the form with this server name instead of none, and its number in this blob."""
        forms = current_forms().forms
        form = maybe_own_form(number, server_name)
        if form is None:
            return forms[number], number
        return form, len(forms) + self._own_forms.setdefault((number, server_name), len(self._own_forms))

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
        base = current_forms()
        number = base.numbers[request.version, request.variant]
        form, server_name = base.forms[number], request.endpoint.server_name
        try:
            form = form if server_name is None else maybe_own_form(number, server_name) or form
        except ValueError:  # a server name that no hello can carry
            return None
        random = form.maybe_random(exchange.sent) if exchange.sent else b""
        if random is None:
            return None
        self._has_forms = True
        if server_name is not None:
            number = self._form(number, server_name)[1]
        first = form.fill(random) if random else b""
        rest = exchange.sent[len(first) :]
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
