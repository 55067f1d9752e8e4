"""Targets and endpoints: what is sent as server name, and how an endpoint is written."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.model.subjects import Endpoint, Role, Target, is_address


def _target(host, **options):
    return Target(text=host, host=host, role=Role.SERVER, ports=(443,), **options)


@pytest.mark.parametrize(
    ("host", "server_name", "sni"),
    [
        ("sts.example.com", None, "sts.example.com"),
        ("192.0.2.7", None, None),  # RFC 6066 section 3: literal addresses are not permitted
        ("2001:db8::7", None, None),
        ("fe80::1%eth0", None, None),
        ("192.0.2.7", "sts.example.com", "sts.example.com"),
        ("a.example", "b.example", "b.example"),
        ("1.example", None, "1.example"),
        ("xn--bcher-kva.example", None, "xn--bcher-kva.example"),
    ],
)
def test_the_server_name_is_a_name_or_nothing(host, server_name, sni):
    assert _target(host, server_name=server_name).sni == sni


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.ip_addresses())
def test_every_address_is_an_address(address):
    assert is_address(str(address))


@pytest.mark.parametrize("name", ["a.example", "a1.2.3.4", "localhost", "1.2.3.4.example"])
def test_names_are_none(name):
    assert not is_address(name)


@pytest.mark.parametrize(
    ("address", "locator"), [("192.0.2.7", "tcp://192.0.2.7:443"), ("2001:db8::1", "tcp://[2001:db8::1]:443")]
)
def test_a_locator_is_a_url(address, locator):
    assert Endpoint(host="h", address=address, port=443, server_name=None).locator == locator


def test_endpoints_are_equal_by_what_they_contact():
    one = Endpoint(host="h", address="192.0.2.7", port=443, server_name="h")
    assert one == Endpoint(host="h", address="192.0.2.7", port=443, server_name="h")
    assert len({one, Endpoint(host="h", address="192.0.2.7", port=443, server_name=None)}) == 2
