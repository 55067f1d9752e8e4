"""haproxy.cfg as a whole: legs, names, places, checks, and that nothing secret or odd gets through."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import haproxy
from scanner.importers.edits import Wants
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import LineState, Listen
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
SAMPLE = b"""\
global
    log /dev/log local0
    node LB1
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-server-options ssl-min-ver TLSv1.0
    stats socket ipv4@127.0.0.1:9999 level admin ssl crt /a.pem
userlist people
    user joe insecure-password HUNTER2
defaults
    mode tcp
    timeout client 30s
frontend sts_in
    bind 192.0.2.1:443,[2001:DB8::1]:8443 ssl crt /etc/haproxy/HUNTER2.pem alpn http/1.1
    bind :80
    default_backend sts_out
.if defined(HUNTER2)
frontend maybe
    bind :8443 ssl crt /x.pem
.endif
backend sts_out
    http-request set-header Authorization "Basic HUNTER2"
    server fs1 10.0.0.11:443 ssl verify required ca-file /etc/ssl/ca.pem sni str(sts.example.org)
    server fs2 Sts.Example.Org:8443 ssl ssl-max-ver TLSv1.1
    server fs3 10.0.0.12:443
"""


def read(text, folder=EMPTY_FOLDER, version=None):
    data = text if isinstance(text, bytes) else text.encode()
    return haproxy.read(SourceFile(name="haproxy.cfg", data=data), folder, ReadOptions(product_version=version))


def states(leg):
    return {setting.version: setting.gap or setting.state for setting in leg.settings}


def test_a_file_has_one_leg_for_each_line_with_ssl():
    legs = read(SAMPLE).legs
    assert [(leg.name, leg.direction) for leg in legs] == [
        ("frontend sts_in bind at haproxy.cfg:13", Direction.INBOUND),
        ("frontend maybe bind at haproxy.cfg:18", Direction.INBOUND),
        ("backend sts_out server at haproxy.cfg:22", Direction.OUTBOUND),
        ("backend sts_out server at haproxy.cfg:23", Direction.OUTBOUND),
    ]
    assert legs[0].listens == (Listen(address="192.0.2.1", port=443), Listen(address="2001:db8::1", port=8443))
    assert [leg.destinations for leg in legs[2:]] == [("10.0.0.11:443",), ("sts.example.org:8443",)]
    assert set(states(legs[1]).values()) == {GapReason.CONDITIONAL}


def test_settings_name_the_line_that_decides():
    legs = read(SAMPLE).legs
    assert {each.place.locator for each in legs[0].settings} == {"haproxy.cfg:4"}
    assert {each.basis for each in legs[0].settings} == {Basis.DECLARED}
    assert states(legs[0]) == dict.fromkeys((SSL2, SSL3, TLS1_0, TLS1_1), State.DISABLED) | dict.fromkeys(
        (TLS1_2, TLS1_3), State.ENABLED
    )
    assert states(legs[3])[TLS1_2] is State.DISABLED
    assert legs[3].settings[4].place.locator == "haproxy.cfg:23"


def test_what_only_the_default_switches_off_is_assumed():
    (leg,) = read("global\nfrontend f\n bind :1 ssl ssl-max-ver TLSv1.2\n", version="2.6").legs
    assert [each.basis for each in leg.settings[:4]] == [Basis.ASSUMED] * 4
    assert [each.place for each in leg.settings[:4]] == [None] * 4
    assert leg.settings[5].basis is Basis.DECLARED


@pytest.mark.parametrize(
    ("address", "listens"),
    [
        (":443", [(None, 443)]),
        ("*:443", [(None, 443)]),
        ("[::]:443", [(None, 443)]),
        (":::443", [(None, 443)]),
        ("0.0.0.0:443", [(None, 443)]),
        ("ipv4@192.0.2.1:443", [("192.0.2.1", 443)]),
        ("2001:db8::1:443", [("2001:db8::1", 443)]),
        (":8000-8002", [(None, 8000), (None, 8001), (None, 8002)]),
        (":1,192.0.2.1:2", [(None, 1), ("192.0.2.1", 2)]),
        ("unix@/run/x.sock", []),
        ("/run/x.sock", []),
        ('"${ADDRESS}:443"', []),
        (":1-60000", []),
        (":70000", []),
        ("host.example:443", []),
    ],
)
def test_a_bind_line_says_where_it_listens(address, listens):
    (leg,) = read(f"global\nfrontend f\n bind {address} ssl\n").legs
    assert [(each.address, each.port) for each in leg.listens] == listens
    assert bool(leg.limits) is not bool(listens)


@pytest.mark.parametrize(
    ("address", "destination"),
    [
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("Sts.Example.org", "sts.example.org"),
        ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
        ("2001:db8::1:443", "[2001:db8::1]:443"),
        ("ipv6@2001:db8::1:443", "[2001:db8::1]:443"),
        ("192.0.2.1:+8000", "192.0.2.1"),
        ("0.0.0.0:443", None),
        ("*", None),
        (":443", None),
        ("/run/x.sock", None),
        ("abns@x", None),
        ("${HUNTER2}:443", None),
    ],
)
def test_a_server_line_says_where_it_connects(address, destination):
    assert haproxy.maybe_destination(address) == destination


def test_names_of_a_crt_list_have_a_leg_of_their_own():
    folder = MemoryFolder({"l.txt": b"/a.pem [ssl-min-ver TLSv1.3] A.example *.b.example !c.b.example\n"})
    reading = read("global\nfrontend f\n bind :1 ssl crt-list l.txt\n", folder, "2.6")
    assert [leg.server_names for leg in reading.legs] == [(), ("a.example", "*.b.example")]
    assert states(reading.legs[1])[TLS1_2] is State.DISABLED
    assert reading.legs[1].settings[4].place.locator == "l.txt:1"
    assert [name for name, _ in reading.includes] == ["l.txt"]
    assert not reading.gaps


def test_a_missing_crt_list_is_a_gap_of_the_file():
    assert [reason for reason, _ in read("frontend f\n bind :1 ssl crt-list l.txt\n").gaps] == [
        GapReason.INCLUDE_MISSING
    ]


def test_without_a_global_section_another_file_may_have_one():
    assert "another file" in read("frontend f\n bind :1 ssl\n").legs[0].limits[0]


def test_old_versions_that_are_allowed_are_said_with_their_place():
    (check,) = read(SAMPLE).checks
    assert (check.id, check.detail) == ("config-allows-old", "haproxy.cfg:23, haproxy.cfg:5")
    assert not read("global\nfrontend f\n bind :1 ssl\n", version="2.6").checks


def test_the_host_names_itself_by_node():
    assert [clue.name for clue in read(SAMPLE).clues] == ["lb1"]


def test_lines_are_counted_and_conditional_ones_noted():
    reading = read("x HUNTER2\n" + SAMPLE.decode())
    counts = dict(reading.line_counts)
    assert (counts[LineState.CONDITIONAL], counts[LineState.UNRECOGNISED]) == (2, 1)
    assert sum(counts.values()) == SAMPLE.count(b"\n") - 2 + 1
    assert [note.text for note in reading.notes] == ["(unrecognised)", "frontend", "bind"]


def test_no_secret_is_in_a_reading():
    assert "HUNTER2" not in repr(read(SAMPLE + b"frontend HUNTER2/x\n bind HUNTER2 ssl\n server HUNTER2 x ssl\n"))


@pytest.mark.parametrize("text", ["", "hello world\n", "server { listen 443 ssl; }\n", ".if 1\n", "global\n 'x\n"])
def test_what_is_no_haproxy_cfg_is_refused(text):
    with pytest.raises(ReadError):
        read(text)


@pytest.mark.parametrize(
    ("text", "is_mine"),
    [
        (SAMPLE, True),
        (b"frontend f\r\n  bind :443 ssl\r\n  default_backend b\r\nbackend b\r\n  server s 192.0.2.1:1\r\n", True),
        (b"http {\n server {\n listen 443 ssl;\n }\n}\n", False),
        (b"[svc]\naccept = 1\nconnect = 2\n", False),
        (b"http_port 3128\n", False),
        (b"", False),
    ],
)
def test_haproxy_cfg_is_recognised(text, is_mine):
    assert (haproxy.recognise(SourceFile(name="x", data=text)) >= 50) is is_mine


@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=9)))
def test_garbage_and_broken_samples_raise_nothing_but_read_error(garbage):
    data = garbage if isinstance(garbage, bytes) else SAMPLE[: garbage[0]] + garbage[1] + SAMPLE[garbage[0] + 5 :]
    source = SourceFile(name="x", data=data)
    assert 0 <= haproxy.recognise(source) <= 100
    try:
        reading = haproxy.read(source, EMPTY_FOLDER, ReadOptions())
        haproxy.plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=Wants(disable_old=True))
    except ReadError:
        return
    assert len({leg.name for leg in reading.legs}) == len(reading.legs)


@pytest.mark.parametrize(
    "text",
    [
        b"frontend f\n" + b" bind :1 ssl\n" * 15_000,
        b"frontend f\n bind " + b":1," * 100_000 + b" ssl\n",
        b"defaults a\n" * 20_000 + b"frontend f\n",
        b"frontend f\n bind :1 ssl " + b"no-tlsv10 " * 50_000,
        b"global\n" + b" " * 1_000_000 + b"x\n",
        b".if x\ndefaults\n default-server ssl-min-ver TLSv1.2\n.endif\n" * 2_000,
    ],
)
def test_hostile_files_are_read_in_linear_time(text):
    started = time.process_time()
    haproxy.recognise(SourceFile(name="x", data=text))
    read(text)
    assert time.process_time() - started < 15


def test_more_legs_than_any_real_file_has_are_refused():
    with pytest.raises(ReadError):
        read(b"frontend f\n" + b" bind :1 ssl\n" * 20_001)


def test_versions_are_all_six():
    assert all(len(leg.settings) == len(TlsVersion) for leg in read(SAMPLE).legs)
