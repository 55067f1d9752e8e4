"""nginx's syntax: directives, blocks, includes, and what is refused. Expected values by nginx's own rules."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.nginx_tree import Tree, parse_statements, top_blocks
from scanner.importers.source import EMPTY_FOLDER, MemoryFolder, ReadError, SourceFile
from scanner.model.evidence import GapReason


def source(text, name="nginx.conf"):
    return SourceFile(name=name, data=text.encode() if isinstance(text, str) else text)


def test_a_directive_has_its_line_and_its_offsets():
    text = "# c\n\n  ssl_protocols\n   TLSv1.2 'TLSv1.3' ; # x\nhttp {\n}\n"
    first, http = parse_statements(source(text))
    assert (first.name, first.args, first.place.line) == ("ssl_protocols", ("TLSv1.2", "TLSv1.3"), 3)
    assert text[first.start : first.end] == "ssl_protocols\n   TLSv1.2 'TLSv1.3' ;"
    assert (http.place.line, text[http.start : http.end], http.children) == (5, "http {", ())


def test_quotes_hide_braces_semicolons_and_comment_signs():
    (statement,) = parse_statements(source('log_format x \'a;b{c\' "#" "q\\"q";'))
    assert statement.args == ("x", "a;b{c", "#", 'q"q')


def test_a_braced_variable_is_no_block():
    (statement,) = parse_statements(source("proxy_pass https://${up};"))
    assert statement.args == ("https://${up}",)


def test_lua_blocks_are_one_value():
    text = "ssl_client_hello_by_lua_block { if x then y = '}' end -- it's }\n }\nssl_protocols TLSv1.2;"
    assert [each.name for each in parse_statements(source(text))] == ["ssl_client_hello_by_lua_block", "ssl_protocols"]


def test_white_space_is_nginx_s_and_not_unicode_s():
    (statement,) = parse_statements(source("ssl_protocols TLSv1.2\u00a0TLSv1;"))
    assert len(statement.args) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("http {\n", 2),
        ("a;\n}", 2),
        ("a b", 2),
        ("a { b }", 1),
        (";", 1),
        ("{ }", 1),
        ("\n'a;", 1),
        ("a 'b", 1),
        ("content_by_lua_block x", 1),
    ],
)
def test_what_nginx_refuses_is_refused(text, line):
    with pytest.raises(ReadError, match=rf"^nginx.conf:{line}: |^nginx.conf:\d+: unexpected end"):
        parse_statements(source(text))


def test_nesting_beyond_200_is_refused_and_200_is_not():
    assert parse_statements(source("a {" * 200 + "}" * 200))
    with pytest.raises(ReadError, match="deep"):
        parse_statements(source("a {" * 201 + "}" * 201))


def test_includes_stand_where_they_are_written_with_their_own_lines():
    folder = MemoryFolder({"conf.d/b.conf": b"\nssl_protocols TLSv1;", "conf.d/a.conf": b"server { listen 1; }"})
    tree = Tree(source("http { include conf.d/*.conf; }"), folder)
    (http,) = top_blocks(tree)
    assert [each.place.locator for each in http.statements["ssl_protocols"]] == ["conf.d/b.conf:2"]
    assert [block.name for block in http.blocks] == ["server"]
    assert list(tree.sources) == ["nginx.conf", "conf.d/a.conf", "conf.d/b.conf"]
    assert http.missing == []


def test_a_missing_include_is_noted_in_its_block_and_nginx_s_own_harmless_files_are_not():
    (http,) = top_blocks(Tree(source("http { include mime.types;\ninclude conf.d/*.conf; }"), EMPTY_FOLDER))
    assert [(each.place.line, each.gap) for each in http.missing] == [(2, GapReason.INCLUDE_MISSING)]


def test_a_pattern_without_a_match_is_not_missing_where_its_folder_has_files():
    (http,) = top_blocks(Tree(source("http { include conf.d/*.conf; }"), MemoryFolder({"conf.d/README": b""})))
    assert http.missing == []


def test_an_include_that_leads_out_of_the_folder_is_missing():
    (http,) = top_blocks(Tree(source("http { include ../x.conf; }"), MemoryFolder({"x.conf": b""})))
    assert "outside" in http.missing[0].detail


def test_a_file_that_includes_itself_is_refused():
    folder = MemoryFolder({"a.conf": b"include a.conf;"})
    with pytest.raises(ReadError, match="deep"):
        Tree(source("include a.conf;"), folder)


def test_includes_that_double_are_refused_soon():
    files = {f"{n}.conf": b"include %d.conf; include %d.conf;" % (n + 1, n + 1) for n in range(100)}
    with pytest.raises(ReadError, match="includes"):
        Tree(source("include 0.conf;"), MemoryFolder(files))


def test_more_than_a_thousand_includes_are_refused():
    with pytest.raises(ReadError, match="includes"):
        Tree(source("include x.conf;" * 1001), MemoryFolder({"x.conf": b""}))


def test_includes_within_a_map_are_values():
    tree = Tree(source("http { map $a $b { include x; } types { include mime.types; } }"), EMPTY_FOLDER)
    assert all(not block.missing for block in tree.root.blocks[0].blocks)


@given(st.text(alphabet="a{};'\"#\\\n $include", max_size=60))
def test_nothing_but_a_read_error_is_raised(text):
    with contextlib.suppress(ReadError):
        Tree(source(text), MemoryFolder({"a": b"include a;"}))


@given(st.binary(max_size=80))
def test_bytes_raise_nothing_but_a_read_error(data):
    with contextlib.suppress(ReadError):
        parse_statements(source(data))
