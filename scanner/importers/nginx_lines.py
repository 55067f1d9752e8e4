"""What becomes of each directive of an nginx configuration, and which includes were not supplied. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from crossplane.analyzer import DIRECTIVES

from scanner.importers.nginx_tree import Block, Missing, Statement, Tree, is_opaque
from scanner.model.declared import LineNote, LineState

_MOST_NOTES_COUNT: Final = 200
PASSES: Final = {
    "proxy_pass": ("proxy_", "https"),
    "grpc_pass": ("grpc_", "grpcs"),
    "uwsgi_pass": ("uwsgi_", "suwsgi"),
}
"""Directives that open connections: prefix of their TLS directives, and the scheme that means TLS."""
_SUPPORTED: Final = frozenset(
    {
        "http",
        "stream",
        "mail",
        "server",
        "location",
        "upstream",
        "include",
        "listen",
        "server_name",
        "ssl",
        "ssl_preread",
    }
    | {"ssl_reject_handshake", "proxy_ssl", *PASSES}
    | {f"{prefix}ssl_{name}" for prefix in ("", "proxy_", "grpc_", "uwsgi_") for name in ("protocols", "ciphers")}
    | {f"{prefix}ssl_conf_command" for prefix in ("", "proxy_", "grpc_", "uwsgi_")}
)
_UNIMPLEMENTED: Final = {
    "js_fetch_protocols": "TLS connections that njs opens are not read",
    "ssl_client_hello_by_lua_block": "a script that may set the versions",
    "ssl_client_hello_by_lua_file": "a script that may set the versions",
}


def all_missing(tree: Tree, tops: list[Block]) -> list[Missing]:
    """Return every include that was not supplied, in no block twice."""
    found: list[Missing] = [*tree.root.missing]
    waiting = [*reversed([*tree.root.blocks, *tops])]
    seen: set[int] = set()
    while waiting:
        block = waiting.pop()
        if id(block) not in seen:
            seen.add(id(block))
            found += block.missing
            waiting += reversed(block.blocks)
    return found


def judge_lines(tree: Tree) -> tuple[tuple[tuple[LineState, int], ...], tuple[LineNote, ...]]:
    """Return how many directives each state has, and those worth a note; a line counts where a directive begins."""
    counts: Counter[LineState] = Counter()
    notes: list[LineNote] = []
    missing = {each.place: each.detail for each in all_missing(tree, [])}
    for block, statement in tree.all:
        state, detail = _state_of(block, statement)
        if statement.name == "include" and statement.place in missing:
            state, detail = LineState.UNIMPLEMENTED, missing[statement.place]
        counts[state] += 1
        is_worth = state not in {LineState.SUPPORTED, LineState.IRRELEVANT}
        # What stands in a block that is not known may be a value: no text of it is kept.
        is_safe = re.fullmatch(r"[a-z][a-z0-9_]{0,63}", statement.name) and (not block.name or block.name in DIRECTIVES)
        if is_worth and is_safe and len(notes) < _MOST_NOTES_COUNT:
            notes.append(LineNote(place=statement.place, state=state, text=statement.name, detail=detail))
    return tuple((state, counts[state]) for state in LineState if counts[state]), tuple(notes)


def _state_of(block: Block, statement: Statement) -> tuple[LineState, str]:
    name = statement.name
    if is_opaque(block):
        return LineState.IRRELEVANT, ""
    if name in _UNIMPLEMENTED:
        return LineState.UNIMPLEMENTED, _UNIMPLEMENTED[name]
    if name in PASSES and any(level.name == "if" for level in block.path()):
        return LineState.CONDITIONAL, "used only where the condition around it holds"
    if name in _SUPPORTED:
        return LineState.SUPPORTED, ""
    if name in DIRECTIVES or "_by_lua" in name:
        return LineState.IRRELEVANT, ""
    return LineState.UNRECOGNISED, "not a directive that is known of nginx"


def flag(block: Block, name: str) -> bool:
    """Return whether a directive is ``on`` in a block, by inheritance; it is off where nothing sets it."""
    found = next((level.statements[name] for level in block.path() if name in level.statements), [])
    return bool(found) and found[-1].args[:1] == ("on",)


def outbound_passes(top: Block) -> list[tuple[Block, Statement, str]]:
    """Return each directive that opens connections with TLS, or may: its block, itself, its directives' prefix."""
    found = []
    waiting = [*reversed(top.blocks)]
    while waiting:
        block = waiting.pop()
        if is_opaque(block):
            continue
        waiting += reversed(block.blocks)
        for name, (prefix, scheme) in PASSES.items():
            for statement in block.statements.get(name, []):
                target = statement.args[0] if statement.args else ""
                if top.name == "stream":
                    is_tls = name == "proxy_pass" and flag(block, "proxy_ssl")
                else:
                    is_tls = target.lower().startswith(f"{scheme}://") or target.startswith("$")
                if top.name != "mail" and is_tls:
                    found.append((block, statement, prefix))
    return found
