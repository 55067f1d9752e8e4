import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from scanner.untrusted import clean_text


def test_text_that_is_fit_to_be_shown_is_kept():
    assert clean_text("CN=Größe <b>", max_chars=100) == "CN=Größe <b>"


def test_escape_sequences_line_breaks_and_bidirectional_overrides_are_replaced():
    assert (
        clean_text("a\x1b[2J\nb\u202ec\u2028d\x00\x9b", max_chars=100) == "a\ufffd[2J\ufffdb\ufffdc\ufffdd\ufffd\ufffd"
    )


def test_long_text_is_cut_and_says_so():
    assert clean_text("x" * 11, max_chars=10) == "x" * 9 + "…"
    assert clean_text("x" * 10, max_chars=10) == "x" * 10


@given(st.text(st.characters(), max_size=400), st.integers(1, 300))
def test_no_text_gets_through_too_long_or_with_a_control_character(text, max_chars):
    cleaned = clean_text(text, max_chars=max_chars)
    assert len(cleaned) <= max_chars
    assert not any(unicodedata.category(character).startswith("C") for character in cleaned)
