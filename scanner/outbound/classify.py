"""Connections that one client of a host opened -> observations and gaps about its outbound versions. Pure.

A client is what shares a scope: a method and an address. Several programs or machines may stand behind it, so each
form of hello speaks for itself: one that accepts a version makes it ENABLED, and DISABLED needs
every form to refuse it or to leave it out. Nothing is inferred from silence, loss or our own inability.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import cached_property

from scanner.classify import STOP_GAPS
from scanner.model.evidence import Basis, Evidence, Gap, GapReason, Observation, Origin, State
from scanner.model.subjects import Direction
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.outbound.arrivals import ACCEPTED, WORDLESS, Arrival, Outcome
from scanner.outbound.tokens import ProbeToken
from scanner.tls.client_hello import ClientHello
from scanner.tls.ja4 import render_ja4

_WORDLESS_NEEDED = 6
"""As inbound: a path that resets one connection in five passes six with good controls about once in 100,000."""
_WORDS_NEEDED_WHEN_INCONSISTENT = 4
"""Where one form of hello both accepted and refused a version, two machines send it: one refusal may be either's."""
_WORDS_NEEDED_WHEN_RETRYING = 3
"""A client that tries again with less may have a smaller hello yet, which was lost."""
_OLD_CEILINGS_NEEDED = 2
"""A hello below TLS 1.2 without a list may be the second try of an old client whose first never came here."""
_RETRY_WITHIN = timedelta(seconds=15)
"""A connection begun so soon after the end of a failed one may be the same client's next try."""

_SUPPORTED_VERSIONS = 43
_NO_RETRY_AFTER = ACCEPTED | {Outcome.NOT_TLS}
"""Nobody tries a lower version because these happened. A refused certificate is told to the user."""


class Stand(Enum):
    """What one form of hello says of one version."""

    ACCEPTED = auto()
    """At least one connection took it up."""
    EXCLUDED = auto()
    """The hello does not offer it."""
    REFUSED = auto()
    """Refused in words about the version, often enough."""
    DROPPED = auto()
    """Refused without a word, often enough and among good connections."""
    OPEN = auto()
    """Offered, or perhaps, and not settled."""


@dataclass(frozen=True, slots=True)
class _Form:
    """All connections that began with one form of hello, in the order opened."""

    hello: ClientHello
    arrivals: tuple[Arrival, ...]

    def tests(self, version: TlsVersion) -> list[Arrival]:
        """Return the connections that were answered with the version."""
        return [arrival for arrival in self.arrivals if arrival.answered is version]


def classify_outbound(
    host: str,
    scope: str,
    arrivals: Iterable[Arrival],
    *,
    run: str,
    tool_version: str,
    asked_at: datetime,
    stopped: str | None = None,
) -> tuple[Evidence, ...]:
    """Return what the connections of one scope prove about its six outbound versions, and what they leave open.

    arrivals: of this scope, all that came in the run; their order does not matter. asked_at: the time of gaps where
    nothing came. stopped: as in HostRecord.
    """
    client = Client(arrivals)

    def origin(arrival: Arrival | None) -> Origin:
        locator = scope if arrival is None else f"listener <- {_bracketed(arrival.address)}"
        return Origin(source="listener", source_version=tool_version, locator=locator, run=run)

    evidence: list[Evidence] = []
    for version in ALL_VERSIONS:
        statements = client.statements(version)
        evidence += [
            Observation(
                host=host,
                scope=scope,
                direction=Direction.OUTBOUND,
                version=version,
                state=state,
                basis=Basis.HANDSHAKE if arrival.outcome is Outcome.COMPLETED and is_answer else Basis.HELLO,
                seen_at=arrival.at,
                origin=origin(arrival),
                reason=reason,
                facts=_facts(arrival, is_answer=is_answer) + client.counts,
            )
            for arrival, state, reason, is_answer in statements
        ]
        if statements:
            continue
        reason, detail, is_unfinished = client.gap(version)
        if is_unfinished and stopped in STOP_GAPS:
            reason, detail = STOP_GAPS[stopped]
        last = client.arrivals[-1] if client.arrivals else None
        evidence.append(
            Gap(
                host=host,
                scope=scope,
                direction=Direction.OUTBOUND,
                version=version,
                reason=reason,
                seen_at=asked_at if last is None else last.at,
                origin=origin(last),
                detail=detail,
            )
        )
    return tuple(evidence)


Statement = tuple[Arrival, State, str, bool]
"""The connection it rests on, the state, the reason, and whether it rests on what followed our answer."""


class Client:
    """All connections of one scope, and what follows from them."""

    def __init__(self, arrivals: Iterable[Arrival]) -> None:
        self.arrivals = tuple(sorted(dict.fromkeys(arrivals), key=order_of))
        groups: dict[str, list[Arrival]] = {}
        for arrival in self.arrivals:
            if arrival.hello is not None:
                groups.setdefault(arrival.form, []).append(arrival)
        self.forms = tuple(_Form(_hello_of(group[0]), tuple(group)) for group in groups.values())

    @property
    def counts(self) -> tuple[tuple[str, str], ...]:
        """How much of it there is: hellos, and their forms."""
        hellos = sum(len(form.arrivals) for form in self.forms)
        return ("hellos", str(hellos)), ("forms", str(len(self.forms)))

    @cached_property
    def _retries(self) -> tuple[frozenset[Arrival], bool]:
        """Connections that may be a second try with less than the client's most, and whether one surely was."""
        found: set[Arrival] = set()
        has_lowered = False
        # By question, when a connection with a hello of this ceiling last failed.
        failures: dict[str, dict[int, datetime]] = {}
        for arrival in self.arrivals:
            # A proxy's next try answers the same question, so it carries the same nonce.
            question = arrival.token.nonce if isinstance(arrival.token, ProbeToken) else ""
            failed = failures.setdefault(question, {})
            ceiling = None if arrival.hello is None else _ceiling(arrival.hello)
            lately = [each for each, ended_at in failed.items() if arrival.at - ended_at <= _RETRY_WITHIN]
            if arrival.hello is not None and ceiling is not None:
                is_marked = arrival.hello.has_fallback_scsv
                has_lowered = has_lowered or is_marked or any(each > ceiling for each in lately)
                if lately or is_marked:
                    found.add(arrival)
            if arrival.outcome not in _NO_RETRY_AFTER:
                key = -1 if ceiling is None else ceiling
                failed[key] = max(arrival.ended_at, failed.get(key, arrival.ended_at))
        return frozenset(found), has_lowered

    @property
    def is_retrying(self) -> bool:
        """Whether the client was seen to come again with less than before."""
        return self._retries[1]

    @cached_property
    def _lowest_ceiling(self) -> int:
        return min(_ceiling(form.hello) for form in self.forms)

    def stand(self, form: _Form, version: TlsVersion) -> Stand:
        """Return what one form says of the version."""
        tests = form.tests(version)
        if any(test.has_accepted for test in tests):
            return Stand.ACCEPTED
        if offers(form.hello, version) is False:
            return Stand.EXCLUDED
        refusals = sum(1 for test in tests if test.outcome is Outcome.VERSION_REFUSED)
        if refusals:
            return Stand.REFUSED if refusals >= self._words_needed(form) else Stand.OPEN
        return Stand.DROPPED if self._is_dropped(form, tests) else Stand.OPEN

    def _words_needed(self, form: _Form) -> int:
        accepted = {arrival.answered for arrival in form.arrivals if arrival.has_accepted}
        refused = {arrival.answered for arrival in form.arrivals if arrival.outcome is Outcome.VERSION_REFUSED}
        if accepted & refused:
            return _WORDS_NEEDED_WHEN_INCONSISTENT
        if self.is_retrying and _ceiling(form.hello) == self._lowest_ceiling:
            return _WORDS_NEEDED_WHEN_RETRYING
        return 1

    def _is_dropped(self, form: _Form, tests: Sequence[Arrival]) -> bool:
        """Whether the form was refused without a word so often, and so regularly, that chance can't explain it."""
        # Only where the certificate was accepted too: a client may refuse one by hanging up.
        controls = [arrival for arrival in form.arrivals if arrival.outcome is Outcome.COMPLETED]
        if not controls:
            return False
        # What came after the last of them proves nothing yet, and takes nothing back.
        own = [
            test
            for test in tests
            if test.outcome is not Outcome.CUT_OFF
            and (test.outcome not in WORDLESS or order_of(test) < order_of(controls[-1]))
        ]
        outcomes = {test.outcome for test in own}
        if len(own) < _WORDLESS_NEEDED or len(outcomes) != 1 or not outcomes <= WORDLESS:
            return False
        if not order_of(controls[0]) < order_of(own[0]):
            return False
        accepted = {arrival.answered for arrival in form.arrivals if arrival.has_accepted}
        # The same end where the version was accepted at another time: trouble on the way.
        return not any(arrival.outcome in outcomes for arrival in form.arrivals if arrival.answered in accepted)

    def statements(self, version: TlsVersion) -> list[Statement]:
        """Return what is proven of the version; empty where nothing is."""
        stands = [(form, self.stand(form, version)) for form in self.forms]
        if any(stand is Stand.ACCEPTED for _, stand in stands):
            return self._acceptances(version, [form for form, stand in stands if stand is Stand.ACCEPTED])
        if not stands or any(stand is Stand.OPEN for _, stand in stands):
            return []
        for form, stand in stands:
            if stand is Stand.REFUSED and not self._has_lower_try(version):
                last = [test for test in form.tests(version) if test.outcome is Outcome.VERSION_REFUSED][-1]
                return [(last, State.DISABLED, f"{last.text} after a ServerHello with {version.title}", True)]
            if stand is Stand.DROPPED and not self.is_retrying:
                tests = form.tests(version)
                reason = (
                    f"{tests[-1].text} with {version.title}, {len(tests)} times among completed connections "
                    "with the same hello"
                )
                return [(tests[-1], State.DISABLED, reason, True)]
        return self._exclusion(version) if all(stand is Stand.EXCLUDED for _, stand in stands) else []

    def _acceptances(self, version: TlsVersion, forms: Sequence[_Form]) -> list[Statement]:
        """Return one statement a basis, and one for the other side where the same form of hello also refused."""
        tests = sorted((test for form in forms for test in form.tests(version)), key=order_of)
        found: list[Statement] = []
        for kinds in (ACCEPTED - {Outcome.COMPLETED}, {Outcome.COMPLETED}):
            first = next((test for test in tests if test.outcome in kinds), None)
            if first is not None:
                reason = f"{version.title} handshake completed"
                if first.outcome is not Outcome.COMPLETED:
                    reason = f"{first.text} ({version.title})"
                found.append((first, State.ENABLED, reason, True))
        refusal = next((test for test in tests if test.outcome is Outcome.VERSION_REFUSED), None)
        if refusal is not None:
            found.append((refusal, State.DISABLED, f"{refusal.text} after a ServerHello with {version.title}", True))
        return found

    def _has_lower_try(self, version: TlsVersion) -> bool:
        """Whether the client comes again with less than this version: then each try may stand for one version alone."""
        return self.is_retrying and any(_ceiling(form.hello) < version for form in self.forms)

    def _exclusion(self, version: TlsVersion) -> list[Statement]:
        """Return the statement that no hello offers the version, where the hellos can bear it."""
        telling = self._telling_exclusions(version)
        listed = [arrival for arrival in telling if _hello_of(arrival).supported_versions is not None]
        count = len(self.forms)
        forms = "in its one form of hello" if count == 1 else f"in each of the {count} forms of hello seen"
        if version is TlsVersion.SSL2 and telling:
            return [(telling[-1], State.DISABLED, f"offers nothing that SSL 2.0 could answer, {forms}", False)]
        if listed:
            titles = (
                ", ".join(each.title for each in sorted(_hello_of(listed[-1]).offered())) or "no version known here"
            )
            return [(listed[-1], State.DISABLED, f"does not offer it, {forms}: it lists {titles}", False)]
        if len(telling) < self._ceilings_needed():
            return []
        highest = max(_ceiling(form.hello) for form in self.forms)
        reason = f"does not offer it, {forms}: at most {_title(highest)}"
        return [(telling[-1], State.DISABLED, reason, False)]

    def _telling_exclusions(self, version: TlsVersion) -> list[Arrival]:
        """Return the connections whose hello shows that the client leaves the version out: no second try's ceiling."""
        retries = self._retries[0]
        return [
            arrival
            for form in self.forms
            for arrival in form.arrivals
            if arrival not in retries or (form.hello.supported_versions is not None and version < _ceiling(form.hello))
        ]

    def _ceilings_needed(self) -> int:
        if self.is_retrying:
            return _WORDS_NEEDED_WHEN_RETRYING
        highest = max(_ceiling(form.hello) for form in self.forms)
        return 1 if highest >= TlsVersion.TLS1_2 else _OLD_CEILINGS_NEEDED

    def gap(self, version: TlsVersion) -> tuple[GapReason, str, bool]:
        """Return why the version is not settled, a sentence on it, and whether more connections may settle it."""
        if not self.arrivals:
            return GapReason.NOT_SEEN, "no connection of it arrived at the listener", True
        if not self.forms:
            counts = Counter(arrival.outcome for arrival in self.arrivals)
            if set(counts) == {Outcome.NOT_TLS}:
                return GapReason.NOT_TLS, self.arrivals[-1].text, False
            return GapReason.NOT_SEEN, f"no hello arrived at the listener: it {self.arrivals[-1].text}", True
        stands = [self.stand(form, version) for form in self.forms]
        if all(stand is Stand.EXCLUDED for stand in stands):
            detail = "no hello offers it, but each may have been a further try with less than the client's most"
            return GapReason.OFFERED, detail, True
        return self._open_gap(version, stands)

    def _open_gap(self, version: TlsVersion, stands: Sequence[Stand]) -> tuple[GapReason, str, bool]:
        open_forms = [form for form, stand in zip(self.forms, stands, strict=True) if stand is Stand.OPEN]
        tests = [test for form in self.forms for test in form.arrivals if version in {test.answered, test.asked}]
        tests = [
            test for test in tests if test.answered in {version, None} and test.outcome is not Outcome.NOT_ANSWERED
        ]
        refusal = next((test for test in tests if test.outcome is Outcome.VERSION_REFUSED), None)
        if refusal is not None:
            if not open_forms or any(form.tests(version) for form in open_forms):
                detail = f"{refusal.text}, but the client contradicts itself or comes again with less"
                return GapReason.INCONSISTENT, detail, True
            detail = f"{refusal.text} by one form of hello; {len(open_forms)} other forms were not tested"
            return GapReason.OFFERED, detail, True
        for outcomes, reason in _GAPS:
            found = [test for test in tests if test.outcome in outcomes]
            if found:
                times = "once" if len(found) == 1 else f"{len(found)} times"
                return reason, f"{found[-1].text} ({version.title}, {times})", reason is GapReason.LOCAL_FAILURE
        is_sure = any(offers(form.hello, version) for form in open_forms)
        word = "offered" if is_sure else "not ruled out by its hello"
        return GapReason.OFFERED, f"{word}, but no connection has shown whether the client goes through with it", True


_GAPS = (
    (frozenset({Outcome.SUITES_REFUSED, Outcome.NO_COMMON_SUITE}), GapReason.SUITES),
    (frozenset({Outcome.OTHER_ALERT, *WORDLESS}), GapReason.AMBIGUOUS),
    (frozenset({Outcome.ODD}), GapReason.ODD_REPLY),
    (frozenset({Outcome.SILENT}), GapReason.SILENT),
    (frozenset({Outcome.CUT_OFF}), GapReason.LOCAL_FAILURE),
)
"""Reasons for what was tested in vain, the most telling first."""


def offers(hello: ClientHello, version: TlsVersion) -> bool | None:
    """Return whether a hello offers the version; None where it does not say.

    As ClientHello.may_offer, but SSL 2.0 can only answer a hello in its own format, and a version list that can't be
    read rules nothing out.
    """
    if version is TlsVersion.SSL2 and not hello.is_ssl2_format:
        return False
    found = hello.may_offer(version)
    if found is False and hello.supported_versions is None and hello.maybe_extension(_SUPPORTED_VERSIONS) is not None:
        return None
    return found


def _ceiling(hello: ClientHello) -> int:
    return hello.maximum or 0


def _title(number: int) -> str:
    return TlsVersion(number).title if number else "versions unknown here"


def _hello_of(arrival: Arrival) -> ClientHello:
    if arrival.hello is None:
        raise ValueError("an arrival without a hello has no form")
    return arrival.hello


def order_of(arrival: Arrival) -> tuple[object, ...]:
    """Return the key by which connections are put in the order opened, whatever order they are given in."""
    return arrival.at, arrival.id, arrival.form, arrival.outcome.value, arrival.answered or 0, arrival.text


def _facts(arrival: Arrival, *, is_answer: bool) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    if is_answer and arrival.answered is not None:
        found.append(("answered", arrival.answered.label))
        if arrival.suite is not None:
            found.append(("cipher_suite", f"0x{arrival.suite:04X}"))
    ja4 = render_ja4(_hello_of(arrival))
    return (*found, ("ja4", ja4)) if ja4 else tuple(found)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
