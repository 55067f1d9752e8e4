"""The API by which a scan elsewhere collects what the listener saw: one HTTP/1.1 request over TLS, both sides proven.

A client asks for it by ALPN on the listener's own port. Whoever can't show the secret's mac learns nothing: 403 after a
short while, the same for every reason. What both sides sign is in scanner.listener.messages.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from scanner.listener.messages import (
    ALPN,
    MAC_HEADER,
    MAX_NONCES,
    NONCE_HEADER,
    TIME_HEADER,
    SeenNonces,
    derive_key,
    encode_about,
    encode_exchanges,
    is_in_time,
    is_same_mac,
    request_mac,
    response_mac,
)

if TYPE_CHECKING:
    import ssl

    import h11

    from scanner.listener.access import RecentExchanges
    from scanner.listener.identity import Leaf

REFUSAL_DELAY_S: Final = 0.5
"""Before a request that proves nothing is answered: guessing is slow, and takes one of few sessions."""
MAX_WAIT_S: Final = 30.0
"""Most seconds that one request waits for exchanges."""
_MAX_HEAD_BYTES = 16_384
_READ_BYTES = 16_384
_NONCE = re.compile(r"[0-9a-f]{16}")
_CLIENT_NONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request's head."""

    method: str
    """``GET``."""
    target: str
    """Path with query, as sent."""
    headers: Mapping[str, str]
    """By lower-case name; of a header sent twice the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """What to answer."""

    status: int
    """HTTP status."""
    body: bytes
    """JSON."""
    mac: str | None = None
    """Ours; None for those who proved nothing."""


_FORBIDDEN = ApiResponse(status=403, body=b'{"v": 1, "error": "forbidden"}')


class ApiService:
    """Answers requests that prove the secret."""

    def __init__(
        self,
        secret: bytes,
        recent: RecentExchanges,
        about: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """about: gives suffix, ca_sha256 and version; clock: seconds since 1970."""
        self._key = derive_key(secret)
        self._recent = recent
        self._about = about
        self._clock = clock
        self._seen = SeenNonces()

    async def answer(self, request: ApiRequest, leaf_sha256: str) -> ApiResponse:
        """Return the response; waits for exchanges where the request asks for that."""
        nonce = request.headers.get(NONCE_HEADER, "")
        if not self._is_authentic(request, nonce, leaf_sha256):
            await asyncio.sleep(REFUSAL_DELAY_S)
            return _FORBIDDEN
        status, body = await self._body(request)
        mac = response_mac(self._key, nonce=nonce, leaf_sha256=leaf_sha256, status=status, body=body)
        return ApiResponse(status=status, body=body, mac=mac)

    def _is_authentic(self, request: ApiRequest, nonce: str, leaf_sha256: str) -> bool:
        time_text = request.headers.get(TIME_HEADER, "")
        expected = request_mac(
            self._key,
            method=request.method,
            target=request.target,
            nonce=nonce,
            time_text=time_text,
            leaf_sha256=leaf_sha256,
        )
        # Only what is authentic may fill the memory of nonces: the mac comes first.
        now_s = self._clock()
        return (
            is_same_mac(expected, request.headers.get(MAC_HEADER, ""))
            and _CLIENT_NONCE.fullmatch(nonce) is not None
            and is_in_time(time_text, now_s=now_s)
            and self._seen.is_fresh(nonce, now_s=now_s)
        )

    async def _body(self, request: ApiRequest) -> tuple[int, bytes]:
        try:
            parts = urlsplit(request.target)
        except ValueError:
            return 400, b'{"v": 1, "error": "target"}'
        if request.method != "GET":
            return 405, b'{"v": 1, "error": "only GET"}'
        if parts.path == "/v1/about":
            return 200, encode_about(self._about())
        if parts.path != "/v1/hellos":
            return 404, b'{"v": 1, "error": "no such thing"}'
        asked = parse_qs(parts.query)
        nonces = asked.get("nonces", [""])[-1].split(",")
        wait_s = _maybe_wait(asked.get("wait_s", ["0"])[-1])
        if wait_s is None or len(nonces) > MAX_NONCES or not all(map(_NONCE.fullmatch, nonces)):
            return 400, b'{"v": 1, "error": "nonces or wait_s"}'
        return 200, encode_exchanges(await self._recent.collect(nonces, wait_s=wait_s))


def _maybe_wait(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, MAX_WAIT_S) if seconds >= 0 else None


def open_api_context(leaf: Leaf) -> ssl.SSLContext:
    """Return a server's context for the API: TLS 1.2 and newer with forward secrecy only, the listener's own leaf.

    An ECDSA leaf should be given where there is one: its key answers no old version that could be played against it.
    """
    import ssl  # noqa: PLC0415  # as in ApiSession

    from scanner.listener.openssl_answer import load_pem  # noqa: PLC0415  # the same

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    load_pem(context.load_cert_chain, leaf.pem)
    return context


class ApiSession:
    """TLS and HTTP of one connection, without I/O: bytes in, bytes out."""

    def __init__(self, context: ssl.SSLContext, leaf_sha256: str) -> None:
        """context: a server's, with the API's ALPN; leaf_sha256: of the certificate it shows, lower-case hex."""
        import ssl  # noqa: PLC0415  # heavy, and a scan without listener has no use for it

        import h11  # noqa: PLC0415  # the same

        self.leaf_sha256 = leaf_sha256
        self.request: ApiRequest | None = None
        """The request, once it is there."""
        self.is_over = False
        """True where the peer is gone, or did what can't be answered."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._http: h11.Connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._is_encrypted = False

    def feed(self, data: bytes) -> bytes:
        """Take what came (empty: the peer closed), and return what to send."""
        import ssl  # noqa: PLC0415  # as above

        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        try:
            if not self._is_encrypted:
                self._tls.do_handshake()
                self._is_encrypted = True
            while self.request is None and not self.is_over:
                self._take(self._tls.read(_READ_BYTES))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.is_over = True
        return self._outgoing.read()

    def _take(self, clear: bytes) -> None:
        import h11  # noqa: PLC0415  # as above

        try:
            self._http.receive_data(clear)
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            self.is_over = True
            return
        if isinstance(event, h11.Request):
            self.request = ApiRequest(
                method=event.method.decode("latin-1"),
                target=event.target.decode("latin-1"),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers},
            )
        elif event is not h11.NEED_DATA:
            self.is_over = True

    def respond(self, response: ApiResponse) -> bytes:
        """Return the bytes of the response and of TLS's end; the session is over then."""
        import ssl  # noqa: PLC0415  # as above

        import h11  # noqa: PLC0415  # as above

        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(response.body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        if response.mac is not None:
            headers.append((MAC_HEADER, response.mac))
        head = self._http.send(h11.Response(status_code=response.status, headers=headers, reason=b"."))
        end = self._http.send(h11.Data(data=response.body)) or b""
        try:
            self._tls.write((head or b"") + end)
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # unwrap wants the peer's close_notify as well; ours is written
        self.is_over = True
        return self._outgoing.read()
