"""The forward proxies: what each is configured to do, and what it does on the wire."""

from __future__ import annotations

from scanner.model.outbound import PathKind
from tests.lab.model import TLS1_0, TLS1_1, TLS1_2, TLS1_3
from tests.proxies.factories_forward import Scheme, Squid, Tinyproxy
from tests.proxies.model import Credentials, Expected, OpensAt, ProxyKind, versions

_TUNNEL = Expected(path=PathKind.TUNNEL)
_BLOCKED = Expected(path=PathKind.BLOCKED)
_ALL_TLS = versions(TLS1_0, TLS1_1, TLS1_2, TLS1_3)

FORWARD: tuple[ProxyKind, ...] = (
    Squid(name="squid-tunnel", expected=_TUNNEL),
    Squid(
        name="squid-bump-client-first",
        bumps=True,
        config="ssl_bump bump all\nsslproxy_cert_error allow all\ntls_outgoing_options flags=DONT_VERIFY_PEER",
        expected=Expected(
            path=PathKind.RE_ENCRYPTS, outbound=_ALL_TLS, inbound=_ALL_TLS, mirrors=False, opens_at=OpensAt.REQUEST
        ),
    ),
    Squid(name="squid-basic", scheme=Scheme.BASIC, credentials=Credentials(), expected=_TUNNEL),
    Squid(name="squid-port-443-only", only_port_443=True, expected=Expected(path=PathKind.BLOCKED, declined=403)),
    Tinyproxy(name="tinyproxy", expected=_TUNNEL),
)
