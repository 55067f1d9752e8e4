"""A network without sockets, for tests of what stands on it: replies come from a script, and all is noted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from scanner.model.exchange import Ending
from scanner.net.network import Conversation, WireLog

_NEVER_CONNECTED = frozenset({Ending.REFUSED, Ending.UNREACHABLE, Ending.TIMED_OUT_CONNECT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedReply:
    """What a scripted peer does on one connection."""

    pieces: tuple[bytes, ...] = ()
    """What it sends, in pieces as the kernel would hand them out; none of them empty."""
    answer: Callable[[bytes], bytes] | None = None
    """Called with all that the client has sent since, as long as that is something; returns what to send next."""
    ending: Ending = Ending.PEER_CLOSED
    """How the connection ends once nothing more comes, unless the conversation is over before.

    REFUSED, UNREACHABLE and TIMED_OUT_CONNECT: nothing is sent either way. COMPLETE is the conversation's to say.
    """
    os_error: str | None = None
    """Name of the operating system's error."""
    delay_s: float = 0.0
    """Real seconds before anything happens; past the deadline the connection ends at the deadline."""


Script = Callable[[str, int, bytes], ScriptedReply]
"""(address, port, first bytes of the conversation) -> what the peer does. It may raise: that is the test's failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call of drive."""

    address: str
    """Where to."""
    port: int
    """Where to."""
    first_bytes: bytes
    """The conversation's first bytes."""
    deadline_s: float
    """The deadline given."""
    max_bytes: int
    """The bound given."""


@dataclass(slots=True)
class _Talk:
    """One connection under way."""

    began: float
    sent: bytes = b""
    received: bytes = b""
    unanswered: bytes = b""

    def log(self, ending: Ending, os_error: str | None = None) -> WireLog:
        elapsed_s = asyncio.get_running_loop().time() - self.began
        return WireLog(sent=self.sent, received=self.received, ending=ending, os_error=os_error, elapsed_s=elapsed_s)


@dataclass(slots=True)
class ScriptedNetwork:
    """Network (scanner.net.network) without sockets."""

    script: Script
    """Says what each peer does."""
    asked: list[Asked] = field(default_factory=list)
    """Every connection, in the order begun."""
    logs: list[WireLog] = field(default_factory=list)
    """What each connection came to, in the order ended; those cancelled are missing."""
    most_at_once: int = 0
    """Most connections open at the same time."""
    most_by_address: Counter[str] = field(default_factory=Counter)
    """The same for each address."""
    most_by_endpoint: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The same for each address and port."""
    cancelled_count: int = 0
    """Connections that were cancelled."""
    is_closed: bool = False
    """Whether close was called."""
    _open: list[tuple[str, int]] = field(default_factory=list)

    async def drive(
        self, conversation: Conversation, *, address: str, port: int, deadline_s: float, max_bytes: int
    ) -> WireLog:
        """See Network.drive."""
        self._begin(address, port)
        talk = _Talk(asyncio.get_running_loop().time())
        try:
            try:
                # Sooner than a real network would, which connects first: the script may want to see the bytes.
                first = next(conversation)
            except StopIteration as stop:
                talk.sent = stop.value or b""
                log = talk.log(Ending.COMPLETE)
            except Exception as error:  # noqa: BLE001  # as the real networks do
                log = talk.log(Ending.LOCAL_FAILURE, f"{type(error).__name__}: {error}")
            else:
                asked = Asked(address=address, port=port, first_bytes=first, deadline_s=deadline_s, max_bytes=max_bytes)
                self.asked.append(asked)
                log = await _play(self.script(address, port, first), conversation, talk, asked)
        except asyncio.CancelledError:
            self.cancelled_count += 1
            raise
        finally:
            conversation.close()
            self._open.remove((address, port))
        self.logs.append(log)
        return log

    async def close(self) -> None:
        """See Network.close."""
        self.is_closed = True

    def _begin(self, address: str, port: int) -> None:
        self._open.append((address, port))
        self.most_at_once = max(self.most_at_once, len(self._open))
        own = sum(1 for held, _ in self._open if held == address)
        self.most_by_address[address] = max(self.most_by_address[address], own)
        at_endpoint = self._open.count((address, port))
        self.most_by_endpoint[address, port] = max(self.most_by_endpoint[address, port], at_endpoint)


async def _play(reply: ScriptedReply, conversation: Conversation, talk: _Talk, asked: Asked) -> WireLog:
    await asyncio.sleep(min(reply.delay_s, asked.deadline_s))
    if reply.ending in _NEVER_CONNECTED:
        return talk.log(reply.ending, reply.os_error)
    talk.sent = talk.unanswered = asked.first_bytes
    if reply.delay_s > asked.deadline_s:
        return talk.log(Ending.TIMED_OUT_READ)
    for piece in _pieces(reply, talk):
        await asyncio.sleep(0)
        talk.received += piece
        if len(talk.received) > asked.max_bytes:
            talk.received = talk.received[: asked.max_bytes]
            return talk.log(Ending.OVERSIZE)
        end = _step(conversation, talk, piece)
        if end is not None:
            return talk.log(*end)
    if reply.ending is Ending.PEER_CLOSED:
        end = _step(conversation, talk, b"")
        if end is not None and end[0] is Ending.LOCAL_FAILURE:
            return talk.log(*end)
    return talk.log(reply.ending, reply.os_error)


def _pieces(reply: ScriptedReply, talk: _Talk) -> Generator[bytes, None, None]:
    yield from reply.pieces
    while reply.answer is not None and talk.unanswered:
        out, talk.unanswered = talk.unanswered, b""
        piece = reply.answer(out)
        if piece:
            yield piece


def _step(conversation: Conversation, talk: _Talk, piece: bytes) -> tuple[Ending, str | None] | None:
    """Hand a piece to the conversation; return how it ended, or None where it goes on."""
    try:
        out = conversation.send(piece)
    except StopIteration as stop:
        if piece and stop.value:
            talk.sent += stop.value
        return Ending.COMPLETE, None
    except Exception as error:  # noqa: BLE001  # as the real networks do
        return Ending.LOCAL_FAILURE, f"{type(error).__name__}: {error}"
    if piece:
        talk.sent += out
        talk.unanswered += out
    return None
