"""Hosts that answered alike share one form: their details, with slots where the host's own values go. Pure.

A host object of the JSON report is some eight thousand characters, and in a range most of them are the same a thousand
times over. A form is the text of a host object with its findings in which the host's name, its other addresses, the
times and the certificates are replaced by slots. It is found by the digest of that text, so that a host costs what
differs: a form's number, a time, a pattern of times, certificates.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import groupby
from typing import Any

from markupsafe import Markup

from scanner.reports.html_data import (
    SLOTS,
    TEXT_LIMIT,
    bound_names,
    clean_text,
    cut_to_second,
    https_or_nothing,
    make_readable,
    render_data_island,
)
from scanner.reports.html_declared import bound_declared
from scanner.reports.html_nodes import NodeTable
from scanner.reports.objects import JsonObject

ADDRESS_SLOTS = len(SLOTS) - 2
"""How many addresses other than the name have a slot; the first slot is the name's, the last the next time's."""
FILL_LIMIT = 255
"""Most characters of a name or an address that gets a slot; a DNS name has no more (RFC 1035 section 2.3.4)."""
REST_LIMIT = 2_000
"""Most different remainders (issuer, key, trust) of certificates that are numbered."""
PACKED_FROM = 600
"""Texts of this many bytes and more are kept compressed."""

# In JSON text no control character stands raw (RFC 8259 section 7), so these can't be mistaken for what was there.
_MARKS = "".join(map(chr, range(1, len(SLOTS) + 1)))
_NAME, _TIME = _MARKS[0], _MARKS[-1]
_TIMES = re.compile(r'_at": "([^"]*)"')
_TIME_SLOT = f'_at": "{_TIME}"'
_IN_TEXT = re.compile(f"[{SLOTS}]")
# What has no blank, quote or escape, and something that no JSON syntax has, is found as a whole or not at all.
_FINDABLE = re.compile(rf"(?=[^.:]*[.:])[!#-\[\]-~]{{4,{FILL_LIMIT}}}\Z")
_PATH_CERTIFICATES = ("certificates", "direct_certificates")
_OWN_LINE = ("subject", "not_before", "not_after", "sha256", "names")
_encode = json.JSONEncoder(ensure_ascii=False).encode
_strict = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Template:
    """A host's text with marks for slots, and what goes into them."""

    text: str
    """JSON of ``[host, findings]`` in which control characters mark the slots."""
    digest: bytes
    """Of text."""
    base_s: int
    """The first time, in seconds since 1970; 0 where there is none."""
    pattern: str
    """All times in their order, in seconds after the first, as runs: ``0*12,1*3``."""


class Times:
    """Reads ISO 8601 times to the second; a run has few different ones."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def parse(self, text: str) -> int:
        """Return seconds since 1970. Raises ValueError where text is no time."""
        key = text[:19] + text[-6:]
        second = self._known.get(key)
        if second is None:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise ValueError(text)
            second = int(at.astimezone(UTC).replace(microsecond=0).timestamp())
            if len(self._known) > 200_000:
                self._known.clear()
            self._known[key] = second
        return second


def list_others(host: JsonObject) -> list[str]:
    """Return the addresses of a host that are not its name."""
    name = host["name"]
    return [address for address in host["addresses"] if address != name]


def list_certificates(host: JsonObject) -> list[JsonObject]:
    """Return all certificates of a host in the order in which the details number them: endpoints, then paths."""
    own = [item for endpoint in host["endpoints"] for item in endpoint["certificates"]]
    return own + [item for path in host["paths"] for member in _PATH_CERTIFICATES for item in path[member]]


def build_template(host: JsonObject, findings: Sequence[JsonObject], times: Times, *, is_own: bool) -> Template:
    """Return the host's text with slots; with ``is_own`` its name and addresses stay as they are."""
    endpoints = [{**endpoint, "certificates": len(endpoint["certificates"])} for endpoint in host["endpoints"]]
    paths = [{**path, **{member: len(path[member]) for member in _PATH_CERTIFICATES}} for path in host["paths"]]
    text = _encode([{**bound_declared(host), "endpoints": endpoints, "paths": paths}, findings])
    if not text.isascii():
        text = _IN_TEXT.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
    if not is_own:
        name = host["name"]
        if _FINDABLE.match(name):
            text = text.replace(name, _NAME)
        if host["addresses"] != [name]:
            for mark, address in zip(_MARKS[1:-1], list_others(host), strict=False):
                if _FINDABLE.match(address):
                    text = text.replace(address, mark)
    base_s, pattern = 0, ""
    found = _TIMES.findall(text)
    if found:
        try:
            seconds = [times.parse(item) for item in found]
        except ValueError:
            pass
        else:
            base_s = seconds[0]
            pattern = _render_pattern(seconds)
            text = _TIMES.sub(_TIME_SLOT, text)
    data = text.encode("utf-8", "surrogatepass")
    return Template(text, blake2b(data, digest_size=16).digest(), base_s, pattern)


def _render_pattern(seconds: list[int]) -> str:
    base_s = seconds[0]
    if seconds.count(base_s) == len(seconds):
        return f"0*{len(seconds)}"
    return ",".join([f"{second - base_s}*{len([*same])}" for second, same in groupby(seconds)])


def read_form(template_text: str) -> list[Any] | None:
    """Return ``[host, findings]`` with slots, or None where a slot fell into an escape and the text is no JSON."""
    for mark, slot in zip(_MARKS, SLOTS, strict=True):
        template_text = template_text.replace(mark, slot)  # str.translate takes twenty times as long
    try:
        form: list[Any] = _strict.decode(template_text)
    except ValueError:
        return None
    return form


def is_shareable(form: list[Any]) -> bool:
    """Tell whether the slots stand only where texts may differ from host to host."""
    host, findings = form
    same = [host["tags"], host["vendor"], host["farm"], host["cloud"], host["role"], host["readiness"], host["stopped"]]
    same += [[finding[key] for key in ("rule", "title", "advice", "citations")] for finding in findings]
    return not _IN_TEXT.search(_encode(same))


def has_long_text(template_text: str) -> bool:
    """Tell whether a text with slots may be so long that it is cut, which must not depend on what is filled in."""
    present = [mark for mark in _MARKS[:-1] if mark in template_text]
    # Inside a string of JSON a quote stands after a backslash, so this splits no string; mostly it is answer enough.
    pieces = template_text.split('", "')
    if all(len(piece) + FILL_LIMIT * sum(map(piece.count, present)) <= TEXT_LIMIT for piece in pieces):
        return False
    return _has_long_text(read_form(template_text))


def _has_long_text(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) + FILL_LIMIT * len(_IN_TEXT.findall(value)) > TEXT_LIMIT and bool(_IN_TEXT.search(value))
    if isinstance(value, dict):
        return any(_has_long_text(item) for item in (*value, *value.values()))
    return isinstance(value, list) and any(map(_has_long_text, value))


def make_form_readable(form: list[Any]) -> JsonObject:
    """Return ``{"host", "findings"}``, readable, with slots, and with no link that is not https."""
    host, findings = form
    return {"host": make_readable(host, has_slots=True), "findings": make_findings_readable(findings, has_slots=True)}


def make_findings_readable(findings: Sequence[JsonObject], *, has_slots: bool = False) -> list[JsonObject]:
    """Return findings, readable, with no link that is not https."""
    readable = [make_readable(finding, has_slots=has_slots) for finding in findings]
    for finding in readable:
        for citation in finding["citations"]:
            citation["url"] = https_or_nothing(citation["url"])
    return readable


def fill(text: str, name: str, others: Sequence[str]) -> str:
    """Return a text of a form with its slots filled in."""
    for slot, value in zip(SLOTS, (name, *others[:ADDRESS_SLOTS]), strict=False):
        text = text.replace(slot, value)
    return text


class TextPack:
    """Texts by number, the long ones compressed; similar texts compress well against the first of them."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._first = b""

    def __len__(self) -> int:
        return len(self._texts)

    def append(self, text: str) -> None:
        """Add a text; its number is how many there were."""
        data = text.encode("utf-8", "surrogatepass")
        if len(data) >= PACKED_FROM:
            self._first = self._first or data[-32_768:]
            packer = zlib.compressobj(level=1, wbits=-15, zdict=self._first)
            data = b"\0" + packer.compress(data) + packer.flush()
        self._texts.append(data)

    def read(self, number: int) -> str:
        """Return a text by its number."""
        data = self._texts[number]
        if data[:1] == b"\0":
            data = zlib.decompressobj(wbits=-15, zdict=self._first).decompress(data[1:])
        return data.decode("utf-8", "surrogatepass")


class Certificates:
    """Certificates by number, each once, as lines of JSON: the remainder, then subject, validity, digest, names."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._lines = TextPack()
        self._rests: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def number(self, certificate: JsonObject) -> int:
        """Return the number of a certificate, which is added where it is new."""
        text = _encode(certificate)
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        number = self._numbers.get(digest)
        if number is None:
            number = self._numbers[digest] = len(self._lines)
            self._lines.append(self._render(certificate))
        return number

    def _render(self, certificate: JsonObject) -> str:
        rest_text = _encode({key: value for key, value in certificate.items() if key not in _OWN_LINE})
        rest: Any = self._rests.get(rest_text)
        if rest is None:
            if len(self._rests) < REST_LIMIT and len(rest_text) < 10_000:
                rest = self._rests[rest_text] = len(self._rests)
            else:
                rest = make_readable(json.loads(rest_text))
        not_before, not_after = (
            None if certificate[key] is None else cut_to_second(certificate[key]) for key in ("not_before", "not_after")
        )
        names = bound_names([clean_text(name) for name in certificate["names"]])
        line = [
            rest,
            clean_text(certificate["subject"]),
            not_before,
            not_after,
            clean_text(certificate["sha256"]),
            names,
        ]
        return render_data_island(line)

    def line_bytes(self, number: int) -> int:
        """Return the length of a line, about."""
        return len(self._lines.read(number))

    def rests(self) -> list[JsonObject]:
        """Return the numbered remainders."""
        return [make_readable(json.loads(text)) for text in self._rests]

    def iter_lines(self, used: bytearray) -> Iterator[Markup]:
        """Yield each line with its end; an empty one where ``used`` has 0."""
        for number in range(len(self._lines)):
            # It was made by render_data_island and has been packed since.
            yield Markup(f"{self._lines.read(number)}\n") if used[number] else Markup("\n")  # noqa: S704


class FormNodes:
    """Forms in a node table, added as they are used."""

    def __init__(self, texts: TextPack) -> None:
        self.table = NodeTable()
        self._texts = texts
        self._roots: dict[int, int] = {}

    def root(self, number: int) -> int:
        """Return the node of a form."""
        root = self._roots.get(number)
        if root is None:
            form = read_form(self._texts.read(number))
            assert form is not None, "only forms that could be read are kept"  # noqa: S101 - a promise to ourselves
            root = self._roots[number] = self.table.place(make_form_readable(form))
        return root
