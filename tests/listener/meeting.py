"""Lets a client and an answer talk in memory, or a real client and an answer over loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager

from scanner.listener.answering import open_answer
from scanner.tls.client_hello import ClientHello, HelloReader

MAX_STEPS = 100_000


def meet(client, version, identity, *, piece_bytes=65_536):
    """Run a client's conversation (as scanner.probes has them) against an answer; return the answer."""
    to_server = next(client)
    hello = HelloReader().feed(to_server)
    assert isinstance(hello, ClientHello), hello
    answer = open_answer(hello, version, identity)
    server = _Side(answer.converse(to_server[: hello.wire_bytes]), started=False)
    client = _Side(client, started=True)
    to_client, to_server = server.begin(), to_server[hello.wire_bytes :]
    for _ in range(MAX_STEPS):
        if to_client:
            to_server += client.send(to_client)
            to_client = b""
        elif to_server:
            to_client = server.send(to_server[:piece_bytes])
            to_server = to_server[piece_bytes:]
        elif not server.is_over:
            to_client = server.send(b"")
            assert server.is_over, "a closed connection ends it"
        else:
            break
    assert server.is_over
    client.talk.close()
    return answer


class _Side:
    def __init__(self, talk, *, started):
        self.talk = talk
        self.is_over = False
        self.started = started

    def begin(self):
        return self._step(lambda: next(self.talk))

    def send(self, data):
        return b"" if self.is_over else self._step(lambda: self.talk.send(data))

    def _step(self, step):
        try:
            return step() or b""
        except StopIteration as stop:
            self.is_over = True
            return stop.value or b""


def python_client(context, name, request=b"", *, session=None, seen=None):
    """Python's ssl as a conversation: handshake, one request, read to the end. seen: gets the SSLObject."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
    if seen is not None:
        seen.append(tls)
    is_in = is_over = False
    while not is_over:
        try:
            if not is_in:
                tls.do_handshake()
                is_in = True
                if request:
                    tls.write(request)
            while not is_over:
                is_over = not tls.read(65_536)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            yield outgoing.read()
            return
        if not is_over:
            data = yield outgoing.read()
            if data:
                incoming.write(data)
            else:
                incoming.write_eof()


@contextmanager
def serving(version, identity):
    """Answer each connection to a loopback port with one version; yields the port and the list of answers."""
    answers = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        thread = threading.Thread(target=_serve, args=(server, version, identity, answers), daemon=True)
        thread.start()
        yield server.getsockname()[1], answers
        # One more connection, which says nothing, lets the thread see that it is over.
        answers.append(None)
        socket.create_connection(server.getsockname(), timeout=5).close()
        thread.join(20)
        answers.remove(None)
        assert not thread.is_alive()


def _serve(server, version, identity, answers):
    while None not in answers:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            _serve_one(connection, version, identity, answers)


def _serve_one(connection, version, identity, answers):
    reader, first = HelloReader(), b""
    while True:
        data = connection.recv(65_536)
        first += data
        decoded = reader.feed(data)
        if isinstance(decoded, ClientHello):
            break
        if not data:
            return
    answer = open_answer(decoded, version, identity)
    talk = answer.converse(first)
    answers.append(answer)
    try:
        out = next(talk)
        while True:
            if out:
                connection.sendall(out)
            try:
                received = connection.recv(65_536)
            except OSError:
                received = b""
            out = talk.send(received)
    except StopIteration as stop:
        if stop.value:
            _try_send(connection, stop.value)
    except OSError:
        talk.close()


def _try_send(connection, data):
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    except OSError:
        pass
