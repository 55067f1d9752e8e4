"""Every proxy asked as the program asks it, held against its truth; ``python -m tests.proxies`` does it many times."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from scanner.listener.identity import make_identity
from scanner.model.versions import ALL_VERSIONS
from scanner.trust_stores import read_trust_stores
from tests.proxies import PROXIES, Side, present_proxies
from tests.proxies.certs import make_proxy_certificates
from tests.proxies.model import NOT_DETERMINABLE
from tests.proxies.scans import UNSETTLED, Compared, ask, secrets_of

pytestmark = [
    pytest.mark.lab,
    # The first test pays for all: two are asked at a time.
    pytest.mark.timeout(280),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning"),
]

_WORKERS_COUNT = 2


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy-scans")
    certificates = make_proxy_certificates(folder / "certificates")
    return certificates, folder, make_identity(addresses=("127.0.0.1",))


@pytest.fixture(scope="module")
def compared(lab, record_for_summary):
    began_at = time.monotonic()
    kinds = present_proxies()

    def ask_one(kind):
        try:
            return ask(kind, *lab)
        except Exception as error:  # noqa: BLE001 - one proxy's failure is its own test's
            return error

    read_trust_stores()  # quiets a warning while it reads, which threads would undo for each other
    with ThreadPoolExecutor(_WORKERS_COUNT) as pool:
        told = dict(zip((kind.name for kind in kinds), pool.map(ask_one, kinds), strict=True))
    whole = [each for each in told.values() if isinstance(each, Compared)]
    record_for_summary(
        f"proxies: {len(whole)} of {len(kinds)} asked with {sum(each.connections_count for each in whole)} connections "
        f"in {time.monotonic() - began_at:.0f} s: {sum(each.settled_count for each in whole)} right, "
        f"{sum(len(each.wrong) for each in whole)} wrong, {sum(len(each.unknown) for each in whole)} not settled"
    )
    return told


@pytest.mark.parametrize("kind", present_proxies(), ids=str)
def test_what_is_judged_of_a_proxy_is_true(kind, compared):
    told = compared[kind.name]
    if isinstance(told, Exception):
        raise told
    assert told.wrong == []
    assert told.unknown.keys() <= UNSETTLED.get(kind.name, {}).keys(), told.unknown
    assert all(told.unknown.values()), "a reason is missing"


@pytest.mark.parametrize("kind", [kind for kind in present_proxies() if kind.credentials], ids=str)
def test_credentials_are_neither_stored_nor_shown(kind, compared):
    told = compared[kind.name]
    if isinstance(told, Exception):
        raise told
    assert kind.name in told.kept
    assert [secret for secret in secrets_of(kind) if secret in told.kept] == []


def test_a_secret_would_be_found():
    kind = next(kind for kind in PROXIES if kind.credentials)
    # RFC 7617: base64 of lab-user:lab-secret-7f3a, by base64(1).
    for text in ("Basic bGFiLXVzZXI6bGFiLXNlY3JldC03ZjNh", "x lab-secret-7f3a", "6c61622d7365637265742d37663361"):
        assert any(secret in text.lower() for secret in secrets_of(kind)), text


@pytest.mark.parametrize(
    ("name", "liar"),
    [("squid-peek-bump", "squid-tunnel"), ("nginx-12", "nginx-10-13"), ("squid-tunnel", "dante-forbids")],
)
def test_a_wrong_truth_would_be_found(name, liar, lab):
    by_name = {kind.name: kind for kind in present_proxies()}
    told = ask(replace(by_name[name], expected=by_name[liar].expected), *lab)
    assert told.wrong


def test_what_is_listed_as_unsettled_is_there():
    by_name = {kind.name: kind for kind in PROXIES}
    assert UNSETTLED.keys() <= by_name.keys()
    # Reverse proxies have no excuse: their versions are all settled.
    assert all(by_name[name].side is Side.FORWARD for name in UNSETTLED)


def test_every_version_is_found_on_and_off_somewhere():
    truths = [kind.expected.outbound for kind in present_proxies() if kind.expected.outbound != NOT_DETERMINABLE]
    for version in ALL_VERSIONS:
        assert {truth[version] for truth in truths} == {True, False}
