import pytest

from scanner.model.exchange import HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.store import StoreError, hello_forms
from scanner.store.hello_forms import (
    current_forms,
    decode_form_set,
    decode_own_forms,
    digest_of,
    encode_own_forms,
    make_form,
    maybe_own_form,
)
from scanner.tls.hello import encode_hello

RANDOM = bytes((7 * number + 3) % 256 for number in range(64))
NAMES = (None, "a", "sts.example.com", "x" * 63 + "." + "y" * 63 + ".example")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", list(HelloVariant))
@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_form_filled_is_the_hello(version, variant, name):
    form = make_form(version, variant, name)
    hello = encode_hello(version=version, variant=variant, server_name=name, random=RANDOM)
    assert form.fill(RANDOM) == hello
    assert form.maybe_random(hello) == RANDOM[: form.random_bytes]
    assert form.maybe_random(hello + b"and more") == RANDOM[: form.random_bytes]
    assert form.maybe_random(hello[:-1]) is None
    assert form.maybe_random(b"") is None
    other = bytes([hello[0] ^ 1]) + hello[1:]
    assert form.maybe_random(other) is None


def test_random_bytes_are_those_of_the_protocol():
    # RFC 8446 section 4.1.2 (random, legacy_session_id), RFC 5246 section 7.4.1.2, SSLv2's challenge of 16 to 32 bytes.
    assert make_form(TlsVersion.TLS1_3, HelloVariant.BROAD, None).spans == (32, 32)
    assert make_form(TlsVersion.TLS1_2, HelloVariant.BROAD, None).spans == (32,)
    assert make_form(TlsVersion.SSL2, HelloVariant.BROAD, None).spans == (16,)


def test_set_survives_and_is_small():
    forms = current_forms()
    assert decode_form_set(forms.content) == forms.forms
    assert forms.digest == digest_of(forms.content)
    assert len(forms.content) < 4096
    assert [forms.forms[number][:2] for number in forms.numbers.values()] == list(forms.numbers)


def test_own_forms_survive_and_are_small():
    base = current_forms()
    wanted = tuple((number, "sts.example.com") for number in (9, 4, 20))
    encoded = encode_own_forms(wanted)
    expected = tuple(make_form(*base.forms[number][:2], "sts.example.com") for number, _ in wanted)
    assert decode_own_forms(encoded, base.forms) == expected
    assert len(encoded) < sum(len(b"".join(form.pieces)) for form in expected) / 5


def test_form_that_has_no_room_for_a_name_is_the_one_without():
    numbers = current_forms().numbers
    assert maybe_own_form(numbers[TlsVersion.SSL2, HelloVariant.BROAD], "a.example") is None
    assert maybe_own_form(numbers[TlsVersion.SSL3, HelloVariant.RARE], "a.example") is None
    assert maybe_own_form(numbers[TlsVersion.TLS1_2, HelloVariant.RARE], "a.example") is not None


def test_set_of_another_kind_or_damaged_is_a_store_error():
    content = current_forms().content
    with pytest.raises(StoreError, match="newer version"):
        decode_form_set(b"\x09" + content[1:])
    with pytest.raises(StoreError, match="damaged"):
        decode_form_set(content[:1] + content[5:])


def test_hello_whose_random_is_not_in_order_is_refused(monkeypatch):
    make_form.cache_clear()
    monkeypatch.setattr(hello_forms, "encode_hello", lambda **given: given["random"][:4] + given["random"][10:20])
    with pytest.raises(ValueError, match="in order"):
        make_form(TlsVersion.TLS1_2, HelloVariant.BROAD, "odd.example")
    make_form.cache_clear()
