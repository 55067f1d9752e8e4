"""How an answer's end is put into words; scanner.outbound reads them again. Pure."""

from __future__ import annotations

from scanner.tls.alerts import CLOSE_NOTIFY, render_alert

PEER_CLOSED = "peer closed"
"""The client closed, or reset, before the handshake was over."""

_ALERT = 21
_FATAL = 2
_MAX_TEXT = 300


def render_received_alert(number: int) -> str:
    """Return ``received alert 48 (unknown_ca)``, or ``received alert 99`` for a number nobody registered."""
    return f"received {_words(number)}"


def render_sent_alert(number: int, why: str = "") -> str:
    """Return ``sent alert 40 (handshake_failure)``, with ``: why`` where it is known."""
    return f"sent {_words(number)}" + (f": {why}"[:_MAX_TEXT] if why else "")


def maybe_fatal_alert(out: bytes) -> int | None:
    """Return the number of the fatal alert in the clear that ends these TLS records, or None."""
    at = 0
    while at + 5 <= len(out):
        end = at + 5 + int.from_bytes(out[at + 3 : at + 5], "big")
        if end == len(out) == at + 7 and out[at] == _ALERT and out[at + 5] == _FATAL and out[at + 6] != CLOSE_NOTIFY:
            return out[at + 6]
        at = end
    return None


def _words(number: int) -> str:
    name = render_alert(number).removesuffix(f"({number})")
    return f"alert {number}" if name == f"alert {number}" else f"alert {number} ({name})"
