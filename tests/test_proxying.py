"""The order of a proxy's questions, with a scripted proxy and a scripted listener."""

import asyncio
from dataclasses import replace

import pytest

from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.subjects import Endpoint, Role, Target, Upgrade
from scanner.model.versions import TlsVersion
from scanner.outbound.tokens import Answer, read_name, read_path
from scanner.proxying import Proxying, ask_proxy
from scanner.upgrade.credentials import ProxyCredentials
from tests.outbound.hellos import hello_bytes, server_hello_bytes
from tests.outbound.recordings import AT

V12, V13 = TlsVersion.TLS1_2, TlsVersion.TLS1_3
OWN = Endpoint(host="proxy.example", address="192.0.2.1", port=3128, server_name="proxy.example")
TARGET = Target(text="p", host="proxy.example", role=Role.PROXY, ports=(3128,), proxy=Upgrade.HTTP_CONNECT)


class Access:
    """A listener: what it saw of a nonce is what the proxy under test made arrive there."""

    def __init__(self, destination="192.0.2.99:443", suffix="tls-probe.invalid", error=None):
        self.destination, self.name_suffix, self.error = destination, suffix, error
        self.seen = {}
        self.collected = []

    async def collect(self, nonces, *, wait_s):
        assert 0 < wait_s <= 5
        self.collected += nonces
        if self.error is not None:
            raise self.error
        return [exchange for nonce in nonces for exchange in self.seen.get(nonce, ())]

    async def close(self):
        raise AssertionError("it is not ours to close")


class Host:
    """A proxy under way. does: tunnel, re-encrypts, declines or shuts; completes: versions of handshakes that do."""

    def __init__(self, does="tunnel", *, access=None, names=None, completes=(V12,)):
        self.does, self.access, self.completes = does, access, completes
        self.names = names or {}
        self.exchanges = []
        self.listed = []
        self.log = []
        self._serial = 0

    def _request(self, probe, endpoint, version=None, variant=None):
        self._serial += 1
        return ProbeRequest(id=self._serial, probe=probe, endpoint=endpoint, version=version, variant=variant)

    def _note(self, request, *, sent=b"", received=b"", ending=Ending.COMPLETE, engine=None, os_error=None):
        made = Exchange(
            request=request,
            started_at=AT,
            sent=sent,
            received=received,
            ending=ending,
            elapsed_s=0.1,
            os_error=os_error,
            engine=engine,
        )
        self.exchanges.append(made)
        return made

    def list_endpoint(self, endpoint):
        self.log.append(("list", endpoint))
        self.listed.append(endpoint)

    def add(self, arrivals):
        self.log.append(("add", len(arrivals)))
        self.exchanges += arrivals

    def new_nonce(self):
        self._serial += 1
        return f"{self._serial:016x}"

    async def climb(self, endpoint, confirm):
        self.log.append(("climb", endpoint, frozenset(confirm)))
        self._note(
            self._request(Probe.HELLO, endpoint, V12, HelloVariant.BROAD),
            sent=hello_bytes(name=endpoint.server_name),
            received=server_hello_bytes(0x0303),
        )
        if self.does != "declines":
            for version in self.completes:
                self._handshake(endpoint, version)

    def _handshake(self, endpoint, version):
        is_completed = version in self.completes
        engine = EngineReport(engine="e", completed=is_completed, chain_der=(b"leaf",) if is_completed else ())
        return self._note(self._request(Probe.HANDSHAKE, endpoint, version), sent=b"x", engine=engine)

    async def ask_path(self, endpoint, variant, path):
        token = read_name(endpoint.server_name)
        assert read_path(path) == token
        self.log.append(("path", endpoint, variant, token.answer))
        request = self._request(Probe.PATH, endpoint, variant)
        if self.does == "declines" and endpoint.upgrade is not Upgrade.NONE:
            return self._note(request, ending=Ending.UPGRADE_DECLINED, os_error="403 Forbidden")
        if self.does == "shuts":
            return self._note(request, ending=Ending.PEER_RESET)
        serial = bytes([self._serial]) * 32
        sent = hello_bytes(name=endpoint.server_name, random=serial)
        answer = server_hello_bytes(0x0303, random=serial)
        arrived, back = sent, answer
        if self.does == "re-encrypts" and endpoint.upgrade is not Upgrade.NONE:
            arrived = hello_bytes(name=endpoint.server_name, random=b"\x99" * 32, legacy=0x0303)
            back = server_hello_bytes(0x0303, random=b"\x98" * 32)
        if self.access is not None:
            listener_side = Exchange(
                request=ProbeRequest(
                    id=1,
                    probe=Probe.LISTENER,
                    endpoint=Endpoint(
                        host="192.0.2.1", address="192.0.2.1", port=443, server_name=endpoint.server_name
                    ),
                    version=V12,
                ),
                started_at=AT,
                sent=answer,
                received=arrived + b"\x16\x03\x03\x00\x04\x10\x00\x00\x00",
                ending=Ending.COMPLETE,
                elapsed_s=0.1,
                engine=EngineReport(engine="e", completed=True),
            )
            self.access.seen[token.nonce] = [listener_side]
        return self._note(request, sent=sent, received=back)

    async def ask_handshake(self, endpoint, version):
        self.log.append(("handshake", endpoint, version))
        return self._handshake(endpoint, version)

    async def reach(self, name, port):
        self.log.append(("reach", name, port))
        return next(iter(self.names.get(name, () if name[0].isalpha() else (name,))), None)

    def kinds(self):
        return [entry[0] for entry in self.log]

    def paths(self):
        return [entry[1:] for entry in self.log if entry[0] == "path"]


def ask(host, *, accesses=(), destinations=(), target=TARGET, endpoints=(OWN,)):
    proxying = Proxying(credentials=ProxyCredentials(), accesses=tuple(accesses), destinations=tuple(destinations))
    asyncio.run(asyncio.wait_for(ask_proxy(proxying, host, target, endpoints), 20))
    return host


def test_a_tunnel_is_asked_straight_first_then_with_each_form_of_hello():
    access = Access()
    host = ask(Host(access=access), accesses=[access])
    assert [(variant, answer) for _, variant, answer in host.paths()] == [
        (None, Answer.ANY),
        (None, Answer.ANY),
        (V12, Answer.ANY),
        (TlsVersion.TLS1_0, Answer.ANY),
    ]
    straight, *through = [endpoint for endpoint, _, _ in host.paths()]
    assert (straight.address, straight.port, straight.upgrade) == ("192.0.2.99", 443, Upgrade.NONE)
    assert straight.destination == access.destination
    assert {(each.address, each.port, each.upgrade, each.destination) for each in through} == {
        ("192.0.2.1", 3128, Upgrade.HTTP_CONNECT, access.destination)
    }
    nonces = [read_name(endpoint.server_name).nonce for endpoint, _, _ in host.paths()]
    assert len(set(nonces)) == len(nonces)
    assert access.collected == nonces
    assert host.listed == []  # a tunnel has no TLS of its own to climb
    assert "climb" not in host.kinds()


def test_arrivals_are_credited_to_the_proxy_and_keep_where_they_came_from():
    access = Access()
    host = ask(Host(access=access), accesses=[access])
    arrivals = [each for each in host.exchanges if each.request.probe is Probe.LISTENER]
    assert arrivals
    assert {each.request.endpoint.host for each in arrivals} == {"proxy.example"}
    assert {each.request.endpoint.address for each in arrivals} == {"192.0.2.1"}


def test_re_encryption_is_climbed_under_one_name_and_what_it_passed_on_is_fetched():
    access = Access()
    host = ask(Host("re-encrypts", access=access), accesses=[access])
    (inner,) = host.listed
    climbs = [entry[1:] for entry in host.log if entry[0] == "climb"]
    assert climbs == [(inner, frozenset({V12, V13}))]
    assert (inner.upgrade, inner.destination) == (Upgrade.HTTP_CONNECT, access.destination)
    token = read_name(inner.server_name)
    assert token.answer is Answer.ANY
    assert access.collected[-1] == token.nonce
    assert access.collected.count(token.nonce) == 1
    assert host.kinds()[-3:] == ["list", "climb", "add"]


def test_a_proxy_that_declines_is_not_climbed_and_nothing_is_fetched_for_it():
    access = Access()
    host = ask(Host("declines", access=access), accesses=[access])
    assert len(host.paths()) == 3  # straight, and twice
    assert len(access.collected) == 1  # the straight one
    assert host.listed == []


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError("no route")])
def test_a_listener_that_fails_costs_no_verdict_and_no_scan(error):
    access = Access(error=error)
    host = ask(Host(access=access), accesses=[access], destinations=[("login.example", 443)])
    assert not any(each.request.probe is Probe.LISTENER for each in host.exchanges)
    assert len(host.paths()) <= 1 + 3 * 3
    assert host.listed[-1].server_name == "login.example"  # it goes on


def test_a_listener_without_an_address_is_asked_for_all_the_same():
    """The proxy may know the name although this machine does not."""
    access = Access("listener.example:8443", "listener.example")
    host = ask(Host(access=access), accesses=[access])
    through = [endpoint for endpoint, _, _ in host.paths()]
    assert ("reach", "listener.example", 8443) in host.log
    assert through
    for endpoint in through:
        assert endpoint.upgrade is not Upgrade.NONE  # no address: nobody is contacted without the proxy
        assert endpoint.server_name.endswith(".listener.example")


@pytest.mark.parametrize(
    ("destination", "place"),
    [
        ("192.0.2.99:8443", ("192.0.2.99", 8443)),
        ("[2001:db8::9]:443", ("2001:db8::9", 443)),
        ("listener.example:9443", ("192.0.2.77", 9443)),
    ],
)
def test_the_straight_way_goes_to_the_listeners_own_port(destination, place):
    access = Access(destination)
    names = {"listener.example": ("192.0.2.77", "192.0.2.78"), "2001:db8::9": ("2001:db8::9",)}
    host = ask(Host(access=access, names=names), accesses=[access])
    straight = host.paths()[0][0]
    assert (straight.address, straight.port) == place


def test_each_listener_is_asked_for():
    first, second = Access(), Access("192.0.2.98:443")
    host = Host(access=first)
    ask(host, accesses=[first, second])
    assert {endpoint.destination for endpoint, _, _ in host.paths()} == {first.destination, second.destination}


def test_a_port_that_says_nothing_is_not_asked():
    access = Access()
    host = ask(Host(access=access), accesses=[access], target=replace(TARGET, proxy=None))
    assert host.log == []


# Registration endpoints


def test_a_destination_is_climbed_and_then_asked_straight_for_its_certificate():
    host = ask(Host(names={"login.example": ("192.0.2.50",)}), destinations=[("login.example", 8443)])
    through = replace(OWN, upgrade=Upgrade.HTTP_CONNECT, server_name="login.example", destination="login.example:8443")
    direct = replace(through, address="192.0.2.50", port=8443, upgrade=Upgrade.NONE)
    assert host.log == [
        ("list", through),
        ("climb", through, frozenset({V12, V13})),
        ("reach", "login.example", 8443),
        ("handshake", direct, V12),
    ]


def test_the_straight_handshake_is_tried_with_both_versions():
    host = Host(names={"login.example": ("192.0.2.50",)}, completes=(V13,))
    ask(host, destinations=[("login.example", 443)])
    assert [entry[2] for entry in host.log if entry[0] == "handshake"] == [V12, V13]


@pytest.mark.parametrize("host", [Host("declines", names={"login.example": ("192.0.2.50",)}), Host()])
def test_no_straight_question_where_there_is_nothing_to_compare_or_no_address(host):
    ask(host, destinations=[("login.example", 443)])
    assert "handshake" not in host.kinds()


def test_two_ports_of_a_proxy_share_the_straight_certificate():
    host = Host(names={"login.example": ("192.0.2.50",)})
    ask(host, destinations=[("login.example", 443)], endpoints=(OWN, replace(OWN, port=8080)))
    assert host.kinds().count("climb") == 2
    assert host.kinds().count("handshake") == 1


@pytest.mark.parametrize(
    ("name", "server_name", "destination"),
    [
        ("192.0.2.50", None, "192.0.2.50:443"),
        ("2001:db8::50", None, "[2001:db8::50]:443"),
        ("sts.example", "sts.example", "sts.example:443"),
    ],
)
def test_an_address_is_no_server_name(name, server_name, destination):
    host = ask(Host("declines"), destinations=[(name, 443)])
    (through,) = host.listed
    assert (through.server_name, through.destination) == (server_name, destination)


def test_the_work_of_a_proxy_grows_with_what_it_is_asked():
    empty = Proxying(credentials=ProxyCredentials())
    assert empty.part_count == 1
    both = replace(empty, accesses=(Access(),), destinations=(("a", 443), ("b", 443)))
    assert both.part_count > replace(both, destinations=()).part_count > 1
