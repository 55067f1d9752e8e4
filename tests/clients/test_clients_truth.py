"""Every pinned client against servers of one version each: it completes with what it is pinned to and nothing else."""

from __future__ import annotations

import pytest

from scanner.model.versions import ALL_VERSIONS
from tests.clients import CLIENTS, Outcome, present_clients, run
from tests.lab import requirements
from tests.lab.certs import SERVER_NAME
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, start_lab
from tests.lab.openssl_factories import OldNode, SServer
from tests.lab.requirements import CATALOGUE
from tests.lab.stacks.factories import Java, Nss

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

assert requirements.NODE_0_8.file is not None
_SERVERS = (
    *(
        OldNode(
            name=f"only-{version.label}",
            stack="Node.js 0.8, OpenSSL 1.0.0",
            enabled=frozenset({version}),
            # Not SSLv3_method: it would not read a hello in SSLv2 format that asks for SSLv3.
            config=f"SSLv23_method {off} ALL",
            node=requirements.NODE_0_8.file,
            requires=(requirements.NODE_0_8,),
        )
        for version, off in ((SSL2, "NO_SSLv3,NO_TLSv1"), (SSL3, "NO_SSLv2,NO_TLSv1"))
    ),
    # The old Node.js closes on some hellos of Java's, and NSS reads no SSLv2 format.
    Nss(name="nss-SSL3", enabled=frozenset({SSL3})),
    Java(name="java-SSL3", enabled=frozenset({SSL3}), accepts_ssl2_format=True),
    *(
        SServer(name=f"only-{version.label}", enabled=frozenset({version}), config=f"{option} -cipher ALL:@SECLEVEL=0")
        for version, option in ((TLS1_0, "-tls1"), (TLS1_1, "-tls1_1"), (TLS1_2, "-tls1_2"), (TLS1_3, "-tls1_3"))
    ),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory, lab_certificates):
    """One server for each version that this machine can serve."""
    factories = [each for each in _SERVERS if all(need.is_met() for need in each.requires)]
    with start_lab(factories, tmp_path_factory.mktemp("single"), lab_certificates) as started:
        yield started


@pytest.mark.parametrize("kind", present_clients(), ids=lambda kind: kind.name)
def test_client_uses_exactly_what_it_is_pinned_to(servers, kind):
    runs = [(server, run(kind, server.address, server.port, SERVER_NAME)) for server in servers]
    success = Outcome.COMPLETED if kind.trusts else Outcome.DISTRUSTED
    used = {version for server, each in runs for version in server.enabled if each.outcome is success}
    servable = {version for server in servers for version in server.enabled}
    words = "\n".join(f"--- {server.name}: {each.outcome}\n{each.said.strip()}" for server, each in runs)
    assert used == kind.expected & servable, words
    # It never completes but where it trusts: neither by mistake with a certificate it should refuse.
    assert {each.outcome for _, each in runs} <= {success, Outcome.FAILED}, words


def test_there_are_clients_for_every_version_and_enough_of_them():
    assert len({kind.name for kind in CLIENTS}) == len(CLIENTS)
    if present_clients() == CLIENTS:
        assert len(CLIENTS) >= 40
        assert len({kind.stack for kind in CLIENTS}) >= 8
    assert {version for kind in CLIENTS for version in kind.expected} == set(ALL_VERSIONS)
    assert {kind.trusts for kind in CLIENTS} == {True, False}


def test_no_client_needs_what_install_sh_does_not_bring():
    assert {need for kind in CLIENTS for need in kind.requires} <= set(CATALOGUE)
