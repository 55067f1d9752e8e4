"""What a file says of a host: a registry export, a product's configuration, a questionnaire. Statements, not exchanges.

A reading is what an importer makes of one file (with those it includes). It holds no secret and none of the file's text
but lines that are known to be harmless, so that it can be stored; a host's readings become observations and gaps with
basis DECLARED or ASSUMED (scanner.declared).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scanner.model.checks import Check
from scanner.model.evidence import Basis, GapReason, State
from scanner.model.subjects import Direction
from scanner.model.verdicts import Verdict
from scanner.model.versions import ALL_VERSIONS, TlsVersion


class LineState(StrEnum):
    """What became of a line of a configuration; every line that is not blank and no comment has exactly one."""

    SUPPORTED = "supported"
    """Understood, and taken into account."""
    IRRELEVANT = "irrelevant"
    """Known, and without influence on TLS versions."""
    CONDITIONAL = "conditional"
    """Understood, but whether it holds depends on something the file does not say (``if``, ``<IfDefine>``, ``.if``)."""
    UNIMPLEMENTED = "unimplemented"
    """Known to matter, but not understood in this form: what it touches is a gap."""
    UNRECOGNISED = "unrecognised"
    """Not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is written."""

    file: str
    """Name of the file as it was given, or as the file that includes it names it."""
    line: int | None = None
    """Line, counted from 1; None where the format has none (a hive)."""
    key: str = ""
    """Where lines are not enough: registry path with value name, XPath, JSON pointer (RFC 6901)."""

    @property
    def locator(self) -> str:
        """``squid.conf:41``, or with a key ``export.reg:7 HKLM...``."""
        text = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{text} {self.key}" if self.key else text


@dataclass(frozen=True, slots=True, kw_only=True)
class LineNote:
    """A line that the reader of a report should know of: conditional, unimplemented or unrecognised."""

    place: Place
    """Which."""
    state: LineState
    """What became of it."""
    text: str
    """The directive's name, at most 200 characters; never its arguments, which may hold a secret."""
    detail: str = ""
    """Why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a file says of one version on one leg."""

    version: TlsVersion
    """Which version."""
    state: State
    """ENABLED or DISABLED; UNKNOWN where ``gap`` says why it can't be known."""
    basis: Basis
    """DECLARED: the file says it. ASSUMED: it does not, and a table of defaults by product version does."""
    reason: str
    """One sentence for people, with the directive's name and what it is set to: ``ssl_protocols names TLSv1.2``."""
    place: Place | None
    """Where it is written; None for a default."""
    gap: GapReason | None = None
    """Why it is UNKNOWN; None where it is not. Enforced."""

    def __post_init__(self) -> None:
        if (self.state is State.UNKNOWN) is (self.gap is None):
            raise ValueError("a Setting is UNKNOWN exactly where it has a gap")
        if self.basis not in {Basis.DECLARED, Basis.ASSUMED}:
            raise ValueError("what a file says is DECLARED or ASSUMED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where an inbound leg accepts connections."""

    address: str | None
    """IPv4 or IPv6 address in canonical text form; None for every address of the host."""
    port: int | None
    """TCP port; None where the file does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One side of one thing that a file configures: a listener, an upstream, a stack."""

    name: str
    """Unique within its reading, stable, for people: ``server sts.example.com at nginx.conf:12``."""
    direction: Direction
    """INBOUND: it accepts. OUTBOUND: it connects."""
    settings: tuple[Setting, ...]
    """All six versions, oldest first. Enforced."""
    listens: tuple[Listen, ...] = ()
    """Where it accepts, for INBOUND; empty where the file does not say."""
    server_names: tuple[str, ...] = ()
    """Names it serves, lower case, as written (``*.example.com``); empty for any."""
    destinations: tuple[str, ...] = ()
    """Where it connects, for OUTBOUND: ``host:port`` as far as it is written; empty for any destination."""
    is_permission: bool = False
    """True where ENABLED means *allowed* and programs may narrow it (Schannel). DISABLED holds all the same."""
    is_management: bool = False
    """True for a device's own administration, which clients on the way to Entra don't use: shown, but no vote."""
    limits: tuple[str, ...] = ()
    """What this can't show, a sentence each."""

    def __post_init__(self) -> None:
        if tuple(setting.version for setting in self.settings) != ALL_VERSIONS:
            raise ValueError("a leg has one setting for each of the six versions, oldest first")


class ClueKind(StrEnum):
    """What a name in a file says of whose file it is."""

    MACHINE = "machine"
    """The machine's own name: ComputerName, ``set hostname``."""
    SERVED = "served"
    """A name it serves: ``server_name``, a certificate's binding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClue:
    """A hint to the host a file belongs to."""

    name: str
    """Name or address as written, lower case."""
    kind: ClueKind
    """What it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an importer made of one file."""

    importer: str
    """The importer's id: ``nginx``, ``reg``."""
    product: str
    """For people: ``nginx``, ``Windows Server 2019``."""
    product_version: str | None
    """As the file or the user says; None where nobody does."""
    file: str
    """Name of the file as it was given."""
    sha256: str
    """Of the file's bytes, lower-case hex."""
    legs: tuple[Leg, ...]
    """In the order of the file."""
    checks: tuple[Check, ...] = ()
    """Answers that are not about one version: the article's wording, a restart pending, old versions allowed."""
    notes: tuple[LineNote, ...] = ()
    """Lines worth knowing of, in the order of the file, at most 200."""
    line_counts: tuple[tuple[LineState, int], ...] = ()
    """How many lines each state has, in the order of LineState."""
    clues: tuple[HostClue, ...] = ()
    """Whose file it may be."""
    gaps: tuple[tuple[GapReason, str], ...] = ()
    """What could not be learned of the whole file: an include that was not supplied."""
    includes: tuple[tuple[str, str], ...] = ()
    """Other files that were read for it, with their sha256."""
    collected_at: datetime | None = None
    """When the file's content was true (UTC), where it says so itself."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further facts by name: ``("last_boot_at", "2026-11-01T04:00:00+00:00")``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A reading that was tied to a host. This is what the store keeps of a file."""

    host: str
    """The host it is about; see Target.host."""
    reading: Reading
    """What the file says."""
    given_at: datetime
    """When the file was given to the program (UTC)."""
    run: str
    """Id of the run that it was given to."""
    tool_version: str
    """Version of the program that read it."""
    path: str = ""
    """Where the file was, so that ``entra-tls remediate`` can read it again; empty where it has no path."""
    folder: str = ""
    """Where its includes came from; empty for the folder of ``path``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredLeg:
    """What is judged of one leg."""

    leg: Leg
    """Which."""
    scope: str
    """As in Observation: what it speaks for where no measured endpoint is the same thing."""
    measured_scopes: tuple[str, ...]
    """Endpoints that were contacted and that it speaks for: its statements stand beside theirs."""
    verdicts: tuple[Verdict, ...]
    """All six versions, oldest first, by the file alone."""

    @property
    def has_vote(self) -> bool:
        """Whether it is a scope of its host's: no device's administration, and nothing that was measured itself."""
        return not self.leg.is_management and not self.measured_scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredResult:
    """What is judged of one file."""

    declaration: Declaration
    """Which."""
    legs: tuple[DeclaredLeg, ...]
    """Each leg, in the order of the file."""
