"""The exact change to an nginx configuration that gives every leg TLS 1.2 and, where wanted, nothing older. Pure.

Every directive that stands in the way is changed where it is; where a default would allow old versions, a directive is
put at the top of the http, stream or mail block (of the server, in a file that holds only servers). What a missing
include or a Lua handler says stays as it is.
"""

from __future__ import annotations

from typing import Final

from scanner.importers.edits import Edit, Remedy, Wants, position_of
from scanner.importers.nginx_lines import flag, outbound_passes
from scanner.importers.nginx_tls import (
    OLD,
    VersionRange,
    Versions,
    maybe_commanded,
    maybe_named,
    parse_version,
    rules_of,
    rules_versions,
    settings_of,
    spell,
)
from scanner.importers.nginx_tree import Block, Statement, Tree, is_made_up, top_blocks
from scanner.importers.source import Folder, ReadOptions, SourceFile
from scanner.model.evidence import State
from scanner.model.versions import ALL_VERSIONS, TlsVersion

_PREFIXES: Final = ("", "proxy_", "grpc_", "uwsgi_")
_TLS1_2: Final = frozenset({TlsVersion.TLS1_2})
_MODERN: Final = frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3})
_CITATION: Final = "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_protocols"

_Key = tuple[str, int, int]
"""A file, and the offsets where the replaced text begins and ends."""


def plan_edits(source: SourceFile, folder: Folder, options: ReadOptions, *, wants: Wants) -> tuple[Remedy, ...]:
    """Return the change, or nothing where none is needed; raises ReadError as read does."""
    tree = Tree(source, folder)
    versions = parse_version(options.product_version)
    protocols: dict[_Key, tuple[Statement, Versions]] = {}
    texts: dict[_Key, str] = {}
    for top in top_blocks(tree):
        for block in _blocks(top):
            for prefix in _PREFIXES:
                _plan_protocols(block, prefix, wants, protocols)
                _plan_commands(block, prefix, wants, texts)
        if wants.disable_old:
            # nginx knows the word since 1.13.0, and ignores it where OpenSSL has no TLS 1.3.
            inserted = _TLS1_2 if versions.high < (1, 13, 0) else _MODERN
            for block, prefix in _defaulted(top, versions):
                line = f"{prefix}ssl_protocols {spell(inserted)};"
                _insert(block if is_made_up(top) else top, line, tree, texts)
    for key, (statement, wanted) in protocols.items():
        texts[key] = f"{statement.name} {spell(wanted)};"
    if not texts:
        return ()
    return (
        Remedy(
            title="Have nginx use TLS 1.2 and nothing older" if wants.disable_old else "Have nginx use TLS 1.2 as well",
            edits=tuple(_edit(tree.sources[key[0]], key, new) for key, new in sorted(texts.items())),
            check_commands=("nginx -t",),
            activate="reload: nginx -s reload",
            citation=_CITATION,
            cautions=("The word TLSv1.3 needs nginx 1.13.0 or newer; with an older one, leave it out.",),
        ),
    )


def _blocks(top: Block) -> list[Block]:
    found: list[Block] = []
    waiting = [top]
    while waiting:
        block = waiting.pop()
        found.append(block)
        waiting += block.blocks
    return found


def _plan_protocols(block: Block, prefix: str, wants: Wants, protocols: dict[_Key, tuple[Statement, Versions]]) -> None:
    """Plan the changes of one block's directives, which nginx unites.

    A file that is included twice stands in two blocks: what either of them needs is added.
    """
    statements = block.statements.get(f"{prefix}ssl_protocols", [])
    each_named = [maybe_named([statement]) or frozenset() for statement in statements]
    union = frozenset[TlsVersion]().union(*each_named)
    added = frozenset() if union >= _TLS1_2 else _TLS1_2
    if prefix and not wants.disable_old and union:
        # OpenSSL's client offers the lowest unbroken run of versions only.
        added |= {each for each in ALL_VERSIONS if min(union) < each <= TlsVersion.TLS1_2} - union
    for statement, named in zip(statements, each_named, strict=True):
        wanted = ((named - OLD if wants.disable_old else named) | added) or _TLS1_2
        key = _key(statement)
        if wanted != named:
            before = protocols[key][1] if key in protocols else frozenset()
            protocols[key] = statement, wanted | before


def _plan_commands(block: Block, prefix: str, wants: Wants, texts: dict[_Key, str]) -> None:
    for statement in rules_versions(block.statements.get(f"{prefix}ssl_conf_command", [])):
        command, value = statement.args[0].lower(), statement.args[1]
        bounds = {"minprotocol": "TLSv1.2", "maxprotocol": "TLSv1.3"}
        kept = maybe_commanded(frozenset(ALL_VERSIONS), [statement])
        added = maybe_commanded(frozenset(), [statement])
        if command in bounds:
            is_fine = kept is not None and kept >= _TLS1_2
            new = bounds[command]
        else:
            is_fine = kept is not None and kept >= _TLS1_2 and not (wants.disable_old and added and added & OLD)
            new = "-ALL,TLSv1.2,TLSv1.3" if wants.disable_old else "TLSv1.2"
            new = f"{value},{new}" if kept is not None and not wants.disable_old else new
        if not is_fine:
            texts[_key(statement)] = f'{statement.name} {statement.args[0]} "{new}";'


def _key(statement: Statement) -> _Key:
    return statement.place.file, statement.start, statement.end


def _defaulted(top: Block, versions: VersionRange) -> list[tuple[Block, str]]:
    """Return the blocks of legs whose versions nothing sets, where the default may allow old ones."""
    legs = [(block, "") for block in top.blocks if block.name == "server" and _may_accept_tls(block)]
    legs += [(block, prefix) for block, _, prefix in outbound_passes(top)]
    found = []
    for block, prefix in legs:
        rules = rules_of(block, prefix)
        settings = () if rules.protocols else settings_of(rules, versions)
        if any(each.version in OLD and each.state is not State.DISABLED for each in settings):
            found.append((block, prefix))
    return found


def _may_accept_tls(block: Block) -> bool:
    """Return whether a server may accept TLS: by its listen lines, or by another server's on the same socket."""
    return (
        any("ssl" in statement.args for statement in block.statements.get("listen", []))
        or flag(block, "ssl")
        or any("ssl_certificate" in level.statements for level in block.path())
    )


def _insert(block: Block, line: str, tree: Tree, texts: dict[_Key, str]) -> None:
    while block.name in {"if", "limit_except"} and block.parent is not None:
        block = block.parent  # those can't hold it
    if block.head is None:
        return
    key = (block.head.place.file, block.head.end, block.head.end)
    end = "\r\n" if "\r\n" in tree.sources[key[0]].text else "\n"
    before = texts.get(key, "")
    if line not in before.split(f"{end}    "):
        texts[key] = f"{before}{end}    {line}"


def _edit(source: SourceFile, key: _Key, new: str) -> Edit:
    _, start, end = key
    line, column = position_of(source.text, start)
    return Edit(file=source.name, line=line, column=column, old=source.text[start:end], new=new)
