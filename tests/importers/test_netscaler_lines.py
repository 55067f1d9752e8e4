"""Commands: netscaler/ansible-collection-netscaleradc; names of suites and aliases: docs.netscaler.com, ciphers."""

import pytest

from scanner.importers.claims import LineTally
from scanner.importers.netscaler_lines import read_commands, suite_kind
from scanner.importers.source import ReadError, ReadOptions, SourceFile
from scanner.model.declared import LineState, Listen
from scanner.model.versions import TlsVersion


def load(text):
    tally = LineTally()
    config, version = read_commands(SourceFile(name="n", data=text.encode()), ReadOptions(), tally)
    return config, version, tally


def test_the_header_says_the_release():
    config, version, _ = load("#NS12.1 Build 65.21\nenable ns feature SSL\n")
    assert (version, config.version) == ("12.1", (12, 1))


def test_names_are_the_same_in_any_case_and_quotes_are_taken_off():
    config, _, _ = load('add lb vserver "A b" SSL 192.0.2.1 443\nset ssl vserver "a B" -TLS1 disabled\n')
    (entity,) = config.entities.values()
    assert entity.name == "A b"
    assert entity.switches[TlsVersion.TLS1_0][0] is False
    assert entity.listen == Listen(address="192.0.2.1", port=443)


def test_a_quote_in_a_name_is_escaped():
    config, _, _ = load('set ssl vserver "a\\"b" -tls1 ENABLED\n')
    assert ("vserver", 'a"b') in config.entities


@pytest.mark.parametrize("line", ["rm lb vserver v", "rm service v", "rm serviceGroup v"])
def test_what_is_removed_is_gone(line):
    made = "add lb vserver v SSL 192.0.2.1 443\nadd service v s SSL 443\nadd serviceGroup v SSL\n"
    assert len(load(made)[0].entities) == 3
    assert len(load(f"{made}{line}\n")[0].entities) == 2


def test_a_profile_that_is_removed_is_gone():
    assert load("add ssl profile p\nrm ssl profile P\n")[0].profiles == {}


def test_a_cipher_that_is_bound_is_no_value_of_a_switch():
    config, _, _ = load("bind ssl vserver v -cipherName -tls1\n")
    assert config.entities["vserver", "v"].switches == {}


def test_each_line_is_counted_once():
    _, _, tally = load("# x\n\nadd ssl profile p\nadd system user u\nwhatever\n")
    assert dict(tally.counts) == dict.fromkeys(LineState, 0) | {
        LineState.SUPPORTED: 1,
        LineState.IRRELEVANT: 1,
        LineState.UNRECOGNISED: 1,
    }


def test_a_word_that_is_no_command_is_not_repeated():
    _, _, tally = load("add ssl profile p\nHUNTER2 x\n")
    assert "HUNTER2" not in repr(tally.notes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("TLS1.3-AES256-GCM-SHA384", "1.3"),
        ("DEFAULT", "old"),
        ("TLS1-ECDHE-RSA-AES128-SHA", "old"),
        ("SSL3-DES-CBC3-SHA", "old"),
        ("TLS1.2-ECDHE-RSA-AES128-GCM-SHA256", "other"),
        ("own", "other"),
    ],
)
def test_suites_are_of_three_kinds(name, kind):
    assert suite_kind(name) == kind


def test_a_file_without_commands_is_refused():
    with pytest.raises(ReadError, match=r"^n: no command"):
        load("# only this\n")
