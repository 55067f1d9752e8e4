import pytest

from scanner.importers.source import EMPTY_FOLDER, ReadError, SourceFile
from scanner.importers.squid_lines import read_squid_lines


def lines(text):
    found = read_squid_lines(SourceFile(name="x", data=text.encode()), EMPTY_FOLDER)
    return [(line.place.line, line.name, line.words, line.is_conditional) for line in found.lines]


def test_a_continued_line_has_the_number_of_its_first_and_is_joined_without_a_space():
    assert lines("# c\n\nvia \\\n  o\\\n  n\r\n") == [(3, "via", ("on",), False)]


def test_only_true_false_and_compared_integers_settle_an_if():
    for condition, expected in [("true", [False]), ("false", []), ("2 = 2", [False]), ("${x} = 1", [True])]:
        assert [line[3] for line in lines(f"if {condition}\nvia on\nendif\n")] == expected


def test_tabs_part_words_as_blanks_do():
    assert lines("via\ton\n") == [(1, "via", ("on",), False)]


def test_ifs_nested_without_end_are_refused():
    with pytest.raises(ReadError):
        lines("if true\n" * 201 + "endif\n" * 201)


def test_an_include_that_leads_out_of_the_folder_is_missing():
    found = read_squid_lines(SourceFile(name="x", data=b"include ../secret\n"), EMPTY_FOLDER)
    assert [place.locator for place in found.missing] == ["x:1"]
