"""Exchanges as a listener makes them."""

from datetime import UTC, datetime

from scanner.model.exchange import Ending, EngineReport, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion

ENGINE = EngineReport(engine="e", completed=True, cipher_suite="S", chain_der=(b"\x30\x00", b"\x30\x01"), error=None)


def exchange(number=1, *, received=b"\x16\x03\x01", engine=ENGINE, **fields):
    values = {
        "version": TlsVersion.TLS1_2,
        "path": "/t/x",
        "server_name": "a.example",
        "ending": Ending.COMPLETE,
        "os_error": None,
    } | fields
    return Exchange(
        request=ProbeRequest(
            id=number,
            probe=Probe.LISTENER,
            endpoint=Endpoint(host="sts.example", address="2001:db8::7", port=443, server_name=values["server_name"]),
            version=values["version"],
            path=values["path"],
            deadline_s=20.0,
        ),
        started_at=datetime(2026, 11, 23, 16, 7, 0, 123456, tzinfo=UTC),
        sent=b"\x15\x03\x03\x00\x02\x02\x46",
        received=received,
        ending=values["ending"],
        elapsed_s=0.25,
        os_error=values["os_error"],
        engine=engine,
    )
