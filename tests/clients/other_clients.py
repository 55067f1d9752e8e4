"""Clients whose TLS is not OpenSSL: GnuTLS, NSS, Java, Bouncy Castle, Go, tlslite-ng, BoringSSL in Chromium."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.clients.model import PROGRAMS, Aim, ClientKind, foreign_ca, short_name
from tests.lab import requirements
from tests.lab.model import SSL3, TLS1_0, TLS1_1, TLS1_2, TLS1_3, Versions
from tests.lab.stacks import build
from tests.lab.stacks.factories import DOTTED_NAMES, from_to, gnutls_priority

if TYPE_CHECKING:
    from scanner.model.versions import TlsVersion

_ALL_TLS = from_to(TLS1_0, TLS1_3)


def _only(*versions: TlsVersion) -> Versions:
    return frozenset(versions)


def gnutls_cli(versions: Versions, *, trusts: bool = True) -> ClientKind:
    """``gnutls-cli`` with a priority string of these versions; with holes as well."""
    priority = gnutls_priority(versions, "NORMAL:+SIGN-ALL:%VERIFY_ALLOW_BROKEN")

    def command(aim: Aim) -> list[str]:
        line = ["gnutls-cli", "--no-ocsp", "--priority", priority, "--port", str(aim.port)]
        line += ["--insecure", "--no-ca-verification"] if trusts else ["--x509cafile", str(foreign_ca(aim.home))]
        return [*line, "--sni-hostname", aim.server_name, "--verify-hostname", aim.server_name, aim.address]

    return ClientKind(
        name=short_name("gnutls", versions, trusts=trusts),
        stack="gnutls-cli, GnuTLS 3.7",
        expected=versions,
        offers=versions,
        trusts=trusts,
        config=priority,
        requires=(requirements.GNUTLS_CLIENT,),
        command=command,
        completed=r"(?m)^- Handshake was completed",
        distrusted=None if trusts else r"Error in the certificate",
    )


_WGET_PROTOCOLS = {"TLSv1": _ALL_TLS, "TLSv1_1": from_to(TLS1_1, TLS1_3), "TLSv1_2": from_to(TLS1_2, TLS1_3)}


def wget(versions: Versions, *, protocol: str | None = None, trusts: bool = True) -> ClientKind:
    """wget, by its own option ``--secure-protocol`` or by a priority string."""
    option = f"--secure-protocol={protocol}" if protocol else f"--ciphers={gnutls_priority(versions, 'NORMAL')}"

    def command(aim: Aim) -> list[str]:
        line = ["wget", "--no-config", "--no-hsts", "--no-proxy", "--output-document=-", "--timeout=10", "--tries=1"]
        line += ["--no-check-certificate" if trusts else f"--ca-certificate={foreign_ca(aim.home)}", option]
        return [*line, f"https://{aim.server_name}:{aim.port}/"]

    def environment(aim: Aim) -> dict[str, str]:
        hosts = aim.home / "hosts"
        hosts.write_text(f"{aim.address} {aim.server_name}\n")
        return {"LD_PRELOAD": str(requirements.NSS_WRAPPER.file), "NSS_WRAPPER_HOSTS": str(hosts)}

    return ClientKind(
        name=short_name("wget-priority" if protocol is None else "wget", versions, trusts=trusts),
        stack="wget 1.21, GnuTLS 3.7",
        expected=versions,
        offers=versions,
        trusts=trusts,
        config=option,
        # It can be told a name's address by the system's resolver only.
        requires=(requirements.WGET, requirements.NSS_WRAPPER),
        command=command,
        environment=environment,
        completed=r"(?m)^HTTP request sent",
        distrusted=None if trusts else r"(?m)^ERROR: .*certificate",
    )


def java(
    versions: Versions, *, provider: str = "SunJSSE", has_ssl2_hello: bool = False, trusts: bool = True
) -> ClientKind:
    """Java's own JSSE or Bouncy Castle's, without Java's limits; with holes as well."""
    names = [*(["SSLv2Hello"] if has_ssl2_hello else []), *(DOTTED_NAMES[each] for each in sorted(versions))]

    def command(aim: Aim) -> list[str]:
        source = PROGRAMS / "java" / "Client.java"
        class_path = [build._build((source,), ["javac", "-d", ".", source])]
        if provider == "BCJSSE":
            class_path += [Path("/usr/share/java") / f"{jar}.jar" for jar in ("bctls", "bcprov", "bcutil")]
        line = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", ":".join(map(str, class_path)), "Client"]
        line += [provider, aim.address, str(aim.port), aim.server_name]
        return [*line, ",".join(names), "any" if trusts else "none"]

    label = {"SunJSSE": "java", "BCJSSE": "bouncycastle"}[provider]
    return ClientKind(
        name=short_name(f"{label}-ssl2hello" if has_ssl2_hello else label, versions, trusts=trusts),
        stack={"SunJSSE": "Java 17 JSSE", "BCJSSE": "Bouncy Castle 1.72 JSSE"}[provider],
        expected=versions,
        offers=versions,
        trusts=trusts,
        sends_name=not has_ssl2_hello,
        config=",".join(names),
        requires=(
            requirements.JAVA,
            requirements.JAVAC,
            *((requirements.BOUNCY_CASTLE,) if provider == "BCJSSE" else ()),
        ),
        command=command,
        completed=r"(?m)^completed",
        distrusted=None if trusts else r"(?i)distrusted",
        limit_s=25.0,
    )


def go(lowest: TlsVersion, highest: TlsVersion, *, trusts: bool = True) -> ClientKind:
    """Go's crypto/tls between two versions."""
    versions = from_to(lowest, highest)
    ends = [lowest.label, highest.label]

    def command(aim: Aim) -> list[str]:
        source = PROGRAMS / "go" / "client.go"
        program = build._build((source,), ["go", "build", "-o", "client", source]) / "client"
        return [str(program), aim.address, str(aim.port), aim.server_name, *ends, "any" if trusts else "none"]

    return ClientKind(
        name=short_name("go", versions, trusts=trusts),
        stack="Go crypto/tls",
        expected=versions,
        offers=versions,
        trusts=trusts,
        config=" ".join(ends),
        requires=(requirements.GO,),
        command=command,
        completed=r"(?m)^completed",
        distrusted=None if trusts else r"unknown authority",
    )


def nss(lowest: TlsVersion, highest: TlsVersion, *, trusts: bool = True) -> ClientKind:
    """NSS's ``tstclnt`` between two versions."""
    versions = from_to(lowest, highest)
    option = f"{lowest.label.lower()}:{highest.label.lower()}"

    def command(aim: Aim) -> list[str]:
        request = aim.home / "request"
        request.write_text("GET / HTTP/1.0\r\n\r\n")
        line = [
            "tstclnt",
            "-D",
            "-v",
            "-A",
            str(request),
            "-h",
            aim.address,
            "-p",
            str(aim.port),
            "-a",
            aim.server_name,
        ]
        return [*line, "-V", option, *(["-o"] if trusts else [])]

    return ClientKind(
        name=short_name("nss", versions, trusts=trusts),
        stack="tstclnt, NSS 3.87",
        expected=versions,
        offers=versions,
        trusts=trusts,
        sends_name=highest > SSL3,
        config=f"-V {option}",
        requires=(requirements.NSS,),
        command=command,
        completed=r"(?m)SSL version 3\.\d using",
        distrusted=None if trusts else r"SEC_ERROR_|(?i:bad server cert|issuer)",
    )


def tlslite(lowest: TlsVersion, highest: TlsVersion) -> ClientKind:
    """tlslite-ng between two versions; it verifies nothing."""
    versions = from_to(lowest, highest)
    ends = [lowest.label, highest.label]

    def command(aim: Aim) -> list[str]:
        script = str(PROGRAMS / "tlslite_client.py")
        return [sys.executable, script, aim.address, str(aim.port), aim.server_name, *ends]

    return ClientKind(
        name=short_name("tlslite", versions),
        stack="tlslite-ng 0.8",
        expected=versions,
        offers=versions,
        config=" ".join(ends),
        requires=(requirements.TLSLITE,),
        command=command,
        completed=r"(?m)^completed",
    )


def chromium(versions: Versions, *, trusts: bool = True) -> ClientKind:
    """Headless Chromium between two versions; nothing under TLS 1.2 is left in it."""
    options = [f"--ssl-version-min={min(versions).label.lower()}", f"--ssl-version-max={max(versions).label.lower()}"]

    def command(aim: Aim) -> list[str]:
        line = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        line += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"]
        line += ["--disable-extensions", f"--user-data-dir={aim.home / 'profile'}", "--dump-dom", "--timeout=8000"]
        line += [f"--host-resolver-rules=MAP {aim.server_name} {aim.address}, MAP * ~NOTFOUND, EXCLUDE {aim.address}"]
        return [
            *line,
            *(["--ignore-certificate-errors"] if trusts else []),
            *options,
            f"https://{aim.server_name}:{aim.port}/",
        ]

    return ClientKind(
        name=short_name("chromium", versions, trusts=trusts),
        stack="Chromium, BoringSSL",
        expected=versions,
        offers=versions,
        trusts=trusts,
        config=" ".join(options),
        requires=(requirements.CHROMIUM,),
        command=command,
        completed=r"(?s)\A(?!.*(?:main-frame-error|neterror)).*<html",
        distrusted=None if trusts else r"ERR_CERT_",
        limit_s=30.0,
    )


OTHER_CLIENTS: tuple[ClientKind, ...] = (
    *(gnutls_cli(_only(version)) for version in sorted(_ALL_TLS)),
    gnutls_cli(_ALL_TLS),
    gnutls_cli(from_to(TLS1_2, TLS1_3)),
    gnutls_cli(_only(TLS1_0, TLS1_2)),
    gnutls_cli(_only(TLS1_0, TLS1_2, TLS1_3)),
    gnutls_cli(_ALL_TLS, trusts=False),
    *(wget(versions, protocol=protocol) for protocol, versions in _WGET_PROTOCOLS.items()),
    wget(_only(TLS1_1)),
    wget(from_to(TLS1_0, TLS1_2)),
    wget(from_to(TLS1_2, TLS1_3), trusts=False),
    java(_only(SSL3)),
    java(_only(TLS1_0)),
    java(_only(TLS1_3)),
    java(from_to(SSL3, TLS1_3)),
    java(from_to(TLS1_2, TLS1_3)),
    java(_only(TLS1_0, TLS1_2)),
    java(_only(TLS1_1, TLS1_3)),
    java(_only(SSL3, TLS1_1)),
    java(from_to(SSL3, TLS1_0), has_ssl2_hello=True),
    java(from_to(TLS1_1, TLS1_3), trusts=False),
    java(_ALL_TLS, provider="BCJSSE"),
    java(_only(TLS1_0, TLS1_2), provider="BCJSSE"),
    java(_only(TLS1_2), provider="BCJSSE"),
    java(_only(TLS1_3), provider="BCJSSE", trusts=False),
    go(TLS1_0, TLS1_0),
    go(TLS1_0, TLS1_3),
    go(TLS1_1, TLS1_2),
    go(TLS1_2, TLS1_3),
    go(TLS1_3, TLS1_3),
    go(TLS1_0, TLS1_3, trusts=False),
    nss(SSL3, SSL3),
    nss(SSL3, TLS1_2),
    nss(TLS1_0, TLS1_3),
    nss(TLS1_1, TLS1_1),
    nss(TLS1_2, TLS1_3),
    nss(TLS1_0, TLS1_2, trusts=False),
    tlslite(SSL3, SSL3),
    tlslite(SSL3, TLS1_3),
    tlslite(TLS1_0, TLS1_2),
    tlslite(TLS1_3, TLS1_3),
    chromium(from_to(TLS1_2, TLS1_3)),
    chromium(_only(TLS1_2)),
    chromium(_only(TLS1_3)),
    chromium(from_to(TLS1_2, TLS1_3), trusts=False),
)
"""Every client of this file."""
