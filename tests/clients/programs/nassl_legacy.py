"""One handshake by nassl's OpenSSL 1.0.2: nassl_legacy.py ADDRESS PORT NAME OFF,... any|CA.pem (what it trusts)."""

import socket
import sys
from pathlib import Path

from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum

# SSL_OP_NO_* of OpenSSL 1.0.2's ssl.h.
OFF = {"SSL2": 0x01000000, "SSL3": 0x02000000, "TLS1.0": 0x04000000, "TLS1.1": 0x10000000, "TLS1.2": 0x08000000}

address, port, name, off, trust = sys.argv[1:]
off_labels = {label for label in off.replace("-", "").split(",") if label}
on = OFF.keys() - off_labels
is_ssl2 = on == {"SSL2"}
with socket.create_connection((address, int(port)), timeout=10) as raw:
    client = LegacySslClient(
        underlying_socket=raw,
        # SSLv23_method without any of TLS refuses to begin; SSLv2 needs its own.
        ssl_version=OpenSslVersionEnum.SSLV2 if is_ssl2 else OpenSslVersionEnum.SSLV23,
        ssl_verify=OpenSslVerifyEnum.NONE if trust == "any" else OpenSslVerifyEnum.PEER,
        ssl_verify_locations=None if trust == "any" else Path(trust),
    )
    client.set_cipher_list("ALL:COMPLEMENTOFALL")
    if not is_ssl2:
        for label in off_labels:
            client._ssl.set_options(OFF[label])
        if "SSL2" in off_labels:
            client.set_tlsext_host_name(name)
    try:
        client.do_handshake()
        print("completed", client.get_current_cipher_name())  # noqa: T201 - it is a program
        client.write(b"GET / HTTP/1.0\r\n\r\n")
        client.read(100)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what it says
        client._flush_ssl_engine()  # the alert, which it keeps to itself
        print("failed:", type(error).__name__, error)  # noqa: T201 - it is a program
