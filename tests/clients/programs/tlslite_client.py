"""One handshake by tlslite-ng: tlslite_client.py ADDRESS PORT NAME MIN MAX."""

import socket
import sys
import warnings

warnings.simplefilter("ignore", DeprecationWarning)  # it imports asyncore where Python still has it
from tlslite.api import HandshakeSettings, TLSConnection  # noqa: E402  # after the filter

NUMBERS = {"SSL3": (3, 0), "TLS1.0": (3, 1), "TLS1.1": (3, 2), "TLS1.2": (3, 3), "TLS1.3": (3, 4)}

address, port, name, lowest, highest = sys.argv[1:]
settings = HandshakeSettings()
settings.minVersion, settings.maxVersion = NUMBERS[lowest], NUMBERS[highest]
settings.versions = [each for each in reversed(NUMBERS.values()) if settings.minVersion <= each <= settings.maxVersion]
if lowest == "TLS1.3":
    # It refuses to begin with groups that TLS 1.3 does not have.
    settings.eccCurves = [each for each in settings.eccCurves if not each.startswith("brainpool")]
with socket.create_connection((address, int(port)), timeout=10) as raw:
    connection = TLSConnection(raw)
    try:
        connection.handshakeClientCert(settings=settings, serverName=name)
        print("completed", connection.version)  # noqa: T201 - it is a program
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        connection.recv(100)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what it says
        print("failed:", type(error).__name__, error)  # noqa: T201 - the same
