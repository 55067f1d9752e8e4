"""Answers one client with exactly one protocol version: which engine does it, and what all engines can be asked.

Engines are conversations without I/O; the server owns the sockets and the deadlines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from scanner.listener.pages import Visitor
from scanner.model.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Generator

    from scanner.listener.identity import Identity
    from scanner.model.exchange import EngineReport
    from scanner.tls.client_hello import ClientHello


class Answer(Protocol):
    """One connection, answered with one version. Not reusable."""

    @property
    def http_path(self) -> str | None:
        """The path that was asked for, without control characters, at most 256 long; None where no request came."""

    def converse(self, first: bytes) -> Generator[bytes, bytes, bytes]:
        """Handshake, wait for one HTTP request, answer it, say close_notify.

        first: the bytes already read, hello first. Yields bytes to send (b"" for none) and is sent bytes received (b""
        once the client has closed). Returns the last bytes to send, maybe none; then the connection can be closed.
        Whatever the client sends, nothing is raised.
        """

    def report(self) -> EngineReport:
        """Return what the engine says of it so far, at any time."""


def open_answer(hello: ClientHello, version: TlsVersion, identity: Identity, *, address: str | None = None) -> Answer:
    """Return the answer to a hello with this version, by the engine that can give it.

    address: the IP address that the client connected to, for the certificate of clients that ask for no name.
    """
    # Engines are loaded here: an everyday scan has no use for them.
    visitor = Visitor(hello=hello, version=version)
    leaves = identity.leaves_for(hello.server_name, address=address)
    if version is TlsVersion.SSL2:
        from scanner.listener.ssl2_answer import Ssl2Answer  # noqa: PLC0415  # see above

        return Ssl2Answer(leaves, visitor)
    if version >= TlsVersion.TLS1_2:
        from scanner.listener.openssl_answer import OpensslAnswer, has_suite_for  # noqa: PLC0415  # see above

        if version is TlsVersion.TLS1_3 or has_suite_for(hello, leaves):
            return OpensslAnswer(version, leaves, visitor)
    from scanner.listener.tlslite_answer import TlsliteAnswer  # noqa: PLC0415  # see above

    return TlsliteAnswer(version, leaves, visitor)
