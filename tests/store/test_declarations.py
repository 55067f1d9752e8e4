"""Declarations in the store: as given, with their run, and gone with it."""

import zlib
from dataclasses import replace
from datetime import timedelta

import pytest

from scanner.importers.nginx import read
from scanner.importers.source import EMPTY_FOLDER, ReadOptions, SourceFile
from scanner.model.checks import Check, CheckState
from scanner.model.declared import ClueKind, HostClue, LineNote, LineState, Place
from scanner.model.evidence import GapReason
from scanner.store import StoreError, open_store
from scanner.store.declarations import pack_declaration, unpack_declaration
from tests.declaring import GIVEN_AT, declare, make_leg
from tests.store.samples import make_record, make_run

FULL = declare(
    make_leg("de?d?e", server_names=("*.example",), limits=("A limit.",), is_permission=True),
    checks=(Check(id="restart-pending", title="t", state=CheckState.UNKNOWN, detail="d", weight="strong"),),
    notes=(LineNote(place=Place(file="a", line=3, key="k"), state=LineState.CONDITIONAL, text="if", detail="why"),),
    line_counts=((LineState.SUPPORTED, 3),),
    clues=(HostClue(name="a", kind=ClueKind.MACHINE),),
    gaps=((GapReason.INCLUDE_MISSING, "b.conf"),),
    includes=(("c.conf", "cd" * 32),),
    collected_at=GIVEN_AT - timedelta(microseconds=1),
    facts=(("k", "v"),),
)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "runs.db") as store:
        store.begin_run(make_run("one"))
        yield store


def test_every_member_comes_back_as_it_was():
    assert unpack_declaration(pack_declaration(FULL)) == FULL


def test_what_a_real_configuration_says_comes_back_as_it_was():
    text = b"events {}\nhttp { server { listen 443 ssl; ssl_protocols TLSv1.1 TLSv1.2; if ($a) { return 403; } } }\n"
    reading = read(SourceFile(name="nginx.conf", data=text), EMPTY_FOLDER, ReadOptions(product_version="1.22.1"))
    declaration = replace(FULL, reading=reading)
    assert unpack_declaration(pack_declaration(declaration)) == declaration


@pytest.mark.parametrize("data", [b"", b"x", zlib.compress(b"{}"), zlib.compress(b"[1"), zlib.compress(b'{"host": 1}')])
def test_what_was_not_stored_so_is_refused_without_being_quoted(data):
    with pytest.raises(StoreError, match=r"^a stored declaration can't be read"):
        unpack_declaration(data)


def test_declarations_are_those_of_their_run_in_the_order_given(store):
    store.begin_run(make_run("two"))
    other = replace(FULL, host="b.example")
    store.replace_declarations("one", [FULL, other])
    assert store.load_declarations("one") == (FULL, other)
    assert store.load_declarations("two") == ()


def test_a_file_that_is_given_again_replaces_what_it_said(store):
    store.replace_declarations("one", [FULL, replace(FULL, path="/etc/other.conf")])
    newer = replace(FULL, given_at=GIVEN_AT + timedelta(days=1))
    store.replace_declarations("one", [newer])
    assert store.load_declarations("one") == (replace(FULL, path="/etc/other.conf"), newer)


def test_hosts_are_those_measured_and_those_declared(store):
    store.append_host("one", 0, make_record(1))
    store.replace_declarations("one", [FULL])
    assert store.list_host_names("one") == ("h.example", "host1.example")


def test_declarations_go_with_their_run(store):
    store.replace_declarations("one", [FULL])
    store.delete_run("one")
    store.begin_run(make_run("one"))
    assert store.load_declarations("one") == ()


def test_declarations_of_an_unknown_run_are_refused(store):
    with pytest.raises(StoreError, match="none"):
        store.replace_declarations("none", [FULL])
    with pytest.raises(StoreError, match="none"):
        store.load_declarations("none")
