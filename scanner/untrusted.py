"""Make text that a peer chose fit to be shown: bounded, and unable to steer a terminal or reorder a line."""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional overrides among them), surrogate, private, unassigned, line and paragraph separator.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean_text(text: str, *, max_chars: int) -> str:
    """Return text with every unsafe character replaced by U+FFFD, and cut to max_chars (the last one then is "…").

    Safe against terminals only: HTML must still be escaped where it is rendered.
    """
    cleaned = text[:max_chars]
    # What Python calls printable is in none of these categories. Most text is, and this is quick.
    if not cleaned.isprintable():
        cleaned = "".join(
            "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNSAFE_CATEGORIES else character
            for character in cleaned
        )
    return cleaned if len(text) <= max_chars else cleaned[:-1] + "\N{HORIZONTAL ELLIPSIS}"
