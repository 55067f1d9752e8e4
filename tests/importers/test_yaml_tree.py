"""Expected values: YAML 1.1 (yaml.org/spec/1.1, merge keys in yaml.org/type/merge.html)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.importers.source import ReadError, SourceFile
from scanner.importers.yaml_tree import parse_yaml

SAMPLE = b"a: &x\n  b: 1\n  c: [2, 'three']\nd:\n  <<: *x\n  b: 9\n"


def parse(data):
    return parse_yaml(SourceFile(name="a.yaml", data=data))


def test_each_key_has_its_line_and_each_value_its_place():
    tree = parse(SAMPLE)
    node = tree.maybe_at("a", "c").items[1]
    assert (tree.maybe_at("a", "c").line, node.text, node.written, node.value_at) == (3, "three", "'three'", (3, 10))


def test_merge_keys_give_what_the_mapping_does_not_have_itself():
    assert [parse(SAMPLE).maybe_at("d", key).written for key in "b"] == ["9"]
    assert parse(SAMPLE).maybe_at("d", "c").items[0].text == "2"


def test_json_indented_by_tabs_is_read():
    assert parse(b'{\n\t"a": {\n\t\t"b": "c"\n\t}\n}').maybe_at("a", "b").line == 3


@pytest.mark.parametrize(
    "data",
    [
        b"a: !!python/object/apply:os.system ['id']\n",
        b"a: !mine HUNTER2\n",
        b"&a [*a]\n",
        b"[" * 5000,
        b"- " * 3000 + b"x",
        b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in b"bcdefgh"),
        b"a: HUNTER2\n  b: HUNTER2\n",
        b"? [a]\n: b\n",
        b"a: 1\n---\nb: 2\n",
        b'"\\UFFFFFFFF"',
        b"x" * (8 * 1024 * 1024 + 1),
    ],
)
def test_hostile_yaml_is_refused_without_its_text(data):
    with pytest.raises(ReadError) as caught:
        parse(data)
    assert "HUNTER2" not in str(caught.value)


def test_no_value_is_in_the_repr():
    assert "HUNTER2" not in repr(parse(b"password: HUNTER2\nlist: [HUNTER2]\n"))


@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=9)))
def test_garbage_raises_nothing_but_read_error(garbage):
    data = garbage if isinstance(garbage, bytes) else SAMPLE[: garbage[0]] + garbage[1] + SAMPLE[garbage[0] + 3 :]
    try:
        tree = parse(data)
    except ReadError:
        return
    assert len(list(tree.each())) >= 1
