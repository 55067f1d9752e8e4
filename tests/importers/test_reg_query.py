import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.reg_query import read_export, recognise
from scanner.importers.source import ReadError, SourceFile

BASE = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols"
SAMPLE = (
    f"\r\n{BASE}\r\n    (Default)    REG_SZ    hunter2\r\n\r\n{BASE}\\TLS 1.2\\Client\r\n"
    "    Enabled    REG_DWORD    0x1\r\n"
    "    DisabledByDefault    REG_DWORD (4)    0x0\r\n    two words    REG_QWORD    0xffffffffffffffff\r\n"
)


def of(text, encoding="utf-8"):
    return SourceFile(name="q.txt", data=text.encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_output_of_reg_query_is_read(encoding):
    source = of(SAMPLE, encoding)
    export = read_export(source)
    assert recognise(source) == 80
    assert export.roots == (BASE.upper(),)
    assert [(each.name, each.type, each.number, each.place.line) for each in export.values] == [
        ("", "REG_SZ", None, 3),
        ("Enabled", "REG_DWORD", 1, 6),
        ("DisabledByDefault", "REG_DWORD", 0, 7),
        ("two words", "REG_QWORD", 2**64 - 1, 8),
    ]
    assert "hunter2" not in repr(export)


def test_an_error_in_another_language_is_passed_over():
    export = read_export(of("FEHLER: Der Schlüssel wurde nicht gefunden.\n" + SAMPLE))
    assert len(export.values) == 4
    assert export.problems == ()


def test_a_remote_computers_key_is_the_key():
    export = read_export(of("\\\\sts01\\HKLM\\SOFTWARE\\A\n    x    REG_DWORD    0x2\n"))
    assert (export.values[0].path, export.values[0].number) == (r"HKEY_LOCAL_MACHINE\SOFTWARE\A", 2)


def test_keys_that_are_only_named_prove_nothing_absent():
    assert read_export(of(f"{BASE}\n\n{BASE}\\TLS 1.2\n{BASE}\\TLS 1.3\n")).roots == ()


def test_a_search_proves_nothing_absent():
    assert read_export(of(SAMPLE + "\r\nEnd of search: 1 match(es) found.\r\n")).roots == ()


def test_a_dword_beyond_32_bits_has_no_number():
    export = read_export(of("HKLM\\A\n    x    REG_DWORD    0x100000000\n"))
    assert export.values[0].number is None
    assert [place.line for place, _ in export.problems] == [2]


def test_a_text_without_a_key_is_not_recognised_and_refused():
    assert recognise(of("hello\n    world\n")) == 0
    with pytest.raises(ReadError):
        read_export(of("hello\n    world\n"))


@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_read_error(data, has_key):
    source = SourceFile(name="q.txt", data=(b"HKLM\\A\n" if has_key else b"") + data)
    recognise(source)
    try:
        read_export(source)
    except ReadError:
        assert not has_key or data
