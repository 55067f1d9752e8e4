"""Asks one running proxy as the program does, and holds what it says against ``expected``."""

from __future__ import annotations

import asyncio
import pickle
import socket
import time
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scanner.app import scan_plan
from scanner.judge import judge_record
from scanner.listener.server import Listener
from scanner.model.outbound import Mirroring, PathKind
from scanner.model.runs import HostRecord, Resolution, Run
from scanner.model.subjects import Direction, Role, Target, Upgrade
from scanner.model.verdicts import State
from scanner.model.versions import ALL_VERSIONS
from scanner.options import Confirm, ScanOptions
from scanner.outbound.results import judge_outbound
from scanner.outbound.tokens import NO_NAME_SUFFIX, encode_trigger_name
from scanner.policy import read_policy
from scanner.proxy_setup import Secrets
from scanner.reports.html import render_html
from scanner.reports.json import render_json
from scanner.store.database import open_store
from scanner.store.stored import KeepBytes
from scanner.sweep.plan import TargetPlan
from scanner.sweep.space import Space
from scanner.upgrade.credentials import Credentials, ProxyCredentials
from tests.lab.model import TLS1_0, TLS1_1, TLS1_2, TLS1_3
from tests.proxies.model import NOT_DETERMINABLE, Side, running, versions
from tests.proxies.origin import open_origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scanner.listener.identity import Identity
    from scanner.model.outbound import PathResult
    from scanner.model.runs import HostResult
    from scanner.model.verdicts import Verdict
    from scanner.model.versions import TlsVersion
    from tests.proxies.certs import ProxyCertificates
    from tests.proxies.model import ProxyKind, RunningProxy
    from tests.proxies.origin import Origin

_METHODS = ("nginx", "haproxy", "apache", "squid")
"""Products with a method of their own (scanner.outbound.methods)."""
_MOST_TRIGGERS_COUNT = 16
_QUIET_S = 2.0
"""How long a proxy may take to come back to the listener before it is asked again."""
_POLICY = "entra-drs"
_ORIGIN = (TLS1_0, TLS1_1, TLS1_2, TLS1_3)
"""What the registration endpoint speaks, which a tunnel leads to."""

_PASSED_ON = "the proxy takes an SSL 2.0 hello for no TLS and passes it on: what comes back is the origin's"
_NO_ANSWER = "a way that was called open, or a hello, is met with nothing: it may be a fault of the moment"
_MITMPROXY_SSL2 = {"inbound SSL2": _PASSED_ON, "interception SSL2": _PASSED_ON}
_DISTRUSTS = "mitmproxy closes without an alert where it does not trust the origin, as for any other reason"
_SILENT = ("silent", "reset", "open-close", "open-reset", "open-silent")

UNSETTLED: dict[str, dict[str, str]] = dict.fromkeys(
    (
        "mitmproxy-default",
        "mitmproxy-10-13",
        "mitmproxy-12-only",
        "mitmproxy-server-10-11",
        "mitmproxy-server-13-only",
        "mitmproxy-lazy",
        "mitmproxy-lazy-no-lookup",
        "mitmproxy-basic",
        "mitmproxy-socks",
    ),
    _MITMPROXY_SSL2,
)
UNSETTLED |= {
    "mitmproxy-13-only": {
        **_MITMPROXY_SSL2,
        "mirrors": "only a hello with TLS 1.3 gets in: there is no other form to compare with",
    },
    "mitmproxy-verifies": {**_MITMPROXY_SSL2, "outbound TLS1.2": _DISTRUSTS, "outbound TLS1.3": _DISTRUSTS},
    "squid-terminate": {"path": _NO_ANSWER, "destination": _NO_ANSWER},
    "mitmproxy-10-11": {
        **_MITMPROXY_SSL2,
        "destination": "the certificate is seen in handshakes, which are in TLS 1.2 and 1.3 where none is confirmed",
    },
}
UNSETTLED |= {f"scripted-{deed}": {"path": _NO_ANSWER, "destination": _NO_ANSWER} for deed in _SILENT}
"""What can't be told of a proxy though it is known here, with the reason: by its name and what was asked."""


@dataclass(slots=True, kw_only=True)
class Compared:
    """One proxy's results against its truth."""

    name: str
    wrong: list[str] = field(default_factory=list)
    """What contradicts the truth; must be empty."""
    unknown: dict[str, str] = field(default_factory=dict)
    """What was not settled though the truth is known: by ``outbound TLS1.0``, ``inbound SSL2``, ``path``; why."""
    settled_count: int = 0
    """What agrees."""
    connections_count: int = 0
    took_s: float = 0.0
    kept: str = ""
    """Everything the program wrote and stored of the run, for a search for secrets."""


def ask(
    kind: ProxyKind,
    certificates: ProxyCertificates,
    folder: Path,
    identity: Identity,
    *,
    confirm: Confirm = Confirm.NONE,
) -> Compared:
    """Start the proxy and ask it; folder: for the store. identity: of a reverse proxy's back end."""
    began_at = time.monotonic()
    if kind.side is Side.REVERSE:
        compared = asyncio.run(_trigger(kind, certificates, identity))
    else:
        port = _free_port()
        with (
            open_origin(certificates, *_ORIGIN) as origin,
            running(kind, certificates=certificates, allowed_ports=(port, origin.port)) as proxy,
        ):
            compared = asyncio.run(_scan(proxy, origin, port, folder, confirm))
    compared.took_s = time.monotonic() - began_at
    return compared


def secrets_of(kind: ProxyKind) -> tuple[str, ...]:
    """Return every form in which the proxy's password could be found, lower case."""
    if kind.credentials is None:
        return ()
    user, password = kind.credentials.user, kind.credentials.password
    # Base64 depends on where in the text it begins: the middle of each of the three forms is looked for.
    forms = [b64encode(b" " * shift + password.encode()).decode()[4:-4] for shift in range(3)]
    return tuple(
        text.lower()
        for text in (password, password.encode().hex(), b64encode(f"{user}:{password}".encode()).decode(), *forms)
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


async def _scan(proxy: RunningProxy, origin: Origin, port: int, folder: Path, confirm: Confirm) -> Compared:
    """Scan the proxy with a listener of the scan's own on this port, and the origin as a registration endpoint."""
    kind = proxy.kind
    target = Target(text=kind.name, host=proxy.address, role=Role.PROXY, ports=(proxy.port,), proxy=proxy.upgrade)
    endpoint = Target(text="origin", host=origin.address, role=Role.ENDPOINT, ports=(origin.port,))
    options = ScanOptions(
        # What says nothing at all is waited for in every question.
        timeout_s=1.0 if kind.name.startswith("scripted-") else 5.0,
        rate=0,
        per_network=0,
        confirm=confirm,
        keep=KeepBytes.ALL,
        listener=f"127.0.0.1:{port}",
    )
    known = None if kind.credentials is None else Credentials(kind.credentials.user, kind.credentials.password)
    records: dict[int, HostRecord] = {}
    with open_store(str(folder / f"{kind.name}-{port}.db")) as store:
        results = await scan_plan(
            TargetPlan(named=(target, endpoint), space=Space(())),
            options,
            store=store,
            secrets_of=Secrets(proxies=ProxyCredentials(otherwise=known)),
            on_record=records.__setitem__,
        )
        with results:
            run = results._run
            written = ["".join(render_json(results)), "".join(render_html(results))]
        stored, checkpoint = store.load_run(run.id), store.load_checkpoint(run.id)
    assert stored.hosts == (records[0], records[1]), "what is stored is not what was learned"
    judged, _ = judge_record(run, stored.hosts[0], read_policy(_POLICY))
    compared = Compared(name=kind.name, connections_count=len(records[0].exchanges))
    # Pickled, the record's bytes are there as they are.
    written.append(pickle.dumps((stored, checkpoint)).decode("latin-1"))
    compared.kept = "\n".join(written).lower()
    _compare_forward(kind, judged, compared)
    return compared


def _compare_forward(kind: ProxyKind, judged: HostResult, compared: Compared) -> None:
    expected = kind.expected
    if [path.is_listener for path in judged.paths] != [True, False]:
        compared.wrong.append(f"paths: {[path.destination for path in judged.paths]}")
        return
    path, destination = judged.paths
    _compare_path("path", kind, path, compared)
    _compare_mirroring(kind, path, compared)
    _compare_path("destination", kind, destination, compared)
    through = {PathKind.RE_ENCRYPTS: expected.inbound, PathKind.TUNNEL: versions(*_ORIGIN)}
    _compare("through", through.get(expected.path, NOT_DETERMINABLE), destination.verdicts, compared)
    outbound = [verdict for verdict in judged.verdicts if verdict.direction is Direction.OUTBOUND]
    _compare("outbound", expected.outbound, outbound, compared)
    _compare("interception", expected.inbound, path.verdicts, compared)
    if expected.path is PathKind.RE_ENCRYPTS and kind.upgrade is not Upgrade.HTTPS_CONNECT:
        inbound = [verdict for verdict in judged.verdicts if verdict.direction is Direction.INBOUND]
        _compare("inbound", expected.inbound, inbound, compared)
    if expected.front is not None:
        own = [verdict for verdict in judged.verdicts if verdict.direction is Direction.INBOUND]
        _compare("front", expected.front, own, compared)


def _compare_path(name: str, kind: ProxyKind, path: PathResult, compared: Compared) -> None:
    expected = kind.expected
    # A way that nobody opens, or in which nothing comes through, may also stay unknown, with the reason.
    may_be = {expected.path, PathKind.UNKNOWN}
    if path.kind not in may_be or not path.reason:
        compared.wrong.append(f"{name}: {path.kind.value} ({path.reason}), in truth {expected.path.value}")
    elif path.kind is PathKind.UNKNOWN:
        compared.unknown[name] = path.reason
    else:
        compared.settled_count += 1


def _compare_mirroring(kind: ProxyKind, path: PathResult, compared: Compared) -> None:
    expected = kind.expected
    if expected.mirrors is None:
        return
    told = {Mirroring.MIRRORS: True, Mirroring.INDEPENDENT: False, Mirroring.UNKNOWN: None}[path.mirroring]
    if told is None:
        compared.unknown["mirrors"] = path.reason
    elif told is not expected.mirrors:
        compared.wrong.append(f"mirrors: {path.mirroring.value}, in truth {expected.mirrors}")
    else:
        compared.settled_count += 1


def _compare(
    name: str,
    expected: Mapping[TlsVersion, bool | None],
    verdicts: Iterable[Verdict],
    compared: Compared,
) -> None:
    states = {verdict.version: verdict for verdict in verdicts}
    for version in ALL_VERSIONS:
        verdict, truth = states.get(version), expected[version]
        state = State.UNKNOWN if verdict is None else verdict.state
        if verdict is not None and verdict.is_disputed:
            compared.wrong.append(f"{name} {version.label}: disputed ({verdict.reason})")
        if state is State.UNKNOWN:
            if truth is not None:
                compared.unknown[f"{name} {version.label}"] = "no verdict" if verdict is None else verdict.reason
        elif truth is not (state is State.ENABLED):
            reason = verdict.reason if verdict is not None else ""
            compared.wrong.append(f"{name} {version.label}: {state.value} ({reason}), in truth {truth}")
        else:
            compared.settled_count += 1


async def _trigger(kind: ProxyKind, certificates: ProxyCertificates, identity: Identity) -> Compared:
    """Let the proxy connect to the listener until every version is settled, or for long enough."""
    exchanges = []
    began_at = datetime.now(UTC)
    listener = Listener([("127.0.0.1", 0)], identity, on_exchange=exchanges.append)
    await listener.start()
    try:
        host = "reverse.example.test"
        method = next((each for each in _METHODS if kind.name.startswith(each)), "curl")
        name = encode_trigger_name(method, host, NO_NAME_SUFFIX, None)
        compared = Compared(name=kind.name)
        ((address, port),) = listener.addresses
        with running(kind, certificates=certificates, backend=(address, port), server_name=name) as proxy:
            for _ in range(_MOST_TRIGGERS_COUNT):
                before = len(exchanges)
                await asyncio.to_thread(proxy.trigger, name)
                deadline = time.monotonic() + _QUIET_S
                while (listener.counters.open or len(exchanges) == before) and time.monotonic() < deadline:  # noqa: ASYNC110 - it has no event for that
                    await asyncio.sleep(0.02)
                verdicts = _judge(exchanges, host, began_at)
                if verdicts and all(each.state is not State.UNKNOWN for each in verdicts):
                    break
    finally:
        await listener.stop()
    compared.connections_count = len(exchanges)
    _compare("outbound", kind.expected.outbound, _judge(exchanges, host, began_at), compared)
    return compared


def _judge(exchanges, host: str, began_at: datetime) -> list[Verdict]:
    """Return the verdicts of the one client there is; of an old one without a name they are credited to its address."""
    run = Run(
        id="20261123T120000Z-7e57",
        started_at=began_at,
        finished_at=None,
        is_complete=True,
        policy_id=_POLICY,
        confirm="all",
        tool_version="0",
    )
    target = Target(text=host, host=host, role=Role.SERVER, ports=(443,))
    record = HostRecord(target=target, resolution=Resolution(), endpoints=(), exchanges=tuple(exchanges))
    found = judge_outbound(run, record)
    assert len(found) <= 1, [each.scope for each in found]
    return [verdict for result in found for verdict in result.verdicts]
