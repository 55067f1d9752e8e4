"""tlslite-ng servers. Each line of standard input asks for one: ``ADDRESS PORT CHAIN.pem KEY.pem MIN MAX``."""

import socket
import sys
import threading
from pathlib import Path

from tlslite import errors
from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey

VERSIONS = {"SSL3": (3, 0), "TLS1.0": (3, 1), "TLS1.1": (3, 2), "TLS1.2": (3, 3), "TLS1.3": (3, 4)}
CONNECTION_S = 10


def serve(connection, chain, key, settings):
    connection.settimeout(CONNECTION_S)
    tls = TLSConnection(connection)
    try:
        tls.handshakeServer(certChain=chain, privateKey=key, settings=settings, reqCert=False)
        while tls.read(max=1, min=1):
            pass
        tls.close()
    except (OSError, errors.BaseTLSException) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        connection.close()


def listen(line):
    address, port, chain_file, key_file, lowest, highest = line.split()
    chain = X509CertChain()
    chain.parsePemList(Path(chain_file).read_text())
    key = parsePEMKey(Path(key_file).read_text(), private=True)
    settings = HandshakeSettings()
    settings.minVersion, settings.maxVersion = VERSIONS[lowest], VERSIONS[highest]
    listener = socket.create_server((address, int(port)), backlog=128)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, chain, key, settings), daemon=True).start()


def main():
    for line in sys.stdin:
        threading.Thread(target=listen, args=(line,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
