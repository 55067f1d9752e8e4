"""Edits of nginx configurations: what they change, and that the changed file reads as wanted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.importers.edits import Wants, apply_edits
from scanner.importers.nginx import plan_edits, read
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadOptions, SourceFile
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion

OLD_OFF = Wants(disable_old=True)


def changed(text, wants, version=None):
    source = SourceFile(name="nginx.conf", data=text.encode())
    remedies = plan_edits(source, EMPTY_FOLDER, ReadOptions(product_version=version), wants=wants)
    return apply_edits(source.text, [edit for remedy in remedies for edit in remedy.edits])


@pytest.mark.parametrize(
    ("before", "wants", "after"),
    [
        ("ssl_protocols TLSv1 TLSv1.1;", Wants(), "ssl_protocols TLSv1 TLSv1.1 TLSv1.2;"),
        ("ssl_protocols TLSv1 TLSv1.2 TLSv1.3;", OLD_OFF, "ssl_protocols TLSv1.2 TLSv1.3;"),
        ("ssl_protocols TLSv1;", OLD_OFF, "ssl_protocols TLSv1.2;"),
        ("ssl_protocols TLSv1.2;", OLD_OFF, "ssl_protocols TLSv1.2;"),
        ("ssl_protocols TLSv1.2; # TLSv1", OLD_OFF, "ssl_protocols TLSv1.2; # TLSv1"),
        (
            "ssl_protocols TLSv1.2; ssl_conf_command MinProtocol TLSv1.3;",
            Wants(),
            'ssl_protocols TLSv1.2; ssl_conf_command MinProtocol "TLSv1.2";',
        ),
    ],
)
def test_the_directive_is_changed_and_nothing_around_it(before, wants, after):
    text = "http {{\r\n server {{ listen 443 ssl; auth_basic 'x'; {}\r\n}}\r\n}}\r\n"
    assert changed(text.format(before), wants) == text.format(after)


def test_where_a_default_allows_old_versions_a_directive_is_put_into_http():
    text = "http {\n  server { listen 443 ssl; location / { proxy_pass https://a; } }\n}\n"
    assert changed(text, OLD_OFF) == (
        "http {\n    ssl_protocols TLSv1.2 TLSv1.3;\n    proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        "\n  server { listen 443 ssl; location / { proxy_pass https://a; } }\n}\n"
    )
    assert changed(text, OLD_OFF, "1.27.3") == text
    assert changed(text, OLD_OFF, "1.12.2").count("TLSv1.3") == 0
    assert changed(text, Wants()) == text


def test_a_remedy_says_how_to_check_and_to_activate_and_holds_no_other_text():
    text = 'http { server { listen 1 ssl; proxy_set_header A "hunter2"; ssl_protocols TLSv1; } }'
    source = SourceFile(name="nginx.conf", data=text.encode())
    (remedy,) = plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=Wants())
    assert remedy.check_commands == ("nginx -t",)
    assert "nginx -s reload" in remedy.activate
    assert "hunter2" not in "".join(edit.old + edit.new for edit in remedy.edits)


def test_an_included_file_is_changed_in_its_own_place():
    folder = MemoryFolder({"tls.conf": b"\n  ssl_protocols TLSv1;\n"})
    source = SourceFile(name="nginx.conf", data=b"http { include tls.conf; server { listen 1 ssl; } }")
    (remedy,) = plan_edits(source, folder, ReadOptions(), wants=OLD_OFF)
    assert [(edit.file, edit.line, edit.column) for edit in remedy.edits] == [("tls.conf", 2, 3)]


words = st.lists(st.sampled_from(["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]), min_size=1, max_size=4)
protocols = st.tuples(st.sampled_from(["ssl_protocols", "proxy_ssl_protocols"]), words).map(
    lambda pair: f"{pair[0]} {' '.join(pair[1])};"
)
commands = st.sampled_from(
    [
        "ssl_conf_command MinProtocol TLSv1.3;",
        "ssl_conf_command MaxProtocol TLSv1.1;",
        "ssl_conf_command Protocol ALL,-TLSv1.2;",
        "ssl_conf_command Protocol odd;",
        "ssl_ciphers DEFAULT@SECLEVEL=0;",
        "# a comment",
        "",
    ]
)
part = st.lists(protocols | commands, max_size=3).map("\n  ".join)


@settings(max_examples=80)
@given(
    part,
    st.tuples(part, part),
    part,
    st.sampled_from([None, "1.9.0", "1.22.1", "1.25.0", "1.29.2"]),
    st.booleans(),
)
def test_the_changed_file_has_tls_1_2_everywhere_and_nothing_old_where_wanted(
    http, servers, place, version, is_old_off
):
    one, two = servers
    text = (
        f"http {{ {http}\n server {{ listen 443 ssl; {one}\n }} server {{ listen 443 ssl; {two}\n"
        f" location / {{ {place.replace('  ssl_', '  proxy_ssl_')}\n proxy_pass https://a; }} }} }}"
    )
    result = changed(text, Wants(disable_old=is_old_off), version)
    reading = read(SourceFile(name="n", data=result.encode()), EMPTY_FOLDER, ReadOptions(product_version=version))
    assert len(reading.legs) == 3
    for leg in reading.legs:
        states = {each.version: each.state for each in leg.settings}
        assert states[TlsVersion.TLS1_2] is State.ENABLED
        if is_old_off:
            assert {states[each] for each in TlsVersion if each < TlsVersion.TLS1_2} == {State.DISABLED}
    assert changed(result, Wants(disable_old=is_old_off), version) == result
