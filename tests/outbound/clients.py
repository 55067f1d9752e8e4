"""Simulated clients of a listener, under noise: what they support is known, what they do follows from it."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from scanner.model.versions import TlsVersion
from scanner.outbound.arrivals import Arrival, Outcome
from scanner.outbound.forms import form_of
from tests.outbound.hellos import SUITES, hello

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SSL2, SSL3, V10, V11, V12, V13 = TlsVersion
TLS_VERSIONS = (SSL3, V10, V11, V12, V13)

ENDS = {
    70: (Outcome.VERSION_REFUSED, 70),
    40: (Outcome.SUITES_REFUSED, 40),
    47: (Outcome.OTHER_ALERT, 47),
    "close": (Outcome.CLOSED, None),
    "reset": (Outcome.RESET, None),
    "silent": (Outcome.SILENT, None),
    "completed": (Outcome.COMPLETED, None),
    "went-on": (Outcome.WENT_ON, None),
    "certificate": (Outcome.CERTIFICATE_REFUSED, 48),
}


def arrival(found, *, answered=None, asked=None, end=None, serial=0, at=None, **more):
    """Return one connection: a hello, the version answered, and how it ended (a key of ENDS or an Outcome)."""
    outcome, alert = ENDS.get(end, (end, None))
    at = AT + timedelta(minutes=serial) if at is None else at
    fields = {
        "id": serial,
        "at": at,
        "ended_at": at + timedelta(seconds=0.2),
        "address": "192.0.2.7",
        "server_name": None,
        "hello": found,
        "form": "" if found is None else form_of(found),
        "token": None,
        "asked": answered if asked is None else asked,
        "answered": answered,
        "suite": None if answered is None else 0xC02F,
        "outcome": Outcome.NOT_ANSWERED if outcome is None else outcome,
        "text": "recorded" if outcome is None else outcome.value,
        "alert": alert,
    }
    return Arrival(**{**fields, **more})


@dataclass
class SimulatedClient:
    """versions: what it takes up (holes allowed). extra: listed or below the maximum, but refused all the same."""

    versions: frozenset
    extra: frozenset = frozenset()
    refuses: object = 70
    certificate: object = "completed"
    dance: str = "none"
    """none, marked (TLS_FALLBACK_SCSV), unmarked, or exact (each try stands for one version alone)."""
    suites: tuple = SUITES
    log: list = field(default_factory=list)

    def hello(self, ceiling):
        """Return the hello for a try with at most this version; TLS 1.3 means a list (RFC 8446 section 4.2.1)."""
        is_try = ceiling < max(self.versions)
        suites = (*self.suites, 0x5600) if is_try and self.dance == "marked" else self.suites
        if ceiling is V13:
            return hello(listed=sorted(self.versions | self.extra, reverse=True), suites=suites)
        return hello(legacy=int(ceiling), suites=suites)

    def tries(self):
        ceilings = sorted(self.versions, reverse=True)
        return ceilings if self.dance != "none" else ceilings[:1]

    def takes(self, version, ceiling):
        if self.dance == "exact":
            return version is ceiling
        return version in self.versions and version <= ceiling


def connect(client, chance, *, noise, answer, start, serial, may_vanish):
    """Make one visit: tries with less and less until one does not fail. Return what came, and when it was over."""
    found = []
    at = start
    for ceiling in client.tries():
        hello_sent = client.hello(ceiling)
        version = answer(hello_sent)
        end = 70
        if chance.random() < noise:
            end = chance.choice(["silent", "reset", "close", "lost"])
        elif version is None:
            end = None
        elif client.takes(version, ceiling):
            end = client.certificate
        else:
            end = client.refuses
        if end == "lost":
            if may_vanish:
                at += timedelta(seconds=1)
                continue
            end = "silent"
        one = arrival(hello_sent, answered=version, end=end, serial=serial + len(found), at=at)
        if version is None:
            one = replace(one, outcome=Outcome.NOT_OFFERED, text="not offered")
        found.append(one)
        at = one.ended_at + timedelta(seconds=chance.choice([0.1, 1, 5]))
        if end in {"completed", "went-on", "certificate"}:
            break
    return found, at


def visits(client, seed, *, noise, count=14, serial=0):
    """Return the connections of so many visits to a listener that answers one version at a time."""
    chance = random.Random(seed)
    may_vanish = client.dance in {"none", "marked"}
    found = []
    at = AT

    def answer(turn, hello_sent):
        fitting = [version for version in TLS_VERSIONS if hello_sent.may_offer(version) is not False]
        return fitting[turn % len(fitting)] if fitting else None

    for turn in range(count):
        own, at = connect(
            client,
            chance,
            noise=noise,
            answer=partial(answer, turn),
            start=at,
            serial=serial + len(found),
            may_vanish=may_vanish,
        )
        found += own
        at += timedelta(seconds=chance.choice([1, 3, 60]))
    return found


def draw_client(chance):
    """Return a client with a random set of versions, holes too, and habits."""
    versions = frozenset(chance.sample(TLS_VERSIONS, chance.randint(1, 5)))
    if chance.random() < 0.7:  # most are ranges
        low, high = sorted(chance.sample(range(6), 2))
        versions = frozenset(TLS_VERSIONS[low:high])
    extra = frozenset()
    if V13 in versions and chance.random() < 0.3:
        extra = frozenset(chance.sample(TLS_VERSIONS[:4], 2)) - versions
    return SimulatedClient(
        versions=versions,
        extra=extra,
        refuses=chance.choice([70, 70, 70, 40, 47, "close", "reset", "silent"]),
        certificate=chance.choice(["completed", "completed", "certificate", "went-on", "close"]),
        dance=chance.choice(["none", "none", "none", "marked", "unmarked", "exact"]),
        suites=(0x1301, chance.choice([0xC02F, 0xC030]), 0x002F),
    )
