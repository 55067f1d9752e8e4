"""The exact change to a haproxy.cfg that gives every leg TLS 1.2 and, where wanted, nothing older. Pure.

First the words of ssl-default-*-options, default-server, default-bind and crt-list files that stand in the way are
changed where they are. A bind or server line that then still lacks what is wanted gets ssl-min-ver and, where a highest
version is in force, ssl-max-ver: these beat whatever it inherits, and replace its own version words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from scanner.importers.claims import settle_claims
from scanner.importers.edits import Edit, Remedy, Wants
from scanner.importers.haproxy_legs import SHARED, Draft, Found, ListEntry, find_legs, read_list, rest_of
from scanner.importers.haproxy_lines import HaproxyLine, Number, Word, parse_version, read_haproxy_lines
from scanner.importers.haproxy_tls import (
    BOUNDS,
    EXCLUDED,
    FORCED,
    SPELLED,
    TOKENS,
    Options,
    claim_of,
    each_word,
    floors_of,
    range_of,
)
from scanner.importers.source import Folder, ReadOptions, SourceFile
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion

_V = TlsVersion
_Edits = dict[tuple[str, int, int], Edit]
"""By file, line and offset in it."""
_CITATION: Final = "https://docs.haproxy.org/2.6/configuration.html#5.1-ssl-min-ver"


def plan_edits(source: SourceFile, folder: Folder, options: ReadOptions, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return the change, or nothing where none is needed; raises ReadError as read does."""
    version = parse_version(options.product_version)
    lines = read_haproxy_lines(source, version)
    found = find_legs(lines, folder, version)
    kinds = {draft.kind for draft in found.drafts if not _is_fine(draft, version, wants)}
    if not kinds:
        return ()
    edits: _Edits = {}
    changed = [_share(line, kinds, wants, edits) for line in lines]
    if any(draft.entry is not None and not _is_fine(draft, version, wants) for draft in found.drafts):
        for file in found.lists.values():
            for entry in read_list(file):
                _change_entry(entry, wants, edits)
    after = find_legs(changed, folder, version)
    # Limits in a crt-list beside no-* words on the bind line are not understood: the line is to have ends of its own.
    waiting = {
        draft.line.place
        for draft in after.drafts
        if not _is_fine(draft, version, wants) and (draft.entry is None or any(each.gap for each in draft.options))
    }
    for draft in after.drafts:
        if draft.entry is None and draft.line.place in waiting:
            _change_line(draft, version, wants, edits)
    if not edits:
        return ()
    return (
        Remedy(
            title="Have HAProxy use TLS 1.2 and nothing older"
            if wants.disable_old
            else "Have HAProxy use TLS 1.2 as well",
            edits=tuple(edits[key] for key in sorted(edits)),
            check_commands=(f"haproxy -c -f {_quoted(source.name)}",),
            activate="reload: systemctl reload haproxy",
            citation=_CITATION,
            cautions=_cautions(found),
        ),
    )


def _quoted(name: str) -> str:
    is_plain = all(char.isalnum() or char in "._/-" for char in name) and not name.startswith("-")
    return name if is_plain else "FILE"


def _cautions(found: Found) -> tuple[str, ...]:
    cautions = ["The words ssl-min-ver and ssl-max-ver need HAProxy 1.8 or newer."]
    if found.missing:
        cautions.append("A crt-list file that was not supplied is not changed; it may limit versions for its names.")
    return tuple(cautions)


def _is_fine(draft: Draft, version: Number | None, wants: Wants) -> bool:
    """Return whether a leg has what is wanted, or nothing can be done about it.

    Judged is what is in force where the line is read at all: conditions and missing files are as they are.
    """
    options = [each for each in draft.options if each.is_tls is not False]
    if any(each.is_tls is None for each in options):
        return True
    for each in options:
        claims = (claim_of(each, draft.kind, version, draft.line.place),)
        states = {setting.version: setting.state for setting in settle_claims(claims)}
        is_old_off = all(state is State.DISABLED for known, state in states.items() if known < _V.TLS1_2)
        if states[_V.TLS1_2] is not State.ENABLED or (wants.disable_old and not is_old_off):
            return False
    return True


def _share(line: HaproxyLine, kinds: set[str], wants: Wants, edits: _Edits) -> HaproxyLine:
    """Return a line that speaks for others as it is after the change."""
    is_global = line.section.kind == "global" and line.name in SHARED and line.name.endswith("-options")
    kind = SHARED[line.name] if is_global else {"default-server": "server", "default-bind": "bind"}.get(line.name, "")
    if kind not in kinds or line.is_header:
        return line
    words = [line.words[0]]
    for word, argument in each_word(line.words[1:], "options" if is_global else kind):
        new = _maybe_shared_word(word, argument, wants, has_exclusions=line.name != "default-server")
        if new is None:
            words += [word] if argument is None else [word, argument]
            continue
        end = (argument or word).end
        _put(edits, line, Word("", word.start, end), new)
        words += [Word(text, word.start, end) for text in new.split()]
    return replace(line, words=tuple(words))


def _maybe_shared_word(word: Word, argument: Word | None, wants: Wants, *, has_exclusions: bool) -> str | None:
    text = word.text
    value = TOKENS.get(argument.text) if argument is not None else None
    if text == "ssl-min-ver" and value is not None:
        is_bad = value > _V.TLS1_2 or (wants.disable_old and value < _V.TLS1_2)
        return "ssl-min-ver TLSv1.2" if is_bad else None
    if text == "ssl-max-ver" and value is not None:
        return "ssl-max-ver TLSv1.2" if wants.disable_old and value < _V.TLS1_2 else None
    if text in FORCED:
        forced = FORCED[text]
        if forced > _V.TLS1_2:
            return "ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3"
        if forced < _V.TLS1_2:
            return "force-tlsv12" if wants.disable_old else f"ssl-min-ver {SPELLED[forced]} ssl-max-ver TLSv1.2"
    if text in EXCLUDED and EXCLUDED[text] is _V.TLS1_2 and has_exclusions:
        return "no-sslv3"  # a list of options may not be empty; SSL 3.0 is off wherever TLS 1.2 is the lowest
    return None


def _change_entry(entry: ListEntry, wants: Wants, edits: _Edits) -> None:
    for word, argument in each_word(entry.words, "bind"):
        value = TOKENS.get(argument.text) if argument is not None else None
        if word.text not in BOUNDS or argument is None or value is None:
            continue
        is_low = word.text == "ssl-min-ver"
        is_bad = value > _V.TLS1_2 or (wants.disable_old and value < _V.TLS1_2) if is_low else value < _V.TLS1_2
        if is_bad:
            place = entry.place
            edits[place.file, place.line or 1, argument.start] = Edit(
                file=place.file, line=place.line or 1, column=argument.start + 1, old=argument.text, new="TLSv1.2"
            )


def _change_line(draft: Draft, version: Number | None, wants: Wants, edits: _Edits) -> None:
    line = draft.line
    new = _wanted(draft, version, wants)
    spans = [
        Word("", word.start, (argument or word).end)
        for word, argument in each_word(rest_of(line), draft.kind)
        if word.text in BOUNDS or word.text in FORCED or word.text in EXCLUDED
    ]
    is_open_ended = any(word.is_list for word in line.words)
    own_tls = next((word for word, _ in each_word(rest_of(line), draft.kind) if word.text == "ssl"), None)
    kept = None if is_open_ended or not spans else spans[0]
    for span in spans:
        if span is kept:
            _put(edits, line, span, new)
        else:
            before = next(word.end for word in reversed(line.words) if word.end <= span.start)
            _put(edits, line, Word("", before, span.end), "")
    if kept is None:
        last = line.words[-1] if is_open_ended or own_tls is None else own_tls
        removed = next((span for span in spans if span.end == last.end), None)
        if removed is not None:
            # What stands last is replaced, so that insertion and removal don't meet in one place.
            before = next(word.end for word in reversed(line.words) if word.end <= removed.start)
            _put(edits, line, Word("", before, removed.end), f" {new}")
        else:
            _put(edits, line, Word("", last.end, last.end), f" {new}")


def _wanted(draft: Draft, version: Number | None, wants: Wants) -> str:
    """Return the words that give a line what it has, with TLS 1.2, without old versions where that is wanted."""
    ranges = [found for each in draft.options if (found := _maybe_range(each, draft.kind, version))]
    has_high = any(each.high is not None or each.has_odd_high or each.gap is not None for each in draft.options)
    if not ranges or len(ranges) < len(draft.options):
        low, high = _V.TLS1_2, _V.TLS1_3
    else:
        low = min(min(found) for found in ranges)
        high = max(max(*found, _V.TLS1_2) for found in ranges)
    low = _V.TLS1_2 if wants.disable_old else min(low, _V.TLS1_2)
    has_low = any(each.low is not None or each.has_odd_low for each in draft.options)
    # A server line without a lowest version goes down as far as OpenSSL does: no word would say it better.
    words = [] if draft.kind == "server" and low is _V.SSL3 and not has_low else [f"ssl-min-ver {SPELLED[low]}"]
    if has_high or high < _V.TLS1_3:
        words.append(f"ssl-max-ver {SPELLED[high]}")
    return " ".join(words)


def _maybe_range(options: Options, kind: str, version: Number | None) -> frozenset[TlsVersion] | None:
    if options.has_odd_low or options.has_odd_high or options.gap is not None:
        return None
    floors: Iterable[TlsVersion | None] = floors_of(version) if kind == "bind" else (None,)
    found = [range_of(options, floor=floor, has_ssl3=True) for floor in floors]
    return frozenset().union(*found) or None


def _put(edits: _Edits, line: HaproxyLine, span: Word, new: str) -> None:
    place = line.place
    old = line.raw[span.start : span.end]
    edits[place.file, place.line or 1, span.start] = Edit(
        file=place.file, line=place.line or 1, column=span.start + 1, old=old, new=new
    )
