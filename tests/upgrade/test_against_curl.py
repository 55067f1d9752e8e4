"""What curl, an independent program, answers to the same challenges."""

from __future__ import annotations

import re
import socket
import subprocess
import threading

import pytest

from scanner.upgrade.auth import ProxyAuth
from scanner.upgrade.credentials import Credentials

pytestmark = pytest.mark.lab

USER = Credentials("lab-user", "lab-secret-7f3a")
NONCE = "0a4f113b"


class CurlsAnswer:
    """What curl says to a proxy that asks with these fields."""

    def __init__(self, challenge):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.challenge = challenge
        self.heads = []
        self.thread = threading.Thread(target=self._serve)

    def _serve(self):
        for status in ("407 Asked", "403 Enough"):
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(10)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65_536)
                self.heads.append(head.decode("latin-1"))
                field = f"Proxy-Authenticate: {self.challenge}\r\n" if status.startswith("407") else ""
                connection.sendall(
                    f"HTTP/1.1 {status}\r\n{field}Connection: close\r\nContent-Length: 0\r\n\r\n".encode()
                )

    def ask(self):
        with self.listener:
            self.thread.start()
            proxy = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
            subprocess.run(
                ["curl", "-sk", "--noproxy", "", "--proxy", proxy, "--proxy-anyauth", "--max-time", "10",
                 "--proxy-user", f"{USER.user}:{USER.password}", "https://login.example.com/"],
                capture_output=True, timeout=20, check=False,
            )  # fmt: skip
            self.thread.join(15)
        return re.search(r"Proxy-Authorization: (.*)\r\n", self.heads[1])[1]


def _fields(text):
    pairs = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))', text)
    return {name: quoted or token for name, quoted, token in pairs}


@pytest.mark.parametrize(
    "challenge",
    [
        f'Digest realm="lab", nonce="{NONCE}"',
        f'Digest realm="lab", nonce="{NONCE}", qop="auth", opaque="o"',
        f'Digest realm="lab", nonce="{NONCE}", qop="auth-int, auth", algorithm=MD5-sess',
        f'Digest realm="lab", nonce="{NONCE}", qop="auth", algorithm=SHA-256',
        f'Digest realm="lab", nonce="{NONCE}", qop="auth", algorithm=SHA-256-SESS',
        f'Digest realm="a \\"quoted\\" realm, with = and ,", nonce="{NONCE}", qop=auth',
        'Basic realm="lab"',
    ],
)
def test_curl_answers_the_same(challenge):
    theirs = CurlsAnswer(challenge).ask()
    fields = _fields(theirs)
    auth = ProxyAuth(lambda: fields.get("cnonce", "unused"))
    assert auth.on_challenge([challenge], has_credentials=True, was_answered=False) is None
    ours = auth.render(USER, method="CONNECT", uri="login.example.com:443")
    assert ours.partition(" ")[0] == theirs.partition(" ")[0]
    if challenge.startswith("Basic"):
        assert ours == theirs
        return
    assert fields["uri"] == "login.example.com:443"
    assert _fields(ours) == fields
