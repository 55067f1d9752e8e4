"""The forward proxies: what each is configured to do, and what it does on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanner.model.outbound import PathKind
from scanner.model.subjects import Upgrade
from tests.lab.model import TLS1_0, TLS1_1, TLS1_2, TLS1_3
from tests.proxies.factories_forward import (
    Dante,
    HaproxyFront,
    Microsocks,
    Mitmproxy,
    Scheme,
    Squid,
    StunnelFront,
    Tinyproxy,
)
from tests.proxies.model import Credentials, Expected, OpensAt, ProxyKind, versions
from tests.proxies.scripted import Deed, Scripted

if TYPE_CHECKING:
    from scanner.model.versions import TlsVersion

_USER = Credentials()
_TUNNEL = Expected(path=PathKind.TUNNEL)
_ALL_TLS = versions(TLS1_0, TLS1_1, TLS1_2, TLS1_3)
_MODERN = versions(TLS1_2, TLS1_3)

_ANY_CERTIFICATE = "sslproxy_cert_error allow all\ntls_outgoing_options flags=DONT_VERIFY_PEER"
_PEEK = "acl one at_step SslBump1\nacl two at_step SslBump2\nssl_bump peek one\n"
_STARE = (
    "acl one at_step SslBump1\nacl two at_step SslBump2\nssl_bump peek one\nssl_bump stare two\nssl_bump bump all\n"
)


def _blocked(declined: int | None = None, *, says_open: bool = False) -> Expected:
    return Expected(path=PathKind.BLOCKED, declined=declined, says_open=says_open)


def _bumps(outbound=_ALL_TLS, inbound=_ALL_TLS, *, mirrors=False, opens_at=OpensAt.HELLO, verifies=False):
    return Expected(
        path=PathKind.RE_ENCRYPTS,
        outbound=outbound,
        inbound=inbound,
        mirrors=mirrors,
        opens_at=opens_at,
        passes_server_name=True,
        verifies=verifies,
    )


# Bumped at the first step, Squid answers the client by itself and opens its connection for the first request inside,
# to the name in that request's Host header, which is the SNI then.
_FIRST = _bumps(opens_at=OpensAt.REQUEST)
# Having stared, Squid keeps TLS 1.3 and the list of versions out of its own hello where the client offers no TLS 1.3.
_STARES = _bumps(mirrors=True)

_SQUID: tuple[ProxyKind, ...] = (
    Squid(name="squid-tunnel", expected=_TUNNEL),
    Squid(name="squid-splice", bumps=True, config="ssl_bump splice all", expected=_TUNNEL),
    Squid(name="squid-peek-splice", bumps=True, config=f"{_PEEK}ssl_bump splice all", expected=_TUNNEL),
    Squid(
        name="squid-peek-twice-splice",
        bumps=True,
        config=f"{_PEEK}ssl_bump peek two\nssl_bump splice all\n{_ANY_CERTIFICATE}",
        expected=_TUNNEL,
    ),
    Squid(name="squid-bump-first", bumps=True, config=f"ssl_bump bump all\n{_ANY_CERTIFICATE}", expected=_FIRST),
    Squid(
        name="squid-peek-bump", bumps=True, config=f"{_PEEK}ssl_bump bump all\n{_ANY_CERTIFICATE}", expected=_bumps()
    ),
    Squid(name="squid-stare-bump", bumps=True, config=f"{_STARE}{_ANY_CERTIFICATE}", expected=_STARES),
    Squid(
        name="squid-stare-bump-min-12",
        bumps=True,
        config=f"{_STARE}{_ANY_CERTIFICATE} min-version=1.2",
        expected=_STARES,
        notes="Squid 5.7 ignores min-version on bumped connections",
    ),
    Squid(
        name="squid-bump-min-12",
        bumps=True,
        config=f"ssl_bump bump all\n{_ANY_CERTIFICATE} min-version=1.2 cipher=ALL:@SECLEVEL=0",
        expected=_FIRST,
    ),
    Squid(
        name="squid-stare-bump-no-13",
        bumps=True,
        config=f"{_STARE}{_ANY_CERTIFICATE} options=NO_TLSv1_3 cipher=ALL:@SECLEVEL=0",
        expected=_STARES,
    ),
    Squid(
        name="squid-bump-no-13",
        bumps=True,
        config=f"ssl_bump bump all\n{_ANY_CERTIFICATE} options=NO_TLSv1_3",
        expected=_FIRST,
    ),
    Squid(
        name="squid-bump-default",
        bumps=True,
        has_limits=True,
        config=f"ssl_bump bump all\n{_ANY_CERTIFICATE}",
        expected=_bumps(_ALL_TLS, _MODERN, opens_at=OpensAt.REQUEST),
        notes="Debian's security level 2: below TLS 1.2 its own side completes with static RSA, which is not signed",
    ),
    Squid(
        name="squid-peek-twice-bump",
        bumps=True,
        config=f"{_PEEK}ssl_bump peek two\nssl_bump bump all\n{_ANY_CERTIFICATE}",
        expected=_TUNNEL,
        notes="what was peeked at twice cannot be bumped: Squid passes it through",
    ),
    Squid(
        name="squid-splice-entra-bump-rest",
        bumps=True,
        config="acl entra ssl::server_name .microsoftonline.com .windows.net\n"
        f"{_PEEK}ssl_bump splice entra\nssl_bump bump all\n{_ANY_CERTIFICATE}",
        expected=_bumps(),
        notes="passes names under microsoftonline.com and windows.net through unchanged",
    ),
    Squid(
        name="squid-peek-bump-verifies",
        bumps=True,
        config=f"{_PEEK}ssl_bump bump all",
        expected=_bumps(verifies=True),
    ),
    Squid(
        name="squid-terminate", bumps=True, config=f"{_PEEK}ssl_bump terminate all", expected=_blocked(says_open=True)
    ),
    Squid(
        name="squid-https-tunnel",
        upgrade=Upgrade.HTTPS_CONNECT,
        expected=Expected(path=PathKind.TUNNEL, front=_ALL_TLS),
    ),
    Squid(
        name="squid-https-basic",
        upgrade=Upgrade.HTTPS_CONNECT,
        scheme=Scheme.BASIC,
        credentials=_USER,
        expected=Expected(path=PathKind.TUNNEL, front=_ALL_TLS),
    ),
    Squid(name="squid-basic", scheme=Scheme.BASIC, credentials=_USER, expected=_TUNNEL),
    Squid(name="squid-digest", scheme=Scheme.DIGEST, credentials=_USER, expected=_TUNNEL),
    Squid(name="squid-negotiate", scheme=Scheme.NEGOTIATE, expected=_blocked(407)),
    Squid(name="squid-port-443-only", only_port_443=True, expected=_blocked(403)),
)

_LEVEL_0 = "ciphers_server=ALL:@SECLEVEL=0\nciphers_client=ALL:@SECLEVEL=0\n"


def _mitmproxy(name: str, lowest: str, highest: str, *accepted: TlsVersion) -> Mitmproxy:
    # Version 8.1.1 gives both its sides the range that is meant for the client's (its tlsconfig.py says so too).
    return Mitmproxy(
        name=name,
        config=f"{_LEVEL_0}tls_version_client_min={lowest}\ntls_version_client_max={highest}",
        expected=_bumps(versions(*accepted), versions(*accepted)),
    )


_MITMPROXY: tuple[ProxyKind, ...] = (
    Mitmproxy(name="mitmproxy-default", expected=_bumps(_MODERN, _MODERN)),
    _mitmproxy("mitmproxy-10-13", "TLS1", "TLS1_3", TLS1_0, TLS1_1, TLS1_2, TLS1_3),
    _mitmproxy("mitmproxy-10-11", "TLS1", "TLS1_1", TLS1_0, TLS1_1),
    _mitmproxy("mitmproxy-12-only", "TLS1_2", "TLS1_2", TLS1_2),
    _mitmproxy("mitmproxy-13-only", "TLS1_3", "TLS1_3", TLS1_3),
    Mitmproxy(
        name="mitmproxy-server-10-11",
        config=f"{_LEVEL_0}tls_version_server_min=TLS1\ntls_version_server_max=TLS1_1",
        expected=_bumps(_MODERN, _MODERN),
        notes="mitmproxy 8.1.1 ignores the range set for its server side",
    ),
    Mitmproxy(
        name="mitmproxy-server-13-only",
        config=f"{_LEVEL_0}tls_version_client_min=TLS1\ntls_version_client_max=TLS1_2\ntls_version_server_min=TLS1_3",
        expected=_bumps(versions(TLS1_0, TLS1_1, TLS1_2), versions(TLS1_0, TLS1_1, TLS1_2)),
        notes="mitmproxy 8.1.1 ignores the range set for its server side",
    ),
    Mitmproxy(
        name="mitmproxy-lazy",
        config="connection_strategy=lazy",
        expected=_bumps(_MODERN, _MODERN),
        notes="connects for the certificate's sake once it has the client's hello",
    ),
    Mitmproxy(
        name="mitmproxy-lazy-no-lookup",
        config="connection_strategy=lazy\nupstream_cert=false",
        expected=_bumps(_MODERN, _MODERN, opens_at=OpensAt.REQUEST),
    ),
    Mitmproxy(name="mitmproxy-verifies", expected=_bumps(_MODERN, _MODERN, verifies=True)),
    Mitmproxy(
        name="mitmproxy-basic",
        credentials=_USER,
        expected=_bumps(_MODERN, _MODERN),
        notes="after a 407, a second CONNECT on the same connection is never answered",
    ),
    Mitmproxy(name="mitmproxy-socks", upgrade=Upgrade.SOCKS5, expected=_bumps(_MODERN, _MODERN)),
)

_OTHERS: tuple[ProxyKind, ...] = (
    Tinyproxy(name="tinyproxy", expected=_TUNNEL, notes="answers in HTTP/1.0"),
    Tinyproxy(name="tinyproxy-basic", credentials=_USER, expected=_TUNNEL),
    Microsocks(name="microsocks", expected=_TUNNEL),
    Microsocks(name="microsocks-password", credentials=_USER, expected=_TUNNEL),
    Dante(name="dante", config="pass", expected=_TUNNEL),
    Dante(name="dante-forbids", config="block", expected=_blocked(2)),
    HaproxyFront(
        name="haproxy-tinyproxy",
        config="ssl-min-ver TLSv1.2",
        expected=Expected(path=PathKind.TUNNEL, front=_MODERN),
    ),
    HaproxyFront(
        name="haproxy-tinyproxy-10",
        config="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.1 ciphers ALL:@SECLEVEL=0",
        credentials=_USER,
        expected=Expected(path=PathKind.TUNNEL, front=versions(TLS1_0, TLS1_1)),
    ),
    StunnelFront(
        name="stunnel-tinyproxy",
        config="sslVersionMin = TLSv1.2",
        expected=Expected(path=PathKind.TUNNEL, front=_MODERN),
    ),
)

_SCRIPTED: tuple[ProxyKind, ...] = (
    Scripted(name="scripted-reset", deed=Deed.RESET, expected=_blocked()),
    Scripted(name="scripted-close", deed=Deed.CLOSE, expected=_blocked()),
    Scripted(name="scripted-silent", deed=Deed.SILENT, expected=_blocked()),
    Scripted(name="scripted-502", deed=Deed.STATUS_502, expected=_blocked(502)),
    Scripted(name="scripted-407-bare", deed=Deed.STATUS_407_BARE, expected=_blocked(407)),
    Scripted(name="scripted-garbage", deed=Deed.GARBAGE, expected=_blocked()),
    Scripted(name="scripted-open-close", deed=Deed.OPEN_THEN_CLOSE, expected=_blocked(says_open=True)),
    Scripted(name="scripted-open-reset", deed=Deed.OPEN_THEN_RESET, expected=_blocked(says_open=True)),
    Scripted(name="scripted-open-silent", deed=Deed.OPEN_THEN_SILENT, expected=_blocked(says_open=True)),
    Scripted(name="scripted-socks-forbids", upgrade=Upgrade.SOCKS5, deed=Deed.SOCKS_FORBIDS, expected=_blocked(2)),
    Scripted(
        name="scripted-socks-no-method", upgrade=Upgrade.SOCKS5, deed=Deed.SOCKS_NO_METHOD, expected=_blocked(0xFF)
    ),
)

FORWARD: tuple[ProxyKind, ...] = (*_SQUID, *_MITMPROXY, *_OTHERS, *_SCRIPTED)
