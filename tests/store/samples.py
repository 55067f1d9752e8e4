"""Records for the store's tests: two written out by hand, numbered ones by formula, and arbitrary ones."""

from __future__ import annotations

import hashlib
import json
import random
import typing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from scanner.model.exchange import Ending, EngineReport, Exchange, HelloVariant, Probe, ProbeRequest
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Endpoint, Role, Target, Upgrade
from scanner.model.versions import TlsVersion

BEGUN_AT = datetime(2026, 11, 23, 16, 7, 0, 123456, tzinfo=UTC)


def make_run(run_id="20261123T160700Z-1a2b", *, started_at=BEGUN_AT, **changes):
    return Run(
        **{
            "id": run_id,
            "started_at": started_at,
            "finished_at": None,
            "is_complete": False,
            "policy_id": "entra-drs",
            "confirm": "all",
            "tool_version": "0.1.0",
            "command": "scan",
        }
        | changes
    )


def make_record(number):
    """Return the record with this number: the same one in every process."""
    noise = hashlib.shake_128(number.to_bytes(8, "big")).digest(30_000)
    name = f"host{number}.example"
    endpoint = Endpoint(host=name, address=f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", port=443,
                        server_name=name)  # fmt: skip
    intermediate = b"the one intermediate" * 50
    exchanges = tuple(
        Exchange(
            request=ProbeRequest(
                id=number * 10 + ordinal,
                probe=Probe.HELLO,
                endpoint=endpoint,
                version=version,
                variant=HelloVariant.BROAD,
            ),
            started_at=BEGUN_AT + timedelta(microseconds=number * 1000 + ordinal),
            sent=b"hello" + bytes(range(256)) + noise[ordinal * 64 : ordinal * 64 + 64],
            received=noise[: int.from_bytes(noise[ordinal : ordinal + 2], "big") % 3000],
            ending=list(Ending)[(number + ordinal) % len(Ending)],
            elapsed_s=noise[ordinal] / 256,
            engine=EngineReport(engine="nassl", completed=True, chain_der=(b"leaf" + noise[-600:], intermediate))
            if version is TlsVersion.TLS1_2
            else None,
        )
        for ordinal, version in enumerate(TlsVersion)
    )
    return HostRecord(
        target=Target(text=name, host=name, role=Role.SERVER, ports=(443,)),
        resolution=Resolution(addresses=(endpoint.address,)),
        endpoints=(endpoint,),
        exchanges=exchanges,
    )


# What data/*.sql hold: every field set to something telling.
LISTED = Endpoint(host="sts.example.com", address="192.0.2.7", port=49443, server_name="sts.example.com",
                  is_optional=True)  # fmt: skip
UNLISTED = Endpoint(host="sts.example.com", address="2001:db8::1", port=80, server_name=None)
FULL_RECORD = HostRecord(
    target=Target(
        text="sts.bücher.example sni=sts.example.com \U0001f512",
        host="sts.example.com",
        role=Role.ADFS,
        ports=(443, 8443),
        optional_ports=(49443,),
        server_name="sts.example.com",
        vendor="Windows Server 2019",
        farm="farm-1",
        tags=("dmz", "zürich", ""),
        is_from_range=True,
        cloud="global",
        locator="targets.txt:12",
    ),
    resolution=Resolution(
        addresses=("192.0.2.7", "2001:db8::1"), cname_chain=("a.example", "b.example"), error="", cname_error="SERVFAIL"
    ),
    endpoints=(LISTED, LISTED),
    exchanges=(
        Exchange(
            request=ProbeRequest(
                id=1, probe=Probe.HELLO, endpoint=LISTED, version=TlsVersion.SSL2, variant=HelloVariant.RARE,
                deadline_s=2.5, max_bytes=1024,
            ),
            started_at=BEGUN_AT, sent=b"\x80\x2e" + b"\x01" * 46, received=b"", ending=Ending.PEER_RESET,
            elapsed_s=0.0625, os_error="ECONNRESET",
        ),
        Exchange(
            request=ProbeRequest(id=2, probe=Probe.HANDSHAKE, endpoint=LISTED, version=TlsVersion.TLS1_3),
            started_at=BEGUN_AT + timedelta(seconds=1), sent=bytes(range(256)), received=b"\x16\x03\x03" * 400,
            ending=Ending.COMPLETE, elapsed_s=0.1,
            engine=EngineReport(
                engine="nassl 5.4.0 (modern OpenSSL)", completed=True, cipher_suite="TLS_AES_256_GCM_SHA384",
                chain_der=(b"leaf", b"intermediate" * 20, b"leaf", b""), client_certificate_requested=True, error="",
            ),
        ),
        Exchange(
            request=ProbeRequest(id=3, probe=Probe.HTTP, endpoint=UNLISTED, version=None, path="/adfs/probe"),
            started_at=BEGUN_AT + timedelta(seconds=2), sent=b"GET /adfs/probe HTTP/1.1\r\n\r\n",
            received=b"\0" * 65_536, ending=Ending.OVERSIZE, elapsed_s=5.0, os_error="nul \0 and lone \udcff",
        ),
    ),
    stopped="out-of-time",
)  # fmt: skip
BARE_RECORD = HostRecord(
    target=Target(text="192.0.2.9", host="192.0.2.9", role=Role.SERVER, ports=()),
    resolution=Resolution(),
    endpoints=(),
    exchanges=(),
)

WAY = Endpoint(host="proxy.example.com", address="192.0.2.3", port=3128, server_name="p-00-any.tls-probe.invalid",
               upgrade=Upgrade.SOCKS5, destination="[2001:db8::1]:443")  # fmt: skip
CAME = Endpoint(host="proxy.example.com", address="192.0.2.4", port=443, server_name="p-00-any.tls-probe.invalid")
PROXY_RECORD = HostRecord(
    target=Target(text="socks5://proxy.example.com:3128", host="proxy.example.com", role=Role.PROXY, ports=(3128,),
                  proxy=Upgrade.SOCKS5),
    resolution=Resolution(addresses=("192.0.2.3",)),
    endpoints=(replace(WAY, upgrade=Upgrade.NONE, destination=None), WAY),
    exchanges=(
        Exchange(
            request=ProbeRequest(id=1, probe=Probe.PATH, endpoint=WAY, version=None),
            started_at=BEGUN_AT, sent=b"\x16\x03\x01" + bytes(300), received=b"\x16\x03\x03" * 30,
            ending=Ending.COMPLETE, elapsed_s=0.25,
            engine=EngineReport(engine="nassl", completed=True, chain_der=(b"leaf", b"root")),
        ),
        Exchange(
            request=ProbeRequest(id=2, probe=Probe.LISTENER, endpoint=CAME, version=TlsVersion.TLS1_3, path="/p/x/"),
            started_at=BEGUN_AT + timedelta(seconds=1), sent=b"\x16\x03\x03" * 30,
            received=b"\x16\x03\x01" + bytes(300),
            ending=Ending.PEER_CLOSED, elapsed_s=0.125,
            engine=EngineReport(engine="OpenSSL", completed=False, chain_der=(b"leaf",), error="received alert 48 (x)"),
        ),
        Exchange(
            request=ProbeRequest(id=3, probe=Probe.HELLO, endpoint=WAY, version=TlsVersion.TLS1_2,
                                 variant=HelloVariant.BROAD),
            started_at=BEGUN_AT + timedelta(seconds=2), sent=b"", received=b"HTTP/1.1 403 Forbidden\r\n\r\n",
            ending=Ending.UPGRADE_DECLINED, elapsed_s=0.5, os_error="403 Forbidden",
        ),
    ),
)  # fmt: skip

HELLOS = [
    (TlsVersion.from_label(label), HelloVariant(variant), server_name, bytes.fromhex(hello))
    for label, variant, server_name, hello in json.loads((Path(__file__).parent / "data" / "hellos.json").read_text())
]
"""The hellos of version 0.1.0 (version, variant, server name, bytes) with the random bytes 0 to 63. Never made anew."""


def make_hello_record(server_name, *, host="192.0.2.77", received=b"\x15\x03\x03\x00\x02\x02\x28", is_from_range=True):
    """Return a record of every hello of HELLOS with this server name."""
    endpoint = Endpoint(host=host, address=host, port=443, server_name=server_name)
    exchanges = tuple(
        Exchange(
            request=ProbeRequest(
                id=50 + 3 * number, probe=Probe.HELLO, endpoint=endpoint, version=version, variant=variant
            ),
            started_at=BEGUN_AT + timedelta(microseconds=1234 * number),
            sent=hello,
            received=received,
            ending=Ending.COMPLETE,
            elapsed_s=0.001234,
        )
        for number, (version, variant, name, hello) in enumerate(HELLOS)
        if name == server_name
    )
    target = Target(
        text="192.0.2.0/24",
        host=host,
        role=Role.SERVER,
        ports=(443,),
        is_from_range=is_from_range,
        server_name=server_name,
    )
    return HostRecord(
        target=target, resolution=Resolution(addresses=(host,)), endpoints=(endpoint,), exchanges=exchanges
    )


# Text of every kind the types allow: NUL, noncharacters and lone surrogates (odd arguments become those) included.
_TEXT = st.text(st.characters() | st.sampled_from("\0\udcff\ufdd0\\'\""), max_size=30)
_BYTES = st.one_of(
    st.just(b""),
    st.binary(max_size=200),
    st.binary(min_size=1, max_size=8).map(lambda part: part * 9000),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.just(65_536)),
)
_INTEGERS = st.integers(0, 2**53)
_BY_TYPE = {
    str: _TEXT,
    bytes: _BYTES,
    int: _INTEGERS,
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    type(None): st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}
_BY_FIELD = {"port": st.integers(1, 65_535)}


def arbitrary(kind):
    """Return a strategy for a type of scanner.model in which every field is drawn, those with defaults too."""
    if typing.get_origin(kind) is tuple:
        return st.lists(arbitrary(typing.get_args(kind)[0]), max_size=3).map(tuple)
    if typing.get_args(kind):
        return st.one_of(*(arbitrary(part) for part in typing.get_args(kind)))
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    drawn = {
        field.name: _BY_FIELD[field.name] if field.name in _BY_FIELD else arbitrary(hints[field.name])
        for field in fields(kind)
        if field.name != "declarations"  # kept in a table of their own: tests/store/test_declarations.py
    }
    return st.builds(kind, **drawn)


@st.composite
def arbitrary_records(draw):
    """Draw records in which some exchanges are with a listed endpoint, as nearly all are in life."""
    record = draw(arbitrary(HostRecord))
    exchanges = tuple(
        replace(exchange, request=replace(exchange.request, endpoint=draw(st.sampled_from(record.endpoints))))
        if record.endpoints and draw(st.booleans())
        else exchange
        for exchange in record.exchanges
    )
    return replace(record, exchanges=exchanges)
