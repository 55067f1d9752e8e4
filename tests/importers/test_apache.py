"""Expected values: what httpd 2.4.71 with OpenSSL 3 did with these lines, mod_ssl.xml and ssl_engine_config.c."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import apache
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, ReadOptions, SourceFile
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
ON, OFF, MAY = State.ENABLED, State.DISABLED, GapReason.LIBRARY_POLICY
WHEN = GapReason.VERSION_UNKNOWN
SAMPLE = b"""\
Listen 443
SSLProtocol -all +TLSv1.2 +TLSv1.3
<IfModule mod_ssl.c>
<VirtualHost *:443>
  ServerName sts.example.com:443
  ServerAlias www.example.com *.example.org
  SSLEngine on
  SSLProxyEngine on
  SSLProxyProtocol -all +TLSv1.2
  ProxyPass / https://joe:HUNTER2@backend.example.com/x
</VirtualHost>
</IfModule>
"""


def read(text, folder=EMPTY_FOLDER, version="2.4.71"):
    data = text if isinstance(text, bytes) else text.encode()
    return apache.read(SourceFile(name="httpd.conf", data=data), folder, ReadOptions(product_version=version))


def states(leg):
    return [setting.gap or setting.state for setting in leg.settings]


def vhost(*lines, name="a", args="*:443"):
    return "\n".join([f"<VirtualHost {args}>", f"ServerName {name}", "SSLEngine on", *lines, "</VirtualHost>\n"])


@pytest.mark.parametrize(
    ("directive", "version", "expected"),
    [
        ("SSLProtocol -all +TLSv1.2 +TLSv1.3", "2.4.71", [OFF, OFF, OFF, OFF, ON, ON]),
        ("SSLProtocol TLSv1.2 TLSv1.3", "2.4.71", [OFF, OFF, OFF, OFF, OFF, ON]),
        ("SSLProtocol \"TLSv1.2\" '+tlsv1.3'", "2.4.71", [OFF, OFF, OFF, OFF, ON, ON]),
        ("SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1", "2.4.71", [OFF, OFF, OFF, OFF, ON, MAY]),
        ("SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1", None, [WHEN, OFF, OFF, OFF, ON, WHEN]),
        ("SSLProtocol all -SSLv2 -SSLv3", None, [OFF, OFF, MAY, MAY, ON, WHEN]),
        ("SSLProtocol all -SSLv3", "2.4.6", [OFF, OFF, MAY, MAY, ON, OFF]),
        ("SSLProtocol TLSv1.2", None, [OFF, OFF, OFF, OFF, ON, OFF]),
        ("SSLProtocol TLSv1", None, [OFF, OFF, MAY, OFF, OFF, OFF]),
        ("", "2.4.71", [OFF, OFF, MAY, MAY, ON, MAY]),
        ("", "2.4.16", [OFF, MAY, MAY, MAY, ON, OFF]),
        ("", None, [OFF, WHEN, MAY, MAY, ON, WHEN]),
        ("SSLProtocol +TLSv1 +TLSv1.2", "2.4.71", [OFF, OFF, MAY, OFF, ON, OFF]),
        ("SSLProtocol +TLSv1 +TLSv1.3", "2.4.71", [OFF, OFF, OFF, OFF, OFF, ON]),
        ("SSLProtocol all -TLSv1.2 +TLSv1.3", "2.4.71", [OFF, OFF, OFF, OFF, OFF, ON]),
        ("SSLProtocol TLSv1.2\nSSLProtocol TLSv1.3", "2.4.71", [OFF, OFF, OFF, OFF, OFF, ON]),
        ("Define V TLSv1.2\nSSLProtocol ${V}", "2.4.71", [OFF, OFF, OFF, OFF, ON, OFF]),
        ("SSLProtocol ${NOPE}", "2.4.71", [GapReason.UNSUPPORTED] * 6),
        ("SSLProtocol -all", "2.4.71", [GapReason.UNSUPPORTED] * 6),
        ("SSLPolicy modern", "2.4.71", [GapReason.UNSUPPORTED] * 6),
        ("SSLProtocol TLSv1.3\nSSLOpenSSLConfCmd MinProtocol TLSv1.2", "2.4.71", [GapReason.UNSUPPORTED] * 6),
        ("SSLProtocol TLSv1.2\nSSLOpenSSLConfCmd DHParameters x", "2.4.71", [OFF, OFF, OFF, OFF, ON, OFF]),
        ("SSLProtocol +TLSv1 +TLSv1.1\nSSLCipherSuite ALL:@SECLEVEL=0", "2.4.71", [OFF, OFF, ON, ON, OFF, OFF]),
        ("SSLProtocol TLSv1\nSSLCipherSuite ECDHE+AESGCM:@SECLEVEL=0", "2.4.71", [OFF, OFF, MAY, OFF, OFF, OFF]),
        ("SSLProtocol +TLSv1 +TLSv1.2\nSSLCipherSuite ALL:@SECLEVEL=0", "2.4.71", [OFF, OFF, MAY, OFF, ON, OFF]),
        ("<IfDefine X>\nSSLProtocol TLSv1.2\n</IfDefine>", "2.4.71", [OFF, OFF, "C", "C", ON, "C"]),
        ("<IfDefine X>\nSSLProtocol all\n</IfDefine>\nSSLProtocol TLSv1.2", "2.4.71", [OFF, OFF, OFF, OFF, ON, OFF]),
    ],
)
def test_ssl_protocol_is_evaluated_as_httpd_does(directive, version, expected):
    (leg,) = read(vhost(directive), version=version).legs
    assert states(leg) == [GapReason.CONDITIONAL if state == "C" else state for state in expected]


def test_the_default_is_assumed_and_a_directive_declared_with_its_line():
    assert {setting.basis for setting in read(vhost()).legs[0].settings} == {Basis.ASSUMED}
    (leg,) = read(vhost("SSLProtocol TLSv1.2")).legs
    assert {(setting.basis, setting.place.line) for setting in leg.settings} == {(Basis.DECLARED, 4)}


def test_a_vhost_inherits_from_the_server_wherever_that_stands():
    (leg,) = read(vhost() + "SSLProtocol TLSv1.2\n").legs
    assert states(leg) == [OFF, OFF, OFF, OFF, ON, OFF]


def test_inbound_and_outbound_of_a_reverse_proxy():
    inbound, outbound = read(SAMPLE).legs
    assert (inbound.direction, outbound.direction) == (Direction.INBOUND, Direction.OUTBOUND)
    assert inbound.server_names == ("sts.example.com", "www.example.com", "*.example.org")
    assert [(listen.address, listen.port) for listen in inbound.listens] == [(None, 443)]
    assert states(inbound) == [OFF, OFF, OFF, OFF, ON, ON]
    assert outbound.destinations == ("backend.example.com:443",)
    assert states(outbound) == [OFF, OFF, OFF, OFF, ON, OFF]


def test_no_secret_is_in_a_reading():
    reading = read(SAMPLE + b"SSLProtocol HUNTER2\nHUNTER2 x\nDefine P HUNTER2\nSSLCipherSuite HUNTER2\n")
    assert "hunter2" not in repr(reading).lower()


@pytest.mark.parametrize("engine", ["off", ""])
def test_a_vhost_without_ssl_engine_has_no_leg(engine):
    line = f"SSLEngine {engine}\n" if engine else ""
    assert not read(f"<VirtualHost *:443>\n{line}SSLProtocol TLSv1.2\n</VirtualHost>\n").legs


@pytest.mark.parametrize(
    ("version", "second"),
    [
        ("2.4.42", [OFF, OFF, OFF, OFF, ON, OFF]),
        ("2.4.41", [OFF, OFF, OFF, OFF, ON, ON]),
        (None, [OFF, OFF, OFF, OFF, ON, GapReason.VERSION_UNKNOWN]),
    ],
)
def test_hosts_at_one_address_have_versions_of_their_own_from_2_4_42_on(version, second):
    text = vhost("SSLProtocol -all +TLSv1.2 +TLSv1.3", name="one") + vhost("SSLProtocol TLSv1.2", name="two")
    assert states(read(text, version=version).legs[1]) == second


def test_hosts_at_two_addresses_do_not_share():
    text = vhost("SSLProtocol TLSv1.3", args="192.0.2.1:443") + vhost("SSLProtocol TLSv1.2", args="[2001:db8::1]:443")
    legs = read(text, version=None).legs
    assert states(legs[1]) == [OFF, OFF, OFF, OFF, ON, OFF]
    assert legs[1].listens[0].address == "2001:db8::1"


def test_an_include_that_is_missing_leaves_a_gap_unless_something_later_decides():
    include = "Include /etc/letsencrypt/options-ssl-apache.conf"
    assert set(states(read(vhost("SSLProtocol TLSv1.2", include)).legs[0])) == {GapReason.INCLUDE_MISSING}
    reading = read(vhost(include, "SSLProtocol TLSv1.2"))
    assert states(reading.legs[0]) == [OFF, OFF, OFF, OFF, ON, OFF]
    assert [gap for gap, _ in reading.gaps] == [GapReason.INCLUDE_MISSING]


def test_an_include_that_is_there_is_read():
    folder = MemoryFolder({"ssl/a.conf": b"SSLProtocol TLSv1.2\n"}, root="/etc/apache2")
    reading = read(vhost("IncludeOptional /etc/apache2/ssl/*.conf"), folder)
    assert reading.legs[0].settings[4].place.locator == "ssl/a.conf:1"
    assert [name for name, _ in reading.includes] == ["ssl/a.conf"]


def test_a_macro_that_is_used_may_hold_the_directive():
    assert set(states(read(vhost("SSLProtocol TLSv1.2", "Use Modern")).legs[0])) == {GapReason.CONDITIONAL}


def test_a_proxy_section_has_versions_of_its_own_from_2_4_30_on():
    text = (
        "SSLProxyEngine on\nSSLProxyProtocol TLSv1.2\n<Proxy https://b.example/>\nSSLProxyProtocol TLSv1.3\n</Proxy>\n"
    )
    own = {leg.destinations: states(leg) for leg in read(text).legs}
    assert own[("b.example:443",)] == [OFF, OFF, OFF, OFF, OFF, ON]
    older = {leg.destinations: states(leg) for leg in read(text, version="2.4.29").legs}
    assert older[("b.example:443",)] == [OFF, OFF, OFF, OFF, ON, OFF]


def test_without_ssl_proxy_engine_nothing_goes_out_over_tls():
    assert not read("SSLProxyProtocol TLSv1.2\nProxyPass / https://b.example/\n").legs


def test_a_forward_proxy_passes_connect_through():
    (leg,) = read("ProxyRequests On\n").legs
    assert states(leg) == [GapReason.TUNNEL] * 6


def test_old_versions_that_are_allowed_are_said_with_their_place():
    assert [check.detail for check in read(vhost("SSLProtocol TLSv1.1")).checks] == ["httpd.conf:4"]
    assert not read(vhost("SSLProtocol TLSv1.2")).checks


@pytest.mark.parametrize("text", ["hello world\n", "", "<VirtualHost *:443>\n"])
def test_what_is_no_httpd_conf_is_refused(text):
    with pytest.raises(ReadError):
        read(text)


@pytest.mark.parametrize(("text", "is_mine"), [(SAMPLE, True), (b"http_port 3128\n", False), (b"", False)])
def test_httpd_conf_is_recognised(text, is_mine):
    assert (apache.recognise(SourceFile(name="x", data=text)) >= 50) is is_mine


@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=9)))
def test_garbage_and_broken_samples_raise_nothing_but_read_error(garbage):
    data = garbage if isinstance(garbage, bytes) else SAMPLE[: garbage[0]] + garbage[1] + SAMPLE[garbage[0] + 5 :]
    source = SourceFile(name="x", data=data)
    assert 0 <= apache.recognise(source) <= 100
    try:
        reading = apache.read(source, EMPTY_FOLDER, ReadOptions())
    except ReadError:
        return
    assert len({leg.name for leg in reading.legs}) == len(reading.legs)


def test_of_many_conditional_directives_none_decides_and_a_later_certain_one_does():
    many = "<IfDefine X>\nSSLProtocol TLSv1.2\n</IfDefine>\n" * 500
    assert ON not in states(read(many + vhost()).legs[0])
    assert states(read(many + vhost("SSLProtocol TLSv1.2")).legs[0]) == [OFF, OFF, OFF, OFF, ON, OFF]
