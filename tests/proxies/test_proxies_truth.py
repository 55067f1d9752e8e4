"""Each proxy's ``expected`` against the wire, by tools that share nothing with the program; before it is measured."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from scanner.model.outbound import PathKind
from scanner.model.subjects import Upgrade
from scanner.model.versions import ALL_VERSIONS
from tests.lab.model import LabError
from tests.lab.requirements import CATALOGUE
from tests.proxies import PROXIES, OpensAt, Side, missing, present_proxies, running
from tests.proxies.certs import SERVER_NAME, make_proxy_certificates
from tests.proxies.origin import PAGE, open_origin, read_hello
from tests.proxies.truth import Seen, differences, look

pytestmark = [
    pytest.mark.lab,
    # The first test pays for all: they are asked side by side.
    pytest.mark.timeout(280),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning"),
    # tlslite-ng imports it where Python still has it.
    pytest.mark.filterwarnings("ignore:The asyncore module is deprecated:DeprecationWarning"),
]

_WORKERS_COUNT = 4


@pytest.fixture(scope="session")
def proxy_certificates(tmp_path_factory):
    return make_proxy_certificates(tmp_path_factory.mktemp("proxy-certificates"))


@pytest.fixture(scope="session")
def seen(proxy_certificates, record_for_summary):
    began_at = time.monotonic()
    kinds = present_proxies()

    def look_at(kind):
        try:
            return look(kind, proxy_certificates)
        except Exception as error:  # noqa: BLE001 - one proxy's failure is its own test's
            return error

    with ThreadPoolExecutor(_WORKERS_COUNT) as pool:
        told = dict(zip((kind.name for kind in kinds), pool.map(look_at, kinds), strict=True))
    counts = {path: sum(kind.expected.path is path for kind in kinds) for path in PathKind}
    record_for_summary(
        f"proxies: {len(kinds)} of {len({kind.product for kind in kinds})} products held against the wire in "
        f"{time.monotonic() - began_at:.0f} s: "
        + ", ".join(f"{count} {path.value}" for path, count in counts.items() if count)
    )
    return told


@pytest.mark.parametrize("kind", present_proxies(), ids=str)
def test_the_wire_bears_out_what_is_expected(kind, seen):
    told = seen[kind.name]
    if isinstance(told, Exception):
        raise told
    assert isinstance(told, Seen)
    assert differences(kind, told) == [], "\n".join([str(told.offers), *told.log])
    if told.path is PathKind.TUNNEL and "digest" not in kind.name:
        assert told.is_same_bytes


def test_a_wrong_claim_is_a_difference(seen):
    # What holds for one proxy does not hold for another: the comparison can fail.
    by_name = {kind.name: kind for kind in present_proxies()}
    assert differences(by_name["nginx-12"], seen["nginx-10-13"]) == [
        "outbound TLS1.0: expected False, seen True",
        "outbound TLS1.1: expected False, seen True",
        "outbound TLS1.3: expected False, seen True",
    ]
    assert differences(by_name["squid-tunnel"], seen["squid-peek-bump"])[0] == (
        f"path: expected {PathKind.TUNNEL}, seen {PathKind.RE_ENCRYPTS}"
    )


def test_there_is_no_proxy_that_install_sh_does_not_bring():
    assert {need for kind in PROXIES for need in kind.requires} <= set(CATALOGUE)


def test_names_are_unique():
    assert len({kind.name for kind in PROXIES}) == len(PROXIES)


def test_lab_is_wide_enough():
    # The issue asks for 25 configurations where everything is installed.
    if any(missing(kind) for kind in PROXIES):
        return
    assert len(PROXIES) >= 28
    assert {kind.upgrade for kind in PROXIES} == set(Upgrade)
    assert {kind.expected.path for kind in PROXIES} == set(PathKind) - {PathKind.UNKNOWN}
    completed = {version for kind in PROXIES for version, does in kind.expected.outbound.items() if does}
    assert completed == set(ALL_VERSIONS)
    assert {kind.expected.opens_at for kind in PROXIES} >= {OpensAt.HELLO, OpensAt.HANDSHAKE, OpensAt.REQUEST}


def test_expected_says_something_of_every_version():
    for kind in PROXIES:
        for versions in (kind.expected.outbound, kind.expected.inbound):
            assert set(versions) == set(ALL_VERSIONS)
            is_judged = kind.expected.path is PathKind.RE_ENCRYPTS
            assert all((does is not None) is is_judged for does in versions.values()), kind.name


@pytest.mark.parametrize("kind", [kind for kind in present_proxies() if kind.side is Side.REVERSE][:1], ids=str)
def test_trigger_makes_a_reverse_proxy_open_a_connection_with_the_name_asked_for(kind, proxy_certificates):
    with (
        open_origin(proxy_certificates, *(v for v in ALL_VERSIONS if kind.expected.outbound[v])) as origin,
        running(
            kind, certificates=proxy_certificates, backend=(origin.address, origin.port), server_name="t.example.test"
        ) as proxy,
    ):
        assert PAGE in proxy.trigger(SERVER_NAME)
        assert read_hello(origin.hellos[0]).server_name == "t.example.test"


def test_a_reverse_proxy_needs_a_back_end(proxy_certificates):
    kind = next(kind for kind in PROXIES if kind.side is Side.REVERSE)
    with pytest.raises(LabError, match="back end"), running(kind, certificates=proxy_certificates):
        pass


def test_only_allowed_ports_are_reached(proxy_certificates):
    from tests.proxies.way import open_way  # noqa: PLC0415 - only here

    for kind in present_proxies():
        if kind.name not in {"squid-tunnel", "tinyproxy"}:
            continue
        with (
            open_origin(proxy_certificates, ALL_VERSIONS[-1]) as origin,
            running(kind, certificates=proxy_certificates, allowed_ports=(origin.port,)) as proxy,
        ):
            with open_way(proxy, (origin.address, origin.port)) as way:
                assert way.is_open
            with open_way(proxy, (origin.address, 9)) as way:
                assert (way.is_open, way.code) == (False, 403)
