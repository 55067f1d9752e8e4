"""The reverse proxies: what each is configured to do, and what it does on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanner.model.outbound import PathKind
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3
from tests.proxies.factories_reverse import Apache, HaProxy, Nginx, OldNode, SquidReverse, Stunnel
from tests.proxies.model import Expected, OpensAt, ProxyKind, versions

if TYPE_CHECKING:
    from scanner.model.versions import TlsVersion

_FRONT = versions(TLS1_2, TLS1_3)
_ALL_TLS = (TLS1_0, TLS1_1, TLS1_2, TLS1_3)


def _re_encrypts(
    *accepted: TlsVersion, opens_at: OpensAt = OpensAt.REQUEST, passes_server_name: bool = True
) -> Expected:
    return Expected(
        path=PathKind.RE_ENCRYPTS,
        outbound=versions(*accepted),
        inbound=_FRONT,
        mirrors=False,
        opens_at=opens_at,
        passes_server_name=passes_server_name,
    )


_NGINX_ALL = "proxy_ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; proxy_ssl_ciphers ALL:@SECLEVEL=0;"
_LEVEL_0 = "ciphers ALL:@SECLEVEL=0"
# Debian's security level 2 forbids what the server signs below TLS 1.2, and lets static RSA through.
_LIMITS = "below TLS 1.2 with static RSA only"

REVERSE: tuple[ProxyKind, ...] = (
    Nginx(name="nginx-10-13", config=_NGINX_ALL, expected=_re_encrypts(*_ALL_TLS)),
    Nginx(name="nginx-12", config="proxy_ssl_protocols TLSv1.2;", expected=_re_encrypts(TLS1_2)),
    Nginx(name="nginx-default", has_limits=True, expected=_re_encrypts(TLS1_0, TLS1_1, TLS1_2), notes=_LIMITS),
    Nginx(
        name="nginx-old",
        config="proxy_ssl_protocols TLSv1 TLSv1.1; proxy_ssl_ciphers ALL:@SECLEVEL=0;",
        expected=_re_encrypts(TLS1_0, TLS1_1),
    ),
    HaProxy(
        name="haproxy-10-13",
        config=f"ssl-min-ver TLSv1.0 {_LEVEL_0}",
        expected=_re_encrypts(*_ALL_TLS),
    ),
    HaProxy(
        name="haproxy-11-12",
        config=f"ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.2 {_LEVEL_0}",
        expected=_re_encrypts(TLS1_1, TLS1_2),
    ),
    HaProxy(name="haproxy-default", has_limits=True, expected=_re_encrypts(*_ALL_TLS), notes=_LIMITS),
    HaProxy(
        name="haproxy-tcp-13",
        mode="tcp",
        config="ssl-min-ver TLSv1.3",
        expected=_re_encrypts(TLS1_3, opens_at=OpensAt.HANDSHAKE),
    ),
    Apache(
        name="apache-10-13",
        config="SSLProxyProtocol all\nSSLProxyCipherSuite ALL:@SECLEVEL=0",
        expected=_re_encrypts(*_ALL_TLS),
    ),
    Apache(
        name="apache-10-only",
        config="SSLProxyProtocol -all +TLSv1\nSSLProxyCipherSuite ALL:@SECLEVEL=0",
        expected=_re_encrypts(TLS1_0),
    ),
    Apache(name="apache-default", has_limits=True, expected=_re_encrypts(*_ALL_TLS), notes=_LIMITS),
    Stunnel(
        name="stunnel-10-12",
        config="sslVersionMin = TLSv1\nsslVersionMax = TLSv1.2\nsecurityLevel = 0\nciphers = ALL:@SECLEVEL=0",
        expected=_re_encrypts(TLS1_0, TLS1_1, TLS1_2, opens_at=OpensAt.HANDSHAKE),
    ),
    Stunnel(
        name="stunnel-default",
        has_limits=True,
        expected=_re_encrypts(*_ALL_TLS, opens_at=OpensAt.HANDSHAKE),
        notes=_LIMITS,
    ),
    SquidReverse(name="squid-reverse-10-13", expected=_re_encrypts(*_ALL_TLS)),
    SquidReverse(name="squid-reverse-12", config="tls-min-version=1.2", expected=_re_encrypts(TLS1_2, TLS1_3)),
    SquidReverse(
        name="squid-reverse-no-13", config="tls-options=NO_TLSv1_3", expected=_re_encrypts(TLS1_0, TLS1_1, TLS1_2)
    ),
    OldNode(
        name="node-ssl3",
        config="SSLv3_method",
        expected=_re_encrypts(SSL3, passes_server_name=False),
    ),
    OldNode(
        name="node-ssl3-10",
        config="SSLv23_method",
        expected=_re_encrypts(SSL3, TLS1_0, passes_server_name=False),
    ),
    OldNode(
        name="node-ssl2",
        config="SSLv2_method",
        expected=_re_encrypts(SSL2, passes_server_name=False),
        notes="its hello has SSLv2's own format",
    ),
)
