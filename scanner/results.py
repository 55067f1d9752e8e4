"""Judged hosts as lines of JSON: made as soon as a host is known, kept on disk, and read one by one for the reports.

A sweep may find a hundred thousand hosts, whose objects would take gigabytes; here a host takes 20 bytes of memory.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

from scanner.answers import Answer
from scanner.judge import judge_whatever, present_endpoints
from scanner.model.evidence import GapReason, State
from scanner.model.outbound import PathKind
from scanner.model.runs import HostRecord, Run
from scanner.model.subjects import Direction
from scanner.model.verdicts import Finding, Readiness, Severity, Verdict
from scanner.policy import Policy
from scanner.reports.json import join_jsonl
from scanner.reports.objects import (
    JsonObject,
    build_finding,
    build_host,
    build_run,
    combine_summary,
    fill_in_host,
    render_line,
    render_states,
)
from scanner.reports.source import WORST_FIRST, Entry

_SPOOL_BYTES = 16 * 1024 * 1024
_LEARNED = frozenset({PathKind.TUNNEL, PathKind.RE_ENCRYPTS})
_SEVERITY_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class JudgedHost:
    """One host, judged and rendered: all that the reports need of it. Cheap to send to another process."""

    position: int
    """Its place in the run."""
    name: str
    """Target.host."""
    json: str
    """Its object of the JSON report, as one line without its end."""
    findings: tuple[tuple[Severity, str], ...]
    """Its own findings, worst first, each as a line of JSON likewise."""
    readiness: Readiness
    """The policy's answer."""
    states: str
    """Its merged inbound states, oldest version first, by their initials: ``ddddee``."""
    has_unknown: bool
    """Whether any verdict is UNKNOWN, its own, a client's, or one of an endpoint that counts (scanner.judge.is_absent).

    Not where a proxy passes TLS through and so has no versions of its own: nothing is left to be learned.
    """
    has_known: bool
    """Whether any of these verdicts is not, or it is known what a proxy does to TLS."""
    is_disputed: bool
    """Whether a verdict of its own is disputed."""
    stopped: str | None
    """As in HostRecord."""
    outbound_states: str = ""
    """As states, for the outbound side; empty where that was not asked about."""

    @property
    def has_tls(self) -> bool:
        """Whether it accepts any version."""
        return "e" in self.states

    @property
    def is_clear(self) -> bool:
        """Whether all its verdicts are known and undisputed, and rest on what it answered and nothing else."""
        return not (self.has_unknown or self.is_disputed or self.outbound_states)

    def jsonl(self) -> str:
        """Return its line of the JSONL report, without its end."""
        return join_jsonl(self.json, [text for _, text in self.findings])

    def stored(self) -> bytes:
        """Return it as a line of JSON that decode_judged reads, for a store that keeps no bytes to judge again."""
        facts = render_line([self.has_unknown, self.has_known])
        own = ", ".join(text for _, text in self.findings)
        return f'{{"host": {self.json}, "findings": [{own}], "facts": {facts}}}'.encode()


def decode_judged(position: int, data: bytes) -> JudgedHost:
    """Return what JudgedHost.stored wrote. Raises ValueError or KeyError where it is something else."""
    stored = json.loads(data)
    host = fill_in_host(stored["host"])
    has_unknown, has_known = stored["facts"]
    verdicts = host["verdicts"]
    return JudgedHost(
        position=position,
        name=host["name"],
        json=render_line(host),
        findings=tuple((Severity(finding["severity"]), render_line(finding)) for finding in stored["findings"]),
        readiness=Readiness(host["readiness"]),
        states=_initials(verdicts, Direction.INBOUND),
        has_unknown=has_unknown,
        has_known=has_known,
        is_disputed=any(verdict["disputed"] for verdict in verdicts),
        stopped=host["stopped"],
        outbound_states=_initials(verdicts, Direction.OUTBOUND),
    )


def _initials(verdicts: Iterable[JsonObject], direction: Direction) -> str:
    return "".join(verdict["state"][0] for verdict in verdicts if verdict["direction"] == direction.value)


def judge_to_json(
    run: Run,
    record: HostRecord,
    policy: Policy,
    *,
    position: int,
    answers: Mapping[int, Answer] = MappingProxyType({}),
) -> JudgedHost:
    """Return a host, judged and rendered; never fails on a peer's bytes. answers: as in scanner.judge.judge_run."""
    host, findings = judge_whatever(run, record, policy, answers)
    if host.stopped != record.stopped:
        # Judgement failed: what counts is judged of what was left then.
        record = replace(record, exchanges=(), stopped=host.stopped)
    counted = present_endpoints(host.endpoints, record)
    # Of a host that is known from a listener alone, nobody asked what it accepts.
    has_declared = any(leg.leg.direction is Direction.INBOUND for each in host.declared for leg in each.legs)
    is_inbound_asked = bool(host.endpoints) or has_declared or not (host.outbound or host.declared)
    verdicts = [
        *(verdict for verdict in host.verdicts if is_inbound_asked or verdict.direction is Direction.OUTBOUND),
        *(verdict for result in counted for verdict in result.verdicts),
        *(verdict for client in host.outbound for verdict in client.verdicts),
    ]
    return JudgedHost(
        position=position,
        name=host.target.host,
        json=render_line(build_host(host)),
        findings=tuple((finding.severity, render_line(build_finding(finding))) for finding in _worst_first(findings)),
        readiness=host.readiness,
        states=render_states(host.verdicts),
        has_unknown=any(map(_is_open, verdicts)),
        has_known=any(verdict.state is not State.UNKNOWN for verdict in verdicts)
        or any(path.kind in _LEARNED for path in host.paths),
        is_disputed=any(verdict.is_disputed for verdict in host.verdicts),
        stopped=host.stopped,
        outbound_states=render_states(host.verdicts, direction=Direction.OUTBOUND),
    )


def _is_open(verdict: Verdict) -> bool:
    """Whether something is left to be learned: not where a proxy passes TLS through and has no versions there."""
    if verdict.state is not State.UNKNOWN:
        return False
    return not verdict.gaps or any(gap.reason is not GapReason.TUNNEL for gap in verdict.gaps)


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: _SEVERITY_RANKS[finding.severity])


class _Kind(NamedTuple):
    """What the summary and the exit code need of a host. Hosts have few different ones."""

    readiness: Readiness
    states: str
    outbound_states: str
    has_unknown: bool
    has_known: bool
    is_disputed: bool
    severity_counts: tuple[int, ...]


class Results:
    """All hosts of a run, in a file; a source of reports (scanner.reports.source) once the run has ended.

    Memory: 20 bytes a host, beside the first spool_bytes of text. Close it, or use it in a ``with``.
    """

    def __init__(
        self, run: Run, policy: Policy, *, folder: Path | None = None, spool_bytes: int = _SPOOL_BYTES
    ) -> None:
        """folder: where text beyond spool_bytes goes, about 10 KB a host; None is the system's for temporary files."""
        self._run = run
        self._policy = policy
        self._no_listener: tuple[tuple[str, int], ...] = ()
        self._sweep: JsonObject | None = None
        self._file = tempfile.SpooledTemporaryFile(max_size=spool_bytes, dir=None if folder is None else str(folder))  # noqa: SIM115  # see close
        # One entry a host as it was added; a host that was done again has two, of which the later holds.
        self._positions = array("Q")
        self._ends = array("Q")
        self._kind_at = array("L")
        self._kinds: dict[_Kind, int] = {}
        self._is_reading = False
        self._order: array[int] | None = array("Q")
        self._counts: Counter[_Kind] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def add(self, judged: JudgedHost) -> None:
        """Take a host; it takes the place of one at the same position. Raises OSError where the disk is full."""
        texts = [text for _, text in judged.findings]
        data = "\n".join((judged.json, *texts, "")).encode()
        begin = self._ends[-1] if self._ends else 0
        if self._is_reading or self._file.tell() != begin:
            self._file.seek(begin)
            self._is_reading = False
        self._file.write(data)
        severities = [severity for severity, _ in judged.findings]
        kind = _Kind(
            judged.readiness,
            judged.states,
            judged.outbound_states,
            judged.has_unknown,
            judged.has_known,
            judged.is_disputed,
            tuple(map(severities.count, Severity)) if severities else _NO_FINDINGS,
        )
        self._positions.append(judged.position)
        self._ends.append(begin + len(data))
        self._kind_at.append(self._kinds.setdefault(kind, len(self._kinds)))
        self._order = None

    def finish(
        self, run: Run, no_listener_counts: Iterable[tuple[str, int]], sweep: Mapping[str, object] | None = None
    ) -> None:
        """Take how the run ended. no_listener_counts: as in RunResult; sweep: ``sweep`` of docs/json-report.md."""
        self._run = run
        self._no_listener = tuple(sorted(no_listener_counts))
        self._sweep = None if sweep is None else dict(sweep)

    def count_from(self, position: int) -> int:
        """Return how many hosts there are at this position and after it."""
        return sum(self._positions[at] >= position for at in self._in_order())

    # What the exit code is made of

    @property
    def is_complete(self) -> bool:
        """Run.is_complete."""
        return self._run.is_complete

    @property
    def has_findings(self) -> bool:
        """Whether there is a finding that counts, of another severity than INFO."""
        info = _SEVERITY_RANKS[Severity.INFO]
        return any(sum(kind.severity_counts) > kind.severity_counts[info] for kind in self._settled())

    @property
    def has_unknown(self) -> bool:
        """JudgedHost.has_unknown of any host."""
        return any(kind.has_unknown for kind in self._settled())

    @property
    def has_known(self) -> bool:
        """JudgedHost.has_known of any host."""
        return any(kind.has_known for kind in self._settled())

    # ReportSource and LineSource

    @property
    def run(self) -> JsonObject:
        """See ReportSource."""
        return build_run(self._run, self._policy.version, self._policy.title)

    @property
    def summary(self) -> JsonObject:
        """See ReportSource."""
        hosts: Counter[tuple[Readiness, str, str]] = Counter()
        findings: Counter[Severity] = Counter()
        for kind, count in self._settled().items():
            hosts[kind.readiness, kind.states, kind.outbound_states] += count
            for severity, own in zip(Severity, kind.severity_counts, strict=True):
                findings[severity] += own * count
        return combine_summary(hosts, findings, self._no_listener, self._sweep)

    def entries(self) -> Iterator[Entry]:
        """See ReportSource."""
        return (self._entry(at) for at in self._in_order())

    def iter_lines(self) -> Iterator[str]:
        """See LineSource."""
        return (self._read(at)[0] for at in self._in_order())

    def iter_entry_lines(self) -> Iterator[tuple[str, list[str]]]:
        """See LineSource."""
        for at in self._in_order():
            host, *findings = self._read(at)
            yield host, findings

    def iter_finding_lines(self) -> Iterator[str]:
        """See LineSource."""
        kinds = list(self._kinds)
        for rank in range(len(Severity)):
            for at in self._in_order():
                counts = kinds[self._kind_at[at]].severity_counts
                if counts[rank]:
                    begin = 1 + sum(counts[:rank])
                    yield from self._read(at)[begin : begin + counts[rank]]

    def iter_worst(self) -> Iterator[Entry]:
        """See LineSource."""
        kinds = list(self._kinds)
        for readiness in WORST_FIRST:
            for at in self._in_order():
                if kinds[self._kind_at[at]].readiness is readiness:
                    yield self._entry(at)

    def iter_outbound(self) -> Iterator[Entry]:
        """See LineSource."""
        kinds = list(self._kinds)
        for readiness in WORST_FIRST:
            for at in self._in_order():
                kind = kinds[self._kind_at[at]]
                if kind.outbound_states and kind.readiness is readiness:
                    yield self._entry(at)

    def is_disputed(self) -> bool:
        """See LineSource."""
        return any(kind.is_disputed for kind in self._settled())

    # The file

    def _settled(self) -> Counter[_Kind]:
        """Return how many hosts there are of each kind."""
        self._in_order()
        return self._counts

    def _in_order(self) -> array[int]:
        """Return the entries that hold, by position."""
        if self._order is None:
            positions = self._positions
            # Sorting keeps the order of equal ones: of those, the one added last holds.
            by_position = sorted(range(len(positions)), key=positions.__getitem__)
            after = [*by_position[1:], None]
            order = array(
                "Q",
                [
                    at
                    for at, following in zip(by_position, after, strict=True)
                    if following is None or positions[following] != positions[at]
                ],
            )
            kinds = list(self._kinds)
            self._order = order
            self._counts = Counter(
                {kinds[at]: count for at, count in Counter(map(self._kind_at.__getitem__, order)).items()}
            )
        return self._order

    def _entry(self, at: int) -> Entry:
        host, *findings = map(json.loads, self._read(at))
        return host, findings

    def _read(self, at: int) -> list[str]:
        begin = self._ends[at - 1] if at else 0
        self._is_reading = True
        self._file.seek(begin)
        # Not splitlines: JSON leaves U+2028 and its like as they are.
        return self._file.read(self._ends[at] - begin).decode().split("\n")[:-1]


_NO_FINDINGS = (0,) * len(Severity)
