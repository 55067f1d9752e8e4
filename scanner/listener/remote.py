"""A listener elsewhere, over its API (scanner.listener.api). What it says counts only with its mac."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from scanner.listener.access import render_destination
from scanner.listener.messages import (
    ALPN,
    MAC_HEADER,
    MAX_BODY_BYTES,
    MAX_NONCES,
    NONCE_HEADER,
    TIME_HEADER,
    WINDOW_S,
    MessageError,
    decode_about,
    decode_exchanges,
    derive_key,
    is_same_mac,
    request_mac,
    response_mac,
)
from scanner.model.exchange import Exchange

if TYPE_CHECKING:
    import h11

_CONNECT_S: Final = 10.0
_LONGEST_WAIT_S: Final = 25.0  # under the listener's own bound
_READ_BYTES = 65_536
_MAX_HEAD_BYTES = 16_384


class RemoteListenerError(OSError):
    """The listener can't be reached, doesn't accept our secret, or didn't prove that it has it; the text says which."""


class RemoteAccess:
    """See scanner.listener.access.ListenerAccess; call start before anything else."""

    def __init__(self, host: str, port: int, secret: bytes) -> None:
        """host: name or address; secret: the listener's."""
        self._host = host
        self._port = port
        self._key = derive_key(secret)
        self._about: dict[str, str] | None = None

    async def start(self) -> None:
        """Ask the listener who it is; raises RemoteListenerError."""
        try:
            self._about = decode_about(await self._ask("/v1/about", wait_s=0))
        except MessageError as error:
            raise self._error(f"its answer can't be used: {error}") from error

    @property
    def about(self) -> dict[str, str]:
        """The listener's suffix, ca_sha256 and version; RuntimeError before start."""
        if self._about is None:
            raise RuntimeError("start was not awaited")
        return self._about

    @property
    def name_suffix(self) -> str:
        """See ListenerAccess."""
        return self.about["suffix"]

    @property
    def destination(self) -> str:
        """See ListenerAccess."""
        return render_destination(self._host, self._port)

    async def collect(self, nonces: Sequence[str], *, wait_s: float) -> list[Exchange]:
        """See ListenerAccess; raises RemoteListenerError."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        found: list[Exchange] = []
        wanted = list(dict.fromkeys(nonces))
        for first in range(0, len(wanted), MAX_NONCES):
            found += await self._collect_some(wanted[first : first + MAX_NONCES], until_s)
        return found

    async def close(self) -> None:
        """See ListenerAccess; nothing is held between requests."""

    async def _collect_some(self, nonces: list[str], until_s: float) -> list[Exchange]:
        loop = asyncio.get_running_loop()
        while True:
            left_s = max(0.0, until_s - loop.time())
            wait_s = min(left_s, _LONGEST_WAIT_S)
            query = urlencode({"nonces": ",".join(nonces), "wait_s": f"{wait_s:.3f}"}, safe=",")
            try:
                found = decode_exchanges(await self._ask(f"/v1/hellos?{query}", wait_s=wait_s))
            except MessageError as error:
                raise self._error(f"its answer can't be used: {error}") from error
            # Which nonce an exchange came with, only its listener knows for sure; so the wait ends on time or on an
            # answer that came before it.
            if until_s - loop.time() <= 0.05 or left_s <= _LONGEST_WAIT_S or len(found) >= len(nonces):
                return found

    async def _ask(self, target: str, *, wait_s: float) -> bytes:
        import ssl  # noqa: PLC0415  # heavy; only a scan with a remote listener needs it

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Whose certificate it is, the macs tell: they are made over it.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        try:
            async with asyncio.timeout(_CONNECT_S + wait_s):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
                try:
                    return await self._talk(reader, writer, target)
                finally:
                    writer.transport.abort()  # all was read, or nothing of it counts
        except RemoteListenerError:
            raise
        except TimeoutError as error:
            raise self._error("no answer in time") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise self._error(str(error) or type(error).__name__) from error

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> bytes:
        tls = writer.get_extra_info("ssl_object")
        leaf = tls.getpeercert(binary_form=True)
        if leaf is None or tls.selected_alpn_protocol() != ALPN:
            raise self._error("it has no API: it is no listener of this program, or was started without a secret")
        leaf_sha256 = hashlib.sha256(leaf).hexdigest()
        nonce, time_text = secrets.token_hex(16), str(int(time.time()))
        mac = request_mac(
            self._key, method="GET", target=target, nonce=nonce, time_text=time_text, leaf_sha256=leaf_sha256
        )
        status, said, body = await _exchange_http(
            reader,
            writer,
            target,
            [
                ("host", render_destination(self._host, self._port)),
                (NONCE_HEADER, nonce),
                (TIME_HEADER, time_text),
                (MAC_HEADER, mac),
            ],
        )
        expected = response_mac(self._key, nonce=nonce, leaf_sha256=leaf_sha256, status=status, body=body)
        if not is_same_mac(expected, said):
            raise self._error(
                "it does not accept our secret: another secret, clocks that differ by more than "
                f"{WINDOW_S:.0f} s, or somebody between it and us"
                if status == 403
                else "it did not prove that it has the secret: somebody is between it and us"
            )
        if status != 200:
            raise self._error(f"status {status}")
        return body

    def _error(self, text: str) -> RemoteListenerError:
        return RemoteListenerError(f"listener {render_destination(self._host, self._port)}: {text}")


async def _exchange_http(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, headers: list[tuple[str, str]]
) -> tuple[int, str, bytes]:
    """Send a request, and return status, mac and body of the response; OSError where there is none, or too much."""
    import h11  # noqa: PLC0415  # as ssl above

    http: h11.Connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    request = http.send(h11.Request(method="GET", target=target, headers=headers)) or b""
    writer.write(request + (http.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    status, mac, body = 0, "", bytearray()
    while True:
        try:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise OSError(f"no HTTP response: {error}") from error
        if isinstance(event, h11.Response):
            status = event.status_code
            mac = next((value.decode("latin-1") for name, value in event.headers if name == MAC_HEADER.encode()), "")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise OSError(f"a response of more than {MAX_BODY_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return status, mac, bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise OSError("closed without a response")
