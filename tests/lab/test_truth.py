"""Every (server, version) cell of the lab against independent clients, before anything is measured with it."""

import pytest

from scanner.model.versions import ALL_VERSIONS
from tests.lab import FACTORIES, present_factories
from tests.lab.clients import CLIENTS
from tests.lab.truth import gather

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    # tlslite-ng imports it where Python still has it.
    pytest.mark.filterwarnings("ignore:The asyncore module is deprecated:DeprecationWarning"),
]

_CELLS = [
    pytest.param(factory.name, version, version in factory.enabled, id=f"{factory.name}-{version.label}")
    for factory in present_factories()
    for version in ALL_VERSIONS
]


@pytest.fixture(scope="session")
def truth(lab, lab_certificates, record_for_summary):
    clients = [client for client in CLIENTS if all(need.is_met() for need in client.requires)]
    truth = gather(lab, clients, lab_certificates)
    enabled = sum(len(server.enabled) for server in lab)
    stacks = len({server.stack for server in lab})
    record_for_summary(
        f"lab: {len(lab)} servers of {stacks} stacks, {len(lab) * len(ALL_VERSIONS)} cells ({enabled} enabled) "
        f"held against {len(clients)} clients"
    )
    return truth


@pytest.mark.parametrize(("name", "version", "is_enabled"), _CELLS)
def test_cell(lab, truth, name, version, is_enabled):
    confirming = truth.confirming(name, version)
    if is_enabled:
        assert confirming, f"no client completed {version.title} with {name}\n{truth.words(name, version)}"
    else:
        assert not confirming, f"{name} accepted {version.title}\n{truth.words(name, version)}"
        # Only a client that is seen to speak the version can be refused; a small lab may have no server to show it.
        if any(version in server.enabled for server in lab if server.name != name):
            assert truth.able(name, version), f"no client that speaks {version.title} elsewhere tried {name}"


def test_lab_is_wide_enough(lab):
    # The issue asks for 25 listeners of 8 stacks where everything is installed.
    if present_factories() == FACTORIES:
        assert len(lab) >= 25
        assert len({server.stack for server in lab}) >= 8
    assert [server.name for server in lab] == [factory.name for factory in present_factories()]
