"""One handshake by Python's ssl module: python_ssl.py ADDRESS PORT NAME OFF,... any|none (what it trusts)."""

import socket
import ssl
import sys
import warnings

OFF = {
    "TLS1.0": ssl.OP_NO_TLSv1,
    "TLS1.1": ssl.OP_NO_TLSv1_1,
    "TLS1.2": ssl.OP_NO_TLSv1_2,
    "TLS1.3": ssl.OP_NO_TLSv1_3,
}

address, port, name, off, trust = sys.argv[1:]
warnings.simplefilter("ignore", DeprecationWarning)  # these options are the only way to switch one version off
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
context.set_ciphers("DEFAULT:@SECLEVEL=0")
for label in off.replace("-", "").split(","):
    if label:
        context.options |= OFF[label]
if trust == "any":
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
with socket.create_connection((address, int(port)), timeout=10) as raw:
    try:
        with context.wrap_socket(raw, server_hostname=name) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            connection.recv(100)
            print("completed", connection.version())  # noqa: T201 - it is a program
    except OSError as error:
        print("failed:", error)  # noqa: T201 - the same
