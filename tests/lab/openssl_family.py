"""Listeners whose TLS is OpenSSL: 3.0 in s_server and five products, 1.0.0 and 1.0.1 in two old Node.js releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import requirements
from tests.lab.certs import SERVER_NAME
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, ClientNeeds
from tests.lab.openssl_factories import Apache, HaProxy, Lighttpd, Nginx, OldNode, SServer, Stunnel

if TYPE_CHECKING:
    from tests.lab.model import ServerFactory, Versions

_PSK = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
_OLD = frozenset({TLS1_0, TLS1_1, TLS1_2})
_MODERN = frozenset({TLS1_2, TLS1_3})
_ALL_TLS = _OLD | _MODERN
_LEVEL_0 = "-cipher ALL:@SECLEVEL=0"

_S_SERVERS = (
    SServer(name="openssl-12-13", enabled=_MODERN, config="-min_protocol TLSv1.2"),
    SServer(name="openssl-10-13", enabled=_ALL_TLS, config=f"-min_protocol TLSv1 {_LEVEL_0}"),
    SServer(name="openssl-10", enabled=frozenset({TLS1_0}), config=f"-tls1 {_LEVEL_0}"),
    SServer(name="openssl-11", enabled=frozenset({TLS1_1}), config=f"-tls1_1 {_LEVEL_0}"),
    SServer(name="openssl-hole-11-13", enabled=frozenset({TLS1_1, TLS1_3}), config=f"-no_tls1 -no_tls1_2 {_LEVEL_0}"),
    SServer(name="openssl-hole-10-13", enabled=frozenset({TLS1_0, TLS1_3}), config=f"-no_tls1_1 -no_tls1_2 {_LEVEL_0}"),
    SServer(name="openssl-13-x448", enabled=frozenset({TLS1_3}), config="-tls1_3 -groups X448"),
    SServer(name="openssl-13-ffdhe8192", enabled=frozenset({TLS1_3}), config="-tls1_3 -groups ffdhe8192"),
    SServer(name="openssl-13-p521", enabled=frozenset({TLS1_3}), config="-tls1_3 -groups P-521", leaf="p384"),
    SServer(
        name="openssl-13-ccm8",
        enabled=frozenset({TLS1_3}),
        config="-tls1_3 -ciphersuites TLS_AES_128_CCM_8_SHA256",
    ),
    SServer(name="openssl-12-ccm8", enabled=frozenset({TLS1_2}), config="-tls1_2 -cipher AES128-CCM8:AES256-CCM8"),
    SServer(
        name="openssl-anonymous",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher aNULL:@SECLEVEL=0",
        has_certificate=False,
        notes="no certificate at all",
    ),
    SServer(
        name="openssl-psk",
        enabled=_OLD,
        config=f"-min_protocol TLSv1 -no_tls1_3 -psk {_PSK} -cipher PSK:@SECLEVEL=0",
        has_certificate=False,
        verify=ClientNeeds(psk=_PSK),
        notes="accepts the lab's pre-shared key only",
    ),
    SServer(
        name="openssl-psk-13",
        enabled=frozenset({TLS1_3}),
        config=f"-tls1_3 -psk {_PSK}",
        has_certificate=False,
        verify=ClientNeeds(psk=_PSK),
        notes="TLS 1.3 with the lab's pre-shared key only",
    ),
    SServer(
        name="openssl-rsa-key-exchange",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher kRSA:@SECLEVEL=0",
        notes="static RSA key exchange only",
    ),
    SServer(
        name="openssl-null",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher NULL-SHA:NULL-SHA256:@SECLEVEL=0",
        notes="authenticates without encrypting",
    ),
    SServer(
        name="openssl-dhe",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher kDHE+aRSA:@SECLEVEL=0",
        notes="finite-field Diffie-Hellman only",
    ),
    SServer(
        name="openssl-dss",
        enabled=_OLD,
        config="-min_protocol TLSv1 -no_tls1_3 -cipher aDSS:@SECLEVEL=0 -sigalgs DSA+SHA256:DSA+SHA1",
        leaf="dsa1024",
        notes="DSA certificate",
    ),
    SServer(
        name="openssl-chacha",
        enabled=_MODERN,
        config="-min_protocol TLSv1.2 -cipher CHACHA20 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
    ),
    SServer(name="openssl-camellia", enabled=frozenset({TLS1_2}), config="-tls1_2 -cipher CAMELLIA"),
    SServer(name="openssl-aria", enabled=frozenset({TLS1_2}), config="-tls1_2 -cipher ARIA"),
    SServer(name="openssl-ed25519", enabled=_MODERN, config="-min_protocol TLSv1.2", leaf="ed25519"),
    SServer(
        name="openssl-ocsp",
        enabled=_MODERN,
        config="-min_protocol TLSv1.2 -status_file {certs.ocsp_response}",
        notes="staples an OCSP response",
    ),
    SServer(
        name="openssl-client-certificate",
        enabled=_MODERN,
        config="-min_protocol TLSv1.2 -Verify 3 -verify_return_error -CAfile {certs.ca}",
        verify=ClientNeeds(client_certificate=True),
    ),
    SServer(
        name="openssl-tiny-session",
        enabled=_ALL_TLS,
        config=f"-min_protocol TLSv1 {_LEVEL_0} -no_ticket -num_tickets 0 -no_cache -max_send_frag 512",
        notes="no session of any kind, records of at most 512 bytes",
    ),
)

_NGINX_LEVEL_0 = "ssl_ciphers ALL:@SECLEVEL=0;"
_PRODUCTS: tuple[ServerFactory, ...] = (
    Nginx(name="nginx-12-13", enabled=_MODERN, config="ssl_protocols TLSv1.2 TLSv1.3;"),
    Nginx(name="nginx-12", enabled=frozenset({TLS1_2}), config="ssl_protocols TLSv1.2;"),
    Nginx(
        name="nginx-hole-10-12",
        enabled=frozenset({TLS1_0, TLS1_2}),
        config=f"ssl_protocols TLSv1 TLSv1.2; {_NGINX_LEVEL_0}",
    ),
    Nginx(
        name="nginx-ecdsa",
        enabled=frozenset({TLS1_2}),
        config="ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;",
        leaf="p256",
    ),
    Nginx(
        name="nginx-reject-unknown-name",
        enabled=_MODERN,
        server_name=SERVER_NAME,
        config="ssl_protocols TLSv1.2 TLSv1.3;",
        notes="every other name: ssl_reject_handshake, alert unrecognized_name",
    ),
    Nginx(
        name="nginx-20-kb-chain",
        enabled=_ALL_TLS,
        leaf="big",
        config=f"ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; {_NGINX_LEVEL_0}",
    ),
    Nginx(
        name="nginx-client-certificate",
        enabled=_MODERN,
        config="ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client on;",
        verify=ClientNeeds(client_certificate=True),
        notes="completes without a certificate too, then answers 400",
    ),
    HaProxy(
        name="haproxy-10-13", enabled=_ALL_TLS, config="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.3 ciphers ALL:@SECLEVEL=0"
    ),
    HaProxy(
        name="haproxy-no-options-ignored",
        enabled=_OLD,
        config="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.2 no-tlsv11 ciphers ALL:@SECLEVEL=0",
        notes="HAProxy warns that no-tlsv11 is ignored beside ssl-min-ver: TLS 1.1 stays on",
    ),
    HaProxy(
        name="haproxy-default-minimum",
        enabled=frozenset({TLS1_2}),
        config="no-tlsv11 no-tlsv13 ciphers ALL:@SECLEVEL=0",
        notes="reads as 1.0 and 1.2, but HAProxy's default ssl-min-ver is TLSv1.2",
    ),
    HaProxy(name="haproxy-13", enabled=frozenset({TLS1_3}), config="ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3"),
    HaProxy(
        name="haproxy-strict-sni",
        enabled=_MODERN,
        server_name=SERVER_NAME,
        config="ssl-min-ver TLSv1.2 strict-sni",
        notes="every other name, and none: handshake fails",
    ),
    HaProxy(
        name="haproxy-client-certificate",
        enabled=_MODERN,
        config="ssl-min-ver TLSv1.2 verify required ca-file {certs.ca}",
        verify=ClientNeeds(client_certificate=True),
    ),
    Apache(
        name="apache-12-13", enabled=_MODERN, config="SSLProtocol -all +TLSv1.2 +TLSv1.3\nSSLCipherSuite HIGH:!aNULL"
    ),
    Apache(
        name="apache-10-11",
        enabled=frozenset({TLS1_0, TLS1_1}),
        config="SSLProtocol -all +TLSv1 +TLSv1.1\nSSLCipherSuite ALL:@SECLEVEL=0",
    ),
    Apache(
        name="apache-no-holes",
        enabled=frozenset({TLS1_3}),
        config="SSLProtocol -all +TLSv1 +TLSv1.3\nSSLCipherSuite ALL:@SECLEVEL=0",
        leaf="p384",
        notes="reads as 1.0 and 1.3, but mod_ssl allows no hole and keeps the newest unbroken run",
    ),
    Stunnel(name="stunnel-12", enabled=frozenset({TLS1_2}), config="sslVersion = TLSv1.2"),
    Stunnel(
        name="stunnel-11-12",
        enabled=frozenset({TLS1_1, TLS1_2}),
        config="sslVersionMin = TLSv1.1\nsslVersionMax = TLSv1.2\nsecurityLevel = 0\nciphers = ALL:@SECLEVEL=0",
    ),
    Stunnel(
        name="stunnel-hole-10-12",
        enabled=frozenset({TLS1_0, TLS1_2}),
        config="sslVersionMin = TLSv1\nsslVersionMax = TLSv1.2\noptions = NO_TLSv1_1\n"
        "securityLevel = 0\nciphers = ALL:@SECLEVEL=0",
    ),
    Lighttpd(
        name="lighttpd-12-13",
        enabled=_MODERN,
        config='ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.2", "MaxProtocol" => "TLSv1.3")',
    ),
    Lighttpd(
        name="lighttpd-10-11",
        enabled=frozenset({TLS1_0, TLS1_1}),
        config='ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1", "MaxProtocol" => "TLSv1.1", '
        '"CipherString" => "ALL:@SECLEVEL=0")',
    ),
    Lighttpd(
        name="lighttpd-hole-11-13",
        enabled=frozenset({TLS1_1, TLS1_3}),
        config='ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.1", "Protocol" => "-ALL, TLSv1.1, TLSv1.3", '
        '"CipherString" => "ALL:@SECLEVEL=0")',
    ),
)


def _old_node(name: str, enabled: Versions, config: str, *, has_export_key: bool = False) -> OldNode:
    """Return a factory for Node.js 0.10, or 0.8 where the name says so."""
    is_oldest = name.startswith("node08")
    node = requirements.NODE_0_8 if is_oldest else requirements.NODE_0_10
    assert node.file is not None
    return OldNode(
        name=name,
        stack="Node.js 0.8, OpenSSL 1.0.0" if is_oldest else "Node.js 0.10, OpenSSL 1.0.1",
        enabled=enabled,
        config=config,
        node=node.file,
        has_export_key=has_export_key,
        requires=(node, requirements.OPENSSL) if has_export_key else (node,),
    )


_OLD_NODES = (
    _old_node("node08-ssl2", frozenset({SSL2}), "SSLv2_method - ALL"),
    _old_node("node08-ssl3", frozenset({SSL3}), "SSLv3_method - ALL"),
    _old_node("node08-ssl2-ssl3-10", frozenset({SSL2, SSL3, TLS1_0}), "SSLv23_method - ALL"),
    _old_node("node010-ssl2-12", frozenset({SSL2, SSL3}) | _OLD, "SSLv23_method - ALL"),
    _old_node("node010-hole-ssl3-12", frozenset({SSL3, TLS1_2}), "SSLv23_method NO_SSLv2,NO_TLSv1,NO_TLSv1_1 ALL"),
    _old_node("node010-hole-ssl3-11", frozenset({SSL3, TLS1_1}), "SSLv23_method NO_SSLv2,NO_TLSv1,NO_TLSv1_2 ALL"),
    _old_node("node010-rc4", frozenset({SSL3}) | _OLD, "SSLv23_method NO_SSLv2 RC4-SHA:RC4-MD5"),
    _old_node("node010-des", frozenset({SSL3}) | _OLD, "SSLv23_method NO_SSLv2 DES-CBC-SHA"),
    _old_node("node010-export", frozenset({SSL3}) | _OLD, "SSLv23_method NO_SSLv2 EXP", has_export_key=True),
)

OPENSSL_FAMILY: tuple[ServerFactory, ...] = (*_S_SERVERS, *_PRODUCTS, *_OLD_NODES)
"""Every listener of this file."""
