"""Expected values: docs.netscaler.com, SSL profiles and their appendix B (default front-end profile: SSLv3 DISABLED,
TLSv1.0 to TLSv1.2 ENABLED); switches and profile types: netscaler/ansible-collection-netscaleradc."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import netscaler
from scanner.importers.edits import Wants
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Listen
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction

ON, OFF, NOT_KNOWN = State.ENABLED, State.DISABLED, State.UNKNOWN
SAMPLE = """#NS13.1 Build 51.15
# Last modified Mon
set ns config -IPAddress 192.0.2.1 -netmask 255.255.255.0
set ns hostName ADC1
add system user nsroot HUNTER2 -encrypted
add snmp community HUNTER2 ALL
add server fs1 10.0.0.11
add service svc_fs fs1 SSL 443 -gslb NONE
add serviceGroup sg_fs SSL -maxClient 0
add lb vserver "vs sts" SSL 192.0.2.10 443 -persistenceType NONE
add lb vserver vs_plain HTTP 192.0.2.10 80
add cs vserver cs_old SSL 192.0.2.12 443
add lb vserver vs_bridge SSL_BRIDGE 192.0.2.13 443
add lb monitor mon HTTPS -secure YES -password HUNTER2
bind serviceGroup sg_fs fs1 443
add ssl certKey c -cert a.pem -key a.key -passcrypt HUNTER2
add ssl profile p_front -ssl3 DISABLED -tls1 DISABLED -tls11 DISABLED
add ssl profile p_back -sslProfileType BackEnd -tls1 DISABLED -tls11 DISABLED -tls12 DISABLED
set ssl vserver "vs sts" -sslProfile p_front
set ssl serviceGroup sg_fs -sslProfile p_back
set ssl vserver cs_old -tls1 DISABLED
set ssl service nshttps-127.0.0.1-443 -tls1 DISABLED
"""


def source(text):
    return SourceFile(name="ns.conf", data=text.encode())


def read(text, version=None):
    return netscaler.read(source(text), EMPTY_FOLDER, ReadOptions(product_version=version))


def plan(text, *, disable_old=False):
    return netscaler.plan_edits(source(text), EMPTY_FOLDER, ReadOptions(), wants=Wants(disable_old=disable_old))


def leg(text, start, version=None):
    return next(each for each in read(text, version).legs if each.name.startswith(start))


def states(text, start, version=None):
    return [setting.state for setting in leg(text, start, version).settings]


def test_a_virtual_server_has_the_versions_of_its_profile():
    found = leg(SAMPLE, "vserver vs sts")
    assert [setting.state for setting in found.settings] == [OFF, OFF, OFF, OFF, ON, OFF]
    assert [setting.basis for setting in found.settings[2:5]] == [Basis.DECLARED, Basis.DECLARED, Basis.ASSUMED]
    assert (found.direction, found.settings[2].place.line) == (Direction.INBOUND, 17)
    assert found.listens == (Listen(address="192.0.2.10", port=443),)


def test_a_service_group_has_the_versions_of_its_back_end_profile():
    found = leg(SAMPLE, "serviceGroup sg_fs")
    assert (found.direction, found.settings[4].state) == (Direction.OUTBOUND, OFF)
    assert found.destinations == ("10.0.0.11:443",)


def test_a_service_connects_to_its_server():
    assert leg(SAMPLE, "service svc_fs").destinations == ("10.0.0.11:443",)


def test_without_a_profile_the_switches_of_the_entity_count():
    assert states(SAMPLE, "vserver cs_old") == [OFF, OFF, OFF, ON, ON, OFF]


def test_http_has_no_leg_and_ssl_bridge_passes_tls_through():
    names = [each.name for each in read(SAMPLE).legs]
    assert not any("vs_plain" in name for name in names)
    assert {setting.gap for setting in leg(SAMPLE, "vserver vs_bridge").settings} == {GapReason.TUNNEL}


def test_the_devices_own_services_and_monitors_have_no_vote():
    managed = {each.name.split(" at ")[0]: each.direction for each in read(SAMPLE).legs if each.is_management}
    assert managed == {
        "monitor mon": Direction.OUTBOUND,
        "service nshttps-127.0.0.1-443": Direction.INBOUND,
    }


def test_with_default_profiles_enabled_the_switches_of_the_entity_do_not_count():
    text = SAMPLE + "set ssl parameter -defaultProfile ENABLED\n"
    assert states(text, "vserver cs_old") == [OFF, OFF, ON, ON, ON, OFF]


@pytest.mark.parametrize(
    ("profile", "start"),
    [("ns_default_ssl_profile_frontend", "vserver cs_old"), ("ns_default_ssl_profile_backend", "service svc_fs")],
)
def test_with_default_profiles_enabled_the_default_of_the_side_counts(profile, start):
    text = (
        f"{SAMPLE}set ssl parameter -defaultProfile ENABLED\nset ssl profile {profile} -tls1 DISABLED -tls11 DISABLED\n"
    )
    assert states(text, start) == [OFF, OFF, OFF, OFF, ON, OFF]


def test_the_later_line_wins():
    text = SAMPLE + "set ssl vserver cs_old -tls1 ENABLED -tls12 DISABLED\nset ssl vserver CS_OLD -tls12 ENABLED\n"
    assert states(text, "vserver cs_old") == [OFF, OFF, ON, ON, ON, OFF]


def test_unset_brings_the_default_back():
    text = SAMPLE + "unset ssl vserver cs_old -tls1\n"
    found = leg(text, "vserver cs_old").settings[2]
    assert (found.state, found.basis, found.place) == (ON, Basis.ASSUMED, None)


def test_unset_of_the_profile_leaves_the_switches():
    assert states(SAMPLE + 'unset ssl vserver "vs sts" -sslProfile\n', "vserver vs sts")[2] is ON


def test_a_profile_that_is_not_in_the_file_is_a_gap():
    text = SAMPLE + "set ssl vserver cs_old -sslProfile elsewhere\n"
    assert {each.gap for each in leg(text, "vserver cs_old").settings} == {GapReason.NOT_IN_FILE}


def test_a_switch_with_an_odd_value_is_a_gap():
    text = SAMPLE + "set ssl vserver cs_old -tls12 MAYBE\n"
    assert leg(text, "vserver cs_old").settings[4].gap is GapReason.UNSUPPORTED


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("13.1", [OFF, OFF, ON, ON, ON, OFF]),
        ("12.1", [OFF, NOT_KNOWN, ON, ON, ON, OFF]),
        ("11.0", [OFF, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, ON, OFF]),
        ("14.1", [OFF, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, ON, NOT_KNOWN]),
        (None, [NOT_KNOWN] * 6),
    ],
)
def test_defaults_are_those_of_the_release_and_a_gap_where_no_document_says_them(version, expected):
    assert states("add lb vserver v SSL 192.0.2.1 443\n", "vserver v", version) == expected


def test_every_assumed_default_says_that_it_is_not_verified():
    found = leg("add lb vserver v SSL 192.0.2.1 443\n", "vserver v", "13.1").settings
    assert all("not verified" in each.reason for each in found)


def test_bound_ciphers_that_are_not_known_make_old_versions_a_gap():
    text = SAMPLE + "bind ssl vserver cs_old -cipherName own\n"
    assert states(text, "vserver cs_old") == [OFF, OFF, OFF, NOT_KNOWN, ON, OFF]


def test_unbound_ciphers_make_old_versions_a_gap():
    text = SAMPLE + "unbind ssl vserver cs_old -cipherName DEFAULT\n"
    assert states(text, "vserver cs_old") == [OFF, OFF, OFF, NOT_KNOWN, ON, OFF]


def test_only_tls_1_3_suites_leave_tls_1_2_unknown():
    text = (
        SAMPLE + "bind ssl cipher g13 -cipherName TLS1.3-AES256-GCM-SHA384\nbind ssl vserver cs_old -cipherName g13\n"
    )
    assert leg(text, "vserver cs_old").settings[4].gap is GapReason.UNSUPPORTED


def test_tls_1_3_needs_its_switch_and_a_suite():
    text = SAMPLE + "set ssl vserver cs_old -tls13 ENABLED\n"
    assert states(text, "vserver cs_old")[5] is NOT_KNOWN
    assert states(text + "bind ssl vserver cs_old -cipherName TLS1.3-AES256-GCM-SHA384\n", "vserver cs_old")[5] is ON


def test_an_address_of_zeros_is_every_address():
    assert leg("add cs vserver v SSL 0.0.0.0 443\n", "vserver v").listens == (Listen(address=None, port=443),)


def test_header_and_host_name_are_kept():
    reading = read(SAMPLE)
    assert (reading.product_version, reading.clues) == ("13.1", (HostClue(name="adc1", kind=ClueKind.MACHINE),))


def test_old_versions_that_are_left_on_are_said_so():
    assert [check.id for check in read(SAMPLE).checks] == ["config-allows-old"]


def test_no_secret_reaches_the_reading_or_the_remedy():
    assert "HUNTER2" not in repr(read(SAMPLE)) + repr(plan(SAMPLE, disable_old=True))


def test_the_remedy_changes_what_decides():
    (remedy,) = plan(SAMPLE)
    assert remedy.commands == ("set ssl profile p_back -tls12 ENABLED", "save ns config")
    assert remedy.check_commands == ("show ssl profile p_back",)


def test_what_the_remedy_sets_reads_as_wanted():
    (remedy,) = plan(SAMPLE, disable_old=True)
    text = SAMPLE + "\n".join(remedy.commands) + "\n"
    for each in read(text).legs:
        if not each.is_management and "bridge" not in each.name:
            assert [setting.state for setting in each.settings[:5]] == [OFF] * 4 + [ON]
    assert plan(text, disable_old=True) == ()


def test_a_name_with_blanks_is_quoted_in_commands():
    text = 'add lb vserver "a b" SSL 192.0.2.1 443\nset ssl vserver "a b" -tls12 DISABLED\n'
    assert plan(text)[0].commands[0] == 'set ssl vserver "a b" -tls12 ENABLED'


@pytest.mark.parametrize("name", ['a"; reboot', "a\\nb"])
def test_a_name_that_is_no_plain_word_is_in_no_command(name):
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    text = f'add lb vserver "{quoted}" SSL 192.0.2.1 443\nset ssl vserver "{quoted}" -tls12 DISABLED\n'
    (remedy,) = plan(text)
    assert remedy.commands == ()
    assert any("by hand" in caution for caution in remedy.cautions)


def test_the_file_is_recognised_and_another_is_not():
    assert netscaler.recognise(source(SAMPLE)) == 95
    assert netscaler.recognise(source(SAMPLE.partition("\n")[2])) >= 60
    assert netscaler.recognise(source("frontend f\n bind :443 ssl\n")) == 0


def test_a_file_of_something_else_is_refused():
    with pytest.raises(ReadError):
        read("just text\n")


def test_cipher_groups_are_taken_apart_once_for_many_entities():
    text = "".join(f"bind ssl cipher g -cipherName TLS1.3-{at}\n" for at in range(20_000))
    text += "add ssl profile p\nbind ssl profile p -cipherName g\nset ssl profile p -tls12 ENABLED\n"
    text += "".join(f"set ssl vserver v{at} -sslProfile p\n" for at in range(20_000))
    legs = read(text).legs
    assert len(legs) == 20_000
    assert {leg.settings[4].gap for leg in legs} == {GapReason.UNSUPPORTED}


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_read_error(data):
    mangled = SourceFile(name="n", data=data)
    assert 0 <= netscaler.recognise(mangled) <= 100
    try:
        netscaler.read(mangled, EMPTY_FOLDER, ReadOptions())
    except ReadError:
        return


@given(
    st.integers(0, len(SAMPLE)), st.integers(0, 60), st.sampled_from(["", '"', "\n", "\\", " ", "set ssl ", "-tls12"])
)
def test_a_mutated_file_is_read_or_refused_without_its_secrets(at, length, new):
    text = SAMPLE[:at] + new + SAMPLE[at + length :]
    try:
        shown = repr((read(text), plan(text, disable_old=True)))
    except ReadError as error:
        shown = str(error)
    assert "TER2" not in shown


@given(
    st.lists(
        st.sampled_from(
            ["add", "set", "unset", "bind", "rm", "ssl", "lb", "vserver", "service", "serviceGroup", "v", "SSL"]
        )
        | st.sampled_from(
            ["profile", "parameter", "cipher", "monitor", "ns", "hostName", "-tls1", "-sslProfile", '"', "\n"]
        ),
        max_size=40,
    )
)
def test_commands_with_missing_words_are_read_or_refused(words):
    try:
        assert read(" ".join(words)).importer == "netscaler"
    except ReadError:
        return
