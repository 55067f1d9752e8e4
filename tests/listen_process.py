"""``entra-tls listen`` as a child process, and clients of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

PROGRAM = (sys.executable, "-c", "from scanner.cli import main; main()")
START_S = 20
_PORTS = range(12_000, 19_000)  # below Linux's ephemeral ports, and apart from those of tests/proxies


def free_port():
    for port in random.sample(_PORTS, 200):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTRA_TLS", "COLUMNS"))}
    return {**kept, "COLUMNS": "140", **more}


def run(*arguments, code=None, cwd=None, **more):
    """Run the program to its end; no traceback is ever right."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


class ListenProcess:
    """One listener at work; what it says is read as it says it."""

    def __init__(self, popen, port):
        self.popen = popen
        self.port = port
        self._said = {"out": "", "err": ""}
        self._threads = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", popen.stdout), ("err", popen.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, name, stream):
        for line in stream:
            self._said[name] += line

    @property
    def out(self):
        return self._said["out"]

    @property
    def err(self):
        return self._said["err"]

    def until(self, is_true, seconds=START_S):
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, (self.out, self.err)
            time.sleep(0.02)

    def end(self, number=signal.SIGINT):
        """Send a signal; return the exit code when all was said."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self, seconds=60):
        code = self.popen.wait(seconds)
        for thread in self._threads:
            thread.join(10)
        assert "Traceback" not in self.out + self.err, self.err
        return code


@contextlib.contextmanager
def listener(*arguments, port=None, is_quiet=False, **more):
    """Start it on a free port of 127.0.0.1, wait until it listens, and end it for certain."""
    port = port or free_port()
    command = [*PROGRAM, "listen", "--bind", f"127.0.0.1:{port}", *map(str, arguments)]
    popen = subprocess.Popen(
        command,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    process = ListenProcess(popen, port)
    try:
        if is_quiet:
            process.until(lambda: popen.poll() is not None or _is_open(port))
        else:
            process.until(lambda: popen.poll() is not None or "Listening on" in process.err)
        assert popen.poll() is None, process.err
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
            popen.wait()
        for thread in process._threads:
            thread.join(10)
        popen.stdout.close()
        popen.stderr.close()


def _is_open(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def connect(port, name, *, versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), path="/"):
    """One visit of Python's own client that trusts anybody; returns (version, certificate, response), or the error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = versions
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=name) as tls,
        ):
            tls.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return tls.version(), tls.getpeercert(binary_form=True), tls.recv(65_536)
    except (ssl.SSLError, ConnectionError) as error:
        return error
