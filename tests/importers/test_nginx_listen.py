"""listen and server_name lines, by nginx's documentation of ngx_http_core_module."""

import pytest

from scanner.importers.nginx_listen import parse_listen, parse_names, upstream_address
from scanner.importers.nginx_tree import parse_statements
from scanner.importers.source import SourceFile


def statement(text):
    return parse_statements(SourceFile(name="f", data=text.encode()))[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen 127.0.0.1:8000;", ("127.0.0.1", 4, 8000, None, False)),
        ("listen 127.0.0.1;", ("127.0.0.1", 4, 80, None, False)),
        ("listen 8000;", (None, 4, 8000, None, False)),
        ("listen *:8000;", (None, 4, 8000, None, False)),
        ("listen localhost:8000;", (None, 0, 8000, "localhost", False)),
        ("listen [::]:443 ssl;", (None, 6, 443, None, True)),
        ("listen [::1];", ("::1", 6, 80, None, False)),
        ("listen [2001:DB8:0::1]:443 ssl http2;", ("2001:db8::1", 6, 443, None, True)),
        ("listen 0.0.0.0:443 ssl;", (None, 4, 443, None, True)),
        ("listen unix:/var/run/nginx.sock ssl;", (None, 0, None, "unix:/var/run/nginx.sock", True)),
    ],
)
def test_the_forms_of_listen_that_the_documentation_lists(text, expected):
    ((socket, is_tls),), _ = parse_listen(statement(text), is_http=True)
    assert (socket.address, socket.family, socket.port, socket.name, is_tls) == expected


def test_a_range_of_ports_is_every_port_of_it():
    sockets, _ = parse_listen(statement("listen 127.0.0.1:8000-8002 ssl;"), is_http=False)
    assert [socket.port for socket, _ in sockets] == [8000, 8001, 8002]


@pytest.mark.parametrize("text", ["listen 0;", "listen 1-70000;", "listen a:b;", "listen 1-9999;", "listen [::1;"])
def test_what_is_no_port_is_said_to_be_not_understood(text):
    sockets, limits = parse_listen(statement(text), is_http=False)
    assert sockets == []
    assert "not understood" in limits[0]


def test_quic_is_not_judged_and_said_so():
    sockets, limits = parse_listen(statement("listen 443 quic reuseport;"), is_http=True)
    assert sockets == []
    assert "QUIC" in limits[0]


def test_default_server_is_seen_in_its_old_spelling_too():
    assert parse_listen(statement("listen 443 default_server ssl;"), is_http=True)[0][0][0].is_default
    assert parse_listen(statement("listen 443 default ssl;"), is_http=True)[0][0][0].is_default


def test_names_with_a_leading_dot_are_two_and_patterns_are_a_limit():
    names, limits = parse_names([statement('server_name A.example .b.example _ "" ~^w(?<n>.+)$ *.c.example;')])
    assert names == ("a.example", "b.example", "*.b.example", "*.c.example")
    assert limits == ["It serves further names, by a pattern or a variable."]


@pytest.mark.parametrize(
    ("text", "port", "expected"),
    [
        ("fs.example", 443, "fs.example:443"),
        ("FS.example:8443", 443, "fs.example:8443"),
        ("[2001:db8::1]:99", None, "[2001:db8::1]:99"),
        ("pool", None, "pool"),
        ("unix:/tmp/x", 443, None),
        ("$host", 443, None),
        ("user:secret@host", 443, None),
    ],
)
def test_an_upstream_is_host_and_port_or_nothing(text, port, expected):
    assert upstream_address(text, port) == expected
