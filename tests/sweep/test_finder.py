"""The SYN finder with a scripted prober: every host is told of once, whatever becomes of its SYN."""

import asyncio
import errno
import time

import pytest

from scanner.net.syn import SynProber
from scanner.sweep import finder as module
from scanner.sweep.finder import SynFinder
from tests.sweep.places import host_of, steps

STEPS = steps()
WAIT_S = 0.3


class Prober:
    """In SynProber's stead: notes what is sent, and fails where it is told to."""

    def __init__(self, on_answer, *, secret):
        self.on_answer = on_answer
        self.sent = []
        self.failures = []
        self.is_closed = False
        self.lost_count = 7
        assert len(secret) == 32

    def send(self, number, version, port):
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.sent.append((number, version, port))

    def answer(self, sent, *, is_open):
        self.on_answer(*sent, is_open)

    def close(self):
        self.is_closed = True


def finding(script, monkeypatch):
    """Run script(finder, prober, told), where told is a list of (host, answer) that grows."""
    monkeypatch.setattr(module, "SynProber", Prober)

    async def main():
        told = []
        finder = SynFinder(lambda host, is_open: told.append((host, is_open)))
        prober = finder._prober
        try:
            await script(finder, prober, told)
        finally:
            finder.close()
        assert prober.is_closed

    asyncio.run(main())


def host(at, address=None):
    return host_of(address or f"192.0.2.{at + 1}", at, begun=STEPS)


def test_the_scripted_prober_has_the_shape_of_the_real_one():
    for name in ("send", "close", "lost_count"):
        assert hasattr(SynProber, name)


def test_answers_are_told_once_and_silence_when_its_time_is_over(monkeypatch):
    async def script(finder, prober, told):
        hosts = [host(0), host(1), host(2, "2001:db8::1")]
        began = time.monotonic()
        for each in hosts:
            finder.look(each, WAIT_S)
        assert finder.in_flight == 3
        assert prober.sent == [(each.place.number, each.place.version, 443) for each in hosts]
        assert all(each.started >= began and each.started_us > 0 for each in hosts)
        prober.answer(prober.sent[0], is_open=True)
        prober.answer(prober.sent[0], is_open=True)  # answered twice
        prober.answer(prober.sent[1], is_open=False)
        prober.answer((1, 4, 443), is_open=True)  # never asked
        assert told == [(hosts[0], True), (hosts[1], False)]
        assert finder.in_flight == 1
        await asyncio.sleep(WAIT_S - 0.1)
        assert finder.in_flight == 1 or time.monotonic() - began >= WAIT_S
        await asyncio.sleep(WAIT_S + 0.5)
        assert finder.in_flight == 0
        prober.answer(prober.sent[2], is_open=True)  # too late
        assert told[2:] == [(hosts[2], None)]
        assert finder.lost_count == 7

    finding(script, monkeypatch)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EPERM, errno.EHOSTUNREACH])
def test_where_no_syn_can_be_sent_the_connection_decides(number, monkeypatch):
    async def script(finder, prober, told):
        prober.failures.append(OSError(number, "no"))
        lost = host(0)
        finder.look(lost, WAIT_S)
        # Not told yet, but counted: else a lane whose last address this is would be done without it.
        assert told == []
        assert finder.in_flight == 1
        await asyncio.sleep(0.01)
        assert told == [(lost, True)]
        assert finder.in_flight == 0

    finding(script, monkeypatch)


def test_one_port_asked_under_two_names_loses_neither(monkeypatch):
    async def script(finder, prober, told):
        one, other = host(0), host(0)
        finder.look(one, WAIT_S)
        finder.look(other, WAIT_S)
        assert finder.in_flight == 2
        assert len(prober.sent) == 1
        await asyncio.sleep(0.01)
        assert told == [(other, True)]
        prober.answer(prober.sent[0], is_open=False)
        assert told == [(other, True), (one, False)]
        finder.look(one, WAIT_S)  # a second pass is no second name
        assert len(prober.sent) == 2
        await asyncio.sleep(WAIT_S + 0.3)
        assert told[2:] == [(one, None)]
        assert finder.in_flight == 0

    finding(script, monkeypatch)


def test_a_full_buffer_is_tried_again(monkeypatch):
    async def script(finder, prober, told):
        prober.failures += [BlockingIOError()] * 4
        hosts = [host(at) for at in range(3)]
        for each in hosts:
            finder.look(each, WAIT_S)
        assert (prober.sent, finder.in_flight) == ([], 3)
        await asyncio.sleep(0.1)
        assert {number for number, _, _ in prober.sent} == {each.place.number for each in hosts}
        assert len(prober.sent) == 3
        for sent in tuple(prober.sent):
            prober.answer(sent, is_open=False)
        assert sorted(each.order_at for each, _ in told) == [0, 1, 2]
        assert finder.in_flight == 0

    finding(script, monkeypatch)


def test_cut_returns_all_that_is_waited_for_and_tells_nothing_more(monkeypatch):
    async def script(finder, prober, told):
        hosts = [host(at) for at in range(4)]
        finder.look(hosts[0], WAIT_S)
        finder.look(hosts[1], WAIT_S)
        prober.failures += [BlockingIOError(), OSError(errno.ENETUNREACH, "no")]
        finder.look(hosts[2], WAIT_S)
        finder.look(hosts[3], WAIT_S)
        assert set(finder.cut()) == set(hosts)
        assert finder.in_flight == 0
        prober.answer(prober.sent[0], is_open=True)
        await asyncio.sleep(WAIT_S + 0.3)
        assert told == []

    finding(script, monkeypatch)
