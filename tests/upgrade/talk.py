"""Step conversations with scripted peers."""

from __future__ import annotations


class Peer:
    """Answers each thing that it is sent with the next of a list, then closes."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, out):
        self.asked.append(out)
        return self.answers.pop(0) if self.answers else b""


def converse(conversation, peer, *, size=16_384):
    """Step a conversation; what the peer says comes in pieces of size. Returns (what it returns, bytes not taken)."""
    data = b""
    try:
        out = next(conversation)
        while True:
            if out or not data:
                data += peer(out)
            piece, data = data[:size], data[size:]
            out = conversation.send(piece)
            assert piece, "it goes on after the peer has closed"
    except StopIteration as stop:
        return stop.value, data
    finally:
        conversation.close()
