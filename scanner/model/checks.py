"""What was found out about a host beside its versions: what it is, what its files say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """Outcome of a recognition check."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing found out about what a host is, with its weight."""

    id: str
    """``adfs-federation-metadata``."""
    title: str
    """One line for people."""
    state: CheckState
    """Outcome."""
    detail: str
    """What was seen. May hold text from the network: escape it."""
    weight: str = ""
    """``certain``, ``strong``, ``medium``, ``weak`` or empty."""
    is_verified: bool = True
    """False where the meaning of the evidence is from memory and not from a cited document."""
