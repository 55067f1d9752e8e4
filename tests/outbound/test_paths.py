"""What a proxy does to TLS: votes by the bytes of real handshakes, and the planner against simulated proxies."""

import itertools
import random
from dataclasses import replace

import pytest

from scanner.model.exchange import Ending, EngineReport, Probe
from scanner.model.outbound import Mirroring, PathKind
from scanner.model.subjects import Upgrade
from scanner.model.versions import TlsVersion
from scanner.outbound.paths import (
    VARIANTS,
    Passage,
    PathQuestion,
    Vote,
    group_variants,
    judge_way,
    plan_path,
    read_passages,
)
from scanner.outbound.tokens import Answer
from tests.outbound.hellos import alert_bytes, hello_bytes, server_hello_bytes, ssl2_hello_bytes
from tests.outbound.recordings import NasslPeer, meet, ssl_client, ssl_server, tlslite_server
from tests.outbound.simulated import KINDS, Scan, SimulatedProxy, scan
from tests.outbound.ways import (
    PROXY,
    OwnClient,
    arrived,
    as_arrival,
    name_of,
    question,
    re_encrypted,
    tunnelled,
)

SSL2, SSL3, V10, V11, V12, V13 = TlsVersion
ONE, TWO = (V10, V12)
LEAVES = {"listener": (b"the listener's leaf",), "proxy": (b"the proxy's leaf",)}

SESSIONS = [
    (None, V13, lambda: ssl_server(V13)),
    (None, V12, lambda: ssl_server(V12)),
    (None, V10, lambda: ssl_server(V10)),
    # A group that our hello has no share of: HelloRetryRequest (RFC 8446 section 4.1.4)
    (None, V13, lambda: ssl_server(V13, curves="secp521r1")),
    (V12, V12, lambda: ssl_server(V12)),
    (V10, V10, lambda: ssl_server(V10)),
    (V10, V10, lambda: tlslite_server(V10)),
]
UPSTREAMS = [
    lambda: ssl_client(V10, V13),
    lambda: ssl_client(V12, V12),
    NasslPeer,
    lambda: NasslPeer("TLSV1_2", is_legacy=False),
]


def passage(asked, *arrivals):
    return Passage(asked, arrivals)


# Votes


@pytest.mark.parametrize(("variant", "version", "server"), SESSIONS)
def test_one_session_with_the_same_hello_is_a_tunnel(variant, version, server):
    found = passage(*tunnelled(1, server(), version, variant=variant))
    assert found.is_identical
    assert found.is_same_session
    assert found.vote is Vote.TUNNEL
    way = judge_way([found])
    assert way.kind is PathKind.TUNNEL
    assert way.mirroring is Mirroring.UNKNOWN
    offer = "TLS 1.0 to 1.3" if variant is None else f"{variant.title} only"
    (line,) = way.proof
    assert line == f"our client offered {offer}: the same hello arrived, the listener's answer came back"


@pytest.mark.parametrize(("variant", "version", "server"), SESSIONS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_two_sessions_are_re_encryption(variant, version, server, upstream):
    """Whatever is on the proxy's two sides: here the same server software stands for the front and for the listener."""
    found = passage(*re_encrypted(1, server(), upstream(), ssl_server(V12), version, variant=variant))
    assert not found.is_identical
    assert found.is_same_session is False
    assert found.vote is Vote.RE_ENCRYPTS
    assert judge_way([found]).kind is PathKind.RE_ENCRYPTS


@pytest.mark.parametrize(("variant", "version", "server"), SESSIONS)
def test_a_record_cut_anew_on_the_way_is_the_same_hello(variant, version, server):
    asked, arrival = tunnelled(1, server(), version, variant=variant)
    size = int.from_bytes(arrival.received[3:5], "big")
    message, rest = arrival.received[5 : 5 + size], arrival.received[5 + size :]
    head = arrival.received[:3]
    cut = head + (100).to_bytes(2, "big") + message[:100] + head + (size - 100).to_bytes(2, "big") + message[100:]
    assert passage(asked, replace(arrival, received=cut + rest)).vote is Vote.TUNNEL


@pytest.mark.parametrize(("variant", "version", "server"), SESSIONS[:3] + SESSIONS[4:])
def test_a_hello_handed_on_with_a_certificate_of_its_own_is_no_tunnel(variant, version, server):
    """Squid peeks so: the client's hello goes to the server byte for byte, and the client gets another answer."""
    client = OwnClient(variant, name_of(1))
    hello = client.feed(b"")
    answer = server().feed(hello)
    front = server().feed(hello)
    assert answer != front
    asked = question(1, variant=variant, sent=hello, received=front)
    found = passage(asked, arrived(1, received=hello, sent=answer, version=version))
    assert found.is_identical
    assert found.vote is Vote.RE_ENCRYPTS


@pytest.mark.parametrize(("variant", "version", "server"), SESSIONS)
def test_a_changed_hello_within_one_session_decides_nothing(variant, version, server):
    asked, arrival = tunnelled(1, server(), version, variant=variant)
    changed = bytearray(arrival.received)
    changed[20] ^= 1  # within the random (RFC 8446 section 4.1.2)
    found = passage(asked, replace(arrival, received=bytes(changed)))
    assert found.vote is Vote.CONTRADICTION
    whole = [found, passage(*tunnelled(2, ssl_server(V12)))]
    assert judge_way(whole).kind is judge_way(whole[::-1]).kind is PathKind.UNKNOWN


@pytest.mark.parametrize(("variant", "version", "server"), SESSIONS)
def test_lost_bytes_never_change_a_vote(variant, version, server):
    """What is missing on either side leaves it open; it never turns a tunnel into re-encryption or the reverse."""
    for (asked, arrival), vote in (
        (tunnelled(1, server(), version, variant=variant), Vote.TUNNEL),
        (re_encrypted(1, server(), ssl_client(V10, V13), ssl_server(V12), variant=variant), Vote.RE_ENCRYPTS),
    ):
        votes = set()
        for size in range(0, 400, 23):
            for mine, theirs, out in itertools.product((size, None), repeat=3):
                part = passage(
                    replace(asked, received=asked.received[:mine]),
                    replace(arrival, received=arrival.received[:theirs], sent=arrival.sent[:out]),
                )
                votes.add(part.vote)
        assert votes == {None, vote}


def test_nothing_is_said_from_one_end_alone():
    asked, arrival = tunnelled(1, ssl_server(V12))
    assert passage(asked).vote is None
    assert passage(replace(asked, received=b""), arrival).vote is None
    assert passage(replace(asked, received=alert_bytes(40)), arrival).vote is None
    assert passage(asked, replace(arrival, sent=b"")).vote is None
    assert passage(asked, replace(arrival, received=b"GET / HTTP/1.1\r\n\r\n")).vote is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_connection_of_the_proxys_own_beside_the_tunnel(order):
    """Some proxies look at a server's certificate by a connection of their own, and then pass the client through."""
    asked, arrival = tunnelled(1, ssl_server(V12))
    beside = [as_arrival(meet(ssl_client(V12, V13), ssl_server(V12), V12), 1, number=number) for number in (2, 3)]
    arrivals = [arrival, *beside]
    found = passage(asked, *(arrivals[at] for at in order))
    assert found.vote is Vote.TUNNEL


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_several_connections_of_a_proxy_that_re_encrypts(order):
    asked, arrival = re_encrypted(1, ssl_server(V12), ssl_client(V12, V13), ssl_server(V13))
    again = as_arrival(meet(ssl_client(V10, V12), ssl_server(V12), V12), 1, number=2)
    found = passage(asked, *([arrival, again][at] for at in order))
    assert found.vote is Vote.RE_ENCRYPTS


def test_where_only_the_proxys_own_look_arrived_the_listeners_certificate_tells():
    """The tunnel's own connection was not noted: another session arrived, but it was the listener who answered us."""
    asked, arrival = tunnelled(1, ssl_server(V12))
    beside = as_arrival(meet(ssl_client(V12, V13), ssl_server(V12), V12), 1, number=2)

    def shown(exchange, who):
        return replace(exchange, engine=EngineReport(engine="test", completed=True, chain_der=LEAVES[who]))

    assert passage(shown(asked, "listener"), shown(beside, "listener")).vote is None
    assert passage(shown(asked, "proxy"), shown(beside, "listener")).vote is Vote.RE_ENCRYPTS
    both = [shown(beside, "listener"), shown(arrival, "listener")]
    assert passage(shown(asked, "listener"), *both).vote is Vote.TUNNEL


def test_certificates_decide_where_there_is_no_random():
    """SSL 2.0 has no ServerHello.random (draft-hickman-netscape-ssl-00 section 2.6)."""
    hello = ssl2_hello_bytes(version=0x0303)
    ssl2_answer = b"\x80\x0b\x04\x00\x01\x00\x02" + bytes(6)
    for who, vote in (("listener", Vote.CONTRADICTION), ("proxy", Vote.RE_ENCRYPTS)):
        asked = question(1, sent=hello_bytes(), received=server_hello_bytes(0x0303), chain=LEAVES[who])
        found = passage(asked, arrived(1, received=hello, sent=ssl2_answer, chain=LEAVES["listener"]))
        assert found.vote is vote
        assert passage(asked, arrived(1, received=hello, sent=ssl2_answer)).vote is None
    same = question(1, sent=hello, received=ssl2_answer, chain=LEAVES["listener"])
    assert passage(same, arrived(1, received=hello, sent=ssl2_answer, chain=LEAVES["listener"])).vote is Vote.TUNNEL


def test_a_retry_request_alone_proves_nothing():
    """Its random is the same for all (RFC 8446 section 4.1.3)."""
    for make in (tunnelled, lambda serial, server: re_encrypted(serial, server, ssl_client(V13, V13), ssl_server(V13))):
        asked, arrival = make(1, ssl_server(V13, curves="secp521r1"))
        retry_bytes = 5 + int.from_bytes(asked.received[3:5], "big")
        asked = replace(asked, received=asked.received[:retry_bytes])
        assert passage(asked, arrival).vote is None
        assert passage(asked, replace(arrival, sent=asked.received)).vote is None


# The whole way


def declined(serial, text="403 Forbidden", **more):
    return passage(question(serial, ending=Ending.UPGRADE_DECLINED, os_error=text, received=b"HTTP/1.1 403", **more))


def test_a_way_that_was_not_opened_is_blocked_with_the_proxys_words():
    way = judge_way([declined(1), declined(2), declined(3, "407 Authenticate")])
    assert way.kind is PathKind.BLOCKED
    assert way.reason == "the proxy would not open the way: 403 Forbidden, 407 Authenticate"
    assert way.proof == (
        "our client offered TLS 1.0 to 1.3: the proxy said 403 Forbidden (2 times)",
        "our client offered TLS 1.0 to 1.3: the proxy said 407 Authenticate",
    )


@pytest.mark.parametrize(
    "others",
    [
        [passage(question(2, ending=Ending.PEER_RESET))],
        [passage(question(2, ending=Ending.TIMED_OUT_CONNECT))],
        [passage(question(2, ending=Ending.REFUSED))],
        [passage(question(2, sent=hello_bytes(), ending=Ending.TIMED_OUT_READ))],
    ],
)
def test_what_was_not_said_is_not_blocked(others):
    assert judge_way(others).kind is PathKind.UNKNOWN
    assert judge_way([declined(1), *others]).kind is PathKind.UNKNOWN


@pytest.mark.parametrize(
    ("passages", "reason"),
    [
        ([], "nothing was asked"),
        ([passage(question(1, ending=Ending.PEER_RESET))], "the proxy gave no answer (peer-reset)"),
        (
            [passage(question(1, sent=hello_bytes(), ending=Ending.TIMED_OUT_READ))],
            "the proxy opened the way, but nothing arrived at the listener and nothing came back",
        ),
        (
            [passage(question(1, sent=hello_bytes(), received=server_hello_bytes(0x0303)))],
            "somebody answered, but nothing arrived at the listener",
        ),
        (
            [passage(question(1, sent=hello_bytes()), arrived(1, received=hello_bytes()))],
            "hellos arrived, but no answer came back to compare with",
        ),
    ],
)
def test_what_is_not_known_says_why(passages, reason):
    way = judge_way(passages)
    assert (way.kind, way.reason) == (PathKind.UNKNOWN, reason)


def test_a_way_that_does_both_is_not_known():
    tunnel = passage(*tunnelled(1, ssl_server(V12)))
    other = passage(*re_encrypted(2, ssl_server(V12), ssl_client(V12, V13), ssl_server(V13)))
    for order in ([tunnel, other], [other, tunnel]):
        assert judge_way(order).kind is PathKind.UNKNOWN
        assert judge_way(order).mirroring is Mirroring.UNKNOWN


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        # What the proxy's own client offers when ours offers TLS 1.0 to 1.3, TLS 1.2 only, TLS 1.0 only
        (((V10, V13), (V10, V13), (V10, V13)), Mirroring.INDEPENDENT),
        (((V10, V13), (V10, V12), (V10, V12)), Mirroring.MIRRORS),
        (((V10, V13), (V12, V12), (V10, V10)), Mirroring.MIRRORS),
        (((V12, V13), (V12, V13), None), Mirroring.INDEPENDENT),
        (((V12, V13), (V12, V12), None), Mirroring.MIRRORS),
        (((V12, V13), None, None), Mirroring.UNKNOWN),
        ((None, (V12, V12), (V10, V10)), Mirroring.UNKNOWN),
    ],
)
def test_mirroring_is_by_the_highest_version_for_each_form_of_our_hello(offers, expected):
    passages = [
        passage(
            *re_encrypted(
                serial, ssl_server(variant or V13), ssl_client(*offer), ssl_server(offer[1]), offer[1], variant=variant
            )
        )
        for serial, (variant, offer) in enumerate(zip(VARIANTS, offers, strict=True), 1)
        if offer is not None
    ]
    for order in itertools.permutations(passages):
        assert judge_way(order).mirroring is expected


def test_groups_are_forms_that_get_the_same_hello_of_the_proxys():
    low, high = (lambda: ssl_client(V10, V12)), (lambda: ssl_client(V10, V13))
    made = [
        passage(*re_encrypted(serial, ssl_server(variant or V13), client(), ssl_server(V12), variant=variant))
        for serial, (variant, client) in enumerate(zip(VARIANTS, (high, low, low), strict=True), 1)
    ]
    assert group_variants(made) == ((None,), (V12, V10))
    assert group_variants(made[:1]) == ((None,),)
    assert group_variants([]) == ()


# Which exchanges are whose


def test_passages_are_those_of_one_proxy_one_way_and_one_listener():
    own = tunnelled(1, ssl_server(V12))
    direct = (
        question(2, is_direct=True, sent=hello_bytes(name=name_of(2)), received=server_hello_bytes(0x0303)),
        arrived(2, received=hello_bytes(name=name_of(2)), sent=server_hello_bytes(0x0303)),
    )
    others = [
        question(3, way=replace(PROXY, port=3129)),
        question(4, way=replace(PROXY, address="192.0.2.2")),
        question(5, way=replace(PROXY, upgrade=Upgrade.SOCKS5)),
        question(6, way=replace(PROXY, destination="192.0.2.98:443")),
    ]
    exchanges = [*others, *direct, *own]
    for order in (exchanges, exchanges[::-1]):
        (found,) = read_passages(order, PROXY)
        assert (found.question, found.arrivals) == (own[0], (own[1],))
        (straight,) = read_passages(order, replace(PROXY, upgrade=Upgrade.NONE), is_direct=True)
        assert (straight.question, straight.arrivals) == (direct[0], (direct[1],))
    (by_port,) = read_passages(exchanges, replace(PROXY, port=3129))
    assert by_port.question is others[0]


# The planner


def test_the_first_question_goes_straight():
    """Where the listener can't be reached at all, nothing is to be held against the proxy."""
    assert plan_path((), ()) == PathQuestion(None, Answer.ANY, is_direct=True)
    straight = [passage(question(1, is_direct=True, ending=Ending.REFUSED))]
    assert plan_path((), straight) == PathQuestion(None, Answer.ANY)


def test_a_tunnel_needs_a_question_for_each_form_of_hello():
    asked = scan(SimulatedProxy(kind="tunnel"), random.Random(1))
    assert [(each.variant, each.answer) for each in asked.questions] == [(form, Answer.ANY) for form in VARIANTS]
    assert asked.way.kind is PathKind.TUNNEL


def test_a_proxy_that_says_no_is_asked_twice():
    asked = scan(SimulatedProxy(kind="forbids"), random.Random(1))
    assert len(asked.questions) == 2
    assert asked.way.kind is PathKind.BLOCKED


def test_a_hello_in_tls_records_is_no_question_about_ssl_2():
    for seed, kind in itertools.product(range(8), ("re-encrypts", "mirrors")):
        asked = scan(SimulatedProxy.draw(random.Random(seed), kind), random.Random(seed))
        assert Answer.SSL2 not in {each.answer for each in asked.questions}


MOST_QUESTIONS = 3 * 3 + 3 * 5 * (8 + 1)
"""Three forms of hello three times, and for each form five versions eight times with a control."""


@pytest.mark.parametrize("kind", KINDS)
def test_without_noise_every_kind_is_known(kind):
    for seed in range(30):
        proxy = SimulatedProxy.draw(random.Random(seed), kind)
        asked = scan(proxy, random.Random(seed))
        assert asked.way.kind is proxy.truth, proxy
        for version, state in asked.states().items():
            assert state in {proxy.state(version), "unknown"}, (proxy, version)
            if kind in {"re-encrypts", "mirrors"} and proxy.refuses == 70 and version is not SSL2:
                # Below the lowest version that the proxy gives a list of, or above its maximum, all is told.
                assert state == proxy.state(version), (proxy, version)
        assert len(asked.questions) <= MOST_QUESTIONS
        if proxy.truth is PathKind.RE_ENCRYPTS and proxy.refuses == 70:
            assert len(asked.questions) <= 3 + 3 * 5 * 3


@pytest.mark.parametrize(("noise", "scans"), [(0.05, 300), (0.2, 1_500), (0.5, 500)])
def test_under_noise_nothing_is_wrong_and_the_planner_ends(noise, scans, record_for_summary):
    chance = random.Random(f"noise {noise}")
    known = count = most = 0
    for _ in range(scans):
        proxy = SimulatedProxy.draw(chance, chance.choice(list(KINDS)))
        asked = scan(proxy, chance, noise=noise)
        count += 1
        known += asked.way.kind is proxy.truth
        most = max(most, len(asked.questions))
        assert asked.way.kind in {proxy.truth, PathKind.UNKNOWN}, proxy
        assert len(asked.questions) <= MOST_QUESTIONS, proxy
        for version, state in asked.states().items():
            assert state in {proxy.state(version), "unknown"}, (proxy, version)
    record_for_summary(
        f"paths: {count} simulated scans, noise {noise:.0%}: {known} kinds known, at most {most} questions"
    )
    assert known > count * (0.9 if noise <= 0.2 else 0.6)


def test_order_of_arrivals_and_passages_changes_nothing():
    chance = random.Random(11)
    for _ in range(60):
        proxy = SimulatedProxy.draw(chance, chance.choice(list(KINDS)))
        asked = scan(proxy, chance, noise=0.1)
        mine = [each for each in asked.exchanges if each.request.probe is Probe.PATH]
        arrivals = [each for each in asked.exchanges if each.request.probe is Probe.LISTENER]
        chance.shuffle(arrivals)
        for order in ([*mine, *arrivals], [*arrivals, *mine]):
            again = Scan(exchanges=order)
            way = again.way
            assert (way.kind, way.reason, way.mirroring) == (asked.way.kind, asked.way.reason, asked.way.mirroring)
            assert again.states() == asked.states()
