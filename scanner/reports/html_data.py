"""What the HTML report shows, made from the JSON report: readable, bounded and small. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from scanner.model.declared import LineState
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.outbound import Mirroring, PathKind
from scanner.model.subjects import Role, Upgrade
from scanner.model.verdicts import Readiness, Severity
from scanner.reports.objects import JsonObject

TEXT_LIMIT = 1_000
"""Most characters of one text in the report; a peer may send any number. The JSON report has all of them."""
NAMES_LIMIT = 100
"""Most names of one certificate in the report."""
TABLE_LIMIT = 500
"""Most rows of the table that is there without JavaScript, and of the printed one."""
READINESS_WORDS = {
    Readiness.NOT_READY: "Not ready",
    Readiness.UNKNOWN: "Unknown",
    Readiness.READY: "Ready",
}
"""The policy's answer in words, worst first."""
STATE_WORDS = {State.ENABLED: "enabled", State.DISABLED: "disabled", State.UNKNOWN: "unknown"}
SEVERITY_WORDS = {Severity.FAILURE: "Failure", Severity.WARNING: "Warning", Severity.INFO: "Note"}
ROLE_WORDS = {
    Role.ENDPOINT: "Registration endpoint",
    Role.ADFS: "AD FS",
    Role.PROXY: "Forward proxy",
    Role.REVERSE_PROXY: "Reverse proxy",
    Role.SERVER: "Server",
}
BASIS_WORDS = {
    Basis.HANDSHAKE: "full handshake",
    Basis.HELLO: "hello exchange",
    Basis.LOGGED: "log entry",
    Basis.DECLARED: "configuration",
    Basis.ASSUMED: "assumption",
}
"""What a fact rests on, in words, strongest first."""
GAP_WORDS = {
    GapReason.NAME_NOT_RESOLVED: "The name could not be resolved",
    GapReason.REFUSED: "Nothing listens on the port",
    GapReason.UNREACHABLE: "The network says the host can't be reached",
    GapReason.NO_ANSWER: "No answer to the connection attempt",
    GapReason.SILENT: "Connected, but the hello was not answered",
    GapReason.NOT_TLS: "The peer speaks something other than TLS",
    GapReason.AMBIGUOUS: "Refused in a way that may have other causes than the version",
    GapReason.INCONSISTENT: "The same question got different answers",
    GapReason.UNSTABLE: "A question answered before was not answered again (rate limit, IDS or failing host)",
    GapReason.NO_CONTROL: "No hello succeeded, so a refusal of one version can't be told from a refusal of everything",
    GapReason.NAME_REFUSED: "The peer seems to refuse the server name, which says nothing about versions",
    GapReason.ODD_REPLY: "An answer that no TLS server may give",
    GapReason.OFFERED: "Offered, or perhaps offered, but no connection has shown whether the host goes through with it",
    GapReason.SUITES: "No cipher suite, group or signature algorithm in common, which says nothing about versions",
    GapReason.NOT_SEEN: "Nothing of it arrived at the listener",
    GapReason.PROXY_DECLINED: "The proxy would not open the way",
    GapReason.TUNNEL: "The proxy passes TLS through and has none of its own: its clients decide",
    GapReason.VERSION_UNKNOWN: "Not set in the file, and the default depends on a product version that is not known",
    GapReason.NOT_IN_FILE: "The file does not cover it",
    GapReason.INCLUDE_MISSING: "A file that is included, and may decide it, was not supplied",
    GapReason.UNSUPPORTED: "A directive that may decide it is not understood in this form",
    GapReason.CONDITIONAL: "It depends on a condition that the file does not settle",
    GapReason.LIBRARY_POLICY: "The configuration allows it, but the TLS library's own policy may refuse it",
    GapReason.LOCAL_FAILURE: "The scanning machine could not ask",
    GapReason.OUT_OF_TIME: "The time allowed for the host ran out",
    GapReason.INTERRUPTED: "The run was interrupted before the question was put",
    GapReason.NOT_ASKED: "The question was not put",
}
"""Why something is not known, in words."""
LINE_WORDS = {
    LineState.SUPPORTED: "understood, and taken into account",
    LineState.IRRELEVANT: "known, and without influence on TLS versions",
    LineState.CONDITIONAL: "holds only under a condition that the file does not settle",
    LineState.UNIMPLEMENTED: "matters, but is not understood in this form",
    LineState.UNRECOGNISED: "not known",
}
"""What became of the lines of a file, in words."""
WAY_WORDS = {
    PathKind.TUNNEL: "Passes through",
    PathKind.RE_ENCRYPTS: "Re-encrypts",
    PathKind.BLOCKED: "Blocked",
    PathKind.UNKNOWN: "Not known",
}
"""What a proxy does to TLS, in words."""
MIRRORING_WORDS = {
    Mirroring.MIRRORS: "Yes: it offers less to the server where its client offers less",
    Mirroring.INDEPENDENT: "No: it offers the same whatever its client offers",
    Mirroring.UNKNOWN: "Not known: not compared",
}
"""Whether a proxy's own offer depends on its client's, in words."""
UPGRADE_WORDS = {
    Upgrade.NONE: "directly",
    Upgrade.HTTP_CONNECT: "by HTTP CONNECT",
    Upgrade.HTTPS_CONNECT: "by HTTP CONNECT within TLS",
    Upgrade.SOCKS5: "by SOCKS 5",
}
"""How a proxy was asked for a destination, in words."""
STOPPED_WORDS = {
    "interrupted": "The run was interrupted before all questions were put to this host.",
    "out-of-time": "The time allowed for this host ran out before all questions were put.",
}

SEVERITIES = [severity.value for severity in Severity]
"""Severities, worst first."""
READINESS_ORDER = [readiness.value for readiness in READINESS_WORDS]
"""Readiness, worst first."""
SLOTS = "\ue000\ue001\ue002\ue003\ue004\ue005"
"""Private characters that stand in a form for the host's name, its first four other addresses, and the next time."""
# What a reader can't see, or what makes a reader see something else: controls but tab and newline, format characters
# (the right-to-left override above all), line separators, surrogates (which UTF-8 can't even hold), unassigned.
_DECEPTIVE = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_PLAIN = re.compile(r"[\t\n\x20-\x7e]*\Z")
_NUMBERS = re.compile(r"([0-9]{1,18})")


def render_data_island(data: Any) -> Markup:
    """Return JSON that can stand inside a script element whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        if character in text:
            text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing is left in it that HTML could read as markup


def make_readable(value: JsonObject, *, has_slots: bool = False) -> JsonObject:
    """Return a copy in which every text shows what it holds, is bounded, and has times cut to the second.

    With ``has_slots`` the characters of ``SLOTS`` stand for what is filled in when the report is read, and stay.
    """
    cleaned: dict[str, str] = {}

    def clean(text: str) -> str:
        known = cleaned.get(text)
        if known is None:
            known = cleaned[text] = clean_text(text, has_slots=has_slots)
        return known

    def walk(item: Any, member: str) -> Any:
        if isinstance(item, str):
            return cut_to_second(item, has_slots=has_slots) if member.endswith("_at") else clean(item)
        if isinstance(item, dict):
            return {clean(key): walk(inner, key) for key, inner in item.items()}
        if isinstance(item, list):
            return (
                bound_names([walk(inner, member) for inner in item])
                if member == "names"
                else [walk(inner, member) for inner in item]
            )
        return item

    readable: JsonObject = walk(value, "")
    return readable


def bound_names(names: list[Any]) -> list[Any]:
    """Return the first names of a certificate, and how many more there are."""
    left_out = len(names) - NAMES_LIMIT
    return names if left_out <= 0 else [*names[:NAMES_LIMIT], f"and {left_out:,} more"]


def clean_text(text: str, *, has_slots: bool = False) -> str:
    """Return a text from the network bounded, and with what a reader can't see spelled out."""
    count = len(text)
    if count > TEXT_LIMIT:
        text = text[:TEXT_LIMIT]
    if not _PLAIN.match(text):
        kept = SLOTS if has_slots else ""
        text = "".join(character if character in kept else _show_character(character) for character in text)
    return f"{text}… ({count:,} characters in all)" if count > TEXT_LIMIT else text


def _show_character(character: str) -> str:
    if character in "\t\n":
        return character
    if character not in SLOTS and unicodedata.category(character) not in _DECEPTIVE:
        return character
    return f"⟨U+{ord(character):04X}⟩"


def cut_to_second(text: str, *, has_slots: bool = False) -> str:
    """Return an ISO 8601 time in UTC without its fraction; what is no time is cleaned as any text."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return clean_text(text, has_slots=has_slots)


def https_or_nothing(url: str) -> str:
    """Return url if it is an https address, else an empty text: nothing else may become a link."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if url.startswith("https://") and parts.netloc else ""


def natural_key(text: str) -> str:
    """Return a sort key by which ``node9`` comes before ``node10`` and 10.0.0.9 before 10.0.0.10."""
    parts = []
    for part in _NUMBERS.split(text):
        if part.isascii() and part.isdigit():
            digits = part.lstrip("0")
            parts.append(f"\x01{chr(len(digits) + 0x20)}{digits}")  # before any text, and shorter numbers first
        elif part:
            parts.append(f"\x02{part.casefold()}")
    return "".join(parts)
