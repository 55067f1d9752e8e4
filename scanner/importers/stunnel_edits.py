"""The exact change to a stunnel.conf that gives every service TLS 1.2 and, where wanted, nothing older. Pure.

Lines that stand in the way are changed where they are, before the first section too. A service that then still has old
versions by default gets a line of its own behind its head.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scanner.importers.claims import settle_claims
from scanner.importers.edits import Edit, Remedy, Wants
from scanner.importers.source import Folder, ReadOptions, SourceFile
from scanner.importers.stunnel_services import (
    BOUNDED_SINCE,
    OPTIONS,
    SPELLED,
    TOKENS,
    Number,
    Service,
    StunnelLine,
    claim_of,
    parse_version,
    read_stunnel_lines,
    services_of,
)
from scanner.model.evidence import State
from scanner.model.versions import TlsVersion

_V = TlsVersion
_CITATION: Final = "https://www.stunnel.org/static/stunnel.html"
_Edits = dict[tuple[str, int, int], Edit]
"""By file, line and offset in it."""


def plan_edits(source: SourceFile, folder: Folder, options: ReadOptions, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return the change, or nothing where none is needed; raises ReadError as read does."""
    version = parse_version(options.product_version)
    found = read_stunnel_lines(source, folder)
    if all(_is_fine(each, version, wants) for each in _judged(services_of(found.lines, ()))):
        return ()
    edits: _Edits = {}
    changed: list[StunnelLine] = []
    for line in found.lines:
        changed += _change(line, version, wants, edits)
    for service in _judged(services_of(changed, ())):
        if not _is_fine(service, version, wants):
            _add(service, source, version, wants, edits)
    if not edits:
        return ()
    return (
        Remedy(
            title="Have stunnel use TLS 1.2 and nothing older"
            if wants.disable_old
            else "Have stunnel use TLS 1.2 as well",
            edits=tuple(edits[key] for key in sorted(edits)),
            activate="reload: send stunnel the HUP signal, or restart it",
            citation=_CITATION,
            cautions=(
                "sslVersionMin and sslVersionMax need stunnel 5.50 or newer with OpenSSL 1.1.0 or newer.",
                "stunnel can't check a file without using it: on an error in it, a reload keeps what it has.",
            ),
        ),
    )


def _judged(services: list[Service]) -> list[Service]:
    """Return the services whose own versions count: not those that another one accepts for."""
    return [each for each in services[1:] or services[:1] if each.is_client or not each.sni]


def _is_fine(service: Service, version: Number | None, wants: Wants) -> bool:
    states = {each.version: each.state for each in settle_claims([claim_of(service, version)])}
    is_old_off = all(state is State.DISABLED for known, state in states.items() if known < _V.TLS1_2)
    return states[_V.TLS1_2] is State.ENABLED and (is_old_off or not wants.disable_old)


def _change(line: StunnelLine, version: Number | None, wants: Wants, edits: _Edits) -> list[StunnelLine]:
    """Return what takes a line's place."""
    texts = _maybe_new(line, version, wants)
    if texts is None:
        return [line]
    old = line.raw[line.column :].rstrip()
    end = "\r\n" if line.raw.endswith("\r") else "\n"
    new = f"{end}{line.raw[: line.column]}".join(texts)
    number = line.place.line or 1
    edits[line.place.file, number, line.column] = Edit(
        file=line.place.file, line=number, column=line.column + 1, old=old, new=new
    )
    pairs = [text.partition(" = ") for text in texts]
    return [replace(line, name=name.lower(), value=value) for name, _, value in pairs]


def _maybe_new(line: StunnelLine, version: Number | None, wants: Wants) -> list[str] | None:
    value = line.value
    if line.name in {"sslversion", "sslversionmin", "sslversionmax"}:
        return _maybe_new_bound(line.name, value.lower(), version, wants)
    if line.name == "options" and (OPTIONS.get(value) is _V.TLS1_2 or value == "NO_SSL_MASK"):
        return ["options = NO_SSLv3"]
    if line.name == "config":
        command, _, argument = value.partition(":")
        known = next((each for each, token in SPELLED.items() if token == argument), None)
        if command.strip().lower() == "protocol":
            return ["config = MinProtocol:TLSv1.2"]
        if command.strip().lower() == "minprotocol":
            is_bad = known is None or known > _V.TLS1_2 or (wants.disable_old and known < _V.TLS1_2)
            return ["config = MinProtocol:TLSv1.2"] if is_bad else None
        if command.strip().lower() == "maxprotocol":
            return ["config = MaxProtocol:TLSv1.2"] if known is None or known < _V.TLS1_2 else None
    return None


def _maybe_new_bound(name: str, word: str, version: Number | None, wants: Wants) -> list[str] | None:
    found = TOKENS.get(word)
    is_bounded = version is None or version >= BOUNDED_SINCE
    if name == "sslversionmin":
        is_bad = found is None or found > _V.TLS1_2 or (wants.disable_old and found < _V.TLS1_2)
        return ["sslVersionMin = TLSv1.2"] if is_bad else None
    if name == "sslversionmax":
        is_bad = found is None or (word != "all" and found < _V.TLS1_2)
        return ["sslVersionMax = TLSv1.2"] if is_bad else None
    if found is _V.TLS1_2 or (word == "all" and not wants.disable_old):
        return None
    if not is_bounded:
        return ["sslVersion = TLSv1.2"] if wants.disable_old or found is None else ["sslVersion = all"]
    if found is None or (wants.disable_old and found < _V.TLS1_2 and word != "all"):
        return ["sslVersion = TLSv1.2"]
    if word == "all" or found > _V.TLS1_2:
        return ["sslVersionMin = TLSv1.2", f"sslVersionMax = {'all' if word == 'all' else 'TLSv1.3'}"]
    return [f"sslVersionMin = {SPELLED[found]}", "sslVersionMax = TLSv1.2"]


def _add(service: Service, source: SourceFile, version: Number | None, wants: Wants, edits: _Edits) -> None:
    is_bounded = version is None or version >= BOUNDED_SINCE
    if wants.disable_old:
        texts = ["sslVersionMin = TLSv1.2" if is_bounded else "sslVersion = TLSv1.2"]
    else:
        # A client with a hole below TLS 1.2 may not offer it; what is cleared stays cleared.
        names = {each: option for option, each in OPTIONS.items() if "." not in option}
        holes = sorted(each for each in service.excluded - service.cleared if _V.SSL3 < each < _V.TLS1_2)
        texts = [f"options = -{names[each]}" for each in holes]
    if not texts:
        return
    head = service.head
    if head is None:
        end = "\r\n" if "\r\n" in source.text else "\n"
        edits[source.name, 1, 0] = _joined(edits, source.name, 1, 0, "".join(f"{text}{end}" for text in texts))
        return
    end = "\r\n" if head.raw.endswith("\r") else "\n"
    at = len(head.raw.rstrip())
    number = head.place.line or 1
    edits[head.place.file, number, at] = Edit(
        file=head.place.file,
        line=number,
        column=at + 1,
        old="",
        new="".join(f"{end}{head.raw[: head.column]}{text}" for text in texts),
    )


def _joined(edits: _Edits, file: str, number: int, at: int, text: str) -> Edit:
    """Return an edit that puts text before whatever is changed at the same place."""
    before = edits.get((file, number, at))
    return Edit(
        file=file,
        line=number,
        column=at + 1,
        old=before.old if before else "",
        new=text + (before.new if before else ""),
    )
