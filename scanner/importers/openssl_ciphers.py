"""What an OpenSSL cipher string lets be said of TLS 1.0 and 1.1: ciphers(1). Pure."""

from __future__ import annotations

import re
from typing import Final

_MOST_CHARACTERS: Final = 4096
_CLASSES: Final = frozenset({"ALL", "DEFAULT", "HIGH"})
"""Each has suites of TLS 1.0 for every kind of certificate."""
_HARMLESS_EXCLUSIONS: Final = frozenset(
    {"aNULL", "eNULL", "NULL", "EXP", "EXPORT", "LOW", "MEDIUM", "DES", "3DES", "MD5", "RC4", "RC2", "PSK", "SRP"}
    | {"DSS", "aDSS", "IDEA", "SEED", "CAMELLIA", "ARIA", "kRSA", "ADH", "AECDH", "DH", "EDH", "DHE", "kDHE"}
    | {"CHACHA20", "AESCCM", "AESGCM", "SSLv2", "kDHEPSK"}
)
"""What may be excluded from them and leaves such suites in."""


def has_old_suites_at_level_0(text: str) -> bool:
    """Return whether a cipher string sets security level 0 and surely has suites of TLS 1.0 and 1.1.

    Then OpenSSL 3 has nothing against these versions; at level 1 and above it refuses their SHA-1 signatures.
    """
    words = [word for word in re.split(r"[:, ;]|(?=@)", text[:_MOST_CHARACTERS]) if word]
    levels = [word for word in words if word.startswith("@SECLEVEL=")]
    excluded = {word[1:] for word in words if word[0] in "!-"}
    return (
        len(text) <= _MOST_CHARACTERS
        and levels[-1:] == ["@SECLEVEL=0"]
        and bool(_CLASSES & set(words))
        and excluded <= _HARMLESS_EXCLUSIONS
    )
