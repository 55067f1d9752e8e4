import contextlib
import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.store import StoreError
from scanner.store.blobs import (
    FIELD_COUNT,
    deflate_host,
    deflate_with,
    inflate_host,
    inflate_with,
    pack_content,
    too_new,
    unpack_packed,
)

FIELDS = tuple(range(FIELD_COUNT - 1))


@pytest.mark.parametrize("certificates", [(), (b"leaf" * 300, b"root")])
@pytest.mark.parametrize("rest", [b"", b"a" * 1000, b"abc" * 5000])
def test_host_survives(rest, certificates):
    content = pack_content((*FIELDS, rest))
    assert inflate_host(deflate_host(content, certificates), certificates) == (*FIELDS, rest)


def test_large_hosts_are_compressed_and_small_ones_are_not():
    assert deflate_host(pack_content((*FIELDS, b"a" * 1000)), ())[0] == 0x10
    large = deflate_host(pack_content((*FIELDS, b"a" * 9000)), ())
    assert large[0] == 0x11
    assert len(large) < 200


def test_certificates_are_the_dictionary():
    leaf = bytes(number * number % 251 for number in range(900))
    content = pack_content((*FIELDS, leaf))
    assert len(deflate_host(content, (leaf,))) < 100
    with pytest.raises(StoreError, match="damaged"):
        inflate_host(deflate_host(content, (leaf,)), (leaf[:-1],))


def test_text_of_every_kind_survives():
    content = ("nul \0", "\udcff", "\ufdd0", b"\0", None, 2**53, -5, 0.1, True)
    assert unpack_packed(pack_content(content)) == content


def test_content_is_plain_msgpack():
    assert msgpack.unpackb(pack_content([1, "a", b"b"])) == [1, "a", b"b"]


def test_damage_is_a_store_error():
    for blob in (b"", b"\x10", b"\x10\xc1", b"\x10\x91\x01", b"\x10" + pack_content({}), b"\x11abc"):
        with pytest.raises(StoreError):
            inflate_host(blob, ())
    large = deflate_host(pack_content((*FIELDS, b"abc" * 5000)), ())
    for cut in range(1, len(large)):
        with pytest.raises(StoreError, match="damaged"):
            inflate_host(large[:cut], ())


def test_unknown_kind_is_named():
    with pytest.raises(StoreError, match=r"kind 12.*newer version"):
        inflate_host(b"\x12abc", ())


@given(st.binary(max_size=100))
def test_any_bytes_are_a_host_or_a_store_error(blob):
    for kind in (b"\x10", b"\x11", b""):
        with contextlib.suppress(StoreError):
            assert len(inflate_host(kind + blob, ())) == FIELD_COUNT


def test_bytes_with_a_dictionary_survive_and_must_have_an_end():
    deflated = deflate_with(b"hello" * 10, b"hello")
    assert inflate_with(deflated, b"hello") == b"hello" * 10
    with pytest.raises(ValueError, match="end"):
        inflate_with(deflated[:-1], b"hello")
    with pytest.raises(zlib.error):
        inflate_with(deflated, b"other")


def test_what_is_too_new_is_named():
    assert "a cat, which this version does not know" in str(too_new("a cat"))
