"""The peers themselves, asked by independent clients: a broken peer would prove nothing about the scanner."""

import asyncio
import socket
import ssl
import threading
import time

import pytest

from scanner.model.evidence import State
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from tests.hostile import behaviours, clients, peers, wire
from tests.hostile.honest import FIN, RESET
from tests.hostile.peers import NAME, PEERS, VERSION_SETS
from tests.hostile.runner import Peer, running, wait_until

BY_NAME = {peer.name: peer for peer in PEERS}
SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
OPENSSL_VERSIONS = {
    TLS1_0: ssl.TLSVersion.TLSv1,
    TLS1_1: ssl.TLSVersion.TLSv1_1,
    TLS1_2: ssl.TLSVersion.TLSv1_2,
    TLS1_3: ssl.TLSVersion.TLSv1_3,
}
HELLO = clients.make_hello(TLS1_2)
FICKLE = ("random-", "limit-", "balancer-", "dies-")


@pytest.fixture(scope="module")
def served():
    """All peers whose answer does not depend on what was asked before."""
    with running([peer for peer in PEERS if not peer.name.startswith(FICKLE)]) as states:
        yield states


def where(state):
    return state.address, state.port


def ask(state, hello=HELLO, **options):
    return clients.ask(where(state), hello, **options)


# Every peer: what it answers is what its truth says


def battery(peer):
    """Return hellos in many forms; between them they please every picky peer."""
    for version in ALL_VERSIONS:
        if version is SSL2:
            yield version, clients.make_hello(version)
            continue
        name = peer.server_name
        yield version, clients.make_hello(version, server_name=name)
        yield version, clients.make_hello(version, server_name=name, has_shares=False, padding_bytes=600)
        if version is not TLS1_3:
            yield version, clients.make_hello(version, suites=[*clients.RARE_SUITES, *clients.TLS12_SUITES])


async def settle(place, hello, permits):
    """Return the version that one connection settles for."""
    loop = asyncio.get_running_loop()
    data = b""
    sock = socket.socket()
    sock.settimeout(0)
    async with permits:
        try:
            async with asyncio.timeout(3):
                await loop.sock_connect(sock, place)
                await loop.sock_sendall(sock, hello)
                while (chunk := await loop.sock_recv(sock, 65536)) and len(data) < 20_000:
                    data += chunk
                    if clients.version_of(data) is not None:
                        break
        except (OSError, TimeoutError):
            pass
        finally:
            sock.close()
    return clients.version_of(data)


@pytest.fixture(scope="module")
def settled(served):
    """Versions that each peer settled for, by name."""

    async def ask_all():
        permits = asyncio.Semaphore(300)
        questions = [(name, hello) for name, state in served.items() for _, hello in battery(state.peer)]
        answers = await asyncio.gather(*(settle(where(served[name]), hello, permits) for name, hello in questions))
        found = {name: set() for name in served}
        for (name, _), version in zip(questions, answers, strict=True):
            found[name].add(version)
        return found

    return asyncio.run(ask_all())


def test_what_can_be_found_is_there(settled):
    missing = {
        name: hoped - found
        for name, found in settled.items()
        if (hoped := {v for v, state in BY_NAME[name].ideal.items() if state is State.ENABLED}) - found
    }
    assert missing == {}


def test_nothing_is_answered_that_is_not_true(settled):
    invented = {
        name: wrong
        for name, found in settled.items()
        if (wrong := found - {None} - {v for v, states in BY_NAME[name].truth.items() if State.ENABLED in states})
    }
    unknown_numbers = {
        f"says-{n:04x}{suffix}": {n} for n in (0x0305, 0x7F17, 0xFEFD, 0x0000) for suffix in ("", "-extension")
    }
    assert invented == unknown_numbers


def test_truth_is_whole():
    for peer in PEERS:
        assert set(peer.truth) == set(peer.ideal) == set(ALL_VERSIONS)
        assert all(peer.ideal[version] in states for version, states in peer.truth.items())
        assert not any({State.ENABLED, State.DISABLED} <= states for states in peer.truth.values())
        assert all(State.ENABLED in peer.truth[version] for version in peer.is_disputed)


# The honest profile, seen by OpenSSL


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("label", VERSION_SETS)
def test_openssl_reads_honest_answers(served, label):
    versions = VERSION_SETS[label]
    for version, openssl_version in OPENSSL_VERSIONS.items():
        answer = clients.openssl_answer(where(served[f"honest-{label}"]), openssl_version)
        # OpenSSL lists only the one version in supported_versions for 1.3, all lower ones by implication otherwise.
        common = [v for v in versions if SSL2 < v <= version and (version is not TLS1_3 or v is TLS1_3)]
        if common:
            assert answer == f"ServerHello {min(max(common), TLS1_2):04x}"
        else:
            assert answer == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("honest-40-12", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        ("honest-fin-12", "UNEXPECTED_EOF_WHILE_READING"),
        ("honest-rst-12", "reset"),
        ("alert-71-but-12", "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
        ("alert-40-in-0300-open", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    ],
)
def test_openssl_reads_refusals(served, name, expected):
    assert clients.openssl_answer(where(served[name]), ssl.TLSVersion.TLSv1_3) == expected


@pytest.mark.parametrize("name", ["one-byte-records", "one-byte-segments", "hello-and-certificate", "warning-112"])
def test_openssl_reads_odd_framing(served, name):
    assert clients.openssl_answer(where(served[name]), ssl.TLSVersion.TLSv1_2) == "ServerHello 0303"


def test_hello_without_shares_is_answered_with_a_retry(served):
    reply = ask(served["honest-13"], clients.make_hello(TLS1_3, has_shares=False))
    parsed = clients.parse_server_hello(reply.data)
    assert bytes(parsed.random) == clients.HELLO_RETRY_RANDOM
    assert parsed.getExtension(51).selected_group == wire.X25519


def test_honest_random_tells_of_newer_versions(served):
    ends = {
        ("honest-12-13", TLS1_2): b"DOWNGRD\x01",
        ("honest-10-11-12", TLS1_1): b"DOWNGRD\x00",
        ("honest-12", TLS1_2): wire.PLAIN_RANDOM[24:],
    }
    for (name, version), end in ends.items():
        parsed = clients.parse_server_hello(ask(served[name], clients.make_hello(version)).data)
        assert bytes(parsed.random)[24:] == end


def test_server_from_before_13_ignores_the_extension(served):
    hello = clients.make_hello(TLS1_3, suites=[0x1301, 0x002F])
    assert clients.version_of(ask(served["honest-old-10"], hello).data) == 0x0301
    assert clients.parse_alert(ask(served["honest-10"], hello).data) == (2, 70)


# Each hostile peer does what its name says


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("silence", "silent"),
        ("never-accepts", "silent"),
        ("queue-full", "no-connection"),
        ("reset-after-hello", "reset"),
        ("fin-after-hello", "fin"),
        ("fin-at-once", "fin"),
        ("reset-at-once", "reset"),
        ("http-waits", "silent"),
        ("sni-reset-missing", "reset"),
    ],
)
def test_peers_that_say_nothing(served, name, ending):
    assert ask(served[name], limit_s=0.5) == clients.Outcome(b"", ending)


def test_close_at_once_closes_or_resets(served):
    # Whether FIN or the RST for our own bytes is seen first is a race.
    outcome = ask(served["close-at-once"])
    assert outcome.data == b""
    assert outcome.ending in {"fin", "reset"}


def test_drip_sends_one_byte_in_two_seconds(served):
    begin = time.monotonic()
    with socket.create_connection(where(served["drip"]), timeout=10) as sock:
        sock.sendall(HELLO)
        assert sock.recv(100) == b"\x16"
        first_s = time.monotonic() - begin
        assert sock.recv(100) == b"\x03"
    assert time.monotonic() - begin - first_s > 1.0


@pytest.mark.parametrize(
    ("name", "padding_bytes", "is_answered"),
    [
        ("reset-over-300", 0, True),
        ("reset-over-300", 300, False),
        ("drop-256-511-12-13", 0, True),
        ("drop-256-511-12-13", 200, False),
        ("drop-256-511-12-13", 500, True),
    ],
)
def test_peers_that_look_at_the_size(served, name, padding_bytes, is_answered):
    outcome = ask(served[name], clients.make_hello(TLS1_2, padding_bytes=padding_bytes), limit_s=0.5)
    assert (clients.version_of(outcome.data) == TLS1_2) is is_answered
    if not is_answered:
        assert outcome == clients.Outcome(b"", "reset" if name.startswith("reset") else "silent")


@pytest.mark.parametrize(
    ("name", "options", "refusal"),
    [
        ("needs-scsv", {"has_scsv": False}, clients.Outcome(b"", "reset")),
        ("status-request", {"has_status_request": True}, clients.Outcome(b"", "fin")),
        (
            "over-150-suites",
            {"suites": [*clients.TLS12_SUITES, *range(0xC030, 0xC0D0)]},
            clients.Outcome(wire.encode_alert(50), "fin"),
        ),
    ],
)
def test_peers_that_look_at_the_content(served, name, options, refusal):
    assert clients.version_of(ask(served[name]).data) == TLS1_2
    assert ask(served[name], clients.make_hello(TLS1_2, **options)) == refusal


@pytest.mark.parametrize(
    ("name", "version", "suites", "alert"),
    [("psk-12", TLS1_2, [0x00A8], 40), ("export-10-40", TLS1_0, [0x0003], 40)],
)
def test_peers_with_rare_suites(served, name, version, suites, alert):
    assert clients.parse_alert(ask(served[name], clients.make_hello(version)).data) == (2, alert)
    outcome = ask(served[name], clients.make_hello(version, suites=suites))
    assert clients.version_of(outcome.data) == version


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_silent_but_one(served, version):
    state = served[f"silent-but-{version.label}"]
    for asked in ALL_VERSIONS:
        outcome = ask(state, clients.make_hello(asked), limit_s=0.3)
        assert outcome.ending == ("answered" if asked is version else "silent")
        assert clients.version_of(outcome.data) == (version if asked is version else None)


def test_every_alert_is_sent(served):
    for number in peers.ALERTS:
        for name, version in ((f"alert-{number}-always", TLS1_2), (f"alert-{number}-but-12", TLS1_0)):
            outcome = ask(served[name], clients.make_hello(version))
            assert (clients.parse_alert(outcome.data), outcome.ending) == ((2, number), "fin")


@pytest.mark.parametrize("record_version", [0x0000, 0x0300, 0x0302])
@pytest.mark.parametrize("number", [40, 70])
def test_alert_in_an_odd_record_leaves_the_socket_open(served, record_version, number):
    outcome = ask(served[f"alert-{number}-in-{record_version:04x}-open"], clients.make_hello(SSL3), limit_s=0.3)
    assert outcome.data == b"\x15" + record_version.to_bytes(2, "big") + b"\x00\x02\x02" + bytes([number])
    assert outcome.ending == "silent"


def test_close_notify_is_a_warning(served):
    assert clients.parse_alert(ask(served["alert-close-notify"], clients.make_hello(TLS1_0)).data) == (1, 0)


def test_alert_comes_in_two_segments(served):
    with socket.create_connection(where(served["alert-split"]), timeout=5) as sock:
        sock.sendall(clients.make_hello(SSL3))
        assert len(sock.recv(100)) == 6
        assert sock.recv(100) == b"\x28"


def test_warning_comes_before_the_server_hello(served):
    data = ask(served["warning-112"]).data
    assert clients.parse_alert(data[:7]) == (1, 112)
    assert clients.version_of(data[7:]) == TLS1_2


def test_one_byte_segments_come_apart(served):
    pieces = []
    with socket.create_connection(where(served["one-byte-segments"]), timeout=5) as sock:
        sock.sendall(HELLO)
        while clients.version_of(b"".join(pieces)) is None:
            pieces.append(sock.recv(1000))
    assert len(pieces) > 10


def test_one_byte_records(served):
    data = ask(served["one-byte-records"]).data
    assert len(data) % 6 == 0
    assert {data[i : i + 5] for i in range(0, len(data), 6)} == {b"\x16\x03\x03\x00\x01"}


def test_empty_record_comes_first(served):
    data = ask(served["empty-record-first"]).data
    assert data[:5] == b"\x16\x03\x03\x00\x00"
    assert clients.version_of(data[5:]) == TLS1_2


def test_hello_and_certificate_share_a_record(served):
    data = ask(served["hello-and-certificate"], limit_s=0.3, is_patient=True).data
    assert int.from_bytes(data[3:5], "big") == len(data) - 5
    hello_bytes = 4 + int.from_bytes(data[6:9], "big")
    assert data[5 + hello_bytes] == 11  # certificate, RFC 5246 section 7.4
    assert data.endswith(wire.certificate_der())


@pytest.mark.parametrize(
    ("name", "begin", "is_endless"),
    [
        ("handshake-2-24", b"\x16\x03\x03\x00\xcc\x02\xff\xff\xff", False),
        ("handshake-2-24-coming", b"\x16\x03\x03\x10\x00\x02\xff\xff\xff", True),
        ("record-65535", b"\x16\x03\x03\xff\xff", False),
        ("record-65535-coming", b"\x16\x03\x03\xff\xff", True),
        ("endless-records", b"\x17\x03\x03\x40\x00", True),
        ("endless-empty-records", b"\x16\x03\x03\x00\x00" * 3, True),
        ("endless-hello-requests", b"\x16\x03\x03\x20\x00" + bytes(8), True),
        ("endless-warnings", b"\x15\x03\x03\x00\x02\x01\x70" * 3, True),
        ("endless-zeros", bytes(100), True),
    ],
)
def test_floods(served, name, begin, is_endless):
    outcome = ask(served[name], limit_s=0.5, most_bytes=300_000)
    assert outcome.data.startswith(begin)
    assert outcome.ending == ("endless" if is_endless else "silent")


@pytest.mark.parametrize("number", [0x0305, 0x7F17, 0xFEFD, 0x0000])
def test_unknown_versions(served, number):
    parsed = clients.parse_server_hello(ask(served[f"says-{number:04x}"]).data)
    assert parsed.server_version == clients.pair(number)
    parsed = clients.parse_server_hello(ask(served[f"says-{number:04x}-extension"]).data)
    assert (parsed.server_version, parsed.getExtension(43).version) == ((3, 3), clients.pair(number))


def test_versions_never_offered(served):
    for asked in (SSL3, TLS1_0, TLS1_2):
        hello = clients.make_hello(asked)
        assert clients.version_of(ask(served["says-12-always"], hello).data) == TLS1_2
        assert clients.version_of(ask(served["says-13-always"], hello).data) == TLS1_3


def test_suites_never_offered(served):
    for version, suite in ((TLS1_2, 0xB0DE), (TLS1_3, 0x13FE)):
        data = ask(served["suite-not-offered"], clients.make_hello(version)).data
        assert clients.version_of(data) == version
        assert clients.parse_server_hello(data).cipher_suite == suite


@pytest.mark.parametrize(
    ("name", "asked", "answered", "sentinel"),
    [("downgrade-13", TLS1_3, TLS1_2, b"DOWNGRD\x01"), ("downgrade-12", TLS1_2, TLS1_1, b"DOWNGRD\x00")],
)
def test_downgrades(served, name, asked, answered, sentinel):
    hello = clients.make_hello(asked, suites=[*clients.TLS13_SUITES, *clients.TLS12_SUITES])
    data = ask(served[name], hello).data
    assert clients.version_of(data) == answered
    assert bytes(clients.parse_server_hello(data).random)[24:] == sentinel


def test_echo(served):
    assert ask(served["echo"], limit_s=0.3).data == HELLO


@pytest.mark.parametrize("has_shares", [True, False])
def test_retry_then_nothing(served, has_shares):
    hello = clients.make_hello(TLS1_3, has_shares=has_shares)
    outcome = ask(served["retry-then-nothing"], hello + hello, limit_s=0.3, is_patient=True)
    parsed = clients.parse_server_hello(outcome.data)
    assert bytes(parsed.random) == clients.HELLO_RETRY_RANDOM
    assert outcome.ending == "silent"
    if has_shares:
        assert parsed.getExtension(51).selected_group == wire.SECP256R1


@pytest.mark.parametrize(
    ("name", "begin"),
    [("http-400", b"HTTP/1.1 400"), ("ssh", b"SSH-2.0-"), ("smtp", b"220 mail.hostile.example ESMTP\r\n")],
)
def test_other_protocols(served, name, begin):
    outcome = ask(served[name], limit_s=0.3)
    assert outcome.data.startswith(begin)
    if name == "smtp":
        assert b"\r\n500 5.5.2" in outcome.data


def test_ssl2_oddities(served):
    hello = clients.make_hello(SSL2)
    assert ask(served["ssl2-no-cipher"], hello).data == b"\x80\x03\x00\x00\x01"  # SSL 2.0 draft section 2.7
    parsed = clients.parse_ssl2_server_hello(ask(served["ssl2-zero-ciphers"], hello).data)
    assert list(parsed.ciphers) == []
    assert list(clients.parse_ssl2_server_hello(ask(served["ssl2-only"], hello).data).ciphers)
    assert ask(served["ssl2-only"]) == clients.Outcome(b"", "fin")


@pytest.mark.parametrize("label", ["112", "40", "reset"])
def test_peers_that_look_at_the_name(served, label):
    refusal = {
        "112": clients.Outcome(wire.encode_alert(112), "fin"),
        "40": clients.Outcome(wire.encode_alert(40), "fin"),
        "reset": clients.Outcome(b"", "reset"),
    }[label]
    for state in (served[f"sni-{label}-missing"], served[f"sni-retry-{label}-missing"]):
        for name in (None, "wrong.hostile.example"):
            assert ask(state, clients.make_hello(TLS1_2, server_name=name)) == refusal
        right = ask(state, clients.make_hello(TLS1_2, server_name=NAME))
        assert clients.version_of(right.data) == TLS1_2
    retrying = served[f"sni-retry-{label}-wrong"]
    without_share = clients.make_hello(TLS1_3, server_name="wrong.hostile.example", has_shares=False)
    assert clients.version_of(ask(retrying, without_share).data) == TLS1_3
    assert ask(retrying, clients.make_hello(TLS1_3, server_name="wrong.hostile.example")) == refusal


def test_slow_peer_is_slow(served):
    begin = time.monotonic()
    assert clients.version_of(ask(served["slow-1.5"], limit_s=3).data) == TLS1_2
    assert time.monotonic() - begin > 1.4


def test_one_at_a_time(served):
    state = served["one-at-a-time"]
    with socket.create_connection(where(state), timeout=5) as first:
        first.sendall(HELLO)
        assert clients.version_of(first.recv(1000)) == TLS1_2
        assert ask(state, limit_s=0.3) == clients.Outcome(b"", "silent")
    assert clients.version_of(ask(state, limit_s=3).data) == TLS1_2
    assert state.max_open_count == 1


# Peers that remember


@pytest.mark.parametrize("label", ["reset", "silence"])
def test_limit(label):
    with running([BY_NAME[f"limit-{label}-12-13"]]) as states:
        (state,) = states.values()
        outcomes = [ask(state, limit_s=0.3) for _ in range(12)]
    assert [clients.version_of(outcome.data) for outcome in outcomes] == [TLS1_2] * 10 + [None] * 2
    assert outcomes[-1].ending == ("reset" if label == "reset" else "silent")


def test_limit_ends_with_its_window():
    limited = behaviours.rate_limited(peers.MODERN, most=1, window_s=0.5, excess=behaviours.reset_at_once)
    with running([peers._peer("limited", "", limited, peers.NOTHING)]) as states:
        (state,) = states.values()
        first, second = ask(state), ask(state)
        time.sleep(0.6)
        third = ask(state)
    assert [first.ending, second.ending, third.ending] == ["answered", "reset", "answered"]


def test_random_failures_are_a_fifth_and_repeatable():
    def pattern(seed):
        # FIN instead of an answer, so that nothing waits: only the endings count.
        honest = peers.profile(refusal=FIN)
        failing = behaviours.random_failures(honest, seed=str(seed), failure=RESET)
        with running([peers._peer("random", "", failing, peers.NOTHING)]) as states:
            (state,) = states.values()
            return [ask(state, clients.make_hello(version)).ending for _ in range(75) for version in (SSL3, TLS1_2)]

    first = pattern(1)
    assert first == pattern(1)
    assert first != pattern(2)
    assert 15 <= first.count("reset") <= 50
    assert set(first) == {"reset", "fin"}


def test_balancer_takes_turns():
    with running([BY_NAME["balancer-turns-0"], BY_NAME["balancer-turns-1"]]) as states:
        found = {name: [clients.version_of(ask(state).data) for _ in range(4)] for name, state in states.items()}
    assert found == {"balancer-turns-0": [TLS1_0, TLS1_2] * 2, "balancer-turns-1": [TLS1_2, TLS1_0] * 2}


def test_balancer_in_random_order_shows_both_backends_in_every_two():
    with running([BY_NAME["balancer-random-0"]]) as states:
        (state,) = states.values()
        found = [clients.version_of(ask(state).data) for _ in range(20)]
    pairs = [tuple(found[at : at + 2]) for at in range(0, 20, 2)]
    assert set(pairs) == {(TLS1_0, TLS1_2), (TLS1_2, TLS1_0)}


def test_mortal_peer_dies():
    with running([BY_NAME["dies-after-5"]]) as states:
        (state,) = states.values()
        endings = [ask(state).ending for _ in range(7)]
    assert endings == ["answered"] * 5 + ["refused"] * 2


# The runner


def test_runner_counts_and_keeps_hellos():
    with running([BY_NAME["honest-12"], BY_NAME["ssh"]]) as states:
        state = states["honest-12"]
        with (
            socket.create_connection(where(state), timeout=5) as first,
            socket.create_connection(where(state), timeout=5) as second,
        ):
            first.sendall(HELLO)
            second.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert wait_until(lambda: len(state.hellos) == 1 and len(state.unparsed) == 1)
            first.close()
        assert wait_until(lambda: state.open_count == 0)
    assert (state.connection_count, state.max_open_count) == (2, 2)
    assert state.hellos == [HELLO]
    assert state.unparsed == [b"GET / HTTP/1.1\r\n\r\n"]
    assert states["ssh"].connection_count == 0


def test_runner_leaves_nothing_behind():
    before = threading.active_count()
    names = ("silence", "drip", "queue-full", "one-at-a-time", "endless-zeros")
    with running([BY_NAME[name] for name in names]) as states:
        places = [where(state) for state in states.values()]
        open_sockets = [socket.create_connection(where(states["silence"]), timeout=5) for _ in range(20)]
    assert threading.active_count() == before
    for sock in open_sockets:
        sock.close()
    for place in places:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, timeout=1)


def test_broken_peer_fails_the_test():
    async def broken(connection, state):
        raise KeyError("a bug")

    peer = peers._peer("broken", "", broken, peers.NOTHING)

    def use():
        with running([peer]) as states:
            ask(states["broken"])
            assert wait_until(lambda: bool(states["broken"].errors))

    with pytest.raises(ExceptionGroup) as caught:
        use()
    assert caught.group_contains(KeyError)


def test_client_that_leaves_is_no_error():
    with running([BY_NAME["endless-records"]]) as states:
        (state,) = states.values()
        ask(state, most_bytes=1)
        assert wait_until(lambda: state.open_count == 0)


def test_names_are_unique():
    peer = BY_NAME["silence"]
    assert isinstance(peer, Peer)
    assert len(BY_NAME) == len(PEERS)
    with pytest.raises(ValueError, match="one name"), running([peer, peer]):
        pass


def test_issue_2_list_is_covered():
    wanted = (
        "silence drip reset-after-hello close-at-once reset-over-300 drop-256-511-10-12 needs-scsv silent-but-TLS1.3 "
        "alert-255-always random-reset-12-0 limit-reset-12-13 http-400 ssh one-byte-segments one-byte-records "
        "endless-records handshake-2-24 record-65535 says-0305 says-12-always"
    )
    assert set(wanted.split()) <= set(BY_NAME)
    assert {f"silent-but-{version.label}" for version in TlsVersion} <= set(BY_NAME)
