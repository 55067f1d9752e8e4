"""Peers for scanner.net.scripted: the honest server of tests/hostile, with bytes of the tests' own encoder."""

from __future__ import annotations

import asyncio

from scanner.engine import Engine, EngineSettings
from scanner.model.exchange import Ending
from scanner.model.runs import Resolution
from scanner.model.subjects import Role, Target
from scanner.model.versions import TlsVersion
from scanner.net.limits import Dispatcher
from scanner.net.scripted import ScriptedNetwork, ScriptedReply
from tests.hostile import wire
from tests.hostile.honest import OPENSSL_LIKE, After, Honest

MODERN = Honest(enabled=frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3}), refusals=OPENSSL_LIKE)
OLD = Honest(enabled=frozenset({TlsVersion.TLS1_0, TlsVersion.TLS1_1}), refusals=OPENSSL_LIKE)

SILENT = ScriptedReply(ending=Ending.TIMED_OUT_READ)
"""Silence, without the wait."""
HANGING = ScriptedReply(delay_s=3600)
"""Silence up to the deadline."""
REFUSED = ScriptedReply(ending=Ending.REFUSED, os_error="ECONNREFUSED")

_ENDINGS = {After.HOLD: Ending.TIMED_OUT_READ, After.FIN: Ending.PEER_CLOSED, After.RESET: Ending.PEER_RESET}


def honest(first, profile=MODERN, *, delay_s=0.0):
    """Return what an honest server does on a connection that begins with these bytes."""
    reply = profile.reply(wire.decode_hello(first))
    flights = []

    def answer(out):
        flights.append(out)
        return profile.reply(wire.decode_hello(out)).data

    return ScriptedReply(
        answer=answer if reply.data else None,
        ending=_ENDINGS[reply.after],
        os_error="ECONNRESET" if reply.after is After.RESET else None,
        delay_s=delay_s,
    )


def honest_script(profile=MODERN, *, delay_s=0.0):
    return lambda _address, _port, first: honest(first, profile, delay_s=delay_s)


def sni_of(first):
    return wire.decode_hello(first).sni


def asked_version(first):
    return wire.decode_hello(first).asked


def target(host="192.0.2.1", *, port=443, **more):
    return Target(**{"text": host, "host": host, "role": Role.SERVER, "ports": (port,)} | more)


class Names:
    """A resolver that knows a few names; takes delay_s for each."""

    def __init__(self, names, delay_s=0.0):
        self._names = names
        self._delay_s = delay_s
        self.asked = []

    async def resolve(self, name, *, want_cname=False):
        self.asked.append((name, want_cname))
        await asyncio.sleep(self._delay_s)
        if name not in self._names:
            return Resolution(error="no such name")
        return Resolution(addresses=tuple(self._names[name]))


class Run:
    """One run of an engine over a scripted network, and what came of it."""

    def __init__(
        self, script, *, names=None, exclusions=None, network=None, resolver=None, rate=0, pace=None, **settings
    ):
        self.network = network or ScriptedNetwork(script)
        self.records = {}
        self.positions = []
        self._given = {
            "resolver": resolver or Names(names or {}),
            "exclusions": exclusions,
            "pace": pace,
        }
        self._rate = rate
        self._settings = EngineSettings(
            **{
                "timeout_s": 5.0,
                "host_deadline_s": 60.0,
                "concurrency": 100,
                "per_address": 8,
                "confirm": frozenset(),
                "does_recognise": True,
            }
            | settings
        )
        self.engine = None
        self.on_host = lambda _position, _record: None

    def __call__(self, *targets):
        asyncio.run(self.go(*targets))
        return self

    async def go(self, *targets, beside=None):
        """Scan in a running loop."""
        self.engine = Engine(
            network=self.network, dispatcher=Dispatcher(self._rate), settings=self._settings, **self._given
        )
        async with asyncio.timeout(30):
            await self.engine.run(list(enumerate(targets)), self._keep, beside=beside)

    def _keep(self, position, record):
        self.positions.append(position)
        self.records[record.target.text] = record
        self.on_host(position, record)
