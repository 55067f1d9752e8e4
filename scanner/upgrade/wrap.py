"""One attempt to carry a conversation through a proxy: what is asked of the proxy, then the conversation itself.

No secret is in anything that can be read from here: what the proxy said is searched for the credentials and for what
was sent of them, as some proxies repeat a request in their error page.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator
from html import escape
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, quote_plus

from scanner.model.exchange import EngineReport
from scanner.model.subjects import Upgrade
from scanner.model.versions import TlsVersion
from scanner.upgrade.opening import Opening, parse_destination

if TYPE_CHECKING:
    from scanner.net.network import Conversation
    from scanner.probes.handshake import TlsEngine
    from scanner.upgrade.auth import ProxyAuth
    from scanner.upgrade.credentials import Credentials

# h11 and nassl are loaded where they are used: the scan of hosts that are no proxies does without (PLC0415 below).

MAX_ANSWER_BYTES = 4_096
"""Most bytes kept of what a proxy said."""

_REDACTED = b"[redacted]"
_LONG_BYTES = 8
_RECORD_TYPES = range(20, 25)  # RFC 8446 section 5.1, and heartbeat


class Way:
    """One attempt through a proxy. Not reusable."""

    def __init__(
        self,
        upgrade: Upgrade,
        destination: str,
        credentials: Credentials | None,
        *,
        tls_name: str | None,
        auth: ProxyAuth,
        outer_version: TlsVersion | None = None,
    ) -> None:
        """Prepare the way to destination (``host:port``, ``[v6]:port``; else ValueError).

        tls_name: SNI for a proxy that speaks HTTP over TLS, None for none; its certificate is not verified.
        outer_version: the TLS version to speak with such a proxy, None for TLS 1.0 to 1.3 as it likes.
        auth: one for all ways through the same proxy.
        """
        parse_destination(destination)
        self.is_open = False
        """Whether the proxy opened the way: what follows is between the conversation and the destination."""
        self.wants_retry = False
        """Whether the same question on a new connection goes better: the proxy asked to authenticate and closed."""
        self._upgrade = upgrade
        self._destination = destination
        self._credentials = credentials
        self._tls_name = tls_name
        self._auth = auth
        self._outer_version = outer_version
        self._engine: TlsEngine | None = None
        self._declined: str | None = None
        self._heard = bytearray()
        self._told: list[str] = []
        self._sent = bytearray()
        self._received = bytearray()

    @property
    def sent(self) -> bytes:
        """What the conversation sent, without what was said to the proxy."""
        return bytes(self._sent)

    @property
    def received(self) -> bytes:
        """What the conversation received, without what the proxy said."""
        data = bytes(self._received)
        # Short secrets are found by chance in what is encrypted, and TLS must stay as it came.
        is_tls = len(data) > 1 and data[0] in _RECORD_TYPES and data[1] == 3  # major version
        return self._redact(data, shortest=_LONG_BYTES if is_tls else 1)

    @property
    def declined(self) -> str | None:
        """Why the proxy would not open the way, ``403 Forbidden``; None where it did, or where it did not answer.

        Holds text from the network, bounded and harmless for terminals.
        """
        if self._declined is None:
            return None
        return self._redact(self._declined.encode()).decode(errors="replace")

    @property
    def answer(self) -> bytes:
        """What the proxy said last, at most 4,096 bytes."""
        return self._redact(bytes(self._heard))[:MAX_ANSWER_BYTES]

    @property
    def outer_engine(self) -> EngineReport | None:
        """What the TLS engine says of the handshake with a proxy that speaks HTTP over TLS; None for others."""
        return None if self._engine is None else self._engine.report()

    def carry(self, inner: Conversation) -> Conversation:
        """Open the way, then carry inner over it. inner is closed where the way is not opened.

        The network's own record of this conversation holds credentials: take ``sent`` and ``received`` from here.
        """
        if self._upgrade is not Upgrade.HTTPS_CONNECT:
            return (yield from self._open_and_relay(inner))
        from scanner.probes.handshake import ClearText, TlsEngine  # noqa: PLC0415  # see the module's head

        self._engine = TlsEngine(self._outer_version, self._tls_name)
        outer = self._engine.carry(cast("Any", self._open_and_relay(inner)), ClearText())
        try:
            last = yield from outer
        finally:
            inner.close()
        if not self.is_open and self._declined is None:
            self._declined = f"TLS with the proxy failed: {self._engine.error or 'it closed'}"
        return last

    def _open_and_relay(self, inner: Conversation) -> Conversation:
        try:
            opening = yield from self._open()
            self.is_open = opening.is_open
            self.wants_retry = opening.wants_retry
            self._declined = opening.declined
            return (yield from self._relay(inner, opening.rest)) if opening.is_open else None
        finally:
            inner.close()

    def _open(self) -> Generator[bytes, bytes, Opening]:
        if self._upgrade in {Upgrade.HTTP_CONNECT, Upgrade.HTTPS_CONNECT}:
            from scanner.upgrade.http_connect import http_connect  # noqa: PLC0415  # see the module's head

            return (yield from http_connect(self._destination, self._credentials, self._auth, self._heard, self._told))
        if self._upgrade is Upgrade.SOCKS5:
            from scanner.upgrade.socks5 import socks5_connect  # noqa: PLC0415  # see the module's head

            return (yield from socks5_connect(self._destination, self._credentials, self._auth, self._heard))
        return Opening(is_open=True)

    def _relay(self, inner: Conversation, rest: bytes) -> Conversation:
        unsent = b""
        try:
            out = next(inner)
            while True:
                self._sent += out
                unsent += out
                if rest:  # the destination spoke before it was asked
                    received, rest = rest, b""
                else:
                    received = yield unsent
                    unsent = b""
                self._received += received
                out = inner.send(received)
        except StopIteration as stop:
            last: bytes = stop.value or b""
            self._sent += last
            return unsent + last

    def _redact(self, data: bytes, *, shortest: int = 1) -> bytes:
        for secret in self._secrets():
            if len(secret) >= shortest:
                data = data.replace(secret, _REDACTED)
        return data

    def _secrets(self) -> list[bytes]:
        """Return all forms in which a proxy may repeat what it was told, the longest first."""
        if self._credentials is None:
            return []
        user, password = self._credentials.user, self._credentials.password
        texts = {form(password) for form in (str, quote, quote_plus, escape)}
        texts |= {text for value in self._told for text in _tokens(value)}
        forms = {text.encode() for text in texts}
        for encoding in ("utf-8", "latin-1"):
            pair = f"{user}:{password}".encode(encoding, "replace")
            forms |= {password.encode(encoding, "replace"), b64encode(pair)}
        return sorted(forms - {b""}, key=len, reverse=True)


def _tokens(authorization: str) -> list[str]:
    """Return what is secret in the value of a Proxy-Authorization: Basic's token, Digest's response."""
    scheme, _, rest = authorization.partition(" ")
    if scheme == "Basic":
        return [rest]
    return [part.partition('"')[2].rstrip('"') for part in rest.split(", ") if part.startswith("response=")]
