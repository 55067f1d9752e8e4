"""The ways in which a host is made to open a connection to a listener, and what each can't show.

Which program of the host fetches matters: one machine has several TLS stacks with settings of their
own. Sources: AD FS and Web Application Proxy cmdlets as documented in MicrosoftDocs/windows-powershell-docs (docset
winserver2022-ps, ADFS and WebApplicationProxy); TLS settings of .NET in MicrosoftDocs/windowsserverdocs
"Managing SSL/TLS Protocols and Cipher Suites for AD FS". What no document says is marked as not verified.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to have a host open a connection, and what it says of the host."""

    id: str
    """Short and safe as a part of a DNS label: lower-case letters, digits and inner hyphens."""
    title: str
    """One line for people."""
    stack: str
    """The program and TLS library that open the connection, as far as is known."""
    limits: tuple[str, ...]
    """What it can't show, a sentence each."""
    source: str
    """Where the command or directive is documented; empty where none is needed."""
    is_verified: bool = True
    """False where it is not documented which program or TLS library opens the connection: the limits say so too."""


BY_NAME = (
    "Speaks for names that no list treats specially: what the host does for the names of Entra may be set otherwise, "
    "by host name."
)
"""Holds for everything that a listener of ours sees."""
_UNVERIFIED = "Which program fetches, and with which TLS library, is not verified."
_ONE_STACK = "Other programs on the same machine may use other TLS settings."
_ROUTE = "Speaks for the route that was set up for the test: other routes may have TLS settings of their own."
_POOL = "Speaks for the machines that connected: others of a pool may be set up otherwise."
_POWERSHELL = "A 32-bit and a 64-bit program read different registry keys: run it in both."

ARRIVED = "arrived"
"""The method of a connection that carries no token."""
CONNECT = "connect"
"""The method of connections that a forward proxy opened for this program."""

_ADFS_DOC = "MicrosoftDocs/windows-powershell-docs docset/winserver2022-ps/ADFS"
_WAP_DOC = "MicrosoftDocs/windows-powershell-docs docset/winserver2022-ps/WebApplicationProxy"
_ADFS_TLS_DOC = "MicrosoftDocs/windowsserverdocs ad-fs/operations/Manage-SSL-Protocols-in-AD-FS.md"

_TABLE = (
    Method(
        id=ARRIVED,
        title="A connection that came by itself",
        stack="not known",
        limits=(
            "Nothing says which program opened it: it is credited to the address it came from.",
            "Behind one address there may be several machines (NAT) and several programs.",
            BY_NAME,
        ),
        source="",
        is_verified=False,
    ),
    Method(
        id=CONNECT,
        title="CONNECT through the forward proxy",
        stack="the proxy's TLS client, where it ends TLS; else the tunnelled client's",
        limits=(
            "Speaks for sites without a category or rule of their own: your bypass list works by host name.",
            "Clients that a PAC file or another route leads around the proxy are not covered.",
            _POOL,
        ),
        source="RFC 9110 section 9.3.6",
    ),
    Method(
        id="adfs-metadata",
        title="AD FS fetches federation metadata on demand",
        stack=".NET Framework (HttpWebRequest) over Schannel",
        limits=(
            "Which process fetches is not verified: the AD FS service, or PowerShell that runs the cmdlet.",
            "Speaks for metadata alone: the agent for Connect Health and the adapter for Entra MFA are other clients.",
            BY_NAME,
        ),
        source=f"{_ADFS_DOC}/Add-AdfsRelyingPartyTrust.md",
        is_verified=False,
    ),
    Method(
        id="adfs-service",
        title="The AD FS service monitors federation metadata",
        stack=".NET Framework (HttpWebRequest) over Schannel, in the AD FS service",
        limits=(
            "Comes only as often as MonitoringInterval says: a day, unless it was lowered.",
            "That the service uses the settings of .NET Framework 4 here is not verified.",
            "Speaks for metadata alone: the agent for Connect Health and the adapter for Entra MFA are other clients.",
            BY_NAME,
        ),
        source=f"{_ADFS_DOC}/Set-AdfsProperties.md",
        is_verified=False,
    ),
    Method(
        id="wap-backend",
        title="Web Application Proxy opens its back end",
        stack="WinHTTP over Schannel",
        limits=(
            "That Web Application Proxy uses WinHTTP for its back ends is not verified.",
            "Nearest to the way from Web Application Proxy to AD FS, but not that way itself.",
            _ROUTE,
        ),
        source=f"{_WAP_DOC}/Add-WebApplicationProxyApplication.md",
        is_verified=False,
    ),
    Method(
        id="ldaps",
        title="AD FS opens LDAP over TLS",
        stack="the LDAP client of Windows over Schannel",
        limits=(
            "When AD FS connects is not verified.",
            "Speaks for LDAP alone, not for what AD FS does over HTTPS.",
        ),
        source=f"{_ADFS_DOC}/New-AdfsLdapServerConnection.md",
        is_verified=False,
    ),
    Method(
        id="iwr",
        title="Invoke-WebRequest in Windows PowerShell 5.1",
        stack=".NET Framework 4 over Schannel, in powershell.exe",
        limits=(
            "Speaks for programs on .NET Framework 4, not for AD FS itself: that both are alike is not verified.",
            _POWERSHELL,
            BY_NAME,
        ),
        source=_ADFS_TLS_DOC,
    ),
    Method(
        id="iwr32",
        title="Invoke-WebRequest in 32-bit Windows PowerShell 5.1",
        stack=".NET Framework 4 over Schannel, in the 32-bit powershell.exe",
        limits=(
            "Speaks for 32-bit programs on .NET Framework 4 (registry keys below Wow6432Node), not for AD FS.",
            _ONE_STACK,
            BY_NAME,
        ),
        source=_ADFS_TLS_DOC,
    ),
    Method(
        id="clr2",
        title="HttpWebRequest in PowerShell with the .NET 2.0 runtime",
        stack=".NET Framework 2.0 to 3.5 over Schannel",
        limits=(
            "Speaks for programs on .NET Framework 2.0 to 3.5 alone; where that is not installed nothing comes.",
            _POWERSHELL,
            BY_NAME,
        ),
        source=_ADFS_TLS_DOC,
        is_verified=False,
    ),
    Method(
        id="winhttp",
        title="WinHTTP as SYSTEM",
        stack="WinHTTP over Schannel",
        limits=(
            "Speaks for programs on WinHTTP, not for AD FS: WinHTTP has a setting of its own, DefaultSecureProtocols.",
            "How far that setting reaches is not verified.",
            "The proxy settings of SYSTEM may differ from a user's.",
            BY_NAME,
        ),
        source="Azure-Samples/TestDeviceRegConnectivity",
        is_verified=False,
    ),
    Method(
        id="curl",
        title="curl",
        stack="curl: on Windows over Schannel, elsewhere over the library it was built with",
        limits=(
            "Speaks for programs on Schannel alone (on Windows), not for AD FS.",
            "That the curl.exe of Windows uses Schannel is not verified: curl --version says so.",
            _ONE_STACK,
        ),
        source="https://curl.se/docs/manpage.html",
        is_verified=False,
    ),
    Method(
        id="nginx",
        title="nginx as reverse proxy",
        stack="nginx with the OpenSSL it was built with",
        limits=(_ROUTE, _POOL),
        source="https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ssl_protocols",
    ),
    Method(
        id="haproxy",
        title="HAProxy as reverse proxy",
        stack="HAProxy with the OpenSSL it was built with",
        limits=(_ROUTE, _POOL, "Health checks may have TLS settings of their own."),
        source="https://docs.haproxy.org/ configuration manual, ssl-min-ver on server lines",
    ),
    Method(
        id="apache",
        title="Apache HTTP Server as reverse proxy",
        stack="mod_proxy and mod_ssl with the OpenSSL they were built with",
        limits=(_ROUTE, _POOL),
        source="https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#sslproxyprotocol",
    ),
    Method(
        id="squid",
        title="Squid as reverse proxy",
        stack="Squid with the TLS library it was built with",
        limits=(
            _ROUTE,
            "Says nothing of connections that Squid bumps: they don't keep to the limits of cache_peer.",
            _POOL,
        ),
        source="http://www.squid-cache.org/Doc/config/cache_peer/",
    ),
    Method(
        id="envoy",
        title="Envoy as reverse proxy",
        stack="Envoy with BoringSSL",
        limits=(_ROUTE, _POOL),
        source="https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/tls.proto",
    ),
    Method(
        id="f5",
        title="F5 BIG-IP as reverse proxy",
        stack="BIG-IP's server SSL profile",
        limits=(_ROUTE, _POOL, "Health monitors are another TLS client than the traffic: not verified here."),
        source="https://clouddocs.f5.com/cli/tmsh-reference/latest/modules/ltm/ltm_profile_server-ssl.html",
        is_verified=False,
    ),
)

METHODS: dict[str, Method] = {method.id: method for method in _TABLE}
"""Every method by its id."""


def method_of(method_id: str) -> Method:
    """Return the method with this id; for an id that a newer version of this program gave, one that knows little."""
    known = METHODS.get(method_id)
    if known is not None:
        return known
    return Method(
        id=method_id,
        title=f"Method {method_id}",
        stack="not known",
        limits=("This version of the program does not know the method.", _UNVERIFIED, BY_NAME),
        source="",
        is_verified=False,
    )
