"""Scripted servers on one port of many loopback addresses, each with its own behaviour."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.hostile.peers import PEERS
from tests.hostile.runner import Listening, PeerState, _Service

BY_NAME = {peer.name: peer for peer in PEERS}
NEW, OLD, RESETS, MUTE, FULL = "honest-12-13", "honest-10-11-12", "reset-at-once", "silence", "queue-full"


@contextlib.contextmanager
def serving(kinds, *, port=None):
    """Serve {address: name of a hostile peer}; yields (port, {address: PeerState}). Other addresses refuse."""
    service = _Service([])
    for address, name in kinds.items():
        peer = BY_NAME[name]
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port or 0))
        port = listener.getsockname()[1]
        listener.listen(0 if peer.listening is Listening.QUEUE_FULL else 128)
        listener.settimeout(0)
        state = PeerState(peer=peer, listener=listener, address=address, port=port)
        if peer.listening is Listening.QUEUE_FULL:
            state.held.append(socket.create_connection((address, port), timeout=5))
        service.states[address] = state
    thread = threading.Thread(target=service.run, name="servers")
    thread.start()
    try:
        service.ready.wait(30)
        yield port, service.states
    finally:
        service.stop()
        thread.join(30)
        service.close()
    errors = [error for state in service.states.values() for error in state.errors]
    assert (errors, service.failure) == ([], None)
