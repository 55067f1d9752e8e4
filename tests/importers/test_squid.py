"""Expected values: what Squid 5.7 with OpenSSL 3.0 did when it was run with these lines, and cf.data.pre."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import squid
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import LineState
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
SAMPLE = b"""\
http_port 3128 ssl-bump tls-cert=/etc/squid/ca.pem tls-min-version=1.2 options=NO_SSLv3,NO_TLSv1,NO_TLSv1_1
tls_outgoing_options min-version=1.2 options=NO_SSLv3
acl entra ssl::server_name .microsoftonline.com
ssl_bump peek step1
ssl_bump splice entra
ssl_bump bump all
cache_peer parent.example.com parent 8443 0 tls tls-min-version=1.2 login=joe:HUNTER2
if ${process_number} = 1
https_port 192.0.2.1:8443 tls-cert=/a.pem
endif
"""


def read(text, folder=EMPTY_FOLDER, version=None):
    data = text if isinstance(text, bytes) else text.encode()
    return squid.read(SourceFile(name="squid.conf", data=data), folder, ReadOptions(product_version=version))


def states(leg):
    return {setting.version: setting.gap or setting.state for setting in leg.settings}


def port(options, version=None):
    (leg,) = read(f"https_port 3129 accel tls-cert=/c.pem {options}\n", version=version).legs
    return states(leg)


@pytest.mark.parametrize(
    ("options", "off"),
    [
        ("tls-min-version=1.2", {TLS1_0, TLS1_1}),
        ("tls-min-version=1.0", set()),
        ("tls-min-version=1.3x", {TLS1_0, TLS1_1, TLS1_2}),
        ("tls-min-version=TLSv1.2", set()),
        ("tls-min-version=1.3 options=-NO_TLSv1_2", {TLS1_0, TLS1_1, TLS1_2}),
        ("options=NO_TLSv1_2:-NO_TLSv1_2", set()),
        ("options=NO_TLSv1_2,!NO_TLSv1_2", set()),
        ("options=0x08000000", {TLS1_2}),
        ("options=8000000", {TLS1_2}),
        ("options=NO_TLSv1_2 options=NO_SSLv3", {SSL3}),
        ("options=NO_SSLv3,NO_TLSv1_2,FOO,NO_TLSv1_3", {SSL3, TLS1_2, TLS1_3}),
        ("options=no_tlsv1_2", set()),
        ("tls-options=NO_TLSv1_2", {TLS1_2}),
        ("version=6", {SSL3, TLS1_0, TLS1_1, TLS1_3}),
        ("version=4", {SSL3, TLS1_1, TLS1_2, TLS1_3}),
        ("version=6 tls-min-version=bogus", set()),
        ("version=6 tls-min-version=1.1", {TLS1_0}),
    ],
)
def test_a_port_leaves_out_what_squid_5_7_leaves_out(options, off):
    got = port(options)
    assert {version for version, outcome in got.items() if outcome is State.DISABLED} == off
    for version in {TLS1_2, TLS1_3} - off:
        assert got[version] is State.ENABLED
    for version in {SSL2, SSL3, TLS1_0, TLS1_1} - off:
        assert got[version] is GapReason.LIBRARY_POLICY


def test_squid_4_and_later_switch_ssl_2_off_but_earlier_ones_may_not():
    assert port("", version="4.10")[SSL2] is State.DISABLED
    assert port("", version="3.5")[SSL2] is GapReason.LIBRARY_POLICY


@pytest.mark.parametrize("value", ["NORMAL:-VERS-TLS1.0", "SECURE128:+VERS-TLS1.2", "-VERS-TLS1.0", '"NO_SSLv3"'])
def test_a_gnutls_priority_string_is_a_gap_for_all_versions(value):
    assert set(port(f"options={value}").values()) == {GapReason.UNSUPPORTED}


def test_an_ignored_minimum_is_noted_without_its_value():
    reading = read("https_port 3129 tls-cert=/c.pem tls-min-version=TLSv1.2\n")
    assert [(note.text, note.state) for note in reading.notes] == [("https_port", LineState.UNIMPLEMENTED)]


def test_http_port_with_a_certificate_but_without_ssl_bump_has_no_tls():
    assert not [x for x in read("http_port 3128 tls-cert=/c.pem\n").legs if x.direction is Direction.INBOUND]


@pytest.mark.parametrize("rules", ["", "ssl_bump none all\n", "ssl_bump splice all\n", "ssl_bump peek all\n"])
def test_without_a_rule_that_bumps_a_bumping_port_passes_tls_through(rules):
    legs = read("http_port 3128 ssl-bump tls-cert=/c.pem tls-min-version=1.2\n" + rules).legs
    assert all(set(states(leg).values()) == {GapReason.TUNNEL} for leg in legs)
    assert [leg.direction for leg in legs] == [Direction.INBOUND, Direction.OUTBOUND]


def test_limits_of_tls_outgoing_options_are_a_gap_because_squid_5_7_ignores_them():
    legs = {leg.name: states(leg) for leg in read(SAMPLE).legs}
    assert legs["connections to origin servers by tls_outgoing_options"] == {
        SSL2: GapReason.LIBRARY_POLICY,
        SSL3: GapReason.UNSUPPORTED,
        TLS1_0: GapReason.UNSUPPORTED,
        TLS1_1: GapReason.UNSUPPORTED,
        TLS1_2: State.ENABLED,
        TLS1_3: State.ENABLED,
    }


def test_limits_of_cache_peer_are_obeyed():
    (peer,) = [leg for leg in read(SAMPLE).legs if leg.name.startswith("cache_peer")]
    assert peer.destinations == ("parent.example.com:8443",)
    assert [states(peer)[v] for v in (TLS1_0, TLS1_1, TLS1_2)] == [State.DISABLED, State.DISABLED, State.ENABLED]
    assert {setting.basis for setting in peer.settings} == {Basis.DECLARED}
    assert peer.settings[2].place.line == 7


@pytest.mark.parametrize("options", ["ssl sslversion=6", "sslversion=6", "tls-min-version=1.2 tls-options=NO_TLSv1_3"])
def test_parents_take_the_legacy_spelling_too(options):
    (peer, *_) = read(f"cache_peer p parent 443 0 {options} name=a\n").legs
    assert states(peer)[TLS1_3] is State.DISABLED
    assert states(peer)[TLS1_2] is State.ENABLED


def test_a_parent_without_tls_has_no_leg():
    assert not read("cache_peer p parent 3128 0 no-query\n").legs


def test_a_port_under_an_undecided_if_is_conditional_and_under_if_false_absent():
    reading = read(SAMPLE)
    (leg,) = [x for x in reading.legs if x.name.startswith("https_port")]
    assert set(states(leg).values()) == {GapReason.CONDITIONAL}
    assert (leg.listens[0].address, leg.listens[0].port) == ("192.0.2.1", 8443)
    decided = read("if 1 = 2\nhttps_port 1 accel\nelse\nhttps_port 2 accel\nendif\nif false\nhttps_port 3\nendif\n")
    assert [leg.listens[0].port for leg in decided.legs] == [2]
    assert states(decided.legs[0])[TLS1_2] is State.ENABLED


def test_continued_lines_skip_comments_and_words_after_a_hash():
    text = "http_access deny all\nhttps_port 3130 accel \\\n  # inner comment\n  tls-min-version=\\\n"
    text += "1.2 # options=NO_TLSv1_2\n"
    (leg,) = read(text).legs
    assert leg.settings[3].place.line == 2
    assert (states(leg)[TLS1_1], states(leg)[TLS1_2]) == (State.DISABLED, State.ENABLED)


def test_includes_are_read_in_order_and_named():
    folder = MemoryFolder(
        {"conf.d/a.conf": b"https_port 1 accel\n", "conf.d/b.conf": b"https_port 2 accel\n"}, root="/etc/squid"
    )
    reading = read("include /etc/squid/conf.d/*.conf\n", folder)
    assert [leg.settings[0].place.locator for leg in reading.legs] == ["conf.d/a.conf:1", "conf.d/b.conf:1"]
    assert [name for name, _ in reading.includes] == ["conf.d/a.conf", "conf.d/b.conf"]
    assert not reading.gaps


def test_a_missing_include_may_hold_outgoing_options_but_not_a_ports():
    reading = read("https_port 1 accel tls-min-version=1.2\ntls_outgoing_options min-version=1.2\ninclude other.conf\n")
    assert [reason for reason, _ in reading.gaps] == [GapReason.INCLUDE_MISSING]
    assert states(reading.legs[0])[TLS1_0] is State.DISABLED
    assert set(states(reading.legs[1]).values()) == {GapReason.INCLUDE_MISSING}


@pytest.mark.parametrize("text", ["hello world\n", "if true\nhttps_port 1\n", "else\n", "endif\n", ""])
def test_what_is_no_squid_conf_is_refused(text):
    with pytest.raises(ReadError):
        read(text)


def test_a_file_that_includes_itself_is_refused():
    loop = b"include a.conf a.conf\nhttps_port 1\n"
    with pytest.raises(ReadError):
        read(loop, MemoryFolder({"a.conf": loop}))


def test_no_secret_is_in_a_reading():
    reading = read(SAMPLE + b"HUNTER2 x\nhttps_port 9 options=HUNTER2\ncache_peer joe:HUNTER2@x parent 1 0 tls\n")
    assert "HUNTER2" not in repr(reading).upper()


def test_old_versions_that_are_allowed_are_said_with_their_place():
    (check,) = read("https_port 3129 tls-min-version=1.0\n").checks
    assert (check.id, check.detail) == ("config-allows-old", "squid.conf:1")
    assert not read("https_port 3129 tls-min-version=1.2 options=NO_SSLv3\n").checks


@pytest.mark.parametrize(
    ("text", "is_mine"), [(SAMPLE, True), (b"server {\n listen 443 ssl;\n}\n", False), (b"", False)]
)
def test_squid_conf_is_recognised(text, is_mine):
    assert (squid.recognise(SourceFile(name="x", data=text)) >= 50) is is_mine


def test_the_host_names_itself_by_visible_hostname():
    assert [clue.name for clue in read("visible_hostname Proxy1\n").clues] == ["proxy1"]


@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=9)))
def test_garbage_and_broken_samples_raise_nothing_but_read_error(garbage):
    data = garbage if isinstance(garbage, bytes) else SAMPLE[: garbage[0]] + garbage[1] + SAMPLE[garbage[0] + 5 :]
    source = SourceFile(name="x", data=data)
    assert 0 <= squid.recognise(source) <= 100
    try:
        reading = squid.read(source, EMPTY_FOLDER, ReadOptions())
    except ReadError:
        return
    assert len({leg.name for leg in reading.legs}) == len(reading.legs)


def test_versions_are_all_six():
    assert all(len(leg.settings) == len(TlsVersion) for leg in read(SAMPLE).legs)
