"""Expected values: what ``apache2 -t`` 2.4.71 made of such lines, and docs/manual/mod/core.xml."""

import pytest

from scanner.importers.apache_lines import ApacheFacts, parse_version, read_apache_lines, split_directive
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, SourceFile


def lines(text, folder=EMPTY_FOLDER, version=None):
    facts = ApacheFacts(version=parse_version(version))
    return list(read_apache_lines(SourceFile(name="x", data=text.encode()), folder, facts))


def names(text, **more):
    return [(line.name, line.is_conditional) for line in lines(text, **more)]


def test_a_comment_that_ends_in_a_backslash_takes_the_next_line_with_it():
    assert names("# a \\\nSSLProtocol nonsense\nListen 1\n") == [("listen", False)]


def test_lines_are_joined_by_backslash_and_counted_by_their_first():
    (line,) = lines("\nSSLProtocol TLSv1.2 \\\r\n  +TLSv1.3\r\n")
    assert (line.place.line, line.args) == (2, ("TLSv1.2", "+TLSv1.3"))


def test_quotes_keep_words_together():
    assert split_directive(r"""a "b c" 'd' "e\"f" g""") == ("a", ("b c", "d", 'e"f', "g"))
    assert split_directive('a "b\\') == ("a", ("b\\",))


def test_defined_variables_are_put_in_and_others_stay():
    assert lines("Define V TLSv1.2\nSSLProtocol ${V} ${NOPE}\n")[-1].args == ("TLSv1.2", "${NOPE}")


def test_a_variable_that_doubles_at_every_line_does_not_grow_without_bound():
    text = "Define A xxxxxxxx\n" + "Define A ${A}${A}\n" * 60
    assert len(lines(text)[-1].args[1]) < 20_000


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("IfModule mod_ssl.c", [("listen", False)]),
        ("IfModule !ssl_module", []),
        ("IfModule mod_x.c", [("listen", True)]),
        ("IfDefine X", [("listen", True)]),
        ("IfVersion >= 2.4", [("listen", False)]),
        ("IfVersion < 2.4.0", []),
        ("IfVersion 2.4.62", [("listen", False)]),
        ("IfVersion ~ ^2", [("listen", True)]),
        ("IfFile /x", [("listen", True)]),
    ],
)
def test_conditions_are_settled_where_the_file_and_the_version_say_enough(condition, expected):
    section = condition.split(maxsplit=1)[0]
    assert names(f"<{condition}>\nListen 1\n</{section}>\n", version="2.4.62") == expected


def test_without_a_version_if_version_is_not_settled():
    assert names("<IfVersion >= 2.4>\nListen 1\n</IfVersion>\n") == [("listen", True)]


def test_what_is_defined_or_loaded_before_settles_its_conditions():
    text = "Define X\nLoadModule x_module modules/mod_x.so\n"
    text += "<IfDefine X>\n<IfModule mod_x.c>\nListen 1\n</IfModule>\n</IfDefine>\n"
    assert names(text)[-1] == ("listen", False)


@pytest.mark.parametrize("text", ["<A>\n", "</A>\n", "<A>\n</B>\n", "<A>\n" * 300 + "</A>\n" * 300])
def test_sections_that_do_not_match_are_refused(text):
    with pytest.raises(ReadError):
        lines(text)


def test_an_included_file_stands_in_the_sections_of_its_include():
    folder = MemoryFolder({"a.conf": b"SSLEngine on\n"})
    line = lines("<VirtualHost *:1>\nInclude a.conf\n</VirtualHost>\n", folder=folder)[-1]
    assert (line.place.locator, [section.name for section in line.sections]) == ("a.conf:1", ["virtualhost"])


def test_a_file_that_includes_itself_is_refused():
    with pytest.raises(ReadError):
        lines("Include a\n", folder=MemoryFolder({"a": b"Include a\nInclude a\n"}))


def test_an_include_out_of_the_folder_is_missing():
    assert names("Include ../x\n") == [("(missing)", False)]


def test_variables_of_many_lines_do_not_grow_without_bound():
    text = "Define A " + "x" * 8_000 + "\n" + "Listen ${A}\n" * 4_000
    assert sum(len(line.args[0]) for line in lines(text)) < 17 * 1024 * 1024
