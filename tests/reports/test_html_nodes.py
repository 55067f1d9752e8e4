"""Each distinct JSON value stands once, and what went in comes out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from scanner.reports.html_nodes import encode_nodes

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def unpack(table, number):
    """Read the node table as its description says; written apart from the encoder."""
    node = table["nodes"][number]
    if not isinstance(node, list):
        return node
    shape, *members = node
    if shape == -1:
        return [unpack(table, member) for member in members]
    return {name: unpack(table, member) for name, member in zip(table["shapes"][shape], members, strict=True)}


@given(st.lists(JSON_VALUES))
def test_the_node_table_gives_back_what_went_in(values):
    table = json.loads(json.dumps(encode_nodes(values)))
    assert json.dumps([unpack(table, root) for root in table["roots"]]) == json.dumps(values)


def test_equal_values_stand_once_in_the_node_table():
    evidence = {"basis": "hello", "origin": "tcp://192.0.2.7:443"}
    table = encode_nodes([{"a": [evidence, dict(evidence)]}, dict(evidence)])
    assert table == {
        "shapes": [["a"], ["basis", "origin"]],
        "nodes": ["hello", "tcp://192.0.2.7:443", [1, 0, 1], [-1, 2, 2], [0, 3]],
        "roots": [4, 2],
    }


def test_true_and_one_are_told_apart_in_the_node_table():
    table = encode_nodes([[True, 1, 1.5, False, 0, None, ""]])
    assert json.dumps(unpack(table, table["roots"][0])) == '[true, 1, 1.5, false, 0, null, ""]'
