"""Listeners whose TLS is not Debian's OpenSSL: GnuTLS, NSS, Java, Bouncy Castle, Go, Erlang, Botan and more.

The notes say what a hello for a version that is off gets, as seen in raw bytes on the wire (Debian 12, 2026-11): alerts
by number, all fatal where nothing else is said; "in 3.0" names the version of the alert's record where it is odd; "a
1.3 hello" has 1.3 alone in supported_versions and only suites of TLS 1.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import requirements
from tests.lab.model import SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, ClientNeeds
from tests.lab.stacks.factories import (
    PSK,
    Botan,
    Erlang,
    GnuTls,
    Java,
    Nss,
    Program,
    PythonSsl,
    TlsLite,
    from_to,
)
from tests.lab.stacks.products import Granian, H2o, LighttpdGnuTls, NgIrcd

if TYPE_CHECKING:
    from scanner.model.versions import TlsVersion
    from tests.lab.model import ServerFactory, Versions


def _only(*versions: TlsVersion) -> Versions:
    return frozenset(versions)


_OLD = from_to(TLS1_0, TLS1_2)

_GNUTLS_NOTES = "SSLv2 and every version under the lowest: 70; a 1.3 hello without 1.3: 40; then FIN"
_GNUTLS = (
    GnuTls(name="gnutls-10", enabled=_only(TLS1_0), notes=_GNUTLS_NOTES),
    GnuTls(name="gnutls-hole-10-12", enabled=_only(TLS1_0, TLS1_2), notes=f"{_GNUTLS_NOTES}; 1.1: 70, not 1.0"),
    # It drops 1.3 where 1.2 is off and an older version on, whatever the priority string says.
    GnuTls(name="gnutls-hole-10-12-13", enabled=_only(TLS1_0, TLS1_2, TLS1_3), notes=f"{_GNUTLS_NOTES}; 1.1: 70"),
    GnuTls(name="gnutls-13", enabled=_only(TLS1_3), notes="SSLv2 to 1.1: 70; 1.2: 40; all in 3.3"),
    GnuTls(
        name="gnutls-12-safe-renegotiation",
        enabled=_only(TLS1_2),
        priority="NORMAL:%SAFE_RENEGOTIATION",
        notes="1.2 without renegotiation_info and without suite 0x00ff: 40",
    ),
    GnuTls(
        name="gnutls-p521",
        enabled=from_to(TLS1_0, TLS1_3),
        priority="NORMAL:-GROUP-ALL:+GROUP-SECP521R1:-KX-ALL:+ECDHE-RSA",
        notes="secp521r1 is its only group, ECDHE its only key exchange: a hello without it gets 40",
    ),
    GnuTls(
        name="gnutls-13-x448",
        enabled=_only(TLS1_3),
        priority="NORMAL:-GROUP-ALL:+GROUP-X448",
        verify=ClientNeeds(groups="X448"),
        notes="X448 is its only group",
    ),
    GnuTls(
        name="gnutls-psk",
        enabled=_OLD,
        priority="NORMAL:-KX-ALL:+PSK:+DHE-PSK:+ECDHE-PSK",
        identity="psk",
        verify=ClientNeeds(psk=PSK),
        notes="accepts the lab's pre-shared key only; a hello without PSK suites gets 40",
    ),
    GnuTls(
        name="gnutls-anonymous",
        enabled=_OLD,
        priority="NORMAL:-KX-ALL:+ANON-ECDH:+ANON-DH",
        identity="none",
        notes="no certificate; a hello without anonymous suites gets 40",
    ),
    GnuTls(
        name="gnutls-rc4",
        enabled=_OLD,
        priority="LEGACY:-CIPHER-ALL:+ARCFOUR-128",
        notes="RC4 only; a hello without it gets 40",
    ),
    GnuTls(
        name="gnutls-12-ccm8",
        enabled=_only(TLS1_2),
        priority="NORMAL:-CIPHER-ALL:+AES-128-CCM-8:+AES-256-CCM-8",
        notes="CCM8 only; a hello without it gets 40",
    ),
)

_NSS_NOTES = (
    "SSLv2: 10 in 3.1, then RST; lower and higher versions that are off: 70 in 3.1; "
    "a hello for 3.3 in SSLv2 format: silence"
)
_NSS = tuple(
    Nss(name=name, enabled=enabled, notes=_NSS_NOTES)
    for name, enabled in (
        ("nss-ssl3", _only(SSL3)),
        ("nss-ssl3-10", from_to(SSL3, TLS1_0)),
        ("nss-11", _only(TLS1_1)),
        ("nss-10-12", _OLD),
        ("nss-13", _only(TLS1_3)),
    )
)

# JSSE picks ECDHE for SSLv3 as well, over a group that an SSLv3 hello cannot name: few clients can follow.
_WITHOUT_ECDHE = ClientNeeds(ciphers="ALL:!kEECDH")
_JSSE_NOTES = "SSLv2: 40 in the highest enabled version; every other version that is off: 70"
_SSL3_NOTES = "picks ECDHE over x25519 for SSLv3 too, where the client could not name a group"
_JSSE = (
    Java(name="jsse-ssl3", enabled=_only(SSL3), verify=_WITHOUT_ECDHE, notes=f"{_JSSE_NOTES}; {_SSL3_NOTES}"),
    Java(
        name="jsse-hole-ssl3-11",
        enabled=_only(SSL3, TLS1_1),
        verify=_WITHOUT_ECDHE,
        notes=f"{_JSSE_NOTES}; 1.0 gets SSLv3; {_SSL3_NOTES}",
    ),
    Java(name="jsse-hole-10-12", enabled=_only(TLS1_0, TLS1_2), notes=f"{_JSSE_NOTES}; 1.1 gets 1.0"),
    Java(name="jsse-hole-11-13", enabled=_only(TLS1_1, TLS1_3), notes=f"{_JSSE_NOTES}; 1.2 gets 1.1"),
    Java(name="jsse-13", enabled=_only(TLS1_3), notes=_JSSE_NOTES),
    Java(name="jsse-10-13", enabled=from_to(TLS1_0, TLS1_3), notes=f"{_JSSE_NOTES}; no limits of Java's"),
    Java(
        name="jsse-ssl2-format",
        enabled=from_to(SSL3, TLS1_0),
        accepts_ssl2_format=True,
        verify=_WITHOUT_ECDHE,
        notes="takes a hello in SSLv2 format that asks for SSLv3 or newer, but has no SSLv2: a true SSLv2 hello gets "
        "SSLv2's ERROR no-cipher (80 03 00 00 01), then TLS alert 10",
    ),
)

# It reads SSLv3's padding, which may hold anything (RFC 6101 section 5.2.3.2), as strictly as TLS's: handshakes with
# OpenSSL end in bad_record_mac unless the suite has no block cipher. (The second name is for asking it for SSLv2.)
_WITHOUT_PADDING = ClientNeeds(ciphers="NULL-SHA:DES-CBC3-MD5")
_BC_SSL3_NOTES = "OpenSSL completes SSLv3 with NULL-SHA only, all else ends in bad_record_mac after the ServerHello"
_BC_NOTES = "SSLv2: plain FIN; SSLv3 to 1.2 where off: 70 in the hello's version; a 1.3 hello: 70 in 3.4"
_BOUNCY_CASTLE = tuple(
    Java(
        name=name,
        enabled=enabled,
        stack="Bouncy Castle 1.72 JSSE",
        provider="BCJSSE",
        requires=(requirements.JAVA, requirements.JAVAC, requirements.BOUNCY_CASTLE),
        verify=_WITHOUT_PADDING if SSL3 in enabled else ClientNeeds(),
        notes=_BC_NOTES + more,
    )
    for name, enabled, more in (
        ("bouncycastle-ssl3", _only(SSL3), f"; {_BC_SSL3_NOTES}"),
        ("bouncycastle-hole-ssl3-11", _only(SSL3, TLS1_1), f"; 1.0 gets SSLv3; {_BC_SSL3_NOTES}"),
        ("bouncycastle-hole-10-12", _only(TLS1_0, TLS1_2), "; 1.1 gets 1.0"),
        ("bouncycastle-13", _only(TLS1_3), ""),
    )
)

_ERLANG_NOTES = "SSLv2: 10; SSLv3 to 1.2 where off: 70; a 1.3 hello without 1.3: 70 in 3.3"
_ERLANG = (
    Erlang(name="erlang-10", enabled=_only(TLS1_0), notes=_ERLANG_NOTES),
    Erlang(name="erlang-hole-10-12", enabled=_only(TLS1_0, TLS1_2), notes=f"{_ERLANG_NOTES}; 1.1 gets 1.0"),
    Erlang(name="erlang-13", enabled=_only(TLS1_3), notes=_ERLANG_NOTES),
)

_TLSLITE = tuple(
    TlsLite(name=name, enabled=enabled, notes="everything that is off, SSLv2 too: 70 in its lowest or highest version")
    for name, enabled in (
        ("tlslite-ssl3", _only(SSL3)),
        ("tlslite-ssl3-12", from_to(SSL3, TLS1_2)),
        ("tlslite-11", _only(TLS1_1)),
        ("tlslite-13", _only(TLS1_3)),
    )
)

_PYTHON = (
    PythonSsl(
        name="python-hole-10-12",
        enabled=_only(TLS1_0, TLS1_2),
        notes="SSLv2: 70; SSLv3: 40 in 3.0; 1.1 gets 1.0; a 1.3 hello: 70",
    ),
    PythonSsl(
        name="python-hole-11-13",
        enabled=_only(TLS1_1, TLS1_3),
        leaf="p256",
        notes="SSLv2: 70; SSLv3: 40 in 3.0; 1.0: 70; 1.2 gets 1.1",
    ),
)

_BOTAN_NOTES = "SSLv2: plain FIN; everything else that is off: 70 in 3.1; one connection at a time"
_BOTAN = (
    Botan(name="botan-10-11", enabled=from_to(TLS1_0, TLS1_1), notes=_BOTAN_NOTES),
    Botan(name="botan-hole-10-12", enabled=_only(TLS1_0, TLS1_2), notes=_BOTAN_NOTES),
    Botan(name="botan-12", enabled=_only(TLS1_2), notes=_BOTAN_NOTES),
)


def _own(kind: str, stack: str, library: requirements.Requirement, notes: str, *ranges: Versions) -> list[Program]:
    """Return one of the lab's C servers for each range."""
    return [
        Program(
            name="-".join([kind, *dict.fromkeys(end.label[3:].replace(".", "") for end in (min(each), max(each)))]),
            enabled=each,
            stack=stack,
            kind=kind,
            requires=(requirements.C_COMPILER, library),
            notes=notes,
        )
        for each in ranges
    ]


_C_SERVERS = (
    *_own(
        "bearssl",
        "BearSSL 0.6",
        requirements.BEARSSL,
        "SSLv2: RST; SSLv3 to 1.2 where off: 70 in a record of version 0x0000; a 1.3 hello: 40",
        from_to(TLS1_0, TLS1_1),
        _only(TLS1_2),
    ),
    *_own(
        "mbedtls",
        "mbed TLS 2.28",
        requirements.MBEDTLS,
        "SSLv2: RST; versions under the lowest: 70 in the hello's version; a 1.3 hello: 40",
        from_to(TLS1_0, TLS1_1),
        from_to(TLS1_1, TLS1_2),
    ),
    *_own(
        "wolfssl",
        "wolfSSL 5.5",
        requirements.WOLFSSL,
        "SSLv2: warning close_notify, then RST; other versions that are off: 40 from a method of one version, 70 from "
        "the method of all",
        _only(TLS1_1),
        _only(TLS1_2),
        from_to(TLS1_1, TLS1_3),
    ),
    *_own(
        "boringssl",
        "BoringSSL",
        requirements.BORINGSSL,
        "SSLv2: 70 in 3.1, then RST; everything else that is off: 70 in 3.1",
        _OLD,
        _only(TLS1_3),
    ),
)

_GO_NOTES = "everything that is off, SSLv2 too: 70 in 3.1"
_PIKE_NOTES = "SSLv2: 71 in 3.0; versions under the lowest: 70; a 1.3 hello: 40"
_PROGRAMS = (
    *_C_SERVERS,
    *(
        Program(
            name=name, enabled=enabled, stack="Go crypto/tls", kind="go", requires=(requirements.GO,), notes=_GO_NOTES
        )
        for name, enabled in (
            ("go-10-11", from_to(TLS1_0, TLS1_1)),
            ("go-10-13", from_to(TLS1_0, TLS1_3)),
            ("go-13", _only(TLS1_3)),
        )
    ),
    *(
        Program(
            name=name, enabled=enabled, stack="Pike 8.0", kind="pike", requires=(requirements.PIKE,), notes=_PIKE_NOTES
        )
        for name, enabled in (
            ("pike-ssl3", _only(SSL3)),
            ("pike-ssl3-11", from_to(SSL3, TLS1_1)),
            ("pike-12", _only(TLS1_2)),
        )
    ),
    Program(
        name="node-10",
        enabled=_only(TLS1_0),
        stack="Node.js, OpenSSL 3.0",
        kind="node",
        requires=(requirements.NODE,),
        notes="SSLv2: 70; SSLv3: 40 in 3.0; a 1.3 hello: 70",
    ),
)

_RUSTLS = (
    Granian(name="rustls-12-13", enabled=from_to(TLS1_2, TLS1_3), notes="SSLv2: 50; SSLv3, 1.0 and 1.1: 40"),
    Granian(name="rustls-13", enabled=_only(TLS1_3), notes="SSLv2: 50; SSLv3, 1.0 and 1.1: 40; 1.2: 70"),
)

_H2O_NOTES = "whatever fails, SSLv2 and no common suite too: plain FIN, never an alert"
_H2O = (
    H2o(name="h2o-12-13", enabled=from_to(TLS1_2, TLS1_3), notes=_H2O_NOTES),
    H2o(name="h2o-10-13", enabled=from_to(TLS1_0, TLS1_3), notes=_H2O_NOTES),
)

_GNUTLS_PRODUCTS = (
    LighttpdGnuTls(
        name="lighttpd-gnutls-12", enabled=_only(TLS1_2), notes="whatever is off, SSLv2 too: plain FIN, never an alert"
    ),
    *(
        NgIrcd(name=name, enabled=enabled, notes="whatever is off, SSLv2 too: warning close_notify, then FIN")
        for name, enabled in (
            ("ngircd-10-11", from_to(TLS1_0, TLS1_1)),
            ("ngircd-12-13", from_to(TLS1_2, TLS1_3)),
            ("ngircd-13", _only(TLS1_3)),
        )
    ),
)

OTHER_STACKS: tuple[ServerFactory, ...] = (
    *_GNUTLS,
    *_NSS,
    *_JSSE,
    *_BOUNCY_CASTLE,
    *_ERLANG,
    *_TLSLITE,
    *_PYTHON,
    *_BOTAN,
    *_PROGRAMS,
    *_RUSTLS,
    *_H2O,
    *_GNUTLS_PRODUCTS,
)
"""Every listener of this file."""
