"""Exchanges and responses for the tests of scanner.recognise and the roles."""

from __future__ import annotations

from datetime import UTC, datetime

from scanner.model.certificates import Certificate, TrustResult
from scanner.model.exchange import Ending, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Endpoint, Role, Target

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def target(host="sts.example.test", role=Role.ADFS, **fields):
    return Target(**{"text": host, "host": host, "role": role, "ports": (443,)} | fields)


def endpoint(address="192.0.2.7", port=443, server_name="sts.example.test", **fields):
    return Endpoint(host="sts.example.test", address=address, port=port, server_name=server_name, **fields)


def response(status, body=b"", **headers):
    """An HTTP/1.1 response in bytes."""
    if isinstance(body, str):
        body = body.encode()
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def exchange(path, received=b"", *, ending=Ending.COMPLETE, probe=Probe.HTTP, os_error=None, **where):
    """One exchange; without bytes received, pass the ending that explains it."""
    request = ProbeRequest(id=1, probe=probe, endpoint=endpoint(**where), version=None, path=path)
    return Exchange(
        request=request,
        started_at=AT,
        sent=b"",
        received=received,
        ending=ending,
        elapsed_s=0.01,
        os_error=os_error,
    )


def certificate(*names, issuer="CN=Example Issuing CA,O=Example Org", errors=("no path",), chain_count=2, **fields):
    """A certificate; each of errors is one store's (None: trusted)."""
    trust = tuple(
        TrustResult(store=store, store_version="1", is_trusted=error is None, error=error)
        for store, error in zip(("Windows", "Mozilla", "Apple"), errors, strict=False)
    )
    return Certificate(
        **{
            "subject": "CN=x",
            "issuer": issuer,
            "not_before": AT,
            "not_after": AT,
            "sha256": "00",
            "names": names,
            "chain_count": chain_count,
            "trust": trust,
        }
        | fields
    )


def by_id(checks):
    assert len({check.id for check in checks}) == len(checks)
    return {check.id: check for check in checks}
