"""Runs and everything in them: immutable, with no room for attributes that nobody declared."""

import dataclasses
import inspect
import typing

import pytest

from scanner.model import evidence, exchange, runs, subjects, verdicts

TYPES = [
    item
    for module in (evidence, exchange, runs, subjects, verdicts)
    for _, item in inspect.getmembers(module, dataclasses.is_dataclass)
    if item.__module__ == module.__name__
]


@pytest.mark.parametrize("item", TYPES, ids=lambda item: item.__name__)
def test_types_are_frozen_slotted_and_built_by_name(item):
    parameters = item.__dataclass_params__
    assert parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(item))
    assert "__slots__" in vars(item)


@pytest.mark.parametrize("item", TYPES, ids=lambda item: item.__name__)
def test_every_field_can_be_hashed_so_that_evidence_can_be_compared_and_kept_in_sets(item):
    for name, kind in typing.get_type_hints(item).items():
        assert typing.get_origin(kind) not in {list, dict, set}, name


@pytest.mark.parametrize("item", TYPES, ids=lambda item: item.__name__)
def test_every_field_is_described(item):
    source = inspect.getsource(item)
    for field in dataclasses.fields(item):
        _, _, rest = source.partition(f"    {field.name}:")
        assert rest.partition("\n")[2].lstrip().startswith('"""'), field.name


def test_there_are_types():
    assert {"Run", "HostRecord", "HostResult", "RunResult", "Exchange", "Observation", "Gap"} <= {
        item.__name__ for item in TYPES
    }
