"""Judges hosts that answered alike once: of the many hosts of a sweep, few differ in what they said.

What is judged of a host depends on its answers; its address and the times of its exchanges only stand in the text. So
the second host of a kind is judged with placeholders in their stead, and the text is cut at these; the next hosts are
filled in. That filling in gives what judging gives is proven with that second host, which is judged both ways; a form
that fails is not used. The first host of a kind is just judged, as most kinds that a hostile network thinks up have no
second.

What a host's certificates say decides nothing where the role has no checks, and differs from host to host: they are
described for each, and filled in.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter, itemgetter, lt
from types import MappingProxyType
from typing import Final

from scanner.answers import Answer, read_answer
from scanner.judge import describe_certificates
from scanner.model.exchange import VERSION_PROBES, Exchange, Probe
from scanner.model.runs import HostRecord, Run
from scanner.model.subjects import Endpoint, Role
from scanner.model.verdicts import Severity
from scanner.policy import Policy
from scanner.reports.objects import render_certificates, render_line
from scanner.results import JudgedHost, judge_to_json

MOST_FORMS = 2_000
"""Kinds of hosts that are remembered; those of which a second was seen take about 20 KB each."""

# Private-use characters, which no address and no text of ours has. Where a target's own text has them, the proof fails.
_HOST = "\ue0f0h\ue0f1"
_TEXT = "\ue0f0t\ue0f1"
_ADDRESS_4 = "\ue0f0a\ue0f1"
_ADDRESS_6 = "\ue0f0:\ue0f1"
"""An IPv6 address has a colon, which puts brackets around it in a locator."""
_CERTIFICATES = "\ue0f0c{}\ue0f1"
"""The list of certificates of the endpoint of that number."""
_PLACES = {_HOST: 0, _ADDRESS_4: 1, _ADDRESS_6: 1, _TEXT: 2}
# Of the year 1, and a second apart: microseconds are lost where such a time is taken as a float.
_TIMES_FROM = datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
_MOST_TIMES = 10_000
_PLACEHOLDER = re.compile("(\ue0f0(?:[hat:]|c[0-9]+)\ue0f1|0001-01-01T..:..:..\\.000001\\+00:00)")

_PLAIN = re.compile(r"[0-9A-Za-z.:/_-]*")
"""Text that JSON leaves as it is."""
_ROLES_WITH_CHECKS = frozenset({Role.ADFS, Role.ENDPOINT})
"""Of these, more is looked into than answers to hellos."""

_facts_of = attrgetter(
    "version",
    "variant",
    "kind",
    "text",
    "ending",
    "accepted",
    "is_retry_request",
    "is_nameless",
    "is_completed",
    "alert",
    "is_contested",
    "is_downgraded",
    "suite",
    "sent_bytes",
)
"""All of an Answer but its time."""

_engine_facts_of = attrgetter("engine", "completed", "cipher_suite", "client_certificate_requested", "error")
"""All of an EngineReport but the certificates."""


class _Slotted:
    """A text with places to fill in."""

    __slots__ = ("_at", "_parts", "_pick")

    def __init__(self, text: str, places: Mapping[str, int]) -> None:
        """places: each placeholder's index among the values. Raises KeyError for one that is not there."""
        self._parts: list[str] = _PLACEHOLDER.split(text)
        self._at = [places[name] for name in self._parts[1::2]]
        # With one item it would return the value and not a tuple.
        self._pick = itemgetter(*self._at) if len(self._at) > 1 else None

    def fill(self, values: Sequence[str]) -> str:
        parts = self._parts
        parts[1::2] = self._pick(values) if self._pick is not None else [values[at] for at in self._at]
        return "".join(parts)


@dataclass(slots=True, kw_only=True)
class _Form:
    """What hosts that answered alike have in common."""

    host: _Slotted
    findings: tuple[tuple[Severity, _Slotted], ...]
    like: JudgedHost
    """One of them: all but its texts is that of every other."""
    template_text: str | None
    """The target's text where a range gave it, None where it is the host's name."""
    times: tuple[int, ...]
    """Exchanges whose times are in the text, by their place in the record."""
    certified: tuple[int, ...]
    """Endpoints with certificates to fill in, by their place in the record."""
    pairs: tuple[tuple[int, int], ...]
    """Exchanges of one endpoint: the first must be the earlier, as newer statements may count for more."""

    def holds_in_micros(self, times_us: Sequence[int]) -> bool:
        """Return whether the exchanges are in the order that was judged. times_us: of all exchanges."""
        return all(map(lt, times_us, times_us[1:])) or all(times_us[one] < times_us[other] for one, other in self.pairs)

    def holds(self, times: Sequence[datetime]) -> bool:
        """See holds_in_micros."""
        return all(times[one] < times[other] for one, other in self.pairs)

    def fill(
        self,
        position: int,
        host: str,
        address: str,
        text: str,
        times: Iterable[str],
        *,
        certificates: Iterable[str] = (),
    ) -> JudgedHost:
        """Return the host of this form. times: the texts of self.times; certificates: of self.certified, as JSON."""
        values = [_escape(host), _escape(address), _escape(text), *times, *certificates]
        like = self.like
        return JudgedHost(
            position,
            host,
            self.host.fill(values),
            tuple([(severity, slotted.fill(values)) for severity, slotted in self.findings]),
            like.readiness,
            like.states,
            like.has_unknown,
            like.has_known,
            like.is_disputed,
            like.stopped,
        )


_SEEN: Final = "seen"
"""There was one host of this kind."""
_UNFIT: Final = "unfit"
"""Hosts of this kind are judged one by one."""


class Forms:
    """Judges hosts, those that answered alike by filling in. Not for several threads."""

    def __init__(self, run: Run, policy: Policy, *, most: int = MOST_FORMS) -> None:
        self._run = run
        self._policy = policy
        self._most = most
        # Used last, last.
        self._forms: OrderedDict[Hashable, _Form | str] = OrderedDict()

    def judge(
        self, position: int, record: HostRecord, answers: Mapping[int, Answer] = MappingProxyType({})
    ) -> JudgedHost:
        """Return what scanner.results.judge_to_json does. answers: as there."""
        read = _maybe_read(record, answers)
        if read is None:
            return self._judge(position, record, answers)
        key = _key_of(record, read)
        form = self._recall(key)
        if isinstance(form, _Form):
            filled = _maybe_fill(form, position, record)
            return self._judge(position, record, answers) if filled is None else filled
        judged = self._judge(position, record, answers)
        if form is None:
            self._keep(key, _SEEN)
        elif form is _SEEN:
            made = self._maybe_form(record, read, judged)
            self._keep(key, made or _UNFIT)
        return judged

    def fill(
        self, position: int, key: Hashable, host: str, times_us: Sequence[int], make: Callable[[], HostRecord]
    ) -> JudgedHost:
        """Return what judge returns for the record that make returns, without making it where that can be avoided.

        key: hosts of equal keys are of the same template, and were asked and answered alike, in the same order.
        host: the address. times_us: when each exchange of the record began, in microseconds since 1970.
        """
        key = (":" in host, key)
        form = self._recall(key)
        if isinstance(form, _Form) and form.holds_in_micros(times_us):
            text = form.template_text
            texts = [_render_time(times_us[at]) for at in form.times]
            return form.fill(position, host, host, host if text is None else text, texts)
        record = make()
        judged = self._judge(position, record)
        if form is None:
            self._keep(key, _SEEN)
        elif form is _SEEN:
            read = _maybe_read(record, {})
            made = self._maybe_form(record, read, judged) if read is not None else None
            is_proven = (
                made is not None
                and len(times_us) == len(record.exchanges)
                and made.holds_in_micros(times_us)
                and judged
                == made.fill(
                    position, host, host, record.target.text, [_render_time(times_us[at]) for at in made.times]
                )
            )
            self._keep(key, made if made is not None and is_proven else _UNFIT)
        return judged

    def _judge(
        self, position: int, record: HostRecord, answers: Mapping[int, Answer] = MappingProxyType({})
    ) -> JudgedHost:
        return judge_to_json(self._run, record, self._policy, position=position, answers=answers)

    def _recall(self, key: Hashable) -> _Form | str | None:
        form = self._forms.get(key)
        if form is not None:
            self._forms.move_to_end(key)
        return form

    def _keep(self, key: Hashable, form: _Form | str) -> None:
        self._forms[key] = form
        if len(self._forms) > self._most:
            self._forms.popitem(last=False)

    def _maybe_form(self, record: HostRecord, answers: Sequence[Answer], judged: JudgedHost) -> _Form | None:
        """Return the form of a record that was judged, or None where filling it in does not give what judging gave."""
        stand_in, stand_in_answers = _put_placeholders(record, answers)
        times = [exchange.started_at.isoformat() for exchange in stand_in.exchanges]
        like = self._judge(0, stand_in, stand_in_answers)
        certified = {
            at: _CERTIFICATES.format(at)
            for at, endpoint in enumerate(record.endpoints)
            if any(each.engine is not None and each.request.endpoint == endpoint for each in record.exchanges)
        }
        for at, placeholder in certified.items():
            text = _render_certificates(stand_in.endpoints[at], stand_in.exchanges)
            like = replace(like, json=like.json.replace(text, placeholder))
        texts = (like.json, *(text for _, text in like.findings))
        used = {text for each in texts for text in _PLACEHOLDER.findall(each)}
        times_used = tuple(at for at, text in enumerate(times) if text in used)
        filled_in = (*(times[at] for at in times_used), *certified.values())
        places = _PLACES | {text: nth for nth, text in enumerate(filled_in, start=len(set(_PLACES.values())))}
        by_endpoint: dict[Endpoint, list[int]] = {}
        for at, exchange in enumerate(record.exchanges):
            by_endpoint.setdefault(exchange.request.endpoint, []).append(at)
        target = record.target
        try:
            form = _Form(
                host=_Slotted(like.json, places),
                findings=tuple((severity, _Slotted(text, places)) for severity, text in like.findings),
                like=like,
                template_text=None if target.text == target.host else target.text,
                times=times_used,
                certified=tuple(certified),
                pairs=tuple(pair for own in by_endpoint.values() for pair in pairwise(own)),
            )
        except KeyError:  # something that looks like a placeholder and is none
            return None
        return form if _maybe_fill(form, judged.position, record) == judged else None


def _maybe_fill(form: _Form, position: int, record: HostRecord) -> JudgedHost | None:
    """Return the record's host, of that form; None where the times of its exchanges are in another order."""
    times = [exchange.started_at for exchange in record.exchanges]
    if not form.holds(times):
        return None
    try:
        certificates = [_render_certificates(record.endpoints[at], record.exchanges) for at in form.certified]
    except Exception:  # noqa: BLE001  # a bug of ours on these bytes: judging says so and copes
        return None
    target, texts = record.target, (times[at].isoformat() for at in form.times)
    return form.fill(position, target.host, record.endpoints[0].address, target.text, texts, certificates=certificates)


def _render_certificates(endpoint: Endpoint, exchanges: Iterable[Exchange]) -> str:
    """Return ``certificates`` of an endpoint, as they stand in its host's line of JSON."""
    own = [each for each in exchanges if each.engine is not None and each.request.endpoint == endpoint]
    return render_certificates(describe_certificates(endpoint, own))


def _maybe_read(record: HostRecord, answers: Mapping[int, Answer]) -> list[Answer] | None:
    """Return the record's answers, or None where there is more to judge than these."""
    exchanges, endpoints, host = record.exchanges, record.endpoints, record.target.host
    if not endpoints or record.declarations or record.target.role in _ROLES_WITH_CHECKS or len(exchanges) > _MOST_TIMES:
        return None
    address, name = endpoints[0].address, endpoints[0].server_name
    for endpoint in endpoints:
        if endpoint.address != address or endpoint.server_name != name or endpoint.host != host:
            return None
    if record.resolution.addresses != (address,):
        return None
    for exchange in exchanges:
        request = exchange.request
        if (
            request.probe not in VERSION_PROBES
            or request.version is None
            or (request.probe is Probe.HELLO and exchange.engine is not None)
            or request.endpoint not in endpoints
        ):
            return None
    try:
        return [answers.get(exchange.request.id) or read_answer(exchange) for exchange in exchanges]
    except Exception:  # noqa: BLE001  # a bug of ours on these bytes: judging one by one says so and copes
        return None


def _key_of(record: HostRecord, answers: Sequence[Answer]) -> Hashable:
    """Return all that the judgement and its text depend on, but for what is filled in."""
    target, resolution = record.target, record.resolution
    address, name = record.endpoints[0].address, record.endpoints[0].server_name
    places = {endpoint: at for at, endpoint in enumerate(record.endpoints)}
    return (
        (target.role, target.ports, target.optional_ports, target.vendor, target.farm, target.tags, target.cloud),
        (target.is_from_range, record.stopped, resolution.cname_chain, resolution.error, resolution.cname_error),
        (":" in address, target.host == name, None if target.host == name else name),
        tuple([(endpoint.port, endpoint.upgrade, endpoint.is_optional) for endpoint in record.endpoints]),
        tuple([places[exchange.request.endpoint] for exchange in record.exchanges]),
        tuple(map(_facts_of, answers)),
        tuple(
            [
                (at, None if exchange.engine is None else _engine_facts_of(exchange.engine))
                for at, exchange in enumerate(record.exchanges)
                if exchange.request.probe is Probe.HANDSHAKE
            ]
        ),
    )


def _put_placeholders(record: HostRecord, answers: Sequence[Answer]) -> tuple[HostRecord, dict[int, Answer]]:
    """Return the record and its answers by request, with placeholders for what differs from host to host."""
    host = record.target.host
    address = _ADDRESS_6 if ":" in record.endpoints[0].address else _ADDRESS_4
    endpoints = {
        endpoint: replace(
            endpoint,
            host=_HOST,
            address=address,
            server_name=_HOST if endpoint.server_name == host else endpoint.server_name,
        )
        for endpoint in record.endpoints
    }

    places = {endpoint: at for at, endpoint in enumerate(record.endpoints)}

    def stand_in(at: int, exchange: Exchange) -> Exchange:
        # The order of the exchanges of an endpoint is that of their times: see _Form.pairs.
        request = replace(exchange.request, id=at, endpoint=endpoints[exchange.request.endpoint])
        engine = exchange.engine
        if engine is not None:
            # No certificate can be read from this, but its text is to be found by its fingerprint.
            chain = (_CERTIFICATES.format(places[exchange.request.endpoint]).encode(),)
            engine = replace(engine, chain_der=chain)
        return replace(exchange, request=request, started_at=_TIMES_FROM + timedelta(seconds=at), engine=engine)

    exchanges = tuple(stand_in(at, exchange) for at, exchange in enumerate(record.exchanges))
    return (
        replace(
            record,
            target=replace(record.target, host=_HOST, text=_TEXT),
            resolution=replace(record.resolution, addresses=(address,)),
            endpoints=tuple(endpoints.values()),
            exchanges=exchanges,
        ),
        {at: replace(answer, at=exchanges[at].started_at) for at, answer in enumerate(answers)},
    )


def _escape(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else render_line(text)[1:-1]


def _render_time(at_us: int) -> str:
    """Return what datetime.isoformat returns for a time in microseconds since 1970 (UTC)."""
    seconds, us = divmod(at_us, 1_000_000)
    return f"{_render_second(seconds)}.{us:06d}+00:00" if us else f"{_render_second(seconds)}+00:00"


@lru_cache(maxsize=256)
def _render_second(seconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")
