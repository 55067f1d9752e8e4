"""The lines of one source -> targets, excludes, errors and warnings. Pure; the grammar is docs/targets.md."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from scanner.entra import Cloud, entra_endpoints, entra_names, is_registration_name
from scanner.exclusions import Exclude
from scanner.model.subjects import Role, Target, Upgrade
from scanner.target_forms import CREDENTIALS, FormError, HostForm, RangeForm, check_scannable, parse_form
from scanner.target_lines import (
    Options,
    is_option,
    may_hold_credentials,
    maybe_section,
    parse_options,
    show_line,
    split_words,
    strip_url_query,
    suggest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class Defaults(NamedTuple):
    """What a section gives to its targets."""

    role: Role
    """Why they matter."""
    ports: tuple[int, ...]
    """TCP ports that must answer."""
    optional_ports: tuple[int, ...] = ()
    """TCP ports that may be closed; not added where the user gives ports."""


SECTIONS = {
    "endpoints": Defaults(Role.ENDPOINT, (443,)),
    # 49443: user certificates in AD FS's default binding mode; closed in alternate-hostname mode.
    "adfs": Defaults(Role.ADFS, (443,), (49443,)),
    # 3128 and 8080 are plain HTTP on most proxies, so they are asked only where the user names them.
    "proxies": Defaults(Role.PROXY, (443,)),
    "reverse-proxies": Defaults(Role.REVERSE_PROXY, (443,)),
    "servers": Defaults(Role.SERVER, (443,)),
    "ranges": Defaults(Role.SERVER, (443,)),
}
"""Section name -> role and default ports."""

_FILE_ENDINGS = (".txt", ".csv", ".conf", ".ini")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetError:
    """One bad line, with how to mend it."""

    source: str
    """The file's name, or ``argument``."""
    line: int
    """Line number in the file or position among the arguments, from 1; 0 for the whole source."""
    text: str
    """The line as written; a user name and password in it are replaced by ***."""
    problem: str
    """What is wrong."""
    mend: str
    """What to write instead."""

    def __str__(self) -> str:
        shown = f" {self.text!r}:" if self.text else ""
        return f"{place(self.source, self.line)}:{shown} {self.problem}; {self.mend}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRange:
    """Addresses that are asked alike."""

    template: Target
    """The target for all of them; its host is the first address."""
    first: int
    """First address as a number."""
    last: int
    """Last address as a number, included."""
    version: int
    """4 or 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedTargets:
    """What one source asks for. With errors, targets and excludes are empty: nothing is partially accepted."""

    targets: tuple[Target | TargetRange, ...] = ()
    """In the order written."""
    excludes: tuple[Exclude, ...] = ()
    """What must not be contacted, whichever source asks for it."""
    errors: tuple[TargetError, ...] = ()
    """All bad lines."""
    warnings: tuple[str, ...] = ()
    """Lines that are accepted but may not mean what the user thinks, each with its file and line."""


class LineParser:
    """Collects what the lines of one source say."""

    def __init__(self, source: str, *, is_file: bool = True, has_excludes_only: bool = False) -> None:
        self.source = source
        self.is_file = is_file
        self.has_excludes_only = has_excludes_only
        self.section = "servers"
        self.targets: list[Target | TargetRange] = []
        self.numbers: list[int] = []
        self.excludes: list[Exclude] = []
        self.errors: list[TargetError] = []
        self.warnings: list[tuple[int, str]] = []

    def feed(self, number: int, line: str) -> None:
        """Take one line (or argument), numbered from 1. A bad one is noted, never raised."""
        try:
            self._take(number, *split_words(line))
        except FormError as error:
            self.errors.append(
                TargetError(
                    source=self.source,
                    line=number,
                    text=show_line(line),
                    problem=error.problem,
                    mend=error.mend,
                )
            )

    def finish(self) -> ParsedTargets:
        """Return what the lines say."""
        if self.errors:
            return ParsedTargets(errors=tuple(self.errors))
        named = farm_server_names(self.targets)
        for number, item in zip(self.numbers, self.targets, strict=True):
            target = item.template if isinstance(item, TargetRange) else item
            if target.role is Role.ADFS and target.sni is None and target.farm not in named:
                mend = "give sni=NAME of the federation service"
                if target.farm is not None:
                    mend += f", or a named [adfs] target with farm={target.farm}"
                self._warn(number, target.text, f"AD FS answers by name and may reset without one; {mend}")
        ordered = tuple(text for _, text in sorted(self.warnings))
        return ParsedTargets(targets=tuple(self.targets), excludes=tuple(self.excludes), warnings=ordered)

    def _add(self, number: int, *items: Target | TargetRange) -> None:
        self.targets.extend(items)
        self.numbers.extend([number] * len(items))

    def _warn(self, number: int, text: str, warning: str) -> None:
        self.warnings.append((number, f"{place(self.source, number)}: {show_line(text)!r}: {warning}"))

    def _locator(self, number: int) -> str:
        return f"{self.source}:{number}" if self.is_file else self.source

    def _take(self, number: int, written: str, words: list[str]) -> None:
        if not words:
            if not self.is_file:
                raise FormError("the argument is empty", "name a host: sts.example.com")
            return
        section = maybe_section(written)
        if section is not None:
            self._enter(section)
            return
        if self.has_excludes_only and not words[0].startswith("!"):
            words = [f"!{words[0]}", *words[1:]]
        if may_hold_credentials(words):
            raise FormError(*CREDENTIALS)
        if words[0].startswith("!"):
            self.excludes.append(_parse_exclude(words))
            return
        if is_option(words[0]):
            raise FormError("the line begins with an option", "write the target first, then its options")
        options = parse_options(words[1:])
        common = _Common(text=written, locator=self._locator(number), options=options)
        if words[0].startswith("@"):
            self._add(number, *_entra_targets(words[0], common))
            return
        is_proxy = SECTIONS[self.section].role is Role.PROXY
        form = parse_form(words[0], may_be_proxy=is_proxy)
        check_scannable(form)
        if form.ports is not None and options.ports is not None:
            raise FormError("ports are given twice, with the target and with port=", "keep one of the two")
        if isinstance(form, HostForm):
            if form.warning:
                self._warn(number, written, form.warning)
            self._check_argument(form)
        self._add(number, _build(form, self._defaults_for(form), common, section=self.section))

    def _enter(self, section: str) -> None:
        if not self.is_file:
            raise FormError("a section belongs into a targets file", "name a host: sts.example.com")
        if self.has_excludes_only:
            raise FormError("an exclude file has no sections", "remove the line: an exclude holds for all of them")
        if section not in SECTIONS:
            raise FormError("no such section", suggest(section, [f"[{name}]" for name in SECTIONS]))
        self.section = section

    def _check_argument(self, form: HostForm) -> None:
        if not self.is_file and form.host.endswith(_FILE_ENDINGS):
            raise FormError("it looks like a file, not like a host", "give a targets file with --file")

    def _defaults_for(self, form: HostForm | RangeForm) -> Defaults:
        if (
            not self.is_file
            and isinstance(form, HostForm)
            and (form.host in entra_names() or is_registration_name(form.host))
        ):
            return SECTIONS["endpoints"]
        return SECTIONS[self.section]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    text: str
    locator: str
    options: Options


def place(source: str, line: int) -> str:
    """Return ``targets.txt:12`` or ``argument 2``; the source alone for line 0."""
    if not line:
        return source
    return f"argument {line}" if source == "argument" else f"{source}:{line}"


def _parse_exclude(words: list[str]) -> Exclude:
    rest = [words[0][1:], *words[1:]] if words[0] != "!" else words[1:]
    if len(rest) != 1:
        raise FormError("an exclude is ! and one host, without options", "write !192.0.2.7, !192.0.2.0/28 or !host:443")
    if rest[0].startswith("@"):
        raise FormError("@entra:... can't be excluded as a whole", "exclude its hosts by name")
    form = parse_form(rest[0])
    if isinstance(form, RangeForm):
        first, last = form.whole
        return Exclude(host=None, first=first, last=last, version=form.version, ports=form.ports)
    if form.number is None or form.version is None:
        return Exclude(host=form.host, first=0, last=0, version=0, ports=form.ports)
    return Exclude(host=None, first=form.number, last=form.number, version=form.version, ports=form.ports)


def _entra_targets(word: str, common: _Common) -> list[Target]:
    prefix, _, cloud = word.lower().partition(":")
    if prefix != "@entra" or cloud not in set(Cloud):
        valid = [f"@entra:{item.value}" for item in Cloud]
        raise FormError("no such set of targets", suggest(word.lower(), valid))
    options = common.options
    if options.server_name is not None or options.farm is not None or options.vendor is not None:
        raise FormError("only tag= and port= can be given to a set of targets", "remove the other options")
    return [
        Target(
            text=common.text,
            host=endpoint.name,
            role=Role.ENDPOINT,
            ports=options.ports or (endpoint.port,),
            tags=options.tags,
            cloud=endpoint.cloud.value,
            locator=common.locator,
        )
        for endpoint in entra_endpoints(cloud)
        if endpoint.is_scanned
    ]


def _build(form: HostForm | RangeForm, defaults: Defaults, common: _Common, *, section: str) -> Target | TargetRange:
    options = common.options
    ports = form.ports or options.ports
    target = Target(
        text=strip_url_query(common.text),
        host=form.host if isinstance(form, HostForm) else address_text(form.first, form.version),
        role=defaults.role,
        ports=ports or defaults.ports,
        optional_ports=defaults.optional_ports if ports is None else (),
        server_name=options.server_name,
        vendor=options.vendor,
        farm=options.farm,
        tags=options.tags,
        is_from_range=isinstance(form, RangeForm) or (section == "ranges" and form.number is not None),
        locator=common.locator,
        proxy=_maybe_proxy(form, defaults.role),
    )
    if isinstance(form, HostForm):
        return target
    return TargetRange(template=target, first=form.first, last=form.last, version=form.version)


def _maybe_proxy(form: HostForm | RangeForm, role: Role) -> Upgrade | None:
    """Return how a forward proxy is spoken to, where its URL says so."""
    if role is not Role.PROXY or isinstance(form, RangeForm) or form.scheme is None:
        return None
    return {"http": Upgrade.HTTP_CONNECT, "https": Upgrade.HTTPS_CONNECT, "socks5": Upgrade.SOCKS5}[form.scheme]


def address_text(number: int, version: int) -> str:
    """Return an address in canonical text form."""
    if version == 4:
        # Not str(IPv4Address): it takes three times as long, and a sweep writes one for each address.
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return str(IPv6Address(number))


def farm_server_names(items: Iterable[Target | TargetRange]) -> dict[str, str]:
    """Return farm -> server name of its first [adfs] target that has one."""
    names: dict[str, str] = {}
    for item in items:
        target = item.template if isinstance(item, TargetRange) else item
        if target.role is Role.ADFS and target.farm is not None and target.sni is not None:
            names.setdefault(target.farm, target.sni)
    return names
