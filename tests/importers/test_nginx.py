"""nginx configurations read whole. Expected values by nginx's documentation; the socket rules were seen with 1.22.1."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.importers.edits import Wants
from scanner.importers.nginx import plan_edits, read, recognise
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, Listen
from scanner.model.evidence import GapReason, State
from scanner.model.subjects import Direction
from tests.importers.test_nginx_tls import brief

SITE = """
events {}
http {
  ssl_protocols TLSv1.2 TLSv1.3;
  server {
    listen 443 ssl default_server;
    listen [::]:443 ssl;
    server_name sts.example.com;
    proxy_set_header Authorization "Basic hunter2";
    location / { proxy_pass https://pool/hunter2?key=hunter2; proxy_ssl_protocols TLSv1.2; }
  }
  server { listen 443; server_name old.example.com; ssl_protocols TLSv1; }
  server { listen 80; return 301 https://hunter2; }
  upstream pool { server 10.0.0.11:8443; server fs2; }
}
stream {
  server { listen 8443 ssl; proxy_pass db.example:636; proxy_ssl on; proxy_ssl_protocols TLSv1.2; }
  server { listen 9443; ssl_preread on; proxy_pass x:1; }
}
"""


def of(text, name="nginx.conf"):
    return SourceFile(name=name, data=text.encode())


def legs(text, version="1.22.1", folder=EMPTY_FOLDER):
    return read(of(text), folder, ReadOptions(product_version=version)).legs


def shown(text, version="1.22.1"):
    return [brief(leg.settings) for leg in legs(text, version)]


def test_legs_of_both_directions_with_names_sockets_and_destinations():
    found = legs(SITE)
    assert [(leg.name, leg.direction, brief(leg.settings)) for leg in found] == [
        ("server sts.example.com at nginx.conf:5", Direction.INBOUND, "ddddEE"),
        ("server old.example.com at nginx.conf:12", Direction.INBOUND, "ddddEE"),
        ("proxy_pass at nginx.conf:10", Direction.OUTBOUND, "ddddEd"),
        ("server at nginx.conf:17", Direction.INBOUND, "ddLLEd"),
        ("server at nginx.conf:18", Direction.INBOUND, "TTTTTT"),
        ("proxy_pass at nginx.conf:17", Direction.OUTBOUND, "ddddEd"),
    ]
    assert found[0].listens == (Listen(address=None, port=443),)
    assert found[0].server_names == ("sts.example.com",)
    assert found[2].destinations == ("10.0.0.11:8443", "fs2:80")
    assert found[5].destinations == ("db.example:636",)


def test_no_argument_of_the_file_that_may_be_a_secret_is_in_the_reading():
    assert "hunter2" not in repr(read(of(SITE), EMPTY_FOLDER, ReadOptions()))


def test_served_names_are_clues_to_the_host():
    found = read(of(SITE), EMPTY_FOLDER, ReadOptions()).clues
    assert [(clue.name, clue.kind) for clue in found] == [
        ("sts.example.com", ClueKind.SERVED),
        ("old.example.com", ClueKind.SERVED),
    ]


TWO = """http { server { listen 443 ssl; server_name a; ssl_protocols TLSv1.2; }
server { listen 443 %s; server_name b; ssl_protocols TLSv1.3; } }"""


def test_before_1_29_2_the_first_server_of_a_socket_rules():
    assert shown(TWO % "ssl", "1.22.1") == ["ddddEd", "ddddEd"]


def test_before_1_29_2_the_default_server_rules_wherever_it_stands():
    assert shown(TWO % "ssl default_server", "1.29.1") == ["dddddE", "dddddE"]


def test_since_1_29_2_each_server_has_its_own_versions():
    assert shown(TWO % "ssl", "1.29.2") == ["ddddEd", "dddddE"]


def test_with_an_unknown_version_servers_that_differ_from_the_default_server_have_gaps():
    assert shown(TWO % "ssl", None) == ["ddddEd", "dddd??"]


def test_servers_on_different_addresses_do_not_rule_each_other():
    text = TWO.replace("listen 443 %s", "listen 192.0.2.1:443 ssl")
    assert shown(text) == ["ddddEd", "dddddE"]


def test_a_listen_line_with_ssl_makes_its_socket_tls_for_all_servers():
    assert shown(TWO % "", "1.29.2") == ["ddddEd", "dddddE"]


def test_a_server_on_sockets_with_different_default_servers_has_gaps_where_they_differ():
    text = """http { server { listen 443 ssl; ssl_protocols TLSv1.2; } server { listen 444 ssl; ssl_protocols TLSv1.3; }
    server { listen 443 ssl; listen 444 ssl; server_name c; } }"""
    assert shown(text)[2] == "ddddCC"


def test_a_missing_include_of_http_may_hold_the_default_server_of_a_socket():
    text = "http { include conf.d/*.conf; server { listen 443 ssl %s; ssl_protocols TLSv1.2; } }"
    assert shown(text % "", "1.22.1") == ["IIIIII"]
    assert shown(text % "", "1.29.2") == ["ddddEd"]
    assert shown(text % "default_server", "1.22.1") == ["ddddEd"]
    reading = read(of(text), EMPTY_FOLDER, ReadOptions())
    assert [gap for gap, _ in reading.gaps] == [GapReason.INCLUDE_MISSING]


def test_ssl_on_is_the_old_way_to_say_tls():
    assert shown("http { server { listen 443; ssl on; ssl_protocols TLSv1.2; } }") == ["ddddEd"]


def test_a_server_that_rejects_every_handshake_has_no_leg_and_rules_all_the_same():
    text = """http { server { listen 443 ssl default_server; ssl_reject_handshake on; ssl_protocols TLSv1.3; }
    server { listen 443 ssl; ssl_protocols TLSv1.2; } }"""
    assert shown(text) == ["dddddE"]


def test_mail_servers_are_read_too():
    assert shown("mail { ssl_protocols TLSv1.2; server { listen 993 ssl; protocol imap; } }") == ["ddddEd"]


def test_grpc_and_uwsgi_have_their_own_directives():
    text = """http { grpc_ssl_protocols TLSv1.2; uwsgi_ssl_protocols TLSv1.3; proxy_ssl_protocols TLSv1;
    server { location /a { grpc_pass grpcs://a; } location /b { uwsgi_pass suwsgi://b:1; } } }"""
    found = legs(text)
    assert [(leg.destinations, brief(leg.settings)) for leg in found] == [
        (("a:443",), "ddddEd"),
        (("b:1",), "dddddE"),
    ]


def test_a_variable_scheme_is_a_limit():
    (leg,) = legs("http { server { location / { proxy_pass $scheme://a; } } }")
    assert leg.limits == ("Whether it uses TLS depends on a variable.",)


def test_a_file_of_bare_servers_is_read_as_part_of_an_http_block_that_is_not_there():
    text = "server { listen 443 ssl; %s location / { proxy_pass https://a; } }"
    assert shown(text % "", "1.29.2") == ["NNNNNN", "NNNNNN"]
    assert shown(text % "ssl_protocols TLSv1.2;", "1.29.2") == ["ddddEd", "NNNNNN"]


def test_included_sites_keep_their_places_and_their_digests():
    folder = MemoryFolder({"sites/a": b"\nserver { listen 443 ssl;\nssl_protocols TLSv1.2; }"})
    reading = read(of("http { include sites/*; }"), folder, ReadOptions())
    assert reading.legs[0].name == "server at sites/a:2"
    assert reading.legs[0].settings[0].place.locator == "sites/a:3"
    assert [name for name, _ in reading.includes] == ["sites/a"]


def test_allowing_old_versions_is_a_check_with_its_place():
    old = of("http { server { listen 1 ssl;\nssl_protocols TLSv1 TLSv1.2; } }")
    (check,) = read(old, EMPTY_FOLDER, ReadOptions()).checks
    assert (check.id, check.state.value, check.detail) == ("config-allows-old", "yes", "nginx.conf:2")
    assert not read(of("http { server { listen 1 ssl; ssl_protocols TLSv1.2; } }"), EMPTY_FOLDER, ReadOptions()).checks


def test_legs_of_one_line_have_names_of_their_own():
    text = "http { server { location / { proxy_pass https://a; } location /b { proxy_pass https://b; } } }"
    assert [leg.name for leg in legs(text)] == ["proxy_pass at nginx.conf:1", "proxy_pass at nginx.conf:1 (2)"]


def test_too_many_sockets_are_refused():
    with pytest.raises(ReadError, match="20000"):
        legs("http { server { " + "listen 1-100;" * 201 + " } }")


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (SITE, 90, 100),
        ("server {\n listen 443 ssl;\n}\n", 50, 100),
        ("", 0, 0),
        ("frontend a\n bind :443 ssl\n", 0, 0),
        ("example.com {\n  reverse_proxy a:1\n}\n", 0, 0),
        ("<VirtualHost *:443>\nSSLProtocol all\n</VirtualHost>\n", 0, 0),
    ],
)
def test_nginx_is_recognised_and_others_are_not(text, low, high):
    assert low <= recognise(of(text)) <= high


@settings(max_examples=60)
@given(
    st.integers(0, len(SITE)),
    st.integers(0, 30),
    st.sampled_from(["", "{", "}", ";", '"', "\\", "#", "\0", "listen "]),
)
def test_a_mutated_configuration_raises_nothing_but_a_read_error(at, length, put):
    source = of(SITE[:at] + put + SITE[at + length :])
    recognise(source)
    try:
        read(source, EMPTY_FOLDER, ReadOptions())
        plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=Wants(disable_old=True))
    except ReadError as error:
        told = str(error)
    else:
        told = ""
    assert "hunter2" not in told


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_but_a_read_error(data):
    source = SourceFile(name="x", data=data)
    assert 0 <= recognise(source) <= 100
    with contextlib.suppress(ReadError):
        legs = read(source, EMPTY_FOLDER, ReadOptions()).legs
        assert all(each.state in State for leg in legs for each in leg.settings)
