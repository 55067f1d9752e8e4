"""What is made ready before forward proxies are asked: destinations, listeners, and what is said of them."""

import asyncio
import socket

import pytest

from scanner.listener.opening import ListenerError
from scanner.model.subjects import Role, Target
from scanner.options import ScanOptions
from scanner.proxy_setup import Secrets, preparing
from scanner.sweep.plan import TargetPlan
from scanner.sweep.space import Space
from scanner.upgrade.credentials import Credentials, ProxyCredentials

pytestmark = pytest.mark.timeout(60)


def target(host, role, *ports):
    return Target(text=host, host=host, role=role, ports=ports or (443,))


PROXY = target("proxy.example", Role.PROXY, 3128)
LOGIN = target("login.example", Role.ENDPOINT)
DEVICE = target("device.example", Role.ENDPOINT, 8443, 443)
SERVER = target("adfs.example", Role.ADFS)


def prepare(*targets, secrets_of=None, look=lambda _proxying: None, **options):
    notes = []

    async def run():
        plan = TargetPlan(named=targets, space=Space(()))
        async with preparing(plan, ScanOptions(**options), secrets_of or Secrets(), notes.append) as proxying:
            look(proxying)
            return proxying

    return asyncio.run(run()), notes


def free_place():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def accepts(place):
    host, _, port = place.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def test_without_proxies_nothing_is_asked_and_no_listener_started():
    place = free_place()
    proxying, notes = prepare(LOGIN, SERVER, listener=place, look=lambda _: accepts(place) and pytest.fail("started"))
    assert proxying is None
    assert len(notes) == 1
    assert "[proxies]" in notes[0]
    assert prepare(LOGIN, SERVER) == (None, [])


def test_a_proxy_alone_is_asked_what_it_accepts_and_no_more():
    assert prepare(PROXY, SERVER) == (None, [])


def test_registration_endpoints_are_asked_for_once_each_in_order_and_by_their_first_port():
    proxying, notes = prepare(PROXY, LOGIN, SERVER, DEVICE, LOGIN)
    assert proxying.destinations == (("login.example", 443), ("device.example", 8443))
    assert proxying.accesses == ()
    assert notes == []


def test_they_are_not_where_the_user_says_so():
    assert prepare(PROXY, LOGIN, asks_paths=False) == (None, [])
    place = free_place()
    proxying, _ = prepare(PROXY, LOGIN, asks_paths=False, listener=place)
    assert proxying.destinations == ()
    assert len(proxying.accesses) == 1


def test_listeners_run_for_as_long_as_they_are_needed():
    first, second = free_place(), free_place()
    seen = []

    def look(proxying):
        seen.extend(access.destination for access in proxying.accesses)
        assert accepts(first)
        assert accepts(second)

    _, notes = prepare(PROXY, listener=f"{first}, {second}", look=look)
    assert seen == [first, second]
    assert [place in note for place, note in zip((first, second), notes, strict=True)] == [True, True]
    assert not accepts(first)
    assert not accepts(second)


def test_listeners_are_stopped_whatever_happens():
    place = free_place()

    def fail(_proxying):
        assert accepts(place)
        raise RuntimeError("the scan failed")

    with pytest.raises(RuntimeError, match="the scan failed"):
        prepare(PROXY, listener=place, look=fail)
    assert not accepts(place)


def test_the_first_is_stopped_where_the_second_can_not_be_had():
    place = free_place()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenerError, match="is not free here"):
            prepare(PROXY, listener=f"{place},{other}")
    assert not accepts(place)


@pytest.mark.parametrize("text", ["nonsense", "192.0.2.1:0", "192.0.2.1:443,nonsense"])
def test_a_listener_that_makes_no_sense_is_said_before_anything_is_asked(text):
    with pytest.raises(ListenerError):
        prepare(PROXY, listener=text)


def test_credentials_go_to_those_who_ask_and_show_nowhere():
    own = ProxyCredentials(otherwise=Credentials("user", "hunter2-hunter2"))
    secrets_of = Secrets(proxies=own, listener=b"a secret of the listener's")
    proxying, _ = prepare(PROXY, LOGIN, secrets_of=secrets_of)
    assert proxying.credentials is own
    assert "hunter2" not in repr(proxying)
