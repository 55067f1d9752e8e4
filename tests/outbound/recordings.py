"""Real handshakes in memory: real clients against real servers that speak one version. Both directions are kept."""

import errno
import functools
import re
import ssl
import warnings
from datetime import UTC, datetime

import trustme
from nassl._nassl import OpenSSLError, WantReadError
from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum, SslClient

from scanner.model.exchange import Ending, EngineReport, Exchange, Probe, ProbeRequest
from scanner.model.subjects import Endpoint
from scanner.model.versions import TlsVersion

with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # tlslite-ng imports asyncore
    from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
    from tlslite.errors import TLSError, TLSLocalAlert, TLSRemoteAlert

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAME = "host.example"
SSL_VERSIONS = {
    TlsVersion.TLS1_0: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS1_1: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS1_3: ssl.TLSVersion.TLSv1_3,
}
# RFC 8446 section 6; OpenSSL writes them in capitals.
ALERTS = {
    "HANDSHAKE_FAILURE": 40,
    "BAD_CERTIFICATE": 42,
    "CERTIFICATE_UNKNOWN": 46,
    "ILLEGAL_PARAMETER": 47,
    "UNKNOWN_CA": 48,
    "PROTOCOL_VERSION": 70,
    "INSUFFICIENT_SECURITY": 71,
    "INTERNAL_ERROR": 80,
}


@functools.cache
def authority():
    ca = trustme.CA()
    return ca, ca.issue_cert(NAME, key_type=trustme.KeyType.RSA)


class SslPeer:
    """One end by Python's ssl: bytes in, bytes out."""

    def __init__(self, context, **more):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **more)
        self.completed, self.error, self.over = False, None, False

    def feed(self, data):
        if data:
            self.incoming.write(data)
        if not self.over and not self.completed:
            try:
                self.tls.do_handshake()
                self.completed = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self.over, self.error = True, error.reason
        return self.outgoing.read()


def _pin(context, low, high):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # old versions are the point
        context.minimum_version, context.maximum_version = SSL_VERSIONS[low], SSL_VERSIONS[high]


def ssl_server(version, *, ciphers="ALL:@SECLEVEL=0", curves=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority()[1].configure_cert(context)
    context.set_ciphers(ciphers)
    if curves:
        context.set_ecdh_curve(curves)
    _pin(context, version, version)
    context.num_tickets = 0
    return SslPeer(context, server_side=True)


def ssl_client(low, high, *, trusts=True, ciphers="ALL:@SECLEVEL=0", name=NAME):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusts:
        authority()[0].configure_trust(context)
    context.set_ciphers(ciphers)
    _pin(context, low, high)
    return SslPeer(context, server_hostname=name)


class _Pipe:
    """A socket whose other end is whoever calls feed."""

    def __init__(self):
        self.incoming, self.outgoing = bytearray(), bytearray()

    def recv(self, size):
        if not self.incoming:
            raise OSError(errno.EWOULDBLOCK, "nothing there")
        found = bytes(self.incoming[:size])
        del self.incoming[:size]
        return found

    def send(self, data):
        self.outgoing += data
        return len(data)

    sendall = send

    def close(self):
        pass


class TlslitePeer:
    """One end by tlslite-ng."""

    def __init__(self, start):
        self.pipe = _Pipe()
        self.connection = TLSConnection(self.pipe)
        self.steps = start(self.connection)
        self.completed, self.error, self.over = False, None, False

    def feed(self, data):
        self.pipe.incoming += data
        while not self.over and not self.completed:
            try:
                if next(self.steps) == 0 and not self.pipe.incoming:
                    break
            except StopIteration:
                self.completed = True
            except TLSRemoteAlert as alert:
                self.over, self.error = True, f"received alert {alert.description}"
            except TLSLocalAlert as alert:
                self.over, self.error = True, f"sent alert {alert.description}"
            except TLSError as error:
                self.over, self.error = True, str(error)
        out = bytes(self.pipe.outgoing)
        self.pipe.outgoing.clear()
        return out


def _settings(low, high):
    settings = HandshakeSettings()
    settings.minVersion, settings.maxVersion = (low >> 8, low & 255), (high >> 8, high & 255)
    settings.versions = [(3, minor) for minor in range(high & 255, (low & 255) - 1, -1)]
    settings.cipherNames = ["aes128gcm", "aes128", "aes256", "3des", "rc4"]
    settings.macNames = ["sha", "sha256", "sha384", "aead", "md5"]
    settings.minKeySize = 1023
    return settings


def tlslite_server(version):
    leaf = authority()[1]
    chain = X509CertChain()
    chain.parsePemList(b"".join(pem.bytes() for pem in leaf.cert_chain_pems).decode())
    key = parsePEMKey(leaf.private_key_pem.bytes().decode(), private=True)
    return TlslitePeer(
        lambda connection: connection.handshakeServerAsync(
            certChain=chain, privateKey=key, settings=_settings(version, version), reqCert=False
        )
    )


def tlslite_client(low, high):
    return TlslitePeer(
        lambda connection: connection.handshakeClientCert(settings=_settings(low, high), serverName=NAME, async_=True)
    )


class NasslPeer:
    """A client by nassl's OpenSSL: 1.0.2 (legacy, up to TLS 1.2, no version list) or 1.1.1."""

    def __init__(self, version="SSLV23", *, is_legacy=True, without=(), trusts=True):
        client_class = LegacySslClient if is_legacy else SslClient
        verify = OpenSslVerifyEnum.NONE if trusts else OpenSslVerifyEnum.PEER
        self.client = client_class(ssl_version=OpenSslVersionEnum[version], ssl_verify=verify)
        self.client.set_cipher_list("ALL:!PSK:!SRP")
        if version != "SSLV2":
            self.client.set_tlsext_host_name(NAME)
        for option in without:
            self.client._ssl.set_options(option)
        self.completed, self.error, self.over = False, None, False

    def feed(self, data):
        network = self.client._network_bio
        if data:
            network.write(data)
        if not self.over and not self.completed:
            try:
                self.client._ssl.do_handshake()
                self.completed = True
            except WantReadError:
                pass
            except OpenSSLError as error:
                self.over, self.error = True, str(error)
        out = b""
        while network.pending():
            out += network.read(network.pending())
        return out


def meet(client, server, version, *, ending=None, cut=None, serial=1, at=AT, path=None, name=NAME, address="192.0.2.7"):
    """Let both talk until neither has more to say; return the exchange as a listener would have kept it.

    cut: after so many flights of the client's nothing more of it arrives.
    """
    received, sent = bytearray(), bytearray()
    out = client.feed(b"")
    flights = 0
    while out and (cut is None or flights < cut):
        flights += 1
        received += out
        back = server.feed(out)
        sent += back
        out = client.feed(back) if back else b""
    error = server.error
    if isinstance(server, SslPeer) and error is not None:
        error = _openssl_words(error)
    if ending is None:
        ending = Ending.COMPLETE if server.completed else Ending.PEER_CLOSED
    return Exchange(
        request=ProbeRequest(
            id=serial,
            probe=Probe.LISTENER,
            endpoint=Endpoint(host=address, address=address, port=443, server_name=name),
            version=version,
            path=path,
        ),
        started_at=at,
        sent=bytes(sent),
        received=bytes(received),
        ending=ending,
        elapsed_s=0.1,
        engine=EngineReport(engine="test", completed=server.completed, error=error),
    )


def _openssl_words(reason):
    found = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)", reason)
    if found is not None:
        return f"received alert {ALERTS[found[1]]} ({found[1].lower()})"
    return f"sent alert 80 ({reason})"
