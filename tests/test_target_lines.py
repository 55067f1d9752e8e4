"""A line's words, options and section, and what a message may show of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.target_forms import FormError
from scanner.target_lines import (
    MAX_SHOWN,
    OPTIONS,
    Options,
    maybe_section,
    parse_options,
    show_line,
    split_words,
    strip_url_query,
    suggest,
)

WORDS = [
    ("", "", []),
    ("   ", "", []),
    ("# all comment", "", []),
    ("  # all comment", "", []),
    ("a b\tc", "a b\tc", ["a", "b", "c"]),
    ("a # b", "a", ["a"]),
    ("a#b", "a#b", ["a#b"]),
    ("a tag=x#1 # c", "a tag=x#1", ["a", "tag=x#1"]),
    ('a vendor="x y"', 'a vendor="x y"', ["a", "vendor=x y"]),
    ('a vendor="x # y" # z', 'a vendor="x # y"', ["a", "vendor=x # y"]),
    (r'a vendor="x \"y\" \\ z"', r'a vendor="x \"y\" \\ z"', ["a", r'vendor=x "y" \ z']),
    (r"a vendor=CORP\x # c", r"a vendor=CORP\x", ["a", r"vendor=CORP\x"]),
    ("a # it's \"", "a", ["a"]),
]


@pytest.mark.parametrize(("line", "written", "words"), WORDS)
def test_words(line, written, words):
    assert split_words(line) == (written, words)


@pytest.mark.parametrize("line", ['a vendor="x', '"', 'a"b c', 'a vendor="x\\"'])
def test_an_open_quote_is_an_error(line):
    with pytest.raises(FormError, match="not closed"):
        split_words(line)


@pytest.mark.parametrize(
    ("written", "name"),
    [("[adfs]", "adfs"), ("[ ADFS ]", "adfs"), ("[x y]", "x y"), ("host", None), ("[2001:db8::1]", None)],
)
def test_section_headers(written, name):
    assert maybe_section(written) == name


@pytest.mark.parametrize(("written", "problem"), [("[adfs", "not closed"), ("[adfs] x", "text after")])
def test_bad_section_headers(written, problem):
    with pytest.raises(FormError, match=problem):
        maybe_section(written)


def test_every_option():
    words = ["sni=STS.example.com.", "port=443,8000-8001", "vendor=Big IP", "farm=f", "tag=a,b", "TAG=c", "tag=a"]
    assert parse_options(words) == Options(
        server_name="sts.example.com", ports=(443, 8000, 8001), vendor="Big IP", farm="f", tags=("a", "b", "c")
    )
    assert {word.partition("=")[0].lower() for word in words} == set(OPTIONS)


@pytest.mark.parametrize(
    ("word", "problem", "mend"),
    [
        ("443", "a number", "HOST:PORT"),
        ("other.example", "no key=value", "one target a line"),
        ("ports=443", "no such option", "did you mean port=?"),
        ("zzz=1", "no such option", "sni=, port=, vendor=, farm=, tag="),
        ("=x", "no such option", "valid are"),
        ("sni=", "no value", "sni=VALUE"),
        ("vendor=\x07", "no value", "vendor=VALUE"),
        ("sni=192.0.2.7", "RFC 6066", "DNS name"),
        ("sni=[2001:db8::7]", "RFC 6066", "DNS name"),
        ("sni=a..b", "empty label", "host.example.com"),
        ("port=x", "not a number", "443"),
        ("tag=a,,b", "empty item", "tag=one,two"),
    ],
)
def test_bad_options(word, problem, mend):
    with pytest.raises(FormError) as caught:
        parse_options([word])
    assert problem in caught.value.problem
    assert mend in caught.value.mend


@pytest.mark.parametrize("key", ["sni", "port", "vendor", "farm"])
def test_an_option_twice_is_an_error(key):
    with pytest.raises(FormError, match="twice"):
        parse_options([f"{key}=443", f"{key}=443"] if key != "sni" else ["sni=a.example", "sni=b.example"])


SHOWN = [
    ("host:x tag=a@b", "host:x tag=a@b"),
    ("host:x # ask bob@example.com", "host:x # ask bob@example.com"),
    ("https://user:pw@host/", "https://***@host/"),
    ("https://user:p@w@host/", "https://***@host/"),
    ("https://user:p w@host/ tag=x", "https://***@host/ tag=x"),
    ("https://user:p #w@host/", "https://***@host/"),
    ("user:pw@host:3128", "***@host:3128"),
    ("!user:pw@host", "***@host"),
    ("host sni=user:pw@x", "***@x"),
    ("https://host/?token=secret x", "https://host/ x"),
    ("@entra:moon", "@entra:moon"),
    ("a\x1b[31mb", "a\\x1b[31mb"),
    ("x" * 300, "x" * MAX_SHOWN + "..."),
]


@pytest.mark.parametrize(("line", "shown"), SHOWN)
def test_what_a_message_shows(line, shown):
    assert show_line(line) == shown


@given(st.text())
def test_what_is_shown_is_printable_and_bounded(line):
    shown = show_line(line)
    assert shown.isprintable()
    assert len(shown) <= MAX_SHOWN + 3


def test_a_url_loses_its_query_and_fragment():
    assert strip_url_query("https://h.example/a?sig=x tag=y") == "https://h.example/a tag=y"
    assert strip_url_query("https://h.example/a#x") == "https://h.example/a"
    assert strip_url_query("https://h.example/a tag=b?c") == "https://h.example/a tag=b?c"


def test_the_nearest_valid_word_is_suggested():
    assert suggest("proxy", ["[proxies]", "[adfs]"]) == "did you mean [proxies]? valid are [proxies], [adfs]"
    assert suggest("qqqqq", ["[proxies]", "[adfs]"]) == "valid are [proxies], [adfs]"
