"""Form of bigip.conf: what tmsh writes, see the samples of f5-ansible and batfish's f5_bigip_structured grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.f5_tree import MOST_NESTING, parse_f5
from scanner.importers.source import ReadError

SAMPLE = """#TMSH-VERSION: 15.1.2

ltm pool /Common/p {
    members {
        /Common/fs1:443 {
            address 10.0.0.11
        }
    }
    monitor /Common/https
}
ltm profile client-ssl /Common/c {
    options { no-sslv3 no-tlsv1 }
    description "two
lines with { and \\" in it"
    inherit-certkeychain true
}
"""


def test_objects_keep_their_words_and_lines():
    pool, profile = parse_f5(SAMPLE, "b")
    assert (pool.line, pool.words) == (3, ("ltm", "pool", "/Common/p"))
    assert pool.maybe_child("members").children[0].maybe_value("address") == "10.0.0.11"
    assert (profile.line, profile.maybe_child("options").line) == (11, 12)


def test_words_in_braces_on_one_line_are_a_list():
    assert parse_f5(SAMPLE, "b")[1].maybe_child("options").inner_words() == ["no-sslv3", "no-tlsv1"]


def test_a_quotation_goes_over_line_ends_and_hides_braces():
    profile = parse_f5(SAMPLE, "b")[1]
    assert profile.maybe_value("description") == 'two\nlines with { and " in it'
    assert profile.maybe_child("inherit-certkeychain").line == 15


def test_an_irule_with_unbalanced_braces_does_not_swallow_the_next_object():
    text = 'ltm rule /Common/r {\n when X { log "}}} }\n#{{{\n}\n}\nltm pool /Common/p {\n}\n'
    assert [node.words[1] for node in parse_f5(text, "b")] == ["rule", "pool"]


def test_an_object_written_on_one_line_is_marked():
    assert parse_f5("ltm pool /Common/p { monitor x }\n", "b")[0].is_one_line
    assert not parse_f5("ltm pool /Common/p { }\n", "b")[0].is_one_line


@pytest.mark.parametrize("text", ["ltm pool p {\n", "}\n", 'ltm pool "p {\n', "a {\n" * (MOST_NESTING + 1)])
def test_what_does_not_match_or_is_too_deep_is_refused(text):
    with pytest.raises(ReadError):
        parse_f5(text, "b")


def test_the_error_names_the_line_and_none_of_the_text():
    with pytest.raises(ReadError, match=r"^b:2: a brace is not closed$"):
        parse_f5("\nltm pool HUNTER2 {\n", "b")


@given(st.text(alphabet='{}" \\\n#abltm', max_size=300))
def test_any_text_is_read_or_refused(text):
    try:
        nodes = parse_f5(text, "b")
    except ReadError:
        return
    assert all(node.line >= 1 for node in nodes)
