"""Targets file and arguments -> Target: parse (one line at a time, every bad line reported), then expand.

Pure but for read_targets. The grammar is docs/targets.md; a single word of it is scanner.target_forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanner.exclusions import Exclusions
from scanner.model.subjects import Role, Target, is_address
from scanner.target_parser import (
    SECTIONS,
    Defaults,
    LineParser,
    ParsedTargets,
    TargetError,
    TargetRange,
    address_text,
    farm_server_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = [
    "MAX_ADDRESSES",
    "SECTIONS",
    "ParsedTargets",
    "TargetError",
    "TargetRange",
    "TargetsError",
    "expand",
    "merge_excludes",
    "parse_arguments",
    "parse_targets",
    "read_targets",
    "render_targets",
]

MAX_ADDRESSES = 65_536
"""Most addresses that all ranges together may stand for, unless the caller says otherwise."""


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
    source = str(path) if source is None else source
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = f"the file can't be read ({error.strerror})"
        return _failed(source, 0, problem, "name a readable targets file")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1 if encoding == "utf-8-sig" else 0
        return _failed(source, line, "it has bytes that are not UTF-8 text", "save the file as UTF-8")
    return parse_targets(text, source=source)


def parse_targets(text: str, *, source: str) -> ParsedTargets:
    """Parse the text of a targets file. Never raises: bad lines are in errors."""
    parser = LineParser(source)
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


def expand(*parsed: ParsedTargets, max_addresses: int = MAX_ADDRESSES) -> tuple[Target, ...]:
    """Merge the sources into the targets to scan, in their order.

    Ranges become one target an address, nodes of a farm get the name of its first named AD FS target as server name,
    excluded addresses and ports go, and of targets with the same host, ports and server name the first stays (but one
    asked for by itself takes the place of one from a range, and one with a role that of a plain server). max_addresses
    bounds the addresses of all ranges together, counted before anything is removed. Raises TargetsError
    where a source has errors or the bound is passed.
    """
    errors = [error for source in parsed for error in source.errors]
    if errors:
        raise TargetsError(errors)
    items = [item for source in parsed for item in source.targets]
    _check_address_count([item for item in items if isinstance(item, TargetRange)], max_addresses)
    exclusions = merge_excludes(*parsed)
    named = farm_server_names(items)
    merged: dict[tuple[str, tuple[int, ...], str | None], Target] = {}
    for item in items:
        for target in _materialise(item, named, exclusions):
            key = (target.host, target.ports, target.sni)
            kept = merged.get(key)
            if kept is None or _says_more(target, kept):
                merged[key] = target
    return tuple(merged.values())


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


def _check_address_count(ranges: list[TargetRange], max_addresses: int) -> None:
    count = sum(item.last - item.first + 1 for item in ranges)
    if count <= max_addresses:
        return
    largest = max(ranges, key=lambda item: item.last - item.first)
    source, colon, line = largest.template.locator.rpartition(":")
    raise TargetsError(
        [
            TargetError(
                source=source if colon else largest.template.locator,
                line=int(line) if colon else 0,
                text=largest.template.text,
                problem=f"the ranges hold {count:,} addresses, more than {max_addresses:,}; this one is the largest",
                mend="name smaller ranges, or scan in several runs",
            )
        ]
    )


def _materialise(item: Target | TargetRange, named: dict[str, str], exclusions: Exclusions) -> Iterator[Target]:
    template = item.template if isinstance(item, TargetRange) else item
    server_name = template.server_name
    if server_name is None and template.farm is not None and is_address(template.host):
        server_name = named.get(template.farm)
    for host in _hosts(item, exclusions):
        ports, optional_ports = template.ports, template.optional_ports
        if exclusions.has_ports:
            ports = tuple(port for port in ports if not exclusions.is_excluded(host, port))
            optional_ports = tuple(port for port in optional_ports if not exclusions.is_excluded(host, port))
            if not ports:
                # The optional ones are all that is left to ask about.
                ports, optional_ports = optional_ports, ()
            if not ports:
                continue
        # Not dataclasses.replace: it takes twice the time, and a range may have 65,536 of them.
        yield Target(
            text=template.text,
            host=host,
            role=template.role,
            ports=ports,
            optional_ports=optional_ports,
            server_name=server_name,
            vendor=template.vendor,
            farm=template.farm,
            tags=template.tags,
            is_from_range=template.is_from_range,
            cloud=template.cloud,
            locator=template.locator,
        )


def _hosts(item: Target | TargetRange, exclusions: Exclusions) -> Iterator[str]:
    if isinstance(item, Target):
        if not exclusions.is_excluded(item.host):
            yield item.host
        return
    for number in range(item.first, item.last + 1):
        if not exclusions.is_number_excluded(number, item.version):
            yield address_text(number, item.version)


def _render_line(target: Target, defaults: Defaults) -> str:
    host = target.host
    if target.is_from_range and target.role is not Role.SERVER:
        host = f"{host}/{128 if ':' in host else 32}"
    words = [host]
    if target.server_name is not None:
        words.append(f"sni={target.server_name}")
    if (target.ports, target.optional_ports) != (defaults.ports, defaults.optional_ports):
        words.append(f"port={','.join(map(str, target.ports))}")
    if target.vendor is not None:
        words.append(f"vendor={_quote(target.vendor)}")
    if target.farm is not None:
        words.append(f"farm={_quote(target.farm)}")
    if target.tags:
        words.append(f"tag={_quote(','.join(target.tags))}")
    return " ".join(words)


def _quote(value: str) -> str:
    if not any(character in value for character in ' "#'):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
