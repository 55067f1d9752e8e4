"""A server on Python's own ssl module: ``ADDRESS PORT CHAIN.pem KEY.pem OFF[,OFF]`` with the versions to switch off."""

import contextlib
import socket
import ssl
import sys
import threading
import warnings

OPTIONS = {
    "TLS1.0": ssl.Options.OP_NO_TLSv1,
    "TLS1.1": ssl.Options.OP_NO_TLSv1_1,
    "TLS1.2": ssl.Options.OP_NO_TLSv1_2,
    "TLS1.3": ssl.Options.OP_NO_TLSv1_3,
}
CONNECTION_S = 10


def serve(connection, context):
    connection.settimeout(CONNECTION_S)
    with contextlib.suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as tls:
        while tls.recv(512):
            pass


def main():
    warnings.simplefilter("ignore", DeprecationWarning)  # single versions can only be left out the deprecated way
    address, port, chain, key, off = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    for version in off.split(","):
        context.options |= OPTIONS[version]
    context.load_cert_chain(chain, key)
    listener = socket.create_server((address, int(port)), backlog=128)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context), daemon=True).start()


if __name__ == "__main__":
    main()
