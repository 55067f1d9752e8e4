"""Record the hellos in tests/tls/hellos: each program of the table connects to a socket on loopback that never answers.

``python -m tests.tls.record_hellos [NAME...]`` writes NAME.bin for each program that is here.
"""
# ruff: noqa: T201 - it tells what it wrote

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.requirements import NODE_0_8

HERE = Path(__file__).parent / "hellos"
OLD_NODE_CLIENT = Path(__file__).parents[1] / "lab" / "old_node_client.js"
NAME = "capture.example"
LONG_ALPN = ",".join(f"{number:02d}-" + "x" * 57 for number in range(20))

PYTHON = """
import socket, ssl
context = ssl.create_default_context()
context.set_alpn_protocols(["h2", "http/1.1"])
context.minimum_version, context.maximum_version = ssl.TLSVersion.%s, ssl.TLSVersion.%s
context.wrap_socket(socket.create_connection(("127.0.0.1", PORT)), server_hostname="capture.example")
"""
NASSL = """
import socket
from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import OpenSslVersionEnum, OpenSslVerifyEnum
connection = socket.create_connection(("127.0.0.1", PORT))
client = LegacySslClient(connection, OpenSslVersionEnum.%s, OpenSslVerifyEnum.NONE)
client.set_cipher_list("ALL:COMPLEMENTOFALL")
client.do_handshake()
"""
NODE = """
require("tls").connect({port: PORT, host: "127.0.0.1", servername: "capture.example",
  minVersion: "TLSv1.2", maxVersion: "TLSv1.3"});
"""
JAVA = """
import javax.net.ssl.*;
public class Hello {
  public static void main(String[] a) throws Exception {
    SSLSocket s = (SSLSocket) SSLSocketFactory.getDefault().createSocket("127.0.0.1", PORT);
    s.setEnabledProtocols(new String[] {%s});
    s.startHandshake();
  }
}
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A client program, run by itself or as source text of a language."""

    command: str
    source: str = ""
    suffix: str = ""

    def run(self, port: int, folder: Path) -> subprocess.Popen[bytes]:
        file = folder / f"Hello{self.suffix}"
        file.write_text(self.source.replace("PORT", str(port)))
        words = [
            word.replace("PORT", str(port)).replace("SOURCE", str(file)).replace("FOLDER", str(folder))
            for word in shlex.split(self.command)
        ]
        words[0] = {"python": sys.executable, "node-0.8": str(NODE_0_8.file)}.get(words[0], words[0])
        words = [str(OLD_NODE_CLIENT) if word == "old_node_client.js" else word for word in words]
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "OPENSSL_CONF": "/dev/null"},
        )


def openssl(options: str) -> Program:
    return Program(command=f"openssl s_client -connect 127.0.0.1:PORT {options}")


def curl(options: str) -> Program:
    return Program(command=f"curl -s -k --resolve {NAME}:PORT:127.0.0.1 {options} https://{NAME}:PORT/")


def gnutls(priority: str) -> Program:
    return Program(command=f"gnutls-cli --insecure --sni-hostname={NAME} --priority={priority} -p PORT 127.0.0.1")


def python(source: str) -> Program:
    return Program(command="python SOURCE", source=source, suffix=".py")


PROGRAMS = {
    "openssl-tls12-to-tls13": openssl(f"-servername {NAME} -min_protocol TLSv1.2 -max_protocol TLSv1.3"),
    "openssl-tls10-to-tls13": openssl(
        f"-servername {NAME} -min_protocol TLSv1 -max_protocol TLSv1.3 -cipher DEFAULT:@SECLEVEL=0"
    ),
    "openssl-tls13": openssl(f"-servername {NAME} -tls1_3"),
    "openssl-tls12": openssl(f"-servername {NAME} -tls1_2 -alpn h2,http/1.1"),
    "openssl-tls11-fallback": openssl(f"-servername {NAME} -tls1_1 -fallback_scsv -cipher DEFAULT:@SECLEVEL=0"),
    "openssl-tls10-no-name": openssl("-noservername -tls1 -cipher DEFAULT:@SECLEVEL=0"),
    "openssl-many-records": openssl(
        f"-servername {NAME} -max_send_frag 512 -min_protocol TLSv1.2 -max_protocol TLSv1.3 -alpn {LONG_ALPN}"
    ),
    "curl-tls12-to-tls13": curl("--tlsv1.2 --tls-max 1.3"),
    "curl-tls10-to-tls11": curl("--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT:@SECLEVEL=0"),
    "python-tls12-to-tls13": python(PYTHON % ("TLSv1_2", "TLSv1_3")),
    "python-tls13": python(PYTHON % ("TLSv1_3", "TLSv1_3")),
    "gnutls-tls12-and-tls13": gnutls("NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"),
    "gnutls-tls11-to-tls13": gnutls("NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:+VERS-TLS1.1"),
    "gnutls-tls11": gnutls("NORMAL:-VERS-ALL:+VERS-TLS1.1"),
    "gnutls-ssl3-to-tls10": gnutls("NORMAL:-VERS-ALL:+VERS-TLS1.0:+VERS-SSL3.0"),
    "wget-tls12-and-up": Program(command="wget -q -O /dev/null -t 1 --secure-protocol=TLSv1_2 https://127.0.0.1:PORT/"),
    "nassl-ssl2": python(NASSL % "SSLV2"),
    "nassl-ssl3": python(NASSL % "SSLV3"),
    "nassl-ssl2-to-tls12": python(NASSL % "SSLV23"),
    "node08-ssl2": Program(command="node-0.8 old_node_client.js 127.0.0.1 PORT SSLv2_method ALL"),
    "node08-tls10": Program(command="node-0.8 old_node_client.js 127.0.0.1 PORT TLSv1_method ALL"),
    "node20-tls12-to-tls13": Program(command="node SOURCE", source=NODE, suffix=".js"),
    "java17-tls12": Program(command="java SOURCE", source=JAVA % '"TLSv1.2"', suffix=".java"),
    "java17-tls12-in-ssl2-format": Program(
        command="java SOURCE", source=JAVA % '"SSLv2Hello", "TLSv1.2"', suffix=".java"
    ),
    "chromium-tls12-to-tls13": Program(
        command="chromium --headless --no-sandbox --disable-gpu --user-data-dir=FOLDER --no-first-run"
        " --disable-background-networking --disable-features=NetworkTimeServiceQuerying --ssl-version-min=tls1.2"
        f' --host-resolver-rules="MAP * 127.0.0.1:PORT" https://{NAME}/'
    ),
}


def record(program: Program) -> bytes:
    """Return what the program sends before anyone answers; b"" where it sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as folder:
        listener.settimeout(40)
        client = program.run(listener.getsockname()[1], Path(folder))
        found = bytearray()
        try:
            connection, _ = listener.accept()
            with connection, suppress(TimeoutError):
                connection.settimeout(1)
                while piece := connection.recv(65_536):
                    found += piece
        except TimeoutError:
            pass
        finally:
            os.killpg(client.pid, signal.SIGKILL)
            client.communicate()
        return bytes(found)


def main(names: list[str]) -> None:
    for name in names or PROGRAMS:
        try:
            found = record(PROGRAMS[name])
        except OSError as error:
            print(f"{name}: {error}")
            continue
        if found:
            (HERE / f"{name}.bin").write_bytes(found)
        print(f"{name}: {len(found)} bytes, {found[:12].hex()}")


if __name__ == "__main__":
    main(sys.argv[1:])
