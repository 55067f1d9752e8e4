"""What directives say of versions. Expected values: nginx's changes.xml and documentation, SSL_CONF_cmd(3), and what
nginx 1.22.1 with OpenSSL 3.0 was seen to do.
"""

import pytest

from scanner.importers.nginx_tls import maybe_own_protocols, parse_version, rules_of, settings_of
from scanner.importers.nginx_tree import Tree, top_blocks
from scanner.importers.source import EMPTY_FOLDER, SourceFile
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.versions import TlsVersion

LETTERS = {State.ENABLED: "E", State.DISABLED: "d"}


def settings(server, *, http="", prefix="", version="1.22.1"):
    text = f"http {{ {http} server {{ {server} }} }}"
    (top,) = top_blocks(Tree(SourceFile(name="nginx.conf", data=text.encode()), EMPTY_FOLDER))
    return settings_of(rules_of(top.blocks[-1], prefix), parse_version(version))


def brief(found):
    """SSL2 to TLS 1.3: E enabled, d disabled, L library policy, ? version unknown, other gaps by their first letter."""
    special = {GapReason.VERSION_UNKNOWN: "?", None: ""}
    return "".join(LETTERS.get(each.state) or special.get(each.gap) or each.gap.value[0] for each in found)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.9.0", "dLLLEd"),
        ("1.9.1", "ddLLEd"),
        ("1.23.3", "ddLLEd"),
        ("1.23.4", "ddLLEE"),
        ("1.27.2", "ddLLEE"),
        ("1.27.3", "ddddEE"),
        ("nginx/1.30.0 (Debian)", "ddddEE"),
        ("1.27", "dd??EE"),
        (None, "d???E?"),
        ("R30", "d???E?"),
        ("0.8.54", "d???E?"),
    ],
)
def test_defaults_by_version_are_assumed(version, expected):
    found = settings("", version=version)
    assert brief(found) == expected
    assert {each.basis for each in found} == {Basis.ASSUMED}
    assert {each.place for each in found} == {None}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("ssl_protocols TLSv1.2 TLSv1.3;", "ddddEE"),
        ("ssl_protocols tlsv1.2;", "ddddEd"),
        ("ssl_protocols SSLv2 SSLv3 TLSv1 TLSv1.1;", "LLLLdd"),
        ("ssl_protocols TLSv1.2; ssl_protocols TLSv1.3;", "ddddEE"),
        ("ssl_protocols TLSv1 TLSv1.2;", "ddLdEd"),
        ("ssl_protocols TLSv1.2 TLSv1.4;", "UUUUUU"),
    ],
)
def test_what_ssl_protocols_names_is_declared(server, expected):
    found = settings(server)
    assert brief(found) == expected
    assert {each.basis for each in found} == {Basis.DECLARED}


def test_the_inner_level_replaces_the_outer_one():
    found = settings("ssl_protocols TLSv1.3;", http="ssl_protocols TLSv1 TLSv1.2;")
    assert brief(found) == "dddddE"
    assert brief(settings("", http="ssl_protocols TLSv1.2;")) == "ddddEd"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("MinProtocol TLSv1.3", "dddddE"),
        ("MaxProtocol TLSv1.1", "ddLLdd"),
        ("MaxProtocol None", "ddLLEE"),
        ("minprotocol TLSv1.2", "ddddEE"),
        ("Protocol -ALL,TLSv1.2", "ddddEd"),
        ("Protocol -TLSv1,-TLSv1.1", "ddddEE"),
        ("Protocol '+SSLv3, -TLSv1.3'", "dLLLEd"),
        ("Protocol nonsense", "UUUUUU"),
        ("MinProtocol tlsv1.2", "UUUUUU"),
        ("Ciphersuites TLS_AES_128_GCM_SHA256", "ddLLEE"),
    ],
)
def test_ssl_conf_command_is_run_after_ssl_protocols(command, expected):
    assert brief(settings(f"ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_conf_command {command};")) == expected


def test_what_a_command_changes_is_declared_at_the_command():
    found = settings("\nssl_conf_command MinProtocol TLSv1.2;")
    old = found[TlsVersion.TLS1_0 - TlsVersion.SSL3 + 1]
    assert (old.version, old.state, old.basis, old.place.line) == (TlsVersion.TLS1_0, State.DISABLED, Basis.DECLARED, 2)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("ssl_ciphers DEFAULT@SECLEVEL=0;", "dLEEEd"),
        ("ssl_ciphers ALL:!aNULL:@SECLEVEL=0;", "dLEEEd"),
        ("ssl_conf_command CipherString DEFAULT:@SECLEVEL=0;", "dLEEEd"),
        ("ssl_ciphers DEFAULT@SECLEVEL=1;", "dLLLEd"),
        ("ssl_ciphers DEFAULT@SECLEVEL=0:@SECLEVEL=2;", "dLLLEd"),
        ("ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0;", "dLLLEd"),
        ("ssl_ciphers HIGH:!SHA1:@SECLEVEL=0;", "dLLLEd"),
    ],
)
def test_security_level_0_with_old_suites_is_what_makes_tls_1_0_sure(server, expected):
    assert brief(settings(f"ssl_protocols SSLv3 TLSv1 TLSv1.1 TLSv1.2; {server}")) == expected


def test_the_client_side_is_not_sure_of_what_lies_above_a_hole():
    assert brief(settings("proxy_ssl_protocols TLSv1.1 TLSv1.3;", prefix="proxy_")) == "dddLdL"
    assert brief(settings("ssl_protocols TLSv1.1 TLSv1.3;")) == "dddLdE"


def test_a_missing_include_counts_where_it_may_override_and_not_further_out():
    assert brief(settings("ssl_protocols TLSv1.2;", http="include lost;")) == "ddddEd"
    assert brief(settings("include lost;", http="ssl_protocols TLSv1.2;")) == "IIIIII"
    assert brief(settings("", http="ssl_protocols TLSv1.2; include lost;")) == "IIIIII"


def test_a_lua_handler_of_the_client_hello_leaves_inbound_versions_open_and_no_others():
    lua = "ssl_client_hello_by_lua_block { x() } ssl_protocols TLSv1.2; proxy_ssl_protocols TLSv1.2;"
    assert brief(settings(lua)) == "CCCCCC"
    assert brief(settings(lua, prefix="proxy_")) == "ddddEd"


def test_own_protocols_of_name_based_servers_count_since_1_29_2():
    known = {version: maybe_own_protocols(parse_version(version)) for version in ("1.29.1", "1.29.2", "1.29", None)}
    assert known == {"1.29.1": False, "1.29.2": True, "1.29": None, None: None}
