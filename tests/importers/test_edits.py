"""Edits of a user's files."""

import pytest

from scanner.importers.edits import Edit, EditError, apply_edits, position_of


def edit(line, old, new, column=1):
    return Edit(file="f", line=line, column=column, old=old, new=new)


def test_an_edit_replaces_the_text_at_its_place_and_nothing_else():
    assert apply_edits("a\nb c\nb c\n", [edit(2, "c", "d", 3)]) == "a\nb d\nb c\n"


def test_an_edit_may_replace_several_lines_and_keep_their_carriage_returns():
    assert apply_edits("a\r\nb\r\nc", [edit(1, "a\r\nb", "x")]) == "x\r\nc"


def test_insertions_at_one_place_keep_their_order():
    assert apply_edits("ab", [edit(1, "", "1", 2), edit(1, "", "2", 2)]) == "a12b"


def test_edits_are_placed_by_the_text_before_any_of_them():
    assert apply_edits("a\nb\n", [edit(2, "b", "B"), edit(1, "a", "1\n2\n3")]) == "1\n2\n3\nB\n"


@pytest.mark.parametrize(
    "wrong", [edit(1, "x", ""), edit(9, "", "y"), edit(0, "", "y"), edit(1, "", "y", 9), edit(1, "", "y", 0)]
)
def test_an_edit_whose_text_is_not_there_is_refused_without_a_word_of_the_text(wrong):
    with pytest.raises(EditError) as caught:
        apply_edits("secret", [wrong])
    assert "secret" not in str(caught.value)


def test_overlapping_edits_are_refused():
    with pytest.raises(EditError, match="overlap"):
        apply_edits("abc", [edit(1, "ab", ""), edit(1, "bc", "", 2)])


def test_old_text_is_not_in_the_repr():
    assert "hunter2" not in repr(edit(1, "hunter2", ""))


def test_positions_count_from_one():
    assert position_of("ab\ncd", 4) == (2, 2)
    assert position_of("ab", 0) == (1, 1)
