"""Asks one running proxy everything that its ``expected`` claims, by curl, plain Python and version-limited origins."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from scanner.model.outbound import PathKind
from scanner.model.subjects import Upgrade
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3
from tests.proxies.certs import SERVER_NAME
from tests.proxies.model import OpensAt, Side, running
from tests.proxies.origin import ANY_SUITE, PAGE, STATIC_RSA, open_old_origin, open_origin, open_recorder, read_hello
from tests.proxies.way import InnerTls, open_way, speak_old

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scanner.model.versions import TlsVersion
    from tests.proxies.certs import ProxyCertificates
    from tests.proxies.model import ProxyKind, RunningProxy
    from tests.proxies.origin import Origin

_CURL_S = 6
_WAIT_S = 1.0
_POLL_S = 0.01
_NUMBERS = {TLS1_0: "1.0", TLS1_1: "1.1", TLS1_2: "1.2", TLS1_3: "1.3"}
_ALL_TLS = tuple(_NUMBERS)
_OLD = {SSL2: "SSLV2", SSL3: "SSLV3"}
_SCHEMES = {Upgrade.HTTP_CONNECT: "http", Upgrade.HTTPS_CONNECT: "https", Upgrade.SOCKS5: "socks5"}


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the wire showed of one proxy; the fields are those of Expected."""

    path: PathKind
    outbound: dict[TlsVersion, bool] | None = None
    inbound: dict[TlsVersion, bool] | None = None
    mirrors: bool | None = None
    declined: int | None = None
    says_open: bool = False
    front: dict[TlsVersion, bool] | None = None
    opens_at: OpensAt | None = None
    passes_server_name: bool | None = None
    verifies: bool = False
    is_same_bytes: bool | None = None
    """Whether the origin got the client's ClientHello byte for byte."""
    offers: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """What the proxy offered, by what the client did."""
    log: list[str] = field(default_factory=list)
    """What the clients said, for a failed test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One run of curl."""

    code: int
    """Its exit status."""
    connect_status: int
    """HTTP status of the answer to CONNECT; 0 for none."""
    status: int
    """HTTP status inside TLS; 0 for none."""
    certificate: bytes | None
    """The leaf that it was shown inside, DER; None where no handshake ended."""
    has_page: bool
    """Whether the origin's page came through."""
    text: str


def _curl(
    proxy: RunningProxy,
    origin: Origin,
    *,
    lowest: TlsVersion = TLS1_0,
    highest: TlsVersion = TLS1_3,
    ciphers: str = ANY_SUITE,
) -> Said:
    command = ["curl", "-sSk", "--http1.1", "--max-time", str(_CURL_S), f"--tlsv{_NUMBERS[lowest]}"]
    command += ["--tls-max", _NUMBERS[highest], "--ciphers", f"{ciphers}:@SECLEVEL=0"]
    command += ["-w", "\n[%{http_connect} %{http_code}]\n%{certs}"]
    if proxy.kind.side is Side.FORWARD:
        command += ["--noproxy", "", "--proxy-insecure", "--proxy-ciphers", "ALL:@SECLEVEL=0"]
        command += ["-x", f"{_SCHEMES[proxy.upgrade]}://{proxy.address}:{proxy.port}"]
        if proxy.credentials and proxy.upgrade is not Upgrade.SOCKS5:
            command.append("--proxy-digest" if "digest" in proxy.kind.name else "--proxy-basic")
        if proxy.credentials:
            command += ["--proxy-user", f"{proxy.credentials.user}:{proxy.credentials.password}"]
        target = f"{origin.address}:{origin.port}"
    else:
        command += ["--noproxy", "*"]
        target = f"{proxy.address}:{proxy.port}"
    command += ["--connect-to", f"{SERVER_NAME}:{origin.port}:{target}", f"https://{SERVER_NAME}:{origin.port}/"]
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=_CURL_S + 10, env={**os.environ, "OPENSSL_CONF": os.devnull}
    )
    text = done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
    numbers = re.search(r"^\[(\d+) (\d+)\]$", text, re.MULTILINE)
    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return Said(
        code=done.returncode,
        connect_status=int(numbers[1]) if numbers else 0,
        status=int(numbers[2]) if numbers else 0,
        certificate=ssl.PEM_cert_to_DER_cert(pem[0]) if pem else None,
        has_page=PAGE in text or "\nlab\n" in f"\n{text}",
        text=f"[{numbers[0] if numbers else ''}] {done.stderr.decode('utf-8', 'replace').strip()}",
    )


@contextlib.contextmanager
def _started(kind: ProxyKind, certificates: ProxyCertificates, origin: Origin, shared: RunningProxy | None):
    """Yield the proxy: the shared one where the client names the destination, else one with this back end."""
    if shared is not None:
        yield shared
        return
    with running(kind, certificates=certificates, backend=(origin.address, origin.port)) as proxy:
        yield proxy


def look(kind: ProxyKind, certificates: ProxyCertificates) -> Seen:
    """Start the proxy and gather all of it."""
    if kind.side is Side.REVERSE:
        return _look_through(kind, certificates, None)
    with running(kind, certificates=certificates) as proxy:
        seen = _look_through(kind, certificates, proxy)
        if kind.upgrade is Upgrade.HTTPS_CONNECT:
            seen.front = {version: _speaks_front(proxy, version) for version in _ALL_TLS}
            seen.front |= {old: _speaks_old_front(proxy, old) for old in _OLD}
        return seen


def _look_through(kind: ProxyKind, certificates: ProxyCertificates, shared: RunningProxy | None) -> Seen:
    with (
        open_origin(certificates, *_ALL_TLS) as origin,
        _started(kind, certificates, origin, shared) as proxy,
    ):
        said = _curl(proxy, origin)
        seen = Seen(path=_judge_path(said, certificates), log=[f"any origin: {said.text}"])
        if seen.path is PathKind.RE_ENCRYPTS:
            seen.inbound = {version: _is_let_in(proxy, origin, version, seen) for version in _ALL_TLS}
            for old, name in _OLD.items():
                with open_way(proxy, (origin.address, origin.port)) as way:
                    seen.inbound[old] = way.is_open and speak_old(way.stream, name)
        if seen.path is PathKind.BLOCKED:
            assert not origin.completed
            assert not origin.hellos, "something reached the origin"
            with open_way(proxy, (origin.address, origin.port)) as way:
                seen.says_open = way.is_open
                seen.declined = None if way.is_open else way.code
                if proxy.upgrade is not Upgrade.SOCKS5:
                    assert (way.code or 0) == said.connect_status, (way, said)
    if seen.path is PathKind.RE_ENCRYPTS:
        seen.outbound = {version: _completes(kind, certificates, shared, version, seen) for version in _ALL_TLS}
        seen.outbound |= {old: _completes_old(kind, certificates, shared, old, seen) for old in _OLD}
        _look_at_hellos(kind, certificates, shared, seen)
        seen.verifies = not _trusts_any(kind, certificates, shared, seen)
    if seen.path is not PathKind.BLOCKED and "digest" not in kind.name:
        _look_at_order(kind, certificates, shared, seen)
    return seen


def _judge_path(said: Said, certificates: ProxyCertificates) -> PathKind:
    if said.certificate is None:
        return PathKind.BLOCKED
    own = x509.load_pem_x509_certificate(certificates.origin.certificate.read_bytes())
    same = said.certificate == own.public_bytes(serialization.Encoding.DER)
    return PathKind.TUNNEL if same else PathKind.RE_ENCRYPTS


def _suites(version: TlsVersion) -> tuple[str, ...]:
    """Return what is asked one after the other until a handshake ends well: a limit may forbid one key exchange."""
    return (ANY_SUITE,) if version is TLS1_3 else (ANY_SUITE, STATIC_RSA)


def _is_let_in(proxy: RunningProxy, origin: Origin, version: TlsVersion, seen: Seen) -> bool:
    return any(_is_let_in_with(proxy, origin, version, ciphers, seen) for ciphers in _suites(version))


def _is_let_in_with(proxy: RunningProxy, origin: Origin, version: TlsVersion, ciphers: str, seen: Seen) -> bool:
    said = _curl(proxy, origin, lowest=version, highest=version, ciphers=ciphers)
    seen.log.append(f"inbound {version.label} {ciphers}: {said.text}")
    return said.certificate is not None


def _completes(
    kind: ProxyKind, certificates: ProxyCertificates, shared: RunningProxy | None, version: TlsVersion, seen: Seen
) -> bool:
    return any(
        _completes_with(kind, certificates, shared, version, ciphers=ciphers, seen=seen) for ciphers in _suites(version)
    )


def _completes_with(
    kind: ProxyKind,
    certificates: ProxyCertificates,
    shared: RunningProxy | None,
    version: TlsVersion,
    *,
    ciphers: str,
    seen: Seen,
) -> bool:
    with (
        open_origin(certificates, version, ciphers=ciphers) as origin,
        _started(kind, certificates, origin, shared) as proxy,
    ):
        said = _curl(proxy, origin)
        completed, errors = list(origin.completed), list(origin.errors)
    seen.log.append(f"outbound {version.label} {ciphers}: {said.text} completed {completed} errors {errors}")
    assert set(completed) <= {version}
    # A page that came through without a handshake, or the reverse, would mean that the origin miscounts.
    assert said.has_page <= bool(completed), seen.log[-1]
    return bool(completed)


def _trusts_any(kind: ProxyKind, certificates: ProxyCertificates, shared: RunningProxy | None, seen: Seen) -> bool:
    assert seen.outbound is not None
    usable = [version for version in _ALL_TLS if seen.outbound[version]]
    if not usable:
        # Only the old Node.js, which is told to verify nothing and has no TLS that could show it here.
        return True
    with (
        open_origin(certificates, usable[-1], is_trusted=False) as origin,
        _started(kind, certificates, origin, shared) as proxy,
    ):
        said = _curl(proxy, origin)
        completed, errors = list(origin.completed), list(origin.errors)
    seen.log.append(f"untrusted origin: {said.text} completed {completed} errors {errors}")
    return said.has_page


def _completes_old(
    kind: ProxyKind, certificates: ProxyCertificates, shared: RunningProxy | None, version: TlsVersion, seen: Seen
) -> bool:
    with open_old_origin(certificates, version) as origin, _started(kind, certificates, origin, shared) as proxy:
        said = _curl(proxy, origin)
    seen.log.append(f"outbound {version.label}: {said.text}")
    return said.has_page


def _look_at_hellos(kind: ProxyKind, certificates: ProxyCertificates, shared: RunningProxy | None, seen: Seen) -> None:
    assert seen.inbound is not None
    usable = [version for version in _ALL_TLS if seen.inbound[version]]
    ranges = {"all": (usable[0], usable[-1])} | {each.label: (each, each) for each in (usable[0], usable[-1])}
    for label, (lowest, highest) in ranges.items():
        with open_recorder(holds=False) as origin, _started(kind, certificates, origin, shared) as proxy:
            said = _curl(proxy, origin, lowest=lowest, highest=highest)
            hellos = list(origin.hellos)
        seen.log.append(f"recorder, client {label}: {said.text} {[hello[:80].hex() for hello in hellos]}")
        assert hellos, seen.log[-1]
        if hellos[0][0] != 0x16:
            # SSLv2's format (RFC 5246 appendix E.2) has neither list nor server name.
            seen.offers[label] = ((hellos[0][3], hellos[0][4]),)
            seen.passes_server_name = False
            continue
        read = read_hello(hellos[0])
        seen.offers[label] = read.versions
        seen.passes_server_name = read.server_name == SERVER_NAME
    seen.mirrors = len(set(seen.offers.values())) > 1


def _look_at_order(kind: ProxyKind, certificates: ProxyCertificates, shared: RunningProxy | None, seen: Seen) -> None:
    with (
        open_recorder(holds=True) as origin,
        _started(kind, certificates, origin, shared) as proxy,
        open_way(proxy, (origin.address, origin.port)) as way,
    ):
        if not way.is_open:
            seen.log.append(f"order: not open {way}")
            return
        if seen.path is PathKind.TUNNEL:
            inner = InnerTls(way.stream, SERVER_NAME)
            inner.send_hello()
            assert _await_hello(origin, 5.0), "the tunnel lets nothing through"
            seen.is_same_bytes = origin.hellos[0] == inner.sent
            return
        seen.opens_at = _judge_order(way.stream, origin)


def _judge_order(stream, origin: Origin) -> OpensAt | None:
    if _await_hello(origin, _WAIT_S / 2):
        return OpensAt.ASKED
    inner = InnerTls(stream, SERVER_NAME)
    inner.send_hello()
    if _await_hello(origin, _WAIT_S):
        return OpensAt.HELLO
    if inner.finish_handshake(_WAIT_S) and _await_hello(origin, _WAIT_S):
        return OpensAt.HANDSHAKE
    inner.send_request(f"{SERVER_NAME}:{origin.port}")
    return OpensAt.REQUEST if _await_hello(origin, 5.0) else None


def _await_hello(origin: Origin, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if origin.hellos:
            return True
        time.sleep(_POLL_S)
    return False


def _speaks_front(proxy: RunningProxy, version: TlsVersion) -> bool:
    """Ask an HTTPS proxy's own listener by openssl s_client."""
    option = {TLS1_0: "-tls1", TLS1_1: "-tls1_1", TLS1_2: "-tls1_2", TLS1_3: "-tls1_3"}[version]
    label = {TLS1_0: "TLSv1", TLS1_1: "TLSv1.1", TLS1_2: "TLSv1.2", TLS1_3: "TLSv1.3"}[version]
    command = ["openssl", "s_client", "-brief", option, "-cipher", "ALL:@SECLEVEL=0"]
    command += ["-connect", f"{proxy.address}:{proxy.port}"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=15,
        env={**os.environ, "OPENSSL_CONF": os.devnull},
    )
    return f"Protocol version: {label}\n" in done.stdout + done.stderr


def _speaks_old_front(proxy: RunningProxy, version: TlsVersion) -> bool:
    with socket.create_connection((proxy.address, proxy.port), timeout=8) as stream:
        return speak_old(stream, _OLD[version])


def differences(kind: ProxyKind, seen: Seen) -> list[str]:
    """Return a line for each claim that the wire does not bear out."""
    expected = kind.expected
    lines = [
        f"{name}: expected {getattr(expected, name)}, seen {getattr(seen, name)}"
        for name in ("path", "mirrors", "declined", "says_open", "opens_at", "passes_server_name", "verifies")
        if getattr(expected, name) != getattr(seen, name)
    ]
    for name in ("outbound", "inbound", "front"):
        lines += _compare(name, getattr(expected, name), getattr(seen, name))
    if seen.path is PathKind.TUNNEL and seen.is_same_bytes is False:
        lines.append("a tunnel changed the ClientHello")
    return lines


def _compare(
    name: str, expected: Mapping[TlsVersion, bool | None] | None, seen: Mapping[TlsVersion, bool] | None
) -> list[str]:
    known = {version: value for version, value in (expected or {}).items() if value is not None}
    told = dict(seen or {})
    return [
        f"{name} {version.label}: expected {known.get(version)}, seen {told.get(version)}"
        for version in sorted({*known, *told})
        if known.get(version) != told.get(version)
    ]
