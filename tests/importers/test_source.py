"""What importers are given: texts by their byte order mark, includes from one folder."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.source import EMPTY_FOLDER, IncludeRefusedError, MemoryFolder, SourceFile, decode_text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xff\xfea\x00\xe4\x00", "a\xe4"),
        (b"\xfe\xff\x00a", "a"),
        (b"\xef\xbb\xbfa\xc3\xa4", "a\xe4"),
        (b"a\xc3\xa4", "a\xe4"),
        (b"a\xe4", "a\xe4"),
        (b"", ""),
        (b"\xff\xfea\x00b", "a\ufffd"),
    ],
)
def test_text_is_decoded_by_its_byte_order_mark_else_utf_8_else_latin_1(data, text):
    assert decode_text(data) == text
    assert SourceFile(name="x", data=data).text == text


@given(st.binary(max_size=200))
def test_no_bytes_fail_to_decode(data):
    file = SourceFile(name="x", data=data)
    assert (isinstance(file.text, str), file.sha256) == (True, hashlib.sha256(data).hexdigest())


FOLDER = MemoryFolder({"a.conf": b"a", "d/b.conf": b"b", "d/c.conf": b"c", "d/e/f.conf": b"f"}, root="/etc/x")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.conf", ["a.conf"]),
        ("*.conf", ["a.conf"]),
        ("d/*.conf", ["d/b.conf", "d/c.conf"]),
        ("*/c.*", ["d/c.conf"]),
        ("/etc/x/d/b.conf", ["d/b.conf"]),
        ("none", []),
    ],
)
def test_includes_are_found_by_pattern_sorted(pattern, names):
    assert [file.name for file in FOLDER.find(pattern)] == names


@pytest.mark.parametrize("pattern", ["../a.conf", "d/../../a.conf", "/etc/y/a.conf"])
def test_an_include_that_leads_out_is_refused(pattern):
    with pytest.raises(IncludeRefusedError):
        FOLDER.find(pattern)


def test_the_empty_folder_has_nothing():
    assert EMPTY_FOLDER.find("*") == ()
