"""One HTTP request under TLS and its answer, without I/O (RFC 9112). Of the request only the path is kept."""

from __future__ import annotations

from scanner.listener.pages import MAX_PATH_LENGTH, Page, Visitor, render_page

MAX_HEAD_BYTES = 8_192
"""Longest request line and header fields that are read."""


class Visit:
    """What one client asks for once it is in. Not reusable."""

    def __init__(self) -> None:
        import h11  # noqa: PLC0415  # loaded when listening

        self.path: str | None = None
        self._is_head = False
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)

    def answer(self, clear: bytes, visitor: Visitor) -> bytes | None:
        """Take bytes of the request; return the whole response once the head is there, else None. Never raises."""
        import h11  # noqa: PLC0415  # loaded when listening

        try:
            self._connection.receive_data(clear)
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                return None
            if not isinstance(event, h11.Request):
                return b""
            self._is_head = event.method == b"HEAD"
            target = event.target.decode("latin-1")
            self.path = clean_path(target)
            accept = b",".join(value for name, value in event.headers if name == b"accept").decode("latin-1")
            page = render_page(event.method.decode("latin-1"), target, accept, visitor)
            return self._encode(page)
        except h11.RemoteProtocolError as error:
            return self._encode(Page(status=error.error_status_hint, reason="Bad Request"))
        except h11.LocalProtocolError:
            return b""

    def _encode(self, page: Page) -> bytes:
        import h11  # noqa: PLC0415  # loaded when listening

        if self._connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return b""
        fields = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Connection", "close"),
            *page.headers,
        ]
        out = self._connection.send(h11.Response(status_code=page.status, headers=fields, reason=page.reason)) or b""
        if not self._is_head:
            out += self._connection.send(h11.Data(data=page.body)) or b""
        return out + (self._connection.send(h11.EndOfMessage()) or b"")


def clean_path(target: str) -> str:
    """Return a request target fit to be kept: control characters removed, at most 256 characters."""
    return "".join(char for char in target if char.isprintable())[:MAX_PATH_LENGTH]
