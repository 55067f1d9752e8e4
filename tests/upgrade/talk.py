"""Step conversations with scripted peers."""

from __future__ import annotations


class Peer:
    """Answers each thing sent with the next of a list; None closes; b"" says nothing until more is sent."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, out):
        self.asked.append(out)
        return self.answers.pop(0) if self.answers else None


def converse(conversation, peer, *, size=16_384):
    """Step a conversation; answers come in pieces of size. Returns the last bytes it wanted to send (or None)."""
    try:
        out = next(conversation)
        while True:
            data = peer(out)
            if data is None:
                conversation.send(b"")
                raise AssertionError("it goes on after the peer has closed")
            out = b""
            for at in range(0, len(data), size):
                out += conversation.send(data[at : at + size])
            if not data:
                return None
    except StopIteration as stop:
        return stop.value
    finally:
        conversation.close()


def inner(*says, hears):
    """A conversation that says one thing after the other, each once it has heard what it waits for."""
    heard = b""
    for say, wait in zip(says, hears, strict=True):
        out = say
        while len(heard) < len(wait):
            piece = yield out
            if not piece:
                return None
            heard += piece
            out = b""
        assert heard.startswith(wait)
        heard = heard[len(wait) :]
    return b"last"
