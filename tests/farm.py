"""Honest servers side by side in one range, on one port, with nothing at the addresses after them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from scanner.sweep.plan import plan_targets
from scanner.targets import parse_arguments
from tests.hostile.behaviours import honest as behave_honestly
from tests.hostile.peers import PEERS
from tests.hostile.runner import running
from tests.scripted_peers import MODERN, OLD


class Farm:
    """The servers, by address; every third is an old one."""

    def __init__(self, states):
        self.states = {state.address: state for state in states.values()}
        self.port = next(iter(self.states.values())).port

    def enabled(self, address):
        return {version.label for version in profile_of(list(self.states).index(address)).enabled}

    @property
    def connection_counts(self):
        return {address: state.connection_count for address, state in self.states.items()}

    def arguments(self, block="127.78.0.0/26", *, named=0):
        """Return command-line targets: a block, and the first servers by themselves too."""
        return [*(f"{address}:{self.port}" for address in list(self.states)[:named]), f"{block}:{self.port}"]

    def plan(self, block="127.78.0.0/26", *, named=0):
        return plan_targets(parse_arguments(self.arguments(block, named=named)))

    def wrong(self, hosts):
        """Return what host objects of the JSON report say that is not so, and which servers are missing."""
        found = {host["name"]: _states(host) for host in hosts}
        expected = {
            address: {label: "enabled" if label in self.enabled(address) else "disabled" for label in _LABELS}
            for address in self.states
        }
        names = [host["name"] for host in hosts]
        return {
            address: (found.get(address), expected.get(address))
            for address in found.keys() | expected.keys()
            if found.get(address) != expected.get(address) or names.count(address) > 1
        }


_LABELS = ("SSL2", "SSL3", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3")


def _states(host):
    return {verdict["version"]: verdict["state"] for verdict in host["verdicts"]}


def profile_of(number):
    return OLD if number % 3 == 2 else MODERN


# Addresses that no other test uses: on some port of theirs anything may listen.
@contextmanager
def farm(count=12, *, pause_s=0.0):
    """Serve; pause_s: before each answer."""
    (like,) = [peer for peer in PEERS if peer.name == "honest-12"]
    peers = [
        replace(like, name=f"server-{number}", behaviour=behave_honestly(profile_of(number), pause_s=pause_s))
        for number in range(count)
    ]
    with running(peers, network="127.78", has_one_port=True) as states:
        yield Farm(states)
