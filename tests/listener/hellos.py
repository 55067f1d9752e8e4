"""ClientHellos written out by hand after RFC 8446 section 4.1.2, RFC 6066 section 3 and the SSLv2 draft."""

import struct


def u16(number):
    return struct.pack(">H", number)


def extension(number, data):
    return u16(number) + u16(len(data)) + data


def client_hello(legacy=0x0303, *, listed=None, name=None, suites=(0xC02F, 0xC02B, 0x002F), alpn=(), padding=0):
    """One record with a ClientHello; ``listed``: supported_versions."""
    extensions = b""
    if name is not None:
        host = b"\x00" + u16(len(name)) + name.encode()
        extensions += extension(0, u16(len(host)) + host)
    extensions += extension(10, u16(4) + u16(29) + u16(23)) + extension(11, b"\x01\x00")
    extensions += extension(13, u16(6) + u16(0x0403) + u16(0x0804) + u16(0x0401))
    if alpn:
        names = b"".join(bytes((len(each),)) + each for each in alpn)
        extensions += extension(16, u16(len(names)) + names)
    if listed is not None:
        extensions += extension(43, bytes((2 * len(listed),)) + b"".join(map(u16, listed)))
    if padding:
        extensions += extension(21, bytes(padding))
    body = u16(legacy) + bytes(range(32)) + b"\x00"
    body += u16(2 * len(suites)) + b"".join(map(u16, suites)) + b"\x01\x00" + u16(len(extensions)) + extensions
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    records = b""
    for at in range(0, len(message), 16_384):
        piece = message[at : at + 16_384]
        records += b"\x16\x03\x01" + u16(len(piece)) + piece
    return records


def ssl2_hello(version, kinds=(0x010080, 0x00002F)):
    """An SSLv2-format CLIENT-HELLO: 0x010080 is SSL_CK_RC4_128_WITH_MD5, 0x00002F a TLS suite."""
    body = b"\x01" + u16(version) + u16(3 * len(kinds)) + u16(0) + u16(16)
    body += b"".join(struct.pack(">I", kind)[1:] for kind in kinds) + bytes(range(16))
    return u16(0x8000 | len(body)) + body
