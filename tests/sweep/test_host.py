"""A host on its way: its ports in turn, and what hosts that answered alike have in common."""

from dataclasses import replace

from scanner.model.exchange import Ending, HelloVariant
from scanner.model.rows import HelloRow
from scanner.model.versions import TlsVersion
from scanner.net.budgets import network_key
from scanner.sweep.steps import Step
from tests.sweep.places import TEMPLATE, host_of

PORTS = replace(TEMPLATE, ports=(443, 8443), optional_ports=(49443,))


def row(port_at, number, ending=Ending.COMPLETE, os_error=None, received=b"x"):
    return HelloRow(
        port_at, number, TlsVersion.TLS1_2, HelloVariant.BROAD, number, 1, ending, os_error, bytes(64), received
    )


def end(*, is_remembered=True):
    return Step(question=None, is_for_engine=False, enabled=frozenset(), is_trouble=False, is_remembered=is_remembered)


def test_a_host_begins_with_its_first_port():
    host = host_of("192.0.2.7", 3, template=PORTS)
    assert (host.address, host.port, host.port_at, list(host.todo)) == ("192.0.2.7", 443, 0, [1, 2])
    assert host.ports == (443, 8443, 49443)
    assert host.network == network_key(0xC0000207, 4)
    assert host.step is host.steps.begin
    host.step, host.is_found = end(), True
    host.turn_to(2)
    assert (host.port, host.port_at, host.step, host.is_found) == (49443, 2, host.steps.begin, False)


def test_an_ipv6_host_is_of_its_slash_64():
    assert host_of("2001:db8::1:2", template=TEMPLATE).network == network_key(0x20010DB8 << 96 | 0x10002, 6)


def test_what_is_swept_up_has_all_rows_in_the_order_asked():
    host = host_of("192.0.2.7", 3, template=PORTS)
    host.rows = (row(1, 5), row(1, 6))
    host.dead = (row(0, 4, Ending.REFUSED, "ECONNREFUSED", b""), row(2, 7, Ending.TIMED_OUT_CONNECT, None, b""))
    swept = host.sweep_up(key="key")
    assert [each.request_id for each in swept.rows] == [4, 5, 6, 7]
    assert (swept.order_at, swept.position, swept.address, swept.key) == (3, 103, "192.0.2.7", "key")
    assert [endpoint.is_optional for endpoint in swept.plan_endpoints()] == [False, False, True]
    record = swept.record(2.5, stopped="interrupted")
    assert record.stopped == "interrupted"
    assert record.target.host == "192.0.2.7"
    assert record.target.is_from_range
    assert record.resolution.addresses == ("192.0.2.7",)
    assert [exchange.request.endpoint.port for exchange in record.exchanges] == [443, 8443, 8443, 49443]
    assert {exchange.request.deadline_s for exchange in record.exchanges} == {2.5}


def keys_of(*walks, template=PORTS):
    """walks: a host's (walked, rows, dead)."""
    keys = []
    for at, (walked, rows, dead) in enumerate(walks):
        host = host_of(f"192.0.2.{at + 1}", at, template=template)
        host.walked, host.rows, host.dead = tuple(walked), tuple(rows), tuple(dead)
        keys.append(host.maybe_key())
    return keys


def test_hosts_that_went_one_way_have_one_key():
    step = end()
    one, same = keys_of(([(0, 1, step)], [row(0, 1)], []), ([(0, 1, step)], [row(0, 9)], []), template=TEMPLATE)
    assert one == same is not None
    other, elsewhere = end(), replace(TEMPLATE)
    assert keys_of(([(0, 1, other)], [row(0, 1)], []), template=TEMPLATE) != [one]
    assert keys_of(([(0, 1, step)], [row(0, 1)], []), template=elsewhere) != [one]


def test_who_is_not_remembered_has_no_key():
    odd = end(is_remembered=False)
    assert keys_of(([(0, 1, odd)], [row(0, 1)], []), template=TEMPLATE) == [None]
    assert keys_of(([(0, 1, end()), (1, 1, odd)], [row(0, 1), row(1, 2)], [])) == [None]


def test_of_many_ports_the_order_asked_is_in_the_key():
    """A port refused in the first pass was asked before the others; one refused in the second, after them."""
    step = end()
    refused = {"ending": Ending.REFUSED, "os_error": "ECONNREFUSED", "received": b""}
    before, after, again, otherwise = keys_of(
        ([(1, 1, step)], [row(1, 2)], [row(0, 1, **refused)]),
        ([(1, 1, step)], [row(1, 1)], [row(0, 2, **refused)]),
        ([(1, 1, step)], [row(1, 12)], [row(0, 11, **refused)]),
        ([(1, 1, step)], [row(1, 12)], [row(0, 11, Ending.TIMED_OUT_CONNECT, None, b"")]),
    )
    assert before == again
    assert len({before, after, otherwise}) == 3
