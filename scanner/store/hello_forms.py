"""What a hello is but for its random bytes, kept with the data: a later program may send other hellos.

A stored hello is the number of its form and its random bytes. Decoding fills the bytes into the stored form; it never
calls ``encode_hello``, so that what was sent is what is read, whatever this program's hellos have become since.
The forms without server name are kept once for all hosts. Those with one are kept with their host, compressed with the
ones without as dictionary: they differ in the name and in some lengths.
"""

from __future__ import annotations

import hashlib
import zlib
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import msgpack

from scanner.model.exchange import HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.store.stored import StoreError
from scanner.tls.hello import RANDOM_BYTES, encode_hello

DIGEST_BYTES: Final = 8
"""Bytes of the digest under which a part that hosts share is kept."""

_MAX_FORMS_BYTES: Final = 2**20


class HelloForm(NamedTuple):
    """A hello with holes where its random bytes are: the first span of them follows the first piece, and so on."""

    version: TlsVersion
    """The version asked for."""
    variant: HelloVariant
    """The form's name."""
    pieces: tuple[bytes, ...]
    """What is the same in every hello of this form; one more than there are spans."""
    spans: tuple[int, ...]
    """Lengths of the holes in bytes, in order."""
    random_bytes: int
    """Their sum."""

    def fill(self, random: bytes) -> bytes:
        """Return the hello; random has at least as many bytes as the holes take."""
        at = 0
        parts = [self.pieces[0]]
        for span, piece in zip(self.spans, self.pieces[1:], strict=True):
            parts += (random[at : at + span], piece)
            at += span
        return b"".join(parts)

    def maybe_random(self, hello: bytes) -> bytes | None:
        """Return the random bytes of a hello (which more may follow), or None where it is not of this form."""
        at = len(self.pieces[0])
        found = []
        for span, piece in zip(self.spans, self.pieces[1:], strict=True):
            found.append(hello[at : at + span])
            at += span + len(piece)
        random = b"".join(found)
        return random if len(hello) >= at and hello[:at] == self.fill(random) else None


class FormSet(NamedTuple):
    """The forms without server name of one version of this program."""

    digest: bytes
    """Stands for the set in a packed host."""
    content: bytes
    """The set as it is kept; digest_of(content) is its digest."""
    forms: tuple[HelloForm, ...]
    """By number."""
    numbers: dict[tuple[TlsVersion, HelloVariant], int]
    """The number of the form of a version and variant."""


def digest_of(content: bytes) -> bytes:
    """Return what stands for a shared part: DIGEST_BYTES bytes."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


@cache
def current_forms() -> FormSet:
    """Return the forms of this program's hellos."""
    forms = tuple(make_form(version, variant, None) for version in ALL_VERSIONS for variant in HelloVariant)
    content = b"\x01" + zlib.compress(_pack_forms(forms), 9)
    numbers = {(form.version, form.variant): number for number, form in enumerate(forms)}
    return FormSet(digest_of(content), content, forms, numbers)


@lru_cache(maxsize=4096)
def make_form(version: TlsVersion, variant: HelloVariant, server_name: str | None) -> HelloForm:
    """Return the form that encode_hello's bytes have for these arguments, found by looking at what it returns."""

    def encode(random: bytes) -> bytes:
        return encode_hello(version=version, variant=variant, server_name=server_name, random=random)

    # Each random byte is its own number, and once more with all bits turned: where both show, there is that byte.
    plain, turned = (encode(bytes(number ^ mask for number in range(RANDOM_BYTES))) for mask in (0, 255))
    pieces, spans, taken, begin = [], [], 0, 0
    at = 0
    while at < len(plain):
        if taken < RANDOM_BYTES and plain[at] == taken and turned[at] == taken ^ 255:
            pieces.append(plain[begin:at])
            first = taken
            while at < len(plain) and taken < RANDOM_BYTES and plain[at] == taken and turned[at] == taken ^ 255:
                at, taken = at + 1, taken + 1
            spans.append(taken - first)
            begin = at
        else:
            at += 1
    form = HelloForm(version, variant, (*pieces, plain[begin:]), tuple(spans), taken)
    if form.fill(bytes(number ^ 255 for number in range(RANDOM_BYTES))) != turned:
        raise ValueError(f"a {version.label} hello does not take its random bytes in order")
    return form


@lru_cache(maxsize=4096)
def maybe_own_form(number: int, server_name: str) -> HelloForm | None:
    """Return the form with this number, with a server name; None where it is the one without (it has no room for it).

    Raises ValueError for a name that no hello can carry.
    """
    base = current_forms().forms[number]
    form = make_form(base.version, base.variant, server_name)
    return None if form.pieces == base.pieces else form


@lru_cache(maxsize=1024)
def encode_own_forms(wanted: tuple[tuple[int, str], ...]) -> bytes:
    """Return the forms (number without name, server name) as they are kept with a host, in this order."""
    base = current_forms().forms
    forms = tuple(make_form(base[number].version, base[number].variant, name) for number, name in wanted)
    used = tuple(dict.fromkeys(number for number, _ in wanted))
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, _dictionary(base, used))
    packed: bytes = msgpack.packb((used, compressor.compress(_pack_forms(forms)) + compressor.flush()))
    return packed


def decode_own_forms(encoded: bytes, base: tuple[HelloForm, ...]) -> tuple[HelloForm, ...]:
    """Return the forms that encode_own_forms was given; base: those without server name, of the same program."""
    used, deflated = msgpack.unpackb(encoded, use_list=False)
    decompressor = zlib.decompressobj(zlib.MAX_WBITS, _dictionary(base, used))
    return _unpack_forms(decompressor.decompress(deflated, _MAX_FORMS_BYTES))


@lru_cache(maxsize=16)
def decode_form_set(content: bytes) -> tuple[HelloForm, ...]:
    """Return the forms of FormSet.content, by number. Raises StoreError where they are damaged."""
    if content[:1] != b"\x01":
        raise StoreError(f"the hellos' forms are of kind {content[:1].hex()}: a newer version wrote them")
    try:
        return _unpack_forms(zlib.decompressobj().decompress(content[1:], _MAX_FORMS_BYTES))
    except (zlib.error, ValueError, TypeError, LookupError) as error:
        raise StoreError(f"the hellos' forms are damaged ({error})") from error


def _dictionary(base: tuple[HelloForm, ...], used: tuple[int, ...]) -> bytes:
    return b"".join(piece for number in used for piece in base[number].pieces)


def _pack_forms(forms: tuple[HelloForm, ...]) -> bytes:
    packed: bytes = msgpack.packb([(form.version.label, form.variant.value, form.pieces, form.spans) for form in forms])
    return packed


def _unpack_forms(packed: bytes) -> tuple[HelloForm, ...]:
    stored: tuple[tuple[Any, ...], ...] = msgpack.unpackb(packed, use_list=False)
    return tuple(
        HelloForm(TlsVersion.from_label(label), HelloVariant(variant), pieces, spans, sum(spans))
        for label, variant, pieces, spans in stored
    )
