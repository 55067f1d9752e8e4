from dataclasses import replace

import pytest

from scanner.store import StoreError, open_store
from scanner.store.hello_forms import current_forms, digest_of
from scanner.store.packing import pack_record
from scanner.store.rows import (
    Parts,
    decode_plan,
    decode_run,
    encode_plan,
    encode_run,
    find_run,
    read_certificates,
    store_certificates,
    store_parts,
)
from tests.store.samples import BEGUN_AT, FULL_RECORD, make_hello_record, make_run


@pytest.fixture
def connection():
    with open_store(":memory:") as store, store._writing() as connection:
        yield connection


@pytest.mark.parametrize("run", [make_run(), make_run(finished_at=BEGUN_AT, is_complete=True, command="nul \0 \udcff")])
def test_run_survives(run):
    assert decode_run(encode_run(run)) == run


def test_plan_of_any_text_survives_and_is_small():
    plan = "\udcff\0 zürich " * 10_000
    assert decode_plan(encode_plan(plan)) == plan
    assert len(encode_plan(plan)) < 2000


def test_parts_are_stored_once_and_read_by_their_digest(connection):
    packed = pack_record(make_hello_record(None), 0)
    for _ in range(2):
        store_parts(connection, [packed, replace(packed, parts=(b"other",))])
    parts = Parts(connection)
    for content in (current_forms().content, packed.parts[0], b"other"):
        assert parts[digest_of(content)] == content
    with pytest.raises(KeyError):
        parts[b"12345678"]


def test_more_certificates_than_fit_into_one_question_get_their_ids(connection):
    ders = tuple(b"certificate %d" % number for number in range(1300))
    host = replace(pack_record(FULL_RECORD, 0), certificates=ders)
    ids = store_certificates(connection, [host])
    assert store_certificates(connection, [host]) == ids
    assert len(set(ids.values())) == 1300
    assert read_certificates(connection, set(ids.values())) == {number: der for der, number in ids.items()}


def test_run_that_is_not_there_is_told_with_the_location(connection):
    with pytest.raises(StoreError, match=r"^here: there is no run 'x'"):
        find_run(connection, "x", "here")
