import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.store import StoreError, hello_forms
from scanner.store.blobs import inflate_host, pack_content
from scanner.store.packing import pack_record
from scanner.store.unpacking import unpack
from tests.store.samples import FULL_RECORD, make_hello_record
from tests.store.unpacked import parts_of, unpack_host


def change(packed, act):
    """Return the blob of a packed host with something in its fields changed."""

    def thaw(value):
        return [thaw(each) for each in value] if isinstance(value, tuple) else value

    fields = thaw(inflate_host(packed.blob, packed.certificates))
    act(fields)
    return b"\x10" + pack_content(fields)


@pytest.mark.parametrize("server_name", [None, "sts.example.com"])
def test_stored_hellos_are_read_without_this_programs_hellos(monkeypatch, server_name):
    record = make_hello_record(server_name)
    packed = pack_record(record, 0)
    parts = parts_of(packed)
    caches = (
        hello_forms.current_forms, hello_forms.make_form, hello_forms.maybe_own_form, hello_forms.decode_form_set,
        hello_forms.encode_own_forms,
    )  # fmt: skip
    for cached in caches:
        cached.cache_clear()

    def encode_nothing(**given):
        raise AssertionError("a later version may encode another hello")

    with monkeypatch.context() as patch:
        patch.setattr(hello_forms, "encode_hello", encode_nothing)
        assert unpack(packed.blob, packed.certificates, parts)[0] == record


def test_part_that_is_not_there_is_damage():
    packed = pack_record(make_hello_record(None), 0)
    with pytest.raises(StoreError, match="damaged"):
        unpack(packed.blob, (), {})


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (lambda fields: fields[10][0].__setitem__(5, 99), "the ending 99"),
        (lambda fields: fields[10][0].__setitem__(10, "quic"), "Probe 'quic'"),
        (lambda fields: fields[10][1].__setitem__(11, "TLS1.4"), "TlsVersion 'TLS1.4'"),
        (lambda fields: fields[10][0].__setitem__(9, 7), "damaged"),
        (lambda fields: fields[10][0].__setitem__(1, -1), "damaged"),
        (lambda fields: fields[10][0].__setitem__(1, 9), "damaged"),
        (lambda fields: fields[10][0].__setitem__(3, 2**62), "damaged"),
        (lambda fields: fields[10][1].__setitem__(0, 500), "damaged"),
        (lambda fields: fields[10][0].pop(), "damaged"),
        (lambda fields: fields.__setitem__(0, 9), "damaged"),
        (lambda fields: fields.__setitem__(1, None), "damaged"),
        (lambda fields: fields.pop(), "damaged"),
        (lambda fields: fields[10].append([]), "damaged"),
    ],
)
def test_what_is_damaged_or_too_new_is_told(act, named):
    packed = pack_record(FULL_RECORD, 0)
    with pytest.raises(StoreError, match=named):
        unpack(change(packed, act), packed.certificates, parts_of(packed))


@given(st.data())
def test_changed_blob_is_a_host_or_a_store_error(data):
    packed = pack_record(make_hello_record("sts.example.com"), 0)
    fields = pack_content(inflate_host(packed.blob, ()))
    changed = bytearray(fields)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(StoreError):
        unpack(b"\x10" + bytes(changed), (), parts_of(packed))


def test_whole_host_is_read():
    assert unpack_host(pack_record(FULL_RECORD, 0))[0] == FULL_RECORD
