"""Connections through proxies as both ends keep them: by real handshakes in memory, and written out by hand."""

from dataclasses import replace
from datetime import timedelta

from scanner.model.exchange import Ending, EngineReport, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Endpoint, Upgrade
from scanner.model.versions import TlsVersion
from scanner.outbound.tokens import Answer, ProbeToken, encode_probe_name
from scanner.probes.handshake import TlsEngine
from tests.outbound.recordings import AT, meet

SUFFIX = "tls-probe.invalid"
LISTENER = "192.0.2.99:443"
PROXY = Endpoint(
    host="proxy.example",
    address="192.0.2.1",
    port=3128,
    server_name=None,
    upgrade=Upgrade.HTTP_CONNECT,
    destination=LISTENER,
)


class OwnClient:
    """The program's own TLS client, as tests.outbound.recordings.meet drives one."""

    def __init__(self, variant, name):
        self.engine = TlsEngine(variant, name)
        self.steps = self.engine.handshake()
        self.is_over = False

    def feed(self, data):
        if self.is_over:
            return b""
        try:
            return self.steps.send(data) if data else next(self.steps)
        except StopIteration as stop:
            self.is_over = True
            return stop.value


def nonce(serial):
    return f"{serial:016x}"


def name_of(serial, answer=Answer.ANY):
    return encode_probe_name(ProbeToken(nonce(serial), answer), SUFFIX)


def question(
    serial,
    *,
    variant=None,
    answer=Answer.ANY,
    sent=b"",
    received=b"",
    ending=Ending.COMPLETE,
    os_error=None,
    is_direct=False,
    chain=(),
    way=PROXY,
):
    """Return our side of a connection."""
    endpoint = replace(way, server_name=name_of(serial, answer))
    if is_direct:
        host, _, port = way.destination.rpartition(":")
        endpoint = replace(endpoint, address=host, port=int(port), upgrade=Upgrade.NONE)
    return Exchange(
        request=ProbeRequest(id=serial * 10, probe=Probe.PATH, endpoint=endpoint, version=variant),
        started_at=AT + timedelta(seconds=10 * serial),
        sent=sent,
        received=received,
        ending=ending,
        elapsed_s=0.1,
        os_error=os_error,
        engine=EngineReport(engine="test", completed=bool(chain), chain_der=chain),
    )


def arrived(
    serial, *, answer=Answer.ANY, received, sent=b"", version=None, ending=Ending.PEER_CLOSED, number=1, **more
):
    """Return the listener's side of a connection."""
    chain = more.pop("chain", ())
    return Exchange(
        request=ProbeRequest(
            id=serial * 10 + number,
            probe=Probe.LISTENER,
            endpoint=Endpoint(host="proxy.example", address="192.0.2.1", port=443, server_name=name_of(serial, answer)),
            version=version,
        ),
        started_at=AT + timedelta(seconds=10 * serial + number / 10),
        sent=sent,
        received=received,
        ending=ending,
        elapsed_s=0.05,
        engine=EngineReport(engine="test", chain_der=chain, **{"completed": False} | more) if sent else None,
    )


def as_arrival(met, serial, answer=Answer.ANY, *, number=1):
    """Return what tests.outbound.recordings.meet kept as the listener's side of a question."""
    return arrived(
        serial,
        answer=answer,
        received=met.received,
        sent=met.sent,
        version=met.request.version,
        ending=met.ending,
        number=number,
        completed=met.engine.completed,
        error=met.engine.error,
    )


def as_question(met, serial, variant, answer=Answer.ANY, *, chain=()):
    """Return the same as our side."""
    return question(serial, variant=variant, answer=answer, sent=met.received, received=met.sent, chain=chain)


def tunnelled(serial, server, version=TlsVersion.TLS1_2, *, variant=None, answer=Answer.ANY):
    """Return (question, arrival) of one TLS session between both ends."""
    met = meet(OwnClient(variant, name_of(serial, answer)), server, version)
    return as_question(met, serial, variant, answer), as_arrival(met, serial, answer)


def re_encrypted(serial, front, upstream, server, version=TlsVersion.TLS1_2, *, variant=None, answer=Answer.ANY):
    """Return (question, arrival) of two TLS sessions; front and upstream are the proxy's two ends."""
    client_side = meet(OwnClient(variant, name_of(serial, answer)), front, version)
    server_side = meet(upstream, server, version)
    return as_question(client_side, serial, variant, answer), as_arrival(server_side, serial, answer)
