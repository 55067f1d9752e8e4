"""What all answers of one endpoint say together: the decision table of docs/method.md. Pure.

The hello ladder (scanner.probes.hello_ladder) asks this module what is still missing; classification
(scanner.classify) asks it what is settled. So a question is asked exactly where judgement needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from scanner.answers import Answer, AnswerKind
from scanner.model.evidence import GapReason, State
from scanner.model.exchange import Ending, HelloVariant
from scanner.model.versions import ALL_VERSIONS, TlsVersion
from scanner.tls.alerts import (
    HANDSHAKE_FAILURE,
    INSUFFICIENT_SECURITY,
    INTERNAL_ERROR,
    NEVER_ABOUT_VERSION,
    UNRECOGNIZED_NAME,
)
from scanner.tls.hello import variants_for

# How often the same refusal must be seen before it counts, by how easily chance can forge it. A path that closes or
# resets one connection in five at random passes six with all controls good about once in 100,000 (docs/method.md).
_NEEDED = {AnswerKind.ALERT: 2, AnswerKind.CLOSED: 6, AnswerKind.RESET: 6}
_INTERNAL_ERRORS_NEEDED = 3
_REFUSALS_NEEDED_WHEN_INCONSISTENT = 4
_MOST_ASKS = 6
_MOST_ASKS_WHEN_NOISY = 12
_MOST_ASKS_SILENT = 3
_MOST_ASKS_UNTELLING = 2

Key = tuple[AnswerKind, int | None]
"""What makes two answers "the same way": the kind, and for alerts the number."""

_ABOUT_SUITES = frozenset({HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY})
"""Alerts of a server that read the whole hello."""

NOISE_KINDS = frozenset({AnswerKind.CLOSED, AnswerKind.RESET, AnswerKind.SILENT, AnswerKind.NO_CONNECTION})
"""Kinds that trouble on the way can forge. An alert is spoken by the peer."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The version's state is proven."""

    state: State
    reason: str
    answers: tuple[Answer, ...]
    opposing: tuple[Answer, ...] = ()


@dataclass(frozen=True, slots=True)
class Open:
    """The version's state is not proven (yet)."""

    reason: GapReason
    detail: str
    wanted: HelloVariant | None = None
    """The hello that would help; None where only a control would, or nothing."""
    wants_control: bool = False
    """Whether a control hello would help."""


Standing = Settled | Open


class Survey:
    """All answers of one endpoint, in the order asked, and what follows from them."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = tuple(answer for answer in answers if answer.kind is not AnswerKind.NOT_ASKED)
        self._accepting: dict[TlsVersion, list[Answer]] = {}
        for answer in self.answers:
            if answer.accepted is not None:
                self._accepting.setdefault(answer.accepted, []).append(answer)
        self.controls = tuple(at for at, answer in enumerate(self.answers) if answer.is_control)
        self.first_accepted = next(
            (at for at, answer in enumerate(self.answers) if answer.accepted is not None), len(self.answers)
        )
        self.longest_accepted_bytes = max(
            (
                answer.sent_bytes
                for answer in self.answers
                if answer.accepted not in {None, TlsVersion.SSL2} and answer.variant is not None
            ),
            default=0,
        )
        self.usable_variants = frozenset(
            answer.variant
            for answer in self.answers
            if answer.accepted is not None and answer.variant is not None and answer.version is not TlsVersion.SSL2
        )

    @property
    def enabled(self) -> frozenset[TlsVersion]:
        """Versions that were accepted at least once."""
        return frozenset(self._accepting)

    @cached_property
    def noise(self) -> frozenset[Key]:
        """Failures seen on questions that were answered well at another time: they prove nothing about versions."""
        good = {
            (answer.version, answer.variant)
            for answer in self.answers
            if answer.accepted is not None and not answer.has_lower
        }
        failed_good = {
            _key(answer)
            for answer in self.answers
            if answer.accepted is None and answer.variant is not None and (answer.version, answer.variant) in good
        }
        # A peer that answered this very question in words at another time does not refuse it by falling silent.
        spoken = {(answer.version, answer.variant) for answer in self.answers if _is_spoken(answer)}
        failed_spoken = {
            _key(answer)
            for answer in self.answers
            if answer.kind in NOISE_KINDS and answer.variant is not None and (answer.version, answer.variant) in spoken
        }
        # The same form of hello works elsewhere, and the version works with another form: trouble on the way.
        failed_enabled = {
            _key(answer)
            for answer in self.answers
            if answer.kind in NOISE_KINDS
            and answer.version in self._accepting
            and (answer.variant in self.usable_variants or answer.version is TlsVersion.SSL2)
        }
        late = {
            _key(answer)
            for answer in self.answers[(self.controls[0] if self.controls else len(self.answers)) :]
            if answer.kind is AnswerKind.NO_CONNECTION
        }
        return frozenset(failed_good | failed_spoken | failed_enabled | late)

    @cached_property
    def is_noisy(self) -> bool:
        """Whether trouble on the way was seen: a rate limit, an IDS, a flaky path."""
        return any(kind in NOISE_KINDS for kind, _ in self.noise)

    @cached_property
    def is_inconsistent(self) -> bool:
        """Whether the answers can't all be one server's: several machines behind one address."""
        if any(self._opposing(version) for version in self._accepting):
            return True
        # A server that answers a hello with a lower version than asked for does not refuse the versions in between.
        refused = {answer.version for answer in self.answers if answer.kind is AnswerKind.VERSION_REFUSED}
        return any(
            answer.accepted < version < answer.version
            for answer in self.answers
            if answer.accepted is not None and answer.has_lower
            for version in refused
        )

    def standing(self, version: TlsVersion) -> Standing:
        """Return what is proven of a version, or what is missing."""
        accepting = self._accepting.get(version)
        if accepting:
            best = next((answer for answer in accepting if answer.is_completed), accepting[0])
            reason = "handshake completed" if best.is_completed else best.text
            return Settled(State.ENABLED, reason, tuple(accepting), self._opposing(version))
        asked = [answer for answer in self.answers if answer.version is version and answer.variant is not None]
        if not asked:
            # However a higher version was refused: where TLS 1.1 is off and TLS 1.0 on, GnuTLS 3.7 and Botan 2.19 say
            # protocol_version(70) to a TLS 1.1 hello. What was not asked is not known.
            return Open(GapReason.NOT_ASKED, "the question was not put", wanted=HelloVariant.BROAD)
        refusals = [answer for answer in asked if self._is_plain_refusal(answer)]
        if refusals:
            return self._standing_of_plain_refusal(version, asked, refusals)
        return self._standing_of_ambiguity(version, asked)

    def _opposing(self, version: TlsVersion) -> tuple[Answer, ...]:
        return tuple(
            answer
            for answer in self.answers
            if answer.version is version and answer.variant is not None and self._is_plain_refusal(answer)
        )

    def _is_plain_refusal(self, answer: Answer) -> bool:
        if answer.kind is AnswerKind.VERSION_REFUSED:
            return True
        return answer.has_lower and not self._is_hinted_higher(answer)

    def _is_hinted_higher(self, answer: Answer) -> bool:
        """Whether ServerHello.random hints that the version asked for is there, and nothing else explains the hint."""
        if not answer.is_downgraded or answer.accepted is None:
            return False
        if answer.accepted is TlsVersion.TLS1_2:
            return answer.version is TlsVersion.TLS1_3
        return answer.version >= TlsVersion.TLS1_2 and not {TlsVersion.TLS1_2, TlsVersion.TLS1_3} & set(self._accepting)

    def _standing_of_plain_refusal(
        self, version: TlsVersion, asked: Sequence[Answer], refusals: Sequence[Answer]
    ) -> Standing:
        first = refusals[0]
        is_telling_apart = any(
            answer.kind is AnswerKind.ALERT and answer.version >= TlsVersion.TLS1_0 for answer in self.answers
        )
        if not self._accepting and not is_telling_apart:
            # Whoever refuses everything in the same words may well be refusing us.
            wanted = _least_asked(variants_for(version)[:2], asked)
            return Open(
                GapReason.NO_CONTROL,
                f"{first.text}, but every other version was refused too, so the refusal may be about us",
                wanted=wanted if len(asked) < _MOST_ASKS_UNTELLING else None,
            )
        if self.is_inconsistent and len(refusals) < _REFUSALS_NEEDED_WHEN_INCONSISTENT:
            wanted = _least_asked(variants_for(version)[:2], asked)
            return Open(
                GapReason.INCONSISTENT,
                "refused, but the endpoint contradicts itself on another version: several machines may answer here",
                wanted=wanted if len(asked) < _MOST_ASKS else None,
            )
        lower = first.accepted
        reason = first.text if lower is None else f"answered with {lower.title} when asked for {version.title}"
        return Settled(State.DISABLED, reason, tuple(refusals))

    def _standing_of_ambiguity(self, version: TlsVersion, asked: Sequence[Answer]) -> Standing:
        telling = [answer for answer in asked if _key(answer) not in self.noise]
        if self._accepting:
            ways = self._ways_to_disabled(version, telling)
            if ways:
                key, cover = ways[0]
                return self._standing_on_the_way([answer for answer in telling if _key(answer) == key], cover)
        reason, detail = self._gap(version, asked, telling)
        wanted = None
        if len(asked) < self._ask_limit(version, asked, telling):
            order = variants_for(version)
            wanted = _least_asked(order if len(asked) >= 2 else order[:2], asked)
        return Open(reason, detail, wanted=_maybe_doubtful(telling) or wanted)

    def _ways_to_disabled(
        self, version: TlsVersion, telling: Sequence[Answer]
    ) -> list[tuple[Key, tuple[HelloVariant, ...]]]:
        """Return (kind of refusal, forms of hello) by which DISABLED is or may yet be shown, the nearest first.

        Every form in the set must have failed in this one way, or not have been asked yet.
        """
        keys_by_variant: dict[HelloVariant | None, set[Key]] = {}
        too_long: set[tuple[HelloVariant | None, Key]] = set()
        for answer in telling:
            keys_by_variant.setdefault(answer.variant, set()).add(_key(answer))
            # A box that stops long hellos, or a server that can't read them, seldom says so: only where a hello as
            # long got through does a failure speak of the version. The alerts about suites show that it was read. Where
            # SSL 2.0 alone was accepted, no TLS hello is that short, and the compact one is short enough for any box.
            is_too_long = answer.sent_bytes > self.longest_accepted_bytes and self.enabled != {TlsVersion.SSL2}
            if is_too_long and answer.alert not in _ABOUT_SUITES:
                too_long.add((answer.variant, _key(answer)))
        ways = [
            (sum(1 for variant in cover if variant not in keys_by_variant), key, cover)
            for key in dict.fromkeys(_key(answer) for answer in telling)
            if key[0] in _NEEDED and self._may_be_about(version, key[1])
            for cover in self._covers(version)
            if all(keys_by_variant.get(variant, {key}) == {key} for variant in cover)
            and (version is TlsVersion.SSL2 or not any((variant, key) in too_long for variant in cover))
        ]
        ways.sort(key=lambda way: way[0])
        return [(key, cover) for _, key, cover in ways]

    @staticmethod
    def _may_be_about(version: TlsVersion, alert: int | None) -> bool:
        """Whether an alert may refuse the version. No SSLv2 hello carries a name: who wants one refuses them all."""
        return alert not in NEVER_ABOUT_VERSION or (version is TlsVersion.SSL2 and alert == UNRECOGNIZED_NAME)

    def _standing_on_the_way(self, same: Sequence[Answer], cover: Sequence[HelloVariant]) -> Standing:
        """Return the standing of a version refused in one and the same way, short of words that name the version."""
        kind, number = _key(same[0])
        needed = _INTERNAL_ERRORS_NEEDED if number == INTERNAL_ERROR else _NEEDED[kind]
        forms = {answer.variant for answer in same}
        text = f"{same[0].text} to {len(same)} hellos in {len(forms)} forms"
        missing = [variant for variant in cover if variant not in forms]
        decisive = self._decisive(same[0].version, cover) if kind is not AnswerKind.ALERT else tuple(cover)
        count = sum(answer.variant in decisive for answer in same)
        at = next(index for index, answer in enumerate(self.answers) if answer is same[-1])
        # Before it any accepted hello will do, if at any time one was accepted under the right name.
        has_control_before = bool(self.controls) and self.first_accepted < at
        has_control_after = bool(self.controls) and self.controls[-1] > at
        if missing or count < needed:
            # Between wordless refusals a control: a path that fails at random then gives itself away.
            wants_control = kind is not AnswerKind.ALERT and len(same) > 1 and not has_control_after
            return Open(
                GapReason.AMBIGUOUS,
                f"{text}, which is not enough to be sure: this may have other causes than the version",
                wanted=None if wants_control else (missing or [_least_asked(decisive, same)])[0],
                wants_control=wants_control,
            )
        if not has_control_before:
            return Open(
                GapReason.NO_CONTROL,
                f"{text}, but no hello that shows the server to be well succeeded before it",
                # Asked once more, it stands between two controls.
                wanted=_least_asked(cover, same) if self.controls else None,
                wants_control=not self.controls,
            )
        if not has_control_after:
            return Open(
                GapReason.UNSTABLE if self.is_noisy else GapReason.NO_CONTROL,
                f"{text}, but no hello that shows the server to be well succeeded after it",
                wants_control=True,
            )
        accepted = ", ".join(v.title for v in ALL_VERSIONS if v in self._accepting)
        return Settled(State.DISABLED, f"{text}, while {accepted} was accepted before and after", tuple(same))

    def _decisive(self, version: TlsVersion, cover: Sequence[HelloVariant]) -> tuple[HelloVariant, ...]:
        """Return the forms on which chance must be beaten: the others may be refused for want of a suite."""
        if version is TlsVersion.SSL2:
            return tuple(cover)
        with_suite = {
            answer.variant
            for answer in self.answers
            if answer.accepted is not None and (answer.accepted is TlsVersion.TLS1_3) == (version is TlsVersion.TLS1_3)
        }
        # The long form has every suite.
        return tuple(v for v in cover if v is HelloVariant.BROAD or v in with_suite) or tuple(cover)

    def _covers(self, version: TlsVersion) -> tuple[tuple[HelloVariant, ...], ...]:
        """Return the sets of hello forms that together offer everything the version can have."""
        pair = (HelloVariant.BROAD, HelloVariant.COMPACT)
        if version is TlsVersion.SSL2:
            return (pair,)
        split = tuple(variant for variant in variants_for(version) if variant is not HelloVariant.BROAD)
        # The long hello tells only where a long hello is known to get through.
        return (pair, split) if HelloVariant.BROAD in self.usable_variants else (split,)

    def _ask_limit(self, version: TlsVersion, asked: Sequence[Answer], telling: Sequence[Answer]) -> int:
        """Return how often a version may be asked that is not on the way to being settled."""
        kinds = {answer.kind for answer in (telling or asked)}
        if not self._accepting:
            # One version in all forms of hello is enough to find a server that needs an odd suite.
            is_talking = bool(kinds & _NEEDED.keys()) and AnswerKind.NO_CONNECTION not in kinds
            return len(variants_for(version)) if is_talking and version is TlsVersion.TLS1_2 else _MOST_ASKS_UNTELLING
        if not telling:
            return _MOST_ASKS_WHEN_NOISY
        if kinds == {AnswerKind.SILENT}:
            return _MOST_ASKS_SILENT
        return _MOST_ASKS if kinds <= _NEEDED.keys() and self.is_noisy else _MOST_ASKS_UNTELLING

    def _gap(self, version: TlsVersion, asked: Sequence[Answer], telling: Sequence[Answer]) -> tuple[GapReason, str]:
        """Return why the version's state can't be told."""
        last = (telling or asked)[-1]
        kinds = {answer.kind for answer in (telling or asked)}
        if AnswerKind.NO_CONNECTION in kinds:
            return _CONNECTION_GAPS.get(last.ending, GapReason.UNREACHABLE), last.text
        if not telling:
            return (
                GapReason.UNSTABLE,
                f"{last.text}, as happened to questions that were answered at another time: rate limit or flaky path",
            )
        if kinds == {AnswerKind.SILENT}:
            return GapReason.SILENT, f"no answer to {len(asked)} {version.title} hellos before the deadline"
        if any(answer.alert == UNRECOGNIZED_NAME for answer in telling):
            return GapReason.NAME_REFUSED, f"{last.text}: the server name is refused, which says nothing about versions"
        if kinds == {AnswerKind.NOT_TLS}:
            is_declined = last.ending is Ending.UPGRADE_DECLINED
            return GapReason.PROXY_DECLINED if is_declined else GapReason.NOT_TLS, last.text
        if kinds <= {AnswerKind.ODD, AnswerKind.NOT_TLS}:
            return GapReason.ODD_REPLY, last.text
        if not self._accepting:
            return GapReason.NO_CONTROL, f"{last.text}, and no hello of any version was accepted"
        texts = dict.fromkeys(answer.text for answer in telling)
        if len(texts) > 1:
            return GapReason.INCONSISTENT, f"refused in different ways: {'; '.join(texts)}"
        return GapReason.AMBIGUOUS, f"{last.text}: this may have other causes than the version"


_CONNECTION_GAPS = {
    Ending.REFUSED: GapReason.REFUSED,
    Ending.UNREACHABLE: GapReason.UNREACHABLE,
    Ending.TIMED_OUT_CONNECT: GapReason.NO_ANSWER,
}


def _key(answer: Answer) -> Key:
    return answer.kind, answer.alert


def _maybe_doubtful(asked: Sequence[Answer]) -> HelloVariant | None:
    """Return a form that failed once without a word, where another was refused in words: it may have been chance."""
    if not any(_is_spoken(answer) for answer in asked):
        return None
    forms = [answer.variant for answer in asked]
    return next(
        (a.variant for a in asked if a.kind in NOISE_KINDS and forms.count(a.variant) == 1 and a.variant is not None),
        None,
    )


def _is_spoken(answer: Answer) -> bool:
    return answer.kind in {AnswerKind.ACCEPTED, AnswerKind.VERSION_REFUSED, AnswerKind.ALERT}


def _least_asked(order: Sequence[HelloVariant], asked: Sequence[Answer]) -> HelloVariant:
    """Return the form of hello asked least often so far, the earlier in order the sooner."""
    return min(order, key=lambda variant: sum(1 for answer in asked if answer.variant is variant))
