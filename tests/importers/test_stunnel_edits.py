"""Edits of stunnel.conf: what they change, and that the changed file reads as wanted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.importers.edits import Wants, apply_edits
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadOptions, SourceFile
from scanner.importers.stunnel import plan_edits, read
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion

OLD_OFF = Wants(disable_old=True)


def changed(text, wants, version="5.68"):
    source = SourceFile(name="stunnel.conf", data=text.encode())
    remedies = plan_edits(source, EMPTY_FOLDER, ReadOptions(product_version=version), wants=wants)
    return apply_edits(source.text, [edit for remedy in remedies for edit in remedy.edits])


@pytest.mark.parametrize(
    ("before", "wants", "after"),
    [
        ("sslVersion = TLSv1.1", Wants(), "sslVersionMin = TLSv1.1\r\n  sslVersionMax = TLSv1.2"),
        ("sslVersion = TLSv1.1", OLD_OFF, "sslVersion = TLSv1.2"),
        ("sslVersion = TLSv1.3", OLD_OFF, "sslVersionMin = TLSv1.2\r\n  sslVersionMax = TLSv1.3"),
        ("sslVersion = all", OLD_OFF, "sslVersionMin = TLSv1.2\r\n  sslVersionMax = all"),
        ("sslversionmin=TLSv1", OLD_OFF, "sslVersionMin = TLSv1.2"),
        ("sslversionmin=TLSv1", Wants(), "sslversionmin=TLSv1"),
        ("sslVersionMax = TLSv1.1", Wants(), "sslVersionMax = TLSv1.2"),
        ("sslVersionMin = TLSv1.2 ; x", Wants(), "sslVersionMin = TLSv1.2"),
        ("options = NO_TLSv1_2", Wants(), "options = NO_SSLv3"),
        ("config = MinProtocol:TLSv1.3", Wants(), "config = MinProtocol:TLSv1.2"),
        ("config = Protocol:-ALL,TLSv1.1", Wants(), "config = MinProtocol:TLSv1.2"),
        ("config = MinProtocol:TLSv1.2", OLD_OFF, "config = MinProtocol:TLSv1.2"),
    ],
)
def test_a_line_is_changed_and_nothing_around_it(before, wants, after):
    text = "; head\r\n[a]\r\n  {}\r\n  accept = 1\r\n"
    assert changed(text.format(before), wants) == text.format(after)


def test_what_stands_before_the_first_section_is_changed_there():
    text = "sslVersionMin = TLSv1\n[a]\naccept = 1\n"
    assert changed(text, OLD_OFF) == "sslVersionMin = TLSv1.2\n[a]\naccept = 1\n"


def test_a_service_with_the_default_gets_a_line_where_old_versions_are_to_go():
    text = "[a]\naccept = 1\n[b]\nsslVersionMin = TLSv1.2\n"
    assert changed(text, OLD_OFF) == "[a]\nsslVersionMin = TLSv1.2\naccept = 1\n[b]\nsslVersionMin = TLSv1.2\n"
    assert changed(text, Wants()) == text
    assert changed("[a]\naccept = 1\n", OLD_OFF, "5.30") == "[a]\nsslVersion = TLSv1.2\naccept = 1\n"
    assert changed("connect = 1\n", OLD_OFF) == "sslVersionMin = TLSv1.2\nconnect = 1\n"


def test_a_hole_below_tls_1_2_is_closed_for_a_client_only():
    text = "[a]\nclient = {}\noptions = NO_TLSv1_1\n"
    assert changed(text.format("yes"), Wants()) == "[a]\noptions = -NO_TLSv1_1\nclient = yes\noptions = NO_TLSv1_1\n"
    assert changed(text.format("no"), Wants()) == text.format("no")


def test_a_service_that_another_accepts_for_needs_no_change():
    text = "[a]\naccept = 1\nsslVersionMin = TLSv1.2\n[b]\nsni = a:x.example\nconnect = 2\n"
    assert changed(text, OLD_OFF) == text


def test_an_included_file_is_changed_in_its_own_place():
    folder = MemoryFolder({"conf.d/tls.conf": b"; x\n\tsslVersion = TLSv1.1\n"})
    source = SourceFile(name="stunnel.conf", data=b"[a]\ninclude = conf.d\n")
    (remedy,) = plan_edits(source, folder, ReadOptions(), wants=OLD_OFF)
    assert [(edit.file, edit.line, edit.column) for edit in remedy.edits] == [("conf.d/tls.conf", 2, 2)]


def test_a_remedy_says_how_to_activate_and_holds_no_other_text():
    text = "protocolPassword = hunter2\n[a]\nsslVersionMax = TLSv1.1\n"
    source = SourceFile(name="stunnel.conf", data=text.encode())
    (remedy,) = plan_edits(source, EMPTY_FOLDER, ReadOptions(), wants=OLD_OFF)
    assert "reload" in remedy.activate
    assert "hunter2" not in "".join(edit.old + edit.new for edit in remedy.edits)


VERSIONS = ["all", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
LINE = st.one_of(
    st.tuples(st.sampled_from(["sslVersion", "sslVersionMin", "sslVersionMax"]), st.sampled_from(VERSIONS)).map(
        " = ".join
    ),
    st.tuples(
        st.sampled_from(["options = NO_", "options = -NO_"]),
        st.sampled_from(["SSLv2", "SSLv3", "TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3", "SSL_MASK"]),
    ).map("".join),
    st.tuples(
        st.sampled_from(["config = MinProtocol:", "config = MaxProtocol:", "config = Protocol:"]),
        st.sampled_from([*VERSIONS[1:], "odd"]),
    ).map("".join),
    st.sampled_from(["ciphers = ALL:@SECLEVEL=0", "sslVersion = odd", "client = yes", "client = no", "; x"]),
)
LINES = st.lists(LINE, max_size=4).map("\n".join)


@settings(max_examples=400)
@given(st.tuples(LINES, LINES, LINES), st.sampled_from([None, "5.05", "5.30", "5.50", "5.68"]), st.booleans())
def test_the_changed_file_has_tls_1_2_everywhere_and_nothing_old_where_wanted(parts, version, is_old_off):
    before, one, two = parts
    wants = Wants(disable_old=is_old_off)
    for text in (f"{before}\n[a]\naccept = 1\n{one}\n [b]\nconnect = h:2\nclient = yes\n{two}\n", f"{before}\npid =\n"):
        result = changed(text, wants, version)
        reading = read(SourceFile(name="n", data=result.encode()), EMPTY_FOLDER, ReadOptions(product_version=version))
        for leg in reading.legs:
            states = {each.version: each.state for each in leg.settings}
            assert states[TlsVersion.TLS1_2] is State.ENABLED, (text, result)
            if is_old_off:
                assert {states[each] for each in TlsVersion if each < TlsVersion.TLS1_2} == {State.DISABLED}, result
        assert len(reading.legs) == (2 if "[a]" in text else 1)
        assert changed(result, wants, version) == result
