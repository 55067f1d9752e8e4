"""Hosts with files, made by the real judgement of scripted exchanges: no network."""

from dataclasses import replace

from scanner.judge import judge_run
from scanner.model.checks import Check, CheckState
from scanner.model.declared import LineNote, LineState, Place
from scanner.model.evidence import Basis, GapReason
from scanner.model.runs import HostRecord, Resolution
from scanner.model.subjects import Direction, Role, Target
from scanner.model.versions import TlsVersion
from tests.declaring import declare, make_leg
from tests.test_judge import POLICY, RUN, _asked, _endpoint, _record

OUT = Direction.OUTBOUND
MODERN = frozenset({TlsVersion.TLS1_2, TlsVersion.TLS1_3})
LEGACY = MODERN | {TlsVersion.TLS1_0, TlsVersion.TLS1_1}
HOSTILE = "</script><script>document.title='pwned'</script>"
RESTART = Check(
    id="restart-pending",
    title="TLS settings were changed after the last boot: a restart is pending",
    state=CheckState.YES,
    detail="last boot 2026-11-01T04:00:00+00:00, last change 2026-11-20T10:15:00+00:00",
)


def worded(leg, *reasons, place=None):
    """Return a leg with the words that a real importer has, and each setting at its own place."""
    settings = [
        replace(each, reason=reason, place=place or each.place)
        for each, reason in zip(leg.settings, reasons * 6, strict=False)
    ]
    return replace(leg, settings=tuple(settings))


def scanned(name, enabled, *declarations, role=Role.ADFS):
    endpoint = replace(_endpoint(), host=name, server_name=name)
    record = _record(_asked(endpoint, enabled), [endpoint])
    target = Target(text=name, host=name, role=role, ports=(443,))
    return replace(record, target=target, declarations=declarations)


def known_by_files(name, *declarations, role=Role.REVERSE_PROXY):
    return HostRecord(
        target=Target(text=name, host=name, role=role, ports=(443,)),
        resolution=Resolution(),
        endpoints=(),
        exchanges=(),
        declarations=declarations,
    )


def disputed_host(
    name="sts.example.com", *, file="nginx.conf", leg="server sts.example.com at nginx.conf:12", **options
):
    """The file has TLS 1.2 and 1.3 alone; TLS 1.0 and 1.1 were accepted."""
    inbound = worded(
        make_leg("ddddee", leg, server_names=(name,)),
        "ssl_protocols names TLSv1.2 and TLSv1.3 alone",
        place=Place(file=file, line=12),
    )
    upstream = worded(
        make_leg("dd??ee", "proxy_pass at nginx.conf:20", direction=OUT, listens=(), destinations=("10.0.0.11:8443",)),
        "proxy_ssl_protocols is not set",
        place=Place(file=file, line=20),
    )
    notes = (
        LineNote(
            place=Place(file=file, line=7), state=LineState.CONDITIONAL, text="if", detail="depends on a variable"
        ),
        LineNote(place=Place(file=file, line=31), state=LineState.UNRECOGNISED, text="brotli_static"),
    )
    counts = (
        (LineState.SUPPORTED, 14),
        (LineState.IRRELEVANT, 112),
        (LineState.CONDITIONAL, 1),
        (LineState.UNIMPLEMENTED, 0),
        (LineState.UNRECOGNISED, 1),
    )
    declaration = declare(
        inbound, upstream, host=name, file=file, checks=(RESTART,), notes=notes, line_counts=counts, **options
    )
    return scanned(name, LEGACY, declaration)


def file_only_host(name="proxy9.example.com"):
    """Nothing was contacted: a listener with TLS 1.2, and connections that are left to a default."""
    outbound = make_leg(
        "ddd?ee",
        "proxy_pass at edge.conf:30",
        direction=OUT,
        listens=(),
        limits=("It does not show what openssl.cnf adds.",),
    )
    outbound = replace(
        outbound, settings=tuple(replace(each, basis=Basis.ASSUMED, place=None) for each in outbound.settings)
    )
    gaps = ((GapReason.INCLUDE_MISSING, "conf.d/*.conf was not supplied"),)
    return known_by_files(
        name, declare(make_leg("ddddee", "server at edge.conf:4"), outbound, host=name, file="edge.conf", gaps=gaps)
    )


def build_declared_result(*records):
    """Return a judged run; else one host with a dispute, one that only a file tells of, one without files."""
    return judge_run(RUN, records or (disputed_host(), file_only_host(), scanned("fs3.example.com", MODERN)), POLICY)
