"""Targets files, exclude files and arguments -> what is to be scanned: parse (every bad line reported), then merge.

Pure but for read_targets and read_excludes. The grammar is docs/targets.md; a single word of it is
scanner.target_forms. scanner.sweep.plan makes a run's plan of what is parsed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scanner.exclusions import Exclusions
from scanner.model.subjects import Role, Target, Upgrade, is_address
from scanner.target_parser import (
    SECTIONS,
    Defaults,
    LineParser,
    ParsedTargets,
    TargetError,
    TargetRange,
    farm_server_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence
    from pathlib import Path

__all__ = [
    "SECTIONS",
    "ParsedTargets",
    "TargetError",
    "TargetRange",
    "TargetsError",
    "accept_items",
    "merge_excludes",
    "merge_named",
    "parse_arguments",
    "parse_excludes",
    "parse_targets",
    "read_excludes",
    "read_targets",
    "render_targets",
    "with_ports",
]


class TargetsError(ValueError):
    """The targets can't be used; errors holds every reason, in the order of sources and lines."""

    def __init__(self, errors: Iterable[TargetError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))


def read_targets(path: Path, *, source: str | None = None) -> ParsedTargets:
    """Read and parse a targets file (UTF-8, or UTF-16 with its mark as Windows tools write it).

    source is the name shown in messages, by default the path as given. A file that can't be read is an error in the
    result, not an exception.
    """
    return _read(path, source, parse_targets, "a readable targets file")


def read_excludes(path: Path, *, source: str | None = None) -> ParsedTargets:
    """Read and parse an exclude file, as read_targets does; the result holds excludes or errors, never targets."""
    return _read(path, source, parse_excludes, "a readable exclude file")


def _read(path: Path, source: str | None, parse: Callable[..., ParsedTargets], wanted: str) -> ParsedTargets:
    source = str(path) if source is None else source
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = f"the file can't be read ({error.strerror})"
        return _failed(source, 0, problem, f"name {wanted}")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1 if encoding == "utf-8-sig" else 0
        return _failed(source, line, "it has bytes that are not UTF-8 text", "save the file as UTF-8")
    return parse(text, source=source)


def parse_targets(text: str, *, source: str) -> ParsedTargets:
    """Parse the text of a targets file. Never raises: bad lines are in errors."""
    return _parse_lines(LineParser(source), text)


def parse_excludes(text: str, *, source: str) -> ParsedTargets:
    """Parse the text of an exclude file: a line is what stands after ``!`` in a targets file, and may have the ``!``.

    Never raises: bad lines are in errors.
    """
    return _parse_lines(LineParser(source, has_excludes_only=True), text)


def _parse_lines(parser: LineParser, text: str) -> ParsedTargets:
    # Not splitlines(): it also splits at characters that editors don't count as line ends.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        parser.feed(number, line.removesuffix("\r"))
    return parser.finish()


def parse_arguments(args: Sequence[str]) -> ParsedTargets:
    """Parse command-line targets, one an argument, options after blanks (so quoted). Never raises.

    They are of the [servers] role, but for Entra's own names and ``enterpriseregistration.DOMAIN``: [endpoints].
    """
    parser = LineParser("argument", is_file=False)
    for number, argument in enumerate(args, start=1):
        parser.feed(number, argument)
    return parser.finish()


def accept_items(*parsed: ParsedTargets) -> tuple[Target | TargetRange, ...]:
    """Return what the sources ask for, in their order; raises TargetsError with the errors of all of them.

    Nodes of a farm that are given by address, and have no server name, get that of its first named AD FS target.
    """
    errors = [error for source in parsed for error in source.errors]
    if errors:
        raise TargetsError(errors)
    items = [item for source in parsed for item in source.targets]
    names = farm_server_names(items)
    return tuple(_with_farm_name(item, names) for item in items)


def merge_named(targets: Iterable[Target], exclusions: Exclusions) -> tuple[Target, ...]:
    """Return the targets without what is excluded, each once.

    Of those with the same host, ports and server name the first stays; but one asked for by itself takes the place of
    one from a range, and one with a role that of a plain server.
    """
    merged: dict[tuple[str, tuple[int, ...], str | None], Target] = {}
    for target in targets:
        left = _maybe_allowed(target, exclusions)
        if left is None:
            continue
        key = (left.host, left.ports, left.sni)
        kept = merged.get(key)
        if kept is None or _says_more(left, kept):
            merged[key] = left
    return tuple(merged.values())


def with_ports(target: Target, left: Container[int]) -> Target:
    """Return target with those of its ports that are left. Where only optional ones are, they are what must answer."""
    ports = tuple(port for port in target.ports if port in left)
    optional_ports = tuple(port for port in target.optional_ports if port in left)
    if not ports:
        ports, optional_ports = optional_ports, ()
    if (ports, optional_ports) == (target.ports, target.optional_ports):
        return target
    return replace(target, ports=ports, optional_ports=optional_ports)


def merge_excludes(*parsed: ParsedTargets) -> Exclusions:
    """Return the excludes of all sources; ask them again for each address that a target's name resolves to."""
    return Exclusions(exclude for source in parsed for exclude in source.excludes)


def render_targets(targets: Iterable[Target]) -> str:
    """Return a targets file that parses to these targets, but for text, locator and cloud."""
    lines: list[str] = []
    section = ""
    for target in targets:
        wanted = next(name for name, defaults in SECTIONS.items() if defaults.role is target.role)
        if target.is_from_range and target.role is Role.SERVER:
            wanted = "ranges"
        if wanted != section:
            section = wanted
            lines.append(f"[{section}]")
        lines.append(_render_line(target, SECTIONS[section]))
    return "".join(f"{line}\n" for line in lines)


def _says_more(target: Target, kept: Target) -> bool:
    """Whether the later of two lines for one thing says more: it names it, or gives it a role that counts."""
    if kept.is_from_range != target.is_from_range:
        return kept.is_from_range
    return kept.role is Role.SERVER and target.role is not Role.SERVER


def _failed(source: str, line: int, problem: str, mend: str) -> ParsedTargets:
    return ParsedTargets(errors=(TargetError(source=source, line=line, text="", problem=problem, mend=mend),))


def _with_farm_name(item: Target | TargetRange, names: dict[str, str]) -> Target | TargetRange:
    template = item.template if isinstance(item, TargetRange) else item
    if template.farm not in names or template.server_name is not None or not is_address(template.host):
        return item
    template = replace(template, server_name=names[template.farm])
    return replace(item, template=template) if isinstance(item, TargetRange) else template


def _maybe_allowed(target: Target, exclusions: Exclusions) -> Target | None:
    if exclusions.is_excluded(target.host):
        return None
    if not exclusions.has_ports:
        return target
    ports = (*target.ports, *target.optional_ports)
    left = {port for port in ports if not exclusions.is_excluded(target.host, port)}
    return with_ports(target, left) if left else None


def _render_line(target: Target, defaults: Defaults) -> str:
    host = target.host
    if target.is_from_range and target.role is not Role.SERVER:
        host = f"{host}/{128 if ':' in host else 32}"
    elif target.proxy is not None:
        bracketed = f"[{host}]" if ":" in host else host
        host = f"{_SCHEMES[target.proxy]}://{bracketed}:{','.join(map(str, target.ports))}"
    words = [host]
    if target.server_name is not None:
        words.append(f"sni={target.server_name}")
    has_own_ports = (target.ports, target.optional_ports) != (defaults.ports, defaults.optional_ports)
    if has_own_ports and target.proxy is None:
        words.append(f"port={','.join(map(str, target.ports))}")
    if target.vendor is not None:
        words.append(f"vendor={_quote(target.vendor)}")
    if target.farm is not None:
        words.append(f"farm={_quote(target.farm)}")
    if target.tags:
        words.append(f"tag={_quote(','.join(target.tags))}")
    return " ".join(words)


_SCHEMES = {Upgrade.HTTP_CONNECT: "http", Upgrade.HTTPS_CONNECT: "https", Upgrade.SOCKS5: "socks5"}


def _quote(value: str) -> str:
    if not any(character in value for character in ' "#'):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
