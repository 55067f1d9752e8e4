"""Every pinned client against the listener: what is judged of it is what it is pinned to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from scanner.listener.identity import make_identity
from scanner.listener.server import Listener
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Role, Target
from scanner.model.verdicts import State
from scanner.model.versions import ALL_VERSIONS
from scanner.outbound.results import judge_outbound
from tests.clients import CLIENTS, present_clients, run
from tests.lab.model import SSL3

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

_ATTEMPTS = 8
"""The listener's first pass over the versions takes six at most; the others show what a client gets after it."""

_RUN = Run(
    id="20261123T120000Z-c11e",
    started_at=datetime.now(UTC),
    finished_at=None,
    is_complete=True,
    policy_id="entra-drs",
    confirm="all",
    tool_version="0",
)
_TARGET = Target(text="127.0.0.1", host="127.0.0.1", role=Role.SERVER, ports=(443,))

_NO_WORD = "OpenSSL 1.0.x closes without an alert on a ServerHello of a version that is off: too few times to tell"
_RESET = "wget sends no alert: it resets, which is too few times to tell"
_NSS_40 = "NSS refuses SSLv3 with handshake_failure(40), which may be about the suite"

UNKNOWN: dict[str, dict[str, str]] = {
    "node08-10": {"SSL3": _NO_WORD},
    "node010-10-11": {"SSL3": _NO_WORD},
    "nassl-12": {"SSL3": _NO_WORD, "TLS1.0": _NO_WORD, "TLS1.1": _NO_WORD},
    "nassl-10-11-12-distrusts": {"SSL3": _NO_WORD},
    "node-12-13-distrusts": {"TLS1.3": "it closes before its Finished leaves: after our ServerHello comes nothing"},
    "wget-priority-11": {"SSL3": _RESET, "TLS1.0": _RESET},
    "wget-priority-10-11-12": {"SSL3": _RESET},
    "nss-11": {"SSL3": _NSS_40},
    "nss-10-11-12-distrusts": {"SSL3": _NSS_40},
    "java-ssl2hello-ssl3-10": {"SSL2": "its hello could be SSLv2, and it answers SSLv2 with unexpected_message(10)"},
}
"""What can't be known of a client in so few attempts, with the reason: by its name and the version's label."""

_PATIENT = {"node08-10": 47, "node010-10-11": 54, "wget-priority-11": 54}
"""Clients that refuse without a word: how many attempts make six refusals with completed connections around them."""


@pytest.fixture(scope="module")
def identity():
    return make_identity(addresses=("127.0.0.1",))


async def _arrivals(kind, identity, attempts=_ATTEMPTS):
    """Have the client try again and again; return what the listener handed out."""
    exchanges = []
    listener = Listener([("127.0.0.1", 0)], identity, on_exchange=exchanges.append)
    await listener.start()
    try:
        ((address, port),) = listener.addresses
        runs = [
            await asyncio.to_thread(run, kind, address, port, f"{kind.name}.clients.example.test")
            for _ in range(attempts)
        ]
    finally:
        await listener.stop()
    return exchanges, runs


@pytest.mark.parametrize("kind", present_clients(), ids=lambda kind: kind.name)
def test_listener_learns_what_the_client_is_pinned_to(identity, kind):
    exchanges, runs = asyncio.run(_arrivals(kind, identity))
    _check(kind, exchanges, runs, UNKNOWN.get(kind.name, {}))


@pytest.mark.parametrize(
    "kind", [kind for kind in present_clients() if kind.name in _PATIENT], ids=lambda kind: kind.name
)
def test_refusals_without_a_word_are_believed_when_there_are_enough(identity, kind):
    exchanges, runs = asyncio.run(_arrivals(kind, identity, _PATIENT[kind.name]))
    _check(kind, exchanges, runs, {})


def test_ssl3_below_a_client_s_most_is_completed(identity):
    """Java, which then sends what SSL 3.0 has not: extended_master_secret, and a length before its secret."""
    kinds = [kind for kind in present_clients() if kind.name in {"java-ssl3-11", "java-ssl2hello-ssl3-10"}]
    for kind in kinds:
        exchanges, _ = asyncio.run(_arrivals(kind, identity, 3))
        engines = {each.request.version: each.engine for each in exchanges}
        assert (engines[SSL3].completed, engines[SSL3].error) == (True, None), kind.name


def test_what_is_listed_by_name_is_there():
    names = {kind.name for kind in CLIENTS}
    assert UNKNOWN.keys() | _PATIENT.keys() <= names


def _check(kind, exchanges, runs, unknown):
    record = HostRecord(target=_TARGET, resolution=Resolution(), endpoints=(), exchanges=tuple(exchanges))
    (result,) = judge_outbound(_RUN, record)
    expected = {
        version.label: State.UNKNOWN
        if version.label in unknown
        else State.ENABLED
        if version in kind.expected
        else State.DISABLED
        for version in ALL_VERSIONS
    }
    words = [f"{each.version.title}: {each.outcome} ({each.count})" for each in result.settled]
    words += [f"gap {each.version}: {each.reason} {each.detail}" for each in result.gaps]
    words += [each.said.strip() for each in runs]
    assert {each.version.label: each.state for each in result.verdicts} == expected, "\n".join(words)
    assert not any(each.is_disputed for each in result.verdicts), "\n".join(words)

    assert result.hellos
    for hello in result.hellos:
        # Without a list only the highest version can be seen.
        offered = set(hello.versions) if hello.has_version_list else {max(hello.versions)}
        assert offered == (kind.offers if hello.has_version_list else {max(kind.offers)})
        assert (hello.server_name is not None) == kind.sends_name
