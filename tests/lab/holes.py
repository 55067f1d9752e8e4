"""Listeners with every hole between their versions that a stack can be configured to have.

What a server says to a hello for a version in the hole differs: most answer with the next lower version, GnuTLS and
Botan refuse by protocol_version(70). No hole is possible in NSS, BoringSSL, mbed TLS, BearSSL, Go, Pike, tlslite-ng and
rustls (a lowest and a highest version), nor beside TLS 1.3 without 1.2 in Erlang and GnuTLS. The one hole of Botan and
both of GnuTLS are in other_stacks.py.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from tests.lab import requirements
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, ClientNeeds
from tests.lab.openssl_factories import OldNode, SServer
from tests.lab.stacks.factories import Erlang, Java, from_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scanner.model.versions import TlsVersion
    from tests.lab.model import ServerFactory, Versions

_S_SERVER_OFF = {TLS1_0: "-no_tls1", TLS1_1: "-no_tls1_1", TLS1_2: "-no_tls1_2", TLS1_3: "-no_tls1_3"}
_OLD_NODE_OFF = {SSL3: "NO_SSLv3", TLS1_0: "NO_TLSv1", TLS1_1: "NO_TLSv1_1", TLS1_2: "NO_TLSv1_2"}
# As in other_stacks.py: what it takes to complete SSLv3 with them.
_SSL3_NEEDS = {"SunJSSE": ClientNeeds(ciphers="ALL:!kEECDH"), "BCJSSE": ClientNeeds(ciphers="NULL-SHA:DES-CBC3-MD5")}


def with_holes(versions: Iterable[TlsVersion]) -> list[Versions]:
    """Return every set of these versions that is no unbroken range."""
    known = sorted(versions)
    sets = [frozenset(each) for count in range(2, len(known)) for each in combinations(known, count)]
    return [each for each in sets if each != from_to(min(each), max(each))]


def _name(stack: str, enabled: Versions) -> str:
    labels = (version.label.lower().removeprefix("tls").replace(".", "") for version in sorted(enabled))
    return f"holes-{stack}-{'-'.join(labels)}"


def _java(stack: str, provider: str, needed: tuple[requirements.Requirement, ...]) -> list[ServerFactory]:
    return [
        Java(
            name=_name(stack, enabled),
            enabled=enabled,
            stack={"SunJSSE": "Java 17 JSSE", "BCJSSE": "Bouncy Castle 1.72 JSSE"}[provider],
            provider=provider,
            requires=needed,
            verify=_SSL3_NEEDS[provider] if SSL3 in enabled else ClientNeeds(),
        )
        for enabled in with_holes(from_to(SSL3, TLS1_3))
    ]


_NODE_0_10 = requirements.NODE_0_10
assert _NODE_0_10.file is not None

HOLES: tuple[ServerFactory, ...] = (
    *(
        SServer(
            name=_name("openssl", enabled),
            enabled=enabled,
            config=" ".join([*(_S_SERVER_OFF[each] for each in sorted(from_to(TLS1_0, TLS1_3) - enabled)), "-cipher"])
            + " ALL:@SECLEVEL=0",
        )
        for enabled in with_holes(from_to(TLS1_0, TLS1_3))
    ),
    *(
        OldNode(
            name=_name("node010", enabled),
            stack="Node.js 0.10, OpenSSL 1.0.1",
            enabled=enabled,
            config="SSLv23_method "
            + ",".join(["NO_SSLv2", *(_OLD_NODE_OFF[each] for each in sorted(from_to(SSL3, TLS1_2) - enabled))])
            + " ALL",
            node=_NODE_0_10.file,
            requires=(_NODE_0_10,),
        )
        for enabled in with_holes(from_to(SSL3, TLS1_2))
    ),
    *_java("jsse", "SunJSSE", (requirements.JAVA, requirements.JAVAC)),
    *_java("bouncycastle", "BCJSSE", (requirements.JAVA, requirements.JAVAC, requirements.BOUNCY_CASTLE)),
    *(
        Erlang(name=_name("erlang", enabled), enabled=enabled)
        for enabled in with_holes(from_to(TLS1_0, TLS1_3))
        if TLS1_2 in enabled or TLS1_3 not in enabled
    ),
)
"""Every listener of this file; none has SSLv2."""
assert not any(SSL2 in factory.enabled for factory in HOLES)
