"""A packed host, read: what scanner.store.packing wrote, now or in an earlier version. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scanner.model.exchange import Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Endpoint
from scanner.store.blobs import Unpacked, inflate_host, inflate_with
from scanner.store.encoding import decode_time
from scanner.store.hello_forms import HelloForm, decode_form_set, decode_own_forms
from scanner.store.stored import Kept, StoreError
from scanner.store.values import (
    GENERAL,
    HELLO_TAIL,
    checked_index,
    decode_ending,
    decode_endpoint,
    decode_engine,
    decode_member,
    decode_resolution,
    decode_target,
    decode_version,
)


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
        if number == GENERAL:
            sent, received, os_error, setting, probe, label, variant_name, path, packed_engine = tail
            version = None if label is None else decode_version(label)
            variant = None if variant_name is None else decode_member(HelloVariant, variant_name)
            engine = None if packed_engine is None else decode_engine(packed_engine, certificates)
        else:
            form = forms[checked_index(number)]
            random, received, os_error, setting, rest = tail + list(HELLO_TAIL[len(tail) - 2 :])
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
