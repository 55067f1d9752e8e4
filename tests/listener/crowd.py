"""Many clients at once from one epoll loop: floods of hellos, and connections that do nothing. Blocking; loopback."""

import contextlib
import errno
import select
import socket
import time


def sources(count):
    """Addresses of loopback to come from, so that no bound for one address is met."""
    return [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(count)]


def flood(port, payloads, *, at_once=500, from_addresses=("127.0.0.1",), seconds=60.0):
    """Open a connection for each payload, send it, and read to the end; return how many were seen to the end.

    A connection that fails before its payload was handed to the kernel is opened again.
    """
    poller = select.epoll()
    waiting = list(enumerate(payloads))[::-1]
    under_way = {}
    done = 0
    until_s = time.monotonic() + seconds
    try:
        while (waiting or under_way) and time.monotonic() < until_s:
            while waiting and len(under_way) < at_once:
                number, payload = waiting.pop()
                sock = socket.socket()
                sock.setblocking(False)  # noqa: FBT003  # the standard library's signature
                sock.bind((from_addresses[number % len(from_addresses)], 0))
                with contextlib.suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", port))
                under_way[sock.fileno()] = (sock, number, payload)
                poller.register(sock, select.EPOLLOUT)
            for number, events in poller.poll(0.5):
                sock, index, payload = under_way[number]
                is_over = False
                try:
                    if events & select.EPOLLOUT and payload:
                        payload = payload[sock.send(payload) :]
                        under_way[number] = (sock, index, payload)
                        if not payload:
                            poller.modify(sock, select.EPOLLIN)
                    elif not sock.recv(65_536):
                        is_over = True
                except BlockingIOError:
                    continue
                except OSError as error:
                    is_over = True
                    if payload and error.errno != errno.EPIPE:
                        waiting.append((index, payloads[index]))
                        done -= 1
                if is_over:
                    poller.unregister(sock)
                    sock.close()
                    del under_way[number]
                    done += 1
    finally:
        poller.close()
        for sock, _, _ in under_way.values():
            sock.close()
    return done


@contextlib.contextmanager
def holding(port, count, *, from_addresses=("127.0.0.1",)):
    """Open so many connections that do nothing, and close them at the end."""
    held = []
    try:
        for number in range(count):
            sock = socket.socket()
            held.append(sock)
            sock.settimeout(10)
            sock.bind((from_addresses[number % len(from_addresses)], 0))
            sock.connect(("127.0.0.1", port))
        yield
    finally:
        for sock in held:
            sock.close()
