"""``entra-tls listen`` and ``entra-tls trigger`` as users call them, as processes on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

from scanner.cli_outbound import For
from scanner.outbound.tokens import TriggerToken, is_authentic, read_name
from scanner.triggers import Kind

pytestmark = pytest.mark.timeout(120)

PROGRAM = (sys.executable, "-c", "from scanner.cli import main; main()")
SECRET = "correct-horse-battery-staple"


class Done(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    output: str


def call(*arguments, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ENTRA_TLS")}
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env={**kept, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stdout + done.stderr)


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "listener.secret"
    path.write_text(f"{SECRET}\n")
    return path


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(*arguments):
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_listening(process):
    line = process.stderr.readline()
    assert line.startswith("Listening on "), line


def connect(port, name, high=ssl.TLSVersion.TLSv1_3):
    """Open one connection, and say what version it was."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, high
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname=name) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while tls.recv(4096):
            pass
        return tls.version()


def test_the_kinds_are_those_of_triggers():
    assert [kind.value for kind in For] == [kind.value for kind in Kind]


def test_trigger_names_lead_back_to_host_and_method_and_show_no_secret(secret_file):
    done = call(
        "trigger", "sts.example.com", "--listener", "probe.example.net:443", "--for", "adfs", "--json",
        "--secret-file", secret_file,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert SECRET not in done.output
    names = {item["name"] for item in json.loads(done.stdout)["triggers"]}
    tokens = [read_name(name) for name in names]
    assert names
    assert all(isinstance(token, TriggerToken) for token in tokens)
    assert {token.host for token in tokens} == {"sts.example.com"}
    assert all(is_authentic(token, SECRET.encode()) for token in tokens)
    assert not any(is_authentic(token, b"another secret of its own") for token in tokens)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no such host!", "--listener", "192.0.2.1:443"), "target: "),
        (("sts.example.com", "--listener", "x y"), "listener: "),
        (("sts.example.com", "--listener", "192.0.2.1", "--json", "--markdown"), "can't be given together"),
        (("sts.example.com", "--listener", "192.0.2.1", "--secret-file", "/proc/nowhere"), "can't be read"),
    ],
)
def test_trigger_says_in_one_line_what_is_wrong(arguments, message):
    done = call("trigger", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_connection_with_a_triggers_name_is_credited_and_reported(tmp_path, secret_file, number):
    port = free_port()
    place = f"127.0.0.1:{port}"
    report, database = tmp_path / "o.json", tmp_path / "l.sqlite"
    printed = call("trigger", "proxy.example.com", "--listener", place, "--for", "nginx", "--json",
                   "--secret-file", secret_file)  # fmt: skip
    (name,) = {item["name"] for item in json.loads(printed.stdout)["triggers"]}
    forged = name.replace(name[2:14], "0123456789ab")
    process = start("listen", "--bind", place, "--db", database, "--json", report, "--secret-file", secret_file)
    try:
        await_listening(process)
        assert connect(port, name, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        assert connect(port, forged) == "TLSv1.3"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in {1, 3}, err
    assert SECRET not in out + err + report.read_text()
    assert SECRET.encode() not in database.read_bytes()
    hosts = {host["name"]: host for host in json.loads(report.read_text())["hosts"]}
    assert set(hosts) == {"proxy.example.com", "127.0.0.1"}
    (client,) = hosts["proxy.example.com"]["outbound"]
    assert client["method"] == "nginx"
    states = {verdict["version"]: verdict["state"] for verdict in client["verdicts"]}
    assert states["TLS1.2"] == "enabled"
    assert {each["method"] for each in hosts["127.0.0.1"]["outbound"]} == {"arrived"}
    again = call("report", "latest", "--db", database, "--json", tmp_path / "again.json", "--quiet")
    assert again.exit_code == process.returncode
    assert json.loads((tmp_path / "again.json").read_text())["hosts"] == json.loads(report.read_text())["hosts"]


def test_listening_ends_by_itself_after_its_time():
    began = time.monotonic()
    done = call("listen", "--bind", f"127.0.0.1:{free_port()}", "--for", "1", "--quiet")
    assert time.monotonic() - began < 60
    assert done.exit_code == 3
    assert done.output == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bind", "example.com:443"), "an address and a port are wanted"),
        (("--bind", "127.0.0.1"), "HOST:PORT"),
        (("--json", "/proc/nowhere/x.json"), "can't be written"),
        (("--policy", "nobody"), "there is no policy"),
    ],
)
def test_listen_says_what_is_wrong_before_it_begins(arguments, message):
    done = call("listen", "--for", "1", *arguments)
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ")
