"""Edits of haproxy.cfg: what they change, and that the changed file reads as wanted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.importers.edits import Wants, apply_edits
from scanner.importers.haproxy import plan_edits, read
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadOptions, SourceFile
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion

OLD_OFF = Wants(disable_old=True)


def changed(text, wants, version="2.6", files=None):
    files = dict(files or {})
    source = SourceFile(name="haproxy.cfg", data=text.encode())
    remedies = plan_edits(source, MemoryFolder(files), ReadOptions(product_version=version), wants=wants)
    edits = [edit for remedy in remedies for edit in remedy.edits]
    for name, data in files.items():
        files[name] = apply_edits(data.decode(), [edit for edit in edits if edit.file == name]).encode()
    return apply_edits(source.text, [edit for edit in edits if edit.file == "haproxy.cfg"]), files


@pytest.mark.parametrize(
    ("before", "wants", "after"),
    [
        ("ssl crt /a ssl-min-ver TLSv1.3", Wants(), "ssl crt /a ssl-min-ver TLSv1.2"),
        ("ssl crt /a ssl-min-ver TLSv1.0 # x", OLD_OFF, "ssl crt /a ssl-min-ver TLSv1.2 # x"),
        ("ssl crt /a ssl-min-ver TLSv1.0", Wants(), "ssl crt /a ssl-min-ver TLSv1.0"),
        ("ssl crt /a force-tlsv11 npn b", Wants(), "ssl crt /a ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.2 npn b"),
        ("ssl crt /a no-tlsv12", Wants(), "ssl crt /a ssl-min-ver TLSv1.2"),
        ("ssl crt /a no-tlsv13", OLD_OFF, "ssl crt /a no-tlsv13"),
        (
            "ssl-max-ver 'TLSv1.1' ssl crt /a ssl-min-ver TLSv1.0",
            OLD_OFF,
            "ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2 ssl crt /a",
        ),
        ("ssl crt /a", OLD_OFF, "ssl crt /a"),
        ("name ssl", OLD_OFF, "name ssl"),
    ],
)
def test_a_bind_line_is_changed_and_nothing_around_it(before, wants, after):
    text = "frontend f\r\n\tbind :443 {}\r\n\tlog 'x'\r\n"
    assert changed(text.format(before), wants)[0] == text.format(after)


@pytest.mark.parametrize(
    ("before", "wants", "after"),
    [
        ("ssl verify none", OLD_OFF, "ssl ssl-min-ver TLSv1.2 verify none"),
        ("ssl verify none", Wants(), "ssl verify none"),
        ("ssl ssl-max-ver TLSv1.1", Wants(), "ssl ssl-max-ver TLSv1.2"),
        ("ssl no-tlsv10 no-tlsv11 no-tlsv13", OLD_OFF, "ssl ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2"),
        ("ssl no-sslv3 no-tlsv10 no-tlsv11", OLD_OFF, "ssl no-sslv3 no-tlsv10 no-tlsv11"),
        ('ssl ssl-min-ver "${X}" ca-file /a', Wants(), "ssl ssl-min-ver TLSv1.2 ca-file /a"),
        (
            'ssl "${OPTIONS[*]}" force-tlsv10',
            OLD_OFF,
            'ssl "${OPTIONS[*]}" ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2',
        ),
        ('ssl "${OPTIONS[*]}"', OLD_OFF, 'ssl "${OPTIONS[*]}" ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3'),
    ],
)
def test_a_server_line_is_changed_and_nothing_around_it(before, wants, after):
    text = "backend b\n  server s1 10.0.0.1:443 {}\n"
    assert changed(text.format(before), wants)[0] == text.format(after)
    assert changed(text.format(after), wants)[0] == text.format(after)


def test_what_is_said_for_all_lines_is_changed_there():
    text = (
        "global\n ssl-default-bind-options no-tls-tickets ssl-min-ver TLSv1.0\n"
        " ssl-default-server-options force-tlsv11\n"
        "frontend f\n bind :1 ssl\nbackend b\n default-server ssl ssl-min-ver TLSv1.1\n server s h:1\n"
    )
    assert changed(text, OLD_OFF)[0] == (
        "global\n ssl-default-bind-options no-tls-tickets ssl-min-ver TLSv1.2\n"
        " ssl-default-server-options force-tlsv12\n"
        "frontend f\n bind :1 ssl\nbackend b\n default-server ssl ssl-min-ver TLSv1.2\n server s h:1\n"
    )
    text = "global\n ssl-default-bind-options no-tlsv12\nfrontend f\n bind :1 ssl\n"
    assert changed(text, Wants())[0] == "global\n ssl-default-bind-options no-sslv3\nfrontend f\n bind :1 ssl\n"


def test_a_bind_line_gets_its_lowest_version_where_the_default_may_be_older():
    text = "frontend f\n bind :1 ssl crt /a\n"
    after = "frontend f\n bind :1 ssl ssl-min-ver TLSv1.2 crt /a\n"
    assert [changed(text, OLD_OFF, version)[0] for version in ("2.1", None, "2.2")] == [after, after, text]


def test_clients_of_an_old_version_keep_it_where_only_tls_1_2_is_wanted():
    text = "frontend f\n bind :1 ssl ssl-max-ver TLSv1.1\n"
    assert changed(text, Wants(), "2.6")[0].count("ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.2") == 1
    assert changed(text, Wants(), "2.1")[0].count("ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.2") == 1


def test_limits_in_a_crt_list_are_changed_there():
    text = "frontend f\n bind :1 ssl crt-list list.txt\n"
    files = {"list.txt": b"/a.pem\n/b.pem [ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.1] b.example\n"}
    after, lists = changed(text, OLD_OFF, files=files)
    assert after == text
    assert lists == {"list.txt": b"/a.pem\n/b.pem [ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2] b.example\n"}


def test_a_remedy_says_how_to_check_and_to_activate_and_holds_no_other_text():
    text = "backend b\n server s1 joe:hunter2@h ssl no-tlsv10 crt /hunter2 force-tlsv11 ca-file hunter2\n"
    source = SourceFile(name="/etc/haproxy/haproxy.cfg", data=text.encode())
    (remedy,) = plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=OLD_OFF)
    assert remedy.check_commands == ("haproxy -c -f /etc/haproxy/haproxy.cfg",)
    assert "reload" in remedy.activate
    assert "hunter2" not in "".join(edit.old + edit.new for edit in remedy.edits)
    assert "hunter2" not in repr(remedy)
    source = SourceFile(name="a;b.cfg", data=text.encode())
    assert plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=OLD_OFF)[0].check_commands == ("haproxy -c -f FILE",)


def test_a_missing_crt_list_is_a_caution_and_no_endless_change():
    text = "frontend f\n bind :1 ssl crt-list gone.txt ssl-min-ver TLSv1.2\n"
    assert changed(text, OLD_OFF)[0] == text
    text = text.replace("1.2", "1.0")
    source = SourceFile(name="h", data=text.encode())
    (remedy,) = plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=OLD_OFF)
    assert any("crt-list" in caution for caution in remedy.cautions)


VERSIONS = st.sampled_from(["SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
WORD = st.one_of(
    VERSIONS.map(lambda v: f"ssl-min-ver {v}"),
    VERSIONS.map(lambda v: f"ssl-max-ver {v}"),
    st.sampled_from(["force-", "no-"]).flatmap(
        lambda p: st.sampled_from(["sslv3", "tlsv10", "tlsv11", "tlsv12", "tlsv13"]).map(lambda s: p + s)
    ),
    st.sampled_from(["ciphers ALL:@SECLEVEL=0", "alpn h2", 'ssl-min-ver "$X"', '"${X[*]}"', "ssl-min-ver 'TLSv1.1'"]),
)
WORDS = st.lists(WORD, max_size=3).map(" ".join)
ENTRY = st.lists(
    st.tuples(st.sampled_from(["ssl-min-ver", "ssl-max-ver"]), VERSIONS).map(" ".join), min_size=1, max_size=2
)


@settings(max_examples=300)
@given(
    st.tuples(WORDS, WORDS, WORDS, WORDS, WORDS, WORDS),
    ENTRY.map(" ".join),
    st.sampled_from([None, "1.8.4", "2.1.0", "2.6.12", "3.0"]),
    st.booleans(),
)
def test_the_changed_file_has_tls_1_2_everywhere_and_nothing_old_where_wanted(parts, entry, version, is_old_off):
    global_bind, global_server, default, bind, server, peers = parts
    text = (
        f"global\n ssl-default-bind-options no-tls-tickets {global_bind}\n"
        f" ssl-default-server-options no-tls-tickets {global_server}\n"
        f"defaults\n default-server inter 1 {default}\n"
        f"frontend f\n bind :1 {bind} ssl crt-list l {bind}\n bind :2 ssl {server}\n bind :3 ssl\n"
        f"backend b from x\n server s h:1 ssl {server}\nbackend c\n default-server ssl {default}\n"
        f" server s h:1 ssl {server} # x\n server t h:2 {bind}\npeers p\n default-bind ssl {peers}\n bind :4\n"
    ).replace("from x", "")
    files = {"l": f"/c.pem [{entry}] a.example\n".encode()}
    wants = Wants(disable_old=is_old_off)
    result, lists = changed(text, wants, version, files)
    options = ReadOptions(product_version=version)
    reading = read(SourceFile(name="n", data=result.encode()), MemoryFolder(lists), options)
    assert len(reading.legs) == 8
    for leg in reading.legs:
        states = {each.version: each.state for each in leg.settings}
        assert states[TlsVersion.TLS1_2] is State.ENABLED, (leg.name, result, lists)
        if is_old_off:
            assert {states[each] for each in TlsVersion if each < TlsVersion.TLS1_2} == {State.DISABLED}, result
    assert changed(result, wants, version, lists) == (result, lists)
