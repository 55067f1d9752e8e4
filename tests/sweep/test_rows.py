"""From rows back to exchanges: what was sent is made again from version, form, name and random bytes."""

from datetime import UTC, datetime

import pytest

from scanner.model.exchange import Ending, HelloVariant, Probe
from scanner.model.rows import HelloRow
from scanner.model.subjects import Role, Target
from scanner.model.versions import TlsVersion
from scanner.sweep.rows import MAX_HELLO_BYTES, exchange_of_row, plan_endpoint
from scanner.tls.hello import RANDOM_BYTES
from tests.hostile import wire

TEMPLATE = Target(
    text="192.0.2.0/24",
    host="192.0.2.0",
    role=Role.ADFS,
    ports=(443,),
    optional_ports=(49443,),
    server_name="sts.example",
)
RANDOM = bytes(range(RANDOM_BYTES))
ROW = HelloRow(
    endpoint=0,
    request_id=17,
    version=TlsVersion.TLS1_2,
    variant=HelloVariant.BROAD,
    started_us=1_795_450_020_000_001,
    elapsed_us=1_500_000,
    ending=Ending.COMPLETE,
    os_error=None,
    random=RANDOM,
    received=b"\x15\x03\x03\x00\x02\x02\x46",
)


def test_an_endpoint_is_of_the_address_and_has_the_lines_name():
    endpoint = plan_endpoint(TEMPLATE, "192.0.2.9", 443)
    assert (endpoint.host, endpoint.address, endpoint.port) == ("192.0.2.9", "192.0.2.9", 443)
    assert endpoint.server_name == "sts.example"
    assert not endpoint.is_optional
    assert plan_endpoint(TEMPLATE, "192.0.2.9", 49443).is_optional


def test_an_exchange_has_every_fact_of_its_row():
    endpoint = plan_endpoint(TEMPLATE, "192.0.2.9", 443)
    exchange = exchange_of_row(ROW, endpoint, timeout_s=4.5)
    request = exchange.request
    assert (request.id, request.probe, request.endpoint) == (17, Probe.HELLO, endpoint)
    assert (request.version, request.variant) == (TlsVersion.TLS1_2, HelloVariant.BROAD)
    assert (request.deadline_s, request.max_bytes) == (4.5, MAX_HELLO_BYTES)
    # date -u -d @1795450020: 2026-11-23 16:07
    assert exchange.started_at == datetime(2026, 11, 23, 16, 7, 0, 1, tzinfo=UTC)
    assert (exchange.received, exchange.ending, exchange.os_error) == (ROW.received, Ending.COMPLETE, None)
    assert exchange.elapsed_s == 1.5


@pytest.mark.parametrize("version", [TlsVersion.TLS1_3, TlsVersion.TLS1_2, TlsVersion.TLS1_0])
def test_the_hello_is_made_again_with_its_name_and_random(version):
    """Read by the peers' own parser (tests.hostile.wire)."""
    endpoint = plan_endpoint(TEMPLATE, "192.0.2.9", 443)
    sent = exchange_of_row(ROW._replace(version=version), endpoint, timeout_s=1).sent
    hello = wire.decode_hello(sent)
    assert hello.sni == "sts.example"
    assert hello.asked == version
    assert sent[11:43] == RANDOM[:32]


def test_nothing_was_sent_where_there_was_no_connection():
    row = ROW._replace(random=b"", received=b"", ending=Ending.REFUSED, os_error="ECONNREFUSED")
    exchange = exchange_of_row(row, plan_endpoint(TEMPLATE, "192.0.2.9", 443), timeout_s=1)
    assert (exchange.sent, exchange.os_error) == (b"", "ECONNREFUSED")
