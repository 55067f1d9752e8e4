"""From the lane's rows to exchanges: what was sent follows from version, form, name and random bytes. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scanner.model.exchange import Exchange, Probe, ProbeRequest
from scanner.model.rows import HelloRow
from scanner.model.subjects import Endpoint, Target
from scanner.tls.hello import encode_hello

MAX_HELLO_BYTES = 32_768
"""Most bytes taken from a peer for one hello."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plan_endpoint(template: Target, address: str, port: int) -> Endpoint:
    """Return the endpoint of one port of a range's address."""
    return Endpoint(
        host=address,
        address=address,
        port=port,
        server_name=template.server_name,
        is_optional=port in template.optional_ports,
    )


def exchange_of_row(row: HelloRow, endpoint: Endpoint, *, timeout_s: float) -> Exchange:
    """Return the exchange that a row stands for. timeout_s: the bound it was asked with."""
    request = ProbeRequest(
        id=row.request_id,
        probe=Probe.HELLO,
        endpoint=endpoint,
        version=row.version,
        variant=row.variant,
        deadline_s=timeout_s,
        max_bytes=MAX_HELLO_BYTES,
    )
    sent = b""
    if row.random:
        name = endpoint.server_name
        sent = encode_hello(version=row.version, variant=row.variant, server_name=name, random=row.random)
    return Exchange(
        request=request,
        started_at=_EPOCH + timedelta(microseconds=row.started_us),
        sent=sent,
        received=row.received,
        ending=row.ending,
        elapsed_s=row.elapsed_us / 1_000_000,
        os_error=row.os_error,
    )
