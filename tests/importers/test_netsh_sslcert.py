import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.netsh_sslcert import parse_sslcert, read_export, recognise
from scanner.importers.source import ReadError, SourceFile
from scanner.model.versions import TlsVersion

LEGACY = {TlsVersion.SSL2, TlsVersion.SSL3, TlsVersion.TLS1_0, TlsVersion.TLS1_1}
SAMPLE = """
SSL Certificate bindings:
-------------------------

    IP:port                      : 0.0.0.0:443
    Certificate Hash             : 00112233445566778899aabbccddeeff00112233
    Application ID               : {5d89a20c-beab-4389-9447-324788eb944a}
    Certificate Store Name       : MY
    Ctl Store Name               : AdfsTrustedDevices
    Disable Legacy TLS Versions  : Set
    Disable TLS1.2               : Not Set
    Disable TLS1.3               : Set

    Hostname:port                : STS.example.com:49443
    Certificate Hash             : 00112233445566778899aabbccddeeff00112233
    Disable QUIC                 : Set
    Disable TLS1.2               : Set
    Disable Legacy TLS Versions  : Festgelegt

    IP:port                      : [2001:db8::1]:8443
"""


def of(text):
    return SourceFile(name="s.txt", data=text.replace("\n", "\r\n").encode())


def test_each_binding_has_its_address_or_name_and_the_versions_its_flags_turn_off():
    export = read_export(of(SAMPLE))
    assert [(b.address, b.port, b.server_name, b.disabled, b.unread, b.place.line) for b in export.bindings] == [
        (None, 443, "", LEGACY | {TlsVersion.TLS1_3}, set(), 5),
        (None, 49443, "sts.example.com", {TlsVersion.TLS1_2}, LEGACY, 14),
        ("2001:db8::1", 8443, "", set(), set(), 20),
    ]
    assert (export.keys, export.values, export.roots) == ((), (), ())


def test_no_certificate_is_kept():
    assert "00112233" not in repr(read_export(of(SAMPLE)))


def test_the_output_is_recognised():
    assert recognise(of(SAMPLE)) == 90
    assert recognise(of("server : port\n")) == 0


def test_inside_another_document_the_place_is_its_key():
    assert {b.place.locator for b in parse_sslcert(SAMPLE, "c.json", "/netsh_sslcert")} == {"c.json /netsh_sslcert"}


def test_a_file_without_binding_is_refused():
    with pytest.raises(ReadError):
        read_export(of("The system cannot find the file specified.\n"))


@given(st.text(max_size=300), st.integers(0, len(SAMPLE)))
def test_a_mutated_output_raises_nothing_but_read_error(text, at):
    source = of(SAMPLE[:at] + text + SAMPLE[at:])
    recognise(source)
    try:
        read_export(source)
    except ReadError:
        assert len(text) > 0
