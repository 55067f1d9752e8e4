"""Clients on OpenSSL: 3.0 in curl, s_client, Python and Node.js; 1.0.0 to 1.0.2 in old Node.js and in nassl."""

from __future__ import annotations

import sys
from itertools import pairwise

from scanner.model.versions import TlsVersion
from tests.clients.model import PROGRAMS, Aim, ClientKind, foreign_ca, short_name
from tests.lab import requirements
from tests.lab.model import SSL2, SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, Versions
from tests.lab.stacks.factories import DOTTED_NAMES, from_to

_ALL_TLS = from_to(TLS1_0, TLS1_3)
_CIPHERS = "DEFAULT:@SECLEVEL=0"
_NEXT = dict(pairwise(TlsVersion))


def only(*versions: TlsVersion) -> Versions:
    """Return these versions."""
    return frozenset(versions)


def lowest_run(versions: Versions) -> Versions:
    """Return the versions that OpenSSL's client keeps where some between them are switched off.

    A hello without a list can't have a hole: from the newest down, each hole makes it begin again below
    (ssl_get_min_max_version() in ssl/statem/statem_lib.c; the same in 1.0.x's s23_clnt.c).
    """
    kept = {min(versions)}
    while (higher := _NEXT.get(max(kept))) in versions:
        kept.add(higher)
    return frozenset(kept)


def curl(lowest: TlsVersion, highest: TlsVersion, *, trusts: bool = True) -> ClientKind:
    """curl between two versions."""
    versions = from_to(lowest, highest)
    options = [f"--tlsv{lowest.label[3:]}", "--tls-max", highest.label[3:]]

    def command(aim: Aim) -> list[str]:
        line = ["curl", "--disable", "--verbose", "--max-time", "10", "--no-sessionid", *options, "--ciphers", _CIPHERS]
        line += ["--resolve", f"{aim.server_name}:{aim.port}:{aim.address}", "--noproxy", "*"]
        line += [] if trusts else ["--cacert", str(foreign_ca(aim.home))]
        return [*line, *(["--insecure"] if trusts else []), f"https://{aim.server_name}:{aim.port}/"]

    return ClientKind(
        name=short_name("curl", versions, trusts=trusts),
        stack="curl 7.88, OpenSSL 3.0",
        expected=versions,
        offers=versions,
        trusts=trusts,
        config=" ".join(options),
        requires=(requirements.CURL,),
        command=command,
        completed=r"(?m)^\* SSL connection using TLSv",
        distrusted=None if trusts else r"SSL certificate problem",
    )


_S_CLIENT_OFF = {TLS1_0: "-no_tls1", TLS1_1: "-no_tls1_1", TLS1_2: "-no_tls1_2", TLS1_3: "-no_tls1_3"}


def s_client(versions: Versions, *, trusts: bool = True) -> ClientKind:
    """``openssl s_client`` with every other version switched off; with holes as well."""
    options = [_S_CLIENT_OFF[each] for each in sorted(_ALL_TLS - versions)]

    def command(aim: Aim) -> list[str]:
        line = ["openssl", "s_client", "-brief", *options, "-cipher", _CIPHERS, "-servername", aim.server_name]
        line += ["-no-CAfile", "-no-CApath", "-no-CAstore"]
        line += [] if trusts else ["-verify_return_error"]
        return [*line, "-connect", f"{aim.address}:{aim.port}"]

    return ClientKind(
        name=short_name("openssl", versions, trusts=trusts),
        stack="openssl s_client, OpenSSL 3.0",
        expected=lowest_run(versions),
        offers=lowest_run(versions),
        trusts=trusts,
        config=" ".join(options),
        requires=(requirements.OPENSSL,),
        command=command,
        completed=r"(?m)^Protocol version: TLSv",
        distrusted=None if trusts else r"certificate verify failed",
    )


def python_ssl(versions: Versions, *, trusts: bool = True) -> ClientKind:
    """Python's ssl module with every other version switched off."""
    off = ",".join(each.label for each in sorted(_ALL_TLS - versions)) or "-"

    def command(aim: Aim) -> list[str]:
        script = str(PROGRAMS / "python_ssl.py")
        return [sys.executable, script, aim.address, str(aim.port), aim.server_name, off, "any" if trusts else "none"]

    return ClientKind(
        name=short_name("python", versions, trusts=trusts),
        stack=f"Python {sys.version_info.major}.{sys.version_info.minor} ssl, OpenSSL 3.0",
        expected=lowest_run(versions),
        offers=lowest_run(versions),
        trusts=trusts,
        config=f"off: {off}",
        requires=(),
        command=command,
        completed=r"(?m)^completed",
        distrusted=None if trusts else r"CERTIFICATE_VERIFY_FAILED",
    )


def node(lowest: TlsVersion, highest: TlsVersion, *, trusts: bool = True) -> ClientKind:
    """Today's Node.js between two versions."""
    versions = from_to(lowest, highest)
    ends = [DOTTED_NAMES[lowest], DOTTED_NAMES[highest]]

    def command(aim: Aim) -> list[str]:
        line = ["node", str(PROGRAMS / "node.js"), aim.address, str(aim.port), aim.server_name, *ends]
        return [*line, "any" if trusts else "none"]

    return ClientKind(
        name=short_name("node", versions, trusts=trusts),
        stack="Node.js, its own OpenSSL 3.0",
        expected=versions,
        offers=versions,
        trusts=trusts,
        config=" ".join(["minVersion maxVersion", *ends]),
        requires=(requirements.NODE,),
        command=command,
        completed=r"(?m)^completed",
        distrusted=None if trusts else r"(?m)^failed: (?:unable to|self-signed|certificate)",
    )


_OLD_OFF = {SSL2: "NO_SSLv2", SSL3: "NO_SSLv3", TLS1_0: "NO_TLSv1", TLS1_1: "NO_TLSv1_1", TLS1_2: "NO_TLSv1_2"}
_NODE_0_8_METHODS = {SSL2: "SSLv2_method", SSL3: "SSLv3_method", TLS1_0: "TLSv1_method"}


def old_node(node: requirements.Requirement, versions: Versions) -> ClientKind:
    """Node.js 0.8 (up to TLS 1.0) or 0.10 (up to 1.2): one version by method, several by options of SSLv23_method."""
    is_oldest = node is requirements.NODE_0_8
    known = from_to(SSL2, TLS1_0) if is_oldest else from_to(SSL2, TLS1_2)
    if len(versions) == 1 and versions <= _NODE_0_8_METHODS.keys():
        (version,) = versions
        options = [_NODE_0_8_METHODS[version], "-"]
    else:
        options = ["SSLv23_method", ",".join(_OLD_OFF[each] for each in sorted(known - versions)) or "-"]

    def command(aim: Aim) -> list[str]:
        script = str(PROGRAMS / "old_node.js")
        return [str(node.file), script, aim.address, str(aim.port), aim.server_name, *options]

    # It always sends SNI, and with that OpenSSL never uses the SSLv2 format, the only way to ask for SSLv2 and more.
    used = versions if len(versions) == 1 else lowest_run(versions - {SSL2})
    label = "node08" if is_oldest else "node010"
    return ClientKind(
        name=short_name(label, versions),
        stack="Node.js 0.8, OpenSSL 1.0.0" if is_oldest else "Node.js 0.10, OpenSSL 1.0.1",
        expected=used,
        offers=used,
        config=" ".join(options),
        requires=(node,),
        command=command,
        sends_name=max(used) > SSL3,
        completed=r"(?m)^completed",
    )


def nassl(versions: Versions, *, trusts: bool = True) -> ClientKind:
    """nassl's OpenSSL 1.0.2 with every other version switched off; with holes as well."""
    off = ",".join(each.label for each in sorted(from_to(SSL2, TLS1_2) - versions)) or "-"

    def command(aim: Aim) -> list[str]:
        script = str(PROGRAMS / "nassl_legacy.py")
        return [
            sys.executable,
            script,
            aim.address,
            str(aim.port),
            aim.server_name,
            off,
            "any" if trusts else str(foreign_ca(aim.home)),
        ]

    return ClientKind(
        name=short_name("nassl", versions, trusts=trusts),
        stack="OpenSSL 1.0.2 (nassl)",
        expected=lowest_run(versions),
        offers=lowest_run(versions),
        trusts=trusts,
        config=f"off: {off}",
        requires=(requirements.NASSL,),
        command=command,
        sends_name=SSL2 not in versions and max(lowest_run(versions)) > SSL3,
        completed=r"(?m)^completed",
        distrusted=None if trusts else r"certificate verify failed",
    )


_NODE_0_8, _NODE_0_10 = requirements.NODE_0_8, requirements.NODE_0_10

OPENSSL_CLIENTS: tuple[ClientKind, ...] = (
    *(curl(version, version) for version in sorted(_ALL_TLS)),
    curl(TLS1_0, TLS1_1),
    curl(TLS1_0, TLS1_2),
    curl(TLS1_0, TLS1_3),
    curl(TLS1_1, TLS1_2),
    curl(TLS1_2, TLS1_3),
    curl(TLS1_2, TLS1_3, trusts=False),
    curl(TLS1_0, TLS1_1, trusts=False),
    *(s_client(only(version)) for version in sorted(_ALL_TLS)),
    s_client(_ALL_TLS),
    s_client(from_to(TLS1_0, TLS1_2)),
    s_client(from_to(TLS1_2, TLS1_3)),
    s_client(only(TLS1_0, TLS1_2)),
    s_client(only(TLS1_1, TLS1_3)),
    s_client(only(TLS1_0, TLS1_2, TLS1_3)),
    s_client(_ALL_TLS, trusts=False),
    s_client(only(TLS1_0, TLS1_2), trusts=False),
    python_ssl(from_to(TLS1_2, TLS1_3)),
    python_ssl(_ALL_TLS),
    python_ssl(only(TLS1_0, TLS1_3)),
    python_ssl(only(TLS1_1)),
    python_ssl(only(TLS1_2), trusts=False),
    node(TLS1_0, TLS1_0),
    node(TLS1_0, TLS1_3),
    node(TLS1_1, TLS1_2),
    node(TLS1_2, TLS1_3),
    node(TLS1_3, TLS1_3),
    node(TLS1_2, TLS1_3, trusts=False),
    old_node(_NODE_0_8, only(SSL2)),
    old_node(_NODE_0_8, only(SSL3)),
    old_node(_NODE_0_8, only(TLS1_0)),
    old_node(_NODE_0_8, from_to(SSL3, TLS1_0)),
    old_node(_NODE_0_8, from_to(SSL2, TLS1_0)),
    old_node(_NODE_0_10, from_to(SSL2, TLS1_2)),
    old_node(_NODE_0_10, from_to(SSL3, TLS1_2)),
    old_node(_NODE_0_10, only(SSL3, TLS1_2)),
    old_node(_NODE_0_10, from_to(TLS1_0, TLS1_1)),
    nassl(only(SSL2)),
    nassl(only(SSL3)),
    nassl(from_to(SSL2, TLS1_2)),
    nassl(from_to(SSL3, TLS1_2)),
    nassl(only(SSL3, TLS1_1)),
    nassl(only(TLS1_2)),
    nassl(from_to(TLS1_0, TLS1_2), trusts=False),
    nassl(only(SSL3), trusts=False),
)
"""Every client of this file."""
