"""Expected values: a10-acos-axapi, a10_slb_template_client_ssl.py and a10_slb_template_server_ssl.py (codes 30 to 34,
``disable-sslv3``)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import a10
from scanner.importers.edits import Wants
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Listen
from scanner.model.evidence import GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

ON, OFF, NOT_KNOWN = State.ENABLED, State.DISABLED, State.UNKNOWN
SAMPLE = """!Current configuration: 812 bytes
!64-bit Advanced Core OS (ACOS) version 4.1.1-P8, build 40 (Mar-28-2018)
hostname A10-1
admin admin password HUNTER2
snmp-server community read HUNTER2
health monitor hm
  method https port 443 url GET / username u password HUNTER2
slb server fs1 10.0.0.11
  port 443 tcp
  port 8443 tcp
    template server-ssl sts_out
slb service-group sg tcp
  member fs1 443
slb template client-ssl sts_in
  key k pass-phrase encrypted HUNTER2
  version 33 33
slb template server-ssl sts_out
  version 32 30
slb template client-ssl unused
  version 31 31
slb virtual-server vs1 192.0.2.10
  port 443 https
    service-group sg
    template client-ssl sts_in
    template server-ssl sts_out
  port 80 http
    service-group sg
"""
TLS1_2 = ALL_VERSIONS.index(TlsVersion.TLS1_2)


def source(text):
    return SourceFile(name="a10.txt", data=text.encode())


def read(text):
    return a10.read(source(text), EMPTY_FOLDER, ReadOptions())


def plan(text, *, disable_old=False):
    return a10.plan_edits(source(text), EMPTY_FOLDER, ReadOptions(), wants=Wants(disable_old=disable_old))


def template(body):
    port = "slb virtual-server v 192.0.2.1\n  port 443 https\n    template client-ssl t\n"
    return read(f"slb template client-ssl t\n{body}{port}").legs[0].settings


def test_each_template_that_is_bound_to_a_port_has_a_leg():
    legs = [leg for leg in read(SAMPLE).legs if not leg.is_management]
    assert [(leg.direction, leg.name) for leg in legs] == [
        (Direction.OUTBOUND, "server fs1 port 8443 with server-ssl sts_out at a10.txt:11"),
        (Direction.INBOUND, "virtual-server vs1 port 443 with client-ssl sts_in at a10.txt:24"),
        (Direction.OUTBOUND, "virtual-server vs1 port 443 with server-ssl sts_out at a10.txt:25"),
    ]
    assert legs[0].destinations == ("10.0.0.11:8443",)
    assert legs[1].listens == (Listen(address="192.0.2.10", port=443),)
    assert legs[2].destinations == ()


def test_version_33_33_is_tls_1_2_alone():
    assert [each.state for each in template("  version 33 33\n")] == [OFF, OFF, OFF, OFF, ON, OFF]


@pytest.mark.parametrize("codes", ["34 31", "31 34"])
def test_a_range_has_the_same_ends_in_either_order(codes):
    assert [each.state for each in template(f"  version {codes}\n")] == [OFF, OFF, ON, ON, ON, ON]


def test_the_highest_code_alone_leaves_older_versions_unknown():
    found = template("  version 33\n")
    assert [each.state for each in found] == [NOT_KNOWN] * 4 + [ON, OFF]
    assert found[2].gap is GapReason.VERSION_UNKNOWN


def test_without_version_nothing_is_known_but_disable_sslv3():
    found = template("  disable-sslv3\n")
    assert found[1].state is OFF
    assert {each.gap for each in found[2:]} == {GapReason.VERSION_UNKNOWN}


@pytest.mark.parametrize("codes", ["35 33", "x", "", "33 32 31"])
def test_codes_that_are_not_known_are_a_gap(codes):
    assert {each.gap for each in template(f"  version {codes}\n")} == {GapReason.UNSUPPORTED}


def test_a_list_of_ciphers_leaves_other_versions_than_1_2_unknown():
    found = template("  cipher TLS1_2_RSA_AES_128_GCM_SHA256\n  version 34 31\n")
    assert [each.state for each in found] == [OFF, OFF, NOT_KNOWN, NOT_KNOWN, ON, NOT_KNOWN]


def test_a_template_that_is_not_in_the_file_is_a_gap():
    text = "slb virtual-server v 192.0.2.1\n  port 443 https\n    template client-ssl t\n"
    assert {each.gap for each in read(text).legs[0].settings} == {GapReason.NOT_IN_FILE}


def test_a_health_monitor_has_no_vote():
    assert [leg.name for leg in read(SAMPLE).legs if leg.is_management] == ["health monitor hm at a10.txt:7"]


def test_release_and_host_name_are_kept():
    reading = read(SAMPLE)
    assert (reading.product_version, reading.clues) == ("4.1.1-P8", (HostClue(name="a10-1", kind=ClueKind.MACHINE),))


def test_no_secret_reaches_the_reading_or_the_remedy():
    assert "HUNTER2" not in repr(read(SAMPLE)) + repr(plan(SAMPLE, disable_old=True))


def test_old_versions_that_are_left_on_are_said_so():
    assert [check.id for check in read(SAMPLE).checks] == ["config-allows-old"]
    assert read(SAMPLE.replace("version 32 30", "version 33 33")).checks == ()


def test_the_remedy_keeps_the_lowest_version_and_raises_the_highest():
    (remedy,) = plan(SAMPLE)
    assert remedy.commands == (
        "configure",
        "slb template server-ssl sts_out",
        "  version 33 30",
        "exit",
        "end",
        "write memory",
    )
    assert remedy.check_commands == ("show running-config slb template server-ssl sts_out",)


def test_what_the_remedy_sets_reads_as_wanted():
    (remedy,) = plan(SAMPLE, disable_old=True)
    text = SAMPLE.replace("  version 32 30", remedy.commands[2])
    for leg in (leg for leg in read(text).legs if not leg.is_management):
        assert [each.state for each in leg.settings[:5]] == [OFF] * 4 + [ON]
    assert plan(text, disable_old=True) == ()


def test_the_file_is_recognised_and_another_is_not():
    assert a10.recognise(source(SAMPLE)) == 95
    assert a10.recognise(source("add lb vserver v SSL 192.0.2.1 443\n")) == 0


def test_a_file_of_something_else_is_refused():
    with pytest.raises(ReadError):
        read("just text\n")


def test_a_long_version_line_is_looked_at_once_for_many_ports():
    text = "slb template client-ssl t\n  version " + "33 " * 200_000 + "\nslb virtual-server v 192.0.2.1\n"
    legs = read(text + "  port 443 https\n    template client-ssl t\n" * 5_000).legs
    assert {setting.gap for leg in legs for setting in leg.settings} == {GapReason.UNSUPPORTED}


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_read_error(data):
    mangled = SourceFile(name="a", data=data)
    assert 0 <= a10.recognise(mangled) <= 100
    try:
        a10.read(mangled, EMPTY_FOLDER, ReadOptions())
    except ReadError:
        return


@given(st.integers(0, len(SAMPLE)), st.integers(0, 60), st.sampled_from(["", '"', "\n", "  ", '""', "version 33", "!"]))
def test_a_mutated_file_is_read_or_refused_without_its_secrets(at, length, new):
    text = SAMPLE[:at] + new + SAMPLE[at + length :]
    try:
        shown = repr((read(text), plan(text, disable_old=True)))
    except ReadError as error:
        shown = str(error)
    assert "TER2" not in shown
