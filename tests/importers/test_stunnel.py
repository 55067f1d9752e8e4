"""stunnel.conf as a whole: legs, names, places, checks, and that nothing secret or odd gets through."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import stunnel
from scanner.importers.edits import Wants
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, ReadOptions, SourceFile
from scanner.model.declared import LineState, Listen
from scanner.model.evidence import GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3 = ALL_VERSIONS
SAMPLE = b"""\
; sample
setuid = stunnel4
pid = /run/stunnel.pid
sslVersionMin = TLSv1.2

[drs]
client = yes
accept = 127.0.0.1:8443
connect = EnterpriseRegistration.windows.net:443
connect = 192.0.2.7:443
protocol = connect
protocolPassword = HUNTER2

[sts]
accept = 443
connect = 8080
cert = /etc/stunnel/HUNTER2.pem
sslVersionMin = TLSv1
options = NO_TLSv1_1

[sts2]
sni = sts:Sts.Example.Org
connect = 8081
sslVersion = TLSv1.3
"""


def read(text, folder=EMPTY_FOLDER, version=None):
    data = text if isinstance(text, bytes) else text.encode()
    return stunnel.read(SourceFile(name="stunnel.conf", data=data), folder, ReadOptions(product_version=version))


def states(leg):
    return {setting.version: setting.gap or setting.state for setting in leg.settings}


def test_a_client_is_an_outbound_leg_and_a_server_an_inbound_one():
    drs, sts, sni = read(SAMPLE).legs
    assert [leg.name for leg in (drs, sts, sni)] == [
        "service drs at stunnel.conf:6",
        "service sts at stunnel.conf:14",
        "service sts2 at stunnel.conf:21",
    ]
    assert [leg.direction for leg in (drs, sts, sni)] == [Direction.OUTBOUND, Direction.INBOUND, Direction.INBOUND]
    assert drs.destinations == ("enterpriseregistration.windows.net:443", "192.0.2.7:443")
    assert drs.listens == ()
    assert "STARTTLS" in drs.limits[0]
    assert sts.listens == (Listen(address=None, port=443),)
    assert sts.destinations == ()


def test_a_service_chosen_by_server_name_has_the_versions_of_its_master():
    _, sts, sni = read(SAMPLE, version="5.68").legs
    assert sni.server_names == ("sts.example.org",)
    assert states(sni) == states(sts)
    assert states(sni)[TLS1_2] is State.ENABLED
    (leg,) = read("[b]\nsni = a:x.example\nconnect = 1\nsslVersion = TLSv1.2\n").legs
    assert "not in the file" in leg.limits[0]


def test_settings_name_the_line_that_decides():
    drs, sts, _ = read(SAMPLE).legs
    assert {each.place.line for each in drs.settings} == {4}
    assert [states(drs)[each] for each in (TLS1_1, TLS1_2)] == [State.DISABLED, State.ENABLED]
    assert {each.place.line for each in sts.settings} == {19}
    assert "sslVersionMin = TLSv1" in sts.settings[2].reason


def test_what_stands_before_the_first_section_may_make_clients_of_all():
    assert [leg.direction for leg in read("client = yes\n[a]\nconnect = h:1\n[b]\nclient = no\n").legs] == [
        Direction.OUTBOUND,
        Direction.INBOUND,
    ]


def test_without_a_section_there_is_one_service_of_inetd():
    (leg,) = read("connect = 80\nsslVersion = TLSv1.2\n").legs
    assert (leg.name, leg.listens) == ("inetd service", ())
    assert states(leg)[TLS1_2] is State.ENABLED


@pytest.mark.parametrize(
    ("accept", "listen"),
    [
        ("443", (None, 443)),
        (":::443", (None, 443)),
        ("0.0.0.0:443", (None, 443)),
        ("192.0.2.1:443", ("192.0.2.1", 443)),
        ("2001:DB8::1:443", ("2001:db8::1", 443)),
        ("https", None),
        ("host.example:443", None),
        ("/run/x.sock", None),
    ],
)
def test_a_server_says_where_it_accepts(accept, listen):
    (leg,) = read(f"[a]\naccept = {accept}\nconnect = 1\n").legs
    assert [(each.address, each.port) for each in leg.listens] == ([listen] if listen else [])
    assert bool(leg.limits) is (listen is None)


@pytest.mark.parametrize(
    ("connect", "destinations"),
    [
        ("h.example:443", ("h.example:443",)),
        ("443", ("localhost:443",)),
        ("2001:DB8::1:443", ("[2001:db8::1]:443",)),
        ("h.example:https", ()),
        ("/run/x.sock", ()),
        ("HUNTER2@x:1", ()),
    ],
)
def test_a_client_says_where_it_connects(connect, destinations):
    (leg,) = read(f"[a]\nclient = yes\nconnect = {connect}\n").legs
    assert leg.destinations == destinations


def test_a_missing_include_is_a_gap_of_the_services_it_may_concern():
    reading = read("[a]\naccept = 1\ninclude = conf.d\n[b]\naccept = 2\nsslVersion = TLSv1.2\n")
    assert [reason for reason, _ in reading.gaps] == [GapReason.INCLUDE_MISSING]
    assert set(states(reading.legs[0]).values()) == {GapReason.INCLUDE_MISSING}
    assert states(reading.legs[1])[TLS1_2] is State.ENABLED


def test_includes_are_named():
    folder = MemoryFolder({"conf.d/a.conf": b"[x]\naccept = 3\nconnect = 4\n"}, root="/etc/stunnel")
    reading = read("pid =\ninclude = /etc/stunnel/conf.d\n", folder)
    assert [name for name, _ in reading.includes] == ["conf.d/a.conf"]
    assert [leg.name for leg in reading.legs] == ["service x at conf.d/a.conf:1"]


def test_old_versions_that_are_allowed_are_said_with_their_place():
    (check,) = read(SAMPLE, version="5.68").checks
    assert (check.id, check.detail) == ("config-allows-old", "stunnel.conf:19")
    assert not read("[a]\nsslVersionMin = TLSv1.2\naccept = 1\n").checks


def test_names_that_are_served_are_clues():
    assert [clue.name for clue in read(SAMPLE).clues] == ["sts.example.org"]


def test_lines_are_counted_and_unknown_ones_noted_without_their_name():
    reading = read(SAMPLE + b"HUNTER2 = x\n")
    counts = dict(reading.line_counts)
    assert (counts[LineState.UNRECOGNISED], counts[LineState.IRRELEVANT], counts[LineState.SUPPORTED]) == (1, 4, 16)
    assert [note.text for note in reading.notes] == ["(unrecognised)"]


def test_no_secret_is_in_a_reading_or_an_error():
    more = b"[HUNTER2/]\nsslVersionMin = HUNTER2\naccept = HUNTER2/x\nsni = HUNTER2/:HUNTER2/\nconfig = HUNTER2\n"
    assert "HUNTER2" not in repr(read(SAMPLE + more)).upper()
    with pytest.raises(ReadError) as error:
        read(SAMPLE + b"HUNTER2\n")
    assert "HUNTER2" not in str(error.value)


@pytest.mark.parametrize("text", ["", "hello world\n", "[a]\n", "a = b\n", "[mysqld]\nport = 1\n"])
def test_what_is_no_stunnel_conf_is_refused(text):
    with pytest.raises(ReadError):
        read(text)


@pytest.mark.parametrize(
    ("text", "is_mine"),
    [
        (SAMPLE, True),
        (b"[svc]\r\naccept = 1\r\nconnect = 2\r\n", True),
        (b"[mysqld]\nport = 3306\nssl = on\n", False),
        (b"http {\n server {\n listen 443 ssl;\n }\n}\n", False),
        (b"frontend f\n bind :443 ssl\n", False),
        (b"", False),
    ],
)
def test_stunnel_conf_is_recognised(text, is_mine):
    assert (stunnel.recognise(SourceFile(name="x", data=text)) >= 50) is is_mine


@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=9)))
def test_garbage_and_broken_samples_raise_nothing_but_read_error(garbage):
    data = garbage if isinstance(garbage, bytes) else SAMPLE[: garbage[0]] + garbage[1] + SAMPLE[garbage[0] + 5 :]
    source = SourceFile(name="x", data=data)
    assert 0 <= stunnel.recognise(source) <= 100
    try:
        reading = stunnel.read(source, EMPTY_FOLDER, ReadOptions())
        stunnel.plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=Wants(disable_old=True))
    except ReadError:
        return
    assert len({leg.name for leg in reading.legs}) == len(reading.legs)


@pytest.mark.parametrize(
    "text",
    [
        b"[a]\naccept = 1\n" * 19_000,
        b"[a]\n" + b"connect = h:1\n" * 100_000,
        b"accept = 1\n" + b" " * 1_000_000 + b"=\n",
        b"accept = 1\n" + b"[a]\n" * 19_000,
        b"ciphers = " + b"@" * 1_000_000 + b"\naccept = 1\n",
    ],
)
def test_hostile_files_are_read_in_linear_time(text):
    started = time.process_time()
    stunnel.recognise(SourceFile(name="x", data=text))
    read(text)
    assert time.process_time() - started < 15


def test_versions_are_all_six():
    assert all(len(leg.settings) == len(TlsVersion) for leg in read(SAMPLE).legs)
