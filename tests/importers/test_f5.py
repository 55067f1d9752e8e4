"""Expected values: see test_f5_profiles; destinations: F5's tmsh reference, ltm virtual (IPv6 takes a dot before the
port, ``%`` a route domain). Vendor samples are not copied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers import f5
from scanner.importers.edits import Wants
from scanner.importers.source import EMPTY_FOLDER, ReadError, ReadOptions, SourceFile
from scanner.model.declared import ClueKind, HostClue, Listen
from scanner.model.evidence import GapReason, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion

SAMPLE = """#TMSH-VERSION: 15.1.2.1

sys global-settings {
    hostname LB1.example.com
}
auth user admin {
    encrypted-password $6$HUNTER2
}
ltm pool /Common/farm {
    members {
        /Common/fs1:443 {
            address 10.0.0.11
        }
        /Common/2001:db8::5.443 {
            address 2001:db8::5
        }
    }
}
ltm profile client-ssl /Common/sts_in {
    cert-key-chain {
        x {
            passphrase $M$abHUNTER2
        }
    }
    ciphers DEFAULT
    defaults-from /Common/clientssl
    options { dont-insert-empty-fragments no-sslv3 no-tlsv1 no-tlsv1.1 }
    server-name STS.example.com
}
ltm profile server-ssl /Common/sts_out {
    defaults-from /Common/serverssl
    options { no-tlsv1.2 }
}
ltm profile tcp /Common/ssl_tcp {
    defaults-from /Common/tcp
}
ltm rule /Common/r {
    when HTTP_REQUEST { set password HUNTER2 }
}
ltm virtual /Common/sts {
    destination /Common/192.0.2.10%1:443
    pool /Common/farm
    profiles {
        /Common/sts_in {
            context clientside
        }
        /Common/sts_out {
            context serverside
        }
        /Common/ssl_tcp {
            context clientside
        }
        /Common/http { }
    }
    rules {
        /Common/r
    }
}
ltm virtual /Common/plain {
    destination /Common/192.0.2.11:443
    profiles {
        /Common/fastL4 { }
    }
}
ltm monitor https /Common/mon {
    cipherlist DEFAULT
    password HUNTER2
}
"""
TLS1_2 = ALL_VERSIONS.index(TlsVersion.TLS1_2)


def source(text):
    return SourceFile(name="bigip.conf", data=text.encode())


def read(text, version=None):
    return f5.read(source(text), EMPTY_FOLDER, ReadOptions(product_version=version))


def plan(text, *, disable_old=False):
    return f5.plan_edits(source(text), EMPTY_FOLDER, ReadOptions(), wants=Wants(disable_old=disable_old))


def test_a_virtual_server_has_a_leg_for_each_ssl_profile_and_none_without():
    legs = [leg for leg in read(SAMPLE).legs if not leg.is_management]
    assert [(leg.direction, leg.name) for leg in legs] == [
        (Direction.INBOUND, "virtual /Common/sts with client-ssl /Common/sts_in at bigip.conf:40"),
        (Direction.OUTBOUND, "virtual /Common/sts with server-ssl /Common/sts_out at bigip.conf:40"),
    ]
    assert legs[0].listens == (Listen(address="192.0.2.10", port=443),)
    assert legs[0].server_names == ("sts.example.com",)
    assert legs[1].destinations == ("10.0.0.11:443", "[2001:db8::5]:443")
    assert [leg.settings[TLS1_2].state for leg in legs] == [State.ENABLED, State.DISABLED]


def test_a_monitor_has_no_vote():
    monitor = next(leg for leg in read(SAMPLE).legs if leg.is_management)
    assert (monitor.direction, monitor.settings[TLS1_2].gap) == (Direction.OUTBOUND, GapReason.UNSUPPORTED)


def test_an_irule_limits_what_a_leg_can_show():
    assert any("iRules" in limit for limit in read(SAMPLE).legs[0].limits)


def test_the_files_header_and_host_name_are_kept():
    reading = read(SAMPLE)
    assert reading.product_version == "15.1.2.1"
    assert reading.clues == (HostClue(name="lb1.example.com", kind=ClueKind.MACHINE),)


def test_no_secret_reaches_the_reading_or_the_remedy():
    assert "HUNTER2" not in repr(read(SAMPLE)) + repr(plan(SAMPLE, disable_old=True))


def test_a_file_that_leaves_old_versions_on_is_said_so():
    assert [check.id for check in read(SAMPLE).checks] == ["config-allows-old"]


def test_a_file_that_turns_old_versions_off_on_each_leg_is_not_said_so():
    text = SAMPLE.replace("no-tlsv1.2 }", "no-sslv2 no-sslv3 no-tlsv1 no-tlsv1.1 }")
    assert read(text).checks == ()


def test_an_ssl_profile_that_is_not_in_the_file_is_a_gap():
    text = "ltm virtual v {\n destination 10.0.0.1:443\n profiles {\n /P/my_ssl {\n context clientside\n }\n }\n}\n"
    assert [setting.gap for setting in read(text).legs[0].settings] == [GapReason.NOT_IN_FILE] * 6


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("/Common/10.0.0.1:443", "10.0.0.1", 443),
        ("/Common/10.0.0.1%12:https", "10.0.0.1", 443),
        ("/Part/app.app/10.0.0.1:0", "10.0.0.1", None),
        ("/Common/any:443", None, 443),
        ("/Common/0.0.0.0:any", None, None),
        ("/Common/2001:db8::1.443", "2001:db8::1", 443),
        ("/Common/2001:db8::1%3.https", "2001:db8::1", 443),
        ("/Common/any6.443", None, 443),
        ("/Common/named_va:443", "192.0.2.9", 443),
        ("10.0.0.1:99999", "10.0.0.1", None),
        ("", None, None),
    ],
)
def test_a_destination_is_an_address_and_a_port(text, address, port):
    found = f5.parse_destination(text, {"/Common/named_va": "192.0.2.9"})
    assert found == Listen(address=address, port=port)


def test_the_remedy_keeps_other_options_and_gives_tls_1_2_back():
    (remedy,) = plan(SAMPLE)
    assert remedy.commands == (
        "tmsh modify ltm profile server-ssl /Common/sts_out options none",
        "tmsh save sys config",
    )
    assert remedy.check_commands == ("tmsh list ltm profile server-ssl /Common/sts_out options ciphers",)
    assert remedy.citation.startswith("https://clouddocs.f5.com/")


def test_the_remedy_turns_old_versions_off_where_wanted():
    (remedy,) = plan(SAMPLE, disable_old=True)
    flags = "dont-insert-empty-fragments no-sslv3 no-tlsv1 no-tlsv1.1 no-sslv2"
    assert f"tmsh modify ltm profile client-ssl /Common/sts_in options {{ {flags} }}" in remedy.commands


def test_what_the_remedy_sets_reads_as_wanted():
    text = SAMPLE
    for command in plan(SAMPLE, disable_old=True)[0].commands[:-1]:
        words = command.split(" ", 6)
        old = next(part for part in text.split("ltm profile ") if part.startswith(f"{words[4]} {words[5]} "))
        line = next(line for line in old.split("\n") if "options" in line)
        text = text.replace(old, old.replace(line, f"    {words[6]}"))
    for leg in read(text).legs[:2]:
        assert [setting.state for setting in leg.settings[:5]] == [State.DISABLED] * 4 + [State.ENABLED]
    assert plan(text, disable_old=True) == ()


def test_a_cipher_string_without_tls_1_2_is_replaced():
    text = SAMPLE.replace("ciphers DEFAULT\n", "ciphers DEFAULT:!TLSv1_2\n")
    assert "tmsh modify ltm profile client-ssl /Common/sts_in ciphers DEFAULT" in plan(text)[0].commands


def test_a_built_in_profile_is_changed_with_a_caution():
    text = "ltm virtual v {\n profiles {\n /Common/clientssl {\n context clientside\n }\n }\n}\n"
    (remedy,) = plan(text, disable_old=True)
    assert remedy.commands[0].startswith("tmsh modify ltm profile client-ssl /Common/clientssl options { ")
    assert any("built in" in caution for caution in remedy.cautions)


def test_the_file_is_recognised_and_another_is_not():
    assert f5.recognise(source(SAMPLE)) == 95
    assert f5.recognise(source(SAMPLE.partition("\n")[2])) >= 40
    assert f5.recognise(source("server {\n listen 443 ssl;\n}\n")) == 0


def test_a_file_of_something_else_is_refused():
    with pytest.raises(ReadError):
        read("just text\n")


def test_a_pool_of_many_statements_is_looked_into_once_for_many_virtual_servers():
    junk = "".join(f" x{at}\n" for at in range(20_000))
    text = f"ltm pool p {{\n members {{\n fs:443 {{\n }}\n }}\n{junk}}}\n"
    virtual = " pool p\n profiles {\n /Common/serverssl {\n context serverside\n }\n }\n}\n"
    text += "".join(f"ltm virtual v{at} {{\n{virtual}" for at in range(20_000))
    legs = read(text).legs
    assert len(legs) == 20_000
    assert {leg.destinations for leg in legs} == {("fs:443",)}


def test_a_profile_that_is_named_twice_has_one_leg():
    text = SAMPLE.replace("        /Common/http { }\n", "        /Common/sts_in { }\n")
    names = [leg.name for leg in read(text).legs]
    assert len(names) == len(set(names)) == 3


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_read_error(data):
    mangled = SourceFile(name="b", data=data)
    assert 0 <= f5.recognise(mangled) <= 100
    try:
        f5.read(mangled, EMPTY_FOLDER, ReadOptions())
    except ReadError:
        return


@given(
    st.integers(0, len(SAMPLE)), st.integers(0, 60), st.sampled_from(["", "{", "}", '"', "\n", "\\", "none", "/%:."])
)
def test_a_mutated_file_is_read_or_refused_without_its_secrets(at, length, new):
    text = SAMPLE[:at] + new + SAMPLE[at + length :]
    try:
        shown = repr((read(text), plan(text, disable_old=True)))
    except ReadError as error:
        shown = str(error)
    assert "TER2" not in shown
