"""Counters of several processes put together are those of one."""

import pickle
from collections import Counter
from dataclasses import fields

from scanner.counters import Counters
from scanner.model.exchange import Ending
from scanner.model.versions import TlsVersion


def _counters(factor):
    numbers = {field.name: factor * at for at, field in enumerate(fields(Counters), 1) if field.type == "int"}
    return Counters(
        **numbers,
        endings={Ending.REFUSED: factor, Ending.COMPLETE if factor == 1 else Ending.PEER_RESET: 1},
        versions=Counter({TlsVersion.TLS1_2: factor}),
    )


def test_every_number_is_added():
    total = _counters(1)
    total.add(_counters(10))
    for field in fields(Counters):
        if field.type == "int":
            one, ten = (getattr(_counters(factor), field.name) for factor in (1, 10))
            assert getattr(total, field.name) == one + ten > 0, field.name
    assert total.endings == {Ending.REFUSED: 11, Ending.COMPLETE: 1, Ending.PEER_RESET: 1}
    assert total.versions == {TlsVersion.TLS1_2: 11}


def test_total_and_done_are_of_hosts_and_addresses():
    counters = Counters(hosts_total=3, hosts_done=2, addresses_total=100, addresses_done=40)
    assert (counters.total, counters.done) == (103, 42)


def test_a_local_error_is_not_lost():
    total = Counters(local_error="EMFILE")
    total.add(Counters())
    assert total.local_error == "EMFILE"
    total.add(Counters(local_error="ENOBUFS"))
    assert total.local_error == "ENOBUFS"


def test_adding_leaves_the_other_as_it_was():
    other = _counters(1)
    Counters().add(other)
    total = Counters()
    total.add(other)
    total.add(other)
    assert other == _counters(1)


def test_counters_go_to_another_process():
    assert pickle.loads(pickle.dumps(_counters(1))) == _counters(1)  # noqa: S301  # our own bytes
