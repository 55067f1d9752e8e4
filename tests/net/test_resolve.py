"""DNS here is tests.net.dns_server on loopback; what it holds in its zone is the expected value."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time

import dns.resolver
import pytest

from scanner.model.runs import Resolution
from scanner.net.resolve import DnsResolver, SystemResolver
from tests.net.dns_server import DnsServer

ZONE = {
    "one.example.test": {"A": ["192.0.2.1"]},
    "both.example.test": {"A": ["192.0.2.2", "192.0.2.3"], "AAAA": ["2001:db8::2"]},
    "six.example.test": {"AAAA": ["2001:db8::6"]},
    "empty.example.test": {"MX": ["10 mail.example.test."]},
    "enterpriseregistration.example.test": {"CNAME": ["drs.example.net"]},
    "drs.example.net": {"CNAME": ["Edge.Example.net"]},
    "edge.example.net": {"A": ["198.51.100.1"], "AAAA": ["2001:db8::e"]},
    "dangling.example.test": {"CNAME": ["gone.example.net"]},
    "loop-a.example.test": {"CNAME": ["loop-b.example.test"]},
    "loop-b.example.test": {"CNAME": ["loop-a.example.test"]},
    "self.example.test": {"CNAME": ["self.example.test"]},
    "big.example.test": {"A": [f"192.0.2.{i}" for i in range(1, 101)]},
    **{f"link{i}.example.test": {"CNAME": [f"link{i + 1}.example.test"]} for i in range(20)},
    "link20.example.test": {"A": ["192.0.2.20"]},
}


async def _ask(name, *, want_cname=False, lifetime_s=3.0, **server):
    async with DnsServer(zone=ZONE, **server) as dns_server:
        resolver = DnsResolver((dns_server.address,), lifetime_s=lifetime_s)
        return await resolver.resolve(name, want_cname=want_cname), dns_server.asked


def ask(name, **options):
    return asyncio.run(_ask(name, **options))[0]


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("one.example.test", ("192.0.2.1",)),
        ("both.example.test", ("192.0.2.2", "192.0.2.3", "2001:db8::2")),
        ("six.example.test", ("2001:db8::6",)),
        ("ONE.example.test.", ("192.0.2.1",)),
    ],
)
def test_all_addresses_of_both_kinds_are_found(name, addresses):
    assert ask(name) == Resolution(addresses=addresses)


@pytest.mark.parametrize("is_chasing", [True, False])
def test_addresses_are_found_through_aliases_also_where_the_server_does_not_chase(is_chasing):
    seen = ask("enterpriseregistration.example.test", is_chasing=is_chasing)
    assert seen == Resolution(addresses=("198.51.100.1", "2001:db8::e"))


@pytest.mark.parametrize("is_chasing", [True, False])
def test_the_chain_of_canonical_names_is_given_in_order_where_asked_for(is_chasing):
    seen = ask("enterpriseregistration.example.test", want_cname=True, is_chasing=is_chasing)
    assert seen.cname_chain == ("drs.example.net", "edge.example.net")
    assert seen.addresses == ("198.51.100.1", "2001:db8::e")
    assert (seen.error, seen.cname_error) == (None, None)


def test_a_name_without_alias_has_an_empty_chain():
    assert ask("one.example.test", want_cname=True) == Resolution(addresses=("192.0.2.1",))


def test_the_chain_is_not_asked_for_otherwise():
    _, asked = asyncio.run(_ask("one.example.test"))
    assert sorted(asked) == [("udp", "one.example.test", "A"), ("udp", "one.example.test", "AAAA")]


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "::1"])
def test_an_address_is_its_own_resolution_without_a_question(address):
    seen, asked = asyncio.run(_ask(address, want_cname=True))
    assert seen == Resolution(addresses=(address,))
    assert asked == []
    assert asyncio.run(SystemResolver().resolve(address, want_cname=True)) == Resolution(addresses=(address,))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("no.example.test", {}, "does not exist"),
        ("empty.example.test", {}, "no address"),
        ("one.example.test", {"servfail": {"one.example.test"}}, "SERVFAIL"),
        ("one.example.test", {"silent": {"one.example.test"}, "lifetime_s": 0.4}, "0.4 s"),
        ("one.example.test", {"garbage": b"\x00"}, ""),
        ("dangling.example.test", {}, "does not exist"),
        ("a..b", {}, ""),
        ("x" * 64 + ".test", {}, ""),
        ("", {}, ""),
    ],
)
def test_dns_trouble_is_an_error_text_and_no_exception(name, options, words):
    seen = ask(name, **{"lifetime_s": 1.0} | options)
    assert seen.addresses == ()
    assert seen.error
    assert words in seen.error


def test_one_kind_that_gets_no_answer_does_not_hide_the_other():
    begin = time.monotonic()
    seen = ask("both.example.test", silent_kinds={"AAAA"}, lifetime_s=0.6)
    assert seen.addresses == ("192.0.2.2", "192.0.2.3")
    assert time.monotonic() - begin < 2


def test_a_name_without_records_is_an_error_only_where_the_other_kind_has_none_either():
    assert ask("six.example.test").error is None


@pytest.mark.parametrize("is_chasing", [True, False])
@pytest.mark.parametrize(
    ("name", "chain"), [("loop-a.example.test", ("loop-b.example.test",)), ("self.example.test", ())]
)
def test_a_loop_of_aliases_ends_and_is_named(name, chain, is_chasing):
    seen = ask(name, want_cname=True, is_chasing=is_chasing)
    assert seen.addresses == ()
    assert seen.error
    assert seen.cname_chain == chain
    assert "loop" in seen.cname_error


@pytest.mark.parametrize("is_chasing", [True, False])
def test_sixteen_links_are_followed_and_a_seventeenth_is_an_error(is_chasing):
    within = ask("link5.example.test", want_cname=True, is_chasing=is_chasing)  # 15 links
    assert within.addresses == ("192.0.2.20",)
    assert len(within.cname_chain) == 15
    assert within.cname_error is None
    edge = ask("link4.example.test", want_cname=True, is_chasing=is_chasing)
    assert (len(edge.cname_chain), edge.cname_error) == (16, None)
    beyond = ask("link3.example.test", want_cname=True, is_chasing=is_chasing)
    assert len(beyond.cname_chain) == 16
    assert "16" in beyond.cname_error


def test_a_chain_that_leads_nowhere_is_known_all_the_same():
    seen = ask("dangling.example.test", want_cname=True)
    assert (seen.cname_chain, seen.cname_error) == (("gone.example.net",), None)
    assert seen.error


def test_a_chain_that_breaks_off_keeps_what_was_learned():
    seen = ask("enterpriseregistration.example.test", want_cname=True, servfail={"drs.example.net"})
    assert seen.cname_chain == ("drs.example.net",)
    assert "SERVFAIL" in seen.cname_error


def test_a_truncated_answer_is_asked_for_again_over_tcp():
    seen, asked = asyncio.run(_ask("big.example.test"))
    assert seen.addresses == tuple(f"192.0.2.{i}" for i in range(1, 101))
    assert ("tcp", "big.example.test", "A") in asked


def test_a_lost_datagram_is_asked_for_again():
    assert ask("both.example.test", lossy=1, lifetime_s=1.5).addresses == ("192.0.2.2", "192.0.2.3", "2001:db8::2")


def test_a_second_server_is_asked_where_the_first_fails():
    async def run():
        async with (
            DnsServer(zone={}, servfail={"one.example.test"}) as first,
            DnsServer(zone=ZONE) as second,
        ):
            return await DnsResolver((first.address, second.address), lifetime_s=3).resolve("one.example.test")

    assert asyncio.run(run()).addresses == ("192.0.2.1",)


def test_a_hundred_names_at_once_are_all_answered():
    async def run():
        zone = {f"h{i}.example.test": {"A": [f"192.0.2.{i}"]} for i in range(100)}
        async with DnsServer(zone=zone) as server:
            resolver = DnsResolver((server.address,), lifetime_s=5, max_concurrent_count=8)
            return await asyncio.gather(*(resolver.resolve(name) for name in zone))

    assert [one.addresses for one in asyncio.run(run())] == [(f"192.0.2.{i}",) for i in range(100)]


def test_no_name_server_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="name server"):
        DnsResolver(())


# --- The system's resolver: getaddrinfo is scripted, except for localhost, which every system's hosts file has.


def test_the_hosts_file_counts():
    seen = asyncio.run(SystemResolver().resolve("localhost"))
    assert "127.0.0.1" in seen.addresses
    assert seen.error is None
    assert len(set(seen.addresses)) == len(seen.addresses)


def _found(*addresses):
    return [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, kind, 6, "", (one, 0))
        for one in addresses
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ]


def test_addresses_of_getaddrinfo_keep_their_order_and_come_once(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _found("2001:db8::1", "192.0.2.1", "2001:db8::1"))
    seen = asyncio.run(SystemResolver().resolve("sts.example.test"))
    assert seen == Resolution(addresses=("2001:db8::1", "192.0.2.1"))


def test_addresses_come_from_the_system_and_the_chain_from_dns(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _found("10.0.0.1"))

    async def run(**server):
        async with DnsServer(zone=ZONE, **server) as dns_server:
            resolver = SystemResolver(nameservers=(dns_server.address,), lifetime_s=1)
            return await resolver.resolve("enterpriseregistration.example.test", want_cname=True)

    seen = asyncio.run(run())
    assert seen == Resolution(addresses=("10.0.0.1",), cname_chain=("drs.example.net", "edge.example.net"))
    seen = asyncio.run(run(servfail={"enterpriseregistration.example.test"}))
    assert (seen.addresses, seen.error, seen.cname_chain) == (("10.0.0.1",), None, ())
    assert "SERVFAIL" in seen.cname_error


def test_a_system_without_dns_configuration_costs_the_chain_only(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _found("10.0.0.1"))

    def no_configuration(*_):
        raise dns.resolver.NoResolverConfiguration("cannot open /etc/resolv.conf")

    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", no_configuration)
    seen = asyncio.run(SystemResolver().resolve("sts.example.test", want_cname=True))
    assert seen.addresses == ("10.0.0.1",)
    assert "resolv.conf" in seen.cname_error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "temporary failure"),
        (UnicodeError("label too long"), "label too long"),
        (ValueError("embedded null character"), "embedded null"),
    ],
)
def test_what_getaddrinfo_raises_is_an_error_text(monkeypatch, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    seen = asyncio.run(SystemResolver().resolve("sts.example.test"))
    assert seen.addresses == ()
    assert words in seen.error


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example.test", "nul\x00.example.test"])
def test_text_that_is_no_name_never_reaches_the_network(name):
    seen = asyncio.run(SystemResolver().resolve(name))
    assert seen.addresses == ()
    assert seen.error


def test_a_look_up_that_hangs_is_left_and_holds_its_slot_until_it_ends(monkeypatch):
    """Names after it wait for a thread and do not time out unasked."""
    gate = threading.Event()
    running, most = 0, 0
    lock = threading.Lock()

    def look_up(name, *_, **__):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if name.startswith("slow"):
            gate.wait(10)
        with lock:
            running -= 1
        return _found("192.0.2.1")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def run():
        resolver = SystemResolver(lifetime_s=0.2, max_concurrent_count=2)
        hung = await asyncio.gather(*(resolver.resolve(f"slow{i}.example.test") for i in range(2)))
        asyncio.get_running_loop().call_later(0.5, gate.set)
        after = await asyncio.gather(*(resolver.resolve(f"quick{i}.example.test") for i in range(10)))
        return hung, after

    hung, after = asyncio.run(run())
    assert all("0.2 s" in one.error for one in hung)
    assert [one.addresses for one in after] == [("192.0.2.1",)] * 10
    assert most <= 2


def test_a_cancelled_look_up_is_left_without_complaint(monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: gate.wait(10) and _found("192.0.2.1"))

    async def run():
        resolver = SystemResolver(max_concurrent_count=1)
        task = asyncio.create_task(resolver.resolve("slow.example.test"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        return await resolver.resolve("next.example.test")

    assert asyncio.run(run()).addresses == ("192.0.2.1",)


def test_importing_the_module_does_not_import_dnspython():
    code = "import sys, scanner.net.resolve; sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
