"""Where a file and the wire, or two files, say opposite things of the same thing; from a host's JSON object. Pure.

What was measured at an endpoint stands in one verdict with what files say of it. Connections that a host opens have no
such place: there a file disagrees where all that it says of a version is the opposite of what was measured. Two files
disagree where their legs share a port and a server name, or a destination, and nothing was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from scanner.model.evidence import Basis, State
from scanner.model.subjects import Direction
from scanner.model.versions import TlsVersion
from scanner.reports.objects import JsonObject

MOST_STATEMENTS = 4
"""Statements shown of one side for one version; the host's details have all."""

_WRITTEN = frozenset({Basis.DECLARED.label, Basis.ASSUMED.label})
_OPPOSITE = {State.ENABLED.value: State.DISABLED.value, State.DISABLED.value: State.ENABLED.value}
_WIRE = {
    (Direction.INBOUND.value, State.ENABLED.value): "the host accepts {it}",
    (Direction.INBOUND.value, State.DISABLED.value): "the host refuses {it}",
    (Direction.OUTBOUND.value, State.ENABLED.value): "the host uses {it}",
    (Direction.OUTBOUND.value, State.DISABLED.value): "the host does not use {it}",
}


def find_disputes(host: JsonObject) -> list[JsonObject]:
    """Return each place where declaration and measurement disagree, or two files do; empty for most hosts.

    A place has ``direction``, ``where`` (what of the host, for people), ``is_measured`` (False where two files
    disagree), ``sentence`` (what is wrong, for people) and ``rows``. A row has ``version`` (its label), ``title``, and
    two sides, ``said`` and ``seen``, each with ``state``, ``items`` and ``left_out``; an item has ``file``,
    ``product``, ``reason``, ``basis`` and ``origin``. Where two files disagree, ``seen`` is what the other one says.
    """
    if not host["declared"]:
        return []
    files = {each["sha256"]: each for each in host["declared"]}
    places = []
    for endpoint in host["endpoints"]:
        where = endpoint["locator"].removeprefix("tcp://")
        if endpoint["server_name"] is not None:
            where = f"{where} as {endpoint['server_name']}"
        places.append(_place(where, endpoint["verdicts"], files))
    places += [
        _place(f"{each['method_title']} ({each['scope']})", each["verdicts"], files) for each in host["outbound"]
    ]
    covered = {row["version"] for place in places if place is not None for row in place["rows"] if _is_out(place)}
    disputed = [item for item in host["verdicts"] if item["disputed"]]
    open_side = [item for item in disputed if _is_out(item) and item["version"] not in covered]
    places.append(_outbound_place(host, open_side))
    places += _between_files(host["declared"], {(item["direction"], item["version"]) for item in disputed})
    return [place for place in places if place is not None]


def pending_restart(host: JsonObject) -> str:
    """Return what shows that a restart is pending, which may explain a dispute; empty where nothing does."""
    found = (check for check in host["checks"] if check["id"] == "restart-pending" and check["state"] == "yes")
    return next((str(check["detail"]) for check in found), "")


def _is_out(item: JsonObject) -> bool:
    return bool(item["direction"] == Direction.OUTBOUND.value)


def _place(where: str, verdicts: Iterable[JsonObject], files: dict[str, JsonObject]) -> JsonObject | None:
    """Return what one scope's verdicts dispute, or None."""
    rows, direction = [], Direction.INBOUND.value
    for verdict in verdicts:
        if not verdict["disputed"]:
            continue
        direction = verdict["direction"]
        items = [*verdict["evidence"], *verdict["opposing"]]
        written = [item for item in items if item["basis"] in _WRITTEN]
        seen = [item for item in items if item["basis"] not in _WRITTEN and item["state"] == verdict["state"]]
        said = [item for item in written if item["state"] != verdict["state"]]
        if said and seen:
            rows.append(_row(verdict["version"], _side(_written(said, files)), _side(_measured(seen))))
    return _dispute(where, direction, rows)


def _written(items: Iterable[JsonObject], files: dict[str, JsonObject]) -> Iterator[JsonObject]:
    for item in items:
        file = files.get(item["facts"].get("sha256", ""))
        yield {
            "file": item["origin"] if file is None else file["file"],
            "product": item["facts"].get("product", item["source"]) if file is None else product_of(file),
            "reason": item["reason"],
            "basis": item["basis"],
            "origin": item["origin"],
            "state": item["state"],
        }


def _measured(items: Iterable[JsonObject]) -> Iterator[JsonObject]:
    for item in items:
        own = {name: item[name] for name in ("reason", "basis", "origin", "state")}
        yield {"file": "", "product": item["source"], **own}


def product_of(file: JsonObject) -> str:
    """Return the product of a member of ``declared`` with its version, for people."""
    version = file["product_version"]
    return str(file["product"]) if version is None else f"{file['product']} {version}"


def render_origin(setting: JsonObject, file: JsonObject) -> str:
    """Return where a setting of a file is written, as Place.locator has it; the file where it is a default."""
    place = setting["place"]
    if place is None:
        return str(file["file"])
    text = place["file"] if place["line"] is None else f"{place['file']}:{place['line']}"
    return f"{text} {place['key']}" if place["key"] else str(text)


def _item(file: JsonObject, setting: JsonObject) -> JsonObject:
    return {
        "file": file["file"],
        "product": product_of(file),
        "reason": setting["reason"],
        "basis": setting["basis"],
        "origin": render_origin(setting, file),
        "state": setting["state"],
    }


def _outbound_place(host: JsonObject, verdicts: Iterable[JsonObject]) -> JsonObject | None:
    """Return where all that a file says of the connections the host opens is the opposite of what was measured."""
    rows, clients = [], {}
    for verdict in verdicts:
        version = verdict["version"]
        seen = [
            (client, item)
            for client in host["outbound"]
            for own in client["verdicts"]
            if own["version"] == version
            for item in own["evidence"]
            if item["basis"] not in _WRITTEN
        ]
        states = {item["state"] for _, item in seen}
        if not states:
            continue
        state = State.ENABLED.value if State.ENABLED.value in states else State.DISABLED.value
        said = [item for file in host["declared"] for item in _opposite(file, version, state)]
        if said:
            own_clients = {client["scope"]: client["method_title"] for client, item in seen if item["state"] == state}
            clients.update(own_clients)
            measured = _measured(item for _, item in seen if item["state"] == state)
            rows.append(_row(version, _side(said), _side(measured)))
    named = [f"{title} ({scope})" for scope, title in clients.items()]
    more = f" and {len(named) - 1} more" if len(named) > 1 else ""
    return _dispute(f"{named[0]}{more}" if named else "", Direction.OUTBOUND.value, rows)


def _opposite(file: JsonObject, version: str, state: str) -> list[JsonObject]:
    """Return what a file says of a version outbound; nothing where any of it agrees or is left open."""
    found = []
    for leg in file["legs"]:
        if leg["direction"] != Direction.OUTBOUND.value or leg["is_management"]:
            continue
        setting = _setting(leg, version)
        if leg["is_permission"] and setting["state"] != State.DISABLED.value:
            continue  # what is allowed need not be used
        if setting["state"] != _OPPOSITE[state]:
            return []
        found.append(_item(file, setting))
    return found


def _setting(leg: JsonObject, version: str) -> JsonObject:
    found: JsonObject = next(each for each in leg["settings"] if each["version"] == version)
    return found


def _between_files(declared: Sequence[JsonObject], disputed: set[tuple[str, str]]) -> Iterator[JsonObject | None]:
    """Yield where two files say opposite things of one listener, stack or destination; nothing was measured there."""
    if len(declared) < 2 or not disputed:
        return
    by_key: list[dict[tuple[Any, ...], JsonObject | None]] = []
    for file in declared:
        own: dict[tuple[Any, ...], JsonObject | None] = {}
        for leg in file["legs"]:
            if leg["is_management"] or leg["measured_scopes"]:
                continue
            for key in _keys(leg):
                # Two legs of one file at the same place: which of them holds there is not known.
                own[key] = None if own.get(key, leg) is not leg else leg
        by_key.append(own)
    for (one_file, one), (other_file, other) in combinations(zip(declared, by_key, strict=True), 2):
        done: set[tuple[str, str]] = set()
        for key, leg in one.items():
            against = other.get(key)
            if leg is None or against is None or (leg["scope"], against["scope"]) in done:
                continue
            done.add((leg["scope"], against["scope"]))
            rows = []
            for setting, answer in zip(leg["settings"], against["settings"], strict=True):
                is_shown = (leg["direction"], setting["version"]) in disputed
                if is_shown and setting["state"] == _OPPOSITE.get(answer["state"]):
                    sides = _side([_item(one_file, setting)]), _side([_item(other_file, answer)])
                    rows.append(_row(setting["version"], *sides))
            yield _dispute(_name(leg, key), leg["direction"], rows, is_measured=False)


def _keys(leg: JsonObject) -> Iterator[tuple[Any, ...]]:
    if _is_out(leg):
        ends = leg["destinations"] or [None]
        yield from (("to", end, "" if end else leg["name"]) for end in ends)
    elif leg["listens"]:
        yield from (("at", listen["port"], name) for listen in leg["listens"] for name in leg["server_names"] or [""])
    else:
        yield "in", leg["name"], ""


def _name(leg: JsonObject, key: tuple[Any, ...]) -> str:
    kind, place, name = key
    if kind == "at" and place is not None:
        return f"port {place} as {name}" if name else f"port {place}"
    return str(place) if kind == "to" and place is not None else str(leg["name"])


def _row(version: str, said: JsonObject, seen: JsonObject) -> JsonObject:
    return {"version": version, "title": TlsVersion.from_label(version).title, "said": said, "seen": seen}


def _side(items: Iterable[JsonObject]) -> JsonObject:
    found = list({tuple(item.items()): item for item in items}.values())
    return {
        "state": found[0]["state"],
        "items": found[:MOST_STATEMENTS],
        "left_out": max(0, len(found) - MOST_STATEMENTS),
    }


def _dispute(where: str, direction: str, rows: list[JsonObject], *, is_measured: bool = True) -> JsonObject | None:
    if not rows:
        return None
    return {
        "direction": direction,
        "where": where,
        "is_measured": is_measured,
        "sentence": _sentence(direction, rows, is_measured=is_measured),
        "rows": rows,
    }


def _sentence(direction: str, rows: Iterable[JsonObject], *, is_measured: bool) -> str:
    """Return ``nginx.conf turns TLS 1.0 and TLS 1.1 off, but the host accepts them``, a clause for each way round."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        said, seen = row["said"], row["seen"]
        files = _join(dict.fromkeys(item["file"] for item in said["items"]))
        others = _join(dict.fromkeys(item["file"] for item in seen["items"]))
        is_assumed = all(item["basis"] == Basis.ASSUMED.label for item in said["items"])
        key = (files, said["state"], "by default" if is_assumed else "", seen["state"], others)
        groups.setdefault(key, []).append(row["title"])
    clauses = []
    for (files, state, default, seen_state, others), titles in groups.items():
        switch = "on" if state == State.ENABLED.value else "off"
        verb = f"leaves {_join(titles)} {switch} by default" if default else f"has {_join(titles)} {switch}"
        if not default and switch == "off":
            verb = f"turns {_join(titles)} off"
        it = "them" if len(titles) > 1 else "it"
        answer = f"{others} has {it} {'on' if switch == 'off' else 'off'}"
        if is_measured:
            answer = _WIRE[direction, seen_state].format(it=it)
        clauses.append(f"{files} {verb}, but {answer}")
    return "; ".join(clauses)


def _join(texts: Iterable[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
