"""Lines of haproxy.cfg. Expected values: the manual's sections 2.2 to 2.4, and what HAProxy 2.6 made of such lines."""

import time

import pytest

from scanner.importers.haproxy_lines import parse_version, read_haproxy_lines, split_words
from scanner.importers.source import ReadError, SourceFile


def texts(line):
    return [word.text for word in split_words(line)]


def read(text, version=None):
    lines = read_haproxy_lines(SourceFile(name="h.cfg", data=text.encode()), version)
    return [(line.place.line, line.name, line.is_conditional) for line in lines]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bind :443\tssl", ["bind", ":443", "ssl"]),
        (r"log-format %{+Q}o\ %t", ["log-format", "%{+Q}o %t"]),
        ('log-format "%{+Q}o %t"', ["log-format", "%{+Q}o %t"]),
        ("log-format '%{+Q}o'\"%t\"' %s'", ["log-format", "%{+Q}o%t %s"]),
        ("ssl-min-ver TLSv1.2 # no-tlsv12", ["ssl-min-ver", "TLSv1.2"]),
        ("ssl-min-ver TLSv1.2#no-tlsv12", ["ssl-min-ver", "TLSv1.2"]),
        (r"a \# '#' " + '"#"', ["a", "#", "#", "#"]),
        (r"ssl-min-ver \x54LSv1.1", ["ssl-min-ver", "TLSv1.1"]),
        (r"ssl-min-ver TLSv1\.0", ["ssl-min-ver", r"TLSv1\.0"]),
        (r"'a\'", ["a\\"]),
        (r'"a\"b"', ['a"b']),
        ('x ""', ["x", ""]),
        ("", []),
        ("   # only a comment", []),
    ],
)
def test_a_line_is_cut_into_words_as_the_manual_says(line, words):
    assert texts(line) == words


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a \"b'"])
def test_a_quote_that_is_not_closed_is_none(line):
    assert split_words(line) is None
    with pytest.raises(ReadError):
        read(f"global\n {line}\n")


def test_variables_count_only_within_double_quotes():
    plain, single, double, default, many = split_words('${X} \'$X\' "$X" "${X-TLSv1.1}" "${X[*]}"')
    assert [w.has_variable for w in (plain, single, double, default, many)] == [False, False, True, True, True]
    assert [w.is_list for w in (double, many)] == [False, True]


def test_words_know_their_span_with_quotes():
    line = "bind  'a b' c#d"
    assert [line[word.start : word.end] for word in split_words(line)] == ["bind", "'a b'", "c"]


def test_sections_have_a_name_and_a_base_and_lines_end_at_cr():
    lines = read_haproxy_lines(SourceFile(name="h", data=b"defaults a\r\nfrontend b from a\r\n bind :1\r\n"), None)
    section = lines[-1].section
    assert (section.kind, section.name, section.base) == ("frontend", "b", "a")
    assert [word.text for word in lines[-1].words] == ["bind", ":1"]


@pytest.mark.parametrize(
    ("condition", "version", "holds"),
    [
        ("0", None, False),
        ("", None, False),
        ("1", None, True),
        ("17", None, True),
        ("version_atleast(2.4)", (2, 6, 12), True),
        ("version_atleast(2.6.13)", (2, 6, 12), False),
        ("version_before(2.4)", (2, 6, 12), False),
        ("!version_before(2.4)", (2, 6, 12), True),
        ("version_atleast(2.4)", None, None),
        ("version_atleast(2.4-dev19)", (2, 6, 0), None),
        ("defined(X)", (2, 6, 0), None),
        ("feature(OPENSSL)", None, None),
    ],
)
def test_an_if_is_settled_where_the_file_and_the_version_settle_it(condition, version, holds):
    found = read(f"global\n.if {condition}\n a\n.else\n b\n.endif\n c\n", version)
    wanted = {
        True: [(3, "a", False)],
        False: [(5, "b", False)],
        None: [(3, "a", True), (5, "b", True)],
    }[holds]
    assert found == [(1, "global", False), *wanted, (7, "c", False)]


def test_an_elif_holds_only_where_no_branch_before_does():
    text = "global\n.if {}\n a\n.elif {}\n b\n.else\n c\n.endif\n"
    assert read(text.format("1", "1"))[1:] == [(3, "a", False)]
    assert read(text.format("0", "1"))[1:] == [(5, "b", False)]
    assert read(text.format("0", "0"))[1:] == [(7, "c", False)]
    assert read(text.format("defined(X)", "1"))[1:] == [(3, "a", True), (5, "b", True)]
    assert read(text.format("defined(X)", "0"))[1:] == [(3, "a", True), (7, "c", True)]


def test_a_section_that_may_not_begin_makes_its_lines_conditional():
    found = read(".if defined(X)\nfrontend a\n.endif\n bind :1\nfrontend b\n bind :2\n")
    assert found == [(2, "frontend", True), (4, "bind", True), (5, "frontend", False), (6, "bind", False)]


@pytest.mark.parametrize("text", [".if 1\n", ".endif\n", ".else\n", ".elif 1\n", ".if 1\n" * 500])
def test_ifs_that_do_not_match_are_refused(text):
    with pytest.raises(ReadError):
        read(text)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.6.12", (2, 6, 12)), ("HAProxy version 2.6.12-1+deb12u4", (2, 6, 12)), ("3.0", (3, 0, 0)), ("x", None)],
)
def test_a_product_version_is_read(text, numbers):
    assert parse_version(text) == numbers


@pytest.mark.parametrize("line", ["\\" * 200_000, '"' + "$" * 200_000, "'" * 200_000, '"${' * 60_000])
def test_hostile_lines_are_cut_in_linear_time(line):
    started = time.process_time()
    split_words(line)
    assert time.process_time() - started < 5
