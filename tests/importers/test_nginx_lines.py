"""States of lines."""

from scanner.importers.nginx_lines import all_missing, flag, judge_lines, outbound_passes
from scanner.importers.nginx_tree import Tree, top_blocks
from scanner.importers.source import EMPTY_FOLDER, SourceFile
from scanner.model.declared import LineState


def tree(text):
    return Tree(SourceFile(name="nginx.conf", data=text.encode()), EMPTY_FOLDER)


def test_every_directive_has_one_state():
    text = """http {
      ssl_protocols TLSv1.2;
      gzip on;
      frobnicate yes;
      js_fetch_protocols TLSv1;
      include lost.conf;
      server { location / { if ($a) { proxy_pass https://x; } } }
    }"""
    counts, notes = judge_lines(tree(text))
    assert dict(counts) == {
        LineState.SUPPORTED: 4,  # http, ssl_protocols, server, location
        LineState.IRRELEVANT: 2,  # gzip, if
        LineState.CONDITIONAL: 1,
        LineState.UNIMPLEMENTED: 2,
        LineState.UNRECOGNISED: 1,
    }
    assert [(note.text, note.place.line, note.state) for note in notes] == [
        ("frobnicate", 4, LineState.UNRECOGNISED),
        ("js_fetch_protocols", 5, LineState.UNIMPLEMENTED),
        ("include", 6, LineState.UNIMPLEMENTED),
        ("proxy_pass", 7, LineState.CONDITIONAL),
    ]


def test_values_in_maps_and_unknown_blocks_are_not_noted():
    _, notes = judge_lines(tree("http { map $a $b { hunter2 1; } mymodule { hunter3 1; } }"))
    assert [note.text for note in notes] == ["mymodule"]


def test_notes_end_at_200():
    assert len(judge_lines(tree("frob 1;" * 300))[1]) == 200


def test_a_flag_is_inherited_and_may_be_taken_back():
    (stream,) = top_blocks(tree("stream { proxy_ssl on; server { } server { proxy_ssl off; } }"))
    assert [flag(block, "proxy_ssl") for block in stream.blocks] == [True, False]


def test_only_tls_schemes_open_tls():
    text = """http { server { location /a { proxy_pass http://x; } location /b { proxy_pass HTTPS://x; }
      location /c { grpc_pass grpcs://x; grpc_pass grpc://x; } location /d { uwsgi_pass suwsgi://x; }
      location /e { proxy_pass $any; } location /f { fastcgi_pass x:1; } } }"""
    (http,) = top_blocks(tree(text))
    assert [(each.name, prefix) for _, each, prefix in outbound_passes(http)] == [
        ("proxy_pass", "proxy_"),
        ("grpc_pass", "grpc_"),
        ("uwsgi_pass", "uwsgi_"),
        ("proxy_pass", "proxy_"),
    ]


def test_every_missing_include_is_found_once():
    one = tree("include a; http { include b; server { include c; } }")
    assert [each.place.line for each in all_missing(one, top_blocks(one))] == [1, 1, 1]
