import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.reg_file import read_export, recognise
from scanner.importers.source import ReadError, SourceFile

BASE = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols"
HEADER = "Windows Registry Editor Version 5.00\r\n\r\n"
SAMPLE = (
    HEADER
    + f"[{BASE}]\r\n\r\n[{BASE}\\TLS 1.2]\r\n\r\n[{BASE}\\TLS 1.2\\Client]\r\n"
    + '"Enabled"=dword:ffffffff\r\n"DisabledByDefault"=dword:00000000 ; on\r\n'
    + '@="hunter2"\r\n"Quad"=hex(b):01,00,00,00,\\\r\n  00,00,00,80\r\n"Small"=hex(4):a0,0a,00,00\r\n'
    + '"Bytes"=hex:00,01,\\\r\n  02\r\n"say \\"hi\\" C:\\\\x"=dword:7\r\n'
)


def of(text, encoding="utf-8"):
    return SourceFile(name="e.reg", data=text.encode(encoding))


def numbers(export):
    return {(each.path, each.name): (each.type, each.number, each.place.line) for each in export.values}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
def test_a_version_5_file_is_read_in_every_encoding_that_people_use(encoding):
    source = of(SAMPLE, encoding)
    assert recognise(source) == 100
    path = f"{BASE}\\TLS 1.2\\Client".upper()
    assert numbers(read_export(source)) == {
        (path, "Enabled"): ("REG_DWORD", 0xFFFFFFFF, 8),
        (path, "DisabledByDefault"): ("REG_DWORD", 0, 9),
        (path, ""): ("REG_SZ", None, 10),
        (path, "Quad"): ("REG_QWORD", 0x8000000000000001, 11),
        (path, "Small"): ("REG_DWORD", 0xAA0, 13),
        (path, "Bytes"): ("REG_BINARY", None, 14),
        (path, 'say "hi" C:\\x'): ("REG_DWORD", 7, 16),
    }


def test_an_export_covers_the_key_it_begins_with():
    assert read_export(of(SAMPLE)).roots == (BASE.upper(),)


def test_two_exports_in_one_file_have_two_roots():
    text = HEADER + "[HKLM\\SOFTWARE\\A]\n[HKLM\\SOFTWARE\\A\\B]\n[HKLM\\SOFTWARE\\AB]\n"
    assert read_export(of(text)).roots == (r"HKEY_LOCAL_MACHINE\SOFTWARE\A", r"HKEY_LOCAL_MACHINE\SOFTWARE\AB")


def test_a_file_that_deletes_a_key_covers_nothing():
    export = read_export(of(HEADER + "[-HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\n"))
    assert export.roots == ()
    assert [each.is_deletion for each in export.keys] == [True]


def test_a_file_that_deletes_a_value_covers_nothing_and_names_the_value():
    export = read_export(of(HEADER + '[HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\n"x"=dword:1\n"x"=-\n'))
    assert export.roots == ()
    assert [(each.type, each.number) for each in export.values] == [("REG_DWORD", 1), ("(deleted)", None)]


def test_a_value_below_a_deleted_key_is_a_problem():
    export = read_export(of(HEADER + '[-HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\n"x"=dword:1\n'))
    assert export.values == ()
    assert [place.line for place, _ in export.problems] == [4]


def test_regedit4_is_ansi():
    export = read_export(of('REGEDIT4\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Ä]\r\n"é"=dword:2\r\n', "cp1252"))
    assert [(each.path, each.name, each.number) for each in export.values] == [
        (r"HKEY_LOCAL_MACHINE\SOFTWARE" + "\\Ä", "é", 2)
    ]


def test_a_key_name_may_hold_brackets():
    assert read_export(of(HEADER + "[HKLM\\SOFTWARE\\[a]b]\n")).keys[0].path == r"HKEY_LOCAL_MACHINE\SOFTWARE\[A]B"


@pytest.mark.parametrize(
    "line",
    ['"x"=dword:0xAA0', '"x"=dword:', '"x"=dword:123456789', "x=dword:1", '"x"', '"x', '"x"="no end', '"x"=hex(4):1,2'],
)
def test_a_line_that_is_no_part_of_the_format_is_a_problem_with_its_line(line):
    export = read_export(of(HEADER + "[HKLM\\SOFTWARE\\A]\n" + line))
    assert [place.line for place, _ in export.problems] == [4]
    assert not any(each.number for each in export.values)


def test_a_text_over_several_lines_hides_what_looks_like_a_value():
    export = read_export(of(HEADER + '[HKLM\\SOFTWARE\\A]\n"t"="one\n"\n"x"=dword:1\n'))
    assert [(each.name, each.number) for each in export.values] == [("t", None), ("x", 1)]


@pytest.mark.parametrize(("build", "old", "expected"), [("17763", "6.3", "10.0.17763"), ("9600", "6.3", "6.3.9600")])
def test_name_and_version_of_the_computer_are_known_where_they_are_written(build, old, expected):
    export = read_export(
        of(
            HEADER + "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\ComputerName\\ComputerName]\n"
            '"ComputerName"="STS01"\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion]\n'
            f'"CurrentBuildNumber"="{build}"\n"CurrentVersion"="{old}"\n"ProductName"="Windows Server"\n'
        )
    )
    assert (export.computer_name, export.windows_build, export.product_name) == ("STS01", expected, "Windows Server")


def test_no_text_of_another_value_is_kept():
    assert "hunter2" not in repr(read_export(of(SAMPLE)))


def test_a_file_without_header_is_refused():
    assert recognise(of("[HKLM\\A]\n")) == 0
    with pytest.raises(ReadError):
        read_export(of("[HKLM\\A]\n"))


@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_read_error(data, has_header):
    source = SourceFile(name="e.reg", data=(HEADER.encode() if has_header else b"") + data)
    recognise(source)
    try:
        read_export(source)
    except ReadError:
        assert not has_header


@given(st.integers(0, len(SAMPLE) * 2 - 1), st.integers(0, 255), st.booleans())
def test_a_mutated_export_raises_nothing_but_read_error(at, byte, is_cut):
    data = bytearray(SAMPLE.encode("utf-16-le"))
    data[at] = byte
    try:
        export = read_export(SourceFile(name="e.reg", data=bytes(data[:at] if is_cut else data)))
    except ReadError:
        return
    assert "hunter2" not in repr(export)


@pytest.mark.parametrize("piece", ['"a\\', "[", '"x"=hex(4):00,\\\n', '"x"="\n', "\\", "[HKLM\\a", "]"])
def test_hostile_input_takes_linear_time(piece):
    begin = time.process_time()
    read_export(of(HEADER + "[HKLM\\A]\n" + piece * (2_000_000 // len(piece))))
    assert time.process_time() - begin < 20
