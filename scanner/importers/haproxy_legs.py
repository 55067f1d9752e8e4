"""HAProxy's bind and server lines with what is in force for each: defaults, global options, crt-list files. Pure.

Seen with HAProxy 2.6: a proxy without ``from`` inherits from the last ``defaults`` section before it, named or not; a
``defaults`` section without ``from`` begins empty; limits in a crt-list hold for the names of the entry only, the first
one's too; check-ssl concerns health checks alone; a bind line in a peers section takes its default-bind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from scanner.importers.claims import Claim, blank_claim
from scanner.importers.haproxy_lines import HaproxyLine, Number, Section, Word
from scanner.importers.haproxy_tls import BOUNDS, Options, claim_of, each_word, take_words
from scanner.importers.source import MOST_BYTES, MOST_INCLUDES_COUNT, Folder, IncludeRefusedError, ReadError, SourceFile
from scanner.model.declared import Place
from scanner.model.evidence import GapReason

MOST_LEGS_COUNT: Final = 20_000
"""More listeners and servers are refused: no real configuration has as many."""
_MOST_ALTERNATIVES: Final = 8
_PROXIES: Final = frozenset({"frontend", "listen", "backend"})
_TEMPLATE_WORDS: Final = {"server": 3, "peer": 3, "server-template": 4}
SHARED: Final = {
    "ssl-default-bind-options": "bind",
    "ssl-default-bind-ciphers": "bind",
    "ssl-default-server-options": "server",
    "ssl-default-server-ciphers": "server",
}
"""Directives of the global section that say something for all bind or server lines."""

Alternatives = tuple[Options, ...]
"""Of which one is in force; several where an ``.if`` is not settled."""
_NOTHING: Final[Alternatives] = (Options(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntry:
    """A line of a crt-list that has limits of its own."""

    place: Place
    words: tuple[Word, ...]
    """Those within its brackets."""
    names: tuple[str, ...]
    """Its filters; empty for the names of its certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A TLS leg in the making."""

    kind: str
    """``bind`` or ``server``."""
    line: HaproxyLine
    options: Alternatives
    claims: tuple[Claim, ...]
    addresses: tuple[Word, ...]
    """Where it listens or connects, as written."""
    entry: ListEntry | None = None


@dataclass(slots=True)
class Found:
    """What a configuration holds."""

    drafts: list[Draft] = field(default_factory=list)
    lists: dict[str, SourceFile] = field(default_factory=dict)
    """crt-list files by name."""
    missing: list[Place] = field(default_factory=list)
    """Lines whose crt-list was not supplied."""


def rest_of(line: HaproxyLine) -> tuple[Word, ...]:
    """Return the words of a bind, server, default-server or default-bind line that set options."""
    if line.name in {"default-server", "default-bind"}:
        return line.words[1:]
    return line.words[_TEMPLATE_WORDS.get(line.name, 2) :]


def kind_of(line: HaproxyLine) -> str:
    """Return ``bind`` or ``server`` for a line that makes a leg, else an empty text."""
    kind = line.section.kind
    if line.name == "bind" and kind in {"frontend", "listen", "peers", "log-forward"} and len(line.words) > 1:
        return "bind"
    is_place = kind in {"listen", "backend", "peers", "ring"}
    needed = _TEMPLATE_WORDS.get(line.name, 0)
    return "server" if needed and is_place and len(line.words) >= needed else ""


def find_legs(lines: Iterable[HaproxyLine], folder: Folder, version: Number | None) -> Found:
    """Return the TLS legs of a configuration, in its order; raises ReadError where there are too many."""
    return _Walk(folder, version).walk(lines)


class _Walk:
    def __init__(self, folder: Folder, version: Number | None) -> None:
        self._folder = folder
        self._version = version
        self._found = Found()
        self._entries: dict[str, list[ListEntry] | None] = {}
        self._shared: dict[str, Alternatives] = {"bind": _NOTHING, "server": _NOTHING}
        self._default_server: Alternatives = _NOTHING
        self._default_bind: Alternatives = _NOTHING
        self._defaults: dict[str, dict[Section, Alternatives]] = {}
        self._latest: dict[Section, Alternatives] = {}
        self._bytes_count = 0

    def walk(self, lines: Iterable[HaproxyLine]) -> Found:
        for line in lines:
            if line.is_header:
                self._begin(line.section)
            elif line.section.kind == "global" and line.name in SHARED:
                kind = SHARED[line.name]
                self._shared[kind] = _advance(self._shared[kind], _shared_step(line), line)
            elif line.name == "default-server":
                self._default_server = _advance(self._default_server, _default_step(line, "server"), line)
                self._keep(line.section)
            elif line.name == "default-bind" and line.section.kind == "peers":
                steps = [_default_step(line, "bind", shared) for shared in self._shared["bind"]]
                self._default_bind = _advance(self._default_bind, steps[0], line, more=steps[1:])
            elif kind := kind_of(line):
                self._take(line, kind)
        return self._found

    def _begin(self, section: Section) -> None:
        self._default_bind = self._default_server = _NOTHING
        inherits = section.kind in _PROXIES or (section.kind == "defaults" and section.base is not None)
        if inherits:
            self._default_server = self._inherited(section.base)
        if section.kind == "defaults":
            if not section.is_conditional:
                self._latest = {}
            self._keep(section)

    def _keep(self, section: Section) -> None:
        if section.kind == "defaults":
            self._latest[section] = self._default_server
            self._defaults.setdefault(section.name, {})[section] = self._default_server

    def _inherited(self, base: str | None) -> Alternatives:
        sources = self._latest if base is None else self._defaults.get(base)
        if sources is None:
            return (Options(gap=GapReason.NOT_IN_FILE, is_tls=None),)
        return _bounded([each for options in sources.values() for each in options]) or _NOTHING

    def _take(self, line: HaproxyLine, kind: str) -> None:
        rest = rest_of(line)
        if kind == "bind":
            options = _bounded(
                take_words(base, rest, line.place, "bind", shared=shared)
                for base in self._default_bind
                for shared in self._shared["bind"]
            )
        else:
            options = _bounded(
                take_words(base, rest, line.place, "server").beside(shared)
                for base in self._default_server
                for shared in self._shared["server"]
            )
        if all(each.is_tls is False for each in options):
            return
        addresses = line.words[1:2] if kind == "bind" else line.words[_TEMPLATE_WORDS[line.name] - 1 :][:1]
        if kind == "bind" and all(each.startswith("quic") for each in addresses[0].text.split(",")):
            return
        claims = self._claims(line, kind, options)
        entries: list[ListEntry] = []
        if kind == "bind":
            for word, argument in each_word(rest, "bind"):
                if word.text == "crt-list":
                    found = self._list(argument, line.place)
                    if found is None:
                        reason = (
                            "A crt-list file that was not supplied may set ssl-min-ver or ssl-max-ver for its names."
                        )
                        claims = (blank_claim(GapReason.INCLUDE_MISSING, reason, line.place),)
                    entries += found or []
        self._add(Draft(kind=kind, line=line, options=options, claims=claims, addresses=addresses))
        for entry in entries:
            own = _bounded(_with_entry(each, entry) for each in options)
            claims = self._claims(line, kind, own)
            self._add(Draft(kind=kind, line=line, options=own, claims=claims, addresses=addresses, entry=entry))

    def _add(self, draft: Draft) -> None:
        if len(self._found.drafts) >= MOST_LEGS_COUNT:
            raise ReadError(f"{draft.line.place.locator}: more than {MOST_LEGS_COUNT} listeners and servers")
        self._found.drafts.append(draft)

    def _claims(self, line: HaproxyLine, kind: str, options: Alternatives) -> tuple[Claim, ...]:
        if line.is_conditional or (len({each.is_tls for each in options}) > 1):
            reason = "Stands under an .if that the file does not settle."
            return (blank_claim(GapReason.CONDITIONAL, reason, line.place),)
        return tuple(claim_of(each, kind, self._version, line.place) for each in options)

    def _list(self, word: Word | None, place: Place) -> list[ListEntry] | None:
        path = word.text if word else ""
        if path not in self._entries:
            self._entries[path] = self._read_list(path) if word and not word.has_variable else None
        if self._entries[path] is None:
            self._found.missing.append(place)
        return self._entries[path]

    def _read_list(self, path: str) -> list[ListEntry] | None:
        if set(path) & set("*?[") or not path:
            return None
        try:
            files = self._folder.find(path)
        except IncludeRefusedError:
            return None
        if not files:
            return None
        file = files[0]
        self._found.lists[file.name] = file
        self._bytes_count += len(file.data)
        if len(self._found.lists) > MOST_INCLUDES_COUNT or self._bytes_count > MOST_BYTES:
            raise ReadError("the crt-list files are too many, or too much")
        return read_list(file)


def read_list(file: SourceFile) -> list[ListEntry]:
    """Return the entries of a crt-list file that limit versions."""
    found = []
    for number, raw in enumerate(file.text.split("\n"), 1):
        opened = raw.find("[")
        closed = raw.find("]", opened + 1)
        if raw.lstrip().startswith("#") or opened < 0 or closed < 0:
            continue
        words = _plain_words(raw[:closed], opened + 1)
        if any(word.text in BOUNDS for word in words):
            names = tuple(word.text.lower() for word in _plain_words(raw, closed + 1) if not word.text.startswith("!"))
            found.append(ListEntry(place=Place(file=file.name, line=number), words=tuple(words), names=names))
    return found


def _plain_words(text: str, at: int) -> list[Word]:
    words = []
    for part in text[at:].split():
        start = text.index(part, at)
        at = start + len(part)
        words.append(Word(part, start, at))
    return words


def _with_entry(options: Options, entry: ListEntry) -> Options:
    is_by_exclusion = options.low is None and options.high is None and bool(options.excluded)
    found = take_words(options, entry.words, entry.place, "bind")
    # HAProxy takes the ends that the bind line comes to; what no-* words come to depends on its OpenSSL.
    return replace(found, gap=found.gap or (GapReason.UNSUPPORTED if is_by_exclusion else None))


def _shared_step(line: HaproxyLine) -> Callable[[Options], Options]:
    if line.name.endswith("-ciphers"):
        words = (Word("ciphers", 0, 0), *line.words[1:2])
        return lambda options: take_words(options, words, line.place, "bind")
    return lambda options: take_words(options, line.words[1:], line.place, "options")


def _default_step(line: HaproxyLine, kind: str, shared: Options | None = None) -> Callable[[Options], Options]:
    def step(options: Options) -> Options:
        found = take_words(options, line.words[1:], line.place, kind, shared=shared)
        if kind == "bind":
            return found
        return replace(found, excluded=frozenset(), excluded_at=None)

    return step


def _advance(
    before: Alternatives,
    step: Callable[[Options], Options],
    line: HaproxyLine,
    more: Iterable[Callable[[Options], Options]] = (),
) -> Alternatives:
    after = [each(options) for each in (step, *more) for options in before]
    # What is certain within a section that is not, is certain for that section; the global section has no other end.
    may = line.is_conditional and (line.section.kind == "global" or not line.section.is_conditional)
    return _bounded([*before, *after] if may else after)


def _bounded(options: Iterable[Options]) -> Alternatives:
    found = tuple(dict.fromkeys(options))
    return found if len(found) <= _MOST_ALTERNATIVES else (Options(gap=GapReason.CONDITIONAL, is_tls=None),)
