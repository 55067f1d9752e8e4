"""The scanner against the hostile peers: never wrong, never late, never at the cost of another host."""

import asyncio
import time
from dataclasses import dataclass

import pytest

from scanner.model.evidence import State
from scanner.model.runs import EndpointResult, HostResult
from scanner.model.subjects import Direction, Role, Target
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.net import budgets
from scanner.options import Confirm, ScanOptions
from tests.hostile import wire
from tests.hostile.peers import CLOSING, NAME, PEERS, RESETTING, balancer_peers, random_failure_peers
from tests.hostile.runner import Peer, PeerState, running
from tests.scanning import scan_targets

NETS = ("epoll", "asyncio")
TIMEOUT_S = 1.0
HOST_DEADLINE_S = 25.0
NOISY_DEADLINE_S = 18.0
"""Room for some twenty questions at the pace that noise calls for."""
SLACK_S = 40.0
"""What a busy machine may add to the host deadline before a scan counts as hanging."""


@dataclass(frozen=True)
class Scan:
    """One scan of many peers, and what the peers saw of it."""

    states: dict[str, PeerState]
    hosts: dict[str, HostResult]
    elapsed_s: float

    def endpoint(self, name: str) -> EndpointResult:
        (endpoint,) = self.hosts[name].endpoints
        return endpoint

    def found(self, name: str) -> dict[TlsVersion, State]:
        return {verdict.version: verdict.state for verdict in self.endpoint(name).verdicts}


def target_of(state: PeerState) -> Target:
    return Target(
        text=f"{state.address}:{state.port}",
        host=state.address,
        role=Role.SERVER,
        ports=(state.port,),
        server_name=state.peer.server_name,
    )


@pytest.fixture(autouse=True, scope="module")
def nobody_is_spared():
    """Without back-off: here hundreds of hosts of two /24 fail on purpose, for which it would rightly take an hour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budgets, "_TROUBLES", budgets._OUTCOMES + 1)
        patch.setattr(budgets, "_HISTORY_TROUBLES", budgets._HISTORY + 1)
        yield


def scan(peers: list[Peer], net: str, *, host_deadline_s: float = HOST_DEADLINE_S) -> Scan:
    """Scan all peers in one run."""
    options = ScanOptions(
        confirm=Confirm.NONE, timeout_s=TIMEOUT_S, host_deadline_s=host_deadline_s, net=net, per_network=0
    )
    with running(peers) as states:
        targets = {name: target_of(state) for name, state in states.items()}
        begin = time.monotonic()
        result = asyncio.run(scan_targets(list(targets.values()), options))
        elapsed_s = time.monotonic() - begin
    by_text = {host.target.text: host for host in result.hosts}
    return Scan(dict(states), {name: by_text[target.text] for name, target in targets.items()}, elapsed_s)


def wrong_verdicts(done: Scan, prefix: str = "") -> list[str]:
    """Return a line for each verdict that the truth about its peer does not allow; prefix: of the peers' names."""
    return [
        f"{name}: {verdict.version.label} is called {verdict.state.value}, allowed are "
        f"{', '.join(sorted(state.peer.truth[verdict.version]))}: {verdict.reason}"
        for name, state in done.states.items()
        for verdict in done.endpoint(name).verdicts
        if name.startswith(prefix) and verdict.state not in state.peer.truth[verdict.version]
    ]


@pytest.fixture(scope="module", params=NETS)
def done(request):
    """All peers, hostile and honest together, in one run for each way of using the network."""
    return scan(list(PEERS), request.param)


def test_no_verdict_is_wrong(done):
    wrong = wrong_verdicts(done)
    assert not wrong, "\n".join(wrong)


def test_every_peer_has_a_verdict_for_every_version(done):
    for name in done.states:
        asked_about = [(verdict.direction, verdict.version) for verdict in done.endpoint(name).verdicts]
        assert asked_about == [(Direction.INBOUND, version) for version in ALL_VERSIONS], name


def test_scan_ends_within_the_host_deadline(done):
    assert done.elapsed_s < HOST_DEADLINE_S + SLACK_S


def test_honest_peers_get_at_most_12_connections(done):
    counts = {name: state.connection_count for name, state in done.states.items() if state.peer.is_ordinary}
    assert len(counts) >= 12
    assert {name: count for name, count in counts.items() if count > 12} == {}


def test_connection_count_is_what_the_peer_saw(done):
    # Only for peers that see every connection: a reset at once can overtake accept, a full queue hides them.
    for name, state in done.states.items():
        if state.peer.is_ordinary:
            assert done.endpoint(name).connection_count == state.connection_count, name


def test_gap_says_what_kept_us_from_knowing(done):
    missing = {}
    for name, state in done.states.items():
        endpoint = done.endpoint(name)
        gaps = [*endpoint.gaps, *(gap for verdict in endpoint.verdicts for gap in verdict.gaps)]
        reasons = {gap.reason.value for gap in gaps}
        if state.peer.gap is not None and state.peer.gap not in reasons:
            missing[name] = (state.peer.gap, reasons)
    assert missing == {}


def test_doubtful_versions_are_shown_as_disputed(done):
    for name, state in done.states.items():
        for verdict in done.endpoint(name).verdicts:
            if verdict.version in state.peer.is_disputed and verdict.state is State.ENABLED:
                assert verdict.is_disputed, name


def test_most_of_what_can_be_found_is_found(done, record_property):
    """UNKNOWN is honest, but a scanner that says nothing else would be of no use.

    Counted are the enabled versions of peers that make trouble; those of the others are due (test_no_verdict_is_wrong).
    """
    hoped = [
        (name, version)
        for name, state in done.states.items()
        for version, ideal in state.peer.ideal.items()
        if ideal is State.ENABLED and len(state.peer.truth[version]) > 1
    ]
    missed = [f"{name} {version.label}" for name, version in hoped if done.found(name)[version] is not State.ENABLED]
    record_property("hoped", len(hoped))
    record_property("missed", len(missed))
    assert len(hoped) > 100
    assert len(missed) <= 0.2 * len(hoped), missed


def test_hellos_are_such_as_do_not_lie(done):
    """Design section 6, read by the peers' own parser."""
    hello_count = 0
    for name, state in done.states.items():
        assert state.unparsed == [], name
        for data in state.hellos:
            hello_count += 1
            hello = wire.decode_hello(data)
            assert hello is not None
            assert 0x5600 not in hello.suites, "TLS_FALLBACK_SCSV (RFC 7507) makes honest servers refuse"
            if hello.is_ssl2_format:
                continue
            assert hello.sni == state.peer.server_name, name
            assert wire.SERVER_NAME not in hello.extensions or hello.sni, "an empty name is refused by many"
            assert hello.has_scsv or hello.asked > TlsVersion.TLS1_2, "IIS resets TLS 1.2 without 0x00ff"
            assert not 256 <= hello.message_bytes <= 511, "F5 drops these"
    assert hello_count > 1000


def assert_never_wrong_and_seldom_blind(done: Scan, prefix: str) -> None:
    wrong = wrong_verdicts(done, prefix)
    assert not wrong, "\n".join(wrong)
    # A failure now and then must not hide everything either.
    versions = [
        done.found(name)[version]
        for name, state in done.states.items()
        for version, ideal in state.peer.ideal.items()
        if name.startswith(prefix) and ideal is State.ENABLED
    ]
    assert len(versions) > 50
    assert versions.count(State.ENABLED) > 0.8 * len(versions)


@pytest.fixture(scope="module", params=[("epoll", range(104, 120)), ("asyncio", range(204, 220))], ids=NETS)
def noisy(request):
    """Peers that fail one connection in five, many seeds, with honest ones among them."""
    net, seeds = request.param
    failing = [*random_failure_peers(seeds, RESETTING), *random_failure_peers(seeds, CLOSING)]
    honest = [peer for peer in PEERS if peer.is_ordinary]
    return scan([*failing, *honest], net, host_deadline_s=NOISY_DEADLINE_S)


def test_random_resets_never_make_a_wrong_verdict(noisy):
    assert_never_wrong_and_seldom_blind(noisy, "random-reset")


def test_random_closes_never_make_a_wrong_verdict(noisy):
    """The same with FIN, which full servers send: not in the issue's list, but the same law."""
    assert_never_wrong_and_seldom_blind(noisy, "random-fin")


def test_random_failures_do_no_harm_to_honest_peers(noisy):
    assert wrong_verdicts(noisy, "honest") == []
    assert noisy.elapsed_s < NOISY_DEADLINE_S + SLACK_S


@pytest.mark.parametrize(("net", "seeds"), [("epoll", range(100, 200)), ("asyncio", range(200, 300))])
def test_balancers_never_make_a_wrong_verdict(net, seeds):
    assert_never_wrong_and_seldom_blind(scan(list(balancer_peers(seeds)), net), "balancer")


@pytest.mark.parametrize("net", NETS)
def test_right_name_is_all_that_a_strict_server_needs(net):
    """The same server without the name, with a wrong one and with the right one, in one run."""
    peers = [peer for peer in PEERS if peer.name.startswith("sni-112-")]
    done = scan(peers, net)
    assert done.hosts["sni-112-right"].target.sni == NAME
    assert done.found("sni-112-right")[TlsVersion.TLS1_2] is State.ENABLED
    for name in ("sni-112-missing", "sni-112-wrong"):
        assert set(done.found(name).values()) == {State.UNKNOWN}
