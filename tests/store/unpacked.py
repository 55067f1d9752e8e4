"""Reads a packed host without a database."""

from scanner.store.hello_forms import current_forms, digest_of
from scanner.store.unpacking import unpack


def parts_of(packed):
    contents = [*packed.parts, *([current_forms().content] if packed.has_forms else [])]
    return {digest_of(content): content for content in contents}


def unpack_host(packed):
    return unpack(packed.blob, packed.certificates, parts_of(packed))
