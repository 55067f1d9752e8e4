"""The hosts of the HTML report, collected while they pass: some hundred bytes a host, whatever was said of it. Pure.

Positions number the hosts as the source has them, places as people sort their names. Everything that is written stands
in the order of places, so that no rank has to be stored.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import quote

from scanner.model.evidence import State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS
from scanner.reports.html_data import READINESS_ORDER, SEVERITIES, clean_text, natural_key
from scanner.reports.html_declared import DisputeList
from scanner.reports.html_findings import FindingGroups, FindingSet
from scanner.reports.html_forms import (
    Certificates,
    FormNodes,
    Template,
    TextPack,
    Times,
    build_template,
    fill,
    has_long_text,
    is_shareable,
    list_certificates,
    list_others,
    make_findings_readable,
    read_form,
)
from scanner.reports.objects import JsonObject
from scanner.reports.source import declared_legs, has_outbound

FORM_BYTES = 6_000_000
"""About how many bytes of forms are kept; what is beyond the worst hosts' details is left out."""
DETAIL_BYTES = 26_000_000
"""About how many bytes of details a file holds."""
_VALUES_BYTES = 24
"""What the numbers of a host's details take in the file."""
_PART, _ITEM = "\f", "\v"
"""Between the parts of an extra, and between its addresses; clean text holds neither."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the table shows of hosts, and is the same for many."""

    role: str
    readiness: str
    states: str
    """A letter a version."""
    tones: str
    """A letter of the worst severity a version, or ``-``."""
    disputed: int
    """Bit mask over versions."""
    counts: tuple[int, ...]
    """Findings by severity."""
    tags: tuple[str, ...]
    rules: tuple[str, ...]
    words: str
    """Vendor, farm, cloud and what a proxy does to TLS, for the search."""
    outbound: tuple[str, str, int] | None = None
    """States, tones and disputed of the outbound side; None where nothing tells of it."""
    ways: tuple[str, ...] = ()
    """What it does to TLS on the way to the listener, where it is a proxy: values of PathKind."""

    @property
    def rank(self) -> tuple[int, ...]:
        """Sort key: the worst first."""
        return (READINESS_ORDER.index(self.readiness), *(-count for count in self.counts))


@dataclass(frozen=True, slots=True)
class _Form:
    number: int
    kind: int
    reason: str
    findings: FindingSet


class HostTable:
    """All hosts of a report, in columns."""

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.kind_host_counts: list[int] = []
        self.groups = FindingGroups()
        self.certificates = Certificates()
        self.disputes = DisputeList()
        self.stopped_count = 0
        self.file_count = 0
        self.networks: list[str] = []
        self._names: list[str] = []
        self._kind_numbers: dict[Kind, int] = {}
        self._kind = array("I")
        self._form = array("I")
        self._reasons: list[str] = []
        self._base = array("q")
        self._pattern = array("I")
        self._patterns: dict[str, int] = {}
        self._extra = array("I")
        self._extras: dict[str, int] = {}
        self._extra_list: list[str] = []
        self._certificate = array("i")
        self._more_certificates: dict[int, list[int]] = {}
        self._network = array("i")
        self._network_numbers: dict[str, int] = {}
        self._forms: dict[bytes, _Form | None] = {}
        self._form_texts = TextPack()
        self._times = Times()
        self._again: dict[int, int] = {}
        self._places: array[int] = array("I")

    def __len__(self) -> int:
        return len(self._names)

    # Collecting

    def add(self, host: JsonObject, findings: Sequence[JsonObject]) -> None:
        """Take the next host with its own findings."""
        template, form = self._find_form(host, findings)
        position = len(self._names)
        name = clean_text(host["name"])
        self._names.append(name)
        self._form.append(form.number)
        self._kind.append(form.kind)
        self.kind_host_counts[form.kind] += 1
        form.findings.add(position)
        self.disputes.add(position, self.kinds[form.kind].rank, host)
        self._base.append(template.base_s)
        self._pattern.append(self._patterns.setdefault(template.pattern, len(self._patterns)))
        self._extra.append(self._number_extra(host, name))
        self._network.append(self._number_network(host))
        self.stopped_count += host["stopped"] is not None
        self.file_count += len(host["declared"])
        certificates = list_certificates(host)
        self._certificate.append(self.certificates.number(certificates[0]) if certificates else -1)
        if len(certificates) > 1:
            self._more_certificates[position] = [self.certificates.number(item) for item in certificates[1:]]

    def _find_form(self, host: JsonObject, findings: Sequence[JsonObject]) -> tuple[Template, _Form]:
        template = build_template(host, findings, self._times, is_own=False)
        form = self._forms.get(template.digest)
        if form is not None:
            return template, form
        if template.digest not in self._forms:
            read = read_form(template.text)
            if read is not None and is_shareable(read) and not has_long_text(template.text):
                return template, self._add_form(template, read[0], host, findings)
            self._forms[template.digest] = None  # hosts with this text have a form each
        template = build_template(host, findings, self._times, is_own=True)
        form = self._forms.get(template.digest)
        return template, form or self._add_form(template, host, host, findings)

    def _add_form(
        self, template: Template, with_slots: JsonObject, host: JsonObject, findings: Sequence[JsonObject]
    ) -> _Form:
        readable = make_findings_readable(findings)
        kind = _build_kind(host, readable)
        number = self._kind_numbers.get(kind)
        if number is None:
            number = self._kind_numbers[kind] = len(self.kinds)
            self.kinds.append(kind)
            self.kind_host_counts.append(0)
        reason = clean_text(with_slots["readiness_reason"], has_slots=True)
        form = _Form(len(self._form_texts), number, reason, self.groups.plan(readable))
        self._form_texts.append(template.text)
        self._reasons.append(reason)
        self._forms[template.digest] = form
        return form

    def _number_extra(self, host: JsonObject, name: str) -> int:
        others = [clean_text(address) for address in list_others(host)]
        rest = [clean_text(item) for item in (*host["cname_chain"], host["target"]) if item and item != name]
        extra = _PART.join([_ITEM.join(others), "\n".join(rest)]) if others or rest else ""
        return self._extras.setdefault(extra, len(self._extras))

    def _number_network(self, host: JsonObject) -> int:
        network = maybe_network(host["name"])
        if network is None and host["addresses"]:
            network = maybe_network(host["addresses"][0])
        if network is None:
            return -1
        number = self._network_numbers.get(network)
        if number is None:
            number = self._network_numbers[network] = len(self.networks)
            self.networks.append(network)
        return number

    # Reading, once all are there

    def finish(self) -> None:
        """Put the hosts in order. Call it once, after the last was added."""
        keys = [natural_key(name) for name in self._names]
        names = self._names
        self._extra_list = list(self._extras)
        self._places = array("I", sorted(range(len(names)), key=lambda position: (keys[position], names[position])))
        before, again = None, 1
        for position in self._places:
            again = again + 1 if names[position] == before else 1
            before = names[position]
            if again > 1:
                self._again[position] = again

    def places(self) -> Sequence[int]:
        """Return the positions in the order of the names."""
        return self._places

    def worst_first(self) -> array[int]:
        """Return the positions, worst first and by name among equals."""
        ranks = [kind.rank for kind in self.kinds]
        order = {rank: place for place, rank in enumerate(sorted(set(ranks)))}
        buckets = [array("I") for _ in order]
        for position in self._places:
            buckets[order[ranks[self._kind[position]]]].append(position)
        return array("I", (position for bucket in buckets for position in bucket))

    def kind(self, position: int) -> Kind:
        """Return what the table shows of a host."""
        return self.kinds[self._kind[position]]

    def network(self, position: int) -> int:
        """Return the number of a host's network, or -1."""
        return self._network[position]

    def name(self, position: int) -> str:
        """Return a host's name, readable."""
        return self._names[position]

    def render_host(self, position: int) -> JsonObject:
        """Return the name and the anchor of a host, for links to it."""
        name = self._names[position]
        again = self._again.get(position)
        return {"name": name, "anchor": quote(name if again is None else f"{name}~{again}", safe="")}

    def render_row(self, position: int) -> JsonObject:
        """Return what the table that needs no JavaScript shows of a host."""
        kind = self.kind(position)
        return {
            **self.render_host(position),
            "role": kind.role,
            "readiness": kind.readiness,
            "reason": fill(self._reasons[self._form[position]], self._names[position], self._others(position)),
            "cells": render_cells(kind.states, kind.tones, kind.disputed),
            "outbound_cells": render_cells(*kind.outbound) if kind.outbound else [],
            "ways": kind.ways,
            "counts": kind.counts,
        }

    def _others(self, position: int) -> list[str]:
        first = self._extra_list[self._extra[position]].split(_PART)[0]
        return first.split(_ITEM) if first else []

    def columns(self, networks: array[int] | None) -> dict[str, Any]:
        """Return the columns of the index in the order of places: numbers as arrays, texts as one text a column."""
        places = self._places
        columns: dict[str, Any] = {
            "names": (self._names[position] for position in places),
            "extras": iter(self._extras),
            "kind": array("I", (self._kind[position] for position in places)),
            "extra": array("I", (self._extra[position] for position in places)),
            "again": {place: self._again[position] for place, position in enumerate(places) if position in self._again},
        }
        if networks is not None:
            columns["net"] = array("i", (networks[position] for position in places))
        return columns

    def details(self) -> tuple[Mapping[str, Any], bytearray, int]:
        """Return the details' node table and columns, which certificates they use, and how many hosts have them."""
        nodes = FormNodes(self._form_texts)
        roots: dict[int, int] = {}
        used = bytearray(len(self.certificates))
        form = array("i", [-1]) * len(self._names)
        spent = shown_count = 0
        for position in self.worst_first():
            number = self._form[position]
            if number not in roots:
                if nodes.table.text_bytes > FORM_BYTES:
                    break
                roots[number] = nodes.root(number)
            form[position] = roots[number]
            shown_count += 1
            spent += _VALUES_BYTES
            for item in self._certificates_of(position):
                if not used[item]:
                    used[item] = 1
                    spent += self.certificates.line_bytes(item)
            if spent + nodes.table.text_bytes > DETAIL_BYTES:
                break
        rests = [nodes.table.place(rest) for rest in self.certificates.rests()]
        places = self._places
        more = ((place, self._more_certificates.get(position)) for place, position in enumerate(places))
        columns = {
            **nodes.table.encode(),
            "rests": rests,
            "patterns": list(self._patterns),
            "more": {place: items for place, items in more if items},
            "form": array("i", (form[position] for position in places)),
            "base": array("q", (self._base[position] for position in places)),
            "pattern": array("I", (self._pattern[position] for position in places)),
            "certificate": array("i", (self._certificate[position] for position in places)),
        }
        return columns, used, shown_count

    def _certificates_of(self, position: int) -> Iterator[int]:
        if self._certificate[position] >= 0:
            yield self._certificate[position]
            yield from self._more_certificates.get(position, ())


def _build_kind(host: JsonObject, findings: Sequence[JsonObject]) -> Kind:
    said = [finding["severity"] for finding in findings]
    clients = {client["scope"] for client in host["outbound"]}
    clients.update(leg["scope"] for _, leg in declared_legs(host, Direction.OUTBOUND))
    is_asked = has_outbound(host)
    ways = tuple(dict.fromkeys(path["kind"] for path in host["paths"] if path["is_listener"]))
    about = [findings, findings]
    if is_asked:
        # A finding says which side it is about by its scopes; one about the whole host has none.
        about[0] = [each for each in findings if not each["scopes"] or not clients.issuperset(each["scopes"])]
        about[1] = [each for each in findings if not clients.isdisjoint(each["scopes"])]
    states, tones, disputed = _build_side(host, Direction.INBOUND, about[0])
    return Kind(
        role=host["role"],
        readiness=host["readiness"],
        states=states,
        tones=tones,
        disputed=disputed,
        counts=tuple(map(said.count, SEVERITIES)),
        tags=tuple(dict.fromkeys(map(clean_text, host["tags"]))),
        rules=tuple(sorted({finding["rule"] for finding in findings})),
        words="\n".join([*(clean_text(host[key]) for key in ("vendor", "farm", "cloud") if host[key]), *ways]),
        outbound=_build_side(host, Direction.OUTBOUND, about[1]) if is_asked else None,
        ways=ways,
    )


def _build_side(host: JsonObject, direction: Direction, findings: Sequence[JsonObject]) -> tuple[str, str, int]:
    """Return states, tones and disputed of one direction; findings: those about it."""
    own = {item["version"]: item for item in host["verdicts"] if item["direction"] == direction.value}
    states, tones, disputed = "", "", 0
    for place, version in enumerate(ALL_VERSIONS):
        verdict = own.get(version.label)
        severities = [finding["severity"] for finding in findings if version.label in finding["versions"]]
        states += (verdict["state"] if verdict else State.UNKNOWN.value)[0]
        tones += min(severities, key=SEVERITIES.index)[0] if severities else "-"
        disputed |= bool(verdict and verdict["disputed"]) << place
    return states, tones, disputed


def render_cells(states: str, tones: str, disputed: int) -> list[JsonObject]:
    """Return a cell a version for the templates."""
    state_of = {state.value[0]: state.value for state in State}
    severity_of = {severity[0]: severity for severity in SEVERITIES}
    return [
        {
            "version": version.title,
            "state": state_of[states[place]],
            "is_disputed": bool(disputed >> place & 1),
            "severity": severity_of.get(tones[place], ""),
        }
        for place, version in enumerate(ALL_VERSIONS)
    ]


def maybe_network(text: str) -> str | None:
    """Return the /24 of an IPv4 address or the /64 of an IPv6 address; None where text is neither."""
    if text.count(".") == 3 and text.isascii() and text.replace(".", "").isdecimal():
        return f"{text[: text.rindex('.')]}.0/24"
    if ":" not in text:
        return None
    try:
        number = int(IPv6Address(text.partition("%")[0]))
    except ValueError:
        return None
    return f"{IPv6Address(number >> 64 << 64)}/64"
